"""Who is it that comes back? Look-alikes that hid behind the same thing are told apart by where they were going.

SAM 3 leaves this to the tracker's memory, which knows what an object looked like and where it was last, but not where
it was heading. Two dogs that pass each other behind a tree come out with each other's numbers. So a detection that no
steadily followed masklet explains is given to the lost masklet of its concept that it fits best: by the place that
masklet would have reached (a straight line through what was seen of it), by size, by looks, and by what the tracker
itself believes.

Motion models of this kind are standard in tracking by detection (SORT, Bewley et al. 2016; OC-SORT, Cao et al. 2023).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from .prompts import box_iou
from .transfers import fetch

#: sightings that tell an object's size, and of these the last, which tell its way
_REMEMBERED, _RECENT = 12, 4
#: frames that a masklet is thought to go on straight
_STRAIGHT = 16
#: share of its size from which an object counts as seen whole
_WHOLE = 0.85
#: what a cost counts: per width of the object off its way, per factor e in size, per unit of unlike looks, and per unit
#: of the tracker's own belief
_WAY, _SIZE, _LOOKS, _BELIEF = 1.0, 1.0, 1.5, 0.3
#: frames after which a masklet that came back is looked at again, and what makes sure that it is another
_SETTLED, _SURE = 5, 0.3
#: what staying where it was counts for a masklet that was followed until now, against the tracker's own belief
_KEEP = 2.0
#: box IoU from which it is thought to have stayed there, whatever the tracker says
_STILL = 0.5
#: how many widths off its way an object may be at all, and for each frame since it was seen
_STEP, _PACE = 0.75, 1.0
#: the same between two looks of the detector, where only the tracker says where it is
_LEAP, _DRIFT = 0.75, 0.25
#: more than this is never the same object
_WORST = 2.5
#: how far off its way counts at most: an object that was gone for long may come from anywhere
_FAR = 2.0


Place = tuple[float, float, float, float]


@dataclass
class Whereabouts:
    """What is known of one masklet's way: ``seen``: step and box ``x0, y0, x1, y1`` in cells; ``looks``: ``(C,)``, the
    mean feature under its masks, a unit vector, on the host; ``steady``: step at which it last had a detection of its
    own; ``before``: what was known of it when it was lost, and ``returned``: the step at which it was found again.
    """

    seen: deque[tuple[int, Place]] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    looks: Tensor | None = None
    steady: int = -1
    before: Whereabouts | None = None
    returned: int = -1
    _size: tuple[float, float] | None = None

    def found_again(self, step: int) -> None:
        """Keep what was known before."""
        self.before, self.returned = Whereabouts(self.seen.copy(), self.looks, self.steady), step

    def note(self, step: int, place: Place, looks: Tensor) -> None:
        """It was seen, by a detection."""
        self.seen.append((step, place))
        self.steady, self._size = step, None
        width, height = self.size
        if self.looks is None:
            self.looks = looks
        elif (place[2] - place[0]) * (place[3] - place[1]) > 0.6 * width * height:
            # what is half hidden looks like what hides it
            self.looks = F.normalize(0.8 * self.looks + 0.2 * looks, dim=0)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the whole object, in cells."""
        if self._size is None:  # asked for often, and dear
            width, height = np.percentile([(p[2] - p[0], p[3] - p[1]) for _, p in self.seen], 80, axis=0).tolist()
            self._size = width, height
        return self._size

    def expected(self, step: int, side: int) -> tuple[float, float]:
        """Where its centre would be by now, had it gone on straight; no further than just outside the frame."""
        full, last = self.size, self.seen[-1][1]
        shown = [(last[d + 2] - last[d]) / max(1e-6, full[d]) for d in (0, 1)]
        centre = []
        for d in (0, 1):
            # where something hides it, its edge stands still, and the other edge tells how it goes; but its height says
            # nothing where it is the width that is hidden
            edge = shown[d] < _WHOLE and shown[d] < shown[1 - d]
            used = [*self.seen] if edge else [(t, p) for t, p in self.seen if self._whole(p, full)] or [self.seen[0]]
            (first, from_), (then, to) = used[-_RECENT:][0], used[-1]
            speeds = [(to[e] - from_[e]) / max(1, then - first) for e in (d, d + 2)]
            middle, speed = (to[d] + to[d + 2]) / 2, sum(speeds) / 2
            if edge:
                lower = abs(speeds[0]) > abs(speeds[1])
                middle, speed = (to[d] + full[d] / 2, speeds[0]) if lower else (to[d + 2] - full[d] / 2, speeds[1])
            ahead = min(step - then, _STRAIGHT)
            centre.append(float(np.clip(middle + speed * ahead, -full[d] / 2, side + full[d] / 2)))
        return centre[0], centre[1]

    @staticmethod
    def _whole(place: Place, full: tuple[float, float]) -> bool:
        return all(place[d + 2] - place[d] >= _WHOLE * full[d] for d in (0, 1))

    def off(self, step: int, place: Place, side: int) -> float:
        """How far a box lies from where it should be, in widths of the object. The box may show a part of it only: what
        is hidden may be on either side.
        """
        apart = [
            max(0.0, abs((place[d] + place[d + 2]) / 2 - middle) - max(0.0, full - (place[d + 2] - place[d])) / 2)
            for d, (middle, full) in enumerate(zip(self.expected(step, side), self.size, strict=True))
        ]
        return float(np.hypot(*apart)) / max(1.0, (self.size[0] * self.size[1]) ** 0.5)

    def larger(self, place: Place, smaller: float = 0.3) -> float:
        """By how much a box is larger than the object, as a logarithm; ``smaller`` is what it counts if it is smaller:
        it may be half hidden.
        """
        grown = [np.log(max(1.0, place[d + 2] - place[d]) / max(1.0, full)) for d, full in enumerate(self.size)]
        return float(sum(g if g > 0 else -smaller * g for g in grown))


def places(masks: Tensor) -> list[Place]:
    """The box ``x0, y0, x1, y1`` of bool masks ``(N, h, w)``, in cells."""
    return boxes(*fetch(*outlines(masks)))


def outlines(masks: Tensor) -> tuple[Tensor, Tensor]:
    """The columns and the rows that bool masks ``(N, h, w)`` reach: bool ``(N, w)`` and ``(N, h)``."""
    return masks.any(1), masks.any(2)


def boxes(columns: np.ndarray, rows: np.ndarray) -> list[Place]:
    """The boxes that :func:`outlines` tell."""
    found = []
    for across, down in zip(columns, rows, strict=True):
        xs, ys = np.flatnonzero(across), np.flatnonzero(down)
        found.append(
            (float(xs[0]), float(ys[0]), float(xs[-1] + 1), float(ys[-1] + 1)) if len(xs) else (0.0,) * 4
        )
    return found


def looks(masks: Tensor, coarse: Tensor) -> Tensor:
    """The mean feature under each mask, as unit vectors ``(N, C)``.

    Args:
        masks: bool ``(N, h, w)``
        coarse: ``(1, C, g, g)``, the frame's features
    """
    weights = F.interpolate(masks[:, None].float(), coarse.shape[-2:], mode="area").flatten(1)
    features = coarse[0].float().flatten(1)
    features = features - features.mean(1, keepdim=True)  # what all of the frame shares tells nothing
    return F.normalize(weights @ features.T / weights.sum(1, keepdim=True).clamp(min=1e-6), dim=1)


def settle(known: Sequence[Whereabouts], step: int, side: int, pace: int = 1) -> tuple[int, int] | None:
    """Whether two masklets of a concept were taken for each other when they came back; by now they are seen whole.

    Args:
        known: of each masklet
        step: now
        side: of the masks, in cells
        pace: frames since the detector looked last

    Returns:
        the two that are better exchanged
    """
    best, pair = _SURE, None
    for m, one in enumerate(known):
        due = step - pace < one.returned + _SETTLED <= step
        if one.before is None or not due or one.steady != step:
            continue
        for o, other in enumerate(known):
            back = other.before is not None and other.steady == step and step - other.returned <= 2 * _SETTLED
            lost = other.steady < one.returned - pace and other.seen
            if o == m or not (lost or (back and other.returned > one.before.steady)):
                continue
            past = other if lost else other.before
            if past.steady >= one.returned - pace:
                continue
            gain = _fit(one.before, one, step, side) - _fit(past, one, step, side)
            if not lost:
                gain += _fit(past, other, step, side) - _fit(one.before, other, step, side)
            if gain > best:
                best, pair = gain, (m, o)
    return pair


def _fit(past: Whereabouts, now: Whereabouts, step: int, side: int) -> float:
    """What it costs to take what is seen now for what was known before."""
    place, gap = now.seen[-1][1], now.returned - past.steady
    way = min(past.off(step, place, side) / (1 + 0.05 * gap), _FAR)
    unlike = 1.0 if past.looks is None or now.looks is None else 1 - float(past.looks @ now.looks)
    return _WAY * way + _SIZE * past.larger(place, 1.0) + _LOOKS * unlike


def identify(
    iou: np.ndarray, where: Sequence[Place], side: int, features: Sequence[Tensor], known: Sequence[Whereabouts],
    step: int, least: float, pace: int = 1,
) -> tuple[dict[int, int], dict[int, int], list[int]]:
    """Whose the detections of one concept are.

    Args:
        iou: float32 ``(N, M)``, of the detections' masks, and those where the tracker takes its masklets to be
        where: the box of each detection
        side: of the masks, in cells
        features: of :func:`looks`, ``(C,)`` each, on the host
        known: of each masklet
        step: now
        least: mask IoU from which a detection is explained by a masklet
        pace: frames since the detector looked last

    Returns:
        masklet -> detection, where the tracker takes the masklet to be there, too; the same, where it does not; and the
        masklets that are elsewhere than the tracker takes them to be, because what it takes for them is another
    """
    gaps = [step - k.seen[-1][0] if k.seen else 0 for k in known]
    off = np.array([[k.off(step, place, side) if k.seen else np.inf for k in known] for place in where])
    # of what a person pointed at, and no detection ever confirmed, only the tracker knows
    near = (off <= _STEP + _PACE * np.array(gaps)) | np.array([not k.seen for k in known])
    steady = [m for m, k in enumerate(known) if k.steady >= step - pace or not k.seen]
    still = np.array([[box_iou(k.seen[-1][1], place) if k.seen else 0.0 for k in known] for place in where])
    kept = np.where(((iou >= least) | (still >= _STILL)) & near, -_KEEP * still - iou, np.inf)
    owners = _assign(kept, steady, range(len(iou)), _WORST)
    # what was seen once may have been a mistake
    lost = [m for m in range(len(known)) if m not in owners and len(known[m].seen) > 1]
    free = [n for n in range(len(iou)) if n not in owners.values()]
    cost = np.full(iou.shape, np.inf)
    for m in lost:
        for n in free:
            if near[n, m]:
                way = min(off[n, m] / (1 + 0.05 * gaps[m]), _FAR)
                unlike = 1 - float(features[n] @ known[m].looks)
                cost[n, m] = _WAY * way + _SIZE * known[m].larger(where[n]) + _LOOKS * unlike - _BELIEF * iou[n, m]
    found = _assign(cost, lost, free, _WORST)
    # the tracker may take two for each other while both are in sight
    elsewhere = {m: n for m, n in owners.items() if iou[n, m] < least or iou[:, m].argmax() != n}
    owners, found = {m: n for m, n in owners.items() if m not in elsewhere}, {**found, **elsewhere}
    taken = iou[list({**owners, **found}.values())] if owners or found else iou[:0]
    astray = [m for m in lost if m not in found and len(taken) and taken[:, m].max() >= least]
    return owners, found, astray


def leapt(where: Sequence[Place], known: Sequence[Whereabouts], step: int, side: int) -> list[int]:
    """The masklets that cannot be where the tracker takes them to be, in a frame without detections: what it takes for
    them is most likely another.

    Args:
        where: the box of each
        known: of each masklet
        step: now
        side: of the masks, in cells
    """
    return [
        m for m, (place, way) in enumerate(zip(where, known, strict=True))
        if way.seen and place[2] > place[0]
        and way.off(step, place, side) > _LEAP + _DRIFT * (step - way.seen[-1][0])
    ]


def _assign(cost: np.ndarray, columns: Sequence[int], rows: Sequence[int], worst: float) -> dict[int, int]:
    """Column -> row, the cheapest way to pair them, and nothing dearer than ``worst``."""
    columns, rows = list(columns), list(rows)
    if not columns or not rows:
        return {}
    part = np.minimum(cost[np.ix_(rows, columns)], 1e6)
    pairs = zip(*linear_sum_assignment(part), strict=True)
    return {columns[c]: rows[r] for r, c in pairs if part[r, c] < worst}
