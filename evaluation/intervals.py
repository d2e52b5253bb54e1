"""How far can a number be trusted? Bootstrap confidence intervals over pairs.

Pairs are drawn with replacement as often as there are, the metric is computed anew, a thousand times; the middle 95 %
of what comes out is the interval (percentile bootstrap; Efron & Tibshirani, "An Introduction to the Bootstrap", 1993).
Phrases of one image, or of one video, share its light, its crowd and its annotator: they are drawn together.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .pairs import PairCounts
from .phota import hota_metrics, hota_rows
from .totals import metrics, rows
from .video_pairs import VideoPairCounts

_CHUNK = 64  # resamples at a time: 64 × 20,000 units of float64 are 10 MB


@dataclass(frozen=True)
class Interval:
    """A number and where it would lie had other data of the same kind been drawn.

    Attributes:
        value: from all the data.
        low, high: the interval's ends; NaN where nothing can be said: of a single unit, or of a number that was
            undefined in more than half of the resamples.
        level: the share of resamples that lie within, 0…1.
        resamples: how many there were.
        units: of how many images or videos.
    """

    value: float
    low: float
    high: float
    level: float
    resamples: int
    units: int

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


def cgf1_intervals(
    pairs: Iterable[PairCounts],
    units: Iterable[Hashable] | None = None,
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Intervals of cgF1, pmF1, IL_MCC and the other numbers of :func:`evaluation.cgf1.cgf1`.

    Args:
        pairs: N counted pairs.
        units: N images that they belong to; pairs of one image are drawn together. Default: each pair alone.
        level: how much the interval holds, between 0 and 1.
        resamples: how often pairs are drawn.
        seed: of the draws; the same seed gives the same interval.

    Returns:
        Name → interval; mask-level numbers are means over the ten IoU thresholds.

    Raises:
        TypeError: something that is not a PairCounts.
        ValueError: no pairs, ``units`` of another length, or a level or number of resamples out of range.

    >>> pair = PairCounts(*(np.full(10, n) for n in (3, 1, 0)), has_gt=True, has_pred=True)
    >>> miss = PairCounts(*(np.full(10, n) for n in (0, 0, 4)), has_gt=True, has_pred=False)
    >>> print(cgf1_intervals([pair] * 30 + [miss] * 10)["pmF1"])
    0.7199 [0.6206, 0.7924]
    """
    return _intervals(rows(pairs), units, metrics, level, resamples, seed)


def phota_intervals(
    pairs: Iterable[VideoPairCounts],
    units: Iterable[Hashable] | None = None,
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Intervals of pHOTA, pDetA and pAssA; see :func:`cgf1_intervals`. ``units``: the videos."""
    return _intervals(hota_rows(pairs), units, hota_metrics, level, resamples, seed)


def _intervals(
    table: NDArray[np.float64],
    units: Iterable[Hashable] | None,
    numbers: Callable[[NDArray[np.float64]], Mapping[str, NDArray[np.float64]]],
    level: float,
    resamples: int,
    seed: int,
) -> dict[str, Interval]:
    if not len(table):
        raise ValueError("pairs is empty: there is nothing to resample")
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; want a number between 0 and 1, such as 0.95")
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}; want at least 1")
    table = _by_unit(table, units)
    drawn = {name: [] for name in numbers(table.sum(axis=0))}
    for weights in _draws(len(table), resamples, np.random.default_rng(seed)):
        for name, values in numbers(weights @ table).items():
            drawn[name].append(_mean(values))
    whole = numbers(table.sum(axis=0))
    ends = [(1 - level) / 2, (1 + level) / 2]
    found = {}
    for name, values in drawn.items():
        array = np.concatenate(values)
        defined = array[~np.isnan(array)]
        known = len(table) > 1 and 2 * defined.size > array.size
        low, high = np.quantile(defined, ends) if known else (np.nan, np.nan)
        value = float(_mean(whole[name][None])[0])
        found[name] = Interval(value, float(low), float(high), level, resamples, len(table))
    return found


def _by_unit(table: NDArray[np.float64], units: Iterable[Hashable] | None) -> NDArray[np.float64]:
    """(U, C): the rows of each unit, summed."""
    if units is None:
        return table
    places: dict[Hashable, int] = {}
    index = np.array([places.setdefault(unit, len(places)) for unit in units], dtype=np.intp)
    if index.shape != table.shape[:1]:
        raise ValueError(f"units has {index.size} entries for {len(table)} pairs")
    sums = np.zeros((len(places), table.shape[1]))
    np.add.at(sums, index, table)
    return sums


def _draws(units: int, resamples: int, rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    """(at most _CHUNK, U) how often each unit is drawn."""
    for start in range(0, resamples, _CHUNK):
        size = min(_CHUNK, resamples - start)
        yield rng.multinomial(units, np.full(units, 1 / units), size=size).astype(np.float64)


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B, thresholds) or (B,) → (B,)."""
    return values.mean(axis=-1) if values.ndim == 2 else values
