"""Where a ledger's numbers come from: one FiftyOne run per ledger, with every concept's phrases and weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

import fiftyone as fo

from .engine.concepts import Concept
from .engine.errors import ConceptError
from .engine.vocabulary_file import Vocabulary
from .exemplar_bank import bank_of
from .ledger import DEFAULT, Ledger, label_of

METHOD = "sam3_concepts"

#: what makes two answers to one concept comparable, and what to call it
_QUESTION = {
    "fingerprint": "the checkpoint", "phrases": "the phrases", "threshold": "the threshold", "floor": "the floor",
    "cls_token": "cls_token", "tracker": "the tracker's settings",
    "prompts": "prompts", "conflicts": "conflicts settled by", "tiles": "tiles",
}
#: settings that came later, and what earlier runs did
_LATER = {"tracker": {"detect_every": 1}}


def start_run(dataset: fo.Dataset, ledger: Ledger, concepts: Iterable[Concept], about: Mapping[str, Any]) -> None:
    """Record that a run begins: which concepts, how asked, by which weights.

    Runs on one ledger share one record; a concept asked again replaces its own entry only.
    """
    concepts = list(concepts)
    config = _run_config(dataset, ledger) or dataset.init_run()
    config.method = METHOD
    config.ledger = ledger.name
    config.frames = ledger.frames
    known = dict(getattr(config, "concepts", None) or {})
    stamp = dict(about, started=datetime.now(timezone.utc).isoformat(timespec="seconds"))
    for concept in concepts:
        kin = dict(neighbours=list(concept.neighbours), parent=concept.parent, sense=concept.sense)
        more = {name: said for name, said in kin.items() if said or name == "sense" and said is not None}
        known[concept.label] = dict(stamp, phrases=list(concept.phrases), threshold=concept.threshold, **more)
    config.concepts = known
    # chosen for answers that are replaced now
    points = dict(getattr(config, "operating_points", None) or {})
    config.operating_points = {label: p for label, p in points.items() if label not in {c.label for c in concepts}}
    _store_run(dataset, ledger, config)


def set_entry(dataset: fo.Dataset, ledger: Ledger, label: str, entry: Mapping[str, Any] | None) -> None:
    """Replace what the record says of one concept; ``None`` forgets it."""
    config = _run_config(dataset, ledger) or dataset.init_run()
    config.method, config.ledger, config.frames = METHOD, ledger.name, getattr(config, "frames", ledger.frames)
    known = dict(getattr(config, "concepts", None) or {})
    if entry is None:
        known.pop(label, None)
    else:
        known[label] = dict(entry)  # where it was, if it was: the order is that of asking
    config.concepts = known
    _store_run(dataset, ledger, config)


def note_operating_points(dataset: fo.Dataset, ledger: Ledger, points: Mapping[str, float | None]) -> None:
    """Record from which presence on a concept counts as present; ``None`` goes back to the run's threshold."""
    held = {**(getattr(_run_config(dataset, ledger), "operating_points", None) or {}), **points}
    chosen = {label: float(point) for label, point in held.items() if point is not None}
    note(dataset, ledger, operating_points=chosen)


def note(dataset: fo.Dataset, ledger: Ledger, **said: Any) -> None:
    """Record something beside the concepts; there need be no record yet."""
    config = _run_config(dataset, ledger) or dataset.init_run()
    config.method, config.ledger, config.frames = METHOD, ledger.name, getattr(config, "frames", ledger.frames)
    for name, value in said.items():
        setattr(config, name, value)
    _store_run(dataset, ledger, config)


def check_same_question(
    dataset: fo.Dataset, ledger: Ledger, concepts: Iterable[Concept], about: Mapping[str, Any]
) -> None:
    """Refuse to go on with a run that asked the same concepts otherwise: half its answers would mean something else.

    Raises:
        ConceptError: naming the concept, and what was different
    """
    known = getattr(_run_config(dataset, ledger), "concepts", None) or {}
    for concept in concepts:
        entry = known.get(concept.label)
        if entry is None or entry.get("operation_mode") == "semantic":  # which looked for no instances
            continue
        now = dict(about, phrases=list(concept.phrases), threshold=concept.threshold)
        for name, words in _QUESTION.items():
            before, today = _setting(entry, name), _setting(now, name)
            if before != today:
                shown = "checkpoint" if name == "fingerprint" else name
                before, today = _differing(_setting(entry, shown), _setting(now, shown))
                raise ConceptError(
                    f"{concept.label!r} was asked before with {words} {before!r}, now it is {today!r}. Replace "
                    "the earlier answers (skip_existing=False; in the App, untick Resume), or keep both with another "
                    "ledger=..."
                )


def asked_alike(
    dataset: fo.Dataset, ledger: Ledger, concepts: Iterable[Concept], about: Mapping[str, Any]
) -> set[str]:
    """Which of ``concepts`` were asked before so that presence is the same: by the same weights, in the same words."""
    known = getattr(_run_config(dataset, ledger), "concepts", None) or {}
    alike = set()
    for concept in concepts:
        entry, now = known.get(concept.label), dict(about, phrases=list(concept.phrases))
        plain = entry is not None and not any(entry.get(name) for name in ("prompts", "tiles", "tracker"))
        if plain and all(_setting(entry, n) == _setting(now, n) for n in ("fingerprint", "phrases", "cls_token")):
            alike.add(concept.label)
    return alike


def region_numbers(dataset: fo.Dataset, ledger: Ledger, labels: Iterable[str]) -> dict[str, int]:
    """Concept -> its number in the masks of this ledger's regions: a number is given once, from 1, and kept."""
    numbers = dict(getattr(_run_config(dataset, ledger), "region_numbers", None) or {})
    for label in labels:
        numbers.setdefault(label, max(numbers.values(), default=0) + 1)
    return numbers


def region_fields(dataset: fo.Dataset, ledger: Ledger) -> tuple[str, ...]:
    """The fields with masks of this ledger's regions."""
    return tuple(getattr(_run_config(dataset, ledger), "region_fields", None) or ())


def note_regions(dataset: fo.Dataset, ledger: Ledger, field: str, numbers: Mapping[str, int]) -> None:
    """Record that ``field`` holds masks, and what their numbers mean; before the first of them is stored."""
    config = _run_config(dataset, ledger)
    config.region_numbers = dict(numbers)
    config.region_fields = list(dict.fromkeys([*region_fields(dataset, ledger), field]))
    _store_run(dataset, ledger, config)


def note_label_field(dataset: fo.Dataset, ledger: Ledger, label_field: str) -> None:
    """Record where a ledger's instances are.

    Before the first of them is stored: a run that is cut later still finds them, when it goes on.
    """
    config = _run_config(dataset, ledger)
    if config is not None and getattr(config, "label_field", None) != label_field:
        config.label_field = label_field
        _store_run(dataset, ledger, config)


def finish_run(dataset: fo.Dataset, ledger: Ledger, summary: Mapping[str, Any]) -> None:
    """Record what came of the run: counts and seconds."""
    if not dataset.has_run(ledger.name):
        return
    results = dataset.init_run_results(ledger.name)
    results.summary = dict(summary, finished=datetime.now(timezone.utc).isoformat(timespec="seconds"))
    dataset.save_run_results(ledger.name, results, overwrite=True)


def run_info(dataset: fo.Dataset, ledger: str = DEFAULT) -> dict[str, Any]:
    """Provenance of a ledger: concepts with phrases, thresholds, checkpoint and time; ``{}`` if there is none."""
    config = _run_config(dataset, Ledger(ledger))
    return {} if config is None else {k: v for k, v in config.serialize().items() if k not in ("cls", "type")}


def instances_fields(dataset: fo.Dataset, ledger: Ledger) -> tuple[str, ...]:
    """The fields that may hold a ledger's instances: the last run's label field, and that of the ledger's name."""
    schema = ledger.schema(dataset)
    names = dict.fromkeys([getattr(_run_config(dataset, ledger), "label_field", None), ledger.name])
    return tuple(n for n in names if n and getattr(schema.get(n), "document_type", None) is fo.Detections)


def ledger_of(dataset: fo.Dataset, label_field: str, frames: bool = False) -> Ledger | None:
    """The ledger whose instances are in ``label_field``: the one that was last told so, else the one of its name.

    Args:
        dataset: the dataset
        label_field: without "frames."
        frames: whether it lies on the frames of videos
    """
    for name in dataset.list_runs(method=METHOD):
        ledger = Ledger(name, frames)
        config = _run_config(dataset, ledger)
        if getattr(config, "label_field", None) == label_field and ledger.presence in ledger.schema(dataset):
            return ledger
    if not label_field.isidentifier():
        return None
    ledger = Ledger(label_field, frames)
    return ledger if ledger.presence in ledger.schema(dataset) else None


def asked_phrases(dataset: fo.Dataset, ledger: Ledger) -> dict[str, list[str]]:
    """Every concept that was ever asked -> the phrases it was asked with, in the order of the record."""
    known = getattr(_run_config(dataset, ledger), "concepts", None) or {}
    prefix = f"{ledger.presence}."
    held = [path.removeprefix(prefix) for path in ledger.schema(dataset, flat=True) if path.startswith(prefix)]
    return {label: list(known.get(label, {}).get("phrases", ())) for label in [*known, *map(label_of, held)]}


def asked_checkpoint(dataset: fo.Dataset, ledger: Ledger) -> str | None:
    """The weights that a ledger's concepts were last asked of, as far as the record says."""
    known = getattr(_run_config(dataset, ledger), "concepts", None) or {}
    entries = sorted((e for e in known.values() if e.get("checkpoint")), key=lambda e: e.get("started") or "")
    return entries[-1]["checkpoint"] if entries else None


def vocabulary_of(dataset: fo.Dataset, ledger: str = DEFAULT, marks_field: str | None = None) -> Vocabulary:
    """The concepts that were asked or defined, as a concept file can hold them; with the phrases of their definition,
    where they have one, else with those that they were asked with.

    Args:
        dataset: the dataset
        ledger: name of the ledger
        marks_field: ``Detections`` with examples, and counter-examples, of the concepts. Without it, concepts that only
            examples know are left out

    Raises:
        ConceptError: nothing was asked; no field of boxes
    """
    info = run_info(dataset, ledger)
    known = dict(info.get("concepts") or {})
    for label, made in (info.get("definitions") or {}).items():
        said = {name: value for name, value in made.items() if value is not None}
        known[label] = {**known.get(label, {}), **said}
    shown = {} if marks_field is None else bank_of(dataset.exists(marks_field), marks_field)
    usable = {label for label, some in shown.items() if any(any(one["positive"]) for one in some)}
    concepts = tuple(
        Concept(
            label, tuple(e["phrases"]), e.get("threshold"), tuple(e.get("neighbours", ())), e.get("parent"),
            e.get("sense"),
        )
        for label, e in known.items() if e.get("phrases") or label in usable
    )  # fmt: skip
    if not concepts:
        raise ConceptError(f"{dataset.name!r} has no concepts in the ledger {ledger!r}: there is nothing to export")
    return Vocabulary(concepts, {c.label: shown[c.label] for c in concepts if c.label in shown})


def stored_from(dataset: fo.Dataset, ledger: Ledger) -> dict[str, float]:
    """Concept -> the confidence from which on its instances were stored, as far as the record says."""
    known = getattr(_run_config(dataset, ledger), "concepts", None) or {}
    levels = {label: (entry.get("floor"), _setting(entry, "threshold")) for label, entry in known.items()}
    lowest = {label: min((v for v in held if v is not None), default=None) for label, held in levels.items()}
    return {label: level for label, level in lowest.items() if level is not None}


def _setting(entry: Mapping[str, Any], name: str) -> Any:
    """A setting of a concept's entry; a concept without its own threshold has the run's."""
    value = entry.get(name)
    if name == "threshold" and value is None:
        return entry.get("confidence_thresh")
    if name in _LATER and value is not None:
        return {**_LATER[name], **value}
    return list(value) if name == "phrases" else value


def _differing(before: Any, now: Any) -> tuple[Any, Any]:
    """Of many settings, those that are not the same."""
    if not isinstance(before, Mapping) or not isinstance(now, Mapping):
        return before, now
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return {n: before.get(n) for n in names}, {n: now.get(n) for n in names}


def _run_config(dataset: fo.Dataset, ledger: Ledger) -> Any | None:
    if not dataset.has_run(ledger.name):
        return None
    return dataset.get_run_info(ledger.name).config


def _store_run(dataset: fo.Dataset, ledger: Ledger, config: Any) -> None:
    if dataset.has_run(ledger.name):
        dataset.update_run_config(ledger.name, config)
    else:
        dataset.register_run(ledger.name, config)
