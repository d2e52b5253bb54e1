"""Concept segmentation of a collection, step by step: what operators, the demo and scripts run.

The same comes of it as of ``dataset.apply_model(model, label_field=...)``, sooner: :mod:`pipeline` does the work.
Whoever watches can report progress, and a run that is cut goes on where it stopped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import fiftyone as fo
from fiftyone.utils.torch import recommend_num_workers

from .cluster import check_distribute
from .engine.budget import images_that_fit
from .engine.concepts import Classes, check_whole, parse_concepts
from .engine.errors import ConceptError
from .image_model import Sam3ImageModel
from .ledger import declare, declared, pending
from .pipeline import Progress, run_part
from .provenance import instances_fields
from .recipe import recipe_of
from .run import Run, check_run
from .sidebar import show
from .visual_model import Sam3VisualModel

__all__ = ["Progress", "build_model", "check_images", "draw", "segment", "suggested_concepts"]

#: samples between two reports of progress of :func:`draw`
_STRETCH = 32
#: fewer samples than these are not worth that processes are started
_WORTH_PROCESSES = 64
#: more of them wait for the database
_MOST_WRITERS = 4


def segment(
    samples: fo.core.collections.SampleCollection, model: Sam3ImageModel, label_field: str = "sam3", *,
    batch_size: int | None = None, num_workers: int | None = None, writers: int | None = None,
    skip_existing: bool = False, distribute: str | None = None, workers: int | None = None,
) -> Iterator[Progress]:
    """Apply ``model`` to ``samples``, yielding whenever answers have been written.

    Args:
        samples: an image dataset or view
        model: the model, with its concepts and its ledger
        label_field: where instances go
        batch_size: images encoded together; ``None``: as many as the device has room for, at most 16 on a GPU, and 8
            elsewhere
        num_workers: processes that read images; 0: a thread; ``None``: as many as FiftyOne recommends, but 0 for few
            samples, and where the network itself needs the CPU
        writers: processes that write answers; 0: a thread; ``None``: one for every four cores, at most 4, but 0 for few
            samples
        skip_existing: leave out samples, and on the others concepts, that the ledger already answers for
        distribute: ``"ray"`` has worker processes do it, on this machine or on a cluster; ``None``: this process
        workers: how many; ``None``: one a GPU of the cluster, or, if it has none, one a core

    Yields:
        progress, first with nothing done

    Raises:
        ConceptError: before anything runs: nothing to ask, fields that hold something else, a batch size below 1, no
            images, earlier answers to another question; distributed, what :func:`zoo.distributed.gathered` refuses
        WriterError: the database refuses to work, or processes that write die; what was written before stays
    """
    for name, count, least in (("batch_size", batch_size, 1), ("num_workers", num_workers, 0), ("writers", writers, 0)):
        if count is not None:
            check_whole(count, name, least)
    check_distribute(distribute, workers)
    if distribute:
        recipe_of(model)
    check_images(samples)
    model.check_asks()
    dataset, ledger, asks, about = samples._root_dataset, model.ledger, model.questions(), model.about()
    check_run(
        dataset, ledger, asks.concepts, asks.prompt_field, asks.examples, about, skip_existing or model.skip_existing,
        label_field,
    )
    labels = [c.label for c in model.concepts]
    todo = pending(samples, labels, ledger) if skip_existing and labels and not asks.prompt_field else samples
    ids = todo.values("id")
    run = Run()
    how: dict[str, Any] = dict(
        batch_size=batch_size, num_workers=num_workers, writers=writers, skip_existing=skip_existing
    )
    with _workers(distribute, workers, dataset, ids, model, label_field, how) as crew:
        run.prepare(dataset, ledger, asks.concepts, asks.prompt_field, asks.examples, about)
        declare(dataset, ledger, labels, label_field)
        shown = declared(dataset, ledger)
        show(dataset, ledger, labels)
        yield Progress(0, len(ids), 0, 0)
        if not ids:
            return
        try:
            if crew is None:
                run.register()
                run.settle(label_field)
                how["batch_size"] = batch_size or images_that_fit(model.detector.checkpoint)
                how["num_workers"] = _readers(num_workers, len(ids), model)
                how["writers"] = _writers(writers, len(ids))
                yield from run_part(dataset, ids, model, label_field, run=run, **how)
            else:
                from .distributed import segment_parts

                yield from segment_parts(crew, dataset, ids, model, label_field, run, batch_size, skip_existing)
        finally:
            run.finish()
    found = [label for label in declared(dataset, ledger) if label not in shown]
    if found:  # of many concepts, it is known only now which to show
        show(dataset, ledger, found)


def _workers(
    distribute: str | None, workers: int | None, dataset: fo.Dataset, ids: list[str], model: Sam3ImageModel,
    label_field: str, how: dict[str, Any],
) -> Any:
    """Worker processes as a context, or ``None`` where there is none, or nothing to do."""
    if distribute is None or not ids:
        return nullcontext()
    from .distributed import NOMINAL_BATCH, gathered

    instances = instances_fields(dataset, model.ledger)  # as long as the record still says where earlier ones are
    said = dict(how, label_field=label_field, instances=instances)
    most = -(-len(ids) // (how["batch_size"] or NOMINAL_BATCH))
    return gathered(model, dataset, "images", said, workers=workers, most=most)


def _readers(said: int | None, samples: int, model: Sam3ImageModel) -> int:
    if said is not None:
        return said
    return recommend_num_workers() if samples >= _WORTH_PROCESSES and model._using_gpu else 0


def _writers(said: int | None, samples: int) -> int:
    if said is not None:
        return said
    return min(_MOST_WRITERS, (os.cpu_count() or 1) // 4) if samples >= _WORTH_PROCESSES else 0


def draw(
    samples: fo.core.collections.SampleCollection, model: Sam3VisualModel, label_field: str, *, batch_size: int = 8,
    num_workers: int = 0,
) -> Iterator[Progress]:
    """As :func:`segment`, for a model that draws what is marked, or everything: by ``apply_model``, a stretch of
    samples at a time.

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
    with model:
        for start in range(0, len(ids), max(_STRETCH, batch_size)):
            part = ids[start : start + max(_STRETCH, batch_size)]
            samples._root_dataset.select(part, ordered=True).apply_model(
                model, label_field=label_field, batch_size=batch_size, num_workers=num_workers, progress=False
            )
            totals = model.totals
            yield Progress(start + len(part), len(ids), totals["failed"], totals["instances"])


def check_images(samples: fo.core.collections.SampleCollection) -> None:
    """Refuse what is not images.

    Raises:
        ConceptError: says what it is
    """
    if samples._is_patches or samples._is_frames:
        raise ConceptError(
            f"This is a view of {'patches' if samples._is_patches else 'frames'}, which are no samples of "
            f"{samples._root_dataset.name!r}: use the dataset, or a view that selects some of it"
        )
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
