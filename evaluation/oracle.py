"""Several annotators of one pair: the most favourable of them is the truth ("oracle").

SA-Co/Gold has three, who disagree on borders, on numbers, and on whether a phrase applies at all. A prediction is
measured against the one it agrees with best, so the result is an upper estimate, and human agreement, measured the same
way, is the bar.

Source of the rule: the behaviour of ``CGF1Evaluator`` (facebookresearch/sam3 at 99d02f2, ``sam3/eval/cgf1_eval.py``).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

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
    return int(np.argmax([_agreement(pair) for pair in scorings]))


def _agreement(pair: PairCounts) -> float:
    """Mean F1, and more than any F1 where both sides are silent."""
    if not pair.has_gt and not pair.has_pred:
        return 2.0
    # Thresholds at which nothing counts exist only beside ignored crowds: there, nothing was wrong.
    counted = pair.tp + pair.fp + pair.fn > 0
    return float(np.where(counted, f1_score(pair.tp, pair.fp, pair.fn), 1.0).mean())
