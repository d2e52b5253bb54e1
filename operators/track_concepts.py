"""``@concepts/sam3/track_concepts``: the operator behind "Track concepts" in the App."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types
from fiftyone.operators.constants import ViewTarget

from .form import (
    add_checkpoint,
    add_concepts,
    add_distribute,
    add_label_field,
    add_threshold,
    asked_classes,
    common_settings,
    concept_parameters,
    distribute_settings,
    execution_context,
    mark_problems,
    notified,
    progress_bar,
    refusal,
    samples_of,
)
from .marks import add_prompts, prompt_settings


class TrackConcepts(foo.Operator):
    """Finds every instance of every concept in the target videos, and keeps its identity through time.

    1. The form asks for concepts, frames, and how and with what weights to look for them.
    2. The run goes through ``zoo.track``, as a generator in the App, or delegated.
    3. At the end the grid reloads, with the instances shown and a presence slider for each concept.
    """

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="track_concepts",
            label="SAM 3: track concepts",
            description="A masklet for every instance of every concept in videos and image sequences, and the presence "
            "of each concept in every frame, found or not",
            dynamic=True,
            execute_as_generator=True,
            allow_immediate_execution=True,
            allow_delegated_execution=True,
            risk_level=types.RiskLevel.MEDIUM,
        )

    def resolve_placement(self, ctx: Any) -> types.Placement:
        return types.Placement(
            types.Places.SAMPLES_GRID_SECONDARY_ACTIONS,
            types.Button(label="Track concepts", icon="animation", prompt=True),
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        inputs = types.Object()
        inputs.view_target(ctx, action_description="Track")
        wrong = dict(footage=None, classes=add_concepts(inputs, ctx, required=not ctx.params.get("prompt_field")))
        add_checkpoint(inputs, ctx)
        wrong["field"] = add_label_field(inputs)
        add_prompts(inputs, ctx, sequences=_of_images(_target(ctx)))
        add_threshold(inputs, ctx)
        inputs.bool(
            "tracking",
            default=True,
            label="Track",
            description="Off: single frames, chained by overlap: cheaper, and what hides comes back as another",
        )
        if ctx.params.get("tracking", True):
            inputs.int(
                "detect_every",
                default=1,
                min=1,
                label="Detect in every n-th frame",
                description="Between them, masklets are followed by memory alone: faster; nothing new begins, and no "
                "presence is asked",
            )
        inputs.bool("some_frames", default=False, label="Some of the frames only")
        if ctx.params.get("some_frames"):
            inputs.int("start", default=1, min=1, label="First frame")
            inputs.int("max_frames", min=1, label="At most so many frames")
            inputs.int("stride", default=1, min=1, label="Every n-th frame")
            inputs.bool("reverse", default=False, label="From the last to the first")
        inputs.bool(
            "skip_existing",
            default=True,
            label="Resume",
            description="Leave out videos and concepts that were tracked to the end before",
        )
        add_distribute(inputs, ctx)
        mark_problems(inputs, wrong, self._problems(ctx))
        return types.Property(inputs, view=types.View(label="Track concepts with SAM 3"))

    def resolve_delegation(self, ctx: Any) -> bool | None:
        return None

    def execute(self, ctx: Any) -> Iterator[Any]:
        yield from notified(ctx, self._track(ctx))

    def _track(self, ctx: Any) -> Iterator[Any]:
        from ..zoo.track import build_model, track

        model = build_model(asked_classes(ctx) or None, **_settings(ctx.params))
        field = ctx.params.get("label_field") or "sam3"
        last = None
        target = _target(ctx)
        resume = ctx.params.get("skip_existing", True)
        running = track(target, model, field, skip_existing=resume, **distribute_settings(ctx.params))
        with progress_bar(ctx) as tell, contextlib.closing(running):
            for last in running:
                tell(int(last.share * last.videos), last.videos)
                if ctx.delegated:
                    ctx.set_progress(progress=last.share, label=str(last))
                else:
                    yield ctx.trigger("set_progress", dict(progress=last.share, label=str(last)))
        if ctx.delegated or last is None:
            return
        yield ctx.trigger("reload_dataset")
        shown = list(ctx.active_fields or [])
        video = not _of_images(target)
        wanted = [f"frames.{field}" if video else field, f"{field}_masklets"]
        yield ctx.ops.set_active_fields([*shown, *(f for f in wanted if f not in shown)])
        kind = "videos" if video else "sequences"
        message = f"{last.masklets} masklets in {last.videos - last.failed - last.skipped} {kind}"
        if last.videos and last.skipped == last.videos:
            message = f"All {last.videos} {kind} had been tracked before"
        failed = f"; {last.failed} failed, see {model.ledger.error}" if last.failed else ""
        yield ctx.ops.notify(message + failed, variant="warning" if last.failed else "success")

    def __call__(
        self,
        sample_collection: fo.core.collections.SampleCollection,
        classes: Any = None,
        *,
        label_field: str = "sam3",
        checkpoint: str | None = None,
        confidence_thresh: float | None = None,
        thresholds: dict[str, float] | None = None,
        skip_existing: bool = True,
        tracking: bool = True,
        start: int = 1,
        max_frames: int | None = None,
        stride: int = 1,
        reverse: bool = False,
        prompt_field: str | None = None,
        box_prompt_field: str | None = None,
        point_prompt_field: str | None = None,
        operation_mode: str = "concept",
        propagation_direction: str = "both",
        prompt_frame_indices: list[int] | None = None,
        device: str | None = None,
        dtype: str | None = None,
        compile: bool | str | None = None,
        distribute: str | None = None,
        workers: int | None = None,
        progress: Any = None,
        delegate: bool = False,
        **settings: Any,
    ) -> Any:
        """Run from Python: ``foo.get_operator("@concepts/sam3/track_concepts")(dataset, classes=["dog"])``.

        Args:
            sample_collection: videos, clips, frames, or images grouped into sequences
            classes: a list of concepts, a comma-separated string, or a mapping from label to phrase(s); may be left
                out where there are prompts
            label_field: where instances go, and the ledger's name
            checkpoint: folder or hub id; the tiny one if left out
            confidence_thresh: detection threshold of concepts without their own
            thresholds: label -> threshold
            skip_existing: leave out what was tracked to the end before
            tracking: ``False`` chains the detections of single frames by overlap
            start, max_frames, stride, reverse: which frames
            prompt_field, box_prompt_field, point_prompt_field: fields with boxes and points that people marked
            operation_mode: whether a box is an example of its ``"concept"``, or, ``"visual"``, the object itself
            propagation_direction: ``"both"``, ``"forward"`` or ``"backward"`` from where an object is pointed at
            prompt_frame_indices: numbers of the frames whose prompts count
            device: ``None`` takes the best there is
            dtype, compile: as for ``load_zoo_model``
            distribute: ``"ray"`` has worker processes do it, a video at a time each, on this machine or on the cluster
                at ``RAY_ADDRESS``
            workers: how many; ``None``: one a GPU, or, without GPUs, a core
            progress: whether to show a progress bar, or a function, as everywhere in FiftyOne
            delegate: queue it for ``fiftyone delegated launch``
            **settings: of the tracker, by upstream's names, such as ``new_det_thresh``; and ``detect_every``

        Returns:
            FiftyOne's execution result; in a running event loop, a task of it
        """
        from ..zoo.cluster import check_distribute

        check_distribute(distribute, workers)
        pointed = prompt_field or box_prompt_field or point_prompt_field
        params = dict(
            concept_parameters(classes, thresholds, checkpoint, pointed=bool(pointed)),
            label_field=label_field,
            confidence_thresh=confidence_thresh,
            skip_existing=skip_existing,
            tracking=tracking,
            start=start,
            max_frames=max_frames,
            stride=stride,
            reverse=reverse,
            prompt_field=prompt_field,
            box_prompt_field=box_prompt_field,
            point_prompt_field=point_prompt_field,
            operation_mode=operation_mode,
            propagation_direction=propagation_direction,
            prompt_frame_indices=prompt_frame_indices,
            device=device,
            dtype=dtype,
            compile=compile,
            progress=progress,
            distribute=distribute,
            workers=workers,
            settings=settings,
        )
        ctx, target = execution_context(sample_collection)
        return foo.execute_operator(self.uri, ctx, params=dict(params, **target), request_delegation=delegate)

    @staticmethod
    def _problems(ctx: Any) -> dict[str, str | None]:
        """What is wrong, in the words of the code that would refuse it."""
        from ..zoo.engine.concepts import parse_concepts
        from ..zoo.footage import footage_of
        from ..zoo.ledger import Ledger, check
        from ..zoo.masklets import check_masklets
        from ..zoo.prompting import Prompting

        classes, field = ctx.params.get("classes"), ctx.params.get("label_field") or "sam3"
        target = _target(ctx)
        return dict(
            footage=refusal(lambda: footage_of(target)),
            classes=refusal(lambda: classes and parse_concepts(classes)),
            field=refusal(lambda: check(ctx.dataset, Ledger(field, frames=not _of_images(target)), field))
            or refusal(lambda: check(ctx.dataset, Ledger(field)))
            or refusal(lambda: check_masklets(ctx.dataset, field))
            or refusal(
                lambda: Prompting(ctx.params.get("prompt_field") or None).check(
                    ctx.dataset, field, sequences=_of_images(target)
                )
            ),
        )


def _target(ctx: Any) -> Any:
    """The collection to track. Groups would lose their order where the dataset is chosen: a grouped view stands for
    itself, or for those of its groups that are selected.
    """
    if not _of_images(ctx.view):
        return samples_of(ctx)
    chosen = ctx.request_params.get("view_target") in (None, ViewTarget.SELECTED_SAMPLES)
    return ctx.view.select(ctx.selected) if chosen and ctx.selected else ctx.view


def _of_images(target: Any) -> bool:
    """Whether the videos to track are images in order; else answers go to frames."""
    return getattr(target, "_is_dynamic_groups", False)


def _settings(params: dict[str, Any]) -> dict[str, Any]:
    """The model's settings out of the form's; a call from Python has no box to tick for some of the frames."""
    window = ("start", "max_frames", "stride", "reverse") if params.get("some_frames", True) else ()
    chosen = {name: params[name] for name in window if params.get(name) is not None}
    tracking = True if params.get("tracking") is None else params["tracking"]
    if tracking and params.get("detect_every") is not None:
        chosen["detect_every"] = params["detect_every"]
    # where no threshold is given, the checkpoint has its own
    common = dict(common_settings(params), confidence_thresh=params.get("confidence_thresh"))
    return {**common, "tracking": tracking, **chosen, **prompt_settings(params), **(params.get("settings") or {})}
