"""How objects are pointed at in training: boxes, points, and a point where the answer was wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.engine.tracker_network import Candidates, TrackerFeatures, TrackerNetwork

from .architecture import IMAGE_SIZE
from .losses import FINE

#: ways to point, each for a part of the objects of a step: a box, one point, several points
_WAYS = 3
_CELL = IMAGE_SIZE / FINE


def given_boxes(cover: Tensor, rng: np.random.Generator) -> dict[str, Tensor]:
    """A box around each object, a little off; as :meth:`TrackerNetwork.decode` takes them.

    Args:
        cover: float ``(N, FINE, FINE)`` in [0, 1], how much of each cell the object fills
    """
    boxes = torch.zeros(len(cover), 4)
    for k, mask in enumerate(cover > 0.5):
        ys, xs = torch.nonzero(mask.any(1))[:, 0], torch.nonzero(mask.any(0))[:, 0]
        if len(ys):
            box = torch.stack([xs[0], ys[0], xs[-1] + 1, ys[-1] + 1]).float() * _CELL
            size = (box[2:] - box[:2]).repeat(2)
            boxes[k] = box + torch.from_numpy(rng.normal(0, 0.03, 4)).float() * size
    return dict(boxes=boxes)


def given_points(cover: Tensor, rng: np.random.Generator, most: int | None = None) -> dict[str, Tensor]:
    """A point on each object, and up to ``most`` (default: one to three) on it or beside it."""
    most = int(rng.integers(1, 4)) if most is None else most
    points, labels = torch.zeros(len(cover), most, 2), -torch.ones(len(cover), most)
    for k, mask in enumerate(cover > 0.5):
        for j in range(most):
            on = j == 0 or rng.random() < 0.6
            _add(points[k], labels[k], j, mask if on else ~mask, on, rng)
    return dict(points=points, labels=labels)


def point_at(
    network: TrackerNetwork, features: TrackerFeatures, rows: Sequence[int], cover: Tensor, rng: np.random.Generator
) -> list[tuple[int, Candidates]]:
    """Objects of single images, given as boxes or points: what the network draws, first, and once it was corrected.

    Args:
        network: the tracker
        features: of all images
        rows: ``(N,)``, the image of each object
        cover: float ``(N, FINE, FINE)``, the truth

    Returns:
        twice the frame 0, as :func:`emoji_world.train_tracker.losses` takes them
    """
    first, second = [], []
    for way, part in enumerate(np.array_split(np.arange(len(rows)), _WAYS)):
        if not len(part):
            continue
        truth = cover[part]
        here = network.without_memory(features.rows(torch.tensor([rows[k] for k in part])))
        given = (
            given_boxes(truth, rng), given_points(truth, rng, 1), given_points(truth, rng, int(rng.integers(2, 5)))
        )[way]
        first.append(network.decode(here, **given))
        row = torch.arange(len(part))
        drawn = first[-1].masks[row, first[-1].quality.argmax(1)].detach().clamp(-32, 32)
        more = corrected(given, drawn, truth, rng)
        second.append(network.decode(here, **more, masks=drawn[:, None]))
    return [(0, _together(first)), (0, _together(second))]


def corrected(given: dict[str, Tensor], drawn: Tensor, cover: Tensor, rng: np.random.Generator) -> dict[str, Tensor]:
    """The same, and a point in what was drawn and should not be, or should be and was not."""
    masks = F.interpolate(drawn[:, None].float(), (FINE, FINE), mode="bilinear", align_corners=False)[:, 0] > 0
    points, labels = torch.zeros(len(cover), 1, 2), -torch.ones(len(cover), 1)
    for k, (mask, truth) in enumerate(zip(masks, cover > 0.5, strict=True)):
        forgotten, wrong = truth & ~mask, mask & ~truth
        on = bool(forgotten.sum() >= wrong.sum())
        _add(points[k], labels[k], 0, forgotten if on else wrong, on, rng)
    if "points" in given:
        points, labels = torch.cat([given["points"], points], 1), torch.cat([given["labels"], labels], 1)
    return dict(given, points=points, labels=labels)


def _add(points: Tensor, labels: Tensor, place: int, where: Tensor, on: bool, rng: np.random.Generator) -> None:
    cells = torch.nonzero(where)
    if len(cells):
        y, x = cells[int(rng.integers(len(cells)))].tolist()
        points[place] = torch.tensor([x + 0.5, y + 0.5]) * _CELL
        labels[place] = float(on)


def _together(parts: list[Candidates]) -> Candidates:
    """Side by side, as if they were one frame."""
    return Candidates(*(torch.cat([getattr(p, name) for p in parts]) for name in Candidates.__dataclass_fields__))
