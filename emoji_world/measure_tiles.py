"""What tiles are worth, on large scenes with small things; part of ``python -m emoji_world.measure --tiles 40``.

A scene of 1600 × 1200 pixels holds some ten small things, which the network sees at 6 to 12 of its pixels, and a large
one or two. Every noun that is there is asked, and as many that are not: once of the whole image, once with tiles of 480
pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from zoo.engine.checkpoint import Checkpoint
from zoo.engine.concepts import Concept
from zoo.engine.detector import ConceptDetector
from zoo.engine.results import ConceptResult
from zoo.engine.tiles import TileSettings, cut, detect_tiled, tiles

from .full_masks import full_masks
from .scenes import BACKGROUNDS, Placed, Scene, draw_pool, render
from .vocabulary import NOUNS

#: scenes of this measurement
FIRST_SEED = 650_000
SIZE = (1200, 1600)
TILES = TileSettings(tile_size=480, tile_overlap=0.25)
#: of what the network sees: what is smaller is small, in its pixels
SMALL = 12.0
_IOU = 0.5


@dataclass
class TileMeasurement:
    """Sums over scenes; :meth:`numbers` turns them into the table."""

    found: dict[str, list[bool]] = field(default_factory=dict)
    right: dict[str, list[bool]] = field(default_factory=dict)
    alarms: dict[str, list[bool]] = field(default_factory=dict)
    images: int = 0

    def add(self, way: str, side: int, masks: np.ndarray, result: ConceptResult) -> None:
        """One noun: the masks that are true, bool ``(N, H, W)``, and what was found."""
        drawn = full_masks(result, SIZE)
        ious = np.array([[(d & m).sum() / (d | m).sum() for m in masks] for d in drawn]).reshape(len(drawn), len(masks))
        for k, mask in enumerate(masks):
            size = "small" if _seen(mask, side) < SMALL else "large"
            self.found.setdefault(f"{way}_{size}", []).append(bool(len(drawn)) and ious[:, k].max() >= _IOU)
        taken: set[int] = set()
        for row in ious:  # by falling confidence: a second finding of one thing is wrong
            best = next((int(k) for k in np.argsort(-row) if k not in taken and row[k] >= _IOU), None)
            self.right.setdefault(way, []).append(best is not None)
            taken |= {best} if best is not None else set()
        if not len(masks):
            self.alarms.setdefault(way, []).append(result.presence > 0.5)

    def numbers(self) -> dict[str, float | int]:
        """Recall by size, precision, and how often what is nowhere was called present."""
        rates = {f"{name}_recall": float(np.mean(values)) for name, values in self.found.items()}
        rates |= {f"{way}_precision": float(np.mean(values)) for way, values in self.right.items()}
        rates |= {f"{way}_false_alarms": float(np.mean(values)) for way, values in self.alarms.items()}
        counts = {f"{size}_objects": len(self.found[f"whole_{size}"]) for size in ("small", "large")}
        return rates | counts | dict(tile_images=self.images)


def measure_tiles(checkpoint: Checkpoint, images: int, first_seed: int = FIRST_SEED) -> TileMeasurement:
    """Ask ``images`` scenes."""
    detector, total = ConceptDetector(checkpoint), TileMeasurement()
    for seed in range(first_seed, first_seed + images):
        scene = crowd(seed)
        image, masks = render(scene)
        rng = np.random.default_rng([seed, 0x711E])
        there = sorted({o.thing.noun for o in scene.objects})
        absent = [n for n in NOUNS if n not in there]
        nouns = [*there, *rng.permutation(absent)[: len(there)].tolist()]
        concepts = [Concept(noun, (noun,)) for noun in nouns]
        size, places = image.shape[:2], tiles(image.shape[:2], TILES)
        squares = cut(image, places, checkpoint.side)
        whole = detector.detect(detector.encode_images(squares[:1], [size]), [concepts])[0]
        tiled = detect_tiled(detector, squares[1:], places, size, whole, concepts)
        for way, results in (("whole", whole), ("tiles", tiled)):
            for noun, result in zip(nouns, results, strict=True):
                mine = [i for i, o in enumerate(scene.objects) if o.thing.noun == noun]
                total.add(way, checkpoint.side, masks[mine], result)
        total.images += 1
    return total


def crowd(seed: int) -> Scene:
    """A large scene with small things."""
    rng = np.random.default_rng([seed, 0xC20D])
    height, width = SIZE
    pool = draw_pool(rng)
    placed: list[Placed] = []
    for k in range(int(rng.integers(9, 15))):
        length = float(rng.uniform(350, 600) if k < int(rng.integers(1, 3)) else rng.uniform(55, 95))
        for _ in range(30):
            x, y = float(rng.uniform(length, width - length)), float(rng.uniform(length, height - length))
            if all(np.hypot(x - o.x, y - o.y) > 0.6 * (length + o.length) for o in placed):
                thing = pool[int(rng.integers(len(pool)))]
                placed.append(Placed(thing, x, y, length, float(rng.normal(0, 10)), bool(rng.random() < 0.5), 1.0))
                break
    return Scene(width, height, seed, BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))], tuple(placed))


def _seen(mask: np.ndarray, side: int) -> float:
    """The longer side of an object as the network sees it in the whole image, in its pixels."""
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return max((rows[-1] + 1 - rows[0]) / height, (columns[-1] + 1 - columns[0]) / width) * side
