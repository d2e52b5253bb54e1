"""Which detection is which track: mask overlaps, duplicates, holes, and who gives way to whom.

Pure functions on the network's small masks. The rules are those of SAM 3's video model (``Sam3VideoModel`` in
transformers, ``sam3_video_base.py`` in Meta's repository); a group is a concept, and concepts never interfere.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from .tracker_settings import TrackerSettings
from .transfers import fetch, rows_of, to_device

#: logits of a mask that must not be seen: sigmoid(-10) = 4.5e-5
SUPPRESSED = -10.0
#: what is left of a mask after others took their pixels, at least, or it gives way altogether
_MUST_REMAIN = 0.3


@dataclass(frozen=True)
class Match:
    """What detections and tracks of one frame have to do with each other; both are numbered as given.

    Attributes:
        new: detections that show, and that no track explains
        tracks_of: for every detection, the tracks that overlap it
        unmatched: tracks that show, and that no detection confirms
        empty: tracks that do not show
        confirmed: track -> the confident detection that lies right on it
        best: track -> the detection that overlaps it most, if one does
        mutual: track -> the detection that overlaps it most, and that no other track overlaps more
    """

    new: tuple[int, ...]
    tracks_of: tuple[tuple[int, ...], ...]
    unmatched: tuple[int, ...]
    empty: tuple[int, ...]
    confirmed: dict[int, int]
    best: dict[int, int]
    mutual: dict[int, int]


@dataclass(frozen=True)
class Overlaps:
    """What masks of one frame have in common, on the host: IoU of detections and tracks, ``between`` float32
    ``(N, M)``; of tracks ``among`` each other ``(M, M)``; which detections and tracks have a pixel at all, ``found``
    bool ``(N,)`` and ``shown`` bool ``(M,)``.
    """

    between: np.ndarray
    among: np.ndarray
    found: np.ndarray
    shown: np.ndarray

    @classmethod
    def of(cls, detections: Tensor, tracks: Tensor, *beside: Tensor) -> tuple[Overlaps, list[np.ndarray]]:
        """Overlaps of bool masks ``(N, h, w)`` and ``(M, h, w)``, and what else is wanted on the host ``beside`` them:
        all in one transfer.
        """
        iou = pairwise_iou(detections, tracks), pairwise_iou(tracks, tracks)
        there = detections.flatten(1).any(1), tracks.flatten(1).any(1)
        between, among, found, shown, *others = fetch(*iou, *there, *beside)
        return cls(between, among, found > 0, shown > 0), others


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of bool masks ``(N, h, w)`` and ``(M, h, w)``: float32 ``(N, M)``; 0 where both are empty."""
    first, second = a.flatten(1).float(), b.flatten(1).float()
    both = first @ second.T
    either = first.sum(1)[:, None] + second.sum(1) - both
    return both / either.clamp(min=1)


def without_duplicates(
    masks: Tensor, scores: Tensor, threshold: float, groups: Sequence[int] | None = None
) -> list[int]:
    """Greedy non-maximum suppression by mask IoU.

    Args:
        masks: bool ``(N, h, w)``
        scores: ``(N,)``, on the host
        threshold: of two masks of a group that overlap more, the lower score goes; 0 keeps all
        groups: of each; ``None``: all are one

    Returns:
        what stays, group by group as they come, by falling score
    """
    order = np.argsort(-scores.numpy(), kind="stable").tolist()
    groups = [0] * len(order) if groups is None else groups
    alike = [[k for k in order if groups[k] == group] for group in dict.fromkeys(groups)]
    if threshold <= 0 or all(len(some) < 2 for some in alike):
        return [k for some in alike for k in some]
    (iou,) = fetch(pairwise_iou(masks, masks))
    kept: list[int] = []
    for some in alike:
        first = len(kept)
        for k in some:
            if not any(iou[k, j] > threshold for j in kept[first:]):
                kept.append(k)
    return kept


def mended(logits: Tensor, area: int) -> Tensor:
    """Masks ``(N, h, w)`` without small holes and small sprinkles.

    Args:
        logits: a pixel belongs to the object above 0
        area: of the largest hole to fill, in cells; a sprinkle goes if it is that small, and at most half of its mask
    """
    if area <= 0 or not len(logits):
        return logits
    there = (logits > 0).cpu().numpy()
    change = np.zeros(there.shape, np.int8)
    for mask, edit in zip(there, change, strict=True):
        if not mask.any():
            continue
        edit[_small_parts(~mask, area)] = 1
        filled = mask | (edit > 0)  # a speck in a hole that is filled is no sprinkle any more
        edit[_small_parts(filled, min(area, int(filled.sum()) // 2))] = -1
    if not change.any():
        return logits
    edits = to_device(torch.from_numpy(change), logits.device)
    return torch.where(edits == 0, logits, edits.to(logits.dtype) * 0.1)


def associate(
    detections: Tensor, scores: Tensor, detection_groups: Sequence[int], tracks: Tensor, track_groups: Sequence[int],
    settings: TrackerSettings, eager: Collection[int] = (), overlaps: Overlaps | None = None,
) -> Match:
    """Match the detections of a frame with the tracks.

    A concept without any track takes every detection as new; transformers looks at all concepts together there, which
    would make what one concept gives depend on which others are asked.

    Args:
        detections: bool ``(N, h, w)``
        scores: ``(N,)``, confidences in [0, 1], on the host
        detection_groups: the concept of each detection
        tracks: bool ``(M, h, w)``: where the tracks are in this frame
        track_groups: the concept of each track
        settings: the thresholds
        eager: concepts that take every detection as new that no track explains
        overlaps: of these masks, if they are known
    """
    known = overlaps or Overlaps.of(detections, tracks)[0]
    confidences, shows = scores.numpy(), known.shown
    same = np.array(detection_groups, int)[:, None] == np.array(track_groups, int)[None]
    # less than any threshold, 0 included
    iou = np.where(same, known.between, np.float32(-1))
    close = iou >= settings.assoc_iou_thresh
    tracked = set(track_groups)
    free = ~close.any(1) & known.found
    sure = confidences >= settings.new_det_thresh
    first = np.array([g not in tracked or g in eager for g in detection_groups], bool)
    new = free & (sure | first)
    matched = (iou >= settings.trk_assoc_iou_thresh).any(0)
    confirmed: dict[int, int] = {}
    best: dict[int, int] = {}
    mutual: dict[int, int] = {}
    if iou.size:
        closest = iou.argmax(1)
        sound = (confidences >= settings.high_conf_thresh) & ~new & (iou.max(1) >= settings.high_iou_thresh)
        for detection in np.flatnonzero(sound).tolist():
            confirmed[int(closest[detection])] = detection
        where = iou.argmax(0)
        best = {k: int(where[k]) for k in np.flatnonzero(iou.max(0) >= settings.assoc_iou_thresh).tolist()}
        mutual = {k: d for k, d in best.items() if int(closest[d]) == k}
    return Match(
        new=tuple(np.flatnonzero(new).tolist()),
        tracks_of=tuple(tuple(np.flatnonzero(row).tolist()) for row in close),
        unmatched=tuple(np.flatnonzero(shows & ~matched).tolist()),
        empty=tuple(np.flatnonzero(~shows).tolist()),
        confirmed=confirmed,
        best=best,
        mutual=mutual,
    )


def giving_way(
    masks_or_iou: Tensor | np.ndarray, last_occluded: Sequence[int], groups: Sequence[int], threshold: float
) -> np.ndarray:
    """Of two tracks of a concept on the same pixels, the one that was hidden more recently: bool ``(N,)``.

    It has most likely jumped onto the other when it reappeared.

    Args:
        masks_or_iou: masks, bool ``(N, h, w)``; or their IoU, ``(N, N)``, if it is known
        last_occluded: the step at which each was last not to be seen; -1 for never
        groups: the concept of each
        threshold: IoU from which two are on the same pixels; 0 turns this off
    """
    gone = np.zeros(len(groups), bool)
    if threshold <= 0 or len(gone) < 2:
        return gone
    known = isinstance(masks_or_iou, np.ndarray)
    iou = masks_or_iou if known else fetch(pairwise_iou(masks_or_iou, masks_or_iou))[0]
    same = np.array(groups)
    together = (iou >= threshold) & (same[:, None] == same[None])
    for i, j in np.argwhere(np.triu(together, 1)).tolist():
        if last_occluded[i] > last_occluded[j] > -1:
            gone[i] = True
        elif last_occluded[j] > last_occluded[i] > -1:
            gone[j] = True
    return gone


def without_shrunk(logits: Tensor, groups: Sequence[int]) -> Tensor:
    """Masks ``(N, h, w)`` for the memory: a mask of which others of its concept claim most pixels is not remembered.

    Args:
        logits: the strongest claims a pixel
        groups: the concept of each
    """
    result = logits
    for group in set(groups):
        rows = [k for k, g in enumerate(groups) if g == group]
        if len(rows) < 2:
            continue
        some = rows_of(logits, rows)
        owner = some.argmax(0)
        own = owner[None] == torch.arange(len(rows), device=logits.device)[:, None, None]
        before = (some > 0).flatten(1).sum(1)
        after = ((some > 0) & own).flatten(1).sum(1)
        keep = after / before.clamp(min=1) >= _MUST_REMAIN
        kept = torch.where(keep[:, None, None], some, some.clamp(max=SUPPRESSED))
        if some is logits:  # there is no other group
            return kept
        result = result.clone() if result is logits else result
        result[to_device(rows, logits.device, torch.long)] = kept
    return result


def _small_parts(mask: np.ndarray, most: int) -> np.ndarray:
    """The connected parts of ``mask`` that have ``most`` cells or fewer, corners connecting: bool ``(h, w)``."""
    _, where, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    small = stats[:, cv2.CC_STAT_AREA] <= most
    small[0] = False  # what is not in the mask
    return small[where]
