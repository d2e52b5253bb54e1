"""Frames come one at a time, upright, under the numbers that FiftyOne gives them, of whole and of broken videos."""

from __future__ import annotations

import gc
import itertools
import os
import shutil
import struct
import subprocess
import tracemalloc
import weakref
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from eta.core.video import FFmpegVideoReader
from PIL import Image
from support import media

from zoo.engine import ffmpeg as commands
from zoo.engine import frames
from zoo.engine.errors import FrameError, VideoError
from zoo.engine.frames import Frames, open_sequence, open_video

#: frames of the videos here, and how much brighter each is than the one before
COUNT, STEP = 40, 6
HEIGHT, WIDTH = 48, 64


def ffmpeg(*arguments: str | Path, **options) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True, **options)


def raw(pixels: Iterable[np.ndarray]) -> dict:
    return {"input": b"".join(frame.tobytes() for frame in pixels)}


def tell(frame: np.ndarray) -> int:
    """Which frame of a :func:`clip` this is, by what is seen on it."""
    return round((float(frame.mean()) - 5) / STEP) + 1


def clip(path: Path, *options: str, count: int = COUNT, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    """A video with a key frame every ten frames and B-frames between, whose frames tell their numbers."""
    shades = (np.full((*size, 3), 5 + STEP * (k % COUNT), np.uint8) for k in range(count))
    source = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[1]}x{size[0]}", "-r", "5", "-i", "-")
    coding = () if path.suffix == ".gif" else ("-pix_fmt", "yuv420p", "-g", "10", "-bf", "2")
    ffmpeg(*source, *coding, *options, path, **raw(shades))
    return path


def noisy(path: Path, *options: str) -> Path:
    """A video of something that moves and takes some bytes."""
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=4", "-pix_fmt", "yuv420p", "-g", "10", *options, path)
    return path


def gaps() -> tuple[str, ...]:
    """For a :func:`clip` of which eight frames are followed by each fifth one of the others."""
    return "-vf", "select='lt(n,8)+not(mod(n,5))'", *commands.every_frame()


def cut(path: Path, share: float = 0.6) -> Path:
    """The file without its end."""
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def numbers(source: Frames) -> list[int]:
    return [number for number, _ in source]


def read(source: Iterable[tuple[int, np.ndarray]]) -> tuple[list[tuple[int, np.ndarray]], str]:
    """What was delivered, and the error after it."""
    delivered = []
    try:
        for item in source:
            delivered.append(item)
    except VideoError as error:
        return delivered, str(error)
    return delivered, ""


def same(some: Iterable[tuple[int, np.ndarray]], others: Iterable[tuple[int, np.ndarray]]) -> bool:
    pairs = itertools.zip_longest(some, others, fillvalue=(0, None))
    return all(n == m and np.array_equal(frame, other) for (n, frame), (m, other) in pairs)


def decoders() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if child.name() in ("ffmpeg", "ffprobe")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return clip(tmp_path_factory.mktemp("video") / "whole.mp4")


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> list[Path]:
    paths = [tmp_path_factory.getbasetemp() / f"image{k}.png" for k in range(COUNT)]
    for k, path in enumerate(paths):
        Image.new("RGB", (WIDTH, HEIGHT), (5 + STEP * k,) * 3).save(path)
    return paths


@pytest.fixture(params=["video", "sequence"])
def opened(request):
    """Opens a video of forty frames, or the same as images."""
    name, opener = {"video": ("whole", open_video), "sequence": ("images", open_sequence)}[request.param]
    return lambda **options: opener(request.getfixturevalue(name), **options)


# --------------------------------------------------------------------------------------------------- what is asked


CHOICES = [
    (dict(), range(1, 41)),
    (dict(first=7), range(7, 41)),
    (dict(last=7), range(1, 8)),
    (dict(first=11, last=20), range(11, 21)),
    (dict(first=40), [40]),
    (dict(first=5, last=5, stride=3), [5]),
    (dict(stride=7), [1, 8, 15, 22, 29, 36]),
    (dict(first=4, last=20, stride=8), [4, 12, 20]),
    (dict(stride=1000), [1]),
    (dict(max_frames=3), [1, 2, 3]),
    (dict(max_frames=1000), range(1, 41)),
    (dict(first=np.int64(9), last=30, stride=9, max_frames=2), [9, 18]),
]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("options", "wanted"), CHOICES, ids=str)
def test_what_is_asked_is_delivered_under_its_number(opened, options, wanted, reverse):
    source = opened(**options, reverse=reverse)
    wanted = list(wanted)[:: -1 if reverse else 1]
    assert len(source) == len(wanted) and list(source.numbers) == wanted and source.size == (HEIGHT, WIDTH)
    assert [(number, tell(frame)) for number, frame in source] == [(number, number) for number in wanted]


REFUSED = [
    (dict(first=50, last=60), "frames 50-60 asked, but .* has 40: ask for frames within 1-40"),
    (dict(last=41), "frames 1-41 asked, but .* has 40"),
    (dict(first=41), "frames 41-41 asked, but .* has 40"),
    (dict(first=9, last=8), "frames 9-8 asked, which end before they begin: give a last of 9 or more"),
    (dict(first=0), "first is 0: give a whole number from 1 up"),
    (dict(first=None), "first is None: give a whole number"),
    (dict(last=-1), "last is -1: give a whole number from 1 up, or None for the end"),
    (dict(stride=0), "stride is 0: give"),
    (dict(stride=1.5), "stride is 1.5: give"),
    (dict(max_frames=0), "max_frames is 0: give a whole number from 1 up, or None for all"),
    (dict(max_frames="3"), "max_frames is '3'"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=str)
def test_what_makes_no_sense_is_refused_at_once(opened, options, message):
    with pytest.raises(VideoError, match=message):
        opened(**options)


@pytest.mark.parametrize("reverse", [False, True])
def test_frames_are_plain_arrays_of_the_callers_own(opened, reverse):
    kept = []
    for _, frame in opened(reverse=reverse, max_frames=5):
        assert frame.dtype == np.uint8 and frame.shape == (HEIGHT, WIDTH, 3)
        assert frame.flags.c_contiguous and frame.flags.writeable
        kept.append(frame.copy())
        frame[:] = 255
    assert sorted(map(tell, kept)) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("reverse", [False, True])
def test_every_iteration_begins_anew_and_none_disturbs_another(opened, reverse):
    source = opened(reverse=reverse)
    once = list(source)
    assert same(once, source)
    assert all(same([a], [b]) and same([b], [c]) for a, b, c in zip(once, source, source, strict=True))


# ---------------------------------------------------------------------------------------------- every kind of video


def test_colours_are_red_green_and_blue(tmp_path):
    path = media.video(tmp_path / "colours.mp4", media.COLOURS)
    for (_, frame), colour in zip(open_video(path), media.COLOURS.values(), strict=True):
        assert np.abs(frame.astype(int) - colour).max() <= 6


KINDS = {
    "mp4": (), "fragmented.mp4": ("-movflags", "frag_keyframe+empty_moov"), "mkv": (), "ts": (), "avi": (), "gif": (),
    "flv": ("-bf", "0"), "mpg": ("-r", "25"), "mjpeg": ("-bf", "0"), "all-intra.mp4": ("-g", "1"),
    "one-key.mp4": ("-g", "999"),
    "open-gop.ts": ("-c:v", "mpeg2video", "-r", "25"), "small.mov": ("-s", "6x4", "-c:v", "png", "-pix_fmt", "rgb24"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_eta_reads_the_same_and_so_does_reverse(tmp_path, kind):
    path = clip(tmp_path / f"video.{kind}", *KINDS[kind], count=75)
    once = list(open_video(path))
    assert len(open_video(path)) == len(once) >= 75  # of them, at a new frame rate, some are repeated
    assert same(reversed(once), open_video(path, reverse=True))
    if kind != "mjpeg":  # whose length ETA cannot tell
        with FFmpegVideoReader(str(path)) as reader:
            theirs = [(reader.frame_number, frame) for frame in reader]
        assert theirs
        assert len(once) == len(theirs) or kind == "mpg"  # whose length it underestimates
        assert same(once[: len(theirs)], theirs)


def test_parts_are_sought_when_reading_backwards(tmp_path, monkeypatch):
    spool, parts = frames.VideoFrames._spool, []

    def watch(self, *arguments):
        parts.append((arguments[2], spool(self, *arguments)))
        return parts[-1][1]

    monkeypatch.setattr(frames.VideoFrames, "_spool", watch)
    for kind in ("mp4", "mkv", "ts"):
        parts.clear()
        list(open_video(clip(tmp_path / f"video.{kind}", count=200), reverse=True))
        assert len(parts) >= 4 and all(32 <= len(held) == count < 50 for held, count in parts)


@pytest.mark.parametrize("kind", ["mp4", "mkv", "ts", "avi"])
def test_variable_frame_rate_is_numbered_as_eta_does(tmp_path, kind):
    path = clip(tmp_path / f"video.{kind}", *gaps())
    shown = [n for n in range(COUNT) if n < 8 or n % 5 == 0]
    ours = list(open_video(path))
    assert [tell(frame) for _, frame in ours] == [n + 1 for n in shown]
    assert [number for number, _ in ours] == list(range(1, len(shown) + 1))
    with FFmpegVideoReader(str(path)) as reader:
        assert same(ours, ((reader.frame_number, frame) for frame in reader))
    assert same(reversed(ours), open_video(path, reverse=True))


def test_numbers_are_those_of_to_frames(tmp_path, new_dataset):
    import fiftyone as fo

    path = clip(tmp_path / "video.mp4", *gaps())
    view = new_dataset([fo.Sample(filepath=path)]).to_frames(
        sample_frames=True, output_dir=tmp_path / "frames", frames_patt="%06d.png"
    )
    theirs = dict(zip(*view.values(["frame_number", "filepath"]), strict=True))
    sequence = open_sequence([theirs[number] for number in sorted(theirs)])
    assert sorted(theirs) == list(open_video(path).numbers)
    assert same(open_video(path), sequence)


def test_one_frame(tmp_path):
    for kind in ("mp4", "mkv", "gif"):
        path = clip(tmp_path / f"one.{kind}", count=1)
        for options in ({}, dict(reverse=True), dict(stride=5, reverse=True)):
            assert [(n, tell(f)) for n, f in open_video(path, **options)] == [(1, 1)]


TURNS = {
    90: ((0, 1, -1, 0), lambda stored: np.rot90(stored, -1)),
    180: ((-1, 0, 0, -1), lambda stored: np.rot90(stored, 2)),
    270: ((0, -1, 1, 0), np.rot90),
}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("turn", TURNS)
def test_a_turned_video_comes_upright(tmp_path, turn, reverse):
    """As a phone writes it, and a browser shows it. ETA and FiftyOne's metadata have it lie, with ffmpeg 5 on."""
    (a, b, c, d), upright = TURNS[turn]
    stored = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    stored[: HEIGHT // 2, : WIDTH // 2], stored[HEIGHT // 2 :, WIDTH // 2 :] = (240, 20, 20), (20, 20, 240)
    source = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", "5", "-i", "-")
    ffmpeg(*source, "-pix_fmt", "yuv420p", path := tmp_path / "phone.mp4", **raw([stored] * 3))
    content = bytearray(path.read_bytes())
    struct.pack_into(">9i", content, content.index(b"tkhd") + 44, *(
        value << (30 if k == 8 else 16) for k, value in enumerate((a, b, 0, c, d, 0, 0, 0, 1))
    ))  # fmt: skip
    path.write_bytes(content)

    video = open_video(path, reverse=reverse)

    want = upright(stored).astype(int)
    assert video.size == want.shape[:2] and len(video) == 3
    for _, frame in video:
        assert np.median(np.abs(frame - want)) <= 6 and (np.abs(frame - want) > 30).mean() < 0.1


def test_a_size_that_changes_on_the_way_is_that_of_the_first(tmp_path):
    parts = [clip(tmp_path / f"{h}.mjpeg", "-bf", "0", count=10, size=(h, w)) for h, w in ((HEIGHT, WIDTH), (64, 96))]
    path = tmp_path / "both.mjpeg"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    for options in (dict(), dict(first=8, last=14), dict(stride=3), dict(reverse=True)):
        video = open_video(path, **options)
        assert video.size == (HEIGHT, WIDTH)
        assert [(n, tell(f)) for n, f in video] == [(n, (n - 1) % 10 + 1) for n in video.numbers]


# ------------------------------------------------------------------------------- videos whose headers say otherwise


def test_frames_that_an_edit_list_cuts_away_do_not_count(tmp_path, whole):
    ffmpeg("-ss", "3", "-i", whole, "-c", "copy", path := tmp_path / "cut.mp4")
    video = open_video(path)
    assert [tell(frame) for _, frame in video] == list(range(COUNT + 1 - len(video), COUNT + 1))
    with FFmpegVideoReader(str(path)) as reader:
        assert reader.total_frame_count > len(video)
    assert same(reversed(list(video)), open_video(path, reverse=True))


def test_sound_that_goes_on_is_no_promise_of_frames(tmp_path, whole):
    ffmpeg("-i", whole, "-f", "lavfi", "-i", "sine=d=12", "-c:v", "copy", path := tmp_path / "long.mkv")
    assert numbers(open_video(path)) == list(range(1, COUNT + 1))


def test_a_recording_that_begins_between_key_frames(tmp_path):
    path = noisy(tmp_path / "whole.ts")
    content = path.read_bytes()
    packets = len(content) // 188
    path.write_bytes(content[: 188 * 3] + content[188 * (packets // 4) :])
    with FFmpegVideoReader(str(path)) as reader:
        theirs = list(reader)
    once = list(open_video(path))
    assert 20 < len(theirs) <= len(once) == len(open_video(path)) < 40
    assert same(once[: len(theirs)], enumerate(theirs, 1))
    assert same(reversed(once), open_video(path, reverse=True))


def test_hidden_frames_do_not_count(tmp_path):
    coder = subprocess.run(["ffmpeg", "-v", "quiet", "-encoders"], capture_output=True, text=True).stdout
    if "libvpx " not in coder:
        pytest.skip("this ffmpeg has no libvpx")
    source = ("-f", "lavfi", "-i", "mandelbrot=s=96x64:r=10,trim=duration=4", "-c:v", "libvpx", "-b:v", "60k")
    options = ("-auto-alt-ref", "1", "-lag-in-frames", "20", "-arnr-maxframes", "7", "-g", "200")
    for turn in ("1", "2"):
        ffmpeg(*source, *options, "-pass", turn, "-passlogfile", tmp_path / "log", path := tmp_path / "hidden.webm")
    once = list(open_video(path))
    assert len(open_video(path)) == len(once) == 40
    assert same(reversed(once), open_video(path, reverse=True))


# ---------------------------------------------------------------------------------------------------- broken videos


@pytest.mark.parametrize("name", ["plain", "-v.mp4", "a b'c,[0];%03d.mp4", "http:b.mp4", "é漢.mp4"])
def test_any_name_will_do(tmp_path, monkeypatch, whole, name):
    monkeypatch.chdir(tmp_path)
    shutil.copy(whole, tmp_path / name)
    assert numbers(open_video(name, max_frames=2, reverse=True)) == [2, 1]


def broken(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.mp4"
    if kind == "folder":
        path.mkdir()
    elif kind == "garbage":
        path.write_bytes(np.random.default_rng(0).bytes(5000))
    elif kind == "page":
        path.write_text("<html>not found</html>")
    elif kind == "empty":
        path.touch()
    elif kind == "sound":
        ffmpeg("-f", "lavfi", "-i", "sine=d=1", path)
    elif kind == "cover":
        cover = media.plain(folder / "cover.png", "red")
        inputs = ("-f", "lavfi", "-i", "sine=d=1", "-i", cover, "-map", "0", "-map", "1", "-c:v", "copy")
        ffmpeg(*inputs, "-disposition:v", "attached_pic", path)
    elif kind == "index at its end":
        cut(noisy(path))
    elif kind == "wrong pixels":
        clip(path, "-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-bf", "0")
        content = path.read_bytes()
        start, end = content.index(b"mdat") + 4, content.index(b"moov")
        path.write_bytes(content[:start] + b"\7" * (end - start) + content[end:])
    elif kind == "no frames":
        path = folder / "video.avi"
        ffmpeg("-f", "lavfi", "-i", "color=s=32x32:d=1", "-frames:v", "0", path)
    return path


BROKEN = {
    "missing": "missing.mp4 does not exist: give the path",
    "folder": "folder.mp4 is no file: give the path",
    "empty": r"empty.mp4 is empty \(0 bytes\)",
    "garbage": r"garbage.mp4 is no video that ffmpeg can read \(.+\): convert it, or get it anew",
    "page": "page.mp4 is no video that ffmpeg can read",
    "index at its end": "is no video that ffmpeg can read .*moov atom not found",
    "sound": "sound.mp4 has no moving pictures, only sound",
    "cover": "cover.mp4 has no moving pictures, only sound or a cover",
    "wrong pixels": r"wrong pixels.mp4 has no frame that ffmpeg can decode \(.+\)",
    "no frames": "video.avi has no frames",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_video_is_refused_at_once(tmp_path, kind):
    path = broken(tmp_path, kind)
    with pytest.raises(VideoError, match=BROKEN[kind]) as caught:
        open_video(path)
    assert "\n" not in str(caught.value) and " @ 0x" not in str(caught.value) and isinstance(caught.value, ValueError)
    assert not decoders()


PROMISES = {"mp4": ("-movflags", "faststart"), "mkv": (), "avi": (), "flv": ()}


@pytest.mark.parametrize("kind", PROMISES)
def test_a_video_cut_short_gives_its_good_frames_and_then_says_so(tmp_path, kind):
    path = noisy(tmp_path / f"video.{kind}", *PROMISES[kind])
    whole = list(open_video(path))
    cut(path)

    good, error = read(open_video(path))

    # the last one may be half a picture
    assert 10 < len(good) < 35 and same(good[:-1], whole[: len(good) - 1])
    assert f"{path.name} is cut short or damaged: {len(good)} of the " in error and "\n" not in error
    assert f", up to frame {len(good)} (" in error and error.endswith(f"or ask for its good part with last={len(good)}")
    backwards, again = read(open_video(path, reverse=True))
    assert same(backwards, reversed(good)) and again.startswith(error.split(":")[0])
    assert read(open_video(path, last=len(good)))[1] == ""
    few, error = read(open_video(path, stride=9))
    assert [n for n, _ in few] == list(range(1, len(good) + 1, 9)) and f"up to frame {few[-1][0]} (" in error
    none, error = read(open_video(path, first=len(good) + 2, last=38))
    assert not none and "0 of the " in error and "last=" not in error
    assert not decoders()


@pytest.mark.parametrize("kind", ["ts", "mpg"])
def test_a_stream_cut_short_is_a_shorter_stream(tmp_path, kind):
    path = cut(noisy(tmp_path / f"video.{kind}", *(("-r", "25") if kind == "mpg" else ())))
    video = open_video(path)
    delivered, error = read(video)
    assert len(video) - 2 <= len(delivered) <= len(video) and not error


def test_damage_on_the_way_is_said_after_all_that_is_good(tmp_path):
    path = noisy(tmp_path / "video.mp4", "-c:v", "mjpeg", "-pix_fmt", "yuvj420p")
    content = bytearray(path.read_bytes())
    start, end = content.index(b"mdat") + 4, content.index(b"moov")
    third = (end - start) // 3
    content[start + third : end - third] = b"\7" * (end - start - 2 * third)
    path.write_bytes(content)

    delivered, error = read(open_video(path))

    assert 20 < len(delivered) < 35 and [n for n, _ in delivered] == list(range(1, len(delivered) + 1))
    assert f"is cut short or damaged: {len(delivered)} of the 40 frames asked for could be decoded" in error
    backwards, again = read(open_video(path, reverse=True))
    assert len(backwards) >= len(delivered) and "damaged" in again


@pytest.mark.parametrize("there", [[], ["ffmpeg"], ["ffprobe"]], ids=str)
def test_without_ffmpeg_one_is_told_to_install_it(tmp_path, monkeypatch, whole, there):
    for name in there:
        (tmp_path / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(tmp_path) if there else "")
    commands.every_frame.cache_clear()
    with pytest.raises(VideoError, match="is not on the PATH: install ffmpeg, which brings ffprobe too"):
        open_video(whole)


def test_a_disk_too_small_for_reading_backwards(monkeypatch, whole):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=100_000))
    with pytest.raises(VideoError, match="whole.mp4 cannot be read backwards: .* set TMPDIR to a folder with"):
        list(open_video(whole, reverse=True))


@pytest.mark.parametrize("options", [(), ("-vsync", "0")], ids=str)
def test_both_names_of_the_option_for_every_frame(monkeypatch, options):
    version = b"ffmpeg version n4.4.2-1 Copyright" if options else b"ffmpeg version N-1234-gabc Copyright"
    monkeypatch.setattr(commands, "run", lambda *command: (version, ""))
    assert commands.every_frame.__wrapped__() == (options or ("-fps_mode", "passthrough"))


# ------------------------------------------------------------------------------------------------------- resources


@pytest.mark.parametrize("reverse", [False, True])
def test_who_stops_on_the_way_leaves_nothing_behind(whole, reverse):
    files = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else None
    iterator = iter(open_video(whole, reverse=reverse))
    for _ in range(3):
        next(iterator)
    assert len(decoders()) == (0 if reverse else 1)
    del iterator
    gc.collect()
    with pytest.raises(RuntimeError, match="the caller's"):
        for _ in open_video(whole, reverse=reverse):
            raise RuntimeError("the caller's")
    list(zip(range(2), open_video(whole, reverse=reverse), strict=False))
    assert not decoders()
    assert files is None or len(os.listdir("/proc/self/fd")) == files


@pytest.mark.parametrize("reverse", [False, True])
def test_memory_does_not_grow_with_the_video(tmp_path, reverse):
    size = (96, 128)
    video = open_video(clip(tmp_path / "long.mp4", count=600, size=size), reverse=reverse)
    alive: weakref.WeakValueDictionary[int, np.ndarray] = weakref.WeakValueDictionary()
    most = 0
    tracemalloc.start()
    try:
        for number, frame in video:
            alive[number] = frame
            most = max(most, len(alive))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert number == (1 if reverse else 600) and most <= 2
    assert peak < 20 * np.prod(size) * 3  # of the 600


def test_images_are_read_one_by_one_and_once(monkeypatch, images):
    asked = []
    read_image = frames.read_image
    monkeypatch.setattr(frames, "read_image", lambda path: asked.append(path) or read_image(path))
    for number, _ in open_sequence(images, first=3, stride=2):
        assert asked == images[2:number:2]


# ------------------------------------------------------------------------------------------------- image sequences


def test_images_come_as_a_person_sees_them(tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6
    paths = [tmp_path / f"{k}.png" for k in range(4)]
    Image.new("RGB", (5, 3), (10, 20, 30)).save(paths[0])
    Image.new("L", (5, 3), 77).save(paths[1])
    Image.fromarray(np.full((3, 5), 100 * 257, np.uint16)).save(paths[2])
    Image.new("RGB", (3, 5), (1, 2, 3)).save(paths[3], exif=exif)
    sequence = open_sequence([str(path) for path in paths])
    assert sequence.size == (3, 5)
    assert [frame[0, 0].tolist() for _, frame in sequence] == [[10, 20, 30], [77] * 3, [100] * 3, [1, 2, 3]]


BAD_IMAGES = {
    "missing": r"frame 3 \(.*2.png\) cannot be used: .*2.png does not exist: mend it, or leave it out",
    "garbage": r"frame 3 \(.*2.png\) cannot be used: 2.png is not an image",
    "other size": r"frame 3 \(.*2.png\) is 9x8, but frame [15] is 64x48: give images of one size",
}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_a_bad_image_is_an_error_when_it_is_reached(tmp_path, kind, reverse):
    paths = [media.plain(tmp_path / f"{k}.png", "red", (HEIGHT, WIDTH)) for k in range(5)]
    if kind == "missing":
        paths[2].unlink()
    elif kind == "garbage":
        paths[2].write_text("nothing")
    else:
        media.plain(paths[2], "red", (8, 9))
    delivered = []
    with pytest.raises(FrameError, match=BAD_IMAGES[kind]):
        for number, _ in open_sequence(paths, reverse=reverse):
            delivered.append(number)
    assert delivered == ([5, 4] if reverse else [1, 2])
    assert numbers(open_sequence(paths, stride=4)) == [1, 5]


@pytest.mark.parametrize("paths", [[], "frames/1.png", Path("frames")], ids=str)
def test_a_sequence_is_a_list_of_files(paths):
    with pytest.raises(VideoError, match="give a list of image files"):
        open_sequence(paths)
    with pytest.raises(FrameError, match=r"frame 1 \(nowhere.png\) cannot be used"):
        open_sequence(["nowhere.png"])
