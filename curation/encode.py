"""Files that are drawn, frame by frame: H.264 through ffmpeg, or PNG; whole at the end, or not there at all."""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import cv2
import numpy as np

from .errors import RenderError

#: files that a folder of images is made of
_IMAGE_NAME = re.compile(r"\d{6,}\.png")


class Form(Enum):
    """What a clip becomes, and how its name ends."""

    MP4 = ".mp4"
    PNG = ".png"
    FOLDER = ""


class Target(NamedTuple):
    """A file or folder to be written; ``overwrite``: it may take the place of what an earlier run wrote."""

    path: Path
    form: Form
    overwrite: bool


def check_ffmpeg(encodes: bool) -> None:
    """That ffmpeg is there, and where it ``encodes``, that it writes H.264.

    No other encoder is taken instead: what does not play in a browser or on a slide is worse than a sentence.

    Raises:
        RenderError: it is not
    """
    missing = [name for name in ("ffmpeg", "ffprobe") if shutil.which(name) is None]
    if missing:
        raise RenderError(f"{' and '.join(missing)} not found on PATH: install ffmpeg, which brings both")
    if encodes:
        listed = subprocess.run(["ffmpeg", "-v", "error", "-encoders"], capture_output=True, text=True, check=False)
        if not re.search(r"^\s*V\S*\s+libx264\s", listed.stdout, re.MULTILINE):
            raise RenderError(
                f"{shutil.which('ffmpeg')} cannot write H.264: it was built without libx264. Install one that was (the "
                "distribution's full ffmpeg, or conda-forge's), or write images instead"
            )


def check_targets(folder: Path, targets: Sequence[Target], sources: Iterable[str]) -> None:
    """That ``targets``, all in ``folder``, can be written without harm: to ``sources``, the media, above all.

    Raises:
        RenderError: they cannot
    """
    if folder.exists() and not folder.is_dir():
        raise RenderError(f"{folder} is a file: name a folder for the output")
    files = {os.path.realpath(path) for path in sources}
    folders = {os.path.dirname(path) for path in files}
    there = [target for target in targets if os.path.lexists(target.path)]
    for target in there:
        if os.path.realpath(target.path) in files | folders:
            raise RenderError(f"{target.path} is what is to be drawn on: name another folder for the output")
    if there and not there[0].overwrite:
        more = f", and {len(there) - 1} more" if len(there) > 1 else ""
        raise RenderError(f"{there[0].path} exists{more}: choose another folder, or overwrite=True")
    for target in there:
        path, is_folder = target.path, target.path.is_dir()
        strangers = is_folder and not all(_IMAGE_NAME.fullmatch(entry.name) for entry in path.iterdir())
        if is_folder != (target.form is Form.FOLDER) or strangers:
            raise RenderError(f"{path} is not what an earlier run wrote, and is not overwritten: move it away")


def unique(names: Iterable[str]) -> Iterator[str]:
    """File names for ``names``, each once, also where upper and lower case are the same."""
    taken: set[str] = set()
    for name in names:
        base = re.sub(r'[\x00-\x1f/\\:*?"<>|]+', "_", name).strip(" .")[:120] or "unnamed"
        candidate, k = base, 1
        while candidate.casefold() in taken:
            k += 1
            candidate = f"{base}-{k}"
        taken.add(candidate.casefold())
        yield candidate


@contextlib.contextmanager
def staging(target: Target) -> Iterator[Path]:
    """A hidden path beside the target that takes its name at the end, or goes if there is no good end."""
    path, mark = target.path, uuid4().hex[:8]
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{mark}.part")
    try:
        yield staged
        if not target.overwrite and os.path.lexists(path):
            raise RenderError(f"{path} has come into being meanwhile, and was left as it is")
        if path.is_dir():  # no system replaces a folder that is not empty
            old = path.with_name(f".{mark}.old")
            os.replace(path, old)
            os.replace(staged, path)
            shutil.rmtree(old)
        else:
            os.replace(staged, path)
    finally:
        if staged.is_dir():
            shutil.rmtree(staged, ignore_errors=True)
        else:
            staged.unlink(missing_ok=True)


class Images:
    """PNG files: one, or a folder of them that are named after their frames."""

    def __init__(self, path: Path, form: Form) -> None:
        self._path, self._form = path, form

    def write(self, number: int, image: np.ndarray) -> None:
        """Write ``image``, uint8 ``(H, W, 3)`` RGB."""
        encoded, data = cv2.imencode(".png", image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 3])
        if not encoded:
            raise RenderError(f"frame {number} could not be written as PNG")
        path = self._path / f"{number:06d}.png" if self._form is Form.FOLDER else self._path
        path.write_bytes(data.tobytes())

    def finish(self) -> None:
        """Nothing is pending."""

    def close(self) -> None:
        """Nothing is open."""


class Encoder:
    """An ffmpeg process that makes H.264 of raw frames; the first frame starts it, and settles the size."""

    def __init__(self, path: Path, rate: Fraction, crf: int) -> None:
        self._path, self._rate, self._crf = path, rate, crf
        self._shape: tuple[int, ...] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        # not a pipe, which would fill up while nobody reads it
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - close() closes it

    def write(self, number: int, image: np.ndarray) -> None:
        """Encode ``image``, uint8 ``(H, W, 3)`` RGB; an odd side is made even by a repeated row or column."""
        if self._process is None:
            self._start(image.shape)
        if image.shape != self._shape:
            now, before = (f"{shape[1]}x{shape[0]}" for shape in (image.shape, self._shape))
            raise RenderError(f"frame {number} is {now} pixels, those before it {before}: a video has one size")
        down, right = image.shape[0] % 2, image.shape[1] % 2
        if down or right:
            image = cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_REPLICATE)
        try:
            self._process.stdin.write(np.ascontiguousarray(image).data)
        except BrokenPipeError:
            raise RenderError(f"ffmpeg stopped: {self._said()}") from None

    def finish(self) -> None:
        """Wait until the file is whole."""
        with contextlib.suppress(BrokenPipeError):  # the exit status says more
            self._process.stdin.close()
        if self._process.wait():
            raise RenderError(f"ffmpeg failed: {self._said()}")

    def close(self) -> None:
        """End ffmpeg, if it was not finished."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
            self._process.wait()
        self._errors.close()

    def _start(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        height, width = (2 * math.ceil(side / 2) for side in shape[:2])
        command = ["ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
        command += ["-framerate", str(self._rate), "-i", "-"]
        # players take video for BT.709 unless told otherwise, while ffmpeg makes BT.601 of RGB unless told otherwise
        command += ["-vf", "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd,format=yuv420p"]
        command += [arg for name in ("colorspace", "color_primaries", "color_trc") for arg in (f"-{name}", "bt709")]
        command += ["-c:v", "libx264", "-crf", str(self._crf), "-movflags", "+faststart", "-f", "mp4", "-y"]
        self._process = subprocess.Popen(
            [*command, str(self._path)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._errors
        )

    def _said(self) -> str:
        self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {self._process.returncode}"
