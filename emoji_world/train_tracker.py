"""Train the small checkpoint's tracker: ``python -m emoji_world.train_tracker``.

The vision encoder and the detector stay as they are. The tracker is unrolled through its own memory, on stretches of
clips: a frame in which an object is given (as a mask, a box or points), and frames in which it must be found again.
Stops and goes on where it stopped: the run's folder holds the state.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import time
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Sam3VideoModel

from zoo.engine.tracker_network import Candidates, Memory, TrackerFeatures, TrackerNetwork, choose

from .architecture import GRID, build_config, build_tokenizer, initialise_layers
from .batches import FIRST_TRAINING_SEED, Drawn, Pool
from .clip_batches import Stretch, StretchPool
from .clips import SEEN
from .losses import FINE
from .pointing import given_boxes, given_points, point_at

_AVERAGE = 0.997
_WEIGHTS = dict(mask=20.0, dice=2.0, quality=1.0, score=1.0)
#: how much more than others frames count in which an object is hidden, or is back: they are what the memory is for
_HARD = 3.0
_MASK_CELLS = 4 * GRID


class Run:
    """Tracker, optimiser and counters of one training, and the file they live in."""

    def __init__(self, folder: Path, checkpoint: Path, device: torch.device, start_from: Path | None = None) -> None:
        from safetensors.torch import load_file

        self.folder, self.device = folder, device
        config = build_config(build_tokenizer())
        model = Sam3VideoModel._from_config(config, attn_implementation="eager")
        tensors = load_file(checkpoint / "model.safetensors")
        prefix = "detector_model."
        model.detector_model.load_state_dict(
            {k.removeprefix(prefix): v.float() for k, v in tensors.items() if k.startswith(prefix)}
        )
        self.backbone = model.detector_model.vision_encoder.backbone.to(device).eval().requires_grad_(False)
        self.trained = nn.ModuleDict(dict(tracker_model=model.tracker_model, tracker_neck=model.tracker_neck))
        initialise_layers(self.trained)
        # the detector's own pyramid already tells things apart; learning another costs a third of a step
        model.tracker_neck.load_state_dict(model.detector_model.vision_encoder.neck.state_dict())
        model.tracker_neck.requires_grad_(False)
        if start_from is not None:
            tensors = load_file(start_from / "model.safetensors")
            own = {k: v.float() for k, v in tensors.items() if k.startswith(("tracker_model.", "tracker_neck."))}
            self.trained.load_state_dict(own)
        self.trained.to(device).train()
        for module in self.trained.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
            if hasattr(module, "dropout_p"):
                module.dropout_p = 0.0
        self.network = TrackerNetwork(model.tracker_model, model.tracker_neck)
        self.average = copy.deepcopy(self.trained).eval()
        self.parameters = [p for p in self.trained.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            [
                dict(params=[p for p in self.parameters if p.ndim > 1], weight_decay=1e-4),
                dict(params=[p for p in self.parameters if p.ndim <= 1], weight_decay=0.0),
            ],
            lr=1e-4, fused=True,
        )
        self.step, self.seconds = 0, 0.0

    @property
    def file(self) -> Path:
        return self.folder / "tracker.pt"

    def save(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        state = dict(
            model=self.trained.state_dict(), average=self.average.state_dict(),
            optimiser=self.optimiser.state_dict(), step=self.step, seconds=self.seconds,
        )
        torch.save(state, self.file.with_suffix(".tmp"))
        os.replace(self.file.with_suffix(".tmp"), self.file)

    def load(self) -> None:
        """Go on with the state in the folder, if there is one."""
        if self.file.is_file():
            state = torch.load(self.file, map_location=self.device, weights_only=True)
            self.trained.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.seconds = state["step"], state["seconds"]

    def features(self, stretches: list[Stretch]) -> TrackerFeatures:
        """Of all frames of ``stretches``; what is frozen is computed once for each stretch, and kept with it."""
        for stretch in stretches:
            if stretch.levels is None:
                pixels = torch.from_numpy(stretch.images.astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)
                with torch.no_grad():
                    tokens = self.backbone(pixels.to(self.device)).last_hidden_state
                    stretch.levels = tuple(level.bfloat16() for level in self.network.pyramid(tokens))
        return self.network.from_pyramid(
            [torch.cat([s.levels[k] for s in stretches]).to(self.device).float() for k in range(3)]
        )

    def scene_features(self, scenes: list[Drawn]) -> TrackerFeatures:
        """Of the pictures of ``scenes``."""
        pixels = torch.from_numpy(np.stack([s.image for s in scenes]).astype(np.float32) / 127.5 - 1)
        with torch.no_grad():
            tokens = self.backbone(pixels.permute(0, 3, 1, 2).to(self.device)).last_hidden_state
            levels = self.network.pyramid(tokens)
        return self.network.from_pyramid([level.float() for level in levels])

    def update(self, loss: Tensor, rate: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        keep = min(_AVERAGE, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_([*self.average.parameters()], [*self.trained.parameters()], 1 - keep)


def unroll(
    network: TrackerNetwork, features: TrackerFeatures, clips: Tensor, frames: int, cover: Tensor, gaps: Tensor,
    rng: np.random.Generator,
) -> list[tuple[int, Candidates]]:
    """Follow ``N`` objects through their stretches.

    Args:
        network: the tracker
        features: of all frames, ``(clips * frames)`` of them, clip by clip
        clips: ``(N,)``, the clip of each object
        frames: of a stretch
        cover: float ``(T, N, FINE, FINE)``, the truth
        gaps: ``(N,)``, frames of the clip between two of the stretch
        rng: decides how objects are given, and which frames condition

    Returns:
        frame and what the network offered there, for all frames that it had to answer; twice where it was corrected
    """
    model, count = network.model, len(clips)
    row = torch.arange(count)
    start = features.rows(clips * frames)
    kind = rng.random()
    corrected = rng.random() < 0.6  # as ``correct_with_detections`` does: what is remembered is what is there
    answers: list[tuple[int, Candidates]] = []
    if kind < 0.7:
        logits = network.drawn(_given_masks(cover[0], rng))
        seen = network.from_masks(start, logits)
        pointers = seen.pointers
        spatial = network.remember(start, logits, torch.ones(count, dtype=torch.bool), given=True)
    else:
        prompts = given_boxes(cover[0], rng) if kind < 0.85 else given_points(cover[0], rng)
        offered = network.decode(network.without_memory(start), **prompts)
        answers.append((0, offered))
        best = offered.quality.argmax(1)
        pointers = model.object_pointer_proj(offered.tokens[row, best])
        spatial = network.remember(start, offered.masks[row, best], torch.ones(count, dtype=torch.bool), given=True)
    memories, seen_at, conditioning = [spatial], [pointers], {0}
    extra = int(rng.integers(2, frames)) if rng.random() < 0.3 else None
    for t in range(1, frames):
        now = features.rows(clips * frames + t)
        recent = range(max(1, t - network.frames_remembered), t)
        kept = [k for k in range(t) if k in conditioning or k in recent]
        memory = Memory(
            torch.stack([memories[k] for k in kept], 1),
            tuple(0 if k in conditioning else t - k for k in kept),
            torch.stack(seen_at, 1),
            (t - torch.arange(t))[None] * gaps[:, None].clamp(max=2),
        )
        recalled = network.recall(now, memory)
        offered = network.decode(recalled)
        answers.append((t, offered))
        refined = t == extra and rng.random() < 0.6
        if refined:  # a person points out what is wrong with the answer
            drawn = choose(model, offered).masks.detach().clamp(min=-32)[:, None]
            prompts = given_points(cover[t], rng) if rng.random() < 0.7 else given_boxes(cover[t], rng)
            offered = network.decode(recalled, **prompts, masks=drawn)
            answers.append((t, offered))
        best = offered.quality.argmax(1)
        there = offered.score > 0
        soft = there.to(offered.tokens.dtype)[:, None]
        pointers = model.object_pointer_proj(offered.tokens[row, best])
        seen_at.append(soft * pointers + (1 - soft) * model.no_object_pointer)
        masks = torch.where(there[:, None, None], offered.masks[row, best], -10.0)
        if corrected:
            true = _given_masks(cover[t], rng) > 0.5
            drawn = masks > 0
            close = (true & drawn).flatten(1).sum(1) > 0.5 * (true | drawn).flatten(1).sum(1)
            masks = torch.where(close[:, None, None], torch.where(true, 6.0, -6.0), masks)
        memories.append(network.remember(now, masks, there, given=refined))
        if t == extra:
            conditioning.add(t)
    return answers


def losses(answers: list[tuple[int, Candidates]], cover: Tensor, shares: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Best of three masks, its expected quality, and whether the object is there.

    Args:
        answers: of :func:`unroll`
        cover: float ``(T, N, FINE, FINE)``
        shares: ``(T, N)``, how much of each object shows
    """
    parts = dict.fromkeys(_WEIGHTS, torch.zeros(()))
    ious: list[float] = []
    back: list[float] = []
    lost = torch.cummax((shares < 0.02).to(torch.uint8), 0).values > 0  # hidden now, or some time before
    emphasis = torch.where(lost, _HARD, 1.0)
    for t, offered in answers:
        truth, visible = cover[t][:, None], shares[t] >= SEEN
        logits = F.interpolate(offered.masks.float(), (FINE, FINE), mode="bilinear", align_corners=False)
        soft, wanted = logits.sigmoid(), truth.expand_as(logits)
        cross = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        right = soft * wanted + (1 - soft) * (1 - wanted)
        focal = ((1 - right) ** 2 * cross).flatten(2).mean(2)
        both = (soft * wanted).flatten(2).sum(2)
        dice = 1 - (2 * both + 1) / (soft.flatten(2).sum(2) + wanted.flatten(2).sum(2) + 1)
        best = (_WEIGHTS["mask"] * focal + _WEIGHTS["dice"] * dice).argmin(1)
        row = torch.arange(len(best))
        drawn, there = logits > 0, wanted > 0.5
        iou = (drawn & there).flatten(2).sum(2) / (drawn | there).flatten(2).sum(2).clamp(min=1)
        weight = visible * emphasis[t]
        share = 1 / max(1.0, float(weight.sum()))
        parts["mask"] = parts["mask"] + (focal[row, best] * weight).sum() * share
        parts["dice"] = parts["dice"] + (dice[row, best] * weight).sum() * share
        parts["quality"] = parts["quality"] + ((offered.quality - iou).abs().mean(1) * weight).sum() * share
        sure = (shares[t] >= SEEN) | (shares[t] < 0.02)  # a sliver is neither
        score = F.binary_cross_entropy_with_logits(offered.score.float(), visible.float(), reduction="none")
        sure = sure * emphasis[t]
        parts["score"] = parts["score"] + (score * sure).sum() / max(1.0, float(sure.sum()))
        chosen = iou[row, offered.quality.argmax(1)]
        back += (chosen * (offered.score > 0))[visible & lost[t]].tolist()
        ious.append(float(chosen[visible].mean()) if visible.any() else math.nan)
    total = sum(_WEIGHTS[name] * part for name, part in parts.items()) / len(answers)
    shown = {name: float(part.detach()) / len(answers) for name, part in parts.items()}
    ious_back = float(np.mean(back)) if back else math.nan
    return total, dict(
        shown, iou_first=ious[0], iou_next=ious[1] if len(ious) > 1 else math.nan, iou_last=ious[-1], iou_back=ious_back
    )


def _followed(
    run: Run, stretches: list[Stretch], rng: np.random.Generator, each: int
) -> tuple[Tensor, dict[str, float]] | None:
    """The loss of objects that are followed through ``stretches``; ``None`` where none shows at their beginning."""
    clips, places = choose_objects(stretches, rng, each)
    if not clips:
        return None
    pairs = list(zip(clips, places, strict=True))
    cover = torch.from_numpy(np.stack([stretches[k].cover[:, p] for k, p in pairs], 1)).float() / 255
    shares = torch.from_numpy(np.stack([stretches[k].shares[:, p] for k, p in pairs], 1))
    gaps = torch.tensor([stretches[k].gap for k in clips])
    frames = len(stretches[0].images)
    answers = unroll(run.network, run.features(stretches), torch.tensor(clips), frames, cover, gaps, rng)
    return losses(answers, cover, shares)


def _pointed(run: Run, pictures: Pool, rng: np.random.Generator, count: int) -> tuple[Tensor, dict[str, float]]:
    """The loss of about ``count`` objects of scenes that are pointed at."""
    pictures.take_in(at_least=64)
    scenes: list[Drawn] = []
    while sum(len(s.cover) for s in scenes) < count:
        scenes += pictures.sample(rng, 1)
    rows = [k for k, s in enumerate(scenes) for _ in s.cover]
    cover = torch.from_numpy(np.concatenate([s.cover for s in scenes]).astype(np.float32) / 255)
    order = rng.permutation(len(rows))
    cover = cover[order]
    answers = point_at(run.network, run.scene_features(scenes), [rows[k] for k in order], cover, rng)
    return losses(answers, cover[None], torch.ones(1, len(rows)))


def choose_objects(stretches: list[Stretch], rng: np.random.Generator, each: int) -> tuple[list[int], list[int]]:
    """Up to ``each`` objects of every stretch that show in its first frame: their stretches, and places there."""
    clips, places = [], []
    for k, stretch in enumerate(stretches):
        there = rng.permutation(np.flatnonzero(stretch.shares[0] >= 2 * SEEN))
        if rng.random() < 0.8:  # those that come back, and those that hide, first
            there = sorted(there, key=lambda k: (-_comes_back(stretch.shares[:, k]), stretch.shares[:, k].min()))
        for place in there[:each]:
            clips.append(k)
            places.append(int(place))
    return clips, places


def _comes_back(shares: np.ndarray) -> bool:
    hidden = np.flatnonzero(shares < 0.02)
    return bool(hidden.size) and bool((shares[hidden[0] :] >= SEEN).any())


def _given_masks(cover: Tensor, rng: np.random.Generator) -> Tensor:
    """Masks as a detector gives them: coarse, and a little off."""
    small = F.interpolate(cover[:, None], (_MASK_CELLS, _MASK_CELLS), mode="area")[:, 0]
    masks = (small > 0.5).numpy().astype(np.uint8)
    masks[(masks.sum((1, 2)) == 0)] = (small[(masks.sum((1, 2)) == 0)] > 0.1).numpy()
    for k, mask in enumerate(masks):
        pick = rng.random()
        if pick < 0.4 and mask.sum() > 40:
            shape = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
            masks[k] = (cv2.erode if pick < 0.2 else cv2.dilate)(mask, shape)
    return torch.from_numpy(masks).float()


def train(
    folder: Path, checkpoint: Path, steps: int, batch: int, each: int, frames: int, rate: float, threads: int,
    stretches: int, device: str, minutes: float, pointed_out: int = 48, every: int = 1,
    start_from: Path | None = None,
) -> Run:
    """Train until ``steps`` are done or ``minutes`` are over; see ``--help`` for the rest."""
    if threads:
        torch.set_num_threads(threads)
    run = Run(folder, checkpoint, torch.device(device), start_from)
    run.load()
    torch.manual_seed(run.step)
    rng = np.random.default_rng([run.step, frames])
    pool = StretchPool(frames, 50_000 * frames + 10 * run.step, 500)
    pool.take_in(stretches)
    pictures = Pool(1, FIRST_TRAINING_SEED + 20_000_000 + 10 * run.step, 3000) if pointed_out else None
    started, before, shown = time.monotonic(), run.seconds, {}
    while run.step < steps and (not minutes or time.monotonic() - started < minutes * 60):
        loss, parts = torch.zeros(()), {}
        with torch.autocast(run.device.type, torch.bfloat16):
            if pictures is None or run.step % every == 0:
                pool.take_in(stretches)
                followed = _followed(run, pool.sample(rng, batch), rng, each)
                if followed is None:
                    continue
                loss, parts = followed
            if pictures is not None:
                pointed, drawn = _pointed(run, pictures, rng, pointed_out)
                loss = loss + pointed
                parts |= dict(iou_pointed=drawn["iou_first"], iou_corrected=drawn["iou_last"])
        progress = run.step / steps
        run.update(loss, rate * min(1, (run.step + 1) / 50) * (0.03 + 0.485 * (1 + math.cos(math.pi * progress))))
        run.step += 1
        run.seconds = before + time.monotonic() - started
        for name, value in parts.items():
            if not math.isnan(value):
                shown[name] = 0.96 * shown.get(name, value) + 0.04 * value
        if run.step % 20 == 0:
            values = " ".join(f"{name} {value:.3f}" for name, value in shown.items())
            print(f"{run.step:6d}  {run.seconds / 60:6.1f} min  pool {len(pool):4d}  {values}", flush=True)
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / "tracker.jsonl").open("a") as log:
                log.write(json.dumps(dict(step=run.step, seconds=round(run.seconds), **shown)) + "\n")
        if run.step % 100 == 0:
            run.save()
    pool.close()
    run.save()
    return run


def main() -> None:
    """Read the command line, train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/tracker"), help="where the run lives (and resumes)")
    parser.add_argument("--checkpoint", type=Path, default=Path("zoo/tiny"), help="the detector")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=8, help="clips a step")
    parser.add_argument("--each", type=int, default=2, help="objects of a clip")
    parser.add_argument("--frames", type=int, default=8, help="of a stretch")
    parser.add_argument("--pointed-out", type=int, default=48, help="objects of scenes, pointed at")
    parser.add_argument("--every", type=int, default=1, help="follow objects in every so-manieth step only")
    parser.add_argument("--start-from", type=Path, help="a checkpoint, for its tracker")
    parser.add_argument("--rate", type=float, default=6e-4, help="peak learning rate")
    parser.add_argument("--threads", type=int, default=0, help="threads of the network on a CPU (0: torch decides)")
    parser.add_argument("--stretches", type=int, default=64, help="stretches to draw before the first step")
    parser.add_argument("--minutes", type=float, default=0, help="stop after so long (0: when the steps are done)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    train(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
