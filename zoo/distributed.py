"""Runs whose work is done by other processes, on this machine or on many: ``distribute="ray"``.

This process, the driver, does what there must be one of: checks, fields, the run's record, progress. Workers compute
and write (:mod:`zoo.parts`); each loads the model itself, and is given a few samples at a time, so that who is faster
gets more. A worker that dies costs what it had not finished, which is given to others; see :mod:`zoo.crew`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import fiftyone as fo
import torch

from .cluster import Cluster, database, joined
from .crew import Crew, Event, Task
from .engine.checkpoint import parse_dtype
from .engine.errors import ConceptError
from .footage import Footage
from .pipeline import Progress, asked_ahead
from .provenance import run_info, set_entry
from .recipe import recipe_of
from .run import Run
from .shipping import loads
from .video_run import Step, VideoRun

#: tasks that a worker gets of a run, where there is enough for all: what is left over at the end is then little
_TASKS_EACH = 8
#: batches in a task, at most
_MOST_BATCHES = 32
#: images in a batch, where each worker chooses for itself
NOMINAL_BATCH = 8


@contextmanager
def gathered(
    model: Any, dataset: fo.Dataset, kind: str, how: dict[str, Any], *, workers: int | None, most: int
) -> Iterator[Crew]:
    """Workers for one run, at least one of them with its model loaded.

    Args:
        model: that they load, too
        dataset: where answers go
        kind: of work, and how it is done, see :data:`zoo.parts.KINDS`
        how: see there
        workers: how many; ``None``: one a GPU, or a core
        most: tasks that there will be at most

    Raises:
        ConceptError: before anything runs: a model without a recipe, a database that nodes cannot reach, a device that
            no node has, a worker that cannot load the model
        CheckpointError: a node has another checkpoint
    """
    recipe = recipe_of(model)
    with joined() as cluster:
        cluster.check_database()
        device = _device(recipe.settings.get("device"), cluster)
        dtype = str(parse_dtype(recipe.settings.get("dtype"), torch.device(device))).removeprefix("torch.")
        checkpoint = model.detector.checkpoint
        job = dict(
            kind=kind, how=how, model=recipe.name, settings=recipe.elsewhere(checkpoint.name, device, dtype),
            state=_state(model), dataset=dataset.name, group_slice=dataset.group_slice,
        )
        crew = Crew(
            cluster, job, workers=workers, gpu=device == "cuda", environment=database(),
            fingerprint=checkpoint.fingerprint,
        )
        try:
            crew.gather(most)
            model.elsewhere = dict(dtype=dtype)
            yield crew
        finally:
            model.elsewhere = {}
            crew.close()
            dataset._reload_docs()  # samples that somebody holds are as the workers left them


def _device(said: Any, cluster: Cluster) -> str:
    kind = str(said or "auto").split(":")[0]
    if kind == "auto":
        return "cuda" if cluster.gpus else "cpu"
    if kind == "cuda" and not cluster.gpus:
        raise ConceptError(f"device={said!r}, but no node of the Ray cluster has a GPU: load the model without device=")
    return kind


def _state(model: Any) -> dict[str, Any]:
    """What may have been changed on a model since it was loaded."""
    state = dict(confidence_thresh=model.config.confidence_thresh, filter_classes=model.config.filter_classes)
    return dict(state, needs_fields=dict(model.needs_fields), skip_existing=model.skip_existing)


def chunks(crew: Crew, ids: Sequence[str], batch_size: int) -> list[Task]:
    """Samples as tasks: small enough that workers finish together, large enough that each is worth a round trip."""
    batches = math.ceil(len(ids) / (batch_size * crew.size * _TASKS_EACH))
    size = batch_size * min(max(batches, 1), _MOST_BATCHES)
    return [Task(list(ids[start : start + size])) for start in range(0, len(ids), size)]


class Tally:
    """Numbers of many tasks, of which some are given out again."""

    def __init__(self) -> None:
        self._said: dict[Task, tuple[int, ...]] = {}

    def take(self, event: Event, numbers: tuple[int, ...] | None = None) -> None:
        """What a task has done so far; what a dead worker said counts no more."""
        if numbers is not None:
            self._said[event.task] = numbers
        elif event.kind == "again":
            self._said.pop(event.task, None)

    def total(self) -> list[int]:
        """Sums over all tasks."""
        return [sum(column) for column in zip(*self._said.values(), strict=True)]


# ------------------------------------------------------------------------------------------------ images


def segment_parts(
    crew: Crew, dataset: fo.Dataset, ids: Sequence[str], model: Any, label_field: str, run: Run,
    batch_size: int | None, skip_existing: bool,
) -> Iterator[Progress]:
    """The run itself of :func:`zoo.segment.segment`: workers can neither declare nor record what they ask, so it is
    found out before.

    Args:
        crew: the workers
        dataset: the dataset, with the ledger's fields declared
        ids: of its samples
        model: the model
        label_field: where instances go
        run: prepared
        batch_size: images that are encoded together, as far as that was said
        skip_existing: as in :func:`zoo.segment.segment`

    Yields:
        progress, whenever answers have been written
    """
    asked = asked_ahead(dataset, ids, model, skip_existing)
    run.asking(asked)
    before = run_info(dataset, run.ledger.name).get("concepts") or {}
    run.register()
    run.settle(label_field)
    run.record()
    try:
        for done, failed, instances in _counted(crew, chunks(crew, ids, batch_size or NOMINAL_BATCH), dataset, run):
            yield Progress(done, len(ids), failed, instances)
    finally:
        if not run.totals["samples"]:  # no answer to these questions is stored
            for concept in asked:
                set_entry(dataset, run.ledger, concept.label, before.get(concept.label))


def _counted(crew: Crew, tasks: list[Task], dataset: fo.Dataset, run: Run) -> Iterator[tuple[int, int, int]]:
    """Have tasks done, keep the run's totals, and record what is lost: samples done, failed, instances, so far."""
    tally, most = Tally(), 0
    for event in crew.work(tasks):
        if event.kind == "lost":
            dataset.set_values(run.ledger.error, {event.task.items[0]: event.said}, key_field="id")
        tally.take(event, (1, 1, 0) if event.kind == "lost" else event.said)
        if event.kind in ("said", "lost"):
            done, failed, instances = tally.total()
            most = max(most, done)  # what is done again is no step back for who watches
            run.totals.update(samples=done - failed, failed=failed, instances=instances)
            yield most, failed, instances


# ------------------------------------------------------------------------------------------------ videos


def track_parts(crew: Crew, run: VideoRun, footage: Sequence[Footage]) -> Iterator[tuple[int, Step]]:
    """The run itself of :func:`zoo.track.track`. What belongs to one video is one task: its stretches share documents.

    Args:
        crew: the workers
        run: its totals are kept up
        footage: what to track

    Yields:
        the place of a stretch in ``footage``, and a step of it
    """
    of_video: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for place, one in enumerate(footage):
        said = {f.name: getattr(one, f.name) for f in fields(one) if f.name != "dataset"}
        of_video.setdefault(one.samples[0], []).append((place, said))
    tally = Tally()
    for event in crew.work([Task([stretches]) for stretches in of_video.values()]):
        names = list(run.totals)
        if event.kind == "said":
            asking = loads(event.said["asking"])
            if asking:
                run.declare(asking)
                run.record(asking)  # before its worker goes on, and stores an answer
            tally.take(event, tuple(event.said["totals"][name] for name in names))
        elif event.kind == "lost":
            stretches = event.task.items[0]
            tally.take(event, tuple(len(stretches) if name == "failed" else 0 for name in names))
            run.fail(footage[stretches[0][0]], event.said)
        else:
            tally.take(event)
        run.totals.update(zip(names, tally.total() or [0] * len(names), strict=True))
        if event.kind == "said":
            yield event.said["place"], Step(*event.said["step"])
        elif event.kind == "lost":
            for place, _ in event.task.items[0]:
                yield place, Step(0, 0, error=event.said)


# ------------------------------------------------------------------------------------------------ embeddings


def embed_parts(crew: Crew, ids: Sequence[str], batch_size: int) -> Iterator[tuple[list[str], dict[str, str]]]:
    """The work of :func:`curation.embeddings.embedding_steps`.

    Yields:
        ids of samples that are done, and why some of them have no vector
    """
    done: dict[Task, int] = {}
    for event in crew.work(chunks(crew, ids, batch_size)):
        if event.kind == "said":
            count, reasons = event.said
            start = done.setdefault(event.task, 0)
            done[event.task] += count
            yield event.task.items[start : start + count], reasons
        elif event.kind == "lost":
            yield event.task.items, {event.task.items[0]: event.said}
