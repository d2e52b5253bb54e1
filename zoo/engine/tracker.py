"""Concept tracking: every instance of every concept of a video, each with one number from its first frame to its last.

One pass for all concepts. Per frame the image is encoded once; every concept is detected from the cached features, with
the presence gate; all tracks are followed in one batch; detections are matched with tracks; what is new begins, what
was a mistake is withdrawn (the *hot start*: results are held back for some frames so that it never shows); and what the
detector confirms is remembered for good (*reconditioning*). The rules are those of SAM 3's video model; what differs
from its port in transformers, and why, is in docs/tracking.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from .association import (
    SUPPRESSED,
    Match,
    associate,
    giving_way,
    mended,
    without_duplicates,
    without_shrunk,
)
from .concepts import Concept
from .detector import Asked, ConceptDetector, ImageFeatures
from .images import to_square
from .masks import carved, crop_masks
from .results import FrameResult, TrackedConcept, TrackedInstance
from .tracker_network import Seen, TrackerFeatures, TrackerNetwork
from .tracker_settings import TrackerSettings
from .tracks import Track, recollections

Frame = tuple[int, np.ndarray]


@dataclass(frozen=True)
class Detected:
    """The detections of one frame, of all concepts: ``masks`` logits ``(N, h, w)``, ``confidences`` ``(N,)``, and for
    each its ``scores`` before presence, ``concepts`` and ``phrases``; ``presences`` and ``best`` object scores per
    concept, found or not.
    """

    masks: Tensor
    confidences: Tensor
    scores: tuple[float, ...]
    concepts: tuple[int, ...]
    phrases: tuple[str, ...]
    presences: tuple[float, ...]
    best: tuple[float, ...]


class ConceptTracker:
    """SAM 3 on videos, for any number of concepts.

    Args:
        detector: finds concepts in single frames
        network: follows objects; of the same checkpoint
        settings: see there

    >>> tracker = ConceptTracker(detector, network)                                       # doctest: +SKIP
    >>> for frame in tracker.track(open_video("clip.mp4"), parse_concepts("dog, ball")):  # doctest: +SKIP
    ...     print(frame.number, [i.masklet for c in frame.concepts for i in c.instances])
    """

    def __init__(
        self, detector: ConceptDetector, network: TrackerNetwork, settings: TrackerSettings | None = None
    ) -> None:
        self.detector = detector
        self.network = network
        self.settings = settings or TrackerSettings()

    def track(
        self, frames: Iterable[Frame], concepts: Sequence[Concept], *, length: int | None = None
    ) -> Iterator[FrameResult]:
        """Follow every instance of every concept.

        Args:
            frames: number and image, uint8 ``(H, W, 3)`` RGB, in the order to work through; read one at a time
            concepts: what to look for
            length: how many frames there will be, if that is known; matters only for clips shorter than the network's
                memory

        Yields:
            every frame, in that order, ``hotstart_delay`` frames late; if ``frames`` raises, what was worked out until
            then comes first
        """
        session = Session(self, tuple(concepts), length)
        try:
            for number, image in frames:
                yield from session.advance(number, image)
        except Exception:
            # a decoder that fails half-way costs what it did not deliver, and no more
            yield from session.finish()
            raise
        yield from session.finish()

    def detect(self, features: ImageFeatures, concepts: Sequence[Concept]) -> Detected:
        """The detections of one frame, duplicates within a concept removed."""
        limit = self.settings.score_threshold_detection
        asked = [
            Asked(0, k, phrase, limit if concept.threshold is None else concept.threshold)
            for k, concept in enumerate(concepts) for phrase in concept.phrases
        ]
        presences, best = [0.0] * len(concepts), [0.0] * len(concepts)
        found = []
        for answer in self.detector.find(features, asked):
            k = answer.asked.concept
            presences[k], best[k] = max(presences[k], answer.presence), max(best[k], answer.object_score)
            if len(answer.confidences):
                found.append(answer)
        found.sort(key=lambda a: a.asked.concept)
        side = self.network.mask_side
        masks, confidences = [torch.zeros(0, side, side, device=self.detector.checkpoint.device)], []
        scores: list[float] = []
        owners: list[int] = []
        phrases: list[str] = []
        for k in dict.fromkeys(a.asked.concept for a in found):
            answers = [a for a in found if a.asked.concept == k]
            own_masks = torch.cat([a.masks for a in answers])
            own = torch.cat([a.confidences for a in answers])
            said = [a.asked.phrase for a in answers for _ in range(len(a.confidences))]
            raw = torch.cat([a.scores for a in answers]).tolist()
            kept = without_duplicates(own_masks > 0, own, self.settings.det_nms_thresh)
            masks.append(own_masks[kept])
            confidences.append(own[kept])
            scores += [raw[j] for j in kept]
            phrases += [said[j] for j in kept]
            owners += [k] * len(kept)
        together = torch.cat(confidences) if confidences else masks[0].new_zeros(0)
        return Detected(
            torch.cat(masks), together, tuple(scores), tuple(owners), tuple(phrases), tuple(presences), tuple(best)
        )


class Session:
    """One video on its way through a tracker.

    Attributes:
        tracks: the objects followed now
        step: how many frames have been worked through
    """

    def __init__(
        self, tracker: ConceptTracker, concepts: tuple[Concept, ...], length: int | None = None, *, prune: bool = True
    ) -> None:
        self.concepts = concepts
        self.tracks: list[Track] = []
        self.step = 0
        self._tracker, self._network, self._settings = tracker, tracker.network, tracker.settings
        most = self._network.pointers_remembered
        self._most_pointers = most if length is None else min(most, length)
        self._prune = prune
        self._numbered = 0
        self._withdrawn: set[int] = set()
        self._held: list[FrameResult] = []

    @torch.inference_mode()
    def advance(self, number: int, image: np.ndarray) -> Iterator[FrameResult]:
        """Work through one more frame, and give those that nothing can change any more."""
        detector, size = self._tracker.detector, image.shape[:2]
        pixels = to_square(image, detector.checkpoint.side)[None]
        features = detector.encode_images(pixels, [size], tokens=True)
        detected = self._tracker.detect(features, self.concepts)
        here = self._network.features(features.tokens)
        seen = self._follow(here)
        match = associate(
            detected.masks > 0, detected.confidences, detected.concepts, seen.masks > 0,
            [t.concept for t in self.tracks], self._settings,
        )
        begun = self._begin(detected, match)
        gone = self._settle(match)
        rows = [k for k in range(len(self.tracks)) if k not in gone]
        masks = self._update(here, seen, detected, match, rows)
        instances = self._instances(detected, match, seen, masks, rows, size)
        self.tracks = [self.tracks[k] for k in rows]
        instances += self._commit(here, detected, match, begun, size)
        self._held.append(self._result(number, size, detected, instances))
        self._close()
        if self._prune:
            for track in self.tracks:
                track.prune(self.step, self._network)
        self.step += 1
        while len(self._held) >= max(1, self._settings.hotstart_delay):
            yield self._release()

    def finish(self) -> Iterator[FrameResult]:
        """The frames still held back."""
        while self._held:
            yield self._release()

    def state_bytes(self) -> int:
        """What the tracks' memory takes."""
        return sum(track.bytes() for track in self.tracks)

    # ---------------------------------------------------------------- one frame

    def _follow(self, here: TrackerFeatures) -> Seen:
        """Where the tracks are in this frame, as far as the network can tell."""
        count, side, first = len(self.tracks), self._network.mask_side, here.coarse
        masks, scores = first.new_zeros(count, side, side), first.new_zeros(count)
        pointers = first.new_zeros(count, first.shape[1])
        for rows, memory in recollections(self.tracks, self.step, self._network):
            seen = self._network.follow(here.repeat(len(rows)), memory, self._most_pointers)
            masks[rows], scores[rows], pointers[rows] = seen.masks, seen.score, seen.pointers
        return Seen(mended(masks.float(), self._settings.fill_hole_area), pointers, scores.float())

    def _begin(self, detected: Detected, match: Match) -> list[int]:
        """The detections that become masklets: as many as there is room for, the most confident first."""
        room = self._settings.max_num_objects - len(self.tracks)
        if len(match.new) <= room:
            return list(match.new)
        ranked = sorted(match.new, key=lambda k: -float(detected.confidences[k]))
        return sorted(ranked[: max(0, room)])

    def _settle(self, match: Match) -> set[int]:
        """Count what confirms each track and what speaks against it; returns the places of those to withdraw."""
        settings, gone = self._settings, set()
        for k in {k for tracks in match.tracks_of for k in tracks}:
            track = self.tracks[k]
            track.keep_alive = min(settings.max_trk_keep_alive, track.keep_alive + 1)
        for k in match.unmatched:
            self.tracks[k].unmatched += 1
        lost = [*match.unmatched, *(match.empty if settings.decrease_trk_keep_alive_for_empty_masklets else ())]
        for k in lost:
            track = self.tracks[k]
            track.keep_alive = max(settings.min_trk_keep_alive, track.keep_alive - 1)
        for together in match.tracks_of:
            if len(together) > 1:
                oldest = min(together, key=lambda k: (self.tracks[k].born, k))
                for k in together:
                    if k != oldest:
                        self.tracks[k].shared[self.tracks[oldest].number] += 1
        for k, track in enumerate(self.tracks):
            if track.given or track.born <= self.step - settings.hotstart_delay:
                track.shared.clear()  # too old to be withdrawn: nothing counts against it any more
            elif track.unmatched >= settings.hotstart_unmatch_thresh or any(
                times >= settings.hotstart_dup_thresh for times in track.shared.values()
            ):
                gone.add(k)
                self._withdrawn.add(track.number)
        return gone

    def _update(
        self, here: TrackerFeatures, seen: Seen, detected: Detected, match: Match, rows: Sequence[int]
    ) -> Tensor:
        """Resolve who gives way, and let the tracks ``rows`` remember this frame; returns their masks."""
        settings, tracks = self._settings, [self.tracks[k] for k in rows]
        masks = seen.masks[list(rows)]
        if not tracks:
            return masks
        groups, occluded = [t.concept for t in tracks], [t.last_occluded for t in tracks]
        hidden = giving_way(
            masks > 0, occluded, groups, settings.suppress_overlapping_based_on_recent_occlusion_threshold
        )
        masks = torch.where(hidden[:, None, None], SUPPRESSED, masks)
        if settings.correct_with_detections:
            for place, k in enumerate(rows):
                if k in match.mutual and not hidden[place]:
                    masks[place] = detected.masks[match.mutual[k]]
        for track, shows in zip(tracks, (masks > 0).flatten(1).any(1).tolist(), strict=True):
            if shows:
                track.last_seen = self.step
            else:
                track.last_occluded = self.step
        remembered = masks.clone()
        every = settings.recondition_every_nth_frame
        conditioning = set()
        if every and self.step % every == 0:
            for k, detection in match.confirmed.items():
                place = rows.index(k) if k in rows else None
                # what gives way is not there, and must not be remembered for good; upstream does not look
                if place is not None and not hidden[place] and float(seen.score[k]) > settings.high_conf_thresh:
                    conditioning.add(place)
                    if not settings.recondition_on_trk_masks:
                        remembered[place] = torch.where(detected.masks[detection] > 0, -SUPPRESSED, SUPPRESSED)
        remembered = without_shrunk(remembered, groups)
        there = (remembered > 0).flatten(1).any(1)
        spatial = self._network.remember(here.repeat(len(tracks)), remembered.to(here.coarse.dtype), there)
        for place, track in enumerate(tracks):
            track.remember(self.step, spatial[place], seen.pointers[rows[place]], place in conditioning)
        for place in conditioning:  # upstream shows what the detector drew, on these frames
            masks[place] = detected.masks[match.confirmed[rows[place]]]
        return masks

    def _instances(
        self, detected: Detected, match: Match, seen: Seen, masks: Tensor, rows: Sequence[int], size: tuple[int, int]
    ) -> list[tuple[int, TrackedInstance]]:
        """What of the tracks ``rows`` shows in this frame: concept and instance."""
        settings, found = self._settings, []
        shown = seen.score.sigmoid().tolist()
        for k, (corner, mask) in zip(rows, crop_masks(masks, size, 0.0), strict=True):
            track = self.tracks[k]
            tired = track.keep_alive <= 0 and k in match.unmatched
            if not mask.size or (tired and not settings.suppress_unmatched_only_within_hotstart):
                continue
            confirmed = match.best.get(k)
            found.append((track.concept, TrackedInstance(
                track.number, shown[k], None if confirmed is None else detected.scores[confirmed], track.birth_score,
                detected.presences[track.concept], corner, mask, track.phrase,
            )))
        return found

    def _commit(
        self, here: TrackerFeatures, detected: Detected, match: Match, begun: Sequence[int], size: tuple[int, int]
    ) -> list[tuple[int, TrackedInstance]]:
        """Start a track for each of the detections ``begun``; returns what they show in this frame."""
        if not begun:
            return []
        network, chosen = self._network, list(begun)
        # at the size of the network's input, and only then cut at 0, as Meta's code does
        drawn = torch.nn.functional.interpolate(
            detected.masks[chosen][:, None], (network.model.image_size,) * 2, mode="bilinear", align_corners=False
        )[:, 0]
        here = here.repeat(len(chosen))
        logits = network.drawn(drawn > 0)
        seen = network.from_masks(here, logits)
        spatial = network.remember(here, logits, seen.score > 0, given=True)
        masks = mended(detected.masks[chosen], self._settings.fill_hole_area)
        found = []
        for place, (k, (corner, mask)) in enumerate(zip(chosen, crop_masks(masks, size, 0.0), strict=True)):
            self._numbered += 1
            confidence, concept = float(detected.confidences[k]), detected.concepts[k]
            track = Track(
                self._numbered, concept, detected.phrases[k], self.step, confidence,
                self._settings.init_trk_keep_alive, last_seen=self.step,
            )
            track.remember(self.step, spatial[place], seen.pointers[place], True)
            self.tracks.append(track)
            if mask.size:
                found.append((concept, TrackedInstance(
                    track.number, confidence, detected.scores[k], confidence, detected.presences[concept], corner,
                    mask, track.phrase,
                )))
        return found

    def _close(self) -> None:
        """Let go of tracks that were not seen for too long."""
        after = self._settings.forget_after
        if after is not None:
            self.tracks = [t for t in self.tracks if self.step - t.last_seen < after]

    # ---------------------------------------------------------------- results

    def _result(
        self, number: int, size: tuple[int, int], detected: Detected, instances: list[tuple[int, TrackedInstance]]
    ) -> FrameResult:
        concepts = tuple(
            TrackedConcept(
                concept.label, detected.presences[k], detected.best[k],
                tuple(sorted((i for c, i in instances if c == k), key=lambda i: i.masklet)),
            )
            for k, concept in enumerate(self.concepts)
        )
        return FrameResult(number, size, concepts)

    def _release(self) -> FrameResult:
        """The oldest frame held back, without what was withdrawn since, each pixel given to one masklet."""
        result = self._held.pop(0)
        concepts = []
        for concept in result.concepts:
            left = [i for i in concept.instances if i.masklet not in self._withdrawn]
            masks = carved([(i.corner, i.mask) for i in left], [i.confidence for i in left])
            kept = tuple(
                replace(i, corner=corner, mask=mask) for i, (corner, mask) in zip(left, masks, strict=True) if mask.size
            )
            concepts.append(replace(concept, instances=kept))
        return replace(result, concepts=tuple(concepts))
