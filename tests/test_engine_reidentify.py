"""Who comes back: look-alikes are told apart by where they were going, their size and their looks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.scripts import SIDE, Actor, Script, frames
from torch import Tensor

from zoo.engine.association import pairwise_iou
from zoo.engine.concepts import parse_concepts
from zoo.engine.reidentify import Whereabouts, identify, looks, places, settle

THING = parse_concepts("thing")
HERE = torch.tensor([1.0, 0.0])
CELLS = 56


def box(x: float, y: float, width: float = 10, height: float = 8) -> tuple[float, float, float, float]:
    """A box around a centre."""
    return (x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def gone(*seen: tuple[int, tuple[float, float, float, float]], face: Tensor = HERE) -> Whereabouts:
    """A masklet that was seen so, and then no more."""
    way = Whereabouts()
    for step, place in seen:
        way.note(step, place, face)
    return way


def masks(*boxes: tuple[float, float, float, float]) -> Tensor:
    drawn = torch.zeros(len(boxes), CELLS, CELLS, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(drawn, boxes, strict=True):
        mask[max(0, int(y0)) : int(y1), max(0, int(x0)) : int(x1)] = True
    return drawn


# ------------------------------------------------------------------------------ where it would be


@given(st.floats(-2, 2), st.floats(-2, 2), st.integers(0, 12))
@settings(deadline=None)
def test_what_goes_straight_is_expected_further_on(across, down, ahead):
    way = gone(*((t, box(28 + across * t, 28 + down * t)) for t in range(6)))
    x, y = way.expected(5 + ahead, CELLS)
    assert x == pytest.approx(np.clip(28 + across * (5 + ahead), -5, CELLS + 5), abs=1e-6)
    assert y == pytest.approx(np.clip(28 + down * (5 + ahead), -4, CELLS + 4), abs=1e-6)


def test_what_slides_behind_something_is_judged_by_the_edge_that_is_seen():
    """A wall at 30: the front edge stands still there, the centre lags behind, and the back edge goes on."""
    places_ = [(x - 5.0, 10.0, min(x + 5.0, 30.0), 18.0) for x in range(16, 34, 2)]
    way = gone(*enumerate(places_))
    last = 16 + 2 * (len(places_) - 1)
    assert way.expected(len(places_) - 1 + 4, CELLS) == pytest.approx((last + 8, 14), abs=0.5)
    # its height shrinks too, because what hides it hides its high parts; that is no motion
    low = [(x0, 10.0 + (3 if x1 - x0 < 7 else 0), x1, 18.0) for x0, _, x1, _ in places_]
    assert gone(*enumerate(low)).expected(len(low) - 1 + 4, CELLS)[1] == pytest.approx(14, abs=0.5)


def test_nothing_goes_on_for_ever():
    way = gone(*((t, box(28, 28 + 0.5 * t)) for t in range(6)))
    assert way.expected(5 + 16, CELLS) == way.expected(5 + 300, CELLS)
    fast = gone(*((t, box(10 + 6 * t, 28)) for t in range(4)))
    assert fast.expected(300, CELLS)[0] == CELLS + 5  # just outside: it may come back there


def test_a_part_of_it_may_be_on_either_side_of_what_hides_it():
    way = gone(*((t, box(28, 28)) for t in range(4)))
    assert way.off(4, (23.0, 24.0, 26.0, 32.0), CELLS) == way.off(4, (30.0, 24.0, 33.0, 32.0), CELLS) == 0.0
    assert way.off(4, box(48, 28), CELLS) == pytest.approx(20 / 80**0.5)
    assert way.larger(box(0, 0, 5, 8)) < way.larger(box(0, 0, 20, 8)) and way.larger(box(3, 3)) == 0


def test_looks_are_of_what_lies_under_the_mask():
    coarse = torch.zeros(1, 2, 2, 2)
    coarse[0, 0, :, 0], coarse[0, 1, :, 1] = 1.0, 1.0
    left, right = looks(masks((0, 0, 28, 56), (28, 0, 56, 56)), coarse)
    assert left @ right == pytest.approx(-1.0) and left.norm() == pytest.approx(1.0)
    assert places(masks((3, 5, 9, 11))) == [(3.0, 5.0, 9.0, 11.0)] and places(masks((0, 0, 0, 0))) == [(0.0,) * 4]


# ------------------------------------------------------------------------------ whose it is

EAST = [(t, box(10 + 2.0 * t, 20)) for t in range(6)]  # at 20, going right
WEST = [(t, box(46 - 2.0 * t, 20)) for t in range(6)]  # at 36, going left


def whose(detections, tracks, known, step=12, faces=None):
    faces = torch.stack([HERE] * len(detections)) if faces is None else faces
    found = masks(*detections)
    iou = pairwise_iou(found, masks(*tracks)).numpy()
    return identify(iou, places(found), CELLS, faces, known, step, 0.1)


def test_two_that_passed_each_other_are_who_they_were():
    """The tracker says the opposite: it knows where each was last."""
    left, right = box(22, 20), box(34, 20)
    steady, found, astray = whose([left, right], [left, right], [gone(*EAST), gone(*WEST)])
    assert (steady, found, astray) == ({}, {0: 1, 1: 0}, [])


def test_what_is_followed_without_a_break_stays_who_it_is():
    known = [gone(*((t, box(20, 20)) for t in range(12))), gone(*WEST)]
    steady, found, astray = whose([box(21, 20)], [box(21, 20), box(21, 20)], known)
    assert (steady, found) == ({0: 0}, {}) and astray == [1]  # the lost one has jumped onto it


def test_a_lost_one_is_found_though_the_tracker_does_not_see_it():
    steady, found, _ = whose([box(34, 20)], [(0, 0, 0, 0)], [gone(*EAST)])
    assert (steady, found) == ({}, {0: 0})


@pytest.mark.parametrize(
    ("place", "face"),
    [(box(34, 20, 40, 40), HERE), (box(34, 20, 14, 10), -HERE)],
)
def test_what_is_too_unlike_is_another(place, face):
    assert whose([place], [(0, 0, 0, 0)], [gone(*EAST)], faces=face[None])[1] == {}


def test_nobody_is_far_away_at_once():
    known = [gone(*((t, box(10, 20)) for t in range(12)))]
    assert whose([box(50, 50)], [(0, 0, 0, 0)], known)[:2] == ({}, {})
    assert whose([box(50, 50)], [(0, 0, 0, 0)], known, step=30)[1] == {0: 0}  # in the meantime it may have come


def test_who_was_taken_for_another_is_seen_once_both_are_seen_whole():
    """Two of different size came back with each other's numbers."""
    small, large = box(20, 20, 8, 8), box(36, 20, 14, 14)
    one, other = gone(*((t, small) for t in range(6))), gone(*((t, large) for t in range(6)))
    for way, seen in ((one, box(30, 20, 14, 14)), (other, box(22, 20, 8, 8))):
        way.found_again(10)
        for step in range(10, 16):
            way.note(step, seen, HERE)
    assert [settle([one, other], step, CELLS) for step in (14, 15, 16)] == [None, (0, 1), None]
    right = [gone(*((t, small) for t in range(6))), gone(*((t, large) for t in range(6)))]
    for way, seen in zip(right, (box(22, 20, 8, 8), box(30, 20, 14, 14)), strict=True):
        way.found_again(10)
        for step in range(10, 16):
            way.note(step, seen, HERE)
    assert settle(right, 15, CELLS) is None


# ------------------------------------------------------------------------------ in a video


def crossing(swap: bool) -> Script:
    """Two pass each other unseen; for the tracker each comes out where it went in (``swap``), or not at all."""
    def way(start: int, speed: float):
        return lambda t: (x := int(np.clip(round(start + speed * t), 0, 13)), 4, x + 3, 8)

    east, west = way(0, 0.65), way(13, -0.65)

    def hidden(t: int) -> bool:
        return 6 <= t < 16

    def followed(own, other):
        return lambda t: None if hidden(t) or (not swap and t >= 16) else (other(t) if t >= 16 else own(t))

    return Script(tuple(
        Actor(own, lambda t: None if hidden(t) else 0.9, followed(own, other))
        for own, other in ((east, west), (west, east))
    ))


def numbers_by_place(script: Script, **options) -> list[list[int]]:
    """Per frame, masklets from left to right."""
    results = script.tracker(**options).track(frames(20), THING)
    return [[i.masklet for i in sorted(r.concepts[0].instances, key=lambda i: i.corner)] for r in results]


@pytest.mark.parametrize("swap", [False, True])
def test_numbers_cross_with_their_objects(swap):
    seen = numbers_by_place(crossing(swap), reidentify=True, fill_hole_area=0)
    assert seen[0] == [1, 2] and seen[16:] == [[2, 1]] * 4
    assert numbers_by_place(crossing(swap), fill_hole_area=0)[-1] != [2, 1]  # upstream's rules alone
    assert SIDE == 16


def test_a_mistake_is_mended_in_the_frames_that_are_held_back():
    """Both are gone, and come back where the other was; of the large one, little is seen at first."""
    def gone(t: int) -> bool:
        return 6 <= t < 10

    def small(t: int):
        return (1, 6, 3, 8) if t < 6 else (11, 6, 13, 8)

    def large(t: int):
        out = {10: (2, 6, 4, 8), 11: (2, 5, 4, 8), 12: (2, 5, 5, 8), 13: (1, 5, 5, 9)}
        return (9, 4, 14, 9) if t < 6 else out.get(t, (1, 4, 6, 9))

    script = Script(tuple(
        Actor(where, lambda t: None if gone(t) else 0.9, lambda t, where=where: None if gone(t) else where(t))
        for where in (small, large)
    ))

    def numbers(**options) -> list[list[int]]:
        tracker = script.tracker(reidentify=True, fill_hole_area=0, **options)
        tracker.network._check = lambda memory, step: None  # for some frames it remembers the wrong one
        results = tracker.track(frames(20), THING)
        return [[i.masklet for i in sorted(r.concepts[0].instances, key=lambda i: i.corner)] for r in results]

    assert numbers()[:6] == [[1, 2]] * 6 and numbers()[10:] == [[2, 1]] * 10
    # without a hot start nothing is held back, and what was said was said
    assert numbers(hotstart_delay=0)[10:] == [[1, 2]] * 10


def test_it_is_off_unless_asked_for():
    from zoo.engine.tracker_settings import TrackerSettings

    assert TrackerSettings().reidentify is False
