"""The examples in the docstrings of the graph package, and of other packages, run and give the results that they show."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize("module", ["graph.builder", "metadata", "graph.output", "graph.task", "graph.templates", "text"])
def test_examples(module: str) -> None:
    result = doctest.testmod(importlib.import_module(f"headrace.{module}"))
    assert result.attempted > 0
    assert result.failed == 0
