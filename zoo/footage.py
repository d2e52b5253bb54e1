"""What is tracked: videos, clips of them, chosen frames of them, and images that are a video."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import fiftyone as fo
import numpy as np

from .engine.concepts import check_whole
from .engine.errors import ConceptError, VideoError
from .engine.frames import Frames, open_sequence, open_video


@dataclass(frozen=True)
class Window:
    """Which frames to track.

    Attributes:
        start: number of the first frame, from 1; in a clip or a sequence too it is the number in the whole
        max_frames: no more than this many; ``None``: to the end
        stride: ``n`` takes every ``n``-th frame
        reverse: from the last to the first
    """

    start: int = 1
    max_frames: int | None = None
    stride: int = 1
    reverse: bool = False

    def __post_init__(self) -> None:
        check_whole(self.start, "start", 1)
        check_whole(self.stride, "stride", 1)
        if self.max_frames is not None:
            check_whole(self.max_frames, "max_frames", 1)
        if not isinstance(self.reverse, bool):
            raise ConceptError(f"reverse must be True or False, got {self.reverse!r}")


@dataclass(frozen=True)
class Footage:
    """One stretch to track, from one file or one sequence of files.

    Attributes:
        dataset: where its answers go
        paths: the video's file, or the sequence's files in order
        samples: the video's sample, or the samples of the sequence in order
        sequence: whether these are images
        first, last: numbers of the frames that belong to it, inclusive; ``last=None``: to the end
        only: of these, the frames wanted; ``None``: all
    """

    dataset: fo.Dataset
    paths: tuple[str, ...]
    samples: tuple[str, ...]
    sequence: bool = False
    first: int = 1
    last: int | None = None
    only: frozenset[int] | None = None

    @property
    def name(self) -> str:
        """For a person."""
        return self.paths[0] if not self.sequence else f"the sequence that begins with {self.paths[0]}"

    def documents(self) -> fo.DatasetView:
        """Its samples, in order, as the dataset has them."""
        kind = fo.core.media.IMAGE if self.sequence else fo.core.media.VIDEO
        return _of_kind(self.dataset, kind).select(list(self.samples), ordered=True)

    def open(self, window: Window) -> Frames:
        """Its frames, lazily.

        Raises:
            VideoError: it cannot be read, or has no frame in ``window``
        """
        first = max(self.first, window.start)
        if self.last is not None and first > self.last:
            raise VideoError(f"start={window.start} lies behind its last frame, {self.last}: choose an earlier one")
        whole = dict(first=first, last=self.last, reverse=window.reverse)
        options = dict(whole, stride=window.stride, max_frames=window.max_frames)
        if self.only is not None:
            return _Chosen(open_video(self.paths[0], **whole), self.only, window)
        return open_sequence(self.paths, **options) if self.sequence else open_video(self.paths[0], **options)

    def open_before(self, window: Window, numbers: Sequence[int], last: int) -> Frames:
        """Its frames from number ``last`` back to where work begins, lazily.

        Args:
            window: as for :meth:`open`
            numbers: of the frames that :meth:`open` gives, in its order
            last: one of them
        """
        part = numbers[: numbers.index(last) + 1]
        back = dict(first=min(part), last=max(part), reverse=not window.reverse)
        if self.only is not None:
            return _Chosen(open_video(self.paths[0], **back), frozenset(part), Window(reverse=not window.reverse))
        back["stride"] = window.stride
        return open_sequence(self.paths, **back) if self.sequence else open_video(self.paths[0], **back)


class _Chosen:
    """Some frames of others: the gaps are decoded and left out. ``window`` counts what is left."""

    def __init__(self, frames: Frames, only: frozenset[int], window: Window) -> None:
        self._frames = frames
        self.size = frames.size
        rising = sorted(only & set(frames.numbers))[:: window.stride][: window.max_frames]
        self.numbers = rising[::-1] if window.reverse else rising
        if not rising:
            raise VideoError("none of the frames chosen is in the range asked for: choose other frames, or all of it")

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        wanted = set(self.numbers)
        for number, image in self._frames:
            if number in wanted:
                yield number, image
            if number == self.numbers[-1]:
                return


def footage_of(samples: fo.core.collections.SampleCollection) -> list[Footage]:
    """The stretches that a collection holds, in its order.

    Args:
        samples: videos; ``to_clips(...)``; ``to_frames(...)``; or images, grouped into sequences by
            ``group_by(..., order_by=...)``

    Raises:
        ConceptError: it holds something else
    """
    dataset = samples._root_dataset
    if getattr(samples, "_is_dynamic_groups", False):
        return _sequences(samples)
    if samples._dataset._is_clips:
        columns = samples.values(["sample_id", "filepath", "support"])
        return [
            Footage(dataset, (path,), (video,), first=int(support[0]), last=int(support[1]))
            for video, path, support in zip(*columns, strict=True)
        ]
    if samples._dataset._is_frames:
        return _chosen_frames(samples)
    if samples.media_type == fo.core.media.VIDEO:
        ids, paths = samples.values(["id", "filepath"])
        return [Footage(dataset, (path,), (video,)) for video, path in zip(ids, paths, strict=True)]
    if not len(samples):
        return []
    hint = ""
    if samples.media_type == fo.core.media.IMAGE:
        hint = ': for a video stored as images, group them, view.group_by("<scene>", order_by="<frame number>")'
    elif samples.media_type == fo.core.media.GROUP:
        hint = ": pick a slice with select_group_slices()"
    raise ConceptError(f"{dataset.name!r} holds {samples.media_type} samples; concept tracking needs videos{hint}")


def _sequences(samples: fo.DatasetView) -> list[Footage]:
    found = []
    for group in samples.iter_dynamic_groups():
        if group.media_type != fo.core.media.IMAGE:
            raise ConceptError(
                f"{samples._root_dataset.name!r} is grouped, but its groups hold {group.media_type} samples; concept "
                "tracking needs videos, or images in order"
            )
        ids, paths = group.values(["id", "filepath"])
        found.append(Footage(samples._root_dataset, tuple(paths), tuple(ids), sequence=True))
    stages = getattr(samples, "_stages", ())
    if not any(getattr(stage, "order_by", None) for stage in stages):
        raise ConceptError(
            "The groups have no order, so they are no videos: say what orders their images, "
            'view.group_by("<scene>", order_by="<frame number>")'
        )
    return found


def _chosen_frames(samples: fo.DatasetView) -> list[Footage]:
    dataset = samples._root_dataset
    chosen: dict[str, set[int]] = {}
    for video, number in zip(*samples.values(["sample_id", "frame_number"]), strict=True):
        chosen.setdefault(video, set()).add(int(number))
    videos = _of_kind(dataset, fo.core.media.VIDEO).select(list(chosen))
    paths = dict(zip(*videos.values(["id", "filepath"]), strict=True))
    return [
        Footage(dataset, (paths[video],), (video,), first=min(numbers), last=max(numbers), only=frozenset(numbers))
        for video, numbers in chosen.items()
    ]


def _of_kind(dataset: fo.Dataset, kind: str) -> fo.core.collections.SampleCollection:
    """All samples that may be of a media type. Of a grouped dataset, FiftyOne shows but one slice unless told."""
    grouped = dataset.media_type == fo.core.media.GROUP
    return dataset.select_group_slices(media_type=kind) if grouped else dataset
