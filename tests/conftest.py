"""Fixtures. The private FiftyOne is up before any test module is imported, because importing FiftyOne settles it."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import psutil
import pytest
from hypothesis import HealthCheck, settings
from support.sandbox import OWN_SERVER, REPOSITORY, Sandbox, find_mongod

if TYPE_CHECKING:
    import fiftyone as fo
    from playwright.sync_api import Page

SANDBOX = pytest.StashKey[Sandbox]()
#: processes of ``-n auto``, and the bytes of memory of each: torch, FiftyOne, a database, and now and then a browser
MOST_PROCESSES, MEMORY_EACH = 8, 3 * 2**30


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Processes of ``-n auto``: a core each, and the memory for it.

    Of its own accord pytest-xdist counts physical cores, of which a small machine in a cloud has one for its two, and
    the machine's instead of those that this process may use.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, MOST_PROCESSES, psutil.virtual_memory().available // MEMORY_EACH))


def pytest_configure(config: pytest.Config) -> None:
    """Before anything is imported that imports FiftyOne."""
    # Tiny networks are no quicker on several threads, which spin while they wait for each other: where the machine has
    # something else to do, tests take three times as long. Read when torch is imported, here and in other processes.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # How long an example takes depends on what else runs: what has to be quick has a test that says so.
    settings.register_profile("calm", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("calm")
    config.pluginmanager.register(RootIsNoPackage())
    try:
        if only_hands_out(config):
            if not os.environ.get(OWN_SERVER):
                find_mongod()  # said once here, not by each process
            return
        sandbox = config.stash[SANDBOX] = Sandbox().__enter__()
    except RuntimeError as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)
    # Not at pytest's end: when the process ends, FiftyOne tidies its database up, and would wait half a minute for a
    # server that is gone. What is registered first runs last.
    atexit.register(sandbox.__exit__)


def only_hands_out(config: pytest.Config) -> bool:
    """Whether this process runs no tests, but leaves them to processes of pytest-xdist, each with its own FiftyOne."""
    return config.getoption("dist", "no") != "no" and not config.option.collectonly


class RootIsNoPackage:
    """Collect the root as a plain folder: its ``__init__.py`` is the plugin's, for FiftyOne to import, not for pytest.

    An object, not a hook of this file, because pytest asks a ``conftest.py`` only about what is below it.
    """

    def pytest_collect_directory(self, path: Path, parent: pytest.Collector) -> pytest.Dir | None:
        return pytest.Dir.from_parent(parent, path=path) if path == REPOSITORY else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A browser test that was skipped is worth more than one line among many."""
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if "browser" in report.keywords]
    if skipped:
        terminalreporter.section("THE APP WAS NOT TESTED", sep="!", red=True, bold=True)
        terminalreporter.line(f"{len(skipped)} browser test(s) skipped: {skipped[0].longrepr[2]}", red=True)


@pytest.fixture(scope="session")
def sandbox(pytestconfig: pytest.Config) -> Sandbox:
    """The private FiftyOne that this process lives in."""
    return pytestconfig.stash[SANDBOX]


@pytest.fixture
def dataset_dir(tmp_path: Path) -> Path:
    """An empty folder for a dataset's media."""
    folder = tmp_path / "media"
    folder.mkdir()
    return folder


@pytest.fixture
def new_dataset() -> Iterator[Callable[..., fo.Dataset]]:
    """Makes datasets that the App can see (persistent, uniquely named), and deletes them after the test."""
    import fiftyone as fo

    made = []

    def make(samples: list[fo.Sample] | None = None, name: str = "test") -> fo.Dataset:
        made.append(fo.Dataset(f"{name}-{uuid4().hex[:8]}", persistent=True))
        made[-1].add_samples(samples or [])
        return made[-1]

    yield make
    for dataset in made:
        if not dataset.deleted:
            dataset.delete()


@pytest.fixture(scope="session")
def app(sandbox: Sandbox) -> Iterator[str]:
    """The URL of the App's server, one for all tests."""
    from support.app import serve

    with serve(sandbox.root) as url:
        yield url


@pytest.fixture
def browser_page(request: pytest.FixtureRequest) -> Iterator[Page]:
    """An empty page in a real browser; how it looked last is kept in ``build/screenshots``.

    A browser for each test: while Playwright runs, this thread has a running event loop, and FiftyOne's
    ``execute_operator`` returns tasks instead of results. So prepare with operators before, or on another thread.
    """
    from support.browser import open_page, screenshot

    with open_page() as page:
        yield page
        screenshot(page, request.node.name)
