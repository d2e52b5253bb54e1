"""What is said about a score: one dictionary for JSON, and the text of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .cgf1 import CGF1
from .intervals import Interval
from .phota import PHOTA
from .table import PairTable

_IMAGE_LEVEL = ("IL_TP", "IL_FP", "IL_TN", "IL_FN")
_NUMBERS = (
    "cgF1", "cgF1_50", "cgF1_75", "pmF1", "pmF1_50", "pmF1_75", "IL_MCC", "positive_macro_F1", "IL_precision",
    "IL_recall", "IL_F1", "IL_FPR", "precision", "recall", "F1",
)  # fmt: skip


def report(
    table: PairTable, notes: Iterable[str] = (), intervals: Mapping[str, Interval] | None = None
) -> dict[str, Any]:
    """All numbers of a table as plain Python for JSON: numbers, lists, strings, and None where undefined.

    Args:
        table: counted pairs.
        notes: what was left out in counting them; they come first among "warnings".
        intervals: from ``table.intervals()``, to go along.

    Returns:
        "cgF1", "cgF1_50", "cgF1_75", "pmF1", "IL_MCC" and so on; "counts": TP, FP, pmFP, FN for each of "thresholds",
        and IL_TP, IL_FP, IL_TN, IL_FN of pairs; "pairs_evaluated"; "warnings"; "official": upstream's numbers by
        upstream's names, with its 0 or -1 where they are undefined. Of videos also "pHOTA", "pDetA", "pAssA",
        "id_switches_per_masklet", "masklets".
    """
    images = table.cgf1()
    numbers = images.to_dict()
    counts = {"TP": "tp", "FP": "fp", "pmFP": "pm_fp", "FN": "fn"}
    found: dict[str, Any] = {
        **{name: numbers[name] for name in _NUMBERS},
        "counts": {
            "thresholds": [round(t, 2) for t in numbers["thresholds"]],
            **{shown: numbers[name] for shown, name in counts.items()},
            **{name: numbers[name] for name in _IMAGE_LEVEL},
        },
        "pairs_evaluated": images.pairs_evaluated,
        "warnings": [*notes, *images.warnings],
        "official": images.official(),
    }
    if table.videos:
        tracked = table.phota()
        names = ("pHOTA", "pDetA", "pAssA", "id_switches_per_masklet", "masklets")
        found |= {name: tracked.to_dict()[name] for name in names}
        found["warnings"] += tracked.warnings
        found["official"] |= tracked.official()
    if intervals is not None:
        found["intervals"] = {
            name: [_plain(interval.low), _plain(interval.high)] for name, interval in intervals.items()
        }
    return found


def text(table: PairTable, notes: Iterable[str] = (), intervals: Mapping[str, Interval] | None = None) -> str:
    """The same for people: the metrics, their intervals, the warnings."""
    parts: list[CGF1 | PHOTA] = [table.cgf1(), *([table.phota()] if table.videos else [])]
    lines = [str(part) for part in parts]
    if intervals is not None:
        level = next(iter(intervals.values())).level
        shown = [name for name in ("cgF1", "pmF1", "IL_MCC", "pHOTA", "pDetA", "pAssA") if name in intervals]
        lines.append(f"{100 * level:g} % of resamples:")
        lines += [f"{name:7s} {intervals[name].low:7.4f} to {intervals[name].high:.4f}" for name in shown]
    return "\n".join([*lines, *(f"note: {note}" for note in notes)])


def _plain(value: float) -> float | None:
    return None if value != value else float(value)
