"""The tab "Confusions": advice, following it, and undoing that."""

from __future__ import annotations

from typing import Any

from fiftyone.operators import types

from .common import ROWS, WHOLE, fill, label_field, main_button, row_of, show, table, told, uri, words


class ConfusionsTab:
    """Draws the tab and handles its events."""

    def draw_confusions(self, ctx: Any, panel: types.Object) -> None:
        from ...curation.policies import applied_policies

        found = self._confusions(ctx)
        if found is None:
            words(panel, "no_confusions", (
                "Concepts that claim the **same masks**, and what to do about it. None were looked for yet."
            ))  # fmt: skip
        elif not found.pairs:
            words(panel, "no_pairs", "No two concepts claim the same masks.")
        else:
            words(panel, "pairs_title", f"**{len(found.pairs)}** pairs of concepts claim the same masks")
            table(
                panel, "pairs", {"advice": "advice"},
                [("look", "Show samples with both", "visibility", self.on_pair),
                 ("follow", "Follow the advice", "check", self.on_follow)],
            )  # fmt: skip
            for k, names in enumerate(names for names in found.clusters if len(names) > 2):
                words(panel, f"cluster_{k}", "Mixed up with each other: " + ", ".join(names))
        done = applied_policies(ctx.dataset)
        if done:
            words(panel, "settled", f"Settled last: {done[-1]}")
            panel.btn("undo", label="Undo", on_click=self.on_undo, variant="outlined", icon="undo")
        main_button(panel, "find_confusions", "Find confusions", self.on_find_confusions)

    def fill_confusions(self, ctx: Any) -> None:
        found = self._confusions(ctx)
        pairs = () if found is None else found.pairs[:ROWS]
        fill(ctx, "pairs", [dict(advice=one.advice) for one in pairs])

    @staticmethod
    def _confusions(ctx: Any) -> Any:
        from ...curation.confusion import METHOD, load_confusions
        from ...curation.records import findings

        keys = findings(ctx.dataset, METHOD)
        return load_confusions(ctx.dataset, keys[-1]) if keys else None

    @told
    def on_pair(self, ctx: Any) -> None:
        found = self._confusions(ctx)
        one = found.pairs[row_of(ctx)]
        show(ctx, found.view(ctx.dataset, one.first, one.second), found.label_field)

    def on_follow(self, ctx: Any) -> None:
        """The form, filled in as advised: a person says yes."""
        found = self._confusions(ctx)
        one = found.pairs[row_of(ctx)]
        params = dict(WHOLE, label_field=found.label_field, first=one.first, second=one.second, policy=one.policy)
        if one.parent:
            params["parent"] = one.parent
        ctx.prompt(uri("settle_confusion"), params=params, on_success=self.on_found)

    @told
    def on_undo(self, ctx: Any) -> None:
        from ...curation.policies import undo_policy

        undone = undo_policy(ctx.dataset)
        ctx.ops.notify(f"Undone: {undone.policy} of {undone.first!r} and {undone.second!r}", variant="success")
        ctx.ops.reload_dataset()
        self.refresh(ctx)

    def on_find_confusions(self, ctx: Any) -> None:
        ctx.prompt(uri("find_confusions"), params=dict(WHOLE, label_field=label_field(ctx)), on_success=self.on_found)
