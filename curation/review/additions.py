"""Instances that were missing become labels: those that an exhaustivity check found, with one keystroke."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import fiftyone as fo
from bson import ObjectId

from ..errors import CurationError
from ..verified import AT, ATTRIBUTE, BY, declare_verdicts
from .items import EXHAUSTIVITY, Item
from .leases import release
from .sheets import Sheet, is_ai
from .updates import Answered, changed, entry_of
from .verdicts import check_free, check_reviewer, now, settle

#: of a candidate, what its label has too
_KEPT = ("_cls", "attributes", "bounding_box", "mask", "mask_path", "confidence", "presence", "object_score", "phrase")


def candidates_of(dataset: fo.Dataset, item: Item) -> list[fo.Detection]:
    """The instances of the item's concept that an exhaustivity check found and that are no labels yet, the surest
    first; none, if there was no check.
    """
    if item.candidates is None or item.candidates not in dataset.get_field_schema():
        return []
    here = {number for number, _ in _stored(dataset, item)}
    view = dataset.select(item.sample_id).select_fields(item.candidates)
    held = next((sample[item.candidates] for sample in view), None)
    found = [label for label in (held.detections if held is not None else ()) if label.id in here]
    return sorted(found, key=lambda label: -(label.confidence or 0))


def add_missing(
    dataset: fo.Dataset, item: Item, candidates: Iterable[str] | None = None, *, reviewer: str,
    complete: bool = True, note: str | None = None,
) -> Answered:  # fmt: skip
    """Answer "no, but these are they": candidates of the exhaustivity check become labels, verified as right.

    They keep their ids, so that none is added twice, whoever else adds them; :func:`take_back` takes them away again.

    Args:
        dataset: the dataset of the review.
        item: a question on exhaustivity.
        candidates: ids of those that are right. Default: all.
        reviewer: who says so.
        complete: whether all instances are marked with them; False: there are still others.
        note: a remark, for the log.

    Returns:
        the answer, which is ``complete``, and the ids of the labels.

    Raises:
        AnswerConflict: another person has answered.
        ItemGone: the sample was deleted.
        CurationError: no question on exhaustivity, no candidates, an AI would add labels.
    """
    dataset, who = dataset._root_dataset, check_reviewer(reviewer)
    if item.task != EXHAUSTIVITY:
        raise CurationError("Instances are added where the question is whether all are marked, and not to a mask's")
    if is_ai(who):
        raise CurationError(f"reviewer={reviewer!r} is an AI: what it finds is a candidate, and people make it a label")
    if not isinstance(complete, bool):
        raise CurationError(f"complete={complete!r} must be True or False")
    chosen = None if candidates is None else list(candidates)
    declare_verdicts(dataset, item.book, item.field, [item.concept])
    at = now()

    def decide(sheet: Sheet) -> tuple[dict[str, Any], Answered]:
        check_free(sheet, item, who)
        stored = dict(_stored(dataset, item))
        lost = [number for number in chosen or () if number not in stored]
        if lost:
            raise CurationError(f"{lost[0]!r} is no candidate of {item.concept!r} here, or is a label already")
        wanted = list(stored) if chosen is None else chosen
        if not wanted:
            raise CurationError(
                f"There are no candidates of {item.concept!r} here: draw what is missing in the App's Annotate tab"
            )
        labels = [_label(stored[number], item, who, at) for number in wanted]
        return changed(sheet, item, entry_of(item, complete, who, at, note, None), labels)

    done = settle(dataset, item, decide)
    release(dataset, [item], who)
    return done


def _stored(dataset: fo.Dataset, item: Item) -> list[tuple[str, dict[str, Any]]]:
    """Id → candidate, as the database holds it; those that are labels already are left out."""
    if item.candidates is None or item.candidates not in dataset.get_field_schema():
        return []
    wanted = {f"{item.candidates}.detections": True, f"{item.field}.detections._id": True}
    held = dataset._sample_collection.find_one({"_id": ObjectId(item.sample_id)}, wanted) or {}
    here = {one["_id"] for one in (held.get(item.field) or {}).get("detections") or ()}
    found = (held.get(item.candidates) or {}).get("detections") or ()
    return [(str(one["_id"]), one) for one in found if one["_id"] not in here and one.get("label") == item.concept]


def _label(candidate: dict[str, Any], item: Item, who: str, at: Any) -> dict[str, Any]:
    kept = {name: candidate[name] for name in _KEPT if name in candidate}
    verdict = {ATTRIBUTE: True, BY: who, AT: at}
    return {"_id": candidate["_id"], **kept, "tags": [], "label": item.names[0], **verdict}
