"""The tab "Review": one question after the other, each answered by a keystroke."""

from __future__ import annotations

import base64
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
    calls :meth:`on_answer` behind; so several answers may be on their way together, in any order. Each handler returns
    the next questions.
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
                component="ConceptsReviewCard", composite_view=True, queue=self._queue(ctx, review),
                user=getattr(ctx.user, "name", None), on_items=self.on_items, on_answer=self.on_answer,
                on_add=self.on_add, on_back=self.on_back, on_open=self.on_open,
            )  # fmt: skip
            panel.obj("card", view=card)
            panel.bool(
                "only", default=bool(state(ctx, "only")), label=f"Only {state(ctx, 'concept')}", on_change=self.on_only
            )
            row = panel.h_stack("review_buttons", gap=1)
            row.btn("show_review", label="Show the queue", on_click=self.on_show_review, variant="outlined")
            row.btn("renew_review", label="Build it anew", on_click=self.on_build_review, variant="text")
            for k, note in enumerate(review.notes):
                words(panel, f"review_note_{k}", f"*{note}*")
        row = panel.h_stack("review_more", gap=1)
        row.btn("exhaustivity", label="Check exhaustivity", on_click=self.on_exhaustivity, variant="outlined")
        row.btn("annotation", label="Set up annotation", on_click=self.on_annotation, variant="text")

    def fill_review(self, ctx: Any) -> None:
        """Nothing: the card asks for what it shows."""

    def on_items(self, ctx: Any) -> dict[str, Any]:
        """The next questions, with their pictures."""
        from ...curation.errors import CurationError
        from ...curation.review import jpeg, next_items, picture, question
        from ...curation.review.additions import candidates_of

        review = self._review(ctx)
        concept = state(ctx, "concept") if state(ctx, "only") else None
        unknown = concept is not None and concept not in review.concepts
        items = [] if unknown else next_items(
            ctx.dataset, review, reviewer=self._reviewer(ctx), n=_AHEAD, concept=concept
        )  # fmt: skip
        shown = []
        for item in items:
            try:
                image, because = jpeg(picture(ctx.dataset, item, size=_SIDE)), item.because
            except CurationError as error:  # its file cannot be read: who looks at it can skip it
                image, because = b"", str(error)
            shown.append(dict(
                id=item.key, question=question(item), because=because,
                candidates=len(candidates_of(ctx.dataset, item)),
                picture="data:image/jpeg;base64," + base64.b64encode(image).decode() if image else "",
            ))  # fmt: skip
        found: dict[str, Any] = dict(items=shown)
        if ctx.params.get("counted") or not shown:  # which reads every sample of the queue
            done = review.progress()
            about = f" about {concept!r}" if concept else ""
            found |= dict(done=done.answered, total=done.total, note=f"Nothing is left to ask{about}: {done}")
        return found

    # ------------------------------------------------------------------ answers

    def on_answer(self, ctx: Any) -> dict[str, Any]:
        from ...curation.review import answer

        verdict = _VERDICTS[ctx.params["verdict"]]
        return self._say(ctx, lambda item: answer(ctx.dataset, item, verdict, reviewer=self._reviewer(ctx)))

    def on_add(self, ctx: Any) -> dict[str, Any]:
        from ...curation.review import add_missing

        return self._say(ctx, lambda item: add_missing(ctx.dataset, item, reviewer=self._reviewer(ctx)))

    def on_back(self, ctx: Any) -> dict[str, Any]:
        from ...curation.review import take_back
        from ...curation.review.verdicts import last_answer

        reviewer = self._reviewer(ctx)
        if ctx.params.get("id") is None:  # answered before this page was opened
            last = last_answer(ctx.dataset, self._review(ctx).items, reviewer)
            ctx.params["id"] = last.key if last else None
        found = self._say(ctx, lambda item: take_back(ctx.dataset, item, reviewer=reviewer))
        return dict(found, back=ctx.params["id"])

    def _say(self, ctx: Any, say: Any) -> dict[str, Any]:
        """Do something about the question of the event; whatever comes of it, the card goes on."""
        from ...curation.errors import CurationError

        review = self._review(ctx)
        item = self._item(ctx, review)
        try:
            if item is not None:
                say(item)
        except CurationError as error:
            ctx.ops.notify(str(error), variant="warning")
        return self.on_items(ctx)

    # ------------------------------------------------------------------ around it

    def on_only(self, ctx: Any) -> None:
        ctx.panel.set_state("only", bool(ctx.params.get("value")))

    @told
    def on_open(self, ctx: Any) -> None:
        """The sample of the question, where the App's Annotate tab corrects masks."""
        review = self._review(ctx)
        item = self._item(ctx, review)
        if item is not None:
            show(ctx, ctx.dataset.select([item.sample_id]), review.field)
            ctx.ops.open_sample(id=item.sample_id)

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
    def _item(ctx: Any, review: Any) -> Any:
        """The question that an event is about."""
        return next((one for one in review.items if one.key == ctx.params.get("id")), None)

    @staticmethod
    def _reviewer(ctx: Any) -> str:
        """Whoever is signed in, or what the person called themselves."""
        return getattr(ctx.user, "name", None) or str(ctx.params.get("reviewer") or "").strip() or "reviewer"

    @staticmethod
    def _queue(ctx: Any, review: Any) -> str:
        """Another word whenever the card should ask for other questions."""
        made = ctx.dataset.get_run_info(review.key).timestamp
        only = state(ctx, "concept") if state(ctx, "only") else ""
        return f"{ctx.dataset.name} {review.key} {made} {only}"
