"""What is asked of a scene: phrases with their answers, easy ones and cruel ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .scenes import Scene
from .vocabulary import AMBIGUOUS, COLOURS, CONCEPTS, NEVER_DRAWN, TINTABLE, neighbours, noun_of, plural

Kind = Literal["positive", "hard", "easy", "never"]


@dataclass(frozen=True)
class Prompt:
    """A phrase asked of a scene, and the indices of the scene's objects that answer it.

    ``kind``: ``positive``; ``hard`` (absent, but a look-alike, a namesake or another colour is there);
    ``easy`` (absent, nothing similar is there); ``never`` (a noun that no scene can show).
    """

    phrase: str
    kind: Kind
    instances: tuple[int, ...]


def scene_prompts(
    scene: Scene, rng: np.random.Generator, positive: int = 3, hard: int = 3, easy: int = 1, never: int = 1
) -> list[Prompt]:
    """Up to so many prompts of each kind for ``scene``, without repetition.

    Where a kind has fewer phrases than asked, it gives fewer; the set is never padded.
    """
    present = sorted({p for o in scene.objects for p in (o.thing.noun, o.thing.name)})
    cruel = hard_negatives(scene)
    known = set(present) | set(cruel)
    mild = [c for c in CONCEPTS if c not in known]
    chosen: list[Prompt] = []
    for kind, phrases, count in (
        ("positive", present, positive),
        ("hard", cruel, hard),
        ("easy", mild, easy),
        ("never", list(NEVER_DRAWN), never),
    ):
        for k in rng.permutation(len(phrases))[:count]:
            chosen.append(Prompt(phrases[int(k)], kind, tuple(scene.instances(phrases[int(k)]))))
    return chosen


def hard_negatives(scene: Scene) -> list[str]:
    """Absent concepts that something in ``scene`` resembles, sorted.

    A neighbour of a noun that is there; a namesake ("bat" where only a cricket bat is); a colour that the
    noun has not ("blue cap" where caps are red).
    """
    things = {o.thing for o in scene.objects}
    nouns = {t.noun for t in things}
    found: set[str] = set()
    for noun in nouns:
        found.update(n for n in neighbours(noun) if n not in nouns)
    for phrase, (meant, trap) in AMBIGUOUS.items():
        if trap in nouns and meant not in nouns:
            found.add(phrase)
    for thing in things:
        if thing.noun in TINTABLE:
            found.update(f"{c} {thing.noun}" for c in COLOURS if not scene.instances(f"{c} {thing.noun}"))
        if thing.colour:  # "red cap": the cap is red, the neighbouring backpack is not
            found.update(
                f"{thing.colour} {n}" for n in neighbours(thing.noun)
                if n in TINTABLE and not scene.instances(f"{thing.colour} {n}")
            )
    return sorted(found)


def reword(phrase: str, rng: np.random.Generator) -> str:
    """The phrase, or the same concept in other words: an article before it, or its plural."""
    pick = rng.random()
    if pick < 0.70:
        return phrase
    if pick < 0.80:
        return ("an " if phrase[0] in "aeiou" else "a ") + phrase
    if pick < 0.86:
        return "the " + phrase
    noun = noun_of(phrase)
    return phrase[: len(phrase) - len(noun)] + plural(noun)
