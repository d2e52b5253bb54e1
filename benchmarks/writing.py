"""What it costs to write answers down: ``python -m benchmarks.writing [--json FILE]``.

A hundred instances a sample, with masks as 1080p images have them. FiftyOne's own way (labels, saved by a
``SaveContext``, as ``apply_model`` does) against the pipeline's, in this process and in others, in turns: samples a
second on the clock, which others' work on the machine moves, and what a core can do, which it does not. Processes run
already when the clock starts; how long that takes is said apart.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import fiftyone as fo
import numpy as np
import psutil

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
        seconds of all processes at work; milliseconds a sample of the process that has the model, ``main_ms``; seconds
        until the first answers are written, ``start``; ``ratio`` to FiftyOne's own way on the clock, and
        ``core_ratio``. Medians over turns
    """
    answers = [_results(k, instances) for k in range(min(samples, 16))]
    ways: dict[str, int | None] = {"FiftyOne": None}
    ways |= {_named(count): count for count in writers}
    rows: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for turn in range(repeats + 1):
        for way, count in ways.items():
            few = batch_size if turn == 0 else samples  # warms up
            with _dataset(few) as (dataset, ids):
                if count is None:
                    spent = _saved(dataset, answers)
                else:
                    spent = _written(dataset, ids, answers, count, batch_size)
            if turn:
                rows[way].append(dict(
                    second=few / spent["clock"], core=few / (spent["main"] + spent["others"]),
                    main_ms=1000 * spent["main"] / few, start=spent["start"],
                ))  # fmt: skip
    base = rows["FiftyOne"]
    return [
        {
            "way": way, **{name: median(row[name] for row in turns) for name in turns[0]},
            "lowest": min(row["second"] for row in turns), "highest": max(row["second"] for row in turns),
            "ratio": median(row["second"] / other["second"] for row, other in zip(turns, base, strict=True)),
            "core_ratio": median(row["core"] / other["core"] for row, other in zip(turns, base, strict=True)),
        }
        for way, turns in rows.items()
    ]  # fmt: skip


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    lines = [
        described(report["machine"]), "",
        f"{report['samples']} samples of {report['instances']} instances, 1080p; median of {report['repeats']} turns",
        "",
        f"{'':<14}{'samples/s':>10}{'lowest':>9}{'highest':>9}{'ratio':>7}{'per core':>10}{'ratio':>7}"
        f"{'ms of main':>12}{'start':>8}",
    ]
    for row in report["rows"]:
        lines.append(
            f"{row['way']:<14}{row['second']:>10.1f}{row['lowest']:>9.1f}{row['highest']:>9.1f}{row['ratio']:>7.1f}"
            f"{row['core']:>10.1f}{row['core_ratio']:>7.1f}{row['main_ms']:>12.1f}{row['start']:>6.1f} s"
        )
    best = max((row for row in report["rows"] if row["way"] != "FiftyOne"), key=lambda row: row["second"])
    big = (report["machine"]["cores"] or 1) >= 16
    met = verdict(best["core"], TARGETS["core"], "", at_least=True)
    lines += ["", f"a core writes {best['core']:.1f} samples/s{met}"]
    if big:
        met = verdict(best["second"], TARGETS["machine"], "", at_least=True)
        lines.append(f"the machine writes {best['second']:.1f} samples/s{met}")
    return "\n".join(lines)


def _saved(dataset: fo.Dataset, answers: list[list[ConceptResult]]) -> dict[str, float]:
    """As the model does within ``apply_model``, and FiftyOne with what it is given."""
    ledger, view = Ledger(), dataset.view()
    clock, main = time.perf_counter(), time.process_time()
    with fo.core.collections.SaveContext(view, async_writes=True) as context:
        for k, sample in enumerate(view):
            results = answers[k % len(answers)]
            write(sample, ledger, results)
            sample.add_labels(fo.Detections(detections=to_detections(results, SIZE)), label_field="sam3")
            context.save(sample)
    return dict(clock=time.perf_counter() - clock, main=time.process_time() - main, others=0.0, start=0.0)


def _written(
    dataset: fo.Dataset, ids: list[str], answers: list[list[ConceptResult]], count: int, batch_size: int
) -> dict[str, float]:
    """As the pipeline does."""
    begun = time.perf_counter()
    with Writers(form_of(dataset, Ledger(), "sam3", ["sam3"]), count) as writers:
        for sample in ids[: 2 * max(count, 1)]:  # one for each process, and one in reserve
            writers.put(None, [answer_of(sample, LABELS, answers[0], SIZE)])
        list(writers.drain())
        start = time.perf_counter() - begun
        others, clock, main = _spent(writers.pids), time.perf_counter(), time.process_time()
        reasons = []
        for k in range(0, len(ids), batch_size):
            some = [
                answer_of(sample, LABELS, answers[place % len(answers)], SIZE)
                for place, sample in enumerate(ids[k : k + batch_size], k)
            ]
            reasons += [reason for one in writers.put(None, some) for reason in one.reasons]
        reasons += [reason for one in writers.drain() for reason in one.reasons]
        spent = dict(clock=time.perf_counter() - clock, main=time.process_time() - main)
        others = _spent(writers.pids) - others
    if reasons != [None] * len(ids):
        raise RuntimeError(f"Not everything was written: {reasons}")
    return dict(spent, others=others, start=start)


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


def _named(count: int) -> str:
    return f"{count} process{'es' if count > 1 else ''}" if count else "a thread"


def _spent(pids: Sequence[int]) -> float:
    """CPU seconds of processes, so far."""
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(one.user + one.system for one in times)


if __name__ == "__main__":
    main()
