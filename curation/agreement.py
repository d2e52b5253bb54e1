"""How far several wordings of one concept find the same things: numbers, without a dataset.

An instance of one wording is matched with one of another, one to one, where their masks overlap by at least
:data:`SAME`. Wordings that mostly find the same are a group: of an ambiguous word, each sense is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

if __package__ == "curation":
    from evaluation.crops import place_mask
    from evaluation.match import assign, box_iou, mask_iou
else:
    from ..evaluation.crops import place_mask
    from ..evaluation.match import assign, box_iou, mask_iou

#: IoU from which on two masks are one instance
SAME = 0.5
#: matched F1 from which on, on average, wordings are of one group
ALIKE = 0.5
#: a wording is present in an image from this presence on
PRESENT = 0.5


@dataclass(frozen=True)
class Shapes:
    """Instances of one image.

    Attributes:
        boxes: (n, 4) ``x, y, width, height``, relative to the image.
        rles: n masks of the whole image as RLEs; None where a label has no mask, and its box counts.
    """

    boxes: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)))
    rles: Sequence[Any] = ()

    def __len__(self) -> int:
        return len(self.rles)


def shapes_found(instances: Sequence[Any], size: tuple[int, int]) -> Shapes:
    """The engine's instances of an image of ``size``, ``(height, width)``; each has ``corner`` and ``mask``."""
    height, width = size
    boxes = [
        (one.corner[0] / width, one.corner[1] / height, one.mask.shape[1] / width, one.mask.shape[0] / height)
        for one in instances
    ]  # fmt: skip
    return Shapes(np.array(boxes, np.float64).reshape(-1, 4), [place_mask(o.mask, o.corner, size) for o in instances])


def joined(parts: Sequence[Shapes]) -> Shapes:
    """All instances of some shapes of one image, in order."""
    return Shapes(np.concatenate([np.zeros((0, 4)), *(one.boxes for one in parts)]), [r for p in parts for r in p.rles])


def overlaps(first: Shapes, second: Shapes) -> NDArray[np.float64]:
    """(n, m) IoU of masks where both have one, else of boxes."""
    if not len(first) or not len(second):
        return np.zeros((len(first), len(second)))
    drawn = [[rle is not None for rle in side.rles] for side in (first, second)]
    iou = np.zeros((len(first), len(second)))
    if not (all(drawn[0]) and all(drawn[1])):
        iou = box_iou(first.boxes, second.boxes)
    if any(drawn[0]) and any(drawn[1]):
        masks = [[rle for rle in side.rles if rle is not None] for side in (first, second)]
        iou[np.ix_(*drawn)] = mask_iou(*masks)
    return iou


def matched(iou: NDArray[np.float64]) -> tuple[int, float]:
    """How many pairs are the same, one to one, and the sum of their IoU."""
    if not iou.size or iou.max() < SAME:
        return 0, 0.0
    pairs = iou[assign(np.where(iou >= SAME, iou, 0.0))]
    same = pairs[pairs >= SAME]
    return len(same), float(same.sum())


@dataclass
class Tally:
    """What P wordings found in N images, and what of it is the same; filled image by image.

    Attributes:
        presence: (N, P) in [0, 1]; ``nan`` where an image failed.
        counts: (N, P) instances.
        matches: (N, P, P) instances that two wordings have in common.
        overlap: (P, P) sum of their IoU.
        right: (N, P) instances that are ground truth's.
        true: (N,) instances of ground truth; -1 where it is not known, or not complete.
    """

    presence: NDArray[np.float64]
    counts: NDArray[np.int64]
    matches: NDArray[np.int64]
    overlap: NDArray[np.float64]
    right: NDArray[np.int64]
    true: NDArray[np.int64]

    @classmethod
    def empty(cls, images: int, wordings: int) -> Tally:
        """Nothing was looked at yet."""
        n, p = images, wordings
        return cls(
            np.full((n, p), np.nan), np.zeros((n, p), np.int64), np.zeros((n, p, p), np.int64), np.zeros((p, p)),
            np.zeros((n, p), np.int64), np.full(n, -1, np.int64),
        )  # fmt: skip

    def add(self, row: int, presence: Sequence[float], found: Sequence[Shapes], truth: Shapes | None = None) -> None:
        """What one image gave, and what is there, if that is known."""
        self.presence[row] = presence
        self.counts[row] = [len(one) for one in found]
        starts = np.concatenate([[0], np.cumsum(self.counts[row])])
        every = joined(found)
        iou = overlaps(every, every)
        for a in range(len(found)):
            for b in range(a, len(found)):
                part = iou[starts[a] : starts[a + 1], starts[b] : starts[b + 1]]
                # two instances of one wording may be the same object: it still agrees with itself
                n, total = (len(found[a]), float(len(found[a]))) if a == b else matched(part)
                self.matches[row, a, b] = self.matches[row, b, a] = n
                self.overlap[a, b] += total
                self.overlap[b, a] = self.overlap[a, b]
        if truth is not None:
            self.true[row] = len(truth)
            right = overlaps(every, truth)
            self.right[row] = [matched(right[starts[a] : starts[a + 1]])[0] for a in range(len(found))]

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(N,): whether the image was looked at."""
        return ~np.isnan(self.presence).any(axis=1)

    def agreement(self) -> NDArray[np.float64]:
        """(P, P) F1 of the instances of each pair of wordings; ``nan`` where neither found any."""
        total = self.counts.sum(axis=0)
        with np.errstate(invalid="ignore"):
            return 2 * self.matches.sum(axis=0) / (total[:, None] + total[None])

    def mean_iou(self) -> NDArray[np.float64]:
        """(P, P) mean IoU of the instances that each pair has in common; ``nan`` where there are none."""
        with np.errstate(invalid="ignore"):
            return self.overlap / self.matches.sum(axis=0)

    def scores(self) -> NDArray[np.float64]:
        """(P, 3) precision, recall and F1 against ground truth; ``nan`` where they are not defined."""
        judged = self.true >= 0
        right, found = self.right[judged].sum(axis=0), self.counts[judged].sum(axis=0)
        true = np.full_like(found, self.true[judged].sum())
        with np.errstate(invalid="ignore"):
            return np.stack([right / found, right / true, 2 * right / (found + true)], axis=1)


def groups_of(agreement: NDArray[np.float64], found: NDArray[np.int64]) -> list[int]:
    """The group of each wording, from 1 on, in the order of their first; 0: it finds nothing.

    Args:
        agreement: (P, P) F1.
        found: (P,) how many instances each found.
    """
    some = np.flatnonzero(found)
    groups = [0] * len(found)
    if not len(some):
        return groups
    apart = 1 - np.nan_to_num(agreement[np.ix_(some, some)])
    np.fill_diagonal(apart, 0)
    tight = [1] if len(some) == 1 else fcluster(
        linkage(squareform(apart, checks=False), "average"), 1 - ALIKE, "distance"
    ).tolist()  # fmt: skip
    numbers = {mark: k for k, mark in enumerate(dict.fromkeys(tight), 1)}
    for place, mark in zip(some.tolist(), tight, strict=True):
        groups[place] = numbers[mark]
    return groups


def contrast(presence: NDArray[np.float64], members: Sequence[int]) -> NDArray[np.float64]:
    """(P, 2): each wording's mean presence where any of its ``members`` is present, and where none is.

    Args:
        presence: (N, P) of images that were looked at.
        members: wordings of one group.
    """
    there = (presence[:, list(members)] >= PRESENT).any(axis=1)
    blank = np.full(presence.shape[1], np.nan)
    return np.stack([presence[w].mean(axis=0) if w.any() else blank for w in (there, ~there)], axis=1)
