"""What several forms ask about ground truth: which field, and what it means that something is not labelled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import fiftyone as fo
from fiftyone.operators import types

_ABSENCE = {
    "exhaustive": "Everything is labelled: what is not labelled is absent",
    "some": "So for some concepts only",
    "field": "A field lists the concepts that people found absent",
}


def add_absence(inputs: types.Object, ctx: Any) -> dict[str, types.Property]:
    """The question what it means that a concept is not labelled; the properties that can be wrong."""
    absence = types.RadioGroup(orientation="vertical")
    for value, label in _ABSENCE.items():
        absence.add_choice(value, label=label)
    inputs.enum("absence", absence.values(), view=absence, required=True, label="What if a concept is not labelled?")
    wrong = {}
    if ctx.params.get("absence") == "some":
        wrong["exhaustive"] = add_words(inputs, "exhaustive", "Concepts all of whose instances are labelled")
    if ctx.params.get("absence") == "field":
        wrong["negatives_field"] = inputs.str(
            "negatives_field", required=True, label="Field of absent concepts", description="Lists of names"
        )
    return wrong


def absence_settings(params: Mapping[str, Any]) -> dict[str, Any]:
    """``exhaustive``, ``negatives_field`` and ``not_exhaustive_field``, out of the form or of a call from Python."""
    absence = params.get("absence")
    said = {"exhaustive": True, "some": params.get("exhaustive")}.get(absence)
    return dict(
        exhaustive=said,
        negatives_field=params.get("negatives_field") if absence == "field" else None,
        not_exhaustive_field=params.get("not_exhaustive_field"),
    )


def absence_params(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The other way round: what the form would have said, of the settings of a call from Python."""
    said = settings.get("exhaustive")
    absence = "exhaustive" if said is True else "some" if said else "field"
    return dict(settings, absence=absence)


def add_names(inputs: types.Object) -> types.Property:
    """Other names in the ground truth: ``cap = baseball cap``."""
    return add_words(
        inputs, "gt_labels", "Other names in the ground truth", required=False, description="cap = baseball cap"
    )


def names_of(said: Any) -> dict[str, Any] | None:
    """``["cap = baseball cap"]`` -> ``{"cap": ["baseball cap"]}``; a mapping stays as it is."""
    if not said:
        return None
    if isinstance(said, Mapping):
        return dict(said)
    names: dict[str, Any] = {}
    for line in said:
        concept, _, name = str(line).partition("=")
        names.setdefault(concept.strip(), []).append(name.strip() or concept.strip())
    return names


def label_fields(dataset: fo.Dataset, kinds: tuple[type, ...] = (fo.Detections,)) -> list[str]:
    """The fields of ``Detections``, or other ``kinds``; of videos, those of the frames."""
    video = dataset.media_type == fo.core.media.VIDEO
    schema = dataset.get_frame_field_schema() if video else dataset.get_field_schema()
    prefix = "frames." if video else ""
    held = ((name, getattr(field, "document_type", None)) for name, field in (schema or {}).items())
    return [prefix + name for name, kind in held if kind in kinds]


def guess(fields: list[str], *names: str) -> str | None:
    """The first of the fields that has one of the names."""
    bare = {field.removeprefix("frames."): field for field in fields}
    return next((bare[name] for name in names if name in bare), None)


def add_choice(
    inputs: types.Object, name: str, label: str, fields: list[str], default: str | None, **settings: Any
) -> types.Property:
    """One of some fields."""
    view = types.AutocompleteView()
    for field in fields:
        view.add_choice(field, label=field)
    settings.setdefault("required", True)
    return inputs.enum(name, fields, view=view, default=default, label=label, **settings)


def add_words(
    inputs: types.Object, name: str, label: str, required: bool = True, description: str = "Press Enter after each",
    choices: tuple[str, ...] = (), default: Any = None,
) -> types.Property:  # fmt: skip
    """A list of words; with ``choices``, the words that are offered."""
    view = types.AutocompleteView(multiple=True, allow_user_input=True)
    for choice in choices:
        view.add_choice(choice, label=choice)
    return inputs.list(
        name, types.String(), required=required, label=label, description=description, view=view, default=default
    )
