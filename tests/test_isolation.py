"""A network that fails on a batch costs the samples it fails on alone, and they say why."""

from __future__ import annotations

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from zoo.source import load_model


@pytest.fixture
def dataset(tmp_path):
    samples = []
    for k, (width, height) in enumerate([(40, 30), (50, 31), (33, 77), (60, 40), (45, 45)]):
        pixels = np.random.default_rng(k).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
        samples.append(fo.Sample(filepath=str(tmp_path / f"{k}.png")))
    made = fo.Dataset()
    made.add_samples(samples)
    yield made
    made.delete()


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_a_sample_that_the_network_cannot_take(dataset, monkeypatch, batch_size):
    sam3 = load_model("concepts/sam3-tiny-image", classes=["dog"], cls_token=False)
    encode = sam3.detector.encode_images

    def encode_or_fail(pixels, sizes):
        if (77, 33) in sizes or len(sizes) > 4:
            raise RuntimeError("out of memory")
        return encode(pixels, sizes)

    monkeypatch.setattr(sam3.detector, "encode_images", encode_or_fail)
    dataset.apply_model(sam3, label_field="sam3", batch_size=batch_size)
    assert [p is None for p in dataset.values("sam3_presence.dog")] == [False, False, True, False, False]
    assert [d is None for d in dataset.values("sam3")] == [False, False, True, False, False]
    assert dataset.values("sam3_error") == [None, None, "RuntimeError: out of memory", None, None]


def test_it_stops_the_run_where_failures_must(dataset, monkeypatch):
    sam3 = load_model("concepts/sam3-tiny-image", classes=["dog"], cls_token=False)

    def fail(pixels, sizes):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(sam3.detector, "encode_images", fail)
    with pytest.raises(Exception, match="out of memory"):
        dataset.apply_model(sam3, label_field="sam3", skip_failures=False)
