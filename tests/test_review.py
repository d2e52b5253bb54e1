"""The review queue: what is asked in which order, what answers become, and that none is lost among reviewers."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from pathlib import Path

import fiftyone as fo
import fiftyone.core.models as fom
import numpy as np
import pytest
from bson import ObjectId
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from support.ledgers import FAR, A, B, ask, instance, rectangle, shared, video
from support.ledgers import picture as sample_of
from support.sandbox import REPOSITORY

from curation.errors import CurationError
from curation.exhaustivity import Exhaustivity, PairFound, _declare, _store
from curation.records import delete_findings
from curation.review import (
    AnswerConflict,
    Item,
    ItemGone,
    add_missing,
    answer,
    build_review,
    jpeg,
    last_answer,
    load_review,
    next_items,
    picture,
    question,
    release,
    take_back,
    verify_with,
)
from curation.review.queue import arrange
from curation.truth import verify
from curation.verified import declare_verdicts, without_rejected
from zoo.ledger import Ledger

C = (1, 1, 4, 4)


@pytest.fixture
def pets(new_dataset):
    """A cap that is there, one that is a dog's label, a dog that has none; SAM 3 was asked for both."""
    dataset = new_dataset([
        sample_of([rectangle("cap", A), rectangle("dog", B)], [instance("cap", A, 0.9), instance("cap", B, 0.8)]),
        sample_of([], [instance("dog", FAR, 0.6)]),
        sample_of([rectangle("dog", A)], [instance("dog", A, 0.95)]),
    ])  # fmt: skip
    return ask(dataset, {"cap": [0.9, 0.1, 0.0], "dog": [0.6, 0.7, 0.99]}, label_field="sam3")


def review_of(dataset: fo.Dataset, field: str = "ground_truth", **settings):
    return build_review(dataset, field, progress=False, **settings)


def one(review, task: str, concept: str, k: int = 0) -> Item:
    return review.of(concept, task)[k]


def facts(dataset: fo.Dataset, item: Item) -> tuple:
    """The verdict on the item's label, on presence, and on exhaustivity, as the database has them."""
    held = dataset._sample_collection.find_one({"_id": ObjectId(item.sample_id)})
    labels = {str(label["_id"]): label.get("verified") for label in (held[item.field] or {}).get("detections", ())}
    said = [(held.get(f"sam3_{kind}") or {}).get(item.concept) for kind in ("verified", "exhaustive")]
    return labels.get(item.label_id), *said


def everything(dataset: fo.Dataset) -> list:
    """All that answers could change; null is as good as not there."""

    def tidy(value):
        if isinstance(value, dict):
            kept = {k: tidy(v) for k, v in value.items() if k not in ("_cls", "_rand", "last_modified_at", "mask")}
            return {k: v for k, v in kept.items() if v not in (None, {}, [])}
        return [tidy(v) for v in value] if isinstance(value, list) else value

    return [tidy(held) for held in dataset._sample_collection.find({}).sort("_id", 1)]


# --- the questions ---


@pytest.mark.parametrize(
    ("task", "concept", "words"),
    [
        ("mask", "red cap", "Is this a red cap?"), ("mask", "apple", "Is this an apple?"),
        ("mask", "the left shoe", "Is this the left shoe?"),
        ("exhaustivity", "red cap", "Are all instances of 'red cap' marked?"),
    ],
)  # fmt: skip
def test_questions_in_words(task, concept, words):
    assert question(Item(task, "s", None, concept, 1, "", 0, "labels", "sam3", (concept,))) == words


ROWS = st.lists(st.tuples(
    st.sampled_from(["mask", "exhaustivity"]), st.sampled_from(["cap", "dog", "fox"]), st.just("s"),
    st.uuids().map(str), st.floats(0, 1), st.just(""),
), max_size=60)  # fmt: skip


@given(ROWS, st.integers(1, 20))
def test_a_batch_has_one_question_and_the_doubtful_come_first(rows, size):
    made = arrange(rows, size)
    assert Counter(row for part in made for row in part) == Counter(rows)
    assert all(0 < len(part) <= size and len({row[:2] for row in part}) == 1 for part in made)
    means = [np.mean([row[4] for row in part]) for part in made]
    assert means == sorted(means, reverse=True)
    assert all(part == sorted(part, key=lambda row: -row[4]) for part in made)


def test_what_is_wrong_and_what_is_missing_come_first(pets):
    review = review_of(pets, batch=1)
    first, second = review.items[:2]
    assert (first.task, first.concept, first.score) == ("mask", "dog", pytest.approx(0.8))
    assert "'cap' (confidence 0.80) has these pixels" in first.because
    assert (second.task, second.concept) == ("exhaustivity", "dog") and second.score == pytest.approx(0.6)
    assert second.sample_id == pets.values("id")[1] and "has no label" in second.because
    assert review.counts == {"mask": 3, "exhaustivity": 4}  # a cap and two dogs; of no cap, where none is felt
    assert str(review).startswith("7 items in 7 batches")


def test_of_what_sam3_found_the_nearest_to_the_decision_come_first(new_dataset):
    sure, near, apart = (instance("dog", box, c, p) for box, c, p in ((A, 0.99, 1.0), (B, 0.51, 1.0), (FAR, 0.9, 0.9)))
    stable = [sample_of([], [instance("dog", C, 0.9, stability=value)]) for value in (0.2, 0.99)]
    both = sample_of([], [instance("dog", A, 0.95), instance("fox", A, 0.9)])
    dataset = ask(
        new_dataset([sample_of([], [sure, near, apart]), *stable, both]), {"dog": 0.9, "fox": 0.9}, label_field="sam3"
    )
    dataset.add_sample_field("sam3.detections.stability", fo.FloatField)
    review = review_of(dataset, "sam3", tasks="masks", batch=1)
    place = {item.label_id: k for k, item in enumerate(review.items)}
    shaky, firm = (sample.sam3.detections[0].id for sample in dataset[1:3])
    assert place[near.id] == 0 and place[sure.id] == len(place) - 1
    assert place[shaky] < place[firm]
    because = {item.label_id: item.because for item in review.items}
    assert because[shaky] == "unstable" and because[dataset.last().sam3.detections[0].id] == "another concept claims it"
    assert all(0 <= item.score <= 1 for item in review.items)


def test_a_concept_that_is_felt_and_not_labelled_is_asked(pets):
    review = review_of(pets, concepts=["cap"], tasks=["exhaustivity"])
    assert [item.sample_id for item in review.items] == [pets.values("id")[0]]
    pets.set_values("sam3_presence.cap", [0.9, 0.9, 0.0])
    review = review_of(pets, concepts=["cap"], tasks=["exhaustivity"])
    assert [item.because for item in review.items][0] == "nothing is labelled, and presence is 0.90"
    labelled = pets.values("id")[0]
    (item,) = (item for item in review.items if item.sample_id == labelled)
    assert "nothing is labelled" not in item.because


def test_without_a_ledger_everything_labelled_is_asked(new_dataset):
    dataset = new_dataset([sample_of([rectangle("hat", A), rectangle("Hat", B)]), sample_of([]), sample_of(None)])
    review = review_of(dataset)
    assert review.counts == {"mask": 2, "exhaustivity": 1} and review.concepts in [("hat",), ("Hat",)]
    assert "SAM 3 found no instances to compare these labels with" in review.notes[0]
    answer(dataset, one(review, "mask", review.concepts[0]), True, reviewer="ana")
    assert dataset.first().sam3_verified[review.concepts[0]] is True


def test_labels_of_other_names(pets):
    pets.first().ground_truth.detections[0].label = "cap"
    sample = pets.first()
    sample.ground_truth.detections[0].label = "baseball cap"
    sample.save()
    review = review_of(pets, gt_labels={"cap": ["baseball cap"]}, concepts=["cap"])
    item = one(review, "mask", "cap")
    assert item.names == ("baseball cap",) and item.label_id == sample.ground_truth.detections[0].id
    assert answer(pets, item, True, reviewer="ana").present is True


def test_the_queue_is_stored_and_replaced_and_deleted(pets):
    review = review_of(pets)
    assert load_review(pets) == review
    assert load_review(pets).items == review.items
    shorter = review_of(pets, limit=2)
    assert load_review(pets).items == shorter.items == review.items[:2]
    answer(pets, review.items[0], False, reviewer="ana")
    delete_findings(pets, "review")
    with pytest.raises(CurationError, match=r"has no review 'review'; run build_review\(\) first"):
        load_review(pets)
    assert facts(pets, review.items[0])[0] is False  # what people said is not the queue's
    assert len(review_of(pets, key=None)) == len(review) - 1 and not pets.list_runs(method="sam3_review")


def test_what_is_answered_is_not_asked_again(pets):
    review = review_of(pets)
    for item, verdict in zip(review.items[:3], (False, False, True), strict=True):
        answer(pets, item, verdict, reviewer="ana")
    left = {item.key for item in review.items[3:]}
    assert {item.key for item in review_of(pets).items} == left


def test_where_somebody_said_there_is_none_nobody_is_asked_for_all(pets):
    before = len(review_of(pets, tasks=["exhaustivity"]))
    verify(pets.select(pets.values("id")[1]), "dog", False)
    verify(pets.select(pets.values("id")[2]), "dog", False)  # but there is a label: that is still a question
    assert len(review_of(pets, tasks=["exhaustivity"])) == before - 1


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (dict(tasks="boxes"), "'boxes' is no task of a review"), (dict(tasks=[]), "want some of"),
        (dict(batch=0), "batch=0 must be"), (dict(limit=True), "limit=True must be"),
        (dict(concepts=["hat"]), "'hat' is no concept that is labelled, or was asked"),
        (dict(concepts=[]), "No concepts were named"), (dict(gt_labels=["cap"]), "must map concepts to labels"),
        (dict(found_field="ground_truth"), "are both 'ground_truth'"), (dict(found_field="x"), "is not a field"),
        (dict(key="ground_truth"), "would write beside the field"), (dict(ledger="a b"), "must be a plain word"),
        (dict(exhaustivity="none"), "has no exhaustivity 'none'; run check_exhaustivity"),
        (dict(batches=3), "has no setting 'batches'; did you mean 'batch'"),
    ],
)  # fmt: skip
def test_what_makes_no_queue_is_refused(pets, said, words):
    with pytest.raises(CurationError, match=words):
        review_of(pets, **said)
    assert not pets.list_runs(method="sam3_review") and "sam3_exhaustive" not in pets.get_field_schema()


def test_frames_patches_and_fields_of_something_else_are_refused(new_dataset, pets):
    clips = new_dataset([video({"sam3": [rectangle("cap", A)]})])
    with pytest.raises(CurationError, match="holds videos, and labels of frames cannot be looked at here"):
        review_of(clips, "sam3")
    with pytest.raises(CurationError, match="view of patches"):
        review_of(pets.to_patches("ground_truth"))
    with pytest.raises(CurationError, match="Detections are needed"):
        review_of(pets, "sam3_presence")
    with pytest.raises(CurationError, match="no samples"):
        review_of(pets.limit(0))


def test_verdicts_of_one_ledger_are_of_one_field(pets):
    review_of(pets)
    with pytest.raises(CurationError, match="says of 'ground_truth' which concepts .* another ledger"):
        review_of(pets, "sam3", key="other")
    other = review_of(pets, "sam3", key="other", ledger="mine")
    assert other.items[0].because.startswith("confidence")  # the evidence is the label field's own all the same
    answer(pets, other.items[0], True, reviewer="ana")
    assert "mine_verified" in pets.get_field_schema() and load_review(pets, "review").ledger == "sam3"


# --- answers ---

MASK, ALL = "mask", "exhaustivity"


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([(MASK, True)], (True, True, None)),
        ([(MASK, False)], (False, None, None)),  # a rejected mask alone is no absence
        ([(MASK, False), (ALL, True)], (False, False, True)),
        ([(ALL, True), (MASK, False)], (False, False, True)),
        ([(ALL, True)], (None, None, True)),  # nobody looked at the mask
        ([(ALL, False)], (None, None, False)),
        ([(MASK, False), (ALL, False)], (False, None, False)),
        ([(MASK, False), (ALL, True), (ALL, False)], (False, None, False)),
        ([(MASK, True), (MASK, False)], (False, None, None)),
        ([(MASK, True), (ALL, True)], (True, True, True)),
        ([(MASK, None), (ALL, None)], (None, None, None)),
    ],
)
def test_what_answers_become(pets, answers, expected):
    review = review_of(pets)
    asked = {MASK: one(review, MASK, "cap"), ALL: one(review, ALL, "cap")}
    for task, verdict in answers:
        done = answer(pets, asked[task], verdict, reviewer="ana")
    assert facts(pets, asked[MASK]) == expected and done.present == expected[1]


def test_no_label_and_all_are_marked_is_a_verified_absence(pets):
    item = next(i for i in review_of(pets).of("dog", ALL) if i.sample_id == pets.values("id")[1])
    assert answer(pets, item, True, reviewer="ana").present is False
    assert facts(pets, item)[1:] == (False, True)


def test_who_and_when_are_fields_that_the_app_knows(pets):
    review = review_of(pets)
    mask, all_of = one(review, MASK, "cap"), one(review, ALL, "cap")
    done = answer(pets, mask, True, reviewer=" ana ", note="clear")
    answer(pets, all_of, False, reviewer="bo")
    pets.reload()
    label = pets.first().ground_truth.detections[0]
    assert (label.verified, label.verified_by, label.verified_at) == (True, "ana", done.at)
    log = pets.first().sam3_review
    assert [(one.task, one.by, one.verdict) for one in log] == [(MASK, "ana", True), (ALL, "bo", False)]
    assert log[0].note == "clear" and log[0].at == done.at
    flat = pets.get_field_schema(flat=True)
    there = "ground_truth.detections.verified_by", "sam3_exhaustive.cap", "sam3_verified.cap", "sam3_review.by"
    assert set(there) <= set(flat)
    assert pets.count_values("sam3_review.by") == {"ana": 1, "bo": 1}
    assert len(pets.match(fo.ViewField("sam3_exhaustive.cap") == False)) == 1  # noqa: E712 - an expression


def test_samples_in_memory_and_caches_notice(pets):
    sample = pets.first()
    before = pets.bounds("last_modified_at")[1]
    item = one(review_of(pets), MASK, "cap")
    answer(pets, item, False, reviewer="ana")
    assert sample.ground_truth.detections[0].verified is False
    assert pets.bounds("last_modified_at")[1] > before
    assert without_rejected(pets, "ground_truth").count("ground_truth.detections") == 2


def test_the_first_answer_stands_and_the_second_hears_of_it(pets):
    review = review_of(pets)
    for item in (one(review, MASK, "cap"), one(review, ALL, "dog")):
        first = answer(pets, item, True, reviewer="ana")
        before = everything(pets)
        with pytest.raises(AnswerConflict, match="ana already said yes at .* UTC of .* nothing was changed") as caught:
            answer(pets, item, False, reviewer="bo")
        assert (caught.value.said, caught.value.by, caught.value.at) == (True, "ana", first.at)
        assert everything(pets) == before
        answer(pets, item, False, reviewer="ana")  # one may change one's mind
        answer(pets, item, True, reviewer="bo", overrule=True)
        with pytest.raises(AnswerConflict, match="bo since then said yes"):
            take_back(pets, item, reviewer="ana")
        assert take_back(pets, item, reviewer="bo").verdict is True
        assert take_back(pets, item, reviewer="ana").verdict is False


def test_a_verdict_by_hand_is_believed(pets):
    review = review_of(pets)
    item = one(review, MASK, "cap")
    pets.set_label_values("ground_truth.detections.verified", {item.label_id: False})
    assert item not in next_items(pets, review, n=50)
    with pytest.raises(AnswerConflict, match="somebody already said no of this mask"):
        answer(pets, item, True, reviewer="ana")


def test_what_was_said_of_presence_before_comes_back(pets):
    review = review_of(pets)
    item = one(review, MASK, "cap")
    first = pets.select(item.sample_id)
    verify(first, "cap", False)
    answer(pets, item, True, reviewer="ana")
    assert facts(pets, item)[1] is True
    take_back(pets, item, reviewer="ana")
    assert facts(pets, item)[1] is False
    answer(pets, item, True, reviewer="ana")
    verify(first, "cap", None)  # said since, and not the review's to undo
    take_back(pets, item, reviewer="ana")
    assert facts(pets, item)[1] is None


MOVES = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([True, False, None, "back"])), max_size=14)


@pytest.fixture(scope="module")
def caps():
    """Two caps and a dog in one sample, and their review."""
    with shared(sample_of([rectangle("cap", A), rectangle("cap", B), rectangle("dog", FAR)])) as dataset:
        review = build_review(ask(dataset, {"cap": 0.9, "dog": 0.9}), "ground_truth", progress=False)
        yield dataset, review, dataset._sample_collection.find_one({})


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(MOVES, st.sampled_from([True, False, None]))
def test_whatever_was_answered_can_all_be_taken_back(caps, moves, said):
    dataset, review, blank = caps
    dataset._sample_collection.replace_one({}, blank)
    verify(dataset, "cap", said)
    items = [*review.of("cap"), *review.of("dog", MASK)]
    before = everything(dataset)
    done: Counter[Item] = Counter()
    for k, verdict in moves:
        if verdict != "back":
            answer(dataset, items[k], verdict, reviewer="ana")
            done[items[k]] += 1
        elif done[items[k]]:
            take_back(dataset, items[k], reviewer="ana")
            done[items[k]] -= 1
        present, full = facts(dataset, items[0])[1:]
        labels = [facts(dataset, item)[0] for item in items if item.concept == "cap" and item.label_id]
        absent = full and all(label is False for label in labels)
        assert present is (True if any(labels) else False if absent else said)
    while (item := last_answer(dataset, review.items, "ana")) is not None:
        take_back(dataset, item, reviewer="ana")
        done[item] -= 1
    assert not any(done.values()) and everything(dataset) == before


def test_what_was_not_answered_cannot_be_taken_back(pets):
    review = review_of(pets)
    with pytest.raises(CurationError, match="ana has not answered this"):
        take_back(pets, review.items[0], reviewer="ana")
    assert last_answer(pets, review.items, "ana") is None
    answer(pets, review.items[0], True, reviewer="ana")
    answer(pets, review.items[2], True, reviewer="ana")
    assert last_answer(pets, review.items, "ana") == review.items[2]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (dict(verdict="yes"), "verdict='yes' must be True, False, or None"),
        (dict(reviewer=""), "reviewer='' must be a name"), (dict(reviewer=None), "must be a name"),
        (dict(reviewer="ai:"), "must be a name"), (dict(confidence=3), r"confidence=3 must be a number in \[0, 1\]"),
    ],
)
def test_answers_that_are_none(pets, said, words):
    item = review_of(pets).items[0]
    with pytest.raises(CurationError, match=words):
        answer(pets, item, **{"verdict": True, "reviewer": "ana", **said})


def test_what_was_deleted_or_renamed_meanwhile_is_said_and_the_queue_goes_on(pets):
    review = review_of(pets)
    cap, dog, other = one(review, MASK, "cap"), one(review, MASK, "dog"), one(review, ALL, "dog", 0)
    sample = pets[cap.sample_id]
    sample.ground_truth.detections = [label for label in sample.ground_truth.detections if label.id != cap.label_id]
    sample.ground_truth.detections[0].label = "cap"
    sample.save()
    with pytest.raises(ItemGone, match="label of this question .'cap'. was deleted: go on"):
        answer(pets, cap, True, reviewer="ana")
    with pytest.raises(ItemGone, match="is called 'cap' since, and not 'dog'"):
        answer(pets, dog, True, reviewer="ana")
    pets.delete_samples(other.sample_id)
    with pytest.raises(ItemGone, match="sample of this question .'dog'. was deleted"):
        answer(pets, other, True, reviewer="ana")
    left = next_items(pets, review, reviewer="ana", n=50)
    assert left and not {cap.key, dog.key, other.key} & {item.key for item in left}
    for item in left:
        answer(pets, item, True, reviewer="ana")
    progress = review.progress()
    assert (progress.answered, progress.left) == (len(left), 0) and progress.gone == len(review) - len(left)
    assert f"{progress.gone} gone" in str(progress)


# --- whose turn it is ---


def test_what_is_skipped_is_left_to_others(pets):
    review = review_of(pets)
    item = review.items[0]
    answer(pets, item, None, reviewer="ana")
    assert next_items(pets, review, reviewer="ana", n=1) != [item]
    assert item in next_items(pets, review, reviewer="ana", n=50, skipped=True)
    release(pets, review.items, "ana")
    assert next_items(pets, review, reviewer="bo", n=1) == [item]


def test_two_reviewers_get_different_questions_until_the_time_is_over(pets):
    review = review_of(pets)
    hers = next_items(pets, review, reviewer="ana", n=3)
    assert hers == list(review.items[:3]) == next_items(pets, "review", reviewer="ana", n=3)
    his = next_items(pets, review, reviewer="bo", n=3, seconds=0.2)
    assert his == list(review.items[3:6])
    answer(pets, his[0], True, reviewer="bo")
    release(pets, his[1:2], "bo")
    assert next_items(pets, review, reviewer="cy", n=1) == his[1:2]
    time.sleep(0.3)
    assert next_items(pets, review, reviewer="dee", n=1) == his[2:3]
    assert next_items(pets, review, n=3) == hers  # just to look
    assert next_items(pets, review, n=9, task=MASK, concept="cap") == review.of("cap", MASK)


def test_what_is_answered_while_it_is_claimed_is_not_handed_out(pets, monkeypatch):
    from curation.review import turns

    review = review_of(pets)
    original = turns.claim

    def slow(dataset, items, reviewer, n, seconds):
        monkeypatch.setattr(turns, "claim", original)
        answer(pets, review.items[0], True, reviewer="bo")  # after the samples were read, before the lease
        return original(dataset, items, reviewer, n, seconds)

    monkeypatch.setattr(turns, "claim", slow)
    assert next_items(pets, review, reviewer="ana", n=3) == list(review.items[1:4])
    assert next_items(pets, review, reviewer="cy", n=1) == [review.items[4]]


def test_a_bad_question_about_turns_is_refused(pets):
    review = review_of(pets)
    bad = (dict(n=0), "n=0 must be"), (dict(concept="x"), "no concept of"), (dict(task="x"), "no task of")
    for said, words in bad:
        with pytest.raises(CurationError, match=words):
            next_items(pets, review, **said)


def test_of_many_at_once_exactly_one_answer_stands(new_dataset):
    dataset = ask(new_dataset([sample_of([rectangle("cap", A) for _ in range(6)])]), {"cap": 0.9})
    review = review_of(dataset)
    outcomes: Counter[str] = Counter()
    won: list[tuple[str, str, bool]] = []
    start = threading.Barrier(4)

    def work(name: str, verdict: bool) -> None:
        start.wait()
        for item in review.items:
            try:
                answer(dataset, item, verdict, reviewer=name)
                won.append((item.key, name, verdict))
            except AnswerConflict:
                outcomes["conflict"] += 1

    threads = [threading.Thread(target=work, args=(f"r{k}", k % 2 == 0)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == len(review) and outcomes["conflict"] == 3 * len(review)
    log = dataset._sample_collection.find_one({})["sam3_review"]
    said = {(entry["label_id"], entry["by"], entry["verdict"]) for entry in log}
    assert len(log) == len(review)
    by_key = {item.key: item.label_id for item in review.items}
    assert said == {(by_key[key], name, verdict) for key, name, verdict in won}
    assert review.progress().left == 0


WORKER = """
    import json, sys
    import fiftyone as fo
    from curation.review import answer, load_review, next_items
    dataset = fo.load_dataset(sys.argv[1])
    review, said = load_review(dataset), {}
    print("ready", flush=True)
    sys.stdin.readline()
    while items := next_items(dataset, review, reviewer=sys.argv[2], n=3):
        print("claimed", flush=True)
        for item in items:
            done = answer(dataset, item, len(said) % 2 == 0, reviewer=sys.argv[2])
            said[item.key] = done.verdict
    print(json.dumps(said))
"""


def test_two_processes_share_a_queue_and_lose_nothing(new_dataset):
    rows = [[rectangle(name, box) for name, box in (("cap", A), ("cap", B), ("dog", FAR))] for _ in range(6)]
    dataset = ask(new_dataset([sample_of(row) for row in rows]), {"cap": 0.9, "dog": 0.9})
    review = review_of(dataset)
    command = [sys.executable, "-c", textwrap.dedent(WORKER), dataset.name, "bo"]
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    mine: dict[str, bool | None] = {}
    with subprocess.Popen(command, cwd=REPOSITORY, **pipes) as other:
        assert any(line == "ready\n" for line in other.stdout)
        first = next_items(dataset, review, reviewer="ana", n=3)
        other.stdin.write("go\n")
        other.stdin.flush()
        # else a busy machine may let one of the two answer everything
        assert any(line == "claimed\n" for line in other.stdout)
        while items := first or next_items(dataset, review, reviewer="ana", n=3):
            first = []
            for item in items:
                mine[item.key] = answer(dataset, item, len(mine) % 3 == 0, reviewer="ana").verdict
        theirs = json.loads(other.communicate(timeout=120)[0].splitlines()[-1])
    assert mine and theirs and not set(mine) & set(theirs) and len(mine) + len(theirs) == len(review)
    together = {**mine, **theirs}
    for item in review.items:
        stored = facts(dataset, item)
        assert stored[0 if item.task == MASK else 2] is together[item.key]
    assert review.progress().answered == len(review)


# --- what an exhaustivity check found ---


@pytest.fixture
def checked(pets):
    """A dog that has no label in the second sample, and a weaker one, found by a check."""
    found = [instance("dog", FAR, 0.6), instance("dog", A, 0.3), instance("cap", B, 0.9)]
    _declare(pets, "exhaustivity")
    sample = pets[pets.values("id")[1]]
    sample["exhaustivity"] = fo.Detections(detections=found)
    sample.save()
    ids = tuple(label.id for label in found[:2])
    pair = PairFound(sample.id, "dog", 0.97, 0, 0.7, ids, "no 'dog' is labelled, and presence is 0.70")
    _store(pets, Exhaustivity("exhaustivity", "ground_truth", (pair,)))
    return pets


def test_a_check_orders_the_queue(checked):
    item = one(review_of(checked, batch=1), ALL, "dog")
    assert (item.task, item.concept, item.candidates) == (ALL, "dog", "exhaustivity")
    assert item.score == pytest.approx((0.97 + 0.6) / 2)  # and the confidence of what has no label
    assert not review_of(checked).notes


def test_no_but_these_are_they(checked):
    item = one(review_of(checked), ALL, "dog")
    before = everything(checked)
    ids = [label.id for label in checked[item.sample_id].exhaustivity.detections]
    done = add_missing(checked, item, ids[:1], reviewer="ana")
    assert done.added == (ids[0],) and (done.verdict, done.present) == (True, True)
    (label,) = checked[item.sample_id].ground_truth.detections
    assert (label.id, label.label, label.verified, label.verified_by) == (ids[0], "dog", True, "ana")
    assert label.mask.shape == (3, 3) and label.mask.all()
    assert facts(checked, item)[1:] == (True, True)
    with pytest.raises(CurationError, match="is no candidate of 'dog' here, or is a label already"):
        add_missing(checked, item, ids[:1], reviewer="ana")
    take_back(checked, item, reviewer="ana")
    assert everything(checked) == before
    assert add_missing(checked, item, reviewer="ana", complete=False).verdict is False
    assert [label.id for label in checked[item.sample_id].ground_truth.detections] == ids[:2]


def test_what_cannot_be_added(checked):
    review = review_of(checked)
    item = one(review, ALL, "dog")
    answer(checked, item, False, reviewer="ana")
    for question_, said, kind, words in (
        (item, dict(reviewer="bo"), AnswerConflict, "ana already said no"),
        (item, dict(reviewer="ai:x"), CurationError, "is an AI"),
        (item, dict(reviewer="ana", candidates=["5" * 24]), CurationError, "is no candidate"),
        (one(review, MASK, "dog"), dict(reviewer="ana"), CurationError, "and not to a mask's"),
        (one(review, ALL, "cap"), dict(reviewer="ana"), CurationError, "no candidates of 'cap' here: draw"),
    ):
        with pytest.raises(kind, match=words):
            add_missing(checked, question_, **said)


def test_labels_that_somebody_looked_at_since_stay(checked):
    item = one(review_of(checked), ALL, "dog")
    done = add_missing(checked, item, reviewer="ana")
    checked.set_label_values("ground_truth.detections.verified", {done.added[0]: False})
    take_back(checked, item, reviewer="ana")
    assert [label.id for label in checked[item.sample_id].ground_truth.detections] == [done.added[0]]


# --- pictures ---


@pytest.fixture
def drawn(checked, tmp_path):
    """With images: 200 × 100 pixels, grey."""
    for k, sample in enumerate(checked):
        sample.filepath = str(tmp_path / f"{k}.png")
        Image.new("RGB", (200, 100), (90, 90, 90)).save(sample.filepath)
        sample.save()
    return checked


def lose(dataset: fo.Dataset, item: Item) -> None:
    """The image's file is gone."""
    Path(dataset[item.sample_id].filepath).unlink()


def test_a_mask_is_outlined_in_its_surroundings(drawn):
    item = one(review_of(drawn), MASK, "cap")
    shown, bare = (np.asarray(picture(drawn, item, 256, overlay=overlay)) for overlay in (True, False))
    assert shown.shape == bare.shape and max(shown.shape) == 256 and (bare == 90).all()
    changed = (shown != bare).any(axis=2)
    assert 0.05 < changed.mean() < 0.7  # the mask, and a margin around it
    whole = picture(drawn, item, 256, context=None)
    assert whole.size == (256, 128)
    assert jpeg(whole)[:3] == b"\xff\xd8\xff"


def test_all_instances_are_outlined_and_candidates_dashed_in_white(drawn):
    review = review_of(drawn)
    with_candidates, without = one(review, ALL, "dog"), one(review, ALL, "cap")
    shown = np.asarray(picture(drawn, with_candidates))
    assert shown.shape == (256, 512, 3) and (shown > 240).all(axis=2).sum() > 50
    assert not (np.asarray(picture(drawn, without)) > 240).all(axis=2).any()
    assert (np.asarray(picture(drawn, without)) != 90).any()
    add_missing(drawn, with_candidates, reviewer="ana")
    assert not (np.asarray(picture(drawn, with_candidates)) > 240).all(axis=2).any()  # they are labels now


def test_a_rejected_label_is_no_instance(drawn):
    review = review_of(drawn)
    answer(drawn, one(review, MASK, "cap"), False, reviewer="ana")
    assert (np.asarray(picture(drawn, one(review, ALL, "cap"))) == 90).all()


def test_pictures_that_cannot_be_drawn(drawn, pets):
    item = one(review_of(drawn), MASK, "cap")
    with pytest.raises(CurationError, match="size=3 must be"):
        picture(drawn, item, 3)
    lose(drawn, item)
    with pytest.raises(CurationError, match="does not exist"):
        picture(drawn, item)
    drawn.delete_samples(item.sample_id)
    with pytest.raises(ItemGone):
        picture(drawn, item)


@pytest.mark.parametrize("box", [(0, 0, 20, 10), (19, 9, 1, 1), (0, 0, 0.01, 0.01), (-2, -2, 4, 4), (18, 8, 5, 5)])
def test_boxes_at_the_borders_have_a_picture(new_dataset, tmp_path, box):
    path = tmp_path / "x.png"
    Image.new("RGB", (20, 10)).save(path)
    x, y, w, h = box
    label = fo.Detection(label="cap", bounding_box=[x / 20, y / 10, w / 20, h / 10], mask=np.ones((2, 2), bool))
    dataset = new_dataset([fo.Sample(str(path), ground_truth=fo.Detections(detections=[label]))])
    for item in review_of(dataset).items:
        assert max(picture(dataset, item, 64).size) == 64


# --- an AI looks first ---


def test_an_ai_spares_people_what_it_is_sure_of_and_counts_as_no_persons_word(drawn):
    review = review_of(drawn)
    seen = []

    def judge(shown, asked):
        seen.append((shown.dtype, shown.shape[2], asked))
        return ("cap" in asked, 0.9) if "this" in asked else None

    told = verify_with(drawn, review, judge, reviewer="ai:judge", progress=False)
    assert (told.accepted, told.rejected, told.unsure, told.failed) == (1, 2, 4, ())
    assert {one[:2] for one in seen} == {(np.dtype("uint8"), 3)}
    assert {one[2] for one in seen} == set(map(question, review.items))
    cap = one(review, MASK, "cap")
    assert facts(drawn, cap) == (None, None, None)
    label = drawn[cap.sample_id].ground_truth.detections[0]
    assert (label.ai_verified, label.ai_verified_by, label.ai_confidence) == (True, "ai:judge", 0.9)
    progress = review.progress()
    assert (progress.answered, progress.by_ai, progress.left) == (0, 3, 4)
    assert {item.task for item in next_items(drawn, review, n=50)} == {ALL}
    assert cap in next_items(drawn, review, n=50, after_ai=True)
    answer(drawn, cap, False, reviewer="ana")  # people have the last word
    with pytest.raises(AnswerConflict):
        answer(drawn, cap, True, reviewer="ai:judge", overrule=True)
    assert facts(drawn, cap)[0] is False
    take_back(drawn, one(review, MASK, "dog"), reviewer="ai:judge")
    assert review.progress().by_ai == 1


def test_a_verifier_that_fails_or_doubts_costs_its_question(drawn):
    review = review_of(drawn)
    lose(drawn, one(review, MASK, "cap"))
    answers = iter([(True, 0.4), (True, np.float32(0.8)), RuntimeError("out of memory"), *["maybe"] * 2])

    def judge(shown, asked):
        said = next(answers)
        if isinstance(said, Exception):
            raise said
        return said

    told = verify_with(drawn, review, judge, confidence=0.5, progress=False)
    assert told.reviewer == "ai:judge" and (told.accepted, told.rejected, told.unsure) == (1, 0, 1)
    kinds = Counter(why.split(":")[0] for _, why in told.failed)
    assert kinds == {"CurationError": 4, "RuntimeError": 1} and "failed" in str(told)
    told = verify_with(drawn, review, judge, progress=False)  # what it left open is asked again
    assert [why for _, why in told.failed if "maybe" in why] and told.accepted == 0


class Zoo(fom.Model):
    """A model of FiftyOne's: says the same of every picture."""

    def __init__(self, label: str, confidence: float = 0.8) -> None:
        self.said = fo.Classification(label=label, confidence=confidence)

    @property
    def media_type(self):
        return "image"

    def predict(self, arg):
        assert arg.dtype == np.uint8
        return self.said

    @property
    def transforms(self):
        return None

    preprocess = ragged_batches = False


@pytest.mark.parametrize(
    ("label", "accepted", "rejected", "unsure"),
    [("yes", 7, 0, 0), ("No", 0, 7, 0), ("cap", 1, 2, 4), ("a photo of a dog", 2, 1, 4), ("zebra", 0, 3, 4)],
)
def test_a_classifier_of_the_zoo_is_a_verifier(drawn, label, accepted, rejected, unsure):
    told = verify_with(drawn, review_of(drawn), Zoo(label), progress=False)
    assert (told.accepted, told.rejected, told.unsure, told.failed) == (accepted, rejected, unsure, ())
    assert told.reviewer == "ai:Zoo"


def test_what_cannot_verify_is_refused(drawn):
    review = review_of(drawn)
    for verifier, said, words in (
        ("clip", {}, "must be a callable"), (print, dict(reviewer="ana"), "would pass for a person"),
        (print, dict(confidence=2), r"must be a number in \[0, 1\]"), (print, dict(limit=0), "limit=0"),
    ):  # fmt: skip
        with pytest.raises(CurationError, match=words):
            verify_with(drawn, review, verifier, progress=False, **said)
    assert verify_with(drawn, review, lambda *_: True, limit=2, task=MASK, progress=False).accepted == 2


def test_declared_once_is_enough_and_many_concepts_stay_out_of_the_sidebar(pets):
    names = [f"thing {k}" for k in range(80)]
    declare_verdicts(pets, Ledger("wide"), "ground_truth", names)
    assert not [path for path in pets.get_field_schema(flat=True) if path.startswith("wide_verified.")]
    item = Item(ALL, pets.values("id")[1], None, "thing 3", 1, "", 0, "ground_truth", "wide", ("thing 3",))
    declared = pets.get_field_schema(flat=True)
    answer(pets, item, True, reviewer="ana")
    assert set(pets.get_field_schema(flat=True)) - set(declared) <= {"wide_verified.thing 3", "wide_exhaustive.thing 3"}


# --- the concept is asked again ---


def test_what_was_judged_survives_that_its_concept_is_asked_again(tmp_path):
    """What is found again keeps its verdict and id; what was accepted stays; what nobody judged is replaced."""
    from emoji_world.dataset import build_dataset
    from zoo.source import load_model

    dataset = build_dataset("asked-again", tmp_path / "media", count=6, persistent=False)
    model = load_model("concepts/sam3-tiny-image", classes=["wolf", "tractor"])
    dataset.apply_model(model, label_field="sam3", progress=False)
    review = review_of(dataset, "sam3", tasks=["masks"])
    items = {item.label_id: item for item in review.items if item.concept == "wolf"}
    assert len(items) >= 3
    (no, yes), rest = list(items)[:2], list(items)[2:]
    answer(dataset, items[no], False, reviewer="ana")
    answer(dataset, items[yes], True, reviewer="ana")
    gone = fo.Detection(label="wolf", bounding_box=[0.0, 0.0, 0.02, 0.02], mask=np.ones((2, 2), bool))
    gone["verified"] = True  # as of a reviewer who added it: SAM 3 does not find it
    sample = dataset[items[yes].sample_id]
    sample.sam3.detections.append(gone)
    sample.save()
    numbers = dataset.values("sam3_count.wolf")

    dataset.apply_model(load_model("concepts/sam3-tiny-image", classes=["wolf"]), label_field="sam3", progress=False)
    held = {d.id: d for s in dataset for d in s.sam3.detections if d.label == "wolf"}
    assert held[no].verified is False and held[yes].verified is True and gone.id in held
    assert (held[no].verified_by, held[no].mask.any()) == ("ana", True)
    assert not set(rest) & set(held) and len(held) == len(items) + 1
    assert dataset.values("sam3_count.wolf") == numbers
    assert review.progress().answered == 2
    assert no not in {d.id for s in without_rejected(dataset, "sam3") for d in s.sam3.detections}


def test_answers_about_a_field_that_was_renamed_are_refused(pets):
    item = one(review_of(pets), "mask", "cap")
    pets.rename_sample_field("ground_truth", "labels")
    with pytest.raises(CurationError, match="has no field 'ground_truth' any more"):
        answer(pets, item, True, reviewer="ana")
