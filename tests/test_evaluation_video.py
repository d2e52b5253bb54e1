"""Video metrics against the official numbers, at their edges, and their invariants.

The masklets of ``CASES`` live in a world of one dimension, 40 pixels wide, and are written down below. The numbers in
``GOLDEN`` were printed by the evaluators of facebookresearch/sam3 at commit 99d02f28c8d34610ab35559b72642b01f10fdb1e
(``VideoPhraseHotaEvaluator`` and ``VideoCGF1Evaluator`` of ``sam3/eval/saco_veval_evaluators.py``, with numpy 1.26.4,
pycocotools 2.0.11, scipy 1.17.1; only the process pool was replaced by a loop), given these masklets as YTVIS files, a
video per pair. "tp", "fp", "fn" are its HOTA_TP (19 alphas), HOTA_FP and HOTA_FN (at alpha .05), "volume_…" the TPs (10
thresholds), FPs and FNs (at .50) of its cgF1. "id_switches" are IDSW of CLEAR in TrackEval 1.3.0 from PyPI, threshold
0.5, for the predictions above 0.5, summed over pairs; its HOTA agrees with all the above.
"""

from __future__ import annotations

import json
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation import (
    ALPHAS,
    PHOTA,
    PairCounts,
    Track,
    VideoPairCounts,
    cgf1,
    count_video_pair,
    encode_masks,
    phota,
    volume_iou,
)

WIDTH = 40


def strip(start: int, stop: int) -> np.ndarray:
    """(1, 40) with the pixels start ≤ x < stop."""
    x = np.arange(WIDTH)
    return ((x >= start) & (x < stop))[None]


Spans = list[tuple[int, int] | None]
"""A masklet in a world of one dimension: (start, stop) per frame, None where it is absent."""


def track(spans: Spans, score: float = 1.0, crowd: bool = False) -> Track:
    return Track.from_frames([None if span is None else strip(*span) for span in spans], score, crowd)


def follow(g: int, t: int, scene: int) -> tuple[int, int] | None:
    """Where object g is at time t: arithmetic that looks like chance."""
    start = (7 * g + (3 + g % 2) * t + scene * scene) % 33
    return None if (g + 2 * t + scene) % 7 == 0 else (start, start + 3 + (g * t + scene) % 5)


def crowded(scene: int, frames: int = 16, objects: int = 12) -> tuple[list, list]:
    """Many objects that cross; predictions that are off by a little, lose and exchange their identities, and ghosts."""
    gt = [[follow(g, t, scene) for t in range(frames)] for g in range(objects)]
    pred = []
    for p in range(objects + 2):
        spans: Spans = []
        for t in range(frames):
            g = (p + 5 * (t > 6) * (p % 3 == 0) + (t > 10) * (p % 4 == 1)) % (objects + 2)
            seen = follow(g, t, scene)
            off = (p * t + scene) % 4
            hidden = (p + t) % 9 == 4 or seen is None
            spans.append(None if hidden else (seen[0] + off // 2, seen[1] + off % 2))
        pred.append((spans, (0.9, 0.5, 0.7, 0.3)[(p * p + scene) % 4] if p % 5 == 4 else 0.8))
    return gt, pred


A, B, AWAY = (2, 12), (20, 30), (34, 38)

# name: pairs of (ground truth, or (spans, True) for a crowd; predictions with scores)
CASES: dict[str, list[tuple[list, list]]] = {
    "perfect": [([[A] * 4, [B] * 4], [([A] * 4, 0.9), ([B] * 4, 0.9)]), ([], [])],
    "swap": [([[A] * 6, [B] * 6], [([A, A, B, B, B, B], 0.9), ([B, B, A, A, A, A], 0.9)]), ([], [])],
    "gaps": [
        ([[A, A, None, None, A, A], [B, None, B, None, B, None]], [([A] * 6, 0.9), ([B, None, None, B, B, B], 0.8)]),
        ([[A, A, None, A, A]], [([A, A, None, None, None], 0.9), ([None, None, None, A, (3, 12)], 0.9)]),
    ],
    "ghosts": [
        ([[A] * 5], [([(3, 13)] * 5, 0.9), ([AWAY] * 5, 0.9), ([None] * 5, 0.9), ([(0, 0)] * 5, 0.6)]),
        ([], [([None] * 3, 0.9)]),
        ([[B] * 2], [([None] * 2, 0.9)]),
    ],
    "negatives": [([[A] * 3], [([A] * 3, 0.9)]), ([], [([A, B, None], 0.9)]), ([], []), ([[B] * 3], [])],
    "scores": [
        ([[A] * 3, [B] * 3], [([A] * 3, 0.5), ([B] * 3, 0.5000001)]),
        ([], [([A] * 3, 0.5)]),
        ([], [([A] * 3, 0.4999999)]),
    ],
    "on_alpha": [([[(0, 20)] * 20], [([(0, n) for n in range(1, 21)], 0.9)]), ([], [])],
    "crowds": [
        ([[A] * 3, ([B] * 3, True)], [([A] * 3, 0.9), ([(20, 27)] * 3, 0.9)]),
        ([([B] * 3, True)], [([(20, 27)] * 3, 0.9)]),
    ],
    "better_later": [([[A] * 6], [([A, A] + [(4, 12)] * 4, 0.9), ([None, None, None, A, A, A], 0.9)])],
    "crowded": [crowded(0), crowded(1), crowded(2), ([], []), crowded(3), ([], [([B] * 3, 0.7)])],
}


def n_frames(pair: tuple[list, list]) -> int:
    gt, pred = pair
    spans = [g[0] if isinstance(g, tuple) else g for g in gt] + [p for p, _ in pred]
    return max((len(s) for s in spans), default=3)


def count(pair: tuple[list, list]) -> VideoPairCounts:
    gt, pred = pair
    objects = [track(g[0], crowd=g[1]) if isinstance(g, tuple) else track(g) for g in gt]
    return count_video_pair(objects, [track(spans, score) for spans, score in pred], n_frames(pair))


GOLDEN = {
    "perfect": {
        "HOTA": 1.0,
        "DetA": 1.0,
        "AssA": 1.0,
        "tp": [8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8],
        "fp": 0,
        "fn": 0,
        "volume_tp": [2, 2, 2, 2, 2, 2, 2, 2, 2, 2],
        "volume_fp": 0,
        "volume_fn": 0,
        "cgF1": 0.9998990051008698,
        "pmF1": 0.9999000049998749,
        "IL_MCC": 0.9999990000010001,
        "id_switches": 0,
    },
    "swap": {
        "HOTA": 0.6324555320336759,
        "DetA": 1.0,
        "AssA": 0.40000000000000013,
        "tp": [12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12],
        "fp": 0,
        "fn": 0,
        "volume_tp": [2, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        "volume_fp": 0,
        "volume_fn": 0,
        "cgF1": 0.09998990051008698,
        "pmF1": 0.09999000049998749,
        "IL_MCC": 0.9999990000010001,
        "id_switches": 2,
    },
    "gaps": {
        "HOTA": 0.6003433626648537,
        "DetA": 0.6611842105263157,
        "AssA": 0.5451851851851852,
        "tp": [10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 9],
        "fp": 4,
        "fn": 1,
        "volume_tp": [2, 1, 1, 1, 0, 0, 0, 0, 0, 0],
        "volume_fp": 2,
        "volume_fn": 1,
        "cgF1": 0.0,
        "pmF1": 0.14283347241944594,
        "IL_MCC": 0.0,
        "id_switches": 1,
    },
    "ghosts": {
        "HOTA": 0.5435766099940235,
        "DetA": 0.3508771929824562,
        "AssA": 0.8421052631578947,
        "tp": [5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 0, 0, 0],
        "fp": 5,
        "fn": 2,
        "volume_tp": [1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
        "volume_fp": 5,
        "volume_fn": 1,
        "cgF1": 0.0,
        "pmF1": 0.1999657181629149,
        "IL_MCC": 0.0,
        "id_switches": 0,
    },
    "negatives": {
        "HOTA": 0.6123724356957945,
        "DetA": 0.375,
        "AssA": 1.0,
        "tp": [3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3],
        "fp": 2,
        "fn": 3,
        "volume_tp": [1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
        "volume_fp": 1,
        "volume_fn": 1,
        "cgF1": 0.0,
        "pmF1": 0.6665777829629381,
        "IL_MCC": 0.0,
        "id_switches": 0,
    },
    "scores": {
        "HOTA": 0.7071067811865476,
        "DetA": 0.5,
        "AssA": 1.0,
        "tp": [3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3],
        "fp": 0,
        "fn": 3,
        "volume_tp": [2, 2, 2, 2, 2, 2, 2, 2, 2, 2],
        "volume_fp": 1,
        "volume_fn": 0,
        "cgF1": 0.4999497525250611,
        "pmF1": 0.9999000049998749,
        "IL_MCC": 0.499999750000125,
        "id_switches": 0,
    },
    "on_alpha": {
        "HOTA": 0.4319207497929861,
        "DetA": 0.4319207497929861,
        "AssA": 0.4319207497929861,
        "tp": [20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2],
        "fp": 0,
        "fn": 0,
        "volume_tp": [1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        "volume_fp": 0,
        "volume_fn": 0,
        "cgF1": 0.09998490126501125,
        "pmF1": 0.09998500124991251,
        "IL_MCC": 0.9999990000010001,
        "id_switches": 0,
    },
    "crowds": {
        "HOTA": 0.8545298935526205,
        "DetA": 0.7894736842105262,
        "AssA": 1.0,
        "tp": [9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 3, 3, 3, 3, 3],
        "fp": 0,
        "fn": 0,
        "volume_tp": [1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
        "volume_fp": 2,
        "volume_fn": 0,
        "cgF1": 0.0,
        "pmF1": 0.6665777829629381,
        "IL_MCC": 0.0,
        "id_switches": 0,
    },
    "better_later": {
        "HOTA": 0.7152726371804123,
        "DetA": 0.5856950067476382,
        "AssA": 0.8736842105263157,
        "tp": [6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 2, 2, 2],
        "fp": 3,
        "fn": 0,
        "volume_tp": [1, 1, 1, 1, 1, 1, 1, 1, 0, 0],
        "volume_fp": 1,
        "volume_fn": 0,
        "cgF1": 0.0,
        "pmF1": 0.5332622263703505,
        "IL_MCC": 0.0,
        "id_switches": 0,
    },
    "crowded": {
        "HOTA": 0.5219660106981164,
        "DetA": 0.5549933596778347,
        "AssA": 0.497834412383279,
        "tp": [561, 559, 546, 540, 539, 535, 531, 527, 522, 522, 495, 493, 465, 409, 369, 319, 205, 135, 135],
        "fp": 73,
        "fn": 98,
        "volume_tp": [24, 23, 23, 21, 14, 5, 2, 2, 0, 0],
        "volume_fp": 31,
        "volume_fn": 24,
        "cgF1": 0.14134691439099628,
        "pmF1": 0.22348913019291863,
        "IL_MCC": 0.6324554320336916,
        "id_switches": 52,
    },
}


# --- the official numbers ---


@pytest.mark.parametrize("name", CASES)
def test_official_numbers(name: str) -> None:
    want, pairs = GOLDEN[name], [count(pair) for pair in CASES[name]]
    tracking, volume = phota(pairs), cgf1(pair.volume for pair in pairs)

    assert tracking.official() == pytest.approx({k: want[k] for k in ("HOTA", "DetA", "AssA")}, rel=0, abs=1e-9)
    assert tracking.tp.tolist() == want["tp"]
    assert [tracking.fp[0], tracking.fn[0]] == [want["fp"], want["fn"]]
    assert tracking.id_switches == want["id_switches"]

    assert volume.tp.tolist() == want["volume_tp"]
    assert [volume.fp[0], volume.fn[0]] == [want["volume_fp"], want["volume_fn"]]
    for metric in ("cgF1", "pmF1", "IL_MCC"):
        assert getattr(volume, metric) == pytest.approx(want[metric], rel=0, abs=1e-9), metric


def test_golden_cases_reach_the_corners() -> None:
    assert GOLDEN["swap"]["DetA"] == 1 > GOLDEN["swap"]["AssA"]
    assert GOLDEN["on_alpha"]["tp"] == list(range(20, 1, -1))  # IoU = alpha counts, at each of them
    assert GOLDEN["crowded"]["id_switches"] > 20
    assert any(score == 0.5 for _, pred in CASES["crowded"] for _, score in pred)


# --- one pair ---


@pytest.mark.parametrize(
    ("gt", "pred", "tp", "fp", "fn", "volume"),
    [
        ([], [], 0, 0, 0, (0, 0, 0)),
        ([[A, A]], [], 0, 0, 2, (0, 0, 1)),
        ([], [([A, None, A], 0.9)], 0, 2, 0, (0, 1, 0)),
        ([], [([A, A], 0.5)], 0, 0, 0, (0, 1, 0)),
        ([[A, A]], [([A, A], 0.5)], 0, 0, 2, (1, 0, 0)),
        ([[A, A]], [([A, A], math.nextafter(0.5, 1))], 2, 0, 0, (1, 0, 0)),
        ([[A, A]], [([A, A], math.nextafter(0.5, 0))], 0, 0, 2, (0, 0, 1)),
        ([[A, None, A]], [([A, None, A], 0.9)], 2, 0, 0, (1, 0, 0)),
        ([[A, A]], [([A, A], 0.9), ([AWAY, AWAY], 0.9)], 2, 2, 0, (1, 1, 0)),
        ([[None, None]], [([None, None], 0.9)], 0, 0, 0, (1, 0, 0)),
        ([[A, A]], [([None, (5, 5)], 0.9)], 0, 0, 2, (0, 1, 1)),
        ([([A, A], True)], [([A, A], 0.9)], 2, 0, 0, (0, 1, 0)),
        ([([A, A], True)], [], 0, 0, 2, (0, 0, 0)),
    ],
)
def test_one_pair(gt, pred, tp, fp, fn, volume) -> None:
    pair = count((gt, pred))
    assert [pair.tp.tolist(), pair.fp.tolist(), pair.fn.tolist()] == [[n] * 19 for n in (tp, fp, fn)]
    assert [pair.volume.tp.tolist(), pair.volume.fp.tolist(), pair.volume.fn.tolist()] == [[n] * 10 for n in volume]
    assert (pair.volume.has_gt, pair.volume.has_pred) == (volume[0] + volume[2] > 0, volume[0] + volume[1] > 0)


@pytest.mark.parametrize(
    ("gt", "pred", "switches", "masklets"),
    [
        ([[A] * 4], [[A] * 4], 0, 1),
        ([[A] * 4], [[A, A], [None, None, A, A]], 1, 1),
        ([[A] * 4], [[A, None, A, None], [None, A, None, A]], 3, 1),
        ([[A] * 6], [[A, A, None, None, A, A]], 0, 1),  # lost and found again
        ([[A] * 6], [[A, A], [None] * 4 + [A, A]], 1, 1),  # an old match is remembered through a gap
        ([[A, A, None, None, A, A]], [[A, A], [None] * 4 + [A, A]], 1, 1),
        ([[A] * 4], [[A] * 2 + [(4, 12)] * 2, [None] * 2 + [A] * 2], 0, 1),  # kept, though the other is better
        ([[A] * 4], [[A] * 2 + [(7, 12)] * 2, [None] * 2 + [A] * 2], 0, 1),  # IoU 0.5 is enough
        ([[A] * 4], [[A] * 2 + [(8, 12)] * 2, [None] * 2 + [A] * 2], 1, 1),
        ([[A] * 2, [B] * 2], [[A, B], [B, A]], 2, 2),
        ([[A] * 2, [None] * 2], [[A] * 2], 0, 1),  # never seen, no masklet
        ([], [[A] * 4], 0, 0),
    ],
)
def test_identity_switches(gt, pred, switches, masklets) -> None:
    pair = count_video_pair([track(g) for g in gt], [track(p, 0.9) for p in pred], 6)
    assert (pair.id_switches, pair.masklets) == (switches, masklets)


@pytest.mark.parametrize(
    ("one", "other", "iou"),
    [
        ([A, A], [A, A], 1.0),
        ([A, None], [None, A], 0.0),
        ([A, A], [A, None], 0.5),
        ([(0, 10), (0, 1)], [(0, 10), (0, 9)], 11 / 19),  # of sums, not the mean of 1 and 1/9
        ([None], [None], 1.0),
        ([A], [None], 0.0),
    ],
)
def test_volume_iou(one, other, iou) -> None:
    assert volume_iou([track(one)], [track(other)]).tolist() == [[pytest.approx(iou, abs=1e-15)]]


def test_a_track_takes_masks_in_every_form() -> None:
    masks = np.stack([strip(*A), strip(0, 0), strip(*B)])
    rles = encode_masks(masks)
    arrays, runs, mixed = Track.from_frames(masks, 0.5), Track.from_frames(rles), Track({2: rles[2], 0: masks[0]})
    for one in (arrays, runs, mixed):
        assert one.masks == {0: rles[0], 2: rles[2]}
        assert one.areas == {0: 10, 2: 10}
    assert (arrays.score, arrays.crowd) == (0.5, False)
    assert Track({}).masks == {}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (({-1: strip(*A)},), ValueError, "frame -1; frames count from 0"),
        (({0.5: strip(*A)},), TypeError, "integer"),
        (({0: strip(*A)}, math.nan), ValueError, "score is NaN"),
        (({0: strip(*A), 1: strip(*A).T},), ValueError, "has size"),
        (({0: strip(*A) * 0.5},), ValueError, "threshold it to bool first"),
    ],
)
def test_track_refuses(arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        Track(*arguments)


@pytest.mark.parametrize(
    ("gt", "pred", "keywords", "error", "message"),
    [
        ([track([A] * 3)], [], {}, ValueError, r"gt\[0\] has frame 2; the video has frames 0 to 1"),
        ([], [track([A]), track([None, None, A])], {}, ValueError, r"pred\[1\] has frame 2"),
        (
            [track([A])],
            [Track({0: strip(*A).T})],
            {},
            ValueError,
            r"pred\[0\] has size \[40, 1\], gt\[0\] has \[1, 40\]",
        ),
        ([track([A])], [], {"threshold": math.nan}, ValueError, "threshold is nan"),
        ([{0: strip(*A)}], [], {}, TypeError, r"gt\[0\] is a dict; want Track"),
    ],
)
def test_count_video_pair_refuses(gt, pred, keywords, error, message) -> None:
    with pytest.raises(error, match=message):
        count_video_pair(gt, pred, 2, **keywords)


def test_counts_refuse_what_cannot_be() -> None:
    none, volume = np.zeros(19), PairCounts(*np.zeros((3, 10), int), has_gt=False, has_pred=False)
    with pytest.raises(ValueError, match="fp is .*; want 19 values"):
        VideoPairCounts(none, none - 1, none, none, 0, 0, volume)
    with pytest.raises(ValueError, match="association is .*; want 19 values"):
        VideoPairCounts(none, none, none, none * np.nan, 0, 0, volume)
    with pytest.raises(ValueError, match="tp is .*; want 19 values"):
        VideoPairCounts(none[:10], none, none, none, 0, 0, volume)


# --- many pairs: what is undefined ---

HIT, MISS = count(([[A] * 3], [([A] * 3, 0.9)])), count(([[A] * 3], []))
MADE_UP, SILENCE = count(([], [([A] * 3, 0.9)])), count(([], []))


@pytest.mark.parametrize(
    ("pairs", "undefined", "warnings"),
    [
        ([HIT, MISS, MADE_UP, SILENCE], [], []),
        ([MISS], ["pAssA"], ["no prediction matches a masklet"]),
        ([MISS, MADE_UP], ["pAssA"], ["no prediction matches a masklet"]),
        ([MADE_UP], ["pAssA", "id_switches_per_masklet"], ["no prediction matches", "no ground-truth masklets"]),
        (
            [SILENCE],
            ["pHOTA", "pDetA", "pAssA", "id_switches_per_masklet"],
            ["neither masklets nor predictions", "no prediction matches", "no ground-truth masklets"],
        ),
    ],
)
def test_undefined_is_nan_with_a_reason(pairs, undefined, warnings) -> None:
    result = phota(pairs)
    assert sorted(name for name, value in result.to_dict().items() if value is None) == sorted(undefined)
    assert all(math.isnan(getattr(result, name)) for name in undefined)
    assert len(result.warnings) == len(warnings)
    assert all(got.startswith(want) for got, want in zip(result.warnings, warnings, strict=True))
    assert not any(math.isnan(value) for value in result.official().values())


def test_nothing_to_evaluate() -> None:
    with pytest.raises(ValueError, match="pairs is empty"):
        phota([])
    with pytest.raises(TypeError, match=r"pairs\[1\] is a PairCounts; want VideoPairCounts"):
        phota([HIT, HIT.volume])


def test_negative_pairs_matter_only_with_predictions() -> None:
    assert phota([HIT, SILENCE]).official() == phota([HIT]).official()
    assert phota([HIT, MADE_UP]).pDetA == pytest.approx(0.5)
    assert phota([HIT, MADE_UP]).pAssA == 1


def test_result_prints_serialises_and_selects() -> None:
    result = phota([HIT, MISS, MADE_UP])
    assert "pDetA    0.3333   @.50 0.3333" in str(result)
    assert "switches      0   0.0000 per masklet   masklets 2   pairs 3" in str(result)
    assert "warning: neither masklets" in str(phota([SILENCE]))
    data = json.loads(json.dumps(phota([MISS]).to_dict(), allow_nan=False))
    assert (data["pAssA"], data["pHOTA"], data["fn"]) == (None, 0, [3] * 19)
    assert result.at("pDetA", 0.15) == result.by_alpha["pDetA"][2]
    assert str(pickle.loads(pickle.dumps(result))) == str(result)
    assert pickle.loads(pickle.dumps(HIT)).tp.tolist() == HIT.tp.tolist()
    with pytest.raises(ValueError, match=r"alpha is 0.52; want one of \[0.05, 0.1"):
        result.at("pHOTA", 0.52)
    with pytest.raises(ValueError, match="name is 'MOTA'; want one of"):
        result.at("MOTA")
    with pytest.raises(AttributeError):
        result.masklets = 1


def test_alphas_are_those_of_hota_and_cannot_be_changed() -> None:
    np.testing.assert_allclose(ALPHAS, np.arange(5, 100, 5) / 100, rtol=0, atol=1e-15)
    with pytest.raises(ValueError, match="read-only"):
        ALPHAS[0] = 0.1


# --- invariants ---

FRAMES = 5
spans = st.lists(
    st.none() | st.tuples(st.integers(0, 20), st.integers(1, 12)).map(lambda s: (s[0], s[0] + s[1])),
    min_size=FRAMES,
    max_size=FRAMES,
)
sides = st.lists(spans, max_size=4)
scenes = st.tuples(sides, sides)


def count_sides(gt: list[Spans], pred: list[Spans]) -> VideoPairCounts:
    return count_video_pair([track(s) for s in gt], [track(s, 0.9) for s in pred], FRAMES)


def numbers(result: PHOTA) -> dict[str, float]:
    return {**result.official(), "id_switches": result.id_switches, "masklets": result.masklets}


@settings(deadline=None)
@given(st.lists(scenes, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_pairs_does_not_matter(all_sides, random) -> None:
    pairs = [count_sides(*scene) for scene in all_sides]
    assert numbers(phota(random.sample(pairs, len(pairs)))) == pytest.approx(numbers(phota(pairs)), abs=1e-12)


@settings(deadline=None)
@given(scenes)
def test_counts_stay_in_range(scene) -> None:
    pair = count_sides(*scene)
    detections = [sum(s is not None for spans in side for s in spans) for side in scene]
    assert (pair.tp + pair.fn == detections[0]).all()
    assert (pair.tp + pair.fp == detections[1]).all()
    assert (np.diff(pair.tp) <= 0).all()
    assert (pair.association <= pair.tp + 1e-12).all()
    assert 0 <= pair.id_switches <= max(detections[0] - pair.masklets, 0)
    result = phota([pair])
    assert all(np.isnan(v).all() or ((v >= 0) & (v <= 1 + 1e-12)).all() for v in result.by_alpha.values())


def untied(gt: list[Spans]) -> tuple[list[Spans], list[Spans]]:
    """Masklets that never meet, and a prediction of each that is off by a little: there is one way to match them."""
    objects = [[s and (9 * i, 9 * i + 6) for s in spans] for i, spans in enumerate(gt)]
    found = [[s and (s[0] + (i + t) % 3, s[1]) for t, s in enumerate(spans)] for i, spans in enumerate(objects)]
    return objects, found


@settings(deadline=None)
@given(sides, st.randoms(use_true_random=False))
def test_the_order_of_tracks_does_not_matter(side, random) -> None:
    gt, pred = untied(side)
    shuffled = count_sides(random.sample(gt, len(gt)), random.sample(pred, len(pred)))
    ordered = count_sides(gt, pred)
    assert numbers(phota([shuffled])) == pytest.approx(numbers(phota([ordered])), abs=1e-12)
    np.testing.assert_array_equal(shuffled.volume.tp, ordered.volume.tp)


@settings(deadline=None)
@given(st.lists(spans.filter(any), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_perfect_predictions_score_one(gt, random) -> None:
    apart = [[None if s is None else (10 * i, 10 * i + 1 + s[1] % 9) for s in spans] for i, spans in enumerate(gt)]
    pair = count_sides(apart, random.sample(apart, len(apart)))
    assert numbers(phota([pair])) == pytest.approx(
        {"HOTA": 1, "DetA": 1, "AssA": 1, "id_switches": 0, "masklets": len(gt)}, abs=1e-12
    )
    assert cgf1([pair.volume, SILENCE.volume]).cgF1 == pytest.approx(1, abs=3e-4)


@settings(deadline=None)
@given(st.integers(2, 4), st.integers(1, FRAMES - 1), st.data())
def test_swapped_identities_lower_the_association_and_not_the_detection(objects, when, data) -> None:
    gt = [[(10 * i, 10 * i + 8)] * FRAMES for i in range(objects)]
    one, other = data.draw(st.permutations(range(objects)))[:2]
    pred = [list(spans) for spans in gt]
    pred[one][when:], pred[other][when:] = pred[other][when:], pred[one][when:]
    before, after = phota([count_sides(gt, gt)]), phota([count_sides(gt, pred)])
    assert (after.pDetA, before.pDetA) == (1, 1)
    assert after.pAssA < before.pAssA == 1
    assert after.id_switches == 2


@settings(deadline=None)
@given(scenes)
def test_volume_iou_counts_pixels(scene) -> None:
    gt, pred = scene
    stacks = [
        np.array([[strip(*s) if s else strip(0, 0) for s in spans] for spans in side], dtype=bool).reshape(
            -1, FRAMES, WIDTH
        )
        for side in (pred, gt)
    ]
    both = (stacks[0][:, None] & stacks[1][None]).sum(axis=(2, 3))
    either = (stacks[0][:, None] | stacks[1][None]).sum(axis=(2, 3))
    want = np.where(either > 0, both / np.maximum(either, 1), 1.0)
    np.testing.assert_array_equal(volume_iou([track(s) for s in pred], [track(s) for s in gt]), want)


@settings(deadline=None)
@given(sides)
def test_a_ghost_costs_precision_and_nothing_else(side) -> None:
    gt, pred = untied(side)
    ghost: Spans = [(36, 40)] * FRAMES
    plain, haunted = count_sides(gt, pred), count_sides(gt, [*pred, ghost])
    np.testing.assert_array_equal(haunted.tp, plain.tp)
    np.testing.assert_array_equal(haunted.fp, plain.fp + FRAMES)
    np.testing.assert_allclose(haunted.association, plain.association, rtol=0, atol=1e-12)
    assert haunted.id_switches == plain.id_switches
