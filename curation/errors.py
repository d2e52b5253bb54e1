"""What can go wrong where results are shown and chosen from."""

from __future__ import annotations


class RenderError(ValueError):
    """An overlay cannot be made; says what to do."""


class CurationError(ValueError):
    """A question to the ledger that it cannot answer, or a change that cannot be made; says what to do."""
