"""Brushes: colour and text on a canvas, which is uint8 ``(H, W, 3)``, RGB, and changes in place."""

from __future__ import annotations

import functools
import importlib.util
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .colours import Colour
from .style import OverlayStyle

INK, PAPER = (16, 18, 24), (255, 255, 255)
#: characters of a text
_LONGEST = 60


def blend(canvas: np.ndarray, corner: tuple[int, int], weight: np.ndarray, colour: Colour) -> None:
    """Lay ``colour`` over ``canvas`` from ``corner`` ``(x, y)`` on; ``weight`` is float32 ``(h, w)`` in [0, 1].

    What lies outside the canvas is left out.
    """
    x, y = corner
    part = canvas[max(y, 0) : max(y + weight.shape[0], 0), max(x, 0) : max(x + weight.shape[1], 0)]
    if not part.size:
        return
    dy, dx = max(-y, 0), max(-x, 0)
    weight = weight[dy : dy + part.shape[0], dx : dx + part.shape[1]]
    channels = []
    for under, value in zip(cv2.split(part), colour, strict=True):  # planes: several times as fast as (h, w, 3)
        change = np.subtract(np.float32(value), under, dtype=np.float32)
        change *= weight
        change += under
        channels.append(cv2.convertScaleAbs(change))
    part[:] = cv2.merge(channels)


def text_size(size: tuple[int, int], style: OverlayStyle) -> int:
    """Height of a name's letters on an image of ``(height, width)``."""
    return style.text_size or max(10, round(min(size) / 36))


@functools.lru_cache(maxsize=64)
def _font(path: str | None, size: int) -> Any:
    """A bold sans serif. Matplotlib, which FiftyOne needs, brings one that knows more scripts than Pillow's own."""
    if path is None:
        spec = importlib.util.find_spec("matplotlib")
        bundled = Path(spec.origin).parent / "mpl-data/fonts/ttf/DejaVuSans-Bold.ttf" if spec and spec.origin else None
        if bundled is None or not bundled.is_file():
            return ImageFont.load_default(size)
        path = str(bundled)
    return ImageFont.truetype(path, size)


@functools.lru_cache(maxsize=1024)
def letters_of(text: str, size: int, font: str | None) -> tuple[np.ndarray, np.ndarray]:
    """``(halo, fill)`` of a text, float32 ``(h, w)`` in [0, 1]; all texts of a size are equally high."""
    face, margin = _font(font, size), max(2, round(size / 7))
    text = " ".join(text.split())  # line by line, a name would not fit where a name goes
    text = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    ascent, descent = face.getmetrics()
    box = (math.ceil(face.getlength(text)) + 2 * margin, ascent + descent + 2 * margin)
    layers = []
    for stroke in (margin - 1, 0):
        layer = Image.new("L", box)
        draw = ImageDraw.Draw(layer)
        draw.text((margin, margin), text, font=face, fill=255, stroke_width=stroke, stroke_fill=255)
        layers.append(np.asarray(layer, np.float32) / 255)
    return cv2.GaussianBlur(layers[0], (3, 3), 0.8) * np.float32(0.8), layers[1]


def write(canvas: np.ndarray, corner: tuple[int, int], letters: tuple[np.ndarray, np.ndarray], colour: Colour) -> None:
    """Put :func:`letters_of` a text at ``corner`` ``(x, y)``, dark around and ``colour`` inside."""
    halo, fill = letters
    blend(canvas, corner, halo, INK)
    blend(canvas, corner, fill, colour)
