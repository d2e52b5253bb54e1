"""Everything in an image, without a word: a grid of points, and of what is drawn for them what is good, stable and new.

The filters, their names and their defaults are those of SAM's automatic mask generator (Kirillov et al., "Segment
Anything", 2023, section 4 and appendix B). The image is encoded once; without crops of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import masks_to_boxes, nms

from .concepts import check_fraction, check_whole
from .errors import ConceptError
from .masks import crop_masks
from .prompts import ObjectPrompt, Point
from .tracker_network import TrackerFeatures
from .visual import Outline, VisualSegmenter


@dataclass(frozen=True)
class EverythingSettings:
    """What counts as a thing.

    Attributes:
        points_per_side: points along each side of the grid
        pred_iou_thresh: the least IoU that the network must expect of a mask, in [0, 1]
        stability_score_thresh: the least stability of a mask, in [0, 1]: the IoU of what is above
            ``+stability_score_offset`` and what is above ``-stability_score_offset``
        stability_score_offset: in logits
        box_nms_thresh: of masks whose boxes overlap more than this IoU, the best stays
        min_mask_region_area: smaller masks are left out, in pixels of the image
    """

    points_per_side: int = 32
    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    box_nms_thresh: float = 0.7
    min_mask_region_area: int = 0

    def __post_init__(self) -> None:
        check_whole(self.points_per_side, "points_per_side", 1)
        check_whole(self.min_mask_region_area, "min_mask_region_area", 0)
        for name in ("pred_iou_thresh", "stability_score_thresh", "box_nms_thresh"):
            check_fraction(getattr(self, name), name)
        offset = self.stability_score_offset
        if isinstance(offset, bool) or not isinstance(offset, int | float) or not 0 <= offset < 32:
            raise ConceptError(f"stability_score_offset must be a number of at least 0, in logits: got {offset!r}")


@dataclass(frozen=True)
class Thing:
    """One thing: its ``outline``, the ``point`` that it was drawn for, and the mask's ``stability`` in [0, 1]."""

    outline: Outline
    point: Point
    stability: float


def segment_everything(
    segmenter: VisualSegmenter, here: TrackerFeatures, row: int, size: tuple[int, int],
    settings: EverythingSettings | None = None,
) -> list[Thing]:
    """All that can be told apart in one image, the best mask first.

    Args:
        segmenter: draws
        here: encoded images, of :meth:`VisualSegmenter.features`
        row: which image
        size: ``(height, width)`` of the image, in pixels
        settings: what counts as a thing
    """
    settings = settings or EverythingSettings()
    points = grid(settings.points_per_side)
    kept = list(_good(segmenter, here, row, points, settings))
    if not kept:
        return []
    masks, quality, stability, origin = (torch.cat(parts) for parts in zip(*kept, strict=True))
    boxes = masks_to_boxes(masks > 0)
    boxes[:, 2:] += 1  # its ends belong to a box of cells
    order = nms(boxes, quality, settings.box_nms_thresh)
    things = []
    for k, (corner, mask) in zip(order.tolist(), crop_masks(masks[order], size, 0.0), strict=True):
        if mask.sum() >= max(1, settings.min_mask_region_area):
            outline = Outline(corner, mask, float(quality[k]))
            things.append(Thing(outline, points[int(origin[k])], float(stability[k])))
    return things


def grid(per_side: int) -> list[Point]:
    """Points at the centres of ``per_side * per_side`` equal cells, row by row.

    >>> grid(2)
    [(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)]
    """
    centres = [(k + 0.5) / per_side for k in range(per_side)]
    return [(x, y) for y in centres for x in centres]


def _good(
    segmenter: VisualSegmenter, here: TrackerFeatures, row: int, points: list[Point], settings: EverythingSettings
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Logits ``(N, h, w)``, quality, stability and place of the point ``(N,)`` of the masks that pass, by chunks."""
    prompts = [ObjectPrompt(None, 0, None, (point,), (True,)) for point in points]
    for part, offered in segmenter.draw(here, row, prompts, multimask=True):
        masks, quality = offered.masks.float().flatten(0, 1), offered.quality.float().flatten().clamp(0, 1)
        origin = torch.tensor(part, device=quality.device).repeat_interleave(offered.masks.shape[1])
        sure = (quality >= settings.pred_iou_thresh) & (masks > 0).flatten(1).any(1)
        masks, quality, origin = masks[sure], quality[sure], origin[sure]
        offset = settings.stability_score_offset
        inner, outer = ((masks > level).flatten(1).sum(1) for level in (offset, -offset))
        stability = inner / outer.clamp(min=1)
        steady = stability >= settings.stability_score_thresh
        yield masks[steady], quality[steady], stability[steady], origin[steady]
