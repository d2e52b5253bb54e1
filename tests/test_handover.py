"""What is handed over, in every format, read back by FiftyOne and by pycocotools; and what is refused before it is.

Images are small pictures of noise; masks are random, with holes, parts and single pixels.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from uuid import uuid4

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
import pytest
import yaml
from fiftyone import ViewField as F
from fiftyone.operators.delegated import DelegatedOperationService
from fiftyone.operators.executor import ExecutionContext, ExecutionError
from fiftyone.types import COCODetectionDataset, YOLOv5Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from support import media
from support.ledgers import ask

from curation.errors import CurationError
from curation.handover import FORMATS, export_steps, export_subset, import_coco, read_negatives
from curation.handover.folder import MARKER
from curation.handover.polygons import fill, to_polygon, to_shares
from curation.hard_negatives import find_hard_negatives
from curation.subset import choose_subset
from curation.truth import verify
from evaluation.concepts import evaluate_concepts
from evaluation.saco import SACoGoldDataset
from evaluation.shapes import to_rle

HEIGHT, WIDTH = 24, 36
SIZE = HEIGHT, WIDTH
CONCEPTS = ("cat", "dog", "fox", "red cap")
IMAGES = 9


def blob(seed: int, concept: str, **attributes) -> fo.Detection:
    """A label whose mask has holes, parts and single pixels."""
    rng = np.random.default_rng(seed)
    whole = np.zeros(SIZE, bool)
    y, x = rng.integers(0, HEIGHT - 10), rng.integers(0, WIDTH - 12)
    whole[y : y + 10, x : x + 12] = rng.random((10, 12)) < 0.8
    return from_whole(whole, concept, **attributes)


def from_whole(mask: np.ndarray, concept: str, **attributes) -> fo.Detection:
    label = fo.Detection.from_mask(mask, label=concept, **attributes)
    assert label.mask.shape == tuple(np.ptp(np.argwhere(mask), axis=0) + 1)
    return label


def whole(label: fo.Detection, size: tuple[int, int] = SIZE) -> np.ndarray:
    return coco_mask.decode(to_rle(label, size)).astype(bool)


def masks(dataset, field: str, size: tuple[int, int] = SIZE) -> dict[str, list]:
    """The pixels of every image, by its file's name: label and mask of each instance, in order."""
    held = {}
    for sample in dataset:
        labels = sample[field].detections if sample[field] is not None else []
        held[Path(sample.filepath).name] = [(x.label, x.confidence, whole(x, size).tobytes()) for x in labels]
    return held


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Nine images: 0 to 6 have instances, 7 has none, 8 was never asked; the ledger says so."""
    folder = tmp_path_factory.mktemp("media")
    dataset = fo.Dataset(f"handover-{uuid4().hex[:8]}", persistent=True)
    samples = []
    for k in range(IMAGES):
        path = media.noise(folder / f"image-{k}.png", k, SIZE)
        labels = [
            blob(10 * k + i, CONCEPTS[(k + i) % 3], confidence=0.6 + i / 10, presence=0.9, phrase="a phrase")
            for i in range(1 + k % 3)
        ] * (k < 7)  # fmt: skip
        sample = fo.Sample(filepath=str(path), sam3=fo.Detections(detections=labels), my_split="train")
        sample["my_split"] = ("train", "train", "val")[k % 3]
        sample.tags = [sample["my_split"]]
        samples.append(sample)
    dataset.add_samples(samples, progress=False)
    found = [{x.label for x in sample.sam3.detections} for sample in dataset]
    presence = {c: [None if k == 8 else 0.9 if c in found[k] else 0.2 for k in range(IMAGES)] for c in CONCEPTS}
    ask(dataset, presence, label_field="sam3")
    dataset.add_dynamic_sample_fields()
    yield dataset
    dataset.delete()


@pytest.fixture
def scenes(made):
    dataset = made.clone(persistent=True)
    yield dataset
    dataset.delete()


@pytest.fixture
def imported():
    """Imports, and deletes what was imported."""
    held = []

    def make(make_one, *args, **said) -> fo.Dataset:
        held.append(make_one(*args, progress=False, **said))
        return held[-1]

    yield make
    for dataset in held:
        dataset.delete()


def export(samples, folder, format="coco", **said):
    return export_subset(samples, str(folder), format, progress=False, **said)


def absent(dataset) -> set[tuple[str, str, str]]:
    """(image, concept, by whose word), as ``import_coco`` has them."""
    return {
        (Path(sample.filepath).name, one.label, one.source)
        for sample in dataset for one in (sample.negatives.classifications if sample.negatives else ())
    }  # fmt: skip


def expected_absent(dataset) -> set[tuple[str, str]]:
    found = set()
    for k, sample in enumerate(dataset):
        there = {x.label for x in sample.sam3.detections}
        found |= {(Path(sample.filepath).name, concept) for concept in CONCEPTS if concept not in there and k != 8}
    return found


# --- COCO ---


def test_coco_is_read_back_by_fiftyone_exactly(made, imported, tmp_path):
    done = export(made, tmp_path / "out")
    again = imported(import_coco, tmp_path / "out")
    assert masks(again, "ground_truth") == masks(made, "sam3")
    assert len(again) == IMAGES == done.total("images")
    assert done.total("instances") == made.count("sam3.detections") == again.count("ground_truth.detections")
    assert [x.phrase for x in again.first().ground_truth.detections] == ["a phrase"]
    ids = [x.label_id for x in again.first().ground_truth.detections]
    assert ids == [x.id for x in made.first().sam3.detections]
    assert again.default_classes == list(CONCEPTS)


def test_coco_is_read_back_by_fiftyones_own_importer(made, imported, tmp_path):
    export(made, tmp_path / "out")
    said = dict(dataset_dir=str(tmp_path / "out"), dataset_type=COCODetectionDataset, label_types="segmentations")
    again = imported(fo.Dataset.from_dir, label_field="mine", **said)
    assert masks(again, "mine") == masks(made, "sam3")


def test_coco_is_read_back_by_pycocotools_exactly(made, tmp_path):
    export(made, tmp_path / "out")
    coco = COCO(str(tmp_path / "out" / "labels.json"))
    assert {number: held["name"] for number, held in coco.cats.items()} == dict(enumerate(CONCEPTS, 1))
    held = {}
    for number, image in coco.imgs.items():
        assert (tmp_path / "out" / "data" / image["file_name"]).is_file()
        entries = coco.loadAnns(coco.getAnnIds(number))
        held[image["file_name"]] = [
            (coco.cats[x["category_id"]]["name"], x["score"], coco.annToMask(x).astype(bool).tobytes()) for x in entries
        ]
        for entry in entries:
            mask = coco.annToMask(entry)
            assert entry["area"] == mask.sum() and entry["iscrowd"] == 0
            assert entry["bbox"] == coco_mask.toBbox(coco.annToRLE(entry)).tolist()
    assert held == masks(made, "sam3")


MASKS = arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))).filter(lambda mask: mask.any())


@settings(max_examples=8, deadline=None)
@given(drawn=st.lists(MASKS, min_size=4, max_size=12))
def test_any_mask_comes_through_coco(drawn, tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    dataset = fo.Dataset()
    for k, mask in enumerate(drawn):
        path = media.plain(folder / f"{k}.png", "red", mask.shape)
        labels = fo.Detections(detections=[fo.Detection.from_mask(mask, label="thing")])
        dataset.add_sample(fo.Sample(filepath=str(path), sam3=labels))
    export(dataset, folder / "out")
    again = import_coco(folder / "out", progress=False)
    coco = COCO(str(folder / "out" / "labels.json"))
    try:
        for mask, sample, entry in zip(drawn, again, coco.anns.values(), strict=True):
            assert np.array_equal(whole(sample.ground_truth.detections[0], mask.shape), mask)
            assert np.array_equal(coco.annToMask(entry).astype(bool), mask)
    finally:
        again.delete()
        dataset.delete()


def test_empty_images_and_negatives_are_in_the_file_as_lvis_has_them(made, tmp_path):
    done = export(made, tmp_path / "out")
    document = json.loads((tmp_path / "out" / "labels.json").read_text())
    names = dict(enumerate(CONCEPTS, 1))
    assert [image["file_name"] for image in document["images"]] == [f"image-{k}.png" for k in range(IMAGES)]
    found = {(i["file_name"], names[k]) for i in document["images"] for k in i["neg_category_ids"]}
    assert found == expected_absent(made) and len(found) == done.total("negatives")
    assert document["images"][8]["neg_category_ids"] == []  # never asked: nothing is known
    assert len(document["images"][7]["neg_category_ids"]) == 4
    assert [image["sample_id"] for image in document["images"]] == made.values("id")


def test_negatives_come_back_with_their_source(made, imported, tmp_path):
    export(made, tmp_path / "out")
    again = imported(import_coco, tmp_path / "out")
    assert absent(again) == {(*pair, "presence") for pair in expected_absent(made)}
    read = read_negatives(tmp_path / "out")
    assert {(Path(file).name, c, s) for file, held in read.items() for c, s in held.items()} == absent(again)
    assert set(read) == {f"data/image-{k}.png" for k in range(IMAGES)}
    bare = read_negatives(tmp_path / "out" / "labels.json")
    assert {(file, c) for file, held in bare.items() for c in held} == expected_absent(made)
    assert {source for held in bare.values() for source in held.values()} == {"unknown"}


def test_the_imported_negatives_serve_evaluation_and_curation(made, imported, tmp_path):
    export(made, tmp_path / "out")
    again = imported(import_coco, tmp_path / "out")
    again.add_sample_field("sam3", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    again.set_values("sam3", again.values("ground_truth"))
    ask(again, dict.fromkeys(CONCEPTS, 0.9), label_field="sam3")
    known = dict(negatives_field="negatives", not_exhaustive_field="not_exhaustive")
    found = evaluate_concepts(again, "sam3", "ground_truth", progress=False, **known)
    assert found.report()["pmF1"] == pytest.approx(1, abs=1e-3)
    hard = find_hard_negatives(again, "sam3", "ground_truth", None, progress=False, **known)
    pairs = {(Path(again[one.sample_id].filepath).name, one.concept) for one in hard.found}
    assert pairs == expected_absent(made)


def test_whose_word_counts(scenes, imported, tmp_path):
    first, second = scenes[:1], scenes[1:2]
    there = {x.label for x in first.first().sam3.detections}
    (unsaid, *_) = [c for c in CONCEPTS if c not in there]
    verify(first, unsaid, False)
    (other, *_) = [c for c in CONCEPTS if c not in {x.label for x in second.first().sam3.detections}]
    verify(second, other, True)  # a person sees what presence denies: no negative, and not all is labelled
    truth = [fo.Detections(detections=[x.copy() for x in s.sam3.detections]) for s in scenes]
    truth[2] = None
    scenes.set_values("truth", truth)
    done = export(scenes, tmp_path / "out", gt_field="truth", exhaustive=True)
    found = {pair[:2]: pair[2] for pair in absent(imported(import_coco, tmp_path / "out"))}
    assert found["image-0.png", unsaid] == "person"
    assert ("image-1.png", other) not in found
    assert set(found.values()) == {"person", "ground_truth", "presence"}
    assert {image for (image, _), source in found.items() if source == "presence"} == {"image-2.png"}
    assert {(image, c) for (image, c) in found if image == "image-8.png"} == {("image-8.png", c) for c in CONCEPTS}
    images = json.loads((tmp_path / "out" / "labels.json").read_text())["images"]
    assert images[1]["not_exhaustive_category_ids"] == [CONCEPTS.index(other) + 1]
    assert any("1 times a concept is there" in note for note in done.notes)


def test_negatives_of_some_sources_or_none(scenes, tmp_path):
    verify(scenes[7:8], "cat", False)
    only = export(scenes, tmp_path / "only", negatives=["person"])
    assert only.total("negatives") == 1
    none = export(scenes, tmp_path / "none", negatives=False)
    assert none.total("negatives") == 0 and not (tmp_path / "none" / "negatives.json").exists()
    images = json.loads((tmp_path / "none" / "labels.json").read_text())["images"]
    assert not any("neg_category_ids" in image for image in images) and len(images) == IMAGES


def test_what_a_reviewer_rejected_stays_behind(scenes, tmp_path, imported):
    labels = scenes[2:3].first().sam3.detections
    (gone, *kept) = [x.id for x in labels]
    scenes.add_sample_field("sam3.detections.verified", fo.BooleanField)
    scenes.select_labels(ids=[gone]).set_values("sam3.detections.verified", [[False]])
    scenes.select_labels(ids=[kept[0]]).set_values("sam3.detections.verified", [[True]])
    done = export(scenes, tmp_path / "out")
    again = imported(import_coco, tmp_path / "out")
    ids = again.values("ground_truth.detections.label_id", unwind=True)
    assert gone not in ids and set(kept) <= set(ids)
    assert "1 labels were rejected by a reviewer: left out" in done.notes
    concept = labels[0].label
    image = json.loads((tmp_path / "out" / "labels.json").read_text())["images"][2]
    number = CONCEPTS.index(concept) + 1
    assert number in image["not_exhaustive_category_ids"] and number not in image["neg_category_ids"]
    every = export(scenes, tmp_path / "every", rejected=True)
    assert every.total("instances") == done.total("instances") + 1


def test_labels_of_a_concept_that_a_person_called_absent_stay_behind(scenes, tmp_path, imported):
    concept = scenes.first().sam3.detections[0].label
    verify(scenes[:1], concept, False)
    done = export(scenes, tmp_path / "out")
    again = imported(import_coco, tmp_path / "out")
    assert concept not in again.first().to_dict()["ground_truth"]["detections"]
    assert (Path(scenes.first().filepath).name, concept, "person") in absent(again)
    assert concept not in [x.label for x in again.first().ground_truth.detections]
    assert any("called absent there" in note for note in done.notes)
    kept = export(scenes, tmp_path / "kept", rejected=True)
    assert kept.total("instances") == done.total("instances") + 1


def test_what_a_view_shows_is_what_is_exported(made, tmp_path, imported):
    view = made.filter_labels("sam3", F("confidence") > 0.65, only_matches=False).limit(5)
    done = export(view, tmp_path / "out")
    again = imported(import_coco, tmp_path / "out")
    assert masks(again, "ground_truth") == masks(view, "sam3")
    assert done.total("images") == 5
    # its label is hidden, and its presence is high: no negative
    assert ("image-0.png", "cat", "presence") not in absent(again) and "cat" in again.first().not_exhaustive


def test_concepts_can_be_chosen_and_ordered(made, tmp_path):
    done = export(made, tmp_path / "out", concepts=["fox", "cat"])
    document = json.loads((tmp_path / "out" / "labels.json").read_text())
    assert [c["name"] for c in document["categories"]] == ["fox", "cat"] == list(done.concepts)
    assert done.total("instances") == made.count_values("sam3.detections.label")["fox"] + 5
    assert any("labels are of other concepts" in note for note in done.notes)


def test_labels_without_a_name_are_left_out(scenes, tmp_path):
    scenes[:1].set_values("sam3", [fo.Detections(detections=[blob(1, None), blob(2, "dog")])])
    done = export(scenes[:1], tmp_path / "out")
    assert done.total("instances") == 1 and "1 labels have no name: left out" in done.notes


def test_an_instance_id_of_fiftyone_does_not_break_the_file(scenes, tmp_path, imported):
    for sample in scenes:
        for label in sample.sam3.detections:
            label.instance = fo.Instance()
            label.index = 7
        sample.save()
    export(scenes, tmp_path / "out")
    assert imported(import_coco, tmp_path / "out").first().ground_truth.detections[0].index == 7


def test_images_can_be_linked_or_left_where_they_are(made, tmp_path, imported):
    export(made, tmp_path / "linked", export_media="symlink")
    links = sorted((tmp_path / "linked" / "data").iterdir())
    assert all(link.is_symlink() and link.is_file() for link in links) and len(links) == IMAGES
    export(made, tmp_path / "bare", export_media=False)
    assert not (tmp_path / "bare" / "data").exists()
    again = imported(import_coco, tmp_path / "bare")
    assert again.values("filepath") == made.values("filepath")
    assert masks(again, "ground_truth") == masks(made, "sam3")


# --- splits ---


@pytest.mark.parametrize("splits", ["my_split", ("train", "val"), True])
def test_splits_have_a_folder_each_and_the_same_categories(made, tmp_path, imported, splits):
    done = export(made, tmp_path / "out", splits=splits)
    assert dict(done.counts["train"])["images"] == 6 and done.counts["val"]["images"] == 3
    documents = [json.loads((tmp_path / "out" / s / "labels.json").read_text()) for s in ("train", "val")]
    assert documents[0]["categories"] == documents[1]["categories"]
    numbers = [x["id"] for document in documents for x in document["annotations"]]
    assert len(set(numbers)) == len(numbers) == made.count("sam3.detections")
    again = imported(import_coco, tmp_path / "out")
    assert masks(again, "ground_truth") == masks(made, "sam3")
    assert {Path(s.filepath).name: s.split for s in again} == {Path(s.filepath).name: s.my_split for s in made}
    assert again.count_sample_tags() == {"train": 6, "val": 3}
    assert absent(again) == {(*pair, "presence") for pair in expected_absent(made)}


def test_a_subset_is_its_own_samples_by_its_own_splits(scenes, tmp_path):
    scenes.set_values("pick_split", ["train", None, "val", "train", None, None, None, "val", None])
    done = export(scenes, tmp_path / "out", subset="pick")
    assert {split: counts["images"] for split, counts in done.counts.items()} == {"train": 2, "val": 2}
    assert done.notes == ()
    whole = export(scenes, tmp_path / "whole", subset="pick", splits=False)
    assert whole.counts[""]["images"] == 4


def test_a_subset_that_was_not_split_is_one_export(scenes, imported, tmp_path):
    chosen = choose_subset(scenes, 4, splits=None, progress=False)
    done = export(scenes, tmp_path / "out", subset="subset")
    assert done.counts.keys() == {""} and done.total("images") == len(chosen) == 4
    again = imported(import_coco, tmp_path / "out")
    files = chosen.view(scenes).values("filepath")
    assert {Path(path).name for path in again.values("filepath")} == {Path(path).name for path in files}
    refused(scenes, tmp_path / "more", "the subset 'subset' is not split", subset="subset", splits=True)
    scenes.set_values("my_split", ["train", "val", "val"] * 3)
    assert export(scenes, tmp_path / "mine", subset="subset", splits="my_split").total("images") == 4


def test_samples_without_a_split_are_noted(scenes, tmp_path):
    scenes[:2].set_values("my_split", [None, None])
    done = export(scenes, tmp_path / "out", splits="my_split")
    assert done.total("images") == 7 and "2 samples have no split by 'my_split': left out" in done.notes


@pytest.mark.parametrize(
    ("splits", "words"),
    [
        ("my_splat", "'my_splat' is no field or tag of splits; the nearest: 'my_split'"),
        (("train", "vall"), "'vall' is no field or tag of splits; the nearest: 'val'"),
        ("metadata", "holds ImageMetadata; names of splits are needed"),
        (3, "must be True, a field"),
        ((), "names no tags"),
    ],
)
def test_splits_that_are_none(made, tmp_path, splits, words):
    refused(made, tmp_path, words, splits=splits)


def test_splits_that_cannot_be(scenes, tmp_path):
    scenes.set_values("odd", ["../up"] * IMAGES)
    refused(scenes, tmp_path, "cannot be the name of a folder; rename the split", splits="odd")
    tagged = ["subset:train", "subset:val"]
    for one, tag in zip(scenes.iter_samples(autosave=True), tagged * IMAGES, strict=False):
        one.tags.append(tag)
    refused(scenes, tmp_path, "say subset='subset', whose splits these tags are", splits=tagged)
    scenes.set_values("odd", ["Val", "val"] * 4 + ["val"])
    refused(scenes, tmp_path, "differ by capitals only", splits="odd")
    scenes.set_values("odd", [None] * IMAGES)
    refused(scenes, tmp_path, "no sample has a split by 'odd'", splits="odd")
    scenes.set_values("other_split", ["train"] * IMAGES)
    refused(scenes, tmp_path, "splits=True: which", splits=True)
    refused(scenes, tmp_path, "has no field 'pick_split'; there are 'my', 'other'", subset="pick")
    scenes[:1].tag_samples("val")
    refused(scenes, tmp_path, "1 samples have several of the tags", splits=["train", "val"])


# --- YOLO ---


def painted(line: fo.Polyline) -> np.ndarray:
    """As Ultralytics fills a row: coordinates times the size, decimals cut off."""
    (points,) = line.points
    return fill(np.floor(np.array(points) * (WIDTH, HEIGHT)).astype(int), SIZE).astype(bool)


def test_yolo_is_read_back_by_fiftyone(made, tmp_path, imported):
    done = export(made, tmp_path / "out", "yolo", splits="my_split")
    read = read_negatives(tmp_path / "out")  # of concepts that are no classes, too
    assert {(Path(file).name, c) for file, held in read.items() for c in held} == expected_absent(made)
    settings = yaml.safe_load((tmp_path / "out" / "dataset.yaml").read_text())
    names = ["cat", "dog", "fox"]
    assert settings == {"names": dict(enumerate(names)), "train": "./images/train/", "val": "./images/val/"}
    assert "1 concepts have no label here: they are no classes" in done.notes
    ious = []
    for split in ("train", "val"):
        said = dict(dataset_dir=str(tmp_path / "out"), dataset_type=YOLOv5Dataset, split=split)
        again = imported(fo.Dataset.from_dir, label_type="polylines", label_field="lines", **said)
        view = made.match(F("my_split") == split)
        assert {Path(p).name for p in again.values("filepath")} == {Path(p).name for p in view.values("filepath")}
        before = {Path(s.filepath).name: s.sam3.detections for s in view}
        for sample in again:
            labels = before[Path(sample.filepath).name]
            assert [x.label for x in sample.lines.polylines] == [x.label for x in labels]
            for line, label in zip(sample.lines.polylines, labels, strict=True):
                mask = whole(label)
                seen = line.to_segmentation(frame_size=(WIDTH, HEIGHT), target=1).mask > 0
                assert np.array_equal(seen, painted(line))
                ious.append((painted(line) & mask).sum() / (painted(line) | mask).sum())
    assert done.measures == pytest.approx(dict(iou_mean=np.mean(ious), iou_min=min(ious)))
    assert min(ious) > 0.8


def test_yolo_as_instances_has_every_label(made, tmp_path, imported):
    export(made, tmp_path / "out", "yolo")
    said = dict(dataset_dir=str(tmp_path / "out"), dataset_type=YOLOv5Dataset, split="train", label_type="instances")
    again = imported(fo.Dataset.from_dir, label_field="them", **said)
    assert again.count_values("them.detections.label") == made.count_values("sam3.detections.label")
    assert len(again) == IMAGES  # those without labels have an empty file


def test_what_is_one_pixel_wide_can_be_read_as_instances(scenes, tmp_path, imported):
    pixel, line = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    pixel[5, 7] = line[3, 4:9] = True
    scenes[:1].set_values("sam3", [fo.Detections(detections=[from_whole(pixel, "dog"), from_whole(line, "cat")])])
    done = export(scenes[:1], tmp_path / "out", "yolo")
    assert done.measures["iou_min"] == 1
    said = dict(dataset_dir=str(tmp_path / "out"), dataset_type=YOLOv5Dataset, split="train", label_type="instances")
    (one, other) = imported(fo.Dataset.from_dir, label_field="them", **said).first().them.detections
    assert one.mask.size >= 1 and other.mask.shape[1] >= 4  # FiftyOne divides by the width of a polygon


def test_yolo_says_what_it_loses(made, tmp_path):
    apart = np.zeros(SIZE, bool)
    apart[1, 1] = apart[20, 30] = True
    dataset = made[:1].clone()
    dataset.set_values("sam3", [fo.Detections(detections=[from_whole(apart, "dog")])])
    done = export(dataset, tmp_path / "out", "yolo")
    assert any(note.startswith("1 of 1 instances lose more than 5% as polygons") for note in done.notes)
    assert any("wants a split val" in note for note in done.notes)
    dataset.delete()


def test_validation_is_val_for_ultralytics(scenes, tmp_path):
    scenes.set_values("my_split", ["train", "validation", "train"] * 3)
    export(scenes, tmp_path / "out", "yolo", splits="my_split")
    settings = yaml.safe_load((tmp_path / "out" / "dataset.yaml").read_text())
    assert settings["val"] == "./images/val/" and len(list((tmp_path / "out" / "labels" / "val").iterdir())) == 3


@settings(max_examples=200, deadline=None)
@given(mask=MASKS)
def test_a_polygon_holds_all_of_a_mask_and_only_seams_more(mask):
    from scipy.ndimage import label

    corners = to_polygon(mask.astype(np.uint8))
    again = fill(corners, mask.shape).astype(bool)
    assert not (mask & ~again).any()
    parts = label(mask, np.ones((3, 3)))[1]
    if parts == 1:
        assert np.array_equal(again, mask)
    assert (again & ~mask).sum() <= (parts - 1) * max(mask.shape)


@settings(max_examples=100, deadline=None)
@given(mask=MASKS, more=st.tuples(st.integers(0, 3000), st.integers(0, 3000)))
def test_shares_with_six_decimals_find_the_same_pixels(mask, more):
    height, width = (a + b for a, b in zip(mask.shape, more, strict=True))
    corners = to_polygon(mask.astype(np.uint8))
    shares = to_shares(corners, (height, width))
    read = np.round(shares, 6) * (width, height)
    assert np.array_equal(np.unique(np.floor(read), axis=0), np.unique(corners, axis=0))
    thick = np.ptp(corners, axis=0) > 0
    assert np.array_equal(np.unique(np.rint(read[:, thick]), axis=0), np.unique(corners[:, thick], axis=0))
    assert shares.min() > 0 and shares.max() < 1
    assert (np.ptp(read, axis=0) > 0.5).all()  # whoever divides by it can


def test_a_mask_in_very_many_pieces_is_one_polygon_soon():
    mask = np.zeros((100, 100), np.uint8)
    mask[::3, ::3] = 1
    corners = to_polygon(mask)
    assert 64 <= len(corners) < 1000


def test_a_tolerance_has_fewer_corners(made, tmp_path):
    fine, rough = (export(made, tmp_path / f"{t}", "yolo", tolerance=t) for t in (0.0, 3.0))
    sizes = [
        sum(p.stat().st_size for p in (tmp_path / f"{t}" / "labels").rglob("*.txt")) for t in (0.0, 3.0)
    ]
    assert sizes[1] < sizes[0] and rough.measures["iou_mean"] < fine.measures["iou_mean"]


# --- SA-Co ---


def test_saco_is_read_back_exactly(made, imported, tmp_path):
    done = export(made, tmp_path / "out", "saco")
    again = imported(fo.Dataset.from_dir, dataset_dir=str(tmp_path / "out"), dataset_type=SACoGoldDataset)
    bare = {name: [(x[0], x[2]) for x in sorted(held)] for name, held in masks(again, "ground_truth").items()}
    wanted = {name: [(x[0], x[2]) for x in sorted(held)] for name, held in masks(made, "sam3").items()}
    assert {name: sorted(held) for name, held in bare.items()} == {
        name: sorted(held) for name, held in wanted.items() if name != "image-8.png"
    }
    pairs = {(Path(s.filepath).name, concept) for s in again for concept in s.negatives}
    assert pairs == expected_absent(made) and len(pairs) == done.total("negatives")
    assert any(note.startswith("1 images have neither") for note in done.notes)


def test_saco_flags_what_is_not_exhaustive(scenes, imported, tmp_path):
    concept = scenes.first().sam3.detections[0].label
    path = f"sam3_exhaustive.{concept}"
    scenes.add_sample_field("sam3_exhaustive", fo.EmbeddedDocumentField, embedded_doc_type=fo.DynamicEmbeddedDocument)
    scenes.add_sample_field(path, fo.BooleanField)
    scenes.set_values("sam3_exhaustive", [fo.DynamicEmbeddedDocument() for _ in range(IMAGES)])
    scenes.set_values(path, [False] + [None] * (IMAGES - 1))
    export(scenes, tmp_path / "out", "saco", export_media=False)
    said = dict(dataset_dir=str(tmp_path / "out"), data_path="/", dataset_type=SACoGoldDataset)
    again = imported(fo.Dataset.from_dir, **said)
    assert again.values("not_exhaustive") == [[concept]] + [[]] * 7
    assert again.values("filepath") == scenes.values("filepath")[:8]


# --- crops ---


def test_crops_have_the_masks_as_alpha_and_the_colours_of_the_image(made, tmp_path):
    done = export(made, tmp_path / "out", "crops")
    rows = json.loads((tmp_path / "out" / "manifest.json").read_text())["crops"]
    labels = {x.id: (x, sample) for sample in made for x in sample.sam3.detections}
    assert {row["label_id"] for row in rows} == set(labels) and len(rows) == done.total("instances")
    for row in rows:
        label, sample = labels[row["label_id"]]
        image, mask = np.array(Image.open(sample.filepath)), whole(label)
        crop = np.array(Image.open(tmp_path / "out" / row["file"]))
        x, y, w, h = row["bounding_box"]
        assert row["bounding_box"] == row["crop"] and crop.shape == (h, w, 4)
        assert np.array_equal(crop[..., 3], mask[y : y + h, x : x + w] * 255) and row["area"] == mask.sum()
        assert (crop[..., 3] > 0).sum() == mask.sum()
        assert np.array_equal(crop[..., :3], image[y : y + h, x : x + w])
        assert row["file"] == f"{label.label}/{Path(sample.filepath).stem}_{label.label}_{label.id}.png"
        assert (row["concept"], row["confidence"], row["sample_id"]) == (label.label, label.confidence, sample.id)
        assert row["image"] == sample.filepath and row["image_size"] == [WIDTH, HEIGHT]
    with (tmp_path / "out" / "manifest.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [(r["file"], int(r["x"]), int(r["height"])) for r in table] == [
        (r["file"], r["bounding_box"][0], r["bounding_box"][3]) for r in rows
    ]


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), margin=st.sampled_from([0.0, 0.1, 0.5, 2.0]), square=st.booleans())
def test_a_crop_can_be_put_back(seed, margin, square, tmp_path_factory):
    folder = tmp_path_factory.mktemp("crop")
    path = media.noise(folder / "a.png", seed, SIZE)
    dataset = fo.Dataset()
    label = blob(seed, "thing")
    dataset.add_sample(fo.Sample(filepath=str(path), sam3=fo.Detections(detections=[label])))
    export(dataset, folder / "out", "crops", margin=margin, square=square)
    dataset.delete()
    (row,) = json.loads((folder / "out" / "manifest.json").read_text())["crops"]
    crop = np.array(Image.open(folder / "out" / row["file"]))
    x, y, w, h = row["crop"]
    assert crop.shape == (h, w, 4) and (w == h or not square)
    room = 300
    canvas = np.zeros((HEIGHT + 2 * room, WIDTH + 2 * room, 4), np.uint8)
    canvas[room + y : room + y + h, room + x : room + x + w] = crop
    assert np.array_equal(canvas[room:-room, room:-room, 3] > 0, whole(label))
    assert canvas[..., 3].sum() == 255 * whole(label).sum()
    image = np.array(Image.open(path))
    shown = canvas[room:-room, room:-room]
    inside = shown[max(y, 0) : y + h, max(x, 0) : x + w, :3]
    assert np.array_equal(inside, image[max(y, 0) : y + h, max(x, 0) : x + w])
    if not square:
        assert x >= 0 and y >= 0 and x + w <= WIDTH and y + h <= HEIGHT


def test_crops_of_odd_names_are_apart(scenes, tmp_path):
    labels = [blob(1, "a/b"), blob(2, "a b"), blob(3, "A-B"), blob(4, "..")]
    scenes[:1].set_values("sam3", [fo.Detections(detections=labels)])
    export(scenes, tmp_path / "out", "crops", concepts=["a/b", "a b", "A-B", ".."], splits="my_split", min_size=2)
    rows = json.loads((tmp_path / "out" / "manifest.json").read_text())["crops"]
    assert [Path(row["file"]).parent.as_posix() for row in rows] == [
        "train/a-b", "train/a-b-2", "train/A-B-3", "train/unnamed",
    ]  # fmt: skip
    assert all((tmp_path / "out" / row["file"]).is_file() for row in rows)


def test_small_crops_are_left_out(scenes, tmp_path):
    mask = np.zeros(SIZE, bool)
    mask[3:6, 4:6] = True
    scenes[:1].set_values("sam3", [fo.Detections(detections=[from_whole(mask, "cat"), blob(1, "dog")])])
    done = export(scenes[:1], tmp_path / "out", "crops", min_size=4)
    (row,) = json.loads((tmp_path / "out" / "manifest.json").read_text())["crops"]
    assert row["concept"] == "dog" and "1 instances are smaller than 4 pixels: left out" in done.notes
    assert len(export(scenes[:1], tmp_path / "all", "crops", min_size=3).files) == 5  # two, manifests, the marker


def test_crops_of_turned_photographs_are_upright(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    dataset = fo.Dataset()
    mask = np.zeros((30, 20), bool)
    mask[25:30, 3:7] = True  # of the image as it is seen
    labels = fo.Detections(detections=[fo.Detection.from_mask(mask, label="thing")])
    dataset.add_sample(fo.Sample(filepath=str(tmp_path / "turned.jpg"), sam3=labels))
    export(dataset, tmp_path / "out", "crops")
    (row,) = json.loads((tmp_path / "out" / "manifest.json").read_text())["crops"]
    crop = np.array(Image.open(tmp_path / "out" / row["file"]))
    seen = np.rot90(np.array(Image.open(tmp_path / "turned.jpg").convert("RGB")), -1)
    assert row["bounding_box"] == [3, 25, 4, 5] and np.array_equal(crop[..., :3], seen[25:30, 3:7])
    dataset.delete()


# --- names that clash, media that are gone, labels that are broken ---


@pytest.mark.parametrize("format", ["coco", "yolo", "saco", "crops"])
def test_images_of_one_name_stay_apart(tmp_path, imported, format):
    dataset = fo.Dataset()
    for k, name in enumerate(("a/x.png", "b/x.png", "c/x-2.png", "d/X.png", "e/x.jpg")):
        path = tmp_path / name
        path.parent.mkdir()
        media.noise(path, k, SIZE)
        dataset.add_sample(fo.Sample(filepath=str(path), sam3=fo.Detections(detections=[blob(k, "dog")])))
    ask(dataset, {"dog": 0.9, "cat": [0.1, 0.9, 0.1, 0.9, 0.1]}, label_field="sam3")
    export(dataset, tmp_path / "out", format)
    wanted = [whole(s.sam3.detections[0]).tobytes() for s in dataset]
    if format == "crops":
        rows = json.loads((tmp_path / "out" / "manifest.json").read_text())["crops"]
        assert len({row["file"].casefold() for row in rows}) == 5
        return
    if format == "coco":
        again = imported(import_coco, tmp_path / "out")
        found = [whole(s.ground_truth.detections[0]).tobytes() for s in again]
        assert [bool(s.negatives.classifications) for s in again] == [True, False, True, False, True]
    else:
        kind = dict(dataset_type=SACoGoldDataset) if format == "saco" else dict(
            dataset_type=YOLOv5Dataset, split="train", label_type="polylines", label_field="ground_truth"
        )  # fmt: skip
        again = imported(fo.Dataset.from_dir, dataset_dir=str(tmp_path / "out"), **kind)
        if format == "saco":
            found = [whole(s.ground_truth.detections[0]).tobytes() for s in again]
    names = [Path(path).name for path in again.values("filepath")]
    # FiftyOne alone would write x-2.png twice; of YOLO's, stems are apart, because labels are .txt
    assert len({name.casefold() for name in names}) == 5 and {"x.png", "x-2.png"} < set(names)
    assert format != "yolo" or len({Path(name).stem.casefold() for name in names}) == 5
    pixels = [np.array(Image.open(path)).tobytes() for path in again.values("filepath")]
    origin = [np.array(Image.open(path)).tobytes() for path in dataset.values("filepath")]
    if format == "yolo":
        found = [painted(s.ground_truth.polylines[0]) for s in again]
        order = [pixels.index(one) for one in origin]
        for k, sample in enumerate(dataset):
            mask = whole(sample.sam3.detections[0])
            assert (found[order[k]] & mask).sum() / (found[order[k]] | mask).sum() > 0.8
    else:
        assert dict(zip(pixels, found, strict=True)) == dict(zip(origin, wanted, strict=True))
    read = read_negatives(tmp_path / "out")
    assert [bool(held) for held in read.values()] == [True, False, True, False, True]
    dataset.delete()


@pytest.mark.parametrize("format", FORMATS)
def test_an_image_that_is_gone_costs_itself_alone(scenes, tmp_path, format):
    one = scenes[3:4].first()
    one.filepath = str(tmp_path / "gone.png")
    one.save()
    done = export(scenes, tmp_path / "out", format)
    assert [(x.sample_id, x.reason) for x in done.left_out] == [(one.id, "there is no such file")]
    assert done.total("images") == IMAGES - 1
    assert any(note.startswith("1 samples were left out; the first:") for note in done.notes)


def test_a_broken_label_costs_its_image_alone(scenes, tmp_path):
    one = scenes[3:4].first()
    one.sam3.detections[0].mask = np.zeros((0, 3), bool)
    one.save()
    done = export(scenes, tmp_path / "out")
    assert [x.sample_id for x in done.left_out] == [one.id]
    entries = json.loads((tmp_path / "out" / "labels.json").read_text())["images"]
    assert one.id not in [entry["sample_id"] for entry in entries] and len(entries) == IMAGES - 1


def test_the_same_file_twice_is_exported_once(scenes, tmp_path):
    again = fo.Sample(filepath=scenes.first().filepath, sam3=fo.Detections(detections=[blob(3, "dog")]), my_split="val")
    scenes.add_sample(again)
    done = export(scenes, tmp_path / "out", "yolo", splits="my_split")
    assert [x.sample_id for x in done.left_out] == [again.id] and "same file" in done.left_out[0].reason


def test_masks_without_a_pixel_in_the_image_are_left_out(scenes, tmp_path):
    one = scenes[3:4].first()
    one.sam3.detections[0].mask = np.zeros_like(one.sam3.detections[0].mask)
    one.save()
    done = export(scenes, tmp_path / "out")
    assert "1 labels have no pixel in their image: left out" in done.notes and not done.left_out


def test_if_no_image_is_there_nothing_is_written(scenes, tmp_path):
    scenes.set_values("filepath", [str(tmp_path / f"gone-{k}.png") for k in range(IMAGES)])
    refused(scenes, tmp_path, "Not a single sample could be exported")


# --- labels without masks ---


@pytest.mark.parametrize("format", FORMATS)
def test_labels_without_masks(scenes, tmp_path, format):
    one = scenes[3:4].first()
    one.sam3.detections[0].mask = None
    one.save()
    x, y, w, h = one.sam3.detections[0].bounding_box
    refused(scenes, tmp_path, "1 labels in 'sam3' have no mask: give them one.*masks='skip'", format=format)
    assert export(scenes, tmp_path / "boxed", format, masks="box").total("instances") == scenes.count("sam3.detections")
    skipped = export(scenes, tmp_path / "skipped", format, masks="skip")
    assert skipped.total("instances") == scenes.count("sam3.detections") - 1
    assert "1 labels have no mask: left out" in skipped.notes
    if format == "coco":
        document = json.loads((tmp_path / "boxed" / "labels.json").read_text())
        entry = next(e for e in document["annotations"] if e["label_id"] == one.sam3.detections[0].id)
        assert entry["bbox"] == [round(x * WIDTH), round(y * HEIGHT), round(w * WIDTH), round(h * HEIGHT)]
        assert entry["area"] == entry["bbox"][2] * entry["bbox"][3]


def test_masks_on_disk_are_masks(scenes, tmp_path, imported):
    for sample in scenes:
        for k, label in enumerate(sample.sam3.detections):
            label.export_mask(str(tmp_path / f"{sample.id}-{k}.png"), update=True)
        sample.save()
    before = masks(scenes, "sam3")
    export(scenes, tmp_path / "out")
    assert masks(imported(import_coco, tmp_path / "out"), "ground_truth") == before


# --- refusals ---


def refused(samples, tmp_path, words, format="coco", folder="refused", **said):
    """That it is refused so, and that nothing is left behind."""
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CurationError, match=words):
        export(samples, tmp_path / folder, format, **said)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (dict(format="cocoo"), "format='cocoo' is none; did you mean 'coco'"),
        (dict(format="pascal"), "there are 'coco', 'yolo', 'saco', 'crops'"),
        (dict(label_field="sam4"), "label_field 'sam4' is not a field"),
        (dict(label_field="metadata"), "holds ImageMetadata; Detections are needed"),
        (dict(concepts=["catt"]), "'catt' is no concept that was asked, or is labelled in 'sam3'; the nearest: 'cat'"),
        (dict(concepts=[]), "No concepts were named; there are 'cat'"),
        (dict(concepts=["cat", 3]), "3 is no word"),
        (dict(ledger="other"), "has no concept ledger 'other'"),
        (dict(negatives="presense"), "want True, False, or some of"),
        (dict(gt_field="sam3"), "What does it mean that a concept is not labelled"),
        (dict(exhaustive=True), "needs gt_field"),
        (dict(masks="polygons"), "masks='polygons'; want one of"),
        (dict(export_media="move"), "export_media='move' of coco"),
        (dict(format="yolo", export_media=False), "links cost no space"),
        (dict(margin=0.1), "margin=0.1 is a setting of crops"),
        (dict(format="crops", margin=-1), "margin=-1 must be a number"),
        (dict(format="crops", min_size=0), "must be a whole number"),
        (dict(format="crops", concepts=["red cap"]), "There is nothing to export: no label in 'sam3'"),
        (dict(split="train"), "has no setting 'split'; did you mean 'splits'"),
    ],
)
def test_what_is_refused_before_anything_is_written(made, tmp_path, said, words):
    refused(made, tmp_path, words, **said)


def test_samples_that_cannot_be_exported(made, tmp_path):
    refused(made.limit(0), tmp_path, "There is nothing to export: no samples")
    refused(made.to_patches("sam3"), tmp_path, "This is a view of patches")
    refused(made.exclude_fields("sam3_presence"), tmp_path, "has no concept ledger 'sam3', or not all of it")
    empty = fo.Dataset()
    empty.add_sample(fo.Sample(filepath=made.first().filepath, sam3=fo.Detections()))
    refused(empty, tmp_path, "There is nothing to export: no label in 'sam3'")
    empty.delete()


def test_videos_are_sent_where_videos_can_go(new_dataset, tmp_path):
    clip = fo.Sample(filepath=str(media.video(tmp_path / "clip.mp4", ["red", "blue"])))
    clip.frames[1] = fo.Frame(sam3=fo.Detections(detections=[blob(1, "dog")]))
    dataset = new_dataset([clip])
    refused(dataset, tmp_path, "holds videos.*SACoVEvalDataset.*frames.sam3", label_field="frames.sam3")
    frames = dataset.to_frames(sample_frames=True)
    refused(frames, tmp_path, "This is a view of frames .* export these: dataset.to_frames.sample_frames=True..clone")
    images = frames.clone()
    assert export(images, tmp_path / "frames").counts[""] == dict(images=2, instances=1, negatives=0)
    images.delete()
    groups = new_dataset()
    groups.add_group_field("group", default="left")
    group = fo.Group()
    groups.add_sample(fo.Sample(filepath=str(media.plain(tmp_path / "g.png", "red")), group=group.element("left")))
    refused(groups, tmp_path, "export one slice")


@pytest.mark.parametrize("path", ["", 3, None])
def test_a_folder_that_is_none(made, path):
    with pytest.raises(CurationError, match="must be the path of a folder"):
        export_subset(made, path)


# --- the folder ---


def test_a_folder_that_holds_something_else_is_never_touched(made, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        refused(made, tmp_path, "is not empty, and holds no export", folder="mine", overwrite=overwrite)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    refused(made, tmp_path, "is a file", folder="mine/thesis.txt")


def test_an_empty_folder_is_fine(made, tmp_path):
    (tmp_path / "out").mkdir()
    done = export(made, tmp_path / "out")
    assert set(done.files) == {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")}
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_an_earlier_export_is_replaced_and_nothing_else(made, tmp_path):
    export(made, tmp_path / "out", splits="my_split")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    (tmp_path / "out" / "train" / "more").mkdir()
    (tmp_path / "out" / "train" / "more" / "notes.txt").write_text("mine, too")
    refused(made, tmp_path, "say overwrite=True to replace it", folder="out")
    done = export(made.limit(3), tmp_path / "out", overwrite=True)
    held = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert held == {*done.files, "notes.txt", "train/more/notes.txt"}
    assert (tmp_path / "out" / "train" / "more" / "notes.txt").read_text() == "mine, too"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert json.loads((tmp_path / "out" / MARKER).read_text())["counts"] == {"": dict(done.counts[""])}


def test_a_file_that_an_earlier_export_did_not_write_is_not_overwritten(made, tmp_path):
    export(made, tmp_path / "out", "crops")
    (tmp_path / "out" / "labels.json").write_text("mine")
    refused(made, tmp_path, "labels.json was not written by the earlier export", folder="out", overwrite=True)
    assert (tmp_path / "out" / "labels.json").read_text() == "mine"
    assert (tmp_path / "out" / "manifest.json").is_file()


def test_an_export_does_not_eat_its_own_images(made, tmp_path, imported):
    export(made, tmp_path / "out")
    again = imported(import_coco, tmp_path / "out")
    refused(
        again, tmp_path, "holds media of these samples", folder="out", overwrite=True, label_field="ground_truth",
        export_media="symlink",
    )  # fmt: skip


def test_a_run_that_is_broken_off_leaves_nothing(made, tmp_path, monkeypatch):
    steps = export_steps(made, str(tmp_path / "out"))
    next(steps)
    assert list(tmp_path.iterdir()) == []  # a form asks for the first step with every key
    next(steps)
    assert len(list(tmp_path.iterdir())) == 1
    steps.close()
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("curation.handover.coco.COCOWriter.close", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(made, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_steps_count_samples(made, tmp_path):
    steps = list(export_steps(made, str(tmp_path / "out")))
    assert [(s.done, s.total) for s in steps] == [*((k, IMAGES) for k in range(IMAGES + 1)), (IMAGES, IMAGES)]
    assert steps[-1].result.export_dir == str(tmp_path / "out") and str(steps[-1].result).startswith("coco in ")


# --- reading ---


def test_plain_coco_files_can_be_read_too(made, tmp_path, imported):
    made.export(
        export_dir=str(tmp_path / "plain"), dataset_type=COCODetectionDataset, label_field="sam3", progress=False,
        extra_attrs=False,
    )  # fmt: skip
    again = imported(import_coco, tmp_path / "plain")
    assert again.count("ground_truth.detections") == made.count("sam3.detections")
    assert "negatives" not in again.get_field_schema()


def test_what_cannot_be_read(made, tmp_path):
    with pytest.raises(CurationError, match="There is no folder"):
        import_coco(tmp_path / "nowhere")
    with pytest.raises(CurationError, match="it is no export as COCO"):
        import_coco(tmp_path)
    with pytest.raises(CurationError, match="There is no .*negatives.json"):
        read_negatives(tmp_path)
    (tmp_path / "labels.json").write_text("{")
    with pytest.raises(CurationError, match="cannot be read"):
        read_negatives(tmp_path / "labels.json")
    (tmp_path / "labels.json").write_text('{"images": [{"id": 1}]}')
    with pytest.raises(CurationError, match="says of no image what is absent"):
        read_negatives(tmp_path / "labels.json")
    (tmp_path / "labels.json").write_text("[]")
    with pytest.raises(CurationError, match="it holds list"):
        read_negatives(tmp_path / "labels.json")
    with pytest.raises(CurationError, match="There is a dataset"):
        import_coco(tmp_path, made.name)


# --- the operator ---

URI = "@concepts/sam3/export_subset"


def form(dataset, **params) -> dict:
    ctx = ExecutionContext(request_params=dict(dataset_name=dataset.name, params=params), operator_uri=URI)
    return foo.get_operator(URI).resolve_input(ctx).type.properties


def problems(fields: dict) -> list[str]:
    return [one.error_message for one in fields.values() if one.invalid]


def run(dataset, **params):
    return foo.execute_operator(URI, dict(dataset=dataset), params=params)


def place(folder) -> dict:
    """As FiftyOne's file explorer says where something is."""
    return dict(directory=dict(absolute_path=str(folder), type="directory"), label_field="sam3")


@pytest.mark.parametrize(
    ("format", "params", "same"),
    [
        ("coco", dict(by="field", split_field="my_split"), dict(splits="my_split")),
        ("coco", dict(media="none", negatives=False, overwrite=True), dict(export_media=False, negatives=False)),
        ("coco", dict(gt_field="sam3", absence="exhaustive"), dict(gt_field="sam3", exhaustive=True)),
        ("yolo", dict(by="tags", split_tags=["val", "train"], tolerance=2.0), dict(splits=True, tolerance=2.0)),
        ("yolo", dict(media="none", margin=1.0), {}),  # left over from another format
        ("saco", dict(media="symlink", concepts=["cat"]), dict(export_media="symlink", concepts=["cat"])),
        ("crops", dict(square=True, margin=0.25, tolerance=2.0), dict(square=True, margin=0.25)),
    ],
)  # fmt: skip
def test_the_form_exports_as_python_does(made, tmp_path, format, params, same):
    said = dict(place(tmp_path), folder="app", format=format, **params)
    assert problems(form(made, **said)) == [] and list(tmp_path.iterdir()) == []
    result = run(made, **said)
    words = [r.params["message"] for r in result.executor._requests if "message" in (r.params or {})]
    done = export(made, tmp_path / "python", format, **same)
    assert words[-1].startswith(f"9 images with {done.total('instances')} instances are in {tmp_path / 'app'}")
    for name in done.files:
        if name not in (MARKER, "labels.json", "train/labels.json", "val/labels.json"):  # which hold the time
            assert (tmp_path / "app" / name).read_bytes() == (tmp_path / "python" / name).read_bytes(), name
    held, wanted = (json.loads((tmp_path / name / MARKER).read_text()) for name in ("app", "python"))
    assert {k: v for k, v in held.items() if k != "made"} == {k: v for k, v in wanted.items() if k != "made"}


def test_the_form_knows_subsets(scenes, tmp_path):
    scenes.set_values("pick_split", ["train", None, "val", "train", None, None, None, "val", None])
    fields = form(scenes, **place(tmp_path), subset="pick")
    assert "own" in fields["subset_by"].type.values and "own" not in form(scenes)["by"].type.values
    assert problems(fields) == []
    run(scenes, **place(tmp_path), folder="own", subset="pick", subset_by="own")
    run(scenes, **place(tmp_path), folder="one", subset="pick", subset_by="none")
    assert sorted(p.name for p in (tmp_path / "own").iterdir()) == [MARKER, "negatives.json", "train", "val"]
    assert len(list((tmp_path / "one" / "data").iterdir())) == 4


@pytest.mark.parametrize("format", FORMATS)
def test_the_form_asks_what_a_format_needs(made, format):
    fields = form(made, format=format, more=True, gt_field="sam3", label_field="sam3")
    own = {"coco": set(), "yolo": {"tolerance"}, "saco": set(), "crops": {"margin", "square", "min_size"}}
    assert {"tolerance", "margin", "square", "min_size"} & fields.keys() == own[format]
    assert ("negatives" in fields) == ("absence" in fields) == (format != "crops")
    assert ("media" in fields) == (format in ("coco", "saco"))
    assert ("yolo_media" in fields) == (format == "yolo")
    assert problems(fields) == []  # nothing is wrong before a folder is chosen


def test_what_is_wrong_is_said_in_the_form(made, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    said = dict(place(tmp_path), folder="")
    assert any("is not empty, and holds no export" in words for words in problems(form(made, **said)))
    with pytest.raises(ExecutionError, match="is not empty"):
        run(made, **said).raise_exceptions()


def test_a_delegated_export_is_the_same(scenes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    at_once = foo.get_operator(URI)(scenes, "once", "saco", splits="my_split", progress=False)
    assert foo.get_operator(URI)(scenes, Path("later"), "saco", splits="my_split", delegate=True).delegated
    monkeypatch.chdir("/")
    DelegatedOperationService().execute_queued_operations()
    for name in at_once.files:
        if name != MARKER:
            assert (tmp_path / "later" / name).read_bytes() == (tmp_path / "once" / name).read_bytes()
    with pytest.raises(ValueError, match="holds an export of"):
        foo.get_operator(URI)(scenes, tmp_path / "once", delegate=True)


@pytest.mark.parametrize("format", ["saco", "yolo", "crops"])
def test_import_coco_says_what_another_export_is(made, tmp_path, format):
    export(made, tmp_path / "out", format)
    with pytest.raises(CurationError, match=f"is an export as '{format}', and import_coco reads COCO"):
        import_coco(str(tmp_path / "out"), progress=False)
