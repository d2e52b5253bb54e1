"""Near-duplicates: of pictures that are nearly one, one stays. Exact, and in memory that does not grow with pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: rows compared at once, with so many columns: what is compared stays in the processor's cache
_ROWS, _COLUMNS = 1_024, 1_024
#: dimensions that are looked at first
_FIRST = (16, 32, 64, 128)
#: of the pairs, at most this share may be left after that
_LEFT = 1e-5
#: of a few pairs it is found out how many are left
_TRIED = 2_000
#: cosines are sums of float32 products
_SLACK = 1e-5


@dataclass(frozen=True)
class Distinct:
    """What is left when near-duplicates are gone.

    Attributes:
        stays: (N,) bool.
        twin: (N,) the row that stays in place of this one; -1 for those that stay.
        cosine: (N,) to the twin; 0 for those that stay.
    """

    stays: NDArray[np.bool_]
    twin: NDArray[np.int64]
    cosine: NDArray[np.float32]


def distinct(vectors: NDArray[np.float32], threshold: float, order: NDArray[np.int64] | None = None) -> Distinct:
    """Leave out what is as near as ``threshold`` to one that stays.

    No two that stay are that near; whoever goes has a twin that stays. Chains, such as the frames of a pan, are thus
    thinned, where groups of everything that is linked would leave one frame of them.

    Args:
        vectors: (N, D) of length 1.
        threshold: cosine in (0, 1].
        order: (N,) rows, those first that are to stay rather than their twins. Default: as they come.

    Returns:
        who stays, and whose twin the others are.
    """
    count = len(vectors)
    order = np.arange(count) if order is None else order
    placed = np.ascontiguousarray(vectors[order])
    bounds = _bounds(placed, threshold)
    kept = np.zeros(count, bool)  # in the order of ``placed``
    twin, cosine = np.full(count, -1, np.int64), np.zeros(count, np.float32)
    level = threshold - _SLACK
    for start in range(0, count, _ROWS):
        rows = np.arange(start, min(start + _ROWS, count))
        before = np.flatnonzero(kept[:start])
        _strike(placed, bounds, rows, before, level, twin, cosine)
        left = rows[twin[rows] < 0]
        first, second, near = _pairs(placed, bounds, left, left, level)
        by_second = np.argsort(second, kind="stable")
        first, second, near = first[by_second], second[by_second], near[by_second]
        starts = np.searchsorted(second, [left, left + 1])
        for row, low, high in zip(left.tolist(), *starts.tolist(), strict=True):
            if twin[row] < 0:  # all before it are settled, so it stays, and those near to it go
                go = np.flatnonzero((first[low:high] > row) & (near[low:high] > cosine[first[low:high]])) + low
                twin[first[go]], cosine[first[go]] = row, near[go]
        kept[rows] = twin[rows] < 0
    found, near = np.full(count, -1, np.int64), np.zeros(count, np.float32)
    found[order] = np.where(twin < 0, -1, order[twin])
    near[order] = cosine
    return Distinct(found < 0, found, near)


def _strike(
    placed: NDArray[np.float32], bounds: NDArray[np.float32] | None, rows: NDArray[np.int64],
    before: NDArray[np.int64], level: float, twin: NDArray[np.int64], cosine: NDArray[np.float32],
) -> None:  # fmt: skip
    """Mark those ``rows`` that are near to one of ``before``, which all stay."""
    for start in range(0, len(before), _COLUMNS):
        first, second, near = _pairs(placed, bounds, rows, before[start : start + _COLUMNS], level)
        by_near = np.argsort(near, kind="stable")  # of several, the nearest is written last
        by_near = by_near[near[by_near] > cosine[first[by_near]]]
        twin[first[by_near]], cosine[first[by_near]] = second[by_near], near[by_near]


def _pairs(
    placed: NDArray[np.float32], bounds: NDArray[np.float32] | None, rows: NDArray[np.int64],
    columns: NDArray[np.int64], level: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:  # fmt: skip
    """All pairs at least that near, and how near they are."""
    if not len(rows) or not len(columns):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    looked = placed if bounds is None else bounds
    near = looked[rows] @ looked[columns].T
    first, second = _hits(near, level)
    if bounds is None:
        return rows[first], columns[second], near[first, second]
    if len(first) > near.size // 64:  # so many that it is cheaper to compare all of them
        return _pairs(placed, None, rows, columns, level)
    exact = np.einsum("nd,nd->n", placed[rows[first]], placed[columns[second]])
    sure = exact >= level
    return rows[first[sure]], columns[second[sure]], exact[sure]


def _hits(near: NDArray[np.float32], level: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where a matrix is at least ``level``; quick if that is hardly anywhere, for eight are looked at together."""
    flat = np.zeros(-(-near.size // 8) * 8, bool)
    np.greater_equal(near.ravel(), level, out=flat[: near.size])
    words = np.flatnonzero(flat.view(np.uint64))
    places = (words[:, None] * 8 + np.arange(8)).ravel()
    return np.divmod(places[flat[places]], near.shape[1])


def _bounds(placed: NDArray[np.float32], threshold: float) -> NDArray[np.float32] | None:
    """Short vectors whose products are never below those of the long ones; None where that would spare nothing.

    The leading principal directions, and in one more number the length of what they leave out: by Cauchy and Schwarz,
    that much and no more can the rest add to a product.
    """
    count, width = placed.shape
    if count < 2 * _TRIED or width <= 2 * _FIRST[0]:
        return None
    rng = np.random.default_rng(0)  # which pairs are tried has no bearing on the result
    some = placed[rng.choice(count, min(count, 5_000), replace=False)]
    _, directions = np.linalg.eigh(some.T.astype(np.float64) @ some)
    directions = directions[:, ::-1].astype(np.float32)
    for first in (number for number in _FIRST if number <= width / 2):
        short = placed @ directions[:, :first]
        # rounding must not make a bound of less than there is
        rest = np.sqrt(np.maximum(1 - np.einsum("nd,nd->n", short, short), 0) + 1e-6)
        bounds = np.concatenate([short, rest[:, None].astype(np.float32)], axis=1)
        pairs = rng.permutation(count)
        tried = bounds[pairs[:_TRIED]] @ bounds[pairs[_TRIED : 2 * _TRIED]].T  # nobody with itself
        if (tried >= threshold).mean() <= _LEFT:
            return bounds
    return None
