"""What data loaders hand to the image model: pixels ready for the network, or the reason there are none."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from fiftyone.utils.torch import GetItem

from .engine.errors import ImageError
from .engine.images import read_image, to_square


@dataclass
class Loaded:
    """One sample's image: ``pixels`` uint8 ``(3, S, S)`` and its original ``(height, width)``, or ``error``."""

    pixels: torch.Tensor | None
    size: tuple[int, int]
    error: str | None = None


@dataclass
class LoadedBatch:
    """Samples of a batch in order; a tensor for all readable ones, so that it can be pinned as one block."""

    pixels: torch.Tensor
    items: list[Loaded]

    def __len__(self) -> int:
        return len(self.items)

    def pin_memory(self) -> LoadedBatch:
        self.pixels = self.pixels.pin_memory()
        return self


class LoadImage(GetItem):
    """Reads and squeezes an image, in a worker process. A bad file is an answer here, not an exception:
    FiftyOne drops the whole batch of an exception."""

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
            return Loaded(None, (0, 0), str(error))
        return Loaded(to_square(image, self.side), image.shape[:2])


def collate(batch: list[Loaded]) -> LoadedBatch:
    """One batch of what :class:`LoadImage` made; at module level, so that spawned workers can find it."""
    pixels = [item.pixels for item in batch if item.pixels is not None]
    items = [Loaded(None, item.size, item.error) for item in batch]
    return LoadedBatch(torch.stack(pixels) if pixels else torch.empty(0, 3, 0, 0, dtype=torch.uint8), items)
