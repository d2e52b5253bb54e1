"""Tracking without a tracker: every frame a fresh query, and what overlaps the last frame's masks is the same object.

A third of the cost, and often enough where objects stay in sight; an object that hides comes back as another one. It is
also the baseline that :class:`~.tracker.ConceptTracker` has to beat.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from .ahead import encode_ahead, read_ahead
from .asked import ImageFeatures
from .association import mended, pairwise_iou
from .concepts import Concept
from .errors import ConceptError
from .masks import carved
from .packing import cropping
from .results import FrameResult, TrackedConcept, TrackedInstance
from .session import Frame, Squeezed
from .tracker import ConceptTracker
from .tracker_settings import TrackerSettings


@dataclass
class _Last:
    """Where a masklet was last: its ``mask`` bool ``(h, w)``, at ``step``."""

    number: int
    concept: int
    birth_score: float
    mask: Tensor
    step: int


class OverlapTracker:
    """Detections chained by mask overlap.

    Args:
        tracker: whose detector and settings to use: ``score_threshold_detection``, ``det_nms_thresh``,
            ``assoc_iou_thresh`` (overlap from which two detections are one object), ``max_trk_keep_alive`` (frames that
            an object may be missed), ``fill_hole_area``

    Raises:
        ConceptError: ``detect_every`` is not 1: in a frame without detections there is nothing to chain
    """

    def __init__(self, tracker: ConceptTracker) -> None:
        check_chained(tracker.settings)
        self._tracker = tracker

    def _encoded(self, frames: Iterable[Frame]) -> Iterator[tuple[int, tuple[int, int], ImageFeatures]]:
        """Number, size and features of each frame, ready when they are needed; see :mod:`ahead`."""
        detector = self._tracker.detector

        def encode(frame: Squeezed) -> tuple[int, tuple[int, int], ImageFeatures]:
            return frame.number, frame.size, detector.encode_images(frame.pixels, [frame.size])

        with closing(read_ahead(frames, self._tracker.squeeze)) as squeezed:
            yield from encode_ahead(squeezed, encode, torch.device(detector.checkpoint.device))

    @torch.inference_mode()
    def track(
        self, frames: Iterable[Frame], concepts: Sequence[Concept], *, length: int | None = None
    ) -> Iterator[FrameResult]:
        """As :meth:`ConceptTracker.track`, at once."""
        settings = self._tracker.settings
        alive: list[_Last] = []
        numbered = 0
        for step, (number, size, features) in enumerate(self._encoded(frames)):
            detected = self._tracker.detect(features, concepts)
            alive = [a for a in alive if step - a.step <= settings.max_trk_keep_alive]
            there = detected.masks > 0
            owners = _assigned(there, detected.concepts, alive, settings.assoc_iou_thresh)
            crops = cropping(mended(detected.masks, settings.fill_hole_area), size, 0.0)()
            found: list[list[TrackedInstance]] = [[] for _ in concepts]
            for k, (corner, mask) in enumerate(crops):
                if not mask.size:
                    continue
                confidence, concept = float(detected.confidences[k]), detected.concepts[k]
                last = owners.get(k)
                if last is None:
                    numbered += 1
                    last = _Last(numbered, concept, confidence, there[k], step)
                    alive.append(last)
                last.mask, last.step = there[k], step
                found[concept].append(TrackedInstance(
                    last.number, confidence, detected.scores[k], last.birth_score, detected.presences[concept], corner,
                    mask, detected.phrases[k],
                ))
            yield FrameResult(number, size, tuple(
                TrackedConcept(c.label, detected.presences[k], detected.best[k], _apart(found[k]))
                for k, c in enumerate(concepts)
            ))


def check_chained(settings: TrackerSettings) -> None:
    """Refuse settings under which detections cannot be chained.

    Raises:
        ConceptError: ``detect_every`` is not 1
    """
    if settings.detect_every != 1:
        raise ConceptError(
            f"tracking=False has nothing but detections, and cannot do with detect_every={settings.detect_every}: "
            "leave out one of the two"
        )


def _assigned(masks: Tensor, concepts: Sequence[int], alive: Sequence[_Last], least: float) -> dict[int, _Last]:
    """The masklet that each detection goes on with, if one overlaps it enough: the best assignment in all."""
    if not alive or not len(masks):
        return {}
    iou = pairwise_iou(masks, torch.stack([a.mask for a in alive])).cpu().numpy()
    same = np.array(concepts)[:, None] == np.array([a.concept for a in alive])[None]
    iou = np.where(same & (iou >= least), iou, 0.0)
    rows, columns = linear_sum_assignment(iou, maximize=True)
    return {int(r): alive[c] for r, c in zip(rows, columns, strict=True) if iou[r, c] > 0}


def _apart(instances: list[TrackedInstance]) -> tuple[TrackedInstance, ...]:
    """No pixel belongs to two masklets of a concept; sorted by masklet."""
    masks = carved([(i.corner, i.mask) for i in instances], [i.confidence for i in instances])
    kept = [replace(i, corner=c, mask=m) for i, (c, m) in zip(instances, masks, strict=True) if m.size]
    return tuple(sorted(kept, key=lambda i: i.masklet))
