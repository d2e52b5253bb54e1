"""From summed counts to the numbers of cgF1: the formulas, once, for one sum or for many at a time.

Counts add up over pairs, so a sum of pairs is a row, a dataset is the sum of its rows, and a bootstrap resample is a
weighted one. The formulas and what they are for: :mod:`evaluation.cgf1`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from .columns import PairColumns
from .match import IOU_THRESHOLDS
from .pairs import MASK_EPS, PairCounts, f1_score

IMAGE_EPS = 1e-6
"""What upstream adds to the denominators of ratios of pairs."""

_T = IOU_THRESHOLDS.size
_PER_THRESHOLD = ("tp", "fp", "pm_fp", "fn", "f1")
_PER_PAIR = ("IL_TP", "IL_FP", "IL_TN", "IL_FN", "scored")

#: where each count is in a row; (10,) counts a threshold first, then single ones. "f1": summed over "scored" pairs
COLUMNS: dict[str, slice | int] = {
    **{name: slice(k * _T, (k + 1) * _T) for k, name in enumerate(_PER_THRESHOLD)},
    **{name: len(_PER_THRESHOLD) * _T + k for k, name in enumerate(_PER_PAIR)},
}
WIDTH = len(_PER_THRESHOLD) * _T + len(_PER_PAIR)


def rows(pairs: Iterable[PairCounts]) -> NDArray[np.float64]:
    """One row of counts a pair.

    Returns:
        (N, 55) float64, see :data:`COLUMNS`.

    Raises:
        TypeError: something that is not a PairCounts.
    """
    held = PairColumns.of(pairs)
    table = np.zeros((len(held), WIDTH))
    table[:, COLUMNS["tp"]], table[:, COLUMNS["fp"]], table[:, COLUMNS["fn"]] = held.tp, held.fp, held.fn
    for name, gt, pred in (("IL_TP", 1, 1), ("IL_FP", 0, 1), ("IL_TN", 0, 0), ("IL_FN", 1, 0)):
        table[:, COLUMNS[name]] = (held.has_gt == gt) & (held.has_pred == pred)
    table[:, COLUMNS["pm_fp"]] = held.fp * held.has_gt[:, None]
    # A pair with nothing but crowds (crowd="ignore") is positive and yet has no objects to score.
    scored = held.has_gt & held.has_pred & (held.tp + held.fn).any(axis=1)
    table[:, COLUMNS["f1"]] = f1_score(held.tp, held.fp, held.fn) * scored[:, None]
    table[:, COLUMNS["scored"]] = scored
    return table


def metrics(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """All numbers of summed rows. NaN: undefined, but for IL_MCC and cgF1, which are 0 then, as upstream.

    Args:
        sums: (…, 55) sums of :func:`rows`.

    Returns:
        Per threshold, (…, 10): "cgF1", "pmF1", "pmP", "precision", "recall", "F1", "positive_macro_F1". Of pairs, (…):
        "IL_precision", "IL_recall", "IL_F1", "IL_FPR", "IL_MCC".
    """
    tp, fp, pm_fp, fn, f1 = (sums[..., COLUMNS[name]] for name in _PER_THRESHOLD)
    il_tp, il_fp, il_tn, il_fn, scored = (sums[..., COLUMNS[name]] for name in _PER_PAIR)

    precision, recall = il_tp / (il_tp + il_fp + IMAGE_EPS), il_tp / (il_tp + il_fn + IMAGE_EPS)
    margins = (il_tp + il_fp) * (il_tp + il_fn) * (il_tn + il_fp) * (il_tn + il_fn)
    mcc = (il_tp * il_tn - il_fp * il_fn) / (np.sqrt(margins) + IMAGE_EPS)
    pm_f1 = f1_score(tp, pm_fp, fn)
    return {
        "cgF1": pm_f1 * mcc[..., None],
        "pmF1": pm_f1,
        "pmP": _where_any(tp + pm_fp, tp / (tp + pm_fp + MASK_EPS)),
        "precision": _where_any(tp + fp, tp / (tp + fp + MASK_EPS)),
        "recall": _where_any(tp + fn, tp / (tp + fn + MASK_EPS)),
        "F1": _where_any(tp + fp + fn, f1_score(tp, fp, fn)),
        "positive_macro_F1": np.where(scored[..., None] > 0, f1 / np.maximum(scored[..., None], 1), np.nan),
        "IL_precision": np.where(il_tp + il_fp > 0, precision, np.nan),
        "IL_recall": np.where(il_tp + il_fn > 0, recall, np.nan),
        "IL_F1": np.where(
            il_tp + il_fp + il_fn > 0, 2 * precision * recall / (precision + recall + IMAGE_EPS), np.nan
        ),
        "IL_FPR": np.where(il_fp + il_tn > 0, il_fp / (il_fp + il_tn + IMAGE_EPS), np.nan),
        "IL_MCC": mcc,
    }


def _where_any(whole: NDArray[np.float64], ratio: NDArray[np.float64]) -> NDArray[np.float64]:
    """``ratio`` (…, 10); NaN throughout where every whole is 0, that is, where there was nothing to count."""
    return np.where((whole > 0).any(axis=-1, keepdims=True), ratio, np.nan)
