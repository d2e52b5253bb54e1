"""How good the concepts are: metrics over plain arrays, without FiftyOne and without I/O."""

from .cgf1 import CGF1, cgf1
from .match import IOU_THRESHOLDS, RLE, Masks, assign, encode_masks, hits, mask_iou
from .pairs import PairCounts, count_pair
from .phota import PHOTA, phota
from .presence import presence_auc
from .tracks import ALPHAS, Track, VideoPairCounts, count_video_pair, volume_iou

__all__ = [
    "ALPHAS",
    "CGF1",
    "IOU_THRESHOLDS",
    "PHOTA",
    "RLE",
    "Masks",
    "PairCounts",
    "Track",
    "VideoPairCounts",
    "assign",
    "cgf1",
    "count_pair",
    "count_video_pair",
    "encode_masks",
    "hits",
    "mask_iou",
    "phota",
    "presence_auc",
    "volume_iou",
]
