"""FiftyOne's own annotation of a field of labels: masks are corrected in the App, in its Annotate tab.

The tab needs a label schema: which classes there are, and what can be changed about a label. Here one is made for the
labels under review, or the one that is there gets what it lacks; what somebody chose in it stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import fiftyone as fo
from fiftyone.core.annotation.validate_label_schemas import ValidationErrors

from .errors import CurationError
from .instances import check_field
from .named import answering_ledger, check_stills, name_concepts, verdict_ledger
from .verified import AI, AI_BY, AI_CONFIDENCE, AT, BY

if __package__ == "curation":
    from zoo.ledger import DEFAULT
    from zoo.provenance import ledger_of
else:
    from ..zoo.ledger import DEFAULT
    from ..zoo.provenance import ledger_of

#: numbers that a model wrote, each in [0, 1]
_MEASURED = ("confidence", "presence", "object_score", "quality", "stability", "score", "birth_score", AI_CONFIDENCE)
#: what else is not changed by hand
_KEPT = ("id", "phrase", "index", "instance", "mask_path", BY, AT, AI, AI_BY)
#: classes that radio buttons have room for, as FiftyOne decides it
_FEW = 5


@dataclass(frozen=True)
class Annotation:
    """What the Annotate tab knows of a field.

    Attributes:
        label_field: its name.
        classes: what a label can be called; empty: anything.
        attributes: what is shown of a label.
        added: of these classes and attributes, the ones that were not known before.
        new: whether there was no schema before.
    """

    label_field: str
    classes: tuple[str, ...]
    attributes: tuple[str, ...]
    added: tuple[str, ...]
    new: bool

    def __str__(self) -> str:
        what = "set up" if self.new else f"known already; {len(self.added)} additions" if self.added else "as it was"
        return f"{self.label_field!r} can be annotated in the App, {len(self.classes)} classes: {what}"


def setup_annotation(
    dataset: fo.Dataset, label_field: str = DEFAULT, concepts: Sequence[str] | None = None
) -> Annotation:
    """Let labels be drawn and corrected in the App's Annotate tab.

    Schemas of other fields are left alone. Of one that this field has, everything stays; classes and attributes that it
    lacks are added.

    Args:
        dataset: a dataset of images, or a view of one.
        label_field: ``Detections``.
        concepts: the classes. Default: all that are labelled, and all that were asked.

    Raises:
        CurationError: no such field, unknown concepts, a schema that FiftyOne refuses; nothing was changed.
    """
    dataset = dataset._root_dataset
    path, classes = check_annotation(dataset, label_field, concepts)
    before = dataset.label_schemas.get(path)
    try:
        generated = _settled(dataset.generate_label_schemas(path, scan_samples=False), classes)
        schema, added = (generated, []) if before is None else _merged(before, generated)
        if before is None or added:
            dataset.update_label_schema(path, schema)
        dataset.activate_label_schemas([path])
    except (ValueError, ValidationErrors) as error:
        told = "; ".join(str(one) for one in getattr(error, "exceptions", [error]))
        raise CurationError(f"FiftyOne cannot annotate {path!r}: {told}") from None
    shown = tuple(one["name"] for one in schema.get("attributes", ()))
    return Annotation(path, tuple(schema.get("classes", ())), shown, tuple(added), before is None)


def check_annotation(
    dataset: fo.Dataset, label_field: str = DEFAULT, concepts: Sequence[str] | None = None
) -> tuple[str, list[str]]:
    """The field, and the classes that it would have; arguments and errors of :func:`setup_annotation`."""
    check_stills(dataset)
    path = check_field(dataset, label_field, "label_field")
    own = ledger_of(dataset, path)
    source = answering_ledger(dataset, verdict_ledger(dataset, None, own), own)
    named = name_concepts(dataset, path, source, concepts, None)
    return path, list(dict.fromkeys(names[0] for names in named.names.values()))


def _settled(schema: dict[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    """A generated schema with the classes, and with what a model wrote as it is."""
    attributes = []
    for one in schema.get("attributes", ()):
        if one["name"] in _MEASURED and one["type"] == "float":
            one = {"name": one["name"], "type": "float", "component": "slider", "range": [0, 1], "read_only": True}
        elif one["name"] in _KEPT:
            one = {**one, "read_only": True}
        attributes.append(one)
    component = "radio" if len(classes) <= _FEW else "dropdown"
    return {**schema, "attributes": attributes, "classes": list(classes), "component": component}


def _merged(before: dict[str, Any], generated: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A schema that somebody may have changed, with what it lacks; and what that is."""
    schema = {**before, "attributes": list(before.get("attributes", ()))}
    known = {one["name"] for one in schema["attributes"]}
    new = [one for one in generated["attributes"] if one["name"] not in known]
    schema["attributes"] += new
    added = [one["name"] for one in new]
    if "classes" in before and "applied_ontology" not in before:  # else anything goes, or others decide
        lacking = [name for name in generated["classes"] if name not in before["classes"]]
        schema["classes"] = [*before["classes"], *lacking]
        if before.get("component") == "radio" and len(schema["classes"]) > _FEW:
            schema["component"] = "dropdown"
        added += lacking
    return schema, added
