"""What the operators that find something in the ledger share: how they run, report and are called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from .form import CALL, notified, queue, refusal, samples_of


class FindingOperator(foo.Operator):
    """An operator whose work is a generator of steps: ``done`` of ``total``, and at the end a ``result``.

    A subclass says what to run (:meth:`steps`), with what settings (:meth:`settings`), and what to tell
    (:meth:`summary`), and draws its form (:meth:`form`).
    """

    #: name, label and description of the operator
    NAME, LABEL, ABOUT = "", "", ""
    #: what stands in front of the samples in the form: "Look for label errors in …"
    ACTION = "Look at"
    #: whether labels are different afterwards
    CHANGES = False

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name=self.NAME,
            label=self.LABEL,
            description=self.ABOUT,
            dynamic=True,
            execute_as_generator=True,
            allow_immediate_execution=True,
            allow_delegated_execution=True,
            risk_level=types.RiskLevel.LOW,
        )

    def form(self, ctx: Any) -> types.Property:
        """What the App asks."""
        raise NotImplementedError

    def steps(self) -> Callable[..., Iterator[Any]]:
        """The function that does the work, a generator."""
        raise NotImplementedError

    def settings(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Its arguments, out of the form."""
        raise NotImplementedError

    def summary(self, result: Any) -> str:
        """A sentence about what came out."""
        raise NotImplementedError

    def shown(self, ctx: Any, result: Any) -> list[str]:
        """The fields to show in the grid afterwards."""
        return []

    def output(self, result: Any) -> tuple[types.Object, dict[str, Any]] | None:
        """What the App shows when it is done, and its values; None: a sentence is enough."""
        return None

    def said(self, ctx: Any) -> tuple[fo.core.collections.SampleCollection, dict[str, Any]]:
        """The samples, and the settings: of a call from Python that waited, or out of the form."""
        return samples_of(ctx), ctx.params[CALL] if CALL in ctx.params else self.settings(ctx.params)

    def problem(self, ctx: Any) -> str | None:
        """What is wrong, in the words of the code that would refuse it."""
        from ..curation.errors import CurationError

        def attempt() -> None:
            samples, settings = self.said(ctx)
            next(self.steps()(samples, **settings))

        return refusal(attempt, CurationError)

    def resolve_input(self, ctx: Any) -> types.Property | None:
        return None if CALL in ctx.params else self.form(ctx)  # a call was checked when it was made

    def resolve_delegation(self, ctx: Any) -> bool | None:
        return None

    def execute(self, ctx: Any) -> Iterator[Any]:
        yield from notified(ctx, self._find(ctx))

    def _find(self, ctx: Any) -> Iterator[Any]:
        step = None
        samples, settings = self.said(ctx)
        for step in self.steps()(samples, **settings):
            share, label = step.done / max(step.total, 1), f"{step.done} of {step.total} samples"
            if ctx.delegated:
                ctx.set_progress(progress=share, label=label)
            else:
                yield ctx.trigger("set_progress", dict(progress=share, label=label))
        if ctx.delegated:
            return
        yield ctx.trigger("reload_dataset")
        if self.CHANGES:
            yield from seen_anew(ctx)
        if wanted := self.shown(ctx, step.result):
            yield ctx.ops.set_active_fields(list(dict.fromkeys([*(ctx.active_fields or []), *wanted])))
        if shown := self.output(step.result):
            outputs = types.Property(shown[0], view=types.View(label=self.LABEL))
            yield ctx.trigger("show_output", dict(outputs=outputs.to_json(), results=shown[1]))
        failed = getattr(step, "failed", 0)
        more = f"; {failed} samples failed: see the ledger's error field" if failed else ""
        yield ctx.ops.notify(self.summary(step.result) + more, variant="warning" if failed else "success")

    def __call__(
        self, sample_collection: fo.core.collections.SampleCollection, *, delegate: bool = False, progress: Any = None,
        **settings: Any,
    ) -> Any:  # fmt: skip
        """Run from Python: ``foo.get_operator("@concepts/sam3/…")(dataset, gt_field="ground_truth", exhaustive=True)``.

        Args:
            sample_collection: a dataset or view
            delegate: queue it for ``fiftyone delegated launch``
            progress: whether to show a progress bar
            **settings: of the function of :meth:`steps`, with its defaults

        Returns:
            what was found; if delegated, FiftyOne's execution result

        Raises:
            CurationError: as of the function, and before anything is queued
            ValueError: delegated, with ``key=None``, or with settings that cannot be stored
        """
        import fiftyone.core.utils as fou

        try:
            inspect.signature(self.steps()).bind(sample_collection, **settings)
        except TypeError as error:  # in the words of what was called
            raise TypeError(f"{self.NAME}: {error}") from None
        steps = self.steps()(sample_collection, **settings)
        step = next(steps)
        if delegate:
            if settings.get("key", "") is None:
                raise ValueError("Say key='...': of a delegated search there is nothing but what it stores")
            return queue(self.uri, sample_collection, settings)
        with fou.ProgressBar(total=step.total, progress=progress) as bar:
            for step in steps:
                bar.set_iteration(step.done)
        return step.result


def seen_anew(ctx: Any) -> Iterator[Any]:
    """Let the App show labels as they are now: an open sample goes on showing what it was opened with, so it is closed;
    and labels that may be gone do not stay selected.
    """
    yield ctx.ops.clear_selected_labels()
    yield ctx.ops.close_sample()
    yield ctx.ops.reload_samples()


def add_key(inputs: types.Object, default: str) -> types.Property:
    """The name under which a finding is kept."""
    return inputs.str(
        "key", default=default, required=True, label="Name", description="Fields with what is found begin with it"
    )


def kept(params: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Those of some params that were said."""
    return {name: params[name] for name in names if params.get(name) not in (None, "", [])}
