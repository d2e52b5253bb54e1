"""``@concepts/sam3/find_hard_negatives``: the operator behind "Find hard negatives" in the App."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import fiftyone as fo
from fiftyone.operators import types

from .finding import FindingOperator, add_key, kept
from .form import add_checkpoint, common_settings, mark_problems, samples_of
from .truth_form import (
    absence_settings,
    add_absence,
    add_choice,
    add_names,
    add_words,
    guess,
    label_fields,
    names_of,
)

_SOURCES = {
    "contradicted": "Labels say it is absent, SAM 3 says it is there",
    "neighbour": "A look-alike is there, on the same pixels or instead",
    "swap": "The same thing with another attribute is there",
}
_MOST_SENSES = 8


class FindHardNegatives(FindingOperator):
    """Finds samples that lack a concept and are hard to tell from samples that have it.

    1. The form asks what is known, and which senses ambiguous concepts have.
    2. If wanted, swapped phrases ("blue cap" for "red cap") are asked first: the only inference.
    3. The samples get a field of classifications, one for each concept that they are a hard negative of.
    """

    NAME = "find_hard_negatives"
    LABEL = "SAM 3: find hard negatives"
    ABOUT = "Samples without a concept that SAM 3 takes, or nearly takes, for it: ranked and explained"

    def form(self, ctx: Any) -> types.Property:
        inputs = types.Object()
        inputs.view_target(ctx, action_description="Look for hard negatives in")
        fields = label_fields(ctx.dataset)
        truths = label_fields(ctx.dataset, (fo.Detections, fo.Classification, fo.Classifications, fo.Polylines))
        wrong = {
            "label_field": add_choice(inputs, "label_field", "What SAM 3 found", fields, guess(fields, "sam3")),
            "gt_field": add_choice(
                inputs, "gt_field", "Labels", [f for f in truths if f != ctx.params.get("label_field")],
                guess(truths, "ground_truth", "labels"), required=False,
                description="Without them, what SAM 3 itself decides against counts as absent",
            ),
        }  # fmt: skip
        if ctx.params.get("gt_field"):
            wrong |= add_absence(inputs, ctx)
        wrong["key"] = add_key(inputs, "hard_negatives")
        inputs.int("per_concept", default=25, min=1, label="At most, for each concept")
        inputs.bool("more", default=False, label="More settings")
        if ctx.params.get("more"):
            label = "Concepts (all that were asked, if empty)"
            wrong["concepts"] = add_words(inputs, "concepts", label, required=False)
            wrong["gt_labels"] = add_names(inputs)
            for source, label in _SOURCES.items():
                inputs.bool(f"source_{source}", default=True, label=label)
        self._add_senses(inputs, ctx)
        inputs.bool(
            "ask_swaps", default=False, label="Ask swapped phrases first",
            description='"blue cap" where there is a "red cap": this runs SAM 3, once for each of these images',
        )  # fmt: skip
        if ctx.params.get("ask_swaps"):
            inputs.bool(
                "another_checkpoint", default=False, label="With another checkpoint",
                description="Off: with the one that was asked before",
            )  # fmt: skip
            if ctx.params.get("another_checkpoint"):
                add_checkpoint(inputs, ctx)
        complete = not ctx.params.get("gt_field") or ctx.params.get("absence")
        mark_problems(inputs, wrong, {"gt_field": self.problem(ctx)} if complete else {})
        return types.Property(inputs, view=types.View(label="Find hard negatives"))

    def _add_senses(self, inputs: types.Object, ctx: Any) -> None:
        """Words with several senses: shown, and chosen by whoever knows what was meant."""
        ambiguous = _ambiguous(ctx)
        if not ambiguous:
            return
        inputs.bool(
            "choose_senses", default=False, label="Choose what ambiguous concepts mean",
            description=f"Until then their neighbours are not used: {', '.join(ambiguous)}",
        )  # fmt: skip
        if not ctx.params.get("choose_senses"):
            return
        inputs.bool("usual_senses", default=False, label="The usual sense of every word")
        if ctx.params.get("usual_senses"):
            return
        shown = dict(list(ambiguous.items())[:_MOST_SENSES])
        inputs.list("ambiguous", types.String(), default=list(shown), view=types.HiddenView())
        for k, (concept, choices) in enumerate(shown.items()):
            view = types.Dropdown()
            for one in choices:
                view.add_choice(one.key, label=str(one))
            view.add_choice("none", label="None of these")
            inputs.enum(f"sense_{k}", view.values(), view=view, label=concept)

    def execute(self, ctx: Any) -> Iterator[Any]:
        if ctx.params.get("ask_swaps"):
            yield from self._ask(ctx)
        yield from super().execute(ctx)

    def _ask(self, ctx: Any) -> Iterator[Any]:
        from ..curation.swaps import ask_swaps

        field = ctx.params.get("label_field") or "sam3"
        model = common_settings(ctx.params) if ctx.params.get("another_checkpoint") else {}
        chosen = {name: model[name] for name in ("checkpoint", "device") if model.get(name)}
        for step in ask_swaps(samples_of(ctx), field, **chosen):
            share, label = step.done / max(step.total, 1), f"{step.done} of {step.total} samples asked"
            if ctx.delegated:
                ctx.set_progress(progress=share, label=label)
            else:
                yield ctx.trigger("set_progress", dict(progress=share, label=label))

    def steps(self) -> Callable[..., Iterator[Any]]:
        from ..curation.hard_negatives import hard_negative_steps

        return hard_negative_steps

    def settings(self, params: Mapping[str, Any]) -> dict[str, Any]:
        names = ("label_field", "gt_field", "key", "concepts", "per_concept", "sources", "embeddings", "ledger")
        said = kept(params, *names)
        sources = [source for source in _SOURCES if params.get(f"source_{source}", True)]
        said.setdefault("sources", sources)
        said["senses"] = params.get("senses") or self._senses(params)
        truth = absence_settings(params) if params.get("gt_field") else {}
        return dict(said, gt_labels=names_of(params.get("gt_labels")), **truth)

    @staticmethod
    def _senses(params: Mapping[str, Any]) -> Any:
        if not params.get("choose_senses"):
            return None
        if params.get("usual_senses"):
            return "usual"
        names = params.get("ambiguous") or []
        chosen = {name: params.get(f"sense_{k}") for k, name in enumerate(names)}
        return {name: "" if key == "none" else key for name, key in chosen.items() if key}

    def summary(self, result: Any) -> str:
        words = f"{len(result)} hard negatives of {len(result.counts)} concepts"
        chosen = f"{len(result.ambiguous)} concepts are ambiguous: choose their senses" if result.ambiguous else None
        return ". ".join(filter(None, [words, *result.notes, chosen]))


def _ambiguous(ctx: Any) -> dict[str, Any]:
    """Concepts whose neighbours depend on their sense, and their senses."""
    from ..curation.answers import asked_concepts
    from ..curation.definitions import chosen_senses
    from ..curation.kin import find_kin
    from ..curation.label_errors import ledger_name

    name = ledger_name(ctx.dataset, ctx.params.get("label_field") or "sam3")
    concepts = asked_concepts(ctx.dataset, name)
    return dict(find_kin(concepts, chosen_senses(ctx.dataset, name, concepts)).open)
