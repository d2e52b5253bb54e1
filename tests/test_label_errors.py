"""Missing, wrong and extra labels: on literal rectangles, in what is written, in what is refused, and for any numbers.

Where there are fewer than two labelled and two unlabelled instances, nothing is learned from the dataset's labels, and
an instance is as real as its confidence says. So it is in most of the scenes here, and their scores can be read off.
"""

from __future__ import annotations

import dataclasses
import math

import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.ledgers import FAR, A, B, ask, instance, picture, places, rectangle, shared, video

from curation import instances, records
from curation.errors import CurationError
from curation.instances import LEAST_IOU, Instances, Overlaps, compare
from curation.label_errors import METHOD, LabelErrors, find_label_errors, label_error_steps, load_label_errors
from curation.presence import present
from curation.suspicion import Suspicion, reality, suspect
from curation.truth import verify

PART, HALF = (2, 2, 2, 2), (1, 1, 3, 6)  # of A
SETTINGS = dict(exhaustive=True, progress=False)
UNWRITTEN = dict(SETTINGS, key=None)


def dog(box, confidence=None, **more) -> fo.Detection:
    return rectangle("dog", box, **more) if confidence is None else instance("dog", box, confidence, **more)


def cat(box, confidence=None, **more) -> fo.Detection:
    return rectangle("cat", box, **more) if confidence is None else instance("cat", box, confidence, **more)


def kennel(dataset: fo.Dataset, *scenes: fo.Sample, presence=None, **settings) -> fo.Dataset:
    """Scenes, and one with labels of both concepts, that presence vouches for. Elsewhere it is 0, unless it is said."""
    dataset.add_samples([*scenes, picture([dog(A), cat(B)], [])])
    numbers = {"dog": [0.0] * len(scenes), "cat": [0.0] * len(scenes), **(presence or {})}
    return ask(dataset, {c: [*held, 1.0] for c, held in numbers.items()}, **settings)


def told(errors: LabelErrors) -> list[tuple]:
    return [(e.kind, e.score, e.label, e.should_be) for e in errors.errors]


def contents(dataset: fo.Dataset) -> list[dict]:
    """Everything that is stored of samples and frames, but for when."""
    held = [*dataset._sample_collection.find(sort=[("_id", 1)])]
    held += [*dataset._frame_collection.find(sort=[("_id", 1)])] if dataset._frame_collection is not None else []
    return [{k: v for k, v in document.items() if k != "last_modified_at"} for document in held]


def paths(dataset: fo.Dataset) -> set[str]:
    frames = dataset.get_frame_field_schema(flat=True) or {}
    return {*dataset.get_field_schema(flat=True), *(f"frames.{name}" for name in frames)}


@pytest.fixture
def three(new_dataset) -> fo.Dataset:
    """A missing dog; a dog that is labelled as a cat; a label of nothing beside a good one; nothing."""
    scenes = [
        picture([], [dog(A, 0.9)]), picture([cat(A)], [dog(A, 0.8)]), picture([dog(A), dog(B)], [dog(A, 1.0)]),
        picture([], []),
    ]  # fmt: skip
    return ask(new_dataset(scenes), {"dog": [0.9, 0.8, 0.9, 0.0], "cat": 0.0}, label_field="sam3")


@pytest.fixture(scope="module")
def ours() -> fo.Dataset:
    """The same, only to be refused."""
    with shared() as dataset:
        kennel(dataset, picture([], [dog(A, 0.9)], weather="fog", my_wrong=0.5))
        dataset.evaluate_detections("sam3", gt_field="ground_truth", eval_key="eval", progress=False)
        dataset.register_run("mine", dataset.init_run())
        records.store(dataset, "foxes", "sam3_hard_negatives", {}, {})
        yield dataset


@pytest.fixture(scope="module")
def evaluated() -> fo.Dataset:
    """Labels with attributes of their own, of SAM 3, and of an evaluation."""
    with shared() as dataset:
        kennel(dataset, picture([dog(A, colour="red")], [cat(A, 0.9)]), label_field="sam3")
        dataset.add_dynamic_sample_fields()
        dataset.evaluate_detections("sam3", gt_field="ground_truth", eval_key="eval", progress=False)
        yield dataset


# --- one of each ---


#: labels, instances, presence of dogs and cats, and what is found
SCENES = [
    ([dog(A)], [dog(A, 0.9)], (0.9, 0.0), []),
    ([], [], (0.0, 0.0), []),
    ([], [dog(A, 0.9)], (0.9, 0.0), [("missing", 0.9, "dog", None)]),
    ([cat(B)], [dog(A, 0.9), cat(B, 0.9)], (0.9, 0.9), [("missing", 0.9, "dog", None)]),
    ([cat(A)], [dog(A, 0.9)], (0.9, 0.1), [("wrong", 0.9, "cat", "dog")]),
    ([dog(A)], [], (0.05, 0.0), [("extra", 0.95, "dog", None)]),
    ([dog(A)], None, (0.05, 0.0), [("extra", 0.95, "dog", None)]),
    # presence feels a dog that no instance accounts for: it may be this one
    ([dog(A)], [], (0.9, 0.0), []),
    ([dog(A), dog(B)], [dog(A, 0.9)], (0.9, 0.0), [("extra", 1.0, "dog", None)]),
    # both concepts claim the pixels, and one of them is the label's
    ([dog(A)], [dog(A, 0.9), cat(A, 0.8)], (0.9, 0.8), []),
    ([dog(A)], [dog(A, 0.2), cat(A, 0.8)], (0.2, 0.8), [("wrong", 0.64, "dog", "cat")]),
    ([dog(A)], [dog(A, 0.7)], (0.7, 0.0), []),
    # a part of what is labelled, but nothing else that lies within
    ([dog(A)], [dog(A, 0.9), dog(PART, 0.8)], (0.9, 0.0), []),
    ([dog(A)], [dog(A, 0.9), cat(PART, 0.9)], (0.9, 0.9), [("missing", 0.8, "cat", None)]),
    ([dog(A)], [dog(HALF, 0.75)], (0.9, 0.0), [("extra", 0.125, "dog", None)]),
    # one error a label: an extra label that is claimed is a wrong one
    ([cat(A), dog(B)], [dog(A, 0.7), dog(B, 0.9)], (0.9, 0.0), [("wrong", 0.7, "cat", "dog")]),
    # one object without a label is missing once, whatever it was taken for
    ([], [dog(A, 0.85), dog(A, 0.9), dog((1, 1, 6, 5), 0.8)], (0.9, 0.0), [("missing", 0.9, "dog", None)]),
    ([], [dog(A, 0.8), cat(A, 0.9)], (0.9, 0.9), [("missing", 0.9, "cat", None)]),
    ([], [dog(A, 0.9), dog(PART, 0.8)], (0.9, 0.0), [("missing", 0.9, "dog", None)]),
    ([], [dog(A, 0.9), dog(B, 0.8)], (0.9, 0.0), [("missing", 0.9, "dog", None), ("missing", 0.8, "dog", None)]),
]


@pytest.fixture(scope="module")
def scenes() -> fo.Dataset:
    levels = {"dog": [dogs for *_, (dogs, _), _ in SCENES], "cat": [cats for *_, (_, cats), _ in SCENES]}
    with shared() as dataset:
        yield kennel(dataset, *(picture(*labels) for *labels, _, _ in SCENES), presence=levels)


@pytest.mark.parametrize("number", range(len(SCENES)))
def test_what_is_found(scenes, number):
    ids, expected = scenes.values("id"), SCENES[number][-1]
    errors = find_label_errors(scenes.select([ids[number], ids[-1]]), min_score=0.12, **UNWRITTEN)
    assert told(errors) == [(kind, pytest.approx(score, abs=1e-4), *names) for kind, score, *names in expected]
    assert errors.notes == ()
    for error in errors.errors:
        side = "sam3" if error.kind == "missing" else "ground_truth"
        labels = {one.id: one.label for one in scenes[ids[number]][side].detections}
        assert (error.sample_id, error.field, error.frame) == (ids[number], side, 0)
        assert labels[error.label_id] == error.label


def test_the_worst_come_first_and_say_why(three):
    errors = find_label_errors(three, **UNWRITTEN)
    assert told(errors) == [
        ("extra", 1.0, "dog", None), ("missing", 0.9, "dog", None), ("wrong", 0.8, "cat", "dog")
    ]  # fmt: skip
    assert [error.because for error in errors.errors] == [
        "labelled 'dog', but nothing was found there",
        "'dog' (confidence 0.90) has no label",
        "labelled 'cat', but 'dog' (confidence 0.80) has these pixels, and nothing speaks for 'cat'",
    ]
    assert errors.counts == {"missing": 1, "wrong": 1, "extra": 1}
    assert [len(errors.of(kind)) for kind in ("missing", "wrong", "extra")] == [1, 1, 1]
    assert str(errors).splitlines()[:3] == ["missing      1", "wrong        1", "extra        1"]
    table = errors.to_pandas()
    assert table["kind"].tolist() == ["extra", "missing", "wrong"]
    assert table["sample_id"].tolist() == [three.values("id")[k] for k in (2, 0, 1)]


def test_no_errors_are_an_empty_answer(new_dataset):
    errors = find_label_errors(kennel(new_dataset()), **UNWRITTEN)
    assert errors.errors == () and errors.counts == {"missing": 0, "wrong": 0, "extra": 0}
    assert errors.to_pandas().columns.tolist()[:3] == ["kind", "score", "label"]


def test_a_handful_of_instances_teaches_nothing(new_dataset):
    """Of four sure dogs, two are not labelled as such: that does not make doubtful the other two, nor what they say."""
    scenes = [
        picture([dog(A)], [dog(A, 0.95)]), picture([dog(A)], [dog(A, 0.9)]), picture([], [dog(A, 0.9)]),
        picture([cat(A)], [dog(A, 0.9)]),
    ]  # fmt: skip
    dataset = ask(new_dataset(scenes), {"dog": 0.9, "cat": 0.0})
    assert {(e.kind, e.label, e.should_be) for e in find_label_errors(dataset, **UNWRITTEN).errors} == {
        ("missing", "dog", None), ("wrong", "cat", "dog")
    }  # fmt: skip


def test_what_was_broken_is_found_and_nothing_else(new_dataset):
    """40 images with a dog and a cat that are labelled and found, and a doubtful thing that is nothing."""
    rng = np.random.default_rng(0)
    samples = [
        picture(
            [dog(A), cat(B)],
            [dog(A, rng.uniform(0.6, 0.95)), cat(B, rng.uniform(0.6, 0.95)), dog(FAR, rng.uniform(0.05, 0.3))],
        )
        for _ in range(40)
    ]
    for sample in samples[:4]:
        sample.ground_truth.detections.pop(0)
    for sample in samples[4:8]:
        sample.ground_truth.detections[1].label = "dog"
    for sample in samples[8:12]:
        sample.sam3.detections.pop(0)
    dataset = ask(new_dataset(samples), {"dog": 0.9, "cat": 0.9}, label_field="sam3")
    dataset.set_values("sam3_presence.dog", [0.1 if 8 <= k < 12 else 0.9 for k in range(40)])
    errors = find_label_errors(dataset, **UNWRITTEN)
    assert errors.counts == {"missing": 4, "wrong": 4, "extra": 4}
    for kind, where in (("missing", range(4)), ("wrong", range(4, 8)), ("extra", range(8, 12))):
        assert sorted(places(dataset, errors.view(dataset, kind))) == list(where)
    assert {error.should_be for error in errors.of("wrong")} == {"cat"}


# --- what is judged ---


def test_labels_of_concepts_that_were_not_asked(new_dataset):
    truth = [rectangle("bird", A), rectangle("bird", B), rectangle("cow", FAR)]
    errors = find_label_errors(kennel(new_dataset(), picture(truth, [dog(A, 0.9)])), **UNWRITTEN)
    assert errors.errors == ()
    assert errors.notes == ("3 labels are not judged, because SAM 3 was not asked for them: 'bird', 'cow'",)


def test_a_concept_that_was_not_asked_of_this_sample(new_dataset):
    scenes = [picture([dog(A)], []), picture([dog(A)], [])]
    errors = find_label_errors(kennel(new_dataset(), *scenes, presence={"dog": [None, 0.0]}), **UNWRITTEN)
    assert [error.kind for error in errors.errors] == ["extra"] and len(errors.notes) == 1
    assert errors.notes[0].startswith("1 labels are not judged, because SAM 3 was not asked")


def test_a_concept_that_no_label_means(new_dataset):
    """Perhaps it has another name: what is found of it is neither missing nor claims what is labelled."""
    scenes = [picture([dog(A)], [instance("zebra", A, 0.9), instance("zebra", B, 0.9)])]
    dataset = kennel(new_dataset(), *scenes, presence={"zebra": [0.9], "dog": [0.9]})
    plain = find_label_errors(dataset, **UNWRITTEN)
    assert plain.errors == ()
    assert plain.notes == (
        "No label means 'zebra': not judged. Labelled by another name? Say gt_labels={concept: name}",
    )
    named = find_label_errors(dataset, gt_labels={"zebra": "cat"}, concepts=["dog", "zebra"], **UNWRITTEN)
    assert {(error.kind, error.label) for error in named.errors} >= {("missing", "zebra"), ("wrong", "dog")}


def test_names_that_people_use(new_dataset):
    scenes = [picture([rectangle("Hound", A)], [dog(A, 0.9)]), picture([rectangle("tabby", B)], [cat(B, 0.9)])]
    dataset = kennel(new_dataset(), *scenes, phrases={"dog": ["a dog", "hound"]})
    assert find_label_errors(dataset, gt_labels={"cat": ["cat", "tabby"]}, **UNWRITTEN).errors == ()
    # names are said instead of the phrases; a hound is then nothing that was asked for, and its pixels are taken
    loose = find_label_errors(dataset, gt_labels={"cat": F("label").is_in(["cat", "tabby"]), "dog": "dog"}, **UNWRITTEN)
    assert loose.notes == ("1 labels are not judged, because SAM 3 was not asked for them: 'Hound'",)


def test_a_label_that_means_two_concepts(new_dataset):
    """A red cap is a cap, too: whichever is found speaks for it."""
    scenes = [picture([label], [instance("red dog", A, 0.9)]) for label in (dog(A, colour="red"), dog(A))]
    dataset = kennel(new_dataset(), *scenes, presence={"red dog": [0.9, 0.9]})
    errors = find_label_errors(dataset, gt_labels={"red dog": F("colour") == "red"}, **UNWRITTEN)
    assert [(e.kind, e.should_be, e.sample_id) for e in errors.errors] == [
        ("wrong", "red dog", dataset.skip(1).first().id)
    ]


@pytest.fixture(scope="module")
def partly_labelled() -> fo.Dataset:
    """Thrice a dog and a cat without a label; at the last, nobody has looked."""
    rows = ([], ["dog"], []), ([], None, ["cat"]), (None, None, ["dog", "cat"])
    both = [dog(A, 0.9), cat(B, 0.8)]
    with shared() as dataset:
        yield kennel(dataset, *(picture(truth, both, partly=some, absent=none) for truth, some, none in rows))


@pytest.mark.parametrize(
    ("said", "missing"),
    [
        (dict(exhaustive=True), ["dog", "cat", "dog", "cat"]),
        (dict(exhaustive=["dog"]), ["dog", "dog"]),
        (dict(exhaustive=iter(["dog"])), ["dog", "dog"]),
        (dict(exhaustive=True, not_exhaustive_field="partly"), ["cat", "dog", "cat"]),
        (dict(negatives_field="absent"), ["cat"]),
        (dict(exhaustive=["cat"], negatives_field="absent"), ["cat", "cat"]),
    ],
)
def test_only_what_should_be_labelled_can_be_missing(partly_labelled, said, missing):
    errors = find_label_errors(partly_labelled, key=None, progress=False, **said)
    assert sorted(error.label for error in errors.of("missing")) == sorted(missing)


def test_labels_are_judged_whether_or_not_all_are_there(new_dataset):
    scenes = [picture([cat(A), cat(B)], [dog(A, 0.9)])]
    errors = find_label_errors(kennel(new_dataset(), *scenes), exhaustive=["dog"], key=None, progress=False)
    assert sorted(error.kind for error in errors.errors) == ["extra", "wrong"]


def test_suspicions_below_the_least_are_not_kept(new_dataset):
    scenes = [picture([cat(A)], [dog(A, 0.9)]), picture([dog(A)], [dog(A, 1.0)]), picture([], [cat(B, 0.25)])]
    dataset = kennel(new_dataset(), *scenes)
    sure, doubtful = ("wrong", 0.9, "cat", "dog"), ("missing", 0.25, "cat", None)
    for least, expected in ((0.91, []), (1, []), (0.9, [sure]), (0.3, [sure]), (0.25, [sure, doubtful])):
        assert told(find_label_errors(dataset, min_score=least, **UNWRITTEN)) == expected
    # even so, what is not suspicious at all is no error
    assert told(find_label_errors(dataset, min_score=0, **UNWRITTEN)) == [sure, doubtful]


def test_concepts_can_be_chosen(three):
    three.add_sample(picture([], [cat(A, 0.9), dog(B, 0.9)]))
    ask(three, {"dog": 0.9, "cat": 0.9})
    some = find_label_errors(three, concepts=["cat"], **UNWRITTEN)
    assert {error.label for error in some.errors} == {"cat"} and some.counts["missing"] == 1


def test_a_view_is_judged_alone(three):
    errors = find_label_errors(three.skip(1).limit(2), **SETTINGS)
    assert errors.counts == {"missing": 0, "wrong": 1, "extra": 1}
    assert three.values("label_errors_extra") == [None, 0.0, 1.0, None]
    assert three.values("sam3.detections.label_errors")[0] == [None]


def test_what_was_verified_does_not_say_that_all_of_it_is_labelled(new_dataset):
    dataset = kennel(new_dataset(), picture(None, [dog(A, 0.9)]))
    verify(dataset.limit(1), "dog", True)
    assert find_label_errors(dataset, **UNWRITTEN).errors == ()


# --- pixels ---


def test_masks_are_compared_and_boxes_where_told(new_dataset):
    left, right_ = dog(A), dog(A, 0.9)
    left.mask[:, 3:] = False
    right_.mask[:, :3] = False
    dataset = kennel(new_dataset(), picture([left], [right_]))
    assert [e.kind for e in find_label_errors(dataset, **UNWRITTEN).errors] == ["extra", "missing"]
    assert find_label_errors(dataset, use_masks=False, **UNWRITTEN).errors == ()


def test_a_label_without_a_mask_does_not_cost_the_others_theirs(new_dataset):
    left, right_ = dog(A), dog(A, 0.9)
    left.mask[:, 3:] = False
    right_.mask[:, :3] = False
    dataset = kennel(new_dataset(), picture([left, cat(B, mask=False)], [right_, cat(B, 0.9)]))
    assert [(e.kind, e.label) for e in find_label_errors(dataset, **UNWRITTEN).errors] == [
        ("extra", "dog"), ("missing", "dog")
    ]  # fmt: skip


@pytest.mark.parametrize(("first", "second"), [(False, False), (False, True), (True, False)])
def test_boxes_where_there_are_no_masks(new_dataset, first, second):
    scenes = [
        picture([dog(A, mask=first)], [dog(A, 0.9, mask=second)]),
        picture([cat(A, mask=first)], [dog(A, 0.9, mask=second), dog(B, 0.8, mask=second)]),
    ]
    errors = find_label_errors(kennel(new_dataset(), *scenes), **UNWRITTEN)
    assert told(errors) == [("wrong", 0.9, "cat", "dog"), ("missing", 0.8, "dog", None)]


def test_masks_of_another_resolution_and_images_of_unknown_size(new_dataset):
    coarse = dog(A, 0.9)
    coarse.mask = np.ones((3, 3), bool)
    dataset = kennel(new_dataset(), picture([dog(A)], [coarse]))
    assert find_label_errors(dataset, **UNWRITTEN).errors == ()
    dataset.clear_sample_field("metadata")
    assert find_label_errors(dataset, **UNWRITTEN).errors == ()


def test_masks_in_files(new_dataset, tmp_path):
    kept, other = dog(A, mask=False), dog(A, 0.9)
    kept.mask_path = str(tmp_path / "left.png")
    left = np.zeros((6, 6), np.uint8)
    left[:, :3] = 255
    Image.fromarray(left).save(kept.mask_path)
    other.mask[:, :3] = False
    dataset = kennel(new_dataset(), picture([kept], [other]))
    assert [e.kind for e in find_label_errors(dataset, **UNWRITTEN).errors] == ["extra", "missing"]


def test_masks_without_a_pixel(new_dataset):
    empty = dog(A, 0.9)
    empty.mask[:] = False
    errors = find_label_errors(kennel(new_dataset(), picture([dog(A)], [empty])), **UNWRITTEN)
    assert sorted(error.kind for error in errors.errors) == ["extra", "missing"]


def test_instances_that_a_person_drew_are_sure(new_dataset):
    drawn = rectangle("dog", A)
    assert told(find_label_errors(kennel(new_dataset(), picture([], [drawn])), **UNWRITTEN)) == [
        ("missing", 1.0, "dog", None)
    ]


def test_which_instances_overlap(new_dataset):
    dataset = kennel(new_dataset(), picture([dog(A), dog(FAR)], [dog(HALF, 0.9), dog(PART, 0.8), cat(B, 0.7)]))
    *_, (done, total, layout) = compare(dataset, "sam3", "ground_truth")
    assert (done, total) == (2, 2) and layout.found.label.tolist() == ["dog", "dog", "cat"]
    assert layout.truth.label.tolist() == ["dog", "dog", "dog", "cat"] and layout.truth.sample.tolist() == [0, 0, 1, 1]
    assert layout.found.area.tolist() == pytest.approx([18 / 200, 4 / 200, 36 / 200])
    pairs = {
        (a, b): (round(i, 4), round(x, 4), round(y, 4))
        for a, b, i, x, y in zip(*(c.tolist() for c in dataclasses.astuple(layout.across)), strict=True)
    }
    assert pairs == {(0, 0): (0.5, 1, 0.5), (1, 0): (0.1111, 1, 0.1111)}
    assert (layout.among.first.tolist(), layout.among.second.tolist()) == ([0], [1])
    assert LEAST_IOU <= layout.among.iou[0] == pytest.approx(4 / 18)
    assert layout.among.second_inside[0] == pytest.approx(1)


def test_many_samples_are_read_a_stretch_at_a_time(three, monkeypatch):
    whole = find_label_errors(three, **UNWRITTEN)
    monkeypatch.setattr(instances, "STRETCH", 3)
    steps = list(label_error_steps(three, key=None, exhaustive=True))
    assert [(step.done, step.total, step.result is None) for step in steps] == [
        (0, 4, True), (3, 4, True), (4, 4, False)
    ]  # fmt: skip
    assert steps[-1].result == whole


def test_progress_is_shown_as_everywhere(three):
    seen = []
    find_label_errors(three, exhaustive=True, key=None, progress=lambda bar: seen.append((bar.iteration, bar.total)))
    assert seen[-1] == (4, 4)


# --- what is written ---


def test_labels_and_samples_are_marked(three):
    errors = find_label_errors(three, **SETTINGS)
    assert three.values("label_errors_missing") == [0.9, 0, 0, 0]
    assert three.values("label_errors_wrong") == [0, 0.8, 0, 0]
    assert three.values("label_errors_extra") == [0, 0, 1.0, 0]
    assert three.values("ground_truth.detections.label_errors") == [[], ["wrong"], [None, "extra"], []]
    assert three.values("ground_truth.detections.label_errors_should_be") == [[], ["dog"], [None, None], []]
    assert three.values("sam3.detections.label_errors") == [["missing"], [None], [None], []]
    assert three.values("sam3.detections.label_errors_score")[0] == [0.9]
    assert three.values("sam3.detections.label_errors_because")[0] == [errors.of("missing")[0].because]
    label = three.skip(1).first().ground_truth.detections[0]
    assert (label.label, label.label_errors_score, label.id) == ("cat", 0.8, errors.of("wrong")[0].label_id)
    assert len(three.filter_labels("ground_truth", F("label_errors") == "extra")) == 1
    assert places(three, three.sort_by("label_errors_extra", reverse=True).limit(1)) == [2]


def test_the_worst_of_a_kind_is_the_samples(new_dataset):
    dataset = kennel(new_dataset(), picture([], [dog(A, 0.6), cat(B, 0.9)]))
    find_label_errors(dataset, **SETTINGS)
    assert dataset.values("sam3.detections.label_errors_score")[0] == [0.6, 0.9]
    assert dataset.values("label_errors_missing") == [0.9, 0]


def test_nothing_is_stored_without_a_key(three):
    before, fields = contents(three), paths(three)
    errors = find_label_errors(three, **UNWRITTEN)
    assert len(errors.errors) == 3 and contents(three) == before and paths(three) == fields
    assert three.list_runs() == ["sam3"]


def test_what_was_stored_can_be_loaded(three):
    first = three.first()
    first.ground_truth = fo.Detections(detections=[rectangle("bird", B)])
    first.save()
    stored = find_label_errors(three, key="mistakes", **SETTINGS)
    assert stored.key == "mistakes" and len(stored.notes) == 1
    assert load_label_errors(three, "mistakes") == stored
    with pytest.raises(CurationError, match=f"'{three.name}' has no label_errors 'label_errors'; there is 'mistakes'"):
        load_label_errors(three)
    assert records.findings(three, METHOD) == ["mistakes"]


def test_a_second_run_replaces_the_first(three):
    find_label_errors(three, **SETTINGS)
    second = three.skip(1).first()
    second.ground_truth.detections[0].label = "dog"
    second.save()
    again = find_label_errors(three, **SETTINGS)
    assert again.counts == {"missing": 1, "wrong": 0, "extra": 1} and load_label_errors(three) == again
    assert three.values("label_errors_wrong") == [0] * 4
    assert three.values("ground_truth.detections.label_errors")[1] == [None]
    assert three.values("ground_truth.detections.label_errors_because")[1] == [None]
    other = find_label_errors(three.limit(1), **SETTINGS)
    assert other.errors == () and three.values("label_errors_missing") == [0, None, None, None]
    assert three.count("ground_truth.detections.label_errors") == three.count("sam3.detections.label_errors") == 0


def test_a_second_run_on_other_fields_leaves_no_marks_on_the_first(three):
    three.clone_sample_field("ground_truth", "second")
    find_label_errors(three, **SETTINGS)
    find_label_errors(three, gt_field="second", **SETTINGS)
    assert not any(path.startswith("ground_truth.detections.label_errors") for path in paths(three))
    assert three.count("second.detections.label_errors") == 2


def test_findings_of_several_keys_live_side_by_side(three):
    find_label_errors(three, key="one", **SETTINGS)
    find_label_errors(three, key="other", min_score=0.85, **SETTINGS)
    assert three.count("ground_truth.detections.one") == 2 and three.count("ground_truth.detections.other") == 1
    records.delete_findings(three, "one")
    assert load_label_errors(three, "other").counts == {"missing": 1, "wrong": 0, "extra": 1}
    assert three.count("ground_truth.detections.other") == 1


def test_deleted_findings_leave_no_trace(three):
    before, fields = contents(three), paths(three)
    find_label_errors(three, **SETTINGS)
    assert contents(three) != before and len(paths(three)) == len(fields) + 3 + 2 * 4
    records.delete_findings(three, "label_errors")
    assert paths(three) == fields and contents(three) == before and three.list_runs() == ["sam3"]
    with pytest.raises(CurationError, match=f"'{three.name}' has no findings 'label_errors'"):
        records.delete_findings(three, "label_errors")
    assert find_label_errors(three, **SETTINGS).counts["missing"] == 1


def test_findings_can_be_deleted_after_their_fields(three):
    find_label_errors(three, **SETTINGS)
    three.delete_sample_field("label_errors_wrong")
    three.delete_sample_field("ground_truth")
    records.delete_findings(three, "label_errors")
    assert not any("label_errors" in path for path in paths(three))


@pytest.mark.parametrize("key", ["sam3", "mine", "none"])
def test_only_findings_can_be_deleted_as_findings(three, key):
    three.register_run("mine", three.init_run())
    with pytest.raises(CurationError, match=f"has no findings '{key}'"):
        records.delete_findings(three, key)
    assert set(three.list_runs()) == {"sam3", "mine"}


def test_suspicious_labels_one_a_tile(new_dataset):
    scenes = [picture([], [dog(A, 0.6), cat(FAR, 0.9)]), picture([cat(A)], [dog(A, 0.8)]), picture([], [cat(B, 0.7)])]
    dataset = kennel(new_dataset(), *scenes)
    errors = find_label_errors(dataset, **SETTINGS)
    ids = [error.label_id for error in errors.of("missing")]
    missing = errors.patches(dataset, "missing")
    assert missing.values("sam3.id") == ids and len(ids) == 3
    assert missing.values("sam3.label_errors_score") == [error.score for error in errors.of("missing")]
    assert errors.patches(dataset, "wrong").values("ground_truth.label_errors_should_be") == ["dog"]
    assert errors.patches(dataset.skip(2), "missing").values("sam3.label") == ["cat"]
    with pytest.raises(CurationError, match="There are no 'extra' label errors under 'label_errors'"):
        errors.patches(dataset, "extra")


def test_kinds_that_there_are_not(three):
    errors = find_label_errors(three, **SETTINGS)
    for ask_it in (errors.of, lambda k: errors.view(three, k), lambda k: errors.patches(three, k)):
        with pytest.raises(CurationError, match="'wrnog' is no kind of label error; the nearest: 'wrong'"):
            ask_it("wrnog")


def test_patches_of_labels_that_are_gone_or_were_not_marked(three):
    with pytest.raises(CurationError, match="have no marks ground_truth.detections.: .* or key=None. Find l"):
        find_label_errors(three, **UNWRITTEN).patches(three, "wrong")
    find_label_errors(three, **SETTINGS)
    three.rename_sample_field("ground_truth", "labs")
    with pytest.raises(CurationError, match=r"the field is gone \(renamed or deleted\)"):
        load_label_errors(three).patches(three, "wrong")


def test_marks_are_deleted_where_their_field_is_now(three):
    before = paths(three)
    find_label_errors(three, **SETTINGS)
    three.rename_sample_field("ground_truth", "labs")
    records.delete_findings(three.limit(2), "label_errors")  # a view's are its dataset's
    assert paths(three) == {path.replace("ground_truth", "labs") for path in before}


def test_found_again_in_a_renamed_field_nothing_old_is_left(three):
    find_label_errors(three, **SETTINGS)
    three.rename_sample_field("ground_truth", "labs")
    errors = find_label_errors(three, gt_field="labs", min_score=1, **SETTINGS)
    assert not errors.of("wrong")
    assert three.count("labs.detections.label_errors") == sum(error.field == "labs" for error in errors.errors)


def test_marks_of_others_stay(three):
    three.clone_sample_field("sam3", "mine")
    mine = [["x"] * len(one) for one in three.values("mine.detections")]
    three.set_values("mine.detections.label_errors_of_mine", mine)
    find_label_errors(three, **SETTINGS)
    three.rename_sample_field("ground_truth", "labs")
    records.delete_findings(three, "label_errors")
    assert three.count("mine.detections.label_errors_of_mine") == 3


def test_samples_with_errors_the_worst_first(three):
    errors = find_label_errors(three, **UNWRITTEN)
    assert places(three, errors.view(three)) == [2, 0, 1]
    assert places(three, errors.view(three, "wrong")) == [1]
    assert places(three, errors.view(three.limit(2))) == [0, 1]
    assert len(find_label_errors(three.skip(3), **UNWRITTEN).view(three)) == 0



def test_the_ledger_is_that_of_the_label_field(three):
    three.clone_sample_field("sam3", "mine")
    ask(three, {"dog": 0.9}, ledger="other", label_field="mine")
    own = find_label_errors(three, "mine", **UNWRITTEN)
    assert own.notes == ("1 labels are not judged, because SAM 3 was not asked for them: 'cat'",)
    assert find_label_errors(three, "mine", ledger="sam3", **UNWRITTEN).notes == ()
    with pytest.raises(CurationError, match="has no concept ledger 'third'"):
        find_label_errors(three, ledger="third", **UNWRITTEN)


# --- videos ---


@pytest.fixture
def film(new_dataset) -> fo.Dataset:
    """Two labelled frames, of which the second lacks a dog; a third that nobody has labelled; a video of nothing."""
    frames = [
        {"ground_truth": [dog(A)], "sam3": [dog(A, 0.9)]},
        {"ground_truth": [], "sam3": [dog(A, 0.8)]},
        {"ground_truth": None, "sam3": [dog(A, 0.7)]},
    ]
    return ask(new_dataset([video(*frames), video()]), {"dog": 0.9})


def test_the_frames_of_videos(film):
    before, fields = contents(film), paths(film)
    errors = find_label_errors(film, **SETTINGS)
    assert [(e.kind, e.score, e.frame, e.field) for e in errors.errors][:1] == [("missing", 0.8, 2, "frames.sam3")]
    assert film.values("label_errors_missing") == [0.8, 0]
    assert film.values("frames.sam3.detections.label_errors")[0][:2] == [[None], ["missing"]]
    assert load_label_errors(film) == errors and places(film, errors.view(film, "missing")) == [0]
    assert find_label_errors(film, "frames.sam3", "frames.ground_truth", **SETTINGS) == errors
    records.delete_findings(film, "label_errors")
    assert paths(film) == fields and contents(film) == before


def test_nothing_is_missing_in_frames_that_nobody_has_labelled(film):
    assert [error.frame for error in find_label_errors(film, **UNWRITTEN).errors] == [2]


def test_patches_of_frames_are_refused_in_words(film):
    with pytest.raises(CurationError, match="frames"):
        find_label_errors(film, **SETTINGS).patches(film, "missing")


# --- what is refused, before anything is stored ---


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(key="sam3"), r"key='sam3' is already the name of a run \(sam3_concepts\): choose another"),
        (dict(key="mine"), "key='mine' is already the name of a run"),
        (dict(key="foxes"), r"key='foxes' is already the name of a run \(sam3_hard_negatives\)"),
        (dict(key="weather"), "key='weather' would write beside the field 'weather', which it did not make"),
        (dict(key="my"), "key='my' would write beside the field 'my_wrong'"),
        (dict(key="ground_truth"), "beside the field 'ground_truth'"),
        (dict(key="eval"), "key='eval' (would write beside the field 'eval_|would overwrite|is already the name of)"),
        (dict(key="not a word"), "key='not a word' must be a plain word, such as 'label_errors'"),
        (dict(key="_mine"), "key='_mine' must be a plain word"),
        (dict(key=""), "key='' must be a plain word"),
        (dict(key=3), "key=3 must be a plain word"),
        (dict(label_field="none"), r"label_field 'none' is not a field of '.*'; it has \['id'"),
        (dict(gt_field="none"), "gt_field 'none' is not a field"),
        (dict(label_field="weather"), "label_field 'weather' holds StringField; Detections are needed here"),
        (dict(gt_field="metadata"), "gt_field 'metadata' holds ImageMetadata; Detections are needed"),
        (dict(gt_field="sam3"), "label_field and gt_field are both 'sam3': compare labels with something else"),
        (dict(ledger="other"), "has no concept ledger 'other'; there is 'sam3'"),
        (dict(concepts=["bird"]), "'bird' was not asked of this dataset"),
        (dict(concepts=[]), "No concepts were named"),
        (dict(exhaustive=None), "What does it mean that a concept is not labelled"),
        (dict(exhaustive=["bird"]), "exhaustive names 'bird'"),
        (dict(gt_labels={"bird": "x"}), "gt_labels names 'bird'"),
        (dict(concepts=["dog"], exhaustive=["cat"]), "exhaustive names 'cat', which is not evaluated"),
        (dict(negatives_field="none"), "negatives_field='none' is not a field"),
        (dict(not_exhaustive_field="none"), "not_exhaustive_field='none' is not a field"),
        (dict(min_score=-0.1), r"min_score=-0.1 must be a number in \[0, 1\]"),
        (dict(min_score=1.1), "min_score=1.1"),
        (dict(min_score=math.nan), "min_score=nan"),
        (dict(min_score="high"), "min_score='high'"),
        (dict(min_scor=0.5), r"find_label_errors\(\) has no setting 'min_scor'; did you mean 'min_score'\?"),
        (dict(exhaustive=1), r"exhaustive=1 must be True, or concepts, such as \['cap'\]"),
        (dict(exhaustive=[5]), "exhaustive: 5 is no word"),
        (dict(gt_labels=["cat"]), r"gt_labels=\['cat'\] must map concepts to labels"),
        (dict(gt_labels="cat"), "gt_labels='cat' must map concepts to labels"),
        (dict(gt_labels={"cat": 5}), r"gt_labels\['cat'\]: 5 is no word"),
        (dict(negatives_field="weather"), "negatives_field='weather' lists no concepts"),
        (dict(label_field="ground_truth", gt_field="sam3"), "'ground_truth' holds nothing that SAM 3 found"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_stored(ours, settings, message):
    before, fields, runs = contents(ours), paths(ours), ours.list_runs()
    with pytest.raises(CurationError, match=message):
        find_label_errors(ours, **{**SETTINGS, **settings})
    assert contents(ours) == before and paths(ours) == fields and ours.list_runs() == runs


@pytest.mark.parametrize(
    "key", ["label", "mask", "confidence", "presence", "phrase", "tags", "id", "object", "eval_iou", "colour"]
)
def test_keys_that_would_overwrite_what_labels_hold(evaluated, key):
    """Of "object" it would be the ``object_score``; of "eval_iou", what an evaluation wrote."""
    before = contents(evaluated)
    with pytest.raises(CurationError, match=f"key='{key}'"):
        find_label_errors(evaluated, key=key, **SETTINGS)
    assert contents(evaluated) == before


def test_nothing_to_judge(ours, new_dataset):
    with pytest.raises(CurationError, match="There is nothing to look at"):
        find_label_errors(ours.limit(0), **UNWRITTEN)
    with pytest.raises(CurationError, match="has no concept ledger 'sam3'"):
        find_label_errors(new_dataset([picture([], [])]), **UNWRITTEN)


def test_samples_that_nobody_asked(three):
    three.add_sample(picture([dog(A)], []))
    new, before = three.skip(4), contents(three)
    with pytest.raises(CurationError, match="SAM 3 was not asked about 'dog', 'cat' in any of these 1 samples"):
        find_label_errors(new, **SETTINGS)
    assert contents(three) == before


def test_views_that_leave_the_ledger_out(ours):
    views = ours.to_patches("ground_truth"), ours.select_fields("ground_truth"), ours.exclude_fields("sam3_count")
    for view in views:
        with pytest.raises(CurationError, match="This view of .* has no concept ledger 'sam3', .* use the dataset"):
            find_label_errors(view, **UNWRITTEN)
    with pytest.raises(CurationError, match="view of patches of .*, and whole images are needed: run it on the image"):
        find_label_errors(ours.to_patches("ground_truth", other_fields=True), **UNWRITTEN)


def test_frames_as_images_are_refused_in_words(new_dataset):
    made = video({"ground_truth": [dog(A)], "sam3": [dog(A, 0.9)]}, {"ground_truth": [], "sam3": []})
    made.frames[1]["filepath"], made.frames[2]["filepath"] = "/nowhere/1.jpg", "/nowhere/2.jpg"
    dataset = ask(new_dataset([made]), {"dog": 0.9})
    for frame in made.frames.values():
        frame["sam3_presence"] = frame["sam3_score"] = fo.DynamicEmbeddedDocument(dog=0.9)
        frame["sam3_count"] = fo.DynamicEmbeddedDocument(dog=1)
    made.save()
    frames = dataset.to_frames()
    with pytest.raises(CurationError, match="This is a view of frames of .*, and whole videos are needed: run it on"):
        find_label_errors(frames, **UNWRITTEN)
    with pytest.raises(CurationError, match="view of frames"):
        verify(frames, "dog", True)
    assert len(present(frames, "dog")) == 2  # that is about frames


def test_labels_of_videos_and_of_their_frames_are_not_compared(film):
    film.add_sample_field("whole", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    with pytest.raises(CurationError, match="'frames.sam3' and 'whole' must both be on samples, or both on frames"):
        find_label_errors(film, "sam3", "whole", **UNWRITTEN)


# --- for any numbers ---

share = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.1, 0.5, 0.75, 1.0]))
#: confidences that differ by more than rounding
plain = st.integers(1, 20).map(lambda k: k / 20)


def table(sample, confidence) -> Instances:
    n, numbers = len(sample), np.array(confidence, dtype=np.float64)
    none, images = np.full(n, np.nan), int(max(sample, default=0)) + 1
    where = np.array(sample, dtype=np.int64)
    return Instances(
        "sam3", np.array([f"{k}" for k in range(n)], dtype=str), where, where, np.full(n, "x"), numbers, none, none,
        none, np.array([f"{k}" for k in range(images)]), images, np.zeros(images, np.int64),
    )  # fmt: skip


def overlaps(pairs) -> Overlaps:
    columns = list(zip(*pairs, strict=True)) if pairs else [()] * 5
    kinds = (np.int64, np.int64, np.float64, np.float64, np.float64)
    return Overlaps(*(np.array(column, dtype=kind) for column, kind in zip(columns, kinds, strict=True)))


@st.composite
def anything(draw) -> tuple:
    """Arguments of :func:`suspect`."""
    images, concepts = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    n, m = draw(st.integers(0, 8)), draw(st.integers(0, 6))

    def many(values, *shape):
        flat = draw(st.lists(values, min_size=math.prod(shape), max_size=math.prod(shape)))
        return np.array(flat).reshape(shape)

    def pairs(places):
        chosen = draw(st.lists(st.sampled_from(places), unique=True, max_size=12)) if places else []
        drawn = [(*place, *draw(st.tuples(share, share, share))) for place in chosen]
        return overlaps([(a, b, min(i, x, y), x, y) for a, b, i, x, y in drawn])

    image = st.integers(0, images - 1)
    found = table(many(image, n).astype(int).tolist(), many(st.one_of(share, st.just(math.nan)), n))
    truth = table(many(image, m).astype(int).tolist(), [math.nan] * m)
    across = [(a, b) for a in range(n) for b in range(m) if found.sample[a] == truth.sample[b]]
    among = [(a, b) for b in range(n) for a in range(b) if found.sample[a] == found.sample[b]]
    return (
        found, truth, pairs(across), pairs(among), many(st.integers(-1, concepts - 1), n).astype(np.int64),
        many(st.booleans(), m, concepts).astype(bool), many(st.one_of(share, st.just(math.nan)), images, concepts),
        many(st.booleans(), images, concepts).astype(bool),
    )  # fmt: skip


@given(anything())
def test_scores_are_shares_and_agree_with_each_other(scene):
    found, truth, across, _, concept, means, presence, complete = scene
    scores = suspect(*scene)
    n, m = len(found), len(truth)
    assert scores.real.shape == scores.missing.shape == (n,)
    assert scores.support.shape == scores.wrong.shape == scores.extra.shape == scores.claimant.shape == (m,)
    for values in (scores.real, scores.missing, scores.support):
        assert ((values >= 0) & (values <= 1)).all()
    judged = np.array([(means[k] & ~np.isnan(presence[truth.sample[k]])).any() for k in range(m)], dtype=bool)
    assert np.array_equal(scores.judged, judged)
    for values in (scores.wrong, scores.extra):
        assert np.array_equal(np.isnan(values), ~judged)
        assert ((values[judged] >= 0) & (values[judged] <= 1)).all()
    assert (scores.missing <= scores.real).all()
    silent = [k for k in range(n) if concept[k] < 0 or not complete[found.sample[k], concept[k]]]
    assert not scores.missing[silent].any()
    assert not scores.wrong[judged & (scores.claimant < 0)].any()
    rivals = {(a, b) for a, b, iou in zip(across.first, across.second, across.iou, strict=True) if iou >= 0.5}
    for k in np.flatnonzero(scores.claimant >= 0):
        assert (scores.claimant[k], k) in rivals and not means[k, concept[scores.claimant[k]]]


@st.composite
def tidy(draw) -> tuple:
    """Objects that do not touch: concept, confidence, and whether it is labelled; and one of those that are."""
    objects = draw(st.lists(st.tuples(st.integers(0, 1), plain, st.booleans()), min_size=1, max_size=12))
    labelled = [k for k, (_, _, there) in enumerate(objects) if there]
    if not labelled:
        objects[0] = (*objects[0][:2], True)
        labelled = [0]
    return objects, draw(st.sampled_from(labelled)), draw(share.filter(lambda s: s < 0.5))


def scored(objects, called=None) -> tuple[Suspicion, list[int]]:
    """Scores of objects, each in an image of its own; and which of them have labels. ``called``: object → concept."""
    labelled = [k for k, (_, _, there) in enumerate(objects) if there]
    kinds = [(called or {}).get(k, objects[k][0]) for k in labelled]
    found = table(range(len(objects)), [confidence for _, confidence, _ in objects])
    across = overlaps([(k, place, 1.0, 1.0, 1.0) for place, k in enumerate(labelled)])
    means = np.array([[kind == 0, kind == 1] for kind in kinds], dtype=bool).reshape(-1, 2)
    shape = len(objects), 2
    concept = np.array([kind for kind, _, _ in objects], dtype=np.int64)
    scene = (found, table(labelled, [math.nan] * len(labelled)), across, overlaps([]), concept, means)
    return suspect(*scene, np.full(shape, 0.5), np.ones(shape, bool)), labelled


@given(tidy())
def test_an_object_whose_label_is_removed_is_missing_more(scene):
    objects, victim, _ = scene
    before, _ = scored(objects)
    after, _ = scored([(*one[:2], one[2] and k != victim) for k, one in enumerate(objects)])
    assert before.missing[victim] == 0 < after.missing[victim]


@given(tidy())
def test_an_object_whose_label_is_changed_is_wrong_more(scene):
    objects, victim, _ = scene
    before, labelled = scored(objects)
    after, _ = scored(objects, {victim: 1 - objects[victim][0]})
    place = labelled.index(victim)
    assert before.wrong[place] == 0 < after.wrong[place] and after.claimant[place] == victim
    assert after.support[place] == 0 and (after.missing[victim], before.claimant[place]) == (0, -1)


@given(tidy())
def test_an_object_that_is_not_found_makes_its_label_extra(scene):
    objects, victim, _ = scene
    before, labelled = scored(objects)
    place = labelled.index(victim)
    found = [one for k, one in enumerate(objects) if k != victim]
    alone = table([k for k in range(len(objects)) if k != victim], [confidence for _, confidence, _ in found])
    across = overlaps([
        (k - (k > victim), place, 1.0, 1.0, 1.0) for place, k in enumerate(labelled) if k != victim
    ])  # fmt: skip
    means = np.array([[objects[k][0] == 0, objects[k][0] == 1] for k in labelled], dtype=bool)
    shape = len(objects), 2
    concept = np.array([kind for kind, _, _ in found], dtype=np.int64)
    truth = table(labelled, [math.nan] * len(labelled))
    after = suspect(alone, truth, across, overlaps([]), concept, means, np.zeros(shape), np.ones(shape, bool))
    assert after.extra[place] == 1 >= before.extra[place]


@given(st.lists(st.tuples(share, st.booleans()), max_size=30))
def test_reality_is_a_share(pairs):
    confidence, right_ = np.array([c for c, _ in pairs]), np.array([r for _, r in pairs], dtype=bool)
    real = reality(confidence, right_)
    assert real.shape == (len(pairs),) and ((real >= 0) & (real <= 1)).all()
    if min(right_.sum(), (~right_).sum()) < 2:  # nothing to learn from
        assert np.array_equal(real, confidence)


def test_what_nobody_has_labelled_says_nothing_about_what_is_real():
    """31 labelled images, sure things with a label and doubtful ones without; and 60 sure things that are not labelled
    because nobody looked there, or because no label could mean them.
    """
    sure, doubtful = np.linspace(0.6, 0.95, 30), np.linspace(0.1, 0.3, 30)

    def missing(more=(), meant=0):
        n = 61 + len(more)
        concept = np.zeros(n, np.int64)
        concept[61:] = meant
        complete = np.ones((n, 1), bool)
        complete[61:] = False
        across = overlaps([(k, k, 1.0, 1.0, 1.0) for k in range(30)])
        found = table(range(n), [*sure, *doubtful, 0.9, *more])
        truth = table(range(30), [math.nan] * 30)
        means, presence = np.ones((30, 1), bool), np.full((n, 1), 0.5)
        return suspect(found, truth, across, overlaps([]), concept, means, presence, complete).missing[60]

    assert missing() > 0.7
    assert missing([0.9] * 60) == pytest.approx(missing(), abs=0.02)
    assert missing([0.9] * 60, meant=-1) == pytest.approx(missing(), abs=0.02)


def test_reality_is_learned_from_labels():
    """Of things at 0.4 most are labelled in this dataset, of things at 0.2 few."""
    confidence = np.tile([0.4, 0.2], 60)
    right_ = np.tile([True, False], 60)
    right_[:6] = ~right_[:6]
    real = reality(confidence, right_)
    assert (real[::2] > 0.8).all() and (real[1::2] < 0.2).all()
    assert reality(np.array([math.nan]), np.array([True])).tolist() == [1]
