"""The concept ledger: presence, best score and count of every concept ever asked of a sample or frame.

Absence is a fact here, not a missing field: a concept that was asked has a presence, found or not; one that
was not asked has none. Resume, filters, curation and metrics all rest on that difference. This module is the
only one that knows how the ledger's fields are called.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import fiftyone as fo
from fiftyone import ViewField as F
from fiftyone.core.odm import create_field

from .documents import document_of
from .engine.errors import ConceptError
from .engine.results import ConceptResult
from .labels import ATTRIBUTES, TRACKED_ATTRIBUTES

#: name of the ledger, and of the label field operators use, unless told otherwise
DEFAULT = "sam3"
#: concepts of a ledger that the schema knows: each is three fields, a slider and an index, of which MongoDB allows 64
MOST_DECLARED = 60

# What MongoDB or FiftyOne refuses in a field name, and a look-alike that both accept. People read these names
# in the App's sidebar, so "St. Bernard" must not become "St%2E Bernard".
_STAND_INS = {".": "․", "$": "＄", "_": "＿"}
_ORIGINALS = {stand_in: original for original, stand_in in _STAND_INS.items()}
# An invisible character: what follows it is meant as it is. Before a look-alike that was in the label itself, and
# before names that FiftyOne's documents need for themselves, such as "clean" and "id".
_AS_IT_IS = "\u2060"
_MARKS = {*_ORIGINALS, _AS_IT_IS}
_MARKED = re.compile(f"{_AS_IT_IS}(.)|[{''.join(_ORIGINALS)}]", re.DOTALL)
_TAKEN = {"id", "pk"} | {name for name in dir(fo.DynamicEmbeddedDocument()) if not name.startswith("_")}


def field_of(label: str) -> str:
    """The field name under which a concept's numbers are kept; :func:`label_of` reverses it.

    Letters of any script, digits, spaces and hyphens stay. Dots, dollar signs, and ``_`` in front, become their
    Unicode look-alikes.

    Raises:
        ConceptError: no database can hold the label

    >>> field_of("yellow school bus")
    'yellow school bus'
    >>> label_of(field_of("St. Bernard")) == "St. Bernard"
    True
    """
    if "\0" in label or any("\ud800" <= c <= "\udfff" for c in label):
        raise ConceptError(f"The concept {label!r} holds a character that no database can store: remove it")
    legal = "".join(_STAND_INS[c] if c in ".$" else _AS_IT_IS + c if c in _MARKS else c for c in label)
    if legal.startswith("_"):
        legal = _STAND_INS["_"] + legal[1:]
    return _AS_IT_IS + legal if legal in _TAKEN else legal


def label_of(field: str) -> str:
    """The concept whose numbers are kept under ``field``."""
    return _MARKED.sub(lambda match: match[1] or _ORIGINALS[match[0]], field)


@dataclass(frozen=True)
class Ledger:
    """Names of one ledger's fields.

    Args:
        name: of the ledger; its fields are ``<name>_presence`` and so on, its run is ``<name>``
        frames: whether it lies on the frames of videos
    """

    name: str = DEFAULT
    frames: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier() or self.name.startswith("_"):
            raise ConceptError(f"A ledger's name must be a plain word like 'sam3', got {self.name!r}")

    @property
    def presence(self) -> str:
        return f"{self.name}_presence"

    @property
    def score(self) -> str:
        return f"{self.name}_score"

    @property
    def count(self) -> str:
        return f"{self.name}_count"

    @property
    def error(self) -> str:
        return f"{self.name}_error"

    @property
    def verified(self) -> str:
        """What people said of a concept's presence, true or false; nothing that a model wrote."""
        return f"{self.name}_verified"

    @property
    def exhaustive(self) -> str:
        """What people said of a concept's instances: true if all of them are labelled, false if some are not."""
        return f"{self.name}_exhaustive"

    @property
    def calibrated(self) -> str:
        """Presence as a probability, by a calibration on known pairs."""
        return f"{self.name}_calibrated"

    @property
    def fields(self) -> tuple[str, str, str, str]:
        return self.presence, self.score, self.count, self.error

    def asked_fields(self, samples: fo.core.collections.SampleCollection) -> list[str]:
        """Those of the fields that say what was asked (:func:`answered`)."""
        return [name for name in (self.presence, self.count) if name in self.schema(samples)]

    def path(self, kind: str, label: str | None = None) -> str:
        """Path of a field from the sample: ``path("presence", "dog")`` -> ``"sam3_presence.dog"``.

        ``kind``: ``presence``, ``score``, ``count``, ``error``, ``verified``, ``exhaustive`` or ``calibrated``.
        """
        path = ("frames." if self.frames else "") + getattr(self, kind)
        return path if label is None else f"{path}.{field_of(label)}"

    def schema(self, samples: fo.core.collections.SampleCollection, flat: bool = False) -> dict[str, fo.Field]:
        """The fields where this ledger lies, of samples or of frames; names without the prefix of frames."""
        fields = samples.get_frame_field_schema if self.frames else samples.get_field_schema
        return fields(flat=flat) or {}


def presence_path(label: str, ledger: str = DEFAULT, frames: bool = False) -> str:
    """Path of a concept's presence, for views: ``dataset.match(F(presence_path("fire truck")) > 0.5)``."""
    return Ledger(ledger, frames).path("presence", label)


def check(dataset: fo.Dataset, ledger: Ledger, label_field: str | None = None) -> None:
    """Refuse fields that already hold something else, such as annotations made by hand.

    Raises:
        ConceptError: naming the field, what it holds, and the way out
    """
    schema = ledger.schema(dataset)
    for kind in ("presence", "score", "count"):
        field = schema.get(getattr(ledger, kind))
        if field is not None and getattr(field, "document_type", None) is not fo.DynamicEmbeddedDocument:
            raise ConceptError(
                f"Field {ledger.path(kind)!r} already holds {field}, so the ledger {ledger.name!r} cannot live "
                "there: choose another name with ledger=..."
            )
    field = schema.get(ledger.error)
    if field is not None and not isinstance(field, fo.StringField):
        raise ConceptError(f"Field {ledger.path('error')!r} already holds {field}: choose another ledger=...")
    if label_field is not None:
        bare = label_field.removeprefix("frames.")
        field = schema.get(bare)
        held = getattr(field, "document_type", None)
        if field is not None and held is not fo.Detections:
            what = held.__name__ if held is not None else type(field).__name__
            raise ConceptError(
                f"Label field {label_field!r} already holds {what}, not Detections: choose another field"
            )
        path = ("frames." if ledger.frames else "") + f"{bare}.detections"
        foreign = f"{bare}.detections.object_score" not in ledger.schema(dataset, flat=True)
        if field is not None and foreign and dataset.count(path):
            raise ConceptError(
                f"Label field {label_field!r} already holds Detections that this model did not make, and would "
                "replace: choose another field"
            )


def declare(
    dataset: fo.Dataset, ledger: Ledger, labels: Iterable[str], label_field: str | None = None, *,
    tracked: bool = False,
) -> None:
    """Declare the ledger's fields, so that the App's sidebar and indexes know them before the first result.

    Where that would make more than :data:`MOST_DECLARED` concepts, none of the new ones is declared: their numbers are
    kept all the same, and :func:`most_found.declare_most_found` chooses when the run is over.

    Args:
        dataset: the dataset
        ledger: the ledger
        labels: concepts that will be asked
        label_field: where instances will go, if known
        tracked: whether these will be masklets' instances
    """
    add = dataset.add_frame_field if ledger.frames else dataset.add_sample_field
    schema = ledger.schema(dataset, flat=True)
    names = list(dict.fromkeys(field_of(label) for label in labels))
    if not fits(schema, ledger.presence, names):
        names = []
    for field, kind in ((ledger.presence, fo.FloatField), (ledger.score, fo.FloatField), (ledger.count, fo.IntField)):
        new = [name for name in names if f"{field}.{name}" not in schema]
        if new or field not in schema:
            # all at once: FiftyOne rewrites the whole schema for each call
            numbers = [create_field(name, kind) for name in new]
            add(field, fo.EmbeddedDocumentField, embedded_doc_type=fo.DynamicEmbeddedDocument, fields=numbers)
    if ledger.error not in schema:
        add(ledger.error, fo.StringField)
    if label_field is not None:
        bare = label_field.removeprefix("frames.")
        if bare not in schema:
            add(bare, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
        attributes = {f"{bare}.detections.{name}": kind for name, kind in ATTRIBUTES.items()}
        if tracked:
            attributes |= {f"{bare}.detections.{name}": kind for name, kind in TRACKED_ATTRIBUTES.items()}
        attributes = {path: kind() for path, kind in attributes.items() if path not in schema}
        if attributes:
            add_all = dataset.add_dynamic_frame_fields if ledger.frames else dataset.add_dynamic_sample_fields
            add_all(fields=attributes)
        if tracked and f"{bare}.detections.instance" not in schema:
            add(f"{bare}.detections.instance", fo.EmbeddedDocumentField, embedded_doc_type=fo.Instance)


def fits(schema: Iterable[str], field: str, names: Iterable[str]) -> bool:
    """Whether the schema may know ``names`` too among the numbers of ``field``; ``schema``: its flat paths."""
    prefix = f"{field}."
    known = {path.removeprefix(prefix) for path in schema if path.startswith(prefix)}
    return len(known.union(names)) <= MOST_DECLARED


def declared(samples: fo.core.collections.SampleCollection, ledger: Ledger) -> list[str]:
    """The concepts that the schema knows; of a ledger that is not wide, all."""
    prefix = f"{ledger.presence}."
    paths = ledger.schema(samples, flat=True)
    return [label_of(path.removeprefix(prefix)) for path in paths if path.startswith(prefix)]


def write(target: Any, ledger: Ledger, results: Sequence[ConceptResult], before: Any | None = None) -> None:
    """Set the ledger's fields of one sample or frame; whoever holds it saves it.

    Args:
        target: sample or frame
        ledger: the ledger
        results: of the concepts asked; others keep what ``before`` says. A count may be ``None``: not looked for
        before: the same sample or frame as stored, or ``None`` if it has no ledger yet
    """
    for field, value in (
        (ledger.presence, lambda r: r.presence),
        (ledger.score, lambda r: r.object_score),
        (ledger.count, lambda r: r.count),
    ):
        numbers = dict(_numbers(before, field))
        new = {field_of(r.label): value(r) for r in results}
        if field == ledger.count:  # where instances were never looked for, there is none, rather than a null
            new = {name: number for name, number in new.items() if number is not None or name in numbers}
        numbers.update(new)
        target[field] = document_of(numbers)
    if before is not None and before.has_field(ledger.error) and before[ledger.error] is not None:
        # `target` does not show its error, so None alone would be no change to it, and stay unsaved
        target[ledger.error] = ""
        target[ledger.error] = None


def write_error(target: Any, ledger: Ledger, reason: str) -> None:
    """Record why a sample or frame failed; whoever holds it saves it."""
    target[ledger.error] = reason


def kept(before: Any, fields: Iterable[str], asked: Iterable[str]) -> list[fo.Detection]:
    """The instances a sample or frame holds of concepts that are not asked now.

    Args:
        before: the sample or frame as stored
        fields: where its instances may be; the first that holds an answer counts
        asked: labels whose instances will be replaced
    """
    asked = set(asked)
    for field in fields:
        held = before[field] if before.has_field(field) else None
        if held is not None:
            return [d for d in held.detections if d.label not in asked]
    return []


def recorded(document: Any | None, ledger: Ledger) -> set[str]:
    """Concepts that a sample or frame has a presence for."""
    return {label_of(name) for name, value in _numbers(document, ledger.presence) if value is not None}


def answered(document: Any | None, ledger: Ledger) -> set[str]:
    """Concepts whose instances were looked for in a sample or frame: it has a count of them. A model that draws regions
    asks for presence alone, and a tracker follows instances through frames in which it asks for no presence. Where no
    counts are kept at all, presence says it.
    """
    if document is None or not document.has_field(ledger.count):
        return recorded(document, ledger)
    return set(counts_of(document, ledger))


def counts_of(document: Any | None, ledger: Ledger) -> dict[str, int]:
    """Concept -> instances counted in a sample or frame, where they were."""
    return {label_of(name): value for name, value in _numbers(document, ledger.count) if value is not None}


def pending(
    samples: fo.core.collections.SampleCollection, labels: Iterable[str], ledger: Ledger = Ledger()
) -> fo.DatasetView:
    """The samples on which instances of at least one of ``labels`` have not been looked for yet.

    "Done, nothing found" is a count of 0, and is not pending, whether or not presence was asked (a tracker need not ask
    in every frame); a presence without a count is. On videos, a sample is pending while any of its frames is.
    """
    schema = ledger.schema(samples)
    fields = [f"{ledger.count}.{field_of(label)}" for label in labels]
    if not fields or ledger.presence not in schema or ledger.count not in schema:
        return samples.view() if fields else samples.limit(0)
    missing = F.any([F(f) == None for f in fields])  # noqa: E711 - an expression, not a comparison
    if not ledger.frames:
        return samples.match(missing)
    undone = F("frames").filter(missing).length() > 0
    seen = F("frames").length()
    return samples.match(undone | (seen < F("metadata.total_frame_count")) | (seen == 0))


def _numbers(document: Any | None, field: str) -> Iterable[tuple[str, Any]]:
    """Names and values of a ledger document, which may be absent in every way FiftyOne knows."""
    if document is None or not document.has_field(field):
        return ()
    held = document[field]
    if held is None:
        return ()
    with contextlib.suppress(AttributeError):
        return [(name, getattr(held, name)) for name in held.field_names]  # held[name] looks through all names
    return ()
