"""Which split of an export each sample belongs to: by a field, or by tags."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import fiftyone as fo

from ..checks import check_known, check_words, listed
from ..errors import CurationError

#: tags that are splits, where it is only said that there are some
USUAL = ("train", "val", "validation", "test")
_NAME = re.compile(r"[\w-][\w.-]*")


def read_splits(
    samples: fo.core.collections.SampleCollection, splits: Any, subset: str | None
) -> tuple[dict[str, str], list[str]]:
    """The split of each sample that has one, by its id.

    Args:
        samples: a dataset or view.
        splits: None or False: one export without splits; True: those of the subset, of the only field whose name ends
            with ``_split``, or of the usual tags; a field; a tag, or several.
        subset: the key of a subset, whose splits, if it has any, are in ``<key>_split``: only its samples are exported.

    Returns:
        sample id → split, "" where there are none; and what is to be said about it.

    Raises:
        CurationError: no such field or tags, a sample with two of them, no sample with any, or a name that no folder
            can have.
    """
    ids = samples.values("id")
    members = None if subset is None else _members(samples, subset)
    if splits is False or (splits is None and subset is None):
        held: list[str | None] = [""] * len(ids)
        source = ""
    elif splits is True and subset is None or isinstance(splits, (str, list, tuple)):
        source, held = _said(samples, splits)
    elif splits is None or splits is True:
        source, held = f"{subset}_split", _of_field(samples, f"{subset}_split")
        if not any(held):
            if splits:
                raise CurationError(f"splits=True: the subset {subset!r} is not split; leave splits out")
            source, held = "", [""] * len(ids)
    else:
        raise CurationError(f"splits={splits!r} must be True, a field such as 'subset_split', or tags")
    if members is not None:
        ids, held = ([one for one, keep in zip(column, members, strict=True) if keep] for column in (ids, held))
        if not ids:
            raise CurationError(f"There is nothing to export: none of these samples is in the subset {subset!r}")
    found = {number: split for number, split in zip(ids, held, strict=True) if split is not None}
    if not found:
        raise CurationError(f"There is nothing to export: no sample has a split by {source}")
    for name in sorted(set(found.values()) - {""}):
        if not _NAME.fullmatch(name):
            key, _, rest = name.partition(":")
            way = f"say subset={key!r}, whose splits these tags are" if key and rest else "rename the split"
            raise CurationError(f"splits: {name!r} cannot be the name of a folder; {way}")
    folded = Counter(name.casefold() for name in set(found.values()))
    if max(folded.values()) > 1:
        raise CurationError(f"splits: {sorted(set(found.values()))} differ by capitals only; rename one")
    lost = len(ids) - len(found)
    return found, [f"{lost} samples have no split by {source}: left out"] if lost else []


def _said(samples: fo.core.collections.SampleCollection, splits: Any) -> tuple[str, list[str | None]]:
    """Where the splits are, and each sample's."""
    tags = samples.distinct("tags")
    if splits is True:
        fields = [name for name in _text_fields(samples) if name.endswith("_split") or name == "split"]
        if len(fields) == 1:
            return repr(fields[0]), _of_field(samples, fields[0])
        usual = [tag for tag in USUAL if tag in tags]
        if fields or not usual:
            there = f"there are the fields {listed(fields)}" if fields else f"no field, and none of the tags {USUAL}"
            raise CurationError(f"splits=True: which? {there}. Say splits='…', a field or tags")
        return f"the tags {listed(usual)}", _of_tags(samples, usual)
    if isinstance(splits, str) and samples.has_field(splits):
        return repr(splits), _of_field(samples, splits)
    wanted = list(dict.fromkeys(check_words(splits, "splits")))
    if not wanted:
        raise CurationError("splits=[] names no tags")
    for name in wanted:
        if name not in tags:
            check_known(name, [*_text_fields(samples), *tags], "field or tag of splits")
            raise CurationError(f"splits={splits!r}: {name!r} is neither a field nor a tag of these samples")
    return f"the tags {listed(wanted)}", _of_tags(samples, wanted)


def _of_field(samples: fo.core.collections.SampleCollection, field: str) -> list[str | None]:
    kind = samples.get_field(field)
    if not isinstance(kind, fo.StringField):
        kind = getattr(kind, "document_type", type(kind))
        if kind is not fo.Classification:
            raise CurationError(f"splits={field!r} holds {kind.__name__}; names of splits are needed, such as 'train'")
        field = f"{field}.label"
    return [held or None for held in samples.values(field)]


def _of_tags(samples: fo.core.collections.SampleCollection, wanted: Sequence[str]) -> list[str | None]:
    held = [[tag for tag in wanted if tag in (tags or ())] for tags in samples.values("tags")]
    twice = [tags for tags in held if len(tags) > 1]
    if twice:
        raise CurationError(f"splits: {len(twice)} samples have several of the tags, such as {twice[0]}: one is wanted")
    return [tags[0] if tags else None for tags in held]


def _members(samples: fo.core.collections.SampleCollection, subset: str) -> list[bool]:
    """Which samples are in a subset: those with a split, or, where nothing was split, with a role."""
    columns = [_of_field(samples, _subset_field(samples, subset))]
    if samples.has_field(f"{subset}_role"):
        columns.append(_of_field(samples, f"{subset}_role"))
    return [any(held) for held in zip(*columns, strict=True)]


def _subset_field(samples: fo.core.collections.SampleCollection, subset: str) -> str:
    field = f"{subset}_split"
    if not isinstance(subset, str) or not samples.has_field(field):
        known = [name.removesuffix("_split") for name in _text_fields(samples) if name.endswith("_split")]
        there = f"there are {listed(known)}" if known else "none was chosen yet: choose_subset() does"
        raise CurationError(f"subset={subset!r}: {samples._root_dataset.name!r} has no field {field!r}; {there}")
    return field


def _text_fields(samples: fo.core.collections.SampleCollection) -> list[str]:
    return [name for name, field in samples.get_field_schema().items() if type(field) is fo.StringField]
