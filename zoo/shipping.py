"""This package, and what is said to it, on the way to other processes.

It may be loaded here under the odd name of a plugin or of a zoo source, and need not exist on the other machine at all.
So it travels with the work, and has a name of its own there, which shadows nothing.
"""

from __future__ import annotations

import importlib
import io
import operator
import pickle
import zipfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
#: of this package, in other processes
NAME = "concepts_sam3_worker"
_HERE = __name__.rpartition(".")[0]


def packed(folder: Path | None = None) -> bytes:
    """This package as a zip file, the tiny checkpoint included (12 MB); the same bytes for the same files."""
    folder = folder or FOLDER
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                archive.writestr(zipfile.ZipInfo(file.relative_to(folder).as_posix()), file.read_bytes())
    return held.getvalue()


class _Pickler(pickle.Pickler):
    """A pickle names a class by its module, and ours is called otherwise on the other side."""

    def persistent_id(self, one: Any) -> tuple[str, str] | None:
        if isinstance(one, type) and one.__module__.startswith(f"{_HERE}."):
            return one.__module__.removeprefix(_HERE), one.__qualname__
        return None


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, known: tuple[str, str]) -> Any:
        module, name = known
        return operator.attrgetter(name)(importlib.import_module(_HERE + module))


def dumps(one: Any) -> bytes:
    """Pickle it for this package under another name."""
    held = io.BytesIO()
    _Pickler(held, protocol=pickle.HIGHEST_PROTOCOL).dump(one)
    return held.getvalue()


def loads(data: bytes) -> Any:
    """What :func:`dumps` took down."""
    return _Unpickler(io.BytesIO(data)).load()
