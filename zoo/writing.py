"""Answers on their way into the database: a few at a time, by processes of their own, or by a thread of this one.

FiftyOne's own way takes a millisecond and more of Python for each instance, in the process that also feeds the
network. The result is the same here (:mod:`scribe`): of labels, FiftyOne makes one, and the others are made in its
image.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.core.odm as foo
import numpy as np

from .engine.results import ConceptResult
from .labels import to_attributes
from .ledger import Ledger, field_of
from .scribe import Scribe

logger = logging.getLogger(__name__)

#: what a process runs
_FILE = Path(__file__).with_name("scribe.py")
#: how long a process may take to end that was told to, in seconds
_PATIENCE = 10
#: with the path of this process, because the environment alone need not lead to what is installed
_START = "import runpy, sys; sys.path[:] = sys.argv[2:]; runpy.run_path(sys.argv[1], run_name='__main__')"


class WriterError(RuntimeError):
    """Answers could not be written, and not because of what they are."""


@dataclass(frozen=True)
class Written:
    """A batch that has arrived: ``key``, as it was given to :meth:`Writers.put`, and for each answer why it could not
    be written, or ``None``.
    """

    key: Any
    reasons: list[str | None]


class Writers:
    """Processes that write. A context manager: what was given is written when it is left.

    Args:
        form: of :func:`form_of`
        count: how many processes; 0: a thread of this one

    Raises:
        WriterError: by any method: a process died twice over the same answers, or the database refuses to work
    """

    def __init__(self, form: dict[str, Any], count: int = 0) -> None:
        self._most = 2 * max(count, 1) + 1  # batches on their way: one is written while the next travels
        self._open = 0
        self._orders: queue.Queue = queue.Queue()
        self._replies: queue.Queue = queue.Queue()
        make = _Process if count else _Here
        self._desks = [make(form) for _ in range(max(count, 1))]
        self._threads = [threading.Thread(target=self._work, args=(desk,), daemon=True) for desk in self._desks]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Writers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def put(self, key: Any, answers: Sequence[dict[str, Any]]) -> list[Written]:
        """Give answers (:func:`answer_of`, :func:`error_of`) to be written, as soon as there is room for them.

        Returns:
            what has been written meanwhile
        """
        written = []
        while self._open >= self._most:
            written.append(self._next())
        self._open += 1
        self._orders.put((key, answers))
        while not self._replies.empty():
            written.append(self._next())
        return written

    def drain(self) -> Iterator[Written]:
        """Wait for all that was given."""
        while self._open:
            yield self._next()

    def salvage(self) -> list[Written]:
        """As :meth:`drain`, when something has gone wrong already: what could be written nevertheless."""
        written = []
        while self._open:
            with contextlib.suppress(WriterError):
                written.append(self._next())
        return written

    def close(self) -> None:
        """Write what was given, and end the processes."""
        for _ in self._threads:
            self._orders.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []

    @property
    def pids(self) -> list[int]:
        """Of the processes that run now."""
        return [desk.pid for desk in self._desks if desk.pid is not None]

    def _next(self) -> Written:
        reply = self._replies.get()
        self._open -= 1
        if isinstance(reply, BaseException):
            raise reply
        return reply

    def _work(self, desk: _Here | _Process) -> None:
        failed: WriterError | None = None
        with contextlib.closing(desk):
            while (order := self._orders.get()) is not None:
                key, answers = order
                try:
                    if failed is not None:
                        raise failed
                    self._replies.put(Written(key, desk.write(answers)))
                except Exception as error:  # who waits for a reply must get one
                    failed = error if isinstance(error, WriterError) else WriterError(_said(error))
                    self._replies.put(failed)


class _Here:
    """A desk in this process."""

    pid: int | None = None

    def __init__(self, form: dict[str, Any]) -> None:
        self._form = form
        self._scribe: Scribe | None = None

    def write(self, answers: Sequence[dict[str, Any]]) -> list[str | None]:
        self._scribe = self._scribe or Scribe(**self._form)
        return self._scribe.write(answers)

    def close(self) -> None:
        if self._scribe is not None:
            self._scribe.close()


class _Process:
    """A desk in another process, which starts from nothing: a copy of this one would have the GPU, and locks of
    threads that it does not have.
    """

    def __init__(self, form: dict[str, Any]) -> None:
        self._form = form
        self._process: subprocess.Popen | None = None
        self._start()

    @property
    def pid(self) -> int | None:
        return None if self._process is None or self._process.poll() is not None else self._process.pid

    def write(self, answers: Sequence[dict[str, Any]]) -> list[str | None]:
        try:
            return self._ask(answers)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            logger.warning("A writer process died (%s); its answers are given to another", self._end(error))
        self._start()
        try:
            return self._ask(answers)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            raise WriterError(
                f"Two writer processes died over the same {len(answers)} samples ({self._end(error)}). What was "
                "written before stays, and skip_existing=True goes on from there; writers=0 does without processes"
            ) from None

    def close(self) -> None:
        if self._process is None:
            return
        with contextlib.suppress(OSError):
            self._send(None)  # the end of the pipe would say so, too, unless this process has been forked meanwhile
            self._process.stdin.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _start(self) -> None:
        # masks are deflated by one thread; numpy need not prepare for more
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, str(_FILE), *filter(None, sys.path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
        )
        with contextlib.suppress(OSError):  # who is asked next will notice
            self._send(self._form)

    def _ask(self, answers: Sequence[dict[str, Any]]) -> list[str | None]:
        self._send(answers)
        reasons, failed = pickle.load(self._process.stdout)
        if failed is not None:
            raise WriterError(f"Answers could not be written: {failed}")
        return reasons

    def _send(self, order: Any) -> None:
        pickle.dump(order, self._process.stdin, protocol=5)
        self._process.stdin.flush()

    def _end(self, error: BaseException) -> str:
        """What became of the process."""
        self._process.kill()
        code = self._process.wait()
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.stdout.close()
        return f"signal {-code}" if code < 0 else f"exit code {code}" if code else str(error)


def form_of(dataset: fo.Dataset, ledger: Ledger, label_field: str, instances: Sequence[str]) -> dict[str, Any]:
    """What a :class:`scribe.Scribe` must know to write like FiftyOne.

    Args:
        dataset: the dataset
        ledger: the ledger, of samples
        label_field: where instances go
        instances: fields where earlier instances may be
    """
    first = [label_field] if label_field in instances else []
    example = fo.Detection(mask=np.zeros((1, 1), bool), label="", bounding_box=[0, 0, 0, 0])
    return dict(
        client=_client(), database=fo.config.database_name, collection=dataset._sample_collection_name,
        label_field=label_field, instances=list(dict.fromkeys([*first, *instances])),
        numbers=[ledger.presence, ledger.score, ledger.count], error=ledger.error,
        templates=dict(
            labels=dict(fo.Detections().to_dict()), label=dict(example.to_dict()),
            numbers=dict(fo.DynamicEmbeddedDocument().to_dict()),
        ),
    )  # fmt: skip


def answer_of(
    sample: str, asked: Sequence[str], results: Sequence[ConceptResult], size: tuple[int, int]
) -> dict[str, Any]:
    """What one sample was answered, in plain objects that any process can read.

    Args:
        sample: its id
        asked: labels whose instances were looked for
        results: of these
        size: ``(height, width)`` of the image, in pixels
    """
    numbers = {field_of(r.label): (r.presence, r.object_score, r.count) for r in results}
    return dict(id=sample, error=None, asked=list(asked), found=to_attributes(results, size), numbers=numbers)


def error_of(sample: str, reason: str) -> dict[str, Any]:
    """As :func:`answer_of`, of a sample that could not be asked."""
    return dict(id=sample, error=reason)


def _client() -> dict[str, Any]:
    """How to reach the database that FiftyOne is connected to."""
    if fo.config.database_uri is not None:
        compressors = dict(compressors=fo.config.database_compressor) if fo.config.database_compressor else {}
        return dict(host=fo.config.database_uri, **compressors)
    host, port = foo.get_db_client().address
    return dict(host=host, port=port)


def _said(error: BaseException) -> str:
    return f"Answers could not be written: {type(error).__name__}: {error}"
