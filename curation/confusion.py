"""Which concepts claim the same things, and what to do about it.

Two concepts are confused where their instances lie on the same pixels. One may be a kind of the other ("red cap" and
"cap"), both may mean the same ("mug" and "cup"), they may look alike ("fox" and "wolf"), or one may lie within the
other (a wheel in a car). The shares and the words tell which, and the advice says so; :mod:`curation.policies` follows
it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import fiftyone as fo
import numpy as np
from fiftyone import ViewField as F

from . import records
from .answers import Answers, all_concepts, check_asked, check_ledger, ledgers_of, read_answers
from .checks import check_known
from .cofire import SAME_MASK, Cofire, cofire
from .errors import CurationError
from .instances import check_field, compare
from .kin import a_kind
from .label_errors import ledger_name
from .nouns import common_parent, senses
from .steps import run_steps

if __package__ == "curation":
    from zoo.ledger import DEFAULT
else:
    from ..zoo.ledger import DEFAULT

METHOD = "sam3_confusions"
KEY = "confusions"
#: an instance below this confidence claims nothing
SURE = 0.5
#: a pair is worth a word from this share of one concept's masks on, and this many
_SHARE, _FEW = 0.1, 2
_MOSTLY = 0.6
POLICIES = ("keep", "keep best", "nest", "relabel")


@dataclass(frozen=True)
class Confusion:
    """A pair of concepts.

    Attributes:
        first, second: the concepts; what is nested, or has the larger share, comes first.
        same_masks: pairs of instances on the same pixels.
        first_share, second_share: share of each one's instances that the other claims, too.
        first_wins, second_wins: of these pairs, how often each is the more confident; ties are nobody's.
        first_inside, second_inside: how many instances of each lie within one of the other, as a part.
        co_present: samples in which both are present.
        co_firing: co_present, relative to the samples in which either is (Jaccard).
        advice: what to do, in words.
        policy: one of :data:`POLICIES`, as advised.
        parent: the suggested concept of both, if they should be one.
    """

    first: str
    second: str
    same_masks: int
    first_share: float
    second_share: float
    first_wins: int
    second_wins: int
    first_inside: int
    second_inside: int
    co_present: int
    co_firing: float
    advice: str
    policy: str
    parent: str | None = None


@dataclass(frozen=True)
class Confusions:
    """What was found.

    Attributes:
        key: its name on the dataset.
        label_field: where the instances are.
        pairs: the most confused first.
        clusters: concepts that claim each other's masks, directly or through others.
        iou: from which IoU on two instances were called the same.
        asked: every concept that could be in a pair; empty if that is not known.
    """

    key: str
    label_field: str
    pairs: tuple[Confusion, ...]
    clusters: tuple[tuple[str, ...], ...]
    iou: float = SAME_MASK
    asked: tuple[str, ...] = field(default=(), repr=False, compare=False)

    def pair(self, first: str, second: str) -> Confusion:
        """The pair of two concepts, in either order.

        Raises:
            CurationError: they are not confused.
        """
        for one in self.pairs:
            if {one.first, one.second} == {first, second}:
                return one
        raise CurationError(f"{first!r} and {second!r} are not confused: no {self.iou:.0%} overlap was found")

    def of(self, concept: str) -> list[Confusion]:
        """The pairs that a concept is in."""
        check_known(concept, self.asked, "concept that was asked")
        return [one for one in self.pairs if concept in (one.first, one.second)]

    def view(self, samples: fo.core.collections.SampleCollection, first: str, second: str) -> fo.DatasetView:
        """The samples in which both have instances, with those alone."""
        for concept in (first, second):
            check_known(concept, self.asked, "concept that was asked")
        field = self.label_field.removeprefix("frames.")
        labels = F(f"{field}.detections.label")
        there = (labels != None) & labels.contains(first) & labels.contains(second)  # noqa: E711 - an expression
        if field != self.label_field:
            there = F("frames").filter(there).length() > 0
        return samples.match(there).filter_labels(self.label_field, F("label").is_in([first, second]))

    def to_pandas(self) -> Any:
        """A row a pair."""
        import pandas as pd

        return pd.DataFrame([asdict(one) for one in self.pairs], columns=list(Confusion.__dataclass_fields__))

    def __str__(self) -> str:
        if not self.pairs:
            return "no two concepts claim the same masks"
        clusters = ["together: " + ", ".join(names) for names in self.clusters if len(names) > 2]
        return "\n".join([*(one.advice for one in self.pairs), *clusters])


@dataclass(frozen=True)
class Step:
    """``done`` of ``total`` samples; ``result`` once all are, and everything is written."""

    done: int
    total: int
    result: Confusions | None = None


def find_confusions(
    samples: fo.core.collections.SampleCollection, label_field: str = DEFAULT, key: str | None = KEY, *,
    progress: Any = None, **settings: Any,
) -> Confusions:  # fmt: skip
    """Find concepts whose instances are on the same pixels.

    Args:
        samples: a dataset or view of images or videos.
        label_field: what SAM 3 found; of videos, in the frames.
        key: a name for what is found; None: it is not kept.
        progress: whether to show a progress bar, or a function, as everywhere in FiftyOne.
        **settings: of :func:`confusion_steps`.

    Raises:
        CurationError: before anything is stored, see :func:`confusion_steps`.
    """
    return run_steps("find_confusions", confusion_steps, (samples, label_field, key), settings, progress)


def confusion_steps(
    samples: fo.core.collections.SampleCollection, label_field: str = DEFAULT, key: str | None = KEY, *,
    ledger: str | None = None, concepts: Sequence[str] | None = None, iou: float = SAME_MASK, sure: float = SURE,
    use_masks: bool = True,
) -> Iterator[Step]:  # fmt: skip
    """As :func:`find_confusions`, reporting as it goes.

    Args:
        samples, label_field, key: see there.
        ledger: name of the ledger. Default: the label field's.
        concepts: which. Default: all that were asked.
        iou: from which IoU on two instances are the same thing.
        sure: instances of less confidence claim nothing.
        use_masks: compare masks, where there are any; else boxes.

    Yields:
        first with nothing done, once everything was checked.

    Raises:
        CurationError: no samples, no ledger, unknown fields or concepts, numbers out of range.
    """
    dataset = samples._root_dataset
    for name, value in (("iou", iou), ("sure", sure)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise CurationError(f"{name}={value!r} must be a number in [0, 1]")
    if not ledgers_of(samples):
        check_ledger(samples, ledger or DEFAULT)
    path = check_field(samples, label_field, "label_field")
    if key is not None:
        records.check_key(dataset, key, METHOD)
    name = ledger or ledger_name(dataset, path, strict=True)
    check_ledger(samples, name)
    answers = read_answers(samples, name, concepts, ())
    check_asked(samples, answers, name)
    for done, total, layout in compare(samples, path, use_masks=use_masks):
        if layout is None:
            yield Step(done, total)
    pairs = weigh(cofire(layout.found, layout.among, answers.concepts, iou, sure), answers)
    result = Confusions(key or "", path, tuple(pairs), tuple(clusters(pairs)), iou, _asked(dataset, pairs))
    if key is not None:
        records.store(
            dataset, key, METHOD, dict(label_field=path, ledger=name, iou=iou, sure=sure),
            dict(pairs=[asdict(one) for one in pairs], clusters=[list(names) for names in result.clusters]),
        )  # fmt: skip
    yield Step(len(answers), len(answers), result)


def load_confusions(dataset: fo.Dataset, key: str = KEY) -> Confusions:
    """What an earlier run found.

    Raises:
        CurationError: there was none of that key.
    """
    config, held = records.load(dataset, key, METHOD)
    pairs = tuple(Confusion(**row) for row in held.pairs)
    groups = tuple(map(tuple, held.clusters))
    return Confusions(key, config["label_field"], pairs, groups, config["iou"], _asked(dataset, pairs))


def _asked(dataset: fo.Dataset, pairs: Sequence[Confusion]) -> tuple[str, ...]:
    """What is asked now, and what was when the pairs were found: a policy may have taken it back."""
    return tuple(dict.fromkeys([*all_concepts(dataset), *(name for one in pairs for name in (one.first, one.second))]))


def weigh(counts: Cofire, answers: Answers) -> list[Confusion]:
    """The pairs worth a word, the most confused first."""
    there = answers.present.astype(np.int64)
    both = there.T @ there
    alone = there.sum(axis=0)
    total = np.maximum(counts.instances, 1)
    share, part = counts.claimed / total[:, None], counts.inside / total[:, None]
    pairs = []
    for a, b in zip(*np.nonzero(np.triu(np.ones_like(both), 1)), strict=True):
        enough = max(counts.same[a, b], counts.inside[a, b], counts.inside[b, a]) >= _FEW
        if not enough or max(share[a, b], share[b, a], part[a, b], part[b, a]) < _SHARE:
            continue
        if (share[b, a], part[b, a]) > (share[a, b], part[a, b]):
            a, b = b, a
        either = int(alone[a] + alone[b] - both[a, b])
        jaccard = round(int(both[a, b]) / either, 4) if either else 0.0
        one = Confusion(
            counts.concepts[a], counts.concepts[b], int(counts.same[a, b]), round(float(share[a, b]), 4),
            round(float(share[b, a]), 4), int(counts.wins[a, b]), int(counts.wins[b, a]), int(counts.inside[a, b]),
            int(counts.inside[b, a]), int(both[a, b]), jaccard, "", "keep",
        )  # fmt: skip
        pairs.append(advise(one, counts.concepts))
    return sorted(pairs, key=lambda one: (-one.same_masks, -one.first_inside, one.first))


def advise(one: Confusion, asked: Collection[str] = ()) -> Confusion:
    """The same pair, with what to do about it. With "nest", ``first`` goes into ``second``.

    Args:
        one: a pair.
        asked: the concepts that there are.
    """
    a, b = repr(one.first), repr(one.second)
    shares = f"{one.first_share:.0%} of {a}, {one.second_share:.0%} of {b}"
    claim = f"{a} and {b} claim the same {one.same_masks} masks ({shares})"
    if a_kind(one.second, one.first) and not a_kind(one.first, one.second):
        return advise(_turned(one), asked)  # what is nested comes first
    if a_kind(one.first, one.second):
        return _with(one, f"{claim}: every {a} is {b}, too; nest it, so that a thing counts once", "nest")
    if one.same_masks >= _FEW and one.first_share >= _MOSTLY and one.second_share >= _MOSTLY:
        parent = parent_of(one.first, one.second)
        if parent in asked and parent not in (one.first, one.second):
            parent = None  # has instances of its own
        to = f"relabel both to {parent!r}" if parent else "relabel both to a name that covers both"
        words = f"{claim}: they mean the same here; merge them ({to}), or add a word to one"
        return _with(one, words, "relabel", parent)
    if one.same_masks < _FEW and one.second_inside > one.first_inside:
        return advise(_turned(one), asked)
    if one.same_masks < _FEW:
        return _with(one, f"{one.first_inside} of {a} lie within {b}: a part of it; nest it", "nest")
    winner, most = max(((one.first, one.first_wins), (one.second, one.second_wins)), key=lambda pair: pair[1])
    sides = f"{winner!r} in {most} of {one.same_masks}" if most else "they are equally so"
    words = f"{claim}: look-alikes; keep the more confident ({sides})"
    if one.first_share >= _MOSTLY:
        words += f", unless every {a} is {b}, too: then nest it"
    return _with(one, words, "keep best")


def parent_of(first: str, second: str) -> str | None:
    """A word that covers both, if the noun graph has one: of all their senses, the pair with the nearest parent."""
    words = set(first.casefold().split()) & set(second.casefold().split())
    if first.split()[-1].casefold() in words and first.split()[-1].casefold() == second.split()[-1].casefold():
        return first.split()[-1]  # "red cap" and "blue cap"
    best = None
    for a in senses(first)[:4]:
        for b in senses(second)[:4]:
            shared = common_parent([a.key, b.key])
            if shared is not None and (best is None or len(shared.path) > len(best.path)):
                best = shared
    return None if best is None else best.words[0]


def clusters(pairs: Sequence[Confusion]) -> list[tuple[str, ...]]:
    """Concepts that share masks, directly or through others: connected components, the largest first.

    A kind and what it is a kind of are no confusion.
    """
    import networkx as nx

    graph = nx.Graph()
    graph.add_edges_from((one.first, one.second) for one in pairs if one.same_masks and one.policy != "nest")
    groups = (tuple(sorted(group)) for group in nx.connected_components(graph))
    return sorted(groups, key=lambda group: (-len(group), group))


def _turned(one: Confusion) -> Confusion:
    """The same pair, seen from the other side."""
    sides = ("", "_share", "_wins", "_inside")
    swapped = {f"{x}{end}": getattr(one, f"{y}{end}") for end in sides for x, y in _BOTH}
    return replace(one, **swapped)


_BOTH = (("first", "second"), ("second", "first"))


def _with(one: Confusion, advice: str, policy: str, parent: str | None = None) -> Confusion:
    return replace(one, advice=advice, policy=policy, parent=parent)
