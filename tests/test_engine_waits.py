"""The tracking loop asks a GPU for numbers a few times a frame, however much it follows."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from support.waits import counted

from benchmarks.sides import stream
from zoo.engine import session as session_module
from zoo.engine.checkpoint import TINY, load_checkpoint
from zoo.engine.concepts import parse_concepts
from zoo.engine.detector import ConceptDetector
from zoo.engine.session import Session
from zoo.engine.tracker import ConceptTracker
from zoo.engine.tracker_settings import TrackerSettings
from zoo.engine.transfers import fetch, rows_of

#: frames until everything is followed, and remembers as much as can be
STEADY = 18


@pytest.fixture(scope="module")
def waits() -> Callable[..., tuple[int, Counter[str]]]:
    """How many objects are followed in one frame, and where the host waits in it; masks are not brought to size."""
    loaded = load_checkpoint(TINY, device="cpu", tracker=True)
    plain = ConceptTracker(ConceptDetector(loaded), loaded.tracker, TrackerSettings.of(loaded.tracker_config))

    def in_one_frame(phrases: str, **settings) -> tuple[int, Counter[str]]:
        tracker = ConceptTracker(plain.detector, plain.network, replace(plain.settings, **settings))
        session, encoded = Session(tracker, parse_concepts(phrases)), []
        for number, image in stream(STEADY + 1):
            if number <= STEADY:
                list(session.advance(number, image))
            else:
                encoded.append(tracker.encode(tracker.squeeze((number, image))))
        with counted(without=[(session_module, "cropping")]) as found:
            list(session.work(encoded[0]))
        # the detector's answers are one transfer, whatever is asked
        places = Counter({place: n for place, n in found.places.items() if not place.startswith("detector.py")})
        return len(session.tracks), places

    return functools.cache(in_one_frame)


def test_how_often_does_not_depend_on_how_much_is_followed(waits):
    three, few = waits("red car")
    eight, many = waits("car")
    assert (three, eight) == (3, 8)
    assert few == many
    # duplicates, what is to be mended, who is who, and what overlaps
    assert sum(many.values()) == 4 and set(many.values()) == {1}, many


def test_nor_on_how_many_concepts_are_asked(waits):
    one, three = waits("car")[1], waits("red car, blue car, green car")[1]
    assert three == one


def test_less_where_the_detector_rests(waits):
    assert sum(waits("car", detect_every=4)[1].values()) < sum(waits("car")[1].values())


def test_what_is_fetched_together_is_what_it_was():
    parts = torch.rand(3, 4), torch.zeros(0, 5), torch.tensor([True, False]), torch.arange(6).view(1, 2, 3)
    got = fetch(*parts)
    assert [tuple(g.shape) for g in got] == [tuple(p.shape) for p in parts]
    for one, other in zip(got, parts, strict=True):
        assert (one == other.float().numpy()).all()


def test_all_rows_are_the_tensor_itself():
    tensor = torch.rand(4, 2)
    assert rows_of(tensor, range(4)) is tensor
    assert torch.equal(rows_of(tensor, (2, 0)), tensor[[2, 0]]) and rows_of(tensor, ()).shape == (0, 2)
