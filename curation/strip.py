"""The strip of presence at the bottom of a frame: one bar a concept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from .brush import INK, PAPER, blend, letters_of, text_size, write
from .style import DEFAULT_STYLE, OverlayStyle


class Bar(NamedTuple):
    """Where a concept's presence is drawn, in pixels: 1 fills ``width``; left of ``x``, ``room`` wide, is the name."""

    name: str
    x: int
    y: int
    width: int
    height: int
    room: int


def presence_bars(size: tuple[int, int], names: Sequence[str], style: OverlayStyle = DEFAULT_STYLE) -> tuple[Bar, ...]:
    """The bars of the strip, row by row from the left. They fill at most a third of the image.

    Args:
        size: ``(height, width)`` of the image
        names: concepts; those that do not fit are left out
        style: its text size counts
    """
    height, width = size
    text = _strip_text(size, style)
    row, gap = text * 17 // 10, text
    wide = {name: letters_of(name, text, style.font)[0].shape[1] for name in names}
    number = letters_of("0.00", text, style.font)[0].shape[1]
    room = min(max(wide.values(), default=0) + text // 2, 14 * text)
    columns = max(1, min(len(names), width // (gap + room + 9 * text + number)))
    cell = (width - gap) // columns
    room = min(room, cell // 2)
    rows = max(1, (height // 3 - text) // row)
    shown = list(names)[: rows * columns]
    length, thick = max(cell - gap - room - number - text // 2, 1), max(2, text * 2 // 5)
    top = height - math.ceil(len(shown) / columns) * row - text // 2
    return tuple(
        Bar(name, gap + k % columns * cell + room, top + k // columns * row + (row - thick) // 2, length, thick, room)
        for k, name in enumerate(shown)
    )


def _strip_text(size: tuple[int, int], style: OverlayStyle) -> int:
    return max(8, text_size(size, style) * 3 // 4)


def strip_top(bars: Sequence[Bar], height: int) -> int:
    """First row of pixels that the strip covers: all of the image above it is free for names."""
    return max(bars[0].y - 3 * bars[0].height, 0) if bars else height


def draw_strip(
    canvas: np.ndarray, bars: Sequence[Bar], presence: Mapping[str, float | None], top: int, style: OverlayStyle
) -> None:
    """Draw ``bars``, of :func:`presence_bars`, and a ground for them from the row ``top`` (:func:`strip_top`) on."""
    height, width = canvas.shape[:2]
    text = _strip_text((height, width), style)
    blend(canvas, (0, top), np.full((height - top, width), 0.62, np.float32), INK)
    for bar in bars:
        value = presence.get(bar.name)
        blend(canvas, (bar.x, bar.y), np.full((bar.height, bar.width), 0.22, np.float32), PAPER)
        if value is not None and not math.isnan(value):
            length = round(min(max(value, 0.0), 1.0) * bar.width)
            canvas[bar.y : bar.y + bar.height, bar.x : bar.x + length] = PAPER
        name = _fitted(bar.name, bar.room - text // 4, text, style.font)
        number = letters_of("–" if value is None or math.isnan(value) else f"{value:.2f}", text, style.font)
        y = bar.y + (bar.height - name[0].shape[0]) // 2
        write(canvas, (bar.x - bar.room, y), name, PAPER)
        write(canvas, (bar.x + bar.width + text // 4, y), number, PAPER)


def _fitted(text: str, room: int, size: int, font: str | None) -> tuple[np.ndarray, np.ndarray]:
    """The letters of as much of ``text`` as ``room`` pixels hold."""
    letters, kept = letters_of(text, size, font), text
    while letters[0].shape[1] > room and len(kept) > 1:
        kept = kept[:-1]
        letters = letters_of(f"{kept.rstrip()}…", size, font)
    return letters
