"""SAM 3 as a remotely-sourced FiftyOne zoo model. FiftyOne runs this file on every call: it only delegates."""

# FiftyOne imports this package as "concepts.sam3", and there is no package "concepts". Python misses it only when it
# imports a package together with a module in it, as `from .engine.errors import ...` would: so packages come first.
from .engine import __name__ as _  # noqa: F401, I001
from .source import download_model, load_model, parse_parameters, resolve_input

__all__ = ["download_model", "load_model", "parse_parameters", "resolve_input"]
