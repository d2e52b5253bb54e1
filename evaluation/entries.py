"""What the files of SA-Co have in common: JSON whose entries are checked one by one, and named when they are wrong."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

Entry: TypeAlias = Mapping[str, Any]

_CHUNK = 1000  # masks at a time: some 300 kB of runs, and a few MB to look at them


class FormatError(ValueError):
    """A file that is not what it should be: the message names the file, the entry and what to do."""


def load_json(path: str | Path) -> Any:
    """The contents of a JSON file.

    Raises:
        FormatError: there is no such file, or it is no JSON.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        raise FormatError(f"There is no file {path}") from None
    except IsADirectoryError:
        raise FormatError(f"{path} is a folder; name the JSON file in it") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"{path.name} is no JSON: {error}") from None


def entries(document: Any, key: str, where: str) -> list[Entry]:
    """The list under ``key`` of a document, each of them a dictionary.

    Raises:
        FormatError: it is missing, or is something else
    """
    if not isinstance(document, dict) or key not in document:
        held = f"the keys {sorted(document)}" if isinstance(document, dict) else f"a {type(document).__name__}"
        raise FormatError(f"{where} has no list {key!r}; it holds {held}")
    return dictionaries(document[key], f"{where}: {key}")


def dictionaries(held: Any, where: str) -> list[Entry]:
    """``held``, if it is a list of dictionaries."""
    if not isinstance(held, list):
        raise FormatError(f"{where} is a {type(held).__name__}; want a list")
    for i, entry in enumerate(held):
        if not isinstance(entry, dict):
            raise FormatError(f"{where}[{i}] is a {type(entry).__name__}; want a dictionary")
    return held


def demand(entry: Entry, keys: Iterable[str], where: str) -> None:
    """Raise a FormatError that names the keys which ``entry`` lacks."""
    missing = [key for key in keys if key not in entry]
    if missing:
        named = ", ".join(repr(key) for key in missing)
        raise FormatError(f"{where} has no {named}; it has the keys {sorted(entry)}")


def number(entry: Entry, key: str, where: str) -> float:
    """A finite number of ``entry``.

    Raises:
        FormatError: it is something else
    """
    value = entry[key]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
        raise FormatError(f"{where}: {key!r} is {value!r}; want a number")
    return float(value)


def identity(entry: Entry, key: str, where: str) -> int:
    """A whole number of ``entry``, which may be written as a string.

    Raises:
        FormatError: it is something else
    """
    value = entry[key]
    if isinstance(value, str) and value.strip().lstrip("-").isdigit():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise FormatError(f"{where}: {key!r} is {value!r}; want a whole number")
    return value


def box(entry: Entry, where: str) -> list[float]:
    """The ``bbox`` of an entry: [x, y, width, height].

    Raises:
        FormatError: it is something else
    """
    values = entry["bbox"]
    if not isinstance(values, list) or len(values) != 4 or not all(isinstance(v, (int, float)) for v in values):
        raise FormatError(f"{where}: 'bbox' is {values!r}; want [x, y, width, height]")
    if not np.isfinite(values).all():
        raise FormatError(f"{where}: 'bbox' is {values!r}, which is not finite")
    return values


def compressed(segmentation: Any, size: tuple[int, int] | None, where: str) -> dict[str, Any]:
    """A mask in any of COCO's forms as a compressed RLE. Runs of compressed ones are not looked at: :func:`check_rles`.

    Args:
        segmentation: an RLE, compressed or not, or a list of polygons in pixels.
        size: (height, width) of the image, if it is known; polygons need it.
        where: what error messages call it.

    Raises:
        FormatError: it is none of these, or of another size than its image
    """
    if isinstance(segmentation, list):
        if size is None:
            raise FormatError(f"{where} holds polygons, and the height and width of its image are not known")
        try:
            return dict(coco_mask.merge(coco_mask.frPyObjects(segmentation, *size)))
        except Exception as error:  # pycocotools raises whatever it comes across
            raise FormatError(f"{where} holds polygons that cannot be read: {error}") from None
    if not isinstance(segmentation, dict) or "counts" not in segmentation or "size" not in segmentation:
        raise FormatError(f'{where} is no mask; want {{"size": [height, width], "counts": …}}')
    own, counts = segmentation["size"], segmentation["counts"]
    if not isinstance(own, list) or len(own) != 2 or not all(isinstance(v, int) and v > 0 for v in own):
        raise FormatError(f"{where} has the size {own!r}; want [height, width]")
    if size is not None and tuple(own) != tuple(size):
        raise FormatError(f"{where} has the size {own}; its image has {list(size)} (height, width)")
    if isinstance(counts, str):
        return {"size": own, "counts": counts.encode()}
    if not isinstance(counts, list) or not all(isinstance(run, int) and run >= 0 for run in counts):
        raise FormatError(f"{where} has 'counts' that are neither a string nor a list of runs")
    if sum(counts) != own[0] * own[1]:
        raise FormatError(f"{where} has runs of {sum(counts)} pixels; its size {own} has {own[0] * own[1]}")
    return dict(coco_mask.frPyObjects(segmentation, *own))


def check_rles(rles: Sequence[Entry], names: Sequence[str]) -> None:
    """Look into compressed RLEs: their runs must fill their images, none of them negative.

    pycocotools does not look, and gives areas and IoUs of what is not a mask.

    Args:
        rles: compressed, see :func:`compressed`.
        names: what error messages call each.

    Raises:
        FormatError: naming the first that is broken
    """
    for start in range(0, len(rles), _CHUNK):
        chunk = rles[start : start + _CHUNK]
        broken = np.flatnonzero(_broken(chunk))
        if broken.size:
            place = start + int(broken[0])
            raise FormatError(
                f"{names[place]} is a broken RLE: its runs do not fill its size {list(rles[place]['size'])}"
            )


def _broken(rles: Sequence[Entry]) -> NDArray[np.bool_]:
    """(N,) which compressed RLEs are none. COCO writes runs as 5-bit groups in letters from "0" on, the least first,
    with a bit for "more follows"; from the fourth run on, as differences to the one before the last.
    """
    strings = [rle["counts"] for rle in rles]
    lengths = np.array([len(string) for string in strings])
    broken = lengths == 0
    letters = np.frombuffer(b"".join(strings), dtype=np.uint8).astype(np.int64) - 48
    owner = np.repeat(np.arange(len(rles)), lengths)
    broken[owner[(letters < 0) | (letters > 63)]] = True
    last = np.cumsum(lengths) - 1
    filled = np.flatnonzero(lengths > 0)
    broken[filled[(letters[last[filled]] & 32) > 0]] = True  # ends in the middle of a run

    done = (letters & 32) == 0
    done[last[filled]] = True
    first = np.flatnonzero(np.concatenate([[True], done[:-1]])) if letters.size else np.zeros(0, np.intp)
    final = np.flatnonzero(done)
    place = np.arange(letters.size) - np.repeat(first, final - first + 1)
    broken[owner[place > 6]] = True  # 35 bits: no image is so large, and the shift would overflow
    groups = (letters & 31) << (5 * np.minimum(place, 6))
    values = np.add.reduceat(groups, first) if first.size else groups
    negative = (letters[final] & 16) > 0
    values -= np.where(negative, np.int64(1) << (5 * (np.minimum(place[final], 6) + 1)), 0)

    mask_of = owner[first]
    index = np.arange(first.size) - np.repeat(
        np.flatnonzero(np.diff(mask_of, prepend=-1)), np.bincount(mask_of, minlength=len(rles))[np.unique(mask_of)]
    )
    for chain in (index == 0, index % 2 == 1, (index % 2 == 0) & (index > 0)):
        values[chain] = _running(values[chain], mask_of[chain])
    broken[mask_of[values < 0]] = True
    totals = np.bincount(mask_of, weights=values, minlength=len(rles))
    return broken | (totals != [rle["size"][0] * rle["size"][1] for rle in rles])


def _running(values: NDArray[np.int64], owner: NDArray[np.intp]) -> NDArray[np.int64]:
    """Cumulative sums that begin anew with each owner; owners are sorted."""
    if not values.size:
        return values
    sums = np.cumsum(values)
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    before = np.concatenate([[0], sums])[starts]
    return sums - np.repeat(before, np.diff(np.append(starts, values.size)))


def named_some(names: Iterable[Any], most: int = 3) -> str:
    """The first of ``names``, for a message."""
    shown = list(_first(names, most + 1))
    return ", ".join(str(name) for name in shown[:most]) + (", …" if len(shown) > most else "")


def _first(names: Iterable[Any], count: int) -> Iterator[Any]:
    for _, name in zip(range(count), names, strict=False):
        yield name
