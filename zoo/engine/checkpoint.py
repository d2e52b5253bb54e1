"""Checkpoints: one way to load ``facebook/sam3``, a fine-tuned copy, or the small one that ships here."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch

from .compiling import parse_compile
from .errors import CheckpointError
from .tracker_network import TrackerNetwork

#: the small checkpoint that ships with this package
TINY = Path(__file__).parent.parent / "tiny"
TINY_NAME = "sam3-tiny"
#: Meta's weights on the Hugging Face hub; gated
FACEBOOK = "facebook/sam3"

T = TypeVar("T")
_DTYPES = {
    "float32": torch.float32, "fp32": torch.float32, "bfloat16": torch.bfloat16, "bf16": torch.bfloat16,
}
_FILES = ["*.json", "*.safetensors", "*.txt"]
#: bytes of each tensor that its file's fingerprint reads
_BEGINNING = 4096


@dataclass
class Checkpoint:
    """A loaded checkpoint.

    Attributes:
        name: hub id or folder
        fingerprint: of the weights; equal weights have equal fingerprints
        model: transformers' ``Sam3Model``, in evaluation mode, on its device
        tokenizer: CLIP tokenizer
        side: of the network's square input, in pixels
        mean, std: pixel normalisation, per channel, for values in [0, 1]
        tracker: follows objects through videos; ``None`` if that was not asked for
        tracker_config: the checkpoint's ``Sam3VideoConfig``, likewise
        compile: which parts are to be compiled, see :func:`parse_compile`
    """

    name: str
    fingerprint: str
    model: Any
    tokenizer: Any
    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    tracker: TrackerNetwork | None = None
    tracker_config: Any = None
    compile: str | None = None
    _parts: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def part(self, name: str, make: Callable[[], T]) -> T:
        """A part made of the model, made once: models of one checkpoint share it, and what was compiled for it."""
        if name not in self._parts:
            self._parts[name] = make()
        return self._parts[name]

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype


def load_checkpoint(
    checkpoint: str | os.PathLike[str] = TINY, device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None, *, tracker: bool = False, compile: bool | str | None = None,
) -> Checkpoint:
    """Load a SAM 3 checkpoint.

    Args:
        checkpoint: a hub id such as ``"facebook/sam3"``, or a folder in the hub's layout
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``; ``None`` or ``"auto"`` takes the best there is
        dtype: ``"float32"`` or ``"bfloat16"``; ``None`` takes bfloat16 on CUDA and float32 elsewhere
        tracker: load the tracker as well, for videos; it shares the vision encoder, and costs 2 % more memory
        compile: translate the vision encoder, or ``"all"`` that is large, by ``torch.compile``, which takes minutes at
            the first image of a process; without a compiler, all runs as it is

    Returns:
        the checkpoint, ready to use

    Raises:
        CheckpointError: it cannot be had, is not SAM 3, is damaged, or lacks tensors
        ValueError: unknown device or dtype
    """
    chosen = parse_device(device)
    kind = parse_dtype(dtype, chosen)
    part = parse_compile(compile)
    if str(checkpoint) == TINY_NAME:  # as records of runs call it
        checkpoint = TINY
    name = TINY_NAME if Path(checkpoint) == TINY else str(checkpoint)
    folder = locate(checkpoint)
    config = _read_json(folder / "config.json", name)
    if config.get("model_type") not in ("sam3_video", "sam3"):
        raise CheckpointError(
            f"{name} is a {config.get('model_type')!r} checkpoint, not SAM 3: use {FACEBOOK!r} or a fine-tuned copy "
            "of it"
        )
    weights = _weight_files(folder, name)
    if tracker and config["model_type"] == "sam3":
        raise CheckpointError(f"{name} holds a detector and no tracker: it is good for images, not for videos")
    whole = _load_whole(folder, kind, name, tracker).to(chosen).eval()
    model = whole.detector_model if tracker else whole
    network = TrackerNetwork(whole.tracker_model, whole.tracker_neck) if tracker else None
    vision = model.config.vision_config
    image_size = getattr(vision, "image_size", None) or vision.backbone_config.image_size
    mean, std = _normalisation(folder, name)
    return Checkpoint(
        name, fingerprint(weights), model, _load_tokenizer(folder, name), int(image_size), mean, std, network,
        whole.config if tracker else None, part,
    )


def parse_device(device: str | torch.device | None) -> torch.device:
    """The torch device that ``device`` names.

    Raises:
        ValueError: unknown, or not on this machine
    """
    if device is None or device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError):
        raise ValueError(f"Unknown device {device!r}: use 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'") from None
    if chosen.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (chosen.index or 0) >= count:
            raise ValueError(f"Device {device!r} is not on this machine ({count} CUDA devices): use 'cpu' or 'auto'")
    elif chosen.type == "mps":
        if not torch.backends.mps.is_available():
            raise ValueError("Device 'mps' is not on this machine: use 'cpu' or 'auto'")
    elif chosen.type != "cpu":
        raise ValueError(f"Device {device!r} is not supported: use 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'")
    return chosen


def parse_dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    """The torch dtype that ``dtype`` names; ``None`` chooses by ``device``.

    Raises:
        ValueError: neither float32 nor bfloat16
    """
    if dtype is None or dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    kind = _DTYPES.get(str(dtype).removeprefix("torch.").lower())
    if kind is None:
        raise ValueError(f"Unknown dtype {dtype!r}: use 'float32' or 'bfloat16'")
    return kind


def locate(checkpoint: str | os.PathLike[str]) -> Path:
    """The folder of a checkpoint; a hub id is downloaded first, or found in the hub's cache.

    Raises:
        CheckpointError: one sentence on why it cannot be had, and what to do
    """
    folder = Path(checkpoint).expanduser()
    if folder.is_dir():
        return folder
    name = str(checkpoint)
    if os.path.isabs(name) or name.startswith((".", "~")) or name.count("/") != 1:
        raise CheckpointError(
            f"There is no checkpoint folder {name!r}: give a folder, or a hub id such as {FACEBOOK!r}"
        )
    return _download(name)


def has_gated() -> bool:
    """Whether Meta's weights are on this machine."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(FACEBOOK, "config.json"), str)


def fingerprint(files: list[Path]) -> str:
    """A short hash of safetensors files: their names, headers, and the beginning of every tensor.

    Hashing gigabytes takes longer than loading them; a training that moves a tensor at all moves its beginning.
    """
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = stream.read(length)
            digest.update(header)
            for name, entry in json.loads(header).items():
                if name != "__metadata__":
                    start, stop = entry["data_offsets"]
                    stream.seek(8 + length + start)
                    digest.update(stream.read(min(stop - start, _BEGINNING)))
    return digest.hexdigest()[:16]


def _download(repo: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        HTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return Path(snapshot_download(repo, allow_patterns=_FILES))
    except GatedRepoError:
        raise CheckpointError(
            f"{repo} is gated: accept its licence at huggingface.co/{repo} with your account, then run "
            "`hf auth login` or set HF_TOKEN to a token of that account"
        ) from None
    except RepositoryNotFoundError:
        raise CheckpointError(
            f"{repo} is not on the hub, or is private: check the name; if it is right, set HF_TOKEN to a token "
            "that may read it"
        ) from None
    except HFValidationError:
        raise CheckpointError(f"{repo!r} is neither a folder nor a hub id such as {FACEBOOK!r}") from None
    # HTTPError is the base of what the HTTP library itself raises when a connection breaks in the middle
    except (LocalEntryNotFoundError, HTTPError, ConnectionError, TimeoutError) as error:
        if isinstance(error, HfHubHTTPError) and getattr(error.response, "status_code", None) in (401, 403):
            raise CheckpointError(
                f"The hub refused {repo}: set HF_TOKEN to a token of an account that has accepted its licence"
            ) from None
        raise CheckpointError(
            f"{repo} is not in the local cache and the hub cannot be reached: connect once, or copy the checkpoint "
            "here and give its folder"
        ) from error
    except (OSError, RuntimeError) as error:  # a full disk, say; RuntimeError is what the hub's Xet transfer raises
        raise CheckpointError(
            f"{repo} could not be downloaded ({error}): make room or mend the connection, then try again"
        ) from error


def _read_json(file: Path, name: str) -> dict:
    if not file.is_file():
        raise CheckpointError(f"{name} has no {file.name}: it is not a checkpoint in the hub's layout")
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{file.name} of {name} is damaged ({error}): fetch the checkpoint again") from None
    if not isinstance(settings, dict):
        raise CheckpointError(f"{file.name} of {name} is damaged (it holds no object): fetch the checkpoint again")
    return settings


def _weight_files(folder: Path, name: str) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        wanted = sorted(set(_read_json(index, name).get("weight_map", {}).values()))
    else:
        wanted = ["model.safetensors"]
    missing = [w for w in wanted if not (folder / w).is_file()]
    if missing and any(folder.glob("*.bin")) | any(folder.glob("*.pt")):
        raise CheckpointError(f"{name} holds pickled weights only: convert them to safetensors, pickles can run code")
    if missing or not wanted:
        lost = missing[0] if missing else "the list of weights"
        raise CheckpointError(f"{name} is not whole, {lost} is missing: fetch it again")
    return [folder / w for w in wanted]


def _load_whole(folder: Path, dtype: torch.dtype, name: str, tracker: bool) -> Any:
    """The model, or an error: transformers fills missing tensors with noise and merely logs it."""
    from safetensors import SafetensorError
    from transformers import Sam3Model, Sam3VideoModel

    try:
        with _quiet():
            model, report = (Sam3VideoModel if tracker else Sam3Model).from_pretrained(
                folder, dtype=dtype, use_safetensors=True, local_files_only=True, output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are refused below, with a reason
            )
    except SafetensorError as error:
        raise CheckpointError(f"The weights of {name} are damaged ({error}): fetch them again") from None
    except (RuntimeError, ValueError, OSError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{name} cannot be loaded as SAM 3, fetch it again: {error}") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise CheckpointError(
            f"{name} lacks {len(missing)} tensors of SAM 3, {missing[0]} among them: it would run on random weights. "
            "Fetch it again, or update transformers"
        )
    mismatched = sorted(str(m[0] if isinstance(m, tuple | list) else m) for m in report.get("mismatched_keys") or ())
    if mismatched:
        raise CheckpointError(
            f"{len(mismatched)} tensors of {name} have another shape than its config says, {mismatched[0]} among them: "
            "fetch config and weights again, together"
        )
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bar and its page-long report: what matters of it becomes an error here."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def _load_tokenizer(folder: Path, name: str) -> Any:
    from transformers import AutoTokenizer

    if not any((folder / f).is_file() for f in ("tokenizer.json", "vocab.json")):
        raise CheckpointError(f"{name} has no tokenizer files: fetch the whole checkpoint")
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the tokenizers library raises bare Exceptions
        raise CheckpointError(f"The tokenizer of {name} is damaged ({error}): fetch the whole checkpoint") from error


def _normalisation(folder: Path, name: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and deviation per channel from the processor's file; SAM 3's own 0.5 where there is none."""
    for file in ("processor_config.json", "preprocessor_config.json"):
        if (folder / file).is_file():
            settings = _read_json(folder / file, name)
            settings = settings.get("image_processor", settings)
            if "image_mean" in settings:
                return tuple(settings["image_mean"]), tuple(settings["image_std"])
    return (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
