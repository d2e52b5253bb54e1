"""Runs that other processes do: the same comes of them, whoever dies on the way."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import time
import types
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
import psutil
import pytest
from fiftyone import ViewField as F
from fiftyone.operators.executor import ExecutionContext
from support import films, media
from support.rays import Raylike

import zoo.cluster
import zoo.crew
from benchmarks import distributed as benchmark
from curation.embeddings import embed_images, embed_instances, embedding_steps
from curation.errors import CurationError
from emoji_world.dataset import build_scenes
from emoji_world.scenes import render, sample_scene
from zoo.cluster import Cluster, check_distribute
from zoo.crew import ClusterError
from zoo.engine.checkpoint import TINY
from zoo.engine.errors import CheckpointError, ConceptError
from zoo.image_model import Sam3ImageModel
from zoo.ledger import Ledger
from zoo.provenance import run_info
from zoo.segment import segment
from zoo.shipping import NAME, dumps, loads, packed
from zoo.source import load_model
from zoo.track import track

SEEDS = range(700_000, 700_008)
#: the place of a file that is no image
BAD, MANY = 5, len(SEEDS)
CLASSES = {"dog": ["dog", "puppy"], "apple": "apple", "fire truck": "fire truck"}
#: what is different in every run
_PASSING = ("_id", "_dataset_id", "_sample_id", "created_at", "last_modified_at", "started", "finished", "seconds")


def image_model(classes: Any = CLASSES, **settings: Any) -> Any:
    return load_model("concepts/sam3-tiny-image", classes=classes, device="cpu", **settings)


def plain(value: Any) -> Any:
    """A raw document without what is different in every run, and with numbers as exact as one process has them: words
    that are encoded together are not to the last bit what they are alone.
    """
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if k not in _PASSING}
    return [plain(one) for one in value] if isinstance(value, list) else value


def stored(dataset: fo.Dataset) -> dict[str, Any]:
    """All that a run leaves: documents, schema, sidebar, indexes, and the ledger's record."""
    documents = list(dataset._sample_collection.find().sort("filepath"))
    order = {document["_id"]: k for k, document in enumerate(documents)}
    frames = [] if dataset._frame_collection is None else dataset._frame_collection.find()
    dataset.reload()
    return dict(
        samples=[plain(one) for one in documents],
        frames=sorted((order[one["_sample_id"]], one["frame_number"], repr(plain(one))) for one in frames),
        schema={path: str(field) for path, field in dataset.get_field_schema(flat=True).items()},
        frame_schema={path: str(field) for path, field in (dataset.get_frame_field_schema(flat=True) or {}).items()},
        sidebar=[(group.name, group.paths) for group in dataset.app_config.sidebar_groups or ()],
        indexes=sorted(dataset.list_indexes()), record=plain(run_info(dataset)),
        summary=plain(dataset.load_run_results("sam3", cache=False).summary),
    )  # fmt: skip


@pytest.fixture(scope="module")
def loaded() -> list[Any]:
    """Checkpoints that stay in memory, here and where workers load them."""
    return [media.tiny(tracker=True)]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory, loaded) -> Iterator[fo.Dataset]:
    """Scenes, each with a phrase of its own, and in their midst a file that is no image."""
    folder = tmp_path_factory.mktemp("scenes")
    dataset = build_scenes("distributed", folder, SEEDS)
    dataset.set_values("ask", [["cup"], ["cap", "dog"], None, ["fox"]] * 2)
    bad = folder / "bad.jpg"
    bad.write_bytes(b"no image")
    sample = dataset.skip(BAD).first()
    sample.filepath = str(bad)
    sample.save()
    yield dataset
    dataset.delete()


@pytest.fixture
def scenes(drawn) -> Iterator[fo.Dataset]:
    dataset = drawn.clone()
    yield dataset
    dataset.delete()


@pytest.fixture(scope="module")
def alone(drawn) -> Iterator[fo.Dataset]:
    """The scenes after a run of one process."""
    dataset = drawn.clone()
    list(segment(dataset, image_model(prompt_field="ask"), "preds", batch_size=2))
    yield dataset
    dataset.delete()


@pytest.fixture(scope="module")
def reels(tmp_path_factory) -> Iterator[fo.Dataset]:
    """Videos in which scenes move, and one that is none."""
    folder = tmp_path_factory.mktemp("reels")
    dataset = fo.Dataset()
    for k, seed in enumerate((700_003, 700_007)):
        image = render(sample_scene(seed))[0][:240, :320]
        frames = [np.roll(image, 3 * n, 1) for n in range(4)]
        dataset.add_sample(fo.Sample(filepath=str(films.encode(folder / f"{k}.mp4", frames))))
    (folder / "bad.mp4").write_bytes(b"no video")
    dataset.add_sample(fo.Sample(filepath=str(folder / "bad.mp4")))
    yield dataset
    dataset.delete()


def video_model() -> Any:
    return load_model(
        "concepts/sam3-tiny-video", classes=CLASSES, device="cpu", confidence_thresh=0.2, new_det_thresh=0.2
    )


@pytest.fixture
def workers(monkeypatch, loaded) -> Iterator[Raylike]:
    """Workers that are objects; see ``support/rays.py``."""
    for name in list(os.environ):  # what a worker sets for itself, it sets for this process
        monkeypatch.setenv(name, os.environ[name])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    raylike = Raylike()
    monkeypatch.setitem(sys.modules, "ray", raylike)
    yield raylike
    theirs = sys.modules.get(f"{NAME}.cache")
    if theirs and len(loaded) == 1:
        loaded.append(theirs.shared_checkpoint("sam3-tiny", "cpu", "float32", tracker=True))


def dies_of(number: str, times: int = 99) -> Any:
    """Whoever is to work on this sample dies, so many times."""
    left = [times]

    def dies(method: str, said: tuple[Any, ...]) -> bool:
        if method != "take" or number not in str(loads(said[0])) or not left[0]:
            return False
        left[0] -= 1
        return True

    return dies


# ------------------------------------------------------------------------------------------------ the same comes of it


def test_images_as_in_one_process(workers, scenes, alone):
    said = list(segment(
        scenes, image_model(prompt_field="ask"), "preds", batch_size=2, distribute="ray", workers=2
    ))  # fmt: skip

    assert stored(scenes) == stored(alone)
    assert [(p.done, p.failed) for p in (said[0], said[-1])] == [(0, 0), (MANY, 1)]
    assert [p.done for p in said] == sorted(p.done for p in said) and len(said) > 3
    assert said[-1].instances == stored(scenes)["summary"]["instances"] > 0
    assert len(workers.hired) == 2 == len(workers.killed)
    assert all(options["num_gpus"] == 0 and options["num_cpus"] == 1 for options in workers.hired)


def test_a_sample_that_somebody_holds_is_as_it_is_stored(workers, scenes):
    held = scenes.first()

    list(segment(scenes, image_model(), distribute="ray"))

    assert held["sam3_presence"]["dog"] == scenes.values("sam3_presence.dog")[0] is not None


def test_what_an_earlier_run_found_elsewhere_is_taken_along(workers, scenes, alone):
    other = alone.clone()
    mine = alone.clone()
    list(segment(other, image_model(["cat"]), "more", batch_size=4, skip_existing=True))
    list(segment(mine, image_model(["cat"]), "more", batch_size=4, skip_existing=True, distribute="ray"))

    assert stored(mine) == stored(other)
    assert mine.count("more.detections") >= mine.count("preds.detections") > 0
    other.delete()
    mine.delete()


def test_what_was_asked_before_keeps_its_record(workers, scenes):
    list(segment(scenes, image_model(["dog"]), distribute="ray"))
    scenes.select(scenes.values("id")[:4]).clear_sample_field("sam3_error")
    first = run_info(scenes)["concepts"]["dog"]
    time.sleep(1.1)  # records have seconds

    list(segment(scenes, image_model(["dog", "apple"]), skip_existing=True, distribute="ray"))

    record = run_info(scenes)["concepts"]
    assert set(record) == {"dog", "apple"} and record["apple"]["started"] > first["started"]
    bad = scenes.exists("sam3_error")  # asked again, so that "dog" has new answers; without it, it would have none
    assert len(bad) == 1
    rest = scenes.exists("sam3_error", bool=False)
    dog = run_info(scenes)["concepts"]["dog"]
    time.sleep(1.1)
    list(segment(rest, image_model(["dog", "cup"]), skip_existing=True, distribute="ray"))
    assert run_info(scenes)["concepts"]["dog"] == dog


def test_nothing_to_do_starts_nobody(workers, scenes):
    good = scenes.match(~F("filepath").ends_with("bad.jpg"))
    list(segment(good, image_model(["dog"])))

    said = list(segment(good, image_model(["dog"]), skip_existing=True, distribute="ray"))

    assert [p.total for p in said] == [0] and workers.hired == []


def test_where_all_fail_no_question_is_recorded(workers, scenes):
    list(segment(scenes.skip(BAD).limit(1), image_model(["dog"]), distribute="ray"))

    assert run_info(scenes)["concepts"] == {} and "no image" not in (scenes.values("sam3_error")[BAD] or "")
    assert scenes.values("sam3_error")[BAD]


def test_changes_of_a_loaded_model_travel(workers, scenes):
    model = image_model(confidence_thresh=0.3)
    model.config.filter_classes = ["dog"]
    model.config.confidence_thresh = 0.0

    list(segment(scenes.limit(3), model, distribute="ray"))

    assert set(scenes.distinct("sam3.detections.label")) == {"dog"}
    assert set(run_info(scenes)["concepts"]) == {"dog"} and scenes.bounds("sam3.detections.confidence")[0] < 0.3


def test_videos_as_in_one_process(workers, reels):
    one, many = reels.clone(), reels.clone()
    list(track(one, video_model()))

    said = list(track(many, video_model(), distribute="ray", workers=2))

    assert _without_ids(stored(many)) == _without_ids(stored(one))
    assert many.count("frames.sam3.detections") > 0
    assert [p.share for p in said] == sorted(p.share for p in said) and (said[0].share, said[-1].share) == (0, 1)
    assert (said[-1].failed, said[-1].videos) == (1, 3)
    again = list(track(many, video_model(), skip_existing=True, distribute="ray"))
    assert (again[-1].skipped, again[-1].failed) == (2, 1)
    one.delete()
    many.delete()


def _without_ids(kept: dict[str, Any]) -> dict[str, Any]:
    """Instances of masklets have ids of their own."""
    return {key: re.sub(r"ObjectId\('\w+'\)", "", repr(value)) for key, value in kept.items()}


def test_clips_of_one_video_are_one_task(workers, reels):
    dataset = reels.limit(2).clone()
    for sample in dataset:
        events = [fo.TemporalDetection(label="event", support=support) for support in ([1, 2], [3, 4])]
        sample["events"] = fo.TemporalDetections(detections=events)
        sample.save()
    one = dataset.clone()
    list(track(one.to_clips("events"), video_model()))

    list(track(dataset.to_clips("events"), video_model(), distribute="ray", workers=2))

    assert workers.asked.count("take") == 2
    assert _without_ids(stored(dataset)) == _without_ids(stored(one))
    one.delete()
    dataset.delete()


@pytest.mark.parametrize("what", ["images", "instances"])
def test_embeddings_as_in_one_process(workers, alone, what):
    one, many = alone.clone(), alone.clone()
    embed, said = (embed_images, ()) if what == "images" else (embed_instances, ("preds",))
    settings = dict(progress=False, checkpoint=str(TINY), batch_size=2)
    first = embed(one, *said, **settings)

    second = embed(many, *said, **settings, distribute="ray", workers=2)

    assert (second.vectors, len(second.failed)) == (first.vectors, len(first.failed)) and first.vectors > 0
    for a, b in zip(_vectors(one, first.field), _vectors(many, second.field), strict=True):
        assert np.allclose(a, b, atol=1e-5)
    assert many.values("sam3_error") == one.values("sam3_error") and any(one.values("sam3_error"))
    one.delete()
    many.delete()


def _vectors(dataset: fo.Dataset, path: str) -> list[Any]:
    held = dataset.values(path, unwind=True)
    return [vector for vector in held if vector is not None]


# ------------------------------------------------------------------------------------------------ who dies


def test_a_worker_dies_and_another_one_does_its_work(workers, scenes, alone):
    workers.dies = dies_of(scenes.values("id")[3], times=1)

    list(segment(scenes, image_model(prompt_field="ask"), "preds", batch_size=2, distribute="ray"))

    assert stored(scenes) == stored(alone)
    assert len(workers.hired) == 3


def test_a_sample_that_ends_its_worker_costs_itself(workers, scenes):
    number = scenes.values("id")[6]
    workers.dies = dies_of(number)

    said = list(segment(scenes, image_model(["dog"]), batch_size=4, distribute="ray", workers=1))

    reasons = dict(zip(*scenes.values(["id", "sam3_error"]), strict=True))
    assert reasons[number] == "ended the process that worked on it, 4 times: The actor died."
    assert (said[-1].done, said[-1].failed) == (MANY, 2)
    assert scenes.count("sam3_presence.dog") == MANY - 2
    assert scenes.load_run_results("sam3", cache=False).summary["failed"] == 2
    workers.dies = dies_of("nobody")

    list(segment(scenes, image_model(["dog"]), skip_existing=True, distribute="ray"))  # another day, more memory

    assert scenes.count("sam3_presence.dog") == MANY - 1 and len(scenes.exists("sam3_error")) == 1


def test_a_video_that_ends_its_workers_says_so(workers, reels):
    dataset = reels.limit(2).clone()
    number = dataset.values("id")[0]
    workers.dies = dies_of(number)

    said = list(track(dataset, video_model(), distribute="ray"))

    assert (said[-1].failed, said[-1].share) == (1, 1)
    assert dataset.values("sam3_error") == ["ended the process that worked on it, 3 times: The actor died.", None]
    assert dataset.load_run_results("sam3", cache=False).summary["videos"] == 1
    dataset.delete()


def test_embeddings_whose_worker_dies(workers, scenes):
    number = scenes.values("id")[2]
    workers.dies = dies_of(number, times=1)
    settings = dict(progress=False, checkpoint=str(TINY), batch_size=2, distribute="ray", workers=1)

    assert embed_images(scenes, **settings).vectors == MANY - 1
    workers.dies = dies_of(number)

    done = embed_images(scenes, "again", **settings)

    assert done.vectors == MANY - 2 and "ended the process" in done.failed[number]
    assert scenes[number].sam3_error.startswith("again: ended the process that worked on it")


def test_machines_that_only_fail_end_the_run(workers, scenes, monkeypatch):
    monkeypatch.setattr(zoo.crew, "_MOST_IN_A_ROW", 6)
    workers.dies = lambda method, said: method == "take"

    with pytest.raises(ClusterError, match="6 times in a row a worker process failed, the last time so: The actor"):
        list(segment(scenes, image_model(["dog"]), batch_size=2, distribute="ray"))

    assert scenes.count("sam3_presence.dog") == 0 and run_info(scenes)["concepts"] == {}
    assert len(workers.killed) == len(workers.hired)


def test_a_run_that_is_closed_lets_its_workers_go(workers, scenes):
    steps = segment(scenes, image_model(["dog"]), batch_size=2, distribute="ray")
    assert next(step for step in steps if step.done)

    steps.close()

    assert len(workers.killed) == len(workers.hired) == 2
    assert 0 < scenes.count("sam3_presence.dog") < MANY - 1 and set(run_info(scenes)["concepts"]) == {"dog"}
    list(segment(scenes, image_model(["dog"]), skip_existing=True, distribute="ray"))
    assert scenes.count("sam3_presence.dog") == MANY - 1


# ------------------------------------------------------------------------------------------------ refused


def refused(scenes: fo.Dataset, match: str, model: Any = None, **settings: Any) -> None:
    """Before anything is changed."""
    before = scenes.get_field_schema(flat=True)
    kind = (ConceptError, CheckpointError, ClusterError)
    with pytest.raises(kind, match=match):
        list(segment(scenes, model or image_model(), **{"distribute": "ray", **settings}))
    assert scenes.get_field_schema(flat=True) == before and not scenes.has_run("sam3")


def test_an_unknown_way_is_refused(workers, scenes, reels):
    refused(scenes, "distribute='Rays': did you mean 'ray'", distribute="Rays")
    refused(scenes, "distribute='dask': there is 'ray', and None", distribute="dask")
    refused(scenes, "workers must be a whole number", workers=0)
    refused(scenes, 'workers=2 are of a distributed run: say distribute="ray", too', distribute=None, workers=2)
    with pytest.raises(ConceptError, match="did you mean"):
        next(track(reels, video_model(), distribute="rey"))
    with pytest.raises(CurationError, match="did you mean"):
        next(embedding_steps(scenes, distribute="rey"))
    with pytest.raises(ValueError, match="did you mean"):  # the plugin's own ConceptError
        foo.get_operator("@concepts/sam3/segment_concepts")(scenes, ["dog"], distribute="rey")
    with pytest.raises(ValueError, match="did you mean"):
        foo.get_operator("@concepts/sam3/track_concepts")(reels, ["dog"], distribute="rey")


def test_without_ray_it_is_said_what_to_install(monkeypatch, scenes):
    monkeypatch.setattr(zoo.cluster, "has_ray", lambda: False)
    refused(scenes, r'distribute="ray" needs Ray: pip install -r requirements-ray.txt')


def test_a_model_without_a_recipe_is_refused(workers, scenes):
    refused(scenes, "was built by hand: load it by name", Sam3ImageModel(media.tiny(), ["dog"]))


def test_a_database_on_this_machine_does_for_this_machine_alone(workers, scenes, monkeypatch):
    workers._nodes = ("10.0.0.1", "10.0.0.2")
    refused(scenes, r"The database is on this machine alone \(mongodb://127.0.0.1:\d+\).* \(10.0.0.2\).*FIFTYONE_DATA")
    monkeypatch.setattr(fo.config, "database_uri", None)
    refused(scenes, "FiftyOne's own database is on this machine alone")
    for uri in ("mongodb://db.example.org", "mongodb+srv://me:secret@cluster.example.org/x", "mongodb://u:p@a,b/?x=y"):
        monkeypatch.setattr(fo.config, "database_uri", uri)
        Cluster(2, 0, ("10.0.0.2",)).check_database()


def test_a_gpu_that_no_node_has_is_refused(workers, scenes):
    from dataclasses import replace

    model = image_model()
    model.recipe = replace(model.recipe, settings={**model.recipe.settings, "device": "cuda:1"})
    refused(scenes, "device='cuda:1', but no node of the Ray cluster has a GPU", model)


def test_another_checkpoint_on_a_node_is_refused(workers, scenes, monkeypatch):
    model = image_model()
    monkeypatch.setattr(model.detector.checkpoint, "fingerprint", "another")
    refused(scenes, "is another one than here .*, not another", model)


def test_what_a_worker_cannot_load_is_said(workers, scenes):
    from dataclasses import replace

    model = image_model()
    model.recipe = replace(model.recipe, settings={**model.recipe.settings, "thresholds": {"whale": 0.5}})
    refused(scenes, "A worker process cannot load the model: .*whale", model)


def test_workers_that_do_not_start_are_said(workers, scenes):
    workers.dies = lambda method, said: method == "begin"
    refused(scenes, "Worker processes cannot start: The actor died.")
    assert len(workers.killed) == len(workers.hired)


def test_a_node_where_no_worker_starts_is_done_without(workers, scenes, caplog):
    starts = []
    workers.dies = lambda method, said: method == "begin" and not starts.append(said) and len(starts) > 1

    list(segment(scenes, image_model(["dog"]), batch_size=1, distribute="ray", workers=2))

    assert scenes.count("sam3_presence.dog") == MANY - 1 and len(workers.hired) == 4
    assert "There is one worker less: Worker processes cannot start: The actor died." in caplog.text


def test_nobody_waits_for_ever(workers, scenes, monkeypatch):
    monkeypatch.setattr(workers, "wait", lambda answers, **_: ([], answers))
    monkeypatch.setattr(zoo.crew, "_PATIENCE", -1.0)
    refused(scenes, "No worker came up .*: the cluster has 2 CPUs and 0 GPUs, perhaps all in use")


# ------------------------------------------------------------------------------------------------ what travels


def test_with_gpus_every_worker_has_one(workers, scenes, monkeypatch):
    """The GPU is the cluster's; this machine has none, so workers say that they cannot have it."""
    workers._resources["GPU"] = 3.0
    model = load_model("concepts/sam3-tiny-image", classes=["dog"])
    import torch

    if torch.cuda.is_available():
        pytest.skip("needs a machine without a GPU")
    refused(scenes, "cannot start: ValueError: Device 'cuda' is not on this machine", model)
    assert {(options["num_gpus"], options["num_cpus"]) for options in workers.hired} == {(1, 1)}


def test_our_own_classes_travel_under_another_name():
    from zoo.engine.concepts import parse_concepts

    concepts = parse_concepts({"dog": ["dog", "puppy"]})
    data = dumps(dict(concepts=concepts, kind=Ledger))
    assert b"zoo" not in data.replace(b".zoo", b"")
    assert loads(data) == dict(concepts=concepts, kind=Ledger)


def test_the_package_is_whole_and_the_same_every_time():
    data = packed()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
    assert {"__init__.py", "source.py", "engine/detector.py", "tiny/model.safetensors"} <= set(names)
    assert not [name for name in names if "__pycache__" in name] and packed() == data
    assert NAME.isidentifier() and NAME != "zoo"


def test_a_recipe_has_what_is_on_this_machine_alone(tmp_path, monkeypatch, drawn):
    file = tmp_path / "shop.yaml"
    file.write_text("concepts:\n  - {label: cap, phrases: [cap, baseball cap]}\n")
    monkeypatch.chdir(tmp_path)
    image = Path(drawn.first().filepath)
    (tmp_path / "own.png").write_bytes(image.read_bytes())
    shown = {"cap": [dict(image="own.png", boxes=[[0.1, 0.1, 0.3, 0.3]])]}

    model = load_model("concepts/sam3-tiny-image", classes=str(file), exemplars=shown)
    file.unlink()
    settings = model.recipe.elsewhere("sam3-tiny", "cpu", "float32")

    assert [c.label for c in settings["classes"].concepts] == ["cap"]
    assert settings["exemplars"]["cap"][0]["image"] == str(tmp_path / "own.png")
    again = load_model(model.recipe.name, **loads(dumps(settings)))
    assert again.concepts == model.concepts and again.bank.shows == {"cap"}


# ------------------------------------------------------------------------------------------------ forms


def form(operator: str, dataset: fo.Dataset, **params: Any) -> dict[str, Any]:
    uri = f"@concepts/sam3/{operator}"
    ctx = ExecutionContext(request_params=dict(dataset_name=dataset.name, params=params), operator_uri=uri)
    return foo.get_operator(uri).resolve_input(ctx).type.properties


@pytest.mark.parametrize("operator", ["segment_concepts", "compute_embeddings"])
def test_forms_offer_ray_where_there_is_ray(scenes, monkeypatch, operator):
    assert "workers" not in form(operator, scenes)
    fields = form(operator, scenes, distribute="ray")
    assert fields["distribute"].type.values == ["", "ray"] and "workers" in fields
    module = sys.modules[type(foo.get_operator("@concepts/sam3/segment_concepts")).__module__.split(".operators")[0]]
    monkeypatch.setattr(sys.modules[f"{module.__name__}.zoo.cluster"], "has_ray", lambda: False)
    assert "distribute" not in form(operator, scenes)


# ------------------------------------------------------------------------------------------------ the benchmark


def test_the_benchmark_in_small(workers, monkeypatch, tmp_path, capsys):
    def kill() -> None:
        workers.dies = lambda method, said: method == "step" and not killed.append(said) and len(killed) == 1

    killed: list[Any] = []
    process = types.SimpleNamespace(kill=kill, cpu_times=lambda: (0.0, 0.0))
    monkeypatch.setattr(benchmark, "_processes", lambda: [process])
    benchmark.main(["--samples", "6", "--repeats", "1", "--batch", "1", "--json", str(tmp_path / "numbers.json")])

    report = json.loads((tmp_path / "numbers.json").read_text())
    single, _, two = (row["seconds"][0] for row in report["rows"])
    assert report["of_ideal"] == [pytest.approx(single / (2 * two))] and report["samples"] == 6
    assert killed and report["killed"]["lost"] == 0 and report["killed"]["seconds"] > 0
    assert "one of two workers killed: 0 samples lost  (within 0)" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------ Ray itself


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Ray on this machine, with two processes."""
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error",
        object_store_memory=128 << 20,
    )  # fmt: skip
    yield
    ray.shutdown()


def living() -> list[psutil.Process]:
    """The workers' processes."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if any("Sam3Worker" in part for part in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def slowly(monkeypatch, code: str) -> None:
    """Send workers a package in which reading an image does this, too."""
    with zipfile.ZipFile(io.BytesIO(packed())) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files["engine/images.py"] += f"""
_read_image = read_image
def read_image(path, *args, **kwargs):
    import os, signal, time
    {code}
    return _read_image(path, *args, **kwargs)
""".encode()
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    monkeypatch.setattr(zoo.crew, "packed", held.getvalue)


def test_a_process_is_killed_in_the_middle(cluster, scenes, alone, monkeypatch):
    slowly(monkeypatch, "time.sleep(0.5)")
    killed = []
    steps = segment(scenes, image_model(prompt_field="ask"), "preds", batch_size=2, distribute="ray", workers=2)

    for step in steps:
        if step.done >= 2 and not killed:
            victim = living()[0]
            victim.kill()
            killed.append(victim.pid)

    assert killed and stored(scenes) == stored(alone)
    assert (step.done, step.failed) == (MANY, 1)
    deadline = time.monotonic() + 20
    while living() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert living() == []


def test_real_processes_track_for_the_plugin(cluster, reels):
    """Whose package has a name that no other process can import."""
    dataset = reels.limit(1).clone(persistent=True)

    result = foo.get_operator("@concepts/sam3/track_concepts")(
        dataset, CLASSES, confidence_thresh=0.2, new_det_thresh=0.2, distribute="ray", workers=1, device="cpu"
    )

    assert result.error is None
    assert dataset.count("frames.sam3.detections") > 0 and dataset.values("sam3_error") == [None]
    dataset.delete()


def test_a_cluster_of_its_own(scenes, monkeypatch):
    """Started for the run where there is none, and gone after it."""
    import ray

    ray.shutdown()
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with zoo.cluster.joined() as found:
        assert found.cpus >= 1 and found.elsewhere == () and ray.is_initialized()
    assert not ray.is_initialized()
    check_distribute("ray", 3)
