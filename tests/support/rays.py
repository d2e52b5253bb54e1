"""Ray without processes: its workers are objects in this one, which die when a test wants them to.

The package is still packed, unpacked and imported under its other name, and what is said to a worker still travels as
bytes; so what is not tested here is Ray itself.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from typing import Any


class RayError(Exception):
    """A worker died."""


class Raylike(types.ModuleType):
    """Stands in for the module ``ray``.

    Args:
        cpus, gpus: of the cluster
        nodes: addresses of those on other machines
        dies: called with what a worker is about to do, the method's name and its arguments; true: it dies of it

    Attributes:
        hired: the options that workers were hired with, in order
        asked: the methods that were called
        killed: workers that were let go, or were dead
    """

    __version__ = "0.0"
    exceptions = types.SimpleNamespace(RayError=RayError)
    cloudpickle = types.SimpleNamespace(
        register_pickle_by_value=lambda module: None, unregister_pickle_by_value=lambda module: None
    )

    def __init__(
        self, cpus: int = 2, gpus: int = 0, nodes: tuple[str, ...] = (),
        dies: Callable[[str, tuple[Any, ...]], bool] = lambda method, said: False,
    ) -> None:
        super().__init__("ray")
        self.__spec__ = ModuleSpec("ray", None)  # as of a module that can be found
        self.util = types.SimpleNamespace(get_node_ip_address=lambda: "10.0.0.1")
        self._resources = {"CPU": float(cpus), "GPU": float(gpus)}
        self._nodes = ("10.0.0.1", *nodes)
        self.dies = dies
        self._turn = -1
        self.hired: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.killed: list[Any] = []

    def is_initialized(self) -> bool:
        return True

    def cluster_resources(self) -> dict[str, float]:
        return self._resources

    def nodes(self) -> list[dict[str, Any]]:
        return [{"NodeManagerAddress": address, "Alive": True} for address in self._nodes]

    def put(self, value: Any) -> Any:
        return value

    def remote(self, kind: type) -> Any:
        def hire(**options: Any) -> Any:
            def make() -> _Handle:
                self.hired.append(options)
                return _Handle(self, kind())

            return types.SimpleNamespace(remote=make)

        return types.SimpleNamespace(options=hire)

    def wait(self, answers: list[Any], *, num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        self._turn += 1  # everybody is heard
        place = self._turn % len(answers)
        return [answers[place]], answers[:place] + answers[place + 1 :]

    def get(self, answer: _Answer) -> Any:
        if answer.died:
            raise RayError("The actor died.\nmore about it")
        return answer.said

    def kill(self, handle: Any) -> None:
        self.killed.append(handle)


class _Answer:
    def __init__(self, said: Any = None, died: bool = False) -> None:
        self.said, self.died = said, died


class _Handle:
    def __init__(self, ray: Raylike, worker: Any) -> None:
        self._ray, self._worker = ray, worker

    def __getattr__(self, method: str) -> Any:
        def call(*said: Any) -> _Answer:
            self._ray.asked.append(method)
            if self._ray.dies(method, said):
                return _Answer(died=True)
            return _Answer(getattr(self._worker, method)(*said))

        return types.SimpleNamespace(remote=call)
