"""The ground the other tests stand on: FiftyOne is private, ends with the tests, and opens in a real browser."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

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


def test_each_process_has_a_database_of_its_own(tmp_path):
    """And the one that hands out the tests has none."""
    test = """
import json, os, pathlib, psutil

def test_it(sandbox, worker_id):
    above = psutil.Process(os.getppid()).children()
    told = [sandbox.uri, sandbox.database, str(sandbox.root), [process.name() for process in above]]
    pathlib.Path(__file__).with_name(f"{worker_id}.json").write_text(json.dumps(told))
"""
    for name in ("a", "b"):
        (tmp_path / f"test_{name}.py").write_text(test)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for name in ("PYTEST_XDIST_WORKER", "TEST_DATABASE_URI"):
        environment.pop(name, None)

    options = ["-p", "conftest", "-p", "no:cacheprovider", "-n", "2", "--dist", "loadfile", f"--rootdir={tmp_path}"]
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, *options, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr

    told = [json.loads((tmp_path / f"gw{k}.json").read_text()) for k in range(2)]
    uris, databases, roots, above = zip(*told, strict=True)
    assert len(set(uris)) == len(set(databases)) == len(set(roots)) == 2
    assert "mongod" not in above[0] + above[1]
    assert not any(Path(root).exists() for root in roots)


@pytest.mark.parametrize(
    ("cores", "gigabytes", "processes"), [(1, 64, 1), (2, 16, 2), (6, 64, 6), (64, 512, 8), (8, 7, 2), (4, 1, 1)]
)
def test_processes_for_tests_have_a_core_and_memory_each(pytestconfig, monkeypatch, cores, gigabytes, processes):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=gigabytes * 2**30))

    assert pytestconfig.hook.pytest_xdist_auto_num_workers(config=pytestconfig) == processes


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
