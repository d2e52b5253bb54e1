"""The examples in the docstrings of `evaluation` print what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import evaluation


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(evaluation.__path__)])
def test_examples(name: str) -> None:
    module = importlib.import_module(f"evaluation.{name}")
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
