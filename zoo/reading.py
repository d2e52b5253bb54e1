"""Images on their way to the network: read ahead, by processes or by a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import torch
from torch.utils.data import DataLoader

from .inputs import Loaded, LoadImage
from .rebuild import Anywhere

T = TypeVar("T")

#: batches that are read before they are asked for: by a thread, or by each process
_AHEAD = 2


class Files(Anywhere):
    """Image files, as a data set for torch's loader."""

    def __init__(self, load: LoadImage, paths: Sequence[str | None]) -> None:
        self.load, self.paths = load, paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, k: int) -> Loaded:
        try:
            return self.load({"filepath": self.paths[k]})
        except Exception as error:  # whatever it is, it must cost one sample and be recorded there
            return None, (0, 0), f"{type(error).__name__}: {error}"


def read(load: LoadImage, paths: Sequence[str | None], batch_size: int, num_workers: int = 0) -> Iterator[list[Loaded]]:
    """Batches of images, in order.

    Args:
        load: the model's way of reading
        paths: of the files
        batch_size: images in a batch
        num_workers: processes that read; 0: a thread
    """
    batches = DataLoader(
        Files(load, paths), batch_size=batch_size, num_workers=num_workers, collate_fn=list,
        prefetch_factor=_AHEAD if num_workers else None, generator=torch.Generator(),  # not everybody's
    )  # fmt: skip
    if num_workers:
        yield from batches
    else:
        yield from ahead(batches, _AHEAD)


def ahead(things: Iterable[T], count: int) -> Iterator[T]:
    """The same things, the next ``count`` of which are made by a thread meanwhile."""
    made: queue.Queue = queue.Queue(count)
    over = threading.Event()

    def put(kind: str, thing: object) -> bool:
        while not over.is_set():
            try:
                made.put((kind, thing), timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def make() -> None:
        try:
            for thing in things:
                if not put("thing", thing):
                    return
            put("end", None)
        except BaseException as error:  # for whoever waits
            put("error", error)

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    try:
        while True:
            kind, thing = made.get()
            if kind == "end":
                return
            if kind == "error":
                raise thing
            yield thing
    finally:
        over.set()
        thread.join()
