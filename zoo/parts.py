"""What a worker process does: a part of the images, the videos or the embeddings of a run.

It computes, and writes the documents of its own samples. The dataset's schema and the run's record are the driver's
(:mod:`zoo.distributed`): where several processes change them, changes are lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple
from typing import Any

import fiftyone as fo

from .embedding_part import embed_part
from .engine.budget import images_that_fit
from .footage import Footage
from .pipeline import Part, run_part
from .shipping import dumps, loads
from .source import load_model
from .video_run import VideoPart

#: processes that read images for a worker with a GPU
_READERS = 4


class Share:
    """One process's share of a run.

    Args:
        job: ``kind``, of :data:`KINDS`, and ``how``, more for it; ``model`` and ``settings``, for ``load_model``;
            ``state``, what has been changed on the driver's model since it was loaded; ``dataset`` and
            ``group_slice``; ``threads``

    Attributes:
        facts: what the driver checks
    """

    def __init__(self, job: bytes) -> None:
        said = loads(job)
        if said["threads"] is not None:
            import torch

            torch.set_num_threads(said["threads"])
        self._model = load_model(said["model"], **said["settings"])
        for name, value in said["state"].items():
            setattr(self._model.config if hasattr(self._model.config, name) else self._model, name, value)
        self._name, self._slice = said["dataset"], said["group_slice"]
        self._kind, self._how = KINDS[said["kind"]], said["how"]
        self._dataset: fo.Dataset | None = None
        self.facts = dict(fingerprint=self._model.detector.checkpoint.fingerprint)

    def work(self, task: bytes) -> Iterator[Any]:
        """Do a task; what it yields, the driver knows how to read."""
        if self._dataset is None:  # not before: the driver declares its fields while models are being loaded
            self._dataset = fo.load_dataset(self._name)
            if self._slice is not None:
                self._dataset.group_slice = self._slice
        return self._kind(self._model, self._dataset, loads(task), **self._how)


def _images(
    model: Any, dataset: fo.Dataset, ids: list[str], instances: tuple[str, ...], **how: Any
) -> Iterator[tuple[int, int, int]]:
    """Samples done, failed, and instances found, so far. Where earlier instances are, the record says no more."""
    # what nobody said is up to the machine that the work is done on
    own = dict(
        batch_size=images_that_fit(model.detector.checkpoint), num_workers=_READERS if model._using_gpu else 0,
        writers=int(model._using_gpu),
    )
    said = {name: value for name, value in how.items() if value is not None}
    for progress in run_part(dataset, ids, model, run=Part(instances), **{**own, **said}):
        yield progress.done, progress.failed, progress.instances


def _videos(
    model: Any, dataset: fo.Dataset, tasks: list[list[tuple[int, dict[str, Any]]]], label_field: str, sequences: bool
) -> Iterator[dict[str, Any]]:
    """Steps of the stretches of one video; the first of each says what is asked, before anything is stored."""
    part = VideoPart(model, dataset, label_field, sequences=sequences)
    for place, said in tasks[0]:
        for step in part.track(Footage(dataset, **said)):
            yield dict(place=place, step=astuple(step), asking=dumps(part.asking), totals=dict(part.totals))


def _embeddings(
    model: Any, dataset: fo.Dataset, ids: list[str], path: str, found_in: str | None, batch_size: int
) -> Iterator[tuple[int, dict[str, str]]]:
    """Samples done, and why some of them have no vector."""
    for start in range(0, len(ids), batch_size):
        some = ids[start : start + batch_size]
        yield len(some), embed_part(dataset, some, model, path, found_in)


KINDS = {"images": _images, "videos": _videos, "embeddings": _embeddings}
