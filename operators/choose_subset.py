"""``@concepts/sam3/choose_subset``: a training subset, chosen, split and explained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import fiftyone as fo
from fiftyone.operators import types

from .finding import FindingOperator, add_key, kept
from .form import mark_problems
from .truth_form import absence_settings, add_absence, add_choice, add_names, add_words, guess, label_fields, names_of

_ROLES = {"positive": 0.5, "hard": 0.25, "easy": 0.25}
_ROLE_LABELS = {
    "positive": "Positives: the concept is there", "hard": "Hard negatives: something is taken for it",
    "easy": "Easy negatives: nothing looks like it",
}  # fmt: skip
_DIVERSITY = {
    "k_center": "As unlike each other as can be", "facility_location": "Each stands for as many others as can be",
    "none": "At random",
}  # fmt: skip


class ChooseSubset(FindingOperator):
    """Chooses the samples that are worth labelling and learning from.

    1. The form asks how many, of what, and how they are split.
    2. Near-duplicates are left out; concepts get equal shares; what belongs together stays in one split.
    3. Samples get tags and fields that say what each was chosen for, and a view is saved.
    """

    NAME = "choose_subset"
    LABEL = "SAM 3: choose a training subset"
    ABOUT = "Positives, hard negatives and easy ones, unlike each other, split without leaks: each choice explained"

    def form(self, ctx: Any) -> types.Property:
        inputs = types.Object()
        inputs.view_target(ctx, action_description="Choose from")
        wrong = {"n": inputs.int("n", required=True, min=1, default=_usual(ctx), label="How many samples")}
        for role, share in _ROLES.items():
            inputs.float(
                f"ratio_{role}", default=share, min=0.0, max=1.0, label=_ROLE_LABELS[role], view=types.SliderView()
            )
        wrong["val"] = inputs.float(
            "val", default=0.2, min=0.0, max=0.9, label="Share for validation", view=types.SliderView()
        )
        inputs.float("test", default=0.0, min=0.0, max=0.9, label="Share for testing", view=types.SliderView())
        view = types.RadioGroup(orientation="vertical")
        for value, words in _DIVERSITY.items():
            view.add_choice(value, label=words)
        inputs.enum("diversity", view.values(), default="k_center", view=view, label="Which")
        wrong["group_field"] = add_choice(
            inputs, "group_field", "Stay together", _group_fields(ctx.dataset), None, required=False,
            description="A field with the video, scene or sequence: it never lies in two splits",
        )  # fmt: skip
        wrong["key"] = add_key(inputs, "subset")
        truths = label_fields(ctx.dataset, (fo.Detections, fo.Classification, fo.Classifications, fo.Polylines))
        fields = label_fields(ctx.dataset)
        wrong["gt_field"] = add_choice(
            inputs, "gt_field", "Labels", [f for f in truths if f != (guess(fields, "sam3") or "sam3")], None,
            required=False, description="Without them, what people verified counts, and else what SAM 3 says",
        )  # fmt: skip
        if ctx.params.get("gt_field"):
            wrong |= add_absence(inputs, ctx)
        inputs.bool("more", default=False, label="More settings")
        if ctx.params.get("more"):
            wrong |= self._more(inputs, ctx, fields)
        complete = not ctx.params.get("gt_field") or ctx.params.get("absence")
        mark_problems(inputs, wrong, {"n": self.problem(ctx)} if complete else {})
        return types.Property(inputs, view=types.View(label="Choose a training subset"))

    def _more(self, inputs: types.Object, ctx: Any, fields: list[str]) -> dict[str, Any]:
        """What most people leave as it is."""
        wrong = {"label_field": add_choice(
            inputs, "label_field", "What SAM 3 found", fields, guess(fields, "sam3"), required=False
        )}  # fmt: skip
        label = "Concepts (all that were asked, if empty)"
        wrong["concepts"] = add_words(inputs, "concepts", label, required=False)
        if ctx.params.get("gt_field"):
            wrong["gt_labels"] = add_names(inputs)
        inputs.bool("balance", default=True, label="The same share for every concept")
        vectors = [name for name, one in ctx.dataset.get_field_schema().items() if isinstance(one, fo.VectorField)]
        wrong["embeddings"] = add_choice(
            inputs, "embeddings", "Embeddings", vectors, guess(vectors, "sam3_embedding"), required=False
        )
        inputs.bool("duplicates", default=True, label="Leave out near-duplicates")
        if ctx.params.get("duplicates", True) and vectors:
            wrong["threshold"] = inputs.float(
                "threshold", default=None, min=0.5, max=1.0, label="From this cosine on", required=False
            )
        wrong["hard_negatives"] = add_choice(
            inputs, "hard_negatives", "Hard negatives", _found(ctx.dataset), None, required=False,
            description="Of an earlier search; else the latest, and more where it has too few",
        )  # fmt: skip
        inputs.bool("usual_senses", default=True, label="Words of several senses mean the usual one")
        inputs.bool("strict", default=False, label="Refuse rather than get as near as can be")
        inputs.int("seed", default=51, min=0, label="Seed")
        return wrong

    def steps(self) -> Callable[..., Iterator[Any]]:
        from ..curation.subset import subset_steps

        return subset_steps

    def settings(self, params: Mapping[str, Any]) -> dict[str, Any]:
        said = kept(
            params, "n", "key", "label_field", "gt_field", "concepts", "group_field", "embeddings", "hard_negatives",
            "seed", "ledger", "balance", "strict",
        )  # fmt: skip
        said["ratio"] = {role: _number(params.get(f"ratio_{role}"), share) for role, share in _ROLES.items()}
        shares = {"val": _number(params.get("val"), 0.2), "test": _number(params.get("test"), 0.0)}
        rest = round(1 - sum(shares.values()), 6)
        said["splits"] = {"train": rest, **{name: share for name, share in shares.items() if share}}
        way = params.get("diversity") or "k_center"
        said["diversity"] = None if way == "none" else way
        if not params.get("duplicates", True):
            said["duplicates"] = False
        elif params.get("threshold"):
            said["duplicates"] = params["threshold"]
        if params.get("usual_senses", True):
            said["senses"] = "usual"
        truth = absence_settings(params) if params.get("gt_field") else {}
        return dict({"n": None}, **said, **truth) | {"gt_labels": names_of(params.get("gt_labels"))}

    def shown(self, ctx: Any, result: Any) -> list[str]:
        return [f"{result.key}_split", f"{result.key}_role"] if result.key else []

    def summary(self, result: Any) -> str:
        parts = ", ".join(f"{n} {role}" for role, n in result.counts.items())
        splits = ", ".join(f"{name} {n}" for name, n in result.sizes.items())
        return ". ".join([f"{len(result)} samples chosen: {parts} ({splits})", *result.notes])


def _number(value: Any, usual: float) -> float:
    return usual if value is None else value


def _usual(ctx: Any) -> int:
    """A tenth of what there is, in round numbers; of few samples, half of them."""
    count = len(ctx.dataset)
    wanted = max(count // 10, min(count // 2, 20), 1)
    size = 10 ** (len(str(wanted)) - 1)
    return wanted // size * size


def _group_fields(dataset: fo.Dataset) -> list[str]:
    kinds = (fo.StringField, fo.IntField, fo.ObjectIdField)
    own = {"id", "filepath"}
    return [n for n, f in dataset.get_field_schema().items() if isinstance(f, kinds) and n not in own]


def _found(dataset: fo.Dataset) -> list[str]:
    from ..curation.hard_negatives import METHOD
    from ..curation.records import findings

    return findings(dataset, METHOD)
