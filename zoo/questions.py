"""What to ask of one image: the run's concepts, the image's own phrases, and those that only its examples know."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .asking import check_readable
from .engine.concepts import Concept, check_phrase, parse_concepts, refuse_twins
from .engine.errors import ConceptError
from .engine.prompts import Exemplars
from .examples import Examples


@dataclass(frozen=True)
class Question:
    """What is asked of one image: its concepts, and label -> examples that are in it."""

    concepts: tuple[Concept, ...] = ()
    exemplars: Mapping[str, Exemplars] = field(default_factory=dict)


@dataclass(frozen=True)
class Questions:
    """What a run asks of its images.

    Attributes:
        concepts: of every image
        prompt_field: a field with each image's own phrases, or ``None``
        examples: where examples are
        tokenizer: of the checkpoint, which reads no endless phrases
    """

    concepts: tuple[Concept, ...]
    prompt_field: str | None
    examples: Examples
    tokenizer: Any

    @property
    def fields(self) -> tuple[str, ...]:
        """What must be known of a sample to ask it; of most runs, nothing."""
        return tuple(name for name in (self.prompt_field, self.examples.field) if name)

    def of(self, before: Any, done: Collection[str] = ()) -> tuple[Question, str | None]:
        """What to ask of one sample, and why that cannot be done, if it cannot.

        Args:
            before: the sample or frame as stored, with :attr:`fields`; looked at where there are any
            done: labels that it has been asked before, which are left out
        """
        concepts, name = self.concepts, self.prompt_field
        exemplars: Mapping[str, Exemplars] = {}
        if name is not None and before.has_field(name):
            try:
                own = self._own(before[name])
            except ConceptError as error:
                return Question(), f"{name}: {error}"
            concepts = (*concepts, *own)
        if self.examples:
            try:
                concepts, exemplars = self.examples.of(before, concepts)
                refuse_twins([c.label for c in concepts])
                check_readable(concepts, self.tokenizer)
            except ConceptError as error:
                return Question(), f"{self.examples.field}: {error}"
        return Question(tuple(c for c in concepts if c.label not in done), exemplars), None

    def _own(self, value: Any) -> tuple[Concept, ...]:
        """The phrases of one sample that are not asked of all."""
        known = {c.label.casefold() for c in self.concepts}  # as the network reads them: without letter case
        own: dict[str, str] = {}
        # one string is read as `classes` would read it; an empty cell of a table asks for nothing
        listed: Sequence[str] = (
            [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value or ()
        )
        for phrase in listed:
            tidy = check_phrase(phrase)
            if tidy.casefold() not in known:
                own.setdefault(tidy.casefold(), tidy)
        concepts = parse_concepts(list(own.values())) if own else ()
        check_readable(concepts, self.tokenizer)
        return concepts
