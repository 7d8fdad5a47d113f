"""Exceptions of a runner reach the client as the same exceptions: ours, and those of users with all kinds of bases."""

from __future__ import annotations

import copy
import importlib
import pickle
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import pytest

import headrace
import headrace.errors
import headrace_schemas
import headrace_shm
from headrace.pickling import by_value

ARGS = [("what went wrong",), (), (ValueError("the cause"), "raised"), (2, 1), ("what went wrong", "Traceback")]


def modules() -> Iterator[ModuleType]:
    for package in (headrace, headrace_shm, headrace_schemas):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith("__main__"):
                yield importlib.import_module(found.name)


def errors_of(module: ModuleType) -> list[type[BaseException]]:
    mine = (each for each in vars(module).values() if isinstance(each, type) and issubclass(each, BaseException))
    return [each for each in mine if each.__module__ == module.__name__]


OURS = [error for module in modules() for error in errors_of(module)]


def made(cls: type[BaseException]) -> BaseException:
    for args in ARGS:
        try:
            return cls(*args)
        except TypeError:
            continue
    raise AssertionError(f"give arguments that {cls} takes")


def assert_same(again: BaseException, error: BaseException) -> None:
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert repr(again.args) == repr(error.args)
    assert repr(vars(again)) == repr(vars(error))


@pytest.mark.parametrize("cls", OURS, ids=lambda cls: cls.__name__)
def test_each_error_of_ours_is_made_again(cls: type[BaseException]) -> None:
    error = made(cls)
    error.add_note("a note")
    assert_same(pickle.loads(by_value.dumps(error)), error)


@pytest.mark.parametrize("cls", errors_of(headrace.errors), ids=lambda cls: cls.__name__)
def test_what_users_catch_can_be_pickled_and_copied_by_anybody(cls: type[BaseException]) -> None:
    error = made(cls)
    assert_same(pickle.loads(pickle.dumps(error)), error)
    assert_same(copy.copy(error), error)


class Base(Exception):
    """What errors of a library have in common."""


class Nothing:
    """A base that is no exception."""


BUILT_IN = [MemoryError, OSError, FileNotFoundError, KeyError, ImportError, StopIteration, SystemExit, UnicodeError, SyntaxError]


@pytest.mark.parametrize("built_in", BUILT_IN, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("first", [True, False])
def test_an_error_of_a_user_that_is_also_a_built_in_one_is_made_again(built_in: type[BaseException], first: bool) -> None:
    cls = type("Both", (built_in, Nothing, Base) if first else (Base, Nothing, built_in), {"__module__": "__main__"})
    error = cls("what went wrong")
    error.step = 3
    again = pickle.loads(by_value.dumps(error))
    assert isinstance(again, built_in)
    assert (type(again).__name__, str(again), again.args, again.step) == ("Both", str(error), error.args, 3)  # type: ignore[attr-defined]


def test_an_error_that_is_also_a_built_in_group_is_made_again() -> None:
    class Several(Base, ExceptionGroup):
        pass

    again = pickle.loads(by_value.dumps(Several("two", [ValueError(1), KeyError(2)])))
    assert [repr(each) for each in again.exceptions] == ["ValueError(1)", "KeyError(2)"]
