"""From FiftyOne's detections to what can be compared: run-length encodings in pixels, or boxes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import fiftyone as fo
import numpy as np
from numpy.typing import NDArray

from .crops import place_mask


def image_size(metadata: Any, detections: Iterable[fo.Detection]) -> tuple[int, int] | None:
    """(height, width) in pixels: from the metadata, else from the first mask, which fills its box.

    Args:
        metadata: ``fo.ImageMetadata``, ``fo.VideoMetadata`` or None.
        detections: of the image.

    Returns:
        None if nothing tells.
    """
    if isinstance(metadata, fo.VideoMetadata):
        height, width = metadata.frame_height, metadata.frame_width
    else:
        height, width = getattr(metadata, "height", None), getattr(metadata, "width", None)
    if height and width:
        return int(height), int(width)
    for detection in detections:
        mask = detection.get_mask()
        if mask is not None and mask.size and min(detection.bounding_box[2:]) > 0:
            _, _, w, h = detection.bounding_box
            return round(mask.shape[0] / h), round(mask.shape[1] / w)
    return None


def to_rle(detection: fo.Detection, size: tuple[int, int]) -> dict[str, Any]:
    """A detection's mask in its image.

    Args:
        detection: with a mask that fills its box; of another resolution than the image, it is scaled to it.
        size: (height, width) of the image.

    Raises:
        ValueError: there is no mask.
    """
    mask = detection.get_mask()
    if mask is None:
        raise ValueError(f"the {detection.label!r} with the id {detection.id} has no mask; use_masks=False takes boxes")
    if mask.ndim == 3:
        mask = mask[..., 0]
    x, y, w, h = detection.bounding_box
    wanted = max(round(h * size[0]), 1), max(round(w * size[1]), 1)
    if any(abs(have - want) > 1 for have, want in zip(mask.shape, wanted, strict=True)):
        mask = cv2.resize((mask != 0).astype(np.uint8), wanted[::-1], interpolation=cv2.INTER_NEAREST)
    return place_mask(mask, (round(x * size[1]), round(y * size[0])), size)


def boxes(detections: Sequence[fo.Detection]) -> NDArray[np.float64]:
    """(N, 4) boxes [x, y, width, height], relative to the image."""
    return np.array([detection.bounding_box for detection in detections], dtype=np.float64).reshape(-1, 4)
