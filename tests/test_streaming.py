"""Batches that run ahead of their answers: in order, and what fails costs itself alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from test_engine_detector import assert_same

from emoji_world.scenes import render, sample_scene
from zoo.engine.concepts import parse_concepts
from zoo.image_model import Sam3ImageModel
from zoo.inputs import load
from zoo.questions import Question
from zoo.source import load_model

CONCEPTS = parse_concepts("owl, fox, ambulance")


@pytest.fixture(scope="module")
def model() -> Sam3ImageModel:
    return load_model("concepts/sam3-tiny-image", classes=["owl", "fox", "ambulance"], device="cpu")


@pytest.fixture(scope="module")
def batches(model) -> list[tuple[list, list[Question]]]:
    """One of two images, one of none, one of one, one of none at the end."""
    side = model.detector.checkpoint.side
    images = [load(render(sample_scene(seed), 0.25)[0], side) for seed in (10, 12, 4)]
    return [
        (images[:2], [Question(CONCEPTS), Question(CONCEPTS[:1])]), ([], []), (images[2:], [Question(CONCEPTS[1:])]),
        ([], []),
    ]  # fmt: skip


@pytest.fixture(params=[0, 1])
def ahead(request, model) -> Iterator[Sam3ImageModel]:
    """The model, as it runs on a CPU, and as on a GPU."""
    before, model.detector.lookahead = model.detector.lookahead, request.param
    yield model
    model.detector.lookahead = before


def assert_equal(got, want) -> None:
    assert len(got) == len(want)
    for one, other in zip(got, want, strict=True):
        assert_same(one, other)


def test_in_order_and_as_one_by_one(ahead, batches):
    got = list(ahead.stream(batches))
    assert [len(answers) for answers in got] == [2, 0, 1, 0]
    for answers, (images, questions) in zip(got, batches, strict=True):
        assert_equal(answers, ahead._detect(images, questions) if images else [])


def test_no_batches(ahead):
    assert list(ahead.stream([])) == []


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_image_that_fails_costs_itself(ahead, batches, monkeypatch, place, caplog):
    """Wherever it is: with others in its batch, alone, and with batches that are under way when it fails."""
    images = [image for some, _ in batches for image in some]
    bad, encode = images[place][0], ahead.detector.encode_images

    def broken(pixels, sizes, **options):
        if any(torch.equal(square, bad) for square in pixels):
            raise RuntimeError("CUDA out of memory")
        return encode(pixels, sizes, **options)

    want = [ahead._detect(some, questions) if some else [] for some, questions in batches]
    monkeypatch.setattr(ahead.detector, "encode_images", broken)
    got = list(ahead.stream(batches))
    assert [len(answers) for answers in got] == [2, 0, 1, 0]
    flat, expected = [a for answers in got for a in answers], [a for answers in want for a in answers]
    for k, (one, other) in enumerate(zip(flat, expected, strict=True)):
        if k == place:
            assert one == "RuntimeError: CUDA out of memory"
        else:
            assert_same(one, other)


def test_a_source_that_breaks_costs_nothing_that_it_gave(ahead, batches):
    def source():
        yield batches[0]
        yield batches[2]
        raise OSError("the loader died")

    got = []
    with pytest.raises(OSError, match="the loader died"):
        for answers in ahead.stream(source()):
            got.append(answers)
    assert [len(answers) for answers in got] == [2, 1]
    assert all(not isinstance(answer, str) for answers in got for answer in answers)


def test_what_is_no_batchs_fault_is_not_tried_for_ever(ahead, batches, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("the device is gone")
        yield

    monkeypatch.setattr(ahead.detector, "stream", broken)
    with pytest.raises(RuntimeError, match="the device is gone"):
        list(ahead.stream(batches))


def test_it_can_be_left_half_way(ahead, batches):
    stream = ahead.stream(iter(batches * 3))
    assert len(next(stream)) == 2
    stream.close()
    assert len(list(ahead.stream(batches))) == 4


def test_conflicts_are_settled_image_by_image(batches):
    """After a look ahead, too: what an answer is completed with is its own image's."""
    model = load_model("concepts/sam3-tiny-image", classes=["owl"], device="cpu", conflicts=dict(nms_thresh=0.5))
    model.detector.lookahead = 1
    for answers, (images, questions) in zip(model.stream(batches), batches, strict=True):
        assert_equal(answers, model._detect(images, questions) if images else [])
        for answer in answers:
            assert all(np.count_nonzero(i.mask) for result in answer for i in result.instances)
