"""Hard negatives of a dataset: found, explained, and kept as classifications that can be filtered and sorted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import fiftyone as fo
import numpy as np
from fiftyone import ViewField as F

from . import records
from .answers import Answers, all_concepts, check_asked, check_concepts, check_ledger, ledgers_of, read_answers
from .checks import check_known, check_words
from .cofire import cofire
from .definitions import chosen_senses
from .errors import CurationError
from .instances import check_field, compare
from .kin import Family, find_kin
from .label_errors import check_apart, ledger_name, meanings
from .negatives import SOURCES, HardNegative, mine
from .steps import run_steps
from .suspicion import suspect
from .truth import Said, Truth, any_verified, labels_path, names_path, read_truth

if __package__ == "curation":
    from zoo.ledger import DEFAULT
    from zoo.provenance import run_info
else:
    from ..zoo.ledger import DEFAULT
    from ..zoo.provenance import run_info

METHOD = "sam3_hard_negatives"
KEY = "hard_negatives"
PER_CONCEPT = 25


@dataclass(frozen=True)
class HardNegatives:
    """What was found.

    Attributes:
        key: the field that holds it.
        found: the highest score first.
        notes: what could not be used as it is, a sentence each.
        ambiguous: concepts of several senses, whose neighbours were not used: what there is to choose, a sentence each.
        asked: every concept that negatives could be of; empty if that is not known.
    """

    key: str
    found: tuple[HardNegative, ...]
    notes: tuple[str, ...] = ()
    ambiguous: tuple[str, ...] = ()
    asked: tuple[str, ...] = field(default=(), repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.found)

    def of(self, concept: str | None = None, source: str | None = None) -> list[HardNegative]:
        """Those of a concept, or of a source."""
        if concept is not None:
            check_known(concept, self.asked, "concept that was asked")
        if source is not None:
            check_known(source, SOURCES, "source of hard negatives")
        return [n for n in self.found if concept in (None, n.concept) and (source is None or source in n.sources)]

    @property
    def counts(self) -> dict[str, int]:
        """Concept → how many."""
        return dict(Counter(negative.concept for negative in self.found).most_common())

    def view(
        self, samples: fo.core.collections.SampleCollection, concept: str | None = None, source: str | None = None
    ) -> fo.DatasetView:
        """The samples, the hardest first."""
        return samples.select(list(dict.fromkeys(n.sample_id for n in self.of(concept, source))), ordered=True)

    def to_pandas(self) -> Any:
        """A row for each pair of sample and concept."""
        import pandas as pd

        return pd.DataFrame([asdict(one) for one in self.found], columns=list(HardNegative.__dataclass_fields__))

    def __str__(self) -> str:
        lines = [f"{len(self)} hard negatives: " + ", ".join(f"{name} {n}" for name, n in self.counts.items())]
        lines += [f"  {one.score:.2f}  {one.because}" for one in self.found[:5]]
        return "\n".join([*lines, *self.notes, *self.ambiguous])


@dataclass(frozen=True)
class Step:
    """``done`` of ``total`` samples; ``result`` once all are, and everything is written."""

    done: int
    total: int
    result: HardNegatives | None = None


def find_hard_negatives(
    samples: fo.core.collections.SampleCollection, label_field: str | None = None, gt_field: str | None = None,
    key: str | None = KEY, *, progress: Any = None, **settings: Any,
) -> HardNegatives:  # fmt: skip
    """Find the samples that lack a concept and are hard to tell from samples that have it.

    With a ``key``, that field of the samples gets ``Classifications``: ``label`` is the concept that is *not* there,
    ``confidence`` the rank; ``sources``, ``rival``, ``presence``, ``overlap``, ``diversity`` and ``because`` explain
    it. An earlier finding of that key is replaced.

    Args:
        samples: a dataset or view of images or videos.
        label_field: the instances that SAM 3 found, to see what stands where; None: presence alone is looked at.
        gt_field: labels that say what is there; None: what people verified, and what the model itself calls absent.
        key: a name; None: nothing is stored.
        progress: whether to show a progress bar, or a function, as everywhere in FiftyOne.
        **settings: of :func:`hard_negative_steps`: ``exhaustive``, ``senses`` and so on.

    Raises:
        CurationError: before anything is stored, see :func:`hard_negative_steps`.
    """
    said = samples, label_field, gt_field, key
    return run_steps("find_hard_negatives", hard_negative_steps, said, settings, progress)


def hard_negative_steps(
    samples: fo.core.collections.SampleCollection, label_field: str | None = None, gt_field: str | None = None,
    key: str | None = KEY, *, ledger: str | None = None, concepts: Sequence[str] | None = None,
    sources: Sequence[str] | str = SOURCES, senses: Mapping[str, str] | str | None = None, exhaustive: Any = None,
    gt_labels: Any = None, negatives_field: str | None = None, not_exhaustive_field: str | None = None,
    per_concept: int = PER_CONCEPT, embeddings: str | None = None, use_masks: bool = True,
) -> Iterator[Step]:  # fmt: skip
    """As :func:`find_hard_negatives`, reporting as it goes.

    Args:
        samples, label_field, gt_field, key: see there.
        ledger: name of the ledger. Default: the label field's.
        concepts: which to find negatives for. Default: all that were asked.
        sources: of ``contradicted``, ``neighbour``, ``swap``.
        senses: concept → key of its sense in the noun graph, where a word has several; "usual": the commonest of each.
            Where nothing is said, the sense of the concept's definition, if it has one (:mod:`curation.definitions`).
            ``str(result)`` shows what there is to choose.
        exhaustive, gt_labels, negatives_field, not_exhaustive_field: what labels mean, see ``evaluation.policy``.
        per_concept: at most as many for each concept.
        embeddings: a field of vectors, by which samples are told to be alike. Default: by their presences.
        use_masks: compare masks, where there are any; else boxes.

    Yields:
        first with nothing done, once everything was checked.

    Raises:
        CurationError: no samples, no ledger, unknown fields, concepts, sources or senses, nothing said about what is
            not labelled.
    """
    dataset = samples._root_dataset
    sources = check_words(sources, "sources")
    unknown = [source for source in sources if source not in SOURCES]
    if unknown or not sources:
        raise CurationError(f"sources={sources!r}; want some of {list(SOURCES)}")
    if isinstance(per_concept, bool) or not isinstance(per_concept, int) or per_concept < 1:
        raise CurationError(f"per_concept={per_concept!r} must be a whole number above 0")
    if key is not None:
        records.check_key(dataset, key, METHOD)
    if not ledgers_of(samples):
        check_ledger(samples, ledger or DEFAULT)
    found_in = None if label_field is None else check_field(samples, label_field, "label_field")
    if found_in is not None and gt_field is not None:
        check_apart(found_in, labels_path(samples, gt_field))
    name = ledger or (DEFAULT if found_in is None else ledger_name(dataset, found_in, strict=True))
    check_ledger(samples, name)
    wanted = check_concepts(samples, concepts, name)
    answers = read_answers(samples, name, kinds=())  # of all concepts: any may be a rival
    check_asked(samples, answers, name, wanted)
    family = family_of(dataset, name)
    senses = chosen_senses(dataset, name, answers.concepts, senses)
    kin = find_kin(answers.concepts, senses, family=family)
    features = None if embeddings is None else _vectors(samples, embeddings)
    said = Said(gt_field, exhaustive, gt_labels, negatives_field, not_exhaustive_field)
    policy, truth = None, None
    if gt_field is not None:
        policy = said.policy(samples, answers.concepts, name)
        truth = read_truth(samples, answers, said, name)
    elif tuple(sources) == ("contradicted",) or any_verified(samples, answers.concepts, name):
        truth = read_truth(samples, answers, said, name)
    labels_in = _boxes_in(samples, gt_field, found_in)
    layout = suspicion = means = None
    if found_in is None:
        yield Step(0, len(answers))
    else:
        for done, total, layout in compare(samples, found_in, labels_in, use_masks=use_masks):
            if layout is None:
                yield Step(done, total)
        pairs = cofire(layout.found, layout.among, answers.concepts).pairs(least=2)
        kin = find_kin(answers.concepts, senses, pairs, family)
        if labels_in is not None:
            column, means, _ = meanings(layout.found, layout.truth, answers, truth, policy)
            suspicion = suspect(
                layout.found, layout.truth, layout.across, layout.among, column, means, answers.presence,
                truth.complete, layout.labelled,
            )  # fmt: skip
    found = mine(
        answers, truth, kin, layout, concepts=wanted, suspicion=suspicion, means=means, sources=sources,
        per_concept=per_concept, features=features,
    )  # fmt: skip
    ambiguous = kin.notes() if "neighbour" in sources else []
    notes = tuple(_unlabelled(answers, truth))
    result = HardNegatives(key or "", tuple(found), notes, tuple(ambiguous), _asked(dataset, found))
    if key is not None:
        _write(dataset, answers.ids.tolist(), result)
    yield Step(len(answers), len(answers), result)


def load_hard_negatives(dataset: fo.Dataset, key: str = KEY) -> HardNegatives:
    """What an earlier run found.

    Raises:
        CurationError: there was none of that key.
    """
    _, held = records.load(dataset, key, METHOD)
    found = [HardNegative(**dict(row, sources=tuple(row["sources"]))) for row in held.found]
    return HardNegatives(key, tuple(found), tuple(held.notes), tuple(held.ambiguous), _asked(dataset, found))


def as_view(samples: fo.core.collections.SampleCollection, concept: str, key: str = KEY) -> fo.DatasetView:
    """The hard negatives of a concept as a view that follows the field: it can be saved and shared.

    Raises:
        CurationError: none were looked for under that key, or nobody asked the concept.
    """
    records.check_found(samples, key, METHOD)
    check_known(concept, all_concepts(samples), "concept that was asked")
    held = F(f"{key}.classifications").filter(F("label") == concept)
    rank = held.map(F("confidence")).max()
    return samples.match(held.length() > 0).sort_by(rank, reverse=True)


def family_of(dataset: fo.Dataset, ledger: str) -> Family:
    """What the concept file said of neighbours and parents, as far as there was one."""
    known = run_info(dataset, ledger).get("concepts") or {}
    parents = {label: entry["parent"] for label, entry in known.items() if entry.get("parent")}
    return Family({label: entry.get("neighbours") or () for label, entry in known.items()}, parents)


def _asked(dataset: fo.Dataset, found: Sequence[HardNegative]) -> tuple[str, ...]:
    """What is asked now, and what was when these were found."""
    return tuple(dict.fromkeys([*all_concepts(dataset), *(one.concept for one in found)]))


def _unlabelled(answers: Answers, truth: Truth | None) -> list[str]:
    """A word about concepts that no label means: all of their instances would count as absent."""
    if truth is None:
        return []
    odd = [name for k, name in enumerate(answers.concepts) if not truth.labelled[k] and truth.absent[:, k].any()]
    if not odd:
        return []
    shown = ", ".join(map(repr, odd[:5])) + (", …" if len(odd) > 5 else "")
    return [f"No label means {shown}: they count as absent. Labelled by another name? Say gt_labels={{concept: name}}"]


def _boxes_in(samples: fo.core.collections.SampleCollection, gt_field: str | None, found_in: str | None) -> str | None:
    """The ground truth's field, if it has boxes to compare with, on the same samples or frames."""
    if gt_field is None or found_in is None:
        return None
    path = names_path(samples, gt_field)
    field = path.removesuffix(".detections.label")
    return field if field != path and field.startswith("frames.") == found_in.startswith("frames.") else None


def _vectors(samples: fo.core.collections.SampleCollection, field: str) -> np.ndarray:
    if not isinstance(field, str) or not samples.has_field(field):
        raise CurationError(f"embeddings={field!r} is not a field of {samples._root_dataset.name!r}")
    vectors = isinstance(samples.get_field(field), (fo.VectorField, fo.ArrayField, fo.ListField))
    held = samples.values(field) if vectors else [None]
    lengths = {None if one is None else np.shape(one) for one in held}
    try:
        if len(lengths) == 1 and len(lengths.pop() or ()) == 1:
            return np.array(held, dtype=np.float64)
    except (TypeError, ValueError):  # no numbers
        pass
    raise CurationError(f"embeddings={field!r} must hold one vector a sample, all of one length")


def _write(dataset: fo.Dataset, ids: Sequence[str], result: HardNegatives) -> None:
    """The field, on all the samples that were looked at, and the record."""
    key = result.key
    records.clear(dataset, records.written_by(dataset, key))
    dataset.add_sample_field(key, fo.EmbeddedDocumentField, embedded_doc_type=fo.Classifications)
    numbers = {name: fo.FloatField for name in ("presence", "overlap", "diversity")}
    words: dict[str, Any] = {"rival": fo.StringField, "because": fo.StringField}
    records.declare(dataset, {f"{key}.classifications.{name}": kind for name, kind in (words | numbers).items()})
    dataset.add_sample_field(f"{key}.classifications.sources", fo.ListField, subfield=fo.StringField)
    held: dict[str, list[fo.Classification]] = {}
    for one in result.found:
        held.setdefault(one.sample_id, []).append(fo.Classification(
            label=one.concept, confidence=one.score, sources=list(one.sources), rival=one.rival, presence=one.presence,
            overlap=one.overlap, diversity=one.diversity, because=one.because,
        ))  # fmt: skip
    values = {sample: fo.Classifications(classifications=labels) for sample, labels in held.items()}
    if values:
        dataset.set_values(key, values, key_field="id")
    records.store(
        dataset, key, METHOD, dict(counts=result.counts, samples=len(ids)),
        dict(
            found=[asdict(one) for one in result.found], notes=list(result.notes), ambiguous=list(result.ambiguous),
        ), fields=[key],
    )  # fmt: skip
