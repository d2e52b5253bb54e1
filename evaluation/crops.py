"""Masks that are cut to their boxes, as FiftyOne keeps them, as run-length encodings of whole images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask


def place_mask(mask: NDArray[Any], corner: tuple[int, int], size: tuple[int, int]) -> dict[str, Any]:
    """The RLE of an image that is empty but for ``mask``. The image is never made: a crop costs what it measures.

    Args:
        mask: (h, w) bool, or numbers where anything but 0 is inside.
        corner: (x, y) of its upper left pixel, which may lie outside; what lies outside is cut off.
        size: (height, width) of the image.

    Returns:
        A compressed RLE, see :data:`evaluation.match.RLE`.

    Raises:
        ValueError: the mask is not two-dimensional, or the size is not positive.

    >>> place_mask(np.ones((1, 2), dtype=bool), (1, 1), (2, 3))["counts"]
    b'3110'
    """
    array, (x, y), (height, width) = np.asarray(mask), corner, size
    if array.ndim != 2:
        raise ValueError(f"mask has shape {array.shape}; a mask is (h, w)")
    if height < 1 or width < 1:
        raise ValueError(f"size is {size}; want (height, width), both at least 1")
    array = array[max(-y, 0) : max(height - y, 0), max(-x, 0) : max(width - x, 0)] != 0
    x, y = max(x, 0), max(y, 0)
    rows, columns = array.shape
    # COCO counts down the columns. A row of False below each column ends every run within its own.
    flat = np.zeros((columns, rows + 2), dtype=np.int8)
    flat[:, 1:-1] = array.T
    column, row = np.nonzero(np.diff(flat, axis=1))
    edges = (x + column) * height + y + row  # pixels where inside begins, and ends, in turn
    runs = np.diff(np.concatenate([[0], edges, [height * width]]))
    # Where a run reaches the lower edge and goes on at the top of the next column, nothing lies between.
    return dict(coco_mask.frPyObjects({"size": [height, width], "counts": _joined(runs).tolist()}, height, width))


def _joined(runs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Runs of inside and outside in turn, without empty ones between; the first may be empty."""
    inside = np.arange(runs.size) % 2
    kept = runs > 0
    kept[0] = True
    runs, inside = runs[kept], inside[kept]
    starts = np.flatnonzero(np.diff(inside, prepend=-1))
    return np.add.reduceat(runs, starts)
