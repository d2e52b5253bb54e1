"""What is measured of reviews, see :mod:`benchmarks.review`: faults are planted, and looked for as a reviewer would."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import fiftyone as fo
import numpy as np

from curation.exhaustivity import check_exhaustivity
from curation.records import delete_findings
from curation.review import build_review
from emoji_world.faults import Faults, plant_faults
from emoji_world.vocabulary import NOUNS

#: share of the queue after which it is looked how much was found
EARLY = 0.15
#: pairs of a sample and a concept with some labels left, and with none
PARTS = ("some", "none")
#: by what pairs are ranked
SCORES = ("score", "examples", "words", "presence")


def measure(dataset: fo.Dataset, seeds: Iterable[int]) -> dict[str, Any]:
    """One run for each seed of the faults; the dataset is a world's, see :class:`benchmarks.planted.World`."""
    seeds = list(seeds)
    return dict(
        scenes=len(dataset), exhaustivity=[_exhaustivity(dataset, seed) for seed in seeds],
        queue=[_queue(dataset, seed) for seed in seeds],
    )  # fmt: skip


# ---------------------------------------------------------------- exhaustivity


def _exhaustivity(dataset: fo.Dataset, seed: int) -> dict[str, Any]:
    """AUCs of one planting."""
    lacking, complete = _leave_out(dataset, "partly", seed)
    found = check_exhaustivity(dataset, "partly", list(NOUNS), key=None, progress=False)
    known = {(pair.sample_id, pair.concept): pair for pair in found.pairs}
    places = {number: k for k, number in enumerate(dataset.values("id"))}
    presence = {noun: dataset.values(f"sam3_presence.{noun}") for noun in NOUNS}
    rows: dict[str, list[tuple[bool, dict[str, float]]]] = {part: [] for part in PARTS}
    for (sample, noun), left in {**complete, **lacking}.items():
        pair = known.get((sample, noun))
        felt = presence[noun][places[sample]] or 0.0
        scores = dict.fromkeys(SCORES, 0.0) | dict(presence=felt)
        if pair is not None:
            words = pair.by_words or 0.0
            shown = words if pair.by_examples is None else pair.by_examples
            scores |= dict(score=pair.score, words=words, examples=shown)
        rows["some" if left else "none"].append(((sample, noun) in lacking, scores))
    return {part: _areas(some) for part, some in rows.items()}


def _leave_out(dataset: fo.Dataset, into: str, seed: int) -> tuple[dict, dict]:
    """Half of the pairs of a sample and a noun that is in it lose a label; (sample id, noun) → labels that are left, of
    these and of those that are complete. To tell absence from a lost label, as many pairs with nothing in them are
    complete: nouns whose presence is the largest where they are not.
    """
    rng = np.random.default_rng([seed, 0xE84])
    held = {s.id: [d.copy() for d in s.ground_truth.detections] for s in dataset.select_fields("ground_truth")}
    lacking: dict[tuple[str, str], int] = {}
    complete: dict[tuple[str, str], int] = {}
    for sample, labels in held.items():
        for noun in sorted({label.label for label in labels}):
            own = [k for k, label in enumerate(labels) if label is not None and label.label == noun]
            if rng.random() < 0.5:
                labels[own[int(rng.integers(len(own)))]] = None
                lacking[sample, noun] = len(own) - 1
            else:
                complete[sample, noun] = len(own)
    dataset.add_sample_field(into, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    kept = {sample: fo.Detections(detections=[d for d in labels if d is not None]) for sample, labels in held.items()}
    dataset.set_values(into, kept, key_field="id")
    empty = sum(not left for left in lacking.values())
    felt = [
        (value or 0.0, sample, noun) for noun in NOUNS
        for sample, value in zip(held, dataset.values(f"sam3_presence.{noun}"), strict=True)
        if (sample, noun) not in lacking and (sample, noun) not in complete
    ]  # fmt: skip
    complete |= {(sample, noun): 0 for _, sample, noun in sorted(felt, key=lambda one: -one[0])[:empty]}
    return lacking, complete


def _areas(rows: Sequence[tuple[bool, dict[str, float]]]) -> dict[str, float]:
    from sklearn.metrics import roc_auc_score

    lacks = [lacking for lacking, _ in rows]
    if len(set(lacks)) < 2:  # in a very small world
        return dict.fromkeys(SCORES, float("nan")) | dict(pairs=len(rows), lacking=sum(lacks))
    areas = {name: float(roc_auc_score(lacks, [scores[name] for _, scores in rows])) for name in SCORES}
    return dict(areas, pairs=len(rows), lacking=sum(lacks))


# ---------------------------------------------------------------- the queue


def _queue(dataset: fo.Dataset, seed: int) -> dict[str, Any]:
    """When the faults of one planting are asked about."""
    faults = plant_faults(dataset, seed=seed)
    dataset.add_dynamic_sample_fields("labels")
    asked = dict(concepts=list(NOUNS), key=None, progress=False)
    plain = build_review(dataset, "labels", **asked)
    single = build_review(dataset, "labels", batch=1, **asked)
    check_exhaustivity(dataset, "labels", list(NOUNS), key="checked", progress=False)
    checked = build_review(dataset, "labels", exhaustivity="checked", **asked)
    delete_findings(dataset, "checked")
    nouns = {d.id: d.label for s in dataset.select_fields("ground_truth") for d in s.ground_truth.detections}
    kinds = {
        "missing": [f"exhaustivity:{sample}:{nouns[truth]}" for sample, truth in faults.missing],
        "wrong": list(faults.wrong), "extra": list(faults.extra),
    }  # fmt: skip
    orders = {"batches": plain.items, "batches, with check": checked.items, "one by one": single.items}
    rng = np.random.default_rng(seed)
    batches: dict[int, list[Any]] = {}
    for item in plain.items:
        batches.setdefault(item.batch, []).append(item)
    shuffled = [item for k in rng.permutation(len(batches)) for item in batches[int(k)]]
    orders["random batches"] = tuple(shuffled)
    shares = {name: _found(items, kinds, faults) for name, items in orders.items()}
    return dict(
        items=len(plain), faults=sum(faults.counts.values()), kinds=shares["batches"].pop("kinds"),
        orders={name: {key: share[key] for key in ("early", "half")} for name, share in shares.items()},
    )  # fmt: skip


def _found(items: Sequence[Any], kinds: dict[str, list[str]], faults: Faults) -> dict[str, Any]:
    """How early faults come: as shares of the queue; a fault that is never asked about comes after its end."""
    place: dict[str, int] = {}
    for k, item in enumerate(items):
        place.setdefault(item.label_id or f"exhaustivity:{item.sample_id}:{item.concept}", k)
    when = {kind: np.array([place.get(one, np.inf) for one in some]) / len(items) for kind, some in kinds.items()}
    every = np.sort(np.concatenate(list(when.values())))
    middle = float(every[(len(every) - 1) // 2])
    told = {
        kind: dict(early=float(np.mean(some < EARLY)), never=float(np.isinf(some).mean()))
        for kind, some in when.items()
    }  # fmt: skip
    return dict(early=float(np.mean(every < EARLY)), half=min(middle, 1.0), kinds=told)
