"""Answers of reviewers become facts on the sample, and can be taken back; of two at once, none is lost.

Every answer is one atomic update of one document, that finds it only as it was read: compare and set. Whoever comes
second reads again, and is told what the first one said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

import fiftyone as fo
import numpy as np
from bson import ObjectId

from ..errors import CurationError
from ..verified import AI_PREFIX, ATTRIBUTE, declare_verdicts, log_field
from .items import EXHAUSTIVITY, MASK, Item
from .leases import release
from .sheets import Sheet, is_ai, read_sheets
from .updates import Answered, ai_stage, changed, entry_of, logged, restored

if __package__ == "curation.review":
    from zoo.ledger import field_of
else:
    from ...zoo.ledger import field_of

#: how often others may come first before something must be wrong
_TRIES = 100


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
    if verdict is not None and not isinstance(verdict, (bool, np.bool_)):
        raise CurationError(f"verdict={verdict!r} must be True, False, or None to skip")
    verdict = None if verdict is None else bool(verdict)
    if confidence is not None and (isinstance(confidence, bool) or not 0 <= confidence <= 1):
        raise CurationError(f"confidence={confidence!r} must be a number in [0, 1]")
    declare_verdicts(dataset, item.book, item.field, [item.concept])
    at = now()

    def decide(sheet: Sheet) -> tuple[dict[str, Any], Answered]:
        check_there(sheet, item)
        if not (overrule and not is_ai(who)):
            check_free(sheet, item, who)
        entry = entry_of(item, verdict, who, at, note, confidence)
        if verdict is None or is_ai(who):
            stage = {} if verdict is None else ai_stage(item, verdict, who, confidence)
            return {**stage, **logged(item, entry)}, Answered(item, verdict, who, at, sheet.verified.get(item.concept))
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
        return restored(sheet, item, entry)

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


def check_free(sheet: Sheet, item: Item, who: str) -> None:
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
