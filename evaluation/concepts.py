"""How good are the concepts of a dataset? A ledger's field against ground truth, with the metrics of SA-Co.

    evaluation = evaluate_concepts(dataset, "sam3", "ground_truth", exhaustive=True, eval_key="eval")
    print(evaluation)                  # cgF1, pmF1, IL_MCC, and what cannot be trusted
    evaluation.table.to_pandas()       # by concept
    dataset.match(F("eval_outcome.fp").contains("cap"))   # images in which a cap was made up
    dataset.to_evaluation_patches("eval")          # and all that FiftyOne does with its own evaluations
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import fiftyone as fo
import fiftyone.core.utils as fou

from .checks import (
    check_groups,
    check_masks,
    check_media,
    chosen_concepts,
    detections_field,
    plain_value,
    thresholds_of,
)
from .gold_score import CROWDS
from .judges import ImageJudge, Judged, Settings
from .policy import EvaluationError, GroundTruthNames, Policy, make_policy
from .record import Record, check_key, load_table
from .report import report, text
from .saco import CONCEPTS
from .table import PairTable
from .video_judge import VideoJudge

if __package__ == "evaluation":
    from zoo.ledger import DEFAULT
    from zoo.masklets import field_of_masklets
    from zoo.provenance import asked_phrases, ledger_of, stored_from
else:
    from ..zoo.ledger import DEFAULT
    from ..zoo.masklets import field_of_masklets
    from ..zoo.provenance import asked_phrases, ledger_of, stored_from


@dataclass(frozen=True, eq=False)
class ConceptEvaluation:
    """What came of an evaluation.

    Attributes:
        table: the pairs that count; concepts are labels, media are the ids of samples. Empty if none does.
        notes: what was left out, and why; a sentence each.
        key: under which it is stored, if it is.
    """

    table: PairTable
    notes: tuple[str, ...] = ()
    key: str | None = None

    def report(self) -> dict[str, Any]:
        """All numbers as plain Python, see :func:`evaluation.report.report`."""
        return report(self.table, self.notes) if len(self.table) else {"pairs_evaluated": 0, "warnings": [*self.notes]}

    def __str__(self) -> str:
        return text(self.table, self.notes) if len(self.table) else "\n".join(["no pair counts", *self.notes])


@dataclass(frozen=True)
class Step:
    """``done`` of ``total`` samples or videos; ``result`` once all are."""

    done: int
    total: int
    result: ConceptEvaluation | None = None


def evaluate_concepts(
    samples: fo.core.collections.SampleCollection,
    pred_field: str = DEFAULT,
    gt_field: str | Sequence[str] = "ground_truth",
    eval_key: str | None = None,
    *,
    concepts: Sequence[str] | None = None,
    gt_labels: GroundTruthNames | None = None,
    exhaustive: bool | Iterable[str] | None = None,
    negatives_field: str | None = None,
    not_exhaustive_field: str | None = None,
    threshold: float | Mapping[str, float] = 0.5,
    iou: float = 0.5,
    use_masks: bool = True,
    crowd: Literal["official", "ignore"] = "official",
    iscrowd: str = "iscrowd",
    groups: Sequence[str] = (),
    progress: bool | Callable | None = None,
) -> ConceptEvaluation:
    """Evaluate the concepts that were found in images, videos or image sequences.

    With ``eval_key``, labels get ``<key>`` ("tp", "fp", "fn"), ``<key>_iou`` and ``<key>_id``; samples get
    ``<key>_tp``, ``<key>_fp``, ``<key>_fn``, ``<key>_outcome``: lists "tp", "fp", "tn", "fn" of concepts (is it there,
    and was it said to be?) and ``<key>_error``. A ground-truth label that is found as one concept and missed as another
    is a "fn"; ``<key>_missed`` lists the latter. In videos, labels are marked frame by frame, as HOTA matches them, and
    have ``<key>_masklet`` for the whole masklet by its volume, as do the masklets' records.

    Args:
        samples: a dataset or view of images or videos, or a view that groups images into sequences.
        pred_field: instances of concepts, ``Detections``; of videos, in the frames.
        gt_field: ground truth, ``Detections``; labels are compared without regard to case. Several fields of images are
            several annotators: each pair is measured against the one it agrees with best, as in SA-Co/Gold.
        eval_key: a name for the evaluation, as in ``evaluate_detections``; an earlier one of that name is replaced.
            Default: nothing is stored.
        concepts: labels to evaluate. Default: all that were asked. Of a field that no ledger belongs to, all these
            count as asked of every sample.
        gt_labels: concept → the ground-truth label, or labels, or an expression such as
            ``(F("label") == "cap") & (F("colour") == "red")``. Default: the concept's label, and its phrases.
        exhaustive: True if every instance of every concept is labelled, or the concepts of which it is.
        negatives_field: lists the concepts that people found absent from a sample; beside ``exhaustive``, of the other
            concepts.
        not_exhaustive_field: lists the concepts whose instances are not all labelled in a sample; left out there.
        threshold: predictions below do not count; for all, or by concept (others: 0.5).
        iou: from which IoU on a label is called a true positive; the metrics go through all thresholds.
        use_masks: compare masks, or boxes.
        crowd: "official" drops crowd regions, "ignore" forgives what lies in them.
        iscrowd: the attribute that says so.
        groups: fields of samples, to break the numbers down by: ``result.table.by("weather")``.
        progress: whether to show a progress bar, or a function to call, as everywhere in FiftyOne.

    Raises:
        EvaluationError: before anything is stored: unknown fields or concepts, no word about absence, a key that is
            taken, labels without masks.
    """
    steps = evaluation_steps(
        samples, pred_field, gt_field, eval_key, concepts=concepts, gt_labels=gt_labels, exhaustive=exhaustive,
        negatives_field=negatives_field, not_exhaustive_field=not_exhaustive_field, threshold=threshold, iou=iou,
        use_masks=use_masks, crowd=crowd, iscrowd=iscrowd, groups=groups,
    )  # fmt: skip
    step = next(steps)
    with fou.ProgressBar(total=step.total, progress=progress) as bar:
        for step in steps:
            bar.set_iteration(step.done)
    return step.result


def evaluation_steps(
    samples: fo.core.collections.SampleCollection,
    pred_field: str = DEFAULT,
    gt_field: str | Sequence[str] = "ground_truth",
    eval_key: str | None = None,
    *,
    concepts: Sequence[str] | None = None,
    gt_labels: GroundTruthNames | None = None,
    exhaustive: bool | Iterable[str] | None = None,
    negatives_field: str | None = None,
    not_exhaustive_field: str | None = None,
    threshold: float | Mapping[str, float] = 0.5,
    iou: float = 0.5,
    use_masks: bool = True,
    crowd: Literal["official", "ignore"] = "official",
    iscrowd: str = "iscrowd",
    groups: Sequence[str] = (),
) -> Iterator[Step]:
    """As :func:`evaluate_concepts`, with its arguments and errors, a sample at a time; the last step has the result.

    Yields:
        first with nothing done
    """
    sequences = bool(getattr(samples, "_is_dynamic_groups", False))
    check_media(samples, sequences)
    dataset, video = samples._root_dataset, sequences or samples.media_type == fo.core.media.VIDEO
    gt_fields = [gt_field] if isinstance(gt_field, str) else list(gt_field)
    if not gt_fields or (video and len(gt_fields) > 1):
        raise EvaluationError(f"gt_field is {gt_field!r}; want one field, or, of images, one for each annotator")
    paths = [("pred_field", pred_field), *(("gt_field", path) for path in gt_fields)]
    bare = [detections_field(samples, name, path) for name, path in paths]
    framed = samples.media_type == fo.core.media.VIDEO
    ledger = ledger_of(dataset, bare[0], frames=framed)
    known = asked_phrases(dataset, ledger) if ledger else {}
    if not known and concepts is None and "saco" in dataset.info:
        concepts = samples.distinct(CONCEPTS)
    chosen = chosen_concepts(concepts, known, bare[0])
    policy = make_policy(
        samples, [f"frames.{name}" if framed else name for name in bare[1:]], chosen, phrases=known,
        gt_labels=gt_labels, exhaustive=exhaustive, negatives_field=negatives_field,
        not_exhaustive_field=not_exhaustive_field,
    )  # fmt: skip
    if crowd not in CROWDS:
        raise EvaluationError(f"crowd is {crowd!r}; want one of {list(CROWDS)}")
    thresholds = thresholds_of(threshold, chosen)
    if not 0 < iou <= 1:
        raise EvaluationError(f"iou is {iou}; want a number above 0, at most 1")
    if use_masks:
        check_masks(samples, bare, framed)
    check_groups(samples, groups)
    settings = Settings(
        *bare[:2], policy, thresholds, ledger, use_masks, iou, CROWDS[crowd], iscrowd, eval_key, tuple(bare[2:]),
        tuple(groups),
    )  # fmt: skip
    if eval_key is not None:
        check_key(dataset, eval_key, bare)
    total = len(samples)
    yield Step(0, total)

    record = None
    if eval_key is not None:
        record = Record(samples, settings, video)
        record.begin()
    judged: list[tuple[tuple[str, dict[str, Any]], Judged]] = []
    failed: list[str] = []
    judge = VideoJudge(settings) if video else ImageJudge(settings)
    for done, (sample, pairs) in enumerate(_judged(samples, settings, judge, sequences), 1):
        if isinstance(pairs, str):
            failed.append(pairs)
        else:
            unit = sample.id, {name: plain_value(sample, name) for name in groups}
            judged += [(unit, pair) for pair in pairs]
        if done < total:
            yield Step(done, total)
    table = PairTable(
        [pair.counts for _, pair in judged],
        [pair.concept for _, pair in judged],
        [number for (number, _), _ in judged],
        {name: [values[name] for (_, values), _ in judged] for name in groups},
    )
    levels = stored_from(dataset, ledger) if ledger else {}
    high = {c: levels[c] for c in chosen if c in levels and levels[c] > thresholds[c]}
    result = ConceptEvaluation(table, tuple(_notes(policy, judge, failed, eval_key, high)), eval_key)
    if record is not None:
        about = dict(
            pred_field=pred_field, gt_field=gt_fields[0], annotators=bare[2:], concepts=list(chosen),
            thresholds=thresholds, iou=iou, use_masks=use_masks, crowd=crowd, notes=list(result.notes),
            exhaustive=True if policy.exhaustive is None else sorted(policy.exhaustive),
            negatives_field=negatives_field, not_exhaustive_field=not_exhaustive_field,
        )  # fmt: skip
        record.finish(table if judged else None, result.report(), about)
    yield Step(total, total, result)


def load_concept_evaluation(dataset: fo.Dataset, eval_key: str) -> ConceptEvaluation:
    """An evaluation that was stored: all its numbers, by concept and with intervals, without matching anything anew.

    Raises:
        EvaluationError: there is none of that key
    """
    table, about = load_table(dataset, eval_key)
    return ConceptEvaluation(table or PairTable([], [], []), tuple(about.get("notes", ())), eval_key)


def _judged(
    samples: fo.core.collections.SampleCollection, settings: Settings, judge: ImageJudge | VideoJudge, sequences: bool
) -> Iterator[tuple[fo.Sample, list[Judged] | str]]:
    """Sample, and its pairs, or why there are none. A sample that cannot be judged costs itself."""
    for view in samples.iter_dynamic_groups() if sequences else [samples]:
        view = _slim(view, settings)
        with view.save_context() as context:
            for unit in [list(view)] if sequences else ([sample] for sample in view):
                before = len(settings.matches)
                pairs: list[Judged] | str
                try:
                    pairs = _pairs(judge, unit, sequences)
                except Exception as error:  # whatever a label's mask holds, or the reading of its file raises
                    del settings.matches[before:]
                    pairs = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
                    if settings.key is not None:
                        unit[0][f"{settings.key}_error"] = pairs
                if settings.key is not None:
                    for sample in unit:
                        context.save(sample)
                yield unit[0], pairs


def _pairs(judge: ImageJudge | VideoJudge, unit: Sequence[fo.Sample], sequence: bool) -> list[Judged]:
    """The pairs of an image, of a video, or of the images of a sequence."""
    if isinstance(judge, ImageJudge):
        return judge.judge(unit[0])
    if sequence:
        return judge.judge(unit[0], unit)
    return judge.judge(unit[0], sorted(unit[0].frames.values(), key=lambda frame: frame.frame_number))


def _slim(view: fo.core.collections.SampleCollection, settings: Settings) -> fo.DatasetView:
    """Nothing but the fields that are read."""
    framed = view.media_type == fo.core.media.VIDEO
    names = [settings.pred_field, settings.gt_field, *settings.annotators]
    names += settings.ledger.asked_fields(view) if settings.ledger else []
    paths = [f"frames.{name}" for name in names] if framed else names
    records = field_of_masklets(settings.pred_field)
    rest = [*settings.policy.fields, *settings.groups, *([records] if view.has_field(records) else [])]
    return view.select_fields([*paths, *rest])


def _notes(
    policy: Policy,
    judge: ImageJudge | VideoJudge,
    failed: Sequence[str],
    key: str | None,
    stored: Mapping[str, float],
) -> Iterator[str]:
    """What was left out, and what cannot be known; ``stored``: what the database holds from too high a level on."""
    if failed:
        where = f"see {key}_error" if key else "the first: " + failed[0]
        yield f"{len(failed)} samples could not be evaluated; {where}"
    yield from policy.notes()
    if stored:
        concept, level = next(iter(stored.items()))
        yield f"{concept!r} was stored from {level:g} on, above the threshold here: what lies between is not known"
    if isinstance(judge, VideoJudge):
        for reason, count in judge.frames_left.items():
            yield f"{count} frames are left out: {reason}"
