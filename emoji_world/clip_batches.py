"""Training data of the tracker: stretches of clips, drawn by a worker process into a growing pool."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue as queues
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from .architecture import IMAGE_SIZE
from .batches import FIRST_TRAINING_SEED
from .clips import SEEN, Clip, sample_clip
from .losses import FINE


@dataclass
class Stretch:
    """``T`` frames of a clip at the network's size: ``images`` uint8 ``(T, S, S, 3)``; ``cover`` uint8
    ``(T, N, FINE, FINE)``, 255 where an object fills the cell; ``shares`` float32 ``(T, N)``, how much of it shows.

    ``gap``: frames of the clip from one frame to the next; ``levels``: what the frozen networks make of the images,
    once it is known.
    """

    images: np.ndarray
    cover: np.ndarray
    shares: np.ndarray
    gap: int
    levels: tuple[torch.Tensor, ...] | None = None


def draw_stretch(seed: int, frames: int) -> Stretch | None:
    """A stretch of the clip of ``seed`` that begins where something shows; ``None`` where nothing ever does."""
    rng = np.random.default_rng([seed, 0x57E7])
    gap = int(rng.choice([1, 1, 2, 2, 3]))
    clip = sample_clip(seed, max(48, frames * gap))
    start = int(rng.integers(0, clip.frames - (frames - 1) * gap))
    chosen = range(start, start + (frames - 1) * gap + 1, gap)
    if rng.random() < 0.5:
        chosen = chosen[::-1]
    drawn = _squeezed(clip, chosen, bool(rng.random() < 0.5))
    light = rng.uniform(0.92, 1.08, 3).astype(np.float32)
    drawn[0][:] = (drawn[0] * light).clip(0, 255)
    stretch = Stretch(*drawn, gap)
    return stretch if (stretch.shares[0] >= SEEN).any() else None


def _teaches_memory(stretch: Stretch) -> bool:
    """Whether something that shows in the first frame hides, and comes back."""
    hidden = np.maximum.accumulate(stretch.shares < 0.02, 0)
    return bool(((stretch.shares[0] >= 2 * SEEN) & (hidden & (stretch.shares >= SEEN)).any(0)).any())


def _squeezed(clip: Clip, frames: range, mirrored: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scale = 2 * IMAGE_SIZE / max(clip.width, clip.height)
    areas = clip.areas(scale)
    images = np.zeros((len(frames), IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    cover = np.zeros((len(frames), len(clip.actors), FINE, FINE), np.uint8)
    shares = np.zeros((len(frames), len(clip.actors)), np.float32)
    for k, (image, masks) in enumerate(clip.play(scale, frames)):
        step = -1 if mirrored else 1
        images[k] = cv2.resize(image, (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_AREA)[:, ::step]
        shares[k] = masks.sum((1, 2)) / areas[:, frames[k]]
        for i, mask in enumerate(masks):
            small = cv2.resize(mask.astype(np.uint8) * 255, (FINE, FINE), interpolation=cv2.INTER_AREA)
            cover[k, i] = small[:, ::step]
    return images, cover, shares


def _keep_drawing(queue: multiprocessing.Queue, seed: int, frames: int) -> None:
    os.nice(5)  # the network comes first
    cv2.setNumThreads(1)
    dull, training = 0, os.getppid()
    while os.getppid() == training:  # a training that was killed leaves nobody to draw for
        stretch = draw_stretch(seed, frames)
        seed += 1
        if stretch is None:
            continue
        if not _teaches_memory(stretch):
            dull += 1
            if dull % 3:  # most stretches are: a third of them is enough
                continue
        while os.getppid() == training:
            with contextlib.suppress(queues.Full):
                queue.put(stretch, timeout=5)
                break


class StretchPool:
    """Stretches to train on; each is shown about ``reuse`` times, with other objects of it."""

    def __init__(self, frames: int, first_seed: int, capacity: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._queue = context.Queue(32)
        self._capacity = capacity
        self._held: list[Stretch] = []
        self._next = 0
        first = FIRST_TRAINING_SEED + first_seed
        self._worker = context.Process(target=_keep_drawing, args=(self._queue, first, frames), daemon=True)
        self._worker.start()

    def close(self) -> None:
        """Stop drawing."""
        self._worker.terminate()
        self._worker.join()

    def take_in(self, at_least: int, at_most: int = 8) -> None:
        """Move drawn stretches into the pool; wait until it holds ``at_least``."""
        taken = 0
        while len(self._held) < at_least or (taken < at_most and not self._queue.empty()):
            stretch = self._queue.get()
            taken += 1
            if len(self._held) < self._capacity:
                self._held.append(stretch)
            else:
                self._held[self._next] = stretch
                self._next = (self._next + 1) % self._capacity

    def __len__(self) -> int:
        return len(self._held)

    def sample(self, rng: np.random.Generator, count: int) -> list[Stretch]:
        return [self._held[int(k)] for k in rng.integers(len(self._held), size=count)]
