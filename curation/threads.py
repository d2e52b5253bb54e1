"""Threads of the linear algebra: many small products are quicker on one.

After each product, threads wait for each other while they spin. Where the machine is busy, the one that is missing
waits for the processor, and thousands of products of a millisecond take minutes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits  # scikit-learn needs it itself

#: the number of threads is the process's: of two in there at once, the one that leaves last would bring back the 1 that
#: it found
_ALONE = threading.RLock()


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread in here, and as before afterwards; other threads that want that, too, wait."""
    with _ALONE, threadpool_limits(limits=1, user_api="blas"):
        yield
