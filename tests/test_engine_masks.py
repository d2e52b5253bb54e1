"""Masks upsampled inside their boxes are the masks upsampled whole, then cropped."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from zoo.engine.masks import crop_masks, mask_iou, upsampled_region

# Two ways to sum four float32 products differ in their last bits. Where torch computes without fused multiply-add,
# the places it samples differ in their last bits too: a few 1e-5 of a cell.
FUSED = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
ROUNDING = 1e-6 if FUSED else 5e-5

SIZES = [
    (1, 1), (1, 2), (2, 1), (1, 500), (500, 1), (37, 501), (10, 20_000), (20_000, 10), (17, 13), (47, 49), (48, 48),
    (96, 24), (287, 289), (288, 288), (640, 960), (1080, 1920),
]


def blobs(count: int, size: tuple[int, int], seed: int) -> Tensor:
    """Probabilities as the network gives them: smooth, mostly near 0 or 1, here and there touching the border."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 1, max(2, size[0] // 8), max(2, size[1] // 8), generator=rng)
    return F.interpolate(coarse * 6 - 2, size=size, mode="bicubic")[:, 0].sigmoid()


def noise(count: int, size: tuple[int, int], seed: int) -> Tensor:
    return torch.rand(count, *size, generator=torch.Generator().manual_seed(seed))


def upsampled(soft: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(soft[None], size=size, mode="bilinear", align_corners=False)[0]


def pasted(crop: tuple[tuple[int, int], np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """The mask in its image, and on the way: the crop lies inside and is tight."""
    (x, y), mask = crop
    assert mask.dtype == bool and mask.flags["C_CONTIGUOUS"]
    assert all(type(v) is int for v in (x, y))
    if mask.size:
        assert mask[0].any() and mask[-1].any() and mask[:, 0].any() and mask[:, -1].any()
    else:
        assert mask.shape == (0, 0) and (x, y) == (0, 0)
    whole = np.zeros(size, bool)
    window = whole[y : y + mask.shape[0], x : x + mask.shape[1]]
    assert window.shape == mask.shape
    window[:] = mask
    return whole


def check(soft: Tensor, size: tuple[int, int], threshold: float = 0.5) -> int:
    """Compare with the whole upsampled; return how many borderline pixels fell on the other side."""
    crops = crop_masks(soft, size, threshold)
    assert len(crops) == len(soft)
    differing = 0
    for probabilities, crop in zip(upsampled(soft, size), crops, strict=True):
        other = pasted(crop, size) != (probabilities > threshold).numpy()
        if other.any():
            assert float((probabilities[torch.from_numpy(other)] - threshold).abs().max()) < ROUNDING
            differing += int(other.sum())
    return differing


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("grid", [(48, 48), (288, 288), (5, 7), (1, 1), (2, 3)], ids=str)
def test_crops_equal_the_whole(grid, size):
    for make in (blobs, noise):
        soft = make(4 if size[0] * size[1] < 1e6 else 2, grid, seed=sum(size))
        assert check(soft, size) <= 2


@settings(max_examples=150, deadline=None)
@given(
    grid=st.tuples(st.integers(1, 40), st.integers(1, 40)), size=st.tuples(st.integers(1, 120), st.integers(1, 120)),
    seed=st.integers(0, 2**32 - 1), threshold=st.sampled_from([0.5, 0.3, 0.9]), smooth=st.booleans(),
)
def test_crops_equal_the_whole_for_any_size(grid, size, seed, threshold, smooth):
    assert check((blobs if smooth else noise)(2, grid, seed), size, threshold) <= 1


@pytest.mark.parametrize("size", [(3, 5), (9, 9), (48, 48), (100, 31), (400, 700)], ids=str)
@pytest.mark.parametrize("cell", [(0, 0), (0, 8), (8, 0), (8, 8), (0, 4), (4, 8), (4, 4)], ids=str)
def test_a_single_cell_wherever_it_lies(cell, size):
    """Most of such a mask is edge: an object of which a pixel were lost at the border would show here."""
    soft = torch.zeros(1, 9, 9)
    soft[0][cell] = 1.0
    assert check(soft, size) == 0
    (x, y), mask = crop_masks(soft, size)[0]
    if mask.size:
        assert (y == 0) == (cell[0] == 0) and (x == 0) == (cell[1] == 0)
        assert (y + mask.shape[0] == size[0]) == (cell[0] == 8)
        assert (x + mask.shape[1] == size[1]) == (cell[1] == 8)
    else:
        assert size[0] < 9  # only an image smaller than the mask can step over a cell


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (288, 288), (1080, 1920)], ids=str)
def test_a_full_mask_is_the_image_and_an_empty_one_nothing(size):
    soft = torch.stack([torch.ones(36, 36), torch.zeros(36, 36), torch.full((36, 36), 0.5)])
    full, empty, undecided = crop_masks(soft, size)
    assert full[0] == (0, 0) and full[1].shape == size and full[1].all()
    for crop in (empty, undecided):  # a probability of exactly 0.5 is not above 0.5
        assert crop[0] == (0, 0) and crop[1].shape == (0, 0)


def test_exactly_the_threshold_is_not_above_it():
    soft = torch.tensor([[[1.0, 1.0, 0.5, 0.5]]])
    assert crop_masks(soft, (2, 8))[0][1].shape == (2, 5)  # the last pixel that still reads a 1


def test_a_mask_between_the_pixels_of_a_small_image_is_empty():
    soft = torch.zeros(1, 48, 48)
    soft[0, 5, 5] = 1.0  # a 4 x 4 image samples rows and columns 5.5, 17.5, …: a quarter of this cell at most
    assert crop_masks(soft, (4, 4))[0][1].shape == (0, 0)


def test_no_masks_are_no_crops():
    assert crop_masks(torch.zeros(0, 288, 288), (480, 640)) == []


def test_two_far_parts_are_one_mask():
    soft = torch.zeros(1, 40, 40)
    soft[0, 2:6, 3:9] = soft[0, 30:38, 20:36] = 1.0
    (x, y), mask = crop_masks(soft, (400, 400))[0]
    assert (x, y) == (30, 20) and mask.shape == (360, 330) and not mask[100:200].any()


def test_bfloat16_masks_are_upsampled_in_full_precision():
    soft = blobs(3, (48, 48), 7).bfloat16()
    assert check(soft.float(), (333, 444)) == 0
    for narrow, wide in zip(crop_masks(soft, (333, 444)), crop_masks(soft.float(), (333, 444)), strict=True):
        assert narrow[0] == wide[0] and np.array_equal(narrow[1], wide[1])


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_region_equals_the_same_part_of_the_whole(data):
    height, width = data.draw(st.tuples(st.integers(1, 90), st.integers(1, 90)))
    x0, y0 = data.draw(st.tuples(st.integers(0, width - 1), st.integers(0, height - 1)))
    x1, y1 = data.draw(st.tuples(st.integers(x0 + 1, width), st.integers(y0 + 1, height)))
    soft = noise(1, data.draw(st.tuples(st.integers(1, 30), st.integers(1, 30))), data.draw(st.integers(0, 99)))
    part = upsampled_region(soft[0], (height, width), (x0, y0, x1, y1))
    whole = upsampled(soft, (height, width))[0]
    assert part.dtype == torch.float32 and part.shape == (y1 - y0, x1 - x0)
    torch.testing.assert_close(part, whole[y0:y1, x0:x1], rtol=0, atol=ROUNDING)


crops = st.tuples(
    st.tuples(st.integers(0, 6), st.integers(0, 6)), st.integers(0, 5), st.integers(0, 5), st.integers(0, 2**25 - 1)
).map(lambda t: (t[0], np.array([t[3] >> k & 1 for k in range(t[1] * t[2])], bool).reshape(t[1], t[2])))


@given(crops, crops)
def test_iou_is_that_of_the_masks_in_their_image(a, b):
    wholes = [np.zeros((12, 12), bool) for _ in range(2)]
    for whole, ((x, y), mask) in zip(wholes, (a, b), strict=True):
        whole[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    both, either = (wholes[0] & wholes[1]).sum(), (wholes[0] | wholes[1]).sum()
    assert mask_iou(a, b) == mask_iou(b, a) == (both / either if either else 0.0)


def test_iou_by_hand():
    square = np.ones((4, 4), bool)
    assert mask_iou(((0, 0), square), ((0, 0), square)) == 1.0
    assert mask_iou(((0, 0), square), ((2, 0), square)) == pytest.approx(8 / 24)
    assert mask_iou(((0, 0), square), ((0, 2), square)) == pytest.approx(8 / 24)
    assert mask_iou(((0, 0), square), ((4, 0), square)) == 0.0  # side by side
    assert mask_iou(((0, 0), square), ((100, 100), square)) == 0.0
    nothing = ((0, 0), np.zeros((0, 0), bool))
    assert mask_iou(nothing, nothing) == mask_iou(nothing, ((0, 0), square)) == 0.0
    rows = np.zeros((4, 4), bool)
    rows[::2] = True
    assert mask_iou(((0, 0), rows), ((0, 1), rows)) == 0.0  # their boxes overlap, they do not
