"""Which concepts are in a sample as a fact: by ground truth, and by what people verified.

Labels say what is there. That what is not labelled is absent must be said, see ``evaluation.policy``; a sample and a
concept about which nothing is said are unknown, and are never called a negative.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import fiftyone as fo
import numpy as np
from numpy.typing import NDArray

from .answers import Answers, check_concepts, check_ledger, read_said
from .attributes import narrower
from .checks import check_whole
from .errors import CurationError
from .said import Said, labels_path, names_path
from .verified import reviewed_field, without_rejected

if __package__ == "curation":
    from evaluation.policy import Policy, ids_path, names_in
    from zoo.ledger import DEFAULT, Ledger
else:
    from ..evaluation.policy import Policy, ids_path, names_in
    from ..zoo.ledger import DEFAULT, Ledger


@dataclass(frozen=True)
class Truth:
    """What is known of some samples; rows and columns as of :class:`Answers`.

    Attributes:
        present: (N, K) is the concept there? False where it is not known.
        known: (N, K) whether that is a fact.
        complete: (N, K) whether every instance of the concept is labelled; never so by a verified presence alone.
        verified: (N, K) whether a person said so of this very pair.
        labelled: (K,) whether there is any label of the concept.
    """

    present: NDArray[np.bool_]
    known: NDArray[np.bool_]
    complete: NDArray[np.bool_]
    verified: NDArray[np.bool_]
    labelled: NDArray[np.bool_]

    @property
    def absent(self) -> NDArray[np.bool_]:
        """(N, K): known to be absent."""
        return self.known & ~self.present


def read_truth(
    samples: fo.core.collections.SampleCollection, answers: Answers, said: Said, ledger: str = DEFAULT
) -> Truth:
    """What is known about each sample and concept of ``answers``.

    A sample whose ground-truth field is empty (None, not an empty ``Detections``) is not known. Labels that a reviewer
    rejected do not count. What a person verified (:func:`verify`, and the review) goes before ground truth, and before
    what is said of it in general: where a reviewer found all instances of a concept labelled, they are; where not, not.

    Raises:
        CurationError: see :meth:`Said.policy`; no ground truth, and nothing verified.
    """
    shape = answers.presence.shape
    _, verdicts = read_said(samples, "verified", answers.concepts, ledger)
    verified = ~np.isnan(verdicts)
    if said.gt_field is None:
        if not verified.any():
            raise CurationError(
                "Nothing is known about these samples: say gt_field='…' (labels that say what is there), or verify "
                "some (curation.truth.verify, or the operator \"SAM 3: verify presence\")"
            )
        known, complete, present = (np.zeros(shape, bool) for _ in range(3))
    else:
        policy = said.policy(samples, answers.concepts, ledger)
        known, complete, present = _from_labels(samples, answers, policy, said.gt_field, ledger)
    labelled = present.any(axis=0)
    present = np.where(verified, verdicts == 1, present)
    return Truth(present, known | verified, complete, verified, labelled)


def any_verified(
    samples: fo.core.collections.SampleCollection, concepts: Sequence[str], ledger: str = DEFAULT
) -> bool:
    """Whether a person said of any of these samples that one of the concepts is in it, or is not."""
    _, verdicts = read_said(samples, "verified", concepts, ledger)
    return not np.isnan(verdicts).all()


def verify(
    samples: fo.core.collections.SampleCollection, concept: str, present: bool | None, *, ledger: str = DEFAULT
) -> int:
    """A person says that a concept is, or is not, in each of these samples; kept in ``<ledger>_verified.<concept>``.

    Args:
        samples: the samples looked at, such as ``dataset.select(session.selected)``.
        concept: one that was asked.
        present: what they have in common; None takes back what was said.
        ledger: name of the ledger.

    Returns:
        of how many.

    Raises:
        CurationError: no ledger, the concept was not asked, or ``present`` is neither true nor false nor None.
    """
    if not isinstance(concept, str):
        raise CurationError(f"One concept is wanted, got {concept!r}: verify each on its own")
    check_ledger(samples, ledger)
    check_whole(samples)
    check_concepts(samples, [concept], ledger)
    if present is not None and not isinstance(present, (bool, np.bool_)):
        raise CurationError(f"present={present!r} of {concept!r} must be True, False, or None to take it back")
    dataset, book = samples._root_dataset, Ledger(ledger)
    name = book.verified
    schema = dataset.get_field_schema(flat=True)
    if name not in schema:
        dataset.add_sample_field(name, fo.EmbeddedDocumentField, embedded_doc_type=fo.DynamicEmbeddedDocument)
    path = book.path("verified", concept)
    if path not in schema:
        dataset.add_sample_field(path, fo.BooleanField)
    bare = samples.exists(name, bool=False)
    if len(bare):  # a value cannot be set within a document that is not there
        bare.set_values(name, [fo.DynamicEmbeddedDocument() for _ in range(len(bare))])
    samples.set_values(path, [None if present is None else bool(present)] * len(samples))
    return len(samples)


def _from_labels(
    samples: fo.core.collections.SampleCollection, answers: Answers, policy: Policy, field: str, ledger: str
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Known, complete, and present."""
    path, labels = names_path(samples, field), labels_path(samples, field)
    columns = [path] if not policy.ids else [path, ids_path(samples, labels)]
    names, *numbers = without_rejected(samples, labels).values(columns)
    shape = answers.presence.shape
    present = np.zeros(shape, bool)
    means: dict[str, list[int]] = {}
    for k, concept in enumerate(answers.concepts):
        for name in () if concept in policy.ids else policy.names[concept]:
            means.setdefault(name, []).append(k)
    for row, held in enumerate(names):
        for name in set(_flat(held)):
            present[row, means.get((name or "").casefold(), ())] = True
    for k, concept in enumerate(answers.concepts):
        if concept in policy.ids:
            chosen = policy.ids[concept]
            present[:, k] = [not chosen.isdisjoint(map(str, _flat(held))) for held in numbers[0]]
    framed = path.startswith("frames.")  # of a video, frames that nobody has labelled say nothing
    labelled = np.array([_any(held) if framed else held is not None for held in names])
    _widen(names, answers, policy, present)
    complete = _complete(samples, answers, policy, present) & labelled[:, None]
    complete = _as_reviewed(samples, answers, ledger, labels, complete) & answers.asked
    known = complete | (present & answers.asked)  # that it is there is known, whatever else is not labelled
    return known, complete, present & known


def _widen(
    rows: Sequence[Any], answers: Answers, policy: Policy, present: NDArray[np.bool_]
) -> None:
    """A label "red cap" says that a cap is there, too, unless the user said what means a cap."""
    own = [k for k, concept in enumerate(answers.concepts) if concept not in policy.ids]
    spelled = {
        (name or "").casefold() for held in rows for name in _flat(held)
    }  # few, however many labels there are
    wider = {
        name: [k for k in own if any(narrower(name, known) for known in policy.names[answers.concepts[k]])]
        for name in spelled
    }
    wider = {name: columns for name, columns in wider.items() if columns}
    if wider:
        for row, held in enumerate(rows):
            for name in _flat(held):
                present[row, wider.get((name or "").casefold(), ())] = True


def _complete(
    samples: fo.core.collections.SampleCollection, answers: Answers, policy: Policy, present: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """(N, K): is every instance of the concept labelled, so that none means absence?"""
    said = policy.exhaustive
    complete = np.zeros_like(present)
    complete[:] = [said is None or concept in said for concept in answers.concepts]
    if policy.negatives_field is not None:
        complete |= present | _listed(samples.values(policy.negatives_field), answers, policy)
    if policy.not_exhaustive_field is not None:
        complete &= ~_listed(samples.values(policy.not_exhaustive_field), answers, policy)
    return complete


def _listed(rows: Sequence[Any], answers: Answers, policy: Policy) -> NDArray[np.bool_]:
    """(N, K): is the concept among the names that a field lists?"""
    means: dict[str, list[int]] = {}
    for k, concept in enumerate(answers.concepts):
        for name in policy.names[concept] | {concept.casefold()}:
            means.setdefault(name, []).append(k)
    listed = np.zeros(answers.presence.shape, bool)
    for row, held in enumerate(rows):
        for name in names_in(held):
            listed[row, means.get(name.casefold(), ())] = True
    return listed


def _as_reviewed(
    samples: fo.core.collections.SampleCollection, answers: Answers, ledger: str, labels: str,
    complete: NDArray[np.bool_],
) -> NDArray[np.bool_]:  # fmt: skip
    """``complete`` (N, K), where nobody said otherwise of these labels."""
    if reviewed_field(samples._root_dataset, Ledger(ledger)) not in (None, labels):
        return complete  # it was said of others
    _, said = read_said(samples, "exhaustive", answers.concepts, ledger)
    return np.where(np.isnan(said), complete, said == 1)


def _any(held: Any) -> bool:
    return held is not None and any(one is not None for one in held)


def _flat(held: Any) -> Iterable[Any]:
    """Names in a sample, whether in one list, in one for each frame, or alone."""
    if held is None:
        return
    if isinstance(held, str):
        yield held
        return
    for one in held:
        if isinstance(one, (list, tuple)):
            yield from one
        elif one is not None:
            yield one
