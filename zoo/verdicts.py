"""What people said of an instance outlives that its concept is asked again: else a review would have to be done again,
and what was rejected would be back.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import fiftyone as fo

from .engine.prompts import box_iou
from .marks import corners

#: attributes of a label that hold verdicts, as reviews write them (``curation/verified.py``)
VERDICTS = ("verified", "verified_by", "verified_at", "ai_verified", "ai_verified_by", "ai_confidence")
#: an instance that is found again has the same box, but for pixels at its border
SAME = 0.9


def carried(before: Any, fields: Iterable[str], asked: Iterable[str], found: list[fo.Detection]) -> list[fo.Detection]:
    """The instances that were found now, with the verdicts on those that they replace.

    One that was judged and is found again keeps its id, too, so that a queue still knows it. One that a person accepted
    and that is not found again stays: it is there all the same.

    Args:
        before: the sample or frame as stored
        fields: where its instances may be; the first that holds an answer counts
        asked: labels whose instances are found anew
        found: these
    """
    held = next((before[f] for f in fields if before.has_field(f) and before[f] is not None), None)
    if held is None:
        return found
    asked, taken, stay = set(asked), set(), []
    for old in held.detections:
        said = {name: old[name] for name in VERDICTS if old.has_field(name) and old[name] is not None}
        if not said or old.label not in asked:
            continue
        same = [
            (box_iou(corners(old), corners(new)), -k) for k, new in enumerate(found)
            if new.label == old.label and k not in taken
        ]  # fmt: skip
        overlap, place = max(same, default=(0.0, 0))
        if overlap >= SAME:
            new = found[-place]
            taken.add(-place)
            new._id = old._id
            for name, value in said.items():
                new[name] = value
        elif said.get("verified") is True:
            stay.append(old)
    return [*found, *stay]
