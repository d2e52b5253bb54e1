"""Footage: the videos, image sequences and images of a view as clips, with what is stored for their frames.

A clip is a name, and a lazy stream of frames with their labels: neither images nor labels are ever all in memory.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import eta.core.video as etav
import fiftyone as fo
import fiftyone.core.clips as foc
import numpy as np

from .errors import RenderError

if __package__ == "curation":  # the repository's root is on the path, as in tests and scripts
    from zoo.engine.images import read_image
    from zoo.ledger import Ledger, label_of
else:  # the repository is a package, as FiftyOne's plugins are
    from ..zoo.engine.images import read_image
    from ..zoo.ledger import Ledger, label_of


def detections_fields(view: fo.core.collections.SampleCollection) -> list[str]:
    """Names, without ``frames.``, of the fields whose instances can be drawn: on videos those of the frames."""
    schema = view.get_frame_field_schema() if view.media_type == fo.core.media.VIDEO else view.get_field_schema()
    return [name for name, field in (schema or {}).items() if getattr(field, "document_type", None) is fo.Detections]


class Fields(NamedTuple):
    """What is drawn: the field of instances, and of a ledger's presence, if there is one; without ``frames.``."""

    labels: str
    presence: str | None


def fields_of(view: fo.core.collections.SampleCollection, label_field: str, ledger: str | None) -> Fields:
    """The fields of ``view`` that are drawn; arguments as of ``render_view``.

    Raises:
        RenderError: there are no such fields
    """
    bare = label_field.removeprefix("frames.")
    frames = view.media_type == fo.core.media.VIDEO
    there = detections_fields(view)
    if bare not in there:
        where = "frames of" if frames else "samples of"
        choice = f"choose one of {', '.join(map(repr, there))}" if there else "run 'segment concepts' first"
        raise RenderError(f"No Detections in a field {bare!r} on the {where} {view._root_dataset.name!r}: {choice}")
    if ledger is None and not bare.isidentifier():
        return Fields(bare, None)
    names = Ledger(ledger or bare, frames)
    if names.presence in names.schema(view):
        return Fields(bare, names.presence)
    if ledger is not None:
        raise RenderError(f"There is no field {names.path('presence')!r}: leave ledger out, or name one that was run")
    return Fields(bare, None)


def grouping(view: fo.core.collections.SampleCollection) -> fo.GroupBy | None:
    """The stage that made dynamic groups of a view, if one did."""
    if not getattr(view, "_is_dynamic_groups", False):
        return None
    return next(s for s in reversed(view._stages) if isinstance(s, fo.GroupBy))


def sources_of(view: fo.core.collections.SampleCollection) -> list[str]:
    """Paths of all media of a view."""
    if grouping(view) is None:
        return view.values("filepath")
    return [path for group in view.iter_dynamic_groups() for path in group.values("filepath")]


class Frame(NamedTuple):
    """``image`` uint8 ``(H, W, 3)``, RGB; ``presence`` per label, ``None`` where nothing was asked."""

    number: int
    image: np.ndarray
    detections: Sequence[Any]
    presence: Mapping[str, float] | None


class Stream(NamedTuple):
    """Frames to come, how many a second, and their ``count``, if it is known."""

    rate: Fraction
    count: int | None
    frames: Iterator[Frame]


class Clip(NamedTuple):
    """What becomes one video, or one folder or file of images; ``source`` says in messages where it comes from."""

    name: str
    source: str
    open: Callable[[], Stream]


def clips_of(
    view: fo.core.collections.SampleCollection, kind: str, fields: Fields, span: tuple[int, int | None],
    rate: Fraction,
) -> Iterator[Clip]:  # fmt: skip
    """The clips of a view.

    Args:
        view: of ``render_view``
        kind: ``"videos"``, ``"sequences"`` or ``"images"``
        fields: what is drawn
        span: the first frame, from 1, and the last, included; ``None`` for all
        rate: frames a second of image sequences
    """
    if kind == "sequences":
        key = grouping(view).field_or_expr
        names = view.values(key) if isinstance(key, str) else [f"sequence-{k:04d}" for k in range(1, len(view) + 1)]
        for name, group in zip(names, view.iter_dynamic_groups(), strict=True):
            yield Clip(str(name), str(name), partial(_sequence_stream, group, fields, span, rate))
        return
    samples = view.view()  # its samples are ours alone; those of a dataset are shared with whoever holds one
    ids, paths = view.values(["id", "filepath"])
    supports = view.values("support") if isinstance(view, foc.ClipsView) else [None] * len(ids)
    for sample_id, path, support in zip(ids, paths, supports, strict=True):
        name, part = Path(path).stem, span
        if support is not None:
            name = f"{name}-{support[0]}-{support[1]}"
            part = (max(support[0], span[0]), min(support[1], span[1] or support[1]))
        if kind == "images":
            yield Clip(name, path, lambda i=sample_id: _sequence_stream(samples.select(i), fields, (1, 1), rate))
        else:
            yield Clip(name, path, lambda i=sample_id, part=part: video_stream(samples[i], fields, part))


def _sequence_stream(samples: fo.DatasetView, fields: Fields, span: tuple[int, int | None], rate: Fraction) -> Stream:
    first, last = span

    def frames() -> Iterator[Frame]:
        part = samples.skip(first - 1) if first > 1 else samples
        part = part.limit(last - first + 1) if last else part
        for number, sample in enumerate(part.iter_samples(), first):
            yield Frame(number, read_image(sample.filepath), *_labels(sample, fields))

    return Stream(rate, _count(len(samples), span), frames())


def video_stream(sample: Any, fields: Fields, span: tuple[int, int | None]) -> Stream:
    """The frames ``span`` of a video with what is stored for them."""
    info = _probe(sample.filepath)
    total = info.total_frame_count
    count = _count(total, span) if total > 0 else None
    return Stream(_rate(info), count, _video_frames(sample, info, fields, span))


def _count(total: int, span: tuple[int, int | None]) -> int:
    return max(min(total, span[1] or total) - span[0] + 1, 0)


def _video_frames(
    sample: Any, info: etav.VideoStreamInfo, fields: Fields, span: tuple[int, int | None]
) -> Iterator[Frame]:
    """The frames of a video with what is stored for them, side by side, neither of them ever all in memory."""
    first, last = span
    stored = stored_frames(sample, fields)
    held = next(stored, None)
    number = 0
    wanted = None if info.total_frame_count > 0 else "1-100000000"  # a stream that was never finished knows no length
    with contextlib.closing(etav.FFmpegVideoReader(sample.filepath, wanted)) as reader:
        for number, image in enumerate(reader, 1):
            if last is not None and number > last:
                return
            while held is not None and held[0] < number:
                held = next(stored, None)
            if number >= first:
                labels = held[1] if held is not None and held[0] == number else ((), None)
                yield Frame(number, _upright(image, info), *labels)
    while held is not None and held[0] <= number:
        held = next(stored, None)
    name = Path(sample.filepath).name
    if number == 0:
        raise RenderError(f"{name} has no frame that can be read")
    if held is not None and (last is None or held[0] <= last):
        raise RenderError(f"{name} ends after frame {number}, and frame {held[0]} has labels: the file is cut short")
    if number < first:
        raise RenderError(f"{name} has {number} frames, so none from {first} on")


def stored_frames(sample: Any, fields: Fields) -> Iterator[tuple[int, tuple[Sequence[Any], Any]]]:
    """Frame numbers that hold something, in order, with ``(detections, presence)``."""
    frames = sample.frames
    # FiftyOne keeps every frame that it has handed out, masks and all, which a long video has no room for. What was
    # there before stays: it may have changes that were not saved.
    cache = getattr(frames, "_replacements", {})
    before = set(cache)
    for number, frame in frames.items():
        yield number, _labels(frame, fields)
        if number not in before:
            cache.pop(number, None)


def _labels(document: Any, fields: Fields) -> tuple[Sequence[Any], dict[str, float] | None]:
    """``(detections, presence)`` of a sample or frame; presence in alphabetical order, ``None`` where none is."""
    held = document[fields.labels] if document.has_field(fields.labels) else None
    numbers = document[fields.presence] if fields.presence and document.has_field(fields.presence) else None
    presence = None
    if numbers is not None:
        values = {label_of(name): numbers[name] for name in numbers.field_names}
        presence = {label: values[label] for label in sorted(values) if values[label] is not None}
    return (held.detections if held is not None else ()), presence or None


def _probe(path: str) -> etav.VideoStreamInfo:
    if not os.path.isfile(path):
        raise RenderError(f"{path} does not exist")
    try:
        info = etav.VideoStreamInfo.build_for(path)
        info.frame_size, info.frame_rate  # noqa: B018 - they raise where there is no video
    except Exception as error:  # ETA raises exceptions of its own, of json and of Python
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise RenderError(f"{Path(path).name} cannot be read as a video: {lines[-1]}") from error
    return info


def _rate(info: etav.VideoStreamInfo) -> Fraction:
    """Exact, as 30000/1001 is; a variable rate becomes its mean, with every frame kept."""
    for name in ("avg_frame_rate", "r_frame_rate"):
        with contextlib.suppress(KeyError, ValueError, ZeroDivisionError):
            rate = Fraction(info.stream_info[name])
            if rate > 0:
                return rate
    return Fraction(info.frame_rate).limit_denominator(1001)


def _upright(image: np.ndarray, info: etav.VideoStreamInfo) -> np.ndarray:
    """ffmpeg turns videos of phones upright; ETA knows that only from the tag that ffmpeg wrote before version 5."""
    turns = [abs(int(d.get("rotation", 0))) % 180 for d in info.stream_info.get("side_data_list", ())]
    if 90 in turns and "rotate" not in info.stream_info.get("tags", {}):
        return image.reshape(image.shape[1], image.shape[0], 3)
    return image
