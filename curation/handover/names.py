"""Names of exported images, no two the same.

FiftyOne numbers names that come again: the second ``x.png`` becomes ``x-2.png``. It does not remember that one, so that
an image that was called ``x-2.png`` from the start is written over it, without a word (seen in 1.22.1). Nor does it
know disks to which ``X.png`` is the same.
"""

from __future__ import annotations

import os
from typing import Any

import fiftyone.core.storage as fos
import fiftyone.core.utils as fou


class SureNames(fou.UniqueFilenameMaker):
    """FiftyOne's maker of names, which remembers all that it gave."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._given: set[str] = set()

    def get_output_path(self, input_path: str | None = None, output_ext: str | None = None) -> str:
        known = None if input_path is None else self._filepath_map.get(fos.normalize_path(input_path))
        if known is not None:
            return known
        name, ext = os.path.splitext(super().get_output_path(input_path, output_ext))
        bare, again = name, 1
        while self._key(name, ext) in self._given:
            again += 1
            name = f"{bare}-{again}"
        self._given.add(self._key(name, ext))
        if input_path is not None:
            self._filepath_map[fos.normalize_path(input_path)] = name + ext
        return name + ext

    def _key(self, name: str, ext: str) -> str:
        return (name if self.ignore_exts else name + ext).casefold()


def keep_apart(media: Any) -> None:
    """Have a media exporter of FiftyOne, once it is set up, give every image a name of its own."""
    if media.export_mode is False:
        return  # images stay where they are
    media._filename_maker = SureNames(
        output_dir=media.export_path, default_ext=media.default_ext, ignore_exts=media.ignore_exts, ignore_existing=True
    )
