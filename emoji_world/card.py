"""A measurement's table in Markdown, and its place in the documents that quote it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

_ROWS = {
    "cgF1": "cgF1 (mean over IoU .50:.95)",
    "pmF1": "pmF1",
    "IL_MCC": "IL_MCC",
    "presence_auc_hard": "presence AUC, present against look-alikes",
    "presence_auc": "presence AUC, present against all absent",
    "f1_50": "instance F1 at IoU 0.5",
    "cgF1_50": "cgF1 at IoU 0.5",
    "cgF1_75": "cgF1 at IoU 0.75",
    "false_alarms_hard": "look-alikes with presence above 0.5",
    "presence_auc_unseen_words": "presence AUC, present against words it was never taught",
    "false_alarms_unseen_words": "words it was never taught, with presence above 0.5",
}
_BLOCK = re.compile(r"(<!-- measured -->\n).*?(<!-- /measured -->)", re.DOTALL)


def card_table(numbers: Mapping[str, float | int]) -> str:
    """``numbers`` of :meth:`Measurement.numbers` as a Markdown table, and what they were measured on."""
    rows = [
        f"| {words} | {'undefined' if math.isnan(numbers[name]) else format(numbers[name], '.3f')} |"
        for name, words in _ROWS.items()
    ]
    return "\n".join([
        "| on scenes it never saw | |", "|---|---:|", *rows, "",
        f"{numbers['images']} scenes, {numbers['pairs']:,} (image, phrase) pairs, threshold 0.5, masks compared at the "
        "image's own size:",
        f"`python -m emoji_world.measure --images {numbers['images']}`. Training and measurement share no scene.", "",
    ])


def write_card(file: Path, numbers: Mapping[str, float | int]) -> None:
    """Put the table between the marks ``<!-- measured -->`` and ``<!-- /measured -->`` of ``file``.

    Raises:
        ValueError: the file has no such marks
    """
    text, places = _BLOCK.subn(lambda m: m[1] + card_table(numbers) + m[2], file.read_text())
    if not places:
        raise ValueError(f"{file} has no place for the numbers: a line <!-- measured -->, then <!-- /measured -->")
    file.write_text(text)
