"""Runs through the pipeline: the database ends as ``apply_model`` would leave it; whatever happens, no answer is lost
that was given; and nothing waits in heaps.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import bson
import fiftyone as fo
import numpy as np
import pytest
from bson import ObjectId
from support import media, processes
from support.media import COLOURS, scripted, states, told
from support.sandbox import LOGS

from zoo import scribe
from zoo.engine.errors import ConceptError
from zoo.image_model import Sam3ImageModel
from zoo.ledger import Ledger, declare, declared, pending
from zoo.pipeline import Part, Progress, asked_ahead, run_part
from zoo.provenance import instances_fields, run_info
from zoo.reading import ahead
from zoo.run import Run
from zoo.segment import segment
from zoo.sidebar import show
from zoo.writing import Writers

BATCH = 3


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[Path]:
    """Eight: two of each of two colours."""
    folder = tmp_path_factory.mktemp("pictures")
    colours = list(COLOURS)
    return [media.plain(folder / f"{k}.png", colours[k % 6], (20 + 3 * k, 40)) for k in range(8)]


@pytest.fixture(scope="module")
def noises(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("noises")
    return [media.noise(folder / f"{k}.png", k, (60 + k, 80)) for k in range(4)]


@pytest.fixture
def album(pictures, new_dataset) -> fo.Dataset:
    return new_dataset([fo.Sample(filepath=path) for path in pictures])


def apply(dataset: fo.Dataset, model: Any, label_field: str = "sam3", **more: Any) -> None:
    """FiftyOne's own loop, and what ``segment`` does for the sidebar before and after it."""
    whole, labels = dataset._root_dataset, [c.label for c in model.concepts]
    declare(whole, model.ledger, labels, label_field)
    shown = declared(whole, model.ledger)
    show(whole, model.ledger, labels)
    dataset.apply_model(model, label_field=label_field, batch_size=BATCH, num_workers=0, progress=False, **more)
    show(whole, model.ledger, [label for label in declared(whole, model.ledger) if label not in shown])


def flow(dataset: fo.Dataset, model: Any, label_field: str = "sam3", *, writers: int = 0, **more: Any) -> Progress:
    """The pipeline."""
    *_, last = segment(dataset, model, label_field, batch_size=BATCH, num_workers=0, writers=writers, **more)
    return last


def left(dataset: fo.Dataset, known: set[ObjectId]) -> dict[str, Any]:
    """All that is in the database of a dataset: raw documents, schema, record and sidebar, without what differs between
    two runs of the same; ids of labels that were not ``known`` are new ones.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(v) for name, v in value.items()}
        if isinstance(value, list):
            return [plain(v) for v in value]
        return "new" if isinstance(value, ObjectId) and value not in known else value

    mine = ("_id", "_dataset_id", "_rand", "created_at", "last_modified_at")
    documents = [
        {name: plain(v) for name, v in document.items() if name not in mine}
        for document in dataset._sample_collection.find().sort("filepath")
    ]
    record = run_info(dataset)
    for entry in (record.get("concepts") or {}).values():
        entry.pop("started")
    summary = dict(dataset.load_run_results("sam3", cache=False).summary)
    for name in ("seconds", "finished"):
        summary.pop(name)
    dataset.reload()
    return dict(
        documents=documents, schema=[(path, str(f)) for path, f in dataset.get_field_schema(flat=True).items()],
        record=record, order=list(record.get("concepts") or {}), summary=summary,
        sidebar=[group.to_dict() for group in dataset.app_config.sidebar_groups or []],
    )  # fmt: skip


def touched(dataset: fo.Dataset) -> list[bool]:
    """Which samples were modified after they were made."""
    documents = dataset._sample_collection.find().sort("filepath")
    return [document["last_modified_at"] > document["created_at"] for document in documents]


def label_ids(dataset: fo.Dataset) -> set[ObjectId]:
    """Of all labels that a dataset holds."""
    return {
        label["_id"] for document in dataset._sample_collection.find() for value in document.values()
        if isinstance(value, dict) for label in value.get("detections", [])
    }  # fmt: skip


def same(dataset: fo.Dataset, run: Callable[[Callable, fo.Dataset], None], writers: int = 0) -> dict[str, Any]:
    """Run once by ``apply_model``, once by the pipeline; what both leave, which must be the same."""
    other = dataset.clone(f"{dataset.name}-other", persistent=True)
    known = label_ids(dataset)
    try:
        run(apply, dataset)
        run(lambda *a, **k: flow(*a, writers=writers, **k), other)
        expected, found = left(dataset, known), left(other, known)
        for name, value in expected.items():
            assert found[name] == value, name
        assert touched(other) == touched(dataset)
        bare = [bson.encode(document) for document in expected["documents"]]
        assert bare == [bson.encode(document) for document in found["documents"]], "fields in the same order, too"
        return found
    finally:
        other.delete()


# ------------------------------------------------------------------------------------- the same as by `apply_model`


@pytest.mark.parametrize(("writers", "label_field"), [(0, "sam3"), (2, "preds")])
def test_a_first_run(album, writers, label_field):
    found = same(album, lambda run, dataset: run(dataset, scripted(["dog", "St. Bernard"]), label_field), writers)

    assert [d["sam3_count"]["dog"] for d in found["documents"]] == [
        len(told(list(COLOURS)[k % 6], "dog")[1]) for k in range(8)
    ]
    assert found["summary"]["failed"] == 0


@pytest.mark.parametrize("field", ["sam3", "moved"])
def test_concepts_join_those_of_an_earlier_run(album, field):
    apply(album.limit(5), scripted(["dog", "cat"], floor=0.1))
    album.set_values("sam3.detections.note", [["mine"] * len(d or ()) for d in album.values("sam3.detections")])

    found = same(album, lambda run, dataset: run(dataset, scripted(["cat", "owl"], floor=0.1), field))

    kept = [d for document in found["documents"] for d in document[field]["detections"] if d["label"] == "dog"]
    assert kept and all(d["note"] == "mine" and d["_id"] != "new" for d in kept)


def test_verdicts_outlive_that_a_concept_is_asked_again(album):
    apply(album, scripted(["dog", "cat"]))
    for sample in album.iter_samples(autosave=True):
        for k, label in enumerate(sample.sam3.detections):
            if k % 3 < 2:
                label["verified"] = k % 3 == 0
                label["verified_by"] = "ann"
        sample.sam3.detections.append(fo.Detection(
            label="dog", bounding_box=[0.5, 0.5, 0.4, 0.4], mask=np.ones((4, 5), bool), verified=True
        ))  # fmt: skip
        sample.sam3.detections.append(fo.Detection(label="dog", bounding_box=[0.6, 0.5, 0.4, 0.4], verified=False))

    # of each second colour, nothing is found any more
    script = {(colour, label): (0.3, ()) for colour in list(COLOURS)[::2] for label in ("dog", "cat")}
    found = same(album, lambda run, dataset: run(dataset, scripted(["dog", "cat"], script)))

    labels = [label for document in found["documents"] for label in document["sam3"]["detections"]]
    assert any(label.get("verified") is True and "object_score" in label for label in labels)
    assert sum(label.get("verified") is True and "object_score" not in label for label in labels) == len(album)
    assert not any(label.get("verified") is False and "object_score" not in label for label in labels)


def test_errors_come_and_go(tmp_path, new_dataset):
    paths = [media.plain(tmp_path / f"{k}.png", "red") for k in range(5)]
    paths[1].write_bytes(b"")
    paths[4].unlink()
    dataset = new_dataset([fo.Sample(filepath=path) for path in paths])
    apply(dataset, scripted())
    media.plain(paths[1], "green")
    paths[2].write_text("no image")

    found = same(dataset, lambda run, dataset: run(dataset, scripted()))

    reasons = [document.get("sam3_error") for document in found["documents"]]
    assert [reason is None for reason in reasons] == [True, True, False, True, False]
    assert found["documents"][2]["sam3_count"], "what an earlier run found stays"
    assert found["summary"] == dict(samples=3, failed=2, instances=found["summary"]["instances"])


def test_what_the_network_cannot_take_costs_itself_alone(album, monkeypatch):
    def run(how: Callable, dataset: fo.Dataset) -> None:
        model = scripted()
        encode = model.detector.encode_images

        def encode_or_fail(pixels: Any, sizes: Sequence) -> Any:
            if (26, 40) in sizes or (35, 40) in sizes:
                raise RuntimeError("out of memory")
            return encode(pixels, sizes)

        model.detector.encode_images = encode_or_fail
        how(dataset, model)

    found = same(album, run)

    reasons = [document.get("sam3_error") for document in found["documents"]]
    assert reasons == [None, None, "RuntimeError: out of memory", None, None, "RuntimeError: out of memory", None, None]


def test_ledgers_that_are_null_or_missing_or_incomplete(album):
    apply(album, scripted(["dog", "cat"]))
    collection = album._sample_collection
    ids = [document["_id"] for document in collection.find().sort("filepath")]
    changes = [
        {"$set": {"sam3_presence": None, "sam3_score": None, "sam3_count": None}},
        {"$unset": {"sam3_presence": "", "sam3_score": "", "sam3_count": "", "sam3": ""}},
        {"$set": {"sam3": None, "sam3_error": None}},
        {"$set": {"sam3_presence.dog": None, "sam3_count.dog": None}},
        {"$unset": {"sam3_count": ""}},
    ]
    for one, change in zip(ids, changes, strict=False):
        collection.update_one({"_id": one}, change)
    album.reload()

    same(album, lambda run, dataset: run(dataset, scripted(["owl", "cat"])))


@pytest.mark.parametrize("resumes", [False, True])
def test_phrases_of_each_sample(album, resumes):
    apply(album.limit(2), scripted(["dog", "owl"]))
    album.set_values("ask", [["owl", "Dog"], [], ["bat", "bat"], None, ["x " * 60], ["owl"], ["fox", "elk"], ["bat"]])

    def run(how: Callable, dataset: fo.Dataset) -> None:
        how(dataset, scripted(["dog"], prompt_field="ask", skip_existing=resumes))

    found = same(album, run)

    assert "ask:" in found["documents"][4]["sam3_error"]
    assert set(found["record"]["concepts"]) == {"dog", "owl", "bat", "fox", "elk"}


def test_phrases_as_text_of_samples_with_nothing_else_to_ask(album):
    album.set_values("ask", ["owl, dog", "", None, "bat,", "owl", "fox", " , ", "bat"])

    found = same(album, lambda run, dataset: run(dataset, scripted(None, prompt_field="ask")))

    assert found["documents"][2]["sam3_presence"] == {"_cls": "DynamicEmbeddedDocument"}


@pytest.mark.parametrize("alone", [False, True])
def test_examples_in_the_images(noises, new_dataset, alone):
    dataset = new_dataset([fo.Sample(filepath=path) for path in noises])
    marks = [
        [fo.Detection(label="dog", bounding_box=[0.1, 0.1, 0.3, 0.3])],
        [
            fo.Detection(label="thing", bounding_box=[0.1, 0.1, 0.3, 0.3]),
            fo.Detection(bounding_box=[0.5, 0.5, 0.2, 0.2]),
        ],
        [fo.Detection(label="owl", bounding_box=[0.5, 0.5, 0.2, 0.2], sam_label=False)],
        None,
    ]
    dataset.set_values("marks", [None if some is None else fo.Detections(detections=some) for some in marks])
    settings = dict(box_prompt_field="marks", exemplars_alone=alone, confidence_thresh=0.0)

    found = same(dataset, lambda run, dataset: run(dataset, Sam3ImageModel(media.tiny(), ["dog"], **settings)))

    assert "counter-examples" in found["documents"][2]["sam3_error"]
    assert {"thing", "visual"} <= set(found["record"]["concepts"])
    assert found["summary"]["instances"] > 0


@pytest.mark.parametrize("settings", [
    dict(floor=0.0, thresholds={"dog": 0.02}), dict(tiles=dict(tile_size=50)),
    dict(conflicts=dict(nms_thresh=0.3, fill_holes=9)),
])  # fmt: skip
def test_what_the_network_itself_finds(noises, new_dataset, settings):
    dataset = new_dataset([fo.Sample(filepath=path) for path in noises[:2]])
    settings = dict(confidence_thresh=0.0) | settings

    def run(how: Callable, dataset: fo.Dataset) -> None:
        how(dataset, Sam3ImageModel(media.tiny(), ["dog", "cat"], **settings))

    found = same(dataset, run, writers=1)

    assert found["summary"]["instances"] > 0


def test_more_concepts_than_a_schema_should_know(album):
    many = [f"thing {k}" for k in range(70)]
    apply(album.limit(3), scripted(["dog", "cat"]))

    found = same(album, lambda run, dataset: run(dataset, scripted(many)))

    assert len(found["documents"][0]["sam3_presence"]) == 73
    assert sum(path.startswith("sam3_presence.") for path, _ in found["schema"]) == 60


def test_own_phrases_until_the_schema_is_full(album):
    album.set_values("ask", [[f"thing {k} {n}" for n in range(9)] for k in range(8)])

    found = same(album, lambda run, dataset: run(dataset, scripted(["dog"], prompt_field="ask")))

    assert len(found["record"]["concepts"]) == 73


@pytest.mark.parametrize("field", ["sam3", "preds"])
def test_going_on(album, field):
    apply(album.limit(5), scripted(["dog", "cat"]), field)
    apply(album.limit(2), scripted(["owl"]), field)
    again = album.clone()

    model = scripted(["dog", "cat", "owl"])
    last = flow(again, model, field, skip_existing=True)

    asked = [labels for _, labels in model.detector.asked]
    assert asked == [("owl",)] * 3 + [("dog", "cat", "owl")] * 3
    assert (last.done, last.total, last.failed) == (6, 6, 0)
    apply(album, scripted(["dog", "cat", "owl"], skip_existing=True), field)
    assert states(again, field) == states(album, field)
    assert flow(again, model, field, skip_existing=True).total == 0
    again.delete()


# ------------------------------------------------------------------------------------------- what is refused, and when


@pytest.mark.parametrize(("wrong", "said"), [
    (dict(batch_size=0), "batch_size"), (dict(num_workers=-1), "num_workers"), (dict(writers=-1), "writers"),
    (dict(writers=1.5), "writers"), (dict(label_field="kind"), "already holds"),
])  # fmt: skip
def test_settings_that_cannot_be_meant(album, wrong, said):
    album.set_values("kind", [fo.Classification(label="x")] * 8)
    before = left_alone(album)
    with pytest.raises(ConceptError, match=said):
        next(segment(album, scripted(), **wrong))
    assert left_alone(album) == before


@pytest.mark.parametrize(("settings", "said"), [
    (dict(), "No concepts to look for"), (dict(prompt_field="nowhere"), "not a field"),
    (dict(box_prompt_field="nowhere"), "nowhere"),
])  # fmt: skip
def test_models_that_have_nothing_to_ask(album, settings, said):
    before = left_alone(album)
    with pytest.raises(ConceptError, match=said):
        next(segment(album, scripted(None, **settings)))
    assert left_alone(album) == before


def test_the_first_step_asks_nothing_and_records_no_run(album):
    model = scripted()
    steps = segment(album, model)
    assert next(steps) == Progress(0, 8, 0, 0)
    steps.close()
    assert not album.has_run("sam3") and model.detector.asked == []
    assert states(album)[0]["presence"] is None


def test_patches_are_no_images(album):
    apply(album, scripted(["dog"]))
    with pytest.raises(ConceptError, match="a view of patches"):
        next(segment(album.to_patches("sam3"), scripted(["cat"])))


def left_alone(dataset: fo.Dataset) -> Any:
    return list(dataset._sample_collection.find()), list(dataset.get_field_schema(flat=True)), dataset.list_runs()


# ------------------------------------------------------------------------------------------------- progress, and ends


@pytest.mark.parametrize("writers", [0, 1])
def test_progress_counts_what_is_written(album, writers):
    steps, seen = segment(album, scripted(["dog"]), batch_size=2, num_workers=0, writers=writers), []
    for step in steps:
        written = album._sample_collection.count_documents({"sam3_presence.dog": {"$exists": True}})
        assert written >= step.done
        seen.append(step)
    assert seen[0] == Progress(0, 8, 0, 0)
    assert seen[-1].done == seen[-1].total == 8
    assert seen[-1].instances == sum(album.values("sam3_count.dog"))
    assert [step.done for step in seen] == sorted({step.done for step in seen})


@pytest.mark.parametrize("stop", ["close", "interrupt", "break"])
def test_a_run_that_is_stopped_keeps_what_was_answered(album, stop):
    model = scripted(["dog", "cat"])

    def watch() -> None:
        if stop == "interrupt" and len(model.detector.asked) >= 4:
            raise KeyboardInterrupt

    model.detector.watch = watch
    steps = segment(album, model, batch_size=1, num_workers=0, writers=0)
    if stop == "interrupt":
        with pytest.raises(KeyboardInterrupt):
            list(steps)
    else:
        for step in steps:
            if step.done >= 2:
                break
        if stop == "close":
            steps.close()
        del steps
        gc.collect()

    answered = len(model.detector.asked)
    written = sum(kept["presence"] is not None for kept in states(album))
    assert 2 <= written <= answered < 8
    assert written == answered or stop != "interrupt"
    assert album.load_run_results("sam3", cache=False).summary["samples"] == written
    assert flow(album, scripted(["dog", "cat"]), skip_existing=True).total == 8 - written
    whole = album.clone()
    apply(whole, scripted(["dog", "cat"]))
    assert states(album) == states(whole)
    whole.delete()


def test_samples_in_hand_know_what_was_written(album):
    held = album.first()
    view = album.view()

    flow(album, scripted(["dog"]))

    assert held.sam3_presence.dog == told("red", "dog")[0]
    assert len(held.sam3.detections) == held.sam3_count.dog
    assert held.last_modified_at > held.created_at
    assert view.first().sam3_presence.dog == held.sam3_presence.dog
    held["mark"] = 1
    held.save()
    assert states(album)[0]["presence"] == {"dog": told("red", "dog")[0]}


def test_samples_that_are_gone_cost_nobody_anything(album):
    model = scripted(["dog"])
    ids = album.values("id")
    steps = segment(album, model, batch_size=2, num_workers=0, writers=0)
    next(steps)
    album.delete_samples(ids[5:7])
    *_, last = steps
    assert (last.done, last.failed) == (8, 2)
    assert [kept["error"] for kept in states(album)] == [None] * 6
    assert all(kept["presence"] for kept in states(album))


def test_a_failed_sample_is_tried_again(tmp_path, new_dataset):
    paths = [media.plain(tmp_path / f"{k}.png", "red") for k in range(4)]
    paths[2].write_bytes(b"")
    dataset = new_dataset([fo.Sample(filepath=path) for path in paths])
    assert flow(dataset, scripted(), skip_existing=True).failed == 1

    media.plain(paths[2], "green")
    assert flow(dataset, scripted(), skip_existing=True) == Progress(1, 1, 0, sum(
        len(told("green", label)[1]) for label in ("dog", "cat")
    ))  # fmt: skip
    assert [kept["error"] for kept in states(dataset)] == [None] * 4


def test_a_record_is_replaced_only_where_there_is_an_answer(album):
    apply(album, scripted(["dog", "cat"]))
    before = run_info(album)["concepts"]
    model = scripted({"dog": "hound", "cat": "kitten"})
    model.detector.encode_images = lambda pixels, sizes: 1 / 0

    assert flow(album, model).failed == 8

    assert run_info(album)["concepts"] == before


def test_slices_of_groups(pictures, new_dataset):
    dataset = new_dataset()
    dataset.add_group_field("group", default="left")
    for k in range(3):
        group = fo.Group()
        dataset.add_samples([
            fo.Sample(filepath=pictures[2 * k], group=group.element("left")),
            fo.Sample(filepath=pictures[2 * k + 1], group=group.element("right")),
        ])  # fmt: skip
    flow(dataset.select_group_slices("right"), scripted(["dog"]))
    assert dataset.count("sam3_presence.dog") == 0
    assert dataset.select_group_slices("right").count("sam3_presence.dog") == 3


# ------------------------------------------------------------------------------------------------------------- parts


def test_a_part_touches_neither_schema_nor_record(album):
    ids = album.values("id")
    model = scripted(["dog"])
    run = Run()
    run.prepare(album, Ledger(), model.questions().concepts, None, model.questions().examples, model.about())
    run.settle("preds")
    schema, runs = list(album.get_field_schema(flat=True)), album.list_runs()

    *_, last = run_part(album, ids[2:5], model, "preds", batch_size=2, run=Part(run.instances))

    assert last.done == last.total == 3
    assert (list(album.get_field_schema(flat=True)), album.list_runs()) == (schema, runs)
    assert [kept["presence"] is not None for kept in states(album, "preds")] == [2 <= k < 5 for k in range(8)]


def test_parts_make_the_whole(album):
    """As two machines would, and the one that sent them."""
    apply(album.limit(4), scripted(["dog", "cat"]))
    whole = album.clone()
    apply(whole, scripted(["cat", "owl"]), "moved")
    ids = album.values("id")
    model = scripted(["cat", "owl"])
    fields = instances_fields(album, Ledger())
    run = Run()
    run.prepare(album, Ledger(), model.questions().concepts, None, model.questions().examples, model.about())
    run.settle("moved")

    for part in (ids[1::2], ids[::2]):
        list(run_part(album, part, model, "moved", writers=0, run=Part(fields)))

    assert states(album, "moved") == states(whole, "moved")
    whole.delete()


@pytest.mark.parametrize("skip_existing", [False, True])
def test_what_will_be_asked_is_known_ahead(album, skip_existing):
    album.set_values("ask", [["owl"], [], ["bat"], None, ["x " * 60], ["owl", "Dog"], ["fox"], ["bat"]])
    apply(album.limit(4), scripted(["dog"], prompt_field="ask"))
    model = scripted(["dog"], prompt_field="ask")
    ids = album.values("id")

    ahead = asked_ahead(album, ids[:6], model, skip_existing)
    list(run_part(album, ids[:6], model, "sam3", batch_size=1, skip_existing=skip_existing))

    assert [concept.label for concept in ahead] == (["dog", "owl"] if skip_existing else ["dog", "owl", "bat"])
    assert {label for _, labels in model.detector.asked for label in labels} == {concept.label for concept in ahead}


# -------------------------------------------------------------------------------------------------------- back-pressure


def test_who_writes_slowly_is_waited_for(pictures, new_dataset, monkeypatch):
    dataset = new_dataset([fo.Sample(filepath=pictures[k % 8], tags=[str(k)]) for k in range(60)])
    model = scripted(["dog"])
    write, most, done = scribe.Scribe.write, [], []

    def slowly(self: Any, answers: Sequence) -> Any:
        time.sleep(0.02)
        most.append(len(model.detector.asked) - sum(done))
        done.append(len(answers))
        return write(self, answers)

    monkeypatch.setattr(scribe.Scribe, "write", slowly)
    list(segment(dataset, model, batch_size=2, num_workers=0, writers=0))

    assert sum(done) == 60
    # batches of two: three that are given to be written, one for which there is no room yet, one that is being asked
    assert 2 < max(most) <= 2 * 5


def test_the_model_may_look_ahead(album):
    """As a model does that keeps a GPU busy: it takes three batches before it gives the first."""
    model = scripted(["dog", "cat"])
    plain, taken = model.stream, []

    def stream(batches: Any) -> Iterator[Any]:
        batches, held = iter(batches), []
        for batch in batches:
            taken.append(batch)
            held.append(batch)
            if len(held) > 3:
                yield from plain([held.pop(0)])
        yield from plain(held)

    model.stream = stream
    whole = album.clone()
    apply(whole, scripted(["dog", "cat"]))
    *_, last = segment(album, model, batch_size=1, num_workers=0, writers=0)
    assert last.done == 8 and len(taken) == 8
    assert states(album) == states(whole)
    whole.delete()


def test_batches_may_be_empty():
    assert list(scripted().stream([([], [])])) == [[]]


def test_things_are_made_ahead_and_no_more_than_that():
    made = []

    def make() -> Iterator[int]:
        for k in range(20):
            made.append(k)
            yield k

    things = ahead(make(), 2)
    for k in range(20):
        assert next(things) == k
        time.sleep(0.01)
        assert len(made) <= k + 4
    assert list(things) == []


def test_what_goes_wrong_ahead_goes_wrong_here():
    def make() -> Iterator[int]:
        yield 1
        raise ValueError("two")

    things = ahead(make(), 2)
    assert next(things) == 1
    with pytest.raises(ValueError, match="two"):
        next(things)


def test_whoever_stops_asking_stops_the_thread():
    over = []

    def make() -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            over.append(True)

    things = ahead(make(), 2)
    next(things)
    things.close()
    gc.collect()
    assert over


def test_processes_may_read(album):
    whole = album.clone()
    apply(whole, scripted())
    list(segment(album, scripted(), batch_size=3, num_workers=2, writers=0))
    assert states(album) == states(whole)
    whole.delete()


# ------------------------------------------------------------------------------------------------ the end of processes

RUN = """
import sys, time
import fiftyone as fo
from support.media import scripted
from zoo.segment import segment
from zoo.writing import Writers
dataset = fo.load_dataset(sys.argv[1])
begin = Writers.__init__
def tell(self, *args):
    begin(self, *args)
    print("writers", *self.pids, flush=True)
Writers.__init__ = tell
model = scripted(["dog", "cat"], watch=lambda: time.sleep(0.2))
list(segment(dataset, model, batch_size=1, num_workers=2, writers=2))
"""


def test_whoever_is_killed_leaves_no_orphans_and_goes_on(album):
    log = LOGS / "pipeline.log"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    child = processes.start([sys.executable, "-c", RUN, album.name], log, env=environment)
    try:
        deadline = time.monotonic() + 200
        while album._sample_collection.count_documents({"sam3_presence.cat": {"$exists": True}}) < 2:
            assert child.poll() is None and time.monotonic() < deadline, processes.tail(log)
            time.sleep(0.01)
        pids = [int(pid) for pid in log.read_text().split("writers")[1].split()[:2]]
        assert all(map(alive, pids))
    finally:
        child.kill()
        child.wait()
    deadline = time.monotonic() + 20
    while any(map(alive, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.05)

    album.reload()
    rest = len(pending(album, ["dog", "cat"]))
    assert 0 < rest < 8
    assert flow(album, scripted(["dog", "cat"]), skip_existing=True).total == rest
    whole = album.clone()
    apply(whole, scripted(["dog", "cat"]))
    assert states(album) == states(whole)
    whole.delete()


def test_a_writer_that_is_killed_costs_nothing(album, monkeypatch, caplog):
    pids: list[int] = []
    begin = Writers.__init__

    def tell(self: Any, *args: Any) -> None:
        begin(self, *args)
        pids.extend(self.pids)

    monkeypatch.setattr(Writers, "__init__", tell)
    model = scripted(["dog", "cat"], watch=lambda: len(model.detector.asked) == 3 and os.kill(pids[0], signal.SIGKILL))
    whole = album.clone()
    apply(whole, scripted(["dog", "cat"]))

    *_, last = segment(album, model, batch_size=1, num_workers=0, writers=1)

    assert (last.done, last.failed) == (8, 0)
    assert states(album) == states(whole)
    assert "died (signal 9)" in caplog.text
    whole.delete()


def alive(pid: int) -> bool:
    """Whether there is such a process, that has not ended."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(shown) and not shown.startswith("Z")
