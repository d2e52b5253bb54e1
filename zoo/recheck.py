"""A concept is asked again in images whose instances are marked: are there others?

As the data engine of SAM 3 does: the marked instances are examples, and go with the words. Beside that, the words are
asked alone, from the same features: encoding the image is nearly all that either costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from .engine.concepts import Concept
from .engine.detector import ConceptDetector
from .engine.prompts import Exemplars
from .engine.results import ConceptResult
from .inputs import Loaded


@dataclass(frozen=True)
class Recheck:
    """What is asked of one image: its concepts, and label -> examples that are in it, of those that have some."""

    concepts: tuple[Concept, ...] = ()
    exemplars: Mapping[str, Exemplars] = field(default_factory=dict)


@dataclass(frozen=True)
class Rechecked:
    """What one concept gave: by words and examples together, and by words alone; None where that was not asked."""

    shown: ConceptResult | None
    words: ConceptResult | None


def recheck(
    detector: ConceptDetector, images: Sequence[Loaded], questions: Sequence[Recheck], *, floor: float,
    words: bool = True,
) -> list[list[Rechecked]]:
    """Ask.

    Args:
        detector: asked
        images: squeezed to the network's square
        questions: of each image
        floor: instances down to this confidence are found
        words: ask the words alone, too, where there are examples

    Returns:
        per image, per concept in the order asked, what it gave
    """
    pixels, sizes, _ = zip(*images, strict=True)
    features = detector.encode_images(torch.stack(pixels), sizes)
    shown = [[c for c in one.concepts if c.label in one.exemplars] for one in questions]
    plain = [[c for c in one.concepts if c.phrases and (words or c.label not in one.exemplars)] for one in questions]
    limits = dict(threshold=floor, floor=floor)
    by_shown = detector.detect(features, shown, exemplars=[one.exemplars for one in questions], **limits)
    by_words = detector.detect(features, plain, **limits)
    found = []
    for one, first, second in zip(questions, by_shown, by_words, strict=True):
        answers = {r.label: r for r in first}, {r.label: r for r in second}
        found.append([Rechecked(*(some.get(c.label) for some in answers)) for c in one.concepts])
    return found
