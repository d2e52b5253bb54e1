"""Pictures of the metrics, with matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    import matplotlib.axes

    from .intervals import Interval


def lines(
    x: ArrayLike,
    values: Mapping[str, ArrayLike],
    label: str,
    title: str,
    axes: matplotlib.axes.Axes | None = None,
) -> matplotlib.axes.Axes:
    """Metrics over thresholds: one line each, its mean in the legend.

    Args:
        x: (T,) thresholds.
        values: name → (T,) values; NaN are left out.
        label: of the x axis.
        title: of the picture.
        axes: where to draw. Default: a new figure.
    """
    axes = axes or _axes()
    for name, line in values.items():
        array = np.asarray(line, dtype=np.float64)
        mean = "undefined" if np.isnan(array).all() else f"{np.nanmean(array):.3f}"
        axes.plot(x, array, marker="o", markersize=3, label=f"{name} ({mean})")
    axes.set(xlabel=label, title=title, ylim=(min(0.0, *axes.get_ylim()), 1.02))
    axes.grid(alpha=0.3)
    axes.legend()
    return axes


def bars(
    names: Sequence[str],
    values: ArrayLike,
    label: str,
    intervals: Sequence[Interval | None] | None = None,
    axes: matplotlib.axes.Axes | None = None,
) -> matplotlib.axes.Axes:
    """One bar a concept, the first on top, with confidence intervals where there are any.

    Args:
        names: of the bars.
        values: (N,) lengths; NaN are drawn as nothing and marked.
        label: of the x axis.
        intervals: one a bar, or None.
        axes: where to draw. Default: a new figure of fitting height.
    """
    lengths = np.asarray(values, dtype=np.float64)
    axes = axes or _axes(height=1.2 + 0.28 * len(names))
    places = np.arange(len(names))
    axes.barh(places, np.nan_to_num(lengths), color="#4c78a8")
    for place, length, interval in zip(places, lengths, intervals or [None] * len(names), strict=True):
        if np.isnan(length):
            axes.text(0.01, place, "undefined", va="center", fontsize=8, color="#888888")
        elif interval is not None:
            axes.plot([interval.low, interval.high], [place, place], color="#333333", linewidth=1.5)
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set(xlabel=label)
    axes.grid(axis="x", alpha=0.3)
    return axes


def _axes(height: float = 4.0) -> matplotlib.axes.Axes:
    """A figure of its own, unknown to pyplot, which would keep it for ever; notebooks show it all the same."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()
