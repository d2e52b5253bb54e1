"""Attributes in noun phrases, and what they can be swapped for: "blue cap" for "red cap".

An image with a red cap and no blue one is a hard negative for "blue cap" if SAM 3 says that a blue cap is there. The
words are plain ones that can be seen; two of a group exclude each other on one thing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

#: words that exclude each other, the commonest first
GROUPS: dict[str, tuple[str, ...]] = {
    "colour": (
        "red", "blue", "green", "yellow", "black", "white", "orange", "brown", "pink", "purple", "grey", "gray",
        "golden", "silver", "beige", "turquoise",
    ),
    "material": (
        "wooden", "metal", "plastic", "glass", "leather", "paper", "stone", "brick", "ceramic", "concrete", "rubber",
    ),
    "pattern": ("striped", "spotted", "checkered", "plain", "floral"),
    "size": ("small", "big"),
    "length": ("short", "long"),
    "age": ("young", "old"),
    "opening": ("open", "closed"),
    "filling": ("full", "empty"),
    "ripeness": ("ripe", "unripe", "rotten"),
    "wetness": ("wet", "dry"),
    "posture": ("standing", "sitting", "lying"),
    "light": ("lit", "unlit"),
    "repair": ("intact", "broken"),
    "sex": ("male", "female"),
    "side": ("left", "right", "front", "rear"),
}  # fmt: skip
_SAME = {"large": "big", "little": "small", "gray": "grey", "gold": "golden", "wood": "wooden", "steel": "metal"}
_GROUP = {word: name for name, words in GROUPS.items() for word in words}
_GROUP |= {word: _GROUP[meant] for word, meant in _SAME.items()}


@dataclass(frozen=True)
class Swap:
    """A phrase that differs in one attribute: ``was`` became ``now``; both of ``group``."""

    phrase: str
    was: str
    now: str
    group: str


def swaps(phrase: str, limit: int = 3) -> tuple[Swap, ...]:
    """Phrases with one attribute swapped for another of its group, at most ``limit`` for each attribute.

    The last word is the thing itself, and is never swapped: an orange is no colour.

    >>> [swap.phrase for swap in swaps("red fire truck")]
    ['blue fire truck', 'green fire truck', 'yellow fire truck']
    >>> swaps("fire truck")
    ()
    """
    words = phrase.split()
    found = []
    for k, word in enumerate(words[:-1]):
        group = _GROUP.get(word.casefold())
        if group is None:
            continue
        others = [w for w in GROUPS[group] if _plain(w) != _plain(word)]
        seen: dict[str, str] = {}
        for other in others:
            seen.setdefault(_plain(other), other)
        for other in list(seen.values())[:limit]:
            found.append(Swap(" ".join([*words[:k], other, *words[k + 1 :]]), word, other, group))
    return tuple(found)


def swapped(first: str, second: str) -> Swap | None:
    """How ``second`` differs from ``first``, if it is by one attribute.

    >>> swapped("red cap", "blue cap").group
    'colour'
    >>> swapped("red cap", "cap") is None and swapped("red cap", "red hat") is None
    True
    """
    a, b = first.casefold().split(), second.casefold().split()
    if len(a) != len(b) or not a or a[-1] != b[-1]:
        return None
    differing = [k for k in range(len(a)) if _plain(a[k]) != _plain(b[k])]
    if len(differing) != 1:
        return None
    was, now = a[differing[0]], b[differing[0]]
    if _GROUP.get(was) is None or _GROUP.get(was) != _GROUP.get(now):
        return None
    return Swap(second, was, now, _GROUP[was])


def swaps_to_ask(concepts: Iterable[str], limit: int = 3) -> tuple[str, ...]:
    """The swapped phrases of some concepts that are not among them yet, in order."""
    known = list(concepts)
    asked = {_folded(concept) for concept in known}
    found: dict[str, str] = {}
    for concept in known:
        for swap in swaps(concept, limit):
            found.setdefault(_folded(swap.phrase), swap.phrase)
    return tuple(phrase for folded, phrase in found.items() if folded not in asked)


def bare(phrase: str) -> str:
    """The phrase without its attributes: "red fire truck" → "fire truck"."""
    words = phrase.split()
    return " ".join([word for word in words[:-1] if word.casefold() not in _GROUP] + words[-1:])


def narrower(phrase: str, other: str) -> bool:
    """Whether ``phrase`` is ``other`` with attributes in front: what it means, ``other`` means, too.

    >>> narrower("red cap", "cap"), narrower("hot dog", "dog")
    (True, False)
    """
    words, end = phrase.casefold().split(), other.casefold().split()
    front = words[: len(words) - len(end)]
    return bool(front) and bool(end) and words[-len(end) :] == end and all(word in _GROUP for word in front)


def _folded(phrase: str) -> str:
    """Phrases that mean the same are one: letter case, and words such as big and large."""
    return " ".join(_plain(word) for word in phrase.split())


def _plain(word: str) -> str:
    folded = word.casefold()
    return _SAME.get(folded, folded)
