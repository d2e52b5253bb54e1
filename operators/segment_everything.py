"""``@concepts/sam3/segment_everything``: all that can be told apart, without a word."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fiftyone.operators import types

from .finding import FindingOperator, kept
from .form import TINY, add_checkpoint, chosen_checkpoint, default_checkpoint, mark_problems

#: the small checkpoint's masks are coarse, and it knows that
_TINY = dict(points_per_side=12, pred_iou_thresh=0.75, stability_score_thresh=0.8)
_USUAL = dict(points_per_side=32, pred_iou_thresh=0.88, stability_score_thresh=0.95)


class SegmentEverything(FindingOperator):
    """Masks everything in the target samples."""

    NAME = "segment_everything"
    LABEL = "SAM 3: segment everything"
    ABOUT = "Masks of all that can be told apart, without labels; can be undone"
    CHANGES = True

    def form(self, ctx: Any) -> types.Property:
        inputs = types.Object()
        inputs.view_target(ctx, action_description="Segment everything in")
        field = inputs.str("label_field", default="things", label="Label field", description="Masks go here")
        add_checkpoint(inputs, ctx)
        usual = _usual(ctx.params)
        inputs.int("points_per_side", default=usual["points_per_side"], min=1, label="Points along each side")
        for name, label in (("pred_iou_thresh", "Quality"), ("stability_score_thresh", "Stability")):
            inputs.float(name, default=usual[name], min=0.0, max=1.0, label=label, view=types.SliderView())
        inputs.int("min_mask_region_area", default=0, min=0, label="Least area, in pixels")
        mark_problems(inputs, {"field": field}, {"field": self.problem(ctx)})
        return types.Property(inputs, view=types.View(label="Segment everything with SAM 3"))

    def steps(self) -> Callable[..., Iterator[Any]]:
        from ..curation.things import everything_steps

        return everything_steps

    def settings(self, params: Mapping[str, Any]) -> dict[str, Any]:
        names = ("label_field", "box_nms_thresh", "min_mask_region_area", "batch_size", "device", *_USUAL)
        return dict(_usual(params), **kept(params, *names), checkpoint=chosen_checkpoint(params))

    def shown(self, ctx: Any, result: Any) -> list[str]:
        return [ctx.params.get("label_field") or "things"]

    def summary(self, result: Any) -> str:
        return str(result)


def _usual(params: Mapping[str, Any]) -> dict[str, Any]:
    return _TINY if (params.get("checkpoint") or default_checkpoint()) == TINY else _USUAL
