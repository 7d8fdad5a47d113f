"""docs/errors.md has every error, with its true base class."""

from __future__ import annotations

import builtins
import re
from pathlib import Path

import pytest

import headrace as hr

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "errors.md").read_text()
ROWS = dict(re.findall(r"^\| `(\w+)` \|(?: `(\w+)`)? \|", TEXT, re.MULTILINE))
ERRORS = [name for name in hr.__all__ if isinstance(getattr(hr, name), type) and issubclass(getattr(hr, name), Exception)]


def test_each_is_there_and_no_other() -> None:
    assert sorted(ROWS) == sorted(ERRORS)


@pytest.mark.parametrize("name", ERRORS)
def test_each_is_what_it_is_said_to_be(name: str) -> None:
    error, base = getattr(hr, name), ROWS[name]
    assert issubclass(error, hr.HeadraceError)
    assert error.__doc__
    if base:
        assert issubclass(error, getattr(builtins, base, None) or getattr(hr, base))
