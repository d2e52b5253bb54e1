"""What concepts on images cost, beside stock transformers: ``python -m benchmarks.image [--json FILE]``.

Two tables, measured in one run with one thread, repeats interleaved so that a slow minute of the machine hits all
alike. Times are CPU time of the measuring process: on an idle core that is the time on the clock, and on a busy
machine it still is what the work costs. README.md in this folder says what is compared, and why.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import torch

from .measuring import described, machine, one_thread, seconds, verdict

REPOSITORY = Path(__file__).parent.parent
#: seed of the first scene: far from those that training and measuring draw
FIRST_SCENE = 77_000_000
#: the network's masks at full size, and how many queries it has
SOFT, QUERIES = (288, 288), 200

TARGETS = {"ratio_32_to_1": 5.0, "forward_ms": 150.0, "postprocess_s": 0.5, "postprocess_mb": 150.0}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.image", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    parser.add_argument("--checkpoint", default=None, help="hub id or folder (default: the small one that ships)")
    parser.add_argument("--concepts", type=int, nargs="+", default=[1, 4, 16, 32], metavar="N")
    parser.add_argument("--scenes", type=int, default=3, help="how many images")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--size", type=int, nargs=2, default=[4000, 3000], metavar=("W", "H"), help="of image (b)")
    parser.add_argument("--instances", type=int, default=40, help="on image (b)")
    parser.add_argument("--postprocess", choices=POSTPROCESS, help=argparse.SUPPRESS)  # one of them, in its own process
    args = parser.parse_args(argv)
    with one_thread():
        if args.postprocess:
            print(json.dumps(measure_postprocess(args.postprocess, tuple(args.size), args.instances, args.repeats)))
            return
        report = {
            "machine": machine(),
            "concepts": measure_concepts(args.checkpoint, args.concepts, args.scenes, args.repeats, args.threshold),
            "forward": measure_forward(args.checkpoint, 4 * args.repeats),
            "postprocess": compare_postprocess(args.size, args.instances, args.repeats),
        }
    print(tables(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")


# ------------------------------------------------------------------------------------ (a) concepts per image


def measure_concepts(
    checkpoint: str | None, counts: Sequence[int], scenes: int, repeats: int, threshold: float
) -> dict[str, Any]:
    """Milliseconds per image for so many concepts: the engine, and two ways to loop over stock transformers.

    The geometry token is off, so that all three compute the same; that they found the same is checked and reported.
    """
    from transformers import Sam3Processor

    from emoji_world.scenes import render, sample_scene
    from zoo.engine.checkpoint import TINY, load_checkpoint, locate
    from zoo.engine.concepts import parse_concepts
    from zoo.engine.detector import ConceptDetector
    from zoo.engine.images import to_square

    loaded = load_checkpoint(checkpoint or TINY, device="cpu", dtype="float32")
    processor = Sam3Processor.from_pretrained(locate(checkpoint or TINY), local_files_only=True)
    detector = ConceptDetector(loaded, cls_token=False)

    def engine(image: np.ndarray, phrases: list[str]) -> list[int]:
        features = detector.encode_images(to_square(image, loaded.side)[None], [image.shape[:2]])
        return [r.count for r in detector.detect(features, [parse_concepts(phrases)], threshold=threshold)[0]]

    @torch.inference_mode()
    def stock(image: np.ndarray, phrases: list[str]) -> list[int]:
        found = []
        for phrase in phrases:
            inputs = processor(images=image, text=phrase, return_tensors="pt")
            size = inputs.pop("original_sizes").tolist()
            post = processor.post_process_instance_segmentation(loaded.model(**inputs), threshold, target_sizes=size)
            found.append(len(post[0]["scores"]))
        return found

    @torch.inference_mode()
    def reuse(image: np.ndarray, phrases: list[str]) -> list[int]:
        inputs = processor(images=image, return_tensors="pt")
        size = inputs.pop("original_sizes").tolist()
        vision = loaded.model.get_vision_features(inputs.pixel_values)
        found = []
        for phrase in phrases:
            output = loaded.model(vision_embeds=vision, **processor(text=phrase, return_tensors="pt"))
            post = processor.post_process_instance_segmentation(output, threshold, target_sizes=size)
            found.append(len(post[0]["scores"]))
        return found

    ways = {"engine": engine, "stock_reusing_features": reuse, "stock": stock}
    work = []
    for k in range(scenes):
        scene = sample_scene(FIRST_SCENE + k)
        image = render(scene)[0]
        work += [(image, n, natural_mix(scene, n, seed=k)) for n in counts]
    times: dict[tuple[str, int], list[list[float]]] = {(way, n): [] for way in ways for n in counts}
    present: dict[int, list[int]] = {n: [] for n in counts}
    same = True
    for image, n, phrases in work:
        found = {way: run(image, phrases) for way, run in ways.items()}  # also warms up
        same = same and all(f == found["engine"] for f in found.values())
        present[n].append(sum(count > 0 for count in found["engine"]))
        for way in ways:
            times[way, n].append([])
    for _ in range(repeats):
        for k, (image, n, phrases) in enumerate(work):
            for way, run in ways.items():
                times[way, n][k // len(counts)].append(seconds(lambda run=run, i=image, p=phrases: run(i, p)))
    cost = {key: 1e3 * mean(median(t) for t in per_scene) for key, per_scene in times.items()}
    rows = [
        {"concepts": n, "found": mean(present[n]), **{f"{way}_ms": cost[way, n] for way in ways}} for n in counts
    ]
    least, most = min(counts), max(counts)
    return {
        "rows": rows, "scenes": scenes, "repeats": repeats, "threshold": threshold, "same_instances": same,
        f"ratio_{most}_to_{least}": cost["engine", most] / cost["engine", least],
    }


def natural_mix(scene: Any, count: int, seed: int) -> list[str]:
    """What a user's list of concepts is like for any one image: an eighth is there, the rest is not.

    Of what is not, a third resembles something that is.
    """
    from emoji_world.prompts import scene_prompts

    rng = np.random.default_rng(seed)
    there = max(1, count // 8)
    prompts = scene_prompts(scene, rng, positive=there, hard=(count - there) // 3, easy=count, never=count)
    return [p.phrase for p in sorted(prompts, key=lambda p: p.kind != "positive")][:count]


def measure_forward(checkpoint: str | None, repeats: int, concepts: int = 8) -> dict[str, Any]:
    """Milliseconds of one forward as it ships (geometry token on): one image, eight concepts."""
    from emoji_world.scenes import render, sample_scene
    from zoo.engine.checkpoint import TINY, load_checkpoint
    from zoo.engine.concepts import parse_concepts
    from zoo.engine.detector import ConceptDetector
    from zoo.engine.images import to_square

    detector = ConceptDetector(load_checkpoint(checkpoint or TINY, device="cpu", dtype="float32"))
    scene = sample_scene(FIRST_SCENE)
    image = render(scene)[0]
    asked = parse_concepts(natural_mix(scene, concepts, seed=0))

    def forward() -> None:
        square = to_square(image, detector.checkpoint.side)[None]
        detector.detect(detector.encode_images(square, [image.shape[:2]]), [asked])

    forward()
    return {"images": 1, "concepts": concepts, "ms": 1e3 * median(seconds(forward) for _ in range(repeats))}


# ------------------------------------------------------------------- (b) post-processing of a large image


def blobs(count: int, seed: int = 0) -> torch.Tensor:
    """Mask logits ``(count, 288, 288)`` of wobbly objects whose boxes cover 2 to 6 % of the image."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SOFT[0], : SOFT[1]].astype(np.float32)
    logits = np.empty((count, *SOFT), np.float32)
    for mask in logits:
        side = np.sqrt(np.exp(rng.uniform(np.log(0.02), np.log(0.06)))) * SOFT[0]
        stretch = np.exp(rng.uniform(-0.5, 0.5))
        radius_x, radius_y = side * stretch / 2, side / stretch / 2
        cx, cy = rng.uniform(radius_x, SOFT[1] - radius_x), rng.uniform(radius_y, SOFT[0] - radius_y)
        dx, dy = (x - cx) / radius_x, (y - cy) / radius_y
        angle = np.arctan2(dy, dx)
        edge = 0.85 + sum(rng.uniform(0.02, 0.08) * np.sin(k * angle + rng.uniform(0, 7)) for k in (2, 3, 5))
        mask[:] = np.clip((edge - np.hypot(dx, dy)) * min(radius_x, radius_y), -12, 12)
    return torch.from_numpy(logits)


def ours(logits: torch.Tensor, size: tuple[int, int]) -> Callable[[], Any]:
    """The engine's way from kept mask logits to cropped boolean masks."""
    from zoo.engine.masks import crop_masks

    return lambda: crop_masks(logits.sigmoid(), size)


def stock(logits: torch.Tensor, size: tuple[int, int]) -> Callable[[], Any]:
    """transformers' way: the processor's own post-processing, to masks of the image's size."""
    from transformers import Sam3ImageProcessor
    from transformers.models.sam3.modeling_sam3 import Sam3ImageSegmentationOutput

    count = len(logits)
    output = Sam3ImageSegmentationOutput(
        pred_logits=torch.where(torch.arange(QUERIES) < count, 10.0, -10.0)[None],
        pred_boxes=torch.rand(1, QUERIES, 4),
        pred_masks=torch.cat([logits, logits.new_full((QUERIES - count, *SOFT), -12.0)])[None],
        presence_logits=torch.full((1, 1), 10.0),
    )
    processor = Sam3ImageProcessor()
    return lambda: processor.post_process_instance_segmentation(output, 0.5, target_sizes=[size])


POSTPROCESS = {"ours": ours, "stock": stock}


def measure_postprocess(way: str, size: tuple[int, int], instances: int, repeats: int) -> dict[str, Any]:
    """Seconds, and the peak of resident memory above the input, of one way. To be called in a process of its own."""
    width, height = size
    logits = blobs(instances)
    warm = POSTPROCESS[way](logits[:1], (10, 10))
    warm()
    run = POSTPROCESS[way](logits, (height, width))
    before, exact = reset_peak()
    first = seconds(run)  # what it returns is alive when the peak is read, as a caller would keep it
    above = max(0, peak() - before)
    times = [first, *(seconds(run) for _ in range(repeats - 1))]
    return {"seconds": median(times), "mb_above_input": above / 1e6, "peak_is_exact": exact}


def compare_postprocess(size: Sequence[int], instances: int, repeats: int) -> dict[str, Any]:
    """Both ways, each in a fresh process, so that neither finds memory that the other left."""
    results: dict[str, Any] = {"width": size[0], "height": size[1], "instances": instances}
    areas = [np.ptp(np.nonzero(m)[0]) * np.ptp(np.nonzero(m)[1]) / m.size for m in (blobs(instances) > 0).numpy()]
    results["mean_box_share"] = float(np.mean(areas))
    needed = instances * size[0] * size[1] * 16  # float, bool and int64 copies, and some room
    for way in POSTPROCESS:
        if way == "stock" and needed > available_memory():
            results[way] = None
            continue
        command = [sys.executable, "-m", "benchmarks.image", "--postprocess", way, "--size", *map(str, size)]
        command += ["--instances", str(instances), "--repeats", str(repeats)]
        done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
        results[way] = json.loads(done.stdout.splitlines()[-1])
    return results


def reset_peak() -> tuple[int, bool]:
    """Resident bytes now; and whether the peak now counts from here, or from the start of the process."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return status("VmRSS"), True
    except OSError:
        return peak(), False


def peak() -> int:
    """The most bytes that were resident, since the process began or since :func:`reset_peak`."""
    if Path("/proc/self/status").exists():
        return status("VmHWM")
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def status(name: str) -> int:
    """A line of Linux's account of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def available_memory() -> float:
    """Bytes that can be had without swapping; unknown is unlimited."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return float("inf")


def tables(report: dict[str, Any]) -> str:
    """The report for people."""
    at, asked, forward, large = (report[k] for k in ("machine", "concepts", "forward", "postprocess"))
    lines = [
        described(at),
        "",
        f"Concepts on one image, CPU ms (median of {asked['repeats']}, mean of {asked['scenes']} images; "
        f"{'the same instances' if asked['same_instances'] else 'DIFFERENT instances'} in every column)",
        "",
        f"{'concepts':>10}{'found':>8}{'engine':>10}{'stock, features reused':>25}{'stock':>10}{'speed-up':>11}",
    ]
    for row in asked["rows"]:
        lines.append(
            f"{row['concepts']:>10}{row['found']:>8.1f}{row['engine_ms']:>10.1f}{row['stock_reusing_features_ms']:>25.1f}"
            f"{row['stock_ms']:>10.1f}{row['stock_ms'] / row['engine_ms']:>10.1f}x"
        )
    ratio = next(k for k in asked if k.startswith("ratio"))
    _, most, _, least = ratio.split("_")
    lines += [
        "",
        f"engine, {most} concepts / {least}: {asked[ratio]:.2f}x{verdict(asked[ratio], TARGETS.get(ratio), 'x')}",
        f"one forward, 1 image and {forward['concepts']} concepts: {forward['ms']:.1f} ms"
        f"{verdict(forward['ms'], TARGETS['forward_ms'], ' ms')}",
        "",
        f"Post-processing {large['instances']} instances on {large['width']} x {large['height']} pixels "
        f"(boxes cover {large['mean_box_share']:.1%} on average)",
        "",
        f"{'':>10}{'CPU seconds':>14}{'MB above input':>17}",
    ]
    for way in POSTPROCESS:
        result = large[way]
        if result is None:
            lines.append(f"{way:>10}{'not run: not enough free memory':>31}")
            continue
        note = "" if result["peak_is_exact"] else "  (at least: this system cannot reset the peak)"
        if way == "ours":
            note = verdict(result["seconds"], TARGETS["postprocess_s"], " s") + verdict(
                result["mb_above_input"], TARGETS["postprocess_mb"], " MB"
            ) + note  # fmt: skip
        lines.append(f"{way:>10}{result['seconds']:>14.2f}{result['mb_above_input']:>17.0f}{note}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
