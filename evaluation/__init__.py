"""How good the concepts are: metrics over plain arrays, without FiftyOne and without I/O; files and datasets on top.

What this names needs neither a file nor a database. Files of SA-Co: :mod:`evaluation.gold`, :mod:`evaluation.veval`,
and ``python -m evaluation``. Datasets of FiftyOne: :mod:`evaluation.concepts`, :mod:`evaluation.saco`.
"""

from .cgf1 import CGF1, cgf1
from .crops import place_mask
from .intervals import Interval, cgf1_intervals, phota_intervals
from .match import IOU_THRESHOLDS, RLE, Masks, assign, box_iou, encode_masks, hits, mask_iou
from .oracle import best_annotator
from .pairs import PairCounts, PairMatch, count_pair, match_pair
from .phota import PHOTA, phota
from .presence import presence_auc
from .table import PairTable
from .tracks import Track, volume_iou
from .video_pairs import ALPHAS, VideoPairCounts, VideoPairMatch, count_video_pair, match_video_pair

__all__ = [
    "ALPHAS",
    "CGF1",
    "IOU_THRESHOLDS",
    "Interval",
    "PHOTA",
    "RLE",
    "Masks",
    "PairCounts",
    "PairMatch",
    "PairTable",
    "Track",
    "VideoPairCounts",
    "VideoPairMatch",
    "assign",
    "best_annotator",
    "box_iou",
    "cgf1",
    "cgf1_intervals",
    "count_pair",
    "count_video_pair",
    "encode_masks",
    "hits",
    "mask_iou",
    "match_pair",
    "match_video_pair",
    "phota",
    "phota_intervals",
    "place_mask",
    "presence_auc",
    "volume_iou",
]
