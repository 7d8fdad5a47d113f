"""docs/errors.md has every error, with its true base class, and every reason why a task fails."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import headrace as hr

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "errors.md").read_text()
ROWS = dict(re.findall(r"^\| `(\w+)` \|(?: `(\w+)`)? \|", TEXT, re.MULTILINE))
REASONS = re.findall(r"^\| `(\w+)` \| [^`|]", TEXT.partition("The `reason` of a")[2], re.MULTILINE)
MESSAGES = (ROOT / "schemas" / "headrace_schemas" / "messages.py").read_text()
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


# --- reasons ----------------------------------------------------------------------------------------------------------------

GIVEN_TO = {"TaskError": None, "replace": None, "TaskFailure": 1, "fail_waiters": 2, "_fail_waiters": 2, "not_executed": 3}
"""The functions that are given a reason, and its place among their arguments if it is not given by name."""


def reasons_of_the_contract() -> list[str]:
    """The list below `TaskError.reason`, as it stands in the file: words between bars, up to a full stop."""
    (told,) = re.findall(r'^class TaskError\(.*?^    reason: str = "raised"\n    """(.*?)\.', MESSAGES, re.MULTILINE | re.DOTALL)
    return [reason.strip() for reason in told.split("|")]


def reasons_in_code() -> Iterator[str]:
    """The constants that services give as reasons."""
    for path in sorted((ROOT / "services" / "headrace").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
            if isinstance(node, ast.Call) and name in GIVEN_TO:
                place = GIVEN_TO[name]
                given = [word.value for word in node.keywords if word.arg == "reason"]
                given += node.args[place : place + 1] if place is not None else []
                yield from (text for each in given for text in constants(each))


def constants(node: ast.expr) -> Iterator[str]:
    """The texts that an expression may be: of `a if b else c`, those of both."""
    for each in (node.body, node.orelse) if isinstance(node, ast.IfExp) else (node,):
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value


def test_each_reason_is_in_the_docs_and_no_other() -> None:
    assert sorted(reasons_of_the_contract()) == sorted(REASONS)


def test_the_services_give_these_reasons_and_no_other() -> None:
    assert set(reasons_in_code()) == set(REASONS)
