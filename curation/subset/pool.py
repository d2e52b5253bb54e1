"""Who can be chosen: those with a role, an embedding, and no near-duplicate that is chosen in their place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import fiftyone as fo
import numpy as np
from numpy.typing import NDArray

from ..answers import Answers
from ..errors import CurationError
from ..threads import one_thread
from .duplicates import distinct
from .result import ROLES
from .roles import Roles
from .splitting import fits
from .vectors import Vectors

_WHY = {
    "duplicates": "are near-duplicates of others", "unasked": "were never asked about these concepts",
    "without embedding": "have no usable embedding", "undecided": "are nothing that ratio=… asks for",
}  # fmt: skip


def usable_of(
    roles: Roles, answers: Answers, vectors: Vectors, level: float | None, ratio: Mapping[str, float]
) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Who may be chosen, and why the others may not."""
    asked = ~np.isnan(answers.presence[:, [answers.place(name) for name in roles.concepts]]).all(axis=1)
    hard = np.zeros_like(roles.positive)
    for k, rows in roles.hard.items():
        hard[list(rows), k] = True
    marks = {"positive": roles.positive, "hard": hard, "easy": roles.easy}
    some = np.any([marks[role].any(axis=1) for role in ROLES if ratio[role]], axis=0)
    may = asked & vectors.there & some
    stays = may.copy()
    if level is not None:
        rows = np.flatnonzero(may)
        with one_thread():
            stays[rows] = distinct(vectors.rows[rows], level, _worth(roles, hard, rows)).stays
    return stays, {
        "samples": len(answers), "usable": int(stays.sum()), "duplicates": int(may.sum() - stays.sum()),
        "unasked": int((~asked).sum()), "without embedding": int((asked & ~vectors.there).sum()),
        "undecided": int((asked & vectors.there & ~some).sum()),
    }  # fmt: skip


def groups_of(samples: fo.core.collections.SampleCollection, path: str) -> NDArray[np.str_]:
    """(N,) what each sample belongs to, as text; a sample that belongs to nothing is on its own."""
    held = samples.values(path)
    return np.array([f" alone {k}" if one is None else str(one) for k, one in enumerate(held)], dtype=str)


def check_enough(
    n: int, usable: NDArray[np.bool_], pool: Mapping[str, int], groups: NDArray[np.str_] | None, most: int,
    grouped: str | None, splits: Mapping[str, float],
) -> None:  # fmt: skip
    """Refuse what cannot be: more than there are, or groups that fit into no split."""
    if n > pool["usable"]:
        why = ", ".join(f"{pool[name]} {words}" for name, words in _WHY.items() if pool[name])
        raise CurationError(
            f"n={n}, but only {pool['usable']} of {pool['samples']} samples can be chosen"
            + (f": {why}" if why else "") + ". Ask for fewer, or more of the pool"
        )
    if groups is None or not splits:
        return
    names, sizes = np.unique(groups[usable], return_counts=True)
    if len(names) < len(splits):
        raise CurationError(
            f"group_field={grouped!r}: the {pool['usable']} samples are of {len(names)} groups, which cannot be in "
            f"{len(splits)} splits whole"
        )
    possible = fits(sizes, most)
    if possible < n:
        largest = int(np.argmax(sizes))
        raise CurationError(
            f"group_field={grouped!r}: the group {names[largest].item()!r} has {sizes[largest]} samples and must stay "
            f"whole, but no split holds more than {most}: {possible} of {n} samples can be chosen. Ask for fewer, or "
            "say other splits"
        )


def about_pool(pool: Mapping[str, int], vectors: Vectors, level: float | None, duplicates: Any) -> list[str]:
    """What could not be chosen, a sentence each."""
    notes = [f"{pool[name]} samples {words}" for name, words in _WHY.items() if pool[name] and name != "undecided"]
    if level is None and duplicates is True and not vectors.told:
        notes.append(
            'Near-duplicates were not looked for: presence does not tell them. Compute embeddings first ("SAM 3: '
            'compute embeddings")'
        )
    return notes


def _worth(roles: Roles, hard: NDArray[np.bool_], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places of ``rows``, those first that should stay rather than their twins: facts, then what is rare."""
    there, misleading = roles.positive[rows], hard[rows]
    rare = (there / np.maximum(there.sum(0), 1)).sum(1) + (misleading / np.maximum(misleading.sum(0), 1)).sum(1)
    said = (there & roles.verified[rows]).any(axis=1) * 2 + (there & roles.known[rows]).any(axis=1)
    return np.lexsort((np.arange(len(rows)), -rare, -said))
