"""``@concepts/sam3/pick_thresholds`` and ``verify_presence``: what is known, and what follows for thresholds."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from .finding import kept
from .form import mark_problems, refusal
from .truth_form import absence_settings, add_absence, add_choice, add_names, guess, label_fields, names_of

_GOALS = {"f1": "The highest F1", "precision": "A precision"}
_METHODS = {"platt": "Platt: a logistic curve, steady with few pairs", "isotonic": "Isotonic: any rising curve"}


class PickThresholds(foo.Operator):
    """Learns a threshold for each concept, and what its presence means as a probability; applies them if wanted."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="pick_thresholds",
            label="SAM 3: pick thresholds",
            description="Operating points with intervals, and calibrated presence, from known pairs; no inference",
            dynamic=True,
            risk_level=types.RiskLevel.LOW,
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        inputs = types.Object()
        inputs.view_target(ctx, action_description="Learn from")
        truths = label_fields(ctx.dataset, (fo.Detections, fo.Classification, fo.Classifications, fo.Polylines))
        wrong = {
            "gt_field": add_choice(
                inputs, "gt_field", "Labels", truths, guess(truths, "ground_truth", "labels"), required=False,
                description="Without them, what was verified with \"SAM 3: verify presence\" counts",
            )
        }  # fmt: skip
        if ctx.params.get("gt_field"):
            wrong |= add_absence(inputs, ctx)
        for name, choices, label in (("goal", _GOALS, "Aim for"), ("method", _METHODS, "Calibration")):
            view = types.RadioGroup()
            for value, text in choices.items():
                view.add_choice(value, label=text)
            inputs.enum(name, view.values(), view=view, default=next(iter(choices)), label=label)
            if name == "goal" and ctx.params.get("goal") == "precision":
                inputs.float("target", default=0.9, min=0.01, max=1.0, label="Precision", view=types.SliderView())
        inputs.bool("apply", default=True, label="Put them into effect", description="Can be undone in the panel")
        inputs.bool("more", default=False, label="More settings")
        if ctx.params.get("more"):
            wrong["gt_labels"] = add_names(inputs)
        complete = not ctx.params.get("gt_field") or ctx.params.get("absence")
        mark_problems(inputs, wrong, {"gt_field": self._problem(ctx)} if complete else {})
        return types.Property(inputs, view=types.View(label="Pick thresholds"))

    def execute(self, ctx: Any) -> dict[str, Any]:
        from ..curation.thresholds import apply_thresholds, find_thresholds

        found = find_thresholds(ctx.target_view(), **_settings(ctx.params))
        if ctx.params.get("apply", True):
            apply_thresholds(ctx.dataset, found)
        ctx.ops.reload_dataset()
        few = len(found.concepts) - len(found.points)
        words = f"{len(found.points)} thresholds" + (f"; {few} concepts have too few pairs" if few else "")
        ctx.ops.notify(words, variant="warning" if few else "success")
        return dict(text=str(found))

    def resolve_output(self, ctx: Any) -> types.Property:
        outputs = types.Object()
        outputs.str("text", label="Thresholds", view=types.CodeView(language="text", read_only=True))
        return types.Property(outputs, view=types.View(label="Thresholds"))

    def __call__(
        self, sample_collection: fo.core.collections.SampleCollection, *, apply: bool = True, **settings: Any
    ) -> Any:
        """Run from Python; ``**settings`` of ``curation.thresholds.find_thresholds``."""
        from ..curation.thresholds import apply_thresholds, find_thresholds

        found = find_thresholds(sample_collection, **settings)
        if apply:
            apply_thresholds(sample_collection._root_dataset, found)
        return found

    @staticmethod
    def _problem(ctx: Any) -> str | None:
        from ..curation.errors import CurationError
        from ..curation.thresholds import known_pairs

        how = ("goal", "method", "target")
        said = {name: value for name, value in _settings(ctx.params).items() if name not in how}
        return refusal(lambda: known_pairs(ctx.target_view(), **said), CurationError)


class VerifyPresence(foo.Operator):
    """A person says of selected samples whether a concept is there."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="verify_presence",
            label="SAM 3: verify presence",
            description="Say of samples that a concept is, or is not, there; thresholds learn from it",
            dynamic=True,
            risk_level=types.RiskLevel.LOW,
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        from ..curation.answers import asked_concepts

        inputs = types.Object()
        inputs.view_target(ctx, action_description="Verify")
        names = list(asked_concepts(ctx.dataset))
        wrong = {"concept": add_choice(inputs, "concept", "Concept", names, None)}
        view = types.RadioGroup()
        view.add_choice("present", label="is there")
        view.add_choice("absent", label="is not there")
        inputs.enum("verdict", view.values(), view=view, required=True, label="In all of these samples it")
        mark_problems(inputs, wrong, {})
        return types.Property(inputs, view=types.View(label="Verify presence"))

    def execute(self, ctx: Any) -> dict[str, Any]:
        from ..curation.truth import verify

        count = verify(ctx.target_view(), ctx.params["concept"], ctx.params["verdict"] == "present")
        ctx.ops.reload_dataset()
        ctx.ops.notify(f"{count} samples verified", variant="success")
        return dict(samples=count)

    def resolve_output(self, ctx: Any) -> types.Property:
        outputs = types.Object()
        outputs.int("samples", label="Samples verified")
        return types.Property(outputs, view=types.View(label="Verified"))


def _settings(params: dict[str, Any]) -> dict[str, Any]:
    said = kept(params, "gt_field", "goal", "method", "ledger", "concepts")
    if params.get("goal") == "precision":
        said["target"] = params.get("target", 0.9)
    truth = absence_settings(params) if params.get("gt_field") else {}
    return dict(said, gt_labels=names_of(params.get("gt_labels")), **truth)
