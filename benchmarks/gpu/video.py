"""What objects and concepts cost in a video, frame by frame, and what a long one leaves in memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count as counting
from itertools import cycle, islice
from statistics import median
from typing import Any

import numpy as np
import torch

from ..measuring import verdict
from .arithmetic import gigaflops
from .clock import Clock
from .image import named, pictures
from .planted import Planted

#: of 10 objects and 3 concepts: milliseconds a frame, and how many times as long transformers takes
TARGETS = {"ms": 40.0, "slower": 3.0}
#: frames until the memory of objects is full: a frame before costs less
WARM = 10


class Followed:
    """One video through the engine, with as many objects as one asks for.

    As many instances are planted as the objects need, the same in every frame and concept, and no more objects than
    asked for may begin. What the network makes of their memory is its own: noise, so that no detection explains a track
    and every object is followed by its memory alone, which costs as much.

    Args:
        checkpoint: with its tracker
        planted: in its detector
        objects: to follow
        concepts: to ask for, each in every frame
    """

    def __init__(self, checkpoint: Any, planted: Planted, objects: int, concepts: int) -> None:
        from zoo.engine.concepts import parse_concepts
        from zoo.engine.detector import ConceptDetector
        from zoo.engine.tracker import ConceptTracker
        from zoo.engine.tracker_settings import TrackerSettings

        planted.show(math.ceil(objects / concepts))
        settings = replace(
            TrackerSettings.of(checkpoint.tracker_config), hotstart_delay=0, max_num_objects=objects, reidentify=False,
        )  # fmt: skip
        self.tracker = ConceptTracker(ConceptDetector(checkpoint), checkpoint.tracker, settings)
        self.concepts = parse_concepts(named(concepts))
        self.tracker.detector.encode_phrases([phrase for c in self.concepts for phrase in c.phrases])
        self.began: set[int] = set()

    def frames(self, images: Sequence[np.ndarray], length: int | None = None) -> Iterator[None]:
        """Steps through so many frames, or endlessly."""
        numbered = zip(counting(1), cycle(images), strict=False)
        for result in self.tracker.track(islice(numbered, length), self.concepts):
            self.began.update(i.masklet for concept in result.concepts for i in concept.instances)
            yield


class Stock:
    """transformers' video model, as its documentation runs it: the video preprocessed before, masks at image size."""

    def __init__(self, folder: str, device: str, dtype: torch.dtype, found: int = 0) -> None:
        from transformers import Sam3VideoModel, Sam3VideoProcessor
        from transformers.utils import logging

        logging.set_verbosity_error()  # it warns of the kernels that it goes without
        self.device, self.dtype = device, dtype
        self.model = Sam3VideoModel.from_pretrained(folder, dtype=dtype, local_files_only=True).to(device).eval()
        self.processor = Sam3VideoProcessor.from_pretrained(folder, local_files_only=True)
        self.planted = Planted(self.model.detector_model, found)
        self.model.hotstart_delay = 0

    def frames(self, images: Sequence[np.ndarray], length: int, objects: int, concepts: int) -> Iterator[int]:
        """Steps through so many frames; gives how many objects are followed."""
        self.planted.show(math.ceil(objects / concepts))
        self.model.max_num_objects = objects
        video = np.stack(list(islice(cycle(images), length)))
        self.session = self.processor.init_video_session(video=video, inference_device=self.device, dtype=self.dtype)
        self.processor.add_text_prompt(self.session, named(concepts))
        for output in self.model.propagate_in_video_iterator(self.session):
            self.processor.postprocess_outputs(self.session, output)
            yield len(output.object_ids)


def per_frame(clock: Clock, steps: Iterator[Any], warm: int, count: int) -> list[float]:
    """Milliseconds of each of ``count`` frames after ``warm`` others."""
    for _ in range(warm):
        next(steps)
    return [1e3 * clock.seconds(lambda: next(steps)) for _ in range(count)]


def measure(
    checkpoint: Any, planted: Planted, folder: str, clock: Clock, objects: Sequence[int], concepts: Sequence[int],
    frames: int, tflops: float, tell: Callable[[str], None], report: dict[str, Any],
) -> None:  # fmt: skip
    """Objects × concepts, and beside the middle one transformers.

    Args:
        checkpoint: with its tracker
        planted: in its detector
        folder: of the checkpoint
        clock: of its device
        objects, concepts: how many to follow, and to ask for
        frames: that are timed, after those until memory is full
        tflops: speed of the device
        tell: what prints
        report: filled in: ``rows``, ``stock`` and ``slower``
    """
    images = pictures(4)
    tell(f"{'objects':>9}{'concepts':>10}{'begun':>7}{'ms a frame':>12}{'FPS':>8}{'floor, ms':>11}")
    rows = report["rows"] = []
    for n in concepts:
        for k in objects:
            row = dict(objects=k, concepts=n)
            rows.append(row)
            if clock.left <= 0:
                row["error"] = "no time"
            else:
                row |= _row(checkpoint, planted, clock, images, k, n, frames, tflops)
            tell(_line(row))
    wanted = (sorted(objects)[len(objects) // 2], max(concepts))
    ours = next((row for row in rows if (row["objects"], row["concepts"]) == wanted and "ms" in row), None)
    if ours is None or clock.left <= 0:
        return
    try:
        stock = Stock(folder, str(checkpoint.device), checkpoint.dtype)
        steps = stock.frames(images, WARM + frames, *wanted)
        followed = next(steps)
        times = per_frame(clock, steps, WARM - 1, frames)
    except torch.OutOfMemoryError:
        report["stock"] = dict(error="OOM")
        return
    from ..video import held

    report["stock"] = dict(
        objects=wanted[0], concepts=wanted[1], begun=followed, ms=median(times), least=min(times), most=max(times),
        session_mb=held(stock.session) / 1e6, frames=WARM + frames,
    )  # fmt: skip
    report["slower"] = median(times) / ours["ms"]
    tell("transformers' iterator:")
    tell(_line(report["stock"]))


def _row(
    checkpoint: Any, planted: Planted, clock: Clock, images: Sequence[np.ndarray], objects: int, concepts: int,
    frames: int, tflops: float,
) -> dict[str, Any]:  # fmt: skip
    followed = Followed(checkpoint, planted, objects, concepts)
    try:
        steps = followed.frames(images)
        times = per_frame(clock, steps, WARM, frames)
        peak = clock.peak_mb()
        work = gigaflops(lambda: next(steps))
        steps.close()
    except torch.OutOfMemoryError:
        return dict(error="OOM")
    finally:
        clock.forget()
    return dict(
        begun=len(followed.began), ms=median(times), least=min(times), most=max(times), peak_mb=peak, gigaflops=work,
        floor_ms=work / tflops,
    )  # fmt: skip


def _line(row: dict[str, Any]) -> str:
    start = f"{row['objects']:>9}{row['concepts']:>10}"
    if "error" in row:
        return start + f"{row['error']:>19}"
    floor = f"{row['floor_ms']:>11.1f}" if "floor_ms" in row else ""
    return start + f"{row['begun']:>7}{row['ms']:>12.1f}{1e3 / row['ms']:>8.1f}{floor}"


def memory(
    checkpoint: Any, planted: Planted, clock: Clock, marks: Sequence[int], objects: int, concepts: int
) -> list[dict[str, Any]]:  # fmt: skip
    """What the device holds after so many frames of one video.

    Args:
        checkpoint, planted, clock: as of :func:`measure`
        marks: frames of interest
        objects, concepts: followed, and asked for
    """
    followed = Followed(checkpoint, planted, objects, concepts)
    steps, found = followed.frames(pictures(4)), []
    for frame in range(1, max(marks) + 1):
        if clock.left <= 0:
            break
        next(steps)
        if frame in marks:
            clock.wait()
            found.append(dict(frame=frame, held_mb=clock.held_mb(), peak_mb=clock.peak_mb()))
    steps.close()
    return found


def said(report: dict[str, Any], *, judged: bool) -> str:
    """What follows from the table."""
    lines = []
    stock = report.get("stock", {})
    ours = next(
        (
            row for row in report["rows"]
            if "ms" in row and (row["objects"], row["concepts"]) == (stock.get("objects"), stock.get("concepts"))
        ), None,
    )  # fmt: skip
    if ours:
        fast, slower = (TARGETS[name] if judged else None for name in ("ms", "slower"))
        lines += [
            f"{ours['objects']} objects, {ours['concepts']} concepts: {ours['ms']:.1f} ms a frame"
            f"{verdict(ours['ms'], fast, ' ms')}, {ours['floor_ms'] / ours['ms']:.0%} of the floor's speed",
            f"transformers takes {report['slower']:.2f} times as long"
            f"{verdict(report['slower'], slower, 'x', at_least=True)}, and keeps "
            f"{stock['session_mb'] / stock['frames']:.1f} MB a frame beside the video",
        ]
    for mark in report.get("memory", []):
        if mark["held_mb"] is not None:
            lines.append(f"frame {mark['frame']}: {mark['held_mb']:.0f} MB held, {mark['peak_mb']:.0f} MB at most")
    return "\n".join(lines)
