"""Where the answers of one stretch of frames are kept: written in chunks, so that no video need fit in memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import fiftyone as fo
from fiftyone import ViewField as F

from .documents import document_of
from .engine.results import FrameResult
from .footage import Footage
from .labels import to_tracked_detections
from .ledger import Ledger, field_of, kept, label_of, write
from .masklets import Sighting, field_of_masklets, summarise

#: frames read or written at a time
CHUNK = 32
_COLUMNS = ("label", "index", "instance", "confidence", "presence", "birth_score")


@dataclass(frozen=True)
class _Overall:
    """What a concept gave in all frames: largest presence and object score, and how many masklets."""

    label: str
    presence: float | None
    object_score: float | None
    count: int


class FrameStore:
    """The documents of one :class:`Footage`: frames of a video, or samples that are frames.

    Args:
        footage: what is tracked
        ledger: the ledger's name
        label_field: where instances go, without ``frames.``
    """

    def __init__(self, footage: Footage, ledger: str, label_field: str) -> None:
        self._footage = footage
        self._dataset = footage.dataset
        self._samples = footage.documents()
        self._field = label_field.removeprefix("frames.")
        self._masklets = field_of_masklets(label_field)
        self.ledger = Ledger(ledger, frames=not footage.sequence)
        self._instances: dict[int, fo.Instance] = {}
        self._offset = 0

    def answered(self, labels: Iterable[str]) -> dict[str, set[int]]:
        """The frames in which each of ``labels`` was looked for; none, if the run that did so was cut."""
        labels = list(labels)
        if not labels or self._masklets not in self._dataset.get_field_schema():
            return {label: set() for label in labels}
        finished = self._samples.limit(1).values(self._masklets)[0] is not None
        return {label: self._frames_with(label) if finished else set() for label in labels}

    def begin(self, labels: Sequence[str], numbers: Iterable[int]) -> None:
        """Take back what an earlier run said of ``labels`` in the frames ``numbers``, whole or cut: no two runs'
        masklets may mix. Masklets to come are numbered on from those that stay.
        """
        numbers = set(numbers)
        old = sorted(numbers & set().union(*(self._frames_with(label) for label in labels)))
        for start in range(0, len(old), CHUNK):
            with self._documents(old[start : start + CHUNK]) as documents:
                for document in documents.values():
                    document[self._field] = fo.Detections(detections=kept(document, [self._field], labels))
                    for field in (self.ledger.presence, self.ledger.score, self.ledger.count):
                        _forget(document, field, labels)
        sample = self._sample()
        if sample[self._masklets] is not None:  # unfinished until it is finished
            sample[self._masklets] = None
        if sample[self.ledger.error] is not None:
            sample[self.ledger.error] = None
        if not self._footage.sequence:
            for field in (self.ledger.presence, self.ledger.score, self.ledger.count):
                _forget(sample, field, labels)
        sample.save()
        self._offset = max((s.index for s in self._sightings()), default=0)

    def write(self, results: Sequence[FrameResult]) -> None:
        """Add frames."""
        if not results:
            return
        with self._documents([r.number for r in results]) as documents:
            for result in results:
                document = documents[result.number]
                held = kept(document, [self._field], {c.label for c in result.concepts})
                found = to_tracked_detections(result, self._instances, self._offset)
                document[self._field] = fo.Detections(detections=[*held, *found])
                write(document, self.ledger, result.concepts, document)

    def finish(self, labels: Sequence[str], error: str | None) -> int:
        """Sum up: masklets, and the video's own presence of ``labels``; returns how many masklets ``labels`` have.

        Args:
            labels: the concepts asked
            error: why it ended early, if it did
        """
        sightings = self._sightings()
        recorded = {label: sorted(self._frames_with(label)) for label in {s.label for s in sightings} | set(labels)}
        masklets = summarise(sightings, recorded)
        sample = self._sample()
        sample[self._masklets] = masklets
        if error is not None:
            sample[self.ledger.error] = error
        own = [m for m in masklets.detections if m.label in set(labels)]
        if not self._footage.sequence:
            whole = Ledger(self.ledger.name)
            overall = [
                _Overall(
                    label, self._most("presence", label), self._most("score", label),
                    sum(m.label == label for m in own),
                )
                for label in labels if recorded[label]
            ]
            write(sample, whole, overall, sample)
            if error is not None:
                sample[whole.error] = error
        sample.save()
        return len(own)

    def fail(self, error: str) -> None:
        """Record why nothing could be tracked; what an earlier run found stays."""
        sample = self._sample()
        sample[self.ledger.error] = error
        sample.save()

    # ---------------------------------------------------------------- documents

    @contextlib.contextmanager
    def _documents(self, numbers: Sequence[int]) -> Iterator[dict[int, Any]]:
        """The documents of some frames, saved at the end."""
        schema = self.ledger.schema(self._dataset)
        fields = [name for name in (self._field, *self.ledger.fields) if name in schema]
        if self._footage.sequence:
            ids = [self._footage.samples[n - 1] for n in numbers]
            samples = list(self._samples.select(ids, ordered=True).select_fields(fields))
            yield dict(zip(numbers, samples, strict=True))
            for sample in samples:
                sample.save()
            return
        # a view, because a dataset's own frames are shared objects, which FiftyOne reloads behind our back
        video = self._samples.select_fields([f"frames.{name}" for name in fields])
        sample = video.match_frames(F("frame_number").is_in(list(numbers)), omit_empty=False).first()
        yield {n: sample.frames[n] for n in numbers}
        sample.save()

    def _sample(self) -> Any:
        """The sample that stands for the whole: the video's, or the first of the sequence."""
        schema = self._dataset.get_field_schema()
        fields = [name for name in (self._masklets, *Ledger(self.ledger.name).fields) if name in schema]
        return self._samples.limit(1).select_fields(fields).first()

    def _columns(self, *paths: str) -> list[list[Any]]:
        """Values by frame, of the whole video or sequence, and the frames' numbers first."""
        if self._footage.sequence:
            return [list(range(1, len(self._footage.samples) + 1)), *self._samples.values(list(paths))]
        columns = self._samples.values(["frames.frame_number", *(f"frames.{path}" for path in paths)])
        return [column[0] or [] for column in columns]

    def _frames_with(self, label: str) -> set[int]:
        # a count, not a presence: what is only pointed at is not asked in every frame
        path = f"{self.ledger.count}.{field_of(label)}"
        if self.ledger.count not in self.ledger.schema(self._dataset):
            return set()
        numbers, counts = self._columns(path)
        return {n for n, value in zip(numbers, counts, strict=True) if value is not None}

    def _most(self, kind: str, label: str) -> float | None:
        _, values = self._columns(f"{getattr(self.ledger, kind)}.{field_of(label)}")
        return max((v for v in values if v is not None), default=None)

    def _sightings(self) -> list[Sighting]:
        if self._field not in self.ledger.schema(self._dataset):
            return []
        columns = self._columns(*(f"{self._field}.detections.{name}" for name in _COLUMNS))
        found = []
        for number, *lists in zip(*columns, strict=True):
            for values in zip(*(value or [] for value in lists), strict=True):
                sighting = dict(zip(_COLUMNS, values, strict=True))
                if sighting["index"] is not None and sighting["birth_score"] is not None:
                    found.append(Sighting(number, **sighting))
        return found


def _forget(document: Any, field: str, labels: Iterable[str]) -> None:
    """Leave ``labels`` out of a ledger's document."""
    if not document.has_field(field) or document[field] is None:
        return
    gone = {field_of(label) for label in labels}
    held = document[field]
    document[field] = document_of({n: getattr(held, n) for n in held.field_names if n not in gone and label_of(n)})
