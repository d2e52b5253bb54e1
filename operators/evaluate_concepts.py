"""``@concepts/sam3/evaluate_concepts``: the operator behind "Evaluate concepts" in the App."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from .form import execution_context, mark_problems, notified, refusal, samples_of
from .truth_form import (
    absence_params,
    absence_settings,
    add_absence,
    add_choice,
    add_names,
    add_words,
    guess,
    label_fields,
    names_of,
)

PANEL = "model_evaluation_panel_builtin"


class EvaluateConcepts(foo.Operator):
    """Measures what was found against ground truth, with the metrics of SA-Co.

    1. The form asks for two fields, and what it means that a concept is not labelled.
    2. The run goes through ``evaluation.concepts``, as a generator in the App, or delegated.
    3. At the end, labels and samples say what was right and wrong, and the Model Evaluation panel has the numbers.
    """

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="evaluate_concepts",
            label="SAM 3: evaluate concepts",
            description="cgF1, IL_MCC, pmF1 and, for videos, pHOTA, against ground truth",
            dynamic=True,
            execute_as_generator=True,
            allow_immediate_execution=True,
            allow_delegated_execution=True,
            risk_level=types.RiskLevel.LOW,
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        inputs = types.Object()
        inputs.view_target(ctx, action_description="Evaluate")
        fields = label_fields(ctx.dataset)
        wrong = {
            "pred_field": add_choice(inputs, "pred_field", "What was found", fields, guess(fields, "sam3")),
            "gt_field": add_choice(inputs, "gt_field", "Ground truth", fields, guess(fields, "ground_truth")),
        }
        wrong["eval_key"] = inputs.str(
            "eval_key", default="eval", required=True, label="Name of the evaluation",
            description="Fields with the results begin with it",
        )  # fmt: skip
        wrong |= add_absence(inputs, ctx)
        inputs.bool("more", default=False, label="More settings")
        if ctx.params.get("more"):
            label = "Concepts (all that were asked, if empty)"
            wrong["concepts"] = add_words(inputs, "concepts", label, required=False)
            wrong["gt_labels"] = add_names(inputs)
            inputs.str(
                "not_exhaustive_field", label="Field of concepts that are not all labelled",
                description="Lists of names; left out there",
            )  # fmt: skip
            inputs.float("threshold", default=0.5, min=0.0, max=1.0, label="Threshold", view=types.SliderView())
            inputs.float("iou", default=0.5, min=0.05, max=1.0, label="IoU of a true positive", view=types.SliderView())
            inputs.bool("use_masks", default=True, label="Compare masks", description="Off: boxes")
            inputs.bool("ignore_crowds", default=False, label="Forgive what lies in crowd regions")
        mark_problems(inputs, wrong, self._problems(ctx) if ctx.params.get("absence") else {})
        return types.Property(inputs, view=types.View(label="Evaluate concepts"))

    def resolve_delegation(self, ctx: Any) -> bool | None:
        return None

    def execute(self, ctx: Any) -> Iterator[Any]:
        yield from notified(ctx, self._evaluate(ctx))

    def _evaluate(self, ctx: Any) -> Iterator[Any]:
        from ..evaluation.concepts import evaluation_steps

        step = None
        for step in evaluation_steps(samples_of(ctx), **_settings(ctx.params)):
            if step.done % 10 and step.result is None:
                continue
            share, label = step.done / step.total, f"{step.done} of {step.total} samples"
            if ctx.delegated:
                ctx.set_progress(progress=share, label=label)
            else:
                yield ctx.trigger("set_progress", dict(progress=share, label=label))
        if ctx.delegated:
            return
        yield ctx.trigger("reload_dataset")
        yield ctx.ops.open_panel(PANEL, layout="horizontal", is_active=True)
        numbers = step.result.report()
        shown = [f"{name} {numbers[name]:.3f}" for name in ("cgF1", "pmF1", "IL_MCC", "pHOTA") if numbers.get(name)]
        warning = numbers["warnings"][0] if numbers["warnings"] else None
        message = ", ".join(shown or ["No pair counts"]) + (f". {warning}" if warning else "")
        yield ctx.ops.notify(message, variant="warning" if warning else "success")

    def __call__(
        self,
        sample_collection: fo.core.collections.SampleCollection,
        pred_field: str = "sam3",
        gt_field: str = "ground_truth",
        eval_key: str | None = None,
        *,
        delegate: bool = False,
        **settings: Any,
    ) -> Any:
        """Run from Python: ``foo.get_operator("@concepts/sam3/evaluate_concepts")(dataset, exhaustive=True)``.

        Args:
            sample_collection: a dataset or view of images or videos
            pred_field: instances of concepts
            gt_field: ground truth
            eval_key: a name for the evaluation; without one, nothing is stored
            delegate: queue it for ``fiftyone delegated launch``
            **settings: of ``evaluation.concepts.evaluation_steps``: ``exhaustive``, ``negatives_field``, ``concepts``,
                ``gt_labels``, ``threshold`` and so on

        Returns:
            the :class:`ConceptEvaluation`; if delegated, FiftyOne's execution result
        """
        from ..evaluation.concepts import evaluate_concepts

        if not delegate:  # here, and not through FiftyOne, which could not hand over expressions, nor the result
            return evaluate_concepts(sample_collection, pred_field, gt_field, eval_key, **settings)
        if eval_key is None:
            raise ValueError("Say eval_key='...': of a delegated evaluation there is nothing but what it stores")
        params = dict(absence_params(settings), pred_field=pred_field, gt_field=gt_field, eval_key=eval_key)
        ctx, target = execution_context(sample_collection)
        return foo.execute_operator(self.uri, ctx, params=dict(params, **target), request_delegation=True)

    @staticmethod
    def _problems(ctx: Any) -> dict[str, str | None]:
        """What is wrong, in the words of the code that would refuse it."""
        from ..evaluation.concepts import evaluation_steps
        from ..evaluation.policy import EvaluationError

        def begin() -> None:
            next(evaluation_steps(samples_of(ctx), **_settings(ctx.params)))

        problem = refusal(begin, EvaluationError)
        named = (name for name in ("eval_key", "gt_labels", "concepts") if problem and name in problem)
        return {next(named, "gt_field"): problem}


def _settings(params: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of ``evaluation_steps``, out of the form, or of a call from Python that was delegated."""
    kept = ("pred_field", "gt_field", "eval_key", "threshold", "iou", "use_masks", "crowd", "iscrowd")
    found = {name: params[name] for name in kept if params.get(name) is not None}
    if params.get("ignore_crowds"):
        found["crowd"] = "ignore"
    if params.get("concepts"):
        found["concepts"] = params["concepts"]
    if params.get("gt_labels"):
        found["gt_labels"] = names_of(params["gt_labels"])
    return found | absence_settings(params)
