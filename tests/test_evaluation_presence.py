"""Presence AUC against its definition: count the pairs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation import presence_auc

scored = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.5, 0.5000001, 0.9, 1.0, -3.0, 7.5]), st.booleans()), max_size=30
)


@given(scored)
def test_share_of_pairs_in_the_right_order(pairs) -> None:
    positive = [score for score, label in pairs if label]
    negative = [score for score, label in pairs if not label]
    auc = presence_auc([score for score, _ in pairs], [label for _, label in pairs])
    if not positive or not negative:
        assert math.isnan(auc)
        return
    wins = sum((p > n) + (p == n) / 2 for p in positive for n in negative)
    assert auc == pytest.approx(wins / (len(positive) * len(negative)), abs=1e-12)


@pytest.mark.parametrize(
    ("scores", "labels", "auc"),
    [
        ([0.9, 0.8, 0.2], [1, 1, 0], 1.0),
        ([0.1, 0.9], [1, 0], 0.0),
        ([0.5, 0.5, 0.5], [1, 0, 0], 0.5),
        ([np.inf, 0.0, -np.inf], [True, False, False], 1.0),
        (np.float32([0.7, 0.3]), np.array([1.0, 0.0]), 1.0),
    ],
)
def test_known_values(scores, labels, auc) -> None:
    assert presence_auc(scores, labels) == auc


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([0.5], [1, 0], r"scores has shape \(1,\), labels \(2,\)"),
        ([[0.5]], [[1]], r"scores has shape \(1, 1\)"),
        ([0.5, math.nan], [1, 0], r"scores\[1\] is NaN"),
        ([0.5, 0.6], [1, 2], r"labels\[1\] is 2; want 0 or 1"),
        ([0.5, 0.6], [1, math.nan], r"labels\[1\] is nan; want 0 or 1"),
    ],
)
def test_refuses(scores, labels, message) -> None:
    with pytest.raises(ValueError, match=message):
        presence_auc(scores, labels)
