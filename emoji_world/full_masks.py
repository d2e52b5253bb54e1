"""Instances as the measurements compare them: masks of the image's size."""

from __future__ import annotations

import numpy as np

from zoo.engine.results import ConceptResult


def full_masks(result: ConceptResult, size: tuple[int, int]) -> np.ndarray:
    """The instances' masks as bool ``(N, height, width)``."""
    masks = np.zeros((len(result.instances), *size), bool)
    for mask, instance in zip(masks, result.instances, strict=True):
        x, y = instance.corner
        h, w = instance.mask.shape
        mask[y : y + h, x : x + w] = instance.mask
    return masks
