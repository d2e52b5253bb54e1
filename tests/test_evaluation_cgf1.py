"""cgF1 against the official numbers, at its edges, and its invariants.

``golden/cgf1.json`` holds generated cases only: masks of a few pixels as COCO RLEs, scores, crowd flags. The
numbers in it were printed by ``CGF1Evaluator`` of facebookresearch/sam3 at commit
99d02f28c8d34610ab35559b72642b01f10fdb1e (``sam3/eval/cgf1_eval.py``, run unchanged with pycocotools 2.0.11,
scipy 1.17.1, numpy 2.4.6): "official" is what ``evaluate`` returns without the prefix ``cgF1_eval_segm_``,
"by_iou" its ``eval`` arrays (null: NaN), "il_counts" the image-level TP, FP, TN, FN. In every case each pair
is one image of a COCO file, instance-exhaustive, category 1; "threshold" is the evaluator's own, 0.5 but for one case.
In "order_decides" several assignments have the same total and scipy's choice among them counts: if only that case
fails after an upgrade of scipy, upstream's numbers have moved with it.
"""

from __future__ import annotations

import json
import math
import pickle
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from evaluation import CGF1, IOU_THRESHOLDS, PairCounts, cgf1, count_pair, encode_masks, mask_iou

GOLDEN = json.loads((Path(__file__).parent / "golden" / "cgf1.json").read_text())

LEFT, RIGHT, NOTHING = np.zeros((3, 4, 4), dtype=bool)
LEFT[:, :2], RIGHT[:, 2:] = True, True


def counts(tp: int, fp: int, fn: int) -> PairCounts:
    """A pair with the same counts at every threshold."""
    return PairCounts(*(np.full(10, n) for n in (tp, fp, fn)), has_gt=tp + fn > 0, has_pred=tp + fp > 0)


HIT, MISS, MADE_UP, SILENCE = counts(1, 0, 0), counts(0, 0, 1), counts(0, 1, 0), counts(0, 0, 0)


def evaluate(case: dict) -> CGF1:
    def rles(masks: list[str]) -> list[dict]:
        return [{"size": case["size"], "counts": mask} for mask in masks]

    return cgf1(
        count_pair(rles(p["gt"]), rles(p["pred"]), p["scores"], threshold=case["threshold"], gt_crowd=p.get("crowd"))
        for p in case["pairs"]
    )


# --- the official numbers ---


@pytest.mark.parametrize("name", GOLDEN)
def test_official_numbers(name: str) -> None:
    case, ours = GOLDEN[name], evaluate(GOLDEN[name])
    assert ours.official() == pytest.approx(case["official"], rel=0, abs=1e-9)
    assert ours.pairs_evaluated == len(case["pairs"])
    assert [ours.IL_TP, ours.IL_FP, ours.IL_TN, ours.IL_FN] == case["il_counts"]

    official = {k: np.array(v, dtype=float) for k, v in case["by_iou"].items()}
    for theirs, mine in (
        ("TPs", ours.tp),
        ("FPs", ours.fp),
        ("positive_micro_FPs", ours.pm_fp),
        ("FNs", ours.fn),
    ):
        np.testing.assert_array_equal(mine, official[theirs], err_msg=theirs)
    for key in ("cgF1", "positive_macro_F1"):
        np.testing.assert_allclose(ours.by_iou[key], official[key], rtol=0, atol=1e-9, err_msg=key)


@pytest.mark.parametrize("name", GOLDEN)
def test_headline_numbers_are_the_official_ones_even_where_undefined(name: str) -> None:
    official, ours = GOLDEN[name]["official"], evaluate(GOLDEN[name])
    assert [
        ours.cgF1,
        ours.cgF1_50,
        ours.cgF1_75,
        ours.pmF1,
        ours.pmF1_50,
        ours.pmF1_75,
        ours.IL_MCC,
    ] == pytest.approx(
        [official[k + at] for k in ("cgF1", "positive_micro_F1") for at in ("", "@0.5", "@0.75")]
        + [official["IL_MCC"]],
        rel=0,
        abs=1e-9,
    )


def test_golden_cases_reach_the_corners() -> None:
    official = {name: case["official"] for name, case in GOLDEN.items()}
    assert official["no_negatives"]["cgF1"] == 0 < official["no_negatives"]["positive_micro_F1"]
    assert official["inverted"]["cgF1"] < 0
    assert official["no_predictions"]["positive_macro_F1"] == -1
    assert any(0 < pair["scores"].count(0.5) for pair in GOLDEN["mixed"]["pairs"])


# --- one pair ---


@pytest.mark.parametrize(
    ("gt", "pred", "scores", "tp", "fp", "fn"),
    [
        ([], [], [], 0, 0, 0),
        ([LEFT], [], [], 0, 0, 1),
        ([], [LEFT], [0.5], 0, 1, 0),
        ([], [LEFT], [np.nextafter(0.5, 0)], 0, 0, 0),
        ([LEFT], [LEFT], [0.5], 1, 0, 0),
        ([LEFT], [LEFT, LEFT], [0.9, 0.9], 1, 1, 0),
        ([LEFT, LEFT], [LEFT], [0.9], 1, 0, 1),
        ([LEFT], [LEFT, RIGHT], [0.4, 0.9], 0, 1, 1),
        ([LEFT, RIGHT], [RIGHT, LEFT], [0.9, 0.8], 2, 0, 0),
        ([NOTHING], [NOTHING], [0.9], 0, 1, 1),
    ],
)
def test_one_pair(gt, pred, scores, tp, fp, fn) -> None:
    pair = count_pair(gt, pred, scores)
    for got, want in ((pair.tp, tp), (pair.fp, fp), (pair.fn, fn)):
        assert got.dtype == np.int64
        assert got.tolist() == [want] * 10
    assert (pair.has_gt, pair.has_pred) == (tp + fn > 0, tp + fp > 0)


@pytest.mark.parametrize("pixels", range(10, 20))
def test_iou_equal_to_the_threshold_counts(pixels: int) -> None:
    gt = np.ones((1, 4, 5), dtype=bool)
    pred = (np.arange(20) < pixels).reshape(1, 4, 5)
    assert count_pair(gt, pred, [1.0]).tp.sum() == pixels - 9


CORNER = np.zeros((4, 4), dtype=bool)
CORNER[:2, :2] = True  # lies wholly in LEFT
ACROSS = np.zeros((4, 4), dtype=bool)
ACROSS[0, :3] = True  # two thirds of it lie in LEFT


@pytest.mark.parametrize(
    ("gt", "flags", "pred", "drop", "ignore"),
    [  # (tp, fp, fn at .50, fp at .95, has_gt)
        ([LEFT], [1], [CORNER], (0, 1, 0, 1, False), (0, 0, 0, 0, True)),
        ([LEFT], [1], [CORNER, CORNER, LEFT], (0, 3, 0, 3, False), (0, 0, 0, 0, True)),
        ([LEFT], [1], [ACROSS], (0, 1, 0, 1, False), (0, 0, 0, 1, True)),
        ([LEFT], [1], [RIGHT], (0, 1, 0, 1, False), (0, 1, 0, 1, True)),
        ([LEFT], [1], [], (0, 0, 0, 0, False), (0, 0, 0, 0, True)),
        ([LEFT, RIGHT], [1, 0], [CORNER, RIGHT], (1, 1, 0, 1, True), (1, 0, 0, 0, True)),
        ([LEFT, CORNER], [1, 0], [CORNER], (1, 0, 0, 0, True), (1, 0, 0, 0, True)),
        ([LEFT], [0], [CORNER], (1, 0, 0, 1, True), (1, 0, 0, 1, True)),
    ],
)
def test_crowds(gt, flags, pred, drop, ignore) -> None:
    for crowd, want in (("drop", drop), ("ignore", ignore)):
        pair = count_pair(gt, pred, [0.9] * len(pred), gt_crowd=flags, crowd=crowd)
        assert (pair.tp[0], pair.fp[0], pair.fn[0], pair.fp[-1], pair.has_gt) == want, crowd


def test_a_pair_of_crowds_only_does_not_lower_the_macro_f1() -> None:
    crowd = count_pair([LEFT], [CORNER], [0.9], gt_crowd=[True], crowd="ignore")
    assert cgf1([HIT, crowd, SILENCE]).positive_macro_F1 == pytest.approx(cgf1([HIT, SILENCE]).positive_macro_F1)
    assert cgf1([HIT, crowd, SILENCE]).IL_TP == 2


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        (([LEFT], [LEFT], [0.9, 0.8]), {}, r"pred_scores has shape \(2,\); want \(1,\)"),
        (([LEFT], [LEFT], [math.nan]), {}, r"pred_scores\[0\] is NaN"),
        (([LEFT], [LEFT], [0.9]), {"threshold": math.nan}, "threshold is nan"),
        (([LEFT], [LEFT], [0.9]), {"crowd": "keep"}, "crowd is 'keep'"),
        (([LEFT], [LEFT], [0.9]), {"gt_crowd": [0, 1]}, r"gt_crowd has shape \(2,\); want \(1,\)"),
        (([LEFT], [np.ones((5, 5), bool)], [0.9]), {}, r"pred_masks have size \[5, 5\], gt_masks \[4, 4\]"),
    ],
)
def test_count_pair_refuses(arguments, keywords, message) -> None:
    with pytest.raises(ValueError, match=message):
        count_pair(*arguments, **keywords)


def test_pair_counts_refuse_what_cannot_be() -> None:
    zero, one = np.zeros(10, int), np.ones(10, int)
    with pytest.raises(ValueError, match="fp is .*; want 10 counts"):
        PairCounts(zero, -one, zero, has_gt=False, has_pred=True)
    with pytest.raises(ValueError, match="tp is .*; want 10 counts"):
        PairCounts(zero[:3], zero, zero, has_gt=False, has_pred=True)
    with pytest.raises(ValueError, match="has_gt is False"):
        PairCounts(zero, zero, one, has_gt=False, has_pred=False)
    with pytest.raises(ValueError, match="has_pred is False"):
        PairCounts(zero, one, zero, has_gt=False, has_pred=False)


# --- many pairs: what is undefined ---


@pytest.mark.parametrize(
    ("pairs", "undefined", "warnings"),
    [
        ([HIT, MISS, MADE_UP, SILENCE], [], []),
        ([HIT, MISS], ["IL_FPR"], ["no negative pairs: IL_MCC is undefined; read pmF1"]),
        (
            [MADE_UP, SILENCE],
            ["recall", "positive_macro_F1", "pmP", "IL_recall"],
            ["no positive pairs", "no pair has both"],
        ),
        (
            [MISS, SILENCE],
            ["precision", "positive_macro_F1", "pmP", "IL_precision"],
            ["no predictions", "no pair has both"],
        ),
        (
            [SILENCE],
            ["precision", "recall", "F1", "positive_macro_F1", "pmP", "IL_precision", "IL_recall", "IL_F1"],
            ["no positive pairs", "no predictions", "no pair has both"],
        ),
        ([HIT, MADE_UP], [], ["every pair has a prediction: IL_MCC is undefined"]),
        ([MISS, MADE_UP], ["positive_macro_F1", "pmP"], ["no pair has both"]),
    ],
)
def test_undefined_is_nan_with_a_reason(pairs, undefined, warnings) -> None:
    result = cgf1(pairs)
    scalars = [name for name, value in result.to_dict().items() if value is None]
    assert sorted(scalars) == sorted(undefined)
    assert all(math.isnan(getattr(result, name)) for name in undefined)
    assert len(result.warnings) == len(warnings)
    assert all(got.startswith(want) for got, want in zip(result.warnings, warnings, strict=True))
    assert not any(math.isnan(value) for value in result.official().values())
    assert ("IL_MCC is undefined" in " ".join(result.warnings)) <= (result.IL_MCC == 0)


def test_nothing_to_evaluate() -> None:
    with pytest.raises(ValueError, match="pairs is empty"):
        cgf1([])
    with pytest.raises(TypeError, match=r"pairs\[1\] is a tuple; want PairCounts"):
        cgf1([HIT, (1, 0, 0)])


def test_result_prints_serialises_and_selects() -> None:
    result = cgf1([HIT, MISS])
    assert "warning: no negative pairs" in str(result)
    assert "FPR nan" in str(result)
    data = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert data["IL_FPR"] is None
    assert data["tp"] == [1] * 10
    assert data["pmF1"] == result.pmF1
    assert result.at("pmF1", 0.9) == result.by_iou["pmF1"][8]
    assert str(pickle.loads(pickle.dumps(result))) == str(result)
    with pytest.raises(ValueError, match=r"iou is 0.52; want one of \[0.5, 0.55"):
        result.at("pmF1", 0.52)
    with pytest.raises(ValueError, match="name is 'mAP'; want one of"):
        result.at("mAP")
    with pytest.raises(AttributeError):
        result.IL_MCC = 1.0


# --- invariants ---

pair_counts = st.builds(counts, *(st.integers(0, 4) for _ in range(3)))


@given(st.lists(pair_counts, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_the_order_of_pairs_does_not_matter(pairs, random) -> None:
    shuffled = random.sample(pairs, len(pairs))
    assert cgf1(shuffled).official() == pytest.approx(cgf1(pairs).official(), rel=1e-12, abs=1e-12)
    assert cgf1(shuffled).warnings == cgf1(pairs).warnings


@given(st.lists(pair_counts, min_size=1, max_size=12))
def test_counts_add_up_and_values_stay_in_range(pairs) -> None:
    result = cgf1(pairs)
    assert result.IL_TP + result.IL_FP + result.IL_TN + result.IL_FN == result.pairs_evaluated == len(pairs)
    assert result.IL_TP + result.IL_FN == sum(pair.has_gt for pair in pairs)
    assert (result.pm_fp <= result.fp).all()
    assert -1 <= result.cgF1 <= 1
    assert result.cgF1 == pytest.approx(result.pmF1 * result.IL_MCC, abs=1e-12)
    assert all(np.isnan(v).all() or ((v >= 0) & (v < 1)).all() for k, v in result.by_iou.items() if k != "cgF1")


strips = st.tuples(st.integers(0, 11), st.integers(1, 12)).map(lambda s: (np.arange(12) - s[0]) % 12 < s[1])
scenes = st.tuples(st.lists(strips, max_size=4), st.lists(strips, max_size=4)).map(
    lambda scene: tuple(np.array(side, dtype=bool).reshape(-1, 1, 12) for side in scene)
)


@given(scenes)
def test_arrays_and_rles_count_the_same(scene) -> None:
    gt, pred = scene
    scores = np.linspace(0.3, 1, len(pred))
    one, other = count_pair(gt, pred, scores), count_pair(encode_masks(gt), encode_masks(pred), scores)
    assert [one.tp.tolist(), one.fp.tolist(), one.fn.tolist()] == [
        other.tp.tolist(),
        other.fp.tolist(),
        other.fn.tolist(),
    ]


def outcomes(iou: np.ndarray) -> set[tuple[int, ...]]:
    """The hits per threshold of every assignment whose total is (nearly) the largest, by trying them all."""
    wide = iou if iou.shape[0] <= iou.shape[1] else iou.T
    picks = [wide[np.arange(len(wide)), list(order)] for order in permutations(range(wide.shape[1]), len(wide))]
    best = max(pick.sum() for pick in picks)
    return {tuple((p[:, None] >= IOU_THRESHOLDS).sum(0).tolist()) for p in picks if p.sum() > best - 1e-12}


@given(scenes)
def test_the_assignment_has_the_largest_total(scene) -> None:
    gt, pred = scene
    assert tuple(count_pair(gt, pred, np.ones(len(pred))).tp.tolist()) in outcomes(mask_iou(pred, gt))


@given(scenes, st.randoms(use_true_random=False))
def test_the_order_of_predictions_does_not_matter_unless_totals_tie(scene, random) -> None:
    gt, pred = scene
    scores = np.array(random.sample([0.2, 0.5, 0.6, 0.9], len(pred)))
    assume(len(outcomes(mask_iou(pred[scores >= 0.5], gt))) == 1)
    order = random.sample(range(len(pred)), len(pred))
    one, other = count_pair(gt, pred, scores), count_pair(gt, pred[order], scores[order])
    assert [one.tp.tolist(), one.fp.tolist(), one.fn.tolist()] == [
        other.tp.tolist(),
        other.fp.tolist(),
        other.fn.tolist(),
    ]


@given(st.lists(st.lists(strips, min_size=1, max_size=4), min_size=1, max_size=6), st.integers(1, 6))
def test_perfect_predictions_score_one_up_to_epsilon(positives, negatives) -> None:
    sets = [np.unique(np.array(masks).reshape(-1, 1, 12), axis=0) for masks in positives]
    result = cgf1([count_pair(m, m, np.full(len(m), 0.9)) for m in sets] + [SILENCE] * negatives)
    assert result.pmF1 == pytest.approx(1, abs=2e-4)
    assert result.IL_MCC == pytest.approx(1, abs=2e-6)
    assert result.cgF1 == pytest.approx(1, abs=2e-4)
    assert result.positive_macro_F1 == pytest.approx(1, abs=2e-4)
    assert result.warnings == ()


@given(scenes, st.floats(0, 1), st.floats(0, 1))
def test_a_higher_threshold_never_keeps_more(scene, low, high) -> None:
    gt, pred = scene
    low, high = sorted((low, high))
    scores = np.linspace(0, 1, len(pred))
    kept = [(p := count_pair(gt, pred, scores, threshold=t)).tp[0] + p.fp[0] for t in (low, high)]
    assert kept[0] >= kept[1]
