"""In what other words a concept could be asked: one or many, with an article, by another name; and by the names of
what else its word means.

The names come from the noun graph (:mod:`curation.nouns`). What a concept means is not guessed: the names of each sense
are offered, and say whose they are.

>>> [one.phrase for one in suggest_wordings("mouse")]
['mouse', 'a mouse', 'the mouse', 'mice', 'computer mouse']
>>> [one.phrase for one in suggest_wordings("red fire trucks")]
['red fire trucks', 'red fire truck', 'a red fire truck', 'the red fire truck', 'red fire engine']
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .errors import CurationError
from .nouns import Sense, irregular_plurals, offered, senses

if __package__ == "curation":
    from zoo.engine.concepts import check_phrase
    from zoo.engine.errors import ConceptError
else:
    from ..zoo.engine.concepts import check_phrase
    from ..zoo.engine.errors import ConceptError

#: phrases that are suggested, at most
MOST = 8
#: other names of one sense, at most
_NAMES = 2
#: senses that are looked at; rarer ones are hardly ever meant
_SENSES = 4
#: kinds whose names are not offered for other senses: who says "pig" means no policeman
_FAR_FETCHED = ("person", "body", "substance", "group")
_DETERMINERS = frozenset(
    ("a", "an", "the", "this", "that", "these", "those", "some", "any", "every", "each", "all", "my", "your", "his")
    + ("her", "its", "our", "their", "no")
)
_NUMBERS = frozenset(
    ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "many", "several", "few", "both")
)
_PREPOSITIONS = frozenset(("about", "above", "at", "behind", "by", "for", "from", "in", "near", "of", "on", "under",
                           "with", "without"))  # fmt: skip
_UNCHANGED = frozenset(("fish", "sheep", "deer", "moose", "bison", "swine", "salmon", "trout", "shrimp", "aircraft",
                        "spacecraft", "hovercraft", "series", "species", "offspring"))  # fmt: skip
_PAIRS = frozenset(("glasses", "sunglasses", "scissors", "trousers", "pants", "jeans", "shorts", "pliers", "tongs",
                    "tweezers", "goggles", "binoculars", "pajamas", "pyjamas", "tights", "clothes"))  # fmt: skip


@dataclass(frozen=True)
class Suggestion:
    """A phrase that a concept could be asked with.

    Attributes:
        phrase: as it is asked.
        because: what it is: "as it is", "with an article", "plural", "another name", "another sense", and so on.
        sense: the key of the sense that it names, where the phrase has only one; else None.
    """

    phrase: str
    because: str
    sense: str | None = None


def suggest_wordings(concept: str, most: int = MOST) -> tuple[Suggestion, ...]:
    """Other words for a concept, the concept itself first.

    Args:
        concept: a noun phrase.
        most: how many, at most.

    Returns:
        phrases that differ by more than letter case; the concept's own forms before other names, these before the
        names of other senses.

    Raises:
        CurationError: no phrase, or ``most`` is below 1.
    """
    try:
        phrase = check_phrase(concept)
    except ConceptError as error:
        raise CurationError(f"concept={concept!r}: {error}") from None
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise CurationError(f"most={most!r} must be a whole number above 0")
    found: dict[str, Suggestion] = {}
    for words, because in _wordings(phrase):
        found.setdefault(words.casefold(), Suggestion(words, because, only_sense(words)))
    return tuple(found.values())[:most]


def forms(concept: str) -> tuple[str, ...]:
    """The concept's own forms, and other names of what it mostly means; no names of its other senses."""
    return tuple(one.phrase for one in suggest_wordings(concept, 64) if one.because != _ELSE)


def only_sense(phrase: str) -> str | None:
    """The key of what a phrase means, where that is one thing only.

    >>> only_sense("computer mouse"), only_sense("mouse")
    ('n03793489', None)
    """
    known = senses(phrase)
    return known[0].key if len(known) == 1 else None


def plural(noun: str) -> str:
    """The plural of a noun of one word or several.

    >>> [plural(noun) for noun in ("mouse", "fire truck", "box", "berry", "toy", "wolf", "bus", "scissors")]
    ['mice', 'fire trucks', 'boxes', 'berries', 'toys', 'wolves', 'buses', 'scissors']
    >>> plural("bird of prey")
    'birds of prey'
    """
    words = noun.split()
    end = next((k for k in range(1, len(words)) if words[k].casefold() in _PREPOSITIONS), len(words))
    return " ".join([*words[: end - 1], _plural(words[end - 1]), *words[end:]])


def _plural(word: str) -> str:
    plain = word.casefold()
    if plain in _UNCHANGED | _PAIRS:
        return word
    irregular = [many for many in irregular_plurals(plain) if " " not in many]
    if irregular and not plain.endswith(("s", "x", "z")):
        return irregular[0]
    if plain.endswith(("s", "x", "z", "ch", "sh")):
        return f"{word}es"
    if plain.endswith("y") and plain[-2:-1] not in ("", *"aeiou"):
        return f"{word[:-1]}ies"
    return f"{word}s"


_ELSE = "another sense"


def _wordings(phrase: str) -> Iterator[tuple[str, str]]:
    """Phrases, and what each is; some may be the same."""
    yield phrase, "as it is"
    words = phrase.split()
    while len(words) > 1 and words[0].casefold() in _DETERMINERS:
        words = words[1:]
    front, noun, behind = _taken_apart(words)
    known = senses(" ".join(words))
    if not known and not phrase.isascii():
        return  # of another language, whose rules are others
    counted = any(word.casefold() in _NUMBERS | _PREPOSITIONS or word.isdigit() for word in front)
    own = {name.casefold(): name for one in known for name in one.words}
    one = noun if noun.casefold() in own else next((name for name in own.values() if _same(plural(name), noun)), noun)

    def put(name: str) -> str:
        return " ".join([*front, name, *behind])

    if not counted:
        yield put(one), "one"
        if one.casefold() not in _PAIRS:
            yield f"{_article(put(one))} {put(one)}", "with an article"
        yield f"the {put(one)}", "with a determiner"
        yield put(plural(one)), "plural"
    for name in _names(known[:1], one):
        yield put(plural(name) if counted else name), "another name"
    for other in known[1:_SENSES]:
        if other.kind not in _FAR_FETCHED:
            for name in _names([other], one)[:1]:
                yield put(plural(name) if counted else name), _ELSE


def _taken_apart(words: list[str]) -> tuple[list[str], str, list[str]]:
    """What stands before the thing, the thing, what stands behind: "red", "fire truck", "in the rain"."""
    meant = senses(" ".join(words))
    if any(_same(name, " ".join(words)) or _same(plural(name), " ".join(words)) for one in meant for name in one.words):
        return [], " ".join(words), []
    cuts = [k for k in range(1, len(words)) if words[k].casefold() in _PREPOSITIONS]
    for end in (len(words), *cuts):
        for start in reversed(range(end)):
            part = " ".join(words[start:end])
            if meant and senses(part) == meant and not _PREPOSITIONS.intersection(part.casefold().split()):
                return words[:start], part, words[end:]
    end = cuts[0] if cuts else len(words)
    return words[: end - 1], words[end - 1], words[end:]


def _names(known: list[Sense] | tuple[Sense, ...], noun: str) -> list[str]:
    """Other names of senses: those that mostly mean just that."""
    found = [
        name for one in known for name in one.words
        if not _same(name, noun) and offered(name) and (senses(name) or (None,))[0] == one
    ]  # fmt: skip
    return found[:_NAMES]


def _same(first: str, second: str) -> bool:
    """Whether two names are one but for letter case, hyphens and dots."""
    return re.findall(r"\w+", first.casefold()) == re.findall(r"\w+", second.casefold())


def _article(phrase: str) -> str:
    plain = phrase.casefold()
    return "an" if re.match(r"(?!uni(?!n|m)|u-|eu|one\b|ewe)[aeiou]|hour", plain) else "a"
