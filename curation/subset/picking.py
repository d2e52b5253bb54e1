"""Choosing: whose turn it is, and who is taken, until there are enough or nobody is left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..threads import one_thread
from .diversity import ORDERS, UNSEEN
from .quotas import in_proportion, shared_out, water_fill
from .result import ROLES
from .roles import Roles

#: of the hardest, as many times what is wanted are looked at for the ones least alike
_HARDEST = 3
#: farthest first looks at so many candidates of a role and concept
_MOST = 10_000
#: samples compared at once
_ROWS = 10_000


@dataclass(frozen=True)
class Pick:
    """One choice: a row, what it was chosen as and for (a column), and how far it is from those before."""

    row: int
    role: str
    column: int
    distance: float | None


@dataclass
class Picker:
    """Chooses, and knows who is still to be had.

    Attributes:
        roles: what each of N samples could be chosen as.
        usable: (N,) who may be chosen at all.
        vectors: (N, D) by which samples are alike.
        diversity: one of :data:`ORDERS`.
        balance: whether concepts get equal shares; else, shares by how common they are.
        groups: (N,) numbers of what must stay together, or None.
        most: as many of a group, so that it fits into a split.
        rng: for ties, and where nothing else is said.
        picks: in the order of choosing.
        asked: role → what each concept's share was.
    """

    roles: Roles
    usable: NDArray[np.bool_]
    vectors: NDArray[np.float32]
    diversity: str | None
    balance: bool
    groups: NDArray[np.int64] | None
    most: int
    rng: np.random.Generator
    picks: list[Pick] = field(default_factory=list, init=False)
    asked: dict[str, list[int]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Put all candidates in an order of their own, so that a tie is no matter of who came first."""
        count, width = self.roles.positive.shape
        self._blocked = ~self.usable
        self._nearest = np.full(count, UNSEEN, np.float32)
        place = self.rng.permutation(count)
        self._cells = {
            (role, k): [
                rows[np.argsort(place[rows], kind="stable")] if role != "hard" else rows
                for rows in self.roles.candidates(role, k)
            ]
            for role in ROLES for k in range(width)
        }  # fmt: skip
        self._got = {role: [0] * width for role in ROLES}
        self._taken = None if self.groups is None else np.zeros(int(self.groups.max(initial=-1)) + 1, np.int64)

    @property
    def got(self) -> Mapping[str, list[int]]:
        """Role → how many were chosen for each concept."""
        return self._got

    def could(self, role: str) -> list[int]:
        """How many there were to choose from in a role, for each concept."""
        width = len(self.roles.concepts)
        return [sum(int(self.usable[rows].sum()) for rows in self._cells[role, k]) for k in range(width)]

    def room(self, role: str) -> list[int]:
        """How many are still to be had in a role, for each concept."""
        width = len(self.roles.concepts)
        return [sum(int((~self._blocked[rows]).sum()) for rows in self._cells[role, k]) for k in range(width)]

    def choose(self, n: int, ratio: Mapping[str, float]) -> Iterator[int]:
        """Choose ``n``, or as many as there are; where a role has too few, the others get its share.

        Args:
            n: how many.
            ratio: role → share.

        Yields:
            how many are chosen so far.
        """
        wanted = shared_out(n, ratio)
        for role in ROLES:  # of all alike, whether or not there are so many
            ideal = [n] * len(self.roles.concepts) if self.balance else self.room(role)
            self.asked[role] = self._share(wanted[role], ideal)
        while any(wanted.values()):
            yield from self._fill(wanted)
            left = n - len(self.picks)
            open_still = {role: ratio[role] for role in ROLES if ratio[role] and any(self.room(role))}
            wanted = dict.fromkeys(ROLES, 0) | (shared_out(left, open_still) if open_still else {})

    def _fill(self, wanted: dict[str, int]) -> Iterator[int]:
        """Choose what each role wants, as far as there are candidates; a sample serves one role only."""
        left = dict(wanted)
        while True:
            quotas: list[tuple[float, int, str, int, int]] = []
            for place, role in enumerate(ROLES):
                room = self.room(role)
                fill = self._share(left[role], room, self._got[role])
                quotas += [(room[k] / n, place, role, k, n) for k, n in enumerate(fill) if n]
            if not quotas:
                return
            for _, _, role, k, n in sorted(quotas):  # who has little to choose from chooses first
                with one_thread():
                    left[role] -= self._take(role, k, n)
                yield len(self.picks)

    def _share(self, total: int, room: list[int], held: list[int] | None = None) -> list[int]:
        """How many each concept gets of ``total``."""
        return water_fill(total, room, held) if self.balance else in_proportion(total, room)

    def _take(self, role: str, column: int, n: int) -> int:
        """Choose up to ``n`` of one role and concept; how many were."""
        new: list[int] = []
        for rows in self._parts(role, column, n):
            if len(new) == n:
                break
            some = self._from(rows, role, column, n - len(new))
            if self.diversity and some:
                self._heed(np.array(some))
            new += some
        self._got[role][column] += len(new)
        return len(new)

    def _parts(self, role: str, column: int, n: int) -> Iterator[NDArray[np.int64]]:
        """Candidates that are to be had, the better part first."""
        for rows in self._cells[role, column]:
            rows = rows[~self._blocked[rows]]
            if role == "hard" and self.diversity:
                yield rows[: _HARDEST * n]
                rows = rows[_HARDEST * n :]
                yield rows[~self._blocked[rows]]
                continue
            most = max(_MOST, 4 * n) if self.diversity == "k_center" else len(rows)
            yield rows[:most]
            yield rows[most:][~self._blocked[rows[most:]]]

    def _from(self, rows: NDArray[np.int64], role: str, column: int, n: int) -> list[int]:
        """Choose up to ``n`` of some candidates; the rows that were."""
        if not len(rows):
            return []
        blocked, nearest = self._blocked[rows], self._nearest[rows]
        places = ORDERS[self.diversity](self.vectors[rows] if self.diversity else rows, nearest, blocked, self.rng)
        new: list[int] = []
        for place in places:
            row = int(rows[place])
            if blocked[place]:
                continue
            distance = 1 - float(nearest[place]) if self.diversity and nearest[place] > UNSEEN else None
            blocked[place] = self._blocked[row] = True
            self.picks.append(Pick(row, role, column, distance))
            new.append(row)
            if self._taken is not None:
                group = self.groups[row]
                self._taken[group] += 1
                if self._taken[group] >= self.most:  # more of it would fit into no split
                    self._blocked[self.groups == group] = True
                    blocked[self.groups[rows] == group] = True
            if len(new) == n:
                break
        return new

    def _heed(self, new: NDArray[np.int64]) -> None:
        """Let everybody know how near they are to those that were chosen now."""
        chosen = self.vectors[new].T
        for start in range(0, len(self._nearest), _ROWS):
            part = slice(start, start + _ROWS)
            np.maximum(self._nearest[part], (self.vectors[part] @ chosen).max(axis=1), out=self._nearest[part])
