"""Masklets as the video metrics see them: masks by frame, a score, and how two of them overlap.

Source of the rules: the evaluator of SA-Co/VEval (facebookresearch/sam3 at 99d02f2,
``sam3/eval/saco_veval_evaluators.py``), re-expressed from its behaviour.

An empty mask that is spelled out, instead of left away, is dropped from predictions; in ground truth it is an object
that nothing can match in that frame, for upstream. ``Track(..., keep_empty=True)`` has it so, for files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import index
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from .match import RLE, encode_masks, mask_areas


@dataclass(frozen=True, eq=False)
class Track:
    """One masklet: an object followed through a video, or a prediction of that.

    Attributes:
        masks: the mask in every frame where the object is, by 0-based frame number: an RLE or an (H, W) array, see
            :data:`evaluation.match.Masks`. Kept as compressed RLEs in the order of frames. No entry and an empty mask
            both mean "not here", and empty masks are dropped, but see ``keep_empty``. A track may be absent
            throughout; it still is a track.
        score: 0…1; ground truth needs none.
        crowd: ground truth only: a region of many objects (``iscrowd``), no masklet.
        keep_empty: keep empty masks, as something that is there and has no pixels. For ground truth from files only.
        areas: pixels by frame, with the keys of ``masks``; computed.

    Raises:
        TypeError, ValueError: a frame number that is not an integer or is negative, a NaN score, or masks that
            :func:`evaluation.match.encode_masks` refuses.

    >>> dot = np.eye(2, dtype=bool)
    >>> Track({3: dot, 0: dot, 1: dot & False}, score=0.9).areas
    {0: 2, 3: 2}
    """

    masks: Mapping[int, RLE | NDArray[Any]]
    score: float = 1.0
    crowd: bool = False
    keep_empty: bool = False
    areas: dict[int, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if np.isnan(self.score):
            raise ValueError("score is NaN; a track without a score is no prediction")
        frames = sorted(index(frame) for frame in self.masks)
        if frames and frames[0] < 0:
            raise ValueError(f"masks has frame {frames[0]}; frames count from 0")
        rles = encode_masks([self.masks[frame] for frame in frames], name="masks, in the order of frames, ")
        sizes = dict(zip(frames, mask_areas(rles).tolist(), strict=True))
        stays = {t for t, area in sizes.items() if area or self.keep_empty}
        object.__setattr__(self, "masks", {t: rle for t, rle in zip(frames, rles, strict=True) if t in stays})
        object.__setattr__(self, "areas", {t: int(area) for t, area in sizes.items() if t in stays})
        object.__setattr__(self, "score", float(self.score))
        object.__setattr__(self, "crowd", bool(self.crowd))

    @classmethod
    def from_frames(cls, masks: Iterable[RLE | NDArray[Any] | None], score: float = 1.0, crowd: bool = False) -> Track:
        """A track from one mask per frame, None where it is absent: a (T, H, W) array, or YTVIS ``segmentations``."""
        return cls({t: mask for t, mask in enumerate(masks) if mask is not None}, score, crowd)


def volume_iou(pred: Sequence[Track], gt: Sequence[Track]) -> NDArray[np.float64]:
    """Intersection over union of masklets as volumes: each summed over the frames first, then divided.

    Args:
        pred: P tracks.
        gt: G tracks of the same height and width.

    Returns:
        (P, G) float64, 0…1; 1 for two tracks that are both absent throughout.

    >>> mask = np.ones((2, 2), dtype=bool)
    >>> volume_iou([Track({0: mask, 1: mask}), Track({})], [Track({1: mask, 2: mask})]).round(3).tolist()
    [[0.333], [0.0]]
    """
    check_tracks(gt, pred, None)
    return volumes(gt, pred, overlaps(gt, pred))


class Overlap(NamedTuple):
    """One frame with both sides in it: G' masklets, P' predictions."""

    frame: int
    gt: NDArray[np.intp]  # (G',) which masklets
    pred: NDArray[np.intp]  # (P',) which predictions
    iou: NDArray[np.float64]  # (G', P')
    shared: NDArray[np.int64]  # (G', P') pixels of the intersection


def overlaps(gt: Sequence[Track], pred: Sequence[Track]) -> list[Overlap]:
    """All frames where there is something to match, in order. All that decodes masks."""
    found = []
    for t in sorted({t for track in gt for t in track.masks} & {t for track in pred for t in track.masks}):
        ours, theirs = ([i for i, track in enumerate(side) if t in track.masks] for side in (gt, pred))
        iou = coco_mask.iou([gt[i].masks[t] for i in ours], [pred[i].masks[t] for i in theirs], [0] * len(theirs))
        areas = np.add.outer([gt[i].areas[t] for i in ours], [pred[i].areas[t] for i in theirs])
        # i / u = iou and i + u = areas give i, to a precision far below one pixel.
        shared = np.rint(iou * areas / (1 + iou)).astype(np.int64)
        found.append(Overlap(t, np.array(ours), np.array(theirs), iou, shared))
    return found


def volumes(gt: Sequence[Track], pred: Sequence[Track], shared_frames: list[Overlap]) -> NDArray[np.float64]:
    """(P, G), see :func:`volume_iou`."""
    shared = np.zeros((len(gt), len(pred)), dtype=np.int64)
    for frame in shared_frames:
        shared[np.ix_(frame.gt, frame.pred)] += frame.shared
    sizes = (np.array([sum(track.areas.values()) for track in side], dtype=np.int64) for side in (gt, pred))
    union = np.add.outer(*sizes) - shared
    return np.where(union > 0, shared / np.maximum(union, 1), 1.0).T


def check_tracks(gt: Sequence[Track], pred: Sequence[Track], n_frames: int | None) -> None:
    """All tracks in one video of one size."""
    size, first = None, ""
    for side, tracks in (("gt", gt), ("pred", pred)):
        for i, track in enumerate(tracks):
            if not isinstance(track, Track):
                raise TypeError(f"{side}[{i}] is a {type(track).__name__}; want Track")
            if not track.masks:
                continue
            if n_frames is not None and max(track.masks) >= n_frames:
                raise ValueError(f"{side}[{i}] has frame {max(track.masks)}; the video has frames 0 to {n_frames - 1}")
            mine = next(iter(track.masks.values()))["size"]
            size, first = (size, first) if size else (mine, f"{side}[{i}]")
            if mine != size:
                raise ValueError(f"{side}[{i}] has size {mine}, {first} has {size}; resize the predictions first")
