"""The FiftyOne App, served on this machine."""

from __future__ import annotations

import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import processes
from .sandbox import LOGS


@contextmanager
def serve(folder: Path, patience: float = 120) -> Iterator[str]:
    """Serve the App for the database of this process; yields its URL, without a trailing slash.

    The server is started directly, not by ``fo.launch_app()``, which takes ten seconds longer. It runs in ``folder``:
    in the repository's root, a plugin could import what it cannot import at a user's.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = LOGS / "app.log"
    command = [sys.executable, "-m", "fiftyone.server.main", "--address", "127.0.0.1", "--port", str(port)]
    server = processes.start(command, log, cwd=folder)
    try:
        deadline = time.monotonic() + patience
        while not answers(f"{url}/fiftyone"):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"The App's server did not start within {patience:.0f} s:\n{processes.tail(log)}")
            time.sleep(0.2)
        yield url
    finally:
        processes.stop(server)


def answers(url: str) -> bool:
    """Whether a page of this machine is there; a proxy set for the outside world is not asked."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=2) as response:
            return response.status == 200
    except (OSError, urllib.error.URLError):
        return False


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
