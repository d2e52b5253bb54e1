"""The part of a form that asks for prompts: fields in which people marked boxes and points."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
from fiftyone.operators import types

_MODES = {
    "concept": "A box is an example of its label: find all that is like it (sam_label=False: what is not)",
    "visual": "A box is the object itself: follow it",
}
_DIRECTIONS = {"both": "To both sides", "forward": "Onward only", "backward": "Backward only"}
#: what a call from Python and the form both may say
NAMES = (
    "prompt_field", "box_prompt_field", "point_prompt_field", "operation_mode", "propagation_direction",
    "prompt_frame_indices",
)


def add_prompts(inputs: types.Object, ctx: Any, *, sequences: bool) -> None:
    """The choice of a field with prompts, and what they mean; left out where there is no such field."""
    fields = marked_fields(ctx.dataset, sequences=sequences)
    own = ctx.params.get("label_field") or "sam3"
    fields = [name for name in fields if name.removeprefix("frames.") != own]
    if not fields:
        return
    choice = types.Dropdown()
    choice.add_choice("", label="None")
    for name in fields:
        choice.add_choice(name, label=name)
    inputs.enum(
        "prompt_field", choice.values(), default="", view=choice, label="Boxes and points that you marked",
        description="Examples of a concept, or single objects to follow; their labels join the concepts",
    )
    if not ctx.params.get("prompt_field"):
        return
    for name, choices, label in (
        ("operation_mode", _MODES, "Boxes"), ("propagation_direction", _DIRECTIONS, "Follow what is marked"),
    ):
        view = types.RadioGroup()
        for value, words in choices.items():
            view.add_choice(value, label=words)
        inputs.enum(name, view.values(), default=next(iter(choices)), view=view, label=label)


def marked_fields(dataset: fo.Dataset, *, sequences: bool) -> list[str]:
    """The fields that may hold prompts, as users name them."""
    schema = (dataset.get_field_schema() if sequences else dataset.get_frame_field_schema()) or {}
    prefix = "" if sequences else "frames."
    kinds = (fo.Detections, fo.Keypoints)
    return [prefix + name for name, field in schema.items() if getattr(field, "document_type", None) in kinds]


def prompt_settings(params: dict[str, Any]) -> dict[str, Any]:
    """The model's settings out of the form's."""
    return {name: params[name] for name in NAMES if params.get(name)}
