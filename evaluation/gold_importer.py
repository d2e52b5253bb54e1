"""From files of SA-Co/Gold and SA-Co/Silver to FiftyOne: one sample an image, whatever the number of its phrases."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import fiftyone as fo

from .entries import Entry, FormatError, check_rles, compressed, demand
from .gold import GoldFile, read_gold, read_predictions
from .importing import SACoImporter, label_fields, label_of_rle
from .saco import CONCEPTS, NEGATIVES, NOT_EXHAUSTIVE, PAIRS

logger = logging.getLogger(__name__)

_PAIR_KEYS = ("id", "text_input", "file_name", "height", "width", "is_instance_exhaustive", "is_pixel_exhaustive")


class SACoGoldImporter(SACoImporter):
    """Imports SA-Co/Gold and SA-Co/Silver.

    A sample has ``ground_truth``: ``Detections`` labelled with their phrases, with ``iscrowd``, ``pair_id`` and
    ``annotation_id``; with several annotators the second's are in ``ground_truth_2``, and so on. ``concepts`` lists the
    phrases that were asked, ``negatives`` those that are absent (for the first annotator), ``not_exhaustive`` those
    whose instances are not all annotated (for any of them), ``pairs`` the entries of the file.

    Args:
        labels_path: an annotator's file, or a list of them.
        predictions_path: COCO results.
        others: see :class:`SACoImporter`.

    Raises:
        FormatError: naming the entry that is wrong, before the first sample is imported.
    """

    def get_sample_field_schema(self) -> dict[str, fo.Field]:
        """All fields, those of labels too, so that the App knows them."""
        truth = [self.gt_field, *(f"{self.gt_field}_{k + 1}" for k in range(1, len(self._files)))]
        numbers = {"pair_id": fo.IntField(), "annotation_id": fo.IntField(), "iscrowd": fo.BooleanField()}
        schema = label_fields({field: numbers for field in truth})
        if self.predictions_path is not None:
            schema |= label_fields({self.pred_field: {"pair_id": fo.IntField()}})
        return schema | {
            **{name: fo.ListField(fo.StringField()) for name in (CONCEPTS, NEGATIVES, NOT_EXHAUSTIVE)},
            PAIRS: fo.ListField(fo.DictField()),
        }

    def get_dataset_info(self) -> dict[str, Any]:
        categories = sorted(frozenset().union(*(file.categories for file in self._files)))
        names = [file.name for file in self._files]
        return {"saco": {"format": "gold", "annotators": names, "categories": categories}}

    def setup(self) -> None:
        """Read the files, and look for the media."""
        self._files = [read_gold(path) for path in self.labels_paths]
        for warning in (w for file in self._files for w in file.warnings):
            logger.warning(warning)
        first = self._files[0]
        self._pairs: dict[str, list[int]] = {}
        for pair, entry in first.pairs.items():
            demand(entry, ["file_name", "text_input"], f"{first.name}: the image with the id {pair}")
            self._pairs.setdefault(entry["file_name"], []).append(pair)
        for file in self._files[1:]:
            lacking = next((pair for pair in first.pairs if pair not in file.pairs), None)
            if lacking is not None:
                raise FormatError(f"{file.name} lacks the pair {lacking}, which {first.name} has")
        self._predictions: dict[int, list[Entry]] = {}
        if self.predictions_path is not None:
            known = frozenset().union(*(file.categories for file in self._files))
            found = read_predictions(self.predictions_path)
            for entry in found:
                if int(entry["category_id"]) in known:
                    self._predictions.setdefault(int(entry["image_id"]), []).append(entry)
            left = len(found) - sum(len(held) for held in self._predictions.values())
            if left:
                logger.warning(f"{left} predictions are of categories that {first.name} does not have; left out")
            strange = [pair for pair in self._predictions if pair not in first.pairs]
            if strange:
                logger.warning(f"Predictions of {len(strange)} pairs that {first.name} does not have are left out")
        self._images = self._preprocess_list(self._present())

    def _present(self) -> list[str]:
        """The images that are there."""
        self.check_media_folder()
        missing = [name for name in self._pairs if not (self.data_path / name).is_file()]
        if missing and self.missing_media == "error":
            raise FormatError(
                f"{self._files[0].name}: the image {missing[0]!r} (of the pair {self._pairs[missing[0]][0]}) is not in "
                f"{self.data_path}; in all {len(missing)} of {len(self._pairs)} are missing. missing_media='skip' "
                "imports the others"
            )
        if missing:
            logger.warning(f"{len(missing)} of {len(self._pairs)} images are not in {self.data_path}; left out")
        gone = set(missing)
        return [name for name in self._pairs if name not in gone]

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> SACoGoldImporter:
        self._next = iter(self._images)
        return self

    def __next__(self) -> fo.Sample:
        return self._sample(next(self._next))

    def _sample(self, name: str) -> fo.Sample:
        pairs, first = self._pairs[name], self._files[0]
        path = str((self.data_path / name).resolve())
        phrases = [first.phrase(pair) for pair in pairs]
        sample = fo.Sample(filepath=path, metadata=_metadata(path, first, pairs[0]))
        size = sample.metadata.height, sample.metadata.width
        for k, file in enumerate(self._files):
            field = self.gt_field if k == 0 else f"{self.gt_field}_{k + 1}"
            sample[field] = fo.Detections(detections=[
                label for pair in pairs for label in self._labels(file, pair, file.masks.get(pair, ()), size)
            ])  # fmt: skip
        if self.predictions_path is not None:
            sample[self.pred_field] = fo.Detections(detections=[
                label for pair in pairs for label in self._found(first, pair, size)
            ])  # fmt: skip
        sample[CONCEPTS] = list(dict.fromkeys(phrases))
        sample[NEGATIVES] = [first.phrase(pair) for pair in pairs if not first.masks.get(pair)]
        sample[NOT_EXHAUSTIVE] = [
            first.phrase(pair) for pair in pairs if not all(file.exhaustive(pair) for file in self._files)
        ]
        sample[PAIRS] = [self._pair(pair) for pair in pairs]
        return sample

    def _pair(self, pair: int) -> dict[str, Any]:
        """What a pair's entry holds beyond the image; flags have one value an annotator."""
        entry = self._files[0].pairs[pair]
        rest = {key: value for key, value in entry.items() if key not in _PAIR_KEYS}
        flags = {
            key: [bool(file.pairs[pair].get(key, True)) for file in self._files]
            for key in ("is_instance_exhaustive", "is_pixel_exhaustive")
        }
        return {"id": pair, "phrase": self._files[0].phrase(pair), **flags, **rest}

    def _labels(
        self, file: GoldFile, pair: int, entries: Sequence[Entry], size: tuple[int, int]
    ) -> Iterator[fo.Detection]:
        for k, entry in enumerate(entries):
            number = entry.get("id", k)
            label = to_label(
                entry, file.phrase(pair), size, f"{file.name}: annotation {number} of the pair {pair}", pair_id=pair
            )
            label["annotation_id"] = number
            label["iscrowd"] = bool(entry.get("iscrowd", 0))
            if entry["category_id"] != 1:
                label["category_id"] = entry["category_id"]
            yield label

    def _found(self, file: GoldFile, pair: int, size: tuple[int, int]) -> Iterator[fo.Detection]:
        for k, entry in enumerate(self._predictions.get(pair, ())):
            where = f"{self.predictions_path.name}: prediction {k} of the pair {pair}"
            label = to_label(entry, file.phrase(pair), size, where, pair_id=pair)
            label.confidence = float(entry["score"])
            if entry["category_id"] != 1:
                label["category_id"] = entry["category_id"]
            yield label


def to_label(
    entry: Mapping[str, Any], phrase: str, size: tuple[int, int], where: str, **attributes: Any
) -> fo.Detection:
    """A detection with the mask of an entry, cut to its pixels.

    Raises:
        FormatError: there is no mask, or it is broken
    """
    demand(entry, ["segmentation"], where)
    rle = compressed(entry["segmentation"], size, where)
    check_rles([rle], lambda _: where)
    return label_of_rle(rle, phrase, **attributes)


def _metadata(path: str, file: GoldFile, pair: int) -> fo.ImageMetadata:
    size = file.size(pair)
    metadata = fo.ImageMetadata.build_for(path)
    if size is not None and (metadata.height, metadata.width) != size:
        raise FormatError(
            f"{file.name}: the image {path} measures {metadata.height} x {metadata.width}, its pair {pair} says "
            f"{size[0]} x {size[1]} (height x width)"
        )
    return metadata
