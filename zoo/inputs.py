"""What data loaders hand to the image model: pixels ready for the network, or the reason there are none."""

from __future__ import annotations

import torch
from fiftyone.utils.torch import GetItem

from .engine.errors import ImageError
from .engine.images import read_image, to_square
from .rebuild import Anywhere

#: one image: pixels uint8 ``(3, S, S)`` and its original ``(height, width)``, or ``None`` and why. A plain tuple,
#: because worker processes send it back: a class of this package could not be named there
Loaded = tuple[torch.Tensor | None, tuple[int, int], str | None]


class LoadImage(Anywhere, GetItem):
    """Reads and squeezes an image, in a worker process. A bad file is an answer here, not an exception:
    FiftyOne drops the whole batch of an exception.
    """

    def __init__(self, side: int, field_mapping: dict[str, str] | None = None) -> None:
        self.side = side
        super().__init__(field_mapping=field_mapping)

    @property
    def required_keys(self) -> list[str]:
        return ["filepath"]

    def __call__(self, d: dict) -> Loaded:
        try:
            image = read_image(d["filepath"])
        except ImageError as error:
            return None, (0, 0), str(error)
        return to_square(image, self.side), image.shape[:2], None
