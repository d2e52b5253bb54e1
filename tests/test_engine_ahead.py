"""Reading and encoding ahead: the same things in the same order, errors in their place, and nothing left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.scripts import SIZE, Actor, Script, contents, frames
from test_engine_tracker import CONCEPTS, LEFT, RIGHT, THING

from emoji_world.clips import sample_clip
from zoo.engine.ahead import encode_ahead, read_ahead, tensors_of
from zoo.engine.checkpoint import TINY, load_checkpoint
from zoo.engine.detector import ConceptDetector
from zoo.engine.overlap_tracker import OverlapTracker
from zoo.engine.session import Session
from zoo.engine.tracker import ConceptTracker
from zoo.engine.tracker_settings import TrackerSettings

CPU = torch.device("cpu")


class Broken(Exception):
    pass


def counting(count: int, log: list[int], broken: int | None = None) -> Iterator[int]:
    for k in range(count):
        log.append(k)
        if k == broken:
            raise Broken(k)
        yield k


def both(items, prepare, depth: int) -> Iterator[int]:
    return encode_ahead(read_ahead(items, prepare, depth), lambda x: x * 10, CPU)


@given(st.integers(0, 12), st.integers(1, 4), st.none() | st.integers(0, 12), st.none() | st.integers(0, 12))
@settings(deadline=None, max_examples=40)
def test_the_same_in_the_same_order_and_errors_in_their_place(count, depth, torn, unusable):
    def prepare(item: int) -> int:
        if item == unusable:
            raise Broken(item)
        return item + 1

    bad = min([k for k in (torn, unusable) if k is not None and k < count], default=None)
    got = []
    try:
        for item in both(counting(count, [], torn), prepare, depth):
            got.append(item)
        assert bad is None
    except Broken as error:
        assert error.args == (bad,)
    assert got == [(k + 1) * 10 for k in range(count if bad is None else bad)]


def test_an_item_that_cannot_be_encoded_comes_after_those_before_it_and_ends_it():
    def encode(item: int) -> int:
        if item == 2:
            raise Broken(item)
        return item

    got, log = [], []
    with pytest.raises(Broken):
        for item in encode_ahead(counting(5, log), encode, CPU):
            got.append(item)
    assert got == [0, 1] and max(log) <= 3


def test_no_more_is_read_than_said_and_in_one_other_thread():
    log, threads = [], set()

    def prepare(item: int) -> int:
        threads.add(threading.get_ident())
        return item

    stream = read_ahead(counting(20, log), prepare, 3)
    assert not log  # nothing before the first is asked for
    for taken, item in enumerate(stream, 1):
        assert item == taken - 1
        deadline = time.monotonic() + 5
        while len(log) < min(20, taken + 3) and time.monotonic() < deadline:
            time.sleep(0.001)
        assert len(log) == min(20, taken + 3)
    assert len(threads) == 1 and threading.get_ident() not in threads


@pytest.mark.parametrize("way", ["close", "drop", "throw"])
def test_who_stops_leaves_no_thread_and_no_open_source(way):
    before, closed = threading.active_count(), []

    def source() -> Iterator[int]:
        try:
            yield from range(100)
        finally:
            closed.append(True)

    stream = both(source(), lambda x: x, 2)
    assert next(stream) == 0
    if way == "close":
        stream.close()
    elif way == "throw":
        with pytest.raises(Broken):
            stream.throw(Broken())
    del stream
    assert threading.active_count() == before and closed == [True]


def test_on_a_cpu_nothing_is_encoded_before_its_turn():
    encoded: list[int] = []

    def encode(item: int) -> int:
        encoded.append(item)
        return item

    for item in encode_ahead(iter(range(5)), encode, CPU):
        assert encoded == list(range(item + 1))


def test_every_tensor_of_what_was_encoded_is_found():
    @dataclass(frozen=True)
    class Held:
        one: torch.Tensor
        more: tuple
        name: str
        nothing: None = None

    a, b, c = (torch.zeros(k) for k in (1, 2, 3))
    assert [len(t) for t in tensors_of((Held(a, (b, [Held(c, (), "x")]), "y"), 7))] == [1, 2, 3]


# ------------------------------------------------------------------------------ tracking


@pytest.fixture(scope="module")
def tracker() -> ConceptTracker:
    loaded = load_checkpoint(TINY, device="cpu", tracker=True)
    return ConceptTracker(ConceptDetector(loaded), loaded.tracker, TrackerSettings.of(loaded.tracker_config))


def test_a_clip_gives_the_same_bit_by_bit(tracker):
    """As one frame after the other, none of them ahead."""
    clip = [(k + 1, image) for k, (image, _) in enumerate(sample_clip(7, frames=8).play(0.25))]
    session = Session(tracker, CONCEPTS)
    alone = [result for number, image in clip for result in session.advance(number, image)]
    alone += session.finish()
    told = list(tracker.track(iter(clip), CONCEPTS))
    assert [(r.number, r.size) for r in told] == [(r.number, r.size) for r in alone] and len(told) == 8
    for one, other in zip(told, alone, strict=True):
        for a, b in zip(one.concepts, other.concepts, strict=True):
            assert (a.presence, a.object_score, len(a.instances)) == (b.presence, b.object_score, len(b.instances))
            for i, j in zip(a.instances, b.instances, strict=True):
                assert (i.masklet, i.confidence, i.corner) == (j.masklet, j.confidence, j.corner)
                assert i.mask.tobytes() == j.mask.tobytes()
    assert sum(len(c.instances) for r in told for c in r.concepts) >= 8


def test_chains_and_what_is_followed_backward_are_read_ahead_too(monkeypatch):
    """And are what they are without."""
    from zoo.engine import overlap_tracker
    from zoo.engine import tracker as tracking
    from zoo.engine.prompts import FramePrompts, ObjectPrompt

    script = Script((Actor(LEFT), Actor(RIGHT, None)))
    middle = tuple((a + b) / 2 / 16 for a, b in ((RIGHT[0], RIGHT[2]), (RIGHT[1], RIGHT[3])))
    prompts = {6: FramePrompts({}, (ObjectPrompt(None, 0, None, (middle,), (True,)),))}
    before = list(frames(6))[::-1]

    def outcome() -> tuple[list, list]:
        pointed = script.tracker().track(frames(12), THING, prompts=prompts, before=iter(before))
        return contents(list(pointed)), contents(list(OverlapTracker(script.tracker()).track(frames(12), THING)))

    ahead = outcome()
    used = []

    def at_once(items, prepare):
        used.append(True)
        yield from map(prepare, items)

    for module in (tracking, overlap_tracker):
        monkeypatch.setattr(module, "read_ahead", at_once)
    assert outcome() == ahead and len(used) == 3
    assert all(size == SIZE for _, size, *_ in ahead[0]) and len(ahead[0]) == 12
    assert [len(found) for *_, found in ahead[0]] == [2] * 12
