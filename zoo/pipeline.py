"""One part of a run over images: computed and written, and nothing around it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import fiftyone as fo

from .image_model import Sam3ImageModel
from .landing import Reply
from .ledger import Ledger, kept
from .provenance import instances_fields
from .run import Run
from .segment import Progress
from .verdicts import carried

#: samples between two reports of progress
_STRETCH = 32


@dataclass
class Part:
    """What is to be known of the run that a part belongs to.

    Attributes:
        instances: fields that hold earlier instances
    """

    instances: tuple[str, ...]


def run_part(
    dataset: fo.Dataset, ids: list[str], model: Sam3ImageModel, label_field: str, *, batch_size: int = 8,
    num_workers: int = 0, writers: int = 0, skip_existing: bool = False, run: Part | None = None,
) -> Iterator[Progress]:
    """Answer for some samples. Their fields are declared, and the run is recorded, by whoever has the whole.

    Args:
        dataset: theirs
        ids: of the samples
        model: with its concepts and its ledger
        label_field: where instances go
        batch_size: images encoded together
        num_workers: processes that read images
        writers: processes that write
        skip_existing: ask only what a sample has not been asked before
        run: what it is a part of; ``None``: earlier instances are where the record says now, so it must not say yet
            that they go elsewhere

    Yields:
        progress, of what is written
    """
    before = model.skip_existing, model._run
    model.skip_existing, model._run = skip_existing, _Run(dataset, model, label_field, run)
    try:
        with model:
            for start in range(0, len(ids), max(_STRETCH, batch_size)):
                part = ids[start : start + max(_STRETCH, batch_size)]
                dataset.select(part, ordered=True).apply_model(
                    model, label_field=label_field, batch_size=batch_size, num_workers=num_workers, progress=False
                )
                totals = model.totals
                yield Progress(start + len(part), len(ids), totals["failed"], totals["instances"])
    finally:
        model.skip_existing, model._run = before


class _Run(Run):
    """One that declares and records nothing."""

    def __init__(self, dataset: fo.Dataset, model: Sam3ImageModel, label_field: str, part: Part | None) -> None:
        super().__init__()
        self.dataset, self.ledger, self.label_field = dataset, Ledger(model.ledger.name), label_field
        self.concepts, self.prompt_field, self.examples = model.asked_always(), model._prompt_field(), model._examples()
        self.instances = instances_fields(dataset, self.ledger) if part is None else part.instances

    def asking(self, concepts: Any) -> None:
        pass

    def land(self, before: Any, asked: Sequence[str], reply: Reply, label_field: str) -> None:
        if reply.error is None:
            fields = [*([label_field] if label_field in self.instances else []), *self.instances]
            found = carried(before, fields, asked, reply.found.detections)
            reply.found.detections = [*kept(before, fields, asked), *found]

    def finish(self) -> None:
        pass
