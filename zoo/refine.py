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
) -> list[fo.Detection]:
    """The same labels with masks of what they mark; each is one object, whatever its ``index``.

    Args:
        model: of ``operation_mode="visual"``, whose settings for boxes and candidates hold
        image: uint8 ``(height, width, 3)``, RGB
        labels: boxes, or points of which one is on the object

    Returns:
        in order, with the ids, labels and attributes that they had

    Raises:
        ConceptError: a label cannot be used; says which
    """
    objects = []
    for label in labels:
        try:
            marked = marked_object(label)
            if marked is None or marked.prompt.box is None and not any(marked.prompt.on):
                raise ConceptError("points need one that is known, and on the object")
        except ConceptError as error:
            raise ConceptError(f"{label.label or 'label'} {label.id}: {error}") from None
        objects.append(marked)
    if not objects:
        return []
    size = image.shape[:2]
    features = model.detector.encode_images(to_square(image, model.detector.checkpoint.side)[None], [size], tokens=True)
    outlines = model.segmenter.outlines(
        model.segmenter.features(features), 0, [one.prompt for one in objects], size, multimask=model.multimask,
        choice=model.choice,
    )
    keep = model.boxes == "keep"
    return [outlined(one, drawn, size, keep_box=keep) for one, drawn in zip(objects, outlines, strict=True)]
