"""From FiftyOne to files of SA-Co/VEval: masklets of videos, or of image sequences, and predictions beside them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.core.utils as fou
import fiftyone.utils.data as foud
from pycocotools import mask as coco_mask

from .exporting import SACoExporter, export_policy, write_json
from .following import Places, follow, masklet_score
from .judges import is_crowd
from .policy import EvaluationError, Policy
from .saco import PAIRS
from .shapes import image_size, to_rle

if __package__ == "evaluation":
    from zoo.ledger import Ledger, answered
else:
    from ..zoo.ledger import Ledger, answered


class SACoVEvalExporter(SACoExporter):
    """Exports videos, or a view that groups images into sequences, in the format of SA-Co/VEval.

    ``labels.json`` has a pair for every video and concept that counts, negatives included, and their masklets;
    ``predictions.json`` predicted masklets of these videos. Frames are those that have ground truth and were asked, as
    ``evaluate_concepts`` has them. The files name frames; of video files these names are made up.

    Args:
        gt_field: annotations, which need an ``index`` or ``instance``.
        others: see :class:`SACoExporter`; media are the images of sequences, and the files of videos.
    """

    def setup(self) -> None:
        self._media = foud.MediaExporter(
            self.export_media, export_path=self.data_path, rel_dir=self.rel_dir, supported_modes=(True, False, "move",
            "symlink"),
        )  # fmt: skip
        self._media.setup()

    def export_samples(self, sample_collection: Any, progress: Any = None) -> None:
        """Write the files.

        Raises:
            EvaluationError: unknown fields, no videos, or nothing said about absence.
            ValueError: labels that cannot be followed, or have no masks, naming the video.
        """
        sequences = bool(getattr(sample_collection, "_is_dynamic_groups", False))
        if not sequences and sample_collection.media_type != fo.core.media.VIDEO:
            raise EvaluationError(
                f"{sample_collection._root_dataset.name!r} holds {sample_collection.media_type} samples, not videos; "
                "images of a sequence: export dataset.group_by(..., order_by=...)"
            )
        schema = sample_collection.get_field_schema() if sequences else sample_collection.get_frame_field_schema()
        for name, field in (("gt_field", self.gt_field), ("pred_field", self.pred_field)):
            if field is not None and field not in schema:
                raise EvaluationError(f"{name}={field!r} is not a field of {sample_collection._root_dataset.name!r}")
        policy, ledger = export_policy(sample_collection, self.gt_field, self.pred_field, **self._said)
        out = _Files(policy, _categories(sample_collection))
        units = sample_collection.iter_dynamic_groups() if sequences else sample_collection
        with fou.ProgressBar(total=len(sample_collection), progress=progress) as bar:
            for unit in bar(units):
                frames = list(unit) if sequences else [unit.frames[n] for n in sorted(unit.frames)]
                sample = frames[0] if sequences else unit
                try:
                    self._add(out, sample, frames, policy, ledger, sequences)
                except ValueError as error:
                    raise ValueError(f"{sample.filepath} cannot be exported: {error}") from None
        write_json(self.labels_path, out.truth)
        if self.pred_field is not None:
            write_json(self.labels_path.with_name("predictions.json"), out.predictions)

    def _add(
        self, out: _Files, sample: Any, documents: Sequence[Any], policy: Policy, ledger: Ledger | None, sequence: bool
    ) -> None:
        """One video."""
        frames = []
        for document in documents:
            asked = set(policy.concepts) if ledger is None else answered(document, ledger)
            if document[self.gt_field] is not None and asked:
                frames.append((document, asked))
        if not frames:
            return
        truth = [_labels(document, self.gt_field) for document, _ in frames]
        found = [_labels(document, self.pred_field) for document, _ in frames]
        size = image_size(sample.metadata, (x for labels in (*truth, *found) for x in labels))
        if size is None:
            raise ValueError("the size of the frames is not known: run dataset.compute_metadata()")
        name = out.unique(_name(sample, sequence))
        names = self._export_media(name, sample, [document for document, _ in frames], sequence)
        known = sample["video_id"] if sample.has_field("video_id") else None
        video = out.add_video(known, name, names, size)
        for concept in policy.candidates(sample, (x for labels in truth for x in labels)):
            mine = [policy.instances(concept, labels) for labels in truth]
            if not policy.counts(concept, sample, any(mine), any(concept in asked for _, asked in frames)):
                continue
            masklets = follow(truth, mine)
            out.add_pair(video, concept, len(masklets))
            for places in masklets:
                entry = self._masklet(places, truth, size)
                crowd = any(is_crowd(truth[t][k], self.iscrowd) for t, k in places.items())
                out.add_annotation(video, concept, entry, crowd, size)
            said = [[k for k, label in enumerate(labels) if label.label == concept] for labels in found]
            for places in follow(found, said):
                score = masklet_score([found[t][k] for t, k in places.items()])
                out.add_prediction(video, concept, self._masklet(places, found, size), score)

    def _export_media(self, name: str, sample: Any, documents: Sequence[Any], sequence: bool) -> list[str]:
        """The names of a video's frames, whose media are exported: images in a folder of the video's name."""
        if not sequence:
            self._media.export(sample.filepath)
            return [f"{name}/{document.frame_number:05d}.jpg" for document in documents]
        if self.rel_dir is not None or not self.data_path:
            return [self._media.export(document.filepath)[1] for document in documents]
        names = [f"{name}/{k:05d}{Path(document.filepath).suffix}" for k, document in enumerate(documents)]
        for document, inside in zip(documents, names, strict=True):
            self._media.export(document.filepath, outpath=str(Path(self.data_path) / inside))
        return names

    def _masklet(
        self, places: Places, frames: Sequence[Sequence[fo.Detection]], size: tuple[int, int]
    ) -> dict[str, list[Any]]:
        """The lists of a masklet, one entry a frame."""
        rles = {t: to_rle(frames[t][place], size) for t, place in places.items()}
        every = range(len(frames))
        return {
            "segmentations": [
                {"size": rles[t]["size"], "counts": rles[t]["counts"].decode()} if t in rles else None for t in every
            ],
            "bboxes": [coco_mask.toBbox(rles[t]).tolist() if t in rles else None for t in every],
            "areas": [int(coco_mask.area(rles[t])) if t in rles else None for t in every],
        }


class _Files:
    """Both files, as they grow."""

    def __init__(self, policy: Policy, known: Mapping[str, int]) -> None:
        free = max(known.values(), default=0)
        new = [concept for concept in policy.concepts if concept not in known]
        self.categories = {**known, **{concept: k for k, concept in enumerate(new, free + 1)}}
        self.truth: dict[str, Any] = {
            "info": {"description": "exported from FiftyOne"}, "videos": [], "annotations": [],
            "categories": [{"id": k, "name": concept} for concept, k in self.categories.items()], "video_np_pairs": [],
        }  # fmt: skip
        self.predictions: list[dict[str, Any]] = []

    def unique(self, name: str) -> str:
        """A video's name, with a number behind it if another has it."""
        taken = {video["video_name"] for video in self.truth["videos"]}
        candidates = (name if k == 1 else f"{name}-{k}" for k in itertools.count(1))
        return next(candidate for candidate in candidates if candidate not in taken)

    def add_video(self, number: int | None, name: str, file_names: list[str], size: tuple[int, int]) -> int:
        number = len(self.truth["videos"]) + 1 if number is None else number
        self.truth["videos"].append({
            "id": number, "video_name": name, "file_names": file_names, "height": size[0], "width": size[1],
            "length": len(file_names),
        })  # fmt: skip
        return number

    def add_pair(self, video: int, concept: str, masklets: int) -> None:
        pairs = self.truth["video_np_pairs"]
        pair = {**self._of(video, concept), "noun_phrase": concept, "num_masklets": masklets}
        pairs.append({"id": len(pairs) + 1, **pair})

    def add_annotation(self, video: int, concept: str, entry: dict, crowd: bool, size: tuple[int, int]) -> None:
        annotations = self.truth["annotations"]
        annotations.append({
            "id": len(annotations) + 1, **self._of(video, concept), "noun_phrase": concept, "iscrowd": int(crowd),
            "height": size[0], "width": size[1], **entry,
        })  # fmt: skip

    def add_prediction(self, video: int, concept: str, entry: dict, score: float) -> None:
        self.predictions.append({**self._of(video, concept), "score": score, **entry})

    def _of(self, video: int, concept: str) -> dict[str, int]:
        return {"video_id": video, "category_id": self.categories[concept]}


def _labels(document: Any, field: str | None) -> list[fo.Detection]:
    held = document[field] if field is not None else None
    return [] if held is None else held.detections


def _name(sample: Any, sequence: bool) -> str:
    """What a video is called: as it was imported, by its file, or, of a sequence, by the folder of its images."""
    if sample.has_field("video") and sample["video"] is not None:
        return str(sample["video"])
    path = Path(sample.filepath)
    return path.parent.name if sequence else path.stem


def _categories(samples: Any) -> dict[str, int]:
    """The category ids of phrases that were imported."""
    if not samples.has_field(PAIRS):
        return {}
    pairs = (pair for held in samples.values(PAIRS) for pair in (held or ()))
    return {str(pair["phrase"]): int(pair["category_id"]) for pair in _flat(pairs) if "category_id" in pair}


def _flat(held: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """The values of a grouped view are a list deeper."""
    for one in held:
        if isinstance(one, dict):
            yield one
        elif one:
            yield from _flat(one)
