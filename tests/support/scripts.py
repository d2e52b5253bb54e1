"""Scripts in place of networks: what is found and what is followed is planned, so that what a tracker makes of it is
exact; and SAM 3's video model of transformers, playing the same script.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from transformers import Sam3VideoModel
from transformers.models.sam3_video.modeling_sam3_video import Sam3VideoInferenceSession

from zoo.engine.association import pairwise_iou, without_duplicates
from zoo.engine.detector import Asked, Found
from zoo.engine.masks import Crop, crop_masks
from zoo.engine.prompts import Exemplars
from zoo.engine.results import FrameResult, TrackedInstance
from zoo.engine.tracker import ConceptTracker
from zoo.engine.tracker_network import NO_OBJECT, Candidates, Memory, Seen, TrackerFeatures, _resized
from zoo.engine.tracker_settings import TrackerSettings

#: of masks, in cells; and of frames, in pixels
SIDE, SIZE = 16, (32, 48)

Box = tuple[int, int, int, int]
T = TypeVar("T")
#: a value, or what it is at each step
Planned = T | Callable[[int], T]


def at(planned: Planned[T], step: int) -> T:
    """What is planned for ``step``."""
    return planned(step) if callable(planned) else planned


def drawn(box: Box | None) -> Tensor:
    """A mask ``(SIDE, SIDE)`` of the box ``x0, y0, x1, y1`` in cells, as logits."""
    logits = torch.full((SIDE, SIDE), -6.0)
    if box is not None:
        x0, y0, x1, y1 = box
        logits[y0:y1, x0:x1] = 6.0
    return logits


@dataclass(frozen=True)
class Actor:
    """One object of a script.

    ``where`` it is; ``found``: confidence of its detection, ``None`` if it is not detected; ``followed``: where the
    tracker takes it to be, as far as that differs, ``None`` if the tracker does not see it; ``score``: the tracker's
    logit of seeing it.
    """

    where: Planned[Box]
    found: Planned[float | None] = 0.9
    followed: Planned[Box | None] | str = "there"
    score: Planned[float] = 4.0
    phrases: tuple[str, ...] = ("thing",)

    def seen(self, step: int) -> Box | None:
        return at(self.where if self.followed == "there" else self.followed, step)


@dataclass(frozen=True)
class Script:
    """Actors, and the ``presence`` of phrases that have none."""

    actors: tuple[Actor, ...]
    absent: float = 0.02

    def detections(self, phrase: str, step: int, exemplars: Exemplars | None = None) -> list[tuple[float, Tensor]]:
        """Confidences and masks, by falling confidence.

        What an example shows is found, and so is what has a phrase in common with it; what a counter-example shows is
        not, whatever else asks for it.
        """
        found = {k: at(a.found, step) for k, a in enumerate(self.actors) if phrase in a.phrases}
        for box, positive in zip(exemplars.boxes, exemplars.positive, strict=True) if exemplars else ():
            k = self.meant(step, box=[v * SIDE for v in box])
            if positive and k is not None:
                alike = {j for j, a in enumerate(self.actors) if set(a.phrases) & set(self.actors[k].phrases)}
                found |= {j: at(self.actors[j].found, step) for j in alike - set(found)}
                found[k] = found[k] or 0.9
        for box in exemplars.negatives if exemplars else ():
            found.pop(self.meant(step, box=[v * SIDE for v in box]), None)
        masks = [(c, drawn(at(self.actors[k].where, step))) for k, c in sorted(found.items()) if c is not None]
        return sorted(masks, key=lambda pair: -pair[0])

    def meant(
        self, step: int, *, box: Sequence[float] | None = None, points: Sequence[Sequence[float]] = (),
        on: Sequence[bool] = (), known: int | None = None,
    ) -> int | None:
        """The actor that is pointed at, in cells; ``known`` is the one that is corrected: nothing but points beside the
        object can only mean that.
        """
        places = [drawn(at(a.where, step)) > 0 for a in self.actors]
        fits = [
            k for k, place in enumerate(places)
            if all(bool(place[int(y), int(x)]) == inside for (x, y), inside in zip(points, on, strict=True))
        ]
        if box is None:
            return next((k for k in fits if any(on) or k == known), None)
        x0, y0, x1, y1 = (round(v) for v in box)
        around = drawn((max(0, x0), max(0, y0), x1, y1)) > 0
        overlaps = {k: float(pairwise_iou(around[None], places[k][None])) for k in fits}
        best = max(overlaps, key=overlaps.get, default=None)
        return best if best is not None and overlaps[best] > 0 else None

    def who(self, mask: Tensor, step: int) -> int:
        """The actor that ``mask``, bool, shows best."""
        places = torch.stack([drawn(at(a.where, step)) > 0 for a in self.actors])
        return int(pairwise_iou(mask[None], places)[0].argmax())

    def followed(self, identity: int, step: int) -> tuple[Tensor, float]:
        """What the tracker says of an actor: mask and score."""
        actor = self.actors[identity]
        box = actor.seen(step)
        if box is None:
            return torch.full((SIDE, SIDE), NO_OBJECT), -4.0
        return drawn(box), at(actor.score, step)

    def tracker(self, **settings: Any) -> ConceptTracker:
        """A tracker that plays this script; its ``network`` is a :class:`ScriptedNetwork`."""
        return ConceptTracker(ScriptedDetector(self), ScriptedNetwork(self), TrackerSettings(**settings))


def frames(count: int, log: list[int] | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """Frames that tell their step; what is asked for is noted in ``log``."""
    for step in range(count):
        if log is not None:
            log.append(step + 1)
        yield step + 1, np.full((*SIZE, 3), step, np.uint8)


def relative(box: Box) -> tuple[float, float, float, float]:
    """A box of a script, as a person draws it."""
    return tuple(v / SIDE for v in box)


def centre(box: Box) -> tuple[float, float]:
    """The point in its middle, as a person sets it."""
    return (box[0] + box[2]) / 2 / SIDE, (box[1] + box[3]) / 2 / SIDE


def whole(crop: TrackedInstance | Crop, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A cropped mask in its frame."""
    (x, y), mask = (crop.corner, crop.mask) if isinstance(crop, TrackedInstance) else crop
    full = np.zeros(size, bool)
    full[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    return full


def at_image_size(box: Box) -> np.ndarray:
    """The mask of a box of a script, as it comes out."""
    return whole(crop_masks(drawn(box)[None], SIZE, 0.0)[0])


def seen(results: Sequence[FrameResult], concept: int = 0) -> list[dict[int, Box]]:
    """Per frame, the masklets of a concept, and the box of the script that each is a mask of."""
    (height, width), found = SIZE, []
    for result in results:
        found.append({})
        for i in result.concepts[concept].instances:
            (x, y), (h, w) = i.corner, i.mask.shape
            box = tuple(v * SIDE // full for v, full in zip((x, y, x + w, y + h), (width, height) * 2, strict=True))
            assert np.array_equal(whole(i), at_image_size(box)) and i.masklet not in found[-1]
            found[-1][i.masklet] = box
    return found


def contents(results: Sequence[FrameResult]) -> list[tuple]:
    """All there is, to be compared."""
    return [
        (r.number, r.size, replace(c, instances=()), [(replace(i, mask=None), whole(i).tobytes()) for i in c.instances])
        for r in results for c in r.concepts
    ]


class ScriptedDetector:
    """In place of a ``ConceptDetector``; ``asked`` is what it was asked."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.checkpoint = SimpleNamespace(side=SIDE, device=torch.device("cpu"))
        self.asked: list[Asked] = []

    def encode_images(self, pixels: Tensor, sizes: Sequence[tuple[int, int]], *, tokens: bool = False) -> Any:
        assert pixels.shape == (1, 3, SIDE, SIDE) and list(sizes) == [SIZE]
        return SimpleNamespace(tokens=pixels[:, 0, 0, 0].float() if tokens else None, step=int(pixels[0, 0, 0, 0]))

    def find(self, features: Any, asked: Sequence[Asked]) -> Iterator[Found]:
        for one in asked:
            self.asked.append(one)
            all_found = self.script.detections(one.phrase, features.step, one.exemplars)
            presence = max([self.script.absent, *(c for c, _ in all_found)])
            found = [(c, m) for c, m in all_found if c > one.floor]
            confidences = torch.tensor([c for c, _ in found])
            masks = torch.stack([m for _, m in found]) if found else torch.zeros(0, SIDE, SIDE)
            yield Found(
                one, presence, max([0.1, *(c / presence for c, _ in all_found)]), confidences, confidences / presence,
                torch.zeros(len(found), 4), masks,
            )


@dataclass(frozen=True)
class Draw:
    """What a scripted network was asked to draw: at which ``step``; of whom, ``known``, ``None`` if that is new;
    whether of ``several`` candidates; and the answer to correct, ``before``.
    """

    step: int
    known: int | None
    several: bool
    before: Tensor | None


class ScriptedNetwork:
    """In place of a ``TrackerNetwork``.

    ``follows``: step, identities and ``most_pointers`` of every call; ``remembered``: step, masks, and whether they
    were given; ``draws``.
    """

    mask_side, pointers_remembered, frames_remembered, conditioning_remembered = SIDE, 16, 6, 4
    model = SimpleNamespace(
        image_size=SIDE, object_pointer_proj=lambda token: token,
        config=SimpleNamespace(multimask_output_in_sam=True, multimask_min_pt_num=0, multimask_max_pt_num=1),
    )
    #: IoU that is expected of what a prompt means
    quality = 0.875

    def __init__(self, script: Script) -> None:
        self.script = script
        self.follows: list[tuple[int, list[int], int | None]] = []
        self.remembered: list[tuple[int, Tensor, bool]] = []
        self.draws: list[Draw] = []

    def features(self, tokens: Tensor) -> TrackerFeatures:
        nothing = torch.full((1, 1, 1, 1), math.nan)
        return TrackerFeatures((nothing, nothing), tokens.view(1, 1, 1, 1).expand(1, 2, 1, 1))

    def without_memory(self, features: TrackerFeatures) -> TrackerFeatures:
        return self._remembering(features, -1)

    def recall(self, features: TrackerFeatures, memory: Memory, most_pointers: int | None = None) -> TrackerFeatures:
        self._check(memory, int(features.coarse[0, 0]))
        return self._remembering(features, int(memory.pointers[0, 0, 0]))

    @staticmethod
    def _remembering(features: TrackerFeatures, identity: int) -> TrackerFeatures:
        """What is remembered is in the place of the finest level."""
        assert math.isnan(features.fine[0])
        return TrackerFeatures((torch.full((1, 1, 1, 1), float(identity)), features.fine[1]), features.coarse)

    def decode(
        self, features: TrackerFeatures, *, points: Tensor | None = None, labels: Tensor | None = None,
        boxes: Tensor | None = None, masks: Tensor | None = None, multimask: bool = True,
    ) -> Candidates:
        step, identity = int(features.coarse[0, 0]), float(features.fine[0])
        assert not math.isnan(identity)  # raw features are not for drawing
        known = int(identity) if identity >= 0 else None
        assert masks is None or (known is not None and masks.shape == (1, 1, SIDE, SIDE))
        self.draws.append(Draw(step, known, multimask, None if masks is None else masks[0, 0].clone()))
        picked = self.script.meant(
            step, box=None if boxes is None else boxes[0].tolist(), points=() if points is None else points[0].tolist(),
            on=() if labels is None else [label == 1 for label in labels[0].tolist()], known=known,
        )
        right = drawn(None if picked is None else at(self.script.actors[picked].where, step))
        token = torch.tensor([-1.0 if picked is None else picked, step])
        if not multimask:
            offered, qualities, tokens = [right], [self.quality], [token]
        else:
            wrong = drawn((0, 0, SIDE, SIDE)), torch.full((2,), math.nan)
            offered, tokens = [wrong[0], right, wrong[0]], [wrong[1], token, wrong[1]]
            qualities = [0.5, self.quality, 0.25]
        return Candidates(
            torch.stack(offered)[None], torch.tensor([qualities]), torch.stack(tokens)[None], torch.tensor([4.0])
        )

    def drawn(self, masks: Tensor) -> Tensor:
        return _resized(masks[:, None].float(), SIDE)[:, 0] * 20 - 10

    def from_masks(self, features: TrackerFeatures, logits: Tensor) -> Seen:
        step = int(features.coarse[0, 0])
        identities = [self.script.who(mask > 0, step) for mask in logits]
        return Seen(logits, torch.tensor([[float(i), step] for i in identities]), torch.full((len(logits),), 10.0))

    def remember(self, features: TrackerFeatures, masks: Tensor, there: Tensor, *, given: bool = False) -> Tensor:
        assert len(features.coarse) == len(masks) == len(there)
        assert torch.equal(there, (masks > 0).flatten(1).any(1))
        self.remembered.append((int(features.coarse[0, 0]), masks.clone(), given))
        return torch.zeros(len(masks), 4, 64, dtype=torch.bfloat16)

    def follow(self, features: TrackerFeatures, memory: Memory, most_pointers: int | None = None) -> Seen:
        step = int(features.coarse[0, 0])
        identities = memory.pointers[:, 0, 0].int().tolist()
        self.follows.append((step, identities, most_pointers))
        self._check(memory, step)
        seen = [self.script.followed(i, step) for i in identities]
        pointers = torch.tensor([[float(i), step] for i in identities])
        return Seen(torch.stack([m for m, _ in seen]), pointers, torch.tensor([s for _, s in seen]))

    @staticmethod
    def _check(memory: Memory, step: int) -> None:
        """What is remembered is what was noted down at the time, and of nobody else; a video may run backward."""
        assert (memory.pointers[..., 0] == memory.pointers[:, :1, 0]).all()
        ages = step - memory.pointers[..., 1]
        assert torch.equal(ages, memory.ages.float()) or torch.equal(-ages, memory.ages.float())


class ScriptedStock(Sam3VideoModel):
    """transformers' video model without a network: its rules, and one concept of a script.

    ``remembered``: per step, the masks for the memory, in the order of the objects; ``identities``: object -> actor.
    """

    def __init__(self, script: Script, length: int, phrase: str = "thing", **settings: Any) -> None:
        torch.nn.Module.__init__(self)
        vars(self).update(asdict(TrackerSettings(**settings)), low_res_mask_size=SIDE)
        self.script, self.phrase = script, phrase
        self.detector_model = SimpleNamespace(get_vision_features=lambda pixel_values: int(pixel_values.flatten()[0]))
        self.identities: dict[int, int] = {}
        self.remembered: dict[int, Tensor] = {}
        video = torch.arange(length).view(-1, 1, 1, 1).float()
        self.session = Sam3VideoInferenceSession(video, *SIZE, dtype=torch.float32)
        self.session.add_prompt(phrase)

    def run_detection(self, inference_session: Sam3VideoInferenceSession, vision_embeds: int) -> dict:
        found = self.script.detections(self.phrase, vision_embeds)
        found = [(c, m) for c, m in found if c > self.score_threshold_detection]
        scores = torch.tensor([c for c, _ in found])
        masks = torch.stack([m for _, m in found]) if found else torch.zeros(0, SIDE, SIDE)
        kept = without_duplicates(masks > 0, scores, self.det_nms_thresh)
        return {0: {"bbox": torch.zeros(len(kept), 4), "mask": masks[kept], "scores": scores[kept]}}

    def get_vision_features_for_tracker(self, vision_embeds: int) -> tuple[list, list]:
        return [], []

    def run_tracker_propagation(
        self, inference_session: Sam3VideoInferenceSession, frame_idx: int, reverse: bool
    ) -> tuple[Tensor, Tensor]:
        objects = inference_session.obj_ids
        if not objects:
            return torch.zeros(0, SIDE, SIDE), torch.zeros(0)
        for place in range(len(objects)):
            inference_session.output_dict_per_obj[place]["non_cond_frame_outputs"][frame_idx] = {}
        seen = [self.script.followed(self.identities[k], frame_idx) for k in objects]
        return torch.stack([m for m, _ in seen]), torch.tensor([s for _, s in seen])

    def _tracker_add_new_objects(
        self, inference_session: Sam3VideoInferenceSession, frame_idx: int, new_obj_ids: list[int],
        new_obj_masks: Tensor, reverse: bool = False,
    ) -> None:
        for number, mask in zip(new_obj_ids, new_obj_masks, strict=True):
            self.identities[number] = self.script.who(mask > 0, frame_idx)
            place = inference_session.obj_id_to_idx(number)
            inference_session.output_dict_per_obj[place]["cond_frame_outputs"][frame_idx] = {}

    def run_memory_encoder(
        self, inference_session: Sam3VideoInferenceSession, frame_idx: int, high_res_masks: Tensor,
        object_score_logits: Tensor,
    ) -> tuple[Tensor, Tensor]:
        self.remembered[frame_idx] = high_res_masks[:, 0].clone()
        nothing = torch.zeros(1, len(high_res_masks), 1)
        return nothing, nothing
