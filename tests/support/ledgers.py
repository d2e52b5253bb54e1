"""Datasets with a concept ledger, from literal numbers. Nobody is asked, and no file is looked at.

Images are 20 × 10 pixels; labels are rectangles of pixels, ``(x, y, width, height)``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count as counter
from typing import Any
from uuid import uuid4

import fiftyone as fo
import numpy as np

from zoo.engine.concepts import parse_concepts
from zoo.engine.results import ConceptResult
from zoo.ledger import Ledger, declare, write
from zoo.provenance import note_label_field, start_run

WIDTH, HEIGHT = 20, 10
#: rectangles that do not touch each other
A, B, FAR = (1, 1, 6, 6), (9, 2, 6, 6), (16, 0, 3, 3)

Box = tuple[float, float, float, float]
#: concept → a number a sample, None where it was not asked; or one number for all samples
Numbers = Mapping[str, "float | Sequence[float | None]"]
_NAMES = counter()


def rectangle(
    label: str | None, box: Box, confidence: float | None = None, *, mask: bool = True, **attributes: Any
) -> fo.Detection:
    """A label that fills its box, or has no mask."""
    x, y, w, h = box
    return fo.Detection(
        label=label, bounding_box=[x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT], confidence=confidence,
        mask=np.ones((round(h), round(w)), bool) if mask else None, **attributes,
    )  # fmt: skip


def instance(concept: str, box: Box, confidence: float, presence: float = 1.0, **attributes: Any) -> fo.Detection:
    """An instance as SAM 3 stores it."""
    scores = dict(presence=presence, object_score=min(confidence / presence, 1.0), phrase=concept)
    return rectangle(concept, box, confidence, **scores, **attributes)


def picture(truth: Sequence | None = None, instances: Sequence | None = None, **fields: Any) -> fo.Sample:
    """An image with ``ground_truth``, and ``sam3``; None, unlike ``[]``: nobody looked."""
    size = fo.ImageMetadata(width=WIDTH, height=HEIGHT)
    made = fo.Sample(filepath=f"/nowhere/{next(_NAMES)}.png", metadata=size, **fields)
    for field, held in (("ground_truth", truth), ("sam3", instances)):
        made[field] = None if held is None else fo.Detections(detections=list(held))
    return made


def video(*frames: Mapping[str, Any], **fields: Any) -> fo.Sample:
    """A video with these labels in its frames, from the first on; field → detections, or None."""
    size = fo.VideoMetadata(frame_width=WIDTH, frame_height=HEIGHT, total_frame_count=len(frames))
    made = fo.Sample(filepath=f"/nowhere/{next(_NAMES)}.mp4", metadata=size, **fields)
    for number, held in enumerate(frames, 1):
        labels = {n: fo.Detections(detections=v) if isinstance(v, list) else v for n, v in held.items()}
        made.frames[number] = fo.Frame(**labels)
    return made


def ask(
    dataset: fo.Dataset, presence: Numbers, score: Numbers | None = None, count: Numbers | None = None, *,
    ledger: str = "sam3", label_field: str | None = None, phrases: Mapping[str, Any] | None = None,
    thresholds: Mapping[str, float] | None = None, **about: Any,
) -> fo.Dataset:  # fmt: skip
    """As after a run that answered so. A sample that was asked nothing has no ledger at all, as if it were new.

    Args:
        dataset: gets the ledger, beside those that it has.
        presence, score, count: what was answered. Default: the score is the presence, the count 1 from 0.5 on.
        ledger: its name.
        label_field: where its instances are; default: nothing is said about that.
        phrases: concept → what it was asked with.
        thresholds: concept → its own confidence threshold.
        **about: what else the run's record says of each concept, such as ``confidence_thresh`` and ``floor``.
    """
    book = Ledger(ledger)
    declare(dataset, book, presence, label_field)
    start_run(dataset, book, parse_concepts({c: (phrases or {}).get(c, c) for c in presence}, thresholds), about)
    if label_field is not None:
        note_label_field(dataset, book, label_field)

    def number(numbers: Numbers | None, concept: str, k: int) -> float | None:
        held = (numbers or {}).get(concept)
        return held[k] if isinstance(held, Sequence) else held

    for k, one in enumerate(dataset):
        results = []
        for concept in presence:
            level, loud, many = (number(numbers, concept, k) for numbers in (presence, score, count))
            if level is not None:
                many = int(level >= 0.5) if many is None else many
                results.append(ConceptResult(concept, level, level if loud is None else loud, (), many, 0.5))
        if results:
            write(one, book, results, dataset.view()[one.id])
            one.save()
    return dataset


@contextmanager
def shared(*samples: fo.Sample) -> Iterator[fo.Dataset]:
    """A dataset for the tests of a whole module, which only read it."""
    dataset = fo.Dataset(f"shared-{uuid4().hex[:8]}", persistent=True)
    dataset.add_samples(samples)
    yield dataset
    dataset.delete()


def places(dataset: fo.Dataset, view: fo.DatasetView) -> list[int]:
    """Which of the dataset's samples are in a view, in its order; the first is 0."""
    order = {number: k for k, number in enumerate(dataset.values("id"))}
    return [order[number] for number in view.values("id")]
