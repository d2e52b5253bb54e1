"""Computing on one thread: what is set is the process's, so it must come back, whoever leaves last."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np  # noqa: F401  its linear algebra is what is counted
import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

from curation.threads import one_thread


def numbers() -> set[int]:
    return {one["num_threads"] for one in ThreadpoolController().info() if one["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def two():
    """As on a machine that has two."""
    with threadpool_limits(2, user_api="blas"):
        if numbers() != {2}:
            pytest.skip("this linear algebra has one thread anyway")
        yield


def test_one_thread_and_afterwards_as_many_as_before():
    with one_thread():
        assert numbers() == {1}
        with one_thread():
            assert numbers() == {1}
        assert numbers() == {1}
    assert numbers() == {2}


def test_they_come_back_after_an_error():
    with pytest.raises(ZeroDivisionError), one_thread():
        _ = 1 / 0
    assert numbers() == {2}


def test_whoever_leaves_last_brings_them_back():
    """The first in is the first out: each on its own would bring back what it found, and the last found one."""
    inside, left = Barrier(2), Barrier(2)

    def first() -> None:
        with one_thread():
            inside.wait(10)
        left.wait(10)

    def last() -> set[int]:
        with one_thread():
            inside.wait(10)
            left.wait(10)
            return numbers()

    with ThreadPoolExecutor(2) as pool:
        early, late = pool.submit(first), pool.submit(last)
        early.result()
        assert late.result() == {1}
    assert numbers() == {2}
