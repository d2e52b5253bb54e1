"""SAM's own task as a FiftyOne model: masks of what boxes and points say, or of everything.

``load_zoo_model("concepts/sam3-image", operation_mode="visual")``: what people marked becomes instances with masks, in
the order of the marks, with their labels, ids and attributes. ``operation_mode="everything"``: all that can be told
apart, without labels. Neither asks for concepts, so neither has a presence, nor a ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import fiftyone as fo
import torch

from .answering import Answering, tried_apart
from .engine.checkpoint import Checkpoint
from .engine.detector import ConceptDetector
from .engine.errors import ConceptError
from .engine.everything import EverythingSettings, segment_everything
from .engine.tracker_network import TrackerFeatures
from .engine.visual import CHOICES, VisualSegmenter
from .inputs import Loaded
from .labels import to_things
from .landing import Reply
from .ledger import Ledger
from .marked import Marked, outlined
from .visual_run import VisualRun

MODES = ("visual", "everything")


class Sam3VisualModel(Answering):
    """Masks of single objects that are pointed at, or of all there are.

    Args:
        checkpoint: loaded with its tracker, which draws
        operation_mode: of :data:`MODES`
        prompt_field: ``Detections`` or ``Keypoints``, the objects; with ``"visual"`` one of these three is needed, here
            or in ``apply_model``
        box_prompt_field, point_prompt_field: the same, where there are both: a box and points with the same ``index``
            are one object
        boxes: ``"keep"`` leaves the boxes as they are marked, and cuts masks at them; ``"fit"`` makes boxes that hug
            their masks
        choice: which of the network's candidates becomes the mask: ``"best"``, ``"largest"``, ``"smallest"``
        multimask: whether there are three candidates (whole, part, sub-part), or one; ``None``: three where a single
            point is all that is said
        ledger: name of the field for errors, ``<ledger>_error``
        **everything: of :class:`EverythingSettings`

    Raises:
        ConceptError: settings that make no sense
    """

    def __init__(
        self, checkpoint: Checkpoint, operation_mode: str = "visual", *, prompt_field: str | None = None,
        box_prompt_field: str | None = None, point_prompt_field: str | None = None, boxes: str = "keep",
        choice: str = "best", multimask: bool | None = None, ledger: str = "sam3", **everything: Any,
    ) -> None:
        super().__init__(checkpoint)
        for name, value, known in (
            ("operation_mode", operation_mode, MODES), ("boxes", boxes, ("keep", "fit")), ("choice", choice, CHOICES),
        ):  # fmt: skip
            if value not in known:
                raise ConceptError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}")
        if everything and operation_mode != "everything":
            raise ConceptError(f"{sorted(everything)[0]} belongs to operation_mode='everything'")
        if multimask not in (None, True, False):
            raise ConceptError(f"multimask must be True, False or None, got {multimask!r}")
        self.operation_mode, self.boxes, self.choice, self.multimask = operation_mode, boxes, choice, multimask
        self.marked = Marked(prompt_field, box_prompt_field, point_prompt_field)
        if self.marked and operation_mode == "everything":
            raise ConceptError(f"operation_mode='everything' takes no prompts, but {self.marked.names[0]!r} was given")
        self.everything = EverythingSettings(**everything)
        self.ledger = Ledger(ledger)
        self.detector = ConceptDetector(checkpoint, cls_token=False)
        self.segmenter = VisualSegmenter(checkpoint)
        self._run: VisualRun | None = None

    def __enter__(self) -> Sam3VisualModel:
        marked = self._marks()
        if self.operation_mode == "visual" and not marked:
            raise ConceptError(
                "Nothing to draw: say where boxes or points are, with prompt_field=..., box_prompt_field=... or "
                "point_prompt_field=..."
            )
        self._run = self._run or VisualRun(marked, self.ledger.name, self.about())
        self._run.entered += 1
        return self

    def about(self) -> dict[str, Any]:
        """What this model is, for a run's record."""
        settings = asdict(self.everything) if self.operation_mode == "everything" else dict(
            boxes=self.boxes, choice=self.choice, multimask=self.multimask
        )
        checkpoint = self._checkpoint
        return dict(
            checkpoint=checkpoint.name, fingerprint=checkpoint.fingerprint, operation_mode=self.operation_mode,
            **settings, **self._marks().about(),
        )

    def _free(self, images: Sequence[Loaded]) -> list[fo.Detections]:
        if self.operation_mode != "everything":
            raise RuntimeError("Prompts are in fields: use dataset.apply_model(model, label_field=...)")
        return self._draw(images, [None] * len(images))

    def _begin(self, run: VisualRun, sample: Any) -> None:
        run.begin(sample)

    def _replies(self, run: VisualRun, images: Sequence[Loaded], samples: Sequence[Any]) -> list[Reply]:
        stored = run.stored(samples)
        errors = [error for _, _, error in images]
        whole = [k for k, error in enumerate(errors) if error is None]
        drawn = tried_apart(whole, lambda places: self._draw(*_chosen(places, images, stored)), errors)
        run.count(drawn.values(), sum(error is not None for error in errors))
        return [Reply(sample, drawn.get(k), errors[k], run.ledger.error, run.land) for k, sample in enumerate(samples)]

    def _draw(self, images: Sequence[Loaded], stored: Sequence[Any]) -> list[fo.Detections]:
        marked = self._run.marked if self._run else self._marks()
        objects = [marked.of(document) if marked else () for document in stored]
        wanted = [k for k, some in enumerate(objects) if some or not marked]
        here: TrackerFeatures | None = None
        if wanted:
            features = self.detector.encode_images(
                torch.stack([images[k][0] for k in wanted]), [images[k][1] for k in wanted], tokens=True
            )
            here = self.segmenter.features(features)
        found = []
        for k, (_, size, _) in enumerate(images):
            if k not in wanted:
                found.append(fo.Detections())
            elif marked:
                outlines = self.segmenter.outlines(
                    here, wanted.index(k), [o.prompt for o in objects[k]], size, multimask=self.multimask,
                    choice=self.choice,
                )
                found.append(fo.Detections(detections=[
                    outlined(o, outline, size, keep_box=self.boxes == "keep")
                    for o, outline in zip(objects[k], outlines, strict=True)
                ]))
            else:
                things = segment_everything(self.segmenter, here, wanted.index(k), size, self.everything)
                found.append(fo.Detections(detections=to_things(things, size)))
        return found

    def _marks(self) -> Marked:
        given: Mapping[str, str] = dict(self.needs_fields)
        unknown = sorted(set(given) - {"prompt_field", "box_prompt_field", "point_prompt_field"})
        if unknown:
            raise ConceptError(
                f"Unknown argument {unknown[0]!r}: this model takes prompt_field, box_prompt_field, point_prompt_field"
            )
        return Marked(**given) if given else self.marked


def _chosen(places: Sequence[int], *columns: Sequence[Any]) -> list[list[Any]]:
    return [[column[k] for k in places] for column in columns]
