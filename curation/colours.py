"""Colours that tell instances apart, the same in every frame, video and run."""

from __future__ import annotations

import functools
import math
import zlib

Colour = tuple[int, int, int]

_GOLDEN = (math.sqrt(5) - 1) / 2
#: lightnesses, in OKLCH, that stand out on photographs, and steps that tell apart colours whose hues are neighbours
_LIGHTNESS = (0.6, 0.65, 0.7, 0.75, 0.8, 0.85)
_RINGS = (0.0, 0.1, 0.05)


@functools.lru_cache(maxsize=4096)
def colour_of(label: str, index: int | None = None) -> Colour:
    """The colour of an instance, the same in every frame and every run, as ``(red, green, blue)``.

    Ids that follow each other are a golden angle apart on OKLCH's circle of hues, which keeps any number of them as
    far apart as can be, and three levels of lightness tell apart what comes close. Without an id, the hue is the
    label's own.

    >>> colour_of("dog", 1) == colour_of("dog", 1) != colour_of("dog", 2)
    True
    """
    draw = zlib.crc32(label.encode())
    turn = draw / 2**32 if index is None else (0.07 + index * _GOLDEN) % 1
    # every hue is strongest at a lightness of its own, yellow far above blue
    best = max(_LIGHTNESS, key=lambda level: _strongest(level, turn)[0])
    step = _RINGS[(draw + (index or 0)) % 3]
    return _strongest(best - step if best > sum(_LIGHTNESS) / len(_LIGHTNESS) else best + step, turn)[1]


def _strongest(lightness: float, turn: float) -> tuple[float, Colour]:
    """The most saturated colour of a lightness and hue that sRGB can show, and its chroma.

    From OKLCH; the formulas are those of https://bottosson.github.io/posts/oklab/.
    """
    angle = 2 * math.pi * turn
    for step in range(20, -1, -1):
        chroma = step / 100
        a, b = chroma * math.cos(angle), chroma * math.sin(angle)
        x = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
        y = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
        z = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
        linear = (
            4.0767416621 * x - 3.3077115913 * y + 0.2309699292 * z,
            -1.2684380046 * x + 2.6097574011 * y - 0.3413193965 * z,
            -0.0041960863 * x - 0.7034186147 * y + 1.7076147010 * z,
        )
        if step == 0 or all(0 <= v <= 1 for v in linear):
            break
    red, green, blue = (round(255 * _gamma(min(max(v, 0.0), 1.0))) for v in linear)
    return chroma, (red, green, blue)


def _gamma(value: float) -> float:
    return 12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055
