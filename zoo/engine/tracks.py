"""A track: what is known of one object while a video is worked through, pruned to what the network reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .reidentify import Whereabouts
from .tracker_network import Memory, TrackerNetwork
from .transfers import to_device


@dataclass
class Entry:
    """One remembered frame of a track: ``spatial`` ``(g * g, 64)``, until only the pointer is read; ``pointer``
    ``(C,)``; ``conditioning``: the object was given here, or confirmed, and this is remembered for good.
    """

    spatial: Tensor | None
    pointer: Tensor
    conditioning: bool


@dataclass
class Track:
    """One object.

    Attributes:
        number: its masklet's, from 1
        concept: the concept it is an instance of, by number
        phrase: the phrase that found it
        born: step of its first frame; steps count the frames worked through
        birth_score: confidence of the detection that it began with
        keep_alive: see :class:`TrackerSettings`
        unmatched: frames in which it showed and no detection confirmed it
        unconfirmed: it showed when the detector looked last, and no detection confirmed it
        shared: older track -> frames in which both lay on one detection
        last_occluded: step at which it was last not to be seen; -1 for never
        last_seen: step at which it was last to be seen
        given: a person pointed at it: it is not withdrawn
        refused: a person said that it is no instance of its concept: it is followed, and never shows
        whereabouts: its way, for when it is lost
        entries: its memory, by step
    """

    number: int
    concept: int
    phrase: str | None
    born: int
    birth_score: float
    keep_alive: int
    unmatched: int = 0
    unconfirmed: bool = False
    shared: Counter[int] = field(default_factory=Counter)
    last_occluded: int = -1
    last_seen: int = 0
    given: bool = False
    refused: bool = False
    whereabouts: Whereabouts = field(default_factory=Whereabouts)
    entries: dict[int, Entry] = field(default_factory=dict)

    def remember(self, step: int, spatial: Tensor, pointer: Tensor, conditioning: bool) -> None:
        # copies: a row of a batch would keep the whole batch in memory
        self.entries[step] = Entry(spatial.clone(), pointer.clone(), conditioning)

    def selected(self, step: int, most: int) -> list[int]:
        """The conditioning frames that are read at ``step``: the ``most`` closest."""
        known = [k for k, entry in self.entries.items() if entry.conditioning]
        return sorted(sorted(known, key=lambda k: abs(step - k))[:most])

    def prune(self, step: int, network: TrackerNetwork) -> None:
        """Forget what no later step than ``step`` can read."""
        conditioning = set(self.selected(step + 1, network.conditioning_remembered))
        for k in list(self.entries):
            if k in conditioning:
                continue
            if step + 1 - k >= network.pointers_remembered:
                del self.entries[k]
            elif step + 1 - k > network.frames_remembered:
                self.entries[k].spatial = None

    def bytes(self) -> int:
        """What its memory takes."""
        tensors = [t for e in self.entries.values() for t in (e.spatial, e.pointer) if t is not None]
        return sum(t.numel() * t.element_size() for t in tensors)


def recollections(
    tracks: Sequence[Track], step: int, network: TrackerNetwork
) -> Iterator[tuple[list[int], Memory]]:
    """What the tracks remember at ``step``, in groups that remember equally much, so that a group is one batch.

    Yields:
        the group's places in ``tracks``, and their memory
    """
    groups: dict[tuple[tuple[int, ...], int], list[tuple[int, list[int], list[int]]]] = {}
    for place, track in enumerate(tracks):
        conditioning = track.selected(step, network.conditioning_remembered)
        others = [
            step - ago
            for ago in range(network.pointers_remembered - 1, 0, -1)
            if step - ago in track.entries and step - ago not in conditioning
        ]
        recent = [k for k in others if step - k <= network.frames_remembered]
        frames = [*conditioning, *recent]
        places = (0,) * len(conditioning) + tuple(step - k for k in recent)
        pointers = [*conditioning, *others]
        groups.setdefault((places, len(pointers)), []).append((place, frames, pointers))
    for (places, _), members in groups.items():
        count = len(members)
        spatial = torch.stack([tracks[p].entries[k].spatial for p, frames, _ in members for k in frames])
        pointers = torch.stack([tracks[p].entries[k].pointer for p, _, seen in members for k in seen])
        ages = to_device([[step - k for k in seen] for _, _, seen in members], pointers.device)
        yield [p for p, _, _ in members], Memory(
            spatial.unflatten(0, (count, -1)), places, pointers.unflatten(0, (count, -1)), ages
        )
