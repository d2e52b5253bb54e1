"""Planted faults are where the record says, rehearsed ones make probabilities, and charts show what was counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.answers import Answers
from curation.calibration import reliability
from curation.charts import BINS, histogram, histogram_layout, reliability_chart
from curation.overview import overview
from curation.rehearsal import probabilities
from emoji_world.dataset import build_scenes
from emoji_world.faults import overlap, plant_faults


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    dataset = build_scenes("faults", tmp_path_factory.mktemp("scenes"), range(40, 70))
    yield dataset
    dataset.delete()


def test_faults_are_where_the_record_says_and_nowhere_else(scenes):
    faults = plant_faults(scenes, missing=0.2, wrong=0.1, extra=0.1)
    truth = {d.id: (s.id, d) for s in scenes for d in s.ground_truth.detections}
    labels = {d.id: (s.id, d) for s in scenes for d in s.labels.detections}
    count = len(truth)
    assert faults.counts == dict(missing=round(0.2 * count), wrong=round(0.1 * count), extra=round(0.1 * count))
    assert len(labels) == count - len(faults.missing) + len(faults.extra)

    def same(label, other):
        return label.bounding_box == other.bounding_box and np.array_equal(label.mask, other.mask)

    gone = {number for _, number in faults.missing}
    for number, (sample, label) in labels.items():
        alike = [d for t, (s, d) in truth.items() if s == sample and same(d, label) and t not in gone]
        if number in faults.extra:
            assert not alike
            assert all(overlap(d.bounding_box, label.bounding_box) <= 0.1 for s, d in truth.values() if s == sample)
        else:
            assert [d.label == label.label for d in alike] == [number not in faults.wrong]


def test_the_same_seed_plants_the_same_and_nouns_are_kept_to(scenes):
    def planted(**said):
        plant_faults(scenes, **said)
        return [[(d.label, *d.bounding_box) for d in s.labels.detections] for s in scenes]

    assert planted(seed=3) == planted(seed=3) != planted(seed=4)
    nouns = {"dog", "fox", "cap", "car", "bus"}
    truth = [[(d.label, *d.bounding_box) for d in s.ground_truth.detections] for s in scenes]
    few = planted(nouns=nouns, missing=0.5, wrong=0.3, extra=0.2)
    for before, after in zip(truth, few, strict=True):
        assert {name for name, *_ in set(before) ^ set(after)} <= nouns


def test_rehearsal_tells_faults_from_what_is_merely_odd():
    rng = np.random.default_rng(0)
    fault, odd = rng.beta(30, 4, 2000), rng.beta(2, 8, 3000)
    there = np.r_[rng.random(len(fault)) < 0.1, np.zeros(len(odd), bool)]
    actual = np.r_[fault, odd]
    kept = there | (np.arange(len(actual)) >= len(fault))  # one fault in ten happened
    likely = probabilities(actual[kept], rng.beta(30, 4, 2000))
    assert reliability(likely, there[kept]).ece < 0.03 < reliability(actual[kept], there[kept]).ece


@given(st.lists(st.floats(0, 1), min_size=60, max_size=120), st.lists(st.floats(0, 1), min_size=60, max_size=120))
def test_probabilities_rise_with_scores_and_stay_within_bounds(actual, faults):
    actual = np.array(actual)
    likely = probabilities(actual, np.array(faults))
    assert ((likely >= 0) & (likely <= 1)).all()
    assert (np.diff(likely[np.argsort(actual, kind="stable")]) >= -1e-12).all()


def test_of_few_scores_nothing_is_learned():
    scores = np.array([0.2, np.nan, 0.9])
    assert np.array_equal(probabilities(scores, np.full(100, 0.9)), scores, equal_nan=True)


def answers(presence, score=None, count=None) -> Answers:
    presence = np.array(presence, dtype=float)[:, None]
    blank = np.zeros_like(presence)
    made = [blank if column is None else np.array(column, dtype=float)[:, None] for column in (score, count)]
    ids = np.array([str(k) for k in range(len(presence))])
    return Answers(ids, ("cap",), presence, *made, {"cap": 0.5})


def test_counts_of_a_concept():
    seen = answers([0.9, 0.5, 0.4, 0.1, np.nan, 0.8], [0.9, 0.6, 0.7, 0.1, np.nan, 0.9], [2, 0, 0, 0, np.nan, 1])
    now = overview(seen, "cap")
    assert (now.present, now.absent, now.uncertain, now.unasked) == (3, 2, 2, 1)
    assert (now.suppressed, now.without_instances, now.instances) == (1, 1, 3)
    assert overview(seen, "cap", 0.85).present == 1


def test_the_histogram_counts_every_sample_that_was_asked_once():
    presence = np.array([0.0, 0.02, 0.5, 0.5, 0.999, 1.0, np.nan])
    (bars,) = histogram(presence, 0.5)
    assert sum(bars["y"]) == 6 and len(bars["x"]) == BINS
    colours = bars["marker"]["color"]
    assert len(set(colours[:10])) == len(set(colours[10:])) == 1 != len(set(colours))
    assert histogram_layout(presence, 0.5)["yaxis"]["type"] == "linear"
    assert histogram_layout(np.r_[np.zeros(200), 0.9], 0.5)["yaxis"]["type"] == "log"
    assert histogram_layout(presence, 0.31)["shapes"][0]["x0"] == 0.31


def test_the_reliability_chart_shows_bins_that_hold_something():
    curve = reliability([0.05, 0.06, 0.95], [False, False, True])
    ideal, raw = reliability_chart(curve, None)
    assert raw["x"] == [0.055, 0.95] and raw["y"] == [0.0, 1.0]
    assert len(reliability_chart(curve, curve)) == 3
