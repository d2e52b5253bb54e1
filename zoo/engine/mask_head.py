"""SAM 3's mask decoder for several concepts of one image: what they share is computed once.

The decoder's cost is two convolutions, each over an upsampled map plus a finer level of the image's pyramid:
``conv(up(x) + fine) = conv(up(x)) + conv(fine)``. The second term is the image's own, whatever is asked. The first
need not be computed on the upsampled map: every pixel of ``up(x)`` stands there four times, so a 3 × 3 kernel reads
at most 2 × 2 different ones, and four 2 × 2 kernels on the small map give the same for 4/9 of the multiplications.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .queries import for_attention


@dataclass(frozen=True)
class _Stage:
    """One step up the pyramid: ``kernels`` ``(4 * C, C, 2, 2)``, one ``(C, C, 2, 2)`` for each pixel of a square."""

    kernels: Tensor
    conv: Any
    norm: Any


class MaskHead:
    """The mask decoder of a ``Sam3Model``, with the same weights and the same answers.

    Args:
        decoder: transformers' ``Sam3MaskDecoder``
    """

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        pixels = decoder.pixel_decoder
        with torch.no_grad():
            self._stages = [
                _Stage(_four_kernels(conv.weight), conv, norm)
                for conv, norm in zip(pixels.conv_layers, pixels.norms, strict=True)
            ]

    def share(self, levels: tuple[Tensor, ...]) -> list[Tensor]:
        """What all concepts of an image share.

        Args:
            levels: its pyramid, float ``(1, C, H_i, W_i)``, fine to coarse, each twice as large as the next

        Returns:
            per step up the pyramid, float ``(1, C, H_i, W_i)``
        """
        return [stage.conv(level) for stage, level in zip(self._stages, levels[-2::-1], strict=False)]

    def masks(
        self, shared: list[Tensor], coarse: Tensor, queries: Tensor, encoded: Tensor, prompt: Tensor,
        prompt_mask: Tensor | None,
    ) -> Tensor:
        """Mask logits of ``N`` concepts of one image; as ``Sam3MaskDecoder.forward``.

        Args:
            shared: of the image, from :meth:`share`
            coarse: the image's coarsest level, float ``(1, C, H, W)``; only its shape is read
            queries: float ``(N, Q, C)``
            encoded: pixels that have read their prompt, float ``(N, H * W, C)``
            prompt: float ``(N, T, C)``
            prompt_mask: bool ``(N, T)``, true where there is a token; ``None``: everywhere

        Returns:
            float ``(N, Q, h, w)``, at the size of the finest level
        """
        pixels = self._pixels(shared, coarse, encoded, prompt, prompt_mask)
        # a dot product with a projected pixel is a dot product of the pixel with a projected query
        project = self._decoder.instance_projection
        embedded = self._decoder.mask_embedder(queries)
        offset = embedded @ project.bias
        logits = torch.einsum("nqc,nchw->nqhw", embedded @ project.weight[:, :, 0, 0], pixels)
        return logits + offset[..., None, None]

    def regions(
        self, shared: list[Tensor], coarse: Tensor, encoded: Tensor, prompt: Tensor, prompt_mask: Tensor | None
    ) -> Tensor:
        """Logits that a pixel belongs to the concept at all, whichever instance: float ``(N, h, w)``. Arguments as of
        :meth:`masks`; the answer is the ``semantic_seg`` of ``Sam3MaskDecoder.forward``.
        """
        return self._decoder.semantic_projection(self._pixels(shared, coarse, encoded, prompt, prompt_mask))[:, 0]

    def _pixels(
        self, shared: list[Tensor], coarse: Tensor, encoded: Tensor, prompt: Tensor, prompt_mask: Tensor | None
    ) -> Tensor:
        """Embedded pixels ``(N, C, h, w)``, of which instances and regions are both read."""
        decoder = self._decoder
        normed = decoder.prompt_cross_attn_norm(encoded)
        readable = for_attention(prompt_mask, normed.shape[1])
        read, _ = decoder.prompt_cross_attn(query=normed, key=prompt, value=prompt, attention_mask=readable)
        pixels = (encoded + read).transpose(1, 2).unflatten(2, coarse.shape[-2:])
        for stage, own in zip(self._stages, shared, strict=False):
            pixels = stage.norm(_add_upsampled(own, pixels, stage.kernels)).relu()
        return pixels


def _four_kernels(weight: Tensor) -> Tensor:
    """The 3 × 3 kernels ``(O, C, 3, 3)`` as they act on a map whose every pixel stands four times in a square.

    Returns ``(4 * O, C, 2, 2)``, for the square's pixels from left to right, top to bottom.
    """
    def halves(w: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        before, middle, after = w.float().unbind(dim)
        return torch.stack([before, middle + after], dim), torch.stack([before + middle, after], dim)

    return torch.cat([part for row in halves(weight, 2) for part in halves(row, 3)]).to(weight.dtype)


def _add_upsampled(own: Tensor, small: Tensor, kernels: Tensor) -> Tensor:
    """``own`` plus the convolution of ``small`` at twice its size, without its bias. ``own``: one row for all."""
    height, width = small.shape[-2:]
    four = F.conv2d(small, kernels, padding=1).unflatten(1, (4, -1))
    total = own.expand(len(small), -1, -1, -1).clone()
    for k in range(4):
        down, right = divmod(k, 2)
        total[..., down::2, right::2] += four[:, k, :, down : down + height, right : right + width]
    return total
