"""How an overlay looks: what can be chosen about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class OverlayStyle:
    """How an overlay looks. Sizes are pixels of the image.

    Attributes:
        alpha: opacity of a mask's inside, in [0, 1]
        softness: standard deviation of the Gaussian that softens a mask's edge; 0 leaves it hard
        outline: width of the line around a mask; 0 draws none
        labels: write label and id at every instance
        presence: draw the strip of presence, where there is a presence to show
        only: labels to draw, of instances and of the strip; ``None`` draws all
        min_confidence: instances below it are left out; those without a confidence stay
        text_size: height of the letters of names; ``None`` follows the image's size
        font: a TrueType file, for scripts that DejaVu Sans does not have (Chinese, Japanese, Korean)

    Raises:
        ValueError: a value out of range
    """

    alpha: float = 0.5
    softness: float = 2.0
    outline: float = 2.0
    labels: bool = True
    presence: bool = True
    only: tuple[str, ...] | None = None
    min_confidence: float = 0.0
    text_size: int | None = None
    font: str | None = None

    def __post_init__(self) -> None:
        for name, most in (("alpha", 1), ("min_confidence", 1), ("softness", 100), ("outline", 100)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
                raise ValueError(f"{name} must be a number from 0 to {most}, got {value!r}")
        size = self.text_size
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or not 4 <= size <= 500):
            raise ValueError(f"text_size must be a whole number of 4 to 500 pixels, or None, got {size!r}")
        if isinstance(self.only, str):
            raise ValueError(f"only must be a list of labels, got {self.only!r}: write ({self.only!r},)")
        if self.only is not None:
            object.__setattr__(self, "only", tuple(self.only))
        if self.font is not None and not Path(self.font).is_file():
            raise ValueError(f"font {self.font!r} does not exist: name a .ttf or .otf file")

    def wants(self, label: str | None, confidence: float | None = None) -> bool:
        """Whether an instance, or a concept's bar, is drawn."""
        sure = confidence is None or confidence >= self.min_confidence
        return sure and (self.only is None or label in self.only)


#: how an overlay looks unless told otherwise
DEFAULT_STYLE = OverlayStyle()
