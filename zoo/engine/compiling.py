"""Parts of the network as one program each, where there is a compiler; where there is none, as they are."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .errors import CheckpointError

logger = logging.getLogger(__name__)

#: what can be compiled: nothing, the vision encoder, or what decodes concepts, too
PARTS = (None, "vision", "all")


def parse_compile(said: Any) -> str | None:
    """What to compile, from what users say.

    Args:
        said: ``None`` or ``False``: nothing; ``True`` or ``"vision"``: the vision encoder; ``"all"``: the decoder of
            concepts, too

    Raises:
        CheckpointError: anything else
    """
    part = {False: None, True: "vision"}.get(said, said) if said is None or isinstance(said, (bool, str)) else said
    if part not in PARTS:
        raise CheckpointError(f"compile={said!r} is not known: use False, True (or 'vision'), or 'all'")
    return part


class Compiled:
    """A function of tensors, translated by ``torch.compile`` for the shapes that it meets.

    If there is no compiler, or it fails, the function is called as it is from then on, and the log says why.

    Args:
        function: of tensors, and numbers
        sizes: translate for one batch size after the other, not for any: what is translated so is faster. A batch that
            is smaller than one seen before is then filled up to that size, because translating takes minutes, and
            arithmetic that is thrown away milliseconds. The function's first argument has the batch in front, and so
            have all its results; the others have none
    """

    def __init__(self, function: Callable[..., Any], *, sizes: bool = False) -> None:
        self._plain = function
        self._fast: Callable[..., Any] | None = torch.compile(function, dynamic=not sizes)
        self._sized = sizes
        self._sizes: set[int] = set()

    def __call__(self, first: Tensor, *others: Any) -> Any:
        """As the function itself."""
        if self._fast is None:
            return self._plain(first, *others)
        count = len(first)
        size = min((s for s in self._sizes if s >= count), default=count) if self._sized else count
        filled = first if size == count else torch.cat([first, first[-1:].expand(size - count, *first.shape[1:])])
        try:
            results = self._fast(filled, *others)
        except torch.OutOfMemoryError:  # no fault of the compiler's
            raise
        except Exception as error:  # of many kinds; one that is the function's own comes again below
            results = self._plain(first, *others)
            self._fast = None
            logger.warning("It cannot be compiled, and runs as it is: %s", _first_line(error))
            return results
        self._sizes.add(size)
        return results if size == count else tuple(result[:count] for result in results)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
