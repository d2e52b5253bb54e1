"""Concept detection on images: encode once, ask many times.

Encoding an image costs SAM 3 thirteen times what a concept costs on top, so images are encoded once and every
concept is decoded from the cached features; so is the first self-attention of the DETR encoder, which reads no
words; texts are encoded once a run, and asked without their padding; and since the confidence of an instance is
its object score times presence, masks (a third of a concept's cost, most of its memory) are computed only for the
queries that survive their threshold, and what the masks of one image share is computed once (:mod:`mask_head`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .checkpoint import Checkpoint
from .concepts import Concept, check_length
from .mask_head import MaskHead
from .masks import crop_masks, mask_iou
from .prompts import Exemplars
from .results import ConceptResult, Instance

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


@dataclass(frozen=True)
class Asked:
    """One phrase asked of one image: the image's ``row``, the ``concept`` that the answer is about, counted within that
    image, and the ``floor``: confidence above which an instance is found; ``exemplars`` in that image, if there are
    any: words and boxes are one query.
    """

    row: int
    concept: int
    phrase: str
    floor: float
    exemplars: Exemplars | None = None


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
class _Decoded:
    """What the DETR decoder leaves of ``N`` pairs: ``rows`` ``(N,)``, the image of each; ``queries`` ``(N, Q, C)`` and
    which of them to ``keep`` ``(N, Q)``; ``encoded`` pixels ``(N, H * W, C)``; ``prompt`` ``(N, T, C)`` and its mask.
    """

    rows: Tensor
    queries: Tensor
    keep: Tensor
    encoded: Tensor
    prompt: Tensor
    prompt_mask: Tensor


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
        cls = self._cls(levels[-1], positions)
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
        for start in range(0, len(new), 64):
            part = new[start : start + 64]
            with torch.inference_mode():
                words = self.checkpoint.tokenizer(part, padding="max_length", max_length=32, return_tensors="pt")
                lengths = words.attention_mask.sum(1).tolist()
                words = words.to(self.checkpoint.device)
                text = self.checkpoint.model.get_text_features(words.input_ids, attention_mask=words.attention_mask)
            for phrase, tokens, length in zip(part, text.pooler_output, lengths, strict=True):
                self._texts[phrase] = tokens[:length].clone()

    def detect(
        self, features: ImageFeatures, concepts: Sequence[Sequence[Concept]], *, threshold: float = 0.5,
        floor: float | None = None,
    ) -> list[list[ConceptResult]]:
        """Find every instance of every concept.

        Args:
            features: ``B`` encoded images
            concepts: what to ask of each image; images may be asked different things
            threshold: confidence above which an instance counts, for concepts without their own
            floor: keep instances down to this confidence (they are returned, but not counted); ``None`` keeps
                those that count

        Returns:
            per image, per concept in the order asked, its result, found or not
        """
        if len(concepts) != len(features.sizes):
            raise ValueError(f"{len(features.sizes)} images are encoded, but concepts are given for {len(concepts)}")
        limits = [[threshold if c.threshold is None else c.threshold for c in asked] for asked in concepts]
        asked = [
            Asked(row, k, phrase, limits[row][k] if floor is None else min(floor, limits[row][k]))
            for row, some in enumerate(concepts) for k, concept in enumerate(some) for phrase in concept.phrases
        ]
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
        self.encode_phrases([a.phrase for a in asked])
        for start in range(0, len(asked), self.pairs_per_chunk):
            yield from self._answer(features, asked[start : start + self.pairs_per_chunk])

    @torch.inference_mode()
    def _answer(self, features: ImageFeatures, asked: Sequence[Asked]) -> list[Found]:
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
        if any(a.exemplars for a in asked):
            if features.cls is not None:  # examples come with a token of their own in its place
                mask_nt[:, -1] = torch.tensor([not a.exemplars for a in asked], device=device)
            shown_ntc, shown_nt = self._exemplars(features, asked)
            prompt_ntc, mask_nt = torch.cat([prompt_ntc, shown_ntc], 1), torch.cat([mask_nt, shown_nt], 1)
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
        confidence_nq = scores_nq * presence_n[:, None]
        floors_n = torch.tensor([a.floor for a in asked], device=device)
        keep_nq = confidence_nq > floors_n[:, None]
        boxes_nq4 = _boxes(model, decoded.reference_boxes[-1], queries_nqc)

        best_n, presences = scores_nq.amax(1).tolist(), presence_n.tolist()
        alive = keep_nq.any(1)
        nothing = scores_nq.new_zeros(0)
        none = (nothing, nothing, nothing.view(0, 4), nothing.view(0, *features.levels[0].shape[-2:]))
        # most absent concepts end here, before the dearest part of the network
        found = [
            Found(asked[n], presences[n], best_n[n], *none) for n, is_alive in enumerate(alive.tolist()) if not is_alive
        ]
        decoded = _Decoded(rows, queries_nqc, keep_nq, encoded_npc, prompt_ntc, mask_nt)
        for part, masks in self._masks(features, decoded, alive.nonzero()[:, 0]):
            for n, logits in zip(part.tolist(), masks, strict=True):
                kept = keep_nq[n]
                there = (confidence_nq[n, kept], scores_nq[n, kept], boxes_nq4[n, kept], logits)
                found.append(Found(asked[n], presences[n], best_n[n], *there))
        return found

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

    def _masks(
        self, features: ImageFeatures, decoded: _Decoded, alive: Tensor
    ) -> Iterator[tuple[Tensor, list[Tensor]]]:
        """Mask logits of the pairs ``alive``: a few pairs at a time, and for each float32 ``(kept, h, w)``."""
        rows = decoded.rows[alive]
        for image in rows.unique().tolist():
            levels = tuple(level[image : image + 1] for level in features.levels)
            shared = self._mask_head.share(levels)
            for part in alive[rows == image].split(self.masks_per_chunk):
                keep = decoded.keep[part]
                counts = keep.sum(1).tolist()
                # kept queries first, padded to the most any pair keeps: the mask head treats queries one by one
                order = keep.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, : max(counts)]
                queries = decoded.queries[part]
                chosen = queries.gather(1, order[..., None].expand(-1, -1, queries.shape[-1]))
                logits = self._mask_head.masks(
                    shared, levels[-1], chosen, decoded.encoded[part], decoded.prompt[part], decoded.prompt_mask[part]
                )
                yield part, [mask[:count].float() for mask, count in zip(logits, counts, strict=True)]

    def _exemplars(self, features: ImageFeatures, asked: Sequence[Asked]) -> tuple[Tensor, Tensor]:
        """Examples as prompt tokens ``(N, K + 1, C)``, and which of them count; a pair without examples has none."""
        device, coarse = self.checkpoint.device, features.levels[-1]
        some = [n for n, a in enumerate(asked) if a.exemplars]
        most = max(len(asked[n].exemplars.boxes) for n in some)
        boxes = coarse.new_full((len(some), most, 4), -10.0)
        signs = torch.zeros(len(some), most, dtype=torch.long, device=device)
        real = torch.zeros(len(some), most, dtype=torch.bool, device=device)
        for place, n in enumerate(some):
            given = asked[n].exemplars
            x0, y0, x1, y1 = torch.tensor(given.boxes).unbind(1)
            count = len(given.boxes)
            boxes[place, :count] = torch.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], 1).to(boxes)
            signs[place, :count] = torch.tensor(given.positive, device=device).long()
            real[place, :count] = True
        rows = torch.tensor([asked[n].row for n in some], device=device)
        positions = features.positions.transpose(1, 2).unflatten(2, coarse.shape[-2:])
        output = self.checkpoint.model.geometry_encoder(
            box_embeddings=boxes, box_mask=real, box_labels=signs, img_feats=[coarse[rows]],
            img_pos_embeds=[positions.expand(len(some), -1, -1, -1)],
        )
        tokens = coarse.new_zeros(len(asked), *output.last_hidden_state.shape[1:])
        counts = torch.zeros(tokens.shape[:2], dtype=torch.bool, device=device)
        tokens[some], counts[some] = output.last_hidden_state, output.attention_mask.bool()
        return tokens, counts

    def _cls(self, coarse: Tensor, positions: Tensor) -> Tensor | None:
        """The geometry encoder's token for "no box given". It reads the image, not the words: once an image."""
        if not self.cls_token:
            return None
        count = len(coarse)
        output = self.checkpoint.model.geometry_encoder(
            # transformers cannot encode zero boxes; a masked one leaves the CLS token exactly as without
            box_embeddings=coarse.new_full((count, 1, 4), -10.0),
            box_mask=torch.zeros(count, 1, dtype=torch.bool, device=coarse.device),
            box_labels=torch.zeros(count, 1, dtype=torch.long, device=coarse.device),
            img_feats=[coarse], img_pos_embeds=[positions.expand(count, -1, -1, -1)],
        )
        tokens = output.last_hidden_state[output.attention_mask.bool()]
        return tokens.view(count, 1, -1)


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
