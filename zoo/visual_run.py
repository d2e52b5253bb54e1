"""One run of the visual model: what surrounds the drawing while ``apply_model`` goes on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import fiftyone as fo

from .engine.errors import ConceptError
from .landing import Reply
from .ledger import Ledger
from .marked import Marked
from .run import Refused

#: attributes of what is drawn, to be declared so that the App can filter them
ATTRIBUTES = {"quality": fo.FloatField}
#: and of what is drawn without marks
UNMARKED_ATTRIBUTES = {"stability": fo.FloatField}


class VisualRun:
    """One ``apply_model`` call, or several within one ``with model:``. It learns its dataset from the first batch.

    Attributes:
        entered: how many ``with`` statements it is within
        marked: where prompts are
        ledger: of the error field, once there is a dataset
        totals: samples done, samples failed, and instances drawn, so far
        label_field: where instances go, once FiftyOne has told
    """

    ledger: Ledger
    label_field: str | None = None

    def __init__(self, marked: Marked, ledger: str, about: Mapping[str, Any]) -> None:
        self.entered = 0
        self.marked = marked
        self.totals = dict(samples=0, failed=0, instances=0)
        self._name, self._about = ledger, about
        self._dataset: fo.Dataset | None = None

    def begin(self, sample: Any) -> None:
        """Check the dataset of the first sample; declare the field for errors."""
        if self._dataset is not None:
            return
        frames = isinstance(sample, fo.Frame | fo.core.frame.FrameView)
        dataset = sample._collection._root_dataset if frames else sample.dataset
        self.ledger = Ledger(self._name, frames)
        try:
            self.marked.check(dataset, self.ledger)
        except ConceptError as error:
            raise Refused(error) from None
        self._dataset = dataset

    def stored(self, samples: Sequence[Any]) -> list[Any]:
        """The samples or frames as the database has them, with their marks."""
        fields = list(self.marked.fields)
        if self.ledger.frames:
            view = self._dataset.select(list({frame.sample_id for frame in samples}))
            videos = {video.id: video for video in view.select_fields([f"frames.{name}" for name in fields])}
            return [videos[frame.sample_id].frames[frame.frame_number] for frame in samples]
        ids = [sample.id for sample in samples]
        return list(self._dataset.select(ids, ordered=True).select_fields(fields))

    def land(self, reply: Reply, label_field: str) -> None:
        """FiftyOne has told where instances go, and is about to store those of one sample."""
        if self.label_field is not None:
            return
        schema = self.ledger.schema(self._dataset, flat=True)
        try:
            self.marked.check(self._dataset, self.ledger, label_field)
            self._check_free(schema, label_field)
        except ConceptError as error:
            raise Refused(error) from None
        add = self._dataset.add_frame_field if self.ledger.frames else self._dataset.add_sample_field
        if self.ledger.error not in schema:
            add(self.ledger.error, fo.StringField)
        if label_field not in schema:
            add(label_field, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
        for name, kind in (ATTRIBUTES | ({} if self.marked else UNMARKED_ATTRIBUTES)).items():
            if f"{label_field}.detections.{name}" not in schema:
                add(f"{label_field}.detections.{name}", kind)
        self.label_field = label_field

    def count(self, found: Iterable[fo.Detections], failed: int) -> None:
        """Add a batch to the totals."""
        found = list(found)
        self.totals["samples"] += len(found)
        self.totals["failed"] += failed
        self.totals["instances"] += sum(len(f.detections) for f in found)

    def finish(self) -> None:
        """Nothing is recorded of what is drawn."""

    def _check_free(self, schema: Mapping[str, fo.Field], label_field: str) -> None:
        field = schema.get(label_field)
        held = getattr(field, "document_type", None)
        if field is not None and held is not fo.Detections:
            what = held.__name__ if held is not None else type(field).__name__
            raise ConceptError(f"Label field {label_field!r} already holds {what}, not Detections: choose another")
        path = ("frames." if self.ledger.frames else "") + f"{label_field}.detections"
        if field is not None and f"{label_field}.detections.quality" not in schema and self._dataset.count(path):
            raise ConceptError(
                f"Label field {label_field!r} already holds Detections that were not drawn by this model, and would be "
                "replaced: choose another field"
            )
