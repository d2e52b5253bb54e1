"""Files of SA-Co/VEval: the official numbers, whole and pair by pair, TrackEval's, and what is refused.

``golden/files/veval_*.json`` are generated: masklets that cross, exchange their identities, are away for a while (as
null, or as an empty mask that is spelled out), ghosts, crowds, negatives, and a phrase that only predictions have.
``official.json`` has what ``VideoCGF1Evaluator`` and ``VideoPhraseHotaEvaluator`` of facebookresearch/sam3 at commit
99d02f28c8d34610ab35559b72642b01f10fdb1e said about them, unchanged (numpy 1.26.4).
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from evaluation import ALPHAS, Track, count_video_pair, phota
from evaluation.__main__ import main
from evaluation.entries import FormatError
from evaluation.veval import read_veval, read_video_predictions, score_veval

FILES = Path(__file__).parent / "golden" / "files"
OFFICIAL = json.loads((FILES / "official.json").read_text())
GT, PRED = FILES / "veval_gt.json", FILES / "veval_pred.json"


@pytest.fixture(scope="module")
def score():
    return score_veval(read_veval(GT), read_video_predictions(PRED))


def test_the_command_writes_the_official_numbers(tmp_path, capsys):
    out = tmp_path / "out.json"
    assert main(["veval", "--gt", str(GT), "--pred", str(PRED), "--json", str(out)]) == 0
    written, official = json.loads(out.read_text()), OFFICIAL["veval"]
    for mine, theirs in (
        ("cgF1", "demo_cgf1_micro_50_95"), ("cgF1_50", "demo_cgf1_micro_50"), ("cgF1_75", "demo_cgf1_micro_75"),
        ("pmF1", "demo_positive_micro_f1_50_95"), ("IL_MCC", "demo_ilmcc_50_95"), ("pHOTA", "all_phrase_HOTA"),
        ("pDetA", "all_phrase_DetA"), ("pAssA", "all_phrase_AssA"),
    ):  # fmt: skip
        assert written[mine] == pytest.approx(official[f"video_mask_{theirs}"], rel=0, abs=1e-9), mine
    assert written["pairs_evaluated"] == len(OFFICIAL["veval pairs"])
    assert any("'a cup' in the video 5" in warning for warning in written["warnings"])
    assert f"pHOTA   {written['pHOTA']:7.4f}" in capsys.readouterr().out


def test_official_counts_of_every_pair(score):
    pairs = dict(zip(score.ids, score.table.counts, strict=True))
    for official in OFFICIAL["veval pairs"]:
        pair = pairs[official["video"], official["category"]]
        for name in ("tp", "fp", "fn"):
            counts = getattr(pair.volume, name)
            assert counts.mean() == pytest.approx(official[f"mask_{name.upper()}_50_95"], abs=1e-9)
            assert counts[0] == official[f"mask_{name.upper()}_50"]
        if pair.tp.any() or pair.fp.any() or pair.fn.any():  # upstream evaluates no others
            assert phota([pair]).official()["HOTA"] == pytest.approx(official["mask_HOTA"], abs=1e-9)


def test_empty_masks_that_are_spelled_out_are_objects_in_ground_truth_only(tmp_path):
    gt = json.loads(GT.read_text())
    spelled = sum(
        segmentation is not None and area == 0
        for entry in gt["annotations"]
        for segmentation, area in zip(entry["segmentations"], entry["areas"], strict=True)
    )
    assert spelled > 10
    without = copy.deepcopy(gt)
    for entry in without["annotations"]:
        entry["segmentations"] = [s if a else None for s, a in zip(entry["segmentations"], entry["areas"], strict=True)]
    path = tmp_path / "gt.json"
    path.write_text(json.dumps(without))
    found, predictions = read_veval(path), read_video_predictions(PRED)
    with_them, without_them = (score_veval(file, predictions).table.phota() for file in (read_veval(GT), found))
    assert with_them.fn[0] == without_them.fn[0] + spelled


def test_trackeval_agrees(score):
    """Its HOTA, pooled over the pairs, of the same masklets: numbers of TrackEval 1.3.0, see ``scripts/golden.py``."""
    ours, theirs = score.table.phota(), json.loads((FILES / "trackeval.json").read_text())
    for name in ("HOTA", "DetA", "AssA"):
        np.testing.assert_allclose(ours.by_alpha[f"p{name}"], theirs[name], rtol=0, atol=1e-9, err_msg=name)


def test_long_videos_are_counted():
    """More frames than pycocotools 2.0.11 measures at a time under numpy 2."""
    still = Track({t: np.ones((2, 2), bool) for t in range(600)})
    pair = count_video_pair([still], [still], 600)
    assert pair.tp.tolist() == [600] * ALPHAS.size and pair.id_switches == 0


@pytest.mark.parametrize(
    ("which", "how", "message"),
    [
        ("gt", lambda d: d["videos"][0].pop("height"), r"gt.json: videos\[0\] has no 'height'"),
        ("gt", lambda d: d["annotations"][0].update(video_id=77), r"annotations\[0\] is of the video 77, which is not"),
        ("gt", lambda d: d["annotations"][0].pop("segmentations"), r"annotations\[0\] has no 'segmentations'"),
        ("gt", lambda d: d["annotations"][0]["segmentations"].pop(), "annotation 1 has segmentations for"),
        ("gt", lambda d: d["video_np_pairs"][0].pop("category_id"), r"video_np_pairs\[0\] has no 'category_id'"),
        ("pred", lambda d: d[1].update(video_id=77), r"predictions\[1\] is of the video 77, which gt.json does"),
        ("pred", lambda d: d[1].pop("score"), r"pred.json\[1\] has no 'score'"),
        ("pred", lambda d: d[0]["segmentations"][0].update(counts="zzz"), r"predictions\[0\], frame 0 is a broken RLE"),
    ],
)
def test_what_is_wrong_is_named(which, how, message, tmp_path, capsys):
    for name, path in (("gt", GT), ("pred", PRED)):
        document = json.loads(path.read_text())
        if name == which:
            how(document)
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    with pytest.raises(FormatError, match=message):
        score_veval(read_veval(tmp_path / "gt.json"), read_video_predictions(tmp_path / "pred.json"))
    assert main(["veval", "--gt", str(tmp_path / "gt.json"), "--pred", str(tmp_path / "pred.json")]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_without_the_list_of_pairs_negatives_are_unknown(tmp_path):
    document = json.loads(GT.read_text())
    del document["video_np_pairs"]
    (tmp_path / "gt.json").write_text(json.dumps(document))
    found = score_veval(read_veval(tmp_path / "gt.json"), read_video_predictions(PRED))
    assert "which phrases were asked and are absent is not known" in found.warnings[0]
    pairs = score_veval(read_veval(GT), read_video_predictions(PRED)).table
    assert len(found.table) < len(pairs) and found.table.cgf1().IL_TN < pairs.cgf1().IL_TN
