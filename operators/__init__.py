"""The App's face: one capability a file."""

from __future__ import annotations

from typing import Any

from .segment_concepts import SegmentConcepts

OPERATORS = (SegmentConcepts,)


def register(plugin: Any) -> None:
    """Hand the operators to FiftyOne."""
    for operator in OPERATORS:
        plugin.register(operator)
