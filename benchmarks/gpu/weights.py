"""SAM 3 at its full size without Meta's weights: the same arithmetic, from random numbers made where they are needed.

The weights are gated; what they cost is not. A folder in the hub's layout is written that holds everything but
weights, and while :func:`absent_weights` is in force transformers' ``from_pretrained`` fills the model of such a folder
with random numbers, on the device itself: seconds, where a file of 1.7 GB would have to be made and read.
"""

from __future__ import annotations

import inspect
import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch

#: name of the file that a folder without weights has, so that it is known as one
_MARKER = "weights-are-random"
#: gain of those layers that tell concepts apart: of presence, and of the scores of queries
_PRESENCE, _SCORE = 2.7, 0.8
_PROCESSORS = ("processor_config.json", "video_preprocessor_config.json")


def weightless(folder: Path, *, tiny: bool = False) -> Path:
    """A checkpoint folder with no weights in it, in the layout of ``facebook/sam3``.

    Args:
        folder: where to make it
        tiny: of the small architecture that ships, not of the full one

    Returns:
        the folder
    """
    from safetensors.torch import save_file
    from transformers import Sam3VideoConfig

    from zoo.engine.checkpoint import TINY

    folder.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json", *_PROCESSORS):
        shutil.copy(TINY / name, folder)
    if tiny:
        shutil.copy(TINY / "config.json", folder)
    else:
        config = Sam3VideoConfig()
        config.save_pretrained(folder)
        side = config.detector_config.vision_config.image_size
        for name in _PROCESSORS:
            _resized(folder / name, side, config.low_res_mask_size)
    save_file({}, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / _MARKER).touch()
    return folder


def _resized(file: Path, side: int, mask: int) -> None:
    """A processor's file of the small checkpoint, for images of another ``side`` and masks of another one."""
    settings = json.loads(file.read_text())
    for part in (settings, settings.get("image_processor", {})):
        if "size" in part:
            part["size"] = dict(height=side, width=side)
        if "mask_size" in part:
            part["mask_size"] = dict(height=mask, width=mask)
        if "target_size" in part:
            part["target_size"] = side
    file.write_text(json.dumps(settings, indent=2))


def is_weightless(checkpoint: str | Path) -> bool:
    """Whether :func:`weightless` made it."""
    return (Path(checkpoint) / _MARKER).exists()


@contextmanager
def absent_weights(device: str | torch.device, seed: int = 0) -> Iterator[None]:
    """Models of folders without weights are random meanwhile; all others are loaded as ever.

    Args:
        device: where the numbers are made
        seed: of these numbers: two models of one seed, dtype and device are equal
    """
    from transformers import Sam3Model, Sam3VideoModel

    with ExitStack() as stack:
        for kind in (Sam3Model, Sam3VideoModel):
            stack.enter_context(mock.patch.object(kind, "from_pretrained", _from_pretrained(kind, device, seed)))
        yield


def _from_pretrained(kind: Any, device: str | torch.device, seed: int) -> Any:
    real = kind.from_pretrained

    def made(folder: Any, *args: Any, dtype: Any = None, output_loading_info: bool = False, **rest: Any) -> Any:
        if not is_weightless(folder):
            more = dict(output_loading_info=True) if output_loading_info else {}
            return real(folder, *args, dtype=dtype, **more, **rest)
        model = random_model(kind, Path(folder), device, dtype or torch.float32, seed)
        return (model, dict(missing_keys=[], mismatched_keys=[])) if output_loading_info else model

    return made


def random_model(
    kind: Any, folder: Path, device: str | torch.device, dtype: torch.dtype, seed: int = 0
) -> torch.nn.Module:
    """A model of ``folder``'s config, its weights drawn on ``device``.

    Constants such as positions are computed, not drawn, as they are when weights are read: in the model's dtype.
    """
    from transformers import Sam3VideoConfig

    config = Sam3VideoConfig.from_pretrained(folder)
    standard = torch.get_default_dtype()
    torch.manual_seed(seed)
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = kind(config)
    finally:
        torch.set_default_dtype(standard)
    _outspoken(getattr(model, "detector_model", model))
    return model.to(device).eval()


@torch.no_grad()
def _outspoken(detector: Any) -> None:
    """Let what is asked for make a difference: fresh networks say one half to everything."""
    scoring, head = detector.dot_product_scoring, detector.detr_decoder.presence_head
    layers = [layer for layer in head.modules() if isinstance(layer, torch.nn.Linear)]
    for layer in (*layers, scoring.text_proj, scoring.query_proj, detector.text_projection):
        gain = _PRESENCE if layer in layers or layer is detector.text_projection else _SCORE
        layer.weight.mul_(gain / (layer.weight.float().std() * layer.in_features**0.5))


def load(checkpoint: str | Path, device: str, dtype: str, *, compile: str | None = None, tracker: bool = False) -> Any:
    """``load_checkpoint``, compiled where that is asked for.

    Raises:
        LookupError: this version of the engine cannot compile
    """
    from zoo.engine.checkpoint import load_checkpoint

    more: dict[str, Any] = {}
    if compile:
        if not compiles():
            raise LookupError("load_checkpoint has no argument 'compile' in this version")
        more["compile"] = compile
    return load_checkpoint(str(checkpoint), device, dtype, tracker=tracker, **more)


def compiles() -> bool:
    """Whether the engine can be asked to compile."""
    from zoo.engine.checkpoint import load_checkpoint

    return "compile" in inspect.signature(load_checkpoint).parameters
