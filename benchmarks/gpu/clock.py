"""The clock of a device: wall time with nothing left in its queue, peaks of its memory, and what ran out of either."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch


class Clock:
    """Measures on one device, and knows when the time for all of it is over.

    Args:
        device: ``"cuda"``, or ``"cpu"``, where peaks of memory are not known
        limit: seconds from now that all measurements together may take
        repeats: of each cell at least
        patience: seconds that more repeats of a cell may take
    """

    def __init__(self, device: str, limit: float, repeats: int = 5, patience: float = 1.5) -> None:
        self.device, self.repeats, self.patience = torch.device(device), repeats, patience
        self._end = time.monotonic() + limit

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self._end - time.monotonic()

    def wait(self) -> None:
        """Until the device has nothing more to do."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, run: Callable[[], Any]) -> float:
        """One call on the clock."""
        self.wait()
        start = time.perf_counter()
        kept = run()
        self.wait()
        spent = time.perf_counter() - start
        del kept
        return spent

    def cell(self, run: Callable[[], Any], units: int = 1) -> dict[str, Any]:
        """A cell of a table.

        Args:
            run: what is measured; it is called once before
            units: what it does at a time: images, say

        Returns:
            milliseconds a unit: ``ms`` (the median), ``least``, ``most``, ``repeats``; ``peak_mb`` of the device's
            memory, of the first call on; or ``error``: why there is nothing
        """
        if self.left <= 0:
            return dict(error="no time")
        try:
            self.forget()
            first = self.seconds(run)  # it may have compiled what the others run
            times: list[float] = []
            until = time.monotonic() + min(self.patience, self.left)
            while not times or (
                self.left > 0 and (len(times) < self.repeats or (time.monotonic() < until and len(times) < 50))
            ):
                times.append(1e3 * self.seconds(run) / units)
            peak = self.peak_mb()
            return dict(
                ms=median(times), least=min(times), most=max(times), repeats=len(times), first_ms=1e3 * first / units,
                peak_mb=peak,
            )
        except torch.OutOfMemoryError:
            return dict(error="OOM")
        finally:
            self.forget()

    def side_by_side(
        self, ways: dict[str, Callable[[], Any]], units: dict[str, int] | None = None
    ) -> dict[str, list[float]]:
        """Ways to do the same, in turn, so that a slow minute of the machine hits all alike.

        Args:
            ways: name -> what is measured; each is called once before
            units: what a way does at a time, if that is not 1

        Returns:
            way -> milliseconds a unit, repeat by repeat; nothing of a way that ran out of memory
        """
        units, started = units or {}, time.monotonic()
        times: dict[str, list[float]] = {}
        for name, run in ways.items():
            try:
                self.seconds(run)
                times[name] = []
            except torch.OutOfMemoryError:
                self.forget()
        for round_ in range(4 * self.repeats):
            if self.left <= 0 or (round_ >= self.repeats and time.monotonic() - started > 20 * self.patience):
                break
            for name in times:
                times[name].append(1e3 * self.seconds(ways[name]) / units.get(name, 1))
        return times

    def forget(self) -> None:
        """Give unused memory back, and let the peak begin anew."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak_mb(self) -> float | None:
        """The most memory that tensors had, in MB; ``None`` where nobody counts."""
        return torch.cuda.max_memory_allocated(self.device) / 1e6 if self.device.type == "cuda" else None

    def held_mb(self) -> float | None:
        """The memory that tensors have now."""
        return torch.cuda.memory_allocated(self.device) / 1e6 if self.device.type == "cuda" else None


def ratios(over: Sequence[float], under: Sequence[float]) -> dict[str, float] | None:
    """How many times as long one way takes, repeat by repeat: ``median``, ``least``, ``most``."""
    each = [a / b for a, b in zip(over, under, strict=False)]
    return dict(median=median(each), least=min(each), most=max(each)) if each else None


def shown(cell: dict[str, Any] | None, width: int = 10) -> str:
    """A cell for people: its milliseconds, or why there are none."""
    if cell is None:
        return f"{'–':>{width}}"
    return f"{cell['error']:>{width}}" if "error" in cell else f"{cell['ms']:>{width}.1f}"
