"""Which samples have a concept, lack it, or leave it open, as views: questions to the ledger, not to the network.

Every function takes a dataset or view, and gives a view of it, sorted, that can be narrowed further and saved:
``dataset.save_view("caps, no trucks", where(dataset, present=["cap"], absent=["fire truck"]))``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from typing import Any

import fiftyone as fo
from fiftyone import ViewExpression
from fiftyone import ViewField as F

from .answers import check_concepts, check_ledger, thresholds_of
from .checks import check_words
from .errors import CurationError
from .instances import check_field

if __package__ == "curation":
    from zoo.ledger import DEFAULT, Ledger
else:
    from ..zoo.ledger import DEFAULT, Ledger

#: presence this far from the threshold, to either side, is uncertain
BAND = 0.2
#: an object score from here on is one that presence has something to suppress in
LOUD = 0.5
#: as many instances make an image rich in them
RICH = 5


def present(
    samples: fo.core.collections.SampleCollection, concept: str, *, threshold: float | None = None,
    ledger: str = DEFAULT,
) -> fo.DatasetView:  # fmt: skip
    """Where a concept is present; the surest first.

    Args:
        samples: a dataset or view.
        concept: one that was asked.
        threshold: presence from which on it counts as present. Default: the applied operating point, else the run's.
        ledger: name of the ledger.

    Raises:
        CurationError: no such ledger, the concept was not asked, a number out of range; as everywhere in this module.
    """
    path, level = _resolve(samples, concept, ledger, threshold)
    return samples.match(F(path) >= level).sort_by(path, reverse=True)


def absent(
    samples: fo.core.collections.SampleCollection, concept: str, *, threshold: float | None = None,
    ledger: str = DEFAULT,
) -> fo.DatasetView:  # fmt: skip
    """Where a concept was asked and is absent; the closest calls first. Arguments: :func:`present`."""
    path, level = _resolve(samples, concept, ledger, threshold)
    return samples.match(_asked(path) & (F(path) < level)).sort_by(path, reverse=True)


def uncertain(
    samples: fo.core.collections.SampleCollection, concept: str, *, band: float | tuple[float, float] = BAND,
    threshold: float | None = None, ledger: str = DEFAULT,
) -> fo.DatasetView:  # fmt: skip
    """Where presence is near the threshold; the nearest first.

    Args:
        samples, concept, threshold, ledger: see :func:`present`.
        band: how far from the threshold, or ``(lowest, highest)`` presence.
    """
    path, level = _resolve(samples, concept, ledger, threshold)
    low, high = _band(band, level)
    return samples.match(_asked(path) & (F(path) >= low) & (F(path) <= high)).sort_by((F(path) - level).abs())


def where(
    samples: fo.core.collections.SampleCollection, *, present: Iterable[str] = (), absent: Iterable[str] = (),
    uncertain: Iterable[str] = (), band: float = BAND, thresholds: Mapping[str, float] | float | None = None,
    ledger: str = DEFAULT,
) -> fo.DatasetView:  # fmt: skip
    """Where all of these hold at once: "cap present, fire truck absent". Those that hold most clearly come first.

    Args:
        samples, ledger: see :func:`present`.
        present, absent, uncertain: concepts.
        band: of what is uncertain, see :func:`uncertain`.
        thresholds: concept → threshold, before those of the ledger; or one for all.
    """
    asked = {"present": present, "absent": absent, "uncertain": uncertain}
    wanted = {kind: check_words(concepts, kind) for kind, concepts in asked.items()}
    named = [concept for concepts in wanted.values() for concept in concepts]
    twice = next((concept for concept in named if named.count(concept) > 1), None)
    if twice is not None:
        raise CurationError(f"{twice!r} cannot be in two of present, absent and uncertain at once")
    if not named:
        raise CurationError("Say which concepts are to be present=[…], absent=[…] or uncertain=[…]")
    levels = dict.fromkeys(named, thresholds) if isinstance(thresholds, Real) else thresholds or {}
    if not isinstance(levels, Mapping):
        raise CurationError(f"thresholds={thresholds!r} must be a number, or map concepts to numbers: {{'cap': 0.7}}")
    check_ledger(samples, ledger)
    check_concepts(samples, [*levels, *named], ledger)
    conditions, margins = [], []
    for kind, concepts in wanted.items():
        for concept in concepts:
            path, level = _resolve(samples, concept, ledger, levels.get(concept))
            far = (F(path) - level).abs()
            low, high = _band(band, level)
            near = (F(path) >= low) & (F(path) <= high)
            conditions.append(_asked(path) & (near if kind == "uncertain" else _side(kind, path, level)))
            margins.append(band - far if kind == "uncertain" else far)
    margin = margins[0] if len(margins) == 1 else ViewExpression({"$min": [m.to_mongo() for m in margins]})
    return samples.match(F.all(conditions)).sort_by(margin, reverse=True)


def suppressed(
    samples: fo.core.collections.SampleCollection, concept: str, *, score: float = LOUD,
    threshold: float | None = None, ledger: str = DEFAULT,
) -> fo.DatasetView:  # fmt: skip
    """Phantoms: something looks like the concept (object score of at least ``score``), and presence says it is absent.

    Tools that store the product of the two cannot tell these from images with nothing in them. The loudest first.
    """
    path, level = _resolve(samples, concept, ledger, threshold)
    if isinstance(score, bool) or not isinstance(score, Real) or not 0 <= score <= 1:
        raise CurationError(f"score={score!r} must be a number in [0, 1]")
    loud = Ledger(ledger).path("score", concept)
    return samples.match(_asked(path) & (F(path) < level) & (F(loud) >= score)).sort_by(loud, reverse=True)


def without_instances(
    samples: fo.core.collections.SampleCollection, concept: str, *, threshold: float | None = None,
    ledger: str = DEFAULT,
) -> fo.DatasetView:  # fmt: skip
    """Where a concept is present and none of its instances was found; the surest first."""
    path, level = _resolve(samples, concept, ledger, threshold)
    count = Ledger(ledger).path("count", concept)
    return samples.match((F(path) >= level) & (F(count) == 0)).sort_by(path, reverse=True)


def rich(
    samples: fo.core.collections.SampleCollection, concept: str, *, at_least: int = RICH, ledger: str = DEFAULT
) -> fo.DatasetView:
    """Where there are ``at_least`` so many instances of a concept; the most first."""
    _resolve(samples, concept, ledger, None)
    if isinstance(at_least, bool) or not isinstance(at_least, Integral) or at_least < 1:
        raise CurationError(f"at_least={at_least!r} must be a whole number above 0")
    count, at_least = Ledger(ledger).path("count", concept), int(at_least)
    return samples.match(F(count) >= at_least).sort_by(count, reverse=True)


def accepted(
    samples: fo.core.collections.SampleCollection, label_field: str = DEFAULT, *, ledger: str = DEFAULT
) -> fo.DatasetView:
    """The instances whose concept is present in their image by its operating point; other instances are hidden.

    Args:
        samples: a dataset or view.
        label_field: the instances; of videos, with or without "frames.".
        ledger: name of the ledger.

    Raises:
        CurationError: no such ledger, or no such field.
    """
    check_ledger(samples, ledger)
    path = check_field(samples, label_field, "label_field")
    levels = thresholds_of(samples, ledger)
    fits = [
        (F("label") == ViewExpression({"$literal": name})) & (F("presence") >= level) for name, level in levels.items()
    ]  # not map_values(), which takes names that begin with "$" for fields
    return samples.filter_labels(path, F.any(fits), only_matches=False)


#: what can be asked of one concept: name → (what people read, the function)
QUERIES: dict[str, tuple[str, Callable[..., fo.DatasetView]]] = {
    "present": ("Present", present),
    "absent": ("Absent, closest calls first", absent),
    "uncertain": ("Uncertain: presence near the threshold", uncertain),
    "suppressed": ("Phantoms: looks like it, presence says no", suppressed),
    "without_instances": ("Present, but no instance found", without_instances),
    "rich": ("Rich in instances", rich),
}


def _resolve(
    samples: fo.core.collections.SampleCollection, concept: str, ledger: str, threshold: float | None
) -> tuple[str, float]:
    book = check_ledger(samples, ledger)
    if not isinstance(concept, str):
        raise CurationError(f"One concept is wanted, got {concept!r}; where(present=[…]) takes several")
    check_concepts(samples, [concept], ledger)
    level = thresholds_of(samples, ledger)[concept] if threshold is None else threshold
    if isinstance(level, bool) or not isinstance(level, Real) or not 0 <= level <= 1:
        raise CurationError(f"threshold={level!r} of {concept!r} must be a number in [0, 1]")
    return book.path("presence", concept), float(level)


def _band(band: Any, level: float) -> tuple[float, float]:
    """Lowest and highest presence of what is uncertain."""
    ends = list(band) if isinstance(band, (tuple, list)) else [band]
    odd = any(isinstance(end, bool) or not isinstance(end, Real) for end in ends)
    if odd or (isinstance(band, (tuple, list)) and len(ends) != 2):
        raise CurationError(f"band={band!r} must be a number, or a pair (lowest, highest)")
    low, high = ends if len(ends) == 2 else (level - ends[0], level + ends[0])
    if not 0 <= high - low <= 1 or high < 0 or low > 1:
        raise CurationError(f"band={band!r} is empty, or wider than presence, which lies in [0, 1]")
    return float(low), float(high)


def _asked(path: str) -> ViewExpression:
    """Not asked is null, which MongoDB sorts below every number."""
    return F(path) != None  # noqa: E711 - an expression, not a comparison


def _side(kind: str, path: str, level: float) -> ViewExpression:
    return F(path) >= level if kind == "present" else F(path) < level
