"""From suspicion to probability: faults are rehearsed on the labels at hand, to learn how suspicious a fault looks.

What a fault of each kind would score is known without touching a label: leave out one that is well supported, and its
instance scores as missing; call it something else, and it scores as wrong; put it where nothing is, and it scores as
extra. How often each score occurs among such faults, g, and among what is there, f, gives the odds that a score is that
of a fault up to the share of faults in the data, which nobody knows. It is taken to be as large as can be: the scores
that faults typically have are faults. That is learning from positives and unlabelled data (Elkan & Noto, KDD 2008).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .instances import Instances, Overlaps
from .suspicion import SAME, Suspicion, most

#: with fewer rehearsed faults, or fewer scores to compare them with, the scores stay as they are
_FEW = 50
#: a label with this much support is a right one, to rehearse with
_RIGHT = 0.5
#: scores below are no suspicion, and would only outnumber the others
_TRACE = 0.05


def rehearse(
    scores: Suspicion, found: Instances, truth: Instances, across: Overlaps, concept: NDArray[np.int64],
    means: NDArray[np.bool_], presence: NDArray[np.float64], seed: int = 0,
) -> Suspicion:  # fmt: skip
    """The same suspicions, as probabilities; arguments of :func:`curation.suspicion.suspect`, and its result.

    Ranks do not change, but for ties. With few labels, scores stay as they are.
    """
    m = len(truth)
    right = scores.judged & (scores.support >= _RIGHT)
    if right.sum() < _FEW:
        return scores
    own = (concept[across.first] >= 0) & means[across.second, np.maximum(concept[across.first], 0)]
    own &= across.iou >= SAME
    # without its label, or under another, a label's instance would score what it is worth
    bare = most(across.second[own], scores.real[across.first[own]], m)[right]
    # elsewhere, it would score what nobody feels there of its concept
    rng = np.random.default_rng(seed)
    column = means[right].argmax(axis=1)
    sample = rng.integers(len(presence), size=len(column))
    seen = np.zeros(presence.shape, bool)
    sure = (concept >= 0) & (np.nan_to_num(found.confidence, nan=1.0) >= 0.5)
    seen[found.sample[sure], concept[sure]] = True
    nothing = 1 - np.where(seen, 0, np.nan_to_num(presence))[sample, column]
    return replace(
        scores, missing=probabilities(scores.missing, bare), wrong=probabilities(scores.wrong, bare),
        extra=probabilities(scores.extra, nothing),
    )  # fmt: skip


def probabilities(scores: NDArray[np.float64], faults: NDArray[np.float64]) -> NDArray[np.float64]:
    """How likely each score is that of a fault.

    Args:
        scores: (n,) of what is there, in [0, 1]; ``nan`` stays.
        faults: (m,) of rehearsed faults.

    Returns:
        (n,) in [0, 1], rising with the score; the scores themselves, if there are few of either.
    """
    from sklearn.isotonic import IsotonicRegression

    suspicious = np.nan_to_num(scores) >= _TRACE
    if suspicious.sum() < _FEW or len(faults) < _FEW:
        return scores
    actual = scores[suspicious]
    kind = np.r_[np.zeros(len(actual)), np.ones(len(faults))]
    # as many of one as of the other, so that odds of 1 mean: as common among faults as among what is there
    weight = np.r_[np.full(len(actual), 1 / len(actual)), np.full(len(faults), 1 / len(faults))]
    curve = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    curve.fit(np.r_[actual, faults], kind, sample_weight=weight)

    def odds(values: NDArray[np.float64]) -> NDArray[np.float64]:
        share = curve.predict(values)
        return share / np.maximum(1 - share, 1e-9)

    found = np.where(np.isnan(scores), np.nan, 0.0)
    found[suspicious] = np.minimum(odds(actual) / np.median(odds(faults)), 1)
    return found
