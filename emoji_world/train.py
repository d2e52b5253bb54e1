"""Train the small checkpoint: ``python -m emoji_world.train``.

Two phases. *Words*: only the dense head learns, on the vision and text encoders; cheap, and it is what makes
the rest possible. *Detector*: everything. Stops and goes on where it stopped: the run's folder holds the state.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import Sam3Model

from .architecture import GRID, build_config, build_tokenizer, initialise
from .batches import DRILLED, FIRST_TRAINING_SEED, Pool, make_batch
from .losses import ThrowAwayHeads, detector_loss
from .vocabulary import NOUNS, THINGS

_AVERAGE = 0.998  # weights are averaged over about this many steps: 1 / (1 - 0.998) = 500
_POSITIONS = "vision_encoder.backbone.embeddings.position_embeddings"


class Run:
    """Model, optimiser and counters of one training, and the file they live in."""

    def __init__(self, folder: Path, device: torch.device, senses: bool = True) -> None:
        self.folder = folder
        self.device = device
        self.tokenizer = build_tokenizer()
        self.config = build_config(self.tokenizer)
        # eager attention: on CPUs the fused kernel's backward pass in bfloat16 is several times slower
        self.model = Sam3Model._from_config(self.config.detector_config, attn_implementation="eager")
        initialise(self.model)
        self.model.to(device, memory_format=torch.channels_last).train()
        if not senses:  # what sees and what reads stays as it is, and with it whatever was trained on top of it
            self.model.vision_encoder.requires_grad_(False)
            self.model.text_encoder.requires_grad_(False)
            self.model.text_projection.requires_grad_(False)
        phrases = self.tokenizer([*NOUNS, *(t.name for t in THINGS)], padding=True, return_tensors="pt")
        self.heads = ThrowAwayHeads(phrases.input_ids, phrases.attention_mask, len(NOUNS)).to(device)
        self.average = copy.deepcopy(self.model).eval()
        named = [*self.model.named_parameters(), *self.heads.named_parameters()]
        named = [(name, p) for name, p in named if p.requires_grad]
        self.parameters = [p for _, p in named]
        self.optimiser = torch.optim.AdamW(
            [
                dict(params=[p for _, p in named if p.ndim > 1], weight_decay=1e-4),
                dict(params=[p for _, p in named if p.ndim <= 1], weight_decay=0.0),
            ],
            lr=1e-4, fused=True,
        )
        self.step = 0
        self.seconds = 0.0

    @property
    def file(self) -> Path:
        return self.folder / "state.pt"

    def save(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        state = dict(
            model=self.model.state_dict(), average=self.average.state_dict(), heads=self.heads.state_dict(),
            optimiser=self.optimiser.state_dict(), step=self.step, seconds=self.seconds,
        )
        torch.save(state, self.file.with_suffix(".tmp"))
        os.replace(self.file.with_suffix(".tmp"), self.file)  # a cut in the middle leaves the old state whole

    def load(self) -> bool:
        """Go on with the state in the folder, if there is one."""
        if not self.file.is_file():
            return False
        state = torch.load(self.file, map_location=self.device, weights_only=True)
        for name in ("model", "average", "heads", "optimiser"):
            getattr(self, name).load_state_dict(state[name])
        self.step, self.seconds = state["step"], state["seconds"]
        return True

    def start_from(self, checkpoint: Path) -> None:
        """Take an exported checkpoint's weights, as if they had been trained here; the optimiser starts afresh.

        The checkpoint may have been made for another size of input: a small network learns words in half the time
        that a larger one takes, and what it knows holds when its input grows.
        """
        from safetensors.torch import load_file

        tensors = load_file(checkpoint / "model.safetensors")
        prefix = "detector_model."
        weights = {k.removeprefix(prefix): v.float() for k, v in tensors.items() if k.startswith(prefix)}
        weights[_POSITIONS] = stretched(weights[_POSITIONS], GRID)
        self.model.load_state_dict(weights)
        self.average.load_state_dict(weights)

    def update(self, loss: torch.Tensor, rate: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        keep = min(_AVERAGE, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_([*self.average.parameters()], [*self.model.parameters()], 1 - keep)


def stretched(positions: torch.Tensor, grid: int) -> torch.Tensor:
    """Position embeddings ``(1, N * N, C)`` of a square grid, for a grid of ``(grid, grid)``."""
    side = math.isqrt(positions.shape[1])
    if side == grid:
        return positions
    square = positions.view(1, side, side, -1).permute(0, 3, 1, 2)
    return F.interpolate(square, (grid, grid), mode="bicubic").flatten(2).transpose(1, 2).contiguous()


def train(
    folder: Path, steps: int, word_steps: int, batch: int, prompts: int, masked_prompts: int, rate: float,
    workers: int, threads: int, device: str, minutes: float, start_from: Path | None = None, first_step: int = 0,
    scenes: int = 600, lessons: float = 0.25, frozen_senses: bool = False,
) -> Run:
    """Train until ``steps`` are done or ``minutes`` are over; see ``--help`` for the rest."""
    if threads:
        torch.set_num_threads(threads)
    run = Run(folder, torch.device(device), senses=not frozen_senses)
    torch.manual_seed(run.step)
    goes_on = run.load()
    if not goes_on and start_from is not None:
        run.start_from(start_from)
        run.step = first_step
    print(f"{'Going on' if goes_on else 'Starting'} in {folder}: step {run.step} of {steps}", flush=True)
    contrasts = lessons > DRILLED  # where much is pointed out, there must be something to tell apart
    pool = Pool(workers, FIRST_TRAINING_SEED + 1_000_000 * run.step, 40_000, contrasts)
    rng = np.random.default_rng(run.step + 1)
    started, shown = time.monotonic(), {}
    done_before = run.seconds
    while run.step < steps and (not minutes or time.monotonic() - started < minutes * 60):
        words = run.step < word_steps
        pool.take_in(at_least=scenes)
        some = pool.sample(rng, 2 * batch if words else batch)
        fresh = make_batch(some, run.tokenizer, rng, 0 if words else prompts, lessons)
        fresh = _to(fresh, run.device)
        with torch.autocast(run.device.type, torch.bfloat16):
            if words:
                loss, hits = run.heads.dense(run.model, _grid_features(run.model, fresh.pixels), fresh.cells)
                parts = dict(dense=float(loss.detach()), cells=float(hits))
            else:
                loss, parts = detector_loss(
                    run.model, run.heads, fresh, masked_prompts, one_to_many=3, dense=not frozen_senses
                )
        run.update(loss, _rate(run.step, steps, word_steps, rate))
        run.step += 1
        run.seconds = done_before + time.monotonic() - started
        for name, value in parts.items():
            shown[name] = 0.97 * shown.get(name, value) + 0.03 * value
        if run.step % 50 == 0:
            values = " ".join(f"{name} {value:.3f}" for name, value in shown.items())
            print(f"{run.step:6d}  {run.seconds / 60:6.1f} min  pool {len(pool):5d}  {values}", flush=True)
            with (folder / "log.jsonl").open("a") if folder.is_dir() else _mkdir_open(folder) as log:
                log.write(json.dumps(dict(step=run.step, seconds=round(run.seconds), **shown)) + "\n")
        if run.step % 250 == 0:
            run.save()
    run.save()
    return run


def _grid_features(model: Sam3Model, pixels: torch.Tensor) -> torch.Tensor:
    """The pyramid level at the grid's own size, without computing the three others."""
    encoder = model.vision_encoder
    tokens = encoder.backbone(pixels).last_hidden_state
    side = math.isqrt(tokens.shape[1])
    return encoder.neck.fpn_layers[2](tokens.view(len(tokens), side, side, -1).permute(0, 3, 1, 2))


def _rate(step: int, steps: int, word_steps: int, peak: float) -> float:
    """Warm-up, then a cosine; words and detector each have their own warm-up, the cosine spans the detector."""
    if step < word_steps:
        return 1.5 * peak * min(1.0, (step + 1) / 50) * (0.3 + 0.7 * (1 - step / word_steps))
    progress = (step - word_steps) / max(1, steps - word_steps)
    return peak * min(1.0, (step - word_steps + 1) / 100) * (0.02 + 0.49 * (1 + math.cos(math.pi * progress)))


def _to(batch, device: torch.device):
    if device.type == "cpu":
        return batch
    moved = copy.copy(batch)
    for name, value in vars(batch).items():
        if isinstance(value, torch.Tensor):
            setattr(moved, name, value.to(device, non_blocking=True))
        else:
            setattr(moved, name, [v.to(device, non_blocking=True) for v in value])
    return moved


def _mkdir_open(folder: Path):
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / "log.jsonl").open("a")


def main() -> None:
    """Read the command line, train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/tiny"), help="where the run lives (and resumes)")
    parser.add_argument("--steps", type=int, default=8000, help="all steps, words included")
    parser.add_argument("--word-steps", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=8, help="images a step")
    parser.add_argument("--prompts", type=int, default=5, help="prompts an image")
    parser.add_argument("--masked-prompts", type=int, default=10, help="prompts a step that learn masks")
    parser.add_argument("--rate", type=float, default=6e-4, help="peak learning rate")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw scenes")
    parser.add_argument("--threads", type=int, default=0, help="threads of the network on a CPU (0: torch decides)")
    parser.add_argument("--scenes", type=int, default=600, help="scenes to draw before the first step")
    parser.add_argument("--minutes", type=float, default=0, help="stop after so long (0: when the steps are done)")
    parser.add_argument("--start-from", type=Path, help="a checkpoint such as zoo/tiny, where the folder has no run")
    parser.add_argument("--first-step", type=int, default=0, help="where --start-from stands in the schedule")
    parser.add_argument("--lessons", type=float, default=0.25, help="share of prompts with exemplar boxes")
    parser.add_argument("--frozen-senses", action="store_true", help="leave the vision and text encoders as they are")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    train(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
