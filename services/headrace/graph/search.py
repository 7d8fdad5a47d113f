"""Finds the nodes in a call's arguments, and makes the call's template: the arguments with holes, and the inputs that fill the holes."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from headrace.errors import GraphError
from headrace.graph.node import CONTAINERS, Dataset, Node, hides_nodes
from headrace.graph.templates import NO_KEYWORDS, Filler, Nested, Patches, Template

if TYPE_CHECKING:
    from headrace.graph.builder import Graph

LEAVES = frozenset({int, float, complex, str, bytes, bool, type(None)})
"""Types that the search skips at once: by far the most common arguments."""

_FILLER = itemgetter(1)


class FreeSearch:
    """A search of the arguments of one call. `keys` has the distinct datasets found, in order, each with its index among them.

    Here a dataset's key is the pair (node, output index). The search covers lists, tuples, named tuples and the values of dicts, but no
    other containers.
    """

    __slots__ = ("keys",)

    def __init__(self) -> None:
        self.keys: dict[Any, int] = {}

    def template(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Template:
        """Return the call's template; afterwards `keys` has the datasets that fill it.

        Raises GraphError for an argument that contains itself, or is nested too deep to be searched.
        """
        try:
            patches = self.patches(enumerate(args))
            keyword_patches = self.patches(kwargs.items()) if kwargs else ()
        except RecursionError:
            raise GraphError("an argument contains itself or is nested too deep to be searched for nodes") from None
        if not (patches or keyword_patches):
            return (args, kwargs) if kwargs else (args,)
        if not kwargs:
            return None if _in_order(patches, len(args)) else (_blank(list(args), patches, tuple), NO_KEYWORDS, patches, ())
        return _blank(list(args), patches, tuple), _blank(dict(kwargs), keyword_patches, dict), patches, keyword_patches

    def patches(self, items: Any) -> Patches:
        """Return the patches of the (place, argument) pairs: which filler goes where."""
        found = []
        for where, item in items:
            if type(item) not in LEAVES:
                filler = self.filler(item)
                if filler is not None:
                    found.append((where, filler))
        return tuple(found)

    def filler(self, item: Any) -> Filler | None:
        """Return the template of an argument that has nodes in it; None if it has none."""
        kind = type(item)
        if kind is Node:
            return self.index(item, 0) if item.n_outputs == 1 else self.whole(item)
        if kind is Dataset:
            return self.index(item.node, item.index)
        if kind is list or kind is tuple or (isinstance(item, tuple) and hasattr(kind, "_make")):
            patches = self.patches(enumerate(item))
            if not patches:
                return None
            return (kind is list and _run(patches, len(item))) or Nested(kind, _blank(list(item), patches, tuple), patches)
        if kind is dict:
            patches = self.patches(item.items())
            return Nested(dict, _blank(dict(item), patches, dict), patches) if patches else None
        if isinstance(item, CONTAINERS) and hides_nodes(item):
            raise GraphError(
                f"an argument is a {kind.__name__} with nodes in it, which is not searched for nodes. Give a list, a tuple or a dict "
                f"with nodes in its values, and make the {kind.__name__} inside the task"
            )
        return None

    def whole(self, node: Node) -> Filler:
        """Return a node of several outputs as an argument: the list of all its datasets."""
        patches = tuple((i, self.index(node, i)) for i in range(node.n_outputs))
        return _run(patches, node.n_outputs) or Nested(list, (None,) * node.n_outputs, patches)

    def index(self, node: Node, output: int) -> int:
        """Return the position of one dataset among the call's distinct inputs."""
        keys = self.keys
        return keys.setdefault((node, output), len(keys))


class BoundSearch(FreeSearch):
    """The search of a call that is added to a graph. A dataset's key is its id in that graph, and free nodes are added to the graph.

    Raises GraphError for a node of another graph.
    """

    __slots__ = ("graph",)

    def __init__(self, graph: Graph) -> None:
        self.keys = {}
        self.graph = graph

    def index(self, node: Node, output: int) -> int:
        """Return the position of one dataset among the call's distinct inputs."""
        if node._graph is not self.graph:
            node = self.graph.adopt(node)
        keys = self.keys
        return keys.setdefault(node._first + output, len(keys))


def _in_order(patches: Patches, size: int) -> bool:
    """Return whether the arguments are exactly the inputs, each once, in order."""
    if len(patches) != size:
        return False
    return list(map(_FILLER, patches)) == list(range(size))


def _run(patches: Patches, size: int) -> slice | None:
    """Return the slice that fills a whole list, where all its items are inputs that follow each other."""
    start = patches[0][1]
    if type(start) is not int or len(patches) != size:
        return None
    follows = list(map(_FILLER, patches)) == list(range(start, start + size))
    return slice(start, start + size) if follows else None


def _blank(items: Any, patches: Patches, make: Any) -> Any:
    """Return the items with None in place of what is filled in later."""
    for where, _ in patches:
        items[where] = None
    return items if make is dict else make(items)
