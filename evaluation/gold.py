"""Files of SA-Co/Gold and SA-Co/Silver, and their score: cgF1 as the official script has it.

One JSON file an annotator. ``images``: the *pairs*, each an image and a noun phrase (``id``, ``file_name``,
``text_input``, ``height``, ``width``, ``is_instance_exhaustive``, ``is_pixel_exhaustive``); a file name comes again
with every phrase. ``annotations``: the masks of a pair (``image_id``, ``segmentation``, ``bbox`` relative to the
image, ``category_id`` 1, ``iscrowd``). A pair without annotations is a negative. Predictions: a list of COCO results.

Source: README of facebookresearch/sam3 at 99d02f2 (``scripts/eval/gold``); behaviour of ``CGF1Evaluator`` in
``sam3/eval/cgf1_eval.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from .entries import (
    Entry,
    FormatError,
    box,
    check_rles,
    compressed,
    demand,
    dictionaries,
    entries,
    identity,
    load_json,
    named_some,
    number,
)
from .match import box_iou, mask_iou
from .oracle import best_annotator
from .pairs import Crowd, PairCounts, kept_predictions, match_pair
from .table import PairTable

CROWDS: dict[str, Crowd] = {"official": "drop", "ignore": "ignore"}
"""What the command line calls the ways to treat crowd regions, see :func:`evaluation.pairs.count_pair`."""


_BLOCK = 256  # pairs whose masks are read at a time


@dataclass(frozen=True, eq=False)
class GoldFile:
    """The answers of one annotator.

    Attributes:
        name: of the file.
        pairs: id → the pair's entry, in the order of the file.
        masks: id → its annotations of a known category, by category, then in the order of the file. No key: a negative.
        categories: the ids of all categories.
        warnings: what was strange.
    """

    name: str
    pairs: Mapping[int, Entry]
    masks: Mapping[int, Sequence[Entry]]
    categories: frozenset[int]
    warnings: tuple[str, ...] = ()

    def size(self, pair: int) -> tuple[int, int] | None:
        """(height, width) of a pair's image, if the file says."""
        entry = self.pairs[pair]
        return (int(entry["height"]), int(entry["width"])) if "height" in entry and "width" in entry else None

    def phrase(self, pair: int) -> str:
        return str(self.pairs[pair].get("text_input", ""))

    def image(self, pair: int) -> Any:
        """What tells images apart: the file's name, or the pair itself where there is none."""
        return self.pairs[pair].get("file_name", pair)

    def exhaustive(self, pair: int) -> bool:
        """Whether every instance is annotated."""
        return bool(self.pairs[pair]["is_instance_exhaustive"])


@dataclass(frozen=True, eq=False)
class GoldScore:
    """What predictions are worth.

    Attributes:
        table: the evaluated pairs: concepts are phrases, media are file names.
        ids: (N,) of the pairs.
        annotators: (N,) the file each was measured against.
        warnings: what was left out, and why; a sentence each.
    """

    table: PairTable
    ids: tuple[int, ...]
    annotators: tuple[str, ...]
    warnings: tuple[str, ...] = field(default=())


def read_gold(path: str | Path) -> GoldFile:
    """Read an annotator's file, and check its entries, but for their masks, which are looked at when they are used.

    Raises:
        FormatError: naming what is wrong.
    """
    document, name = load_json(path), Path(path).name
    images, annotations = entries(document, "images", name), entries(document, "annotations", name)
    categories = frozenset(
        identity(entry, "id", f"{name}: categories[{i}]")
        for i, entry in enumerate(entries(document, "categories", name))
        if demand(entry, ["id"], f"{name}: categories[{i}]") is None
    )
    pairs: dict[int, Entry] = {}
    for i, entry in enumerate(images):
        where = f"{name}: images[{i}]"
        demand(entry, ["id", "is_instance_exhaustive"], where)
        pair = identity(entry, "id", where)
        if pair in pairs:
            raise FormatError(f"{where} has the id {pair}, which an earlier one has; a pair has one entry")
        pairs[pair] = entry
    if not pairs:
        raise FormatError(f"{name}: images is empty; there is nothing to evaluate")

    masks: dict[int, list[tuple[int, Entry]]] = {}
    strangers: Counter[str] = Counter()
    for i, entry in enumerate(annotations):
        where = f"{name}: annotations[{i}]"
        demand(entry, ["image_id", "category_id"], where)
        pair, category = identity(entry, "image_id", where), identity(entry, "category_id", where)
        if pair not in pairs:
            strangers["of a pair that is not among images"] += 1
        elif category not in categories:
            strangers[f"of a category that is not among categories ({category})"] += 1
        else:
            masks.setdefault(pair, []).append((category, entry))
    warnings = tuple(
        f"{name}: {count} annotations are {what}; left out, as upstream" for what, count in strangers.items()
    )
    return GoldFile(name, pairs, {pair: _by_category(held) for pair, held in masks.items()}, categories, warnings)


def read_predictions(path: str | Path) -> list[Entry]:
    """Read a list of COCO results: ``image_id`` (the pair), ``category_id``, ``score``, ``segmentation`` or ``bbox``.

    Raises:
        FormatError: naming the entry that is wrong.
    """
    name = Path(path).name
    found = dictionaries(load_json(path), name)
    for i, entry in enumerate(found):
        where = f"{name}[{i}]"
        demand(entry, ["image_id", "category_id", "score"], where)
        identity(entry, "image_id", where), identity(entry, "category_id", where), number(entry, "score", where)
    return found


def score_gold(
    annotators: Sequence[GoldFile],
    predictions: Sequence[Entry],
    *,
    iou: Literal["segm", "bbox"] = "segm",
    crowd: Literal["official", "ignore"] = "official",
    threshold: float = 0.5,
) -> GoldScore:
    """Score predictions against one annotator or several ("oracle", see :mod:`evaluation.oracle`).

    Evaluated are the pairs that are instance-exhaustive for every annotator.

    Args:
        annotators: in their order, which decides ties.
        predictions: COCO results of all pairs.
        iou: of masks, or of boxes.
        crowd: "official" drops crowd regions before matching, "ignore" forgives predictions that lie in them.
        threshold: predictions below it do not count.

    Raises:
        FormatError: a mask or box that cannot be read, naming the entry, or an annotator who lacks a pair that has
            predictions.
        ValueError: no annotators, or an unknown ``iou`` or ``crowd``.
    """
    if not annotators:
        raise ValueError("annotators is empty: name at least one file of ground truth")
    if iou not in ("segm", "bbox"):
        raise ValueError(f"iou is {iou!r}; want 'segm' or 'bbox'")
    if crowd not in CROWDS:
        raise ValueError(f"crowd is {crowd!r}; want one of {list(CROWDS)}")
    first = annotators[0]
    asked: dict[int, list[tuple[int, Entry]]] = {}
    places: dict[int, int] = {}
    for i, entry in enumerate(predictions):
        asked.setdefault(int(entry["image_id"]), []).append((int(entry["category_id"]), entry))
        places[id(entry)] = i
    evaluated = [
        pair
        for pair in first.pairs
        if all(pair not in file.pairs or file.exhaustive(pair) for file in annotators)
    ]
    if not evaluated:
        raise FormatError(f"{first.name} has no pair that is instance-exhaustive for every annotator")

    counts, chosen = [], []
    for start in range(0, len(evaluated), _BLOCK):
        block = evaluated[start : start + _BLOCK]
        sides = []
        for pair in block:
            for file in annotators:
                if asked.get(pair) and pair not in file.pairs:
                    raise FormatError(
                        f"{file.name} lacks the pair {pair} ({first.phrase(pair)!r}), which {first.name} has, and "
                        "which has predictions; every annotator's file must list every pair"
                    )
                mine = _by_category([held for held in asked.get(pair, ()) if held[0] in file.categories])
                sides.append(_read(file, pair, mine, places, iou, threshold))
        if iou == "segm":  # many at once: looking into one mask costs as much as looking into hundreds
            check_rles([s for side in sides for s in side.shapes], [n for side in sides for n in side.names])
        counted = [_count(side, iou, CROWDS[crowd], threshold) for side in sides]
        for k in range(0, len(counted), len(annotators)):
            scorings = counted[k : k + len(annotators)]
            best = best_annotator(scorings)
            counts.append(scorings[best])
            chosen.append(annotators[best].name)
    table = PairTable(counts, [first.phrase(p) for p in evaluated], [first.image(p) for p in evaluated])
    notes = [*(w for file in annotators for w in file.warnings), *_left_out(annotators, asked, evaluated)]
    return GoldScore(table, tuple(evaluated), tuple(chosen), tuple(notes))


class _Pair(NamedTuple):
    """One pair against one annotator, read."""

    shapes: list[Any]  # masks or boxes: those of the kept predictions, then those of the ground truth
    names: list[str]  # what error messages call them
    scores: list[float]  # of the kept predictions
    crowds: list[bool]  # of the ground truth


def _read(
    file: GoldFile, pair: int, predictions: Sequence[Entry], places: Mapping[int, int], iou: str, threshold: float
) -> _Pair:
    """The shapes of one pair; of predictions, those that count."""
    truth = file.masks.get(pair, ())
    scores = [float(entry["score"]) for entry in predictions]
    kept = kept_predictions(scores, len(scores), threshold)
    held = [*(predictions[i] for i in kept), *truth]
    names = [
        *(f"predictions[{places[id(predictions[i])]}] (of the pair {pair})" for i in kept),
        *(f"{file.name}: annotation {entry.get('id', k)} of the pair {pair}" for k, entry in enumerate(truth)),
    ]
    for entry, name in zip(held, names, strict=True):
        demand(entry, ["segmentation" if iou == "segm" else "bbox"], name)
    if iou == "bbox":
        shapes: list[Any] = [box(entry, name) for entry, name in zip(held, names, strict=True)]
    else:
        size = file.size(pair) if pair in file.pairs else None
        shapes = [compressed(entry["segmentation"], size, name) for entry, name in zip(held, names, strict=True)]
    return _Pair(shapes, names, [scores[i] for i in kept], [bool(entry.get("iscrowd", 0)) for entry in truth])


def _count(pair: _Pair, iou: str, crowd: Crowd, threshold: float) -> PairCounts:
    found, truth = pair.shapes[: len(pair.scores)], pair.shapes[len(pair.scores) :]
    try:
        matrix = (mask_iou if iou == "segm" else box_iou)(found, truth, gt_crowd=pair.crowds)
    except ValueError as error:  # masks of two sizes, where the file does not give the image's
        raise FormatError(f"{pair.names[0]}: {error}") from None
    return match_pair(matrix, pair.scores, threshold=threshold, gt_crowd=pair.crowds, crowd=crowd).counts


def _by_category(held: Sequence[tuple[int, Entry]]) -> list[Entry]:
    """By category, then in the order of the file, as upstream lines them up: ties in the assignment depend on it."""
    return [entry for _, entry in sorted(held, key=lambda one: one[0])]


def _left_out(
    annotators: Sequence[GoldFile], asked: Mapping[int, Sequence[tuple[int, Entry]]], evaluated: Sequence[int]
) -> Iterable[str]:
    """Predictions and pairs that nothing was made of."""
    first = annotators[0]
    unknown = [pair for pair in asked if pair not in first.pairs]
    if unknown:
        count = sum(len(asked[pair]) for pair in unknown)
        yield f"{count} predictions are of pairs that {first.name} does not have ({named_some(unknown)}); left out"
    known = frozenset().union(*(file.categories for file in annotators))
    strange = Counter(c for pair in evaluated for c, _ in asked.get(pair, ()) if c not in known)
    if strange:
        yield (
            f"{sum(strange.values())} predictions are of categories that the ground truth does not have "
            f"({named_some(strange)}); left out, as upstream"
        )
    skipped = len(first.pairs) - len(evaluated)
    if skipped:
        yield f"{skipped} of {len(first.pairs)} pairs are not instance-exhaustive for every annotator; not evaluated"
    for file in annotators[1:]:
        lacking = [pair for pair in evaluated if pair not in file.pairs]
        if lacking:
            yield (
                f"{file.name} lacks {len(lacking)} pairs that {first.name} has ({named_some(lacking)}); taken for "
                "negatives, as upstream"
            )
