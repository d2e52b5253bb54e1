"""Frames for tracking, one at a time: of a video file, or of images that are a video; onwards or backwards.

A frame's number is its place among the frames that ffmpeg decodes, from 1, however long each is shown. So ETA's
``FFmpegVideoReader`` numbers them (``-vsync 0``: none doubled, none dropped), and with it ``apply_model`` and
``to_frames(sample_frames=True)``. In a video of variable frame rate the App, which numbers by time, differs.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import subprocess
import tempfile
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import IO, Protocol

import numpy as np

from .errors import FrameError, ImageError, VideoError
from .ffmpeg import RAW, by_number, decoding, last_words, read_frame, start
from .images import read_image
from .packets import Index, scan, upright_size

#: frames that a file may lack without being damaged: the last ones of a recording that was simply cut
_TOLERANCE = 2


class Frames(Protocol):
    """Frames that are decoded while one iterates over them; every iteration decodes anew.

    Iteration gives ``(number, frame)`` in the order of ``numbers``; a frame is uint8 ``(height, width, 3)``, RGB,
    the caller's own to keep or write on. At most one more is in memory.
    """

    @property
    def size(self) -> tuple[int, int]:
        """``(height, width)`` of every frame, as a person sees it (upright)."""

    @property
    def numbers(self) -> Sequence[int]:
        """Frame numbers in the whole video, from 1, in the order delivered."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]: ...


def open_video(
    path: str | os.PathLike[str],
    *,
    first: int = 1,
    last: int | None = None,
    stride: int = 1,
    reverse: bool = False,
    max_frames: int | None = None,
) -> VideoFrames:
    """A video file's frames.

    Args:
        path: the file
        first: number of the first frame, from 1
        last: number of the last frame, inclusive; by default the video's last
        stride: ``n`` takes every ``n``-th frame, counted from ``first``
        reverse: deliver the same frames from the last to the first. Parts of the video are then put on disk, in the
            folder for temporary files: uncompressed, the frames between two key frames at a time
        max_frames: deliver no more than this many; with ``reverse`` too, those nearest to ``first``

    Raises:
        VideoError: the file is missing or no video that ffmpeg can decode, it does not have the frames asked for, a
            number makes no sense, or there is no ffmpeg. While iterating: the video stops early, which is said after
            all its good frames were delivered
    """
    path = Path(os.path.abspath(path))  # which ffmpeg cannot take for an option or a URL
    if not path.is_file():
        raise VideoError(f"{path} {'is no file' if path.exists() else 'does not exist'}: give the path of a video file")
    if path.stat().st_size == 0:
        raise VideoError(f"{path.name} is empty (0 bytes): give another file, or get it anew")
    index = scan(path)
    numbers = _numbers(path.name, index.promised, first, last, stride, reverse, max_frames)
    return VideoFrames(path, upright_size(path), numbers, index)


def open_sequence(
    paths: Sequence[str | os.PathLike[str]],
    *,
    first: int = 1,
    last: int | None = None,
    stride: int = 1,
    reverse: bool = False,
    max_frames: int | None = None,
) -> SequenceFrames:
    """Image files as the frames of a video: 1 is the first of ``paths``. The other arguments are :func:`open_video`'s.

    Raises:
        VideoError: a number makes no sense, or there is no such frame
        FrameError: a file is missing or no image, or has not the size of the first one delivered; raised when it is
            reached, for the first one at once
    """
    if isinstance(paths, (str, os.PathLike)) or not len(paths):
        raise VideoError(f"paths is {paths!r}: give a list of image files, one a frame")
    return SequenceFrames(paths, _numbers("the sequence", len(paths), first, last, stride, reverse, max_frames))


@dataclass(frozen=True)
class VideoFrames:
    """:class:`Frames` of a video file; made by :func:`open_video`."""

    path: Path
    size: tuple[int, int]
    numbers: range
    _index: Index = field(repr=False)

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        delivered = reached = 0
        read = self._forward if self.numbers.step > 0 else self._backward
        with tempfile.TemporaryFile() as log, contextlib.closing(read(log)) as frames:
            for number, frame in frames:
                delivered, reached = delivered + 1, max(reached, number)
                yield number, frame
            log.seek(0)
            complaint = last_words(log.read(100_000))
        missing = len(self) - delivered
        # without a complaint of ffmpeg's, the file has packets that are not meant to be seen
        damaged = complaint and missing * abs(self.numbers.step) > _TOLERANCE
        if missing and (damaged or max(self.numbers) > self._index.present):
            cure = f", or ask for its good part with last={reached}" if 0 < reached < max(self.numbers) else ""
            raise VideoError(
                f"{self.path.name} is cut short or damaged: {delivered} of the {len(self)} frames asked for could be "
                f"decoded, up to frame {reached} ({complaint or 'the file ends there'}): get it anew{cure}"
            )

    def _forward(self, log: IO[bytes]) -> Iterator[tuple[int, np.ndarray]]:
        command = decoding(self.path, by_number(self.numbers), RAW)
        process = start(*command, stdout=subprocess.PIPE, stderr=log)
        try:
            for number in self.numbers:
                frame = read_frame(process.stdout, self.size)
                if frame is None:
                    process.wait()  # it may have more to say
                    break
                yield number, frame
        finally:  # also when the iteration is abandoned
            process.kill()
            process.stdout.close()
            process.wait()

    def _backward(self, log: IO[bytes]) -> Iterator[tuple[int, np.ndarray]]:
        """Part by part from the back, each decoded forwards onto disk from the key frame that it starts with.

        So every frame is decoded about once, and what is held is bounded by the distance of key frames. That a seek
        hit its mark shows in the presentation times: all those between two of the index must come, which no seek
        that missed can give. Should they not, or if the container tells no times, then all that is left is decoded
        from the beginning, as it would be forwards.
        """
        wanted = self.numbers[::-1]
        wanted = wanted[: bisect_right(wanted, self._index.present)]
        with tempfile.TemporaryFile() as spool:
            while wanted:
                held, count = wanted, 0
                if self._index.times:
                    held, select, seek = self._index.part(wanted)
                    count = self._spool(spool, log, held, select, *seek)
                if count < len(held):
                    held = wanted
                    count = self._spool(spool, log, held, by_number(held))
                for place in reversed(range(count)):
                    if held[place] in wanted:
                        spool.seek(place * self._weight)
                        yield held[place], read_frame(spool, self.size)
                wanted = wanted[: bisect_left(wanted, held[0])]

    @property
    def _weight(self) -> int:
        """Of a frame, in bytes."""
        return math.prod(self.size) * 3

    def _spool(self, spool: IO[bytes], log: IO[bytes], numbers: range, select: str, *options: str) -> int:
        """Put frames on disk; how many came."""
        need, folder = len(numbers) * self._weight, tempfile.gettempdir()
        if need > (room := shutil.disk_usage(folder).free):
            raise VideoError(
                f"{self.path.name} cannot be read backwards: {len(numbers)} frames between key frames need "
                f"{need / 1e9:.1f} GB in {folder}, which has {room / 1e9:.1f}: set TMPDIR to a folder with more room, "
                f"or ask for fewer frames"
            )
        for file in (spool, log):
            file.seek(0)
            file.truncate()
        frames = ("-frames:v", str(len(numbers)), *RAW)
        with start(*decoding(self.path, select, frames, options), stdout=spool, stderr=log) as process:
            try:
                process.wait()
            finally:
                process.kill()
        return spool.seek(0, os.SEEK_END) // self._weight


class SequenceFrames:
    """:class:`Frames` of image files; made by :func:`open_sequence`.

    Args:
        paths: the image files, frame 1 first
        numbers: of the frames to deliver
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]], numbers: range) -> None:
        self.paths = paths
        self.numbers = numbers
        #: the first frame to deliver, until somebody takes it
        self._head: np.ndarray | None = self._read(numbers[0])
        self.size: tuple[int, int] = self._head.shape[:2]

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        for number in self.numbers:
            frame, self._head = self._head, None
            if frame is None or number != self.numbers[0]:
                frame = self._read(number)
            if frame.shape[:2] != self.size:
                (height, width), (given_height, given_width) = self.size, frame.shape[:2]
                raise FrameError(
                    f"frame {number} ({self.paths[number - 1]}) is {given_width}x{given_height}, but frame "
                    f"{self.numbers[0]} is {width}x{height}: give images of one size"
                )
            yield number, frame

    def _read(self, number: int) -> np.ndarray:
        path = self.paths[number - 1]
        try:
            return read_image(path)
        except ImageError as error:
            raise FrameError(f"frame {number} ({path}) cannot be used: {error}: mend it, or leave it out") from error


def _numbers(
    whole: str, count: int, first: int, last: int | None, stride: int, reverse: bool, max_frames: int | None
) -> range:
    """The frame numbers asked for, of ``count``."""
    for name, value in dict(first=first, last=last, stride=stride, max_frames=max_frames).items():
        default = {"last": ", or None for the end", "max_frames": ", or None for all"}.get(name, "")
        if not (value is None and default) and (not isinstance(value, Integral) or value < 1):
            raise VideoError(f"{name} is {value!r}: give a whole number from 1 up{default}")
    end = max(first, count) if last is None else last
    if first > end:
        raise VideoError(f"frames {first}-{last} asked, which end before they begin: give a last of {first} or more")
    if end > count:
        raise VideoError(f"frames {first}-{end} asked, but {whole} has {count}: ask for frames within 1-{count}")
    numbers = range(int(first), int(end) + 1, int(stride))[: None if max_frames is None else int(max_frames)]
    return numbers[::-1] if reverse else numbers
