"""What one concept looks like at one threshold: the counts that people watch while they drag it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .answers import Answers
from .presence import BAND, LOUD


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


def companions(answers: Answers, concept: str, most: int = 6) -> list[dict[str, Any]]:
    """The concepts that are most often present where this one is: Jaccard index of the samples, and how many."""
    there: NDArray[np.int64] = answers.present.astype(np.int64)
    k = answers.place(concept)
    both = there.T @ there[:, k]
    either = there.sum(axis=0) + there[:, k].sum() - both
    share = both / np.maximum(either, 1)
    order = [int(j) for j in np.argsort(-share, kind="stable") if j != k and both[j] > 0][:most]
    return [dict(concept=answers.concepts[j], both=int(both[j]), share=round(float(share[j]), 3)) for j in order]
