"""Files of SA-Co/Gold and SA-Co/Silver.

One JSON file an annotator. ``images``: the *pairs*, each an image and a noun phrase (``id``, ``file_name``,
``text_input``, ``height``, ``width``, ``is_instance_exhaustive``, ``is_pixel_exhaustive``); a file name comes again
with every phrase. ``annotations``: the masks of a pair (``image_id``, ``segmentation``, ``bbox`` relative to the
image, ``category_id`` 1, ``iscrowd``). A pair without annotations is a negative. Predictions: a list of COCO results.

Source: README of facebookresearch/sam3 at 99d02f2 (``scripts/eval/gold``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .entries import Entry, FormatError, column, dictionaries, entries, identities, load_json, numbers


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


def read_gold(path: str | Path) -> GoldFile:
    """Read an annotator's file, and check its entries, but for their masks, which are looked at when they are used.

    Raises:
        FormatError: naming what is wrong.
    """
    document, name = load_json(path), Path(path).name
    images, annotations = entries(document, "images", name), entries(document, "annotations", name)
    categories = frozenset(identities(entries(document, "categories", name), "id", f"{name}: categories"))
    numbered = identities(images, "id", f"{name}: images")
    column(images, "is_instance_exhaustive", f"{name}: images")
    pairs = dict(zip(numbered, images, strict=True))
    if len(pairs) < len(images):
        again = next(i for i, pair in enumerate(numbered) if pair in numbered[:i])
        raise FormatError(f"{name}: images[{again}] has the id {numbered[again]}, which an earlier one has")
    if not pairs:
        raise FormatError(f"{name}: images is empty; there is nothing to evaluate")

    masks: dict[int, list[tuple[int, Entry]]] = {}
    strangers: dict[str, list[int]] = {}
    owners = identities(annotations, "image_id", f"{name}: annotations")
    kinds = identities(annotations, "category_id", f"{name}: annotations")
    for i, (pair, category, entry) in enumerate(zip(owners, kinds, annotations, strict=True)):
        if pair not in pairs:
            strangers.setdefault("of pairs that are not among images", []).append(i)
        elif category not in categories:
            strangers.setdefault("of categories that are not among categories", []).append(i)
        else:
            masks.setdefault(pair, []).append((category, entry))
    warnings = tuple(
        f"{name}: {len(places)} annotations are {what}, such as annotations[{places[0]}]; left out, as upstream"
        for what, places in strangers.items()
    )
    return GoldFile(name, pairs, {pair: by_category(held) for pair, held in masks.items()}, categories, warnings)


def read_predictions(path: str | Path) -> list[Entry]:
    """Read a list of COCO results: ``image_id`` (the pair), ``category_id``, ``score``, ``segmentation`` or ``bbox``.

    Raises:
        FormatError: naming the entry that is wrong.
    """
    name = Path(path).name
    found = dictionaries(load_json(path), name)
    for key in ("image_id", "category_id"):
        identities(found, key, name)
    numbers(found, "score", name)
    return found


def by_category(held: Sequence[tuple[int, Entry]]) -> list[Entry]:
    """By category, then in the order of the file, as upstream lines them up: ties in the assignment depend on it."""
    return [entry for _, entry in sorted(held, key=lambda one: one[0])]
