"""What a script defines is used in tasks, as arguments and as results, and comes back as what the script knows."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SCRIPT = """
import dataclasses, enum, functools, json, sys
import numpy as np
import xarray as xr
import headrace as hr


@functools.lru_cache
def table(n):
    return n * n


@functools.cache
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def uses(n):
    return table(n) + 1


class Point:
    __slots__ = ("lat", "lon")

    def __init__(self, lat, lon):
        self.lat, self.lon = lat, lon


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
    start: int
    end: int = 9


class Kind(enum.Enum):
    SMALL = ("s", 1)
    LARGE = ("l", 2)

    def __init__(self, letter, size):
        self.letter, self.size = letter, size


def move(point, kind):
    return Point(point.lat + kind.size, point.lon), kind


def width(span):
    return dataclasses.replace(span, end=span.start + 1)


def steps():
    for step in np.arange(2):
        yield hr.Output(int(step), step=step, valid=np.datetime64("2020-01-01", "ns"))


def field():
    return xr.DataArray([1.0, 2.0], dims="x", name="t", attrs={"units": "K"})


class Fails(Exception):
    def __init__(self, path, code):
        super().__init__(f"cannot read {path}")
        self.path, self.code = path, code


def fails():
    raise Fails("a.grib", 4)


out = sys.argv[1]
g = hr.Graph("script")
for function, argument in ((table, 3), (fib, 20), (uses, 3)):
    g.add(function, argument, name=function.__name__)
moved = g.add(move, Point(1, 2), Kind.LARGE, name="moved")
g.add(lambda pair: pair[0].lat, moved, name="lat")
g.output(moved, *(g.add(width, Span(3), name="span"),))
made = g.add(steps, outputs=2, name="steps")
g.output(made)
g.output(g.add(field, name="field", metadata={"param": "2t", "step": np.int64(6)}), sink=out + "/{name}.nc")
bad = hr.Graph("bad")
bad.add(fails, name="bad")
with hr.Cluster.local(hosts=1) as cluster:
    job = cluster.submit(g)
    found = job.results(60)
    point, kind = found["moved"]
    error = None
    try:
        cluster.submit(bad).wait(60)
    except hr.TaskFailed as failed:
        error = failed.__cause__
    names = ("table", "fib", "uses")
    g2 = hr.Graph("caches")
    for function, argument in ((table, 3), (fib, 20), (uses, 3)):
        g2.add(function, argument, name=function.__name__)
    caches = cluster.submit(g2).results(60)
    attributes = xr.load_dataset(out + "/field.nc").attrs
print(json.dumps({
    "caches": [caches[name] for name in names],
    "point": [type(point) is Point, point.lat, hasattr(point, "__dict__")],
    "kind": kind is Kind.LARGE,
    "span": found["span"] == Span(3, 4),
    "metadata": job.metadata("steps[1]"),
    "field": bool(found["field"].identical(field())),
    "attributes": [attributes["param"], int(attributes["step"]), attributes["headrace_job"] == job.id, attributes["headrace_task"]],
    "error": [type(error) is Fails, str(error), getattr(error, "code", None)],
}))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("script")
    path = folder / "a_script.py"
    path.write_text(SCRIPT)
    done = subprocess.run([sys.executable, str(path), str(folder)], capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("caches", [9, 6765, 10]),
        ("point", [True, 3, False]),
        ("kind", True),
        ("span", True),
        ("metadata", {"step": 1, "valid": "2020-01-01T00:00:00"}),
        ("field", True),
        ("attributes", ["2t", 6, True, "field"]),
        ("error", [True, "cannot read a.grib", 4]),
    ],
)
def test_what_a_script_defines_works_in_tasks(said: dict[str, object], what: str, expected: object) -> None:
    assert said[what] == expected
