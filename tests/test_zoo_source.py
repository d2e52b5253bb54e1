"""The zoo source: registered from an archive as a user would, without a network, and beside the plugin."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import json
import multiprocessing
import os
import pickle
import shutil
import socket
import subprocess
import sys
import threading
import zipfile
from fnmatch import fnmatch
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.zoo as foz
import numpy as np
import pytest
from fiftyone.operators import types
from packaging.requirements import Requirement
from support import films, media
from support.media import COLOURS, Scripted, scripted, states
from support.sandbox import REPOSITORY

from zoo.source import MODELS, is_video

ZOO = REPOSITORY / "zoo"
TINY, FULL = "concepts/sam3-tiny-image", "concepts/sam3-image"
TINY_VIDEO, FULL_VIDEO = "concepts/sam3-tiny-video", "concepts/sam3-video"

apply = partial(fo.Dataset.apply_model, label_field="sam3", progress=False, skip_failures=False)


class Quiet(SimpleHTTPRequestHandler):
    """A web server that does not comment on every file."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The URL of an archive such as a git host makes: everything in one folder that is named after the branch."""
    folder = tmp_path_factory.mktemp("host")
    with zipfile.ZipFile(folder / "main.zip", "w") as archive:
        for path in [REPOSITORY / "fiftyone.yml", *sorted(ZOO.rglob("*"))]:
            # neither bytecode nor the markers that FiftyOne leaves in a source that is linked instead of installed
            if path.is_file() and "__pycache__" not in path.parts and not path.match("zoo/sam3-*.json"):
                archive.write(path, Path("sam3-main") / path.relative_to(REPOSITORY))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/main.zip"
    foz.register_zoo_model_source(url)
    yield url
    foz.delete_zoo_model_source(url)
    server.shutdown()
    server.server_close()


@pytest.fixture
def offline(monkeypatch):
    """A machine that reaches itself, and nothing else."""
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def connect_here(self: socket.socket, address):
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "localhost", "::1"):
            raise OSError(101, "Network is unreachable")
        return connect(self, address)

    def look_up_here(host, *args, **kwargs):
        if host not in ("127.0.0.1", "localhost", "::1", None):
            raise socket.gaierror(-3, "Temporary failure in name resolution")
        return look_up(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", connect_here)
    monkeypatch.setattr(socket, "getaddrinfo", look_up_here)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    return [media.plain(folder / f"{colour}.png", colour, (20 + k, 30)) for k, colour in enumerate(COLOURS)]


@pytest.fixture
def album(pictures, new_dataset) -> fo.Dataset:
    return new_dataset([fo.Sample(filepath=path) for path in pictures])


# ------------------------------------------------------------------------------------------------ the manifest


def test_the_manifest_says_what_the_code_has():
    manifest = json.loads((ZOO / "manifest.json").read_text())

    assert {model["base_name"] for model in manifest["models"]} == set(MODELS)
    installed = {model["base_filename"] for model in manifest["models"]}
    assert len(installed) == len(MODELS)
    ignored = (REPOSITORY / ".gitignore").read_text().splitlines()
    assert all(any(fnmatch(f"zoo/{name}", line) for line in ignored) for name in installed), (
        "a marker in the repository stops the download"
    )
    for model in manifest["models"]:
        for line in model["requirements"]["packages"]:
            requirement = Requirement(line)
            assert importlib.metadata.version(requirement.name) in requirement.specifier
        assert {"segmentation", "zero-shot"} <= set(model["tags"])
        assert ("video" in model["tags"]) == is_video(model["base_name"])
        assert all(model[key] for key in ("description", "author", "license", "size_bytes", "date_added"))
    for tiny in (model for model in manifest["models"] if MODELS[model["base_name"]] is None):
        assert tiny["size_bytes"] == pytest.approx((ZOO / "tiny" / "model.safetensors").stat().st_size, rel=0.5)


def test_there_is_no_second_manifest():
    """Any other file of that name would be taken for a source of its own."""
    found = []
    for folder, folders, files in os.walk(REPOSITORY):
        folders[:] = [name for name in folders if name not in ("build", "runs") and not name.startswith(".")]
        found += [Path(folder, name) for name in files if name == "manifest.json"]
    assert found == [ZOO / "manifest.json"]


# ------------------------------------------------------------------------------------------------ registered


def test_all_models_are_listed(source):
    assert set(MODELS) <= set(foz.list_zoo_models())
    assert set(foz.list_zoo_models(source=source)) == set(MODELS)
    assert {FULL, TINY, FULL_VIDEO, TINY_VIDEO} == set(MODELS)


def test_loads_without_a_network_and_only_once(source, offline, album):
    load = partial(foz.load_zoo_model, TINY)

    one = load(classes=["red cap", "dog"], confidence_thresh=0.0)
    marker = Path(foz.find_zoo_model(TINY))
    stamp = marker.stat().st_mtime_ns

    assert load(classes=["red cap", "dog"], confidence_thresh=0.0) is one
    other = load(classes="owl")
    assert other is not one
    assert other.detector.checkpoint.model is one.detector.checkpoint.model  # other concepts, the same weights
    assert marker.stat().st_mtime_ns == stamp
    assert Path(foz.find_zoo_model(TINY)).is_relative_to(fo.config.model_zoo_dir)
    assert type(one).__module__ == "concepts.sam3.image_model"

    apply(album, one, batch_size=2, num_workers=0)
    assert album.count("sam3.detections") > 0
    assert set(album.get_run_info("sam3").config.concepts) == {"red cap", "dog"}


def test_tracks_without_a_network_and_shares_its_weights(source, offline, tmp_path, new_dataset):
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    film = new_dataset([fo.Sample(filepath=films.encode(tmp_path / "film.mp4", [pixels] * 3))])
    load = partial(foz.load_zoo_model, TINY_VIDEO)

    # at threshold 0 everything is found, whatever the network has learned
    model = load(classes=["red cap", "dog"], confidence_thresh=0.0, new_det_thresh=0.0, max_num_objects=4, stride=2)
    assert load(classes="owl").detector.checkpoint is model.detector.checkpoint
    assert foz.load_zoo_model(TINY, classes="owl").detector.checkpoint is model.detector.checkpoint
    assert type(model).__module__ == "concepts.sam3.video_model" and model.media_type == "video"

    apply(film, model)

    assert film.values("frames.frame_number") == [[1, 3]] and film.count("sam3_masklets.detections") > 0
    assert set(film.get_run_info("sam3").config.concepts) == {"red cap", "dog"}


@pytest.mark.parametrize(
    ("settings", "kind", "reason"),
    [
        ({"classes": ["dog"], "floor": 0.1}, "ConceptError", "Unknown argument 'floor': .* takes .*classes.*stride"),
        ({"classes": ["dog"], "new_det_tresh": 1}, "ConceptError", "'new_det_tresh': .*new_det_thresh"),
        ({"classes": ["dog"], "new_det_thresh": 3}, "ConceptError", "new_det_thresh must be .* got 3"),
        ({"classes": ["dog"], "stride": 0}, "ConceptError", "stride must be .* got 0"),
    ],
)
def test_what_video_model_cannot_be_loaded(source, settings, kind, reason):
    with pytest.raises(Exception, match=reason) as caught:
        foz.load_zoo_model(TINY_VIDEO, **settings)

    assert type(caught.value).__name__ == kind


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_find_their_way_back(source, album, method, monkeypatch):
    """A spawned worker cannot import a source that FiftyOne has registered; it must be told where it lies."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system cannot {method}")
    model = foz.load_zoo_model(TINY, classes=["dog", "cat"])
    monkeypatch.setattr(model, "detector", Scripted())
    usual = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method(method, force=True)
    try:
        apply(album, model, batch_size=4, num_workers=1)
    finally:
        multiprocessing.set_start_method(usual, force=True)

    # the same as without workers
    expected = fo.Dataset()
    expected.add_samples([fo.Sample(filepath=path) for path in album.values("filepath")])
    apply(expected, scripted(["dog", "cat"]), num_workers=0)
    assert states(album) == states(expected)
    expected.delete()


@pytest.mark.parametrize(
    ("settings", "kind", "reason"),
    [
        ({"classes": ["dog"], "clases": ["cat"]}, "ConceptError", "Unknown argument 'clases': .* takes .*classes"),
        ({"classes": []}, "ConceptError", "No concepts to look for"),
        ({"classes": ["dog"], "device": "tpu"}, "ValueError", "device 'tpu'"),
        ({"classes": ["dog"], "dtype": "int4"}, "ValueError", "Unknown dtype 'int4'"),
        ({"classes": ["dog"], "checkpoint": "/nowhere/at/all"}, "CheckpointError", "no checkpoint folder '/nowhere"),
        ({"classes": ["dog"], "checkpoint": str(ZOO / "engine")}, "CheckpointError", "has no config.json"),
    ],
)
def test_what_cannot_be_loaded(source, settings, kind, reason):
    with pytest.raises(Exception, match=reason) as caught:
        foz.load_zoo_model(TINY, **settings)

    assert type(caught.value).__name__ == kind


def test_a_model_may_be_loaded_before_its_concepts_are_known(source, album):
    model = foz.load_zoo_model(TINY)

    with pytest.raises(Exception, match="No concepts to look for: load the model with classes="):
        apply(album, model, num_workers=0)

    assert not album.has_field("sam3_presence")


def test_gated_weights_without_a_network_are_one_sentence(source, offline):
    for _ in range(2):  # the second time, FiftyOne believes it has downloaded the model
        with pytest.raises(Exception) as caught:
            foz.load_zoo_model(FULL, classes=["dog"])

        assert type(caught.value).__name__ == "CheckpointError"
        said = str(caught.value)
        assert "facebook/sam3" in said and "cannot be reached" in said
        assert "\n" not in said and len(said) < 250


def test_the_form_of_fiftyone_s_own_zoo_operator(source):
    model = foz.get_zoo_model(TINY)

    form = model.resolve_input(SimpleNamespace(params={}))

    assert isinstance(form, types.Property)
    fields = form.type.properties
    assert isinstance(fields["classes"].type, types.List) and fields["classes"].required
    assert fields["ledger"].default == "sam3"
    assert set(fields["device"].type.values) == {"auto", "cpu", "cuda", "mps"}
    json.dumps(form.to_json())  # it goes to a browser
    params = {"classes": ["dog"], "ledger": "", "device": None, "thresholds": []}
    model.parse_parameters(SimpleNamespace(params={}), params)
    assert params == {"classes": ["dog"]}
    assert foz.load_zoo_model(TINY, **params).concepts[0].label == "dog"


def plugin() -> str:
    """The package that FiftyOne has made of the repository."""
    assert foo.get_operator("@concepts/sam3/segment_concepts") is not None
    return next(name for name in sys.modules if name.startswith("fiftyone.plugins.") and name.endswith(".sam3"))


def test_the_plugin_works_beside_it(source, album):
    load = importlib.import_module(f"{plugin()}.zoo.source").load_model

    registered = foz.load_zoo_model(TINY, classes=["dog"])
    own = load(TINY, classes=["cat"])
    assert type(own) is not type(registered)
    for model in (registered, own):
        model.detector = Scripted()
        apply(album, model, num_workers=0)

    together = states(album)
    album.delete_sample_fields([name for name in album.get_field_schema() if name.startswith("sam3")])
    album.delete_runs()
    apply(album, scripted(["dog", "cat"]), num_workers=0)
    assert together == states(album)


UNPICKLE = """
import pickle, sys
for path in sys.argv[2:]:
    with open(path, "rb") as stream:
        load = pickle.load(stream)
    pixels, size, error = load({"filepath": sys.argv[1]})
    print(type(load).__module__, load.field_mapping, tuple(pixels.shape), size, error, sep="|")
"""


def test_any_process_can_unpickle_the_loader_of_any_copy(source, pictures, tmp_path):
    foz.load_zoo_model(TINY)
    importlib.import_module(f"{plugin()}.zoo.inputs")
    modules = ["zoo.inputs", "concepts.sam3.inputs", f"{plugin()}.zoo.inputs"]
    files = []
    for k, name in enumerate(modules):
        module = sys.modules[name]
        files.append(tmp_path / f"{k}.pickle")
        files[-1].write_bytes(pickle.dumps(module.LoadImage(14, {"filepath": "thumbnail"})))
        assert type(pickle.loads(files[-1].read_bytes())) is module.LoadImage

    # from a folder, and with a path, on which nothing of ours is found
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", UNPICKLE, pictures[0], *files]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=120)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{m}|{{'filepath': 'thumbnail'}}|(3, 14, 14)|(20, 30)|None" for m in modules]


# ------------------------------------------------------------------------------------------------ who imports whom


def imports(path: Path) -> list[tuple[str, int]]:
    """Modules that a file imports, and how many packages up they are looked for; 0 is an absolute import."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, 0) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.module or "", node.level))
    return found


FILES = sorted(ZOO.rglob("*.py"))
OURS = {path.name for path in REPOSITORY.iterdir() if path.is_dir() and any(path.glob("*.py"))} | {"support"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ZOO)))
def test_the_zoo_imports_nothing_from_outside_itself(path):
    depth = len(path.relative_to(ZOO).parts)
    for module, level in imports(path):
        assert level <= depth, f"{module!r} is outside of zoo/"
        assert level or module.partition(".")[0] not in OURS, f"{module!r} is not there where zoo/ is installed"
        # FiftyOne's import of "org/name" packages knows no `from . import module`
        assert not level or module, "say `from .module import name`"


@pytest.mark.parametrize("path", sorted((ZOO / "engine").glob("*.py")), ids=lambda path: path.name)
def test_the_engine_knows_no_fiftyone(path):
    for module, level in imports(path):
        assert module.partition(".")[0] != "fiftyone"
        assert level <= 1, "the engine rests on nothing of ours"


ALONE = """
import importlib, pkgutil, sys

class Blocked:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "fiftyone":
            raise ImportError("there is no FiftyOne here")

sys.meta_path.insert(0, Blocked())
import zoo
print(sorted({"torch", "transformers", "numpy"} & set(sys.modules)))
import zoo.engine
for module in pkgutil.iter_modules(zoo.engine.__path__):
    importlib.import_module(f"zoo.engine.{module.name}")
import numpy as np, torch
from zoo.engine.checkpoint import load_checkpoint
from zoo.engine.concepts import parse_concepts
from zoo.engine.detector import ConceptDetector
from zoo.engine.images import to_square
torch.set_num_threads(1)
detector = ConceptDetector(load_checkpoint(device="cpu"))
pixels = to_square(np.zeros((30, 40, 3), np.uint8), detector.checkpoint.side)[None]
(found,) = detector.detect(detector.encode_images(pixels, [(30, 40)]), [parse_concepts("dog")], threshold=1.0)
print([result.label for result in found])
"""


def test_the_engine_runs_where_there_is_no_fiftyone():
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, cwd=REPOSITORY, timeout=120)

    assert done.returncode == 0, done.stderr
    loaded, labels = done.stdout.splitlines()
    assert loaded == "[]", "importing the source must stay cheap: FiftyOne does it before it checks requirements"
    assert labels == "['dog']"


def test_what_is_pickled_is_small():
    """It goes to every worker; the weights must not go along."""
    assert len(pickle.dumps(scripted().build_get_item())) < 2000
    assert np.prod(pickle.loads(pickle.dumps(scripted().collate_fn))([1, 2, 3])) == 6


# ------------------------------------------------------------------------------------------------ from a clone


def install(home: Path) -> subprocess.CompletedProcess:
    environ = dict(os.environ, FIFTYONE_PLUGINS_DIR=str(home / "plugins"), FIFTYONE_MODEL_ZOO_DIR=str(home / "models"))
    command = [sys.executable, "-m", "scripts.install"]
    return subprocess.run(command, cwd=REPOSITORY, env=environ, capture_output=True, text=True, timeout=120)


def test_a_clone_installs_itself_and_says_so_the_second_time(tmp_path):
    first, second = install(tmp_path), install(tmp_path)
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert first.stdout.count("is now this clone") == second.stdout.count("was already this clone") == 2

    script = (
        "import fiftyone.plugins as fop, fiftyone.zoo as foz\n"
        "print([p.name for p in fop.list_plugins()], foz.load_zoo_model('concepts/sam3-tiny-image', classes=['dog']))"
    )
    environ = dict(
        os.environ, FIFTYONE_PLUGINS_DIR=str(tmp_path / "plugins"), FIFTYONE_MODEL_ZOO_DIR=str(tmp_path / "models")
    )
    used = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=240
    )
    assert used.returncode == 0, used.stderr
    assert "@concepts/sam3" in used.stdout and "Sam3ImageModel" in used.stdout


def test_an_installation_leaves_alone_what_is_there(tmp_path):
    taken = tmp_path / "models" / "concepts" / "sam3"
    taken.mkdir(parents=True)
    (taken / "mine.txt").write_text("mine")

    refused = install(tmp_path)
    assert refused.returncode == 1 and f"{taken} exists already" in refused.stderr
    assert (taken / "mine.txt").read_text() == "mine"


def test_a_checkpoint_of_ones_own_needs_no_other(source, offline, tmp_path, album):
    """Neither Meta's weights nor a way to them; and a folder that is not there is named."""
    own = shutil.copytree(ZOO / "tiny", tmp_path / "mine")
    model = foz.load_zoo_model(FULL, checkpoint=str(own), classes=["dog"])
    apply(album, model)
    assert None not in album.values("sam3_presence.dog")
    with pytest.raises(Exception, match="There is no checkpoint folder '/no/such/folder'"):
        foz.load_zoo_model(FULL, checkpoint="/no/such/folder", classes=["dog"])
