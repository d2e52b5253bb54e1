"""pHOTA, how SAM 3 is measured on video: are the masklets of a concept found, and does each keep its identity?

The unit is a **pair**: one video and one noun phrase ("p" is for phrase). With the detections of all pairs added up,

    DetA = TP / (TP + FP + FN)      AssA = mean over the TPs of A      HOTA = √(DetA · AssA)

per localisation threshold alpha, where A is, of the frames that have the TP's masklet or its prediction, the share
where the two are matched to each other. pHOTA, pDetA and pAssA are the means over alpha = .05:.05:.95, so pHOTA is not
√(pDetA · pAssA). Made-up masklets on negative pairs are FPs; negative pairs that stay silent add nothing.

Source: the behaviour of the evaluator of SA-Co/VEval (facebookresearch/sam3 at 99d02f2,
``sam3/eval/saco_veval_evaluators.py``), whose numbers are reproduced to 1e-9; HOTA is Luiten et al., IJCV 2021.

Identity switches, in addition: how often the match of a ground-truth masklet becomes another one (at IoU ≥ 0.5, see
:func:`evaluation.video_pairs.count_video_pair`), divided by the number of those masklets. The mismatches of CLEAR MOT
(Bernardin & Stiefelhagen, "Evaluating Multiple Object Tracking Performance: The CLEAR MOT Metrics", 2008),
kept and counted as TrackEval's IDSW, with which they agree.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .video_pairs import ALPHAS, VideoPairCounts

if TYPE_CHECKING:
    import matplotlib.axes
    import pandas

_OFFICIAL_NAMES = {"pHOTA": "HOTA", "pDetA": "DetA", "pAssA": "AssA"}
_SUMMED = ("tp", "fp", "fn", "association")
_WIDTH = len(_SUMMED) * ALPHAS.size


@dataclass(frozen=True, eq=False)
class PHOTA:
    """The tracking metrics of a set of pairs. Ratios are 0…1; papers print them × 100. NaN: undefined.

    Attributes:
        alphas: (19,) localisation thresholds, .05:.05:.95.
        tp, fp, fn: (19,) int64 detections, summed over pairs.
        by_alpha: the (19,) values whose mean is the attribute of that name: "pHOTA", "pDetA", "pAssA". At an alpha
            where nothing matches, AssA counts as 0, as upstream; NaN only where a metric is undefined at all of them.
        pairs: how many pairs were counted, negatives included.
        masklets: ground-truth masklets.
        id_switches: changes of identity, summed over masklets.
        warnings: what is undefined, and why; a sentence each.
    """

    alphas: NDArray[np.float64]
    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    fn: NDArray[np.int64]
    by_alpha: dict[str, NDArray[np.float64]]
    pairs: int
    masklets: int
    id_switches: int
    warnings: tuple[str, ...] = ()

    def at(self, name: str, alpha: float | None = None) -> float:
        """A metric at one alpha, or its mean over all nineteen.

        Args:
            name: a key of ``by_alpha``.
            alpha: one of .05, .10, … .95. Default: the mean.

        Raises:
            ValueError: an unknown name or alpha.
        """
        if name not in self.by_alpha:
            raise ValueError(f"name is {name!r}; want one of {sorted(self.by_alpha)}")
        if alpha is None:
            return float(self.by_alpha[name].mean())
        index = np.flatnonzero(np.isclose(self.alphas, alpha, rtol=0, atol=1e-9))
        if index.size != 1:
            raise ValueError(f"alpha is {alpha}; want one of {self.alphas.round(2).tolist()}")
        return float(self.by_alpha[name][index[0]])

    @property
    def pHOTA(self) -> float:
        """The headline: detection and association, weighed equally."""
        return self.at("pHOTA")

    @property
    def pDetA(self) -> float:
        """How well the masklets are found, frame by frame; who is who plays no part."""
        return self.at("pDetA")

    @property
    def pAssA(self) -> float:
        """How well what is found keeps its identity."""
        return self.at("pAssA")

    @property
    def id_switches_per_masklet(self) -> float:
        """0 is best; there is no upper bound but the number of frames."""
        return self.id_switches / self.masklets if self.masklets else math.nan

    def official(self) -> dict[str, float]:
        """What upstream reports of these, under its names, with 0 where they are undefined.

        Returns:
            "HOTA", "DetA", "AssA". Upstream's keys are these with ``video_mask_all_phrase_`` in front, where
            "video" is the name of the dataset.
        """
        numbers = {theirs: self.at(ours) for ours, theirs in _OFFICIAL_NAMES.items()}
        return {name: 0.0 if math.isnan(value) else value for name, value in numbers.items()}

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain Python for JSON: numbers, lists, and None where undefined."""
        scalars = ("pHOTA", "pDetA", "pAssA", "id_switches_per_masklet")
        return {
            **{name: _plain(getattr(self, name)) for name in scalars},
            **{name: getattr(self, name) for name in ("id_switches", "masklets", "pairs")},
            **{name: getattr(self, name).tolist() for name in ("alphas", "tp", "fp", "fn")},
            "by_alpha": {name: [_plain(value) for value in values] for name, values in self.by_alpha.items()},
            "warnings": list(self.warnings),
        }

    def to_pandas(self) -> pandas.DataFrame:
        """One row an alpha: TP, FP, FN, and the columns of ``by_alpha``. NaN: undefined."""
        import pandas

        index = pandas.Index(self.alphas.round(2), name="alpha")
        return pandas.DataFrame({"TP": self.tp, "FP": self.fp, "FN": self.fn, **self.by_alpha}, index=index)

    def plot(self, axes: matplotlib.axes.Axes | None = None) -> matplotlib.axes.Axes:
        """pHOTA, pDetA and pAssA over the localisation thresholds.

        Args:
            axes: where to draw. Default: a new figure.
        """
        from .plots import lines

        return lines(self.alphas, self.by_alpha, "localisation threshold alpha", f"pHOTA {self.pHOTA:.3f}", axes)

    def __str__(self) -> str:
        lines = [
            f"{name}   {self.at(name):7.4f}   @.50 {self.at(name, 0.5):.4f}   @.75 {self.at(name, 0.75):.4f}"
            for name in self.by_alpha
        ]
        per_masklet = f"{self.id_switches_per_masklet:.4f} per masklet"
        lines.append(f"switches {self.id_switches:6d}   {per_masklet}   masklets {self.masklets}   pairs {self.pairs}")
        return "\n".join([*lines, *(f"warning: {warning}" for warning in self.warnings)])


def phota(pairs: Iterable[VideoPairCounts]) -> PHOTA:
    """Add up the counts of all pairs and compute pHOTA with everything around it.

    Args:
        pairs: one :class:`VideoPairCounts` per evaluated (video, phrase). Order does not matter, and neither do
            negative pairs without predictions.

    Returns:
        The metrics; read ``warnings`` before comparing with anything.

    Raises:
        TypeError: something that is not a VideoPairCounts.
        ValueError: no pairs.

    >>> from evaluation import Track, count_video_pair
    >>> mask = np.ones((2, 2), dtype=bool)
    >>> still = Track.from_frames([mask] * 4)
    >>> lost, found_again = Track.from_frames([mask, mask]), Track.from_frames([None, None, mask, mask])
    >>> print(phota([count_video_pair([still], [lost, found_again], 4)]))
    pHOTA    0.7071   @.50 0.7071   @.75 0.7071
    pDetA    1.0000   @.50 1.0000   @.75 1.0000
    pAssA    0.5000   @.50 0.5000   @.75 0.5000
    switches      1   1.0000 per masklet   masklets 1   pairs 1
    >>> print(phota([count_video_pair([still], [], 4)]).warnings[0])
    no prediction matches a masklet at any alpha: pAssA is undefined (upstream: 0)
    """
    pairs = list(pairs)
    for i, pair in enumerate(pairs):
        if not isinstance(pair, VideoPairCounts):
            raise TypeError(f"pairs[{i}] is a {type(pair).__name__}; want VideoPairCounts, see count_video_pair")
    if not pairs:
        raise ValueError("pairs is empty: there is nothing to evaluate")

    sums = hota_rows(pairs).sum(axis=0)
    tp, fp, fn = sums.reshape(len(_SUMMED), ALPHAS.size)[:3].astype(np.int64)
    masklets = sum(pair.masklets for pair in pairs)

    return PHOTA(
        alphas=ALPHAS,
        tp=tp,
        fp=fp,
        fn=fn,
        by_alpha=hota_metrics(sums),
        pairs=len(pairs),
        masklets=masklets,
        id_switches=sum(pair.id_switches for pair in pairs),
        warnings=tuple(_warnings(detections=bool((tp + fp + fn).any()), matches=bool(tp.any()), masklets=masklets)),
    )


def hota_rows(pairs: Iterable[VideoPairCounts]) -> NDArray[np.float64]:
    """One row of counts a pair, which add up: (N, 76) float64, TP, FP, FN and association at 19 alphas each."""
    return np.array([[getattr(pair, name) for name in _SUMMED] for pair in pairs], np.float64).reshape(-1, _WIDTH)


def hota_metrics(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """The metrics of summed rows.

    Args:
        sums: (…, 76) sums of :func:`hota_rows`.

    Returns:
        "pHOTA", "pDetA", "pAssA": (…, 19), see :class:`PHOTA`.
    """
    tp, fp, fn, association = np.moveaxis(sums.reshape(*sums.shape[:-1], len(_SUMMED), ALPHAS.size), -2, 0)
    detections = tp + fp + fn
    det_a = tp / np.maximum(detections, 1)
    ass_a = association / np.maximum(tp, 1)
    seen, matched = ((counts > 0).any(axis=-1, keepdims=True) for counts in (detections, tp))
    return {
        "pHOTA": np.where(seen, np.sqrt(det_a * ass_a), np.nan),
        "pDetA": np.where(seen, det_a, np.nan),
        "pAssA": np.where(matched, ass_a, np.nan),
    }


def _warnings(*, detections: bool, matches: bool, masklets: int) -> Iterator[str]:
    """What these counts leave undefined."""
    if not detections:
        yield "neither masklets nor predictions: pHOTA and pDetA are undefined (upstream: 0)"
    if not matches:
        yield "no prediction matches a masklet at any alpha: pAssA is undefined (upstream: 0)"
    if not masklets:
        yield "no ground-truth masklets: id_switches_per_masklet is undefined"


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
