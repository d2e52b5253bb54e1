"""The demo's clips: files with exact ground truth, in FiftyOne."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import fiftyone as fo
import numpy as np

from .clips import SEEN, Clip, sample_clip, visible_shares

#: what the demo's clips are asked: look-alikes that hide behind a wall, and what is not there
CLIP_CONCEPTS: tuple[str, ...] = ("whale", "shark", "bicycle", "lion", "cactus", "tiger")
#: clips of the demo have seeds below every other use of the world
_SEEDS = (44, 4)
_FRAMES = 72
_RATE = 12


def build_clips(
    name: str, folder: Path, seeds: Sequence[int] = _SEEDS, frames: int = _FRAMES, persistent: bool = True
) -> fo.Dataset:
    """Draw clips into ``folder``, as H.264 files that a browser plays.

    Files that are there already are kept, a dataset of that name is replaced. Ground truth: the instances of every
    frame with masks and ``index`` in ``frames.ground_truth``.

    Raises:
        RuntimeError: there is no ffmpeg
    """
    folder.mkdir(parents=True, exist_ok=True)
    samples = []
    for seed in seeds:
        clip = sample_clip(seed, frames)
        path = folder / f"clip-{seed:05d}-{frames}.mp4"
        drawn = list(clip.play())
        if not path.is_file():
            write_video(path, [image for image, _ in drawn])
        samples.append(_sample(path, clip, [masks for _, masks in drawn]))
    dataset = fo.Dataset(name, persistent=persistent, overwrite=True)
    dataset.add_samples(samples, progress=False)
    dataset.default_classes = list(CLIP_CONCEPTS)
    dataset.save()
    return dataset


def write_video(path: Path, images: Sequence[np.ndarray], rate: float = _RATE) -> None:
    """``images``, uint8 RGB ``(H, W, 3)`` of one size, as an H.264 file.

    Raises:
        RuntimeError: there is no ffmpeg, or it fails
    """
    height, width = images[0].shape[:2]
    part = path.with_suffix(".part")  # a cut in the middle must not leave half a clip behind
    command = [
        "ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(rate),
        "-i", "-", "-c:v", "libx264", "-crf", "16", "-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4", "-y",
        str(part),
    ]
    try:
        done = subprocess.run(command, input=b"".join(i.tobytes() for i in images), capture_output=True)
    except FileNotFoundError:
        raise RuntimeError("There is no ffmpeg: install it (it brings ffprobe too), or run `make test` once") from None
    if done.returncode:
        raise RuntimeError(f"ffmpeg could not write {path.name}: {done.stderr.decode(errors='replace').strip()}")
    part.rename(path)


def _sample(path: Path, clip: Clip, masks: list[np.ndarray]) -> fo.Sample:
    sample = fo.Sample(filepath=str(path.resolve()))
    sample.metadata = fo.VideoMetadata.build_for(sample.filepath)
    shares = visible_shares(clip)
    for t, drawn in enumerate(masks):
        detections = []
        for k, (actor, mask) in enumerate(zip(clip.actors, drawn, strict=True)):
            if shares[k, t] < SEEN:
                continue
            height, width = mask.shape
            ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            x0, x1, y0, y1 = int(xs[0]), int(xs[-1]) + 1, int(ys[0]), int(ys[-1]) + 1
            box = [x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height]
            detections.append(
                fo.Detection(label=actor.thing.noun, bounding_box=box, mask=mask[y0:y1, x0:x1], index=k + 1)
            )
        sample.frames[t + 1] = fo.Frame(ground_truth=fo.Detections(detections=detections))
    return sample
