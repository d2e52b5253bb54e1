"""Asks SAM 3 about the labels of images: what it finds beside them, with them as examples, and with words alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import fiftyone as fo

from .completeness import distinct, newness
from .errors import CurationError
from .named import Named
from .refine import usual_checkpoint
from .verified import ATTRIBUTE

if __package__ == "curation":
    from zoo.answering import tried_apart
    from zoo.engine.concepts import Concept
    from zoo.engine.errors import CheckpointError, ConceptError
    from zoo.engine.prompts import MAX_EXEMPLARS, Exemplars
    from zoo.inputs import LoadImage
    from zoo.labels import to_detections
    from zoo.ledger import DEFAULT, Ledger
    from zoo.marks import corners
    from zoo.provenance import asked_phrases, run_info
    from zoo.recheck import Recheck, Rechecked, recheck
    from zoo.segment import build_model
else:
    from ..zoo.answering import tried_apart
    from ..zoo.engine.concepts import Concept
    from ..zoo.engine.errors import CheckpointError, ConceptError
    from ..zoo.engine.prompts import MAX_EXEMPLARS, Exemplars
    from ..zoo.inputs import LoadImage
    from ..zoo.labels import to_detections
    from ..zoo.ledger import DEFAULT, Ledger
    from ..zoo.marks import corners
    from ..zoo.provenance import asked_phrases, run_info
    from ..zoo.recheck import Recheck, Rechecked, recheck
    from ..zoo.segment import build_model

#: instances are looked at down to this confidence
LOWEST = 0.05


@dataclass(frozen=True)
class Beside:
    """What was found of a concept beside its labels.

    Attributes:
        concept: its name.
        labelled: labels of it that nobody rejected.
        presence: in [0, 1], the largest.
        new: instances that no label of it explains, the surest first; their ``score`` is the confidence, less where a
            label of another concept has the pixels.
        by_examples, by_words: the best such score with the labels as examples, and with words alone; None where that
            was not asked.
    """

    concept: str
    labelled: int
    presence: float
    new: tuple[fo.Detection, ...]
    by_examples: float | None
    by_words: float | None


class Asker:
    """Asks SAM 3 about the labels of a field.

    Args:
        dataset: of images.
        path: the field.
        named: what its labels are called.
        source: the ledger that says how the concepts are asked; None: by their names.
        levels: concept → the confidence from which on a label counts; others are no labels yet.
        checkpoint: folder or hub id. Default: what the ledger was asked of.
        device: None takes the best there is.

    Raises:
        CurationError: the checkpoint cannot be had, or cannot read a concept.
    """

    def __init__(
        self, dataset: fo.Dataset, path: str, named: Named, source: Ledger | None = None,
        levels: Mapping[str, float] | None = None, checkpoint: str | None = None, device: str | None = None,
    ) -> None:
        self.path, self.named, self.levels = path, named, dict(levels or {})
        asked = {} if source is None else asked_phrases(dataset, source)
        entries = {} if source is None else run_info(dataset, source.name).get("concepts") or {}
        self.concepts = {
            name: Concept(name, tuple(asked.get(name) or ()) if name in entries else (name,)) for name in named.names
        }
        token = next((entry["cls_token"] for entry in entries.values() if entry.get("cls_token") is not None), True)
        phrases = {name: list(one.phrases) for name, one in self.concepts.items() if one.phrases}
        weights = checkpoint or usual_checkpoint(dataset, source or Ledger(DEFAULT))
        try:
            model = build_model(phrases or ["anything"], checkpoint=weights, device=device, cls_token=token)
        except (ConceptError, CheckpointError) as error:
            raise CurationError(str(error)) from None
        self.detector = model.detector
        self.load = LoadImage(self.detector.checkpoint.side)

    def look(
        self, samples: fo.core.collections.SampleCollection, pairs: Mapping[str, Sequence[str]]
    ) -> tuple[dict[str, list[Beside]], list[tuple[str, str]]]:
        """Look at a batch of images, each encoded once.

        Args:
            samples: the images.
            pairs: sample id → concepts to look for.

        Returns:
            sample id → what was found of each; and (sample id, why) of those that could not be looked at.
        """
        held = [(s.id, s.filepath, _labels(s, self.path)) for s in samples.select_fields(self.path)]
        images = [self.load(dict(filepath=path)) for _, path, _ in held]
        errors: list[str | None] = [error for _, _, error in images]
        questions = [self._question(labels, pairs[number]) for number, _, labels in held]
        for k, question in enumerate(questions):
            if errors[k] is None and not question.concepts:
                errors[k] = "its concepts have no words, and no label that could be an example"
        asking = [k for k, error in enumerate(errors) if error is None]

        def ask(places: Sequence[int]) -> list[list[Rechecked]]:
            some = [images[k] for k in places], [questions[k] for k in places]
            return recheck(self.detector, *some, floor=LOWEST)

        answers = tried_apart(asking, ask, errors)
        found = {
            held[k][0]: [
                self._beside(told, concept.label, held[k][2], images[k][1])
                for concept, told in zip(questions[k].concepts, answers[k], strict=True)
            ]
            for k in asking if k in answers
        }  # fmt: skip
        return found, [(held[k][0], error) for k, error in enumerate(errors) if error is not None]

    def _question(self, labels: Sequence[fo.Detection], concepts: Sequence[str]) -> Recheck:
        wanted, exemplars = [], {}
        for name in concepts:
            shown = exemplars_of([one for one in labels if self._is(one, name) and not _rejected(one)])
            if shown is not None:
                exemplars[name] = shown
            if shown is not None or self.concepts[name].phrases:
                wanted.append(self.concepts[name])
        return Recheck(tuple(wanted), exemplars)

    def _is(self, label: fo.Detection, concept: str) -> bool:
        """Whether it is a label of the concept, and counts."""
        if self.named.concept(label.label) != concept:
            return False
        return label.confidence is None or label.confidence >= self.levels.get(concept, 0)

    def _beside(
        self, told: Rechecked, concept: str, labels: Sequence[fo.Detection], size: tuple[int, int]
    ) -> Beside:
        own = [one for one in labels if self._is(one, concept)]  # what was rejected is explained, too: somebody looked
        others = [one for one in labels if self.named.concept(one.label) != concept and not _rejected(one)]
        new: list[fo.Detection] = []
        best: list[float | None] = []
        for result in (told.shown, told.words):
            found = [] if result is None else to_detections([result], size)
            fresh = newness(found, own, others, concept, size)
            for one, share in zip(found, fresh.tolist(), strict=True):
                one["score"] = one.confidence * share
            left = [one for one in found if one["score"] > 0]
            best.append(None if result is None else max((one["score"] for one in left), default=0.0))
            new += left
        new = sorted((new[k] for k in distinct(new, size)), key=lambda one: -one["score"])
        presence = max((one.presence for one in (told.shown, told.words) if one is not None), default=0.0)
        return Beside(concept, sum(not _rejected(one) for one in own), presence, tuple(new), *best)


def exemplars_of(labels: Sequence[fo.Detection]) -> Exemplars | None:
    """The largest of some labels as examples, as many as can be read; None, if none can be one."""
    boxes = [box for box in map(corners, labels) if all(min(box[k + 2], 1) > max(box[k], 0) for k in (0, 1))]
    boxes.sort(key=lambda box: -(box[2] - box[0]) * (box[3] - box[1]))
    chosen = tuple(boxes[:MAX_EXEMPLARS])
    return Exemplars(chosen, (True,) * len(chosen)) if chosen else None


def _labels(sample: fo.Sample, path: str) -> list[fo.Detection]:
    return [] if sample[path] is None else list(sample[path].detections)


def _rejected(label: fo.Detection) -> bool:
    return label.has_field(ATTRIBUTE) and label[ATTRIBUTE] is False
