"""What the samples say about labels under review, read without their masks: one sheet a sample."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import fiftyone as fo
from bson import ObjectId

from ..verified import AI, AI_BY, AI_PREFIX, AT, ATTRIBUTE, BY, log_field

if __package__ == "curation.review":
    from zoo.ledger import Ledger, label_of
else:
    from ...zoo.ledger import Ledger, label_of


@dataclass(frozen=True)
class Mark:
    """A label: its name, the verdict of a person (who, when), and that of an AI; None: there is none."""

    name: str | None
    verified: bool | None = None
    by: str | None = None
    at: datetime | None = None
    ai: bool | None = None
    ai_by: str | None = None


@dataclass(frozen=True)
class Sheet:
    """One sample.

    Attributes:
        labels: id → label, in the order in which they lie.
        verified: concept → whether it is there, as far as somebody said.
        exhaustive: concept → whether all its instances are labelled, likewise.
        log: every answer, oldest first, as the database holds it.
    """

    labels: Mapping[str, Mark]
    verified: Mapping[str, bool]
    exhaustive: Mapping[str, bool]
    log: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)

    def about(self, concept: str, label_id: str | None) -> list[Mapping[str, Any]]:
        """The entries of the log about a label; of a concept's exhaustivity, if that is None."""
        return [one for one in self.log if one.get("concept") == concept and one.get("label_id") == label_id]

    def ai_said(self, concept: str) -> bool | None:
        """What an AI last said of a concept's exhaustivity."""
        said = [one for one in self.about(concept, None) if is_ai(one["by"]) and one.get("verdict") is not None]
        return said[-1]["verdict"] if said else None

    def skipped(self, concept: str, label_id: str | None, reviewer: str) -> bool:
        """Whether a reviewer has left the question to others."""
        said = [one for one in self.about(concept, label_id) if one["by"] == reviewer]
        return bool(said) and said[-1].get("verdict") is None


def is_ai(reviewer: str) -> bool:
    """Whether a reviewer is no person."""
    return reviewer.casefold().startswith(AI_PREFIX)


def read_sheets(dataset: fo.Dataset, label_field: str, book: Ledger, ids: Iterable[str]) -> dict[str, Sheet]:
    """Sample id → what it says now; samples that are gone are left out.

    Args:
        dataset: of images.
        label_field: the labels under review.
        book: the ledger whose fields hold verdicts on concepts.
        ids: of samples.
    """
    part = f"{label_field}.detections"
    wanted = [f"{part}.{name}" for name in ("_id", "label", ATTRIBUTE, BY, AT, AI, AI_BY)]
    wanted += [book.verified, book.exhaustive, log_field(book.name)]
    found = dataset._sample_collection.find(
        {"_id": {"$in": [ObjectId(number) for number in ids]}}, dict.fromkeys(wanted, True)
    )
    return {str(one["_id"]): _sheet(one, label_field, book) for one in found}


def _sheet(document: Mapping[str, Any], label_field: str, book: Ledger) -> Sheet:
    held = (document.get(label_field) or {}).get("detections") or ()
    labels = {
        str(one["_id"]): Mark(*(one.get(name) for name in ("label", ATTRIBUTE, BY, AT, AI, AI_BY))) for one in held
    }
    verified, exhaustive = (_said(document.get(name)) for name in (book.verified, book.exhaustive))
    return Sheet(labels, verified, exhaustive, tuple(document.get(log_field(book.name)) or ()))


def _said(held: Mapping[str, Any] | None) -> dict[str, bool]:
    return {label_of(name): value for name, value in (held or {}).items() if isinstance(value, bool)}


@dataclass(frozen=True)
class Tally:
    """Of one sample what was answered, and no more: a sheet for when there are very many.

    Attributes:
        names: id → name of each label.
        verified, ai: ids of labels with the verdict of a person, of an AI.
        exhaustive, ai_exhaustive: concepts whose exhaustivity a person, an AI judged.
    """

    names: Mapping[str, str | None]
    verified: frozenset[str]
    ai: frozenset[str]
    exhaustive: frozenset[str]
    ai_exhaustive: frozenset[str]


#: with so many samples, naming them costs more than reading all
_MANY = 20_000


def read_tallies(dataset: fo.Dataset, label_field: str, book: Ledger, ids: Collection[str]) -> dict[str, Tally]:
    """Sample id → what was answered; arguments of :func:`read_sheets`."""
    part, log = {"$ifNull": [f"${label_field}.detections", []]}, {"$ifNull": [f"${log_field(book.name)}", []]}

    def with_verdict(name: str) -> dict[str, Any]:
        there = {"$filter": {"input": part, "cond": {"$ne": [{"$ifNull": [f"$$this.{name}", None]}, None]}}}
        return {"$map": {"input": there, "in": "$$this._id"}}

    columns = {
        "ids": {"$map": {"input": part, "in": "$$this._id"}},
        "names": {"$map": {"input": part, "in": {"$ifNull": ["$$this.label", None]}}},
        "verified": with_verdict(ATTRIBUTE), "ai": with_verdict(AI), "exhaustive": f"${book.exhaustive}",
        "log": {"$filter": {"input": log, "cond": {"$eq": ["$$this.task", "exhaustivity"]}}},
    }  # fmt: skip
    pipeline: list[dict[str, Any]] = [{"$project": columns}]
    if len(ids) < _MANY:
        pipeline.insert(0, {"$match": {"_id": {"$in": [ObjectId(number) for number in ids]}}})
    found = {}
    for one in dataset._sample_collection.aggregate(pipeline):
        names = dict(zip(map(str, one["ids"]), one["names"], strict=True))
        said = {e["concept"]: e.get("verdict") for e in one["log"] if is_ai(e["by"]) and e.get("verdict") is not None}
        found[str(one["_id"])] = Tally(
            names, frozenset(map(str, one["verified"])), frozenset(map(str, one["ai"])),
            frozenset(_said(one.get("exhaustive"))), frozenset(said),
        )  # fmt: skip
    return found
