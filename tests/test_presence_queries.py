"""Questions to the ledger: which samples have a concept, lack it, or leave it open, and what is said of bad questions.

Seven images and two concepts. The third was not asked for "cap", the fourth not for "fire truck", the last nothing at
all: it came later.
"""

from __future__ import annotations

import math

import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ledgers import FAR, A, B, ask, instance, picture, places, shared, video

from curation.answers import Answers, check_concepts, ledgers_of, read_answers, thresholds_of
from curation.errors import CurationError
from curation.presence import (
    QUERIES,
    absent,
    accepted,
    present,
    rich,
    suppressed,
    uncertain,
    where,
    without_instances,
)
from zoo.ledger import Ledger
from zoo.provenance import note_operating_points

PRESENCE = {
    "cap": [0.9, 0.1, None, 0.5, 0.45, 0.6, None],
    "fire truck": [0.2, 0.7, 0.6, None, 0.3, 0.31, None],
}
SCORE = {"cap": [0.9, 0.8, None, 0.5, 0.95, 0.2, None]}
COUNT = {"cap": [3, 0, None, 1, 0, 0, None]}
STRANGE = ["St. Bernard", "Bär", "_hidden", "$5 bill", "clean", "a․b"]

ledger = Ledger("sam3")


def street(dataset: fo.Dataset) -> fo.Dataset:
    return ask(dataset, PRESENCE, SCORE, COUNT, thresholds={"fire truck": 0.3}, confidence_thresh=0.5,
               label_field="sam3")  # fmt: skip


@pytest.fixture
def mine(new_dataset) -> fo.Dataset:
    """To be changed."""
    return street(new_dataset([picture() for _ in range(7)]))


@pytest.fixture(scope="module")
def ours() -> fo.Dataset:
    """Only to be read."""
    with shared(*(picture() for _ in range(7))) as dataset:
        yield street(dataset)


# --- one concept ---


@pytest.mark.parametrize(
    ("query", "concept", "said", "expected"),
    [
        (present, "cap", {}, [0, 5, 3]),
        (present, "cap", dict(threshold=0.55), [0, 5]),
        (present, "cap", dict(threshold=0.9), [0]),
        (present, "cap", dict(threshold=0), [0, 5, 3, 4, 1]),
        (present, "cap", dict(threshold=1), []),
        (present, "fire truck", {}, [1, 2, 5, 4]),
        (absent, "cap", {}, [4, 1]),
        (absent, "cap", dict(threshold=0.9), [5, 3, 4, 1]),
        (absent, "cap", dict(threshold=0), []),
        (absent, "cap", dict(threshold=1), [0, 5, 3, 4, 1]),
        (absent, "fire truck", {}, [0]),
        (uncertain, "cap", {}, [3, 4, 5]),
        (uncertain, "cap", dict(band=0.05), [3, 4]),
        (uncertain, "cap", dict(band=0), [3]),
        (uncertain, "cap", dict(band=0.5), [3, 4, 5]),
        (uncertain, "cap", dict(band=(0.05, 0.5)), [3, 4, 1]),
        (uncertain, "cap", dict(band=(0.6, 0.6)), [5]),
        (uncertain, "cap", dict(band=(0, 1)), [3, 4, 5]),
        (uncertain, "cap", dict(threshold=0.85), [0]),
        (uncertain, "cap", dict(threshold=0.85, band=0.4), [0, 5, 3, 4]),
        (uncertain, "fire truck", {}, [4, 5, 0]),
        (suppressed, "cap", {}, [4, 1]),
        (suppressed, "cap", dict(score=0.8), [4, 1]),
        (suppressed, "cap", dict(score=0.9), [4]),
        (suppressed, "cap", dict(threshold=0.2), [1]),
        (suppressed, "cap", dict(threshold=1, score=0), [4, 0, 1, 3, 5]),
        (suppressed, "fire truck", {}, []),
        (without_instances, "cap", {}, [5]),
        (without_instances, "cap", dict(threshold=0.1), [5, 4, 1]),
        (without_instances, "fire truck", {}, [5, 4]),
        (rich, "cap", {}, []),
        (rich, "cap", dict(at_least=1), [0, 3]),
        (rich, "cap", dict(at_least=3), [0]),
    ],
)
def test_which_samples_in_which_order(ours, query, concept, said, expected):
    found = places(ours, query(ours, concept, **said))
    if query is uncertain and said.get("band") in (0.5, (0, 1)):  # 0.9 and 0.1 are equally far
        assert set(found) == {0, 1, 3, 4, 5}
        found = found[:3]
    assert found == expected


def test_what_was_not_asked_is_neither_present_nor_absent(ours):
    for concept, never in (("cap", {2, 6}), ("fire truck", {3, 6})):
        for threshold in (0, 0.5, 1):
            there = places(ours, present(ours, concept, threshold=threshold))
            not_there = places(ours, absent(ours, concept, threshold=threshold))
            assert sorted(there + not_there) == sorted(set(range(7)) - never)
        for _, query in QUERIES.values():
            assert not never & set(places(ours, query(ours, concept)))
        for kind in ("present", "absent", "uncertain"):
            assert not never & set(places(ours, where(ours, band=0.5, **{kind: [concept]})))


def test_presence_without_a_number_is_not_asked(mine):
    mine.set_values(ledger.path("presence", "cap"), [None] * 7)
    assert not any(len(query(mine, "cap")) for name, (_, query) in QUERIES.items() if name != "rich")
    assert not read_answers(mine, concepts="cap").asked.any()


@settings(max_examples=40, deadline=None)
@given(
    st.one_of(st.floats(0, 1), st.sampled_from([0.3, 0.45, 0.5, 0.6, 0.9])),
    st.one_of(st.floats(0, 0.5), st.sampled_from([0.05, 0.1, 0.2])),
    st.sampled_from(list(PRESENCE)),
)
def test_the_database_agrees_with_numpy(ours, threshold, band, concept):
    level = np.array([math.nan if p is None else p for p in PRESENCE[concept]])

    def chosen(view):
        return set(places(ours, view))

    assert chosen(present(ours, concept, threshold=threshold)) == set(np.flatnonzero(level >= threshold))
    assert chosen(absent(ours, concept, threshold=threshold)) == set(np.flatnonzero(level < threshold))
    near = np.flatnonzero((level >= threshold - band) & (level <= threshold + band))
    assert chosen(uncertain(ours, concept, threshold=threshold, band=band)) == set(near)
    near = np.flatnonzero(np.abs(level - threshold) <= band)
    assert chosen(where(ours, uncertain=concept, band=band, thresholds={concept: threshold})) == set(near)


# --- several at once ---


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (dict(present="cap"), [0, 5, 3]),
        (dict(absent="cap"), [1, 4]),
        (dict(uncertain="cap"), [3, 4, 5]),
        (dict(uncertain=["cap"], band=0.06), [3, 4]),
        (dict(present=["cap"], absent=["fire truck"]), [0]),
        (dict(present=["cap", "fire truck"]), [5]),
        (dict(absent=["cap", "fire truck"]), []),
        (dict(absent=("cap",), present={"fire truck"}), [1, 4]),
        (dict(absent="cap", uncertain="fire truck"), [4]),
        (dict(uncertain=["cap", "fire truck"], band=0.17), [4, 5]),
        (dict(present="cap", thresholds={"cap": 0.55}), [0, 5]),
        (dict(present="cap", absent="fire truck", thresholds={"cap": 0.1, "fire truck": 0.6}), [0, 4, 5]),
        (dict(uncertain="cap", thresholds={"cap": 0.85}), [0]),
        (dict(present=["cap"], thresholds={}), [0, 5, 3]),
        (dict(present="cap", thresholds=0.55), [0, 5]),
        (dict(present="cap", absent="fire truck", thresholds=0.6), [0, 5]),
    ],
)
def test_all_of_them_hold_and_the_clearest_come_first(ours, said, expected):
    assert places(ours, where(ours, **said)) == expected


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({}, r"Say which concepts are to be present=\[…\], absent=\[…\] or uncertain=\[…\]"),
        (dict(present=[], absent=()), "Say which concepts"),
        (dict(present="cap", absent=["fire truck", "cap"]), "'cap' cannot be in two of present, absent and uncertain"),
        (dict(absent="cap", uncertain="cap"), "'cap' cannot be in two"),
        (dict(present="cap", absent="dog"), "'dog' was not asked of this dataset"),
        (dict(present="cap", thresholds={"cap": 1.5}), r"threshold=1.5 of 'cap' must be a number in \[0, 1\]"),
        (dict(present="cap", thresholds={"cap": "high"}), "threshold='high' of 'cap' must be a number"),
        (dict(present="cap", thresholds=1.5), "threshold=1.5 of 'cap' must be a number"),
        (dict(present="cap", thresholds=["cap"]), r"thresholds=\['cap'\] must be a number, or map concepts to numbers"),
        (dict(present=5), "present: 5 is no word"),
        (dict(absent=[["cap"]]), r"absent: \['cap'\] is no word"),
        (dict(uncertain="cap", band=-0.1), "band=-0.1"),
        (dict(uncertain="cap", band=1.5), "band=1.5"),
        (dict(uncertain="cap", band="wide"), "band='wide'"),
        (dict(present="cap", ledger="other"), "has no concept ledger 'other'; there is 'sam3'"),
    ],
)
def test_combinations_that_mean_nothing(ours, said, message):
    with pytest.raises(CurationError, match=message):
        where(ours, **said)


# --- thresholds ---


def test_thresholds_are_those_of_the_argument_else_the_operating_point_else_the_concepts_else_the_runs(new_dataset):
    dataset = new_dataset([picture() for _ in range(4)])
    levels = dict.fromkeys(["plain", "run", "own", "point"], [0.2, 0.4, 0.6, 0.8])
    ask(dataset, {"plain": levels["plain"]})
    ask(dataset, {c: levels[c] for c in ("run", "own", "point")}, thresholds={"own": 0.5, "point": 0.5},
        confidence_thresh=0.3)  # fmt: skip
    note_operating_points(dataset, ledger, {"point": 0.7})
    assert thresholds_of(dataset) == {"plain": 0.5, "run": 0.3, "own": 0.5, "point": 0.7}
    assert [len(present(dataset, c)) for c in ("plain", "run", "own", "point")] == [2, 3, 2, 1]
    assert [len(absent(dataset, c)) for c in ("plain", "run", "own", "point")] == [2, 1, 2, 3]
    assert len(where(dataset, present=["run"], absent=["point"])) == 2
    assert len(present(dataset, "point", threshold=0.3)) == 3
    assert read_answers(dataset).present.sum(axis=0).tolist() == [2, 3, 2, 1]


def test_an_operating_point_can_be_taken_back_and_is_forgotten_when_its_concept_is_asked_again(mine):
    note_operating_points(mine, ledger, {"cap": 0.0, "fire truck": 1})
    assert thresholds_of(mine) == {"cap": 0.0, "fire truck": 1.0}
    assert len(present(mine, "cap")) == 5 and len(present(mine, "fire truck")) == 0
    note_operating_points(mine, ledger, {"cap": None})
    assert thresholds_of(mine) == {"cap": 0.5, "fire truck": 1.0}
    ask(mine, {"fire truck": PRESENCE["fire truck"]}, confidence_thresh=0.6)
    assert thresholds_of(mine) == {"cap": 0.5, "fire truck": 0.6}


def test_a_threshold_of_zero_is_a_threshold(new_dataset):
    dataset = ask(new_dataset([picture()]), {"cap": 0.0}, thresholds={"cap": 0.0}, confidence_thresh=0.5)
    assert len(present(dataset, "cap")) == 1


def test_a_ledger_without_a_record_has_the_usual_threshold(mine):
    mine.delete_run("sam3")
    assert thresholds_of(mine) == {"cap": 0.5, "fire truck": 0.5}
    assert places(mine, present(mine, "fire truck")) == [1, 2]


# --- views ---


def test_views_of_views(ours):
    assert places(ours, present(ours.limit(4), "cap")) == [0, 3]
    assert places(ours, present(absent(ours, "fire truck"), "cap")) == [0]
    assert places(ours, absent(present(ours, "fire truck"), "cap")) == [4, 1]
    assert places(ours, uncertain(present(ours, "cap"), "cap", band=0.1)) == [3, 5]
    assert places(ours, where(present(ours, "cap"), present="fire truck")) == [5]
    assert places(ours, present(ours, "cap").limit(2)) == [0, 5]
    assert places(ours, present(ours, "cap").match(F("sam3_count.cap") > 0)) == [0, 3]


def test_an_empty_view_has_empty_answers(ours):
    for _, query in QUERIES.values():
        assert len(query(ours.limit(0), "cap")) == 0
    assert len(where(ours.limit(0), present="cap")) == 0


@pytest.mark.parametrize("name", [*QUERIES, "where", "accepted"])
def test_saved_views_are_the_same_when_they_are_loaded_and_follow_the_dataset(mine, name):
    view = {
        "where": lambda: where(mine, present="fire truck", absent=["cap"]),
        "accepted": lambda: accepted(mine),
        "rich": lambda: rich(mine, "cap", at_least=1),
    }.get(name, lambda: QUERIES[name][1](mine, "cap"))()
    mine.save_view("saved", view)
    before = places(mine, view)
    assert before and places(mine, mine.load_saved_view("saved")) == before
    mine.delete_samples(mine.skip(before[0]).limit(1))
    assert len(mine.load_saved_view("saved")) == len(before) - 1


def test_videos_are_asked_like_images(new_dataset):
    dataset = ask(new_dataset([video(), video({"sam3": []})]), {"dog": [0.9, 0.2]}, count={"dog": [0, 0]})
    assert dataset.media_type == "video"
    assert places(dataset, present(dataset, "dog")) == places(dataset, without_instances(dataset, "dog")) == [0]
    assert places(dataset, absent(dataset, "dog")) == places(dataset, where(dataset, absent="dog")) == [1]
    assert read_answers(dataset).presence.tolist() == [[0.9], [0.2]]


@pytest.mark.parametrize("concept", STRANGE)
def test_names_that_no_field_can_have(new_dataset, concept):
    dataset = new_dataset([picture() for _ in range(4)])
    numbers = [0.9, 0.4, None, 0.1]
    ask(dataset, {concept: numbers, "cap": [None, 0.9, 0.9, 0.9]}, score={concept: [0.9, 0.8, None, 0.1]},
        count={concept: [0, 0, None, 7]}, phrases={concept: "x"})  # fmt: skip
    assert places(dataset, present(dataset, concept)) == places(dataset, without_instances(dataset, concept)) == [0]
    assert places(dataset, absent(dataset, concept)) == [1, 3]
    assert places(dataset, uncertain(dataset, concept)) == places(dataset, suppressed(dataset, concept)) == [1]
    assert places(dataset, rich(dataset, concept)) == [3]
    assert places(dataset, where(dataset, present="cap", absent=concept)) == [3, 1]
    note_operating_points(dataset, ledger, {concept: 0.05})
    assert thresholds_of(dataset)[concept] == 0.05 and places(dataset, present(dataset, concept)) == [0, 1, 3]
    answers = read_answers(dataset, concepts=[concept])
    assert answers.concepts == (concept,) and np.array_equal(
        answers.presence[:, 0], [0.9, 0.4, np.nan, 0.1], equal_nan=True
    )


# --- instances ---


def test_instances_of_concepts_that_are_accepted(new_dataset):
    dataset = new_dataset([
        picture([], [instance("cap", A, 0.8, presence=0.9), instance("cap", B, 0.1, presence=0.9)]),
        picture([], [instance("cap", A, 0.3, presence=0.4), instance("$5 bill", FAR, 0.3, presence=0.4)]),
        picture([], [instance("bird", A, 0.9)]),
        picture([], []),
        picture([], None),
    ])  # fmt: skip
    ask(dataset, {"cap": [0.9, 0.4, 0, 0, 0], "$5 bill": [0, 0.4, 0, 0, 0]}, thresholds={"$5 bill": 0.4})

    def shown():
        return accepted(dataset).values("sam3.detections.label")

    # nobody asked for birds, so nothing says that they are there
    assert shown() == [["cap", "cap"], ["$5 bill"], [], [], None]
    assert len(accepted(dataset)) == 5
    note_operating_points(dataset, ledger, {"cap": 0.3, "$5 bill": 0.5})
    assert shown() == [["cap", "cap"], ["cap"], [], [], None]
    note_operating_points(dataset, ledger, {"cap": 0.95})
    assert shown() == [[], [], [], [], None]
    with pytest.raises(CurationError, match="has no concept ledger 'other'"):
        accepted(dataset, ledger="other")


# --- what is said of bad questions ---


@pytest.mark.parametrize("query", [query for _, query in QUERIES.values()])
@pytest.mark.parametrize(
    ("concept", "message"),
    [
        ("caps", "'caps' was not asked of this dataset; the nearest that were: 'cap'. Ask it with the operator"),
        ("CAP", "the nearest that were: 'cap'"),
        ("a truck", "the nearest that were: 'fire truck'"),
        ("fire hydrant", "the nearest that were: 'fire truck'"),
        ("zebra", r"; asked were 'cap', 'fire truck'\. Ask it"),
        ("", r"'' was not asked of this dataset; asked were 'cap', 'fire truck'"),
    ],
)
def test_concepts_that_were_not_asked(ours, query, concept, message):
    with pytest.raises(CurationError, match=message):
        query(ours, concept)


def test_of_many_concepts_only_the_nearest_are_named(new_dataset):
    dataset = ask(new_dataset([picture()]), {f"thing number {k}": 0.5 for k in range(20)})
    with pytest.raises(CurationError, match=r"the nearest that were: ('thing number \d+'(, )?){3}\. Ask"):
        present(dataset, "thing number 99")
    with pytest.raises(CurationError, match=r"asked were ('thing number \d+', ){12}…\. Ask"):
        present(dataset, "zebra")


@pytest.mark.parametrize(
    ("query", "said", "message"),
    [
        (query, dict(threshold=bad), f"threshold={bad!r} of 'cap' must be a number in .0, 1.")
        for query in (present, absent, uncertain, suppressed, without_instances)
        for bad in (-0.1, 1.1, math.nan, "0.5", True)
    ]
    + [
        (uncertain, dict(band=bad), "band=")
        for bad in (-0.1, 0.51, math.nan, (0.6, 0.4), (-0.3, -0.1), (1.1, 1.2), (0, 1.1), "wide", None, (0.5,))
    ]
    + [(rich, dict(at_least=bad), "must be a whole number above 0") for bad in (0, -1, 1.5, True, "many", None)]
    + [(suppressed, dict(score=bad), "score=") for bad in (-0.1, 1.1, math.nan, "loud", None)],
)
def test_bad_numbers(ours, query, said, message):
    with pytest.raises(CurationError, match=message):
        query(ours, "cap", **said)


@pytest.mark.parametrize("ask_it", [lambda d: read_answers(d), lambda d: present(d, "cap"), lambda d: accepted(d)])
def test_without_a_ledger(new_dataset, ask_it):
    dataset = new_dataset([picture(), picture()])
    make = r'ask SAM 3 first, with dataset.apply_model\(sam3, label_field="sam3"\) or the operator'
    with pytest.raises(CurationError, match=f"'{dataset.name}' has no concept ledger 'sam3': {make}"):
        ask_it(dataset)
    ask(dataset, {"dog": 0.5}, ledger="first")
    with pytest.raises(CurationError, match="has no concept ledger 'sam3'; there is 'first': ask SAM 3 first"):
        ask_it(dataset)
    ask(dataset, {"dog": 0.5}, ledger="second")
    with pytest.raises(CurationError, match="; there are 'first', 'second': ask SAM 3 first"):
        ask_it(dataset)
    with pytest.raises(CurationError, match="has no concept ledger 'sam3'"):
        ask_it(dataset.limit(0))


def test_views_that_leave_the_ledger_out(new_dataset):
    dataset = street(new_dataset([picture([], [instance("cap", A, 0.9)]) for _ in range(7)]))
    partly = dataset.exclude_fields("sam3_score")
    for view in (dataset.select_fields("ground_truth"), dataset.to_patches("sam3"), partly):
        with pytest.raises(CurationError, match="This view of .* has no concept ledger 'sam3', .* the dataset has"):
            present(view, "cap")
    patches = dataset.to_patches("sam3", other_fields=True)
    with pytest.raises(CurationError, match="a view of patches of .*, and whole images are needed: run it on"):
        read_answers(patches)


def test_accepted_instances_of_fields_that_there_are_not(ours, new_dataset):
    with pytest.raises(CurationError, match="label_field 'nope' is not a field of"):
        accepted(ours, "nope")
    film = new_dataset([video({"sam3": [instance("cap", A, 0.9), instance("cap", B, 0.3, presence=0.3)]})])
    ask(film, {"cap": 0.9})
    for field in ("sam3", "frames.sam3"):
        assert accepted(film, field).values("frames.sam3.detections.label") == [[["cap"]]]


def test_fields_of_others_are_no_ledgers(new_dataset):
    dataset = ask(new_dataset([picture(my_presence=0.5, _presence=None)]), {"dog": 0.5}, ledger="first")
    assert ledgers_of(dataset) == ["first"]
    with pytest.raises(CurationError, match="has no concept ledger 'my'; there is 'first'"):
        present(dataset, "dog", ledger="my")


@pytest.mark.parametrize("lost", ["sam3_score", "sam3_count"])
def test_a_ledger_of_an_older_version(mine, lost):
    mine.delete_sample_field(lost)
    message = f"The ledger 'sam3' of '{mine.name}' was made by an older version: it has no '{lost}'. To renew it, ask"
    for question in (read_answers, lambda d: present(d, "cap"), lambda d: where(d, absent="cap"), accepted):
        with pytest.raises(CurationError, match=message):
            question(mine)


def test_each_ledger_has_its_own_answers(mine):
    ask(mine, {"cap": 0.0, "dog": 1.0}, ledger="other", confidence_thresh=0.7)
    assert len(present(mine, "cap", ledger="other")) == 0 and len(absent(mine, "cap", ledger="other")) == 7
    assert len(present(mine, "cap")) == 3
    assert thresholds_of(mine, "other") == {"cap": 0.7, "dog": 0.7}
    assert len(where(mine, present="dog", ledger="other")) == 7
    with pytest.raises(CurationError, match="'dog' was not asked"):
        present(mine, "dog")


# --- as arrays ---


def test_the_ledger_as_arrays(ours):
    answers = read_answers(ours)
    nan = math.nan
    assert answers.concepts == ("cap", "fire truck") and len(answers) == 7
    assert answers.ids.tolist() == ours.values("id")
    assert np.array_equal(answers.presence[:, 0], [0.9, 0.1, nan, 0.5, 0.45, 0.6, nan], equal_nan=True)
    assert np.array_equal(answers.score[:, 0], [0.9, 0.8, nan, 0.5, 0.95, 0.2, nan], equal_nan=True)
    assert np.array_equal(answers.count[:, 0], [3, 0, nan, 1, 0, 0, nan], equal_nan=True)
    assert answers.thresholds == {"cap": 0.5, "fire truck": 0.3} and answers.levels.tolist() == [0.5, 0.3]
    assert answers.asked.T.tolist() == [[1, 1, 0, 1, 1, 1, 0], [1, 1, 1, 0, 1, 1, 0]]
    assert answers.present.T.tolist() == [[1, 0, 0, 1, 0, 1, 0], [0, 1, 1, 0, 1, 1, 0]]
    assert answers.place("fire truck") == 1


@pytest.mark.parametrize(
    ("concepts", "expected"),
    [
        (None, ("cap", "fire truck")),
        ("fire truck", ("fire truck",)),
        (["fire truck", "cap"], ("fire truck", "cap")),
        (("cap", "cap"), ("cap",)),
        (iter(["cap"]), ("cap",)),
    ],
)
def test_columns_are_the_concepts_that_were_named(ours, concepts, expected):
    answers = read_answers(ours, concepts=concepts)
    assert answers.concepts == expected and set(answers.thresholds) == set(expected)
    assert answers.presence.shape == answers.score.shape == answers.count.shape == (7, len(expected))
    assert answers.presence[0].tolist() == [PRESENCE[c][0] for c in expected]


def test_rows_are_the_samples_of_the_view(ours):
    view = ours.sort_by("sam3_presence.fire truck", reverse=True).limit(3)
    answers = read_answers(view, concepts=["fire truck"])
    assert answers.ids.tolist() == view.values("id") and answers.presence[:, 0].tolist() == [0.7, 0.6, 0.31]


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (lambda d: read_answers(d.limit(0)), "There is nothing to look at: no samples in this dataset or view"),
        (lambda d: read_answers(d.match(F("tags").contains("x"))), "There is nothing to look at"),
        (lambda d: read_answers(d, concepts=["cap", "dog"]), "'dog' was not asked"),
        (lambda d: read_answers(d, concepts=[]), "No concepts were named; asked were 'cap', 'fire truck'"),
        (lambda d: check_concepts(d, "caps"), "the nearest that were: 'cap'"),
        (lambda d: read_answers(d.select_fields("tags")), "has no concept ledger 'sam3'"),
    ],
)
def test_nothing_to_read(ours, question, message):
    with pytest.raises(CurationError, match=message):
        question(ours)


# --- what was read is kept, until something changes ---


def same(first: Answers, second: Answers) -> bool:
    return first.presence is second.presence and first.score is second.score and first.ids is second.ids


def test_nothing_is_read_twice(mine):
    first = read_answers(mine)
    assert same(first, read_answers(mine)) and same(first, read_answers(mine, concepts=["cap", "fire truck"]))
    view = mine.match(F("sam3_presence.cap") > 0.5)
    assert same(read_answers(view), read_answers(mine.match(F("sam3_presence.cap") > 0.5)))
    assert not same(first, read_answers(view)) and len(read_answers(view)) == 2


def test_what_is_kept_cannot_be_changed(mine):
    answers = read_answers(mine)
    for held in (answers.presence, answers.score, answers.count, answers.ids):
        with pytest.raises(ValueError, match="read-only"):
            held[:1] = held[1:2]


def save_one(dataset):
    one = dataset.first()
    one["sam3_presence"]["cap"] = 0.25
    one.save()
    return [0.25, 0.1, None, 0.5, 0.45, 0.6, None]


def set_all(dataset):
    dataset.set_values("sam3_presence.cap", [0.0] * 6 + [None])
    return [0.0] * 6 + [None]


def delete_one(dataset):
    dataset.delete_samples(dataset.first())
    return PRESENCE["cap"][1:]


def delete_and_add(dataset):
    dataset.delete_samples(dataset.last())
    dataset.add_sample(picture(sam3_presence=fo.DynamicEmbeddedDocument(cap=0.7)))
    return [*PRESENCE["cap"][:-1], 0.7]


def add_one(dataset):
    dataset.add_sample(picture())
    return [*PRESENCE["cap"], None]


def ask_again(dataset):
    ask(dataset, {"cap": 0.8})
    return [0.8] * 7


def clear(dataset):
    dataset.clear_sample_field("sam3_presence")
    return [None] * 7


def change_through_a_view(dataset):
    dataset.skip(6).set_values("sam3_presence", [fo.DynamicEmbeddedDocument(cap=0.3)])
    return [*PRESENCE["cap"][:-1], 0.3]


@pytest.mark.parametrize(
    "change",
    [save_one, set_all, delete_one, delete_and_add, add_one, ask_again, clear, change_through_a_view],
)
def test_a_change_is_seen(mine, change):
    view = mine.sort_by("id")
    for _ in range(2):
        read_answers(mine), read_answers(view)
    expected = [math.nan if p is None else p for p in change(mine)]
    for samples in (mine, view):
        answers = read_answers(samples)
        assert np.array_equal(answers.presence[:, 0], expected, equal_nan=True)
        assert answers.ids.tolist() == mine.values("id")


def test_a_view_is_read_again_when_other_samples_belong_to_it(mine):
    view = mine.match_tags("new")
    mine.limit(2).tag_samples("new")
    assert len(read_answers(view)) == 2
    mine.limit(1).untag_samples("new")
    assert read_answers(view).ids.tolist() == mine.skip(1).limit(1).values("id")
    mine.tag_samples("new")
    assert len(read_answers(view)) == 7


def test_a_dataset_of_the_same_name_is_another(new_dataset):
    first = ask(new_dataset([picture()]), {"cap": 0.9})
    assert read_answers(first).presence.tolist() == [[0.9]]
    name = first.name
    first.delete()
    second = new_dataset([picture()])
    second.name = name
    assert read_answers(ask(second, {"cap": 0.2})).presence.tolist() == [[0.2]]


def test_thresholds_are_never_old(mine):
    first = read_answers(mine)
    note_operating_points(mine, ledger, {"cap": 0.05})
    second = read_answers(mine)
    assert same(first, second) and second.thresholds["cap"] == 0.05 and second.present[:, 0].sum() == 5
