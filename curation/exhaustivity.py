"""Are all instances of a concept labelled? SAM 3 is asked again, with the labels that there are as examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import fiftyone as fo

from . import records
from .checks import check_known

METHOD = "sam3_exhaustivity"
KEY = "exhaustivity"


@dataclass(frozen=True)
class PairFound:
    """A sample and a concept.

    Attributes:
        sample_id, concept: which.
        score: how likely an instance is not labelled, in [0, 1].
        labelled: labels of the concept.
        presence: with its words and its examples, in [0, 1].
        candidates: ids of the new instances, the surest first; they are in the field of the finding's key.
        because: why, in words.
    """

    sample_id: str
    concept: str
    score: float
    labelled: int
    presence: float
    candidates: tuple[str, ...]
    because: str


@dataclass(frozen=True)
class Exhaustivity:
    """What was found.

    Attributes:
        key: the field that holds the candidates.
        label_field: the labels that were checked.
        pairs: every pair of sample and concept that was looked at, the likeliest to lack a label first.
        threshold: the score from which on a pair counts as not exhaustive.
        failed: (sample id, why) of samples that could not be looked at.
        notes: what could not be used as it is, a sentence each.
    """

    key: str
    label_field: str
    pairs: tuple[PairFound, ...]
    threshold: float = 0.5
    failed: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def concepts(self) -> tuple[str, ...]:
        """Those that were looked at."""
        return tuple(dict.fromkeys(pair.concept for pair in self.pairs))

    def of(self, concept: str | None = None, *, threshold: float | None = None) -> list[PairFound]:
        """The pairs that are not exhaustive, of a concept or all."""
        if concept is not None:
            check_known(concept, self.concepts, "concept that was checked")
        level = self.threshold if threshold is None else threshold
        return [pair for pair in self.pairs if concept in (None, pair.concept) and pair.score >= level]

    def score(self, sample_id: str, concept: str) -> float | None:
        """Of one pair; None: it was not looked at."""
        return self._scores.get((sample_id, concept))

    @property
    def _scores(self) -> dict[tuple[str, str], float]:
        if "scores" not in self.__dict__:
            self.__dict__["scores"] = {(pair.sample_id, pair.concept): pair.score for pair in self.pairs}
        return self.__dict__["scores"]

    @property
    def counts(self) -> dict[str, int]:
        """Concept → how many samples are not exhaustive."""
        found: dict[str, int] = {}
        for pair in self.of():
            found[pair.concept] = found.get(pair.concept, 0) + 1
        return dict(sorted(found.items(), key=lambda one: -one[1]))

    def view(self, samples: fo.core.collections.SampleCollection, concept: str | None = None) -> fo.DatasetView:
        """The samples that are not exhaustive, the likeliest first."""
        return samples.select(list(dict.fromkeys(pair.sample_id for pair in self.of(concept))), ordered=True)

    def to_pandas(self) -> Any:
        """A row a pair."""
        import pandas as pd

        return pd.DataFrame([asdict(pair) for pair in self.pairs], columns=list(PairFound.__dataclass_fields__))

    def __str__(self) -> str:
        found = self.of()
        lines = [f"{len(found)} of {len(self)} pairs of sample and concept lack a label"]
        lines += [f"  {pair.score:.2f}  {pair.because}" for pair in found[:5]]
        lines += [f"{len(self.failed)} samples failed: {self.failed[0][1]}"] if self.failed else []
        return "\n".join([*lines, *self.notes])


def load_exhaustivity(dataset: fo.Dataset, key: str = KEY) -> Exhaustivity:
    """What an earlier run found.

    Raises:
        CurationError: there was none of that key.
    """
    config, held = records.load(dataset, key, METHOD)
    columns: Sequence[str] = list(PairFound.__dataclass_fields__)
    rows = zip(*(getattr(held, f"pair_{name}") for name in columns), strict=True)
    pairs = tuple(PairFound(**dict(zip(columns, row, strict=True), candidates=tuple(row[5]))) for row in rows)
    failed = tuple((sample, why) for sample, why in held.failed)
    return Exhaustivity(key, config["label_field"], pairs, config["threshold"], failed, tuple(held.notes))
