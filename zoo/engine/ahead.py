"""What comes next is begun while what is here is worked through: frames are read ahead, and encoded ahead on a GPU.

Two steps, each an iterator over another. :func:`read_ahead` works in a thread: decoding and squeezing need no GPU, and
leave Python's lock alone most of the time. :func:`encode_ahead` stays in the caller's thread, for what is compiled or
captured belongs to one; there the next frame's encoding is *launched* before this frame is handed over, on a stream of
its own, so that the GPU is busy with it whenever tracking waits for the host. Without a GPU nothing is launched, and
each frame is encoded when its turn comes. Neither changes a number, the order, or what comes before an error.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, is_dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
U = TypeVar("U")

#: frames that are read before they are needed
DEPTH = 2
_END = object()


def read_ahead(items: Iterable[T], prepare: Callable[[T], U], depth: int = DEPTH) -> Iterator[U]:
    """``prepare(item)`` of each item, in order, ``depth`` of them ahead of whoever reads.

    Args:
        items: read in one other thread, one at a time; no more than ``depth`` beyond what was taken
        prepare: done there, too
        depth: from 1

    Raises:
        Exception: what ``items`` or ``prepare`` raised, after all that came before it

    When the iterator is closed, or dropped, what is being read is read to its end, and nothing after it.
    """
    source = iter(items)

    def one() -> Any:
        item = next(source, _END)
        return item if item is _END else prepare(item)

    pool = ThreadPoolExecutor(1, thread_name_prefix="frames")
    try:
        waiting = deque(pool.submit(one) for _ in range(depth))
        while (item := waiting.popleft().result()) is not _END:
            waiting.append(pool.submit(one))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)


def encode_ahead(items: Iterable[T], encode: Callable[[T], U], device: torch.device) -> Iterator[U]:
    """``encode(item)`` of each item, in order; on a GPU the next one is launched before one is handed over.

    Args:
        items: what to encode
        encode: called in this thread; what it gives is a tensor, or dataclasses and tuples of tensors, among others
        device: where it computes

    Raises:
        Exception: what ``items`` or ``encode`` raised, after all that came before it
    """
    side: _Side = _Stream(device) if device.type == "cuda" else _Nothing()
    source, waiting, failure = iter(items), deque(), None
    while failure is None:
        try:
            item = next(source)
            waiting.append(side.launch(lambda item=item: encode(item)))
        except Exception as error:  # the end of the items, too
            failure = error
        while waiting and (failure is not None or len(waiting) > 1):
            yield side.ready(waiting.popleft())
    if not isinstance(failure, StopIteration):
        raise failure


class _Side(Protocol):
    """Where encoding goes on."""

    def launch(self, encode: Callable[[], Any]) -> Any: ...

    def ready(self, launched: Any) -> Any: ...


class _Nothing:
    """Nowhere: it is done when it is needed."""

    def launch(self, encode: Callable[[], U]) -> Callable[[], U]:
        return encode

    def ready(self, launched: Callable[[], U]) -> U:
        return launched()


class _Stream:
    """A stream of a GPU beside the current one."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        # what the weights are copied by
        self._stream.wait_stream(torch.cuda.current_stream(device))

    def launch(self, encode: Callable[[], U]) -> tuple[U, torch.cuda.Event]:
        with torch.cuda.stream(self._stream):
            encoded = encode()
            return encoded, self._stream.record_event()

    def ready(self, launched: tuple[U, torch.cuda.Event]) -> U:
        encoded, event = launched
        current = torch.cuda.current_stream(self._device)
        current.wait_event(event)
        for tensor in tensors_of(encoded):
            tensor.record_stream(current)  # or its memory would be given away on the other stream while this one reads
        return encoded


def tensors_of(value: Any) -> Iterator[Tensor]:
    """All tensors in a value of dataclasses, tuples and lists."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from tensors_of(part)
    elif is_dataclass(value) and not isinstance(value, type):
        for part in fields(value):
            yield from tensors_of(getattr(value, part.name))
