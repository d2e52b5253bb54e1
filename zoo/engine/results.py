"""What the engine found, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Instance:
    """One object found.

    Attributes:
        confidence: ``object_score * presence``, in [0, 1]
        object_score: the query's own score, before presence, in [0, 1]
        presence: presence of the phrase in the image, in [0, 1]
        box: ``(x0, y0, x1, y1)`` in pixels, as the network regressed it; not aligned, may leave the image
        corner: ``(x, y)``, the image pixel of the mask's first element
        mask: bool ``(h, w)``: every pixel of the object, and no more; its box is pixel-aligned by construction
        phrase: the phrase that found it
    """

    confidence: float
    object_score: float
    presence: float
    box: tuple[float, float, float, float]
    corner: tuple[int, int]
    mask: np.ndarray
    phrase: str


@dataclass(frozen=True)
class ConceptResult:
    """What one concept gave in one image, found or not.

    Attributes:
        label: the concept's label
        presence: in [0, 1], the largest over the concept's phrases
        object_score: in [0, 1], the best object score *before* presence: what presence suppressed is visible
        instances: by falling confidence; those above the storing floor
        count: how many of them are above the concept's threshold
        threshold: the threshold that ``count`` used
    """

    label: str
    presence: float
    object_score: float
    instances: tuple[Instance, ...]
    count: int
    threshold: float


@dataclass(frozen=True)
class TrackedInstance:
    """One masklet in one frame.

    Attributes:
        masklet: its number, unique over all concepts of a video, from 1
        confidence: that it is in this frame, in [0, 1]: the tracker's; at its birth, the detection's
        object_score: of the detection that overlaps it most in this frame, before presence, in [0, 1]; ``None`` where
            only the tracker sees it
        birth_score: confidence of the detection that it began with, in [0, 1]; of what a person pointed at, the IoU
            that the network expected of its first mask
        presence: of its concept in this frame, in [0, 1]; ``None`` where the concept was not asked
        corner: ``(x, y)``, the frame's pixel of the mask's first element
        mask: bool ``(h, w)``: every pixel of the object, and no more; no other masklet of its concept has any of them
        phrase: the phrase that found it; ``None``: a person did
    """

    masklet: int
    confidence: float
    object_score: float | None
    birth_score: float
    presence: float | None
    corner: tuple[int, int]
    mask: np.ndarray
    phrase: str | None


@dataclass(frozen=True)
class TrackedConcept:
    """What one concept gave in one frame, found or not; as :class:`ConceptResult`.

    Attributes:
        label: the concept's label
        presence: in [0, 1], the largest over the concept's phrases; ``None`` where it was not asked: a concept without
            words is asked only where it has an example
        object_score: in [0, 1], the best object score before presence, or ``None``
        instances: by masklet
    """

    label: str
    presence: float | None
    object_score: float | None
    instances: tuple[TrackedInstance, ...]

    @property
    def count(self) -> int:
        """Instances in this frame."""
        return len(self.instances)


@dataclass(frozen=True)
class FrameResult:
    """One frame: its ``number``, counted from 1; its ``size``, ``(height, width)`` in pixels; every concept asked."""

    number: int
    size: tuple[int, int]
    concepts: tuple[TrackedConcept, ...]
