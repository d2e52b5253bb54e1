"""What an answer changes on its sample, as stages of an update; nothing is read or written here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson import ObjectId

from ..verified import AI, AI_BY, AI_CONFIDENCE, AT, ATTRIBUTE, BY, log_field
from .items import MASK, Item
from .sheets import Sheet, is_ai

if __package__ == "curation.review":
    from zoo.ledger import field_of
else:
    from ...zoo.ledger import field_of

#: what the database needs to know of an embedded document
_KIND = {"_cls": "DynamicEmbeddedDocument"}


@dataclass(frozen=True)
class Answered:
    """What an answer did.

    Attributes:
        item: the question.
        verdict: True, False, or None if it was skipped.
        by, at: who, and when (UTC).
        present: whether the concept is now verified as there (True), as absent (False), or neither (None).
        added: ids of labels that came with it.
    """

    item: Item
    verdict: bool | None
    by: str
    at: datetime
    present: bool | None
    added: tuple[str, ...] = ()


def changed(
    sheet: Sheet, item: Item, entry: dict[str, Any], added: list[dict[str, Any]] | None = None
) -> tuple[dict[str, Any], Answered]:
    """The update that a person's answer is, and what to tell of it.

    Args:
        sheet: the sample as it is.
        item: the question.
        entry: of the log, from :func:`entry_of`; gets what was there before.
        added: labels that come with it, as the database holds them.
    """
    verdict, labels, exhaustive = entry["verdict"], _verdicts(sheet, item), sheet.exhaustive.get(item.concept)
    base = base_of(sheet, item)
    if item.task == MASK:
        mark = sheet.labels[item.label_id]
        entry |= dict(was=mark.verified, was_by=mark.by, was_at=mark.at)
        labels[item.label_id] = verdict
    else:
        entry |= dict(was=exhaustive)
        exhaustive = verdict
    labels |= {str(label["_id"]): True for label in added or ()}
    present = presence(base, labels.values(), exhaustive)
    entry |= dict(base=base)
    entry |= {"added": [str(label["_id"]) for label in added]} if added else {}
    update = {**_facts(item, exhaustive, present), **logged(item, entry)}
    if item.task == MASK:
        update |= _labels(item, {ATTRIBUTE: verdict, BY: entry["by"], AT: entry["at"]})
    elif added:
        part = f"{item.field}.detections"
        update |= {part: {"$concatArrays": [{"$ifNull": [f"${part}", []]}, [{"$literal": one} for one in added]]}}
        update |= {f"{item.field}._cls": "Detections"}
    done = Answered(item, verdict, entry["by"], entry["at"], present, tuple(entry.get("added", ())))
    return update, done


def presence(base: bool | None, labels: Iterable[bool | None], exhaustive: bool | None) -> bool | None:
    """What verdicts say of a concept's presence.

    Args:
        base: what somebody said of the image as a whole, before any of them.
        labels: the verdict on each of its labels.
        exhaustive: the verdict on whether all its instances are labelled.

    >>> presence(None, [True, False], None)
    True
    >>> presence(None, [False], None), presence(None, [False], True), presence(None, [None], True)
    (None, False, None)
    """
    labels = list(labels)
    if any(labels):
        return True
    if exhaustive and all(verdict is False for verdict in labels):
        return False
    return base


def base_of(sheet: Sheet, item: Item) -> bool | None:
    """What somebody said of the concept's presence beside the verdicts of the review.

    Each entry of the log keeps it. What is there now, and does not follow from it and the verdicts, was said since.
    """
    bases = [entry["base"] for entry in sheet.log if entry.get("concept") == item.concept and "base" in entry]
    base, current = bases[-1] if bases else None, sheet.verified.get(item.concept)
    follows = presence(base, _verdicts(sheet, item).values(), sheet.exhaustive.get(item.concept))
    return base if current == follows else current


def restored(sheet: Sheet, item: Item, entry: Mapping[str, Any]) -> tuple[dict[str, Any], Answered]:
    """The update that takes an answer back."""
    added, done = set(entry.get("added") or ()), entry.get("verdict")
    update = {log_field(item.ledger): {
        "$filter": {"input": f"${log_field(item.ledger)}", "cond": {"$ne": ["$$this.id", entry["id"]]}}
    }}  # fmt: skip
    present = sheet.verified.get(item.concept)
    if done is not None and is_ai(entry["by"]):
        before = [one for one in sheet.about(item.concept, item.label_id) if is_ai(one["by"]) and one != entry]
        last = before[-1] if before else {}
        if item.task == MASK:
            told = {AI: last.get("verdict"), AI_BY: last.get("by"), AI_CONFIDENCE: last.get("confidence")}
            update |= _labels(item, told)
    elif done is not None:
        marks = {number: sheet.labels[number] for number in added if number in sheet.labels}
        gone = {number for number, mark in marks.items() if (mark.verified, mark.by) == (True, entry["by"])}
        labels, exhaustive = _verdicts(sheet, item), sheet.exhaustive.get(item.concept)
        labels = {number: verdict for number, verdict in labels.items() if number not in gone}
        if item.task == MASK:
            labels[item.label_id] = entry.get("was")
            update |= _labels(item, {ATTRIBUTE: entry.get("was"), BY: entry.get("was_by"), AT: entry.get("was_at")})
        else:
            exhaustive = entry.get("was")
        part = f"{item.field}.detections"
        if gone:
            keep = {"$not": [{"$in": ["$$this._id", [ObjectId(number) for number in sorted(gone)]]}]}
            update |= {part: {"$filter": {"input": f"${part}", "cond": keep}}}
        present = presence(base_of(sheet, item), labels.values(), exhaustive)
        update |= _facts(item, exhaustive, present)
    taken = Answered(item, done, entry["by"], entry["at"], present, tuple(sorted(added)))
    return update, taken


def _verdicts(sheet: Sheet, item: Item) -> dict[str, bool | None]:
    """Id → verdict, of the labels of the item's concept."""
    return {number: mark.verified for number, mark in sheet.labels.items() if item.means(mark.name)}


def _facts(item: Item, exhaustive: bool | None, present: bool | None) -> dict[str, Any]:
    """What the ledger says of the concept; a stage of an update."""
    book, name, stage = item.book, field_of(item.concept), {}
    for root, value in ((book.verified, present), (book.exhaustive, exhaustive)):
        stage |= {f"{root}.{name}": value, f"{root}._cls": _KIND["_cls"]}
    return stage


def _labels(item: Item, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of the item's label; a stage of an update."""
    part = f"{item.field}.detections"
    attributes = {name: {"$literal": value} for name, value in attributes.items()}
    new = {"$mergeObjects": ["$$this", attributes]}
    this = {"$cond": [{"$eq": ["$$this._id", ObjectId(item.label_id)]}, new, "$$this"]}
    return {part: {"$map": {"input": f"${part}", "in": this}}}


def ai_stage(item: Item, verdict: bool, who: str, confidence: float | None) -> dict[str, Any]:
    """What an AI said of the item's label; a stage of an update. Of exhaustivity, the log has it."""
    return _labels(item, {AI: verdict, AI_BY: who, AI_CONFIDENCE: confidence}) if item.task == MASK else {}


def logged(item: Item, entry: Mapping[str, Any]) -> dict[str, Any]:
    """One more entry of the log; a stage of an update."""
    log = log_field(item.ledger)
    return {log: {"$concatArrays": [{"$ifNull": [f"${log}", []]}, [{"$literal": {**_KIND, **entry}}]]}}


def entry_of(
    item: Item, verdict: bool | None, who: str, at: datetime, note: str | None, confidence: float | None
) -> dict[str, Any]:
    """An entry of the log."""
    more = {name: value for name, value in (("note", note), ("confidence", confidence)) if value is not None}
    said = dict(task=item.task, concept=item.concept, label_id=item.label_id, verdict=verdict, by=who, at=at)
    return {"id": str(ObjectId()), **said, **more}
