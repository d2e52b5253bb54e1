"""Thresholds: against brute force and scikit-learn, and whether their intervals hold what they promise."""

from __future__ import annotations

import dataclasses
import math
import re
import time
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta
from sklearn.metrics import f1_score, precision_recall_curve, precision_score, recall_score

from curation import operating
from curation.operating import MAX_MORE, MAX_WIDTH, MIN_EACH, OperatingPoint, operating_point

score = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5 + 1e-15, 0.9, 1.0]))
reviewed = st.lists(st.tuples(score, st.booleans()), max_size=40).map(
    lambda pairs: ([score for score, _ in pairs], [there for _, there in pairs])
)
both_kinds = reviewed.filter(lambda pairs: any(pairs[1]) and not all(pairs[1]))
goals = st.one_of(
    st.just(("f1", None)), st.tuples(st.just("precision"), st.sampled_from([0.3, 0.5, 2 / 3, 0.75, 0.9, 1.0]))
)


def world(pairs: int, share: float = 0.3, seed: int = 0):
    """Scores and truth, the concept there in a share of images."""
    there = np.arange(pairs) < round(share * pairs)
    rng = np.random.default_rng(seed)
    return np.where(there, rng.beta(5, 2, pairs), rng.beta(2, 4, pairs)), there


def ungated(*arguments, **settings) -> OperatingPoint:
    """The threshold however few pairs there are and however little they tell."""
    with mock.patch.multiple(operating, MIN_EACH=1, MAX_WIDTH=1.0):
        return operating_point(*arguments, **{"bootstraps": 20, **settings})


def measured(scores, truth, threshold: float, goal: str) -> float:
    said = np.asarray(scores) >= threshold
    if goal == "f1":
        return f1_score(truth, said, zero_division=0)
    return precision_score(truth, said, zero_division=0)


@given(both_kinds, goals)
def test_no_threshold_is_better(pairs, wanted) -> None:
    (scores, truth), (goal, target) = pairs, wanted
    point = ungated(scores, truth, goal, target)
    values = {threshold: measured(scores, truth, threshold, goal) for threshold in sorted(set(scores))}
    assert point.best == pytest.approx(max(values.values()))
    if goal == "f1":
        assert point.f1 == pytest.approx(point.best)
        return
    reaching = [threshold for threshold, value in values.items() if value >= target - 1e-12]
    assert point.enough == bool(reaching)
    if reaching:
        assert point.precision >= target
        said = np.asarray(scores) >= point.threshold
        assert np.array_equal(said, np.asarray(scores) >= reaching[0])


@given(both_kinds)
def test_the_middle_of_the_widest_stretch(pairs) -> None:
    scores, truth = pairs
    point = ungated(scores, truth)
    distinct = sorted(set(scores))
    stretches, good = [], False
    for below, here in zip([0.0, *distinct[:-1]], distinct, strict=True):
        before, good = good, measured(scores, truth, here, "f1") >= point.best - 1e-12
        if good and before:
            stretches[-1][1] = here
        elif good:
            stretches.append([below, here])
    widest = max(high - low for low, high in stretches)
    assert any(
        point.threshold == pytest.approx((low + high) / 2, abs=1e-15) and high - low == pytest.approx(widest, abs=1e-15)
        for low, high in stretches
    )


@given(reviewed, goals)
def test_whatever_the_pairs(pairs, wanted) -> None:
    scores, truth = pairs
    point = operating_point(scores, truth, *wanted, bootstraps=50)
    assert (point.positives, point.negatives) == (sum(truth), len(truth) - sum(truth))
    assert 0 <= point.more <= MAX_MORE
    assert math.isnan(point.low) == math.isnan(point.high)
    assert str(point)
    if not math.isnan(point.low):
        assert 0 <= point.low <= point.high <= 1
    numbers = (point.threshold, point.precision, point.recall, point.f1, point.f1_low, point.f1_high)
    if not point.enough:
        assert all(map(math.isnan, numbers))
        return
    assert min(point.positives, point.negatives) >= MIN_EACH and point.high - point.low <= MAX_WIDTH
    assert point.low <= point.threshold <= point.high and point.f1_low <= point.f1_high
    said = np.asarray(scores) >= point.threshold
    assert point.precision == pytest.approx(precision_score(truth, said))
    assert point.recall == pytest.approx(recall_score(truth, said))
    assert point.f1 == pytest.approx(f1_score(truth, said))


@given(both_kinds, goals, st.randoms())
def test_the_order_of_the_pairs_does_not_matter(pairs, wanted, random) -> None:
    mixed = list(zip(*pairs, strict=True))
    random.shuffle(mixed)
    one = operating_point(*pairs, *wanted, bootstraps=20)
    other = operating_point(*zip(*mixed, strict=True), *wanted, bootstraps=20)
    np.testing.assert_equal(dataclasses.asdict(one), dataclasses.asdict(other))


@pytest.mark.parametrize("seed", range(5))
def test_as_scikit_learn_has_it(seed) -> None:
    scores, there = world(300, seed=seed)
    precision, recall, thresholds = precision_recall_curve(there, scores)
    f1 = 2 * precision * recall / (precision + recall)
    best = f1[:-1].argmax()
    point = operating_point(scores, there)
    assert (point.f1, point.precision, point.recall) == pytest.approx((f1[best], precision[best], recall[best]))
    assert point.threshold == pytest.approx((thresholds[best - 1] + thresholds[best]) / 2)

    first = np.argmax(precision[:-1] >= 0.8)
    point = operating_point(scores, there, "precision", 0.8)
    assert (point.precision, point.recall) == pytest.approx((precision[first], recall[first]))
    assert point.threshold == pytest.approx((thresholds[first - 1] + thresholds[first]) / 2)


def test_known_thresholds() -> None:
    clear = [0.9] * 6 + [0.3] * 6, [1] * 6 + [0] * 6
    point = operating_point(*clear)
    assert (point.threshold, point.f1, point.low, point.high) == pytest.approx((0.6, 1, 0.6, 0.6))
    assert str(point) == "0.60 (0.60 … 0.60), F1 1.00"
    # two stretches of the same F1, 2/3: that of 0.9 and that of 0.6; the wider one wins
    assert ungated([0.9, 0.8, 0.7, 0.6, 0.1], [1, 0, 0, 1, 0]).threshold == pytest.approx(0.35)
    assert ungated([0.9, 0.8, 0.7, 0.6, 0.55], [1, 0, 0, 1, 0]).threshold == pytest.approx(0.85)
    # neighbours of the same F1, 2/3, are one stretch, from 0.1 to 0.6
    assert ungated([0.6, 0.5, 0.5, 0.5, 0.1], [1, 1, 0, 0, 0]).threshold == pytest.approx(0.35)
    # a target is reached by the lowest threshold, though higher ones fall short in between
    scores, truth = [0.1, 0.2, 0.3, 0.4, 0.5], [0, 1, 1, 0, 1]
    assert ungated(scores, truth, "precision", 0.7).threshold == pytest.approx(0.15)
    assert ungated(scores, truth, "precision", 0.76).threshold == pytest.approx(0.45)


def test_a_score_at_the_threshold_is_present() -> None:
    low = 0.5
    high = np.nextafter(low, 1)
    assert ungated([low, high], [0, 1]).threshold == high  # there is nothing between them
    assert ungated([0.0, 0.0], [0, 1]).threshold == 0


def test_one_score_only() -> None:
    point = operating_point([0.8] * 20, [1] * 10 + [0] * 10)
    assert (point.threshold, point.recall, point.f1) == pytest.approx((0.4, 1, 2 / 3))


@pytest.mark.parametrize(
    ("scores", "truth", "words"),
    [
        ([], [], "present in 0 and absent in 0 reviewed images, want 5 of each; review 10 more"),
        ([0.9] * 7, [1] * 7, "present in 7 and absent in 0 reviewed images, want 5 of each; review 5 more"),
        ([0.9] * 7, [0] * 7, "present in 0 and absent in 7 reviewed images, want 5 of each; review 5 more"),
        ([0.9] * 4 + [0.1] * 9, [1] * 4 + [0] * 9, "present in 4 and absent in 9 .* review 1 more"),
    ],
)
def test_too_few_pairs(scores, truth, words) -> None:
    for goal, target in (("f1", None), ("precision", 0.9)):
        point = operating_point(scores, truth, goal, target)
        assert not point.enough and math.isnan(point.threshold)
        assert re.search(words, str(point))


def test_too_wide_an_interval_gives_no_threshold() -> None:
    rng = np.random.default_rng(0)
    point = operating_point(rng.random(20), rng.random(20) < 0.5)
    assert not point.enough and math.isnan(point.threshold) and point.high - point.low > MAX_WIDTH
    assert str(point).startswith("somewhere in 0.")


def test_a_target_that_nothing_reaches() -> None:
    scores, truth = [0.9, 0.9] * 6 + [0.1] * 6, [1, 0] * 6 + [0] * 6
    point = operating_point(scores, truth, "precision", 0.8)
    assert not point.enough and math.isnan(point.low) and point.best == 0.5 and point.more == 0
    assert str(point) == "no threshold reaches precision 0.8; the best reaches 0.50"


def test_resamples_that_miss_the_target_widen_the_interval() -> None:
    # one negative at the top: in some resamples it is drawn twice, and nothing reaches the target
    scores, truth = [0.9] * 19 + [0.9] + [0.02] * 10, [1] * 19 + [0] * 11
    point = operating_point(scores, truth, "precision", 0.95)
    assert point.best == 0.95 and point.high == 1 and not point.enough


def test_in_plain_words() -> None:
    number = r"0\.\d\d"
    pattern = rf"{number} \({number} … {number}\), F1 {number}; review \d+ more to halve the interval"
    assert re.fullmatch(pattern, str(operating_point(*world(200))))
    narrow = dataclasses.replace(operating_point(*world(200)), threshold=0.0512, low=0.0501, high=0.0523)
    assert str(narrow).startswith("0.0512 (0.0501 … 0.0523)")
    assert "1000 or more" in str(dataclasses.replace(narrow, more=MAX_MORE))
    assert "precision 0.80" in str(operating_point(*world(200), "precision", 0.8))


@pytest.mark.parametrize(("goal", "target"), [("f1", None), ("precision", 0.8)])
def test_the_interval_holds_the_best_threshold_there_is(goal, target) -> None:
    x = np.linspace(0, 1, 100_001)
    tp, fp = 0.3 * beta.sf(x, 5, 2), 0.7 * beta.sf(x, 2, 4)
    truly = x[np.argmax(2 * tp / (tp + fp + 0.3))] if target is None else x[np.argmax(tp >= target * (tp + fp))]
    points = [operating_point(*world(150, seed=seed), goal, target, bootstraps=200) for seed in range(100)]
    assert np.mean([point.low <= truly <= point.high for point in points]) >= 0.85
    assert np.median([point.high - point.low for point in points]) < 0.35
    # and that of its measure what it truly achieves there, less often: the threshold was chosen on the same pairs
    held = []
    for point in (point for point in points if point.enough):
        hits, alarms = 0.3 * beta.sf(point.threshold, 5, 2), 0.7 * beta.sf(point.threshold, 2, 4)
        value = 2 * hits / (hits + alarms + 0.3) if target is None else hits / (hits + alarms)
        held.append(point.f1_low <= value <= point.f1_high)
    assert np.mean(held) >= 0.8


def test_more_pairs_narrow_the_interval() -> None:
    widths = []
    for pairs in (100, 400, 1600):
        points = [operating_point(*world(pairs, seed=seed), "precision", 0.8) for seed in range(20)]
        widths.append(np.median([point.high - point.low for point in points]))
    assert widths[0] > widths[1] > widths[2] and widths[0] > 2 * widths[2]


def test_more_counts_the_pairs_in_the_interval() -> None:
    scores, there = world(100)
    point = operating_point(scores, there)
    assert point.more == 3 * ((scores >= point.low) & (scores <= point.high)).sum()
    assert operating_point(*world(20_000)).more == MAX_MORE


def test_levels_put_together_say_the_same() -> None:
    scores, there = world(1500)
    # crowds at both ends, as the presence of SAM 3 has them
    for values in (scores, scores**8, 1 - (1 - scores) ** 8):
        for goal, target in (("f1", None), ("precision", 0.8)):
            exact = operating_point(values, there, goal, target)
            with mock.patch.object(operating, "_LEVELS", 400):
                rough = operating_point(values, there, goal, target)
            assert rough.threshold == exact.threshold
            assert (rough.low, rough.high) == pytest.approx((exact.low, exact.high), abs=0.02)


def test_the_seed_decides() -> None:
    assert operating_point(*world(100)) == operating_point(*world(100))
    assert operating_point(*world(100)) != operating_point(*world(100), seed=1)


@pytest.mark.parametrize(("pairs", "seconds"), [(1000, 1), (100_000, 5)])
def test_speed(pairs, seconds) -> None:
    """A tenth of this is usual."""
    scores, there = world(pairs)
    start = time.process_time()
    operating_point(scores, there)
    assert time.process_time() - start < seconds


@pytest.mark.parametrize(
    ("scores", "truth", "message"),
    [
        ([0.5], [1, 0], r"scores has shape \(1,\), truth \(2,\)"),
        ([0.5, math.nan], [1, 0], r"scores\[1\] is nan; want a number within 0…1"),
        ([0.1, 1.5], [1, 0], r"scores\[1\] is 1.5"),
        ([0.5, 0.6], [1, 2], r"truth\[1\] is 2; want True or False"),
    ],
)
def test_refuses(scores, truth, message) -> None:
    with pytest.raises(ValueError, match=message):
        operating_point(scores, truth)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"goal": "recall"}, "goal is 'recall'"),
        ({"target": 0.9}, "target is 0.9, but only"),
        ({"goal": "precision"}, "target is None"),
        ({"goal": "precision", "target": 0}, "target is 0;"),
        ({"goal": "precision", "target": 1.1}, "target is 1.1"),
        ({"goal": "precision", "target": math.nan}, "target is nan"),
        ({"bootstraps": 0}, "bootstraps is 0"),
    ],
)
def test_refuses_settings(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        operating_point([0.1, 0.9], [0, 1], **settings)
