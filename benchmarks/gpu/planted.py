"""Random weights find nothing that makes sense, so what is found is planted: as many instances as one asks for.

The network does all its work; then what it says is replaced where transformers and the engine both read it. Some
queries score high and the others low, in every concept; every concept is present (a threshold of 1 makes one absent,
in the engine as in transformers); and the mask of a query is an ellipse of a size that objects have, at a place of its
own. So both sides find the same, and draw, crop and pack what a photograph would give them, not noise.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np
import torch
from torch import Tensor

#: logits of queries that are found, and of the others
_FOUND, _NOT = 8.0, -8.0
#: logit of presence
_THERE = 10.0
#: the longer side of objects, in pixels of an image that is 1920 wide
SIDES = (24, 220)
#: confidence above which a concept that is there finds what is planted, and one above which nothing is found
PRESENT, ABSENT = 0.5, 1.0
#: places tried for an object, and how much room is left around it, as a multiple of its size
_TRIES, _AROUND = 40, 1.3
#: instances that a concept can have
_MOST = 64


@contextmanager
def its_own() -> Iterator[None]:
    """A model that is loaded meanwhile shares its weights with none: nobody else is to find what is planted in it."""
    with mock.patch("zoo.cache._loaded", weakref.WeakValueDictionary()):
        yield


class Planted:
    """What a detector finds from now on.

    Args:
        model: transformers' ``Sam3Model``; it is changed for good
        found: how many instances a concept that is present has
        seed: of their places and sizes

    Attributes:
        active: ``False``: what the network says is left as it is
        most: instances that a concept can have
    """

    def __init__(self, model: torch.nn.Module, found: int, seed: int = 0) -> None:
        self.active = True
        decoder, width = model.mask_decoder, model.mask_decoder.config.hidden_size
        self.most = min(model.config.detr_decoder_config.num_queries, width, _MOST)
        if not 0 <= found <= self.most:
            raise ValueError(f"Between 0 and {self.most} instances can be planted, got {found}")
        grid = model.config.vision_config.backbone_feature_sizes[0]
        like = decoder.instance_projection.weight
        # a mask's logits are a dot product of a query and a pixel: with these, query q reads channel q of the pixel
        self._pixels = torch.zeros(1, width, *grid, device=like.device, dtype=like.dtype)
        self._pixels[0, : self.most] = torch.from_numpy(ellipses(self.most, tuple(grid), seed)).to(like)
        self._embedded = 12 * torch.eye(width, device=like.device, dtype=like.dtype)
        self._nothing = torch.zeros((), device=like.device, dtype=like.dtype)
        self._scores = like.new_empty(model.config.detr_decoder_config.num_queries, 1)
        self.show(found)
        with torch.no_grad():
            like.copy_(torch.eye(width).view_as(like))
            decoder.instance_projection.bias.fill_(-0.5)
        self._there = torch.tensor(_THERE, device=like.device, dtype=like.dtype)
        model.detr_decoder.presence_head.register_forward_hook(self._present)
        model.dot_product_scoring.register_forward_hook(self._score)
        decoder.mask_embedder.register_forward_hook(self._embed)
        # the last of the norms that are used: there is one for each step up the pyramid, which has three levels
        decoder.pixel_decoder.norms[len(model.config.vision_config.backbone_feature_sizes) - 2].register_forward_hook(
            self._draw
        )

    def show(self, found: int) -> None:
        """Let so many instances of every concept be found."""
        self._scores.fill_(_NOT)
        self._scores[:found] = _FOUND

    # adding 0 times what was computed: nobody may find that it need not be computed

    def _present(self, module: torch.nn.Module, args: tuple, said: Tensor) -> Tensor | None:
        return torch.addcmul(self._there, said, self._nothing) if self.active else None

    def _score(self, module: torch.nn.Module, args: tuple, said: Tensor) -> Tensor | None:
        return torch.addcmul(self._scores, said, self._nothing) if self.active else None

    def _embed(self, module: torch.nn.Module, args: tuple, said: Tensor) -> Tensor | None:
        return torch.addcmul(self._embedded[: said.shape[-2]], said, self._nothing) if self.active else None

    def _draw(self, module: torch.nn.Module, args: tuple, said: Tensor) -> Tensor | None:
        return torch.addcmul(self._pixels, said, self._nothing) if self.active else None


def ellipses(count: int, grid: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Objects as soft masks, each where there is room for it; the last of very many may overlap others.

    Args:
        count: how many
        grid: ``(h, w)`` of the masks
        seed: of places and sizes

    Returns:
        float32 ``(count, h, w)`` in [0, 1], 0.5 on the outline
    """
    rng = np.random.default_rng([seed, 0xE111])
    height, width = grid
    y, x = np.mgrid[:height, :width].astype(np.float32) + 0.5
    masks = np.zeros((count, height, width), np.float32)
    taken = np.zeros(grid, bool)
    for mask in masks:
        longer = np.exp(rng.uniform(*np.log(SIDES))) / 2
        radius_x = max(1.0, longer / 1920 * width)
        radius_y = max(1.0, longer * rng.uniform(0.5, 1.0) / 1080 * height)
        least = np.inf
        for _ in range(_TRIES):
            cx, cy = rng.uniform(radius_x, width - radius_x), rng.uniform(radius_y, height - radius_y)
            distance = np.hypot((x - cx) / radius_x, (y - cy) / radius_y)
            shared = np.count_nonzero(taken & (distance < _AROUND))
            if shared < least:
                least, best = shared, distance
            if not shared:
                break
        taken |= best < 1
        mask[:] = np.clip(0.5 + (1 - best) * min(radius_x, radius_y) / 2, 0, 1)
    return masks
