"""``@concepts/sam3/undo_change``: labels as they were before SAM 3 drew them anew."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from .finding import seen_anew
from .form import mark_problems


class UndoChange(foo.Operator):
    """Puts back labels, marks and the ledger's numbers as they were before a change."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="undo_change",
            label="SAM 3: undo a change of labels",
            description="Refined labels, concepts that were asked again, everything: as it was before",
            dynamic=True,
            risk_level=types.RiskLevel.MEDIUM,
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        from ..curation.changes import recorded_changes

        inputs = types.Object()
        known = recorded_changes(ctx.dataset)[::-1]
        if not known:
            mark_problems(inputs, {}, {"key": "No change is recorded in this dataset: there is nothing to undo"})
            return types.Property(inputs, view=types.View(label="Undo"))
        view = types.RadioGroup(orientation="vertical")
        for one in known:
            view.add_choice(one.key, label=str(one))
        inputs.enum("key", view.values(), view=view, required=True, default=known[0].key, label="Undo")
        return types.Property(inputs, view=types.View(label="Undo a change of labels"))

    def execute(self, ctx: Any) -> None:
        from ..curation.changes import undo_change

        undone = undo_change(ctx.dataset, ctx.params.get("key"))
        ctx.ops.reload_dataset()
        list(seen_anew(ctx))
        ctx.ops.notify(f"Undone: {undone.what}", variant="success")

    def __call__(self, dataset: fo.Dataset, key: str | None = None) -> Any:
        """Run from Python; arguments of ``curation.changes.undo_change``."""
        from ..curation.changes import undo_change

        return undo_change(dataset, key)
