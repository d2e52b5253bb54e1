"""Comparing and matching many pairs at once: what :mod:`evaluation.pairs` does to one, without its cost a pair.

Small matrices are most of a dataset. Those of one shape are solved together, one or two objects by looking at all
assignments; the rest, and every near tie, by the solver that upstream uses, so that the counts are upstream's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from .columns import PairColumns
from .entries import Measured
from .match import IOU_THRESHOLDS, RLE, assign, box_iou, mask_areas

_TIE = 1e-9  # totals of IoU closer than this are left to the solver


def count_masks(
    rles: Sequence[RLE],
    measured: Measured,
    first: NDArray[np.intp],
    predictions: NDArray[np.intp],
    objects: NDArray[np.intp],
) -> PairColumns:
    """Count N pairs of masks, without crowds.

    Args:
        rles: compressed masks of all pairs, the kept predictions of one, its objects, those of the next …; of one size
            within each pair.
        measured: of these, see :func:`evaluation.entries.check_rles`.
        first: (N,) where each pair begins.
        predictions, objects: (N,) how many each has.

    Returns:
        The counts of each pair.

    >>> from evaluation.entries import check_rles
    >>> mask = {"size": [2, 2], "counts": b"04"}
    >>> measured = check_rles([mask] * 3, str)
    >>> counts = count_masks([mask] * 3, measured, np.array([0, 2]), np.array([1, 0]), np.array([1, 1]))
    >>> counts.tp[:, 0].tolist(), counts.fn[:, 0].tolist()
    ([1, 0], [0, 1])
    """
    area, left, right = measured

    def compare(pred: NDArray[np.intp], gt: NDArray[np.intp]) -> NDArray[np.float64]:
        shared = np.zeros(pred.shape, dtype=np.int64)
        meet = (left[pred] < right[gt]) & (left[gt] < right[pred])
        pairs = zip(pred[meet].tolist(), gt[meet].tolist(), strict=True)
        # pycocotools' own IoU spends more on finding out what it was given than on the masks.
        shared[meet] = mask_areas([coco_mask.merge([rles[p], rles[g]], True) for p, g in pairs])
        return shared / np.maximum(area[pred] + area[gt] - shared, 1)

    return _count(first, predictions, objects, compare)


def count_boxes(
    boxes: Sequence[Sequence[float]], first: NDArray[np.intp], predictions: NDArray[np.intp], objects: NDArray[np.intp]
) -> PairColumns:
    """The same of boxes ``[x, y, width, height]``."""
    held = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)

    def compare(pred: NDArray[np.intp], gt: NDArray[np.intp]) -> NDArray[np.float64]:
        return np.stack([box_iou(held[p[:, 0]], held[g[0]]) for p, g in zip(pred, gt, strict=True)])

    return _count(first, predictions, objects, compare)


def _count(first, predictions, objects, compare) -> PairColumns:  # noqa: ANN001 - as above
    """``compare`` takes (K, P, G) places of predictions and of objects, and gives their IoUs."""
    tp = np.zeros((len(first), IOU_THRESHOLDS.size), dtype=np.int64)
    for places, pred, gt in _by_shape(first, predictions, objects):
        matched = _matched(compare(pred, gt))
        tp[places] = (matched[:, :, None] >= IOU_THRESHOLDS).sum(axis=1)
    return PairColumns(tp, predictions[:, None] - tp, objects[:, None] - tp, objects > 0, predictions > 0)


def _by_shape(
    first: NDArray[np.intp], predictions: NDArray[np.intp], objects: NDArray[np.intp]
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]]:
    """The pairs with P predictions and G objects, both above 0: which they are, and where these are, (K, P, G) each."""
    shapes = np.stack([predictions, objects], axis=1)
    both = np.flatnonzero((shapes > 0).all(axis=1))
    for p, g in np.unique(shapes[both], axis=0).tolist():
        places = both[(shapes[both] == (p, g)).all(axis=1)]
        start = first[places][:, None, None]
        pred, gt = np.broadcast_arrays(start + np.arange(p)[:, None], start + p + np.arange(g))
        yield places, pred, gt


def _matched(ious: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K, P, G) → (K, min(P, G)) the IoUs of the matches with the largest total."""
    if 1 in ious.shape[1:]:
        return ious.max(axis=(1, 2))[:, None]
    solved, alone = np.zeros((len(ious), min(ious.shape[1:]))), np.ones(len(ious), dtype=bool)
    if ious.shape[1:] == (2, 2):
        straight, crossed = ious[:, [0, 1], [0, 1]], ious[:, [0, 1], [1, 0]]
        gain = straight.sum(axis=1) - crossed.sum(axis=1)
        solved, alone = np.where(gain[:, None] > 0, straight, crossed), np.abs(gain) < _TIE
    for k in np.flatnonzero(alone):
        rows, cols = assign(ious[k])
        solved[k] = ious[k, rows, cols]
    return solved
