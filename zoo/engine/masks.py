"""From the network's small soft masks to exact boolean masks at image size, inside their boxes only.

The network's masks are ``(288, 288)``. Upsampling fifty of them to a 12-megapixel photo before looking at them
costs seconds and gigabytes; what is stored in the end is the part inside each object's box. Bilinear
upsampling of a region is a product of two thin matrices with the region's own rows and columns, so that part
can be had alone, and equals the same part of the upsampled whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

Box = tuple[int, int, int, int]
#: corner ``(x, y)`` in pixels of the image, and bool ``(h, w)``
Crop = tuple[tuple[int, int], np.ndarray]


def upsampled_region(soft: Tensor, size: tuple[int, int], box: Box) -> Tensor:
    """The part ``box`` of ``soft`` as bilinear upsampling (``align_corners=False``) to ``size`` would give it.

    Args:
        soft: float ``(h, w)``
        size: ``(height, width)`` of the image
        box: ``(x0, y0, x1, y1)`` in pixels of the image, end exclusive

    Returns:
        float32 ``(y1 - y0, x1 - x0)``
    """
    x0, y0, x1, y1 = box
    top, rows = _axis(soft.shape[0], size[0], y0, y1, soft.device)
    left, columns = _axis(soft.shape[1], size[1], x0, x1, soft.device)
    part = soft[top : top + rows.shape[1], left : left + columns.shape[1]].float()
    return rows @ part @ columns.T


def crop_masks(soft: Tensor, size: tuple[int, int], threshold: float = 0.5) -> list[Crop]:
    """Boolean masks at image size, each cropped to its own extent.

    Equal to upsampling every mask to the image, thresholding and cropping; but an object costs the pixels of
    its own box, and one object at a time is in memory.

    Args:
        soft: float ``(N, h, w)``: probabilities, or logits
        size: ``(height, width)`` of the image
        threshold: a pixel belongs to the object above it: 0.5 for probabilities, 0 for logits

    Returns:
        per mask the corner ``(x, y)`` and a bool array ``(h, w)``; an empty mask has shape ``(0, 0)``
    """
    cropped = []
    for region in upsampled_regions(soft, size, threshold):
        if region is None:
            cropped.append(((0, 0), np.zeros((0, 0), bool)))
            continue
        box, values = region
        cropped.append(tight(box[:2], (values > threshold).cpu().numpy()))
    return cropped


def upsampled_regions(
    soft: Tensor, size: tuple[int, int], threshold: float = 0.5
) -> Iterator[tuple[Box, Tensor] | None]:
    """Of each mask, the part at image size outside of which nothing is above ``threshold``, one at a time.

    Args:
        soft: float ``(N, h, w)``
        size: ``(height, width)`` of the image

    Yields:
        the box ``(x0, y0, x1, y1)`` in pixels, end exclusive, and float32 ``(y1 - y0, x1 - x0)``; ``None`` where
        nothing is above
    """
    for mask, box in zip(soft, _reach(soft, size, threshold), strict=True):
        yield None if box is None else (box, upsampled_region(mask, size, box))


def mask_iou(a: Crop, b: Crop) -> float:
    """Intersection over union of two cropped masks; 0 where both are empty."""
    return overlap(a, b)


def overlap(a: Crop, b: Crop, *, of_smaller: bool = False) -> float:
    """Intersection over union of two cropped masks, or over the smaller one; 0 where both are empty."""
    (ax, ay), am = a
    (bx, by), bm = b
    x0, y0 = max(ax, bx), max(ay, by)
    x1, y1 = min(ax + am.shape[1], bx + bm.shape[1]), min(ay + am.shape[0], by + bm.shape[0])
    if x0 >= x1 or y0 >= y1:
        return 0.0
    both = int(np.count_nonzero(am[y0 - ay : y1 - ay, x0 - ax : x1 - ax] & bm[y0 - by : y1 - by, x0 - bx : x1 - bx]))
    one, two = int(np.count_nonzero(am)), int(np.count_nonzero(bm))
    whole = min(one, two) if of_smaller else one + two - both
    return both / whole if whole else 0.0


def carved(
    masks: Sequence[Crop], strengths: Sequence[float]
) -> list[Crop]:
    """Cropped masks without common pixels: the stronger keeps them, the earlier of two equals.

    Args:
        masks: corner ``(x, y)`` and bool ``(h, w)`` of each
        strengths: of each

    Returns:
        the same, tight again; what has nothing left has shape ``(0, 0)``
    """
    result = list(masks)
    order = sorted(range(len(masks)), key=lambda k: -strengths[k])
    for place, k in enumerate(order):
        (x, y), mask = result[k]
        for j in order[:place]:
            (ox, oy), other = masks[j]
            x0, y0 = max(x, ox), max(y, oy)
            x1, y1 = min(x + mask.shape[1], ox + other.shape[1]), min(y + mask.shape[0], oy + other.shape[0])
            if x0 < x1 and y0 < y1:
                mask = mask.copy() if mask is result[k][1] else mask
                mask[y0 - y : y1 - y, x0 - x : x1 - x] &= ~other[y0 - oy : y1 - oy, x0 - ox : x1 - ox]
        if mask is not result[k][1]:
            result[k] = tight((x, y), mask)
    return result


def tight(corner: tuple[int, int], mask: np.ndarray) -> Crop:
    """A mask without empty rows and columns around it; an empty one has shape ``(0, 0)``."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return (0, 0), np.zeros((0, 0), bool)
    y, x = int(rows[0]), int(columns[0])
    tight = mask[y : int(rows[-1]) + 1, x : int(columns[-1]) + 1]
    return (corner[0] + x, corner[1] + y), np.ascontiguousarray(tight)


def _reach(soft: Tensor, size: tuple[int, int], threshold: float) -> list[Box | None]:
    """Where each upsampled mask can exceed ``threshold``: bilinear values never exceed their four sources."""
    above = soft > threshold
    rows, columns = above.any(2).cpu().numpy(), above.any(1).cpu().numpy()
    boxes: list[Box | None] = []
    for row, column in zip(rows, columns, strict=True):
        if not row.any():
            boxes.append(None)
            continue
        y0, y1 = _spread(np.flatnonzero(row), soft.shape[1], size[0])
        x0, x1 = _spread(np.flatnonzero(column), soft.shape[2], size[1])
        boxes.append((x0, y0, x1, y1))
    return boxes


def _spread(cells: np.ndarray, small: int, large: int) -> tuple[int, int]:
    """Pixels whose interpolation reads one of the cells ``cells[0] … cells[-1]``, end exclusive."""
    scale = large / small
    first = 0 if cells[0] == 0 else int(np.floor((cells[0] - 0.5) * scale - 0.5))
    last = large if cells[-1] == small - 1 else int(np.ceil((cells[-1] + 1.5) * scale - 0.5)) + 1
    first, last = max(0, min(first, large - 1)), max(1, min(last, large))
    return first, last


def _axis(small: int, large: int, start: int, stop: int, device: torch.device) -> tuple[int, Tensor]:
    """Rows ``start … stop`` of the ``(large, small)`` bilinear matrix, without its columns of zeros.

    Returns the first column kept and the float32 matrix ``(stop - start, kept)``.
    """
    centres = torch.arange(start, stop, dtype=torch.float32) + 0.5
    # torch multiplies and subtracts in one rounding (FMA); so does this: exact in double precision, then rounded
    source = (centres.double() * float(np.float32(small / large)) - 0.5).float().clamp(min=0)
    low = source.floor().long().clamp(max=small - 1)
    high = (low + 1).clamp(max=small - 1)
    weight = source - low
    first, last = int(low[0]), int(high[-1])
    matrix = torch.zeros(stop - start, last - first + 1)
    pixel = torch.arange(stop - start)
    matrix[pixel, low - first] += 1 - weight
    matrix[pixel, high - first] += weight
    return first, matrix.to(device)
