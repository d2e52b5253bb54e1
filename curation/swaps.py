"""Asking swapped phrases: "blue cap" where there is a red cap. The only part of curation that runs the network.

Each image is encoded once for all of its phrases, and only images with something to swap are asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import fiftyone as fo
from fiftyone import ViewField as F

from .answers import check_concepts, check_ledger, thresholds_of
from .attributes import swaps, swaps_to_ask
from .errors import CurationError
from .instances import check_field
from .label_errors import ledger_name

if __package__ == "curation":
    from zoo.ledger import DEFAULT, Ledger
    from zoo.provenance import instances_fields, run_info
    from zoo.segment import Progress, build_model, segment
else:
    from ..zoo.ledger import DEFAULT, Ledger
    from ..zoo.provenance import instances_fields, run_info
    from ..zoo.segment import Progress, build_model, segment


def ask_swaps(
    samples: fo.core.collections.SampleCollection, label_field: str = DEFAULT, *,
    concepts: Sequence[str] | None = None, limit: int = 3, batch_size: int = 8, **model: Any,
) -> Iterator[Progress]:  # fmt: skip
    """Ask the swapped phrases of concepts where these are present; answers join the same ledger and label field.

    Args:
        samples: a dataset or view of images.
        label_field: the instances, whose ledger is read and written.
        concepts: with attributes, such as "red cap". Default: all that were asked and have one.
        limit: phrases for each attribute.
        batch_size: images encoded together.
        **model: of ``load_zoo_model("concepts/sam3-image", …)``: ``checkpoint`` and so on. Default: as the record says
            that the concepts were asked.

    Yields:
        progress, as of ``zoo.segment.segment``.

    Raises:
        CurationError: no ledger, a field that holds the instances of none, unknown concepts, or none with an attribute
            that can be swapped.
    """
    path = check_field(samples, label_field, "label_field")
    name = ledger_name(samples._root_dataset, path)
    book: Ledger = check_ledger(samples, name)
    fields = instances_fields(samples._root_dataset, Ledger(name, frames=path.startswith("frames.")))
    if path.removeprefix("frames.") not in fields:
        raise CurationError(f"label_field {path!r} holds nothing that SAM 3 found: its instances are in {list(fields)}")
    wanted = [concept for concept in check_concepts(samples, concepts, name) if swaps(concept, limit)]
    if not wanted:
        raise CurationError(
            "No concept has an attribute that can be swapped, such as the colour in 'red cap': there is nothing to ask"
        )
    new = swaps_to_ask(check_concepts(samples, None, name), limit) if concepts is None else swaps_to_ask(wanted, limit)
    known = set(check_concepts(samples, None, name))
    new = tuple(phrase for phrase in new if phrase not in known)
    levels = thresholds_of(samples, name)
    there = samples.match(F.any([F(book.path("presence", concept)) >= levels[concept] for concept in wanted]))
    if not new or not len(there):
        yield Progress(0, 0, 0, 0)
        return
    asking = build_model(list(new), ledger=name, **_as_asked(samples._root_dataset, name, wanted[0], model))
    yield from segment(there, asking, label_field, batch_size=batch_size, skip_existing=True)


def _as_asked(dataset: fo.Dataset, ledger: str, concept: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the model: what was said, else what the record has of an earlier concept."""
    entry = (run_info(dataset, ledger).get("concepts") or {}).get(concept, {})
    kept = {name: entry.get(name) for name in ("checkpoint", "confidence_thresh", "floor", "cls_token")}
    return {name: value for name, value in {**kept, **said}.items() if value is not None}
