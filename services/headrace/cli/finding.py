"""Load the graph for `headrace run`, and the example for `headrace demo`."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import typer

from headrace.cli.user_code import call

if TYPE_CHECKING:
    from headrace.graph.builder import Graph


_MODULE_PREFIX = "headrace_run_"
"""Prefix of the module name of a graph file."""


def load_graph(target: str) -> Graph:
    """Return the graph named by FILE.py:graph, or the only graph of FILE.py. If the name is a function's, call it to get the graph.

    Raises typer.BadParameter if there is no graph, or more than one, and UserCodeFailed for an error in the file.
    """
    path, _, name = target.partition(":")
    file = Path(path)
    if file.suffix != ".py" or not file.is_file():
        raise typer.BadParameter(f"{path} is not a Python file: give FILE.py or FILE.py:graph")
    file = file.resolve()
    module = call(file, lambda: _import_file(file))
    found = _named(module, name, path) if name else _only(module, path)
    graph = call(file, found) if callable(found) else found
    if not _is_graph(graph):
        raise typer.BadParameter(f"{target} returned {type(graph).__name__}, not an hr.Graph")
    return graph  # type: ignore[no-any-return]


def _import_file(path: Path) -> ModuleType:
    """Import the file as a module whose name no other module has, whatever the file is called.

    Its definitions travel by value, because the runners of a remote cluster do not have the file. It can import modules from its folder;
    they come before installed packages, as for a script, but after the standard library.
    """
    import cloudpickle

    import_from(str(path.parent))
    name = _MODULE_PREFIX + re.sub(r"\W", "_", path.stem)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    cloudpickle.register_pickle_by_value(module)
    spec.loader.exec_module(module)
    return module


def import_from(folder: str) -> None:
    """Make the modules of a folder importable: before installed packages, as for a script, but after the standard library."""
    if folder not in sys.path:
        sys.path.insert(_place_for_scripts(), folder)


def _place_for_scripts() -> int:
    """Return the index in the module path after the entries of the standard library."""
    standard = os.path.realpath(sysconfig.get_path("stdlib"))
    within = [index for index, entry in enumerate(sys.path) if entry and _is_standard(os.path.realpath(entry), standard)]
    return within[-1] + 1 if within else len(sys.path)


def _is_standard(entry: str, standard: str) -> bool:
    return entry in (standard, os.path.join(standard, "lib-dynload"))


def _named(module: ModuleType, name: str, path: str) -> Any:
    found = getattr(module, name, None)
    if _is_graph(found) or callable(found):
        return found
    raise typer.BadParameter(f"{path} has no graph {name!r}: {_what_there_is(module)}")


def _only(module: ModuleType, path: str) -> Any:
    graphs = _graphs(module)
    if len(graphs) == 1:
        return graphs[0][1]
    raise typer.BadParameter(f"{path} has {'several graphs' if graphs else 'no graph'}: {_what_there_is(module)}")


def _what_there_is(module: ModuleType) -> str:
    names = [name for name, _ in _graphs(module)]
    if names:
        return "name one, as FILE.py:" + " or :".join(names)
    return "assign an hr.Graph to a name at its top level, or name a function that returns one"


def _graphs(module: ModuleType) -> list[tuple[str, Any]]:
    distinct: dict[int, tuple[str, Any]] = {}
    for name, value in vars(module).items():
        if _is_graph(value):
            distinct.setdefault(id(value), (name, value))
    return list(distinct.values())


def _is_graph(value: Any) -> bool:
    from headrace.graph.builder import Graph

    return isinstance(value, Graph)


def load_demo() -> Any:
    """Import the ensemble example, from the installed package or from the examples of a checkout.

    Raises typer.BadParameter if it is in neither.
    """
    import headrace

    here = Path(headrace.__file__).resolve().parent
    if (here / "examples" / "ensemble.py").is_file():
        return importlib.import_module("headrace.examples.ensemble")
    checkout = here.parents[1]
    if (checkout / "examples" / "ensemble.py").is_file():
        sys.path.insert(0, str(checkout))
        return importlib.import_module("examples.ensemble")
    raise typer.BadParameter("the ensemble example was not installed with this package: run examples/ensemble.py from a checkout")
