"""The pairs of an evaluation with their names, to be summed whole, by concept, or by any other property."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .cgf1 import CGF1, cgf1
from .columns import PairColumns
from .intervals import Interval, cgf1_intervals, phota_intervals
from .pairs import PairCounts, f1_score
from .phota import PHOTA, phota
from .video_pairs import VideoPairCounts

if TYPE_CHECKING:
    import matplotlib.axes
    import pandas


@dataclass(frozen=True, eq=False)
class PairTable:
    """N counted pairs. Immutable; every method computes from the counts, nothing is matched anew.

    Attributes:
        counts: (N,) of images, :class:`PairCounts`, or of videos, :class:`VideoPairCounts`; all of one kind.
        concepts: (N,) the phrase of each pair.
        media: (N,) the image or video of each pair: what is drawn together in a bootstrap.
        groups: other properties to break down by, name → (N,) values.

    Raises:
        ValueError: columns of different lengths.
        TypeError: counts of two kinds.

    >>> def pair(tp, fp, fn):
    ...     counts = [np.full(10, n) for n in (tp, fp, fn)]
    ...     return PairCounts(*counts, has_gt=tp + fn > 0, has_pred=tp + fp > 0)
    >>> table = PairTable([pair(2, 0, 0), pair(0, 0, 0), pair(0, 1, 0)], ["cap", "cap", "hat"], ["a", "b", "b"])
    >>> {concept: round(part.cgf1().cgF1, 3) for concept, part in table.by("concept").items()}
    {'cap': 1.0, 'hat': 0.0}
    """

    counts: Sequence[PairCounts] | Sequence[VideoPairCounts]
    concepts: Sequence[str]
    media: Sequence[Hashable]
    groups: Mapping[str, Sequence[Hashable]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        counts = self.counts if isinstance(self.counts, PairColumns) else tuple(self.counts)
        kinds = {type(pair) for pair in counts} if isinstance(counts, tuple) else {PairCounts}
        if len(kinds) > 1 or not kinds <= {PairCounts, VideoPairCounts}:
            raise TypeError(f"counts has {sorted(k.__name__ for k in kinds)}; want PairCounts or VideoPairCounts")
        object.__setattr__(self, "counts", PairColumns.of(counts) if kinds == {PairCounts} else counts)
        for name in ("concepts", "media"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "groups", {name: tuple(values) for name, values in self.groups.items()})
        columns = {"concepts": self.concepts, "media": self.media, **self.groups}
        for name, values in columns.items():
            if len(values) != len(self.counts):
                raise ValueError(f"{name} has {len(values)} entries for {len(self.counts)} pairs")

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def videos(self) -> bool:
        """Whether these are pairs of videos."""
        return bool(len(self.counts)) and not isinstance(self.counts, PairColumns)

    def cgf1(self) -> CGF1:
        """The metrics of all pairs; of videos, by the volumes of masklets."""
        return cgf1(self._by_image())

    def _by_image(self) -> PairColumns:
        """The counts that cgF1 takes."""
        return PairColumns.of(pair.volume for pair in self.counts) if self.videos else self.counts

    def phota(self) -> PHOTA:
        """The tracking metrics of all pairs.

        Raises:
            TypeError: these are images
        """
        return phota(self.counts)

    def by(self, column: str = "concept") -> dict[Hashable, PairTable]:
        """A table for each value of a column, in the order of first appearance.

        Args:
            column: "concept", "medium", or a name in ``groups``.

        Raises:
            ValueError: an unknown column.
        """
        values = {"concept": self.concepts, "medium": self.media, **self.groups}.get(column)
        if values is None:
            raise ValueError(f"column is {column!r}; want one of {['concept', 'medium', *self.groups]}")
        places: dict[Hashable, list[int]] = {}
        for i, value in enumerate(values):
            places.setdefault(value, []).append(i)
        return {value: self._taken(chosen) for value, chosen in places.items()}

    def intervals(self, *, level: float = 0.95, resamples: int = 1000, seed: int = 0) -> dict[str, Interval]:
        """Bootstrap confidence intervals of all numbers; all pairs of an image or video are drawn together."""
        settings = dict(level=level, resamples=resamples, seed=seed)
        found = cgf1_intervals(self._by_image(), self.media, **settings)
        return found | (phota_intervals(self.counts, self.media, **settings) if self.videos else {})

    def to_pandas(self, by: str | None = "concept") -> pandas.DataFrame:
        """One row a value of ``by``, with its metrics, or one row a pair (``by=None``). NaN: undefined."""
        import pandas

        if by is None:
            return pandas.DataFrame(
                {"concept": self.concepts, "medium": self.media, **self.groups, **self._pair_columns()}
            )
        parts = self.by(by)
        return pandas.DataFrame([part._numbers() for part in parts.values()], index=pandas.Index(list(parts), name=by))

    def plot(self, by: str = "concept", metric: str = "cgF1", *, resamples: int = 200) -> matplotlib.axes.Axes:
        """A bar a concept, the best on top, with 95 % confidence intervals.

        Args:
            by: what makes a bar, see :meth:`by`.
            metric: "cgF1", "pmF1" or "IL_MCC"; of videos also "pHOTA", "pDetA" or "pAssA".
            resamples: of the bootstrap; 0 for no intervals.

        Raises:
            ValueError: an unknown column or metric.
        """
        from .plots import bars

        parts = self.by(by)
        known = ("cgF1", "pmF1", "IL_MCC", *(("pHOTA", "pDetA", "pAssA") if self.videos else ()))
        if metric not in known:
            raise ValueError(f"metric is {metric!r}; want one of {list(known)}")
        values = {name: part._numbers()[metric] for name, part in parts.items()}
        order = sorted(values, key=lambda name: (np.isnan(values[name]), -np.nan_to_num(values[name])))
        drawn = [parts[name].intervals(resamples=resamples)[metric] if resamples else None for name in order]
        return bars([str(name) for name in order], [values[name] for name in order], metric, drawn)

    def __str__(self) -> str:
        from tabulate import tabulate

        frame = self.to_pandas().reset_index()
        return tabulate(frame, headers="keys", floatfmt=".3f", showindex=False, missingval="-")

    def _taken(self, places: list[int]) -> PairTable:
        def take(column: Sequence[Any]) -> list[Any]:
            return [column[i] for i in places]

        groups = {name: take(values) for name, values in self.groups.items()}
        counts = take(self.counts) if self.videos else self.counts[places]
        return PairTable(counts, take(self.concepts), take(self.media), groups)

    def _numbers(self) -> dict[str, float | int]:
        """The row of a table: pairs, and their metrics, of which those that mean nothing here are NaN."""
        images = self.cgf1()
        defined = not any("IL_MCC is undefined" in warning for warning in images.warnings)
        row: dict[str, float | int] = {
            "pairs": len(self),
            "positive": images.IL_TP + images.IL_FN,
            "cgF1": images.cgF1 if defined else np.nan,
            "pmF1": images.pmF1 if images.IL_TP + images.IL_FN else np.nan,
            "IL_MCC": images.IL_MCC if defined else np.nan,
            **{name: getattr(images, name) for name in ("IL_TP", "IL_FP", "IL_TN", "IL_FN")},
        }
        if self.videos:
            tracked = self.phota()
            row |= {name: getattr(tracked, name) for name in ("pHOTA", "pDetA", "pAssA", "masklets", "id_switches")}
        return row

    def _pair_columns(self) -> dict[str, Any]:
        pairs = self._by_image()
        counted = pairs.tp + pairs.fp + pairs.fn > 0
        f1 = np.where(counted, f1_score(pairs.tp, pairs.fp, pairs.fn), 0).sum(axis=1)
        return {
            "has_gt": pairs.has_gt,
            "has_pred": pairs.has_pred,
            **{f"{name.upper()}@.5": getattr(pairs, name)[:, 0] for name in ("tp", "fp", "fn")},
            "F1": np.where(counted.any(axis=1), f1 / np.maximum(counted.sum(axis=1), 1), np.nan),
        }
