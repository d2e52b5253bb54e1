"""The panel "Concepts": one place where a person finds what is wrong, missing and hard."""

from __future__ import annotations

from .concepts import ConceptsPanel

__all__ = ["ConceptsPanel"]
