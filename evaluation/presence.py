"""Is the concept there? How well presence scores separate the images that have it from the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata


def presence_auc(scores: ArrayLike, labels: ArrayLike) -> float:
    """ROC AUC: the probability that a positive scores above a negative, a tie counting one half.

    The Mann–Whitney statistic. It needs no threshold, so unlike IL_MCC it judges the score and not the choice of 0.5.

    Args:
        scores: (N,) presence scores or logits; only their order matters.
        labels: (N,) bool, or 0 and 1: the concept is there.

    Returns:
        0…1; 0.5 is chance. NaN where it is undefined: without a positive or without a negative there is
        no pair to compare.

    Raises:
        ValueError: shapes differ or are not (N,), a score is NaN, or a label is neither 0 nor 1.

    >>> presence_auc([0.9, 0.6, 0.6, 0.1], [1, 1, 0, 0])
    0.875
    >>> presence_auc([0.9, 0.6], [True, True])
    nan
    """
    values, flags = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if values.ndim != 1 or values.shape != flags.shape:
        raise ValueError(f"scores has shape {values.shape}, labels {flags.shape}; want (N,) for both")
    if np.isnan(values).any():
        raise ValueError(f"scores[{int(np.isnan(values).argmax())}] is NaN; drop what was never scored first")
    strange = (flags != 0) & (flags != 1)
    if strange.any():
        raise ValueError(f"labels[{int(strange.argmax())}] is {flags[strange.argmax()]}; want 0 or 1")

    positive = flags.astype(bool)
    n_pos, n_neg = int(positive.sum()), int((~positive).sum())
    if n_pos == 0 or n_neg == 0:
        return float("nan")
    wins = rankdata(values)[positive].sum() - n_pos * (n_pos + 1) / 2
    return float(wins / (n_pos * n_neg))
