"""Meta's architecture at its full size, with random weights: they are gated, but their shape is not.

Opt-in (``make test-full``): the checkpoint takes 1.7 GB of disk and about 6 GB of memory.
"""

from __future__ import annotations

import shutil

import pytest
import torch

pytestmark = [pytest.mark.full, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def full_size(tmp_path_factory):
    """A checkpoint folder in the layout of ``facebook/sam3``: detector, tracker, neck, one file, half precision."""
    from safetensors.torch import save_file
    from transformers import Sam3VideoConfig, Sam3VideoModel

    from zoo.engine.checkpoint import TINY

    folder = tmp_path_factory.mktemp("sam3")
    standard = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        model = Sam3VideoModel(Sam3VideoConfig())
    finally:
        torch.set_default_dtype(standard)
    tensors = {name: tensor.to(torch.bfloat16).contiguous().clone() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    model.config.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TINY / name, folder)
    del model, tensors
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_full_size_loads_whole_and_segments_an_image(full_size, tmp_path):
    import fiftyone as fo

    from emoji_world.dataset import build_dataset
    from zoo.source import load_model

    sam3 = load_model(
        "concepts/sam3-image", checkpoint=str(full_size), classes=["dog", "red cap"], device="cpu", dtype="bfloat16",
        confidence_thresh=0.0,
    )
    checkpoint = sam3.detector.checkpoint
    assert checkpoint.side == 1008 and checkpoint.dtype == torch.bfloat16
    assert sum(p.numel() for p in checkpoint.model.parameters()) > 800e6

    dataset = build_dataset("full-size", tmp_path, count=1, persistent=False)
    dataset.apply_model(sam3, label_field="sam3")
    sample = dataset.first()
    assert sample.sam3_error is None
    for concept in ("dog", "red cap"):
        assert 0 <= sample.sam3_presence[concept] <= 1
        assert sample.sam3_count[concept] == 200  # with nothing kept back, every query is an instance
    assert isinstance(sample.sam3, fo.Detections) and len(sample.sam3.detections) == 400
    for detection in sample.sam3.detections[::50]:
        x, y, w, h = detection.bounding_box
        assert 0 <= x <= x + w <= 1 + 1e-9 and 0 <= y <= y + h <= 1 + 1e-9
        assert detection.mask.shape == (round(h * sample.metadata.height), round(w * sample.metadata.width))
