"""What an image and its concepts cost the engine: batches × concepts, and the model t = E + n·p that fits them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from ..measuring import verdict
from .arithmetic import floor_ms
from .clock import Clock, shown
from .planted import ABSENT, PRESENT

#: height and width of the images
SIZE = (1080, 1920)
#: of so many concepts, one is in the image
ONE_OF = 5
#: instances of a concept that is
INSTANCES = 10
#: batches that are measured together, one encoded while another is answered
_IN_A_ROW = 4
#: milliseconds an image at the best batch, by the number of concepts
TARGETS = {1: 12.7, 32: 40.0}

NOUNS = (
    "dog", "cat", "red car", "traffic light", "tree", "person", "bicycle", "blue bus", "fire truck", "chair", "cup",
    "baseball cap", "bird", "boat", "horse", "sheep", "cow", "elephant", "zebra", "umbrella", "handbag", "suitcase",
    "kite", "bottle", "fork", "spoon", "bowl", "banana", "apple", "orange", "cake", "laptop",
)  # fmt: skip


def named(count: int) -> list[str]:
    """So many concepts."""
    return [NOUNS[k] if k < len(NOUNS) else f"{NOUNS[k % len(NOUNS)]} {k // len(NOUNS)}" for k in range(count)]


def present(count: int) -> int:
    """How many of so many concepts are in the image."""
    return max(1, round(count / ONE_OF))


def thresholds(count: int) -> dict[str, float]:
    """Confidence thresholds that make the first few of :func:`named` present, and the others absent."""
    there = present(count)
    return {name: PRESENT if k < there else ABSENT for k, name in enumerate(named(count))}


def pictures(count: int, size: tuple[int, int] = SIZE, seed: int = 0) -> list[np.ndarray]:
    """Images without meaning, as smooth and as noisy as photographs are: uint8 ``(height, width, 3)``."""
    height, width = size
    rng = np.random.default_rng([seed, 0x1A6E])
    images = []
    for _ in range(count):
        coarse = torch.from_numpy(rng.random((1, 3, 18, 32), dtype=np.float32))
        smooth = torch.nn.functional.interpolate(coarse, size, mode="bicubic", align_corners=False)[0]
        noisy = smooth.permute(1, 2, 0).numpy() + rng.standard_normal((height, width, 1), np.float32) * 0.02
        images.append((255 * noisy.clip(0, 1)).astype(np.uint8))
    return images


def engine_run(detector: Any, squares: torch.Tensor, concepts: int, batches: int = 1) -> Callable[[], int]:
    """The engine, from squares in the host's memory to cropped masks there; it gives the instances found.

    Args:
        detector: a ``ConceptDetector``
        squares: uint8 ``(B, 3, S, S)``, a batch
        concepts: how many
        batches: how often that batch comes, one after the other without a pause
    """
    from zoo.engine.asked import Batch
    from zoo.engine.concepts import parse_concepts

    asked = parse_concepts(named(concepts), thresholds(concepts))
    detector.encode_phrases([phrase for concept in asked for phrase in concept.phrases])
    batch = Batch(squares, [SIZE] * len(squares), [asked] * len(squares))

    def run() -> int:
        answers = detector.stream(itertools.repeat(batch, batches))
        return sum(result.count for found in answers for results in found for result in results)

    return run


def measure(
    detector: Any, clock: Clock, batches: Sequence[int], counts: Sequence[int], tell: Callable[[str], None]
) -> dict[str, Any]:
    """Every cell of batches × concepts, printed row by row as it comes.

    Args:
        detector: a ``ConceptDetector``, what it finds planted
        clock: of its device
        batches, counts: of images, and of concepts
        tell: what prints
    """
    from zoo.engine.images import to_square

    images = pictures(min(max(batches), 4))
    squares = torch.stack([to_square(image, detector.checkpoint.side) for image in images])
    tell(f"{'concepts':>10}{'found':>7}" + "".join(f"{f'batch {b}':>10}" for b in batches) + "   ms an image")
    rows = []
    for n in counts:
        cells: dict[str, dict[str, Any]] = {}
        found = None
        for b in batches:
            batch = squares[[k % len(squares) for k in range(b)]]
            together = b * _IN_A_ROW if clock.device.type == "cuda" else b  # a CPU does one after the other anyway
            run = engine_run(detector, batch, n, together // b)
            cell = cells[str(b)] = clock.cell(run, together)
            if found is None and "error" not in cell:
                found = run() / together
        rows.append(dict(concepts=n, present=present(n), found=found, cells=cells))
        tell(f"{n:>10}{found or 0:>7.0f}" + "".join(shown(cells[str(b)]) for b in batches))
    return dict(rows=rows, batches=list(batches), fit=fitted(rows, batches))


def fitted(rows: Sequence[dict[str, Any]], batches: Sequence[int]) -> dict[str, dict[str, float]]:
    """Batch -> ``E`` and ``p`` of t = E + n·p in milliseconds, by least squares; the largest error, ``off``."""
    fits = {}
    for b in map(str, batches):
        known = [(row["concepts"], row["cells"][b]["ms"]) for row in rows if "error" not in row["cells"][b]]
        if len(known) > 1:
            n, ms = (np.array(values, float) for values in zip(*known, strict=True))
            # relative errors count: a millisecond matters more where there are few
            p, encode = np.polyfit(n, ms, 1, w=1 / ms)
            off = float(np.abs((encode + n * p) / ms - 1).max())
            fits[b] = dict(E=float(encode), p=float(p), off=off)
    return fits


def said(found: dict[str, Any], floors: Callable[[int, int], float], *, judged: bool) -> str:
    """What follows from the cells: fits, memory, the share of the floor, goals.

    Args:
        found: of :func:`measure`
        floors: concepts, and how many are present -> milliseconds that the arithmetic alone takes
        judged: say whether the goals are met
    """
    lines = []
    for b, fit in found["fit"].items():
        lines.append(f"batch {b:>2}: t = {fit['E']:.1f} + n x {fit['p']:.2f} ms (off by {fit['off']:.0%} at most)")
    for row in found["rows"]:
        measured = {b: cell for b, cell in row["cells"].items() if "error" not in cell}
        if not measured:
            continue
        b, best = min(measured.items(), key=lambda item: item[1]["ms"])
        least = floors(row["concepts"], row["present"])
        goal = verdict(best["ms"], TARGETS.get(row["concepts"]) if judged else None, " ms")
        peak = max((cell["peak_mb"] or 0 for cell in measured.values()), default=0)
        lines.append(
            f"{row['concepts']:>2} concepts: {best['ms']:.1f} ms ({best['least']:.1f} to {best['most']:.1f}) at batch "
            f"{b}, {least / best['ms']:.0%} of the floor's speed ({least:.1f} ms)"
            + (f", at most {peak / 1e3:.1f} GB" if peak else "") + goal
        )  # fmt: skip
    return "\n".join(lines)


def floors_of(report: dict[str, Any]) -> Callable[[int, int], float]:
    """The floor of a report's machine and network."""
    return lambda n, there: floor_ms(report["gigaflops"], report["machine"]["tflops"], n, there)
