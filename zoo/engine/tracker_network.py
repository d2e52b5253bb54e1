"""The tracker's network: from an object's memory and a new frame to where the object is now.

The same weights and the same arithmetic as transformers' ``Sam3TrackerVideoModel``, which runs one object at a time,
keeps what it needs in a session, and cannot be differentiated. Here every step is a plain function over ``N`` objects
at once, so that tracking costs one call a frame, and training can unroll it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

#: what a mask's logits are where the network says that the object is not in the frame
NO_OBJECT = -1024.0
#: logits of a mask that was given: of its pixels, and of the others
_GIVEN = (10.0, -10.0)


@dataclass(frozen=True)
class TrackerFeatures:
    """Encoded frames: ``fine`` two levels ``(B, C', 4g, 4g)`` and ``(B, C'', 2g, 2g)`` ready for the mask decoder;
    ``coarse`` ``(B, C, g, g)``.
    """

    fine: tuple[Tensor, Tensor]
    coarse: Tensor

    def rows(self, index: Tensor) -> TrackerFeatures:
        """Frames picked, or repeated, by row."""
        return TrackerFeatures((self.fine[0][index], self.fine[1][index]), self.coarse[index])

    def repeat(self, count: int) -> TrackerFeatures:
        """One frame for ``count`` objects, without copying it."""
        fine, finer = (level.expand(count, -1, -1, -1) for level in self.fine)
        return TrackerFeatures((fine, finer), self.coarse.expand(count, -1, -1, -1))


@dataclass(frozen=True)
class Candidates:
    """What the mask decoder offers for ``N`` objects: ``masks`` logits ``(N, M, 4g, 4g)``; ``quality`` ``(N, M)``, the
    IoU it expects of each; ``tokens`` ``(N, M, C)``; ``score`` ``(N,)``, logit of "the object is in this frame".
    """

    masks: Tensor
    quality: Tensor
    tokens: Tensor
    score: Tensor


@dataclass(frozen=True)
class Seen:
    """Where ``N`` objects are: ``masks`` logits ``(N, 4g, 4g)``; ``pointers`` ``(N, C)``, what the object looks like,
    for the memory; ``score`` ``(N,)``, logit of "the object is in this frame".
    """

    masks: Tensor
    pointers: Tensor
    score: Tensor


@dataclass(frozen=True)
class Memory:
    """What ``N`` objects remember, all of them equally much.

    ``spatial``: ``(N, S, g * g, 64)``; ``places``: for each of the ``S``, 0 for a conditioning frame, else how many
    frames ago; ``pointers``: ``(N, P, C)``; ``ages``: ``(N, P)``, how many frames ago each pointer was seen.
    """

    spatial: Tensor
    places: tuple[int, ...]
    pointers: Tensor
    ages: Tensor


class TrackerNetwork:
    """The tracker of a ``Sam3VideoModel``.

    Args:
        tracker: ``Sam3TrackerVideoModel``, with or without a vision encoder of its own
        neck: the tracker's own feature pyramid on the shared vision encoder (``Sam3VisionNeck``)
    """

    def __init__(self, tracker: Any, neck: Any) -> None:
        self.model = tracker
        self.neck = neck
        self.grid: int = tracker.backbone_feature_sizes[-1][0]
        self.pointers_remembered: int = tracker.config.max_object_pointers_in_encoder
        self.frames_remembered: int = tracker.num_maskmem - 1
        most = tracker.config.max_cond_frame_num
        self.conditioning_remembered: int = most if most >= 0 else sys.maxsize  # upstream's -1 is all of them

    @property
    def mask_side(self) -> int:
        """Of the masks, in cells."""
        return self.model.prompt_encoder.mask_input_size[0]

    def features(self, tokens: Tensor) -> TrackerFeatures:
        """Frames for the tracker.

        Args:
            tokens: ``(B, g * g, D)``, the last hidden state of the vision encoder's backbone
        """
        square = self._square(tokens)
        decoder, layers = self.model.mask_decoder, self.neck.fpn_layers
        fine = _narrowed(layers[0], decoder.conv_s0, square), _narrowed(layers[1], decoder.conv_s1, square)
        return TrackerFeatures(fine, layers[2](square))

    def pyramid(self, tokens: Tensor) -> list[Tensor]:
        """The neck's three levels, fine to coarse. The fourth is computed by transformers, and used by none."""
        square = self._square(tokens)
        return [layer(square) for layer in self.neck.fpn_layers[:3]]

    def from_pyramid(self, levels: list[Tensor]) -> TrackerFeatures:
        """Features of :meth:`pyramid`'s levels."""
        decoder = self.model.mask_decoder
        return TrackerFeatures((decoder.conv_s0(levels[0]), decoder.conv_s1(levels[1])), levels[2])

    def _square(self, tokens: Tensor) -> Tensor:
        return tokens.view(len(tokens), self.grid, self.grid, -1).permute(0, 3, 1, 2)

    # ---------------------------------------------------------------- how an object begins

    def drawn(self, masks: Tensor) -> Tensor:
        """Masks that were given, as logits at the size of the network's input, ``(N, side, side)``.

        Args:
            masks: bool or float ``(N, h, w)`` in [0, 1], of any size
        """
        inside, outside = _GIVEN
        large = _resized(masks[:, None].to(self.model.dtype), self.model.image_size)[:, 0]
        return large * (inside - outside) + outside

    def from_masks(self, features: TrackerFeatures, logits: Tensor) -> Seen:
        """Objects whose masks are given: they are what they are given as.

        Args:
            features: ``N`` frames
            logits: of :meth:`drawn`
        """
        inside, outside = _GIVEN
        large = (logits - outside) / (inside - outside)
        prompt = self.model.mask_downsample(large[:, None])
        pointers = choose(self.model, self.decode(features, masks=prompt)).pointers
        there = (large > 0).flatten(1).any(1).to(large.dtype)
        pointers = there[:, None] * pointers + (1 - there[:, None]) * self.model.no_object_pointer
        return Seen(_resized(logits[:, None], self.mask_side)[:, 0], pointers, there * (inside - outside) + outside)

    def decode(
        self, features: TrackerFeatures, *, points: Tensor | None = None, labels: Tensor | None = None,
        boxes: Tensor | None = None, masks: Tensor | None = None, multimask: bool = True,
    ) -> Candidates:
        """SAM's mask decoder.

        Args:
            features: ``N`` frames
            points: ``(N, P, 2)``, ``x, y`` in pixels of the network's square input
            labels: ``(N, P)``: 1 on the object, 0 not on it, -1 no point
            boxes: ``(N, 4)``, ``x0, y0, x1, y1`` in the same pixels
            masks: ``(N, 1, h, w)``, logits of an earlier answer, at any size
            multimask: three candidates (whole, part, sub-part), not one
        """
        model, count = self.model, len(features.coarse)
        dtype = features.coarse.dtype
        if points is None and boxes is None:
            points = features.coarse.new_zeros(count, 1, 2)
            labels = -torch.ones(count, 1, device=points.device)
        if masks is not None and masks.shape[-1] != self.mask_side:
            masks = _resized(masks, self.mask_side)
        sparse, dense = model.prompt_encoder(
            input_points=None if points is None else points[:, None].to(dtype),
            input_labels=None if labels is None else labels[:, None].to(torch.int32),
            input_boxes=None if boxes is None else boxes[:, None].to(dtype),
            input_masks=masks,
        )
        logits, quality, tokens, score = model.mask_decoder(
            image_embeddings=features.coarse,
            image_positional_embeddings=model.get_image_wide_positional_embeddings().expand(count, -1, -1, -1),
            sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense.expand(count, -1, -1, -1),
            multimask_output=multimask, high_resolution_features=list(features.fine),
        )
        return Candidates(logits[:, 0], quality[:, 0], tokens[:, 0], score[:, 0, 0])

    def without_memory(self, features: TrackerFeatures) -> TrackerFeatures:
        """Features for an object's first frame, when it is prompted with points or boxes."""
        return TrackerFeatures(features.fine, features.coarse + self.model.no_memory_embedding.view(1, -1, 1, 1))

    # ---------------------------------------------------------------- how it goes on

    def recall(self, features: TrackerFeatures, memory: Memory, most_pointers: int | None = None) -> TrackerFeatures:
        """Features that have read the objects' memory.

        Args:
            features: ``N`` frames
            memory: of the ``N`` objects
            most_pointers: what ages are measured by; fewer than the network's own only for clips shorter than that
        """
        model, count = self.model, len(features.coarse)
        spatial = memory.spatial.to(features.coarse.dtype)
        # a conditioning frame has the last encoding, whenever it was
        encodings = model.memory_temporal_positional_encoding
        when = torch.stack([encodings[place - 1] for place in memory.places]).view(1, -1, 1, 64)
        places = (self._positions(spatial) + when).expand(count, -1, -1, -1)
        pointers, ages = self._pointers(memory, (most_pointers or self.pointers_remembered) - 1)
        keys = torch.cat([spatial.flatten(1, 2), pointers], 1)[:, None]
        positions = torch.cat([places.flatten(1, 2), ages], 1)[:, None]
        frames = _different(features.coarse)
        coarse = frames.flatten(2).transpose(1, 2)
        where = self.neck.position_encoding((1, *frames.shape[1:]), coarse.device, coarse.dtype)
        read = self._attend(coarse + 0.1 * where.flatten(2).transpose(1, 2), keys, positions, pointers.shape[1], count)
        read = read.transpose(1, 2).reshape(count, -1, self.grid, self.grid)
        return TrackerFeatures(features.fine, read)

    def _attend(self, frames: Tensor, keys: Tensor, positions: Tensor, pointers: int, count: int) -> Tensor:
        """``Sam3TrackerVideoMemoryAttention.forward``; where all ``count`` objects look at one frame, its first
        self-attention, which reads no memory, is done once.
        """
        attention = self.model.memory_attention
        hidden = frames[:, None]
        turns = attention.rotary_emb(hidden, attention.position_ids)
        for layer in attention.layers:
            normed = layer.layer_norm1(hidden)
            own, _ = layer.self_attn(query=normed, key=normed, value=normed, position_embeddings=turns)
            hidden = (hidden + layer.dropout1(own)).expand(count, -1, -1, -1)
            read, _ = layer.cross_attn_image(
                query=layer.layer_norm2(hidden), key=keys + positions, value=keys, position_embeddings=turns,
                num_k_exclude_rope=pointers,
            )
            hidden = hidden + layer.dropout2(read)
            mixed = layer.activation(layer.linear1(layer.layer_norm3(hidden)))
            hidden = hidden + layer.dropout3(layer.linear2(layer.dropout(mixed)))
        return attention.layer_norm(hidden)[:, 0]

    def follow(self, features: TrackerFeatures, memory: Memory, most_pointers: int | None = None) -> Seen:
        """Where ``N`` objects are in ``N`` frames; arguments as for :meth:`recall`."""
        return choose(self.model, self.decode(self.recall(features, memory, most_pointers)))

    def remember(self, features: TrackerFeatures, masks: Tensor, there: Tensor, *, given: bool = False) -> Tensor:
        """What to keep of a frame.

        Args:
            features: ``N`` frames, as :meth:`features` made them
            masks: logits ``(N, h, w)``
            there: bool ``(N,)``: the object is in the frame
            given: the masks were prompts: they are remembered as sharp as they are

        Returns:
            spatial memory ``(N, g * g, 64)``, in bfloat16 as upstream keeps it
        """
        model, config = self.model, self.model.config
        logits = _resized(masks[:, None], 4 * self.mask_side)
        soft = (logits > 0).to(logits.dtype) if given else logits.sigmoid()
        soft = soft * config.sigmoid_scale_for_mem_enc + config.sigmoid_bias_for_mem_enc
        spatial, _ = model.memory_encoder(_different(features.coarse), soft.to(features.coarse.dtype))
        if model.occlusion_spatial_embedding_parameter is not None:
            gone = 1 - there.to(spatial.dtype)
            spatial = spatial + gone[:, None, None, None] * model.occlusion_spatial_embedding_parameter[..., None, None]
        return spatial.to(torch.bfloat16).flatten(2).transpose(1, 2)

    def _positions(self, spatial: Tensor) -> Tensor:
        """Position encoding of a spatial memory, ``(1, 1, g * g, 64)``: the same for every frame and object."""
        shape = (1, spatial.shape[-1], self.grid, self.grid)
        encoding = self.model.memory_encoder.position_encoding(shape, spatial.device, spatial.dtype)
        return encoding.flatten(2).transpose(1, 2)[:, None]

    def _pointers(self, memory: Memory, longest: int) -> tuple[Tensor, Tensor]:
        """Pointers as tokens of the memory's width, ``(N, tokens, 64)``, and their positions."""
        from transformers.models.sam3_tracker_video.modeling_sam3_tracker_video import get_1d_sine_pe

        count, width, hidden = len(memory.pointers), memory.spatial.shape[-1], memory.pointers.shape[-1]
        pointers = memory.pointers.to(self.model.dtype)
        if self.model.config.enable_temporal_pos_encoding_for_object_pointers:
            waves = get_1d_sine_pe(memory.ages.float() / max(1, longest), dim=hidden).to(pointers.dtype)
            ages = self.model.temporal_positional_encoding_projection_layer(waves)
        else:
            ages = pointers.new_zeros(*pointers.shape[:2], width)
        split = max(1, hidden // width)
        return pointers.reshape(count, -1, width), ages.repeat_interleave(split, dim=1)


def choose(model: Any, candidates: Candidates) -> Seen:
    """The best candidate of each object, and none where the object is not there."""
    best = candidates.quality.argmax(1)
    row = torch.arange(len(best), device=best.device)
    there = candidates.score > 0
    masks = torch.where(there[:, None, None], candidates.masks[row, best], NO_OBJECT)
    soft = there.to(candidates.tokens.dtype)[:, None]
    pointers = soft * model.object_pointer_proj(candidates.tokens[row, best]) + (1 - soft) * model.no_object_pointer
    return Seen(masks, pointers, candidates.score)


def _different(frames: Tensor) -> Tensor:
    """``frames`` without repetition, where :meth:`TrackerFeatures.repeat` made them."""
    return frames[:1] if frames.stride(0) == 0 else frames


def _narrowed(layer: Any, narrow: Any, square: Tensor) -> Tensor:
    """``narrow(layer(square))``: their last two convolutions have nothing between them, so they are one, of few
    channels.
    """
    hidden = square.to(layer.proj1.weight.dtype)
    for step in (*layer.scale_layers, layer.proj1):
        hidden = step(hidden)
    mix, wide = narrow.weight[:, :, 0, 0], layer.proj2
    weight = (mix @ wide.weight.flatten(1)).view(len(mix), *wide.weight.shape[1:])
    return F.conv2d(hidden, weight, mix @ wide.bias + narrow.bias, padding=wide.padding)


def _resized(masks: Tensor, side: int) -> Tensor:
    """``(N, 1, h, w)`` at ``(side, side)``, as upstream resizes masks."""
    if masks.shape[-2:] == (side, side):
        return masks
    large = F.interpolate(masks.float(), (side, side), mode="bilinear", align_corners=False, antialias=True)
    return large.to(masks.dtype)
