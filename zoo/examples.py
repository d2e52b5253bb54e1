"""Examples that people marked in the images themselves: boxes of a field, each an example of its label's concept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import fiftyone as fo

from .engine.concepts import Concept, check_phrase
from .engine.errors import ConceptError
from .engine.prompts import VISUAL, Exemplars
from .ledger import Ledger
from .marks import check_marks, read_marks


@dataclass(frozen=True)
class Examples:
    """Where examples are, and what they mean.

    Attributes:
        field: ``Detections``; ``sam_label=False`` makes a box a counter-example. A label that is not among the run's
            concepts is one without words; without a label it is "visual"
        alone: ask by examples alone, and not together with the words; counter-examples need an example then
        required: ask a concept only where it has an example; otherwise, its words are asked there
        only: labels of the boxes that count; ``None``: all do
    """

    field: str | None = None
    alone: bool = False
    required: bool = False
    only: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for name in ("alone", "required"):
            if not isinstance(getattr(self, name), bool):
                raise ConceptError(f"exemplars_{name} must be True or False, got {getattr(self, name)!r}")
        if self.only is not None:
            object.__setattr__(self, "only", _labels(self.only))
        if self.field is None and (self.alone or self.required or self.only):
            name = "exemplars_alone" if self.alone else "exemplars_required" if self.required else "exemplars_of"
            raise ConceptError(f"{name} needs examples: say where they are, with box_prompt_field=...")

    def __bool__(self) -> bool:
        return self.field is not None

    def about(self) -> dict[str, Any]:
        """For a run's record."""
        if not self:
            return {}
        more = {} if self.only is None else dict(exemplars_of=list(self.only))
        return dict(box_prompt_field=self.field, exemplars_alone=self.alone, exemplars_required=self.required, **more)

    def check(self, dataset: fo.Dataset, ledger: Ledger, label_field: str | None = None) -> None:
        """Refuse a field without examples.

        Raises:
            ConceptError: naming the field
        """
        if not self:
            return
        check_marks(self.field, ledger.schema(dataset), (fo.Detections,), dataset, label_field)
        path = ("frames." if ledger.frames else "") + f"{self.field}.detections"
        if not dataset.count(path):
            raise ConceptError(
                f"box_prompt_field={self.field!r} holds no box in any sample of {dataset.name!r}: mark examples, or "
                "leave it out"
            )
        if self.only is not None and not any(map(self._counts, dataset.distinct(f"{path}.label"))):
            raise ConceptError(
                f"box_prompt_field={self.field!r} holds no box of exemplars_of={list(self.only)} in any sample: it has "
                f"{dataset.distinct(f'{path}.label')[:12]}"
            )

    def of(
        self, document: Any, concepts: Sequence[Concept]
    ) -> tuple[tuple[Concept, ...], dict[str, Exemplars]]:
        """What is asked of one image, and its examples.

        Args:
            document: the sample or frame as stored
            concepts: the run's, and the sample's own

        Returns:
            the concepts, those that only examples know last; and label -> examples

        Raises:
            ConceptError: a box cannot be used, or there are only counter-examples of something without words
        """
        places = {c.label.casefold(): k for k, c in enumerate(concepts)}
        labels = [c.label for c in concepts]

        def number_of(label: str | None) -> int:
            name = _tidy(label)
            if name.casefold() not in places:
                places[name.casefold()] = len(labels)
                labels.append(name)
            return places[name.casefold()]

        held = document[self.field] if document.has_field(self.field) else None
        counting = [] if held is None else [mark for mark in held.detections if self._counts(mark.label)]
        shown = read_marks([fo.Detections(detections=counting)], "concept", number_of).exemplars
        known = [*concepts, *(Concept(label, ()) for label in labels[len(concepts) :])]
        asked = []
        for k, concept in enumerate(known):
            if k not in shown:
                if concept.phrases and not self.required:
                    asked.append(concept)
                continue
            if (self.alone or not concept.phrases) and not shown[k].shows:
                raise ConceptError(
                    f"{self.field} has only counter-examples of {concept.label!r}, and no words are asked: mark an "
                    "example, too"
                )
            asked.append(replace(concept, phrases=()) if self.alone else concept)
        return tuple(asked), {known[k].label: exemplars for k, exemplars in shown.items()}

    def _counts(self, label: str | None) -> bool:
        return self.only is None or _tidy(label).casefold() in {one.casefold() for one in self.only}


def _tidy(label: str | None) -> str:
    return " ".join((label or VISUAL).split())


def _labels(said: Any) -> tuple[str, ...]:
    if isinstance(said, str) or not isinstance(said, Sequence) or not said:
        raise ConceptError(f"exemplars_of must be a list of labels, got {said!r}")
    return tuple(check_phrase(label) for label in said)
