"""What is pointed out in a scene: example boxes, counter-examples, and what is then meant.

An example says "all that is like this", alone or beside a phrase; a counter-example takes away what the phrase, or the
other examples, would find, and all that is like it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .scenes import Scene
from .vocabulary import AMBIGUOUS, Thing, neighbours, noun_of

Kind = Literal["shown", "named", "contrasted", "narrowed", "refused"]


@dataclass(frozen=True)
class Lesson:
    """Boxes of a scene's objects, with a phrase or without.

    Attributes:
        kind: ``shown``: examples alone; ``named``: with the phrase for them; ``contrasted``: examples, and a look-alike
            as a counter-example; ``narrowed``: a noun, and one of its colours as a counter-example; ``refused``: a
            phrase for what is not there, and as a counter-example what it could be taken for
        phrase: ``None``: there are no words
        shown: indices of the scene's objects
        positive: for each of these, whether it is an example, or a counter-example
        instances: indices of the objects that are meant
    """

    kind: Kind
    phrase: str | None
    shown: tuple[int, ...]
    positive: tuple[bool, ...]
    instances: tuple[int, ...]


def scene_lessons(scene: Scene, rng: np.random.Generator) -> list[Lesson]:
    """One lesson of each kind for each thing, or noun, of ``scene`` that allows it."""
    lessons: list[Lesson] = []
    things = list(dict.fromkeys(o.thing for o in scene.objects))
    for thing in things:
        mine = [i for i, o in enumerate(scene.objects) if o.thing == thing]
        shown = _some(mine, rng, 2)
        lessons.append(_lesson("shown", None, shown, (), mine))
        lessons.append(_lesson("named", thing.name, _some(mine, rng, 2), (), mine))
        others = [i for i, o in enumerate(scene.objects) if o.thing != thing]
        alike = [i for i in others if looks_like(scene.objects[i].thing, thing)]
        if others:
            lessons.append(_lesson("contrasted", None, _some(mine, rng, 1), _some(alike or others, rng, 2), mine))
    for noun in dict.fromkeys(t.noun for t in things):
        kinds = [t for t in things if t.noun == noun]
        if len(kinds) < 2:
            continue
        refused = kinds[int(rng.integers(len(kinds)))]
        lessons += [narrowing(scene, refused, rng), narrowing(scene, refused, rng, example=True)]
    return lessons


def narrowing(scene: Scene, refused: Thing, rng: np.random.Generator, example: bool = False) -> Lesson:
    """The noun of ``refused``, which is there in other colours, too, without that one; perhaps with an example."""
    bad = [i for i, o in enumerate(scene.objects) if o.thing == refused]
    good = [i for i, o in enumerate(scene.objects) if o.thing.noun == refused.noun and o.thing != refused]
    shown = _some(good, rng, 1) if example else ()
    return _lesson("narrowed", refused.noun, shown, _some(bad, rng, 1 if example else 2), good)


def refusal(scene: Scene, phrase: str, rng: np.random.Generator) -> Lesson | None:
    """An absent concept with what it could be taken for as a counter-example; ``None`` where there is nothing."""
    alike = [i for i, o in enumerate(scene.objects) if _mistaken(o.thing, phrase)]
    return _lesson("refused", phrase, (), _some(alike, rng, 2), ()) if alike else None


def looks_like(a: Thing, b: Thing) -> bool:
    """Whether one thing could be taken for the other: another colour of the same noun, or a neighbour of it."""
    return a != b and (a.noun == b.noun or a.noun in neighbours(b.noun))


def _mistaken(thing: Thing, phrase: str) -> bool:
    noun = noun_of(phrase)
    trap = AMBIGUOUS.get(phrase, ("", ""))[1]
    return not thing.answers(phrase) and (thing.noun in (noun, trap) or thing.noun in neighbours(noun))


def _some(indices: list[int], rng: np.random.Generator, most: int) -> tuple[int, ...]:
    """One to ``most`` of them."""
    return tuple(int(i) for i in rng.permutation(indices)[: int(rng.integers(1, most + 1))])


def _lesson(
    kind: Kind, phrase: str | None, good: tuple[int, ...], bad: tuple[int, ...], instances: list[int] | tuple[()]
) -> Lesson:
    return Lesson(kind, phrase, (*good, *bad), (True,) * len(good) + (False,) * len(bad), tuple(instances))
