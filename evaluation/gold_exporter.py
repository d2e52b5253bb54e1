"""From FiftyOne to files of SA-Co/Gold: annotations, and predictions with the same pair ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import fiftyone as fo
import fiftyone.core.utils as fou
import fiftyone.utils.data as foud
from pycocotools import mask as coco_mask

from .exporting import SACoExporter, export_policy, write_json
from .following import score_of
from .judges import is_crowd
from .policy import EvaluationError, Policy
from .saco import PAIRS
from .shapes import image_size, to_rle

if __package__ == "evaluation":
    from zoo.ledger import Ledger, answered
    from zoo.provenance import ledger_of
else:
    from ..zoo.ledger import Ledger, answered
    from ..zoo.provenance import ledger_of


class SACoGoldExporter(SACoExporter):
    """Exports images in the format of SA-Co/Gold.

    ``labels.json`` has a pair for every image and concept that counts, negatives included; ``predictions.json`` COCO
    results with the ids of these pairs. Of a dataset that was imported from SA-Co, the pairs are the imported ones,
    with their ids, flags and several annotators. Of others, they are those of ``evaluate_concepts`` with the same
    ``exhaustive``, ``negatives_field`` and so on; a field of a ledger as ``gt_field`` is exhaustive for what it was
    asked.

    Args:
        gt_field: annotations. Further annotators' are in ``<gt_field>_2`` and so on, and go to ``labels_2.json``.
        others: see :class:`SACoExporter`.
    """

    def setup(self) -> None:
        self._media = foud.ImageExporter(self.export_media, export_path=self.data_path, rel_dir=self.rel_dir)
        self._media.setup()

    def export_samples(self, sample_collection: Any, progress: Any = None) -> None:
        """Write the files.

        Raises:
            EvaluationError: unknown fields, or nothing said about absence.
            ValueError: labels without masks, naming the sample.
        """
        if sample_collection.media_type != fo.core.media.IMAGE:
            raise EvaluationError(
                f"{sample_collection._root_dataset.name!r} holds {sample_collection.media_type} samples; SA-Co/Gold is "
                "of images (videos: SACoVEvalDataset)"
            )
        fields = _annotators(sample_collection, self.gt_field)
        for name, field in (("gt_field", fields[0]), ("pred_field", self.pred_field)):
            if field is not None and not sample_collection.has_field(field):
                raise EvaluationError(f"{name}={field!r} is not a field of {sample_collection._root_dataset.name!r}")
        imported = sample_collection.has_field(PAIRS) and self._said["exhaustive"] is None
        policy, ledger = (None, None) if imported else export_policy(
            sample_collection, self.gt_field, self.pred_field, **self._said
        )  # fmt: skip
        known = sample_collection._root_dataset.info.get("saco", {}).get("categories", [1])
        if imported and self.pred_field is not None:
            ledger = ledger_of(sample_collection._root_dataset, self.pred_field)
        files = [PairsFile({int(number) for number in known}) for _ in fields]
        predictions: list[dict[str, Any]] = []
        count = 0
        for sample in sample_collection.iter_samples(progress=progress):
            try:
                held = self._of_image(sample, fields, policy, ledger, count)
            except ValueError as error:
                raise ValueError(f"{sample.filepath} cannot be exported: {error}") from None
            if not held:
                continue
            _, name = self._media.export(sample.filepath)
            count += len(held)
            for pair, masks, found in held:
                for k, (file, mine) in enumerate(zip(files, masks, strict=True)):
                    file.add(pair, k, name, mine)
                predictions += found
        for k, file in enumerate(files):
            path = self.labels_path if k == 0 else self.labels_path.with_stem(f"{self.labels_path.stem}_{k + 1}")
            write_json(path, file.document())
        if self.pred_field is not None:
            write_json(self.labels_path.with_name("predictions.json"), predictions)
        for note in policy.notes() if policy else ():
            fou.logger.info(note)

    def _of_image(
        self, sample: Any, fields: Sequence[str], policy: Policy | None, ledger: Ledger | None, count: int
    ) -> list[tuple[dict[str, Any], list[list[dict[str, Any]]], list[dict[str, Any]]]]:
        """The pairs of an image: what each is, every annotator's masks, and the predictions."""
        truths = [sample[field].detections if sample[field] is not None else [] for field in fields]
        found = sample[self.pred_field] if self.pred_field else None
        found = found.detections if found is not None else []
        size = image_size(sample.metadata or fo.ImageMetadata.build_for(sample.filepath), [])
        pairs = []
        asked = None if ledger is None or policy is not None else answered(sample, ledger)
        for pair in sample[PAIRS] or () if policy is None else _pairs(sample, truths[0], policy, ledger, count):
            if asked is not None and pair["phrase"] not in asked:
                continue  # as in an evaluation: what was not asked is no miss
            pair = dict(pair, height=size[0], width=size[1])
            mine = [[x for x in truth if _belongs(x, pair, policy)] for truth in truths]
            annotations = [[self._annotation(x, pair, size) for x in labels] for labels in mine]
            said = [x for x in found if _belongs(x, pair, None)]
            results = [{**_shape(x, size), "image_id": pair["id"], "score": score_of(x)} for x in said]
            pairs.append((pair, annotations, results))
        return pairs

    def _annotation(self, label: fo.Detection, pair: dict[str, Any], size: tuple[int, int]) -> dict[str, Any]:
        shape = _shape(label, size)
        area = float(coco_mask.area(shape["segmentation"])) / (size[0] * size[1])
        return {**shape, "image_id": pair["id"], "area": area, "iscrowd": int(is_crowd(label, self.iscrowd))}


class PairsFile:
    """One annotator's file: pairs of image and phrase, and the annotations of each."""

    def __init__(self, categories: set[int]) -> None:
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        self.categories = categories

    def add(self, pair: dict[str, Any], annotator: int, name: str, annotations: Sequence[dict[str, Any]]) -> None:
        entry = {key: value for key, value in pair.items() if key not in ("phrase", "instances")}
        for flag in ("is_instance_exhaustive", "is_pixel_exhaustive"):
            values = entry.get(flag, [True])
            entry[flag] = int(values[min(annotator, len(values) - 1)])
        self.images.append({"queried_category": "", **entry, "file_name": name, "text_input": pair["phrase"]})
        for annotation in annotations:
            self.annotations.append({"id": len(self.annotations) + 1, **annotation})
            self.categories.add(annotation["category_id"])

    def document(self) -> dict[str, Any]:
        return {
            "info": {"description": "exported from FiftyOne"},
            "images": self.images,
            "annotations": self.annotations,
            "categories": [{"id": number, "name": "object"} for number in sorted(self.categories)],
        }


def _pairs(
    sample: Any, truth: Sequence[fo.Detection], policy: Policy, ledger: Ledger | None, count: int
) -> Iterator[dict[str, Any]]:
    """The pairs of an image that count, numbered on from ``count``; "instances": the ids of its ground truth."""
    asked = set(policy.concepts) if ledger is None else answered(sample, ledger)
    for concept in policy.candidates(sample, truth):
        objects = policy.instances(concept, truth)
        if policy.counts(concept, sample, bool(objects), concept in asked):
            count += 1
            yield {"id": count, "phrase": concept, "instances": {truth[i].id for i in objects}}


def _belongs(label: fo.Detection, pair: dict[str, Any], policy: Policy | None) -> bool:
    """Whether a label is an instance of the pair's phrase."""
    if policy is not None:
        return label.id in pair["instances"]
    number = label.get_attribute_value("pair_id", default=None)
    return label.label == pair["phrase"] if number is None else number == pair["id"]


def _shape(label: fo.Detection, size: tuple[int, int]) -> dict[str, Any]:
    """Mask and box of a label, and its category, as the files have them: boxes relative to the image."""
    rle = to_rle(label, size)
    x, y, w, h = coco_mask.toBbox(rle).tolist()
    return {
        "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
        "bbox": [x / size[1], y / size[0], w / size[1], h / size[0]],
        "category_id": label.get_attribute_value("category_id", default=None) or 1,
    }


def _annotators(samples: Any, gt_field: str) -> list[str]:
    """``ground_truth``, ``ground_truth_2`` …, as far as there are."""
    fields = [gt_field]
    while samples.has_field(f"{gt_field}_{len(fields) + 1}"):
        fields.append(f"{gt_field}_{len(fields) + 1}")
    return fields
