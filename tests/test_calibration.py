"""Calibration: against scikit-learn, a known truth, and what must hold for any scores."""

from __future__ import annotations

import json
import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.calibration import calibration_curve
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from curation.calibration import (
    METHODS,
    Calibrator,
    TooFewPairs,
    expected_calibration_error,
    fit,
    fit_cross,
    reliability,
)

score = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5 + 1e-15, 0.9, 1.0]))
reviewed = st.lists(st.tuples(score, st.booleans()), max_size=40).map(
    lambda pairs: ([score for score, _ in pairs], [there for _, there in pairs])
)
both_kinds = reviewed.filter(lambda pairs: any(pairs[1]) and not all(pairs[1]))
method = st.sampled_from(METHODS)


def world(pairs: int, slope: float = 2.0, intercept: float = 1.0, seed: int = 0):
    """Scores, and truth that is as probable as ``slope`` and ``intercept`` make of their logits."""
    rng = np.random.default_rng(seed)
    scores = rng.beta(0.6, 0.8, pairs).clip(1e-5, 1 - 1e-5)
    return scores, rng.random(pairs) < expit(slope * logit(scores) + intercept)


@given(both_kinds, method, st.lists(score, max_size=20))
def test_a_probability_that_never_falls(pairs, method, others) -> None:
    calibrator = fit(*pairs, method)
    found = calibrator(sorted(others + pairs[0]))
    assert found.dtype == np.float64 and found.shape == (len(others) + len(pairs[0]),)
    assert (found >= 0).all() and (found <= 1).all()
    assert (np.diff(found) >= -1e-8).all()


@given(both_kinds, method)
def test_through_json_and_back(pairs, method) -> None:
    calibrator = fit(*pairs, method)
    again = Calibrator.from_dict(json.loads(json.dumps(calibrator.to_dict(), allow_nan=False)))
    assert again == calibrator
    assert np.array_equal(again(pairs[0]), calibrator(pairs[0]))


@given(both_kinds, method, st.randoms())
def test_the_order_of_the_pairs_does_not_matter(pairs, method, random) -> None:
    mixed = list(zip(*pairs, strict=True))
    random.shuffle(mixed)
    scores, truth = zip(*mixed, strict=True)
    assert fit(scores, truth, method)(pairs[0]) == pytest.approx(fit(*pairs, method)(pairs[0]), abs=1e-4)
    assert expected_calibration_error(scores, truth) == pytest.approx(expected_calibration_error(*pairs), abs=1e-9)


@given(both_kinds)
def test_no_curve_of_two_numbers_is_better_than_platt(pairs) -> None:
    scores, there = np.array(pairs[0]), np.array(pairs[1])
    positives, negatives = there.sum(), (~there).sum()
    target = np.where(there, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    x = logit(scores.clip(1e-6, 1 - 1e-6))
    calibrator = fit(scores, there)

    def loss(slope, intercept):
        line = slope * x + intercept
        return (np.logaddexp(0, line) - target * line).mean()

    slope, intercept = calibrator.x[0], calibrator.y[0]
    least = loss(slope, intercept)
    for factor, shift in ((0.98, 0), (1.02, 0), (1, -0.02), (1, 0.02), (0, 0)):
        # turned about the middle of the scores, where the two numbers do not make up for each other
        turned = intercept + slope * (1 - factor) * x.mean() + shift
        assert loss(slope * factor, turned) >= least - 1e-9


def test_platt_as_scikit_learn_fits_it() -> None:
    scores, there = world(200)
    positives, negatives = there.sum(), (~there).sum()
    target = np.where(there, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    # a soft target is a pair of each kind, weighted
    x = np.tile(logit(scores), 2)[:, None]
    model = LogisticRegression(C=1e12, solver="newton-cholesky", tol=1e-10)
    model.fit(x, np.repeat([1, 0], scores.size), sample_weight=np.concatenate([target, 1 - target]))
    calibrator = fit(scores, there)
    assert calibrator.x[0] == pytest.approx(model.coef_[0, 0], rel=1e-4)
    assert calibrator.y[0] == pytest.approx(model.intercept_[0], rel=1e-4)
    assert (calibrator.positives, calibrator.negatives) == (positives, negatives)


def test_isotonic_as_scikit_learn_applies_it() -> None:
    scores, there = world(300)
    asked = np.linspace(0, 1, 1001)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(scores, there).predict(asked)
    assert fit(scores, there, "isotonic")(asked) == pytest.approx(theirs, abs=1e-12)


def test_platt_finds_the_curve_that_there_is() -> None:
    found = np.array([fit(*world(2000, seed=seed)) for seed in range(20)], dtype=object)
    slopes, intercepts = [c.x[0] for c in found], [c.y[0] for c in found]
    assert np.mean(slopes) == pytest.approx(2, abs=0.1) and np.std(slopes) < 0.25
    assert np.mean(intercepts) == pytest.approx(1, abs=0.1) and np.std(intercepts) < 0.25


@pytest.mark.parametrize("method", METHODS)
def test_other_pairs_gain_from_it(method) -> None:
    calibrator = fit(*world(1000), method)
    scores, there = world(5000, seed=1)
    calibrated = calibrator(scores)
    assert brier_score_loss(there, calibrated) < brier_score_loss(there, scores) - 0.005
    assert expected_calibration_error(calibrated, there) < 0.5 * expected_calibration_error(scores, there)


def test_scores_that_a_threshold_separates() -> None:
    scores, there = [0.0, 0.01, 0.02, 0.98, 0.99, 1.0], [0, 0, 0, 1, 1, 1]
    found = fit(scores, there)(scores)
    # Platt's targets, here 0.2 and 0.8, keep it from certainty
    assert 0.1 < found[0] < found[2] < 0.5 < found[3] < found[5] < 0.9
    assert found.mean() == pytest.approx(0.5, abs=1e-6)
    assert fit(scores, there, "isotonic")(scores).tolist() == [0, 0, 0, 1, 1, 1]
    found = fit([1e-6] * 50_000 + [1.0] * 50_000, [False] * 50_000 + [True] * 50_000)
    assert found([0, 0.5, 1]) == pytest.approx([0, 0.5, 1], abs=1e-3)


def test_scores_the_wrong_way_round_say_nothing() -> None:
    for method in METHODS:
        assert fit([0.1, 0.2, 0.8, 0.9], [1, 1, 0, 0], method)([0, 0.5, 1]) == pytest.approx([0.5] * 3)


@pytest.mark.parametrize("method", METHODS)
def test_one_score_only(method) -> None:
    # Platt pulls a little towards a half
    assert fit([0.7] * 10, [1] * 8 + [0] * 2, method)([0, 0.7, 1]) == pytest.approx([0.8] * 3, abs=0.06)


def test_one_pair_of_each_kind() -> None:
    assert fit([0.2, 0.8], [0, 1])([0.2, 0.8]) == pytest.approx([1 / 3, 2 / 3], abs=1e-6)
    assert fit([0.2, 0.8], [0, 1], "isotonic")([0.2, 0.35, 0.8]) == pytest.approx([0, 0.25, 1])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("scores", "truth"), [([], []), ([0.5, 0.6], [1, 1]), ([0.5, 0.6], [False, False])])
def test_too_few_pairs(scores, truth, method) -> None:
    message = f"{sum(truth)} pairs where the concept is there, {truth.count(0)} where not; want 1 of each"
    with pytest.raises(TooFewPairs, match=message):
        fit(scores, truth, method)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_to_calibrate(method) -> None:
    assert fit([0.2, 0.8], [0, 1], method)([]).shape == (0,)


@pytest.mark.parametrize("method", METHODS)
def test_left_out_pairs_are_honest(method) -> None:
    rng = np.random.default_rng(3)
    scores, there = rng.random(60), rng.random(60) < 0.5  # scores that say nothing
    own = fit(scores, there, method)(scores)
    left_out = fit_cross(scores, there, method)
    assert brier_score_loss(there, own) <= 0.25 < brier_score_loss(there, left_out)
    assert np.array_equal(left_out, fit_cross(scores, there, method))
    assert not np.array_equal(left_out, fit_cross(scores, there, method, seed=1))


def test_a_left_out_pair_has_no_say() -> None:
    scores, there = world(40)
    before = fit_cross(scores, there, folds=4)
    scores[0] = 1 - scores[0]
    same = np.flatnonzero(fit_cross(scores, there, folds=4) == before)
    assert same.size == 40 / 4 - 1  # those that were left out together with it


@given(reviewed, method, st.integers(2, 12))
def test_as_many_parts_as_there_can_be(pairs, method, folds) -> None:
    scores, truth = pairs
    if min(sum(truth), len(truth) - sum(truth)) < 2:
        with pytest.raises(TooFewPairs, match="want 2 of each"):
            fit_cross(scores, truth, method, folds)
        return
    found = fit_cross(scores, truth, method, folds)
    assert found.shape == (len(scores),) and (found >= 0).all() and (found <= 1).all()


@pytest.mark.parametrize("bins", [1, 5, 10, 17])
def test_reliability_as_scikit_learn_has_it(bins) -> None:
    scores, there = world(500)
    observed, predicted = calibration_curve(there, scores, n_bins=bins)
    diagram = reliability(scores, there, bins)
    some = diagram.counts > 0
    assert diagram.observed[some] == pytest.approx(observed)
    assert diagram.predicted[some] == pytest.approx(predicted)
    assert diagram.counts.sum() == 500
    assert diagram.ece == pytest.approx((np.abs(observed - predicted) * diagram.counts[some]).sum() / 500)


def test_wilson_as_scipy_has_it() -> None:
    from scipy.stats import binomtest

    diagram = reliability([0.05] * 7 + [0.95] * 9 + [0.5], [0] * 7 + [1] * 8 + [0] + [1], bins=10)
    for bin, (k, n) in {0: (0, 7), 9: (8, 9), 4: (1, 1)}.items():
        theirs = binomtest(k, n).proportion_ci(method="wilson")
        assert (diagram.low[bin], diagram.high[bin]) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_edges_belong_to_the_bin_below() -> None:
    assert reliability([0.0, 0.5, 0.50001, 1.0], [0, 1, 0, 1], bins=2).counts.tolist() == [2, 2]


def test_rows_leave_out_empty_bins() -> None:
    rows = reliability([0.1, 0.9, 0.9, 0.9], [0, 1, 1, 0], bins=4).rows()
    assert [(row["from"], row["to"], row["pairs"]) for row in rows] == [(0.0, 0.25, 1), (0.75, 1.0, 3)]
    assert rows[1]["predicted"] == pytest.approx(0.9) and rows[1]["observed"] == pytest.approx(2 / 3)
    json.dumps(rows, allow_nan=False)


@given(reviewed, st.integers(1, 20))
def test_reliability_of_anything(pairs, bins) -> None:
    diagram = reliability(*pairs, bins)
    empty = diagram.counts == 0
    assert diagram.edges.shape == (bins + 1,) and diagram.counts.sum() == len(pairs[0])
    for column in (diagram.predicted, diagram.observed, diagram.low, diagram.high):
        assert np.array_equal(np.isnan(column), empty)
    assert (diagram.low <= diagram.observed)[~empty].all() and (diagram.observed <= diagram.high)[~empty].all()
    if pairs[0]:
        assert 0 <= diagram.ece <= 1
    else:
        assert math.isnan(diagram.ece)


def test_error_of_what_is_known() -> None:
    assert expected_calibration_error([1.0, 1.0, 0.0], [1, 1, 0]) == 0
    assert expected_calibration_error([1.0, 0.0], [0, 1]) == 1
    assert expected_calibration_error([0.7] * 10, [1] * 10) == pytest.approx(0.3)


@pytest.mark.parametrize("call", [fit, fit_cross, reliability, expected_calibration_error])
@pytest.mark.parametrize(
    ("scores", "truth", "message"),
    [
        ([0.5], [1, 0], r"scores has shape \(1,\), truth \(2,\)"),
        ([[0.5]], [[1]], r"scores has shape \(1, 1\)"),
        ([0.5, math.nan], [1, 0], r"scores\[1\] is nan; want a number within 0…1"),
        ([0.5, None], [1, 0], r"scores\[1\] is nan"),
        ([0.5, math.inf], [1, 0], r"scores\[1\] is inf"),
        ([-0.1, 0.5], [1, 0], r"scores\[0\] is -0.1"),
        ([0.1, 1.5], [1, 0], r"scores\[1\] is 1.5"),
        ([0.5, 0.6], [1, 2], r"truth\[1\] is 2; want True or False"),
        ([0.5, 0.6], [None, 1], r"truth\[0\] is None"),
    ],
)
def test_refuses(call, scores, truth, message) -> None:
    with pytest.raises(ValueError, match=message):
        call(scores, truth)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit([0.5], [1], "beta"), "method is 'beta'"),
        (lambda: fit_cross([0.5], [1], folds=1), "folds is 1"),
        (lambda: reliability([0.5], [1], bins=0), "bins is 0"),
        (lambda: fit([0.1, 0.9], [0, 1])([1.1]), r"scores\[0\] is 1.1"),
        (lambda: fit([0.1, 0.9], [0, 1])(0.5), r"scores has shape \(\)"),
    ],
)
def test_refuses_settings(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("method", "x", "y"),
    [
        ("beta", (1.0,), (0.0,)),
        ("platt", (-1.0,), (0.0,)),
        ("platt", (1.0, 2.0), (0.0, 0.0)),
        ("platt", (math.nan,), (0.0,)),
        ("isotonic", (), ()),
        ("isotonic", (0.1, 0.2), (0.5,)),
        ("isotonic", (0.1, 0.1), (0.5, 0.6)),
        ("isotonic", (0.1, 0.2), (0.5, 0.4)),
        ("isotonic", (0.1, 0.2), (0.5, 1.1)),
        ("isotonic", (-0.1, 0.2), (0.5, 0.6)),
    ],
)
def test_refuses_curves_that_are_none(method, x, y) -> None:
    with pytest.raises(ValueError, match="want"):
        Calibrator.from_dict({"method": method, "x": list(x), "y": list(y), "positives": 1, "negatives": 1})


def test_it_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        fit([0.1, 0.9], [0, 1]).method = "isotonic"


@pytest.mark.parametrize("method", METHODS)
def test_many_pairs(method) -> None:
    scores, there = world(100_000)
    start = time.process_time()
    calibrated = fit(scores, there, method)(scores)
    assert time.process_time() - start < 3  # some 0.1 s
    assert expected_calibration_error(calibrated, there) < 0.01
