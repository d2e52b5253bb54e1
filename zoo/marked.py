"""Marked objects and their masks: what is read from a field of boxes or points, and what it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import fiftyone as fo
import numpy as np

from .engine.errors import ConceptError
from .engine.prompts import ObjectPrompt
from .engine.visual import Outline
from .ledger import Ledger
from .marks import check_marks, corners, known_points


@dataclass(frozen=True)
class MarkedObject:
    """One object: the ``label`` that it was marked with, detection or keypoint, and the ``prompt`` of all its marks."""

    label: fo.Detection | fo.Keypoint
    prompt: ObjectPrompt


@dataclass(frozen=True)
class Marked:
    """Where objects are marked.

    Attributes:
        prompt_field: ``Detections`` or ``Keypoints``
        box_prompt_field, point_prompt_field: the same, where there are both
    """

    prompt_field: str | None = None
    box_prompt_field: str | None = None
    point_prompt_field: str | None = None

    def __post_init__(self) -> None:
        if self.prompt_field and (self.box_prompt_field or self.point_prompt_field):
            raise ConceptError("Give prompt_field, or box_prompt_field and point_prompt_field, not both")

    @property
    def names(self) -> tuple[str, ...]:
        """The fields, boxes first, as they were given."""
        return tuple(n for n in (self.prompt_field, self.box_prompt_field, self.point_prompt_field) if n)

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields, without the prefix of frames."""
        return tuple(name.removeprefix("frames.") for name in self.names)

    def __bool__(self) -> bool:
        return bool(self.names)

    def about(self) -> dict[str, Any]:
        """For a run's record."""
        return dict(prompts=list(self.names)) if self else {}

    def check(self, dataset: fo.Dataset, ledger: Ledger, label_field: str | None = None) -> None:
        """Refuse fields without marks.

        Args:
            dataset: the dataset
            ledger: tells samples and frames apart
            label_field: where masks go; the field of the boxes itself is no place, see :func:`zoo.refine.redraw`

        Raises:
            ConceptError: naming the field
        """
        schema = ledger.schema(dataset)
        kinds = {self.box_prompt_field: (fo.Detections,), self.point_prompt_field: (fo.Keypoints,)}
        total = 0
        for name in self.names:
            check_marks(name, schema, kinds.get(name, (fo.Detections, fo.Keypoints)), dataset, label_field)
            kind = schema[name.removeprefix("frames.")].document_type
            prefix = "frames." if ledger.frames else ""
            total += dataset.count(f"{prefix}{name.removeprefix('frames.')}.{kind._LABEL_LIST_FIELD}")
        if self.names and not total:
            raise ConceptError(f"{' and '.join(map(repr, self.names))} hold no mark in any sample of {dataset.name!r}")

    def of(self, document: Any) -> tuple[MarkedObject, ...]:
        """The objects of a sample or frame, in the order of its marks.

        Raises:
            ConceptError: a mark cannot be used; says which
        """
        found: list[MarkedObject] = []
        places: dict[int, int] = {}
        for name in self.fields:
            held = document[name] if document.has_field(name) else None
            for k, mark in enumerate([] if held is None else held[held._LABEL_LIST_FIELD]):
                try:
                    self._add(mark, found, places)
                except ConceptError as error:
                    raise ConceptError(f"{name}, number {k + 1}: {error}") from None
        for one in found:
            if one.prompt.box is None and not any(one.prompt.on):
                raise ConceptError("points beside an object need one on it, or the box of the object")
        return tuple(found)

    @staticmethod
    def _add(mark: Any, found: list[MarkedObject], places: dict[int, int]) -> None:
        marked = marked_object(mark)
        if marked is None:
            return
        prompt = marked.prompt
        place = places.get(mark.index) if mark.index is not None else None
        if place is None:
            if mark.index is not None:
                places[mark.index] = len(found)
            found.append(marked)
            return
        before = found[place]
        joined = ObjectPrompt(
            prompt.key, 0, before.prompt.box or prompt.box, (*before.prompt.points, *prompt.points),
            (*before.prompt.on, *prompt.on),
        )
        found[place] = MarkedObject(before.label, joined)


def marked_object(mark: fo.Detection | fo.Keypoint) -> MarkedObject | None:
    """A mark as an object; ``None`` of a keypoint without a known point.

    Raises:
        ConceptError: it cannot be used
    """
    if isinstance(mark, fo.Detection):
        return MarkedObject(mark, ObjectPrompt(mark.index, 0, corners(mark)))
    points, on = known_points(mark)
    return MarkedObject(mark, ObjectPrompt(mark.index, 0, None, points, on)) if points else None


def outlined(marked: MarkedObject, outline: Outline, size: tuple[int, int], *, keep_box: bool) -> fo.Detection:
    """The mark with its mask: the same id, label and attributes.

    Args:
        marked: what was marked
        outline: what was drawn for it
        size: ``(height, width)`` of the image, in pixels
        keep_box: leave a marked box as it is, and cut the mask at it, pixels that it halves included; otherwise, and
            of points, the box hugs the mask
    """
    label = marked.label
    if isinstance(label, fo.Detection):
        made = label.copy()
        made.id = label.id
    else:
        made = fo.Detection(label=label.label, index=label.index, tags=list(label.tags))
        made.id = label.id
    made["mask_path"] = None
    made["quality"] = outline.quality
    height, width = size
    if keep_box and isinstance(label, fo.Detection):
        made.mask = _within(outline, corners(label), size)
        return made
    (x, y), (rows, columns) = outline.corner, outline.mask.shape
    if outline.mask.size:
        made.bounding_box = [x / width, y / height, columns / width, rows / height]
        made.mask = outline.mask
    else:  # nothing was drawn: what was marked, and an empty mask
        box = corners(label) if isinstance(label, fo.Detection) else _around(marked.prompt.points, size)
        made.bounding_box = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
        made.mask = _within(outline, box, size)
    return made


def _within(outline: Outline, box: Sequence[float], size: tuple[int, int]) -> np.ndarray:
    """The part of a mask in a box's pixels."""
    x0, y0, x1, y1 = pixels(box, size)
    mask = np.zeros((y1 - y0, x1 - x0), bool)
    (x, y), (rows, columns) = outline.corner, outline.mask.shape
    left, top, right, bottom = max(x, x0), max(y, y0), min(x + columns, x1), min(y + rows, y1)
    if left < right and top < bottom:
        mask[top - y0 : bottom - y0, left - x0 : right - x0] = outline.mask[top - y : bottom - y, left - x : right - x]
    return mask


def pixels(box: Sequence[float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The pixels ``(x0, y0, x1, y1)``, end exclusive, that a relative box means to FiftyOne: its corners, rounded; at
    least one.
    """
    height, width = size
    x0, y0 = round(box[0] * width), round(box[1] * height)
    return x0, y0, max(round(box[2] * width), x0 + 1), max(round(box[3] * height), y0 + 1)


def _around(points: Sequence[tuple[float, float]], size: tuple[int, int]) -> tuple[float, float, float, float]:
    height, width = size
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return min(xs), min(ys), max(max(xs), min(xs) + 1 / width), max(max(ys), min(ys) + 1 / height)
