"""``@concepts/sam3/segment_regions``: one mask an image, which says of every pixel which concept it belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from .form import (
    add_checkpoint,
    add_concepts,
    asked_classes,
    chosen_checkpoint,
    concept_parameters,
    execution_context,
    mark_problems,
    notified,
    refusal,
    samples_of,
)


class SegmentRegions(foo.Operator):
    """Draws the regions of concepts, whichever instances they are of, in the target samples."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="segment_regions",
            label="SAM 3: segment regions",
            description="A semantic mask for each image: of every pixel, which concept it belongs to",
            dynamic=True,
            execute_as_generator=True,
            allow_immediate_execution=True,
            allow_delegated_execution=True,
            risk_level=types.RiskLevel.MEDIUM,
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        from ..zoo.engine.concepts import parse_concepts

        inputs = types.Object()
        inputs.view_target(ctx, action_description="Divide")
        wrong = dict(classes=add_concepts(inputs, ctx))
        inputs.str("label_field", default="regions", label="Label field", description="Masks go here")
        inputs.str("ledger", default="sam3", label="Ledger", description="Presence goes to <ledger>_presence")
        inputs.float(
            "confidence_thresh", default=0.5, min=0.0, max=1.0, label="Threshold",
            description="Presence from which on a concept is there", view=types.SliderView(),
        )  # fmt: skip
        add_checkpoint(inputs, ctx)
        said = ctx.params.get("classes")
        mark_problems(inputs, wrong, dict(classes=refusal(lambda: said and parse_concepts(said))))
        return types.Property(inputs, view=types.View(label="Segment regions with SAM 3"))

    def resolve_delegation(self, ctx: Any) -> bool | None:
        return None

    def execute(self, ctx: Any) -> Iterator[Any]:
        yield from notified(ctx, self._divide(ctx))

    def _divide(self, ctx: Any) -> Iterator[Any]:
        from ..zoo.segment import build_model, draw

        params = ctx.params
        level = params.get("confidence_thresh")
        model = build_model(
            asked_classes(ctx), operation_mode="semantic", ledger=params.get("ledger") or "sam3",
            confidence_thresh=0.5 if level is None else level, thresholds=params.get("thresholds"),
            checkpoint=chosen_checkpoint(params), device=params.get("device"),
        )
        field = params.get("label_field") or "regions"
        last = None
        for last in draw(samples_of(ctx), model, field, batch_size=params.get("batch_size") or 8):
            share, label = last.done / max(last.total, 1), f"{last.done} of {last.total} samples"
            if ctx.delegated:
                ctx.set_progress(progress=share, label=label)
            else:
                yield ctx.trigger("set_progress", dict(progress=share, label=label))
        if ctx.delegated or last is None:
            return
        yield ctx.trigger("reload_dataset")
        yield ctx.ops.set_active_fields(list(dict.fromkeys([*(ctx.active_fields or []), field])))
        failed = f"; {last.failed} samples failed, see {model.ledger.error}" if last.failed else ""
        told = f"Regions of {len(model.concepts)} concepts in {last.total} samples{failed}"
        yield ctx.ops.notify(told, variant="warning" if last.failed else "success")

    def __call__(
        self, sample_collection: fo.core.collections.SampleCollection, classes: Any, *, label_field: str = "regions",
        ledger: str = "sam3", checkpoint: str | None = None, confidence_thresh: float = 0.5,
        thresholds: dict[str, float] | None = None, batch_size: int = 8, device: str | None = None,
        delegate: bool = False,
    ) -> Any:  # fmt: skip
        """Run from Python: ``foo.get_operator("@concepts/sam3/segment_regions")(dataset, ["cap", "fox"])``.

        Args:
            sample_collection: a dataset or view of images
            classes: a list of concepts, a comma-separated string, or a mapping from label to phrase(s)
            label_field: where masks go
            ledger: name of the ledger
            checkpoint: folder or hub id; the tiny one if left out
            confidence_thresh: presence above which a concept is there, for those without their own
            thresholds: label -> that presence
            batch_size: images encoded together
            device: ``None`` takes the best there is
            delegate: queue it for ``fiftyone delegated launch``

        Returns:
            FiftyOne's execution result; in a running event loop, a task of it
        """
        params = dict(
            concept_parameters(classes, thresholds, checkpoint), label_field=label_field, ledger=ledger,
            confidence_thresh=confidence_thresh, batch_size=batch_size, device=device,
        )  # fmt: skip
        ctx, target = execution_context(sample_collection)
        return foo.execute_operator(self.uri, ctx, params=dict(params, **target), request_delegation=delegate)
