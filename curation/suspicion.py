"""How suspicious each label, and each thing without a label, is: arithmetic on what overlaps what.

Three numbers in [0, 1]. Their base is :func:`reality`: how likely a found instance of some confidence is real, as the
dataset's own labels say on the average. Most labels are right, or there would be nothing to correct them by, so one
wrong label hardly moves that average; and no label has a say in the numbers that judge itself (they come from other
folds).

* missing: an instance is real, and no label explains it;
* wrong: a real instance of another concept has the label's pixels, and none of its own concept does;
* extra: no instance of any concept has the label's pixels, and the concept is not felt elsewhere, either.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .calibration import fit, fit_cross
from .instances import Instances, Overlaps

#: two labels of one object overlap at least this much
SAME = 0.5
#: from here on, overlap is as good as it gets: borders are a matter of taste
_PERFECT = 0.75
#: an isotonic curve from fewer pairs is a staircase
_MANY = 200
#: with fewer of either kind, any curve is noise
_FEW = 10


@dataclass(frozen=True)
class Suspicion:
    """Scores of n found instances and m labels.

    Attributes:
        real: (n,) how likely the instance is there.
        missing: (n,) that it is there and has no label. Of several on the same pixels, one has the score.
        doubt: (n,) that it is there whatever the labels say: none explains it, or one that is wrong.
        support: (m,) how likely the label is right, by instances of its own concept.
        wrong: (m,) that the label should be another.
        claimant: (m,) place of the instance that claims its pixels, or -1.
        extra: (m,) that the label stands for nothing.
        judged: (m,) whether the label's concept was asked; the others have ``nan``.
    """

    real: NDArray[np.float64]
    missing: NDArray[np.float64]
    doubt: NDArray[np.float64]
    support: NDArray[np.float64]
    wrong: NDArray[np.float64]
    claimant: NDArray[np.int64]
    extra: NDArray[np.float64]
    judged: NDArray[np.bool_]


def suspect(
    found: Instances, truth: Instances, across: Overlaps, among: Overlaps, concept: NDArray[np.int64],
    means: NDArray[np.bool_], presence: NDArray[np.float64], complete: NDArray[np.bool_],
    labelled: NDArray[np.bool_] | None = None,
) -> Suspicion:  # fmt: skip
    """Score everything.

    Args:
        found: n instances that the model found.
        truth: m labels.
        across: which instances overlap which labels.
        among: which instances overlap each other.
        concept: (n,) the column of each instance's concept; -1: it has no say, because no label could mean it.
        means: (m, K) which concepts a label is an instance of.
        presence: (N, K) of the samples; ``nan`` where a concept was not asked.
        complete: (N, K) whether all instances of a concept are labelled in a sample.
        labelled: (images,) whether anybody labelled the image, or frame. Default: all.
    """
    n, m = len(found), len(truth)
    say = concept[across.first] >= 0
    own = say & means[across.second, np.maximum(concept[across.first], 0)]
    place = found.sample, np.maximum(concept, 0)
    full = (concept >= 0) & complete[place]
    if labelled is not None:
        full &= labelled[found.image]
    real = reality(found.confidence, most(across.first[own], across.iou[own], n) >= SAME, full)
    real[concept < 0] = 0

    # a part of a labelled object, or its whole, is explained by the label if that is of its own concept
    within = np.maximum.reduce([across.iou, across.first_inside, across.second_inside])
    missing = real * (1 - most(across.first, np.where(own, within, across.iou), n))
    missing[~full] = 0
    doubt = missing
    missing = _once(missing, among)

    support = most(across.second[own], (real[across.first] * np.clip(across.iou / _PERFECT, 0, 1))[own], m)
    rival = say & ~own & (across.iou >= SAME)
    claim = most(across.second[rival], real[across.first[rival]], m)
    claimant = np.full(m, -1, dtype=np.int64)
    for first, second in zip(across.first[rival], across.second[rival], strict=True):
        if claimant[second] < 0 or real[first] > real[claimant[second]]:
            claimant[second] = first
    wrong = claim * (1 - support)
    asked = means & ~np.isnan(presence[truth.sample])
    judged = asked.any(axis=1)
    replacing = real[across.first[rival]] * (1 - support[across.second[rival]]) * judged[across.second[rival]]
    doubt = np.maximum(doubt, most(across.first[rival], replacing, n))

    near = say & (across.iou >= 0.3)
    touched = most(across.second[near], real[across.first[near]], m)
    felt = _felt(found, truth, concept, asked, presence)
    extra = (1 - support) * (1 - touched) * (1 - felt)
    for scores in (wrong, extra):
        scores[~judged] = np.nan
    return Suspicion(real, missing, doubt, support, wrong, claimant, extra, judged)


def reality(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], known: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """(n,) how likely an instance is real, from its confidence and from how often others like it are labelled.

    Args:
        confidence: (n,) in [0, 1]; ``nan`` (drawn by a person) is sure.
        right: (n,) whether a label of its concept is there.
        known: (n,) whether there would be one, if it was real: others teach nothing, and are judged by what those
            taught. Default: all.
    """
    scores = np.clip(np.nan_to_num(confidence, nan=1.0), 0, 1)
    known = np.ones(len(scores), bool) if known is None else known
    taught = right[known]
    if min(taught.sum(), (~taught).sum()) < _FEW:  # nothing to learn from: the network's own word
        return scores
    method = "isotonic" if len(taught) >= _MANY else "platt"
    real = np.empty(len(scores))
    real[known] = fit_cross(scores[known], taught, method)
    real[~known] = fit(scores[known], taught, method)(scores[~known])
    return real


def _felt(
    found: Instances, truth: Instances, concept: NDArray[np.int64], asked: NDArray[np.bool_],
    presence: NDArray[np.float64],
) -> NDArray[np.float64]:  # fmt: skip
    """(m,) presence of a label's concept in its image that no instance accounts for: it may be the label's object."""
    seen = np.zeros(presence.shape, bool)
    sure = (concept >= 0) & (np.nan_to_num(found.confidence, nan=1.0) >= 0.5)
    seen[found.sample[sure], concept[sure]] = True
    loose = np.where(seen | np.isnan(presence), 0, presence)
    return np.where(asked, loose[truth.sample], 0).max(axis=1, initial=0)


def _once(scores: NDArray[np.float64], among: Overlaps) -> NDArray[np.float64]:
    """Of instances on the same pixels, such as a fox and a wolf, the likeliest keeps its score."""
    scores = scores.copy()
    near = np.maximum.reduce([among.iou, among.first_inside, among.second_inside])
    for k in np.argsort(-near, kind="stable"):
        if near[k] < SAME:
            break
        first, second = among.first[k], among.second[k]
        loser = second if scores[first] >= scores[second] else first
        scores[loser] *= 1 - near[k]
    return scores


def most(places: NDArray[np.int64], values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """(size,) the largest value at each place; 0 where there is none."""
    largest = np.zeros(size)
    np.maximum.at(largest, places, values)
    return largest
