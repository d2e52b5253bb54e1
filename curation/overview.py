"""What one concept looks like at one threshold: the counts that people watch while they drag it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import fiftyone as fo
import numpy as np
from fiftyone import ViewField as F

from .answers import Answers, read_answers, thresholds_of
from .presence import BAND, LOUD

if __package__ == "curation":
    from zoo.ledger import DEFAULT, Ledger
else:
    from ..zoo.ledger import DEFAULT, Ledger


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
    level = thresholds_of(samples, ledger)[concept]
    there = samples.match(F(Ledger(ledger).path("presence", concept)) >= level)
    if not len(there):
        return []
    answers = read_answers(there, ledger, kinds=())
    both = answers.present.sum(axis=0)
    order = [int(j) for j in np.argsort(-both, kind="stable") if answers.concepts[j] != concept and both[j] > 0]
    return [
        dict(concept=answers.concepts[j], both=int(both[j]), share=round(int(both[j]) / len(answers), 3))
        for j in order[:most]
    ]  # fmt: skip
