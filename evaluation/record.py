"""Evaluations in the database: as FiftyOne keeps them, so that its Model Evaluation panel shows them, and whole.

Two records share a key. FiftyOne's evaluation has the matches of labels at one IoU threshold: its tables, confusion
matrix and patches work on it, and the numbers of cgF1 stand among its summary. Its own classes cannot hold our counts,
and classes of a plugin cannot be loaded by other processes, so a plain run has the counts of all pairs: everything else
is computed from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
from fiftyone.core.odm import create_field
from fiftyone.utils.eval.coco import COCOEvaluationConfig
from fiftyone.utils.eval.detection import DetectionResults

from .columns import PairColumns
from .judges import OUTCOMES, Match, Settings
from .policy import EvaluationError
from .table import PairTable
from .video_pairs import VideoPairCounts

if __package__ == "evaluation":
    from zoo.masklets import field_of_masklets
else:
    from ..zoo.masklets import field_of_masklets

METHOD = "sam3_concept_evaluation"
PLUGIN = "@concepts/sam3"

#: operator → its number, and what FiftyOne and people call it; see operators/metrics.py
METRICS = {"cgf1": "cgF1", "pmf1": "pmF1", "il_mcc": "IL_MCC", "phota": "pHOTA"}


def check_key(dataset: fo.Dataset, key: str, fields: Sequence[str]) -> None:
    """Refuse a key whose run, or whose fields, are something else.

    Args:
        dataset: the dataset
        key: the key
        fields: what is evaluated, whose labels will be marked; without "frames."

    Raises:
        EvaluationError: naming the run, and what to do
    """
    if not isinstance(key, str) or not key.isidentifier():
        raise EvaluationError(f"eval_key is {key!r}; want a plain word, such as 'eval'")
    if dataset.has_run(key) and dataset.get_run_info(key).config.method != METHOD:
        raise EvaluationError(f"eval_key={key!r} is the name of a run already (a ledger, say): choose another")
    if dataset.has_evaluation(key):
        method = getattr(dataset.get_evaluation_info(key).config, "method", None)
        if not dataset.has_run(key):
            raise EvaluationError(
                f"eval_key={key!r} is an evaluation already ({method}), which this would replace: choose another, or "
                f"delete_evaluation({key!r}) first"
            )
    if dataset.has_run(key):
        return
    known = {*dataset.get_field_schema(flat=True), *(dataset.get_frame_field_schema(flat=True) or ())}
    ends = ("", "_id", "_iou", "_missed", "_masklet")
    marks = [f"{field}.detections.{key}{end}" for field in fields for end in ends]
    written = [*marks, *(f"{key}_{name}" for name in ("tp", "fp", "fn", "outcome", "error"))]
    taken = next((path for path in written if path in known), None)
    if taken is not None:
        raise EvaluationError(f"eval_key={key!r} would overwrite {taken!r}, which is there already: choose another")


class Record:
    """One evaluation, from its registration to its results."""

    def __init__(self, samples: fo.core.collections.SampleCollection, settings: Settings, video: bool) -> None:
        self.samples, self.settings, self.video = samples, settings, video
        self.key = settings.key
        prefix = "frames." if samples.media_type == fo.core.media.VIDEO else ""
        self._method = COCOEvaluationConfig(
            prefix + settings.pred_field, prefix + settings.gt_field, iou=settings.iou, classwise=True,
            iscrowd=settings.iscrowd, use_masks=settings.use_masks, custom_metrics=self._operators(),
        ).build()  # fmt: skip

    def _operators(self) -> list[str] | None:
        """The metrics' operators, which clean up; without the plugin there are none."""
        names = [f"{PLUGIN}/{name}" for name in METRICS if self.video or name != "phota"]
        return names if all(foo.operator_exists(name) for name in names) else None

    def begin(self) -> None:
        """Register the evaluation, replacing an earlier one of that key, and declare the fields."""
        dataset, key = self.samples._root_dataset, self.key
        if dataset.has_evaluation(key):
            config = dataset.get_evaluation_info(key).config
            left = own_fields(dataset, config, key)
            dataset.delete_evaluation(key)
            _delete(dataset, left)  # where the plugin is not installed, FiftyOne does not know of them
        forget(dataset, key)
        self._method.register_run(self.samples, key)
        self._method.register_samples(self.samples, key)
        lists = [create_field(name, fo.ListField, subfield=fo.StringField) for name in OUTCOMES]
        document = dict(embedded_doc_type=fo.DynamicEmbeddedDocument, fields=lists)
        dataset.add_sample_field(f"{key}_outcome", fo.EmbeddedDocumentField, **document)
        dataset.add_sample_field(f"{key}_error", fo.StringField)
        frames = self.samples.media_type == fo.core.media.VIDEO
        add = dataset.add_frame_field if frames else dataset.add_sample_field
        truth, found = (f"{name}.detections" for name in (self.settings.gt_field, self.settings.pred_field))
        add(f"{truth}.{key}_missed", fo.ListField, subfield=fo.StringField)
        for field in self.settings.annotators:
            for name, kind in (("", fo.StringField), ("_id", fo.StringField), ("_iou", fo.FloatField)):
                add(f"{field}.detections.{key}{name}", kind)
            add(f"{field}.detections.{key}_missed", fo.ListField, subfield=fo.StringField)
        if not self.video:
            return
        for path in (truth, found):
            add(f"{path}.{key}_masklet", fo.StringField)
        records = field_of_masklets(self.settings.pred_field)
        if dataset.has_field(records):
            dataset.add_sample_field(f"{records}.detections.{key}", fo.StringField)
            dataset.add_sample_field(f"{records}.detections.{key}_iou", fo.FloatField)

    def finish(self, table: PairTable | None, numbers: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        """Store what came of it.

        Args:
            table: the pairs; None if there are none
            numbers: of the table, see :func:`evaluation.report.report`
            about: what was evaluated, and how
        """
        dataset, key = self.samples._root_dataset, self.key
        results = DetectionResults(
            self.samples, self._method.config, key, _sorted(self.settings.matches),
            classes=list(self.settings.policy.concepts), backend=self._method,
        )  # fmt: skip
        results.custom_metrics = {
            f"{PLUGIN}/{name}": dict(key=number, label=number, value=numbers[number], lower_is_better=False)
            for name, number in METRICS.items()
            if numbers.get(number) is not None
        }
        self._method.save_run_results(self.samples, key, results)
        self._method.add_fields_to_sidebar_group(self.samples, key, omit_fields=(f"{key}_error",))
        config = dataset.init_run()
        config.method = METHOD
        for name, value in about.items():
            setattr(config, name, value)
        dataset.register_run(key, config)
        stored = dataset.init_run_results(key)
        stored.numbers = dict(numbers)
        stored.table = _plain(table)
        dataset.save_run_results(key, stored)


def own_fields(samples: fo.core.collections.SampleCollection, config: Any, key: str) -> list[str]:
    """The fields of an evaluation beyond those that FiftyOne's own have, as far as there are any."""
    dataset = samples._root_dataset
    names = [f"{key}_outcome", f"{key}_error"]
    further = dataset.get_run_info(key).config.annotators if dataset.has_run(key) else ()
    names += [f"{name}.detections.{key}_missed" for name in (config.gt_field, *further)]
    names += [f"{name}.detections.{key}{end}" for name in further for end in ("", "_id", "_iou")]
    names += [f"{name}.detections.{key}_masklet" for name in (config.gt_field, config.pred_field)]
    records = f"{field_of_masklets(config.pred_field)}.detections.{key}"
    names += [records, f"{records}_iou"]
    known = {*dataset.get_field_schema(flat=True)}
    known |= {f"frames.{name}" for name in dataset.get_frame_field_schema(flat=True) or ()}
    return [name for name in names if name in known]


def _delete(dataset: fo.Dataset, paths: Sequence[str]) -> None:
    """Delete fields of samples and frames, as far as they are there."""
    framed = [path.removeprefix("frames.") for path in paths if path.startswith("frames.")]
    dataset.delete_sample_fields([path for path in paths if not path.startswith("frames.")], error_level=2)
    if framed:
        dataset.delete_frame_fields(framed, error_level=2)


def forget(dataset: fo.Dataset, key: str) -> None:
    """Delete the counts of an evaluation."""
    if dataset.has_run(key) and dataset.get_run_info(key).config.method == METHOD:
        dataset.delete_run(key)


def renamed(dataset: fo.Dataset, key: str, new_key: str) -> None:
    """The counts follow an evaluation that was renamed."""
    if dataset.has_run(key) and dataset.get_run_info(key).config.method == METHOD:
        dataset.rename_run(key, new_key)


def load_table(dataset: fo.Dataset, key: str) -> tuple[PairTable | None, Mapping[str, Any]]:
    """The counts of an evaluation, and its settings and notes.

    Raises:
        EvaluationError: there is no such evaluation
    """
    if not dataset.has_run(key) or dataset.get_run_info(key).config.method != METHOD:
        known = dataset.list_runs(method=METHOD)
        raise EvaluationError(f"{dataset.name!r} has no concept evaluation {key!r}; it has {known}")
    return _table(dataset.load_run_results(key).table), dataset.get_run_info(key).config.serialize()


def _sorted(matches: Sequence[Match]) -> list[Match]:
    """FiftyOne makes arrays of them: None among the confidences would make these objects."""
    return [(true, said, iou, np.nan if conf is None else conf, a, b) for true, said, iou, conf, a, b in matches]


def _plain(table: PairTable | None) -> dict[str, Any] | None:
    """As JSON has it: columns of numbers and strings."""
    if table is None:
        return None
    held = dict(video=table.videos, concepts=list(table.concepts), media=list(table.media))
    held["groups"] = {name: list(values) for name, values in table.groups.items()}
    pairs = PairColumns.of(pair.volume for pair in table.counts) if table.videos else table.counts
    held["pairs"] = {f.name: getattr(pairs, f.name).tolist() for f in fields(PairColumns)}
    if table.videos:
        names = [f.name for f in fields(VideoPairCounts) if f.name != "volume"]
        held["tracks"] = {name: [_value(getattr(pair, name)) for pair in table.counts] for name in names}
    return held


def _table(held: Mapping[str, Any] | None) -> PairTable | None:
    if held is None:
        return None
    kinds = {"has_gt": bool, "has_pred": bool}
    pairs = PairColumns(**{name: np.array(v, kinds.get(name, np.int64)) for name, v in held["pairs"].items()})
    if not held["video"]:
        return PairTable(pairs, held["concepts"], held["media"], held["groups"])
    tracks = zip(*held["tracks"].values(), strict=True)
    rows = (dict(zip(held["tracks"], row, strict=True)) for row in tracks)
    counts = [VideoPairCounts(**row, volume=volume) for row, volume in zip(rows, pairs, strict=True)]
    return PairTable(counts, held["concepts"], held["media"], held["groups"])


def _value(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
