"""Above which score is the concept there? A threshold from reviewed pairs, and how far it can be trusted.

A score ≥ the threshold counts as present. The threshold is a guess from few pairs, so it comes with the interval in
which it would lie had other pairs been reviewed; where that says too little, there is no threshold at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .calibration import checked_pairs

GOALS = ("f1", "precision")
MIN_EACH = 5  # pairs of each kind below which there is no threshold
MAX_WIDTH = 0.5  # of the threshold's interval, above which there is none either
MAX_MORE = 1000  # pairs to review; nobody plans further ahead

_LEVELS = 2000  # more distinct scores than about so many are put together for the bootstrap
_CHUNK = 250  # resamples at a time: 250 × 2,000 levels of int64 are 4 MB
_ENDS = (0.025, 0.975)


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold, what it achieves on the reviewed pairs and how sure it is; from :func:`operating_point`.

    Attributes:
        threshold: scores ≥ it count as present. NaN where not ``enough``, and so are the next three.
        precision, recall, f1: of the reviewed pairs at the threshold. The threshold was chosen on them: other pairs
            will do a little worse.
        positives, negatives: reviewed pairs where the concept is there, and where not.
        goal: one of GOALS.
        target: precision to reach; None for F1.
        best: highest value of the goal's measure at any threshold; NaN without positives.
        low, high: 95 % interval of the threshold; NaN where a kind is missing or no threshold reaches the target.
        f1_low, f1_high: 95 % interval of the goal's measure, F1 or precision, at this very threshold; NaN where there
            is none. (A threshold without an error on the pairs has none in any resample, and so an interval 1…1.)
        enough: False where no threshold reaches the target, a kind has less than MIN_EACH pairs, or the interval is
            wider than MAX_WIDTH.
        more: with fewer than MIN_EACH of a kind, how many are missing; else how many more reviewed pairs with scores
            from ``low`` to ``high`` would about halve the interval: thrice those that are there. Good for a precision;
            the highest F1 is flat, and its interval shrinks to about two thirds. At most MAX_MORE; 0 where the
            interval is missing or a single number.
    """

    threshold: float
    precision: float
    recall: float
    f1: float
    positives: int
    negatives: int
    goal: str
    target: float | None
    best: float
    low: float
    high: float
    f1_low: float
    f1_high: float
    enough: bool
    more: int

    def __str__(self) -> str:
        more = f"{self.more} or more" if self.more == MAX_MORE else f"{self.more} more"
        if min(self.positives, self.negatives) < MIN_EACH:
            have = f"present in {self.positives} and absent in {self.negatives} reviewed images"
            return f"too few: {have}, want {MIN_EACH} of each; review {more}"
        if math.isnan(self.low):
            return f"no threshold reaches precision {self.target:g}; the best reaches {self.best:.2f}"
        # as many digits as tell the ends apart
        width = self.high - self.low
        digits = 2 if width == 0 else min(max(2, 1 + math.ceil(-math.log10(width))), 4)
        between = f"{self.low:.{digits}f} … {self.high:.{digits}f}"
        if not self.enough:
            return f"somewhere in {between}, too wide to name one; review {more} to halve the interval"
        reached = f"F1 {self.f1:.2f}" if self.goal == "f1" else f"precision {self.precision:.2f}"
        advice = f"; review {more} to halve the interval" if self.more else ""
        return f"{self.threshold:.{digits}f} ({between}), {reached}{advice}"


def operating_point(
    scores: ArrayLike,
    truth: ArrayLike,
    goal: str = "f1",
    target: float | None = None,
    bootstraps: int = 500,
    seed: int = 0,
) -> OperatingPoint:
    """The threshold that serves a goal best, with its 95 % interval.

    Thresholds between the same two neighbouring scores decide alike: it is the middle one, and of several stretches
    that are equally good, that of the widest. Below the lowest score, the neighbour is 0.

    The interval is a percentile bootstrap (Efron & Tibshirani, "An Introduction to the Bootstrap", 1993) with pairs of
    each kind drawn among themselves, so that their numbers stay; it is widened to hold the threshold.
    It is the interval of the middle: where a wide gap without scores parts the kinds, it is narrow, and yet a pair in
    the gap, once reviewed, can move the threshold out of it.

    All of it holds for images like the reviewed ones. Where images were reviewed for their scores, as in looking
    through the doubtful ones first, the reviewed pairs are harder than the rest: F1 and precision come out too low,
    and a threshold for a precision too high.

    Args:
        scores: (N,) within 0…1.
        truth: (N,) bool, or 0 and 1: the concept is there.
        goal: "f1" for the highest F1; "precision" for the lowest threshold with precision ≥ target.
        target: that precision, above 0 and at most 1; with "precision" only.
        bootstraps: how often pairs are drawn.
        seed: of the draws; the same seed gives the same interval, in whatever order the pairs come.

    Raises:
        ValueError: shapes differ or are not (N,), a value is out of range, an unknown goal, or a target where there
            must be none or the other way round.

    >>> sure, unsure = [0.9, 0.8, 0.8, 0.7, 0.7, 0.7, 0.6, 0.4], [0.5, 0.3, 0.3, 0.2, 0.2, 0.1, 0.1, 0.1]
    >>> print(operating_point(sure + unsure, [1] * 8 + [0] * 8))
    0.35 (0.30 … 0.60), F1 0.94; review 9 more to halve the interval
    >>> print(operating_point(sure + unsure, [1] * 8 + [0] * 8, "precision", 0.95))
    0.55 (0.35 … 0.60), precision 1.00; review 9 more to halve the interval
    >>> print(operating_point([0.9, 0.2], [1, 0]))
    too few: present in 1 and absent in 1 reviewed images, want 5 of each; review 8 more
    """
    if goal not in GOALS:
        raise ValueError(f"goal is {goal!r}; want one of {GOALS}")
    if goal == "f1" and target is not None:
        raise ValueError(f"target is {target}, but only the goal 'precision' has one")
    if goal == "precision" and (target is None or not 0 < target <= 1):
        raise ValueError(f"target is {target}; want a precision above 0 and at most 1")
    if bootstraps < 1:
        raise ValueError(f"bootstraps is {bootstraps}; want at least 1")
    values, there = checked_pairs(scores, truth)
    positives = int(there.sum())
    negatives = there.size - positives
    nan = float("nan")
    threshold = best = low = high = nan
    if positives:
        exact = _Levels.of(values, there)
        found, best = exact.thresholds(exact.present[None], exact.absent[None], target)
        threshold, best = float(found[0]), float(best[0])
    if positives and negatives and not math.isnan(threshold):
        rng = np.random.default_rng(seed)
        levels = exact if exact.lowest.size <= _LEVELS else _Levels.of(values, there, _grid(values))
        drawn = levels.bootstrap(target, bootstraps, rng)
        # where a resample never reaches the target, it would take a threshold above all scores
        low, high = np.quantile(np.nan_to_num(drawn, nan=1.0), _ENDS)
        low, high = float(min(low, threshold)), float(max(high, threshold))

    enough = min(positives, negatives) >= MIN_EACH and high - low <= MAX_WIDTH
    more = max(MIN_EACH - positives, 0) + max(MIN_EACH - negatives, 0)
    if not more and high > low:
        # widths go with one over the square root of the number of pairs that matter: half needs four times as many
        more = 3 * max(1, int(((values >= low) & (values <= high)).sum()))
    precision = recall = f1 = f1_low = f1_high = nan
    if enough:
        tp, fp = int((values[there] >= threshold).sum()), int((values[~there] >= threshold).sum())
        precision, recall, f1 = tp / (tp + fp), tp / positives, 2 * tp / (tp + fp + positives)
        # pairs drawn with replacement land above the threshold as a coin of that share does
        tps = rng.binomial(positives, tp / positives, bootstraps)
        fps = rng.binomial(negatives, fp / negatives, bootstraps)
        measure = _measure(tps, fps, positives, target)
        f1_low, f1_high = (float(end) for end in np.nanquantile(measure, _ENDS))
    else:
        threshold = nan
    return OperatingPoint(
        threshold=threshold,
        precision=precision,
        recall=recall,
        f1=f1,
        positives=positives,
        negatives=negatives,
        goal=goal,
        target=target,
        best=best,
        low=low,
        high=high,
        f1_low=f1_low,
        f1_high=f1_high,
        enough=enough,
        more=min(more, MAX_MORE),
    )


@dataclass(frozen=True, eq=False)
class _Levels:
    """Pairs by score: K levels, each one score or, put together, several neighbours.

    Attributes:
        lowest: (K,) lowest score of each level, ascending.
        below: (K,) highest score of the level below; 0 for the first.
        present, absent: (K,) pairs of each kind.
    """

    lowest: NDArray[np.float64]
    below: NDArray[np.float64]
    present: NDArray[np.int64]
    absent: NDArray[np.int64]

    @classmethod
    def of(
        cls, values: NDArray[np.float64], there: NDArray[np.bool_], grid: NDArray[np.float64] | None = None
    ) -> _Levels:
        distinct, index = np.unique(values, return_inverse=True)
        first = np.arange(distinct.size)
        if grid is not None:
            first = np.flatnonzero(np.diff(np.searchsorted(grid, distinct, side="right"), prepend=-1))
            index = np.searchsorted(first, index, side="right") - 1
        below = np.concatenate([[0.0], distinct[first[1:] - 1]])
        present = np.bincount(index[there], minlength=first.size)
        return cls(distinct[first], below, present, np.bincount(index, minlength=first.size) - present)

    def bootstrap(self, target: float | None, times: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """(times,) thresholds of resamples; NaN where none reaches the target."""
        found = []
        for start in range(0, times, _CHUNK):
            size = min(_CHUNK, times - start)
            found.append(self.thresholds(_draw(self.present, size, rng), _draw(self.absent, size, rng), target)[0])
        return np.concatenate(found)

    def thresholds(
        self, present: NDArray[np.int64], absent: NDArray[np.int64], target: float | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The threshold of each of B samples, and the highest value of its measure at any.

        Args:
            present, absent: (B, K) pairs of each kind at the levels; in each row at least one is present.
            target: precision to reach; None for the highest F1.

        Returns:
            (B,) thresholds, NaN where none reaches the target, and (B,) values.
        """
        tp, fp = (np.cumsum(kind[:, ::-1], axis=1)[:, ::-1] for kind in (present, absent))
        measure = _measure(tp, fp, tp[:, :1], target)
        best = np.nanmax(measure, axis=1)
        # thresholds in (below[first], lowest[last]] are as good as each other
        if target is None:
            first, last = self._widest(measure == best[:, None])
        else:
            first = np.argmax(measure >= target, axis=1)
            marked = np.take_along_axis(tp + fp, first[:, None], axis=1)
            last = (tp + fp >= marked).sum(axis=1) - 1  # up to the next level that was drawn
        low, high = self.below[first], self.lowest[last]
        middle = (low + high) / 2
        middle = np.where(middle > low, middle, high)  # neighbours without a number between them
        return middle if target is None else np.where(best >= target, middle, np.nan), best

    def _widest(self, good: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """First and last level of the widest stretch of True in each of B rows, each of which has one."""
        edges = np.diff(good.astype(np.int8), axis=1, prepend=0, append=0)
        row, first = np.nonzero(edges == 1)
        last = np.nonzero(edges == -1)[1] - 1
        order = np.lexsort((self.below[first] - self.lowest[last], row))
        chosen = order[np.unique(row[order], return_index=True)[1]]
        return first[chosen], last[chosen]


def _measure(
    tp: NDArray[np.int64], fp: NDArray[np.int64], positives: NDArray[np.int64] | int, target: float | None
) -> NDArray[np.float64]:
    """F1, or precision where there is a target; NaN where it is undefined.

    One division of whole numbers, so that equal ratios are equal numbers.
    """
    with np.errstate(invalid="ignore"):
        return 2 * tp / (tp + fp + positives) if target is None else tp / (tp + fp)


def _draw(counts: NDArray[np.int64], times: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(times, K): as many pairs as (K,) ``counts`` holds, drawn from them with replacement."""
    held = np.flatnonzero(counts)
    total = counts.sum()
    drawn = np.zeros((times, counts.size), dtype=np.int64)
    drawn[:, held] = rng.multinomial(total, counts[held] / total, size=times)
    return drawn


def _grid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where to part levels: even in scores, for the gaps, and in numbers of pairs, for the crowds near 0 and 1."""
    steps = np.linspace(0, 1, _LEVELS // 2)
    return np.union1d(steps, np.quantile(values, steps))
