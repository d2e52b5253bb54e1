"""Which concepts of a wide ledger the App shows: those that were found in most samples."""

from __future__ import annotations

import fiftyone as fo

from .ledger import MOST_DECLARED, Ledger, declare, declared, label_of
from .provenance import asked_phrases

#: presence from which on a concept counts as there
_THERE = 0.5


def declare_most_found(dataset: fo.Dataset, ledger: Ledger) -> list[str]:
    """Declare the concepts of a wide ledger that were found, as many as a schema should know, those of most samples (or
    frames) first; what was never found is not shown. The concepts of a ledger that is not wide are declared already.

    Returns:
        the concepts that are declared now
    """
    known = declared(dataset, ledger)
    asked = asked_phrases(dataset, ledger)
    if ledger.presence in ledger.schema(dataset) and len(asked) > len(known):
        known += [label for label in found_in_most(dataset, ledger) if label not in set(known)]
        declare(dataset, ledger, known[:MOST_DECLARED])
    return known[:MOST_DECLARED]


def found_in_most(dataset: fo.Dataset, ledger: Ledger) -> list[str]:
    """Every concept that was found: those with instances in most samples (or frames) first, then those that are
    present in most.
    """
    instances, presence = _above(dataset, ledger, ledger.count, 0.0), _above(dataset, ledger, ledger.presence, _THERE)
    found = [label for label in asked_phrases(dataset, ledger) if label in instances or label in presence]
    return sorted(found, key=lambda label: (-instances.get(label, 0), -presence.get(label, 0)))


def _above(dataset: fo.Dataset, ledger: Ledger, field: str, level: float) -> dict[str, int]:
    """Concept -> in how many samples its number is above ``level``. One pass of the database, which hands over only
    what is found: FiftyOne's own aggregations would be one a concept.
    """
    collection = dataset._frame_collection if ledger.frames else dataset._sample_collection
    numbers = {"$objectToArray": {"$ifNull": [f"${field}", {}]}}
    above = {"$and": [{"$isNumber": "$$one.v"}, {"$gt": ["$$one.v", level]}]}
    pipeline = [
        {"$project": {"found": {"$filter": {"input": numbers, "as": "one", "cond": above}}}},
        {"$unwind": "$found"},
        {"$group": {"_id": "$found.k", "samples": {"$sum": 1}}},
    ]
    return {label_of(row["_id"]): row["samples"] for row in collection.aggregate(pipeline, allowDiskUse=True)}
