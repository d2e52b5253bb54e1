"""The GPU's benchmark runs on a CPU with a small architecture, without FiftyOne, and measures what it says."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from support.sandbox import REPOSITORY

from benchmarks.gpu import image, peers, whole
from benchmarks.gpu.__main__ import main
from benchmarks.gpu.arithmetic import floor_ms, gigaflops, parts
from benchmarks.gpu.clock import Clock, ratios
from benchmarks.gpu.planted import Planted, ellipses
from benchmarks.gpu.weights import absent_weights, load, weightless
from zoo.engine.checkpoint import TINY, load_checkpoint
from zoo.engine.detector import ConceptDetector

SMALL = ["--device", "cpu", "--tiny", "--batches", "1", "2", "--concepts", "1", "3", "--objects", "2", "--json"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return weightless(tmp_path_factory.mktemp("weightless"), tiny=True)


@pytest.fixture(scope="module")
def checkpoint(folder):
    with absent_weights("cpu"):
        return load(folder, "cpu", "float32", tracker=True)


@pytest.fixture(scope="module")
def planted(checkpoint):
    return Planted(checkpoint.model, 4)


def test_random_weights_make_the_model_that_is_loaded(checkpoint):
    real = load_checkpoint(TINY, "cpu", "float32", tracker=True)
    for made, loaded in ((checkpoint.model, real.model), (checkpoint.tracker.model, real.tracker.model)):
        for kind in ("named_parameters", "named_buffers"):
            ours, theirs = dict(getattr(made, kind)()), dict(getattr(loaded, kind)())
            assert ours.keys() == theirs.keys()
            assert all(ours[name].shape == theirs[name].shape for name in ours)
            assert all(ours[name].dtype == theirs[name].dtype for name in ours)
        constants = [name for name, _ in made.named_buffers() if "positional_embedding" not in name]
        for name in constants:  # what is computed, not learnt
            assert torch.equal(made.get_buffer(name), loaded.get_buffer(name))


def test_other_checkpoints_are_loaded_as_ever(folder):
    with absent_weights("cpu"):
        assert torch.equal(
            load_checkpoint(TINY, "cpu", "float32").model.text_projection.weight,
            load(TINY, "cpu", "float32").model.text_projection.weight,
        )
        first, second = (load(folder, "cpu", "float32").model.text_projection.weight for _ in range(2))
    assert torch.equal(first, second) and first.std() > 0


def test_what_is_planted_is_found_by_both_sides(checkpoint, planted, folder):
    (picture,) = image.pictures(1)
    asked = image.thresholds(10)
    assert sorted(set(asked.values())) == [0.5, 1.0] and image.present(10) == 2
    for found in (4, 7):
        planted.show(found)
        detector = ConceptDetector(checkpoint, cls_token=False)
        side = checkpoint.side
        run = image.engine_run(detector, torch.zeros(2, 3, side, side, dtype=torch.uint8), 10)
        assert run() == 2 * 2 * found
        stock = peers.Stock(checkpoint, str(folder))
        assert stock.reusing(picture, asked) == stock.repeating(picture, asked) == 2 * found


def test_what_is_planted_can_be_left_out(checkpoint, planted, folder):
    detector, stock = ConceptDetector(checkpoint, cls_token=False), peers.Stock(checkpoint, str(folder))
    apart = peers.same(detector, stock, planted, image.pictures(1)[0], image.named(4))
    assert max(apart["presence"], apart["score"]) < 1e-3 < 0.05 < apart["spread"]
    assert planted.active
    with pytest.raises(ValueError, match="Between 0 and"):
        Planted(checkpoint.model, 1000)


@pytest.mark.parametrize("grid", [(56, 56), (288, 288)])
def test_objects_have_room_and_a_size(grid):
    masks = ellipses(20, grid) > 0.5
    assert (masks.sum(0) <= 1).all() and masks.any((1, 2)).all()
    wide = [np.ptp(np.nonzero(mask)[1]) * 1920 / grid[1] for mask in masks]
    assert 10 < np.median(wide) < 220 and max(wide) < 230


def test_the_arithmetic_is_counted(checkpoint):
    a, b = torch.ones(8, 16), torch.ones(16, 4)
    assert gigaflops(lambda: a @ b) == pytest.approx(2 * 8 * 16 * 4 / 1e9)
    counted = parts(checkpoint)
    assert counted["image"] > counted["concept"] > counted["masks"] > 0
    one = floor_ms(counted, 1.0, 1, 1)
    assert one == pytest.approx(counted["image"] + counted["concept"])
    assert floor_ms(counted, 1.0, 2, 1) - one == pytest.approx(counted["concept"] - counted["masks"])


def test_cells_say_what_ran_out(monkeypatch):
    clock = Clock("cpu", 60, repeats=2, patience=0)
    cell = clock.cell(lambda: 1, units=4)
    assert 0 <= cell["least"] <= cell["ms"] <= cell["most"] and cell["repeats"] == 2 and cell["peak_mb"] is None

    def too_much():
        raise torch.OutOfMemoryError("no")

    assert clock.cell(too_much) == dict(error="OOM")
    times = clock.side_by_side({"a": lambda: 1, "b": too_much})
    assert times.keys() == {"a"} and len(times["a"]) == 2
    assert Clock("cpu", 0).cell(lambda: 1) == dict(error="no time")
    assert ratios([4, 9], [2, 3]) == dict(median=2.5, least=2, most=3) and ratios([], []) is None


def test_the_fit_finds_what_the_cells_were_made_of():
    rows = [dict(concepts=n, cells={"4": dict(ms=7 + 0.5 * n), "16": dict(error="OOM")}) for n in (1, 4, 16)]
    fit = image.fitted(rows, (4, 16))
    assert fit.keys() == {"4"} and fit["4"] == pytest.approx(dict(E=7, p=0.5, off=0), abs=1e-9)


def test_everything_but_the_database_runs_without_fiftyone(tmp_path):
    file = tmp_path / "numbers.json"
    program = "import sys; sys.modules['fiftyone'] = None; from benchmarks.gpu.__main__ import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, *SMALL, str(file)], cwd=REPOSITORY, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(file.read_text())
    one, three = report["images"]["rows"]
    assert (one["found"], three["found"]) == (10, 10) and report["images"]["fit"]["1"]["E"] > 0
    rows = {row["name"]: row for row in report["peers"]["rows"]}
    assert {row["found"] for row in rows.values()} == {10} and report["peers"]["same_instances"]
    assert rows["a forward per concept"]["slower"]["median"] > 1 and "not installed" in report["peers"]["official"]
    videos = [(row["objects"], row["concepts"], row["begun"]) for row in report["video"]["rows"]]
    assert videos == [(2, 1, 2), (2, 3, 2)]
    assert not any(name.startswith("compiled") for name in report)
    assert report["video"]["stock"]["begun"] == 2 and report["video"]["slower"] > 0
    assert "FiftyOne" in report["whole"]["not_measured"] and report["same"]["presence"] < 1e-3
    for words in ("TFLOP/s", "ms an image", "transformers' iterator", "t = ", "of the floor's speed"):
        assert words in done.stdout


def test_from_files_to_the_database(tmp_path, capsys, folder):
    import fiftyone as fo

    before = fo.list_datasets()
    told, clock = [], Clock("cpu", 120, repeats=1, patience=0)
    with absent_weights("cpu"):
        found = whole.measure(str(folder), tmp_path, clock, 2, "float32", 4, told.append)
    assert found["images"] == 4 and found["failed"] == 0 and found["instances"] == 20
    assert 0 < found["share"] < 1.5 and found["per_second"] == pytest.approx(4 / found["seconds"])
    assert "4 JPEGs, 10 concepts, 20 instances an image" in told[0] and fo.list_datasets() == before


def test_a_section_that_fails_costs_itself_alone(tmp_path, monkeypatch, capsys):
    def broken(*args, **kwargs):
        raise RuntimeError("out of order")

    monkeypatch.setattr(image, "measure", broken)
    file = tmp_path / "numbers.json"
    assert main([*SMALL, str(file), "--sections", "machine", "images", "same"]) == 1
    report = json.loads(file.read_text())
    assert report["images"]["error"] == "RuntimeError: out of order" and report["same"]["score"] < 1e-3
    assert "FAILED: RuntimeError: out of order" in capsys.readouterr().out
    assert main([*SMALL, str(file), "--sections", "machine", "images", "--seconds", "0"]) == 0
    assert "no time" in capsys.readouterr().out


def test_without_a_gpu_it_says_so(capsys):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(SystemExit):
        main([])
    assert "--device cpu --tiny" in capsys.readouterr().err


def test_what_is_planted_is_found_by_what_is_compiled(folder, tmp_path, monkeypatch, capsys):
    # what other tests compiled in this process knows of nothing planted, and the compiler does not look for hooks
    torch._dynamo.reset()
    real = torch.compile
    # the graphs, without a compiler's minutes
    monkeypatch.setattr(torch, "compile", lambda f, **k: real(f, backend="eager", fullgraph=True, **k))
    with absent_weights("cpu"):
        made = load(folder, "cpu", "float32", compile="all", tracker=True)
    plant, detector = Planted(made.model, 3), ConceptDetector(made, cls_token=False)
    squares = torch.zeros(1, 3, made.side, made.side, dtype=torch.uint8)
    assert image.engine_run(detector, squares, 4)() == 3
    plant.show(5)  # not what was found when it was translated
    assert image.engine_run(detector, squares, 4)() == 5
    assert detector._decoder._run._fast is not None
    monkeypatch.setattr(torch, "compile", lambda f, **k: f)
    file = tmp_path / "numbers.json"
    assert main([*SMALL, str(file), "--sections", "machine", "compiled", "--concepts", "1"]) == 0
    report = json.loads(file.read_text())
    assert all(report[f"compiled_{part}"]["rows"][0]["found"] == 10 for part in ("vision", "all"))
    assert "compile='all'" in capsys.readouterr().out


def test_the_official_package_is_called_as_its_documentation_does(tmp_path, monkeypatch):
    with pytest.raises(LookupError, match="not installed"):
        peers.official("cpu")
    package = tmp_path / "sam3"
    (package / "model").mkdir(parents=True)
    for folder in (package, package / "model"):
        (folder / "__init__.py").touch()
    (package / "model_builder.py").write_text(
        "def build_sam3_image_model(device, load_from_HF=True):\n"
        "    if load_from_HF:\n"
        "        raise OSError('gated')\n"
        "    return device\n"
    )
    (package / "model" / "sam3_image_processor.py").write_text(
        "import torch\n"
        "class Sam3Processor:\n"
        "    def __init__(self, model):\n"
        "        assert model == 'cpu'\n"
        "    def set_image(self, image):\n"
        "        return image.size\n"
        "    def set_text_prompt(self, state, prompt):\n"
        "        assert state == (1920, 1080)\n"
        "        return dict(masks=torch.zeros(len(prompt), 1, *state))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        run = peers.official("cpu")
        assert run(image.pictures(1)[0], {"dog": 0.5, "horse": 1.0}) == len("dog") + len("horse")
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "sam3"]:
            del sys.modules[name]
