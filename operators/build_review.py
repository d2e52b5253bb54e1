"""``@concepts/sam3/build_review``: the operator behind "Build a review queue" in the App."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fiftyone.operators import types

from .finding import FindingOperator, add_key, kept
from .form import mark_problems
from .truth_form import add_choice, add_names, add_words, guess, label_fields, names_of

_TASKS = {"masks": "Is each mask right?", "exhaustivity": "Are all instances marked?"}


class BuildReview(FindingOperator):
    """Orders what people should look at. No inference."""

    NAME = "build_review"
    LABEL = "SAM 3: build a review queue"
    ABOUT = "What people should look at, the most doubtful first: masks, and whether all instances are marked"

    def form(self, ctx: Any) -> types.Property:
        inputs = types.Object()
        inputs.view_target(ctx, action_description="Review the labels of")
        fields = label_fields(ctx.dataset)
        wrong = {
            "label_field": add_choice(
                inputs, "label_field", "Labels", fields, guess(fields, "sam3", "ground_truth", "labels")
            ),
            "concepts": add_words(inputs, "concepts", "Concepts (all, if empty)", required=False),
        }  # fmt: skip
        for task, label in _TASKS.items():
            inputs.bool(f"task_{task}", default=True, label=label)
        wrong["key"] = add_key(inputs, "review")
        inputs.bool("more", default=False, label="More settings")
        if ctx.params.get("more"):
            inputs.int("batch", default=20, min=1, label="Batch", description="Questions of one concept, at most")
            inputs.int("limit", min=1, label="At most, in all")
            others = [field for field in fields if field != ctx.params.get("label_field")]
            wrong["found_field"] = add_choice(
                inputs, "found_field", "What SAM 3 found", others, None, required=False,
                description="To compare labels of people with; by itself, the ledger's instances",
            )  # fmt: skip
            wrong["gt_labels"] = add_names(inputs)
            inputs.str(
                "ledger", label="Ledger", description="Whose fields get the verdicts; by itself, that of the labels"
            )
        mark_problems(inputs, wrong, {"label_field": self.problem(ctx)})
        return types.Property(inputs, view=types.View(label="Build a review queue"))

    def steps(self) -> Callable[..., Iterator[Any]]:
        from ..curation.review import review_steps

        return review_steps

    def settings(self, params: Mapping[str, Any]) -> dict[str, Any]:
        names = (
            "label_field", "concepts", "key", "batch", "limit", "found_field", "ledger", "exhaustivity", "use_masks",
            "tasks",
        )  # fmt: skip
        said = kept(params, *names)
        said.setdefault("tasks", [task for task in _TASKS if params.get(f"task_{task}", True)])
        return dict(said, gt_labels=names_of(params.get("gt_labels")))

    def summary(self, result: Any) -> str:
        counts = result.counts
        told = f"{len(result)} questions: {counts['mask']} masks, {counts['exhaustivity']} whether all are marked"
        return ". ".join([told, *result.notes])
