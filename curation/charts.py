"""Charts of the ledger as plain Plotly data: a histogram of presence, and reliability curves."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .calibration import Reliability

BINS = 20
#: present, absent, what is measured, what would be ideal
PRESENT, ABSENT, MEASURED, IDEAL = "#ff6d04", "#8a8d91", "#499cef", "#6b6e73"
_FONT = dict(color="#b5b8bd", size=11)
_MARGIN = dict(l=48, r=16, t=8, b=36)


def edges(bins: int = BINS) -> NDArray[np.float64]:
    """(bins + 1,) edges of the histogram's bars."""
    return np.linspace(0, 1, bins + 1)


def histogram(presence: NDArray[np.float64], threshold: float, bins: int = BINS) -> list[dict[str, Any]]:
    """One bar for each stretch of presence; bars above the threshold have another colour.

    Args:
        presence: (N,) in [0, 1]; ``nan`` is not asked, and in no bar.
        threshold: where absent ends.
        bins: how many bars.
    """
    counts, marks = np.histogram(presence[~np.isnan(presence)], edges(bins))
    middles = (marks[:-1] + marks[1:]) / 2
    return [
        dict(
            type="bar", x=np.round(middles, 4).tolist(), y=counts.tolist(), width=[1 / bins * 0.92] * bins,
            marker=dict(color=[PRESENT if middle >= threshold else ABSENT for middle in middles]),
            hovertemplate="%{y} samples<extra></extra>", name="samples",
        )
    ]  # fmt: skip


def histogram_layout(
    presence: NDArray[np.float64], threshold: float, bins: int = BINS, height: int = 190
) -> dict[str, Any]:
    """Axes, and a line at the threshold. Where most samples are in one bar, counts are on a log scale: few matter."""
    counts, _ = np.histogram(presence[~np.isnan(presence)], edges(bins))
    held = counts[counts > 0]
    steep = len(held) > 0 and held.max() > 15 * held.min()
    return dict(
        height=height, margin=_MARGIN, font=_FONT, showlegend=False, bargap=0.04, dragmode=False,
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)",
        xaxis=dict(range=[0, 1], title=dict(text="presence"), fixedrange=True, gridcolor="rgba(128,128,128,0.15)"),
        yaxis=dict(
            title=dict(text="samples" + (" (log)" if steep else "")), fixedrange=True, rangemode="tozero",
            type="log" if steep else "linear", gridcolor="rgba(128,128,128,0.15)",
        ),
        shapes=[dict(type="line", x0=threshold, x1=threshold, y0=0, y1=1, yref="paper",
                     line=dict(color=PRESENT, width=2, dash="dash"))],
    )  # fmt: skip


def reliability_chart(before: Reliability, after: Reliability | None) -> list[dict[str, Any]]:
    """Share of samples that have the concept, against what presence says; with 95 % intervals."""
    traces = [
        dict(type="scatter", mode="lines", x=[0, 1], y=[0, 1], name="ideal", line=dict(color=IDEAL, dash="dot"))
    ]
    for curve, name, colour in ((before, "presence", ABSENT), (after, "calibrated", PRESENT)):
        if curve is None:
            continue
        held = np.asarray(curve.counts) > 0
        x, y = np.asarray(curve.predicted)[held], np.asarray(curve.observed)[held]
        low, high = np.asarray(curve.low)[held], np.asarray(curve.high)[held]
        traces.append(dict(
            type="scatter", mode="lines+markers", x=np.round(x, 4).tolist(), y=np.round(y, 4).tolist(),
            name=f"{name}, error {curve.ece:.3f}", line=dict(color=colour), marker=dict(size=7),
            error_y=dict(type="data", symmetric=False, thickness=1, width=2, color=colour,
                         array=np.round(high - y, 4).tolist(), arrayminus=np.round(y - low, 4).tolist()),
            hovertemplate="says %{x:.2f}, true in %{y:.0%}<extra></extra>",
        ))  # fmt: skip
    return traces


def reliability_layout(height: int = 230) -> dict[str, Any]:
    """Axes of :func:`reliability_chart`."""
    return dict(
        height=height, margin=_MARGIN, font=_FONT, dragmode=False, paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)", legend=dict(orientation="h", y=1.12, x=0),
        xaxis=dict(range=[-0.02, 1.02], title=dict(text="says"), fixedrange=True, gridcolor="rgba(128,128,128,0.15)"),
        yaxis=dict(range=[-0.05, 1.05], title=dict(text="is there"), fixedrange=True,
                   gridcolor="rgba(128,128,128,0.15)"),
    )  # fmt: skip
