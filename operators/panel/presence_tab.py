"""The tab "Presence": the histogram of a concept, a threshold to drag, and what lies on either side."""

from __future__ import annotations

from typing import Any

from fiftyone.operators import types

from .common import fill, label_field, ledger, show, state, table, told, uri, words

#: name of the query, icon, how its button reads
_BUTTONS = (
    ("present", "Present"), ("absent", "Absent"), ("uncertain", "In doubt"), ("suppressed", "Phantoms"),
    ("without_instances", "No instance"), ("rich", "Rich"),
)  # fmt: skip
#: within the App's wide padding: the thumb stands below the histogram's line, its number clear of the label, and the
#: words follow closely
_UNDER_THE_AXIS = {"container": {"sx": {"margin": "-32px 0 -32px 32px"}}, "slider": {"sx": {"marginTop": "20px"}}}


class PresenceTab:
    """Draws the tab and handles its events."""

    def draw_presence(self, ctx: Any, panel: types.Object) -> None:
        from ...curation.answers import read_answers
        from ...curation.charts import histogram_layout
        from ...curation.overview import overview

        concept = state(ctx, "concept")
        answers = read_answers(ctx.dataset, ledger(ctx), [concept])
        level = self._level(ctx, answers)
        presence = answers.presence[:, answers.place(concept)]
        panel.plot(
            "histogram", layout=histogram_layout(presence, level), config=dict(displayModeBar=False),
            on_click=self.on_bar,
        )  # fmt: skip
        panel.float(
            "threshold", default=round(level, 2), min=0, max=1, label="Threshold", on_change=self.on_threshold,
            view=types.SliderView(
                label="Threshold", value_precision=2, label_position="top", componentsProps=_UNDER_THE_AXIS
            ),
        )  # fmt: skip
        now = overview(answers, concept, level)
        unasked = f" · {now.unasked} not asked" if now.unasked else ""
        words(panel, "counts", (
            f"**{now.present}** present · **{now.absent}** absent · **{now.uncertain}** in doubt · "
            f"**{now.suppressed}** phantoms · **{now.without_instances}** present without an instance · "
            f"{now.instances} instances{unasked}"
        ))  # fmt: skip
        row = panel.h_stack("queries", gap=1)
        for name, label in _BUTTONS:
            row.btn(f"show_{name}", label=label, on_click=getattr(self, f"on_{name}"), variant="outlined")
        row = panel.h_stack("keeping", gap=1)
        row.btn("save", label="Save this view", on_click=self.on_save, variant="contained", icon="bookmark_add")
        row.btn("keep", label="Use this threshold", on_click=self.on_keep, variant="outlined", icon="push_pin")
        row.btn("everything", label="Show all", on_click=self.on_everything, variant="text")
        words(panel, "neighbours_title", "**Often there, too**, and **neighbours** by the noun graph")
        table(
            panel, "companions", {"concept": "concept", "how": "how", "both": "with both", "share": "of its samples"},
            [("look", "Show samples with both", "visibility", self.on_companion)],
        )  # fmt: skip

    def fill_presence(self, ctx: Any, companions: bool = True) -> None:
        from ...curation.answers import read_answers
        from ...curation.charts import histogram

        answers = read_answers(ctx.dataset, ledger(ctx), [state(ctx, "concept")])
        ctx.panel.set_data("histogram", histogram(answers.presence[:, 0], self._level(ctx, answers)))
        if companions:
            fill(ctx, "companions", self._companions(ctx))

    @staticmethod
    def _companions(ctx: Any) -> list[dict[str, Any]]:
        """Neighbours first, then what is most often there, too."""
        from ...curation.answers import asked_concepts
        from ...curation.kin import find_kin
        from ...curation.overview import companions

        concept, name = state(ctx, "concept"), ledger(ctx)
        known = asked_concepts(ctx.dataset, name)
        found = {one["concept"]: one for one in companions(ctx.dataset, concept, name, most=len(known))}
        related = find_kin(known).rivals.get(concept, {})
        rows = [
            dict(concept=other, how=related.get(other, "often there"), both=one["both"], share=f"{one['share']:.0%}")
            for other, one in {**{n: dict(both=0, share=0.0) for n in related}, **found}.items()
        ]
        return sorted(rows, key=lambda row: (row["concept"] not in related, -row["both"]))[:6]

    @staticmethod
    def _level(ctx: Any, answers: Any) -> float:
        """The slider's place; of a concept that was not touched, its own threshold."""
        level = ctx.panel.get_state("level")
        return float(answers.thresholds[state(ctx, "concept")] if level is None else level)

    def on_threshold(self, ctx: Any) -> None:
        ctx.panel.set_state("level", float(ctx.params.get("value", 0.5)))
        self.fill_presence(ctx, companions=False)

    @told
    def on_bar(self, ctx: Any) -> None:
        """The samples of a bar, the nearest to the threshold first."""
        from ...curation.charts import BINS
        from ...curation.presence import uncertain

        middle = float(ctx.params["x"])
        half = 0.5 / BINS
        view = uncertain(
            ctx.dataset, state(ctx, "concept"), band=(max(middle - half, 0), min(middle + half, 1)), ledger=ledger(ctx)
        )
        show(ctx, view, label_field(ctx))

    @told
    def _query(self, ctx: Any) -> None:
        from ...curation.presence import QUERIES

        name = ctx.params["__query"]
        level = ctx.panel.get_state("level")
        said = {} if name == "rich" or level is None else dict(threshold=float(level))
        view = QUERIES[name][1](ctx.dataset, state(ctx, "concept"), ledger=ledger(ctx), **said)
        ctx.panel.set_state("query", name)
        show(ctx, view, label_field(ctx))

    def on_present(self, ctx: Any) -> None:
        self._ask(ctx, "present")

    def on_absent(self, ctx: Any) -> None:
        self._ask(ctx, "absent")

    def on_uncertain(self, ctx: Any) -> None:
        self._ask(ctx, "uncertain")

    def on_suppressed(self, ctx: Any) -> None:
        self._ask(ctx, "suppressed")

    def on_without_instances(self, ctx: Any) -> None:
        self._ask(ctx, "without_instances")

    def on_rich(self, ctx: Any) -> None:
        self._ask(ctx, "rich")

    def _ask(self, ctx: Any, name: str) -> None:
        ctx.params["__query"] = name
        self._query(ctx)

    def on_save(self, ctx: Any) -> None:
        """The form of the query that was shown last, with a name filled in."""
        concept, name = state(ctx, "concept"), state(ctx, "query", "present")
        level = ctx.panel.get_state("level")
        words_of = f"{concept}: {name.replace('_', ' ')}"
        params = dict(query=name, concepts=[concept], save_as=words_of, ledger=ledger(ctx))
        if level is not None and name != "rich":
            params["threshold"] = float(level)
        ctx.prompt(uri("query_presence"), params=params)

    @told
    def on_keep(self, ctx: Any) -> None:
        from ...curation.thresholds import set_threshold

        level = ctx.panel.get_state("level")
        set_threshold(ctx.dataset, state(ctx, "concept"), None if level is None else float(level), ledger=ledger(ctx))
        ctx.ops.notify("Every query takes this threshold from now on", variant="success")

    def on_everything(self, ctx: Any) -> None:
        ctx.ops.clear_view()

    @told
    def on_companion(self, ctx: Any) -> None:
        from ...curation.presence import where

        rows = self._companions(ctx)
        row = rows[min(int(ctx.params.get("row", 0)), len(rows) - 1)]
        view = where(ctx.dataset, present=[state(ctx, "concept"), row["concept"]], ledger=ledger(ctx))
        show(ctx, view, label_field(ctx))
