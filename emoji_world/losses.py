"""The detector's training objective.

Meta's recipe (presence, classification, boxes, masks; Hungarian matching), plus two throw-away heads without
which a network of this size does not learn what words mean: *dense*, every grid cell names its noun and its
thing from the text encoder's own embeddings, and *grounding*, every token of the fusion encoder says whether
it belongs to the concept asked.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torchvision.ops import generalized_box_iou
from transformers import Sam3Model
from transformers.models.sam3.modeling_sam3 import box_cxcywh_to_xyxy, inverse_sigmoid

from .architecture import GRID, HIDDEN

WEIGHTS = dict(
    presence=2.0, score=3.0, l1=5.0, giou=2.0, mask=40.0, dice=10.0, semantic=0.5, grounding=1.0, dense=1.0
)
#: masks come on a grid of 4 * GRID and are learnt at twice that: where a line falls *between* cells counts too
FINE = 8 * GRID
_NO_BOX = -10


@dataclass
class Batch:
    """``B`` images, ``N`` prompts.

    ``pixels`` float32 ``(B, 3, S, S)`` in [-1, 1]; ``rows`` int64 ``(N,)``, the image of each prompt;
    ``ids`` and ``words`` ``(N, T)``; ``boxes`` ``(N, K, 4)`` exemplars cxcywh in [0, 1] and ``box_labels``
    ``(N, K)`` (1, 0, or -10 for none); ``truth_boxes[n]`` ``(M, 4)`` cxcywh; ``truth_masks[n]``
    ``(M, FINE, FINE)`` coverage in [0, 1]; ``cells`` int64 ``(B, 2, G, G)``: noun and thing of each grid cell.
    """

    pixels: Tensor
    rows: Tensor
    ids: Tensor
    words: Tensor
    boxes: Tensor
    box_labels: Tensor
    truth_boxes: list[Tensor]
    truth_masks: list[Tensor]
    cells: Tensor


class ThrowAwayHeads(nn.Module):
    """What training needs and the checkpoint does not keep."""

    def __init__(self, phrase_ids: Tensor, phrase_words: Tensor, nouns: int) -> None:
        super().__init__()
        self.register_buffer("phrase_ids", phrase_ids)
        self.register_buffer("phrase_words", phrase_words)
        self.nouns = nouns
        self.ground = nn.Parameter(torch.zeros(2, HIDDEN))  # "nothing here", for nouns and for things
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.grounding = nn.Linear(HIDDEN, 1)
        nn.init.zeros_(self.grounding.weight)
        nn.init.constant_(self.grounding.bias, -2.0)

    def dense(self, model: Sam3Model, features: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Cross entropy of every cell's noun and thing, and the accuracy on cells that hold an object."""
        text = model.get_text_features(self.phrase_ids, attention_mask=self.phrase_words).pooler_output
        mask = self.phrase_words[..., None].to(text.dtype)
        text = (text * mask).sum(1) / mask.sum(1)
        groups = (text[: self.nouns], text[self.nouns :])
        loss = features.new_zeros(())
        hits = []
        for k, group in enumerate(groups):
            words = torch.cat([group, self.ground[k][None]]) / HIDDEN**0.5
            logits = torch.einsum("bchw,nc->bnhw", features, words) * self.scale.exp()
            weight = torch.ones(len(words), device=features.device)
            weight[-1] = 0.3
            loss = loss + F.cross_entropy(logits.float(), cells[:, k], weight=weight)
            object_cells = cells[:, k] < len(group)
            hits.append((logits.argmax(1) == cells[:, k])[object_cells].float().mean())
        return loss, torch.stack(hits).mean()


def detector_loss(
    model: Sam3Model, heads: ThrowAwayHeads, batch: Batch, masked_prompts: int, one_to_many: int, dense: bool = True
) -> tuple[Tensor, dict[str, float]]:
    """The weighted loss and its parts.

    Args:
        model: the detector
        heads: the throw-away heads
        batch: images, prompts, truth
        masked_prompts: masks are by far the dearest part; at most so many prompts of the batch learn them
        one_to_many: queries matched to each instance in all decoder layers but the last
        dense: teach the vision and text encoders what words look like
    """
    vision = model.vision_encoder(batch.pixels)
    fpn, positions = vision.fpn_hidden_states[:-1], vision.fpn_position_encoding[:-1]
    rows = batch.rows
    text = model.get_text_features(batch.ids, attention_mask=batch.words).pooler_output
    picked = [f[rows] for f in fpn[-1:]]
    picked_positions = [p[rows] for p in positions[-1:]]
    with torch.autocast(batch.pixels.device.type, enabled=False):  # roi_align knows no bfloat16
        geometry = model.geometry_encoder(
            box_embeddings=batch.boxes, box_mask=batch.box_labels != _NO_BOX,
            box_labels=batch.box_labels.clamp(min=0),
            img_feats=[f.float() for f in picked], img_pos_embeds=[p.float() for p in picked_positions],
        )
    prompt = torch.cat([text, geometry.last_hidden_state], 1)
    prompt_mask = torch.cat([batch.words.bool(), geometry.attention_mask.bool()], 1)
    encoded = model.detr_encoder(
        vision_features=picked, text_features=prompt, vision_pos_embeds=picked_positions, text_mask=prompt_mask
    )
    decoded = model.detr_decoder(
        vision_features=encoded.last_hidden_state, text_features=encoded.text_features,
        vision_pos_encoding=encoded.pos_embeds_flattened, text_mask=prompt_mask,
        spatial_shapes=encoded.spatial_shapes,
    )
    states = decoded.intermediate_hidden_states
    boxes = (inverse_sigmoid(decoded.reference_boxes) + model.detr_decoder.box_head(states)).sigmoid().float()
    scores = model.dot_product_scoring(
        decoder_hidden_states=states, text_features=encoded.text_features, text_mask=prompt_mask
    )[..., 0].float()
    presence = decoded.presence_logits[..., 0].float()

    there = torch.tensor([len(t) > 0 for t in batch.truth_boxes])
    asked = torch.where(there)[0]
    truth = [batch.truth_boxes[n] for n in asked]
    parts: dict[str, Tensor] = {}
    parts["presence"] = F.binary_cross_entropy_with_logits(presence, there.float().expand_as(presence))
    parts["score"], parts["l1"], parts["giou"], match = _match_and_score(
        boxes[:, asked], scores[:, asked], truth, one_to_many
    )

    chosen = torch.randperm(len(asked))[:masked_prompts]
    n = asked[chosen]
    decoded_masks = model.mask_decoder(
        decoder_queries=states[-1][n], backbone_features=[f[rows[n]] for f in fpn],
        encoder_hidden_states=encoded.last_hidden_state[n], prompt_features=prompt[n], prompt_mask=prompt_mask[n],
    )
    predicted = torch.cat([decoded_masks.pred_masks[j, match[k][0]] for j, k in enumerate(chosen)])
    predicted = _finer(predicted)
    wanted = torch.cat([batch.truth_masks[asked[k]][match[k][1]] for k in chosen])
    union = torch.stack([batch.truth_masks[i].amax(0) for i in n])
    semantic = _finer(decoded_masks.semantic_seg[:, 0])
    parts["mask"] = F.binary_cross_entropy_with_logits(predicted, wanted)
    parts["dice"] = _dice(predicted, wanted).mean()
    parts["semantic"] = F.binary_cross_entropy_with_logits(semantic, union) + _dice(semantic, union).mean()

    cover = torch.stack([t.amax(0) if len(t) else t.new_zeros(FINE, FINE) for t in batch.truth_masks])
    tokens = F.avg_pool2d(cover[:, None], FINE // GRID)[:, 0].flatten(1)
    parts["grounding"] = F.binary_cross_entropy_with_logits(
        heads.grounding(encoded.last_hidden_state)[..., 0].float(), tokens, pos_weight=torch.tensor(3.0)
    )
    cell_accuracy = torch.zeros(())
    if dense:
        parts["dense"], cell_accuracy = heads.dense(model, fpn[-1], batch.cells)

    with torch.no_grad():
        both, either = ((predicted > 0) & (wanted > 0.5)).sum((1, 2)), ((predicted > 0) | (wanted > 0.5)).sum((1, 2))
        shown = {name: float(value) for name, value in parts.items()}
        shown["accuracy"] = float(((presence[-1] > 0) == there).float().mean())
        shown["cells"] = float(cell_accuracy)
        shown["iou"] = float((both / either.clamp(min=1)).mean())
    return sum(WEIGHTS[name] * value for name, value in parts.items()), shown


def _match_and_score(
    boxes: Tensor, scores: Tensor, truth: list[Tensor], one_to_many: int
) -> tuple[Tensor, Tensor, Tensor, list[tuple[Tensor, Tensor]]]:
    """Classification and box losses over all layers, and the last layer's one-to-one match.

    ``boxes`` ``(L, P, Q, 4)``, ``scores`` ``(L, P, Q)`` logits, ``truth[p]`` ``(M, 4)``.
    """
    layers = len(boxes)
    score = l1 = giou = boxes.new_zeros(())
    match: list[tuple[Tensor, Tensor]] = []
    for layer in range(layers):
        last = layer == layers - 1
        match = [
            _assign(boxes[layer, p], scores[layer, p], truth[p], 1 if last else one_to_many) for p in range(len(truth))
        ]
        target = torch.zeros_like(scores[layer])
        for p, (query, _) in enumerate(match):
            target[p, query] = 1.0
        got = torch.cat([boxes[layer, p, query] for p, (query, _) in enumerate(match)])
        want = torch.cat([truth[p][instance] for p, (_, instance) in enumerate(match)])
        overlap = torch.diag(generalized_box_iou(box_cxcywh_to_xyxy(got), box_cxcywh_to_xyxy(want)))
        # |target - p| down-weights what is settled without moving the 0.5 at which a query is kept
        certainty = (target - scores[layer].detach().sigmoid()).abs()
        error = F.binary_cross_entropy_with_logits(scores[layer], target, reduction="none")
        score = score + (certainty * error).sum() / len(got) / layers
        l1 = l1 + (got - want).abs().sum() / len(got) / layers
        giou = giou + (1 - overlap).mean() / layers
    return score, l1, giou, match


@torch.no_grad()
def _assign(boxes: Tensor, scores: Tensor, truth: Tensor, repeat: int) -> tuple[Tensor, Tensor]:
    repeat = max(1, min(repeat, len(boxes) // len(truth)))
    cost = (
        -2 * scores.sigmoid()[:, None] + 5 * torch.cdist(boxes, truth, p=1)
        - 2 * generalized_box_iou(box_cxcywh_to_xyxy(boxes), box_cxcywh_to_xyxy(truth))
    )
    query, instance = linear_sum_assignment(cost.repeat(1, repeat).numpy(force=True))
    return torch.as_tensor(query), torch.as_tensor(instance) % len(truth)


def _finer(logits: Tensor) -> Tensor:
    """``(M, h, w)`` to ``(M, FINE, FINE)``, as the engine brings masks to an image's size."""
    return F.interpolate(logits[:, None].float(), (FINE, FINE), mode="bilinear", align_corners=False)[:, 0]


def _dice(logits: Tensor, wanted: Tensor) -> Tensor:
    got = logits.sigmoid()
    return 1 - (2 * (got * wanted).sum((1, 2)) + 1) / (got.sum((1, 2)) + wanted.sum((1, 2)) + 1)
