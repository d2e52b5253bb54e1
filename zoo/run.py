"""One run of a model over a dataset: what surrounds the predictions while ``apply_model`` goes on."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import fiftyone as fo

from .engine.concepts import Concept
from .engine.errors import ConceptError
from .engine.results import ConceptResult
from .examples import Examples
from .landing import Reply
from .ledger import Ledger, check, declare, kept
from .most_found import declare_most_found
from .provenance import check_same_question, finish_run, instances_fields, note_label_field, start_run
from .verdicts import carried


class Run:
    """One ``apply_model`` call, or several within one ``with model:``. It learns its dataset from the first batch.

    Attributes:
        entered: how many ``with`` statements it is within
        totals: samples done, samples failed, and instances counted, so far
        dataset: ``None`` until the first batch
        ledger: where presence goes, once there is a dataset
        concepts: asked of every sample, once there is a dataset
        prompt_field: the field with each sample's own phrases, if any
        examples: where examples are
        instances: fields that hold earlier instances
        label_field: where the instances of this run go, once FiftyOne has told
    """

    dataset: fo.Dataset | None = None
    ledger: Ledger
    concepts: tuple[Concept, ...]
    prompt_field: str | None
    examples: Examples
    instances: tuple[str, ...]
    label_field: str | None = None

    def __init__(self) -> None:
        self.entered = 0
        self.totals = dict(samples=0, failed=0, instances=0)
        self._about: Mapping[str, Any] = {}
        self._asked: set[str] = set()
        self._unrecorded: dict[str, Concept] = {}
        self._first = False
        self._started = time.monotonic()

    def begin(
        self, sample: Any, ledger: str, concepts: tuple[Concept, ...], prompt_field: str | None, examples: Examples,
        about: Mapping[str, Any], resumes: bool,
    ) -> None:
        """Check the dataset of the first ``sample``, declare the fields, record the run.

        ``resumes``: whether answers of earlier runs are kept, which must have been asked the same.
        """
        frames = isinstance(sample, (fo.Frame, fo.core.frame.FrameView))
        # a clip's frames belong to the video, but the clip itself to a dataset that FiftyOne makes up
        dataset = sample._collection._root_dataset if frames else sample.dataset
        book = Ledger(ledger, frames)
        try:
            check_run(dataset, book, concepts, prompt_field, examples, about, resumes)
        except ConceptError as error:
            raise Refused(error) from None
        self.prepare(dataset, book, concepts, prompt_field, examples, about)
        self.register()

    def prepare(
        self, dataset: fo.Dataset, ledger: Ledger, concepts: tuple[Concept, ...], prompt_field: str | None,
        examples: Examples, about: Mapping[str, Any],
    ) -> None:
        """Learn the dataset, which was checked (:func:`check_run`), and declare the fields."""
        self.dataset, self.ledger = dataset, ledger
        self.concepts, self.prompt_field, self.examples = concepts, prompt_field, examples
        self._about = about
        self.instances = instances_fields(dataset, ledger)
        self._first = ledger.presence not in ledger.schema(dataset) and not dataset.has_run(ledger.name)
        declare(dataset, ledger, [c.label for c in concepts])

    def register(self) -> None:
        """Record that there is a run."""
        start_run(self.dataset, self.ledger, (), self._about)

    def asking(self, concepts: Iterable[Concept]) -> None:
        """Fields of concepts that are about to be asked, at their first time."""
        new = {c.label: c for c in concepts if c.label not in self._asked}
        if new:
            declare(self.dataset, self.ledger, new)
            self._asked.update(new)
            self._unrecorded.update(new)

    def stored(self, samples: Sequence[Any]) -> list[Any]:
        """The samples or frames as the database has them: ``apply_model`` hands over views without our fields."""
        schema = self.ledger.schema(self.dataset)
        wanted = [*self.ledger.fields, *self.instances, self.prompt_field or "", self.examples.field or ""]
        fields = [name for name in dict.fromkeys(wanted) if name in schema]
        if self.ledger.frames:
            # a view, because a dataset's own frames are shared objects, which FiftyOne reloads behind our back
            view = self.dataset.select(list({frame.sample_id for frame in samples}))
            videos = {video.id: video for video in view.select_fields([f"frames.{name}" for name in fields])}
            return [videos[frame.sample_id].frames[frame.frame_number] for frame in samples]
        ids = [sample.id for sample in samples]
        return list(self.dataset.select(ids, ordered=True).select_fields(fields))

    def land(self, before: Any, asked: Sequence[str], reply: Reply, label_field: str) -> None:
        """FiftyOne has told where instances go, and is about to store those of one sample.

        Args:
            before: the sample or frame as stored
            asked: labels whose instances are found anew
            reply: the answer, completed here with the instances of other labels
            label_field: where it goes
        """
        if self.label_field is None:
            try:
                self.examples.check(self.dataset, self.ledger, label_field)
                check(self.dataset, self.ledger, label_field)
            except ConceptError as error:
                self._take_back()
                raise Refused(error) from None
            self.settle(label_field)
        if reply.error is not None:
            return
        self.record()
        first = [label_field] if label_field in self.instances else []
        fields = [*first, *self.instances]
        found = carried(before, fields, asked, reply.found.detections)
        reply.found.detections = [*kept(before, fields, asked), *found]
        if self.ledger.frames:  # FiftyOne adds to a frame's labels, unless they are these already
            reply.target[label_field] = reply.found

    def settle(self, label_field: str) -> None:
        """Declare, and record, where instances go: before the first of them is stored."""
        declare(self.dataset, self.ledger, (), label_field)
        note_label_field(self.dataset, self.ledger, label_field)
        self.label_field = label_field

    def record(self, labels: Collection[str] | None = None) -> None:
        """Record how concepts were asked. Not before there is an answer to keep: a concept not asked again keeps its
        record.

        Args:
            labels: of those that there is an answer of; ``None``: of all that are being asked
        """
        now = [c for c in self._unrecorded.values() if labels is None or c.label in labels]
        if now:
            start_run(self.dataset, self.ledger, now, self._about)
            for concept in now:
                del self._unrecorded[concept.label]

    def _take_back(self) -> None:
        """Leave nothing of a run that is refused before its first answer is stored."""
        if self._first:
            delete = self.dataset.delete_frame_fields if self.ledger.frames else self.dataset.delete_sample_fields
            delete(list(self.ledger.fields))
            self.dataset.delete_run(self.ledger.name)
            self.dataset = None

    def count(self, found: Iterable[Sequence[ConceptResult]], samples: int, failed: int) -> None:
        """Add a batch to the totals."""
        self.totals["samples"] += samples - failed
        self.totals["failed"] += failed
        self.totals["instances"] += sum(r.count for results in found for r in results)

    def finish(self) -> None:
        """Record what came of it."""
        if self.dataset is not None:
            seconds = round(time.monotonic() - self._started, 2)
            finish_run(self.dataset, self.ledger, dict(self.totals, seconds=seconds))
            declare_most_found(self.dataset, self.ledger)


class Refused(BaseException):
    """A run that must not go on. Not an ``Exception``: ``apply_model(skip_failures=True)`` would log it and try
    the next batch, to the same end. The model's ``__exit__`` turns it into the error itself.
    """

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


def check_run(
    dataset: fo.Dataset, ledger: Ledger, concepts: Iterable[Concept], prompt_field: str | None, examples: Examples,
    about: Mapping[str, Any], resumes: bool, label_field: str | None = None,
) -> None:
    """Refuse a run that cannot go well, or would spoil something.

    Args:
        dataset: the dataset
        ledger: where presence goes
        concepts: asked of every sample
        prompt_field: the field with each sample's own phrases, if any
        examples: where examples are
        about: what the model is
        resumes: whether answers of earlier runs are kept, which must have been asked the same
        label_field: where instances go, if known

    Raises:
        ConceptError: says what is wrong
    """
    check(dataset, ledger, label_field)
    _check_prompt_field(dataset, ledger, prompt_field)
    examples.check(dataset, ledger, label_field)
    if resumes:
        check_same_question(dataset, ledger, concepts, about)


def _check_prompt_field(dataset: fo.Dataset, ledger: Ledger, field: str | None) -> None:
    if field is None:
        return
    schema = ledger.schema(dataset)
    if field not in schema:
        raise ConceptError(f"prompt_field={field!r} is not a field of {dataset.name!r}: it has {sorted(schema)}")
    kind = schema[field]
    words = isinstance(kind, fo.StringField) or (
        isinstance(kind, fo.ListField) and (kind.field is None or isinstance(kind.field, fo.StringField))
    )
    if not words:
        raise ConceptError(f"prompt_field={field!r} holds {kind}, but phrases must be strings or lists of strings")
