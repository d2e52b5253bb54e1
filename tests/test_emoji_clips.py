"""Clips of the emoji world: their truth, what happens in them, and how the tracker is trained and measured on them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emoji_world import measure
from emoji_world.card import card_table, write_card
from emoji_world.clip_batches import Stretch, draw_stretch
from emoji_world.clips import FRAMES, SEEN, Actor, Clip, Wall, has_occlusion, sample_clip, visible_shares
from emoji_world.measure_clips import FIRST_CLIP, ClipMeasurement, clip_truth, masklet_tracks
from emoji_world.train_tracker import Run, choose_objects, losses, train, unroll
from emoji_world.vocabulary import Thing
from evaluation import count_video_pair, phota
from zoo.engine.checkpoint import TINY
from zoo.engine.results import FrameResult, TrackedConcept, TrackedInstance

SEEDS = st.integers(0, 5000)


def crossing(wall: bool = False) -> Clip:
    """A dog that walks from left to right in front of a cat, or behind a wall."""
    t = np.linspace(0, 1, 12)
    walk = np.stack([40 + 240 * t, np.full(12, 80.0)], 1)
    rest = np.tile([160.0, 80.0], (12, 1))
    sizes = np.full(12, 60.0)
    cat = Actor(Thing("cat"), rest, sizes, 0.0, False, 1.0)
    dog = Actor(Thing("dog"), walk, sizes, 0.0, False, 1.0)
    walls = (Wall((95, 0, 225, 160), (90, 90, 90)),) if wall else ()
    return Clip(320, 160, 3, 12, "gradient", (cat, dog), walls)


@given(SEEDS)
@settings(max_examples=10, deadline=None)
def test_a_seed_is_a_clip(seed):
    (first, masks), (again, same) = (next(iter(sample_clip(seed).play(0.1))) for _ in range(2))
    assert np.array_equal(first, again) and np.array_equal(masks, same)
    assert first.dtype == np.uint8 and masks.dtype == bool and len(masks) == len(sample_clip(seed).actors)


@given(SEEDS)
@settings(max_examples=10, deadline=None)
def test_no_pixel_belongs_to_two_actors_and_shares_are_shares(seed):
    clip = sample_clip(seed)
    assert len(list(clip.play(0.1))) == FRAMES
    for _, masks in clip.play(0.1, range(0, FRAMES, 7)):
        assert masks.sum(0).max() <= 1
    shares = visible_shares(clip, 0.15)
    assert shares.shape == (len(clip.actors), FRAMES) and shares.min() >= 0 and shares.max() <= 1


def test_a_mask_is_where_its_actor_changed_the_picture_and_it_moves_with_it():
    clip = crossing()
    alone = Clip(320, 160, 3, 12, "gradient", clip.actors[1:], ())
    empty = Clip(320, 160, 3, 12, "gradient", (), ())
    centres = []
    for (image, masks), (bare, _) in zip(alone.play(), empty.play(), strict=True):
        changed = np.abs(image.astype(int) - bare).max(2) > 12
        assert (changed & masks[0]).sum() > 0.9 * masks[0].sum()
        centres.append(np.argwhere(masks[0]).mean(0)[1])
    assert np.allclose(np.diff(centres), 240 / 11, atol=1.5)


def test_who_comes_later_covers_and_walls_cover_all():
    clip = crossing()
    shares = visible_shares(clip, 0.5)
    assert shares[1].min() > 0.95  # the dog is in front
    assert shares[0, 0] > 0.95 and shares[0, 5] < 0.5
    behind = visible_shares(crossing(wall=True), 0.5)
    assert behind[0].max() == 0 and behind[1, 0] > 0.95 and behind[1, 5] == 0 and behind[1, -1] > 0.95
    assert has_occlusion(behind).tolist() == [False, True]
    image, masks = list(crossing(wall=True).play())[5]
    assert not masks.any() and image[80, 160].astype(int) == pytest.approx([90, 90, 90], abs=12)


def test_hiding_means_coming_back():
    seen, gone = [1.0] * 4, [0.0] * 4
    shares = np.array([[*seen, *gone, *seen], [*seen, *gone, *gone], [*gone, *seen, *seen], [*seen, *seen, *seen]])
    assert has_occlusion(shares).tolist() == [True, False, False, False]
    assert has_occlusion(shares, least=5).tolist() == [False] * 4


def test_the_world_holds_what_makes_tracking_hard():
    clips = [sample_clip(seed) for seed in range(40)]
    twins = np.mean([len({a.thing for a in c.actors}) < len(c.actors) for c in clips])
    hidden = np.mean([has_occlusion(visible_shares(c)).any() for c in clips])
    late = np.mean([(visible_shares(c)[:, 0] < SEEN).any() for c in clips])
    assert twins > 0.5 and hidden > 0.4 and late > 0.2 and any(c.walls for c in clips)
    apart = [np.hypot(*(a.path - b.path).T).min() for c in clips for a, b in zip(c.actors, c.actors[1:], strict=False)]
    assert min(apart) < 40  # some do cross


def test_stretches_are_drawn_at_the_networks_size_and_begin_with_something():
    drawn = [draw_stretch(seed, 5) for seed in range(1_000_000, 1_000_012)]
    stretches = [s for s in drawn if s is not None]
    assert len(stretches) >= 6
    for stretch in stretches:
        objects = stretch.cover.shape[1]
        assert stretch.images.shape == (5, 196, 196, 3) and stretch.cover.shape == (5, objects, 112, 112)
        assert stretch.shares.shape == (5, objects) and (stretch.shares[0] >= SEEN).any()
        filled = stretch.cover.mean((2, 3)) / 255
        assert ((filled > 0) == (stretch.shares > 0)).mean() > 0.9


def test_training_prefers_what_hides():
    shares = np.array([[1.0, 1.0, 0.1], [0.0, 1.0, 1.0]], np.float32)
    stretch = Stretch(np.zeros((2, 1, 1, 3)), np.zeros((2, 3, 1, 1)), shares, 1)
    picks = [choose_objects([stretch], np.random.default_rng(seed), 1)[1][0] for seed in range(60)]
    assert set(picks) == {0, 1} and picks.count(0) > 36  # the third does not show at first


def test_training_unrolls_the_tracker_and_goes_on_where_it_stopped(tmp_path):
    torch.manual_seed(0)
    options = dict(batch=2, each=1, frames=3, rate=1e-3, threads=1, stretches=2, device="cpu", minutes=0)
    first = train(tmp_path, TINY, steps=1, **options)
    assert (tmp_path / "tracker.pt").is_file() and first.step == 1
    again = Run(tmp_path, TINY, torch.device("cpu"))
    again.load()
    assert again.step == 1
    ours, theirs = again.trained.state_dict(), first.trained.state_dict()
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_the_loss_falls_where_the_tracker_learns():
    torch.manual_seed(0)
    run = Run(TINY, TINY, torch.device("cpu"))
    stretch = next(s for s in (draw_stretch(seed, 3) for seed in range(1_000_000, 1_000_050)) if s is not None)
    clips, places = choose_objects([stretch], np.random.default_rng(0), 1)
    cover = torch.from_numpy(stretch.cover[:, places]).float() / 255
    shares = torch.from_numpy(stretch.shares[:, places])
    seen = []
    for _ in range(6):
        features = run.features([stretch])
        rng = np.random.default_rng(5)
        answers = unroll(run.network, features, torch.tensor(clips), 3, cover, torch.tensor([1]), rng)
        loss, parts = losses(answers, cover, shares)
        run.update(loss, 2e-3)
        seen.append(loss.item())
    assert seen[-1] < seen[0] and set(parts) >= {"mask", "dice", "quality", "score", "iou_next"}


def results(clip: Clip, swap_at: int | None = None) -> list[FrameResult]:
    """The truth, as a tracker would say it; from ``swap_at`` on with the identities mixed up."""
    frames = []
    for t, (image, masks) in enumerate(clip.play()):
        order = [1, 0] if swap_at is not None and t >= swap_at else [0, 1]
        found = tuple(
            TrackedInstance(order[k] + 1, 0.9, 0.9, 0.9, 1.0, (0, 0), mask, "animal")
            for k, mask in enumerate(masks) if mask.any()
        )
        frames.append(FrameResult(t + 1, image.shape[:2], (TrackedConcept("animal", 1.0, 0.9, found),)))
    return frames


def test_a_perfect_tracker_is_measured_as_perfect_and_a_swap_costs_association():
    path, sizes = crossing().actors[0].path, np.full(12, 60.0)
    actors = tuple(Actor(Thing("dog"), path + (0, 45 * k - 22), sizes, 0.0, False, 1.0) for k in (0, 1))
    clip = Clip(320, 160, 3, 12, "gradient", actors, ())
    masks, shares = [m for _, m in clip.play()], visible_shares(clip, 1.0)
    truth = clip_truth(clip, masks, shares, "dog")
    assert len(truth) == 2
    right = phota([count_video_pair(truth, masklet_tracks(results(clip), 0), 12)])
    assert right.pHOTA == pytest.approx(1.0) and right.id_switches == 0
    mixed = phota([count_video_pair(truth, masklet_tracks(results(clip, swap_at=6), 0), 12)])
    assert mixed.pDetA == pytest.approx(1.0) and mixed.pAssA < 0.6 and mixed.id_switches == 2


def test_the_table_has_the_names_that_scripts_read(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["measure", "--clips", "1", "--json", str(tmp_path / "clips.json")])
    measure.main()
    numbers = json.loads((tmp_path / "clips.json").read_text())
    assert {
        "pHOTA", "pDetA", "pAssA", "pHOTA_detector_only", "pHOTA_occlusion", "pHOTA_occlusion_detector_only",
        "id_switches_per_masklet", "presence_auc_frames", "clips", "frames",
    } <= set(numbers)
    assert numbers["clips"] == 1 and numbers["frames"] == FRAMES and "pHOTA" in capsys.readouterr().out
    card = tmp_path / "card.md"
    card.write_text("# Card\n<!-- measured on clips -->\n<!-- /measured on clips -->\n")
    write_card(card, numbers)
    assert card_table(numbers) in card.read_text() and "| pHOTA | 0." in card.read_text()


def test_training_and_measurement_share_no_clip():
    from emoji_world.batches import FIRST_TRAINING_SEED

    assert FIRST_CLIP + 100_000 < FIRST_TRAINING_SEED and ClipMeasurement().clips == 0
