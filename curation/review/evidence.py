"""What makes a question worth asking: how doubtful each label is, and each claim that all instances are labelled.

* Of labels that people made: how suspicious they are beside what SAM 3 found (:mod:`curation.label_errors`), as
  probabilities: a wrong or made-up label is doubtful itself, a missing one makes its sample and concept so.
* Of instances that SAM 3 found: how near the decision they are, how far presence and object score differ, whether
  another concept claims the pixels, how stable the mask is.
* Of either: what an exhaustivity check found (:mod:`curation.exhaustivity`), if there was one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import fiftyone as fo
import numpy as np
from numpy.typing import NDArray

from ..answers import Answers, read_answers
from ..instances import Instances, Overlaps, compare
from ..label_errors import judge
from ..named import Named
from ..suspicion import SAME
from ..truth import Truth
from .items import EXHAUSTIVITY, MASK

if __package__ == "curation.review":
    from evaluation.policy import Policy
else:
    from ...evaluation.policy import Policy

TASKS = ("masks", "exhaustivity")
#: what a person is asked for each of the tasks
KINDS = {"masks": MASK, "exhaustivity": EXHAUSTIVITY}
#: doubt of what nothing speaks against; what cannot be judged is as good as tossing a coin over few
_LEAST, _UNKNOWN = 0.01, 0.1
#: suspicions below are none
_TOLD = 0.02
#: of a concept that is felt, and of which nothing is labelled or found
_FELT = 0.3

Pair = tuple[str, str]


@dataclass
class Doubts:
    """How doubtful things are, each in [0, 1], and why.

    Attributes:
        labels: id → sample id, concept, doubt, why; in the order of the samples.
        pairs: (sample id, concept) → doubt, why: is an instance not labelled?
    """

    labels: dict[str, tuple[str, str, float, str]] = field(default_factory=dict)
    pairs: dict[Pair, tuple[float, str]] = field(default_factory=dict)

    def doubt_pair(self, pair: Pair, doubt: float, because: str) -> None:
        """The larger doubt counts."""
        if pair not in self.pairs or self.pairs[pair][0] < doubt:
            self.pairs[pair] = doubt, because

    def join_pair(self, pair: Pair, doubt: float, because: str, *, beside: bool) -> None:
        """A second opinion: the mean counts, where the first was had by comparing, ``beside``; else the larger."""
        first = self.pairs.get(pair)
        if not beside or first is None:
            self.doubt_pair(pair, doubt, because)
        else:
            self.pairs[pair] = (first[0] + doubt) / 2, because if doubt >= first[0] else first[1]


def doubts_of(
    samples: fo.core.collections.SampleCollection, label_field: str, named: Named, *, ledger: str | None = None,
    found_field: str | None = None, own: bool = True, use_masks: bool = True,
) -> Iterator[tuple[int, int, Doubts | None]]:
    """Look at all labels.

    Args:
        samples: images.
        label_field: labels under review.
        named: what they are called.
        ledger: what SAM 3 was asked; None: it was not.
        found_field: what SAM 3 found, to compare labels with, if there is something.
        own: whether the labels are what SAM 3 found themselves.
        use_masks: compare masks, where there are some; else boxes.

    Yields:
        samples done, samples in all, and with the last ones the doubts.
    """
    first = found_field or label_field
    answers = None if ledger is None else read_answers(samples, ledger, None, ())
    for done, total, layout in compare(samples, first, label_field if found_field else None, use_masks=use_masks):
        if layout is None:
            yield done, total, None
    labels = layout.truth if found_field else layout.found
    doubts = Doubts()
    for k, name in enumerate(labels.label.tolist()):
        concept = named.concept(name)
        if concept is not None:
            sample = labels.sample_ids[labels.sample[k]].item()
            doubts.labels[labels.ids[k].item()] = (sample, concept, _UNKNOWN, "nothing is known of it")
            doubts.doubt_pair((sample, concept), _LEAST, "some are labelled")
    if found_field:
        _of_people(doubts, layout, answers, named)
    elif own and answers is not None:
        _of_model(doubts, layout.found, layout.among, answers, named, _stability(samples, label_field))
    if answers is not None:
        _felt(doubts, answers, named)
    yield total, total, doubts


# ---------------------------------------------------------------- labels that people made


def _of_people(doubts: Doubts, layout: Any, answers: Answers, named: Named) -> None:
    """By the machinery that looks for label errors, which is told that everything is labelled: that is the question."""
    names = {c: frozenset(n.casefold() for n in named.names.get(c, (c,))) for c in answers.concepts}
    means = {name: c for c, listed in names.items() for name in listed}
    there = np.zeros(answers.presence.shape, bool)
    for name, sample in zip(layout.truth.label.tolist(), layout.truth.sample.tolist(), strict=True):
        concept = means.get(name.casefold())
        if concept is not None:
            there[sample, answers.place(concept)] = True
    asked = answers.asked
    truth = Truth(there & asked, asked, asked, np.zeros_like(asked), there.any(axis=0))
    errors, _ = judge(layout, answers, truth, Policy(answers.concepts, names), 0.0)
    judged = _judged(layout.truth, answers, named)
    for number, (sample, concept, _, _) in list(doubts.labels.items()):
        if number in judged:
            doubts.labels[number] = sample, concept, _LEAST, "SAM 3 agrees"
    for rank, error in enumerate(errors):
        if error.score < _TOLD:
            continue
        doubt = max(error.score - rank * 1e-7, _LEAST)  # probabilities have ties; their order says more
        if error.kind == "missing":
            doubts.doubt_pair((error.sample_id, error.label), doubt, error.because)
        elif error.label_id in doubts.labels:
            sample, concept, _, _ = doubts.labels[error.label_id]
            doubts.labels[error.label_id] = sample, concept, doubt, error.because


def _judged(labels: Instances, answers: Answers, named: Named) -> set[str]:
    """Ids of the labels whose concept was asked of their sample."""
    place = {concept: k for k, concept in enumerate(answers.concepts)}
    columns = np.array([place.get(named.concept(name), -1) for name in labels.label.tolist()], dtype=np.int64)
    asked = (columns >= 0) & answers.asked[labels.sample, columns] if len(columns) else np.zeros(0, bool)
    return set(labels.ids[asked].tolist())


# ---------------------------------------------------------------- instances that SAM 3 found


def _of_model(
    doubts: Doubts, found: Instances, among: Overlaps, answers: Answers, named: Named,
    stability: NDArray[np.float64] | None,
) -> None:
    levels = np.array([answers.thresholds.get(name, 0.5) for name in found.label.tolist()], dtype=np.float64)
    sure = np.nan_to_num(found.confidence, nan=1.0)
    near = nearness(sure, levels)
    apart = np.nan_to_num(np.abs(found.presence - found.object_score))
    rival = np.zeros(len(found))
    other = (found.label[among.first] != found.label[among.second]) & (among.iou >= SAME)
    for mine, theirs in ((among.first, among.second), (among.second, among.first)):
        np.maximum.at(rival, mine[other], (among.iou * sure[theirs])[other])
    loose = np.zeros(len(found)) if stability is None else 1 - np.nan_to_num(stability, nan=1.0)
    parts = np.stack([near, 0.5 * apart, 0.6 * rival, 0.5 * np.clip(loose, 0, 1)])
    doubt = 1 - np.prod(1 - parts, axis=0)
    told = (
        "confidence {0:.2f}", "presence and object score differ by {1:.2f}", "another concept claims it", "unstable"
    )  # fmt: skip
    for k, worst in enumerate(parts.argmax(axis=0).tolist()):
        concept = named.concept(found.label[k].item())
        if concept is None:
            continue
        sample = found.sample_ids[found.sample[k]].item()
        because = told[worst].format(sure[k], apart[k])
        doubts.labels[found.ids[k].item()] = sample, concept, max(float(doubt[k]), _LEAST), because
        if sure[k] < levels[k]:  # an instance that does not count: is one missing?
            doubts.doubt_pair((sample, concept), float(near[k]), f"an instance of confidence {sure[k]:.2f} is left out")


def nearness(values: NDArray[np.float64], levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """How near values are to where they are decided: 1 there, 0 at either end of [0, 1].

    >>> nearness(np.array([0.5, 0.75, 1.0, 0.0]), np.array([0.5, 0.5, 0.5, 0.5])).tolist()
    [1.0, 0.5, 0.0, 0.0]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        above, below = (1 - values) / (1 - levels), values / levels
    return np.clip(np.nan_to_num(np.where(values >= levels, above, below), nan=1.0, posinf=1.0), 0, 1)


def _stability(samples: fo.core.collections.SampleCollection, label_field: str) -> NDArray[np.float64] | None:
    path = f"{label_field}.detections.stability"
    if path not in samples.get_field_schema(flat=True):
        return None
    return np.array([one for held in samples.values(path) for one in held or ()], dtype=np.float64)


# ---------------------------------------------------------------- both


def _felt(doubts: Doubts, answers: Answers, named: Named) -> None:
    """Concepts of which nothing is labelled, and presence says they are there, or nearly."""
    place = {concept: k for k, concept in enumerate(answers.concepts)}
    wanted = [(concept, place[concept]) for concept in named.names if concept in place]
    labelled = {(sample, concept) for sample, concept, _, _ in doubts.labels.values()}
    for concept, k in wanted:
        values, level = np.nan_to_num(answers.presence[:, k]), answers.levels[k]
        for row in np.flatnonzero((values > 0) & (values >= level / 2)).tolist():
            pair, doubt = (answers.ids[row].item(), concept), _FELT * float(values[row])
            if pair not in labelled:
                doubts.doubt_pair(pair, doubt, f"nothing is labelled, and presence is {values[row]:.2f}")
