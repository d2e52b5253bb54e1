"""The queue: questions in batches of one concept and one task, the most informative batches first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import fiftyone as fo
import numpy as np

from .. import records
from ..answers import read_said
from ..checks import check_known, check_words
from ..errors import CurationError
from ..instances import check_field
from ..named import Named, answering_ledger, check_stills, found_beside, name_concepts, verdict_ledger
from ..steps import run_steps
from ..verified import ATTRIBUTE, check_reviewed, declare_verdicts
from .evidence import KINDS, TASKS, Doubts, doubts_of
from .items import EXHAUSTIVITY, KEY, MASK, METHOD, Item, Review, store_review

if __package__ == "curation.review":
    from zoo.ledger import DEFAULT, Ledger
    from zoo.provenance import ledger_of
else:
    from ...zoo.ledger import DEFAULT, Ledger
    from ...zoo.provenance import ledger_of

#: items of a batch
BATCH = 20
#: a batch has at least this share of its items, before one that is much less doubtful than its first begins another
_FULL, _FALL = 0.15, 0.5


@dataclass(frozen=True)
class Step:
    """``done`` of ``total`` samples; ``result`` once all are, and everything is written."""

    done: int
    total: int
    result: Review | None = None


def build_review(
    samples: fo.core.collections.SampleCollection, label_field: str = DEFAULT, *, progress: Any = None, **settings: Any
) -> Review:
    """Order what people should look at: which masks are right, and where all instances are labelled.

    The queue is a run on the dataset, and is replaced by the next one of that key; answers are not lost by that. What
    is answered already is not asked again.

    Args:
        samples: a dataset or view of images.
        label_field: the labels under review, ``Detections``: those that SAM 3 found, or that people made.
        progress: whether to show a progress bar, or a function, as everywhere in FiftyOne.
        **settings: of :func:`review_steps`: ``concepts``, ``tasks`` and so on.

    Raises:
        CurationError: before anything is stored, see :func:`review_steps`.
    """
    return run_steps("build_review", review_steps, (samples, label_field), settings, progress)


def review_steps(
    samples: fo.core.collections.SampleCollection, label_field: str = DEFAULT, *,
    concepts: Sequence[str] | None = None, tasks: Sequence[str] | str = TASKS, found_field: str | None = None,
    gt_labels: Mapping[str, Any] | None = None, ledger: str | None = None, exhaustivity: str | None = None,
    batch: int = BATCH, limit: int | None = None, use_masks: bool = True, key: str | None = KEY,
) -> Iterator[Step]:  # fmt: skip
    """As :func:`build_review`, reporting as it goes.

    Args:
        samples, label_field: see there.
        concepts: what to ask about. Default: all that SAM 3 was asked, and all that is labelled.
        tasks: "masks", "exhaustivity", or both.
        found_field: what SAM 3 found, to compare labels of people with. Default: the ledger's instances.
        gt_labels: concept → the label, or labels, that mean it.
        ledger: whose fields get the verdicts. Default: the label field's, else the only one there is.
        exhaustivity: key of a check of exhaustivity. Default: the last one of these labels, if there is one.
        batch: items of a batch, at most.
        limit: items in all, at most.
        use_masks: compare masks, where both sides have them; else boxes.
        key: a name; None: nothing is stored.

    Yields:
        first with nothing done, once everything was checked.

    Raises:
        CurationError: no samples, or videos; unknown fields, tasks or concepts; a ledger whose verdicts are of other
            labels.
    """
    dataset = samples._root_dataset
    check_stills(samples)
    path = check_field(samples, label_field, "label_field")
    chosen = [f"{task}s" if task == "mask" else task for task in check_words(tasks, "tasks")]  # as items call it
    for task in chosen:
        check_known(task, TASKS, "task of a review")
    if not chosen:
        raise CurationError(f"tasks={tasks!r}; want some of {list(TASKS)}")
    _check_count(batch, "batch")
    if limit is not None:
        _check_count(limit, "limit")
    if key is not None:
        records.check_key(dataset, key, METHOD)
    own = ledger_of(dataset, path)
    book = verdict_ledger(dataset, ledger, own)
    check_reviewed(dataset, book, path)
    source = answering_ledger(samples, book, own, found_field)
    found_in = found_beside(samples, path, source, own, found_field)
    named = name_concepts(samples, path, source, concepts, gt_labels)
    check = _check_of(dataset, path, exhaustivity)
    known, doubts = None if source is None else source.name, None
    for done, total, doubts in doubts_of(
        samples, path, named, ledger=known, found_field=found_in, own=own is not None, use_masks=use_masks
    ):  # fmt: skip
        if doubts is None:
            yield Step(done, total)
    for pair in () if check is None else check.pairs:
        if pair.concept in named.names:
            doubts.join_pair((pair.sample_id, pair.concept), pair.score, pair.because, beside=found_in is not None)
    rows = _open(samples, path, book, named, doubts, {KINDS[task] for task in chosen})
    items = _items(arrange(rows, batch), path, book, named, None if check is None else check.key)
    review = Review(
        key or "", tuple(items[:limit]), path, book.name, tuple(_notes(found_in, check, own)), dataset
    )
    if key is not None:
        declare_verdicts(dataset, book, path, review.concepts)
        store_review(dataset, review, {c: list(n) for c, n in named.names.items()}, check and check.key)
    yield Step(len(samples), len(samples), review)


#: what is asked, before it is an item: task, concept, sample id, label id, doubt, why
Row = tuple[str, str, str, "str | None", float, str]


def arrange(rows: Sequence[Row], size: int = BATCH) -> list[list[Row]]:
    """Batches of rows, in the order in which they are to be asked.

    A batch is of one task and concept, so that the reviewer keeps one question in mind; it has at most ``size`` rows,
    and fewer where those that follow are much less doubtful. The batch that is the most doubtful on the average comes
    first.

    >>> caps = [("mask", "cap", "s", "1", 0.2, ""), ("mask", "cap", "s", "3", 0.8, "")]
    >>> [[row[3] for row in batch] for batch in arrange([*caps, ("mask", "dog", "s", "2", 0.9, "")], 2)]
    [['2'], ['3'], ['1']]
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault(row[:2], []).append(row)
    least = max(round(size * _FULL), 1)
    made: list[list[Row]] = []
    for group in groups.values():
        current: list[Row] = []
        for row in sorted(group, key=lambda one: -one[4]):
            falls = len(current) >= least and row[4] < _FALL * current[0][4]
            if len(current) == size or falls:
                made.append(current)
                current = []
            current.append(row)
        made.append(current)
    return sorted(made, key=lambda part: -float(np.mean([row[4] for row in part])))


def _check_of(dataset: fo.Dataset, path: str, key: str | None) -> Any:
    """What an exhaustivity check of these labels found."""
    from ..exhaustivity import METHOD as CHECKED
    from ..exhaustivity import load_exhaustivity

    if key is not None:
        return load_exhaustivity(dataset, key)
    for name in reversed(records.findings(dataset, CHECKED)):
        if dataset._root_dataset.get_run_info(name).config.label_field == path:
            return load_exhaustivity(dataset, name)
    return None


def _open(
    samples: fo.core.collections.SampleCollection, path: str, book: Ledger, named: Named, doubts: Doubts,
    kinds: set[str],
) -> list[Row]:  # fmt: skip
    """What nobody has answered yet."""
    rows: list[Row] = []
    if MASK in kinds:
        done = _verified(samples, path)
        rows += [
            (MASK, concept, sample, number, doubt, because)
            for number, (sample, concept, doubt, because) in doubts.labels.items() if number not in done
        ]  # fmt: skip
    if EXHAUSTIVITY in kinds:
        concepts = list(named.names)
        ids, full = read_said(samples, "exhaustive", concepts, book.name)
        _, there = read_said(samples, "verified", concepts, book.name)
        place = {concept: k for k, concept in enumerate(concepts)}
        row = {number: k for k, number in enumerate(ids.tolist())}
        labelled = {(sample, concept) for sample, concept, _, _ in doubts.labels.values()}
        for (sample, concept), (doubt, because) in doubts.pairs.items():
            cell = row.get(sample, -1), place.get(concept, -1)
            if min(cell) < 0 or not np.isnan(full[cell]):
                continue
            if there[cell] == 0 and (sample, concept) not in labelled:
                continue  # somebody said that there is none: all of them are marked
            rows.append((EXHAUSTIVITY, concept, sample, None, doubt, because))
    return rows


def _verified(samples: fo.core.collections.SampleCollection, path: str) -> set[str]:
    """Ids of the labels that have a verdict."""
    part = f"{path}.detections"
    if f"{part}.{ATTRIBUTE}" not in samples.get_field_schema(flat=True):
        return set()
    numbers, verdicts = samples.values([f"{part}.id", f"{part}.{ATTRIBUTE}"])
    pairs = zip(numbers, verdicts, strict=True)
    return {n for held, said in pairs if held for n, v in zip(held, said or [], strict=False) if v is not None}


def _items(
    batches: Sequence[Sequence[Row]], path: str, book: Ledger, named: Named, candidates: str | None
) -> list[Item]:
    return [
        Item(
            task, sample, number, concept, round(doubt, 6), because, k, path, book.name, tuple(named.names[concept]),
            candidates,
        )
        for k, rows in enumerate(batches) for task, concept, sample, number, doubt, because in rows
    ]  # fmt: skip


def _notes(found_in: str | None, check: Any, own: Ledger | None) -> Iterator[str]:
    if own is None and found_in is None:
        yield (
            "SAM 3 found no instances to compare these labels with, so the order of masks means little. Ask it first: "
            'dataset.apply_model(sam3, label_field="sam3") or the operator "SAM 3: segment concepts"'
        )
    if check is None:
        yield "No exhaustivity check was used: check_exhaustivity() finds instances that have no label"


def _check_count(value: Any, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise CurationError(f"{name}={value!r} must be a whole number above 0")
