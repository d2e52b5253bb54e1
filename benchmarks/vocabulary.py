"""What a large vocabulary costs on one image: ``python -m benchmarks.vocabulary [--threads N] [--json FILE]``.

Nouns that people use, most of them absent, as in any photo: seconds, and memory, which must not grow with them. Each
size runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from .image import FIRST_SCENE, REPOSITORY, peak, reset_peak
from .measuring import machine, verdict

#: of the largest vocabulary: seconds on the clock of two cores, and megabytes more than the smallest takes
TARGETS = {"seconds": 5.0, "more_mb": 50.0}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write JSON where asked."""
    about = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vocabulary", description=about)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    parser.add_argument("--checkpoint", default=None, help="hub id or folder (default: the small one that ships)")
    parser.add_argument("--concepts", type=int, nargs="+", default=[100, 1203], metavar="N", help="LVIS has 1203")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)  # the first size, in its own process
    args = parser.parse_args(argv)
    if args.one:
        print(json.dumps(measure(args.checkpoint, args.concepts[0], args.threads, args.repeats)))
        return
    report = {"machine": machine() | {"threads_used": args.threads}, "rows": []}
    for count in args.concepts:
        command = [sys.executable, "-m", "benchmarks.vocabulary", "--one", "--concepts", str(count)]
        command += ["--threads", str(args.threads), "--repeats", str(args.repeats)]
        command += ["--checkpoint", args.checkpoint] if args.checkpoint else []
        done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
        report["rows"].append(json.loads(done.stdout.splitlines()[-1]))
    print(table(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")


def measure(checkpoint: str | None, count: int, threads: int, repeats: int) -> dict[str, Any]:
    """One size. Seconds of one image, its encoding included and that of the words apart; megabytes of resident memory
    above what was there before, at the peak of the first call, the answers still alive.
    """
    from curation.nouns import common_nouns
    from emoji_world.scenes import render, sample_scene
    from zoo.engine.checkpoint import TINY, load_checkpoint
    from zoo.engine.concepts import parse_concepts
    from zoo.engine.detector import ConceptDetector
    from zoo.engine.images import to_square

    torch.set_num_threads(threads)
    detector = ConceptDetector(load_checkpoint(checkpoint or TINY, device="cpu", dtype="float32"))
    scene = sample_scene(FIRST_SCENE)
    there = list(dict.fromkeys(placed.thing.noun for placed in scene.objects))
    nouns = [noun for noun in common_nouns(2 * count) if noun not in there]
    concepts = parse_concepts([*there, *nouns][:count])
    image = render(scene)[0]
    square, size = to_square(image, detector.checkpoint.side)[None], image.shape[:2]
    start = time.perf_counter()
    detector.encode_phrases([phrase for concept in concepts for phrase in concept.phrases])
    words = time.perf_counter() - start
    detector.detect(detector.encode_images(square, [size]), [concepts[:64]])  # warms up
    before, exact = reset_peak()
    clock, work = [], []
    above = 0.0
    for k in range(repeats):
        started, cpu = time.perf_counter(), time.process_time()
        (found,) = detector.detect(detector.encode_images(square, [size]), [concepts])
        clock.append(time.perf_counter() - started)
        work.append(time.process_time() - cpu)
        above = max(0, peak() - before) / 1e6 if k == 0 else above
    return {
        "concepts": count, "found": sum(bool(result.count) for result in found), "seconds": median(clock),
        "cpu_seconds": median(work), "words_seconds": words, "mb_above": above, "peak_is_exact": exact,
    }  # fmt: skip


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    at, rows = report["machine"], report["rows"]
    lines = [
        f"{at['cpu']} ({at['instructions']}), {at['cores']} cores, load {at['load']}; {at['threads_used']} thread(s); "
        f"torch {at['torch']}, transformers {at['transformers']}, Python {at['python']}",
        "",
        f"{'concepts':>10}{'found':>8}{'seconds':>10}{'CPU s':>8}{'words, once':>14}{'MB at most':>13}",
    ]
    for row in rows:
        lines.append(
            f"{row['concepts']:>10}{row['found']:>8}{row['seconds']:>10.2f}{row['cpu_seconds']:>8.2f}"
            f"{row['words_seconds']:>12.2f} s{row['mb_above']:>13.1f}"
        )
    most, more = rows[-1], rows[-1]["mb_above"] - rows[0]["mb_above"]
    took = verdict(most["seconds"], TARGETS["seconds"], " s")
    lines += [
        "",
        f"{most['concepts']} concepts on one image: {most['seconds']:.2f} s{took}",
        f"memory beyond that of {rows[0]['concepts']}: {more:.1f} MB{verdict(more, TARGETS['more_mb'], ' MB')}",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
