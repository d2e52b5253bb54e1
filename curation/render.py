"""Overlays as files: H.264 videos, or images, drawn from what is stored, without a model.

1. :func:`render_view` refuses at once what cannot work: fields, media, ffmpeg, files that exist.
2. Every video, image sequence or image of the view is a clip: a name, and a lazy stream of frames with their labels.
3. Frames are drawn and encoded one by one, into a hidden file beside the target that takes its name when it is whole.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import cv2
import fiftyone as fo

from .encode import Encoder, Form, Images, Target, check_ffmpeg, check_targets, staging, unique
from .errors import RenderError
from .footage import Clip, clips_of, fields_of, grouping, sources_of, video_stream
from .overlay import draw_overlay
from .style import DEFAULT_STYLE, OverlayStyle

if __package__ == "curation":  # the repository's root is on the path, as in tests and scripts
    from zoo.ledger import DEFAULT
else:  # the repository is a package, as FiftyOne's plugins are
    from ..zoo.ledger import DEFAULT

#: frames a second of image sequences, which know no time
FRAME_RATE = 10.0
#: x264's constant rate factor: 18 is hard to tell from the source, 28 is small
CRF = 20
#: frames between two reports of progress
_STRETCH = 16


@dataclass(frozen=True)
class Progress:
    """How far a rendering is.

    Attributes:
        done: clips (videos, sequences or images) behind us, failed ones among them
        total: clips in all
        frames: frames drawn
        share: of all the work, in [0, 1]
        written: finished files, and folders of images
        failed: ``(path, reason)`` of each clip that could not be made
    """

    done: int
    total: int
    frames: int
    share: float
    written: tuple[Path, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()


def render_view(
    view: fo.core.collections.SampleCollection, output_dir: str | os.PathLike[str], *, label_field: str = DEFAULT,
    ledger: str | None = None, style: OverlayStyle = DEFAULT_STYLE, first: int | None = None,
    last: int | None = None, frame_rate: float = FRAME_RATE, crf: int = CRF, as_images: bool = False,
    overwrite: bool = False,
) -> Iterator[Progress]:  # fmt: skip
    """Write an overlay of every video, image sequence (a group of ``group_by(..., order_by=...)``) or image.

    A video ``dog.mp4`` becomes ``dog.mp4``, or with ``as_images`` a folder ``dog`` of ``000001.png`` and so on; a
    sequence is named after its group; an image becomes a PNG. A clip that fails costs itself, and is reported.

    Args:
        view: a dataset or view of videos, clips or images, or ordered dynamic groups of images
        output_dir: where they go; made if it does not exist
        label_field: ``Detections``, on videos those of the frames
        ledger: name of the ledger whose presence the strip shows; ``None`` takes the label field's, if there is one
        style: how it looks
        first: the first frame (of a sequence: image) drawn, from 1
        last: the last one, included
        frame_rate: of image sequences; videos keep their own
        crf: quality of H.264, 0 (lossless) to 51
        as_images: PNG files instead of videos
        overwrite: replace what an earlier run wrote

    Returns:
        an iterator of progress, first with nothing done; the work is done while it is consumed

    Raises:
        RenderError: at once: nothing to draw, unknown fields, media that cannot be drawn, no ffmpeg with libx264,
            numbers out of range, files that exist
    """
    _check_numbers(first, last, frame_rate, crf)
    kind = check_view(view, label_field, ledger, as_images=as_images)
    fields = fields_of(view, label_field, ledger)
    form = Form.MP4 if not as_images else Form.PNG if kind == "images" else Form.FOLDER
    clips = list(clips_of(view, kind, fields, (first or 1, last), Fraction(frame_rate).limit_denominator(1001)))
    folder = Path(output_dir).expanduser()
    targets = [Target(folder / (name + form.value), form, overwrite) for name in unique(c.name for c in clips)]
    check_targets(folder, targets, sources_of(view))
    return _render_all(list(zip(clips, targets, strict=True)), style, crf)


def render_video(
    sample: fo.Sample | fo.core.sample.SampleView, output_path: str | os.PathLike[str], *, label_field: str = DEFAULT,
    ledger: str | None = None, style: OverlayStyle = DEFAULT_STYLE, first: int | None = None,
    last: int | None = None, crf: int = CRF, as_images: bool = False, overwrite: bool = False,
) -> int:  # fmt: skip
    """Write the overlay of one video; arguments as of :func:`render_view`.

    Args:
        sample: a video of a dataset
        output_path: the MP4 file, or with ``as_images`` the folder

    Returns:
        how many frames were drawn

    Raises:
        RenderError: it cannot be made; nothing is left of it
    """
    _check_numbers(first, last, FRAME_RATE, crf)
    if sample.media_type != fo.core.media.VIDEO:
        raise RenderError(f"{sample.filepath} is no video but {sample.media_type}: render_view() draws images")
    check_ffmpeg(encodes=not as_images)
    if not sample.in_dataset:
        raise RenderError(f"{sample.filepath} is in no dataset: add it to one first")
    path = Path(output_path).expanduser()
    if not as_images and path.suffix.lower() != ".mp4":
        raise RenderError(f"The output must end in .mp4, got {path.name!r}")
    target = Target(path, Form.FOLDER if as_images else Form.MP4, overwrite)
    check_targets(path.parent, [target], [sample.filepath])
    fields = fields_of(sample.dataset, label_field, ledger)
    clip = Clip(path.stem, sample.filepath, partial(video_stream, sample, fields, (first or 1, last)))
    return sum(1 for _ in _render_clip(clip, target, style, crf))


def check_view(
    view: fo.core.collections.SampleCollection, label_field: str = DEFAULT, ledger: str | None = None, *,
    as_images: bool = False,
) -> str:  # fmt: skip
    """What a view would be drawn as: ``"videos"``, ``"sequences"`` or ``"images"``. Cheap: reads no sample.

    Raises:
        RenderError: it cannot be drawn
    """
    name, media = view._root_dataset.name, view.media_type
    if media is None or not len(view):
        raise RenderError(f"There is nothing to draw: no samples in this dataset or view of {name!r}")
    stage = grouping(view)
    if stage is not None:
        if next(view.iter_dynamic_groups()).media_type != fo.core.media.IMAGE:
            raise RenderError("Only groups of images can be drawn as sequences; draw videos without group_by()")
        if stage.order_by is None:
            raise RenderError("These groups have no order: group_by(..., order_by='frame_number')")
        kind = "sequences"
    elif media == fo.core.media.VIDEO:
        kind = "videos"
    elif media == fo.core.media.IMAGE:
        kind = "images"
    else:
        way = ": pick a slice with select_group_slices()" if media == fo.core.media.GROUP else ""
        raise RenderError(f"{name!r} holds {media} samples; overlays need videos or images{way}")
    if kind == "images" and not as_images:
        raise RenderError(
            "Single images make no video: choose images as the format, or make them a sequence with "
            "group_by('scene', order_by='frame_number')"
        )
    fields_of(view, label_field, ledger)
    if kind == "videos" or not as_images:
        check_ffmpeg(encodes=not as_images)
    return kind


def _check_numbers(first: int | None, last: int | None, frame_rate: float, crf: int) -> None:
    for name, value in (("first", first), ("last", last)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise RenderError(f"{name} must be a frame number from 1 on, got {value!r}")
    if first is not None and last is not None and first > last:
        raise RenderError(f"first must not come after last, got {first} and {last}")
    if isinstance(crf, bool) or not isinstance(crf, int) or not 0 <= crf <= 51:
        raise RenderError(f"crf must be a whole number from 0 (lossless) to 51, got {crf!r}")
    if isinstance(frame_rate, bool) or not isinstance(frame_rate, (int, float)) or not 0.01 <= frame_rate <= 1000:
        raise RenderError(f"frame_rate must be 0.01 to 1000 frames a second, got {frame_rate!r}")


def _render_all(jobs: Sequence[tuple[Clip, Target]], style: OverlayStyle, crf: int) -> Iterator[Progress]:
    frames, total = 0, len(jobs)
    written: list[Path] = []
    failed: list[tuple[str, str]] = []
    yield Progress(0, total, 0, 0.0)
    for done, (clip, target) in enumerate(jobs):
        try:
            with contextlib.closing(_render_clip(clip, target, style, crf)) as steps:
                for k, count in enumerate(steps, 1):
                    frames += 1
                    if k % _STRETCH == 0:
                        share = (done + (min(k / count, 1) if count else 0)) / total
                        yield Progress(done, total, frames, share, tuple(written), tuple(failed))
            written.append(target.path)
        # of files, of media and labels that are not what they should be, of samples that are gone, of Pillow and OpenCV
        except (OSError, ValueError, LookupError, RuntimeError, cv2.error) as error:
            failed.append((clip.source, str(error)))
        yield Progress(done + 1, total, frames, (done + 1) / total, tuple(written), tuple(failed))


def _render_clip(clip: Clip, target: Target, style: OverlayStyle, crf: int) -> Iterator[int | None]:
    """Write one clip, yielding after each frame how many there are, if that is known."""
    stream = clip.open()
    with contextlib.closing(stream.frames), staging(target) as staged:
        if target.form is Form.FOLDER:
            staged.mkdir()
        sink = Encoder(staged, stream.rate, crf) if target.form is Form.MP4 else Images(staged, target.form)
        with contextlib.closing(sink):
            asked: dict[str, None] = {}  # a concept keeps its bar from then on, so that the strip stands still
            drawn = 0
            for frame in stream.frames:
                asked |= dict.fromkeys(frame.presence or ())
                presence = {label: (frame.presence or {}).get(label) for label in asked} or None
                sink.write(frame.number, draw_overlay(frame.image, frame.detections, presence, style))
                drawn += 1
                yield stream.count
            if not drawn:
                raise RenderError(f"{clip.source} has no frame in the range that was asked for")
            sink.finish()
