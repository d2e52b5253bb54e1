"""What scoring costs: ``python -m benchmarks.evaluation [--official FOLDER] [--json FILE]``.

Files of generated pairs are scored from the start of a process to its numbers: reading, checking, matching, counting.
Each side runs in a process of its own with one thread, in turn, ``--repeats`` times. ``--official`` is a checkout of
facebookresearch/sam3; without it, and without an installed ``sam3``, our side alone is measured. In the JSON:

``machine``
    what it ran on
``pairs``, ``masks``, ``size``
    what was scored: pairs, masks of each side, and their height and width
``ours``, ``official``
    ``seconds``: CPU time of the repeats, imports left out; ``mb``: peak of resident memory, the interpreter and all
    libraries included; ``cgF1``
``speed_up``
    official over ours: the medians, and of each repeat the ratio in ``speed_ups``
``intervals_seconds``
    our bootstrap of 1,000 resamples, which the official evaluator does not have
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

TARGETS = {"seconds": 30.0, "mb": 500.0, "speed_up": 3.0}
_EVALUATOR = Path("sam3") / "eval" / "cgf1_eval.py"


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write JSON where asked."""
    said = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation", description=said)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    where = "a checkout of facebookresearch/sam3 (default: what is installed)"
    parser.add_argument("--official", type=Path, metavar="FOLDER", help=where)
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--masks", type=int, default=2, help="of each side, in a pair that has any")
    parser.add_argument("--size", type=int, default=512, help="height and width of the masks")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.side:
        print(json.dumps(_score(args.side, args.folder, args.official)))
        return
    args.official = args.official or _installed()
    if args.official and not (args.official / _EVALUATOR).is_file():
        parser.error(f"--official {args.official} has no {_EVALUATOR}")
    report = measure(args.pairs, args.masks, args.size, args.repeats, args.official)
    print(text(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")


def _installed() -> Path | None:
    """Where the official package is, if it is installed; importing it would load its model's code."""
    spec = importlib.util.find_spec("sam3")
    places = [Path(place).parent for place in (spec.submodule_search_locations or ())] if spec else []
    return next((place for place in places if (place / _EVALUATOR).is_file()), None)


def measure(pairs: int, masks: int, size: int, repeats: int, official: Path | None) -> dict[str, Any]:
    """Both sides in turn; see the top of this module."""
    from .measuring import machine

    report: dict[str, Any] = dict(machine=machine(), pairs=pairs, masks=masks, size=size)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pairs(folder, pairs, masks, size)
        runs: dict[str, list[dict[str, float]]] = {}
        for _ in range(repeats):
            for side in ("ours", *(["official"] if official else [])):
                runs.setdefault(side, []).append(_in_a_process(side, folder, official))
    for side, held in runs.items():
        report[side] = dict(
            seconds=[run["seconds"] for run in held], mb=max(run["mb"] for run in held), cgF1=held[0]["cgF1"]
        )
    report["intervals_seconds"] = median(run["intervals"] for run in runs["ours"])
    if official:
        both = zip(report["official"]["seconds"], report["ours"]["seconds"], strict=True)
        report["speed_ups"] = [theirs / mine for theirs, mine in both]
        report["speed_up"] = median(report["official"]["seconds"]) / median(report["ours"]["seconds"])
        if abs(report["official"]["cgF1"] - report["ours"]["cgF1"]) > 1e-9:
            raise RuntimeError(f"the numbers differ: {report['official']['cgF1']} and {report['ours']['cgF1']}")
    return report


def text(report: dict[str, Any]) -> str:
    """The table."""
    from .measuring import described, verdict

    full = report["pairs"] >= 20_000
    ours, official = report["ours"], report.get("official")
    spent = median(ours["seconds"])
    lines = [
        described(report["machine"]),
        f"{report['pairs']:,} pairs, {report['masks']} masks a side, {report['size']} px",
        f"ours      {spent:7.2f} s{verdict(spent, TARGETS['seconds'] if full else None, ' s')}   "
        f"{ours['mb']:5.0f} MB{verdict(ours['mb'], TARGETS['mb'] if full else None, ' MB')}   cgF1 {ours['cgF1']:.6f}",
    ]
    if official:
        low, high = min(report["speed_ups"]), max(report["speed_ups"])
        target = TARGETS["speed_up"] if full else None
        lines += [
            f"official  {median(official['seconds']):7.2f} s   {official['mb']:5.0f} MB   cgF1 {official['cgF1']:.6f}",
            f"official / ours {report['speed_up']:.2f}x, {low:.2f} to {high:.2f}"
            + verdict(report["speed_up"], target, "x", at_least=True),
        ]
    else:
        lines.append("official: not measured; --official names a checkout of facebookresearch/sam3")
    lines.append(f"1,000 resamples of all pairs (ours only): {report['intervals_seconds']:.2f} s")
    return "\n".join(lines)


def write_pairs(folder: Path, pairs: int, masks: int, size: int, seed: int = 0) -> None:
    """``gt.json`` and ``pred.json``: blobs, a third of the pairs negative, predictions shifted, lost and made up."""
    rng = np.random.default_rng(seed)
    pool = [_blob(rng, size) for _ in range(200)]
    images, annotations, predictions = [], [], []
    for pair in range(pairs):
        images.append({
            "id": pair, "file_name": f"{pair // 4}.jpg", "text_input": f"thing {pair % 50}", "height": size,
            "width": size, "is_instance_exhaustive": 1, "is_pixel_exhaustive": 1,
        })  # fmt: skip
        negative = rng.random() < 1 / 3
        for _ in range(masks):
            blob = pool[rng.integers(len(pool))]
            if not negative:
                annotations.append({
                    "id": len(annotations) + 1, "image_id": pair, "category_id": 1, "iscrowd": 0, **_shape(blob),
                })  # fmt: skip
            if rng.random() < (0.1 if negative else 0.9):
                moved = np.roll(blob, int(rng.integers(0, size // 16)), axis=0)
                score = float(rng.uniform(0.4, 1.0))
                predictions.append({"image_id": pair, "category_id": 1, "score": score, **_shape(moved)})
    categories = [{"id": 1, "name": "object"}]
    truth = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "gt.json").write_text(json.dumps(truth))
    (folder / "pred.json").write_text(json.dumps(predictions))


def _blob(rng: np.random.Generator, size: int) -> np.ndarray:
    """A shape with some corners, between a twentieth and a half of the image wide."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(8, 40))))
    radii = rng.uniform(0.6, 1, angles.size) * rng.uniform(size / 40, size / 4)
    corner = rng.uniform(size / 5, 4 * size / 5, 2)
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None] + corner
    return cv2.fillPoly(np.zeros((size, size), np.uint8), [points.astype(np.int32)], 1)


def _shape(mask: np.ndarray) -> dict[str, Any]:
    rle = coco_mask.encode(np.asfortranarray(mask))
    box = (coco_mask.toBbox(rle) / mask.shape[0]).tolist()
    area = float(mask.mean())
    return {"bbox": box, "area": area, "segmentation": {"size": list(mask.shape), "counts": rle["counts"].decode()}}


def _in_a_process(side: str, folder: Path, official: Path | None) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.evaluation", "--side", side, "--folder", str(folder)]
    command += ["--official", str(official)] if official else []
    one_thread = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(command, cwd=root, env={**os.environ, **one_thread}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{side} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def _score(side: str, folder: Path, official: Path | None) -> dict[str, float]:
    """One side, in a process of its own."""
    truth, predictions = folder / "gt.json", folder / "pred.json"
    found: dict[str, float] = {}
    if side == "ours":
        from evaluation.gold_score import score_gold_files

        start = time.process_time()
        table = score_gold_files([truth], predictions).table
        found["cgF1"] = table.cgf1().cgF1
        found["seconds"] = time.process_time() - start
        found["mb"] = _peak()
        start = time.process_time()
        table.intervals()
        found["intervals"] = time.process_time() - start
        return found
    spec = importlib.util.spec_from_file_location("cgf1_eval", official / _EVALUATOR)
    evaluator = importlib.util.module_from_spec(spec)
    sys.modules["cgf1_eval"] = evaluator
    spec.loader.exec_module(evaluator)
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        numbers = evaluator.CGF1Evaluator([str(truth)]).evaluate(str(predictions))
    found["seconds"] = time.process_time() - start
    return {**found, "cgF1": numbers["cgF1_eval_segm_cgF1"], "mb": _peak()}


def _peak() -> float:
    """Peak of resident memory, in MB (10^6 bytes)."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would count what the process was forked from
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


if __name__ == "__main__":
    main()
