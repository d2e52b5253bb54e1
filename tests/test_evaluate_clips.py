"""Concepts of videos and of image sequences against ground truth: masklets, frames, and what is written on both.

Videos of four frames of 20 × 10 pixels that nobody looks at; labels are squares that stand still.
"""

from __future__ import annotations

from uuid import uuid4

import fiftyone as fo
import numpy as np
import pytest

from evaluation import Track, count_video_pair, phota, place_mask
from evaluation.concepts import evaluate_concepts, load_concept_evaluation
from evaluation.policy import EvaluationError

WIDTH, HEIGHT, FRAMES = 20, 10, 4
A, B = (1, 1, 6, 6), (9, 2, 6, 6)
SETTINGS = dict(exhaustive=True, progress=False, concepts=["dog", "cat"])

# (label, box, index, confidence of what was found) of each frame
TRUTH = [[("dog", A, 1), ("dog", B, 2)]] * FRAMES
#: the first dog is followed, the second is lost and found again as another; a cat is made up, and is unsure
FOUND = [
    [("dog", A, 1, 0.9), ("dog", B, 2, 0.8)], [("dog", A, 1, 0.9), ("dog", B, 2, 0.8)],
    [("dog", A, 1, 0.9), ("dog", B, 3, 0.7), ("cat", B, 4, 0.6)], [("dog", A, 1, 0.9), ("dog", B, 3, 0.7)],
]  # fmt: skip


def label(name: str, box: tuple, index: int | None, confidence: float | None = None, **attributes) -> fo.Detection:
    x, y, w, h = box
    return fo.Detection(
        label=name, bounding_box=[x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT], index=index, confidence=confidence,
        mask=np.ones((h, w), bool), **attributes,
    )  # fmt: skip


def labels(held: list | None) -> fo.Detections | None:
    return None if held is None else fo.Detections(detections=[label(*one) for one in held])


@pytest.fixture
def film(new_dataset) -> fo.Dataset:
    sample = fo.Sample(
        filepath=f"/nowhere/{uuid4()}.mp4",
        metadata=fo.VideoMetadata(frame_width=WIDTH, frame_height=HEIGHT, total_frame_count=FRAMES),
    )
    for t in range(FRAMES):
        sample.frames[t + 1] = fo.Frame(ground_truth=labels(TRUTH[t]), sam3=labels(FOUND[t]))
    records = [(1, "dog"), (2, "dog"), (3, "dog"), (4, "cat")]
    sample["sam3_masklets"] = fo.TemporalDetections(
        detections=[fo.TemporalDetection(label=name, support=[1, 4], index=index) for index, name in records]
    )
    return new_dataset([sample])


@pytest.fixture
def sequence(new_dataset) -> fo.Dataset:
    """The same, as images."""
    return new_dataset([
        fo.Sample(
            filepath=f"/nowhere/{uuid4()}.png", metadata=fo.ImageMetadata(width=WIDTH, height=HEIGHT), scene="one",
            frame_number=t + 1, ground_truth=labels(TRUTH[t]), sam3=labels(FOUND[t]),
        )
        for t in range(FRAMES)
    ])  # fmt: skip


def track(box: tuple, frames: range, score: float = 1.0) -> Track:
    x, y, w, h = box
    return Track({t: place_mask(np.ones((h, w), bool), (x, y), (HEIGHT, WIDTH)) for t in frames}, score)


def expected():
    every = range(FRAMES)
    dogs = count_video_pair(
        [track(A, every), track(B, every)],
        [track(A, every, 0.9), track(B, range(2), 0.8), track(B, range(2, 4), 0.7)], FRAMES,
    )  # fmt: skip
    return [dogs, count_video_pair([], [track(B, range(2, 3), 0.6)], FRAMES)]


@pytest.mark.parametrize("kind", ["film", "sequence"])
def test_numbers_are_those_of_the_masklets(kind, request):
    dataset = request.getfixturevalue(kind)
    view = dataset if kind == "film" else dataset.group_by("scene", order_by="frame_number")
    found = evaluate_concepts(view, eval_key="eval", **SETTINGS)
    assert found.table.phota().to_dict() == phota(expected()).to_dict()
    assert found.table.phota().id_switches == 1
    numbers = found.report()
    assert numbers["counts"]["IL_FP"] == 1 and load_concept_evaluation(dataset, "eval").report() == numbers
    assert dataset.load_evaluation_results("eval").metrics()["pHOTA"] == numbers["pHOTA"]


def test_frames_masklets_and_videos_are_marked(film):
    evaluate_concepts(film, eval_key="eval", **SETTINGS)
    sample = film.first()
    assert [[x.eval for x in sample.frames[t].sam3.detections] for t in (1, 3)] == [["tp", "tp"], ["tp", "tp", "fp"]]
    assert [x.eval for x in sample.frames[3].ground_truth.detections] == ["tp", "tp"]
    # by volume, the second dog's halves have an IoU of 0.5 each: one of them is it
    assert {x.index: x.eval_masklet for t in (1, 3) for x in sample.frames[t].sam3.detections} == {
        1: "tp", 2: "tp", 3: "fp", 4: "fp",
    }  # fmt: skip
    assert [x.eval_masklet for x in sample.frames[4].ground_truth.detections] == ["tp", "tp"]
    assert [(x.index, x.eval, x.get_attribute_value("eval_iou", None)) for x in sample.sam3_masklets.detections] == [
        (1, "tp", 1.0), (2, "tp", 0.5), (3, "fp", None), (4, "fp", None),
    ]  # fmt: skip
    assert (sample.eval_tp, sample.eval_fp, sample.eval_fn) == (8, 1, 0)
    assert (sample.frames[3].eval_tp, sample.frames[3].eval_fp) == (2, 1)
    assert list(sample.eval_outcome.tp) == ["dog"] and list(sample.eval_outcome.fp) == ["cat"]
    film.delete_evaluation("eval")
    paths = [*film.get_field_schema(flat=True), *film.get_frame_field_schema(flat=True)]
    assert not any("eval" in path for path in paths) and film.list_runs() == []


def test_frames_without_ground_truth_do_not_count(film):
    sample = film.first()
    sample.frames[3].ground_truth = None
    sample.frames[4].ground_truth = fo.Detections()
    sample.save()
    found = evaluate_concepts(film, **SETTINGS)
    assert found.table.phota().tp[0] == 4 and found.table.phota().fp[0] == 2
    assert found.notes == (
        "nowhere in what was evaluated: 'cat'. Labelled by another name? Say gt_labels={concept: name}",
        "1 frames are left out: they have no ground truth",
    )


def test_the_score_of_a_masklet_is_that_of_its_birth(film):
    for frame in film.first().frames.values():
        for one in frame.sam3.detections:
            one["birth_score"] = 0.4 if one.label == "cat" else 0.9
        frame.save()
    assert evaluate_concepts(film, **SETTINGS).report()["counts"]["IL_FP"] == 0


def test_boxes_of_videos(film):
    for frame in film.first().frames.values():
        for one in frame.ground_truth.detections:
            one.mask = None
        frame.save()
    with pytest.raises(EvaluationError, match="The labels of 'frames.ground_truth' have no masks"):
        evaluate_concepts(film, **SETTINGS)
    assert evaluate_concepts(film, use_masks=False, **SETTINGS).table.phota().to_dict() == phota(expected()).to_dict()


@pytest.mark.parametrize(("index", "message"), [(None, "has neither an index nor"), (1, "have the same index")])
def test_labels_that_cannot_be_followed_cost_their_video(film, index, message):
    frame = film.first().frames[2]
    frame.ground_truth.detections[1].index = index
    frame.save()
    found = evaluate_concepts(film, eval_key="eval", **SETTINGS)
    assert len(found.table) == 0 and str(found).startswith("no pair counts")
    film.reload()
    assert message in film.first().eval_error


def test_instances_say_who_is_who(film):
    instances = {1: fo.Instance(), 2: fo.Instance()}
    for frame in film.first().frames.values():
        for one in frame.ground_truth.detections:
            one["instance"] = instances[one.index]
            one.index = None
        frame.save()
    assert evaluate_concepts(film, **SETTINGS).table.phota().to_dict() == phota(expected()).to_dict()


def test_several_annotators_are_for_images(film):
    with pytest.raises(EvaluationError, match="want one field, or, of images, one for each annotator"):
        evaluate_concepts(film, gt_field=["ground_truth", "sam3"], **SETTINGS)
