"""The pictures of docs/prompting.md: ``python -m scripts.prompting_pictures``.

Each shows what is said on the left, and what the tiny checkpoint makes of it on the right, on scenes that it never saw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import fiftyone as fo
import numpy as np
from PIL import Image

from curation.overlay import draw_overlay
from curation.style import OverlayStyle
from emoji_world.measure_tiles import FIRST_SEED, TILES, crowd
from emoji_world.scenes import Scene, render, sample_scene
from zoo.engine.bank import Shown, detect_beside
from zoo.engine.checkpoint import load_checkpoint
from zoo.engine.concepts import Concept
from zoo.engine.detector import ConceptDetector
from zoo.engine.everything import EverythingSettings, segment_everything
from zoo.engine.images import to_square
from zoo.engine.prompts import Box, Exemplars, ObjectPrompt, Point
from zoo.engine.results import ConceptResult
from zoo.engine.semantic import find_regions
from zoo.engine.tiles import cut, detect_tiled, tiles
from zoo.engine.visual import Outline, VisualSegmenter
from zoo.labels import to_detections, to_things

FOLDER = Path(__file__).parent.parent / "docs" / "images"
#: caps of two colours, and a backpack; another scene with such caps; a scene with many things
SCENE, OTHER, CROWD = 600_078, 600_373, 600_114
HEIGHT = 360
BARE = OverlayStyle(labels=False)
GREEN, RED, GREY = (40, 200, 60), (230, 50, 40), (128, 128, 128)


class Studio:
    """The network, and what it is shown."""

    def __init__(self) -> None:
        self.checkpoint = load_checkpoint(tracker=True)
        self.detector, self.segmenter = ConceptDetector(self.checkpoint), VisualSegmenter(self.checkpoint)

    def ask(self, image: np.ndarray, concept: Concept, shown: Exemplars | None = None) -> list[fo.Detection]:
        """The instances of one concept."""
        size = image.shape[:2]
        features = self.detector.encode_images(to_square(image, self.checkpoint.side)[None], [size])
        given = {} if shown is None else {concept.label: shown}
        return to_detections(self.detector.detect(features, [[concept]], exemplars=[given])[0], size)

    def features(self, image: np.ndarray) -> object:
        square = to_square(image, self.checkpoint.side)[None]
        return self.segmenter.features(self.detector.encode_images(square, [image.shape[:2]], tokens=True))

    def outlines(self, image: np.ndarray, prompts: Sequence[ObjectPrompt]) -> list[fo.Detection]:
        """What is drawn for boxes and points."""
        drawn = self.segmenter.outlines(self.features(image), 0, prompts, image.shape[:2])
        return [_detection(outline, image.shape[:2]) for outline in drawn if outline.mask.size]


def main() -> None:
    """Draw all of them."""
    studio = Studio()
    for name, picture in PICTURES.items():
        path = FOLDER / f"prompting-{name}.jpg"
        Image.fromarray(picture(studio)).save(path, quality=88)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def _counter(studio: Studio) -> np.ndarray:
    scene, image, masks = _drawn(SCENE)
    caps = [k for k, o in enumerate(scene.objects) if o.thing.noun == "cap"]
    refused = next(k for k in reversed(caps) if scene.objects[k].thing.colour == "green")
    box = _box(masks[refused])
    before = draw_overlay(image, studio.ask(image, Concept("cap", ("cap",))))
    after = draw_overlay(image, studio.ask(image, Concept("cap", ("cap",)), Exemplars((box,), (False,))))
    return _beside(_boxed(before, [box], [False]), after)


def _example(studio: Studio) -> np.ndarray:
    scene, image, masks = _drawn(SCENE)
    shown = next(k for k, o in enumerate(scene.objects) if o.thing.name == "yellow cap")
    box = _box(masks[shown])
    found = studio.ask(image, Concept("like this", ()), Exemplars((box,), (True,)))
    return _beside(_boxed(image, [box], [True]), draw_overlay(image, found))


def _bank(studio: Studio) -> np.ndarray:
    scene, image, masks = _drawn(SCENE)
    _, other, _ = _drawn(OTHER)
    shown = next(k for k, o in enumerate(scene.objects) if o.thing.name == "yellow cap")
    box = _box(masks[shown])
    concept = Concept("like that", ())
    found = detect_beside(studio.detector, [other], concept, [Shown(image, Exemplars((box,), (True,)))])
    return _beside(_boxed(image, [box], [True]), draw_overlay(other, to_detections(found, other.shape[:2])))


def _boxes(studio: Studio) -> np.ndarray:
    _, image, masks = _drawn(SCENE)
    boxes = [_box(mask) for mask in masks]
    found = studio.outlines(image, [ObjectPrompt(None, 0, box) for box in boxes])
    return _beside(_boxed(image, boxes, [True] * len(boxes)), draw_overlay(image, found, style=BARE))


def _points(studio: Studio) -> np.ndarray:
    _, image, masks = _drawn(SCENE)
    points = [_middle(mask) for mask in masks]
    found = studio.outlines(image, [ObjectPrompt(None, 0, None, (point,), (True,)) for point in points])
    return _beside(_dotted(image, points), draw_overlay(image, found, style=BARE))


def _everything(studio: Studio) -> np.ndarray:
    _, image, _ = _drawn(CROWD)
    settings = EverythingSettings(points_per_side=12, pred_iou_thresh=0.75, stability_score_thresh=0.8)
    things = segment_everything(studio.segmenter, studio.features(image), 0, image.shape[:2], settings)
    found = to_things(things, image.shape[:2])
    for k, thing in enumerate(found):
        thing.label, thing.index = "", k
    return _beside(image, draw_overlay(image, found, style=BARE))


def _semantic(studio: Studio) -> np.ndarray:
    _, image, _ = _drawn(SCENE)
    size = image.shape[:2]
    features = studio.detector.encode_images(to_square(image, studio.checkpoint.side)[None], [size])
    concepts = [Concept(noun, (noun,)) for noun in ("cap", "backpack")]
    (regions,) = find_regions(studio.detector, features, concepts)
    canvas = image.copy()
    for number, colour in enumerate(((40, 110, 230), (240, 150, 20)), 1):
        mine = regions.owner == number
        canvas[mine] = 0.45 * canvas[mine] + 0.55 * np.array(colour)
    return _beside(image, canvas)


def _tiles(studio: Studio) -> np.ndarray:
    scene, image, _ = _rendered(crowd(FIRST_SEED))
    size = image.shape[:2]
    concepts = [Concept(noun, (noun,)) for noun in dict.fromkeys(o.thing.noun for o in scene.objects)]
    features = studio.detector.encode_images(to_square(image, studio.checkpoint.side)[None], [size])
    whole: list[ConceptResult] = studio.detector.detect(features, [concepts])[0]
    places = tiles(size, TILES)
    squares = cut(image, places, studio.checkpoint.side)[1:]
    tiled = detect_tiled(studio.detector, squares, places, size, whole, concepts)
    return _beside(*(draw_overlay(image, to_detections(found, size)) for found in (whole, tiled)))


PICTURES: dict[str, Callable[[Studio], np.ndarray]] = {
    "example": _example, "counter": _counter, "bank": _bank, "boxes": _boxes, "points": _points,
    "everything": _everything, "semantic": _semantic, "tiles": _tiles,
}  # fmt: skip


def _drawn(seed: int) -> tuple[Scene, np.ndarray, np.ndarray]:
    return _rendered(sample_scene(seed))


def _rendered(scene: Scene) -> tuple[Scene, np.ndarray, np.ndarray]:
    return (scene, *render(scene))


def _box(mask: np.ndarray) -> Box:
    height, width = mask.shape
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return xs[0] / width, ys[0] / height, (xs[-1] + 1) / width, (ys[-1] + 1) / height


def _middle(mask: np.ndarray) -> Point:
    """The pixel that is deepest inside."""
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return (x + 0.5) / mask.shape[1], (y + 0.5) / mask.shape[0]


def _detection(outline: Outline, size: tuple[int, int]) -> fo.Detection:
    (x, y), (rows, columns) = outline.corner, outline.mask.shape
    box = [x / size[1], y / size[0], columns / size[1], rows / size[0]]
    return fo.Detection(label="", bounding_box=box, mask=outline.mask, index=x * 10_000 + y)


def _boxed(image: np.ndarray, boxes: Sequence[Box], signs: Sequence[bool]) -> np.ndarray:
    canvas, (height, width) = image.copy(), image.shape[:2]
    for (x0, y0, x1, y1), sign in zip(boxes, signs, strict=True):
        corners = (round(x0 * width), round(y0 * height)), (round(x1 * width), round(y1 * height))
        cv2.rectangle(canvas, *corners, GREEN if sign else RED, 6)
    return canvas


def _dotted(image: np.ndarray, points: Sequence[Point]) -> np.ndarray:
    canvas, (height, width) = image.copy(), image.shape[:2]
    for x, y in points:
        centre = round(x * width), round(y * height)
        cv2.circle(canvas, centre, 11, (255, 255, 255), -1, cv2.LINE_AA)
        cv2.circle(canvas, centre, 8, GREEN, -1, cv2.LINE_AA)
    return canvas


def _beside(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    def scaled(image: np.ndarray) -> np.ndarray:
        width = round(image.shape[1] * HEIGHT / image.shape[0])
        return cv2.resize(image, (width, HEIGHT), interpolation=cv2.INTER_AREA)

    gap = np.full((HEIGHT, 12, 3), 255, np.uint8)
    return np.concatenate([scaled(left), gap, scaled(right)], 1)


if __name__ == "__main__":
    main()
