"""The knobs of tracking: upstream's, with their names, defaults and meanings, and four more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from .concepts import check_fraction, check_whole
from .errors import ConceptError

_FRACTIONS = (
    "score_threshold_detection", "det_nms_thresh", "new_det_thresh", "assoc_iou_thresh", "trk_assoc_iou_thresh",
    "high_conf_thresh", "high_iou_thresh", "suppress_overlapping_based_on_recent_occlusion_threshold",
)
_LEAST = {"max_num_objects": 1, "min_trk_keep_alive": -(10**9), "detect_every": 1}


@dataclass(frozen=True)
class TrackerSettings:
    """How detections become masklets. Names, defaults and meanings are ``Sam3VideoConfig``'s, but for the last four.

    Attributes:
        score_threshold_detection: confidence in [0, 1] above which a detection is used at all; a concept's own
            threshold comes first
        det_nms_thresh: of two detections of a concept that overlap more (mask IoU), one is dropped
        new_det_thresh: confidence from which an unexplained detection starts a masklet; where a concept has no masklet
            yet, any detection does
        assoc_iou_thresh: mask IoU from which a detection is explained by a track
        trk_assoc_iou_thresh: mask IoU from which a track is confirmed by a detection
        hotstart_delay: frames after its birth during which a masklet may still be withdrawn, as if it had never been;
            results are late by as much. 0: nothing is withdrawn, and results come at once
        hotstart_unmatch_thresh: a young masklet goes when so many frames have not confirmed it
        hotstart_dup_thresh: a young masklet goes when it shared a detection with an older one in so many frames
        suppress_unmatched_only_within_hotstart: if not, a masklet whose keep-alive is used up is hidden while it is
            unconfirmed
        init_trk_keep_alive, max_trk_keep_alive, min_trk_keep_alive: the keep-alive at birth, and its range; a confirmed
            frame adds one, an unconfirmed one takes one
        decrease_trk_keep_alive_for_empty_masklets: so does a frame where the masklet does not show
        recondition_every_nth_frame: every so often, masklets that a detection confirms are remembered for good; 0:
            never
        high_conf_thresh: what the detection's confidence must reach, and the track's score exceed, for that; the
            track's is a logit, as upstream compares it: 0.8 is a probability of 0.69
        high_iou_thresh: of the two, for that
        recondition_on_trk_masks: remember the track's own mask then, not the detection's
        suppress_overlapping_based_on_recent_occlusion_threshold: mask IoU from which the more recently hidden of two
            masklets of a concept gives way
        fill_hole_area: holes and sprinkles of so many cells of the network's mask, or fewer, are mended
        max_num_objects: masklets alive at one time; the most confident detections come first
        correct_with_detections: where a masklet and a detection overlap each other most, show and remember the
            detection's mask, not the tracker's: for a checkpoint whose detector draws better than its tracker
        reidentify: give a detection that no steadily followed masklet explains to the lost masklet that it fits best,
            by the way that masklet was going, its size and its looks (see :mod:`reidentify`); off, the tracker's
            memory alone decides, as upstream
        forget_after: a masklet that was not seen for so many frames is closed, and its memory freed; a later return is
            a new masklet. ``None``: never, as upstream, where memory and time grow with every object that a video ever
            showed
        detect_every: the detector looks at every so manieth frame, the first included; between two looks masklets are
            followed by their memory alone, nothing new begins, and no concept has a presence. A look stands for the
            frames since the one before: it counts that often for and against a masklet, so that all the other knobs
            still count frames; and what is due once in some frames is done at the next look. Examples are looked for
            in their own frames all the same
    """

    score_threshold_detection: float = 0.5
    det_nms_thresh: float = 0.1
    new_det_thresh: float = 0.7
    assoc_iou_thresh: float = 0.1
    trk_assoc_iou_thresh: float = 0.5
    hotstart_delay: int = 15
    hotstart_unmatch_thresh: int = 8
    hotstart_dup_thresh: int = 8
    suppress_unmatched_only_within_hotstart: bool = True
    init_trk_keep_alive: int = 30
    max_trk_keep_alive: int = 30
    min_trk_keep_alive: int = -1
    decrease_trk_keep_alive_for_empty_masklets: bool = False
    recondition_every_nth_frame: int = 16
    high_conf_thresh: float = 0.8
    high_iou_thresh: float = 0.8
    recondition_on_trk_masks: bool = True
    suppress_overlapping_based_on_recent_occlusion_threshold: float = 0.7
    fill_hole_area: int = 16
    max_num_objects: int = 10000
    correct_with_detections: bool = False
    reidentify: bool = False
    forget_after: int | None = 900
    detect_every: int = 1

    def __post_init__(self) -> None:
        for name in _FRACTIONS:
            check_fraction(getattr(self, name), name)
        for name in (f.name for f in fields(self) if f.type == "int"):
            check_whole(getattr(self, name), name, _LEAST.get(name, 0))
        for name in (f.name for f in fields(self) if f.type == "bool"):
            if not isinstance(getattr(self, name), bool):
                raise ConceptError(f"{name} must be True or False, got {getattr(self, name)!r}")
        for name in ("hotstart_unmatch_thresh", "hotstart_dup_thresh"):
            if self.hotstart_delay and getattr(self, name) > self.hotstart_delay:
                raise ConceptError(
                    f"{name}={getattr(self, name)} can never be reached within hotstart_delay={self.hotstart_delay} "
                    "frames: lower it, or raise the delay"
                )
        if self.hotstart_delay and self.detect_every > max(1, self.hotstart_delay - 1):
            raise ConceptError(
                f"detect_every={self.detect_every} never looks at a young masklet again within "
                f"hotstart_delay={self.hotstart_delay} frames: lower it, raise the delay, or withdraw nothing with "
                "hotstart_delay=0"
            )
        if self.forget_after is not None:
            check_whole(self.forget_after, "forget_after", 1)

    @classmethod
    def of(cls, config: Any, given: Mapping[str, Any] | None = None) -> TrackerSettings:
        """A checkpoint's own settings, and what is given beside them.

        Args:
            config: ``Sam3VideoConfig``, or anything with some of these attributes
            given: name -> value; ``None`` leaves it to the checkpoint

        Raises:
            ConceptError: an unknown name, or a value out of range
        """
        names = {f.name for f in fields(cls)}
        given = dict(given or {})
        unknown = sorted(set(given) - names)
        if unknown:
            raise ConceptError(f"Unknown tracker setting {unknown[0]!r}: there are {', '.join(sorted(names))}")
        settings = {name: getattr(config, name) for name in names if hasattr(config, name)}
        settings.update({k: v for k, v in given.items() if v is not None or k == "forget_after"})
        return cls(**settings)
