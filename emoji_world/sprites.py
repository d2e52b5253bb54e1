"""Sprites: one RGBA picture per thing, packed in one atlas that ships with the repository.

The atlas is drawn from Noto Color Emoji (SIL Open Font License 1.1, see ``sprites/NOTICE.md``) by
``python -m emoji_world.sprites``, once; drawing scenes needs neither the font nor Pillow's text engine.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from .vocabulary import COLOURS, NOUNS, THINGS, TINTABLE, Thing

FOLDER = Path(__file__).parent / "sprites"
_CELL = 136
_COLUMNS = 10


@dataclass(frozen=True)
class Sprite:
    """A thing's picture at halving sizes.

    ``levels[k]`` is float32 ``(h, w, 4)``: RGB in [0, 255] multiplied by alpha, and alpha in [0, 1].
    Premultiplied, because scaling and rotating straight colours drags in the colour of transparent pixels.
    """

    levels: tuple[np.ndarray, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the largest level, in pixels."""
        return self.levels[0].shape[:2]

    def level_for(self, scale: float) -> tuple[np.ndarray, float]:
        """The level to draw from at ``scale`` (drawn pixels per sprite pixel), and the scale left to apply."""
        k = 0
        while scale < 0.6 and k + 1 < len(self.levels):
            scale, k = scale * 2, k + 1
        return self.levels[k], scale


@lru_cache(maxsize=1)
def sprites() -> dict[Thing, Sprite]:
    """Every thing's sprite."""
    atlas = cv2.cvtColor(cv2.imread(str(FOLDER / "atlas.png"), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA)
    places: dict[str, list[int]] = json.loads((FOLDER / "atlas.json").read_text())
    made: dict[Thing, Sprite] = {}
    for thing in THINGS:
        x, y, w, h = places[thing.noun]
        picture = atlas[y : y + h, x : x + w]
        made[thing] = _sprite(tint(picture, COLOURS[thing.colour]) if thing.colour else picture)
    return made


def tint(rgba: np.ndarray, paint: tuple[float, float]) -> np.ndarray:
    """``rgba`` uint8 ``(h, w, 4)`` with its coloured pixels turned to ``paint`` (hue in degrees, brightness
    factor); greys stay grey.
    """
    hue, brightness = paint
    rgb = rgba[..., :3].astype(np.float32) / 255
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)
    coloured = np.clip((hsv[..., 1] - 0.25) / 0.2, 0, 1)[..., None]
    hsv[..., 0] = hue
    hsv[..., 1] = np.clip(hsv[..., 1], 0.72, 1.0)
    hsv[..., 2] = np.clip(hsv[..., 2] * brightness, 0.0, 1.0)
    painted = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    out = rgba.copy()
    out[..., :3] = np.clip((painted * coloured + rgb * (1 - coloured)) * 255, 0, 255)
    return out


def _sprite(rgba: np.ndarray) -> Sprite:
    full = rgba.astype(np.float32)
    full[..., 3] /= 255
    full[..., :3] *= full[..., 3:]
    levels = [full]
    while min(levels[-1].shape[:2]) > 24:
        h, w = levels[-1].shape[:2]
        levels.append(cv2.resize(levels[-1], (max(1, w // 2), max(1, h // 2)), interpolation=cv2.INTER_AREA))
    return Sprite(tuple(levels))


def draw_atlas(font_file: str, folder: Path = FOLDER) -> None:
    """Draw every noun's emoji with ``font_file`` and write ``atlas.png`` and ``atlas.json`` to ``folder``."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.truetype(font_file, 109)  # the only size of the font's bitmaps
    rows = -(-len(NOUNS) // _COLUMNS)
    atlas = np.zeros((rows * _CELL, _COLUMNS * _CELL, 4), np.uint8)
    places = {}
    for k, (noun, glyph) in enumerate(NOUNS.items()):
        canvas = Image.new("RGBA", (200, 200), (0, 0, 0, 0))
        ImageDraw.Draw(canvas).text((20, 20), glyph, font=font, embedded_color=True)
        drawn = np.array(canvas)
        rows_used, columns_used = np.where(drawn[..., 3] > 8)
        if not rows_used.size:
            raise ValueError(f"{font_file} has no colour glyph for {noun!r}")
        drawn = drawn[rows_used.min() : rows_used.max() + 1, columns_used.min() : columns_used.max() + 1]
        h, w = drawn.shape[:2]
        if max(h, w) > _CELL:
            raise ValueError(f"The glyph of {noun!r} is {w}x{h} pixels; the atlas has cells of {_CELL}")
        y, x = (k // _COLUMNS) * _CELL, (k % _COLUMNS) * _CELL
        atlas[y : y + h, x : x + w] = drawn
        places[noun] = [x, y, w, h]
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(atlas).save(folder / "atlas.png", optimize=True)
    (folder / "atlas.json").write_text(json.dumps(places, indent=1))


def main() -> None:
    """Draw the atlas."""
    import argparse

    parser = argparse.ArgumentParser(description=draw_atlas.__doc__)
    parser.add_argument("--font", default="/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
    draw_atlas(parser.parse_args().font)
    print(f"{len(NOUNS)} nouns, {len(TINTABLE)} of them in {len(COLOURS)} colours -> {FOLDER}")


if __name__ == "__main__":
    main()
