"""Files of SA-Co/VEval, and their score: video cgF1 and pHOTA as the official script has them.

YTVIS-like. ``videos`` (``id``, ``file_names``, ``height``, ``width``, ``length``), ``annotations``: masklets with a
mask, or None, for every frame (``video_id``, ``category_id``, ``segmentations``, ``iscrowd``), ``categories``: the
phrases, ``video_np_pairs``: what was asked (``video_id``, ``category_id``, ``num_masklets``; 0: a negative).
Predictions: a list of masklets with a ``score``.

Source: README of facebookresearch/sam3 at 99d02f2 (``scripts/eval/veval``); behaviour of its
``sam3/eval/saco_veval_evaluators.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .entries import (
    Entry,
    FormatError,
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
from .table import PairTable
from .tracks import Track
from .video_pairs import count_video_pair

PairId = tuple[int, int]
"""(video, category)"""


@dataclass(frozen=True, eq=False)
class VEvalFile:
    """Ground truth.

    Attributes:
        name: of the file.
        videos: id → its entry.
        phrases: category id → noun phrase.
        asked: the pairs that were asked, negatives included; empty if the file has no ``video_np_pairs``.
        masklets: pair → its annotations, in the order of the file. No key: a negative.
        warnings: what was strange.
    """

    name: str
    videos: Mapping[int, Entry]
    phrases: Mapping[int, str]
    asked: tuple[PairId, ...]
    masklets: Mapping[PairId, Sequence[Entry]]
    warnings: tuple[str, ...] = ()

    def length(self, video: int) -> int:
        """How many frames a video has."""
        entry = self.videos[video]
        return int(entry["length"]) if "length" in entry else len(entry["file_names"])

    def size(self, video: int) -> tuple[int, int]:
        """(height, width)"""
        entry = self.videos[video]
        return int(entry["height"]), int(entry["width"])

    def phrase(self, category: int) -> str:
        return self.phrases.get(category, str(category))


@dataclass(frozen=True, eq=False)
class VEvalScore:
    """What predictions are worth.

    Attributes:
        table: the pairs: concepts are phrases, media are video ids.
        ids: (N,) of the pairs.
        warnings: what was strange; a sentence each.
    """

    table: PairTable
    ids: tuple[PairId, ...]
    warnings: tuple[str, ...] = ()


def read_veval(path: str | Path) -> VEvalFile:
    """Read a file of ground truth, and check its entries, but for their masks, which are looked at when they are used.

    Raises:
        FormatError: naming what is wrong.
    """
    document, name = load_json(path), Path(path).name
    videos: dict[int, Entry] = {}
    for i, entry in enumerate(entries(document, "videos", name)):
        where = f"{name}: videos[{i}]"
        demand(entry, ["id", "height", "width"], where)
        if "length" not in entry and "file_names" not in entry:
            raise FormatError(f"{where} has neither 'length' nor 'file_names'; its number of frames is not known")
        videos[identity(entry, "id", where)] = entry
    phrases: dict[int, str] = {}
    for i, entry in enumerate(entries(document, "categories", name)):
        where = f"{name}: categories[{i}]"
        demand(entry, ["id"], where)
        category = identity(entry, "id", where)
        phrases[category] = str(entry.get("name", category))

    def pair_of(entry: Entry, where: str) -> PairId:
        demand(entry, ["video_id", "category_id"], where)
        pair = identity(entry, "video_id", where), identity(entry, "category_id", where)
        if pair[0] not in videos:
            raise FormatError(f"{where} is of the video {pair[0]}, which is not among videos")
        return pair

    masklets: dict[PairId, list[Entry]] = {}
    for i, entry in enumerate(entries(document, "annotations", name)):
        where = f"{name}: annotations[{i}]"
        pair = pair_of(entry, where)
        demand(entry, ["segmentations"], where)
        masklets.setdefault(pair, []).append(entry)
        phrases.setdefault(pair[1], str(entry.get("noun_phrase", pair[1])))
    asked: dict[PairId, None] = {}
    warnings = []
    if "video_np_pairs" in document:
        for i, entry in enumerate(entries(document, "video_np_pairs", name)):
            pair = pair_of(entry, f"{name}: video_np_pairs[{i}]")
            asked[pair] = None
            phrases.setdefault(pair[1], str(entry.get("noun_phrase", pair[1])))
    else:
        warnings.append(f"{name} has no 'video_np_pairs': which phrases were asked and are absent is not known")
    return VEvalFile(name, videos, phrases, tuple(asked), masklets, tuple(warnings))


def read_video_predictions(path: str | Path) -> list[Entry]:
    """Read a list of predicted masklets: ``video_id``, ``category_id``, ``score``, ``segmentations``.

    Raises:
        FormatError: naming the entry that is wrong.
    """
    name = Path(path).name
    found = dictionaries(load_json(path), name)
    for i, entry in enumerate(found):
        where = f"{name}[{i}]"
        demand(entry, ["video_id", "category_id", "score", "segmentations"], where)
        identity(entry, "video_id", where), identity(entry, "category_id", where), number(entry, "score", where)
    return found


def score_veval(gt: VEvalFile, predictions: Sequence[Entry], *, threshold: float = 0.5) -> VEvalScore:
    """Score predicted masklets. Pairs are those that were asked, and all that have ground truth or predictions.

    Raises:
        FormatError: a mask that cannot be read, naming its entry and frame, or a prediction of an unknown video.
    """
    found: dict[PairId, list[tuple[str, Entry]]] = {}
    for i, entry in enumerate(predictions):
        pair = int(entry["video_id"]), int(entry["category_id"])
        if pair[0] not in gt.videos:
            raise FormatError(f"predictions[{i}] is of the video {pair[0]}, which {gt.name} does not have")
        found.setdefault(pair, []).append((f"predictions[{i}]", entry))
    pairs = sorted({*gt.asked, *gt.masklets, *found})
    if not pairs:
        raise FormatError(f"{gt.name} has no pairs; there is nothing to evaluate")
    counts = []
    for pair in pairs:
        truth = [
            (f"{gt.name}: annotation {entry.get('id', k)}", entry) for k, entry in enumerate(gt.masklets.get(pair, ()))
        ]
        size, length = gt.size(pair[0]), gt.length(pair[0])
        counts.append(count_video_pair(
            [_track(entry, name, size, length, truth=True) for name, entry in truth],
            [_track(entry, name, size, length) for name, entry in found.get(pair, ())],
            length,
            threshold=threshold,
        ))
    table = PairTable(counts, [gt.phrase(category) for _, category in pairs], [video for video, _ in pairs])
    return VEvalScore(table, tuple(pairs), (*gt.warnings, *_unasked(gt, found)))


def _track(entry: Entry, where: str, size: tuple[int, int], length: int, *, truth: bool = False) -> Track:
    """A masklet of a file."""
    held: Any = entry["segmentations"]
    if not isinstance(held, list) or len(held) != length:
        count = len(held) if isinstance(held, list) else held
        raise FormatError(f"{where} has segmentations for {count} frames; its video has {length}")
    names = {t: f"{where}, frame {t}" for t, segmentation in enumerate(held) if segmentation}
    rles = {t: compressed(held[t], size, name) for t, name in names.items()}
    check_rles(list(rles.values()), lambda place: list(names.values())[place])
    # An empty mask that is spelled out is an object for upstream, where it is ground truth.
    return Track(rles, score=float(entry.get("score", 1.0)), crowd=bool(entry.get("iscrowd", 0)), keep_empty=truth)


def _unasked(gt: VEvalFile, found: Iterable[PairId]) -> Iterable[str]:
    asked = {*gt.asked, *gt.masklets}
    extra = [pair for pair in found if pair not in asked]
    if extra:
        shown = named_some(f"{gt.phrase(category)!r} in the video {video}" for video, category in extra)
        yield (
            f"{len(extra)} pairs have predictions and were never asked ({shown}); they count as negatives, as upstream"
        )
