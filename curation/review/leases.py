"""Who has which question on the screen: leases, so that two reviewers get different ones.

They are kept apart from the samples, which are not changed by looking at them. The database's clock decides, and it
forgets what ran out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

import fiftyone as fo
import fiftyone.core.odm as foo
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from .items import Item

#: seconds for which a question is a reviewer's
SECONDS = 300
_COLLECTION = "sam3_review_leases"
_READY: set[str] = set()


def claim(
    dataset: fo.Dataset, items: Sequence[Item], reviewer: str, n: int, seconds: float = SECONDS
) -> list[Item]:
    """Lease the first ``n`` of some questions that nobody else has.

    Args:
        dataset: the dataset.
        items: in the order in which they are wanted.
        reviewer: whose they are for so long; a lease that is theirs already is made longer.
        n: how many at most.
        seconds: how long.
    """
    leases, mine = _leases(), []
    taken, me = _of_others(dataset, items, reviewer), {"$literal": reviewer}
    free = {"$or": [{"$in": [{"$ifNull": ["$by", None]}, [None, me]]}, {"$lte": ["$until", "$$NOW"]}]}
    until = {"$add": ["$$NOW", round(seconds * 1000)]}
    take = [{"$set": {"by": {"$cond": [free, me, "$by"]}, "until": {"$cond": [free, until, "$until"]}}}]
    for item in items:
        if len(mine) == n:
            break
        name = _name(dataset, item)
        if name in taken:
            continue
        with contextlib.suppress(DuplicateKeyError):  # somebody else made it at this very moment
            held = leases.find_one_and_update({"_id": name}, take, upsert=True, return_document=ReturnDocument.AFTER)
            if held["by"] == reviewer:
                mine.append(item)
    return mine


def release(dataset: fo.Dataset, items: Iterable[Item], reviewer: str) -> None:
    """Give back what a reviewer leased, and does not answer."""
    names = [_name(dataset._root_dataset, item) for item in items]
    if names:
        _leases().delete_many({"_id": {"$in": names}, "by": reviewer})


def _of_others(dataset: fo.Dataset, items: Sequence[Item], reviewer: str) -> set[str]:
    names = [_name(dataset, item) for item in items]
    wanted = {"_id": {"$in": names}, "by": {"$ne": reviewer}, "$expr": {"$gt": ["$until", "$$NOW"]}}
    return {one["_id"] for one in _leases().find(wanted, {"_id": True})}


def _name(dataset: fo.Dataset, item: Item) -> str:
    return f"{dataset._doc.id}:{item.key}"


def _leases() -> Any:
    leases = foo.get_db_conn()[_COLLECTION]
    if leases.full_name not in _READY:
        leases.create_index("until", expireAfterSeconds=60)
        _READY.add(leases.full_name)
    return leases
