"""What is known to be absent from images, and by whose word: the negatives of a training set.

A concept of an image is absent because a person said so (``person``), because labels say so (``ground_truth``), or
because SAM 3 was asked and its presence was below the threshold (``presence``); the first that knows decides. All else
is unknown, which is not the same: a concept that was never asked is no negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import fiftyone as fo
import numpy as np
from numpy.typing import NDArray

from ..answers import Answers, check_ledger, read_answers
from ..checks import check_words
from ..errors import CurationError
from ..said import Said, labels_path
from ..truth import Truth, any_verified, read_truth

if __package__ == "curation.handover":
    from zoo.ledger import DEFAULT, Ledger
else:
    from ...zoo.ledger import DEFAULT, Ledger

#: by whose word a concept is absent, the most reliable first
SOURCES = ("person", "ground_truth", "presence")


@dataclass(frozen=True)
class Absence:
    """What is known of N samples and K concepts.

    Attributes:
        absent: (N, K) 0: not known to be absent; else the place of the source in ``SOURCES``, counted from 1.
        there: (N, K) whether the concept is there, as far as anything says.
        partial: (N, K) whether it is known that not all instances are labelled.
        person: (N, K) whether a person said that it is absent, whatever ``absent`` is wanted of.
    """

    absent: NDArray[np.uint8]
    there: NDArray[np.bool_]
    partial: NDArray[np.bool_]
    person: NDArray[np.bool_]


def check_sources(negatives: Any) -> tuple[str, ...]:
    """The sources of negatives that are wanted.

    Raises:
        CurationError: naming one that there is not.
    """
    if negatives is None or isinstance(negatives, (bool, np.bool_)):
        return SOURCES if negatives else ()
    wanted = check_words(negatives, "negatives")
    unknown = [name for name in wanted if name not in SOURCES]
    if unknown:
        raise CurationError(f"negatives={negatives!r}; want True, False, or some of {list(SOURCES)}")
    return tuple(name for name in SOURCES if name in wanted)


def read_absence(
    samples: fo.core.collections.SampleCollection, concepts: Sequence[str], asked: Sequence[str], ledger: str | None,
    said: Said, sources: Sequence[str], label_field: str,
) -> Absence:  # fmt: skip
    """What is known of each sample and concept.

    Args:
        samples: a dataset or view.
        concepts: K of them.
        asked: those that the ledger knows.
        ledger: its name; None: there is none.
        said: what labels mean, if a field of labels was said.
        sources: of negatives, see :func:`check_sources`.
        label_field: what is exported; where it is ``said.gt_field``, what labels leave open is ``partial``.

    Raises:
        CurationError: no ledger, unknown fields, or nothing said about what is not labelled.
    """
    ids = np.array(samples.values("id"), dtype=str)
    shape = len(ids), len(concepts)
    presence = np.full(shape, np.nan)
    low, high = np.zeros(shape, bool), np.zeros(shape, bool)
    known = [k for k, concept in enumerate(concepts) if concept in asked]
    if ledger is not None and known and "presence" in sources:
        check_ledger(samples, ledger)
        answers = read_answers(samples, ledger, [concepts[k] for k in known], kinds=())
        presence[:, known] = answers.presence
        low[:, known], high[:, known] = answers.asked & ~answers.present, answers.present
    truth = _truth(samples, ids, concepts, ledger or DEFAULT, said)
    nothing = np.zeros(shape, bool)
    known_so = nothing if truth is None else truth.known
    person = nothing if truth is None else truth.verified & truth.absent
    facts = {
        "person": person,
        "ground_truth": nothing if truth is None else truth.absent & ~truth.verified,
        "presence": low & ~known_so,
    }  # fmt: skip
    absent = np.zeros(shape, np.uint8)
    for place, source in enumerate(SOURCES, 1):
        if source in sources:
            absent[facts[source]] = place
    there = (high & ~known_so) | (nothing if truth is None else truth.present)
    partial = _incomplete(samples, concepts, ledger or DEFAULT, shape)
    if truth is not None and said.gt_field is not None and labels_path(samples, said.gt_field) == label_field:
        partial |= truth.present & ~truth.complete
    return Absence(absent, there, partial, person)


def _truth(
    samples: fo.core.collections.SampleCollection, ids: NDArray[np.str_], concepts: Sequence[str], ledger: str,
    said: Said,
) -> Truth | None:  # fmt: skip
    """What labels and people say, of concepts that were never asked, too; None if neither says anything."""
    zeros = np.zeros((len(ids), len(concepts)))
    every = Answers(ids, tuple(concepts), zeros, None, None, dict.fromkeys(concepts, 1.0))
    if said.gt_field is None and not any_verified(samples, concepts, ledger):
        return None
    return read_truth(samples, every, said, ledger)


def _incomplete(
    samples: fo.core.collections.SampleCollection, concepts: Sequence[str], ledger: str, shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """(N, K): did a person say that not all instances are labelled?"""
    book, schema = Ledger(ledger), samples.get_field_schema(flat=True)
    found = np.zeros(shape, bool)
    for k, concept in enumerate(concepts):
        path = book.path("exhaustive", concept)
        if path in schema:
            found[:, k] = [held is False for held in samples.values(path)]
    return found
