"""The tab "Subset": what was chosen for training, why, and where it goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fiftyone.operators import types

from .common import ROWS, WHOLE, fill, label_field, main_button, row_of, show, state, table, told, uri, words

_ROLES = {"positive": "Positives", "hard": "Hard negatives", "easy": "Easy negatives"}


class SubsetTab:
    """Draws the tab and handles its events."""

    def draw_subset(self, ctx: Any, panel: types.Object) -> None:
        found = self._subset(ctx)
        if found is None:
            words(panel, "no_subset", (
                "A training set out of this pool: balanced over concepts, with **hard negatives**, without "
                "near-duplicates, and with splits that share neither these nor videos. None was chosen yet."
            ))  # fmt: skip
            main_button(panel, "choose_subset", "Choose a training subset", self.on_choose, icon="filter_alt")
            panel.btn("embed", label="Compute embeddings first", on_click=self.on_embed, variant="text")
            return
        splits = " · ".join(f"**{count}** {split}" for split, count in found.sizes.items())
        roles = " · ".join(f"**{found.counts[role]}** {label.lower()}" for role, label in _ROLES.items())
        words(panel, "subset_size", f"**{len(found)}** samples: {roles}" + (f". Splits: {splits}" if splits else ""))
        table(
            panel, "shares", {"concept": "concept", "positive": "positives", "hard": "hard", "easy": "easy",
                              "holds": "in all"},
            [("look", "Show what was chosen for it", "visibility", self.on_share)],
        )  # fmt: skip
        row = panel.h_stack("subset_buttons", gap=1)
        row.btn("subset_all", label="Show all", on_click=self.on_subset, variant="outlined")
        for role, label in _ROLES.items():
            row.btn(f"subset_{role}", label=label, on_click=getattr(self, f"on_subset_{role}"), variant="outlined")
        concept = state(ctx, "concept")
        if self._of(found, concept):
            words(panel, "why_title", f"Chosen for **{concept}**")
            table(
                panel, "why", {"split": "split", "role": "as", "sample": "sample", "because": "why"},
                [("look", "Show this sample", "visibility", self.on_why)],
            )  # fmt: skip
        for k, note in enumerate(found.notes):
            words(panel, f"subset_note_{k}", f"*{note}*")
        row = panel.h_stack("subset_last", gap=1)
        row.btn("export", label="Export it", on_click=self.on_export, variant="contained", icon="download")
        row.btn("choose_subset", label="Choose anew", on_click=self.on_choose, variant="text")
        row.btn("embed", label="Compute embeddings", on_click=self.on_embed, variant="text")

    def fill_subset(self, ctx: Any) -> None:
        found = self._subset(ctx)
        if found is None:
            return
        fill(ctx, "shares", [
            dict(concept=one.concept, holds=str(one.holds), **{
                role: f"{getattr(one, role)} of {getattr(one, f'asked_{role}')}" for role in _ROLES
            })
            for one in self._shares(ctx, found)
        ])  # fmt: skip
        mine = self._of(found, state(ctx, "concept"))
        view = ctx.dataset.select([one.sample_id for one in mine])
        names = {i: Path(p).name for i, p in zip(*view.values(["id", "filepath"]), strict=True)} if mine else {}
        fill(ctx, "why", [
            dict(split=one.split or "-", role=one.role, sample=names.get(one.sample_id, "deleted"),
                 because=one.because)
            for one in mine
        ])  # fmt: skip

    @staticmethod
    def _subset(ctx: Any) -> Any:
        from ...curation.records import findings
        from ...curation.subset import METHOD, load_subset

        keys = findings(ctx.dataset, METHOD)
        return load_subset(ctx.dataset, keys[-1]) if keys else None

    @staticmethod
    def _of(found: Any, concept: str | None) -> list[Any]:
        return [one for one in found.chosen if one.concept == concept][:ROWS]

    @staticmethod
    def _shares(ctx: Any, found: Any) -> list[Any]:
        """The chosen concept first, then those that are furthest from what was asked."""
        concept = state(ctx, "concept")

        def short(one: Any) -> int:
            return sum(max(getattr(one, f"asked_{role}") - getattr(one, role), 0) for role in _ROLES)

        return sorted(found.shares, key=lambda one: (one.concept != concept, -short(one)))[:ROWS]

    @told
    def on_share(self, ctx: Any) -> None:
        found = self._subset(ctx)
        one = self._shares(ctx, found)[row_of(ctx)]
        show(ctx, found.view(ctx.dataset, concept=one.concept), label_field(ctx))

    @told
    def on_why(self, ctx: Any) -> None:
        one = self._of(self._subset(ctx), state(ctx, "concept"))[row_of(ctx)]
        show(ctx, ctx.dataset.select([one.sample_id]), label_field(ctx))

    @told
    def on_subset(self, ctx: Any) -> None:
        show(ctx, self._subset(ctx).view(ctx.dataset), label_field(ctx))

    def on_subset_positive(self, ctx: Any) -> None:
        self._show_role(ctx, "positive")

    def on_subset_hard(self, ctx: Any) -> None:
        self._show_role(ctx, "hard")

    def on_subset_easy(self, ctx: Any) -> None:
        self._show_role(ctx, "easy")

    @told
    def _show_role(self, ctx: Any, role: str) -> None:
        show(ctx, self._subset(ctx).view(ctx.dataset, role=role), label_field(ctx))

    def on_choose(self, ctx: Any) -> None:
        params = dict(WHOLE, label_field=label_field(ctx))
        ctx.prompt(uri("choose_subset"), params=params, on_success=self.on_found)

    def on_embed(self, ctx: Any) -> None:
        ctx.prompt(uri("compute_embeddings"), params=dict(WHOLE), on_success=self.on_found)

    def on_export(self, ctx: Any) -> None:
        params = dict(WHOLE, subset=self._subset(ctx).key, label_field=label_field(ctx))
        ctx.prompt(uri("export_subset"), params=params)
