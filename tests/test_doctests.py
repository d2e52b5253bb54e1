"""The examples in the docstrings are true.

Not pytest's own ``--doctest-modules``: it would import the packages as parts of the plugin (see pyproject.toml).
"""

from __future__ import annotations

import doctest
import importlib

import pytest
from support.sandbox import REPOSITORY

FOLDERS = ("evaluation", "curation", "emoji_world", "zoo")
MODULES = sorted(
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
    for folder in FOLDERS
    for path in (REPOSITORY / folder).rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert not doctest.testmod(importlib.import_module(name)).failed
