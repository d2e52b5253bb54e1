"""Changes of labels that can be taken back: what was there before is kept, as far as it became different.

Whatever makes a change, the model or a person's decision, the pattern is one: look (:class:`Before`), change, keep.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import bson
import fiftyone as fo
from bson import json_util

from . import records
from .errors import CurationError

if __package__ == "curation":
    from zoo.ledger import Ledger, field_of
    from zoo.provenance import run_info, set_entry
else:
    from ..zoo.ledger import Ledger, field_of
    from ..zoo.provenance import run_info, set_entry

METHOD = "sam3_change"
#: changes that can be undone; of older ones nothing is kept
MOST = 20
_KINDS = ("presence", "score", "count")
#: of an attribute that a label had not, where what it was is kept
_GONE = {"none of it": True}


@dataclass(frozen=True)
class Change:
    """What was done to labels.

    Attributes:
        key: of its record, for :func:`undo_change`.
        what: in words.
        fields: with labels that are different now.
        samples: how many samples have such labels.
        added, removed, changed: labels; one that is drawn anew under its old id is changed.
    """

    key: str
    what: str
    fields: tuple[str, ...]
    samples: int
    added: int
    removed: int
    changed: int

    def __str__(self) -> str:
        parts = [f"{n} {word}" for n, word in zip((self.added, self.removed, self.changed), _WORDS, strict=True) if n]
        where = f"{self.samples} sample{'s' if self.samples != 1 else ''}"
        return f"{self.what}: {', '.join(parts) or 'nothing is different'}, in {where}"


_WORDS = ("labels added", "gone", "changed")


class Before:
    """Labels, and the ledger's numbers, of some samples as they are now.

    Args:
        dataset: of images.
        ids: samples that may change.
        fields: of ``Detections`` that may change; they need not exist. Labels of the first are counted.
        book: the ledger whose numbers may change, if one may.
        concepts: of which.
    """

    def __init__(
        self, dataset: fo.Dataset, ids: Sequence[str], fields: Sequence[str], book: Ledger | None = None,
        concepts: Sequence[str] = (),
    ) -> None:
        self._dataset, self._ids, self._fields = dataset, list(ids), tuple(dict.fromkeys(fields))
        self._book, self._concepts = book, tuple(concepts)
        schema = dataset.get_field_schema()
        self._new = [field for field in self._fields if field not in schema]
        known = {} if book is None else run_info(dataset, book.name).get("concepts") or {}
        self._entries = {label: known.get(label) for label in self._concepts}
        self._held = {sample: (labels, numbers) for sample, labels, numbers in self._look()}

    @contextlib.contextmanager
    def watching(self, what: str) -> Iterator[None]:
        """Let changes happen. What is cut short, by an error or by whoever watches, can be undone as far as it came."""
        try:
            yield
        except BaseException:
            change = self.keep(f"{what}, cut short")
            if not change.samples:
                self._dataset.delete_run(change.key)
            raise

    def keep(self, what: str) -> Change:
        """Store what became different since, so that it can be undone.

        Args:
            what: was done, in words.
        """
        self._dataset.reload()
        before: dict[str, Any] = {"labels": {}, "numbers": {}, "entries": self._entries}
        counts = {"added": 0, "removed": 0, "changed": 0}
        for sample, labels, numbers in self._look():  # one at a time: what is there now may be much, and is not kept
            old_labels, old_numbers = self._held[sample]
            states = {field: _difference(old_labels[field], labels[field]) for field in self._fields}
            states = {field: state for field, state in states.items() if state is not None}
            for name in counts:
                counts[name] += len(states.get(self._fields[0], {}).get(name, ()))
            changed = {place: was for place, was in old_numbers.items() if was != numbers.get(place)}
            before["labels"] |= {sample: states} if states else {}
            before["numbers"] |= {sample: changed} if changed else {}
        key = _free_key(self._dataset)
        fields = tuple(dict.fromkeys(field for states in before["labels"].values() for field in states))
        change = Change(key, what, fields, len(before["labels"]), **counts)
        config = {name: getattr(change, name) for name in Change.__dataclass_fields__ if name != "key"}
        config |= {"fields_changed": list(config.pop("fields")), "ledger": self._book and self._book.name}
        # MongoDB's own JSON: masks are bytes, ids are ObjectIds
        records.store(self._dataset, key, METHOD, config, {"before": json_util.dumps(before)}, self._new)
        for old in recorded_changes(self._dataset)[:-MOST]:
            self._dataset.delete_run(old.key)
        return change

    def _look(self) -> Iterator[tuple[str, dict[str, list[dict] | None], dict[str, Any]]]:
        """For each sample its id, its labels by field, and the ledger's numbers by place."""
        schema = self._dataset.get_field_schema()
        held = [field for field in self._fields if field in schema]
        books = [] if self._book is None else [getattr(self._book, kind) for kind in _KINDS]
        books = [field for field in books if field in schema]
        for sample in self._dataset.select(self._ids).select_fields([*held, *books]):
            labels = dict.fromkeys(self._fields) | {
                field: sample[field] and [label.to_dict() for label in sample[field].detections] for field in held
            }
            numbers = {
                f"{field}|{field_of(label)}": number(sample, field, label)
                for field in books for label in self._concepts
            }
            yield sample.id, labels, numbers


def recorded_changes(dataset: fo.Dataset) -> list[Change]:
    """What was done and not undone, oldest first."""
    found = []
    for key in records.findings(dataset, METHOD):
        held = dataset._root_dataset.get_run_info(key).config.serialize()
        numbers = {name: held[name] for name in ("what", "samples", "added", "removed", "changed")}
        found.append(Change(key, fields=tuple(held["fields_changed"]), **numbers))
    return sorted(found, key=lambda one: int(one.key.rsplit("_", 1)[1]))


def undo_change(dataset: fo.Dataset, key: str | None = None) -> Change:
    """Put back what a change did away with, take away what it added, and forget it.

    Labels that were edited since keep what the change had not touched; labels that it added stay if they were edited.

    Args:
        dataset: the dataset, or a view of it.
        key: which, see :func:`recorded_changes`. Default: the last one.

    Returns:
        what was undone.

    Raises:
        CurationError: there is none; a later one changed the same labels, and has to be undone first.
    """
    dataset = dataset._root_dataset
    known = recorded_changes(dataset)
    if not known:
        raise CurationError(f"No change of labels is recorded in {dataset.name!r}: there is nothing to undo")
    key = known[-1].key if key is None else key
    places = [k for k, one in enumerate(known) if one.key == key]
    if not places:
        raise CurationError(f"{dataset.name!r} has no change {key!r}; it has {[one.key for one in known]}")
    before, book = _before(dataset, key)
    for later in known[places[0] + 1 :]:
        theirs, _ = _before(dataset, later.key)
        if any(set(states) & set(theirs["labels"].get(sample, ())) for sample, states in before["labels"].items()):
            raise CurationError(f"{later.key!r} ({later.what}) came later and changed the same labels: undo it first")
    touched = list(dict.fromkeys([*before["labels"], *before["numbers"]]))
    for sample in dataset.select(touched).iter_samples(autosave=True):  # those deleted since are not missed
        for field, state in before["labels"].get(sample.id, {}).items():
            restore_labels(sample, field, state)
        restore_numbers(sample, before["numbers"].get(sample.id, {}))
    for label, entry in before["entries"].items():
        set_entry(dataset, book, label, entry)
    fields = [field for field in records.written_by(dataset, key) if field in dataset.get_field_schema()]
    records.clear(dataset, [field for field in fields if not dataset.count(f"{field}.detections")])
    dataset.delete_run(key)
    dataset.reload()
    return known[places[0]]


def restore_labels(sample: Any, field: str, state: Mapping[str, Any]) -> None:
    """Put back the labels of one sample; whoever holds it saves it.

    Args:
        sample: the sample.
        field: of ``Detections``.
        state: ``removed``: labels as dictionaries; ``changed``: id → attribute → what it was; ``order``: of ids, or
            None; and perhaps ``added``: id → digest, of labels that go, unless somebody edited them since; ``none``:
            whether the field was empty.
    """
    held = sample[field]
    if held is None:  # somebody deleted all of them since
        return
    added = state.get("added") or {}
    here = {label.id: label for label in held.detections if added.get(label.id) != _digest(label.to_dict())}
    for key, attributes in state["changed"].items():
        if key in here:
            now = here[key].to_dict() | attributes
            here[key] = fo.Detection.from_dict({name: value for name, value in now.items() if value != _GONE})
    for one in state["removed"]:
        label = fo.Detection.from_dict(one)
        here.setdefault(label.id, label)
    labels = list(here.values())
    if state["order"] is not None:
        rank = {key: k for k, key in enumerate(state["order"])}
        labels = sorted(labels, key=lambda label: rank.get(label.id, len(rank)))
    sample[field] = None if state.get("none") and not labels else fo.Detections(detections=labels)


def restore_numbers(sample: Any, numbers: Mapping[str, Any]) -> None:
    """Put back the ledger's numbers of one sample, ``"field|name"`` → value."""
    for place, value in numbers.items():
        field, name = place.split("|", 1)
        if sample[field] is not None:
            sample[field][name] = value


def number(sample: Any, field: str, label: str) -> Any:
    """What a ledger's field says of a concept in one sample; None if nothing."""
    held = sample[field] if sample.has_field(field) else None
    name = field_of(label)
    return None if held is None or name not in held.field_names else held[name]


def _difference(before: list[dict] | None, after: list[dict] | None) -> dict[str, Any] | None:
    """The state from which :func:`restore_labels` makes ``before`` of ``after``; None where they are the same."""
    if before == after:
        return None
    old, new = ({str(one["_id"]): one for one in side or ()} for side in (before, after))
    changed = {
        key: {name: old[key].get(name, _GONE) for name in {**old[key], **one} if old[key].get(name) != one.get(name)}
        for key, one in new.items() if key in old and one != old[key]
    }
    return {
        "order": list(old), "removed": [one for key, one in old.items() if key not in new], "changed": changed,
        "added": {key: _digest(one) for key, one in new.items() if key not in old}, "none": before is None,
    }  # fmt: skip


def _digest(label: dict[str, Any]) -> str:
    """Of a label as it is stored; fields that were declared since, and are empty, make no difference."""
    said = {name: value for name, value in sorted(label.items()) if value is not None}
    return hashlib.sha256(bson.encode(said)).hexdigest()[:16]


def _before(dataset: fo.Dataset, key: str) -> tuple[dict[str, Any], Ledger | None]:
    config, held = records.load(dataset, key, METHOD)
    return json_util.loads(held.before), Ledger(config["ledger"]) if config["ledger"] else None


def _free_key(dataset: fo.Dataset) -> str:
    return f"change_{free_number(dataset.list_runs(method=METHOD))}"


def free_number(keys: Iterable[str]) -> int:
    """One more than the largest number that keys such as "change_3" end with."""
    return max((int(key.rsplit("_", 1)[1]) for key in keys), default=0) + 1
