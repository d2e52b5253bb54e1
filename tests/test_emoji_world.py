"""The emoji world: the same seed is the same scene, masks are exact, and what is asked has the answer it claims."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig

from emoji_world.architecture import IMAGE_SIZE, build_config, build_tokenizer
from emoji_world.batches import _TOKENS, FIRST_TRAINING_SEED, draw, make_batch
from emoji_world.card import card_table, write_card
from emoji_world.losses import FINE
from emoji_world.measure import FIRST_SEED, full_masks
from emoji_world.prompts import hard_negatives, reword, scene_prompts
from emoji_world.scenes import MIN_VISIBLE, Placed, Scene, render, sample_scene
from emoji_world.sprites import sprites, tint
from emoji_world.train import Run, stretched, train
from emoji_world.vocabulary import (
    AMBIGUOUS,
    COLOURS,
    CONCEPTS,
    NEVER_DRAWN,
    NOUNS,
    THINGS,
    TINTABLE,
    UNSEEN_WORDS,
    Thing,
    neighbours,
    noun_of,
    plural,
)
from zoo.engine.checkpoint import TINY
from zoo.engine.results import ConceptResult, Instance


def a_scene(*things: Thing, background: str = "gradient") -> Scene:
    """Things side by side, none hidden."""
    objects = tuple(Placed(t, 100 + 200 * k, 320, 150, 0, False, 1.0) for k, t in enumerate(things))
    return Scene(200 * max(1, len(things)), 640, 7, background, objects)


def test_the_world_is_as_large_as_promised():
    assert len(CONCEPTS) >= 48
    assert len(TINTABLE) >= 6 and len(COLOURS) >= 2
    assert len(set(CONCEPTS)) == len(CONCEPTS)
    assert all(neighbours(n) for n in NOUNS), "a noun without look-alikes has no hard negatives"
    assert not set(NEVER_DRAWN) & set(CONCEPTS) and not set(UNSEEN_WORDS) & {*CONCEPTS, *NEVER_DRAWN}
    assert all(a in NOUNS and b in NOUNS for a, b in AMBIGUOUS.values())


@pytest.mark.parametrize("noun", NOUNS)
def test_neighbours_are_mutual(noun):
    assert all(noun in neighbours(other) for other in neighbours(noun))


@pytest.mark.parametrize(("phrase", "noun", "many"), [
    ("red cap", "cap", "caps"), ("fire truck", "fire truck", "fire trucks"), ("wolf", "wolf", "wolves"),
    ("strawberry", "strawberry", "strawberries"), ("fox", "fox", "foxes"), ("monkey", "monkey", "monkeys"),
    ("blue fire truck", "fire truck", "fire trucks"), ("orange", "orange", "oranges"),
])
def test_nouns_and_plurals(phrase, noun, many):
    assert noun_of(phrase) == noun
    assert plural(noun) == many


def test_every_thing_has_a_sprite_and_colours_differ():
    assert set(sprites()) == set(THINGS)
    for noun in TINTABLE:
        mean = {c: sprites()[Thing(noun, c)].levels[0][..., :3].sum((0, 1)) for c in COLOURS}
        assert mean["red"].argmax() == 0 and mean["green"].argmax() == 1 and mean["blue"].argmax() == 2, noun


def test_tint_leaves_greys_and_alpha_alone():
    grey = np.full((4, 4, 4), 128, np.uint8)
    assert np.array_equal(tint(grey, COLOURS["red"]), grey)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**7))
def test_a_seed_is_a_scene(seed):
    scene = sample_scene(seed)
    assert scene == sample_scene(seed)
    first, again = render(scene, 0.3), render(scene, 0.3)
    assert np.array_equal(first[0], again[0]) and np.array_equal(first[1], again[1])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**7))
def test_masks_are_disjoint_and_show_enough(seed):
    scene = sample_scene(seed)
    image, masks = render(scene, 0.5)
    assert image.dtype == np.uint8 and image.shape[2] == 3 and masks.shape[1:] == image.shape[:2]
    assert masks.sum(0).max(initial=0) <= 1
    for k, placed in enumerate(scene.objects):
        alone = render(dataclasses.replace(scene, objects=(placed,)), 0.5)[1][0]
        assert not (masks[k] & ~alone).any()
        assert masks[k].sum() >= (MIN_VISIBLE - 0.05) * alone.sum()  # hidden parts were judged on a smaller drawing


def test_mask_is_where_the_sprite_changed_the_picture():
    scene = a_scene(Thing("panda"))
    image, masks = render(scene)
    empty, _ = render(dataclasses.replace(scene, objects=()))
    changed = (np.abs(image.astype(int) - empty.astype(int)).max(2) > 12)
    assert (changed & masks[0]).sum() / masks[0].sum() > 0.9
    assert (changed & ~masks[0]).sum() / masks[0].sum() < 0.1  # soft edges


def test_later_objects_hide_earlier_ones():
    below = Placed(Thing("panda"), 300, 320, 200, 0, False, 1.0)
    above = dataclasses.replace(below, thing=Thing("lion"), x=380)
    _, masks = render(Scene(640, 640, 1, "dots", (below, above)))
    _, alone = render(Scene(640, 640, 1, "dots", (below,)))
    assert 0 < masks[0].sum() < alone[0].sum()


def test_size_of_the_drawing_does_not_move_objects():
    scene = sample_scene(12)
    small, large = render(scene, 0.4)[1], render(scene, 1.0)[1]
    for a, b in zip(small, large, strict=True):
        centre = [np.argwhere(m).mean(0) / m.shape for m in (a, b)]
        assert np.abs(centre[0] - centre[1]).max() < 0.01


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**7), st.integers(0, 1000))
def test_prompts_tell_the_truth(seed, draw_seed):
    scene = sample_scene(seed)
    present = {p for o in scene.objects for p in (o.thing.noun, o.thing.name)}
    prompts = scene_prompts(scene, np.random.default_rng(draw_seed), 4, 4, 2, 2)
    assert len({p.phrase for p in prompts}) == len(prompts)
    for prompt in prompts:
        assert (prompt.kind == "positive") == (prompt.phrase in present) == bool(prompt.instances)
        assert all(scene.objects[i].thing.answers(prompt.phrase) for i in prompt.instances)
    assert not set(hard_negatives(scene)) & present


def test_hard_negatives_are_look_alikes_namesakes_and_other_colours():
    cruel = hard_negatives(a_scene(Thing("cricket bat"), Thing("cap", "red"), Thing("fox")))
    assert {"bat", "blue cap", "wolf", "red backpack"} <= set(cruel)
    assert not {"red cap", "cap", "fox", "cricket bat", "whale"} & set(cruel)


@pytest.mark.parametrize("phrase", ["dog", "apple", "red fire truck"])
def test_rewording_keeps_the_concept(phrase):
    rng = np.random.default_rng(0)
    forms = {reword(phrase, rng) for _ in range(200)}
    article = "an" if phrase[0] in "aeiou" else "a"
    head = phrase[: len(phrase) - len(noun_of(phrase))]
    assert forms == {phrase, f"{article} {phrase}", f"the {phrase}", head + plural(noun_of(phrase))}


def test_tokenizer_knows_the_world_and_spells_the_rest():
    tokenizer = build_tokenizer()
    assert tokenizer.unk_token_id not in tokenizer("zyxwv quokka").input_ids[1:-1]
    assert tokenizer("Red CAP").input_ids == tokenizer("red cap").input_ids
    assert len({tuple(tokenizer(c).input_ids) for c in CONCEPTS}) == len(CONCEPTS)
    longest = [*CONCEPTS, *(f"the {c}" for c in CONCEPTS), *(plural(n) for n in NOUNS)]
    assert max(len(tokenizer(c).input_ids) for c in longest) <= _TOKENS, "training would cut it"


def test_training_and_measurement_never_share_a_scene():
    assert FIRST_SEED + 100_000 < FIRST_TRAINING_SEED


def test_batches_hold_what_the_loss_expects():
    scenes = [d for d in (draw(s) for s in range(6)) if len(d.boxes)][:3]
    batch = make_batch(scenes, build_tokenizer(), np.random.default_rng(0), prompts=4)
    assert batch.pixels.shape == (3, 3, IMAGE_SIZE, IMAGE_SIZE) and float(batch.pixels.abs().max()) <= 1
    assert len(batch.rows) == len(batch.ids) == len(batch.truth_boxes) == len(batch.truth_masks)
    for boxes, masks in zip(batch.truth_boxes, batch.truth_masks, strict=True):
        assert len(boxes) == len(masks)
        for (cx, cy, w, h), mask in zip(boxes.tolist(), masks, strict=True):
            ys, xs = np.nonzero(mask.numpy() > 0.5)
            if len(xs):  # a mask and its box tell of the same place
                assert abs((xs.min() + xs.max() + 1) / 2 / FINE - cx) < 0.06 + w / 4
                assert abs((ys.min() + ys.max() + 1) / 2 / FINE - cy) < 0.06 + h / 4


def test_training_starts_from_an_exported_checkpoint_and_goes_on_where_it_stopped(tmp_path):
    folder = tmp_path / "run"
    arguments = dict(
        word_steps=0, batch=1, prompts=2, masked_prompts=2, rate=1e-4, workers=1, threads=0, device="cpu", minutes=0,
    )
    first = train(folder, steps=7601, start_from=TINY, first_step=7600, scenes=4, **arguments)
    assert first.step == 7601
    untouched = Run(tmp_path, torch.device("cpu"))
    untouched.start_from(TINY)
    before, after = untouched.model.state_dict(), first.model.state_dict()
    moved = max(float((before[name] - after[name]).abs().max()) for name in before)
    assert 0 < moved < 1e-2  # one small step away from the checkpoint, not from a random start
    again = Run(folder, torch.device("cpu"))
    assert again.load() and again.step == 7601
    assert all(torch.equal(a, b) for a, b in zip(again.model.parameters(), first.model.parameters(), strict=True))


def test_position_embeddings_of_another_input_size_are_stretched():
    ramp = torch.arange(12.0).repeat(12, 1).flatten()[None, :, None] * torch.tensor([1.0, 2.0])
    grown = stretched(ramp, 14)
    assert grown.shape == (1, 196, 2)
    inner = grown.view(14, 14, 2)[:, 2:-2]  # bicubic bends at the border, and a little everywhere
    assert torch.allclose(inner[..., 0], ((torch.arange(2, 12) + 0.5) * 12 / 14 - 0.5).expand(14, -1), atol=0.06)
    assert torch.allclose(inner[..., 1], 2 * inner[..., 0], atol=1e-4)
    assert stretched(ramp, 12) is ramp


def test_the_checkpoint_that_ships_is_of_this_architecture():
    shipped, built = AutoConfig.from_pretrained(TINY), build_config(build_tokenizer())
    for part in ("vision_config", "detr_encoder_config", "detr_decoder_config", "mask_decoder_config"):
        ours, theirs = (getattr(c.detector_config, part).to_dict() for c in (built, shipped))
        assert _without_names(ours) == _without_names(theirs)
    assert shipped.low_res_mask_size == built.low_res_mask_size


def _without_names(config: dict) -> dict:
    """What describes the network, without what a release of transformers notes beside it."""
    return {
        k: _without_names(v) if isinstance(v, dict) else v
        for k, v in config.items() if k not in ("transformers_version", "dtype", "_name_or_path", "architectures")
    }


NUMBERS = dict(
    cgF1=0.61239, pmF1=0.65, IL_MCC=0.96, presence_auc_hard=0.999, f1_50=0.9, ms_per_image=123.4, images=500,
    pairs=3800, cgF1_50=0.88, cgF1_75=0.7, pmF1_50=0.9, presence_auc=float("nan"), presence_auc_unseen_words=1.0,
    false_alarms_hard=0.01, false_alarms_unseen_words=0.0,
)


def test_a_card_quotes_the_measurement_and_keeps_its_own_words(tmp_path):
    card = tmp_path / "card.md"
    card.write_text("# Card\n\n<!-- measured -->\nold\n<!-- /measured -->\n\nIts own words.\n")
    for _ in range(2):  # the second time over its own table
        write_card(card, NUMBERS)
        assert card.read_text() == (
            f"# Card\n\n<!-- measured -->\n{card_table(NUMBERS)}<!-- /measured -->\n\nIts own words.\n"
        )
    lines = card.read_text().splitlines()
    assert "| cgF1 (mean over IoU .50:.95) | 0.612 |" in lines
    assert "| presence AUC, present against all absent | undefined |" in lines
    assert any(line.startswith("500 scenes, 3,800 (image, phrase) pairs") for line in lines)


def test_a_card_without_a_place_for_numbers_is_refused(tmp_path):
    (tmp_path / "card.md").write_text("# Card\n")
    with pytest.raises(ValueError, match="no place for the numbers"):
        write_card(tmp_path / "card.md", NUMBERS)


def test_full_masks_undo_the_cropping():
    mask = np.ones((2, 3), bool)
    instance = Instance(0.9, 0.9, 1.0, (0, 0, 1, 1), (4, 1), mask, "dog")
    full = full_masks(ConceptResult("dog", 1.0, 0.9, (instance,), 1, 0.5), (5, 8))
    assert full.shape == (1, 5, 8) and full.sum() == 6 and full[0, 1:3, 4:7].all()
