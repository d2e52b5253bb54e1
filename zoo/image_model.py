"""SAM 3 for images as a FiftyOne model: ``dataset.apply_model(sam3, label_field="sam3")``."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import fiftyone as fo

from .answering import Answering
from .asking import Asking
from .config import Sam3Config, parse_settings
from .embedding import Embedding
from .engine.checkpoint import Checkpoint
from .engine.concepts import Classes, Concept, check_fraction
from .engine.conflicts import ConflictSettings
from .engine.detector import ConceptDetector
from .engine.errors import ConceptError
from .engine.results import ConceptResult
from .engine.tiles import TileSettings
from .examples import Examples
from .exemplar_bank import parse_bank
from .inputs import Loaded
from .labels import to_detections
from .landing import Reply
from .ledger import Ledger, answered, write, write_error
from .questions import Question, Questions
from .run import Refused, Run
from .streaming import Streaming


class Sam3ImageModel(Embedding, Streaming, Asking, Answering):
    """Finds every instance of every concept, and keeps the presence of each concept, found or not.

    Finds ``Detections`` with masks, which ``apply_model`` stores in ``label_field``; writes the ledger's fields
    (``sam3_presence``, ``sam3_score``, ``sam3_count``, ``sam3_error``) on the sample or frame itself. Embeds images,
    too (:class:`Embedding`).

    Args:
        checkpoint: a loaded checkpoint
        classes: concepts: a list, a comma-separated string, or a mapping from label to phrase(s). May be left
            out if ``prompt_field`` is given, here or to ``apply_model``, and for embeddings
        thresholds: label -> confidence threshold in [0, 1], before ``confidence_thresh``
        confidence_thresh: threshold of all other concepts
        floor: store instances down to this confidence as well (they are not counted)
        prompt_field: a field of lists of strings, or of comma-separated strings: phrases to ask of that sample
            alone, on top of ``classes``
        box_prompt_field: a field of ``Detections``: examples of the concept that their label names, in their own image
            alone; ``sam_label=False`` makes a counter-example. Examples and words are one query
        exemplars_alone: ask by examples, without the words
        exemplars_required: ask a concept only where it has an example; otherwise its words are asked there
        exemplars_of: labels of the boxes in ``box_prompt_field`` that count; ``None``: all do
        exemplars: examples in other images, which are used on every image that has none of its own, see
            :func:`bank_of`; a label that is not among the concepts is one without words
        exemplar_transfer: how they are shown: ``"canvas"``, pasted beside each image, or ``"tokens"``, see
            :mod:`engine.bank`; ``None``: the default
        tiles: of :class:`TileSettings`, ``dict(tile_size=1008)``: images are looked at in parts, too, for small things
        conflicts: of :class:`ConflictSettings`, ``dict(nms_thresh=0.7, fill_holes=16)``: duplicates, overlaps, specks
            and holes that are settled before anything is stored; ``None``: nothing is, as upstream
        ledger: name of the ledger
        skip_existing: ask only what a sample has not been asked before
        cls_token: see :class:`ConceptDetector`
    """

    def __init__(
        self, checkpoint: Checkpoint, classes: Classes | None = None, *,
        thresholds: Mapping[str, float] | None = None, confidence_thresh: float = 0.5, floor: float | None = None,
        prompt_field: str | None = None, box_prompt_field: str | None = None, exemplars_alone: bool = False,
        exemplars_required: bool = False, exemplars_of: Sequence[str] | None = None, exemplars: Any = None,
        exemplar_transfer: str | None = None, tiles: Mapping[str, Any] | None = None,
        conflicts: Mapping[str, Any] | None = None, ledger: str = "sam3", skip_existing: bool = False,
        cls_token: bool = True,
    ) -> None:
        self.tiles = parse_settings(TileSettings, tiles, "tiles")
        Answering.__init__(self, checkpoint, self.tiles)
        Asking.__init__(self, ConceptDetector(checkpoint, cls_token=cls_token), classes, thresholds, confidence_thresh)
        self.floor = None if floor is None else check_fraction(floor, "floor")
        self.prompt_field = prompt_field
        self.box_prompt_field = box_prompt_field
        self.exemplars_alone, self.exemplars_required = exemplars_alone, exemplars_required
        self.exemplars_of = exemplars_of
        self.conflicts = parse_settings(ConflictSettings, conflicts, "conflicts")
        self.bank = parse_bank(exemplars, exemplar_transfer)
        self.concepts = (*self.concepts, *self.bank.wordless(self.concepts))
        self.config = Sam3Config(confidence_thresh, [c.label for c in self.concepts])
        if box_prompt_field is not None:  # else `apply_model` may still name it
            self._examples()
        self.skip_existing = skip_existing
        self.ledger = Ledger(ledger)
        self._run: Run | None = None

    # ---------------------------------------------------------------- what FiftyOne asks of any model

    def __enter__(self) -> Sam3ImageModel:
        unknown = sorted(set(self.needs_fields) - {"prompt_field", "box_prompt_field"})
        if unknown:
            raise ConceptError(f"Unknown argument {unknown[0]!r}: this model takes prompt_field, box_prompt_field")
        self._examples()  # refuses what makes no sense without a field of examples
        # entered once more by each apply_model within a longer run: that run goes on
        self._run = self._run or Run()
        self._run.entered += 1
        return self

    def about(self) -> dict[str, Any]:
        """As :meth:`Asking.about`, with what was pointed at."""
        prompts = self._examples().about() | self.bank.about()
        more: dict[str, Any] = dict(prompts=prompts) if prompts else {}
        if self.tiles:
            more["tiles"] = asdict(self.tiles)
        if self.conflicts:
            more["conflicts"] = asdict(self.conflicts)
        return dict(super().about(), **more)

    # ---------------------------------------------------------------- prediction

    def answers(self, images: Sequence[Loaded], asked: Sequence[tuple[Concept, ...]]) -> list[list[ConceptResult]]:
        """What images give that belong to no run.

        Args:
            images: as :class:`LoadImage` made them, all readable
            asked: concepts of each; the model's own are not asked
        """
        return self._detect(images, [Question(concepts) for concepts in asked])

    def _free(self, images: Sequence[Loaded]) -> list[fo.Detections]:
        found = self._detect(images, [Question(self.asked_always())] * len(images))
        return [_detections(r, size) for r, (_, size, _) in zip(found, images, strict=True)]

    def _begin(self, run: Run, sample: Any) -> None:
        if run.dataset is None:
            try:
                self.check_asks()
            except ConceptError as error:
                raise Refused(error) from None
            run.begin(
                sample, self.ledger.name, self.asked_always(), self._prompt_field(), self._examples(), self.about(),
                self.skip_existing,
            )

    def _replies(self, run: Run, images: Sequence[Loaded], samples: Sequence[Any]) -> list[Reply]:
        stored = run.stored(samples)
        asks = self.questions(run.concepts)
        # without knowing where earlier instances are, what is recorded cannot be kept whole: it is asked again
        resumes = self.skip_existing and run.instances
        wanted, errors = [], []
        for (_, _, error), before in zip(images, stored, strict=True):
            question = Question()
            if error is None:
                question, error = asks.of(before, answered(before, run.ledger) if resumes else ())
            wanted.append(question)
            errors.append(error)
        run.asking(itertools.chain(*(question.concepts for question in wanted)))
        asking = [k for k, question in enumerate(wanted) if question.concepts]
        (answers,) = self.stream([([images[k] for k in asking], [wanted[k] for k in asking])])
        found: dict[int, list[ConceptResult]] = {}
        for k, answer in zip(asking, answers, strict=True):
            if isinstance(answer, str):
                errors[k] = answer
            else:
                found[k] = answer
        replies = []
        for k, (sample, before, error) in enumerate(zip(samples, stored, errors, strict=True)):
            if error is not None:
                write_error(sample, run.ledger, error)
            else:
                write(sample, run.ledger, found.get(k, ()), before)
            replies.append(Reply(
                sample, _detections(found.get(k, ()), images[k][1]), error, run.ledger.error,
                functools.partial(run.land, before, [c.label for c in wanted[k].concepts]),
            ))
        run.count(found.values(), len(samples), sum(error is not None for error in errors))
        return replies

    # ---------------------------------------------------------------- what to ask

    def _prompt_field(self) -> str | None:
        field = self.needs_fields.get("prompt_field", self.prompt_field)
        return None if field is None else field.removeprefix("frames.")

    def _examples(self) -> Examples:
        field = self.needs_fields.get("box_prompt_field", self.box_prompt_field)
        field = None if field is None else field.removeprefix("frames.")
        return Examples(field, self.exemplars_alone, self.exemplars_required, self.exemplars_of)

    def questions(self, concepts: tuple[Concept, ...] | None = None) -> Questions:
        """What a run asks; ``concepts``: of every image, if these are known already."""
        concepts = self.asked_always() if concepts is None else concepts
        return Questions(concepts, self._prompt_field(), self._examples(), self.detector.checkpoint.tokenizer)

    def check_asks(self) -> None:
        """Refuse to ask nothing at all: not as soon as there is a model, because to embed there is no need of concepts.

        Raises:
            ConceptError: there are no concepts, and no field that has any
        """
        if not self.asked_always() and not self._prompt_field() and not self._examples():
            raise ConceptError(
                'No concepts to look for: load the model with classes=["red baseball cap", "fire truck"], or give '
                "prompt_field=... with phrases for each sample, or box_prompt_field=... with examples"
            )


def _detections(results: Sequence[ConceptResult], size: tuple[int, int]) -> fo.Detections:
    return fo.Detections(detections=to_detections(results, size))
