"""Tiles: how an image is cut, and how what lies across seams is put together. The detector sees rectangles, exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.engine.concepts import Concept
from zoo.engine.errors import ConceptError
from zoo.engine.masks import tight
from zoo.engine.results import ConceptResult, Instance
from zoo.engine.tiles import TileSettings, cut, detect_tiled, tiles

SIZE = (200, 400)  # height, width
CUT = TileSettings(tile_size=100, tile_overlap=0.25)


# -------------------------------------------------------------------------------------------------- how it is cut


@given(st.integers(1, 700), st.integers(1, 700), st.integers(16, 300), st.floats(0, 0.7))
@settings(max_examples=200, deadline=None)
def test_tiles_cover_the_image_are_equal_and_overlap(height, width, side, share):
    places = tiles((height, width), TileSettings(side, share, 100_000))
    if not places:
        assert height <= min(side, 2 * width) and width <= min(side, 2 * height)
        return
    seen = np.zeros((height, width), int)
    for x0, y0, x1, y1 in places:
        assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
        assert max(x1 - x0, y1 - y0) <= max(side, 1)
        seen[y0:y1, x0:x1] += 1
    assert seen.min() >= 1
    assert len({(x1 - x0, y1 - y0) for x0, y0, x1, y1 in places}) == 1
    columns = sorted({(x0, x1) for x0, _, x1, _ in places})
    for (_, end), (start, _) in zip(columns, columns[1:], strict=False):
        assert end - start >= int(share * (columns[0][1] - columns[0][0])) - 1


def test_very_long_images_have_tiles_that_are_not():
    places = tiles((50, 1000), TileSettings(400))
    assert len(places) > 10 and {(x1 - x0, y1 - y0) for x0, y0, x1, y1 in places} == {(100, 50)}
    assert tiles((50, 90), TileSettings(400)) == [] and tiles((50, 90), TileSettings()) == []


def test_the_whole_image_comes_first():
    image = np.arange(SIZE[0] * SIZE[1] * 3, dtype=np.uint32).reshape(*SIZE, 3).astype(np.uint8)
    places = tiles(SIZE, CUT)
    squares = cut(image, places, 100)
    assert squares.shape == (1 + len(places), 3, 100, 100)
    x0, y0, x1, y1 = places[3]
    assert (squares[4].permute(1, 2, 0).numpy() == image[y0:y1, x0:x1]).all()


@pytest.mark.parametrize(("said", "words"), [
    (dict(tile_size=8), "tile_size must be a whole number of at least 16, got 8"),
    (dict(tile_size="big"), "tile_size must be a whole number"), (dict(tile_size=100, tile_overlap=0.8), "below 0.75"),
    (dict(tile_size=100, max_tiles=0), "max_tiles must be a whole number of at least 1"),
])  # fmt: skip
def test_settings_that_make_no_sense(said, words):
    with pytest.raises(ConceptError, match=words):
        TileSettings(**said)


def test_too_many_tiles_are_refused():
    with pytest.raises(ConceptError, match="400 × 200 pixels needs 15 tiles of 100 pixels, and max_tiles is 14"):
        tiles(SIZE, TileSettings(100, 0.25, 14))


# ---------------------------------------------------------------------------------------- how it is put together


class Eyes:
    """Sees of each rectangle what lies in a tile, if it is at least ``least`` pixels of it."""

    def __init__(self, places, *rectangles, least=1, presence=0.8):
        self.places, self.rectangles, self.least, self.presence = places, rectangles, least, presence
        self.encoded = 0

    def encode_images(self, squares, sizes):
        first, self.encoded = self.encoded, self.encoded + len(sizes)
        assert sizes == [(y1 - y0, x1 - x0) for x0, y0, x1, y1 in self.places[first : self.encoded]]
        return range(first, self.encoded)

    def detect(self, features, concepts, *, threshold, floor):
        pairs = zip(features, concepts, strict=True)
        return [[self.of(c, self.places[k], threshold) for c in some] for k, some in pairs]

    def of(self, concept, place, threshold):
        found = []
        for box, confidence in self.rectangles:
            part = clip(box, place)
            if part and (part[2] - part[0]) * (part[3] - part[1]) >= self.least:
                found.append(instance(tuple(v - place[k % 2] for k, v in enumerate(part)), confidence))
        presence = self.presence if found else 0.1
        return ConceptResult(concept.label, presence, presence, tuple(found), len(found), threshold)


def clip(box, place):
    x0, y0, x1, y1 = (max(box[0], place[0]), max(box[1], place[1]), min(box[2], place[2]), min(box[3], place[3]))
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def instance(box, confidence):
    x0, y0, x1, y1 = box
    corner, mask = tight((x0, y0), np.ones((y1 - y0, x1 - x0), bool))
    return Instance(confidence, confidence, 0.8, tuple(map(float, box)), corner, mask, "a")


def completed(*rectangles, whole=(), least=1, size=SIZE, cutting=CUT, batch=4, presence=0.3):
    places = tiles(size, cutting)
    eyes = Eyes(places, *rectangles, least=least)
    concept = Concept("a", ("a",))
    seen = tuple(instance(box, confidence) for box, confidence in whole)
    before = ConceptResult("a", presence, presence, seen, len(seen), 0.5)
    squares = torch.zeros(len(places), 3, 8, 8, dtype=torch.uint8)
    (found,) = detect_tiled(eyes, squares, places, size, [before], [concept], batch=batch)
    assert eyes.encoded == len(places) and found.count == sum(i.confidence > 0.5 for i in found.instances)
    return found


def boxes(found):
    places = [(i.corner, i.mask.shape) for i in found.instances]
    return [(x, y, x + width, y + height) for (x, y), (height, width) in places]


@given(st.integers(0, 360), st.integers(0, 160), st.integers(4, 25), st.integers(4, 25))
@settings(max_examples=150, deadline=None)
def test_a_small_thing_is_one_thing_wherever_it_lies(x, y, width, height):
    box = x, y, min(x + width, 400), min(y + height, 200)
    found = completed((box, 0.9))
    assert boxes(found) == [box] and found.instances[0].mask.all()


def test_things_that_touch_are_not_one():
    left, right = (60, 50, 80, 70), (80, 50, 100, 70)
    assert sorted(boxes(completed((left, 0.9), (right, 0.8)))) == [left, right]


def test_a_large_thing_is_the_whole_images():
    large = (50, 20, 350, 180)
    found = completed((large, 0.9), whole=[(large, 0.7)])
    assert boxes(found) == [large] and found.instances[0].confidence == 0.7
    assert boxes(completed((large, 0.9))) == [], "tiles cannot see it whole, and do not guess"


def test_a_part_of_what_the_whole_image_shows_is_nothing_new():
    large, wheel = (50, 20, 350, 180), (110, 110, 125, 125)
    assert boxes(completed((wheel, 0.9), whole=[(large, 0.7)])) == [large]


def test_a_small_thing_that_both_have_found_has_the_finer_mask_and_the_better_score():
    seen, exact = (100, 100, 124, 124), (102, 101, 122, 121)
    found = completed((exact, 0.9), whole=[(seen, 0.7)])
    assert boxes(found) == [exact] and found.instances[0].confidence == 0.9
    found = completed((exact, 0.6), whole=[(seen, 0.7)])
    assert boxes(found) == [exact] and found.instances[0].confidence == 0.7


def test_what_a_seam_has_cut_off_is_nothing():
    crossing = (90, 30, 160, 45)  # longer than the overlap: no tile has it whole
    joined = completed((crossing, 0.9), cutting=TileSettings(150, 0.25))
    assert boxes(joined) == [crossing]
    half_blind = completed((crossing, 0.9), least=500)
    assert boxes(half_blind) == []


def test_presence_is_that_of_the_best_look_that_found_something():
    small = (10, 10, 20, 20)
    assert completed((small, 0.9), presence=0.3).presence == 0.8
    assert completed((small, 0.9), presence=0.95).presence == 0.95
    assert completed((small, 0.4), presence=0.3).presence == 0.3, "below the threshold"
    assert completed(presence=0.05).presence == 0.05, "tiles alone say 0.1"


def test_a_concept_without_words_is_not_looked_for_in_tiles():
    places = tiles(SIZE, CUT)
    before = ConceptResult("a", 0.3, 0.3, (), 0, 0.5)
    squares = torch.zeros(len(places), 3, 8, 8, dtype=torch.uint8)
    assert detect_tiled(None, squares, places, SIZE, [before], [Concept("a", ())]) == [before]
