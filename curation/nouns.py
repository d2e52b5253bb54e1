"""Which everyday things are near neighbours of a concept: fox, and wolf, dog, jackal.

A model that finds foxes is best tried on what is nearly one. The nouns, which is a kind of which, and how usual each is
come from WordNet 3.0: ``nouns.tsv.gz`` beside this module, which ``scripts/noun_graph.py`` builds and describes;
NOUNS-NOTICE.md has its licence. It is read when it is first needed.

A word has senses, and neighbours are a sense's. Which one is meant is for the caller to choose, nothing here guesses.

>>> print(*senses("two white mice"), sep="\\n")
mouse (animal: rodent, placental)
mouse (person: person, organism)
mouse, computer mouse (artifact: data input device, peripheral)
>>> [neighbour.word for neighbour in neighbours(senses("foxes")[0].key, 3)]
['dog', 'wolf', 'hyena']
"""

from __future__ import annotations

import functools
import gzip
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import Path
from typing import Literal, NamedTuple

_FILE = Path(__file__).with_name("nouns.tsv.gz")


def _keys(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"n\d{8}", text))


#: to have these in common says nothing
_VAST = _keys(
    """
    n00002684 object n00003553 whole n00002452 thing n00020827 matter n00019613 substance n00020090 substance
    n00007347 cause n00029677 process n09385911 part n03892891 part n09465459 unit n15046900 solid n14939900 fluid
    n14778436 agent n09190918 agent n00027167 location n08630985 region n08630039 region n08574314 geographical area
    n00004258 living thing n00004475 organism n00021939 artifact n03575240 instrumentality n04424418 thing
    """
)
#: nor these, but people do say them
_KINGDOMS = _keys("n00007846 person n00015388 animal n00017222 plant n00021265 food")
#: to have these in common says little
_WIDE = _keys(
    """
    n03183080 device n03122748 covering n03076708 commodity n03093574 consumer goods n03129123 creation
    n00022903 article n14580897 material n14806838 chemical n14818238 compound n00019128 natural object
    n05220461 body part n13083586 vascular plant
    """
)
#: and these are the words of the learned, or of nobody
_LEARNED = _keys(
    """
    n01466257 chordate n01471682 vertebrate n01473806 aquatic vertebrate n01905661 invertebrate n01886756 placental
    n02514825 bony fish n02528163 teleost fish n02552171 spiny-finned fish n02554730 percoid fish n01661818 diapsid
    n01524359 passerine n01525720 oscine n13103136 woody plant n11552386 spermatophyte n11665372 angiosperm
    n13086908 plant part n13087625 plant organ n11675842 reproductive structure n05225602 bodily structure
    n04341686 structure n03563967 implement n03574816 instrument n03100490 conveyance n03294048 equipment
    n03738472 mechanism n03736970 mechanical device n04007894 product n04014297 protection n04076846 representation
    n07566340 foodstuff n07570720 nutriment
    """
)
_APART = _VAST | _KINGDOMS
_UNSAID = _VAST | _WIDE | _LEARNED

#: never suggested, innocent as most of them are where they name animals
_NOT_OFFERED = frozenset(
    ("ass", "bitch", "booby", "broad", "cock", "cocotte", "homo", "prostitute", "pussy", "raper", "slave")
    + ("tit", "whore")
)

#: the thing comes before these: "a man with a hat"
_PREPOSITIONS = frozenset(
    ("about", "above", "at", "behind", "below", "beside", "by", "for", "from", "in", "inside", "near", "of", "on")
    + ("over", "under", "with", "without")
)

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")

#: endings of plurals and of their singulars; the first that makes a known noun counts
_ENDINGS = (
    *(("s", ""), ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"), ("oes", "o")),
    *(("ies", "y"), ("ves", "f"), ("ves", "fe"), ("men", "man")),
)


class UnknownSenseError(KeyError):
    """No sense has that key."""

    def __str__(self) -> str:
        return f"no sense has the key {self.args[0]!r}; senses('fox') finds those of a word"


@dataclass(frozen=True)
class Sense:
    """One meaning of a noun.

    Attributes:
        key: WordNet 3.0's id, "n02118333"
        words: what it is called, the usual word first: ("fox",)
        kind: WordNet's lexicographer file: "animal", "artifact", "food", ...
        path: what it is a kind of, the nearest first: ("canine", "carnivore", ...); the first where there are several
    """

    key: str
    words: tuple[str, ...]
    kind: str
    path: tuple[str, ...]

    def __str__(self) -> str:
        """Short, and tells most senses of a word apart: "bat, chiropteran (animal: placental, mammal)"."""
        return f"{', '.join(self.words[:2])} ({': '.join(filter(None, (self.kind, ', '.join(self.path[:2]))))})"


@dataclass(frozen=True)
class Neighbour:
    """A thing that is nearly another.

    Attributes:
        word: what to call it; not a word for the other thing as well, nor for its kinds
        sense: the meaning of the word
        relation: siblings share a hypernym; cousins share one a level further up, for either or for both
        via: the usual word of what they share
    """

    word: str
    sense: Sense
    relation: Literal["sibling", "cousin"]
    via: str


def senses(phrase: str) -> tuple[Sense, ...]:
    """What a phrase may mean, the usual meaning first.

    Decided by the longest run of words at its end that is a noun, or the plural of one; before the first preposition,
    unless that is a part of the noun ("bird of prey"). Case, accents, hyphens and punctuation do not matter.

    Args:
        phrase: any text, "red fire trucks"

    Returns:
        Senses in WordNet's order; where the words are a noun as they stand, and a plural too ("glasses"), those of the
        noun come first. Nothing if no noun is known, or none that can be seen.

    >>> [sense.words[0] for sense in senses("red Fire-Trucks")]
    ['fire engine']
    >>> senses("happiness")
    ()
    """
    graph, words = _graph(), _plain(phrase).split()
    size = len(words)
    cut = next((i for i in range(1, size) if words[i] in _PREPOSITIONS), size)
    spans = [(start, size) for start in range(cut)] + [(start, cut) for start in range(cut)]
    spans += [(start, size) for start in range(cut, size)]  # "a bunch of bananas": there is no bunch
    for start, end in spans:
        if end - start <= graph.longest:
            found = [row for noun in _nouns(words[start:end], graph) for _, row in sorted(graph.senses[noun])]
            if found:
                return tuple(map(_sense, dict.fromkeys(found)))
    return ()


def sense(key: str) -> Sense:
    """The sense with a key.

    Raises:
        UnknownSenseError: a KeyError; no sense has it.

    >>> print(sense("n02118333"))
    fox (animal: canine, carnivore)
    """
    return _sense(_row(key))


@functools.lru_cache(maxsize=4096)
def neighbours(key: str, limit: int = 20) -> tuple[Neighbour, ...]:
    """What is nearly the thing, but neither the thing, nor a kind of it, nor what it is a kind of.

    Siblings come before cousins, those of the first hypernym before those of a second, usual words before rare ones.
    What has only a wide hypernym in common ("device") is left out, unless there is nothing else; of the widest
    ("artifact") always.

    Args:
        key: of a sense
        limit: the most neighbours to return

    Returns:
        Neighbours with different words, the best first.

    Raises:
        UnknownSenseError: no sense has the key.
        ValueError: the limit is negative.
    """
    if limit < 0:
        raise ValueError(f"limit must be 0 or more, got {limit}")
    graph, own = _graph(), _row(key)
    family = _reached(own, graph.parents).keys() | _reached(own, graph.children).keys()
    # what a word mostly means decides whose it is: "boy" is a child's, though some say it to a man
    taken: dict[str, int] = {}
    for name in chain.from_iterable(map(_names, family)):
        taken[name.plain] = min(name.rank, taken.get(name.plain, name.rank))
    taken.update((name.plain, 0) for name in _names(own))
    ranked = []
    for steps, order, via, row in _candidates(own, graph):
        names = (name for name in _names(row) if name.rank < taken.get(name.plain, math.inf))
        name = next((name for name in names if offered(name.plain)), None)
        if name and row not in family and graph.keys[row] not in _UNSAID:
            wide, unusual = graph.keys[via] in _WIDE, -_usualness(row, name, graph)
            ranked.append((wide, steps, order, unusual, name, row, via))
    ranked.sort()
    found: dict[str, Neighbour] = {}
    known: set[int] = set()
    for wide, steps, _, _, name, row, via in ranked:
        if len(found) >= limit or wide > ranked[0][0]:
            break
        if name.plain not in found and row not in known:
            relation: Literal["sibling", "cousin"] = "sibling" if steps == 1 else "cousin"
            found[name.plain] = Neighbour(name.word, _sense(row), relation, _names(via)[0].word)
            known.add(row)
    return tuple(found.values())


def related(a_key: str, b_key: str) -> bool:
    """Whether one is a kind of the other, or both are the same: a puppy is a dog, a wolf is not.

    Raises:
        UnknownSenseError: no sense has one of the keys.
    """
    a, b, parents = _row(a_key), _row(b_key), _graph().parents
    return a in _reached(b, parents) or b in _reached(a, parents)


def common_parent(keys: Iterable[str]) -> Sense | None:
    """The nearest thing that all are kinds of, for a label that stands for all: mug and cup are drinking vessels.

    That is one of them, where the others are kinds of it. ``None`` where they have nothing in common that anyone would
    say ("object", "device", "placental"), or where there are no keys.

    Raises:
        UnknownSenseError: no sense has one of the keys.
    """
    graph = _graph()
    lines = [_reached(_row(key), graph.parents) for key in keys]
    shared = [row for row in lines[0] if all(row in line for line in lines)] if lines else []
    said = [row for row in shared if graph.keys[row] not in _UNSAID]
    if not said:
        return None
    # of several that are as near, the one furthest from the roots
    depth = {row: len(_reached(row, graph.parents)) for row in said}
    return _sense(min(said, key=lambda row: (sum(line[row] for line in lines), -depth[row], row)))


def common_nouns(count: int) -> tuple[str, ...]:
    """The words for things that can be seen which WordNet's texts have most often, in the word's usual sense.

    Args:
        count: how many, at most

    >>> len(common_nouns(1203)), "dog" in common_nouns(1203), "wolfhound" in common_nouns(1203)
    (1203, True, False)
    """
    rows = range(len(_graph().keys))
    usual = {name.plain: name for row in rows for name in reversed(_names(row)) if name.rank == 1}
    return tuple(name.word for name in sorted(usual.values(), key=lambda n: (-n.count, n.plain))[:count])


def irregular_plurals(noun: str) -> tuple[str, ...]:
    """The plurals of a noun that no rule makes, as far as WordNet lists them.

    >>> irregular_plurals("mouse"), irregular_plurals("dog")
    (('mice',), ())
    """
    return _irregular().get(_plain(noun), ())


def offered(word: str) -> bool:
    """Whether a word may be suggested to people who did not say it."""
    return _NOT_OFFERED.isdisjoint(_plain(word).split())


@functools.cache
def _irregular() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for many, one in _graph().plurals.items():
        found[one] = (*found.get(one, ()), many)
    return found


class _Name(NamedTuple):
    """A word of a sense; ``rank`` is 1 where this is the word's most usual meaning."""

    word: str
    plain: str
    rank: int
    count: int  # how often WordNet's texts have it in this sense


@dataclass(frozen=True)
class _Graph:
    """The file's content. Senses are numbers: rows, in the order of their keys."""

    keys: list[str]
    row: dict[str, int]
    kinds: list[str]
    nouns: list[str]  # cells of the file
    parents: list[list[int]]
    children: list[list[int]]
    senses: dict[str, list[tuple[int, int]]]  # of a plain word: rank and row
    plurals: dict[str, str]
    compounds: Counter[str]  # how many compound nouns have the word in them
    longest: int  # words in a noun


@functools.cache
def _graph() -> _Graph:
    gaps, files, hypernyms, nouns, plurals, singulars = (
        line.split("\t") for line in gzip.decompress(_FILE.read_bytes()).decode().splitlines()
    )
    keys = [f"n{offset:08}" for offset in accumulate(map(int, gaps))]
    parents = [[int(row) for row in cell.split()] for cell in hypernyms]
    children: list[list[int]] = [[] for _ in keys]
    for row, above in enumerate(parents):
        for parent in above:
            children[parent].append(row)
    senses: dict[str, list[tuple[int, int]]] = {}
    for row, cell in enumerate(nouns):
        for name in cell.split("|"):
            word, _, numbers = name.partition(":")
            senses.setdefault(_plain(word), []).append((int(numbers.partition(":")[0] or 1), row))
    compounds = [noun.split() for noun in senses if " " in noun]
    return _Graph(
        keys=keys,
        row={key: row for row, key in enumerate(keys)},
        kinds=list(accumulate(files, lambda last, file: file or last)),
        nouns=nouns,
        parents=parents,
        children=children,
        senses=senses,
        plurals=dict(zip(map(_plain, plurals), map(_plain, singulars), strict=True)),
        compounds=Counter(chain.from_iterable(compounds)),
        longest=max(map(len, compounds)),
    )


@functools.lru_cache(maxsize=65536)
def _names(row: int) -> tuple[_Name, ...]:
    cells = (name.split(":") + ["", ""] for name in _graph().nouns[row].split("|"))
    return tuple(_Name(word, _plain(word), int(rank or 1), int(count or 0)) for word, rank, count, *_ in cells)


def _plain(text: str) -> str:
    """Lower case, no accents, and nothing but words with one space between."""
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text.replace("’", "'"))
        text = "".join(letter for letter in text if not unicodedata.combining(letter))
    return text.lower() if text.isalpha() else " ".join(_WORD.findall(text.lower()))


def _nouns(words: Sequence[str], graph: _Graph) -> list[str]:
    """The known nouns that words are, and are the plural of."""
    noun = " ".join(words)
    known = [noun] if noun in graph.senses else []
    if known and len(words[-1]) <= 3:
        return known  # gas is no plural
    singulars = [graph.plurals.get(noun, "")]
    for end in (len(words), *(i for i in range(1, len(words)) if words[i] in _PREPOSITIONS)):  # "birds of prey"
        head = words[end - 1]
        ones = [head.removesuffix(many) + one for many, one in _ENDINGS if head.endswith(many)]
        ones = [graph.plurals.get(head, ""), *(ones if not head.endswith("ss") else ())]
        singulars += [" ".join([*words[: end - 1], one, *words[end:]]) for one in ones]
    return known + [one for one in singulars if one in graph.senses][:1]


def _row(key: str) -> int:
    try:
        return _graph().row[key]
    except KeyError:
        raise UnknownSenseError(key) from None


@functools.lru_cache(maxsize=4096)
def _sense(row: int) -> Sense:
    graph, path, above = _graph(), [], row
    while graph.parents[above]:
        above = graph.parents[above][0]
        path.append(_names(above)[0].word)
    return Sense(graph.keys[row], tuple(name.word for name in _names(row)), graph.kinds[row], tuple(path))


def _reached(row: int, links: Sequence[Sequence[int]]) -> dict[int, int]:
    """Whatever can be reached by links, the row itself included, and in how many steps."""
    found, edge, steps = {row: 0}, [row], 0
    while edge:
        steps += 1
        edge = [other for near in edge for other in links[near]]
        edge = [other for other in dict.fromkeys(edge) if other not in found]
        found.update(dict.fromkeys(edge, steps))
    return found


def _candidates(own: int, graph: _Graph) -> Iterator[tuple[int, int, int, int]]:
    """Siblings, with 1, and cousins, with 2; which hypernym of the sense leads there; what is shared; the row."""
    for order, parent in enumerate(graph.parents[own]):
        for sibling in graph.children[parent] if graph.keys[parent] not in _APART else ():
            yield 1, order, parent, sibling
            # a mere heading ("bowed stringed instrument"), whose kinds are what anyone knows
            if graph.children[sibling] and _usualness(sibling, _names(sibling)[0], graph) < 2:
                for child in graph.children[sibling]:
                    yield 2, order, parent, child
        for grandparent in graph.parents[parent]:
            for uncle in graph.children[grandparent] if graph.keys[grandparent] not in _APART else ():
                yield 2, order, grandparent, uncle
                for cousin in graph.children[uncle]:
                    yield 2, order, grandparent, cousin


def _usualness(row: int, name: _Name, graph: _Graph) -> float:
    """How usual it is to speak of a thing by a name; tuned by eye.

    WordNet's texts are too few to have met most animals and fruits. What is spoken of has found its way into compounds
    as well ("lemon peel"), which tells nothing where the word mostly means something else; and it has a short name.
    """
    compounds = math.log2(1 + graph.compounds[name.plain]) / name.rank
    length = 1.2 * name.plain.count(" ") + len(name.plain) / 20
    return math.log2(1 + sum(name.count for name in _names(row))) + compounds + 0.7 * bool(graph.children[row]) - length
