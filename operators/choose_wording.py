"""``@concepts/sam3/choose_wording``: in which words a concept is asked from now on, and what its word means."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fiftyone.operators import types

from .compare_wordings import add_another_checkpoint, add_concept, another_checkpoint, phrases_name
from .finding import FindingOperator, kept
from .form import mark_problems
from .truth_form import add_choice, add_words

_NONE = "none"


class ChooseWording(FindingOperator):
    """Stores the phrases that a concept is asked with, and its sense, in its definition; asks it again if wanted.

    1. The form shows what was compared, with the recommended wording; or takes any.
    2. Of an ambiguous word, the sense is chosen; hard negatives go by it.
    3. If wanted, the whole dataset is asked, and the concept's answers are replaced; this can be undone.
    """

    NAME = "choose_wording"
    LABEL = "SAM 3: choose a wording"
    ABOUT = "The phrases and the sense of a concept, kept for the next time it is asked"
    CHANGES = True

    def form(self, ctx: Any) -> types.Property:
        inputs, wrong = types.Object(), {}
        keys = _compared(ctx)
        if keys:
            wrong["key"] = add_choice(
                inputs, "key", "Comparison", keys, keys[-1], required=False,
                description='Of "SAM 3: compare wordings"',
            )  # fmt: skip
        found = _found(ctx)
        wrong["concept"] = add_concept(inputs, ctx.dataset, found.concept if found else None)
        concept = (ctx.params.get("concept") or (found.concept if found else "")).strip()
        if found is not None and concept == found.concept:
            for k, one in enumerate(found.wordings):
                inputs.view(f"row_{k}", types.Notice(label=_told(one, found)))
        if concept:
            offered = _offered(ctx, concept, found)
            wrong["phrases"] = add_words(
                inputs, phrases_name(concept), "Asked as", required=False, default=_usual(ctx, concept, found),
                description="Several are one concept: their instances are joined", choices=tuple(offered),
            )  # fmt: skip
            self._add_sense(inputs, ctx, concept)
        inputs.bool(
            "ask", default=False, label="Ask again now",
            description="All images, with these phrases: the concept's answers are replaced. Can be undone",
        )  # fmt: skip
        if ctx.params.get("ask"):
            add_another_checkpoint(inputs, ctx)
        said = concept or ctx.params.get("concept")
        mark_problems(inputs, wrong, {"concept": self.problem(ctx)} if said else {})
        return types.Property(inputs, view=types.View(label="Choose a wording"))

    @staticmethod
    def _add_sense(inputs: types.Object, ctx: Any, concept: str) -> None:
        from ..curation.nouns import senses
        from ..zoo.definitions import definition_of

        known = senses(concept)
        if len(known) < 2:
            return
        held = definition_of(ctx.dataset, concept)
        view = types.Dropdown()
        view.add_choice("", label="As the phrases say, or as before")
        for one in known:
            view.add_choice(one.key, label=str(one))
        view.add_choice(_NONE, label="None of these")
        default = "" if held is None or held.sense is None else held.sense or _NONE
        inputs.enum(
            f"sense_{phrases_name(concept)}", view.values(), default=default, view=view, label="What it means",
            description="Hard negatives are looked for among its neighbours",
        )  # fmt: skip

    def steps(self) -> Callable[..., Iterator[Any]]:
        from ..curation.definitions import choose_steps

        return choose_steps

    def said(self, ctx: Any) -> tuple[Any, dict[str, Any]]:
        samples, settings = super().said(ctx)
        if not settings.get("concept") or not settings.get("phrases"):
            found = _found(ctx)
            settings = dict(settings, concept=settings.get("concept") or (found.concept if found else ""))
            own = ctx.params.get(phrases_name(settings["concept"]))
            settings["phrases"] = settings.get("phrases") or own or _usual(ctx, settings["concept"], found)
        return samples, settings

    def settings(self, params: Mapping[str, Any]) -> dict[str, Any]:
        said = kept(params, "concept", "phrases", "ask", "ledger", "label_field", "batch_size")
        name = phrases_name(said.get("concept", ""))
        if params.get(name):
            said.setdefault("phrases", params[name])
        sense = params.get("sense") or params.get(f"sense_{name}")
        if sense:
            said["sense"] = "" if sense == _NONE else sense
        return dict(said, **another_checkpoint(params))

    def summary(self, result: Any) -> str:
        return str(result)


def _compared(ctx: Any) -> list[str]:
    from ..curation.records import findings
    from ..curation.wordings import METHOD

    return findings(ctx.dataset, METHOD)


def _found(ctx: Any) -> Any:
    """The comparison that is chosen in the form; the last one if none is."""
    from ..curation.wordings import load_wordings

    keys = _compared(ctx)
    key = ctx.params.get("key") or (keys[-1] if keys else None)
    return load_wordings(ctx.dataset, key) if key in keys else None


def _told(one: Any, found: Any) -> str:
    numbers = f"group {one.group}, {one.present} images, {one.instances} instances" if one.group else "found nothing"
    score = "" if one.f1 is None else f", F1 {one.f1:.2f}"
    return f"{one.phrase}: {numbers}{score}" + (" (recommended)" if one.phrase == found.recommended else "")


def _offered(ctx: Any, concept: str, found: Any) -> list[str]:
    from ..curation.wordings import suggested_phrases

    own = found.phrases if found is not None and found.concept == concept else ()
    return list(dict.fromkeys([*own, *suggested_phrases(ctx.dataset, concept)]))


def _usual(ctx: Any, concept: str, found: Any) -> list[str]:
    """What was recommended for the concept; else how it is asked now."""
    from ..zoo.definitions import definition_of

    if found is not None and found.concept == concept and found.recommended:
        return [found.recommended]
    known = definition_of(ctx.dataset, concept) if concept.strip() else None
    return list(known.phrases) if known else [concept] if concept.strip() else []
