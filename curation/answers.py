"""What the ledger says about a dataset or view, as arrays: the ground on which all curation stands.

A column a concept, a row a sample; ``nan`` where a concept was not asked. Reading is one aggregation, and what was read
is kept until the dataset changes, so that a panel can ask again with every move of a slider.
"""

from __future__ import annotations

import difflib
import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import fiftyone as fo
import numpy as np
from numpy.typing import NDArray

from .checks import check_whole, check_words, listed
from .errors import CurationError

if __package__ == "curation":  # the repository's root is on the path, as in tests and scripts
    from zoo.ledger import DEFAULT, Ledger
    from zoo.provenance import asked_phrases, run_info
else:  # the repository is a package, as FiftyOne's plugins are
    from ..zoo.ledger import DEFAULT, Ledger
    from ..zoo.provenance import asked_phrases, run_info

KINDS = ("presence", "score", "count")
#: a concept is present from here on, where neither a calibration nor the run says otherwise
USUAL_THRESHOLD = 0.5

#: what to do where nothing was asked
HOW_TO_ASK = (
    'ask SAM 3 first, with dataset.apply_model(sam3, label_field="sam3") or the operator "SAM 3: segment concepts"'
)
_KEPT: OrderedDict[tuple, Any] = OrderedDict()
_MOST_KEPT = 12


@dataclass(frozen=True)
class Answers:
    """The ledger of some samples.

    Attributes:
        ids: (N,) the samples' ids.
        concepts: K labels.
        presence: (N, K) float64 in [0, 1]; ``nan`` where the concept was not asked.
        score: (N, K) the best object score before presence, likewise; None if it was not read.
        count: (N, K) instances above the threshold, likewise.
        thresholds: concept → the presence from which on it counts as present.
    """

    ids: NDArray[np.str_]
    concepts: tuple[str, ...]
    presence: NDArray[np.float64]
    score: NDArray[np.float64] | None
    count: NDArray[np.float64] | None
    thresholds: Mapping[str, float]

    def __len__(self) -> int:
        return len(self.ids)

    def place(self, concept: str) -> int:
        """The column of a concept."""
        return self.concepts.index(concept)

    @property
    def asked(self) -> NDArray[np.bool_]:
        """(N, K): was the concept asked of the sample?"""
        return ~np.isnan(self.presence)

    @property
    def levels(self) -> NDArray[np.float64]:
        """(K,): the thresholds, in the order of the concepts."""
        return np.array([self.thresholds[concept] for concept in self.concepts], dtype=np.float64)

    @property
    def present(self) -> NDArray[np.bool_]:
        """(N, K): is the concept there, as far as presence says? False where it was not asked."""
        with np.errstate(invalid="ignore"):
            return self.presence >= self.levels


def read_answers(
    samples: fo.core.collections.SampleCollection, ledger: str = DEFAULT, concepts: Iterable[str] | None = None,
    kinds: Sequence[str] = KINDS,
) -> Answers:  # fmt: skip
    """The ledger of a dataset or view. On videos: of whole videos (the largest presence of their frames).

    Args:
        samples: a dataset or view.
        ledger: name of the ledger.
        concepts: which; default: all that were asked.
        kinds: what to read beside presence; each takes its time.

    Raises:
        CurationError: no samples, no ledger or one of an older version, concepts that were not asked.
    """
    book = check_ledger(samples, ledger)
    check_whole(samples)
    wanted = check_concepts(samples, concepts, ledger)
    if not len(samples):
        raise CurationError(f"There is nothing to look at: no samples in this dataset or view of {_name(samples)}")
    columns = tuple(kind for kind in KINDS if kind == "presence" or kind in kinds)
    key = (*state_of(samples), ledger, wanted, columns)
    ids, numbers = remembered(key, lambda: _read(samples, book, wanted, columns))
    levels = {c: t for c, t in thresholds_of(samples, ledger).items() if c in wanted}
    return Answers(ids, wanted, *(numbers.get(kind) for kind in KINDS), thresholds=levels)


def read_said(
    samples: fo.core.collections.SampleCollection, kind: str, concepts: Sequence[str], ledger: str = DEFAULT
) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
    """What people said of samples and concepts, whether the schema knows these or not.

    Args:
        samples: a dataset or view.
        kind: "verified" (is it there?) or "exhaustive" (are all its instances labelled?).
        concepts: K concepts.
        ledger: its name.

    Returns:
        (N,) ids, and (N, K): 1 yes, 0 no, ``nan`` nothing.
    """
    book = Ledger(ledger)
    if getattr(book, kind) not in samples.get_field_schema() or not concepts:
        ids = np.array(samples.values("id"), dtype=str)
        return ids, np.full((len(ids), len(concepts)), np.nan)
    ids, numbers = _read(samples, book, concepts, [kind])
    return ids, numbers[kind]


def check_asked(
    samples: fo.core.collections.SampleCollection, answers: Answers, ledger: str, concepts: Sequence[str] = ()
) -> None:
    """Refuse answers that hold none, as of images that were added since.

    Args:
        samples: whose answers these are.
        answers: from :func:`read_answers`.
        ledger: its name.
        concepts: those that matter. Default: all.

    Raises:
        CurationError: SAM 3 was not asked of any of these samples; says how to.
    """
    asked = answers.asked if not concepts else answers.asked[:, [answers.place(concept) for concept in concepts]]
    if not asked.any():
        raise CurationError(
            f"SAM 3 was not asked about {listed(concepts or answers.concepts, 3)} in any of these {len(answers)} "
            f"samples of {_name(samples)} (ledger {ledger!r}): {HOW_TO_ASK}"
        )


def check_ledger(samples: fo.core.collections.SampleCollection, ledger: str = DEFAULT) -> Ledger:
    """The ledger's names, if it is there.

    Raises:
        CurationError: there is none, or one of an older version; says how to make it. A view that leaves it out.
    """
    book, schema = Ledger(ledger), samples.get_field_schema()
    dataset = samples._root_dataset
    whole = dataset.get_field_schema()
    left_out = any(name in whole and name not in schema for name in (book.presence, book.score, book.count))
    if ledger in ledgers_of(dataset) and left_out:
        raise CurationError(
            f"This view of {_name(samples)} has no concept ledger {ledger!r}, or not all of it; the dataset has: use "
            "the dataset, or a view that leaves its samples and fields whole (select_fields(), exclude_fields() and "
            "to_patches() do not)"
        )
    make = HOW_TO_ASK
    if ledger not in ledgers_of(samples):
        known = ledgers_of(samples)
        there = f"; there {'is' if len(known) == 1 else 'are'} {', '.join(map(repr, known))}" if known else ""
        raise CurationError(f"{_name(samples)} has no concept ledger {ledger!r}{there}: {make}")
    missing = [name for name in (book.score, book.count) if name not in schema]
    if missing:
        raise CurationError(
            f"The ledger {ledger!r} of {_name(samples)} was made by an older version: it has no {missing[0]!r}. To "
            f"renew it, {make}"
        )
    return book


def ledgers_of(samples: fo.core.collections.SampleCollection) -> list[str]:
    """Names of the ledgers a dataset has."""
    schema = samples.get_field_schema()
    names = (name.removesuffix("_presence") for name in schema if name.endswith("_presence"))
    return [
        name for name in names
        if name and getattr(schema[f"{name}_presence"], "document_type", None) is fo.DynamicEmbeddedDocument
    ]  # fmt: skip


def asked_concepts(samples: fo.core.collections.SampleCollection, ledger: str = DEFAULT) -> tuple[str, ...]:
    """Every concept that was ever asked, in the order of the run's record."""
    return tuple(asked_phrases(samples._root_dataset, Ledger(ledger)))


def check_concepts(
    samples: fo.core.collections.SampleCollection, concepts: Iterable[str] | None, ledger: str = DEFAULT
) -> tuple[str, ...]:
    """These concepts, or all, if they were asked.

    Raises:
        CurationError: naming the one that was not, and the nearest that were.
    """
    known = asked_concepts(samples, ledger)
    if concepts is None:
        return known
    named = check_words(concepts, "concepts")
    wanted = tuple(dict.fromkeys(named))
    for concept in wanted:
        if concept not in known:
            raise CurationError(not_asked(concept, known))
    if not wanted:
        raise CurationError(f"No concepts were named; asked were {listed(known)}")
    return wanted


def all_concepts(samples: fo.core.collections.SampleCollection) -> tuple[str, ...]:
    """Every concept that was ever asked, in any ledger."""
    dataset = samples._root_dataset
    return tuple(dict.fromkeys(name for ledger in ledgers_of(dataset) for name in asked_concepts(dataset, ledger)))


def not_asked(concept: str, known: Sequence[str]) -> str:
    """A sentence about a concept that was not asked: it names the nearest that were."""
    folded = {name.casefold(): name for name in known}
    words = concept.casefold()
    near = [folded[name] for name in difflib.get_close_matches(words, folded, n=3, cutoff=0.6)]
    near += [name for name in known if name not in near and set(words.split()) & set(name.casefold().split())]
    nearest = f"the nearest that were: {listed(near[:3])}" if near else f"asked were {listed(known)}"
    return f"{concept!r} was not asked of this dataset; {nearest}. Ask it with the operator \"SAM 3: segment concepts\""


def thresholds_of(samples: fo.core.collections.SampleCollection, ledger: str = DEFAULT) -> dict[str, float]:
    """Concept → the presence from which on it counts as present: applied by a calibration, else the run's, else 0.5."""
    dataset = samples._root_dataset
    config = run_info(dataset, ledger)
    asked = config.get("concepts") or {}
    chosen = config.get("operating_points") or {}
    found = {}
    for concept in asked_concepts(samples, ledger):
        entry = asked.get(concept, {})
        levels = (chosen.get(concept), entry.get("threshold"), entry.get("confidence_thresh"))
        found[concept] = float(next((level for level in levels if level is not None), USUAL_THRESHOLD))
    return found


def remembered(key: tuple, make: Any) -> Any:
    """``make()``, or what it gave when last asked for with this key."""
    if key in _KEPT:
        _KEPT.move_to_end(key)
        return _KEPT[key]
    value = _KEPT[key] = make()
    while len(_KEPT) > _MOST_KEPT:
        _KEPT.popitem(last=False)
    return value


def _read(
    samples: fo.core.collections.SampleCollection, book: Ledger, concepts: Sequence[str], kinds: Sequence[str]
) -> tuple[NDArray[np.str_], dict[str, NDArray[np.float64]]]:
    paths = [book.path(kind, concept) for kind in kinds for concept in concepts]
    rows = _numbers(samples, paths)
    together = rows["_id"].tobytes().hex()
    ids = np.array([together[at : at + 24] for at in range(0, len(together), 24)], dtype=str)
    numbers = rows["numbers"]["value"].reshape(len(rows), len(kinds), len(concepts)).copy()
    for array in (ids, numbers):
        array.setflags(write=False)  # kept, and handed out again
    return ids, {kind: numbers[:, k] for k, kind in enumerate(kinds)}


def _numbers(samples: fo.core.collections.SampleCollection, paths: Sequence[str]) -> NDArray[Any]:
    """(N,) records of ``_id``, 12 bytes, and ``numbers[...]["value"]``, (P,) float64; ``nan`` where there is none.

    A row whose values are all doubles has the same length in BSON as every other, so that whole batches are arrays
    as they come. To decode them one by one takes four times as long as the database does.
    """
    number = np.dtype([("kind", "u1"), ("name", "S9"), ("value", "<f8")])  # a byte, "n0000000" and a zero, the value
    row = np.dtype([
        ("length", "<i4"), ("kind", "u1"), ("name", "S4"), ("_id", "V12"), ("numbers", number, (len(paths),)),
        ("end", "u1"),
    ])  # fmt: skip
    wanted = {f"n{k:07}": {"$toDouble": {"$ifNull": [f"${path}", float("nan")]}} for k, path in enumerate(paths)}
    pipeline = samples.view()._pipeline(pipeline=[{"$project": {"_id": True, **wanted}}])
    batches = samples._root_dataset._sample_collection.aggregate_raw_batches(pipeline, allowDiskUse=True)
    rows = np.frombuffer(b"".join(batches), dtype=row)
    if len(rows) and not (rows["length"] == row.itemsize).all():
        raise RuntimeError("the database's answer has another form than was asked for")  # never seen; else: nonsense
    return rows


def state_of(samples: fo.core.collections.SampleCollection) -> tuple:
    """Something that changes whenever a sample of the dataset, or the view, does."""
    dataset = samples._root_dataset
    stages = json.dumps(samples.view()._serialize(include_uuids=False), sort_keys=True, default=str)
    _, latest = dataset.bounds("last_modified_at")
    return dataset.name, str(dataset._doc.id), stages, str(latest), len(dataset), str(dataset.last_deletion_at)


def _name(samples: fo.core.collections.SampleCollection) -> str:
    return repr(samples._root_dataset.name)
