"""Labels that are missing, wrong, or of nothing, found by comparing them with what SAM 3 found.

No inference: the instances and the presence that the ledger holds are compared with the labels, once; what is
suspicious is written where people look for it. How it is scored: :mod:`curation.suspicion`, and
:mod:`curation.rehearsal`, which makes probabilities of the scores. Store instances down to a low confidence
(``floor=0.05`` when the model is loaded): a doubtful instance on a label is still a word for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import fiftyone as fo
import numpy as np
from fiftyone import ViewField as F
from numpy.typing import NDArray

from . import records
from .answers import Answers, check_asked, check_ledger, ledgers_of, read_answers
from .checks import check_known
from .errors import CurationError
from .instances import Instances, Layout, check_field, compare
from .rehearsal import rehearse
from .steps import run_steps
from .suspicion import Suspicion, suspect
from .truth import Said, Truth, read_truth

if __package__ == "curation":
    from evaluation.policy import Policy
    from zoo.ledger import DEFAULT
    from zoo.provenance import ledger_of
else:
    from ..evaluation.policy import Policy
    from ..zoo.ledger import DEFAULT
    from ..zoo.provenance import ledger_of

METHOD = "sam3_label_errors"
KEY = "label_errors"
KINDS = ("missing", "wrong", "extra")
#: below, a suspicion is not worth a look
LEAST = 0.3


@dataclass(frozen=True)
class LabelError:
    """One suspicion.

    Attributes:
        kind: "missing" (an instance without a label), "wrong" (a label that should be another), "extra" (a label of
            nothing).
        score: how sure, in [0, 1].
        label: what the label says, or of a missing one should say.
        should_be: of a wrong one, what the pixels are claimed by; else None.
        because: why, in words.
        sample_id, label_id, field: where: of a missing one the instance that was found, else the label.
        frame: of a video, from 1; else 0.
    """

    kind: str
    score: float
    label: str
    should_be: str | None
    because: str
    sample_id: str
    label_id: str
    field: str
    frame: int = 0


@dataclass(frozen=True)
class LabelErrors:
    """What was found.

    Attributes:
        key: its name on the dataset.
        errors: the most suspicious first.
        notes: what could not be judged, a sentence each.
    """

    key: str
    errors: tuple[LabelError, ...]
    notes: tuple[str, ...] = ()

    def of(self, kind: str) -> list[LabelError]:
        """Those of a kind."""
        check_known(kind, KINDS, "kind of label error")
        return [error for error in self.errors if error.kind == kind]

    @property
    def counts(self) -> dict[str, int]:
        """How many of each kind."""
        found = Counter(error.kind for error in self.errors)
        return {kind: found[kind] for kind in KINDS}

    def view(self, samples: fo.core.collections.SampleCollection, kind: str | None = None) -> fo.DatasetView:
        """The samples with errors of a kind, or of any; the worst first."""
        chosen = self.errors if kind is None else self.of(kind)
        ids = list(dict.fromkeys(error.sample_id for error in chosen))
        return samples.select(ids, ordered=True)

    def patches(self, samples: fo.core.collections.SampleCollection, kind: str) -> fo.DatasetView:
        """The suspicious labels themselves, one a tile; the worst first."""
        chosen = self.of(kind)
        if not chosen:
            raise CurationError(f"There are no {kind!r} label errors under {self.key!r}")
        field = chosen[0].field
        if field.startswith("frames."):
            raise CurationError(
                "These labels are in frames: use view(), or make patches of dataset.to_frames(sample_frames=True), as "
                "docs/label-errors.md shows"
            )
        if not samples.has_field(f"{field}.detections.{self.key}"):
            name = samples._root_dataset.name
            raise CurationError(
                f"Labels of {name!r} have no marks {field}.detections.{self.key}: the field is gone (renamed or "
                "deleted), or key=None. Find label errors again, with a key"
            )
        marked = samples.filter_labels(field, F(self.key) == kind)
        return marked.to_patches(field).sort_by(f"{field}.{self.key}_score", reverse=True)

    def to_pandas(self) -> Any:
        """A row an error."""
        import pandas as pd

        return pd.DataFrame([asdict(error) for error in self.errors], columns=list(LabelError.__dataclass_fields__))

    def __str__(self) -> str:
        lines = [f"{kind:8s} {count:5d}" for kind, count in self.counts.items()]
        lines += [f"  {e.score:.2f}  {e.kind:7s}  {e.because}" for e in self.errors[:5]]
        return "\n".join([*lines, *self.notes])


@dataclass(frozen=True)
class Step:
    """``done`` of ``total`` samples; ``result`` once all are, and everything is written."""

    done: int
    total: int
    result: LabelErrors | None = None


def find_label_errors(
    samples: fo.core.collections.SampleCollection, label_field: str = DEFAULT, gt_field: str = "ground_truth",
    key: str | None = KEY, *, progress: Any = None, **settings: Any,
) -> LabelErrors:  # fmt: skip
    """Find labels that are missing, wrong or extra.

    With a ``key``, samples get ``<key>_missing``, ``<key>_wrong`` and ``<key>_extra`` (the worst score of each kind, 0
    for none); suspicious labels, and instances without one, get ``<key>`` (the kind), ``<key>_score``,
    ``<key>_should_be`` and ``<key>_because``. An earlier finding of that key is replaced.

    Args:
        samples: a dataset or view of images or videos.
        label_field: what SAM 3 found; of videos, in the frames.
        gt_field: the labels under suspicion, ``Detections``.
        key: a name; None: nothing is stored.
        progress: whether to show a progress bar, or a function, as everywhere in FiftyOne.
        **settings: of :func:`label_error_steps`: ``exhaustive`` and so on.

    Raises:
        CurationError: before anything is stored, see :func:`label_error_steps`.
    """
    said = samples, label_field, gt_field, key
    return run_steps("find_label_errors", label_error_steps, said, settings, progress)


def label_error_steps(
    samples: fo.core.collections.SampleCollection, label_field: str = DEFAULT, gt_field: str = "ground_truth",
    key: str | None = KEY, *, ledger: str | None = None, concepts: Sequence[str] | None = None,
    exhaustive: Any = None, gt_labels: Any = None, negatives_field: str | None = None,
    not_exhaustive_field: str | None = None, min_score: float = LEAST, use_masks: bool = True,
) -> Iterator[Step]:  # fmt: skip
    """As :func:`find_label_errors`, reporting as it goes.

    Args:
        samples, label_field, gt_field, key: see there.
        ledger: name of the ledger. Default: the label field's.
        concepts: which to judge. Default: all that were asked.
        exhaustive, gt_labels, negatives_field, not_exhaustive_field: what labels mean, see ``evaluation.policy``.
        min_score: suspicions below are not kept.
        use_masks: compare masks, where both sides have them; else boxes.

    Yields:
        first with nothing done, once everything was checked.

    Raises:
        CurationError: no samples, no ledger, unknown fields or concepts, nothing said about what is not labelled.
    """
    dataset = samples._root_dataset
    if not ledgers_of(samples):
        check_ledger(samples, ledger or DEFAULT)
    found_in, labels_in = check_field(samples, label_field, "label_field"), check_field(samples, gt_field, "gt_field")
    check_apart(found_in, labels_in)
    if found_in.startswith("frames.") != labels_in.startswith("frames."):
        raise CurationError(f"{found_in!r} and {labels_in!r} must both be on samples, or both on frames")
    if not isinstance(min_score, (int, float)) or not 0 <= min_score <= 1:
        raise CurationError(f"min_score={min_score!r} must be a number in [0, 1]")
    if key is not None:
        marks = [f"{path}.detections.{key}{end}" for path in (found_in, labels_in) for end in _MARKS]
        records.check_key(dataset, key, METHOD, marks)
    name = ledger or ledger_name(dataset, found_in, strict=True)
    check_ledger(samples, name)
    answers = read_answers(samples, name, concepts, ())
    check_asked(samples, answers, name)
    said = Said(gt_field, exhaustive, gt_labels, negatives_field, not_exhaustive_field)
    policy = said.policy(samples, answers.concepts, name)
    truth = read_truth(samples, answers, said, name)
    for done, total, layout in compare(samples, found_in, labels_in, use_masks=use_masks):
        if layout is None:
            yield Step(done, total)
    errors, notes = judge(layout, answers, truth, policy, min_score)
    result = LabelErrors(key or "", tuple(errors), tuple(notes))
    if key is not None:
        _write(samples, result, layout, found_in, labels_in)
    yield Step(len(answers), len(answers), result)


def load_label_errors(dataset: fo.Dataset, key: str = KEY) -> LabelErrors:
    """What an earlier run found.

    Raises:
        CurationError: there was none of that key.
    """
    _, held = records.load(dataset, key, METHOD)
    return LabelErrors(key, tuple(LabelError(**row) for row in held.errors), tuple(held.notes))


def ledger_name(dataset: fo.Dataset, path: str, strict: bool = False) -> str:
    """Name of the ledger that belongs to a field of instances; the default one, if none does.

    Raises:
        CurationError: none does, and ``strict``.
    """
    bare = path.removeprefix("frames.")
    book = ledger_of(dataset, bare, frames=path.startswith("frames.")) or ledger_of(dataset, bare)
    if book is None and strict:
        raise CurationError(
            f"label_field {path!r} holds nothing that SAM 3 found: it belongs to no ledger of {dataset.name!r}, which "
            f"has {ledgers_of(dataset)}. If it does, say ledger=…"
        )
    return DEFAULT if book is None else book.name


def check_apart(found_in: str, labels_in: str) -> None:
    """Refuse to compare a field with itself."""
    if found_in == labels_in:
        raise CurationError(f"label_field and gt_field are both {found_in!r}: compare labels with something else")


def judge(
    layout: Layout, answers: Answers, truth: Truth, policy: Policy, min_score: float
) -> tuple[list[LabelError], list[str]]:
    """The errors, worst first, and notes."""
    found, labels = layout.found, layout.truth
    concept, means, unlabelled = meanings(found, labels, answers, truth, policy)
    scores = suspect(
        found, labels, layout.across, layout.among, concept, means, answers.presence, truth.complete, layout.labelled
    )
    likely = rehearse(scores, found, labels, layout.across, concept, means, answers.presence)
    ranked = [*_missing(found, scores, likely, min_score), *_on_labels(found, labels, scores, likely, min_score)]
    # probabilities have ties, at 1 most of all: there, the score before counts
    errors = [error for error, _ in sorted(ranked, key=lambda pair: (-pair[0].score, -pair[1]))]
    notes = []
    if unlabelled:
        shown = ", ".join(map(repr, unlabelled[:5])) + (", …" if len(unlabelled) > 5 else "")
        notes.append(f"No label means {shown}: not judged. Labelled by another name? Say gt_labels={{concept: name}}")
    unjudged = Counter(labels.label[~scores.judged].tolist())
    if unjudged:
        shown = ", ".join(f"{name!r}" for name, _ in unjudged.most_common(5)) + (", …" if len(unjudged) > 5 else "")
        notes.append(f"{unjudged.total()} labels are not judged, because SAM 3 was not asked for them: {shown}")
    return errors, notes


def meanings(
    found: Instances, labels: Instances, answers: Answers, truth: Truth, policy: Policy
) -> tuple[NDArray[np.int64], NDArray[np.bool_], list[str]]:
    """Column of each instance's concept (-1: no label could mean it), which concepts each label means, and the concepts
    that no label means.
    """
    means = np.zeros((len(labels), len(answers.concepts)), bool)
    names = np.array([name.casefold() for name in labels.label.tolist()], dtype=str)
    for k, concept in enumerate(answers.concepts):
        if concept in policy.ids:
            means[:, k] = np.isin(labels.ids, list(policy.ids[concept]))
        else:
            means[:, k] = np.isin(names, list(policy.names[concept]))
    known = means.any(axis=0) | truth.labelled
    column = {name: k for k, name in enumerate(answers.concepts) if known[k]}
    concept = np.array([column.get(name, -1) for name in found.label.tolist()], dtype=np.int64)
    return concept, means, [name for k, name in enumerate(answers.concepts) if not known[k]]


def _missing(
    found: Instances, scores: Suspicion, likely: Suspicion, least: float
) -> Iterator[tuple[LabelError, float]]:
    """Errors, and their scores before they became probabilities."""
    for k in np.flatnonzero((likely.missing >= least) & (scores.missing > 0)).tolist():
        name = found.label[k].item()
        because = f"{name!r} (confidence {found.confidence[k]:.2f}) has no label"
        yield _error("missing", likely.missing[k], name, None, because, found, k), float(scores.missing[k])


def _on_labels(
    found: Instances, labels: Instances, scores: Suspicion, likely: Suspicion, least: float
) -> Iterator[tuple[LabelError, float]]:
    for k in range(len(labels)):
        name, rival = labels.label[k].item(), int(scores.claimant[k])
        wrong, extra = likely.wrong[k], likely.extra[k]
        raw = scores.wrong[k], scores.extra[k]
        if rival >= 0 and wrong >= least and (wrong, raw[0]) >= (extra, raw[1]):
            other = found.label[rival].item()
            because = (
                f"labelled {name!r}, but {other!r} (confidence {found.confidence[rival]:.2f}) has these pixels, and "
                + ("nothing" if scores.support[k] < 0.05 else "little") + f" speaks for {name!r}"
            )
            yield _error("wrong", wrong, name, other, because, labels, k), float(raw[0])
        elif extra >= least and raw[1] > 0:
            found_there = "next to nothing" if scores.support[k] > 0 or rival >= 0 else "nothing"
            because = f"labelled {name!r}, but {found_there} was found there"
            yield _error("extra", extra, name, None, because, labels, k), float(raw[1])


def _error(
    kind: str, score: float, label: str, should_be: str | None, because: str, table: Instances, k: int
) -> LabelError:
    return LabelError(
        kind, round(float(score), 4), label, should_be, because, table.sample_ids[table.sample[k]].item(),
        table.ids[k].item(), table.field, int(table.frames[table.image[k]]),
    )  # fmt: skip


def _write(
    samples: fo.core.collections.SampleCollection, result: LabelErrors, layout: Layout, found_in: str, labels_in: str
) -> None:
    """Marks on samples and labels, and the record."""
    dataset, key = samples._root_dataset, result.key
    records.clear(dataset, records.written_by(dataset, key))
    kinds: dict[str, Any] = {f"{key}_{kind}": fo.FloatField for kind in KINDS}
    for path in (found_in, labels_in):
        kinds |= {f"{path}.detections.{key}{end}": kind for end, kind in _MARKS.items()}
    records.declare(dataset, kinds)
    for kind in KINDS:
        worst: dict[str, float] = dict.fromkeys(layout.found.sample_ids.tolist(), 0.0)
        for error in result.of(kind):
            worst[error.sample_id] = max(worst[error.sample_id], error.score)
        dataset.set_values(f"{key}_{kind}", worst, key_field="id")
    for path in (found_in, labels_in):
        here = {error.label_id: error for error in result.errors if error.field == path}
        if here:
            marks: Mapping[str, Any] = {"": "kind", "_score": "score", "_should_be": "should_be", "_because": "because"}
            for end, name in marks.items():
                values = {number: getattr(error, name) for number, error in here.items()}
                dataset.set_label_values(f"{path}.detections.{key}{end}", values)
    records.store(
        dataset, key, METHOD, dict(label_field=found_in, gt_field=labels_in, counts=result.counts),
        dict(errors=[asdict(error) for error in result.errors], notes=list(result.notes)), fields=kinds,
    )  # fmt: skip


_MARKS = {"": fo.StringField, "_score": fo.FloatField, "_should_be": fo.StringField, "_because": fo.StringField}
