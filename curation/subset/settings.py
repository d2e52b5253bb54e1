"""What is asked of a subset, checked: its size, its shares, its splits."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import fiftyone as fo
import numpy as np

from ..checks import check_known
from ..errors import CurationError
from .diversity import DIVERSITIES
from .quotas import shared_out
from .result import ROLES

#: from this cosine on, two pictures are nearly one, where nobody says otherwise
DUPLICATE = 0.97


def check_number(n: Any) -> int:
    """How many samples are wanted.

    Raises:
        CurationError: that is no number of samples.
    """
    if isinstance(n, (bool, np.bool_)) or not isinstance(n, Integral) or n < 1:
        raise CurationError(f"n={n!r} must be a whole number above 0: how many samples to choose")
    return int(n)


def check_ratio(ratio: Any) -> dict[str, float]:
    """Role → its share, which add up to 1.

    Raises:
        CurationError: other roles, shares that are none.
    """
    if isinstance(ratio, Sequence) and not isinstance(ratio, str):
        if len(ratio) != len(ROLES):
            raise CurationError(f"ratio={ratio!r}: want three shares, of {', '.join(ROLES)}")
        ratio = dict(zip(ROLES, ratio, strict=True))
    if not isinstance(ratio, Mapping):
        raise CurationError(f"ratio={ratio!r} must map roles to shares, such as {{'positive': 0.5, 'hard': 0.5}}")
    for role, share in ratio.items():
        if role not in ROLES:
            raise CurationError(f"ratio names {role!r}; roles are {', '.join(map(repr, ROLES))}")
        if not _is_share(share):
            raise CurationError(f"ratio[{role!r}]={share!r} must be a number from 0 on")
    whole = sum(ratio.values())
    if not whole:
        raise CurationError(f"ratio={dict(ratio)!r}: at least one role needs a share")
    return {role: float(ratio.get(role, 0)) / whole for role in ROLES}


#: what can be a tag, and a folder
_NAME = re.compile(r"[\w-][\w.-]*")


def check_splits(splits: Any, n: int) -> dict[str, float]:
    """Split → its share; nothing, if nothing is to be split.

    Raises:
        CurationError: names that cannot be tags, shares that do not add up to 1, a split too small to hold a sample.
    """
    if splits is None:
        return {}
    if not isinstance(splits, Mapping):
        raise CurationError(f"splits={splits!r} must map names to shares, such as {{'train': 0.8, 'val': 0.2}}")
    for name, share in splits.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):  # an export makes a folder of it
            raise CurationError(f"splits: {name!r} is no name for a split; want a word, such as 'train'")
        if not _is_share(share) or not share:
            raise CurationError(f"splits[{name!r}]={share!r} must be a number above 0")
    whole = sum(splits.values())
    if splits and not math.isclose(whole, 1, abs_tol=1e-6):
        raise CurationError(f"splits={dict(splits)!r} add up to {whole:g}, and must add up to 1")
    empty = [name for name, size in shared_out(n, splits).items() if not size]
    if empty:
        raise CurationError(f"splits: {empty[0]!r} would get none of {n} samples: choose more, or leave it out")
    return {name: float(share) for name, share in splits.items()}


def check_duplicates(duplicates: Any, told: bool) -> float | None:
    """From which cosine on two samples are near-duplicates; None: they are not looked for.

    Args:
        duplicates: as said: True, a cosine, or nothing.
        told: whether there are embeddings to tell them by.

    Raises:
        CurationError: no cosine; a threshold, and nothing to compare.
    """
    if duplicates is None or duplicates is False:
        return None
    if duplicates is True:
        return DUPLICATE if told else None
    if isinstance(duplicates, (bool, np.bool_)) or not isinstance(duplicates, Real) or not 0 < duplicates <= 1:
        raise CurationError(f"duplicates={duplicates!r} must be a cosine in (0, 1], True or False")
    if not told:
        raise CurationError(
            f"duplicates={duplicates!r} needs embeddings: say embeddings='…', a field of vectors. Presence is alike in "
            "pictures that are not"
        )
    return float(duplicates)


def check_diversity(diversity: Any) -> str | None:
    """The way of choosing.

    Raises:
        CurationError: there is no such way.
    """
    if diversity is not None:
        check_known(diversity, DIVERSITIES, "diversity")
    return diversity


def check_flag(value: Any, name: str) -> bool:
    """True or False.

    Raises:
        CurationError: neither.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise CurationError(f"{name}={value!r} must be True or False")
    return bool(value)


def check_seed(seed: Any) -> int:
    """The seed.

    Raises:
        CurationError: it is none.
    """
    if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, Integral) or seed < 0:
        raise CurationError(f"seed={seed!r} must be a whole number from 0 on")
    return int(seed)


def usual_group(samples: fo.core.collections.SampleCollection) -> str | None:
    """What keeps samples together where nobody says so: groups, and the video that frames were taken from."""
    schema = samples.get_field_schema(flat=True)
    if samples.group_field:
        return f"{samples.group_field}.id"
    return "sample_id" if {"sample_id", "frame_number"} <= schema.keys() else None


def check_group(samples: fo.core.collections.SampleCollection, group_field: Any) -> str | None:
    """The path of what keeps samples together.

    Raises:
        CurationError: no such field, or one that holds many values a sample.
    """
    if group_field is None:
        return usual_group(samples)
    known = samples.get_field_schema(flat=True)
    if not isinstance(group_field, str) or group_field not in known:
        raise CurationError(
            f"group_field={group_field!r} is not a field of {samples._root_dataset.name!r}: want one with the video, "
            "scene or sequence of each sample"
        )
    if isinstance(known[group_field], fo.EmbeddedDocumentField) and known[group_field].document_type is fo.Group:
        return f"{group_field}.id"
    if isinstance(known[group_field], (fo.ListField, fo.EmbeddedDocumentField, fo.DictField, fo.VectorField)):
        kind = type(known[group_field]).__name__
        raise CurationError(f"group_field={group_field!r} holds {kind}; want one value a sample, such as a name")
    return group_field


def _is_share(value: Any) -> bool:
    fits = isinstance(value, Real) and not isinstance(value, (bool, np.bool_))
    return fits and math.isfinite(value) and value >= 0
