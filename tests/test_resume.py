"""Runs that were cut: nothing written is damaged, and going on ends where an uninterrupted run ends."""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path

import fiftyone as fo
import pytest
from support import media, processes
from support.media import COLOURS, scripted, states
from support.sandbox import LOGS

from zoo.ledger import pending
from zoo.provenance import run_info

SAMPLES = 40
# not the ledger's own name: a run that goes on must know it from the one that was cut
FIELD = "preds"

apply = partial(
    fo.Dataset.apply_model, label_field=FIELD, batch_size=3, num_workers=0, progress=False, skip_failures=False
)

#: what is killed: slow enough to be caught in the act
RUN = """
import sys, time
import fiftyone as fo
from support.media import scripted
dataset = fo.load_dataset(sys.argv[1])
model = scripted(["dog", "cat"], watch=lambda: time.sleep(0.3))
dataset.apply_model(model, label_field=sys.argv[2], batch_size=3, num_workers=0, progress=False, skip_failures=False)
"""


def written(dataset: fo.Dataset) -> int:
    """How many samples the database has an answer on "cat" for, asked behind this process's back."""
    return dataset._sample_collection.count_documents({"sam3_presence.cat": {"$exists": True}})


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """One that was asked about dogs in part, a run on it that was killed, and one that was not."""
    folder = tmp_path_factory.mktemp("media")
    colours = list(COLOURS)
    samples = [media.plain(folder / f"{k}.png", colours[k % 6], (20 + k, 40)) for k in range(SAMPLES)]
    begun = fo.Dataset("resume-begun", persistent=True)
    begun.add_samples([fo.Sample(filepath=path) for path in samples])
    apply(begun.limit(15), scripted(["dog"]))
    whole, cut = begun.clone("resume-whole", persistent=True), begun.clone("resume-cut", persistent=True)

    apply(whole, scripted(["dog", "cat"]))

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", RUN, cut.name, FIELD]
    child = processes.start(command, LOGS / "resume.log", env=environment)
    try:
        deadline = time.monotonic() + 200
        while written(cut) < 6:
            assert child.poll() is None and time.monotonic() < deadline, processes.tail(LOGS / "resume.log")
            time.sleep(0.01)
    finally:
        child.kill()
        child.wait()
    cut.reload()
    yield begun, whole, cut
    for dataset in (begun, whole, cut):
        dataset.delete()


def test_a_killed_run_leaves_every_sample_as_it_was_or_finished(datasets):
    begun, whole, cut = datasets

    before, after = states(begun, FIELD), states(whole, FIELD)
    kept = states(cut, FIELD)

    assert 6 <= sum(state != old for state, old in zip(kept, before, strict=True)) < SAMPLES
    for state, old, new in zip(kept, before, after, strict=True):
        assert state in (old, new)
        assert (state["presence"] is None) == (state["instances"] is None)


def test_a_killed_run_has_a_record(datasets):
    _, _, cut = datasets

    info = run_info(cut)
    assert set(info["concepts"]) == {"dog", "cat"}
    assert info["label_field"] == FIELD


@pytest.mark.parametrize("way", ["skip_existing", "pending", "both"])
def test_going_on_ends_where_an_uninterrupted_run_ends(datasets, way):
    _, whole, cut = datasets
    resumed = cut.clone()
    rest = pending(resumed, ["dog", "cat"])
    missing = len(rest)
    assert missing == SAMPLES - written(resumed)

    model = scripted(["dog", "cat"], skip_existing=way != "pending")
    apply(resumed if way == "skip_existing" else rest, model)

    assert states(resumed, FIELD) == states(whole, FIELD)
    assert len(pending(resumed, ["dog", "cat"])) == 0
    assert len(model.detector.asked) == missing  # and nothing was asked that had been answered:
    dogs = sum("dog" in labels for _, labels in model.detector.asked)
    unasked = SAMPLES - 15 - max(0, written(cut) - 15)
    assert dogs == (missing if way == "pending" else unasked)
    assert resumed.load_run_results("sam3", cache=False).summary["failed"] == 0
    resumed.delete()


def test_nothing_is_left_to_do(datasets):
    _, whole, _ = datasets
    before = states(whole, FIELD)
    model = scripted(["dog", "cat"], skip_existing=True)

    apply(whole, model)

    assert model.detector.asked == []
    assert states(whole, FIELD) == before


def test_without_a_record_instances_are_asked_again_rather_than_lost(datasets):
    _, whole, cut = datasets
    forgetful = cut.clone()
    forgetful.delete_runs()

    apply(forgetful, scripted(["dog", "cat"], skip_existing=True))

    assert states(forgetful, FIELD) == states(whole, FIELD)
    forgetful.delete()


def test_phrases_of_each_sample_are_resumed_too(tmp_path, new_dataset):
    colours = list(COLOURS)
    paths: list[Path] = [media.plain(tmp_path / f"{c}.png", c) for c in colours]
    dataset = new_dataset([fo.Sample(filepath=path, ask=[path.stem, "owl"]) for path in paths])
    apply(dataset, scripted(["dog"]), prompt_field="ask")
    before = states(dataset, FIELD)
    dataset.set_values("ask", [["owl"]] * 5 + [["owl", "bat"]])
    model = scripted(["dog"], skip_existing=True)

    apply(dataset, model, prompt_field="ask")

    assert model.detector.asked == [(colours[-1], ("bat",))]
    assert states(dataset, FIELD)[:5] == before[:5]
    assert set(states(dataset, FIELD)[5]["presence"]) == {"dog", "owl", "bat", colours[-1]}
