"""Vectors of images and of instances, for near-duplicates, diversity, similarity and plots of FiftyOne Brain.

Whoever wants vectors of images only, in worker processes or on frames of videos, has
``dataset.compute_embeddings(sam3, embeddings_field="sam3_embedding")``: they are the same. Instances are another
matter: an image is encoded once for all of them, and each is pooled below its own mask, not cut out of the image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import fiftyone as fo
import numpy as np
from fiftyone import ViewField as F

from .checks import check_known, check_whole
from .errors import CurationError
from .instances import check_field
from .refine import usual_checkpoint
from .steps import run_steps

if __package__ == "curation":
    from zoo.cluster import check_distribute
    from zoo.distributed import embed_parts, gathered
    from zoo.embedding_part import embed_part
    from zoo.engine.errors import CheckpointError, ConceptError
    from zoo.ledger import DEFAULT, Ledger
    from zoo.provenance import ledger_of
    from zoo.segment import check_images
    from zoo.source import load_model
else:
    from ..zoo.cluster import check_distribute
    from ..zoo.distributed import embed_parts, gathered
    from ..zoo.embedding_part import embed_part
    from ..zoo.engine.errors import CheckpointError, ConceptError
    from ..zoo.ledger import DEFAULT, Ledger
    from ..zoo.provenance import ledger_of
    from ..zoo.segment import check_images
    from ..zoo.source import load_model

WHAT = ("images", "instances")
#: fields, and attributes of labels, where vectors go unless told otherwise
FIELDS = {"images": f"{DEFAULT}_embedding", "instances": "embedding"}


@dataclass(frozen=True)
class Embedded:
    """What was embedded.

    Attributes:
        what: "images" or "instances".
        field: the full path of the vectors, such as "sam3_embedding" or "sam3.detections.embedding".
        vectors: how many there are now.
        width: numbers in each.
        failed: id of a sample → why it has none.
    """

    what: str
    field: str
    vectors: int
    width: int
    failed: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        failed = f"; {len(self.failed)} images could not be embedded" if self.failed else ""
        return f"{self.vectors} {self.what} embedded in {self.field}, {self.width} numbers each{failed}"


@dataclass(frozen=True)
class Step:
    """``done`` of ``total`` samples, ``failed`` of them; ``result`` once all are done, and everything is written."""

    done: int
    total: int
    failed: int = 0
    result: Embedded | None = None


def embed_images(
    samples: fo.core.collections.SampleCollection, embeddings_field: str = FIELDS["images"], *, progress: Any = None,
    **settings: Any,
) -> Embedded:  # fmt: skip
    """A vector for each image, of length 1: 256 numbers with SAM 3, 128 with the tiny checkpoint.

    Args:
        samples: a dataset or view of images.
        embeddings_field: where they go.
        progress: whether to show a progress bar, or a function, as everywhere in FiftyOne.
        **settings: of :func:`embedding_steps`: ``checkpoint`` and so on.

    Returns:
        what was done; images that cannot be read have none, and a reason, in the ledger's error field too.

    Raises:
        CurationError: before anything is changed, see :func:`embedding_steps`.
    """
    said = dict(settings, what="images", embeddings_field=embeddings_field)
    return run_steps("embed_images", embedding_steps, (samples,), said, progress)


def embed_instances(
    samples: fo.core.collections.SampleCollection, label_field: str = DEFAULT,
    embeddings_field: str = FIELDS["instances"], *, progress: Any = None, **settings: Any,
) -> Embedded:  # fmt: skip
    """A vector for each instance, on its label: the mean of what its mask covers, or its box, if it has no mask.

    ``fob.compute_similarity(dataset, patches_field="sam3", embeddings="embedding")`` takes them, as does
    ``compute_visualization``.

    Args:
        samples: a dataset or view of images.
        label_field: ``Detections``, whoever made them.
        embeddings_field: attribute of the labels.
        progress: whether to show a progress bar, or a function, as everywhere in FiftyOne.
        **settings: of :func:`embedding_steps`: ``checkpoint`` and so on.

    Returns:
        what was done; labels in images that cannot be read have none, and the image a reason.

    Raises:
        CurationError: before anything is changed, see :func:`embedding_steps`.
    """
    said = dict(settings, what="instances", label_field=label_field, embeddings_field=embeddings_field)
    return run_steps("embed_instances", embedding_steps, (samples,), said, progress)


def embedding_steps(
    samples: fo.core.collections.SampleCollection, *, what: str = "images", label_field: str = DEFAULT,
    embeddings_field: str | None = None, checkpoint: str | None = None, device: str | None = None,
    batch_size: int = 8, skip_existing: bool = False, distribute: str | None = None, workers: int | None = None,
) -> Iterator[Step]:  # fmt: skip
    """As :func:`embed_images` and :func:`embed_instances`, a batch a step, for whoever shows progress.

    Args:
        samples: see there.
        what: "images" or "instances".
        label_field: of instances, their field.
        embeddings_field: a field, or of instances an attribute of labels. Default: ``sam3_embedding`` or ``embedding``.
        checkpoint: folder or hub id. Default: what the ledger was asked of, else Meta's weights if they are on this
            machine, else the tiny one.
        device: None takes the best there is.
        batch_size: images encoded together.
        skip_existing: leave out images that have a vector, or all of whose labels have one.
        distribute: "ray" has worker processes do it, on this machine or on a cluster. None: this process.
        workers: how many. None: one a GPU of the cluster, or, if it has none, one a core.

    Yields:
        progress, first with nothing done.

    Raises:
        CurationError: no images, fields that hold something else, at the first step; settings of the model that make
            no sense, vectors of another checkpoint that are to stay, or workers that cannot do it, at the second;
            before anything is changed.
    """
    dataset = samples._root_dataset
    check_whole(samples)
    check_known(what, WHAT, "thing to embed")
    embeddings_field = FIELDS[what] if embeddings_field is None else embeddings_field
    if isinstance(batch_size, bool) or not isinstance(batch_size, Integral) or batch_size < 1:
        raise CurationError(f"batch_size={batch_size!r} must be a whole number above 0")
    try:
        check_distribute(distribute, workers)
        check_images(samples)
    except ConceptError as error:
        raise CurationError(str(error).replace("concept segmentation needs images", "images are needed here")) from None
    found_in = check_field(samples, label_field, "label_field") if what == "instances" else None
    path = _check_path(dataset, found_in, embeddings_field)
    todo = _todo(samples, found_in, path, skip_existing)
    if not len(samples) or found_in is not None and not samples.count(f"{found_in}.detections"):
        raise CurationError(f"There is nothing to embed: no {what} in these samples")
    ids = todo.values("id")
    yield Step(0, len(ids))
    book = (ledger_of(dataset, found_in) if found_in else None) or Ledger(DEFAULT)
    try:
        model = load_model(
            "concepts/sam3-image", checkpoint=checkpoint or usual_checkpoint(dataset, book), device=device
        )
    except (ConceptError, CheckpointError) as error:
        raise CurationError(str(error)) from None
    width = _check_width(samples, path, model, skip_existing)
    done, failed = set[str](), dict[str, str]()
    try:
        with _crew(distribute, workers, dataset, ids, model, path, found_in, batch_size) as crew:
            if path not in dataset.get_field_schema(flat=True):
                dataset.add_sample_field(path, fo.VectorField)
            for part, reasons in _parts(crew, dataset, ids, model, path, found_in, batch_size):
                _note(dataset, book, part, path, reasons)
                for one in part:  # which may have been tried before, by a worker that died
                    failed.pop(one, None)
                failed |= reasons
                done.update(part)
                yield Step(len(done), len(ids), len(failed))
    except (ConceptError, CheckpointError) as error:
        raise CurationError(str(error)) from None
    yield Step(len(ids), len(ids), len(failed), Embedded(what, path, samples.count(path), width, failed))


def _crew(
    distribute: str | None, workers: int | None, dataset: fo.Dataset, ids: list[str], model: Any, path: str,
    found_in: str | None, batch_size: int,
) -> Any:
    """Worker processes as a context, or None where there is none, or nothing to do."""
    if distribute is None or not ids:
        return nullcontext()
    how = dict(path=path, found_in=found_in, batch_size=batch_size)
    return gathered(model, dataset, "embeddings", how, workers=workers, most=-(-len(ids) // batch_size))


def _parts(
    crew: Any, dataset: fo.Dataset, ids: list[str], model: Any, path: str, found_in: str | None, batch_size: int
) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Ids of what is done by now, and why some of it could not be."""
    if crew is not None:
        yield from embed_parts(crew, ids, batch_size)
        return
    for start in range(0, len(ids), batch_size):
        part = ids[start : start + batch_size]
        yield part, embed_part(dataset, part, model, path, found_in)


def _note(dataset: fo.Dataset, book: Ledger, ids: Sequence[str], path: str, reasons: Mapping[str, str]) -> None:
    """Keep why some could not be embedded; what went well clears what went wrong before, and nothing else."""
    if book.error not in dataset.get_field_schema():
        if not reasons:
            return
        dataset.add_sample_field(book.error, fo.StringField)
    held = dict(zip(*dataset.select(ids).values(["id", book.error]), strict=True))
    said = {one: f"{path}: {reason}" for one, reason in reasons.items()}
    said |= {one: None for one in ids if one not in reasons and (held[one] or "").startswith(f"{path}: ")}
    if said:
        dataset.set_values(book.error, said, key_field="id")


def _check_path(dataset: fo.Dataset, found_in: str | None, name: str) -> str:
    """The full path of the vectors."""
    if not isinstance(name, str) or not name.isidentifier() or name.startswith("_"):
        raise CurationError(f"embeddings_field={name!r} must be a plain word, such as {FIELDS['images']!r}")
    path = name if found_in is None else f"{found_in}.detections.{name}"
    held = dataset.get_field_schema(flat=True).get(path)
    kind = None if isinstance(held, (fo.VectorField, type(None))) else type(held).__name__
    if held is None and found_in is not None:  # attributes need not be declared
        if hasattr(fo.Detection(), name):
            kind = "what belongs to every label"
        some = dataset.match(F(f"{found_in}.detections").filter(F(name).exists()).length() > 0).limit(1)
        values = [d[name] for sample in some for d in sample[found_in].detections if d.has_field(name)]
        kind = next((type(v).__name__ for v in values if v is not None and not isinstance(v, np.ndarray)), kind)
    if kind is not None:
        raise CurationError(f"embeddings_field={name!r} holds {kind}, not vectors: choose another")
    return path


def _todo(
    samples: fo.core.collections.SampleCollection, found_in: str | None, path: str, skip_existing: bool
) -> fo.core.collections.SampleCollection:
    """The samples to look at."""
    known = skip_existing and path in samples.get_field_schema(flat=True)
    if found_in is None:
        return samples.exists(path, bool=False) if known else samples
    missing = F(path.rsplit(".", 1)[1]).exists(False) if known else None
    held = F(f"{found_in}.detections")
    return samples.match((held if missing is None else held.filter(missing)).length() > 0)


def _check_width(
    samples: fo.core.collections.SampleCollection, path: str, model: Any, skip_existing: bool
) -> int:
    """How many numbers a vector has; refuses to stand beside those of another checkpoint."""
    width = int(model.detector.checkpoint.model.config.detr_encoder_config.hidden_size)
    if skip_existing and path in samples.get_field_schema(flat=True):
        one = next((v for v in _flat(samples.exists(path).limit(1).values(path)) if v is not None), None)
        if one is not None and len(one) != width:
            raise CurationError(
                f"{path!r} holds vectors of {len(one)} numbers, and this checkpoint makes {width}: make all of them "
                "anew (skip_existing=False), or choose another field"
            )
    return width


def _flat(held: Sequence[Any]) -> Iterator[Any]:
    for one in held:
        if isinstance(one, list):
            yield from _flat(one)
        else:
            yield one
