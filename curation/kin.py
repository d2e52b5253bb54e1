"""Which of a dataset's concepts could be taken for which: attribute swaps, what a concept file says, siblings in the
noun graph, its own mix-ups.

A word may have several senses. Which one a concept means is never guessed: a word whose senses have different
neighbours among the concepts is left out, with a note that shows the senses, until somebody chooses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .attributes import narrower, swapped
from .errors import CurationError
from .nouns import Sense, UnknownSenseError, neighbours, related, sense, senses

#: how many neighbours of a sense are looked at; the graph ranks them
_REACH = 400
#: relations, the most telling first
RELATIONS = ("swap", "named neighbour", "confusion", "sibling", "cousin")


@dataclass(frozen=True)
class Family:
    """What people wrote of concepts: ``neighbours`` that could be taken for each, and its parent, in ``parents``, of
    which it is a kind or a part.
    """

    neighbours: Mapping[str, Sequence[str]] = field(default_factory=dict)
    parents: Mapping[str, str] = field(default_factory=dict)

    def above(self, concept: str) -> list[str]:
        """Its parent, its parent's parent, and so on."""
        found: list[str] = []
        while (concept := self.parents.get(concept, "")) and concept not in found:
            found.append(concept)
        return found


@dataclass(frozen=True)
class Kin:
    """Who could be taken for whom.

    Attributes:
        rivals: concept → rival concept → relation, one of :data:`RELATIONS`.
        senses: concept → the sense that was taken.
        open: concept → its senses, where somebody has to choose.
    """

    rivals: Mapping[str, Mapping[str, str]]
    senses: Mapping[str, Sense]
    open: Mapping[str, tuple[Sense, ...]] = field(default_factory=dict)

    def notes(self) -> list[str]:
        """What has to be chosen, a sentence each."""
        return [
            f"{concept!r} has several senses, and none was chosen: "
            + "; ".join(f"{one.key}: {one}" for one in choices[:4])
            + f". Say senses={{{concept!r}: '{choices[0].key}'}}"
            for concept, choices in self.open.items()
        ]


def find_kin(
    concepts: Sequence[str], chosen: Mapping[str, str] | str | None = None,
    confusions: Mapping[tuple[str, str], float] | None = None, family: Family | None = None,
) -> Kin:  # fmt: skip
    """The rivals of each concept among the others.

    Args:
        concepts: what was asked.
        chosen: concept → the key of its sense in the noun graph (:func:`curation.nouns.senses` shows them), or "" for
            none of them; or "usual": the commonest sense of every word.
        confusions: pairs of concepts that claim the same masks of this dataset → how often, see
            :mod:`curation.confusion`.
        family: what the concepts' definition says of neighbours and parents.

    Raises:
        CurationError: senses of a concept that was not asked, or that do not exist.
    """
    if isinstance(chosen, str) and chosen != "usual":
        raise CurationError(f"senses={chosen!r}; want a mapping of concepts to keys, or 'usual'")
    usual = chosen == "usual"
    if chosen is not None and not isinstance(chosen, (str, Mapping)):
        raise CurationError(f"senses={chosen!r}; want a mapping of concepts to keys, or 'usual'")
    chosen = {} if usual else dict(chosen or {})
    for concept, key in chosen.items():
        if concept not in concepts:
            raise CurationError(f"senses names {concept!r}, which was not asked")
        if key:
            check_sense(concept, key)
    taken: dict[str, Sense] = {}
    undecided: dict[str, tuple[Sense, ...]] = {}
    for concept in concepts:
        if concept in chosen:
            if chosen[concept]:
                taken[concept] = sense(chosen[concept])
            continue
        choices = senses(concept)
        if len(choices) == 1 or (usual and choices):
            taken[concept] = choices[0]
        elif choices:
            undecided[concept] = choices
    rivals: dict[str, dict[str, str]] = {concept: {} for concept in concepts}
    for first in concepts:
        for second in concepts:
            if first != second and swapped(first, second):
                rivals[first][second] = "swap"
    family = family or Family()
    for first, named in family.neighbours.items():
        for one, other in ((a, b) for second in named for a, b in ((first, second), (second, first))):
            if one in rivals and other in rivals and one != other:
                rivals[one].setdefault(other, "named neighbour")
    for first, second in confusions or {}:
        for one, other in ((first, second), (second, first)):
            if one in rivals and other in rivals and not a_kind(one, other, taken) and not a_kind(other, one, taken):
                rivals[one].setdefault(other, "confusion")
    _by_graph(rivals, taken, undecided)
    for concept in rivals:
        for parent in family.above(concept):  # every cap is a headgear: neither is mistaken for the other
            rivals[concept].pop(parent, None)
            rivals.get(parent, {}).pop(concept, None)
    # of a word nobody chose a sense of, only what matters is asked: senses without a rival here make no difference
    matter = {c: found for c, found in undecided.items() if _differ(c, found, taken, undecided)}
    return Kin(rivals, taken, matter)


def check_sense(concept: str, key: str) -> None:
    """Refuse a key that is no sense of the concept's word.

    Raises:
        CurationError: naming those that there are.
    """
    own = senses(concept)
    try:
        wrong = "" if isinstance(key, str) and not own else f"is {sense(key)}, and no sense of {concept!r}"
        sense(key)
    except (UnknownSenseError, TypeError):
        wrong = "is no sense"
    if wrong and key not in [one.key for one in own]:
        known = "; ".join(f"{one.key}: {one}" for one in own) or "it is not in the noun graph"
        raise CurationError(f"senses[{concept!r}]={key!r} {wrong}; {known}")


def a_kind(first: str, second: str, taken: Mapping[str, Sense] | None = None) -> bool:
    """Whether every ``first`` is a ``second``: by its words ("red cap", "cap"), or in the noun graph.

    Args:
        first, second: two concepts.
        taken: concept → its sense; default: each has one only if the noun graph knows no other.
    """
    if narrower(first, second):
        return True
    pair = []
    for concept in (first, second):
        choices = senses(concept) if taken is None else [taken[concept]] if concept in taken else []
        pair.append(choices[0].key if len(choices) == 1 else None)
    a, b = pair
    return a is not None and b is not None and a != b and related(a, b) and len(sense(a).path) > len(sense(b).path)


def _by_graph(
    rivals: dict[str, dict[str, str]], taken: Mapping[str, Sense], undecided: Mapping[str, Sequence[Sense]]
) -> None:
    by_key: dict[str, list[str]] = {}
    for concept, one in taken.items():
        by_key.setdefault(one.key, []).append(concept)
    for concept, one in taken.items():
        for near in neighbours(one.key, _REACH):
            for other in by_key.get(near.sense.key, ()):
                if other != concept and not related(one.key, near.sense.key):
                    rivals[concept].setdefault(other, near.relation)


def _differ(
    concept: str, choices: Sequence[Sense], taken: Mapping[str, Sense], undecided: Mapping[str, Sequence[Sense]]
) -> bool:
    """Whether any sense of the word has a neighbour among the concepts, whatever those mean."""
    there = {one.key for name, one in taken.items() if name != concept}
    there |= {one.key for name, others in undecided.items() if name != concept for one in others}
    return any(near.sense.key in there for one in choices for near in neighbours(one.key, _REACH))
