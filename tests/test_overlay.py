"""Overlays: what is drawn on a frame, what files come out of stored fields, and the operator over both."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import eta.core.video as etav
import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
import pytest
from fiftyone import ViewField as F
from fiftyone.operators.delegated import DelegatedOperationService
from fiftyone.operators.executor import ExecutionContext
from PIL import Image
from support import media

from curation import footage, render
from curation.colours import colour_of
from curation.errors import RenderError
from curation.overlay import draw_overlay
from curation.render import Progress, check_view, render_video, render_view
from curation.strip import presence_bars
from curation.style import OverlayStyle
from zoo.engine.results import ConceptResult
from zoo.ledger import Ledger, declare, write

URI = "@concepts/sam3/render_overlay"
FILM = ["black", "white", "red", "green", "blue", "yellow"]
PLAIN = dict(outline=0, labels=False, presence=False)
#: colours of dogs 1 to 4, and of a dog without an id
GOLDEN = [(58, 164, 252), (213, 215, 31), (227, 102, 211), (42, 215, 216), (31, 200, 180)]
BARE = OverlayStyle(**PLAIN)

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="videos need ffmpeg")


# ------------------------------------------------------------------------------------------------ one frame


def grey(height: int = 120, width: int = 160) -> np.ndarray:
    return np.full((height, width, 3), 100, np.uint8)


def found(
    box: tuple[int, int, int, int], size: tuple[int, int] = (120, 160), label: str = "dog", index: int | None = 1,
    mask: Any = True, confidence: float | None = 0.9,
) -> SimpleNamespace:  # fmt: skip
    """A detection of ``(x, y, width, height)`` in pixels; ``mask`` is an array, or the value of all its pixels."""
    x, y, across, down = box
    if isinstance(mask, bool):
        mask = np.full((down, across), mask)
    relative = [x / size[1], y / size[0], across / size[1], down / size[0]]
    return SimpleNamespace(label=label, index=index, bounding_box=relative, mask=mask, confidence=confidence)


def blended(colour: tuple[int, int, int], alpha: float, under: int = 100) -> list[int]:
    return [round(under + (c - under) * alpha) for c in colour]


def test_a_masklet_has_one_colour_for_ever():
    # written down: another run, machine or version must not change them
    assert [colour_of("dog", k) for k in range(1, 5)] == [GOLDEN[k] for k in range(4)]
    assert colour_of("dog") == GOLDEN[4]
    assert colour_of("日本の犬", 2**31) == colour_of("日本の犬", 2**31)


def test_colours_of_masklets_are_far_apart():
    def distances(n: int) -> list[float]:
        return [math.dist(a, b) for a, b in combinations([colour_of("dog", k) for k in range(n)], 2)]

    assert min(distances(8)) > 60
    assert min(distances(20)) > 30
    assert min(max(colour) - min(colour) for colour in (colour_of("cat", k) for k in range(50))) > 100  # none is grey


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 1.0])
def test_the_inside_is_blended_exactly_and_the_rest_untouched(alpha):
    style = OverlayStyle(alpha=alpha, outline=0, labels=False, softness=2)
    image = grey()
    drawn = draw_overlay(image, [found((40, 30, 60, 50))], style=style)

    assert (image == 100).all()
    assert np.abs(drawn[50:60, 60:80].astype(int) - blended(colour_of("dog", 1), alpha)).max() == 0
    far = np.ones((120, 160), bool)
    far[30 - 8 : 80 + 8, 40 - 8 : 100 + 8] = False
    assert (drawn[far] == 100).all()


def test_the_edge_is_soft_and_monotone():
    mask = np.ones((50, 60), bool)
    soft = draw_overlay(grey(), [found((40, 30, 60, 50), mask=mask)], style=OverlayStyle(softness=3, **PLAIN))
    hard = draw_overlay(grey(), [found((40, 30, 60, 50), mask=mask)], style=OverlayStyle(softness=0, **PLAIN))
    channel = int(np.argmax(np.abs(np.subtract(colour_of("dog", 1), 100))))

    change = np.abs(soft[55, :70, channel].astype(int) - 100)
    assert (np.diff(change) >= 0).all()
    assert change[40 - 9] == 0 and 0 < change[38] < change[40] < change[45] <= change[60]
    assert len(np.unique(change)) > 6
    assert set(np.unique(hard[55, :, channel])) == {100, blended(colour_of("dog", 1), 0.5)[channel]}


def test_an_object_that_leaves_the_image_has_no_edge_there():
    drawn = draw_overlay(grey(), [found((-20, -10, 60, 50))], style=OverlayStyle(labels=False))
    assert drawn[0, 0].tolist() == blended(colour_of("dog", 1), 0.5) == drawn[15, 15].tolist()


def test_a_mask_is_drawn_where_it_is():
    mask = np.zeros((50, 60), bool)
    mask[10:20, 30:40] = True
    drawn = draw_overlay(grey(), [found((40, 30, 60, 50), mask=mask)], style=OverlayStyle(softness=0, **PLAIN))
    changed = np.argwhere((drawn != 100).any(2))
    assert changed.min(0).tolist() == [40, 70] and changed.max(0).tolist() == [49, 79]


def test_a_mask_of_another_size_is_stretched_to_its_box():
    halves = np.array([[True, False]])
    drawn = draw_overlay(grey(), [found((40, 30, 60, 50), mask=halves)], style=OverlayStyle(softness=0, **PLAIN))
    assert (drawn[30:80, 40:50] != 100).any(2).all() and (drawn[30:80, 95:] == 100).all()


def test_an_outline_is_stronger_than_the_inside():
    drawn = draw_overlay(grey(), [found((40, 30, 60, 50))], style=OverlayStyle(labels=False, outline=2))
    colour = np.array(colour_of("dog", 1))
    assert np.abs(drawn[55, 40] - colour).max() < np.abs(drawn[55, 70] - colour).max()


def test_without_a_mask_there_is_an_outline_alone():
    drawn = draw_overlay(grey(), [found((40, 30, 60, 50), mask=None)], style=OverlayStyle(labels=False))
    assert (drawn[35:75, 45:95] == 100).all() and (drawn[30, 45:95] != 100).any(1).all()


@pytest.mark.parametrize("style", [OverlayStyle(), BARE])
@pytest.mark.parametrize("detections", [[], [found((40, 30, 60, 50), mask=False)], [found((200, 30, 60, 50))]])
def test_nothing_to_draw_changes_nothing(detections, style):
    assert (draw_overlay(grey(), detections, style=style) == 100).all()


def test_a_choice_of_labels_and_a_least_confidence():
    dog, cat = found((10, 10, 30, 30)), found((80, 60, 30, 30), label="cat", index=2, confidence=0.4)
    unsure = found((80, 60, 30, 30), label="cat", index=2, confidence=None)

    def same(style: OverlayStyle, some: list, alone: list) -> bool:
        drawn = draw_overlay(grey(), some, {"dog": 0.9, "cat": 0.4}, style)
        presence = {name: p for name, p in {"dog": 0.9, "cat": 0.4}.items() if style.wants(name)}
        return (drawn == draw_overlay(grey(), alone, presence)).all()

    assert same(OverlayStyle(only=("cat",)), [dog, cat], [cat])
    assert same(OverlayStyle(min_confidence=0.5), [dog, cat], [dog])
    assert same(OverlayStyle(min_confidence=0.5), [dog, unsure], [dog, unsure])


def test_names_are_whole_wherever_the_mask_is():
    def ink(x: int, y: int) -> tuple[int, int]:
        """How many pixels the name changes, and where it begins; the mask is too faint to show."""
        style = OverlayStyle(alpha=0, outline=0, text_size=12)
        drawn = draw_overlay(grey(), [found((x, y, 20, 20), label="red cap", index=12)], style=style)
        return int((drawn != 100).any(2).sum()), int(np.argwhere((drawn != 100).any(2))[0][0])

    whole, row = ink(70, 60)
    assert whole > 200 and row < 60
    for x in (-15, 0, 70, 140, 155):
        for y in (-15, 0, 60, 100, 115):
            assert ink(x, y)[0] == whole


def test_a_name_stays_off_the_strip_and_ids_are_written():
    style = OverlayStyle(alpha=0, outline=0, text_size=12)
    strip = draw_overlay(grey(), [], {"dog": 0.5}, style)
    both = draw_overlay(grey(), [found((60, 105, 20, 15))], {"dog": 0.5}, style)
    top = presence_bars((120, 160), ["dog"], style)[0].y
    assert (both[top:] == strip[top:]).all() and (both != strip).any()
    assert (draw_overlay(grey(), [found((60, 60, 20, 20), index=2)], None, style) != draw_overlay(
        grey(), [found((60, 60, 20, 20), index=3)], None, style)).any()  # fmt: skip


@pytest.mark.parametrize("label", ["naïve café", "日本の犬", "", None, "x" * 500, "a\nb", "\x00\x07", "🐕‍🦺"])
def test_any_label_can_be_drawn(label):
    drawn = draw_overlay(grey(), [found((40, 30, 60, 50), label=label, index=None)], {label or "x": 0.5})
    assert drawn.shape == (120, 160, 3)


def test_bars_are_as_long_as_presence_is_high():
    presence = {"dog": 1.0, "cat": 0.5, "owl": 0.0, "fox": 0.25, "emu": None, "ant": 1.7, "bee": math.nan}
    image = np.zeros((360, 640, 3), np.uint8)
    drawn = draw_overlay(image, [], presence)
    lengths = {}
    for bar in presence_bars((360, 640), list(presence)):
        row = drawn[bar.y + bar.height // 2, bar.x : bar.x + bar.width]
        lengths[bar.name] = (row == 255).all(1).sum() / bar.width
    expected = {"dog": 1, "cat": 0.5, "owl": 0, "fox": 0.25, "emu": 0, "ant": 1, "bee": 0}
    assert lengths == pytest.approx(expected, abs=0.02)
    assert (drawn[: 360 * 2 // 3] == 0).all()
    assert (draw_overlay(image, [], presence, OverlayStyle(presence=False)) == 0).all()
    assert (draw_overlay(image, [], {}) == 0).all()


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (300, 7), (48, 64), (1080, 1920)])
@pytest.mark.parametrize("count", [1, 5, 60])
def test_the_strip_fits_any_image(size, count):
    names = [f"a rather long concept {k}" for k in range(count)]
    drawn = draw_overlay(np.zeros((*size, 3), np.uint8), [], dict.fromkeys(names, 0.5))
    assert drawn.shape == (*size, 3)
    bars = presence_bars(size, names)
    if min(size) >= 48:
        assert all(0 <= b.x and b.x + b.width <= size[1] and b.y >= size[0] / 2 for b in bars)
        assert len({(b.x, b.y) for b in bars}) == len(bars)


@pytest.mark.parametrize(
    ("style", "said"),
    [
        (dict(alpha=1.5), "alpha"), (dict(softness=-1), "softness"), (dict(outline="thick"), "outline"),
        (dict(min_confidence=True), "min_confidence"), (dict(text_size=2), "text_size"), (dict(only="dog"), "list"),
        (dict(font="/no/such.ttf"), "does not exist"),
    ],
)  # fmt: skip
def test_styles_out_of_range(style, said):
    with pytest.raises(ValueError, match=said):
        OverlayStyle(**style)


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_image(image):
    with pytest.raises(ValueError, match="image must be uint8"):
        draw_overlay(image, [])


# ------------------------------------------------------------------------------------------------ files


def detections(size: tuple[int, int], box: tuple[int, int, int, int] = (8, 8, 16, 16), index: int = 1) -> fo.Detections:
    """A dog, a square."""
    height, width = size
    x, y, across, down = box
    relative = [x / width, y / height, across / width, down / height]
    dog = fo.Detection(label="dog", bounding_box=relative, mask=np.ones((down, across), bool), confidence=0.9)
    dog.index = index
    return fo.Detections(detections=[dog])


def asked(document: Any, frames: bool, **presence: float) -> None:
    results = [ConceptResult(label, value, value, (), 0, 0.5) for label, value in presence.items()]
    write(document, Ledger(frames=frames), results)


def make_film(path: Path, size: tuple[int, int] = (48, 64)) -> fo.Sample:
    """Six frames; on all but the last a dog, and presence."""
    if path.suffix == ".mkv":  # H.264 itself has no odd sizes
        frames = b"".join(np.full((*size, 3), media.COLOURS[c], np.uint8).tobytes() for c in FILM)
        command = ["ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[1]}x{size[0]}"]
        subprocess.run([*command, "-r", "5", "-i", "-", "-c:v", "ffv1", str(path)], input=frames, check=True)
    else:
        media.video(path, FILM, size=size)
    sample = fo.Sample(filepath=path)
    for number in range(1, len(FILM)):
        sample.frames[number] = frame = fo.Frame(sam3=detections(size))
        asked(frame, True, dog=0.9, cat=0.1)
    return sample


@pytest.fixture
def films(new_dataset, dataset_dir) -> fo.Dataset:
    """Two videos of 64x48 and 51x33 pixels, at 5 frames a second."""
    dataset = new_dataset([fo.Sample(filepath="/nowhere.mp4")])
    declare(dataset, Ledger(frames=True), ["dog", "cat"], "sam3")
    dataset.delete_samples(dataset.values("id"))
    dataset.add_samples([make_film(dataset_dir / "even.mp4"), make_film(dataset_dir / "odd.mkv", (33, 51))])
    return dataset


@pytest.fixture
def scenes(new_dataset, dataset_dir) -> fo.Dataset:
    """Two scenes of three and two images, stored out of order."""
    samples = []
    order = [("b", 3, "red"), ("a/1", 2, "blue"), ("b", 1, "green"), ("a/1", 1, "red"), ("b", 2, "blue")]
    for scene, number, colour in order:
        path = media.plain(dataset_dir / f"{scene[0]}{number}.png", colour, (48, 64))
        sample = fo.Sample(filepath=path, scene=scene, frame_number=number, sam3=detections((48, 64)))
        asked(sample, False, dog=0.9)
        samples.append(sample)
    return new_dataset(samples)


def probe(path: Path) -> dict:
    command = ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-of", "json", str(path)]
    (stream,) = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["streams"]
    return stream


def frames_of(path: Path) -> list[np.ndarray]:
    with etav.FFmpegVideoReader(str(path)) as reader:
        return list(reader)


def run(*args: Any, **kwargs: Any) -> Progress:
    return list(render_view(*args, **kwargs))[-1]


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")} if folder.exists() else set()


@needs_ffmpeg
def test_videos_become_h264_that_plays_everywhere(films, tmp_path):
    end = run(films, tmp_path / "out")

    assert [path.name for path in end.written] == ["even.mp4", "odd.mp4"] and not end.failed
    assert (end.done, end.total, end.frames, end.share) == (2, 2, 12, 1.0)
    assert left(tmp_path / "out") == {"even.mp4", "odd.mp4"}
    for path, size in zip(end.written, [(64, 48), (52, 34)], strict=True):
        stream = probe(path)
        assert (stream["codec_name"], stream["pix_fmt"]) == ("h264", "yuv420p")
        assert (stream["width"], stream["height"]) == size
        assert Fraction(stream["avg_frame_rate"]) == 5 and int(stream["nb_read_frames"]) == 6
        assert (stream["color_space"], stream["color_transfer"]) == ("bt709", "bt709")
        start = path.read_bytes()[:4096]
        assert b"moov" in start and start.index(b"moov") < path.read_bytes().index(b"mdat")  # plays before it is there


@needs_ffmpeg
def test_what_is_in_the_video_is_the_overlay(films, tmp_path):
    style = OverlayStyle(alpha=1.0, **PLAIN)
    render_video(films.first(), tmp_path / "out.mp4", style=style, crf=1)

    drawn = frames_of(tmp_path / "out.mp4")
    for colour, image in zip(FILM[:5], drawn, strict=False):
        assert np.abs(image[14:18, 14:18].mean((0, 1)) - colour_of("dog", 1)).max() < 12
        assert np.abs(image[40, 60].astype(int) - media.COLOURS[colour]).max() < 12
    assert np.abs(drawn[5][16, 16].astype(int) - media.COLOURS["yellow"]).max() < 12  # nothing was found there


@needs_ffmpeg
def test_a_strip_stands_still_through_frames_that_were_not_asked(films, tmp_path):
    films.add_sample(make_film(tmp_path / "large.mp4", (144, 240)))
    render_video(films.last(), tmp_path / "pngs", as_images=True)

    *_, before, last = (np.asarray(Image.open(path)) for path in sorted((tmp_path / "pngs").iterdir()))
    bars = presence_bars((144, 240), ["cat", "dog"])
    lengths = [[(image[b.y, b.x : b.x + b.width] == 255).all(1).mean() for b in bars] for image in (before, last)]
    assert lengths == [pytest.approx([0.1, 0.9], abs=0.05), [0, 0]]
    assert last[bars[0].y - 2, 120].max() < 150 < last[20, 120].max()  # the panel is there


@needs_ffmpeg
@pytest.mark.parametrize(("first", "last", "numbers"), [(2, 4, [2, 3, 4]), (None, 2, [1, 2]), (5, 99, [5, 6])])
def test_a_range_of_frames(films, tmp_path, first, last, numbers):
    run(films.limit(1), tmp_path, first=first, last=last)
    run(films.limit(1), tmp_path, first=first, last=last, as_images=True)

    assert int(probe(tmp_path / "even.mp4")["nb_read_frames"]) == len(numbers)
    assert left(tmp_path / "even") == {f"{n:06d}.png" for n in numbers}
    for number in numbers:
        image = np.asarray(Image.open(tmp_path / "even" / f"{number:06d}.png"))
        assert image.shape == (48, 64, 3)
        assert np.abs(image[2, 60].astype(int) - media.COLOURS[FILM[number - 1]]).max() < 12


@needs_ffmpeg
def test_the_rate_is_exact(new_dataset, dataset_dir, tmp_path):
    path = dataset_dir / "ntsc.mp4"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "color=red:s=32x32:r=30000/1001:d=0.2", str(path)]
    subprocess.run(command, check=True)
    dataset = new_dataset([fo.Sample(filepath=path)])
    dataset.add_frame_field("sam3", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)

    run(dataset, tmp_path)

    assert probe(tmp_path / "ntsc.mp4")["avg_frame_rate"] == "30000/1001"
    assert probe(tmp_path / "ntsc.mp4")["nb_read_frames"] == probe(path)["nb_read_frames"]


@needs_ffmpeg
def test_a_video_that_knows_no_length(new_dataset, dataset_dir, tmp_path):
    path = dataset_dir / "stream.mkv"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "color=red:s=32x32:r=10:d=0.7", "-f", "matroska", "-"]
    path.write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
    dataset = new_dataset([fo.Sample(filepath=path)])
    dataset.add_frame_field("sam3", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)

    end = run(dataset, tmp_path)

    assert end.frames == 7 and not end.failed


@needs_ffmpeg
def test_a_video_of_a_phone_stands_upright(new_dataset, dataset_dir, tmp_path):
    flat, turned = dataset_dir / "flat.mp4", dataset_dir / "turned.mp4"
    halves = np.concatenate([np.full((48, 32, 3), media.COLOURS[c], np.uint8) for c in ("black", "white")], 1)
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "64x48", "-i", "-", "-pix_fmt", "yuv420p"]
    subprocess.run(["ffmpeg", "-v", "error", *raw, str(flat)], input=halves.tobytes() * 2, check=True)
    command = ["ffmpeg", "-v", "error", "-i", str(flat), "-c", "copy", "-metadata:s:v", "rotate=90", str(turned)]
    subprocess.run(command, check=True)
    if "side_data_list" not in probe(turned):
        pytest.skip("this ffmpeg does not turn videos that way")
    dataset = new_dataset([fo.Sample(filepath=turned)])
    dataset.add_frame_field("sam3", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)

    run(dataset, tmp_path)

    image = frames_of(tmp_path / "turned.mp4")[0]
    assert image.shape == (64, 48, 3)
    assert {image[5].max() < 40, image[-5].max() < 40} == {image[5].min() > 200, image[-5].min() > 200} == {True, False}


@needs_ffmpeg
def test_views_are_drawn_as_they_are(films, tmp_path):
    view = films.limit(1).filter_labels("frames.sam3", F("confidence") > 0.95, only_matches=False)
    run(view, tmp_path, label_field="frames.sam3", as_images=True, style=BARE)
    image = np.asarray(Image.open(tmp_path / "even" / "000003.png"))
    assert np.abs(image[16, 16].astype(int) - media.COLOURS["red"]).max() < 12

    films.compute_metadata()
    clips = films.limit(1).to_clips([[[2, 3], [5, 6]]])
    end = run(clips, tmp_path)
    assert [path.name for path in end.written] == ["even-2-3.mp4", "even-5-6.mp4"] and end.frames == 4


@needs_ffmpeg
def test_a_long_video_is_never_all_in_memory(films):
    sample = films.view().first()
    kept = sample.frames[2]
    seen = []
    for number, _ in footage.stored_frames(sample, footage.Fields("sam3", None)):
        seen.append(number)
        assert set(sample.frames._replacements) <= {2, number}
    assert seen == [1, 2, 3, 4, 5] and sample.frames[2] is kept


@needs_ffmpeg
def test_a_sequence_of_images_is_a_video_in_its_order(scenes, tmp_path):
    end = run(scenes.group_by("scene", order_by="frame_number"), tmp_path, frame_rate=12.5, crf=1, style=BARE)

    assert sorted(path.name for path in end.written) == ["a_1.mp4", "b.mp4"]
    assert Fraction(probe(tmp_path / "b.mp4")["avg_frame_rate"]) == Fraction(25, 2)
    for image, colour in zip(frames_of(tmp_path / "b.mp4"), ["green", "blue", "red"], strict=True):
        assert np.abs(image[40, 60].astype(int) - media.COLOURS[colour]).max() < 12


def test_sequences_as_folders_and_images_as_images(scenes, tmp_path):
    groups = scenes.group_by("scene", order_by="frame_number", reverse=True)
    run(groups, tmp_path / "sequences", as_images=True, first=2, style=OverlayStyle(alpha=1.0, **PLAIN))
    assert left(tmp_path / "sequences") == {"a_1", "b", "000002.png", "000003.png"}
    image = np.asarray(Image.open(tmp_path / "sequences" / "b" / "000003.png"))
    assert tuple(image[40, 60]) == media.COLOURS["green"] and tuple(image[16, 16]) == colour_of("dog", 1)

    end = run(scenes, tmp_path / "images", as_images=True)
    assert left(tmp_path / "images") == {"a1.png", "a2.png", "b1.png", "b2.png", "b3.png"}
    assert end.total == end.frames == 5


@needs_ffmpeg
def test_media_that_fail_cost_themselves_and_leave_nothing(films, dataset_dir, tmp_path):
    (dataset_dir / "broken.mp4").write_bytes(b"not a video")
    cut = make_film(dataset_dir / "cut.mp4")
    cut.frames[9] = fo.Frame(sam3=detections((48, 64)))
    others = [fo.Sample(filepath=dataset_dir / name) for name in ("broken.mp4", "missing.mp4")]
    films.add_samples([*others, cut])

    end = run(films, tmp_path / "out")

    assert len(end.written) == 2 and (end.done, end.total, end.share) == (5, 5, 1.0)
    reasons = {Path(path).name: reason for path, reason in end.failed}
    assert "cannot be read as a video" in reasons["broken.mp4"]
    assert "does not exist" in reasons["missing.mp4"]
    assert "ends after frame 6, and frame 9 has labels" in reasons["cut.mp4"]
    assert left(tmp_path / "out") == {"even.mp4", "odd.mp4"}


@needs_ffmpeg
def test_the_smallest_video(new_dataset, dataset_dir, tmp_path):
    dots = [fo.Sample(filepath=dataset_dir / f"{k}.png", scene="s", number=k) for k in range(3)]
    for dot in dots:
        media.plain(Path(dot.filepath), "red", (1, 1))
        dot["sam3"] = detections((1, 1), (0, 0, 1, 1))
    end = run(new_dataset(dots).group_by("scene", order_by="number"), tmp_path)
    assert not end.failed and probe(tmp_path / "s.mp4")["width"] == 2


@needs_ffmpeg
def test_labels_that_are_not_what_they_should_be_cost_their_video(films, tmp_path):
    sample = films.first()
    sample.frames[2].sam3.detections[0].mask = np.ones((2, 2, 2), bool)
    sample.save()
    end = run(films, tmp_path / "out")
    assert "must be (h, w), got (2, 2, 2)" in end.failed[0][1]
    assert left(tmp_path / "out") == {"odd.mp4"}


@needs_ffmpeg
def test_images_of_different_sizes_make_no_video(scenes, dataset_dir, tmp_path):
    media.plain(dataset_dir / "b2.png", "red", (20, 20))
    (dataset_dir / "a2.png").write_text("no picture")

    end = run(scenes.group_by("scene", order_by="frame_number"), tmp_path / "out")

    reasons = dict(end.failed)
    assert "frame 2 is 20x20 pixels, those before it 64x48" in reasons["b"] and "not an image" in reasons["a/1"]
    assert left(tmp_path / "out") == set()


@needs_ffmpeg
def test_a_run_that_is_stopped_leaves_nothing_half_written(films, tmp_path, monkeypatch):
    monkeypatch.setattr(render, "_STRETCH", 2)
    progress = render_view(films, tmp_path / "out")
    shares = [next(progress).share for _ in range(3)]
    assert shares == pytest.approx([0, 1 / 6, 2 / 6])
    progress.close()
    assert left(tmp_path / "out") == set()


@needs_ffmpeg
def test_what_exists_is_kept_unless_told_otherwise(films, tmp_path):
    out = tmp_path / "out"
    run(films, out)
    run(films, out, as_images=True)
    stamp = (out / "even.mp4").stat().st_mtime_ns
    for as_images in (False, True):
        with pytest.raises(RenderError, match="exists, and 1 more: choose another folder, or overwrite=True"):
            render_view(films, out, as_images=as_images)
    assert (out / "even.mp4").stat().st_mtime_ns == stamp

    run(films, out, overwrite=True, last=2)
    run(films, out, overwrite=True, last=2, as_images=True)
    assert int(probe(out / "even.mp4")["nb_read_frames"]) == 2
    assert left(out) == {"even.mp4", "odd.mp4", "even", "odd", "000001.png", "000002.png"}

    (out / "odd" / "notes.txt").write_text("mine")
    with pytest.raises(RenderError, match="not what an earlier run wrote"):
        render_view(films, out, overwrite=True, as_images=True)


@needs_ffmpeg
def test_media_are_never_overwritten(films, scenes, dataset_dir):
    for collection, as_images in ((films, False), (scenes, True)):
        with pytest.raises(RenderError, match="is what is to be drawn on"):
            render_view(collection, dataset_dir, overwrite=True, as_images=as_images)
    with pytest.raises(RenderError, match="is what is to be drawn on"):
        render_video(films.first(), films.first().filepath, overwrite=True)


@needs_ffmpeg
def test_names_of_files_are_unique(films, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(films.first().filepath, other / "EVEN.mp4")
    films.add_sample(fo.Sample(filepath=other / "EVEN.mp4"))
    end = run(films, tmp_path / "out", last=1)
    assert [path.name for path in end.written] == ["even.mp4", "odd.mp4", "EVEN-2.mp4"]


@needs_ffmpeg
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (dict(label_field="dogs"), "No Detections in a field 'dogs' on the frames of .*: choose one of 'sam3'"),
        (dict(label_field="sam3_presence"), "No Detections in a field 'sam3_presence'"),
        (dict(ledger="other"), "no field 'frames.other_presence'"),
        (dict(first=0), "first must be"), (dict(last=True), "last must be"),
        (dict(first=3, last=2), "must not come after"),
        (dict(crf=52), "crf must be"), (dict(frame_rate=0), "frame_rate must be"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_said_before_the_run(films, tmp_path, arguments, said):
    with pytest.raises(RenderError, match=said):
        render_view(films, tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


@needs_ffmpeg
def test_media_that_cannot_be_drawn(films, scenes, new_dataset, tmp_path):
    def refused(view: Any, said: str, **options: Any) -> None:
        with pytest.raises(RenderError, match=said):
            render_view(view, tmp_path / "out", **options)

    refused(scenes, "Single images make no video")
    refused(scenes.group_by("scene"), "have no order")
    refused(films.limit(0), "nothing to draw")
    refused(new_dataset(), "nothing to draw")
    refused(new_dataset([fo.Sample(filepath="a.png")]), "run 'segment concepts' first", as_images=True)
    (tmp_path / "file").touch()
    with pytest.raises(RenderError, match="is a file"):
        render_view(films, tmp_path / "file")
    groups = new_dataset()
    groups.add_group_field("group", default="left")
    groups.add_sample(fo.Sample(filepath="a.png", group=fo.Group().element("left")))
    refused(groups, "select_group_slices", as_images=True)
    with pytest.raises(RenderError, match="is no video"):
        render_video(scenes.first(), tmp_path / "a.mp4")
    with pytest.raises(RenderError, match="in no dataset"):
        render_video(fo.Sample(filepath="a.mp4"), tmp_path / "a.mp4")
    with pytest.raises(RenderError, match=r"must end in \.mp4"):
        render_video(films.first(), tmp_path / "a.avi")


def test_without_ffmpeg_or_h264(films, scenes, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RenderError, match="ffmpeg and ffprobe not found on PATH: install ffmpeg"):
        check_view(films)
    for name in ("ffmpeg", "ffprobe"):
        (tmp_path / name).write_text("#!/bin/sh\necho ' V....D libx264rgb  another'\n")
        (tmp_path / name).chmod(0o755)
    with pytest.raises(RenderError, match="built without libx264.*write images instead"):
        check_view(films)
    assert check_view(films, as_images=True) == "videos"
    assert check_view(scenes, as_images=True) == "images"


@needs_ffmpeg
def test_what_ffmpeg_says_is_the_reason(films, tmp_path, monkeypatch):
    monkeypatch.setattr(render, "_check_numbers", lambda *_: None)
    end = run(films, tmp_path / "out", crf="nonsense")
    assert not end.written and all("crf" in reason or "ffmpeg" in reason for _, reason in end.failed)
    assert left(tmp_path / "out") == set()


# ------------------------------------------------------------------------------------------------ operator


def form(dataset: fo.Dataset, **params: Any) -> dict:
    """The properties of the operator's form."""
    ctx = ExecutionContext(request_params=dict(dataset_name=dataset.name, params=params), operator_uri=URI)
    return foo.get_operator(URI).resolve_input(ctx).type.properties


def messages(result: Any) -> list[dict]:
    return [request.params for request in result.executor._requests]


@needs_ffmpeg
def test_form_is_complete_and_its_defaults_run(films, tmp_path):
    films.add_frame_field("truth", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    fields = form(films)
    assert fields["label_field"].type.values == ["sam3", "truth"] and not fields["label_field"].invalid
    assert films.name in fields["output_dir"].default
    assert {"first", "last", "crf", "only", "softness"} <= set(form(films, more=True)) - set(fields)

    defaults = {name: p.default for name, p in form(films, more=True).items() if p.default is not None}
    result = foo.execute_operator(URI, dict(dataset=films), params=dict(defaults, output_dir=str(tmp_path / "out")))
    assert result.error is None
    assert left(tmp_path / "out") == {"even.mp4", "odd.mp4"}


@needs_ffmpeg
def test_form_says_what_is_wrong(scenes):
    assert "Single images" in form(scenes)["label_field"].error_message
    assert not form(scenes, format="images")["label_field"].invalid


@needs_ffmpeg
def test_run_from_python_reports_progress_and_where_the_files_are(films, dataset_dir, tmp_path):
    films.add_sample(fo.Sample(filepath=dataset_dir / "missing.mp4"))
    result = foo.get_operator(URI)(films, tmp_path, last=2, alpha=0.8, only=["dog"])

    said = messages(result)
    assert said[0]["progress"] == 0 and any(m.get("progress") == 1.0 for m in said)
    assert said[-1]["variant"] == "warning" and str(tmp_path) in said[-1]["message"]
    assert "2 of 3 written" in said[-1]["message"] and "missing.mp4 does not exist" in said[-1]["message"]
    assert int(probe(tmp_path / "odd.mp4")["nb_read_frames"]) == 2


@needs_ffmpeg
def test_operator_on_views_and_groups(films, scenes, tmp_path):
    operator = foo.get_operator(URI)
    assert messages(operator(films.limit(1), tmp_path / "view"))[-1]["variant"] == "success"
    assert left(tmp_path / "view") == {"even.mp4"}
    operator(scenes.group_by("scene", order_by="frame_number"), tmp_path / "groups")
    assert left(tmp_path / "groups") == {"a_1.mp4", "b.mp4"}


@needs_ffmpeg
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (dict(label_field="dogs"), "No Detections"), (dict(format="gif"), "format must be"), (dict(alpha=2), "alpha"),
        (dict(colour="red"), "Unknown options"), (dict(first=99), "Nothing could be drawn; 2 failed"),
    ],
)  # fmt: skip
def test_operator_refuses(films, tmp_path, arguments, said):
    with pytest.raises(Exception, match=said):
        raise RuntimeError(str(foo.get_operator(URI)(films, tmp_path / "out", **arguments).error))
    assert left(tmp_path / "out") == set()


@needs_ffmpeg
def test_delegated(films, tmp_path):
    foo.get_operator(URI)(films, tmp_path / "out", delegate=True)
    assert not (tmp_path / "out").exists()
    DelegatedOperationService().execute_queued_operations()
    assert left(tmp_path / "out") == {"even.mp4", "odd.mp4"}
