"""Prompts in fields: what people marked reaches the tracker as they meant it, and what cannot be used is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
import pytest
from fiftyone.operators.executor import ExecutionContext, Executor
from support import films
from support.films import frames_of, masklets_of

from emoji_world.clips import sample_clip, visible_shares
from zoo.engine.errors import ConceptError
from zoo.engine.prompts import FramePrompts
from zoo.engine.results import FrameResult, TrackedConcept, TrackedInstance
from zoo.prompting import Prompting
from zoo.provenance import run_info
from zoo.track import track
from zoo.video_model import Sam3VideoModel

LENGTH = 10
BOX = [0.25, 0.25, 0.5, 0.25]
ELSEWHERE = [0.0, 0.0, 0.25, 0.25]
CORNERS = (0.25, 0.25, 0.75, 0.5)
MARKS = "frames.marks"


@pytest.fixture(scope="module")
def reel(tmp_path_factory) -> Path:
    return films.film(tmp_path_factory.mktemp("reel") / "film.mp4", LENGTH)


@pytest.fixture
def dataset(reel) -> Iterator[fo.Dataset]:
    made = fo.Dataset()
    made.add_sample(fo.Sample(filepath=reel))
    yield made
    made.delete()


def mark(dataset: fo.Dataset, marks: dict[int, fo.Label], field: str = "marks", place: int = 0) -> None:
    """Store prompts in frames."""
    sample = dataset.skip(place).first()
    for number, label in marks.items():
        sample.frames[number] = sample.frames[number] if number in sample.frames else fo.Frame()
        sample.frames[number][field] = label
    sample.save()
    dataset.reload()


def boxes(*marks: tuple[str | None, dict]) -> fo.Detections:
    return fo.Detections(
        detections=[fo.Detection(label=label, **dict(dict(bounding_box=BOX), **more)) for label, more in marks]
    )


def points(label: str, places: list, **more) -> fo.Keypoints:
    return fo.Keypoints(keypoints=[fo.Keypoint(label=label, points=places, **more)])


class Marked(Sam3VideoModel):
    """Notes what it is given; whatever is pointed at shows in every frame, and so does nothing else."""

    def follow(self, frames, concepts, length, prompts=None, before=None) -> Iterator[FrameResult]:
        back = None if before is None else [number for number, _ in before]
        self.given = ([(c.label, c.phrases) for c in concepts], prompts, back)
        pointed = {o.concept for p in (prompts or {}).values() for o in p.objects}
        for number, image in frames:
            found = [
                (TrackedInstance(k + 1, 0.9, None, 0.8, None, (0, 0), image[:4, :4, 0] >= 0, None),)
                if k in pointed else () for k in range(len(concepts))
            ]
            yield FrameResult(number, image.shape[:2], tuple(
                TrackedConcept(c.label, 0.5 if c.phrases else None, 0.4 if c.phrases else None, some)
                for c, some in zip(concepts, found, strict=True)
            ))


def marked(classes=None, **settings) -> Marked:
    return Marked(films.checkpoint(), classes, **settings)


def given(dataset: fo.Dataset, model: Marked, **options) -> tuple:
    *_, last = track(dataset, model, **options)
    assert not last.failed, dataset.values("sam3_error")
    return model.given


# ------------------------------------------------------------------------------------------------ what is understood


def test_boxes_are_examples_of_their_label(dataset):
    mark(dataset, {
        3: boxes(("dog", {}), ("dog", dict(bounding_box=ELSEWHERE, sam_label=False)), ("cat", dict(sam_label=0))),
        5: boxes(("owl", {}), (None, {})),
    })
    concepts, prompts, back = given(dataset, marked("dog", prompt_field=MARKS))
    assert concepts == [("dog", ("dog",)), ("cat", ()), ("owl", ()), ("visual", ())]
    assert list(prompts) == [3, 5] and back == [5, 4, 3, 2, 1]
    dog, cat = prompts[3].exemplars[0], prompts[3].exemplars[1]
    assert (dog.boxes, dog.positive) == ((CORNERS, (0.0, 0.0, 0.25, 0.25)), (True, False))
    assert (cat.boxes, cat.positive) == ((CORNERS,), (False,))
    assert set(prompts[5].exemplars) == {2, 3} and not prompts[3].objects


def test_boxes_are_objects_where_that_is_said(dataset):
    mark(dataset, {2: boxes(("dog", dict(index=7)), ("dog", {})), 4: boxes(("dog", dict(index=7)))})
    concepts, prompts, _ = given(dataset, marked(prompt_field=MARKS, operation_mode="visual"))
    assert concepts == [("dog", ())]
    assert [(o.key, o.concept, o.box) for o in prompts[2].objects] == [(7, 0, CORNERS), (None, 0, CORNERS)]
    assert [o.key for o in prompts[4].objects] == [7] and not prompts[2].exemplars


def test_points_are_objects_in_either_mode_and_those_nobody_knows_are_left_out(dataset):
    nan = float("nan")
    mark(dataset, {2: points("dog", [(0.5, 0.5), (nan, nan), (0.1, 0.2)], sam_labels=[1, 1, 0])})
    for mode in ("concept", "visual"):
        _, prompts, _ = given(dataset, marked(prompt_field=MARKS, operation_mode=mode))
        (one,) = prompts[2].objects
        assert (one.points, one.on, one.box) == (((0.5, 0.5), (0.1, 0.2)), (True, False), None)


def test_a_box_and_points_of_one_index_are_one_prompt(dataset):
    mark(dataset, {2: boxes(("dog", dict(index=4)))}, "boxes")
    mark(dataset, {2: points("dog", [(0.3, 0.3)], index=4), 3: points("dog", [(0.2, 0.2)])}, "points")
    model = marked(box_prompt_field="frames.boxes", point_prompt_field="frames.points", operation_mode="visual")
    _, prompts, _ = given(dataset, model)
    (one,) = prompts[2].objects
    assert (one.key, one.box, one.points, one.on) == (4, CORNERS, ((0.3, 0.3),), (True,))
    assert list(prompts) == [2, 3]


@pytest.mark.parametrize(
    ("direction", "window", "back"),
    [
        ("both", {}, [6, 5, 4, 3, 2, 1]), ("backward", {}, [6, 5, 4, 3, 2, 1]), ("forward", {}, None),
        ("both", dict(reverse=True), [2, 3, 4, 5, 6, 7, 8, 9, 10]), ("both", dict(stride=2, start=2), [6, 4, 2]),
        ("both", dict(stride=2, start=2, reverse=True), [2, 4, 6, 8, 10]), ("both", dict(start=5), [6, 5]),
    ],
)  # fmt: skip
def test_frames_before_the_last_prompt_come_backward(dataset, direction, window, back):
    mark(dataset, {2: boxes(("dog", {})), 6: boxes(("dog", {}))})
    model = marked(prompt_field=MARKS, propagation_direction=direction, **window)
    _, prompts, frames = given(dataset, model)
    assert frames == back and set(prompts) == ({6} if window.get("start") == 5 else {2, 6})


def test_only_some_frames_prompts_count(dataset):
    mark(dataset, {2: boxes(("dog", {})), 6: boxes(("cat", {}))})
    concepts, prompts, _ = given(dataset, marked(prompt_field=MARKS, prompt_frame_indices=[6]))
    assert list(prompts) == [6] and concepts == [("cat", ())]


def test_a_clip_takes_its_own_prompts_and_chosen_frames_theirs(dataset):
    mark(dataset, {2: boxes(("dog", {})), 6: boxes(("cat", {})), 9: boxes(("owl", {}))})
    dataset.set_values("clip", [fo.TemporalDetections(detections=[fo.TemporalDetection(label="x", support=[5, 8])])])
    model = marked(prompt_field=MARKS)
    assert list(given(dataset.to_clips("clip"), model)[1]) == [6] and model.given[2] == [6, 5]
    dataset.set_values("frames.filepath", [[f"/nowhere/{n}.png" for n in dataset.values("frames.frame_number")[0]]])
    chosen = dataset.to_frames(sample_frames=False).match(fo.ViewField("frame_number").is_in([2, 6, 7]))
    assert list(given(chosen, model)[1]) == [2, 6] and model.given[2] == [6, 2]


def test_images_that_are_a_video_have_prompts_of_their_own(tmp_path):
    dataset = fo.Dataset()
    dataset.add_samples([
        fo.Sample(filepath=path, scene="a", number=k, marks=boxes(("dog", {})) if k == 2 else None)
        for k, path in enumerate(films.stills(tmp_path, 4))
    ])
    _, prompts, back = given(dataset.group_by("scene", order_by="number"), marked(prompt_field="marks"))
    assert list(prompts) == [3] and back == [3, 2, 1]
    dataset.delete()


# ------------------------------------------------------------------------------------------------ what is stored


def test_what_is_pointed_at_is_stored_and_what_was_not_asked_has_no_presence(dataset):
    mark(dataset, {2: boxes(("dog", {}))})
    model = marked("cat", prompt_field=MARKS, operation_mode="visual")
    given(dataset, model)
    (frames,) = frames_of(dataset)
    assert set(frames) == set(range(1, LENGTH + 1))
    sample = dataset.view().first()
    for number in frames:
        frame = sample.frames[number]
        assert frame.sam3_presence.cat == 0.5 and frame.sam3_presence.dog is None
        assert (frame.sam3_count.cat, frame.sam3_count.dog) == (0, 1)
        (found,) = frame.sam3.detections
        assert (found.label, found.phrase, found.presence, found.birth_score) == ("dog", None, None, 0.8)
    assert sample.sam3_presence.dog is None and sample.sam3_count.dog == 1
    (masklet,) = masklets_of(sample)
    assert (masklet["label"], masklet["support"], masklet["presence"]) == ("dog", [1, LENGTH], None)
    assert sample.frames[2].marks.detections[0].label == "dog"  # prompts stay as they are


def test_resume_skips_what_was_done_and_refuses_other_prompts(dataset):
    mark(dataset, {2: boxes(("dog", {}))})
    settings = dict(prompt_field=MARKS, operation_mode="visual")
    given(dataset, marked(**settings))
    again = marked(**settings)
    *_, last = track(dataset, again, skip_existing=True)
    assert last.skipped == 1 and not hasattr(again, "given")
    assert run_info(dataset)["concepts"]["dog"]["prompts"]["operation_mode"] == "visual"


def test_apply_model_takes_prompts_as_fiftyones_own_models_do(dataset):
    mark(dataset, {4: boxes(("dog", {}))})
    model = marked(operation_mode="visual")
    dataset.apply_model(model, label_field="sam3", prompt_field=MARKS)
    assert model.given[0] == [("dog", ())] and list(model.given[1]) == [4]
    assert [len(f.sam3.detections) for f in dataset.view().first().frames.values()] == [1] * LENGTH
    with pytest.raises(ConceptError, match="No concepts"):
        dataset.apply_model(model, label_field="other")


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(operation_mode="both"), "operation_mode must be 'concept' or 'visual', got 'both'"),
        (dict(propagation_direction="up"), "propagation_direction must be 'both' or 'forward' or 'backward'"),
        (dict(prompt_field="a", box_prompt_field="b"), "not both"),
        (dict(prompt_frame_indices=[0]), "at least 1, got 0"),
        (dict(prompt_frame_indices=3), "a list of frame numbers, got 3"),
        (dict(prompt_field=MARKS, tracking=False), "tracking=False looks at single frames"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused_when_the_model_is_loaded(settings, words):
    with pytest.raises(ConceptError, match=words):
        marked("dog", **settings)


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("marks", "write 'frames.marks' instead of 'marks'"), ("frames.nothing", "'frames.nothing' is not a field"),
        ("frames.words", "Prompts must be Detections or Keypoints, but 'frames.words' holds Classification"),
        ("frames.sam3", "cannot hold the prompts and the results"),
    ],
)  # fmt: skip
def test_fields_without_prompts_are_refused_before_anything_runs(dataset, field, words):
    mark(dataset, {1: boxes(("dog", {}))})
    mark(dataset, {1: fo.Classification(label="x")}, "words")
    mark(dataset, {1: fo.Detections()}, "sam3")
    with pytest.raises(ConceptError, match=words):
        list(track(dataset, marked("dog", prompt_field=field)))
    with pytest.raises(ConceptError, match="must be Keypoints, but 'frames.marks' holds Detections"):
        list(track(dataset, marked("dog", point_prompt_field=MARKS)))
    assert not {"sam3_presence", "sam3_count"} & set(dataset.get_frame_field_schema())


@pytest.mark.parametrize(
    ("marks", "settings", "words"),
    [
        ({3: boxes(("dog", dict(sam_label="no")))}, {}, "prompt in frame 3: sam_label must be True or False, got 'no'"),
        ({3: points("dog", [(0.5, 0.5)], sam_labels=[2])}, {}, "1 .on the object. or 0"),
        ({3: points("dog", [(0.5, 0.5)], sam_labels=[1, 0])}, {}, "1 points, but 2 sam_labels"),
        ({3: points("dog", [(0.5, 0.5)], sam_labels=[0])}, {}, "need one on it"),
        ({3: points("dog", [(1.5, 0.5)])}, {}, "between 0 and 1"),
        ({3: fo.Detections(detections=[fo.Detection(label="dog", bounding_box=[0.5, 0.5, 0, 0.1])])}, {}, "an area"),
        ({4: boxes(("dog", {}))}, dict(stride=2), "frame 4 has prompts, but is not among"),
        ({}, {}, "no prompts in frames.marks, and no concepts"),
    ],
)  # fmt: skip
def test_prompts_that_cannot_be_used_cost_their_video_alone(dataset, reel, marks, settings, words):
    dataset.add_sample(fo.Sample(filepath=reel))
    mark(dataset, marks)
    like = next(iter(marks.values()), fo.Detections())  # a field holds boxes, or points
    other = points("cat", [(0.5, 0.5)]) if isinstance(like, fo.Keypoints) else boxes(("cat", {}))
    mark(dataset, {3: other}, place=1)
    *_, last = track(dataset, marked(prompt_field=MARKS, **settings))
    first, second = dataset.values("sam3_error")
    assert last.failed == 1 and second is None and dataset.values("sam3_count.cat")[1] is not None
    assert first is not None and re.search(words, first), first


def test_nothing_marked_is_no_prompt(dataset):
    mark(dataset, {3: fo.Detections(), 4: fo.Detections()})
    concepts, prompts, back = given(dataset, marked("dog", prompt_field=MARKS))
    assert concepts == [("dog", ("dog",))] and prompts is None and back is None
    assert not Prompting() and FramePrompts().objects == ()


# ------------------------------------------------------------------------------------------------ the operator

URI = "@concepts/sam3/track_concepts"


def form(dataset: fo.Dataset, **params) -> dict:
    """The properties of the operator's form."""
    request = dict(dataset_name=dataset.name, params=params)
    ctx = ExecutionContext(request_params=request, operator_uri=URI, executor=Executor())
    return foo.get_operator(URI).resolve_input(ctx).type.properties


def test_the_form_offers_marks_where_there_are_some(dataset):
    assert "prompt_field" not in form(dataset) and form(dataset)["classes"].required
    mark(dataset, {3: boxes(("dog", {}))})
    fields = form(dataset)
    assert [c.value for c in fields["prompt_field"].view.choices] == ["", MARKS]
    assert fields["prompt_field"].default == "" and "operation_mode" not in fields
    chosen = form(dataset, prompt_field=MARKS)
    assert not chosen["classes"].required and not any(name.startswith("problem") for name in chosen)
    assert (chosen["operation_mode"].default, chosen["propagation_direction"].default) == ("concept", "both")
    assert "problem_field" in form(dataset, prompt_field=MARKS, label_field="marks")


def test_the_operator_follows_what_is_marked(tmp_path):
    """With the small checkpoint, on a clip of its world: a box around one object in one frame, and no words."""
    clip = sample_clip(2, 12)
    played = list(clip.play(0.5))
    path = films.encode(tmp_path / "clip.mp4", [image for image, _ in played])
    shown = visible_shares(clip, 0.5)[:, 6]
    best = int(shown.argmax())
    height, width = played[0][0].shape[:2]
    ys, xs = np.nonzero(played[6][1][best])
    around = [xs.min() / width, ys.min() / height, np.ptp(xs) / width, np.ptp(ys) / height]
    dataset = fo.Dataset()
    dataset.add_sample(fo.Sample(filepath=path))
    mark(dataset, {7: fo.Detections(detections=[fo.Detection(label="this", bounding_box=around)])})

    result = foo.get_operator(URI)(dataset, prompt_field=MARKS, operation_mode="visual", device="cpu")

    assert result.error is None and dataset.values("sam3_error") == [None]
    sample = dataset.view().first()
    (masklet,) = masklets_of(sample)
    assert masklet["label"] == "this" and masklet["support"][0] <= 7 <= masklet["support"][1]
    assert sample.frames[12].sam3_count.this is not None and sample.frames[1].sam3_presence.this is None
    (found,) = sample.frames[7].sam3.detections
    drawn = found.to_segmentation(frame_size=(width, height)).mask > 0
    truth = played[6][1][best]
    assert (drawn & truth).sum() / (drawn | truth).sum() > 0.5
    dataset.delete()
