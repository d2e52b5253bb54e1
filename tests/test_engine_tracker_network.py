"""The tracker's network is transformers' ``Sam3TrackerVideoModel``, only for many objects at once."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    Sam3Model,
    Sam3TrackerModel,
    Sam3TrackerVideoModel,
    Sam3VideoModel,
    Sam3VideoProcessor,
)

from emoji_world.clips import sample_clip
from zoo.engine.checkpoint import TINY, Checkpoint, load_checkpoint
from zoo.engine.errors import CheckpointError
from zoo.engine.images import to_square
from zoo.engine.tracker_network import NO_OBJECT, Memory, TrackerFeatures, TrackerNetwork, choose
from zoo.engine.tracks import Track, recollections

#: frames of the clip, and how much of one logit two ways to compute the same may differ by
FRAMES, ROUNDING = 12, 1e-4


@dataclass(frozen=True)
class Encoded:
    """A clip as both see it: ``tokens`` and transformers' ``vision`` features of each frame, and the actors' masks,
    bool ``(T, N, h, w)`` at the size of the network's input.
    """

    tokens: list[Tensor]
    vision: list[tuple[list[Tensor], list[Tensor]]]
    masks: Tensor


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return load_checkpoint(TINY, device="cpu", tracker=True)


@pytest.fixture(scope="module")
def network(checkpoint) -> TrackerNetwork:
    return checkpoint.tracker


@pytest.fixture(scope="module")
def stock() -> Sam3VideoModel:
    """transformers' own, with the same weights."""
    return Sam3VideoModel.from_pretrained(TINY, dtype=torch.float32, local_files_only=True).eval()


@pytest.fixture(scope="module")
def processor() -> Sam3VideoProcessor:
    return Sam3VideoProcessor.from_pretrained(TINY, local_files_only=True)


@pytest.fixture(scope="module")
def video() -> list[tuple[np.ndarray, np.ndarray]]:
    return list(sample_clip(4, frames=FRAMES).play(0.25))


@pytest.fixture(scope="module")
def encoded(checkpoint, stock, video) -> Encoded:
    tokens, vision, masks = [], [], []
    for image, actors in video:
        pixels = to_square(image, checkpoint.side)[None] / 127.5 - 1
        with torch.inference_mode():
            features = stock.detector_model.get_vision_features(pixel_values=pixels)
            vision.append(stock.get_vision_features_for_tracker(features))
        tokens.append(features.last_hidden_state)
        drawn = F.interpolate(torch.from_numpy(actors)[None].float(), (checkpoint.side,) * 2, mode="bilinear")
        masks.append(drawn[0] > 0.5)
    return Encoded(tokens, vision, torch.stack(masks))


def stock_levels(stock: Sam3VideoModel, vision: tuple[list[Tensor], list[Tensor]]) -> list[Tensor]:
    """transformers' features as maps, fine to coarse."""
    sizes = stock.tracker_model.backbone_feature_sizes
    return [x.permute(1, 2, 0).reshape(1, -1, *size) for x, size in zip(vision[0], sizes, strict=True)]


def assert_close(ours: Tensor, theirs: Tensor, most: float = ROUNDING) -> None:
    """Equal but for rounding; ``most`` of numbers up to 10, in proportion of larger ones."""
    theirs = theirs.reshape(ours.shape).float()
    furthest = float((ours.float() - theirs).abs().max())
    largest = float(torch.where(theirs == NO_OBJECT, 0.0, theirs).abs().max())
    assert furthest <= most * max(1.0, largest / 10)


# ------------------------------------------------------------------------------ one frame


def test_features_equal_transformers(network, stock, encoded):
    with torch.inference_mode():
        ours = network.features(torch.cat(encoded.tokens[:3]))
        for row in range(3):
            levels = stock_levels(stock, encoded.vision[row])
            mine = ours.rows(torch.tensor([row]))
            for level, want in zip((*mine.fine, mine.coarse), levels, strict=True):
                assert_close(level, want, 1e-5)


def test_a_frame_repeated_for_many_objects_is_not_copied(network, encoded):
    with torch.inference_mode():
        here = network.features(encoded.tokens[0])
    many = here.repeat(5)
    assert len(many.coarse) == len(many.fine[0]) == 5
    assert many.coarse.data_ptr() == here.coarse.data_ptr() and many.coarse.stride(0) == 0


@pytest.mark.parametrize("small", [False, True], ids=["network's size", "half of it"])
def test_given_masks_become_what_transformers_makes_of_them(network, stock, encoded, small):
    masks = encoded.masks[0].float()
    masks = torch.cat([masks, torch.zeros_like(masks[:1])])  # and an empty one
    if small:
        masks = F.interpolate(masks[None], scale_factor=0.5)[0]
    with torch.inference_mode():
        here = network.features(encoded.tokens[0]).repeat(len(masks))
        seen = network.from_masks(here, network.drawn(masks))
        *fine, coarse = stock_levels(stock, encoded.vision[0])
        for k, mask in enumerate(masks):
            want = stock.tracker_model._use_mask_as_output(coarse, fine, mask[None, None])
            assert_close(seen.pointers[k], want.object_pointer)
            assert_close(seen.masks[k], want.pred_masks)
            assert_close(seen.score[k], want.object_score_logits)
    assert seen.score[-1] == -10 and (seen.score[:-1] == 10).all()


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("side", ["small", "network's"])
def test_memories_equal_transformers(network, stock, encoded, given, side):
    """Of logits of either size; of an object that is not there, too. They are bfloat16, so they are equal or not."""
    size = network.mask_side if side == "small" else network.model.image_size
    logits = F.interpolate(encoded.masks[1][None].float(), (size, size), mode="bilinear")[0] * 14 - 6
    logits = torch.cat([logits, torch.full_like(logits[:1], -10)])
    there = (logits > 0).flatten(1).any(1)
    with torch.inference_mode():
        here = network.features(encoded.tokens[1]).repeat(len(logits))
        ours = network.remember(here, logits, there, given=given)
        theirs, positions = stock.tracker_model._encode_new_memory(
            encoded.vision[1][0][-1].expand(-1, len(logits), -1), logits[:, None],
            torch.where(there, 10.0, -10.0)[:, None, None], is_mask_from_pts=given,
        )
        assert_close(network._positions(ours.float())[0, 0], positions[:, 0], 1e-6)
    assert_same_memory(ours, theirs.transpose(0, 1))


PROMPTS = {
    "a point": dict(points=1),
    "three points, one of them not on it": dict(points=3),
    "a box": dict(boxes=True),
    "a box and a point": dict(points=1, boxes=True),
    "an earlier mask and a point": dict(points=1, masks=True),
    "nothing": {},
}


@pytest.mark.parametrize(("kind", "multimask"), [
    (kind, multimask) for kind in PROMPTS for multimask in (True, False)
    # where transformers fails (an unbound local)
    if (kind, multimask) != ("a box and a point", True)
])
def test_prompted_objects_equal_transformers(network, stock, encoded, kind, multimask):
    """Objects prompted in one batch are what transformers makes of them one by one."""
    prompt, masks = PROMPTS[kind], encoded.masks[0]
    count = len(masks)
    inside = [torch.nonzero(mask)[:: max(1, int(mask.sum()) // 7)][1:5].flip(1).float() for mask in masks]
    assert all(len(points) >= 3 for points in inside)
    amount = prompt.get("points", 0)
    points = torch.stack([p[:amount] for p in inside]) if amount else None
    labels = torch.tensor([[1, 1, 0][:amount]] * count) if amount else None
    boxes = torch.stack([torch.cat([p.amin(0), p.amax(0)]) for p in inside]) if prompt.get("boxes") else None
    earlier = masks[:, None].float() * 20 - 10 if prompt.get("masks") else None
    with torch.inference_mode():
        here = network.without_memory(network.features(encoded.tokens[0]).repeat(count))
        offered = network.decode(
            here, points=points, labels=labels, boxes=boxes, masks=earlier, multimask=multimask
        )
        seen = choose(network.model, offered)
        *fine, coarse = stock_levels(stock, encoded.vision[0])
        coarse = coarse + stock.tracker_model.no_memory_embedding.view(1, -1, 1, 1)
        for k in range(count):
            want = stock.tracker_model._single_frame_forward(
                input_points=None if points is None else points[k][None, None],
                input_labels=None if labels is None else labels[k][None, None].int(),
                input_boxes=None if boxes is None else boxes[k][None, None],
                input_masks=None if earlier is None else earlier[k][None],
                image_embeddings=[*fine, coarse], multimask_output=multimask,
            )
            assert_close(offered.quality[k], want.iou_scores, 1e-5)
            assert_close(seen.masks[k], want.pred_masks)
            assert_close(seen.pointers[k], want.object_pointer)
            assert_close(seen.score[k], want.object_score_logits)
    assert offered.masks.shape == (count, 3 if multimask else 1, network.mask_side, network.mask_side)


def test_where_an_object_is_not_there_its_mask_is_nowhere(network, encoded):
    with torch.inference_mode():
        offered = network.decode(network.features(encoded.tokens[0]))
        offered.score.fill_(-1.0)
        seen = choose(network.model, offered)
    assert (seen.masks == NO_OBJECT).all()
    assert torch.equal(seen.pointers, network.model.no_object_pointer)


# ------------------------------------------------------------------------------ several frames


class Stock:
    """transformers' session, into which objects are put at any frame without tracking the others again."""

    def __init__(self, model: Sam3VideoModel, processor: Sam3VideoProcessor, video, encoded: Encoded) -> None:
        self.model, self.encoded = model, encoded
        self.session = processor.init_video_session(video=[image for image, _ in video])

    def enter(self, frame: int) -> None:
        feats, positions = self.encoded.vision[frame]
        self.session.cache.cache_vision_features(frame, {"vision_feats": feats, "vision_pos_embeds": positions})

    def give(self, number: int, frame: int, mask: Tensor) -> dict:
        session, tracker = self.session, self.model.tracker_model
        place = session.obj_id_to_idx(number)
        session.obj_id_to_prompt_id[number] = number  # of a concept of its own: nobody is in its way
        out = tracker._run_single_frame_inference(
            inference_session=session, obj_idx=place, frame_idx=frame, batch_size=1, is_init_cond_frame=True,
            point_inputs=None, mask_inputs=mask[None, None].float(), reverse=False,
        )
        session.store_output(place, frame, output_value=out, is_conditioning_frame=True)
        tracker._batch_encode_memories(session, frame, [place], [out["high_res_masks"]],
                                       [out["object_score_logits"]], [True])
        return out

    def follow(self, frame: int, confirmed: dict[int, Tensor]) -> tuple[Tensor, Tensor]:
        """Masks ``(N, h, w)`` and scores ``(N,)``; the objects ``confirmed`` are remembered for good."""
        self.session.obj_with_new_inputs = []
        masks, scores = self.model.run_tracker_propagation(self.session, frame, False)
        result = masks.clone(), scores.flatten().clone()
        again = {place: mask[None, None] for place, mask in confirmed.items()}
        self.model._tracker_update_memories(self.session, frame, masks, again)
        return result

    def pointer(self, number: int, frame: int) -> Tensor:
        kept = self.session.output_dict_per_obj[self.session.obj_id_to_idx(number)]
        return {**kept["cond_frame_outputs"], **kept["non_cond_frame_outputs"]}[frame]["object_pointer"]


    def memory(self, number: int, frame: int) -> Tensor:
        kept = self.session.output_dict_per_obj[self.session.obj_id_to_idx(number)]
        return {**kept["cond_frame_outputs"], **kept["non_cond_frame_outputs"]}[frame]["maskmem_features"][:, 0]


@pytest.fixture
def loud(stock) -> Sam3VideoModel:
    """transformers' own with weights in which everything matters that a tracker may read, however little it learned."""
    model, noise = copy.deepcopy(stock), torch.Generator().manual_seed(1)
    tracker = model.tracker_model
    for tensor in (
        tracker.memory_temporal_positional_encoding, tracker.temporal_positional_encoding_projection_layer.weight,
        tracker.occlusion_spatial_embedding_parameter, tracker.no_object_pointer,
    ):
        tensor.data += torch.randn(tensor.shape, generator=noise)
    return model


def assert_same_memory(ours: Tensor, theirs: Tensor) -> None:
    """Equal, but for elements that two ways to compute them round to neighbouring bfloat16 numbers."""
    assert ours.dtype == theirs.dtype == torch.bfloat16
    spread = (ours.float() - theirs.float()).abs()
    assert (spread <= 2**-7 * theirs.float().abs() + 1e-6).all()
    assert float((spread > 0).float().mean()) < 1e-2


@pytest.mark.parametrize("length", [None, 8], ids=["of any length", "shorter than the network's memory"])
def test_objects_followed_together_equal_transformers_one_by_one(loud, processor, video, encoded, length):
    """Three objects from the first frame on, one from the third, one of them confirmed on the fifth; from the seventh
    on some of them are not there.
    """
    network = TrackerNetwork(loud.tracker_model, loud.tracker_neck)
    frames = length or FRAMES
    theirs = Stock(loud, processor, video[:frames] if length else [*video, *video], encoded)
    tracks: list[Track] = []
    plan = {0: [0, 1, None], 2: [1]}  # ``None`` is an object that nobody sees
    compared, batches, absent, effect = 0, [], 0, 0.0
    with torch.inference_mode():
        for step in range(frames):
            theirs.enter(step)
            here = network.features(encoded.tokens[step])
            if step == 6:
                scores = [network.follow(here.repeat(len(rows)), memory, length).score
                          for rows, memory in recollections(tracks, step, network)]
                network.model.mask_decoder.pred_obj_score_head.proj_out.bias -= torch.cat(scores).mean()
            masks = torch.zeros(len(tracks), network.mask_side, network.mask_side)
            scores, pointers = torch.zeros(len(tracks)), torch.zeros(len(tracks), here.coarse.shape[1])
            for rows, memory in recollections(tracks, step, network):
                batches.append(len(rows))
                seen = network.follow(here.repeat(len(rows)), memory, length)
                masks[rows], scores[rows], pointers[rows] = seen.masks, seen.score, seen.pointers
                if length and 1 < step < 6:
                    longer = network.follow(here.repeat(len(rows)), memory)
                    effect = max(effect, float((longer.masks - seen.masks).abs().max()))
            if tracks:
                confirmed = {1: masks[1]} if step == 4 else {}
                want_masks, want_scores = theirs.follow(step, {k: m.clone() for k, m in confirmed.items()})
                assert_close(masks, want_masks)
                assert_close(scores, want_scores)
                there = (masks > 0).flatten(1).any(1)
                absent += int((~there).sum())
                spatial = network.remember(here.repeat(len(tracks)), masks, there)
                for k, track in enumerate(tracks):
                    compared += 1
                    assert_close(pointers[k], theirs.pointer(track.number, step))
                    assert_same_memory(spatial[k], theirs.memory(track.number, step))
                    # and on with theirs, so that roundings do not add up
                    track.remember(step, theirs.memory(track.number, step), pointers[k], k in confirmed)
            for actor in plan.get(step, ()):
                mask = torch.zeros_like(encoded.masks[0, 0]) if actor is None else encoded.masks[step, actor]
                number = len(tracks)
                theirs.give(number, step, mask)
                logits = network.drawn(mask[None])
                born = network.from_masks(here, logits)
                spatial = network.remember(here, logits, born.score > 0, given=True)
                assert_same_memory(spatial[0], theirs.memory(number, step))
                tracks.append(Track(number, 0, "thing", step, 0.9, 30))
                tracks[-1].remember(step, theirs.memory(number, step), born.pointers[0], True)
            for track in tracks:
                track.prune(step, network)
    assert compared == 3 * (frames - 1) + frames - 3
    assert 0 < absent < compared
    assert effect > 10 * ROUNDING or not length  # telling the length is not without
    # nobody is followed twice, and those who remember equally much are followed together
    assert batches[:3] == [3, 3, 3] and sum(batches) == compared


def remembered(network: TrackerNetwork, encoded: Encoded, count: int) -> tuple[TrackerFeatures, Memory]:
    """``count`` objects of the first frame, and the second frame."""
    masks = encoded.masks[0][torch.arange(count) % encoded.masks.shape[1]]
    first = network.features(encoded.tokens[0]).repeat(count)
    logits = network.drawn(masks)
    born = network.from_masks(first, logits)
    spatial = network.remember(first, logits, born.score > 0, given=True)
    ages = torch.ones(count, 1, dtype=torch.long)
    return (
        network.features(encoded.tokens[1]).repeat(count),
        Memory(spatial[:, None], (0,), born.pointers[:, None], ages),
    )


def test_who_else_is_followed_does_not_matter(network, encoded):
    with torch.inference_mode():
        features, memory = remembered(network, encoded, 6)
        together = network.follow(features, memory)
        for k in range(6):
            row = torch.tensor([k])
            own = Memory(memory.spatial[row], memory.places, memory.pointers[row], memory.ages[row])
            alone = network.follow(features.rows(row), own)
            assert_close(together.masks[k], alone.masks[0])
            assert_close(together.score[k], alone.score[0])


def test_the_order_of_memories_does_not_matter(network, encoded):
    """They are a set: position is in their encodings."""
    with torch.inference_mode():
        features, memory = remembered(network, encoded, 2)
        spatial = torch.cat([memory.spatial, memory.spatial.flip(2), memory.spatial * 0.5], 1)
        pointers = torch.cat([memory.pointers, memory.pointers * 0.5], 1)
        ages = torch.tensor([[5, 2], [5, 2]])
        one = network.follow(features, Memory(spatial, (0, 2, 1), pointers, ages))
        order = [2, 0, 1]
        other = network.follow(features, Memory(spatial[:, order], (1, 0, 2), pointers.flip(1), ages.flip(1)))
    assert_close(one.masks, other.masks)


def test_gradients_flow_through_time(network, encoded):
    """From a mask three frames later to every part that training moves, whether or not the object is there."""
    model = network.model
    with torch.enable_grad():
        count = 2
        masks = encoded.masks[0][:count]
        tokens = encoded.tokens[0].clone().requires_grad_()
        first = network.features(tokens).repeat(count)
        logits = network.drawn(masks)
        seen = network.from_masks(first, logits)
        there = torch.tensor([True, False])
        spatial, pointers = [network.remember(first, logits, there, given=True)], [seen.pointers]
        loss = torch.zeros(())
        for step in (1, 2, 3):
            here = network.features(encoded.tokens[step].clone()).repeat(count)
            ages = torch.arange(step, 0, -1).expand(count, -1)
            places = (0, *range(step - 1, 0, -1))
            memory = Memory(torch.stack(spatial, 1), places, torch.stack(pointers, 1), ages)
            offered = network.decode(network.recall(here, memory))
            loss = offered.masks.square().mean() + offered.quality.mean() + offered.score.mean()
            seen = choose(model, offered)
            spatial.append(network.remember(here, offered.masks[:, 0], there))
            pointers.append(seen.pointers)
        wanted = dict(
            neck=network.neck.fpn_layers[2].proj1.weight,
            tokens=tokens,
            memory_attention=model.memory_attention.layers[0].cross_attn_image.k_proj.weight,
            memory_encoder=model.memory_encoder.projection.weight,
            occlusion=model.occlusion_spatial_embedding_parameter,
            mask_downsample=model.mask_downsample.weight,
            mask_decoder=model.mask_decoder.mask_tokens.weight,
            object_pointers=model.object_pointer_proj.proj_out.weight,
            when=model.memory_temporal_positional_encoding,
            ages=model.temporal_positional_encoding_projection_layer.weight,
        )
        gradients = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True)
    for name, gradient in zip(wanted, gradients, strict=True):
        assert gradient is not None and gradient.isfinite().all() and gradient.abs().sum() > 0, name
    # conditioning, one and two frames ago: each has an encoding of its own
    assert all(gradients[-2][place].abs().sum() > 0 for place in (-1, 0, 1))


# ------------------------------------------------------------------------------ what is read of the memory


def history(conditioning: Sequence[int], others: Sequence[int]) -> Track:
    """A track whose memories tell their steps."""
    track = Track(1, 0, "thing", 0, 0.9, 30)
    for step in sorted({*conditioning, *others}):
        track.remember(step, torch.full((4, 64), float(step)), torch.full((8,), float(step)), step in conditioning)
    return track


def read(track: Track, step: int, network: TrackerNetwork) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Places and steps of the memories, ages and steps of the pointers."""
    (rows, memory), = recollections([track], step, network)
    assert rows == [0]
    spatial = list(zip(memory.places, memory.spatial[0, :, 0, 0].int().tolist(), strict=True))
    return sorted(spatial), sorted(zip(memory.ages[0].tolist(), memory.pointers[0, :, 0].int().tolist(), strict=True))


@settings(max_examples=150, deadline=None)
@given(data=st.data(), step=st.integers(1, 60))
def test_what_is_read_equals_transformers(network, data, step):
    """But for pointers of confirmed frames that are too many: Meta reads those of the four it selects, transformers
    those of all there ever were.
    """
    steps = st.integers(0, step - 1)
    conditioning = data.draw(st.sets(steps, min_size=1))
    others = data.draw(st.sets(steps)) - conditioning
    spatial, pointers = read(history(conditioning, others), step, network)
    kinds = {"cond_frame_outputs": conditioning, "non_cond_frame_outputs": others}
    kept = {kind: {k: {"object_pointer": torch.tensor(k), "step": k} for k in sorted(some)}
            for kind, some in kinds.items()}
    session, model = SimpleNamespace(output_dict_per_obj={0: kept}), network.model
    gathered = model._gather_memory_frame_outputs(session, 0, step)
    assert spatial == sorted((place, out["step"]) for place, out in gathered if out is not None)
    ages, tokens, most = model._get_object_pointers(session, 0, step, None, torch.device("cpu"), streaming=True)
    assert most == network.pointers_remembered
    want = {(age, int(token)) for age, token in zip(ages, tokens, strict=True)}
    selected = {k for place, k in spatial if place == 0}
    if len(conditioning) > network.conditioning_remembered:
        assert selected == set(sorted(conditioning)[-network.conditioning_remembered:])
        want = {(age, k) for age, k in want if k in selected or age < network.pointers_remembered}
    assert pointers == sorted(want)


@settings(max_examples=50, deadline=None)
@given(confirmed=st.lists(st.booleans(), min_size=30, max_size=60), missed=st.integers(0, 3))
def test_what_is_pruned_is_never_read_again(network, confirmed, missed):
    whole, pruned = history([0], []), history([0], [])
    for step, conditioning in enumerate(confirmed[1 + missed :], 1 + missed):
        assert read(whole, step, network) == read(pruned, step, network)
        for track in (whole, pruned):
            track.remember(step, torch.full((4, 64), float(step)), torch.full((8,), float(step)), conditioning)
        pruned.prune(step, network)
        assert len(pruned.entries) <= network.pointers_remembered - 1 + network.conditioning_remembered
        held = sum(e.spatial is not None for e in pruned.entries.values())
        assert held <= network.frames_remembered + network.conditioning_remembered
    assert pruned.bytes() < whole.bytes() or len(whole.entries) < 8


def test_tracks_that_remember_equally_much_are_one_batch(network):
    tracks = [history([0], [1, 2, 3]), history([0], [2, 3]), history([0], [1, 2, 3]), history([0], [1, 2, 3])]
    groups = list(recollections(tracks, 4, network))
    assert [rows for rows, _ in groups] == [[0, 2, 3], [1]]
    assert groups[0][1].spatial.shape == (3, 4, 4, 64) and groups[0][1].ages.shape == (3, 4)
    assert list(recollections([], 4, network)) == []


def test_all_conditioning_frames_are_read_if_the_config_says_so(network):
    """Which it does by -1."""
    tracker = SimpleNamespace(
        backbone_feature_sizes=[(56, 56), (28, 28), (14, 14)], num_maskmem=7,
        config=SimpleNamespace(max_object_pointers_in_encoder=16, max_cond_frame_num=-1),
    )
    spatial, _ = read(history(range(0, 60, 10), []), 60, TrackerNetwork(tracker, None))
    assert [k for _, k in spatial] == list(range(0, 60, 10))


# ------------------------------------------------------------------------------ the checkpoint


@pytest.mark.parametrize("kind", [Sam3Model, Sam3VideoModel, Sam3TrackerModel, Sam3TrackerVideoModel])
def test_every_class_of_the_family_finds_its_weights(kind):
    model, report = kind.from_pretrained(TINY, local_files_only=True, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    # and they are those of the file, the shared vision encoder's among them
    stored = load_file(TINY / "model.safetensors")
    vision = stored["detector_model.vision_encoder.backbone.embeddings.patch_embeddings.projection.weight"]
    memory = stored.get("tracker_model.mask_decoder.iou_token.weight")
    tensors = model.state_dict()
    ours = [v for k, v in tensors.items() if k.endswith("vision_encoder.backbone.embeddings.patch_embeddings."
                                                        "projection.weight")]
    assert len(ours) == 1 and torch.equal(ours[0].half(), vision)
    if kind is not Sam3Model:
        token = next(v for k, v in tensors.items() if k.endswith("mask_decoder.iou_token.weight"))
        assert torch.equal(token.half(), memory)


def test_the_checkpoint_is_small():
    assert sum(file.stat().st_size for file in TINY.iterdir()) <= 12_000_000


def test_transformers_video_processor_reads_the_checkpoint(processor, checkpoint):
    assert processor.video_processor.size["height"] == processor.image_processor.size["height"] == checkpoint.side
    assert tuple(processor.video_processor.image_mean) == checkpoint.mean
    assert len(processor.tokenizer) == len(checkpoint.tokenizer)


def test_the_tracker_is_loaded_only_if_asked_for(checkpoint):
    assert load_checkpoint(TINY, device="cpu").tracker is None
    network = checkpoint.tracker
    assert network.model.vision_encoder is None
    assert (network.grid, network.mask_side) == (14, 56)
    assert (network.pointers_remembered, network.frames_remembered, network.conditioning_remembered) == (16, 6, 4)
    assert checkpoint.tracker_config.model_type == "sam3_video"


def test_a_checkpoint_without_a_tracker_is_refused_for_videos(tmp_path):
    """One made for images only says so; one that lost its tracker does not run on noise."""
    images = tmp_path / "images"
    shutil.copytree(TINY, images)
    config = json.loads((TINY / "config.json").read_text())
    (images / "config.json").write_text(json.dumps(config["detector_config"] | {"model_type": "sam3"}))
    with pytest.raises(CheckpointError, match="holds a detector and no tracker"):
        load_checkpoint(images, device="cpu", tracker=True)
    lost = tmp_path / "lost"
    shutil.copytree(TINY, lost)
    tensors = load_file(TINY / "model.safetensors")
    save_file({k: v for k, v in tensors.items() if not k.startswith("tracker_model.memory_attention.")},
              lost / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="lacks .* tensors of SAM 3, tracker_model.memory_attention"):
        load_checkpoint(lost, device="cpu", tracker=True)
