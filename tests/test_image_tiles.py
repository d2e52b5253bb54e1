"""Tiles through FiftyOne: small things are found, and nothing else changes."""

from __future__ import annotations

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from emoji_world.measure_tiles import FIRST_SEED, TileMeasurement, crowd, measure_tiles
from emoji_world.scenes import render
from zoo.engine.checkpoint import TINY, load_checkpoint
from zoo.engine.errors import ConceptError
from zoo.provenance import run_info
from zoo.source import load_model

SMALL = dict(tile_size=480)


@pytest.fixture(scope="module")
def crowds(tmp_path_factory):
    """A large scene, its nouns as default classes, and a small image that needs no tiles."""
    folder = tmp_path_factory.mktemp("crowds")
    scene = crowd(FIRST_SEED)
    image, masks = render(scene)
    Image.fromarray(image).save(folder / "crowd.png")
    Image.fromarray(image[:300, :400]).save(folder / "corner.png")
    dataset = fo.Dataset("image-tiles", persistent=True)
    dataset.add_samples([fo.Sample(filepath=str(folder / name)) for name in ("crowd.png", "corner.png")])
    dataset.default_classes = sorted({o.thing.noun for o in scene.objects})
    dataset.info["objects"] = len(masks)
    dataset.save()
    yield dataset
    dataset.delete()


def found(dataset: fo.Dataset, field: str, **settings) -> list[int]:
    model = load_model("concepts/sam3-tiny-image", classes=dataset.default_classes, ledger=field, **settings)
    workers = settings.pop("num_workers", 0)
    dataset.apply_model(model, label_field=field, batch_size=2, num_workers=workers, progress=False)
    assert dataset.values(f"{field}_error") == [None, None]
    return [len(held) for held in dataset.values(f"{field}.detections")]


def test_small_things_are_found_in_large_images_and_small_images_are_left_alone(crowds):
    whole, tiled = found(crowds, "whole"), found(crowds, "tiled", tiles=SMALL)
    assert tiled[0] >= 2 * whole[0] and tiled[0] >= 0.7 * crowds.info["objects"]
    assert tiled[1] == whole[1]
    for d in crowds.first().tiled.detections:
        x, y, w, h = d.bounding_box
        assert (round(w * 1600), round(h * 1200)) == (d.mask.shape[1], d.mask.shape[0])
        assert x * 1600 == pytest.approx(round(x * 1600), abs=1e-6) and y * 1200 == pytest.approx(round(y * 1200))
    entry = run_info(crowds, "tiled")["concepts"][crowds.default_classes[0]]
    assert entry["tiles"] == dict(tile_size=480, tile_overlap=0.25, max_tiles=256)
    assert "tiles" not in run_info(crowds, "whole")["concepts"][crowds.default_classes[0]]


def test_tiles_are_cut_by_the_processes_that_read_images(crowds):
    model = load_model("concepts/sam3-tiny-image", classes=crowds.default_classes, ledger="workers", tiles=SMALL)
    crowds.apply_model(model, label_field="workers", batch_size=2, num_workers=2, progress=False)
    here = found(crowds, "here", tiles=SMALL)
    assert [len(held) for held in crowds.values("workers.detections")] == here


def test_an_image_of_too_many_tiles_costs_itself(crowds):
    model = load_model(
        "concepts/sam3-tiny-image", classes=["dog"], ledger="many", tiles=dict(tile_size=64, max_tiles=60)
    )
    crowds.apply_model(model, label_field="many", batch_size=2, progress=False)
    first, second = crowds.values("many_error")
    assert "1600 × 1200 pixels needs 825 tiles of 64 pixels, and max_tiles is 60: use a larger tile_size" in first
    assert second is None and crowds.values("many.detections")[0] is None


def test_an_array_is_cut_too(crowds):
    image = np.asarray(Image.open(crowds.first().filepath))
    model = load_model("concepts/sam3-tiny-image", classes=crowds.default_classes, tiles=SMALL)
    plain = load_model("concepts/sam3-tiny-image", classes=crowds.default_classes)
    assert len(model.predict(image).detections) >= 2 * len(plain.predict(image).detections)


def test_settings_that_make_no_sense():
    for said, words in (
        (dict(tile_size=4), "tile_size must be a whole number of at least 16"), (480, "tiles must be a mapping"),
        (dict(size=480), "tiles has no setting 'size': did you mean 'tile_size'"),
    ):  # fmt: skip
        with pytest.raises(ConceptError, match=words):
            load_model("concepts/sam3-tiny-image", classes=["dog"], tiles=said)


def test_what_tiles_are_worth_is_measured():
    measured = measure_tiles(load_checkpoint(TINY, device="cpu"), 2)
    numbers = measured.numbers()
    assert isinstance(measured, TileMeasurement) and numbers["tile_images"] == 2
    assert numbers["tiles_small_recall"] >= 2 * numbers["whole_small_recall"] and numbers["tiles_small_recall"] > 0.5
    assert numbers["tiles_precision"] >= numbers["whole_precision"] - 0.03
