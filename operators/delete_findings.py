"""``@concepts/sam3/delete_findings``: what the jobs of curation stored, gone without a trace."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from .form import mark_problems


class DeleteFindings(foo.Operator):
    """Deletes a finding, and the fields that it wrote on samples and labels."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="delete_findings",
            label="SAM 3: delete findings",
            description="Hard negatives, label errors, a review queue, a training subset and the like, and every field "
            "that was written with them",
            dynamic=True,
            risk_level=types.RiskLevel.MEDIUM,
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        inputs = types.Object()
        known = _known(ctx.dataset)
        if not known:
            mark_problems(inputs, {}, {"key": "Nothing was found in this dataset: there is nothing to delete"})
            return types.Property(inputs, view=types.View(label="Delete findings"))
        view = types.RadioGroup(orientation="vertical")
        for key, kind in known.items():
            view.add_choice(key, label=f"{key}: {kind}")
        inputs.enum("key", view.values(), view=view, required=True, label="Delete")
        return types.Property(inputs, view=types.View(label="Delete findings"))

    def execute(self, ctx: Any) -> None:
        from ..curation.records import delete_findings

        delete_findings(ctx.dataset, ctx.params["key"])
        ctx.ops.reload_dataset()
        ctx.ops.notify(f"Deleted: {ctx.params['key']!r} and what was written with it", variant="success")

    def __call__(self, dataset: fo.Dataset, key: str) -> None:
        """Run from Python; arguments of ``curation.records.delete_findings``."""
        from ..curation.records import delete_findings

        delete_findings(dataset._root_dataset, key)


def _known(dataset: fo.Dataset) -> dict[str, str]:
    """Key → what was found. What was settled is not among it: its record is the way to undo it."""
    from ..curation import confusion, exhaustivity, hard_negatives, label_errors, subset, thresholds, wordings
    from ..curation.records import findings
    from ..curation.review import items as review

    kinds = {hard_negatives: "hard negatives", label_errors: "label errors", confusion: "confusions",
             subset: "a training subset", thresholds: "thresholds; if in effect, they stay so",
             wordings: "wordings", exhaustivity: "exhaustivity, and the candidates",
             review: "a review queue; its answers stay"}  # fmt: skip
    return {key: words for kind, words in kinds.items() for key in findings(dataset, kind.METHOD)}
