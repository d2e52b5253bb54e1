"""One copy of each checkpoint in memory, however often it is asked for."""

from __future__ import annotations

import os
import weakref
from typing import Any

from .engine.checkpoint import TINY, Checkpoint, load_checkpoint, parse_device, parse_dtype
from .engine.compiling import parse_compile

_loaded: weakref.WeakValueDictionary[tuple[str, str, str, str], Checkpoint] = weakref.WeakValueDictionary()


def shared_checkpoint(
    checkpoint: str | os.PathLike[str] = TINY, device: Any = None, dtype: Any = None, *, tracker: bool = False,
    compile: Any = None,
) -> Checkpoint:
    """As :func:`load_checkpoint`, but a checkpoint that is in use already is handed out again.

    Two models with other concepts or thresholds share their weights; one for images is content with one for videos.
    """
    chosen = parse_device(device)
    key = (str(checkpoint), str(chosen), str(parse_dtype(dtype, chosen)), str(parse_compile(compile)))
    held = _loaded.get(key)
    if held is None or (tracker and held.tracker is None):
        held = load_checkpoint(checkpoint, device, dtype, tracker=tracker, compile=compile)
        _loaded[key] = held
    return held
