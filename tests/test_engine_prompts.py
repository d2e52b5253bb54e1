"""What a person points at in a video: exact on scripts, and with examples as transformers' SAM 3 answers them."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.scripts import Actor, Box, Script, ScriptedNetwork, centre, contents, drawn, frames, relative, seen, whole
from transformers import Sam3Processor

from emoji_world.clips import sample_clip
from emoji_world.scenes import render, sample_scene
from zoo.engine.checkpoint import TINY, Checkpoint, load_checkpoint
from zoo.engine.concepts import Concept, parse_concepts
from zoo.engine.detector import Asked, ConceptDetector, Found, ImageFeatures
from zoo.engine.errors import ConceptError
from zoo.engine.given import Given, Trail, Wanted, _shrunk, draw
from zoo.engine.images import to_square
from zoo.engine.prompts import VISUAL, Exemplars, FramePrompts, ObjectPrompt, Prompts, check_box
from zoo.engine.results import FrameResult, TrackedConcept, TrackedInstance
from zoo.engine.session import Frame, Session
from zoo.engine.tracker import ConceptTracker
from zoo.engine.tracker_settings import TrackerSettings
from zoo.engine.tracks import Track

THING = parse_concepts("thing")
#: places in the picture that are apart
LEFT, MIDDLE, RIGHT, BELOW = (1, 2, 5, 8), (6, 2, 10, 8), (11, 2, 15, 8), (6, 10, 10, 15)
COUNT = 24
#: what no detector finds, and who is found by these words
UNKNOWN, KNOWN = ("unknown",), ("thing",)


def pointed(box: Box, key: int | None = None, concept: int = 0) -> FramePrompts:
    """A frame in which an object is pointed at by its box."""
    return FramePrompts(objects=[ObjectPrompt(key, concept, relative(box))])


def example(*boxes: Box, against: Sequence[Box] = ()) -> FramePrompts:
    """A frame with examples and counter-examples of the first concept."""
    positive = (True,) * len(boxes) + (False,) * len(against)
    return FramePrompts({0: Exemplars(tuple(map(relative, (*boxes, *against))), positive)})


def play(
    script: Script | ConceptTracker, prompts: Prompts | None, concepts: Sequence[Concept] = THING, *,
    look_back: bool = True, backward: bool = False, onward: bool = True, **options,
) -> list[FrameResult]:
    """All frames, in the order of their numbers however they were worked through."""
    tracker = script.tracker(**options) if isinstance(script, Script) else script
    order = list(frames(COUNT))[:: -1 if backward else 1]
    last = max((k for k, (number, _) in enumerate(order) if number in (prompts or {})), default=-1)
    before = order[last::-1] if last >= 0 else []
    results = list(tracker.track(
        iter(order), concepts, prompts=prompts, before=iter(before) if look_back else None, onward=onward
    ))
    assert [r.number for r in results] == [number for number, _ in order]
    return sorted(results, key=lambda r: r.number)


# ------------------------------------------------------------------------------ what cannot be meant

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(("box", "why"), [
    *((box, "must have an area") for box in (
        (0.5, 0.1, 0.5, 0.2), (0.5, 0.1, 0.4, 0.2), (0.1, 0.3, 0.4, 0.3), (0.1, 0.3, 0.4, 0.2), (NAN, 0, 1, 1),
        (0, 0, INF, 1), (0, -INF, 1, 1),
    )),
    *((box, "must lie in the frame") for box in ((1, 0, 2, 1), (0, 1.0, 1, 1.5), (-1, 0, 0, 1), (0, -0.5, 1, -0.1))),
])
def test_a_box_has_an_area_in_the_frame(box, why):
    for refused in (
        lambda: check_box(box), lambda: Exemplars(((0, 0, 1, 1), box), (True, False)),
        lambda: ObjectPrompt(1, 0, box), lambda: ObjectPrompt(1, 0, box, ((0.5, 0.5),), (True,)),
    ):
        with pytest.raises(ConceptError, match=why) as error:
            refused()
        assert repr(box) in str(error.value)


def test_a_box_may_reach_over_the_edge():
    for box in ((0, 0, 1, 1), (-0.2, 0.9, 0.1, 1.3)):
        check_box(box)


@pytest.mark.parametrize("point", [(1.01, 0.5), (0.5, -0.01), (NAN, 0.5), (0.5, INF)])
def test_a_point_lies_in_the_frame(point):
    with pytest.raises(ConceptError, match="A point must lie in the frame") as error:
        ObjectPrompt(1, 0, points=((0.0, 1.0), point), on=(True, False))
    assert repr(point) in str(error.value)


def test_what_is_pointed_at_is_told_whole():
    box, point = (0.1, 0.1, 0.2, 0.2), (0.5, 0.5)
    with pytest.raises(ConceptError, match="there is neither"):
        ObjectPrompt(1, 0)
    with pytest.raises(ConceptError, match="2 points, but 1 say"):
        ObjectPrompt(1, 0, points=(point, point), on=(True,))
    with pytest.raises(ConceptError, match="0 points, but 1 say"):
        ObjectPrompt(1, 0, box, on=(True,))
    with pytest.raises(ConceptError, match="1 exemplar boxes, but 2 say"):
        Exemplars((box,), (True, False))


def test_examples_and_counter_examples():
    one, two, three = (0, 0, 0.1, 0.1), (0.2, 0, 0.3, 0.1), (0.4, 0, 0.5, 0.1)
    mixed, against = Exemplars((one, two, three), (False, True, False)), Exemplars((one, two), (False, False))
    assert mixed.negatives == (one, three) and mixed.shows
    assert against.negatives == (one, two) and not against.shows


# ------------------------------------------------------------------------------ examples, as transformers


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return load_checkpoint(TINY, device="cpu", tracker=True)


@pytest.fixture(scope="module")
def precise() -> Checkpoint:
    """In double precision: what is left between a batch and its parts is then no matter of rounding."""
    loaded = load_checkpoint(TINY, device="cpu")
    loaded.model.double()
    return loaded


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return render(sample_scene(12), 0.25)[0]


EXAMPLES = (
    Exemplars(((0.1, 0.2, 0.35, 0.5),), (True,)),
    Exemplars(((0.1, 0.2, 0.35, 0.5), (0.5, 0.4, 0.9, 0.95)), (True, False)),
    Exemplars(((0.55, 0.1, 0.8, 0.4), (-0.1, 0.5, 0.2, 1.1), (0.3, 0.3, 0.4, 0.45)), (False, True, True)),
)


def encoded(detector: ConceptDetector, *images: np.ndarray) -> ImageFeatures:
    squares = torch.stack([to_square(image, detector.checkpoint.side) for image in images])
    return detector.encode_images(squares, [image.shape[:2] for image in images])


def assert_close(one: Found, other: Found) -> None:
    assert one.asked == other.asked
    assert one.presence == pytest.approx(other.presence, abs=1e-5)
    assert one.object_score == pytest.approx(other.object_score, abs=1e-5)
    for name in ("confidences", "scores", "boxes", "masks"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("cls_token", [False, True])
@pytest.mark.parametrize("exemplars", EXAMPLES)
@pytest.mark.parametrize("phrase", ["owl", VISUAL])
def test_examples_equal_transformers(checkpoint, image, cls_token, exemplars, phrase):
    """Every query, not only those that count."""
    detector = ConceptDetector(checkpoint, cls_token=cls_token)
    asked = Asked(0, 0, phrase, -1.0, exemplars)
    (found,) = detector.find(encoded(detector, image), [asked])
    processor = Sam3Processor.from_pretrained(TINY, local_files_only=True)
    inputs = processor(images=image, text=phrase, return_tensors="pt")
    inputs.pop("original_sizes")
    boxes = torch.tensor([[((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0) for x0, y0, x1, y1 in exemplars.boxes]])
    labels = torch.tensor([exemplars.positive]).long()
    with torch.inference_mode():
        stock = checkpoint.model(**inputs, input_boxes=boxes, input_boxes_labels=labels)
    scores = stock.pred_logits[0].sigmoid()
    assert len(found.scores) == len(scores) == checkpoint.model.config.detr_decoder_config.num_queries
    assert found.presence == pytest.approx(float(stock.presence_logits.sigmoid()), abs=1e-4)
    assert found.object_score == pytest.approx(float(scores.max()), abs=1e-4)
    close = dict(rtol=0, atol=1e-4)
    torch.testing.assert_close(found.scores, scores, **close)
    torch.testing.assert_close(found.confidences, scores * found.presence, **close)
    torch.testing.assert_close(found.boxes, stock.pred_boxes[0], **close)
    torch.testing.assert_close(found.masks.sigmoid(), stock.pred_masks[0].sigmoid(), **close)


@pytest.mark.parametrize("cls_token", [False, True])
def test_pairs_with_and_without_examples_are_what_they_are_alone(precise, image, cls_token):
    """Of two images, with phrases of different lengths, and none to three boxes; in chunks of five, two and one."""
    detector = ConceptDetector(precise, cls_token=cls_token)
    features = encoded(detector, image, image[:, ::-1].copy())
    asked = [
        Asked(0, 0, "owl", 0.0), Asked(1, 0, VISUAL, 0.0, EXAMPLES[2]), Asked(0, 1, "yellow fire truck", 0.0),
        Asked(0, 2, "the fox", 0.0, EXAMPLES[0]), Asked(1, 3, "owl", 0.0, EXAMPLES[1]),
    ]
    alone = {one: found for one in asked for found in detector.find(features, [one])}
    bare = next(iter(detector.find(features, [replace(asked[3], exemplars=None)])))
    assert (bare.scores - alone[asked[3]].scores).abs().max() > 1e-3  # or examples would say nothing
    for chunk in (5, 2, 1):
        together = ConceptDetector(precise, cls_token=cls_token, pairs_per_chunk=chunk).find(features, asked)
        found = {f.asked: f for f in together}
        assert set(found) == set(asked)
        for one, answer in found.items():
            assert_close(answer, alone[one])


# ------------------------------------------------------------------------------ an object pointed at


@pytest.mark.parametrize(("prompt", "who", "several"), [
    (ObjectPrompt(1, 0, relative(LEFT)), LEFT, False),  # a box says as much as two points
    (ObjectPrompt(1, 0, points=(centre(RIGHT),), on=(True,)), RIGHT, True),
    (ObjectPrompt(1, 0, points=(centre(RIGHT), centre(LEFT)), on=(True, False)), RIGHT, False),
    (ObjectPrompt(1, 0, (0.0, 0.0, 0.6, 0.6), (centre(LEFT),), (False,)), MIDDLE, False),
    (ObjectPrompt(1, 0, relative(BELOW)), None, False),
])
def test_the_best_of_what_the_network_offers_is_drawn(prompt, who, several):
    network = ScriptedNetwork(Script((Actor(LEFT), Actor(MIDDLE), Actor(RIGHT))))
    answer = draw(network, network.without_memory(network.features(torch.zeros(1))), prompt)
    assert [d.several for d in network.draws] == [several]
    assert (answer is None) == (who is None)
    assert who is None or (torch.equal(answer.mask > 0, drawn(who) > 0) and answer.quality == network.quality)


def test_a_box_goes_around_the_whole_object():
    """What the network draws beyond it, and a margin of 15 %, is something else."""
    network = ScriptedNetwork(Script((Actor((0, 2, 16, 8)),)))
    answer = draw(network, network.without_memory(network.features(torch.zeros(1))), ObjectPrompt(1, 0, (0, 0, 0.5, 1)))
    assert torch.equal(answer.mask > 0, drawn((0, 2, 9, 8)) > 0)


def passing(step: int) -> Box:
    """From left to right, below."""
    return step // 3, 9, step // 3 + 5, 15


NINTH = passing(8)
WAYS = {
    "box": ObjectPrompt(7, 0, relative(NINTH)),
    "point": ObjectPrompt(None, 0, points=(centre(NINTH),), on=(True,)),
    "points": ObjectPrompt(None, 0, points=(centre(NINTH), centre(LEFT), (0.99, 0.99)), on=(True, False, False)),
    "both": ObjectPrompt(7, 0, (0, 0, 1, 1), (centre(NINTH),), (True,)),
}


@pytest.mark.parametrize("prompt", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("phrases", [UNKNOWN, KNOWN])
def test_an_object_is_one_masklet_from_the_first_frame_to_the_last(prompt, backward, phrases):
    """Whether words would find it or not; and what words find keeps its number, too."""
    script = Script((Actor(LEFT), Actor(passing, phrases=phrases)))
    results = play(script, {9: FramePrompts(objects=[prompt])}, backward=backward)
    assert seen(results) == [{1: passing(k), 2: LEFT} for k in range(COUNT)]
    for mine, _ in (r.concepts[0].instances for r in results):
        assert (mine.phrase, mine.birth_score) == (None, ScriptedNetwork.quality)
        assert mine.presence == pytest.approx(0.9)
        assert mine.object_score == (pytest.approx(1.0) if phrases == KNOWN else None)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize(("look_back", "onward"), [(True, True), (True, False), (False, True)])
def test_from_where_and_how_far_an_object_is_followed(backward, look_back, onward):
    script = Script((Actor(passing, phrases=UNKNOWN), Actor(LEFT)))
    results = play(script, {9: pointed(NINTH)}, look_back=look_back, onward=onward, backward=backward)
    earlier, later = (onward, look_back) if backward else (look_back, onward)
    there = [k == 8 or (earlier if k < 8 else later) for k in range(COUNT)]
    mine, other = (1, 2) if look_back else (2, 1)  # what is looked back for comes first
    assert seen(results) == [{other: LEFT} | ({mine: passing(k)} if t else {}) for k, t in enumerate(there)]


def test_no_masklet_shows_twice_where_the_way_back_was_lost():
    """The tracker cannot follow it back beyond the sixth frame, and there words find it."""
    way_back = Actor(MIDDLE, followed=lambda step: MIDDLE if step >= 5 else None)
    results = play(Script((way_back, Actor(RIGHT))), {15: pointed(MIDDLE)}, hotstart_delay=0)
    for step, frame in enumerate(seen(results)):
        assert sorted(frame.values()) in ([MIDDLE, RIGHT], [RIGHT])
        assert frame.get(1) == (MIDDLE if step >= 5 else None)


@pytest.mark.parametrize(("look_back", "start"), [(False, 9), (True, 0)])
def test_objects_of_one_frame_are_their_concepts(look_back, start):
    """Two of one concept, and one of another on the same place; numbers are unique over all."""
    objects = [ObjectPrompt(None, c, relative(box)) for c, box in ((0, LEFT), (0, RIGHT), (1, LEFT))]
    script = Script((Actor(LEFT, phrases=UNKNOWN), Actor(RIGHT, phrases=UNKNOWN)))
    results = play(script, {10: FramePrompts(objects=objects)}, parse_concepts("a, b"), look_back=look_back)
    assert seen(results) == [{}] * start + [{1: LEFT, 2: RIGHT}] * (COUNT - start)
    assert seen(results, 1) == [{}] * start + [{3: LEFT}] * (COUNT - start)


# ------------------------------------------------------------------------------ an object corrected

#: parts of MIDDLE, of more and of less than half of it
MUCH, LITTLE = (6, 2, 10, 6), (6, 2, 8, 6)


def mistaken(first: int, last: int, part: Box = LITTLE, phrases: tuple[str, ...] = UNKNOWN) -> Actor:
    """In MIDDLE; in some frames, the tracker takes a part for it."""
    return Actor(MIDDLE, followed=lambda step: part if first <= step <= last else MIDDLE, phrases=phrases)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("look_back", [False, True])
def test_one_key_is_one_masklet_and_a_later_prompt_corrects_it(look_back, backward):
    prompts = {7: pointed(MIDDLE, key=3), 16: pointed(MIDDLE, key=3)}
    tracker = Script((mistaken(10, 15), Actor(LEFT, phrases=UNKNOWN))).tracker()
    results = play(tracker, prompts, look_back=look_back, backward=backward)
    there = [look_back or (k <= 15 if backward else k >= 6) for k in range(COUNT)]
    assert seen(results) == [
        {1: LITTLE if 10 <= k <= 14 else MIDDLE} if t else {} for k, t in enumerate(there)
    ]
    # what the tracker took it for is what the second prompt on the way corrects
    corrected = [d for d in tracker.network.draws if d.known is not None][-1]
    assert corrected.step == (6 if backward else 15)
    assert torch.equal(corrected.before > 0, drawn(MIDDLE if backward else LITTLE) > 0)


def test_a_correction_is_remembered_for_good():
    prompts = {4: pointed(MIDDLE, key=3), 12: pointed(MIDDLE, key=3)}
    tracker = Script((mistaken(8, 11),)).tracker(recondition_every_nth_frame=0)
    session = Session(tracker, THING, given=Given(prompts))
    for number, image in frames(COUNT):
        list(session.advance(number, image))
    (track,) = session.tracks
    assert track.given and [k for k, e in track.entries.items() if e.conditioning] == [3, 11]
    noted = {step: masks[0] > 0 for step, masks, was_given in tracker.network.remembered if was_given}
    assert set(noted) == {3, 11} and all(torch.equal(mask, drawn(MIDDLE) > 0) for mask in noted.values())


def test_points_beside_an_object_correct_it():
    """They mean nothing by themselves; the key tells whom they are about."""
    beside = ObjectPrompt(3, 0, points=(centre(LEFT),), on=(False,))
    tracker = Script((Actor(LEFT, phrases=UNKNOWN), mistaken(5, 9))).tracker()
    results = play(tracker, {2: pointed(MIDDLE, key=3), 10: FramePrompts(objects=[beside])}, look_back=False)
    assert seen(results) == [{}] + [{1: LITTLE if 5 <= k <= 8 else MIDDLE} for k in range(1, COUNT)]
    assert [(d.step, d.known) for d in tracker.network.draws] == [(1, None), (9, 1)]


def test_without_a_key_a_prompt_means_the_masklet_that_lies_there():
    """If it is one of that concept, and half of it or more lies there."""
    script = Script((mistaken(3, COUNT, MUCH, KNOWN),))
    found = [{1: MUCH if k >= 3 else MIDDLE} for k in range(COUNT)]
    results = play(script, {13: pointed(MIDDLE)}, look_back=False, recondition_every_nth_frame=0)
    assert seen(results) == [*found[:12], {1: MIDDLE}, *found[13:]]
    concepts = parse_concepts("thing, other")
    results = play(script, {13: pointed(MIDDLE, concept=1)}, concepts, look_back=False, recondition_every_nth_frame=0)
    assert seen(results) == found
    assert seen(results, 1) == [{}] * 12 + [{2: MIDDLE}] + [{2: MUCH}] * (COUNT - 13)
    less = Script((mistaken(3, COUNT, LITTLE),))
    prompts = {1: pointed(MIDDLE, key=1), 13: pointed(MIDDLE)}
    results = play(less, prompts, look_back=False)
    assert [[i.masklet for i in r.concepts[0].instances] for r in results[11:13]] == [[1], [1, 2]]


def test_without_a_key_what_an_earlier_prompt_began_is_corrected_onward():
    """A trail brings the masklet."""
    results = play(Script((mistaken(10, 15, MUCH),)), {7: pointed(MIDDLE), 16: pointed(MIDDLE)})
    assert seen(results) == [{1: MUCH if 10 <= k <= 14 else MIDDLE} for k in range(COUNT)]


@pytest.mark.parametrize("look_back", [False, True])
def test_one_key_is_one_masklet_even_if_it_was_forgotten_in_between(look_back):
    actor = Actor(MIDDLE, followed=lambda step: None if 5 <= step < 16 else MIDDLE, phrases=UNKNOWN)
    prompts = {3: pointed(MIDDLE, key=3), 18: pointed(MIDDLE, key=3)}
    frames_ = seen(play(Script((actor,)), prompts, look_back=look_back, forget_after=6))
    assert frames_[2:5] == [{1: MIDDLE}] * 3 and frames_[17:] == [{1: MIDDLE}] * (COUNT - 17)


# ------------------------------------------------------------------------------ examples in a video


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("shown", [(), (LEFT,)])
def test_what_is_refused_is_in_no_frame(shown, backward):
    """It looks like the others to the words; whether an example goes with the counter-example or not."""
    script = Script((Actor(LEFT), Actor(RIGHT, 0.95), Actor(passing)))
    found = seen(play(script, {9: example(*shown, against=[RIGHT])}, backward=backward))
    left, other = list(found[0])[:2]
    assert found == [{left: LEFT, other: passing(k)} for k in range(COUNT)]


@pytest.mark.parametrize("delay", [0, 8])
def test_without_looking_back_what_is_refused_is_gone_from_there_on(delay):
    """And from the frames that are still held back."""
    script = Script((Actor(LEFT), Actor(RIGHT, 0.8), Actor(passing, 0.85)))
    results = play(script, {19: example(against=[RIGHT])}, look_back=False, hotstart_delay=delay)
    until = 18 - max(0, delay - 1)
    assert seen(results) == [{1: LEFT, 2: passing(k)} | ({3: RIGHT} if k < until else {}) for k in range(COUNT)]


def wordless() -> tuple[ConceptTracker, tuple[Concept, ...]]:
    """Two that look alike, one that does not; a concept without words beside one with."""
    script = Script((Actor(LEFT, phrases=UNKNOWN), Actor(passing, phrases=UNKNOWN), Actor(RIGHT)))
    return script.tracker(), (Concept("mine", ()), *THING)


@pytest.mark.parametrize("look_back", [False, True])
@pytest.mark.parametrize("examples", [(9,), (3, 9)])
def test_a_concept_without_words_is_asked_only_where_it_has_an_example(look_back, examples):
    """What the example finds is followed everywhere, and nothing speaks against it."""
    tracker, concepts = wordless()
    results = play(tracker, {n: example(LEFT) for n in examples}, concepts, look_back=look_back)
    first = 0 if look_back else examples[0] - 1
    left, other = seen(results)[-1]
    assert seen(results) == [{left: LEFT, other: passing(k)} if k >= first else {} for k in range(COUNT)]
    assert [list(frame.values()) for frame in seen(results, 1)] == [[RIGHT]] * COUNT
    for result in results:
        mine, words = result.concepts
        scores = (pytest.approx(0.9), pytest.approx(1.0)) if result.number in examples else (None, None)
        assert (mine.presence, mine.object_score) == scores and words.presence == pytest.approx(0.9)
        assert all(i.presence == mine.presence for i in mine.instances)
    asked = {(a.phrase, bool(a.exemplars)) for a in tracker.detector.asked if a.concept == 0}
    assert asked == {(VISUAL, True)}


def test_counter_examples_alone_ask_nothing():
    tracker, concepts = wordless()
    results = play(tracker, {9: example(against=[LEFT])}, concepts)
    assert seen(results) == [{}] * COUNT and [*map(len, seen(results, 1))] == [1] * COUNT
    assert {r.concepts[0].presence for r in results} == {None}
    assert {(a.concept, a.exemplars) for a in tracker.detector.asked} == {(1, None)}


# ------------------------------------------------------------------------------ nothing, and nothing that helps


@pytest.mark.parametrize("options", [{}, {"correct_with_detections": True}])
def test_without_prompts_nothing_changes(options):
    """With mistakes to withdraw, latecomers, and someone who is missed."""
    def unread() -> Iterator[Frame]:
        raise AssertionError("there is nothing to look for")
        yield

    script = Script((
        Actor(LEFT, lambda step: None if step % 5 == 2 else 0.9),
        Actor(MIDDLE, lambda step: 0.9 if step == 1 else None),
        Actor(RIGHT, lambda step: 0.8 if step > 6 else None), Actor(passing, 0.95, score=1.0),
    ))
    want = contents(list(script.tracker(**options).track(frames(COUNT), THING)))
    assert max(len(instances) for *_, instances in want) >= 3
    for prompts, before in (
        ({}, None), (None, unread()), ({}, unread()), ({5: FramePrompts()}, None),
        ({5: FramePrompts()}, list(frames(5))[::-1]), ({99: pointed(BELOW)}, None),
    ):
        got = script.tracker(**options).track(frames(COUNT), THING, prompts=prompts, before=before)
        assert contents(list(got)) == want


NOWHERE = (0, 14, 2, 16)


@pytest.mark.parametrize("look_back", [False, True])
@pytest.mark.parametrize("nothing", [
    pointed(NOWHERE), example(against=[NOWHERE]),
    FramePrompts(objects=[ObjectPrompt(5, 0, points=((0.01, 0.99),), on=(True,))]),
    FramePrompts(objects=[ObjectPrompt(None, 0, points=((0.01, 0.99),), on=(False,))]),
])
def test_what_cannot_be_drawn_is_told_and_costs_nothing_else(nothing, look_back, caplog):
    script = Script((Actor(LEFT), Actor(RIGHT, 0.8)))
    got = play(script, {9: nothing}, look_back=look_back)
    assert ["in frame 9: point closer" in r.getMessage() for r in caplog.records] == [True]
    assert caplog.records[0].levelno == logging.WARNING
    assert contents(got) == contents(play(script, None))


def test_a_correction_that_cannot_be_drawn_is_told_and_corrects_nothing(caplog):
    script, prompts = Script((Actor(LEFT, phrases=UNKNOWN),)), {3: pointed(LEFT, key=1)}
    got = play(script, {**prompts, 9: pointed(NOWHERE, key=1)}, look_back=False)
    assert contents(got) == contents(play(script, prompts, look_back=False))
    assert ["in frame 9: point closer" in r.getMessage() for r in caplog.records] == [True]


# ------------------------------------------------------------------------------ trails


def trailed(mask: np.ndarray, corner: tuple[int, int], size: tuple[int, int]) -> tuple[Given, Trail]:
    """A pass that ran backward over the frames 9 and 4, and was given an object in the frame 9."""
    passed = Given({}, backward=True)
    passed.tell(Track(1, 0, None, 0, 0.5, 30), 9, Wanted(ObjectPrompt(2, 0, (0.0, 0.0, 1.0, 1.0))))
    instance = TrackedInstance(1, 0.25, None, 0.5, None, corner, mask, None)
    for number in (9, 4):
        passed.note(FrameResult(number, size, (TrackedConcept("thing", None, None, (instance,)),)))
    (trail,) = passed.trails()
    return Given({}, passed), trail


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 40), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_trails_lose_nothing(seed, height, width, share):
    mask = np.random.default_rng(seed).random((height, width)) < share
    _, trail = trailed(mask, (3, 5), (64, 64))
    for number in (9, 4):
        kept = trail.at(number)
        assert kept.mask.dtype == bool and kept.mask.shape == mask.shape and np.array_equal(kept.mask, mask)
        assert (kept.masklet, kept.confidence, kept.corner) == (1, 0.25, (3, 5))
    assert trail.at(5) is None and (trail.number, trail.key, trail.first) == (1, 2, 9)


@given(st.integers(0, 2**32), st.sampled_from([4, 16]), st.integers(1, 6), st.integers(1, 6), st.floats(0.2, 0.8))
@settings(max_examples=60, deadline=None)
def test_masks_in_cells(seed, side, tall, wide, share):
    rng, size = np.random.default_rng(seed), (side * tall, side * wide)
    y0, x0 = rng.integers(0, size[0]), rng.integers(0, size[1])
    y1, x1 = rng.integers(y0, size[0]) + 1, rng.integers(x0, size[1]) + 1
    mask = rng.random((y1 - y0, x1 - x0)) < share
    if not mask.any():
        return
    full = whole(((x0, y0), mask), size)
    area = cv2.resize(full.astype(np.float64), (side, side), interpolation=cv2.INTER_AREA)
    limit = min(0.5, area.max())
    got = _shrunk(((x0, y0), mask), size, side)
    clear = np.abs(area - limit) > 1e-6  # what is just half a cell may be either
    assert np.array_equal(got[clear], area[clear] > limit) and got.any()
    passed, trail = trailed(mask, (x0, y0), size)
    (ghost,) = passed.ghosts(4, side, size, torch.device("cpu"))
    assert ghost.trail is trail and np.array_equal(ghost.mask.numpy(), got)
    assert passed.ghosts(5, side, size, torch.device("cpu")) == []


def test_masks_in_cells_of_frames_that_are_no_multiple():
    """A square of 5 in 10 x 7 pixels, on 4 x 4 cells: which cells it covers by half, on paper."""
    want = np.zeros((4, 4), bool)
    want[0:2, 0:3] = True  # rows: 5 of 10 pixels are two cells; columns: 5 of 7 are 2.86 cells
    assert np.array_equal(_shrunk(((0, 0), np.ones((5, 5), bool)), (10, 7), 4), want)


# ------------------------------------------------------------------------------ the small checkpoint


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_object_of_a_clip_is_followed_both_ways(dtype):
    """Pointed at by a box and corrected by a box and a point; of a concept without words."""
    loaded = load_checkpoint(TINY, device="cpu", dtype=dtype, tracker=True)
    tracker = ConceptTracker(ConceptDetector(loaded), loaded.tracker, TrackerSettings.of(loaded.tracker_config))
    film = [(image, there[0]) for image, there in sample_clip(0, frames=9).play(0.25, range(3))]
    images = [(k + 1, image) for k, (image, _) in enumerate(film)]
    prompts = {}
    for number in (2, 3):
        there = film[number - 1][1]
        (ys, xs), (height, width) = np.nonzero(there), there.shape
        box = (xs.min() / width, ys.min() / height, (xs.max() + 1) / width, (ys.max() + 1) / height)
        middle = ((float(np.median(xs)) / width, float(np.median(ys)) / height),)
        prompt = ObjectPrompt(1, 0, box, *(() if number == 2 else (middle, (True,))))
        prompts[number] = FramePrompts(objects=[prompt])
    results = list(tracker.track(images, [Concept("mine", ())], prompts=prompts, before=images[2::-1]))
    assert [[i.masklet for i in r.concepts[0].instances] for r in results] == [[1]] * len(film)
    for result, (_, there) in zip(results, film, strict=True):
        mine = whole(result.concepts[0].instances[0], result.size)
        assert (mine & there).sum() / (mine | there).sum() > 0.6
