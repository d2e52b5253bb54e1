"""Films whose every frame says its number in its colour, and a tracker that finds what the frame says.

So a wrong number, a wrong order, or blue taken for red, cannot go unnoticed: what is stored at a frame follows from its
pixels. Everything between ffmpeg and the database is real; only the network is not.
"""

from __future__ import annotations

import dataclasses
import functools
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from . import media

if TYPE_CHECKING:
    import fiftyone as fo

SIZE = (48, 64)
FPS = 10
_STEP = 3  # of red, from one frame to the next

#: of concepts: the frames in which each of its objects is seen
SCRIPT: dict[str, Sequence[frozenset[int]]] = {
    "dog": (frozenset(n for n in range(1, 99) if n % 10 != 5), frozenset(range(20, 99))),
    "cat": (frozenset(range(3, 7)),),
    "bird": (frozenset((1, 2, 40)),),
    "owl": (),
}


def picture(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Frame ``number`` of every film, uint8 ``(height, width, 3)``."""
    return np.full((*size, 3), (_STEP * number, 10, 250), np.uint8)


def encode(path: Path, frames: Sequence[np.ndarray]) -> Path:
    """A video of these frames, uint8 ``(height, width, 3)`` RGB, without loss, with a key frame every second or so."""
    height, width = frames[0].shape[:2]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(FPS), "-i", "-"]
    code = ["-c:v", "libx264rgb", "-preset", "ultrafast", "-qp", "0", "-g", "12"]
    data = b"".join(np.ascontiguousarray(frame).tobytes() for frame in frames)
    subprocess.run(["ffmpeg", "-v", "error", *raw, *code, "-y", str(path)], input=data, check=True)
    return path


def film(path: Path, count: int, size: tuple[int, int] = SIZE, first: int = 1) -> Path:
    """A video whose frames say ``first``, ``first + 1``, ..."""
    return encode(path, [picture(n, size) for n in range(first, first + count)])


def cut_short(path: Path, whole: Path, share: float = 0.5) -> Path:
    """A film that says how long it is and ends before: its index is in front, and its data stops."""
    command = ["ffmpeg", "-v", "error", "-i", str(whole), "-c", "copy", "-movflags", "faststart", "-y", str(path)]
    subprocess.run(command, check=True)
    data = path.read_bytes()
    start = data.index(b"mdat")
    path.write_bytes(data[: start + int((len(data) - start) * share)])
    return path


def stills(folder: Path, count: int, first: int = 1, size: tuple[int, int] = SIZE) -> list[Path]:
    """A film as image files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{n:03d}.png" for n in range(first, first + count)]
    for n, path in enumerate(paths, first):
        Image.fromarray(picture(n, size)).save(path)
    return paths


def said(image: np.ndarray) -> int:
    """The number that a frame says."""
    assert image.dtype == np.uint8 and image.shape[2] == 3
    red, green, blue = (int(v) for v in image[0, 0])
    assert (image == image[0, 0]).all() and (green, blue) == (10, 250) and red % _STEP == 0, f"no film: {image[0, 0]}"
    return red // _STEP


def presence(label: str, number: int) -> float:
    """What :func:`follow` says of a concept in the frame that says ``number``."""
    return round((0.8 if SCRIPT.get(label) else 0.1) - number / 1000, 6)


def score(label: str, number: int) -> float:
    """As :func:`presence`, the object score."""
    return round(0.9 - number / 1000, 6)


def confidence(label: str, k: int, number: int) -> float:
    """As :func:`presence`, of the concept's ``k``-th object, where it is seen."""
    return round(0.5 + number / 1000 + k / 10, 6)


def seen(label: str, number: int) -> list[int]:
    """The objects of a concept that are seen in the frame that says ``number``."""
    return [k for k, frames in enumerate(SCRIPT.get(label, ())) if number in frames]


def follow(frames: Iterable[tuple[int, np.ndarray]], concepts: Sequence[Any]) -> Iterator[Any]:
    """As ``Sam3VideoModel.follow``: masklets are numbered as they come."""
    from zoo.engine.results import FrameResult, TrackedConcept, TrackedInstance

    masklets: dict[tuple[str, int], tuple[int, float]] = {}
    for number, image in frames:
        there, size = said(image), image.shape[:2]
        image[:] = 0  # frames are the caller's own
        found = []
        for concept in concepts:
            label, instances = concept.label, []
            for k in seen(label, there):
                sure = confidence(label, k, there)
                masklet, birth = masklets.setdefault((label, k), (len(masklets) + 1, sure))
                confirmed = None if there % 7 == 0 else score(label, there)
                instances.append(TrackedInstance(
                    masklet, sure, confirmed, birth, presence(label, there), *media._patch(size, k), concept.phrases[0]
                ))
            found.append(TrackedConcept(label, presence(label, there), score(label, there), tuple(instances)))
        yield FrameResult(number, size, tuple(found))


@functools.cache
def checkpoint() -> Any:
    """The tiny one, as if it had a tracker."""
    from emoji_world.architecture import build_config, build_tokenizer

    return dataclasses.replace(media.tiny(), tracker=object(), tracker_config=build_config(build_tokenizer()))


def scripted(classes: Any = ("dog", "cat", "owl"), **settings: Any) -> Any:
    """A video model whose ``follow`` is :func:`follow`, and which notes in ``followed`` labels and numbers of each
    film, as far as it came.

    Args:
        classes: concepts
        **settings: ``watch`` is called with the film's number and the frame's number before a frame is answered, and
            may raise; others go to the model
    """
    from zoo.video_model import Sam3VideoModel

    watch = settings.pop("watch", lambda film, number: None)

    class Scripted(Sam3VideoModel):
        def follow(self, frames: Any, concepts: Any, length: int) -> Iterator[Any]:
            numbers: list[int] = []
            self.followed.append((tuple(c.label for c in concepts), numbers))
            self.lengths.append(length)
            place = len(self.followed)
            for result in follow(frames, concepts):
                watch(place, result.number)
                numbers.append(result.number)
                yield result

    model = Scripted(checkpoint(), classes, **settings)
    model.followed, model.lengths = [], []
    return model


def prepared(paths: Iterable[Path], labels: Iterable[str]) -> fo.Dataset:
    """A dataset with a run's fields, and nothing in them: declaring takes longer than tracking, so tests share it."""
    import fiftyone as fo

    from zoo.ledger import Ledger, declare
    from zoo.masklets import declare_masklets

    dataset = fo.Dataset()
    dataset.add_samples([fo.Sample(filepath=path) for path in paths])
    video = dataset.media_type == "video"
    declare(dataset, Ledger(frames=video), labels, "sam3", tracked=True)
    if video:
        declare(dataset, Ledger(), labels)
    declare_masklets(dataset, "sam3")
    return dataset


def emptied(dataset: fo.Dataset) -> fo.Dataset:
    """Without what runs have left in it; fields stay declared."""
    own = ("id", "filepath", "metadata", "tags", "created_at", "last_modified_at", "scene", "number")
    if dataset.media_type == "video":
        dataset.clear_frames()
    dataset.clear_sample_fields([name for name in dataset.get_field_schema() if name not in own])
    dataset.delete_runs()
    return dataset


# ------------------------------------------------------------------------------------------------ what was stored


def frames_of(dataset: fo.Dataset, field: str = "sam3", ledger: str = "sam3") -> list[dict[int, dict[str, Any]]]:
    """Of every video, by frame number: what it holds, comparable, without ids. Read afresh from the database."""
    return [{n: _frame(frame, field, ledger) for n, frame in sample.frames.items()} for sample in dataset.view()]


def images_of(samples: Any, field: str = "sam3", ledger: str = "sam3") -> list[dict[str, Any]]:
    """As :func:`frames_of`, of images."""
    return [_frame(sample, field, ledger) for sample in samples.select_fields(list(samples.get_field_schema()))]


def expected(number: int, labels: Iterable[str]) -> dict[str, Any]:
    """What a frame that says ``number`` holds once ``labels`` were asked; instances without their masklets."""
    labels = sorted(labels)
    instances = [
        (label, k, confidence(label, k, number), presence(label, number),
         None if number % 7 == 0 else score(label, number), label)
        for label in labels for k in seen(label, number)
    ]
    return dict(
        presence={label: presence(label, number) for label in labels},
        score={label: score(label, number) for label in labels},
        count={label: len(seen(label, number)) for label in labels},
        instances=instances, error=None,
    )


def told(kept: dict[str, Any]) -> dict[str, Any]:
    """What a frame holds, without its masklets, as :func:`expected` has it."""
    return {key: value for key, value in kept.items() if key != "masklets"}


def chains(frames: dict[int, dict[str, Any]]) -> dict[int, tuple[str, int, list[int]]]:
    """Of one video: masklet -> its label, which object it is, and its frames; each must be one object throughout."""
    found: dict[int, list[tuple[str, int, str, int]]] = {}
    for number, kept in frames.items():
        for (label, k, *_), (index, instance) in zip(kept["instances"] or (), kept["masklets"] or (), strict=True):
            found.setdefault(index, []).append((label, k, instance, number))
    for index, links in found.items():
        assert len({link[:3] for link in links}) == 1, f"masklet {index} is several: {links}"
    assert len({links[0][2] for links in found.values()}) == len(found), "one instance for several masklets"
    return {index: (links[0][0], links[0][1], [link[3] for link in links]) for index, links in sorted(found.items())}


def masklets_of(sample: fo.Sample, field: str = "sam3") -> list[dict[str, Any]] | None:
    """The masklets of a video, or of the first image of a sequence, comparable."""
    held = sample[f"{field}_masklets"]
    names = (
        "label", "index", "support", "confidence", "max_confidence", "presence", "birth_score", "frames_seen", "gaps"
    )
    return None if held is None else [
        {name: list(m.support) if name == "support" else m[name] for name in names} for m in held.detections
    ]


def _frame(document: Any, field: str, ledger: str) -> dict[str, Any]:
    kept = media.state(document, "", ledger)
    held = document[field] if document.has_field(field) else None
    kept["instances"] = kept["masklets"] = None
    if held is not None:
        ordered = sorted(held.detections, key=lambda d: (d.label, _object(d)))
        kept["instances"] = [
            (d.label, _object(d), d.confidence, d["presence"], d["object_score"], d["phrase"]) for d in ordered
        ]
        kept["masklets"] = [(d.index, None if d["instance"] is None else d["instance"].id) for d in ordered]
    return kept


def _object(detection: fo.Detection) -> int:
    """Which of its concept's objects a detection shows, from where it lies: see ``media._patch``."""
    height, width = SIZE
    left, top, across, down = detection.bounding_box
    assert detection.mask.shape == (round(down * height), round(across * width))
    k = round(left * width / 3)
    assert round(top * height) == 2 * k
    return k
