"""From the engine's results to FiftyOne labels; nothing else makes labels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import fiftyone as fo
import numpy as np

from .engine.everything import Thing
from .engine.results import ConceptResult, FrameResult, Instance

#: attributes of every detection beyond FiftyOne's own, to be declared so that the App can filter them
ATTRIBUTES = {"presence": fo.FloatField, "object_score": fo.FloatField, "phrase": fo.StringField}


def to_detections(results: Iterable[ConceptResult], size: tuple[int, int]) -> list[fo.Detection]:
    """One detection an instance, concept by concept, by falling confidence.

    ``bounding_box`` is aligned to pixels and hugs the mask, so that box and mask give back the exact pixels.

    Args:
        results: of one image
        size: ``(height, width)`` of the image, in pixels
    """
    return [fo.Detection(**attributes) for attributes in to_attributes(results, size)]


def to_attributes(results: Iterable[ConceptResult], size: tuple[int, int]) -> list[dict[str, Any]]:
    """As :func:`to_detections`, the attributes of each detection alone."""
    return [_attributes(result.label, instance, size) for result in results for instance in result.instances]


#: attributes of a detection that was tracked, beside those
TRACKED_ATTRIBUTES = {"birth_score": fo.FloatField}


def to_tracked_detections(
    result: FrameResult, instances: dict[int, fo.Instance], offset: int = 0
) -> list[fo.Detection]:
    """One detection an instance, concept by concept, with the masklet's ``index`` and ``instance``.

    Args:
        result: of one frame
        instances: masklet -> its instance; those of new masklets are added
        offset: added to the masklets' numbers
    """
    height, width = result.size
    detections = []
    for concept in result.concepts:
        for found in concept.instances:
            (x, y), (rows, columns) = found.corner, found.mask.shape
            detections.append(fo.Detection(
                label=concept.label, bounding_box=[x / width, y / height, columns / width, rows / height],
                mask=found.mask, confidence=found.confidence, index=found.masklet + offset,
                instance=instances.setdefault(found.masklet, fo.Instance()), presence=found.presence,
                object_score=found.object_score, birth_score=found.birth_score, phrase=found.phrase,
            ))
    return detections


def to_things(things: Iterable[Thing], size: tuple[int, int]) -> list[fo.Detection]:
    """One detection a thing, without a label.

    Args:
        things: of one image
        size: ``(height, width)`` of the image, in pixels
    """
    height, width = size
    detections = []
    for thing in things:
        (x, y), (rows, columns) = thing.outline.corner, thing.outline.mask.shape
        detections.append(fo.Detection(
            bounding_box=[x / width, y / height, columns / width, rows / height], mask=thing.outline.mask,
            quality=thing.outline.quality, stability=thing.stability,
        ))
    return detections


def _attributes(label: str, instance: Instance, size: tuple[int, int]) -> dict[str, Any]:
    height, width = size
    x, y = instance.corner
    mask = instance.mask
    if not mask.size:  # the network is sure of an object and draws no pixel of it: its box, and an empty mask
        x, y, mask = _empty(instance.box, size)
    rows, columns = mask.shape
    return dict(
        label=label, bounding_box=[x / width, y / height, columns / width, rows / height], mask=mask,
        confidence=instance.confidence, presence=instance.presence, object_score=instance.object_score,
        phrase=instance.phrase,
    )


def _empty(box: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[int, int, np.ndarray]:
    height, width = size
    x0, y0 = min(max(int(box[0]), 0), width - 1), min(max(int(box[1]), 0), height - 1)
    x1, y1 = min(max(int(np.ceil(box[2])), x0 + 1), width), min(max(int(np.ceil(box[3])), y0 + 1), height)
    return x0, y0, np.zeros((y1 - y0, x1 - x0), bool)
