"""One run of the semantic model: what surrounds its masks while ``apply_model`` goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import fiftyone as fo
import numpy as np

from .engine.concepts import Concept
from .engine.errors import ConceptError
from .engine.semantic import Regions
from .examples import Examples
from .landing import Reply
from .ledger import counts_of
from .provenance import asked_alike, note_regions, region_fields, region_numbers, start_run
from .run import Refused, Run

#: what a mask of two bytes can tell apart
MOST_NUMBERS = 65_535


@dataclass(frozen=True)
class _Answer:
    """A :class:`RegionAnswer` with what the ledger knows of instances, if it was asked of them in the same way."""

    label: str
    presence: float
    object_score: float
    count: int | None


class RegionRun(Run):
    """As :class:`Run`, but what lands are masks, and nothing of the instances that an earlier run found is touched.

    Attributes:
        numbers: concept -> its number in the masks
    """

    numbers: Mapping[str, int]

    def open(self, sample: Any, ledger: str, concepts: tuple[Concept, ...], about: Mapping[str, Any]) -> None:
        """As :meth:`Run.begin`, where nothing but words is asked."""
        self.begin(sample, ledger, concepts, None, Examples(None, False, False), about, False)
        self.instances = ()
        self._alike = asked_alike(self.dataset, self.ledger, concepts, about)
        self._fresh = [c for c in concepts if c.label not in self._alike]
        self.numbers = region_numbers(self.dataset, self.ledger, [c.label for c in concepts])
        if max(self.numbers.values(), default=0) > MOST_NUMBERS:
            self._take_back()
            raise Refused(ConceptError(
                f"The masks of ledger {ledger!r} have no numbers left: {MOST_NUMBERS:,} were given to concepts. Begin "
                "another, with ledger=..."
            ))

    def answers(self, regions: Regions, before: Any) -> list[_Answer]:
        """For the ledger. A count stays what it was, unless it belongs to another question."""
        counts = counts_of(before, self.ledger)
        return [
            _Answer(a.label, a.presence, a.object_score, counts.get(a.label) if a.label in self._alike else None)
            for a in regions.answers
        ]

    def segmentation(self, regions: Regions) -> fo.Segmentation:
        """The mask, with the run's numbers: uint8 where 255 will do for all that were ever given, else uint16."""
        return numbered(regions, self.numbers)

    def place(self, reply: Reply, label_field: str) -> None:
        """FiftyOne has told where masks go, and is about to store that of one sample."""
        bare = label_field.removeprefix("frames.")
        if self.label_field is None:
            try:
                self._check(bare)
            except ConceptError as error:
                self._take_back()
                raise Refused(error) from None
            if bare not in self.ledger.schema(self.dataset):
                add = self.dataset.add_frame_field if self.ledger.frames else self.dataset.add_sample_field
                add(bare, fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
            note_regions(self.dataset, self.ledger, bare, self.numbers)
            targets = {number: label for label, number in self.numbers.items()}
            self.dataset.mask_targets = {**self.dataset.mask_targets, self._path(bare): targets}
            self.dataset.save()
            self.label_field = label_field
        if reply.error is not None:
            return
        if self._fresh:  # not before there is an answer to keep
            start_run(self.dataset, self.ledger, self._fresh, self._about)
            self._fresh = []
        if self.ledger.frames:
            reply.target[label_field] = reply.found

    def _path(self, bare: str) -> str:
        return f"frames.{bare}" if self.ledger.frames else bare

    def _check(self, bare: str) -> None:
        """Refuse a field that holds something else.

        Raises:
            ConceptError: naming the field, what it holds, and the way out
        """
        field = self.ledger.schema(self.dataset).get(bare)
        held = getattr(field, "document_type", None)
        if field is not None and held is not fo.Segmentation:
            what = held.__name__ if held is not None else type(field).__name__
            raise ConceptError(f"Label field {bare!r} already holds {what}, not Segmentation: choose another field")
        ours = bare in region_fields(self.dataset, self.ledger)
        if field is not None and not ours and self.dataset.count(self._path(bare)):
            raise ConceptError(
                f"Label field {bare!r} already holds masks that this model did not make with the ledger "
                f"{self.ledger.name!r}, and would replace: choose another field"
            )


def numbered(regions: Regions, numbers: Mapping[str, int]) -> fo.Segmentation:
    """A mask with a number for each concept.

    Args:
        regions: of one image
        numbers: concept -> number, from 1; at most 65,535

    >>> from zoo.engine.semantic import RegionAnswer
    >>> owner = np.array([[0, 1], [2, 2]], np.uint16)
    >>> cap, dog = (RegionAnswer(label, 0.9, 0.9) for label in ("cap", "dog"))
    >>> numbered(Regions((cap, dog), owner), {"dog": 1, "owl": 2, "cap": 3}).mask
    array([[0, 3],
           [1, 1]], dtype=uint8)
    """
    kind = np.uint8 if max(numbers.values(), default=0) <= np.iinfo(np.uint8).max else np.uint16
    table = np.array([0, *(numbers[answer.label] for answer in regions.answers)], kind)
    return fo.Segmentation(mask=table[regions.owner])

