"""What people mark in a dataset's fields, as the engine's prompts. Names and meanings are those of FiftyOne's own
wrappers of SAM: ``prompt_field``, ``box_prompt_field``, ``point_prompt_field``, ``sam_label``, ``sam_labels``,
``operation_mode``, ``prompt_frame_indices``, ``propagation_direction``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import fiftyone as fo
import numpy as np
from fiftyone import ViewField as F

from .engine.concepts import Concept, check_whole
from .engine.errors import ConceptError, VideoError
from .engine.prompts import VISUAL, Exemplars, FramePrompts, ObjectPrompt, Prompts
from .footage import Footage

_MODES = ("concept", "visual")
_DIRECTIONS = ("both", "forward", "backward")


@dataclass(frozen=True)
class Prompting:
    """Where prompts are, and what they mean.

    Attributes:
        prompt_field: frame-level field with boxes (``Detections``) or points (``Keypoints``), ``"frames.marks"``; of
            images that are a video, a field of the samples
        box_prompt_field, point_prompt_field: the same, where there are both
        operation_mode: what a box is: ``"concept"``: an example of its label, positive, or negative with
            ``sam_label=False``: all that is like it is found; ``"visual"``: the object itself. Points are always the
            object itself, with ``sam_labels`` 1 on it and 0 beside it. An object with the same ``index`` in several
            frames is one
        propagation_direction: where objects that are pointed at are followed to, in the order of work: ``"forward"``,
            ``"backward"``, or ``"both"``
        prompt_frame_indices: numbers of the frames whose prompts count; ``None``: all
    """

    prompt_field: str | None = None
    box_prompt_field: str | None = None
    point_prompt_field: str | None = None
    operation_mode: str = "concept"
    propagation_direction: str = "both"
    prompt_frame_indices: Sequence[int] | None = field(default=None)

    def __post_init__(self) -> None:
        for name, known in (("operation_mode", _MODES), ("propagation_direction", _DIRECTIONS)):
            if getattr(self, name) not in known:
                choices = " or ".join(map(repr, known))
                raise ConceptError(f"{name} must be {choices}, got {getattr(self, name)!r}")
        if self.prompt_field and (self.box_prompt_field or self.point_prompt_field):
            raise ConceptError("Give prompt_field, or box_prompt_field and point_prompt_field, not both")
        if self.prompt_frame_indices is not None:
            if isinstance(self.prompt_frame_indices, str | int):
                raise ConceptError(
                    f"prompt_frame_indices must be a list of frame numbers, got {self.prompt_frame_indices!r}"
                )
            for number in self.prompt_frame_indices:
                check_whole(number, "a frame number of prompt_frame_indices", 1)

    @property
    def names(self) -> tuple[str, ...]:
        """The fields, as they were given."""
        return tuple(n for n in (self.prompt_field, self.box_prompt_field, self.point_prompt_field) if n)

    def __bool__(self) -> bool:
        return bool(self.names)

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields, without the prefix of frames."""
        return tuple(n.removeprefix("frames.") for n in self.names)

    def about(self) -> dict[str, Any]:
        """For a run's record."""
        return {f.name: getattr(self, f.name) for f in fields(self)} if self else {}

    def check(self, dataset: fo.Dataset, label_field: str, *, sequences: bool) -> None:
        """Refuse fields that hold no prompts.

        Args:
            dataset: the dataset
            label_field: where instances go
            sequences: the dataset holds images that are videos

        Raises:
            ConceptError: naming the field
        """
        schema = (dataset.get_field_schema() if sequences else dataset.get_frame_field_schema()) or {}
        for name, bare in zip(self.names, self.fields, strict=True):
            if not sequences and not name.startswith("frames."):
                raise ConceptError(f"Prompts of videos are in their frames: write 'frames.{name}' instead of {name!r}")
            if bare not in schema:
                raise ConceptError(f"{name!r} is not a field of {dataset.name!r}: it has {sorted(schema)}")
            kind = getattr(schema[bare], "document_type", None)
            wanted = {self.box_prompt_field: (fo.Detections,), self.point_prompt_field: (fo.Keypoints,)}
            if kind not in wanted.get(name, (fo.Detections, fo.Keypoints)):
                held = kind.__name__ if kind is not None else type(schema[bare]).__name__
                allowed = " or ".join(k.__name__ for k in wanted.get(name, (fo.Detections, fo.Keypoints)))
                raise ConceptError(f"Prompts must be {allowed}, but {name!r} holds {held}")
            if bare == label_field.removeprefix("frames."):
                raise ConceptError(f"{name!r} cannot hold the prompts and the results: choose another label field")

    def read(
        self, footage: Footage, numbers: Sequence[int], concepts: Sequence[Concept], threshold: float
    ) -> tuple[tuple[Concept, ...], Prompts]:
        """The prompts of one stretch.

        Args:
            footage: the stretch
            numbers: of the frames that will be tracked
            concepts: that are asked anyway
            threshold: confidence from which an instance counts, for concepts that prompts add

        Returns:
            the concepts, and those that only prompts know, which have no phrases; and the prompts, by frame number

        Raises:
            VideoError: a prompt cannot be used, or lies in a frame that is left out
        """
        labels = {c.label: k for k, c in enumerate(concepts)}
        found: dict[int, FramePrompts] = {}
        for number, held in self._marks(footage):
            if number not in set(numbers):
                self._outside(number, numbers)
                continue
            try:
                found[number] = self._of_frame(held, labels)
            except ConceptError as error:
                raise VideoError(f"prompt in frame {number}: {error}") from None
        added = [Concept(label, (), threshold) for label in list(labels)[len(concepts) :]]
        return (*concepts, *added), {n: p for n, p in found.items() if p.exemplars or p.objects}

    def _outside(self, number: int, numbers: Sequence[int]) -> None:
        """Prompts outside of the range are another stretch's; those that a stride leaves out would go unheard."""
        if min(numbers) < number < max(numbers):
            raise VideoError(
                f"frame {number} has prompts, but is not among the frames that are tracked: use stride=1, or keep it "
                "out with prompt_frame_indices"
            )

    def _marks(self, footage: Footage) -> Iterator[tuple[int, list[Any]]]:
        """Frame numbers, rising, and what the fields hold there."""
        wanted = None if self.prompt_frame_indices is None else set(self.prompt_frame_indices)
        if footage.sequence:
            documents = enumerate(footage.documents().select_fields(list(self.fields)), 1)
        else:
            some = F.any([F(f"{name}.{_list_of(footage.dataset, name)}").length() > 0 for name in self.fields])
            video = footage.documents().select_fields([f"frames.{n}" for n in self.fields]).match_frames(some)
            documents = ((n, frame) for sample in video for n, frame in sample.frames.items())
        for number, document in documents:
            held = [document[name] for name in self.fields if document[name] is not None]
            if held and (wanted is None or number in wanted):
                yield number, held

    def _of_frame(self, held: Sequence[Any], labels: dict[str, int]) -> FramePrompts:
        """The prompts of one frame; new labels are numbered."""
        boxes: dict[int, list[tuple[tuple[float, ...], bool]]] = {}
        objects: dict[Any, ObjectPrompt] = {}

        def concept(label: str | None) -> int:
            return labels.setdefault(label or VISUAL, len(labels))

        for value in held:
            for mark in value.detections if isinstance(value, fo.Detections) else ():
                x, y, width, height = mark.bounding_box
                box = (x, y, x + width, y + height)
                if self.operation_mode == "concept":
                    boxes.setdefault(concept(mark.label), []).append((box, _sign(mark)))
                else:
                    prompt = ObjectPrompt(mark.index, concept(mark.label), box)
                    _join(objects, prompt)
            for mark in value.keypoints if isinstance(value, fo.Keypoints) else ():
                points, on = _points(mark)
                if points:
                    _join(objects, ObjectPrompt(mark.index, concept(mark.label), None, points, on))
        exemplars = {
            k: Exemplars(tuple(box for box, _ in some), tuple(sign for _, sign in some)) for k, some in boxes.items()
        }
        for prompt in objects.values():
            if prompt.box is None and not any(prompt.on) and prompt.key is None:
                raise ConceptError("points beside an object need one on it, or the index of the object they correct")
        return FramePrompts(exemplars, tuple(objects.values()))


def _join(objects: dict[Any, ObjectPrompt], prompt: ObjectPrompt) -> None:
    """A box and points of one index are one prompt."""
    place = len(objects) if prompt.key is None else ("key", prompt.key)
    before = objects.get(place)
    if before is not None:
        prompt = ObjectPrompt(
            prompt.key, before.concept, before.box or prompt.box, (*before.points, *prompt.points),
            (*before.on, *prompt.on),
        )
    objects[place] = prompt


def _sign(mark: fo.Detection) -> bool:
    """Whether a box is a positive example."""
    value = next((mark[n] for n in ("sam_label", "sam3_label") if n in mark and mark[n] is not None), True)
    if value not in (0, 1):
        raise ConceptError(f"sam_label must be True or False, got {value!r}")
    return bool(value)


def _points(mark: fo.Keypoint) -> tuple[tuple[tuple[float, float], ...], tuple[bool, ...]]:
    """The points of a keypoint that are known, and whether each is on the object."""
    signs = next((mark[n] for n in ("sam_labels", "sam2_labels") if n in mark and mark[n] is not None), None)
    points = mark.points or []
    if signs is None:
        signs = [1] * len(points)
    if len(signs) != len(points):
        raise ConceptError(f"{len(points)} points, but {len(signs)} sam_labels")
    if any(sign not in (0, 1) for sign in signs):
        raise ConceptError(f"sam_labels must be 1 (on the object) or 0 (beside it), got {list(signs)!r}")
    pairs = zip(points, signs, strict=True)
    known = [((float(x), float(y)), bool(sign)) for (x, y), sign in pairs if not np.isnan([x, y]).any()]
    return tuple(point for point, _ in known), tuple(sign for _, sign in known)


def _list_of(dataset: fo.Dataset, name: str) -> str:
    kind = dataset.get_frame_field_schema()[name].document_type
    return "detections" if kind is fo.Detections else "keypoints"


