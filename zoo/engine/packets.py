"""What is in a video file, as its packets tell: how many frames, when each is shown, and where reading can begin."""

from __future__ import annotations

import math
import os
import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from .errors import VideoError
from .ffmpeg import decoding, run

#: seconds that a video may end before its header says so: headers round, and count the sound in
_ROUNDING = 0.5
#: frames that are worth starting ffmpeg for, when reading backwards
_WORTHWHILE = 32
#: seconds before the place asked for at which ffmpeg begins to seek, if frames are not stored as they are shown
_SOONER = Fraction(3, 23)


@dataclass(frozen=True)
class Index:
    """What a video's packets tell about its frames.

    Args:
        present: how many frames there are
        promised: how many there should be; more than ``present`` if the file is cut short
        times: when they are shown, ascending, in the container's units; none if it does not tell of every frame
        keys: number of the first frame from each key frame on, ascending
        seeks: where to seek each key frame, in seconds
    """

    present: int
    promised: int
    times: Sequence[int] = ()
    keys: Sequence[int] = ()
    seeks: Sequence[float] = ()

    def part(self, wanted: range) -> tuple[range, str, tuple[str, ...]]:
        """The frames from a key frame to the last one ``wanted``: numbers, what to select, options for ffmpeg."""
        key = max(0, bisect_right(self.keys, wanted[-1] - _WORTHWHILE) - 1)
        numbers = range(wanted[bisect_left(wanted, self.keys[key])], wanted[-1] + 1)
        seek = ("-noaccurate_seek", "-seek_timestamp", "1", "-ss", f"{self.seeks[key]:.6f}", "-copyts")
        return numbers, f"between(pts,{self.times[numbers[0] - 1]},{self.times[numbers[-1] - 1]})", seek


class _Packet(NamedTuple):
    """Of a video: when it is shown, when decoded, and for how long it is shown, in the container's units."""

    pts: int | None
    dts: int | None
    duration: int
    flags: str

    @property
    def begin(self) -> int:
        return self.pts if self.pts is not None else self.dts or 0

    @property
    def decoded(self) -> int:
        return self.dts if self.dts is not None else self.begin


def scan(path: Path) -> Index:
    """Read a video's packets, without decoding them: the count in a header may be missing, estimated or wrong."""
    entries = "stream=time_base,start_time,duration,nb_frames,has_b_frames:stream_tags=DURATION"
    entries += ":format=format_name,duration,nb_streams:packet=pts,dts,duration,flags"
    # "V": a cover is a video stream too, but not of this kind
    command = ("ffprobe", "-v", "error", "-select_streams", "V:0", "-show_entries", entries, "-of", "compact")
    answer, complaint = run(*command, str(path))
    told: dict[str, dict[str, str]] = {}
    packets = []
    for line in filter(None, answer.decode(errors="replace").splitlines()):
        kind, *pairs = line.split("|")
        told[kind] = values = dict(pair.partition("=")[::2] for pair in pairs if not pair.endswith("=N/A"))
        if kind == "packet":
            pts, dts, duration = (int(values[name]) if name in values else None for name in ("pts", "dts", "duration"))
            packets.append(_Packet(pts, dts, duration or 0, values["flags"]))
    if "format" not in told or ("stream" not in told and complaint):
        raise VideoError(f"{path.name} is no video that ffmpeg can read ({complaint}): convert it, or get it anew")
    if "stream" not in told:
        raise VideoError(f"{path.name} has no moving pictures, only sound or a cover: give the path of a video file")

    shown = [packet for packet in packets if "D" not in packet.flags]  # an edit list discards the others
    if not shown:
        raise VideoError(f"{path.name} has no frames: get it anew")
    times = sorted({packet.pts for packet in shown if packet.pts is not None})
    keys = [packet for packet in packets if "K" in packet.flags and packet.pts is not None]
    # Where a packet has no time, or another's, or stands before the first key frame, it may be no frame: VP8's hidden
    # references, fields, the beginning of a recording that was cut. Then only decoding tells how many there are.
    plain = len(times) == len(shown) and "K" in packets[0].flags and keys[0].pts <= times[0]
    present = len(shown) if plain else _count(path)
    promised = present + _lacking(told["stream"], told["format"], packets, shown)
    if not plain:
        return Index(present, promised)
    unit = Fraction(told["stream"]["time_base"])
    delayed = int(told["stream"].get("has_b_frames", 0)) and "mpeg" not in told["format"]["format_name"]
    seeks = []
    for key, after in zip(keys, [*keys[1:], None], strict=True):
        # Decoded no later than shown, so either will do, but Matroska's index goes by the latter. ffmpeg seeks some
        # time before what it is told, which would find the key frame before; MPEG streams it enters anywhere.
        seek = key.decoded * unit
        later = key.pts * unit + _SOONER
        if delayed and (after is None or after.decoded * unit > later):
            seek = later
        seeks.append(math.ceil(seek * 1_000_000) / 1_000_000)  # rounded down, it would miss
    return Index(present, promised, times, [bisect_left(times, key.pts) + 1 for key in keys], seeks)


def _lacking(stream: dict[str, str], container: dict[str, str], packets: list[_Packet], shown: list[_Packet]) -> int:
    """How many frames a header promises beyond those there are.

    The promise is one of time: a header's count includes frames that an edit list cuts away, or, in AVI, moments
    without a frame. MPEG streams have no header, and promise nothing.
    """
    tag = re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.get("tag:DURATION", ""))  # Matroska's
    if "duration" in stream:
        end = float(stream["duration"]) + float(stream.get("start_time", 0))
    elif tag:
        end = int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3])
    elif "duration" in container and container["nb_streams"] == "1":  # or it may be the sound's
        end = float(container["duration"])
    else:
        return 0
    unit = float(Fraction(stream["time_base"]))
    reached = max(packet.begin + packet.duration for packet in shown) * unit
    apart = (reached - min(packet.begin for packet in shown) * unit) / len(shown)
    if not apart or end - reached <= max(_ROUNDING, 2 * apart):
        return 0
    return max(int(stream.get("nb_frames", 0)) - len(packets), 0) or round((end - reached) / apart)


def _count(path: Path) -> int:
    """How many frames there are, by decoding them all."""
    answer, _ = run(*decoding(path, "1", ("-progress", "pipe:1", "-f", "null", os.devnull)))
    return int([b"0", *re.findall(rb"^frame= *(\d+)", answer, re.MULTILINE)][-1])


def upright_size(path: Path) -> tuple[int, int]:
    """``(height, width)`` of the first frame, by decoding it: which shows that it can be, and turns it upright."""
    answer, complaint = run(*decoding(path, "1", ("-frames:v", "1", "-f", "image2pipe", "-c:v", "ppm", "pipe:1")))
    if not answer:
        raise VideoError(f"{path.name} has no frame that ffmpeg can decode ({complaint}): convert it, or get it anew")
    _, width, height = answer.split(maxsplit=3)[:3]
    return int(height), int(width)
