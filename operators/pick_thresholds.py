"""``@concepts/sam3/pick_thresholds``: from which presence on a concept counts; ``reset_thresholds``: the way back."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from .finding import kept
from .form import CALL, mark_problems, queue, refusal, samples_of
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
            allow_immediate_execution=True,
            allow_delegated_execution=True,
            risk_level=types.RiskLevel.LOW,
        )

    def resolve_input(self, ctx: Any) -> types.Property | None:
        if CALL in ctx.params:  # it was checked when it was made
            return None
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
        inputs.bool("apply", default=True, label="Put them into effect", description="Can be undone")
        inputs.bool("more", default=False, label="More settings")
        if ctx.params.get("more"):
            wrong["gt_labels"] = add_names(inputs)
        complete = not ctx.params.get("gt_field") or ctx.params.get("absence")
        mark_problems(inputs, wrong, {"gt_field": self._problem(ctx)} if complete else {})
        return types.Property(inputs, view=types.View(label="Pick thresholds"))

    def execute(self, ctx: Any) -> dict[str, Any]:
        from ..curation.thresholds import apply_thresholds, find_thresholds

        settings = ctx.params[CALL] if CALL in ctx.params else _settings(ctx.params)
        found = find_thresholds(samples_of(ctx), **settings)
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
        self, sample_collection: fo.core.collections.SampleCollection, *, apply: bool = True, delegate: bool = False,
        **settings: Any,
    ) -> Any:  # fmt: skip
        """Run from Python: ``foo.get_operator("@concepts/sam3/pick_thresholds")(dataset, gt_field="ground_truth", …)``.

        Args:
            sample_collection: a dataset or view
            apply: put what was learned into effect, at once
            delegate: queue it for ``fiftyone delegated launch``
            **settings: of ``curation.thresholds.find_thresholds``

        Returns:
            the :class:`Thresholds`; if delegated, FiftyOne's execution result

        Raises:
            CurationError: as of ``find_thresholds`` and ``apply_thresholds``
            ValueError: delegated, with settings that cannot be stored
        """
        from ..curation.thresholds import apply_thresholds, find_thresholds, known_pairs

        if delegate:
            known_pairs(sample_collection, **_about_truth(settings))  # refused now, and not when its turn comes
            return queue(self.uri, sample_collection, settings, apply=apply)
        found = find_thresholds(sample_collection, **settings)
        if apply:
            apply_thresholds(sample_collection._root_dataset, found)
        return found

    @staticmethod
    def _problem(ctx: Any) -> str | None:
        from ..curation.errors import CurationError
        from ..curation.thresholds import known_pairs

        return refusal(lambda: known_pairs(samples_of(ctx), **_about_truth(_settings(ctx.params))), CurationError)


class ResetThresholds(foo.Operator):
    """Takes thresholds out of effect: back to those of the run, and no calibrated presence."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="reset_thresholds",
            label="SAM 3: back to the run's thresholds",
            description="Takes picked thresholds out of effect, and deletes calibrated presence; no inference",
            dynamic=True,
            risk_level=types.RiskLevel.LOW,
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        inputs = types.Object()
        known = _in_effect(ctx.dataset)
        default = guess(known, "sam3") or next(iter(known), None)
        wrong = {"ledger": add_choice(inputs, "ledger", "Ledger", known, default, required=False)} if known else {}
        nothing = None if known else "No thresholds are in effect in this dataset but those of the run"
        mark_problems(inputs, wrong, {"ledger": nothing})
        return types.Property(inputs, view=types.View(label="Back to the run's thresholds"))

    def execute(self, ctx: Any) -> None:
        from ..curation.thresholds import reset_thresholds

        known = _in_effect(ctx.dataset)
        reset_thresholds(ctx.dataset, ctx.params.get("ledger") or guess(known, "sam3") or known[0])
        ctx.ops.reload_dataset()
        ctx.ops.notify("Back to the thresholds of the run", variant="success")

    def __call__(self, dataset: fo.Dataset, ledger: str = "sam3") -> None:
        """Run from Python; arguments of ``curation.thresholds.reset_thresholds``."""
        from ..curation.thresholds import reset_thresholds

        reset_thresholds(dataset, ledger)


def _about_truth(settings: dict[str, Any]) -> dict[str, Any]:
    """Those settings that say what is known, and not what follows."""
    return {name: value for name, value in settings.items() if name not in ("goal", "method", "target", "store")}


def _settings(params: dict[str, Any]) -> dict[str, Any]:
    said = kept(params, "gt_field", "goal", "method", "ledger", "concepts")
    if params.get("goal") == "precision":
        said["target"] = params.get("target", 0.9)
    truth = absence_settings(params) if params.get("gt_field") else {}
    return dict(said, gt_labels=names_of(params.get("gt_labels")), **truth)


def _in_effect(dataset: fo.Dataset) -> list[str]:
    """The ledgers that have other thresholds than those of their run, or calibrated presence."""
    from ..curation.answers import ledgers_of
    from ..zoo.ledger import Ledger
    from ..zoo.provenance import run_info

    return [
        name for name in ledgers_of(dataset)
        if run_info(dataset, name).get("operating_points") or dataset.has_field(Ledger(name).calibrated)
    ]  # fmt: skip
