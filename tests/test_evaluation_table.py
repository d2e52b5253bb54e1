"""Tables of pairs: sums, parts, intervals, annotators, and how they are shown."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation import (
    PairCounts,
    PairTable,
    Track,
    best_annotator,
    cgf1,
    cgf1_intervals,
    count_video_pair,
    phota,
    phota_intervals,
)
from evaluation.columns import PairColumns


def pair(tp: int, fp: int, fn: int) -> PairCounts:
    return PairCounts(*(np.full(10, n) for n in (tp, fp, fn)), has_gt=tp + fn > 0, has_pred=tp + fp > 0)


HIT, MISS, MADE_UP, SILENCE = pair(1, 0, 0), pair(0, 0, 1), pair(0, 1, 0), pair(0, 0, 0)
pairs = st.lists(st.builds(pair, st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12)


def still(frames: int, side: int = 4) -> Track:
    return Track({t: np.ones((side, side), bool) for t in range(frames)})


# --- sums ---


@given(pairs, st.randoms())
def test_order_does_not_matter(counted, chance):
    shuffled = list(counted)
    chance.shuffle(shuffled)
    assert cgf1(counted).official() == pytest.approx(cgf1(shuffled).official(), abs=1e-12)


@given(pairs)
def test_columns_are_pairs(counted):
    columns = PairColumns.of(counted)
    assert len(columns) == len(counted)
    for one, other in zip(columns, counted, strict=True):
        assert one.tp.tolist() == other.tp.tolist() and (one.has_gt, one.has_pred) == (other.has_gt, other.has_pred)
    assert len(columns[[0, 0]]) == 2


@given(pairs, st.data())
def test_parts_add_up(counted, data):
    names = data.draw(st.lists(st.sampled_from("abc"), min_size=len(counted), max_size=len(counted)))
    table = PairTable(counted, names, range(len(counted)), {"half": [i % 2 for i in range(len(counted))]})
    for column in ("concept", "half"):
        parts = table.by(column).values()
        assert sum(part.cgf1().fn for part in parts).tolist() == table.cgf1().fn.tolist()
    assert sum(part.cgf1().pairs_evaluated for part in table.by("concept").values()) == len(table)


def test_a_table_is_checked():
    with pytest.raises(ValueError, match="concepts has 1 entries for 2 pairs"):
        PairTable([HIT, MISS], ["a"], [1, 2])
    with pytest.raises(TypeError, match="counts has"):
        PairTable([HIT, count_video_pair([], [], 1)], ["a", "b"], [1, 2])
    with pytest.raises(ValueError, match=r"metric is 'mAP'; want one of \['cgF1', 'pmF1', 'IL_MCC'\]"):
        PairTable([HIT], ["a"], [1]).plot(metric="mAP")
    with pytest.raises(ValueError, match="column is 'colour'; want one of"):
        PairTable([HIT], ["a"], [1]).by("colour")


def test_what_means_nothing_for_a_concept_is_nan():
    table = PairTable([HIT, SILENCE, HIT, SILENCE], ["both", "both", "there", "away"], [1, 2, 3, 4])
    frame = table.to_pandas()
    assert frame.loc["both", "cgF1"] == pytest.approx(1, abs=1e-3)
    assert np.isnan(frame.loc["there", "IL_MCC"]) and frame.loc["there", "pmF1"] == pytest.approx(1, abs=1e-3)
    assert np.isnan(frame.loc["away", ["cgF1", "pmF1", "IL_MCC"]].astype(float)).all()
    by_pair = table.to_pandas(by=None)
    assert by_pair["TP@.5"].tolist() == [1, 0, 1, 0] and np.isnan(by_pair.F1[1])
    assert "both" in str(table) and "nan" in str(table)


def test_tables_of_videos():
    table = PairTable([count_video_pair([still(3)], [still(3)], 3), count_video_pair([], [], 3)], ["a", "a"], [1, 2])
    assert table.videos and table.phota().pHOTA == 1 and table.cgf1().IL_TN == 1
    assert table.to_pandas().loc["a", "pHOTA"] == 1
    assert {"cgF1", "pHOTA"} <= table.intervals(resamples=10).keys()


# --- intervals ---


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Pairs of a known kind, drawn again and again: 90 % intervals of pmF1 hold its expectation in about 90 %."""
    rng, held = np.random.default_rng(7), 0
    expected = cgf1([HIT] * 700 + [MISS] * 300 + [SILENCE] * 1000).pmF1
    for _ in range(150):
        drawn = [(HIT if rng.random() < 0.7 else MISS) if rng.random() < 0.5 else SILENCE for _ in range(120)]
        interval = cgf1_intervals(drawn, level=0.9, resamples=200)["pmF1"]
        held += interval.low <= expected <= interval.high
    assert 0.82 <= held / 150 <= 0.97


def test_pairs_of_one_image_are_drawn_together():
    table = [HIT, HIT, HIT, HIT, MISS, MISS, MISS, MISS] * 5
    alone = cgf1_intervals(table)["pmF1"]
    images = [k // 4 for k in range(len(table))]
    together = cgf1_intervals(table, images)["pmF1"]
    assert together.units == 10 and alone.units == 40 and together.value == alone.value
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_intervals_are_reproducible_and_contain_the_value():
    table = [HIT, MISS, MADE_UP, SILENCE] * 10
    first, again, other = (cgf1_intervals(table, seed=seed)["cgF1"] for seed in (1, 1, 2))
    assert first == again != other
    assert first.low <= first.value <= first.high and str(first).startswith(f"{first.value:.4f} [")


def test_one_unit_says_nothing_about_others():
    interval = cgf1_intervals([HIT, SILENCE], ["same", "same"])["cgF1"]
    assert np.isnan(interval.low) and np.isnan(interval.high) and interval.value == pytest.approx(1, abs=1e-3)


def test_intervals_of_videos():
    good, bad = count_video_pair([still(4)], [still(4)], 4), count_video_pair([still(4)], [], 4)
    interval = phota_intervals([good, bad] * 8)["pHOTA"]
    assert interval.value == phota([good, bad] * 8).pHOTA
    assert 0 <= interval.low < interval.value < interval.high <= 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(level=1.0), "level is 1.0; want a number between 0 and 1"),
        (dict(resamples=0), "resamples is 0; want at least 1"),
        (dict(units=[1]), "units has 1 entries for 2 pairs"),
    ],
)
def test_intervals_refuse(settings, message):
    with pytest.raises(ValueError, match=message):
        cgf1_intervals([HIT, MISS], **settings)


def test_nothing_to_resample():
    with pytest.raises(ValueError, match="pairs is empty"):
        cgf1_intervals([])


# --- annotators ---


def test_agreeing_that_nothing_is_there_beats_everything():
    assert best_annotator([pair(9, 0, 0), SILENCE]) == 1
    assert best_annotator([SILENCE, SILENCE]) == 0


def test_a_tie_keeps_the_earlier():
    assert best_annotator([pair(1, 1, 0), pair(1, 0, 1), pair(2, 0, 0), pair(2, 0, 0)]) == 2
    with pytest.raises(ValueError, match="scorings is empty"):
        best_annotator([])


# --- shown ---


def test_results_as_frames_and_pictures():
    table = PairTable([HIT, MISS, MADE_UP, SILENCE] * 3, ["cat", "dog", "cat", "dog"] * 3, range(12))
    frame = table.cgf1().to_pandas()
    assert list(frame.index) == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
    assert frame.cgF1.mean() == pytest.approx(table.cgf1().cgF1) and (frame.TP == 3).all()
    axes = table.cgf1().plot()
    assert f"cgF1 ({table.cgf1().cgF1:.3f})" in [text.get_text() for text in axes.get_legend().get_texts()]
    bars = table.plot(metric="pmF1", resamples=20)
    assert [tick.get_text() for tick in bars.get_yticklabels()] == ["cat", "dog"]
    assert [bar.get_width() for bar in bars.patches] == pytest.approx([table.by()["cat"].cgf1().pmF1, 0.0])

    video = phota([count_video_pair([still(4)], [still(4)], 4)])
    assert video.to_pandas().pHOTA.mean() == video.pHOTA and len(video.to_pandas()) == 19
    assert video.plot().get_title() == "pHOTA 1.000"
