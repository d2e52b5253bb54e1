"""Vectors of some samples, computed and written: what a process does of an embedding that may be one of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import fiftyone as fo
import numpy as np

from .engine.errors import ConceptError, ImageError
from .engine.images import read_image
from .instance_embeddings import embed_labels


def embed_part(
    dataset: fo.Dataset, ids: Sequence[str], model: Any, path: str, found_in: str | None = None
) -> dict[str, str]:
    """Embed a batch: images, or the labels in them.

    Args:
        dataset: theirs; the field of the vectors is declared
        ids: of the samples, which are encoded together
        model: an image model
        path: of the vectors, ``"sam3_embedding"`` or ``"sam3.detections.embedding"``
        found_in: of labels, the field that holds them; ``None``: images are embedded

    Returns:
        id of a sample -> why it has no vector; nothing is recorded of that here
    """
    if found_in is None:
        return _embed(dataset, ids, path, model)
    return _embed_labels(dataset, ids, found_in, path, model)


def _embed(dataset: fo.Dataset, ids: Sequence[str], path: str, model: Any) -> dict[str, str]:
    """Embed a batch of images; why some of them could not be."""
    files = dict(zip(*dataset.select(ids, ordered=True).values(["id", "filepath"]), strict=True))
    images, failed = _read(files)
    vectors = _apart(list(images), lambda some: model.embed_all([images[one] for one in some]), failed)
    dataset.set_values(path, {one: vectors.get(one) for one in ids}, key_field="id")
    return failed


def _embed_labels(
    dataset: fo.Dataset, ids: Sequence[str], found_in: str, path: str, model: Any
) -> dict[str, str]:
    """Embed the labels of a batch of images, which are encoded together; why those of some could not be."""
    held = {one.id: one for one in dataset.select(ids).select_fields(found_in)}
    images, failed = _read({number: sample.filepath for number, sample in held.items()})
    labels = {number: held[number][found_in].detections for number in images}
    found = _apart(
        list(images), lambda some: embed_labels(model, [images[n] for n in some], [labels[n] for n in some]), failed
    )
    values = {label.id: None for number in failed for label in held[number][found_in].detections}
    for number, vectors in found.items():
        values |= {label.id: vector for label, vector in zip(labels[number], vectors, strict=True)}
    dataset.set_label_values(path, values)
    return failed


def _read(files: Mapping[str, str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Images that can be read, and why others cannot."""
    images, failed = {}, {}
    for number, file in files.items():
        try:
            images[number] = read_image(file)
        except ImageError as error:
            failed[number] = str(error)
    return images, failed


def _apart(keys: Sequence[str], embed: Any, failed: dict[str, str]) -> dict[str, Any]:
    """Key → what was embedded; if they fail together, each is tried alone, and ``failed`` gets the reasons."""
    if not keys:
        return {}
    try:
        found = embed(keys)
        if any(one is None for one in found):
            raise RuntimeError("one of a batch cannot be embedded")
        return dict(zip(keys, found, strict=True))
    except Exception as error:  # whatever it is, it must cost one sample
        if len(keys) == 1:
            failed[keys[0]] = str(error) if isinstance(error, ConceptError) else f"{type(error).__name__}: {error}"
            return {}
        return {key: one for single in keys for key, one in _apart([single], embed, failed).items()}
