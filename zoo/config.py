"""What ``apply_model`` may change on a loaded model."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from .engine.concepts import check_fraction, parse_concepts
from .engine.errors import ConceptError

_Settings = TypeVar("_Settings")


def parse_settings(kind: type[_Settings], said: Mapping[str, Any] | _Settings | None, name: str) -> _Settings:
    """Settings of a dataclass from what users write: a mapping, such settings, or ``None`` for the defaults.

    Raises:
        ConceptError: no mapping, or a setting that there is not; ``name`` says in the error what it is
    """
    if said is None:
        return kind()
    if isinstance(said, kind):
        return said
    known = [f.name for f in dataclasses.fields(kind)]
    if not isinstance(said, Mapping):
        raise ConceptError(f"{name} must be a mapping, {{{known[0]!r}: ...}}, got {said!r}")
    for key in said:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise ConceptError(f"{name} has no setting {key!r}: {hint}")
    return kind(**said)


class Sam3Config:
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
