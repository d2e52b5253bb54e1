"""Answers of reviewers become facts on the sample, and can be taken back; of two at once, none is lost.

Every answer is one atomic update of one document, that finds it only as it was read: compare and set. Whoever comes
second reads again, and is told what the first one said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import fiftyone as fo
from bson import ObjectId

from ..errors import CurationError
from ..verified import AI, AI_BY, AI_CONFIDENCE, AI_PREFIX, AT, ATTRIBUTE, BY, declare_verdicts, log_field
from .items import EXHAUSTIVITY, MASK, Item
from .leases import release
from .sheets import Sheet, is_ai, read_sheets

if __package__ == "curation.review":
    from zoo.ledger import field_of
else:
    from ...zoo.ledger import field_of

#: how often others may come first before something must be wrong
_TRIES = 100
#: what the database needs to know of an embedded document
_KIND = {"_cls": "DynamicEmbeddedDocument"}


class AnswerConflict(CurationError):
    """Somebody else has answered. Nothing was written.

    Attributes:
        said: what.
        by: who.
        at: when (UTC), if that is known.
    """

    def __init__(self, message: str, said: bool | None, by: str | None, at: datetime | None) -> None:
        super().__init__(message)
        self.said, self.by, self.at = said, by, at


class ItemGone(CurationError):
    """What was asked about is not there any more. Nothing was written; the queue goes on."""


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


def answer(
    dataset: fo.Dataset, item: Item, verdict: bool | None, *, reviewer: str, note: str | None = None,
    confidence: float | None = None, overrule: bool = False,
) -> Answered:  # fmt: skip
    """Answer a question of a review.

    A mask's verdict goes to the label's ``verified``; with the first one that is accepted, its concept is verified as
    present (``<ledger>_verified``). A verdict on exhaustivity goes to ``<ledger>_exhaustive``; where all instances are
    marked and no label of the concept is left that was not rejected, the concept is verified as absent. Who said what,
    and when, goes to the label (``verified_by``, ``verified_at``) and to the sample's log, ``<ledger>_review``.

    What an AI says (its name begins with "ai:") is kept apart: in ``ai_verified`` of labels, and in the log. It counts
    as no person's word.

    Args:
        dataset: the dataset of the review.
        item: the question.
        verdict: True, False, or None: somebody else should say.
        reviewer: who answers.
        note: a remark, for the log.
        confidence: how sure, in [0, 1].
        overrule: answer although another person has; their answer stays in the log.

    Raises:
        AnswerConflict: another person has answered, or an AI would overrule somebody; says who, what and when.
        ItemGone: the sample or label was deleted, or is called otherwise.
        CurationError: a verdict or reviewer of another kind than is wanted.
    """
    dataset = dataset._root_dataset
    who = check_reviewer(reviewer)
    if verdict is not None and not isinstance(verdict, bool):
        raise CurationError(f"verdict={verdict!r} must be True, False, or None to skip")
    if confidence is not None and (isinstance(confidence, bool) or not 0 <= confidence <= 1):
        raise CurationError(f"confidence={confidence!r} must be a number in [0, 1]")
    declare_verdicts(dataset, item.book, item.field, [item.concept])
    at = now()

    def decide(sheet: Sheet) -> tuple[dict[str, Any], Answered]:
        check_there(sheet, item)
        if not (overrule and not is_ai(who)):
            _check_free(sheet, item, who)
        entry = _entry(item, verdict, who, at, note, confidence)
        if verdict is None or is_ai(who):
            stage = {} if verdict is None else _ai_stage(item, verdict, who, confidence)
            return {**stage, **_logged(item, entry)}, Answered(item, verdict, who, at, sheet.verified.get(item.concept))
        return changed(sheet, item, entry)

    done = settle(dataset, item, decide)
    release(dataset, [item], who)
    return done


def take_back(dataset: fo.Dataset, item: Item, *, reviewer: str) -> Answered:
    """Take back a reviewer's last answer to a question: everything is as it was before, labels that came with it are
    gone, unless somebody gave a verdict on them since.

    Args:
        dataset: the dataset of the review.
        item: the question.
        reviewer: whose answer.

    Returns:
        what was taken back.

    Raises:
        CurationError: there is no such answer.
        AnswerConflict: another one came after it.
        ItemGone: the sample or label was deleted.
    """
    dataset, who = dataset._root_dataset, check_reviewer(reviewer)

    def decide(sheet: Sheet) -> tuple[dict[str, Any], Answered]:
        if item.task == MASK and item.label_id not in sheet.labels:
            raise _gone(item)
        said = sheet.about(item.concept, item.label_id)
        mine = [entry for entry in said if entry["by"] == who]
        if not mine:
            raise CurationError(f"{who} has not answered this: there is nothing to take back")
        entry = mine[-1]
        if not is_ai(who) and entry.get("verdict") is not None:
            _check_last(sheet, item, entry)
        return _restored(sheet, item, entry)

    return settle(dataset, item, decide)


def last_answer(dataset: fo.Dataset, items: tuple[Item, ...] | list[Item], reviewer: str) -> Item | None:
    """The question of a review that a reviewer answered last, or None."""
    if not items:
        return None
    log, by_key = log_field(items[0].ledger), {(i.sample_id, i.concept, i.label_id): i for i in items}
    pipeline = [
        {"$match": {f"{log}.by": reviewer}}, {"$project": {log: True}}, {"$unwind": f"${log}"},
        {"$match": {f"{log}.by": reviewer}}, {"$sort": {f"{log}.at": -1, "_id": 1}},
    ]  # fmt: skip
    for one in dataset._root_dataset._sample_collection.aggregate(pipeline, allowDiskUse=True):
        entry = one[log]
        item = by_key.get((str(one["_id"]), entry["concept"], entry.get("label_id")))
        if item is not None:
            return item
    return None


# ---------------------------------------------------------------- what an answer changes


def changed(
    sheet: Sheet, item: Item, entry: dict[str, Any], added: list[dict[str, Any]] | None = None
) -> tuple[dict[str, Any], Answered]:
    """The update that a person's answer is, and what to tell of it.

    Args:
        sheet: the sample as it is.
        item: the question.
        entry: of the log, from :func:`_entry`; gets what was there before.
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
    update = {**_facts(item, exhaustive, present), **_logged(item, entry)}
    if item.task == MASK:
        update |= _labels(item, {ATTRIBUTE: verdict, BY: entry["by"], AT: entry["at"]})
    elif added:
        part = f"{item.field}.detections"
        update |= {part: {"$concatArrays": [{"$ifNull": [f"${part}", []]}, [{"$literal": one} for one in added]]}}
        update |= {f"{item.field}._cls": "Detections"}
    done = Answered(item, verdict, entry["by"], entry["at"], present, tuple(entry.get("added", ())))
    return update, done


def presence(base: bool | None, labels: Any, exhaustive: bool | None) -> bool | None:
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


def _restored(sheet: Sheet, item: Item, entry: Mapping[str, Any]) -> tuple[dict[str, Any], Answered]:
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


def _ai_stage(item: Item, verdict: bool, who: str, confidence: float | None) -> dict[str, Any]:
    return _labels(item, {AI: verdict, AI_BY: who, AI_CONFIDENCE: confidence}) if item.task == MASK else {}


def _logged(item: Item, entry: Mapping[str, Any]) -> dict[str, Any]:
    """One more entry of the log; a stage of an update."""
    log = log_field(item.ledger)
    return {log: {"$concatArrays": [{"$ifNull": [f"${log}", []]}, [{"$literal": {**_KIND, **entry}}]]}}


def _entry(
    item: Item, verdict: bool | None, who: str, at: datetime, note: str | None, confidence: float | None
) -> dict[str, Any]:
    more = {name: value for name, value in (("note", note), ("confidence", confidence)) if value is not None}
    said = dict(task=item.task, concept=item.concept, label_id=item.label_id, verdict=verdict, by=who, at=at)
    return {"id": str(ObjectId()), **said, **more}


# ---------------------------------------------------------------- compare and set


def settle(
    dataset: fo.Dataset, item: Item, decide: Callable[[Sheet], tuple[dict[str, Any], Answered]]
) -> Answered:
    """Read a sample, decide, and write, unless somebody wrote in between; then again.

    Args:
        dataset: the dataset.
        item: the question.
        decide: gives the stage of an update, and what to tell.
    """
    number = ObjectId(item.sample_id)
    collection = dataset._sample_collection
    for _ in range(_TRIES):
        sheet = read_sheets(dataset, item.field, item.book, [item.sample_id]).get(item.sample_id)
        if sheet is None:
            raise ItemGone(f"The sample of this question ({item.concept!r}) was deleted: go on with the next one")
        stage, done = decide(sheet)
        done_at = now()
        update = [{"$set": {**stage, "last_modified_at": done_at}}]
        if collection.update_one({"_id": number, **_as_read(sheet, item)}, update).matched_count:
            fo.Sample._reload_doc(dataset._sample_collection_name, item.sample_id)  # where it is in memory
            return done
    raise CurationError(f"The answer about {item.concept!r} could not be written: the sample changes all the time")


def _as_read(sheet: Sheet, item: Item) -> dict[str, Any]:
    """A condition: all that a verdict depends on is as it was read. Null is as good as not there."""
    book, name, part = item.book, field_of(item.concept), f"{item.field}.detections"
    log = log_field(item.ledger)
    state = {"$map": {
        "input": {"$ifNull": [f"${part}", []]},
        "in": {
            "i": "$$this._id", "l": {"$ifNull": ["$$this.label", None]},
            "v": {"$ifNull": [f"$$this.{ATTRIBUTE}", None]},
        },
    }}  # fmt: skip
    was = [dict(i=ObjectId(number), l=mark.name, v=mark.verified) for number, mark in sheet.labels.items()]
    same = [
        {"$eq": [state, {"$literal": was}]},
        {"$eq": [{"$size": {"$ifNull": [f"${log}", []]}}, len(sheet.log)]},
        {"$eq": [{"$ifNull": [{"$last": {"$ifNull": [f"${log}.id", []]}}, None]}, _last_id(sheet)]},
    ]  # fmt: skip
    conditions: dict[str, Any] = {"$expr": {"$and": same}}
    for root, held in ((book.verified, sheet.verified), (book.exhaustive, sheet.exhaustive)):
        conditions[f"{root}.{name}"] = held.get(item.concept)
    return conditions


def _last_id(sheet: Sheet) -> str | None:
    return sheet.log[-1].get("id") if sheet.log else None


def check_there(sheet: Sheet, item: Item) -> None:
    """Refuse a question whose label is gone.

    Raises:
        ItemGone: it was deleted, or is called otherwise since.
    """
    if item.task == EXHAUSTIVITY:
        return
    mark = sheet.labels.get(item.label_id)
    if mark is None:
        raise _gone(item)
    if not item.means(mark.name):
        raise ItemGone(f"The label is called {mark.name!r} since, and not {item.concept!r}: go on with the next one")


def _check_free(sheet: Sheet, item: Item, who: str) -> None:
    """Refuse to answer what another person has answered."""
    verdict, by, at = _standing(sheet, item)
    if verdict is not None and by != who:
        raise _conflict(item, verdict, by, at, "already")


def _check_last(sheet: Sheet, item: Item, entry: Mapping[str, Any]) -> None:
    """Refuse to take back an answer that is not the last word any more."""
    said, by, at = _standing(sheet, item)
    if (said, by) != (entry["verdict"], entry["by"]):
        raise _conflict(item, said, by, at, "since then")


def _standing(sheet: Sheet, item: Item) -> tuple[bool | None, str | None, datetime | None]:
    """What people's last word is, whose, and when."""
    if item.task == MASK:
        mark = sheet.labels[item.label_id]
        return mark.verified, mark.by, mark.at
    said = [e for e in sheet.about(item.concept, None) if e.get("verdict") is not None and not is_ai(e["by"])]
    last, verdict = said[-1] if said else {}, sheet.exhaustive.get(item.concept)
    ours = last.get("verdict") == verdict  # else somebody wrote it there by another way
    return verdict, last.get("by") if ours else None, last.get("at") if ours else None


def _conflict(item: Item, said: bool | None, by: str | None, at: datetime | None, when: str) -> AnswerConflict:
    told = {True: "yes", False: "no"}.get(said, "nothing any more")
    stamp = "" if at is None else f" at {at:%Y-%m-%d %H:%M:%S} UTC"
    what = "this mask" if item.task == MASK else "whether all instances are marked"
    return AnswerConflict(
        f"{by or 'somebody'} {when} said {told}{stamp} of {what} of {item.concept!r}; nothing was changed", said, by, at
    )


def _gone(item: Item) -> ItemGone:
    return ItemGone(f"The label of this question ({item.concept!r}) was deleted: go on with the next one")


def check_reviewer(reviewer: Any) -> str:
    """A reviewer's name, tidied.

    Raises:
        CurationError: it is no name.
    """
    name = " ".join(reviewer.split()) if isinstance(reviewer, str) else ""
    if not name or name.casefold() == AI_PREFIX:
        raise CurationError(f"reviewer={reviewer!r} must be a name, such as 'ana'; of an AI, 'ai:judge'")
    return name


def now() -> datetime:
    """The time, UTC, as precisely as the database keeps it."""
    at = datetime.now(timezone.utc).replace(tzinfo=None)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)
