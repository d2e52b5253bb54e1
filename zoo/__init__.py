"""SAM 3 as a remotely-sourced FiftyOne zoo model. FiftyOne runs this file on every call: it only delegates."""

from .source import download_model, load_model, parse_parameters, resolve_input

__all__ = ["download_model", "load_model", "parse_parameters", "resolve_input"]
