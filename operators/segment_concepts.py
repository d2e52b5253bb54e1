"""``@concepts/sam3/segment_concepts``: the operator behind "Segment concepts" in the App."""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import Iterator
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from .asking_form import add_asking, add_concept_file, asking_settings, check_settings
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
    listed,
    mark_problems,
    notified,
    progress_bar,
    refusal,
    samples_of,
)

logger = logging.getLogger(__name__)


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
        inputs = types.Object()
        inputs.view_target(ctx, action_description="Segment")
        wrong = dict(classes=add_concepts(inputs, ctx, required=not ctx.params.get("concept_file")))
        wrong["file"] = add_concept_file(inputs)
        add_checkpoint(inputs, ctx)
        wrong["field"] = add_label_field(inputs)
        add_threshold(inputs, ctx)
        add_asking(inputs, ctx)
        inputs.bool(
            "skip_existing",
            default=True,
            label="Resume",
            description="Ask each sample only what it has not been asked before",
        )
        inputs.int("batch_size", min=1, label="Batch size", description="Empty: as many as the device has room for")
        add_distribute(inputs, ctx)
        mark_problems(inputs, wrong, self._problems(ctx))
        return types.Property(inputs, view=types.View(label="Segment concepts with SAM 3"))

    def resolve_delegation(self, ctx: Any) -> bool | None:
        return None

    def execute(self, ctx: Any) -> Iterator[Any]:
        yield from notified(ctx, self._segment(ctx))

    def _segment(self, ctx: Any) -> Iterator[Any]:
        from ..zoo.segment import build_model, segment

        classes = ctx.params.get("concept_file") or asked_classes(ctx) or None
        model = build_model(classes, **common_settings(ctx.params), **asking_settings(ctx.params))
        field = ctx.params.get("label_field") or "sam3"
        last = None
        target = samples_of(ctx)
        running = segment(
            target,
            model,
            field,
            **{name: ctx.params.get(name) for name in ("batch_size", "num_workers", "writers")},
            skip_existing=ctx.params.get("skip_existing", True),
            **distribute_settings(ctx.params),
        )
        with progress_bar(ctx) as tell, contextlib.closing(running):
            for last in running:
                share = last.done / last.total if last.total else 1.0
                label = f"{last.done} of {last.total} samples, {last.instances} instances"
                tell(last.done, last.total)
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
            else f"Every sample had been asked before: {listed(c.label for c in model.concepts)}"
            if len(target)
            else "There are no samples here: nothing was asked"
        )
        failed = f"; {last.failed} samples failed, see {field}_error" if last.failed else ""
        if failed and "progress" in ctx.params:  # who called from Python sees no notification
            logger.warning("%s%s", message, failed)
        yield ctx.ops.notify(message + failed, variant="warning" if last.failed else "success")

    def __call__(
        self,
        sample_collection: fo.core.collections.SampleCollection,
        classes: Any = None,
        *,
        label_field: str = "sam3",
        checkpoint: str | None = None,
        confidence_thresh: float = 0.5,
        thresholds: dict[str, float] | None = None,
        skip_existing: bool = True,
        batch_size: int | None = None,
        num_workers: int | None = None,
        writers: int | None = None,
        device: str | None = None,
        dtype: str | None = None,
        compile: bool | str | None = None,
        distribute: str | None = None,
        workers: int | None = None,
        progress: Any = None,
        delegate: bool = False,
        **settings: Any,
    ) -> Any:
        """Run from Python: ``foo.get_operator("@concepts/sam3/segment_concepts")(dataset, classes=["dog"])``.

        Args:
            sample_collection: a dataset or view of images
            classes: a list of concepts, a comma-separated string, a mapping from label to phrase(s), or the name of a
                concept file; may be left out where ``box_prompt_field`` holds examples
            label_field: where instances go, and the ledger's name
            checkpoint: folder or hub id; the tiny one if left out
            confidence_thresh: threshold of concepts without their own
            thresholds: label -> threshold
            skip_existing: ask only what was not asked before
            batch_size: images encoded together; ``None``: as many as the device has room for
            num_workers, writers: processes that read images, and that write answers, see ``zoo.segment.segment``
            device: ``None`` takes the best there is
            dtype, compile: as for ``load_zoo_model``
            distribute: ``"ray"`` has worker processes do it, on this machine or on the cluster at ``RAY_ADDRESS``
            workers: how many; ``None``: one a GPU, or, without GPUs, a core
            progress: whether to show a progress bar, or a function, as everywhere in FiftyOne
            delegate: queue it for ``fiftyone delegated launch``
            **settings: of the image model: ``box_prompt_field``, ``exemplars_alone``, ``exemplars_required``,
                ``exemplars_of``, ``tiles``, ``conflicts``, ``floor``

        Returns:
            FiftyOne's execution result; in a running event loop, a task of it
        """
        from ..zoo.cluster import check_distribute
        from ..zoo.engine.concepts import check_whole
        from ..zoo.engine.vocabulary_file import is_vocabulary

        check_settings(settings, [n for n in inspect.signature(self.__call__).parameters if n != "settings"])
        check_distribute(distribute, workers)
        for name, count in (("batch_size", batch_size), ("num_workers", num_workers), ("writers", writers)):
            if count is not None:
                check_whole(count, name, int(name == "batch_size"))
        named = is_vocabulary(classes)
        pointed = named or bool(settings.get("box_prompt_field"))
        params = dict(
            concept_parameters(None if named else classes, thresholds, checkpoint, pointed=pointed),
            concept_file=str(classes) if named else None,
            **settings,
            label_field=label_field,
            confidence_thresh=confidence_thresh,
            skip_existing=skip_existing,
            batch_size=batch_size,
            num_workers=num_workers,
            writers=writers,
            device=device,
            dtype=dtype,
            compile=compile,
            progress=progress,
            distribute=distribute,
            workers=workers,
        )
        ctx, target = execution_context(sample_collection)
        return foo.execute_operator(self.uri, ctx, params=dict(params, **target), request_delegation=delegate)

    @staticmethod
    def _problems(ctx: Any) -> dict[str, str | None]:
        """What is wrong with the concepts and with the field, in the words of the code that would refuse them."""
        from ..zoo.engine.concepts import parse_concepts
        from ..zoo.engine.vocabulary_file import read_vocabulary
        from ..zoo.ledger import Ledger, check

        classes, field = ctx.params.get("classes"), ctx.params.get("label_field") or "sam3"
        file = ctx.params.get("concept_file")
        return dict(
            classes=refusal(lambda: classes and not file and parse_concepts(classes)),
            file=refusal(lambda: file and read_vocabulary(file)),
            field=refusal(lambda: check(ctx.dataset, Ledger(field), field)),
        )
