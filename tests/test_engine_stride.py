"""The detector looks at every so manieth frame: a look stands for those since the last one, and all else waits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from support.scripts import SIDE, Actor, Script, contents, frames, relative
from test_engine_tracker import LEFT, MIDDLE, PATIENCE, RIGHT, THING, numbers, only, random_script, since, until

from zoo.engine.concepts import parse_concepts
from zoo.engine.errors import ConceptError
from zoo.engine.overlap_tracker import OverlapTracker
from zoo.engine.prompts import Exemplars, FramePrompts
from zoo.engine.results import FrameResult
from zoo.engine.session import Session
from zoo.engine.tracker_settings import TrackerSettings


def play(script: Script, count: int, every: int, concepts=THING, prompts=None, **settings) -> list[FrameResult]:
    tracker = script.tracker(detect_every=every, **settings)
    return list(tracker.track(frames(count), concepts, prompts=prompts))


def looks(results: list[FrameResult], concept: int = 0) -> list[int]:
    """The steps in which a concept has a presence."""
    return [r.number - 1 for r in results if r.concepts[concept].presence is not None]


@pytest.mark.parametrize("every", [1, 2, 3, 7])
def test_presence_is_what_was_asked_and_masklets_are_in_every_frame(every):
    script = Script((Actor(LEFT), Actor(RIGHT, 0.8)))
    tracker = script.tracker(detect_every=every)
    results = list(tracker.track(frames(30), THING))
    assert looks(results) == list(range(0, 30, every)) and len(tracker.detector.asked) == len(range(0, 30, every))
    assert numbers(results) == [[1, 2]] * 30
    for step, result in enumerate(results):
        (concept,) = result.concepts
        asked = step % every == 0
        assert (concept.object_score is None) != asked
        for instance in concept.instances:
            assert (instance.presence is None) == (instance.object_score is None) == (not asked)
            assert instance.birth_score > 0 and instance.confidence > 0.5


@pytest.mark.parametrize("every", [2, 5])
def test_what_comes_in_between_begins_at_the_next_look(every):
    results = play(Script((Actor(LEFT), Actor(RIGHT, since(6, 0.9)))), 20, every)
    first = -(-6 // every) * every
    assert numbers(results) == [[1]] * first + [[1, 2]] * (20 - first)


def test_what_is_withdrawn_does_not_depend_on_the_stride():
    """Eight frames speak against it, whether they were looked at or are spoken for."""
    script = Script((Actor(LEFT), Actor(RIGHT, only(0))))
    for every in (1, 2, 4, 8):
        session = Session(script.tracker(detect_every=every), THING)
        alive = []
        for number, image in frames(20):
            list(session.advance(number, image))
            alive.append(len(session.tracks))
        assert alive == [2] * 8 + [1] * 12
    # one that lies on an older one, too
    double = Script((Actor(LEFT), Actor(MIDDLE, only(0), followed=lambda step: MIDDLE if not step else LEFT)))
    for every in (1, 2, 4):
        assert numbers(play(double, 20, every)) == [[1]] * 20


def test_what_looks_confirm_stays():
    script = Script((Actor(LEFT), Actor(RIGHT, lambda step: 0.8 if step % 4 == 0 else None)))
    assert numbers(play(script, 40, 4)) == [[1, 2]] * 40


def test_a_masklet_that_is_hidden_is_hidden_until_a_look_confirms_it():
    script = Script((Actor(LEFT, lambda step: None if 4 <= step < 12 else 0.9),))
    hiding = dict(PATIENCE, suppress_unmatched_only_within_hotstart=False)
    every_frame, every_second = (numbers(play(script, 20, every, **hiding)) for every in (1, 2))
    assert every_frame == [[1]] * 6 + [[]] * 6 + [[1]] * 8
    assert every_second == [[1]] * 6 + [[]] * 6 + [[1]] * 8  # in the frames between two looks, too


@pytest.mark.parametrize(("every", "want"), [(1, [0, 16, 32]), (4, [0, 16, 32]), (5, [0, 20, 35]), (12, [0, 24, 36])])
def test_what_is_due_between_two_looks_is_done_at_the_next(every, want):
    session = Session(Script((Actor((0, 0, 5, 6), 0.95),)).tracker(detect_every=every), THING, prune=False)
    for number, image in frames(40):
        list(session.advance(number, image))
    assert sorted(k for k, e in session.tracks[0].entries.items() if e.conditioning) == want


def test_an_example_is_looked_for_in_its_own_frame():
    """And its label alone: the others wait."""
    script = Script((Actor(LEFT, phrases=("cat",)), Actor(RIGHT, phrases=("dog",))))
    prompts = {7: FramePrompts({0: Exemplars((relative(LEFT),), (True,))})}
    results = play(script, 20, 4, parse_concepts("cat, dog"), prompts)
    assert looks(results) == [0, 4, 6, 8, 12, 16] and looks(results, 1) == [0, 4, 8, 12, 16]
    # a look two frames after another speaks for two
    late = Script((Actor(LEFT), Actor((1, 9, 5, 15), only(0))))
    session = Session(late.tracker(detect_every=4), THING)
    spans = []
    for number, image in frames(9):
        spans.append(session.span(0))
        list(session.advance(number, image))
    assert [spans[k] for k in (0, 4, 8)] == [4, 4, 4]


def test_backwards_as_onwards():
    """``step`` counts the frames worked through, whatever their numbers."""
    script = Script((Actor(LEFT), Actor(RIGHT)))
    turned = [(20 - number, image) for number, image in frames(10)]
    results = list(script.tracker(detect_every=3).track(turned, THING))
    assert [r.number for r in results if r.concepts[0].presence is not None] == [19, 16, 13, 10]


def test_every_frame_is_upstreams_rule_and_the_default():
    assert TrackerSettings().detect_every == 1
    for seed in range(3):
        script = random_script(seed)
        assert contents(play(script, 30, 1)) == contents(list(script.tracker().track(frames(30), THING)))


@pytest.mark.parametrize("every", [2, 4])
@pytest.mark.parametrize("hidden", [0, 3])
def test_who_comes_back_keeps_its_number(every, hidden):
    """Two look-alikes side by side; with ``reidentify``, not being looked at is not being lost."""
    def moving(row: int) -> Callable[[int], tuple[int, int, int, int]]:
        return lambda step: (min(step // 2, 10), row, min(step // 2, 10) + 5, row + 6)

    script = Script((Actor(moving(1)), Actor(moving(9), lambda step: None if 8 <= step < 8 + hidden else 0.9)))
    assert numbers(play(script, 24, every, reidentify=True)) == [[1, 2]] * 24


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (dict(detect_every=0), "detect_every must be a whole number of at least 1, got 0"),
        (dict(detect_every=1.5), "detect_every must be a whole number of at least 1, got 1.5"),
        (dict(detect_every=15), "detect_every=15 never looks at a young masklet again within hotstart_delay=15"),
    ],
)
def test_a_stride_that_cannot_be_right(settings, reason):
    with pytest.raises(ConceptError, match=reason):
        TrackerSettings(**settings)


def test_strides_that_can():
    assert TrackerSettings(detect_every=14).detect_every == 14
    assert TrackerSettings(detect_every=100, hotstart_delay=0).detect_every == 100


def test_without_a_tracker_there_is_nothing_between_two_looks():
    with pytest.raises(ConceptError, match="nothing but detections, and cannot do with detect_every=2"):
        OverlapTracker(Script((Actor(LEFT),)).tracker(detect_every=2))


def test_a_long_stride_costs_no_masklet_and_no_frame():
    found = play(Script((Actor(LEFT, until(3)),)), 40, 100, hotstart_delay=0)
    assert numbers(found) == [[1]] * 40 and looks(found) == [0]
    mask = found[20].concepts[0].instances[0].mask
    assert mask.dtype == bool and np.count_nonzero(mask) > SIDE
