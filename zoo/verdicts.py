"""What people said of an instance outlives that its concept is asked again: else a review would have to be done again,
and what was rejected would be back.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import fiftyone as fo

from .scribe import VERDICTS, successor

__all__ = ["VERDICTS", "carried"]


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
    places = [(new.label, new.bounding_box) for new in found]
    for old in held.detections:
        said = {name: old[name] for name in VERDICTS if old.has_field(name) and old[name] is not None}
        if not said or old.label not in asked:
            continue
        place = successor((old.label, old.bounding_box), places, taken)
        if place is not None:
            taken.add(place)
            new = found[place]
            new._id = old._id
            for name, value in said.items():
                new[name] = value
        elif said.get("verified") is True:
            stay.append(old)
    return [*found, *stay]
