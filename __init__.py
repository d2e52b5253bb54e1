"""The plugin. FiftyOne runs this file on every request: it only names the operators."""

from .operators import register

__all__ = ["register"]
