"""``@concepts/sam3/find_label_errors``: the operator behind "Find label errors" in the App."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fiftyone.operators import types

from .finding import FindingOperator, add_key, kept
from .form import mark_problems
from .truth_form import absence_settings, add_absence, add_choice, add_names, guess, label_fields, names_of


class FindLabelErrors(FindingOperator):
    """Finds labels that are missing, wrong, or of nothing, by what SAM 3 found."""

    NAME = "find_label_errors"
    LABEL = "SAM 3: find label errors"
    ABOUT = "Labels that are missing, wrong or of nothing, scored and explained; no inference"

    def form(self, ctx: Any) -> types.Property:
        inputs = types.Object()
        inputs.view_target(ctx, action_description="Look for label errors in")
        fields = label_fields(ctx.dataset)
        wrong = {
            "label_field": add_choice(inputs, "label_field", "What SAM 3 found", fields, guess(fields, "sam3")),
            "gt_field": add_choice(
                inputs, "gt_field", "Labels under suspicion", fields, guess(fields, "labels", "ground_truth")
            ),
            **add_absence(inputs, ctx),
            "key": add_key(inputs, "label_errors"),
        }
        inputs.bool("more", default=False, label="More settings")
        if ctx.params.get("more"):
            wrong["gt_labels"] = add_names(inputs)
            inputs.float(
                "min_score", default=0.3, min=0.0, max=1.0, label="Least score", view=types.SliderView(),
                description="Suspicions below are not kept",
            )  # fmt: skip
            inputs.bool("use_masks", default=True, label="Compare masks", description="Off: boxes")
        mark_problems(inputs, wrong, {"gt_field": self.problem(ctx)} if ctx.params.get("absence") else {})
        return types.Property(inputs, view=types.View(label="Find label errors"))

    def steps(self) -> Callable[..., Iterator[Any]]:
        from ..curation.label_errors import label_error_steps

        return label_error_steps

    def settings(self, params: Mapping[str, Any]) -> dict[str, Any]:
        said = kept(params, "label_field", "gt_field", "key", "min_score", "use_masks", "concepts", "ledger")
        return dict(said, gt_labels=names_of(params.get("gt_labels")), **absence_settings(params))

    def summary(self, result: Any) -> str:
        return "Label errors: " + ", ".join(f"{count} {kind}" for kind, count in result.counts.items())
