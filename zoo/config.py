"""What ``apply_model`` may change on a loaded model."""

from __future__ import annotations

from collections.abc import Iterable

from .engine.concepts import check_fraction, parse_concepts
from .engine.errors import ConceptError


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
