"""Concept detection on images: encode once, ask many times.

Encoding an image costs SAM 3 thirteen times what a concept costs on top, so images are encoded once and every
concept is decoded from the cached features; so is the first self-attention of the DETR encoder, which reads no
words; texts are encoded once a run, and asked without their padding; and since the confidence of an instance is
its object score times presence, masks (a third of a concept's cost, most of its memory) are computed only for the
queries that survive their threshold, a few of one image together (:mod:`survivors`), and what they share is computed
once (:mod:`mask_head`). An absent concept leaves two numbers behind, so that a thousand cost no more memory than ten.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .checkpoint import Checkpoint
from .concepts import Concept, check_length
from .errors import ConceptError
from .geometry import beside, examples, no_example
from .mask_head import MaskHead
from .masks import crop_masks, mask_iou
from .prompts import VISUAL, Exemplars
from .results import ConceptResult, Instance
from .survivors import Survivor, Survivors

T = TypeVar("T")

#: two phrases of one concept found the same object if their masks overlap at least this much
_SAME_OBJECT = 0.5
#: phrases whose text features are kept
_REMEMBERED = 20_000


@dataclass(frozen=True)
class ImageFeatures:
    """A batch of encoded images.

    ``levels``: three float tensors ``(B, C, H_i, W_i)``, fine to coarse; ``attended``: ``(B, H * W, C)``, the coarse
    level after the DETR encoder's first self-attention; ``positions``: ``(1, H * W, C)``, its position encoding;
    ``cls``: ``(B, 1, C)`` geometry token or ``None``; ``sizes``: ``(height, width)`` of the originals; ``tokens``:
    ``(B, H * W, D)``, what the vision encoder hands to the tracker, if that was asked for.
    """

    levels: tuple[Tensor, ...]
    attended: Tensor
    positions: Tensor
    cls: Tensor | None
    sizes: tuple[tuple[int, int], ...]
    tokens: Tensor | None = None

    @property
    def square_positions(self) -> Tensor:
        """The positions as the coarse level lies, ``(1, C, H, W)``."""
        return self.positions.transpose(1, 2).unflatten(2, self.levels[-1].shape[-2:])


@dataclass(frozen=True)
class Asked:
    """One phrase asked of one image: the image's ``row``, the ``concept`` that the answer is about, counted within that
    image, and the ``floor``: confidence above which an instance is found; ``exemplars`` in that image, and tokens
    ``(K, C)`` of examples in other images (:meth:`ConceptDetector.learn`), if there are any: all are one query.
    """

    row: int
    concept: int
    phrase: str
    floor: float
    exemplars: Exemplars | None = None
    learnt: Tensor | None = None


@dataclass(frozen=True)
class Found:
    """What one phrase gave in one image: ``presence``, and the best ``object_score`` before presence, in [0, 1]; of the
    ``K`` instances found their ``confidences`` and ``scores`` ``(K,)``, ``boxes`` ``(K, 4)`` xyxy in [0, 1], and
    ``masks`` logits ``(K, h, w)``. All are on the network's device, and float32.
    """

    asked: Asked
    presence: float
    object_score: float
    confidences: Tensor
    scores: Tensor
    boxes: Tensor
    masks: Tensor


@dataclass
class _Answer:
    presence: float = 0.0
    object_score: float = 0.0
    instances: list[Instance] = field(default_factory=list)

    def add(self, found: Found, size: tuple[int, int]) -> None:
        """What one more phrase of the concept gave, in an image of ``size``, ``(height, width)``."""
        self.presence = max(self.presence, found.presence)
        self.object_score = max(self.object_score, found.object_score)
        height, width = size
        scale = found.boxes.new_tensor([width, height, width, height])
        columns = zip(
            found.confidences.tolist(), found.scores.tolist(), (found.boxes * scale).tolist(),
            crop_masks(found.masks.sigmoid(), size), strict=True,
        )
        self.instances += [
            Instance(confidence, score, found.presence, tuple(box), corner, mask, found.asked.phrase)
            for confidence, score, box, (corner, mask) in columns
        ]


@dataclass(frozen=True)
class Decoded:
    """What the network says of ``N`` pairs ``asked``, before any pixel: ``presence`` ``(N,)`` and object ``scores``
    ``(N, Q)`` in [0, 1], ``boxes`` ``(N, Q, 4)`` xyxy in [0, 1], all float32; and what the mask decoder would read:
    ``queries`` ``(N, Q, C)``, ``encoded`` pixels ``(N, H * W, C)``, ``prompt`` ``(N, T, C)`` and its mask.
    """

    asked: Sequence[Asked]
    presence: Tensor
    scores: Tensor
    boxes: Tensor
    queries: Tensor
    encoded: Tensor
    prompt: Tensor
    prompt_mask: Tensor

    def survivor(self, n: int, queries: Tensor | slice, what: T) -> Survivor[T]:
        """Pair ``n``, of which the ``queries`` survive: bool ``(Q,)``, or a slice; without a hold on the others."""
        prompt = self.prompt[n, self.prompt_mask[n]]
        return Survivor(self.asked[n].row, self.encoded[n].clone(), prompt, self.queries[n, queries], what)


class ConceptDetector:
    """SAM 3 on images, for any number of concepts.

    Args:
        checkpoint: what :func:`load_checkpoint` returned
        cls_token: Meta's code always appends a geometry CLS token to the prompt, with or without boxes;
            transformers leaves it out of text-only prompts. ``True`` reproduces Meta, ``False`` transformers
        pairs_per_chunk: (image, phrase) pairs decoded together; bounds memory, does not change results
        masks_per_chunk: of these, how many have their masks computed together

    >>> detector = ConceptDetector(load_checkpoint())                                    # doctest: +SKIP
    >>> features = detector.encode_images(pixels, sizes)                                 # doctest: +SKIP
    >>> results = detector.detect(features, [concepts] * len(sizes), threshold=0.5)      # doctest: +SKIP
    """

    def __init__(
        self, checkpoint: Checkpoint, *, cls_token: bool = True, pairs_per_chunk: int = 32, masks_per_chunk: int = 4
    ) -> None:
        if pairs_per_chunk < 1 or masks_per_chunk < 1:
            raise ValueError(f"Chunks must hold at least 1, got {pairs_per_chunk} pairs and {masks_per_chunk} masks")
        self.checkpoint = checkpoint
        self.cls_token = cls_token
        self.pairs_per_chunk = pairs_per_chunk
        self.masks_per_chunk = masks_per_chunk
        self._mask_head = MaskHead(checkpoint.model.mask_decoder)
        self._texts: dict[str, Tensor] = {}

    @torch.inference_mode()
    def encode_images(
        self, pixels: Tensor, sizes: Sequence[tuple[int, int]], *, tokens: bool = False
    ) -> ImageFeatures:
        """Encode images.

        Args:
            pixels: uint8 ``(B, 3, S, S)``, RGB, squeezed to the network's square (:func:`images.to_square`)
            sizes: ``(height, width)`` of the originals, in pixels
            tokens: keep what the tracker needs as well

        Returns:
            features, on the checkpoint's device
        """
        model, checkpoint = self.checkpoint.model, self.checkpoint
        channels = (checkpoint.mean, checkpoint.std)
        mean, std = (torch.tensor(values, device=checkpoint.device).view(1, 3, 1, 1) for values in channels)
        # the order of operations is the processor's, so that not even the last bit differs
        normalised = (pixels.to(checkpoint.device).float() - mean * 255) / (std * 255)
        vision = model.get_vision_features(normalised.to(checkpoint.dtype))
        levels = tuple(vision.fpn_hidden_states[:-1])  # the half-size level is computed by transformers, used by none
        positions = vision.fpn_position_encoding[-2][:1]
        cls = no_example(model, levels[-1], positions) if self.cls_token else None
        coarse, positions = (t.flatten(2).transpose(1, 2) for t in (levels[-1], positions))
        first = model.detr_encoder.layers[0]
        normed = first.layer_norm1(coarse)
        placed = normed + positions
        attended = coarse + first.self_attn(query=placed, key=placed, value=normed)[0]
        originals = tuple((int(h), int(w)) for h, w in sizes)
        return ImageFeatures(levels, attended, positions, cls, originals, vision.last_hidden_state if tokens else None)

    def encode_phrases(self, phrases: Sequence[str]) -> None:
        """Encode the phrases not yet known; each is encoded once in the detector's life.

        Raises:
            ConceptError: a phrase is longer than the text encoder reads
        """
        if len(self._texts) > _REMEMBERED:  # free captions of a large dataset: forget, do not grow
            self._texts.clear()
        new = [p for p in dict.fromkeys(phrases) if p not in self._texts]
        check_length(new, self.checkpoint.tokenizer)
        if not new:
            return
        words = self.checkpoint.tokenizer(new)
        lengths = [len(ids) for ids in words["input_ids"]]
        # the encoder is causal: a token does not know of what follows, so padding is only as long as it must be
        ordered = sorted(range(len(new)), key=lengths.__getitem__)
        for start in range(0, len(new), 64):
            part = ordered[start : start + 64]
            with torch.inference_mode():
                batch = self.checkpoint.tokenizer([new[k] for k in part], padding=True, return_tensors="pt")
                batch = batch.to(self.checkpoint.device)
                text = self.checkpoint.model.get_text_features(batch.input_ids, attention_mask=batch.attention_mask)
            for k, tokens in zip(part, text.pooler_output, strict=True):
                self._texts[new[k]] = tokens[: lengths[k]].clone()

    @torch.inference_mode()
    def learn(self, features: ImageFeatures, row: int, exemplars: Exemplars) -> Tensor:
        """What examples look like, for other images: tokens ``(K, C)``, one for each of the ``K`` boxes.

        Args:
            features: encoded images
            row: the image that the examples are in
            exemplars: examples and counter-examples
        """
        coarse = features.levels[-1][row : row + 1]
        (tokens,) = examples(self.checkpoint.model, coarse, features.square_positions, [exemplars])
        return tokens[: len(exemplars.boxes)].clone()

    def detect(
        self, features: ImageFeatures, concepts: Sequence[Sequence[Concept]], *, threshold: float = 0.5,
        floor: float | None = None, exemplars: Sequence[Mapping[str, Exemplars]] | None = None,
        learnt: Mapping[str, Tensor] | None = None,
    ) -> list[list[ConceptResult]]:
        """Find every instance of every concept.

        Args:
            features: ``B`` encoded images
            concepts: what to ask of each image; images may be asked different things
            threshold: confidence above which an instance counts, for concepts without their own
            floor: keep instances down to this confidence (they are returned, but not counted); ``None`` keeps
                those that count
            exemplars: for each image, label -> examples in that image. A concept without phrases is asked by its
                examples alone
            learnt: label -> what examples of it in other images look like, see :meth:`learn`

        Returns:
            per image, per concept in the order asked, its result, found or not

        Raises:
            ConceptError: a concept has neither phrases nor a positive example
        """
        if len(concepts) != len(features.sizes):
            raise ValueError(f"{len(features.sizes)} images are encoded, but concepts are given for {len(concepts)}")
        limits = [[threshold if c.threshold is None else c.threshold for c in asked] for asked in concepts]
        asked = []
        for row, some in enumerate(concepts):
            for k, concept in enumerate(some):
                shown = None if exemplars is None else exemplars[row].get(concept.label)
                known = None if learnt is None else learnt.get(concept.label)
                if not concept.phrases and known is None and (shown is None or not shown.shows):
                    raise ConceptError(f"The concept {concept.label!r} has no phrase: it needs a positive example")
                level = limits[row][k] if floor is None else min(floor, limits[row][k])
                asked += [Asked(row, k, phrase, level, shown, known) for phrase in concept.phrases or (VISUAL,)]
        answers = [[_Answer() for _ in some] for some in concepts]
        for found in self.find(features, asked):
            size = features.sizes[found.asked.row]
            answers[found.asked.row][found.asked.concept].add(found, size)
        return [
            [_result(c, a, t) for c, a, t in zip(some, given, limit, strict=True)]
            for some, given, limit in zip(concepts, answers, limits, strict=True)
        ]

    def find(self, features: ImageFeatures, asked: Sequence[Asked]) -> Iterator[Found]:
        """Answer phrase by phrase, in no particular order; the masks are the network's own, small and soft.

        Args:
            features: encoded images
            asked: what to ask of them
        """
        survivors = self.survivors(features)
        for decoded in self.decode(features, asked):
            confidence_nq = decoded.scores * decoded.presence[:, None]
            floors_n = confidence_nq.new_tensor([a.floor for a in decoded.asked])
            keep_nq = confidence_nq > floors_n[:, None]
            columns = (decoded.presence, decoded.scores.amax(1), keep_nq.any(1))
            for n, (presence, best, alive) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
                kept = keep_nq[n] if alive else slice(0)
                there = (confidence_nq[n, kept], decoded.scores[n, kept], decoded.boxes[n, kept])
                found = functools.partial(Found, decoded.asked[n], presence, best, *there)
                if alive:
                    drawn = survivors.add(decoded.survivor(n, kept, found))
                    yield from (complete(masks) for complete, masks in drawn)
                else:  # most absent concepts end here, before the dearest part of the network
                    yield found(confidence_nq.new_zeros(0, *features.levels[0].shape[-2:]))
        yield from (complete(masks) for complete, masks in survivors.rest())

    def survivors(self, features: ImageFeatures, *, semantic: bool = False) -> Survivors[Any]:
        """Where pairs of encoded images wait for their pixels; ``semantic``: of their concept, not of instances."""
        return Survivors(self._mask_head, features.levels, self.masks_per_chunk, semantic=semantic)

    def decode(self, features: ImageFeatures, asked: Sequence[Asked]) -> Iterator[Decoded]:
        """All that is known of pairs without their pixels, a chunk at a time, image by image.

        Args:
            features: encoded images
            asked: what to ask of them
        """
        self.encode_phrases([a.phrase for a in asked])
        # phrases of one length need no padding
        ordered = sorted(asked, key=lambda a: (a.row, len(self._texts[a.phrase])))
        for start in range(0, len(ordered), self.pairs_per_chunk):
            yield self._decode(features, ordered[start : start + self.pairs_per_chunk])

    @torch.inference_mode()
    def _decode(self, features: ImageFeatures, asked: Sequence[Asked]) -> Decoded:
        """Decode one chunk of pairs."""
        model, device = self.checkpoint.model, self.checkpoint.device
        rows = torch.tensor([a.row for a in asked], device=device)
        texts = [self._texts[a.phrase] for a in asked]
        prompt_ntc = pad_sequence(texts, batch_first=True)
        lengths_n1 = torch.tensor([[len(t)] for t in texts], device=device)
        mask_nt = torch.arange(prompt_ntc.shape[1], device=device) < lengths_n1
        if features.cls is not None:
            prompt_ntc = torch.cat([prompt_ntc, features.cls[rows]], 1)
            mask_nt = torch.cat([mask_nt, mask_nt.new_ones(len(asked), 1)], 1)
        shown = [n for n, a in enumerate(asked) if a.exemplars]
        if shown:
            if features.cls is not None:  # examples come with a token of their own in its place
                mask_nt[:, -1] = torch.tensor([not a.exemplars for a in asked], device=device)
            drawn = examples(
                model, features.levels[-1][rows[shown]], features.square_positions, [asked[n].exemplars for n in shown]
            )
            here = dict(zip(shown, drawn, strict=True))
            prompt_ntc, mask_nt = beside(prompt_ntc, mask_nt, [here.get(n) for n in range(len(asked))])
        if any(a.learnt is not None for a in asked):
            prompt_ntc, mask_nt = beside(prompt_ntc, mask_nt, [a.learnt for a in asked])
        encoded_npc = self._fuse(features, rows, prompt_ntc, mask_nt)
        decoded = model.detr_decoder(
            vision_features=encoded_npc, text_features=prompt_ntc, text_mask=mask_nt,
            vision_pos_encoding=features.positions.expand(len(asked), -1, -1),
            spatial_shapes=torch.tensor([features.levels[-1].shape[-2:]]),  # not on the device, which would wait for it
        )
        queries_nqc = decoded.intermediate_hidden_states[-1]
        scores_nq = model.dot_product_scoring(
            decoder_hidden_states=queries_nqc[None], text_features=prompt_ntc, text_mask=mask_nt
        )[0, ..., 0].float().sigmoid()
        presence_n = decoded.presence_logits[-1][:, 0].float().sigmoid()
        boxes_nq4 = _boxes(model, decoded.reference_boxes[-1], queries_nqc)
        return Decoded(asked, presence_n, scores_nq, boxes_nq4, queries_nqc, encoded_npc, prompt_ntc, mask_nt)

    def _fuse(self, features: ImageFeatures, rows: Tensor, prompt: Tensor, prompt_mask: Tensor) -> Tensor:
        """The DETR encoder from its first cross-attention on: pixels ``(N, H * W, C)`` that have read their prompt.

        What ``Sam3DetrEncoder.forward`` does after the self-attention that :meth:`encode_images` did for all prompts.
        """
        from transformers.masking_utils import create_bidirectional_mask

        encoder = self.checkpoint.model.detr_encoder
        first, *rest = encoder.layers
        hidden = features.attended[rows]
        readable = create_bidirectional_mask(
            config=encoder.config, inputs_embeds=hidden, attention_mask=prompt_mask, encoder_hidden_states=prompt
        )
        read, _ = first.cross_attn(query=first.layer_norm2(hidden), key=prompt, value=prompt, attention_mask=readable)
        hidden = hidden + read
        hidden = hidden + first.mlp(first.layer_norm3(hidden))
        positions = features.positions.expand(len(rows), -1, -1)
        for layer in rest:
            hidden = layer(hidden, prompt, vision_pos_encoding=positions, prompt_cross_attn_mask=readable)
        return hidden


def _boxes(model: torch.nn.Module, references: Tensor, queries: Tensor) -> Tensor:
    """Boxes ``(N, Q, 4)``, xyxy in [0, 1], from the last layer's references and queries."""
    from transformers.models.sam3.modeling_sam3 import inverse_sigmoid

    cx, cy, w, h = (inverse_sigmoid(references) + model.detr_decoder.box_head(queries)).sigmoid().float().unbind(-1)
    return torch.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], -1)


def _result(concept: Concept, answer: _Answer, threshold: float) -> ConceptResult:
    found = sorted(answer.instances, key=lambda i: -i.confidence)
    if len(concept.phrases) > 1:
        found = _without_repeats(found)
    count = sum(i.confidence > threshold for i in found)
    return ConceptResult(concept.label, answer.presence, answer.object_score, tuple(found), count, threshold)


def _without_repeats(found: list[Instance]) -> list[Instance]:
    """Of objects that several phrases found, the most confident finding. One phrase's own are left alone."""
    kept: list[Instance] = []
    for instance in found:
        place = (instance.corner, instance.mask)
        if not any(
            k.phrase != instance.phrase and mask_iou((k.corner, k.mask), place) >= _SAME_OBJECT for k in kept
        ):
            kept.append(instance)
    return kept
