"""What the functions that find something share: how a generator of steps is run to its end."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import fiftyone.core.utils as fou

from .errors import CurationError


def run_steps(
    name: str, steps: Callable[..., Iterator[Any]], said: tuple[Any, ...], settings: Mapping[str, Any], progress: Any
) -> Any:
    """The result of the last step.

    Args:
        name: of the function that people call, for messages.
        steps: a generator of ``done`` of ``total``, and at the end a ``result``; its ``settings`` are by keyword.
        said, settings: its arguments.
        progress: whether to show a progress bar, or a function.

    Raises:
        CurationError: a setting that there is not, and whatever ``steps`` raises.
    """
    known = [one.name for one in inspect.signature(steps).parameters.values() if one.kind is one.KEYWORD_ONLY]
    unknown = [setting for setting in settings if setting not in known]
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, n=1)
        there = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(map(repr, known))}"
        raise CurationError(f"{name}() has no setting {unknown[0]!r}; {there}")
    running = steps(*said, **settings)
    step = next(running)
    with fou.ProgressBar(total=step.total, progress=progress) as bar:
        for step in running:
            bar.set_iteration(step.done)
    return step.result
