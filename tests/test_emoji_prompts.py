"""What is pointed out in the emoji world: lessons, how they are learnt, and how they are measured."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emoji_world import measure
from emoji_world.architecture import IMAGE_SIZE, build_tokenizer
from emoji_world.batches import DRILLED, draw, make_batch
from emoji_world.card import write_card
from emoji_world.lessons import looks_like, refusal, scene_lessons
from emoji_world.losses import FINE
from emoji_world.measure_prompts import FIRST_SEED, _seeds
from emoji_world.pointing import corrected, given_boxes, given_points, point_at
from emoji_world.scenes import sample_scene
from emoji_world.train import train as train_detector
from emoji_world.train_tracker import Run, losses
from emoji_world.train_tracker import train as train_tracker
from emoji_world.vocabulary import Thing
from zoo.engine.checkpoint import TINY
from zoo.engine.prompts import Exemplars

SEEDS = st.integers(0, 5000)
BOX = (0.1, 0.1, 0.2, 0.2)


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_lessons_say_what_is_true(seed):
    scene, rng = sample_scene(seed), np.random.default_rng(seed)
    things = [o.thing for o in scene.objects]
    for lesson in scene_lessons(scene, rng):
        Exemplars((BOX,) * len(lesson.shown), lesson.positive) if all(lesson.positive) else None
        good = {things[i] for i, sign in zip(lesson.shown, lesson.positive, strict=True) if sign}
        bad = {things[i] for i, sign in zip(lesson.shown, lesson.positive, strict=True) if not sign}
        meant = {things[i] for i in lesson.instances}
        assert len(set(lesson.shown)) == len(lesson.shown) and len(lesson.shown) <= 4 and lesson.instances
        assert good <= meant and not bad & meant, "an example is meant, a counter-example is not"
        if lesson.kind in ("shown", "named", "contrasted"):
            (thing,) = meant
            assert lesson.instances == tuple(i for i, t in enumerate(things) if t == thing)
            assert lesson.phrase == (thing.name if lesson.kind == "named" else None)
            assert bool(bad) == (lesson.kind == "contrasted")
        else:
            assert lesson.kind == "narrowed" and len(bad) == 1 and {t.noun for t in meant | bad} == {lesson.phrase}
            assert meant == {t for t in things if t.noun == lesson.phrase} - bad


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_what_is_refused_is_not_there_but_could_be_mistaken(seed):
    scene, rng = sample_scene(seed), np.random.default_rng(seed)
    for phrase in ("wolf", "mouse", "red cap", "bat"):
        lesson = refusal(scene, phrase, rng)
        if lesson is not None:
            assert lesson.instances == () and not any(lesson.positive) and lesson.phrase == phrase
            assert not any(scene.objects[i].thing.answers(phrase) for i in lesson.shown)


@pytest.mark.parametrize(("one", "other", "alike"), [
    ("fox", "wolf", True), ("fox", "pizza", False), ("fox", "fox", False), ("bat", "cricket bat", True),
])  # fmt: skip
def test_look_alikes(one, other, alike):
    assert looks_like(Thing(one), Thing(other)) == alike
    assert looks_like(Thing("cap", "red"), Thing("cap", "blue"))


def test_a_batch_holds_lessons_as_often_as_it_is_said():
    scenes = [d for d in (draw(s) for s in range(12)) if len(d.boxes)]
    shown = []
    for share in (0.0, 1.0):
        batch = make_batch(scenes, build_tokenizer(), np.random.default_rng(1), prompts=4, lessons=share)
        shown.append((batch.box_labels >= 0).any(1).float().mean().item())
        real = batch.box_labels >= 0
        assert set(batch.box_labels[real].tolist()) <= {0, 1} and (batch.boxes[~real] == -10).all()
    assert shown[0] == 0 and shown[1] > 0.5


def test_where_much_is_pointed_out_counter_examples_are_all_that_tells_questions_apart():
    things = {seed: {o.thing for o in sample_scene(seed).objects} for seed in range(200)}
    contrasts = [seed for seed, some in things.items() if len(some) > len({t.noun for t in some})]
    assert len(contrasts) > 3
    for seed in contrasts[:6]:
        batch = make_batch([draw(seed)], build_tokenizer(), np.random.default_rng(0), prompts=6, lessons=DRILLED + 0.01)
        assert len(batch.rows) == 6
        signs = [set(row[row >= 0].tolist()) for row in batch.box_labels[:4]]
        meant = [{tuple(box) for box in boxes.tolist()} for boxes in batch.truth_boxes[:4]]
        assert signs == [{0}, {0}, set(), {0, 1}], "one noun: without one colour, without another, as it is, with both"
        assert meant[3] == meant[0] != meant[1] and meant[0] | meant[1] <= meant[2] and meant[0] < meant[2]


# ---------------------------------------------------------------------------------------------------------- pointing


def blob(*boxes: tuple[int, int, int, int]) -> torch.Tensor:
    cover = torch.zeros(len(boxes), FINE, FINE)
    for k, (x0, y0, x1, y1) in enumerate(boxes):
        cover[k, y0:y1, x0:x1] = 1
    return cover


def test_boxes_and_points_are_where_the_object_is():
    cover, rng = blob((10, 20, 40, 60), (50, 50, 90, 70)), np.random.default_rng(0)
    scale = IMAGE_SIZE / FINE
    boxes = given_boxes(cover, rng)["boxes"] / scale
    assert boxes.tolist() == [pytest.approx([10, 20, 40, 60], abs=6), pytest.approx([50, 50, 90, 70], abs=6)]
    for _ in range(10):
        told = given_points(cover, rng, 3)
        for k, (points, labels) in enumerate(zip(told["points"] / scale, told["labels"], strict=True)):
            assert labels[0] == 1
            for (x, y), label in zip(points.tolist(), labels.tolist(), strict=True):
                assert cover[k, int(y), int(x)] == label


def test_a_correction_is_where_the_answer_was_wrong():
    cover, rng = blob((10, 20, 40, 60)), np.random.default_rng(0)
    for drawn, label in ((blob((10, 20, 20, 60)), 1), (blob((10, 20, 90, 60)), 0)):
        told = corrected({}, drawn * 20 - 10, cover, rng)
        x, y = (told["points"][0, 0] * FINE / IMAGE_SIZE).tolist()
        assert told["labels"].tolist() == [[label]]
        assert bool(drawn[0, int(y), int(x)]) != bool(cover[0, int(y), int(x)]) and cover[0, int(y), int(x)] == label
    right = corrected(given_points(cover, rng, 2), cover * 20 - 10, cover, rng)
    assert right["labels"].shape == (1, 3) and right["labels"][0, -1] == -1, "nothing was wrong: no point"


def test_objects_that_are_pointed_at_teach_the_network():
    run = Run(TINY, TINY, torch.device("cpu"), TINY)
    scenes = [d for d in (draw(s) for s in range(4)) if len(d.boxes)]
    rows = [k for k, s in enumerate(scenes) for _ in s.cover]
    cover = torch.from_numpy(np.concatenate([s.cover for s in scenes]).astype(np.float32) / 255)
    answers = point_at(run.network, run.scene_features(scenes), rows, cover, np.random.default_rng(0))
    assert [t for t, _ in answers] == [0, 0] and all(len(a.masks) == len(rows) for _, a in answers)
    loss, told = losses(answers, cover[None], torch.ones(1, len(rows)))
    loss.backward()
    assert told["iou_first"] > 0.3 and told["iou_last"] > 0.3
    assert run.trained["tracker_model"].prompt_encoder.point_embed.weight.grad.abs().sum() > 0


def test_the_tracker_goes_on_from_a_checkpoint(tmp_path):
    options = dict(
        batch=1, each=1, frames=3, rate=1e-5, threads=0, stretches=1, device="cpu", minutes=0, pointed_out=4, every=2,
    )
    run = train_tracker(tmp_path, TINY, steps=2, start_from=TINY, **options)
    before = Run(tmp_path / "none", TINY, torch.device("cpu"), TINY).trained.state_dict()
    moved = max(float((before[n] - p).abs().max()) for n, p in run.trained.state_dict().items())
    assert run.step == 2 and 0 < moved < 1e-3


def test_what_sees_and_what_reads_can_be_left_as_it_is(tmp_path):
    options = dict(
        steps=1, word_steps=0, batch=1, prompts=3, masked_prompts=2, rate=1e-3, workers=1, threads=0, device="cpu",
        minutes=0, scenes=4, lessons=1.0,
    )
    run = train_detector(tmp_path, start_from=TINY, frozen_senses=True, **options)
    untouched = type(run)(tmp_path / "none", torch.device("cpu"))
    untouched.start_from(TINY)
    after = run.model.state_dict()
    moved = {name for name, value in untouched.model.state_dict().items() if not torch.equal(value, after[name])}
    assert moved and not [n for n in moved if n.startswith(("vision_encoder", "text_encoder", "text_projection"))]
    assert any(name.startswith("geometry_encoder") for name in moved)


# --------------------------------------------------------------------------------------------------------- measuring


def test_measured_scenes_hold_what_is_asked_of_them():
    scenes = [scene for _, scene in _seeds(FIRST_SEED, 10)]
    assert len(scenes) == 12 and all(scene.objects for scene in scenes)
    kinds = [{x.kind for x in scene_lessons(s, np.random.default_rng(0))} for s in scenes]
    assert sum("narrowed" in k for k in kinds) >= 2


def test_prompts_are_measured_and_the_card_quotes_them(tmp_path, monkeypatch, capsys):
    card = tmp_path / "card.md"
    card.write_text("<!-- measured with prompts -->\n<!-- /measured with prompts -->\n")
    arguments = ["--prompts", "3", "--json", str(tmp_path / "n.json"), "--card", str(card)]
    monkeypatch.setattr("sys.argv", ["measure", *arguments])
    measure.main()
    assert "by boxes and points" in capsys.readouterr().out
    numbers = json.loads((tmp_path / "n.json").read_text())
    assert numbers["prompt_images"] == 4 and numbers["example_f1"] > 0.5 and numbers["words_f1"] > 0.5
    assert 0 < numbers["box_iou"] <= 1 and numbers["box_objects"] == numbers["point_objects"]
    text = card.read_text()
    assert "| one example, no words | " in text and "| a box | 0." in text
    write_card(card, numbers)
    assert card.read_text() == text
