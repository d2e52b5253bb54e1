"""SAM 3's geometry encoder: examples, as tokens that stand beside the words of a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .prompts import Exemplars
from .transfers import to_device


def no_example(model: Any, coarse: Tensor, positions: Tensor) -> Tensor:
    """The token for "no box given". It reads the image, not the words: once an image.

    Args:
        model: transformers' ``Sam3Model``
        coarse: the coarsest level of ``B`` images, float ``(B, C, H, W)``
        positions: its position encoding, ``(1, C, H, W)``

    Returns:
        ``(B, 1, C)``
    """
    count = len(coarse)
    output = model.geometry_encoder(
        # transformers cannot encode zero boxes; a masked one leaves the CLS token exactly as without
        box_embeddings=coarse.new_full((count, 1, 4), -10.0),
        box_mask=torch.zeros(count, 1, dtype=torch.bool, device=coarse.device),
        box_labels=torch.zeros(count, 1, dtype=torch.long, device=coarse.device),
        img_feats=[coarse], img_pos_embeds=[positions.expand(count, -1, -1, -1)],
    )
    return output.last_hidden_state[:, :1]  # what is masked comes last


def examples(model: Any, coarse: Tensor, positions: Tensor, exemplars: Sequence[Exemplars]) -> list[Tensor]:
    """Examples as tokens.

    Args:
        model: transformers' ``Sam3Model``
        coarse: the coarsest level of ``N`` images, float ``(N, C, H, W)``; they may repeat
        positions: its position encoding, ``(1, C, H, W)``
        exemplars: in each of these images

    Returns:
        for each image ``(K + 1, C)``: one token for each of its ``K`` boxes, and one for all of them
    """
    count, most, device = len(coarse), max(len(e.boxes) for e in exemplars), coarse.device
    boxes = torch.full((count, most, 4), -10.0)
    signs = torch.zeros(count, most, dtype=torch.long)
    real = torch.zeros(count, most, dtype=torch.bool)
    for n, given in enumerate(exemplars):
        x0, y0, x1, y1 = torch.tensor(given.boxes).unbind(1)
        number = len(given.boxes)
        boxes[n, :number] = torch.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], 1)
        signs[n, :number] = torch.tensor(given.positive).long()
        real[n, :number] = True
    output = model.geometry_encoder(
        box_embeddings=to_device(boxes.to(coarse.dtype), device), box_mask=to_device(real, device),
        box_labels=to_device(signs, device), img_feats=[coarse], img_pos_embeds=[positions.expand(count, -1, -1, -1)],
    )
    # what is masked comes last
    return [t[: len(e.boxes) + 1] for t, e in zip(output.last_hidden_state, exemplars, strict=True)]


def beside(
    prompt: Tensor, there: Sequence[Sequence[bool]], more: Sequence[Tensor | None]
) -> tuple[Tensor, list[list[bool]]]:
    """Prompts with further tokens.

    Args:
        prompt: ``(N, T, C)``
        there: for each, which of its ``T`` tokens are there
        more: for each, ``(K, C)``, or ``None``

    Returns:
        ``(N, T + K, C)`` and which are there, for the largest of the ``K``
    """
    none = prompt.new_zeros(0, prompt.shape[-1])
    tokens = [none if t is None else t.to(prompt) for t in more]
    padded = pad_sequence(tokens, batch_first=True)
    held = [[*one, *(k < len(t) for k in range(padded.shape[1]))] for one, t in zip(there, tokens, strict=True)]
    return torch.cat([prompt, padded], 1), held
