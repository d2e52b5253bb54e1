"""What is evaluated on a dataset, and against what: which labels mean a concept, and where its absence is a fact.

A dataset's labels say what is there. Whether what is not labelled is absent, or was never looked for, they do not say,
and IL_MCC lives on that difference. So it must be said, in one of three ways:

* ``exhaustive=True``: every instance of every concept is labelled;
* ``exhaustive=["dog", …]``: of these concepts, every instance is. Pairs of other concepts are left out;
* ``negatives_field="negatives"``: a field that lists the concepts which people found absent from a sample (LVIS). The
  labelled concepts of a sample count as exhaustive then, but for those in ``not_exhaustive_field``. A dataset that was
imported from SA-Co has such fields, and needs no word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import fiftyone as fo
from fiftyone.core.expressions import ViewExpression

from .saco import NEGATIVES, NOT_EXHAUSTIVE

GroundTruthNames: TypeAlias = Mapping[str, "str | Sequence[str] | ViewExpression"]
"""concept → the ground-truth label(s) that mean it, or an expression on labels that is true of its instances."""


class EvaluationError(ValueError):
    """An evaluation that cannot begin: the message says what is wrong and what to do."""


@dataclass
class Policy:
    """Which (sample, concept) pairs count, and which ground truth belongs to each.

    Attributes:
        concepts: what is evaluated.
        names: concept → ground-truth labels that mean it, casefolded.
        ids: concept → the ids of its ground truth, where an expression chose them.
        exhaustive: the concepts whose ground truth is complete; None: all.
        negatives_field, not_exhaustive_field: fields of the samples, or None.
        skipped: pairs that were left out, by reason; counted as samples are asked about.
        seen: concept → whether there was any ground truth of it in what was judged.
    """

    concepts: tuple[str, ...]
    names: dict[str, frozenset[str]]
    ids: dict[str, frozenset[str]] = field(default_factory=dict)
    exhaustive: frozenset[str] | None = None
    negatives_field: str | None = None
    not_exhaustive_field: str | None = None
    skipped: Counter[str] = field(default_factory=Counter)
    seen: dict[str, bool] = field(default_factory=dict)

    @property
    def fields(self) -> list[str]:
        """The sample fields that it reads."""
        return [name for name in (self.negatives_field, self.not_exhaustive_field) if name]

    def instances(self, concept: str, truth: Sequence[fo.Detection]) -> list[int]:
        """Which of a sample's ground truth are instances of ``concept``."""
        if concept in self.ids:
            return [i for i, label in enumerate(truth) if label.id in self.ids[concept]]
        return [i for i, label in enumerate(truth) if (label.label or "").casefold() in self.names[concept]]

    def candidates(self, sample: Any, truth: Iterable[fo.Detection]) -> list[str]:
        """The concepts that can count in a sample, in order: a large vocabulary is not gone through for each.

        Args:
            sample: what holds the fields of negatives
            truth: its ground truth, of all its frames
        """
        if self.exhaustive is None or self.ids:
            return list(self.concepts)
        names = {(label.label or "").casefold() for label in truth}
        if self.negatives_field is not None:
            names |= {name.casefold() for name in names_in(sample[self.negatives_field])}
        return [
            concept for concept in self.concepts
            if concept in self.exhaustive or concept.casefold() in names or not names.isdisjoint(self.names[concept])
        ]  # fmt: skip

    def counts(self, concept: str, sample: Any, present: bool, asked: bool = True) -> bool:
        """Whether the pair is evaluated; if not, the reason is noted.

        Args:
            concept: one of ``concepts``
            sample: what holds the fields of negatives
            present: whether there is ground truth of the concept
            asked: whether the model was asked
        """
        self.seen[concept] = self.seen.get(concept, False) or present
        reason = self._reason(concept, sample, present, asked)
        if reason is not None:
            self.skipped[reason] += 1
        return reason is None

    def _reason(self, concept: str, sample: Any, present: bool, asked: bool) -> str | None:
        if not asked:
            return "the model was not asked"
        if self.not_exhaustive_field and self._listed(concept, sample[self.not_exhaustive_field]):
            return f"{self.not_exhaustive_field} lists them"
        if self.exhaustive is None or concept in self.exhaustive:
            return None
        if self.negatives_field is None:
            return "the concept is not among the exhaustive ones"
        if present or self._listed(concept, sample[self.negatives_field]):
            return None
        return f"the concept is neither labelled nor in {self.negatives_field}: whether it is there is not known"

    def _listed(self, concept: str, held: Any) -> bool:
        wanted = self.names[concept] | {concept.casefold()}
        return any(name.casefold() in wanted for name in names_in(held))

    def notes(self) -> Iterator[str]:
        """What was left out, a sentence each."""
        for reason, count in self.skipped.most_common():
            yield f"{count} pairs are left out: {reason}"
        absent = [concept for concept, seen in self.seen.items() if not seen]
        if absent:
            shown = ", ".join(repr(concept) for concept in absent[:4]) + (", …" if len(absent) > 4 else "")
            yield f"nowhere in what was evaluated: {shown}. Labelled by another name? Say gt_labels={{concept: name}}"


def make_policy(
    samples: fo.core.collections.SampleCollection,
    gt_fields: Sequence[str],
    concepts: Sequence[str],
    *,
    phrases: Mapping[str, Sequence[str]] | None = None,
    gt_labels: GroundTruthNames | None = None,
    exhaustive: bool | Iterable[str] | None = None,
    negatives_field: str | None = None,
    not_exhaustive_field: str | None = None,
) -> Policy:
    """Check and resolve what the user said.

    Args:
        samples: what is evaluated.
        gt_fields: the field of its ground truth; several of several annotators.
        concepts: what was asked.
        phrases: concept → the phrases it was asked with; ground truth of that name is its, too.
        gt_labels, exhaustive, negatives_field, not_exhaustive_field: see the top of this module.

    Raises:
        EvaluationError: unknown concepts or fields, or nothing said about absence.
    """
    if exhaustive is None and negatives_field is None and "saco" in samples._root_dataset.info:
        negatives_field = NEGATIVES  # an imported file says which phrases were asked, and which are absent
        if not_exhaustive_field is None and samples.has_field(NOT_EXHAUSTIVE):
            not_exhaustive_field = NOT_EXHAUSTIVE
    if not exhaustive and negatives_field is None:
        raise EvaluationError(
            "What does it mean that a concept is not labelled? Say exhaustive=True (everything is labelled: it is "
            "absent), exhaustive=['dog', …] (so for these concepts), or negatives_field='…' (a field that lists the "
            "concepts which people found absent)"
        )
    if isinstance(exhaustive, str):
        exhaustive = [exhaustive]
    complete = None if exhaustive is True else frozenset(exhaustive or ())
    _check_known(complete or (), concepts, "exhaustive")
    _check_known(gt_labels or (), concepts, "gt_labels")
    for name, path in (("negatives_field", negatives_field), ("not_exhaustive_field", not_exhaustive_field)):
        if path is not None and not samples.has_field(path):
            raise EvaluationError(
                f"{name}={path!r} is not a field of {samples._root_dataset.name!r}; it has "
                f"{sorted(samples.get_field_schema())}"
            )
    policy = Policy(
        tuple(concepts), {}, exhaustive=complete, negatives_field=negatives_field,
        not_exhaustive_field=not_exhaustive_field,
    )  # fmt: skip
    for concept in concepts:
        said = (gt_labels or {}).get(concept)
        if isinstance(said, ViewExpression):
            policy.ids[concept] = frozenset(
                number
                for path in gt_fields
                for number in samples.filter_labels(path, said).values(ids_path(samples, path), unwind=True)
                if number is not None
            )
            said = concept
        given = [said] if isinstance(said, str) else said
        names = given if given is not None else [concept, *(phrases or {}).get(concept, ())]
        policy.names[concept] = frozenset(name.casefold() for name in names)
    return policy


def ids_path(samples: fo.core.collections.SampleCollection, field: str) -> str:
    """Where the ids of a field's labels are, whatever kind of labels it holds."""
    return samples._get_label_field_path(field, "id")[1]


def names_in(held: Any) -> list[str]:
    """The names that a field holds: a list of strings, classifications, or a comma-separated string."""
    if held is None:
        return []
    if isinstance(held, str):
        return [name.strip() for name in held.split(",") if name.strip()]
    if isinstance(held, fo.Classification):
        return [held.label]
    if isinstance(held, fo.Classifications):
        return [one.label for one in held.classifications]
    return [str(name) for name in held]


def _check_known(said: Iterable[str], concepts: Sequence[str], name: str) -> None:
    unknown = [concept for concept in said if concept not in concepts]
    if unknown:
        raise EvaluationError(
            f"{name} names {unknown[0]!r}, which is not evaluated; evaluated are {', '.join(map(repr, concepts))}"
        )
