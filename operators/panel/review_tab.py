"""The tab "Review": one question after the other, each answered by a keystroke."""

from __future__ import annotations

import base64
import secrets
from typing import Any

from fiftyone.operators import types

from .common import WHOLE, label_field, main_button, show, state, told, uri, words

#: questions that are with the browser before they are needed
_AHEAD = 4
#: longest side of a question's picture, in pixels
_SIDE = 480
_VERDICTS = {"yes": True, "no": False, "skip": None}


class ReviewTab:
    """Draws the tab and handles its events.

    What the card shows, and its keys, are in ``review_card.js``: Python panels know no keys. It moves on at once, and
    calls :meth:`on_answer` behind; so several answers may be on their way together, in any order.
    """

    def draw_review(self, ctx: Any, panel: types.Object) -> None:
        review = self._review(ctx)
        if review is None:
            words(panel, "no_review", (
                "Is this mask right? Are all instances marked? The most doubtful come first, one concept at a time, "
                "and each takes **one keystroke**. There is no queue yet."
            ))  # fmt: skip
            main_button(panel, "build_review", "Build a review queue", self.on_build_review, icon="playlist_add_check")
        else:
            card = types.View(
                component="ConceptsReviewCard", composite_view=True, on_answer=self.on_answer, on_back=self.on_back,
                on_add=self.on_add,
            )  # fmt: skip
            panel.obj("card", view=card)
            panel.bool(
                "only", default=bool(state(ctx, "only")), label=f"Only {state(ctx, 'concept')}", on_change=self.on_only
            )
            panel.str("reviewer", label="Your name", default=self._reviewer(ctx), on_change=self.on_reviewer)
            row = panel.h_stack("review_buttons", gap=1)
            row.btn("open_item", label="Open in the App", on_click=self.on_open_item, variant="outlined", icon="edit")
            row.btn("show_review", label="Show the queue", on_click=self.on_show_review, variant="outlined")
            row.btn("renew_review", label="Build it anew", on_click=self.on_build_review, variant="text")
            for k, note in enumerate(review.notes):
                words(panel, f"review_note_{k}", f"*{note}*")
        row = panel.h_stack("review_more", gap=1)
        row.btn("exhaustivity", label="Check exhaustivity", on_click=self.on_exhaustivity, variant="outlined")
        row.btn("annotation", label="Set up annotation", on_click=self.on_annotation, variant="text")

    def fill_review(self, ctx: Any) -> None:
        """The next questions, with their pictures, go to the card."""
        from ...curation.review import jpeg, next_items, picture, question

        review = self._review(ctx)
        if review is None:
            return
        if state(ctx, "reviewer") is None:
            ctx.panel.set_state("reviewer", self._reviewer(ctx))
        concept = state(ctx, "concept") if state(ctx, "only") else None
        concept = concept if concept in (None, *review.concepts) else ""
        reviewer = self._reviewer(ctx)
        items = [] if concept == "" else next_items(
            ctx.dataset, review, reviewer=reviewer, n=_AHEAD, concept=concept
        )  # fmt: skip
        done = review.progress()
        shown = []
        for item in items:
            image, found = picture(ctx.dataset, item, size=_SIDE), self._candidates(ctx, item)
            shown.append(dict(
                id=item.key, question=question(item), because=item.because, candidates=found,
                place=f"{item.concept} · {done.answered} of {done.total} answered",
                picture="data:image/jpeg;base64," + base64.b64encode(jpeg(image)).decode(),
            ))  # fmt: skip
        about = f" about {state(ctx, 'concept')}" if state(ctx, "only") else ""
        note = f"Nothing is left to ask{about}: {done}"
        ctx.panel.set_data("card", dict(items=shown, note=note, undoable=bool(done.answered)))

    # ------------------------------------------------------------------ answers

    def on_answer(self, ctx: Any) -> None:
        from ...curation.review import answer

        verdict = _VERDICTS[ctx.params["verdict"]]
        self._say(ctx, lambda item: answer(ctx.dataset, item, verdict, reviewer=self._reviewer(ctx)))

    def on_add(self, ctx: Any) -> None:
        from ...curation.review import add_missing

        self._say(ctx, lambda item: add_missing(ctx.dataset, item, reviewer=self._reviewer(ctx)))

    def on_back(self, ctx: Any) -> None:
        from ...curation.review import take_back
        from ...curation.review.verdicts import last_answer

        reviewer = self._reviewer(ctx)
        if ctx.params.get("id") is None:  # answered before this page was opened
            last = last_answer(ctx.dataset, self._review(ctx).items, reviewer)
            ctx.params["id"] = last.key if last else None
        self._say(ctx, lambda item: take_back(ctx.dataset, item, reviewer=reviewer))

    def _say(self, ctx: Any, say: Any) -> None:
        """Do something about the question of the event; whatever comes of it, the card goes on."""
        from ...curation.errors import CurationError

        review = self._review(ctx)
        item = next((one for one in review.items if one.key == ctx.params.get("id")), None)
        try:
            if item is not None:
                say(item)
        except CurationError as error:
            ctx.ops.notify(str(error), variant="warning")
        self.fill_review(ctx)

    # ------------------------------------------------------------------ around it

    def on_only(self, ctx: Any) -> None:
        ctx.panel.set_state("only", bool(ctx.params.get("value")))
        self.fill_review(ctx)

    def on_reviewer(self, ctx: Any) -> None:
        ctx.panel.set_state("reviewer", (ctx.params.get("value") or "").strip() or None)
        self.fill_review(ctx)

    @told
    def on_open_item(self, ctx: Any) -> None:
        from ...curation.review import next_items

        review = self._review(ctx)
        items = next_items(ctx.dataset, review, reviewer=self._reviewer(ctx), n=1)
        if items:
            show(ctx, ctx.dataset.select([items[0].sample_id]), review.field)
            ctx.ops.open_sample(id=items[0].sample_id)

    @told
    def on_show_review(self, ctx: Any) -> None:
        review = self._review(ctx)
        show(ctx, review.view(ctx.dataset), review.field)

    def on_build_review(self, ctx: Any) -> None:
        params = dict(WHOLE, label_field=label_field(ctx))
        ctx.prompt(uri("build_review"), params=params, on_success=self.on_found)

    def on_exhaustivity(self, ctx: Any) -> None:
        params = dict(WHOLE, label_field=label_field(ctx))
        ctx.prompt(uri("check_exhaustivity"), params=params, on_success=self.on_found)

    def on_annotation(self, ctx: Any) -> None:
        review = self._review(ctx)
        params = dict(label_field=review.field if review else label_field(ctx))
        ctx.prompt(uri("setup_annotation"), params=params)

    # ------------------------------------------------------------------ what there is

    @staticmethod
    def _review(ctx: Any) -> Any:
        from ...curation.records import findings
        from ...curation.review import load_review
        from ...curation.review.items import METHOD

        keys = findings(ctx.dataset, METHOD)
        return load_review(ctx.dataset, keys[-1]) if keys else None

    @staticmethod
    def _reviewer(ctx: Any) -> str:
        """Whoever is signed in, or what the person called themselves; two must not have one name by chance."""
        said = state(ctx, "reviewer") or getattr(ctx.user, "name", None)
        if said is None:
            said = f"reviewer {secrets.token_hex(2)}"
            ctx.panel.set_state("reviewer", said)
        return said

    @staticmethod
    def _candidates(ctx: Any, item: Any) -> int:
        """Instances that an exhaustivity check found, and that a keystroke would add."""
        from ...curation.review.additions import candidates_of

        return len(candidates_of(ctx.dataset, item))
