"""`import headrace` is fast, and has all public names."""

from __future__ import annotations

import subprocess
import sys

import pytest

import headrace as hr
from headrace.graph import builder, node, output, task


def test_the_names_are_those_of_the_graph_package() -> None:
    assert (hr.task, hr.delayed, hr.Graph) == (task.task, task.delayed, builder.Graph)
    assert (hr.Node, hr.Dataset, hr.Output) == (node.Node, node.Dataset, output.Output)
    assert issubclass(hr.GraphError, hr.HeadraceError)
    assert hr.__version__.count(".") >= 2
    assert set(dir(hr)) == {*hr.__all__, "__version__"}
    star: dict[str, object] = {}
    exec("from headrace import *", star)
    assert set(star) - {"__builtins__"} == set(hr.__all__)
    assert not any(name.startswith("_") for name in hr.__all__)


@pytest.mark.parametrize("name", [name for name in hr.__all__ if name != "Cluster"])
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(hr, name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Grpah'"):
        hr.Grpah  # noqa: B018


def test_building_a_graph_imports_neither_numpy_nor_messaging() -> None:
    program = (
        "import sys, headrace as hr; assert not any(name.startswith('headrace.') for name in sys.modules); "
        "g = hr.Graph('g'); g.add(hr.task(abs), 1); hr.Output(1); "
        "print(sorted({'numpy', 'nats', 'asyncio', 'msgspec', 'cloudpickle'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
