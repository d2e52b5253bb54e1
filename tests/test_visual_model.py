"""Masks of what is marked, and of everything, through FiftyOne: what is kept, what is made, what is refused."""

from __future__ import annotations

import fiftyone as fo
import numpy as np
import pytest

from emoji_world.dataset import build_dataset
from zoo.engine.errors import ConceptError
from zoo.engine.prompts import ObjectPrompt
from zoo.engine.visual import Outline
from zoo.landing import SampleError
from zoo.marked import Marked, MarkedObject, outlined, pixels
from zoo.source import load_model

LOOSE = dict(points_per_side=6, pred_iou_thresh=0.3, stability_score_thresh=0.3)


@pytest.fixture
def scenes(tmp_path):
    """Three scenes, whose true boxes are marked, with an attribute; without their masks."""
    dataset = build_dataset("visual-model", tmp_path, count=3)
    for sample in dataset.iter_samples(autosave=True):
        sample["boxes"] = fo.Detections(detections=[
            fo.Detection(label=d.label, bounding_box=d.bounding_box, by="hand", tags=["seen"])
            for d in sample.ground_truth.detections
        ])
    yield dataset
    dataset.delete()


def visual(**settings):
    return load_model("concepts/sam3-tiny-image", operation_mode="visual", **settings)


def whole(detection: fo.Detection, size: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(size, bool)
    x, y, width, height = detection.bounding_box
    x0, y0, x1, y1 = pixels((x, y, x + width, y + height), size)
    mask[y0:y1, x0:x1] = detection.mask
    return mask


def size_of(sample: fo.Sample) -> tuple[int, int]:
    return sample.metadata.height, sample.metadata.width


# ----------------------------------------------------------------------------------------------------------- masks


def test_boxes_become_masks_and_stay_what_they_are(scenes):
    scenes.compute_metadata()
    scenes.apply_model(visual(), label_field="masks", prompt_field="boxes", batch_size=2, progress=False)
    overlaps = []
    for sample in scenes:
        assert [d.id for d in sample.masks.detections] == [d.id for d in sample.boxes.detections]
        for made, given, true in zip(
            sample.masks.detections, sample.boxes.detections, sample.ground_truth.detections, strict=True
        ):
            assert (made.label, made.by, made.tags) == (given.label, "hand", ["seen"])
            assert made.bounding_box == given.bounding_box and 0 <= made.quality <= 1
            a, b = whole(made, size_of(sample)), whole(true, size_of(sample))
            overlaps.append((a & b).sum() / (a | b).sum())
    assert np.mean(overlaps) > 0.5
    assert {d.mask is None for s in scenes for d in s.boxes.detections} == {True}, "the marks themselves are left alone"
    assert "masks.detections.quality" in scenes.get_field_schema(flat=True)


def test_boxes_that_fit_hug_their_masks(scenes):
    scenes.compute_metadata()
    scenes.apply_model(visual(boxes="fit"), label_field="masks", box_prompt_field="boxes", progress=False)
    for sample in scenes:
        for made in sample.masks.detections:
            assert made.mask.any(0)[[0, -1]].all() and made.mask.any(1)[[0, -1]].all()
            assert whole(made, size_of(sample)).sum() == made.mask.sum()


def test_points_become_instances_and_correct_boxes_of_the_same_index(scenes):
    scenes.compute_metadata()
    sample = scenes.first()
    truth = sample.ground_truth.detections[0]
    x, y, w, h = truth.bounding_box
    rows, columns = np.nonzero(truth.mask)
    point = (x + (columns.mean() + 0.5) / truth.mask.shape[1] * w, y + (rows.mean() + 0.5) / truth.mask.shape[0] * h)
    sample["points"] = fo.Keypoints(keypoints=[
        fo.Keypoint(label="it", points=[point, (float("nan"),) * 2]), fo.Keypoint(label="nothing", points=[]),
        fo.Keypoint(points=[(0.99, 0.99)], index=3, sam_labels=[0]),
    ])  # fmt: skip
    sample["boxes"] = fo.Detections(detections=[fo.Detection(label="box", bounding_box=[x, y, w, h], index=3)])
    sample.save()
    model = visual(box_prompt_field="boxes", point_prompt_field="points")
    scenes[:1].apply_model(model, label_field="masks", progress=False)
    sample.reload()
    assert [d.label for d in sample.masks.detections] == ["box", "it"]
    assert sample.masks.detections[1].id == sample.points.keypoints[0].id


def test_where_nothing_is_marked_nothing_is_made(scenes):
    sample = scenes.first()
    sample["boxes"] = None
    sample.save()
    scenes.apply_model(visual(prompt_field="boxes"), label_field="masks", progress=False)
    assert [len(found) for found in scenes.values("masks.detections")][0] == 0
    assert all(scenes[1:].values("masks.detections"))


def test_everything_needs_no_prompt_and_has_no_label(scenes):
    model = load_model("concepts/sam3-tiny-image", operation_mode="everything", **LOOSE)
    scenes.apply_model(model, label_field="things", batch_size=2, progress=False)
    found = [d for held in scenes.values("things.detections") for d in held]
    assert found and {d.label for d in found} == {None}
    assert all(d.quality >= 0.3 and d.stability >= 0.3 and d.mask.any() for d in found)
    image = np.zeros((40, 60, 3), np.uint8)
    assert isinstance(model.predict(image), fo.Detections)


# ------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(("box", "words"), [
    ([0.5, 0.5, -0.2, 0.2], "boxes, number 2: A box must have an area"),
    ([0.5, 0.5, float("nan"), 0.2], "boxes, number 2: A box must have an area"),
    ([1.5, 0.5, 0.2, 0.2], "boxes, number 2: A box must lie in the frame"),
])  # fmt: skip
def test_a_bad_mark_costs_its_sample(scenes, box, words):
    sample = scenes.skip(1).first()
    sample.boxes.detections.insert(1, fo.Detection(label="bad", bounding_box=box))
    sample.save()
    scenes.apply_model(visual(prompt_field="boxes"), label_field="masks", batch_size=3, progress=False)
    scenes.reload()
    assert [found is None for found in scenes.values("masks")] == [False, True, False]
    assert words in scenes.values("sam3_error")[1] and scenes.values("sam3_error")[::2] == [None, None]
    with pytest.raises(SampleError, match=words):
        scenes.apply_model(visual(prompt_field="boxes"), label_field="again", skip_failures=False, progress=False)


def test_points_outside_and_points_beside(scenes):
    for points, signs, words in (
        ([(1.2, 0.5)], [1], "A point must lie in the frame"), ([(0.2, 0.5)], [0], "need one on it, or the box"),
        ([(0.2, 0.5)], [1, 1], "1 points, but 2 sam_labels"),
    ):  # fmt: skip
        marks = fo.Keypoints(keypoints=[fo.Keypoint(points=points, sam_labels=signs)])
        with pytest.raises(ConceptError, match=words):
            Marked("points").of(fo.Sample(filepath="/nowhere.png", points=marks))


@pytest.mark.parametrize(("fields", "words"), [
    (dict(prompt_field="nowhere"), "'nowhere' is not a field of"),
    (dict(prompt_field="filepath"), "Prompts must be Detections or Keypoints, but 'filepath' holds"),
    (dict(point_prompt_field="boxes"), "Prompts must be Keypoints, but 'boxes' holds Detections"),
    (dict(prompt_field="empty"), "'empty' hold no mark in any sample"),
    (dict(prompt_field="masks"), "'masks' cannot hold the prompts and the results"),
    (dict(prompt_field="boxes", box_prompt_field="boxes"), "not both"),
    ({}, "Nothing to draw: say where boxes or points are"),
])  # fmt: skip
def test_fields_without_marks_are_refused_before_anything_is_stored(scenes, fields, words):
    scenes.add_sample_field("empty", fo.EmbeddedDocumentField, embedded_doc_type=fo.Keypoints)
    if fields.get("prompt_field") == "masks":
        scenes.clone_sample_field("boxes", "masks")
    before = set(scenes.get_field_schema())
    with pytest.raises(ConceptError, match=words):
        scenes.apply_model(visual(**fields), label_field="masks", progress=False)
    scenes.reload()
    assert set(scenes.get_field_schema()) == before


@pytest.mark.parametrize(("field", "words"), [
    ("filepath", "already holds StringField, not Detections"), ("ground_truth", "were not drawn by this model"),
])  # fmt: skip
def test_fields_that_hold_something_else_are_left_alone(scenes, field, words):
    with pytest.raises(ConceptError, match=words):
        scenes.apply_model(visual(prompt_field="boxes"), label_field=field, progress=False)


@pytest.mark.parametrize(("settings", "words"), [
    (dict(boxes="tight"), "boxes must be one of 'keep', 'fit', got 'tight'"),
    (dict(choice="middle"), "choice must be one of"), (dict(multimask="yes"), "multimask must be True, False or None"),
    (dict(points_per_side=3), "points_per_side belongs to operation_mode='everything'"),
    (dict(classes=["dog"]), "Unknown argument 'classes': .* with operation_mode='visual' takes"),
    (dict(operation_mode="everything", prompt_field="boxes"), "takes no prompts, but 'boxes' was given"),
])  # fmt: skip
def test_settings_that_make_no_sense(settings, words):
    with pytest.raises(ConceptError, match=words):
        load_model("concepts/sam3-tiny-image", **{"operation_mode": "visual", **settings})


# ------------------------------------------------------------------------------------------------------ what is kept


def test_a_kept_box_cuts_its_mask_and_a_fitting_one_follows_it():
    mask = np.ones((6, 8), bool)
    outline = Outline((2, 3), mask, 0.75)  # pixels 2…9, 3…8 of 20 × 10
    label = fo.Detection(label="a", bounding_box=[0.2, 0.1, 0.5, 0.5], mask_path="/old.png")  # pixels 4…13, 1…5
    one = MarkedObject(label, ObjectPrompt(None, 0, (0.2, 0.1, 0.7, 0.6)))
    kept = outlined(one, outline, (10, 20), keep_box=True)
    assert kept.bounding_box == label.bounding_box and kept.mask.shape == (5, 10) and kept.mask_path is None
    assert kept.mask.sum() == 3 * 6 and kept.mask[2:, :6].all() and kept.id == label.id and kept.quality == 0.75
    fit = outlined(one, outline, (10, 20), keep_box=False)
    assert fit.bounding_box == pytest.approx([0.1, 0.3, 0.4, 0.6]) and fit.mask.all()
    nothing = outlined(one, Outline((0, 0), np.zeros((0, 0), bool), 0.1), (10, 20), keep_box=False)
    assert nothing.bounding_box == pytest.approx([0.2, 0.1, 0.5, 0.5]) and not nothing.mask.any()


@pytest.mark.parametrize(("box", "expected"), [
    ((0.0, 0.0, 1.0, 1.0), (0, 0, 20, 10)), ((0.26, 0.0, 0.27, 0.01), (5, 0, 6, 1)),
    ((0.1, 0.2, 0.3, 0.4), (2, 2, 6, 4)),
])  # fmt: skip
def test_the_pixels_of_a_box(box, expected):
    assert pixels(box, (10, 20)) == expected
