"""What wordings of a concept gave, compared: the result, as it is returned, stored and loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import fiftyone as fo
import numpy as np
from numpy.typing import NDArray

from . import records
from .checks import check_known
from .recommend import Group, Wording

METHOD = "sam3_wordings"
KEY = "wordings"


@dataclass(frozen=True)
class Wordings:
    """What wordings of a concept gave.

    Attributes:
        key: its name on the dataset.
        dataset: name of the dataset.
        concept: whose wordings they are.
        wordings: P phrases with their numbers, in the order asked.
        groups: wordings that find the same things; of an ambiguous word, each sense is one.
        recommended: the phrase to take; None if nothing was found.
        reasons: why, a sentence each.
        samples: ids of the N samples that were looked at.
        agreement: (P, P) F1 of the instances of each pair of phrases at IoU 0.5; ``nan`` where neither has any.
        overlap: (P, P) mean IoU of the instances that they have in common; ``nan`` where there are none.
        presence: (N, P) in [0, 1]; ``nan`` where an image failed.
        counts: (N, P) instances.
        matches: (N, P, P) instances that two phrases have in common.
        label_field: whose instances have the attribute ``stability`` now, if any have.
        measured: how many have.
        failed: id of a sample → why it could not be asked.
        notes: what was left out, a sentence each.
    """

    key: str
    dataset: str
    concept: str
    wordings: tuple[Wording, ...]
    groups: tuple[Group, ...]
    recommended: str | None
    reasons: tuple[str, ...]
    samples: tuple[str, ...] = field(repr=False)
    agreement: NDArray[np.float64] = field(repr=False, compare=False)
    overlap: NDArray[np.float64] = field(repr=False, compare=False)
    presence: NDArray[np.float64] = field(repr=False, compare=False)
    counts: NDArray[np.int64] = field(repr=False, compare=False)
    matches: NDArray[np.int64] = field(repr=False, compare=False)
    label_field: str | None = None
    measured: int = 0
    failed: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.wordings)

    @property
    def phrases(self) -> tuple[str, ...]:
        """As they were asked."""
        return tuple(one.phrase for one in self.wordings)

    def of(self, phrase: str) -> Wording:
        """The numbers of a phrase; letter case does not matter."""
        return self.wordings[self._place(phrase)]

    def group_of(self, phrase: str) -> Group | None:
        """The group of a phrase; None if it found nothing."""
        number = self.of(phrase).group
        return next((group for group in self.groups if group.number == number), None)

    def differences(
        self, a: str, b: str, samples: fo.core.collections.SampleCollection | None = None
    ) -> fo.DatasetView:
        """The samples in which one wording finds something that the other does not; the most different first.

        Args:
            a, b: two phrases.
            samples: where to look for the samples. Default: the dataset.
        """
        i, j = self._place(a), self._place(b)
        apart = self.counts[:, i] + self.counts[:, j] - 2 * self.matches[:, i, j]
        order = [k for k in np.argsort(-apart, kind="stable").tolist() if apart[k] > 0 and i != j]
        held = fo.load_dataset(self.dataset) if samples is None else samples
        return held.select([self.samples[k] for k in order], ordered=True)

    def view(
        self, phrase: str | None = None, samples: fo.core.collections.SampleCollection | None = None
    ) -> fo.DatasetView:
        """The samples that were looked at, or those in which a phrase found something."""
        held = fo.load_dataset(self.dataset) if samples is None else samples
        some = range(len(self.samples)) if phrase is None else np.flatnonzero(self.counts[:, self._place(phrase)])
        return held.select([self.samples[k] for k in some], ordered=True)

    def rows(self) -> list[dict[str, Any]]:
        """A row for each phrase, for a table; numbers that are not defined are None."""
        names = ("phrase", "group", "present", "instances", "agreement", "f1")
        return [{name: getattr(one, name) for name in names} for one in self.wordings]

    def to_pandas(self) -> Any:
        """A row for each phrase, with all numbers."""
        import pandas as pd

        return pd.DataFrame([asdict(one) for one in self.wordings], columns=list(Wording.__dataclass_fields__))

    def __str__(self) -> str:
        width = max(len(one.phrase) for one in self.wordings)
        lines = [f"{'':{width + 2}}group  present  instances  agreement    F1"]
        for one in self.wordings:
            mark = "*" if one.phrase == self.recommended else " "
            numbers = "".join(f"{'–' if v is None else format(v, '.2f'):>{w}}" for v, w in (
                (one.agreement, 11), (one.f1, 6),
            ))  # fmt: skip
            group = one.group or "–"
            lines.append(f"{mark} {one.phrase:{width}}{group:>5}{one.present:>9}{one.instances:>11}{numbers}")
        return "\n".join([*lines, *self.reasons, *self.notes])

    def _place(self, phrase: str) -> int:
        plain = [one.casefold() for one in self.phrases]
        check_known(str(phrase).casefold(), plain, f"wording of {self.concept!r} that was compared")
        return plain.index(str(phrase).casefold())


@dataclass(frozen=True)
class Step:
    """``done`` of ``total`` samples, ``failed`` of them; ``result`` once all are, and everything is written."""

    done: int
    total: int
    failed: int = 0
    result: Wordings | None = None


def store(dataset: fo.Dataset, result: Wordings) -> None:
    """Keep a comparison under its key."""
    numbers = {
        name: np.where(np.isnan(held), None, held).tolist()
        for name in ("agreement", "overlap", "presence") for held in (getattr(result, name),)
    }
    records.store(
        dataset, result.key, METHOD,
        dict(
            concept=result.concept, phrases=list(result.phrases), recommended=result.recommended,
            samples=len(result.samples), label_field=result.label_field, rows=result.rows(),
        ),
        dict(
            concept=result.concept, wordings=[asdict(one) for one in result.wordings],
            groups=[dict(asdict(one), phrases=list(one.phrases)) for one in result.groups],
            recommended=result.recommended, reasons=list(result.reasons), looked_at=list(result.samples),
            counts=result.counts.tolist(), matches=result.matches.tolist(), label_field=result.label_field,
            measured=result.measured, failed=dict(result.failed), notes=list(result.notes), **numbers,
        ),
    )  # fmt: skip


def load_wordings(dataset: fo.Dataset, key: str = KEY) -> Wordings:
    """What an earlier comparison found.

    Raises:
        CurationError: there was none of that key.
    """
    _, held = records.load(dataset, key, METHOD)
    groups = tuple(Group(**dict(row, phrases=tuple(row["phrases"]))) for row in held.groups)
    numbers = {name: np.array(getattr(held, name), dtype=np.float64) for name in ("agreement", "overlap", "presence")}
    n, p = len(held.looked_at), len(held.wordings)
    counts = np.array(held.counts, dtype=np.int64).reshape(n, p)
    matches = np.array(held.matches, dtype=np.int64).reshape(n, p, p)
    return Wordings(
        key, dataset._root_dataset.name, held.concept, tuple(Wording(**row) for row in held.wordings), groups,
        held.recommended, tuple(held.reasons), tuple(held.looked_at), **numbers, counts=counts, matches=matches,
        label_field=held.label_field, measured=held.measured, failed=dict(held.failed), notes=tuple(held.notes),
    )  # fmt: skip
