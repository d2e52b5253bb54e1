"""Labels: box and mask of a detection name the very same pixels, and nothing of a result is lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.engine.results import ConceptResult, Instance
from zoo.labels import ATTRIBUTES, to_detections


def instance(corner: tuple[int, int], mask: np.ndarray, **changes) -> Instance:
    values = dict(confidence=0.4, object_score=0.8, presence=0.5, box=(0.0, 0.0, 1.0, 1.0), phrase="a dog")
    return Instance(corner=corner, mask=mask, **{**values, **changes})


def result(*instances: Instance, label: str = "dog") -> ConceptResult:
    return ConceptResult(label, 0.5, 0.8, instances, len(instances), 0.3)


def test_nothing_of_an_instance_is_lost():
    mask = np.array([[True, False], [True, True]])

    (detection,) = to_detections([result(instance((3, 4), mask))], (10, 20))

    assert detection.label == "dog"
    assert detection.bounding_box == [3 / 20, 4 / 10, 2 / 20, 2 / 10]
    assert detection.mask.dtype == bool
    assert np.array_equal(detection.mask, mask)
    assert (detection.confidence, detection.presence, detection.object_score) == (0.4, 0.5, 0.8)
    assert detection.phrase == "a dog"
    assert set(ATTRIBUTES) == {"presence", "object_score", "phrase"}


def test_concept_by_concept_in_the_order_given():
    one = np.ones((1, 1), bool)
    dogs = result(instance((0, 0), one, confidence=0.9), instance((1, 0), one, confidence=0.4))
    owls = result(instance((0, 1), one, confidence=0.7), label="owl")

    detections = to_detections([dogs, result(label="cat"), owls], (5, 5))

    assert [(d.label, d.confidence) for d in detections] == [("dog", 0.9), ("dog", 0.4), ("owl", 0.7)]


@st.composite
def places(draw) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Size of an image, corner and shape of a mask within it."""
    height, width = draw(st.integers(1, 12_000)), draw(st.integers(1, 20_000))
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    rows, columns = draw(st.integers(1, min(50, height - y))), draw(st.integers(1, min(50, width - x)))
    return (height, width), (x, y), (rows, columns)


@given(places())
def test_box_gives_back_the_exact_pixels(place):
    (height, width), (x, y), shape = place

    (detection,) = to_detections([result(instance((x, y), np.ones(shape, bool)))], (height, width))

    left, top, across, down = detection.bounding_box
    assert (round(left * width), round(top * height)) == (x, y)
    assert (round(down * height), round(across * width)) == shape == detection.mask.shape
    # how FiftyOne finds out the image's size when it compares masks
    assert (round(shape[0] / down), round(shape[1] / across)) == (height, width)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((2.5, 3.5, 6.2, 7.0), (2, 3, 5, 4)),
        ((-4.0, -3.0, 2.0, 2.0), (0, 0, 2, 2)),  # leaves the image
        ((8.0, 8.0, 8.0, 8.0), (8, 8, 1, 1)),  # no area
        ((30.0, 30.0, 40.0, 40.0), (19, 9, 1, 1)),  # outside altogether
    ],
)
def test_an_instance_without_pixels_keeps_its_box_and_an_empty_mask(box, expected):
    nothing = np.zeros((0, 0), bool)

    (detection,) = to_detections([result(instance((0, 0), nothing, box=box))], (10, 20))

    left, top, across, down = detection.bounding_box
    assert (round(left * 20), round(top * 10), round(across * 20), round(down * 10)) == expected
    assert detection.mask.shape == (expected[3], expected[2])
    assert not detection.mask.any()
