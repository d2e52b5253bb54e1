"""Scenes: what stands where, and its picture with exact masks.

A :class:`Scene` is a description without a resolution: the same scene can be drawn large for a person and
small for a network. Everything is drawn from a seeded generator, so a seed is a scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .sprites import sprites
from .vocabulary import NOUNS, THINGS, TINTABLE, Thing, neighbours

#: canvases, width x height in pixels
SIZES = ((640, 640), (800, 640), (640, 800), (960, 640), (720, 960))
#: an object is a part of the scene only if at least this share of it is visible
MIN_VISIBLE = 0.4

_BY_NOUN = {noun: [t for t in THINGS if t.noun == noun] for noun in NOUNS}
_NOUN_DRAW = [noun for noun in NOUNS for _ in range(2 if noun in TINTABLE else 1)]


@dataclass(frozen=True)
class Placed:
    """One object: centre ``x, y`` and ``length`` of its longer side in canvas pixels, ``angle`` in degrees."""

    thing: Thing
    x: float
    y: float
    length: float
    angle: float
    flipped: bool
    gain: float


@dataclass(frozen=True)
class Scene:
    """Objects in the order they are drawn (later ones cover earlier ones) on a background."""

    width: int
    height: int
    seed: int
    background: str
    objects: tuple[Placed, ...]

    def instances(self, phrase: str) -> list[int]:
        """Indices of the objects that the concept ``phrase`` covers."""
        return [i for i, o in enumerate(self.objects) if o.thing.answers(phrase)]


def sample_scene(seed: int) -> Scene:
    """The scene of ``seed``: two to nine objects, look-alikes often among them, some partly hidden."""
    rng = np.random.default_rng([seed, 0x5CE7E])
    width, height = SIZES[rng.integers(len(SIZES))]
    pool = draw_pool(rng)
    unit = float(np.sqrt(width * height))
    placed: list[Placed] = []
    for _ in range(int(rng.integers(2, 10))):
        thing = pool[int(rng.integers(len(pool)))]
        length = unit * float(np.exp(rng.uniform(np.log(0.15), np.log(0.42))))
        spot = _free_spot(rng, placed, length, width, height)
        if spot is None:
            continue
        placed.append(
            Placed(
                thing, *spot, length, float(rng.normal(0, 10)), bool(rng.random() < 0.5), float(rng.uniform(0.85, 1.1))
            )
        )
    scene = Scene(width, height, seed, BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))], tuple(placed))
    return _without_hidden(scene)


def render(scene: Scene, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Draw ``scene``.

    Args:
        scene: the scene
        scale: pixels drawn per canvas pixel

    Returns:
        ``image`` uint8 ``(H, W, 3)`` RGB, and ``masks`` bool ``(N, H, W)``: the *visible* pixels of each object
    """
    canvas = backdrop(scene.background, scene.seed, round(scene.width * scale), round(scene.height * scale))
    masks = paint(canvas, scene.objects, scale)
    return with_grain(canvas, scene.seed), masks


def backdrop(kind: str, seed: int, width: int, height: int) -> np.ndarray:
    """An empty canvas, float32 ``(height, width, 3)``, RGB in about [0, 255]; ``kind``: of :data:`BACKGROUNDS`."""
    return _BACKGROUNDS[kind](np.random.default_rng([seed, 0xBAC6]), width, height)


def paint(canvas: np.ndarray, objects: Sequence[Placed], scale: float) -> np.ndarray:
    """Draw ``objects`` on ``canvas``, in place; returns bool ``(N, H, W)``, the *visible* pixels of each."""
    height, width = canvas.shape[:2]
    masks = np.zeros((len(objects), height, width), bool)
    for i, placed in enumerate(objects):
        patch, (y, x) = _draw(placed, scale, width, height)
        window = canvas[y : y + patch.shape[0], x : x + patch.shape[1]]
        h, w = window.shape[:2]  # nothing, where the object is beyond the canvas
        patch = patch[:h, :w]
        alpha = patch[..., 3:]
        window *= 1 - alpha
        window += patch[..., :3] * placed.gain
        solid = alpha[..., 0] > 0.5
        masks[:i, y : y + h, x : x + w] &= ~solid
        masks[i, y : y + h, x : x + w] = solid
    return masks


def with_grain(canvas: np.ndarray, seed: int) -> np.ndarray:
    """``canvas`` with a camera's noise, uint8."""
    noise = np.empty(canvas.shape, np.float32)
    cv2.setRNGSeed(seed & 0x7FFFFFFF)
    cv2.randn(noise, (0.0,) * 3, (2.5,) * 3)
    return np.clip(canvas + noise, 0, 255).astype(np.uint8)


def _any_thing(rng: np.random.Generator) -> Thing:
    """A noun, tintable ones twice as likely, then its colour: colours must not fill the world."""
    noun = _NOUN_DRAW[int(rng.integers(len(_NOUN_DRAW)))]
    kinds = _BY_NOUN[noun]
    return kinds[int(rng.integers(len(kinds)))]


def draw_pool(rng: np.random.Generator) -> list[Thing]:
    """What may stand in a scene: a focus, its look-alikes, its other colours, and a stranger or two."""
    focus = _any_thing(rng)
    pool = [focus] * int(rng.integers(1, 3))
    near = neighbours(focus.noun)
    same = [t for t in _BY_NOUN[focus.noun] if t != focus]
    if near and rng.random() < 0.7:
        kinds = _BY_NOUN[near[int(rng.integers(len(near)))]]
        pool.append(kinds[int(rng.integers(len(kinds)))])
    if same and rng.random() < 0.6:
        pool.append(same[int(rng.integers(len(same)))])
    pool += [_any_thing(rng) for _ in range(int(rng.integers(1, 4)))]
    return pool


def _free_spot(
    rng: np.random.Generator, placed: list[Placed], length: float, width: int, height: int
) -> tuple[float, float] | None:
    margin = 0.42 * length
    for _ in range(20):
        x = float(rng.uniform(margin, width - margin))
        y = float(rng.uniform(margin, height - margin))
        if all(np.hypot(x - o.x, y - o.y) > 0.36 * (length + o.length) for o in placed):
            return x, y
    return None


def _without_hidden(scene: Scene) -> Scene:
    """Drop objects that others hide too much of: a truth nobody can see is not a truth to learn from."""
    objects = list(scene.objects)
    scale = 160 / max(scene.width, scene.height)
    width, height = round(scene.width * scale), round(scene.height * scale)
    while True:
        cover = np.full((height, width), -1, np.int32)
        full = []
        for i, placed in enumerate(objects):
            patch, (y, x) = _draw(placed, scale, width, height)
            solid = patch[..., 3] > 0.5
            full.append(max(1, int(solid.sum())))
            cover[y : y + patch.shape[0], x : x + patch.shape[1]][solid] = i
        seen = np.bincount(cover[cover >= 0], minlength=len(objects)) / np.array(full or [1])[: len(objects)]
        hidden = [i for i in range(len(objects)) if seen[i] < MIN_VISIBLE]
        if not hidden:
            return Scene(scene.width, scene.height, scene.seed, scene.background, tuple(objects))
        del objects[hidden[0]]


def _draw(placed: Placed, scale: float, width: int, height: int) -> tuple[np.ndarray, tuple[int, int]]:
    """The object's premultiplied RGBA patch, clipped to the canvas, and the patch's top-left ``(y, x)``."""
    sprite = sprites()[placed.thing]
    level, zoom = sprite.level_for(placed.length * scale / max(sprite.size))
    lh, lw = level.shape[:2]
    zoom = placed.length * scale / max(lh, lw)
    turn = np.deg2rad(placed.angle)
    cos, sin = np.cos(turn) * zoom, np.sin(turn) * zoom
    forward = np.array([[cos, -sin], [sin, cos]])
    if placed.flipped:
        forward[:, 0] *= -1
    reach = np.abs(forward) @ np.array([lw, lh]) / 2 + 1
    cx, cy = placed.x * scale, placed.y * scale
    x0, y0 = max(0, int(np.floor(cx - reach[0]))), max(0, int(np.floor(cy - reach[1])))
    x1, y1 = min(width, int(np.ceil(cx + reach[0])) + 1), min(height, int(np.ceil(cy + reach[1])) + 1)
    # pixel centres: level pixel (u, v) has its centre at (u + 0.5, v + 0.5)
    offset = np.array([cx - x0 - 0.5, cy - y0 - 0.5]) - forward @ np.array([(lw - 1) / 2, (lh - 1) / 2])
    patch = cv2.warpAffine(
        level,
        np.column_stack([forward, offset]),
        (max(1, x1 - x0), max(1, y1 - y0)),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
    )
    return patch, (y0, x0)


# ---------------------------------------------------------------------------------------------- backgrounds


def _colour(rng: np.random.Generator) -> np.ndarray:
    """A soft colour, float32 RGB in [0, 255]."""
    hsv = np.array([[[rng.uniform(0, 360), rng.uniform(0.04, 0.5), rng.uniform(0.55, 0.98)]]], np.float32)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0] * 255


def _axes(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    x = (np.arange(width, dtype=np.float32) + 0.5) / width
    y = (np.arange(height, dtype=np.float32) + 0.5) / height
    return x[None, :, None], y[:, None, None]


def _gradient(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    x, y = _axes(width, height)
    a, b, angle = _colour(rng), _colour(rng), rng.uniform(0, 2 * np.pi)
    t = np.clip(0.5 + (x - 0.5) * np.float32(np.cos(angle)) + (y - 0.5) * np.float32(np.sin(angle)), 0, 1)
    return (a * (1 - t) + b * t).astype(np.float32)


def _blobs(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    cells = int(rng.integers(3, 9))
    noise = rng.normal(0, rng.uniform(8, 26), (cells, cells, 3)).astype(np.float32)
    return _gradient(rng, width, height) + cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def _stripes(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    x, y = _axes(width, height)
    a, angle, count = _colour(rng), rng.uniform(0, np.pi), rng.uniform(4, 12)
    wave = np.sin(2 * np.pi * count * (x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))))
    return (a + rng.uniform(6, 20) * np.clip(wave * 6, -1, 1)).astype(np.float32)


def _tiles(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    x, y = _axes(width, height)
    a, count = _colour(rng), int(rng.integers(4, 10))
    checker = (np.floor(x * count) + np.floor(y * count)) % 2 * 2 - 1
    return (a + rng.uniform(5, 18) * checker).astype(np.float32) + np.zeros((height, width, 1), np.float32)


def _dots(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    x, y = _axes(width, height)
    a, b, count = _colour(rng), _colour(rng), rng.uniform(5, 11)
    near = ((x * count) % 1 - 0.5) ** 2 + ((y * count * height / width) % 1 - 0.5) ** 2
    t = np.clip((0.06 - near) * 60, 0, 1) * 0.5
    return (a * (1 - t) + b * t).astype(np.float32)


def _hills(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    x, y = _axes(width, height)
    sky, land, phase = _colour(rng), _colour(rng), rng.uniform(0, 6)
    canvas = (sky + (1 - y) * rng.uniform(-25, 25) + x * 0).astype(np.float32)
    for k in range(int(rng.integers(1, 4))):
        edge = 0.45 + 0.18 * k + 0.07 * np.sin(x * rng.uniform(3, 9) + phase + k)
        t = np.clip((y - edge) * height / 2, 0, 1)
        canvas = canvas * (1 - t) + (land * (1 - 0.13 * k)) * t
    return canvas.astype(np.float32)


_BACKGROUNDS = {
    "gradient": _gradient,
    "blobs": _blobs,
    "stripes": _stripes,
    "tiles": _tiles,
    "dots": _dots,
    "hills": _hills,
}
BACKGROUNDS = tuple(_BACKGROUNDS)
