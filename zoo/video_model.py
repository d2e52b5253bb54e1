"""SAM 3 for videos as a FiftyOne model: ``dataset.apply_model(sam3, label_field="sam3")``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import fiftyone as fo
import fiftyone.core.models as fom
import numpy as np

from .asking import Asking
from .engine.checkpoint import Checkpoint
from .engine.concepts import Classes, Concept
from .engine.detector import ConceptDetector
from .engine.errors import ConceptError, VideoError
from .engine.frames import Frames
from .engine.overlap_tracker import OverlapTracker, check_chained
from .engine.prompts import Prompts
from .engine.results import FrameResult
from .engine.session import Frame
from .engine.tracker import ConceptTracker
from .engine.tracker_settings import TrackerSettings
from .footage import Footage, Window, footage_of
from .labels import to_tracked_detections
from .landing import SampleError, Slot
from .ledger import Ledger
from .prompting import Prompting
from .run import Refused
from .video_run import VideoRun, record_failure

_PROMPT_FIELDS = ("prompt_field", "box_prompt_field", "point_prompt_field")


class Sam3VideoModel(Asking, fom.Model, fom.SamplesMixin):
    """Finds every instance of every concept, keeps its identity through time, and keeps the presence of each concept in
    every frame, found or not.

    Frames get ``Detections`` with masks, ``index`` and ``instance`` in ``label_field``, and the ledger's fields; videos
    get one ``TemporalDetection`` a masklet in ``<label_field>_masklets``, and the ledger's fields over all frames.

    Args:
        checkpoint: a loaded checkpoint, with its tracker
        classes: concepts: a list, a comma-separated string, or a mapping from label to phrase(s)
        thresholds: label -> confidence threshold of its detections in [0, 1], before ``confidence_thresh``
        confidence_thresh: threshold of all other concepts; upstream's ``score_threshold_detection``
        ledger: name of the ledger
        skip_existing: leave out what was tracked before, whole
        cls_token: see :class:`ConceptDetector`
        tracking: ``False`` chains the detections of single frames by mask overlap: cheaper, and blind to what hides
        start, max_frames, stride, reverse: which frames, see :class:`Window`
        prompt_field, box_prompt_field, point_prompt_field: fields with boxes and points that people marked; may be
            given to ``apply_model`` instead. See :class:`Prompting`, also for the next three
        operation_mode: whether a box is an example of its ``"concept"``, or, ``"visual"``, the object itself
        propagation_direction: ``"both"``, ``"forward"`` or ``"backward"`` from where an object is pointed at
        prompt_frame_indices: numbers of the frames whose prompts count
        **settings: of the tracker, see :class:`TrackerSettings`; the checkpoint's own where left out
    """

    def __init__(
        self, checkpoint: Checkpoint, classes: Classes | None = None, *,
        thresholds: Mapping[str, float] | None = None, confidence_thresh: float | None = None, ledger: str = "sam3",
        skip_existing: bool = False, cls_token: bool = True, tracking: bool = True, start: int = 1,
        max_frames: int | None = None, stride: int = 1, reverse: bool = False, prompt_field: str | None = None,
        box_prompt_field: str | None = None, point_prompt_field: str | None = None, operation_mode: str = "concept",
        propagation_direction: str = "both", prompt_frame_indices: Sequence[int] | None = None, **settings: Any,
    ) -> None:
        fom.SamplesMixin.__init__(self)
        if checkpoint.tracker is None:
            raise ConceptError(f"{checkpoint.name} was loaded without its tracker: load_checkpoint(..., tracker=True)")
        self.settings = TrackerSettings.of(checkpoint.tracker_config, settings)
        limit = self.settings.score_threshold_detection if confidence_thresh is None else confidence_thresh
        Asking.__init__(self, ConceptDetector(checkpoint, cls_token=cls_token), classes, thresholds, limit)
        if not isinstance(tracking, bool):
            raise ConceptError(f"tracking must be True or False, got {tracking!r}")
        if not tracking:
            check_chained(self.settings)
        self.window = Window(start, max_frames, stride, reverse)
        self.tracking = tracking
        self._prompting = Prompting(
            prompt_field, box_prompt_field, point_prompt_field, operation_mode, propagation_direction,
            prompt_frame_indices,
        )
        self._check_prompting(self._prompting)
        self.skip_existing = skip_existing
        self.ledger = Ledger(ledger)
        self._entered = 0
        self._run: VideoRun | None = None
        self._waiting: Footage | None = None
        self._offered: Any = None  # the collection that apply_model goes through
        self._seen: list[Footage] = []
        self._failed: list[tuple[Footage, str]] = []

    @property
    def media_type(self) -> str:
        return "video"

    def __enter__(self) -> Sam3VideoModel:
        unknown = sorted(set(self.needs_fields) - set(_PROMPT_FIELDS))
        if unknown:
            raise ConceptError(f"Unknown argument {unknown[0]!r}: give it to load_zoo_model(...)")
        if not self.asked_always() and not self.prompting:
            raise ConceptError(
                'No concepts to look for: load the model with classes=["red baseball cap", "fire truck"], or point at '
                'them: prompt_field="frames.marks"'
            )
        self._check_prompting(self.prompting)
        self._entered += 1
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        self._entered -= 1
        waiting, self._waiting = self._waiting, None
        if error is None and waiting is None:
            self._look_at_the_unseen()
        self._record_failures()
        self._offered, self._seen = None, []
        if not self._entered:
            self._finish_run()
        if isinstance(error, Refused):
            raise error.reason from None
        if waiting is not None and (error is None or isinstance(error, Exception)):
            raise _unplaced(waiting) from None

    def _look_at_the_unseen(self) -> None:
        """FiftyOne opens each video before this model hears of it, and merely logs that it could not."""
        if self._offered is None:
            return
        seen = {(one.samples, one.first) for one in self._seen}
        for footage in footage_of(self._offered):
            if (footage.samples, footage.first) not in seen:
                try:
                    footage.open(self.window)
                except VideoError as error:
                    self._failed.append((footage, str(error)))

    def _record_failures(self) -> None:
        failed, self._failed = self._failed, []
        for footage, reason in failed:
            record_failure(footage, self.ledger.name, reason)
        if self._run is not None:
            self._run.totals["failed"] += len(failed)

    def _finish_run(self) -> None:
        run, self._run = self._run, None
        if run is not None:
            run.finish()

    @property
    def prompting(self) -> Prompting:
        """Where prompts are; what ``apply_model`` was given comes first."""
        given = {name: self.needs_fields[name] for name in _PROMPT_FIELDS if name in self.needs_fields}
        if not given:
            return self._prompting
        return replace(self._prompting, **{**dict.fromkeys(_PROMPT_FIELDS), **given})

    def _check_prompting(self, prompting: Prompting) -> None:
        if prompting and not self.tracking:
            raise ConceptError(
                "tracking=False looks at single frames, and cannot follow what is pointed at: leave out one of the two"
            )

    def follow(
        self, frames: Iterable[Frame], concepts: Sequence[Concept], length: int, prompts: Prompts | None = None,
        before: Iterable[Frame] | None = None,
    ) -> Iterator[FrameResult]:
        """Track ``concepts``, and what ``prompts`` point at, through ``frames``, of which there are ``length``; see
        :meth:`ConceptTracker.track`.
        """
        settings = replace(self.settings, score_threshold_detection=self.config.confidence_thresh)
        tracker = ConceptTracker(self.detector, self.detector.checkpoint.tracker, settings)
        if not self.tracking:
            return OverlapTracker(tracker).track(frames, concepts, length=length)
        onward = self.prompting.propagation_direction != "backward"
        return tracker.track(frames, concepts, length=length, prompts=prompts, before=before, onward=onward)

    def predict(self, reader: Any, sample: Any = None) -> dict[int, Any]:
        """Track one video.

        Args:
            reader: what ``apply_model`` hands over, an ETA video reader. Within a run the file is opened anew: ETA's
                reader does not turn videos upright, and swallows why a decoder failed
            sample: the video or clip; given by ``apply_model``, within a run

        Returns:
            frame number -> ``Detections``, of all that ``reader`` reads; within a run, a promise of one frame, for
            everything is stored in chunks once FiftyOne has told ``label_field`` (see ``landing.py``)
        """
        if sample is None:
            # copies: ETA hands out read-only memory
            frames = ((reader.frame_number, np.array(image)) for image in reader)
            instances: dict[int, fo.Instance] = {}
            return {
                result.number: fo.Detections(detections=to_tracked_detections(result, instances))
                for result in self.follow(frames, self.asked_always(), len(reader))
            }
        if not self._entered:
            raise RuntimeError("predict(..., sample) belongs to a run: use dataset.apply_model(model, ...)")
        if self._waiting is not None:
            raise Refused(_unplaced(self._waiting))
        footage = footage_of_sample(sample)
        self._offered = sample._view
        self._seen.append(footage)
        try:
            frames = footage.open(self.window)
        except VideoError as error:
            self._failed.append((footage, str(error)))
            raise
        found = fo.Detections()
        self._waiting = footage
        number = frames.numbers[0]
        # no field has this name: where FiftyOne forms none, it refuses to store
        return {number: {Slot("", lambda label_field: self._land(footage, frames, found, label_field)): found}}

    def _land(self, footage: Footage, frames: Frames, found: fo.Detections, label_field: str) -> str:
        """FiftyOne has told where instances go: track the video, and complete what it is about to store."""
        self._waiting = None
        label_field = label_field.removeprefix("frames.")
        if self._run is not None and not self._run.goes_to(footage.dataset, label_field):
            self._finish_run()  # several runs within one `with model:`
        if self._run is None:
            try:
                self._run = VideoRun(self, footage.dataset, label_field, sequences=False)
            except ConceptError as error:
                raise Refused(error) from None
        *_, last = self._run.track(footage, frames)
        if last.error is not None:
            raise SampleError(f"{footage.name}: {last.error}")
        held = footage.documents().select_fields(f"frames.{label_field}").first()
        found.detections = held.frames[frames.numbers[0]][label_field].detections
        return label_field

    def about(self) -> dict[str, Any]:
        """What this model is, for a run's record."""
        how = dict(asdict(self.settings), tracking=self.tracking)
        del how["score_threshold_detection"]  # recorded as confidence_thresh
        prompts = dict(prompts=self.prompting.about()) if self.prompting else {}
        return dict(super().about(), tracker=how, window=asdict(self.window), **prompts)


def _unplaced(footage: Footage) -> ConceptError:
    return ConceptError(
        f'{footage.name} was not tracked, because label_field is no field\'s name: say label_field="sam3"'
    )


def footage_of_sample(sample: Any) -> Footage:
    """The video, or the clip, that ``apply_model`` hands over."""
    dataset = sample._view._root_dataset
    if hasattr(sample, "sample_id"):
        first, last = sample.support
        return Footage(dataset, (sample.filepath,), (sample.sample_id,), first=int(first), last=int(last))
    return Footage(dataset, (sample.filepath,), (sample.id,))
