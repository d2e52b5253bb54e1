"""How much fits into a device's memory: images encoded together, and pairs of image and phrase decoded together.

Estimates from the network's shapes, on the safe side: at full size in bfloat16 an image takes 0.5 GB while it is
encoded, and a pair 80 MB while it is decoded (60 were measured as the peak of live tensors). More together is faster
only until the device is busy, which a large GPU is with 16 images, and a CPU with one.
"""

from __future__ import annotations

import os

import torch

from .checkpoint import Checkpoint

#: of what is free, the share that may be planned with, for images and for pairs: features stay while both are at work
_FOR_IMAGES, _FOR_PAIRS = 0.4, 0.25
#: more than these together is no faster: images on a GPU, images elsewhere, pairs
_IMAGES_GPU, _IMAGES, _PAIRS = 16, 8, 32


def images_that_fit(checkpoint: Checkpoint) -> int:
    """How many images to encode together: a power of two, from 1 to 16."""
    most = _IMAGES_GPU if checkpoint.device.type == "cuda" else _IMAGES
    room = _FOR_IMAGES * free_bytes(checkpoint.device)
    while most > 1 and 2 * most * image_bytes(checkpoint) > room:  # one batch is encoded while another is asked
        most //= 2
    return most


def pairs_that_fit(checkpoint: Checkpoint) -> int:
    """How many pairs of image and phrase to decode together, from 1 to 32."""
    return int(max(1, min(_PAIRS, _FOR_PAIRS * free_bytes(checkpoint.device) // pair_bytes(checkpoint))))


def free_bytes(device: torch.device) -> int:
    """Memory that can still be had on a device."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # what torch holds and does not use can be had, too
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return max(0, torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (ValueError, OSError, AttributeError):  # Windows
        return 8 * 2**30


def image_bytes(checkpoint: Checkpoint) -> int:
    """What an image takes while it is encoded."""
    config = checkpoint.model.config.vision_config
    backbone, channels = config.backbone_config, config.fpn_hidden_size
    cells = (checkpoint.side // backbone.patch_size) ** 2
    levels = sum(int(scale * scale * cells) for scale in config.scale_factors[:-1]) * channels
    wide = cells * (10 * backbone.hidden_size + 2 * backbone.intermediate_size)
    turned = 6 * cells * backbone.hidden_size * 4  # in float32, whatever the network's type
    return (3 * levels + wide) * checkpoint.dtype.itemsize + turned


def pair_bytes(checkpoint: Checkpoint) -> int:
    """What a pair takes while it is decoded."""
    vision, decoder = checkpoint.model.config.vision_config, checkpoint.model.config.detr_decoder_config
    grid = checkpoint.side // vision.backbone_config.patch_size
    bias = decoder.num_attention_heads * (1 + decoder.num_queries) * grid * grid
    along = 2 * decoder.num_queries * 2 * grid * decoder.hidden_size
    return (bias + along + 12 * grid * grid * decoder.hidden_size) * checkpoint.dtype.itemsize
