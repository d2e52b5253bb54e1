"""Where a subset is kept: tags, fields and a saved view for people, and a run to load it from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import fiftyone as fo
import fiftyone.core.utils as fou

from .. import records
from ..errors import CurationError
from .result import METHOD, Chosen, Share, Subset

#: what is written on samples, and what of :class:`Chosen` it holds
_FIELDS = {"split": fo.StringField, "role": fo.StringField, "concept": fo.StringField, "because": fo.StringField}


def tags_of(key: str, splits: Iterable[str]) -> list[str]:
    """The tag of the subset, and those of its splits: ``subset``, ``subset:train``, …"""
    return [key, *(f"{key}:{split}" for split in splits)]


def check_free(dataset: fo.Dataset, key: str, splits: Iterable[str]) -> None:
    """Refuse a key whose tags or view are something else already.

    Raises:
        CurationError: naming what it is.
    """
    records.check_key(dataset, key, METHOD)
    before = records.marks_of(dataset, key)
    taken = set(dataset.distinct("tags")).intersection(tags_of(key, splits)).difference(before.tags)
    if taken:
        raise CurationError(
            f"key={key!r}: samples are already tagged {sorted(taken)[0]!r}, and not by a subset: choose another, or "
            "remove the tag"
        )
    views = {fou.to_slug(name): name for name in dataset.list_saved_views()}
    held = views.get(fou.to_slug(key))
    if held is not None and held not in before.views:
        raise CurationError(f"key={key!r}: there is a saved view {held!r} already, not of a subset: choose another")


def write(dataset: fo.Dataset, subset: Subset, settings: dict[str, Any]) -> None:
    """Tags, fields, the view, and the record; those of an earlier subset of the key go."""
    key = subset.key
    records.erase(dataset, key)
    paths = {f"{key}_{name}": kind for name, kind in _FIELDS.items()}
    records.declare(dataset, paths)
    for name in _FIELDS:
        values = {one.sample_id: getattr(one, name) for one in subset.chosen}
        dataset.set_values(f"{key}_{name}", values, key_field="id")
    dataset.select([one.sample_id for one in subset.chosen]).tag_samples(key)
    for split in subset.splits:
        ids = [one.sample_id for one in subset.of(split)]
        if ids:
            dataset.select(ids).tag_samples(f"{key}:{split}")
    about = "Chosen for training: " + ", ".join(f"{n} {role}" for role, n in subset.counts.items())
    dataset.save_view(key, dataset.match_tags(key), description=about)
    records.store(
        dataset, key, METHOD, dict(asked=subset.asked, counts=subset.counts, sizes=subset.sizes, settings=settings),
        dict(
            chosen=[asdict(one) for one in subset.chosen], shares=[asdict(one) for one in subset.shares],
            splits=dict(subset.splits), pool=dict(subset.pool), notes=list(subset.notes),
            ambiguous=list(subset.ambiguous),
        ), fields=paths, tags=tags_of(key, subset.splits), views=[key],
    )  # fmt: skip


def load_subset(dataset: fo.Dataset, key: str = "subset") -> Subset:
    """What was chosen earlier.

    Raises:
        CurationError: there was none of that key.
    """
    config, held = records.load(dataset, key, METHOD)
    return Subset(
        key, config["asked"], tuple(Chosen(**row) for row in held.chosen), tuple(Share(**row) for row in held.shares),
        dict(held.splits), dict(held.pool), tuple(held.notes),
        tuple(held.ambiguous),
    )  # fmt: skip
