"""Work that is ordered ahead, packed, compiled or done in half precision gives the same answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine_detector import CONCEPTS, LOW, assert_same
from transformers import Sam3Config, Sam3Model

from emoji_world.scenes import render, sample_scene
from zoo.engine import budget, compiling
from zoo.engine.checkpoint import Checkpoint, load_checkpoint
from zoo.engine.compiling import Compiled, parse_compile
from zoo.engine.detector import Batch, ConceptDetector
from zoo.engine.errors import CheckpointError
from zoo.engine.images import to_square
from zoo.engine.masks import crop_masks, mask_iou
from zoo.engine.packing import _unpacked, packed
from zoo.engine.queries import QueryDecoder, padding_mask
from zoo.engine.transfers import ToHost, ahead
from zoo.engine.vision import VisionEncoder


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return load_checkpoint(device="cpu")


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    return [render(sample_scene(seed), 0.25)[0] for seed in (10, 12, 4, 7, 8)]


def batch(checkpoint: Checkpoint, images: Sequence[np.ndarray], concepts: Sequence[Sequence]) -> Batch:
    squares = torch.stack([to_square(image, checkpoint.side) for image in images])
    return Batch(squares, [image.shape[:2] for image in images], concepts)


# --------------------------------------------------------------------------------------- one batch after another


@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("pairs", [2, 100])
def test_a_stream_answers_as_one_batch_after_the_other(checkpoint, images, lookahead, pairs):
    """Of different sizes, with nothing asked, and with one that has several chunks."""
    detector = ConceptDetector(checkpoint, pairs_per_chunk=pairs)
    batches = [
        batch(checkpoint, images[:2], [CONCEPTS, CONCEPTS[:1]]), batch(checkpoint, images[2:3], [()]),
        batch(checkpoint, images[3:], [CONCEPTS[1:3], ()]), batch(checkpoint, images[:1], [CONCEPTS]),
        batch(checkpoint, images[1:2], [()]),
    ]  # fmt: skip
    want = [detector.detect(detector.encode_images(b.pixels, b.sizes), b.concepts, threshold=LOW) for b in batches]
    detector.lookahead, pulled = lookahead, []

    def given_out() -> Iterator[Batch]:
        for k, one in enumerate(batches):
            pulled.append(k)
            yield one

    answered = 0
    for k, got in enumerate(detector.stream(given_out(), threshold=LOW)):
        assert len(pulled) <= k + 1 + 2 * lookahead
        for one, other in zip(want[k], got, strict=True):
            assert_same(one, other)
        answered += 1
    assert answered == len(batches)


def test_a_stream_of_nothing(checkpoint):
    assert list(ConceptDetector(checkpoint).stream([])) == []


@given(st.lists(st.integers()), st.integers(0, 4))
def test_ahead_keeps_order_and_distance(items, count):
    made = []

    def source() -> Iterator[int]:
        for item in items:
            made.append(item)
            yield item

    got = []
    for item in ahead(source(), count):
        got.append(item)
        assert len(made) == min(len(items), len(got) + count)
    assert got == items


# --------------------------------------------------------------------------------------------------- masks as bits


@given(
    count=st.integers(0, 4), soft=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)), seed=st.integers(0, 2**31), room=st.integers(1, 10_000),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_packed_masks_are_cropped_ones(count, soft, size, seed, room):
    """Whatever fits together; of any size, larger or smaller than the network's; empty ones, too."""
    rng = np.random.default_rng(seed)
    masks = torch.from_numpy(rng.random((count, *soft), np.float32) ** rng.choice([0.2, 1, 5]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zoo.engine.packing._ROOM", room)
        parts = packed(masks, size)
    got = _unpacked([ToHost(part) for part in parts], size[1])
    want = crop_masks(masks, size)
    assert len(got) == len(want) == count
    for (corner, mask), (corner_, mask_) in zip(got, want, strict=True):
        assert corner == corner_ and np.array_equal(mask, mask_) and mask.dtype == bool


# ----------------------------------------------------------------------------------------- the network's own parts


@pytest.fixture(scope="module")
def stock() -> Sam3Model:
    """Random weights, far from symmetric; on a grid that its windows do not divide, they are padded."""
    return _model(window=2)


def _model(window: int) -> Sam3Model:
    torch.manual_seed(window)
    small = dict(hidden_size=32, intermediate_size=64, num_attention_heads=4)
    vit = dict(
        small, num_hidden_layers=4, image_size=84, patch_size=14, window_size=window, global_attn_indexes=[1, 3],
        pretrain_image_size=84,
    )  # fmt: skip
    model = Sam3Model(Sam3Config(
        vision_config=dict(backbone_config=dict(model_type="sam3_vit_model", **vit), fpn_hidden_size=32),
        text_config=dict(small, vocab_size=99, num_hidden_layers=1, projection_dim=32),
        geometry_encoder_config=dict(small, num_layers=1), detr_encoder_config=dict(small, num_layers=2),
        detr_decoder_config=dict(small, num_layers=3, num_queries=7), mask_decoder_config=dict(small),
    )).eval()  # fmt: skip
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.mark.parametrize("window", [2, 3, 4, 6])
@torch.inference_mode()
def test_the_vision_encoder_is_transformers_own(window):
    model = _model(window)
    pixels = torch.randn(3, 3, 84, 84)
    want, got = model.vision_encoder(pixels), VisionEncoder(model)(pixels)
    assert torch.allclose(got.tokens, want.last_hidden_state, atol=1e-4)
    assert len(got.levels) == len(want.fpn_hidden_states) - 1
    for one, other in zip(got.levels, want.fpn_hidden_states, strict=False):
        assert torch.allclose(one, other, atol=1e-3, rtol=1e-4)
    assert torch.equal(VisionEncoder(model).positions(got.levels[-1]), want.fpn_position_encoding[-2][:1])


@pytest.mark.parametrize("padded", [False, True])
@torch.inference_mode()
def test_the_decoder_is_transformers_own(stock, padded):
    from transformers.models.sam3.modeling_sam3 import box_cxcywh_to_xyxy, inverse_sigmoid

    count, grid = 3, (6, 6)
    encoded, positions, prompt = torch.randn(count, 36, 32), torch.randn(1, 36, 32), torch.randn(count, 5, 32)
    there = [[k < length for k in range(5)] for length in ((2, 5, 3) if padded else (5, 5, 5))]
    mask = torch.tensor(there)
    want = stock.detr_decoder(
        vision_features=encoded, text_features=prompt, vision_pos_encoding=positions.expand(count, -1, -1),
        text_mask=mask, spatial_shapes=torch.tensor([grid]),
    )
    queries = want.intermediate_hidden_states[-1]
    scores = stock.dot_product_scoring(decoder_hidden_states=queries[None], text_features=prompt, text_mask=mask)
    boxes = (inverse_sigmoid(want.reference_boxes[-1]) + stock.detr_decoder.box_head(queries)).sigmoid()
    decoder = QueryDecoder(stock)
    for _ in range(2):  # what is done once must not be spoilt by use
        got = decoder(encoded, positions, grid, prompt, padding_mask(there, encoded.device))
        assert torch.allclose(got[0], queries, atol=1e-4)
        assert torch.allclose(got[1], box_cxcywh_to_xyxy(boxes), atol=1e-5)
        assert torch.allclose(got[2], scores[0, ..., 0].sigmoid(), atol=1e-5)
        assert torch.allclose(got[3], want.presence_logits[-1][:, 0].sigmoid(), atol=1e-5)


# ------------------------------------------------------------------------------------------------------- compiling


def test_all_parts_are_one_graph_each(images, monkeypatch):
    """``fullgraph`` refuses what would be left to Python; what a compiler makes of a graph is its own affair."""
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **k: real(f, backend="eager", fullgraph=True, **k))
    plain, fast = (ConceptDetector(load_checkpoint(device="cpu", compile=part)) for part in (None, "all"))
    got, want = (
        next(d.stream([batch(d.checkpoint, images[:2], [CONCEPTS] * 2)], threshold=LOW)) for d in (fast, plain)
    )
    for one, other in zip(want, got, strict=True):
        assert_same(one, other)
    parts = (fast._vision._run, fast._reader._run, fast._decoder._run)
    assert all(isinstance(part, Compiled) and part._fast is not None for part in parts)
    assert fast._vision._run._sizes == {2}


def test_a_real_compiler_if_there_is_one():
    """On whatever this machine has: compiled or not, the answer is the same."""
    run = Compiled(lambda x, y: (x.sin() * y + 1, x.flip(1)), sizes=True)
    for count in (4, 2, 4):
        x, y = torch.randn(count, 3), torch.randn(3)
        one, other = run(x, y)
        assert torch.allclose(one, x.sin() * y + 1, atol=1e-6) and torch.equal(other, x.flip(1))


def test_without_a_compiler_all_runs_as_it_is(monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("no working C++ compiler\nand a page of reasons")

    monkeypatch.setattr(torch, "compile", lambda f, **_: broken)
    run = Compiled(lambda x: (x + 1,))
    for _ in range(3):
        assert torch.equal(run(torch.ones(2))[0], torch.full((2,), 2.0))
    assert [r.message for r in caplog.records] == ["It cannot be compiled, and runs as it is: no working C++ compiler"]


def test_what_fails_by_itself_fails(monkeypatch):
    def wrong(x):
        raise ValueError("not of this shape")

    monkeypatch.setattr(torch, "compile", lambda f, **_: f)
    with pytest.raises(ValueError, match="not of this shape"):
        Compiled(wrong)(torch.ones(1))


@pytest.mark.parametrize(
    ("said", "part"),
    [(None, None), (False, None), (True, "vision"), ("vision", "vision"), ("all", "all")],
)
def test_what_users_say_of_compiling(said, part):
    assert parse_compile(said) == part


@pytest.mark.parametrize("said", ["fast", 1.5, 2, ["vision"], ""])
def test_what_cannot_be_compiled_is_refused(said):
    with pytest.raises(CheckpointError, match="compile="):
        parse_compile(said)
    assert compiling.PARTS == (None, "vision", "all")


# --------------------------------------------------------------------------------------------------- half precision


def test_bfloat16_answers_nearly_the_same(checkpoint, images):
    """Presence to 0.05; what is surely there is found again, with masks that agree to 0.9 on average."""
    half = ConceptDetector(load_checkpoint(device="cpu", dtype="bfloat16"))
    full = ConceptDetector(checkpoint)
    found = [
        next(d.stream([batch(d.checkpoint, images, [CONCEPTS] * len(images))], threshold=LOW)) for d in (full, half)
    ]
    overlaps = []
    for one, other in zip(*found, strict=True):
        for a, b in zip(one, other, strict=True):
            assert b.presence == pytest.approx(a.presence, abs=0.05)
            sure = [i for i in a.instances if i.confidence > 0.5]
            for instance in sure:
                place = (instance.corner, instance.mask)
                overlaps.append(max((mask_iou(place, (j.corner, j.mask)) for j in b.instances), default=0.0))
    assert len(overlaps) >= 3 and np.mean(overlaps) > 0.9 and min(overlaps) > 0.7


# ----------------------------------------------------------------------------------------------------------- room


def test_batches_fit_the_memory_that_is_free(checkpoint, monkeypatch):
    gigabyte = 2**30
    for free, images, pairs in ((64 * gigabyte, 8, 32), (60 * 2**20, 1, 7), (1, 1, 1)):
        monkeypatch.setattr(budget, "free_bytes", lambda device, free=free: free)
        assert budget.images_that_fit(checkpoint) == images
        assert budget.pairs_that_fit(checkpoint) == ConceptDetector(checkpoint).pairs_per_chunk == pairs


def test_memory_that_is_free_here():
    assert 2**26 < budget.free_bytes(torch.device("cpu")) < 2**44
