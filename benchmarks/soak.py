"""A long run that is killed and resumed: ``python -m benchmarks.soak [--samples N] [--stub] [--json FILE]``.

Small images go through ``segment()`` twice, each time in a process of its own: once without a break, and once killed
(-9) a few times and resumed. At the end the two datasets must hold the same, and meanwhile the memory of the run, all
its processes taken together, must stand still. ``--stub`` puts a detector in the network's place that makes its answers
up from the pixels, so that only what is around it is tried. The database is a private one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from .image import REPOSITORY
from .measuring import described, machine, verdict
from .private import private_fiftyone

#: memory at the end over that when all had begun
TARGET = 1.05
CONCEPTS = ("dog", "cat", "apple")
#: shares of the run: where memory is what it should stay at, and its end
_PLATEAU, _END = (0.2, 0.3), (0.9, 1.0)
#: pixels of a side of the images; how many scenes are different, where a network looks at them
_SIDE, _DISTINCT = 96, 200
#: fields of a document that differ whatever is done
_OWN = {"_id", "_dataset_id", "created_at", "last_modified_at", "_rand", "id"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and write JSON where asked.

    Returns:
        0, or 1 if the datasets differ, a process outlived its run, or a sample failed
    """
    about = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=about)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--stub", action="store_true", help="a detector that makes its answers up, not the network")
    parser.add_argument("--run", metavar="DATASET", help=argparse.SUPPRESS)  # the run itself, in its own process
    args = parser.parse_args(argv)
    if args.run:
        run(args.run, stub=args.stub)
        return 0
    with tempfile.TemporaryDirectory(prefix="sam3-soak-") as home, private_fiftyone():
        report = dict(machine=machine()) | soak(Path(home), args.samples, args.kills, stub=args.stub)
    print(said(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    return int(bool(report["different"] or report["orphans"] or report["failed"]))


def soak(home: Path, samples: int, kills: int, *, stub: bool) -> dict[str, Any]:
    """Both runs, and what came of them.

    Args:
        home: where images and logs may lie
        samples: images
        kills: how often the second run is killed, evenly spread over it
        stub: answers are made up
    """
    import fiftyone as fo

    whole = fo.Dataset(fo.core.dataset.make_unique_dataset_name("soak-whole"), persistent=True)
    cut = None
    try:
        files = pictures(home / "images", samples, distinct=samples if stub else _DISTINCT)
        whole.add_samples([fo.Sample(filepath=str(file)) for file in files], progress=False)
        cut = whole.clone(fo.core.dataset.make_unique_dataset_name("soak-cut"), persistent=True)
        started = time.monotonic()
        through = watched(whole.name, samples, None, stub=stub, log=home / "whole.log")
        seconds = time.monotonic() - started
        points = [samples * (k + 1) // (kills + 1) for k in range(kills)]
        parts = [watched(cut.name, samples, point, stub=stub, log=home / "cut.log") for point in (*points, None)]
        if any(part["done"] >= samples for part in parts[:-1]):
            raise SystemExit(f"{samples} samples are done before a run can be killed in the middle: take more")
        theirs, ours = states(whole), states(cut)
        different = sum(theirs.get(name) != ours.get(name) for name in theirs.keys() | ours.keys())
        found = dict(
            samples=samples, stub=stub, settings=settings(), seconds=seconds, per_second=samples / seconds,
            kills=[part["done"] for part in parts[:-1]], instances=through["instances"] / samples,
            failed=through["failed"], different=different + int(fields(whole) != fields(cut)),
            orphans=sum(part["orphans"] for part in (through, *parts)),
            memory=flatness(through["memory"], samples),
        )  # fmt: skip
        return found
    finally:
        for dataset in (whole, cut):
            if dataset is not None:
                dataset.delete()


def pictures(folder: Path, count: int, distinct: int) -> list[Path]:
    """Small JPEGs: scenes, some of which come again; or, if all are to be ``distinct``, colours without meaning."""
    from PIL import Image

    from emoji_world.scenes import render, sample_scene

    folder.mkdir(parents=True, exist_ok=True)
    files, kept = [folder / f"{k:06d}.jpg" for k in range(count)], []
    for k, file in enumerate(files):
        if distinct >= count:
            colours = np.random.default_rng([k, 0x50A4]).integers(0, 256, (3, 3, 3), dtype=np.uint8)
            Image.fromarray(colours).resize((_SIDE, _SIDE)).save(file)
        elif k < distinct:
            Image.fromarray(render(sample_scene(79_000_000 + k), 0.25)[0]).resize((_SIDE, _SIDE)).save(file)
            kept.append(file.read_bytes())
        else:
            file.write_bytes(kept[k % distinct])
    return files


# ------------------------------------------------------------------------------------------------- the run


class Stub:
    """In place of a ``ConceptDetector``: what it finds follows from an image's pixels and the concept's name.

    Args:
        checkpoint: whose place it takes
    """

    cls_token = True

    def __init__(self, checkpoint: Any) -> None:
        self.checkpoint = checkpoint

    def encode_images(self, pixels: Any, sizes: Sequence[tuple[int, int]]) -> list[tuple[int, tuple[int, int]]]:
        """Of each image a number that tells it from others, and its size."""
        return [(zlib.crc32(one.numpy().tobytes()), size) for one, size in zip(pixels, sizes, strict=True)]

    def detect(
        self, features: Sequence[tuple[int, tuple[int, int]]], concepts: Sequence[Sequence[Any]], *, threshold: float,
        floor: float | None = None,
    ) -> list[list[Any]]:  # fmt: skip
        """As ``ConceptDetector.detect``: up to three instances of every concept."""
        return [
            [self._result(known, size, concept, threshold) for concept in asked]
            for (known, size), asked in zip(features, concepts, strict=True)
        ]

    def stream(
        self, batches: Iterable[Any], *, threshold: float, floor: float | None = None
    ) -> Iterator[list[list[Any]]]:
        """As ``ConceptDetector.stream``."""
        for batch in batches:
            features = self.encode_images(batch.pixels, batch.sizes)
            yield self.detect(features, batch.concepts, threshold=threshold, floor=floor)

    def _result(self, known: int, size: tuple[int, int], concept: Any, threshold: float) -> Any:
        from zoo.engine.results import ConceptResult, Instance

        rng = np.random.default_rng([known, zlib.crc32(concept.label.encode())])
        count, presence = int(rng.integers(0, 4)), float(rng.uniform(0.9, 1.0))
        instances = []
        for score in sorted(rng.uniform(0.7, 1.0, count).tolist(), reverse=True):
            height, width = (int(rng.integers(8, side // 2)) for side in size)
            mask = rng.random((height, width)) < 0.7
            mask[0, 0] = mask[-1, -1] = True  # as wide and as high as its box
            corner = tuple(int(rng.integers(0, whole - part)) for whole, part in ((size[1], width), (size[0], height)))
            instances.append(
                Instance(presence * score, score, presence, (0.0, 0.0, 1.0, 1.0), corner, mask, concept.phrases[0])
            )
        return ConceptResult(concept.label, presence, 1.0, tuple(instances), count, threshold)


def settings() -> dict[str, int]:
    """Of ``segment``: with a process that reads and one that writes."""
    return dict(num_workers=1, writers=1)


def run(name: str, *, stub: bool) -> None:
    """Go on with the dataset ``name`` to its end; says how far it is, line by line."""
    import fiftyone as fo
    import torch

    from zoo.segment import segment
    from zoo.source import load_model

    torch.set_num_threads(1)
    dataset = fo.load_dataset(name)
    model = load_model("concepts/sam3-tiny-image", device="cpu", classes=CONCEPTS)
    if stub:
        model.detector = Stub(model.detector.checkpoint)
    for step in segment(dataset, model, "sam3", batch_size=8, skip_existing=True, **settings()):
        told = dict(done=step.done, total=step.total, failed=step.failed, instances=step.instances)
        print(json.dumps(told), flush=True)


def watched(name: str, samples: int, until: int | None, *, stub: bool, log: Path) -> dict[str, Any]:
    """One run in a process of its own, its memory looked at as it goes.

    Args:
        name: of the dataset
        samples: in it
        until: kill the run as soon as so many samples are done; ``None``: let it finish
        stub: answers are made up
        log: where what it says goes

    Returns:
        ``done`` (samples, those of earlier runs included), ``failed``, ``instances``; ``memory``: pairs of samples done
        and bytes; ``orphans``: processes of the run that were still there long after it

    Raises:
        RuntimeError: it failed
    """
    import psutil

    command = [sys.executable, "-m", "benchmarks.soak", "--run", name, *(["--stub"] if stub else [])]
    with log.open("w") as output:
        child = subprocess.Popen(command, cwd=REPOSITORY, stdout=output, stderr=subprocess.STDOUT)
    process, family = psutil.Process(child.pid), {}
    memory: list[tuple[int, int]] = []
    step: dict[str, int] = dict(failed=0, instances=0)
    done = 0
    try:
        while child.poll() is None:
            time.sleep(0.1)
            step, done = _progress(log, samples) or (step, done)
            resident = 0
            for one in (process, *_children(process)):
                family[one.pid] = one
                resident += _resident(one)
            if done:
                memory.append((done, resident))
            if until is not None and done >= until:
                break
    finally:
        child.kill()
        child.wait()
    step, done = _progress(log, samples) or (step, done)
    if until is None and child.returncode:
        raise RuntimeError(f"the run failed: {log.read_text()[-2000:]}")
    _, left = psutil.wait_procs([one for one in family.values() if one.pid != child.pid], timeout=20)
    for one in left:
        one.kill()
    return dict(
        done=done, failed=step["failed"], instances=step["instances"], memory=memory, orphans=len(left)
    )  # fmt: skip


def _progress(log: Path, samples: int) -> tuple[dict[str, int], int] | None:
    """The last step that was told, and how many samples are done, earlier runs included."""
    for line in reversed(log.read_text(errors="replace").splitlines()):
        if line.startswith("{") and line.endswith("}"):
            step = json.loads(line)
            return step, samples - step["total"] + step["done"]
    return None


def _children(process: Any) -> list[Any]:
    import psutil

    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _resident(process: Any) -> int:
    import psutil

    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0  # it ended just now


# ------------------------------------------------------------------------------------------------- what came of it


def flatness(memory: Sequence[tuple[int, int]], samples: int) -> dict[str, float]:
    """MB of all processes when all had begun (``plateau``), at the ``end`` and at ``most``; and their ``ratio``."""
    def around(shares: tuple[float, float]) -> float:
        low, high = (share * samples for share in shares)
        values = [size for done, size in memory if low <= done <= high] or [size for _, size in memory] or [0]
        return median(values) / 1e6

    plateau, end = around(_PLATEAU), around(_END)
    most = max((size for _, size in memory), default=0) / 1e6
    return dict(plateau=plateau, end=end, most=most, ratio=end / plateau if plateau else float("nan"))


def states(dataset: Any) -> dict[str, str]:
    """File name -> a hash of all that the database holds of its sample, but for ids and times."""
    return {
        Path(document["filepath"]).name: hashlib.sha256(repr(_plain(document)).encode()).hexdigest()
        for document in dataset._sample_collection.find()
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return [(key, _plain(value[key])) for key in sorted(value) if key not in _OWN]
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value


def fields(dataset: Any) -> list[tuple[str, str]]:
    """Every field of the dataset, and what it holds."""
    return sorted((name, str(field)) for name, field in dataset.get_field_schema(flat=True).items())


def said(report: dict[str, Any]) -> str:
    """The report for people."""
    memory = report["memory"]
    what = "made-up answers" if report["stub"] else "the tiny checkpoint"
    how = ", ".join(f"{name}={value}" for name, value in report["settings"].items()) or "one process"
    same = "the same" if not report["different"] else f"{report['different']} DIFFERENT documents"
    return "\n".join([
        described(report["machine"]), "",
        f"{report['samples']:,} images of {_SIDE} px, {len(CONCEPTS)} concepts, {report['instances']:.1f} instances an "
        f"image, {what}, {how}: {report['per_second']:.0f} samples/s" + (
            f"; {report['failed']} FAILED" if report["failed"] else ""
        ),
        f"killed at {', '.join(f'{done:,}' for done in report['kills'])} and resumed: {same} as without a break; "
        f"{report['orphans']} processes outlived their run",
        f"memory of all processes: {memory['plateau']:.0f} MB after a quarter, {memory['end']:.0f} at the end "
        f"({memory['ratio']:.3f}x{verdict(memory['ratio'], TARGET, 'x')}), {memory['most']:.0f} at most",
    ])  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
