"""Which labels a reviewer accepted or rejected: an attribute on the label itself, so that views and the App know it.

True: the mask is right for its concept. False: it is not. Nobody looked yet: none. Rejected labels stay where they are,
so that a verdict can be taken back; what learns from labels, or hands them over, leaves them out.

Beside it lies who said so, and when. What an AI verifier says has attributes of its own: it decides which labels people
need not look at, and never counts as a person's word.
"""

from __future__ import annotations

from collections.abc import Iterable

import fiftyone as fo
from fiftyone import ViewField as F

from . import records
from .errors import CurationError

if __package__ == "curation":
    from zoo.ledger import Ledger, field_of, fits
else:
    from ..zoo.ledger import Ledger, field_of, fits

#: name of the attribute
ATTRIBUTE = "verified"
#: who gave the verdict, and when (UTC)
BY, AT = "verified_by", "verified_at"
#: what an AI verifier said, which one, and how sure it was
AI, AI_BY, AI_CONFIDENCE = "ai_verified", "ai_verified_by", "ai_confidence"
#: reviewers whose name begins so are no people
AI_PREFIX = "ai:"

_ON_LABELS = {
    ATTRIBUTE: fo.BooleanField, BY: fo.StringField, AT: fo.DateTimeField, AI: fo.BooleanField, AI_BY: fo.StringField,
    AI_CONFIDENCE: fo.FloatField,
}  # fmt: skip
#: of one entry of the log
_IN_LOG = {
    "task": fo.StringField, "concept": fo.StringField, "label_id": fo.StringField, "verdict": fo.BooleanField,
    "by": fo.StringField, "at": fo.DateTimeField, "note": fo.StringField, "confidence": fo.FloatField,
}  # fmt: skip


def verified_path(samples: fo.core.collections.SampleCollection, label_field: str) -> str:
    """Where the verdicts on the labels of a field are, such as ``"sam3.detections.verified"``."""
    _, path = samples._get_label_field_path(label_field, ATTRIBUTE)
    return path


def without_rejected(samples: fo.core.collections.SampleCollection, label_field: str) -> fo.DatasetView:
    """The samples, all of them, without those labels of a field that a reviewer rejected."""
    if not samples.has_field(verified_path(samples, label_field)):
        return samples.view()  # nobody said anything of these
    return samples.filter_labels(label_field, F(ATTRIBUTE) != False, only_matches=False)  # noqa: E712 - an expression


def log_field(ledger: str) -> str:
    """The field of the samples that lists every answer: who said what of which label or concept, and when."""
    return f"{ledger}_review"


def reviewed_field(dataset: fo.Dataset, book: Ledger) -> str | None:
    """The labels that verdicts on exhaustivity are about; None: nobody said, and they count for any."""
    field = dataset.get_field_schema().get(book.exhaustive)
    return None if field is None else (field.info or {}).get("label_field")


def check_reviewed(dataset: fo.Dataset, book: Ledger, label_field: str) -> None:
    """Refuse a field of labels where the verdicts of a ledger are about another one's.

    Raises:
        CurationError: names both, and the way out.
    """
    schema = dataset.get_field_schema()
    other = reviewed_field(dataset, book)
    if other not in (None, label_field) and other in schema:
        raise CurationError(
            f"{book.exhaustive!r} says of {other!r} which concepts are labelled exhaustively: to review "
            f"{label_field!r} as well, say another ledger=…"
        )
    for name in (book.verified, book.exhaustive):
        if name in schema and getattr(schema[name], "document_type", None) is not fo.DynamicEmbeddedDocument:
            raise CurationError(f"{name!r} already holds {schema[name]}, and no verdicts: say another ledger=…")
    log = log_field(book.name)
    if log in schema and f"{log}.verdict" not in dataset.get_field_schema(flat=True):
        raise CurationError(f"{log!r} already holds {schema[log]}, and no log of answers: say another ledger=…")


def declare_verdicts(dataset: fo.Dataset, book: Ledger, label_field: str, concepts: Iterable[str]) -> None:
    """Declare all that answers write, so that the App can filter by it, and that no answer need change the schema: two
    processes that do so at once can lose one of the changes.
    """
    if log_field(book.name) not in dataset.get_field_schema():
        dataset.reload()  # another process may have
    if not dataset.has_sample_field(label_field):
        raise CurationError(
            f"{dataset.name!r} has no field {label_field!r} any more, whose labels these answers are about: if it was "
            "renamed, build the review of the new one"
        )
    records.declare(dataset, {f"{label_field}.detections.{name}": kind for name, kind in _ON_LABELS.items()})
    schema = dataset.get_field_schema(flat=True)
    names = list(dict.fromkeys(field_of(concept) for concept in concepts))
    for root in (book.verified, book.exhaustive):
        new = [name for name in names if f"{root}.{name}" not in schema]
        if not fits(schema, root, names):  # as the ledger: of very many concepts, the sidebar shows none
            new = []
        if new or root not in schema:
            fields = [fo.core.odm.create_field(name, fo.BooleanField) for name in new]
            dataset.add_sample_field(
                root, fo.EmbeddedDocumentField, embedded_doc_type=fo.DynamicEmbeddedDocument, fields=fields
            )
    log = log_field(book.name)
    if log not in schema:
        fields = [fo.core.odm.create_field(name, kind) for name, kind in _IN_LOG.items()]
        dataset.add_sample_field(
            log, fo.ListField, subfield=fo.EmbeddedDocumentField, embedded_doc_type=fo.DynamicEmbeddedDocument,
            fields=fields,
        )  # fmt: skip
    field = dataset.get_field(book.exhaustive)
    if (field.info or {}).get("label_field") != label_field:
        field.info = {**(field.info or {}), "label_field": label_field}
        field.save()
