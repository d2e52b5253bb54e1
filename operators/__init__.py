"""The App's face: one capability a file."""

from __future__ import annotations

from typing import Any

from .evaluate_concepts import EvaluateConcepts
from .metrics import METRICS
from .render_overlay import RenderOverlay
from .segment_concepts import SegmentConcepts
from .track_concepts import TrackConcepts

OPERATORS = (SegmentConcepts, TrackConcepts, RenderOverlay, EvaluateConcepts, *METRICS)


def register(plugin: Any) -> None:
    """Hand the operators to FiftyOne."""
    for operator in OPERATORS:
        plugin.register(operator)
