"""What came of it: every choice explained, what each concept got, and what could not be done as asked."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..answers import Answers
from ..checks import listed
from .picking import Pick, Picker
from .quotas import shared_out
from .result import ROLES, Chosen, Share
from .roles import Roles


def chosen_of(
    picks: Sequence[Pick], places: Sequence[str | None], roles: Roles, answers: Answers,
    groups: NDArray[np.str_] | None,
) -> Iterator[Chosen]:  # fmt: skip
    """The choices, explained."""
    for rank, (pick, split) in enumerate(zip(picks, places, strict=True), 1):
        because = roles.explain(pick.role, pick.row, pick.column)
        if pick.distance is not None:
            because += f"; {max(pick.distance, 0.0):.2f} from the nearest chosen before"
        group = None if groups is None or groups[pick.row].startswith(" alone ") else groups[pick.row].item()
        yield Chosen(
            answers.ids[pick.row].item(), split, pick.role, roles.concepts[pick.column], rank, because,
            None if pick.distance is None else round(pick.distance, 4),
            roles.is_known(pick.role, pick.row, pick.column), group,
        )  # fmt: skip


def shares_of(picker: Picker) -> Iterator[Share]:
    """What each concept got, of what was asked and of what there was."""
    roles, rows = picker.roles, [pick.row for pick in picker.picks]
    among = set(rows)
    could = {role: picker.could(role) for role in ROLES}
    for k, concept in enumerate(roles.concepts):
        yield Share(
            concept, *(picker.got[role][k] for role in ROLES), *(picker.asked[role][k] for role in ROLES),
            *(could[role][k] for role in ROLES), int(roles.positive[rows, k].sum()),
            len(among.intersection(roles.hard.get(k, ()))),
        )  # fmt: skip


def shortages(picker: Picker, n: int) -> list[str]:
    """What was asked and is not there, a sentence for each role."""
    notes = []
    for role in ROLES:
        asked, got = picker.asked[role], picker.got[role]
        if sum(got) < sum(asked):
            notes.append(f"{sum(asked)} {role} were asked, {sum(got)} is what there is{_rest(picker, role)}")
        elif picker.balance and any(g < a for g, a in zip(got, asked, strict=True)):
            notes.append(f"{role} samples are not of all concepts alike{_rest(picker, role)}")
    if len(picker.picks) < n:
        notes.append(f"{len(picker.picks)} of {n} samples were chosen: no other has a role that was asked for")
    return notes


def unmined(concepts: Collection[str]) -> list[str]:
    """A word about concepts of several senses, whose look-alikes nobody can know."""
    if not concepts:
        return []
    some, whose = ("have", "their") if len(concepts) > 1 else ("has", "its")
    return [
        f"{listed(list(concepts), 5)} {some} several senses, so {whose} look-alikes are not mined: say senses=… (or "
        "'usual'), or choose_wording(…, sense=…)"
    ]


def uneven(places: Sequence[str], splits: Mapping[str, float]) -> list[str]:
    """A word about splits that groups made larger or smaller than asked."""
    sizes = {name: places.count(name) for name in splits}
    wanted = shared_out(len(places), splits)
    if sizes == wanted:
        return []
    said = ", ".join(f"{name} {sizes[name]} of {wanted[name]}" for name in splits)
    return [f"Groups stay whole, so splits are not as large as asked: {said}"]


def _rest(picker: Picker, role: str) -> str:
    """Of which concepts there were too few."""
    pairs = zip(picker.roles.concepts, picker.got[role], picker.asked[role], strict=True)
    few = [f"{name!r} {got} of {asked}" for name, got, asked in pairs if got < asked]
    return f" ({', '.join(few[:5])}{', …' if len(few) > 5 else ''})" if few else ""
