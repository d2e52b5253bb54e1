"""SAM 3's semantic head as a FiftyOne model: one mask for each image, which says of every pixel what it belongs to.

``load_zoo_model("concepts/sam3-image", classes=["cap", "fire truck"], operation_mode="semantic")``. No instances: two
caps that touch are one region. Presence goes into the ledger as always; counts do not, for nothing was counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import fiftyone as fo
import torch

from .answering import Answering, tried_apart
from .asking import Asking
from .engine.checkpoint import Checkpoint
from .engine.concepts import Classes
from .engine.detector import ConceptDetector
from .engine.errors import ConceptError
from .engine.semantic import Regions, find_regions
from .inputs import Loaded
from .landing import Reply
from .ledger import Ledger, write, write_error
from .region_run import RegionRun, numbered


class Sam3SemanticModel(Asking, Answering):
    """Divides images among concepts.

    Makes a ``Segmentation``, which ``apply_model`` stores in ``label_field``, as files where it is told an
    ``output_dir``; keeps ``dataset.mask_targets[label_field]``; writes the ledger's presence and score.

    A mask is made anew by every run, of what that run asks. Numbers are kept: a concept has one in all masks of its
    ledger, so that masks of earlier runs, in other samples or fields, still mean what they meant.

    Args:
        checkpoint: a loaded checkpoint
        classes: concepts: a list, a comma-separated string, a mapping from label to phrase(s), or a vocabulary
        thresholds: label -> presence in [0, 1] above which it is there, before ``confidence_thresh``
        confidence_thresh: the same for all other concepts
        ledger: name of the ledger
        cls_token: see :class:`ConceptDetector`

    Raises:
        ConceptError: no concepts, or settings that make no sense
    """

    def __init__(
        self, checkpoint: Checkpoint, classes: Classes | None = None, *,
        thresholds: Mapping[str, float] | None = None, confidence_thresh: float = 0.5, ledger: str = "sam3",
        cls_token: bool = True,
    ) -> None:
        Answering.__init__(self, checkpoint)
        Asking.__init__(self, ConceptDetector(checkpoint, cls_token=cls_token), classes, thresholds, confidence_thresh)
        wordless = next((c.label for c in self.concepts if not c.phrases), None)
        if wordless is not None:
            raise ConceptError(f"The concept {wordless!r} has no phrase: operation_mode='semantic' asks by words")
        self.ledger = Ledger(ledger)
        self._run: RegionRun | None = None

    def __enter__(self) -> Sam3SemanticModel:
        given = sorted(self.needs_fields)
        if given:
            raise ConceptError(f"{given[0]} makes no sense with operation_mode='semantic', which asks only for classes")
        if not self.asked_always():
            raise ConceptError('No concepts to look for: load the model with classes=["red cap", "fire truck"]')
        self._run = self._run or RegionRun()
        self._run.entered += 1
        return self

    def about(self) -> dict[str, Any]:
        """As :meth:`Asking.about`, with the mode."""
        return dict(super().about(), operation_mode="semantic")

    def _free(self, images: Sequence[Loaded]) -> list[fo.Segmentation]:
        numbers = {c.label: k for k, c in enumerate(self.asked_always(), 1)}
        return [numbered(regions, numbers) for regions in self._find(images)]

    def _begin(self, run: RegionRun, sample: Any) -> None:
        if run.dataset is None:
            run.open(sample, self.ledger.name, self.asked_always(), self.about())

    def _replies(self, run: RegionRun, images: Sequence[Loaded], samples: Sequence[Any]) -> list[Reply]:
        stored = run.stored(samples)
        errors = [error for _, _, error in images]
        whole = [k for k, error in enumerate(errors) if error is None]
        found = tried_apart(whole, lambda places: self._find([images[k] for k in places]), errors)
        replies = []
        for k, (sample, before, error) in enumerate(zip(samples, stored, errors, strict=True)):
            mask = None
            if error is not None:
                write_error(sample, run.ledger, error)
            else:
                write(sample, run.ledger, run.answers(found[k], before), before)
                mask = run.segmentation(found[k])
            replies.append(Reply(sample, mask, error, run.ledger.error, run.place))
        run.count((), len(samples), sum(error is not None for error in errors))
        return replies

    def _find(self, images: Sequence[Loaded]) -> list[Regions]:
        pixels, sizes, _ = zip(*images, strict=True)
        features = self.detector.encode_images(torch.stack(pixels), sizes)
        return find_regions(
            self.detector, features, self.asked_always(), threshold=self.config.confidence_thresh
        )
