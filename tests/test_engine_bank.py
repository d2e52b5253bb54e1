"""Examples in other images: what a canvas is made of, what comes back from it, and what tokens are."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from emoji_world.scenes import Placed, Scene, render
from emoji_world.vocabulary import Thing
from zoo.engine.bank import Shown, detect_beside, learn_bank, paste
from zoo.engine.checkpoint import TINY, load_checkpoint
from zoo.engine.concepts import Concept
from zoo.engine.detector import ConceptDetector
from zoo.engine.errors import ConceptError
from zoo.engine.images import to_square
from zoo.engine.prompts import MAX_EXEMPLARS, Exemplars

RED, GREEN = (250, 10, 10), (10, 250, 10)


@pytest.fixture(scope="module")
def detector() -> ConceptDetector:
    return ConceptDetector(load_checkpoint(TINY, device="cpu"))


def pasture(*objects: tuple[str, float, float], seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """A scene of things that stand where it is said."""
    placed = tuple(Placed(Thing(noun), x, y, 170.0, 0.0, False, 1.0) for noun, x, y in objects)
    return render(Scene(640, 640, seed, "gradient", placed))


def box_of(mask: np.ndarray) -> tuple[float, float, float, float]:
    height, width = mask.shape
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return xs[0] / width, ys[0] / height, (xs[-1] + 1) / width, (ys[-1] + 1) / height


def test_a_canvas_is_the_image_and_a_strip_of_examples():
    source = np.zeros((100, 200, 3), np.uint8)
    source[20:60, 50:90], source[70:90, 100:190] = RED, GREEN
    exemplars = Exemplars(((0.25, 0.2, 0.45, 0.6), (0.5, 0.7, 0.95, 0.9)), (True, False))
    image = np.full((120, 160, 3), 77, np.uint8)
    canvas, there = paste(image, [Shown(source, exemplars)])
    assert canvas.shape[0] == 120 and (canvas[:, :160] == image).all() and 200 <= canvas.shape[1] <= 220
    assert there.positive == (True, False)
    for box, colour in zip(there.boxes, (RED, GREEN), strict=True):
        x0, x1 = (round(v * canvas.shape[1]) for v in box[::2])
        y0, y1 = (round(v * canvas.shape[0]) for v in box[1::2])
        assert x0 >= 160 and (canvas[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2] == colour).all()
        wide, high = (x1 - x0) / (y1 - y0), (40 / 40) if colour == RED else (90 / 20)
        assert wide == pytest.approx(high, rel=0.25), "shrunk, not stretched"


def test_examples_that_reach_over_the_edge_are_pasted_as_far_as_they_go():
    source = np.full((50, 50, 3), 9, np.uint8)
    _, there = paste(np.zeros((60, 60, 3), np.uint8), [Shown(source, Exemplars(((-0.5, 0.5, 0.5, 1.5),), (True,)))])
    x0, y0, x1, y1 = there.boxes[0]
    assert 0.74 < x0 < x1 <= 1 and 0 <= y0 < y1 <= 1


def test_what_is_shown_elsewhere_is_found_and_the_example_is_not(detector):
    source, shown_masks = pasture(("owl", 200, 250), ("bus", 450, 400))
    image, masks = pasture(("owl", 180, 180), ("owl", 460, 200), ("pizza", 320, 480), seed=9)
    shown = [Shown(source, Exemplars((box_of(shown_masks[0]),), (True,)))]
    (result,) = detect_beside(detector, [image], Concept("like this", ()), shown)
    assert result.label == "like this" and result.count == len(result.instances) == 2
    assert result.presence == max(i.confidence for i in result.instances)
    for instance in result.instances:
        (x, y), (h, w) = instance.corner, instance.mask.shape
        assert x + w <= 640 and y + h <= 640
        whole = np.zeros((640, 640), bool)
        whole[y : y + h, x : x + w] = instance.mask
        assert max((whole & m).sum() / (whole | m).sum() for m in masks[:2]) > 0.6


def test_what_is_only_in_the_strip_is_nothing(detector):
    source, shown_masks = pasture(("owl", 200, 250), ("bus", 450, 400))
    image, _ = pasture(("pizza", 320, 320), seed=9)
    shown = [Shown(source, Exemplars((box_of(shown_masks[0]),), (True,)))]
    (result,) = detect_beside(detector, [image], Concept("like this", ()), shown)
    assert result.presence < 0.5 and result.count == 0 and not result.instances


def test_images_of_all_sizes_are_asked_together_and_may_come_smaller_than_they_are(detector):
    source, shown_masks = pasture(("owl", 200, 250), ("bus", 450, 400))
    shown = [Shown(source, Exemplars((box_of(shown_masks[0]),), (True,)))]
    large, masks = pasture(("owl", 180, 180), ("pizza", 320, 480), seed=9)
    small = cv2.resize(large, (320, 320), interpolation=cv2.INTER_AREA)
    concept = Concept("like this", (), 0.4)
    results = detect_beside(detector, [large, small, source], concept, shown, sizes=[(640, 640)] * 3)
    for result in results[:2]:
        (instance,) = result.instances
        (x, y), (h, w) = instance.corner, instance.mask.shape
        whole = np.zeros((640, 640), bool)
        whole[y : y + h, x : x + w] = instance.mask
        assert (whole & masks[0]).sum() / (whole | masks[0]).sum() > 0.6
        assert result.threshold == 0.4 and result.count == 1
    (alone,) = detect_beside(detector, [large], concept, shown)
    assert alone.presence == pytest.approx(results[0].presence, abs=1e-4)
    (faint,) = detect_beside(detector, [large], concept, shown, floor=0.02)
    assert len(faint.instances) >= faint.count == 1


def test_tokens_are_those_of_each_image_side_by_side(detector):
    images = [pasture(("owl", 200, 250)), pasture(("owl", 400, 300), ("bus", 150, 150), seed=9)]
    shown = [
        Shown(images[0][0], Exemplars((box_of(images[0][1][0]),), (True,))),
        Shown(images[1][0], Exemplars(tuple(box_of(m) for m in images[1][1]), (True, False))),
    ]
    together = learn_bank(detector, shown)
    assert together.shape[0] == 3
    torch.testing.assert_close(together, torch.cat([learn_bank(detector, [one]) for one in shown]))
    target, _ = pasture(("owl", 320, 320), seed=2)
    features = detector.encode_images(to_square(target, detector.checkpoint.side)[None], [(640, 640)])
    both = detector.detect(
        features, [[Concept("shown", ()), Concept("words", ("owl",))]], learnt={"shown": together}
    )[0]
    alone = detector.detect(features, [[Concept("words", ("owl",))]])[0][0]
    assert both[0].instances and both[1].presence == pytest.approx(alone.presence, abs=1e-5)


def test_more_than_can_be_read(detector):
    image, masks = pasture(("owl", 200, 250))
    shown = [Shown(image, Exemplars((box_of(masks[0]),), (True,)))] * (MAX_EXEMPLARS + 1)
    with pytest.raises(ConceptError, match=f"33 exemplar boxes of one concept; at most {MAX_EXEMPLARS}"):
        learn_bank(detector, shown)
