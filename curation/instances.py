"""The instances of a field as a flat table, and which of them lie on the same pixels.

One pass over a dataset serves label errors, confusions and hard negatives: masks are read a stretch of samples at a
time, compared within their image, and dropped; what stays is a number for each pair that overlaps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import fiftyone as fo
import numpy as np
from numpy.typing import NDArray

from .answers import HOW_TO_ASK, ledgers_of
from .checks import check_whole
from .errors import CurationError

if __package__ == "curation":
    from evaluation.match import box_iou, mask_areas, mask_iou
    from evaluation.shapes import image_size, to_rle
else:
    from ..evaluation.match import box_iou, mask_areas, mask_iou
    from ..evaluation.shapes import image_size, to_rle

#: samples whose masks are in memory at once
STRETCH = 200
#: overlaps below are no evidence of anything
LEAST_IOU = 0.1
_NUMBERS = ("confidence", "presence", "object_score")


@dataclass(frozen=True)
class Instances:
    """Labels of a field.

    Attributes:
        field: where they are; of videos with "frames.".
        ids: (n,) their ids.
        image: (n,) which image or frame each is in, counted through the view.
        sample: (n,) which of the view's samples.
        label: (n,) str.
        confidence, presence, object_score: (n,) in [0, 1]; ``nan`` where the label has none.
        area: (n,) share of the image, by mask or box.
        sample_ids: (N,) ids of the view's samples.
        images: how many images or frames there are.
        frames: (images,) numbers of frames, from 1; zeros for images.
    """

    field: str
    ids: NDArray[np.str_]
    image: NDArray[np.int64]
    sample: NDArray[np.int64]
    label: NDArray[np.str_]
    confidence: NDArray[np.float64]
    presence: NDArray[np.float64]
    object_score: NDArray[np.float64]
    area: NDArray[np.float64]
    sample_ids: NDArray[np.str_]
    images: int
    frames: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Overlaps:
    """Pairs of instances, of two fields or of one, that share pixels.

    Attributes:
        first, second: (m,) places in the two tables; of one table, ``first < second``.
        iou: (m,) in [:data:`LEAST_IOU`, 1], or less where one lies within the other.
        first_inside, second_inside: (m,) share of each one's area that the other covers.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    iou: NDArray[np.float64]
    first_inside: NDArray[np.float64]
    second_inside: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True)
class Layout:
    """What :func:`compare` found: instances, ground truth if asked for, and what overlaps.

    ``labelled`` is (images,): whether anybody labelled the image or frame. An empty ``Detections`` is a word, None is
    none.
    """

    found: Instances
    among: Overlaps
    truth: Instances | None = None
    across: Overlaps | None = None
    labelled: NDArray[np.bool_] | None = None


def check_field(samples: fo.core.collections.SampleCollection, field: str, what: str) -> str:
    """The field's full path, with "frames." where it lies on frames.

    Raises:
        CurationError: no such field, or one that holds no ``Detections``.
    """
    if not isinstance(field, str):
        raise CurationError(f"{what}={field!r} must be the name of a field")
    bare = field.removeprefix("frames.")
    places = {bare: samples.get_field_schema().get(bare)}
    if samples._contains_videos(any_slice=True):
        places = {f"frames.{bare}": samples.get_frame_field_schema().get(bare), **places}
    for path, held in places.items():
        if getattr(held, "document_type", None) is fo.Detections:
            return path
    check_whole(samples)  # there, Detections are a single Detection, or left out
    held = next((f for f in places.values() if f is not None), None)
    if held is None:
        fields = [*samples.get_field_schema(), *(f"frames.{n}" for n in samples.get_frame_field_schema() or {})]
        ask = "" if ledgers_of(samples) else f". SAM 3 was not asked yet: {HOW_TO_ASK}"
        raise CurationError(f"{what} {field!r} is not a field of {samples._root_dataset.name!r}; it has {fields}{ask}")
    kind = getattr(held, "document_type", type(held)).__name__
    raise CurationError(f"{what} {field!r} holds {kind}; Detections are needed here, with boxes or masks")


def compare(
    samples: fo.core.collections.SampleCollection, field: str, gt_field: str | None = None, *, use_masks: bool = True
) -> Iterator[tuple[int, int, Layout | None]]:
    """Read the instances of a field, and of ground truth, and find which overlap.

    Args:
        samples: a dataset or view.
        field: what was found, ``Detections``.
        gt_field: ground truth, likewise; None: none.
        use_masks: compare masks, where both labels have one; else boxes.

    Yields:
        samples done, samples in all, and with the last ones the :class:`Layout`.
    """
    ids = samples.values("id")
    paths = [path for path in (field, gt_field) if path is not None]
    tables = {path: _Table(path) for path in paths}
    among, across = _Pairs(), _Pairs()
    images, frames, labelled = 0, [], []
    yield 0, len(ids), None
    for start in range(0, len(ids), STRETCH):
        stretch = samples.select(ids[start : start + STRETCH], ordered=True)
        for place, size, number, held in _documents(stretch, paths, use_masks):
            labels = [tables[path].add(found or [], images, start + place, size) for path, found in held.items()]
            among.add(_overlap(labels[0], labels[0]))
            if gt_field is not None:
                across.add(_overlap(labels[0], labels[1]))
            frames.append(number)
            labelled.append(held.get(gt_field) is not None)
            images += 1
        done = min(start + STRETCH, len(ids))
        if done < len(ids):
            yield done, len(ids), None
    made = [tables[path].made(ids, images, frames) for path in paths]
    known = (made[1], across.made(), np.array(labelled, dtype=bool)) if gt_field is not None else ()
    layout = Layout(made[0], among.made(), *known)
    yield len(ids), len(ids), layout


@dataclass
class _Label:
    """One label as it came from the database, with what ``evaluation.shapes`` asks of a detection."""

    id: str
    label: str
    bounding_box: Sequence[float]
    mask: Any
    mask_path: str | None
    numbers: Sequence[float | None]

    def get_mask(self) -> NDArray | None:
        if self.mask is None and self.mask_path:
            return fo.Detection(mask_path=self.mask_path).get_mask()
        return self.mask


@dataclass
class _Here:
    """The labels of a field in one image; a label without a mask has None among ``rles``."""

    places: NDArray[np.int64]
    boxes: NDArray[np.float64]
    rles: list[Any]
    areas: NDArray[np.float64]


def _documents(
    samples: fo.core.collections.SampleCollection, paths: Sequence[str], use_masks: bool
) -> Iterator[tuple[int, tuple[int, int] | None, int, dict[str, list[_Label] | None]]]:
    """Place of the sample, size of the image, number of the frame, and the labels of each field, if it has any."""
    video = paths[0].startswith("frames.")
    own = ["id", "label", "bounding_box", *_NUMBERS] + (["mask", "mask_path"] if use_masks else [])
    flat = samples.get_frame_field_schema(flat=True) if video else samples.get_field_schema(flat=True)
    wanted = {
        path: [f"{path}.detections.{name}" for name in own
               if f"{path.removeprefix('frames.')}.detections.{name}" in flat]
        for path in paths
    }  # fmt: skip
    columns = [column for listed in wanted.values() for column in listed]
    values = samples.values(["metadata", *(["frames.frame_number"] if video else []), *columns])
    for place, metadata in enumerate(values[0]):
        numbers = values[1][place] if video else [0]
        for k, number in enumerate(numbers or ()):
            cells = iter(values[1 + video :])
            held = {}
            for path, listed in wanted.items():
                row = {}
                for column in listed:
                    cell = next(cells)[place]
                    row[column.rsplit(".", 1)[1]] = (cell[k] if cell else None) if video else cell
                held[path] = _labels(row)
            size = image_size(metadata, [label for labels in held.values() for label in labels or ()])
            yield place, size, number, held


def _labels(row: dict[str, Any]) -> list[_Label] | None:
    if row.get("id") is None:
        return None

    def column(name: str) -> Sequence[Any]:
        held = row.get(name)
        return [None] * count if held is None else held

    count = len(row.get("id") or ())
    numbers = zip(*(column(name) for name in _NUMBERS), strict=True)
    return [
        _Label(str(identity), label or "", box or [0, 0, 0, 0], mask, path, scores)
        for identity, label, box, mask, path, scores in zip(
            column("id"), column("label"), column("bounding_box"), column("mask"), column("mask_path"), numbers,
            strict=True,
        )
    ]  # fmt: skip


class _Table:
    """An :class:`Instances` that grows."""

    def __init__(self, field: str) -> None:
        self.field = field
        self.rows: list[tuple] = []

    def add(self, labels: Sequence[_Label], image: int, sample: int, size: tuple[int, int] | None) -> _Here:
        begin = len(self.rows)
        boxes = np.array([label.bounding_box for label in labels], dtype=np.float64).reshape(-1, 4)
        rles: list[Any] = [None] * len(labels)
        areas = boxes[:, 2] * boxes[:, 3]
        if size is not None:
            rles = [to_rle(one, size) if one.mask is not None or one.mask_path else None for one in labels]
            drawn = [k for k, rle in enumerate(rles) if rle is not None]
            areas[drawn] = np.asarray(mask_areas([rles[k] for k in drawn]), dtype=np.float64) / (size[0] * size[1])
        for label, area in zip(labels, areas.tolist(), strict=True):
            self.rows.append((label.id, image, sample, label.label, *label.numbers, area))
        return _Here(np.arange(begin, len(self.rows)), boxes, rles, areas)

    def made(self, sample_ids: Sequence[str], images: int, frames: Sequence[int]) -> Instances:
        columns = list(zip(*self.rows, strict=True)) if self.rows else [()] * 8
        kinds = (str, np.int64, np.int64, str, *[np.float64] * 4)
        arrays = [np.array(column, dtype=kind) for column, kind in zip(columns, kinds, strict=True)]
        return Instances(self.field, *arrays, np.array(sample_ids, dtype=str), images, np.array(frames, dtype=np.int64))


class _Pairs:
    """An :class:`Overlaps` that grows."""

    def __init__(self) -> None:
        self.parts: list[tuple[NDArray, ...]] = []

    def add(self, part: tuple[NDArray, ...] | None) -> None:
        if part is not None:
            self.parts.append(part)

    def made(self) -> Overlaps:
        empty = [np.zeros(0, np.int64)] * 2 + [np.zeros(0)] * 3
        return Overlaps(*(np.concatenate(c) for c in zip(*self.parts, strict=True)) if self.parts else empty)


def _overlap(first: _Here, second: _Here) -> tuple[NDArray, ...] | None:
    """The pairs that overlap; of one table with itself, each once."""
    if not len(first.places) or not len(second.places):
        return None
    same = first is second
    if same and len(first.places) < 2:
        return None
    drawn = [np.array([rle is not None for rle in here.rles], dtype=bool) for here in (first, second)]
    masks = drawn[0][:, None] & drawn[1][None]
    iou = np.zeros(masks.shape)
    if not masks.all():
        iou = box_iou(first.boxes, second.boxes)
    if masks.any():
        rles = [[rle for rle in here.rles if rle is not None] for here in (first, second)]
        iou[np.ix_(*drawn)] = mask_iou(*rles)
    flat = [here.boxes[:, 2] * here.boxes[:, 3] for here in (first, second)]
    areas = [
        np.where(masks, first.areas[:, None], flat[0][:, None]), np.where(masks, second.areas[None], flat[1][None])
    ]  # fmt: skip
    # |A ∩ B| = IoU (|A| + |B|) / (1 + IoU)
    shared = iou * (areas[0] + areas[1]) / (1 + iou)
    with np.errstate(divide="ignore", invalid="ignore"):
        inside = [np.nan_to_num(shared / area) for area in areas]
    near = (iou >= LEAST_IOU) | (inside[0] >= 0.5) | (inside[1] >= 0.5)
    rows, columns = np.nonzero(np.triu(near, 1) if same else near)
    if not len(rows):
        return None
    shares = [np.minimum(share[rows, columns], 1) for share in inside]
    return (first.places[rows], second.places[columns], iou[rows, columns], *shares)
