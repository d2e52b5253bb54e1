"""What Ray starts in another process, on this machine or another one.

Nothing of this package can be imported there before it has been unpacked, so this file imports the standard library
alone, and Ray takes the class along by value.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import io
import os
import platform
import shutil
import sys
import tempfile
import traceback
import zipfile
from pathlib import Path
from typing import Any


class Sam3Worker:
    """One process with a model. Its answers are pairs: what kind of answer, and the answer.

    ``"ready"``, facts; ``"said"``, a step of the work; ``"end"`` of a task; ``"refused"``, a sentence for the user;
    ``"failed"``, a reason. Never an exception, whose class the other side may not know.
    """

    def begin(self, package: bytes, name: str, environment: dict[str, str], job: bytes) -> tuple[str, Any]:
        """Unpack the package, and load the model.

        Args:
            package: a zip file of it
            name: that it shall have here
            environment: of this process, from now on: read when FiftyOne and torch are imported
            job: what is to be done, as :mod:`zoo.parts` understands it
        """
        try:
            os.environ.update(environment)
            _unpack(package, name)
            self._share = importlib.import_module(f"{name}.parts").Share(job)
            return "ready", dict(self._share.facts, pid=os.getpid(), node=platform.node())
        except Exception as error:
            ours = type(error).__name__ in ("ConceptError", "CheckpointError")
            return ("refused", str(error)) if ours else ("failed", _told(error))

    def take(self, task: bytes) -> tuple[str, Any]:
        """Begin a task; gives its first step."""
        try:
            self._work = self._share.work(task)
        except Exception as error:
            return "failed", _told(error)
        return self.step()

    def step(self) -> tuple[str, Any]:
        """Go on with it."""
        try:
            return "said", next(self._work)
        except StopIteration:
            return "end", None
        except Exception as error:
            return "failed", _told(error)


def _unpack(package: bytes, name: str) -> None:
    """Import a zipped package under ``name``, out of a folder that processes of one user share on a machine."""
    me = os.getuid()
    folder = Path(tempfile.gettempdir()) / f"{name}-{me}-{hashlib.sha256(package).hexdigest()[:16]}"
    if not folder.is_dir():
        fresh = Path(tempfile.mkdtemp(prefix=f"{name}-"))
        with zipfile.ZipFile(io.BytesIO(package)) as archive:
            archive.extractall(fresh)
        try:
            fresh.rename(folder)
        except OSError:  # another process was faster
            shutil.rmtree(fresh, ignore_errors=True)
    held = folder.stat()
    if held.st_uid != me or held.st_mode & 0o022:  # what others may write is not run
        raise RuntimeError(f"{folder} is not this user's own: remove it")
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])


def _told(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(where.filename).name}, line {where.lineno})"
