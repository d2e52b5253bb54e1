"""Concept tracking of a collection, step by step: what operators, the demo and scripts run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import fiftyone as fo

from .cluster import check_distribute
from .engine.concepts import Classes
from .footage import Footage, footage_of
from .ledger import declared
from .recipe import recipe_of
from .sidebar import show
from .video_model import Sam3VideoModel
from .video_run import Step, VideoRun


@dataclass(frozen=True)
class TrackProgress:
    """Where tracking stands.

    Attributes:
        share: of the work, in [0, 1]
        video, videos: the stretch at work, counted from 1, of so many
        frame, frames: done of that stretch, of so many
        failed: stretches that ended early, with a reason in the ledger
        skipped: stretches that had been tracked before
        masklets: found so far
    """

    share: float
    video: int
    videos: int
    frame: int
    frames: int
    failed: int
    skipped: int
    masklets: int

    def __str__(self) -> str:
        if not self.videos:
            return "nothing to track"
        return f"video {self.video} of {self.videos}, frame {self.frame} of {self.frames}, {self.masklets} masklets"


def track(
    samples: fo.core.collections.SampleCollection, model: Sam3VideoModel, label_field: str = "sam3", *,
    skip_existing: bool = False, distribute: str | None = None, workers: int | None = None,
) -> Iterator[TrackProgress]:
    """Track ``model``'s concepts through ``samples``, yielding every few frames.

    Args:
        samples: videos, clips, frames, or images grouped into sequences; see :func:`footage_of`
        model: the model, with its concepts and its ledger
        label_field: where instances go
        skip_existing: leave out videos, and on the others concepts, that were tracked to the end before. What was
            interrupted starts anew
        distribute: ``"ray"`` has worker processes do it, on this machine or on a cluster, a video at a time each;
            ``None``: this process
        workers: how many; ``None``: one a GPU of the cluster, or, if it has none, one a core

    Yields:
        progress, first with nothing done

    Raises:
        ConceptError: before anything runs: no videos, fields that hold something else, earlier answers to another
            question; distributed, what :func:`zoo.distributed.gathered` refuses
    """
    check_distribute(distribute, workers)
    if distribute:
        recipe_of(model)
    footage = footage_of(samples)
    before = model.skip_existing
    model.skip_existing = before or skip_existing
    try:
        with model:
            if not footage:
                yield TrackProgress(1.0, 0, 0, 0, 0, 0, 0, 0)
                return
            dataset, sequences = samples._root_dataset, footage[0].sequence
            with _workers(distribute, workers, dataset, footage, model, label_field) as crew:
                run = VideoRun(model, dataset, label_field, sequences=sequences)
                shown = declared(run.dataset, model.ledger)
                show(run.dataset, model.ledger, [c.label for c in model.asked_always()])
                yield TrackProgress(0.0, 1, len(footage), 0, 0, 0, 0, 0)
                done: dict[int, float] = {}
                try:
                    for place, step in _steps(crew, run, footage):
                        part = step.done / step.total if step.total else 1.0
                        done[place] = max(done.get(place, 0.0), 1.0 if step.error or step.skipped else part)
                        totals = run.totals
                        yield TrackProgress(
                            sum(done.values()) / len(footage), place + 1, len(footage), step.done, step.total,
                            totals["failed"], totals["skipped"], totals["masklets"],
                        )
                finally:
                    run.finish()
                    found = [label for label in declared(run.dataset, model.ledger) if label not in shown]
                    if found:  # of many concepts, it is known only now which to show
                        show(run.dataset, model.ledger, found)
    finally:
        model.skip_existing = before


def _workers(
    distribute: str | None, workers: int | None, dataset: fo.Dataset, footage: list[Footage], model: Sam3VideoModel,
    label_field: str,
) -> Any:
    """Worker processes as a context, or ``None`` where there is none."""
    if distribute is None:
        return nullcontext()
    from .distributed import gathered

    how = dict(label_field=label_field, sequences=footage[0].sequence)
    most = len({one.samples[0] for one in footage})
    return gathered(model, dataset, "videos", how, workers=workers, most=most)


def _steps(crew: Any, run: VideoRun, footage: list[Footage]) -> Iterator[tuple[int, Step]]:
    """Every stretch's place, and its steps: of one after the other, or of those that workers are at."""
    if crew is None:
        for place, one in enumerate(footage):
            for step in run.track(one):
                yield place, step
        return
    from .distributed import track_parts

    yield from track_parts(crew, run, footage)


def build_model(classes: Classes | None, **settings: Any) -> Sam3VideoModel:
    """A model from plain settings: those of ``load_zoo_model("concepts/sam3-video", ...)``."""
    from .source import load_model

    return load_model("concepts/sam3-video", classes=classes, **settings)
