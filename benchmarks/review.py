"""Reviewing on the emoji world: how soon planted faults are found, and how well missing labels are noticed.

``python -m benchmarks.review [--scenes N] [--seeds N] [--json FILE]``, with the tiny checkpoint, on scenes that nothing
was trained on:

``exhaustivity``
    area under the ROC curve of the score of a sample and a concept, of pairs that lack one label (half of all, by
    chance) among those whose labels are complete; where at least one label is left, and where none is. Beside it what
    the labels as examples and what plain words find, each alone, and presence
``queue``
    labels with planted faults, reviewed in the order of the queue: the share of all faults (missing, wrong and extra)
    that has been asked about after 15 % of it, and the share of the queue after which half of them have. ``with
    check``: an exhaustivity check was made before; ``one by one``: without batches; ``random``: batches in any order
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from scripts.plugin import use_own_plugin

from .measuring import verdict

TARGETS = {"exhaustivity": 0.85, "queue": 0.5}


def review(world: Any, seeds: Iterable[int] = (0,)) -> dict[str, Any]:
    """Measure.

    Args:
        world: a :class:`benchmarks.planted.World`.
        seeds: of the faults, one run each.
    """
    from .reviewing import measure

    return measure(world.dataset, seeds)


def said(found: dict[str, Any]) -> str:
    """:func:`review` for people."""
    rows = found["exhaustivity"]
    lines = [f"\nExhaustivity, {found['scenes']} scenes: AUC of pairs that lack a label      some left   none left"]
    for name, words in _SCORES.items():
        some, none = (mean(row[part][name] for row in rows) for part in ("some", "none"))
        met = verdict(min(some, none), TARGETS["exhaustivity"], "", at_least=True) if name == "score" else ""
        lines.append(f"  {words:58s} {some:10.3f}  {none:10.3f}{met}")
    counts = [
        "/".join(f"{mean(row[part][name] for row in rows):.0f}" for name in ("lacking", "pairs"))
        for part in ("some", "none")
    ]
    lines.append(f"  {'pairs that lack one, of all':58s} " + "  ".join(f"{count:>10s}" for count in counts))
    lines.append("\nReview queue: planted faults that were asked about        after 15 %    half of them after")
    for name in _ORDERS:
        early, half = (mean(row["orders"][name][key] for row in found["queue"]) for key in ("early", "half"))
        met = verdict(early, TARGETS["queue"], "", at_least=True) if name.startswith("batches") else ""
        lines.append(f"  {name:54s} {early:12.3f} {half:14.1%}{met}")
    items, faults = (mean(row[key] for row in found["queue"]) for key in ("items", "faults"))
    lines.append(f"  {items:.0f} items, {faults:.0f} faults")
    for kind in ("missing", "wrong", "extra"):
        early, never = (mean(row["kinds"][kind][key] for row in found["queue"]) for key in ("early", "never"))
        lines.append(f"    {kind:8s} after 15 %: {early:.3f}; never asked about: {never:.3f}")
    return "\n".join(lines)


_SCORES = {
    "score": "the score", "examples": "labels as examples, and words", "words": "plain words", "presence": "presence",
}  # fmt: skip
_ORDERS = ("batches", "batches, with check", "one by one", "random batches")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write JSON where asked."""
    about = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.review", description=about)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    parser.add_argument("--scenes", type=int, default=400, help="of the emoji world")
    parser.add_argument("--seeds", type=int, default=3, help="how often faults are planted")
    args = parser.parse_args(argv)
    use_own_plugin()  # before FiftyOne is imported
    from .planted import World

    world = World(args.scenes)
    try:
        found = review(world, range(args.seeds))
    finally:
        world.close()
    print(said(found), flush=True)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
