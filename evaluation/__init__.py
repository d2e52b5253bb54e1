"""How good the concepts are: metrics over plain arrays, without FiftyOne and without I/O."""

from .cgf1 import CGF1, cgf1
from .match import IOU_THRESHOLDS, RLE, Masks, assign, encode_masks, hits, mask_iou
from .pairs import PairCounts, count_pair
from .presence import presence_auc

__all__ = [
    "CGF1",
    "IOU_THRESHOLDS",
    "RLE",
    "Masks",
    "PairCounts",
    "assign",
    "cgf1",
    "count_pair",
    "encode_masks",
    "hits",
    "mask_iou",
    "presence_auc",
]
