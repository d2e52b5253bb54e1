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
