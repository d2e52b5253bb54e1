"""How well boxes and points are understood, on scenes that were never seen; part of
``python -m emoji_world.measure --prompts 200``.

*Examples*: each thing of a scene is asked by its name, by one box around one of its instances, and by both.
*Counter-examples*: where a noun stands in a scene in several colours, the noun is asked, and then again with one box
around what is not wanted. *Another image*: what a box shows in one scene is looked for in another, where it is, where a
look-alike is, and where neither is, in both ways of :mod:`zoo.engine.bank`. *Objects*: each object is pointed at by its
box, by one random point on it, and by that point and a second one where the first answer was wrong. What a box gives is
also cut at the box, as ``boxes="keep"`` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from evaluation import PairCounts, cgf1, count_pair
from zoo.engine.bank import Shown, detect_beside, learn_bank
from zoo.engine.checkpoint import Checkpoint
from zoo.engine.concepts import Concept
from zoo.engine.detector import ConceptDetector, ImageFeatures
from zoo.engine.images import to_square
from zoo.engine.prompts import Box, Exemplars, ObjectPrompt, Point
from zoo.engine.results import ConceptResult
from zoo.engine.visual import Outline, VisualSegmenter

from .full_masks import full_masks
from .lessons import looks_like, scene_lessons
from .scenes import Scene, render, sample_scene
from .vocabulary import Thing

#: scenes of this measurement; those of words begin at half a million, training at one
FIRST_SEED = 600_000


@dataclass
class PromptMeasurement:
    """Sums over scenes; :meth:`numbers` turns them into the table."""

    pairs: dict[str, list[PairCounts]] = field(default_factory=dict)
    presence: dict[str, list[float]] = field(default_factory=dict)
    overlaps: dict[str, list[float]] = field(default_factory=dict)
    images: int = 0

    def add(self, way: str, truth: np.ndarray, result: ConceptResult, size: tuple[int, int]) -> None:
        """One question: what was meant, bool ``(N, H, W)``, and what was found."""
        confidences = [i.confidence for i in result.instances]
        self.pairs.setdefault(way, []).append(count_pair(truth, full_masks(result, size), confidences))
        self.presence.setdefault(way, []).append(result.presence)

    def numbers(self) -> dict[str, float | int]:
        """The table: rates in [0, 1], at IoU 0.5 and a threshold of 0.5; mean IoUs."""
        found: dict[str, float | int] = {}
        for way, pairs in self.pairs.items():
            tp, fp, fn = (sum(int(getattr(p, name)[0]) for p in pairs) for name in ("tp", "fp", "fn"))
            found[f"{way}_precision"] = tp / max(1, tp + fp)
            found[f"{way}_recall"] = tp / max(1, tp + fn)
            found[f"{way}_f1"] = cgf1(pairs).at("F1", 0.5)
            found[f"{way}_present"] = float(np.mean(np.array(self.presence[way]) > 0.5))
            found[f"{way}_questions"] = len(pairs)
        found |= {f"{way}_iou": float(np.mean(values)) for way, values in self.overlaps.items()}
        found |= {f"{way}_objects": len(values) for way, values in self.overlaps.items()}
        return found | dict(prompt_images=self.images)


def measure_prompts(checkpoint: Checkpoint, images: int, first_seed: int = FIRST_SEED) -> PromptMeasurement:
    """Ask ``images`` scenes, and a fifth as many that show a noun in several colours.

    Args:
        checkpoint: loaded with its tracker
        images: how many
        first_seed: of the scenes
    """
    detector, segmenter = ConceptDetector(checkpoint), VisualSegmenter(checkpoint)
    total = PromptMeasurement()
    last: dict[Thing, Shown] = {}
    seeds = _seeds(first_seed, images)
    for done, (seed, scene) in enumerate(seeds, 1):
        image, masks = render(scene)
        size = image.shape[:2]
        features = detector.encode_images(to_square(image, checkpoint.side)[None], [size], tokens=True)
        boxes = [_box(mask) for mask in masks]
        rng = np.random.default_rng([seed, 0x9021])
        for way, concept, shown, wanted in _questions(scene, boxes, rng):
            given = {} if shown is None else {concept.label: shown}
            total.add(way, masks[wanted], detector.detect(features, [[concept]], exemplars=[given])[0][0], size)
        _elsewhere(total, detector, features, image, scene, masks, boxes, last, rng)
        _objects(total, segmenter, features, masks, boxes, rng)
        total.images += 1
        if done % 50 == 0:
            print(f"{done} scenes with prompts", flush=True)
    return total


def _seeds(first: int, images: int) -> Iterator[tuple[int, Scene]]:
    """Scenes that hold something: ``images`` of them, then a fifth as many with a noun in several colours."""
    seed, left, contrasts = first, images, max(1, images // 5)
    while left or contrasts:
        scene = sample_scene(seed)
        things = {o.thing for o in scene.objects}
        if things and left:
            left -= 1
            yield seed, scene
        elif len(things) > len({t.noun for t in things}):
            contrasts -= 1
            yield seed, scene
        seed += 1


def _questions(
    scene: Scene, boxes: Sequence[Box], rng: np.random.Generator
) -> Iterator[tuple[str, Concept, Exemplars | None, list[int]]]:
    """Way of asking, what is asked, what is shown, and the objects that are meant."""
    for thing in dict.fromkeys(o.thing for o in scene.objects):
        mine = [i for i, o in enumerate(scene.objects) if o.thing == thing]
        shown = Exemplars((boxes[int(rng.choice(mine))],), (True,))
        yield "words", Concept("words", (thing.name,)), None, mine
        yield "example", Concept("example", ()), shown, mine
        yield "words_example", Concept("both", (thing.name,)), shown, mine
    for lesson in scene_lessons(scene, rng):
        if lesson.kind == "narrowed" and not any(lesson.positive):
            meant, noun = list(lesson.instances), Concept("noun", (lesson.phrase,))
            yield "noun", noun, None, meant
            yield "noun_counter", noun, Exemplars((boxes[lesson.shown[0]],), (False,)), meant
            pair = boxes[int(rng.choice(meant))], boxes[lesson.shown[0]]
            yield "noun_both", noun, Exemplars(pair, (True, False)), meant


def _elsewhere(
    total: PromptMeasurement, detector: ConceptDetector, features: ImageFeatures, image: np.ndarray, scene: Scene,
    masks: np.ndarray, boxes: Sequence[Box], last: dict[Thing, Shown], rng: np.random.Generator,
) -> None:
    """What was shown in earlier scenes, looked for in this one; and remember what this one shows."""
    size, things = masks.shape[1:], list(dict.fromkeys(o.thing for o in scene.objects))
    absent = [t for t in last if t not in things]
    alike = [t for t in absent if any(looks_like(t, other) for other in things)]
    asked = [t for t in things if t in last] + _one_of(alike, rng) + _one_of(absent, rng)
    for thing in dict.fromkeys(asked):
        truth = masks[[i for i, o in enumerate(scene.objects) if o.thing == thing]]
        shown, concept = [last[thing]], Concept("shown", ())
        learnt = {"shown": learn_bank(detector, shown)}
        total.add("tokens", truth, detector.detect(features, [[concept]], learnt=learnt)[0][0], size)
        total.add("canvas", truth, detect_beside(detector, [image], concept, shown)[0], size)
    for thing in things:
        first = next(i for i, o in enumerate(scene.objects) if o.thing == thing)
        last[thing] = Shown(image, Exemplars((boxes[first],), (True,)))


def _one_of(things: list[Thing], rng: np.random.Generator) -> list[Thing]:
    return [things[int(rng.integers(len(things)))]] if things else []


def _objects(
    total: PromptMeasurement, segmenter: VisualSegmenter, features: ImageFeatures, masks: np.ndarray,
    boxes: Sequence[Box], rng: np.random.Generator,
) -> None:
    here, size = segmenter.features(features), masks.shape[1:]
    points = [_point(mask, rng) for mask in masks]
    by_box = segmenter.outlines(here, 0, [ObjectPrompt(None, 0, box) for box in boxes], size)
    by_point = segmenter.outlines(here, 0, [ObjectPrompt(None, 0, None, (p,), (True,)) for p in points], size)
    again = []
    for mask, point, outline in zip(masks, points, by_point, strict=True):
        drawn = _whole(outline, size)
        forgotten, wrong = mask & ~drawn, drawn & ~mask
        on = bool(forgotten.sum() >= wrong.sum())
        more = _point(forgotten if on else wrong, rng) if (forgotten if on else wrong).any() else point
        again.append(ObjectPrompt(None, 0, None, (point, more), (True, on)))
    for way, outlines in (("box", by_box), ("point", by_point), ("points", segmenter.outlines(here, 0, again, size))):
        drawn = (_whole(outline, size) for outline in outlines)
        total.overlaps.setdefault(way, []).extend(
            float((d & m).sum() / (d | m).sum()) for d, m in zip(drawn, masks, strict=True)
        )
    for outline, mask in zip(by_box, masks, strict=True):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        inside = np.ix_(range(rows[0], rows[-1] + 1), range(columns[0], columns[-1] + 1))
        drawn = _whole(outline, size)[inside]
        both, either = (drawn & mask[inside]).sum(), (drawn | mask[inside]).sum()
        total.overlaps.setdefault("box_cut", []).append(float(both / either))


def _box(mask: np.ndarray) -> Box:
    height, width = mask.shape
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(xs[0] / width), float(ys[0] / height), float((xs[-1] + 1) / width), float((ys[-1] + 1) / height)


def _point(mask: np.ndarray, rng: np.random.Generator) -> Point:
    height, width = mask.shape
    ys, xs = np.nonzero(mask)
    k = int(rng.integers(len(ys)))
    return float((xs[k] + 0.5) / width), float((ys[k] + 0.5) / height)


def _whole(outline: Outline, size: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(size, bool)
    (x, y), (h, w) = outline.corner, outline.mask.shape
    mask[y : y + h, x : x + w] = outline.mask
    return mask
