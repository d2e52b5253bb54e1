"""What a person gives: how it is drawn, and where it has been before.

An object that is pointed at in the middle of a video has been there before. So what is pointed at is followed backward
first, and leaves a :class:`Trail`; then the video is worked through in order, and what the trails say holds: there the
object shows under its number, no detection of it begins another masklet, and where it was pointed at it is taken over
and followed onward.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from .association import SUPPRESSED
from .masks import Crop
from .prompts import Box, Exemplars, FramePrompts, ObjectPrompt, Prompts, box_iou
from .results import FrameResult, TrackedInstance
from .tracker_network import TrackerFeatures, TrackerNetwork
from .tracks import Track

_NOTHING = FramePrompts()
#: by how much of its size an object may reach over a box that a person drew around it
_MARGIN = 0.15
_EMPTY = np.zeros((0, 0), bool)


@dataclass(frozen=True)
class Wanted:
    """One object to begin, or to correct, in this frame.

    ``place`` among the frame's prompts; ``refused``: it must not be taken for its concept; ``masklet`` that it is known
    to be.
    """

    prompt: ObjectPrompt
    place: int = 0
    refused: bool = False
    masklet: int | None = None


@dataclass(frozen=True)
class Drawn:
    """What the network draws for a prompt: ``mask`` logits ``(h, w)``; ``pointer`` ``(C,)``; ``quality`` in [0, 1], the
    IoU it expects.
    """

    mask: Tensor
    pointer: Tensor
    quality: float


@dataclass
class Trail:
    """Where an object was before it was given.

    Attributes:
        number: its masklet's
        concept: the concept it is an instance of, by number
        key: of its prompts
        refused: it is no instance of the concept, and must not show
        birth_score: as its track's
        first: number of the frame in which it was given, the first in the order that the video is worked through
        sightings: what it showed, by frame number, ``first`` included; masks packed
    """

    number: int
    concept: int
    key: int | None
    refused: bool
    birth_score: float
    first: int
    sightings: dict[int, tuple[TrackedInstance, tuple[int, int], bytes]] = field(default_factory=dict)

    def at(self, number: int) -> TrackedInstance | None:
        """What it shows in a frame."""
        held = self.sightings.get(number)
        if held is None:
            return None
        instance, shape, packed = held
        bits = np.frombuffer(zlib.decompress(packed), np.uint8)
        mask = np.unpackbits(bits, count=shape[0] * shape[1]).reshape(shape).astype(bool)
        return replace(instance, mask=mask)


@dataclass(frozen=True)
class Ghost:
    """A trail in one frame: ``instance`` as it shows, and its mask ``(h, w)`` in the network's cells, bool."""

    trail: Trail
    instance: TrackedInstance
    mask: Tensor


class Given:
    """The prompts of one pass over a video.

    Args:
        prompts: by frame number
        before: what a backward pass made of them; ``None``: there was none
        backward: this is that pass: it works on prompts only, and its refused objects show
        onward: follow what is given; if not, it ends where it was pointed at
    """

    def __init__(
        self, prompts: Prompts, before: Given | None = None, *, backward: bool = False, onward: bool = True
    ) -> None:
        self.backward = backward
        self.onward = onward
        self._prompts = prompts
        self._meant: dict[tuple[int, int], int] = {} if before is None else dict(before._meant)
        self._before = None if before is None else before.trails()
        self._trails: dict[int, Trail] = {t.number: t for t in self._before or ()}
        self._order: dict[int, int] = {}

    @property
    def numbered(self) -> int:
        """The largest number that is taken."""
        return max(self._trails, default=0)

    def exemplars(self, number: int) -> Mapping[int, Exemplars]:
        """The examples in a frame, by concept."""
        return self._prompts.get(number, _NOTHING).exemplars

    def wanted(self, number: int) -> list[Wanted]:
        """The objects that a frame's prompts ask for, and that no trail brings."""
        here = self._prompts.get(number, _NOTHING)
        refused = [
            ObjectPrompt(None, concept, box) for concept, exemplars in here.exemplars.items()
            for box in exemplars.negatives
        ]
        asked = [
            Wanted(prompt, place, place < len(refused), self._meant.get((number, place)))
            for place, prompt in enumerate([*refused, *here.objects])
        ]
        if self._before is None:
            return asked
        # a trail brings what began here; what could not be drawn then cannot be drawn now
        first = {t.number: t.first for t in self._before}
        return [w for w in asked if self.onward and w.masklet is not None and first[w.masklet] != number]

    def number_of(self, key: int | None) -> int | None:
        """The masklet of a prompt's key."""
        return next((t.number for t in self._trails.values() if key is not None and t.key == key), None)

    def ghosts(self, number: int, side: int, size: tuple[int, int], device: torch.device) -> list[Ghost]:
        """What the trails show in a frame of ``size``, with masks of ``side`` cells."""
        found = []
        for trail in self._before or ():
            instance = trail.at(number)
            if instance is not None:
                mask = torch.from_numpy(_shrunk((instance.corner, instance.mask), size, side)).to(device)
                found.append(Ghost(trail, instance, mask))
        return found

    def tell(self, track: Track, number: int, wanted: Wanted | None = None) -> None:
        """A track was given in a frame by a prompt, or found by an example."""
        trail = self._trails.get(track.number)
        if trail is None:
            trail = Trail(track.number, track.concept, None, track.refused, track.birth_score, number)
            self._trails[track.number] = trail
        trail.first, trail.refused = number, track.refused
        if wanted is not None:
            self._meant[number, wanted.place] = track.number
            trail.key = trail.key if wanted.prompt.key is None else wanted.prompt.key

    def note(self, result: FrameResult) -> None:
        """Keep what a backward pass found."""
        self._order[result.number] = len(self._order)
        for concept in result.concepts:
            for instance in concept.instances:
                packed = zlib.compress(np.packbits(instance.mask).tobytes())
                bare = replace(instance, mask=_EMPTY)
                self._trails[instance.masklet].sightings[result.number] = (bare, instance.mask.shape, packed)

    def trails(self) -> list[Trail]:
        """What a backward pass found, from where each object was given."""
        for trail in self._trails.values():
            last = self._order.get(trail.first, 0)
            trail.sightings = {n: held for n, held in trail.sightings.items() if self._order[n] >= last}
        return list(self._trails.values())


def draw(
    network: TrackerNetwork, features: TrackerFeatures, prompt: ObjectPrompt, before: Tensor | None = None
) -> Drawn | None:
    """The mask of what a prompt points at, ``None`` where the network draws nothing.

    Args:
        network: the tracker's
        features: of one frame: without memory for a new object, after its memory for one that is corrected
        prompt: box and points
        before: logits ``(h, w)``, the answer to correct
    """
    side, config = network.model.image_size, network.model.config
    like = features.coarse
    box = None if prompt.box is None else like.new_tensor([prompt.box]) * side
    points = labels = None
    if prompt.points:
        points = like.new_tensor([prompt.points]) * side
        labels = torch.tensor([prompt.on], device=like.device).long()
    # upstream counts a box as two points; where much is said there is no doubt about which of three masks is meant
    said = len(prompt.points) + 2 * (prompt.box is not None)
    several = config.multimask_output_in_sam and config.multimask_min_pt_num <= said <= config.multimask_max_pt_num
    earlier = None if before is None else before[None, None].clamp(-32, 32).to(like.dtype)
    offered = network.decode(features, points=points, labels=labels, boxes=box, masks=earlier, multimask=several)
    best = int(offered.quality[0].argmax())
    mask = offered.masks[0, best].float()
    if prompt.box is not None:
        mask = _bounded(mask, prompt.box)
    if not (mask > 0).any():
        return None
    pointer = network.model.object_pointer_proj(offered.tokens[0, best])
    return Drawn(mask, pointer, float(offered.quality[0, best].clamp(0, 1)))


def _bounded(mask: Tensor, box: Box) -> Tensor:
    """A mask without what lies outside of its box, and a margin: a box goes around the whole object."""
    height, width = mask.shape
    across, down = _MARGIN * (box[2] - box[0]), _MARGIN * (box[3] - box[1])
    x, y = (torch.arange(n, device=mask.device).add(0.5).div(n) for n in (width, height))
    inside = (x >= box[0] - across) & (x <= box[2] + across), (y >= box[1] - down) & (y <= box[3] + down)
    return torch.where(inside[1][:, None] & inside[0][None], mask, mask.clamp(max=SUPPRESSED))


def obedience(drawn: Drawn, prompt: ObjectPrompt) -> float:
    """How much a mask does what its prompt says: the IoU of its box with the prompt's, and the share of the points that
    are on the side they should be, in [0, 1] each.
    """
    there = drawn.mask > 0
    said = 0.0
    if prompt.box is not None and there.any():
        height, width = there.shape
        ys, xs = there.any(1).nonzero()[:, 0], there.any(0).nonzero()[:, 0]
        own = (int(xs[0]) / width, int(ys[0]) / height, (int(xs[-1]) + 1) / width, (int(ys[-1]) + 1) / height)
        said += box_iou(own, prompt.box)
    if prompt.points:
        height, width = there.shape
        cells = [(min(int(y * height), height - 1), min(int(x * width), width - 1)) for x, y in prompt.points]
        right = [bool(there[cell]) == on for cell, on in zip(cells, prompt.on, strict=True)]
        said += sum(right) / len(right)
    return said


def _shrunk(crop: Crop, size: tuple[int, int], side: int) -> np.ndarray:
    """A cropped mask of a frame of ``size``, in cells: bool ``(side, side)``; a cell is the object's where most of it
    is, and so is the fullest where none is.
    """
    (x, y), mask = crop
    height, width = size
    rows = _overlaps(y, mask.shape[0], height, side)
    columns = _overlaps(x, mask.shape[1], width, side)
    share = rows @ mask.astype(np.float32) @ columns.T
    return share >= max(1e-6, min(0.5, float(share.max())) - 1e-6)  # a half is a half, however it was rounded


def _overlaps(start: int, length: int, full: int, cells: int) -> np.ndarray:
    """How much of each cell each pixel covers: float32 ``(cells, length)``."""
    edges = np.arange(start, start + length + 1) * (cells / full)
    first, last = edges[None, :-1], edges[None, 1:]
    cell = np.arange(cells)[:, None]
    return np.clip(np.minimum(last, cell + 1) - np.maximum(first, cell), 0, None).astype(np.float32)
