"""What every model here has in common: concepts, thresholds, and what of them a run asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import fiftyone as fo
import torch

from .config import Sam3Config
from .engine.concepts import Classes, Concept, check_length, parse_concepts
from .engine.detector import ConceptDetector
from .engine.vocabulary_file import Vocabulary
from .ledger import field_of


class Asking:
    """The part of a model that knows what is asked.

    Args:
        detector: of a loaded checkpoint
        classes: concepts: a list, a comma-separated string, a mapping from label to phrase(s), or a vocabulary
        thresholds: label -> confidence threshold in [0, 1], before ``confidence_thresh``
        confidence_thresh: threshold of all other concepts
    """

    floor: float | None = None
    #: of :meth:`about`, what is otherwise where the answers are made, if that is not in this process
    elsewhere: Mapping[str, Any] = MappingProxyType({})

    def __init__(
        self, detector: ConceptDetector, classes: Classes | Vocabulary | None, thresholds: Mapping[str, float] | None,
        confidence_thresh: float,
    ) -> None:
        self.detector = detector
        self.concepts = _concepts(classes, thresholds)
        check_readable(self.concepts, detector.checkpoint.tokenizer)
        self.config = Sam3Config(confidence_thresh, [c.label for c in self.concepts])
        self._own_threshold = self.config.confidence_thresh

    def asked_always(self) -> tuple[Concept, ...]:
        """The run's concepts, with the thresholds of this run."""
        wanted = self.config.filter_classes
        concepts = self.concepts if wanted is None else tuple(c for c in self.concepts if c.label in wanted)
        if wanted is not None and not self.concepts:
            concepts = parse_concepts(list(wanted))
            check_readable(concepts, self.detector.checkpoint.tokenizer)
        return tuple(self._limited(c) for c in concepts)

    def _limited(self, concept: Concept) -> Concept:
        """``apply_model(confidence_thresh=)`` promises that nothing below it is stored, so it can only raise a
        concept's own threshold.
        """
        asked = self.config.confidence_thresh
        if concept.threshold is None or asked == self._own_threshold:
            return concept
        return replace(concept, threshold=max(concept.threshold, asked))

    def about(self) -> dict[str, Any]:
        """What this model is, for a run's record."""
        import transformers

        checkpoint = self.detector.checkpoint
        return dict(
            checkpoint=checkpoint.name,
            fingerprint=checkpoint.fingerprint,
            dtype=str(checkpoint.dtype).removeprefix("torch."),
            confidence_thresh=self.config.confidence_thresh, floor=self.floor, cls_token=self.detector.cls_token,
            versions=dict(torch=torch.__version__, transformers=transformers.__version__, fiftyone=fo.__version__),
        ) | dict(self.elsewhere)


def _concepts(classes: Classes | Vocabulary | None, thresholds: Mapping[str, float] | None) -> tuple[Concept, ...]:
    if classes is None:
        return ()
    if not isinstance(classes, Vocabulary):
        return parse_concepts(classes, thresholds)
    limits = {c.label: c.threshold for c in parse_concepts([c.label for c in classes.concepts], thresholds)}
    return tuple(
        c if limits[c.label] is None else replace(c, threshold=limits[c.label]) for c in classes.concepts
    )


def check_readable(concepts: Iterable[Concept], tokenizer: Any) -> None:
    """Refuse what the network cannot read whole, or the ledger cannot name."""
    for concept in concepts:
        check_length(concept.phrases, tokenizer)
        field_of(concept.label)
