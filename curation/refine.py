"""Boxes and points of a field become masks, in place or in another field; and that can be undone.

For the bulk of a dataset ``operation_mode="visual"`` of the model is the way. This is for what a person looks at: a few
labels, which keep their ids, names and attributes, and are better afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import fiftyone as fo
from bson import ObjectId
from fiftyone import ViewField as F

from .changes import Before, Change
from .checks import check_known, check_whole
from .errors import CurationError
from .steps import run_steps

if __package__ == "curation":
    from zoo.engine.checkpoint import FACEBOOK, TINY_NAME, has_gated
    from zoo.engine.errors import ConceptError, ImageError
    from zoo.engine.images import read_image
    from zoo.ledger import DEFAULT, Ledger, write_error
    from zoo.provenance import asked_checkpoint, ledger_of
    from zoo.refine import redraw
    from zoo.segment import check_images
    from zoo.source import load_model
else:
    from ..zoo.engine.checkpoint import FACEBOOK, TINY_NAME, has_gated
    from ..zoo.engine.errors import ConceptError, ImageError
    from ..zoo.engine.images import read_image
    from ..zoo.ledger import DEFAULT, Ledger, write_error
    from ..zoo.provenance import asked_checkpoint, ledger_of
    from ..zoo.refine import redraw
    from ..zoo.segment import check_images
    from ..zoo.source import load_model

_LISTS = {fo.Detections: "detections", fo.Keypoints: "keypoints"}


@dataclass(frozen=True)
class Step:
    """``done`` of ``total`` samples, ``failed`` of them; ``result`` once all are done, and everything is written."""

    done: int
    total: int
    failed: int = 0
    result: Change | None = None


def refine_labels(
    samples: fo.core.collections.SampleCollection, label_field: str, labels: Sequence[str] | None = None, *,
    progress: Any = None, **settings: Any,
) -> Change:  # fmt: skip
    """Draw the masks of labels that are there.

    Args:
        samples: a dataset or view of images.
        label_field: ``Detections``, or ``Keypoints``.
        labels: ids of those to draw. Default: all in ``samples``.
        progress: whether to show a progress bar, or a function, as everywhere in FiftyOne.
        **settings: of :func:`refine_steps`: ``into`` and so on.

    Returns:
        what was done; :func:`~curation.changes.undo_change` takes it back. A sample whose image cannot be read keeps
        its labels, as does a label that cannot be used; the ledger's error field says why.

    Raises:
        CurationError: before anything is changed, see :func:`refine_steps`.
    """
    return run_steps("refine_labels", refine_steps, (samples, label_field, labels), settings, progress)


def refine_steps(
    samples: fo.core.collections.SampleCollection, label_field: str, labels: Sequence[str] | None = None, *,
    into: str | None = None, boxes: str = "keep", choice: str = "best", multimask: bool | None = None,
    checkpoint: str | None = None, device: str | None = None,
) -> Iterator[Step]:
    """As :func:`refine_labels`, one sample a step, for whoever shows progress.

    Args:
        samples, label_field, labels: see there.
        into: a field of ``Detections`` that the labels join, under the same ids: those that are there under these are
            replaced, others stay. Default: labels are changed in place; points cannot be.
        boxes: "keep" leaves the boxes, and cuts masks at them; "fit" makes boxes that hug their masks.
        choice: which of the candidates becomes the mask: "best", "largest" or "smallest".
        multimask: whether there are several candidates; None: as the network decides.
        checkpoint: folder or hub id. Default: what the labels' ledger was asked of, else Meta's weights if they are on
            this machine, else the tiny one.
        device: None takes the best there is.

    Yields:
        progress, first with nothing done.

    Raises:
        CurationError: fields that hold something else, labels that are not there, at the first step; settings that
            make no sense, at the second; before anything is changed.
    """
    dataset = samples._root_dataset
    check_whole(samples)
    kind = _check_fields(dataset, label_field, into)
    try:
        check_images(samples)
    except ConceptError as error:
        raise CurationError(str(error)) from None
    part = f"{label_field}.{_LISTS[kind]}"
    if isinstance(labels, str):
        raise CurationError(f"labels must be a list of ids, got {labels!r}: write [{labels!r}]")
    wanted = None if labels is None else set(labels)
    if wanted is not None and not wanted:
        raise CurationError("labels=[]: no label is chosen. Leave it out to draw all")
    if odd := next((key for key in wanted or () if not ObjectId.is_valid(key)), None):
        raise CurationError(f"labels: {odd!r} is no id of a label")
    chosen = samples if wanted is None else samples.match_labels(ids=list(wanted), fields=label_field)
    ids = chosen.match(F(part).length() > 0).values("id")
    if wanted is not None:
        here = {key for some in dataset.select(ids).values(f"{part}.id") for key in some or ()}
        if lost := sorted(wanted - here):
            raise CurationError(f"labels: {lost[0]!r} is no label of {label_field!r} in these samples")
    if not ids:
        raise CurationError(f"There is nothing to draw: {label_field!r} holds no label in these samples")
    yield Step(0, len(ids))  # a form asks so far, and does not want to wait for a model
    book = ledger_of(dataset, label_field) or Ledger(DEFAULT)
    try:
        model = load_model(
            "concepts/sam3-image", operation_mode="visual", prompt_field=label_field, boxes=boxes, choice=choice,
            multimask=multimask, checkpoint=checkpoint or usual_checkpoint(dataset, book), device=device,
        )  # fmt: skip
    except ConceptError as error:
        raise CurationError(str(error)) from None
    target = into or label_field
    before = Before(dataset, ids, [target])
    what, failed = f"masks drawn for {label_field!r}" + (f", in {into!r}" if into else ""), 0
    with before.watching(what):
        _declare(dataset, target, book)
        for done, sample in enumerate(dataset.select(ids, ordered=True), 1):
            reasons = _draw(model, sample, label_field, kind, wanted, target)
            held = sample[book.error] or ""
            if reasons:
                write_error(sample, book, f"{label_field}: {'; '.join(reasons)}")
                failed += 1
            elif held.startswith(f"{label_field}: "):  # what went well clears what went wrong before
                sample[book.error] = None
            sample.save()
            yield Step(done, len(ids), failed)
    what += f"; {failed} samples failed, see {book.error}" if failed else ""
    yield Step(len(ids), len(ids), failed, before.keep(what))


def usual_checkpoint(dataset: fo.Dataset, book: Ledger) -> str:
    """The weights to take where nobody says which."""
    return asked_checkpoint(dataset, book) or (FACEBOOK if has_gated() else TINY_NAME)


def _draw(
    model: Any, sample: fo.Sample, label_field: str, kind: type, wanted: set[str] | None, target: str
) -> list[str]:
    """Draw the labels of a sample; why some, or all, of them cannot be drawn."""
    labels = [label for label in sample[label_field][_LISTS[kind]] if wanted is None or label.id in wanted]
    try:
        made, reasons = redraw(model, read_image(sample.filepath), labels)
    except ImageError as error:
        return [str(error)]
    drawn = {label.id: label for label in made}
    held = [] if sample[target] is None else sample[target].detections
    there = {label.id for label in held}
    joined = [drawn.get(label.id, label) for label in held]
    if drawn:
        sample[target] = fo.Detections(detections=[*joined, *(d for key, d in drawn.items() if key not in there)])
    return reasons


def _check_fields(dataset: fo.Dataset, label_field: str, into: str | None) -> type:
    schema = dataset.get_field_schema()
    usable = [name for name, field in schema.items() if getattr(field, "document_type", None) in _LISTS]
    if label_field not in usable:
        if isinstance(label_field, str) and label_field.startswith("frames."):
            raise CurationError("Labels of frames are drawn by tracking them: see prompt_field of the video model")
        check_known(label_field, usable, "field of boxes or points")
        raise CurationError(f"{dataset.name!r} has no field of boxes or points: there is nothing to draw")
    kind = schema[label_field].document_type
    if into is None:
        if kind is fo.Keypoints:
            raise CurationError(f"{label_field!r} holds points, and masks have no place there: say into='a field'")
        return kind
    if not isinstance(into, str) or not into.isidentifier() or into.startswith("_"):
        raise CurationError(f"into={into!r} must be the name of a field, such as 'masks'")
    if into in schema and getattr(schema[into], "document_type", None) is not fo.Detections:
        raise CurationError(f"into={into!r} holds {schema[into]}, and masks need Detections: choose another field")
    return kind


def _declare(dataset: fo.Dataset, target: str, book: Ledger) -> None:
    schema = dataset.get_field_schema(flat=True)
    if target not in schema:
        dataset.add_sample_field(target, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    if f"{target}.detections.quality" not in schema:
        dataset.add_sample_field(f"{target}.detections.quality", fo.FloatField)
    if book.error not in schema:
        dataset.add_sample_field(book.error, fo.StringField)
