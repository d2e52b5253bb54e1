"""What FiftyOne asks of any model that reads images: how they are loaded, batched and handed over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import fiftyone.core.models as fom
import numpy as np

from .engine.checkpoint import Checkpoint
from .engine.tiles import TileSettings
from .inputs import Loaded, LoadImage, load


class ImageInput(fom.Model, fom.SamplesMixin, fom.SupportsGetItem, fom.TorchModelMixin):
    """The part of a model that takes images in.

    Args:
        checkpoint: a loaded checkpoint
        cutting: how images are cut into tiles; ``None``: not
    """

    def __init__(self, checkpoint: Checkpoint, cutting: TileSettings | None = None) -> None:
        fom.SamplesMixin.__init__(self)
        self._checkpoint = checkpoint
        self._cutting = asdict(cutting) if cutting else None
        self._preprocess = True

    @property
    def media_type(self) -> str:
        return "image"

    @property
    def ragged_batches(self) -> bool:
        return False

    @property
    def transforms(self) -> None:
        return None

    @property
    def preprocess(self) -> bool:
        return self._preprocess

    @preprocess.setter
    def preprocess(self, value: bool) -> None:
        self._preprocess = value

    @property
    def has_collate_fn(self) -> bool:
        return True

    @property
    def collate_fn(self) -> Any:
        return list  # a builtin, which any worker process can find

    @property
    def _using_gpu(self) -> bool:  # read by FiftyOne before it pins memory
        return self._checkpoint.device.type == "cuda"

    def build_get_item(self, field_mapping: dict[str, str] | None = None) -> LoadImage:
        return LoadImage(self._checkpoint.side, field_mapping, self._cutting)

    def _loaded(self, args: Sequence[Any]) -> list[Loaded]:
        if not self._preprocess:  # FiftyOne's word for: the data loader has done that
            return list(args)
        side = self._checkpoint.side
        images = [np.array(image) for image in args]  # copies: what reads videos hands out read-only memory
        for image in images:
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
                raise ValueError(f"Images must be uint8 (height, width, 3), got {image.dtype} {image.shape}")
        return [load(image, side, self._cutting) for image in images]
