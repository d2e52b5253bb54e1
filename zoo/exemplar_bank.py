"""Exemplar banks: examples of concepts in saved images, which are used on every image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fiftyone as fo
from torch import Tensor

from .engine.bank import Shown, detect_beside, learn_bank
from .engine.concepts import Concept, check_phrase, refuse_twins
from .engine.detector import ConceptDetector
from .engine.errors import ConceptError, ImageError
from .engine.images import read_image, unsquared
from .engine.prompts import MAX_EXEMPLARS, VISUAL, Exemplars
from .engine.results import ConceptResult
from .inputs import Loaded
from .marks import check_marks, corners, sign

#: ways to show examples in another image, see :mod:`zoo.engine.bank`; the first is the default, by measurement
TRANSFERS = ("canvas", "tokens")


def bank_of(samples: fo.core.collections.SampleCollection, box_field: str) -> dict[str, list[dict[str, Any]]]:
    """The examples that were marked in a view, as ``load_zoo_model(..., exemplars=...)`` takes them.

    Args:
        samples: images, the few that have good examples
        box_field: ``Detections``: boxes of a label are examples of that concept; ``sam_label=False``: counter-examples

    Returns:
        label -> a list of ``dict(image=path, boxes=[[x, y, width, height], ...], positive=[True, ...])``, relative

    Raises:
        ConceptError: not a field of boxes, or none is marked
    """
    check_marks(box_field, samples._root_dataset.get_field_schema(), (fo.Detections,), samples._root_dataset, None)
    found: dict[str, list[dict[str, Any]]] = {}
    for sample in samples.select_fields(box_field):
        entries: dict[str, dict[str, Any]] = {}
        for mark in [] if sample[box_field] is None else sample[box_field].detections:
            entry = entries.setdefault(mark.label or VISUAL, dict(image=sample.filepath, boxes=[], positive=[]))
            entry["boxes"].append(list(mark.bounding_box))
            entry["positive"].append(sign(mark))
        for label, entry in entries.items():
            found.setdefault(label, []).append(entry)
    if not found:
        raise ConceptError(f"{box_field!r} holds no box in these samples: mark examples")
    return found


@dataclass(frozen=True)
class Bank:
    """Examples of concepts in other images.

    Attributes:
        entries: label -> images and the examples in them
        transfer: of :data:`TRANSFERS`
    """

    entries: Mapping[str, tuple[tuple[Path, Exemplars], ...]] = field(default_factory=dict)
    transfer: str = TRANSFERS[0]
    _learnt: dict[str, Tensor] = field(default_factory=dict, repr=False, compare=False)

    def __bool__(self) -> bool:
        return bool(self.entries)

    @property
    def shows(self) -> set[str]:
        """Labels that have a positive example, and so need no words."""
        return {label for label, some in self.entries.items() if any(e.shows for _, e in some)}

    def wordless(self, concepts: Sequence[Concept]) -> list[Concept]:
        """The concepts that only the bank knows.

        Raises:
            ConceptError: it has only counter-examples of one
        """
        known = {c.label for c in concepts}
        new = [label for label in self.entries if label not in known]
        refuse_twins([*known, *new])
        for label in new:
            if label not in self.shows:
                raise ConceptError(f"exemplars of {label!r} are only counter-examples, and no words are asked")
        return [Concept(label, ()) for label in new]

    def tokens(self, detector: ConceptDetector) -> dict[str, Tensor]:
        """Label -> what its examples look like; learnt once."""
        for label in self.entries:
            if label not in self._learnt:
                self._learnt[label] = learn_bank(detector, self.shown(label))
        return self._learnt

    def beside(
        self, detector: ConceptDetector, images: Sequence[Loaded], asked: Sequence[Sequence[Concept]],
        **limits: float | None,
    ) -> list[dict[str, ConceptResult]]:
        """Ask what is shown on a canvas, if that is the way.

        Args:
            detector: asked
            images: squeezed to the network's square
            asked: concepts of each image, those that the bank does not know included
            **limits: threshold and floor

        Returns:
            for each image, label -> what was found
        """
        found: list[dict[str, ConceptResult]] = [{} for _ in images]
        for label in self.entries if self.transfer == "canvas" else ():
            here = [(k, concept) for k, some in enumerate(asked) for concept in some if concept.label == label]
            if not here:
                continue
            sizes = [images[k][1] for k, _ in here]
            pictures = [unsquared(images[k][0], images[k][1]) for k, _ in here]
            results = detect_beside(detector, pictures, here[0][1], self.shown(label), sizes=sizes, **limits)
            for (k, _), result in zip(here, results, strict=True):
                found[k][label] = result
        return found

    def shown(self, label: str) -> list[Shown]:
        """The examples of a concept, with their images.

        Raises:
            ImageError: one cannot be read
        """
        return [Shown(read_image(path), exemplars) for path, exemplars in self.entries[label]]

    def about(self) -> dict[str, Any]:
        """For a run's record: how many boxes, in how many images, and a fingerprint of them."""
        if not self:
            return {}
        told = {}
        for label, some in self.entries.items():
            said = json.dumps([[str(path), e.boxes, e.positive] for path, e in some])
            told[label] = dict(
                images=len(some), boxes=sum(len(e.boxes) for _, e in some),
                fingerprint=hashlib.sha256(said.encode()).hexdigest()[:12],
            )
        return dict(exemplars=told, exemplar_transfer=self.transfer)


def parse_bank(value: Any, transfer: str | None = None) -> Bank:
    """What users write for ``exemplars=``.

    Args:
        value: label -> entries, as :func:`bank_of` makes them; ``positive`` may be left out; or ``None``
        transfer: of :data:`TRANSFERS`; ``None``: the default

    Raises:
        ConceptError: naming the label, and what is wrong with it
    """
    if transfer is not None and transfer not in TRANSFERS:
        raise ConceptError(f"exemplar_transfer must be one of {', '.join(map(repr, TRANSFERS))}, got {transfer!r}")
    if value is None:
        return Bank(transfer=transfer or TRANSFERS[0])
    if not isinstance(value, Mapping) or not value:
        raise ConceptError(f"exemplars must be a mapping from label to examples, see bank_of(): got {value!r}")
    labels = [check_phrase(label) for label in value]
    refuse_twins(labels)
    entries = {}
    for label, some in zip(labels, value.values(), strict=True):
        if isinstance(some, Mapping) or not isinstance(some, Sequence) or isinstance(some, str) or not some:
            raise ConceptError(f"exemplars of {label!r} must be a list of dict(image=..., boxes=[...]), got {some!r}")
        try:
            entries[label] = tuple(_entry(one) for one in some)
        except ConceptError as error:
            raise ConceptError(f"exemplars of {label!r}: {error}") from None
        total = sum(len(e.boxes) for _, e in entries[label])
        if total > MAX_EXEMPLARS:
            raise ConceptError(f"exemplars of {label!r}: {total} boxes; at most {MAX_EXEMPLARS} can be read")
    return Bank(entries, transfer or TRANSFERS[0])


def _entry(one: Any) -> tuple[Path, Exemplars]:
    if not isinstance(one, Mapping) or not {"image", "boxes"} <= set(one) <= {"image", "boxes", "positive"}:
        raise ConceptError(f"an example is dict(image=..., boxes=[...], positive=[...]), got {one!r}")
    path = Path(one["image"])
    if not path.is_file():
        raise ConceptError(f"the image {str(path)!r} does not exist")
    try:
        read_image(path)
    except ImageError as error:
        raise ConceptError(str(error)) from None
    boxes = []
    for box in one["boxes"]:
        try:
            x, y, width, height = (float(v) for v in box)
        except (TypeError, ValueError):
            raise ConceptError(f"a box is [x, y, width, height], relative to the image: got {box!r}") from None
        boxes.append(corners(fo.Detection(bounding_box=[x, y, width, height])))
    signs = one.get("positive")
    signs = [True] * len(boxes) if signs is None else list(signs)
    if any(sign not in (0, 1) for sign in signs):
        raise ConceptError(f"positive must be a list of True and False, got {signs!r}")
    return path, Exemplars(tuple(boxes), tuple(bool(sign) for sign in signs))
