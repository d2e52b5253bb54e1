"""Which wording of a concept to take, and why: by labels where there are some, else by what the wordings agree on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .agreement import PRESENT, Tally, contrast, groups_of
from .nouns import senses
from .phrasing import only_sense


@dataclass(frozen=True)
class Wording:
    """One phrase, and what it gave. Numbers that are not defined are None.

    Attributes:
        phrase: as it was asked.
        group: wordings of one group find the same things; from 1 on. 0: it found nothing.
        present: images in which its presence is 0.5 or more.
        instances: that it found, in all images.
        presence_there, presence_elsewhere: its mean presence where any wording of its group is present, and where none
            is, in [0, 1].
        agreement: mean F1 of its instances and those of each other wording of its group, in [0, 1].
        precision, recall, f1: of its instances, by the labels, at IoU 0.5.
        presence_accuracy: share of the images, among those where it is known, of which its presence says rightly
            whether the concept is there.
        sense: the key of the only sense that the phrase has, in the noun graph.
    """

    phrase: str
    group: int
    present: int
    instances: int
    presence_there: float | None = None
    presence_elsewhere: float | None = None
    agreement: float | None = None
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    presence_accuracy: float | None = None
    sense: str | None = None

    @property
    def contrast(self) -> float:
        """How far its presence tells images apart, in [0, 1]; where there is but one kind of them, its height."""
        if self.presence_there is None:
            return 0.0
        return max(self.presence_there - (self.presence_elsewhere or 0.0), 0.0)


@dataclass(frozen=True)
class Group:
    """Wordings that find the same things.

    Attributes:
        number: from 1 on.
        phrases: in the order asked.
        recommended: the best of them.
        sense: the key of the concept's sense that they name, where one of them leaves no doubt; else None.
    """

    number: int
    phrases: tuple[str, ...]
    recommended: str
    sense: str | None = None


def judged(
    phrases: Sequence[str], tally: Tally, there: NDArray[np.bool_] | None = None, known: NDArray[np.bool_] | None = None
) -> tuple[Wording, ...]:
    """The numbers of each phrase.

    Args:
        phrases: P of them.
        tally: what they found in N images.
        there, known: (N,) whether the concept is in an image, and whether that is a fact; None: nothing is known.
    """
    seen = tally.seen
    presence, found = tally.presence[seen], tally.counts.sum(axis=0)
    agreement, scores = tally.agreement(), tally.scores()
    groups = groups_of(agreement, found)
    accuracy = np.full(len(phrases), np.nan)
    facts = None if known is None else known[seen]
    if facts is not None and facts.any():
        accuracy = ((presence[facts] >= PRESENT) == there[seen][facts, None]).mean(axis=0)
    made = []
    for k, phrase in enumerate(phrases):
        members = [j for j, group in enumerate(groups) if group == groups[k]] if groups[k] else [k]
        others = [j for j in members if j != k]
        near = contrast(presence, members)[k].tolist() if len(presence) else [np.nan, np.nan]
        consensus = float(np.mean(agreement[k, others])) if others else np.nan
        made.append(Wording(
            phrase, groups[k], int((presence[:, k] >= PRESENT).sum()), int(found[k]),
            *(_number(v) for v in (*near, consensus, *scores[k].tolist(), accuracy[k])), sense=only_sense(phrase),
        ))  # fmt: skip
    return tuple(made)


def grouped(concept: str, wordings: Sequence[Wording]) -> tuple[Group, ...]:
    """The groups, in the order of their first wording, each with its best."""
    known = [one.key for one in senses(concept)]
    found = []
    for number in sorted({one.group for one in wordings if one.group}):
        members = [one for one in wordings if one.group == number]
        named = {one.sense for one in members if one.sense in known}
        sense = named.pop() if len(named) == 1 and len(known) > 1 else None
        found.append(Group(number, tuple(one.phrase for one in members), _best(members).phrase, sense))
    return tuple(found)


def recommended(concept: str, wordings: Sequence[Wording]) -> tuple[str | None, tuple[str, ...]]:
    """The phrase to take, and why; None where nothing found anything.

    With labels, that of the highest F1 (or, of labels without boxes, the one whose presence is most often right).
    Without, of the group that the concept's own word belongs to, the one that agrees best with the others, by how far
    its presence tells images apart.
    """
    finding = [one for one in wordings if one.group]
    if not finding:
        return None, ("No wording found anything in these images",)
    if any(one.f1 is not None for one in finding):
        pool = [one for one in finding if one.f1 is not None]
        best = _best(pool)
        why = [f"{best.phrase!r} has the highest F1 by the labels, {best.f1:.2f}"]
        if len(pool) > 1:
            second = _best([one for one in pool if one != best])
            tied = round(second.f1, 2) == round(best.f1, 2)
            why.append(f"{second.phrase!r} has {second.f1:.2f}" + (", too: they can hardly be told apart" * tied))
    elif any(one.presence_accuracy is not None for one in finding):
        best = _best(finding)
        why = [f"the presence of {best.phrase!r} is right in {best.presence_accuracy:.0%} of the images by the labels"]
    else:
        own = next((one for one in finding if one.phrase.casefold() == concept.casefold()), None)
        if own is None:
            sizes = {one.group: sum(o.instances for o in finding if o.group == one.group) for one in finding}
            number = max(sizes, key=lambda group: (sizes[group], -group))
        else:
            number = own.group
        members = [one for one in finding if one.group == number]
        best = _best(members)
        why = [_consensus(best, members)]
    groups = sorted({one.group for one in finding})
    if len(groups) > 1:
        parts = "; ".join(", ".join(repr(o.phrase) for o in finding if o.group == number) for number in groups)
        why.append(f"wordings that find different things: {parts}")
    return best.phrase, tuple(why)


def _best(wordings: Sequence[Wording]) -> Wording:
    """The best of some; differences of less than a hundredth do not count, and the first of equals is taken."""
    return max(wordings, key=lambda one: (
        -1.0 if one.f1 is None else round(one.f1, 2),
        -1.0 if one.presence_accuracy is None else round(one.presence_accuracy, 2),
        round((1.0 if one.agreement is None else one.agreement) * one.contrast, 2),
    ))  # fmt: skip


def _consensus(best: Wording, members: Sequence[Wording]) -> str:
    apart = f"its presence is {best.presence_there:.2f} where the concept seems to be"
    if best.presence_elsewhere is not None:
        apart += f", {best.presence_elsewhere:.2f} elsewhere"
    if len(members) == 1:
        return f"no other wording finds what {best.phrase!r} finds; {apart}"
    return f"{best.phrase!r} agrees best with the others of its group, F1 {best.agreement:.2f}; {apart}"


def _number(value: Any) -> float | None:
    return None if value is None or np.isnan(value) else float(value)
