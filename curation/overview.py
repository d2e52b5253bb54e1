"""What one concept looks like at one threshold: the counts that people watch while they drag it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import fiftyone as fo
import numpy as np

from .answers import Answers, thresholds_of
from .presence import BAND, LOUD

if __package__ == "curation":
    from zoo.ledger import DEFAULT, Ledger, label_of
else:
    from ..zoo.ledger import DEFAULT, Ledger, label_of


@dataclass(frozen=True)
class Overview:
    """Counts of samples.

    Attributes:
        concept, threshold: of what, and where.
        present, absent: presence from the threshold on, and below.
        uncertain: presence near it, to either side.
        suppressed: absent, but with a loud object score: phantoms.
        without_instances: present, with no instance found.
        unasked: the concept was not asked.
        instances: in all samples, as they were counted when it was asked.
    """

    concept: str
    threshold: float
    present: int
    absent: int
    uncertain: int
    suppressed: int
    without_instances: int
    unasked: int
    instances: int


def overview(answers: Answers, concept: str, threshold: float | None = None) -> Overview:
    """The counts of a concept at a threshold; default: its own."""
    k = answers.place(concept)
    level = answers.thresholds[concept] if threshold is None else threshold
    presence, score, count = answers.presence[:, k], answers.score[:, k], answers.count[:, k]
    asked = ~np.isnan(presence)
    with np.errstate(invalid="ignore"):
        here = presence >= level
        numbers = (
            here, asked & ~here, np.abs(presence - level) <= BAND, asked & ~here & (score >= LOUD), here & (count == 0),
            ~asked,
        )  # fmt: skip
    return Overview(concept, float(level), *(int(part.sum()) for part in numbers), int(np.nansum(count)))


def companions(
    samples: fo.core.collections.SampleCollection, concept: str, ledger: str = DEFAULT, most: int = 6
) -> list[dict[str, Any]]:
    """The concepts that are present where this one is: in how many samples, and in which share of its own."""
    levels, book = thresholds_of(samples, ledger), Ledger(ledger)
    there = {"$match": {"$expr": {"$gte": [f"${book.path('presence', concept)}", levels[concept]]}}}
    numbers = {"$objectToArray": {"$ifNull": [f"${book.path('presence')}", {}]}}
    found: dict[str, int] = {}
    for level in set(levels.values()):  # one or two; a sum for each of a thousand concepts takes MongoDB a minute
        above = {"$and": [{"$isNumber": "$$one.v"}, {"$gte": ["$$one.v", level]}]}
        pipeline = [
            there,
            {"$project": {"found": {"$filter": {"input": numbers, "as": "one", "cond": above}}}},
            {"$unwind": "$found"},
            {"$group": {"_id": "$found.k", "samples": {"$sum": 1}}},
        ]
        counts = {label_of(row["_id"]): row["samples"] for row in samples.view()._aggregate(pipeline=pipeline)}
        found |= {name: count for name, count in counts.items() if levels.get(name) == level}
    whole = found.get(concept, 0)
    both = {name: found[name] for name in levels if name != concept and name in found}
    order = sorted(both, key=both.__getitem__, reverse=True)  # ties stay in the order in which they were asked
    return [dict(concept=name, both=both[name], share=round(both[name] / whole, 3)) for name in order[:most]]
