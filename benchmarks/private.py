"""A FiftyOne for benchmarks that nobody else uses: what else a database is asked for would be measured too."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TESTS = Path(__file__).resolve().parent.parent / "tests"


@contextmanager
def private_fiftyone() -> Iterator[None]:
    """The tests' own database server, and folders that are removed at the end, for this process and its children.

    Nothing is done where FIFTYONE_DATABASE_URI names a database: that one is used, and datasets in it are deleted.
    Must be entered before FiftyOne is imported.
    """
    if os.environ.get("FIFTYONE_DATABASE_URI"):
        yield
        return
    sys.path.insert(0, str(_TESTS))
    try:
        from support.sandbox import Sandbox
    finally:
        sys.path.remove(str(_TESTS))
    with Sandbox():
        yield
