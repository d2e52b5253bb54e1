"""``@concepts/sam3/render_overlay``: the operator behind "Render overlay" in the App."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from .form import samples_of

_MP4, _IMAGES = "mp4", "images"
#: parameters that are ``OverlayStyle``'s
_STYLE = ("alpha", "softness", "outline", "labels", "presence", "min_confidence", "text_size", "font")
#: parameters that are ``render_view``'s, where there is nothing to translate
_RENDER = ("first", "last", "frame_rate", "crf", "ledger")


class RenderOverlay(foo.Operator):
    """Draws what is stored on videos, image sequences and images, as files for a slide or a review.

    1. The form asks for a field of instances, a folder, and how the overlay should look.
    2. The run goes through ``curation.render``, as a generator in the App, or delegated.
    3. At the end it says where the files are, and which media could not be drawn.
    """

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="render_overlay",
            label="SAM 3: render overlay",
            description="An H.264 video, or images, with soft masks, ids and presence, from stored fields only",
            dynamic=True,
            execute_as_generator=True,
            allow_immediate_execution=True,
            allow_delegated_execution=True,
            risk_level=types.RiskLevel.MEDIUM,
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        from ..curation.footage import detections_fields
        from ..curation.render import FRAME_RATE
        from ..zoo.ledger import DEFAULT

        inputs = types.Object()
        inputs.view_target(ctx, action_description="Draw")
        there = detections_fields(samples_of(ctx))
        choices = types.Dropdown()
        for name in there:
            choices.add_choice(name, label=name)
        field = inputs.enum(
            "label_field",
            choices.values(),
            required=True,
            default=DEFAULT if DEFAULT in there else next(iter(there), None),
            label="Label field",
            description="The instances to draw; on videos, a field of the frames",
            view=choices,
        )
        formats = types.RadioGroup(orientation="horizontal")
        formats.add_choice(_MP4, label="H.264 video")
        formats.add_choice(_IMAGES, label="Images")
        inputs.enum("format", formats.values(), default=_MP4, label="Format", view=formats)
        inputs.str(
            "output_dir",
            required=True,
            default=os.path.join("~", "overlays", ctx.dataset.name),
            label="Output folder",
            description="On the machine that runs the operator; one file, or folder of images, for each video",
        )
        slider = types.SliderView()
        inputs.float("alpha", default=0.5, min=0.0, max=1.0, label="Opacity", view=slider)
        inputs.float("min_confidence", default=0.0, min=0.0, max=1.0, label="Confidence", view=slider)
        inputs.bool("labels", default=True, label="Names and ids")
        inputs.bool("presence", default=True, label="Presence strip")
        inputs.bool("overwrite", default=False, label="Overwrite what an earlier run wrote")
        inputs.bool("more", default=False, label="More options")
        if ctx.params.get("more"):
            words = types.AutocompleteView(multiple=True, allow_user_input=True)
            inputs.list("only", types.String(), label="Only these labels", view=words)
            inputs.float("softness", default=2.0, min=0.0, label="Softness of edges, in pixels")
            inputs.float("outline", default=2.0, min=0.0, label="Width of outlines, in pixels")
            inputs.int("first", min=1, label="First frame")
            inputs.int("last", min=1, label="Last frame")
            inputs.float("frame_rate", default=FRAME_RATE, label="Frames a second, of image sequences")
            inputs.int("crf", default=20, min=0, max=51, label="Quality: 18 is high, 28 is small")
        problem = self._problem(ctx, field.default)
        if problem:
            field.invalid, field.error_message = True, problem
            inputs.view("problem", types.Error(label=problem))
        return types.Property(inputs, view=types.View(label="Render overlays"))

    def resolve_delegation(self, ctx: Any) -> bool | None:
        return None

    def execute(self, ctx: Any) -> Iterator[Any]:
        try:
            yield from self._render(ctx)
        except Exception as error:
            if not ctx.delegated:  # the App closes the form without a word, so the word comes first
                yield ctx.ops.notify(str(error), variant="error")
            raise

    def _render(self, ctx: Any) -> Iterator[Any]:
        from ..curation.errors import RenderError
        from ..curation.render import render_view

        last = None
        for last in render_view(samples_of(ctx), **_settings(ctx.params)):
            label = f"{last.done} of {last.total} done, {last.frames} frames" + _failures(last.failed)
            if ctx.delegated:
                ctx.set_progress(progress=last.share, label=label)
            else:
                yield ctx.trigger("set_progress", dict(progress=last.share, label=label))
        if not last.written:
            raise RenderError(f"Nothing could be drawn{_failures(last.failed)}")
        if not ctx.delegated:
            message = f"{len(last.written)} of {last.total} written to {last.written[0].parent}"
            variant = "warning" if last.failed else "success"
            yield ctx.ops.notify(message + _failures(last.failed), variant=variant)

    def __call__(
        self,
        sample_collection: fo.core.collections.SampleCollection,
        output_dir: str | os.PathLike[str],
        *,
        label_field: str = "sam3",
        format: str = _MP4,
        only: Iterable[str] | None = None,
        overwrite: bool = False,
        delegate: bool = False,
        **options: Any,
    ) -> Any:
        """Run from Python: ``foo.get_operator("@concepts/sam3/render_overlay")(dataset, "overlays")``.

        Args:
            sample_collection: a dataset or view of videos or images, or ordered groups of images
            output_dir: where the files go
            label_field: ``Detections``, on videos those of the frames
            format: ``"mp4"`` or ``"images"``
            only: labels to draw; all if left out
            overwrite: replace what an earlier run wrote
            delegate: queue it for ``fiftyone delegated launch``
            **options: ``ledger``, ``first``, ``last``, ``frame_rate`` and ``crf`` of ``curation.render.render_view``,
                and those of ``curation.style.OverlayStyle``

        Returns:
            FiftyOne's execution result; in a running event loop, a task of it
        """
        unknown = sorted(set(options) - {*_STYLE, *_RENDER})
        if unknown:
            raise TypeError(f"Unknown options {unknown}: choose from {sorted({*_STYLE, *_RENDER})}")
        is_view = isinstance(sample_collection, fo.DatasetView)
        params = dict(
            options,
            output_dir=os.path.abspath(os.path.expanduser(output_dir)),  # a delegated run may be in another folder
            label_field=label_field,
            format=format,
            only=None if only is None else list(only),
            overwrite=overwrite,
            view_target="CURRENT_VIEW" if is_view else "DATASET",
        )
        ctx = dict(view=sample_collection) if is_view else dict(dataset=sample_collection)
        return foo.execute_operator(self.uri, ctx, params=params, request_delegation=delegate)

    @staticmethod
    def _problem(ctx: Any, default: str | None) -> str | None:
        """What would stop the run, in the words of the code that would refuse it."""
        from ..curation.render import check_view

        try:
            field = ctx.params.get("label_field") or default or "sam3"
            check_view(samples_of(ctx), field, as_images=_as_images(ctx.params))
        except ValueError as error:
            return str(error)
        return None


def _as_images(params: dict[str, Any]) -> bool:
    chosen = params.get("format") or _MP4
    if chosen not in (_MP4, _IMAGES):
        raise ValueError(f"format must be {_MP4!r} or {_IMAGES!r}, got {chosen!r}")
    return chosen == _IMAGES


def _settings(params: dict[str, Any]) -> dict[str, Any]:
    """``render_view``'s arguments out of the form's; what was left empty keeps its default."""
    from ..curation.style import OverlayStyle

    if not params.get("output_dir"):
        raise ValueError("Name a folder for the output")
    style = {name: params[name] for name in _STYLE if params.get(name) is not None}
    only = params.get("only")
    return dict(
        {name: params[name] for name in _RENDER if params.get(name) is not None},
        output_dir=params["output_dir"],
        label_field=params.get("label_field") or "sam3",
        style=OverlayStyle(only=tuple(only) if only else None, **style),
        as_images=_as_images(params),
        overwrite=bool(params.get("overwrite")),
    )


def _failures(failed: Iterable[tuple[str, str]], most: int = 3) -> str:
    """Reasons of the first failures, for the end of a message."""
    reasons = [reason for _, reason in failed]
    if not reasons:
        return ""
    return f"; {len(reasons)} failed: " + "; ".join(reasons[:most]) + ("; …" if len(reasons) > most else "")
