"""How often instances of one concept lie on, or in, instances of another: square matrices over the concepts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .instances import Instances, Overlaps

#: two instances with this IoU are one thing
SAME_MASK = 0.7
#: as much of an instance within another makes it a part of it
PART = 0.85


@dataclass(frozen=True)
class Cofire:
    """Counts over a dataset; ``[a, b]`` is concept ``a`` against concept ``b``.

    Attributes:
        concepts: K labels.
        instances: (K,) how many instances each has.
        same: (K, K) pairs of instances on the same pixels; symmetric.
        claimed: (K, K) instances of ``a`` on the same pixels as any of ``b``.
        wins: (K, K) of the pairs, those in which ``a`` is the more confident; ties are nobody's.
        inside: (K, K) instances of ``a`` that lie within one of ``b``, as a part.
    """

    concepts: tuple[str, ...]
    instances: NDArray[np.int64]
    same: NDArray[np.int64]
    claimed: NDArray[np.int64]
    wins: NDArray[np.int64]
    inside: NDArray[np.int64]

    def pairs(self, least: int = 1) -> dict[tuple[str, str], int]:
        """Pairs of concepts, in the order of the concepts → how many masks they share, at least ``least``."""
        rows, columns = np.nonzero(np.triu(self.same, 1) >= least)
        return {
            (self.concepts[a], self.concepts[b]): int(self.same[a, b])
            for a, b in zip(rows.tolist(), columns.tolist(), strict=True)
        }


def cofire(
    found: Instances, among: Overlaps, concepts: Sequence[str], iou: float = SAME_MASK, sure: float = 0.0
) -> Cofire:
    """Count.

    Args:
        found: n instances.
        among: which of them overlap.
        concepts: K labels; instances of others do not count.
        iou: from which IoU on two are the same thing.
        sure: instances of less confidence do not count; without a confidence, they do.
    """
    size = len(concepts)
    place = {name: k for k, name in enumerate(concepts)}
    column = np.array([place.get(name, -1) for name in found.label.tolist()], dtype=np.int64)
    confidence = np.nan_to_num(found.confidence, nan=1.0)
    column[confidence < sure] = -1
    a, b = column[among.first], column[among.second]
    usable = (a >= 0) & (b >= 0) & (a != b)
    # each pair from either side
    one = np.concatenate([among.first[usable], among.second[usable]])
    other = np.concatenate([among.second[usable], among.first[usable]])
    overlap = np.tile(among.iou[usable], 2)
    within = np.concatenate([among.first_inside[usable], among.second_inside[usable]])
    same = overlap >= iou
    part = ~same & (within >= PART)
    won = same & (confidence[one] > confidence[other])
    return Cofire(
        tuple(concepts), np.bincount(column[column >= 0], minlength=size),
        _matrix(column[one[same]], column[other[same]], size), _matrix(*_once(column, one, other, same), size),
        _matrix(column[one[won]], column[other[won]], size), _matrix(*_once(column, one, other, part), size),
    )  # fmt: skip


def _once(
    column: NDArray[np.int64], one: NDArray[np.int64], other: NDArray[np.int64], chosen: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Concepts of the pairs, each instance once for each other concept."""
    if not chosen.any():
        return one[:0], one[:0]
    pairs = np.unique(np.stack([one[chosen], column[other[chosen]]], axis=1), axis=0)
    return column[pairs[:, 0]], pairs[:, 1]


def _matrix(rows: NDArray[np.int64], columns: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    return np.bincount(rows * size + columns, minlength=size * size).reshape(size, size)
