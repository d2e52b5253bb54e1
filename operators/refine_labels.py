"""``@concepts/sam3/refine_labels``: boxes and points become masks, in place or in another field."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import fiftyone as fo
from fiftyone.operators import types

from .chosen import chosen_labels
from .finding import FindingOperator, kept
from .form import CALL, add_checkpoint, chosen_checkpoint, mark_problems, samples_of
from .truth_form import add_choice

_BOXES = {"keep": "Stay; masks are cut at them", "fit": "Hug the new masks"}


class RefineLabels(FindingOperator):
    """Draws the masks of the selected labels, or of all labels of a field."""

    NAME = "refine_labels"
    LABEL = "SAM 3: refine labels"
    ABOUT = "Masks for boxes and points: of the selected labels, or of a field; can be undone"
    CHANGES = True

    def form(self, ctx: Any) -> types.Property:
        inputs = types.Object()
        chosen = chosen_labels(ctx)
        fields = list(dict.fromkeys(one.field for one in chosen)) or _fields(ctx.dataset)
        if chosen:
            inputs.view("chosen", types.Notice(label=f"{len(chosen)} labels are selected, and will be drawn"))
        else:
            inputs.view_target(ctx, action_description="Draw the labels of")
        wrong = {"label_field": add_choice(inputs, "label_field", "Labels", fields, fields[0] if fields else None)}
        wrong["into"] = inputs.str(
            "into", label="Into another field", description="Left empty, the labels themselves get the masks"
        )
        view = types.RadioGroup()
        for value, words in _BOXES.items():
            view.add_choice(value, label=words)
        inputs.enum("boxes", view.values(), default="keep", view=view, label="Boxes")
        add_checkpoint(inputs, ctx)
        mark_problems(inputs, wrong, {"label_field": self.problem(ctx) if fields else "There are no boxes or points"})
        return types.Property(inputs, view=types.View(label="Refine labels with SAM 3"))

    def said(self, ctx: Any) -> tuple[fo.core.collections.SampleCollection, dict[str, Any]]:
        if CALL in ctx.params:
            return samples_of(ctx), ctx.params[CALL]
        settings = self.settings(ctx.params)
        chosen = chosen_labels(ctx)
        if not chosen:
            return samples_of(ctx), dict(dict(label_field=(_fields(ctx.dataset) or [""])[0]), **settings)
        field = settings.setdefault("label_field", chosen[0].field)
        return ctx.dataset, dict(settings, labels=[one.id for one in chosen if one.field == field])

    def steps(self) -> Callable[..., Iterator[Any]]:
        from ..curation.refine import refine_steps

        return refine_steps

    def settings(self, params: Mapping[str, Any]) -> dict[str, Any]:
        said = kept(params, "label_field", "into", "boxes", "choice", "multimask", "device")
        return dict(said, checkpoint=chosen_checkpoint(params))

    def shown(self, ctx: Any, result: Any) -> list[str]:
        return list(result.fields[:1])

    def summary(self, result: Any) -> str:
        return str(result)


def _fields(dataset: fo.Dataset) -> list[str]:
    from ..zoo.ledger import DEFAULT

    kinds = (fo.Detections, fo.Keypoints)
    names = [n for n, f in dataset.get_field_schema().items() if getattr(f, "document_type", None) in kinds]
    return sorted(names, key=lambda name: name.startswith(DEFAULT))  # what people labelled comes first
