"""A measurement's table in Markdown, and its place in the documents that quote it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

_IMAGE_ROWS = {
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
_CLIP_ROWS = {
    "pHOTA": "pHOTA",
    "pDetA": "pDetA: how well objects are found and outlined",
    "pAssA": "pAssA: how well they are kept apart through time",
    "id_switches_per_masklet": "identity switches per masklet",
    "presence_auc_frames": "presence AUC, frame by frame",
    "pHOTA_occlusion": "pHOTA where objects hide and come back",
}


def card_table(numbers: Mapping[str, float | int]) -> str:
    """``numbers`` of a measurement (scenes, clips, or boxes and points) as a Markdown table, and what was measured."""
    if "clips" in numbers:
        return _clip_table(numbers)
    if "prompt_images" in numbers:
        return _prompt_table(numbers)
    if "tile_images" in numbers:
        return _tile_table(numbers)
    rows = [f"| {words} | {_shown(numbers[name])} |" for name, words in _IMAGE_ROWS.items()]
    return "\n".join([
        "| on scenes it never saw | |", "|---|---:|", *rows, "",
        f"{numbers['images']} scenes, {numbers['pairs']:,} (image, phrase) pairs, threshold 0.5, masks compared at the "
        "image's own size:",
        f"`python -m emoji_world.measure --images {numbers['images']}`. Training and measurement share no scene.", "",
    ])


_PROMPT_ROWS = {
    "words": "words (\"red cap\")", "example": "one example, no words", "words_example": "words and an example",
    "canvas": "one example in another image, pasted beside this one",
    "tokens": "one example in another image, as a token", "noun": "a noun that stands there in several colours",
    "noun_counter": "the noun, and a counter-example of one colour",
    "noun_both": "the noun, a counter-example, and an example of another colour",
}
_OBJECT_ROWS = {
    "box": "a box", "box_cut": "a box, and cut at it, as `boxes=\"keep\"` does", "point": "one point",
    "points": "one point, and a second where the answer was wrong",
}


def _prompt_table(numbers: Mapping[str, float | int]) -> str:
    rows = [
        f"| {words} | {' | '.join(_shown(numbers[f'{way}_{rate}']) for rate in ('precision', 'recall', 'f1'))} |"
        for way, words in _PROMPT_ROWS.items()
    ]
    objects = [f"| {words} | {_shown(numbers[f'{way}_iou'])} |" for way, words in _OBJECT_ROWS.items()]
    return "\n".join([
        "| asked by | precision | recall | F1 |", "|---|---:|---:|---:|", *rows, "",
        "| objects pointed at by | mean IoU |", "|---|---:|", *objects, "",
        f"{numbers['prompt_images']} scenes, {numbers['words_questions']} things, {numbers['noun_questions']} nouns in "
        f"several colours, {numbers['box_objects']:,} objects; instances at IoU 0.5, threshold 0.5:",
        f"`python -m emoji_world.measure --prompts {round(numbers['prompt_images'] / 1.2)}`.", "",
    ])


_TILE_ROWS = {
    "small_recall": "recall of things smaller than 12 of the network's pixels", "large_recall": "recall of others",
    "precision": "precision", "false_alarms": "absent nouns with presence above 0.5",
}  # fmt: skip


def _tile_table(numbers: Mapping[str, float | int]) -> str:
    rows = [
        f"| {words} | {_shown(numbers[f'whole_{name}'])} | {_shown(numbers[f'tiles_{name}'])} |"
        for name, words in _TILE_ROWS.items()
    ]
    return "\n".join([
        "| on large scenes with small things | whole image | with tiles |", "|---|---:|---:|", *rows, "",
        f"{numbers['tile_images']} scenes of 1600 × 1200 pixels, {numbers['small_objects']} small things and "
        f"{numbers['large_objects']} others, tiles of 480 pixels, masks at IoU 0.5:",
        f"`python -m emoji_world.measure --tiles {numbers['tile_images']}`.", "",
    ])


def _clip_table(numbers: Mapping[str, float | int]) -> str:
    rows = [
        f"| {words} | {_shown(numbers[name])} | {_shown(numbers.get(_chained(name)))} |"
        for name, words in _CLIP_ROWS.items()
    ]
    return "\n".join([
        "| on clips it never saw | tracker | detector only |", "|---|---:|---:|", *rows, "",
        f"{numbers['clips']} clips, {numbers['frames']:,} frames, {numbers['video_pairs']} (clip, phrase) pairs, "
        f"{numbers['masklets']} masklets: `python -m emoji_world.measure --clips {numbers['clips']}`.",
        "*Detector only*: detections of single frames, chained by mask overlap (`tracking=False`).", "",
    ])


def _chained(name: str) -> str:
    """The name of the same number without the tracker."""
    return name + "_detector_only"


def _shown(number: float | None) -> str:
    return "" if number is None else "undefined" if math.isnan(number) else format(number, ".3f")


def write_card(file: Path, numbers: Mapping[str, float | int]) -> None:
    """Put the table between its marks in ``file``: ``<!-- measured -->`` and ``<!-- /measured -->``, or, for clips
    and for boxes and points, ``measured on clips``, ``measured with prompts`` and so on.

    Raises:
        ValueError: the file has no such marks
    """
    mark = "measured on clips" if "clips" in numbers else "measured"
    mark = "measured with prompts" if "prompt_images" in numbers else mark
    mark = "measured with tiles" if "tile_images" in numbers else mark
    block = re.compile(f"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", re.DOTALL)
    text, places = block.subn(lambda m: m[1] + card_table(numbers) + m[2], file.read_text())
    if not places:
        raise ValueError(f"{file} has no place for the numbers: a line <!-- {mark} -->, then <!-- /{mark} -->")
    file.write_text(text)
