"""A whole run on a CPU, and what of it is not the model: ``python -m benchmarks.pipeline [--json FILE]``.

1080p JPEGs go through ``segment()`` into a database of their own, with the tiny checkpoint: once with what it finds in
them, and once with twenty instances planted in each (:mod:`benchmarks.gpu.planted`). The model's time is what its
networks take: images encoded, concepts decoded, masks drawn. All else is outside: reading, squeezing, masks cut out at
the size of the image, labels, writing. On the clock of the main process, and in CPU seconds of all processes that
belong to the run, the database's apart.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from .gpu.planted import ABSENT, PRESENT, Planted, its_own
from .measuring import described, machine, one_thread, verdict
from .private import private_fiftyone

#: of the time of a run, what may pass outside of the model
TARGET = 0.25
#: first seed of the scenes, and how many are different
_FIRST, _DISTINCT = 78_000_000, 20
#: asked of every image; and instances planted of each of the two that are in it
CONCEPTS, PLANTED = 10, 10
#: parts of the networks' work, of what else the main thread does, and of what a thread beside it does
NETWORK, OTHER, ASIDE = ("encode", "decode", "masks"), ("cut out",), ("read", "squeeze")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write JSON where asked."""
    about = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline", description=about)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    parser.add_argument("--checkpoint", default=None, help="hub id or folder (default: the small one that ships)")
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--size", type=int, nargs=2, default=[1920, 1080], metavar=("W", "H"))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=1)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="sam3-pipeline-") as home, private_fiftyone():
        with one_thread():
            found = measure(Path(home), args.checkpoint, args.samples, tuple(args.size), args.batch, args.repeats)
        report = dict(machine=machine()) | found
    print(said(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")


def ways() -> dict[str, dict[str, int]]:
    """How a run can be done: as it is by default, with threads only, and with processes that read and write."""
    found: dict[str, dict[str, int]] = {
        "default": {}, "one process": dict(num_workers=0, writers=0),
        "1 reader, 1 writer": dict(num_workers=1, writers=1),
    }  # fmt: skip
    if (os.cpu_count() or 1) > 4:
        found["4 readers, 4 writers"] = dict(num_workers=4, writers=4)
    return found


def measure(
    home: Path, checkpoint: str | None, samples: int, size: tuple[int, int], batch: int, repeats: int
) -> dict[str, Any]:
    """Every way, one after the other, ``repeats`` times in turn.

    Args:
        home: where images may lie
        checkpoint: ``None``: the small one that ships
        samples: images
        size: width and height of them
        batch: images encoded together
        repeats: of each way
    """
    from zoo.source import load_model

    classes = common(CONCEPTS)
    limits = {label: PRESENT if k < 2 else ABSENT for k, label in enumerate(classes)}
    files = scenes(home, samples, size)
    rows = []
    for planted in (False, True):
        with its_own():
            model = load_model(
                "concepts/sam3-tiny-image", checkpoint=checkpoint, device="cpu", classes=classes,
                thresholds=limits if planted else None,
            )  # fmt: skip
        if planted:
            Planted(model.detector.checkpoint.model, PLANTED)
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in ways()}
        for _ in range(repeats):
            for name, settings in ways().items():
                runs[name].append(_run(files, model, dict(batch_size=batch, **settings)))
        for name, each in runs.items():
            best = min(each, key=lambda run: run["outside"])
            rows.append(best | dict(name=name, planted=planted, outside_each=[run["outside"] for run in each]))
    return dict(samples=samples, size=list(size), concepts=CONCEPTS, batch=batch, repeats=repeats, rows=rows)


def common(count: int) -> list[str]:
    """The nouns that are in most of the scenes."""
    from emoji_world.scenes import sample_scene

    found = [sorted({o.thing.noun for o in sample_scene(_FIRST + k).objects}) for k in range(_DISTINCT)]
    return [noun for noun, _ in Counter(noun for nouns in found for noun in nouns).most_common(count)]


def scenes(home: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """JPEGs of the emoji world, at ``size``; the first few are different."""
    import shutil

    from PIL import Image

    from emoji_world.scenes import render, sample_scene

    home.mkdir(parents=True, exist_ok=True)
    files = [home / f"{k:05d}.jpg" for k in range(count)]
    for k, file in enumerate(files):
        if k < _DISTINCT:
            Image.fromarray(render(sample_scene(_FIRST + k))[0]).resize(size).save(file, quality=90)
        else:
            shutil.copyfile(files[k % _DISTINCT], file)
    return files


def _run(files: Sequence[Path], model: Any, settings: dict[str, int]) -> dict[str, Any]:
    import fiftyone as fo

    from zoo.segment import segment

    dataset = fo.Dataset(fo.core.dataset.make_unique_dataset_name("pipeline-benchmark"))
    try:
        dataset.add_samples([fo.Sample(filepath=str(file)) for file in files], progress=False)
        deque(segment(dataset.limit(2), model, "warm", **settings), maxlen=0)
        with timed() as spent:
            start, cpu = time.perf_counter(), _cpu()
            last = deque(segment(dataset, model, "sam3", **settings), maxlen=1)[0]
            wall, cpu = time.perf_counter() - start, _cpu() - cpu
    finally:
        dataset.delete()
    inside = sum(spent[part] for part in NETWORK)
    inside_cpu = sum(spent[f"{part} CPU"] for part in NETWORK)
    return dict(
        wall=wall, cpu=cpu, outside=1 - inside / wall, outside_cpu=1 - inside_cpu / cpu, failed=last.failed,
        instances=last.instances / len(files), settings=settings,
        parts={part: spent[part] for part in (*NETWORK, *OTHER)} | dict(rest=wall - sum(
            spent[part] for part in (*NETWORK, *OTHER)
        )), aside={part: spent[part] for part in ASIDE},
    )  # fmt: skip


def _cpu() -> float:
    """CPU seconds of this process and of its children, those that have ended included; without a database server."""
    import psutil

    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = time.process_time() + ended.ru_utime + ended.ru_stime
    for child in psutil.Process().children(recursive=True):
        try:
            if child.name() != "mongod":
                spent = child.cpu_times()
                total += spent.user + spent.system
        except psutil.Error:
            continue  # it ended just now
    return total


@contextmanager
def timed() -> Iterator[dict[str, float]]:
    """Seconds by part of what this thread does meanwhile, and of :data:`ASIDE` what others of this process do; of the
    networks' parts, ``"... CPU"`` beside it.
    """
    from zoo import inputs
    from zoo.engine import answers, detector, survivors

    spent = {part: 0.0 for part in (*NETWORK, *OTHER, *ASIDE)} | {f"{part} CPU": 0.0 for part in NETWORK}
    within: list[str] = []
    here = threading.get_ident()

    @contextmanager
    def clock(part: str) -> Iterator[None]:
        ours = threading.get_ident() == here
        if (ours and within) or (ours == (part in ASIDE)):  # what contains it is measured already, or the other thread
            yield
            return
        if ours:
            within.append(part)
        start, cpu = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            if ours:
                within.pop()
            spent[part] += time.perf_counter() - start
            if part in NETWORK:
                spent[f"{part} CPU"] += time.thread_time() - cpu

    def called(method: Callable[..., Any], part: str) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            with clock(part):
                return method(*args, **kwargs)

        return run

    def stepped(method: Callable[..., Any], part: str) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Iterator[Any]:
            steps, end = method(*args, **kwargs), object()
            while True:
                with clock(part):
                    step = next(steps, end)
                if step is end:
                    return
                yield step

        return run

    network = detector.ConceptDetector
    parts = [
        (network, "encode_images", called, "encode"), (network, "encode_phrases", called, "decode"),
        (network, "decode", stepped, "decode"), (survivors.Survivors, "add", stepped, "masks"),
        (survivors.Survivors, "rest", stepped, "masks"), (inputs, "read_image", called, "read"),
        (inputs, "to_square", called, "squeeze"), (answers, "cropping", called, "cut out"),
    ]  # fmt: skip
    with ExitStack() as stack:
        for owner, name, how, part in parts:  # what has gone is an error: it would count as outside
            stack.enter_context(mock.patch.object(owner, name, how(getattr(owner, name), part)))
        yield spent


def said(report: dict[str, Any]) -> str:
    """The report for people."""
    width, height = report["size"]
    columns = (*NETWORK, *OTHER, "rest")
    parts = "".join(f"{part:>9}" for part in columns)
    beside = "".join(f"{part:>9}" for part in ASIDE)
    lines = [
        described(report["machine"]), "",
        f"{report['samples']} JPEGs, {width} × {height}, {report['concepts']} concepts, batches of {report['batch']}, "
        "seconds", "",
        f"{'':<20}{'instances':>10}{'all':>8}{parts}{'outside':>9}{'CPU':>8}{beside}",
    ]  # fmt: skip
    for row in report["rows"]:
        parts = "".join(f"{row['parts'][part]:>9.2f}" for part in columns)
        beside = "".join(f"{row['aside'][part]:>9.2f}" for part in ASIDE)
        lines.append(
            f"{row['name']:<20}{row['instances']:>10.1f}{row['wall']:>8.2f}{parts}{row['outside']:>9.1%}{row['outside_cpu']:>8.1%}"
            f"{beside}"
            f"{verdict(row['outside'], TARGET, '')}" + (f"  {row['failed']} FAILED" if row["failed"] else "")
        )
    return "\n".join([
        *lines, "", "On the clock of the main thread; 'read' and 'squeeze': of a thread beside it, or of nobody here.",
        "'CPU': outside, in CPU seconds of all processes",
    ])  # fmt: skip


if __name__ == "__main__":
    main()
