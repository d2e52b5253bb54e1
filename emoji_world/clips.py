"""Clips: objects that move, hide and come back, and their pictures with exact masks and identities.

A :class:`Clip` is to a video what a :class:`~emoji_world.scenes.Scene` is to an image: a description without a
resolution, and a seed is a clip. What makes tracking hard is in most of them: look-alikes of one concept that cross
each other, look-alikes of a neighbouring concept, walls to pass behind, leaving the picture and coming back, and
coming late.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .scenes import BACKGROUNDS, SIZES, Placed, Scene, backdrop, draw_pool, paint, with_grain
from .vocabulary import Thing

#: an object is a part of a frame's truth only if at least this share of it is visible
SEEN = 0.15
#: frames of a clip, unless told otherwise
FRAMES = 48
#: paths to choose from: objects may cross, and hide behind each other, but not all the time
_TRIES = 8


@dataclass(frozen=True, eq=False)
class Actor:
    """One object through a clip; its place in :attr:`Clip.actors` is its identity.

    ``path``: float ``(T, 2)``, centre ``x, y`` in canvas pixels per frame; ``lengths``: float ``(T,)``, of its longer
    side; ``angle`` in degrees.
    """

    thing: Thing
    path: np.ndarray
    lengths: np.ndarray
    angle: float
    flipped: bool
    gain: float

    def at(self, frame: int) -> Placed:
        x, y = self.path[frame]
        length = float(self.lengths[frame])
        return Placed(self.thing, float(x), float(y), length, self.angle, self.flipped, self.gain)


@dataclass(frozen=True)
class Wall:
    """Something plain that stands in front of everything: ``(x0, y0, x1, y1)`` in canvas pixels, and its RGB."""

    box: tuple[float, float, float, float]
    colour: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Clip:
    """Actors in the order they are drawn (later ones cover earlier ones), and walls before them all."""

    width: int
    height: int
    seed: int
    frames: int
    background: str
    actors: tuple[Actor, ...]
    walls: tuple[Wall, ...]

    def instances(self, phrase: str) -> list[int]:
        """Identities of the actors that the concept ``phrase`` covers."""
        return [i for i, a in enumerate(self.actors) if a.thing.answers(phrase)]

    def scene(self, frame: int = 0) -> Scene:
        """The actors of one frame as a scene, hidden or not."""
        placed = tuple(actor.at(frame) for actor in self.actors)
        return Scene(self.width, self.height, self.seed, self.background, placed)

    def play(self, scale: float = 1.0, frames: range | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Draw frame after frame.

        Args:
            scale: pixels drawn per canvas pixel
            frames: which, counted from 0; all of them if left out

        Yields:
            ``image`` uint8 ``(H, W, 3)`` RGB, and ``masks`` bool ``(N, H, W)``: the *visible* pixels of each actor
        """
        width, height = round(self.width * scale), round(self.height * scale)
        empty = backdrop(self.background, self.seed, width, height)
        for t in range(self.frames) if frames is None else frames:
            canvas = empty.copy()
            masks = paint(canvas, [actor.at(t) for actor in self.actors], scale)
            for wall in self.walls:
                x0, y0, x1, y1 = (max(0, round(v * scale)) for v in wall.box)
                canvas[y0:y1, x0:x1] = wall.colour
                masks[:, y0:y1, x0:x1] = False
            yield with_grain(canvas, self.seed * 1009 + t), masks

    def areas(self, scale: float) -> np.ndarray:
        """Pixels of each actor in each frame if nothing hid it and the picture had no border: float ``(N, T)``."""
        areas = np.zeros((len(self.actors), self.frames))
        for i, actor in enumerate(self.actors):
            length = float(actor.lengths[0])
            side = int(2.2 * length * scale) + 4
            alone = actor.at(0)
            middle = Placed(
                alone.thing, side / scale / 2, side / scale / 2, length, alone.angle, alone.flipped, alone.gain
            )
            solid = paint(np.zeros((side, side, 3), np.float32), [middle], scale).sum()
            areas[i] = np.maximum(1, solid * (actor.lengths / length) ** 2)
        return areas


def visible_shares(clip: Clip, scale: float = 0.25) -> np.ndarray:
    """How much of each actor shows in each frame: float ``(N, T)`` in [0, 1]."""
    seen = np.stack([masks.sum((1, 2)) for _, masks in clip.play(scale)], 1)
    return np.minimum(1.0, seen / clip.areas(scale))


def has_occlusion(shares: np.ndarray, least: int = 3) -> np.ndarray:
    """Which actors vanish for ``least`` frames or more and come back: bool ``(N,)``, from :func:`visible_shares`."""
    gone = np.zeros(len(shares), bool)
    for i, share in enumerate(shares):
        there = np.flatnonzero(share >= 0.5)
        if there.size:
            between = share[there[0] : there[-1] + 1] < SEEN
            runs = np.diff(np.flatnonzero(np.diff(np.r_[0, between.astype(np.int8), 0])))[::2]
            gone[i] = bool((runs >= least).any())
    return gone


def sample_clip(seed: int, frames: int = FRAMES) -> Clip:
    """The clip of ``seed``: two to five actors, most of them with a look-alike, most of them up to something."""
    rng = np.random.default_rng([seed, 0xC11B])
    width, height = SIZES[rng.integers(len(SIZES))]
    unit = float(np.sqrt(width * height))
    stage = _Stage(rng, width, height, unit, frames)
    pool = draw_pool(rng)
    focus = pool[0]
    cast: list[Thing] = [focus, focus if rng.random() < 0.6 else pool[int(rng.integers(len(pool)))]]
    cast += [pool[int(rng.integers(len(pool)))] for _ in range(int(rng.integers(0, 3)))]
    walls: list[Wall] = []
    paths: list[np.ndarray] = []
    lengths = [unit * float(np.exp(rng.uniform(np.log(0.17), np.log(0.36)))) for _ in cast]
    if rng.random() < 0.5:
        walls.append(stage.wall(max(lengths[:2])))
    if rng.random() < 0.4:
        paths += stage.crossing(lengths[0], lengths[1])
    while len(paths) < len(cast):
        length, others = lengths[len(paths)], list(zip(paths, lengths, strict=False))
        hides = bool(walls) and len(paths) < 2
        plot = (stage.drift, stage.leave, stage.late)[int(rng.choice(3, p=[0.45, 0.3, 0.25]))]
        tries = [stage.behind(length, walls[0]) if hides else plot(length) for _ in range(_TRIES)]
        paths.append(min(tries, key=lambda path: round(_crowded(path, length, others), 1)))  # noqa: B023
    actors = []
    for thing, path, length in zip(cast, paths, lengths, strict=True):
        growth = np.linspace(1.0, float(rng.uniform(0.8, 1.25)), frames)
        angle, flipped, gain = float(rng.normal(0, 8)), bool(rng.random() < 0.5), float(rng.uniform(0.85, 1.1))
        actors.append(Actor(thing, path, length * growth, angle, flipped, gain))
    order = rng.permutation(len(actors))
    background = BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))]
    return Clip(width, height, seed, frames, background, tuple(actors[int(k)] for k in order), tuple(walls))


def _crowded(path: np.ndarray, length: float, others: list[tuple[np.ndarray, float]]) -> float:
    """In what share of the frames an object on ``path`` stands in another's place."""
    near = [np.hypot(*(path - other).T) < 0.42 * (length + size) for other, size in others]
    return float(np.mean(np.any(near, axis=0))) if near else 0.0


@dataclass(frozen=True)
class _Stage:
    """Where actors move, and how: every method returns one path ``(T, 2)``, or several."""

    rng: np.random.Generator
    width: int
    height: int
    unit: float
    frames: int

    def _inside(self, length: float) -> np.ndarray:
        margin = 0.5 * length
        size = np.array([self.width, self.height])
        return self.rng.uniform(np.minimum(margin, 0.4 * size), np.maximum(size - margin, 0.6 * size))

    def _through(self, keys: list[tuple[float, np.ndarray]]) -> np.ndarray:
        """A smooth path through points at given times, in frames; at rest before the first and after the last."""
        times = np.array([t for t, _ in keys])
        points = np.stack([p for _, p in keys])
        t = np.arange(self.frames)
        path = np.stack([np.interp(t, times, points[:, d]) for d in (0, 1)], 1)
        sway = self.unit * self.rng.uniform(0, 0.012, 2) * np.sin(
            t[:, None] * self.rng.uniform(0.1, 0.35, 2) + self.rng.uniform(0, 6, 2)
        )
        return path + sway

    def drift(self, length: float) -> np.ndarray:
        """On and on, turning back at the border."""
        start, angle = self._inside(length), self.rng.uniform(0, 2 * np.pi)
        speed = self.unit * self.rng.uniform(0.002, 0.02)
        path = start + np.arange(self.frames)[:, None] * speed * np.array([np.cos(angle), np.sin(angle)])
        low = 0.35 * length
        high = np.maximum(np.array([self.width, self.height]) - low, low + 1)
        folded = np.mod(path - low, 2 * (high - low))
        return low + np.where(folded > high - low, 2 * (high - low) - folded, folded)

    def _outside(self, near: np.ndarray, length: float) -> np.ndarray:
        """The closest point from which an object of ``length`` cannot be seen."""
        room = np.array([near[0], self.width - near[0], near[1], self.height - near[1]])
        side = int(room.argmin())
        beyond = near.copy()
        beyond[side // 2] = (-0.8 * length, [self.width, self.height][side // 2] + 0.8 * length)[side % 2]
        return beyond

    def leave(self, length: float) -> np.ndarray:
        """Out of the picture, and back some frames later."""
        a, b, c = self._inside(length), self._inside(length), self._inside(length)
        out = self._outside(b, length)
        back = out + (self._outside(c, length) - out) * float(self.rng.random() < 0.5)
        gone = self.rng.uniform(0.35, 0.5) * self.frames
        away = self.rng.uniform(3, 9)
        keys = [(0.0, a), (gone * 0.6, b), (gone, out), (gone + away, back), (gone + away + 0.2 * self.frames, c)]
        return self._through([*keys, (float(self.frames), self._inside(length))])

    def late(self, length: float) -> np.ndarray:
        """Not there at first."""
        first = self._inside(length)
        enter = self.rng.uniform(0.2, 0.55) * self.frames
        out = self._outside(first, length)
        last = (float(self.frames), self._inside(length))
        return self._through([(0.0, out), (enter, out), (enter + 0.2 * self.frames, first), last])

    def crossing(self, first: float, second: float) -> list[np.ndarray]:
        """Two that change sides, one before the other."""
        across = self.rng.uniform(0.12, 0.25, 2)
        y = self.rng.uniform(0.3, 0.7) * self.height
        apart = self.rng.uniform(-0.35, 0.35) * min(first, second)
        start = self.rng.uniform(0.05, 0.2) * self.frames
        stop = self.rng.uniform(0.75, 0.95) * self.frames
        west, east = across[0] * self.width, (1 - across[1]) * self.width
        a = [(start, np.array([west, y])), (stop, np.array([east, y + apart]))]
        b = [(start, np.array([east, y + apart])), (stop, np.array([west, y]))]
        return [self._through(a), self._through(b)]

    def wall(self, length: float) -> Wall:
        """Wide enough to hide an object of ``length`` for a while."""
        half = 0.5 * length * self.rng.uniform(0.75, 1.15)
        x = self.rng.uniform(0.4, 0.6) * self.width
        y0, y1 = (0.0, float(self.height)) if self.rng.random() < 0.5 else (0.15 * self.height, 0.85 * self.height)
        grey = float(self.rng.uniform(40, 200))
        colour = tuple(float(grey + v) for v in self.rng.uniform(-30, 30, 3))
        return Wall((float(x - half), y0, float(x + half), y1), colour)

    def behind(self, length: float, wall: Wall) -> np.ndarray:
        """From one side of ``wall`` to the other, and perhaps back."""
        x0, y0, x1, y1 = wall.box
        y = self.rng.uniform(y0 + 0.4 * (y1 - y0), y0 + 0.6 * (y1 - y0))
        west, east = max(0.3 * length, x0 - 0.7 * length), min(self.width - 0.3 * length, x1 + 0.7 * length)
        ends = [np.array([west, y]), np.array([east, y])][:: 1 if self.rng.random() < 0.5 else -1]
        first, second = self.rng.uniform(0.1, 0.25) * self.frames, self.rng.uniform(0.45, 0.6) * self.frames
        keys = [(first, ends[0]), (second, ends[1])]
        if self.rng.random() < 0.5:
            keys += [(second + 0.08 * self.frames, ends[1]), (0.98 * self.frames, ends[0])]
        return self._through(keys)
