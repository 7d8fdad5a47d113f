"""A task sees its arguments and inputs as they were given and made, whatever other tasks and attempts do, in one chain with them or not."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import headrace as hr

WAIT = 30.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[hr.Cluster]:
    with hr.Cluster.local(hosts=1, runners=1) as cluster:
        yield cluster


def take_all(todo: list[str], mark: str) -> list[str]:
    """Takes all there is, and fails once."""
    taken = []
    while todo:
        taken.append(todo.pop(0))
        if not os.path.exists(mark):
            Path(mark).touch()
            raise OSError("once")
    return taken


@pytest.mark.parametrize("how", ["argument", "keyword", "partial"])
def test_a_retried_task_sees_its_arguments_as_they_were_given(cluster: hr.Cluster, tmp_path: Path, how: str) -> None:
    graph, todo, mark = hr.Graph("retry"), ["a", "b", "c"], str(tmp_path / "mark")
    if how == "argument":
        graph.add(hr.task(take_all, retries=1), todo, mark, name="taken")
    elif how == "keyword":
        graph.add(hr.task(take_all, retries=1), mark=mark, todo=todo, name="taken")
    else:
        graph.add(hr.task(partial(take_all, todo), retries=1), mark, name="taken")
    assert cluster.submit(graph).results(WAIT) == {"taken": ["a", "b", "c"]}


def last(names: list[str]) -> str:
    return names.pop()


def test_tasks_that_were_given_one_list_do_not_share_it(cluster: hr.Cluster) -> None:
    graph, names = hr.Graph("shared"), ["a", "b", "c"]
    for _ in range(3):
        graph.add(last, names)
        graph.add(partial(last, names))
    assert set(cluster.submit(graph).results(WAIT).values()) == {"c"}


def add_one(array: Any) -> Any:
    array += 1
    return array


def test_to_write_to_an_array_that_was_given_fails(cluster: hr.Cluster) -> None:
    graph = hr.Graph("writes")
    graph.add(add_one, np.zeros(2))
    with pytest.raises(hr.TaskFailed, match="read-only"):
        cluster.submit(graph).results(WAIT)


def buffer(value: int, _own: dict[str, Any] = {}) -> Any:  # noqa: B006 - it is the fault that is tried
    """A task that returns its own buffer, again and again."""
    array = _own.setdefault("array", np.zeros(20_000))
    np.add(np.zeros(20_000), value, out=array)
    return array


def first_of(values: Any) -> float:
    return float(np.ravel(values)[0])


def set_first(values: Any) -> float:
    values[0] = 5
    return first_of(values)


def set_frame(frame: Any) -> float:
    frame.iloc[0, 0] = 5
    return float(frame.iloc[0, 0])


def set_dataset(dataset: Any) -> float:
    dataset["t"][0] = 5
    return float(dataset["t"][0])


def set_nested(nested: Any) -> float:
    nested["x"][0] += 1
    return first_of(nested["x"][0])


def add_key(nested: Any) -> list[str]:
    nested["more"] = 1
    return sorted(nested)


class Counter:
    def __init__(self) -> None:
        self.count = 0

    def next(self) -> int:
        self.count += 1
        return self.count


PAIRS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "array": (lambda: np.arange(20000.0), set_first),
    "small array": (lambda: np.arange(3.0), set_first),
    "slice": (lambda: np.arange(20000.0)[5:], set_first),
    "slice with gaps": (lambda: np.arange(20000.0)[::2], set_first),
    "times": (lambda: np.arange(20000).astype("M8[s]").astype("M8[ns]"), lambda times: str(times.flags.writeable)),
    "array of the store": (lambda: hr.zeros(20000), set_first),
    "frame": (lambda: pd.DataFrame({"a": np.arange(20000.0)}), set_frame),
    "series": (lambda: pd.Series(np.arange(20000.0)), set_first),
    "field": (lambda: xr.DataArray(np.arange(20000.0), dims="x"), set_first),
    "dataset": (lambda: xr.Dataset({"t": ("x", np.arange(20000.0))}), set_dataset),
    "nested": (lambda: {"x": [np.zeros(20000)]}, set_nested),
    "list": (lambda: [1, 2], set_first),
    "dict": (lambda: {"a": 1}, add_key),
    "object": (Counter, Counter.next),
    "lock": (threading.Lock, lambda lock: lock.locked()),
    "iterator": (lambda: iter(range(3)), list),
    "function": (lambda: lambda: 5, lambda function: function()),
    "metadata": (lambda: hr.Output(1, level={1, object()}), lambda value: value),
}


def outcome(cluster: hr.Cluster, make: Callable[[], Any], use: Callable[[Any], Any], fused: bool) -> Any:
    """What two tasks that use what a third one made return, or how that fails: in a chain with it, or not."""
    graph = hr.Graph("pair")
    made = graph.add(make, name="made")
    used = [graph.add(use, made, name="first")]
    used.append(graph.add(lambda value, _: use(value), made, used[0], name="second"))
    graph.output(used[-1]) if fused else graph.output(made, *used)
    try:
        return cluster.submit(graph).results(WAIT)["second"]
    except hr.TaskFailed as error:
        return error.task, error.reason, error.error


@pytest.mark.parametrize("pair", PAIRS)
def test_what_can_be_done_to_an_input_does_not_depend_on_fusing(cluster: hr.Cluster, pair: str) -> None:
    fused, apart = (outcome(cluster, *PAIRS[pair], is_fused) for is_fused in (True, False))
    assert fused == apart


def test_inputs_are_read_only(cluster: hr.Cluster) -> None:
    for name in ("array", "slice", "slice with gaps", "frame", "series", "field", "dataset", "nested", "array of the store"):
        task, reason, error = outcome(cluster, *PAIRS[name], True)
        assert (task, reason) == ("first", "raised")
        assert "read-only" in error or "is a view" in error


def test_no_use_of_an_input_sees_another(cluster: hr.Cluster) -> None:
    assert outcome(cluster, *PAIRS["dict"], True) == ["a", "more"]
    assert outcome(cluster, *PAIRS["object"], True) == 1


def test_a_producers_own_buffer_is_copied_before_it_is_used_again(cluster: hr.Cluster) -> None:
    graph = hr.Graph("buffers")
    values = [graph.add(first_of, graph.add(buffer, value)) for value in range(20)]
    graph.add(lambda *values: list(values), *values, name="all")
    assert cluster.submit(graph).results(WAIT) == {"all": list(map(float, range(20)))}
    graph = hr.Graph("a chain of them")
    node = graph.add(buffer, 1)
    second = graph.add(lambda array, value=2: (buffer(value), array)[1][0], node, name="seen")
    graph.output(second)
    assert cluster.submit(graph).results(WAIT) == {"seen": 1.0}
