"""Masklets: one record an object and video, made from what its frames hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import fiftyone as fo

from .engine.errors import ConceptError

#: attributes of every masklet beyond FiftyOne's own
ATTRIBUTES = {
    "index": fo.IntField, "max_confidence": fo.FloatField, "presence": fo.FloatField, "birth_score": fo.FloatField,
    "frames_seen": fo.IntField, "gaps": fo.IntField,
}


@dataclass(frozen=True)
class Sighting:
    """One masklet in one frame, as stored; see :class:`~.engine.results.TrackedInstance`."""

    number: int
    label: str
    index: int
    instance: Any
    confidence: float
    presence: float | None
    birth_score: float


def field_of_masklets(label_field: str) -> str:
    """Where the masklets go whose instances are in ``label_field``: ``"sam3"`` -> ``"sam3_masklets"``."""
    return f"{label_field.removeprefix('frames.')}_masklets"


def check_masklets(dataset: fo.Dataset, label_field: str) -> None:
    """Refuse a field that holds something else.

    Raises:
        ConceptError: naming it
    """
    name = field_of_masklets(label_field)
    field = dataset.get_field_schema().get(name)
    if field is None:
        return
    if getattr(field, "document_type", None) is not fo.TemporalDetections:
        raise ConceptError(f"Field {name!r} already holds {field}: choose another label field")
    known = dataset.get_field_schema(flat=True)
    if f"{name}.detections.birth_score" not in known and dataset.count(f"{name}.detections"):
        raise ConceptError(
            f"Field {name!r} already holds TemporalDetections that this model did not make, and would replace: choose "
            "another label field"
        )


def declare_masklets(dataset: fo.Dataset, label_field: str) -> None:
    """Declare the field, so that the App's sidebar knows it."""
    name = field_of_masklets(label_field)
    known = dataset.get_field_schema(flat=True)
    if name not in known:
        dataset.add_sample_field(name, fo.EmbeddedDocumentField, embedded_doc_type=fo.TemporalDetections)
    if f"{name}.detections.instance" not in known:
        dataset.add_sample_field(
            f"{name}.detections.instance", fo.EmbeddedDocumentField, embedded_doc_type=fo.Instance
        )
    for attribute, kind in ATTRIBUTES.items():
        if f"{name}.detections.{attribute}" not in known:
            dataset.add_sample_field(f"{name}.detections.{attribute}", kind)


def summarise(sightings: Sequence[Sighting], tracked: Mapping[str, Sequence[int]]) -> fo.TemporalDetections:
    """One record a masklet, by index.

    Args:
        sightings: every instance of every frame
        tracked: concept -> the frames in which it was asked, rising: what lies between two of them is no gap
    """
    by_index: dict[int, list[Sighting]] = {}
    for sighting in sightings:
        by_index.setdefault(sighting.index, []).append(sighting)
    return fo.TemporalDetections(detections=[_record(by_index[k], tracked) for k in sorted(by_index)])


def _record(seen: list[Sighting], tracked: Mapping[str, Sequence[int]]) -> fo.TemporalDetection:
    seen = sorted(seen, key=lambda s: s.number)
    numbers = {s.number for s in seen}
    first, last = seen[0].number, seen[-1].number
    there = [n in numbers for n in tracked[seen[0].label] if first <= n <= last]
    gaps = sum(before and not now for before, now in zip(there, there[1:], strict=False))
    confidences = [s.confidence for s in seen]
    presences = [s.presence for s in seen if s.presence is not None]
    return fo.TemporalDetection(
        label=seen[0].label, support=[first, last], confidence=sum(confidences) / len(confidences),
        index=seen[0].index, instance=seen[0].instance, max_confidence=max(confidences),
        presence=max(presences, default=None), birth_score=seen[0].birth_score, frames_seen=len(numbers), gaps=gaps,
    )
