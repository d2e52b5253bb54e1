"""Many masks to the size of their image at once, on a GPU, and to the host as bits.

On a CPU the pixels of each object's box are worked out alone (:mod:`masks`), because arithmetic is what costs there. On
a GPU it is the other way round: whole masks cost next to nothing, while every box is one more wait for the GPU to say
where it is. So masks are upsampled whole, a few at a time, cut at their threshold, packed, eight pixels to a byte, and
sent off; the host looks for their boxes when they arrive.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .masks import Crop, crop_masks
from .transfers import ToHost, to_device

#: bytes of upsampled masks, float32, that are held at one time
_ROOM = 256 * 2**20


def cropping(soft: Tensor, size: tuple[int, int], threshold: float = 0.5) -> Callable[[], list[Crop]]:
    """As :func:`masks.crop_masks`, begun now where that is another device's work: call the result to have it.

    Args:
        soft: float ``(N, h, w)``
        size: ``(height, width)`` of the image
        threshold: a pixel belongs to the object above it
    """
    if soft.device.type == "cpu":
        crops = crop_masks(soft, size, threshold)
        return lambda: crops
    return functools.partial(_unpacked, [ToHost(bits) for bits in packed(soft, size, threshold)], size[1])


@torch.inference_mode()
def packed(soft: Tensor, size: tuple[int, int], threshold: float = 0.5) -> list[Tensor]:
    """Masks at image size, as bits: uint8 ``(n, height, ceil(width / 8))`` tensors, of ``N`` masks together.

    Args:
        soft: float ``(N, h, w)``
        size: ``(height, width)`` of the image
        threshold: a bit is set above it; the first pixel of eight is the highest bit
    """
    height, width = size
    together = max(1, _ROOM // (4 * height * width))
    weights = to_device([128, 64, 32, 16, 8, 4, 2, 1], soft.device, torch.uint8)
    parts = []
    for some in soft.split(together):
        large = F.interpolate(some[:, None].float(), size, mode="bilinear", align_corners=False)[:, 0]
        inside = F.pad(large > threshold, (0, -width % 8))
        eights = inside.unflatten(2, (-1, 8))
        parts.append((eights * weights).sum(-1, dtype=torch.uint8))
    return parts


def _unpacked(arriving: list[ToHost], width: int) -> list[Crop]:
    """Cropped masks out of :func:`packed` ones, once they are on the host."""
    return [_crop(bits, width) for part in arriving for bits in part.get().numpy()]


def _crop(bits: np.ndarray, width: int) -> Crop:
    """One mask out of its bits, uint8 ``(height, ceil(width / 8))``: only the bytes of its box are unpacked."""
    rows = np.flatnonzero(bits.any(1))
    if not rows.size:
        return (0, 0), np.zeros((0, 0), bool)
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    bytes_ = np.flatnonzero(bits[top:bottom].any(0))
    left, right = int(bytes_[0]), int(bytes_[-1]) + 1
    part = np.unpackbits(bits[top:bottom, left:right], axis=1)[:, : width - 8 * left].view(bool)
    columns = np.flatnonzero(part.any(0))
    first, last = int(columns[0]), int(columns[-1]) + 1
    return (8 * left + first, top), np.ascontiguousarray(part[:, first:last])
