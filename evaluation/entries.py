"""What the files of SA-Co have in common: JSON whose entries are checked one by one, and named when they are wrong."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

Entry: TypeAlias = Mapping[str, Any]

_CHUNK = 300  # masks at a time: what looking at their runs takes stays in the processor's cache


class FormatError(ValueError):
    """A file that is not what it should be: the message names the file, the entry and what to do."""


def load_json(path: str | Path) -> Any:
    """The contents of a JSON file.

    Raises:
        FormatError: there is no such file, or it is no JSON.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8") as file, no_collection():
            return json.load(file)
    except FileNotFoundError:
        raise FormatError(f"There is no file {path}") from None
    except IsADirectoryError:
        raise FormatError(f"{path} is a folder; name the JSON file in it") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"{path.name} is no JSON: {error}") from None


@contextmanager
def no_collection() -> Iterator[None]:
    """Without Python's garbage collector: while a large file is in memory, it would look through all its entries again
    and again, and find nothing.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


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
    if set(map(type, held)) <= {dict}:
        return held
    i, entry = next((i, entry) for i, entry in enumerate(held) if not isinstance(entry, dict))
    raise FormatError(f"{where}[{i}] is a {type(entry).__name__}; want a dictionary")


def demand(entry: Entry, keys: Iterable[str], where: str) -> None:
    """Raise a FormatError that names the keys which ``entry`` lacks."""
    missing = [key for key in keys if key not in entry]
    if missing:
        named = ", ".join(repr(key) for key in missing)
        raise FormatError(f"{where} has no {named}; it has the keys {sorted(entry)}")


def column(held: Sequence[Entry], key: str, where: str) -> list[Any]:
    """What every entry of a list has under ``key``.

    Raises:
        FormatError: naming the first that lacks it
    """
    try:
        return [entry[key] for entry in held]
    except KeyError:
        for i, entry in enumerate(held):
            demand(entry, [key], f"{where}[{i}]")
        raise


def identities(held: Sequence[Entry], key: str, where: str) -> list[int]:
    """The same, of whole numbers; see :func:`identity`."""
    values = column(held, key, where)
    if set(map(type, values)) <= {int}:
        return values
    return [identity(entry, key, f"{where}[{i}]") for i, entry in enumerate(held)]


def numbers(held: Sequence[Entry], key: str, where: str) -> list[float]:
    """The same, of finite numbers; see :func:`number`."""
    values = column(held, key, where)
    if set(map(type, values)) <= {int, float} and np.isfinite(values).all():
        return values
    return [number(entry, key, f"{where}[{i}]") for i, entry in enumerate(held)]


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


class Measured(NamedTuple):
    """What looking into N masks tells.

    Attributes:
        area: (N,) int64 pixels inside.
        left, right: (N,) int64 columns: the first with a pixel inside, and the one after the last; 0 of empty masks.
    """

    area: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]


def check_rles(rles: Sequence[Entry], name_of: Callable[[int], str]) -> Measured:
    """Look into compressed RLEs: their runs must fill their images, none of them negative.

    pycocotools does not look: it gives areas of what is not a mask, and may never come back from comparing one.

    Args:
        rles: compressed, see :func:`compressed`.
        name_of: what error messages call the one at a place.

    Raises:
        FormatError: naming the first that is broken
    """
    parts = [np.zeros((0, 3), dtype=np.int64)]
    for start in range(0, len(rles), _CHUNK):
        chunk = rles[start : start + _CHUNK]
        sizes = np.array([rle["size"] for rle in chunk])
        wrong, measured = _look([rle["counts"] for rle in chunk], sizes)
        broken = np.flatnonzero(wrong)
        if broken.size:
            place = start + int(broken[0])
            raise FormatError(
                f"{name_of(place)} is a broken RLE: its runs do not fill its size {list(rles[place]['size'])}"
            )
        parts.append(measured)
    return Measured(*np.concatenate(parts).T)


def _look(strings: Sequence[bytes], shapes: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """(N,) which compressed RLEs of images of ``shapes`` (N, 2) are none, and (N, 3) what is :class:`Measured` of them.

    COCO writes runs as 5-bit groups in letters from "0" on, the least first, with a bit for "more follows"; from the
    fourth run on, as differences to the one before the last.
    """
    sizes = np.fromiter(map(len, strings), np.int64, len(strings))
    broken = sizes == 0
    letters = np.frombuffer(b"".join(strings), dtype=np.uint8) - np.uint8(48)
    if not letters.size:
        return broken, np.zeros((len(strings), 3), dtype=np.int64)
    stops = np.cumsum(sizes)
    if letters.max() > 63:
        broken[np.searchsorted(stops, np.flatnonzero(letters > 63), side="right")] = True
    done = letters < 32
    tails, whole = stops[sizes > 0] - 1, np.flatnonzero(sizes > 0)
    broken[whole[~done[tails]]] = True  # ends in the middle of a run
    done[tails] = True

    ends = np.flatnonzero(done)
    groups = np.diff(ends, prepend=-1)
    broken[np.searchsorted(stops, ends[groups > 7], side="right")] = True  # 35 bits: no image is so large
    top = letters[ends]
    values = (top & 31).astype(np.int64) - ((top & 16).astype(np.int64) << 1)
    second = groups > 1
    values = np.where(second, (values << 5) | (letters[ends - second] & 31), values)
    longer, k = np.flatnonzero(groups > 2), 2
    while longer.size and k < 7:
        values[longer] = (values[longer] << 5) | (letters[ends[longer] - k] & 31)
        k += 1
        longer = longer[groups[longer] > k]

    misfit, measured = _fit(values, np.searchsorted(ends, stops - sizes), shapes)
    return broken | misfit, measured


def _fit(
    values: NDArray[np.int64], first: NDArray[np.intp], shapes: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """The second half of :func:`_look`; ``first``: where each one's values begin.

    The values of a mask are laid out in rows of two, [-, 0th], [1st, 2nd], [3rd, 4th] …, so that what is a difference
    is one to the value above it, and one cumulative sum down the rows of all masks gives all runs: those inside on the
    left, those outside on the right.
    """
    runs = np.diff(first, append=values.size)
    height = runs // 2 + 1
    start = np.cumsum(height) - height
    rows = np.zeros((int(height.sum()), 2), dtype=np.int64)
    rows.ravel()[np.arange(values.size) + np.repeat(2 * start + 1 - first, runs)] = values
    initial = rows[start, 1]
    rows[start, 1] = 0
    sums = np.cumsum(rows, axis=0)
    before = np.where(start[:, None] > 0, sums[start - 1], 0)
    negative = (np.minimum.reduceat(sums, start) < before).any(axis=1) | (initial < 0)
    inside, outside = (np.add.reduceat(sums, start) - before * height[:, None]).T
    last = sums[start + height - 1, 1] - before[:, 1]
    outside = outside - np.where(runs % 2 == 0, last, 0)  # a place that no run is in has the sum of those above
    tall = np.maximum(shapes[:, 0], 1)
    end = shapes.prod(axis=1) - np.where((runs % 2 == 1) & (runs > 1), last, 0)
    columns = np.stack([initial // tall, -(-end // tall)], axis=1) * (inside > 0)[:, None]
    return negative | (initial + inside + outside != shapes.prod(axis=1)), np.column_stack([inside, columns])


def named_some(names: Iterable[Any], most: int = 3) -> str:
    """The first of ``names``, for a message."""
    shown = list(_first(names, most + 1))
    return ", ".join(str(name) for name in shown[:most]) + (", …" if len(shown) > most else "")


def _first(names: Iterable[Any], count: int) -> Iterator[Any]:
    for _, name in zip(range(count), names, strict=False):
        yield name
