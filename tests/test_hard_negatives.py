"""Hard negatives: what each source finds, how it is ranked, and what is written, loaded and refused.

Ranks are worked out by hand: presence × (1 + overlap) / 2 × diversity × (1 − doubt). Images are 20 × 10 pixels;
labels are rectangles of pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from uuid import uuid4

import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F
from hypothesis import given
from hypothesis import strategies as st

from curation.answers import Answers
from curation.errors import CurationError
from curation.hard_negatives import as_view, find_hard_negatives, hard_negative_steps, load_hard_negatives
from curation.instances import Instances, Layout, Overlaps
from curation.kin import Family, Kin, find_kin
from curation.negatives import SOURCES, HardNegative, explain, mine
from curation.records import delete_findings
from curation.suspicion import Suspicion
from curation.swaps import ask_swaps
from curation.truth import Truth, verify
from zoo.engine.concepts import parse_concepts
from zoo.engine.results import ConceptResult
from zoo.ledger import Ledger, declare, write
from zoo.provenance import start_run

WIDTH, HEIGHT = 20, 10
A, B, FAR = (1, 1, 6, 6), (9, 2, 6, 6), (16, 0, 3, 3)
NONE = np.zeros(0)
#: keys of senses in the noun graph
VIOLA, FLOWER = "n04536335", "n12387633"


# --- literal data: rows of numbers ---


def said(thresholds: dict | None = None, **presence) -> Answers:
    """Concept → its presence in each row; "_" stands for a blank."""
    concepts = tuple(name.replace("_", " ") for name in presence)
    numbers = np.array(list(presence.values()), dtype=np.float64).T
    ids = np.array([f"row {k}" for k in range(len(numbers))])
    levels = {c: (thresholds or {}).get(c, 0.5) for c in concepts}
    return Answers(ids, concepts, numbers, numbers, (numbers >= 0.5) * 1.0, levels)


def fact(**there) -> Truth:
    """Concept → in each row 1: there, 0: not there, None: nobody knows."""
    numbers = np.array(list(there.values()), dtype=np.float64).T
    known = ~np.isnan(numbers)
    return Truth(numbers == 1, known, known, np.zeros_like(known), (numbers == 1).any(axis=0))


def kin(relation: str = "sibling", **rivals: str) -> Kin:
    """Concept → its rivals, comma-separated."""
    names = {name.replace("_", " "): held.split(", ") for name, held in rivals.items()}
    return Kin({name: dict.fromkeys(held, relation) for name, held in names.items()}, {})


def table(rows: list[tuple], images: int = 9) -> Instances:
    """Of (row, label, confidence)."""
    where, names, sure = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    blank, places = np.full(len(rows), np.nan), np.array(where, dtype=np.int64)
    ids = np.array([f"id {k}" for k in range(len(rows))])
    return Instances(
        "sam3", ids, places, places, np.array(names, dtype=str), np.array(sure, dtype=np.float64), blank, blank, blank,
        np.array([f"row {k}" for k in range(images)]), images, np.zeros(images, np.int64),
    )  # fmt: skip


def pairs(*which: tuple[int, int, float]) -> Overlaps:
    """Of (first, second, IoU)."""
    first, second, iou = zip(*which, strict=True) if which else ((), (), ())
    whole = np.array(iou, dtype=np.float64)
    return Overlaps(np.array(first, np.int64), np.array(second, np.int64), whole, whole, whole)


def ranks(found: list[HardNegative]) -> list[tuple]:
    return [(int(one.sample_id[4:]), one.concept, one.score) for one in found]


# --- contradicted ---


def test_contradicted():
    answers = said(dog=[0.9, 0.8, 0.4, 0.7, None])
    truth = fact(dog=[0, 1, 0, None, 0])
    (one,) = mine(answers, truth, kin())
    assert one == HardNegative(
        "row 0", "dog", 0.45, ("contradicted",), None, 0.9, 0.0, 1.0, True,
        "no 'dog' (labelled as absent), yet its presence is 0.90",
    )  # fmt: skip


def test_contradicted_where_presence_is_above_the_concepts_own_threshold():
    truth = fact(dog=[0, 0], cat=[0, 0])
    found = mine(said({"dog": 0.85}, dog=[0.9, 0.8], cat=[0.6, 0.4]), truth, kin())
    assert {(one.sample_id, one.concept) for one in found} == {("row 0", "dog"), ("row 0", "cat")}


@pytest.mark.parametrize(("iou", "score"), [(1.0, 0.8), (0.5, 0.6), (0.2, 0.48)])
def test_the_label_below_the_instance_is_named_and_counts(iou, score):
    answers, truth = said(dog=[0.8], wolf=[0.1]), fact(dog=[0], wolf=[1])
    found, labels = table([(0, "dog", 0.8), (0, "dog", 0.7)]), table([(0, "wolf", np.nan), (0, "sheep", np.nan)])
    layout = Layout(found, pairs(), labels, pairs((0, 0, iou), (0, 1, 0.1), (1, 1, 0.15)))
    (one,) = mine(answers, truth, kin(), layout)
    assert (one.rival, one.overlap) == ("wolf", iou)
    assert one.score == pytest.approx(score)
    assert one.because.endswith("'wolf' (labelled) is there" + (f", on the same pixels (IoU {iou:.2f})" * (iou >= 0.5)))


def test_instances_of_other_rows_and_concepts_say_nothing():
    answers, truth = said(dog=[0.8, 0.8], cat=[0.1, 0.1]), fact(dog=[0, 1], cat=[1, 1])
    layout = Layout(
        table([(0, "cat", 0.9), (1, "dog", 0.9), (0, "horse", 0.9)]), pairs(), table([(0, "cat", 1), (1, "cat", 1)]),
        pairs((0, 0, 0.9), (1, 1, 0.9), (2, 0, 0.9)),
    )  # fmt: skip
    (one,) = mine(answers, truth, kin(), layout)
    assert (one.sample_id, one.rival, one.overlap, one.score) == ("row 0", None, 0.0, 0.4)


def test_a_label_that_a_person_denied_is_not_what_is_there_instead():
    """The label says "dog"; somebody looked, and said that there is none."""
    answers, truth = said(dog=[0.8]), fact(dog=[0])
    layout = Layout(table([(0, "dog", 0.8)]), pairs(), table([(0, "dog", np.nan)]), pairs((0, 0, 1.0)))
    assert [one.rival for one in mine(answers, truth, kin(), layout)] in ([], [None])


# --- neighbour ---


def test_a_neighbour_is_there_instead():
    answers = said(wolf=[0.4, 0.4, 0.4, 0.04, 0.05, None], fox=[0.9, 0.3, None, 0.9, 0.9, 0.9])
    found = mine(answers, None, kin(wolf="fox"), features=np.eye(6))
    assert ranks(found) == [(0, "wolf", 0.2), (4, "wolf", 0.025)]
    assert found[0].because == (
        "no 'wolf' (the model itself decides against it), yet its presence is 0.40: 'fox' (sibling) is there"
    )
    assert (found[0].sources, found[0].rival, found[0].known) == (("neighbour",), "fox", False)


def test_a_neighbour_is_there_on_the_same_mask():
    answers = said(wolf=[0.4], fox=[0.9])
    layout = Layout(table([(0, "wolf", 0.3), (0, "fox", 0.8)]), pairs((0, 1, 0.75)))
    (one,) = mine(answers, None, kin(wolf="fox"), layout)
    assert (one.overlap, one.score) == (0.75, pytest.approx(0.4 * 1.75 / 2))
    assert one.because.endswith("'fox' (sibling) is there, on the same pixels (IoU 0.75)")


@pytest.mark.parametrize("swapped", [False, True])
def test_the_order_of_instances_does_not_matter(swapped):
    rows, order = [(0, "wolf", 0.3), (0, "fox", 0.8)], slice(None, None, -1 if swapped else 1)
    layout = Layout(table(rows[order]), pairs((0, 1, 0.75)))
    found = mine(said(wolf=[0.7], fox=[0.9]), None, kin(wolf="fox", fox="wolf"), layout)
    assert ranks(found) == [(0, "wolf", pytest.approx(0.7 * 1.75 / 2 * 0.5, abs=1e-4))]  # not the fox: it leads


@pytest.mark.parametrize(
    ("wolf", "fox", "iou", "trust"),
    [
        (0.5, 0.8, 0.9, 0.3),  # as far as the rival leads
        (0.8, 0.5, 0.9, None),  # it does not
        (0.5, 0.5, 0.9, None),
        (0.2, 0.9, 0.4, None),  # two animals
        (0.2, 0.9, 0.5, 0.7),
    ],
)
def test_where_both_are_present_the_model_must_prefer_the_rival(wolf, fox, iou, trust):
    layout = Layout(table([(0, "wolf", wolf), (0, "fox", fox)]), pairs((0, 1, iou)))
    found = mine(said(wolf=[0.8], fox=[0.9]), None, kin(wolf="fox"), layout)
    assert [one.score for one in found] == ([] if trust is None else [pytest.approx(0.8 * (1 + iou) / 2 * trust)])


def test_where_both_are_present_and_nothing_is_known_of_masks_nothing_is_said():
    assert mine(said(wolf=[0.8], fox=[0.9]), None, kin(wolf="fox")) == []


@pytest.mark.parametrize(
    ("wolf", "fox", "expected"),
    [
        (0, 1, True),
        (1, 1, False),  # it is there
        (0, 0, False),  # the rival is not, whatever the model says
        (0, None, True),  # the model's word for the rival
        (None, 1, False),  # nobody says that it is absent, and the model thinks it is there
    ],
)
def test_what_is_known_of_both_goes_before_what_the_model_says(wolf, fox, expected):
    found = mine(said(wolf=[0.8], fox=[0.9]), fact(wolf=[wolf], fox=[fox]), kin(wolf="fox"), sources=["neighbour"])
    assert ranks(found) == [(0, "wolf", 0.4)] * expected
    assert all(one.known for one in found)


def test_a_rival_that_the_model_misses_is_there_if_that_is_known():
    found = mine(said(wolf=[0.3], fox=[0.1]), fact(wolf=[0], fox=[1]), kin(wolf="fox"))
    assert ranks(found) == [(0, "wolf", 0.15)]


def test_the_clearest_of_several_rivals_is_named():
    answers = said(wolf=[0.4], fox=[0.9], dog=[0.9], jackal=[0.1])
    layout = Layout(table([(0, "wolf", 0.3), (0, "fox", 0.8), (0, "dog", 0.8)]), pairs((0, 1, 0.2), (0, 2, 0.6)))
    (one,) = mine(answers, None, kin(wolf="fox, dog, jackal"), layout)
    assert (one.rival, one.overlap, one.sources) == ("dog", 0.6, ("neighbour",))


def test_the_strongest_of_several_rivals_ranks():
    """A rival that hardly leads must not take the rank of one that clearly does."""
    answers = said(wolf=[0.8], fox=[0.9], dog=[0.9])
    layout = Layout(table([(0, "wolf", 0.5), (0, "fox", 0.9), (0, "dog", 0.51)]), pairs((0, 1, 0.8), (0, 2, 0.9)))
    (alone,) = mine(answers, None, kin(wolf="fox"), layout)
    (both,) = mine(answers, None, kin(wolf="fox, dog"), layout)
    assert alone.score == pytest.approx(0.8 * 1.8 / 2 * 0.4) and both.score >= alone.score


# --- swap ---


def test_swap():
    answers = said(blue_cap=[0.3, 0.3, 0.7], red_cap=[0.8, 0.2, 0.9])
    layout = Layout(
        table([(0, "blue cap", 0.2), (0, "red cap", 0.8), (2, "red cap", 0.8), (2, "blue cap", 0.6)]),
        pairs((0, 1, 1.0), (2, 3, 0.6)),
    )  # fmt: skip
    found = mine(answers, None, find_kin(answers.concepts), layout, features=np.eye(3))
    # both are present in the last row: as far as the red one leads
    assert ranks(found) == [(0, "blue cap", 0.3), (2, "blue cap", pytest.approx(0.7 * 0.8 * 0.2))]
    assert {one.sources for one in found} == {("swap",)}
    assert found[0].because.endswith("'red cap' (another attribute) is there, on the same pixels (IoU 1.00)")


# --- what a concept file says ---


def test_named_neighbours_are_rivals_both_ways_and_before_what_the_graph_says():
    held = find_kin(["gizmo", "gadget", "fox", "wolf"], family=Family({"gizmo": ("gadget", "thing"), "fox": ("wolf",)}))
    assert held.rivals["gizmo"] == {"gadget": "named neighbour"}
    assert held.rivals["gadget"] == {"gizmo": "named neighbour"}
    assert held.rivals["fox"]["wolf"] == held.rivals["wolf"]["fox"] == "named neighbour"


def test_a_parent_is_no_rival_however_far_up():
    parents = {"fox": "canid", "canid": "wolf", "wolf": "fox"}  # a file can say anything, a circle too
    held = find_kin(["fox", "wolf", "red cap", "cap"], family=Family({"fox": ("wolf",)}, parents))
    assert held.rivals["fox"] == held.rivals["wolf"] == {}
    assert Family({}, parents).above("fox") == ["canid", "wolf", "fox"]
    alone = find_kin(["fox", "wolf"], "usual", family=Family({}, {"fox": "wolf"}))
    assert alone.rivals == {"fox": {}, "wolf": {}} and find_kin(["fox", "wolf"], "usual").rivals["fox"]


# --- sources ---


def test_sources_that_agree_are_one_finding():
    answers, truth = said(wolf=[0.8], fox=[0.9]), fact(wolf=[0], fox=[1])
    layout = Layout(table([(0, "wolf", 0.7), (0, "fox", 0.8)]), pairs((0, 1, 0.5)), table([]), pairs())
    (one,) = mine(answers, truth, kin(wolf="fox"), layout)
    assert (one.sources, one.rival, one.score) == (("neighbour", "contradicted"), "fox", pytest.approx(0.8 * 0.75))


def test_only_the_sources_that_are_wanted():
    answers = said(blue_cap=[0.6, 0.4], red_cap=[0.1, 0.9], hat=[0.9, 0.1])
    truth = fact(blue_cap=[0, 0], red_cap=[0, 1], hat=[1, 0])
    both = Kin({"blue cap": {"red cap": "swap", "hat": "sibling"}, "red cap": {}, "hat": {}}, {})

    def rows(*sources):
        return sorted((int(n.sample_id[4:]), n.sources) for n in mine(answers, truth, both, sources=sources))

    assert rows("contradicted") == [(0, ("contradicted",))]
    assert rows("neighbour") == [(0, ("neighbour",))] and rows("swap") == [(1, ("swap",))]
    assert rows(*SOURCES)[1] == (1, ("swap",))


def test_only_the_concepts_that_are_wanted():
    answers, truth = said(dog=[0.9], cat=[0.8]), fact(dog=[0], cat=[0])
    assert [one.concept for one in mine(answers, truth, kin(), concepts=["cat"])] == ["cat"]


def test_nothing_known_and_no_rival():
    assert mine(said(dog=[0.9, 0.2]), None, kin()) == []


@pytest.mark.parametrize("relation", ["confusion", "cousin", "swap"])
def test_words_for_a_relation(relation):
    one = HardNegative("row 0", "wolf", 0.5, ("neighbour",), "fox", 0.5, 0.0, 1.0, True, "")
    words = explain(one, kin(relation, wolf="fox"))
    assert f"'fox' ({'another attribute' if relation == 'swap' else relation}) is there" in words


# --- rank ---


def test_two_alike_and_one_different():
    """The second of two that are alike counts half; what comes after the different one stays."""
    answers, truth = said(dog=[0.9, 0.8, 0.6]), fact(dog=[0, 0, 0])
    features = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
    found = mine(answers, truth, kin(), features=features)
    assert ranks(found) == [(0, "dog", 0.45), (2, "dog", 0.3), (1, "dog", 0.2)]
    assert [one.diversity for one in found] == [1.0, 1.0, 0.5]
    assert ranks(mine(answers, truth, kin(), features=features, per_concept=2)) == [(0, "dog", 0.45), (2, "dog", 0.3)]


def test_half_alike_costs_a_quarter():
    features = np.array([[1.0, 0.0], [0.5, np.sqrt(3) / 2]])
    found = mine(said(dog=[0.9, 0.8]), fact(dog=[0, 0]), kin(), features=features)
    assert [(one.diversity, one.score) for one in found] == [(1.0, 0.45), (0.75, 0.3)]


def test_opposite_features_are_no_reward():
    found = mine(said(dog=[0.9, 0.8]), fact(dog=[0, 0]), kin(), features=np.array([[1.0], [-1.0]]))
    assert [one.diversity for one in found] == [1.0, 1.0]


def test_without_features_presences_make_samples_alike():
    answers = said(dog=[0.9, 0.9, 0.8], cat=[0.0, 0.0, 0.9], fish=[None, None, 0.0])
    found = mine(answers, fact(dog=[0, 0, 0], cat=[0, 0, 0], fish=[0, 0, 0]), kin(), concepts=["dog"])
    cosine = 0.8 / np.hypot(0.8, 0.9)
    assert [one.sample_id for one in found] == ["row 0", "row 2", "row 1"]
    assert [one.diversity for one in found] == pytest.approx([1, 1 - cosine / 2, 0.5], abs=1e-4)


def test_each_concept_has_its_own_cap():
    answers, truth = said(dog=[0.9, 0.8, 0.7], cat=[0.6, 0.7, 0.8]), fact(dog=[0, 0, 0], cat=[0, 0, 0])
    for most in (1, 2, 3):
        found = mine(answers, truth, kin(), per_concept=most, features=np.eye(3))
        assert Counter(one.concept for one in found) == {"dog": most, "cat": most}
        assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
        assert {"row 0", "row 2"} <= {one.sample_id for one in found}


def suspicion(*doubt: float) -> Suspicion:
    """That each instance is there, whatever the labels say; nothing else matters here."""
    ours = {field.name: np.full(len(doubt), np.nan) for field in fields(Suspicion)}
    return Suspicion(**ours | dict(doubt=np.array(doubt)))


@pytest.mark.parametrize(("doubt", "scores"), [(0.0, [0.45]), (0.75, [0.1125]), (1.0, [])])
def test_what_is_probably_there_whatever_the_labels_say_is_no_hard_negative(doubt, scores):
    """The surest of its instances counts, and none of another concept."""
    answers, truth = said(dog=[0.9], cat=[0.1]), fact(dog=[0], cat=[0])
    layout = Layout(table([(0, "dog", 0.8), (0, "dog", 0.1), (0, "cat", 0.1)]), pairs(), table([]), pairs())
    found = mine(answers, truth, kin(), layout, suspicion=suspicion(doubt, doubt / 2, 1.0))
    assert [one.score for one in found] == pytest.approx(scores, abs=1e-4)


def test_many_doubts_cost_no_hard_negative():
    """Of 100 dogs that were never labelled, none hides the one thing that is none."""
    many = 100
    answers, truth = said(dog=[0.9] * many + [0.6]), fact(dog=[0] * (many + 1))
    layout = Layout(table([(k, "dog", 0.9) for k in range(many)], many + 1), pairs(), table([]), pairs())
    found = mine(answers, truth, kin(), layout, suspicion=suspicion(*[1.0] * many), per_concept=1)
    assert ranks(found) == [(many, "dog", 0.3)]


def test_a_doubt_counts_in_its_own_image():
    answers, truth = said(dog=[0.9, 0.9]), fact(dog=[0, 0])
    layout = Layout(table([(0, "dog", 0.8), (1, "dog", 0.8)]), pairs(), table([]), pairs())
    found = mine(answers, truth, kin(), layout, suspicion=suspicion(0.0, 0.8), features=np.eye(2))
    assert ranks(found) == [(0, "dog", 0.45), (1, "dog", 0.09)]


@given(
    st.lists(
        st.tuples(*[st.one_of(st.none(), st.floats(0, 1))] * 3, *[st.sampled_from([0, 1, None])] * 3),
        min_size=1, max_size=8,
    ),
    st.integers(1, 4), st.booleans(),
)  # fmt: skip
def test_whatever_the_numbers(rows, most, blind):
    columns = list(zip(*rows, strict=True))
    answers = said(wolf=columns[0], fox=columns[1], red_cap=columns[2])
    truth = None if blind else fact(wolf=columns[3], fox=columns[4], cap=columns[5])
    found = mine(answers, truth, kin(wolf="fox", fox="wolf, red cap"), per_concept=most)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert len({(one.sample_id, one.concept) for one in found}) == len(found)
    assert all(count <= most for count in Counter(one.concept for one in found).values())
    for one in found:
        row, k = int(one.sample_id[4:]), answers.place(one.concept)
        assert 0 <= one.score <= one.presence == answers.presence[row, k] and 0.5 <= one.diversity <= 1
        assert one.rival != one.concept and set(one.sources) <= set(SOURCES) and one.because
        if blind:
            assert not one.known and not answers.present[row, k]
        else:
            assert not (truth.known & truth.present)[row, k] and one.known == truth.absent[row, k]


# --- datasets ---


def label(name: str, box: tuple, confidence: float | None = None, **attributes) -> fo.Detection:
    x, y, w, h = box
    return fo.Detection(
        label=name, bounding_box=[x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT], confidence=confidence,
        mask=np.ones((h, w), bool), **attributes,
    )  # fmt: skip


def sample(truth: list | None, found: list | None, **fields) -> fo.Sample:
    made = fo.Sample(
        filepath=f"/nowhere/{np.random.default_rng().integers(1 << 60)}.png",
        metadata=fo.ImageMetadata(width=WIDTH, height=HEIGHT), **fields,
    )  # fmt: skip
    made["ground_truth"] = truth if truth is None else fo.Detections(detections=truth)
    made["sam3"] = found if found is None else fo.Detections(detections=found)
    return made


def asked(dataset: fo.Dataset, samples: list[fo.Sample], **presence) -> fo.Dataset:
    """As after a run; concept → its presence in each sample, None where it was not asked."""
    names = [name.replace("_", " ") for name in presence]
    for one, levels in zip(samples, zip(*presence.values(), strict=True), strict=True):
        known = [(name, level) for name, level in zip(names, levels, strict=True) if level is not None]
        write(one, Ledger(), [ConceptResult(name, level, level, (), int(level > 0.5), 0.5) for name, level in known])
    dataset.add_samples(samples, dynamic=True, progress=False)
    start_run(dataset, Ledger(), parse_concepts(names), {})
    return dataset


def by_place(dataset: fo.Dataset, found: list[HardNegative]) -> dict[int, HardNegative]:
    """Which sample → what was found there, the hardest first."""
    order = dataset.values("id")
    return {order.index(one.sample_id): one for one in found}


def schema(dataset: fo.Dataset) -> set[str]:
    return set(dataset.get_field_schema(flat=True))


def make_strings() -> list[fo.Sample]:
    """A cello that is one; a cello that is taken for a violin; nothing; a violin that nobody labelled, by the looks."""
    return [
        sample([label("cello", A)], [label("cello", A, 0.9)]),
        sample([label("cello", A)], [label("cello", A, 0.7), label("violin", A, 0.6)]),
        sample([], []),
        sample([], [label("violin", B, 0.9)]),
    ]


STRINGS = dict(violin=[0.1, 0.8, 0.2, 0.95], cello=[0.95, 0.9, 0.3, 0.1])


@pytest.fixture
def strings(new_dataset) -> fo.Dataset:
    return asked(new_dataset(), make_strings(), **STRINGS)


@pytest.fixture(scope="module")
def untouched() -> Iterator[fo.Dataset]:
    """The same, for all who only look, and for all refusals: none of them may change it."""
    dataset = fo.Dataset(f"test-{uuid4().hex[:8]}", persistent=True)
    samples = make_strings()
    for k, one in enumerate(samples):
        one["hard_ones"], one["note"], one["words"] = True, "a", ["a"]
        one["uneven"], one["missing"] = [1.0] * (k + 1), None if k == 2 else [1.0]
    asked(dataset, samples, **STRINGS)
    dataset.evaluate_detections("sam3", gt_field="ground_truth", eval_key="coco", progress=False)
    yield dataset
    dataset.delete()


@pytest.fixture
def caps(new_dataset) -> fo.Dataset:
    """Red caps, that are caps, too."""
    instances = [("red cap", 0.9), ("cap", 0.8), ("blue cap", 0.3)]
    return asked(
        new_dataset(),
        [sample([label("red cap", A)], [label(name, A, sure) for name, sure in instances]) for _ in range(4)],
        red_cap=[0.9] * 4, cap=[0.9, 0.8, 0.4, 0.3], blue_cap=[0.4] * 4,
    )  # fmt: skip


#: nothing is stored
LOOK = dict(key=None, progress=False)
TRUTH = dict(label_field="sam3", gt_field="ground_truth", exhaustive=True, progress=False)


def test_found_on_a_dataset(untouched):
    found = find_hard_negatives(untouched, **TRUTH | LOOK)
    rows = by_place(untouched, found.of("violin"))
    assert list(rows) == [1, 3, 0]
    assert (rows[1].rival, rows[1].overlap, rows[1].score, rows[1].known) == ("cello", 1.0, 0.8, True)
    assert set(rows[1].sources) == {"contradicted", "neighbour"} and rows[0].sources == ("neighbour",)
    assert not found.of("cello")  # of the last one too, that there is no violin is known better
    assert found.counts == {"violin": 3} and len(found) == 3
    assert str(found).startswith("3 hard negatives: violin 3\n  0.80  no 'violin' (labelled as absent), yet its")


@pytest.mark.parametrize(("labels", "most"), [([], 0.15), ([("cello", A)], 0.3), ([("cello", B)], 0.15)])
def test_what_seems_to_be_a_missing_or_wrong_label_ranks_low(new_dataset, labels, most):
    """A dozen violins are labelled; so the one that is not is more likely forgotten, or mislabelled, than a mistake."""
    dataset = asked(
        new_dataset(),
        [
            *(sample([label("violin", A)], [label("violin", A, 0.9), label("violin", B, 0.1)]) for _ in range(12)),
            *(sample([label("cello", A)], [label("cello", A, 0.9), label("cello", B, 0.1)]) for _ in range(12)),
            sample([label(*one) for one in labels], [label("violin", A, 0.9)]),
        ],
        violin=[0.9] * 12 + [0.1] * 12 + [0.9], cello=[0.1] * 12 + [0.9] * 12 + [0.1],
    )  # fmt: skip
    settings = dict(exhaustive=True, sources=["contradicted"], **LOOK)
    (blind,) = find_hard_negatives(dataset, gt_field="ground_truth", **settings).found
    (seen,) = find_hard_negatives(dataset, "sam3", "ground_truth", **settings).found
    assert blind.score == 0.45 and 0 < seen.score < most
    assert list(by_place(dataset, [blind, seen])) == [24]


def test_without_ground_truth_the_model_decides(untouched):
    found = find_hard_negatives(untouched, "sam3", **LOOK)
    alike = (0.1 * 0.8 + 0.95 * 0.9) / np.hypot(0.1, 0.95) / np.hypot(0.8, 0.9)
    assert {place: one.score for place, one in by_place(untouched, found.of("violin")).items()} == {
        1: 0.08,  # the cello on its pixels leads by 0.1
        0: pytest.approx(0.05 * (1 - alike / 2), abs=1e-4),
    }
    assert {place: one.score for place, one in by_place(untouched, found.of("cello")).items()} == {3: 0.05}
    assert not any(one.known for one in found.found)


def test_what_people_verified_counts_without_ground_truth(strings):
    verify(strings.skip(3).limit(1), "violin", False)  # there is none, whatever the model says
    verify(strings.skip(1).limit(1), "violin", True)  # there is one, whatever it prefers
    rows = by_place(strings, find_hard_negatives(strings, "sam3", **LOOK).of("violin"))
    assert 1 not in rows
    assert rows[3].known and rows[3].sources == ("contradicted",)


def test_only_what_people_verified(strings):
    with pytest.raises(CurationError, match="Nothing is known about these samples"):
        find_hard_negatives(strings, "sam3", sources=["contradicted"], **LOOK)
    verify(strings.skip(3).limit(1), "violin", False)
    found = find_hard_negatives(strings, "sam3", sources=["contradicted"], **LOOK)
    assert {place: one.score for place, one in by_place(strings, found.found).items()} == {3: 0.475}


def test_a_red_cap_is_no_hard_negative_of_cap(caps):
    found = find_hard_negatives(caps, "sam3", **LOOK)
    assert found.counts == {"blue cap": 4} and {one.rival for one in found.found} == {"red cap"}


def test_a_label_of_a_red_cap_does_not_say_that_there_is_no_cap(caps):
    assert find_hard_negatives(caps, **TRUTH | LOOK).of("cap") == []


def test_a_label_that_means_several_concepts(caps):
    found = find_hard_negatives(caps, gt_labels={"cap": ["cap", "red cap"]}, **TRUTH | LOOK)
    assert found.counts == {"blue cap": 4}
    assert {(one.sources, one.known) for one in found.found} == {(("swap",), True)}


def test_concepts_that_this_dataset_mixes_up_are_rivals(new_dataset):
    dataset = asked(
        new_dataset(),
        [
            *(sample([], [label("hydrant", A, 0.9), label("lamp post", A, 0.3)]) for _ in range(2)),
            sample([], [label("hydrant", A, 0.9)]),
        ],
        hydrant=[0.9, 0.9, 0.9], lamp_post=[0.3, 0.3, 0.2],
    )  # fmt: skip
    found = find_hard_negatives(dataset, "sam3", **LOOK)
    assert set(by_place(dataset, found.of("lamp post"))) == {0, 1, 2}
    assert "'hydrant' (confusion) is there, on the same pixels (IoU 1.00)" in found.found[0].because
    assert len(find_hard_negatives(dataset, **LOOK)) == 0  # of masks, nothing is looked at
    assert len(find_hard_negatives(dataset.limit(1), "sam3", **LOOK)) == 0  # once is no habit


def test_ground_truth_without_boxes(strings):
    strings.set_values("kind", [fo.Classification(label=name) for name in ("cello", "cello", "none", "none")])
    found = find_hard_negatives(strings, "sam3", "kind", exhaustive=True, **LOOK)
    assert set(by_place(strings, found.of("violin", "contradicted"))) == {1, 3}
    assert all(one.known for one in found.found)


def test_a_view_and_some_concepts(untouched):
    found = find_hard_negatives(untouched.limit(2), concepts=["violin"], **TRUTH | LOOK)
    assert set(by_place(untouched, found.found)) == {0, 1} and found.counts == {"violin": 2}
    assert find_hard_negatives(untouched, "sam3", per_concept=1, **LOOK).counts == {"violin": 1, "cello": 1}


def test_embeddings_tell_what_is_alike(strings):
    strings.set_values("vector", [np.array(v) for v in ([1.0, 0], [1, 0], [0, 1], [0, 1])])
    found = find_hard_negatives(
        strings, gt_field="ground_truth", exhaustive=True, concepts=["violin"], embeddings="vector", **LOOK
    )
    diversity = {place: one.diversity for place, one in by_place(strings, found.found).items()}
    assert diversity == {1: 1.0, 3: 1.0, 0: 0.5}


def test_another_ledger(strings):
    asked(strings, [sample([label("cello", A)], [])], violin=[0.2], cello=[0.9])
    declare(strings, Ledger("other"), ["violin"])
    strings.set_values("other_presence", [fo.DynamicEmbeddedDocument(violin=0.9)] * 5)
    found = find_hard_negatives(strings, gt_field="ground_truth", ledger="other", exhaustive=True, **LOOK)
    assert {one.presence for one in found.found} == {0.9} and len(found) == 5


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("nope", "label_field 'nope' is not a field of"),
        ("ground_truth", r"label_field 'ground_truth' holds nothing that SAM 3 found: its instances are in \['sam3'\]"),
    ],
)
def test_swaps_are_asked_of_the_field_of_the_ledger_alone(caps, field, message):
    before = schema(caps)
    with pytest.raises(CurationError, match=message):
        next(ask_swaps(caps, field))
    assert schema(caps) == before


# --- senses ---


@pytest.fixture(scope="module")
def fiddles() -> Iterator[fo.Dataset]:
    """A viola is a flower, too. For all who only look."""
    dataset = fo.Dataset(f"test-{uuid4().hex[:8]}", persistent=True)
    yield asked(dataset, [sample([], []), sample([], [])], violin=[0.9, 0.1], viola=[0.3, 0.9], kite=[0.9, 0.9])
    dataset.delete()


def test_a_word_with_several_senses_is_not_used_until_one_is_chosen(fiddles):
    found = find_hard_negatives(fiddles, **LOOK)
    assert len(found) == 0
    (note,) = found.ambiguous
    assert note.startswith("'viola' has several senses, and none was chosen: ") and note in str(found)
    assert VIOLA in note and FLOWER in note and "Say senses={'viola': '" in note


@pytest.mark.parametrize(
    ("senses", "expected"),
    [({"viola": VIOLA}, {"violin", "viola"}), ({"viola": FLOWER}, set()), ({"viola": ""}, set()), ("usual", set())],
)
def test_senses(fiddles, senses, expected):
    found = find_hard_negatives(fiddles, senses=senses, **LOOK)
    assert {one.concept for one in found.found} == expected and found.ambiguous == ()


def test_the_usual_sense_of_every_word(new_dataset):
    dataset = asked(new_dataset(), [sample([], [])], wolf=[0.3], fox=[0.9])
    assert len(find_hard_negatives(dataset, **LOOK).ambiguous) == 2
    (one,) = find_hard_negatives(dataset, senses="usual", **LOOK).found
    assert (one.concept, one.rival, one.score) == ("wolf", "fox", 0.15)


def test_senses_are_of_no_interest_where_neighbours_are_not_wanted(fiddles):
    assert find_hard_negatives(fiddles, sources=["swap"], **LOOK).ambiguous == ()


# --- what is written ---


def test_what_is_written(strings):
    found = find_hard_negatives(strings, **TRUTH)
    written = dict(zip(strings.values("id"), strings.values("hard_negatives.classifications"), strict=True))
    held = {(number, mark.label): mark for number, marks in written.items() for mark in marks or []}
    assert held.keys() == {(one.sample_id, one.concept) for one in found.found}
    for one in found.found:
        mark = held[one.sample_id, one.concept]
        assert (mark.confidence, mark.sources, mark.rival) == (one.score, list(one.sources), one.rival)
        assert (mark.presence, mark.overlap, mark.diversity) == (one.presence, one.overlap, one.diversity)
        assert mark.because == one.because
    fields = {"label", "confidence", "sources", "rival", "presence", "overlap", "diversity", "because"}
    assert {f"hard_negatives.classifications.{name}" for name in fields} <= schema(strings)
    assert len(strings.filter_labels("hard_negatives", (F("rival") == "cello") & (F("overlap") > 0.5))) == 1


def test_as_views(strings):
    found = find_hard_negatives(strings, **TRUTH)
    expected = [one.sample_id for one in found.of("violin")]
    assert as_view(strings, "violin").values("id") == expected == found.view(strings, "violin").values("id")
    assert as_view(strings.limit(1), "violin").values("id") == strings.limit(1).values("id")
    strings.save_view("hard", as_view(strings, "violin"))
    assert strings.load_saved_view("hard").values("id") == expected
    both = found.view(strings, source="contradicted").values("id")
    assert both == [one.sample_id for one in found.of(source="contradicted")]
    everything = found.view(strings).values("id")
    assert everything == list(dict.fromkeys(one.sample_id for one in found.found))


@pytest.mark.parametrize("stored", [False, True])
def test_what_there_is_none_of_is_told_from_what_was_misspelt(strings, stored):
    found = find_hard_negatives(strings, concepts=["violin"], **TRUTH)
    found = load_hard_negatives(strings) if stored else found
    assert found.of("cello") == [] and len(found.view(strings, "cello")) == 0 == len(as_view(strings, "cello"))
    for ask_it in (found.of, lambda concept: found.view(strings, concept), lambda concept: as_view(strings, concept)):
        with pytest.raises(CurationError, match="'celo' is no concept that was asked; the nearest: 'cello'"):
            ask_it("celo")
    for ask_it in (found.of, lambda **said: found.view(strings, **said)):
        with pytest.raises(CurationError, match="'wrnog' is no source of hard negatives; there are 'contradicted', "):
            ask_it(source="wrnog")
    with pytest.raises(CurationError, match="has no hard_negatives 'nokey'; there is 'hard_negatives'"):
        as_view(strings, "cello", "nokey")


def test_one_source_may_stand_alone(untouched):
    settings = TRUTH | LOOK
    assert find_hard_negatives(untouched, sources="neighbour", **settings) == find_hard_negatives(
        untouched, sources=["neighbour"], **settings
    )


def test_samples_that_nobody_asked(strings):
    strings.add_samples([sample([], [])])
    new = strings.skip(4)
    message = "SAM 3 was not asked about 'violin', 'cello' in any of these 1 samples of .*: ask SAM 3 first, with"
    with pytest.raises(CurationError, match=message):
        find_hard_negatives(new, **TRUTH)
    strings.set_values("sam3_presence", [fo.DynamicEmbeddedDocument(violin=0.9)] * 5)
    with pytest.raises(CurationError, match="not asked about 'cello' in any"):
        find_hard_negatives(new, concepts=["cello"], **TRUTH)


def test_loaded_as_it_was_found(strings):
    found = find_hard_negatives(strings, key="hard", **TRUTH)
    dataset = fo.load_dataset(strings.name)
    dataset.clear_cache()
    assert load_hard_negatives(dataset, "hard") == found
    assert list(found.to_pandas().columns)[:3] == ["sample_id", "concept", "score"]
    with pytest.raises(CurationError, match="has no hard_negatives 'other'; there is 'hard'"):
        load_hard_negatives(dataset, "other")


def test_nothing_found_is_a_finding(new_dataset):
    dataset = asked(new_dataset(), [sample([], [])], kite=[0.1])
    found = find_hard_negatives(dataset, "sam3", progress=False)
    assert len(found) == 0 and str(found).startswith("0 hard negatives") and found.to_pandas().empty
    assert load_hard_negatives(dataset) == found and len(as_view(dataset, "kite")) == 0
    assert dataset.count("hard_negatives") == 0 and "hard_negatives.classifications.rival" in schema(dataset)


def test_found_again_nothing_of_before_is_left(strings):
    find_hard_negatives(strings, **TRUTH)
    before = schema(strings)
    second = find_hard_negatives(strings, concepts=["violin"], per_concept=1, **TRUTH)
    assert strings.count("hard_negatives.classifications") == 1 and schema(strings) == before
    assert load_hard_negatives(strings) == second and strings.list_runs() == ["hard_negatives", "sam3"]


def test_two_keys_live_side_by_side_and_one_is_deleted_without_a_trace(strings):
    before = schema(strings)
    first = find_hard_negatives(strings, key="first", **TRUTH)
    find_hard_negatives(strings, "sam3", key="second", concepts=["cello"], progress=False)
    assert strings.count("second.classifications") == 1
    delete_findings(strings, "second")
    assert load_hard_negatives(strings, "first") == first and strings.count("first.classifications") == len(first)
    delete_findings(strings, "first")
    assert schema(strings) == before and strings.list_runs() == ["sam3"]
    with pytest.raises(CurationError, match="has no findings 'first'"):
        delete_findings(strings, "first")


def test_nothing_is_written_without_a_key(untouched):
    before = schema(untouched)
    found = find_hard_negatives(untouched, **TRUTH | LOOK)
    assert len(found) and found.key == "" and schema(untouched) == before and untouched.list_runs() == ["sam3"]


def test_what_was_wrong_does_not_cost_what_was_found(strings):
    found = find_hard_negatives(strings, **TRUTH)
    with pytest.raises(CurationError):
        find_hard_negatives(strings, **TRUTH | dict(per_concept=0))
    assert load_hard_negatives(strings) == found and strings.count("hard_negatives.classifications") == len(found)


def test_progress(untouched):
    steps = list(hard_negative_steps(untouched, "sam3", key=None))
    assert (steps[0].done, steps[0].total, steps[0].result) == (0, 4, None)
    assert steps[-1].done == 4 and len(steps[-1].result) and all(step.result is None for step in steps[:-1])
    seen = []
    find_hard_negatives(untouched, key=None, progress=lambda bar: seen.append((bar.iteration, bar.total)))
    assert seen[-1] == (4, 4)


# --- what is refused, before anything is written ---


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(sources=["guess"]), r"sources=\['guess'\]; want some of \['contradicted', 'neighbour', 'swap'\]"),
        (dict(sources=[]), r"sources=\[\]; want some of"),
        (dict(sources="look"), r"sources=\['look'\]; want some of"),
        (dict(sources=5), "sources: 5 is no word"),
        (dict(per_conept=3), r"find_hard_negatives\(\) has no setting 'per_conept'; did you mean 'per_concept'\?"),
        (dict(zebra=3), r"find_hard_negatives\(\) has no setting 'zebra'; it has 'ledger', 'concepts'"),
        (dict(label_field="ground_truth", gt_field="sam3"), "'ground_truth' holds nothing that SAM 3 found"),
        (dict(label_field="ground_truth", gt_field="ground_truth"), "are both 'ground_truth'"),
        (dict(gt_field="sam3"), "label_field and gt_field are both 'sam3': compare labels with something else"),
        (dict(gt_field=5), "gt_field=5 must be the name of a field"),
        (dict(label_field=5), "label_field=5 must be the name of a field"),
        (dict(negatives_field="filepath", exhaustive=None), "negatives_field='filepath' lists no concepts: it"),
        (dict(not_exhaustive_field="metadata"), "not_exhaustive_field='metadata' lists no concepts"),
        (dict(gt_field=None), "exhaustive=True needs gt_field"),
        (dict(gt_field=None, exhaustive=None, gt_labels={"cello": "x"}), "gt_labels=.* needs gt_field"),
        (dict(senses={"violin": FLOWER}), r"senses\['violin'\]='n12387633' is viola .*, and no sense of 'violin'; n0"),
        (dict(senses=["violin"]), r"senses=\['violin'\]; want a mapping of concepts to keys, or 'usual'"),
        (dict(senses={"violin": 5}), r"senses\['violin'\]=5 is no sense"),
        (dict(concepts=[5]), "concepts: 5 is no word"),
        (dict(embeddings="sam3"), "embeddings='sam3' must hold one vector a sample"),
        (dict(embeddings="words"), "embeddings='words' must hold one vector a sample"),
        (dict(embeddings=5), "embeddings=5 is not a field"),
        (dict(per_concept=0), "per_concept=0 must be a whole number above 0"),
        (dict(per_concept=-3), "per_concept=-3 must be"),
        (dict(per_concept=2.5), "per_concept=2.5 must be"),
        (dict(per_concept=True), "per_concept=True must be"),
        (dict(exhaustive=None), "What does it mean that a concept is not labelled"),
        (dict(exhaustive=["harp"]), "exhaustive names 'harp'"),
        (dict(gt_field="none"), "gt_field 'none' is not a field"),
        (dict(gt_field="metadata"), "gt_field 'metadata' holds ImageMetadata; labels are needed"),
        (dict(gt_labels={"harp": "x"}), "gt_labels names 'harp'"),
        (dict(negatives_field="none"), "negatives_field='none' is not a field"),
        (dict(label_field="none"), "label_field 'none' is not a field"),
        (dict(label_field="note"), "label_field 'note' holds StringField; Detections are needed"),
        (dict(concepts=["viola"]), "'viola' was not asked of this dataset; the nearest that were: 'violin'"),
        (dict(concepts=[]), "No concepts were named; asked were 'violin', 'cello'"),
        (dict(ledger="other"), "has no concept ledger 'other'; there is 'sam3'"),
        (dict(senses={"viola": VIOLA}), "senses names 'viola', which was not asked"),
        (dict(senses={"violin": "n0"}), r"senses\['violin'\]='n0' is no sense; n04536866: violin, fiddle"),
        (dict(senses="rare"), "senses='rare'; want a mapping of concepts to keys, or 'usual'"),
        (dict(embeddings="none"), "embeddings='none' is not a field"),
        (dict(embeddings="note"), "embeddings='note' must hold one vector a sample, all of one length"),
        (dict(embeddings="uneven"), "embeddings='uneven' must hold one vector a sample"),
        (dict(embeddings="missing"), "embeddings='missing' must hold one vector a sample"),
        (dict(key="ground_truth"), "key='ground_truth' would write beside the field 'ground_truth'"),
        (dict(key="hard"), "key='hard' would write beside the field 'hard_ones'"),
        (dict(key="sam3"), "key='sam3' is already the name of a run .sam3_concepts."),
        (dict(key="not a word"), "key='not a word' must be a plain word, such as 'hard_negatives'"),
        (dict(key="_hidden"), "key='_hidden' must be a plain word"),
        (dict(key="coco"), "key='coco' "),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(untouched, settings, message):
    before, runs = schema(untouched), untouched.list_runs()
    with pytest.raises(CurationError, match=message):
        find_hard_negatives(untouched, **TRUTH | settings)
    assert schema(untouched) == before and untouched.list_runs() == runs == ["sam3"]


def test_without_samples(untouched):
    with pytest.raises(CurationError, match="There is nothing to look at: no samples"):
        find_hard_negatives(untouched.limit(0), **TRUTH)


def test_without_a_ledger(new_dataset):
    dataset = new_dataset([sample([], [])])
    before = schema(dataset)
    with pytest.raises(CurationError, match="has no concept ledger 'sam3': ask SAM 3 first"):
        find_hard_negatives(dataset, "sam3", progress=False)
    assert schema(dataset) == before
