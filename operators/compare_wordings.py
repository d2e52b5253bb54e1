"""``@concepts/sam3/compare_wordings``: the operator behind "Compare wordings" in the App."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import fiftyone as fo
from fiftyone.operators import types

from .finding import FindingOperator, add_key, kept
from .form import add_checkpoint, chosen_checkpoint, mark_problems
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

_COLUMNS = {
    "phrase": "Wording", "group": "Group", "present": "Images", "instances": "Instances", "agreement": "Agreement",
    "f1": "F1",
}  # fmt: skip


class CompareWordings(FindingOperator):
    """Asks a concept in several wordings, on some of the images, and says which to take.

    1. The form proposes wordings: plural, articles, other names, and the names of other senses.
    2. Each image is encoded once and asked all of them; labels and ledger stay as they are.
    3. The numbers are shown, and kept for "SAM 3: choose a wording".
    """

    NAME = "compare_wordings"
    LABEL = "SAM 3: compare wordings"
    ABOUT = "Several phrases for one concept, tried on some images: which find the same, and which to take"

    def form(self, ctx: Any) -> types.Property:
        inputs = types.Object()
        inputs.view_target(ctx, action_description="Try wordings on")
        wrong = {"concept": add_concept(inputs, ctx.dataset)}
        concept = ctx.params.get("concept")
        if concept:
            wrong["phrases"] = add_words(
                inputs, phrases_name(concept), "Wordings", required=False, default=_suggested(ctx, concept),
                description="Press Enter after each. Remove what you do not mean",
            )  # fmt: skip
        inputs.int("limit", default=100, min=1, label="Images, at most", description="Each is asked every wording")
        truths = label_fields(ctx.dataset, (fo.Detections, fo.Classification, fo.Classifications))
        fields = label_fields(ctx.dataset)
        wrong["gt_field"] = add_choice(
            inputs, "gt_field", "Labels", [f for f in truths if f != _instances(ctx.params, fields)], None,
            required=False, description="Without them, wordings are judged by each other",
        )  # fmt: skip
        if ctx.params.get("gt_field"):
            wrong |= add_absence(inputs, ctx)
            wrong["gt_labels"] = add_names(inputs)
        inputs.bool("more", default=False, label="More settings")
        if ctx.params.get("more"):
            wrong["key"] = add_key(inputs, "wordings")
            wrong["label_field"] = add_choice(
                inputs, "label_field", "Instances whose stability is measured", fields, guess(fields, "sam3"),
                required=False,
            )  # fmt: skip
            inputs.int("seed", default=51, min=0, label="Seed of the choice of images")
        add_another_checkpoint(inputs, ctx)
        complete = concept and (not ctx.params.get("gt_field") or ctx.params.get("absence"))
        mark_problems(inputs, wrong, {"concept": self.problem(ctx)} if complete else {})
        return types.Property(inputs, view=types.View(label="Compare wordings"))

    def steps(self) -> Callable[..., Iterator[Any]]:
        from ..curation.wordings import wordings_steps

        return wordings_steps

    def settings(self, params: Mapping[str, Any]) -> dict[str, Any]:
        names = ("concept", "phrases", "key", "limit", "seed", "gt_field", "label_field", "ledger", "batch_size")
        said = kept(params, *names)
        said.setdefault("concept", "")
        own = params.get(phrases_name(said["concept"]))
        if own:
            said.setdefault("phrases", own)
        truth = absence_settings(params) if params.get("gt_field") else {}
        if truth:
            truth["gt_labels"] = names_of(params.get("gt_labels"))
        return dict(said, **truth, **another_checkpoint(params))

    def summary(self, result: Any) -> str:
        taken = f"take {result.recommended!r}" if result.recommended else "none can be recommended"
        groups = f"{len(result.groups)} group{'s' if len(result.groups) != 1 else ''}"
        return f"{len(result)} wordings of {result.concept!r} on {len(result.samples)} images, {groups}: {taken}"

    def output(self, result: Any) -> tuple[types.Object, dict[str, Any]]:
        outputs, table = types.Object(), types.TableView()
        for name, label in _COLUMNS.items():
            table.add_column(name, label=label)
        outputs.list("rows", types.Object(), view=table, label=f"Wordings of {result.concept!r}")
        outputs.str("text", label="Which to take", view=types.CodeView(language="text", read_only=True))
        rows = [{name: _shown(value) for name, value in row.items()} for row in result.rows()]
        return outputs, dict(rows=rows, text="\n".join([*result.reasons, *result.notes]))


def add_concept(inputs: types.Object, dataset: fo.Dataset, default: str | None = None) -> types.Property:
    """The field for one concept: any of those that were asked or defined, or a new one."""
    from ..curation.answers import all_concepts
    from ..zoo.definitions import definitions

    view = types.AutocompleteView(allow_user_input=True)
    for name in dict.fromkeys([*definitions(dataset), *all_concepts(dataset)]):
        view.add_choice(name, label=name)
    return inputs.str(
        "concept", required=True, default=default, label="Concept", description="One that was asked, or a new one",
        view=view,
    )  # fmt: skip


def phrases_name(concept: str) -> str:
    """The parameter with the wordings of a concept: each its own, because a form keeps what it proposed first."""
    return f"phrases_{zlib.crc32(str(concept).strip().casefold().encode()):08x}"


def add_another_checkpoint(inputs: types.Object, ctx: Any) -> None:
    """The choice of weights, where it is not to be those that were asked before."""
    inputs.bool(
        "another_checkpoint", default=False, label="With another checkpoint",
        description="Off: with the one that was asked before",
    )  # fmt: skip
    if ctx.params.get("another_checkpoint"):
        add_checkpoint(inputs, ctx)


def another_checkpoint(params: Mapping[str, Any]) -> dict[str, Any]:
    """``checkpoint`` and ``device``, out of the form, as far as they were said."""
    said = kept(params, "device")
    return dict(said, checkpoint=chosen_checkpoint(params)) if params.get("another_checkpoint") else said


def _suggested(ctx: Any, concept: str) -> list[str]:
    from ..curation.errors import CurationError
    from ..curation.wordings import suggested_phrases

    try:
        return list(suggested_phrases(ctx.dataset, concept))
    except CurationError:  # which the form shows
        return []


def _instances(params: Mapping[str, Any], fields: list[str]) -> str | None:
    return params.get("label_field") or guess(fields, "sam3")


def _shown(value: Any) -> str:
    return "–" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)
