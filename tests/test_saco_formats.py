"""SA-Co's formats in FiftyOne: what is imported, that it comes out again, and what is refused.

The files are those of ``test_evaluation_gold.py`` and ``test_evaluation_veval.py``, whose official numbers are known.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F
from PIL import Image

from evaluation.concepts import evaluate_concepts
from evaluation.entries import FormatError
from evaluation.gold_importer import SACoGoldImporter
from evaluation.gold_score import score_gold_files
from evaluation.policy import EvaluationError
from evaluation.saco import SACoGoldDataset, SACoVEvalDataset
from evaluation.veval import read_veval, read_video_predictions, score_veval

FILES = Path(__file__).parent / "golden" / "files"
OFFICIAL = json.loads((FILES / "official.json").read_text())
GOLD = [str(FILES / f"gold_{x}.json") for x in "abc"]


@pytest.fixture(scope="module")
def media(tmp_path_factory) -> Path:
    """Every image and frame that the files name, all grey."""
    folder = tmp_path_factory.mktemp("saco")
    names = {image["file_name"] for image in json.loads(Path(GOLD[0]).read_text())["images"]}
    videos = json.loads((FILES / "veval_gt.json").read_text())["videos"]
    names |= {name for video in videos for name in video["file_names"]}
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("L", (40, 20), 128).save(folder / name)
    return folder


@pytest.fixture
def imported():
    """Imports, and deletes what was imported."""
    made = []

    def make(**settings) -> fo.Dataset:
        made.append(fo.Dataset.from_dir(progress=False, **settings))
        return made[-1]

    yield make
    for dataset in made:
        dataset.delete()


@pytest.fixture
def gold(imported, media) -> fo.Dataset:
    return imported(
        data_path=str(media), labels_path=GOLD, predictions_path=str(FILES / "gold_pred.json"),
        dataset_type=SACoGoldDataset,
    )  # fmt: skip


@pytest.fixture
def veval(imported, media) -> fo.Dataset:
    return imported(
        data_path=str(media), labels_path=str(FILES / "veval_gt.json"), predictions_path=str(FILES / "veval_pred.json"),
        dataset_type=SACoVEvalDataset,
    )  # fmt: skip


# --- images ---


def test_a_file_repeated_over_phrases_is_one_sample(gold):
    document = json.loads(Path(GOLD[0]).read_text())
    assert len(gold) == len({image["file_name"] for image in document["images"]}) == 50
    one = gold.match(F("filepath").ends_with("image-0.jpg")).first()
    pairs = [image for image in document["images"] if image["file_name"] == "image-0.jpg"]
    assert one.concepts == [image["text_input"] for image in pairs]
    assert [pair["id"] for pair in one.pairs] == [image["id"] for image in pairs]
    assert one.pairs[0]["queried_category"] == "0" and one.pairs[0]["is_instance_exhaustive"] == [True] * 3
    kept = [a for a in document["annotations"] if a["image_id"] in {p["id"] for p in pairs} and a["category_id"] < 3]
    assert [(x.pair_id, x.annotation_id, x.iscrowd) for x in one.ground_truth.detections] == [
        (a["image_id"], a["id"], bool(a["iscrowd"])) for a in kept
    ]
    assert one.metadata.width == 40


def test_every_field_is_declared(gold):
    schema = gold.get_field_schema(flat=True)
    for path in ("ground_truth", "ground_truth_2", "ground_truth_3"):
        assert isinstance(schema[f"{path}.detections.iscrowd"], fo.BooleanField)
    for path in ("concepts", "negatives", "not_exhaustive"):
        assert isinstance(schema[path].field, fo.StringField)
    assert gold.info["saco"]["annotators"] == ["gold_a.json", "gold_b.json", "gold_c.json"]


def test_negatives_and_flags_are_kept(gold):
    document = json.loads(Path(GOLD[0]).read_text())
    known = {a["image_id"] for a in document["annotations"] if a["category_id"] < 3}
    negative = sum(image["id"] not in known for image in document["images"])
    assert len(gold.values("negatives", unwind=True)) == negative > 40
    assert gold.values("negatives", unwind=True).count("thing 0") == len(gold.match(F("negatives").contains("thing 0")))
    evaluated = OFFICIAL["gold"]["segm gold_a gold_b gold_c"]["pairs"]
    assert len(gold.values("not_exhaustive", unwind=True)) == 150 - evaluated


def test_on_the_imported_dataset_the_number_is_the_official_one(gold):
    fields = ["ground_truth", "ground_truth_2", "ground_truth_3"]
    found = evaluate_concepts(gold, "predictions", fields, progress=False)
    official = OFFICIAL["gold"]["segm gold_a gold_b gold_c"]["numbers"]
    assert found.table.cgf1().official() == pytest.approx(official, rel=0, abs=1e-9)
    assert found.notes == ("19 pairs are left out: not_exhaustive lists them",)


@pytest.mark.parametrize("iou", ["segm", "bbox"])
def test_round_trip_through_the_official_numbers(gold, tmp_path, iou):
    gold.export(export_dir=str(tmp_path), dataset_type=SACoGoldDataset, pred_field="predictions", progress=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "data", "labels.json", "labels_2.json", "labels_3.json", "predictions.json",
    ]  # fmt: skip
    files = [tmp_path / name for name in ("labels.json", "labels_2.json", "labels_3.json")]
    found = score_gold_files(files, tmp_path / "predictions.json", iou=iou).table.cgf1()
    official = OFFICIAL["gold"][f"{iou} gold_a gold_b gold_c"]["numbers"]
    assert found.official() == pytest.approx(official, rel=0, abs=1e-9)
    before, after = (json.loads(Path(path).read_text()) for path in (GOLD[1], files[1]))
    for key in ("id", "text_input", "file_name", "is_instance_exhaustive", "queried_category"):
        assert {(i["id"], i[key]) for i in before["images"]} == {(i["id"], i[key]) for i in after["images"]}


def test_what_was_exported_is_imported_again(gold, imported, tmp_path):
    gold.export(export_dir=str(tmp_path), dataset_type=SACoGoldDataset, pred_field="predictions", progress=False)
    again = imported(dataset_dir=str(tmp_path), dataset_type=SACoGoldDataset)
    assert len(again) == 50
    assert again.count("ground_truth.detections") == gold.count("ground_truth.detections")
    for one, other in zip(gold.sort_by("filepath"), again.sort_by("filepath"), strict=True):
        assert one.concepts == other.concepts and one.negatives == other.negatives
        for x, y in zip(one.ground_truth.detections, other.ground_truth.detections, strict=True):
            assert x.label == y.label and np.array_equal(x.mask, y.mask)
            assert x.bounding_box == pytest.approx(y.bounding_box)


def test_what_was_not_asked_is_not_exported(gold, tmp_path):
    from test_evaluate_concepts import asked

    asked(gold, "thing 0", "thing 1", but=3)
    fields = ["ground_truth", "ground_truth_2", "ground_truth_3"]
    expected = evaluate_concepts(gold, "sam3", fields, progress=False).table.cgf1()
    gold.export(export_dir=str(tmp_path), dataset_type=SACoGoldDataset, pred_field="sam3", progress=False)
    files = [tmp_path / name for name in ("labels.json", "labels_2.json", "labels_3.json")]
    found = score_gold_files(files, tmp_path / "predictions.json").table.cgf1()
    assert found.official() == pytest.approx(expected.official()) and 0 < found.pairs_evaluated < 30


def test_a_ledger_is_exported_with_its_negatives(new_dataset, tmp_path, media):
    from test_evaluate_concepts import A, B, asked, label, sample

    dataset = asked(
        new_dataset([
            sample([label("dog", A)], [label("dog", A, 0.9), label("cat", B, 0.8)]), sample([], []),
            sample([label("cat", B, iscrowd=True)], [label("cat", B, 0.6)]),
        ]),
        "dog", "cat",
    )  # fmt: skip
    settings = dict(exhaustive=True)
    expected = evaluate_concepts(dataset, progress=False, **settings).table.cgf1()
    for k, one in enumerate(dataset):
        one.filepath = str(tmp_path / f"{k}.png")
        Image.new("L", (20, 10)).save(one.filepath)
        one.save()
    out = tmp_path / "out"
    dataset.export(export_dir=str(out), dataset_type=SACoGoldDataset, pred_field="sam3", progress=False, **settings)
    found = score_gold_files([out / "labels.json"], out / "predictions.json").table.cgf1()
    assert found.to_dict() == expected.to_dict() and found.pairs_evaluated == 6

    # its own answers as annotations: what it was asked and did not find is a negative
    dataset.export(export_dir=str(out), dataset_type=SACoGoldDataset, gt_field="sam3", overwrite=True, progress=False)
    document = json.loads((out / "labels.json").read_text())
    held = {annotation["image_id"] for annotation in document["annotations"]}
    assert len(document["images"]) == 6 and len(held) == 3
    assert not (out / "predictions.json").exists()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (lambda d: d["images"][4].pop("file_name"), "the image with the id 1028 has no 'file_name'"),
        (lambda d: d["annotations"][0]["segmentation"].update(counts="zz"), "annotation 1 of the pair 1000 is a brok"),
        (lambda d: d["images"][0].update(height=21), "measures 20 x 40, its pair 1000 says 21 x 40"),
        (lambda d: d["images"][0].update(file_name="none.jpg"), "the image 'none.jpg' .of the pair 1000. is not in"),
    ],
)
def test_what_is_wrong_in_gold_is_named(imported, media, tmp_path, how, message):
    document = json.loads(Path(GOLD[0]).read_text())
    how(document)
    path = tmp_path / "gt.json"
    path.write_text(json.dumps(document))
    with pytest.raises(FormatError, match=message):
        imported(data_path=str(media), labels_path=str(path), dataset_type=SACoGoldDataset)


def test_missing_media_can_be_skipped(imported, media, tmp_path):
    document = json.loads(Path(GOLD[0]).read_text())
    for image in document["images"][:3]:
        image["file_name"] = "none.jpg"
    (tmp_path / "gt.json").write_text(json.dumps(document))
    settings = dict(data_path=str(media), labels_path=str(tmp_path / "gt.json"), dataset_type=SACoGoldDataset)
    assert len(imported(missing_media="skip", **settings)) == 49
    with pytest.raises(ValueError, match="missing_media is 'perhaps'"):
        SACoGoldImporter(dataset_dir="somewhere", missing_media="perhaps")
    with pytest.raises(ValueError, match="Say dataset_dir="):
        SACoGoldImporter(labels_path=GOLD[0])


def test_max_samples_and_shuffle(imported, media):
    settings = dict(data_path=str(media), labels_path=GOLD[0], dataset_type=SACoGoldDataset)
    few = imported(max_samples=7, shuffle=True, seed=3, **settings)
    assert len(few) == 7 and few.values("filepath") != imported(max_samples=7, **settings).values("filepath")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(gt_field="none"), "gt_field='none' is not a field"),
        (dict(pred_field="none"), "pred_field='none' is not a field"),
    ],
)
def test_exports_are_checked(gold, tmp_path, settings, message):
    with pytest.raises(EvaluationError, match=message):
        gold.export(export_dir=str(tmp_path / "out"), dataset_type=SACoGoldDataset, progress=False, **settings)


# --- videos ---


def test_videos_become_sequences(veval):
    document = json.loads((FILES / "veval_gt.json").read_text())
    assert len(veval) == sum(video["length"] for video in document["videos"])
    view = veval.group_by("video", order_by="frame_number")
    assert len(view) == 6
    first = veval.match((F("video_id") == 0) & (F("frame_number") == 1)).first()
    assert Path(first.filepath).parent.name == first.video == "clip-0"
    asked = [pair for pair in document["video_np_pairs"] if pair["video_id"] == 0]
    assert first.concepts == [pair["noun_phrase"] for pair in asked]
    assert first.negatives == [pair["noun_phrase"] for pair in asked if not pair["num_masklets"]]
    there = [a for a in document["annotations"] if a["video_id"] == 0 and a["segmentations"][0]]
    assert [(x.index, x.label, x.iscrowd) for x in first.ground_truth.detections] == [
        (a["id"], a["noun_phrase"], bool(a["iscrowd"])) for a in there
    ]


def test_round_trip_of_videos(veval, tmp_path):
    """Scored as in the files, but for a phrase that was never asked, and predictions that are in no frame at all."""
    view = veval.group_by("video", order_by="frame_number")
    gt, predictions = read_veval(FILES / "veval_gt.json"), read_video_predictions(FILES / "veval_pred.json")
    asked = {*gt.asked}
    kept = [p for p in predictions if (p["video_id"], p["category_id"]) in asked and any(p["segmentations"])]
    assert len(predictions) - len(kept) == 3
    expected = score_veval(gt, kept).table
    found = evaluate_concepts(view, "predictions", progress=False).table
    assert found.phota().to_dict() == expected.phota().to_dict()
    assert found.cgf1().official() == pytest.approx(expected.cgf1().official(), rel=0, abs=1e-12)

    view.export(export_dir=str(tmp_path), dataset_type=SACoVEvalDataset, pred_field="predictions", progress=False)
    out = read_veval(tmp_path / "labels.json")
    again = score_veval(out, read_video_predictions(tmp_path / "predictions.json")).table
    assert again.phota().to_dict() == expected.phota().to_dict()
    assert again.cgf1().official() == pytest.approx(expected.cgf1().official(), rel=0, abs=1e-12)
    assert {*out.asked} == asked and {c: out.phrase(c) for c in out.phrases} == {c: gt.phrase(c) for c in gt.phrases}


def test_sequences_of_equal_file_names_stay_apart(new_dataset, imported, tmp_path):
    from test_evaluate_clips import FOUND, SETTINGS, TRUTH, labels

    samples = []
    for scene in ("left", "right"):
        for folder in (tmp_path / scene / "frames",):
            folder.mkdir(parents=True)
        for t in range(4):
            path = tmp_path / scene / "frames" / f"{t}.png"
            Image.new("L", (20, 10)).save(path)
            held = dict(ground_truth=labels(TRUTH[t]), sam3=labels(FOUND[t] if scene == "left" else []))
            metadata = fo.ImageMetadata(width=20, height=10)
            samples.append(fo.Sample(filepath=str(path), metadata=metadata, scene=scene, frame_number=t, **held))
    view = new_dataset(samples).group_by("scene", order_by="frame_number")
    expected = evaluate_concepts(view, **SETTINGS).table.phota()
    view.export(
        export_dir=str(tmp_path / "out"), dataset_type=SACoVEvalDataset, pred_field="sam3", concepts=["dog", "cat"],
        exhaustive=True, progress=False,
    )  # fmt: skip
    videos = json.loads((tmp_path / "out" / "labels.json").read_text())["videos"]
    assert [video["video_name"] for video in videos] == ["frames", "frames-2"]
    again = imported(
        dataset_dir=str(tmp_path / "out"), predictions_path="predictions.json", dataset_type=SACoVEvalDataset
    )
    grouped = again.group_by("video", order_by="frame_number")
    assert len(grouped) == 2
    assert evaluate_concepts(grouped, "predictions", progress=False).table.phota().to_dict() == expected.to_dict()


def test_video_files_are_exported_too(new_dataset, tmp_path):
    from test_evaluate_clips import FOUND, FRAMES, SETTINGS, TRUTH, labels

    path = tmp_path / "film.mp4"
    path.write_bytes(b"not looked at")
    sample = fo.Sample(filepath=str(path), metadata=fo.VideoMetadata(frame_width=20, frame_height=10))
    for t in range(FRAMES):
        sample.frames[t + 1] = fo.Frame(ground_truth=labels(TRUTH[t]), sam3=labels(FOUND[t]))
    dataset, out = new_dataset([sample]), tmp_path / "out"
    dataset.export(
        export_dir=str(out), dataset_type=SACoVEvalDataset, gt_field="frames.ground_truth", pred_field="frames.sam3",
        concepts=["dog", "cat"], exhaustive=True, progress=False,
    )  # fmt: skip
    assert (out / "data" / "film.mp4").is_file()
    found = score_veval(read_veval(out / "labels.json"), read_video_predictions(out / "predictions.json")).table
    assert found.phota().to_dict() == evaluate_concepts(dataset, **SETTINGS).table.phota().to_dict()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (lambda d: d["videos"][1].pop("file_names"), "the video 1 has no 'file_names'"),
        (lambda d: d["videos"][1]["file_names"].__setitem__(2, "x.jpg"), "the frame 'x.jpg' .of the video 1. is not"),
        (lambda d: d["annotations"][0]["segmentations"].append(None), "annotation 1 does not have a segmentation"),
    ],
)
def test_what_is_wrong_in_veval_is_named(imported, media, tmp_path, how, message):
    document = copy.deepcopy(json.loads((FILES / "veval_gt.json").read_text()))
    how(document)
    path = tmp_path / "gt.json"
    path.write_text(json.dumps(document))
    with pytest.raises(FormatError, match=message):
        imported(data_path=str(media), labels_path=str(path), dataset_type=SACoVEvalDataset)


def test_images_are_no_videos(gold, veval, tmp_path):
    with pytest.raises(EvaluationError, match="holds image samples, not videos; images of a sequence: export"):
        veval.export(export_dir=str(tmp_path / "a"), dataset_type=SACoVEvalDataset, progress=False)
    gold.export(export_dir=str(tmp_path / "b"), dataset_type=SACoGoldDataset, export_media=False, progress=False)
    assert not (tmp_path / "b" / "data").exists() and (tmp_path / "b" / "labels.json").is_file()
