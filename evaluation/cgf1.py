"""cgF1, how SAM 3 is measured: does the model know *that* a concept is there (IL_MCC), and *where* (pmF1)?

The unit is a **pair**: one image and one noun phrase. With the counts of all pairs added up,

    P = TP / (TP + pmFP + 1e-4)      R = TP / (TP + FN + 1e-4)      pmF1 = 2PR / (P + R + 1e-4)
    IL_MCC = (TP·TN − FP·FN) / (√((TP+FP)(TP+FN)(TN+FP)(TN+FN)) + 1e-6)      of pairs, masks ignored
    cgF1 = pmF1 · IL_MCC

per IoU threshold, where pmFP are the false positives on positive pairs only (those on negative pairs are the
business of IL_MCC). The headline numbers are means over the thresholds .50:.05:.95.

Source: the behaviour of the released evaluator (facebookresearch/sam3 at 99d02f2,
``sam3/eval/cgf1_eval.py``), whose numbers are reproduced to 1e-9, its epsilons included. cgF1, pmF1 and
IL_MCC always equal its numbers. What else it reports as 0 or -1 for want of anything to divide by is NaN
here. Either way ``CGF1.warnings`` says so, and ``CGF1.official()`` gives all its numbers under its names.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .match import IOU_THRESHOLDS
from .pairs import MASK_EPS, PairCounts, f1_score

IMAGE_EPS = 1e-6
"""What upstream adds to the denominators of ratios of pairs."""

_OFFICIAL_NAMES = {"pmF1": "positive_micro_F1", "pmP": "positive_micro_precision"}
_IMAGE_LEVEL = ("IL_precision", "IL_recall", "IL_F1", "IL_FPR", "IL_MCC")


@dataclass(frozen=True, eq=False)
class CGF1:
    """The metrics of a set of pairs. Ratios are 0…1, cgF1 and IL_MCC -1…1; papers print them × 100. NaN: undefined.

    Attributes:
        thresholds: (10,) IoU thresholds, .50:.05:.95.
        tp, fp, pm_fp, fn: (10,) int64 sums over pairs; ``pm_fp`` over the pairs that have ground truth only.
        IL_TP, IL_FP, IL_TN, IL_FN: how many pairs, by (has ground truth) × (has a kept prediction).
        IL_precision, IL_recall, IL_F1, IL_FPR, IL_MCC: from these four.
        by_iou: the (10,) values whose mean is the attribute of that name: "cgF1", "pmF1", "pmP" (the
            precision in pmF1), "precision" and "F1" (these count false positives on negative pairs too),
            "recall", and "positive_macro_F1" (mean F1 of the pairs that have both ground truth and
            predictions).
        warnings: what is undefined, and what to read instead; a sentence each.
    """

    thresholds: NDArray[np.float64]
    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    pm_fp: NDArray[np.int64]
    fn: NDArray[np.int64]
    IL_TP: int
    IL_FP: int
    IL_TN: int
    IL_FN: int
    IL_precision: float
    IL_recall: float
    IL_F1: float
    IL_FPR: float
    IL_MCC: float
    by_iou: dict[str, NDArray[np.float64]]
    warnings: tuple[str, ...] = ()

    def at(self, name: str, iou: float | None = None) -> float:
        """A mask-level metric at one IoU threshold, or its mean over all ten.

        Args:
            name: a key of ``by_iou``.
            iou: one of .50, .55, … .95. Default: the mean.

        Raises:
            ValueError: an unknown name or threshold.
        """
        if name not in self.by_iou:
            raise ValueError(f"name is {name!r}; want one of {sorted(self.by_iou)}")
        if iou is None:
            return float(self.by_iou[name].mean())
        index = np.flatnonzero(np.isclose(self.thresholds, iou, rtol=0, atol=1e-9))
        if index.size != 1:
            raise ValueError(f"iou is {iou}; want one of {self.thresholds.round(2).tolist()}")
        return float(self.by_iou[name][index[0]])

    @property
    def cgF1(self) -> float:
        """The headline: pmF1 × IL_MCC, mean over the thresholds."""
        return self.at("cgF1")

    @property
    def cgF1_50(self) -> float:
        return self.at("cgF1", 0.5)

    @property
    def cgF1_75(self) -> float:
        return self.at("cgF1", 0.75)

    @property
    def pmF1(self) -> float:
        """How good the masks are where the concept is ("positive micro F1")."""
        return self.at("pmF1")

    @property
    def pmF1_50(self) -> float:
        return self.at("pmF1", 0.5)

    @property
    def pmF1_75(self) -> float:
        return self.at("pmF1", 0.75)

    @property
    def pmP(self) -> float:
        """The precision in pmF1."""
        return self.at("pmP")

    @property
    def precision(self) -> float:
        """Like pmP, with the false positives on negative pairs."""
        return self.at("precision")

    @property
    def recall(self) -> float:
        return self.at("recall")

    @property
    def F1(self) -> float:
        """Of ``precision`` and ``recall``."""
        return self.at("F1")

    @property
    def positive_macro_F1(self) -> float:
        """Mean F1 of the pairs that have both ground truth and predictions."""
        return self.at("positive_macro_F1")

    @property
    def pairs_evaluated(self) -> int:
        return self.IL_TP + self.IL_FP + self.IL_TN + self.IL_FN

    def official(self) -> dict[str, float]:
        """All numbers that upstream reports, under its names, with 0 or -1 where they are undefined.

        Returns:
            Mask-level metrics as ``name`` (mean), ``name@0.5`` and ``name@0.75``; ``IL_…`` as is. Upstream's
            keys are these with ``cgF1_eval_segm_`` in front.
        """
        numbers = {
            _OFFICIAL_NAMES.get(name, name) + suffix: self.at(name, iou)
            for suffix, iou in (("", None), ("@0.5", 0.5), ("@0.75", 0.75))
            for name in self.by_iou
        } | {name: float(getattr(self, name)) for name in _IMAGE_LEVEL}
        return {
            name: (-1.0 if name.startswith("positive_macro_F1") else 0.0) if math.isnan(value) else value
            for name, value in numbers.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain Python for JSON: numbers, lists, and None where undefined."""
        scalars = (
            "cgF1",
            "cgF1_50",
            "cgF1_75",
            "pmF1",
            "pmF1_50",
            "pmF1_75",
            "pmP",
            "precision",
            "recall",
            "F1",
        )
        return {
            **{name: _plain(getattr(self, name)) for name in (*scalars, "positive_macro_F1", *_IMAGE_LEVEL)},
            **{name: getattr(self, name) for name in ("pairs_evaluated", "IL_TP", "IL_FP", "IL_TN", "IL_FN")},
            **{name: getattr(self, name).tolist() for name in ("thresholds", "tp", "fp", "pm_fp", "fn")},
            "by_iou": {name: [_plain(value) for value in values] for name, values in self.by_iou.items()},
            "warnings": list(self.warnings),
        }

    def __str__(self) -> str:
        image = f"precision {self.IL_precision:.4f}   recall {self.IL_recall:.4f}   FPR {self.IL_FPR:.4f}"
        counts = f"TP {self.IL_TP}   FP {self.IL_FP}   TN {self.IL_TN}   FN {self.IL_FN}"
        lines = [
            f"cgF1    {self.cgF1:7.4f}   @.50 {self.cgF1_50:.4f}   @.75 {self.cgF1_75:.4f}",
            f"pmF1    {self.pmF1:7.4f}   @.50 {self.pmF1_50:.4f}   @.75 {self.pmF1_75:.4f}",
            f"IL_MCC  {self.IL_MCC:7.4f}   {image}",
            f"pairs   {self.pairs_evaluated:7d}   {counts}",
        ]
        return "\n".join([*lines, *(f"warning: {warning}" for warning in self.warnings)])


def cgf1(pairs: Iterable[PairCounts]) -> CGF1:
    """Add up the counts of all pairs and compute cgF1 with everything around it.

    Args:
        pairs: one :class:`PairCounts` per evaluated (image, phrase), negatives included: a phrase that was
            asked, is not in the image and was rightly not found is a pair too. Order does not matter.

    Returns:
        The metrics; read ``warnings`` before comparing with anything.

    Raises:
        TypeError: something that is not a PairCounts.
        ValueError: no pairs.

    >>> def pair(tp, fp, fn):
    ...     counts = [np.full(10, n) for n in (tp, fp, fn)]
    ...     return PairCounts(*counts, has_gt=tp + fn > 0, has_pred=tp + fp > 0)
    >>> found, missed, made_up, silence = pair(4, 1, 0), pair(0, 0, 2), pair(0, 1, 0), pair(0, 0, 0)
    >>> print(cgf1([found, found, missed, made_up, silence, silence]))
    cgF1     0.2666   @.50 0.2666   @.75 0.2666
    pmF1     0.7999   @.50 0.7999   @.75 0.7999
    IL_MCC   0.3333   precision 0.6667   recall 0.6667   FPR 0.3333
    pairs         6   TP 2   FP 1   TN 2   FN 1
    >>> print(cgf1([found]).warnings[0])
    no negative pairs: IL_MCC is undefined; read pmF1 (IL_MCC and cgF1 are 0, as upstream)
    """
    pairs = list(pairs)
    for i, pair in enumerate(pairs):
        if not isinstance(pair, PairCounts):
            raise TypeError(f"pairs[{i}] is a {type(pair).__name__}; want PairCounts, see count_pair")
    if not pairs:
        raise ValueError("pairs is empty: there is nothing to evaluate")

    positives = [pair for pair in pairs if pair.has_gt]
    tp, fp, fn = _total(pairs, "tp"), _total(pairs, "fp"), _total(pairs, "fn")
    pm_fp = _total(positives, "fp")
    # A pair with nothing but crowds (crowd="ignore") is positive and yet has no objects to score.
    scored = [pair.f1 for pair in positives if pair.has_pred and (pair.tp + pair.fn).any()]
    by_iou = {
        "precision": _ratio(tp, tp + fp, MASK_EPS),
        "recall": _ratio(tp, tp + fn, MASK_EPS),
        "F1": f1_score(tp, fp, fn) if (tp + fp + fn).any() else _undefined(),
        "positive_macro_F1": np.sum(scored, axis=0) / len(scored) if scored else _undefined(),
        "pmF1": f1_score(tp, pm_fp, fn),
        "pmP": _ratio(tp, tp + pm_fp, MASK_EPS),
    }

    il_tp = sum(pair.has_pred for pair in positives)
    il_fn = len(positives) - il_tp
    il_fp = sum(pair.has_pred for pair in pairs) - il_tp
    il_tn = len(pairs) - il_tp - il_fn - il_fp
    il_p, il_r = il_tp / (il_tp + il_fp + IMAGE_EPS), il_tp / (il_tp + il_fn + IMAGE_EPS)
    il_f1 = 2 * il_p * il_r / (il_p + il_r + IMAGE_EPS)
    margins = float(il_tp + il_fp) * float(il_tp + il_fn) * float(il_tn + il_fp) * float(il_tn + il_fn)
    mcc = float(il_tp * il_tn - il_fp * il_fn) / (math.sqrt(margins) + IMAGE_EPS)

    return CGF1(
        thresholds=IOU_THRESHOLDS,
        tp=tp,
        fp=fp,
        pm_fp=pm_fp,
        fn=fn,
        IL_TP=il_tp,
        IL_FP=il_fp,
        IL_TN=il_tn,
        IL_FN=il_fn,
        IL_precision=float(_ratio(il_tp, il_tp + il_fp, IMAGE_EPS)),
        IL_recall=float(_ratio(il_tp, il_tp + il_fn, IMAGE_EPS)),
        IL_F1=il_f1 if il_tp + il_fp + il_fn else math.nan,
        IL_FPR=float(_ratio(il_fp, il_fp + il_tn, IMAGE_EPS)),
        IL_MCC=mcc,
        by_iou={"cgF1": by_iou["pmF1"] * mcc, **by_iou},
        warnings=tuple(_warnings(il_tp, il_fp, il_tn, il_fn, scored=len(scored))),
    )


def _warnings(tp: int, fp: int, tn: int, fn: int, *, scored: int) -> Iterable[str]:
    """What these counts of pairs leave undefined."""
    zero = "(IL_MCC and cgF1 are 0, as upstream)"
    if tp + fn == 0:
        yield f"no positive pairs: IL_MCC and pmF1 are undefined; read IL_FPR {zero}"
    if tn + fp == 0:
        yield f"no negative pairs: IL_MCC is undefined; read pmF1 {zero}"
    if tp + fp == 0:
        yield f"no predictions at or above the threshold: IL_MCC is undefined {zero}"
    if tn + fn == 0 and tn + fp > 0 and tp + fn > 0:
        yield f"every pair has a prediction: IL_MCC is undefined; read pmF1 and IL_FPR {zero}"
    if scored == 0:
        yield "no pair has both ground truth and predictions: positive_macro_F1 is NaN (upstream: -1)"


def _ratio(part: Any, whole: Any, eps: float) -> Any:
    """Part / (whole + eps); NaN throughout where every whole is 0, that is, where there was nothing to count."""
    return part / (whole + eps) if np.any(whole) else np.full(np.shape(whole), np.nan)


def _undefined() -> NDArray[np.float64]:
    return np.full(IOU_THRESHOLDS.shape, np.nan)


def _total(pairs: list[PairCounts], name: str) -> NDArray[np.int64]:
    """(10,) sum of one count over pairs."""
    return sum((getattr(pair, name) for pair in pairs), start=np.zeros(IOU_THRESHOLDS.shape, dtype=np.int64))


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
