"""Batches through the detector, one after the other without a pause; and what fails costs itself alone."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from .answering import tried_apart
from .engine.concepts import Concept
from .engine.conflicts import ConflictSettings, settled
from .engine.detector import Batch, ConceptDetector
from .engine.errors import ConceptError
from .engine.results import ConceptResult
from .engine.tiles import TileSettings, detect_tiled
from .engine.tiles import tiles as places_of
from .exemplar_bank import Bank
from .inputs import Loaded
from .questions import Question

logger = logging.getLogger(__name__)


class Streaming:
    """The part of a model of images that answers batches; the model says how."""

    detector: ConceptDetector
    config: Any
    floor: float | None
    bank: Bank
    tiles: TileSettings
    conflicts: ConflictSettings

    def stream(
        self, batches: Iterable[tuple[Sequence[Loaded], Sequence[Question]]]
    ) -> Iterator[list[list[ConceptResult] | str]]:
        """Answers of batches, in order. May ask for a few batches before it gives the answers of the first.

        Args:
            batches: images, as :class:`LoadImage` made them, all readable; and what is asked of each, at least one
                concept. A batch may be empty

        Yields:
            for each image of a batch its results, in the order of its concepts, or why it failed
        """
        source, waiting = iter(batches), deque[_Asked]()
        ended: list[Exception | None] = []
        limits = dict(threshold=self.config.confidence_thresh, floor=self.floor)
        while not ended:
            try:
                for found in self.detector.stream(self._prepared(source, waiting, ended), **limits):
                    yield from _nothing(waiting)
                    answers = self._completed(waiting[0], found)
                    waiting.popleft()
                    yield answers
            except Exception as error:  # whatever it is, it must cost one sample and be recorded there
                if not waiting:  # it is no batch's fault, and would come again
                    raise
                if sum(len(one.images) for one in waiting) > 1 and not isinstance(error, ConceptError):
                    logger.warning("%s; what was under way is asked again", error)
            while waiting:  # after a failure, all that was under way; else, batches of nothing
                one = waiting.popleft()
                yield self._tried(one.images, one.questions)
        if ended[0] is not None:
            raise ended[0]

    def _prepared(
        self, source: Iterator[tuple[Sequence[Loaded], Sequence[Question]]], waiting: deque[_Asked],
        ended: list[Exception | None],
    ) -> Iterator[Batch]:
        """What the detector is to answer, of what ``source`` gives; kept in ``waiting`` until it is answered. The end,
        or what broke ``source``, goes to ``ended``: it is no failure of the batches before it.
        """
        while True:
            try:
                images, questions = next(source)
            except StopIteration:
                ended.append(None)
                return
            except Exception as error:
                ended.append(error)
                return
            waiting.append(_Asked(images, questions))
            if images:
                batch, waiting[-1].beside = self._batch(images, questions)
                yield batch

    def _tried(self, images: Sequence[Loaded], questions: Sequence[Question]) -> list[list[ConceptResult] | str]:
        errors: list[str | None] = [None] * len(images)
        places = range(len(images))
        found = tried_apart(
            places, lambda some: self._detect([images[k] for k in some], [questions[k] for k in some]), errors
        )
        return [found[k] if k in found else errors[k] or "" for k in places]

    def _detect(self, images: Sequence[Loaded], questions: Sequence[Question]) -> list[list[ConceptResult]]:
        limits = dict(threshold=self.config.confidence_thresh, floor=self.floor)
        batch, beside = self._batch(images, questions)
        (found,) = self.detector.stream([batch], **limits)
        return self._completed(_Asked(images, questions, beside), found)

    def _batch(
        self, images: Sequence[Loaded], questions: Sequence[Question]
    ) -> tuple[Batch, list[dict[str, ConceptResult]]]:
        """What the detector is to answer, and what was found out otherwise, with examples beside the image."""
        limits = dict(threshold=self.config.confidence_thresh, floor=self.floor)
        asked = [[c for c in question.concepts if c.label not in question.exemplars] for question in questions]
        beside = self.bank.beside(self.detector, [_whole(image) for image in images], asked, **limits)
        rest = [_rest(question, answered) for question, answered in zip(questions, beside, strict=True)]
        pixels, sizes, _ = zip(*(_whole(image) for image in images), strict=True)
        shown = [question.exemplars for question in questions]
        more: dict[str, Any] = dict(exemplars=shown) if any(shown) else {}
        if self.bank and self.bank.transfer == "tokens":
            more["learnt"] = self.bank.tokens(self.detector)
        return Batch(torch.stack(pixels), sizes, rest, **more), beside

    def _completed(self, asked: _Asked, found: list[list[ConceptResult]]) -> list[list[ConceptResult]]:
        """The detector's answers, with what tiles see, what was found out otherwise, and conflicts settled."""
        limits = dict(threshold=self.config.confidence_thresh, floor=self.floor)
        answers = []
        for image, question, beside, own in zip(asked.images, asked.questions, asked.beside, found, strict=True):
            squares, size, _ = image
            if squares.ndim == 4:
                places = places_of(size, self.tiles)
                own = detect_tiled(self.detector, squares[1:], places, size, own, _rest(question, beside), **limits)
            known = {r.label: r for r in own} | beside
            answers.append(settled([known[concept.label] for concept in question.concepts], self.conflicts))
        return answers


@dataclass
class _Asked:
    """A batch that is under way: ``beside`` are answers that the detector is not asked for, image by image."""

    images: Sequence[Loaded]
    questions: Sequence[Question]
    beside: list[dict[str, ConceptResult]] = field(default_factory=list)


def _nothing(waiting: deque[_Asked]) -> Iterator[list[list[ConceptResult] | str]]:
    """Answers to batches without images, as far as nothing else comes before them."""
    while not waiting[0].images:
        waiting.popleft()
        yield []


def _rest(question: Question, answered: Mapping[str, ConceptResult]) -> tuple[Concept, ...]:
    """The concepts of a question that have no answer yet."""
    return tuple(c for c in question.concepts if c.label not in answered)


def _whole(image: Loaded) -> Loaded:
    """An image without its tiles."""
    pixels, size, error = image
    return pixels[0] if pixels.ndim == 4 else pixels, size, error
