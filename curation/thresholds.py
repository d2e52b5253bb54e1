"""From which presence on each concept counts as present, and what its presence means as a probability.

Learned from pairs about which the truth is known (ground truth, or what people verified), applied without asking the
model again: the operating points go to the ledger's record, where every query finds them; calibrated presence goes to
``<ledger>_calibrated``. What was measured stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any

import fiftyone as fo
import numpy as np
from fiftyone.core.odm import create_field
from numpy.typing import NDArray

from . import records
from .answers import Answers, check_asked, check_concepts, check_ledger, read_answers, thresholds_of
from .calibration import METHODS, Calibrator, Reliability, TooFewPairs, fit, fit_cross, reliability
from .errors import CurationError
from .operating import GOALS, OperatingPoint, operating_point
from .truth import Said, Truth, read_truth

if __package__ == "curation":
    from zoo.ledger import DEFAULT, Ledger, field_of, fits
    from zoo.provenance import note_operating_points
else:
    from ..zoo.ledger import DEFAULT, Ledger, field_of, fits
    from ..zoo.provenance import note_operating_points

METHOD = "sam3_thresholds"
#: pairs of each kind from which on a concept has a calibration of its own; with fewer, that of all concepts is steadier
OWN_CURVE = 20
#: pairs from which on more of them do not change a curve
ENOUGH = 20_000


@dataclass(frozen=True)
class ConceptThreshold:
    """What the known pairs say of one concept.

    Attributes:
        concept: which.
        point: the operating point, with its interval.
        calibrator: presence → probability; None without pairs of both kinds anywhere.
        pooled: whether it was learned from the pairs of all concepts, because this one has too few.
        before: how reliable presence is as it stands.
        after: how reliable it is calibrated, each pair by a calibration that did not see it; None if it has too few.
    """

    concept: str
    point: OperatingPoint
    calibrator: Calibrator | None
    pooled: bool
    before: Reliability
    after: Reliability | None

    def __str__(self) -> str:
        return f"{self.concept}: {self.point}"


@dataclass(frozen=True)
class Thresholds:
    """Of several concepts.

    Attributes:
        ledger: whose.
        concepts: concept → what was learned.
        method: of the calibration.
        before, after: reliability over the pairs of all concepts; ``after`` as of one concept.
    """

    ledger: str
    concepts: Mapping[str, ConceptThreshold]
    method: str
    before: Reliability
    after: Reliability | None

    @property
    def points(self) -> dict[str, float]:
        """Concept → threshold, of those with enough pairs."""
        return {name: one.point.threshold for name, one in self.concepts.items() if one.point.enough}

    def to_pandas(self) -> Any:
        """A row a concept."""
        import pandas as pd

        rows = [
            dict(concept=name, **asdict(one.point), pooled=one.pooled, ece_before=one.before.ece,
                 ece_after=math.nan if one.after is None else one.after.ece)
            for name, one in self.concepts.items()
        ]  # fmt: skip
        return pd.DataFrame(rows)

    def __str__(self) -> str:
        width = max(map(len, self.concepts), default=0)
        lines = [f"{name:{width}s}  {one.point}" for name, one in self.concepts.items()]
        after = "" if self.after is None else f", calibrated {self.after.ece:.3f} (on pairs it did not see)"
        return "\n".join([*lines, f"expected calibration error of presence {self.before.ece:.3f}{after}"])


def find_thresholds(
    samples: fo.core.collections.SampleCollection, gt_field: str | None = None, *, ledger: str = DEFAULT,
    concepts: Sequence[str] | None = None, goal: str = "f1", target: float | None = None, method: str = "platt",
    exhaustive: Any = None, gt_labels: Any = None, negatives_field: str | None = None,
    not_exhaustive_field: str | None = None, store: bool = True,
) -> Thresholds:  # fmt: skip
    """Learn thresholds and calibration from what is known about samples.

    Args:
        samples: a dataset or view of images or videos.
        gt_field: labels that say what is there. Default: only what people verified (:func:`curation.truth.verify`)
            counts; if they chose what to look at, they are no fair sample, and thresholds lean.
        ledger: name of the ledger.
        concepts: which. Default: all that were asked.
        goal: "f1": the highest F1. "precision": the lowest threshold with at least ``target`` precision.
        target: see goal; in (0, 1].
        method: "platt" or "isotonic" (which wants some hundred pairs).
        exhaustive, gt_labels, negatives_field, not_exhaustive_field: what labels mean, see ``evaluation.policy``.
        store: keep what was learned with the dataset, for :func:`apply_thresholds` and the panel.

    Raises:
        CurationError: no samples, no ledger, unknown fields or concepts, nothing known, a goal that is none.
    """
    if goal not in GOALS:
        raise CurationError(f"goal={goal!r}; want one of {list(GOALS)}")
    number = isinstance(target, (int, float)) and not isinstance(target, bool)
    if goal == "precision" and not (number and 0 < target <= 1):
        raise CurationError(f"target={target!r} must be a precision in (0, 1]: goal='precision' needs it")
    if goal != "precision" and target is not None:
        raise CurationError(f"target={target!r} is a precision: say goal='precision', or leave it out")
    if method not in METHODS:
        raise CurationError(f"method={method!r}; want one of {list(METHODS)}")
    answers, truth = known_pairs(
        samples, gt_field, ledger=ledger, concepts=concepts, exhaustive=exhaustive, gt_labels=gt_labels,
        negatives_field=negatives_field, not_exhaustive_field=not_exhaustive_field,
    )  # fmt: skip
    found = learn(answers, truth, ledger, goal, target if goal == "precision" else None, method)
    if store:
        _store(samples._root_dataset, found, dict(goal=goal, target=target, gt_field=gt_field, method_of=method))
    return found


def known_pairs(
    samples: fo.core.collections.SampleCollection, gt_field: str | None = None, *, ledger: str = DEFAULT,
    concepts: Sequence[str] | None = None, exhaustive: Any = None, gt_labels: Any = None,
    negatives_field: str | None = None, not_exhaustive_field: str | None = None,
) -> tuple[Answers, Truth]:  # fmt: skip
    """What there is to learn from: the ledger, and what is known. Arguments and errors: :func:`find_thresholds`."""
    check_ledger(samples, ledger)
    answers = read_answers(samples, ledger, concepts, ())
    check_asked(samples, answers, ledger)
    said = Said(gt_field, exhaustive, gt_labels, negatives_field, not_exhaustive_field)
    return answers, read_truth(samples, answers, said, ledger)


def learn(
    answers: Answers, truth: Truth, ledger: str, goal: str = "f1", target: float | None = None, method: str = "platt"
) -> Thresholds:
    """As :func:`find_thresholds`, from arrays."""
    pairs = {}
    for k, concept in enumerate(answers.concepts):
        rows = truth.known[:, k] & answers.asked[:, k]
        pairs[concept] = answers.presence[rows, k], truth.present[rows, k]
    scores, there = (np.concatenate(column) for column in zip(*pairs.values(), strict=True))
    few = {name for name, (_, known) in pairs.items() if min(known.sum(), (~known).sum()) < OWN_CURVE}
    pooled, unseen = _pooled(scores, there, method) if few else (None, None)
    found, start, held_out = {}, 0, []
    for concept, (some, known) in pairs.items():
        if concept in few:
            calibrator = pooled
            part = None if unseen is None else unseen[start : start + len(some)]
        else:
            calibrator, part = fit(*_thinned(some, known), method), _cross(some, known, method)
        start += len(some)
        held_out += [] if part is None else [part]
        after = None if part is None or not len(part) else reliability(part, known)
        point = operating_point(some, known, goal, target)
        before = reliability(some, known)
        found[concept] = ConceptThreshold(concept, point, calibrator, concept in few, before, after)
    whole = reliability(np.concatenate(held_out), there) if len(held_out) == len(pairs) else None
    return Thresholds(ledger, found, method, reliability(scores, there), whole)


def _pooled(
    scores: NDArray[np.float64], there: NDArray[np.bool_], method: str
) -> tuple[Calibrator | None, NDArray[np.float64] | None]:
    """A calibration for the concepts with too few pairs, and what it says of pairs that it did not see."""
    try:
        return fit(*_thinned(scores, there), method), _cross(scores, there, method)
    except TooFewPairs:
        return None, None


def _cross(scores: NDArray[np.float64], there: NDArray[np.bool_], method: str) -> NDArray[np.float64]:
    """What a calibration says of each pair that did not see it; of very many pairs, two halves teach each other."""
    if len(scores) <= ENOUGH:
        return fit_cross(scores, there, method)
    found, half = np.empty(len(scores)), np.empty(len(scores), dtype=np.int64)
    rng = np.random.default_rng(0)
    for kind in (True, False):  # dealt by kind, so that each half has both
        places = rng.permutation(np.flatnonzero(there == kind))
        half[places] = np.arange(len(places)) % 2
    for part in (0, 1):
        taught = fit(*_thinned(scores[half != part], there[half != part]), method)
        found[half == part] = taught(scores[half == part])
    return found


def _thinned(
    scores: NDArray[np.float64], there: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """At most about :data:`ENOUGH` pairs, drawn by kind: a curve of two numbers gains nothing from more."""
    if len(scores) <= ENOUGH:
        return scores, there
    rng, chosen = np.random.default_rng(0), []
    for kind in (True, False):
        places = rng.permutation(np.flatnonzero(there == kind))
        chosen.append(places[: max(ENOUGH * len(places) // len(scores), OWN_CURVE)])
    kept = np.sort(np.concatenate(chosen))
    return scores[kept], there[kept]


def apply_thresholds(
    dataset: fo.Dataset, found: Thresholds | None = None, *, ledger: str = DEFAULT
) -> dict[str, float]:
    """Put thresholds and calibration into effect, without asking the model again.

    Every query takes the operating points from now on; ``<ledger>_calibrated.<concept>`` gets the probabilities.

    Args:
        dataset: a dataset, or a view of it: thresholds belong to the whole.
        found: from :func:`find_thresholds`. Default: what it stored last.
        ledger: name of the ledger.

    Returns:
        concept → threshold, of those that changed; the others have too few pairs.

    Raises:
        CurationError: nothing was learned; no concept has enough pairs.
    """
    dataset = dataset._root_dataset
    found = load_thresholds(dataset, ledger) if found is None else found
    calibrators = {name: one.calibrator for name, one in found.concepts.items() if one.calibrator is not None}
    if not found.points and not calibrators:
        few = "; ".join(map(str, found.concepts.values()))
        raise CurationError(f"There are too few pairs to put anything into effect: {few}")
    note_operating_points(dataset, Ledger(found.ledger), found.points)
    _write_calibrated(dataset, Ledger(found.ledger), calibrators)
    return found.points


def reset_thresholds(dataset: fo.Dataset, ledger: str = DEFAULT) -> None:
    """Undo :func:`apply_thresholds`: back to the thresholds of the run, and no calibrated presence."""
    dataset = dataset._root_dataset
    book = check_ledger(dataset, ledger)
    note_operating_points(dataset, book, dict.fromkeys(thresholds_of(dataset, ledger)))
    if book.calibrated in dataset.get_field_schema():
        dataset.delete_sample_field(book.calibrated)


def set_threshold(dataset: fo.Dataset, concept: str, threshold: float | None, *, ledger: str = DEFAULT) -> None:
    """Set one concept's operating point by hand; None: back to the run's threshold.

    Raises:
        CurationError: the concept was not asked, or a number out of range.
    """
    dataset = dataset._root_dataset
    book = check_ledger(dataset, ledger)
    check_concepts(dataset, [concept], ledger)
    number = isinstance(threshold, Real) and not isinstance(threshold, bool)
    if threshold is not None and not (number and 0 <= threshold <= 1):
        raise CurationError(f"threshold={threshold!r} of {concept!r} must be a number in [0, 1]")
    note_operating_points(dataset, book, {concept: threshold})


def load_thresholds(dataset: fo.Dataset, ledger: str = DEFAULT) -> Thresholds:
    """What :func:`find_thresholds` stored last.

    Raises:
        CurationError: nothing.
    """
    _, held = records.load(dataset, key_of(ledger), METHOD)
    concepts = {}
    for row in held.concepts:
        calibrator = None if row["calibrator"] is None else Calibrator.from_dict(row["calibrator"])
        point = OperatingPoint(**{name: _number(value) for name, value in row["point"].items()})
        concepts[row["concept"]] = ConceptThreshold(
            row["concept"], point, calibrator, row["pooled"], _curve(row["before"]), _curve(row["after"])
        )
    return Thresholds(ledger, concepts, held.method_of, _curve(held.before), _curve(held.after))


def key_of(ledger: str = DEFAULT) -> str:
    """Under which name they are stored."""
    return f"{ledger}_thresholds"


def _store(dataset: fo.Dataset, found: Thresholds, config: Mapping[str, Any]) -> None:
    rows = [
        dict(
            concept=name, point={k: _plain(v) for k, v in asdict(one.point).items()}, pooled=one.pooled,
            calibrator=None if one.calibrator is None else one.calibrator.to_dict(),
            before=_rows(one.before), after=_rows(one.after),
        )
        for name, one in found.concepts.items()
    ]  # fmt: skip
    results = dict(concepts=rows, method_of=found.method, before=_rows(found.before), after=_rows(found.after))
    records.check_key(dataset, key_of(found.ledger), METHOD)
    records.store(dataset, key_of(found.ledger), METHOD, config, results)


def _write_calibrated(dataset: fo.Dataset, book: Ledger, calibrators: Mapping[str, Calibrator]) -> None:
    names = [field_of(concept) for concept in calibrators]
    schema = dataset.get_field_schema(flat=True)
    known = names if fits(schema, book.calibrated, names) else ()  # of a wide ledger, no sliders
    new = [create_field(name, fo.FloatField) for name in known if f"{book.calibrated}.{name}" not in schema]
    if new or book.calibrated not in schema:
        dataset.add_sample_field(
            book.calibrated, fo.EmbeddedDocumentField, embedded_doc_type=fo.DynamicEmbeddedDocument, fields=new
        )
    answers = read_answers(dataset, book.name, calibrators, ())
    if dataset.exists(book.calibrated).count() == 0:  # a value cannot be set within a document that is not there
        dataset.set_values(book.calibrated, [fo.DynamicEmbeddedDocument() for _ in range(len(answers))])
    for k, (concept, calibrator) in enumerate(calibrators.items()):
        asked = answers.asked[:, k]
        values = dict(zip(answers.ids[asked].tolist(), calibrator(answers.presence[asked, k]).tolist(), strict=True))
        if values:
            dataset.set_values(book.path("calibrated", concept), values, key_field="id")


def _rows(curve: Reliability | None) -> dict[str, Any] | None:
    if curve is None:
        return None
    arrays = ((name, np.asarray(value)) for name, value in asdict(curve).items())
    return {name: [_plain(v) for v in array.tolist()] if array.ndim else _plain(array.item()) for name, array in arrays}


def _curve(row: Mapping[str, Any] | None) -> Reliability | None:
    if row is None:
        return None
    made = {
        name: np.array([_number(v) for v in value], dtype=np.int64 if name == "counts" else np.float64)
        if isinstance(value, list) else _number(value)
        for name, value in row.items()
    }  # fmt: skip
    return Reliability(**made)


def _plain(value: Any) -> Any:
    """JSON has no nan."""
    return "nan" if isinstance(value, float) and math.isnan(value) else value


def _number(value: Any) -> Any:
    return math.nan if value == "nan" else value
