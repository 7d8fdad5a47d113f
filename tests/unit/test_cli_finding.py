"""`headrace run` finds the graph in a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import cloudpickle
import pytest
import typer

from headrace.cli.finding import load_demo, load_graph

names = count()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for files. What is imported from it is forgotten again, also by cloudpickle: functions that refer to modules that travel by
    value are pickled each time, and other tests want to see that they are not."""
    path, by_value = list(sys.path), cloudpickle.list_registry_pickle_by_value()
    yield tmp_path
    sys.path[:] = path
    for name in cloudpickle.list_registry_pickle_by_value() - by_value:
        cloudpickle.unregister_pickle_by_value(sys.modules[name])


def write(folder: Path, code: str) -> Path:
    path = folder / f"graphs_{next(names)}.py"
    path.write_text(f"import headrace as hr\n{code}")
    return path


def test_the_only_graph_of_a_file_is_taken_also_under_two_names(folder: Path) -> None:
    path = write(folder, "g = hr.Graph('one')\nsame = g")
    assert load_graph(str(path)).name == "one"


def test_a_graph_is_taken_by_name_and_a_function_called(folder: Path) -> None:
    path = write(folder, "a, b = hr.Graph('first'), hr.Graph('second')\ndef make(): return hr.Graph('third')")
    assert load_graph(f"{path}:b").name == "second"
    assert load_graph(f"{path}:make").name == "third"


@pytest.mark.parametrize(
    ("code", "name", "message"),
    [
        ("", "", "has no graph: assign an hr.Graph"),
        ("a, b = hr.Graph('x'), hr.Graph('y')", "", "has several graphs: name one, as FILE.py:a or :b"),
        ("a = hr.Graph('x')", ":c", "has no graph 'c': name one, as FILE.py:a"),
        ("def make(): return 5", ":make", "returned int, not an hr.Graph"),
    ],
)
def test_what_is_wrong_is_said(folder: Path, code: str, name: str, message: str) -> None:
    with pytest.raises(typer.BadParameter, match=message):
        load_graph(f"{write(folder, code)}{name}")


def test_what_is_no_file_is_said() -> None:
    with pytest.raises(typer.BadParameter, match=r"nowhere\.py is not a Python file"):
        load_graph("nowhere.py")


def test_the_demo_is_the_ensemble(folder: Path) -> None:
    demo = load_demo()
    assert len(demo.build_graph()) > 900
