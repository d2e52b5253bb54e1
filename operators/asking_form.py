"""The part of a form that says how concepts are asked: a concept file, examples, tiles, conflicts."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import fiftyone as fo
from fiftyone.operators import types

#: settings of the model that the form, and a call from Python, may give
NAMES = ("box_prompt_field", "exemplars_alone", "exemplars_required", "exemplars_of", "tiles", "conflicts", "floor")

#: labels are short, because a slider leaves them little room
_SLIDERS = {
    "nms_thresh": ("Doubles", "1: never. Of two instances of one concept that overlap so much, one goes"),
    "cross_nms_thresh": ("Across", "The same of instances of different concepts"),
}
_PIXELS = {
    "fill_holes": "Fill holes of up to so many pixels", "min_component": "Drop pieces of fewer pixels",
    "min_area": "Drop instances of fewer pixels",
}  # fmt: skip


def add_concept_file(inputs: types.Object) -> types.Property:
    """The choice of a file in place of concepts."""
    return inputs.str(
        "concept_file", label="Concept file", description="A YAML file with concepts, in place of those above"
    )


def add_asking(inputs: types.Object, ctx: Any) -> None:
    """How concepts are asked, folded until it is wanted."""
    inputs.bool("how", default=False, label="More: examples, tiles, conflicts")
    if not ctx.params.get("how"):
        return
    own = ctx.params.get("label_field") or "sam3"
    fields = [name for name in _box_fields(ctx.dataset) if name != own]
    if fields:
        view = types.Dropdown()
        view.add_choice("", label="None")
        for name in fields:
            view.add_choice(name, label=name)
        inputs.enum(
            "box_prompt_field", view.values(), default="", view=view, label="Boxes that are examples",
            description="Of the concept that their label names, in their own image; sam_label=False: counter-examples",
        )  # fmt: skip
        if ctx.params.get("box_prompt_field"):
            inputs.bool("exemplars_alone", default=False, label="Without words where there are examples")
            inputs.bool("exemplars_required", default=False, label="Only where there are examples")
    inputs.int(
        "tile_size", default=0, min=0, label="Tiles, in pixels",
        description="Large images are looked at in parts, too, for small things; 0: as a whole only",
    )  # fmt: skip
    for name, (label, words) in _SLIDERS.items():
        view = types.SliderView()
        inputs.float(name, default=1.0, min=0.05, max=1.0, label=label, description=words, view=view)
    for name, label in _PIXELS.items():
        inputs.int(name, default=0, min=0, label=label)


def asking_settings(params: Mapping[str, Any]) -> dict[str, Any]:
    """The model's settings, out of the form or of a call from Python."""
    said = {name: params[name] for name in NAMES if params.get(name) not in (None, "", False)}
    if params.get("tile_size"):
        said["tiles"] = dict(tile_size=params["tile_size"])
    conflicts = {name: params[name] for name in _SLIDERS if params.get(name, 1.0) < 1.0}
    conflicts |= {name: params[name] for name in _PIXELS if params.get(name)}
    if conflicts:
        said["conflicts"] = conflicts
    return said


def check_settings(settings: Mapping[str, Any], others: Sequence[str] = ()) -> None:
    """Refuse settings of a call from Python that there are not.

    Args:
        settings: what was said
        others: arguments that the call has beside them

    Raises:
        TypeError: naming the first
    """
    for name in settings:
        if name not in NAMES:
            near = difflib.get_close_matches(name, [*NAMES, *others], n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join([*others, *NAMES])}"
            raise TypeError(f"There is no setting {name!r}; {hint}")


def _box_fields(dataset: fo.Dataset) -> list[str]:
    schema = dataset.get_field_schema()
    return [name for name, field in schema.items() if getattr(field, "document_type", None) is fo.Detections]
