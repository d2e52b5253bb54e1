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
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .match import IOU_THRESHOLDS
from .pairs import PairCounts
from .totals import COLUMNS, metrics, rows

if TYPE_CHECKING:
    import matplotlib.axes
    import pandas

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

    def to_pandas(self) -> pandas.DataFrame:
        """One row an IoU threshold: TP, FP, FN, and the columns of ``by_iou``. NaN: undefined."""
        import pandas

        counts = {"TP": self.tp, "FP": self.fp, "pmFP": self.pm_fp, "FN": self.fn}
        index = pandas.Index(self.thresholds.round(2), name="iou")
        return pandas.DataFrame({**counts, **self.by_iou}, index=index)

    def plot(self, axes: matplotlib.axes.Axes | None = None) -> matplotlib.axes.Axes:
        """cgF1, pmF1 and recall over the IoU thresholds: how fast do they fall when masks must be closer?

        Args:
            axes: where to draw. Default: a new figure.
        """
        from .plots import lines

        shown = {name: self.by_iou[name] for name in ("cgF1", "pmF1", "pmP", "recall")}
        return lines(self.thresholds, shown, "IoU threshold", f"IL_MCC {self.IL_MCC:.3f}", axes)

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
    table = rows(pairs)
    if not len(table):
        raise ValueError("pairs is empty: there is nothing to evaluate")
    sums = table.sum(axis=0)
    numbers = metrics(sums)
    counted = {name: sums[COLUMNS[name]].astype(np.int64) for name in ("tp", "fp", "pm_fp", "fn")}
    images = {name: int(sums[COLUMNS[name]]) for name in ("IL_TP", "IL_FP", "IL_TN", "IL_FN")}
    return CGF1(
        thresholds=IOU_THRESHOLDS,
        **counted,
        **images,
        **{name: float(numbers[name]) for name in _IMAGE_LEVEL},
        by_iou={name: values for name, values in numbers.items() if name not in _IMAGE_LEVEL},
        warnings=tuple(_warnings(*images.values(), scored=int(sums[COLUMNS["scored"]]))),
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


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
