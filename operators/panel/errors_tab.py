"""The tab "Label errors"."""

from __future__ import annotations

from typing import Any

from fiftyone.operators import types

from .common import ROWS, WHOLE, fill, label_field, main_button, row_of, show, state, table, told, uri, words
from .negatives_tab import _names

_KINDS = {"missing": "Missing", "wrong": "Wrong", "extra": "Extra"}


class ErrorsTab:
    """Draws the tab and handles its events."""

    def draw_errors(self, ctx: Any, panel: types.Object) -> None:
        found = self._errors(ctx)
        if found is None:
            words(panel, "no_errors", (
                "Labels that are **missing**, **wrong**, or of **nothing**, by what SAM 3 found. None were looked for "
                "yet."
            ))  # fmt: skip
        else:
            view = types.TabsView()
            for kind, label in _KINDS.items():
                view.add_choice(kind, label=f"{label} ({found.counts[kind]})")
            panel.enum("kind", view.values(), default="missing", view=view, on_change=self.on_kind)
            kind = state(ctx, "kind", "missing")
            if found.of(kind):
                table(
                    panel, "errors", {"score": "score", "sample": "sample", "because": "why"},
                    [("look", "Show this sample", "visibility", self.on_error)],
                )  # fmt: skip
                row = panel.h_stack("error_buttons", gap=1)
                row.btn("errors_samples", label="Show their samples", on_click=self.on_errors, variant="outlined")
                row.btn("errors_patches", label="Show as patches", on_click=self.on_patches, variant="outlined")
            for k, note in enumerate(found.notes):
                words(panel, f"error_note_{k}", f"*{note}*")
        main_button(panel, "find_errors", "Find label errors", self.on_find_errors)

    def fill_errors(self, ctx: Any) -> None:
        found = self._errors(ctx)
        rows = [] if found is None else found.of(state(ctx, "kind", "missing"))[:ROWS]
        names = _names(ctx, [one.sample_id for one in rows])
        fill(ctx, "errors", [
            dict(score=f"{one.score:.2f}", sample=names.get(one.sample_id, "deleted"), because=one.because)
            for one in rows
        ])  # fmt: skip

    @staticmethod
    def _errors(ctx: Any) -> Any:
        from ...curation.label_errors import METHOD, load_label_errors
        from ...curation.records import findings

        keys = findings(ctx.dataset, METHOD)
        return load_label_errors(ctx.dataset, keys[-1]) if keys else None

    @staticmethod
    def _labels(ctx: Any, found: Any) -> str | None:
        """The field under suspicion."""
        return next((one.field for one in found.errors if one.kind != "missing"), None)

    def on_kind(self, ctx: Any) -> None:
        self.fill_errors(ctx)  # the App keeps which kind it is, as it does with tabs

    @told
    def on_error(self, ctx: Any) -> None:
        found = self._errors(ctx)
        one = found.of(state(ctx, "kind", "missing"))[row_of(ctx)]
        show(ctx, ctx.dataset.select([one.sample_id]), one.field, self._labels(ctx, found), label_field(ctx))

    @told
    def on_errors(self, ctx: Any) -> None:
        found = self._errors(ctx)
        view = found.view(ctx.dataset, state(ctx, "kind", "missing"))
        show(ctx, view, self._labels(ctx, found), label_field(ctx))

    @told
    def on_patches(self, ctx: Any) -> None:
        found = self._errors(ctx)
        kind = state(ctx, "kind", "missing")
        show(ctx, found.patches(ctx.dataset, kind), found.of(kind)[0].field)

    def on_find_errors(self, ctx: Any) -> None:
        ctx.prompt(uri("find_label_errors"), params=dict(WHOLE, label_field=label_field(ctx)), on_success=self.on_found)
