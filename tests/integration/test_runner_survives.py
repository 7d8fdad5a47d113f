"""Whatever a task, its function's import, its arguments, its result or its exception raises is told as what it is, and its runner lives."""

from __future__ import annotations

import dataclasses
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

import headrace as hr

WAIT = 30.0


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that the runners import from."""
    folder = tmp_path_factory.mktemp("modules")
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def shared(modules: Path) -> Iterator[hr.Cluster]:
    with hr.Cluster.local(hosts=1, runners=1) as cluster:
        yield cluster


def pid(cluster: hr.Cluster) -> int:
    graph = hr.Graph("who")
    graph.add(os.getpid, name="pid")
    found: int = cluster.submit(graph).results(WAIT)["pid"]
    return found


@pytest.fixture
def cluster(shared: hr.Cluster) -> Iterator[hr.Cluster]:
    """A cluster whose only runner is the same process after the test."""
    runner = pid(shared)
    yield shared
    assert pid(shared) == runner


def failure(cluster: hr.Cluster, function: Any, *args: Any, retries: int = 0, **kwargs: Any) -> hr.TaskFailed:
    graph = hr.Graph("fails")
    graph.add(hr.task(function, retries=retries), *args, name="it", **kwargs)
    with pytest.raises(hr.TaskFailed) as caught:
        cluster.submit(graph).results(WAIT)
    return caught.value


@dataclasses.dataclass(frozen=True)
class Missing(Exception):
    step: int


class NoSet(Exception):
    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


class BadText(Exception):
    def __str__(self) -> str:
        raise SystemExit("from __str__")

    __repr__ = __str__


class BadReduce(Exception):
    def __reduce__(self) -> NoReturn:
        raise SystemExit("from __reduce__")


class BadClass(Exception):
    @property
    def __class__(self) -> NoReturn:  # type: ignore[override]
        raise SystemExit("from __class__")


class EndsItsReader(Exception):
    def __reduce__(self) -> Any:
        return sys.exit, ("read",)


def noted(notes: Any) -> Exception:
    error = ValueError("noted")
    error.__notes__ = notes
    return error


def circular() -> Exception:
    first, second = ValueError("first"), KeyError("second")
    first.__cause__, second.__cause__ = second, first
    return first


def recursing() -> None:
    recursing()


ODD = {
    "frozen": lambda: Missing(6),
    "no __setattr__": NoSet,
    "__str__ exits": BadText,
    "__reduce__ exits": BadReduce,
    "__class__ exits": BadClass,
    "unpickling exits": EndsItsReader,
    "notes are an int": lambda: noted(5),
    "notes are None": lambda: noted(None),
    "notes are odd": lambda: noted([object(), 5]),
    "a circle of causes": circular,
    "a group": lambda: BaseExceptionGroup("some", [SystemExit(3), ExceptionGroup("more", [ValueError("deep")])]),
    "SystemExit": lambda: SystemExit(7),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "StopIteration": lambda: StopIteration(4),
    "unpicklable": lambda: ValueError(_ for _ in ()),
}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_exception_is_its_tasks_failure(cluster: hr.Cluster, odd: str) -> None:
    make = ODD[odd]

    def fails() -> None:
        raise make()

    error = failure(cluster, fails)
    assert error.reason == "raised"
    assert "in fails" in error.remote_traceback
    assert type(make()).__name__ in error.error


@pytest.mark.parametrize("odd", ["frozen", "__str__ exits", "KeyboardInterrupt"])
def test_a_generator_that_raises_is_its_tasks_failure(cluster: hr.Cluster, odd: str) -> None:
    make = ODD[odd]

    def fails() -> Iterator[int]:
        yield 1
        raise make()

    error = failure(cluster, fails, outputs=2)
    assert (error.reason, type(make()).__name__ in error.error) == ("raised", True)
    assert "in fails" in error.remote_traceback


def test_a_recursion_without_end(cluster: hr.Cluster) -> None:
    error = failure(cluster, recursing)
    assert isinstance(error.__cause__, RecursionError)


def test_a_returned_iterator_that_raises(cluster: hr.Cluster) -> None:
    error = failure(cluster, lambda: (10 / (2 - i) for i in range(3)), outputs=3)
    assert (error.reason, type(error.__cause__)) == ("raised", ZeroDivisionError)
    assert "in <genexpr>" in error.remote_traceback


def test_a_returned_iterator_that_raises_a_type_error_is_no_wrong_number_of_outputs(cluster: hr.Cluster) -> None:
    assert failure(cluster, lambda: (1 + str(i) for i in range(3)), outputs=3).reason == "raised"  # type: ignore[operator]


def test_a_returned_iterator_without_end(cluster: hr.Cluster) -> None:
    error = failure(cluster, lambda: iter(int, 1), outputs=3)
    assert (error.reason, error.error) == ("bad_output", "declared with outputs=3, but returned more than 3 values")


class Unpicklable:
    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __reduce__(self) -> NoReturn:
        raise self.error("while pickling")


@pytest.mark.parametrize("kind", [MemoryError, SystemExit, KeyboardInterrupt])
def test_a_result_whose_pickling_raises(cluster: hr.Cluster, kind: type[BaseException]) -> None:
    error = failure(cluster, Unpicklable, kind)
    assert error.reason == "raised"
    assert "in __reduce__" in error.remote_traceback
    assert error.error == f"{kind.__name__}: while pickling\nwhile its result was pickled in the runner"


class Exits:
    def __reduce__(self) -> Any:
        return sys.exit, ("at unpickling",)


def test_an_argument_whose_unpickling_exits(cluster: hr.Cluster) -> None:
    error = failure(cluster, lambda x: 1, Exits(), retries=1)
    assert error.error.startswith("SystemExit: at unpickling\nwhile the arguments of")


def test_an_input_whose_unpickling_exits(cluster: hr.Cluster) -> None:
    graph = hr.Graph("fails")
    made = graph.add(Exits, name="makes")
    graph.output(made, graph.add(lambda x: 1, made, name="takes"))
    with pytest.raises(hr.TaskFailed, match="SystemExit: at unpickling\nwhile the input 'makes' was unpickled") as caught:
        cluster.submit(graph).results(WAIT)
    assert caught.value.task == "takes"


def test_a_result_that_ends_its_reader_cannot_be_read_and_the_others_can(cluster: hr.Cluster) -> None:
    graph = hr.Graph("ends its reader")
    graph.add(Exits, name="exits")
    graph.add(len, "abc", name="length")
    job = cluster.submit(graph)
    with pytest.raises(hr.UnreadableResult, match="SystemExit: at unpickling"):
        job.results(WAIT)
    assert job.result("length", WAIT) == 3


@pytest.mark.parametrize(
    ("name", "line", "said"),
    [
        ("parses", "import argparse; argparse.ArgumentParser().parse_args(['--grib'])", "a module that it imports ends the process"),
        ("exhausts", "raise MemoryError('while importing')", "MemoryError: while importing"),
        ("interrupts", "raise KeyboardInterrupt", "KeyboardInterrupt"),
    ],
)
def test_a_module_that_cannot_be_imported(cluster: hr.Cluster, modules: Path, name: str, line: str, said: str) -> None:
    file = modules / f"imported_that_{name}.py"
    file.write_text("def f(): return 1\n")
    function = importlib.import_module(file.stem).f
    file.write_text(f"{line}\n")
    error = failure(cluster, function)
    assert error.reason == "import_failed"
    assert said in error.error
    assert f'{file}", line 1, in <module>' in error.remote_traceback


def test_a_process_that_a_task_forked_and_that_returns_from_it_is_no_runner(cluster: hr.Cluster) -> None:
    def forks() -> str:
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        return "parent" if child else "child"

    graph = hr.Graph("forks")
    graph.add(forks, name="who")
    assert cluster.submit(graph).results(WAIT) == {"who": "parent"}
