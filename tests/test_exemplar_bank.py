"""Examples in saved images, used on every image of a dataset."""

from __future__ import annotations

import fiftyone as fo
import numpy as np
import pytest
import torch
from PIL import Image
from test_engine_bank import box_of, pasture

from zoo.engine.errors import ConceptError
from zoo.engine.images import to_square, unsquared
from zoo.exemplar_bank import TRANSFERS, bank_of, parse_bank
from zoo.provenance import run_info
from zoo.source import load_model


@pytest.fixture
def farm(new_dataset, tmp_path):
    """An image with an owl that is marked, and a bus that must not be taken for it; one with two owls; one without."""
    pictures = [
        pasture(("owl", 200, 250), ("bus", 450, 400)), pasture(("owl", 180, 180), ("owl", 460, 200), seed=9),
        pasture(("pizza", 320, 320), ("bus", 450, 480), seed=3),
    ]  # fmt: skip
    samples = []
    for k, (image, _) in enumerate(pictures):
        Image.fromarray(image).save(tmp_path / f"{k}.png")
        samples.append(fo.Sample(filepath=str(tmp_path / f"{k}.png")))
    dataset = new_dataset(samples)
    first = dataset.first()
    owl, bus = ([x0, y0, x1 - x0, y1 - y0] for x0, y0, x1, y1 in map(box_of, pictures[0][1]))
    first["marks"] = fo.Detections(detections=[
        fo.Detection(label="like this", bounding_box=owl),
        fo.Detection(label="like this", bounding_box=bus, sam_label=False),
    ])  # fmt: skip
    first.save()
    return dataset


def test_a_bank_is_what_was_marked(farm):
    bank = bank_of(farm, "marks")
    (entry,) = bank["like this"]
    assert list(bank) == ["like this"] and entry["image"] == farm.first().filepath
    assert entry["positive"] == [True, False] and len(entry["boxes"]) == 2
    parsed = parse_bank(bank)
    assert parsed.shows == {"like this"} and parsed.transfer == TRANSFERS[0]
    told = parsed.about()["exemplars"]["like this"]
    assert (told["images"], told["boxes"]) == (1, 2)
    assert parse_bank(bank_of(farm, "marks")).about() == parsed.about()
    assert not parse_bank(None) and parse_bank(None).about() == {}


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_what_is_shown_once_is_asked_of_every_image(farm, transfer):
    bank = bank_of(farm, "marks")
    model = load_model("concepts/sam3-tiny-image", exemplars=bank, exemplar_transfer=transfer, classes=["bus"])
    farm.apply_model(model, label_field="sam3", batch_size=2, progress=False)
    found = [[d.label for d in held] for held in farm.values("sam3.detections")]
    assert found[1].count("like this") == 2 and found[0].count("bus") == 1 and found[2].count("bus") == 1
    if transfer == "canvas":
        assert [labels.count("like this") for labels in found] == [1, 2, 0]
        levels = [held["like this"] for held in farm.values("sam3_presence")]
        assert levels[0] > 0.5 and levels[1] > 0.5 > levels[2]
    entry = run_info(farm)["concepts"]["like this"]
    assert entry["phrases"] == [] and entry["prompts"]["exemplar_transfer"] == transfer
    sizes = {(d.mask.shape[0] / d.bounding_box[3], d.mask.shape[1] / d.bounding_box[2])
             for held in farm.values("sam3.detections") for d in held}  # fmt: skip
    assert all(abs(h - 640) < 1e-6 and abs(w - 640) < 1e-6 for h, w in sizes), "boxes and masks are the image's pixels"


def test_an_example_in_the_image_comes_before_those_elsewhere(farm):
    model = load_model("concepts/sam3-tiny-image", exemplars=bank_of(farm, "marks"), box_prompt_field="marks")
    farm.apply_model(model, label_field="sam3", progress=False)
    plain = load_model("concepts/sam3-tiny-image", box_prompt_field="marks")
    farm[:1].apply_model(plain, label_field="other", progress=False)
    with_bank, without = (farm.first()[field].detections for field in ("sam3", "other"))
    assert [d.confidence for d in with_bank] == pytest.approx([d.confidence for d in without], abs=1e-5)


def test_without_marks_there_is_no_bank(farm):
    with pytest.raises(ConceptError, match="'marks' holds no box in these samples"):
        bank_of(farm.skip(1), "marks")
    with pytest.raises(ConceptError, match="'filepath' holds"):
        bank_of(farm, "filepath")


@pytest.mark.parametrize(("value", "words"), [
    ("owl.png", "exemplars must be a mapping from label to examples"), ({}, "exemplars must be a mapping"),
    ({"a": []}, "exemplars of 'a' must be a list of dict"), ({"a": "x"}, "exemplars of 'a' must be a list"),
    ({"a": [dict(image="/nowhere.png")]}, "exemplars of 'a': an example is dict"),
    ({"a": [dict(image="/nowhere.png", boxes=[[0, 0, 1, 1]])]}, "the image '/nowhere.png' does not exist"),
    ({"a": [dict(image=__file__, boxes=[[0, 0, 1, 1]])]}, "is not an image"),
    ({"a": [dict(image="GOOD", boxes=[[0, 0, 1]])]}, r"a box is \[x, y, width, height\]"),
    ({"a": [dict(image="GOOD", boxes=[])]}, "Exemplars need at least one box"),
    ({"a": [dict(image="GOOD", boxes=[[0, 0, -1, 1]])]}, "A box must have an area"),
    ({"a": [dict(image="GOOD", boxes=[[0, 0, 1, 1]], positive=["no"])]}, "positive must be a list of True and False"),
    ({"a": [dict(image="GOOD", boxes=[[0, 0, 1, 1]], positive=[False])]}, "are only counter-examples, and no words"),
    ({"a": [dict(image="GOOD", boxes=[[0, 0, 1, 1]] * 20)] * 2}, "40 boxes; at most 32 can be read"),
    ({"a": [dict(image="GOOD", boxes=[[0, 0, 1, 1]])], "A": [dict(image="GOOD", boxes=[[0, 0, 1, 1]])]}, "given twice"),
])  # fmt: skip
def test_banks_that_make_no_sense_are_refused_when_the_model_is_loaded(farm, value, words):
    if isinstance(value, dict):
        good = farm.first().filepath
        for some in value.values():
            if isinstance(some, list):
                some[:] = [dict(one, image=good) if one["image"] == "GOOD" else one for one in some]
    with pytest.raises(ConceptError, match=words):
        load_model("concepts/sam3-tiny-image", exemplars=value)


def test_a_way_that_nobody_knows(farm):
    with pytest.raises(ConceptError, match="exemplar_transfer must be one of 'canvas', 'tokens', got 'magic'"):
        load_model("concepts/sam3-tiny-image", exemplars=bank_of(farm, "marks"), exemplar_transfer="magic")


@pytest.mark.parametrize("size", [(100, 200), (200, 100), (150, 150), (5, 900)])
def test_a_square_gets_its_proportions_back(size):
    image = np.zeros((*size, 3), np.uint8)
    image[:, size[1] // 2 :] = 200
    back = unsquared(to_square(image, 96), size)
    assert max(back.shape[:2]) == 96 and back.shape[0] / back.shape[1] == pytest.approx(size[0] / size[1], abs=0.01)
    assert back.dtype == np.uint8 and back[:, 0].max() == 0 and back[:, -1].min() == 200
    assert torch.is_tensor(to_square(image, 96))
