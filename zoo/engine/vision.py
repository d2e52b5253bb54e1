"""SAM 3's vision encoder: from the network's square to the three maps that concepts are asked of.

The weights and the arithmetic are transformers'; what differs is what is done once instead of in every layer. Most of
the layers look within windows, and transformers cuts the map into windows and puts it together again in each of them.
Here the tokens lie window by window from the first layer to the last: what a layer does to a token alone does not mind
the order, and the few layers that look at everything are told where each token is, which is all they know of places.
The turning angles of the tokens are computed once, and so is the position encoding of the coarse map; the half-size
map, which nothing reads, is not made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .compiling import Compiled

#: cosines and sines by which a layer's tokens are turned, float32 ``(1, tokens, width)`` each
Turns = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Encoded:
    """``B`` images: ``levels``, three maps ``(B, C, H_i, W_i)``, fine to coarse; ``tokens`` ``(B, H * W, D)``, what the
    maps are made of.
    """

    levels: tuple[Tensor, ...]
    tokens: Tensor


class VisionEncoder:
    """The vision encoder of a ``Sam3Model``, with the same weights and the same answers.

    Args:
        model: transformers' ``Sam3Model``
        compiled: translate it to one program first, see :class:`Compiled`: minutes once, and a fifth to a half less
            time then
    """

    def __init__(self, model: Any, *, compiled: bool = False) -> None:
        self._model = model.vision_encoder
        config = self._model.config.backbone_config
        self._grid = config.image_size // config.patch_size
        self._window = config.window_size if self._grid % config.window_size == 0 else 0
        self._turns: list[Turns] = []
        self._positions: Tensor | None = None
        self._run = Compiled(self._encode, sizes=True) if compiled else self._encode

    def __call__(self, pixels: Tensor) -> Encoded:
        """Encode images.

        Args:
            pixels: normalised, ``(B, 3, S, S)``, in the network's dtype and on its device
        """
        if not self._turns:
            self._turns = self._turn_all(pixels)
        *levels, tokens = self._run(pixels, *(part for turns in self._turns for part in turns))
        return Encoded(tuple(levels), tokens)

    def positions(self, coarse: Tensor) -> Tensor:
        """The position encoding of the coarse map, ``(1, C, H, W)``: the same for every image."""
        if self._positions is None:
            shape = (1, *coarse.shape[1:])
            self._positions = self._model.neck.position_encoding(shape, coarse.device, coarse.dtype)
        return self._positions

    def _encode(self, pixels: Tensor, *turns: Tensor) -> tuple[Tensor, ...]:
        backbone, grid, window = self._model.backbone, self._grid, self._window
        hidden = backbone.embeddings(pixels)
        count, width = len(hidden), hidden.shape[-1]
        hidden = backbone.layer_norm(hidden.view(count, grid, grid, width))
        if window:
            hidden = _by_window(hidden, grid, window)
        for k, layer in enumerate(backbone.layers):
            if not window:  # windows that do not divide the map are padded, which is best left to transformers
                hidden = layer(hidden)
                continue
            side = layer.window_size or grid
            hidden = hidden.view(-1, side, side, width)
            looked, _ = layer.attention(layer.layer_norm1(hidden), (turns[2 * k], turns[2 * k + 1]))
            hidden = hidden + looked
            hidden = hidden + layer.mlp(layer.layer_norm2(hidden))
        if window:
            hidden = _by_row(hidden.view(count, -1, window, window, width), grid, window)
        square = hidden.view(count, grid, grid, width).permute(0, 3, 1, 2)
        levels = (layer(square) for layer in self._model.neck.fpn_layers[:-1])
        return (*levels, hidden.reshape(count, grid * grid, width))

    @torch.inference_mode()
    def _turn_all(self, like: Tensor) -> list[Turns]:
        """By how much each layer turns its tokens, in the order that they lie in."""
        if not self._window:
            return [(like, like)]  # never read
        places = torch.arange(self._grid**2, device=like.device).view(1, self._grid, self._grid, 1)
        order = _by_window(places, self._grid, self._window).flatten()
        tables: dict[int, Turns] = {}
        for layer in self._model.backbone.layers:
            if layer.window_size not in tables:
                cos, sin = layer.rotary_emb(like, layer.position_ids)
                ordered = slice(None) if layer.window_size else order
                tables[layer.window_size] = cos[..., ordered, :], sin[..., ordered, :]
        return [tables[layer.window_size] for layer in self._model.backbone.layers]


def _by_window(square: Tensor, grid: int, window: int) -> Tensor:
    """``(B, grid, grid, C)`` as windows, from left to right, top to bottom: ``(B * windows, window, window, C)``."""
    count = grid // window
    parts = square.view(len(square), count, window, count, window, -1).transpose(2, 3)
    return parts.reshape(-1, window, window, square.shape[-1])


def _by_row(windows: Tensor, grid: int, window: int) -> Tensor:
    """The reverse, of ``(B, windows, window, window, C)``: ``(B, grid, grid, C)``."""
    count = grid // window
    parts = windows.view(len(windows), count, count, window, window, -1).transpose(2, 3)
    return parts.reshape(len(windows), grid, grid, windows.shape[-1])
