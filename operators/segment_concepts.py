"""``@concepts/sam3/segment_concepts``: the operator behind "Segment concepts" in the App."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

_TINY = "tiny"
_FACEBOOK = "facebook/sam3"
_MAX_SLIDERS = 24


class SegmentConcepts(foo.Operator):
    """Finds every instance of every concept in the target samples.

    1. The form asks for concepts, and where, how and with what weights to look for them.
    2. The run goes through ``zoo.segment``, as a generator in the App, or delegated.
    3. At the end the grid reloads, with the instances shown and a presence slider for each concept.
    """

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="segment_concepts",
            label="SAM 3: segment concepts",
            description="A mask for every instance of every concept, and the presence of each concept, found or not",
            dynamic=True,
            execute_as_generator=True,
            allow_immediate_execution=True,
            allow_delegated_execution=True,
            risk_level=types.RiskLevel.MEDIUM,
        )

    def resolve_placement(self, ctx: Any) -> types.Placement:
        return types.Placement(
            types.Places.SAMPLES_GRID_SECONDARY_ACTIONS,
            types.Button(label="Segment concepts", icon="auto_awesome", prompt=True),
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        from ..zoo.segment import suggested_concepts

        inputs = types.Object()
        inputs.view_target(ctx, action_description="Segment")
        concepts = inputs.list(
            "classes",
            types.String(),
            required=True,
            default=suggested_concepts(ctx.dataset),
            label="Concepts",
            description="Short noun phrases such as 'red baseball cap'. Press Enter after each",
            view=types.AutocompleteView(multiple=True, allow_user_input=True),
        )
        _choice(
            inputs,
            "checkpoint",
            {
                _TINY: "Tiny, trained on emoji: ships with the plugin",
                _FACEBOOK: "facebook/sam3 (gated)",
                "other": "Another checkpoint",
            },
            default=_default_checkpoint(),
            label="Checkpoint",
        )
        if ctx.params.get("checkpoint") == "other":
            inputs.str("other_checkpoint", required=True, label="Folder or hub id")
        field = inputs.str(
            "label_field",
            default="sam3",
            label="Label field",
            description="Instances go here; presence goes to <field>_presence, one number for each concept",
        )
        inputs.float("confidence_thresh", default=0.5, min=0.0, max=1.0, label="Threshold", view=types.SliderView())
        inputs.bool("own_thresholds", default=False, label="A threshold for each concept")
        if ctx.params.get("own_thresholds"):
            self._threshold_sliders(ctx, inputs)
        inputs.bool(
            "skip_existing",
            default=True,
            label="Resume",
            description="Ask each sample only what it has not been asked before",
        )
        inputs.int("batch_size", default=8, min=1, label="Batch size")
        for name, wrong, problem in zip(("classes", "field"), (concepts, field), self._problems(ctx), strict=True):
            if problem:
                wrong.invalid, wrong.error_message = True, problem
                inputs.view(f"problem_{name}", types.Error(label=problem))
        return types.Property(inputs, view=types.View(label="Segment concepts with SAM 3"))

    def resolve_delegation(self, ctx: Any) -> bool | None:
        return None

    def execute(self, ctx: Any) -> Iterator[Any]:
        try:
            yield from self._segment(ctx)
        except Exception as error:
            if not ctx.delegated:  # the App closes the form without a word, so the word comes first
                yield ctx.ops.notify(str(error), variant="error")
            raise

    def _segment(self, ctx: Any) -> Iterator[Any]:
        from ..zoo.segment import build_model, segment

        settings = _settings(ctx.params)
        model = build_model(_classes(ctx), **settings)
        field = ctx.params.get("label_field") or "sam3"
        last = None
        for last in segment(
            ctx.target_view(),
            model,
            field,
            batch_size=_batch_size(ctx.params),
            skip_existing=ctx.params.get("skip_existing", True),
        ):
            share = last.done / last.total if last.total else 1.0
            label = f"{last.done} of {last.total} samples, {last.instances} instances"
            if ctx.delegated:
                ctx.set_progress(progress=share, label=label)
            else:
                yield ctx.trigger("set_progress", dict(progress=share, label=label))
        if ctx.delegated or last is None:
            return
        yield ctx.trigger("reload_dataset")
        shown = list(ctx.active_fields or [])
        yield ctx.ops.set_active_fields(shown if field in shown else [*shown, field])
        message = (
            f"{last.instances} instances on {last.total} samples"
            if last.total
            else f"Every sample had been asked before: {_listed(c.label for c in model.concepts)}"
        )
        failed = f"; {last.failed} samples failed, see {field}_error" if last.failed else ""
        yield ctx.ops.notify(message + failed, variant="warning" if last.failed else "success")

    def __call__(
        self,
        sample_collection: fo.core.collections.SampleCollection,
        classes: Any,
        *,
        label_field: str = "sam3",
        checkpoint: str | None = None,
        confidence_thresh: float = 0.5,
        thresholds: dict[str, float] | None = None,
        skip_existing: bool = True,
        batch_size: int = 8,
        device: str | None = None,
        delegate: bool = False,
    ) -> Any:
        """Run from Python: ``foo.get_operator("@concepts/sam3/segment_concepts")(dataset, classes=["dog"])``.

        Args:
            sample_collection: a dataset or view of images
            classes: a list of concepts, a comma-separated string, or a mapping from label to phrase(s)
            label_field: where instances go, and the ledger's name
            checkpoint: folder or hub id; the tiny one if left out
            confidence_thresh: threshold of concepts without their own
            thresholds: label -> threshold
            skip_existing: ask only what was not asked before
            batch_size: images encoded together
            device: ``None`` takes the best there is
            delegate: queue it for ``fiftyone delegated launch``

        Returns:
            FiftyOne's execution result; in a running event loop, a task of it
        """
        from ..zoo.engine.concepts import parse_concepts

        is_view = isinstance(sample_collection, fo.DatasetView)
        concepts = parse_concepts(classes, thresholds)
        params = dict(
            classes=[c.label for c in concepts],
            phrases={c.label: list(c.phrases) for c in concepts},
            label_field=label_field,
            checkpoint="other" if checkpoint else _TINY,
            other_checkpoint=checkpoint,
            confidence_thresh=confidence_thresh,
            thresholds=thresholds,
            skip_existing=skip_existing,
            batch_size=batch_size,
            device=device,
            view_target="CURRENT_VIEW" if is_view else "DATASET",
        )
        ctx = dict(view=sample_collection) if is_view else dict(dataset=sample_collection)
        return foo.execute_operator(self.uri, ctx, params=params, request_delegation=delegate)

    @staticmethod
    def _threshold_sliders(ctx: Any, inputs: types.Object) -> None:
        for k, label in enumerate((ctx.params.get("classes") or [])[:_MAX_SLIDERS]):
            inputs.float(
                f"threshold_{k}",
                default=ctx.params.get("confidence_thresh", 0.5),
                min=0.0,
                max=1.0,
                label=str(label),
                view=types.SliderView(),
            )

    @staticmethod
    def _problems(ctx: Any) -> tuple[str | None, str | None]:
        """What is wrong with the concepts and with the field, in the words of the code that would refuse them."""
        from ..zoo.engine.concepts import parse_concepts
        from ..zoo.engine.errors import ConceptError
        from ..zoo.ledger import Ledger, check

        def refusal(attempt: Callable[[], Any]) -> str | None:
            try:
                attempt()
            except ConceptError as error:
                return str(error)
            return None

        classes, field = ctx.params.get("classes"), ctx.params.get("label_field") or "sam3"
        return (
            refusal(lambda: classes and parse_concepts(classes)),
            refusal(lambda: check(ctx.dataset, Ledger(field), field)),
        )


def _choice(inputs: types.Object, name: str, labels: dict[str, str], **kwargs: Any) -> None:
    view = types.Dropdown()
    for value, label in labels.items():
        view.add_choice(value, label=label)
    inputs.enum(name, view.values(), view=view, **kwargs)


def _default_checkpoint() -> str:
    """Meta's weights if they are on this machine, else the ones that always are."""
    from huggingface_hub import try_to_load_from_cache

    return _FACEBOOK if isinstance(try_to_load_from_cache(_FACEBOOK, "config.json"), str) else _TINY


def _classes(ctx: Any) -> dict[str, Any]:
    from ..zoo.segment import suggested_concepts

    labels = ctx.params.get("classes") or suggested_concepts(ctx.dataset)
    phrases = ctx.params.get("phrases") or {}  # a form has labels only; a call from Python may have both
    return {label: phrases.get(label, label) for label in labels}


def _listed(labels: Iterable[str], most: int = 6) -> str:
    """The first of ``labels``, for a message."""
    listed = list(labels)
    return ", ".join(listed[:most]) + (", …" if len(listed) > most else "")


def _batch_size(params: dict[str, Any]) -> int:
    return 8 if params.get("batch_size") is None else params["batch_size"]


def _settings(params: dict[str, Any]) -> dict[str, Any]:
    """The model's settings out of the form's."""
    from ..zoo.engine.checkpoint import TINY

    choice = params.get("checkpoint") or _default_checkpoint()
    checkpoint = {_TINY: TINY, "other": params.get("other_checkpoint")}.get(choice, choice)
    thresholds = params.get("thresholds")
    if thresholds is None and params.get("own_thresholds"):
        thresholds = {
            label: params[f"threshold_{k}"]
            for k, label in enumerate(params.get("classes") or [])
            if params.get(f"threshold_{k}") is not None
        }
    return dict(
        checkpoint=checkpoint,
        thresholds=thresholds,
        ledger=params.get("label_field") or "sam3",
        device=params.get("device"),
        confidence_thresh=0.5 if params.get("confidence_thresh") is None else params["confidence_thresh"],
    )
