"""Vectors of labels that are there already: each image is encoded once for all of its labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import fiftyone as fo
import numpy as np
import torch

from .engine.embeddings import cell_weights, embed_masks, grid_of
from .engine.images import to_square


def embed_labels(
    model: Any, images: Sequence[np.ndarray], labels: Sequence[Sequence[fo.Detection]]
) -> list[np.ndarray]:
    """A vector for each label: what its mask covers, or its box, if it has none.

    Args:
        model: an image model
        images: ``B`` images, uint8 ``(height, width, 3)``, RGB; encoded together
        labels: those of each image

    Returns:
        of each image float32 ``(K, C)``, rows of length 1
    """
    detector = model.detector
    squares = torch.stack([to_square(image, detector.checkpoint.side) for image in images])
    features = detector.encode_images(squares, [image.shape[:2] for image in images])
    found = []
    for row, some in enumerate(labels):
        boxes = [label.bounding_box for label in some]
        masks = [_flat(label.get_mask()) for label in some]
        weights = cell_weights(boxes, masks, grid_of(features))
        found.append(embed_masks(features, row, weights).cpu().numpy())
    return found


def _flat(mask: np.ndarray | None) -> np.ndarray | None:
    return mask[..., 0] if mask is not None and mask.ndim == 3 else mask
