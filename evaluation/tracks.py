"""One (video, phrase) pair, reduced to counts: which masklets were found, and were they followed?

The only step of the video metrics that sees masks; what :mod:`evaluation.pairs` is to images. Counts are small and
add up, so pairs can be counted anywhere, in any order and in any process. :func:`evaluation.phota.phota` pools
them, and their ``volume`` goes through :func:`evaluation.cgf1.cgf1` as the counts of images do:
``cgf1(pair.volume for pair in pairs)``.

Source of the rules: the evaluator of SA-Co/VEval (facebookresearch/sam3 at 99d02f2,
``sam3/eval/saco_veval_evaluators.py``), re-expressed from its behaviour; HOTA is Luiten et al., "HOTA: A Higher Order
Metric for Evaluating Multi-Object Tracking", IJCV 2021. Identity switches, which that evaluator does not count,
are those of CLEAR MOT (Bernardin & Stiefelhagen, "Evaluating Multiple Object Tracking Performance", 2008).

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

from .match import RLE, assign, encode_masks, hits
from .pairs import PairCounts

ALPHAS: NDArray[np.float64] = np.arange(0.05, 0.99, 0.05)
"""The 19 localisation thresholds of HOTA, 0.05, 0.10, … 0.95, read-only, with the rounding of upstream's ``arange``."""
ALPHAS.flags.writeable = False

SWITCH_IOU = 0.5
"""From this IoU on, a prediction can be the match of a masklet in a frame when identity switches are counted."""

_EPS = float(np.finfo(float).eps)


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
        sizes = dict(zip(frames, np.atleast_1d(coco_mask.area(rles)).tolist() if rles else [], strict=True))
        stays = {t for t, area in sizes.items() if area or self.keep_empty}
        object.__setattr__(self, "masks", {t: rle for t, rle in zip(frames, rles, strict=True) if t in stays})
        object.__setattr__(self, "areas", {t: int(area) for t, area in sizes.items() if t in stays})
        object.__setattr__(self, "score", float(self.score))
        object.__setattr__(self, "crowd", bool(self.crowd))

    @classmethod
    def from_frames(cls, masks: Iterable[RLE | NDArray[Any] | None], score: float = 1.0, crowd: bool = False) -> Track:
        """A track from one mask per frame, None where it is absent: a (T, H, W) array, or YTVIS ``segmentations``."""
        return cls({t: mask for t, mask in enumerate(masks) if mask is not None}, score, crowd)


@dataclass(frozen=True, eq=False)
class VideoPairCounts:
    """What one (video, phrase) pair adds to the metrics. A detection is a masklet's mask in one frame.

    Attributes:
        tp, fp, fn: (19,) int64 detections, one count per threshold of :data:`ALPHAS`.
        association: (19,) float64. Per true positive, of the frames that have its masklet or its prediction, the
            share where the two are matched to each other, 0…1; their sum.
        masklets: ground-truth masklets that are seen at least once, crowds included.
        id_switches: how often a masklet's match changes, see :func:`count_video_pair`.
        volume: the same pair counted by whole masklets, for :func:`evaluation.cgf1.cgf1`.
    """

    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    fn: NDArray[np.int64]
    association: NDArray[np.float64]
    masklets: int
    id_switches: int
    volume: PairCounts

    def __post_init__(self) -> None:
        for name, dtype in (("tp", np.int64), ("fp", np.int64), ("fn", np.int64), ("association", np.float64)):
            counts = np.asarray(getattr(self, name), dtype=dtype)
            if counts.shape != ALPHAS.shape or not (counts >= 0).all():
                raise ValueError(f"{name} is {counts.tolist()}; want {ALPHAS.size} values, none negative")
            object.__setattr__(self, name, counts)


def count_video_pair(
    gt: Sequence[Track],
    pred: Sequence[Track],
    n_frames: int,
    *,
    threshold: float = 0.5,
) -> VideoPairCounts:
    """Match the predicted masklets of one (video, phrase) pair to its ground truth, and count, in three ways.

    **By detection** (for pHOTA), predictions with ``score > threshold``: masklets whose frames overlap well
    throughout are aligned; per frame, an assignment of the largest total alignment × IoU; TP at alpha where a match has
    IoU ≥ alpha. Crowds are masklets like others here, as upstream.

    **By identity**, the same predictions: per frame, one-to-one matches of IoU ≥ 0.5 with the largest total IoU, after
    keeping those of the previous frame that still have it. A switch is a match that differs from the masklet's
    last one, however long ago that was. "The previous frame" is the last one with both ground truth and predictions.

    **By volume** (for cgF1), predictions with ``score >= threshold``: as :func:`evaluation.pairs.count_pair`, with
    :func:`volume_iou` for IoU. Crowds are dropped before matching. A track that is absent throughout counts.

    Args:
        gt: G masklets; none means the concept is not in the video.
        pred: P masklets with scores; masks of the size of ``gt``'s.
        n_frames: how many frames the video has; nothing but a check.
        threshold: what a score has to reach (volume) or exceed. Compared as float64.

    Returns:
        The counts, to be collected for :func:`evaluation.phota.phota` and :func:`evaluation.cgf1.cgf1`.

    Raises:
        ValueError: a track outside the video, tracks of different sizes, or a NaN threshold.

    >>> still = np.ones((4, 2, 2), dtype=bool)
    >>> first, then = still.copy(), still.copy()
    >>> first[2:], then[:2] = False, False
    >>> pair = count_video_pair([Track.from_frames(still)], [Track.from_frames(first), Track.from_frames(then)], 4)
    >>> pair.tp[0].item(), pair.association[0].item(), pair.id_switches
    (4, 2.0, 1)
    >>> pair.volume.tp[0].item(), pair.volume.fp[0].item()
    (1, 1)
    """
    if np.isnan(threshold):
        raise ValueError(f"threshold is {threshold}; want a number")
    _check(gt, pred, n_frames)
    kept = [track for track in pred if track.score >= threshold]
    above = [track for track in kept if track.score > threshold]

    overlaps = _overlaps(gt, kept)
    hit = hits(_volume_iou(gt, kept, overlaps)[:, [not track.crowd for track in gt]])
    objects = sum(not track.crowd for track in gt)
    found = hit.sum(axis=0, dtype=np.int64)

    if len(above) < len(kept):
        overlaps = _overlaps(gt, above)
    seen, claimed = _lengths(gt), _lengths(above)
    tp, association = _associate(overlaps, seen, claimed)
    return VideoPairCounts(
        tp=tp,
        fp=claimed.sum() - tp,
        fn=seen.sum() - tp,
        association=association,
        masklets=int((seen > 0).sum()),
        id_switches=_count_switches(overlaps, len(gt)),
        volume=PairCounts(
            tp=found, fp=len(kept) - found, fn=objects - found, has_gt=objects > 0, has_pred=len(kept) > 0
        ),
    )


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
    _check(gt, pred, None)
    return _volume_iou(gt, pred, _overlaps(gt, pred))


class _Overlap(NamedTuple):
    """One frame with both sides in it: G' masklets, P' predictions."""

    gt: NDArray[np.intp]  # (G',) which masklets
    pred: NDArray[np.intp]  # (P',) which predictions
    iou: NDArray[np.float64]  # (G', P')
    shared: NDArray[np.int64]  # (G', P') pixels of the intersection


def _overlaps(gt: Sequence[Track], pred: Sequence[Track]) -> list[_Overlap]:
    """All frames where there is something to match, in order. All that decodes masks."""
    overlaps = []
    for t in sorted({t for track in gt for t in track.masks} & {t for track in pred for t in track.masks}):
        ours, theirs = ([i for i, track in enumerate(side) if t in track.masks] for side in (gt, pred))
        iou = coco_mask.iou([gt[i].masks[t] for i in ours], [pred[i].masks[t] for i in theirs], [0] * len(theirs))
        areas = np.add.outer([gt[i].areas[t] for i in ours], [pred[i].areas[t] for i in theirs])
        # i / u = iou and i + u = areas give i, to a precision far below one pixel.
        shared = np.rint(iou * areas / (1 + iou)).astype(np.int64)
        overlaps.append(_Overlap(np.array(ours), np.array(theirs), iou, shared))
    return overlaps


def _volume_iou(gt: Sequence[Track], pred: Sequence[Track], overlaps: list[_Overlap]) -> NDArray[np.float64]:
    """(P, G), see :func:`volume_iou`."""
    shared = np.zeros((len(gt), len(pred)), dtype=np.int64)
    for frame in overlaps:
        shared[np.ix_(frame.gt, frame.pred)] += frame.shared
    sizes = (np.array([sum(track.areas.values()) for track in side], dtype=np.int64) for side in (gt, pred))
    union = np.add.outer(*sizes) - shared
    return np.where(union > 0, shared / np.maximum(union, 1), 1.0).T


def _associate(
    overlaps: list[_Overlap], seen: NDArray[np.int64], claimed: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """HOTA's matching of tracks that are ``seen`` (G,), ``claimed`` (P,) frames long → (19,) tp, (19,) association."""
    lengths = np.add.outer(seen, claimed)
    potential = np.zeros(lengths.shape)
    for frame in overlaps:
        rivals = frame.iou.sum(axis=0)[None] + frame.iou.sum(axis=1)[:, None] - frame.iou
        share = np.divide(frame.iou, rivals, out=np.zeros_like(frame.iou), where=rivals > _EPS)
        potential[np.ix_(frame.gt, frame.pred)] += share
    alignment = potential / np.maximum(lengths - potential, 1)  # the 1 is for tracks that are absent throughout

    together = np.zeros((ALPHAS.size, *lengths.shape), dtype=np.int64)
    for frame in overlaps:
        rows, cols = assign(alignment[np.ix_(frame.gt, frame.pred)] * frame.iou)
        hit = frame.iou[rows, cols] >= ALPHAS[:, None] - _EPS
        together[:, frame.gt[rows], frame.pred[cols]] += hit
    tp = together.sum(axis=(1, 2))
    return tp, (together * (together / np.maximum(lengths - together, 1))).sum(axis=(1, 2))


def _count_switches(overlaps: list[_Overlap], n_gt: int) -> int:
    """Changes of identity, see :func:`count_video_pair`."""
    last, previous = np.full(n_gt, -1), np.full(n_gt, -1)
    switches = 0
    for frame in overlaps:
        kept = frame.pred[None] == previous[frame.gt][:, None]
        bonus = 1 + len(frame.gt)  # one kept match outweighs anything else that the frame could gain
        worth = np.where(frame.iou >= SWITCH_IOU - _EPS, frame.iou + bonus * kept, 0.0)
        rows, cols = assign(worth)
        valid = worth[rows, cols] > 0
        objects, matches = frame.gt[rows[valid]], frame.pred[cols[valid]]
        switches += int(((last[objects] >= 0) & (last[objects] != matches)).sum())
        last[objects] = matches
        previous[:] = -1
        previous[objects] = matches
    return switches


def _lengths(tracks: Sequence[Track]) -> NDArray[np.int64]:
    """In how many frames each track is."""
    return np.array([len(track.masks) for track in tracks], dtype=np.int64)


def _check(gt: Sequence[Track], pred: Sequence[Track], n_frames: int | None) -> None:
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
