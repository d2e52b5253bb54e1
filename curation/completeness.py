"""Which instances that were found no label explains: arithmetic on masks of one image.

A label explains an instance if their masks overlap by half, or one lies within the other, for the most part. Of labels
of other concepts, only overlap counts: a fox on the pixels of what is labelled as a wolf is a matter of its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import fiftyone as fo
import numpy as np
from numpy.typing import NDArray

from .attributes import narrower

if __package__ == "curation":
    from evaluation.match import box_iou, mask_iou
    from evaluation.shapes import boxes, to_rle
else:
    from ..evaluation.match import box_iou, mask_iou
    from ..evaluation.shapes import boxes, to_rle

#: a label explains an instance from this IoU on, or where so much of either is covered by the other
SAME, INSIDE = 0.5, 0.7


@dataclass(frozen=True)
class Shares:
    """How n instances overlap m labels.

    Attributes:
        iou: (n, m).
        inside: (n, m) how much of an instance a label covers.
        around: (n, m) how much of a label an instance covers.
    """

    iou: NDArray[np.float64]
    inside: NDArray[np.float64]
    around: NDArray[np.float64]


def shares(found: Sequence[fo.Detection], labels: Sequence[fo.Detection], size: tuple[int, int]) -> Shares:
    """Compare masks, where both have one; else boxes.

    Args:
        found: n instances.
        labels: m labels.
        size: (height, width) of the image.
    """
    if not found or not labels:
        nothing = np.zeros((len(found), len(labels)))
        return Shares(nothing, nothing, nothing)
    drawn = [np.array([_drawn(one) for one in some], dtype=bool) for some in (found, labels)]
    flat = [boxes(some) for some in (found, labels)]
    iou = box_iou(*flat)
    areas = [one[:, 2] * one[:, 3] for one in flat]
    shared = iou * (areas[0][:, None] + areas[1][None]) / (1 + iou)
    with np.errstate(divide="ignore", invalid="ignore"):
        inside, around = (np.nan_to_num(shared / area) for area in (areas[0][:, None], areas[1][None]))
    if drawn[0].any() and drawn[1].any():
        place = np.ix_(*drawn)
        rles = [[to_rle(one, size) for one, yes in zip(*pair, strict=True) if yes] for pair in
                ((found, drawn[0]), (labels, drawn[1]))]  # fmt: skip
        iou[place] = mask_iou(*rles)
        inside[place] = mask_iou(*rles, gt_crowd=[True] * len(rles[1]))
        around[place] = mask_iou(rles[1], rles[0], gt_crowd=[True] * len(rles[0])).T
    return Shares(iou, np.minimum(inside, 1), np.minimum(around, 1))


def newness(
    found: Sequence[fo.Detection], own: Sequence[fo.Detection], others: Sequence[fo.Detection], concept: str,
    size: tuple[int, int],
) -> NDArray[np.float64]:
    """(n,) in [0, 1]: how little labels explain an instance. One of the concept explains it, or does not; the more of
    its pixels one of another concept has, the less is it new.

    Args:
        found: n instances of the concept.
        own: its labels.
        others: labels of other concepts in the image; those that say the same, or more of it, do not count ("red cap"
            beside "cap").
        concept: its name.
        size: (height, width) of the image.
    """
    mine = shares(found, own, size)
    explained = ((mine.iou >= SAME) | (mine.inside >= INSIDE) | (mine.around >= INSIDE)).any(axis=1)
    apart = [one for one in others if not _akin(one.label or "", concept)]
    theirs = shares(found, apart, size).iou.max(axis=1, initial=0)
    return np.where(explained, 0.0, 1 - np.where(theirs >= SAME, theirs, 0))


def distinct(found: Sequence[fo.Detection], size: tuple[int, int]) -> list[int]:
    """Which of some instances, the surest first, are no other's again."""
    order = sorted(range(len(found)), key=lambda k: -(found[k].confidence or 0))
    ranked = [found[k] for k in order]
    mutual = shares(ranked, ranked, size)
    near = np.maximum.reduce([mutual.iou >= SAME, mutual.inside >= INSIDE, mutual.around >= INSIDE])
    kept: list[int] = []
    for k in range(len(ranked)):
        if not near[k, kept].any():
            kept.append(k)
    return [order[k] for k in kept]


def _drawn(label: fo.Detection) -> bool:
    return label.mask is not None or bool(label.mask_path)


def _akin(label: str, concept: str) -> bool:
    first, second = label.casefold(), concept.casefold()
    return first == second or narrower(first, second) or narrower(second, first)
