"""Remembered pickles equal those that would be made anew."""

from __future__ import annotations

import gc
import types
from collections.abc import Callable
from typing import Any
from weakref import ref

import numpy as np
import pytest

from headrace.pickling import by_value, remembered
from headrace.pickling.sources import Sources

SCRIPT = """
import math
import numpy as np
SCALE = 2
TABLE = [1, 2]
def helper(x):
    return x * SCALE
def other_helper(x):
    return x + SCALE
def plain(x):
    return x + 1
def scaled(x, *, by=1.5):
    return helper(x) * by
def simple(x, by=1):
    return abs(x) * SCALE * by
def modules(x: int) -> float:
    return math.sqrt(np.mean(x))
def recursive(x):
    return recursive(x - 1) if x else [inner(x) for inner in (lambda y: y * SCALE,)]
def listed(x, found=[]):
    return found + TABLE
def enclosing(step):
    def closure(x):
        return x + step
    return closure
"""


def script() -> dict[str, Any]:
    """What a user's script defines."""
    names: dict[str, Any] = {"__name__": "__main__", "__file__": "script.py"}
    exec(compile(SCRIPT, "script.py", "exec"), names)
    return names


def both(function: Any) -> tuple[bytes, bytes]:
    """The pickle as it is remembered, and as it is made anew; beside the sources that go with them, which must be the same."""
    once, anew = Sources(), Sources()
    pickles = remembered.dumps(function, once), by_value.dumps(function, sources=anew)
    assert once.specs() == anew.specs()
    return pickles


@pytest.mark.parametrize("name", ["plain", "scaled", "modules", "recursive", "listed", "helper"])
def test_the_same_as_a_new_pickle(name: str) -> None:
    names = script()
    for _ in range(2):
        once, anew = both(names[name])
        assert once == anew


def change_a_global(names: dict[str, Any]) -> None:
    names["SCALE"] = 3


def change_the_type_of_a_global(names: dict[str, Any]) -> None:
    names["SCALE"] = 2.0


def change_the_sign_of_zero(names: dict[str, Any]) -> None:
    names["SCALE"] = 0.0
    both(names["scaled"])
    names["SCALE"] = -0.0


def replace_a_helper(names: dict[str, Any]) -> None:
    names["helper"] = names["other_helper"]


def replace_its_code(names: dict[str, Any]) -> None:
    names["scaled"].__code__ = names["plain"].__code__


def shadow_a_builtin(names: dict[str, Any]) -> None:
    names["abs"] = np


def delete_a_global(names: dict[str, Any]) -> None:
    del names["SCALE"]


def change_a_positional_default(names: dict[str, Any]) -> None:
    names["scaled"].__defaults__ = (2,)


def rename(names: dict[str, Any]) -> None:
    names["scaled"].__name__ = "renamed"


def move_the_script(names: dict[str, Any]) -> None:
    names["__file__"] = "moved.py"


def change_a_default(names: dict[str, Any]) -> None:
    names["scaled"].__kwdefaults__["by"] = 2


def annotate(names: dict[str, Any]) -> None:
    names["scaled"].__annotations__["x"] = int


def set_an_attribute(names: dict[str, Any]) -> None:
    names["scaled"].unit = "K"


def document(names: dict[str, Any]) -> None:
    names["scaled"].__doc__ = "Scaled."


def shadow_a_helper_by_a_module(names: dict[str, Any]) -> None:
    names["helper"] = np


def make_a_global_changeable(names: dict[str, Any]) -> None:
    names["SCALE"] = [1]
    both(names["scaled"])
    names["SCALE"].append(2)


CHANGES = [
    change_a_global,
    change_the_type_of_a_global,
    change_the_sign_of_zero,
    replace_a_helper,
    replace_its_code,
    change_a_default,
    annotate,
    set_an_attribute,
    document,
    shadow_a_helper_by_a_module,
    make_a_global_changeable,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_pickled_again_after_a_change(change: Callable[[dict[str, Any]], None]) -> None:
    names = script()
    before, _ = both(names["scaled"])
    change(names)
    once, anew = both(names["scaled"])
    assert once == anew
    assert once != before


OF_SIMPLE = [
    change_a_global,
    change_the_type_of_a_global,
    change_the_sign_of_zero,
    replace_its_code,
    shadow_a_builtin,
    delete_a_global,
    change_a_positional_default,
    rename,
    move_the_script,
    annotate,
    set_an_attribute,
    document,
    make_a_global_changeable,
]


@pytest.mark.parametrize("change", OF_SIMPLE, ids=lambda change: change.__name__)
def test_a_function_that_is_compared_by_its_parts_is_pickled_again_after_a_change(change: Callable[[dict[str, Any]], None]) -> None:
    names = script()
    names["scaled"] = names["simple"]
    before, _ = both(names["scaled"])
    change(names)
    once, anew = both(names["scaled"])
    assert once == anew
    assert once != before


def test_parts_that_are_the_same_need_no_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    names = script()
    first = {name: both(names[name])[0] for name in ("plain", "simple", "modules")}
    monkeypatch.setattr(remembered, "identity_of", None)
    for name, pickled in first.items():
        assert remembered.dumps(names[name], Sources()) is pickled


def test_remembered_while_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    names = script()
    first, _ = both(names["scaled"])
    monkeypatch.setattr(by_value, "dumps", None)
    assert remembered.dumps(names["scaled"], Sources()) is first


@pytest.mark.parametrize("name", ["listed", "closure"])
def test_no_identity_for_what_can_change_unseen(name: str) -> None:
    names = script()
    names["closure"] = names["enclosing"](1)
    assert remembered.identity_of(names[name]) is None


def test_a_module_imported_meanwhile_may_be_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    names = script()
    before = remembered.identity_of(names["modules"])
    monkeypatch.setitem(__import__("sys").modules, "numpy.mean", types.ModuleType("numpy.mean"))
    assert remembered.identity_of(names["modules"]) != before


def test_a_function_is_not_kept_alive() -> None:
    names = script()
    both(names["recursive"])
    function = ref(names["recursive"])
    names.clear()
    gc.collect()
    assert function() is None
