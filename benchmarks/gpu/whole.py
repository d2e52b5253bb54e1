"""From 1080p JPEGs on the disk to documents in the database; it needs FiftyOne, which the rest does not."""

from __future__ import annotations

import importlib.util
import inspect
import json
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..image import REPOSITORY
from ..measuring import verdict
from .clock import Clock
from .image import INSTANCES, SIZE, engine_run, named, pictures, thresholds
from .planted import Planted, its_own

#: images a second from files to the database, over those of the engine alone
TARGET = 0.85
CONCEPTS = 10


def require() -> None:
    """Look whether there is FiftyOne.

    Raises:
        LookupError: there is not
    """
    try:
        import fiftyone  # noqa: F401
    except ImportError as error:
        raise LookupError(f"FiftyOne is not installed ({error})") from None


def jpegs(folder: Path, count: int, size: tuple[int, int] = SIZE, distinct: int = 16) -> list[Path]:
    """Files of so many images, ``distinct`` of them different.

    Args:
        folder: where to
        count: how many
        size: height and width
        distinct: how many are drawn; the others are copies
    """
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{k:06d}.jpg" for k in range(count)]
    for k, file in enumerate(files[:distinct]):
        Image.fromarray(pictures(1, size, seed=k)[0]).save(file, quality=90)
    for k, file in enumerate(files[distinct:], distinct):
        shutil.copyfile(files[k % distinct], file)
    return files


def measure(
    folder: str, home: Path, clock: Clock, batch: int, dtype: str, count: int, tell: Callable[[str], None]
) -> dict[str, Any]:
    """``segment()`` on JPEGs, beside the engine alone on batches of the same size.

    Args:
        folder: the checkpoint
        home: where files may lie
        clock: of the device
        batch: images encoded together
        dtype: ``"bfloat16"`` or ``"float32"``
        count: images
        tell: what prints
    """
    import fiftyone as fo

    from zoo.segment import segment
    from zoo.source import load_model

    with its_own():
        model = load_model(
            "concepts/sam3-image", checkpoint=folder, device=str(clock.device), dtype=dtype, classes=named(CONCEPTS),
            thresholds=thresholds(CONCEPTS),
        )  # fmt: skip
    Planted(model.detector.checkpoint.model, INSTANCES)
    files = jpegs(home / "jpegs", count)
    squares = torch.zeros(batch, 3, *(model.detector.checkpoint.side,) * 2, dtype=torch.uint8)
    alone = clock.cell(engine_run(model.detector, squares, CONCEPTS), batch)
    if "error" in alone:
        raise LookupError(f"the engine alone: {alone['error']}")
    dataset = fo.Dataset(fo.core.dataset.make_unique_dataset_name("gpu-benchmark"))
    try:
        dataset.add_samples([fo.Sample(filepath=str(file)) for file in files], progress=False)
        settings = speed_settings(segment, batch)
        clock.wait()
        start = time.perf_counter()
        last = deque(segment(dataset, model, "sam3", **settings), maxlen=1)[0]
        spent = time.perf_counter() - start
    finally:
        dataset.delete()
    found = dict(
        images=count, batch=batch, settings=settings, seconds=spent, per_second=count / spent, failed=last.failed,
        instances=last.instances / count, megabytes=sum(file.stat().st_size for file in files) / 1e6 / count,
        engine_ms=alone["ms"], share=alone["ms"] * count / 1e3 / spent,
    )  # fmt: skip
    said = ", ".join(f"{name}={value}" for name, value in settings.items())
    tell(
        f"{count} JPEGs, {CONCEPTS} concepts, {found['instances']:.0f} instances an image ({said}): "
        f"{found['per_second']:.1f} images/s; the engine alone {1e3 / alone['ms']:.1f}: "
        f"{found['share']:.0%}{verdict(found['share'], TARGET, '', at_least=True)}"
        + (f"; {last.failed} FAILED" if last.failed else "")
    )  # fmt: skip
    return found


def speed_settings(segment: Callable[..., Any], batch: int) -> dict[str, Any]:
    """What ``segment`` is best given on this machine, as far as it takes it."""
    import os

    known = inspect.signature(segment).parameters
    settings: dict[str, Any] = dict(batch_size=batch)
    if known["num_workers"].default is not None:  # else it chooses for itself
        settings["num_workers"] = max(0, min(8, (os.cpu_count() or 1) - 2))
    return settings


def writer(home: Path, tell: Callable[[str], None]) -> Any:
    """The writer's own benchmark, in a process of its own.

    Raises:
        LookupError: it is not here
    """
    require()
    if importlib.util.find_spec("benchmarks.writing") is None:
        raise LookupError("there is no benchmarks.writing in this version")
    file = home / "writing.json"
    command = [sys.executable, "-m", "benchmarks.writing", "--json", str(file)]
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
    tell(done.stdout.rstrip())
    return json.loads(file.read_text())
