"""``@concepts/sam3/evaluate_concepts``: the operator behind "Evaluate concepts" in the App."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from .form import execution_context, mark_problems, notified, refusal

PANEL = "model_evaluation_panel_builtin"
_ABSENCE = {
    "exhaustive": "Everything is labelled: what is not labelled is absent",
    "some": "So for some concepts only",
    "field": "A field lists the concepts that people found absent",
}


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
        fields = _fields(ctx.dataset)
        wrong = {
            "pred_field": _choice(inputs, "pred_field", "What was found", fields, _guess(fields, "sam3")),
            "gt_field": _choice(inputs, "gt_field", "Ground truth", fields, _guess(fields, "ground_truth")),
        }
        wrong["eval_key"] = inputs.str(
            "eval_key", default="eval", required=True, label="Name of the evaluation",
            description="Fields with the results begin with it",
        )  # fmt: skip
        absence = types.RadioGroup(orientation="vertical")
        for value, label in _ABSENCE.items():
            absence.add_choice(value, label=label)
        inputs.enum(
            "absence", absence.values(), view=absence, required=True, label="What if a concept is not labelled?"
        )
        if ctx.params.get("absence") == "some":
            wrong["exhaustive"] = _words(inputs, "exhaustive", "Concepts all of whose instances are labelled")
        if ctx.params.get("absence") == "field":
            wrong["negatives_field"] = inputs.str(
                "negatives_field", required=True, label="Field of absent concepts", description="Lists of names"
            )
        inputs.bool("more", default=False, label="More settings")
        if ctx.params.get("more"):
            wrong["concepts"] = _words(inputs, "concepts", "Concepts (all that were asked, if empty)", required=False)
            wrong["gt_labels"] = _words(
                inputs, "gt_labels", "Other names in the ground truth", required=False, description="cap = baseball cap"
            )
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
        for step in evaluation_steps(ctx.target_view(), **_settings(ctx.params)):
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
        said = settings.get("exhaustive")
        absence = "exhaustive" if said is True else "some" if said else "field"
        params = dict(settings, pred_field=pred_field, gt_field=gt_field, eval_key=eval_key, absence=absence)
        ctx, target = execution_context(sample_collection)
        return foo.execute_operator(self.uri, ctx, params=dict(params, **target), request_delegation=True)

    @staticmethod
    def _problems(ctx: Any) -> dict[str, str | None]:
        """What is wrong, in the words of the code that would refuse it."""
        from ..evaluation.concepts import evaluation_steps
        from ..evaluation.policy import EvaluationError

        def begin() -> None:
            next(evaluation_steps(ctx.target_view(), **_settings(ctx.params)))

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
        found["gt_labels"] = _names(params["gt_labels"])
    absence = params.get("absence")
    found["exhaustive"] = {"exhaustive": True, "some": params.get("exhaustive")}.get(absence)
    found["negatives_field"] = params.get("negatives_field") if absence == "field" else None
    found["not_exhaustive_field"] = params.get("not_exhaustive_field")
    return found


def _names(said: Any) -> dict[str, Any]:
    """``["cap = baseball cap"]`` -> ``{"cap": ["baseball cap"]}``; a mapping stays as it is."""
    if isinstance(said, Mapping):
        return dict(said)
    names: dict[str, Any] = {}
    for line in said:
        concept, _, name = str(line).partition("=")
        names.setdefault(concept.strip(), []).append(name.strip() or concept.strip())
    return names


def _fields(dataset: fo.Dataset) -> list[str]:
    """The fields of ``Detections`` that can be compared; of videos, those of the frames."""
    video = dataset.media_type == fo.core.media.VIDEO
    schema = dataset.get_frame_field_schema() if video else dataset.get_field_schema()
    prefix = "frames." if video else ""
    held = ((name, getattr(field, "document_type", None)) for name, field in (schema or {}).items())
    return [prefix + name for name, kind in held if kind is fo.Detections]


def _guess(fields: list[str], name: str) -> str | None:
    return next((field for field in fields if field.removeprefix("frames.") == name), None)


def _choice(
    inputs: types.Object, name: str, label: str, fields: list[str], default: str | None
) -> types.Property:
    view = types.AutocompleteView()
    for field in fields:
        view.add_choice(field, label=field)
    return inputs.enum(name, fields, view=view, required=True, default=default, label=label)


def _words(
    inputs: types.Object, name: str, label: str, required: bool = True, description: str = "Press Enter after each"
) -> types.Property:
    view = types.AutocompleteView(multiple=True, allow_user_input=True)
    return inputs.list(name, types.String(), required=required, label=label, description=description, view=view)
