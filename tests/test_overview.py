"""The counts of one concept that the panel shows, and what is there beside it: literal ledgers, plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from support.ledgers import ask, picture

from curation.answers import read_answers
from curation.overview import Overview, companions, overview
from curation.thresholds import set_threshold

NONE = None


@pytest.fixture
def pets(new_dataset):
    dataset = new_dataset()
    dataset.add_samples([picture() for _ in range(6)])
    return ask(
        dataset,
        dict(dog=[0.9, 0.7, 0.6, 0.1, 0.4, NONE], cat=[0.8, 0.9, 0.1, 0.9, NONE, 0.9],
             bird=[0.2, 0.1, 0.7, NONE, 0.9, 0.9], fish=[0.6, 0.0, 0.0, 0.0, 0.0, 0.0], whale=0.0),
        score=dict(dog=[0.9, 0.9, 0.9, 0.8, 0.4, NONE]), count=dict(dog=[2, 0, 1, 0, 0, NONE]),
    )  # fmt: skip


def test_the_counts_of_a_concept(pets):
    answers = read_answers(pets, concepts=["dog"])
    assert overview(answers, "dog") == Overview(
        "dog", 0.5, present=3, absent=2, uncertain=3, suppressed=1, without_instances=1, unasked=1, instances=3
    )
    assert overview(answers, "dog", 0.65).present == 2


def test_what_is_there_beside_it(pets):
    assert companions(pets, "dog") == [
        dict(concept="cat", both=2, share=0.667), dict(concept="bird", both=1, share=0.333),
        dict(concept="fish", both=1, share=0.333),
    ]  # fmt: skip
    assert companions(pets, "dog", most=1) == companions(pets, "dog")[:1]
    assert companions(pets, "whale") == []
    assert companions(pets[:1], "dog") == [
        dict(concept="cat", both=1, share=1.0), dict(concept="fish", both=1, share=1.0)
    ]


def test_what_is_there_is_what_its_own_threshold_says(pets):
    set_threshold(pets, "cat", 0.85)
    assert companions(pets, "dog")[0] == dict(concept="cat", both=1, share=0.333)
    set_threshold(pets, "bird", 0.0)
    assert companions(pets, "bird")[0] == dict(concept="dog", both=3, share=0.6), "where it was not asked it is not"


@pytest.mark.parametrize("seed", range(3))
def test_what_is_read_is_what_was_written_in_the_order_of_the_view(new_dataset, seed):
    rng = np.random.default_rng(seed)
    expected = np.where(rng.random((9, 3)) < 0.2, np.nan, rng.random((9, 3)))
    expected[0] = 0, 1, np.nan
    names = ("dog", "cat.s", "$bird")
    dataset = new_dataset([picture(rank=k) for k in rng.permutation(9).tolist()])
    ask(dataset, {name: [None if v != v else v for v in expected[:, k].tolist()] for k, name in enumerate(names)})
    view = dataset.sort_by("rank")
    expected = expected[np.argsort(dataset.values("rank"))]
    answers = read_answers(view)
    assert answers.ids.tolist() == view.values("id") != dataset.values("id")
    np.testing.assert_array_equal(answers.presence, expected)
    np.testing.assert_array_equal(answers.count, np.where(np.isnan(expected), np.nan, expected >= 0.5))
    there = np.nan_to_num(expected, nan=-1) >= 0.5
    for k, concept in enumerate(names):
        both = {other: int((there[:, k] & there[:, j]).sum()) for j, other in enumerate(names) if j != k}
        found = {one["concept"]: one["both"] for one in companions(view, concept)}
        assert found == {other: n for other, n in both.items() if n}
