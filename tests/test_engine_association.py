"""Matching follows SAM 3's rules to the letter, and concepts never interfere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor
from transformers import Sam3VideoConfig, Sam3VideoModel
from transformers.models.sam3_video import modeling_sam3_video

from zoo.engine.association import (
    SUPPRESSED,
    Match,
    associate,
    giving_way,
    mended,
    pairwise_iou,
    without_duplicates,
    without_shrunk,
)
from zoo.engine.errors import ConceptError
from zoo.engine.masks import carved
from zoo.engine.tracker_settings import TrackerSettings

SIDE = 10
QUICK = settings(max_examples=150, deadline=None)
seeds = st.integers(0, 2**32 - 1)
counts = st.integers(0, 6)


def stock(**settings: float) -> Sam3VideoModel:
    """transformers' model without any network: its rules."""
    model = Sam3VideoModel.__new__(Sam3VideoModel)
    torch.nn.Module.__init__(model)
    vars(model).update(settings)
    return model


def rectangles(rng: np.random.Generator, count: int, empty: float = 0.1) -> Tensor:
    """Masks of few shapes, so that some are equal, some overlap in part, some are apart, and some are empty."""
    masks = torch.zeros(count, SIDE, SIDE, dtype=torch.bool)
    for mask in masks:
        y, x = rng.integers(0, 4, 2) * 2
        height, width = rng.integers(1, 4, 2) * 2
        if rng.random() >= empty:
            mask[y : y + height, x : x + width] = True
        if rng.random() < 0.3:  # one corner less: close to the whole, and not equal
            mask[y, x] = False
    return masks


def box(y0: int, x0: int, y1: int, x1: int) -> Tensor:
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[y0:y1, x0:x1] = True
    return mask


# ------------------------------------------------------------------------------ overlaps


@QUICK
@given(seed=seeds, n=counts, m=counts)
def test_overlaps(seed, n, m):
    rng = np.random.default_rng(seed)
    a, b = rectangles(rng, n, 0.3), rectangles(rng, m, 0.3)
    iou = pairwise_iou(a, b)
    assert iou.shape == (n, m) and iou.dtype == torch.float32
    for i in range(n):
        for j in range(m):
            either = int((a[i] | b[j]).sum())
            assert float(iou[i, j]) == pytest.approx(int((a[i] & b[j]).sum()) / either if either else 0.0, abs=1e-7)


def test_of_duplicates_the_most_confident_stays():
    masks = torch.stack([box(0, 0, 4, 4), box(0, 0, 4, 5), box(6, 6, 9, 9), box(0, 1, 4, 5)])
    assert without_duplicates(masks, torch.tensor([0.6, 0.9, 0.7, 0.8]), 0.5) == [1, 2]
    # what is suppressed does not suppress: 0 and 1 are one object, 1 and 3 are, 0 and 3 are not
    assert pairwise_iou(masks, masks)[0, 3] < 0.65 < pairwise_iou(masks, masks)[1, 3]
    assert without_duplicates(masks, torch.tensor([0.9, 0.8, 0.1, 0.7]), 0.65) == [0, 3, 2]


def test_of_equals_the_first_stays():
    masks = torch.stack([box(0, 0, 4, 4)] * 3 + [box(5, 5, 7, 7)])
    assert without_duplicates(masks, torch.tensor([0.5, 0.5, 0.5, 0.5]), 0.1) == [0, 3]


def test_a_threshold_is_exceeded_or_not():
    """Two that overlap by exactly the threshold both stay."""
    masks = torch.stack([box(0, 0, 4, 4), box(0, 0, 4, 2)])
    scores = torch.tensor([0.5, 0.9])
    assert without_duplicates(masks, scores, 0.5) == [1, 0]
    assert without_duplicates(masks, scores, 0.49) == [1]


def test_threshold_zero_keeps_all():
    masks = torch.stack([box(0, 0, 4, 4)] * 3)
    assert without_duplicates(masks, torch.tensor([0.1, 0.9, 0.5]), 0.0) == [1, 2, 0]


def test_of_nothing_nothing_stays():
    assert without_duplicates(torch.zeros(0, 4, 4, dtype=torch.bool), torch.zeros(0), 0.1) == []


@QUICK
@given(seed=seeds, n=counts, threshold=st.sampled_from([0.1, 0.25, 0.5, 0.9, 1.0]))
def test_what_stays_is_apart_and_explains_what_goes(seed, n, threshold):
    rng = np.random.default_rng(seed)
    masks, scores = rectangles(rng, n), torch.from_numpy(rng.choice([0.5, 0.6, 0.9], n))
    kept, iou = without_duplicates(masks, scores, threshold), pairwise_iou(masks, masks)
    assert [float(s) for s in scores[kept]] == sorted((float(s) for s in scores[kept]), reverse=True)
    assert all(iou[i, j] <= threshold for i in kept for j in kept if i != j)
    for k in set(range(n)) - set(kept):
        assert any(iou[k, j] > threshold and scores[j] >= scores[k] for j in kept)


# ------------------------------------------------------------------------------ holes and sprinkles


def mended_slowly(logits: Tensor, area: int) -> Tensor:
    """What transformers does if it has its kernels, whose place SciPy takes here."""

    def components(mask: Tensor) -> tuple[Tensor, Tensor]:
        sizes = np.zeros(mask.shape, np.int64)
        for place in np.ndindex(*mask.shape[:2]):
            parts, _ = ndimage.label(mask[place].numpy(), np.ones((3, 3)))
            sizes[place] = np.bincount(parts.ravel())[parts]
        return torch.zeros_like(mask), torch.from_numpy(sizes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modeling_sam3_video, "_get_connected_components_with_padding", components)
        return modeling_sam3_video.fill_holes_in_mask_scores(logits[:, None], area)[:, 0]


@settings(max_examples=300, deadline=None)
@given(seed=seeds, area=st.integers(0, 20), density=st.floats(0, 1), coarse=st.booleans())
def test_small_holes_are_filled_and_small_sprinkles_go_as_in_transformers(seed, area, density, coarse):
    rng = np.random.default_rng(seed)
    side = SIDE if coarse else 2 * SIDE
    noise = rng.random((3, side, side))
    noise = np.kron(noise, np.ones((2, 2))) if coarse else noise
    logits = torch.from_numpy(np.where(noise < density, 1.0, -1.0) * rng.uniform(0.01, 9, noise.shape)).float()
    before = logits.clone()
    assert torch.equal(mended(logits, area), mended_slowly(logits, area))
    assert torch.equal(logits, before)  # what was given is left alone


@pytest.mark.parametrize(("size", "filled"), [(15, True), (16, True), (17, False)])
def test_the_largest_hole_that_is_filled(size, filled):
    logits = torch.full((1, 30, 30), 5.0)
    logits.view(-1)[30 * 10 + 3 : 30 * 10 + 3 + size] = -5.0
    assert bool((mended(logits, 16) > 0).all()) is filled


@pytest.mark.parametrize(("size", "gone"), [(15, True), (16, True), (17, False)])
def test_the_largest_sprinkle_that_goes(size, gone):
    logits = torch.full((1, 30, 30), -5.0)
    logits[0, 20:, :10] = 5.0
    logits.view(-1)[30 * 10 + 3 : 30 * 10 + 3 + size] = 5.0
    assert bool((mended(logits, 16)[0, 10] < 0).all()) is gone


def test_a_small_object_is_no_sprinkle():
    logits = torch.full((2, 30, 30), -5.0)
    logits[0, 3:5, 3:6] = 5.0  # all there is of it
    logits[1, 3:5, 3:6] = 5.0  # more than half of it
    logits[1, 10, 10:15] = 5.0
    after = mended(logits, 16)
    assert torch.equal(after[0], logits[0])
    assert (after[1] > 0).sum() == 6 and after[1, 3, 3] > 0


def test_a_speck_in_a_hole_that_is_filled_stays():
    """It is a part of the object then; taken out, it would be a hole again."""
    logits = torch.full((1, 20, 20), -5.0)
    logits[0, 2:15, 2:15] = 5.0
    logits[0, 5:8, 5:8] = -5.0
    logits[0, 6, 6] = 5.0
    after = mended(logits, 16)
    assert (after[0, 2:15, 2:15] > 0).all() and (after > 0).sum() == 13 * 13


def test_corners_connect():
    logits = torch.full((1, 30, 30), -5.0)
    logits[0, 10:, :] = 5.0
    logits[0, torch.arange(2, 10), torch.arange(2, 10)] = 5.0  # a diagonal down to the object
    assert torch.equal(mended(logits, 16), logits)


def test_nothing_to_mend():
    logits = torch.randn(2, 8, 8)
    assert mended(logits, 0) is logits
    assert mended(torch.zeros(0, 8, 8), 16).shape == (0, 8, 8)
    assert torch.equal(mended(torch.full((1, 3, 3), -1.0), 16), torch.full((1, 3, 3), -1.0))  # empty stays empty


# ------------------------------------------------------------------------------ matching


RULES = ("assoc_iou_thresh", "trk_assoc_iou_thresh", "new_det_thresh", "high_conf_thresh", "high_iou_thresh")


@settings(max_examples=300, deadline=None)
@given(
    seed=seeds, n=counts, m=counts,
    changed=st.dictionaries(st.sampled_from(RULES), st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=3),
)
def test_matching_equals_transformers(seed, n, m, changed):
    """Within one concept, for detections that show."""
    rng = np.random.default_rng(seed)
    detections, tracks = rectangles(rng, n, empty=0), rectangles(rng, m)
    detections[:, 0, 0] |= ~detections.flatten(1).any(1)
    scores = torch.from_numpy(rng.choice([0.5, 0.69, 0.7, 0.8, 0.95], n)).float()
    rules = replace(TrackerSettings(), **changed)
    numbers = [100 + k for k in range(m)]
    new, unmatched, tracks_of, confirmed, empty = stock(**{k: getattr(rules, k) for k in RULES})._associate_det_trk(
        det_masks=detections.float() - 0.5, det_scores=scores, trk_masks=tracks.float() - 0.5, trk_obj_ids=numbers,
        det_prompt_ids=torch.zeros(n), trk_prompt_ids=torch.zeros(m),
    )
    ours = associate(detections, scores, [0] * n, tracks, [0] * m, rules)
    assert list(ours.new) == new
    assert [numbers[k] for k in ours.unmatched] == unmatched
    # transformers gives up where there is no track, or no detection
    assert [[numbers[k] for k in row] for row in ours.tracks_of] == [tracks_of.get(k, []) for k in range(n)]
    assert {numbers[k]: v for k, v in ours.confirmed.items()} == confirmed
    assert [numbers[k] for k in ours.empty] == empty
    iou = pairwise_iou(detections, tracks)
    for k in range(m):
        if n and iou[:, k].max() >= rules.assoc_iou_thresh:
            assert iou[ours.best[k], k] == iou[:, k].max()
            closest = [d for d in range(n) if iou[d, k] == iou[:, k].max() and iou[d, k] == iou[d].max()]
            assert k not in ours.mutual or ours.mutual[k] in closest
        else:
            assert k not in ours.best and k not in ours.mutual
    assert len(set(ours.mutual.values())) == len(ours.mutual)  # nobody shares one
    if n and m and iou.max() >= rules.assoc_iou_thresh:
        assert ours.mutual  # the closest of all belong to each other


def merged(parts: Sequence[tuple[Match, list[int], list[int]]], count: int) -> Match:
    """The matches of concepts matched one by one, each with the places of its detections and tracks."""
    tracks_of: list[tuple[int, ...]] = [()] * count
    for match, d, t in parts:
        for k, row in zip(d, match.tracks_of, strict=True):
            tracks_of[k] = tuple(t[j] for j in row)
    return Match(
        new=tuple(sorted(d[k] for match, d, _ in parts for k in match.new)),
        tracks_of=tuple(tracks_of),
        unmatched=tuple(sorted(t[k] for match, _, t in parts for k in match.unmatched)),
        empty=tuple(sorted(t[k] for match, _, t in parts for k in match.empty)),
        confirmed={t[k]: d[v] for match, d, t in parts for k, v in match.confirmed.items()},
        best={t[k]: d[v] for match, d, t in parts for k, v in match.best.items()},
        mutual={t[k]: d[v] for match, d, t in parts for k, v in match.mutual.items()},
    )


@QUICK
@given(seed=seeds, n=counts, m=counts, threshold=st.sampled_from([0.0, 0.1, 0.5]))
def test_concepts_matched_together_are_concepts_matched_one_by_one(seed, n, m, threshold):
    rng = np.random.default_rng(seed)
    detections, tracks = rectangles(rng, n), rectangles(rng, m)
    scores = torch.from_numpy(rng.choice([0.5, 0.7, 0.95], n)).float()
    d, t = rng.integers(0, 3, n).tolist(), rng.integers(0, 3, m).tolist()
    rules = replace(
        TrackerSettings(), assoc_iou_thresh=threshold, trk_assoc_iou_thresh=threshold, high_iou_thresh=threshold
    )
    together = associate(detections, scores, d, tracks, t, rules)
    parts = []
    for group in range(3):
        own = [k for k in range(n) if d[k] == group], [k for k in range(m) if t[k] == group]
        rows = [torch.tensor(some, dtype=torch.long) for some in own]
        match = associate(
            detections[rows[0]], scores[rows[0]], [group] * len(own[0]), tracks[rows[1]], [group] * len(own[1]), rules
        )
        parts.append((match, *own))
    assert together == merged(parts, n)


def test_the_first_detections_of_a_concept_are_all_new():
    """Whether or not other concepts have tracks; later, only those that are sure."""
    here, there = box(0, 0, 4, 4), box(5, 5, 9, 9)
    scores, rules = torch.tensor([0.51, 0.51]), TrackerSettings()
    detections = torch.stack([here, there])
    none = torch.zeros(0, SIDE, SIDE, dtype=torch.bool)
    assert associate(detections, scores, [0, 0], none, [], rules).new == (0, 1)
    assert associate(detections, scores, [0, 1], here[None], [0], rules).new == (1,)
    assert associate(detections, scores, [0, 0], here[None], [0], rules).new == ()
    assert associate(detections, torch.tensor([0.51, 0.7]), [0, 0], here[None], [0], rules).new == (1,)


def test_a_detection_that_does_not_show_begins_nothing():
    """It would never be matched with what it began, and begin another object in every frame."""
    nothing = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    for tracks in (nothing[:0], nothing, box(0, 0, 4, 4)[None]):
        match = associate(nothing, torch.tensor([0.9]), [0], tracks, [0] * len(tracks), TrackerSettings())
        assert match.new == () and match.tracks_of == ((),)


def test_nothing_and_nothing():
    none = torch.zeros(0, SIDE, SIDE, dtype=torch.bool)
    assert associate(none, torch.zeros(0), [], none, [], TrackerSettings()) == Match((), (), (), (), {}, {}, {})


# ------------------------------------------------------------------------------ who gives way


@QUICK
@given(seed=seeds, n=counts, threshold=st.sampled_from([0.1, 0.5, 0.7, 1.0]))
def test_who_gives_way_equals_transformers(seed, n, threshold):
    rng = np.random.default_rng(seed)
    masks, occluded = rectangles(rng, n), rng.integers(-1, 4, n).tolist()
    rules = stock(suppress_overlapping_based_on_recent_occlusion_threshold=threshold)
    want = rules._get_objects_to_suppress_based_on_most_recently_occluded(
        masks, torch.tensor(occluded, dtype=torch.long), list(range(n))
    )
    assert giving_way(masks, occluded, [0] * n, threshold).tolist() == want.tolist()


@QUICK
@given(seed=seeds, n=counts)
def test_concepts_do_not_make_each_other_give_way(seed, n):
    rng = np.random.default_rng(seed)
    masks, occluded, groups = rectangles(rng, n), rng.integers(-1, 4, n).tolist(), rng.integers(0, 3, n).tolist()
    together = giving_way(masks, occluded, groups, 0.5)
    for group in set(groups):
        own = [k for k in range(n) if groups[k] == group]
        alone = giving_way(masks[own], [occluded[k] for k in own], [group] * len(own), 0.5)
        assert together[own].tolist() == alone.tolist()


def test_the_one_that_was_hidden_more_recently_gives_way():
    masks = torch.stack([box(0, 0, 5, 5)] * 2 + [box(5, 5, 9, 9)])
    assert giving_way(masks, [3, 7, 9], [0, 0, 0], 0.7).tolist() == [False, True, False]
    assert giving_way(masks, [7, 3, 9], [0, 0, 0], 0.7).tolist() == [True, False, False]
    assert giving_way(masks, [3, 3, 9], [0, 0, 0], 0.7).tolist() == [False] * 3
    assert giving_way(masks, [-1, 7, 9], [0, 0, 0], 0.7).tolist() == [False] * 3  # one was never hidden: who knows
    assert giving_way(masks, [3, 7, 9], [0, 1, 0], 0.7).tolist() == [False] * 3
    assert giving_way(masks, [3, 7, 9], [0, 0, 0], 0.0).tolist() == [False] * 3


# ------------------------------------------------------------------------------ what is not remembered


@QUICK
@given(seed=seeds, n=st.integers(1, 6))
def test_shrunk_masks_equal_transformers(seed, n):
    """For any concepts; transformers' rule knows them, too."""
    rng = np.random.default_rng(seed)
    masks = rectangles(rng, n)
    strength = torch.from_numpy(rng.integers(1, 4, (n, SIDE, SIDE))).float()  # ties are frequent
    logits = torch.where(masks, strength, -strength * 7)
    groups = rng.integers(0, 2, n).tolist()
    before = logits.clone()
    ours = without_shrunk(logits, groups)
    assert torch.equal(logits, before)
    assert torch.equal(ours, stock()._suppress_object_pw_area_shrinkage(logits[:, None], groups)[:, 0])


def test_a_mask_of_which_others_claim_most_is_not_remembered():
    large, small = box(0, 0, 10, 10), box(0, 0, 5, 2)
    weak = torch.where(small, 2.0, -20.0)
    logits = torch.stack([torch.where(large, 3.0, -3.0), weak])
    after = without_shrunk(logits, [0, 0])
    assert torch.equal(after[0], logits[0])
    assert (after[1][small] == SUPPRESSED).all() and (after[1][~small] == -20.0).all()
    assert torch.equal(without_shrunk(logits, [0, 1]), logits)
    assert torch.equal(without_shrunk(weak[None], [0]), weak[None])


# ------------------------------------------------------------------------------ settings


def test_defaults_are_upstreams():
    config, ours = Sam3VideoConfig(), TrackerSettings()
    own = ("forget_after", "correct_with_detections", "reidentify", "detect_every")
    names = [f.name for f in fields(ours) if f.name not in own]
    assert len(names) == 20
    assert {n: getattr(ours, n) for n in names} == {n: getattr(config, n) for n in names}
    assert TrackerSettings.of(config) == ours and not ours.correct_with_detections


def test_a_checkpoint_has_its_own_settings_and_the_caller_the_last_word():
    config = Sam3VideoConfig(new_det_thresh=0.6, fill_hole_area=3)
    ours = TrackerSettings.of(config, {"new_det_thresh": 0.65, "hotstart_delay": None, "forget_after": None})
    assert (ours.new_det_thresh, ours.fill_hole_area, ours.hotstart_delay, ours.forget_after) == (0.65, 3, 15, None)
    assert TrackerSettings.of(SimpleNamespace(), {"det_nms_thresh": 1}).det_nms_thresh == 1
    assert TrackerSettings.of(config).forget_after == 900


@pytest.mark.parametrize(("given", "message"), [
    ({"hotstart": 3}, "Unknown tracker setting 'hotstart': there are assoc_iou_thresh, .*hotstart_delay.*"),
    ({"new_det_thresh": 1.01}, "new_det_thresh must be a number between 0 and 1, got 1.01"),
    ({"det_nms_thresh": -0.1}, "det_nms_thresh must be a number between 0 and 1, got -0.1"),
    ({"high_conf_thresh": float("nan")}, "high_conf_thresh must be .* got nan"),
    ({"assoc_iou_thresh": "0.5"}, "assoc_iou_thresh must be .* got '0.5'"),
    ({"assoc_iou_thresh": True}, "assoc_iou_thresh must be .* got True"),
    ({"hotstart_delay": -1}, "hotstart_delay must be a whole number of at least 0, got -1"),
    ({"hotstart_delay": 2.5}, "hotstart_delay must be a whole number of at least 0, got 2.5"),
    ({"max_num_objects": 0}, "max_num_objects must be a whole number of at least 1, got 0"),
    ({"recondition_every_nth_frame": False}, "recondition_every_nth_frame must be a whole number .* got False"),
    ({"hotstart_delay": 5}, "hotstart_unmatch_thresh=8 can never be reached within hotstart_delay=5 frames: lower it"),
    ({"hotstart_dup_thresh": 20}, "hotstart_dup_thresh=20 can never be reached within hotstart_delay=15 frames"),
    ({"forget_after": 0}, "forget_after must be a whole number of at least 1, got 0"),
    ({"forget_after": 1.5}, "forget_after must be a whole number of at least 1, got 1.5"),
])
def test_settings_that_make_no_sense_are_refused(given, message):
    with pytest.raises(ConceptError, match=message):
        TrackerSettings.of(Sam3VideoConfig(), given)


def test_settings_at_the_ends_of_their_ranges():
    TrackerSettings(hotstart_delay=0)  # then nothing is withdrawn, and how often does not matter
    TrackerSettings(det_nms_thresh=0, new_det_thresh=1, min_trk_keep_alive=-5, forget_after=1, fill_hole_area=0)
    TrackerSettings(hotstart_delay=8)


# ------------------------------------------------------------------------------ pixels belong to one

Crop = tuple[tuple[int, int], np.ndarray]


def crops(rng: np.random.Generator, count: int) -> list[Crop]:
    made: list[Crop] = []
    for _ in range(count):
        corner, size = rng.integers(0, 12, 2), rng.integers(0, 9, 2)
        mask = rng.random(size) < 0.7
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not rows.size:
            made.append(((0, 0), np.zeros((0, 0), bool)))
            continue
        tight = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        made.append(((int(corner[0] + columns[0]), int(corner[1] + rows[0])), np.ascontiguousarray(tight)))
    return made


def pasted(crop: Crop) -> np.ndarray:
    whole = np.zeros((24, 24), bool)
    (x, y), mask = crop
    whole[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    return whole


@settings(max_examples=200, deadline=None)
@given(seed=seeds, n=counts)
def test_every_pixel_goes_to_the_strongest(seed, n):
    rng = np.random.default_rng(seed)
    given_, strengths = crops(rng, n), rng.choice([0.2, 0.5, 0.9], n).tolist()
    before = [(corner, mask.copy()) for corner, mask in given_]
    after = carved(given_, strengths)
    assert len(after) == n
    for (corner, mask), (old_corner, old) in zip(given_, before, strict=True):
        assert corner == old_corner and np.array_equal(mask, old)
    wholes = [pasted(crop) for crop in given_]
    order = sorted(range(n), key=lambda k: (-strengths[k], k))
    taken = np.zeros((24, 24), bool)
    for k in order:
        want = wholes[k] & ~taken
        taken |= wholes[k]
        assert np.array_equal(pasted(after[k]), want)
        (x, y), mask = after[k]
        assert type(x) is int and type(y) is int and mask.dtype == bool
        if mask.size:
            assert mask[0].any() and mask[-1].any() and mask[:, 0].any() and mask[:, -1].any()
        else:
            assert (x, y) == (0, 0) and mask.shape == (0, 0)
