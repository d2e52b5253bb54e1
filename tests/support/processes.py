"""Child processes that never outlive the tests."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1


def start(command: Sequence[str | Path], log: Path, **options) -> subprocess.Popen:
    """Start a process whose output goes to ``log``, and that ends when this one does.

    Clean-up code alone cannot promise that: it does not run when the tests are killed. Linux can (elsewhere clean-up
    code has to do).
    """
    ends_with_us = None
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None).prctl

        def ends_with_us():
            prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=ends_with_us,
            **options,
        )


def stop(process: subprocess.Popen, patience: float = 15) -> None:
    """Ask a process to end, then insist."""
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def tail(log: Path, lines: int = 30) -> str:
    """The end of a log, for a message about a process that failed."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
