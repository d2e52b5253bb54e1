"""One video's masklets against its ground truth, concept by concept; what comes of it goes on its labels.

Both sides are followed by ``instance``, or by ``index``. Frames count if they have ground truth (an empty
``Detections`` says that nothing is there; no ``Detections`` says nothing) and were asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import fiftyone as fo
import numpy as np

from .following import Places, follow, masklet_score
from .judges import Judged, Marks, Settings, is_crowd, outcomes
from .shapes import image_size, to_rle
from .tracks import Track
from .video_pairs import VideoPairMatch, match_video_pair

if __package__ == "evaluation":
    from zoo.masklets import field_of_masklets
else:
    from ..zoo.masklets import field_of_masklets


@dataclass
class _Frame:
    """One frame that counts: its document, the labels of both sides, and what it was asked."""

    document: Any
    truth: list[fo.Detection]
    found: list[fo.Detection]
    asked: set[str]
    marks: Marks


class VideoJudge:
    """Judges videos, and sequences of images.

    Attributes:
        frames_left: frames that do not count, by reason.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.frames_left: Counter[str] = Counter()

    def judge(self, sample: Any, documents: Iterable[Any]) -> list[Judged]:
        """The pairs of one video that count; its labels are marked.

        Args:
            sample: the video, or the first image of a sequence: it holds the masklets, and gets the outcomes
            documents: its frames, or images, in order

        Raises:
            ValueError: labels that cannot be followed or compared
        """
        s, policy = self.settings, self.settings.policy
        frames = list(self._frames(documents))
        if not frames:
            policy.skipped["no frame has ground truth and was asked"] += len(policy.concepts)
            return []
        first = frames[0].document
        known = getattr(first, "metadata", None) if isinstance(first, fo.core.sample._SampleMixin) else None
        size = image_size(known or sample.metadata, (x for f in frames for x in [*f.truth, *f.found]))
        judged, whole = [], {}
        for concept in policy.candidates(sample, (x for frame in frames for x in frame.truth)):
            mine = [frame for frame in frames if concept in frame.asked]
            truth = follow((f.truth for f in mine), (policy.instances(concept, f.truth) for f in mine))
            if not policy.counts(concept, sample, bool(truth), bool(mine)):
                continue
            said = ([i for i, x in enumerate(f.found) if x.label == concept] for f in mine)
            found = follow((f.found for f in mine), said)
            match = match_video_pair(
                [self._track(mine, masklet, "truth", size) for masklet in truth],
                [self._track(mine, masklet, "found", size) for masklet in found],
                len(mine),
                threshold=s.thresholds[concept],
            )
            judged.append(Judged(concept, match.counts))
            self._mark_frames(concept, mine, truth, found, match)
            whole |= self._mark_masklets(mine, truth, found, match)
        totals = np.sum([frame.marks.write(frame.document) for frame in frames], axis=0)
        if s.key is not None:
            for name, number in zip(("tp", "fp", "fn"), totals.tolist(), strict=True):
                sample[f"{s.key}_{name}"] = number
            sample[f"{s.key}_outcome"] = outcomes(judged)
            self._mark_records(sample, whole)
        return judged

    def _frames(self, documents: Iterable[Any]) -> Iterator[_Frame]:
        s = self.settings
        for document in documents:
            truth, found, asked = document[s.gt_field], document[s.pred_field], s.asked(document)
            if truth is None:
                self.frames_left["they have no ground truth"] += 1
            elif not asked:
                self.frames_left["they were not asked"] += 1
            else:
                labels = truth.detections, found.detections if found is not None else []
                yield _Frame(document, *labels, asked, Marks(s, labels[1]))

    def _track(self, frames: Sequence[_Frame], masklet: Places, side: str, size: tuple[int, int] | None) -> Track:
        labels = {t: getattr(frames[t], side)[place] for t, place in masklet.items()}
        if side == "truth":
            score, crowd = 1.0, any(is_crowd(label, self.settings.iscrowd) for label in labels.values())
        else:
            score, crowd = masklet_score(list(labels.values())), False
        rles = {t: self._rle(label, size) for t, label in labels.items()}
        # A label without a pixel is an object, for upstream, where it is ground truth.
        return Track(rles, score=score, crowd=crowd, keep_empty=side == "truth")

    def _rle(self, label: fo.Detection, size: tuple[int, int] | None) -> dict[str, Any]:
        if size is None:
            raise ValueError("the size of the frames is not known: run dataset.compute_metadata()")
        if self.settings.use_masks:
            return to_rle(label, size)
        sides = zip(label.bounding_box[:1:-1], size, strict=True)
        height, width = (max(round(part * whole), 1) for part, whole in sides)
        box = fo.Detection(label=label.label, bounding_box=label.bounding_box, mask=np.ones((height, width), bool))
        return to_rle(box, size)

    def _mark_frames(
        self, concept: str, frames: Sequence[_Frame], truth: Sequence[Places], found: Sequence[Places],
        match: VideoPairMatch,
    ) -> None:  # fmt: skip
        """What HOTA sees: every label of every frame."""
        for t, frame in enumerate(frames):
            kept = [found[p][t] for p in match.above if t in found[p]]
            objects = [frame.truth[masklet[t]] for masklet in truth if t in masklet]
            pairs = [
                (found[p][t], frame.truth[truth[g][t]], float(iou))
                for p, g, iou in zip(*match.frames.get(t, ((), (), ())), strict=True)
            ]
            frame.marks.add(concept, kept, objects, pairs)

    def _mark_masklets(
        self, frames: Sequence[_Frame], truth: Sequence[Places], found: Sequence[Places], match: VideoPairMatch
    ) -> dict[int, tuple[str, float | None]]:
        """What cgF1 sees: whole masklets. Index → outcome and volume IoU, of the predicted ones."""
        key, by_index = self.settings.key, {}
        pairs = zip(match.masklets.pred.tolist(), match.masklets.gt.tolist(), match.masklets.iou.tolist(), strict=True)
        good = {p: (g, iou) for p, g, iou in pairs if iou >= self.settings.iou}
        claimed = {g for g, _ in good.values()}
        for p in match.masklets.kept.tolist():
            outcome = "tp" if p in good else "fp"
            for t, place in found[p].items():
                label = frames[t].found[place]
                by_index[label.index] = outcome, good[p][1] if p in good else None
                if key is not None:
                    label[f"{key}_masklet"] = outcome
        for g, masklet in enumerate(truth):
            for t, place in masklet.items():
                label = frames[t].truth[place]
                if key is not None and not is_crowd(label, self.settings.iscrowd):
                    missed = g not in claimed or label.get_attribute_value(f"{key}_masklet", default=None) == "fn"
                    label[f"{key}_masklet"] = "fn" if missed else "tp"
        return by_index

    def _mark_records(self, sample: Any, whole: dict[int, tuple[str, float | None]]) -> None:
        name = field_of_masklets(self.settings.pred_field)
        records = sample[name] if sample.has_field(name) else None
        if not isinstance(records, fo.TemporalDetections):
            return
        for record in records.detections:
            outcome, iou = whole.get(record.get_attribute_value("index", default=None), (None, None))
            if outcome is not None:
                record[self.settings.key] = outcome
            if iou is not None:
                record[f"{self.settings.key}_iou"] = iou
