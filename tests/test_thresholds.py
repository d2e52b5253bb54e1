"""Operating points and calibration of a dataset: learned from known pairs, kept, put into effect, and taken back.

Nobody looks at the images: samples have presences, and labels that say what is there.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from uuid import uuid4

import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F
from scipy.special import expit, logit
from sklearn.metrics import f1_score

from curation import records
from curation.answers import Answers, read_answers, thresholds_of
from curation.calibration import expected_calibration_error
from curation.errors import CurationError
from curation.records import delete_findings, findings
from curation.thresholds import (
    METHOD,
    OWN_CURVE,
    Thresholds,
    apply_thresholds,
    find_thresholds,
    key_of,
    learn,
    load_thresholds,
    reset_thresholds,
    set_threshold,
)
from curation.truth import Truth, verify
from zoo.engine.concepts import parse_concepts
from zoo.engine.results import ConceptResult
from zoo.ledger import Ledger, write
from zoo.provenance import run_info, start_run

#: (presence, whether it is there) of ten pairs: a gap from 0.2 to 0.4 parts them
PARTED = [
    (0.4, True), (0.5, True), (0.6, True), (0.7, True), (0.8, True),
    (0.0, False), (0.05, False), (0.1, False), (0.15, False), (0.2, False),
]  # fmt: skip
#: two on the wrong side, of 24
NOISY = (
    [(0.6 + k / 40, True) for k in range(11)] + [(0.2, True)] + [(0.05 + k / 40, False) for k in range(11)]
    + [(0.75, False)]
)  # fmt: skip
FEW = [(0.9, True)] * 4 + [(0.1, False)] * 20
TRUTH = dict(gt_field="truth", exhaustive=True)

Pair = tuple["float | None", "bool | None"]


def learned(
    goal: str = "f1", target: float | None = None, method: str = "platt", **pairs: Sequence[Pair]
) -> Thresholds:
    """From literal pairs; concepts may have different numbers of them."""
    size = max(map(len, pairs.values()))
    full = {name: [*held, *[(None, None)] * (size - len(held))] for name, held in pairs.items()}
    presence = np.array([[level for level, _ in held] for held in full.values()], dtype=np.float64).T
    there = np.array([[known for _, known in held] for held in full.values()], dtype=np.float64).T
    known = ~np.isnan(there)
    ids = np.array([f"row {k}" for k in range(size)])
    answers = Answers(ids, tuple(pairs), presence, presence, presence, dict.fromkeys(pairs, 0.5))
    truth = Truth(there == 1, known, known, np.zeros_like(known), (there == 1).any(axis=0))
    return learn(answers, truth, "sam3", goal, target, method)


def fill(dataset: fo.Dataset, ledger: str = "sam3", **pairs: Sequence[Pair]) -> fo.Dataset:
    """Samples with a ledger and with labels: concept → (presence, whether it is there) in each sample.

    A presence of None: it was not asked; not known to be there: its samples have no ground truth at all.
    """
    samples, book = [], Ledger(ledger)
    for row in zip(*pairs.values(), strict=True):
        held = dict(zip(pairs, row, strict=True))
        there = [fo.Classification(label=name) for name, (_, known) in held.items() if known]
        blank = any(known is None for _, known in held.values())
        one = fo.Sample(
            filepath=f"/nowhere/{uuid4()}.png", truth=None if blank else fo.Classifications(classifications=there)
        )
        levels = {name: level for name, (level, _) in held.items() if level is not None}
        write(one, book, [ConceptResult(name, level, level, (), 0, 0.5) for name, level in levels.items()])
        samples.append(one)
    dataset.add_samples(samples, dynamic=True, progress=False)
    start_run(dataset, book, parse_concepts(list(pairs)), {})
    return dataset


def world(size: int, seed: int = 0) -> list[Pair]:
    """Presences that are far too sure of themselves."""
    rng = np.random.default_rng(seed)
    chance = rng.beta(1, 1, size).clip(0.02, 0.98)
    return list(zip(expit(4 * logit(chance) - 2).tolist(), (rng.random(size) < chance).tolist(), strict=True))


def same(one: object, other: object) -> None:
    np.testing.assert_equal(dataclasses.asdict(one), dataclasses.asdict(other))


def points(dataset: fo.Dataset) -> dict[str, float]:
    return dict(run_info(dataset).get("operating_points") or {})


def calibrated(dataset: fo.Dataset, concept: str) -> np.ndarray:
    return np.array(dataset.values(Ledger().path("calibrated", concept)), dtype=np.float64)


@pytest.fixture
def pets(new_dataset) -> fo.Dataset:
    """Dogs are parted; of cats, too few are known."""
    cats = [(0.3, True), *[(0.1, False)] * 8, (None, False)]
    return fill(new_dataset(), dog=PARTED, cat=cats)


# --- what is learned ---


def test_parted_pairs():
    found = learned(dog=PARTED).concepts["dog"]
    point = found.point
    assert point.threshold == pytest.approx(0.3) and point.enough
    assert (point.precision, point.recall, point.f1, point.best) == (1, 1, 1, 1)
    assert (point.positives, point.negatives) == (5, 5) and point.low <= 0.3 <= point.high
    assert str(found).startswith("dog: 0.3") and "F1 1.00" in str(found)


def test_noisy_pairs():
    point = learned(dog=NOISY).concepts["dog"].point
    presence, there = (np.array(column) for column in zip(*NOISY, strict=True))
    best = max(f1_score(there, presence >= level) for level in presence)
    assert point.enough and point.f1 == pytest.approx(best) == pytest.approx(11 / 12)
    assert f1_score(there, presence >= point.threshold) == pytest.approx(best)
    assert point.low < point.high and point.low <= point.threshold <= point.high and point.more > 0


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        (FEW, "too few: present in 4 and absent in 20 reviewed images, want 5 of each; review 1 more"),
        ([(0.9, True)] * 9, "too few: present in 9 and absent in 0 reviewed images"),
        ([(0.9, None)] * 9, "too few: present in 0 and absent in 0 reviewed images"),
        ([(None, True)] * 9, "too few: present in 0 and absent in 0 reviewed images"),
        ([((k * 7 % 20) / 20, k % 2 == 0) for k in range(20)], "too wide to name one; review"),
    ],
)
def test_where_too_little_is_known_there_is_a_sentence_and_no_number(pairs, sentence):
    found = learned(dog=pairs)
    point = found.concepts["dog"].point
    assert not point.enough and math.isnan(point.threshold) and math.isnan(point.f1)
    assert sentence in str(point) and sentence in str(found) and found.points == {}


def test_an_interval_that_is_too_wide_is_given():
    point = learned(dog=[((k * 7 % 20) / 20, k % 2 == 0) for k in range(20)]).concepts["dog"].point
    assert 0 <= point.low < point.high <= 1 and f"{point.low:.2f} … {point.high:.2f}" in str(point)


def test_only_pairs_that_are_known_and_asked_count():
    point = learned(dog=[*PARTED, (0.9, None), (0.1, None), (None, True), (None, False)]).concepts["dog"].point
    same(point, learned(dog=PARTED).concepts["dog"].point)


@pytest.mark.parametrize(
    ("target", "threshold", "precision"),
    [(1.0, 0.8, 1.0), (0.9, 0.8, 1.0), (0.8, 0.6, 8 / 9), (0.76, 0.3, 10 / 13), (0.25, 0.05, 10 / 32)],
)
def test_the_lowest_threshold_with_a_precision(target, threshold, precision):
    """From the top: 6 that are there, one of three that is not, two of four, and nothing else."""
    pairs = [(0.9, True)] * 6 + [(0.7, True), (0.7, False), (0.7, True)] + [(0.5, True), (0.5, False)] * 2
    point = learned("precision", target, dog=[*pairs, *[(0.1, False)] * 19]).concepts["dog"].point
    assert point.enough and (point.threshold, point.precision) == (pytest.approx(threshold), pytest.approx(precision))
    assert (point.goal, point.target) == ("precision", target) and f"precision {point.precision:.2f}" in str(point)


def test_a_precision_that_no_threshold_reaches():
    pairs = [(0.95, False), (0.95, True)] * 6 + [(0.1, False)] * 6
    found = learned("precision", 0.9, dog=pairs, cat=PARTED)
    point = found.concepts["dog"].point
    assert not point.enough and math.isnan(point.threshold) and point.best == 0.5
    assert str(point) == "no threshold reaches precision 0.9; the best reaches 0.50"
    assert found.points.keys() == {"cat"}


# --- calibration ---


def test_a_concept_with_few_pairs_shares_the_curve_of_all():
    found = learned(dog=NOISY, cat=FEW, bird=[(0.5, None)])
    curves = {one.calibrator for one in found.concepts.values()}
    assert len(curves) == 1 and all(one.pooled for one in found.concepts.values())
    (curve,) = curves
    assert (curve.positives, curve.negatives) == (16, 32)
    assert found.concepts["bird"].after is None and math.isnan(found.concepts["bird"].before.ece)


@pytest.mark.parametrize(("positives", "pooled"), [(OWN_CURVE - 1, True), (OWN_CURVE, False)])
def test_with_enough_pairs_a_concept_has_its_own_curve(positives, pooled):
    pairs = [(0.9, True)] * positives + [(0.2, False)] * OWN_CURVE
    found = learned(dog=pairs, cat=PARTED)
    assert found.concepts["dog"].pooled == pooled and found.concepts["cat"].pooled
    counted = found.concepts["dog"].calibrator
    assert (counted.positives, counted.negatives) == ((positives + 5, 25) if pooled else (20, 20))


@pytest.mark.parametrize("pairs", [[(0.9, True)] * 9, [(0.1, False)] * 9, [(0.5, None)]])
def test_of_one_kind_alone_no_curve_can_be_learned(pairs):
    found = learned(dog=pairs)
    assert found.concepts["dog"].calibrator is None and found.after is None and found.concepts["dog"].after is None
    assert "calibrated" not in str(found)


@pytest.mark.parametrize("period", [2, 50, 1000])
def test_of_very_many_pairs_both_kinds_are_learned_from(period):
    """However they take turns, and however rare one kind is: here, every second, 50th or 1000th pair is there."""
    pairs = [(0.9, True) if k % period == period - 1 else (0.2, False) for k in range(60_000)]
    found = learned(dog=pairs).concepts["dog"]
    assert found.calibrator(np.array([0.9]))[0] > 0.9 and found.calibrator(np.array([0.2]))[0] < 0.1
    assert found.after.ece < 0.05


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_calibration_is_judged_on_pairs_that_it_did_not_see(method):
    found = learned(method=method, dog=world(300), cat=world(30, seed=1))
    assert found.method == method == found.concepts["dog"].calibrator.method
    assert found.after.ece < found.before.ece and found.after.counts.sum() == found.before.counts.sum() == 330
    assert found.concepts["dog"].after.ece > 0.001  # the pairs it saw, an isotonic curve would fit to the letter
    before, after = found.before.ece, found.after.ece
    assert str(found).endswith(f"of presence {before:.3f}, calibrated {after:.3f} (on pairs it did not see)")


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_learned_on_one_half_it_mends_the_other(new_dataset, method):
    pairs = world(400)
    dataset = fill(new_dataset(), dog=pairs)
    found = find_thresholds(dataset.limit(200), method=method, **TRUTH)
    assert sum((found.concepts["dog"].point.positives, found.concepts["dog"].point.negatives)) == 200
    apply_thresholds(dataset)
    presence, there = (np.array(column) for column in zip(*pairs[200:], strict=True))
    after = calibrated(dataset, "dog")
    assert np.isfinite(after).all()
    raw, mended = (expected_calibration_error(values, there) for values in (presence, after[200:]))
    assert raw > 0.15 and mended < 0.6 * raw


# --- on a dataset ---


def test_found_on_a_dataset(pets):
    before = thresholds_of(pets)
    found = find_thresholds(pets, **TRUTH)
    assert found.points == {"dog": pytest.approx(0.3)} and found.ledger == "sam3"
    cat = found.concepts["cat"].point
    assert (cat.positives, cat.negatives) == (1, 8)  # of one sample, it was not asked
    assert thresholds_of(pets) == before == {"dog": 0.5, "cat": 0.5}  # nothing is in effect yet
    assert pets.list_runs() == ["sam3", "sam3_thresholds"] and findings(pets, METHOD) == [key_of()]
    lines = str(found).splitlines()
    assert lines[0].startswith("dog  0.3") and lines[1].startswith("cat  too few: present in 1 and absent in 8")


def test_a_table(pets):
    table = find_thresholds(pets, store=False, **TRUTH).to_pandas().set_index("concept")
    assert list(table.index) == ["dog", "cat"] and table.pooled.all()
    assert table.threshold["dog"] == pytest.approx(0.3) and math.isnan(table.threshold["cat"])
    assert table.ece_before.notna().all() and table.ece_after.notna().all()


@pytest.mark.parametrize("settings", [{}, dict(method="isotonic"), dict(goal="precision", target=0.9)])
def test_loaded_as_it_was_found(new_dataset, settings):
    dataset = fill(new_dataset(), dog=world(60), cat=[*PARTED, *[(0.5, False)] * 50], bird=[(0.5, False)] * 60)
    found = find_thresholds(dataset, **settings, **TRUTH)
    loaded = fo.load_dataset(dataset.name)
    loaded.clear_cache()
    same(load_thresholds(loaded), found)
    assert load_thresholds(loaded).points == found.points and str(load_thresholds(loaded)) == str(found)
    again = find_thresholds(dataset, concepts=["bird"], **TRUTH)
    same(load_thresholds(dataset), again)
    assert again.concepts.keys() == {"bird"} and dataset.list_runs() == ["sam3", "sam3_thresholds"]


def test_nothing_is_stored_unless_wanted(pets):
    before = set(pets.get_field_schema(flat=True))
    find_thresholds(pets, store=False, **TRUTH)
    assert pets.list_runs() == ["sam3"] and set(pets.get_field_schema(flat=True)) == before
    with pytest.raises(CurationError, match="has no thresholds 'sam3_thresholds'"):
        load_thresholds(pets)
    with pytest.raises(CurationError, match="has no thresholds 'sam3_thresholds'"):
        apply_thresholds(pets)


def test_what_was_learned_can_be_deleted(pets):
    find_thresholds(pets, **TRUTH)
    delete_findings(pets, key_of())
    assert pets.list_runs() == ["sam3"]


def test_what_people_verified_is_enough(pets):
    levels = np.array(pets.values("sam3_presence.dog"))
    ids = np.array(pets.values("id"))
    verify(pets.select(ids[levels >= 0.6].tolist()), "dog", True)
    verify(pets.select(ids[levels < 0.6].tolist()), "dog", False)
    with pytest.raises(CurationError, match="'bird' was not asked"):
        find_thresholds(pets, concepts=["bird"])
    point = find_thresholds(pets).concepts["dog"].point
    assert (point.positives, point.negatives) == (3, 7)
    verify(pets.select(ids[levels == 0.5].tolist()), "dog", True)
    verify(pets.select(ids[levels == 0.4].tolist()), "dog", True)
    same(find_thresholds(pets).concepts["dog"].point, find_thresholds(pets, **TRUTH).concepts["dog"].point)


def test_what_people_verified_goes_before_labels(pets):
    assert find_thresholds(pets, **TRUTH).concepts["dog"].point.f1 == 1
    verify(pets.match(F("sam3_presence.dog") == 0.8), "dog", False)
    point = find_thresholds(pets, **TRUTH).concepts["dog"].point
    assert (point.positives, point.negatives) == (4, 6) and not point.enough


def test_what_is_not_known_to_be_absent_is_no_negative(pets):
    pets.set_values("absent", [["cat"]] * 2 + [[]] * 8)
    found = find_thresholds(pets, "truth", negatives_field="absent")
    dog, cat = (found.concepts[name].point for name in ("dog", "cat"))
    assert (dog.positives, dog.negatives, cat.positives, cat.negatives) == (5, 0, 1, 1)
    some = find_thresholds(pets, "truth", exhaustive=["dog"])
    assert some.points.keys() == {"dog"} and some.concepts["cat"].point.negatives == 0


def test_samples_without_ground_truth_do_not_count(new_dataset):
    dataset = fill(new_dataset(), dog=[*PARTED, (0.9, None), (0.2, None)])
    point = find_thresholds(dataset, **TRUTH).concepts["dog"].point
    assert (point.positives, point.negatives) == (5, 5)


def test_labels_of_another_name(pets):
    found = find_thresholds(pets, gt_labels={"cat": ["dog"]}, concepts=["cat"], **TRUTH)
    assert found.concepts["cat"].point.positives == 5


# --- put into effect ---


def test_applied(pets):
    find_thresholds(pets, **TRUTH)
    assert apply_thresholds(pets) == {"dog": pytest.approx(0.3)} == points(pets)
    assert thresholds_of(pets) == {"dog": pytest.approx(0.3), "cat": 0.5}
    assert read_answers(pets).present[:, 0].tolist() == [True] * 5 + [False] * 5
    assert pets.values("sam3_presence.dog") == [level for level, _ in PARTED]  # what was measured stays


def test_calibrated_presence(pets):
    found = find_thresholds(pets, **TRUTH)
    apply_thresholds(pets)
    dog, cat = calibrated(pets, "dog"), calibrated(pets, "cat")
    presence = np.array(pets.values("sam3_presence.dog"))
    assert dog == pytest.approx(found.concepts["dog"].calibrator(presence)) and ((0 <= dog) & (dog <= 1)).all()
    assert (np.diff(dog[np.argsort(presence)]) > 0).all() and dog[:5].min() > dog[5:].max()
    assert np.isnan(cat).tolist() == [False] * 9 + [True]  # it was not asked
    assert pets.count("sam3_calibrated.cat") == 9
    assert isinstance(pets.get_field("sam3_calibrated.dog"), fo.FloatField)
    assert len(pets.match(F("sam3_calibrated.dog") >= 0.5)) == sum(dog >= 0.5) > 0


def test_what_was_found_may_be_applied_without_being_stored(pets):
    found = find_thresholds(pets, store=False, **TRUTH)
    assert apply_thresholds(pets, found) == found.points and points(pets) == found.points


def test_learned_from_a_view_applied_to_the_whole(pets):
    with_cats = find_thresholds(pets.limit(7), **TRUTH)
    assert with_cats.points == {}
    find_thresholds(pets, concepts=["dog"], **TRUTH)
    apply_thresholds(pets.limit(1))
    assert np.isfinite(calibrated(pets, "dog")).all() and points(pets).keys() == {"dog"}


def test_applied_again_it_replaces(pets):
    find_thresholds(pets, **TRUTH)
    apply_thresholds(pets)
    before = calibrated(pets, "dog")
    verify(pets.match(F("sam3_presence.dog") == 0.2), "dog", True)
    verify(pets.match(F("sam3_presence.dog") == 0.4), "dog", False)
    verify(pets.match(F("sam3_presence.dog") == 0.5), "dog", False)
    found = find_thresholds(pets, method="isotonic", **TRUTH)
    apply_thresholds(pets)
    after = calibrated(pets, "dog")
    assert not np.allclose(before, after)
    assert after == pytest.approx(found.concepts["dog"].calibrator(np.array(pets.values("sam3_presence.dog"))))


def test_one_concept_after_the_other(new_dataset):
    """What is applied to cats takes nothing from the dogs."""
    dataset = fill(new_dataset(), dog=PARTED, cat=PARTED[::-1])
    for concept in ("dog", "cat"):
        apply_thresholds(dataset, find_thresholds(dataset, concepts=[concept], **TRUTH))
    assert points(dataset) == {"dog": pytest.approx(0.3), "cat": pytest.approx(0.3)}
    assert np.isfinite(calibrated(dataset, "cat")).all()
    assert np.isfinite(calibrated(dataset, "dog")).all()


def test_concepts_that_no_field_can_be_named_after(new_dataset):
    dataset = fill(new_dataset(), **{"St. Bernard": PARTED, "$ bill": PARTED})
    found = find_thresholds(dataset, **TRUTH)
    same(load_thresholds(dataset), found)
    apply_thresholds(dataset)
    assert thresholds_of(dataset) == {"St. Bernard": pytest.approx(0.3), "$ bill": pytest.approx(0.3)}
    assert np.isfinite(calibrated(dataset, "St. Bernard")).all()


def test_two_ledgers(pets, new_dataset):
    dataset = fill(new_dataset(), "other", dog=PARTED)
    find_thresholds(dataset, ledger="other", **TRUTH)
    assert apply_thresholds(dataset, ledger="other").keys() == {"dog"}
    assert thresholds_of(dataset, "other") == {"dog": pytest.approx(0.3)}
    assert dataset.count("other_calibrated.dog") == 10 and dataset.list_runs() == ["other", "other_thresholds"]
    reset_thresholds(dataset, "other")
    assert thresholds_of(dataset, "other") == {"dog": 0.5}


def test_where_nothing_can_be_learned_nothing_is_applied(new_dataset):
    dataset = fill(new_dataset(), dog=[(0.9, True)] * 3)
    find_thresholds(dataset, **TRUTH)
    before = set(dataset.get_field_schema(flat=True))
    with pytest.raises(CurationError, match="too few pairs to put anything into effect: dog: too few: present in 3"):
        apply_thresholds(dataset)
    assert set(dataset.get_field_schema(flat=True)) == before and points(dataset) == {}


# --- and taken back ---


def test_reset(pets):
    before = set(pets.get_field_schema(flat=True))
    find_thresholds(pets, **TRUTH)
    apply_thresholds(pets)
    set_threshold(pets, "cat", 0.25)
    reset_thresholds(pets.limit(1))
    assert points(pets) == {} and thresholds_of(pets) == {"dog": 0.5, "cat": 0.5}
    assert set(pets.get_field_schema(flat=True)) == before
    assert load_thresholds(pets).points.keys() == {"dog"}  # what was learned stays
    reset_thresholds(pets)  # there is nothing to undo, and that is no error
    assert apply_thresholds(pets).keys() == {"dog"} and np.isfinite(calibrated(pets, "dog")).all()


def test_the_threshold_of_the_run_comes_back(pets):
    start_run(pets, Ledger(), parse_concepts(["dog", "cat"], {"dog": 0.7}), {"confidence_thresh": 0.4})
    assert thresholds_of(pets) == {"dog": 0.7, "cat": 0.4}
    find_thresholds(pets, **TRUTH)
    apply_thresholds(pets)
    assert thresholds_of(pets) == {"dog": pytest.approx(0.3), "cat": 0.4}
    reset_thresholds(pets)
    assert thresholds_of(pets) == {"dog": 0.7, "cat": 0.4}


@pytest.mark.parametrize("level", [0, 0.0, 0.25, 1])
def test_set_by_hand(pets, level):
    set_threshold(pets, "dog", level)
    assert thresholds_of(pets) == {"dog": level, "cat": 0.5}
    assert read_answers(pets).present[:, 0].sum() == sum(presence >= level for presence, _ in PARTED)
    set_threshold(pets.limit(1), "dog", None)
    assert thresholds_of(pets) == {"dog": 0.5, "cat": 0.5}


def test_asked_again_a_concept_loses_its_threshold(pets):
    set_threshold(pets, "dog", 0.2)
    set_threshold(pets, "cat", 0.3)
    start_run(pets, Ledger(), parse_concepts(["dog", "bird"]), {})
    assert thresholds_of(pets) == {"dog": 0.5, "cat": 0.3, "bird": 0.5} and points(pets) == {"cat": 0.3}


# --- what is refused ---


@pytest.fixture(scope="module")
def untouched() -> Iterator[fo.Dataset]:
    """One for all refusals: none of them may change it."""
    dataset = fo.Dataset(f"test-{uuid4().hex[:8]}", persistent=True)
    yield fill(dataset, dog=PARTED)
    dataset.delete()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(goal="recall"), r"goal='recall'; want one of \['f1', 'precision'\]"),
        (dict(goal="precision"), r"target=None must be a precision in \(0, 1\]: goal='precision' needs it"),
        (dict(goal="precision", target=0), "target=0 must be a precision"),
        (dict(goal="precision", target=1.1), "target=1.1 must be a precision"),
        (dict(goal="precision", target=True), "target=True must be a precision"),
        (dict(goal="precision", target="high"), "target='high' must be a precision"),
        (dict(method="beta"), r"method='beta'; want one of \['platt', 'isotonic'\]"),
        (dict(gt_field=None, exhaustive=None), "Nothing is known about these samples: say gt_field='…'"),
        (dict(gt_field="none"), "gt_field 'none' is not a field"),
        (dict(gt_field="filepath"), "gt_field 'filepath' holds StringField; labels are needed"),
        (dict(exhaustive=None), "What does it mean that a concept is not labelled"),
        (dict(exhaustive=["dogs"]), "exhaustive names 'dogs'"),
        (dict(gt_labels={"cat": "x"}), "gt_labels names 'cat'"),
        (dict(negatives_field="none"), "negatives_field='none' is not a field"),
        (dict(concepts=["dogs"]), "'dogs' was not asked of this dataset; the nearest that were: 'dog'"),
        (dict(concepts=[]), "No concepts were named"),
        (dict(concepts=5), "concepts: 5 is no word"),
        (dict(goal="f1", target=0.9), "target=0.9 is a precision: say goal='precision', or leave it out"),
        (dict(gt_field=None), "exhaustive=True needs gt_field: it says what labels mean. Say gt_field='ground_truth'"),
        (dict(ledger="other"), "has no concept ledger 'other'; there is 'sam3'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_stored(untouched, settings, message):
    before = set(untouched.get_field_schema(flat=True))
    with pytest.raises(CurationError, match=message):
        find_thresholds(untouched, **TRUTH | settings)
    assert set(untouched.get_field_schema(flat=True)) == before and untouched.list_runs() == ["sam3"]


@pytest.mark.parametrize(
    ("concept", "level", "message"),
    [
        ("dog", 1.5, r"threshold=1.5 of 'dog' must be a number in \[0, 1\]"),
        ("dog", -0.1, "threshold=-0.1 of 'dog'"),
        ("dog", math.nan, "threshold=nan of 'dog'"),
        ("dogs", 0.5, "'dogs' was not asked of this dataset"),
    ],
)
def test_a_threshold_that_is_none(untouched, concept, level, message):
    with pytest.raises(CurationError, match=message):
        set_threshold(untouched, concept, level)
    assert points(untouched) == {}


def test_what_to_run_first(untouched):
    for call in (load_thresholds, apply_thresholds, lambda d: load_thresholds(d.limit(1))):
        with pytest.raises(CurationError, match=r"has no thresholds 'sam3_thresholds'; run find_thresholds\(\) first"):
            call(untouched)
    for method in ("confusions", "label_errors", "hard_negatives"):
        with pytest.raises(CurationError, match=rf"has no {method} 'x'; run find_{method}\(\) first"):
            records.load(untouched, "x", f"sam3_{method}")
    with pytest.raises(CurationError, match="has no findings 'x'; nothing was found there yet"):
        delete_findings(untouched, "x")


def test_findings_that_there_are_are_named(pets):
    find_thresholds(pets, **TRUTH)
    with pytest.raises(CurationError, match="has no findings 'thresholds'; it has 'sam3_thresholds'"):
        delete_findings(pets, "thresholds")


def test_samples_that_nobody_asked(pets):
    pets.add_sample(fo.Sample(filepath="/nowhere/new.png", ground_truth=fo.Classifications(classifications=[])))
    with pytest.raises(CurationError, match="SAM 3 was not asked about .* in any of these 1 samples"):
        find_thresholds(pets.select(pets.last().id), **TRUTH)
    assert pets.list_runs() == ["sam3"]


def test_without_samples_or_a_ledger(untouched, new_dataset):
    with pytest.raises(CurationError, match="There is nothing to look at: no samples"):
        find_thresholds(untouched.limit(0), **TRUTH)
    bare = new_dataset([fo.Sample(filepath="/nowhere/bare.png")])
    for call in (find_thresholds, reset_thresholds, lambda dataset: set_threshold(dataset, "dog", 0.5)):
        with pytest.raises(CurationError, match="has no concept ledger 'sam3': ask SAM 3 first"):
            call(bare)


def test_a_key_that_is_taken(pets):
    pets.add_sample_field("sam3_thresholds", fo.StringField)
    with pytest.raises(CurationError, match="key='sam3_thresholds' would write beside the field 'sam3_thresholds'"):
        find_thresholds(pets, **TRUTH)
    assert pets.list_runs() == ["sam3"]
