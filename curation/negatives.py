"""Hard negatives: samples without a concept that SAM 3 takes, or nearly takes, for it. They teach a model the most.

Three sources, each a fact of the ledger:

* contradicted: ground truth says that the concept is absent, presence says that it is there;
* neighbour: a rival concept (a sibling in the noun graph, or one that this dataset itself mixes up) is there, on the
  same mask or instead: a fox for "wolf";
* swap: a phrase with another attribute is there: a red cap for "blue cap".

A sample's rank for a concept is presence × (1 + overlap) / 2 × diversity × (1 − doubt): how strongly the model is
misled; whether something else stands where it sees the concept; how unlike the ones picked before it is; and whether it
is the label, not the model, that is wrong. Where nobody said that the concept is absent, the model's own word counts,
as far as it prefers the rival.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .answers import Answers
from .instances import Layout
from .kin import RELATIONS, Kin
from .suspicion import SAME, Suspicion
from .threads import one_thread
from .truth import Truth

SOURCES = ("contradicted", "neighbour", "swap")
#: of a concept's candidates, as many times its cap are compared with each other
_POOL = 20
#: presence below is no temptation
LEAST = 0.05


@dataclass(frozen=True)
class HardNegative:
    """One sample that lacks one concept.

    Attributes:
        sample_id: the sample.
        concept: what is not there.
        score: its rank, in [0, 1].
        sources: which of :data:`SOURCES` speak for it, the first one most.
        rival: what is there instead, if that is known: a label or another concept.
        presence: of the concept, in [0, 1].
        overlap: IoU of what is taken for the concept with what it is, in [0, 1]; 0 if unknown.
        diversity: in [0.5, 1]; 1: unlike every one before it.
        known: whether it is a fact that the concept is absent; else the model says so itself.
        because: in words.
        verified: whether a person said so of this very sample.
    """

    sample_id: str
    concept: str
    score: float
    sources: tuple[str, ...]
    rival: str | None
    presence: float
    overlap: float
    diversity: float
    known: bool
    because: str
    verified: bool = False


@dataclass
class _Evidence:
    """Of one source, for one concept: (n,) rows, and for each the rival, how it overlaps, and whether it is to be
    believed that the concept is absent, in [0, 1].
    """

    source: str
    rows: NDArray[np.int64]
    rivals: Sequence[str | None]
    overlap: NDArray[np.float64]
    trust: NDArray[np.float64] | None = None


def mine(
    answers: Answers, truth: Truth | None, kin: Kin, layout: Layout | None = None, *,
    concepts: Sequence[str] | None = None, suspicion: Suspicion | None = None, means: NDArray[np.bool_] | None = None,
    sources: Sequence[str] = SOURCES, per_concept: int = 25, features: NDArray[np.float64] | None = None,
) -> list[HardNegative]:  # fmt: skip
    """Find and rank them.

    Args:
        answers: N samples, K concepts.
        truth: what is known; None: nothing, then only what the model itself calls absent counts.
        kin: who could be taken for whom.
        layout: instances and what they overlap; None: no overlap is known.
        concepts: which to find negatives for. Default: all.
        suspicion: of the labels of ``layout``: doubts about labels.
        means: (m, K) which concepts the labels of ``layout`` are instances of. Default: the one of their name.
        sources: which to use.
        per_concept: at most as many for each concept.
        features: (N, D) what makes samples alike; default: their presences.

    Returns:
        the highest score first.
    """
    found: list[HardNegative] = []
    alike = _unit(np.nan_to_num(answers.presence) if features is None else features)
    doubts = _doubts(answers, layout, suspicion)
    spots = None if layout is None else _Spots(answers, layout, means)
    with one_thread():
        for concept in answers.concepts if concepts is None else concepts:
            pooled = list(_evidence(answers, truth, kin, spots, concept, sources))
            found += _ranked(answers, truth, concept, pooled, doubts, alike, per_concept, kin)
    return sorted(found, key=lambda negative: -negative.score)


def _evidence(
    answers: Answers, truth: Truth | None, kin: Kin, spots: _Spots | None, concept: str, sources: Sequence[str]
) -> Iterator[_Evidence]:
    k = answers.place(concept)
    presence = np.nan_to_num(answers.presence[:, k])
    present = answers.present[:, k]
    if truth is None:
        known = absent = np.zeros(len(answers), bool)
    else:
        known, absent = truth.known[:, k], truth.absent[:, k]
    if "contradicted" in sources and truth is not None:
        rows = np.flatnonzero(absent & present)
        under = spots.under(k, rows) if spots else {}
        yield _Evidence(
            "contradicted", rows, [under.get(row, (None, 0.0))[0] for row in rows.tolist()],
            np.array([under.get(row, (None, 0.0))[1] for row in rows.tolist()]),
        )  # fmt: skip
    for rival, relation in kin.rivals.get(concept, {}).items():
        source = "swap" if relation == "swap" else "neighbour"
        if source not in sources:
            continue
        s = answers.place(rival)
        there = answers.present[:, s] if truth is None else np.where(
            truth.known[:, s], truth.present[:, s], answers.present[:, s]
        )  # fmt: skip
        candidates = there & (presence >= LEAST) & np.where(known, absent, True)
        rows = np.flatnonzero(candidates)
        shared, lead = spots.shared(k, s, rows) if spots else (np.zeros(len(rows)), np.zeros(len(rows)))
        # where nobody says that the concept is absent, the model itself must: it is not present, or the rival wins, and
        # then only as far as it leads
        trust = np.where(known[rows] | ~present[rows], 1.0, lead)
        keep = trust > 0
        yield _Evidence(source, rows[keep], [rival] * int(keep.sum()), shared[keep], trust[keep])


def _ranked(
    answers: Answers, truth: Truth | None, concept: str, pooled: Sequence[_Evidence], doubts: Mapping[tuple, float],
    alike: NDArray[np.float64], most: int, kin: Kin,
) -> list[HardNegative]:  # fmt: skip
    """The best of one concept, each as unlike those before as can be had for its rank."""
    k = answers.place(concept)
    merged: dict[int, HardNegative] = {}
    for evidence in pooled:
        trust = np.ones(len(evidence.rows)) if evidence.trust is None else evidence.trust
        doubt = np.array([doubts.get((row, k), 0.0) for row in evidence.rows.tolist()])
        strength = answers.presence[evidence.rows, k] * (1 + evidence.overlap) * trust * (1 - doubt)
        best = np.argsort(-strength, kind="stable")[: 2 * _POOL * most].tolist()
        for place in best:
            row, rival = int(evidence.rows[place]), evidence.rivals[place]
            overlap, trusted = float(evidence.overlap[place]), float(trust[place])
            presence = answers.presence[row, k].item()
            score = presence * (1 + overlap) / 2 * trusted * (1 - doubts.get((row, k), 0.0))
            known = truth is not None and bool(truth.absent[row, k])
            seen = known and bool(truth.verified[row, k])
            now = HardNegative(
                answers.ids[row].item(), concept, float(score), (evidence.source,), rival, presence, overlap, 1.0,
                known, "", seen,
            )  # fmt: skip
            before = merged.get(row)
            if before is None:
                merged[row] = now
            else:
                first, second = (now, before) if _told(now) > _told(before) else (before, now)
                sources = tuple(dict.fromkeys([*first.sources, *second.sources]))
                merged[row] = replace(first, sources=sources, score=max(first.score, second.score))
    rows = sorted(merged, key=lambda row: (-merged[row].score, row))[: _POOL * most]
    base = np.array([merged[row].score for row in rows])
    nearest = np.zeros(len(rows))
    chosen: list[HardNegative] = []
    left = np.ones(len(rows), bool)
    while left.any() and len(chosen) < most:
        diversity = 1 - nearest / 2
        best = int(np.argmax(np.where(left, base * diversity, -1)))
        left[best] = False
        if base[best] <= 0:
            break
        one = merged[rows[best]]
        new = float(diversity[best])
        one = replace(one, score=round(one.score * new, 4), diversity=round(new, 4))
        chosen.append(replace(one, because=explain(one, kin)))
        nearest = np.maximum(nearest, np.clip(alike[rows] @ alike[rows[best]], 0, 1))
    return chosen


def explain(one: HardNegative, kin: Kin) -> str:
    """Why a sample is a hard negative, in words."""
    said = "verified" if one.verified else "labelled as absent" if one.known else "the model itself decides against it"
    words = f"no {one.concept!r} ({said}), yet its presence is {one.presence:.2f}"
    if one.rival is not None:
        relation = kin.rivals.get(one.concept, {}).get(one.rival)
        what = {"swap": "another attribute", None: "labelled"}.get(relation, relation)
        words += f": {one.rival!r} ({what}) is there"
        if one.overlap >= SAME:
            words += f", on the same pixels (IoU {one.overlap:.2f})"
    return words


class _Spots:
    """Where instances of concepts stand on other things."""

    def __init__(self, answers: Answers, layout: Layout, means: NDArray[np.bool_] | None) -> None:
        self.answers, self.layout, self.means = answers, layout, means
        place = {name: k for k, name in enumerate(answers.concepts)}
        self.column = np.array([place.get(name, -1) for name in layout.found.label.tolist()], dtype=np.int64)

    def under(self, k: int, rows: NDArray[np.int64]) -> dict[int, tuple[str, float]]:
        """Row → the label that an instance of the concept covers best, and their IoU."""
        found, labels, across = self.layout.found, self.layout.truth, self.layout.across
        if labels is None:
            return {}
        mine = (self.column[across.first] == k) & ~self._means(k)[across.second]
        best: dict[int, tuple[str, float]] = {}
        wanted = set(rows.tolist())
        for first, second, iou in zip(across.first[mine], across.second[mine], across.iou[mine], strict=True):
            row = int(found.sample[first])
            if row in wanted and iou > best.get(row, ("", 0.0))[1]:
                best[row] = labels.label[second].item(), float(iou)
        return best

    def _means(self, k: int) -> NDArray[np.bool_]:
        """(m,) the labels that are instances of the concept: no rivals of it."""
        if self.means is not None:
            return self.means[:, k]
        return np.char.lower(self.layout.truth.label) == self.answers.concepts[k].lower()

    def shared(self, k: int, s: int, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(n,) the best IoU of an instance of concept ``k`` with one of ``s``, and how much surer that one is."""
        found, among = self.layout.found, self.layout.among
        first, second = self.column[among.first], self.column[among.second]
        iou, lead = np.zeros(len(self.answers)), np.zeros(len(self.answers))
        for mine, other, chosen in (
            (among.first, among.second, (first == k) & (second == s)),
            (among.second, among.first, (first == s) & (second == k)),
        ):
            np.maximum.at(iou, found.sample[mine[chosen]], among.iou[chosen])
            same = chosen & (among.iou >= SAME)
            ahead = np.nan_to_num(found.confidence[other[same]] - found.confidence[mine[same]])
            np.maximum.at(lead, found.sample[mine[same]], ahead)
        return iou[rows], lead[rows]


def _doubts(answers: Answers, layout: Layout | None, suspicion: Suspicion | None) -> dict[tuple[int, int], float]:
    """(row, column) → how likely the concept is there after all, its label missing or another."""
    if layout is None or suspicion is None:
        return {}
    found = layout.found
    place = {name: k for k, name in enumerate(answers.concepts)}
    doubts: dict[tuple[int, int], float] = {}
    for k in np.flatnonzero(suspicion.doubt > 0).tolist():
        key = int(found.sample[k]), place.get(found.label[k].item(), -1)
        doubts[key] = max(doubts.get(key, 0.0), float(suspicion.doubt[k]))
    return doubts


def _told(one: HardNegative) -> tuple[float, int]:
    """How much a finding says, of several about one sample and concept."""
    return one.overlap, -RELATIONS.index("swap") if "swap" in one.sources else -1


def _unit(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of length 1."""
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
