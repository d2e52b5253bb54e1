"""What is done about concepts that claim the same things, and how it is undone.

* keep: nothing; the decision is recorded;
* keep best: of two instances on the same pixels, the less confident goes;
* nest: the instance of the part, or of the narrower concept, gets the other's id as its ``parent``; it stays;
* relabel: instances of both get one name, those on the same pixels become one, and the ledger gets that concept as if
  it had been asked with the phrases of both.

A change rewrites the labels in place. What it takes away is kept with its record, so that :func:`undo_policy` puts back
exactly what was there, unless somebody changed these labels since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import fiftyone as fo
import numpy as np
from bson import json_util
from fiftyone import ViewField as F

from . import records
from .answers import USUAL_THRESHOLD, check_concepts, ledgers_of
from .changes import free_number, number, restore_labels, restore_numbers
from .checks import check_whole
from .cofire import PART, SAME_MASK
from .confusion import POLICIES
from .errors import CurationError
from .instances import Instances, Overlaps, check_field, compare
from .kin import a_kind

if __package__ == "curation":
    from zoo.engine.errors import ConceptError
    from zoo.ledger import DEFAULT, Ledger, declare, field_of
    from zoo.provenance import asked_phrases, ledger_of, run_info, set_entry
else:
    from ..zoo.engine.errors import ConceptError
    from ..zoo.ledger import DEFAULT, Ledger, declare, field_of
    from ..zoo.provenance import asked_phrases, ledger_of, run_info, set_entry

METHOD = "sam3_policy"


@dataclass(frozen=True)
class Applied:
    """What a policy did.

    Attributes:
        key: of its record, for :func:`undo_policy`.
        policy, first, second, parent: what was asked for.
        removed, changed: instances that went, and that got another name or a parent.
        samples: in how many samples.
    """

    key: str
    policy: str
    first: str
    second: str
    parent: str | None
    removed: int
    changed: int
    samples: int

    def __str__(self) -> str:
        what = {
            "keep": "both stay as they are",
            "keep best": f"{self.removed} less confident instances went",
            "nest": f"{self.changed} instances got a parent",
            "relabel": f"{self.changed} instances are {self.parent!r} now, {self.removed} doubles went",
        }[self.policy]
        return f"{self.first!r} and {self.second!r}: {what}, in {self.samples} samples (undo: {self.key!r})"


def apply_policy(
    samples: fo.core.collections.SampleCollection, first: str, second: str, policy: str, *,
    label_field: str = DEFAULT, parent: str | None = None, iou: float = SAME_MASK, use_masks: bool = True,
) -> Applied:  # fmt: skip
    """Settle what two concepts share.

    Args:
        samples: a dataset or view of images.
        first, second: two concepts that were asked. With "nest", ``first`` is the part or the narrower one.
        policy: one of "keep", "keep best", "nest", "relabel".
        label_field: the instances.
        parent: with "relabel", the name of both; may be one of them.
        iou: from which IoU on two instances are the same thing.
        use_masks: compare masks, where there are any; else boxes.

    Raises:
        CurationError: unknown concepts, policy or field, no parent to relabel to, labels of video frames.
    """
    dataset = samples._root_dataset
    path = check_field(samples, label_field, "label_field")
    if path.startswith("frames."):
        raise CurationError(
            "Policies change the labels of images; in videos, identities would break. Ask with one concept instead"
        )
    if policy not in POLICIES:
        raise CurationError(f"policy={policy!r}; want one of {list(POLICIES)}")
    book = ledger_of(dataset, path) or Ledger(path)
    if book.name not in ledgers_of(dataset):  # a view may leave its fields out; the change is the dataset's
        raise CurationError(f"{path!r} belongs to no ledger of {dataset.name!r}; it has {ledgers_of(dataset)}")
    check_whole(samples)
    check_concepts(samples, [first, second], book.name)
    if not len(samples):
        raise CurationError(f"There is nothing to settle: no samples in this dataset or view of {dataset.name!r}")
    if policy == "nest":
        _check_nesting(dataset, first, second)
    if first == second:
        raise CurationError(f"{first!r} cannot be settled with itself")
    if isinstance(iou, bool) or not isinstance(iou, Real) or not 0 < iou <= 1:
        raise CurationError(f"iou={iou!r} must be a number in (0, 1]")
    parent = parent.strip() if isinstance(parent, str) and policy == "relabel" else None
    if policy == "relabel":
        _check_parent(samples, first, second, parent)
    if parent in asked_phrases(dataset, book) and parent not in (first, second):
        raise CurationError(f"parent={parent!r} was asked itself, and has instances of its own: choose another name")
    key = _free_key(dataset)
    if policy == "keep":
        applied = Applied(key, policy, first, second, None, 0, 0, 0)
        return _record(dataset, applied, path, book, {}, {})
    chosen = samples.match(F(f"{path}.detections.label").contains([first, second]))
    found, among = _instances(chosen, path, use_masks)
    pairs = _oriented(found, among, first, second)
    wanted = Applied(key, policy, first, second, parent, 0, 0, 0)
    if policy == "nest":
        return _nest(dataset, wanted, path, book, found, pairs, iou)
    return _replace(dataset, wanted, path, book, found, _doubles(found, pairs, iou))


def undo_policy(dataset: fo.Dataset, key: str | None = None) -> Applied:
    """Put back what a policy changed, and forget it.

    Args:
        dataset: the dataset.
        key: which, see :func:`applied_policies`. Default: the last one.

    Returns:
        what was undone.

    Raises:
        CurationError: there is none; a later one changed the same concepts, and has to be undone first.
    """
    dataset = dataset._root_dataset
    known = applied_policies(dataset)
    if not known:
        raise CurationError(f"No policy was applied to {dataset.name!r}: there is nothing to undo")
    if key is None:
        key = known[-1].key
    places = [k for k, one in enumerate(known) if one.key == key]
    if not places:
        raise CurationError(f"{dataset.name!r} has no policy {key!r}; it has {[one.key for one in known]}")
    one, later = known[places[0]], known[places[0] + 1 :]
    names = {one.first, one.second, one.parent} - {None}
    for other in later:
        if names & {other.first, other.second, other.parent}:
            raise CurationError(f"{other.key!r} came later and changed the same concepts: undo it first")
    config, held = records.load(dataset, key, METHOD)
    path, book = config["label_field"], Ledger(config["ledger"])
    before = json_util.loads(held.before)
    for sample in dataset.select(list(before["labels"])).iter_samples(autosave=True):
        restore_labels(sample, path, before["labels"][sample.id])
        restore_numbers(sample, before["numbers"].get(sample.id, {}))
    if one.parent is not None:
        set_entry(dataset, book, one.parent, before["entry"])
        if before["entry"] is None and one.parent not in (one.first, one.second):
            records.clear(dataset, [book.path(kind, one.parent) for kind in ("presence", "score", "count")])
    if not any(other.policy == "nest" for other in later):
        records.clear(dataset, records.written_by(dataset, key))
    dataset.delete_run(key)
    dataset.reload()
    return one


def applied_policies(dataset: fo.Dataset) -> list[Applied]:
    """What was applied and not undone, oldest first."""
    found = []
    for key in records.findings(dataset, METHOD):
        config = dataset.get_run_info(key).config.serialize()
        found.append(Applied(key, **{name: config[name] for name in Applied.__dataclass_fields__ if name != "key"}))
    return sorted(found, key=lambda one: int(one.key.rsplit("_", 1)[1]))


def _check_nesting(dataset: fo.Dataset, inner: str, outer: str) -> None:
    if a_kind(outer, inner):
        raise CurationError(f"Every {outer!r} is {inner!r}: nest {outer!r} in {inner!r}, and not the other way round")
    for one in applied_policies(dataset):
        if one.policy == "nest" and (one.first, one.second) == (outer, inner):
            raise CurationError(f"{outer!r} is nested in {inner!r} already: undo {one.key!r} first")


def _check_parent(
    samples: fo.core.collections.SampleCollection, first: str, second: str, parent: str | None
) -> None:
    if not parent:
        raise CurationError(f"Say parent='…': the name that {first!r} and {second!r} get")
    try:
        field_of(parent)
    except ConceptError as error:
        raise CurationError(str(error)) from None
    if isinstance(samples, fo.DatasetView) and len(samples) != len(samples._root_dataset):
        raise CurationError(
            "A name belongs to the whole dataset: relabel it, not a view of it; the other policies take views"
        )


def _instances(samples: fo.core.collections.SampleCollection, path: str, use_masks: bool) -> tuple[Instances, Overlaps]:
    *_, (_, _, layout) = compare(samples, path, use_masks=use_masks)
    return layout.found, layout.among


def _oriented(
    found: Instances, among: Overlaps, first: str, second: str
) -> list[tuple[int, int, float, float]]:
    """Overlaps of the two concepts: instance of the first, of the second, IoU, and how much of the first is inside."""
    a, b = found.label[among.first], found.label[among.second]
    forth, back = (a == first) & (b == second), (a == second) & (b == first)
    one = zip(among.first[forth], among.second[forth], among.iou[forth], among.first_inside[forth], strict=True)
    two = zip(among.second[back], among.first[back], among.iou[back], among.second_inside[back], strict=True)
    return [(int(x), int(y), float(u), float(s)) for x, y, u, s in [*one, *two]]


def _doubles(found: Instances, pairs: Sequence[tuple[int, int, float, float]], iou: float) -> set[int]:
    """Places of the instances that go: of each pair on the same pixels the less confident, the most alike first."""
    gone: set[int] = set()
    for x, y, overlap, _ in sorted(pairs, key=lambda pair: -pair[2]):
        if overlap < iou or x in gone or y in gone:
            continue
        sure = np.nan_to_num(found.confidence[[x, y]], nan=1.0)
        gone.add(y if sure[0] >= sure[1] else x)
    return gone


def _nest(
    dataset: fo.Dataset, applied: Applied, path: str, book: Ledger, found: Instances,
    pairs: Sequence[tuple[int, int, float, float]], iou: float,
) -> Applied:  # fmt: skip
    parents: dict[str, str] = {}
    for x, y, overlap, inside in sorted(pairs, key=lambda pair: pair[2:]):  # the best comes last, and stays
        if overlap >= iou or inside >= PART:
            parents[found.ids[x].item()] = found.ids[y].item()
    field = f"{path}.detections.parent"
    new = [] if field in dataset.get_field_schema(flat=True) else [field]
    records.declare(dataset, {field: fo.StringField})
    where = found.sample_ids[found.sample[np.isin(found.ids, list(parents))]].tolist()
    before = {}
    for sample in dataset.select(sorted(set(where))).iter_samples(autosave=True):
        labels = sample[path].detections
        mine = [label for label in labels if label.id in parents]
        before[sample.id] = {
            "order": None, "removed": [],
            "changed": {label.id: {"parent": label.get_attribute_value("parent", default=None)} for label in mine},
        }  # fmt: skip
        for label in mine:
            label["parent"] = parents[label.id]
    done = Applied(applied.key, "nest", applied.first, applied.second, None, 0, len(parents), len(before))
    return _record(dataset, done, path, book, before, {}, fields=new)


def _replace(
    dataset: fo.Dataset, applied: Applied, path: str, book: Ledger, found: Instances, doubles: set[int]
) -> Applied:
    """Remove doubles, and with a parent, rename the rest."""
    parent, names = applied.parent, (applied.first, applied.second)
    gone = {found.ids[k].item() for k in doubles}
    asked = run_info(dataset, book.name).get("concepts") or {}
    entry = asked.get(parent)
    touched = found.sample_ids[found.sample[sorted(doubles)]].tolist()
    if parent is not None:
        declare(dataset, book, [parent], path)
        phrases = asked_phrases(dataset, book)
        merged = list(dict.fromkeys(p for name in names for p in (phrases.get(name) or [name])))
        set_entry(dataset, book, parent, dict(asked.get(names[0], {}), phrases=merged))
        touched = dataset.exists(book.presence).values("id")  # every sample that was asked, found or not
    level = {name: _threshold(asked.get(name, {})) for name in names}
    before, numbers, removed, changed = {}, {}, 0, 0
    for sample in dataset.select(sorted(set(touched))).iter_samples(autosave=True):
        held = sample[path]
        labels = [] if held is None else held.detections
        out = [label for label in labels if label.id in gone]
        renamed = [label for label in labels if parent and label.id not in gone and label.label in names]
        counted = [label for label in out if label.confidence is None or label.confidence > level[label.label]]
        numbers[sample.id] = _renumber(sample, book, names, parent, [label.label for label in counted])
        if out or renamed:
            before[sample.id] = {
                "order": [label.id for label in labels], "removed": [label.to_dict() for label in out],
                "changed": {label.id: {"label": label.label} for label in renamed},
            }  # fmt: skip
            for label in renamed:
                label.label = parent
            held.detections = [label for label in labels if label.id not in gone]
            removed, changed = removed + len(out), changed + len(renamed)
        else:
            before[sample.id] = {"order": None, "removed": [], "changed": {}}
    touching = sum(bool(one["removed"] or one["changed"]) for one in before.values())
    done = Applied(applied.key, applied.policy, *names, parent, removed, changed, touching)
    return _record(dataset, done, path, book, before, numbers, entry)


def _renumber(
    sample: Any, book: Ledger, names: Sequence[str], parent: str | None, out: Sequence[str]
) -> dict[str, Any]:
    """Bring the ledger of a sample in line; what it said before, by place. ``out``: the labels of what went."""
    before: dict[str, Any] = {}

    def put(kind: str, name: str, value: Any) -> None:
        field = getattr(book, kind)
        before[f"{field}|{field_of(name)}"] = number(sample, field, name)
        sample[field][field_of(name)] = value

    def said(kind: str) -> list[Any]:
        return [v for v in (number(sample, getattr(book, kind), n) for n in names) if v is not None]

    if parent is None:
        for name in set(out):
            count = number(sample, book.count, name)
            if count is not None:
                put("count", name, max(count - out.count(name), 0))
    elif said("presence"):
        total = sum(said("count")) - len(out)
        put("presence", parent, max(said("presence")))
        put("score", parent, max(said("score"), default=None))
        put("count", parent, max(total, 0))
    return before


def _record(
    dataset: fo.Dataset, applied: Applied, path: str, book: Ledger, labels: dict, numbers: dict, entry: Any = None,
    fields: Sequence[str] = (),
) -> Applied:  # fmt: skip
    config = {name: getattr(applied, name) for name in Applied.__dataclass_fields__ if name != "key"}
    kept = {"labels": labels, "numbers": numbers, "entry": entry}
    # MongoDB's own JSON: masks are bytes, ids are ObjectIds
    results = {"before": json_util.dumps(kept)}
    records.store(dataset, applied.key, METHOD, dict(config, label_field=path, ledger=book.name), results, fields)
    return applied


def _threshold(entry: dict[str, Any]) -> float:
    """From which confidence on instances of a concept were counted."""
    said = entry.get("threshold")
    said = entry.get("confidence_thresh") if said is None else said
    return USUAL_THRESHOLD if said is None else said


def _free_key(dataset: fo.Dataset) -> str:
    return f"policy_{free_number(dataset.list_runs(method=METHOD))}"
