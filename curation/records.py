"""Findings in the database: each is a FiftyOne run, under a key, with the fields that it wrote.

So they can be listed, loaded by another process (the panel), replaced by the next run of the same key, and deleted
without a trace.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import fiftyone as fo

from .answers import remembered
from .errors import CurationError

# The App asks from several threads at once, and FiftyOne gives them all the same open file.
_READING = threading.Lock()
#: methods of records that are no findings, and what is done with them
_UNDONE = {"sam3_policy": "undo_policy", "sam3_change": "undo_change"}
#: what makes findings of a kind, where it is not called "find_" and the kind
_MADE = {
    "sam3_review": "build_review", "sam3_exhaustivity": "check_exhaustivity", "sam3_subset": "choose_subset",
    "sam3_wordings": "compare_wordings",
}  # fmt: skip
#: attributes that labels have, declared or not
_OWN = {name for name in dir(fo.Detection()) if not name.startswith("_")}


@dataclass(frozen=True)
class Marks:
    """What a finding left beside its fields: tags on samples, and saved views."""

    tags: tuple[str, ...] = ()
    views: tuple[str, ...] = ()


def check_key(dataset: fo.Dataset, key: str, method: str, paths: Iterable[str] = ()) -> None:
    """Refuse a key that is something else already, or whose ``paths`` are.

    Raises:
        CurationError: naming what it is.
    """
    if not isinstance(key, str) or not key.isidentifier() or key.startswith("_"):
        raise CurationError(f"key={key!r} must be a plain word, such as {method.removeprefix('sam3_')!r}")
    if dataset.has_run(key):
        other = dataset.get_run_info(key).config.method
        if other != method:
            raise CurationError(f"key={key!r} is already the name of a run ({other}): choose another")
        return
    frames = dataset.get_frame_field_schema(flat=True) or ()
    flat = {*dataset.get_field_schema(flat=True), *(f"frames.{name}" for name in frames)}
    clash = next((path for path in paths if path in flat or path.rsplit(".", 1)[-1] in _OWN), None)
    if clash is not None:
        raise CurationError(f"key={key!r} would overwrite {clash!r}, which it did not make: choose another")
    schema = dataset.get_field_schema()
    taken = [name for name in schema if name == key or name.startswith(f"{key}_")]
    if taken:
        raise CurationError(
            f"key={key!r} would write beside the field {taken[0]!r}, which it did not make: choose another"
        )
    if dataset.has_evaluation(key) or dataset.has_brain_run(key):
        raise CurationError(f"key={key!r} is already the name of an evaluation or a brain run: choose another")


def store(
    dataset: fo.Dataset, key: str, method: str, config: Mapping[str, Any], results: Mapping[str, Any],
    fields: Iterable[str] = (), tags: Iterable[str] = (), views: Iterable[str] = (),
) -> None:  # fmt: skip
    """Store a finding; an earlier one of that key is replaced.

    Args:
        dataset: the dataset.
        key: its name.
        method: what kind of finding.
        config: how it came about; small, plain values.
        results: what was found; plain values of any size.
        fields: full paths of what was written on samples, frames and labels, to be deleted with it.
        tags, views: tags that samples got, and views that were saved, likewise.
    """
    if dataset.has_run(key):
        dataset.delete_run(key)
    record = dataset.init_run()
    record.method = method
    record.made = datetime.now(timezone.utc).isoformat(timespec="seconds")
    record.fields = list(fields)
    record.tags, record.views = list(tags), list(views)
    for name, value in config.items():
        setattr(record, name, value)
    dataset.register_run(key, record)
    held = dataset.init_run_results(key)
    for name, value in results.items():
        setattr(held, name, value)
    dataset.save_run_results(key, held, overwrite=True)


def load(dataset: fo.Dataset, key: str, method: str) -> tuple[dict[str, Any], Any]:
    """A finding's config and results.

    Raises:
        CurationError: there is none of that key, or it is of another kind.
    """
    dataset = dataset._root_dataset
    check_found(dataset, key, method)
    info = dataset.get_run_info(key)
    with _READING:
        stamp = "record", str(dataset._doc.id), key, str(info.timestamp)
        held = remembered(stamp, lambda: dataset.load_run_results(key, cache=False))
    return info.config.serialize(), held


def check_found(dataset: fo.Dataset, key: str, method: str) -> None:
    """Refuse a key under which nothing of the kind was found.

    Raises:
        CurationError: naming those that there are, or what finds some.
    """
    known = findings(dataset, method)
    if key not in known:
        kind = method.removeprefix("sam3_")
        there = f"there {'is' if len(known) == 1 else 'are'} {', '.join(map(repr, known))}"
        todo = there if known else f"run {_MADE.get(method, 'find_' + kind)}() first"
        raise CurationError(f"{dataset._root_dataset.name!r} has no {kind} {key!r}; {todo}")


def findings(dataset: fo.Dataset, method: str) -> list[str]:
    """Keys of the findings of a kind, oldest first."""
    return list(dataset._root_dataset.list_runs(method=method))


def delete_findings(dataset: fo.Dataset, key: str) -> None:
    """Delete a finding and everything that it wrote on samples and labels; of a view, that of its dataset.

    Raises:
        CurationError: there is none of that key.
    """
    dataset = dataset._root_dataset
    stored = [name for name in dataset.list_runs() if hasattr(dataset.get_run_info(name).config, "made")]  # by store()
    if key not in stored:
        there = f"it has {', '.join(map(repr, stored))}" if stored else "nothing was found there yet"
        raise CurationError(f"{dataset.name!r} has no findings {key!r}; {there}")
    undo = _UNDONE.get(dataset.get_run_info(key).config.method)
    if undo:  # its record holds what it took away
        raise CurationError(f"{key!r} changed labels, and its record can bring them back: use {undo}(dataset, {key!r})")
    erase(dataset, key)
    dataset.delete_run(key)


def erase(dataset: fo.Dataset, key: str) -> None:
    """Delete what the last run of a key wrote: fields, tags and saved views; its record stays."""
    clear(dataset, written_by(dataset, key))
    marks = marks_of(dataset, key)
    if marks.tags:
        tagged = dataset.match_tags(list(marks.tags))
        tagged.untag_samples(list(marks.tags))
    for view in marks.views:
        if dataset.has_saved_view(view):
            dataset.delete_saved_view(view)


def marks_of(dataset: fo.Dataset, key: str) -> Marks:
    """Tags and saved views of the last run of a key."""
    if not dataset.has_run(key):
        return Marks()
    config = dataset.get_run_info(key).config
    return Marks(*(tuple(getattr(config, name, None) or ()) for name in ("tags", "views")))


def clear(dataset: fo.Dataset, paths: Iterable[str]) -> None:
    """Delete fields, wherever they are; those that are not there already are no error."""
    flat, frames = dataset.get_field_schema(flat=True), dataset.get_frame_field_schema(flat=True) or {}
    own = [path for path in paths if path in flat]
    if own:
        dataset.delete_sample_fields(own)
    framed = [path.removeprefix("frames.") for path in paths if path.startswith("frames.")]
    framed = [path for path in framed if path in frames]
    if framed:
        dataset.delete_frame_fields(framed)


def written_by(dataset: fo.Dataset, key: str) -> list[str]:
    """Paths that the last run of a key wrote; of labels whose field was renamed since, where they are now."""
    if not dataset.has_run(key):
        return []
    written = list(getattr(dataset.get_run_info(key).config, "fields", None) or ())
    frames = dataset.get_frame_field_schema(flat=True) or ()
    there = [*dataset.get_field_schema(flat=True), *(f"frames.{name}" for name in frames)]
    lost = {path.rsplit(".", 1)[1] for path in written if ".detections." in path and path not in there}
    lost = {name for name in lost if name == key or name.startswith(f"{key}_")}  # others may be anybody's
    moved = [path for path in there if ".detections." in path and path.rsplit(".", 1)[1] in lost]
    return list(dict.fromkeys([*written, *moved]))


def declare(dataset: fo.Dataset, kinds: Mapping[str, Any]) -> None:
    """Declare fields, path → type of field, so that the App's sidebar and queries know them."""
    framed = {path.removeprefix("frames."): kind for path, kind in kinds.items() if path.startswith("frames.")}
    own = {path: kind for path, kind in kinds.items() if not path.startswith("frames.")}
    for schema, add, wanted in (
        (dataset.get_field_schema(flat=True), dataset.add_dynamic_sample_fields, own),
        (dataset.get_frame_field_schema(flat=True) or (), dataset.add_dynamic_frame_fields, framed),
    ):
        # all at once: FiftyOne rewrites the whole schema for each call
        new = {path: kind() for path, kind in wanted.items() if path not in schema}
        if new:
            add(fields=new)
