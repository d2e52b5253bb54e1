"""Crops of instances whose alpha is their mask, as tools that reconstruct things in 3D want them."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .pictures import Instance, Picture

if __package__ == "curation.handover":
    from zoo.engine.images import read_image
else:
    from ...zoo.engine.images import read_image

MANIFEST = "manifest.json"
_LONGEST = 80  # of a part of a file's name
_UNFIT = re.compile(r"[^\w.-]+")


class CropWriter:
    """``<concept>/<image>_<concept>_<label id>.png``, in a folder for each split, with ``manifest.json`` and ``.csv``.

    Pictures are RGBA of full resolution. Colours are those of the image, outside the mask, too, and not multiplied by
    alpha, which is 255 inside and 0 outside.

    Args:
        folder: where to.
        concepts: those that can come.
        margin: how much to show around a box, as a share of its longer side.
        square: whether crops are squares; where these reach beyond the image, they are black and transparent.
        min_size: instances whose box is smaller on its longer side, in pixels, are left out.
    """

    def __init__(
        self, folder: Path, concepts: Sequence[str], margin: float = 0.0, square: bool = False, min_size: int = 1
    ) -> None:
        self._folder, self._margin, self._square, self._min_size = folder, margin, square, min_size
        self._places = _folder_names(concepts)
        self._rows: list[dict[str, Any]] = []
        self._taken: set[str] = set()
        self._small = 0

    def add(self, picture: Picture) -> None:
        wanted = [one for one in picture.instances if max(one.box[2:]) >= self._min_size]
        if wanted:
            image = read_image(picture.filepath)
            if image.shape[:2] != picture.size:
                raise ValueError(
                    f"the image measures {image.shape[0]} x {image.shape[1]}, its metadata say {picture.size[0]} x "
                    f"{picture.size[1]} (height x width): compute_metadata(overwrite=True)"
                )
            for one in wanted:
                self._write(one, picture, image)
        self._small += len(picture.instances) - len(wanted)

    def _write(self, one: Instance, picture: Picture, image: NDArray[np.uint8]) -> None:
        window = _window(one.box, picture.size, self._margin, self._square)
        name = self._name(one, picture)
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(_cut(image, one, window)).save(path)
        self._rows.append(
            dict(
                file=name, split=picture.split or None, concept=one.label.label, confidence=one.label.confidence,
                bounding_box=list(one.box), crop=list(window), area=one.area, image=picture.filepath,
                image_size=list(picture.size[::-1]), sample_id=picture.sample_id, label_id=one.label.id,
            )
        )  # fmt: skip

    def _name(self, one: Instance, picture: Picture) -> str:
        """The file's, which is the same in every export, unless a label is in two samples."""
        place = self._places[one.label.label]
        folder = Path(picture.split) / place
        stem = f"{_fit(Path(picture.filepath).stem)}_{place}_{one.label.id}"
        name, again = f"{stem}.png", 1
        while (folder / name).as_posix() in self._taken:
            again += 1
            name = f"{stem}-{again}.png"
        self._taken.add((folder / name).as_posix())
        return (folder / name).as_posix()

    def close(self) -> None:
        (self._folder / MANIFEST).write_text(json.dumps({"crops": self._rows}, indent=1, ensure_ascii=False))
        with (self._folder / MANIFEST).with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
            columns = {
                "bounding_box": ("x", "y", "width", "height"), "crop": ("crop_x", "crop_y", "crop_width",
                "crop_height"), "image_size": ("image_width", "image_height"),
            }  # fmt: skip
            flat = [
                {k: v for name, value in row.items() for k, v in zip(columns.get(name, (name,)),
                value if name in columns else (value,), strict=True)}
                for row in self._rows
            ]  # fmt: skip
            writer = csv.DictWriter(file, list(flat[0]) if flat else ["file"])
            writer.writeheader()
            writer.writerows(flat)

    def notes(self) -> list[str]:
        return [f"{self._small} instances are smaller than {self._min_size} pixels: left out"] if self._small else []

    def measures(self) -> dict[str, float]:
        return {"crops": float(len(self._rows))}


def _window(
    box: tuple[int, int, int, int], size: tuple[int, int], margin: float, square: bool
) -> tuple[int, int, int, int]:
    """(x, y, width, height) of what is shown, in pixels; only a square may reach beyond the image."""
    x, y, w, h = box
    more = round(margin * max(w, h))
    left, top, right, bottom = x - more, y - more, x + w + more, y + h + more
    if square:
        side = max(right - left, bottom - top)
        left, top = left - (side - (right - left)) // 2, top - (side - (bottom - top)) // 2
        return left, top, side, side
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, size[1]), min(bottom, size[0])
    return left, top, right - left, bottom - top


def _cut(image: NDArray[np.uint8], one: Instance, window: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """(h, w, 4) the window."""
    left, top, width, height = window
    cut = np.zeros((height, width, 4), np.uint8)
    y0, x0 = max(top, 0), max(left, 0)
    seen = image[y0 : max(top + height, 0), x0 : max(left + width, 0)]
    cut[y0 - top : y0 - top + seen.shape[0], x0 - left : x0 - left + seen.shape[1], :3] = seen
    x, y, w, h = one.box
    cut[y - top : y - top + h, x - left : x - left + w, 3] = one.mask() * 255
    return cut


def _folder_names(concepts: Sequence[str]) -> dict[str, str]:
    """Concept → the name of its folder: no two the same, whatever the disk thinks of capitals."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for concept in concepts:
        bare = name = _fit(concept)
        again = 1
        while name.casefold() in taken:
            again += 1
            name = f"{bare}-{again}"
        taken.add(name.casefold())
        names[concept] = name
    return names


def _fit(name: str) -> str:
    """A name that every disk can have."""
    return _UNFIT.sub("-", name).strip(".-")[:_LONGEST] or "unnamed"
