"""Scores as probabilities: presence scores of one concept mended with reviewed pairs, and how far off they are.

A pair is an image and the concept; reviewed, it is known whether the concept is there. A fitted :class:`Calibrator` is
a handful of numbers: it fits in a database record and needs scikit-learn neither to be stored nor to be applied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

METHODS = ("platt", "isotonic")

_Z95 = 1.959963984540054  # standard deviations that hold the middle 95 % of a normal distribution
_CLIP = 1e-6  # scores of exactly 0 and 1 have no logit
_SPREAD = 1e-6  # logits closer than this are one score: a slope through them would only magnify rounding


class TooFewPairs(ValueError):
    """The reviewed pairs do not hold enough of either kind, there and not there; says how many there are."""


@dataclass(frozen=True)
class Calibrator:
    """A never falling curve from scores to probabilities; made by :func:`fit`.

    Attributes:
        method: one of METHODS.
        x, y: the curve. platt: ``x = (slope,)`` with slope ≥ 0 and ``y = (intercept,)``, both on logits.
            isotonic: its K corners; x ascending scores, y their probabilities, never falling. Straight between
            corners, level beyond the outermost.
        positives, negatives: of how many pairs it was fitted.

    Raises:
        ValueError: such a curve could fall, or leave 0…1.
    """

    method: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    positives: int
    negatives: int

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method is {self.method!r}; want one of {METHODS}")
        x, y = np.asarray(self.x, dtype=np.float64), np.asarray(self.y, dtype=np.float64)
        if x.ndim != 1 or x.shape != y.shape or not x.size or not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise ValueError(f"x is {self.x}, y {self.y}; want as many finite numbers in both, at least one")
        if self.method == "platt":
            if x.size != 1 or x[0] < 0:
                raise ValueError(f"x is {self.x}; want one slope that is not negative")
        elif (np.diff(x) <= 0).any() or (np.diff(y) < 0).any() or min(x[0], y[0]) < 0 or max(x[-1], y[-1]) > 1:
            raise ValueError(f"x is {self.x}, y {self.y}; want x to rise and y not to fall, within 0…1")

    def __call__(self, scores: ArrayLike) -> NDArray[np.float64]:
        """(N,) probabilities of (N,) scores: never outside 0…1 and, but for rounding, in the order of the scores.

        Raises:
            ValueError: not (N,), or a score that is not within 0…1.
        """
        values = _scores(scores)
        if self.method == "platt":
            return expit(self.x[0] * _logit(values) + self.y[0])
        return np.clip(np.interp(values, self.x, self.y), self.y[0], self.y[-1])

    def to_dict(self) -> dict[str, Any]:
        """All of it as what JSON and databases can hold."""
        return {**asdict(self), "x": list(self.x), "y": list(self.y)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Calibrator:
        """What :meth:`to_dict` made, again.

        Raises:
            KeyError: something is missing.
            ValueError: this is no curve that never falls.
        """
        x, y = (tuple(float(value) for value in record[name]) for name in ("x", "y"))
        return cls(record["method"], x, y, int(record["positives"]), int(record["negatives"]))


@dataclass(frozen=True, eq=False)
class Reliability:
    """How often what was said with a probability comes true; from :func:`reliability`.

    Attributes:
        edges: (B + 1,) of the bins. A bin holds its upper edge, not its lower one; the first holds both.
        predicted: (B,) mean score of each bin; NaN where it is empty, as in the next three.
        observed: (B,) share of its pairs where the concept is there.
        low, high: (B,) the 95 % interval of ``observed`` (Wilson, 1927), which unlike the normal one holds for few
            pairs and for shares near 0 and 1.
        counts: (B,) pairs in each bin.
        ece: expected calibration error, 0…1: how far ``observed`` is from ``predicted``, the mean over all pairs. NaN
            without pairs.
    """

    edges: NDArray[np.float64]
    predicted: NDArray[np.float64]
    observed: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    counts: NDArray[np.int64]
    ece: float

    def rows(self) -> list[dict[str, float | int]]:
        """A table for people and plots: one row a bin, without the empty ones, of which there is nothing to say."""
        names = ("from", "to", "pairs", "predicted", "observed", "low", "high")
        columns = (self.edges[:-1], self.edges[1:], self.counts, self.predicted, self.observed, self.low, self.high)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return [dict(zip(names, row, strict=True)) for row in rows if row[2]]


def fit(scores: ArrayLike, truth: ArrayLike, method: str = "platt") -> Calibrator:
    """The curve that turns the scores of a concept into probabilities.

    platt: a logistic curve on the logit of the score (clipped to 1e-6…1 - 1e-6), with the smoothed targets of Platt,
    "Probabilistic Outputs for Support Vector Machines" (1999), thanks to which it stays finite where a threshold
    separates all pairs. Two numbers, so it makes do with few pairs. A slope below 0, which would turn the order of
    the scores around, is held at 0: then all scores get the same probability.

    isotonic: the best curve of all that never fall (scikit-learn's IsotonicRegression), straight between its corners.
    Fits any shape, and with few pairs their noise as well.

    Args:
        scores: (N,) within 0…1.
        truth: (N,) bool, or 0 and 1: the concept is there.
        method: one of METHODS.

    Raises:
        TooFewPairs: not one pair where it is there, or not one where it is not.
        ValueError: shapes differ or are not (N,), a value is out of range, or an unknown method.

    >>> calibrator = fit([0.2, 0.3, 0.6, 0.7, 0.8, 0.9], [0, 0, 0, 1, 0, 1])
    >>> calibrator([0.1, 0.5, 0.9]).round(2).tolist()
    [0.08, 0.28, 0.63]
    >>> Calibrator.from_dict(calibrator.to_dict()) == calibrator
    True
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; want one of {METHODS}")
    values, there = checked_pairs(scores, truth)
    positives, negatives = _of_each(there, 1)
    if method == "platt":
        slope, intercept = _platt(_logit(values), there)
        return Calibrator(method, (slope,), (intercept,), positives, negatives)

    from sklearn.isotonic import IsotonicRegression

    curve = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(values, there.astype(np.float64))
    x, y = curve.X_thresholds_.tolist(), np.maximum.accumulate(curve.y_thresholds_).tolist()
    return Calibrator(method, tuple(x), tuple(y), positives, negatives)


def fit_cross(
    scores: ArrayLike, truth: ArrayLike, method: str = "platt", folds: int = 5, seed: int = 0
) -> NDArray[np.float64]:
    """Each pair's probability from a curve that was fitted without it.

    What a calibrator gains must not be measured on the pairs that it was fitted to: an isotonic curve has no error at
    all there. These (N,) probabilities, in the order of ``scores``, may go into
    :func:`expected_calibration_error` with the same truth.

    Args:
        scores, truth, method: see :func:`fit`.
        folds: parts that are left out in turn, each with its share of both kinds; fewer where there are not so many
            pairs of a kind.
        seed: of the draw of the parts.

    Raises:
        TooFewPairs: fewer than 2 pairs of a kind, one to leave out and one to fit to.
        ValueError: as :func:`fit`, or fewer than 2 folds.

    >>> fit_cross([0.1, 0.2, 0.3, 0.7, 0.8, 0.9], [0, 0, 0, 1, 1, 1]).round(1).tolist()
    [0.1, 0.3, 0.4, 0.6, 0.7, 0.9]
    """
    if folds < 2:
        raise ValueError(f"folds is {folds}; want at least 2")
    values, there = checked_pairs(scores, truth)
    folds = min(folds, *_of_each(there, 2))
    rng = np.random.default_rng(seed)
    # dealt like cards, one kind after the other, so that the parts differ by one pair at most
    dealt = np.concatenate([rng.permutation(np.flatnonzero(there)), rng.permutation(np.flatnonzero(~there))])
    part = np.empty(there.size, dtype=np.intp)
    part[dealt] = np.arange(there.size) % folds
    calibrated = np.empty_like(values)
    for k in range(folds):
        out = part == k
        calibrated[out] = fit(values[~out], there[~out], method)(values[out])
    return calibrated


def reliability(scores: ArrayLike, truth: ArrayLike, bins: int = 10) -> Reliability:
    """The reliability diagram: scores against how often the concept is there, in bins of equal width.

    As in Guo et al., "On Calibration of Modern Neural Networks" (2017). The error depends on the bins, and is above 0
    for perfect scores too, the more so the fewer pairs there are: compare only errors of the same bins and pairs.

    Args:
        scores: (N,) probabilities.
        truth: (N,) bool, or 0 and 1: the concept is there.
        bins: how many.

    Raises:
        ValueError: shapes differ or are not (N,), a value is out of range, or fewer than 1 bins.

    >>> diagram = reliability([0.1, 0.2, 0.8, 0.8], [0, 0, 1, 0], bins=2)
    >>> diagram.predicted.round(2).tolist(), diagram.observed.tolist(), diagram.high.round(2).tolist()
    ([0.15, 0.8], [0.0, 0.5], [0.66, 0.91])
    >>> round(diagram.ece, 3)
    0.225
    """
    if bins < 1:
        raise ValueError(f"bins is {bins}; want at least 1")
    values, there = checked_pairs(scores, truth)
    edges = np.linspace(0, 1, bins + 1)
    index = np.searchsorted(edges[1:-1], values)
    counts = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):  # empty bins: 0 / 0 is the NaN that is wanted
        predicted = np.bincount(index, weights=values, minlength=bins) / counts
        observed = np.bincount(index, weights=there, minlength=bins) / counts
    low, high = _wilson(observed, counts)
    some = counts > 0
    gaps = counts[some] * np.abs(observed[some] - predicted[some])
    ece = float(gaps.sum() / values.size) if values.size else float("nan")
    return Reliability(edges, predicted, observed, low, high, counts, ece)


def expected_calibration_error(scores: ArrayLike, truth: ArrayLike, bins: int = 10) -> float:
    """How far probabilities are from what comes true, 0…1; see :func:`reliability`. NaN without pairs.

    >>> round(expected_calibration_error([0.9] * 10, [1] * 7 + [0] * 3), 3)
    0.2
    """
    return reliability(scores, truth, bins).ece


def checked_pairs(scores: ArrayLike, truth: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(N,) scores as float64 and (N,) truth as bool.

    Raises:
        ValueError: shapes differ or are not (N,), a score is not within 0…1, or a truth is neither 0 nor 1.

    >>> checked_pairs([0.5, 0.7], [1, None])
    Traceback (most recent call last):
    ...
    ValueError: truth[1] is None; want True or False
    """
    values, flags = np.asarray(scores, dtype=np.float64), np.asarray(truth)
    if values.ndim != 1 or values.shape != flags.shape:
        raise ValueError(f"scores has shape {values.shape}, truth {flags.shape}; want (N,) for both")
    strange = (flags != 0) & (flags != 1)
    if strange.any():
        raise ValueError(f"truth[{int(strange.argmax())}] is {flags[strange.argmax()]}; want True or False")
    return _scores(values), flags.astype(bool)


def _of_each(there: NDArray[np.bool_], wanted: int) -> tuple[int, int]:
    positives = int(there.sum())
    negatives = there.size - positives
    if min(positives, negatives) < wanted:
        kinds = f"{positives} pairs where the concept is there, {negatives} where not"
        raise TooFewPairs(f"{kinds}; want {wanted} of each")
    return positives, negatives


def _scores(scores: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"scores has shape {values.shape}; want (N,)")
    strange = ~((values >= 0) & (values <= 1))
    if strange.any():
        raise ValueError(f"scores[{int(strange.argmax())}] is {values[strange.argmax()]}; want a number within 0…1")
    return values


def _logit(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return logit(np.clip(scores, _CLIP, 1 - _CLIP))


def _platt(logits: NDArray[np.float64], there: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope ≥ 0 and intercept of least cross-entropy; finite, as no target is 0 or 1."""
    from scipy.optimize import minimize

    positives, negatives = int(there.sum()), int((~there).sum())
    target = np.where(there, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    level = float(logit(target.mean()))  # the best intercept without a slope
    centre, spread = float(logits.mean()), float(logits.std())
    if spread < _SPREAD:
        return 0.0, level
    z = (logits - centre) / spread  # the two coefficients of like size, whatever the scores

    def loss(coefficients: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        line = coefficients[0] * z + coefficients[1]
        error = expit(line) - target
        return (np.logaddexp(0, line) - target * line).mean(), np.array([error @ z, error.sum()]) / z.size

    options = {"ftol": 1e-15, "gtol": 1e-10, "maxiter": 1000}
    bounds = [(0, None), (None, None)]
    slope, intercept = minimize(loss, (0.0, level), jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    return float(slope / spread), float(intercept - slope / spread * centre)


def _wilson(share: NDArray[np.float64], counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95 % interval of shares of ``counts``; NaN of NaN."""
    n = np.maximum(counts, 1)
    middle = (share + _Z95**2 / (2 * n)) / (1 + _Z95**2 / n)
    half = _Z95 / (1 + _Z95**2 / n) * np.sqrt(share * (1 - share) / n + _Z95**2 / (4 * n**2))
    # at shares of 0 and 1 the ends are 0 and 1 but for rounding
    return np.clip(middle - half, 0, share), np.clip(middle + half, share, 1)
