"""The picture that goes with a question: the mask outlined in its surroundings, or all instances in the image."""

from __future__ import annotations

import io
from typing import Any

import cv2
import fiftyone as fo
import numpy as np
from PIL import Image

from ..brush import blend
from ..colours import Colour
from ..errors import CurationError
from ..overlay import draw_overlay
from ..style import OverlayStyle
from ..verified import ATTRIBUTE
from .additions import candidates_of
from .items import EXHAUSTIVITY, Item
from .verdicts import ItemGone

if __package__ == "curation.review":
    from zoo.engine.errors import ImageError
    from zoo.engine.images import read_image
else:
    from ...zoo.engine.errors import ImageError
    from ...zoo.engine.images import read_image

#: of a mask's box, how much more is shown around it
CONTEXT = 0.6
#: pixels that a crop has at least, of the image
_LEAST = 48
#: of candidates; no other line is white
WHITE: Colour = (255, 255, 255)
#: of labels: seen on a red cap as on a white mouse
_LIGHT: Colour = (255, 221, 0)
_DARK: Colour = (16, 18, 24)


def picture(
    dataset: fo.Dataset, item: Item, size: int = 512, *, overlay: bool = True, context: float | None = CONTEXT
) -> Image.Image:
    """What the reviewer looks at.

    Args:
        dataset: the dataset of the review.
        item: the question. Of a mask: a crop around it, its mask outlined. Of exhaustivity: the image, with all labels
            of the concept that were not rejected outlined, and what an exhaustivity check found beside them dashed.
        size: of the longer side, in pixels.
        overlay: draw the outlines.
        context: how much of the surroundings of a mask to show, relative to its box; None: the whole image.

    Raises:
        ItemGone: the sample or label was deleted.
        CurationError: the image cannot be read, or a size that makes no sense.
    """
    dataset = dataset._root_dataset
    if isinstance(size, bool) or not isinstance(size, int) or not 16 <= size <= 8192:
        raise CurationError(f"size={size!r} must be a whole number of 16 to 8192 pixels")
    path, labels = _read(dataset, item)
    try:
        image = read_image(path)
    except ImageError as error:
        raise CurationError(str(error)) from None
    if item.task == EXHAUSTIVITY:
        shown = [one for one in labels if item.means(one.label) and not _rejected(one)]
        dashed = candidates_of(dataset, item) if overlay else []
        part = (0, 0, image.shape[1], image.shape[0])
    else:
        shown, dashed = [one for one in labels if one.id == item.label_id], []
        if not shown:
            raise ItemGone(f"The label of this question ({item.concept!r}) was deleted: go on with the next one")
        part = _around(shown[0].bounding_box, image.shape[:2], context)
    canvas = _cut(image, part, size)
    if overlay:
        style = OverlayStyle(alpha=0.12, softness=0.0, outline=0.0, labels=False, presence=False)
        drawn, line = [_moved(one, image.shape[:2], part, k) for k, one in enumerate(shown)], max(2, round(size / 220))
        canvas = draw_overlay(canvas, drawn, None, style)
        for one in drawn:
            _outline(canvas, one, line, _LIGHT, dashed=False)
        for one in dashed:
            _outline(canvas, _moved(one, image.shape[:2], part, None), line, WHITE, dashed=True)
    return Image.fromarray(canvas)


def jpeg(image: Image.Image, quality: int = 88) -> bytes:
    """A picture as a file's bytes, for a panel.

    >>> jpeg(Image.new("RGB", (4, 4)))[:2] == bytes([255, 216])
    True
    """
    held = io.BytesIO()
    image.save(held, format="JPEG", quality=quality)
    return held.getvalue()


def _read(dataset: fo.Dataset, item: Item) -> tuple[str, list[fo.Detection]]:
    """The image's file, and the labels of the field in it."""
    view = dataset.select(item.sample_id).select_fields(item.field)
    for sample in view:
        held = sample[item.field]
        return sample.filepath, [] if held is None else list(held.detections)
    raise ItemGone(f"The sample of this question ({item.concept!r}) was deleted: go on with the next one")


def _rejected(label: fo.Detection) -> bool:
    return label.has_field(ATTRIBUTE) and label[ATTRIBUTE] is False


def _around(box: list[float], size: tuple[int, int], context: float | None) -> tuple[int, int, int, int]:
    """``(x0, y0, x1, y1)`` in pixels: a box with its surroundings, as square as the image allows."""
    height, width = size
    if context is None:
        return 0, 0, width, height
    x, y, w, h = (value * side for value, side in zip(box, (width, height, width, height), strict=True))
    side = max((1 + 2 * context) * max(w, h), _LEAST)
    ends = []
    for low, length, whole in ((x, w, width), (y, h, height)):
        reach = min(max(side, length), whole)
        start = min(max(low + length / 2 - reach / 2, 0), whole - reach)
        ends.append((int(start), max(int(np.ceil(start + reach)), int(start) + 1)))
    (x0, x1), (y0, y1) = ends
    return x0, y0, min(x1, width), min(y1, height)


def _cut(image: np.ndarray, part: tuple[int, int, int, int], size: int) -> np.ndarray:
    """The part of an image, its longer side ``size`` pixels, before anything is drawn: lines keep their width."""
    x0, y0, x1, y1 = part
    scale = size / max(x1 - x0, y1 - y0)
    wanted = max(round((x1 - x0) * scale), 1), max(round((y1 - y0) * scale), 1)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.ascontiguousarray(cv2.resize(image[y0:y1, x0:x1], wanted, interpolation=way))


class _Moved:
    """A detection in a part of its image, as :func:`draw_overlay` wants it."""

    def __init__(self, label: fo.Detection, box: list[float], index: int | None) -> None:
        self.label, self.bounding_box, self.index, self.confidence = label.label, box, index, None
        self.mask = label.get_mask()


def _moved(label: fo.Detection, size: tuple[int, int], part: tuple[int, int, int, int], index: int | None) -> Any:
    (height, width), (x0, y0, x1, y1) = size, part
    x, y, w, h = label.bounding_box
    across, down = x1 - x0, y1 - y0
    box = [(x * width - x0) / across, (y * height - y0) / down, w * width / across, h * height / down]
    return _Moved(label, box, index)


def _outline(canvas: np.ndarray, label: _Moved, line: int, colour: Colour, *, dashed: bool) -> None:
    """A light line on a dark one, so that it is seen on any ground."""
    height, width = canvas.shape[:2]
    x, y, w, h = label.bounding_box
    x0, y0 = round(x * width), round(y * height)
    across, down = max(round(w * width), 1), max(round(h * height), 1)
    mask = np.ones((down, across), np.uint8) if label.mask is None or not label.mask.any() else cv2.resize(
        label.mask.astype(np.uint8), (across, down), interpolation=cv2.INTER_NEAREST
    )  # fmt: skip
    pad = 2 * line + 2
    mask = cv2.copyMakeBorder(mask, pad, pad, pad, pad, cv2.BORDER_CONSTANT)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    for shade, thickness in ((_DARK, line + 2), (colour, line)):
        layer = np.zeros(mask.shape, np.uint8)
        for outline in outlines:
            dash = 5 * line if dashed else len(outline)
            for start in range(0, len(outline), 2 * dash):
                part = outline[start : start + dash + 1]
                cv2.polylines(layer, [part], not dashed, 255, thickness, cv2.LINE_AA)
        blend(canvas, (x0 - pad, y0 - pad), (layer / 255).astype(np.float32), shade)
