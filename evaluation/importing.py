"""What importers of SA-Co's formats have in common: their arguments, and how labels are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import fiftyone as fo
import fiftyone.utils.data as foud
import numpy as np
from pycocotools import mask as coco_mask

from .entries import FormatError


class SACoImporter(foud.GenericSampleDatasetImporter):
    """The arguments of ``SACoGoldImporter`` and ``SACoVEvalImporter``.

    Args:
        dataset_dir: a folder with ``data/`` and ``labels.json``.
        data_path: the folder of media; names in the files are relative to it.
        labels_path: the file, or a list of several annotators'.
        predictions_path: predictions, to be imported too.
        gt_field: where ground truth goes.
        pred_field: where predictions go.
        missing_media: "error", or "skip": what is not there is left out.
        shuffle, seed, max_samples: as in all importers.

    Raises:
        ValueError: arguments that say not where things are
    """

    def __init__(
        self,
        dataset_dir: str | None = None,
        data_path: str | None = None,
        labels_path: str | Sequence[str] | None = None,
        predictions_path: str | None = None,
        gt_field: str = "ground_truth",
        pred_field: str = "predictions",
        missing_media: Literal["error", "skip"] = "error",
        shuffle: bool = False,
        seed: int | None = None,
        max_samples: int | None = None,
    ) -> None:
        super().__init__(dataset_dir=dataset_dir, shuffle=shuffle, seed=seed, max_samples=max_samples)
        if missing_media not in ("error", "skip"):
            raise ValueError(f"missing_media is {missing_media!r}; want 'error' or 'skip'")
        self.data_path = placed(dataset_dir, data_path, "data")
        given = [labels_path] if isinstance(labels_path, (str, Path)) or labels_path is None else list(labels_path)
        self.labels_paths = [placed(dataset_dir, path, "labels.json") for path in given]
        self.predictions_path = placed(dataset_dir, predictions_path, None)
        self.gt_field, self.pred_field, self.missing_media = gt_field, pred_field, missing_media

    @property
    def has_dataset_info(self) -> bool:
        return True

    @property
    def has_sample_field_schema(self) -> bool:
        return True

    def check_media_folder(self) -> None:
        """Raise a FormatError if there is no folder of media."""
        if not self.data_path.is_dir():
            raise FormatError(f"There is no folder {self.data_path}, in which the media should be: say data_path=...")


def label_fields(fields: Mapping[str, Mapping[str, fo.Field]]) -> dict[str, fo.Field]:
    """The schema of fields of ``Detections`` whose labels have further attributes."""
    schema: dict[str, fo.Field] = {}
    for name, attributes in fields.items():
        schema[name] = fo.EmbeddedDocumentField(fo.Detections)
        schema |= {f"{name}.detections.{attribute}": field for attribute, field in attributes.items()}
    return schema


def placed(folder: str | None, path: str | Path | None, default: str | None) -> Path | None:
    """Where ``path`` is: as it stands if it is absolute or there is no folder, else in the folder."""
    if path is None:
        if default is None:
            return None
        if folder is None:
            raise ValueError(f"Say dataset_dir=..., which holds {default!r}, or data_path=... and labels_path=...")
        return Path(folder) / default
    return Path(path) if folder is None else Path(folder) / path


def label_of_rle(rle: Mapping[str, Any], phrase: str, **attributes: Any) -> fo.Detection:
    """A detection with the mask of an RLE, cut to its pixels; of an empty one, a single pixel that is outside."""
    height, width = rle["size"]
    x, y, w, h = (int(v) for v in coco_mask.toBbox(rle))
    if w and h:
        mask = coco_mask.decode(rle)[y : y + h, x : x + w].astype(bool)
    else:
        x, y, w, h, mask = 0, 0, 1, 1, np.zeros((1, 1), dtype=bool)
    box = [x / width, y / height, w / width, h / height]
    return fo.Detection(label=phrase, bounding_box=box, mask=mask, **attributes)
