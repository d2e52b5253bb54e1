"""Questions on trial: images are read and asked as in a run, and nothing is written anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .answering import tried_apart
from .engine.concepts import Concept, check_whole
from .engine.results import ConceptResult
from .image_model import Sam3ImageModel


@dataclass(frozen=True)
class Answer:
    """What one image gave.

    Attributes:
        size: ``(height, width)`` in pixels; ``(0, 0)`` where the image could not be read
        results: of its concepts, in the order asked; none where it failed
        error: why it failed, or ``None``
    """

    size: tuple[int, int]
    results: tuple[ConceptResult, ...]
    error: str | None = None


def tried(
    model: Sam3ImageModel, paths: Sequence[str], asked: Sequence[Sequence[Concept]], batch_size: int = 8
) -> Iterator[Answer]:
    """Ask images; each is encoded once, whatever it is asked.

    Args:
        model: with its settings; its own concepts are not asked
        paths: of the images
        asked: concepts of each image
        batch_size: images encoded together

    Yields:
        an answer for each image, in order; an image that cannot be read, or fails alone, costs itself

    Raises:
        ConceptError: a batch size below 1
    """
    check_whole(batch_size, "batch_size", 1)
    read = model.build_get_item()
    for start in range(0, len(paths), batch_size):
        images = [read({"filepath": path}) for path in paths[start : start + batch_size]]
        wanted = [tuple(concepts) for concepts in asked[start : start + batch_size]]
        errors = [error for _, _, error in images]
        good = [k for k, error in enumerate(errors) if error is None and wanted[k]]
        found = tried_apart(
            good, lambda places, images=images, wanted=wanted: model.answers(
                [images[k] for k in places], [wanted[k] for k in places]
            ), errors,
        )  # fmt: skip
        for k, (_, size, _) in enumerate(images):
            yield Answer(size, tuple(found.get(k, ())), errors[k])
