"""What it costs to write answers down: ``python -m benchmarks.writing [--json FILE]``.

A hundred instances a sample, with masks as 1080p images have them. FiftyOne's own way (labels, saved by a
``SaveContext``, as ``apply_model`` does) against the pipeline's, in this process and in others, in turns: samples a
second on the clock, which others' work on the machine moves, and what a core can do, which it does not.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import fiftyone as fo
import numpy as np

from zoo.engine.results import ConceptResult, Instance
from zoo.labels import to_detections
from zoo.ledger import Ledger, declare, write
from zoo.writing import Writers, answer_of, form_of

from .measuring import described, machine, verdict

#: samples a second, on 16 cores; and what that asks of each of four processes, with cores left for all else
TARGETS = {"machine": 75.0, "core": 10.0}

SIZE = (1080, 1920)
LABELS = [f"concept {k}" for k in range(10)]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write JSON where asked."""
    about = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.writing", description=about)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    parser.add_argument("--samples", type=int, default=48)
    parser.add_argument("--instances", type=int, default=100, help="of each sample")
    parser.add_argument("--writers", type=int, nargs="+", default=[0, 1, 2], metavar="N")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args(argv)
    report = {
        "machine": machine(), "samples": args.samples, "instances": args.instances, "repeats": args.repeats,
        "rows": measure(args.samples, args.instances, args.writers, args.batch_size, args.repeats),
    }  # fmt: skip
    print(table(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")


def measure(
    samples: int, instances: int, writers: Sequence[int], batch_size: int, repeats: int
) -> list[dict[str, Any]]:
    """Each way of writing, in turns.

    Returns:
        for each: ``way``; samples a ``second``, median, lowest and highest; those a ``core`` can do, counting the
        seconds of all processes that write, and those of ``main``, the process that has the model; ``ratio`` to
        FiftyOne's own way on the clock, and ``core_ratio``, medians over turns
    """
    answers = [_results(k, instances) for k in range(min(samples, 16))]
    ways: dict[str, Callable[[fo.Dataset, list[str]], None]] = {"FiftyOne": lambda d, ids: _saved(d, ids, answers)}
    for count in writers:
        name = "a thread" if count == 0 else f"{count} process{'es' if count > 1 else ''}"
        ways[name] = lambda d, ids, count=count: _written(d, ids, answers, count, batch_size)
    clock: dict[str, list[float]] = {way: [] for way in ways}
    core: dict[str, list[float]] = {way: [] for way in ways}
    own: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(repeats):
        for way, run in ways.items():
            with _dataset(samples if turn or repeats == 1 else min(samples, batch_size)) as (dataset, ids):
                started, mine, others = time.perf_counter(), time.process_time(), _children()
                run(dataset, ids)
                mine, others = time.process_time() - mine, _children() - others
                clock[way].append(len(ids) / (time.perf_counter() - started))
                core[way].append(len(ids) / (mine + others))
                own[way].append(1000 * mine / len(ids))
    if repeats > 1:  # the first turn, a short one, warms up
        clock, core, own = ({way: values[1:] for way, values in held.items()} for held in (clock, core, own))
    return [
        {
            "way": way, "second": median(clock[way]), "lowest": min(clock[way]), "highest": max(clock[way]),
            "core": median(core[way]), "main_ms": median(own[way]), "ratio": _over(clock[way], clock["FiftyOne"]),
            "core_ratio": _over(core[way], core["FiftyOne"]),
        }
        for way in ways
    ]  # fmt: skip


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    lines = [
        described(report["machine"]), "",
        f"{report['samples']} samples of {report['instances']} instances, 1080p; {max(1, report['repeats'] - 1)} turns",
        "",
        f"{'':<14}{'samples/s':>10}{'lowest':>9}{'highest':>9}{'ratio':>7}{'per core':>10}{'ratio':>7}"
        f"{'ms of main':>12}",
    ]
    for row in report["rows"]:
        lines.append(
            f"{row['way']:<14}{row['second']:>10.1f}{row['lowest']:>9.1f}{row['highest']:>9.1f}{row['ratio']:>7.1f}"
            f"{row['core']:>10.1f}{row['core_ratio']:>7.1f}{row['main_ms']:>12.1f}"
        )
    best = max((row for row in report["rows"] if row["way"] != "FiftyOne"), key=lambda row: row["second"])
    big = (report["machine"]["cores"] or 1) >= 16
    met = verdict(best["core"], TARGETS["core"], "", at_least=True)
    lines += ["", f"a core writes {best['core']:.1f} samples/s{met}"]
    if big:
        met = verdict(best["second"], TARGETS["machine"], "", at_least=True)
        lines.append(f"the machine writes {best['second']:.1f} samples/s{met}")
    return "\n".join(lines)


def _saved(dataset: fo.Dataset, ids: list[str], answers: list[list[ConceptResult]]) -> None:
    """As the model does within ``apply_model``, and FiftyOne with what it is given."""
    ledger = Ledger()
    view = dataset.view()
    with fo.core.collections.SaveContext(view, async_writes=True) as context:
        for k, sample in enumerate(view):
            results = answers[k % len(answers)]
            write(sample, ledger, results)
            sample.add_labels(fo.Detections(detections=to_detections(results, SIZE)), label_field="sam3")
            context.save(sample)


def _written(
    dataset: fo.Dataset, ids: list[str], answers: list[list[ConceptResult]], count: int, batch_size: int
) -> None:
    with Writers(form_of(dataset, Ledger(), "sam3", ["sam3"]), count) as writers:
        reasons = []
        for start in range(0, len(ids), batch_size):
            some = [
                answer_of(sample, LABELS, answers[k % len(answers)], SIZE)
                for k, sample in enumerate(ids[start : start + batch_size], start)
            ]
            reasons += [reason for one in writers.put(None, some) for reason in one.reasons]
        reasons += [reason for one in writers.drain() for reason in one.reasons]
    if reasons != [None] * len(ids):
        raise RuntimeError(f"Not everything was written: {reasons}")


@contextmanager
def _dataset(samples: int) -> Iterator[tuple[fo.Dataset, list[str]]]:
    """A new dataset with the ledger's fields, for as long as it is used; and its ids."""
    dataset = fo.Dataset(f"writing-{uuid4().hex[:8]}")
    metadata = fo.ImageMetadata(width=SIZE[1], height=SIZE[0])
    dataset.add_samples([fo.Sample(filepath=f"/nowhere/{k}.jpg", metadata=metadata) for k in range(samples)])
    declare(dataset, Ledger(), LABELS, "sam3")
    try:
        yield dataset, dataset.values("id")
    finally:
        dataset.delete()


def _results(seed: int, instances: int) -> list[ConceptResult]:
    """Of one image: ragged blobs, their boxes 24 to 220 pixels long."""
    draw = np.random.default_rng(seed)
    found: list[list[Instance]] = [[] for _ in LABELS]
    for k in range(instances):
        rows, columns = draw.integers(24, 221, 2)
        x, y = int(draw.integers(0, SIZE[1] - columns + 1)), int(draw.integers(0, SIZE[0] - rows + 1))
        presence, score = float(draw.uniform(0.6, 1)), float(draw.uniform(0.6, 1))
        label = LABELS[k % len(LABELS)]
        box = (float(x), float(y), float(x + columns), float(y + rows))
        mask = _blob(draw, rows, columns)
        found[k % len(LABELS)].append(Instance(presence * score, score, presence, box, (x, y), mask, label))
    return [
        ConceptResult(label, 0.9, 0.9, tuple(some), len(some), 0.5) for label, some in zip(LABELS, found, strict=True)
    ]


def _blob(draw: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """A shape that fills its box, with an outline as ragged as a network's."""
    y, x = np.mgrid[0:rows, 0:columns]
    y, x = (2 * y + 1) / rows - 1, (2 * x + 1) / columns - 1
    angle = np.arctan2(y, x)
    waves = sum(
        draw.uniform(0, 0.25 / n) * np.sin(n * angle + draw.uniform(0, 2 * np.pi)) for n in (2, 3, 5, 9, 17)
    )
    mask = np.hypot(x, y) < 0.95 + waves
    return mask if mask.any() else np.ones((rows, columns), bool)


def _children() -> float:
    """CPU seconds of all processes that were started here and have ended."""
    used = os.times()
    return used.children_user + used.children_system


def _over(values: Sequence[float], base: Sequence[float]) -> float:
    return median(a / b for a, b in zip(values, base, strict=True))


if __name__ == "__main__":
    main()
