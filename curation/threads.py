"""Threads of the linear algebra: many small products are quicker on one.

After each product, threads wait for each other while they spin. Where the machine is busy, the one that is missing
waits for the processor, and thousands of products of a millisecond take minutes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from threadpoolctl import ThreadpoolController  # scikit-learn needs it itself

_LOCK = threading.Lock()
#: how many are computing on one thread, and what brings the others back after the last: the number is the process's
_inside = 0
_limit: Any = nullcontext()


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread in here; several may be in here at once, and the last to leave brings the others back."""
    global _inside, _limit
    with _LOCK:
        if not _inside:
            _limit = ThreadpoolController().limit(limits=1, user_api="blas")
            _limit.__enter__()
        _inside += 1
    try:
        yield
    finally:
        with _LOCK:
            _inside -= 1
            if not _inside:
                _limit.__exit__(None, None, None)
