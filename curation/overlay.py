"""One frame with its instances drawn on it: soft masks, names, and a strip of presence. Arrays in, arrays out.

1. Masks are blurred and blended, each inside its own box: the cost follows the instances, not the image.
2. Names come after all masks, so that none is covered.
3. The strip comes last, one bar a concept, at the bottom.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from .brush import blend, letters_of, text_size, write
from .colours import colour_of
from .strip import draw_strip, presence_bars, strip_top
from .style import DEFAULT_STYLE, OverlayStyle

_OUTLINE_OPACITY = 0.95
#: a mask's 0 to 255 as 0 to 1
_LEVELS = (np.arange(256) / 255).astype(np.float32)


def draw_overlay(
    image: np.ndarray,
    detections: Iterable[Any],
    presence: Mapping[str, float | None] | None = None,
    style: OverlayStyle = DEFAULT_STYLE,
) -> np.ndarray:
    """``image`` with its instances, and the presence of its concepts, drawn on it.

    A detection without a mask is outlined by its box; one whose mask has no pixel is not drawn.

    Args:
        image: uint8 ``(H, W, 3)``, RGB; stays as it is
        detections: ``fo.Detection`` or alike: ``label``, relative ``bounding_box``, ``confidence``, ``index``, and a
            ``mask`` ``(h, w)`` that fills the box (stretched if its size is another), or a ``mask_path``
        presence: concept -> presence in [0, 1], ``None`` if it was not asked here; in the order of the strip
        style: how it looks

    Returns:
        uint8 ``(H, W, 3)``, RGB

    Raises:
        ValueError: the image or a mask has another shape
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"image must be uint8 (H, W, 3), got {image.dtype} {image.shape}")
    canvas = image.copy()
    height, width = image.shape[:2]
    instances = [
        _Instance(d, canvas.shape) for d in detections if style.wants(d.label, d.confidence) and d.bounding_box
    ]
    instances = [i for i in instances if i.drawable]
    # what is inside something else goes on top of it; sizes change less from frame to frame than confidences do
    for instance in sorted(instances, key=lambda i: (-i.area, i.name)):
        _draw_mask(canvas, instance, style)
    bars = ()
    if style.presence and presence is not None:
        bars = presence_bars((height, width), [c for c in presence if style.wants(c)], style)
    floor = strip_top(bars, height)
    if style.labels:
        for instance in instances:
            _draw_name(canvas, instance, floor, style)
    if bars:
        draw_strip(canvas, bars, presence or {}, floor, style)
    return canvas


class _Instance:
    """A detection in pixels: ``box`` is ``(x0, y0, x1, y1)``; ``mask``, uint8 0 or 255, fills it, or is ``None``."""

    def __init__(self, detection: Any, shape: Sequence[int]) -> None:
        height, width = shape[:2]
        x, y, across, down = detection.bounding_box
        x0, y0 = round(x * width), round(y * height)
        x1, y1 = max(round((x + across) * width), x0 + 1), max(round((y + down) * height), y0 + 1)
        self.box = (x0, y0, x1, y1)
        self.area = (x1 - x0) * (y1 - y0)
        self.mask = _mask_of(detection, (y1 - y0, x1 - x0))
        self.drawable = (self.mask is None or self.mask.any()) and x0 < width and y0 < height and x1 > 0 and y1 > 0
        label, index = detection.label or "", detection.index
        self.name = label if index is None else f"{label} {index}".strip()
        self.colour = colour_of(label, index)


def _mask_of(detection: Any, size: tuple[int, int]) -> np.ndarray | None:
    mask = detection.mask
    if mask is None and getattr(detection, "mask_path", None):
        mask = detection.get_mask()
    if mask is None:
        return None
    if mask.ndim != 2 or not mask.size:
        raise ValueError(f"a mask of {detection.label!r} must be (h, w), got {mask.shape}")
    mask = mask.astype(bool).view(np.uint8) * np.uint8(255)
    return mask if mask.shape == size else cv2.resize(mask, size[::-1], interpolation=cv2.INTER_LINEAR)


def _draw_mask(canvas: np.ndarray, instance: _Instance, style: OverlayStyle) -> None:
    """Blend one instance into ``canvas``: its inside, and its line where that is the stronger of the two."""
    height, width = canvas.shape[:2]
    x0, y0, x1, y1 = instance.box
    pad = math.ceil(3 * style.softness) + math.ceil(style.outline) + 2
    left, top, right, bottom = max(x0 - pad, 0), max(y0 - pad, 0), min(x1 + pad, width), min(y1 + pad, height)
    inside = np.zeros((bottom - top, right - left), np.uint8)
    part = inside[max(y0 - top, 0) : y1 - top, max(x0 - left, 0) : x1 - left]
    if instance.mask is None:
        part[:] = 255
    else:
        dy, dx = max(top - y0, 0), max(left - x0, 0)
        part[:] = instance.mask[dy : dy + part.shape[0], dx : dx + part.shape[1]]
    # an object that leaves the image goes on beyond it: no soft edge there, and no line
    blur = functools.partial(cv2.GaussianBlur, borderType=cv2.BORDER_REPLICATE)
    weight = np.zeros(inside.shape, np.float32)
    if instance.mask is not None:
        reach = 2 * math.ceil(3 * style.softness) + 1
        soft = blur(inside, (reach, reach), style.softness) if style.softness else inside
        weight = cv2.LUT(soft, _LEVELS * np.float32(style.alpha))
    line_width = style.outline if instance.mask is not None else max(style.outline, 1.0)
    if line_width:
        reach = max(round(line_width), 1) + 1
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
        line = blur(cv2.morphologyEx(inside, cv2.MORPH_GRADIENT, kernel), (3, 3), 0.7)
        weight = cv2.max(weight, cv2.LUT(line, _LEVELS * np.float32(_OUTLINE_OPACITY)))
    blend(canvas, (left, top), weight, instance.colour)


def _draw_name(canvas: np.ndarray, instance: _Instance, floor: int, style: OverlayStyle) -> None:
    """Above the middle of the mask, moved as little as it takes to stay in the image and off the strip."""
    if not instance.name:
        return
    letters = letters_of(instance.name, text_size(canvas.shape[:2], style), style.font)
    height, width = letters[0].shape
    x0, y0, x1, _ = instance.box
    x = max(min((x0 + x1 - width) // 2, canvas.shape[1] - width), 0)
    y = max(min(y0 - height, floor - height), 0)
    tint = tuple((value + 3 * 255) // 4 for value in instance.colour)
    write(canvas, (x, y), letters, tint)
