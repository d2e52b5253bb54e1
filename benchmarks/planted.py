"""Curation on the emoji world with faults whose places are known: what is found, of what was planted."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
from fiftyone import ViewField as F

from curation.answers import read_answers
from curation.calibration import reliability
from curation.hard_negatives import find_hard_negatives
from curation.label_errors import KINDS, find_label_errors
from curation.thresholds import learn
from curation.truth import Said, read_truth
from emoji_world.dataset import build_scenes
from emoji_world.faults import Faults, plant_faults
from emoji_world.prompts import hard_negatives
from emoji_world.scenes import sample_scene
from emoji_world.vocabulary import COLOURS, NOUNS, TINTABLE
from evaluation.match import mask_iou
from evaluation.shapes import to_rle
from zoo.source import load_model

#: scenes that no training, card or demo has seen
FIRST_SEED = 700_000
PHRASES = (*NOUNS, *(f"{colour} {noun}" for noun in TINTABLE for colour in COLOURS))
GT_LABELS = {f"{c} {n}": (F("label") == n) & (F("colour") == c) for n in TINTABLE for c in COLOURS}
#: stored down to here: doubtful instances are evidence, too
FLOOR = 0.05


class World:
    """Scenes whose every phrase was asked; their truth is in ``ground_truth``."""

    def __init__(self, scenes: int) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="curation-")
        self.seeds = list(_seeds(scenes))
        name = fo.core.dataset.make_unique_dataset_name("curation-benchmark")
        self.dataset = build_scenes(name, Path(self.folder.name), self.seeds)
        model = load_model("concepts/sam3-tiny-image", classes=list(PHRASES), floor=FLOOR)
        self.dataset.apply_model(model, label_field="sam3", batch_size=8)
        self.phrases = dict(zip(*self.dataset.values(["id", "phrases"]), strict=True))
        paths = dict(zip(*self.dataset.values(["id", "filepath"]), strict=True))
        self.seed = {number: int(Path(path).stem.split("-")[1]) for number, path in paths.items()}

    def close(self) -> None:
        """Delete the dataset and its images."""
        self.dataset.delete()
        self.folder.cleanup()

    # ------------------------------------------------------------------ label errors

    def label_errors(self, seeds: Iterable[int]) -> dict[str, Any]:
        """precision@k of each kind, k as many as were planted, a list over the seeds; and how much the scores mean."""
        ours: dict[str, list[float]] = {kind: [] for kind in KINDS}
        brain: dict[str, list[float]] = {kind: [] for kind in KINDS}
        planted: dict[str, int] = {}
        scores, hits = [], []
        for seed in seeds:
            faults = plant_faults(self.dataset, seed=seed)
            planted = faults.counts
            judge = _Judge(self.dataset, faults)
            found = find_label_errors(
                self.dataset, "sam3", "labels", None, exhaustive=True, concepts=list(NOUNS), min_score=0.0,
                progress=False,
            )  # fmt: skip
            for kind in KINDS:
                right = [judge.right(kind, one.label_id) for one in found.of(kind)[: planted[kind]]]
                ours[kind].append(sum(right) / max(planted[kind], 1))
                brain[kind].append(_brain(self.dataset, kind, planted[kind], judge))
                scores += [one.score for one in found.of(kind)]
                hits += [judge.right(kind, one.label_id) for one in found.of(kind)]
        return dict(planted=planted, ours=ours, brain=brain, score_ece=reliability(scores, hits).ece)

    # ------------------------------------------------------------------ hard negatives

    def hard_negatives(self, seeds: Iterable[int], k: int = 100) -> dict[str, Any]:
        """Of the first ``k``: the share that truly lack the concept, and of these, the share that are hard: the model
        fires, or the world planted a look-alike. From true labels, and from labels with faults.
        """
        rows: dict[str, list[dict[str, float]]] = {"true labels": [], "labels with faults": []}
        for field, name in (("ground_truth", "true labels"), ("labels", "labels with faults")):
            for seed in seeds if field == "labels" else [0]:
                if field == "labels":
                    plant_faults(self.dataset, seed=seed)
                found = find_hard_negatives(
                    self.dataset, "sam3", field, None, exhaustive=True, gt_labels=GT_LABELS, senses="usual",
                    progress=False,
                ).found[:k]  # fmt: skip
                absent = np.array([one.concept not in self.phrases[one.sample_id] for one in found])
                hard = np.array([self._hard(one) for one in found])
                rows[name].append(dict(
                    found=len(found), absent=float(absent.mean()), precision=float((absent & hard).mean()),
                    fires=float(np.mean([one.presence >= 0.5 for one in found])),
                ))  # fmt: skip
        return rows

    def _hard(self, one: Any) -> bool:
        return one.presence >= 0.5 or one.concept in hard_negatives(sample_scene(self.seed[one.sample_id]))

    # ------------------------------------------------------------------ calibration

    def calibration(self, methods: Iterable[str] = ("platt", "isotonic")) -> dict[str, Any]:
        """Expected calibration error of presence on the half of the scenes that nothing was learned from: over all
        pairs, and over the hard ones, where the concept is there or something that looks like it is.
        """
        ids = self.dataset.values("id")
        halves = [self.dataset.select(ids[start::2], ordered=True) for start in (0, 1)]
        said = Said("ground_truth", True, GT_LABELS)
        known = []
        for half in halves:
            answers = read_answers(half)
            known.append((answers, read_truth(half, answers, said)))
        answers, truth = known[1]
        cruel = [set(hard_negatives(sample_scene(self.seed[number]))) for number in answers.ids.tolist()]
        hard = truth.present | np.array([[name in names for name in answers.concepts] for names in cruel])
        found: dict[str, Any] = dict(pairs=int(truth.known.sum()), hard_pairs=int(hard.sum()))
        for name, chosen in (("all", truth.known), ("hard", hard)):
            found[f"raw_{name}"] = reliability(answers.presence[chosen], truth.present[chosen]).ece
        for method in methods:
            learned = learn(*known[0], "sam3", method=method)
            better = np.stack(
                [learned.concepts[name].calibrator(answers.presence[:, k]) for k, name in enumerate(answers.concepts)],
                axis=1,
            )
            for name, chosen in (("all", truth.known), ("hard", hard)):
                found[f"{method}_{name}"] = reliability(better[chosen], truth.present[chosen]).ece
        return found


class _Judge:
    """Knows what was planted."""

    def __init__(self, dataset: fo.Dataset, faults: Faults) -> None:
        self.wrong, self.extra = set(faults.wrong), set(faults.extra)
        gone = dict((truth, sample) for sample, truth in faults.missing)
        self.missing: set[str] = set()
        for sample in dataset.select(sorted(set(gone.values()))).iter_samples():
            size = sample.metadata.height, sample.metadata.width
            truths = [d for d in sample.ground_truth.detections if d.id in gone]
            for found in sample.sam3.detections:
                same = [d for d in truths if d.label == found.label]
                if same and found.get_mask().size:
                    overlap = mask_iou([to_rle(found, size)], [to_rle(d, size) for d in same])
                    if overlap.max() >= 0.5:
                        self.missing.add(found.id)

    def right(self, kind: str, label: str) -> bool:
        """Whether a finding is one of what was planted; of a missing label, the instance that lies on it."""
        return label in {"missing": self.missing, "wrong": self.wrong, "extra": self.extra}[kind]


def _brain(dataset: fo.Dataset, kind: str, k: int, judge: _Judge) -> float:
    """precision@k of FiftyOne Brain: the better of all predictions, and of those with a confidence above 0.5."""
    import fiftyone.brain as fob

    best = 0.0
    for floor in (FLOOR, 0.5):
        view = dataset.filter_labels("sam3", F("confidence") > floor, only_matches=False)
        nouns = F("label").is_in(list(NOUNS))
        copy = view.select_fields(["sam3", "labels"]).filter_labels("sam3", nouns, only_matches=False).clone()
        try:
            fob.compute_mistakenness(copy, "sam3", label_field="labels", copy_missing=False, progress=False)
            found = []
            for sample in copy.iter_samples():
                labels = sample.sam3.detections if kind == "missing" else sample.labels.detections
                for label in labels:
                    held = {name: label.get_attribute_value(name, default=None) for name in _BRAIN[kind]}
                    if kind == "missing" and held["possible_missing"]:
                        found.append((label.confidence, label.id))
                    elif kind == "extra" and held["possible_spurious"]:
                        found.append((held["mistakenness"] or 0.0, label.id))
                    elif kind == "wrong" and held["mistakenness"] is not None and not held["possible_spurious"]:
                        found.append((held["mistakenness"], label.id))
        finally:
            copy.delete()
        found.sort(key=lambda one: -one[0])
        best = max(best, sum(judge.right(kind, label) for _, label in found[:k]) / max(k, 1))
    return best


_BRAIN = {
    "missing": ("possible_missing",),
    "extra": ("possible_spurious", "mistakenness"),
    "wrong": ("possible_spurious", "mistakenness"),
}


def _seeds(count: int) -> Iterable[int]:
    seed = FIRST_SEED
    while count:
        if sample_scene(seed).objects:
            yield seed
            count -= 1
        seed += 1
