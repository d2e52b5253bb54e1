"""Instances that stand in each other's way, and masks with specks and holes: what may be tidied before it is stored.

Everything is off unless asked for; then answers are upstream's, which has none of it for images. Presence and object
scores stay as they are: they say what the network saw, not what was kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import cv2
import numpy as np

from .concepts import check_fraction, check_whole
from .errors import ConceptError
from .masks import Crop, overlap, tight
from .results import ConceptResult, Instance


@dataclass(frozen=True)
class ConflictSettings:
    """What is tidied; ``None``, 0 and ``False`` leave it.

    Attributes:
        nms_thresh: of two instances of one concept that overlap at least this much, the less confident goes
        cross_nms_thresh: the same for instances of different concepts
        keep_parts: overlap is intersection over union, so that a wheel in a car is no conflict; otherwise it is
            intersection over the smaller one, and what lies within another goes
        min_area: smaller instances go, in pixels of the image
        fill_holes: holes of up to so many pixels are filled
        min_component: pieces of fewer pixels go; the largest piece stays whatever it is
    """

    nms_thresh: float | None = None
    cross_nms_thresh: float | None = None
    keep_parts: bool = True
    min_area: int = 0
    fill_holes: int = 0
    min_component: int = 0

    def __post_init__(self) -> None:
        for name in ("nms_thresh", "cross_nms_thresh"):
            value = getattr(self, name)
            if value is not None and check_fraction(value, name) == 0:
                raise ConceptError(f"{name} must be above 0, or every instance would be in the way of every other")
        for name in ("min_area", "fill_holes", "min_component"):
            check_whole(getattr(self, name), name, 0)
        if not isinstance(self.keep_parts, bool):
            raise ConceptError(f"keep_parts must be True or False, got {self.keep_parts!r}")

    def __bool__(self) -> bool:
        return any(getattr(self, f.name) != f.default for f in fields(self) if f.name != "keep_parts")


def settled(results: Sequence[ConceptResult], settings: ConflictSettings) -> list[ConceptResult]:
    """The results of one image with their masks tidied, and their conflicts settled.

    Masks are tidied first: what is compared is what would be stored.

    Args:
        results: of every concept
        settings: what is tidied

    Returns:
        the same concepts; instances in the order they had, and counted anew
    """
    if not settings:
        return list(results)
    held = [(k, _tidy(instance, settings)) for k, result in enumerate(results) for instance in result.instances]
    held = [(k, i) for k, i in held if np.count_nonzero(i.mask) >= max(settings.min_area, 0)]
    kept: list[tuple[int, Instance]] = []
    for k, instance in sorted(held, key=lambda pair: -pair[1].confidence):
        if not any(_conflict(instance, k, other, j, settings) for j, other in kept):
            kept.append((k, instance))
    chosen = {id(instance) for _, instance in kept}
    answers = []
    for k, result in enumerate(results):
        instances = tuple(i for j, i in held if j == k and id(i) in chosen)
        answers.append(replace(
            result, instances=instances, count=sum(i.confidence > result.threshold for i in instances)
        ))
    return answers


def without_specks(crop: Crop, fill_holes: int, min_component: int) -> Crop:
    """A mask without small holes and small pieces.

    Args:
        crop: corner ``(x, y)`` and bool ``(h, w)``
        fill_holes: holes of up to so many pixels are filled
        min_component: pieces of fewer pixels go, but for the largest; pieces touch at an edge or a corner
    """
    corner, mask = crop
    if not mask.size:
        return crop
    if fill_holes:
        count, labels, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
        small = [k for k in range(1, count) if stats[k, cv2.CC_STAT_AREA] <= fill_holes and not _open(stats[k], mask)]
        if small:
            mask = mask | np.isin(labels, small)
    if min_component:
        count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        areas = stats[:, cv2.CC_STAT_AREA]
        tied = 1 + np.flatnonzero(areas[1:] == areas[1:].max())
        largest = int(labels[np.isin(labels, tied)][0])  # of two, the upper one
        small = [k for k in range(1, count) if areas[k] < min_component and k != largest]
        if small:
            return tight(corner, mask & ~np.isin(labels, small))
    return corner, mask


def _conflict(one: Instance, k: int, other: Instance, j: int, settings: ConflictSettings) -> bool:
    level = settings.nms_thresh if j == k else settings.cross_nms_thresh
    if level is None:
        return False
    return overlap((one.corner, one.mask), (other.corner, other.mask), of_smaller=not settings.keep_parts) >= level


def _tidy(instance: Instance, settings: ConflictSettings) -> Instance:
    corner, mask = without_specks((instance.corner, instance.mask), settings.fill_holes, settings.min_component)
    return replace(instance, corner=corner, mask=mask)  # always another object: it is known by its identity


def _open(stats: np.ndarray, mask: np.ndarray) -> bool:
    """Whether a piece of background reaches the border of the crop, and so the rest of the background."""
    x, y, width, height = (int(v) for v in stats[:4])
    return x == 0 or y == 0 or x + width == mask.shape[1] or y + height == mask.shape[0]
