"""Examples in other images. Two ways to show them are known, and here are both.

*Tokens*: what the geometry encoder makes of the examples in their own image stands in the prompt of every other. It
costs nothing an image; but the network was not trained for it. *Canvas*: examples are pasted beside the image, and
shown there. That is what the network was trained for, an example in the same picture; but each concept needs a picture
of its own, the image shrinks, and presence means nothing, because the example is always there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from .concepts import Concept
from .detector import ConceptDetector
from .errors import ConceptError
from .images import to_square
from .prompts import MAX_EXEMPLARS, Box, Exemplars
from .results import ConceptResult, Instance

#: of the canvas, the part beside the image
_STRIP = 0.25
#: what is less confident than this is nothing
_FAINT = 0.02
#: how much of its surroundings an example keeps, of its own size, on each side
_AROUND = 0.15


@dataclass(frozen=True)
class Shown:
    """An image, uint8 ``(H, W, 3)`` RGB, and examples in it."""

    image: np.ndarray
    exemplars: Exemplars


def learn_bank(detector: ConceptDetector, shown: Sequence[Shown]) -> Tensor:
    """What the examples of one concept look like, for :meth:`ConceptDetector.detect`.

    Returns:
        ``(K, C)``, a token for each of the ``K`` boxes

    Raises:
        ConceptError: more boxes than can be read
    """
    total = sum(len(one.exemplars.boxes) for one in shown)
    if total > MAX_EXEMPLARS:
        raise ConceptError(f"{total} exemplar boxes of one concept; at most {MAX_EXEMPLARS} can be read")
    tokens = []
    for one in shown:
        square = to_square(one.image, detector.checkpoint.side)[None]
        features = detector.encode_images(square, [one.image.shape[:2]])
        tokens.append(detector.learn(features, 0, one.exemplars))
    return torch.cat(tokens)


def paste(image: np.ndarray, shown: Sequence[Shown]) -> tuple[np.ndarray, Exemplars]:
    """``image`` with a strip of examples on its right.

    Args:
        image: uint8 ``(H, W, 3)``
        shown: the examples; each gets an equal part of the strip, and is shrunk to fit it, not stretched

    Returns:
        uint8 ``(H, W', 3)``, whose first ``W`` columns are the image, and the examples where they are now
    """
    height, width = image.shape[:2]
    strip = max(1, round(width * _STRIP / (1 - _STRIP)))
    crops = [(one.image, box, sign) for one in shown for box, sign in zip(*_pairs(one.exemplars), strict=True)]
    canvas = np.full((height, width + strip, 3), 127, np.uint8)
    canvas[:, :width] = image
    part = height / len(crops)
    boxes: list[Box] = []
    for k, (source, box, _) in enumerate(crops):
        patch, inner = _crop(source, box)
        scale = min(strip / patch.shape[1], part / patch.shape[0])
        w, h = max(1, int(patch.shape[1] * scale)), max(1, int(patch.shape[0] * scale))
        x, y = width + (strip - w) // 2, int(k * part + (part - h) / 2)
        canvas[y : y + h, x : x + w] = cv2.resize(patch, (w, h), interpolation=cv2.INTER_AREA)
        x0, y0, x1, y1 = inner
        whole = width + strip
        boxes.append(((x + x0 * w) / whole, (y + y0 * h) / height, (x + x1 * w) / whole, (y + y1 * h) / height))
    return canvas, Exemplars(tuple(boxes), tuple(sign for _, _, sign in crops))


def detect_beside(
    detector: ConceptDetector, images: Sequence[np.ndarray], concept: Concept, shown: Sequence[Shown], *,
    sizes: Sequence[tuple[int, int]] | None = None, threshold: float = 0.5, floor: float | None = None,
) -> list[ConceptResult]:
    """Ask one concept of images with its examples pasted beside them.

    Presence, of a picture that has the example in it, says nothing. What takes its place is the best confidence of
    anything in the image itself, as far as that is above 0.02, and otherwise 0; so does the best object score.

    Args:
        detector: asked
        images: uint8 ``(H, W, 3)`` RGB, perhaps smaller than they were
        concept: with or without phrases
        shown: its examples
        sizes: ``(height, width)`` of the originals, in pixels; default: the images'
        threshold: confidence above which an instance counts, if the concept has none of its own
        floor: keep instances down to this confidence

    Returns:
        for each image, as :meth:`ConceptDetector.detect`
    """
    level = threshold if concept.threshold is None else concept.threshold
    lowest = level if floor is None else min(floor, level)
    squares, wholes, exemplars = [], [], []
    for k, image in enumerate(images):
        canvas, here = paste(image, shown)
        height, width = image.shape[:2] if sizes is None else sizes[k]
        squares.append(to_square(canvas, detector.checkpoint.side))
        wholes.append((height, round(width * canvas.shape[1] / image.shape[1])))
        exemplars.append({concept.label: here})
    features = detector.encode_images(torch.stack(squares), wholes)
    answers = detector.detect(
        features, [[concept]] * len(images), threshold=level, floor=min(lowest, _FAINT), exemplars=exemplars
    )
    results = []
    for k, (found,) in enumerate(answers):
        width = images[k].shape[1] if sizes is None else sizes[k][1]
        inside = [i for i in (_within(instance, width) for instance in found.instances) if i is not None]
        presence = max((i.confidence for i in inside), default=0.0)
        kept = tuple(i for i in inside if i.confidence > lowest)
        score = max((i.object_score for i in inside), default=0.0)
        results.append(ConceptResult(
            concept.label, presence, score, kept, sum(i.confidence > level for i in kept), level
        ))
    return results


def _pairs(exemplars: Exemplars) -> tuple[tuple[Box, ...], tuple[bool, ...]]:
    return exemplars.boxes, exemplars.positive


def _crop(image: np.ndarray, box: Box) -> tuple[np.ndarray, Box]:
    """A box's part of an image with a little around it, and where the box is in that part."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    across, down = _AROUND * (x1 - x0), _AROUND * (y1 - y0)
    left, top = max(0, int(x0 - across)), max(0, int(y0 - down))
    right, bottom = min(width, int(np.ceil(x1 + across))), min(height, int(np.ceil(y1 + down)))
    patch = image[top:bottom, left:right]
    h, w = patch.shape[:2]
    inner = (max(x0, 0) - left) / w, (max(y0, 0) - top) / h, (min(x1, width) - left) / w, (min(y1, height) - top) / h
    return patch, inner


def _within(instance: Instance, width: int) -> Instance | None:
    """The part of an instance that is left of ``width``, if that is most of it."""
    (x, _), mask = instance.corner, instance.mask
    kept = mask[:, : max(0, width - x)]
    if not kept.size or kept.sum() <= mask.sum() / 2:
        return None
    columns = np.flatnonzero(kept.any(0))
    rows = np.flatnonzero(kept.any(1))
    tight = np.ascontiguousarray(kept[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    corner = instance.corner[0] + int(columns[0]), instance.corner[1] + int(rows[0])
    return replace(instance, corner=corner, mask=tight)
