"""Concepts: what is asked of every image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import Any

from .errors import ConceptError

#: tokens SAM 3's text encoder reads, start and end markers included
MAX_TOKENS = 32

#: what users may write for concepts: a list, "a, comma, separated, string", or label -> phrase(s)
Classes = str | Iterable[str] | Mapping[str, str | Sequence[str]]


@dataclass(frozen=True)
class Concept:
    """One concept: the label that is stored, and the phrase(s) that are asked; none where examples say what is meant.

    ``threshold``: confidence in [0, 1] above which an instance counts; ``None`` leaves it to the run. ``neighbours``:
    what it could be taken for; ``parent``: what it is a kind of; ``sense``: what an ambiguous word means, a key of the
    noun graph, or "" for none of its senses. These are not asked: they are for whoever curates.
    """

    label: str
    phrases: tuple[str, ...]
    threshold: float | None = None
    neighbours: tuple[str, ...] = field(default=(), repr=False)
    parent: str | None = field(default=None, repr=False)
    sense: str | None = field(default=None, repr=False)


def parse_concepts(classes: Classes, thresholds: Mapping[str, float] | None = None) -> tuple[Concept, ...]:
    """Concepts from what users write.

    Args:
        classes: a list of phrases; one string, split at commas; or a mapping from label to one phrase or
            several (several phrases are one concept: its instances are their union)
        thresholds: label -> confidence threshold in [0, 1]

    Returns:
        the concepts, in the order given

    Raises:
        ConceptError: nothing asked, a phrase empty or not a string, labels equal or equal but for characters
            that a field name cannot hold, a threshold out of range or of an unknown label

    >>> [c.label for c in parse_concepts("red baseball cap, fire truck")]
    ['red baseball cap', 'fire truck']
    >>> parse_concepts({"person": ["a person", "people"]})
    (Concept(label='person', phrases=('a person', 'people'), threshold=None),)
    """
    concepts = [Concept(label, phrases) for label, phrases in _pairs(classes)]
    if not concepts:
        raise ConceptError(
            'No concepts to look for: pass classes=["red baseball cap", "fire truck"], a comma-separated '
            "string, or a mapping from label to phrase"
        )
    refuse_twins([c.label for c in concepts])
    if not thresholds:
        return tuple(concepts)
    limits = {check_phrase(k): check_fraction(value, f"threshold of {k!r}") for k, value in thresholds.items()}
    unknown = sorted(set(limits) - {c.label for c in concepts})
    if unknown:
        raise ConceptError(
            f"Threshold given for {unknown[0]!r}, which is not among the concepts: {_listed(c.label for c in concepts)}"
        )
    return tuple(replace(c, threshold=limits.get(c.label)) for c in concepts)


def check_phrase(phrase: Any) -> str:
    """``phrase`` with its white space tidied.

    Raises:
        ConceptError: it is not a string, or holds nothing but white space
    """
    if not isinstance(phrase, str):
        raise ConceptError(f"A concept must be a string, got {phrase!r} ({type(phrase).__name__})")
    tidy = " ".join(phrase.split())
    if not tidy:
        raise ConceptError(f"A concept must hold at least one word, got {phrase!r}: remove it or write a noun phrase")
    return tidy


def check_fraction(value: Any, name: str) -> float:
    """``value`` as a float in [0, 1]; ``name`` says in the error what it is.

    Raises:
        ConceptError: it is not a number in that range
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value) or not 0 <= value <= 1:
        raise ConceptError(f"The {name} must be a number between 0 and 1, got {value!r}")
    return float(value)


def check_whole(value: Any, name: str, least: int) -> int:
    """``value`` as a whole number of at least ``least``; ``name`` says in the error what it is.

    Raises:
        ConceptError: it is not
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ConceptError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return int(value)


def check_length(phrases: Iterable[str], tokenizer: Any) -> None:
    """Refuse phrases that the text encoder cannot read whole.

    transformers does not truncate: a longer phrase fails deep inside the network.

    Raises:
        ConceptError: a phrase needs more than 32 tokens
    """
    for phrase in phrases:
        count = len(tokenizer(phrase).input_ids)
        if count > MAX_TOKENS:
            raise ConceptError(
                f"The concept {phrase!r} takes {count} tokens; SAM 3 reads at most {MAX_TOKENS}: "
                "use a short noun phrase such as 'red baseball cap'"
            )


def _pairs(classes: Any) -> list[tuple[str, tuple[str, ...]]]:
    if classes is None:
        return []
    if isinstance(classes, str):
        # "cap, , bus" is a slip of the pen; "," and "" ask for nothing, which the caller reports
        parts = classes.split(",")
        return [(p, (p,)) for p in (check_phrase(part) for part in parts)] if classes.strip(" ,\t\n") else []
    if isinstance(classes, Mapping):
        pairs = []
        for label, phrases in classes.items():
            label = check_phrase(label)
            listed = [phrases] if isinstance(phrases, str) or not isinstance(phrases, Iterable) else list(phrases)
            if not listed:
                raise ConceptError(f"The concept {label!r} has no phrase: write one, or remove it")
            tidy = tuple(check_phrase(p) for p in listed)
            refuse_twins(list(tidy), f"phrase of {label!r}")
            pairs.append((label, tidy))
        return pairs
    if not isinstance(classes, Iterable):
        kind = type(classes).__name__
        raise ConceptError(f"Concepts must be a list, a string or a mapping, got {classes!r} ({kind})")
    return [(p, (p,)) for p in (check_phrase(c) for c in classes)]


def refuse_twins(names: list[str], what: str = "concept") -> None:
    """No two names may be one to the network (letter case) or one as a field (dots, leading $ and _)."""
    seen: dict[str, str] = {}
    for name in names:
        lowered = name.casefold()
        if lowered in seen:
            raise ConceptError(f"The {what} {name!r} is given twice: remove one")
        seen[lowered] = name
    if what != "concept":
        return
    bare: dict[str, str] = {}
    for name in names:
        core = " ".join(name.replace(".", "").lstrip("$_ ").split()).casefold()
        if core in bare:
            raise ConceptError(
                f"The concepts {bare[core]!r} and {name!r} differ only in what a field name cannot hold (dots, a "
                "leading $ or _): give one of them another label, for instance "
                f'classes={{"{core or "other"} 2": "{name}"}}'
            )
        bare[core] = name


def _listed(labels: Iterable[str]) -> str:
    labels = list(labels)
    shown = ", ".join(map(repr, labels[:8]))
    return shown if len(labels) <= 8 else f"{shown}, … ({len(labels)} in all)"
