"""What the arithmetic alone would take: the speed of the device, and the multiplications that SAM 3 asks of it."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch

from .clock import Clock


def machine(clock: Clock, tiny: bool) -> dict[str, Any]:
    """What it ran on, and how fast that is: bf16 matrix products, and copies within its memory.

    Args:
        clock: of the device
        tiny: with little to do
    """
    import transformers

    device = clock.device
    found: dict[str, Any] = dict(
        torch=torch.__version__, transformers=transformers.__version__, python=platform.python_version(),
        device=str(device),
    )
    if device.type == "cuda":
        about = torch.cuda.get_device_properties(device)
        found |= dict(name=about.name, memory_gb=about.total_memory / 1e9, driver=_driver(), cuda=torch.version.cuda)
    else:
        found["name"] = platform.processor() or platform.machine()
    side, length = (256, 1 << 20) if tiny else (8192, 1 << 30)
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    product = clock.cell(lambda: a @ b)
    found["tflops"] = 2 * side**3 / product["ms"] / 1e9
    source = torch.empty(length, device=device, dtype=torch.uint8)
    target = torch.empty_like(source)
    found["tb_per_s"] = 2 * length / clock.cell(lambda: target.copy_(source))["ms"] / 1e9
    return found


def _driver() -> str | None:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return None


def gigaflops(run: Callable[[], Any]) -> float:
    """Multiplications and additions of one call, in 10^9, of matrix products and convolutions.

    On a CPU, attention is done in the plain way meanwhile: the counter does not know a CPU's faster one.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    known = nullcontext() if torch.cuda.is_available() else sdpa_kernel(SDPBackend.MATH)
    with FlopCounterMode(display=False) as counter, known:
        run()
    return counter.get_total_flops() / 1e9


@torch.no_grad()
def parts(checkpoint: Any) -> dict[str, float]:
    """GFLOP of transformers' own network: ``image``, a concept's ``concept``, and of that the ``masks``.

    Args:
        checkpoint: of :func:`load_checkpoint`, not compiled
    """
    model, device = checkpoint.model, checkpoint.device
    pixels = torch.zeros(1, 3, checkpoint.side, checkpoint.side, device=device, dtype=checkpoint.dtype)
    words = checkpoint.tokenizer(["dog"], padding="max_length", max_length=32, return_tensors="pt").to(device)
    vision = model.get_vision_features(pixels)
    text = model.get_text_features(**words)
    given = dict(vision_embeds=vision, text_embeds=text, attention_mask=words.attention_mask)
    masks: dict[str, Any] = {}
    keep = model.mask_decoder.register_forward_pre_hook(lambda module, a, kw: masks.update(kw), with_kwargs=True)
    model(**given)
    keep.remove()
    return dict(
        image=gigaflops(lambda: model.get_vision_features(pixels)), concept=gigaflops(lambda: model(**given)),
        masks=gigaflops(lambda: model.mask_decoder(**masks)),
    )


def floor_ms(counted: dict[str, float], tflops: float, concepts: int, present: int) -> float:
    """Milliseconds an image that the arithmetic alone takes; masks only of concepts that are ``present``."""
    work = counted["image"] + concepts * counted["concept"] - (concepts - present) * counted["masks"]
    return work / tflops
