"""One run of tracking over a dataset: checks, records, and one stretch after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import fiftyone as fo

from .engine.concepts import Concept
from .engine.errors import VideoError
from .engine.frames import Frames
from .engine.prompts import Prompts, narrowed
from .footage import Footage
from .frame_store import CHUNK, FrameStore
from .ledger import Ledger, check, declare
from .masklets import check_masklets, declare_masklets
from .most_found import declare_most_found
from .provenance import check_same_question, finish_run, note_label_field, start_run

if TYPE_CHECKING:
    from .video_model import Sam3VideoModel


@dataclass(frozen=True)
class Step:
    """``done`` of ``total`` frames of one stretch; ``masklets`` at its end; ``error`` if it ended early, or never
    began; ``skipped`` if all had been tracked before.
    """

    done: int
    total: int
    masklets: int = 0
    error: str | None = None
    skipped: bool = False


class VideoPart:
    """Tracking into one label field of one dataset whose fields are declared: what a process does that is one of many.

    Neither the schema nor the run's record is touched, of which there is but one: see :class:`VideoRun`.

    Args:
        model: with its concepts, window and ledger
        dataset: where answers go
        label_field: where instances go
        sequences: the dataset holds images that are videos
    """

    def __init__(self, model: Sam3VideoModel, dataset: fo.Dataset, label_field: str, *, sequences: bool) -> None:
        self._model, self._field = model, label_field.removeprefix("frames.")
        self.ledger = Ledger(model.ledger.name, frames=not sequences)
        self.totals = dict(videos=0, skipped=0, failed=0, frames=0, masklets=0)
        self.dataset = dataset
        self._errors: dict[str, list[str]] = {}
        #: what is asked of the stretch at work, before the first of its answers is stored
        self.asking: tuple[Concept, ...] = ()

    def declare(self, concepts: Sequence[Concept]) -> None:
        """Declare what only prompts know."""

    def record(self, concepts: Sequence[Concept]) -> None:
        """Record how these are asked, before the first of their answers is stored: what is not asked again keeps its
        record.
        """

    def track(self, footage: Footage, frames: Frames | None = None) -> Iterator[Step]:
        """Track one stretch, and say so after every few frames. What is wrong with it ends it, and nothing else.

        Args:
            footage: the stretch
            frames: its frames, if they have been opened
        """
        self.asking = ()
        store = FrameStore(footage, self.ledger.name, self._field)
        try:
            frames = footage.open(self._model.window) if frames is None else frames
        except VideoError as error:
            store.fail(self._reasons(footage, str(error)))
            self.totals["failed"] += 1
            yield Step(0, 0, error=str(error))
            return
        total = len(frames.numbers)
        try:
            concepts, prompts, before = self._asked(footage, frames)
        except VideoError as error:
            store.fail(self._reasons(footage, str(error)))
            self.totals["failed"] += 1
            yield Step(0, 0, error=str(error))
            return
        concepts, prompts = self._unanswered(store, set(frames.numbers), concepts, prompts)
        if not concepts:
            self.totals["skipped"] += 1
            yield Step(total, total, skipped=True)
            return
        self.asking = concepts
        self.record(concepts)
        yield Step(0, total)
        labels = [c.label for c in concepts]
        store.begin(labels, frames.numbers)
        done, held, error = 0, [], None
        try:
            pointed = dict(prompts=prompts, before=before) if prompts else {}
            for result in self._model.follow(frames, concepts, total, **pointed):
                held.append(result)
                if len(held) == CHUNK:
                    store.write(held)
                    done, held = done + len(held), []
                    yield Step(done, total)
        except VideoError as problem:
            error = str(problem)
        except Exception as problem:  # whatever it is, it must cost this video alone, and be recorded there
            error = f"{type(problem).__name__}: {problem}"
        store.write(held)
        done += len(held)
        masklets = store.finish(labels, self._reasons(footage, error))
        self.totals["videos" if error is None else "failed"] += 1
        self.totals["frames"] += done
        self.totals["masklets"] += masklets
        # a file may have a little less than it promised
        yield Step(done, total if error else done, masklets, error)

    def _asked(
        self, footage: Footage, frames: Frames
    ) -> tuple[tuple[Concept, ...], Prompts, Frames | None]:
        """What is asked of one stretch: concepts, prompts, and the frames before the last prompt, backward.

        Raises:
            VideoError: its prompts cannot be used, or there is nothing to ask
        """
        model = self._model
        concepts = model.asked_always()
        if not model.prompting:
            return concepts, {}, None
        concepts, prompts = model.prompting.read(footage, frames.numbers, concepts, model.config.confidence_thresh)
        if not concepts:
            raise VideoError(f"no prompts in {' and '.join(model.prompting.names)}, and no concepts to look for")
        self.declare(concepts)
        numbers = list(frames.numbers)
        if not prompts or model.prompting.propagation_direction == "forward":
            return concepts, prompts, None
        return concepts, prompts, footage.open_before(model.window, numbers, max(prompts, key=numbers.index))

    def _unanswered(
        self, store: FrameStore, numbers: set[int], concepts: tuple[Concept, ...], prompts: Prompts
    ) -> tuple[tuple[Concept, ...], Prompts]:
        """What is still to be asked: everything, unless the run resumes."""
        if not self._model.skip_existing:
            return concepts, prompts
        answered = store.answered(c.label for c in concepts)
        left = [k for k, c in enumerate(concepts) if not numbers <= answered[c.label]]
        return tuple(concepts[k] for k in left), narrowed(prompts, left)

    def _reasons(self, footage: Footage, error: str | None) -> str | None:
        """All that went wrong with a video in this run, of whose clips each is tracked by itself."""
        held = self._errors.setdefault(footage.samples[0], [])
        if error is not None:
            held.append(error)
        return "; ".join(held) or None


class VideoRun(VideoPart):
    """The whole of it: the fields are checked and declared, what is asked is recorded, and what came of it.

    Args:
        model: with its concepts, window and ledger
        dataset: where answers go
        label_field: where instances go
        sequences: the dataset holds images that are videos

    Raises:
        ConceptError: fields that hold something else, or, when resuming, earlier answers to another question
    """

    def __init__(self, model: Sam3VideoModel, dataset: fo.Dataset, label_field: str, *, sequences: bool) -> None:
        super().__init__(model, dataset, label_field, sequences=sequences)
        self._started = time.monotonic()
        self._recorded: set[str] = set()
        concepts = model.asked_always()
        labels = [c.label for c in concepts]
        whole = Ledger(model.ledger.name)
        check(dataset, self.ledger, self._field)
        check(dataset, whole)
        check_masklets(dataset, self._field)
        model.prompting.check(dataset, self._field, sequences=sequences)
        if model.skip_existing:
            check_same_question(dataset, self.ledger, concepts, model.about())
        declare(dataset, self.ledger, labels, self._field, tracked=True)
        declare(dataset, whole, labels)
        declare_masklets(dataset, self._field)
        start_run(dataset, self.ledger, (), model.about())
        note_label_field(dataset, self.ledger, self._field)

    def goes_to(self, dataset: fo.Dataset, label_field: str) -> bool:
        """Whether it is this dataset, and this label field, that answers go to."""
        return (self.dataset, self._field) == (dataset, label_field.removeprefix("frames."))

    def declare(self, concepts: Sequence[Concept]) -> None:
        labels = [c.label for c in concepts]
        declare(self.dataset, self.ledger, labels)
        declare(self.dataset, Ledger(self.ledger.name), labels)

    def record(self, concepts: Sequence[Concept]) -> None:
        new = [c for c in concepts if c.label not in self._recorded]
        if new:
            start_run(self.dataset, self.ledger, new, self._model.about())
            self._recorded.update(c.label for c in new)

    def fail(self, footage: Footage, error: str) -> None:
        """Record why a stretch could not be tracked, whatever was tried; what is stored of it is not finished."""
        FrameStore(footage, self.ledger.name, self._field).fail(error)

    def finish(self) -> None:
        """Record what came of it."""
        seconds = round(time.monotonic() - self._started, 2)
        finish_run(self.dataset, self.ledger, dict(self.totals, seconds=seconds))
        declare_most_found(self.dataset, self.ledger)
        if self.ledger.frames:
            declare_most_found(self.dataset, Ledger(self.ledger.name))


def record_failure(footage: Footage, ledger: str, error: str) -> None:
    """Record why a video could not be opened, where nothing of a run is known yet."""
    whole = Ledger(ledger)
    check(footage.dataset, whole)
    declare(footage.dataset, whole, ())
    sample = footage.documents().limit(1).select_fields(whole.error).first()
    sample[whole.error] = error
    sample.save()
