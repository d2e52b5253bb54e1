"""Samples through the model and into the database, everything at once: while the network looks at some images, the next
are read, and the answers of the last are written.

Nothing waits in heaps: who is slow, everybody else waits for. A sample is written as a whole or not at all, so a run
that is cut goes on where it stopped.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import fiftyone as fo
import fiftyone.core.sample as fos
from bson import ObjectId

from .engine.concepts import Concept
from .engine.results import ConceptResult
from .image_model import Sam3ImageModel
from .inputs import Loaded
from .ledger import Ledger, label_of
from .provenance import instances_fields
from .questions import Question
from .reading import read
from .scribe import GONE
from .writing import Writers, Written, answer_of, error_of, form_of

#: files looked up in the database at a time
_LOOKED_UP = 10_000
#: samples whose phrases are looked up at a time
_ASKED_AHEAD = 1000


@dataclass(frozen=True)
class Progress:
    """``done`` of ``total`` samples, ``failed`` of them with a reason in the ledger; ``instances`` counted."""

    done: int
    total: int
    failed: int
    instances: int


@dataclass
class Part:
    """What is to be known of the run that a part belongs to. This one tells nobody what it does; a :class:`run.Run`
    declares fields and records questions.

    Attributes:
        instances: fields that hold earlier instances
        totals: samples done, samples failed, and instances counted, in this part
    """

    instances: tuple[str, ...]
    totals: dict[str, int] = field(default_factory=lambda: dict(samples=0, failed=0, instances=0))

    def asking(self, concepts: Iterable[Concept]) -> None:
        """These are about to be asked."""

    def record(self, labels: Collection[str] | None = None) -> None:
        """There are answers to these, about to be written."""


@dataclass
class _Batch:
    """What is known of a batch while the model has its images."""

    ids: list[str]
    sizes: list[tuple[int, int]]
    errors: list[str | None]
    questions: list[Question]


@dataclass
class _Sent:
    """What is known of a batch while it is written: how many instances each answer counts, ``None`` for an error."""

    ids: list[str]
    counts: list[int | None]


def run_part(
    dataset: fo.Dataset, ids: Sequence[str], model: Sam3ImageModel, label_field: str, *, batch_size: int = 8,
    num_workers: int = 0, writers: int = 0, skip_existing: bool = False, run: Part | Any = None,
) -> Iterator[Progress]:
    """Ask about some samples, and write the answers. Nothing else: neither the dataset's fields nor the run's record
    are touched, unless ``run`` does so; a part may be computed wherever the database can be reached.

    Args:
        dataset: the dataset, with the ledger's fields declared
        ids: of its samples
        model: the model, with its concepts and its ledger
        label_field: where instances go
        batch_size: images encoded together
        num_workers: processes that read images; 0: a thread
        writers: processes that write answers; 0: a thread
        skip_existing: ask of each sample only what the ledger has no answer to
        run: what it is a part of, a :class:`Part` or a :class:`run.Run`; ``None``: earlier instances are where the
            record says now, so it must not say yet that they go elsewhere

    Yields:
        progress, whenever answers have been written

    Raises:
        WriterError: the database refuses to work, or processes that write die
    """
    run = Part(instances_fields(dataset, model.ledger)) if run is None else run
    flow = _Flow(dataset, model, run, batch_size)
    resumes = bool((skip_existing or model.skip_existing) and run.instances)
    form = form_of(dataset, model.ledger, label_field, run.instances)
    with Writers(form, writers) as desk:
        try:
            with contextlib.closing(flow.answered(ids, num_workers, resumes)) as answered:
                for batch, results in answered:
                    written = desk.put(*flow.told(batch, results))
                    if written:
                        yield flow.arrived(written, len(ids))
            for one in desk.drain():
                yield flow.arrived([one], len(ids))
        finally:  # what was computed is not lost because somebody lost patience
            flow.arrived(desk.salvage(), len(ids))


def asked_ahead(
    dataset: fo.Dataset, ids: Sequence[str], model: Sam3ImageModel, skip_existing: bool = False
) -> list[Concept]:
    """The concepts that parts with these samples will ask, whose images are not looked at: for whoever sends parts to
    other machines, and declares fields before.

    Args:
        dataset: the dataset, with the ledger's fields declared
        ids: of its samples
        model: the model
        skip_existing: as in :func:`run_part`
    """
    resumes = bool((skip_existing or model.skip_existing) and instances_fields(dataset, model.ledger))
    flow = _Flow(dataset, model, None, 1)
    asked: dict[str, Concept] = {}
    for start in range(0, len(ids), _ASKED_AHEAD):
        for question, _ in flow.questions(ids[start : start + _ASKED_AHEAD], resumes):
            asked |= {concept.label: concept for concept in question.concepts if concept.label not in asked}
        if not flow.needs(resumes):  # everybody is asked the same
            break
    return list(asked.values())


class _Flow:
    """A part's way: from ids to questions, from results to answers."""

    def __init__(self, dataset: fo.Dataset, model: Sam3ImageModel, run: Any, batch_size: int) -> None:
        self._dataset, self._model, self._run, self._size = dataset, model, run, batch_size
        self._ledger: Ledger = model.ledger
        self._questions = model.questions()
        self._waiting: deque[_Batch] = deque()

    def answered(
        self, ids: Sequence[str], num_workers: int, resumes: bool
    ) -> Iterator[tuple[_Batch, list[list[ConceptResult] | str]]]:
        """Batches with the model's answers to those questions that could be asked."""
        paths = _paths(self._dataset, ids)
        with contextlib.closing(read(self._model.build_get_item(), paths, self._size, num_workers)) as images:
            for results in self._model.stream(self._asked(ids, images, resumes)):
                yield self._waiting.popleft(), results

    def _asked(
        self, ids: Sequence[str], images: Iterable[list[Loaded]], resumes: bool
    ) -> Iterator[tuple[list[Loaded], list[Question]]]:
        for start, loaded in zip(range(0, len(ids), self._size), images, strict=True):
            part = list(ids[start : start + self._size])
            errors, questions = [], []
            for (question, why), (_, _, error) in zip(self.questions(part, resumes), loaded, strict=True):
                errors.append(why if error is None else error)
                questions.append(question if error is None else Question())
            self._run.asking(concept for question in questions for concept in question.concepts)
            self._waiting.append(_Batch(part, [size for _, size, _ in loaded], errors, questions))
            asking = [k for k, question in enumerate(questions) if question.concepts]
            yield [loaded[k] for k in asking], [questions[k] for k in asking]

    def questions(self, ids: Sequence[str], resumes: bool) -> Iterator[tuple[Question, str | None]]:
        """What to ask of samples, or why that cannot be done."""
        fields, stored = self.needs(resumes), {}
        if fields:
            some = {"_id": {"$in": [ObjectId(one) for one in ids]}}
            found = self._dataset._sample_collection.find(some, dict.fromkeys(fields, 1))
            stored = {str(document["_id"]): _Stored(document) for document in found}
        for one in ids:
            before = stored.get(one, _Stored({}))
            yield self._questions.of(before, _done(before, self._ledger) if resumes else ())

    def needs(self, resumes: bool) -> list[str]:
        """Fields that must be known of samples to ask them; in most runs, none."""
        return [*self._questions.fields, *((self._ledger.presence, self._ledger.count) if resumes else ())]

    def told(
        self, batch: _Batch, results: Sequence[list[ConceptResult] | str]
    ) -> tuple[_Sent, list[dict[str, Any]]]:
        """What is to be written of a batch."""
        given = iter(results)
        counts, answers, labels = [], [], set()
        for sample, size, error, question in zip(batch.ids, batch.sizes, batch.errors, batch.questions, strict=True):
            found: list[ConceptResult] | str = next(given) if question.concepts else []
            reason = error if error is not None else found if isinstance(found, str) else None
            if reason is not None:
                counts.append(None)
                answers.append(error_of(sample, reason))
                continue
            asked = [concept.label for concept in question.concepts]
            labels.update(asked)
            counts.append(sum(result.count for result in found))
            answers.append(answer_of(sample, asked, found, size))
        if labels:
            self._run.record(labels)
        return _Sent(batch.ids, counts), answers

    def arrived(self, written: Sequence[Written], total: int) -> Progress:
        """Count what has been written, and let samples know that somebody holds."""
        totals = self._run.totals
        for one in written:
            for sample, count, reason in zip(one.key.ids, one.key.counts, one.reasons, strict=True):
                failed = count is None or reason is not None
                totals["failed" if failed else "samples"] += 1
                totals["instances"] += 0 if failed else count
                if reason != GONE:  # as FiftyOne's own `SaveContext` does
                    fos.Sample._reload_doc(self._dataset._sample_collection_name, sample)
        return Progress(totals["samples"] + totals["failed"], total, totals["failed"], totals["instances"])


class _Stored:
    """A raw document, in so far as it looks like a sample."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document

    def has_field(self, name: str) -> bool:
        return name in self.document

    def __getitem__(self, name: str) -> Any:
        value = self.document[name]
        labels = isinstance(value, dict) and value.get("_cls") == fo.Detections.__name__
        return fo.Detections.from_dict(value) if labels else value


def _done(before: _Stored, ledger: Ledger) -> set[str]:
    """As :func:`ledger.answered`, of a raw document in a dataset where counts are kept."""
    presence, count = (
        {name for name, value in (before.document.get(kind) or {}).items() if value is not None and name != "_cls"}
        for kind in (ledger.presence, ledger.count)
    )
    return {label_of(name) for name in presence & count}


def _paths(dataset: fo.Dataset, ids: Sequence[str]) -> list[str | None]:
    """The samples' files; ``None`` where there is no sample any more."""
    found: dict[str, str] = {}
    for start in range(0, len(ids), _LOOKED_UP):
        some = [ObjectId(one) for one in ids[start : start + _LOOKED_UP]]
        documents = dataset._sample_collection.find({"_id": {"$in": some}}, {"filepath": 1})
        found.update((str(document["_id"]), document["filepath"]) for document in documents)
    return [found.get(one) for one in ids]
