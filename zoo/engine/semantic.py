"""Regions: which pixels belong to a concept, whichever instance, and of several concepts, to which.

SAM 3's semantic head says of every pixel how likely it belongs to a phrase. It says so of absent phrases too, so only
what is present has pixels at all. A pixel that several phrases claim goes to the one with the largest semantic
probability × presence; so regions never overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .concepts import Concept
from .detector import Asked, ConceptDetector, ImageFeatures
from .errors import ConceptError
from .masks import upsampled_regions

#: a phrase claims the pixels whose semantic probability is above
CLAIM = 0.5


@dataclass(frozen=True)
class RegionAnswer:
    """What one concept gave in one image, beside its pixels; as :class:`ConceptResult`.

    Attributes:
        label: the concept's label
        presence: in [0, 1], the largest over the concept's phrases
        object_score: in [0, 1], the best object score before presence
    """

    label: str
    presence: float
    object_score: float


@dataclass(frozen=True)
class Regions:
    """One image.

    Attributes:
        answers: of the concepts asked, in order, found or not
        owner: uint16 ``(height, width)``, at the image's size: 0 where no concept is, else the concept's place among
            ``answers``, from 1
    """

    answers: tuple[RegionAnswer, ...]
    owner: NDArray[np.uint16]


def find_regions(
    detector: ConceptDetector, features: ImageFeatures, concepts: Sequence[Concept], *, threshold: float = 0.5
) -> list[Regions]:
    """Divide images among concepts.

    A phrase is there if its presence is above its concept's threshold. It claims the pixels whose semantic
    probability, brought to the image's size, is above 0.5; of a concept with several phrases, each that is there
    claims. Of all that claim a pixel, the one with the largest probability × presence has it; of equals, the earlier
    concept.

    Args:
        detector: asks
        features: ``B`` encoded images
        concepts: asked of each of them, at most 65,535
        threshold: of presence, in [0, 1], for concepts without their own

    Returns:
        per image, its regions

    Raises:
        ConceptError: a concept without phrases, or too many
    """
    if len(concepts) > np.iinfo(np.uint16).max:
        raise ConceptError(f"A mask tells at most 65,535 concepts apart, got {len(concepts)}")
    wordless = next((c.label for c in concepts if not c.phrases), None)
    if wordless is not None:
        raise ConceptError(f"The concept {wordless!r} has no phrase: regions are found by words")
    limits = [threshold if c.threshold is None else c.threshold for c in concepts]
    maps = [_Map(size, len(concepts)) for size in features.sizes]
    asked = [
        Asked(row, k, phrase, limits[k])
        for row in range(len(maps)) for k, concept in enumerate(concepts) for phrase in concept.phrases
    ]
    survivors = detector.survivors(features, semantic=True)
    for decoded in detector.decode(features, asked):
        numbers = zip(decoded.asked, decoded.presence.tolist(), decoded.scores.amax(1).tolist(), strict=True)
        for n, (one, presence, score) in enumerate(numbers):
            here = maps[one.row]
            here.presence[one.concept] = max(here.presence[one.concept], presence)
            here.score[one.concept] = max(here.score[one.concept], score)
            if presence > one.floor:
                for (claimer, weight), logits in survivors.add(decoded.survivor(n, slice(0), (one, presence))):
                    maps[claimer.row].claim(claimer.concept, weight, logits)
    for (claimer, weight), logits in survivors.rest():
        maps[claimer.row].claim(claimer.concept, weight, logits)
    return [here.regions(concepts) for here in maps]


class _Map:
    """An image on its way to being divided: two numbers for each pixel, and two for each concept."""

    def __init__(self, size: tuple[int, int], concepts: int) -> None:
        self.presence, self.score = [0.0] * concepts, [0.0] * concepts
        self._size = size
        self._best = np.zeros(size, np.float32)
        self._owner = np.zeros(size, np.uint16)

    def claim(self, concept: int, presence: float, logits: Tensor) -> None:
        """Let a phrase of ``concept`` have the pixels where its logits ``(h, w)`` and its presence say so."""
        (region,) = upsampled_regions(logits.sigmoid()[None], self._size, CLAIM)
        if region is None:
            return
        (x0, y0, x1, y1), values = region
        values = values.cpu().numpy()
        strength, place = values * np.float32(presence), np.uint16(concept + 1)
        best, owner = self._best[y0:y1, x0:x1], self._owner[y0:y1, x0:x1]
        wins = (values > CLAIM) & ((strength > best) | ((strength == best) & (place < owner)))
        best[wins], owner[wins] = strength[wins], place

    def regions(self, concepts: Sequence[Concept]) -> Regions:
        answers = zip(concepts, self.presence, self.score, strict=True)
        return Regions(tuple(RegionAnswer(c.label, p, s) for c, p, s in answers), self._owner)
