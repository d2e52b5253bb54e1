"""What the user says about labels: where they are, what they mean, and when what is not labelled is absent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set, Sized
from dataclasses import dataclass
from typing import Any

import fiftyone as fo
import numpy as np
from fiftyone import ViewExpression

from .checks import check_words
from .errors import CurationError

if __package__ == "curation":
    from evaluation.policy import EvaluationError, GroundTruthNames, Policy, make_policy, names_in
    from zoo.ledger import Ledger
    from zoo.provenance import asked_phrases
else:
    from ..evaluation.policy import EvaluationError, GroundTruthNames, Policy, make_policy, names_in
    from ..zoo.ledger import Ledger
    from ..zoo.provenance import asked_phrases

#: fields that hold labels, and where in them the labels' names are
_NAMES = {
    fo.Detections: "detections.label",
    fo.Classifications: "classifications.label",
    fo.Classification: "label",
    fo.Polylines: "polylines.label",
}


#: what is said of labels
_ABOUT_LABELS = ("exhaustive", "gt_labels", "negatives_field", "not_exhaustive_field")


@dataclass(frozen=True)
class Said:
    """What the user says about ground truth: the arguments that every function which needs it shares.

    Attributes:
        gt_field: labels of images (``Classifications``) or of their objects; of videos, with or without "frames.".
            None: only what was verified counts.
        exhaustive: True if everything is labelled, or the concepts of which every instance is.
        gt_labels: concept → the label, or labels, or an expression on labels, that mean it.
        negatives_field: lists the concepts that people found absent from a sample.
        not_exhaustive_field: lists the concepts whose instances are not all labelled in a sample.
    """

    gt_field: str | None = None
    exhaustive: bool | Iterable[str] | None = None
    gt_labels: GroundTruthNames | None = None
    negatives_field: str | None = None
    not_exhaustive_field: str | None = None

    def __post_init__(self) -> None:
        """Raises CurationError for what is of another kind than is wanted, or needs a field of labels."""
        if self.exhaustive is not None and not isinstance(self.exhaustive, (bool, np.bool_, str)):
            if not isinstance(self.exhaustive, Iterable):
                raise CurationError(f"exhaustive={self.exhaustive!r} must be True, or concepts, such as ['cap']")
            # a tuple, because it is asked for more than once
            object.__setattr__(self, "exhaustive", tuple(check_words(self.exhaustive, "exhaustive")))
        _check_names(self.gt_labels)
        for name in () if self.gt_field is not None else _ABOUT_LABELS:
            said = getattr(self, name)
            if said is not None and not (isinstance(said, (bool, np.bool_, Sized)) and not said):
                raise CurationError(
                    f"{name}={said!r} needs gt_field: it says what labels mean. Say gt_field='ground_truth', or the "
                    "field that says what is there"
                )

    def policy(self, samples: fo.core.collections.SampleCollection, concepts: Sequence[str], ledger: str) -> Policy:
        """Resolved and checked.

        Raises:
            CurationError: unknown fields or concepts, or nothing said about absence.
        """
        if self.gt_field is None:
            raise CurationError("Say gt_field='ground_truth': the field that says what is there")
        path = labels_path(samples, self.gt_field)
        phrases = asked_phrases(samples._root_dataset, Ledger(ledger))
        exhaustive = bool(self.exhaustive) if isinstance(self.exhaustive, np.bool_) else self.exhaustive
        try:
            policy = make_policy(
                samples, [path], concepts, phrases=phrases, gt_labels=self.gt_labels, exhaustive=exhaustive,
                negatives_field=self.negatives_field, not_exhaustive_field=self.not_exhaustive_field,
            )  # fmt: skip
        except EvaluationError as error:
            raise CurationError(str(error)) from None
        meant = {name.casefold() for name in phrases}.union(*policy.names.values())
        for name in ("negatives_field", "not_exhaustive_field"):
            if getattr(policy, name) is not None:
                _check_lists(samples, name, getattr(policy, name), meant)
        return policy


def labels_path(samples: fo.core.collections.SampleCollection, field: str) -> str:
    """The full path of a field of labels, with "frames." where it lies on frames. Raises: :func:`names_path`."""
    path = names_path(samples, field)
    bare = field.removeprefix("frames.")
    return path.split(f"{bare}.", 1)[0] + bare


def names_path(samples: fo.core.collections.SampleCollection, field: str) -> str:
    """The path of the labels' names in a field of labels.

    Raises:
        CurationError: no such field, or one that holds no labels.
    """
    if not isinstance(field, str):
        raise CurationError(f"gt_field={field!r} must be the name of a field")
    bare = field.removeprefix("frames.")
    held = samples.get_field_schema().get(bare)
    prefix = ""
    if (held is None or field.startswith("frames.")) and samples._contains_videos(any_slice=True):
        held, prefix = samples.get_frame_field_schema().get(bare), "frames."
    if held is None:
        raise CurationError(
            f"gt_field {field!r} is not a field of {samples._root_dataset.name!r}; it has "
            f"{sorted(samples.get_field_schema())}"
        )
    kind = getattr(held, "document_type", type(held))
    if kind not in _NAMES:
        raise CurationError(f"gt_field {field!r} holds {kind.__name__}; labels are needed, such as Detections")
    return f"{prefix}{bare}.{_NAMES[kind]}"


def _check_names(said: Any) -> None:
    """Refuse ``gt_labels`` that are of another kind than is wanted."""
    if said is None:
        return
    if not isinstance(said, Mapping):
        raise CurationError(f"gt_labels={said!r} must map concepts to labels, such as {{'cap': ['baseball cap']}}")
    for concept, names in said.items():
        if names is not None and not isinstance(names, ViewExpression):
            check_words(names, f"gt_labels[{concept!r}]")


def _check_lists(samples: fo.core.collections.SampleCollection, what: str, path: str, known: Set[str]) -> None:
    """Refuse a field that cannot list concepts.

    Text may: comma-separated. So may a file's path, by its type; but it names none.
    """
    field = samples.get_field(path)
    lists = isinstance(field, fo.ListField) and isinstance(field.field, (fo.StringField, type(None)))
    lists |= getattr(field, "document_type", None) in (fo.Classification, fo.Classifications)
    if isinstance(field, fo.StringField):
        named = [name.casefold() for held in samples.values(path) for name in names_in(held)]
        lists = not named or not known.isdisjoint(named)
    if not lists:
        raise CurationError(
            f"{what}={path!r} lists no concepts: it holds {type(field).__name__}; want lists of them, such as "
            "['cap', 'fire truck']"
        )
