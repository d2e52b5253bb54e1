"""What is done about confused concepts, and that undoing it puts back every byte.

Images are 20 × 10 pixels; instances are rectangles of pixels. Documents are compared as they lie in the database.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import uuid4

import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F

from curation.answers import asked_concepts, read_answers
from curation.errors import CurationError
from curation.policies import Applied, applied_policies, apply_policy, undo_policy
from zoo.engine.concepts import parse_concepts
from zoo.engine.results import ConceptResult
from zoo.ledger import Ledger, declare, write
from zoo.provenance import asked_phrases, note_label_field, run_info, start_run

WIDTH, HEIGHT = 20, 10
A, B, FAR = (1, 1, 6, 6), (9, 2, 6, 6), (16, 0, 3, 3)
#: A without a row; and within A
MOST, SPOT = (1, 1, 6, 5), (2, 2, 2, 2)

#: the same pixels, and another wolf; nearly the same pixels; a wolf that is too unsure to count; apart; nothing there;
#: never asked
ROWS = [
    [("fox", A, 0.9), ("hat", SPOT, 0.7), ("wolf", A, 0.6), ("wolf", B, 0.8)],
    [("fox", A, 0.55), ("wolf", MOST, 0.8)],
    [("wolf", B, 0.3), ("fox", B, 0.9)],
    [("fox", A, 0.9), ("wolf", B, 0.9), ("hat", FAR, 0.9)],
    [],
    None,
]
PRESENCE = dict(fox=[0.95, 0.6, 0.95, 0.95, 0.1], wolf=[0.9, 0.9, 0.4, 0.95, 0.2], hat=[0.8, 0.1, 0.1, 0.9, 0.0])


def label(name: str, box: tuple, confidence: float | None, **attributes: Any) -> fo.Detection:
    x, y, w, h = box
    mask = np.ones((h, w), bool)
    mask[0, 0] = False  # no two masks are alike by their size alone
    return fo.Detection(
        label=name, bounding_box=[x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT], confidence=confidence, mask=mask,
        presence=0.9, object_score=0.8, phrase=name, **attributes,
    )  # fmt: skip


def asked(
    dataset: fo.Dataset, rows: list[list | None] = ROWS, thresholds: dict | None = None, field: str = "sam3",
    **presence: list,
) -> fo.Dataset:  # fmt: skip
    """As after a run: concept → its presence in each sample, None where it was not asked."""
    samples, presence = [], presence or PRESENCE
    for k, held in enumerate(rows):
        made = fo.Sample(filepath=f"/nowhere/{uuid4()}.png", metadata=fo.ImageMetadata(width=WIDTH, height=HEIGHT))
        made[field] = None if held is None else fo.Detections(detections=[label(*one) for one in held])
        made["note"] = "as it was"
        results = []
        for name, levels in presence.items():
            if held is not None and levels[k] is not None:
                level = (thresholds or {}).get(name, 0.5)
                count = sum(one == name and (sure is None or sure > level) for one, _, sure in held)
                results.append(ConceptResult(name, levels[k], levels[k] / 2, (), count, level))
        if results:
            write(made, Ledger(), results)
        samples.append(made)
    dataset.add_samples(samples, dynamic=True, progress=False)
    declare(dataset, Ledger(), (), field)  # the rest, too
    start_run(dataset, Ledger(), parse_concepts(list(presence), thresholds), {"confidence_thresh": 0.5})
    note_label_field(dataset, Ledger(), field)
    return dataset


def documents(dataset: fo.Dataset) -> dict[str, dict]:
    """Every sample as it lies in the database, but for when it was written."""
    found = {str(held["_id"]): held for held in dataset._sample_collection.find()}
    for held in found.values():
        del held["last_modified_at"]
    return found


def record(dataset: fo.Dataset) -> str:
    """The ledger's record; in which order it names the concepts does not matter here."""
    return json.dumps(run_info(dataset), default=str, sort_keys=True)


def instances(dataset: fo.Dataset) -> list[list[tuple[str, float]]]:
    return [[(one.label, one.confidence) for one in held.sam3.detections] for held in dataset if held.sam3 is not None]


def numbers(dataset: fo.Dataset, kind: str, concept: str) -> list:
    return dataset.values(Ledger().path(kind, concept))


def counted(dataset: fo.Dataset, concept: str) -> list[int]:
    """What there is to count."""
    return [sum(name == concept and sure > 0.5 for name, sure in held) for held in instances(dataset)]


@pytest.fixture
def zoo(new_dataset) -> fo.Dataset:
    return asked(new_dataset())


# --- keep ---


def test_keep(zoo):
    before, about = documents(zoo), record(zoo)
    done = apply_policy(zoo, "fox", "wolf", "keep")
    assert done == Applied("policy_1", "keep", "fox", "wolf", None, 0, 0, 0)
    assert documents(zoo) == before and record(zoo) == about
    assert applied_policies(zoo) == [done]
    assert str(done) == "'fox' and 'wolf': both stay as they are, in 0 samples (undo: 'policy_1')"


# --- keep best ---


def test_keep_best(zoo):
    done = apply_policy(zoo, "fox", "wolf", "keep best")
    assert instances(zoo) == [
        [("fox", 0.9), ("hat", 0.7), ("wolf", 0.8)], [("wolf", 0.8)], [("fox", 0.9)],
        [("fox", 0.9), ("wolf", 0.9), ("hat", 0.9)], [],
    ]  # fmt: skip
    assert done == Applied("policy_1", "keep best", "fox", "wolf", None, 3, 0, 3)
    assert str(done) == "'fox' and 'wolf': 3 less confident instances went, in 3 samples (undo: 'policy_1')"


def test_counts_follow_and_presence_stays(zoo):
    apply_policy(zoo, "fox", "wolf", "keep best")
    assert numbers(zoo, "count", "fox") == [1, 0, 1, 1, 0, None] == [*counted(zoo, "fox"), None]
    assert numbers(zoo, "count", "wolf") == [1, 1, 0, 1, 0, None] == [*counted(zoo, "wolf"), None]
    assert numbers(zoo, "count", "hat") == [1, 0, 0, 1, 0, None]
    for name, levels in PRESENCE.items():
        assert numbers(zoo, "presence", name) == [*levels, None]
        assert numbers(zoo, "score", name) == [*(level / 2 for level in levels), None]


def test_what_goes_is_counted_by_its_own_threshold(new_dataset):
    """A wolf of 0.6 was not counted, where wolves count from 0.7 on."""
    dataset = asked(new_dataset(), thresholds={"wolf": 0.7})
    assert numbers(dataset, "count", "wolf")[:3] == [1, 1, 0]
    apply_policy(dataset, "fox", "wolf", "keep best")
    assert numbers(dataset, "count", "wolf")[:3] == [1, 1, 0]


def test_which_of_two_goes(new_dataset):
    cases = [
        ([("fox", A, 0.7), ("wolf", A, 0.7)], [("fox", 0.7)]),  # of equals, the first concept's
        ([("wolf", A, 0.7), ("fox", A, 0.7)], [("fox", 0.7)]),
        ([("fox", A, 0.9), ("wolf", A, None)], [("wolf", None)]),  # drawn by a person
        ([("fox", A, 0.9), ("wolf", A, 0.8), ("wolf", A, 0.7)], [("fox", 0.9)]),
        ([("wolf", A, 0.9), ("fox", A, 0.8), ("fox", MOST, 0.7)], [("wolf", 0.9)]),
        # the fox that is most like the wolf takes it away, and so keeps it from taking the other
        ([("fox", A, 0.9), ("wolf", A, 0.8), ("fox", MOST, 0.3)], [("fox", 0.9), ("fox", 0.3)]),
        ([("fox", A, 0.9), ("wolf", SPOT, 0.3)], [("fox", 0.9), ("wolf", 0.3)]),  # a part is not the same
        ([("fox", A, 0.9), ("fox", A, 0.3)], [("fox", 0.9), ("fox", 0.3)]),
        ([("fox", A, 0.9), ("hat", A, 0.3)], [("fox", 0.9), ("hat", 0.3)]),
    ]
    rows, left = zip(*cases, strict=True)
    dataset = asked(new_dataset(), rows, **dict.fromkeys(("fox", "wolf", "hat"), [0.9] * len(rows)))
    apply_policy(dataset, "fox", "wolf", "keep best")
    assert instances(dataset) == list(left)


def test_from_which_iou_on_two_are_the_same(zoo):
    assert apply_policy(zoo, "fox", "wolf", "keep best", iou=0.9).removed == 2
    assert apply_policy(zoo, "fox", "wolf", "keep best", iou=0.8).removed == 1


def test_a_view_is_changed_and_the_rest_left_alone(zoo):
    before = documents(zoo)
    assert apply_policy(zoo.skip(1), "fox", "wolf", "keep best").removed == 2
    after, first = documents(zoo), zoo.first().id
    assert after[first] == before[first] and after != before


def test_the_ledger_is_the_datasets_whatever_a_view_shows(zoo):
    assert apply_policy(zoo.select_fields("sam3"), "fox", "wolf", "keep best").removed == 3


def test_nothing_in_common(new_dataset):
    dataset = asked(new_dataset(), [[("fox", A, 0.9), ("wolf", B, 0.9)], []], fox=[0.9, 0.1], wolf=[0.9, 0.1])
    before = documents(dataset)
    done = apply_policy(dataset, "fox", "wolf", "keep best")
    assert (done.removed, done.changed, done.samples) == (0, 0, 0) and documents(dataset) == before
    assert apply_policy(dataset, "fox", "wolf", "nest").changed == 0


# --- nest ---


def test_nest(new_dataset):
    """A wheel within two cars belongs to the one that it lies in most; a car's roof on another is the same thing."""
    rows = [
        [("car", (1, 1, 3, 6), 0.9), ("wheel", (2, 2, 2, 2), 0.8), ("car", A, 0.7), ("wheel", FAR, 0.9)],
        [("wheel", A, 0.6), ("car", MOST, 0.9)],
        [("wheel", B, 0.9)],
    ]
    dataset = asked(new_dataset(), rows, wheel=[0.9] * 3, car=[0.9, 0.9, 0.1])
    before = instances(dataset)
    done = apply_policy(dataset, "wheel", "car", "nest")
    assert (done.removed, done.changed, done.samples) == (0, 2, 2)
    assert str(done).startswith("'wheel' and 'car': 2 instances got a parent, in 2 samples")
    assert instances(dataset) == before and "sam3.detections.parent" in dataset.get_field_schema(flat=True)
    (small, wheel, large, far), (whole, roof), (lone,) = (one.sam3.detections for one in dataset)
    parents = [one.get_attribute_value("parent", None) for one in (wheel, whole, far, lone, small, large, roof)]
    assert parents[1:] == [roof.id, None, None, None, None, None] and parents[0] in (small.id, large.id)
    assert len(dataset.filter_labels("sam3", F("parent") != None)) == 2  # noqa: E711
    assert numbers(dataset, "count", "wheel") == [2, 1, 1]


def test_the_best_of_several_parents(new_dataset):
    """Both hold the wheel whole; it is more of the smaller one."""
    rows = [[("car", A, 0.9), ("wheel", SPOT, 0.8), ("car", (2, 2, 3, 3), 0.7)]]
    dataset = asked(new_dataset(), rows, wheel=[0.9], car=[0.9])
    apply_policy(dataset, "wheel", "car", "nest")
    _, wheel, small = dataset.first().sam3.detections
    assert wheel.parent == small.id


# --- relabel ---


def test_relabel_to_a_new_name(zoo):
    done = apply_policy(zoo, "fox", "wolf", "relabel", parent=" canine ")
    assert instances(zoo) == [
        [("canine", 0.9), ("hat", 0.7), ("canine", 0.8)], [("canine", 0.8)], [("canine", 0.9)],
        [("canine", 0.9), ("canine", 0.9), ("hat", 0.9)], [],
    ]  # fmt: skip
    assert done == Applied("policy_1", "relabel", "fox", "wolf", "canine", 3, 6, 4)
    assert str(done).startswith("'fox' and 'wolf': 6 instances are 'canine' now, 3 doubles went, in 4 samples")
    assert numbers(zoo, "count", "canine") == [2, 1, 1, 2, 0, None] == [*counted(zoo, "canine"), None]
    assert numbers(zoo, "presence", "canine") == [0.95, 0.9, 0.95, 0.95, 0.2, None]
    assert numbers(zoo, "score", "canine") == [0.475, 0.45, 0.475, 0.475, 0.1, None]


def test_the_new_name_is_a_concept_as_if_it_had_been_asked(zoo):
    apply_policy(zoo, "fox", "wolf", "relabel", parent="canine")
    assert asked_phrases(zoo, Ledger())["canine"] == ["fox", "wolf"]
    assert asked_concepts(zoo) == ("fox", "wolf", "hat", "canine")
    answers = read_answers(zoo.limit(2), concepts=["canine"])
    assert answers.presence[:, 0].tolist() == [0.95, 0.9] and answers.thresholds == {"canine": 0.5}
    assert "sam3_presence.canine" in zoo.get_field_schema(flat=True)
    assert len(zoo.match(F("sam3_presence.canine") > 0.5)) == 4


def test_relabel_to_one_of_the_two(zoo):
    done = apply_policy(zoo, "fox", "wolf", "relabel", parent="wolf")
    assert instances(zoo)[0] == [("wolf", 0.9), ("hat", 0.7), ("wolf", 0.8)] and done.removed == 3
    assert numbers(zoo, "count", "wolf") == [2, 1, 1, 2, 0, None] == [*counted(zoo, "wolf"), None]
    assert numbers(zoo, "presence", "wolf") == [0.95, 0.9, 0.95, 0.95, 0.2, None]
    assert asked_phrases(zoo, Ledger())["wolf"] == ["fox", "wolf"]
    assert set(asked_concepts(zoo)) == {"fox", "wolf", "hat"}


def test_relabel_where_one_of_them_was_not_asked(new_dataset):
    rows = [[("fox", A, 0.9)], [("wolf", A, 0.9)], [("hat", A, 0.9)]]
    dataset = asked(new_dataset(), rows, fox=[0.9, None, None], wolf=[None, 0.8, None], hat=[0.1, 0.1, 0.9])
    before = documents(dataset)
    apply_policy(dataset, "fox", "wolf", "relabel", parent="canine")
    assert numbers(dataset, "presence", "canine") == [0.9, 0.8, None]
    assert numbers(dataset, "count", "canine") == [1, 1, None]
    undo_policy(dataset)
    assert documents(dataset) == before


def test_names_that_no_field_can_have(zoo):
    before, about = documents(zoo), record(zoo)
    apply_policy(zoo, "fox", "wolf", "relabel", parent="C. lupus $ co.")
    assert numbers(zoo, "presence", "C. lupus $ co.")[0] == 0.95
    undo_policy(zoo)
    assert documents(zoo) == before and record(zoo) == about


def test_a_name_belongs_to_the_whole_dataset(zoo):
    before = instances(zoo)
    with pytest.raises(CurationError, match="A name belongs to the whole dataset: relabel it, not a view of it"):
        apply_policy(zoo.limit(1), "fox", "wolf", "relabel", parent="canine")
    assert instances(zoo) == before


def test_masks_survive(zoo):
    masks = {one.id: one.mask for held in zoo if held.sam3 for one in held.sam3.detections}
    for policy, parent in (("nest", None), ("keep best", None)):
        apply_policy(zoo, "fox", "wolf", policy, parent=parent)
    apply_policy(zoo, "fox", "wolf", "relabel", parent="canine")
    for _ in range(3):
        for held in zoo.exists("sam3"):
            assert all(np.array_equal(one.mask, masks[one.id]) for one in held.sam3.detections)
        undo_policy(zoo)
    after = {one.id: one.mask for held in zoo if held.sam3 for one in held.sam3.detections}
    assert after.keys() == masks.keys() and all(np.array_equal(after[k], masks[k]) for k in masks)


# --- undo ---

POLICIES = [
    ("keep", None), ("keep best", None), ("nest", None), ("relabel", "canine"), ("relabel", "wolf"), ("relabel", "fox"),
]  # fmt: skip


@pytest.mark.parametrize(("policy", "parent"), POLICIES)
def test_undone_to_the_last_byte(zoo, policy, parent):
    one = zoo.first()
    one.sam3.detections[2].tags = ["seen"]
    one.sam3.detections[2]["when"] = datetime(2024, 5, 17, 12, 30)
    one.sam3.detections[2]["names"] = ["a", "b"]
    one.sam3.detections[2]["index"] = 2**40
    one.save()
    before, about = documents(zoo), record(zoo)
    done = apply_policy(zoo, "fox", "wolf", policy, parent=parent)
    assert (documents(zoo) == before) == (policy == "keep")
    assert undo_policy(zoo) == done
    assert documents(zoo) == before and record(zoo) == about
    assert applied_policies(zoo) == [] and zoo.list_runs() == ["sam3"]


@pytest.mark.parametrize("parent", ["fox", "canine"])
def test_undone_the_concepts_are_in_the_same_order(zoo, parent):
    before = asked_concepts(zoo)
    apply_policy(zoo, "fox", "wolf", "relabel", parent=parent)
    undo_policy(zoo)
    assert asked_concepts(zoo) == before


@pytest.mark.parametrize(("policy", "parent"), [POLICIES[2], POLICIES[3]])
def test_undone_without_a_trace_in_the_schema(zoo, policy, parent):
    before = set(zoo.get_field_schema(flat=True))
    apply_policy(zoo, "fox", "wolf", policy, parent=parent)
    undo_policy(zoo)
    assert set(zoo.get_field_schema(flat=True)) == before


def test_undone_by_another_process(zoo):
    before = documents(zoo)
    done = apply_policy(zoo, "fox", "wolf", "relabel", parent="canine")
    dataset = fo.load_dataset(zoo.name)
    dataset.clear_cache()
    assert applied_policies(dataset) == [done] and undo_policy(dataset, "policy_1") == done
    assert documents(dataset) == before


def test_an_earlier_parent_comes_back(zoo):
    apply_policy(zoo, "hat", "fox", "nest")
    before = documents(zoo)
    (parent,) = zoo.values("sam3.detections.parent", unwind=True)[1:2]
    assert parent is not None
    apply_policy(zoo, "hat", "wolf", "nest")
    assert zoo.first().sam3.detections[1].parent != parent
    undo_policy(zoo)
    assert documents(zoo) == before


def test_undone_in_order(zoo):
    first = apply_policy(zoo, "fox", "wolf", "nest")
    between = documents(zoo)
    second = apply_policy(zoo, "wolf", "hat", "keep best", iou=0.1)
    third = apply_policy(zoo, "fox", "wolf", "relabel", parent="canine")
    assert [one.key for one in applied_policies(zoo)] == ["policy_1", "policy_2", "policy_3"]
    assert applied_policies(zoo) == [first, second, third]
    for key in ("policy_1", "policy_2"):
        with pytest.raises(CurationError, match="came later and changed the same concepts: undo it first"):
            undo_policy(zoo, key)
    assert undo_policy(zoo) == third and undo_policy(zoo) == second
    assert documents(zoo) == between and applied_policies(zoo) == [first]


def test_what_touches_the_new_name_came_later(zoo):
    apply_policy(zoo, "fox", "wolf", "relabel", parent="canine")
    apply_policy(zoo, "hat", "canine", "nest")
    with pytest.raises(CurationError, match="'policy_2' came later and changed the same concepts: undo it first"):
        undo_policy(zoo, "policy_1")


def test_what_touches_other_concepts_can_be_undone_in_any_order(new_dataset):
    rows = [[(name, A, sure) for name, sure in (("fox", 0.9), ("wolf", 0.8), ("mug", 0.7), ("cup", 0.6))]]
    dataset = asked(new_dataset(), rows, fox=[0.9], wolf=[0.9], mug=[0.9], cup=[0.9])
    before = documents(dataset)
    first, second = (apply_policy(dataset, *pair, "keep best") for pair in (("fox", "wolf"), ("mug", "cup")))
    assert instances(dataset) == [[("fox", 0.9), ("mug", 0.7)]]
    assert undo_policy(dataset, first.key) == first
    assert instances(dataset) == [[("fox", 0.9), ("wolf", 0.8), ("mug", 0.7)]]
    assert apply_policy(dataset, "mug", "cup", "keep").key == "policy_3"
    undo_policy(dataset)
    undo_policy(dataset, second.key)
    after = documents(dataset)
    for held in (*before.values(), *after.values()):
        held["sam3"]["detections"].sort(key=lambda one: one["_id"])
    assert after == before


def test_undone_after_a_sample_was_deleted(zoo):
    before = documents(zoo)
    apply_policy(zoo, "fox", "wolf", "relabel", parent="canine")
    gone = zoo.first().id
    zoo.delete_samples([gone])
    undo_policy(zoo)
    del before[gone]
    assert documents(zoo) == before


@pytest.mark.parametrize(("policy", "parent"), POLICIES[1:5])
def test_undone_after_a_label_was_deleted(zoo, policy, parent):
    """It stays deleted; everything else is as it was."""
    before = documents(zoo)
    apply_policy(zoo, "fox", "wolf", policy, parent=parent)
    one = zoo.first()
    gone = one.sam3.detections[0].id  # the fox that stayed, and got another name or a parent
    one.sam3.detections = one.sam3.detections[1:]
    one.save()
    undo_policy(zoo)
    held = before[one.id]["sam3"]
    held["detections"] = [d for d in held["detections"] if str(d["_id"]) != gone]
    assert documents(zoo) == before


@pytest.mark.parametrize(("policy", "parent"), POLICIES[1:5])
def test_undone_after_something_else_was_changed(zoo, policy, parent):
    """A label of another concept, one of these that was only moved, one that is new, and another field."""
    apply_policy(zoo, "fox", "wolf", policy, parent=parent)
    one = zoo.first()
    fox, hat = one.sam3.detections[:2]
    hat.label, hat["checked"], fox.bounding_box, fox.tags = "cap", True, [0, 0, 0.5, 0.5], ["moved"]
    one.sam3.detections.append(label("owl", FAR, 0.4))
    one["note"] = "changed"
    one.save()
    undo_policy(zoo)
    one = zoo.first()
    held = {d.id: d for d in one.sam3.detections}
    assert one.note == "changed" and held[hat.id].label == "cap" and held[hat.id].checked is True
    assert (held[fox.id].label, held[fox.id].bounding_box, held[fox.id].tags) == ("fox", [0, 0, 0.5, 0.5], ["moved"])
    assert [d.label for d in one.sam3.detections] == ["fox", "cap", "wolf", "wolf", "owl"]
    assert instances(zoo)[1:] == [[(name, sure) for name, _, sure in row] for row in ROWS[1:5]]


def test_undone_after_all_labels_of_a_sample_were_deleted(zoo):
    apply_policy(zoo, "fox", "wolf", "keep best")
    one = zoo.first()
    one["sam3"] = None
    one.save()
    undo_policy(zoo)
    assert instances(zoo) == [[(name, sure) for name, _, sure in row] for row in ROWS[1:5]]


def test_undone_where_no_record_says_what_was_asked(zoo):
    """The ledger was copied without its run: its numbers are all there is."""
    zoo.delete_run("sam3")
    before = documents(zoo)
    apply_policy(zoo, "fox", "wolf", "relabel", parent="wolf")
    assert numbers(zoo, "presence", "wolf") == [0.95, 0.9, 0.95, 0.95, 0.2, None]
    undo_policy(zoo)
    assert documents(zoo) == before


def test_instances_in_a_field_of_another_name(new_dataset):
    dataset = asked(new_dataset(), field="animals")
    before = documents(dataset)
    done = apply_policy(dataset, "fox", "wolf", "relabel", parent="canine", label_field="animals")
    assert done.removed == 3 and numbers(dataset, "count", "canine") == [2, 1, 1, 2, 0, None]
    undo_policy(dataset)
    assert documents(dataset) == before


# --- what is refused ---


@pytest.fixture(scope="module")
def untouched() -> Iterator[fo.Dataset]:
    """One for all refusals: none of them may change it."""
    dataset = fo.Dataset(f"test-{uuid4().hex[:8]}", persistent=True)
    asked(dataset)
    dataset.set_values("mine", [fo.Detections() for _ in range(6)])
    yield dataset
    dataset.delete()


@pytest.mark.parametrize(
    ("arguments", "given", "message"),
    [
        (("fox", "wolf", "merge"), {}, r"policy='merge'; want one of \['keep', 'keep best', 'nest', 'relabel'\]"),
        (("fox", "foxes", "keep"), {}, "'foxes' was not asked of this dataset; the nearest that were: 'fox'"),
        (("dog", "wolf", "nest"), {}, "'dog' was not asked of this dataset"),
        (("fox", "fox", "keep best"), {}, "'fox' cannot be settled with itself"),
        (("fox", "wolf", "relabel"), {}, "Say parent='…': the name that 'fox' and 'wolf' get"),
        (("fox", "wolf", "relabel"), dict(parent="  "), "Say parent="),
        (("fox", "wolf", "relabel"), dict(parent="hat"), "parent='hat' was asked itself, and has instances of its own"),
        (("fox", "wolf", "relabel"), dict(parent=" hat "), "was asked itself, and has instances of its own"),
        (("fox", "wolf", "keep"), dict(label_field="none"), "label_field 'none' is not a field"),
        (("fox", "wolf", "keep"), dict(label_field="note"), "label_field 'note' holds StringField"),
        (("fox", "wolf", "keep best"), dict(label_field="mine"), r"'mine' belongs to no ledger .* it has \['sam3'\]"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_changed(untouched, arguments, given, message):
    before, schema = documents(untouched), set(untouched.get_field_schema(flat=True))
    try:
        with pytest.raises(CurationError, match=message):
            apply_policy(untouched, *arguments, **given)
        assert documents(untouched) == before and set(untouched.get_field_schema(flat=True)) == schema
        assert untouched.list_runs() == ["sam3"]
    finally:
        while applied_policies(untouched):
            undo_policy(untouched)


def test_nothing_to_undo(untouched):
    with pytest.raises(CurationError, match="No policy was applied to .*: there is nothing to undo"):
        undo_policy(untouched)


def test_an_unknown_key(zoo):
    apply_policy(zoo, "fox", "wolf", "keep")
    with pytest.raises(CurationError, match=r"has no policy 'policy_9'; it has \['policy_1'\]"):
        undo_policy(zoo, "policy_9")
