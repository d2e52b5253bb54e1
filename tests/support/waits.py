"""How often the host would wait for a GPU: counted on a CPU, by what is called."""

from __future__ import annotations

import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from zoo.engine import transfers

#: what reads a tensor in Python, or makes as many rows as a tensor says
_READS = {
    "tolist", "item", "cpu", "__bool__", "__float__", "__int__", "__index__", "__contains__",
    "nonzero", "argwhere", "masked_select", "unique", "equal", "allclose",
}  # fmt: skip


class Waits(TorchFunctionMode):
    """Counts them, in ``places``, by the line of the engine that makes them.

    What ``transfers`` brings over counts once, and what it sends, not at all. Which tensors are the host's own cannot
    be seen on a CPU: reading these counts, too; but not ``numpy()``, which a tensor on a GPU refuses.
    """

    def __init__(self) -> None:
        super().__init__()
        self.places: Counter[str] = Counter()
        self.quiet = 0

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = getattr(func, "__name__", str(func)), kwargs or {}
        if not self.quiet and _waits(name, args, kwargs):
            self.note()
        return func(*args, **kwargs)

    def note(self) -> None:
        """One more."""
        lines = [f for f in traceback.extract_stack() if "/zoo/engine/" in f.filename]
        self.places[f"{lines[-1].filename.rsplit('/', 1)[-1]}:{lines[-1].lineno}"] += 1


def _waits(name: str, args: Any, kwargs: Any) -> bool:
    if name in ("__getitem__", "__setitem__"):
        places = args[1] if isinstance(args[1], tuple) else (args[1],)
        # a list is sent, and a mask is read
        return any(isinstance(p, (list, np.ndarray)) or getattr(p, "dtype", None) == torch.bool for p in places)
    return name in _READS or (name in ("tensor", "as_tensor") and kwargs.get("device") is not None)


@contextmanager
def counted(without: Sequence[Any] = ()) -> Iterator[Waits]:
    """Counts within it.

    Args:
        without: owner and name of functions that are not looked into
    """
    waits = Waits()

    def silent(function: Callable[..., Any], counts: bool) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            if counts:
                waits.note()
            waits.quiet += 1
            try:
                return function(*args, **kwargs)
            finally:
                waits.quiet -= 1

        return run

    with ExitStack() as stack:
        engine = [m for name, m in list(sys.modules.items()) if name.startswith("zoo.engine.")]
        for name in ("to_device", "fetch", "rows_of"):
            for module in engine:
                if module is not transfers and hasattr(module, name):
                    change = silent(getattr(transfers, name), name == "fetch")
                    stack.enter_context(mock.patch.object(module, name, change))
        for owner, name in without:
            stack.enter_context(mock.patch.object(owner, name, silent(getattr(owner, name), False)))
        with waits:
            yield waits
