"""A real browser on the App: how to start it, and the few gestures that every test of the App begins with."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, Page, Route, sync_playwright

from scripts.system import find_browser

from .sandbox import REPOSITORY

SCREENSHOTS = REPOSITORY / "build" / "screenshots"
PATIENCE_MS = 120_000  # a first page can take half a minute where the machine is busy
FLAGS = [
    "--no-sandbox",  # in containers, and for root, there is none to be had
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

# The App greets a new browser with an advertisement over the grid, unless it was seen.
GREETING_SEEN = "localStorage.setItem('fiftyone-enterprise-tooltip-seen', 'true')"


def browser_or_skip() -> str:
    """The browser's path. Without one: a failure in CI, where nobody reads about skipped tests; elsewhere a skip."""
    path = find_browser()
    if path is None:
        wanted = os.environ.get("CHROME")
        problem = f"CHROME={wanted} is not there" if wanted else "no Chromium or Chrome was found"
        message = f"{problem}; `make test` installs one where it can, or says how; CHROME names one"
        (pytest.fail if os.environ.get("CI", "").lower() in ("true", "1") else pytest.skip)(message)
    return path


@contextmanager
def open_page(size: tuple[int, int] = (1400, 900)) -> Iterator[Page]:
    """An empty page of a new browser that reaches this machine and nothing else."""
    executable = browser_or_skip()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        context = browser.new_context(viewport={"width": size[0], "height": size[1]})
        context.set_default_timeout(PATIENCE_MS)
        context.route("**/*", only_this_machine)
        context.add_init_script(GREETING_SEEN)
        try:
            yield context.new_page()
        finally:
            browser.close()


def only_this_machine(route: Route) -> None:
    """Tests do not depend on the network, and tell nobody that they run."""
    url = urlsplit(route.request.url)
    if url.scheme in ("data", "blob") or url.hostname == "127.0.0.1":
        route.continue_()
    else:
        route.abort()


def screenshot(page: Page, name: str) -> Path:
    """Keep a picture of the page as ``build/screenshots/<name>.png``."""
    path = SCREENSHOTS / (re.sub(r"[^\w.-]+", "_", name).strip("_") + ".png")
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path)
    return path


def open_dataset(page: Page, url: str, name: str) -> None:
    """Open a dataset (a persistent one: others end with the process that made them) and wait for its grid."""
    page.goto(f"{url}/datasets/{name}")
    page.wait_for_selector("[data-cy=looker]")


def eventually(page: Page, holds: Callable[[], bool], patience: float = PATIENCE_MS / 1000) -> None:
    """Wait until something holds that no selector can tell, such as what a canvas shows."""
    deadline = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < deadline, f"It did not come true within {patience:.0f} s: {holds}"
        page.wait_for_timeout(250)


def drag(page: Page, thumb: Locator, right: float) -> None:
    """Drag a slider's thumb ``right`` pixels to the right, once it stands still: what unfolds moves it down first."""
    place = None
    while place != (place := thumb.bounding_box()):
        page.wait_for_timeout(500)
    x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + right, y, steps=8)
    page.mouse.up()


def open_operator(page: Page, label: str) -> None:
    """Open an operator's form from the operator browser, by the label a user reads there."""
    page.keyboard.press("`")
    page.wait_for_selector("[data-cy=operators-browser-search]")
    page.keyboard.type(label, delay=20)
    page.get_by_text(label, exact=True).first.wait_for()
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-cy=operators-prompt-modal]")
