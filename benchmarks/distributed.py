"""Worker processes against one: ``python -m benchmarks.distributed [--json FILE]``. Minutes on two cores, 4 GB.

The same images, the tiny checkpoint: one process on one thread, one on two, and two workers of Ray with a thread each:
a round of all of them, then the next, so that what else the machine does disturbs all alike. What starting workers
costs (Ray, Python, FiftyOne, torch, the model) is a number of its own. At the end a worker is killed in the middle.

On a database of its own, which is dropped.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

from .image import REPOSITORY

#: two workers, of twice the speed of one process on one thread; of samples lost when a worker is killed
TARGETS = {"of_ideal": 0.9, "lost": 0}
CONCEPTS = ["dog", "apple", "fire truck", "red car"]
WAYS = {"one process, 1 thread": 1, "one process, 2 threads": 2, "2 workers, 1 thread each": 0}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write JSON where asked."""
    about = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.distributed", description=about)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    parser.add_argument("--samples", type=int, default=160, metavar="N")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=4, metavar="N", help="images encoded together")
    args = parser.parse_args(argv)
    with _database():
        report = measure(args.samples, args.repeats, args.batch)
    print(table(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")


@contextmanager
def _database() -> Iterator[None]:
    """One of its own, unless FiftyOne is imported already and has one."""
    if "fiftyone" in sys.modules:
        yield
        return
    sys.path.insert(0, str(REPOSITORY / "tests"))
    from support.sandbox import Sandbox

    with Sandbox():
        yield


def measure(samples: int, repeats: int, batch: int) -> dict[str, Any]:
    """Seconds of each way, by round; seconds until the first worker is ready; and what a killed worker costs."""
    import fiftyone as fo
    import ray
    import torch

    from emoji_world.dataset import build_scenes
    from zoo.source import load_model

    from .measuring import machine

    at = machine()
    threads, ours = torch.get_num_threads(), not ray.is_initialized()
    if ours:
        ray.init(
            address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error",
            object_store_memory=128 << 20,
        )  # fmt: skip
    model = load_model("concepts/sam3-tiny-image", classes=CONCEPTS, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        # of different scenes few are enough: every image is read, decoded and asked anew
        dataset = build_scenes("benchmark-distributed", Path(folder), range(700_000, 700_000 + min(samples, 40)))
        held = list(dataset)
        while len(dataset) < samples:
            dataset.add_samples([fo.Sample(filepath=one.filepath) for one in held[: samples - len(dataset)]])
        try:
            run(dataset.limit(2 * batch), model, batch, 1)  # warms up
            rounds = [{way: run(dataset, model, batch, n) for way, n in WAYS.items()} for _ in range(repeats)]
            lost = kill_one(dataset, model, batch)
        finally:
            torch.set_num_threads(threads)
            dataset.delete()
            if ours:
                ray.shutdown()
    rows = [
        {"way": way} | {name: [one[way][name] for one in rounds] for name in ("seconds", "cpu", "start")}
        for way in WAYS
    ]
    single, _, many = rows
    ideal = [a / (2 * b) for a, b in zip(single["seconds"], many["seconds"], strict=True)]
    return {
        "machine": at, "samples": samples, "batch": batch, "rows": rows, "of_ideal": ideal, "killed": lost,
        "ray": ray.__version__, "fiftyone": fo.__version__,
    }  # fmt: skip


def run(dataset: Any, model: Any, batch: int, threads: int) -> dict[str, float]:
    """One way, on a fresh copy: seconds of work, CPU seconds of all processes for it, and seconds before it, until all
    workers are ready. ``threads`` 0: two workers.
    """
    import torch

    from zoo.crew import Crew
    from zoo.segment import segment

    copy = dataset.clone()
    torch.set_num_threads(threads or 1)
    how = dict(distribute="ray", workers=2) if not threads else {}
    gather = Crew.gather
    begun = time.perf_counter()
    with mock.patch.object(Crew, "gather", lambda crew, most: gather(crew, most, wait=2)):
        steps = segment(copy, model, batch_size=batch, **how)
        next(steps)
    started, before = time.perf_counter(), _cpu()
    spent = 0.0
    for _ in steps:
        spent = _cpu() - before  # at each step: at the end there are no workers any more
    done = time.perf_counter()
    assert len(copy.exists("sam3_presence")) == len(dataset)
    copy.delete()
    return {"seconds": done - started, "cpu": spent, "start": started - begun}


def kill_one(dataset: Any, model: Any, batch: int) -> dict[str, Any]:
    """A run in which a worker is killed after the first answers; samples without an answer, and seconds it took."""
    from zoo.segment import segment

    copy, victim = dataset.clone(), None
    begun = time.perf_counter()
    for step in segment(copy, model, batch_size=batch, distribute="ray", workers=2):
        if step.done and victim is None:
            victim = next(iter(_processes()))
            victim.kill()
    seconds = time.perf_counter() - begun
    lost = len(dataset) - len(copy.exists("sam3_presence")) + len(copy.exists("sam3_error"))
    copy.delete()
    return {"lost": lost, "seconds": seconds}


def _cpu() -> float:
    """CPU seconds of this process and of all workers so far."""
    return time.process_time() + sum(sum(process.cpu_times()[:2]) for process in _processes())


def _processes() -> list[Any]:
    """The workers', below this one."""
    import psutil

    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if any("Sam3Worker" in part for part in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    from .measuring import verdict

    at, rows, many = report["machine"], report["rows"], report["samples"]
    lines = [
        f"{at['cpu']} ({at['instructions']}), {at['cores']} cores, load {at['load']}; Ray {report['ray']}, FiftyOne "
        f"{report['fiftyone']}, torch {at['torch']}, Python {at['python']}",
        f"{many} images, {len(CONCEPTS)} concepts, batches of {report['batch']}, the checkpoint that ships; median of "
        f"{len(rows[0]['seconds'])} rounds, and from the least to the most",
        "",
        f"{'':28}{'images/s':>10}{'seconds of work':>24}{'CPU seconds':>13}{'before it':>11}{'images/s in all':>17}",
    ]
    for row in rows:
        took, start = median(row["seconds"]), median(row["start"])
        spread = f"{took:.1f} ({min(row['seconds']):.1f} to {max(row['seconds']):.1f})"
        lines.append(
            f"{row['way']:28}{many / took:>10.2f}{spread:>24}{median(row['cpu']):>13.1f}{start:>11.1f}"
            f"{many / (took + start):>17.2f}"
        )
    ideal, killed = report["of_ideal"], report["killed"]
    _, both, two = (median(row["seconds"]) for row in rows)
    work = [a / b for a, b in zip(rows[0]["cpu"], rows[2]["cpu"], strict=True)]
    lines += [
        "",
        f"two workers, of twice one process on one thread: {median(ideal):.2f} ({min(ideal):.2f} to {max(ideal):.2f})"
        + verdict(median(ideal), TARGETS["of_ideal"], "", at_least=True),
        f"the same by CPU seconds, on a busy machine: {median(work):.2f} ({min(work):.2f} to {max(work):.2f})",
        f"two workers, of one process on two threads: {both / two:.2f} times as fast",
        f"one of two workers killed: {killed['lost']} samples lost{verdict(killed['lost'], TARGETS['lost'], '')}, "
        f"{killed['seconds']:.1f} s in all",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
