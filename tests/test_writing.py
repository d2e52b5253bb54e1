"""Answers into the database: as FiftyOne has them, each sample by itself, whatever becomes of who writes them."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import fiftyone as fo
import fiftyone.core.utils as fou
import fiftyone.operators as foo
import numpy as np
import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st
from support import media
from support.media import COLOURS, scripted, states

from zoo import scribe, writing
from zoo.engine.prompts import box_iou
from zoo.engine.results import ConceptResult, Instance
from zoo.labels import to_detections
from zoo.ledger import Ledger, declare, write
from zoo.scribe import GONE, SAME, packed, successor
from zoo.writing import WriterError, Writers, answer_of, error_of, form_of

SIZE = (40, 60)


@pytest.fixture
def dataset(new_dataset) -> fo.Dataset:
    made = new_dataset([fo.Sample(filepath=f"/nowhere/{k}.png") for k in range(6)])
    declare(made, Ledger(), ["dog"], "sam3")
    return made


@pytest.fixture
def form(dataset) -> dict[str, Any]:
    return form_of(dataset, Ledger(), "sam3", ["sam3"])


def found(count: int = 2, phrase: Any = "dog") -> list[ConceptResult]:
    mask = np.ones((4, 6), bool)
    mask[0, 0] = False
    some = tuple(Instance(0.8, 0.9, 0.9, (0, 0, 6, 4), (3 * k, 2 * k), mask, phrase) for k in range(count))
    return [ConceptResult("dog", 0.9, 0.95, some, count, 0.5)]


def answer(sample: str, count: int = 2, **more: Any) -> dict[str, Any]:
    return answer_of(sample, ["dog"], found(count, **more), SIZE)


def reasons(writers: Writers, *batches: list[dict[str, Any]]) -> list[str | None]:
    """Why what was written could not be, in the order in which it was given."""
    written = [one for key, batch in enumerate(batches) for one in writers.put(key, batch)]
    written += writers.drain()
    assert sorted(one.key for one in written) == list(range(len(batches)))
    return [reason for one in sorted(written, key=lambda one: one.key) for reason in one.reasons]


# ---------------------------------------------------------------------------------------------- what is in a document


shapes = st.tuples(st.integers(0, 9), st.integers(0, 9))


@given(shapes, st.sampled_from(["bool", "uint8", "float32"]), st.sampled_from(["as it is", "turned", "part", "F"]))
def test_masks_are_packed_as_fiftyone_packs_them(shape, kind, how):
    mask = (np.arange(shape[0] * shape[1]).reshape(shape) % 3).astype(kind)
    mask = {"as it is": mask, "turned": mask.T, "part": mask[::2, 1:], "F": np.asfortranarray(mask)}[how]

    assert packed(mask) == fou.serialize_numpy_array(mask)
    assert np.array_equal(fou.deserialize_numpy_array(packed(mask)), mask)


@pytest.mark.parametrize("phrase", ["dog", None])
def test_documents_are_those_that_fiftyone_makes(dataset, form, phrase):
    one, other = list(dataset.view())[:2]
    write(one, Ledger(), found(3, phrase))
    one["sam3"] = fo.Detections(detections=to_detections(found(3, phrase), SIZE))
    one.save()

    with Writers(form) as writers:
        assert reasons(writers, [answer(other.id, 3, phrase=phrase)]) == [None]

    def plain(sample: Any) -> list[tuple]:
        document = dataset._sample_collection.find_one({"_id": ObjectId(sample.id)})
        for label in document["sam3"]["detections"]:
            assert isinstance(label.pop("_id"), ObjectId)
        return [(k, repr(v)) for k, v in document.items() if k.startswith("sam3")]

    assert plain(one) == plain(other)


def test_labels_have_ids_of_their_own(dataset, form):
    with Writers(form) as writers:
        reasons(writers, [answer(sample, 5) for sample in dataset.values("id")])
    ids = dataset.values("sam3.detections.id", unwind=True)
    assert len(set(ids)) == 30


def test_an_error_changes_nothing_else(dataset, form):
    first, second, *_ = ids = dataset.values("id")
    with Writers(form) as writers:
        reasons(writers, [answer(first), error_of(second, "no image")])
        before = states(dataset)
        assert reasons(writers, [error_of(first, "no image today")]) == [None]
    after = states(dataset)
    assert after[0] == dict(before[0], error="no image today")
    assert before[1] == after[1] and after[1]["error"] == "no image" and after[1]["presence"] is None
    assert after[2:] == [dict.fromkeys(after[2])] * (len(ids) - 2)


boxes = st.tuples(*[st.sampled_from([0.0, 0.1, 0.11, 0.3, 0.5])] * 2, *[st.sampled_from([0.0, 0.2, 0.21, 0.4])] * 2)


@given(boxes, st.lists(st.tuples(st.sampled_from("ab"), boxes), max_size=5), st.sets(st.integers(0, 4)))
def test_the_successor_is_the_first_of_those_that_overlap_most(old, places, taken):
    def corners(box: Any) -> tuple:
        return box[0], box[1], box[0] + box[2], box[1] + box[3]

    free = [k for k, (label, _) in enumerate(places) if label == "a" and k not in taken]
    overlaps = {k: box_iou(corners(old), corners(places[k][1])) for k in free}
    best = max(overlaps.values(), default=0.0)
    expected = min(k for k, v in overlaps.items() if v == best) if best >= SAME else None

    assert successor(("a", old), places, taken) == expected


# ------------------------------------------------------------------------------------------- what cannot be written


@pytest.mark.parametrize("count", [0, 1])
def test_what_cannot_be_written_costs_itself_alone(dataset, form, count):
    large, larger, odd, gone, plain, error = ids = dataset.values("id")
    dataset.add_sample_field("text", fo.StringField)
    dataset._sample_collection.update_one({"_id": ObjectId(large)}, {"$set": {"text": "x" * 9_000_000}})
    dataset.delete_samples([gone])
    batch = [
        answer(large, phrase="x" * 4_000_000), answer(larger, phrase="x" * 9_000_000), answer(odd, phrase={1, 2}),
        answer(gone), answer(plain), error_of(error, "no image"),
    ]  # fmt: skip

    with Writers(form, count) as writers:
        said = reasons(writers, batch)

    kept = dict(zip([i for i in ids if i != gone], states(dataset), strict=True))
    assert "MongoDB refused it" in said[0] and "16MB" in said[0]
    assert "17.2 MB" in said[1] and "holds 16: ask fewer concepts" in said[1]
    assert "InvalidDocument" in said[2]
    assert said[3:] == [GONE, None, None]
    for sample, reason in zip((large, larger, odd), said, strict=False):
        assert kept[sample] == dict(error=reason, presence=None, score=None, count=None, instances=None)
    assert kept[plain]["presence"] == {"dog": 0.9} and len(kept[plain]["instances"]) == 2
    assert kept[error]["error"] == "no image"


def test_a_process_that_dies_twice_over_the_same_answers_ends_the_run(dataset, form):
    first, second, *_ = dataset.values("id")
    with Writers(form, 1) as writers:
        assert reasons(writers, [answer(first)]) == [None]
        with pytest.raises(WriterError, match="same 1 samples .exit code 3.*skip_existing=True"):
            reasons(writers, [answer(second, phrase=Deadly())])
        with pytest.raises(WriterError):  # nor is anything written that comes later
            reasons(writers, [answer(second)])
        pids = writers.pids
    assert [kept["presence"] is not None for kept in states(dataset)] == [True] + [False] * 5
    assert not any(alive(pid) for pid in pids)


class Deadly:
    """Ends the process that reads it."""

    def __reduce__(self) -> tuple:
        return os._exit, (3,)


@pytest.mark.parametrize("count", [0, 1])
def test_a_database_that_does_not_answer_ends_the_run(dataset, form, count):
    form["client"] = dict(host="127.0.0.1", port=1, serverSelectionTimeoutMS=50)
    with Writers(form, count) as writers:
        with pytest.raises(WriterError, match="ServerSelectionTimeoutError"):
            reasons(writers, [answer(dataset.first().id)])
        assert writers.salvage() == []


@pytest.mark.parametrize("when", ["before", "between"])
def test_a_process_that_is_killed_is_replaced(dataset, form, when, caplog):
    ids = dataset.values("id")
    with Writers(form, 1) as writers:
        if when == "between":
            assert reasons(writers, [answer(ids[0])]) == [None]
        (pid,) = writers.pids
        os.kill(pid, signal.SIGKILL)
        assert reasons(writers, *([answer(sample)] for sample in ids)) == [None] * 6
        assert writers.pids != [pid]
    assert "died" in caplog.text
    assert dataset.count("sam3_presence.dog") == 6
    assert dataset.count("sam3.detections") == 12


# ------------------------------------------------------------------------------------------------------ who waits


def test_only_so_many_are_on_their_way(dataset, form, monkeypatch):
    sample = dataset.first().id
    gates: queue.Queue = queue.Queue()
    monkeypatch.setattr(scribe.Scribe, "write", lambda self, answers: gates.get() or [None] * len(answers))
    given: list[int] = []

    with Writers(form, 0) as writers:
        def give() -> None:
            for k in range(8):
                given.append(k)
                writers.put(k, [answer(sample)])
            list(writers.drain())

        thread = threading.Thread(target=give)
        thread.start()
        for done in range(8):
            settled(lambda done=done: len(given) >= min(8, 4 + done))
            assert len(given) <= 4 + done, "three that wait or are written, and one that is not taken yet"
            gates.put(False)
        thread.join(10)
        assert not thread.is_alive()


def test_several_processes_share_the_work(dataset, form):
    ids = dataset.values("id")
    with Writers(form, 2) as writers:
        assert len(set(writers.pids)) == 2
        assert reasons(writers, *([answer(sample, 1)] for sample in ids * 3)) == [None] * 18
        pids = writers.pids
    assert not any(map(alive, pids))
    assert dataset.count("sam3.detections") == 6


def test_what_was_given_is_written_when_one_leaves(dataset, form):
    with pytest.raises(ZeroDivisionError), Writers(form, 1) as writers:
        for sample in dataset.values("id")[:3]:
            writers.put(None, [answer(sample)])
        _ = 1 / 0
    assert dataset.count("sam3_presence.dog") == 3


# ------------------------------------------------------------------------------------------------------ the process


def test_the_process_takes_neither_fiftyone_nor_torch():
    code = (
        "import json, runpy, sys; runpy.run_path(sys.argv[1]);"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code, scribe.__file__], capture_output=True, text=True, check=True)
    taken = set(json.loads(done.stdout))
    assert {"numpy", "pymongo"} <= taken
    assert not taken & {"fiftyone", "torch", "mongoengine", "transformers", "zoo", "PIL"}


def test_it_needs_no_name_that_can_be_imported(tmp_path, new_dataset):
    """As the plugin, this package has a name that no import could say."""
    operator = type(foo.get_operator("@concepts/sam3/segment_concepts"))
    package = operator.__module__.removesuffix(".operators.segment_concepts")
    assert package != operator.__module__ and not package.isidentifier()
    segment = importlib.import_module(f"{package}.zoo.segment")
    model = importlib.import_module(f"{package}.zoo.image_model").Sam3ImageModel(media.tiny(), ["dog"])
    model.detector = scripted().detector
    dataset = new_dataset([fo.Sample(filepath=media.plain(tmp_path / f"{c}.png", c)) for c in COLOURS])

    *_, last = segment.segment(dataset, model, batch_size=2, num_workers=0, writers=1)

    assert (last.done, last.failed) == (6, 0)
    assert dataset.count("sam3_presence.dog") == 6


def test_the_database_is_the_one_that_fiftyone_is_connected_to(monkeypatch):
    client = foo_client()
    assert writing._client()["host"] == fo.config.database_uri
    monkeypatch.setattr(fo.config, "database_uri", None)
    assert writing._client() == dict(host=client.address[0], port=client.address[1])


def foo_client() -> Any:
    import fiftyone.core.odm as odm

    return odm.get_db_client()


def test_a_fork_of_this_process_does_not_keep_it(dataset, form):
    """As a data loader's processes are, which have a copy of the pipe."""
    writers = Writers(form, 1)
    (pid,) = writers.pids
    fork = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), daemon=True)
    fork.start()
    try:
        started = time.monotonic()
        writers.close()
        assert not alive(pid) and time.monotonic() - started < 8
    finally:
        fork.kill()
        fork.join()


def test_interrupts_are_for_whoever_gives_the_orders(dataset, form):
    with Writers(form, 1) as writers:
        assert reasons(writers, [answer(dataset.first().id)]) == [None]
        (pid,) = writers.pids
        os.kill(pid, signal.SIGINT)
        assert reasons(writers, [answer(dataset.last().id)]) == [None]
        assert writers.pids == [pid]


def settled(there: Any, patience: float = 10) -> None:
    deadline = time.monotonic() + patience
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(0.05)  # would more come, it would be here


def alive(pid: int) -> bool:
    """Whether there is such a process, that has not ended."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(shown) and not shown.startswith("Z")
