"""The counts of many (image, phrase) pairs, side by side: a table of thousands is summed, and kept, in one piece."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from .match import IOU_THRESHOLDS
from .pairs import PairCounts


@dataclass(frozen=True, eq=False)
class PairColumns(Sequence[PairCounts]):
    """N pairs; a sequence of :class:`PairCounts`, whose attributes are its columns.

    Attributes:
        tp, fp, fn: (N, 10) int64.
        has_gt, has_pred: (N,) bool.

    >>> one = PairCounts(*(np.full(10, n) for n in (2, 1, 0)), has_gt=True, has_pred=True)
    >>> columns = PairColumns.of([one, one])
    >>> columns.tp.shape, columns[1].fp[0].item(), len(columns[[0]])
    ((2, 10), 1, 1)
    """

    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    fn: NDArray[np.int64]
    has_gt: NDArray[np.bool_]
    has_pred: NDArray[np.bool_]

    @classmethod
    def of(cls, pairs: Iterable[PairCounts]) -> PairColumns:
        """The columns of ``pairs``.

        Raises:
            TypeError: something that is not a PairCounts.
        """
        if isinstance(pairs, PairColumns):
            return pairs
        pairs = list(pairs)
        for i, pair in enumerate(pairs):
            if not isinstance(pair, PairCounts):
                raise TypeError(f"pairs[{i}] is a {type(pair).__name__}; want PairCounts, see count_pair")
        shape = (len(pairs), IOU_THRESHOLDS.size)
        counts = (np.array([getattr(pair, name) for pair in pairs], np.int64) for name in ("tp", "fp", "fn"))
        flags = (np.array([getattr(pair, name) for pair in pairs], bool) for name in ("has_gt", "has_pred"))
        return cls(*(column.reshape(shape) for column in counts), *flags)

    def __len__(self) -> int:
        return len(self.has_gt)

    @overload
    def __getitem__(self, index: int) -> PairCounts: ...
    @overload
    def __getitem__(self, index: Any) -> PairColumns: ...
    def __getitem__(self, index: Any) -> PairCounts | PairColumns:
        """One pair, or, by a slice, a list or an array of indices, some."""
        kind = PairCounts if isinstance(index, (int, np.integer)) else PairColumns
        return kind(*(column[index] for column in (self.tp, self.fp, self.fn, self.has_gt, self.has_pred)))
