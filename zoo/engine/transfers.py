"""Tensors on their way between the host and the network's device, without either waiting for the other.

On a GPU the host only orders work. Whoever asks for a number waits until all that was ordered is done, and then the GPU
waits, until it hears of something to do. So numbers set out as soon as they are ordered, more work is ordered, and only
then are they asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

T = TypeVar("T")


def to_device(values: Any, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """A small tensor of ``values`` on the device; the host does not wait for it to arrive.

    Args:
        values: a tensor, or what ``torch.tensor`` takes
        device: where to
        dtype: of the result
    """
    tensor = values if isinstance(values, Tensor) else torch.tensor(values, dtype=dtype)
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class ToHost:
    """A tensor that sets out for the host now, and is needed there later.

    Args:
        tensor: anywhere
    """

    def __init__(self, tensor: Tensor) -> None:
        self._arrived: Any = None
        if tensor.device.type != "cuda":
            self._there = tensor if tensor.device.type == "cpu" else tensor.cpu()
            return
        self._there = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        self._there.copy_(tensor, non_blocking=True)
        self._arrived = torch.cuda.current_stream(tensor.device).record_event()  # of the tensor's GPU, not of the first

    def get(self) -> Tensor:
        """The tensor on the host, once it is there."""
        if self._arrived is not None:
            self._arrived.synchronize()
            self._arrived = None
        return self._there


def rows_of(tensor: Tensor, rows: Sequence[int]) -> Tensor:
    """Some rows of a tensor, in this order; the host does not wait. All of them are the tensor itself, no copy."""
    if list(rows) == list(range(len(tensor))):
        return tensor
    return tensor[to_device(list(rows), tensor.device, torch.long)]


def fetch(*tensors: Tensor) -> list[np.ndarray]:
    """Tensors of one device on the host, all of them with one transfer, as float32 of their shapes."""
    together = ToHost(torch.cat([t.flatten().float() for t in tensors])).get().numpy()
    ends = np.cumsum([t.numel() for t in tensors])
    parts = np.split(together, ends[:-1])
    return [part.reshape(tuple(t.shape)) for part, t in zip(parts, tensors, strict=True)]


def ahead(items: Iterable[T], count: int = 1) -> Iterator[T]:
    """The same items; ``count`` more have been made when one is given out, as far as there are so many."""
    waiting: deque[T] = deque()
    for item in items:
        waiting.append(item)
        if len(waiting) > count:
            yield waiting.popleft()
    while waiting:
        yield waiting.popleft()
