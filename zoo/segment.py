"""Concept segmentation of a collection, step by step: what operators, the demo and scripts run.

``apply_model`` does the work, a stretch of samples at a time, so that whoever watches can report progress, and
a run that is cut goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import fiftyone as fo

from .cluster import check_distribute
from .engine.concepts import Classes, check_whole, parse_concepts
from .engine.errors import ConceptError
from .image_model import Sam3ImageModel
from .ledger import check, declare, declared, pending
from .provenance import check_same_question, instances_fields
from .recipe import recipe_of
from .sidebar import show
from .visual_model import Sam3VisualModel

#: samples between two reports of progress
_STRETCH = 32


@dataclass(frozen=True)
class Progress:
    """``done`` of ``total`` samples, ``failed`` of them with a reason in the ledger; ``instances`` counted."""

    done: int
    total: int
    failed: int
    instances: int


def segment(
    samples: fo.core.collections.SampleCollection, model: Sam3ImageModel, label_field: str = "sam3", *,
    batch_size: int = 8, num_workers: int = 0, skip_existing: bool = False, distribute: str | None = None,
    workers: int | None = None,
) -> Iterator[Progress]:
    """Apply ``model`` to ``samples``, yielding after every stretch of them.

    Args:
        samples: an image dataset or view
        model: the model, with its concepts and its ledger
        label_field: where instances go
        batch_size: images encoded together
        num_workers: processes that read images
        skip_existing: leave out samples, and on the others concepts, that the ledger already answers for
        distribute: ``"ray"`` has worker processes do it, on this machine or on a cluster; ``None``: this process
        workers: how many; ``None``: one a GPU of the cluster, or, if it has none, one a core

    Yields:
        progress, first with nothing done

    Raises:
        ConceptError: before anything runs: fields that hold something else, a batch size below 1, no images, earlier
            answers to another question; distributed, what :func:`zoo.distributed.gathered` refuses
    """
    check_whole(batch_size, "batch_size", 1)
    check_distribute(distribute, workers)
    if distribute:
        recipe_of(model)
    check_images(samples)
    dataset = samples._root_dataset
    check(dataset, model.ledger, label_field)
    if skip_existing or model.skip_existing:
        check_same_question(dataset, model.ledger, model.asked_always(), model.about())
    labels = [c.label for c in model.concepts]
    todo = pending(samples, labels, model.ledger) if skip_existing and not model.prompt_field else samples
    ids = todo.values("id")
    before = model.skip_existing
    model.skip_existing = model.skip_existing or skip_existing
    try:
        with _workers(distribute, workers, dataset, ids, model, label_field, batch_size, num_workers) as crew:
            declare(dataset, model.ledger, labels, label_field)
            shown = declared(dataset, model.ledger)
            show(dataset, model.ledger, labels)
            yield Progress(0, len(ids), 0, 0)
            if crew is None:
                yield from _in_stretches(dataset, ids, model, label_field, batch_size, num_workers)
            else:
                from .distributed import segment_parts

                for numbers in segment_parts(crew, dataset, ids, model, label_field, batch_size):
                    yield Progress(total=len(ids), **numbers)
        found = [label for label in declared(dataset, model.ledger) if label not in shown]
        if found:  # of many concepts, it is known only now which to show
            show(dataset, model.ledger, found)
    finally:
        model.skip_existing = before


def _workers(
    distribute: str | None, workers: int | None, dataset: fo.Dataset, ids: list[str], model: Sam3ImageModel,
    label_field: str, batch_size: int, num_workers: int,
) -> Any:
    """Worker processes as a context, or ``None`` where there is none, or nothing to do."""
    if distribute is None or not ids:
        return nullcontext()
    from .distributed import gathered

    how = dict(
        label_field=label_field, batch_size=batch_size, num_workers=num_workers, skip_existing=model.skip_existing,
        instances=instances_fields(dataset, model.ledger),
    )
    return gathered(model, dataset, "images", how, workers=workers, most=-(-len(ids) // batch_size))


def draw(
    samples: fo.core.collections.SampleCollection, model: Sam3VisualModel, label_field: str, *, batch_size: int = 8,
    num_workers: int = 0,
) -> Iterator[Progress]:
    """As :func:`segment`, for a model that draws what is marked, or everything.

    Args:
        samples: an image dataset or view
        model: the model
        label_field: where masks go
        batch_size: images encoded together
        num_workers: processes that read images

    Yields:
        progress, first with nothing done

    Raises:
        ConceptError: before anything runs, or with the first answer: a batch size below 1, no images, fields that hold
            something else
    """
    check_whole(batch_size, "batch_size", 1)
    check_images(samples)
    ids = samples.values("id")
    yield Progress(0, len(ids), 0, 0)
    yield from _in_stretches(samples._root_dataset, ids, model, label_field, batch_size, num_workers)


def _in_stretches(
    dataset: fo.Dataset, ids: list[str], model: Sam3ImageModel | Sam3VisualModel, label_field: str, batch_size: int,
    num_workers: int,
) -> Iterator[Progress]:
    with model:
        for start in range(0, len(ids), max(_STRETCH, batch_size)):
            part = ids[start : start + max(_STRETCH, batch_size)]
            dataset.select(part, ordered=True).apply_model(
                model, label_field=label_field, batch_size=batch_size, num_workers=num_workers, progress=False
            )
            totals = model.totals
            yield Progress(start + len(part), len(ids), totals["failed"], totals["instances"])


def check_images(samples: fo.core.collections.SampleCollection) -> None:
    """Refuse what is not images.

    Raises:
        ConceptError: says what it is
    """
    if samples.media_type != fo.core.media.IMAGE and len(samples):
        raise ConceptError(
            f"{samples._root_dataset.name!r} holds {samples.media_type} samples; concept segmentation needs images"
            + (": pick a slice with select_group_slices()" if samples.media_type == fo.core.media.GROUP else "")
        )


def suggested_concepts(dataset: fo.Dataset, limit: int = 12) -> list[str]:
    """Concepts worth asking first: the dataset's own classes, else the labels of its most general label field."""
    classes = dataset.default_classes or next(iter(dataset.classes.values()), None) or []
    if not classes:
        for name, field in dataset.get_field_schema().items():
            kind = getattr(field, "document_type", None)
            if kind in (fo.Detections, fo.Classification, fo.Classifications):
                path = f"{name}.label" if kind is fo.Classification else f"{name}.{kind._LABEL_LIST_FIELD}.label"
                classes = [c for c in dataset.limit(1000).distinct(path) if c]
                break
    usable: list[str] = []
    for name in classes:
        try:
            parse_concepts([*usable, name])
        except ConceptError:
            continue
        usable.append(name)
    return usable[:limit]


def build_model(classes: Classes | None, **settings: Any) -> Sam3ImageModel:
    """A model from plain settings: those of ``load_zoo_model("concepts/sam3-image", ...)``."""
    from .source import load_model

    return load_model("concepts/sam3-image", classes=classes, **settings)
