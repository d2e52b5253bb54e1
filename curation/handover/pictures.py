"""What is handed over of one image, whatever the format: instances as masks of the whole image, and what is absent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import fiftyone as fo
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

if __package__ == "curation.handover":
    from evaluation.crops import place_mask
    from evaluation.shapes import to_rle
else:
    from ...evaluation.crops import place_mask
    from ...evaluation.shapes import to_rle


@dataclass(frozen=True)
class Instance:
    """A label with its mask.

    Attributes:
        label: as it is stored.
        rle: its mask in the image, compressed; ``counts`` are bytes.
        box: (x, y, width, height) of the mask, in pixels.
        area: of the mask, in pixels.
    """

    label: fo.Detection
    rle: Mapping[str, Any]
    box: tuple[int, int, int, int]
    area: int

    @property
    def segmentation(self) -> dict[str, Any]:
        """The mask as JSON has it."""
        return {"size": list(self.rle["size"]), "counts": self.rle["counts"].decode()}

    def mask(self) -> NDArray[np.uint8]:
        """(height, width) of the box: 1 inside, 0 outside."""
        x, y, w, h = self.box
        return coco_mask.decode(self.rle)[y : y + h, x : x + w]

    def attributes(self) -> dict[str, Any]:
        """Its further attributes, as far as JSON has them: no ``fo.Instance``, no arrays."""
        held = {name: value for name, value in self.label.iter_attributes() if _plain(value)}
        if self.label.index is not None:
            held["index"] = self.label.index
        return dict(sorted(held.items()))


@dataclass(frozen=True)
class Picture:
    """An image.

    Attributes:
        sample_id: of its sample.
        filepath: of the image.
        split: "" where there are none.
        size: (height, width) in pixels.
        instances: in the order of the labels.
        absent: concept → by whose word it is absent, see ``absence.SOURCES``.
        partial: concepts that are there, and whose instances are not all labelled.
        dropped: why labels were left out → how many.
    """

    sample_id: str
    filepath: str
    split: str
    size: tuple[int, int]
    instances: tuple[Instance, ...]
    absent: Mapping[str, str]
    partial: tuple[str, ...]
    dropped: Mapping[str, int]


class Writer(Protocol):
    """Writes pictures in one format, into a folder that is empty at first."""

    def add(self, picture: Picture) -> str | None:
        """Write a picture, or raise and write nothing of it.

        Returns:
            where its image is, relative to the folder, or absolute where it was not exported; None: nowhere.
        """

    def close(self) -> None:
        """Write what comes last."""

    def notes(self) -> list[str]:
        """What got lost in this format, a sentence each."""

    def measures(self) -> dict[str, float]:
        """How much of it."""


def to_instance(label: fo.Detection, size: tuple[int, int]) -> Instance | None:
    """A label with its mask in an image of a size, (height, width); None if no pixel of it is inside.

    A label without a mask is its box, filled.

    Raises:
        ValueError: the mask or the box is no such thing.
    """
    if label.has_mask:
        rle = to_rle(label, size)
    else:
        x, y, w, h = label.bounding_box
        left, top = round(x * size[1]), round(y * size[0])
        right, bottom = max(round((x + w) * size[1]), left + 1), max(round((y + h) * size[0]), top + 1)
        rle = place_mask(np.ones((bottom - top, right - left), bool), (left, top), size)
    area = int(coco_mask.area(rle))
    return Instance(label, rle, tuple(map(int, coco_mask.toBbox(rle))), area) if area else None


def _plain(value: Any) -> bool:
    return isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value))
