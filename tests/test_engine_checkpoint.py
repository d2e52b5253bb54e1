"""A checkpoint is whole and runs, or one sentence says what is wrong with it and what to do."""

from __future__ import annotations

import importlib
import json
import os
import shutil
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub import errors
from safetensors.torch import load_file, save_file
from transformers import Sam3Model, Sam3Processor

from emoji_world.architecture import IMAGE_SIZE
from emoji_world.scenes import render, sample_scene
from zoo.engine.checkpoint import FACEBOOK, TINY, fingerprint, load_checkpoint, locate, parse_device, parse_dtype
from zoo.engine.concepts import parse_concepts
from zoo.engine.detector import ConceptDetector
from zoo.engine.errors import CheckpointError
from zoo.engine.images import to_square
from zoo.engine.masks import mask_iou

SMALL_FILES = [f.name for f in TINY.iterdir() if f.suffix == ".json"]


@pytest.fixture
def copy(tmp_path) -> Path:
    """The tiny checkpoint in a folder of its own; its weights are a link until a test writes others."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in SMALL_FILES:
        shutil.copy(TINY / name, folder)
    (folder / "model.safetensors").symlink_to(TINY / "model.safetensors")
    return folder


def rewrite_weights(folder: Path, change) -> None:
    tensors = load_file(TINY / "model.safetensors")
    change(tensors)
    (folder / "model.safetensors").unlink()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def refusal(checkpoint) -> str:
    """The sentence that refuses it: one line, and none of the pages that transformers logs."""
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(checkpoint, device="cpu")
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500
    return message


# ----------------------------------------------------------------------------------------------------- whole


def test_the_checkpoint_that_ships():
    checkpoint = load_checkpoint(device="cpu")
    assert checkpoint.name == load_checkpoint(str(TINY), device="cpu").name == "sam3-tiny"
    assert checkpoint.side == IMAGE_SIZE and checkpoint.mean == checkpoint.std == (0.5, 0.5, 0.5)
    assert checkpoint.device == torch.device("cpu") and checkpoint.dtype == torch.float32
    assert not checkpoint.model.training
    assert all(torch.isfinite(p).all() for p in checkpoint.model.parameters())
    assert sum(f.stat().st_size for f in TINY.iterdir()) <= 12e6


def test_a_copy_elsewhere_is_the_same_checkpoint_under_its_own_name(copy, monkeypatch):
    elsewhere = load_checkpoint(copy, device="cpu")
    assert elsewhere.name == str(copy)
    assert elsewhere.fingerprint == load_checkpoint(device="cpu").fingerprint
    monkeypatch.chdir(copy.parent)
    assert load_checkpoint("copy", device="cpu").fingerprint == elsewhere.fingerprint


def test_transformers_loads_it_without_us():
    model, report = Sam3Model.from_pretrained(TINY, output_loading_info=True, local_files_only=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    processor = Sam3Processor.from_pretrained(TINY, local_files_only=True)
    inputs = processor(images=render(sample_scene(1))[0], text="red cap", return_tensors="pt")
    size = model.config.vision_config.image_size
    assert inputs.pixel_values.shape == (1, 3, size, size) and inputs.input_ids.shape == (1, 32)
    with torch.inference_mode():
        output = model(**inputs)
    post = processor.post_process_instance_segmentation(output, 0.0, target_sizes=inputs.original_sizes.tolist())[0]
    assert len(post["scores"]) == model.config.detr_decoder_config.num_queries
    assert post["masks"].shape[1:] == tuple(inputs.original_sizes[0].tolist())


def test_without_processor_settings_pixels_are_normalised_as_sam_3_does(copy):
    (copy / "processor_config.json").unlink()
    assert load_checkpoint(copy, device="cpu").mean == (0.5, 0.5, 0.5)
    settings = {"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 2, 3]}
    (copy / "preprocessor_config.json").write_text(json.dumps(settings))  # where transformers 4 kept them
    loaded = load_checkpoint(copy, device="cpu")
    assert (loaded.mean, loaded.std) == ((0.1, 0.2, 0.3), (1, 2, 3))


def test_bfloat16_finds_what_float32_finds():
    wide, narrow = (ConceptDetector(load_checkpoint(device="cpu", dtype=d)) for d in ("float32", "bf16"))
    assert narrow.checkpoint.dtype == torch.bfloat16
    presence, score, overlap = [], [], []
    for seed in range(3):
        scene = sample_scene(seed)
        image = render(scene, 0.4)[0]
        present = sorted({name for o in scene.objects for name in (o.thing.noun, o.thing.name)})
        concepts = parse_concepts([*present[:2], "zeppelin"])
        square = to_square(image, IMAGE_SIZE)
        one, other = (
            d.detect(d.encode_images(square[None], [image.shape[:2]]), [concepts], threshold=0.1)[0]
            for d in (wide, narrow)
        )
        for a, b in zip(one, other, strict=True):
            presence.append(abs(a.presence - b.presence))
            score.append(abs(a.object_score - b.object_score))
            for found in a.instances[:1]:
                overlap.append(max(mask_iou((found.corner, found.mask), (o.corner, o.mask)) for o in b.instances))
    assert 0 < max(presence) < 0.1 and np.mean(presence) < 0.02
    assert 0 < max(score) < 0.1 and np.mean(score) < 0.02
    assert len(overlap) >= 3 and np.median(overlap) > 0.9


# ------------------------------------------------------------------------------------------ devices and dtypes


@pytest.mark.parametrize("device", ["tpu", "", "CPU", "cuda:one", "gpu", 1.5, object()])
def test_unknown_devices(device):
    with pytest.raises(ValueError, match="Unknown device .*use 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'"):
        load_checkpoint(device=device)


@pytest.mark.parametrize("device", ["meta", "xpu", torch.device("meta")])
def test_devices_that_torch_has_and_we_have_not(device):
    with pytest.raises(ValueError, match="is not supported: use 'auto'"):
        parse_device(device)


def test_devices_that_this_machine_has_not(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for device in ("cuda", "cuda:1", torch.device("cuda"), "mps"):
        with pytest.raises(ValueError, match="is not on this machine.*use 'cpu' or 'auto'"):
            load_checkpoint(device=device)
    assert parse_device(None) == parse_device("auto") == parse_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert parse_device("auto") == parse_device("mps") == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert parse_device("auto") == torch.device("cuda")
    assert parse_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ValueError, match=r"'cuda:2' is not on this machine \(2 CUDA devices\)"):
        parse_device("cuda:2")


@pytest.mark.parametrize("dtype", ["float16", "half", "int8", "", 32, torch.float16, torch.float64, "bfloat"])
def test_unknown_dtypes(dtype):
    with pytest.raises(ValueError, match="Unknown dtype .*use 'float32' or 'bfloat16'"):
        load_checkpoint(device="cpu", dtype=dtype)


@pytest.mark.parametrize(
    ("dtype", "device", "want"),
    [
        (None, "cpu", torch.float32), (None, "mps", torch.float32), (None, "cuda", torch.bfloat16),
        ("auto", "cuda", torch.bfloat16), ("float32", "cuda", torch.float32), ("FP32", "cpu", torch.float32),
        ("bf16", "cpu", torch.bfloat16), (torch.bfloat16, "cpu", torch.bfloat16), (torch.float32, "cpu", torch.float32),
    ],
)  # fmt: skip
def test_dtypes(dtype, device, want):
    assert parse_dtype(dtype, torch.device(device)) is want


# --------------------------------------------------------------------------------------------------- damaged


@pytest.mark.parametrize("name", ["/no/such", "./nope", "../nope", "~/no/such", "nope", "a/b/c", "facebook/sam3/"])
def test_no_such_folder(name):
    message = refusal(name)
    assert f"There is no checkpoint folder '{name}'" in message and FACEBOOK in message


def test_a_file_is_no_folder():
    assert "give a folder" in refusal(TINY / "model.safetensors")


def test_an_empty_folder(tmp_path):
    assert "has no config.json" in refusal(tmp_path)


@pytest.mark.parametrize("kind", ["clip", "sam2", "sam3_tracker", None, 3])
def test_another_model(copy, kind):
    (copy / "config.json").write_text(json.dumps({"model_type": kind}))
    message = refusal(copy)
    assert f"{kind!r} checkpoint, not SAM 3" in message and f"use '{FACEBOOK}'" in message


@pytest.mark.parametrize("content", [b"", b'{"model_type": "sam', b"\xff\xfe\0", b"[]", b'"sam3"', b"null"])
@pytest.mark.parametrize(
    "name", ["config.json", "processor_config.json", "tokenizer.json", "model.safetensors.index.json"]
)
def test_damaged_json(copy, name, content):
    (copy / name).write_bytes(content)
    message = refusal(copy)
    assert "damaged" in message and "fetch the" in message
    assert ("tokenizer" if name == "tokenizer.json" else name) in message


def test_a_config_that_is_json_but_no_config(copy):
    config = json.loads((copy / "config.json").read_text())
    config["detector_config"] = 3
    (copy / "config.json").write_text(json.dumps(config))
    message = refusal(copy)
    assert "cannot be loaded as SAM 3" in message and "fetch it again" in message


@pytest.mark.parametrize("size", [0, 7, 4000, 100_000, -1])
def test_truncated_weights(copy, size):
    content = (TINY / "model.safetensors").read_bytes()[:size]
    (copy / "model.safetensors").unlink()
    (copy / "model.safetensors").write_bytes(content)
    message = refusal(copy)
    assert "weights" in message and "damaged" in message and "fetch them again" in message


@pytest.mark.parametrize("part", ["text_encoder", "mask_decoder"])
def test_a_tensor_is_missing(copy, part):
    """transformers would go on with random numbers in its place."""
    gone = []

    def remove(tensors):
        gone.append(next(k for k in sorted(tensors) if f".{part}." in k and k.endswith("weight")))
        del tensors[gone[0]]

    rewrite_weights(copy, remove)
    message = refusal(copy)
    assert "lacks 1 tensors of SAM 3" in message and gone[0].removeprefix("detector_model.") in message
    assert "random weights" in message and "Fetch it again" in message


def test_all_tensors_are_missing(copy):
    rewrite_weights(copy, lambda tensors: (tensors.clear(), tensors.update(other=torch.zeros(1))))
    assert "lacks" in refusal(copy)


def test_a_tensor_has_another_shape(copy):
    def shorten(tensors):
        name = next(k for k in sorted(tensors) if k.endswith("query_embed.weight"))
        tensors[name] = tensors[name][:-1].contiguous()

    rewrite_weights(copy, shorten)
    message = refusal(copy)
    assert "1 tensors" in message and "detr_decoder.query_embed.weight" in message
    assert "another shape" in message and "fetch" in message


def test_tensors_of_others_do_no_harm(copy):
    """The tracker's lie in the same file; images do not need them."""
    rewrite_weights(copy, lambda tensors: tensors.update({"tracker_model.mask_decoder.weight": torch.zeros(3)}))
    assert load_checkpoint(copy, device="cpu").side == IMAGE_SIZE


@pytest.mark.parametrize("name", ["pytorch_model.bin", "sam3.pt"])
def test_pickled_weights_only(copy, name):
    (copy / "model.safetensors").unlink()
    opened = copy / "opened"

    class Bomb:
        def __reduce__(self):
            return opened.write_text, ("!",)

    torch.save({"detector_model.weight": Bomb()}, copy / name)
    message = refusal(copy)
    assert "pickled weights only" in message and "convert them to safetensors" in message
    assert not opened.exists()


def test_no_weights(copy):
    (copy / "model.safetensors").unlink()
    message = refusal(copy)
    assert "model.safetensors is missing" in message and "fetch it again" in message


def test_weights_in_several_files(copy):
    tensors = load_file(TINY / "model.safetensors")
    names = sorted(tensors)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    (copy / "model.safetensors").unlink()
    for file, keys in parts.items():
        save_file({k: tensors[k] for k in keys}, copy / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {k: file for file, keys in parts.items() for k in keys}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    loaded = load_checkpoint(copy, device="cpu").model.state_dict()
    for name, tensor in load_checkpoint(device="cpu").model.state_dict().items():
        assert torch.equal(loaded[name], tensor), name
    (copy / "model-00002-of-00002.safetensors").unlink()
    assert "model-00002-of-00002.safetensors is missing" in refusal(copy)


def test_no_tokenizer(copy):
    (copy / "tokenizer.json").unlink()
    message = refusal(copy)
    assert "no tokenizer files" in message and "fetch the whole checkpoint" in message


# ----------------------------------------------------------------------------------------------- fingerprints


def write(folder: Path, tensors: dict[str, torch.Tensor], name: str = "model.safetensors") -> Path:
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / name)
    return folder / name


def test_fingerprints_tell_weights_apart(tmp_path):
    """Also where a training moved one small tensor in the middle of gigabytes, and not the file's size."""
    rng = torch.Generator().manual_seed(0)
    tensors = {f"layer.{k}": torch.randn(300, 400 if k % 2 else 1, generator=rng) for k in range(12)}
    first = fingerprint([write(tmp_path, tensors)])
    assert len(first) == 16 and first == fingerprint([write(tmp_path / "again", tensors)])
    seen = {first}
    for name in tensors:
        seen.add(fingerprint([write(tmp_path, {**tensors, name: tensors[name] * 1.001})]))
    seen.add(fingerprint([write(tmp_path, {k: v.half() for k, v in tensors.items()})]))
    seen.add(fingerprint([write(tmp_path, {k.replace("layer", "block"): v for k, v in tensors.items()})]))
    seen.add(fingerprint([write(tmp_path, tensors), write(tmp_path, tensors, "other.safetensors")]))
    assert len(seen) == 16


def test_a_fingerprint_does_not_depend_on_the_order_of_files(tmp_path):
    files = [write(tmp_path, {"a": torch.ones(3) * k}, f"model-{k}.safetensors") for k in range(3)]
    assert fingerprint(files) == fingerprint(files[::-1])


def test_the_fingerprint_of_a_loaded_checkpoint_follows_its_weights(copy):
    def nudge(tensors):
        name = sorted(tensors)[len(tensors) // 2]
        tensors[name] = tensors[name] * 1.01

    rewrite_weights(copy, nudge)
    assert load_checkpoint(copy, device="cpu").fingerprint != load_checkpoint(device="cpu").fingerprint


# --------------------------------------------------------------------------------------------------- the hub

http = importlib.import_module(errors.HTTPError.__module__.partition(".")[0])  # httpx, and httpx2 from hub 2 on


def answer(kind: type[errors.HfHubHTTPError], status: int) -> Exception:
    """The error as the hub's client makes it of an answer."""
    request = http.Request("GET", f"https://huggingface.co/api/models/{FACEBOOK}")
    text = f"{status} Client Error. (Request ID: Root=1-2-3)\n\nCannot access {FACEBOOK}.\nSome more lines."
    return kind(text, response=http.Response(status, request=request))


HUB = {
    "gated, no token": (answer(errors.GatedRepoError, 401), ["is gated", "accept its licence", "HF_TOKEN"]),
    "gated, not accepted": (answer(errors.GatedRepoError, 403), ["is gated", f"huggingface.co/{FACEBOOK}"]),
    "not found": (answer(errors.RepositoryNotFoundError, 404), ["is not on the hub, or is private", "check the name"]),
    "token refused": (answer(errors.HfHubHTTPError, 401), ["refused", "HF_TOKEN"]),
    "forbidden": (answer(errors.HfHubHTTPError, 403), ["refused", "HF_TOKEN"]),
    "hub down": (answer(errors.HfHubHTTPError, 503), ["cannot be reached", "give its folder"]),
    "not in the cache": (errors.LocalEntryNotFoundError("Cannot find\nan entry"), ["not in the local cache"]),
    "offline": (errors.OfflineModeIsEnabled("HF_HUB_OFFLINE=1"), ["not in the local cache", "connect once"]),
    "no route": (http.ConnectError("[Errno -3] Temporary failure in name resolution"), ["cannot be reached"]),
    "proxy": (http.ProxyError("502 Bad Gateway"), ["cannot be reached"]),
    "cut off": (http.RemoteProtocolError("peer closed connection"), ["cannot be reached"]),
    "slow": (http.ReadTimeout("timed out"), ["cannot be reached"]),
    "reset": (ConnectionResetError(104, "Connection reset by peer"), ["cannot be reached"]),
    "disk full": (OSError(28, "No space left on device"), ["could not be downloaded", "No space left", "make room"]),
    "cut off by Xet": (RuntimeError("Data processing error"), ["could not be downloaded", "try again"]),
    "no id": (errors.HFValidationError("Repo id must use alphanumeric chars"), ["neither a folder nor a hub id"]),
}


@pytest.mark.parametrize("case", HUB)
def test_what_the_hub_refuses(monkeypatch, case):
    error, words = HUB[case]

    def refuse(*args, **kwargs):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    message = refusal(FACEBOOK)
    assert FACEBOOK in message
    for word in words:
        assert word in message
    assert not ("reached" in message and "gated" in message)


def test_the_hub_itself_offline(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    message = refusal(FACEBOOK)
    assert "not in the local cache" in message and "connect once" in message
    assert "neither a folder nor a hub id" in refusal("not an/id at all")


def test_no_more_is_fetched_than_is_used_and_no_pickles(monkeypatch):
    asked = {}

    def download(repo, allow_patterns):
        asked[repo] = allow_patterns
        return str(TINY)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    checkpoint = load_checkpoint(FACEBOOK, device="cpu")
    assert checkpoint.name == FACEBOOK and list(asked) == [FACEBOOK]
    wanted = huggingface_hub.utils.filter_repo_objects(
        ["sam3.pt", "pytorch_model.bin", "model.safetensors", "config.json", "merges.txt", "assets/video.mp4"],
        allow_patterns=asked[FACEBOOK],
    )
    assert list(wanted) == ["model.safetensors", "config.json", "merges.txt"]


def test_a_folder_comes_before_the_hub(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *a, **k: pytest.fail("the hub was asked"))
    monkeypatch.chdir(tmp_path)
    os.makedirs(FACEBOOK)
    assert locate(FACEBOOK) == Path(FACEBOOK)
