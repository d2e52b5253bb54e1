"""What exporters of SA-Co's formats have in common: their arguments, and which pairs they write."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.utils.data as foud

from .policy import EvaluationError, Policy, make_policy
from .saco import CONCEPTS

if __package__ == "evaluation":
    from zoo.ledger import Ledger
    from zoo.provenance import asked_phrases, ledger_of
else:
    from ..zoo.ledger import Ledger
    from ..zoo.provenance import asked_phrases, ledger_of


class SACoExporter(foud.BatchDatasetExporter, foud.ExportPathsMixin):
    """The arguments of ``SACoGoldExporter`` and ``SACoVEvalExporter``.

    Args:
        export_dir, data_path, labels_path, export_media, rel_dir: as in FiftyOne's own exporters.
        gt_field: annotations.
        pred_field: predictions, if there are any; written next to the labels.
        concepts, gt_labels, exhaustive, negatives_field, not_exhaustive_field: see ``evaluate_concepts``. A field of a
            ledger as ``gt_field`` is exhaustive for what it was asked.
        iscrowd: the attribute of crowd regions.
    """

    def __init__(
        self,
        export_dir: str | None = None,
        data_path: str | None = None,
        labels_path: str | None = None,
        export_media: bool | str | None = None,
        rel_dir: str | None = None,
        gt_field: str = "ground_truth",
        pred_field: str | None = None,
        concepts: Sequence[str] | None = None,
        gt_labels: Any = None,
        exhaustive: Any = None,
        negatives_field: str | None = None,
        not_exhaustive_field: str | None = None,
        iscrowd: str = "iscrowd",
    ) -> None:
        data_path, export_media = self._parse_data_path(
            export_dir=export_dir, data_path=data_path, export_media=export_media, default="data/"
        )
        labels_path = self._parse_labels_path(export_dir=export_dir, labels_path=labels_path, default="labels.json")
        super().__init__(export_dir=export_dir)
        self.data_path, self.labels_path, self.export_media = data_path, Path(labels_path), export_media
        self.rel_dir, self.iscrowd = rel_dir, iscrowd
        self.gt_field = gt_field.removeprefix("frames.")
        self.pred_field = pred_field and pred_field.removeprefix("frames.")
        self._said = dict(
            concepts=concepts, gt_labels=gt_labels, exhaustive=exhaustive, negatives_field=negatives_field,
            not_exhaustive_field=not_exhaustive_field,
        )  # fmt: skip

    def close(self, *args: Any) -> None:
        self._media.close()


def export_policy(
    samples: Any, gt_field: str, pred_field: str | None, *, concepts: Any, **said: Any
) -> tuple[Policy, Ledger | None]:
    """Which pairs are exported of a dataset that was not imported from SA-Co, and the ledger that was asked, if any.

    Raises:
        EvaluationError: see :func:`evaluation.policy.make_policy`
    """
    framed = samples.media_type == fo.core.media.VIDEO
    bare_gt = gt_field.removeprefix("frames.")
    ledger = ledger_of(samples._root_dataset, (pred_field or gt_field).removeprefix("frames."), frames=framed)
    own = ledger_of(samples._root_dataset, bare_gt, frames=framed)
    known = asked_phrases(samples._root_dataset, ledger or own) if ledger or own else {}
    if not concepts and not known and "saco" in samples._root_dataset.info:
        concepts = samples.distinct(CONCEPTS)
    if not concepts and not known:
        raise EvaluationError("No ledger says what was asked: name the concepts to export, concepts=['dog', …]")
    if own is not None and said["exhaustive"] is None and said["negatives_field"] is None:
        said["exhaustive"] = True  # what it was asked and did not find is absent, by its own word
    path = f"frames.{bare_gt}" if framed else bare_gt
    return make_policy(samples, [path], concepts or list(known), phrases=known, **said), ledger or own


def write_json(path: Path, document: Any) -> None:
    """All of it, or nothing: a cut in the middle leaves the file as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(document))
    part.replace(path)
