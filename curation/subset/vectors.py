"""By what samples are told to be alike: embeddings, or else what the ledger says is in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import fiftyone as fo
import numpy as np
from numpy.typing import NDArray

from ..answers import Answers
from ..checks import listed
from ..errors import CurationError

if __package__ == "curation.subset":
    from zoo.ledger import DEFAULT
else:
    from ...zoo.ledger import DEFAULT

_KINDS = (fo.VectorField, fo.ArrayField, fo.ListField)


@dataclass(frozen=True)
class Vectors:
    """Vectors of samples.

    Attributes:
        rows: (N, D) float32, of length 1; zeros where there is none.
        there: (N,) whether there is one.
        field: where they are from; None: an array that was handed over, or presence.
        told: whether near-duplicates can be told by them: presence is alike in pictures that are not.
    """

    rows: NDArray[np.float32]
    there: NDArray[np.bool_]
    field: str | None
    told: bool


def usual_field(ledger: str) -> str:
    """The field where embeddings of SAM 3 are looked for: ``sam3_embedding``, of the ledger ``sam3``."""
    return f"{ledger}_embedding"


def check_embeddings(samples: fo.core.collections.SampleCollection, embeddings: Any, ledger: str) -> Any:
    """The field of embeddings, or an array; None: there are none.

    Raises:
        CurationError: no such field, one of another kind, an array of another length.
    """
    if embeddings is None:  # pictures do not depend on what was asked of them: those of another ledger do, too
        for usual in (usual_field(ledger), usual_field(DEFAULT)):
            held = samples.get_field(usual) if samples.has_field(usual) else None
            if isinstance(held, _KINDS) and samples.count(usual):
                return usual
        return None
    if isinstance(embeddings, str):
        if not samples.has_field(embeddings):
            fields = [name for name, field in samples.get_field_schema().items() if isinstance(field, _KINDS[:2])]
            there = f"there {'is' if len(fields) == 1 else 'are'} {listed(fields)}" if fields else "it has none"
            raise CurationError(
                f"embeddings={embeddings!r} is not a field of {samples._root_dataset.name!r}; of vectors {there}: "
                'make some, with dataset.compute_embeddings(sam3, embeddings_field="sam3_embedding") or the operator '
                '"SAM 3: compute embeddings"'
            )
        if not isinstance(samples.get_field(embeddings), _KINDS):
            kind = type(samples.get_field(embeddings)).__name__
            raise CurationError(f"embeddings={embeddings!r} holds {kind}; want a field with one vector a sample")
        return embeddings
    try:
        rows = np.asarray(embeddings, dtype=np.float32)
    except (TypeError, ValueError):
        raise CurationError("embeddings must be the name of a field, or an array of one vector a sample") from None
    if rows.ndim != 2 or len(rows) != len(samples) or not rows.shape[1]:
        raise CurationError(
            f"embeddings: an array of one vector a sample is wanted, ({len(samples)}, D), got {rows.shape}"
        )
    return rows


def read_vectors(samples: fo.core.collections.SampleCollection, embeddings: Any, answers: Answers) -> Vectors:
    """The vectors, in the order of the samples.

    Args:
        samples: whose.
        embeddings: from :func:`check_embeddings`.
        answers: of the samples.

    Raises:
        CurationError: there is none in the field, or they are not of one length.
    """
    if embeddings is None:
        rows = np.nan_to_num(answers.presence).astype(np.float32)
        return Vectors(_unit(rows), np.ones(len(rows), bool), None, False)
    if not isinstance(embeddings, str):
        return _checked(embeddings, None)
    held = samples.values(embeddings)
    lengths = {np.shape(one) for one in held if one is not None}
    if not lengths:
        raise CurationError(f"embeddings={embeddings!r}: none of these {len(held)} samples has one")
    if len(lengths) > 1 or len(next(iter(lengths))) != 1 or not next(iter(lengths))[0]:
        shapes = listed(sorted(map(str, lengths)), 3)
        raise CurationError(f"embeddings={embeddings!r} must hold one vector a sample, all of one length; got {shapes}")
    rows = np.full((len(held), next(iter(lengths))[0]), np.nan, np.float32)
    for k, one in enumerate(held):
        if one is not None:
            try:
                rows[k] = one
            except (TypeError, ValueError):
                raise CurationError(f"embeddings={embeddings!r} must hold vectors of numbers, got {one!r}") from None
    return _checked(rows, embeddings)


def _checked(rows: NDArray[np.float32], field: str | None) -> Vectors:
    there = np.isfinite(rows).all(axis=1) & (np.abs(rows).max(axis=1) > 0)
    if not there.any():
        raise CurationError(f"embeddings={field or 'array'!r}: none of these {len(rows)} samples has a usable one")
    return Vectors(_unit(np.where(there[:, None], rows, 0)), there, field, True)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.ascontiguousarray(rows / np.maximum(lengths, np.finfo(np.float32).tiny), dtype=np.float32)
