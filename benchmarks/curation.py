"""What curation finds, and how fast: ``python -m benchmarks.curation [--json FILE]``.

On the emoji world, scenes that nothing was trained on, every phrase asked once, with the tiny checkpoint:

``label_errors``
    precision@k of missing, wrong and extra labels, k as many as were planted; beside it FiftyOne Brain's
    ``compute_mistakenness`` on the same predictions. ``score_ece``: how far the scores are from probabilities
``hard_negatives``
    of the first 100: ``absent`` is the share that truly lacks the concept, ``precision`` the share that also is hard:
    the model fires, or the world put a look-alike there. From true labels, and from labels with the planted faults
``calibration``
    expected calibration error of presence on the half of the scenes that nothing was learned from
``review``
    how soon a review finds planted faults, and how well exhaustivity is told: :mod:`benchmarks.review`
``wordings``
    what the recommended wording costs, and what stability tells: :mod:`benchmarks.wordings`

``subset`` trains a small model on chosen scenes and on random ones, ``exports`` reads every export back; see
:mod:`benchmarks.subset` and :mod:`benchmarks.exports`. And on a ledger of 100,000 samples × 20 concepts without images,
``scale``: wall seconds of queries, of the runs that find something, and of refreshes of the panel; and 5,000 samples
chosen out of them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from scripts.plugin import use_own_plugin

from .measuring import described, machine, verdict

TARGETS = {"label_errors": 0.85, "hard_negatives": 0.9, "calibration": 0.03, "query": 2.0, "panel": 2.0}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write JSON where asked."""
    said = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.curation", description=said)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    parser.add_argument("--scenes", type=int, default=400, help="of the emoji world; 0: leave this part out")
    parser.add_argument("--seeds", type=int, default=3, help="how often faults are planted")
    parser.add_argument("--limit", type=int, default=20, help="scenes each wording is asked of; 0: leave them out")
    parser.add_argument("--pool", type=int, default=2_400, help="scenes to choose from; 0: leave this part out")
    parser.add_argument("--exported", type=int, default=120, help="scenes to export; 0: leave this part out")
    parser.add_argument("--samples", type=int, default=100_000, help="of the large ledger; 0: leave this part out")
    parser.add_argument("--concepts", type=int, default=20, help="of the large ledger")
    parser.add_argument("--repeats", type=int, default=3, help="of each question to it")
    args = parser.parse_args(argv)
    use_own_plugin()  # before FiftyOne is imported
    report: dict[str, Any] = dict(machine=machine())
    print(described(report["machine"]), flush=True)
    if args.scenes:
        report |= _world(args.scenes, range(args.seeds), args.limit)
    if args.pool:
        from . import subset

        report["subset"] = subset.subset(args.pool, max(args.pool // 10, 20), seeds=range(args.seeds), samples=0)
        print(subset.said(report["subset"]), flush=True)
    if args.exported:
        from . import exports

        report["exports"] = exports.exports(args.exported)
        print(exports.said(report["exports"]), flush=True)
    if args.samples:
        from . import subset
        from .scale import measure

        report["scale"] = measure(args.samples, args.concepts, args.repeats)
        print(_scale(report["scale"]), flush=True)
        chosen = subset.subset(0, samples=args.samples)
        report["subset"] = report.get("subset", {}) | chosen
        print(subset.said(chosen), flush=True)
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")


def _world(scenes: int, seeds: Sequence[int], limit: int) -> dict[str, Any]:
    from . import review, wordings
    from .planted import World

    world = World(scenes)
    try:
        found: dict[str, Any] = dict(scenes=scenes, label_errors=world.label_errors(seeds))
        print(_label_errors(found["label_errors"], scenes), flush=True)
        found["hard_negatives"] = world.hard_negatives(seeds)
        print(_hard_negatives(found["hard_negatives"]), flush=True)
        found["calibration"] = world.calibration()
        print(_calibration(found["calibration"]), flush=True)
        found["review"] = review.review(world, seeds)
        print(review.said(found["review"]), flush=True)
        if limit:
            found["wordings"] = wordings.wordings(world, limit)
            print(wordings.said(found["wordings"]), flush=True)
    finally:
        world.close()
    return found


def _label_errors(found: dict[str, Any], scenes: int) -> str:
    lines = [f"\nPlanted label errors, {scenes} scenes: precision@k        ours   Brain"]
    for kind, planted in found["planted"].items():
        ours, brain = mean(found["ours"][kind]), mean(found["brain"][kind])
        met = verdict(ours, TARGETS["label_errors"], "", at_least=True)
        spread = f"{min(found['ours'][kind]):.3f} to {max(found['ours'][kind]):.3f}"
        lines.append(f"  {kind:8s} k = {planted:<4d}  ({spread:s})          {ours:6.3f}  {brain:6.3f}{met}")
    return "\n".join([*lines, f"  scores as probabilities: expected calibration error {found['score_ece']:.3f}"])


def _hard_negatives(found: dict[str, Any]) -> str:
    lines = ["\nHard negatives: of the first 100        truly absent   and hard   the model fires"]
    for name, rows in found.items():
        absent, precision, fires = (mean(row[key] for row in rows) for key in ("absent", "precision", "fires"))
        met = verdict(precision, TARGETS["hard_negatives"], "", at_least=True)
        lines.append(f"  {name:36s}  {absent:10.3f} {precision:10.3f} {fires:12.3f}{met}")
    return "\n".join(lines)


def _calibration(found: dict[str, Any]) -> str:
    lines = ["\nExpected calibration error of presence, on scenes that nothing was learned from"]
    for name, count in (("all", found["pairs"]), ("hard", found["hard_pairs"])):
        for method in ("raw", "platt", "isotonic"):
            error = found[f"{method}_{name}"]
            met = verdict(error, TARGETS["calibration"] if method != "raw" else None, "")
            lines.append(f"  {name:5s} pairs ({count})  {method:10s} {error:.4f}{met}")
    return "\n".join(lines)


def _scale(found: dict[str, Any]) -> str:
    lines = [f"\n{found['samples']:,} samples × {found['concepts']} concepts, wall seconds"]
    for title, part, target in (("query", "queries", "query"), ("run", "runs", None), ("panel", "panel", "panel")):
        for name, spent in found[part].items():
            lines.append(f"  {title:6s} {name:32s} {spent:6.2f}{verdict(spent, TARGETS.get(target), ' s')}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
