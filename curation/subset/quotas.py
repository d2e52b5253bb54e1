"""How many samples each role and each concept gets: whole numbers that add up."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence


def shared_out(total: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Whole numbers as near to the ``shares`` as can be, which add up to ``total``: the largest remainders round up.

    >>> shared_out(10, {"train": 0.75, "val": 0.25})
    {'train': 8, 'val': 2}
    """
    whole = sum(shares.values())
    if not whole:
        return dict.fromkeys(shares, 0)
    exact = {name: total * share / whole for name, share in shares.items()}
    found = {name: int(number + 1e-9) for name, number in exact.items()}
    left = total - sum(found.values())
    names = list(shares)
    order = sorted(names, key=lambda name: (found[name] - exact[name], names.index(name)))
    for name in order[:left]:
        found[name] += 1
    return found


def water_fill(total: int, room: Sequence[int], held: Sequence[int] | None = None) -> list[int]:
    """Share ``total`` out so that the least comes up first, as water does; nobody gets more than there is ``room`` for.

    Args:
        total: to share out.
        room: what each can take; where all are full, the rest is not shared out.
        held: what each has already. Default: nothing.

    Returns:
        what each gets.

    >>> water_fill(10, [2, 9, 9])
    [2, 4, 4]
    >>> water_fill(4, [9, 9], held=[3, 0])
    [1, 3]
    """
    given = [0] * len(room)
    levels = [(0 if held is None else held[k], k) for k in range(len(room)) if room[k] > 0]
    heapq.heapify(levels)
    for _ in range(total):
        if not levels:
            break
        level, k = heapq.heappop(levels)
        given[k] += 1
        if given[k] < room[k]:
            heapq.heappush(levels, (level + 1, k))
    return given


def in_proportion(total: int, room: Sequence[int]) -> list[int]:
    """Share ``total`` out as there is ``room``: what is common in the pool is common in the subset."""
    total = min(total, sum(room))
    return list(shared_out(total, {str(k): float(n) for k, n in enumerate(room)}).values())
