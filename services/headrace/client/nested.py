"""Finds the nodes inside the arguments of `compute`, and replaces them by values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.graph.builder import Graph
from headrace.graph.node import CONTAINERS, Dataset, Node, hides_nodes

Leaf = Node | Dataset


def datasets_in(item: Any) -> list[Leaf]:
    """Return the distinct datasets of the nodes, in the order in which they occur. A node of one output stands for its dataset.

    Nodes may be anywhere inside lists, tuples and dict values. Raises TypeError for a graph, and for another container with nodes in it.
    """
    found: dict[Leaf, None] = {}
    _walk(item, lambda leaf: found.update(dict.fromkeys(_parts(leaf))))
    return list(found)


def with_values(item: Any, values: dict[Leaf, Any]) -> Any:
    """Replace the nodes in `item` by their values, and a node of several outputs by the list of its values."""

    def value(leaf: Leaf) -> Any:
        found = [values[part] for part in _parts(leaf)]
        return found if isinstance(leaf, Node) and leaf.n_outputs > 1 else found[0]

    return _walk(item, value)


def _parts(leaf: Leaf) -> list[Leaf]:
    if isinstance(leaf, Node) and leaf.n_outputs > 1:
        return list(leaf)
    return [leaf.node if isinstance(leaf, Dataset) and leaf.node.n_outputs == 1 else leaf]


def _walk(item: Any, visit: Callable[[Leaf], Any]) -> Any:
    if isinstance(item, (Node, Dataset)):
        return visit(item)
    kind = type(item)
    if kind is dict:
        return {key: _walk(value, visit) for key, value in item.items()}
    if kind is list or kind is tuple:
        return kind(_walk(value, visit) for value in item)
    if isinstance(item, tuple) and hasattr(kind, "_make"):
        return kind._make(_walk(value, visit) for value in item)
    if isinstance(item, Graph):
        raise TypeError(f"compute takes nodes, not {item}: run a whole graph with cluster.submit(graph).results()")
    if isinstance(item, CONTAINERS) and hides_nodes(item):
        raise TypeError(f"compute finds nodes in lists, tuples and the values of dicts, not in a {kind.__name__}: give one of these")
    return item
