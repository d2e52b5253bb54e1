"""Single objects that are pointed at in an image: points and boxes to masks, SAM's own task (promptable visual
segmentation). It is the tracker that does it, on what the vision encoder made of the image for the detector.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .checkpoint import Checkpoint
from .detector import ImageFeatures
from .errors import CheckpointError, ConceptError
from .masks import crop_masks
from .prompts import ObjectPrompt
from .tracker_network import Candidates, TrackerFeatures

#: which of the candidates (whole, part, sub-part) becomes the object: the one with the highest expected IoU, or by area
CHOICES = ("best", "largest", "smallest")


@dataclass(frozen=True)
class Outline:
    """What was drawn for a prompt.

    Attributes:
        corner: ``(x, y)``, the image pixel of the mask's first element
        mask: bool ``(h, w)``, tight; ``(0, 0)`` where nothing was drawn
        quality: the IoU that the network expects of it, in [0, 1]
    """

    corner: tuple[int, int]
    mask: np.ndarray
    quality: float


class VisualSegmenter:
    """SAM's task on images, for any number of objects.

    Args:
        checkpoint: loaded with its tracker
        prompts_per_chunk: objects drawn together; bounds memory, does not change results

    Raises:
        CheckpointError: the checkpoint has no tracker, or it was not loaded
    """

    def __init__(self, checkpoint: Checkpoint, *, prompts_per_chunk: int = 64) -> None:
        if checkpoint.tracker is None:
            raise CheckpointError(
                f"Points and boxes are drawn by the tracker, and {checkpoint.name!r} was loaded without: use "
                "load_checkpoint(..., tracker=True)"
            )
        if prompts_per_chunk < 1:
            raise ValueError(f"Chunks must hold at least 1 prompt, got {prompts_per_chunk}")
        self.network = checkpoint.tracker
        self.prompts_per_chunk = prompts_per_chunk

    @torch.inference_mode()
    def features(self, features: ImageFeatures) -> TrackerFeatures:
        """Encoded images, as the mask decoder takes them; no second pass through the vision encoder.

        Args:
            features: of :meth:`ConceptDetector.encode_images`, with its tokens
        """
        if features.tokens is None:
            raise ValueError("These features have no tokens: encode the images with tokens=True")
        return self.network.without_memory(self.network.features(features.tokens))

    @torch.inference_mode()
    def outlines(
        self, here: TrackerFeatures, row: int, prompts: Sequence[ObjectPrompt], size: tuple[int, int], *,
        multimask: bool | None = None, choice: str = "best", before: Sequence[Tensor | None] | None = None,
    ) -> list[Outline]:
        """Draw the objects of one image.

        Args:
            here: of :meth:`features`
            row: which image
            prompts: one an object; their ``concept`` and ``key`` do not matter
            size: ``(height, width)`` of the image, in pixels
            multimask: three candidates, or one; ``None``: as upstream's video predictor decides, three for a single
                point, one where more is said
            choice: of :data:`CHOICES`
            before: for each prompt, logits ``(h, w)`` of an earlier answer that it corrects

        Returns:
            in order, an outline a prompt
        """
        if choice not in CHOICES:
            raise ConceptError(f"The choice of a mask must be one of {', '.join(CHOICES)}: got {choice!r}")
        found: list[Outline | None] = [None] * len(prompts)
        for part, offered in self.draw(here, row, prompts, multimask=multimask, before=before):
            chosen = _chosen(offered, choice)
            rows = torch.arange(len(part), device=chosen.device)
            crops = crop_masks(offered.masks[rows, chosen].float(), size, 0.0)
            quality = offered.quality[rows, chosen].float().clamp(0, 1).tolist()
            for k, (corner, mask), good in zip(part, crops, quality, strict=True):
                found[k] = Outline(corner, mask, good)
        return [outline for outline in found if outline is not None]

    @torch.inference_mode()
    def draw(
        self, here: TrackerFeatures, row: int, prompts: Sequence[ObjectPrompt], *, multimask: bool | None = None,
        before: Sequence[Tensor | None] | None = None,
    ) -> Iterator[tuple[list[int], Candidates]]:
        """The network's candidates, for those prompts together that say equally much; arguments as for
        :meth:`outlines`.

        Yields:
            places in ``prompts``, and what the network offers for them
        """
        alike: dict[tuple[int, bool, bool], list[int]] = {}
        for k, prompt in enumerate(prompts):
            earlier = before is not None and before[k] is not None
            # padding would be read: each number of points is a batch of its own
            alike.setdefault((len(prompt.points), prompt.box is not None, earlier), []).append(k)
        frame = TrackerFeatures(tuple(level[row : row + 1] for level in here.fine), here.coarse[row : row + 1])
        side, like = self.network.model.image_size, here.coarse
        for (points, boxed, corrects), places in alike.items():
            for start in range(0, len(places), self.prompts_per_chunk):
                part = places[start : start + self.prompts_per_chunk]
                some = [prompts[k] for k in part]
                yield part, self.network.decode(
                    frame.repeat(len(part)),
                    points=like.new_tensor([p.points for p in some]) * side if points else None,
                    labels=torch.tensor([p.on for p in some], device=like.device).long() if points else None,
                    boxes=like.new_tensor([p.box for p in some]) * side if boxed else None,
                    masks=torch.stack([before[k] for k in part])[:, None].to(like.dtype) if corrects else None,
                    multimask=self._several(points + 2 * boxed) if multimask is None else multimask,
                )

    def _several(self, said: int) -> bool:
        """Where much is said there is no doubt which of three masks is meant; upstream counts a box as two points."""
        config = self.network.model.config
        return config.multimask_output_in_sam and config.multimask_min_pt_num <= said <= config.multimask_max_pt_num


def _chosen(offered: Candidates, choice: str) -> Tensor:
    """``(N,)``, the place of each object's mask among its candidates."""
    if choice == "best" or offered.masks.shape[1] == 1:
        return offered.quality.argmax(1)
    areas = (offered.masks > 0).flatten(2).sum(2)
    return areas.argmax(1) if choice == "largest" else areas.argmin(1)
