"""Labels that are there already, drawn anew: an image and its boxes or points, and their masks."""

from __future__ import annotations

from collections.abc import Sequence

import fiftyone as fo
import numpy as np

from .engine.errors import ConceptError
from .engine.images import to_square
from .marked import marked_object, outlined
from .visual_model import Sam3VisualModel


def redraw(
    model: Sam3VisualModel, image: np.ndarray, labels: Sequence[fo.Detection | fo.Keypoint]
) -> tuple[list[fo.Detection], list[str]]:
    """The same labels with masks of what they mark; each is one object, whatever its ``index``.

    Args:
        model: of ``operation_mode="visual"``, whose settings for boxes and candidates hold
        image: uint8 ``(height, width, 3)``, RGB
        labels: boxes, or points of which one is on the object

    Returns:
        those that can be drawn, in order, with the ids, labels and attributes that they had; and why others cannot
    """
    objects, reasons = [], []
    for label in labels:
        try:
            marked = marked_object(label)
            if marked is None or marked.prompt.box is None and not any(marked.prompt.on):
                raise ConceptError("points need one that is known, and on the object")
            objects.append(marked)
        except ConceptError as error:
            reasons.append(f"{label.label or 'label'} {label.id}: {error}")
    if not objects:
        return [], reasons
    size = image.shape[:2]
    features = model.detector.encode_images(to_square(image, model.detector.checkpoint.side)[None], [size], tokens=True)
    outlines = model.segmenter.outlines(
        model.segmenter.features(features), 0, [one.prompt for one in objects], size, multimask=model.multimask,
        choice=model.choice,
    )
    keep = model.boxes == "keep"
    return [outlined(one, o, size, keep_box=keep) for one, o in zip(objects, outlines, strict=True)], reasons
