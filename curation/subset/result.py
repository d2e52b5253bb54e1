"""What was chosen, and why: the result, as it is returned, stored and loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import fiftyone as fo

from ..checks import check_known

METHOD = "sam3_subset"
#: what a sample may be chosen as
ROLES = ("positive", "hard", "easy")


@dataclass(frozen=True)
class Chosen:
    """One sample of the subset.

    Attributes:
        sample_id: the sample.
        split: where it went; None: nothing was split.
        role: "positive" (the concept is there), "hard" (it is not, and is hard to tell from what is there) or "easy"
            (it is not, and nothing looks like it).
        concept: what it was chosen for; it may hold others.
        rank: from 1, in the order of choosing.
        because: in words.
        distance: 1 - cosine to the nearest of those chosen before, in [0, 2]; None for the first, and where diversity
            was not asked for.
        known: whether it is a fact that the concept is there, or is not; else the model says so.
        group: what must stay together, as text; None: there are no groups.
    """

    sample_id: str
    split: str | None
    role: str
    concept: str
    rank: int
    because: str
    distance: float | None = None
    known: bool = False
    group: str | None = None


@dataclass(frozen=True)
class Share:
    """What one concept got, in samples chosen for it.

    Attributes:
        concept: the concept.
        positive, hard, easy: how many were chosen as such.
        asked_positive, asked_hard, asked_easy: how many its share was.
        could_positive, could_hard, could_easy: how many there were to choose from.
        holds: how many of the whole subset hold the concept, whatever they were chosen for.
        misleads: how many of the whole subset are a hard negative of it, likewise.
    """

    concept: str
    positive: int
    hard: int
    easy: int
    asked_positive: int
    asked_hard: int
    asked_easy: int
    could_positive: int
    could_hard: int
    could_easy: int
    holds: int
    misleads: int


@dataclass(frozen=True)
class Subset:
    """A training subset.

    Attributes:
        key: its name: of its run, its tag, its saved view, and the beginning of its fields; empty if nothing is stored.
        asked: how many samples were asked for.
        chosen: in the order of choosing.
        shares: what each concept got.
        splits: name → share, as asked; empty: nothing was split.
        pool: how many samples there were, and of these "usable", "duplicates", "unasked" and "without embedding".
        notes: what could not be done as asked, a sentence each.
        ambiguous: concepts of several senses, whose look-alikes were not mined: what there is to choose, a sentence
            each.
    """

    key: str
    asked: int
    chosen: tuple[Chosen, ...]
    shares: tuple[Share, ...]
    splits: Mapping[str, float]
    pool: Mapping[str, int]
    notes: tuple[str, ...] = ()
    ambiguous: tuple[str, ...] = ()
    by_id: dict[str, Chosen] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Make what was chosen easy to look up."""
        object.__setattr__(self, "by_id", {one.sample_id: one for one in self.chosen})

    def __len__(self) -> int:
        return len(self.chosen)

    def of(self, split: str | None = None, role: str | None = None, concept: str | None = None) -> list[Chosen]:
        """Those of a split, chosen as something, or for a concept.

        Raises:
            CurationError: there is no such split, role or concept.
        """
        for value, known, what in (
            (split, tuple(self.splits), "split"), (role, ROLES, "role"),
            (concept, tuple(one.concept for one in self.shares), "concept of this subset"),
        ):  # fmt: skip
            if value is not None:
                check_known(value, known, what)
        return [
            one for one in self.chosen
            if split in (None, one.split) and role in (None, one.role) and concept in (None, one.concept)
        ]  # fmt: skip

    @property
    def counts(self) -> dict[str, int]:
        """Role → how many."""
        found = Counter(one.role for one in self.chosen)
        return {role: found[role] for role in ROLES}

    @property
    def sizes(self) -> dict[str, int]:
        """Split → how many."""
        found = Counter(one.split for one in self.chosen)
        return {split: found[split] for split in self.splits}

    def view(
        self, samples: fo.core.collections.SampleCollection, split: str | None = None, role: str | None = None,
        concept: str | None = None,
    ) -> fo.DatasetView:  # fmt: skip
        """The samples, in the order of choosing."""
        return samples.select([one.sample_id for one in self.of(split, role, concept)], ordered=True)

    def to_pandas(self) -> Any:
        """A row for each sample."""
        import pandas as pd

        return pd.DataFrame([asdict(one) for one in self.chosen], columns=list(Chosen.__dataclass_fields__))

    def summary(self) -> Any:
        """A row for each concept: what it got, what was asked, and what there was."""
        import pandas as pd

        return pd.DataFrame([asdict(one) for one in self.shares], columns=list(Share.__dataclass_fields__))

    def __str__(self) -> str:
        roles = ", ".join(f"{n} {role}" for role, n in self.counts.items())
        splits = ", ".join(f"{split} {n}" for split, n in self.sizes.items())
        lines = [f"{len(self)} of {self.pool.get('samples', 0)} samples: {roles}" + (f"; {splits}" if splits else "")]
        width = max((len(one.concept) for one in self.shares), default=0)
        for one in self.shares:
            parts = (f"{getattr(one, role)} of {getattr(one, f'asked_{role}')} {role}" for role in ROLES)
            lines.append(f"  {one.concept:{width}}  {', '.join(parts)}")
        return "\n".join([*lines, *self.notes, *self.ambiguous])


@dataclass(frozen=True)
class Step:
    """``done`` of ``total`` samples chosen; ``result`` once all are, and everything is written."""

    done: int
    total: int
    result: Subset | None = None
