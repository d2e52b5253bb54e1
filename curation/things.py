"""Everything in an image, without a word; and that can be undone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone as fo

from .changes import Before, Change
from .checks import check_whole
from .errors import CurationError
from .refine import Step, usual_checkpoint
from .steps import run_steps

if __package__ == "curation":
    from zoo.engine.concepts import check_whole as check_whole_number
    from zoo.engine.errors import ConceptError
    from zoo.engine.everything import EverythingSettings
    from zoo.ledger import DEFAULT, Ledger
    from zoo.segment import check_images, draw
    from zoo.source import load_model
else:
    from ..zoo.engine.concepts import check_whole as check_whole_number
    from ..zoo.engine.errors import ConceptError
    from ..zoo.engine.everything import EverythingSettings
    from ..zoo.ledger import DEFAULT, Ledger
    from ..zoo.segment import check_images, draw
    from ..zoo.source import load_model


def segment_everything(
    samples: fo.core.collections.SampleCollection, label_field: str = "things", *, progress: Any = None,
    **settings: Any,
) -> Change:  # fmt: skip
    """Mask all that can be told apart.

    Args:
        samples: a dataset or view of images.
        label_field: where the masks go, without labels; what an earlier run left there is replaced.
        progress: whether to show a progress bar, or a function, as everywhere in FiftyOne.
        **settings: of :func:`everything_steps`: ``points_per_side`` and so on.

    Returns:
        what was done; :func:`~curation.changes.undo_change` takes it back.

    Raises:
        CurationError: before anything is changed: a field that holds something else, settings that make no sense.
    """
    return run_steps("segment_everything", everything_steps, (samples, label_field), settings, progress)


def everything_steps(
    samples: fo.core.collections.SampleCollection, label_field: str = "things", *, points_per_side: int = 32,
    pred_iou_thresh: float = 0.88, stability_score_thresh: float = 0.95, box_nms_thresh: float = 0.7,
    min_mask_region_area: int = 0, checkpoint: str | None = None, device: str | None = None, batch_size: int = 8,
) -> Iterator[Step]:  # fmt: skip
    """As :func:`segment_everything`, some samples a step, for whoever shows progress.

    Args:
        samples, label_field: see there.
        points_per_side, pred_iou_thresh, stability_score_thresh, box_nms_thresh, min_mask_region_area: as SAM's
            automatic mask generator has them; see :class:`zoo.engine.everything.EverythingSettings`.
        checkpoint: folder or hub id. Default: what the ledger "sam3" was asked of, else Meta's weights if they are on
            this machine, else the tiny one.
        device: None takes the best there is.
        batch_size: images encoded together.

    Yields:
        progress, first with nothing done.
    """
    dataset = samples._root_dataset
    check_whole(samples)
    if not len(samples):
        raise CurationError(f"There is nothing to look at: no samples in this dataset or view of {dataset.name!r}")
    schema = dataset.get_field_schema(flat=True)
    foreign = label_field in schema and f"{label_field}.detections.stability" not in schema
    if not isinstance(label_field, str) or not label_field.isidentifier() or label_field.startswith("_") or foreign:
        why = "holds something else already" if foreign else "must be a plain word like 'things'"
        raise CurationError(f"label_field={label_field!r} {why}: choose another field")
    grid = dict(
        points_per_side=points_per_side, pred_iou_thresh=pred_iou_thresh,
        stability_score_thresh=stability_score_thresh, box_nms_thresh=box_nms_thresh,
        min_mask_region_area=min_mask_region_area,
    )
    try:
        check_images(samples)
        EverythingSettings(**grid)
        check_whole_number(batch_size, "batch_size", 1)
    except ConceptError as error:
        raise CurationError(str(error)) from None
    yield Step(0, len(samples))  # a form asks so far, and does not want to wait for a model
    model = load_model(
        "concepts/sam3-image", operation_mode="everything", device=device,
        checkpoint=checkpoint or usual_checkpoint(dataset, Ledger(DEFAULT)), **grid,
    )
    before, what, failed = Before(dataset, samples.values("id"), [label_field]), f"everything, in {label_field!r}", 0
    with before.watching(what):
        for progress in draw(samples, model, label_field, batch_size=batch_size):
            failed = progress.failed
            yield Step(progress.done, progress.total, failed)
    if not dataset.select(samples.values("id")).count(f"{label_field}.detections"):
        what += " (nothing is good and stable enough: lower pred_iou_thresh and stability_score_thresh)"
    yield Step(len(samples), len(samples), failed, before.keep(what))
