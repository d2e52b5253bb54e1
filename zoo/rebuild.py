"""Pickles that can be read where this package cannot be imported.

FiftyOne imports a zoo source or a plugin under a name that is on nobody's ``sys.path``, ``concepts.sam3`` for
instance. A worker process that starts from nothing (every data loader's on macOS and Windows, and on Linux from
Python 3.14) unpickles what it is to work with before any code of ours runs, and a pickle names a class by its
module. So an object of class :class:`Anywhere` is pickled as an order to the standard library: run this very
file, and build the object. Nothing is asked of the other process but the same files.
"""

from __future__ import annotations

import importlib
import importlib.util
import operator
import runpy
import sys
from pathlib import Path
from typing import Any


class Anywhere:
    """An object with plain attributes that any Python process on this machine can unpickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        folder, package = str(Path(__file__).parent), __name__.rpartition(".")[0]
        kind = type(self)
        order = _Order(folder, package, kind.__module__, kind.__qualname__, self.__dict__)
        return operator.itemgetter("built"), (order,)


class _Order:
    """Unpickles to the globals of this file, run with these arguments."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return runpy.run_path, (__file__, {"order": self.arguments})


def build(folder: str, package: str, module: str, kind: str, state: dict[str, Any]) -> Any:
    """The object that :class:`Anywhere` took down.

    Args:
        folder: of the package
        package: the name it had where the object was pickled, and has here from now on
        module: of the object's class
        kind: the class
        state: the object's attributes
    """
    if package not in sys.modules:
        # not by importing: the parents of the name may exist nowhere
        spec = importlib.util.spec_from_file_location(
            package, Path(folder) / "__init__.py", submodule_search_locations=[folder]
        )
        sys.modules[package] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[package])
    found = operator.attrgetter(kind)(importlib.import_module(module))
    built = found.__new__(found)
    built.__dict__.update(state)
    return built


if "order" in globals():
    built = build(*globals()["order"])
