"""What FiftyOne asks of models that embed: ``dataset.compute_embeddings(sam3, embeddings_field="sam3_embedding")``."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import fiftyone.core.models as fom
import numpy as np
import torch

from .answering import tried_apart
from .engine.detector import ConceptDetector
from .engine.embeddings import embed_images
from .engine.errors import ImageError
from .engine.images import to_square
from .inputs import Loaded
from .rebuild import Anywhere

logger = logging.getLogger(__name__)


class SquarePatch(Anywhere):
    """What a data loader does with a part of an image that FiftyOne cut out, in a worker process."""

    def __init__(self, side: int) -> None:
        self.side = side

    def __call__(self, patch: Any) -> torch.Tensor:
        return to_square(np.array(patch), self.side)


class Embedding(fom.EmbeddingsMixin):
    """The part of a model that embeds images; concepts are not needed for that.

    A vector is float32, of length 1; what it is made of, see :mod:`engine.embeddings`. It stands before
    :class:`ImageInput`, which loads images.
    """

    detector: ConceptDetector

    @property
    def has_embeddings(self) -> bool:
        return True

    @property
    def transforms(self) -> SquarePatch:
        """For ``compute_patch_embeddings``: whole images are loaded by ``build_get_item``."""
        return SquarePatch(self.detector.checkpoint.side)

    def get_embeddings(self) -> np.ndarray:
        """FiftyOne's word for: of the last prediction. Nothing is kept here, so there is none."""
        raise NotImplementedError("predictions keep no embeddings: use embed(), embed_all() or compute_embeddings()")

    def embed(self, arg: Any) -> np.ndarray | None:
        """As :meth:`embed_all`, for one image: float32 ``(C,)``."""
        return self.embed_all([arg])[0]

    def embed_all(self, args: Sequence[Any]) -> Any:
        """Vectors of a batch.

        Args:
            args: images, uint8 ``(height, width, 3)`` RGB; within ``compute_embeddings`` what :class:`LoadImage` made,
                within ``compute_patch_embeddings`` what :class:`SquarePatch` made

        Returns:
            float32 ``(B, C)``; where an image cannot be read or embedded, a list, with None in its place

        Raises:
            ImageError: of one image alone, it cannot
        """
        images = [_patch(arg) if isinstance(arg, torch.Tensor) else arg for arg in args]
        loaded = images if any(isinstance(one, tuple) for one in images) else self._loaded(images)
        errors = [error for _, _, error in loaded]
        whole = [k for k, error in enumerate(errors) if error is None]
        found = tried_apart(whole, lambda places: self._embed([loaded[k] for k in places]), errors)
        for error in filter(None, errors):
            logger.warning("No embedding: %s", error)
        if len(found) == len(loaded):
            return np.stack([found[k] for k in range(len(loaded))])
        if len(loaded) == 1 and not isinstance(args[0], tuple):
            raise ImageError(errors[0])
        return [found.get(k) for k in range(len(loaded))]

    def _embed(self, images: Sequence[Loaded]) -> np.ndarray:
        pixels, sizes, _ = zip(*images, strict=True)
        # of an image that is cut into tiles, the whole comes first
        squares = torch.stack([one[0] if one.ndim == 4 else one for one in pixels])
        return embed_images(self.detector.encode_images(squares, sizes)).cpu().numpy()


def _patch(square: torch.Tensor) -> Loaded:
    return square, (int(square.shape[-2]), int(square.shape[-1])), None
