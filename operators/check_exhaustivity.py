"""``@concepts/sam3/check_exhaustivity``: the operator behind "Check exhaustivity" in the App."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fiftyone.operators import types

from .finding import FindingOperator, add_key, kept
from .form import add_checkpoint, chosen_checkpoint, mark_problems
from .truth_form import add_choice, add_names, add_words, guess, label_fields, names_of


class CheckExhaustivity(FindingOperator):
    """Finds samples in which not all instances of a concept are labelled. It runs SAM 3."""

    NAME = "check_exhaustivity"
    LABEL = "SAM 3: check exhaustivity"
    ABOUT = "Are all instances labelled? SAM 3 is asked again with the labels as examples; what is new is a candidate"

    def form(self, ctx: Any) -> types.Property:
        inputs = types.Object()
        inputs.view_target(ctx, action_description="Check the labels of")
        fields = label_fields(ctx.dataset)
        label = "Concepts (all that are labelled, or were asked, if empty)"
        wrong = {
            "label_field": add_choice(
                inputs, "label_field", "Labels", fields, guess(fields, "ground_truth", "labels", "sam3")
            ),
            "concepts": add_words(inputs, "concepts", label, required=False),
            "key": add_key(inputs, "exhaustivity"),
        }  # fmt: skip
        inputs.bool(
            "unlabelled", default=True, label="Where a concept has no label at all, too",
            description="If it may be there",
        )  # fmt: skip
        inputs.bool("more", default=False, label="More settings")
        if ctx.params.get("more"):
            wrong["gt_labels"] = add_names(inputs)
            inputs.float(
                "threshold", default=0.5, min=0.0, max=1.0, label="Threshold", view=types.SliderView(),
                description="Samples count as not exhaustive from this score on",
            )  # fmt: skip
            inputs.int("batch_size", default=8, min=1, label="Batch size")
            inputs.bool(
                "another_checkpoint", default=False, label="With another checkpoint",
                description="Off: with the one that was asked before",
            )  # fmt: skip
            if ctx.params.get("another_checkpoint"):
                add_checkpoint(inputs, ctx)
        mark_problems(inputs, wrong, {"label_field": self.problem(ctx)})
        return types.Property(inputs, view=types.View(label="Check exhaustivity"))

    def steps(self) -> Callable[..., Iterator[Any]]:
        from ..curation.exhaustivity import exhaustivity_steps

        return exhaustivity_steps

    def settings(self, params: Mapping[str, Any]) -> dict[str, Any]:
        names = ("label_field", "concepts", "key", "unlabelled", "threshold", "batch_size", "ledger", "floor", "device")
        weights = chosen_checkpoint(params) if params.get("another_checkpoint") else None
        return dict(kept(params, *names), gt_labels=names_of(params.get("gt_labels")), checkpoint=weights)

    def summary(self, result: Any) -> str:
        told = f"{len(result.of())} of {len(result)} pairs of sample and concept lack a label"
        lost = f"{len(result.failed)} samples failed: {result.failed[0][1]}" if result.failed else None
        return ". ".join(filter(None, [told, lost, *result.notes]))

    def shown(self, ctx: Any, result: Any) -> list[str]:
        return [result.key]
