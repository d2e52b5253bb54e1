"""What people mark in one image, or frame, as the engine's prompts. Names and meanings are those of FiftyOne's own
wrappers of SAM: ``sam_label`` of a box, ``sam_labels`` of the points of a keypoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import fiftyone as fo
import numpy as np

from .engine.errors import ConceptError
from .engine.prompts import Exemplars, FramePrompts, ObjectPrompt

#: what a box is: an example of its label, or the object itself
MODES = ("concept", "visual")


def read_marks(
    held: Sequence[Any], mode: str, concept: Callable[[str | None], int]
) -> FramePrompts:
    """The prompts of one image or frame.

    Args:
        held: ``Detections``, ``Keypoints``, or ``None``
        mode: of :data:`MODES`; points are the object itself in either
        concept: label -> the concept's number

    Raises:
        ConceptError: a mark cannot be used
    """
    boxes: dict[int, list[tuple[tuple[float, ...], bool]]] = {}
    objects: dict[Any, ObjectPrompt] = {}
    for value in held:
        for mark in value.detections if isinstance(value, fo.Detections) else ():
            box = corners(mark)
            if mode == "concept":
                boxes.setdefault(concept(mark.label), []).append((box, sign(mark)))
            else:
                _join(objects, ObjectPrompt(mark.index, concept(mark.label), box))
        for mark in value.keypoints if isinstance(value, fo.Keypoints) else ():
            points, on = known_points(mark)
            if points:
                _join(objects, ObjectPrompt(mark.index, concept(mark.label), None, points, on))
    exemplars = {
        k: Exemplars(tuple(box for box, _ in some), tuple(sign for _, sign in some)) for k, some in boxes.items()
    }
    for prompt in objects.values():
        if prompt.box is None and not any(prompt.on) and prompt.key is None:
            raise ConceptError("points beside an object need one on it, or the index of the object they correct")
    return FramePrompts(exemplars, tuple(objects.values()))


def corners(mark: fo.Detection) -> tuple[float, float, float, float]:
    """A detection's box as ``(x0, y0, x1, y1)``, relative."""
    x, y, width, height = mark.bounding_box
    return x, y, x + width, y + height


def sign(mark: fo.Detection) -> bool:
    """Whether a box is a positive example."""
    value = next((mark[n] for n in ("sam_label", "sam3_label") if n in mark and mark[n] is not None), True)
    if value not in (0, 1):
        raise ConceptError(f"sam_label must be True or False, got {value!r}")
    return bool(value)


def known_points(mark: fo.Keypoint) -> tuple[tuple[tuple[float, float], ...], tuple[bool, ...]]:
    """The points of a keypoint that are known, and whether each is on the object."""
    signs = next((mark[n] for n in ("sam_labels", "sam2_labels") if n in mark and mark[n] is not None), None)
    points = mark.points or []
    if signs is None:
        signs = [1] * len(points)
    if len(signs) != len(points):
        raise ConceptError(f"{len(points)} points, but {len(signs)} sam_labels")
    if any(sign not in (0, 1) for sign in signs):
        raise ConceptError(f"sam_labels must be 1 (on the object) or 0 (beside it), got {list(signs)!r}")
    pairs = zip(points, signs, strict=True)
    known = [((float(x), float(y)), bool(sign)) for (x, y), sign in pairs if not np.isnan([x, y]).any()]
    return tuple(point for point, _ in known), tuple(sign for _, sign in known)


def check_marks(
    name: str, schema: Mapping[str, fo.Field], kinds: Sequence[type], dataset: fo.Dataset, label_field: str | None
) -> None:
    """Refuse a field that holds no prompts.

    Args:
        name: of the field, as it was given
        schema: the fields of the samples, or frames, that it should be among; names without "frames."
        kinds: what it may hold
        dataset: the dataset
        label_field: where results go, if that is known

    Raises:
        ConceptError: naming the field
    """
    bare = name.removeprefix("frames.")
    if bare not in schema:
        raise ConceptError(f"{name!r} is not a field of {dataset.name!r}: it has {sorted(schema)}")
    kind = getattr(schema[bare], "document_type", None)
    if kind not in kinds:
        held = kind.__name__ if kind is not None else type(schema[bare]).__name__
        raise ConceptError(f"Prompts must be {' or '.join(k.__name__ for k in kinds)}, but {name!r} holds {held}")
    if label_field is not None and bare == label_field.removeprefix("frames."):
        raise ConceptError(f"{name!r} cannot hold the prompts and the results: choose another label field")


def _join(objects: dict[Any, ObjectPrompt], prompt: ObjectPrompt) -> None:
    """A box and points of one index are one prompt."""
    place = len(objects) if prompt.key is None else ("key", prompt.key)
    before = objects.get(place)
    if before is not None:
        prompt = ObjectPrompt(
            prompt.key, before.concept, before.box or prompt.box, (*before.points, *prompt.points),
            (*before.on, *prompt.on),
        )
    objects[place] = prompt
