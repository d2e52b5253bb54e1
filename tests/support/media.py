"""Media that say what is on them, a detector that finds what it is told to, and what a run left in the database.

Half of what can go wrong between a model and a database has nothing to do with what the network finds. For that half
there are plain colours and :class:`Scripted`; the other half uses the checkpoint that ships, at thresholds of 0 and 1,
where even an untrained network finds something and nothing.
"""

from __future__ import annotations

import functools
import subprocess
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import fiftyone as fo

COLOURS = {
    "red": (230, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 230), "yellow": (230, 230, 20),
    "white": (250, 250, 250), "black": (5, 5, 5),
}  # fmt: skip

#: presence of a concept, and the object scores of its instances
Found = tuple[float, Sequence[float]]


def plain(path: Path, colour: str, size: tuple[int, int] = (32, 48)) -> Path:
    """A picture of one colour; ``size`` is ``(height, width)``."""
    Image.new("RGB", size[::-1], COLOURS[colour]).save(path)
    return path


def noise(path: Path, seed: int, size: tuple[int, int]) -> Path:
    """A picture of coloured blocks, on which the real network finds this and that; ``size`` is ``(height, width)``."""
    blocks = np.random.default_rng(seed).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(blocks).resize(size[::-1], Image.Resampling.BICUBIC).save(path)
    return path


def video(path: Path, colours: Iterable[str], size: tuple[int, int] = (48, 64)) -> Path:
    """A video whose frames are plain colours, one frame each."""
    height, width = size
    frames = b"".join(np.full((height, width, 3), COLOURS[c], np.uint8).tobytes() for c in colours)
    command = ["ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", "5"]
    subprocess.run([*command, "-i", "-", "-pix_fmt", "yuv420p", "-y", str(path)], input=frames, check=True)
    return path


@functools.cache
def tiny(tracker: bool = False) -> Any:
    """The checkpoint that ships, loaded once for all tests."""
    import torch

    from zoo.cache import shared_checkpoint

    torch.set_num_threads(1)
    return shared_checkpoint(device="cpu", tracker=tracker)


def told(colour: str, label: str) -> Found:
    """What :class:`Scripted` finds unless told otherwise: zero to three instances, the same every time."""
    draw = zlib.crc32(f"{colour} {label}".encode())
    return 0.6 + draw % 40 / 100, (0.95, 0.9, 0.85)[: draw % 4]


class Scripted:
    """Stands in for ``ConceptDetector``: knows an image by its colour, and finds there what the script says.

    Args:
        script: ``(colour, label)`` -> what is found; ``told`` says it for the rest
        watch: called whenever something is asked
    """

    cls_token = True

    def __init__(
        self, script: Mapping[tuple[str, str], Found] | None = None, watch: Callable[[], None] = lambda: None
    ) -> None:
        self.checkpoint = tiny()
        self.script = script or {}
        self.watch = watch
        #: what was asked, in order: colour and labels
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    def encode_images(self, pixels: Any, sizes: Sequence[tuple[int, int]]) -> list[tuple[str, tuple[int, int]]]:
        """The images' colours and sizes."""
        assert pixels.shape == (len(sizes), 3, self.checkpoint.side, self.checkpoint.side)
        return [(_colour_of(image), size) for image, size in zip(pixels, sizes, strict=True)]

    def detect(self, features: Any, concepts: Any, *, threshold: float, floor: float | None) -> list[list[Any]]:
        """As ``ConceptDetector.detect``."""
        self.watch()
        results = []
        for (colour, size), wanted in zip(features, concepts, strict=True):
            self.asked.append((colour, tuple(c.label for c in wanted)))
            results.append([self._result(colour, size, concept, threshold, floor) for concept in wanted])
        return results

    def stream(self, batches: Iterable[Any], **limits: Any) -> Iterator[list[list[Any]]]:
        """As ``ConceptDetector.stream``."""
        for batch in batches:
            yield self.detect(self.encode_images(batch.pixels, batch.sizes), batch.concepts, **limits)

    def _result(self, colour: str, size: tuple[int, int], concept: Any, threshold: float, floor: float | None) -> Any:
        from zoo.engine.results import ConceptResult, Instance

        presence, scores = self.script.get((colour, concept.label)) or told(colour, concept.label)
        limit = threshold if concept.threshold is None else concept.threshold
        lowest = limit if floor is None else min(floor, limit)
        instances = tuple(
            Instance(presence * score, score, presence, (0, 0, 1, 1), *_patch(size, k), concept.phrases[0])
            for k, score in enumerate(scores)
            if presence * score > lowest
        )
        count = sum(i.confidence > limit for i in instances)
        return ConceptResult(concept.label, presence, max(scores, default=0.1), instances, count, limit)


def scripted(classes: Any = ("dog", "cat"), script: Any = None, **settings: Any) -> Any:
    """A model with a scripted detector; ``watch`` goes there, other settings to the model."""
    from zoo.image_model import Sam3ImageModel

    detector = Scripted(script, settings.pop("watch", lambda: None))
    model = Sam3ImageModel(tiny(), classes, **settings)
    model.detector = detector
    return model


def state(document: Any, label_field: str = "sam3", ledger: str = "sam3") -> dict[str, Any]:
    """All that a sample or frame holds of a ledger, comparable, without ids.

    Numbers are ``None`` where there is no document, instances where there is no label.
    """
    kept: dict[str, Any] = {"error": _get(document, f"{ledger}_error")}
    for kind in ("presence", "score", "count"):
        numbers = _get(document, f"{ledger}_{kind}")
        kept[kind] = None if numbers is None else {name: numbers[name] for name in sorted(numbers.field_names)}
    labels = _get(document, label_field)
    kept["instances"] = None if labels is None else [_instance(d) for d in labels.detections]
    return kept


def states(collection: fo.core.collections.SampleCollection, *names: str) -> list[dict[str, Any]]:
    """:func:`state` of every sample, read afresh from the database."""
    # not through the dataset: its samples are shared with, and may have been changed by, whoever holds one
    return [state(sample, *names) for sample in collection.select_fields(list(collection.get_field_schema()))]


def frame_states(dataset: fo.Dataset, *names: str) -> list[dict[int, dict[str, Any]]]:
    """:func:`state` of every frame of every video, by number."""
    return [{n: state(frame, *names) for n, frame in sample.frames.items()} for sample in dataset.view()]


def labels_of(kept: Mapping[str, Any]) -> list[str] | None:
    """Labels of a :func:`state`'s instances."""
    return None if kept["instances"] is None else [instance["label"] for instance in kept["instances"]]


def counts(colour: str, *labels: str) -> dict[str, int]:
    """How many instances of each label a scripted detector finds."""
    return {label: len(told(colour, label)[1]) for label in sorted(labels)}


def _get(document: Any, field: str) -> Any:
    return document[field] if document.has_field(field) else None


def _instance(detection: fo.Detection) -> dict[str, Any]:
    names = ("label", "confidence", "presence", "object_score", "phrase")
    mask = detection.mask
    held = {name: detection[name] for name in names}
    return dict(held, box=tuple(detection.bounding_box), mask=None if mask is None else (mask.shape, mask.tobytes()))


def _colour_of(pixels: Any) -> str:
    mean = pixels.float().mean((1, 2)).numpy()
    return min(COLOURS, key=lambda name: np.abs(mean - COLOURS[name]).sum())


def _patch(size: tuple[int, int], k: int) -> tuple[tuple[int, int], np.ndarray]:
    """Corner and mask of the ``k``-th instance: a rectangle without its first pixel, where it has more than one."""
    height, width = size
    x, y = min(3 * k, width - 1), min(2 * k, height - 1)
    mask = np.ones((max(1, (height - y) // 2), max(1, (width - x) // 3)), bool)
    mask[0, 0] = mask.size == 1
    return (x, y), mask
