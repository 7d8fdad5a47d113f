"""The examples in the docstrings of the graph package run and say what they say."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize("module", ["builder", "output", "task", "templates"])
def test_examples(module: str) -> None:
    result = doctest.testmod(importlib.import_module(f"headrace.graph.{module}"))
    assert result.attempted > 0
    assert result.failed == 0
