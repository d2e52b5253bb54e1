"""A person decides in which words a concept is asked from now on, and which sense of its word is meant.

The decision is the concept's definition, in the ledger's record: forms propose it, hard negatives go by its sense,
concept files carry it. Answers that are there keep the words that they were asked with, until the concept is asked
again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import fiftyone as fo

from .changes import Before, Change
from .errors import CurationError
from .kin import check_sense
from .nouns import senses
from .phrasing import only_sense
from .refine import usual_checkpoint
from .steps import run_steps
from .trying import check_phrases, check_readable

if __package__ == "curation":
    from zoo.definitions import Definition, define, definition_of, definitions, known_label, senses_said, undefine
    from zoo.engine.concepts import parse_concepts
    from zoo.engine.errors import ConceptError
    from zoo.exemplar_bank import bank_of
    from zoo.ledger import DEFAULT, Ledger, check
    from zoo.provenance import asked_phrases, instances_fields, run_info
    from zoo.segment import build_model, check_images, segment
else:
    from ..zoo.definitions import Definition, define, definition_of, definitions, known_label, senses_said, undefine
    from ..zoo.engine.concepts import parse_concepts
    from ..zoo.engine.errors import ConceptError
    from ..zoo.exemplar_bank import bank_of
    from ..zoo.ledger import DEFAULT, Ledger, check
    from ..zoo.provenance import asked_phrases, instances_fields, run_info
    from ..zoo.segment import build_model, check_images, segment

__all__ = [
    "Choice", "Definition", "choose_steps", "choose_wording", "chosen_senses", "definition_of", "definitions",
    "forget_wording",
]  # fmt: skip

#: of how a concept was asked, what is asked the same way again
_KEPT = ("floor", "cls_token", "tiles", "conflicts")


@dataclass(frozen=True)
class Choice:
    """What was decided, and what was done about it.

    Attributes:
        definition: of the concept, from now on.
        change: of labels, where the concept was asked again; :func:`~curation.changes.undo_change` takes it back.
    """

    definition: Definition
    change: Change | None = None

    def __str__(self) -> str:
        words = " or ".join(map(repr, self.definition.phrases))
        return f"{self.definition.label!r} is asked as {words}" + (f"; {self.change}" if self.change else "")


@dataclass(frozen=True)
class Step:
    """``done`` of ``total`` samples, ``failed`` of them; ``result`` once all are, and everything is written."""

    done: int
    total: int
    failed: int = 0
    result: Choice | None = None


def choose_wording(
    dataset: fo.Dataset, concept: str, phrases: str | Sequence[str], *, progress: Any = None, **settings: Any
) -> Choice:
    """Decide how a concept is asked; where wanted, ask it at once.

    Args:
        dataset: the dataset, or a view of it: the decision is the dataset's.
        concept: one that was asked, or a new one.
        phrases: one, or several, whose instances are joined.
        progress: whether to show a progress bar, or a function, as everywhere in FiftyOne.
        **settings: of :func:`choose_steps`: ``sense``, ``ask`` and so on.

    Raises:
        CurationError: before anything is changed, see :func:`choose_steps`.
    """
    return run_steps("choose_wording", choose_steps, (dataset, concept, phrases), settings, progress)


def choose_steps(
    dataset: fo.Dataset, concept: str, phrases: str | Sequence[str], *, sense: str | None = None,
    ledger: str = DEFAULT, ask: bool = False, label_field: str | None = None, checkpoint: str | None = None,
    device: str | None = None, batch_size: int = 8,
) -> Iterator[Step]:  # fmt: skip
    """As :func:`choose_wording`, reporting as it goes.

    Args:
        dataset, concept, phrases: see there.
        sense: the key of what the concept's word means, of :func:`curation.nouns.senses`; "" for none of these.
            Default: the one that the phrases name, if they leave no doubt ("computer mouse"), else what was said
            before.
        ledger: name of the ledger whose record keeps the definition.
        ask: ask the whole dataset with these phrases, and replace the concept's answers. Otherwise as it was asked
            before, examples in their own images included; labels are kept in memory until the end, so that it can be
            undone.
        label_field: where the instances go. Default: where the ledger's are.
        checkpoint: folder or hub id. Default: what the ledger was asked of.
        device: None takes the best there is.
        batch_size: images encoded together.

    Yields:
        first with nothing done, once everything was checked but the length of phrases.

    Raises:
        CurationError: a concept or phrases that are none, that are there twice or too long, a concept that cannot be
            told from another, a sense that its word has not; to ask, no images, or a field that holds something else.
    """
    dataset = dataset._root_dataset
    book = _book(ledger)
    (label,) = check_phrases(concept if isinstance(concept, str) else [concept], "concept")
    words = check_phrases(phrases)
    asked, made = asked_phrases(dataset, book), definitions(dataset, ledger)
    label = known_label(label, [*made, *asked]) or label
    try:
        parse_concepts(list(dict.fromkeys([*asked, *made, label])))
    except ConceptError as error:
        raise CurationError(str(error)) from None
    if sense is not None and sense != "":
        check_sense(label, sense)
    meant = _sense(dataset, ledger, label, words) if sense is None else sense
    ids: list[str] = []
    if ask:
        label_field = label_field or next(iter(instances_fields(dataset, book)), ledger)
        try:
            check_images(dataset)
            check(dataset, book, label_field)
        except ConceptError as error:
            raise CurationError(str(error)) from None
        ids = dataset.values("id")
        if not ids:
            raise CurationError(f"{dataset.name!r} has no images: there is nothing to ask")
    yield Step(0, len(ids))  # a form asks so far, and does not want to wait for a model
    if not ask:
        yield Step(0, 0, 0, Choice(define(dataset, ledger, label, words, meant)))
        return
    model = _model(dataset, book, label, words, checkpoint, device)
    check_readable(model, words)
    what = f"{label!r} asked as {' or '.join(map(repr, words))}"
    before, failed = Before(dataset, ids, [label_field], book, [label]), 0
    definition = define(dataset, ledger, label, words, meant)
    with before.watching(what):
        for progress in segment(dataset, model, label_field, batch_size=batch_size):
            failed = progress.failed
            if progress.done:
                yield Step(progress.done, progress.total, failed)
    yield Step(len(ids), len(ids), failed, Choice(definition, before.keep(what)))


def forget_wording(dataset: fo.Dataset, concept: str, ledger: str = DEFAULT) -> None:
    """Take a definition back: the concept is asked as it was asked before, and has no chosen sense.

    Raises:
        CurationError: it has none.
    """
    try:
        undefine(dataset, _book(ledger).name, concept)
    except ConceptError as error:
        raise CurationError(str(error)) from None


def chosen_senses(
    dataset: fo.Dataset, ledger: str, concepts: Sequence[str], said: Any = None
) -> Mapping[str, str] | Any:
    """What to take concepts for: what is said now, else what their definitions say.

    Args:
        dataset: the dataset.
        ledger: name of the ledger.
        concepts: which matter.
        said: concept → key of its sense; "usual": the commonest, where no definition says another; None.

    Returns:
        concept → key, as :func:`curation.kin.find_kin` takes it. Of a definition, senses that the noun graph does not
        know of the word are left out: a concept file may come from elsewhere. What is of another kind is returned as it
        is, to be refused there.
    """
    held = {}
    for concept, key in senses_said(dataset, ledger).items():
        if concept in concepts and _fits(concept, key):
            held[concept] = key
    if said is None:
        return held
    if said == "usual":
        return {c: known[0].key for c in concepts if (known := senses(c))} | held
    return {**held, **said} if isinstance(said, Mapping) else said


def words_of(dataset: fo.Dataset, book: Ledger, concept: str) -> list[str]:
    """The phrases to ask a concept with: its definition's, else those that it was asked with; of a new one, its name.
    None where only examples say what is meant.
    """
    known = definition_of(dataset, concept, book.name)
    return [concept] if known is None else list(known.phrases)


def _book(ledger: Any) -> Ledger:
    try:
        return Ledger(ledger)
    except ConceptError as error:
        raise CurationError(str(error)) from None


def _sense(dataset: fo.Dataset, ledger: str, concept: str, phrases: Sequence[str]) -> str | None:
    """What all phrases name beyond doubt, of an ambiguous concept; else what was said before."""
    known = [one.key for one in senses(concept)]
    (first, *others) = {only_sense(phrase) for phrase in phrases}
    if len(known) > 1 and first in known and not others:
        return first
    return senses_said(dataset, ledger).get(concept)


def _fits(concept: str, key: str) -> bool:
    try:
        if key:
            check_sense(concept, key)
    except CurationError:
        return False
    return True


def _model(
    dataset: fo.Dataset, book: Ledger, concept: str, words: Sequence[str], checkpoint: str | None, device: str | None
) -> Any:
    """Asks the concept in these words, and otherwise as it was asked before."""
    entry = (run_info(dataset, book.name).get("concepts") or {}).get(concept) or {}
    settings = {name: entry[name] for name in (*_KEPT, "confidence_thresh") if entry.get(name) is not None}
    if entry.get("threshold") is not None:
        settings["thresholds"] = {concept: entry["threshold"]}
    shown = entry.get("prompts") or {}
    marks = shown.get("box_prompt_field")
    if marks in dataset.get_field_schema() and concept in dataset.distinct(f"{marks}.detections.label"):
        settings |= dict(box_prompt_field=marks, exemplars_of=[concept])
        if "exemplars" in shown:
            settings["exemplars"] = {concept: bank_of(dataset.exists(marks), marks)[concept]}
    try:
        return build_model(
            {concept: list(words)}, ledger=book.name, checkpoint=checkpoint or usual_checkpoint(dataset, book),
            device=device, **settings,
        )  # fmt: skip
    except ConceptError as error:
        raise CurationError(str(error)) from None
