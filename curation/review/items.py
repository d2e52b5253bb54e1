"""A question to a reviewer, and the queue of all of them as it is stored.

The record holds the questions and their order. What was answered is not in it: verdicts are on the samples, so that
whoever changes them there, by whatever way, is believed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import fiftyone as fo

from .. import records
from ..answers import remembered
from ..checks import check_known
from ..errors import CurationError
from .sheets import Sheet, read_tallies

if __package__ == "curation.review":
    from zoo.ledger import Ledger
else:
    from ...zoo.ledger import Ledger

METHOD = "sam3_review"
KEY = "review"
MASK, EXHAUSTIVITY = "mask", "exhaustivity"
#: columns of the record, one value an item
_COLUMNS = ("task", "sample_id", "label_id", "concept", "score", "because", "batch")


@dataclass(frozen=True)
class Item:
    """One question.

    Attributes:
        task: "mask" (is this mask right for the concept?) or "exhaustivity" (are all its instances marked?).
        sample_id, label_id: of what; exhaustivity is asked of a sample, and has no label.
        concept: of what concept.
        score: how informative the answer is, in [0, 1]; for labels that people made, how likely it is "no".
        because: what makes it so, in words.
        batch: number of the batch, from 0; a batch is of one task and concept.
        field: the labels under review, ``Detections``.
        ledger: whose fields get the verdicts on the concept.
        names: what labels of the concept are called in ``field``, the first in new ones.
        candidates: the field with instances that an exhaustivity check found, or None.
    """

    task: str
    sample_id: str
    label_id: str | None
    concept: str
    score: float
    because: str
    batch: int
    field: str
    ledger: str
    names: tuple[str, ...]
    candidates: str | None = None

    @property
    def key(self) -> str:
        """Tells it from every other question about the dataset."""
        return f"{self.task}:{self.sample_id}:{self.field}:{self.label_id or self.concept}"

    @property
    def book(self) -> Ledger:
        """The ledger's names."""
        return Ledger(self.ledger)

    def means(self, label: str | None) -> bool:
        """Whether a label of that name is an instance of the concept."""
        return label in self.names or (label or "").casefold() in {name.casefold() for name in self.names}


def question(item: Item) -> str:
    """What the reviewer is asked.

    >>> mask = Item("mask", "s", "l", "red cap", 1.0, "", 0, "labels", "sam3", ("red cap",))
    >>> question(mask)
    'Is this a red cap?'
    """
    if item.task == EXHAUSTIVITY:
        return f"Are all instances of {item.concept!r} marked?"
    first = item.concept.split()[0].casefold() if item.concept.strip() else ""
    if first in ("a", "an", "the", "one"):
        return f"Is this {item.concept}?"
    article = "an" if item.concept.strip()[:1].casefold() in tuple("aeiou") else "a"
    return f"Is this {article} {item.concept}?"


@dataclass(frozen=True)
class Progress:
    """How far a review is.

    Attributes:
        total: questions.
        answered: by people.
        by_ai: by an AI verifier, and by nobody else.
        gone: whose label or sample was deleted, or is called otherwise since.
        by_task, by_concept: name → (answered by people, total).
    """

    total: int
    answered: int
    by_ai: int
    gone: int
    by_task: dict[str, tuple[int, int]]
    by_concept: dict[str, tuple[int, int]]

    @property
    def left(self) -> int:
        """Questions that nobody answered, and that can be."""
        return self.total - self.answered - self.by_ai - self.gone

    def __str__(self) -> str:
        more = [f"{n} {word}" for n, word in ((self.by_ai, "by an AI"), (self.gone, "gone")) if n]
        return f"{self.answered} of {self.total} answered" + "".join(f", {one}" for one in more) + f"; {self.left} left"


@dataclass(frozen=True)
class Review:
    """A queue of questions.

    Attributes:
        key: its name on the dataset.
        items: in the order in which they are asked: batch by batch.
        field: the labels under review.
        ledger: whose fields get the verdicts.
        notes: what could not be used as it is, a sentence each.
        dataset: where it is.
    """

    key: str
    items: tuple[Item, ...]
    field: str
    ledger: str
    notes: tuple[str, ...] = ()
    dataset: fo.Dataset | None = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def counts(self) -> dict[str, int]:
        """Task → how many items."""
        found = Counter(item.task for item in self.items)
        return {task: found[task] for task in (MASK, EXHAUSTIVITY)}

    @property
    def concepts(self) -> tuple[str, ...]:
        """Every concept that is asked about, in the order of the queue."""
        return tuple(dict.fromkeys(item.concept for item in self.items))

    def of(self, concept: str | None = None, task: str | None = None) -> list[Item]:
        """Those of a concept, or of a task."""
        if concept is not None:
            check_known(concept, self.concepts, "concept of this review")
        if task is not None:
            task = MASK if task == f"{MASK}s" else task  # as build_review calls it
            check_known(task, (MASK, EXHAUSTIVITY), "task of a review")
        return [one for one in self.items if concept in (None, one.concept) and task in (None, one.task)]

    def view(self, samples: fo.core.collections.SampleCollection | None = None) -> fo.DatasetView:
        """The samples, in the order of the queue."""
        return (samples or self.dataset).select(list(dict.fromkeys(i.sample_id for i in self.items)), ordered=True)

    def progress(self) -> Progress:
        """How far it is, as the samples say now."""
        if self.dataset is None:
            raise CurationError("This review belongs to no dataset any more: load it with load_review(dataset)")
        states = states_of(self.dataset, self.items)
        answered = [state.answered for state in states]
        return Progress(
            len(self), sum(answered), sum(s.by_ai and not s.answered for s in states), sum(s.gone for s in states),
            _shares((item.task for item in self.items), answered),
            _shares((item.concept for item in self.items), answered),
        )  # fmt: skip

    def to_pandas(self) -> Any:
        """A row an item."""
        import pandas as pd

        return pd.DataFrame([{name: getattr(item, name) for name in _COLUMNS} for item in self.items], columns=_COLUMNS)

    def __str__(self) -> str:
        counts = ", ".join(f"{count} of {task}" for task, count in self.counts.items())
        lines = [f"{len(self)} items in {len({item.batch for item in self.items})} batches: {counts}"]
        lines += [f"  {item.score:.2f}  {question(item)}  {item.because}" for item in self.items[:5]]
        return "\n".join([*lines, *self.notes])


@dataclass(frozen=True)
class State:
    """Where an item stands: answered by a person, by an AI; or ``gone``, so that nobody can answer it."""

    answered: bool = False
    by_ai: bool = False
    gone: bool = False


_GONE = State(gone=True)
_STATES = {(person, ai): State(person, ai) for person in (False, True) for ai in (False, True)}


def states_of(dataset: fo.Dataset, items: Sequence[Item]) -> list[State]:
    """Where items stand now, by what the samples say.

    Args:
        dataset: the dataset.
        items: of one review.
    """
    if not items:
        return []
    tallies = read_tallies(dataset, items[0].field, items[0].book, {item.sample_id for item in items})
    found = []
    for item in items:
        tally = tallies.get(item.sample_id)
        if tally is None:
            found.append(_GONE)
        elif item.task == EXHAUSTIVITY:
            found.append(_STATES[item.concept in tally.exhaustive, item.concept in tally.ai_exhaustive])
        elif item.label_id not in tally.names or not item.means(tally.names[item.label_id]):
            found.append(_GONE)
        else:
            found.append(_STATES[item.label_id in tally.verified, item.label_id in tally.ai])
    return found


def state_of(sheet: Sheet | None, item: Item) -> State:
    """Where an item stands by what its sample says; None: it is gone."""
    if sheet is None:
        return State(gone=True)
    if item.task == EXHAUSTIVITY:
        return State(sheet.exhaustive.get(item.concept) is not None, sheet.ai_said(item.concept) is not None)
    label = sheet.labels.get(item.label_id)
    if label is None or not item.means(label.name):
        return State(gone=True)
    return State(label.verified is not None, label.ai is not None)


def load_review(dataset: fo.Dataset, key: str = KEY) -> Review:
    """A queue that was built before, perhaps by another process.

    Raises:
        CurationError: there was none of that key.
    """
    dataset = dataset._root_dataset
    config, held = records.load(dataset, key, METHOD)
    stamp = "review", str(dataset._doc.id), key, config["made"], config["stamp"]
    items = remembered(stamp, lambda: _items(config, held))
    return Review(key, items, config["label_field"], config["ledger"], tuple(held.notes), dataset)


def store_review(dataset: fo.Dataset, review: Review, names: dict[str, list[str]], candidates: str | None) -> None:
    """Keep a queue under its key; ``names``: concept → what its labels are called."""
    from bson import ObjectId

    config = dict(
        label_field=review.field, ledger=review.ledger, counts=review.counts, candidates=candidates,
        stamp=str(ObjectId()),
    )  # fmt: skip
    columns = {f"item_{name}": [getattr(item, name) for item in review.items] for name in _COLUMNS}
    records.store(dataset, review.key, METHOD, config, dict(columns, names=names, notes=list(review.notes)))


def _items(config: dict[str, Any], held: Any) -> tuple[Item, ...]:
    names = {concept: tuple(listed) for concept, listed in held.names.items()}
    rows = zip(*(getattr(held, f"item_{name}") for name in _COLUMNS), strict=True)
    place = config["label_field"], config["ledger"]
    return tuple(Item(*row, *place, names[row[3]], config.get("candidates")) for row in rows)


def _shares(groups: Iterable[str], answered: Sequence[bool]) -> dict[str, tuple[int, int]]:
    done: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for group, yes in zip(groups, answered, strict=True):
        total[group] += 1
        done[group] += yes
    return {group: (done[group], count) for group, count in total.items()}
