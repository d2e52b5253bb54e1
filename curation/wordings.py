"""Several wordings of one concept, compared on some of the images: which find the same, and which to take.

A trial: images are asked, and neither labels nor the ledger change. What is kept is the comparison itself, and on the
instances that are there already, the attribute ``stability`` (:mod:`curation.stability`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import fiftyone as fo
import numpy as np
from numpy.typing import NDArray

from . import records, stability
from .agreement import Shapes, Tally, shapes_found
from .answers import Answers, asked_concepts, check_ledger, ledgers_of, read_answers
from .checks import listed
from .comparison import KEY, METHOD, Step, Wordings, load_wordings, store
from .errors import CurationError
from .instances import check_field
from .label_errors import check_apart, ledger_name
from .phrasing import suggest_wordings
from .recommend import Wording, grouped, judged, recommended
from .said import Said, labels_path
from .steps import run_steps
from .truth import read_truth
from .trying import check_phrases, check_trial, entries_of, trial_model, trial_settings

if __package__ == "curation":
    from zoo.definitions import definition_of, known_label
    from zoo.engine.concepts import Concept
    from zoo.engine.concepts import check_whole as check_number
    from zoo.engine.errors import ConceptError
    from zoo.ledger import DEFAULT, Ledger
    from zoo.provenance import asked_phrases
    from zoo.trial import tried
else:
    from ..zoo.definitions import definition_of, known_label
    from ..zoo.engine.concepts import Concept
    from ..zoo.engine.concepts import check_whole as check_number
    from ..zoo.engine.errors import ConceptError
    from ..zoo.ledger import DEFAULT, Ledger
    from ..zoo.provenance import asked_phrases
    from ..zoo.trial import tried

__all__ = [
    "KEY", "METHOD", "Step", "Wordings", "compare_wordings", "load_wordings", "suggested_phrases", "wordings_steps",
]  # fmt: skip

#: images that are asked, unless more are wanted
LIMIT = 100
SEED = 51
#: samples whose labels are in memory at once
_STRETCH = 64


def compare_wordings(
    samples: fo.core.collections.SampleCollection, concept: str, phrases: Sequence[str] | None = None,
    key: str | None = KEY, *, progress: Any = None, **settings: Any,
) -> Wordings:  # fmt: skip
    """Ask several wordings of a concept of some images, and compare what they find.

    Each image is encoded once. Neither labels nor the ledger change; instances of the concept that are there get the
    attribute ``stability``, the share of the other wordings of their group that find them, too. An earlier comparison
    of that key is replaced.

    Args:
        samples: a dataset or view of images.
        concept: what it is about; it need not have been asked.
        phrases: its wordings. Default: those that :func:`~curation.phrasing.suggest_wordings` finds, and those of its
            definition.
        key: a name; None: nothing is stored, and nothing is written on labels.
        progress: whether to show a progress bar, or a function, as everywhere in FiftyOne.
        **settings: of :func:`wordings_steps`: ``limit``, ``gt_field`` and so on.

    Raises:
        CurationError: before anything is asked or stored, see :func:`wordings_steps`.
    """
    return run_steps("compare_wordings", wordings_steps, (samples, concept, phrases, key), settings, progress)


def wordings_steps(
    samples: fo.core.collections.SampleCollection, concept: str, phrases: Sequence[str] | None = None,
    key: str | None = KEY, *, label_field: str | None = DEFAULT, ledger: str | None = None,
    gt_field: str | None = None, exhaustive: Any = None, gt_labels: Any = None, negatives_field: str | None = None,
    not_exhaustive_field: str | None = None, limit: int = LIMIT, seed: int = SEED, checkpoint: str | None = None,
    device: str | None = None, batch_size: int = 8,
) -> Iterator[Step]:  # fmt: skip
    """As :func:`compare_wordings`, reporting as it goes.

    Args:
        samples, concept, phrases, key: see there.
        label_field: instances whose stability is measured. None: nobody's; nor where nothing was asked yet.
        ledger: name of the ledger that knows how the concept was asked. Default: the label field's.
        gt_field: labels that say what is there; None: wordings are judged by each other.
        exhaustive, gt_labels, negatives_field, not_exhaustive_field: what labels mean, see ``evaluation.policy``.
        limit: images to ask, at most. Where the ledger knows the concept, a third of them are those where it is
            present, and a third those where it is most in doubt.
        seed: of the choice of images.
        checkpoint: folder or hub id. Default: what the ledger was asked of, else Meta's weights if they are on this
            machine, else the tiny one.
        device: None takes the best there is.
        batch_size: images encoded together.

    Yields:
        first with nothing done, once everything was checked but the length of phrases.

    Raises:
        CurationError: no images, a concept or phrases that are none, that are there twice or too long, fewer than two,
            unknown fields, a limit below 1, nothing said about what is not labelled.
    """
    dataset = samples._root_dataset
    (concept,) = check_phrases(concept if isinstance(concept, str) else [concept], "concept")
    check_trial(samples, batch_size)
    try:
        check_number(limit, "limit", 1)
        check_number(seed, "seed", 0)
    except ConceptError as error:
        raise CurationError(str(error)) from None
    if key is not None:
        records.check_key(dataset, key, METHOD)
    found_in, notes = _instances_in(samples, label_field, ledger)
    name = ledger or (DEFAULT if found_in is None else ledger_name(dataset, found_in))
    known = [*asked_concepts(samples, name)] if name in ledgers_of(samples) else []
    if ledger is not None:
        check_ledger(samples, ledger)
    concept = known_label(concept, known) or concept
    words = check_phrases(phrases) if phrases is not None else suggested_phrases(dataset, concept, name)
    if len(words) < 2:
        raise CurationError(f"There is only {words[0]!r} to ask: say phrases=[...] with at least two, to compare them")
    said = Said(gt_field, exhaustive, gt_labels, negatives_field, not_exhaustive_field)
    if gt_labels is not None:  # one mapping for all jobs; here one concept is asked
        mine = {c: names for c, names in gt_labels.items() if c not in known or c == concept}
        said = replace(said, gt_labels=mine or None)
    if gt_field is not None:
        if found_in is not None:
            check_apart(found_in, labels_path(samples, gt_field))
        said.policy(samples, [concept], name)
    ids = _chosen(samples, [c for c in known if c.casefold() in {concept.casefold(), *map(str.casefold, words)}],
                  name, limit, seed)  # fmt: skip
    yield Step(0, len(ids))  # a form asks so far, and does not want to wait for a model
    truth = None if gt_field is None else _Truth(samples.select(ids, ordered=True), concept, said, name)
    model = trial_model(dataset, name, concept, words, checkpoint, device)
    level = trial_settings(entries_of(dataset, name).get(concept))["confidence_thresh"]
    asked = tuple(Concept(phrase, (phrase,), level) for phrase in words)
    tally, failed = Tally.empty(len(ids), len(words)), {}
    there: list[tuple[str, str, list[str], NDArray[np.bool_]]] = []  # instances, and the wordings that find them
    before = asked_phrases(dataset, Ledger(name))
    for start in range(0, len(ids), _STRETCH):
        part = _loaded(samples, ids[start : start + _STRETCH], [found_in, truth and truth.boxes_in])
        for k, answer in enumerate(tried(model, [p for p, *_ in part], [asked] * len(part), batch_size), start):
            if answer.error is not None:
                failed[ids[k]] = answer.error
                yield Step(k + 1, len(ids), len(failed))
                continue
            found = [shapes_found(stability.counted(result), answer.size) for result in answer.results]
            _, instances, labels = part[k - start]
            right = truth.shapes(k, labels, answer.size) if truth is not None else None
            tally.add(k, [result.presence for result in answer.results], found, right)
            own = [label for label in instances if label.label == concept]
            seen = stability.found_by(stability.shapes_of(own, answer.size), found)
            there += [(ids[k], label.id, stability.own_words(label, before), row)
                      for label, row in zip(own, seen, strict=True)]  # fmt: skip
            if k + 1 < len(ids):
                yield Step(k + 1, len(ids), len(failed))
    facts = (None, None) if truth is None else (truth.present, truth.known)
    made = judged(words, tally, *facts)
    best, reasons = recommended(concept, made)
    rows, more = _stable(concept, made, best, there)
    result = Wordings(
        key or "", dataset.name, concept, made, grouped(concept, made), best, reasons, tuple(ids), tally.agreement(),
        tally.mean_iou(), tally.presence, tally.counts, tally.matches, found_in if rows else None,
        len(rows) if key is not None else 0, failed, (*notes, *more, *_silent(made, failed)),
    )  # fmt: skip
    if key is not None:
        if rows:
            records.declare(dataset, {f"{found_in}.detections.{stability.ATTRIBUTE}": fo.FloatField})
            stability.store(samples, found_in, rows)
        store(dataset, result)
    yield Step(len(ids), len(ids), len(failed), result)


def suggested_phrases(dataset: fo.Dataset, concept: str, ledger: str = DEFAULT) -> tuple[str, ...]:
    """The wordings to try where nobody says which: as the concept is asked now, and what the noun graph suggests.

    Raises:
        CurationError: the concept is no phrase.
    """
    more = suggest_wordings(concept)
    known = definition_of(dataset, concept, ledger)
    found: dict[str, str] = {}
    for phrase in (*(known.phrases if known else ()), *(one.phrase for one in more)):
        found.setdefault(phrase.casefold(), phrase)
    return tuple(found.values())


class _Truth:
    """What is known of the samples that are looked at, in their order."""

    def __init__(
        self, samples: fo.core.collections.SampleCollection, concept: str, said: Said, ledger: str
    ) -> None:
        self.policy, self.concept = said.policy(samples, [concept], ledger), concept
        ids = np.array(samples.values("id"), dtype=str)
        blank = np.zeros((len(ids), 1))  # nobody's answers: only who is there matters
        truth = read_truth(samples, Answers(ids, (concept,), blank, None, None, {concept: 1.0}), said, ledger)
        self.present, self.known = truth.present[:, 0], truth.known[:, 0]
        path = labels_path(samples, said.gt_field)
        boxed = getattr(samples.get_field(path), "document_type", None) is fo.Detections
        self.boxes_in = path if boxed else None
        self._complete = truth.complete[:, 0] | (self.known & ~self.present)

    def shapes(self, row: int, labels: Sequence[fo.Detection], size: tuple[int, int]) -> Shapes | None:
        """The instances that are there; None where that is not known, or not of all."""
        if self.boxes_in is None or not self._complete[row]:
            return None
        chosen = self.policy.instances(self.concept, labels)
        return stability.shapes_of([labels[k] for k in chosen], size)


def _instances_in(
    samples: fo.core.collections.SampleCollection, label_field: str | None, ledger: str | None
) -> tuple[str | None, list[str]]:
    """The path of the instances, if there are any; and a word where there are none."""
    if label_field is None:
        return None, []
    if label_field == DEFAULT and not samples.has_field(label_field):
        return None, ["Nothing was asked yet, so the stability of instances was not measured"]
    return check_field(samples, label_field, "label_field"), []


def _chosen(
    samples: fo.core.collections.SampleCollection, known: Sequence[str], ledger: str, limit: int, seed: int
) -> list[str]:
    """Ids of the samples to look at, in the samples' order."""
    ids = samples.values("id")
    if len(ids) <= limit:
        return ids
    order = np.random.default_rng(seed).permutation(len(ids))
    taken: list[int] = []
    if known:
        answers = read_answers(samples, ledger, known, ())
        margin = np.where(answers.asked, answers.presence - answers.levels, -np.inf).max(axis=1)
        place = {number: k for k, number in enumerate(answers.ids.tolist())}
        margin = margin[[place[number] for number in ids]]
        taken = [k for k in order.tolist() if margin[k] >= 0][: limit // 3]
        doubtful = order[np.argsort(np.abs(margin[order]), kind="stable")].tolist()
        left = set(taken)
        taken += [k for k in doubtful if k not in left and np.isfinite(margin[k])][: limit // 3]
    left = set(taken)
    taken += [k for k in order.tolist() if k not in left][: limit - len(taken)]
    return [ids[k] for k in sorted(taken)]


def _loaded(
    samples: fo.core.collections.SampleCollection, ids: Sequence[str], fields: Sequence[str | None]
) -> list[tuple[str, list[fo.Detection], list[fo.Detection]]]:
    """File, instances, and ground truth of each sample."""
    view = samples.select(list(ids), ordered=True).select_fields([name for name in fields if name])
    return [
        (one.filepath, *([] if name is None or one[name] is None else one[name].detections for name in fields))
        for one in view
    ]  # fmt: skip


def _stable(
    concept: str, made: Sequence[Wording], best: str | None,
    there: Sequence[tuple[str, str, list[str], NDArray[np.bool_]]],
) -> tuple[list[dict[str, Any]], list[str]]:  # fmt: skip
    """The stability of each instance, by the group of the words that found it, else that of what is recommended."""
    group = {one.phrase.casefold(): one.group for one in made}
    usual = group.get((best or "").casefold(), 0)
    rows = []
    for sample, label, own, seen in there:
        number = next((group[word.casefold()] for word in own if group.get(word.casefold())), usual)
        members = [k for k, one in enumerate(made) if one.group == number and number]
        value = stability.share([made[k].phrase for k in members], seen[members].tolist(), own)
        if value is not None:
            rows.append(dict(sample_id=sample, label_id=label, value=value))
    if there and not rows:
        return rows, [f"No other wording is of the group that found {concept!r}: stability was not measured"]
    return rows, []


def _silent(made: Sequence[Wording], failed: Mapping[str, str]) -> list[str]:
    silent = [one.phrase for one in made if not one.group]
    notes = [f"Found nothing: {listed(silent)}"] if silent else []
    return [*notes, *([f"{len(failed)} images could not be asked: see failed"] if failed else [])]
