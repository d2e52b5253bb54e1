"""What is refused before an evaluation begins, and in what words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import fiftyone as fo

from .policy import EvaluationError

#: the threshold of SA-Co
STANDARD = 0.5


def check_media(samples: fo.core.collections.SampleCollection, sequences: bool) -> None:
    """Refuse what is neither images, nor videos, nor sequences of images.

    Raises:
        EvaluationError: saying what to evaluate instead
    """
    if not isinstance(samples, fo.core.collections.SampleCollection):
        raise EvaluationError(f"samples is {samples!r}; want a dataset or a view, such as fo.load_dataset(...)")
    kind = samples.media_type
    if samples._is_clips or samples._is_frames or samples._is_patches:
        raise EvaluationError(f"{type(samples).__name__} cannot be evaluated: evaluate the images or videos themselves")
    if not sequences and kind not in (fo.core.media.IMAGE, fo.core.media.VIDEO) and len(samples):
        hint = ": pick a slice with select_group_slices()" if kind == fo.core.media.GROUP else ""
        raise EvaluationError(f"{samples._root_dataset.name!r} holds {kind} samples, not images or videos{hint}")
    if not len(samples):
        raise EvaluationError(f"There are no samples to evaluate in {samples._root_dataset.name!r}")


def detections_field(samples: fo.core.collections.SampleCollection, name: str, path: str) -> str:
    """The name of a field of ``Detections``, without "frames.".

    Raises:
        EvaluationError: it is none
    """
    bare, framed = path.removeprefix("frames."), samples.media_type == fo.core.media.VIDEO
    schema = (samples.get_frame_field_schema() if framed else samples.get_field_schema()) or {}
    where = "frame field" if framed else "field"
    if bare not in schema or (path.startswith("frames.") and not framed):
        labels = sorted(n for n, f in schema.items() if getattr(f, "document_type", None) is fo.Detections)
        raise EvaluationError(
            f"{name}={path!r} is no {where} of {samples._root_dataset.name!r}; with Detections it has {labels}"
        )
    held = getattr(schema[bare], "document_type", None)
    if held is not fo.Detections:
        kind = held.__name__ if held is not None else type(schema[bare]).__name__
        raise EvaluationError(f"{name}={path!r} holds {kind}; want Detections")
    return bare


def chosen_concepts(concepts: Sequence[str] | None, known: Mapping[str, Any], field: str) -> tuple[str, ...]:
    """What is evaluated: ``concepts``, or else all that are ``known`` to have been asked.

    Raises:
        EvaluationError: there are none, or one that was never asked
    """
    if isinstance(concepts, str):
        concepts = [name.strip() for name in concepts.split(",") if name.strip()]
    if concepts is None and not known:
        raise EvaluationError(
            f"No ledger says what was asked of {field!r}: name the concepts to evaluate, concepts=['dog', …]"
        )
    chosen = tuple(dict.fromkeys(known if concepts is None else concepts))
    never = [concept for concept in chosen if known and concept not in known]
    if never:
        raise EvaluationError(f"{never[0]!r} was never asked; asked were {', '.join(map(repr, known))}")
    if not chosen:
        raise EvaluationError("concepts is empty: name at least one, or leave it out for all that were asked")
    return chosen


def thresholds_of(threshold: float | Mapping[str, float], concepts: Sequence[str]) -> dict[str, float]:
    """One for each concept; of those that a mapping does not name, the standard one.

    Raises:
        EvaluationError: one is no number, or of no concept
    """
    said = dict(threshold) if isinstance(threshold, Mapping) else dict.fromkeys(concepts, threshold)
    unknown = [concept for concept in said if concept not in concepts]
    if unknown:
        raise EvaluationError(f"threshold names {unknown[0]!r}, which is not evaluated")
    found = {concept: said.get(concept, STANDARD) for concept in concepts}
    for concept, value in found.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise EvaluationError(f"the threshold of {concept!r} is {value!r}; want a number between 0 and 1")
    return found


def check_masks(samples: fo.core.collections.SampleCollection, fields: Sequence[str], framed: bool) -> None:
    """Refuse a field none of whose labels has a mask.

    Raises:
        EvaluationError: naming it
    """
    for field in fields:
        path = f"frames.{field}" if framed else field
        masks = samples.count(f"{path}.detections.mask") + samples.count(f"{path}.detections.mask_path")
        if not masks and samples.count(f"{path}.detections"):
            raise EvaluationError(f"The labels of {path!r} have no masks; use_masks=False compares boxes")


def check_groups(samples: fo.core.collections.SampleCollection, groups: Sequence[str]) -> None:
    """Refuse what is no field of a sample.

    Raises:
        EvaluationError: naming it
    """
    if isinstance(groups, str):
        raise EvaluationError(f"groups is {groups!r}; want a list of fields: [{groups!r}]")
    for name in groups:
        if not samples.has_field(name):
            raise EvaluationError(f"groups names {name!r}, which is not a field of {samples._root_dataset.name!r}")


def plain_value(sample: Any, field: str) -> Any:
    """What a field holds, as a value to group by: a label's name, the rest as it is, or as text."""
    held = sample.get_field(field)
    if isinstance(held, fo.Classification):
        return held.label
    return held if held is None or isinstance(held, (str, bool, int, float)) else str(held)
