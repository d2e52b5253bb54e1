"""Conflicts between instances, and specks and holes of masks: literal masks, and the network's answer left alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from zoo.engine.conflicts import ConflictSettings, settled, without_specks
from zoo.engine.errors import ConceptError
from zoo.engine.masks import overlap, tight
from zoo.engine.results import ConceptResult, Instance

MASKS = arrays(bool, (7, 9), elements=st.booleans())


def instance(confidence: float, box: tuple[int, int, int, int], mask: np.ndarray | None = None) -> Instance:
    """Pixels x0…x1, y0…y1."""
    x0, y0, x1, y1 = box
    whole = np.ones((y1 - y0, x1 - x0), bool) if mask is None else mask
    return Instance(confidence, confidence, 1.0, tuple(map(float, box)), (x0, y0), whole, "a")


def result(label: str, *instances: Instance, threshold: float = 0.5) -> ConceptResult:
    found = tuple(sorted(instances, key=lambda i: -i.confidence))
    return ConceptResult(label, 0.9, 0.95, found, sum(i.confidence > threshold for i in found), threshold)


CAR, AGAIN, WHEEL, FAR = (0, 0, 20, 10), (1, 0, 20, 10), (2, 6, 6, 10), (30, 0, 40, 10)


def kept(results, **options):
    return [[(i.corner, i.confidence) for i in r.instances] for r in settled(results, ConflictSettings(**options))]


def test_off_is_upstream():
    results = [result("car", instance(0.9, CAR), instance(0.8, AGAIN)), result("bus", instance(0.7, CAR))]
    assert not ConflictSettings() and not ConflictSettings(keep_parts=False)
    assert settled(results, ConflictSettings()) == results


def test_duplicates_of_a_concept_and_across_concepts():
    results = [
        result("car", instance(0.9, CAR), instance(0.8, AGAIN), instance(0.6, FAR)),
        result("bus", instance(0.95, AGAIN)),
    ]
    assert kept(results, nms_thresh=0.7) == [[((0, 0), 0.9), ((30, 0), 0.6)], [((1, 0), 0.95)]]
    assert kept(results, cross_nms_thresh=0.7) == [[((30, 0), 0.6)], [((1, 0), 0.95)]]
    assert kept(results, nms_thresh=0.96) == kept(results)
    counted = settled(results, ConflictSettings(cross_nms_thresh=0.7))
    assert [r.count for r in counted] == [1, 1] and [r.presence for r in counted] == [0.9, 0.9]


def test_a_part_is_no_conflict_unless_it_is_meant_to_be():
    results = [result("car", instance(0.9, CAR)), result("wheel", instance(0.8, WHEEL))]
    assert kept(results, cross_nms_thresh=0.5) == kept(results)
    assert kept(results, cross_nms_thresh=0.5, keep_parts=False) == [[((0, 0), 0.9)], []]
    large = [result("car", instance(0.7, CAR)), result("wheel", instance(0.8, WHEEL))]
    assert kept(large, cross_nms_thresh=0.5, keep_parts=False) == [[], [((2, 6), 0.8)]], "the more confident stays"


def test_small_things_go():
    results = [result("car", instance(0.9, CAR), instance(0.8, WHEEL))]
    assert kept(results, min_area=17) == [[((0, 0), 0.9)]]
    assert kept(results, min_area=16) == kept(results)
    empty = [result("car", instance(0.9, (3, 3, 3, 3), np.zeros((0, 0), bool)))]
    assert kept(empty, fill_holes=3) == kept(empty) and kept(empty, min_area=1) == [[]]


def test_holes_are_filled_and_pieces_go():
    ring = np.ones((5, 7), bool)
    ring[2, 2:5] = False  # a hole of three
    ring[0, 0] = False  # a bite, not a hole
    speck = np.zeros((5, 10), bool)
    speck[:, :7], speck[0, 9] = ring, True
    assert without_specks(((3, 4), ring), 2, 0)[1] is ring
    (corner, filled) = without_specks(((3, 4), ring), 3, 0)
    assert corner == (3, 4) and filled.sum() == 34 and not filled[0, 0]
    corner, tidy = without_specks(((3, 4), speck), 0, 2)
    assert corner == (3, 4) and tidy.shape == (5, 7) and (tidy == ring).all()
    two = np.array([[1, 0, 0], [0, 0, 1]], bool)
    assert without_specks(((0, 0), two), 0, 5)[1].sum() == 1, "the largest stays, however small"


@given(MASKS, st.integers(0, 12), st.integers(0, 12))
@settings(max_examples=120, deadline=None)
def test_specks_against_scipy(mask, fill, least):
    corner, mask = tight((2, 3), mask)
    if not mask.size:
        return
    expected = mask.copy()
    holes, count = ndimage.label(~mask)
    for k in range(1, count + 1):
        piece = holes == k
        edge = piece[0].any() or piece[-1].any() or piece[:, 0].any() or piece[:, -1].any()
        if not edge and piece.sum() <= fill:
            expected |= piece
    pieces, count = ndimage.label(expected, np.ones((3, 3)))
    areas = [(pieces == k).sum() for k in range(1, count + 1)]
    for k, area in enumerate(areas, 1):
        if area < least and k != 1 + int(np.argmax(areas)):
            expected &= pieces != k
    (x, y), found = without_specks((corner, mask), fill, least)
    whole = np.zeros_like(expected)
    whole[y - corner[1] : y - corner[1] + found.shape[0], x - corner[0] : x - corner[0] + found.shape[1]] = found
    assert (whole == expected).all()


@given(MASKS, MASKS, st.integers(-3, 3), st.integers(-3, 3))
@settings(max_examples=80, deadline=None)
def test_overlaps_are_those_of_whole_images(one, other, dx, dy):
    a, b = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    a[5:12, 5:14], b[5 + dy : 12 + dy, 5 + dx : 14 + dx] = one, other
    both, smaller = (a & b).sum(), min(a.sum(), b.sum())
    crops = ((5, 5), one), ((5 + dx, 5 + dy), other)
    assert overlap(*crops) == pytest.approx(both / (a | b).sum() if (a | b).any() else 0)
    assert overlap(*crops, of_smaller=True) == pytest.approx(both / smaller if smaller else 0)


@pytest.mark.parametrize(("options", "words"), [
    (dict(nms_thresh=0.0), "nms_thresh must be above 0"), (dict(cross_nms_thresh=1.2), "between 0 and 1, got 1.2"),
    (dict(min_area=-1), "min_area must be a whole number"), (dict(fill_holes=1.5), "fill_holes must be a whole number"),
    (dict(keep_parts="no"), "keep_parts must be True or False"),
])  # fmt: skip
def test_settings_that_make_no_sense(options, words):
    with pytest.raises(ConceptError, match=words):
        ConflictSettings(**options)
