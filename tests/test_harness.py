"""The ground the other tests stand on: FiftyOne is private, ends with the tests, and opens in a real browser."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from support.sandbox import REPOSITORY


def pictures(folder: Path, count: int) -> list[Path]:
    """A few gradients of different colours."""
    ramp = np.linspace(0, 255, 320, dtype=np.uint8)
    paths = []
    for i in range(count):
        pixels = np.zeros((240, 320, 3), dtype=np.uint8)
        pixels[..., i % 3] = ramp
        paths.append(folder / f"{i}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def test_database_is_private(sandbox, new_dataset):
    import fiftyone as fo
    import fiftyone.core.odm as foo

    assert new_dataset().name in fo.list_datasets()

    client = foo.get_db_conn().client
    assert sandbox.database in client.list_database_names()
    if "TEST_DATABASE_URI" not in os.environ:
        options = client.admin.command("getCmdLineOpts")["parsed"]
        assert Path(options["storage"]["dbPath"]).is_relative_to(sandbox.root)
        assert options["net"]["bindIp"] == "127.0.0.1"


@pytest.mark.parametrize("kind", ["database", "dataset_zoo", "default_dataset", "model_zoo", "plugins"])
def test_folders_are_private(sandbox, kind):
    import fiftyone as fo

    assert Path(getattr(fo.config, f"{kind}_dir")).is_relative_to(sandbox.root)


def test_repository_is_the_plugin(sandbox):
    assert (sandbox.root / "plugins" / "@concepts" / "sam3").resolve() == REPOSITORY


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_database_ends_with_tests_that_are_killed(tmp_path):
    script = """
import time
from support.sandbox import Sandbox
with Sandbox() as sandbox:
    print(sandbox._mongod.pid, flush=True)
    time.sleep(60)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)}
    environment.pop("TEST_DATABASE_URI", None)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment)
    mongod = psutil.Process(int(process.stdout.readline()))
    assert mongod.name() == "mongod"

    process.send_signal(signal.SIGKILL)
    process.wait()

    _, alive = psutil.wait_procs([mongod], timeout=30)
    assert not alive


@pytest.mark.browser
def test_app_opens_in_a_browser(app, browser_page, dataset_dir, new_dataset):
    import fiftyone as fo
    from support.browser import eventually, open_dataset, screenshot

    samples = [fo.Sample(filepath=path, brightness=i / 2) for i, path in enumerate(pictures(dataset_dir, 3))]
    dataset = new_dataset(samples, name="harness")

    open_dataset(browser_page, app, dataset.name)

    browser_page.wait_for_function("document.querySelectorAll('[data-cy=looker]').length === 3")
    browser_page.get_by_text("3 samples").wait_for()
    assert browser_page.locator('[data-cy="sidebar-field-arrow-enabled-brightness"]').is_visible()
    assert browser_page.get_by_text("Dismiss", exact=True).count() == 0

    def every_picture_is_drawn() -> bool:
        picture = Image.open(screenshot(browser_page, "harness-grid")).convert("RGB")
        colours = np.asarray(picture).reshape(-1, 3)
        return all(
            ((colours[:, i] > 200) & (np.delete(colours, i, axis=1) < 40).all(axis=1)).sum() > 1000 for i in range(3)
        )

    eventually(browser_page, every_picture_is_drawn)
