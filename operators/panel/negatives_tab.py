"""The tab "Hard negatives"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fiftyone.operators import types

from .common import ROWS, WHOLE, fill, label_field, main_button, row_of, show, state, table, told, uri, words


class NegativesTab:
    """Draws the tab and handles its events."""

    def draw_negatives(self, ctx: Any, panel: types.Object) -> None:
        found = self._negatives(ctx)
        if found is None:
            words(panel, "no_negatives", (
                "Samples **without** a concept that SAM 3 takes, or nearly takes, for it. None were looked for yet."
            ))  # fmt: skip
        else:
            concept = state(ctx, "concept")
            mine = found.of(concept)
            count = f"**{len(mine)}** hard negatives of **{concept}**, {len(found)} of all concepts"
            words(panel, "negatives_of", count)
            if mine:
                table(
                    panel, "negatives", {"score": "rank", "sample": "sample", "rival": "instead", "because": "why"},
                    [("look", "Show this sample", "visibility", self.on_negative)],
                )  # fmt: skip
            row = panel.h_stack("negative_buttons", gap=1)
            row.btn("negatives_here", label=f"Show those of {concept}", on_click=self.on_negatives, variant="outlined")
            row.btn("negatives_all", label="Show all", on_click=self.on_all_negatives, variant="outlined")
            for k, note in enumerate(found.notes):
                words(panel, f"negative_note_{k}", f"*{note}*")
            if found.ambiguous:
                words(panel, "negative_senses", (
                    f"{len(found.ambiguous)} concepts have several senses, whose neighbours are not used until "
                    "somebody chooses: press *Find hard negatives* and tick *Choose what ambiguous concepts mean*."
                ))  # fmt: skip
        main_button(panel, "find_negatives", "Find hard negatives", self.on_find_negatives)

    def fill_negatives(self, ctx: Any) -> None:
        found = self._negatives(ctx)
        rows = [] if found is None else found.of(state(ctx, "concept"))[:ROWS]
        names = _names(ctx, [one.sample_id for one in rows])
        fill(ctx, "negatives", [
            dict(score=f"{one.score:.2f}", sample=names.get(one.sample_id, "deleted"), rival=one.rival or "-",
                 because=one.because)
            for one in rows
        ])  # fmt: skip

    @staticmethod
    def _negatives(ctx: Any) -> Any:
        from ...curation.hard_negatives import METHOD, load_hard_negatives
        from ...curation.records import findings

        keys = findings(ctx.dataset, METHOD)
        return load_hard_negatives(ctx.dataset, keys[-1]) if keys else None

    @told
    def on_negative(self, ctx: Any) -> None:
        mine = self._negatives(ctx).of(state(ctx, "concept"))
        show(ctx, ctx.dataset.select([mine[row_of(ctx)].sample_id]), label_field(ctx))

    @told
    def on_negatives(self, ctx: Any) -> None:
        found = self._negatives(ctx)
        show(ctx, found.view(ctx.dataset, state(ctx, "concept")), label_field(ctx), found.key)

    @told
    def on_all_negatives(self, ctx: Any) -> None:
        found = self._negatives(ctx)
        show(ctx, found.view(ctx.dataset), label_field(ctx), found.key)

    def on_find_negatives(self, ctx: Any) -> None:
        params = dict(WHOLE, label_field=label_field(ctx))
        ctx.prompt(uri("find_hard_negatives"), params=params, on_success=self.on_found)


def _names(ctx: Any, ids: list[str]) -> dict[str, str]:
    """Id → name of the file."""
    if not ids:
        return {}
    view = ctx.dataset.select(ids)
    return {one: Path(path).name for one, path in zip(*view.values(["id", "filepath"]), strict=True)}
