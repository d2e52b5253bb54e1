"""Orders of choosing: generators that say whom to take next, as unlike those before, or as telling, as can be.

All take vectors of length 1, and two arrays that they share with whoever chooses: ``nearest``, each candidate's
similarity to the nearest of all that were chosen before, and ``blocked``, who cannot be had any more.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

DIVERSITIES = ("k_center", "facility_location")
#: similarity where nothing was chosen before
UNSEEN = -2.0
#: facility location looks at so many candidates, and has so many of them represented
_CANDIDATES, _TARGETS = 4_000, 2_000

Order = Callable[
    [NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], np.random.Generator], Iterator[int]
]


def k_center(
    vectors: NDArray[np.float32], nearest: NDArray[np.float32], blocked: NDArray[np.bool_],
    rng: np.random.Generator | None = None,
) -> Iterator[int]:  # fmt: skip
    """Farthest first: always the one that is least like its nearest of all that were chosen (Gonzalez 1985).

    Of the very first, the one in the middle. Ties go to the first candidate.

    Args:
        vectors: (m, D) candidates.
        nearest: (m,) changed in place.
        blocked: (m,) changed by whoever chooses.
        rng: not needed; here, because every order takes one.

    Yields:
        places of candidates.
    """
    while not blocked.all():
        if nearest.max(initial=UNSEEN) == UNSEEN:
            place = int(np.argmax(np.where(blocked, -np.inf, vectors @ vectors.mean(0))))
        else:
            place = int(np.argmin(np.where(blocked, np.inf, nearest)))
        yield place
        np.maximum(nearest, vectors @ vectors[place], out=nearest)


def facility_location(
    vectors: NDArray[np.float32], nearest: NDArray[np.float32], blocked: NDArray[np.bool_], rng: np.random.Generator
) -> Iterator[int]:
    """Most telling first: the one that brings all candidates nearest to something chosen (lazy greedy, Minoux 1978).

    Of many candidates, a sample is looked at, and a sample is to be represented: gains are means, which samples know.

    Args:
        vectors: (m, D) candidates.
        nearest: (m,) changed in place.
        blocked: (m,) changed by whoever chooses.
        rng: for the samples.

    Yields:
        places of candidates; of those that were not looked at, in no particular order, once the others are gone.
    """
    count = len(vectors)
    mixed = rng.permutation(count)
    looked, rest = np.sort(mixed[:_CANDIDATES]), mixed[_CANDIDATES:]
    targets = np.sort(rng.permutation(count)[:_TARGETS])
    alike = vectors[looked] @ vectors[targets].T
    covered = np.maximum(nearest[targets], -1.0)
    gains = np.maximum(alike - covered, 0).sum(1)
    heap = [(-float(gain), k, 0) for k, gain in enumerate(gains)]
    heapq.heapify(heap)
    chosen = 0
    while heap:
        gain, k, when = heapq.heappop(heap)
        place = int(looked[k])
        if blocked[place]:
            continue
        if when < chosen:  # things have changed since; it can only have become less
            heapq.heappush(heap, (-float(np.maximum(alike[k] - covered, 0).sum()), k, chosen))
            continue
        yield place
        chosen += 1
        np.maximum(covered, alike[k], out=covered)
        np.maximum(nearest, vectors @ vectors[place], out=nearest)
    yield from (place for place in rest.tolist() if not blocked[place])


def in_turn(
    vectors: NDArray[np.float32], nearest: NDArray[np.float32], blocked: NDArray[np.bool_],
    rng: np.random.Generator | None = None,
) -> Iterator[int]:  # fmt: skip
    """As they come; of ``vectors``, only their number counts."""
    yield from (place for place in range(len(vectors)) if not blocked[place])


ORDERS: dict[str | None, Order] = {"k_center": k_center, "facility_location": facility_location, None: in_turn}
