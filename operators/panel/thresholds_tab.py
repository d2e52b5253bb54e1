"""The tab "Thresholds": operating points, their intervals, and how reliable presence is."""

from __future__ import annotations

from typing import Any

from fiftyone.operators import types

from .common import WHOLE, fill, ledger, main_button, row_of, state, table, told, uri, words


class ThresholdsTab:
    """Draws the tab and handles its events."""

    def draw_thresholds(self, ctx: Any, panel: types.Object) -> None:
        from ...curation.charts import reliability_layout

        found = self._thresholds(ctx)
        if found is None:
            words(panel, "no_thresholds", (
                "A threshold for each concept, with its interval, and **calibrated** presence, from labels or from "
                "what was verified. None were picked yet."
            ))  # fmt: skip
        else:
            words(panel, "reliability_title", "Presence is reliable where its dots are on the diagonal")
            layout = reliability_layout()
            legend = dict(layout["legend"], y=1.02, yanchor="bottom")  # above the dots; the App shows none unless asked
            layout |= dict(showlegend=True, legend=legend, margin=dict(layout["margin"], t=36))
            panel.plot("reliability", layout=layout, config=dict(displayModeBar=False))
            table(
                panel, "points",
                {"concept": "concept", "threshold": "threshold", "quality": "reached", "pairs": "pairs +/-",
                 "more": "to halve the interval"},
                [("look", "Look at this concept", "bar_chart", self.on_point)],
            )  # fmt: skip
            row = panel.h_stack("threshold_buttons", gap=1)
            row.btn("apply", label="Put them into effect", on_click=self.on_apply, variant="outlined")
            row.btn("reset", label="Back to the run's", on_click=self.on_reset, variant="text", icon="undo")
        main_button(panel, "find_thresholds", "Pick thresholds", self.on_find_thresholds)

    def fill_thresholds(self, ctx: Any) -> None:
        from ...curation.charts import reliability_chart

        found = self._thresholds(ctx)
        if found is None:
            return
        ctx.panel.set_data("reliability", reliability_chart(found.before, found.after))
        fill(ctx, "points", [_row(one) for one in self._ordered(ctx, found)])

    @staticmethod
    def _ordered(ctx: Any, found: Any) -> list[Any]:
        """The chosen concept first, then the most uncertain."""
        concept = state(ctx, "concept")
        everything = list(found.concepts.values())
        width = {one.concept: (one.point.high - one.point.low) if one.point.enough else 2.0 for one in everything}
        return sorted(everything, key=lambda one: (one.concept != concept, -width[one.concept]))[:12]

    @staticmethod
    def _thresholds(ctx: Any) -> Any:
        from ...curation.records import findings
        from ...curation.thresholds import METHOD, key_of, load_thresholds

        name = ledger(ctx)
        return load_thresholds(ctx.dataset, name) if key_of(name) in findings(ctx.dataset, METHOD) else None

    def on_point(self, ctx: Any) -> None:
        one = self._ordered(ctx, self._thresholds(ctx))[row_of(ctx)]
        self.choose(ctx, one.concept)
        ctx.panel.set_state("tab", "presence")
        if one.point.enough:
            ctx.panel.set_state("level", one.point.threshold)
            ctx.panel.set_state("threshold", round(one.point.threshold, 2))
        self.refresh(ctx)

    @told
    def on_apply(self, ctx: Any) -> None:
        from ...curation.thresholds import apply_thresholds

        points = apply_thresholds(ctx.dataset, ledger=ledger(ctx))
        ctx.ops.notify(f"{len(points)} thresholds are in effect; calibrated presence is written", variant="success")
        ctx.ops.reload_dataset()
        ctx.panel.set_state("level", None)

    @told
    def on_reset(self, ctx: Any) -> None:
        from ...curation.thresholds import reset_thresholds

        reset_thresholds(ctx.dataset, ledger(ctx))
        ctx.ops.notify("Back to the thresholds of the run", variant="success")
        ctx.ops.reload_dataset()
        ctx.panel.set_state("level", None)

    def on_find_thresholds(self, ctx: Any) -> None:
        ctx.prompt(uri("pick_thresholds"), params=dict(WHOLE, ledger=ledger(ctx)), on_success=self.on_found)


def _row(one: Any) -> dict[str, str]:
    point = one.point
    interval = f" ({point.low:.2f} … {point.high:.2f})" if point.low == point.low else ""  # nan is not itself
    reached = f"precision {point.precision:.2f}, recall {point.recall:.2f}, F1 {point.f1:.2f}" if point.enough else "-"
    return dict(
        concept=one.concept, threshold=(f"{point.threshold:.2f}" if point.enough else "too few") + interval,
        quality=reached, pairs=f"{point.positives} / {point.negatives}",
        more=f"review {point.more} more" if point.more else "-",
    )  # fmt: skip
