"""Concepts that claim the same masks: what is counted, what is advised, what is kept.

Images are 20 × 10 pixels; instances are rectangles of pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

import fiftyone as fo
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.answers import Answers
from curation.cofire import PART, SAME_MASK, Cofire, cofire
from curation.confusion import (
    Confusion,
    Confusions,
    advise,
    clusters,
    confusion_steps,
    find_confusions,
    load_confusions,
    parent_of,
    weigh,
)
from curation.errors import CurationError
from curation.instances import Instances, Overlaps
from curation.policies import apply_policy
from curation.records import delete_findings
from zoo.engine.concepts import parse_concepts
from zoo.engine.results import ConceptResult
from zoo.ledger import Ledger, write
from zoo.provenance import note_label_field, start_run

WIDTH, HEIGHT = 20, 10
A, B, FAR = (1, 1, 6, 6), (9, 2, 6, 6), (16, 0, 3, 3)
#: within A; A and all but a row of it
SPOT, MOST = (2, 2, 2, 2), (1, 1, 6, 5)
LOOK = dict(key=None, progress=False)

Rectangle = tuple[int, int, int, int]


def pixels(box: Rectangle) -> set[tuple[int, int]]:
    x, y, w, h = box
    return {(column, row) for column in range(x, x + w) for row in range(y, y + h)}


def iou_of(one: Rectangle, other: Rectangle) -> float:
    return len(pixels(one) & pixels(other)) / len(pixels(one) | pixels(other))


def inside_of(one: Rectangle, other: Rectangle) -> float:
    return len(pixels(one) & pixels(other)) / len(pixels(one))


def laid_out(*rows: tuple[int, str, float, Rectangle]) -> tuple[Instances, Overlaps]:
    """Of (image, label, confidence, box): the instances, and which of them overlap."""
    images, names, sure, boxes = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [], [])
    blank, places = np.full(len(rows), np.nan), np.array(images, dtype=np.int64)
    found = Instances(
        "sam3", np.array([f"id {k}" for k in range(len(rows))]), places, places, np.array(names, dtype=str),
        np.array(sure, dtype=np.float64), blank, blank, blank, np.array([f"row {k}" for k in range(9)]), 9,
        np.zeros(9, np.int64),
    )  # fmt: skip
    near = [
        (i, k, iou_of(boxes[i], boxes[k]), inside_of(boxes[i], boxes[k]), inside_of(boxes[k], boxes[i]))
        for k in range(len(rows)) for i in range(k)
        if images[i] == images[k] and pixels(boxes[i]) & pixels(boxes[k])
    ]  # fmt: skip
    first, second, *shares = zip(*near, strict=True) if near else [()] * 5
    return found, Overlaps(np.array(first, int), np.array(second, int), *(np.array(s, np.float64) for s in shares))


# --- counts ---


def test_counts():
    found, among = laid_out(
        (0, "fox", 0.9, A), (0, "wolf", 0.6, A),  # the same pixels
        (0, "fox", 0.5, B), (0, "wolf", 0.8, B), (0, "tail", 0.7, (9, 2, 3, 3)),  # and a part of both
        (1, "fox", 0.9, A), (1, "wolf", 0.9, B),
        (1, "bird", 0.9, A),  # of a concept that is not looked at
    )  # fmt: skip
    counts = cofire(found, among, ("fox", "wolf", "tail"))
    assert counts.concepts == ("fox", "wolf", "tail") and counts.instances.tolist() == [3, 3, 1]
    assert counts.same.tolist() == [[0, 2, 0], [2, 0, 0], [0, 0, 0]]
    assert counts.claimed.tolist() == [[0, 2, 0], [2, 0, 0], [0, 0, 0]]
    assert counts.wins.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert counts.inside.tolist() == [[0, 0, 0], [0, 0, 0], [1, 1, 0]]
    assert counts.pairs() == counts.pairs(least=2) == {("fox", "wolf"): 2} and counts.pairs(least=3) == {}


def test_an_instance_that_two_others_claim_is_claimed_once():
    counts = cofire(*laid_out((0, "fox", 0.9, A), (0, "wolf", 0.6, A), (0, "wolf", 0.5, A)), ("fox", "wolf"))
    assert counts.same[0, 1] == counts.same[1, 0] == 2  # two pairs
    assert counts.claimed.tolist() == [[0, 1], [2, 0]]  # of one fox and two wolves
    assert counts.wins.tolist() == [[0, 2], [0, 0]]


def test_what_lies_in_two_others_is_a_part_once():
    counts = cofire(*laid_out((0, "wheel", 0.9, SPOT), (0, "car", 0.9, A), (0, "car", 0.9, A)), ("wheel", "car"))
    assert counts.inside.tolist() == [[0, 1], [0, 0]]


def test_instances_of_one_concept_are_no_confusion():
    counts = cofire(*laid_out((0, "fox", 0.9, A), (0, "fox", 0.6, A)), ("fox", "wolf"))
    assert not counts.same.any() and not counts.claimed.any() and counts.instances.tolist() == [2, 0]


def test_a_tie_is_nobodys():
    counts = cofire(*laid_out((0, "fox", 0.9, A), (0, "wolf", 0.9, A)), ("fox", "wolf"))
    assert counts.same[0, 1] == 1 and not counts.wins.any()


@pytest.mark.parametrize("iou", [0.5, 30 / 36, 0.84, 1.0])
def test_from_which_iou_on_two_are_the_same(iou):
    """30 of 36 pixels are shared; and all of the smaller one, so that it is a part where it is not the same."""
    counts = cofire(*laid_out((0, "fox", 0.9, A), (0, "wolf", 0.6, MOST)), ("fox", "wolf"), iou=iou)
    assert counts.same[0, 1] == (iou <= 30 / 36)
    assert counts.inside.tolist() == ([[0, 0], [0, 0]] if iou <= 30 / 36 else [[0, 0], [1, 0]])


@pytest.mark.parametrize(("sure", "instances"), [(0.0, [1, 2]), (0.5, [1, 1]), (0.6, [1, 1]), (0.61, [1, 0])])
def test_what_is_unsure_claims_nothing(sure, instances):
    rows = (0, "fox", np.nan, A), (0, "wolf", 0.6, A), (0, "wolf", 0.2, A)  # the fox was drawn by a person
    counts = cofire(*laid_out(*rows), ("fox", "wolf"), sure=sure)
    assert counts.instances.tolist() == instances
    assert counts.same[0, 1] == counts.wins[0, 1] == instances[1] and counts.wins[1, 0] == 0


@pytest.mark.parametrize("concepts", [(), ("fox",), ("fox", "wolf")])
def test_counts_of_nothing(concepts):
    counts = cofire(*laid_out(), concepts)
    assert counts.same.shape == (len(concepts),) * 2 and not counts.same.any() and counts.pairs() == {}


rectangles = st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 4), st.integers(1, 4))
scenes = st.lists(
    st.tuples(
        st.integers(0, 1), st.sampled_from(["fox", "wolf", "dog", "bird"]), st.sampled_from([0.3, 0.6, 0.6, 0.9]),
        rectangles,
    ),
    max_size=8,
)  # fmt: skip


@settings(deadline=None)
@given(scenes, st.sampled_from([0.2, 0.5, SAME_MASK, 1.0]), st.sampled_from([0.0, 0.5]))
def test_counts_of_any_rectangles(rows, iou, sure):
    concepts = ("fox", "wolf", "dog")
    counts = cofire(*laid_out(*rows), concepts, iou, sure)
    rows = [row for row in rows if row[1] in concepts and row[2] >= sure]
    assert counts.instances.tolist() == [sum(row[1] == name for row in rows) for name in concepts]
    for a, first in enumerate(concepts):
        for b, second in enumerate(concepts):
            mine = [row for row in rows if row[1] == first]
            near = {k: [o for o in rows if o[1] == second != first and o[0] == row[0]] for k, row in enumerate(mine)}
            same = [(row, o) for k, row in enumerate(mine) for o in near[k] if iou_of(row[3], o[3]) >= iou]
            parts = [
                k for k, row in enumerate(mine)
                if any(iou_of(row[3], o[3]) < iou and inside_of(row[3], o[3]) >= PART for o in near[k])
            ]  # fmt: skip
            claimed = [k for k, row in enumerate(mine) if any(iou_of(row[3], o[3]) >= iou for o in near[k])]
            assert counts.same[a, b] == len(same)
            assert counts.wins[a, b] == sum(row[2] > o[2] for row, o in same)
            assert (counts.claimed[a, b], counts.inside[a, b]) == (len(claimed), len(parts))


@settings(deadline=None)
@given(scenes, st.randoms())
def test_the_order_of_instances_does_not_matter(rows, random):
    mixed = list(rows)
    random.shuffle(mixed)
    one, other = (cofire(*laid_out(*held), ("fox", "wolf", "dog")) for held in (rows, mixed))
    for name in ("instances", "same", "claimed", "wins", "inside"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
    assert np.array_equal(one.same, one.same.T) and not one.same.diagonal().any()
    assert (one.wins + one.wins.T <= one.same).all()
    assert (one.claimed <= np.minimum(one.same, one.instances[:, None])).all()
    assert ((one.claimed > 0) == (one.same > 0)).all() and (one.inside <= one.instances[:, None]).all()


# --- advice ---


def pair(first: str, second: str, **numbers) -> Confusion:
    blank = dict(
        same_masks=10, first_share=1.0, second_share=1.0, first_wins=5, second_wins=5, first_inside=0,
        second_inside=0, co_present=10, co_firing=1.0, advice="", policy="",
    )  # fmt: skip
    return Confusion(first, second, **blank | numbers)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("red cap", "cap", "every 'red cap' is 'cap', too"),
        ("cap", "red cap", "every 'red cap' is 'cap', too"),
        ("violin", "stringed instrument", "every 'violin' is 'stringed instrument', too"),
    ],
)
def test_a_kind_is_nested(first, second, words):
    advised = advise(pair(first, second, same_masks=4, second_share=0.4))
    assert advised.policy == "nest" and words in advised.advice and "nest it" in advised.advice
    shares = {first: "100%", second: "40%"}
    a, b = advised.first, advised.second
    assert words.startswith(f"every {a!r} is {b!r}"), "what is nested comes first"
    claim = f"{a!r} and {b!r} claim the same 4 masks ({shares[a]} of {a!r}, {shares[b]} of {b!r})"
    assert advised.advice.startswith(claim)
    assert advised.parent is None


@pytest.mark.parametrize(
    ("first", "second", "parent"),
    [
        ("mug", "cup", "drinking vessel"), ("red cap", "blue cap", "cap"), ("giraffe", "zebra", "ungulate"),
        ("couch", "sofa", "sofa"), ("qwertz", "asdf", None), ("fox", "wheel", None),
    ],
)  # fmt: skip
def test_what_means_the_same_is_merged(first, second, parent):
    advised = advise(pair(first, second, first_share=0.8, second_share=0.6))
    assert (advised.policy, advised.parent) == ("relabel", parent)
    assert parent_of(first, second) == parent_of(second, first) == parent
    named = repr(parent) if parent else "a name that covers both"
    assert f"they mean the same here; merge them (relabel both to {named})" in advised.advice


@pytest.mark.parametrize(("wins", "winner", "most"), [(7, "fox", 7), (3, "wolf", 7), (10, "fox", 10), (0, "wolf", 10)])
def test_of_look_alikes_the_more_confident_is_kept(wins, winner, most):
    advised = advise(pair("fox", "wolf", first_share=0.5, second_share=0.3, first_wins=wins, second_wins=10 - wins))
    assert advised.policy == "keep best"
    assert f"look-alikes; keep the more confident ({winner!r} in {most} of 10)" in advised.advice
    assert "nest" not in advised.advice


def test_look_alikes_of_which_one_may_be_a_kind_of_the_other():
    advised = advise(pair("beagle", "dog", first_share=0.9, second_share=0.3))
    assert advised.policy == "keep best"
    assert advised.advice.endswith("unless every 'beagle' is 'dog', too: then nest it")


@pytest.mark.parametrize("same", [0, 1])
def test_a_part_is_nested(same):
    advised = advise(pair("wheel", "car", same_masks=same, first_share=0, second_share=0, first_inside=6))
    assert (advised.policy, advised.advice) == ("nest", "6 of 'wheel' lie within 'car': a part of it; nest it")


def test_advice_changes_nothing_else():
    one = pair("fox", "wolf", first_share=0.5)
    assert replace(advise(one), advice="", policy="", parent=None) == one


@pytest.mark.parametrize("concepts", [("red cap", "cap"), ("cap", "red cap")])
def test_the_advice_can_be_followed_as_it_is(new_dataset, concepts):
    """first, second and policy are the arguments of apply_policy, with which a red cap becomes a part of a cap."""
    dataset = asked(new_dataset(), [[("red cap", A, 0.8), ("cap", A, 0.9)] for _ in range(2)], *concepts)
    (one,) = find_confusions(dataset, **LOOK).pairs
    assert one.policy == "nest"
    apply_policy(dataset, one.first, one.second, one.policy)
    for made in dataset:
        red, cap = made.sam3.detections
        assert red.get_attribute_value("parent", None) == cap.id and cap.get_attribute_value("parent", None) is None


def test_the_suggested_parent_can_be_taken(new_dataset):
    """Caps are asked for as well: then "cap" has instances of its own, and is no name for the other two."""
    rows = [[("red cap", A, 0.8), ("blue cap", A, 0.9), ("cap", FAR, 0.9)] for _ in range(2)]
    dataset = asked(new_dataset(), rows, "red cap", "blue cap", "cap")
    (one,) = find_confusions(dataset, **LOOK).pairs
    assert one.policy == "relabel"
    if one.parent is not None:
        apply_policy(dataset, one.first, one.second, one.policy, parent=one.parent)


def test_of_ties_nobody_wins(new_dataset):
    rows = [[("fox", A, 0.9), ("wolf", A, 0.9), ("fox", B, 0.9)], [("fox", A, 0.9), ("wolf", A, 0.9), ("fox", B, 0.9)]]
    dataset = asked(new_dataset(), rows, "fox", "wolf")
    (one,) = find_confusions(dataset, **LOOK).pairs
    assert one.policy == "keep best" and one.first_wins == 0
    assert "in 2 of 2" not in one.advice


# --- weighing ---


def weighed(concepts: tuple, instances: list, same: list, **held) -> list[Confusion]:
    size = len(concepts)
    blank = dict.fromkeys(("claimed", "wins", "inside"), np.zeros((size, size), np.int64))
    counts = Cofire(concepts, np.array(instances), np.array(same), **blank | {k: np.array(v) for k, v in held.items()})
    presence = np.array([[0.9] * size, [0.9, *[0.1] * (size - 1)], [0.1] * size, [np.nan] * size])
    answers = Answers(
        np.array(["a", "b", "c", "d"]), concepts, presence, presence, presence, dict.fromkeys(concepts, 0.5)
    )
    return weigh(counts, answers)


def test_shares_and_presence():
    (one,) = weighed(
        ("fox", "wolf"), [10, 4], [[0, 3], [3, 0]], claimed=[[0, 3], [2, 0]], wins=[[0, 1], [2, 0]],
        inside=[[0, 1], [0, 0]],
    )  # fmt: skip
    # the first is the one with the larger share
    assert (one.first, one.second, one.first_share, one.second_share) == ("wolf", "fox", 0.5, 0.3)
    assert (one.same_masks, one.first_wins, one.first_inside, one.second_inside) == (3, 2, 0, 1)
    assert (one.co_present, one.co_firing) == (1, 0.5)


@pytest.mark.parametrize(
    ("same", "instances", "expected"),
    [(2, [20, 20], 1), (1, [2, 2], 0), (2, [21, 21], 0), (2, [21, 2], 1), (0, [2, 2], 0)],
)
def test_few_masks_and_small_shares_are_not_worth_a_word(same, instances, expected):
    matrix = [[0, same], [same, 0]]
    assert len(weighed(("fox", "wolf"), instances, matrix, claimed=matrix)) == expected


def test_the_most_confused_come_first():
    matrix = [[0, 2, 5], [2, 0, 0], [5, 0, 0]]
    found = weighed(("fox", "wolf", "dog"), [9, 9, 9], matrix, claimed=matrix)
    assert [{one.first, one.second} for one in found] == [{"fox", "dog"}, {"fox", "wolf"}]


def test_one_concept_alone():
    assert weighed(("fox",), [9], [[0]]) == []


# --- clusters ---


def test_clusters():
    look = dict(policy="keep best")
    pairs = [
        pair("fox", "wolf", **look), pair("wolf", "dog", **look), pair("mug", "cup", policy="relabel"),
        pair("red cap", "cap", policy="nest"), pair("cap", "hat", **look), pair("bee", "fly", same_masks=0, **look),
    ]  # fmt: skip
    assert clusters(pairs) == [("dog", "fox", "wolf"), ("cap", "hat"), ("cup", "mug")]
    assert clusters(pairs[3:4]) == clusters([]) == []


# --- datasets ---


def label(name: str, box: tuple, confidence: float | None = None) -> fo.Detection:
    x, y, w, h = box
    return fo.Detection(
        label=name, bounding_box=[x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT], confidence=confidence,
        mask=np.ones((h, w), bool),
    )  # fmt: skip


def labels(held: list | None) -> fo.Detections | None:
    return None if held is None else fo.Detections(detections=[label(*one) for one in held])


def asked(dataset: fo.Dataset, rows: list[list | None], *concepts: str, field: str = "sam3") -> fo.Dataset:
    """As after a run that asked these concepts of images with these instances: a list of (label, box, confidence)."""
    samples = []
    for held in rows:
        made = fo.Sample(filepath=f"/nowhere/{uuid4()}.png", metadata=fo.ImageMetadata(width=WIDTH, height=HEIGHT))
        made[field], made["note"] = labels(held), "a"
        names = {name for name, _, _ in held or []}
        write(made, Ledger(), [ConceptResult(c, 0.9 if c in names else 0.1, 0.9, (), 0, 0.5) for c in concepts])
        samples.append(made)
    dataset.add_samples(samples, dynamic=True, progress=False)
    start_run(dataset, Ledger(), parse_concepts(concepts), {})
    note_label_field(dataset, Ledger(), field)
    return dataset


#: two animals taken for each other three times out of four, a wheel, what is seen once, and what was never looked at
ZOO = [
    [("fox", A, 0.9), ("wolf", A, 0.6), ("wheel", SPOT, 0.9)],
    [("fox", A, 0.5), ("wolf", MOST, 0.8), ("wheel", SPOT, 0.9)],
    [("fox", B, 0.9), ("wolf", B, 0.3)],
    [("fox", A, 0.9), ("wolf", B, 0.9), ("hat", B, 0.9)],
    [],
    None,
]
CONCEPTS = ("fox", "wolf", "wheel", "hat")


@pytest.fixture(scope="module")
def zoo() -> Iterator[fo.Dataset]:
    """One for all who only look, and for all refusals: nothing of them stays."""
    dataset = fo.Dataset(f"test-{uuid4().hex[:8]}", persistent=True)
    yield asked(dataset, ZOO, *CONCEPTS)
    dataset.delete()


def test_found_on_a_dataset(zoo):
    found = find_confusions(zoo, **LOOK)
    one = found.pair("wolf", "fox")
    assert found.pair("fox", "wolf") == one == found.pairs[0]
    assert (one.first, one.same_masks, one.first_share, one.second_share) == ("wolf", 2, 0.6667, 0.5)
    assert (one.first_wins, one.co_present, one.co_firing, one.policy) == (1, 4, 1.0, "keep best")
    assert {(p.first, p.second, p.policy) for p in found.of("wheel")} == {
        ("wheel", "fox", "nest"), ("wheel", "wolf", "nest"),
    }  # fmt: skip
    assert found.of("hat") == [] and found.clusters == (("fox", "wolf"),)
    assert (found.key, found.label_field, found.iou) == ("", "sam3", SAME_MASK)
    assert str(found).startswith("'wolf' and 'fox' claim the same 2 masks (67% of 'wolf', 50% of 'fox'): look-alikes")
    with pytest.raises(CurationError, match="'fox' and 'hat' are not confused: no 70% overlap was found"):
        found.pair("fox", "hat")


def test_thresholds(zoo):
    def same(**numbers):
        found = find_confusions(zoo, concepts=["fox", "wolf"], **numbers, **LOOK)
        return [one.same_masks for one in found.pairs]

    assert same() == [2]
    assert same(sure=0.3) == [3] and same(sure=0) == [3]
    assert same(sure=0.51) == [] and same(sure=1) == []
    assert same(iou=0.9) == [] and same(iou=0.9, sure=0) == [2]
    assert same(use_masks=False) == [2]


def test_masks_and_boxes(new_dataset):
    """Two halves of one box: the same by their boxes, apart by their masks."""
    dataset = asked(new_dataset(), [[("fox", A, 0.9), ("wolf", A, 0.9)] for _ in range(2)], "fox", "wolf")
    for made in dataset.iter_samples(autosave=True):
        fox, wolf = made.sam3.detections
        fox.mask = np.ones((6, 6), bool)
        fox.mask[3:] = False
        wolf.mask = ~fox.mask
    assert find_confusions(dataset, **LOOK).pairs == ()
    assert find_confusions(dataset, use_masks=False, **LOOK).pairs[0].same_masks == 2


def test_views_and_concepts(zoo):
    assert find_confusions(zoo.limit(1), **LOOK).pairs == ()
    assert {(p.first, p.second) for p in find_confusions(zoo, concepts=["wheel", "fox"], **LOOK).pairs} == {
        ("wheel", "fox")
    }
    assert str(find_confusions(zoo, concepts="hat", **LOOK)) == "no two concepts claim the same masks"


def test_the_samples_of_a_pair(new_dataset):
    dataset = asked(new_dataset(), ZOO[:5], *CONCEPTS)
    found = find_confusions(dataset, **LOOK)
    view = found.view(dataset, "fox", "wolf")
    assert view.values("id") == dataset.values("id")[:4]
    assert set(view.values("sam3.detections.label", unwind=True)) == {"fox", "wolf"}
    assert found.view(dataset, "wheel", "wolf").values("id") == dataset.values("id")[:2]
    assert len(found.view(dataset.skip(2), "wolf", "wheel")) == 0


def test_the_samples_of_a_pair_where_others_were_never_looked_at(zoo):
    assert find_confusions(zoo, **LOOK).view(zoo, "fox", "wolf").values("id") == zoo.values("id")[:4]


def test_together(new_dataset):
    rows = [[(name, A, 0.9) for name in ("fox", "wolf", "dog")] for _ in range(3)]
    found = find_confusions(asked(new_dataset(), rows, "fox", "wolf", "dog"), **LOOK)
    assert len(found.pairs) == 3 and str(found).endswith("together: dog, fox, wolf")
    assert set(found.to_pandas()["same_masks"]) == {3}


def test_stored_and_loaded(zoo):
    before = set(zoo.get_field_schema(flat=True))
    found = find_confusions(zoo, progress=False)
    dataset = fo.load_dataset(zoo.name)
    dataset.clear_cache()
    assert load_confusions(dataset) == found and found.key == "confusions"
    second = find_confusions(zoo, iou=0.9, progress=False)
    assert load_confusions(zoo) == second != found and second.iou == 0.9
    third = find_confusions(zoo, key="third", concepts=["hat"], progress=False)
    assert load_confusions(zoo, "third") == third == Confusions("third", "sam3", (), ())
    assert set(zoo.get_field_schema(flat=True)) == before  # nothing is written on samples
    for key in ("confusions", "third"):
        delete_findings(zoo, key)
    assert zoo.list_runs() == ["sam3"]
    with pytest.raises(CurationError, match="has no confusions 'confusions'"):
        load_confusions(zoo)


def test_nothing_is_kept_without_a_key(zoo):
    find_confusions(zoo, **LOOK)
    assert zoo.list_runs() == ["sam3"]


def test_progress(zoo):
    steps = list(confusion_steps(zoo, key=None))
    assert (steps[0].done, steps[0].total, steps[0].result) == (0, 6, None) and steps[-1].done == 6
    assert steps[-1].result == find_confusions(zoo, **LOOK)


def test_instances_in_a_field_of_another_name(new_dataset):
    dataset = asked(new_dataset(), ZOO[:4], *CONCEPTS, field="animals")
    found = find_confusions(dataset, "animals", **LOOK)
    assert found.label_field == "animals" and found.pair("fox", "wolf").same_masks == 2
    assert len(found.view(dataset, "fox", "wolf")) == 4


@pytest.fixture
def film(new_dataset) -> fo.Dataset:
    """Two videos: what is confused in their frames; the ledger is of the whole videos."""
    samples = []
    for frames in (ZOO[:2], [ZOO[3], ZOO[1], []]):
        size = fo.VideoMetadata(frame_width=WIDTH, frame_height=HEIGHT, total_frame_count=len(frames))
        made = fo.Sample(filepath=f"/nowhere/{uuid4()}.mp4", metadata=size)
        for number, held in enumerate(frames, 1):
            made.frames[number] = fo.Frame(sam3=labels(held))
        write(made, Ledger(), [ConceptResult(c, 0.9, 0.9, (), 1, 0.5) for c in CONCEPTS])
        samples.append(made)
    dataset = new_dataset()
    dataset.add_samples(samples, dynamic=True, progress=False)
    start_run(dataset, Ledger(), parse_concepts(CONCEPTS), {})
    return dataset


def test_frames_of_videos(film):
    found = find_confusions(film, progress=False)
    assert found.label_field == "frames.sam3" and found.pair("fox", "wolf").same_masks == 3
    assert find_confusions(film, "frames.sam3", **LOOK).pairs == found.pairs == load_confusions(film).pairs
    with pytest.raises(CurationError, match="Policies change the labels of images"):
        apply_policy(film, "fox", "wolf", "keep best")


def test_the_videos_of_a_pair(film):
    found = find_confusions(film, **LOOK)
    view = found.view(film, "fox", "wolf")
    assert len(view) == 2 and set(view.values("frames.sam3.detections.label", unwind=True)) == {"fox", "wolf"}
    assert len(found.view(film, "fox", "hat")) == 1


# --- what is refused, before anything is stored ---


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(iou=1.5), r"iou=1.5 must be a number in \[0, 1\]"),
        (dict(iou="high"), "iou='high' must be a number"),
        (dict(iou=float("nan")), "iou=nan must be a number"),
        (dict(sure=-0.1), r"sure=-0.1 must be a number in \[0, 1\]"),
        (dict(sure=True), "sure=True must be a number"),
        (dict(label_field="none"), "label_field 'none' is not a field"),
        (dict(label_field="note"), "label_field 'note' holds StringField; Detections are needed here"),
        (dict(concepts=["foxes"]), "'foxes' was not asked of this dataset; the nearest that were: 'fox'"),
        (dict(concepts=[]), "No concepts were named"),
        (dict(ledger="other"), "has no concept ledger 'other'; there is 'sam3'"),
        (dict(concepts=[5]), "concepts: 5 is no word"),
        (dict(iuo=0.5), r"find_confusions\(\) has no setting 'iuo'; did you mean 'iou'\?"),
        (dict(key="note"), "key='note' would write beside the field 'note'"),
        (dict(key="sam3"), "key='sam3' is already the name of a run .sam3_concepts."),
        (dict(key="1st"), "key='1st' must be a plain word, such as 'confusions'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_stored(zoo, given, message):
    before = set(zoo.get_field_schema(flat=True))
    with pytest.raises(CurationError, match=message):
        find_confusions(zoo, progress=False, **given)
    assert set(zoo.get_field_schema(flat=True)) == before and zoo.list_runs() == ["sam3"]


def test_concepts_that_were_not_asked(zoo):
    for found in (find_confusions(zoo, concepts=["fox", "wolf"], progress=False), load_confusions(zoo)):
        assert found.of("hat") == [] and len(found.view(zoo, "hat", "wheel")) == 0
        for ask_it in (found.of, lambda name, found=found: found.view(zoo, "hat", name)):
            with pytest.raises(CurationError, match="'foxes' is no concept that was asked; the nearest: 'fox'"):
                ask_it("foxes")
    delete_findings(zoo, "confusions")


def test_samples_that_nobody_asked(new_dataset):
    zoo = asked(new_dataset(), ZOO, *CONCEPTS)
    zoo.add_sample(fo.Sample(filepath="/nowhere/new.png", sam3=labels([])))
    with pytest.raises(CurationError, match="SAM 3 was not asked about 'fox'.* in any of these 1 samples"):
        find_confusions(zoo.select(zoo.last().id), progress=False)


def test_without_samples_or_a_ledger(zoo, new_dataset):
    with pytest.raises(CurationError, match="There is nothing to look at: no samples"):
        find_confusions(zoo.limit(0), **LOOK)
    bare = fo.Sample(filepath="/nowhere/bare.png", sam3=labels([]))
    with pytest.raises(CurationError, match="has no concept ledger 'sam3': ask SAM 3 first"):
        find_confusions(new_dataset([bare]), **LOOK)
