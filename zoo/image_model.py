"""SAM 3 for images as a FiftyOne model: ``dataset.apply_model(sam3, label_field="sam3")``."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import fiftyone as fo
import fiftyone.core.models as fom
import numpy as np
import torch

from .engine.checkpoint import Checkpoint
from .engine.concepts import Classes, Concept, check_fraction, check_length, parse_concepts
from .engine.detector import ConceptDetector
from .engine.errors import ConceptError
from .engine.images import to_square
from .engine.results import ConceptResult
from .inputs import LoadedBatch, LoadImage, collate
from .labels import to_detections
from .landing import Answer, Landing
from .ledger import Ledger, check, declare, finish_run, instances_field, merged, recorded, start_run, write, write_error

logger = logging.getLogger(__name__)


class Sam3ImageConfig:
    """What ``apply_model`` may change for the length of a run; wrong values are refused at once."""

    def __init__(self, confidence_thresh: float, labels: Iterable[str]) -> None:
        self._labels = tuple(labels)
        self._filter: tuple[str, ...] | None = None
        self.confidence_thresh = confidence_thresh

    @property
    def confidence_thresh(self) -> float:
        """Confidence in [0, 1] above which an instance counts, for concepts without their own threshold."""
        return self._confidence_thresh

    @confidence_thresh.setter
    def confidence_thresh(self, value: float) -> None:
        self._confidence_thresh = check_fraction(value, "confidence_thresh")

    @property
    def filter_classes(self) -> tuple[str, ...] | None:
        """Labels to ask for; ``None`` asks for all. A model loaded without concepts takes these as its concepts."""
        return self._filter

    @filter_classes.setter
    def filter_classes(self, value: Iterable[str] | None) -> None:
        if value is None:
            self._filter = None
            return
        wanted = tuple(c.label for c in parse_concepts([value] if isinstance(value, str) else sorted(value, key=str)))
        unknown = [w for w in wanted if self._labels and w not in self._labels]
        if unknown:
            raise ConceptError(
                f"classes={unknown[0]!r} is not among this model's concepts {list(self._labels)}: load the model "
                "with it, load_zoo_model(..., classes=[...])"
            )
        self._filter = wanted


class Sam3ImageModel(fom.Model, fom.SamplesMixin, fom.SupportsGetItem, fom.TorchModelMixin):
    """Finds every instance of every concept, and keeps the presence of each concept, found or not.

    Returns ``Detections`` with masks, which land in ``label_field``; writes the ledger's fields
    (``sam3_presence``, ``sam3_score``, ``sam3_count``, ``sam3_error``) on the sample or frame itself.

    Args:
        checkpoint: a loaded checkpoint
        classes: concepts: a list, a comma-separated string, or a mapping from label to phrase(s). May be left
            out if ``prompt_field`` is given, here or to ``apply_model``
        thresholds: label -> confidence threshold in [0, 1], before ``confidence_thresh``
        confidence_thresh: threshold of all other concepts
        floor: store instances down to this confidence as well (they are not counted)
        prompt_field: a field of strings, or lists of strings: phrases to ask of that sample alone, on top of
            ``classes``
        ledger: name of the ledger
        skip_existing: ask only what a sample has not been asked before
        cls_token: see :class:`ConceptDetector`
    """

    def __init__(
        self, checkpoint: Checkpoint, classes: Classes | None = None, *,
        thresholds: Mapping[str, float] | None = None, confidence_thresh: float = 0.5, floor: float | None = None,
        prompt_field: str | None = None, ledger: str = "sam3", skip_existing: bool = False, cls_token: bool = True,
    ) -> None:
        fom.SamplesMixin.__init__(self)
        self.concepts: tuple[Concept, ...] = () if classes is None else parse_concepts(classes, thresholds)
        check_length([p for c in self.concepts for p in c.phrases], checkpoint.tokenizer)
        self.config = Sam3ImageConfig(confidence_thresh, [c.label for c in self.concepts])
        self.floor = None if floor is None else check_fraction(floor, "floor")
        self.prompt_field = prompt_field
        self.skip_existing = skip_existing
        self.ledger = Ledger(ledger)
        self.detector = ConceptDetector(checkpoint, cls_token=cls_token)
        self._own_threshold = self.config.confidence_thresh
        self._preprocess = True
        self._run: _Run | None = None

    # ---------------------------------------------------------------- what FiftyOne asks of any model

    @property
    def media_type(self) -> str:
        return "image"

    @property
    def ragged_batches(self) -> bool:
        return False

    @property
    def transforms(self) -> None:
        return None

    @property
    def preprocess(self) -> bool:
        return self._preprocess

    @preprocess.setter
    def preprocess(self, value: bool) -> None:
        self._preprocess = value

    @property
    def has_collate_fn(self) -> bool:
        return True

    @property
    def collate_fn(self) -> Any:
        return collate

    @property
    def _using_gpu(self) -> bool:  # read by FiftyOne before it pins memory
        return self.detector.checkpoint.device.type == "cuda"

    def build_get_item(self, field_mapping: dict[str, str] | None = None) -> LoadImage:
        return LoadImage(self.detector.checkpoint.side, field_mapping)

    def __enter__(self) -> Sam3ImageModel:
        unknown = sorted(set(self.needs_fields) - {"prompt_field"})
        if unknown:
            raise ConceptError(f"Unknown argument {unknown[0]!r}: this model takes prompt_field=...")
        if not self._asked_always() and not self._prompt_field():
            raise ConceptError(
                'No concepts to look for: load the model with classes=["red baseball cap", "fire truck"], or give '
                "prompt_field=... with phrases for each sample"
            )
        # entered once more by each apply_model within a longer run: that run goes on
        self._run = self._run or _Run()
        self._run.entered += 1
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        run = self._run
        run.entered -= 1
        if not run.entered:
            self._run = None
        if run.dataset is not None:
            run.landing.close()
            if not run.entered:
                finish_run(run.dataset, run.ledger, run.summary(), run.landing.field)
        if isinstance(error, _Refused):
            raise error.reason from None

    @property
    def totals(self) -> dict[str, int]:
        """Within a run: samples done, failed, and instances counted, so far."""
        return dict(self._run.totals) if self._run else dict(samples=0, failed=0, instances=0)

    # ---------------------------------------------------------------- prediction

    def predict(self, arg: np.ndarray, sample: Any = None) -> fo.Detections:
        """Concepts of one image, uint8 ``(height, width, 3)`` RGB; the ledger is written if ``sample`` is given."""
        return next(iter(self.predict_all([arg], samples=None if sample is None else [sample])))

    def predict_all(self, args: LoadedBatch | Sequence[np.ndarray], samples: Sequence[Any] | None = None) -> Iterable[Answer]:
        """Concepts of a batch.

        Args:
            args: what the data loader made, or images as uint8 ``(height, width, 3)`` RGB
            samples: the samples or frames they belong to

        Returns:
            their ``Detections``, in order
        """
        pixels, sizes, errors = self._inputs(args)
        if samples is None:
            found = self._detect(pixels, sizes, [self._asked_always()] * len(sizes))
            return [fo.Detections(detections=to_detections(r, s)) for r, s in zip(found, sizes, strict=True)]
        run = self._begin(samples[0])
        stored = self._stored(run, samples)
        wanted: list[tuple[Concept, ...]] = []
        for k, (sample, before) in enumerate(zip(samples, stored, strict=True)):
            concepts, problem = self._wanted(run, sample, before)
            wanted.append(concepts)
            errors[k] = errors[k] or problem
        good = [k for k, e in enumerate(errors) if e is None]
        found: dict[int, list[ConceptResult]] = dict.fromkeys(good, [])
        # one tensor row a *readable* image; `good` may be fewer, where its phrases were at fault
        rows = {k: row for row, k in enumerate(k for k, s in enumerate(sizes) if s is not None)}
        asking = [k for k in good if wanted[k]]
        if asking:
            part = pixels[[rows[k] for k in asking]]
            results = self._detect(part, [sizes[k] for k in asking], [wanted[k] for k in asking])
            found.update(zip(asking, results, strict=True))
        answers: list[Answer] = []
        for k, sample in enumerate(samples):
            if errors[k] is not None:
                write_error(sample, run.ledger, errors[k])
                answers.append(None)
                continue
            write(sample, run.ledger, found[k], stored[k])
            detections = to_detections(found[k], sizes[k])
            answers.append(merged(stored[k], run.instances, detections, [c.label for c in wanted[k]]))
        run.count(found.values(), sum(e is not None for e in errors))
        if run.ledger.frames:
            return answers
        return run.landing.deliver(samples, answers, errors)

    def _inputs(self, args: LoadedBatch | Sequence[np.ndarray]) -> tuple[torch.Tensor, list, list[str | None]]:
        if isinstance(args, LoadedBatch):
            return args.pixels, [i.size if i.error is None else None for i in args.items], [i.error for i in args.items]
        side = self.detector.checkpoint.side
        images = [np.asarray(image) for image in args]
        for image in images:
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
                raise ValueError(f"Images must be uint8 (height, width, 3), got {image.dtype} {image.shape}")
        return torch.stack([to_square(i, side) for i in images]), [i.shape[:2] for i in images], [None] * len(images)

    def _detect(
        self, pixels: torch.Tensor, sizes: Sequence[tuple[int, int]], concepts: Sequence[Sequence[Concept]]
    ) -> list[list[ConceptResult]]:
        features = self.detector.encode_images(pixels, sizes)
        return self.detector.detect(features, concepts, threshold=self.config.confidence_thresh, floor=self.floor)

    # ---------------------------------------------------------------- what to ask

    def _asked_always(self) -> tuple[Concept, ...]:
        """The run's concepts, with the thresholds of this run."""
        wanted = self.config.filter_classes
        concepts = self.concepts if wanted is None else tuple(c for c in self.concepts if c.label in wanted)
        if wanted is not None and not self.concepts:
            concepts = parse_concepts(list(wanted))
        return tuple(self._limited(c) for c in concepts)

    def _limited(self, concept: Concept) -> Concept:
        """``apply_model(confidence_thresh=)`` promises that nothing below it is stored, so it can only raise a
        concept's own threshold."""
        asked = self.config.confidence_thresh
        if concept.threshold is None or asked == self._own_threshold:
            return concept
        return Concept(concept.label, concept.phrases, max(concept.threshold, asked))

    def _prompt_field(self) -> str | None:
        field = self.needs_fields.get("prompt_field", self.prompt_field)
        return None if field is None else field.removeprefix("frames.")

    def _wanted(self, run: _Run, sample: Any, before: Any) -> tuple[tuple[Concept, ...], str | None]:
        """What to ask of one sample, and why that cannot be done, if it cannot."""
        concepts, field = run.concepts, self._prompt_field()
        if field is not None:
            value = before[field] if before is not None and before.has_field(field) else None
            phrases = [value] if isinstance(value, str) else list(value or ())
            try:
                known = {c.label for c in concepts}
                own = parse_concepts([p for p in dict.fromkeys(phrases) if p not in known]) if phrases else ()
                check_length([c.label for c in own], self.detector.checkpoint.tokenizer)
            except ConceptError as error:
                return (), f"{field}: {error}"
            if own:
                declare(run.dataset, run.ledger, [c.label for c in own if c.label not in run.declared])
                run.declared.update(c.label for c in own)
            concepts = (*concepts, *own)
        if self.skip_existing:
            done = recorded(before, run.ledger)
            concepts = tuple(c for c in concepts if c.label not in done)
        return concepts, None

    # ---------------------------------------------------------------- the run's surroundings

    def _begin(self, sample: Any) -> _Run:
        """On the first batch: check the dataset, declare the fields, record the run."""
        run = self._run
        if run is None:  # predict_all called outside of apply_model, with samples: a run of its own
            run = self._run = _Run()
        if run.dataset is not None:
            return run
        dataset, frames = sample.dataset._root_dataset, isinstance(sample, (fo.Frame, fo.core.frame.FrameView))
        ledger = Ledger(self.ledger.name, frames)
        try:
            check(dataset, ledger)
            self._check_prompt_field(dataset, frames)
        except ConceptError as error:
            raise _Refused(error) from None
        run.dataset, run.ledger, run.concepts = dataset, ledger, self._asked_always()
        run.instances = instances_field(dataset, ledger)
        labels = [c.label for c in run.concepts]
        run.declared = set(labels)
        declare(dataset, ledger, labels, run.instances)
        start_run(dataset, ledger, run.concepts, self.about())
        run.landing = Landing(ledger.name, lambda field: declare(dataset, ledger, labels, field))
        return run

    def about(self) -> dict[str, Any]:
        """What this model is, for a run's record."""
        import transformers

        checkpoint = self.detector.checkpoint
        return dict(
            checkpoint=checkpoint.name, fingerprint=checkpoint.fingerprint, dtype=str(checkpoint.dtype).removeprefix("torch."),
            confidence_thresh=self.config.confidence_thresh, floor=self.floor, cls_token=self.detector.cls_token,
            versions=dict(torch=torch.__version__, transformers=transformers.__version__, fiftyone=fo.__version__),
        )

    def _check_prompt_field(self, dataset: fo.Dataset, frames: bool) -> None:
        field = self._prompt_field()
        if field is None:
            return
        schema = (dataset.get_frame_field_schema() if frames else dataset.get_field_schema()) or {}
        if field not in schema:
            raise ConceptError(f"prompt_field={field!r} is not a field of {dataset.name!r}: it has {sorted(schema)}")
        kind = schema[field]
        words = isinstance(kind, fo.StringField) or (
            isinstance(kind, fo.ListField) and (kind.field is None or isinstance(kind.field, fo.StringField))
        )
        if not words:
            raise ConceptError(f"prompt_field={field!r} holds {kind}, but phrases must be strings or lists of strings")

    def _stored(self, run: _Run, samples: Sequence[Any]) -> list[Any]:
        """The samples or frames as the database has them: ``apply_model`` hands over views without our fields."""
        schema = run.dataset.get_frame_field_schema() if run.ledger.frames else run.dataset.get_field_schema()
        wanted = [*run.ledger.fields, run.instances or "", self._prompt_field() or ""]
        fields = [name for name in dict.fromkeys(wanted) if name in schema]
        if run.ledger.frames:
            whole = {s: run.dataset[s] for s in {frame.sample_id for frame in samples}}
            return [whole[frame.sample_id].frames[frame.frame_number] for frame in samples]
        ids = [sample.id for sample in samples]
        return list(run.dataset.select(ids, ordered=True).select_fields(fields))


class _Run:
    """One ``apply_model`` call."""

    dataset: fo.Dataset | None = None
    ledger: Ledger
    concepts: tuple[Concept, ...]
    declared: set[str]
    instances: str | None
    landing: Landing

    def __init__(self) -> None:
        self.entered = 0
        self._started = time.monotonic()
        self.totals = dict(samples=0, failed=0, instances=0)

    def count(self, found: Iterable[Sequence[ConceptResult]], failed: int) -> None:
        for results in found:
            self.totals["samples"] += 1
            self.totals["instances"] += sum(r.count for r in results)
        self.totals["failed"] += failed

    def summary(self) -> dict[str, Any]:
        return dict(self.totals, seconds=round(time.monotonic() - self._started, 2))


class _Refused(BaseException):
    """A run that must not go on. Not an ``Exception``: ``apply_model(skip_failures=True)`` would log it and try
    the next batch, to the same end. ``__exit__`` turns it into the error itself."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason
