"""What data loaders hand to the image model: pixels ready for the network, or the reason there are none."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from fiftyone.utils.torch import GetItem

from .engine.errors import ConceptError, ImageError
from .engine.images import read_image, to_square
from .engine.tiles import TileSettings, cut, tiles
from .rebuild import Anywhere

#: one image: pixels uint8 ``(3, S, S)``, or of the image and its tiles ``(1 + T, 3, S, S)``; and its original
#: ``(height, width)``, or ``None`` and why. A plain tuple, because worker processes send it back: a class of this
#: package could not be named there
Loaded = tuple[torch.Tensor | None, tuple[int, int], str | None]


class LoadImage(Anywhere, GetItem):
    """Reads and squeezes an image, in a worker process. A bad file is an answer here, not an exception:
    FiftyOne drops the whole batch of an exception.
    """

    def __init__(
        self, side: int, field_mapping: dict[str, str] | None = None, cutting: dict[str, Any] | None = None
    ) -> None:
        self.side = side
        self.cutting = cutting  # of TileSettings; a plain dictionary, for the same reason
        super().__init__(field_mapping=field_mapping)

    @property
    def required_keys(self) -> list[str]:
        return ["filepath"]

    def __call__(self, d: dict) -> Loaded:
        try:
            return load(read_image(d["filepath"]), self.side, self.cutting)
        except ImageError as error:
            return None, (0, 0), str(error)


def load(image: np.ndarray, side: int, cutting: dict[str, Any] | None = None) -> Loaded:
    """An image as the network takes it; cut into tiles, if it is said how."""
    size = image.shape[:2]
    if not cutting:
        return to_square(image, side), size, None
    try:
        return cut(image, tiles(size, TileSettings(**cutting)), side), size, None
    except ConceptError as error:
        return None, (0, 0), str(error)
