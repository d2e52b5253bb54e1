"""SAM 3's DETR encoder: pixels read their prompt. What they do before they read it is done once an image."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .compiling import Compiled
from .queries import for_attention


class PromptReader:
    """The DETR encoder of a ``Sam3Model``, with the same weights and the same answers.

    Args:
        model: transformers' ``Sam3Model``
        compiled: translate it to one program first, see :class:`Compiled`
    """

    def __init__(self, model: Any, *, compiled: bool = False) -> None:
        self._encoder = model.detr_encoder
        self._run = Compiled(self._read) if compiled else self._read

    def before(self, coarse: Tensor, positions: Tensor) -> Tensor:
        """Pixels after they have looked at each other, for any prompt: ``(B, H * W, C)``.

        Args:
            coarse: the coarse level of ``B`` images, ``(B, H * W, C)``
            positions: its position encoding, ``(1, H * W, C)``
        """
        first = self._encoder.layers[0]
        normed = first.layer_norm1(coarse)
        placed = normed + positions
        return coarse + first.self_attn(query=placed, key=placed, value=normed)[0]

    def __call__(self, attended: Tensor, positions: Tensor, prompt: Tensor, prompt_mask: Tensor | None) -> Tensor:
        """What ``Sam3DetrEncoder.forward`` does from its first cross-attention on.

        Args:
            attended: of :meth:`before`, for ``N`` pairs of image and prompt, ``(N, H * W, C)``
            positions: ``(1, H * W, C)``
            prompt: ``(N, T, C)``
            prompt_mask: of :func:`padding_mask`

        Returns:
            pixels that have read their prompt, ``(N, H * W, C)``
        """
        return self._run(attended, positions, prompt, prompt_mask)

    def _read(self, attended: Tensor, positions: Tensor, prompt: Tensor, prompt_mask: Tensor | None) -> Tensor:
        first, *rest = self._encoder.layers
        readable = for_attention(prompt_mask, attended.shape[1])
        asking = first.layer_norm2(attended)
        read, _ = first.cross_attn(query=asking, key=prompt, value=prompt, attention_mask=readable)
        hidden = attended + read
        hidden = hidden + first.mlp(first.layer_norm3(hidden))
        for layer in rest:
            hidden = layer(hidden, prompt, vision_pos_encoding=positions, prompt_cross_attn_mask=readable)
        return hidden
