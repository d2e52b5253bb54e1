"""From files of SA-Co/VEval to FiftyOne: its videos are folders of images, so they become image sequences."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo

from .entries import Entry, FormatError, check_rles, compressed, demand
from .importing import SACoImporter, label_fields, label_of_rle
from .saco import CONCEPTS, NEGATIVES, PAIRS
from .veval import read_veval, read_video_predictions

logger = logging.getLogger(__name__)


class SACoVEvalImporter(SACoImporter):
    """Imports SA-Co/VEval. A sample is a frame; ``dataset.group_by("video", order_by="frame_number")`` makes sequences.

    A sample has ``video`` (the video's name), ``video_id``, ``frame_number`` (from 1), ``ground_truth``: ``Detections``
    labelled with their phrases, whose ``index`` is the id of their masklet, with ``iscrowd``; ``concepts``: the phrases
    that were asked of its video, ``negatives``: those that are absent from it, ``pairs``: the entries of the file.

    Args:
        labels_path: the file.
        predictions_path: predicted masklets.
        shuffle, seed, max_samples: videos are shuffled, frames are counted.
        others: see :class:`SACoImporter`.

    Raises:
        FormatError: naming the entry that is wrong, before the first sample is imported.
    """

    def get_sample_field_schema(self) -> dict[str, fo.Field]:
        """All fields, those of labels too, so that the App knows them."""
        schema = label_fields({self.gt_field: {"iscrowd": fo.BooleanField()}})
        if self.predictions_path is not None:
            schema |= label_fields({self.pred_field: {}})
        return schema | {
            "video": fo.StringField(), "video_id": fo.IntField(), "frame_number": fo.IntField(),
            CONCEPTS: fo.ListField(fo.StringField()), NEGATIVES: fo.ListField(fo.StringField()),
            PAIRS: fo.ListField(fo.DictField()),
        }  # fmt: skip

    def get_dataset_info(self) -> dict[str, Any]:
        return {"saco": {"format": "veval", "annotators": [self._file.name]}}

    def setup(self) -> None:
        """Read the files, and look for the media."""
        self._file = read_veval(self.labels_paths[0])
        for warning in self._file.warnings:
            logger.warning(warning)
        for video, entry in self._file.videos.items():
            demand(entry, ["file_names"], f"{self._file.name}: the video {video}")
        self._truth = self._by_frame([e for held in self._file.masklets.values() for e in held], "annotation")
        self._found: dict[tuple[int, int], list[tuple[Entry, int]]] = {}
        if self.predictions_path is not None:
            found = read_video_predictions(self.predictions_path)
            strange = [entry for entry in found if int(entry["video_id"]) not in self._file.videos]
            if strange:
                logger.warning(f"{len(strange)} predictions are of unknown videos; left out")
            asked = {*self._file.asked, *self._file.masklets}
            extra = [e for e in found if (int(e["video_id"]), int(e["category_id"])) not in asked]
            if extra:
                logger.warning(
                    f"{len(extra)} predictions are of phrases that their videos were never asked; evaluations leave "
                    "them out, the official script counts them as made up"
                )
            self._found = self._by_frame([e for e in found if int(e["video_id"]) in self._file.videos], "prediction")
        videos = self._present()
        if self.shuffle:
            import random

            random.Random(self.seed).shuffle(videos)
        self._frames = [(video, t) for video in videos for t in range(self._file.length(video))][: self.max_samples]

    def _present(self) -> list[int]:
        """The videos all of whose frames are there."""
        self.check_media_folder()
        whole, first = [], None
        for video, entry in self._file.videos.items():
            missing = next((name for name in entry["file_names"] if not (self.data_path / name).is_file()), None)
            if missing is None:
                whole.append(video)
            first = first or (missing and (video, missing))
        if first and self.missing_media == "error":
            raise FormatError(
                f"{self._file.name}: the frame {first[1]!r} (of the video {first[0]}) is not in {self.data_path}; "
                f"{len(self._file.videos) - len(whole)} of {len(self._file.videos)} videos lack frames. "
                "missing_media='skip' imports the others. (Exports of video files name frames that are not exported)"
            )
        if first:
            lacking = len(self._file.videos) - len(whole)
            logger.warning(f"{lacking} of {len(self._file.videos)} videos lack frames; left out")
        return whole

    def _by_frame(self, entries: list[Entry], what: str) -> dict[tuple[int, int], list[tuple[Entry, int]]]:
        """(video, frame) → the masklets that are there, each with its number."""
        places: dict[tuple[int, int], list[tuple[Entry, int]]] = {}
        for k, entry in enumerate(entries, 1):
            video, number = int(entry["video_id"]), int(entry["id"]) if "id" in entry else k
            length, held = self._file.length(video), entry["segmentations"]
            if not isinstance(held, list) or len(held) != length:
                raise FormatError(
                    f"{self._file.name}: {what} {number} does not have a segmentation, or null, for each of the "
                    f"{length} frames of its video"
                )
            for t, segmentation in enumerate(held):
                if segmentation:
                    places.setdefault((video, t), []).append((entry, number))
        nowhere = sum(not any(entry["segmentations"]) for entry in entries)
        if nowhere:  # for upstream they are masklets all the same; a dataset of frames has no place for them
            logger.warning(f"{nowhere} masklets ({what}s) are in no frame; left out")
        return places

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> SACoVEvalImporter:
        self._next = iter(self._frames)
        return self

    def __next__(self) -> fo.Sample:
        return self._sample(*next(self._next))

    def _sample(self, video: int, t: int) -> fo.Sample:
        file, entry = self._file, self._file.videos[video]
        height, width = file.size(video)
        sample = fo.Sample(
            filepath=str((self.data_path / entry["file_names"][t]).resolve()),
            metadata=fo.ImageMetadata(width=width, height=height),
        )
        sample["video"] = str(entry.get("video_name", Path(entry["file_names"][t]).parent.name or video))
        sample["video_id"], sample["frame_number"] = video, t + 1
        sample[self.gt_field] = fo.Detections(detections=list(self._labels(self._truth, video, t, "annotation")))
        if self.predictions_path is not None:
            found = list(self._labels(self._found, video, t, "prediction"))
            sample[self.pred_field] = fo.Detections(detections=found)
        asked = [pair for pair in {**dict.fromkeys(file.asked), **dict.fromkeys(file.masklets)} if pair[0] == video]
        sample[CONCEPTS] = [file.phrase(category) for _, category in asked]
        sample[NEGATIVES] = [file.phrase(pair[1]) for pair in asked if not file.masklets.get(pair)]
        sample[PAIRS] = [
            {"phrase": file.phrase(c), "category_id": c, "num_masklets": len(file.masklets.get((video, c), ()))}
            for _, c in asked
        ]
        return sample

    def _labels(self, places: dict, video: int, t: int, what: str) -> Iterator[fo.Detection]:
        for entry, number in places.get((video, t), ()):
            where = f"{self._file.name}: {what} {number}, frame {t}"
            rle = compressed(entry["segmentations"][t], self._file.size(video), where)
            check_rles([rle], lambda _, name=where: name)
            label = label_of_rle(rle, self._file.phrase(int(entry["category_id"])), index=number)
            if what == "annotation":
                label["iscrowd"] = bool(entry.get("iscrowd", 0))
            else:
                label.confidence = float(entry["score"])
            yield label
