"""What a person points at in a video: examples of a concept, and single objects.

Coordinates are relative: ``x`` and ``y`` in [0, 1], from the upper left corner of the frame.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from .errors import ConceptError

#: ``(x0, y0, x1, y1)``
Box = tuple[float, float, float, float]
Point = tuple[float, float]
#: what the network is asked where a concept has examples and no words
VISUAL = "visual"
#: exemplar boxes of one concept in one image; SAM 3 was trained with a handful
MAX_EXEMPLARS = 32
#: from which IoU on two boxes are the same box, drawn twice
_SAME_BOX = 0.95


@dataclass(frozen=True)
class Exemplars:
    """Examples of one concept in one frame, and counter-examples.

    ``boxes`` as ``(x0, y0, x1, y1)``; ``positive``: for each, whether it shows the concept, or what must not be taken
    for it.
    """

    boxes: tuple[Box, ...]
    positive: tuple[bool, ...]

    def __post_init__(self) -> None:
        if not self.boxes:
            raise ConceptError("Exemplars need at least one box, got none")
        if len(self.boxes) != len(self.positive):
            raise ConceptError(f"{len(self.boxes)} exemplar boxes, but {len(self.positive)} say what they are")
        if len(self.boxes) > MAX_EXEMPLARS:
            raise ConceptError(f"{len(self.boxes)} exemplar boxes of one concept; at most {MAX_EXEMPLARS} can be read")
        for box in self.boxes:
            check_box(box)
        for bad in self.negatives:
            for box, positive in zip(self.boxes, self.positive, strict=True):
                if positive and box_iou(bad, box) > _SAME_BOX:
                    raise ConceptError(f"The box {bad!r} is marked as an example, and as a counter-example: choose")

    @property
    def negatives(self) -> tuple[Box, ...]:
        """The counter-examples."""
        return tuple(box for box, positive in zip(self.boxes, self.positive, strict=True) if not positive)

    @property
    def shows(self) -> bool:
        """Whether there is a positive one; counter-examples alone cannot say what to look for."""
        return any(self.positive)


@dataclass(frozen=True)
class ObjectPrompt:
    """One object pointed at in one frame: by a box, by points, or by both.

    Attributes:
        key: the same object has the same key in every frame; ``None``: an object of this frame's
        concept: what it is an instance of, by number
        box: around it
        points: on it, and beside it
        on: for each of the points, whether it is on the object
    """

    key: int | None
    concept: int
    box: Box | None = None
    points: tuple[Point, ...] = ()
    on: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        if self.box is None and not self.points:
            raise ConceptError("An object is pointed at by a box or by points: there is neither")
        if self.box is not None:
            check_box(self.box)
        if len(self.points) != len(self.on):
            raise ConceptError(f"{len(self.points)} points, but {len(self.on)} say whether they are on the object")
        for point in self.points:
            if not all(math.isfinite(v) and 0 <= v <= 1 for v in point):
                raise ConceptError(f"A point must lie in the frame, x and y between 0 and 1: got {point!r}")


@dataclass(frozen=True)
class FramePrompts:
    """All that is pointed at in one frame: ``exemplars`` by concept, and ``objects``."""

    exemplars: Mapping[int, Exemplars] = field(default_factory=dict)
    objects: Sequence[ObjectPrompt] = ()


#: by frame number
Prompts = Mapping[int, FramePrompts]


def narrowed(prompts: Prompts, concepts: Sequence[int]) -> Prompts:
    """The prompts of some concepts, which are numbered anew, in the order given."""
    place = {k: j for j, k in enumerate(concepts)}
    some = {
        number: FramePrompts(
            {place[k]: e for k, e in here.exemplars.items() if k in place},
            tuple(replace(o, concept=place[o.concept]) for o in here.objects if o.concept in place),
        )
        for number, here in prompts.items()
    }
    return {number: here for number, here in some.items() if here.exemplars or here.objects}


def check_box(box: Box) -> None:
    """Refuse what is no box of a frame.

    Raises:
        ConceptError: it has no area, or lies outside
    """
    x0, y0, x1, y1 = box
    if not all(math.isfinite(v) for v in box) or x1 <= x0 or y1 <= y0:
        raise ConceptError(f"A box must have an area, x0 < x1 and y0 < y1: got {box!r}")
    if x1 <= 0 or y1 <= 0 or x0 >= 1 or y0 >= 1:
        raise ConceptError(f"A box must lie in the frame, between 0 and 1: got {box!r}")


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes in the same units; 0 where both are empty."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(0.0, width) * max(0.0, height)
    either = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return both / either if either > 0 else 0.0
