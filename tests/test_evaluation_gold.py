"""Files of SA-Co/Gold: the official numbers, what is refused, and what does not matter.

``golden/files`` holds generated files: three annotators of 150 pairs who disagree, with crowds, exact thresholds, ties,
duplicates, empty masks, pairs that are not exhaustive, and predictions of pairs and categories that are not there.
``official.json`` there has what ``CGF1Evaluator`` of facebookresearch/sam3 at commit
99d02f28c8d34610ab35559b72642b01f10fdb1e said about them, unchanged (numpy 1.26.4, scipy 1.17.1, pycocotools 2.0.11).
``scripts/golden.py`` makes both.
"""

from __future__ import annotations

import copy
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from support.sandbox import REPOSITORY

from evaluation import cgf1, count_pair, place_mask
from evaluation.__main__ import main
from evaluation.batch import count_masks
from evaluation.entries import FormatError, check_rles
from evaluation.gold import read_gold, read_predictions
from evaluation.gold_score import score_gold, score_gold_files
from evaluation.report import report
from scripts import golden

FILES = Path(__file__).parent / "golden" / "files"
OFFICIAL = json.loads((FILES / "official.json").read_text())["gold"]
GT, PRED = FILES / "gold_a.json", FILES / "gold_pred.json"


def said(name: str) -> tuple[str, list[str]]:
    """What was evaluated: the kind of IoU, and the files in their order."""
    iou, *files = name.split()
    return iou, [str(FILES / f"{file}.json") for file in files]


@pytest.fixture(scope="module")
def documents() -> dict[str, Any]:
    return {"gt": json.loads(GT.read_text()), "pred": json.loads(PRED.read_text())}


@pytest.fixture
def changed(documents, tmp_path) -> Callable[..., Path]:
    """Writes a copy of a file after a change to it."""

    def change(which: str, how: Callable[[Any], None]) -> Path:
        document = copy.deepcopy(documents[which])
        how(document)
        path = tmp_path / f"{which}.json"
        path.write_text(json.dumps(document))
        return path

    return change


# --- the official numbers ---


@pytest.mark.parametrize("name", OFFICIAL)
def test_official_numbers(name):
    (iou, files), official = said(name), OFFICIAL[name]
    score = score_gold_files(files, PRED, iou=iou)
    ours = score.table.cgf1()
    assert ours.official() == pytest.approx(official["numbers"], rel=0, abs=1e-9)
    assert ours.pairs_evaluated == official["pairs"]
    for mine, theirs in (("tp", "TPs"), ("fp", "FPs"), ("pm_fp", "positive_micro_FPs"), ("fn", "FNs")):
        assert getattr(ours, mine).tolist() == official["counts"][theirs]


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_command_prints_and_writes_them(name, tmp_path, capsys):
    (iou, files), official = said(name), OFFICIAL[name]["numbers"]
    out = tmp_path / "out.json"
    assert main(["gold", "--gt", *files, "--pred", str(PRED), "--iou", iou, "--json", str(out)]) == 0
    written = json.loads(out.read_text())
    for mine, theirs in (
        ("cgF1", "cgF1"), ("cgF1_50", "cgF1@0.5"), ("cgF1_75", "cgF1@0.75"), ("pmF1", "positive_micro_F1"),
        ("IL_MCC", "IL_MCC"), ("positive_macro_F1", "positive_macro_F1"), ("IL_precision", "IL_precision"),
        ("IL_recall", "IL_recall"), ("IL_FPR", "IL_FPR"),
    ):  # fmt: skip
        assert written[mine] == pytest.approx(official[theirs], rel=0, abs=1e-9), mine
    assert written["counts"]["TP"] == OFFICIAL[name]["counts"]["TPs"]
    assert written["counts"]["FP"] == OFFICIAL[name]["counts"]["FPs"]
    assert sum(written["counts"][f"IL_{k}"] for k in ("TP", "FP", "TN", "FN")) == written["pairs_evaluated"]
    assert any("999999" in warning for warning in written["warnings"])
    printed = capsys.readouterr().out
    assert f"{official['cgF1']:.4f}" in printed and f"{official['IL_MCC']:.4f}" in printed


def test_the_order_of_annotators_matters_as_it_does_officially():
    one, other = "segm gold_a gold_b gold_c", "segm gold_c gold_b gold_a"
    assert OFFICIAL[one]["numbers"]["cgF1"] != OFFICIAL[other]["numbers"]["cgF1"]
    assert OFFICIAL[one]["numbers"]["cgF1"] > OFFICIAL["segm gold_a"]["numbers"]["cgF1"]


def test_the_generated_files_are_those_of_the_script(tmp_path, monkeypatch):
    monkeypatch.setattr(golden, "FOLDER", tmp_path)
    golden.write_cases()
    assert len(list(tmp_path.iterdir())) == 6
    for path in tmp_path.iterdir():
        assert json.loads(path.read_text()) == json.loads((FILES / path.name).read_text()), path.name


# --- what does not matter ---


def test_the_order_of_pairs_and_entries_does_not_matter(documents, changed):
    def shuffle(document):
        shuffled = random.Random(3)
        shuffled.shuffle(document["images"])
        held = document["annotations"]
        order = list({entry["image_id"] for entry in held})
        shuffled.shuffle(order)
        held[:] = [entry for pair in order for entry in held if entry["image_id"] == pair]

    before, after = (score_gold_files([path], PRED).table.cgf1() for path in (GT, changed("gt", shuffle)))
    assert before.official() == pytest.approx(after.official(), abs=1e-12)
    assert before.tp.tolist() == after.tp.tolist()


def test_a_perfect_prediction_is_perfect(documents, tmp_path):
    gt = documents["gt"]
    crowded = {entry["image_id"] for entry in gt["annotations"] if entry["iscrowd"]}
    empty = {
        entry["image_id"] for entry in gt["annotations"] if not np.any(coco_mask.area(mask_of(entry["segmentation"])))
    }
    perfect = [{**e, "score": 1.0} for e in gt["annotations"] if e["image_id"] not in crowded | empty]
    keep = [image for image in gt["images"] if image["id"] not in crowded | empty]
    (tmp_path / "gt.json").write_text(json.dumps({**gt, "images": keep, "annotations": perfect}))
    (tmp_path / "pred.json").write_text(json.dumps(perfect))
    found = score_gold_files([tmp_path / "gt.json"], tmp_path / "pred.json").table.cgf1()
    assert found.IL_MCC == pytest.approx(1, abs=1e-6) and found.cgF1 == pytest.approx(1, abs=1e-3)
    assert found.fp.sum() == found.fn.sum() == 0


def mask_of(segmentation):
    return coco_mask.frPyObjects(segmentation, 20, 40) if isinstance(segmentation["counts"], list) else segmentation


def test_phrases_by_themselves_add_up_to_the_whole():
    table = score_gold_files([GT], PRED).table
    parts = table.by("concept")
    assert sum(len(part) for part in parts.values()) == len(table)
    assert sum(part.cgf1().tp for part in parts.values()).tolist() == table.cgf1().tp.tolist()
    frame = table.to_pandas()
    assert list(frame.index) == list(parts) and frame.pairs.sum() == len(table)


# --- crowds ---


def test_crowds_that_are_ignored_forgive_what_lies_in_them():
    strict, lenient = (score_gold_files([GT], PRED, crowd=crowd).table.cgf1() for crowd in ("official", "ignore"))
    assert lenient.tp.tolist() == strict.tp.tolist() and lenient.fp[0] < strict.fp[0]
    assert lenient.IL_TP + lenient.IL_FN > strict.IL_TP + strict.IL_FN  # a crowd does mean that it is there


@pytest.mark.parametrize("crowd", ["official", "ignore"])
def test_many_at_once_are_counted_as_one_by_one(documents, crowd):
    gt, found = documents["gt"], documents["pred"]
    score = score_gold([read_gold(GT)], read_predictions(PRED), crowd=crowd)
    for pair, counted in zip(score.ids, score.table.counts, strict=True):
        mine = [e for e in found if e["image_id"] == pair and e["category_id"] in (1, 2)]
        theirs = [e for e in gt["annotations"] if e["image_id"] == pair and e["category_id"] in (1, 2)]
        mine, theirs = (sorted(side, key=lambda e: e["category_id"]) for side in (mine, theirs))
        alone = count_pair(
            [mask_of(e["segmentation"]) for e in theirs], [e["segmentation"] for e in mine], [e["score"] for e in mine],
            gt_crowd=[e["iscrowd"] for e in theirs], crowd="drop" if crowd == "official" else "ignore",
        )  # fmt: skip
        for name in ("tp", "fp", "fn", "has_gt", "has_pred"):
            assert np.array_equal(getattr(alone, name), getattr(counted, name)), (pair, name)


rectangles = st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 4), st.integers(0, 4))


@given(st.lists(st.tuples(st.lists(rectangles, max_size=3), st.lists(rectangles, max_size=3)), min_size=1, max_size=5))
def test_matching_many_is_matching_one_by_one(pairs):
    drawn = [
        tuple([place_mask(np.ones((h, w), bool), (x, y), (7, 7)) for x, y, w, h in side] for side in pair)
        for pair in pairs
    ]
    rles = [rle for found, truth in drawn for rle in (*found, *truth)]
    predictions, objects = (np.array([len(pair[k]) for pair in drawn], dtype=np.intp) for k in (0, 1))
    first = np.cumsum(predictions + objects) - predictions - objects
    many = count_masks(rles, check_rles(rles, str), first, predictions, objects)
    for k, (found, truth) in enumerate(drawn):
        alone = count_pair(truth, found, np.ones(len(found)))
        assert many[k].tp.tolist() == alone.tp.tolist() and many[k].fn.tolist() == alone.fn.tolist()


# --- broken masks ---


def runs_of(counts: bytes) -> list[int] | None:
    """A compressed RLE by the book, slowly; None if it is none."""
    runs, at = [], 0
    while at < len(counts):
        value, place, more = 0, 0, True
        while more:
            if at >= len(counts) or not 48 <= counts[at] <= 111 or place > 6:
                return None
            letter = counts[at] - 48
            value |= (letter & 31) << 5 * place
            more, at, place = bool(letter & 32), at + 1, place + 1
            if not more and letter & 16:
                value -= 1 << 5 * place
        runs.append(value + runs[-2] if len(runs) > 2 else value)
    return runs if runs and min(runs) >= 0 else None


@given(st.lists(st.binary(max_size=8), max_size=6), st.lists(rectangles, max_size=4), st.integers(0, 3))
def test_what_fills_its_image_is_a_mask_and_nothing_else_is(strange, boxes, bits):
    masks = [place_mask(np.ones((h, w), bool), (x, y), (7, 9)) for x, y, w, h in boxes]
    damaged = [{**m, "counts": m["counts"][:k] + b"2" + m["counts"][k + 1 :]} for k, m in enumerate(masks)]
    letters = [{"size": [7, 9], "counts": bytes(48 + b % 64 if bits else b for b in c)} for c in strange]
    for rle in [*masks, *damaged, *letters]:
        runs = runs_of(rle["counts"])
        if runs is not None and sum(runs) == 63:
            measured = check_rles([rle], str)
            inside = np.flatnonzero(coco_mask.decode(rle).any(axis=0))
            assert measured.area.tolist() == [sum(runs[1::2])]
            assert measured.left.tolist() == [inside[0] if inside.size else 0]
            assert measured.right.tolist() == [inside[-1] + 1 if inside.size else 0]
        else:
            with pytest.raises(FormatError, match="17 is a broken RLE"):
                check_rles([rle], lambda place: f"{place + 17}")


def test_masks_of_all_sizes_are_measured():
    rng = np.random.default_rng(0)
    drawn = [(rng.random((int(rng.integers(1, 60)), int(rng.integers(1, 60)))) < rng.random()) for _ in range(700)]
    rles = [coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in drawn]
    rles = [{"size": list(rle["size"]), "counts": rle["counts"]} for rle in rles]
    assert check_rles(rles, str).area.tolist() == [int(mask.sum()) for mask in drawn]
    for rle in rles[:50]:
        with pytest.raises(FormatError):
            check_rles([{**rle, "size": [rle["size"][0] + 1, rle["size"][1]]}], str)


# --- what is refused ---


def first_image(key: str) -> Callable[[Any], None]:
    return lambda document: document["images"][3].pop(key)


@pytest.mark.parametrize(
    ("which", "how", "message"),
    [
        ("gt", first_image("is_instance_exhaustive"), r"images\[3\] has no 'is_instance_exhaustive'; it has the keys"),
        ("gt", first_image("id"), r"images\[3\] has no 'id'"),
        ("gt", lambda d: d.pop("categories"), "has no list 'categories'; it holds the keys"),
        ("gt", lambda d: d.update(images=[]), "images is empty"),
        ("gt", lambda d: d["images"].append(d["images"][0]), r"images\[150\] has the id 1000, which an earlier"),
        ("gt", lambda d: d["annotations"][0].pop("segmentation"), "gt.json: annotation 1 of the pair 1000 has no"),
        ("gt", lambda d: d["annotations"][0]["segmentation"].update(counts="0"), "annotation 1 of the pair 1000 is a"),
        ("gt", lambda d: d["annotations"][0]["segmentation"].update(size=[9, 9]), r"has the size \[9, 9\]; its image"),
        ("gt", lambda d: [image.update(is_instance_exhaustive=0) for image in d["images"]], "no pair that is instance"),
        ("gt", lambda d: d["annotations"].insert(0, "mask"), r"annotations\[0\] is a str; want a dictionary"),
        ("pred", lambda d: d[2].pop("score"), r"pred.json\[2\] has no 'score'"),
        ("pred", lambda d: d[2].update(score="high"), r"pred.json\[2\]: 'score' is 'high'; want a number"),
        ("pred", lambda d: d[2].update(score=float("nan")), r"pred.json\[2\]: 'score' is nan; want a number"),
        ("pred", lambda d: d[2].update(image_id="x"), r"pred.json\[2\]: 'image_id' is 'x'; want a whole number"),
        ("pred", lambda d: d[0].pop("segmentation"), r"predictions\[0\] \(of the pair 1000\) has no 'segmentation'"),
        ("pred", lambda d: d[0]["segmentation"].update(counts="`zzz"), r"predictions\[0\] .* is a broken RLE"),
        ("pred", lambda d: d[0]["segmentation"].update(counts=[3]), r"predictions\[0\] .* has runs of 3 pixels"),
        ("pred", lambda d: [e.update(image_id=7) for e in d], r"None of the 317 predictions is of a pair that gold_a"),
        ("pred", lambda d: d[0].update(segmentation=7), r"predictions\[0\] .* is no mask"),
    ],
)
def test_what_is_wrong_is_named(which, how, message, changed, capsys):
    paths = {"gt": GT, "pred": PRED, which: changed(which, how)}
    with pytest.raises(FormatError, match=message):
        score_gold_files([paths["gt"]], paths["pred"])
    assert main(["gold", "--gt", str(paths["gt"]), "--pred", str(paths["pred"])]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_a_pair_that_an_annotator_lacks_is_named(changed, documents):
    def lose(document):
        document["images"] = [image for image in document["images"] if image["id"] != 1000]

    with pytest.raises(FormatError, match=r"gt.json lacks the pair 1000 \('thing 0'\), which gold_b.json has"):
        score_gold_files([FILES / "gold_b.json", changed("gt", lose)], PRED)


def test_polygons_and_boxes_are_read(tmp_path):
    square = [[0, 0, 4, 0, 4, 4, 0, 4]]
    pair = {"id": 1, "is_instance_exhaustive": 1, "height": 8, "width": 8}
    truth = {"image_id": 1, "category_id": 1, "segmentation": square, "bbox": [0, 0, 0.5, 0.5], "iscrowd": 0}
    gt = {"images": [pair], "annotations": [truth], "categories": [{"id": 1}]}
    (tmp_path / "gt.json").write_text(json.dumps(gt))
    (tmp_path / "pred.json").write_text(json.dumps([{**truth, "score": 0.9}]))
    for iou in ("segm", "bbox"):
        found = score_gold_files([tmp_path / "gt.json"], tmp_path / "pred.json", iou=iou).table
        assert found.cgf1().tp.tolist() == [1] * 10
    warnings = report(found)["warnings"]
    assert warnings == ["no negative pairs: IL_MCC is undefined; read pmF1 (IL_MCC and cgF1 are 0, as upstream)"]


def test_the_command_says_what_it_cannot_read(tmp_path, capsys):
    (tmp_path / "no.json").write_text("{")
    for gt, message in ((tmp_path / "none.json", "There is no file"), (tmp_path / "no.json", "is no JSON")):
        assert main(["gold", "--gt", str(gt), "--pred", str(PRED)]) == 2
        assert message in capsys.readouterr().err
    out = str(tmp_path / "nowhere" / "out.json")
    assert main(["gold", "--gt", str(GT), "--pred", str(PRED), "--json", out]) == 2
    assert "There is no folder" in capsys.readouterr().err


def test_undefined_numbers_are_null_and_the_official_ones_stand_beside(tmp_path):
    (tmp_path / "pred.json").write_text("[]")
    out = tmp_path / "out.json"
    main(["gold", "--gt", str(GT), "--pred", str(tmp_path / "pred.json"), "--json", str(out)])
    written = json.loads(out.read_text())
    assert written["positive_macro_F1"] is None and written["official"]["positive_macro_F1"] == -1
    assert written["cgF1"] == 0 and any("no predictions" in warning for warning in written["warnings"])


def test_cgf1_takes_columns_as_it_takes_pairs():
    columns = score_gold_files([GT], PRED).table.counts
    assert cgf1(columns).to_dict() == cgf1(list(columns)).to_dict()


def test_the_command_needs_neither_fiftyone_nor_torch():
    """In a process of its own, where importing either is an error."""
    script = (
        "import sys\n"
        "class Refuses:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('fiftyone', 'torch', 'transformers', 'pandas', 'matplotlib'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Refuses())\n"
        "from evaluation.__main__ import main\n"
        f"sys.exit(main(['gold', '--gt', {str(GT)!r}, '--pred', {str(PRED)!r}, '--intervals', '20']))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "95 % of resamples" in done.stdout
