"""The shape of the small checkpoint: the classes of ``facebook/sam3``, a few million parameters.

Widths that look arbitrary are not: transformers hard-codes a memory width of 64 for the tracker and only
splits object pointers when the hidden size is larger, so the smallest hidden size that can ever track is 128.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from transformers import CLIPTokenizer, Sam3Model, Sam3VideoConfig

from .vocabulary import COLOURS, NEVER_DRAWN, NOUNS, plural

IMAGE_SIZE = 196
PATCH = 14
GRID = IMAGE_SIZE // PATCH
HIDDEN = 128
QUERIES = 25
#: how this network tracks best (see ``TrackerSettings``; compared on clips that no measurement uses): its masks are 56
#: cells wide, not 288, and its detector draws better than its tracker
TRACKING = dict(
    fill_hole_area=2, correct_with_detections=True, suppress_unmatched_only_within_hotstart=False,
    init_trk_keep_alive=1, max_trk_keep_alive=2, reidentify=True,
)


def build_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer that has merges for the world's own words only; any other word is spelled in short pieces."""
    words: list[str] = ["visual", "a", "an", "the", *COLOURS]
    for phrase in (*NOUNS, *NEVER_DRAWN):
        words += phrase.split() + plural(phrase).split()
    words = list(dict.fromkeys(w for phrase in words for w in phrase.replace("-", " - ").split()))
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789-'&"]
    vocabulary: dict[str, int] = {}
    merges: list[tuple[str, str]] = []
    for token in [*letters, *(letter + "</w>" for letter in letters)]:
        vocabulary[token] = len(vocabulary)
    for word in words:  # merged from the left; words that share pieces may stay two or three tokens
        head = word[0]
        for i in range(1, len(word)):
            tail = word[i] + ("</w>" if i == len(word) - 1 else "")
            if (head, tail) not in merges:
                merges.append((head, tail))
            head += tail
            vocabulary.setdefault(head, len(vocabulary))
    for special in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[special] = len(vocabulary)
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=32)


def build_config(tokenizer: CLIPTokenizer) -> Sam3VideoConfig:
    """The whole model's configuration, detector and tracker, in the layout of ``facebook/sam3``."""
    backbone = dict(
        model_type="sam3_vit_model", hidden_size=96, intermediate_size=384, num_hidden_layers=6,
        num_attention_heads=4, image_size=IMAGE_SIZE, patch_size=PATCH, pretrain_image_size=IMAGE_SIZE,
        window_size=GRID // 2, global_attn_indexes=[2, 5],
    )
    vision = dict(
        model_type="sam3_vision_model", backbone_config=backbone, fpn_hidden_size=HIDDEN,
        backbone_feature_sizes=[[4 * GRID, 4 * GRID], [2 * GRID, 2 * GRID], [GRID, GRID]],
        scale_factors=[4.0, 2.0, 1.0, 0.5],
    )
    layer = dict(hidden_size=HIDDEN, num_attention_heads=4, intermediate_size=256, dropout=0.0)
    detector = dict(
        model_type="sam3", vision_config=vision,
        text_config=dict(
            model_type="clip_text_model", vocab_size=len(tokenizer), hidden_size=96, intermediate_size=256,
            projection_dim=32, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=32,
            hidden_act="gelu", bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        ),
        geometry_encoder_config=dict(**layer, num_layers=1, roi_size=3),
        detr_encoder_config=dict(**layer, num_layers=2),
        detr_decoder_config=dict(**layer, num_layers=3, num_queries=QUERIES),
        mask_decoder_config=dict(hidden_size=HIDDEN, num_upsampling_stages=3, num_attention_heads=4),
    )
    tracker = dict(
        model_type="sam3_tracker_video", image_size=IMAGE_SIZE, vision_config=vision,
        prompt_encoder_config=dict(hidden_size=HIDDEN, image_size=IMAGE_SIZE, patch_size=PATCH, mask_input_channels=16),
        mask_decoder_config=dict(
            hidden_size=HIDDEN, mlp_dim=192, num_hidden_layers=2, num_attention_heads=4,
            attention_downsample_rate=2, iou_head_hidden_dim=HIDDEN // 2,
        ),
        memory_attention_hidden_size=HIDDEN, memory_attention_num_layers=1,
        memory_attention_num_attention_heads=1, memory_attention_feed_forward_hidden_size=2 * HIDDEN,
        memory_attention_rope_feat_sizes=[GRID, GRID], memory_encoder_hidden_size=HIDDEN,
        memory_encoder_output_channels=64, mask_downsampler_embed_dim=HIDDEN, memory_fuser_num_layers=1,
        memory_fuser_embed_dim=HIDDEN, memory_fuser_intermediate_dim=2 * HIDDEN,
        multimask_max_pt_num=64,  # however much is said, one of three masks is chosen: the fourth was never trained
    )
    return Sam3VideoConfig(
        detector_config=detector, tracker_config=tracker, low_res_mask_size=4 * GRID, **TRACKING
    )


def initialise_layers(model: nn.Module) -> None:
    """Linear layers and convolutions; transformers draws everything from N(0, 0.02), too little at this width."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_uniform_(module.weight, a=math.sqrt(5))
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def initialise(model: Sam3Model) -> None:
    """Weights a small DETR can start from.

    transformers leaves all box references in the middle: such a model learns colours but never moves its boxes. Here
    references stand on a grid, and the box-relative attention bias starts as "look inside your own box".
    """
    initialise_layers(model)
    for module in model.text_encoder.modules():
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.2)
    decoder = model.detr_decoder
    nn.init.zeros_(decoder.box_head.layer3.weight)
    nn.init.zeros_(decoder.box_head.layer3.bias)
    nn.init.normal_(decoder.query_embed.weight, std=0.5)
    side = math.isqrt(QUERIES)
    ticks = (torch.arange(side) + 0.5) / side
    centres = torch.stack(torch.meshgrid(ticks, ticks, indexing="xy"), -1).reshape(-1, 2)
    references = torch.cat([centres, torch.full((side * side, 2), 0.25)], 1)
    decoder.reference_points.weight.data.copy_(torch.logit(references))
    slope = torch.tensor([8.0, 8.0, 3.0, 0.0])  # one value a head: two look sharply, one loosely, one everywhere
    for bias in (decoder.box_rpb_embed_x, decoder.box_rpb_embed_y):
        nn.init.normal_(bias.layer1.weight, std=0.3)
        nn.init.normal_(bias.layer2.weight, std=0.02)
        nn.init.zeros_(bias.layer1.bias)
        nn.init.zeros_(bias.layer2.bias)
        # hidden unit 0 fires left of (above) the box, unit 1 right of (below) it; both push attention down
        bias.layer1.weight.data[0] = torch.tensor([-1.0, 0.0])
        bias.layer1.weight.data[1] = torch.tensor([0.0, 1.0])
        bias.layer2.weight.data[:, 0] = -slope
        bias.layer2.weight.data[:, 1] = -slope
