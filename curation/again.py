"""A concept is asked again, with labels that a person chose as examples, or as what is not meant.

The choice is kept: the boxes become marks, in a field of their own, and every later question about the concept takes
them along. What the answer replaces can be brought back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import fiftyone as fo
from bson import ObjectId

from .answers import ledgers_of
from .changes import Before, Change
from .checks import check_whole
from .definitions import words_of
from .errors import CurationError
from .refine import Step, usual_checkpoint
from .steps import run_steps

if __package__ == "curation":
    from zoo.engine.concepts import parse_concepts
    from zoo.engine.errors import ConceptError
    from zoo.engine.prompts import Exemplars, box_iou
    from zoo.exemplar_bank import bank_of
    from zoo.ledger import DEFAULT, Ledger, check
    from zoo.marks import corners
    from zoo.provenance import asked_phrases, ledger_of, run_info
    from zoo.segment import build_model, check_images, segment
else:
    from ..zoo.engine.concepts import parse_concepts
    from ..zoo.engine.errors import ConceptError
    from ..zoo.engine.prompts import Exemplars, box_iou
    from ..zoo.exemplar_bank import bank_of
    from ..zoo.ledger import DEFAULT, Ledger, check
    from ..zoo.marks import corners
    from ..zoo.provenance import asked_phrases, ledger_of, run_info
    from ..zoo.segment import build_model, check_images, segment

#: of how a concept was asked, what is asked the same way again
_KEPT = ("floor", "cls_token", "tiles", "conflicts")
#: from which IoU on a box was marked before
_SAME_BOX = 0.95


def ask_again(
    samples: fo.core.collections.SampleCollection, concept: str, examples: Mapping[str, bool],
    label_field: str = DEFAULT, *, progress: Any = None, **settings: Any,
) -> Change:  # fmt: skip
    """Ask a concept again, with examples and counter-examples.

    Args:
        samples: a dataset or view of images.
        concept: one that was asked, or a new one, whose name is its phrase then.
        examples: id of a label, in any field of ``Detections`` → True: it shows the concept; False: neither it nor
            what is like it is meant.
        label_field: where the concept's instances are, and go: these, and its numbers in the ledger, are replaced.
        progress: whether to show a progress bar, or a function, as everywhere in FiftyOne.
        **settings: of :func:`again_steps`: ``elsewhere`` and so on.

    Returns:
        what was done; :func:`~curation.changes.undo_change` takes it back, marks included.

    Raises:
        CurationError: before anything is changed, see :func:`again_steps`.
    """
    return run_steps("ask_again", again_steps, (samples, concept, examples, label_field), settings, progress)


def again_steps(
    samples: fo.core.collections.SampleCollection, concept: str, examples: Mapping[str, bool],
    label_field: str = DEFAULT, *, elsewhere: bool = False, alone: bool = False, marks_field: str | None = None,
    checkpoint: str | None = None, device: str | None = None, batch_size: int = 8,
) -> Iterator[Step]:  # fmt: skip
    """As :func:`ask_again`, some samples a step, for whoever shows progress.

    Args:
        samples, concept, examples, label_field: see there.
        elsewhere: ask all ``samples``, those without marks of their own with the examples of the others. Default: only
            the samples that the examples are in.
        alone: ask by the examples, without the concept's words.
        marks_field: where the choice is kept. Default: ``<label_field>_marks``.
        checkpoint: folder or hub id. Default: what the ledger was asked of.
        device: None takes the best there is.
        batch_size: images encoded together.

    Yields:
        progress, first with nothing done.

    Raises:
        CurationError: no examples, labels that are not there, marks that contradict each other, only counter-examples
            of something without words, fields that hold something else; at the first step.
    """
    dataset = samples._root_dataset
    check_whole(samples)
    if not isinstance(label_field, str) or not label_field.isidentifier() or label_field.startswith("_"):
        raise CurationError(f"label_field={label_field!r} must be a plain word like 'sam3'")
    marks_field = marks_field or f"{label_field}_marks"
    if marks_field == label_field:
        raise CurationError(f"marks_field={marks_field!r} cannot hold the instances as well: choose another")
    book = ledger_of(dataset, label_field) or Ledger(label_field)
    try:
        check_images(samples)
        check(dataset, book, label_field)
    except ConceptError as error:
        raise CurationError(str(error)) from None
    if label_field not in dataset.get_field_schema() and ledgers_of(dataset):
        raise CurationError(f"label_field={label_field!r} holds no instances; those of {dataset.name!r} are elsewhere")
    concept = _known_concept(concept, asked_phrases(dataset, book))
    boxes = _boxes(samples, examples, marks_field)
    marks = {key: _marked(dataset, key, marks_field, concept, some) for key, some in boxes.items()}
    words = words_of(dataset, book, concept)
    try:
        for key, some in marks.items():
            if not _exemplars(some, concept).shows and (alone or not words):
                raise ConceptError(
                    f"There are only counter-examples of {concept!r} in {dataset[key].filepath}, and no words are "
                    "asked: add an example"
                )
    except ConceptError as error:
        raise CurationError(str(error)) from None
    ids = list(dict.fromkeys([*boxes, *(samples.values("id") if elsewhere else ())]))
    yield Step(0, len(ids))  # a form asks so far, and does not want to wait for a model
    good = sum(bool(sign) for sign in examples.values())
    told = [f"{n} {word}{'s' if n != 1 else ''}" for n, word in (
        (good, "example"), (len(examples) - good, "counter-example"),
    ) if n]  # fmt: skip
    what = f"{concept!r} asked again with {' and '.join(told)}"
    before, failed = Before(dataset, ids, [label_field, marks_field], book, [concept]), 0
    with before.watching(what):
        _write(dataset, marks_field, concept, marks)
        model = _model(dataset, book, concept, marks_field, alone, checkpoint, device, elsewhere=elsewhere)
        for progress in segment(dataset.select(ids, ordered=True), model, label_field, batch_size=batch_size):
            failed = progress.failed
            if progress.done:
                yield Step(progress.done, progress.total, failed)
    yield Step(len(ids), len(ids), failed, before.keep(what))


def _write(dataset: fo.Dataset, marks_field: str, concept: str, marks: Mapping[str, list[fo.Detection]]) -> None:
    """Store the marks of a concept, sample id → all that there are; other concepts' stay."""
    _declare(dataset, marks_field)
    for sample in dataset.select(list(marks)).select_fields(marks_field).iter_samples(autosave=True):
        held = [] if sample[marks_field] is None else sample[marks_field].detections
        others = [mark for mark in held if mark.label != concept]
        sample[marks_field] = fo.Detections(detections=[*others, *marks[sample.id]])


def _known_concept(concept: Any, asked: Mapping[str, list[str]]) -> str:
    """The concept's label as it was asked, if it was."""
    try:
        (one,) = parse_concepts([concept])
    except (ConceptError, ValueError) as error:
        raise CurationError(f"concept={concept!r}: {error}") from None
    return next((label for label in asked if label.casefold() == one.label.casefold()), one.label)


def _boxes(
    samples: fo.core.collections.SampleCollection, examples: Any, marks_field: str
) -> dict[str, list[tuple[fo.Detection, bool]]]:
    """Sample id → the labels that were chosen there, and what each is."""
    dataset = samples._root_dataset
    if not isinstance(examples, Mapping) or not examples:
        raise CurationError(f"examples must map ids of labels to True or False, got {examples!r}")
    for key, sign in examples.items():
        if sign not in (True, False):
            raise CurationError(f"examples: {key!r} is True, an example, or False, a counter-example: got {sign!r}")
        if not ObjectId.is_valid(key):
            raise CurationError(f"examples: {key!r} is no id of a label")
    schema = dataset.get_field_schema()
    if marks_field in schema and getattr(schema[marks_field], "document_type", None) is not fo.Detections:
        raise CurationError(f"marks_field={marks_field!r} holds {schema[marks_field]}: choose another field")
    unmarked = f"{marks_field}.detections.sam_label" not in dataset.get_field_schema(flat=True)
    if marks_field in schema and unmarked and dataset.count(f"{marks_field}.detections"):
        raise CurationError(f"marks_field={marks_field!r} holds labels that are no marks: choose another field")
    found: dict[str, list[tuple[fo.Detection, bool]]] = {}
    missing = set(examples)
    for name, field in schema.items():
        if getattr(field, "document_type", None) is not fo.Detections or not missing:
            continue
        for sample in samples.select_labels(ids=list(missing), fields=name).select_fields(name):
            for label in sample[name].detections if sample[name] is not None else ():
                if label.id in missing:
                    found.setdefault(sample.id, []).append((label, bool(examples[label.id])))
                    missing.discard(label.id)
    if missing:
        raise CurationError(
            f"examples: {min(missing)!r} is no label of these samples of {dataset.name!r}: choose labels of a field of "
            "Detections"
        )
    return found


def _marked(
    dataset: fo.Dataset, key: str, marks_field: str, concept: str, chosen: list[tuple[fo.Detection, bool]]
) -> list[fo.Detection]:
    """The marks of a concept in one sample: those that were there, and the labels chosen now, whose word counts."""
    held = dataset[key][marks_field] if dataset.has_sample_field(marks_field) else None
    marks = [mark for mark in (held.detections if held else ()) if mark.label == concept]
    for label, sign in chosen:
        same = [m for m in marks if m.id == label.id or box_iou(corners(m), corners(label)) > _SAME_BOX]
        for mark in same:
            mark["sam_label"] = sign
        if not same:
            marks.append(fo.Detection(label=concept, bounding_box=list(label.bounding_box), sam_label=sign))
    return marks


def _exemplars(marks: list[fo.Detection], concept: str) -> Exemplars:
    try:
        return Exemplars(tuple(corners(m) for m in marks), tuple(bool(m["sam_label"]) for m in marks))
    except ConceptError as error:
        raise ConceptError(f"{concept}: {error}") from None


def _entry(dataset: fo.Dataset, book: Ledger, concept: str) -> dict[str, Any] | None:
    """What the record says of a concept."""
    return (run_info(dataset, book.name).get("concepts") or {}).get(concept)


def _model(
    dataset: fo.Dataset, book: Ledger, concept: str, marks_field: str, alone: bool, checkpoint: str | None,
    device: str | None, *, elsewhere: bool,
) -> Any:  # fmt: skip
    """Asks the concept as it was asked before, and with its marks."""
    entry = _entry(dataset, book, concept) or {}
    phrases = words_of(dataset, book, concept)
    settings = {name: entry[name] for name in _KEPT if entry.get(name) is not None}
    if entry.get("threshold") is not None and phrases:
        settings["thresholds"] = {concept: entry["threshold"]}
    if entry.get("confidence_thresh") is not None:
        settings["confidence_thresh"] = entry["confidence_thresh"]
    if elsewhere:
        shown = bank_of(dataset.exists(marks_field), marks_field)
        settings["exemplars"] = {concept: shown[concept]}
    return build_model(
        {concept: phrases} if phrases and not (alone and elsewhere) else None, box_prompt_field=marks_field,
        exemplars_of=[concept], exemplars_alone=alone, ledger=book.name,
        checkpoint=checkpoint or usual_checkpoint(dataset, book), device=device, **settings,
    )


def _declare(dataset: fo.Dataset, marks_field: str) -> None:
    schema = dataset.get_field_schema(flat=True)
    if marks_field not in schema:
        dataset.add_sample_field(marks_field, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    if f"{marks_field}.detections.sam_label" not in schema:
        dataset.add_sample_field(f"{marks_field}.detections.sam_label", fo.BooleanField)
