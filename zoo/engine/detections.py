"""What the detector finds in one frame of a video: of all concepts, without duplicates, at the network's own size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .association import without_duplicates
from .concepts import Concept
from .detector import Asked, ConceptDetector, ImageFeatures
from .prompts import VISUAL, Exemplars
from .tracker_settings import TrackerSettings
from .transfers import rows_of


@dataclass(frozen=True)
class Detected:
    """The detections of one frame, of all concepts: ``masks`` logits ``(N, h, w)``, on the network's device, and on the
    host ``confidences`` ``(N,)``, and for each its ``scores`` before presence, ``concepts`` and ``phrases``;
    ``presences`` and ``best`` object scores per concept, found or not, and ``None`` where it was not asked.
    """

    masks: Tensor
    confidences: Tensor
    scores: tuple[float, ...]
    concepts: tuple[int, ...]
    phrases: tuple[str, ...]
    presences: tuple[float | None, ...]
    best: tuple[float | None, ...]

    def asked(self, concept: int) -> bool:
        """Whether a concept was asked in this frame."""
        return self.presences[concept] is not None

    def only(self, rows: Sequence[int]) -> Detected:
        """Some of the detections, in this order."""
        if list(rows) == list(range(len(self.scores))):
            return self
        kept = list(rows)
        return replace(
            self, masks=rows_of(self.masks, kept), confidences=rows_of(self.confidences, kept),
            scores=tuple(self.scores[k] for k in kept), concepts=tuple(self.concepts[k] for k in kept),
            phrases=tuple(self.phrases[k] for k in kept),
        )


def detect(
    detector: ConceptDetector, features: ImageFeatures, concepts: Sequence[Concept], settings: TrackerSettings,
    side: int, exemplars: Mapping[int, Exemplars] | None = None, *, everywhere: bool = True,
) -> Detected:
    """The detections of one frame, duplicates within a concept removed.

    Args:
        detector: asked
        features: of the frame
        concepts: to ask; those without words only where they have an example
        settings: the thresholds
        side: of the network's masks, in cells
        exemplars: of this frame, by concept
        everywhere: if not, ask only concepts that have an example here; the others have no presence then
    """
    exemplars = {k: e for k, e in (exemplars or {}).items() if e.shows}
    limit = settings.score_threshold_detection
    asked = [
        Asked(0, k, phrase, limit if concept.threshold is None else concept.threshold, exemplars.get(k))
        for k, concept in enumerate(concepts) if everywhere or k in exemplars
        for phrase in concept.phrases or ((VISUAL,) if k in exemplars else ())
    ]
    presences: list[float | None] = [None] * len(concepts)
    best: list[float | None] = [None] * len(concepts)
    found = []
    for answer in detector.find(features, asked):
        k = answer.asked.concept
        presences[k], best[k] = max(presences[k] or 0.0, answer.presence), max(best[k] or 0.0, answer.object_score)
        if len(answer.confidences):
            found.append(answer)
    found.sort(key=lambda a: a.asked.concept)
    owners = tuple(a.asked.concept for a in found for _ in range(len(a.confidences)))
    if not owners:
        nothing = torch.zeros(0, side, side, device=detector.checkpoint.device)
        return Detected(nothing, torch.zeros(0), (), (), (), tuple(presences), tuple(best))
    together = Detected(
        torch.cat([a.masks for a in found]),
        torch.cat([a.confidences for a in found]),
        tuple(torch.cat([a.scores for a in found]).numpy().tolist()),
        owners,
        tuple(a.asked.phrase for a in found for _ in range(len(a.confidences))),
        tuple(presences),
        tuple(best),
    )
    return together.only(without_duplicates(together.masks > 0, together.confidences, settings.det_nms_thresh, owners))
