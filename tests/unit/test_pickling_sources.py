"""Code that travels by value keeps its file and lines for tracebacks elsewhere, without changing the bytes that are hashed."""

from __future__ import annotations

import linecache
import pickle
import textwrap
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import headrace as hr
from headrace.graph.freezing import freeze
from headrace.pickling import by_value, sources
from headrace.pickling.sources import Sources, register
from headrace_schemas.graph import SourceSpec


def define(text: str, name: str, file: str) -> Callable[..., Any]:
    """A function of a script, or of a notebook's cell, which has its lines in linecache only."""
    text = textwrap.dedent(text)
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, file, "exec"), scope)
    found = scope[name]
    assert callable(found)
    return found


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    """No test finds what another one registered, as in a process of its own."""
    cached = dict(linecache.cache)
    yield
    sources._files.clear()
    linecache.cache.clear()
    linecache.cache.update(cached)


def trace_of(function: Callable[..., Any], *arguments: Any) -> str:
    try:
        function(*arguments)
    except ZeroDivisionError as error:
        return "".join(traceback.format_exception(error))
    raise AssertionError("it was to raise")


def send(function: Callable[..., Any]) -> tuple[bytes, list[SourceSpec]]:
    """What travels of a function, after which this process knows nothing of its file."""
    noted = Sources()
    pickled = by_value.dumps(function, sources=noted)
    specs = noted.specs()
    for spec in specs:
        linecache.cache.pop(spec.file, None)
    return pickled, specs


OUTER = """
    def inner(x):
        return x / 0

    def outer(x):
        shifted = [
            (lambda y: inner(y + 1))(each)
            for each in [x]
        ]
        return shifted
"""


@pytest.mark.parametrize("file", ["/home/somebody/script.py", "<ipython-input-3-0a1b2c>", "/tmp/ipykernel_7/123.py"])
def test_a_traceback_elsewhere_shows_file_line_and_source(file: str) -> None:
    pickled, specs = send(define(OUTER, "outer", file))
    register(specs)
    text = trace_of(pickle.loads(pickled), 1)
    assert f'File "{file}", line 7, in <lambda>\n    (lambda y: inner(y + 1))(each)' in text
    assert f'File "{file}", line 3, in inner\n    return x / 0' in text


def test_equal_code_has_equal_bytes_wherever_it_is_defined() -> None:
    assert send(define(OUTER, "outer", "/a.py"))[0] == send(define(OUTER, "outer", "/b.py"))[0]


def test_the_hash_of_a_graph_does_not_depend_on_the_file() -> None:
    frozen = []
    for file in ("/a.py", "/b.py"):
        graph = hr.Graph("g")
        graph.add(define(OUTER, "outer", file), 1)
        frozen.append(freeze(graph))
    assert frozen[0].content_hash == frozen[1].content_hash
    assert [spec.sources[0].file for spec in frozen] == ["/a.py", "/b.py"]


def test_code_in_arguments_has_its_lines_too() -> None:
    graph = hr.Graph("g")
    graph.add(map, define("def key(x):\n    return x / 0\n", "key", "/keys.py"), [1])
    (source,) = freeze(graph).sources
    assert (source.file, source.first, source.texts) == ("/keys.py", [1], ["def key(x):\n    return x / 0\n"])


def test_a_later_version_of_a_file_does_not_show_in_an_earlier_job() -> None:
    first, first_specs = send(define("def f():\n    return 1 / 0\n", "f", "/script.py"))
    second, second_specs = send(define("def f():\n    print()\n    return 2 / 0\n", "f", "/script.py"))
    register(first_specs)
    early = pickle.loads(first)
    register(second_specs)
    assert "return 2 / 0" in trace_of(pickle.loads(second))
    register(first_specs)
    assert "return 1 / 0" in trace_of(early)


def test_lines_that_a_task_dropped_come_back_with_the_next_job() -> None:
    pickled, specs = send(define("def f():\n    return 3 / 0\n", "f", "/dropped.py"))
    register(specs)
    linecache.clearcache()
    register(specs)
    assert "return 3 / 0" in trace_of(pickle.loads(pickled))


def test_only_the_lines_of_what_travels_are_sent() -> None:
    _, (spec,) = send(define("SECRET = 1\ndef f():\n    return 1 / 0\n# after\n", "f", "/script.py"))
    assert (spec.first, spec.texts) == ([2], ["def f():\n    return 1 / 0\n"])


def test_a_file_that_is_gone_leaves_name_and_line() -> None:
    function = define("def f():\n    return 1 / 0\n", "f", "/gone.py")
    del linecache.cache["/gone.py"]
    sources._origin.cache_clear()
    pickled, specs = send(function)
    register(specs)
    assert '"/gone.py", line 2, in f\n' in trace_of(pickle.loads(pickled))
    assert specs[0].texts == []


def test_source_is_bounded() -> None:
    body = "".join(f"    x = {number}\n" for number in range(sources.MAX_LINES * 2))
    _, (long,) = send(define(f"def f():\n{body}    return 1 / 0\n", "f", "/long.py"))
    assert len(long.texts[0].splitlines()) == sources.MAX_LINES
    wide = f"    x = '{'y' * sources.MAX_CHARACTERS}'\n"
    _, (bounded,) = send(define(f"def g():\n{wide}    return 1 / 0\n", "g", "/wide.py"))
    assert bounded.texts == ["def g():\n", "    return 1 / 0\n"]


def test_a_value_keeps_the_file_in_its_pickle() -> None:
    copied = pickle.loads(by_value.dumps(define("def f():\n    return 1 / 0\n", "f", "/value.py")))
    assert copied.__code__.co_filename == "/value.py"
