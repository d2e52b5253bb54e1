"""Of thousands of pairs of image and phrase, the few that deserve pixels, gathered until a mask decoder is busy.

Presence is decided first, for all; what is absent leaves a few numbers behind. What passes waits here with what the
mask decoder will read of it, until enough of one image wait together, so that memory is bounded by how many that is,
whatever the number of concepts; and what the masks of one image share is computed once, not once a chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .mask_head import MaskHead
from .queries import padding_mask

T = TypeVar("T")


@dataclass(frozen=True)
class Survivor(Generic[T]):
    """One pair: its image's ``row``; ``encoded`` pixels that have read their prompt, ``(H * W, C)``; ``prompt``
    ``(T, C)`` without padding; ``queries`` ``(K, C)`` that masks are wanted of; ``what`` it is, for who gathers.
    """

    row: int
    encoded: Tensor
    prompt: Tensor
    queries: Tensor
    what: T


class Survivors(Generic[T]):
    """Draws pairs as they come, a few of one image together.

    Args:
        head: the mask head
        levels: the images' pyramid, as of ``ImageFeatures``
        together: how many are drawn at once
        semantic: whether regions are wanted, one of each pair, or masks, one of each of its queries
    """

    def __init__(self, head: MaskHead, levels: tuple[Tensor, ...], together: int, *, semantic: bool = False) -> None:
        self._head, self._levels, self._together, self._semantic = head, levels, together, semantic
        self._waiting: list[Survivor[T]] = []
        self._row: int | None = None
        self._shared: list[Tensor] = []

    @property
    def size(self) -> tuple[int, int]:
        """Of what is drawn, ``(h, w)``."""
        return self._levels[0].shape[-2:]

    def add(self, survivor: Survivor[T]) -> Iterator[tuple[T, Tensor]]:
        """One more. Gives what is drawn by that, as :meth:`rest`; what waits is of one image."""
        if self._waiting and self._waiting[0].row != survivor.row:
            yield from self.rest()
        self._waiting.append(survivor)
        if len(self._waiting) == self._together:
            yield from self.rest()

    @torch.inference_mode()
    def _draw(self) -> list[tuple[T, Tensor]]:
        waiting, self._waiting = self._waiting, []
        row = waiting[0].row
        levels = tuple(level[row : row + 1] for level in self._levels)
        if row != self._row:
            self._row, self._shared = row, self._head.share(levels)
        encoded = torch.stack([s.encoded for s in waiting])
        prompt = pad_sequence([s.prompt for s in waiting], batch_first=True)
        readable = padding_mask([[k < len(s.prompt) for k in range(prompt.shape[1])] for s in waiting], prompt.device)
        given = (self._shared, levels[-1])
        read = (encoded, prompt, readable)
        if self._semantic:
            logits = self._head.regions(*given, *read)
        else:  # padded to the most any pair has: the mask head treats queries one by one
            logits = self._head.masks(*given, pad_sequence([s.queries for s in waiting], batch_first=True), *read)
        return [
            (s.what, drawn.float() if self._semantic else drawn[: len(s.queries)].float())
            for s, drawn in zip(waiting, logits, strict=True)
        ]

    def rest(self) -> Iterator[tuple[T, Tensor]]:
        """What waits still: what each pair is, and its logits, float32: masks ``(K, h, w)``, or a region ``(h, w)``."""
        if self._waiting:
            yield from self._draw()
