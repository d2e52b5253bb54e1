"""SAM 3's DETR decoder: from pixels that have read their prompt to queries, their boxes and scores, and presence.

The weights and the arithmetic are transformers' ``Sam3DetrDecoder`` and ``Sam3DotProductScoring``. What differs: all of
the first layer that comes before an image is looked at is the same for every image and prompt, and done once; keys
with their positions are added up once, not in every layer; the bias by which a query looks near its box, the largest
tensor here (33 MB a prompt at full size), is written once a layer in the order that attention reads it, always into the
same memory; and boxes and presence of layers whose answers nothing reads are not worked out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .compiling import Compiled
from .transfers import to_device


class QueryDecoder:
    """The decoder of a ``Sam3Model``.

    Args:
        model: transformers' ``Sam3Model``
        compiled: translate it to one program first, see :class:`Compiled`
    """

    def __init__(self, model: Any, *, compiled: bool = False) -> None:
        self._decoder = model.detr_decoder
        self._scoring = model.dot_product_scoring
        self._run = Compiled(self._decode) if compiled else self._decode
        self._begin: tuple[Tensor, ...] | None = None

    def __call__(
        self, encoded: Tensor, positions: Tensor, grid: tuple[int, int], prompt: Tensor, prompt_mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Decode ``N`` prompts.

        Args:
            encoded: pixels that have read their prompt, ``(N, H * W, C)``
            positions: of the pixels, ``(1, H * W, C)``
            grid: ``(H, W)``
            prompt: ``(N, T, C)``
            prompt_mask: of :func:`padding_mask`

        Returns:
            ``queries`` ``(N, Q, C)``; and, float32: ``boxes`` ``(N, Q, 4)``, xyxy in [0, 1]; ``scores`` ``(N, Q)``,
            before presence, and ``presence`` ``(N,)``, in [0, 1]
        """
        if self._begin is None or self._begin[0].device != encoded.device:
            self._begin = self._first(grid)
        return self._run(encoded, positions, *grid, prompt, prompt_mask, *self._begin)

    def _decode(
        self, encoded: Tensor, positions: Tensor, height: int, width: int, prompt: Tensor, prompt_mask: Tensor | None,
        *begin: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        decoder, count, grid = self._decoder, len(encoded), (height, width)
        hidden, where, references, bias = (t.expand(count, *t.shape[1:]) for t in begin)
        keys, own, readable = encoded + positions, None, for_attention(prompt_mask, hidden.shape[1])
        for k, layer in enumerate(decoder.layers):
            if k:
                where, bias = self._where(references), self._bias(references, grid, own)
                own = bias
                hidden = self._among(layer, hidden, where)
            asking = hidden + where
            read, _ = layer.text_cross_attn(query=asking, key=prompt, value=prompt, attention_mask=readable)
            hidden = layer.text_cross_attn_layer_norm(hidden + read)
            asking = hidden + where
            looked, _ = layer.vision_cross_attn(query=asking, key=keys, value=encoded, attention_mask=bias)
            hidden = layer.vision_cross_attn_layer_norm(hidden + looked)
            hidden = layer.mlp_layer_norm(hidden + layer.mlp(hidden))
            queries = decoder.output_layer_norm(hidden[:, 1:])
            references = self._refined(references, queries)
        scores = self._scoring(decoder_hidden_states=queries[None], text_features=prompt, text_mask=prompt_mask)
        presence = decoder.presence_head(decoder.presence_layer_norm(hidden[:, 0]))[:, 0]
        limit = decoder.clamp_presence_logit_max_val
        cx, cy, w, h = references.float().unbind(-1)
        boxes = torch.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], -1)
        return queries, boxes, scores[0, ..., 0].float().sigmoid(), presence.clamp(-limit, limit).float().sigmoid()

    def _first(self, grid: tuple[int, int]) -> tuple[Tensor, ...]:
        """What is the same for all: ``hidden``, ``where``, ``references``, ``bias`` before the first prompt is read."""
        decoder = self._decoder
        references = decoder.reference_points.weight[None].sigmoid()
        where = self._where(references)
        hidden = torch.cat([decoder.presence_token.weight, decoder.query_embed.weight])[None]
        return self._among(decoder.layers[0], hidden, where), where, references, self._bias(references, grid, None)

    def _where(self, references: Tensor) -> Tensor:
        """The queries' positions ``(N, 1 + Q, C)``, by their boxes; the presence token, in front, is nowhere."""
        decoder = self._decoder
        where = decoder.ref_point_head(decoder.position_encoding.encode_boxes(references))
        return F.pad(where, (0, 0, 1, 0))

    @staticmethod
    def _among(layer: Any, hidden: Tensor, where: Tensor) -> Tensor:
        """Queries after they have looked at each other."""
        asking = hidden + where
        looked, _ = layer.self_attn(query=asking, key=asking, value=hidden, attention_mask=None)
        return layer.self_attn_layer_norm(hidden + looked)

    def _refined(self, references: Tensor, queries: Tensor) -> Tensor:
        from transformers.models.sam3.modeling_sam3 import inverse_sigmoid

        return (inverse_sigmoid(references) + self._decoder.box_head(queries)).sigmoid()

    def _bias(self, references: Tensor, grid: tuple[int, int], into: Tensor | None) -> Tensor:
        """How much queries look at pixels for their boxes' sake: ``(N, heads, 1 + Q, H * W)``, written to ``into``."""
        decoder, (height, width) = self._decoder, grid
        cx, cy, w, h = references.unbind(-1)
        by_row = self._along(decoder.box_rpb_embed_y, torch.stack([cy - 0.5 * h, cy + 0.5 * h], -1), height)
        by_column = self._along(decoder.box_rpb_embed_x, torch.stack([cx - 0.5 * w, cx + 0.5 * w], -1), width)
        if torch.compiler.is_compiling():  # which writes it once by itself, and knows no memory but its own
            return F.pad((by_row[..., None] + by_column[..., None, :]).flatten(3), (0, 0, 1, 0))
        count, heads, queries = by_row.shape[:3]
        if into is None:
            into = by_row.new_empty(count, heads, 1 + queries, height * width)
            into[:, :, 0] = 0  # the presence token looks everywhere alike
        inner = into[:, :, 1:].view(count, heads, queries, height, width)
        torch.add(by_row[..., None], by_column[..., None, :], out=inner)
        return into

    @staticmethod
    def _along(head: Any, edges: Tensor, length: int) -> Tensor:
        """One axis of it: ``(N, heads, Q, length)``, from two edges of each box, ``(N, Q, 2)``."""
        places = torch.arange(length, device=edges.device, dtype=edges.dtype) / length
        far = (places[:, None] - edges[:, :, None]) * 8
        far = far.sign() * (far.abs() + 1.0).log2() / math.log2(8)
        return head(far).permute(0, 3, 1, 2)


def padding_mask(there: Sequence[Sequence[bool]], device: torch.device) -> Tensor | None:
    """Which tokens of prompts are there: bool ``(N, T)``; ``None`` where all are, for then attention is faster."""
    return None if all(all(one) for one in there) else to_device([list(one) for one in there], device, torch.bool)


def for_attention(mask: Tensor | None, readers: int) -> Tensor | None:
    """A :func:`padding_mask` as attention takes it, ``(N, 1, readers, T)``."""
    return None if mask is None else mask[:, None, None].expand(-1, 1, readers, -1)
