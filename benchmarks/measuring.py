"""What all benchmarks share: the clock, the one thread, the machine, and whether a target is met."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch


def seconds(run: Callable[[], Any]) -> float:
    """CPU seconds of one call, the kernel's work for it included."""
    start = time.process_time()
    kept = run()
    spent = time.process_time() - start
    del kept
    return spent


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one core: what else the machine does then disturbs least, and numbers compare across machines."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    import transformers

    try:
        info = Path("/proc/cpuinfo").read_text()
        cpu = next(line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.processor() or platform.machine()
    return {
        "cpu": cpu, "cores": os.cpu_count(), "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads_used": 1, "load": round(os.getloadavg()[0], 1), "python": platform.python_version(),
        "torch": torch.__version__, "transformers": transformers.__version__,
    }  # fmt: skip


def described(at: dict[str, Any]) -> str:
    """:func:`machine` for people."""
    return (
        f"{at['cpu']} ({at['instructions']}), {at['cores']} cores, load {at['load']}; one thread; "
        f"torch {at['torch']}, transformers {at['transformers']}, Python {at['python']}"
    )


def verdict(value: float, target: float | None, unit: str, *, at_least: bool = False) -> str:
    """Whether a target is met; nothing where there is none."""
    if target is None:
        return ""
    met, word = (value >= target, "reaches") if at_least else (value <= target, "within")
    return f"  ({word if met else 'MISSES'} {target:g}{unit})"
