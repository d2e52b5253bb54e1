"""``python -m evaluation``: scores files as the official scripts do, without FiftyOne and without a database.

    python -m evaluation gold  --gt A.json [B.json C.json] --pred P.json [--iou segm|bbox] [--crowd official|ignore]
    python -m evaluation veval --gt GT.json --pred P.json

Both take ``--json OUT`` (all numbers), ``--csv OUT`` (one row a phrase) and ``--intervals`` (bootstrap confidence).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from .entries import FormatError
from .gold_score import CROWDS, GoldScore, score_gold_files
from .report import report, text
from .veval import VEvalScore, read_veval, read_video_predictions, score_veval


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, score, print.

    Returns:
        0, or 2 if a file is not what it should be; the sentence that says so goes to the standard error.
    """
    options = _parser().parse_args(arguments)
    try:
        for out in (options.json, options.csv):
            if out is not None and not out.parent.is_dir():  # not after minutes of counting
                raise FormatError(f"There is no folder {out.parent} to write {out.name} into")
        score = _gold(options) if options.command == "gold" else _veval(options)
    except FormatError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    intervals = score.table.intervals(resamples=options.intervals) if options.intervals else None
    print(text(score.table, score.warnings, intervals))
    if options.json is not None:
        options.json.write_text(json.dumps(report(score.table, score.warnings, intervals), indent=1) + "\n")
    if options.csv is not None:
        score.table.to_pandas().to_csv(options.csv)
    return 0


def _gold(options: argparse.Namespace) -> GoldScore:
    return score_gold_files(options.gt, options.pred, iou=options.iou, crowd=options.crowd)


def _veval(options: argparse.Namespace) -> VEvalScore:
    return score_veval(read_veval(options.gt), read_video_predictions(options.pred))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m evaluation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    gold = commands.add_parser("gold", help="SA-Co/Gold and SA-Co/Silver: images")
    gold.add_argument("--gt", type=Path, nargs="+", required=True, help="one file an annotator")
    gold.add_argument("--iou", choices=("segm", "bbox"), default="segm", help="of masks, or of boxes")
    gold.add_argument(
        "--crowd", choices=tuple(CROWDS), default="official",
        help="official: crowd regions are dropped; ignore: what lies in them is forgiven",
    )  # fmt: skip
    veval = commands.add_parser("veval", help="SA-Co/VEval: videos")
    veval.add_argument("--gt", type=Path, required=True)
    for command in (gold, veval):
        command.add_argument("--pred", type=Path, required=True)
        command.add_argument("--json", type=Path, metavar="OUT", help="all numbers")
        command.add_argument("--csv", type=Path, metavar="OUT", help="one row a phrase")
        command.add_argument(
            "--intervals", type=int, nargs="?", const=1000, metavar="N", help="95 %% intervals of N resamples (1000)"
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
