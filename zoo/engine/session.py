"""One video on its way through a tracker, frame by frame.

Per frame the image is encoded once; every concept is detected from the cached features, with the presence gate; all
tracks are followed in one batch; detections are matched with tracks; what is new begins, what was a mistake is
withdrawn (the *hot start*: results are held back for some frames so that it never shows); what the detector confirms is
remembered for good (*reconditioning*); and what a person points at here begins, or is corrected. The rules are those of
SAM 3's video model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .asked import ImageFeatures
from .association import (
    SUPPRESSED,
    Match,
    Overlaps,
    associate,
    giving_way,
    mended,
    without_shrunk,
)
from .concepts import Concept
from .detections import Detected
from .given import Given
from .identities import Identities
from .masks import carved
from .packing import cropping
from .pointing import Instances, Pointing
from .reidentify import looks, places
from .results import FrameResult, TrackedConcept, TrackedInstance
from .tracker_network import Seen, TrackerFeatures
from .tracks import Track, recollections
from .transfers import rows_of, to_device

if TYPE_CHECKING:
    from .tracker import ConceptTracker

Frame = tuple[int, np.ndarray]


@dataclass(frozen=True)
class Squeezed:
    """A frame on its way: its ``number``, its ``size`` ``(height, width)`` in pixels, and ``pixels`` uint8
    ``(1, 3, S, S)``, squeezed to the network's square.
    """

    number: int
    size: tuple[int, int]
    pixels: Tensor


@dataclass(frozen=True)
class Encoded:
    """A frame with all that is computed of it whatever is asked and followed: ``features`` for the detector, ``here``
    for the tracker.
    """

    number: int
    size: tuple[int, int]
    features: ImageFeatures
    here: TrackerFeatures


class Session:
    """One video on its way through a tracker.

    Attributes:
        tracks: the objects followed now
        step: how many frames have been worked through
        network, settings: the tracker's
        given: what a person points at
        most_pointers: by which the ages of what is remembered are measured
        held: the frames that are held back, the oldest first
    """

    def __init__(
        self, tracker: ConceptTracker, concepts: tuple[Concept, ...], length: int | None = None, *, prune: bool = True,
        given: Given | None = None,
    ) -> None:
        self.concepts = concepts
        self.tracks: list[Track] = []
        self.step = 0
        self.network, self.settings, self.given = tracker.network, tracker.settings, given or Given({})
        most = self.network.pointers_remembered
        self.most_pointers = most if length is None else min(most, length)
        self._tracker = tracker
        self._prune = prune
        self._numbered = self.given.numbered
        self._withdrawn: set[int] = set()
        self.held: list[FrameResult] = []
        self._pointing = Pointing(self)
        self._identities = Identities(self)
        # a backward pass asks of nothing but examples, in their own frames
        self._stride = 1 if self.given.backward else self.settings.detect_every
        self._asked: dict[int, int] = {}

    def advance(self, number: int, image: np.ndarray) -> Iterator[FrameResult]:
        """Work through one more frame, and give those that nothing can change any more."""
        tracker = self._tracker
        yield from self.work(tracker.encode(tracker.squeeze((number, image))))

    @torch.inference_mode()
    def work(self, frame: Encoded) -> Iterator[FrameResult]:
        """As :meth:`advance`, of a frame that is encoded."""
        number, size, features, here = frame.number, frame.size, frame.features, frame.here
        given = self.given
        shown = {k for k, exemplars in given.exemplars(number).items() if exemplars.shows}
        detected = self._tracker.detect(
            features, self.concepts, given.exemplars(number), everywhere=not (given.backward or self.resting)
        )
        seen = self._follow(here)
        ghosts = given.ghosts(number, self.network.mask_side, size, here.coarse.device)
        detected, confirmed = self._pointing.without(ghosts, detected, seen)
        seen = self._pointing.behind(ghosts, seen)
        if self.settings.reidentify:
            seen = self._identities.found(detected, seen, here)
        found, tracked = detected.masks > 0, seen.masks > 0
        overlaps, (scores, confidences) = Overlaps.of(found, tracked, seen.score, seen.score.sigmoid())
        match = associate(
            found, detected.confidences, detected.concepts, tracked, [t.concept for t in self.tracks], self.settings,
            eager=shown, overlaps=overlaps,
        )
        # where a concept is not asked, nothing speaks against its masklets
        match = replace(
            match, unmatched=tuple(k for k in match.unmatched if detected.asked(self.tracks[k].concept))
        )
        begun = self._begin(detected, match)
        gone = self._settle(match, detected)
        rows = [k for k in range(len(self.tracks)) if k not in gone]
        masks = self._update(here, seen, detected, match, rows, shown, overlaps, scores)
        instances = self._instances(detected, match, confidences.tolist(), masks, rows, size)
        self._pointing.confirm(match, rows, shown, number)
        self.tracks = [self.tracks[k] for k in rows]
        instances += self._commit(here, detected, begun, size, shown, number)
        instances += self._pointing.appear(here, ghosts, detected, confirmed, number, size)
        wanting = given.wanted(number)
        if wanting:
            drawn = [*masks, *(detected.masks[k] for k in begun)]
            drawn += [here.coarse.new_zeros(masks.shape[1:])] * (len(self.tracks) - len(drawn))
        for wanted in wanting:
            instances = self._pointing.point(here, wanted, drawn, instances, detected, number, size)
        self.held.append(self._result(number, size, detected, instances))
        self._close()
        if self._prune:
            for track in self.tracks:
                track.prune(self.step, self.network)
        self._asked.update((k, self.step) for k in range(len(self.concepts)) if detected.asked(k))
        self.step += 1
        while len(self.held) >= max(1, self.settings.hotstart_delay):
            yield self._release()

    def finish(self) -> Iterator[FrameResult]:
        """The frames still held back."""
        while self.held:
            yield self._release()

    def state_bytes(self) -> int:
        """What the tracks' memory takes."""
        return sum(track.bytes() for track in self.tracks)

    def new_number(self) -> int:
        """For one more masklet; none is used twice."""
        self._numbered += 1
        return self._numbered

    def withdraw(self, number: int) -> None:
        """Take a masklet out of all results that are still held back."""
        self._withdrawn.add(number)

    # ---------------------------------------------------------------- one frame

    @property
    def resting(self) -> bool:
        """Whether the detector rests in this frame; examples are looked for all the same."""
        return self.step % self._stride != 0

    def span(self, concept: int) -> int:
        """How many frames a look at a concept stands for now: those since the last one, if that is not long ago."""
        return min(self._stride, self.step - self._asked.get(concept, self.step - self._stride))

    def _follow(self, here: TrackerFeatures) -> Seen:
        """Where the tracks are in this frame, as far as the network can tell."""
        count, side, first = len(self.tracks), self.network.mask_side, here.coarse
        masks, scores = first.new_zeros(count, side, side), first.new_zeros(count)
        pointers = first.new_zeros(count, first.shape[1])
        for rows, memory in recollections(self.tracks, self.step, self.network):
            seen = self.network.follow(here.repeat(len(rows)), memory, self.most_pointers)
            those = to_device(rows, first.device, torch.long)
            masks[those], scores[those], pointers[those] = seen.masks, seen.score, seen.pointers
        return Seen(mended(masks.float(), self.settings.fill_hole_area), pointers, scores.float())

    def _begin(self, detected: Detected, match: Match) -> list[int]:
        """The detections that become masklets: as many as there is room for, the most confident first."""
        room = self.settings.max_num_objects - len(self.tracks)
        if len(match.new) <= room:
            return list(match.new)
        ranked = sorted(match.new, key=lambda k: -float(detected.confidences[k]))
        return sorted(ranked[: max(0, room)])

    def _settle(self, match: Match, detected: Detected) -> set[int]:
        """Count what confirms each track and what speaks against it, in frames; returns the places of those to
        withdraw.
        """
        settings, gone = self.settings, set()
        spans = [self.span(track.concept) for track in self.tracks]
        for k in {k for tracks in match.tracks_of for k in tracks}:
            track = self.tracks[k]
            track.keep_alive = min(settings.max_trk_keep_alive, track.keep_alive + spans[k])
        for k in match.unmatched:
            self.tracks[k].unmatched += spans[k]
        lost = {k: spans[k] for k in match.unmatched}
        if settings.decrease_trk_keep_alive_for_empty_masklets:
            lost |= dict.fromkeys(match.empty, 1)  # which the tracker says, in every frame
        for k, frames in lost.items():
            track = self.tracks[k]
            track.keep_alive = max(settings.min_trk_keep_alive, track.keep_alive - frames)
        for k, track in enumerate(self.tracks):
            if detected.asked(track.concept) or not self.resting:
                track.unconfirmed = k in match.unmatched
        for together in match.tracks_of:
            if len(together) > 1:
                oldest = min(together, key=lambda k: (self.tracks[k].born, k))
                for k in together:
                    if k != oldest:
                        self.tracks[k].shared[self.tracks[oldest].number] += spans[k]
        for k, track in enumerate(self.tracks):
            if track.given or track.born <= self.step - settings.hotstart_delay:
                track.shared.clear()  # too old to be withdrawn: nothing counts against it any more
            elif track.unmatched >= settings.hotstart_unmatch_thresh or any(
                times >= settings.hotstart_dup_thresh for times in track.shared.values()
            ):
                gone.add(k)
                self.withdraw(track.number)
        return gone

    def _update(
        self, here: TrackerFeatures, seen: Seen, detected: Detected, match: Match, rows: Sequence[int],
        shown: set[int], overlaps: Overlaps, scores: np.ndarray,
    ) -> Tensor:
        """Resolve who gives way, and let the tracks ``rows`` remember this frame; returns their masks."""
        settings, tracks = self.settings, [self.tracks[k] for k in rows]
        masks = rows_of(seen.masks, rows).clone()
        if not tracks:
            return masks
        groups, occluded = [t.concept for t in tracks], [t.last_occluded for t in tracks]
        hidden = giving_way(
            overlaps.among[np.ix_(rows, rows)], occluded, groups,
            settings.suppress_overlapping_based_on_recent_occlusion_threshold,
        )
        shows = overlaps.shown[list(rows)] & ~hidden
        for place in np.flatnonzero(hidden):
            masks[int(place)] = SUPPRESSED
        if settings.correct_with_detections:
            corrected = {p: match.mutual[k] for p, k in enumerate(rows) if k in match.mutual and not hidden[p]}
            if corrected:
                to, of = to_device([[*corrected], [*corrected.values()]], masks.device, torch.long)
                masks[to] = detected.masks[of]
                shows[[*corrected]] = overlaps.found[[*corrected.values()]]
        for track, shown_here in zip(tracks, shows, strict=True):
            if shown_here:
                track.last_seen = self.step
            else:
                track.last_occluded = self.step
        remembered = masks.clone()
        every = settings.recondition_every_nth_frame
        conditioning = set()
        # what an example finds is as good as given
        sound = {
            k: d for k, d in match.mutual.items() if self.tracks[k].concept in shown and k not in match.unmatched
        }
        for k, detection in sound.items():
            if k in rows and not hidden[rows.index(k)]:
                conditioning.add(rows.index(k))
                remembered[rows.index(k)] = torch.where(detected.masks[detection] > 0, -SUPPRESSED, SUPPRESSED)
        if every and not self.resting and self.step // every > (self.step - self._stride) // every:
            for k, detection in match.confirmed.items():
                place = rows.index(k) if k in rows else None
                # what gives way is not there, and must not be remembered for good; upstream does not look
                if place is not None and not hidden[place] and scores[k] > settings.high_conf_thresh:
                    conditioning.add(place)
                    if not settings.recondition_on_trk_masks:
                        remembered[place] = torch.where(detected.masks[detection] > 0, -SUPPRESSED, SUPPRESSED)
        remembered = without_shrunk(remembered, groups)
        there = (remembered > 0).flatten(1).any(1)
        spatial = self.network.remember(here.repeat(len(tracks)), remembered.to(here.coarse.dtype), there)
        for place, track in enumerate(tracks):
            track.remember(self.step, spatial[place], seen.pointers[rows[place]], place in conditioning)
        for place in conditioning:  # upstream shows what the detector drew, on these frames
            masks[place] = detected.masks[(sound | match.confirmed)[rows[place]]]
        return masks

    def _instances(
        self, detected: Detected, match: Match, confidences: Sequence[float], masks: Tensor, rows: Sequence[int],
        size: tuple[int, int],
    ) -> Instances:
        """What of the tracks ``rows`` shows in this frame: concept and instance."""
        settings, found = self.settings, []
        for k, (corner, mask) in zip(rows, cropping(masks, size, 0.0)(), strict=True):
            track = self.tracks[k]
            tired = track.keep_alive <= 0 and track.unconfirmed and not track.given
            if not mask.size or (tired and not settings.suppress_unmatched_only_within_hotstart):
                continue
            if track.refused and not self.given.backward:
                continue
            confirmed = match.best.get(k)
            score = None if confirmed is None else detected.scores[confirmed]
            found.append((track.concept, TrackedInstance(
                track.number, confidences[k], score, track.birth_score, detected.presences[track.concept], corner, mask,
                track.phrase,
            )))
        return found

    def _commit(
        self, here: TrackerFeatures, detected: Detected, begun: Sequence[int], size: tuple[int, int], shown: set[int],
        number: int,
    ) -> Instances:
        """Start a track for each of the detections ``begun``; returns what they show in this frame."""
        if not begun:
            return []
        network, chosen = self.network, list(begun)
        given = rows_of(detected.masks, chosen)
        # at the size of the network's input, and only then cut at 0, as Meta's code does
        drawn = torch.nn.functional.interpolate(
            given[:, None], (network.model.image_size,) * 2, mode="bilinear", align_corners=False
        )[:, 0]
        here = here.repeat(len(chosen))
        logits = network.drawn(drawn > 0)
        seen = network.from_masks(here, logits)
        spatial = network.remember(here, logits, seen.score > 0, given=True)
        masks = mended(given, self.settings.fill_hole_area)
        found = []
        for place, (k, (corner, mask)) in enumerate(zip(chosen, cropping(masks, size, 0.0)(), strict=True)):
            confidence, concept = float(detected.confidences[k]), detected.concepts[k]
            track = Track(
                self.new_number(), concept, detected.phrases[k], self.step, confidence,
                self.settings.init_trk_keep_alive, last_seen=self.step, given=concept in shown,
            )
            track.remember(self.step, spatial[place], seen.pointers[place], True)
            if self.settings.reidentify:
                there = detected.masks[k : k + 1] > 0
                track.whereabouts.note(self.step, places(there)[0], looks(there, here.coarse)[0].cpu())
            self.tracks.append(track)
            if track.given and self.given.backward:
                self.given.tell(track, number)
            if mask.size:
                found.append((concept, TrackedInstance(
                    track.number, confidence, detected.scores[k], confidence, detected.presences[concept], corner,
                    mask, track.phrase,
                )))
        return found

    def _close(self) -> None:
        """Let go of tracks that were not seen for too long."""
        after = self.settings.forget_after
        if after is not None:
            self.tracks = [t for t in self.tracks if self.step - t.last_seen < after]

    # ---------------------------------------------------------------- results

    def _result(
        self, number: int, size: tuple[int, int], detected: Detected, instances: Instances
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
        result = self.held.pop(0)
        concepts = []
        for concept in result.concepts:
            left = [i for i in concept.instances if i.masklet not in self._withdrawn]
            masks = carved([(i.corner, i.mask) for i in left], [i.confidence for i in left])
            kept = tuple(
                replace(i, corner=corner, mask=mask) for i, (corner, mask) in zip(left, masks, strict=True) if mask.size
            )
            concepts.append(replace(concept, instances=kept))
        return replace(result, concepts=tuple(concepts))
