"""The score of predictions on SA-Co/Gold and SA-Co/Silver: cgF1 as the official script has it.

Source: behaviour of ``CGF1Evaluator`` in ``sam3/eval/cgf1_eval.py`` of facebookresearch/sam3 at 99d02f2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .batch import count_boxes, count_masks
from .columns import PairColumns
from .entries import (
    Entry,
    FormatError,
    Measured,
    box,
    check_rles,
    compressed,
    demand,
    named_some,
    no_collection,
)
from .gold import GoldFile, by_category, read_gold, read_predictions
from .match import box_iou, mask_iou
from .oracle import agreement
from .pairs import Crowd, match_pair
from .table import PairTable

CROWDS: dict[str, Crowd] = {"official": "drop", "ignore": "ignore"}
"""What the command line calls the ways to treat crowd regions, see :func:`evaluation.pairs.count_pair`."""


_COLUMNS = ("tp", "fp", "fn", "has_gt", "has_pred")


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


@no_collection()
def score_gold_files(gt: Sequence[str | Path], pred: str | Path, **settings: Any) -> GoldScore:
    """Read files, and score them: what ``python -m evaluation gold`` does.

    Args:
        gt: one file an annotator.
        pred: COCO results.
        **settings: see :func:`score_gold`.

    Raises:
        FormatError, ValueError: see :func:`read_gold`, :func:`read_predictions`, :func:`score_gold`.
    """
    return score_gold([read_gold(path) for path in gt], read_predictions(pred), **settings)


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
    for entry in predictions:
        asked.setdefault(int(entry["image_id"]), []).append((int(entry["category_id"]), entry))
    if asked and not any(pair in first.pairs for pair in asked):
        raise FormatError(
            f"None of the {len(predictions)} predictions is of a pair that {first.name} has (the first is of "
            f"{next(iter(asked))}): is it the ground truth of these predictions?"
        )
    evaluated = [
        pair for pair in first.pairs if all(pair not in file.pairs or file.exhaustive(pair) for file in annotators)
    ]
    if not evaluated:
        raise FormatError(f"{first.name} has no pair that is instance-exhaustive for every annotator")
    for file in annotators[1:]:
        lacking = next((pair for pair in evaluated if pair in asked and pair not in file.pairs), None)
        if lacking is not None:
            raise FormatError(
                f"{file.name} lacks the pair {lacking} ({first.phrase(lacking)!r}), which {first.name} has, and which "
                "has predictions; every annotator's file must list every pair"
            )

    places = _Places(predictions)
    scorings = [_score(file, evaluated, asked, places, iou, CROWDS[crowd], threshold) for file in annotators]
    best = np.argmax([agreement(columns) for columns in scorings], axis=0)
    counts = _chosen(scorings, best)
    table = PairTable(counts, [first.phrase(p) for p in evaluated], [first.image(p) for p in evaluated])
    notes = [*(w for file in annotators for w in file.warnings), *_left_out(annotators, asked, evaluated)]
    return GoldScore(table, tuple(evaluated), tuple(annotators[k].name for k in best), tuple(notes))


def _chosen(scorings: Sequence[PairColumns], best: NDArray[np.intp]) -> PairColumns:
    """Of each pair, the counts against its best annotator."""
    every = range(len(best))
    stacked = (np.stack([getattr(s, name) for s in scorings])[best, every] for name in _COLUMNS)
    return PairColumns(*stacked)


class _Places:
    """Where predictions are in their list; only error messages ask."""

    def __init__(self, predictions: Sequence[Entry]) -> None:
        self._predictions = predictions

    def of(self, entry: Entry) -> int:
        return next(i for i, other in enumerate(self._predictions) if other is entry)


def _score(
    file: GoldFile, pairs: Sequence[int], asked: Mapping[int, Sequence[tuple[int, Entry]]], places: _Places, iou: str,
    crowd: Crowd, threshold: float,
) -> PairColumns:  # fmt: skip
    """All pairs against one annotator."""
    found = [_found(file, asked.get(pair, ()), threshold) for pair in pairs]
    truth = [file.masks.get(pair, ()) for pair in pairs]
    if crowd == "drop" and any(entry.get("iscrowd", 0) for held in truth for entry in held):
        truth = [[entry for entry in held if not entry.get("iscrowd", 0)] for held in truth]

    def name_of(place: int) -> str:
        for pair, mine, theirs in zip(pairs, found, truth, strict=True):
            if place < len(mine):
                return f"predictions[{places.of(mine[place])}] (of the pair {pair})"
            place -= len(mine)
            if place < len(theirs):
                return f"{file.name}: annotation {theirs[place].get('id', place)} of the pair {pair}"
            place -= len(theirs)
        raise IndexError(place)

    held = [entry for mine, theirs in zip(found, truth, strict=True) for entry in (*mine, *theirs)]
    sizes = [file.size(pair) if pair in file.pairs else None for pair in pairs]
    counted = [len(mine) + len(theirs) for mine, theirs in zip(found, truth, strict=True)]
    if iou == "segm":
        own = [size for size, count in zip(sizes, counted, strict=True) for _ in range(count)]
        shapes, measured = _rles(held, own, name_of)
    else:
        shapes = [_box(entry, place, name_of) for place, entry in enumerate(held)]

    predictions, objects = (np.array([len(held) for held in side], dtype=np.intp) for side in (found, truth))
    first = np.cumsum(predictions + objects) - predictions - objects
    if iou == "segm":
        _check_sizes(shapes, sizes, first, predictions + objects, name_of)
        columns = count_masks(shapes, measured, first, predictions, objects)
    else:
        columns = count_boxes(shapes, first, predictions, objects)
    if crowd == "ignore":
        _forgive(columns, shapes, first, found, truth, iou)
    return columns


def _forgive(
    columns: PairColumns, shapes: Sequence[Any], first: Sequence[int], found: Sequence[Sequence[Entry]],
    truth: Sequence[Sequence[Entry]], iou: str,
) -> None:  # fmt: skip
    """Count the pairs with crowd regions anew, one by one."""
    for k, (start, mine, theirs) in enumerate(zip(first, found, truth, strict=True)):
        crowds = [bool(entry.get("iscrowd", 0)) for entry in theirs]
        if not any(crowds):
            continue
        cut = start + len(mine)
        held = list(shapes[start:cut]), list(shapes[cut : cut + len(theirs)])
        matrix = (mask_iou if iou == "segm" else box_iou)(*held, gt_crowd=crowds)
        pair = match_pair(matrix, np.ones(len(mine)), gt_crowd=crowds, crowd="ignore").counts
        for name in _COLUMNS:
            getattr(columns, name)[k] = getattr(pair, name)


def _check_sizes(
    shapes: Sequence[Any], sizes: Sequence[tuple[int, int] | None], first: Sequence[int], counts: Sequence[int],
    name_of: Callable[[int], str],
) -> None:  # fmt: skip
    """Where the file does not say how large an image is, the masks of a pair must agree."""
    for start, count, size in zip(first, counts, sizes, strict=True):
        for place in range(start + 1, start + count) if size is None else ():
            if shapes[place]["size"] != shapes[start]["size"]:
                raise FormatError(
                    f"{name_of(place)} has the size {shapes[place]['size']}, {name_of(start)} has "
                    f"{shapes[start]['size']}"
                )


def _found(file: GoldFile, asked: Sequence[tuple[int, Entry]], threshold: float) -> list[Entry]:
    """The predictions of a pair that count, in upstream's order."""
    kept = [held for held in asked if held[0] in file.categories and held[1]["score"] >= threshold]
    return by_category(kept) if len(kept) > 1 else [entry for _, entry in kept]


def _rles(
    held: Sequence[Entry], sizes: Sequence[tuple[int, int] | None], name_of: Callable[[int], str]
) -> tuple[list[dict[str, Any]], Measured]:
    """Checked masks."""
    rles = []
    for place, (entry, size) in enumerate(zip(held, sizes, strict=True)):
        segmentation = entry.get("segmentation")
        try:  # as in the released files: nothing to convert
            counts, own = segmentation["counts"], segmentation["size"]
            plain = size is not None and type(counts) is str and own[0] == size[0] and own[1] == size[1]
        except (TypeError, KeyError, IndexError):
            plain = False
        if plain and len(own) == 2:
            rles.append({"size": own, "counts": counts.encode()})
            continue
        try:
            rles.append(compressed(segmentation, size, ""))
        except FormatError:  # only now is it worth to find out what it is called
            demand(entry, ["segmentation"], name_of(place))
            compressed(segmentation, size, name_of(place))
            raise
    return rles, check_rles(rles, name_of)


def _box(entry: Entry, place: int, name_of: Callable[[int], str]) -> list[float]:
    try:
        return box(entry, "")
    except (KeyError, FormatError):
        demand(entry, ["bbox"], name_of(place))
        return box(entry, name_of(place))


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
