"""``@concepts/sam3/ask_again``: a concept is asked again, with the selected labels as examples or counter-examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import fiftyone as fo
from fiftyone.operators import types

from .chosen import MOST, ChosenLabel, chosen_labels
from .finding import FindingOperator, kept
from .form import CALL, add_checkpoint, chosen_checkpoint, mark_problems, samples_of

_SIGNS = {"example": "An example of it", "counter": "Not meant, nor what is like it", "none": "Leave it out"}


class AskAgain(FindingOperator):
    """Asks a concept again with what a person points at.

    1. Labels are selected in the App.
    2. The form says of each whether it is an example of the concept, or what must not be taken for it.
    3. The concept's instances are replaced, in these images or in all; "undo a change of labels" brings them back.
    """

    NAME = "ask_again"
    LABEL = "SAM 3: ask again with examples"
    ABOUT = "Selected labels become examples of a concept, or counter-examples, and it is asked again; can be undone"
    CHANGES = True

    def form(self, ctx: Any) -> types.Property:
        inputs = types.Object()
        chosen = chosen_labels(ctx)
        if not chosen:
            wrong = "Select labels first: open a sample and click them, then run this again"
            mark_problems(inputs, {}, {"labels": wrong})
            return types.Property(inputs, view=types.View(label="Ask again with examples"))
        concept = inputs.str(
            "concept", required=True, default=_usual_concept(ctx, chosen), label="Concept",
            description="One that was asked, or a new one",
        )  # fmt: skip
        for one in chosen[:MOST]:
            view = types.RadioGroup(orientation="horizontal")
            for value, words in _SIGNS.items():
                view.add_choice(value, label=words)
            inputs.enum(f"sign_{one.id}", view.values(), default="example", view=view, label=one.words)
        if len(chosen) > MOST:
            inputs.view("more", types.Notice(label=f"Of {len(chosen)} selected labels, the first {MOST} are taken"))
        inputs.bool("alone", default=False, label="Without words", description="Ask by the examples alone")
        inputs.bool(
            "elsewhere", default=False, label="In other images, too",
            description="The examples are shown beside every image of the target; otherwise, only in their own",
        )  # fmt: skip
        if ctx.params.get("elsewhere"):
            inputs.view_target(ctx, action_description="Ask")
        inputs.str("label_field", default="sam3", label="Label field", description="Where the concept's instances are")
        add_checkpoint(inputs, ctx)
        mark_problems(inputs, {"concept": concept}, {"concept": self.problem(ctx)})
        return types.Property(inputs, view=types.View(label="Ask again with examples"))

    def said(self, ctx: Any) -> tuple[fo.core.collections.SampleCollection, dict[str, Any]]:
        if CALL in ctx.params:
            return samples_of(ctx), ctx.params[CALL]
        chosen = chosen_labels(ctx)
        settings = self.settings(ctx.params)
        settings.setdefault("concept", _usual_concept(ctx, chosen))
        signs = {one.id: ctx.params.get(f"sign_{one.id}") or "example" for one in chosen[:MOST]}
        settings["examples"] = {key: sign == "example" for key, sign in signs.items() if sign != "none"}
        return samples_of(ctx) if settings.get("elsewhere") else ctx.dataset, settings

    def steps(self) -> Callable[..., Iterator[Any]]:
        from ..curation.again import again_steps

        return again_steps

    def settings(self, params: Mapping[str, Any]) -> dict[str, Any]:
        said = kept(params, "concept", "label_field", "marks_field", "elsewhere", "alone", "batch_size", "device")
        return dict(said, checkpoint=chosen_checkpoint(params))

    def shown(self, ctx: Any, result: Any) -> list[str]:
        return [ctx.params.get("label_field") or "sam3"]

    def summary(self, result: Any) -> str:
        return str(result)


def _usual_concept(ctx: Any, chosen: list[ChosenLabel]) -> str:
    """The name that most of the labels have, that of the first of them if several do."""
    names = [one.label for one in chosen if one.label]
    return max(dict.fromkeys(names), key=names.count, default="")
