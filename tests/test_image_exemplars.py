"""Boxes as examples on images: what is asked of which image, what it finds, and what is refused."""

from __future__ import annotations

import fiftyone as fo
import numpy as np
import pytest

from emoji_world.dataset import build_dataset
from emoji_world.lessons import scene_lessons
from emoji_world.scenes import render, sample_scene
from zoo.engine.checkpoint import TINY, load_checkpoint
from zoo.engine.concepts import Concept, parse_concepts
from zoo.engine.detector import ConceptDetector
from zoo.engine.errors import ConceptError
from zoo.engine.images import to_square
from zoo.engine.prompts import MAX_EXEMPLARS, Exemplars
from zoo.examples import Examples
from zoo.ledger import label_of
from zoo.provenance import run_info
from zoo.segment import segment
from zoo.source import load_model

BOX, ELSEWHERE = [0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.25, 0.25]
CORNERS, OTHER = (0.1, 0.2, 0.4, 0.6), (0.5, 0.5, 0.75, 0.75)


def marked(*marks: tuple[str | None, list, dict]) -> fo.Sample:
    """A sample with example boxes."""
    sample = fo.Sample(filepath="/nowhere.png")
    sample["marks"] = fo.Detections(
        detections=[fo.Detection(label=label, bounding_box=box, **more) for label, box, more in marks]
    )
    return sample


def asked(sample: fo.Sample, classes=(), **settings):
    concepts = parse_concepts(list(classes)) if classes else ()
    known, shown = Examples("marks", **settings).of(sample, concepts)
    return {c.label: c.phrases for c in known}, {label: (e.boxes, e.positive) for label, e in shown.items()}


# ------------------------------------------------------------------------------------------------- what is understood


def test_a_box_is_an_example_of_its_label_beside_the_words():
    sample = marked(("Dog", BOX, {}), ("dog", ELSEWHERE, dict(sam_label=False)), ("owl", BOX, {}), (None, BOX, {}))
    known, shown = asked(sample, ["dog", "cat"])
    assert known == {"dog": ("dog",), "cat": ("cat",), "owl": (), "visual": ()}
    boxes, positive = shown["dog"]
    assert boxes == (pytest.approx(CORNERS), pytest.approx(OTHER)) and positive == (True, False)
    assert set(shown) == {"dog", "owl", "visual"}


def test_examples_alone_and_examples_required():
    sample = marked(("dog", BOX, {}))
    assert asked(sample, ["dog", "cat"], alone=True)[0] == {"dog": (), "cat": ("cat",)}
    assert asked(sample, ["dog", "cat"], required=True)[0] == {"dog": ("dog",)}
    assert asked(sample, ["dog", "cat"], alone=True, required=True)[0] == {"dog": ()}
    assert asked(marked(), ["dog"]) == ({"dog": ("dog",)}, {})
    assert asked(marked(), ["dog"], required=True) == ({}, {})
    assert asked(fo.Sample(filepath="/nowhere.png"), ["dog"])[0] == {"dog": ("dog",)}


def test_counter_examples_narrow_words_and_nothing_else():
    refused = marked(("dog", BOX, dict(sam_label=0)))
    known, shown = asked(refused, ["dog"])
    assert known == {"dog": ("dog",)} and shown["dog"][1] == (False,)
    with pytest.raises(ConceptError, match="marks has only counter-examples of 'dog', and no words are asked"):
        asked(refused, ["dog"], alone=True)
    with pytest.raises(ConceptError, match="only counter-examples of 'dog'"):
        asked(refused)


@pytest.mark.parametrize(("marks", "words"), [
    ([("dog", [0.1, 0.1, -0.2, 0.2], {})], "A box must have an area"),
    ([("dog", [0.1, 0.1, 0.0, 0.2], {})], "A box must have an area"),
    ([("dog", [float("nan"), 0.1, 0.2, 0.2], {})], "A box must have an area"),
    ([("dog", [1.2, 0.1, 0.2, 0.2], {})], "A box must lie in the frame"),
    ([("dog", BOX, {}), ("dog", BOX, dict(sam_label=False))], "as an example, and as a counter-example"),
    ([("dog", BOX, dict(sam_label="yes"))], "sam_label must be True or False, got 'yes'"),
    ([("dog", BOX, {})] * (MAX_EXEMPLARS + 1), f"33 exemplar boxes of one concept; at most {MAX_EXEMPLARS}"),
])  # fmt: skip
def test_boxes_that_are_no_examples(marks, words):
    with pytest.raises(ConceptError, match=words):
        asked(marked(*marks), ["dog"])


@pytest.mark.parametrize(("settings", "words"), [
    (dict(exemplars_alone=True), "exemplars_alone needs examples: say where they are, with box_prompt_field"),
    (dict(box_prompt_field="marks", exemplars_required="yes"), "exemplars_required must be True or False, got 'yes'"),
    (dict(box_prompt_field="marks", operation_mode="exemplar"), "operation_mode must be one of"),
])  # fmt: skip
def test_settings_that_make_no_sense(settings, words):
    with pytest.raises(ConceptError, match=words):
        model = load_model("concepts/sam3-tiny-image", **settings)
        with model:
            pass


# ----------------------------------------------------------------------------------------------------- what it finds


@pytest.fixture(scope="module")
def detector() -> ConceptDetector:
    return ConceptDetector(load_checkpoint(TINY, device="cpu"))


def answers(detector, scene, lessons):
    """For each lesson: presence, and which of the scene's objects were found (None: something else was)."""
    image, masks = render(scene)
    size = image.shape[:2]
    features = detector.encode_images(to_square(image, detector.checkpoint.side)[None], [size])
    places = []
    for mask in masks:
        ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        places.append((xs[0] / size[1], ys[0] / size[0], (xs[-1] + 1) / size[1], (ys[-1] + 1) / size[0]))
    concepts = [Concept(str(k), () if one.phrase is None else (one.phrase,)) for k, one in enumerate(lessons)]
    shown = {
        str(k): Exemplars(tuple(places[i] for i in one.shown), one.positive) for k, one in enumerate(lessons)
    }
    found = []
    for result in detector.detect(features, [concepts], exemplars=[shown])[0]:
        objects = []
        for instance in result.instances:
            whole = np.zeros(size, bool)
            (x, y), (h, w) = instance.corner, instance.mask.shape
            whole[y : y + h, x : x + w] = instance.mask
            ious = [(whole & m).sum() / (whole | m).sum() for m in masks]
            objects.append(int(np.argmax(ious)) if max(ious) > 0.5 else None)
        found.append((result.presence, sorted(objects, key=str)))
    return found


def test_all_that_is_like_an_example_is_found(detector):
    right = total = 0
    for seed in range(500_100, 500_118):
        scene = sample_scene(seed)
        if not scene.objects:
            continue
        lessons = [x for x in scene_lessons(scene, np.random.default_rng(seed)) if x.kind in ("shown", "named")]
        for lesson, (_, objects) in zip(lessons, answers(detector, scene, lessons), strict=True):
            right += objects == sorted(lesson.instances, key=str)
            total += 1
    assert total > 60 and right / total > 0.75


def test_a_concept_without_words_needs_an_example(detector):
    image, _ = render(sample_scene(12), 0.25)
    features = detector.encode_images(to_square(image, detector.checkpoint.side)[None], [image.shape[:2]])
    for shown in (None, [{}], [{"owl": Exemplars((CORNERS,), (False,))}]):
        with pytest.raises(ConceptError, match="'owl' has no phrase: it needs a positive example"):
            detector.detect(features, [[Concept("owl", ())]], exemplars=shown)


def test_what_was_learnt_in_one_image_is_found_in_another(detector):
    image, _ = render(sample_scene(12), 0.25)
    features = detector.encode_images(to_square(image, detector.checkpoint.side)[None], [image.shape[:2]])
    one, two = Exemplars((CORNERS,), (True,)), Exemplars((CORNERS, OTHER), (True, False))
    width = features.levels[-1].shape[1]
    assert detector.learn(features, 0, one).shape == (1, width)
    tokens = detector.learn(features, 0, two)
    assert tokens.shape == (2, width) and not np.allclose(tokens[0].numpy(), tokens[1].numpy())
    plain, known = (
        detector.detect(features, [[Concept("owl", ("owl",))]], learnt=learnt)[0][0]
        for learnt in (None, {"owl": tokens})
    )
    assert plain.presence != known.presence
    alone = detector.detect(features, [[Concept("owl", ())]], learnt={"owl": tokens})[0][0]
    assert alone.object_score > 0


# ------------------------------------------------------------------------------------------------------- in FiftyOne


@pytest.fixture
def scenes(tmp_path):
    dataset = build_dataset("image-exemplars", tmp_path, count=3)
    yield dataset
    dataset.delete()


def show(dataset: fo.Dataset, place: int, *labels: tuple[str, dict]) -> None:
    """Mark the first object of a sample with these labels."""
    sample = dataset.skip(place).first()
    box = sample.ground_truth.detections[0].bounding_box
    sample["marks"] = fo.Detections(detections=[fo.Detection(label=n, bounding_box=box, **more) for n, more in labels])
    sample.save()


def presences(dataset: fo.Dataset) -> list[set[str]]:
    dataset.reload()
    return [
        {label_of(n) for n in (held.field_names if held else ()) if held[n] is not None}
        for held in dataset.values("sam3_presence")
    ]


def test_what_is_shown_is_asked_where_it_is_shown(scenes):
    show(scenes, 0, ("like this", {}))
    model = load_model("concepts/sam3-tiny-image", classes=["dog"])
    scenes.apply_model(model, label_field="sam3", box_prompt_field="marks", batch_size=2, progress=False)
    assert presences(scenes) == [{"dog", "like this"}, {"dog"}, {"dog"}]
    found = [d for d in scenes.first().sam3.detections if d.label == "like this"]
    assert found and {d.phrase for d in found} == {"visual"}
    info = run_info(scenes)["concepts"]
    assert info["like this"]["phrases"] == [] and info["dog"]["prompts"]["box_prompt_field"] == "marks"


def test_where_nothing_is_shown_nothing_is_asked_if_that_is_wanted(scenes):
    show(scenes, 1, ("dog", {}))
    model = load_model(
        "concepts/sam3-tiny-image", classes=["dog", "cat"], box_prompt_field="marks", exemplars_required=True
    )
    for _ in segment(scenes, model):
        pass
    assert presences(scenes) == [set(), {"dog"}, set()]
    assert [d.sam3 is not None for d in scenes] == [True] * 3


def test_a_bad_example_costs_its_sample(scenes):
    show(scenes, 0, ("dog", {}))
    show(scenes, 1, ("dog", dict(sam_label=2)))
    model = load_model("concepts/sam3-tiny-image", classes=["dog"], box_prompt_field="marks")
    *_, last = segment(scenes, model)
    assert last.failed == 1 and presences(scenes) == [{"dog"}, set(), {"dog"}]
    assert scenes.values("sam3_error") == [None, "marks: sam_label must be True or False, got 2", None]


@pytest.mark.parametrize(("field", "words"), [
    ("nowhere", "'nowhere' is not a field of"), ("filepath", "Prompts must be Detections, but 'filepath' holds"),
    ("empty", "box_prompt_field='empty' holds no box in any sample"),
    ("sam3", "'sam3' cannot hold the prompts and the results"),
])  # fmt: skip
def test_fields_without_examples_are_refused_before_anything_is_stored(scenes, field, words):
    scenes.add_sample_field("empty", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    if field == "sam3":
        scenes.clone_sample_field("ground_truth", "sam3")
    before = set(scenes.get_field_schema())
    model = load_model("concepts/sam3-tiny-image", classes=["dog"], box_prompt_field=field)
    with pytest.raises(ConceptError, match=words):
        scenes.apply_model(model, label_field="sam3", progress=False)
    scenes.reload()
    assert set(scenes.get_field_schema()) == before and not scenes.has_run("sam3")


def test_another_way_to_ask_is_another_question(scenes):
    show(scenes, 0, ("dog", {}))
    list(segment(scenes, load_model("concepts/sam3-tiny-image", classes=["dog"])))
    model = load_model("concepts/sam3-tiny-image", classes=["dog"], box_prompt_field="marks")
    with pytest.raises(ConceptError, match="'dog' was asked before with prompts"):
        list(segment(scenes, model, skip_existing=True))


def test_examples_that_are_nowhere_are_refused_before_anything_runs(new_dataset):
    dataset = new_dataset([fo.Sample("/none/there.png")])
    for said in (dict(exemplars_of=["cap"]), dict(exemplars_alone=True), dict(exemplars_required=True)):
        model = load_model("concepts/sam3-tiny-image", classes=["fox"], **said)
        with pytest.raises(ConceptError, match=f"{next(iter(said))} needs examples"):
            dataset.apply_model(model, label_field="sam3", progress=False)
    assert "sam3" not in dataset.get_field_schema()
