"""Builds curation/nouns.tsv.gz, the nouns of things that can be seen, from the files of WordNet 3.0.

    python -m scripts.noun_graph <folder with WordNet's data.noun, index.noun, noun.exc and cntlist.rev>

Debian's package wordnet-base holds them: ``apt-get install wordnet-base`` puts them into /usr/share/wordnet, and
``apt-get download wordnet-base && dpkg -x wordnet-base_*.deb /tmp/wordnet`` into /tmp/wordnet/usr/share/wordnet, which
leaves the system as it is. The same files are in the archive that https://wordnet.princeton.edu offers.

What is kept: words, which is a kind of which, and how often each sense was counted in WordNet's tagged texts. Not the
glosses. The same input gives the same bytes (gzip's are those of one version of zlib).

The file is a table of UTF-8 text that lies on its side, which packs best: a line per column, its cells separated by
tabs. The first four lines have a cell for each synset, in the order of WordNet's ids:

1. the id less the one before it (the first: the id), a byte offset in data.noun: 2118333 is ``n02118333``
2. the lexicographer file ("animal"); empty: as before
3. the hypernyms, each as the number of its cell, from 0, separated by spaces
4. the words, the usual one first, separated by ``|``. A word is ``fox``, or ``fox:2`` where this is WordNet's second
   sense of the word (the first is the most usual), or ``fox:1:3`` where it was counted three times as well

The last two lines have a cell for each plural that no rule makes: 5. the plural, 6. the singular.

Standard library only.
"""

from __future__ import annotations

import gzip
import io
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "curation" / "nouns.tsv.gz"


def _table(text: str) -> dict[str, str]:
    """Id → word; remarks are in parentheses."""
    return dict(re.findall(r"(\d{8}) ([^;\n(]*[^;\n( ])", text))


#: WordNet's lexicographer files of nouns, number 3 onwards
FILES = (
    ("tops", "act", "animal", "artifact", "attribute", "body", "cognition", "communication", "event", "feeling")
    + ("food", "group", "location", "motive", "object", "person", "phenomenon", "plant", "possession", "process")
    + ("quantity", "relation", "shape", "state", "substance", "time")
)

#: what can be seen, as far as the lexicographer file tells
SEEN_FILES = frozenset({"animal", "artifact", "body", "food", "object", "person", "plant"})

#: subtrees that can be seen, although WordNet files them with what cannot, or with much that cannot
SEEN_TREES = _table(
    """
    00019613 substance; 00021939 artifact (comic book, newspaper); 06793231 sign; 06873571 visual signal (traffic light)
    13385913 currency (coin, banknote); 06882561 badge; 06706676 medal; 06796119 postage stamp; 06518719 ticket
    06492939 menu; 08673395 tract (field, lawn, parking lot); 08436759 vegetation (forest); 11439690 cloud (smoke, fog)
    11494638 precipitation (rain, snow); 11475279 lightning; 13480848 flame; 13984944 shadow
    """
)

#: of those, subtrees that are left out unless WordNet's texts mention them (water, ice, gold), or another file does
CHEMISTRY = {"14818238": "compound", "14622893": "chemical element", "14806838": "chemical"}

#: subtrees of persons that are left out: descent, faith, birthdays and being disliked are not to be seen
UNSEEN = _table(
    """
    09620078 inhabitant; 09620794 native; 09625401 national; 09634494 African; 09636106 person of color; 09638875 White
    09676884 Slav; 09681351 Jew; 10323999 mixed-blood; 10311823 mestizo; 10219879 Jat; 10247880 Latin; 10065547 ethnic
    07967982 race; 08166552 nation; 09678009 Christian; 09682291 Muslim; 09683757 Buddhist; 09684609 Hindu
    09847727 believer; 09625789 nonreligious person; 09679170 gentile; 10182913 homosexual; 09631129 unwelcome person
    10599354 simpleton; 09752246 Aries; 09752381 Taurus; 09752519 Gemini; 09752657 Cancer; 09752795 Leo; 09752927 Virgo
    09753065 Libra; 09753204 Scorpio; 09753348 Sagittarius; 09753498 Capricorn; 09753642 Aquarius; 09753792 Pisces
    """
)

#: hypernyms other than WordNet's own, where those are abstract, or keep apart what looks alike
PARENTS = {
    "06793231": ["06873571"],  # sign: a visual signal, like a traffic light
    "04576211": ["04524313"],  # wheeled vehicle: a vehicle, and no container
    "03147509": ["03241496", "03133538"],  # cup: a drinking vessel, like a mug, and crockery
    "03438257": ["03241496"],  # glass: a drinking vessel
    "03793489": ["03163973", "03277771"],  # mouse: an input device, like a keyboard, and electronic
    "04464615": ["03163973", "03277771"],  # trackball: as well
    "02389559": ["02374149", "02389346"],  # donkey: an equine, beside horse and zebra, and an ass
}

#: what has hypernyms that can be seen, and the two that are too abstract to be anyone's
PHYSICAL = {"00001930": "physical entity"}
ROOTS = {"00001740": "entity"} | PHYSICAL
#: families, genera, orders
TAXA = {"07992450": "taxonomic group", "08221348": "division", "08456993": "ordering"}

#: how WordNet's glosses mark words that insult
INSULTS = re.compile(
    r"ethnic slur|(considered|regarded as|sometimes) offensive|slang for anus"
    r"|\b(offensive|derogatory|disparaging|insulting|obscene|vulgar)\b[^;:]*?\b(terms?|names?|slang)\b"
)

#: what a taxon's name may begin with
TITLES = frozenset({"genus", "family", "order", "class", "division"})

#: plurals that noun.exc does not have
PLURALS = {"people": "person"}


@dataclass
class Synset:
    """A line of data.noun, without what is not needed."""

    file: str
    words: list[str]
    counts: list[int]
    parents: list[str]
    instance: bool
    insult: bool
    children: list[str] = field(default_factory=list)


def read(folder: Path) -> dict[str, Synset]:
    """All of WordNet's nouns by their id, 8 digits."""
    counts: dict[str, int] = {}
    for line in (folder / "cntlist.rev").read_text("ascii").splitlines():
        sense, _, count = line.split()
        counts[sense] = int(count)
    nouns: dict[str, Synset] = {}
    for line in (folder / "data.noun").read_text("ascii").splitlines():
        if line.startswith("  "):  # the licence
            continue
        data, _, gloss = line.partition(" | ")
        key, file, _, size, *rest = data.split()
        words = [(rest[2 * i], int(rest[2 * i + 1], 16)) for i in range(int(size, 16))]
        pointers = rest[2 * len(words) + 1 :]
        links = list(zip(pointers[::4], pointers[1::4], strict=False))
        nouns[key] = Synset(
            file=FILES[int(file) - 3],
            words=[word.replace("_", " ") for word, _ in words],
            counts=[counts.get(f"{word.lower()}%1:{file}:{place:02}::", 0) for word, place in words],
            parents=[other for symbol, other in links if symbol == "@"],
            instance=any(symbol == "@i" for symbol, _ in links),
            insult=bool(INSULTS.search(gloss.partition('; "')[0])),
        )
    for key, synset in nouns.items():
        for parent in synset.parents:
            nouns[parent].children.append(key)
    return nouns


def below(nouns: dict[str, Synset], keys: Iterable[str]) -> set[str]:
    """The keys, and whatever is a kind of them."""
    return _reached(keys, lambda key: nouns[key].children)


def above(nouns: dict[str, Synset], keys: Iterable[str]) -> set[str]:
    """The keys, and whatever they are a kind of."""
    return _reached(keys, lambda key: nouns[key].parents)


def _reached(keys: Iterable[str], step: Callable[[str], list[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(keys)
    while waiting:
        key = waiting.pop()
        if key not in found:
            found.add(key)
            waiting += step(key)
    return found


def seen(nouns: dict[str, Synset]) -> dict[str, Synset]:
    """What can be seen, with its hypernyms; Latin names, instances and insults are gone. In order of the ids."""
    for key, name in (SEEN_TREES | UNSEEN | CHEMISTRY | ROOTS | TAXA).items():
        if key not in nouns or name not in nouns[key].words:
            raise ValueError(f"data.noun has no {name} at {key}: this is not WordNet 3.0")
    taxa = below(nouns, TAXA)
    left_out = taxa | below(nouns, UNSEEN)
    left_out |= {key for key, synset in nouns.items() if synset.instance or synset.insult}
    chemistry = {key for key in below(nouns, CHEMISTRY) if not sum(nouns[key].counts)}
    kept = {key for key, synset in nouns.items() if synset.file in SEEN_FILES}
    kept = (kept | below(nouns, SEEN_TREES) - chemistry) - left_out

    for child, parents in PARENTS.items():
        nouns[child].parents = parents
    genera = {word.split()[-1] for key in taxa for word in nouns[key].words if word[0].isupper() or " " in word}
    for key in sorted(kept):
        synset = nouns[key]
        plain = [i for i, word in enumerate(synset.words) if not learned(word, synset.file, genera)]
        if plain or not synset.children:
            synset.words, synset.counts = [synset.words[i] for i in plain], [synset.counts[i] for i in plain]
        if not synset.words:
            kept.remove(key)
    kept |= above(nouns, kept) & below(nouns, PHYSICAL) - left_out - set(ROOTS)
    return {key: nouns[key] for key in sorted(kept)}


def learned(word: str, file: str, genera: set[str]) -> bool:
    """Whether nobody says so who is not a scholar: a species or taxon ("Canis lupus", "genus Vulpes"), an element."""
    if file == "substance":
        return bool(re.fullmatch(r"[A-Z][a-z]?", word))
    first, *rest = word.split()
    if file not in ("animal", "plant") or not rest:
        return False
    return first in TITLES and rest[0][0].isupper() or first in genera and first[0].isupper() and rest[0][0].islower()


def ranks(folder: Path) -> dict[tuple[str, str], int]:
    """(word, id) → which of the word's senses it is, from 1."""
    found: dict[tuple[str, str], int] = {}
    for line in (folder / "index.noun").read_text("ascii").splitlines():
        if not line.startswith("  "):
            lemma, _, size, *rest = line.split()
            found.update({(lemma.replace("_", " "), key): i + 1 for i, key in enumerate(rest[-int(size) :])})
    return found


def plurals(folder: Path, kept: dict[str, Synset]) -> dict[str, str]:
    """Plural → singular, of the kept words."""
    words = {word.lower() for synset in kept.values() for word in synset.words}
    found = dict(PLURALS)
    for line in (folder / "noun.exc").read_text("ascii").replace("_", " ").splitlines():
        plural, _, singulars = line.partition(" ")
        singular = next((word for word in singulars.split() if word in words), plural)  # "leaves leaf leave"
        if singular != plural:
            found[plural] = singular
    return dict(sorted(found.items()))


def columns(folder: Path, kept: dict[str, Synset]) -> list[list[str]]:
    """The cells of the file, line by line."""
    rank, place = ranks(folder), {key: i for i, key in enumerate(kept)}
    rows, last_key, last_file = [], 0, ""
    for key, synset in kept.items():
        words = [(word, rank[word.lower(), key], n) for word, n in zip(synset.words, synset.counts, strict=True)]
        usual_first(words)
        file = synset.file if synset.file != "tops" else top(synset)
        parents = " ".join(str(place[parent]) for parent in synset.parents if parent in place)
        rows.append([str(int(key) - last_key), "" if file == last_file else file, parents, "|".join(map(cell, words))])
        last_key, last_file = int(key), file
    irregular = plurals(folder, kept)
    return [*map(list, zip(*rows, strict=True)), list(irregular), list(irregular.values())]


def usual_first(words: list[tuple[str, int, int]]) -> None:
    """Puts first what is counted far more often than WordNet's own first: pig before hog, plane before airplane.

    Not where it mostly means something else (a serviceman is a man), nor by a narrow margin: the texts are few.
    """
    _, first_rank, first_count = words[0]
    best = max(words, key=lambda word: word[2])
    if best[2] > 2 * first_count + 2 and best[1] <= first_rank:
        words.remove(best)
        words.insert(0, best)


def cell(word: tuple[str, int, int]) -> str:
    """A word, its rank and count as they are written."""
    name, rank, count = word
    return f"{name}:{rank}:{count}" if count else f"{name}:{rank}" if rank > 1 else name


def top(synset: Synset) -> str:
    """The lexicographer file of a synset that WordNet keeps apart, as the root of one or more files."""
    return next((word for word in synset.words if word in FILES), "object")


def build(folder: Path) -> bytes:
    """The data file. Raises FileNotFoundError without WordNet's files, ValueError where they are of another version."""
    kept = seen(read(folder))
    text = "\n".join("\t".join(cells) for cells in columns(folder, kept)) + "\n"
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", filename="", mtime=0, compresslevel=9) as file:
        file.write(text.encode())
    return packed.getvalue()


def main() -> None:
    """Build it and say how large it is."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    TARGET.write_bytes(build(Path(sys.argv[1])))
    print(f"{TARGET}: {TARGET.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
