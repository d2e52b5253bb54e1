"""The shared mask head is transformers' mask decoder, only cheaper."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers.models.sam3.configuration_sam3 import Sam3MaskDecoderConfig
from transformers.models.sam3.modeling_sam3 import Sam3MaskDecoder

from zoo.engine.mask_head import MaskHead, _add_upsampled, _four_kernels


@given(
    rows=st.integers(1, 3), channels=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)), seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_four_small_kernels_are_one_on_the_upsampled_map(rows, channels, size, seed):
    """Down to a map of a single pixel, where everything is border."""
    torch.manual_seed(seed)
    conv = nn.Conv2d(*channels, 3, padding=1)
    small, fine = torch.randn(rows, channels[0], *size), torch.randn(1, channels[0], 2 * size[0], 2 * size[1])
    with torch.no_grad():
        want = conv(F.interpolate(small, scale_factor=2, mode="nearest") + fine)
        got = _add_upsampled(conv(fine), small, _four_kernels(conv.weight))
    assert torch.allclose(got, want, atol=1e-5)


@pytest.fixture(scope="module")
def decoder() -> Sam3MaskDecoder:
    """Small, and with weights far from the zeros and ones that hide mistakes."""
    torch.manual_seed(0)
    config = Sam3MaskDecoderConfig(hidden_size=32, num_upsampling_stages=3, num_attention_heads=4)
    decoder = Sam3MaskDecoder(config).eval()
    for parameter in decoder.parameters():
        nn.init.normal_(parameter, std=0.3)
    return decoder


@pytest.mark.parametrize("levels", [3, 2, 4])
@torch.inference_mode()
def test_equal_to_the_mask_decoder(decoder, levels):
    """For a pyramid of any height; on a map that is not square; with prompts of different lengths."""
    torch.manual_seed(levels)
    count, queries, tokens, height, width = 3, 5, 7, 3, 4
    scales = [2**k for k in reversed(range(levels))]
    pyramid = tuple(torch.randn(1, 32, height * s, width * s) for s in scales)
    asked, encoded = torch.randn(count, queries, 32), torch.randn(count, height * width, 32)
    prompt, lengths = torch.randn(count, tokens, 32), torch.tensor([[7], [1], [4]])
    readable = torch.arange(tokens) < lengths
    want = decoder(
        decoder_queries=asked, backbone_features=[level.expand(count, -1, -1, -1) for level in pyramid],
        encoder_hidden_states=encoded, prompt_features=prompt, prompt_mask=readable,
    ).pred_masks
    head = MaskHead(decoder)
    got = head.masks(head.share(pyramid), pyramid[-1], asked, encoded, prompt, readable)
    assert got.shape == want.shape == (count, queries, height * scales[0], width * scales[0])
    assert torch.allclose(got, want, rtol=1e-4, atol=1e-4 * float(want.abs().max()))
    assert float(want.std()) > 0.1  # there was something to be equal to


@torch.inference_mode()
def test_half_precision_is_as_close_as_the_mask_decoder_itself(decoder):
    torch.manual_seed(3)
    pyramid = tuple(torch.randn(1, 32, 4 * s, 4 * s) for s in (4, 2, 1))
    asked, encoded, prompt = torch.randn(2, 5, 32), torch.randn(2, 16, 32), torch.randn(2, 3, 32)
    readable = torch.ones(2, 3, dtype=torch.bool)

    def stock(model: Sam3MaskDecoder, kind: torch.dtype) -> torch.Tensor:
        return model(
            decoder_queries=asked.to(kind), encoder_hidden_states=encoded.to(kind),
            backbone_features=[level.to(kind).expand(2, -1, -1, -1) for level in pyramid],
            prompt_features=prompt.to(kind), prompt_mask=readable,
        ).pred_masks.float()

    exact = stock(decoder, torch.float32)
    low = Sam3MaskDecoder(decoder.config).eval()
    low.load_state_dict(decoder.state_dict())
    low = low.bfloat16()
    head = MaskHead(low)
    levels = tuple(level.bfloat16() for level in pyramid)
    got = head.masks(
        head.share(levels), levels[-1], asked.bfloat16(), encoded.bfloat16(), prompt.bfloat16(), readable
    ).float()
    error, its_own = (got - exact).abs().mean(), (stock(low, torch.bfloat16) - exact).abs().mean()
    assert error < 1.5 * its_own
