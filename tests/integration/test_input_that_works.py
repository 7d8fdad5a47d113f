"""Inputs that a user may reasonably pass work, and come back unchanged."""

from __future__ import annotations

import functools
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import headrace as hr

WAIT = 60.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[hr.Cluster]:
    with hr.Cluster.local(hosts=2) as cluster:
        yield cluster


def same(value: Any) -> Any:
    return value


def only_result(cluster: hr.Cluster, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    graph = hr.Graph("one")
    graph.add(function, *args, **kwargs)
    [value] = cluster.submit(graph).results(WAIT).values()
    return value


@pytest.mark.parametrize(
    "name",
    [
        "2t.sfc.an",
        "two metre temperature",
        "all*",
        "a > b",
        "era5/2t/2019-03",
        "Übergröße: 温度 🌡",
        "x" * 300,
        "$(rm -rf)",
        "a\tb",
        "%s{}",
        "..",
    ],
)
def test_names(cluster: hr.Cluster, name: str) -> None:
    graph = hr.Graph(name)
    first = graph.add(same, 1, name=name, metadata={"name": name})
    graph.output(first, graph.add(same, first, name=f"{name} again"))
    job = cluster.submit(graph)
    assert job.results(WAIT) == {name: 1, f"{name} again": 1}
    assert job.metadata(name) == {"name": name}
    assert (job.name, cluster.job(job.id).name) == (name, name)


def test_a_graph_of_200_000_tasks(cluster: hr.Cluster) -> None:
    graph = hr.Graph("large")
    nodes = [graph.add(same, k) for k in range(100_000)]
    ends = [graph.add(same, node) for node in nodes]
    graph.output(ends)
    values = cluster.submit(graph).results(WAIT).values()
    assert list(values) == list(range(100_000))


def test_an_argument_of_200_mb(cluster: hr.Cluster) -> None:
    field = np.arange(25_000_000, dtype=np.float64)
    assert only_result(cluster, np.sum, field) == field.sum()


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        2**80,
        -(2**80),
        1e308,
        "",
        "ü\0",
        b"\xff",
        (),
        [[]],
        {"a": {"b": [1, (2, {3})]}, None: ...},
        {1, 2},
        1 + 2j,
        range(3),
        int,
    ],
    ids=repr,
)
def test_values_of_python(cluster: hr.Cluster, value: Any) -> None:
    found = only_result(cluster, same, value)
    assert found == value
    assert type(found) is type(value)


def test_nan_and_infinity(cluster: hr.Cluster) -> None:
    assert math.isnan(only_result(cluster, same, math.nan))
    assert only_result(cluster, same, -math.inf) == -math.inf


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4),
        np.asfortranarray(np.arange(12).reshape(3, 4)),
        np.arange(24)[::3],
        np.array(3.5),
        np.empty((0, 5)),
        np.array(["a", "bü"]),
        np.array([{"a": 1}, None], dtype=object),
        np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]),
        np.array(["2019-03-01"], dtype="datetime64[D]"),
        np.zeros(1_000_000, dtype=">f4"),
        np.float32(1.5),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_arrays(cluster: hr.Cluster, array: Any) -> None:
    graph = hr.Graph("arrays")
    first = graph.add(same, array)
    graph.output(first, graph.add(same, first))
    for found in cluster.submit(graph).results(WAIT).values():
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype


def test_masked_arrays(cluster: hr.Cluster) -> None:
    masked = np.ma.masked_greater(np.arange(5), 3)
    found = only_result(cluster, same, masked)
    assert found.mask.tolist() == masked.mask.tolist()


def test_pandas(cluster: hr.Cluster) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"step": [0, 6], "2t": [280.5, 281.0]}, index=pandas.date_range("2019-03-01", periods=2))
    pandas.testing.assert_frame_equal(only_result(cluster, same, frame), frame, check_freq=False)


def test_xarray(cluster: hr.Cluster) -> None:
    xarray = pytest.importorskip("xarray")
    field = xarray.DataArray(
        np.arange(6.0).reshape(2, 3), dims=("latitude", "longitude"), coords={"latitude": [50, 51]}, attrs={"units": "K"}
    )
    found = only_result(cluster, same, field)
    xarray.testing.assert_identical(found, field)
    xarray.testing.assert_identical(only_result(cluster, lambda data: data.mean("latitude"), field), field.mean("latitude"))


class Scale:
    """A callable object, with methods."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def __call__(self, value: int) -> int:
        return self.factor * value

    def method(self, value: int) -> int:
        return self.factor * value

    @classmethod
    def of_class(cls, value: int) -> int:
        return 3 * value

    @staticmethod
    def static(value: int) -> int:
        return 3 * value


def a_closure() -> Callable[[int], int]:
    factor = 3
    return lambda value: factor * value


def default(value: int, factor: int = 3) -> int:
    return factor * value


@functools.lru_cache
def cached(value: int) -> int:
    return 3 * value


CALLABLES: list[Callable[..., Any]] = [
    lambda value: 3 * value,
    a_closure(),
    functools.partial(default, factor=3),
    default,
    Scale(3),
    Scale(3).method,
    Scale.of_class,
    Scale.static,
    cached,
    (3).__mul__,
]


@pytest.mark.parametrize("function", CALLABLES, ids=lambda function: type(function).__name__)
def test_callables(cluster: hr.Cluster, function: Callable[..., Any]) -> None:
    assert only_result(cluster, function, 14) == 42


def test_several_jobs_at_once(cluster: hr.Cluster) -> None:
    jobs = []
    for k in range(8):
        graph = hr.Graph(f"job-{k}")
        nodes = [graph.add(same, k) for _ in range(50)]
        graph.add(sum, nodes, name="sum")
        jobs.append(cluster.submit(graph))
    assert [job.result("sum", WAIT) for job in reversed(jobs)] == [50 * k for k in reversed(range(8))]


def test_a_client_goes_away_and_comes_back(cluster: hr.Cluster) -> None:
    submit = (
        "import sys, headrace as hr\n"
        "graph = hr.Graph('left'); graph.add(lambda: list(range(100_000)), name='numbers')\n"
        "with hr.Cluster.connect(sys.argv[1], token=sys.argv[2]) as cluster: print(cluster.submit(graph).id)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", submit, cluster.url, cluster.token], capture_output=True, text=True, timeout=WAIT, check=True
    )
    job = cluster.job(done.stdout.strip())
    assert job.results(WAIT) == {"numbers": list(range(100_000))}


def takes_names(name: str, outputs: int, value: int) -> tuple[str, int, int]:
    return name, outputs, value


def test_arguments_that_are_called_like_those_of_add(cluster: hr.Cluster) -> None:
    graph = hr.Graph("names")
    three = graph.add(default, 1, name="three")
    graph.add(functools.partial(takes_names, name="n", outputs=7), value=three, name="task")
    assert cluster.submit(graph).results(WAIT) == {"task": ("n", 7, 3)}
    assert "functools.partial" in (hr.Graph.add.__doc__ or "")
