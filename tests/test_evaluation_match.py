"""Masks → IoU → assignment → hits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from evaluation import IOU_THRESHOLDS, assign, encode_masks, hits, mask_iou

masks = st.integers(1, 5).flatmap(
    lambda side: st.tuples(*(arrays(bool, st.tuples(st.integers(0, 4), st.just(side), st.just(6))) for _ in range(2)))
)


def plain_iou(preds: np.ndarray, gts: np.ndarray) -> np.ndarray:
    both = (preds[:, None] & gts[None]).sum(axis=(2, 3))
    either = (preds[:, None] | gts[None]).sum(axis=(2, 3))
    return np.where(both > 0, both / np.maximum(either, 1), 0.0)


@given(masks)
def test_iou_is_intersection_over_union(sets) -> None:
    preds, gts = sets
    iou = mask_iou(preds, gts)
    assert iou.shape == (len(preds), len(gts))
    np.testing.assert_allclose(iou, plain_iou(preds, gts), rtol=0, atol=1e-15)


@given(masks)
def test_every_form_of_masks_is_the_same_mask(sets) -> None:
    preds, gts = sets
    want = mask_iou(preds, gts)
    rles = encode_masks(preds)
    text = [{**rle, "counts": rle["counts"].decode()} for rle in rles]
    runs = []
    for mask in preds:
        pixels = mask.ravel(order="F")
        edges = np.flatnonzero(np.diff(pixels, prepend=False)).tolist()
        runs.append({"size": list(mask.shape), "counts": np.diff([0, *edges, pixels.size]).tolist()})
    for form in (list(preds), preds.astype(np.uint8) * 255, rles, text, runs):
        np.testing.assert_array_equal(mask_iou(form, gts), want)


def test_crowd_iou_divides_by_the_prediction() -> None:
    preds, gts = np.zeros((2, 1, 4, 4), dtype=bool)
    preds[0, 0, :3], gts[0, :, :2] = True, True
    assert mask_iou(preds, gts)[0, 0] == pytest.approx(2 / 9)
    assert mask_iou(preds, gts, gt_crowd=[True])[0, 0] == pytest.approx(2 / 3)


ONE = np.ones((1, 2, 2), dtype=bool)


@pytest.mark.parametrize(
    ("preds", "keywords", "error", "message"),
    [
        (ONE[0], {}, ValueError, r"pred_masks has shape \(2, 2\); an array of masks is \(N, H, W\)"),
        ([ONE], {}, ValueError, r"pred_masks\[0\] has shape \(1, 2, 2\); a mask is \(H, W\)"),
        (ONE * 0.7, {}, ValueError, r"pred_masks\[0\] has dtype float64; threshold it to bool first"),
        (
            [ONE[0], np.ones((2, 3), bool)],
            {},
            ValueError,
            r"pred_masks\[1\] has size \[2, 3\], pred_masks\[0\]",
        ),
        (np.ones((1, 3, 3), bool), {}, ValueError, r"pred_masks have size \[3, 3\], gt_masks \[2, 2\]"),
        (ONE, {"gt_crowd": []}, ValueError, "gt_crowd has 0 flags for 1 ground-truth masks"),
        ({"size": [2, 2], "counts": b"04"}, {}, TypeError, "pred_masks is a single RLE; give a list"),
        ([{"counts": b"04"}], {}, ValueError, r"pred_masks\[0\] is an RLE without 'size'"),
        ([{"size": [4], "counts": b"04"}], {}, ValueError, r"pred_masks\[0\] has size \[4\]; want \[H, W\]"),
        (
            [{"size": [2, 2], "counts": [0, 5]}],
            {},
            ValueError,
            r"runs of 5 pixels in total; its size \[2, 2\] has 4",
        ),
        ([{"size": [2, 2], "counts": None}], {}, TypeError, "counts of type NoneType"),
    ],
)
def test_what_is_refused(preds, keywords, error, message) -> None:
    with pytest.raises(error, match=message):
        mask_iou(preds, ONE, **keywords)


@given(arrays(float, array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=5), elements=st.floats(0, 1)))
def test_assignment_is_one_to_one(iou) -> None:
    rows, cols = assign(iou)
    assert len(rows) == len(cols) == min(iou.shape)
    assert len(set(rows)) == len(set(cols)) == len(rows)
    hit = hits(iou)
    assert hit.shape == (len(iou), 10)
    assert (np.diff(hit.astype(int), axis=1) <= 0).all()
    assert (hit.sum(axis=0) <= min(iou.shape)).all()


def test_a_match_is_given_up_for_a_larger_total() -> None:
    assert not hits([[0.55, 0.43], [0.43, 0.0]]).any()


@pytest.mark.parametrize(
    ("iou", "message"),
    [([0.5], r"iou has shape \(1,\)"), ([[np.nan]], "not finite"), ([[np.inf]], "not finite")],
)
def test_assign_refuses(iou, message) -> None:
    with pytest.raises(ValueError, match=message):
        assign(iou)


def test_thresholds_are_those_of_coco_and_cannot_be_changed() -> None:
    np.testing.assert_allclose(IOU_THRESHOLDS, np.arange(50, 100, 5) / 100, rtol=0, atol=1e-15)
    with pytest.raises(ValueError, match="read-only"):
        IOU_THRESHOLDS[0] = 0.1
