"""What phrases gave, put together to what concepts gave."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .asked import Asked, Found, ImageFeatures
from .concepts import Concept
from .masks import Crop, mask_iou
from .packing import cropping
from .results import ConceptResult, Instance

#: two phrases of one concept found the same object if their masks overlap at least this much
_SAME_OBJECT = 0.5


#: phrases whose masks are on their way to the host at one time
_ARRIVING = 32


@dataclass
class _Part:
    """One phrase's instances: confidence, object score and box of each, and what gives their masks."""

    phrase: str
    presence: float
    numbers: list[tuple[float, float, list[float]]]
    crops: Callable[[], list[Crop]]

    def land(self) -> None:
        """Have the masks: what they are on their way from is then free."""
        landed = self.crops()
        self.crops = lambda: landed


@dataclass
class Answer:
    """What the phrases of one concept gave in one image, so far."""

    presence: float = 0.0
    object_score: float = 0.0
    _parts: list[_Part] = field(default_factory=list)

    def add(
        self, phrase: str, presence: float, object_score: float, numbers: list[tuple[float, float, list[float]]],
        crops: Callable[[], list[Crop]],
    ) -> Callable[[], None]:
        """What one more phrase gave.

        Args:
            phrase: it
            presence: of it
            object_score: the best, before presence
            numbers: confidence, object score, and box ``x0, y0, x1, y1`` in pixels, of each instance
            crops: gives their masks, which may be on their way still

        Returns:
            to be called when the masks should be here; :meth:`result` waits for those that are not
        """
        self.presence = max(self.presence, presence)
        self.object_score = max(self.object_score, object_score)
        part = _Part(phrase, presence, numbers, crops)
        self._parts.append(part)
        return part.land

    def result(self, concept: Concept, threshold: float) -> ConceptResult:
        """What the concept gave, all in all."""
        found = [
            Instance(confidence, score, part.presence, (box[0], box[1], box[2], box[3]), corner, mask, part.phrase)
            for part in self._parts
            for (confidence, score, box), (corner, mask) in zip(part.numbers, part.crops(), strict=True)
        ]
        found.sort(key=lambda i: -i.confidence)
        if len(concept.phrases) > 1:
            found = without_repeats(found)
        count = sum(i.confidence > threshold for i in found)
        return ConceptResult(concept.label, self.presence, self.object_score, tuple(found), count, threshold)


@dataclass
class Work:
    """A batch on its way: what was asked of it, and what is known so far."""

    features: ImageFeatures
    concepts: Sequence[Sequence[Concept]]
    limits: list[list[float]]
    asked: list[Asked]
    answers: list[list[Answer]]
    landing: deque[Callable[[], None]] = field(default_factory=deque)

    def add(self, found: Found) -> None:
        """What one more phrase gave in one of the images."""
        row = found.asked.row
        answer, size = self.answers[row][found.asked.concept], self.features.sizes[row]
        scale = found.boxes.new_tensor([size[1], size[0], size[1], size[0]])
        columns = (found.confidences.tolist(), found.scores.tolist(), (found.boxes * scale).tolist())
        numbers = list(zip(*columns, strict=True))
        crops = cropping(found.masks.sigmoid(), size) if numbers else list
        land = answer.add(found.asked.phrase, found.presence, found.object_score, numbers, crops)
        if numbers:
            self.landing.append(land)
        while len(self.landing) > _ARRIVING:
            self.landing.popleft()()

    def results(self) -> list[list[ConceptResult]]:
        """What the concepts gave, image by image."""
        return [
            [a.result(c, t) for c, a, t in zip(some, given, limit, strict=True)]
            for some, given, limit in zip(self.concepts, self.answers, self.limits, strict=True)
        ]


def without_repeats(found: Sequence[Instance]) -> list[Instance]:
    """Of objects that several phrases found, the most confident finding. One phrase's own are left alone."""
    kept: list[Instance] = []
    for instance in found:
        place = (instance.corner, instance.mask)
        if not any(
            k.phrase != instance.phrase and mask_iou((k.corner, k.mask), place) >= _SAME_OBJECT for k in kept
        ):
            kept.append(instance)
    return kept
