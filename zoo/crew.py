"""Worker processes on a Ray cluster: who does what, and what becomes of it when one of them dies."""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .actor import Sam3Worker
from .cluster import Cluster
from .engine.errors import CheckpointError, ConceptError
from .shipping import NAME, dumps, packed

logger = logging.getLogger(__name__)
#: workers that a task may cost; from the second on, it is given out in halves, to find the one that does it
MOST_DEATHS = 3
#: workers lost one after the other, with nothing done in between: then it is the machines, and no sample
_MOST_IN_A_ROW = 16
#: that do not come up: then there is one less
_MOST_STARTS = 3
#: seconds to wait for a first worker: clusters that grow need minutes
_PATIENCE = 900.0


class ClusterError(RuntimeError):
    """Worker processes cannot do their work; what is done is done, and a run that resumes goes on from there."""


@dataclass(eq=False)
class Task:
    """What one worker does at a time.

    Attributes:
        items: plain values, each for itself; what is lost is the last one
        deaths: workers that it has cost
    """

    items: list[Any]
    deaths: int = 0


@dataclass(frozen=True)
class Event:
    """What has become of a task.

    Attributes:
        task: which
        kind: ``"said"``: a step of it; ``"end"``; ``"again"``: its worker died, what it said counts no more, and it is
            given out anew, or in halves; ``"lost"``: it has cost so many workers that it is given up
        said: the step; of what is lost, the reason
    """

    task: Task
    kind: str
    said: Any = None


@dataclass(eq=False)
class _Member:
    actor: Any
    answer: Any  # that is on its way
    ready: bool = False
    task: Task | None = None


class Crew:
    """Workers that all do the same.

    Args:
        cluster: where they are
        job: what they do, for :class:`zoo.parts.Share`
        workers: how many; ``None``: one a GPU, or a core
        gpu: whether each has a GPU of its own
        environment: theirs
        fingerprint: of the weights that they must have
    """

    def __init__(
        self, cluster: Cluster, job: dict[str, Any], *, workers: int | None, gpu: bool, environment: dict[str, str],
        fingerprint: str,
    ) -> None:
        import ray
        from ray import cloudpickle

        self._ray, self._cluster, self._fingerprint = ray, cluster, fingerprint
        self.size = workers or max(1, cluster.gpus if gpu else cluster.cpus)
        cores = 1 if gpu else max(1, cluster.cpus // self.size)
        threads = {} if gpu else dict(OMP_NUM_THREADS=str(cores))  # else two on two cores would be four threads
        self._environment = {**environment, **threads}
        self._job = dumps(dict(job, threads=None if gpu else cores))
        self._package = ray.put(packed())
        module = sys.modules[Sam3Worker.__module__]
        cloudpickle.register_pickle_by_value(module)  # nobody else has it
        try:
            self._hire = ray.remote(Sam3Worker).options(
                num_cpus=cores, num_gpus=int(gpu), max_restarts=0, scheduling_strategy="SPREAD"
            ).remote
            self._members: list[_Member] = []
            self._add()
        finally:
            cloudpickle.unregister_pickle_by_value(module)
        self._in_a_row = self._bad_starts = 0
        self._any_ready = time.monotonic()

    # ---------------------------------------------------------------- what the driver asks

    def gather(self, most: int, wait: int = 1) -> None:
        """Wait for the first workers; the others join later.

        Args:
            most: workers that there is work for
            wait: how many to wait for

        Raises:
            ConceptError, CheckpointError: a worker cannot load the model, or loads another one
            ClusterError: none comes up
        """
        self.size = min(self.size, max(most, 1))
        while sum(member.ready for member in self._members) < min(wait, self.size):
            self._fill(self.size)
            for _ in self._heard(deque()):
                pass

    def work(self, tasks: Iterable[Task]) -> Iterator[Event]:
        """Have tasks done, each by whoever is free; none is begun before the last event is taken.

        Raises:
            ClusterError: workers die without anything being done
        """
        waiting = deque(tasks)
        while waiting or any(member.task for member in self._members):
            self._fill(len(waiting) + sum(member.task is not None for member in self._members))
            for member in self._members:
                if member.ready and member.task is None and waiting:
                    member.task = waiting.popleft()
                    member.answer = member.actor.take.remote(dumps(member.task.items))
            yield from self._heard(waiting)

    def close(self) -> None:
        """Let them go, whatever they do."""
        for member in self._members:
            self._ray.kill(member.actor)
        self._members = []

    # ---------------------------------------------------------------- one round

    def _add(self) -> None:
        hired = self._hire()
        self._members.append(_Member(hired, hired.begin.remote(self._package, NAME, self._environment, self._job)))

    def _fill(self, wanted: int) -> None:
        while len(self._members) < min(self.size, wanted):
            self._add()

    def _heard(self, waiting: deque[Task]) -> Iterator[Event]:
        """What workers have answered by now, or within a second; ``waiting`` gets what must be done again."""
        answers = {member.answer: member for member in self._members if member.answer is not None}
        arrived, _ = self._ray.wait(list(answers), num_returns=1, timeout=1.0)
        for answer in arrived:
            member = answers[answer]
            member.answer = None
            try:
                kind, said = self._ray.get(answer)
            except self._ray.exceptions.RayError as error:
                self._members.remove(member)
                self._ray.kill(member.actor)
                kind, said = "died", str(error).strip().splitlines()[0]
            yield from self._taken(member, kind, said, waiting)
        if any(member.ready for member in self._members):
            self._any_ready = time.monotonic()
        elif time.monotonic() - self._any_ready > _PATIENCE:
            raise ClusterError(
                f"No worker came up within {_PATIENCE / 60:.0f} minutes: the cluster has {self._cluster.cpus} CPUs and "
                f"{self._cluster.gpus} GPUs, perhaps all in use; see `ray status`"
            )

    def _taken(self, member: _Member, kind: str, said: Any, waiting: deque[Task]) -> Iterator[Event]:
        if kind == "said":
            yield Event(member.task, "said", said)
            member.answer = member.actor.step.remote()
        elif kind == "end":
            task, member.task, self._in_a_row = member.task, None, 0
            yield Event(task, "end")
        elif member.ready:
            yield from self._failed(member, kind, said, waiting)
        elif kind == "ready" and said["fingerprint"] == self._fingerprint:
            member.ready, self._bad_starts = True, 0
        elif kind == "ready":
            self._not_started(member, CheckpointError(
                f"The checkpoint on {said['node']} is another one than here ({said['fingerprint']}, not "
                f"{self._fingerprint}): give every node the same files, or a folder that all of them share"
            ), certain=True)  # fmt: skip
        elif kind == "refused":
            reason = ConceptError(f"A worker process cannot load the model: {said}")
            self._not_started(member, reason, certain=True)
        else:
            self._not_started(member, ClusterError(f"Worker processes cannot start: {said}"), certain=False)

    def _not_started(self, member: _Member, reason: Exception, *, certain: bool) -> None:
        """A worker did not come up. Once others have, the run goes on without it, if need be.

        Args:
            member: the worker
            reason: why
            certain: whether another try would come to the same
        """
        if member in self._members:
            self._members.remove(member)
            self._ray.kill(member.actor)
        self._bad_starts += 1
        ready = sum(one.ready for one in self._members)
        if certain or self._bad_starts >= _MOST_STARTS:
            if not ready:
                raise reason
            logger.warning("There is one worker less: %s", reason)
            self._bad_starts, self.size = 0, max(ready, self.size - 1)

    def _failed(self, member: _Member, kind: str, said: str, waiting: deque[Task]) -> Iterator[Event]:
        """A worker died, or could not go on."""
        task, member.task = member.task, None
        if task is None:  # it had nothing to do
            return
        self._in_a_row += 1
        if self._in_a_row >= _MOST_IN_A_ROW:
            raise ClusterError(f"{self._in_a_row} times in a row a worker process failed, the last time so: {said}")
        task.deaths += 1
        if task.deaths >= MOST_DEATHS and len(task.items) == 1:
            self._in_a_row = 0
            how = "ended the process that worked on it" if kind == "died" else "could not be done"
            yield Event(task, "lost", f"{how}, {task.deaths} times: {said}")
            return
        yield Event(task, "again")
        middle = len(task.items) // 2 if task.deaths >= MOST_DEATHS - 1 else 0
        for some in (task.items[:middle], task.items[middle:]):
            if some:  # behind all others, which may well be done
                waiting.append(Task(some, task.deaths))
