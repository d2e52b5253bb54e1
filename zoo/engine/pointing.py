"""What a person gives, while a video is worked through: who gives way to it, where it begins, how it is corrected."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .association import Match, mended, pairwise_iou
from .detections import Detected
from .given import Drawn, Ghost, Wanted, draw, obedience
from .masks import crop_masks
from .results import TrackedInstance
from .tracker_network import NO_OBJECT, Seen, TrackerFeatures
from .tracks import Track, recollections
from .transfers import fetch, rows_of

if TYPE_CHECKING:
    from .session import Session

logger = logging.getLogger(__name__)

Instances = list[tuple[int, TrackedInstance]]

#: a masklet and what a person points at are one object if their masks overlap at least this much
_SAME_OBJECT = 0.5
#: by how much the memory's answer may do less what a prompt says than one without memory
_LITTLE = 0.1


class Pointing:
    """The part of a session that deals with prompts.

    Args:
        session: whose tracks these are
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._network, self._settings, self._given = session.network, session.settings, session.given

    def without(
        self, ghosts: Sequence[Ghost], detected: Detected, seen: Seen
    ) -> tuple[Detected, dict[int, float]]:
        """The detections that no ghost explains; and masklet -> object score of those that one does."""
        if not ghosts or not len(detected.masks):
            return detected, {}
        groups = torch.tensor(detected.concepts, device=detected.masks.device)
        tracked = torch.tensor([t.concept for t in self._session.tracks], device=groups.device)
        haunted = torch.tensor([g.trail.concept for g in ghosts], device=groups.device)
        there = detected.masks > 0
        by_ghost = pairwise_iou(there, torch.stack([g.mask for g in ghosts])) * (groups[:, None] == haunted)
        explained = by_ghost.amax(1) >= max(self._settings.assoc_iou_thresh, 1e-6)
        if self._session.tracks:
            by_track = pairwise_iou(there, seen.masks > 0) * (groups[:, None] == tracked)
            explained &= by_ghost.amax(1) >= by_track.amax(1)
        whose = by_ghost.argmax(1).tolist()
        gone = explained.nonzero()[:, 0].tolist()
        scores = {ghosts[whose[k]].trail.number: detected.scores[k] for k in reversed(gone)}
        return detected.only([k for k in range(len(there)) if k not in set(gone)]), scores

    def behind(self, ghosts: Sequence[Ghost], seen: Seen) -> Seen:
        """A masklet that lies on what a person gave does not show: it is the same object."""
        given = [k for k, t in enumerate(self._session.tracks) if t.given]
        front = [(g.trail.concept, g.mask) for g in ghosts]
        front += [(self._session.tracks[k].concept, seen.masks[k] > 0) for k in given]
        others = [k for k in range(len(self._session.tracks)) if k not in given]
        if not front or not others:
            return seen
        lying = rows_of(seen.masks, others) > 0
        overlaps = fetch(pairwise_iou(lying, torch.stack([mask for _, mask in front])))[0] >= _SAME_OBJECT
        masks = seen.masks.clone()
        for j, (concept, _) in enumerate(front):
            for i, k in enumerate(others):
                if overlaps[i, j] and self._session.tracks[k].concept == concept:
                    masks[k] = NO_OBJECT
        return replace(seen, masks=masks)

    def confirm(self, match: Match, rows: Sequence[int], shown: set[int], number: int) -> None:
        """What an example finds again is given, too."""
        for k in set(rows) & set(match.best):
            track = self._session.tracks[k]
            if track.concept in shown and k not in match.unmatched:
                track.given = True
                if self._given.backward:
                    self._given.tell(track, number)

    def appear(
        self, here: TrackerFeatures, ghosts: Sequence[Ghost], detected: Detected, confirmed: dict[int, float],
        number: int, size: tuple[int, int],
    ) -> Instances:
        """What trails show in this frame; where an object was pointed at, it is followed from now on."""
        found = []
        for ghost in ghosts:
            trail = ghost.trail
            if not trail.refused:
                found.append((trail.concept, replace(
                    ghost.instance, object_score=confirmed.get(trail.number),
                    presence=detected.presences[trail.concept],
                )))
            if trail.first == number and self._given.onward:
                whole = np.zeros(size, bool)
                (x, y), mask = ghost.instance.corner, ghost.instance.mask
                whole[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
                logits = self._network.drawn(torch.from_numpy(whole)[None].to(here.coarse.device))
                seen = self._network.from_masks(here, logits)
                spatial = self._network.remember(here, logits, seen.score > 0, given=True)
                self._start(trail.number, trail.concept, trail.birth_score, spatial[0], seen.pointers[0], trail.refused)
        return found

    def point(
        self, here: TrackerFeatures, wanted: Wanted, drawn: list[Tensor], instances: Instances, detected: Detected,
        number: int, size: tuple[int, int],
    ) -> Instances:
        """Begin, correct or refuse what one prompt points at; returns what shows in this frame.

        Args:
            drawn: logits of the tracks in this frame; kept up to date
        """
        prompt, network = wanted.prompt, self._network
        fresh = None
        if prompt.box is not None or any(prompt.on):
            fresh = draw(network, network.without_memory(here), prompt)
        place = self._pointed_at(wanted, fresh, drawn)
        answer = fresh
        if place is not None:
            answer = self._corrected(here, self._session.tracks[place], wanted, fresh, drawn[place])
        if answer is None:
            logger.warning("Nothing could be drawn for a prompt in frame %d: point closer to the object", number)
            return instances
        if place is None:
            # one key is one masklet, even if it was closed in between
            taken = wanted.masklet or self._given.number_of(prompt.key) or self._session.new_number()
            spatial = network.remember(here, fresh.mask[None], fresh.mask.new_ones(1).bool(), given=True)
            track = self._start(
                taken, prompt.concept, fresh.quality, spatial[0], fresh.pointer, wanted.refused
            )
            drawn.append(fresh.mask)
        else:
            track = self._session.tracks[place]
            there = (answer.mask > 0).any()[None]
            spatial = network.remember(here, answer.mask[None].to(here.coarse.dtype), there, given=True)
            track.remember(self._session.step, spatial[0], answer.pointer, True)
            drawn[place] = answer.mask
            if track.refused and not wanted.refused:
                track.number = self._session.new_number()  # what was refused under its old number stays refused
        track.given, track.refused, track.last_seen = True, wanted.refused, self._session.step
        if wanted.refused and not self._given.backward:
            self._session.withdraw(track.number)
        self._given.tell(track, number, wanted)
        instances = [(k, i) for k, i in instances if i.masklet != track.number]
        if wanted.refused and not self._given.backward:
            return instances
        corner, mask = crop_masks(mended(answer.mask[None], self._settings.fill_hole_area), size, 0.0)[0]
        if mask.size:
            instances.append((track.concept, TrackedInstance(
                track.number, answer.quality, None, track.birth_score, detected.presences[track.concept], corner, mask,
                track.phrase,
            )))
        return instances

    def _pointed_at(self, wanted: Wanted, fresh: Drawn | None, drawn: Sequence[Tensor]) -> int | None:
        """The track that a prompt means: that of its key, or else the one that lies there."""
        known = wanted.masklet or self._given.number_of(wanted.prompt.key)
        for place, track in enumerate(self._session.tracks):
            if track.number == known:
                return place
        same = [k for k, t in enumerate(self._session.tracks) if t.concept == wanted.prompt.concept and known is None]
        if fresh is None or not same:
            return None
        overlaps = pairwise_iou(fresh.mask[None] > 0, torch.stack([drawn[k] for k in same]) > 0)[0]
        best = int(overlaps.argmax())
        return same[best] if overlaps[best] >= _SAME_OBJECT else None

    def _corrected(
        self, here: TrackerFeatures, track: Track, wanted: Wanted, fresh: Drawn | None, before: Tensor
    ) -> Drawn | None:
        """What a prompt makes of a track: with what is remembered of it, or drawn afresh, if that does more what the
        prompt says.
        """
        answer = None
        for _, memory in recollections([track], self._session.step, self._network):
            recalled = self._network.recall(here, memory, self._session.most_pointers)
            answer = draw(self._network, recalled, wanted.prompt, before if (before > 0).any() else None)
        if answer is None or fresh is None:
            return answer or fresh
        return answer if obedience(answer, wanted.prompt) >= obedience(fresh, wanted.prompt) - _LITTLE else fresh

    def _start(
        self, number: int, concept: int, birth_score: float, spatial: Tensor, pointer: Tensor, refused: bool
    ) -> Track:
        """Follow what a person gave, from here on."""
        track = Track(
            number, concept, None, (now := self._session.step), birth_score, self._settings.init_trk_keep_alive,
            last_seen=now, given=True, refused=refused,
        )
        track.remember(now, spatial, pointer, True)
        self._session.tracks.append(track)
        return track
