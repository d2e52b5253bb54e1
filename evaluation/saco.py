"""SA-Co's formats as FiftyOne dataset types.

    dataset = fo.Dataset.from_dir(
        data_path="images", labels_path=["gold_a.json", "gold_b.json", "gold_c.json"], dataset_type=SACoGoldDataset
    )
    sam3 = foz.load_zoo_model("concepts/sam3-image", prompt_field="concepts")  # each image is asked its own phrases
    dataset.apply_model(sam3, label_field="sam3")
    dataset.export(export_dir="out", dataset_type=SACoGoldDataset, pred_field="sam3")  # labels.json, predictions.json

SA-Co/Silver has the format of Gold. The videos of SA-Co/VEval are folders of images: they become image sequences, which
``dataset.group_by("video", order_by="frame_number")`` has one by one, for tracking and for evaluation.
"""

from __future__ import annotations

from typing import Any

import fiftyone.types as fot

#: of a sample: the phrases that were asked of it
CONCEPTS = "concepts"
#: of a sample: those of them that are absent
NEGATIVES = "negatives"
#: of a sample: those of them whose instances are not all annotated
NOT_EXHAUSTIVE = "not_exhaustive"
#: of a sample: one dictionary a pair, with its "id", its "phrase", and whatever its entry held
PAIRS = "pairs"


class SACoGoldDataset(fot.LabeledImageDataset):
    """SA-Co/Gold and SA-Co/Silver; see ``SACoGoldImporter`` and ``SACoGoldExporter`` for the arguments."""

    def get_dataset_importer_cls(self) -> Any:
        from .gold_importer import SACoGoldImporter

        return SACoGoldImporter

    def get_dataset_exporter_cls(self) -> Any:
        from .gold_exporter import SACoGoldExporter

        return SACoGoldExporter


class SACoVEvalDataset(fot.LabeledVideoDataset):
    """SA-Co/VEval; see ``SACoVEvalImporter`` and ``SACoVEvalExporter`` for the arguments."""

    def get_dataset_importer_cls(self) -> Any:
        from .veval_importer import SACoVEvalImporter

        return SACoVEvalImporter

    def get_dataset_exporter_cls(self) -> Any:
        from .veval_exporter import SACoVEvalExporter

        return SACoVEvalExporter
