"""How good a checkpoint is on scenes and clips it never saw:
``python -m emoji_world.measure --images 500 --clips 60 --prompts 200 --tiles 40``.

Scenes, clips and prompts have fixed seeds below every training seed. They are measured through the same engine that
users run, at the standard threshold of 0.5; images at their own size, clips (see ``measure_clips.py``) at half of it.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from evaluation import CGF1, PairCounts, cgf1, count_pair, presence_auc
from zoo.engine.checkpoint import TINY, load_checkpoint
from zoo.engine.concepts import parse_concepts
from zoo.engine.detector import ConceptDetector
from zoo.engine.images import to_square
from zoo.engine.tracker import ConceptTracker
from zoo.engine.tracker_settings import TrackerSettings

from .card import write_card
from .full_masks import full_masks
from .measure_clips import measure_clips
from .measure_prompts import measure_prompts
from .measure_tiles import measure_tiles
from .prompts import scene_prompts
from .scenes import render, sample_scene
from .vocabulary import UNSEEN_WORDS

#: scenes of the measurement; training scenes start at a million
FIRST_SEED = 500_000
_MEASURED = {"clips": "clips", "images": "scenes", "prompt_images": "scenes, by boxes and points",
             "tile_images": "large scenes"}  # fmt: skip


@dataclass
class Measurement:
    """Sums over scenes; :meth:`numbers` turns them into the table."""

    pairs: list[PairCounts] = field(default_factory=list)
    presence: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    images: int = 0

    def numbers(self) -> dict[str, float | int]:
        """The table. Rates in [0, 1], ``ms_per_image`` in milliseconds (encoding and all its prompts)."""
        quality: CGF1 = cgf1(self.pairs)
        found = self.presence["positive"]
        absent = [v for kind in ("hard", "easy", "never") for v in self.presence[kind]]

        def auc(others: list[float]) -> float:
            return presence_auc([*found, *others], [True] * len(found) + [False] * len(others))

        return dict(
            cgF1=quality.cgF1,
            pmF1=quality.pmF1,
            IL_MCC=quality.IL_MCC,
            presence_auc_hard=auc(self.presence["hard"]),
            f1_50=quality.at("F1", 0.5),
            ms_per_image=1000 * self.seconds / self.images,
            images=self.images,
            pairs=len(self.pairs),
            cgF1_50=quality.cgF1_50,
            cgF1_75=quality.cgF1_75,
            pmF1_50=quality.pmF1_50,
            presence_auc=auc(absent),
            presence_auc_unseen_words=auc(self.presence["unseen"]),
            false_alarms_hard=float(np.mean(np.array(self.presence["hard"]) > 0.5)),
            false_alarms_unseen_words=float(np.mean(np.array(self.presence["unseen"]) > 0.5)),
        )


def measure(detector: ConceptDetector, images: int, first_seed: int = FIRST_SEED) -> Measurement:
    """Ask ``images`` scenes their prompts (three present, three cruel, one easy, one never drawn, one unseen)."""
    total = Measurement(presence={kind: [] for kind in ("positive", "hard", "easy", "never", "unseen")})
    for done, seed in enumerate(_usable_seeds(first_seed, images), 1):
        scene = sample_scene(seed)
        image, masks = render(scene)
        rng = np.random.default_rng([seed, 0xA5C])
        prompts = scene_prompts(scene, rng)
        unseen = UNSEEN_WORDS[int(rng.integers(len(UNSEEN_WORDS)))]
        started = time.perf_counter()
        size = image.shape[:2]
        features = detector.encode_images(to_square(image, detector.checkpoint.side)[None], [size])
        results = detector.detect(features, [parse_concepts([*(p.phrase for p in prompts), unseen])])[0]
        total.seconds += time.perf_counter() - started
        total.images += 1
        for prompt, result in zip(prompts, results, strict=False):
            total.presence[prompt.kind].append(result.presence)
            truth = masks[list(prompt.instances)]
            total.pairs.append(count_pair(truth, full_masks(result, size), [i.confidence for i in result.instances]))
        total.presence["unseen"].append(results[-1].presence)
        if done % 100 == 0:
            print(f"{done} of {images} scenes", flush=True)
    return total


def _usable_seeds(first: int, count: int) -> Iterator[int]:
    """Seeds whose scenes hold something."""
    seed = first
    while count:
        if sample_scene(seed).objects:
            yield seed
            count -= 1
        seed += 1


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, help="scenes to measure (500, unless there are --clips)")
    parser.add_argument("--clips", type=int, help="clips to measure")
    parser.add_argument("--detect-every", type=int, default=1, help="of the clips' frames, those that are detected in")
    parser.add_argument("--tiles", type=int, help="large scenes to measure tiles on")
    parser.add_argument("--prompts", type=int, help="scenes to measure boxes and points on")
    parser.add_argument("--checkpoint", type=Path, default=TINY)
    parser.add_argument("--device", default=None)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the network")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    parser.add_argument("--card", type=Path, nargs="+", default=[], help="documents whose table to renew")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    checkpoint = load_checkpoint(args.checkpoint, args.device, "float32", tracker=bool(args.clips or args.prompts))
    detector = ConceptDetector(checkpoint)
    tables = []
    if args.images or not (args.clips or args.prompts or args.tiles):
        tables.append(measure(detector, args.images or 500).numbers())
    if args.clips:
        settings = TrackerSettings.of(checkpoint.tracker_config, dict(detect_every=args.detect_every))
        tables.append(measure_clips(ConceptTracker(detector, checkpoint.tracker, settings), args.clips).numbers())
    if args.prompts:
        tables.append(measure_prompts(checkpoint, args.prompts).numbers())
    if args.tiles:
        tables.append(measure_tiles(checkpoint, args.tiles).numbers())
    for numbers in tables:
        what = next(f"{numbers[name]} {words}" for name, words in _MEASURED.items() if name in numbers)
        print(f"\n{checkpoint.name} {checkpoint.fingerprint}: {what}")
        for name, value in numbers.items():
            shown = f"{value:d}" if isinstance(value, int) else "undefined" if math.isnan(value) else f"{value:.3f}"
            print(f"  {name:38s} {shown:>9s}")
        for file in args.card:
            write_card(file, numbers)
    if args.json:
        args.json.write_text(json.dumps({k: v for numbers in tables for k, v in numbers.items()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
