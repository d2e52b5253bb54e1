"""Changes of labels and how they are taken back; nobody is asked here."""

from __future__ import annotations

import fiftyone as fo
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ledgers import FAR, A, B, ask, instance, rectangle

from curation.changes import MOST, Before, _difference, recorded_changes, restore_labels, undo_change
from curation.errors import CurationError
from curation.records import delete_findings
from zoo.ledger import Ledger
from zoo.provenance import run_info, set_entry

FIELD = "sam3"


@pytest.fixture
def zoo(new_dataset):
    """Three samples with instances, one with none, one that has no field's value."""
    dataset = new_dataset([fo.Sample(f"/none/{k}.png") for k in range(5)])
    rows = [[("fox", A), ("wolf", B)], [("fox", A)], [("wolf", FAR)], [], None]
    for sample, row in zip(dataset.iter_samples(autosave=True), rows, strict=True):
        if row is not None:
            sample[FIELD] = fo.Detections(detections=[instance(name, box, 0.8) for name, box in row])
    return ask(dataset, {"fox": [0.9, 0.8, 0.1, 0.0, None], "wolf": 0.5})


def stored(dataset: fo.Dataset) -> list:
    """Everything that can change, as it lies in the database."""
    documents = dataset._sample_collection.find({}).sort("_id", 1)
    return [{k: v for k, v in one.items() if k not in ("last_modified_at", "_rand")} for one in documents]


def edit(dataset: fo.Dataset) -> None:
    """Labels added, removed, moved, drawn anew and in another order; numbers, too."""
    first, second, third, fourth, fifth = dataset
    one, two = first[FIELD].detections
    one.mask, one.bounding_box, one["quality"] = np.ones((2, 2), bool), [0, 0, 0.1, 0.2], 0.7
    first[FIELD].detections = [two, one, instance("owl", FAR, 0.4)]
    second[FIELD].detections = []
    third[FIELD].detections[0].label = "fox"
    fourth[FIELD] = fo.Detections(detections=[instance("fox", A, 0.9)])
    fifth[FIELD] = fo.Detections(detections=[instance("fox", B, 0.9)])
    for sample in (first, fifth):
        sample.sam3_presence["fox"] = 0.33
    for sample in (first, second, third, fourth, fifth):
        sample.save()


def test_what_was_done_is_counted_and_taken_back_byte_for_byte(zoo):
    before = stored(zoo)
    watched = Before(zoo, zoo.values("id"), [FIELD], Ledger(), ["fox"])
    edit(zoo)
    change = watched.keep("some of everything")
    assert (change.samples, change.added, change.removed, change.changed) == (5, 3, 1, 2)
    assert str(change) == "some of everything: 3 labels added, 1 gone, 2 changed, in 5 samples"
    assert recorded_changes(zoo) == [change]
    zoo.reload()
    assert stored(zoo) != before
    assert undo_change(zoo) == change
    after = stored(zoo)
    for was, now in zip(before, after, strict=True):
        was, now = ({k: v for k, v in one.items()} for one in (was, now))
        assert now == was
    assert recorded_changes(zoo) == [] and zoo.list_runs(method="sam3_change") == []


def test_what_is_cut_short_can_be_undone_as_far_as_it_came(zoo):
    before = stored(zoo)
    watched = Before(zoo, zoo.values("id"), [FIELD])
    with pytest.raises(RuntimeError), watched.watching("drawn"):
        edit(zoo)
        raise RuntimeError("no power")
    (change,) = recorded_changes(zoo)
    assert change.what == "drawn, cut short" and change.samples == 5
    undo_change(zoo)
    assert [one.get(FIELD) for one in stored(zoo)] == [one.get(FIELD) for one in before]
    with pytest.raises(RuntimeError), Before(zoo, zoo.values("id"), [FIELD]).watching("drawn"):
        raise RuntimeError("no power")
    assert recorded_changes(zoo) == []


def test_nothing_done_is_recorded_as_that(zoo):
    change = Before(zoo, zoo.values("id"), [FIELD]).keep("nothing")
    assert str(change) == "nothing: nothing is different, in 0 samples"
    undo_change(zoo)


def test_fields_that_a_change_made_go_with_it_unless_something_else_is_there(zoo):
    for kept in (False, True):
        ids = zoo.values("id")
        watched = Before(zoo, ids, ["drawn"])
        first = zoo.first()
        first["drawn"] = fo.Detections(detections=[rectangle("fox", A)])
        first.save()
        watched.keep("drawn")
        if kept:
            last = zoo.last()
            last["drawn"] = fo.Detections(detections=[rectangle("mine", B)])
            last.save()
        undo_change(zoo)
        assert ("drawn" in zoo.get_field_schema()) == kept
        assert not kept or zoo.values("drawn.detections.label")[-1] == ["mine"]


def test_what_was_edited_since_stays(zoo):
    watched = Before(zoo, zoo.values("id"), [FIELD])
    first = zoo.first()
    first[FIELD].detections[0].mask = np.zeros((3, 3), bool)
    first[FIELD].detections.append(instance("owl", FAR, 0.9))
    first.save()
    watched.keep("drawn")
    first.reload()
    first[FIELD].detections[0].tags = ["looked at"]
    first[FIELD].detections[1].label = "dog"
    first[FIELD].detections.append(instance("mine", FAR, 0.9))
    first.save()
    undo_change(zoo)
    now = zoo.first()[FIELD].detections
    assert [d.label for d in now] == ["fox", "dog", "mine"]
    assert now[0].mask.shape == (6, 6) and now[0].tags == ["looked at"]


def test_samples_and_labels_that_were_deleted_since_are_not_missed(zoo):
    watched = Before(zoo, zoo.values("id"), [FIELD])
    edit(zoo)
    watched.keep("drawn")
    zoo.delete_samples([zoo.first().id])
    second = zoo.first()
    second[FIELD] = None
    second.save()
    undo_change(zoo)
    assert zoo.values(f"{FIELD}.detections.label") == [None, ["wolf"], [], None]


def test_changes_are_undone_in_an_order_that_makes_sense(zoo):
    ids = zoo.values("id")
    keys = []
    for where in (ids[:1], ids[:2], ids[2:3]):
        watched = Before(zoo, where, [FIELD])
        for sample in zoo.select(where).iter_samples(autosave=True):
            sample[FIELD].detections.append(instance("owl", FAR, 0.5))
        keys.append(watched.keep("an owl").key)
    assert keys == ["change_1", "change_2", "change_3"]
    with pytest.raises(CurationError, match="'change_2' .* came later and changed the same labels: undo it first"):
        undo_change(zoo, keys[0])
    assert undo_change(zoo, keys[2]).key == keys[2]
    assert undo_change(zoo).key == keys[1] and undo_change(zoo).key == keys[0]
    assert zoo.count_values(f"{FIELD}.detections.label") == {"fox": 2, "wolf": 2}
    with pytest.raises(CurationError, match="nothing to undo"):
        undo_change(zoo)


def test_what_there_is_not_is_not_undone(zoo):
    Before(zoo, zoo.values("id"), [FIELD]).keep("nothing")
    with pytest.raises(CurationError, match=r"no change 'change_9'; it has \['change_1'\]"):
        undo_change(zoo.limit(1), "change_9")
    with pytest.raises(CurationError, match="use undo_change"):
        delete_findings(zoo, "change_1")


def test_the_record_of_a_concept_comes_back(zoo):
    before = run_info(zoo)["concepts"]
    watched = Before(zoo, [], [FIELD], Ledger(), ["fox", "owl"])
    set_entry(zoo, Ledger(), "fox", dict(phrases=["vixen"]))
    set_entry(zoo, Ledger(), "owl", dict(phrases=["owl"]))
    watched.keep("asked otherwise")
    undo_change(zoo)
    assert run_info(zoo)["concepts"] == before


def test_old_records_make_room(zoo):
    for _ in range(MOST + 3):
        Before(zoo, [], [FIELD]).keep("nothing")
    assert [one.key for one in recorded_changes(zoo)] == [f"change_{k}" for k in range(4, MOST + 4)]


LABEL = st.sampled_from(["fox", "wolf", "owl"])
LABELS = st.none() | st.lists(st.tuples(st.integers(0, 6), LABEL, st.booleans()), unique_by=lambda one: one[0])


@given(LABELS, LABELS.filter(lambda labels: labels is not None))
@settings(max_examples=120, deadline=None)
def test_whatever_the_change_its_state_takes_it_back(before, after):
    ids = [fo.Detection().id for _ in range(7)]

    def held(rows):
        if rows is None:
            return None
        labels = []
        for k, name, more in rows:
            label = fo.Detection(label=name, bounding_box=[0, 0, 0.5, 0.5], **(dict(quality=0.5) if more else {}))
            label.id = ids[k]
            labels.append(label)
        return fo.Detections(detections=labels)

    old, new = held(before), held(after)
    sample = fo.Sample("/none.png", found=new)
    was, now = (None if one is None else [d.to_dict() for d in one.detections] for one in (old, new))
    state = _difference(was, now)
    if state is None:
        assert was == now
        return
    restore_labels(sample, "found", state)
    again = None if sample["found"] is None else [d.to_dict() for d in sample["found"].detections]
    assert again == was
