"""Are all instances of a concept labelled? SAM 3 is asked again, with the labels that there are as examples.

As its own data engine does: the labels of a concept in an image are exemplars, and go with the words. An instance that
is found then, and that no label explains, is likely to lack one. Images are encoded once for all their concepts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import fiftyone as fo
import numpy as np

from . import records
from .answers import Answers, read_answers
from .checks import check_known
from .errors import CurationError
from .instances import check_field
from .named import Named, answering_ledger, check_stills, name_concepts, verdict_ledger
from .recheck import Asker, Beside
from .steps import run_steps

if __package__ == "curation":
    from zoo.labels import ATTRIBUTES
    from zoo.ledger import DEFAULT
    from zoo.provenance import ledger_of
else:
    from ..zoo.labels import ATTRIBUTES
    from ..zoo.ledger import DEFAULT
    from ..zoo.provenance import ledger_of

METHOD = "sam3_exhaustivity"
KEY = "exhaustivity"
#: of a concept that is felt, and of which nothing is labelled or found, how likely that is an instance
_FELT = 0.5


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
        by_examples, by_words: the best new instance with the labels as examples, and with words alone, in [0, 1]; None
            where that was not asked. The score is their mean.
    """

    sample_id: str
    concept: str
    score: float
    labelled: int
    presence: float
    candidates: tuple[str, ...]
    because: str
    by_examples: float | None = None
    by_words: float | None = None


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


@dataclass(frozen=True)
class Step:
    """``done`` of ``total`` samples, ``failed`` of them; ``result`` once all are done, and everything is written."""

    done: int
    total: int
    failed: int = 0
    result: Exhaustivity | None = None


def check_exhaustivity(
    samples: fo.core.collections.SampleCollection, label_field: str = DEFAULT, concepts: Sequence[str] | None = None, *,
    key: str | None = KEY, progress: Any = None, **settings: Any,
) -> Exhaustivity:  # fmt: skip
    """Find the samples in which not all instances of a concept are labelled.

    With a ``key``, that field of the samples gets the instances that have no label, ``Detections`` with masks, and
    ``<key>_score`` the largest score of its concepts. An earlier finding of that key is replaced.

    Args:
        samples: a dataset or view of images.
        label_field: the labels, ``Detections``: those that people made, or that SAM 3 found.
        concepts: which. Default: all that were asked, and all that are labelled.
        key: a name; None: nothing is stored.
        progress: whether to show a progress bar, or a function, as everywhere in FiftyOne.
        **settings: of :func:`exhaustivity_steps`: ``checkpoint``, ``unlabelled`` and so on.

    Raises:
        CurationError: before anything is stored, see :func:`exhaustivity_steps`.
    """
    said = samples, label_field, concepts
    return run_steps("check_exhaustivity", exhaustivity_steps, said, dict(settings, key=key), progress)


def exhaustivity_steps(
    samples: fo.core.collections.SampleCollection, label_field: str = DEFAULT, concepts: Sequence[str] | None = None, *,
    key: str | None = KEY, gt_labels: Mapping[str, Any] | None = None, ledger: str | None = None,
    unlabelled: bool = True, threshold: float = 0.5, floor: float = 0.2, checkpoint: str | None = None,
    device: str | None = None, batch_size: int = 8,
) -> Iterator[Step]:  # fmt: skip
    """As :func:`check_exhaustivity`, some samples a step, for whoever shows progress.

    Args:
        samples, label_field, concepts, key: see there.
        gt_labels: concept → the label, or labels, that mean it.
        ledger: what SAM 3 was asked. Default: the label field's, else the only one there is, if there is one.
        unlabelled: look as well where a concept has no label at all: if it was asked, where its presence is at least
            half its threshold, else everywhere.
        threshold: the score from which on a pair counts as not exhaustive.
        floor: instances that are new down to this score are kept as candidates.
        checkpoint: folder or hub id. Default: what the ledger was asked of, else Meta's weights if they are on this
            machine, else the tiny one.
        device: None takes the best there is.
        batch_size: images encoded together.

    Yields:
        progress, first with nothing done. Cut short, what was found so far is stored.

    Raises:
        CurationError: no samples, or videos; unknown fields or concepts; numbers out of range; at the first step.
    """
    dataset = samples._root_dataset
    check_stills(samples)
    path = check_field(samples, label_field, "label_field")
    for name, value in (("threshold", threshold), ("floor", floor)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise CurationError(f"{name}={value!r} must be a number in [0, 1]")
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise CurationError(f"batch_size={batch_size!r} must be a whole number above 0")
    if key is not None:
        records.check_key(dataset, key, METHOD)
        if key == path:
            raise CurationError(f"key={key!r} would overwrite the labels: choose another")
    own = ledger_of(dataset, path)
    source = answering_ledger(samples, verdict_ledger(dataset, ledger, own), own)
    named = name_concepts(samples, path, source, concepts, gt_labels)
    answers = None if source is None else read_answers(samples, source.name, None, ())
    pairs = _pairs(samples, path, named, answers, unlabelled)
    if not pairs:
        raise CurationError(f"There is nothing to check: none of {list(named.names)[:6]} is labelled in {path!r}")
    yield Step(0, len(pairs))  # a form asks so far, and does not want to wait for a model
    # of what SAM 3 found itself, instances that do not count are no labels
    levels = {} if own is None or answers is None else answers.thresholds
    asker = Asker(dataset, path, named, source, levels, checkpoint, device)
    found: list[PairFound] = []
    failed: list[tuple[str, str]] = []
    if key is not None:
        _declare(dataset, key)
    ids = list(pairs)
    try:
        for start in range(0, len(ids), batch_size):
            part = ids[start : start + batch_size]
            looked, lost = asker.look(samples.select(part, ordered=True), pairs)
            failed += lost
            kept = {number: [_pair(number, one, floor) for one in some] for number, some in looked.items()}
            found += [pair for some in kept.values() for pair in some]
            if key is not None:
                _write(dataset, key, looked, kept)
            yield Step(min(start + batch_size, len(ids)), len(ids), len(failed))
    except BaseException:
        if key is not None and found:
            _store(dataset, _result(key, path, found, threshold, failed, len(ids)))
        elif key is not None:  # fields that no record knows would be nobody's, and refused to the next run
            records.clear(dataset, [key, f"{key}_score"])
        raise
    result = _result(key or "", path, found, threshold, failed, len(ids))
    if key is not None:
        _store(dataset, result)
    yield Step(len(ids), len(ids), len(failed), result)


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


def _pair(sample: str, beside: Beside, floor: float) -> PairFound:
    """How likely an instance has no label; those from ``floor`` on are candidates."""
    told = [one for one in (beside.by_examples, beside.by_words) if one is not None]
    best = sum(told) / max(len(told), 1)  # what only one of them finds is half as likely: see benchmarks.review
    if beside.labelled:
        else_there = f"another one is found, confidence {best:.2f}" if best >= floor else "nothing else is found"
        because = f"{beside.labelled} {beside.concept!r} labelled, and {else_there}"
    else:
        best = max(best, _FELT * beside.presence)
        because = f"no {beside.concept!r} is labelled, and presence is {beside.presence:.2f}"
    ids = tuple(one.id for one in beside.new if one["score"] >= floor)
    return PairFound(
        sample, beside.concept, round(float(best), 6), beside.labelled, round(float(beside.presence), 6), ids, because,
        beside.by_examples, beside.by_words,
    )  # fmt: skip


def _pairs(
    samples: fo.core.collections.SampleCollection, path: str, named: Named, answers: Answers | None, unlabelled: bool
) -> dict[str, list[str]]:
    """Sample id → the concepts to look at in it."""
    ids, held = samples.values(["id", f"{path}.detections.label"])
    here = [{named.concept(name) for name in some or ()} - {None} for some in held]
    if unlabelled:
        place = {} if answers is None else {concept: k for k, concept in enumerate(answers.concepts)}
        for concept in named.names:
            if concept in place:
                k = place[concept]
                values = np.nan_to_num(answers.presence[:, k])
                rows = np.flatnonzero((values > 0) & (values >= answers.levels[k] / 2)).tolist()
            else:
                rows = range(len(ids)) if answers is None else ()
            for row in rows:
                here[row].add(concept)
    order = {concept: k for k, concept in enumerate(named.names)}
    return {number: sorted(some, key=order.__getitem__) for number, some in zip(ids, here, strict=True) if some}


def _result(
    key: str, path: str, found: Sequence[PairFound], threshold: float, failed: Sequence[tuple[str, str]], total: int
) -> Exhaustivity:
    ranked = tuple(sorted(found, key=lambda pair: -pair.score))
    looked = len({pair.sample_id for pair in found}) + len(failed)
    notes = () if looked >= total else (f"Cut short: {looked} of {total} samples were looked at",)
    return Exhaustivity(key, path, ranked, float(threshold), tuple(failed), notes)


def _declare(dataset: fo.Dataset, key: str) -> None:
    records.clear(dataset, records.written_by(dataset, key))
    if dataset.has_run(key):
        dataset.delete_run(key)
    dataset.add_sample_field(key, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    kinds = {f"{key}.detections.{name}": kind for name, kind in {**ATTRIBUTES, "score": fo.FloatField}.items()}
    records.declare(dataset, {**kinds, f"{key}_score": fo.FloatField})


def _write(
    dataset: fo.Dataset, key: str, looked: Mapping[str, Sequence[Beside]], kept: Mapping[str, Sequence[PairFound]]
) -> None:
    """The candidates of some samples, and their worst scores."""
    if not looked:
        return
    wanted = {number: {one for pair in some for one in pair.candidates} for number, some in kept.items()}
    found = {
        number: fo.Detections(detections=[one for beside in some for one in beside.new if one.id in wanted[number]])
        for number, some in looked.items()
    }
    dataset.set_values(key, found, key_field="id")
    worst = {number: max((pair.score for pair in some), default=0.0) for number, some in kept.items()}
    dataset.set_values(f"{key}_score", worst, key_field="id")


def _store(dataset: fo.Dataset, result: Exhaustivity) -> None:
    columns = {f"pair_{n}": [getattr(pair, n) for pair in result.pairs] for n in PairFound.__dataclass_fields__}
    columns["pair_candidates"] = [list(pair.candidates) for pair in result.pairs]
    config = dict(label_field=result.label_field, threshold=result.threshold, counts=result.counts)
    held = dict(columns, failed=[list(one) for one in result.failed], notes=list(result.notes))
    records.store(dataset, result.key, METHOD, config, held, fields=[result.key, f"{result.key}_score"])
