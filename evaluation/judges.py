"""One sample's predictions against its ground truth, concept by concept; what comes of it is written on its labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import fiftyone as fo
import numpy as np
from numpy.typing import NDArray

from .following import score_of
from .match import box_iou, mask_iou
from .oracle import best_annotator
from .pairs import Crowd, PairCounts, PairMatch, match_pair
from .policy import Policy
from .shapes import boxes, image_size, to_rle
from .video_pairs import VideoPairCounts

if __package__ == "evaluation":  # the repository's root is on the path, as in tests and scripts
    from zoo.ledger import Ledger, answered
else:  # the repository is a package, as FiftyOne's plugins are
    from ..zoo.ledger import Ledger, answered

Match: TypeAlias = tuple[str | None, str | None, float | None, float | None, str | None, str | None]
"""As FiftyOne's ``DetectionResults`` wants them: true label, predicted label, IoU, confidence, and the two ids."""


OUTCOMES = ("tp", "fp", "tn", "fn")
"""Of a concept in an image or video, masks ignored."""


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
        annotators: fields of further annotators' ground truth, of images.
        groups: fields of samples to break the numbers down by.
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
    annotators: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    matches: list[Match] = field(default_factory=list)

    def asked(self, document: Any) -> set[str]:
        """The concepts that a sample or frame was asked."""
        return set(self.policy.concepts) if self.ledger is None else answered(document, self.ledger)


class Marks:
    """What is to be written on the labels of one image or frame.

    A label of the ground truth may mean several concepts, and be found as one of them and missed as another: it is a
    true positive only if it was found as all of them.
    """

    def __init__(self, settings: Settings, found: Sequence[fo.Detection]) -> None:
        self.settings, self.found = settings, found
        self._truth: dict[str, fo.Detection] = {}
        self._missed: dict[str, list[str]] = {}
        self._hit: dict[str, tuple[float, str]] = {}
        self._taken: dict[int, tuple[float, str] | None] = {}

    def add(
        self, concept: str, kept: Iterable[int], objects: Sequence[fo.Detection],
        matches: Iterable[tuple[int, fo.Detection, float]], forgiven: Iterable[int] = (),
    ) -> None:  # fmt: skip
        """One concept's labels.

        Args:
            concept: which
            kept: its predictions that count; indices into all of them, as below
            objects: its ground truth, without crowds
            matches: (prediction, ground truth, IoU), whatever the IoU
            forgiven: predictions that are neither true nor false
        """
        partner = {p: (label, iou) for p, label, iou in matches if iou >= self.settings.iou}
        claimed, excused = {label.id for label, _ in partner.values()}, set(forgiven)
        self._truth |= {label.id: label for label in objects}
        out = self.settings.matches
        for p in kept:
            found = self.found[p]
            if p in partner:
                truth, iou = partner[p]
                self._taken[p] = iou, truth.id
                self._hit[truth.id] = max(self._hit.get(truth.id, (0.0, "")), (iou, found.id))
                out.append((concept, concept, iou, found.confidence, truth.id, found.id))
            elif p not in excused:
                self._taken[p] = None
                out.append((None, concept, None, found.confidence, None, found.id))
        for truth in objects:
            if truth.id not in claimed:
                self._missed.setdefault(truth.id, []).append(concept)
                out.append((concept, None, None, None, truth.id, None))

    def write(self, document: Any) -> tuple[int, int, int]:
        """Write them, and their numbers on the sample or frame; whoever holds it saves it.

        Returns:
            TP, FP, FN
        """
        key = self.settings.key
        tp = sum(pair is not None for pair in self._taken.values())
        numbers = tp, len(self._taken) - tp, sum(len(concepts) for concepts in self._missed.values())
        if key is None:
            return numbers
        for p, pair in self._taken.items():
            _mark(self.found[p], key, "fp" if pair is None else "tp", pair)
        for number, truth in self._truth.items():
            _mark(truth, key, "fn" if number in self._missed else "tp", self._hit.get(number))
            if number in self._missed:
                truth[f"{key}_missed"] = self._missed[number]
        for name, count in zip(("tp", "fp", "fn"), numbers, strict=True):
            document[f"{key}_{name}"] = count
        return numbers


class ImageJudge:
    """Judges images, against one annotator or several."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def judge(self, sample: Any) -> list[Judged]:
        """The pairs of one sample that count; its labels are marked.

        Raises:
            ValueError: labels that cannot be compared
        """
        s, policy = self.settings, self.settings.policy
        fields = [s.gt_field, *s.annotators]
        if any(sample[field] is None for field in fields):
            policy.skipped["there is no ground truth (an empty Detections says that nothing is there)"] += len(
                policy.concepts
            )
            return []
        truths, found = [sample[field].detections for field in fields], _detections(sample[s.pred_field])
        every = [label for truth in truths for label in truth]
        asked = s.asked(sample)
        size = image_size(sample.metadata, [*every, *found]) if s.use_masks else None
        marks, judged = Marks(s, found), []
        for concept in policy.candidates(sample, every):
            objects = [[truth[i] for i in policy.instances(concept, truth)] for truth in truths]
            if not policy.counts(concept, sample, any(objects), concept in asked):
                continue
            mine = [i for i, label in enumerate(found) if label.label == concept]
            matches = [self._match(concept, [found[i] for i in mine], labels, size) for labels in objects]
            best = best_annotator([match.counts for match in matches])
            judged.append(Judged(concept, matches[best].counts))
            self._mark(marks, concept, mine, objects[best], matches[best])
        marks.write(sample)
        if s.key is not None:
            sample[f"{s.key}_outcome"] = outcomes(judged)
        return judged

    def _mark(
        self, marks: Marks, concept: str, mine: Sequence[int], truth: Sequence[fo.Detection], match: PairMatch
    ) -> None:
        kept = [mine[i] for i in match.kept]
        forgiven = [mine[i] for i in match.kept if match.excused[i] >= self.settings.iou]
        matched = zip(match.pred.tolist(), match.gt.tolist(), match.iou.tolist(), strict=True)
        objects = [label for label in truth if not is_crowd(label, self.settings.iscrowd)]
        marks.add(concept, kept, objects, [(mine[p], truth[g], iou) for p, g, iou in matched], forgiven)

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
    """Lists of concepts, "tp", "fp", "tn" and "fn": is it there, and was it said to be? What does not count is in none.

    Lists, so that the App offers four filters, each with the concepts to choose from, whatever their number.
    """
    found: dict[str, list[str]] = {name: [] for name in OUTCOMES}
    for concept, counts in judged:
        pair = counts.volume if isinstance(counts, VideoPairCounts) else counts
        found[("t" if pair.has_gt == pair.has_pred else "f") + ("p" if pair.has_pred else "n")].append(concept)
    return fo.DynamicEmbeddedDocument(**found)


def is_crowd(label: fo.Detection, attribute: str) -> bool:
    """Whether a label of the ground truth is a region of many objects."""
    return bool(label.get_attribute_value(attribute, default=False))


def _detections(held: fo.Detections | None) -> list[fo.Detection]:
    return [] if held is None else held.detections


def _mark(label: fo.Detection, key: str, outcome: str, pair: tuple[float, str] | None) -> None:
    label[key] = outcome
    if pair is not None:
        label[f"{key}_iou"], label[f"{key}_id"] = pair
