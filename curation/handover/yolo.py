"""YOLO segmentation, as Ultralytics has it, through FiftyOne's exporter: a polygon an instance, and what that costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
from fiftyone.utils.yolo import YOLOv5DatasetExporter

from .names import keep_apart
from .pictures import Instance, Picture
from .polygons import fill, to_polygon, to_shares

#: names by which Ultralytics knows splits
_KNOWN = {"": "train", "validation": "val", "valid": "val", "training": "train", "testing": "test"}
#: what is lost in an instance's polygon without a word
_BEARABLE = 0.05


class YOLOWriter:
    """``dataset.yaml``, ``images/<split>/`` and ``labels/<split>/``; an image without instances has an empty file.

    Args:
        folder: where to.
        splits: their names; [""]: none, which is "train".
        concepts: the classes, numbered from 0 in all splits.
        export_media: True or "symlink".
        tolerance: how far, in pixels, corners may be moved so that there are fewer; 0: not at all.
    """

    def __init__(
        self, folder: Path, splits: Iterable[str], concepts: Sequence[str], export_media: Any, tolerance: float = 0.0
    ) -> None:
        self._folder, self._tolerance, self._ious = folder, tolerance, []
        given = list(splits)
        known = {split: _KNOWN.get(split, split) for split in given}
        self._names = {split: split if known[split] in given else known[split] for split in given}
        self._exporters = {
            split: YOLOv5DatasetExporter(
                export_dir=str(folder), split=name, export_media=export_media, classes=list(concepts),
                include_path=False,  # else the folder could not be moved, and it will be
            )
            for split, name in self._names.items()
        }  # fmt: skip
        for exporter in self._exporters.values():
            exporter.setup()
            keep_apart(exporter._media_exporter)

    def add(self, picture: Picture) -> str:
        drawn = [self._drawn(one, picture.size) for one in picture.instances]
        labels = fo.Polylines(polylines=[line for line, _ in drawn])
        exporter = self._exporters[picture.split]
        exporter.export_sample(picture.filepath, labels)
        self._ious += [iou for _, iou in drawn]
        maker = exporter._media_exporter._filename_maker
        media = maker.get_output_path(picture.filepath)  # of a path that it knows: where that went
        return Path(media).relative_to(self._folder).as_posix()

    def _drawn(self, one: Instance, size: tuple[int, int]) -> tuple[fo.Polyline, float]:
        """The polygon of an instance, and its IoU with the mask when it is read from the file."""
        mask = one.mask()
        shares = to_shares(to_polygon(mask, self._tolerance) + one.box[:2], size)
        line = fo.Polyline(label=one.label.label, points=[shares.tolist()], closed=True, filled=True)
        read = np.round(shares, 6) * size[::-1]  # six decimals is what FiftyOne writes
        again = fill(np.floor(read).astype(np.int64) - one.box[:2], mask.shape)
        return line, float((again & mask).sum() / (again | mask).sum())

    def close(self) -> None:
        for exporter in self._exporters.values():
            exporter.close()

    def notes(self) -> list[str]:
        lossy = sum(iou < 1 - _BEARABLE for iou in self._ious)
        found = []
        if lossy:
            found.append(
                f"{lossy} of {len(self._ious)} instances lose more than {_BEARABLE:.0%} as polygons (IoU down to "
                f"{min(self._ious):.2f}): a polygon has one part, and others hang on it by lines. COCO keeps masks"
            )
        if "val" not in self._names.values():
            found.append("Ultralytics wants a split val, too: dataset.yaml has none")
        return found

    def measures(self) -> dict[str, float]:
        if not self._ious:
            return {}
        return dict(iou_mean=float(np.mean(self._ious)), iou_min=float(np.min(self._ious)))
