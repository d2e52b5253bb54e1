"""Small things in large images: the network squeezes every image to one square, so an image is looked at in parts, too.

The whole image is asked first, then overlapping tiles of it. What lies across a seam is put together from its parts, by
what they share where the tiles overlap. The whole image is right about large things, tiles about small ones: a part of
something that the whole image has found is no thing of its own, nor is what a seam has cut off.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from .concepts import Concept, check_fraction, check_whole
from .detector import ConceptDetector
from .errors import ConceptError
from .images import to_square
from .masks import Crop, overlap, tight
from .results import ConceptResult, Instance

#: ``(x0, y0, x1, y1)`` in pixels of the image, end exclusive
Place = tuple[int, int, int, int]

#: parts of one thing agree at least this much where their tiles overlap
_SAME_PART = 0.5
#: two findings of one thing overlap at least this much
_SAME_THING = 0.5
#: what lies within a finding of the whole image by this share is a part of it
_WITHIN = 0.7
#: a tile is at most so many times as long as wide, or the square would squeeze it
_LONG = 2
#: what is longer than this share of its tile is for the whole image to find
_LARGE = 0.5
#: of a thing that both have found: from this share of the image's longer side on, the whole image's mask is taken
_WELL_SEEN = 0.25


@dataclass(frozen=True)
class TileSettings:
    """How an image is cut.

    Attributes:
        tile_size: side of a tile, in pixels of the image; ``None``: no tiles
        tile_overlap: share of a tile's side that it has in common with the next one, below 0.75; things up to that size
            are whole in some tile
        max_tiles: an image that would need more is refused
    """

    tile_size: int | None = None
    tile_overlap: float = 0.25
    max_tiles: int = 256

    def __post_init__(self) -> None:
        if self.tile_size is not None:
            check_whole(self.tile_size, "tile_size", 16)
        check_whole(self.max_tiles, "max_tiles", 1)
        if check_fraction(self.tile_overlap, "tile_overlap") >= 0.75:
            raise ConceptError(f"tile_overlap must be below 0.75, got {self.tile_overlap!r}")

    def __bool__(self) -> bool:
        return self.tile_size is not None


@dataclass(frozen=True)
class _Part:
    """An instance of one tile, in pixels of the image; ``cut``: it reaches an edge of the tile, not of the image."""

    instance: Instance
    tile: int
    cut: bool


def tiles(size: tuple[int, int], settings: TileSettings) -> list[Place]:
    """The tiles of an image: of equal size, evenly spread, row by row; none where the image fits into one. Of very long
    images they are smaller than was said, as no tile is more than twice as long as wide.

    Args:
        size: ``(height, width)`` in pixels
        settings: how it is cut

    Raises:
        ConceptError: more tiles than are allowed

    >>> tiles((100, 250), TileSettings(tile_size=100, tile_overlap=0.25))
    [(0, 0, 100, 100), (75, 0, 175, 100), (150, 0, 250, 100)]
    """
    if not settings:
        return []
    sides = (min(settings.tile_size, _LONG * other) for other in size[::-1])
    rows, columns = (
        _stretches(length, side, settings.tile_overlap) for length, side in zip(size, sides, strict=True)
    )
    if len(rows) * len(columns) == 1:
        return []
    if len(rows) * len(columns) > settings.max_tiles:
        raise ConceptError(
            f"An image of {size[1]} × {size[0]} pixels needs {len(rows) * len(columns)} tiles of "
            f"{settings.tile_size} pixels, and max_tiles is {settings.max_tiles}: use a larger tile_size"
        )
    return [(x0, y0, x1, y1) for y0, y1 in rows for x0, x1 in columns]


def cut(image: np.ndarray, places: Iterable[Place], side: int) -> Tensor:
    """The image, and tiles of it, each squeezed to the network's square.

    Returns:
        uint8 ``(1 + T, 3, side, side)``, the whole image first
    """
    parts = [image, *(image[y0:y1, x0:x1] for x0, y0, x1, y1 in places)]
    return torch.stack([to_square(part, side) for part in parts])


def detect_tiled(
    detector: ConceptDetector, squares: Tensor, places: Sequence[Place], size: tuple[int, int],
    whole: Sequence[ConceptResult], concepts: Sequence[Concept], *, threshold: float = 0.5,
    floor: float | None = None, batch: int = 8,
) -> list[ConceptResult]:
    """What the whole image showed, completed by its tiles.

    Presence and object score become the largest of the whole image and of those tiles that have added an instance above
    the threshold. A tile's word alone does not count: each more look is one more chance to be wrong.

    Args:
        detector: asked
        squares: uint8 ``(T, 3, S, S)``, the tiles
        places: where they are
        size: ``(height, width)`` of the image, in pixels
        whole: results of the whole image, for these concepts
        concepts: those without phrases are not looked for in tiles
        threshold: confidence above which an instance counts, for concepts without their own
        floor: keep instances down to this confidence
        batch: tiles encoded together
    """
    worded = [c for c in concepts if c.phrases]
    parts: dict[str, list[_Part]] = {c.label: [] for c in worded}
    for start in range(0, len(places) if worded else 0, batch):
        some = places[start : start + batch]
        sizes = [(y1 - y0, x1 - x0) for x0, y0, x1, y1 in some]
        features = detector.encode_images(squares[start : start + batch], sizes)
        found = detector.detect(features, [worded] * len(some), threshold=threshold, floor=floor)
        for k, results in enumerate(found, start):
            for result in results:
                parts[result.label] += [_placed(i, k, places[k], size) for i in result.instances if i.mask.size]
    answers = []
    for result in whole:
        small = _things(parts.get(result.label, ()), places, size)
        instances = _completed(result.instances, small, max(size))
        count = sum(i.confidence > result.threshold for i in instances)
        counted = [i for i in instances if i.confidence > result.threshold]
        presence = max([result.presence, *(i.presence for i in counted)])
        score = max([result.object_score, *(i.object_score for i in counted)])
        answers.append(replace(
            result, presence=presence, object_score=score, instances=tuple(instances), count=count
        ))
    return answers


def _stretches(length: int, tile: int, share: float) -> list[tuple[int, int]]:
    """Evenly spread stretches of ``tile`` pixels that cover ``length``, and overlap by at least ``share``."""
    if length <= tile:
        return [(0, length)]
    step = tile * (1 - share)
    count = 1 + math.ceil((length - tile) / step - 1e-9)
    starts = [round(k * (length - tile) / (count - 1)) for k in range(count)]
    return [(start, start + tile) for start in starts]


def _placed(instance: Instance, tile: int, place: Place, size: tuple[int, int]) -> _Part:
    """A tile's instance where it is in the image."""
    x0, y0, x1, y1 = place
    x, y = instance.corner[0] + x0, instance.corner[1] + y0
    height, width = instance.mask.shape
    edges = (x == x0 != 0, y == y0 != 0, x + width == x1 != size[1], y + height == y1 != size[0])
    box = instance.box
    moved = (box[0] + x0, box[1] + y0, box[2] + x0, box[3] + y0)
    return _Part(replace(instance, corner=(x, y), box=moved), tile, any(edges))


def _things(parts: Sequence[_Part], places: Sequence[Place], size: tuple[int, int]) -> list[Instance]:
    """Instances put together from their parts; without those that a seam has cut, and those too large for a tile."""
    group = list(range(len(parts)))

    def root(k: int) -> int:
        while group[k] != k:
            k = group[k]
        return k

    for k, one in enumerate(parts):
        for j, other in enumerate(parts[:k]):
            if one.tile != other.tile and _agree(one, other, places):
                group[root(k)] = root(j)
    things = []
    for k in range(len(parts)):
        members = [parts[j] for j in range(len(parts)) if root(j) == k]
        if not members:
            continue
        complete = [m for m in members if not m.cut]
        if not complete and not _closed(members, places, size):
            continue
        thing = _joined([m.instance for m in (complete or members)])
        x0, y0, x1, y1 = places[members[0].tile]
        tile = max(x1 - x0, y1 - y0)
        if max(thing.mask.shape) <= _LARGE * tile:
            things.append(thing)
    return things


def _agree(one: _Part, other: _Part, places: Sequence[Place]) -> bool:
    """Whether two parts are the same where both tiles look."""
    a, b = places[one.tile], places[other.tile]
    shared = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    if shared[0] >= shared[2] or shared[1] >= shared[3]:
        return False
    mine, theirs = (_clipped((p.instance.corner, p.instance.mask), shared) for p in (one, other))
    return overlap(mine, theirs) >= _SAME_PART


def _clipped(crop: Crop, place: Place) -> Crop:
    (x, y), mask = crop
    x0, y0, x1, y1 = place
    inside = mask[max(0, y0 - y) : max(0, y1 - y), max(0, x0 - x) : max(0, x1 - x)]
    return tight((max(x, x0), max(y, y0)), inside) if inside.size else ((0, 0), np.zeros((0, 0), bool))


def _closed(members: Sequence[_Part], places: Sequence[Place], size: tuple[int, int]) -> bool:
    """Whether parts that seams have cut make a whole: where one ends at its tile's edge, another goes on."""
    thing = _joined([m.instance for m in members])
    x, y = thing.corner
    height, width = thing.mask.shape
    limits = (0, 0, size[1], size[0])
    for k, end in enumerate((x, y, x + width, y + height)):
        if end != limits[k] and end in {places[m.tile][k] for m in members}:
            return False  # it ends where a tile does, and nobody looked beyond
    return True


def _joined(instances: Sequence[Instance]) -> Instance:
    """One instance of several: all their pixels, and the scores of the most confident."""
    best = max(instances, key=lambda i: i.confidence)
    if len(instances) == 1:
        return best
    x0, y0 = (min(i.corner[k] for i in instances) for k in (0, 1))
    x1 = max(i.corner[0] + i.mask.shape[1] for i in instances)
    y1 = max(i.corner[1] + i.mask.shape[0] for i in instances)
    mask = np.zeros((y1 - y0, x1 - x0), bool)
    for i in instances:
        x, y = i.corner[0] - x0, i.corner[1] - y0
        mask[y : y + i.mask.shape[0], x : x + i.mask.shape[1]] |= i.mask
    return replace(best, corner=(x0, y0), mask=mask, box=(float(x0), float(y0), float(x1), float(y1)))


def _completed(whole: Sequence[Instance], small: Sequence[Instance], longest: int) -> list[Instance]:
    """The whole image's instances, the masks of small ones as tiles see them, and what only tiles have found."""
    kept = list(whole)
    for thing in sorted(small, key=lambda i: -i.confidence):
        place = (thing.corner, thing.mask)
        ious = [overlap((g.corner, g.mask), place) for g in kept]
        same = int(np.argmax(ious)) if ious else -1
        if ious and ious[same] >= _SAME_THING:
            if same < len(whole) and max(kept[same].mask.shape) < _WELL_SEEN * longest:
                finer = replace(kept[same], corner=thing.corner, mask=thing.mask, box=thing.box)
                if finer.confidence < thing.confidence:
                    finer = replace(thing)
                kept[same] = finer
            continue
        if not any(_lies_within(place, (g.corner, g.mask)) for g in kept):
            kept.append(thing)
    return sorted(kept, key=lambda i: -i.confidence)


def _lies_within(inner: Crop, outer: Crop) -> bool:
    """Whether most of one mask is in another."""
    area = int(np.count_nonzero(inner[1]))
    return area > 0 and overlap(inner, outer, of_smaller=True) >= _WITHIN and area <= int(np.count_nonzero(outer[1]))
