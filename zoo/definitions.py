"""How a concept is to be asked the next time, and what it means: its definition, kept in the ledger's record.

That is not how it was asked: of that the record has an entry of its own, and answers of a ledger must not change their
meaning with a definition. Asking by the definition is what makes the two the same again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import fiftyone as fo

from .engine.concepts import check_phrase, parse_concepts
from .engine.errors import ConceptError
from .ledger import DEFAULT, Ledger
from .provenance import note, run_info


@dataclass(frozen=True)
class Definition:
    """What a concept is.

    Attributes:
        label: the concept
        phrases: to ask it with; none where only examples say what is meant
        sense: the key of its sense in the noun graph, "" for none of them; ``None``: nobody said
        chosen: whether somebody chose the phrases; otherwise they are those that it was last asked with
    """

    label: str
    phrases: tuple[str, ...]
    sense: str | None = None
    chosen: bool = True


def definition_of(dataset: fo.Dataset, concept: str, ledger: str = DEFAULT) -> Definition | None:
    """A concept's definition; ``None`` where it has none, and was not asked. Letter case does not matter."""
    known = all_definitions(dataset, ledger)
    label = known_label(concept, known)
    return None if label is None else known[label]


def all_definitions(dataset: fo.Dataset, ledger: str = DEFAULT) -> dict[str, Definition]:
    """Every concept that was asked, or has a definition, in this order -> how it is to be asked."""
    info = run_info(dataset._root_dataset, ledger)
    made, asked = info.get("definitions") or {}, info.get("concepts") or {}
    found = {}
    for label in dict.fromkeys([*asked, *made]):
        entries = [entry for entry in (made.get(label), asked.get(label)) if entry is not None]
        sense = next((entry["sense"] for entry in entries if entry.get("sense") is not None), None)
        found[label] = Definition(label, tuple(entries[0].get("phrases") or ()), sense, label in made)
    return found


def definitions(dataset: fo.Dataset, ledger: str = DEFAULT) -> dict[str, list[str]]:
    """Concept -> the phrases that were chosen for it: usable as ``classes=``, where it is not empty."""
    made = run_info(dataset._root_dataset, ledger).get("definitions") or {}
    return {label: list(entry["phrases"]) for label, entry in made.items()}


def senses_said(dataset: fo.Dataset, ledger: str = DEFAULT) -> dict[str, str]:
    """Concept -> its sense, as far as somebody chose one, or the concept file said."""
    known = all_definitions(dataset, ledger)
    return {label: one.sense for label, one in known.items() if one.sense is not None}


def define(
    dataset: fo.Dataset, ledger: str, concept: str, phrases: str | Iterable[str], sense: str | None = None
) -> Definition:
    """Store a concept's definition; an earlier one is replaced.

    Raises:
        ConceptError: a phrase that is none, the same twice, or a concept that cannot be told from another
    """
    dataset = dataset._root_dataset
    made = dict(run_info(dataset, ledger).get("definitions") or {})
    asked = run_info(dataset, ledger).get("concepts") or {}
    (one,) = parse_concepts({check_phrase(concept): phrases})
    label = known_label(one.label, [*made, *asked]) or one.label
    parse_concepts(list(dict.fromkeys([*asked, *made, label])))  # twins that only the field's name cannot tell apart
    made[label] = dict(phrases=list(one.phrases), sense=sense)
    note(dataset, Ledger(ledger), definitions=made)
    return Definition(label, one.phrases, sense)


def undefine(dataset: fo.Dataset, ledger: str, concept: str) -> None:
    """Forget a concept's definition.

    Raises:
        ConceptError: it has none
    """
    made = dict(run_info(dataset._root_dataset, ledger).get("definitions") or {})
    label = known_label(concept, made)
    if label is None:
        raise ConceptError(f"{concept!r} has no definition in the ledger {ledger!r}; it has {sorted(made)}")
    del made[label]
    note(dataset._root_dataset, Ledger(ledger), definitions=made)


def known_label(concept: str, labels: Iterable[str] | Mapping[str, Any]) -> str | None:
    """The label that a concept goes by, if it is one of ``labels`` but for letter case and white space."""
    plain = check_phrase(concept).casefold()
    return next((label for label in labels if label.casefold() == plain), None)
