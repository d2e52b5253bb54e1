"""What a GPU would refuse, tried without one: tensors on two devices, of two types, and numbers asked for in passing.

Not whether the numbers are right: there are none (:mod:`support.absent_gpu`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from support.absent_gpu import absent_gpu
from transformers import Sam3VideoConfig, Sam3VideoModel

from zoo.engine.checkpoint import Checkpoint, load_checkpoint
from zoo.engine.concepts import parse_concepts
from zoo.engine.detector import Batch, ConceptDetector
from zoo.engine.embeddings import embed_images
from zoo.engine.overlap_tracker import OverlapTracker
from zoo.engine.prompts import Exemplars
from zoo.engine.semantic import find_regions
from zoo.engine.tracker import ConceptTracker
from zoo.engine.tracker_network import TrackerNetwork
from zoo.engine.tracker_settings import TrackerSettings
from zoo.engine.transfers import to_device

CONCEPTS = parse_concepts("owl, the fox, red fire truck")


@pytest.fixture(scope="module")
def gpu() -> Iterator[Checkpoint]:
    """The small network on a GPU that is not there, in bfloat16."""
    here = load_checkpoint(device="cpu", tracker=True)
    config = Sam3VideoConfig(**_typeless(here.tracker_config.to_dict()))
    with absent_gpu() as absent:
        whole = absent.network(lambda: Sam3VideoModel(config).eval())
        yield Checkpoint(
            "absent", "0", whole.detector_model, here.tokenizer, here.side, here.mean, here.std,
            TrackerNetwork(whole.tracker_model, whole.tracker_neck), here.tracker_config,
        )


def _typeless(said: Any) -> Any:
    """A config without the type of its file's tensors."""
    if not isinstance(said, Mapping):
        return said
    return {name: _typeless(value) for name, value in said.items() if name not in ("dtype", "torch_dtype")}


@pytest.fixture
def fetched(monkeypatch) -> list[int]:
    """A list that grows whenever the host waits for a tensor outside of what is meant to be on its way."""
    waits: list[int] = []
    cpu = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: waits.append(1) or cpu(tensor))
    return waits


def batch(side: int, **more: Any) -> Batch:
    pixels = torch.zeros(2, 3, side, side, dtype=torch.uint8)
    return Batch(pixels, [(100, 200), (50, 61)], [CONCEPTS, CONCEPTS[:1]], **more)


def test_it_is_a_gpu(gpu):
    assert gpu.device.type == "cuda" and gpu.dtype == torch.bfloat16
    here, there = torch.ones(3), to_device([1.0, 2.0, 3.0], gpu.device)
    with pytest.raises(RuntimeError, match="devices"):
        here + there
    with pytest.raises(Exception, match="(?i)data.dependent|scalar"):
        there.sum().item()
    assert to_device(there, gpu.device) is there  # what is there already is not pinned again


def test_images_flow_without_a_wait(gpu, fetched):
    """Batch after batch: all that the host reads was ordered before."""
    detector = ConceptDetector(gpu)
    assert detector.lookahead == 1 and detector.pairs_per_chunk == 32
    found = list(detector.stream([batch(gpu.side)] * 3, threshold=0.4))
    assert [len(results) for results in found[0]] == [3, 1]
    assert sum(len(result.instances) for images in found for results in images for result in results) > 10
    assert fetched == []


def test_examples_in_the_image_and_in_others(gpu):
    detector = ConceptDetector(gpu)
    shown = Exemplars(((0.1, 0.1, 0.4, 0.5), (0.5, 0.5, 0.9, 0.9)), (True, False))
    features = detector.encode_images(torch.zeros(1, 3, gpu.side, gpu.side, dtype=torch.uint8), [(40, 40)])
    learnt = detector.learn(features, 0, shown)
    more = dict(exemplars=[{"owl": shown}, {}], learnt={"the fox": learnt})
    (found,) = detector.stream([batch(gpu.side, **more)], threshold=0.4)
    assert [len(results) for results in found] == [3, 1]


def test_regions_and_embeddings(gpu):
    detector = ConceptDetector(gpu)
    features = detector.encode_images(torch.zeros(2, 3, gpu.side, gpu.side, dtype=torch.uint8), [(40, 50), (30, 30)])
    assert embed_images(features).device.type == "cuda"
    with pytest.MonkeyPatch.context() as patch:  # which pixels a region has is asked of the GPU, mask by mask
        patch.setattr("zoo.engine.semantic.upsampled_regions", lambda soft, size, level: [None])
        regions = find_regions(detector, features, CONCEPTS[:2], threshold=0.4)
    assert [len(one.answers) for one in regions] == [2, 2]


@pytest.mark.parametrize(
    "changed",
    [
        {}, dict(reidentify=True), dict(correct_with_detections=True, recondition_on_trk_masks=False),
        dict(detect_every=3),
    ],
    ids=["as it ships", "reidentify", "corrected", "resting"],
)
def test_videos(gpu, changed):
    """Whatever is found, followed, matched, mended, withdrawn and shown."""
    settings = TrackerSettings.of(gpu.tracker_config, dict(changed, max_num_objects=6, hotstart_delay=0))
    tracker = ConceptTracker(ConceptDetector(gpu), gpu.tracker, settings)
    frames = [(number, np.zeros((64, 96, 3), np.uint8)) for number in range(1, 25)]
    results = list(tracker.track(frames, CONCEPTS[:2]))
    assert [result.number for result in results] == list(range(1, 25))
    assert sum(concept.count for result in results for concept in result.concepts) > 10


def test_single_frames_chained(gpu):
    settings = TrackerSettings.of(gpu.tracker_config)
    tracker = OverlapTracker(ConceptTracker(ConceptDetector(gpu), gpu.tracker, settings))
    frames = [(number, np.zeros((64, 96, 3), np.uint8)) for number in range(1, 5)]
    assert len(list(tracker.track(frames, CONCEPTS[:2], length=4))) == 4
