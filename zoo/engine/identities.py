"""Which masklet is which, when objects hide and come back: what is known of each is kept here up to date.

The rules are in :mod:`reidentify`; this is what a session does with them, in its tracks and in the frames that it still
holds back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from .association import pairwise_iou
from .detections import Detected
from .reidentify import boxes, identify, leapt, looks, outlines, settle
from .tracker_network import NO_OBJECT, Seen, TrackerFeatures
from .tracks import Track
from .transfers import fetch, to_device

if TYPE_CHECKING:
    from .session import Session


class Identities:
    """The part of a session that keeps masklets apart.

    Args:
        session: whose tracks these are
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def found(self, detected: Detected, seen: Seen, here: TrackerFeatures) -> Seen:
        """The tracks where they are, by all that is known of them; see :mod:`reidentify`.

        Args:
            detected: in this frame
            seen: where the tracker takes them to be
            here: the frame
        """
        session, step = self._session, self._session.step
        there, tracked = detected.masks > 0, seen.masks > 0
        masks, pointers = seen.masks.clone(), seen.pointers.clone()
        back: list[int] = []
        iou, features, *reached = fetch(
            pairwise_iou(there, tracked), looks(there, here.coarse), *outlines(there), *outlines(tracked)
        )
        found_at, taken_at, side = boxes(*reached[:2]), boxes(*reached[2:]), session.network.mask_side
        looked = torch.from_numpy(features)
        for concept in {t.concept for t in session.tracks}:
            own = [k for k, t in enumerate(session.tracks) if t.concept == concept]
            rows = [n for n, c in enumerate(detected.concepts) if c == concept]
            if not rows:
                if session.resting and not detected.asked(concept):
                    ways = [session.tracks[k].whereabouts for k in own]
                    for m in leapt([taken_at[k] for k in own], ways, step, side):
                        masks[own[m]] = NO_OBJECT
                continue
            where, faces = [found_at[n] for n in rows], [looked[n] for n in rows]
            steady, found, astray = identify(
                iou[np.ix_(rows, own)], where, side, faces, [session.tracks[k].whereabouts for k in own], step,
                session.settings.assoc_iou_thresh, session.span(concept),
            )
            for m, n in found.items():
                masks[own[m]] = detected.masks[rows[n]]
            back += [own[m] for m in found]
            for m in astray:
                masks[own[m]] = NO_OBJECT
            for m, n in {**steady, **found}.items():
                way = session.tracks[own[m]].whereabouts
                if way.seen and way.steady < step - session.span(concept):
                    way.found_again(step)
                way.note(step, where[n], faces[n])
            confused = settle([session.tracks[k].whereabouts for k in own], step, side, session.span(concept))
            if confused is not None:
                self._exchange(*(session.tracks[own[m]] for m in confused))
        if back:  # what the tracker made of them was of another place
            those = to_device(back, masks.device, torch.long)
            drawn = session.network.drawn(masks[those] > 0)
            pointers[those] = session.network.from_masks(here.repeat(len(back)), drawn).pointers.to(pointers.dtype)
        return replace(seen, masks=masks, pointers=pointers)

    def _exchange(self, one: Track, other: Track) -> None:
        """Two masklets were taken for each other when they came back: since then, each was the other."""
        held, step = self._session.held, self._session.step
        a, b = one.whereabouts, other.whereabouts
        since = {one.number: a.returned, other.number: b.returned if b.steady == step else step + 1}
        names = {one.number: other.number, other.number: one.number}
        oldest = step - len(held)
        if min(since.values()) < oldest:
            return  # some of it was given out already
        for place, result in enumerate(held):
            concepts = []
            for concept in result.concepts:
                instances = [
                    replace(i, masklet=names[i.masklet]) if since.get(i.masklet, step + 1) <= oldest + place else i
                    for i in concept.instances
                ]
                concepts.append(replace(concept, instances=tuple(sorted(instances, key=lambda i: i.masklet))))
            held[place] = replace(result, concepts=tuple(concepts))
        early = [{k: e for k, e in track.entries.items() if k < since[track.number]} for track in (one, other)]
        late = [{k: e for k, e in track.entries.items() if k >= since[track.number]} for track in (one, other)]
        one.entries, other.entries = early[1] | late[0], early[0] | late[1]
        for name in ("number", "phrase", "born", "birth_score", "given", "refused"):
            first, second = getattr(one, name), getattr(other, name)
            setattr(one, name, second)
            setattr(other, name, first)
        if b.steady == step:
            a.before, b.before = b.before, a.before
        else:
            other.whereabouts, a.before = a.before, b
