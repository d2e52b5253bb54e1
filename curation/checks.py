"""Whether what was said is of the kind that is wanted: checks that every question shares."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

import fiftyone as fo

from .errors import CurationError


def check_words(said: Any, what: str) -> list[str]:
    """One word, or several, as a list.

    Raises:
        CurationError: something else; ``what`` is its name.
    """
    named = [said] if isinstance(said, str) or not isinstance(said, Iterable) else list(said)
    odd = [one for one in named if not isinstance(one, str)]
    if odd:
        raise CurationError(f"{what}: {odd[0]!r} is no word; want words, such as {what}=['cap']")
    return named


def check_known(value: Any, known: Sequence[str], what: str) -> None:
    """Refuse what is not among the ``known``; nothing is refused where they are not known themselves.

    Raises:
        CurationError: naming the nearest, or all of them.
    """
    if not known or value in known:
        return
    near = difflib.get_close_matches(str(value), known, n=3)
    there = f"the nearest: {listed(near)}" if near else f"there are {listed(known)}"
    raise CurationError(f"{value!r} is no {what}; {there}")


def check_whole(samples: fo.core.collections.SampleCollection) -> None:
    """Refuse what was made of samples: their frames, patches, clips. The ledger is read, and kept, by sample.

    Raises:
        CurationError: says what to take instead.
    """
    if not samples._is_generated:
        return
    kinds = {"frames": samples._is_frames, "clips": samples._is_clips, "patches": True}
    kind = next(kind for kind, so in kinds.items() if so)
    whole = "image" if kind == "patches" and not samples._root_dataset._contains_videos(any_slice=True) else "video"
    name = samples._root_dataset.name
    raise CurationError(
        f"This is a view of {kind} of {name!r}, and whole {whole}s are needed: run it on the {whole} dataset, or on a "
        "view of its samples"
    )


def listed(names: Sequence[str], most: int = 12) -> str:
    """The first of some names, for a sentence."""
    return ", ".join(map(repr, names[:most])) + (", …" if len(names) > most else "")
