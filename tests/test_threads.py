"""Computing on one thread: how many there are is the process's, so it must be as before afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import numpy as np  # noqa: F401  its linear algebra is what is counted
import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

from curation.threads import one_thread


def numbers() -> set[int]:
    return {one["num_threads"] for one in ThreadpoolController().info() if one["user_api"] == "blas"}


@pytest.fixture
def two() -> Iterator[None]:
    """As on a machine that has two."""
    with threadpool_limits(2, user_api="blas"):
        if numbers() != {2}:
            pytest.skip("this linear algebra has one thread anyway")
        yield


def test_one_thread_and_afterwards_as_many_as_before(two):
    with one_thread():
        assert numbers() == {1}
        with one_thread():
            assert numbers() == {1}
        assert numbers() == {1}
    assert numbers() == {2}


def test_they_come_back_after_an_error(two):
    with pytest.raises(ZeroDivisionError), one_thread():
        _ = 1 / 0
    assert numbers() == {2}


def test_one_at_a_time(monkeypatch):
    """So that nobody remembers the other's one thread as what was there before."""
    level = [2]
    inside, both, left = Event(), Event(), Event()

    @contextmanager
    def limits(limits: int, user_api: str) -> Iterator[None]:
        before, level[0] = level[0], limits
        yield
        level[0] = before

    monkeypatch.setattr("curation.threads.threadpool_limits", limits)

    def first() -> None:
        with one_thread():
            inside.set()
            assert not both.wait(0.2)
        left.set()

    def second() -> None:
        inside.wait(10)
        with one_thread():
            both.set()
            left.wait(10)
            assert level == [1]

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(first), pool.submit(second)]:
            done.result()
    assert level == [2]
