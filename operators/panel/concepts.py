"""The panel itself: the concept, the tabs, and what happens when a person picks one."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types
from fiftyone.operators.categories import Categories

from .common import ledger, main_button, state, uri, words
from .confusions_tab import ConfusionsTab
from .errors_tab import ErrorsTab
from .negatives_tab import NegativesTab
from .presence_tab import PresenceTab
from .review_tab import ReviewTab
from .subset_tab import SubsetTab
from .thresholds_tab import ThresholdsTab

TABS = {
    "presence": "Presence", "negatives": "Hard negatives", "errors": "Label errors", "confusions": "Confusions",
    "thresholds": "Thresholds", "review": "Review", "subset": "Subset",
}  # fmt: skip


#: around the content, within the panel: the App's own padding would push the content out of it on the right; and its
#: only column would be as wide as what is in it, another width in each tab
_ROOM = {"container": {"sx": {
    "padding": "8px 16px", "boxSizing": "border-box", "width": "100%", "& > div": {"justifyContent": "stretch"},
}}}  # fmt: skip
#: seven tabs must fit beside the grid: in two rows, each underlined by itself
_NARROW = {
    "tabs": {"sx": {
        "minHeight": "40px", "& .MuiTabs-flexContainer": {"flexWrap": "wrap"},
        "& .MuiTabs-indicator": {"display": "none"},
    }},
    "tab": {"sx": {
        "minWidth": 0, "minHeight": "36px", "padding": "6px 9px", "&.Mui-selected": {"borderBottom": "2px solid"},
    }},
}  # fmt: skip


class ConceptsPanel(
    PresenceTab, NegativesTab, ErrorsTab, ConfusionsTab, ThresholdsTab, ReviewTab, SubsetTab, foo.Panel
):
    """Where the ledger is looked at.

    1. A concept is picked, or typed; one that was not asked can be asked from here.
    2. Each tab draws what is in the ledger, or what an operator found, and fills the panel's data.
    3. Buttons show views in the grid, and open the forms of operators.

    What is shown is about the whole dataset, whatever view is in the grid: the panel sets that view itself.
    """

    @property
    def config(self) -> foo.PanelConfig:
        return foo.PanelConfig(
            name="concepts",
            label="Concepts",
            icon="category",
            category=Categories.CURATE,
            help_markdown="What SAM 3 was asked, what it said, and what follows: docs/curation.md",
        )

    def on_load(self, ctx: Any) -> None:
        from ...curation.answers import asked_concepts

        name = ledger(ctx)
        known = asked_concepts(ctx.dataset, name) if name else ()
        if state(ctx, "concept") not in known:
            self.choose(ctx, known[0] if known else None)
        self.refresh(ctx)

    def on_change_dataset(self, ctx: Any) -> None:
        self.choose(ctx, None)
        self.on_load(ctx)

    def choose(self, ctx: Any, concept: str | None) -> None:
        """Look at a concept; its threshold is its own again.

        All at once, as each change of the state makes the App repaint its grid. What is typed is kept apart from what
        is looked at: the App writes down whatever is typed, asked or not.
        """
        from ...curation.answers import thresholds_of

        wanted = dict(concept=concept, typed=concept, level=None, asking=None)
        if concept is not None:
            wanted["threshold"] = round(thresholds_of(ctx.dataset, ledger(ctx))[concept], 2)
        ctx.panel.set_state(wanted)

    def refresh(self, ctx: Any) -> None:
        """Fill the data of the tab that is open."""
        if ledger(ctx) and state(ctx, "concept"):
            getattr(self, f"fill_{state(ctx, 'tab', 'presence')}")(ctx)

    def on_concept(self, ctx: Any) -> None:
        from ...curation.answers import asked_concepts

        said = (ctx.params.get("value") or "").strip()
        if said and said not in asked_concepts(ctx.dataset, ledger(ctx)):
            ctx.panel.set_state("asking", said)
            return
        if said:
            self.choose(ctx, said)
            self.refresh(ctx)

    def on_tab(self, ctx: Any) -> None:
        # The App keeps which tab is open. To write it here, too, would be to answer a second click with the first one's
        # tab, which the App would take for a third click, and so on for ever.
        self.refresh(ctx)

    def on_found(self, ctx: Any) -> None:
        """An operator that was started from here is done."""
        ctx.dataset.reload()
        self.refresh(ctx)

    def on_segment(self, ctx: Any) -> None:
        """The form that asks SAM 3, with what was typed."""
        name = "track_concepts" if ctx.dataset.media_type == fo.core.media.VIDEO else "segment_concepts"
        said = state(ctx, "asking")
        ctx.prompt(uri(name), params=dict(classes=[said]) if said else {}, on_success=self.on_asked)

    def on_asked(self, ctx: Any) -> None:
        ctx.dataset.reload()
        self.choose(ctx, state(ctx, "asking"))
        self.on_load(ctx)

    def render(self, ctx: Any) -> types.Property:
        panel = types.Object()
        if ledger(ctx) is None:
            self._offer(panel)
        else:
            self._picker(ctx, panel)
            if state(ctx, "concept"):
                view = types.TabsView(componentsProps=_NARROW)
                for name, label in TABS.items():
                    view.add_choice(name, label=label)
                panel.enum("tab", view.values(), default="presence", view=view, on_change=self.on_tab)
                getattr(self, f"draw_{state(ctx, 'tab', 'presence')}")(ctx, panel)
        view = types.GridView(orientation="vertical", gap=1, align_x="left", componentsProps=_ROOM)
        return types.Property(panel, view=view)

    def _offer(self, panel: types.Object) -> None:
        words(panel, "no_ledger", (
            "**No concepts yet.** This dataset has no concept ledger. Ask SAM 3 for some: it finds every instance, and "
            "keeps, for every image, how sure it is that there is any."
        ))  # fmt: skip
        main_button(panel, "segment", "Ask SAM 3", self.on_segment, icon="auto_awesome")

    def _picker(self, ctx: Any, panel: types.Object) -> None:
        from ...curation.answers import asked_concepts, not_asked

        known = asked_concepts(ctx.dataset, ledger(ctx))
        view = types.AutocompleteView(allow_user_input=True, label="Concept")
        for name in known:
            view.add_choice(name, label=name)
        panel.str("typed", view=view, label="Concept", default=state(ctx, "concept"), on_change=self.on_concept)
        asking = state(ctx, "asking")
        if asking:
            words(panel, "asking_text", not_asked(asking, known))
            main_button(panel, "segment", f"Ask SAM 3 for {asking!r}", self.on_segment, icon="auto_awesome")
