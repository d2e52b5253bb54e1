"""What can go wrong where media are drawn."""

from __future__ import annotations


class RenderError(ValueError):
    """An overlay cannot be made; says what to do."""
