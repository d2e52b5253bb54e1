"""How good tracking is on clips that were never seen; part of ``python -m emoji_world.measure --clips 60``.

Every clip is asked for two concepts that are in it, one that something in it resembles, and one that is nowhere near.
Frames where only a sliver of an object shows (less than :data:`~emoji_world.clips.SEEN` of it) count neither way for
presence; in the masklets' truth the object is absent there.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from evaluation import PHOTA, Track, VideoPairCounts, count_video_pair, encode_masks, phota, presence_auc
from zoo.engine.concepts import Concept, parse_concepts
from zoo.engine.overlap_tracker import OverlapTracker
from zoo.engine.results import FrameResult
from zoo.engine.tracker import ConceptTracker

from .clips import SEEN, Clip, has_occlusion, sample_clip, visible_shares
from .prompts import scene_prompts

#: clips of the measurement; training clips start at a million
FIRST_CLIP = 700_000
#: pixels drawn per canvas pixel
_SCALE = 0.5


@dataclass
class ClipMeasurement:
    """Sums over clips; :meth:`numbers` turns them into the table."""

    tracked: list[VideoPairCounts] = field(default_factory=list)
    chained: list[VideoPairCounts] = field(default_factory=list)
    occluded: list[bool] = field(default_factory=list)
    presence: list[float] = field(default_factory=list)
    present: list[bool] = field(default_factory=list)
    clips: int = 0
    frames: int = 0
    seconds: float = 0.0

    def numbers(self) -> dict[str, float | int]:
        """The table. ``detector_only``: detections chained by mask overlap; ``occlusion``: pairs in which an object
        hides for three frames or more and comes back; ``cpu_ms_per_frame``: tracking, of all that is asked.
        """
        whole, chained = phota(self.tracked), phota(self.chained)
        hidden = self._hidden(self.tracked)
        return dict(
            pHOTA=whole.pHOTA, pDetA=whole.pDetA, pAssA=whole.pAssA,
            pHOTA_detector_only=chained.pHOTA,
            pHOTA_occlusion=hidden.pHOTA, pAssA_occlusion=hidden.pAssA,
            pHOTA_occlusion_detector_only=self._hidden(self.chained).pHOTA,
            pAssA_occlusion_detector_only=self._hidden(self.chained).pAssA,
            id_switches_per_masklet=whole.id_switches_per_masklet,
            id_switches_per_masklet_detector_only=chained.id_switches_per_masklet,
            presence_auc_frames=presence_auc(self.presence, self.present),
            clips=self.clips, frames=self.frames, video_pairs=len(self.tracked), masklets=whole.masklets,
            cpu_ms_per_frame=1000 * self.seconds / self.frames,
        )

    def _hidden(self, pairs: list[VideoPairCounts]) -> PHOTA:
        return phota(p for p, occluded in zip(pairs, self.occluded, strict=True) if occluded)


def measure_clips(tracker: ConceptTracker, clips: int, first_seed: int = FIRST_CLIP) -> ClipMeasurement:
    """Track ``clips`` clips, once with the tracker and once without."""
    total = ClipMeasurement()
    chains = OverlapTracker(
        ConceptTracker(tracker.detector, tracker.network, replace(tracker.settings, detect_every=1))
    )
    for seed in range(first_seed, first_seed + clips):
        clip = sample_clip(seed)
        prompts = scene_prompts(clip.scene(), np.random.default_rng([seed, 0xA5C]), positive=2, hard=1, easy=1, never=0)
        concepts = parse_concepts([p.phrase for p in prompts])
        shares = visible_shares(clip, _SCALE)
        played = list(clip.play(_SCALE))
        truth = [clip_truth(clip, [m for _, m in played], shares, c.label) for c in concepts]
        frames = [(t + 1, image) for t, (image, _) in enumerate(played)]
        started = time.process_time()
        results = list(tracker.track(frames, concepts, length=len(frames)))
        total.seconds += time.process_time() - started
        chained = list(chains.track(frames, concepts))
        hides = has_occlusion(shares)
        for k, concept in enumerate(concepts):
            own = clip.instances(concept.label)
            total.tracked.append(count_video_pair(truth[k], masklet_tracks(results, k), clip.frames))
            total.chained.append(count_video_pair(truth[k], masklet_tracks(chained, k), clip.frames))
            total.occluded.append(bool(hides[own].any()))
            most = shares[own].max(0) if own else np.zeros(clip.frames)
            for t in np.flatnonzero((most >= SEEN) | (most == 0)):
                if results[t].concepts[k].presence is not None:
                    total.presence.append(results[t].concepts[k].presence)
                    total.present.append(bool(most[t] >= SEEN))
        total.clips += 1
        total.frames += clip.frames
        if total.clips % 10 == 0:
            print(f"{total.clips} of {clips} clips", flush=True)
    return total


def clip_truth(clip: Clip, masks: list[np.ndarray], shares: np.ndarray, phrase: str) -> list[Track]:
    """One track for each actor that ``phrase`` covers, in the frames where enough of it shows."""
    return [
        Track({t: masks[t][i] for t in range(clip.frames) if shares[i, t] >= SEEN}) for i in clip.instances(phrase)
    ]


def masklet_tracks(results: Iterable[FrameResult], concept: int) -> list[Track]:
    """The masklets of one concept, by its place among those asked, as tracks for the metrics; frames count from 0."""
    masks: dict[int, dict[int, dict]] = {}
    scores: dict[int, float] = {}
    for t, result in enumerate(results):
        for instance in result.concepts[concept].instances:
            full = np.zeros((1, *result.size), bool)
            (x, y), (h, w) = instance.corner, instance.mask.shape
            full[0, y : y + h, x : x + w] = instance.mask
            masks.setdefault(instance.masklet, {})[t] = encode_masks(full)[0]
            scores[instance.masklet] = instance.birth_score
    return [Track(masks[k], score=scores[k]) for k in masks]


def phrases_of(clip: Clip) -> tuple[Concept, ...]:
    """The nouns of everything that is ever in ``clip``, as concepts."""
    return parse_concepts(sorted({a.thing.noun for a in clip.actors}))
