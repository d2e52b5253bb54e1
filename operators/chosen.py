"""Labels that are selected in the App."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import fiftyone as fo

#: choices that a form can offer side by side
MOST = 24


@dataclass(frozen=True)
class ChosenLabel:
    """A label that is selected: its ``id``, its ``field``, its concept, and ``words`` by which a person knows it."""

    id: str
    field: str
    label: str | None
    words: str


def chosen_labels(ctx: Any) -> list[ChosenLabel]:
    """The selected labels of images, in the order in which they lie in the dataset; those of frames are left out."""
    selected = [one for one in ctx.selected_labels or [] if not one.get("frame_number")]
    found = []
    for field in dict.fromkeys(one["field"] for one in selected):
        ids = {one["label_id"] for one in selected if one["field"] == field}
        samples = list(dict.fromkeys(one["sample_id"] for one in selected if one["field"] == field))
        kind = getattr(ctx.dataset.get_field(field), "document_type", None)
        if kind not in (fo.Detections, fo.Keypoints):
            continue
        for sample in ctx.dataset.select(samples).select_fields(field):
            for label in sample[field][kind._LABEL_LIST_FIELD] if sample[field] is not None else ():
                if label.id in ids:
                    found.append(ChosenLabel(label.id, field, label.label, _words(label)))
    return found


def _words(label: Any) -> str:
    name = label.label or "without a label"
    sure = f" {label.confidence:.2f}" if isinstance(label.confidence, float) else ""
    if isinstance(label, fo.Keypoint):
        return f"{name}, {len(label.points)} points"
    x, y, width, height = label.bounding_box
    row = ("top", "middle", "bottom")[min(int(3 * max(y + height / 2, 0)), 2)]
    column = ("left", "centre", "right")[min(int(3 * max(x + width / 2, 0)), 2)]
    return f"{name}{sure}, {row} {column}, {width:.0%} × {height:.0%} of the image"
