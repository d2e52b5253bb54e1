"""Which prediction goes with which object: mask IoU, one-to-one assignment, hits per IoU threshold.

The three steps are separate because the last two do not care where the IoU came from: a matrix of volume
IoUs between masklets is assigned and counted by the same functions.

Source of the rules: the evaluator that SAM 3's numbers come from (facebookresearch/sam3,
``sam3/eval/cgf1_eval.py``), re-expressed from its behaviour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment

RLE: TypeAlias = Mapping[str, Any]
"""A COCO run-length encoding, ``{"size": [height, width], "counts": str, bytes or list of int}``."""

Masks: TypeAlias = NDArray[Any] | Sequence[NDArray[Any]] | Sequence[RLE]
"""N masks of one image: an (N, H, W) array, N arrays of (H, W), or N RLEs."""

IOU_THRESHOLDS: NDArray[np.float64] = np.linspace(0.5, 0.95, 10)
"""The ten thresholds 0.50, 0.55, … 0.95, read-only. Built with ``linspace`` as pycocotools does: its 0.9 is one
rounding step below 0.9, and an IoU that sits exactly on a threshold must fall on the same side."""
IOU_THRESHOLDS.flags.writeable = False


def encode_masks(masks: Masks, *, name: str = "masks") -> list[dict[str, Any]]:
    """Bring every accepted form of masks to compressed RLEs of one size.

    Args:
        masks: N masks, see :data:`Masks`. Arrays are bool, or integers where anything but 0 is inside.
            Nothing (``[]`` or an array with N = 0) is a valid set.
        name: what error messages call the argument.

    Returns:
        N dictionaries ``{"size": [H, W], "counts": bytes}``, in order.

    Raises:
        TypeError: one RLE instead of a list of them, or counts of an unknown type.
        ValueError: a wrong number of dimensions, a dtype that is not a mask's, listed runs that do not fill
            the RLE's size, or masks of different sizes.

    >>> square = np.array([[[1, 1, 0], [1, 1, 0]]], dtype=bool)
    >>> encode_masks(square)
    [{'size': [2, 3], 'counts': b'042'}]
    >>> encode_masks([{"size": [2, 3], "counts": [0, 4, 2]}])
    [{'size': [2, 3], 'counts': b'042'}]
    """
    if isinstance(masks, Mapping):
        raise TypeError(f"{name} is a single RLE; give a list of masks: [{name}]")
    if isinstance(masks, np.ndarray) and masks.size and masks.ndim != 3:
        raise ValueError(f"{name} has shape {masks.shape}; an array of masks is (N, H, W)")

    rles = [
        _checked_rle(mask, f"{name}[{i}]") if isinstance(mask, Mapping) else _encoded(mask, f"{name}[{i}]")
        for i, mask in enumerate(masks)
    ]
    for i, rle in enumerate(rles):
        if rle["size"] != rles[0]["size"]:
            raise ValueError(f"{name}[{i}] has size {rle['size']}, {name}[0] has {rles[0]['size']}; resize them first")
    return rles


def mask_areas(rles: Sequence[RLE]) -> NDArray[np.int64]:
    """How many pixels are inside each mask.

    Args:
        rles: N compressed RLEs.

    Returns:
        (N,) int64.

    >>> mask_areas([{"size": [2, 3], "counts": b"042"}] * 300).sum().item()
    1200
    """
    # A few at a time: pycocotools 2.0.11 holds their number in 8 bits, and numpy 2 refuses larger ones.
    parts = [coco_mask.area(list(rles[start : start + 255])) for start in range(0, len(rles), 255)]
    return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, dtype=np.int64)


def mask_iou(pred_masks: Masks, gt_masks: Masks, *, gt_crowd: Sequence[bool] | None = None) -> NDArray[np.float64]:
    """Intersection over union between every predicted and every ground-truth mask.

    Args:
        pred_masks: P masks.
        gt_masks: G masks of the same height and width.
        gt_crowd: G flags. Against a crowd region the intersection is divided by the prediction's own area, as
            COCO does: any part of the crowd is as good as the whole. Default: no crowds.

    Returns:
        (P, G) float64, 0…1. An empty mask has IoU 0 with everything, another empty mask included.

    Raises:
        TypeError, ValueError: see :func:`encode_masks`; or the two sets differ in size, or ``gt_crowd`` in
            length.

    >>> left, top = np.zeros((2, 4, 4), dtype=bool)
    >>> left[:, :2] = True
    >>> top[:2, :] = True
    >>> mask_iou([left, top], [left]).round(3)
    array([[1.   ],
           [0.333]])
    >>> mask_iou([top], [left], gt_crowd=[True])
    array([[0.5]])
    """
    preds, gts = encode_masks(pred_masks, name="pred_masks"), encode_masks(gt_masks, name="gt_masks")
    crowd = [bool(flag) for flag in gt_crowd] if gt_crowd is not None else [False] * len(gts)
    if len(crowd) != len(gts):
        raise ValueError(f"gt_crowd has {len(crowd)} flags for {len(gts)} ground-truth masks")
    if not preds or not gts:
        return np.zeros((len(preds), len(gts)))
    if preds[0]["size"] != gts[0]["size"]:
        raise ValueError(
            f"pred_masks have size {preds[0]['size']}, gt_masks {gts[0]['size']}; resize the predictions first"
        )
    return np.asarray(coco_mask.iou(preds, gts, crowd), dtype=np.float64).reshape(len(preds), len(gts))


def box_iou(
    pred_boxes: ArrayLike, gt_boxes: ArrayLike, *, gt_crowd: Sequence[bool] | None = None
) -> NDArray[np.float64]:
    """Intersection over union between every predicted and every ground-truth box.

    Args:
        pred_boxes: (P, 4) boxes ``[x, y, width, height]``, in pixels or relative; the same for both sides.
        gt_boxes: (G, 4) boxes.
        gt_crowd: (G,) flags, see :func:`mask_iou`.

    Returns:
        (P, G) float64, 0…1.

    Raises:
        ValueError: boxes that are not four finite numbers, or ``gt_crowd`` of another length.

    >>> box_iou([[0, 0, 2, 2]], [[0, 0, 2, 1], [1, 1, 2, 2]]).round(3).tolist()
    [[0.5, 0.143]]
    """
    preds, gts = _boxes(pred_boxes, "pred_boxes"), _boxes(gt_boxes, "gt_boxes")
    crowd = [bool(flag) for flag in gt_crowd] if gt_crowd is not None else [False] * len(gts)
    if len(crowd) != len(gts):
        raise ValueError(f"gt_crowd has {len(crowd)} flags for {len(gts)} ground-truth boxes")
    if not len(preds) or not len(gts):
        return np.zeros((len(preds), len(gts)))
    return np.asarray(coco_mask.iou(preds, gts, crowd), dtype=np.float64).reshape(len(preds), len(gts))


def assign(iou: ArrayLike) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """One-to-one pairs of predictions and objects with the largest *total* IoU (Hungarian method).

    Thresholds play no part here: a match of 0.5 is given up for two of 0.43. Where several assignments have
    exactly the same total, which one is taken depends on the order of rows and columns; keep the files' order
    to reproduce upstream's counts.

    Args:
        iou: (P, G) finite values.

    Returns:
        Row and column indices, min(P, G) of each, rows ascending.

    Raises:
        ValueError: ``iou`` is not a finite matrix.

    >>> rows, cols = assign([[0.5, 0.43], [0.43, 0.0]])
    >>> rows.tolist(), cols.tolist()
    ([0, 1], [1, 0])
    """
    matrix = np.asarray(iou, dtype=np.float64)
    if matrix.ndim != 2:
        raise ValueError(f"iou has shape {matrix.shape}; want (predictions, objects)")
    if not np.isfinite(matrix).all():
        raise ValueError("iou holds values that are not finite")
    # The negated matrix, not maximize=True, is what upstream solves: ties may break differently otherwise.
    rows, cols = linear_sum_assignment(-matrix)
    return rows, cols


def hits(iou: ArrayLike, thresholds: ArrayLike = IOU_THRESHOLDS) -> NDArray[np.bool_]:
    """Which predictions are true positives, per threshold; an IoU equal to the threshold counts.

    Args:
        iou: (P, G) finite values.
        thresholds: (T,) values.

    Returns:
        (P, T) bool. With tp the sums of its columns, P - tp are false positives and G - tp false negatives.

    Raises:
        ValueError: see :func:`assign`.

    >>> hits([[0.8, 0.1], [0.2, 0.55], [0.3, 0.3]]).sum(axis=0).tolist()
    [2, 2, 1, 1, 1, 1, 1, 0, 0, 0]
    """
    matrix, levels = np.asarray(iou, dtype=np.float64), np.asarray(thresholds, dtype=np.float64)
    rows, cols = assign(matrix)
    hit = np.zeros((len(matrix), levels.size), dtype=bool)
    hit[rows] = matrix[rows, cols][:, None] >= levels
    return hit


def _boxes(boxes: ArrayLike, name: str) -> NDArray[np.float64]:
    """(N, 4) float64, checked."""
    array = np.asarray(boxes, dtype=np.float64).reshape(-1, 4) if np.size(boxes) == 0 else np.asarray(boxes, np.float64)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"{name} has shape {array.shape}; want (N, 4): x, y, width, height")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}[{int((~np.isfinite(array)).any(axis=1).argmax())}] holds a value that is not finite")
    return array


def _encoded(mask: Any, name: str) -> dict[str, Any]:
    """One (H, W) array → RLE."""
    array = np.asarray(mask)
    if array.ndim != 2:
        raise ValueError(f"{name} has shape {array.shape}; a mask is (H, W)")
    if array.dtype.kind not in "biu":
        raise ValueError(f"{name} has dtype {array.dtype}; threshold it to bool first")
    rle = coco_mask.encode(np.asfortranarray(array.astype(bool), dtype=np.uint8))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"]}


def _checked_rle(rle: RLE, name: str) -> dict[str, Any]:
    """An RLE in any of COCO's three spellings → the compressed one. Only listed runs are cheap enough to check."""
    try:
        size, counts = [int(side) for side in rle["size"]], rle["counts"]
    except KeyError as missing:
        raise ValueError(f'{name} is an RLE without {missing}; want {{"size": [H, W], "counts": …}}') from None
    if len(size) != 2:
        raise ValueError(f"{name} has size {size}; want [H, W]")
    if isinstance(counts, str):
        counts = counts.encode()
    if isinstance(counts, bytes):
        return {"size": size, "counts": counts}
    if not isinstance(counts, (list, tuple)):
        raise TypeError(f"{name} has counts of type {type(counts).__name__}; want str, bytes or a list of int")
    if any(run < 0 for run in counts) or sum(counts) != size[0] * size[1]:
        raise ValueError(f"{name} has runs of {sum(counts)} pixels in total; its size {size} has {size[0] * size[1]}")
    return dict(coco_mask.frPyObjects({"size": size, "counts": list(counts)}, *size))
