"""One (video, phrase) pair, reduced to counts: which masklets were found, and were they followed?

The only step of the video metrics that sees masks; what :mod:`evaluation.pairs` is to images. Counts are small and
add up, so pairs can be counted anywhere, in any order and in any process. :func:`evaluation.phota.phota` pools
them, and their ``volume`` goes through :func:`evaluation.cgf1.cgf1` as the counts of images do:
``cgf1(pair.volume for pair in pairs)``.

Source of the rules: the evaluator of SA-Co/VEval (facebookresearch/sam3 at 99d02f2,
``sam3/eval/saco_veval_evaluators.py``), re-expressed from its behaviour; HOTA is Luiten et al., "HOTA: A Higher Order
Metric for Evaluating Multi-Object Tracking", IJCV 2021. Identity switches, which that evaluator does not count,
are those of CLEAR MOT (Bernardin & Stiefelhagen, "Evaluating Multiple Object Tracking Performance", 2008).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .match import assign
from .pairs import PairCounts, PairMatch, match_pair
from .tracks import Overlap, Track, check_tracks, overlaps, volumes

ALPHAS: NDArray[np.float64] = np.arange(0.05, 0.99, 0.05)
"""The 19 localisation thresholds of HOTA, 0.05, 0.10, … 0.95, read-only, with the rounding of upstream's ``arange``."""
ALPHAS.flags.writeable = False

SWITCH_IOU = 0.5
"""From this IoU on, a prediction can be the match of a masklet in a frame when identity switches are counted."""

_EPS = float(np.finfo(float).eps)


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


@dataclass(frozen=True, eq=False)
class VideoPairMatch:
    """Who was matched with whom in one (video, phrase) pair.

    Attributes:
        counts: what the pair adds to the metrics.
        masklets: whole masklets, by their volumes; indices into all predictions and all ground truth.
        above: (A,) predictions with ``score > threshold``, ascending: those that are matched frame by frame.
        frames: frame → (pred, gt, iou) of its matches, (M,) each, IoU above 0; HOTA matches once for all alphas.
    """

    counts: VideoPairCounts
    masklets: PairMatch
    above: NDArray[np.intp]
    frames: dict[int, tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]]


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
    return match_video_pair(gt, pred, n_frames, threshold=threshold).counts


def match_video_pair(
    gt: Sequence[Track], pred: Sequence[Track], n_frames: int, *, threshold: float = 0.5
) -> VideoPairMatch:
    """The matches behind :func:`count_video_pair`, whose arguments and errors it has."""
    if np.isnan(threshold):
        raise ValueError(f"threshold is {threshold}; want a number")
    check_tracks(gt, pred, n_frames)
    kept = np.array([i for i, track in enumerate(pred) if track.score >= threshold], dtype=np.intp)
    above = np.array([i for i, track in enumerate(pred) if track.score > threshold], dtype=np.intp)

    held = [pred[i] for i in kept]
    shared = overlaps(gt, held)
    volume = np.zeros((len(pred), len(gt)))
    volume[kept] = volumes(gt, held, shared)
    scores = [track.score for track in pred]
    masklets = match_pair(volume, scores, threshold=threshold, gt_crowd=[track.crowd for track in gt])

    followed = [pred[i] for i in above]
    if len(above) < len(kept):
        shared = overlaps(gt, followed)
    seen, claimed = _lengths(gt), _lengths(followed)
    matches = _align(shared, seen, claimed)
    tp, association = _associate(matches, seen, claimed)
    counts = VideoPairCounts(
        tp=tp,
        fp=claimed.sum() - tp,
        fn=seen.sum() - tp,
        association=association,
        masklets=int((seen > 0).sum()),
        id_switches=_count_switches(shared, len(gt)),
        volume=masklets.counts,
    )
    frames = {frame: (above[p][iou > 0], g[iou > 0], iou[iou > 0]) for frame, g, p, iou in matches}
    return VideoPairMatch(counts, masklets, above, frames)


_Matches = list[tuple[int, NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]]
"""A frame, which masklets and which predictions are matched in it, and their IoUs."""


def _align(shared: list[Overlap], seen: NDArray[np.int64], claimed: NDArray[np.int64]) -> _Matches:
    """HOTA's matching of tracks that are ``seen`` (G,), ``claimed`` (P,) frames long."""
    lengths = np.add.outer(seen, claimed)
    potential = np.zeros(lengths.shape)
    for frame in shared:
        rivals = frame.iou.sum(axis=0)[None] + frame.iou.sum(axis=1)[:, None] - frame.iou
        share = np.divide(frame.iou, rivals, out=np.zeros_like(frame.iou), where=rivals > _EPS)
        potential[np.ix_(frame.gt, frame.pred)] += share
    alignment = potential / np.maximum(lengths - potential, 1)  # the 1 is for tracks that are absent throughout
    matches = []
    for frame in shared:
        rows, cols = assign(alignment[np.ix_(frame.gt, frame.pred)] * frame.iou)
        matches.append((frame.frame, frame.gt[rows], frame.pred[cols], frame.iou[rows, cols]))
    return matches


def _associate(
    matches: _Matches, seen: NDArray[np.int64], claimed: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(19,) tp, (19,) association of these matches."""
    lengths = np.add.outer(seen, claimed)
    together = np.zeros((ALPHAS.size, *lengths.shape), dtype=np.int64)
    for _, gt, pred, iou in matches:
        together[:, gt, pred] += iou >= ALPHAS[:, None] - _EPS
    tp = together.sum(axis=(1, 2))
    return tp, (together * (together / np.maximum(lengths - together, 1))).sum(axis=(1, 2))


def _count_switches(shared: list[Overlap], n_gt: int) -> int:
    """Changes of identity, see :func:`count_video_pair`."""
    last, previous = np.full(n_gt, -1), np.full(n_gt, -1)
    switches = 0
    for frame in shared:
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


