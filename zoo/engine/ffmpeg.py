"""Commands of ffmpeg, run without leaving anything behind."""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from .errors import VideoError

RAW = ("-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1")


def decoding(path: Path, select: str, output: Sequence[str], options: Sequence[str] = ()) -> list[str]:
    """A command. Frames are numbered over changes of size (-reinit_filter), and scaled to the size of the first."""
    which = ("-map", "0:V:0", "-vf", f"select='{select}'", *every_frame())
    return ["ffmpeg", "-v", "error", "-nostdin", *options, "-reinit_filter", "0", "-i", str(path), *which, *output]


def by_number(numbers: range) -> str:
    """What to select when decoding from the beginning."""
    first, last = sorted((numbers[0] - 1, numbers[-1] - 1))
    return f"between(n,{first},{last})*not(mod(n-{first},{abs(numbers.step)}))"


@functools.cache
def every_frame() -> tuple[str, str]:
    """The options for as many frames out as in: renamed in ffmpeg 5.1; the old name is to go."""
    version = re.search(rb"version \D*(\d+)\.(\d+)", run("ffmpeg", "-version")[0])
    old = version and (int(version[1]), int(version[2])) < (5, 1)
    return ("-vsync", "0") if old else ("-fps_mode", "passthrough")


def start(*command: str, stdout: int | IO[bytes], stderr: int | IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a command.

    Raises:
        VideoError: it is not installed
    """
    try:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
    except (FileNotFoundError, PermissionError):
        raise VideoError(f"{command[0]} is not on the PATH: install ffmpeg, which brings ffprobe too") from None


def run(*command: str) -> tuple[bytes, str]:
    """What a command answered, and what it complained of."""
    with start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        answer, errors = process.communicate()
    return answer, last_words(errors)


def last_words(errors: bytes) -> str:
    """The beginning of what ffmpeg complained of, without addresses and repetitions."""
    text = re.sub(r"\[[^]\n]* @ \w+\] *", "", errors.decode(errors="replace"))
    lines = (line.strip() for line in text.splitlines() if "Last message repeated" not in line)
    return "; ".join(list(dict.fromkeys(filter(None, lines)))[:3])[:300]


def read_frame(source: IO[bytes], size: tuple[int, int]) -> np.ndarray | None:
    """The next of raw frames, ``None`` at their end."""
    frame = np.empty((*size, 3), np.uint8)
    return frame if source.readinto(frame.data.cast("B")) == frame.nbytes else None
