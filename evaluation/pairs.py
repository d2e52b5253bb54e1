"""One (image, phrase) pair, reduced to counts: what was found, what was missed, what was made up.

The only step of the image metrics that sees masks. Counts are small and add up, so pairs can be counted
anywhere, in any order and in any process, and :func:`evaluation.cgf1.cgf1` needs nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .match import IOU_THRESHOLDS, Masks, assign, mask_iou

MASK_EPS = 1e-4
"""What upstream adds to the denominators of mask-level ratios."""


Crowd: TypeAlias = Literal["drop", "ignore"]
"""What becomes of crowd regions, see :func:`count_pair`."""


@dataclass(frozen=True, eq=False)
class PairCounts:
    """What one (image, phrase) pair adds to the metrics.

    Attributes:
        tp, fp, fn: (10,) int64, one count per threshold of :data:`evaluation.match.IOU_THRESHOLDS`.
        has_gt: the concept is in the image.
        has_pred: at least one prediction was kept.
    """

    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    fn: NDArray[np.int64]
    has_gt: bool
    has_pred: bool

    def __post_init__(self) -> None:
        for name in ("tp", "fp", "fn"):
            counts = np.asarray(getattr(self, name), dtype=np.int64)
            if counts.shape != IOU_THRESHOLDS.shape or (counts < 0).any():
                raise ValueError(f"{name} is {counts.tolist()}; want {IOU_THRESHOLDS.size} counts, none negative")
            object.__setattr__(self, name, counts)
        for name in ("has_gt", "has_pred"):
            object.__setattr__(self, name, bool(getattr(self, name)))
        if not self.has_gt and (self.tp + self.fn).any():
            raise ValueError("has_gt is False, yet tp + fn is not 0")
        if not self.has_pred and (self.tp + self.fp).any():
            raise ValueError("has_pred is False, yet tp + fp is not 0")

    @property
    def f1(self) -> NDArray[np.float64]:
        """(10,) F1 of this pair alone; NaN where the pair has nothing to find and nothing was found."""
        return np.where(self.tp + self.fp + self.fn > 0, f1_score(self.tp, self.fp, self.fn), np.nan)


@dataclass(frozen=True, eq=False)
class PairMatch:
    """Who was matched with whom in one (image, phrase) pair, whatever the IoU.

    Attributes:
        counts: what the pair adds to the metrics.
        kept: (K,) predictions at or above the threshold, ascending; others are neither true nor false.
        pred, gt: (M,) the matches, as indices into the predictions and the ground truth.
        iou: (M,) float64 of the matches, above 0.
        excused: (P,) float64, with ``crowd="ignore"`` how much of a prediction lies in a crowd region, 0…1; else 0.
    """

    counts: PairCounts
    kept: NDArray[np.intp]
    pred: NDArray[np.intp]
    gt: NDArray[np.intp]
    iou: NDArray[np.float64]
    excused: NDArray[np.float64]


def match_pair(
    iou: ArrayLike,
    pred_scores: ArrayLike,
    *,
    threshold: float = 0.5,
    gt_crowd: Sequence[bool] | None = None,
    crowd: Crowd = "drop",
) -> PairMatch:
    """Match the predictions of one (image, phrase) pair to its ground truth by their IoUs, and count.

    The step that :func:`count_pair` takes with IoUs of masks; IoUs of boxes go the same way.

    Args:
        iou: (P, G) finite, against crowds as :func:`evaluation.match.mask_iou` has them.
        pred_scores, threshold, gt_crowd, crowd: see :func:`count_pair`.

    Raises:
        ValueError: lengths that do not fit, NaN scores or threshold, or an unknown ``crowd``.

    >>> match = match_pair([[0.8, 0.0], [0.6, 0.0]], [0.9, 0.7])
    >>> match.pred.tolist(), match.gt.tolist(), match.iou.tolist(), match.counts.fn[0].item()
    ([0], [0], [0.8], 1)
    """
    matrix = np.asarray(iou, dtype=np.float64)
    if matrix.ndim != 2:
        raise ValueError(f"iou has shape {matrix.shape}; want (predictions, objects)")
    keep = kept_predictions(pred_scores, len(matrix), threshold)
    is_crowd = crowd_flags(gt_crowd, matrix.shape[1], crowd)
    objects = np.flatnonzero(~is_crowd)
    rows, cols = assign(matrix[np.ix_(keep, objects)])
    overlap = matrix[keep[rows], objects[cols]]

    excused = np.zeros(len(matrix))
    if crowd == "ignore" and is_crowd.any():
        excused[keep] = matrix[np.ix_(keep, np.flatnonzero(is_crowd))].max(axis=1, initial=0.0)
    hit = np.zeros((len(keep), IOU_THRESHOLDS.size), dtype=bool)
    hit[rows] = overlap[:, None] >= IOU_THRESHOLDS
    forgiven = ~hit & (excused[keep][:, None] >= IOU_THRESHOLDS)

    tp = hit.sum(axis=0, dtype=np.int64)
    touching = overlap > 0
    return PairMatch(
        counts=PairCounts(
            tp=tp,
            fp=len(keep) - tp - forgiven.sum(axis=0, dtype=np.int64),
            fn=objects.size - tp,
            has_gt=matrix.shape[1] > 0 if crowd == "ignore" else objects.size > 0,
            has_pred=len(keep) > 0,
        ),
        kept=keep,
        pred=keep[rows][touching],
        gt=objects[cols][touching],
        iou=overlap[touching],
        excused=excused,
    )


def count_pair(
    gt_masks: Masks,
    pred_masks: Masks,
    pred_scores: ArrayLike,
    *,
    threshold: float = 0.5,
    gt_crowd: Sequence[bool] | None = None,
    crowd: Crowd = "drop",
) -> PairCounts:
    """Match the predictions of one (image, phrase) pair to its ground truth, and count.

    Args:
        gt_masks: G masks, (G, H, W) bool or RLEs; none means the concept is not in the image.
        pred_masks: P masks of the same size.
        pred_scores: (P,) scores. For SAM 3: object score × presence.
        threshold: a prediction counts if ``score >= threshold``. Scores are compared as float64.
        gt_crowd: (G,) flags: this mask is a region of many objects (COCO's ``iscrowd``). Default: none is.
        crowd: ``"drop"`` removes crowd regions before matching, as upstream does: a prediction on one is a
            false positive, and a pair with nothing but crowds is a negative pair. ``"ignore"`` treats them as
            COCO does: an unmatched prediction that lies in a crowd (intersection / its own area ≥ the IoU
            threshold) is not a false positive, and a crowd does mean that the concept is there.

    Returns:
        The counts, to be collected for :func:`cgf1`.

    Raises:
        ValueError: ``pred_scores`` or ``gt_crowd`` of the wrong length, a NaN score or threshold, an unknown
            ``crowd``, or masks that :func:`evaluation.match.mask_iou` refuses.

    >>> gt = np.zeros((1, 4, 4), dtype=bool)
    >>> gt[0, :2] = True
    >>> pred = np.zeros((2, 4, 4), dtype=bool)
    >>> pred[0, :2, :3], pred[1, 3] = True, True
    >>> pair = count_pair(gt, pred, [0.9, 0.5])
    >>> pair.tp.tolist(), pair.fp[0].item(), pair.fn[0].item()
    ([1, 1, 1, 1, 1, 1, 0, 0, 0, 0], 1, 0)
    """
    keep = kept_predictions(pred_scores, len(pred_masks), threshold)
    is_crowd = crowd_flags(gt_crowd, len(gt_masks), crowd)
    scores = np.asarray(pred_scores, dtype=np.float64)
    iou = mask_iou([pred_masks[i] for i in keep], gt_masks, gt_crowd=is_crowd.tolist())
    return match_pair(iou, scores[keep], threshold=threshold, gt_crowd=is_crowd.tolist(), crowd=crowd).counts


def kept_predictions(pred_scores: ArrayLike, predictions: int, threshold: float = 0.5) -> NDArray[np.intp]:
    """The indices of predictions whose ``score >= threshold``, so that IoUs need be computed for these only.

    Raises:
        ValueError: not one score for each prediction, or a NaN.

    >>> kept_predictions([0.4, 0.5, 0.9], 3).tolist()
    [1, 2]
    """
    scores = np.asarray(pred_scores, dtype=np.float64)
    if scores.shape != (predictions,):
        raise ValueError(f"pred_scores has shape {scores.shape}; want ({predictions},), one per predicted mask")
    if np.isnan(scores).any():
        raise ValueError(f"pred_scores[{int(np.isnan(scores).argmax())}] is NaN")
    if np.isnan(threshold):
        raise ValueError(f"threshold is {threshold}; want a number")
    return np.flatnonzero(scores >= threshold)


def crowd_flags(gt_crowd: Sequence[bool] | None, objects: int, crowd: Crowd = "drop") -> NDArray[np.bool_]:
    """(G,) which ground truth is a crowd region; checked.

    Raises:
        ValueError: not one flag for each, or an unknown ``crowd``.
    """
    if crowd not in ("drop", "ignore"):
        raise ValueError(f"crowd is {crowd!r}; want 'drop' or 'ignore'")
    flags = np.zeros(objects, dtype=bool) if gt_crowd is None else np.asarray(gt_crowd, dtype=bool)
    if flags.shape != (objects,):
        raise ValueError(f"gt_crowd has shape {flags.shape}; want ({objects},), one per ground-truth mask")
    return flags


def f1_score(tp: NDArray[np.int64], fp: NDArray[np.int64], fn: NDArray[np.int64]) -> NDArray[np.float64]:
    """F1 with upstream's epsilon in all three denominators, so that a perfect single hit gives 0.99985, not 1.

    Args:
        tp, fp, fn: counts of one shape.

    Returns:
        float64 of that shape, 0…1; 0 where all counts are 0.

    >>> f1_score(np.array([1, 3, 0]), np.array([0, 1, 0]), np.array([0, 2, 0])).round(5).tolist()
    [0.99985, 0.6666, 0.0]
    """
    precision, recall = tp / (tp + fp + MASK_EPS), tp / (tp + fn + MASK_EPS)
    return 2 * precision * recall / (precision + recall + MASK_EPS)
