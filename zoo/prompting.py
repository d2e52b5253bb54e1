"""What people mark in a video's frames, as the engine's prompts. Names and meanings are those of FiftyOne's own
wrappers of SAM: ``prompt_field``, ``box_prompt_field``, ``point_prompt_field``, ``sam_label``, ``sam_labels``,
``operation_mode``, ``prompt_frame_indices``, ``propagation_direction``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import fiftyone as fo
from fiftyone import ViewField as F

from .engine.concepts import Concept, check_whole
from .engine.errors import ConceptError, VideoError
from .engine.prompts import VISUAL, FramePrompts, Prompts
from .footage import Footage
from .marks import MODES, check_marks, read_marks

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
        for name, known in (("operation_mode", MODES), ("propagation_direction", _DIRECTIONS)):
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
        for name in self.names:
            if not sequences and not name.startswith("frames."):
                raise ConceptError(f"Prompts of videos are in their frames: write 'frames.{name}' instead of {name!r}")
            wanted = {self.box_prompt_field: (fo.Detections,), self.point_prompt_field: (fo.Keypoints,)}
            check_marks(name, schema, wanted.get(name, (fo.Detections, fo.Keypoints)), dataset, label_field)

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

        def number_of(label: str | None) -> int:
            return labels.setdefault(label or VISUAL, len(labels))

        found: dict[int, FramePrompts] = {}
        for number, held in self._marks(footage):
            if number not in set(numbers):
                self._outside(number, numbers)
                continue
            try:
                found[number] = read_marks(held, self.operation_mode, number_of)
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


def _list_of(dataset: fo.Dataset, name: str) -> str:
    kind = dataset.get_frame_field_schema()[name].document_type
    return "detections" if kind is fo.Detections else "keypoints"
