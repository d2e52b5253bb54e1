"""COCO: FiftyOne's exporter, with exact masks, and with what is absent as LVIS has it.

FiftyOne traces polygons with a tolerance, which lose holes and single pixels, and reads encodings of runs as they are.
So these are written. ``neg_category_ids`` and ``not_exhaustive_category_ids`` of images are LVIS's; tools that do not
know them pass them over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import fiftyone as fo
from fiftyone.utils.coco import COCODetectionDatasetExporter

from .names import keep_apart
from .pictures import Instance, Picture

LABELS = "labels.json"
#: keys of an annotation that FiftyOne, or COCO, gives a meaning to, and names that a label cannot have as attributes
_RESERVED = {
    "id", "image_id", "category_id", "bbox", "segmentation", "keypoints", "num_keypoints", "score", "area", "iscrowd",
    "attributes", "label", "bounding_box", "mask", "mask_path", "confidence", "tags", "supercategory", "coco_id",
    "label_id",
}  # fmt: skip


class ExactCOCOExporter(COCODetectionDatasetExporter):
    """FiftyOne's exporter, whose annotations have masks as compressed encodings of runs."""

    def export_picture(self, picture: Picture, negatives: bool) -> str:
        """Write an image and its instances; with ``negatives``, what is absent, too. Returns the image's file name."""
        known = len(self._annotations)
        labels = fo.Detections(detections=[_bare(one) for one in picture.instances])
        height, width = picture.size
        self.export_sample(picture.filepath, labels, fo.ImageMetadata(width=width, height=height))
        image = self._images[-1]
        image["sample_id"] = picture.sample_id
        if negatives:
            numbers = self._labels_map_rev
            image["neg_category_ids"] = sorted(numbers[concept] for concept in picture.absent)
            image["not_exhaustive_category_ids"] = sorted(numbers[concept] for concept in picture.partial)
        for one, entry in zip(picture.instances, self._annotations[known:], strict=True):
            entry.update(segmentation=one.segmentation, bbox=list(one.box), area=one.area, label_id=one.label.id)
            entry.update((name, value) for name, value in one.attributes().items() if name not in _RESERVED)
        return str(image["file_name"])

    @property
    def image_id(self) -> int:
        """Of the image that was written last."""
        return int(self._images[-1]["id"])

    def count_from(self, image: int, annotation: int) -> None:
        """Number on, so that the files of several splits can be put together."""
        self._image_id, self._anno_id = image, annotation

    @property
    def counted(self) -> tuple[int, int]:
        """The last image's number, and the last annotation's."""
        return self._image_id, self._anno_id


class COCOWriter:
    """``data/`` and ``labels.json``; with splits, in a folder each. Numbers do not repeat between splits.

    Args:
        folder: where to.
        splits: their names; [""]: none.
        concepts: the categories, numbered from 1 in all splits.
        export_media: as everywhere in FiftyOne; False: the files name the images where they are.
        negatives: whether to write what is absent.
    """

    def __init__(
        self, folder: Path, splits: Iterable[str], concepts: Sequence[str], export_media: Any, negatives: bool
    ) -> None:
        self.negatives, self._splits = negatives, list(splits)
        self._exporters = {
            split: ExactCOCOExporter(
                export_dir=str(folder / split), export_media=export_media, abs_paths=export_media is False,
                classes=list(concepts), extra_attrs=False, info={},
            )
            for split in self._splits
        }  # fmt: skip
        for exporter in self._exporters.values():
            exporter.setup()
            keep_apart(exporter._media_exporter)
        self._counted = (0, 0)

    def add(self, picture: Picture) -> str:
        exporter = self._exporters[picture.split]
        exporter.count_from(*self._counted)
        name = exporter.export_picture(picture, self.negatives)
        self._counted = exporter.counted
        return name if Path(name).is_absolute() else (Path(picture.split) / "data" / name).as_posix()

    def image_id(self, split: str) -> int:
        """The number of the image that was written last to a split."""
        return self._exporters[split].image_id

    def close(self) -> None:
        for exporter in self._exporters.values():
            exporter.close()

    def notes(self) -> list[str]:
        return []

    def measures(self) -> dict[str, float]:
        return {}


def _bare(one: Instance) -> fo.Detection:
    """What FiftyOne's exporter is to see of a label."""
    crowd = bool(one.label.get_attribute_value("iscrowd", default=None))
    return fo.Detection(
        label=one.label.label, bounding_box=[0, 0, 1, 1], confidence=one.label.confidence, iscrowd=crowd
    )
