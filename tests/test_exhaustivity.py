"""Are all instances labelled? What explains an instance, what is asked, what is written, and what is refused.

On scenes of the emoji world, whose every object is labelled; here some lose a label. The tiny checkpoint is asked.
"""

from __future__ import annotations

from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.ledgers import FAR, A, B, ask, picture, rectangle, video

from curation.completeness import distinct, newness, shares
from curation.errors import CurationError
from curation.exhaustivity import check_exhaustivity, exhaustivity_steps, load_exhaustivity
from curation.recheck import exemplars_of
from curation.records import delete_findings
from curation.review import add_missing, build_review
from curation.review import picture as shown
from emoji_world.dataset import build_scenes
from zoo.engine.prompts import MAX_EXEMPLARS
from zoo.source import load_model

SIZE = (10, 20)

# --- what explains an instance ---


@pytest.mark.parametrize(
    ("box", "own", "others", "expected"),
    [
        (A, [], [], 1.0),
        (A, [("cap", A)], [], 0.0),
        (A, [("cap", B)], [], 1.0),
        ((1, 1, 3, 3), [("cap", A)], [], 0.0),  # a part of it
        ((0, 0, 16, 10), [("cap", A)], [], 0.0),  # it, and more
        ((4, 1, 6, 6), [("cap", A)], [], 1.0),  # beside it, mostly
        (A, [], [("dog", A)], 0.0),
        (A, [], [("dog", (1, 1, 6, 3))], 0.5),
        (A, [], [("dog", FAR)], 1.0),
        (A, [], [("red cap", A)], 1.0),  # says the same, and more
        (A, [("cap", B)], [("dog", (1, 1, 6, 4))], 1 / 3),
    ],
)
@pytest.mark.parametrize("mask", [True, False])
def test_what_explains_an_instance(box, own, others, expected, mask):
    found = [rectangle("cap", box, 0.9, mask=mask)]
    labels = [[rectangle(name, where, mask=mask) for name, where in some] for some in (own, others)]
    assert newness(found, *labels, "cap", SIZE).tolist() == [pytest.approx(expected)]


BOXES = st.lists(
    st.tuples(st.integers(0, 15), st.integers(0, 7), st.integers(1, 5), st.integers(1, 3)), max_size=5
)


@given(BOXES, BOXES)
def test_boxes_and_their_masks_overlap_alike(first, second):
    drawn, flat = (
        shares(*([rectangle("cap", box, mask=mask) for box in some] for some in (first, second)), SIZE)
        for mask in (True, False)
    )
    for name in ("iou", "inside", "around"):
        assert getattr(drawn, name) == pytest.approx(getattr(flat, name), abs=1e-9)
        assert ((getattr(drawn, name) >= 0) & (getattr(drawn, name) <= 1 + 1e-9)).all()


@given(BOXES)
def test_of_instances_on_the_same_pixels_the_surest_stays(boxes):
    found = [rectangle("cap", box, (k * 7 % 5) / 5) for k, box in enumerate(boxes)]
    kept = distinct(found, SIZE)
    assert len(set(kept)) == len(kept) and bool(kept) == bool(found)
    for k in kept:
        rest = [found[j] for j in kept if j != k]
        assert newness([found[k]], rest, [], "cap", SIZE).tolist() == [1.0]
    lost = [k for k in range(len(found)) if k not in kept]
    for k in lost:
        surer = [found[j] for j in kept if found[j].confidence >= found[k].confidence]
        assert newness([found[k]], surer, [], "cap", SIZE).tolist() == [0.0]


def test_the_largest_labels_are_the_examples():
    labels = [rectangle("cap", (0, 0, 1 + k / 10, 1)) for k in range(40)]
    chosen = exemplars_of([*labels, rectangle("cap", (3, 3, 0, 0), mask=False), rectangle("cap", (30, 3, 2, 2))])
    assert len(chosen.boxes) == MAX_EXEMPLARS and all(chosen.positive)
    assert chosen.boxes[0][2] == pytest.approx(4.9 / 20)
    assert exemplars_of([]) is None and exemplars_of([rectangle("cap", (25, 3, 2, 2))]) is None


# --- scenes ---


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Scenes with a noun that is there several times, in every other one of which it loses a label."""
    from emoji_world.scenes import sample_scene

    seeds = []
    for seed in range(910_000, 912_000):
        nouns = [o.thing.noun for o in sample_scene(seed).objects]
        if nouns and max(map(nouns.count, nouns)) >= 3 and len(set(nouns)) <= 2:
            seeds.append(seed)
        if len(seeds) == 12:
            break
    dataset = build_scenes("exhaustivity", tmp_path_factory.mktemp("scenes"), seeds, persistent=True)
    for k, sample in enumerate(dataset):
        names = [label.label for label in sample.ground_truth.detections]
        noun = max(names, key=names.count)
        labels = [label.copy() for label in sample.ground_truth.detections]
        if k % 2:
            labels.pop(names.index(noun))
        sample["labels"] = fo.Detections(detections=labels)
        sample["noun"] = noun
        sample.save()
    yield dataset
    dataset.delete()


@pytest.fixture
def scenes(world):
    dataset = world.clone(persistent=True)
    yield dataset
    dataset.delete()


@pytest.fixture(scope="module")
def checked(world):
    """What was found; its fields and its record go with the test."""
    dataset = world.clone(persistent=True)
    yield dataset, check_exhaustivity(dataset, "labels", unlabelled=False, progress=False)
    dataset.delete()


def test_lost_labels_are_told_from_complete_ones(checked):
    dataset, found = checked
    scores = [found.score(sample, noun) for sample, noun in zip(*dataset.values(["id", "noun"]), strict=True)]
    lost, complete = scores[1::2], scores[::2]
    assert np.mean([a > b for a in lost for b in complete]) > 0.9
    assert all(0 <= pair.score <= 1 for pair in found.pairs)
    assert [pair.score for pair in found.pairs] == sorted((pair.score for pair in found.pairs), reverse=True)


def test_candidates_lie_where_labels_were_lost(checked):
    dataset, found = checked
    pair = found.pairs[0]
    sample = dataset[pair.sample_id]
    candidates = {label.id: label for label in sample.exhaustivity.detections}
    best = candidates[pair.candidates[0]]
    assert best.label == pair.concept and best.mask.any() and 0 < best.confidence <= 1 and best.phrase == pair.concept
    truth = [label for label in sample.ground_truth.detections if label.label == pair.concept]
    size = sample.metadata.height, sample.metadata.width
    assert shares([best], truth, size).iou.max() > 0.5
    assert shares([best], sample.labels.detections, size).iou.max(initial=0) < 0.5
    assert sample.exhaustivity_score == max(p.score for p in found.pairs if p.sample_id == sample.id)
    assert {"exhaustivity.detections.score", "exhaustivity_score"} <= set(dataset.get_field_schema(flat=True))
    assert "another one is found" in pair.because or "no '" in pair.because


def test_it_is_loaded_as_it_was_found_and_deleted_without_a_trace(checked):
    dataset, found = checked
    assert load_exhaustivity(dataset) == found
    assert found.view(dataset).values("id") == list(dict.fromkeys(pair.sample_id for pair in found.of()))
    assert len(found.to_pandas()) == len(found) and sum(found.counts.values()) == len(found.of())
    assert str(found).startswith(f"{len(found.of())} of {len(found)} pairs")
    with pytest.raises(CurationError, match="is no concept that was checked"):
        found.of("zebra")
    copy = dataset.clone()
    delete_findings(copy, "exhaustivity")
    assert not [path for path in copy.get_field_schema(flat=True) if path.startswith("exhaustivity")]
    copy.delete()


def test_images_are_encoded_once_for_all_their_concepts(scenes, monkeypatch):
    from zoo.engine.detector import ConceptDetector

    encoded = []
    original = ConceptDetector.encode_images

    def watched(self, pixels, sizes, **more):
        encoded.append(len(sizes))
        return original(self, pixels, sizes, **more)

    monkeypatch.setattr(ConceptDetector, "encode_images", watched)
    found = check_exhaustivity(scenes.limit(5), "labels", scenes.distinct("labels.detections.label"), key=None,
                               batch_size=2, progress=False)  # fmt: skip
    assert encoded == [2, 2, 1] and len(found) > 5
    assert not scenes.list_runs(method="sam3_exhaustivity") and "exhaustivity" not in scenes.get_field_schema()


def test_a_concept_without_labels_is_looked_for_by_its_presence(scenes):
    noun = scenes.first().noun
    model = load_model("concepts/sam3-tiny-image", classes=[noun], floor=0.05)
    scenes.apply_model(model, label_field="sam3", progress=False)
    scenes.first().labels.detections = []
    sample = scenes.first()
    sample.labels = fo.Detections(detections=[label for label in sample.labels.detections if label.label != noun])
    sample.save()
    found = check_exhaustivity(scenes, "labels", [noun], key=None, progress=False)
    pair = next(pair for pair in found.pairs if pair.sample_id == sample.id)
    assert (pair.labelled, pair.by_examples) == (0, None) and pair.score >= 0.5 and pair.presence > 0.5
    assert f"no {noun!r} is labelled, and presence is" in pair.because
    level = {number: value for number, value in zip(*scenes.values(["id", f"sam3_presence.{noun}"]), strict=True)}
    assert all(level[pair.sample_id] >= 0.25 or pair.labelled for pair in found.pairs)
    with_labels = check_exhaustivity(scenes, "labels", [noun], key=None, unlabelled=False, progress=False)
    assert sample.id not in {pair.sample_id for pair in with_labels.pairs}


def test_what_sam3_found_itself_can_be_checked(scenes):
    noun = scenes.first().noun
    scenes.apply_model(load_model("concepts/sam3-tiny-image", classes=[noun]), label_field="sam3", progress=False)
    sample = next(sample for sample in scenes if len(sample.sam3.detections) >= 2)
    lost = sample.sam3.detections.pop()
    sample.save()
    found = check_exhaustivity(scenes, progress=False)
    assert found.concepts == (noun,) and found.score(sample.id, noun) > 0.5
    best = next(d for d in scenes[sample.id].exhaustivity.detections if d.id == found.pairs[0].candidates[0])
    if found.pairs[0].sample_id == sample.id:
        assert np.allclose(best.bounding_box, lost.bounding_box, atol=0.05)


def test_a_rejected_label_is_no_example_and_explains_what_is_there(scenes):
    sample = next(sample for sample in scenes if len(sample.labels.detections) >= 3)
    noun = sample.noun
    some = [label for label in sample.labels.detections if label.label == noun]
    before = check_exhaustivity(scenes.select(sample.id), "labels", [noun], key=None, progress=False).pairs[0]
    scenes.set_label_values("labels.detections.verified", {some[0].id: False})
    after = check_exhaustivity(scenes.select(sample.id), "labels", [noun], key=None, progress=False).pairs[0]
    assert after.labelled == before.labelled - 1
    assert after.score == pytest.approx(before.score, abs=0.35)  # the rejected one is no new instance


def test_candidates_become_labels_by_a_review(scenes):
    found = check_exhaustivity(scenes.limit(6), "labels", unlabelled=False, progress=False)
    review = build_review(scenes, "labels", tasks="exhaustivity", progress=False)
    item = next(i for i in review.of(found.pairs[0].concept) if i.sample_id == found.pairs[0].sample_id)
    assert item.score == pytest.approx(found.pairs[0].score, abs=1e-5) and item.candidates == "exhaustivity"
    assert (np.asarray(shown(scenes, item)) == 255).all(axis=2).any()
    before = len(scenes[item.sample_id].labels.detections)
    done = add_missing(scenes, item, found.pairs[0].candidates[:1], reviewer="ana")
    assert len(scenes[item.sample_id].labels.detections) == before + 1 and done.verdict is True
    again = check_exhaustivity(scenes.select(item.sample_id), "labels", [item.concept], key=None, progress=False)
    assert again.pairs[0].score < found.pairs[0].score and again.pairs[0].labelled == found.pairs[0].labelled + 1


def test_a_bad_image_costs_its_sample(scenes):
    bad = scenes.first()
    copy = Path(bad.filepath).with_name("broken.jpg")
    copy.write_bytes(b"no image")
    bad.filepath = str(copy)
    bad.save()
    found = check_exhaustivity(scenes.limit(4), "labels", progress=False)
    assert [sample for sample, _ in found.failed] == [bad.id] and "is not an image" in found.failed[0][1]
    assert len({pair.sample_id for pair in found.pairs}) == 3 and "1 samples failed" in str(found)
    assert load_exhaustivity(scenes) == found


def test_cut_short_what_was_found_is_kept(scenes):
    steps = exhaustivity_steps(scenes, "labels", batch_size=4, unlabelled=False)
    assert (next(steps).done, next(steps).done) == (0, 4)
    steps.close()
    found = load_exhaustivity(scenes)
    assert len({pair.sample_id for pair in found.pairs}) == 4
    assert found.notes == (f"Cut short: 4 of {len(scenes)} samples were looked at",)
    full = check_exhaustivity(scenes.limit(5), "labels", unlabelled=False, progress=False)  # and replaced by the next
    assert load_exhaustivity(scenes) == full and not full.notes


def test_cut_short_before_anything_was_found_nothing_is_left_that_would_refuse_the_next(scenes, monkeypatch):
    schema = scenes.get_field_schema(flat=True).keys()
    monkeypatch.setattr("curation.exhaustivity.Asker.look", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        check_exhaustivity(scenes, "labels", unlabelled=False, progress=False)
    assert scenes.get_field_schema(flat=True).keys() == schema and not scenes.list_runs(method="sam3_exhaustivity")
    monkeypatch.undo()
    check_exhaustivity(scenes.limit(2), "labels", unlabelled=False, progress=False)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (dict(label_field="nothing"), "is not a field"), (dict(concepts=["hat"]), "'hat' is no concept"),
        (dict(threshold=2), r"threshold=2 must be a number in \[0, 1\]"), (dict(floor="x"), "floor='x' must be"),
        (dict(batch_size=0), "batch_size=0 must be"), (dict(key="labels"), "would write beside the field"),
        (dict(key="no key"), "must be a plain word"), (dict(concepts=["cap"], label_field="empty"), "nothing to check"),
        (dict(flor=1), "has no setting 'flor'; did you mean 'floor'"),
    ],
)  # fmt: skip
def test_what_cannot_be_checked_is_refused_before_anything_runs(new_dataset, said, words):
    labels = fo.Detections(detections=[rectangle("cap", A)])
    dataset = new_dataset([picture([], labels=labels, empty=fo.Detections())])
    with pytest.raises(CurationError, match=words):
        check_exhaustivity(dataset, **{"label_field": "labels", "unlabelled": False, "progress": False, **said})
    assert not dataset.list_runs() and "exhaustivity" not in dataset.get_field_schema()


def test_videos_and_patches_are_refused(new_dataset):
    clips = new_dataset([video({"sam3": [rectangle("cap", A)]})])
    with pytest.raises(CurationError, match="holds videos, and labels of frames cannot be looked at here"):
        check_exhaustivity(clips, "sam3")
    images = ask(new_dataset([picture([rectangle("cap", A)])]), {"cap": 0.9})
    with pytest.raises(CurationError, match="view of patches"):
        check_exhaustivity(images.to_patches("ground_truth"))
