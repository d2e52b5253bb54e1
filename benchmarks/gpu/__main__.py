"""All tables of a GPU, in one command: ``python -m benchmarks.gpu [--json FILE]``.

The most telling come first; a run that is cut has printed what it had, and FILE holds it. What fails, or finds no time
or no memory, is said in its place. ``--device cpu --tiny`` does the same on a CPU with a small architecture, to see
that it runs. Numbers of images and videos are from random weights (:mod:`weights`) and planted instances
(:mod:`planted`), unless ``--checkpoint`` names real ones. README.md in ``benchmarks/`` says what is compared.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from . import arithmetic, image, peers, video, whole
from .clock import Clock
from .planted import Planted
from .weights import absent_weights, load, weightless


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write JSON where asked.

    Returns:
        0, or 1 if a section failed
    """
    about = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=about)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, section by section")
    parser.add_argument("--checkpoint", default=None, help="hub id or folder (default: random weights at full size)")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="random weights of the small architecture; few repeats")
    parser.add_argument("--seconds", type=float, default=540, help="that all of it may take, about")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16], metavar="B")
    parser.add_argument("--concepts", type=int, nargs="+", default=[1, 4, 16, 32], metavar="N")
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 10, 30], metavar="N")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, metavar="NAME",
                        help=f"some of {', '.join(SECTIONS)} (default: all; a CPU compiles nothing)")  # fmt: skip
    args = parser.parse_args(argv)
    args.sections = args.sections or [name for name in SECTIONS if args.device != "cpu" or name != "compiled"]
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("no GPU is visible here; --device cpu --tiny shows that all of it runs")
    args.concepts.sort()
    clock = Clock(args.device, args.seconds, **dict(repeats=1, patience=0) if args.tiny else {})
    with tempfile.TemporaryDirectory(prefix="sam3-gpu-") as home, absent_weights(args.device):
        run = Run(args, clock, Path(home))
        for name in SECTIONS:
            if name in args.sections:
                run.section(name)
    return int(run.failed)


class Run:
    """One run of the benchmark.

    Args:
        args: of the command line
        clock: of the device
        home: a folder for what is needed meanwhile

    Attributes:
        report: what was measured, by section
        failed: whether a section failed
    """

    def __init__(self, args: argparse.Namespace, clock: Clock, home: Path) -> None:
        self.args, self.clock, self.home = args, clock, home
        self.folder = args.checkpoint or str(weightless(home / "checkpoint", tiny=args.tiny))
        self.report: dict[str, Any] = dict(
            weights=args.checkpoint or f"random, {'small' if args.tiny else 'full'} architecture"
        )
        self.failed = False
        self._loaded: tuple[tuple, Any, Planted] | None = None

    def section(self, name: str) -> None:
        """One section: its error is printed, and the next one comes."""
        title, measure = SECTIONS[name]
        self.tell(f"\n== {title}")
        if self.clock.left <= 0 and name != "machine":
            self.tell("no time")
            return
        try:
            measure(self)
        except LookupError as error:  # what is not there to be measured
            self.report.setdefault(name, {})["not_measured"] = str(error)
            self.tell(f"not measured: {error}")
        except Exception as error:
            self.failed = True
            self.report.setdefault(name, {})["error"] = f"{type(error).__name__}: {error}"
            self.tell(f"FAILED: {type(error).__name__}: {error}")
            traceback.print_exc(file=sys.stderr)
        self.clock.forget()
        self.save()

    def tell(self, text: str) -> None:
        """Print at once."""
        print(text, flush=True)

    def save(self) -> None:
        """Write what there is."""
        if self.args.json:
            self.args.json.write_text(json.dumps(self.report, indent=1) + "\n")

    def loaded(self, dtype: str = "bfloat16", compile: str | None = None) -> tuple[Any, Planted]:
        """A checkpoint with its tracker, and what is planted in it; the last one is kept."""
        key = (dtype, compile)
        if self._loaded is None or self._loaded[0] != key:
            self.release()
            checkpoint = load(self.folder, self.args.device, dtype, compile=compile, tracker=True)
            self._loaded = (key, checkpoint, Planted(checkpoint.model, image.INSTANCES))
        _, checkpoint, planted = self._loaded
        planted.show(image.INSTANCES)
        return checkpoint, planted

    def release(self) -> None:
        """Let go of the checkpoint that is loaded."""
        self._loaded = None
        self.clock.forget()

    def best_batch(self) -> int:
        """The fastest one with many concepts, as far as that is known."""
        cells = (self.report.get("images", {}).get("rows") or [{}])[-1].get("cells", {})
        timed = {int(b): cell["ms"] for b, cell in cells.items() if "error" not in cell}
        return min(timed, key=timed.get, default=min(4, max(self.args.batches)))

    def gigaflops(self) -> dict[str, float]:
        """What the network asks for; counted once."""
        if "gigaflops" not in self.report:
            self.report["gigaflops"] = arithmetic.parts(self.loaded()[0])
        return self.report["gigaflops"]

    def floors(self) -> Callable[[int, int], float]:
        """See :func:`image.floors_of`."""
        if "tflops" not in self.report.get("machine", {}):
            raise RuntimeError("the speed of the device is not known: run the section 'machine' too")
        self.gigaflops()
        return image.floors_of(self.report)

    def images(self, name: str, dtype: str, compile: str | None, batches: Sequence[int]) -> None:
        """A table of images × concepts."""
        from zoo.engine.detector import ConceptDetector

        floors = self.floors()  # counted before anything is compiled
        detector = ConceptDetector(self.loaded(dtype, compile)[0])
        found = self.report[name] = image.measure(detector, self.clock, batches, self.args.concepts, self.tell)
        judged = dtype == "bfloat16" and not self.args.tiny
        self.tell(image.said(found, floors, judged=judged))


def _machine(run: Run) -> None:
    found = run.report["machine"] = arithmetic.machine(run.clock, run.args.tiny)
    where = found["name"] + (f", {found['memory_gb']:.0f} GB, driver {found['driver']}" if "driver" in found else "")
    run.tell(
        f"{where}; torch {found['torch']}, transformers {found['transformers']}, Python {found['python']}\n"
        f"bf16 products of matrices {found['tflops']:.1f} TFLOP/s, copies {found['tb_per_s']:.2f} TB/s; "
        f"weights: {run.report['weights']}"
    )
    counted, floors = run.gigaflops(), run.floors()
    run.tell(
        f"an image {counted['image']:.0f} GFLOP, a concept {counted['concept']:.1f}, of these masks "
        f"{counted['masks']:.1f}: the floor is {floors(0, 0):.2f} + {floors(1, 1) - floors(0, 0):.2f} ms, "
        f"{floors(1, 0) - floors(0, 0):.2f} for an absent concept"
    )


def _images(run: Run) -> None:
    run.images("images", "bfloat16", None, run.args.batches)


def _compiled(run: Run) -> None:
    for what in ("vision", "all"):
        run.tell(f"compile={what!r}")
        # one batch size: each has to be translated for itself
        run.images(f"compiled_{what}", "bfloat16", what, [run.best_batch()])


def _float32(run: Run) -> None:
    run.images("float32", "float32", None, [b for b in run.args.batches if b <= 4])


def _peers(run: Run) -> None:
    from zoo.engine.detector import ConceptDetector

    checkpoint, planted = run.loaded()
    detector = ConceptDetector(checkpoint, cls_token=False)
    run.report["peers"] = peers.measure(
        detector, run.folder, planted, run.clock, run.best_batch(), 3 if run.args.tiny else whole.CONCEPTS, run.tell,
        judged=not run.args.tiny,
    )  # fmt: skip


def _same(run: Run) -> None:
    from zoo.engine.detector import ConceptDetector

    checkpoint, planted = run.loaded("float32")
    detector = ConceptDetector(checkpoint, cls_token=False)
    (picture,) = image.pictures(1)
    apart = peers.same(detector, peers.Stock(checkpoint, run.folder), planted, picture, image.named(10))
    run.report["same"] = apart
    run.tell(peers.apart_said(apart, "float32"))


def _video(run: Run) -> None:
    checkpoint, planted = run.loaded()
    report: dict[str, Any] = {}
    run.report["video"] = report
    run.floors()
    frames = 3 if run.args.tiny else 20
    video.measure(
        checkpoint, planted, run.folder, run.clock, run.args.objects, (1, 3), frames, run.report["machine"]["tflops"],
        run.tell, report,
    )  # fmt: skip
    run.save()
    marks = (5, 10) if run.args.tiny else (50, 200)
    middle = sorted(run.args.objects)[len(run.args.objects) // 2]
    report["memory"] = video.memory(checkpoint, planted, run.clock, marks, middle, 3)
    run.tell(video.said(report, judged=not run.args.tiny))


def _whole(run: Run) -> None:
    whole.require()
    run.release()
    count = 8 if run.args.tiny else 512
    dtype = "float32" if run.args.tiny else "bfloat16"
    run.report["whole"] = whole.measure(run.folder, run.home, run.clock, run.best_batch(), dtype, count, run.tell)


def _writer(run: Run) -> None:
    run.report["writer"] = whole.writer(run.home, run.tell)


#: name -> title and what measures it, the most telling first
SECTIONS: dict[str, tuple[str, Callable[[Run], None]]] = {
    "machine": ("Machine", _machine),
    "images": ("Images × concepts, engine only, bfloat16", _images),
    "peers": ("Beside what people use", _peers),
    "video": ("Video", _video),
    "same": ("The same answers as transformers', float32", _same),
    "compiled": ("Images × concepts, bfloat16, compiled", _compiled),
    "whole": ("From JPEGs to the database", _whole),
    "writer": ("The writer alone", _writer),
    "float32": ("Images × concepts, float32", _float32),
}

if __name__ == "__main__":
    sys.exit(main())
