"""The folder of an export: written beside its place, moved there when it is whole, and replaced without harm."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import CurationError

#: what an export leaves in its folder: what it is, and every file that it wrote
MARKER = "export.json"
_MADE_BY = "concepts/sam3"


class Folder:
    """Where an export goes.

    Nothing is written before :meth:`start`. What :attr:`stage` holds is moved in by :meth:`finish`; whatever goes wrong
    before, :meth:`abandon` leaves everything as it was.

    Args:
        path: the folder; ``~`` is the home folder.
        overwrite: whether an earlier export may be replaced. Files that it did not write stay.

    Raises:
        CurationError: the path is a file, holds something already, or cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        if not isinstance(path, (str, os.PathLike)) or not str(path).strip():
            raise CurationError(f"export_dir={path!r} must be the path of a folder, such as 'handover/coco'")
        self.path = Path(os.path.abspath(Path(path).expanduser()))
        self.earlier = _read_marker(self.path)
        self.stage: Path | None = None
        self._check(overwrite)

    def _check(self, overwrite: bool) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise CurationError(f"export_dir: {self.path} is a file; say a folder")
        parent = next(folder for folder in self.path.parents if folder.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            raise CurationError(f"export_dir: nothing can be written into {parent}; say another folder")
        if not self.path.exists() or not any(self.path.iterdir()):
            return
        if self.earlier is None:
            raise CurationError(
                f"export_dir: {self.path} is not empty, and holds no export of this kind: say a new folder. "
                "overwrite=True replaces earlier exports only"
            )
        if not overwrite:
            raise CurationError(
                f"export_dir: {self.path} holds an export of {self.earlier.get('made', 'an unknown time')}: say "
                "overwrite=True to replace it, or a new folder"
            )

    def check_media(self, filepaths: Iterable[str]) -> None:
        """Refuse to replace an export whose own media are to be exported.

        Raises:
            CurationError: some of the media are in the folder.
        """
        if self.earlier is None:
            return
        real = os.path.realpath(self.path) + os.sep
        inside = next((path for path in filepaths if os.path.realpath(path).startswith(real)), None)
        if inside is not None:
            raise CurationError(
                f"export_dir: {self.path} would be replaced, and holds media of these samples ({inside}): say a new "
                "folder"
            )

    def start(self) -> Path:
        """An empty folder to write into, on the same disk."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.stage = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.part-", dir=self.path.parent))
        self.stage.chmod(0o777 & ~_umask())  # mkdtemp's is for its owner alone
        return self.stage

    def finish(self, about: Mapping[str, Any]) -> tuple[str, ...]:
        """Move what was written to its place.

        Args:
            about: what the marker says of the export; plain values.

        Returns:
            the files, relative to the folder, with "/".

        Raises:
            CurationError: a file of somebody else has the name of one that was written. The earlier export stays.
        """
        assert self.stage is not None
        files = tuple(sorted([*_files(self.stage), MARKER]))
        (self.stage / MARKER).write_text(json.dumps(dict(made_by=_MADE_BY, **about, files=files), indent=1))
        if not self.path.exists():
            self.stage.rename(self.path)
        elif self.earlier is None:
            self.path.rmdir()  # empty, or this fails
            self.stage.rename(self.path)
        else:
            self._replace(files)
        self.stage = None
        return files

    def _replace(self, files: tuple[str, ...]) -> None:
        """Swap the folders; what the earlier export did not write moves along."""
        assert self.stage is not None and self.earlier is not None
        written = set(self.earlier["files"])
        others = [name for name in _files(self.path) if name not in written]
        clash = sorted({name.casefold() for name in others} & {name.casefold() for name in files})
        if clash:
            raise CurationError(
                f"export_dir: {self.path / clash[0]} was not written by the earlier export, and would be overwritten: "
                "move it away, or say a new folder"
            )
        old = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.old-", dir=self.path.parent))
        old.rmdir()
        self.path.rename(old)
        try:
            self.stage.rename(self.path)
        except OSError:
            old.rename(self.path)
            raise
        for name in others:
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (old / name).rename(self.path / name)
        shutil.rmtree(old)  # what is left is what the earlier export wrote

    def abandon(self) -> None:
        """Delete what was written so far; nothing if all of it is in its place."""
        if self.stage is not None:
            shutil.rmtree(self.stage, ignore_errors=True)
            self.stage = None


def _read_marker(path: Path) -> dict[str, Any] | None:
    try:
        held = json.loads((path / MARKER).read_text())
    except (OSError, ValueError):
        return None
    ours = isinstance(held, dict) and held.get("made_by") == _MADE_BY and isinstance(held.get("files"), list)
    return held if ours else None


def _files(folder: Path) -> list[str]:
    """All files in a folder, links too, relative to it."""
    found = []
    for parent, folders, names in os.walk(folder):
        linked = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        found += [Path(parent, name).relative_to(folder).as_posix() for name in (*names, *linked)]
    return found


def _umask() -> int:
    held = os.umask(0)
    os.umask(held)
    return held
