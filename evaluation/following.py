"""Which labels of a video are one object: those that share an ``instance``, or an ``index``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import fiftyone as fo
import numpy as np

#: one object's labels: frame -> place among that frame's labels
Places = dict[int, int]


def follow(frames: Iterable[Sequence[fo.Detection]], chosen: Iterable[Iterable[int]]) -> list[Places]:
    """The masklets of a video, in the order of their first frames.

    Args:
        frames: the labels of each frame
        chosen: which of them to follow, by their places

    Raises:
        ValueError: a label that says not which object it is, or two of one object in a frame
    """
    masklets: dict[Any, Places] = {}
    for t, (labels, places) in enumerate(zip(frames, chosen, strict=True)):
        for place in places:
            label = labels[place]
            instance = label.get_attribute_value("instance", default=None)
            if instance is None and label.index is None:
                raise ValueError(
                    f"the {label.label!r} with the id {label.id} has neither an index nor an instance: which object is "
                    "it in the other frames?"
                )
            identity = label.index if instance is None else instance.id
            masklet = masklets.setdefault(identity, {})
            if t in masklet:
                raise ValueError(f"two labels {label.label!r} of a frame have the same index or instance ({identity})")
            masklet[t] = place
    return list(masklets.values())


def masklet_score(labels: Sequence[fo.Detection]) -> float:
    """A masklet's score, 0…1: of the detection that it began with, else its mean confidence."""
    births = [label.get_attribute_value("birth_score", default=None) for label in labels]
    born = next((float(score) for score in births if score is not None), None)
    return float(np.mean([score_of(label) for label in labels])) if born is None else born


def score_of(label: fo.Detection) -> float:
    """A prediction's confidence, 0…1; one that a person drew has none, and is sure."""
    return 1.0 if label.confidence is None else float(label.confidence)
