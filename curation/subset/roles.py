"""What each sample could be chosen as: for every concept a positive, a hard negative, or an easy one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import fiftyone as fo
import numpy as np
from numpy.typing import NDArray

from ..answers import Answers
from ..negatives import LEAST, HardNegative
from ..truth import Truth
from ..verified import ATTRIBUTE, verified_path


@dataclass(frozen=True)
class Roles:
    """N samples, K concepts. No sample has two roles for one concept.

    Attributes:
        concepts: their labels.
        positive: (N, K) the concept is there: as a fact, or where nothing is known, by the ledger.
        easy: (N, K) it is not, and nothing was nearly taken for it.
        known: (N, K) whether that is a fact; then ``verified`` says whether a person said so of this very sample.
        verified: (N, K).
        presence: (N, K) in [0, 1].
        hard: column → row → why it is hard.
    """

    concepts: tuple[str, ...]
    positive: NDArray[np.bool_]
    easy: NDArray[np.bool_]
    known: NDArray[np.bool_]
    verified: NDArray[np.bool_]
    presence: NDArray[np.float64]
    hard: dict[int, dict[int, HardNegative]] = field(default_factory=dict)

    def candidates(self, role: str, column: int) -> list[NDArray[np.int64]]:
        """Rows that may be chosen, the better ones first: facts before what the model says, and of hard negatives the
        highest score. Within a part, none is better.
        """
        if role == "hard":
            held = self.hard.get(column, {})
            rows = sorted(held, key=lambda row: (-held[row].score, row))
            return [np.array(rows, dtype=np.int64)]
        there = getattr(self, role)[:, column]
        known = self.known[:, column]
        return [np.flatnonzero(there & known), np.flatnonzero(there & ~known)]

    def is_known(self, role: str, row: int, column: int) -> bool:
        """Whether a role is a fact."""
        return self.hard[column][row].known if role == "hard" else bool(self.known[row, column])

    def explain(self, role: str, row: int, column: int) -> str:
        """Why a sample has a role, in words."""
        concept, presence = self.concepts[column], self.presence[row, column]
        if role == "hard":
            one = self.hard[column][row]
            rival = f", {one.rival!r} is there" if one.rival is not None else ", though it is not there"
            return f"hard negative of {concept!r}: presence {one.presence:.2f}{rival}"
        fact = "verified" if self.verified[row, column] else "labelled" if self.known[row, column] else ""
        if role == "positive":
            return f"{concept!r} is there ({fact or f'presence {presence:.2f}'})"
        fact = {"labelled": ", labelled as absent", "verified": ", verified as absent"}.get(fact, "")
        return f"easy negative of {concept!r}: presence {presence:.2f}{fact}"


def roles_of(answers: Answers, truth: Truth | None, accepted: NDArray[np.bool_], rejected: NDArray[np.bool_],
             found: Iterable[HardNegative], concepts: Sequence[str]) -> Roles:  # fmt: skip
    """What each sample could be chosen as.

    Args:
        answers: N samples, of all concepts or more.
        truth: what is known of them; None: nothing.
        accepted, rejected: (N, K) of ``answers``: whether a reviewer accepted an instance of the concept there, and
            whether all instances that there were are rejected: then the model's word for the concept does not count.
        found: hard negatives.
        concepts: the K that are wanted.
    """
    columns = [answers.place(concept) for concept in concepts]
    presence = answers.presence[:, columns]
    asked, there = ~np.isnan(presence), answers.present[:, columns]
    if answers.count is not None:  # presence without an instance to learn from is no positive
        counts = answers.count[:, columns]
        there = there & (np.isnan(counts) | (counts > 0))
    accepted, rejected = accepted[:, columns], rejected[:, columns]
    if truth is None:
        known = present = verified = np.zeros(presence.shape, bool)
    else:
        known, present, verified = (a[:, columns] for a in (truth.known, truth.present, truth.verified))
    seen = accepted & ~verified  # what was said of the sample goes before what was said of a mask
    known, present, verified = known | seen, present | seen, verified | seen
    positive = np.where(known, present, asked & there & ~rejected)
    with np.errstate(invalid="ignore"):
        quiet = asked & (presence < LEAST)
    easy = np.where(known, ~present & quiet, quiet & ~there & ~rejected)
    place = {number: row for row, number in enumerate(answers.ids.tolist())}
    column = {concept: k for k, concept in enumerate(concepts)}
    hard: dict[int, dict[int, HardNegative]] = {}
    for one in found:
        row, k = place.get(one.sample_id), column.get(one.concept)
        if row is None or k is None:
            continue  # not of this pool
        if one.known and not known[row, k]:  # labels said so then; nothing that is known now says otherwise
            positive[row, k] = False
        if positive[row, k]:
            continue  # known better since
        before = hard.setdefault(k, {}).get(row)
        if before is None or one.score > before.score:
            hard[k][row] = one
    for k, rows in hard.items():
        easy[list(rows), k] = False
    return Roles(tuple(concepts), positive, easy, known, verified, np.nan_to_num(presence), hard)


def reviewed(
    samples: fo.core.collections.SampleCollection, label_field: str | None, answers: Answers
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(N, K): whether an instance of the concept was accepted, and whether all there are were rejected."""
    accepted, rejected = np.zeros(answers.presence.shape, bool), np.zeros(answers.presence.shape, bool)
    if label_field is None or not _any_verdict(samples, label_field):
        return accepted, rejected
    path = verified_path(samples, label_field)
    names, verdicts = samples.values([f"{path.removesuffix(f'.{ATTRIBUTE}')}.label", path])
    column = {concept: k for k, concept in enumerate(answers.concepts)}
    open_still = np.zeros(answers.presence.shape, bool)
    for row, (labels, said) in enumerate(zip(names, verdicts, strict=True)):
        for name, verdict in zip(_flat(labels), _flat(said), strict=True):
            if name in column:
                which = accepted if verdict else rejected if verdict is False else open_still
                which[row, column[name]] = True
    return accepted, rejected & ~accepted & ~open_still


def _any_verdict(samples: fo.core.collections.SampleCollection, label_field: str) -> bool:
    path = verified_path(samples, label_field)
    bare = path.removeprefix("frames.")
    schema = samples.get_field_schema(flat=True)
    if bare != path:
        schema = samples.get_frame_field_schema(flat=True) or {}
    return bare in schema and bool(samples.count(path))


def _flat(held: object) -> list:
    """Values of a sample, whether in one list, or in one for each frame."""
    if held is None:
        return []
    return [one for part in held for one in (part if isinstance(part, list) else [part])]
