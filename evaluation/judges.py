"""One sample's predictions against its ground truth, concept by concept; what comes of it is written on its labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import fiftyone as fo
import numpy as np
from numpy.typing import NDArray

from .match import box_iou, mask_iou
from .pairs import Crowd, PairCounts, PairMatch, match_pair
from .policy import Policy
from .shapes import boxes, image_size, to_rle
from .video_pairs import VideoPairCounts

if __package__ == "evaluation":  # the repository's root is on the path, as in tests and scripts
    from zoo.ledger import Ledger, field_of, recorded
else:  # the repository is a package, as FiftyOne's plugins are
    from ..zoo.ledger import Ledger, field_of, recorded

Match: TypeAlias = tuple[str | None, str | None, float | None, float | None, str | None, str | None]
"""As FiftyOne's ``DetectionResults`` wants them: true label, predicted label, IoU, confidence, and the two ids."""


class Judged(NamedTuple):
    """One pair."""

    concept: str
    counts: PairCounts | VideoPairCounts


@dataclass
class Settings:
    """How samples are judged.

    Attributes:
        pred_field, gt_field: fields of what is judged, a sample or a frame; without "frames."
        policy: which pairs count.
        thresholds: concept → what a score has to reach.
        ledger: says what was asked; None: everything.
        use_masks: compare masks, or boxes.
        iou: from which IoU on labels are called true positives.
        crowd: see :func:`evaluation.pairs.count_pair`.
        iscrowd: the attribute of ground truth that says so.
        key: names of the fields that are written begin with it; None: nothing is written.
        matches: what was matched and what was not, so far.
    """

    pred_field: str
    gt_field: str
    policy: Policy
    thresholds: Mapping[str, float]
    ledger: Ledger | None
    use_masks: bool = True
    iou: float = 0.5
    crowd: Crowd = "drop"
    iscrowd: str = "iscrowd"
    key: str | None = None
    matches: list[Match] = field(default_factory=list)

    def asked(self, document: Any) -> set[str]:
        """The concepts that a sample or frame was asked."""
        return set(self.policy.concepts) if self.ledger is None else recorded(document, self.ledger)


class Marks:
    """What is to be written on the labels of one image or frame.

    A label of the ground truth may mean several concepts, and be found as one of them and missed as another: it is a
    true positive only if it was found as all of them.
    """

    def __init__(self, settings: Settings, truth: Sequence[fo.Detection], found: Sequence[fo.Detection]) -> None:
        self.settings, self.truth, self.found = settings, truth, found
        self.missed: dict[int, list[str]] = {}
        self.hit: dict[int, tuple[float, str]] = {}
        self.taken: dict[int, tuple[float, str] | None] = {}

    def add(
        self, concept: str, kept: Iterable[int], objects: Iterable[int],
        matches: Iterable[tuple[int, int, float]], forgiven: Iterable[int] = (),
    ) -> None:  # fmt: skip
        """One concept's labels.

        Args:
            concept: which
            kept: its predictions that count; indices into all of them, as below
            objects: its ground truth, without crowds
            matches: (prediction, ground truth, IoU), whatever the IoU
            forgiven: predictions that are neither true nor false
        """
        good = [(p, g, iou) for p, g, iou in matches if iou >= self.settings.iou]
        partner = {p: (g, iou) for p, g, iou in good}
        claimed = {g for _, g, _ in good}
        matches_out = self.settings.matches
        for p in kept:
            label = self.found[p]
            if p in partner:
                g, iou = partner[p]
                self.taken[p] = iou, self.truth[g].id
                if g not in self.hit or iou > self.hit[g][0]:
                    self.hit[g] = iou, label.id
                matches_out.append((concept, concept, iou, label.confidence, self.truth[g].id, label.id))
            elif p not in set(forgiven):
                self.taken[p] = None
                matches_out.append((None, concept, None, label.confidence, None, label.id))
        for g in objects:
            if g not in claimed:
                self.missed.setdefault(g, []).append(concept)
                matches_out.append((concept, None, None, None, self.truth[g].id, None))

    def write(self, document: Any) -> tuple[int, int, int]:
        """Write them, and their numbers on the sample or frame; whoever holds it saves it.

        Returns:
            TP, FP, FN
        """
        key = self.settings.key
        tp = sum(pair is not None for pair in self.taken.values())
        numbers = tp, len(self.taken) - tp, sum(len(concepts) for concepts in self.missed.values())
        if key is None:
            return numbers
        for p, pair in self.taken.items():
            _mark(self.found[p], key, "fp" if pair is None else "tp", pair)
        for g in {*self.hit, *self.missed}:
            _mark(self.truth[g], key, "fn" if g in self.missed else "tp", self.hit.get(g))
            if g in self.missed:
                self.truth[g][f"{key}_missed"] = self.missed[g]
        for name, number in zip(("tp", "fp", "fn"), numbers, strict=True):
            document[f"{key}_{name}"] = number
        return numbers


class ImageJudge:
    """Judges images."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def judge(self, sample: Any) -> list[Judged]:
        """The pairs of one sample that count; its labels are marked.

        Raises:
            ValueError: labels that cannot be compared
        """
        s, policy = self.settings, self.settings.policy
        if sample[s.gt_field] is None:
            policy.skipped["there is no ground truth (an empty Detections says that nothing is there)"] += len(
                policy.concepts
            )
            return []
        truth, found = sample[s.gt_field].detections, _detections(sample[s.pred_field])
        asked = s.asked(sample)
        size = image_size(sample.metadata, [*truth, *found]) if s.use_masks else None
        marks, judged = Marks(s, truth, found), []
        for concept in policy.concepts:
            objects = policy.instances(concept, truth)
            if not policy.counts(concept, sample, bool(objects), concept in asked):
                continue
            mine = [i for i, label in enumerate(found) if label.label == concept]
            match = self._match(concept, [found[i] for i in mine], [truth[i] for i in objects], size)
            judged.append(Judged(concept, match.counts))
            kept = [mine[i] for i in match.kept]
            forgiven = [mine[i] for i in match.kept if match.excused[i] >= s.iou]
            matched = zip(match.pred.tolist(), match.gt.tolist(), match.iou.tolist(), strict=True)
            pairs = [(mine[p], objects[g], iou) for p, g, iou in matched]
            marks.add(concept, kept, [i for i in objects if not is_crowd(truth[i], s.iscrowd)], pairs, forgiven)
        marks.write(sample)
        if s.key is not None:
            sample[f"{s.key}_outcome"] = outcomes(judged)
        return judged

    def _match(
        self, concept: str, found: Sequence[fo.Detection], truth: Sequence[fo.Detection], size: tuple[int, int] | None
    ) -> PairMatch:
        s = self.settings
        crowds = [is_crowd(label, s.iscrowd) for label in truth]
        scores = [score_of(label) for label in found]
        if not found or not truth:
            iou: NDArray[np.float64] = np.zeros((len(found), len(truth)))
        elif s.use_masks:
            iou = mask_iou([to_rle(x, size) for x in found], [to_rle(x, size) for x in truth], gt_crowd=crowds)
        else:
            iou = box_iou(boxes(found), boxes(truth), gt_crowd=crowds)
        return match_pair(iou, scores, threshold=s.thresholds[concept], gt_crowd=crowds, crowd=s.crowd)


def outcomes(judged: Iterable[Judged]) -> fo.DynamicEmbeddedDocument:
    """Concept → "tp", "fp", "tn" or "fn": is it there, and was it said to be? What does not count is left out."""
    found = {}
    for concept, counts in judged:
        pair = counts.volume if isinstance(counts, VideoPairCounts) else counts
        found[field_of(concept)] = ("t" if pair.has_gt == pair.has_pred else "f") + ("p" if pair.has_pred else "n")
    return fo.DynamicEmbeddedDocument(**found)


def is_crowd(label: fo.Detection, attribute: str) -> bool:
    """Whether a label of the ground truth is a region of many objects."""
    return bool(label.get_attribute_value(attribute, default=False))


def score_of(label: fo.Detection) -> float:
    """A prediction's confidence; one that a person drew has none, and is sure."""
    return 1.0 if label.confidence is None else float(label.confidence)


def _detections(held: fo.Detections | None) -> list[fo.Detection]:
    return [] if held is None else held.detections


def _mark(label: fo.Detection, key: str, outcome: str, pair: tuple[float, str] | None) -> None:
    label[key] = outcome
    if pair is not None:
        label[f"{key}_iou"], label[f"{key}_id"] = pair
