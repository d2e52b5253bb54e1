"""Which instances are found in other words as well: the attribute ``stability`` on labels.

What "mouse", "a mouse" and "mice" all find is rarely wrong; what only one of them finds deserves a look. Stability is
the share of the other wordings, in [0, 1], that find an instance on the same pixels (IoU 0.5 or more). The wording that
found it in the first place does not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import fiftyone as fo
import numpy as np
from fiftyone import ViewField as F
from numpy.typing import NDArray

from . import records
from .agreement import SAME, Shapes, overlaps, shapes_found
from .checks import check_known, check_words, listed
from .errors import CurationError
from .instances import check_field
from .label_errors import ledger_name
from .phrasing import forms
from .steps import run_steps
from .trying import check_phrases, check_trial, entries_of, trial_model, trial_settings

if __package__ == "curation":
    from evaluation.shapes import boxes, to_rle
    from zoo.definitions import all_definitions
    from zoo.engine.concepts import Concept
    from zoo.ledger import DEFAULT, Ledger
    from zoo.provenance import asked_phrases
    from zoo.trial import tried
else:
    from ..evaluation.shapes import boxes, to_rle
    from ..zoo.definitions import all_definitions
    from ..zoo.engine.concepts import Concept
    from ..zoo.ledger import DEFAULT, Ledger
    from ..zoo.provenance import asked_phrases
    from ..zoo.trial import tried

#: name of the attribute
ATTRIBUTE = "stability"
#: samples whose labels are in memory at once
_STRETCH = 64


@dataclass(frozen=True)
class Stability:
    """What was measured.

    Attributes:
        label_field: whose instances have the attribute now.
        phrases: concept → the wordings that were asked.
        means: concept → mean stability of its instances, in [0, 1].
        instances: how many were measured.
        failed: id of a sample → why it could not be asked.
    """

    label_field: str
    phrases: Mapping[str, tuple[str, ...]]
    means: Mapping[str, float]
    instances: int
    failed: Mapping[str, str]

    def view(self, samples: fo.core.collections.SampleCollection, below: float = 0.5) -> fo.DatasetView:
        """The samples with instances of less stability, and of their labels only these; the least stable first."""
        measured = F(ATTRIBUTE) != None  # noqa: E711 - an expression
        held = samples.filter_labels(self.label_field, measured & (F(ATTRIBUTE) < below))
        return held.sort_by(F(f"{self.label_field}.detections.{ATTRIBUTE}").min())

    def __str__(self) -> str:
        lines = [f"{self.instances} instances measured"]
        lines += [f"  {mean:.2f}  {concept}" for concept, mean in sorted(self.means.items(), key=lambda one: one[1])]
        return "\n".join([*lines, *([f"{len(self.failed)} samples failed"] if self.failed else [])])


@dataclass(frozen=True)
class Step:
    """``done`` of ``total`` samples, ``failed`` of them; ``result`` once all are, and everything is written."""

    done: int
    total: int
    failed: int = 0
    result: Stability | None = None


def measure_stability(
    samples: fo.core.collections.SampleCollection, label_field: str = DEFAULT, concepts: Sequence[str] | None = None,
    phrases: Mapping[str, Sequence[str]] | Sequence[str] | None = None, *, progress: Any = None, **settings: Any,
) -> Stability:  # fmt: skip
    """Measure how many other wordings find each instance, and store it as the labels' ``stability``.

    Args:
        samples: a dataset or view of images.
        label_field: the instances.
        concepts: whose. Default: all that the field has.
        phrases: concept → other wordings; of one concept, a list of them. Default: its own forms and other names of
            what it mostly means, see :func:`~curation.phrasing.forms`, and the phrases of its definition.
        progress: whether to show a progress bar, or a function, as everywhere in FiftyOne.
        **settings: of :func:`stability_steps`: ``checkpoint`` and so on.

    Raises:
        CurationError: before anything is asked or stored, see :func:`stability_steps`.
    """
    said = samples, label_field, concepts, phrases
    return run_steps("measure_stability", stability_steps, said, settings, progress)


def stability_steps(
    samples: fo.core.collections.SampleCollection, label_field: str = DEFAULT, concepts: Sequence[str] | None = None,
    phrases: Mapping[str, Sequence[str]] | Sequence[str] | None = None, *, ledger: str | None = None,
    checkpoint: str | None = None, device: str | None = None, batch_size: int = 8,
) -> Iterator[Step]:  # fmt: skip
    """As :func:`measure_stability`, reporting as it goes. What was measured is stored every few samples.

    Args:
        samples, label_field, concepts, phrases: see there.
        ledger: name of the ledger that knows how the concepts were asked. Default: the label field's.
        checkpoint: folder or hub id. Default: what the ledger was asked of.
        device: None takes the best there is.
        batch_size: images encoded together.

    Yields:
        first with nothing done, once everything was checked but the length of phrases.

    Raises:
        CurationError: no images, no such field, concepts that it has no instances of, wordings that are none or are
            too long.
    """
    check_trial(samples, batch_size)
    path = check_field(samples, label_field, "label_field")
    dataset = samples._root_dataset
    name = ledger or ledger_name(dataset, path)
    there = [label for label in samples.distinct(f"{path}.detections.label") if label]
    if not there:
        raise CurationError(f"label_field {label_field!r} holds no instances in these samples: there is nothing to do")
    wanted = there if concepts is None else list(dict.fromkeys(check_words(concepts, "concepts")))
    for concept in wanted:
        check_known(concept, there, f"concept with instances in {label_field!r}")
    words = _wordings(dataset, name, wanted, phrases)
    entries = entries_of(dataset, name)
    levels = {concept: trial_settings(entries.get(concept))["confidence_thresh"] for concept in wanted}
    asked = {concept: [Concept(p, (p,), levels[concept]) for p in words[concept]] for concept in wanted}
    chosen = samples.match(F(f"{path}.detections.label").intersection(wanted).length() > 0)
    ids = chosen.values("id")
    yield Step(0, len(ids))
    model = trial_model(dataset, name, wanted[0], [p for some in words.values() for p in some], checkpoint, device)
    before = asked_phrases(dataset, Ledger(name))
    records.declare(dataset, {f"{path}.detections.{ATTRIBUTE}": fo.FloatField})
    values: dict[str, list[float]] = {concept: [] for concept in wanted}
    failed: dict[str, str] = {}
    for start in range(0, len(ids), _STRETCH):
        part = list(samples.select(ids[start : start + _STRETCH], ordered=True).select_fields(path))
        labels = [[d for d in one[path].detections if d.label in asked] for one in part]
        questions = [_questions(here, asked) for here in labels]
        rows = []
        answers = tried(model, [one.filepath for one in part], questions, batch_size)
        for k, answer in enumerate(answers):
            if answer.error is not None:
                failed[part[k].id] = answer.error
            found = {r.label: shapes_found(counted(r), answer.size) for r in answer.results}
            for label in labels[k] if answer.error is None else ():
                held = [found[c.label] for c in asked[label.label]]
                seen = found_by(shapes_of([label], answer.size), held)[0]
                value = share(words[label.label], seen, own_words(label, before))
                if value is not None:
                    values[label.label].append(value)
                    rows.append(dict(sample_id=part[k].id, label_id=label.id, value=value))
            if k + 1 < len(part):
                yield Step(start + k + 1, len(ids), len(failed))
        store(samples, path, rows)
        if start + _STRETCH < len(ids):
            yield Step(start + len(part), len(ids), len(failed))
    means = {concept: fmean(some) for concept, some in values.items() if some}
    count = sum(map(len, values.values()))
    result = Stability(path, {c: tuple(words[c]) for c in wanted}, means, count, failed)
    yield Step(len(ids), len(ids), len(failed), result)


def shapes_of(labels: Sequence[fo.Detection], size: tuple[int, int]) -> Shapes:
    """Labels of an image of ``size``, ``(height, width)``."""
    return Shapes(boxes(labels), [_rle(label, size) for label in labels])


def found_by(labels: Shapes, found: Sequence[Shapes]) -> NDArray[np.bool_]:
    """(n, P): which wordings found which labels."""
    columns = [overlaps(labels, one) for one in found]
    return np.stack([(c >= SAME).any(axis=1) if c.size else np.zeros(len(labels), bool) for c in columns], axis=1)


def share(phrases: Sequence[str], seen: Sequence[bool], own: Sequence[str]) -> float | None:
    """Of the wordings that are not the instance's ``own``, the share that saw it; None where there are no others."""
    plain = {phrase.casefold() for phrase in own}
    others = [bool(one) for phrase, one in zip(phrases, seen, strict=True) if phrase.casefold() not in plain]
    return fmean(others) if others else None


def own_words(label: fo.Detection, asked: Mapping[str, Sequence[str]]) -> list[str]:
    """The words that found a label; where it does not say, those that its concept was ``asked`` with."""
    said = getattr(label, "phrase", None)
    return [said] if isinstance(said, str) and said else list(asked.get(label.label) or [label.label])


def store(samples: fo.core.collections.SampleCollection, path: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the attribute; ``rows`` have ``sample_id``, ``label_id`` and ``value``."""
    if rows:
        samples.set_label_values(f"{path}.detections.{ATTRIBUTE}", list(rows))


def _questions(labels: Sequence[fo.Detection], asked: Mapping[str, Sequence[Concept]]) -> list[Concept]:
    """What to ask of one image; a phrase of two concepts once."""
    wanted = dict.fromkeys(label.label for label in labels)
    return list({concept.label: concept for label in wanted for concept in asked[label]}.values())


def counted(result: Any) -> list[Any]:
    """The instances of a result that are above its threshold."""
    return [one for one in result.instances if one.confidence > result.threshold]


def _rle(label: fo.Detection, size: tuple[int, int]) -> Any:
    if label.mask is None and not label.mask_path:
        return None
    try:
        return to_rle(label, size)
    except (ValueError, OSError):  # a mask that cannot be read: its box counts
        return None


def _wordings(dataset: fo.Dataset, ledger: str, concepts: Sequence[str], said: Any) -> dict[str, list[str]]:
    """Concept → phrases to ask, checked."""
    if said is not None and not isinstance(said, Mapping):
        if len(concepts) != 1:
            raise CurationError(
                f"phrases={said!r} of {len(concepts)} concepts: say of which, phrases={{{concepts[0]!r}: [...]}}"
            )
        said = {concepts[0]: said}
    for concept in said or ():
        check_known(concept, concepts, "concept to measure")
    found = {}
    defined = all_definitions(dataset, ledger)
    for concept in concepts:
        if said is not None and concept in said:
            found[concept] = list(check_phrases(said[concept]))
            continue
        known = defined.get(concept)
        unlike: dict[str, str] = {}
        for word in (*(known.phrases if known else ()), *forms(concept)):
            unlike.setdefault(word.casefold(), word)
        found[concept] = list(unlike.values())
    few = [concept for concept, some in found.items() if len(some) < 2]
    if len(few) == len(found):
        raise CurationError(f"There is one wording of {listed(few)}, and none to compare it with: say phrases=...")
    return found
