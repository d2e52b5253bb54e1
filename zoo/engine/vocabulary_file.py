"""Concept files: a vocabulary in YAML, which a team can read, review and share.

::

    concepts:
      - label: cap
        phrases: [cap, baseball cap]
        threshold: 0.4
        neighbours: [helmet]
        parent: headgear
        sense: n02954340                 # of an ambiguous word, by its key in the noun graph; '' is none of them
        exemplars:
          - image: caps/1.jpg            # relative to the file
            boxes: [[0.1, 0.2, 0.3, 0.3]]  # x, y, width, height, relative to the image
            positive: [true]
      - fire truck                       # a label alone is its own phrase

Only plain data is read, no Python objects. What is wrong is said with its line.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .concepts import Concept, check_fraction, check_phrase, parse_concepts
from .errors import ConceptError

SUFFIXES = (".yaml", ".yml")
_KEYS = ("label", "phrases", "threshold", "neighbours", "parent", "sense", "exemplars")
_EXAMPLE_KEYS = ("image", "boxes", "positive")
#: what a file may hold; more is a mistake, or an attack
_MOST_NODES = 200_000


@dataclass(frozen=True)
class Vocabulary:
    """What a concept file says.

    Attributes:
        concepts: in the file's order; those without phrases have examples
        exemplars: label -> entries, as :func:`zoo.exemplar_bank.parse_bank` takes them; paths are absolute
    """

    concepts: tuple[Concept, ...]
    exemplars: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)


def is_vocabulary(classes: Any) -> bool:
    """Whether ``classes`` names a concept file, and is not concepts itself."""
    return isinstance(classes, os.PathLike) or (isinstance(classes, str) and classes.strip().endswith(SUFFIXES))


def read_vocabulary(path: str | os.PathLike[str]) -> Vocabulary:
    """Read a concept file.

    Raises:
        ConceptError: it cannot be read, or says something that makes no sense; with the line
    """
    file = Path(path).expanduser()
    try:
        root = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except FileNotFoundError:
        raise ConceptError(f"The concept file {str(file)!r} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConceptError(f"The concept file {str(file)!r} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise ConceptError(f"{file.name} is no YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ConceptError(f"{file.name} holds lists within lists, too deep to be meant") from None
    reader = _Reader(file)
    if root is None:
        raise ConceptError(f"{file.name} is empty: write 'concepts:', and a list of them")
    reader.check_tree(root)
    return reader.vocabulary(root)


def write_vocabulary(path: str | os.PathLike[str], vocabulary: Vocabulary, *, overwrite: bool = True) -> None:
    """Write a concept file; :func:`read_vocabulary` gives the same back. Images are named relative to the file.

    Raises:
        ConceptError: its name does not end as those of concept files do; it is there already, and shall not be replaced
    """
    file = Path(path).expanduser()
    if file.suffix not in SUFFIXES:
        raise ConceptError(f"A concept file ends with {' or '.join(SUFFIXES)}, and {str(path)!r} does not")
    if file.exists() and not overwrite:
        raise ConceptError(f"The file {str(file)!r} exists: choose another, or overwrite=True")
    if not file.parent.is_dir():
        raise ConceptError(f"The folder {str(file.parent)!r} does not exist: make it first")
    entries: list[Any] = []
    for concept in vocabulary.concepts:
        entry: dict[str, Any] = dict(label=concept.label)
        if concept.phrases != (concept.label,):
            entry["phrases"] = list(concept.phrases)
        for name in ("threshold", "parent", "sense"):
            if getattr(concept, name) is not None:
                entry[name] = getattr(concept, name)
        if concept.neighbours:
            entry["neighbours"] = list(concept.neighbours)
        examples = vocabulary.exemplars.get(concept.label)
        if examples:
            entry["exemplars"] = [dict(e, image=_relative(Path(e["image"]), file.parent)) for e in examples]
        entries.append(concept.label if list(entry) == ["label"] else entry)
    style = dict(sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)
    file.write_text(yaml.safe_dump(dict(concepts=entries), **style), encoding="utf-8")


class _Reader:
    """Nodes of one file into a vocabulary; knows their lines."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def wrong(self, node: yaml.Node, words: str) -> ConceptError:
        return ConceptError(f"{self.file.name}, line {node.start_mark.line + 1}: {words}")

    def check_tree(self, root: yaml.Node) -> None:
        """Refuse aliases that contain themselves, and files that unfold to more than anybody would write."""
        left = _MOST_NODES

        def walk(node: yaml.Node, above: frozenset[int]) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise self.wrong(node, f"the file holds more than {_MOST_NODES:,} values, aliases unfolded")
            if id(node) in above:
                raise self.wrong(node, "an alias stands within what it names")
            above |= {id(node)}
            for child in node.value if isinstance(node, yaml.CollectionNode) else ():
                for part in child if isinstance(child, tuple) else (child,):
                    walk(part, above)

        try:
            walk(root, frozenset())
        except RecursionError:
            raise self.wrong(root, "lists within lists, too deep to be meant") from None

    def vocabulary(self, root: yaml.Node) -> Vocabulary:
        top = self.mapping(root, ("concepts",), "a concept file")
        if "concepts" not in top:
            raise self.wrong(root, "no concepts: write 'concepts:', and a list of them")
        nodes = self.sequence(top["concepts"], "concepts")
        read = [(node, *self.concept(node)) for node in nodes]
        labels: dict[str, int] = {}
        for node, concept, _ in read:
            line = labels.setdefault(concept.label.casefold(), node.start_mark.line + 1)
            if line != node.start_mark.line + 1:
                raise self.wrong(node, f"the concept {concept.label!r} is given twice, first in line {line}")
        concepts = tuple(concept for _, concept, _ in read)
        if not concepts:
            raise self.wrong(top["concepts"], "no concepts in the list")
        try:  # twins that only the field's name cannot tell apart
            parse_concepts({c.label: c.phrases or (c.label,) for c in concepts})
        except ConceptError as error:
            raise self.wrong(top["concepts"], str(error)) from None
        return Vocabulary(concepts, {concept.label: shown for _, concept, shown in read if shown})

    def concept(self, node: yaml.Node) -> tuple[Concept, list[dict[str, Any]]]:
        if isinstance(node, yaml.ScalarNode):
            label = self.phrase(node)
            return Concept(label, (label,)), []
        parts = self.mapping(node, _KEYS, "a concept")
        if "label" not in parts:
            raise self.wrong(node, "a concept without a label")
        label = self.phrase(parts["label"])
        listed = self.sequence(parts["exemplars"], "exemplars") if "exemplars" in parts else []
        shown = [self.example(one) for one in listed]
        phrases = self.words(parts["phrases"], "phrases") if "phrases" in parts else (label,)
        if not phrases and not any(any(e["positive"]) for e in shown):
            raise self.wrong(node, f"{label!r} has neither phrases nor an example: it cannot be asked")
        seen = [p.casefold() for p in phrases]
        if len(set(seen)) < len(seen):
            raise self.wrong(parts["phrases"], f"a phrase of {label!r} is given twice")
        threshold = None
        if "threshold" in parts:
            try:
                threshold = check_fraction(self.plain(parts["threshold"]), f"threshold of {label!r}")
            except ConceptError as error:
                raise self.wrong(parts["threshold"], str(error)) from None
        neighbours = self.words(parts["neighbours"], "neighbours") if "neighbours" in parts else ()
        parent = self.phrase(parts["parent"]) if "parent" in parts else None
        if parent is not None and parent.casefold() == label.casefold():
            raise self.wrong(parts["parent"], f"{label!r} cannot be its own parent")
        sense = self.plain(parts["sense"]) if "sense" in parts else None
        if sense is not None and not isinstance(sense, str):
            raise self.wrong(parts["sense"], f"a sense is a key such as n02954340, got {sense!r}")
        return Concept(label, phrases, threshold, neighbours, parent, sense), shown

    def example(self, node: yaml.Node) -> dict[str, Any]:
        parts = self.mapping(node, _EXAMPLE_KEYS, "an example")
        for name in ("image", "boxes"):
            if name not in parts:
                raise self.wrong(node, f"an example without {name}")
        boxes = []
        for one in self.sequence(parts["boxes"], "boxes"):
            values = [self.plain(v) for v in self.sequence(one, "a box")]
            if len(values) != 4 or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
                raise self.wrong(one, f"a box is [x, y, width, height], relative to the image: got {values!r}")
            boxes.append([float(v) for v in values])
        positive = [True] * len(boxes)
        if "positive" in parts:
            positive = [self.plain(v) for v in self.sequence(parts["positive"], "positive")]
            if any(not isinstance(v, bool) for v in positive) or len(positive) != len(boxes):
                raise self.wrong(parts["positive"], f"positive must say true or false for each of {len(boxes)} boxes")
        image = self.plain(parts["image"])
        if not isinstance(image, str) or not image:
            raise self.wrong(parts["image"], f"an image is the path of a file, got {image!r}")
        path = self.file.parent / Path(image).expanduser()
        if not path.is_file():
            raise self.wrong(parts["image"], f"the image {image!r} does not exist")
        return dict(image=str(path), boxes=boxes, positive=positive)

    def mapping(self, node: yaml.Node, known: Iterable[str], what: str) -> dict[str, yaml.Node]:
        known = list(known)
        if not isinstance(node, yaml.MappingNode):
            raise self.wrong(node, f"{what} is a mapping with {', '.join(known)}")
        parts: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
                raise self.wrong(key, f"{what} has no {name!r}: {hint}")
            if name in parts:
                raise self.wrong(key, f"{name!r} is given twice")
            parts[name] = value
        return parts

    def sequence(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        if not isinstance(node, yaml.SequenceNode):
            raise self.wrong(node, f"{what} must be a list")
        return list(node.value)

    def words(self, node: yaml.Node, what: str) -> tuple[str, ...]:
        return tuple(self.phrase(one) for one in self.sequence(node, what))

    def phrase(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode) or node.tag != "tag:yaml.org,2002:str":
            said = getattr(node, "value", None)
            said = said if isinstance(node, yaml.ScalarNode) else "a list or a mapping"
            raise self.wrong(node, f"a word is needed here, got {said!r}: put it into quotes, if it is one")
        try:
            return check_phrase(node.value)
        except ConceptError as error:
            raise self.wrong(node, str(error)) from None

    def plain(self, node: yaml.Node) -> Any:
        """A number, a word, true or false."""
        if not isinstance(node, yaml.ScalarNode):
            raise self.wrong(node, "a single value is needed here")
        try:
            return yaml.SafeLoader("").construct_object(node)
        except yaml.YAMLError:
            raise self.wrong(node, f"{node.tag} is not plain data") from None


def _relative(path: Path, folder: Path) -> str:
    try:
        return os.path.relpath(path, folder)
    except ValueError:  # another drive
        return str(path)
