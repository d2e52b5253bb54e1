"""Several annotators of one pair: the most favourable of them is the truth ("oracle").

SA-Co/Gold has three, who disagree on borders, on numbers, and on whether a phrase applies at all. A prediction is
measured against the one it agrees with best, so the result is an upper estimate, and human agreement, measured the same
way, is the bar.

Source of the rule: the behaviour of ``CGF1Evaluator`` (facebookresearch/sam3 at 99d02f2, ``sam3/eval/cgf1_eval.py``).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .columns import PairColumns
from .pairs import PairCounts, f1_score


def best_annotator(scorings: Sequence[PairCounts]) -> int:
    """Which annotator a pair is measured against.

    An annotator who saw nothing where nothing was predicted is agreed with perfectly; otherwise the largest F1,
    averaged over the IoU thresholds, wins. A tie keeps the earlier one, so the order of annotators matters.

    Args:
        scorings: one pair, counted against each annotator, in their order.

    Returns:
        Its index.

    Raises:
        ValueError: no scorings.

    >>> def counts(tp, fp, fn):
    ...     return PairCounts(*(np.full(10, n) for n in (tp, fp, fn)), has_gt=tp + fn > 0, has_pred=tp + fp > 0)
    >>> best_annotator([counts(1, 1, 0), counts(2, 0, 0), counts(2, 0, 0)])
    1
    >>> best_annotator([counts(0, 0, 3), counts(0, 0, 0)])
    1
    """
    if not scorings:
        raise ValueError("scorings is empty: there is no annotator to choose")
    return int(np.argmax(agreement(PairColumns.of(scorings))))


def agreement(pairs: PairColumns) -> NDArray[np.float64]:
    """(N,) how well each pair agrees with its annotator: mean F1, and 2 where both sides are silent."""
    # Thresholds at which nothing counts exist only beside ignored crowds: there, nothing was wrong.
    counted = pairs.tp + pairs.fp + pairs.fn > 0
    mean = np.where(counted, f1_score(pairs.tp, pairs.fp, pairs.fn), 1.0).mean(axis=1)
    return np.where(pairs.has_gt | pairs.has_pred, mean, 2.0)
