"""Nodes: the user's handles for the tasks of a graph under construction.

A node stands for a task and for the value that it will compute. A node made by `Graph.add` is bound: it has a task id in that graph. A node
made by calling a decorated function is free: it carries its call, and becomes a task of every graph that is built from it or that takes it
as an input.
"""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Container, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, overload

from headrace.errors import GraphError

if TYPE_CHECKING:
    from headrace.graph.builder import Graph
    from headrace.graph.templates import Template

CONTAINERS = (set, frozenset, deque, list, dict)
"""Containers that could hide nodes: the search for nodes skips sets, deques, and subclasses of list and dict."""


class Call(NamedTuple):
    """The call of a free node: a function and its label, its argument template, and the distinct datasets that fill it.

    inputs: each dataset as (node, output index). descriptions: metadata of each output, or nothing.
    """

    function: Any
    label: str
    template: Template
    inputs: tuple[tuple[Node, int], ...]
    name: str | None
    metadata: dict[str, Any] | None
    descriptions: list[dict[str, Any]]


class NoValue:
    """Base class of nodes and datasets, whose value does not exist yet.

    Code that uses one as a value gets an error that says what to do instead.
    """

    __slots__ = ()
    __array_ufunc__ = None
    """With this, numpy leaves operators to this class."""

    def __bool__(self) -> bool:
        raise TypeError(f"{_said(self)} is neither true nor false before the graph runs: test its value inside a task")

    def __eq__(self, other: object) -> bool:
        if other is None or isinstance(other, NoValue):
            return self is other
        raise TypeError(_no_operand(self, "compared"))

    __hash__ = object.__hash__

    def __copy__(self) -> NoReturn:
        raise TypeError(f"{_said(self)} cannot be copied, because it stands for one task. Use it several times, or add another task")

    def __deepcopy__(self, _: object) -> NoReturn:
        self.__copy__()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{_said(self)} is in a place that is not searched for inputs. "
            "Pass it as an argument, or in lists, tuples, named tuples and dict values of an argument"
        )


def _said(item: Any) -> str:
    return f"{'dataset' if isinstance(item, Dataset) else 'task'} {item.name!r}"


def _no_operand(item: Any, how: str) -> str:
    return f"{_said(item)} has no value before the graph runs, and cannot be {how}: do it in a task, like g.add(operator.add, node, 1)"


def _refuse(self: Any, *_: object) -> NoReturn:
    raise TypeError(_no_operand(self, "calculated with"))


def _refuse_array(self: Any, *_: object, **__: object) -> NoReturn:
    raise TypeError(_no_operand(self, "made an array"))


for _name in ["add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "divmod", "pow", "lshift", "rshift", "and", "or", "xor"]:
    setattr(NoValue, f"__{_name}__", _refuse)
    setattr(NoValue, f"__r{_name}__", _refuse)
for _name in ["neg", "pos", "abs", "invert", "lt", "le", "gt", "ge", "int", "float", "complex", "index", "round"]:
    setattr(NoValue, f"__{_name}__", _refuse)
NoValue.__array__ = _refuse_array  # type: ignore[attr-defined]


class Node(NoValue):
    """A task of a graph, and the value that it will compute; made by `Graph.add` or by calling a function decorated with `hr.task`.

    Pass it as an argument of another task, also inside lists, tuples, named tuples and the values of dicts. A node of several outputs can
    be indexed, sliced, iterated and unpacked into its datasets; as a whole, it stands for the list of all of them.

    n_outputs: how many datasets the task makes.
    """

    __slots__ = ("_call", "_first", "_graph", "_task", "n_outputs")

    def __init__(self, graph: Graph | None, task: int, first: int, n_outputs: int, call: Call | None = None) -> None:
        self._graph = graph
        self._task = task
        self._first = first
        self.n_outputs = n_outputs
        self._call = call

    @property
    def name(self) -> str:
        """The task's name. A free node without a name of its own has only its function's name until it is in a graph."""
        if self._graph is not None:
            return self._graph.task_name(self._task)
        assert self._call is not None
        return self._call.name or self._call.label

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata given with the task; empty if none was."""
        if self._graph is not None:
            return self._graph.task_metadata(self._task)
        assert self._call is not None
        return self._call.metadata or {}

    def output_metadata(self, index: int) -> dict[str, Any]:
        """Return the metadata that one output is announced with: the task's metadata, updated with that of the output."""
        if self._graph is not None:
            own = self._graph.columns.descriptions.get(self._first + index, {})
        else:
            assert self._call is not None
            own = self._call.descriptions[index] if self._call.descriptions else {}
        return {**self.metadata, **own}

    @property
    def graph(self) -> Graph | None:
        """The graph the node belongs to; None while it is free."""
        return self._graph

    def __len__(self) -> int:
        self._refuse_single("has no length")
        return self.n_outputs

    def __iter__(self) -> Iterator[Dataset]:
        self._refuse_single("cannot be iterated")
        return (Dataset(self, index) for index in range(self.n_outputs))

    @overload
    def __getitem__(self, index: int) -> Dataset: ...
    @overload
    def __getitem__(self, index: slice) -> list[Dataset]: ...
    def __getitem__(self, index: int | slice) -> Dataset | list[Dataset]:
        self._refuse_single("cannot be indexed")
        if isinstance(index, slice):
            return [Dataset(self, i) for i in range(*index.indices(self.n_outputs))]
        position = operator.index(index)
        if not -self.n_outputs <= position < self.n_outputs:
            raise GraphError(f"task {self.name!r} has no output {position}: it has {self.n_outputs}, 0 to {self.n_outputs - 1}")
        return Dataset(self, position % self.n_outputs)

    def __repr__(self) -> str:
        where = "not in a graph yet" if self._graph is None else f"of graph {self._graph.name!r}"
        outputs = "" if self.n_outputs == 1 else f", {self.n_outputs} outputs"
        return f"<Node {self.name!r}{outputs}, {where}>"

    def _refuse_single(self, what: str) -> None:
        if self.n_outputs == 1:
            raise TypeError(
                f"task {self.name!r} has a single output and {what}: its value is not known before the graph runs. "
                "Give outputs=n to a task that makes n datasets, or take the value apart in a task of its own"
            )


class Dataset(NoValue):
    """One output of a node that has several: `node[index]`. Equal to any other reference to the same output."""

    __slots__ = ("index", "node")

    def __init__(self, node: Node, index: int) -> None:
        self.node = node
        self.index = index

    @property
    def name(self) -> str:
        """The dataset's name: that of its task, with the output's index in brackets."""
        return f"{self.node.name}[{self.index}]"

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata that it is announced with: its task's metadata, updated with its own."""
        return self.node.output_metadata(self.index)

    def __eq__(self, other: object) -> bool:
        return self.node is other.node and self.index == other.index if isinstance(other, Dataset) else super().__eq__(other)

    def __hash__(self) -> int:
        return hash((self.node, self.index))

    def __repr__(self) -> str:
        return f"<Dataset {self.name!r}>"


def hides_nodes(item: Any) -> bool:
    """Return whether a container that is not searched for nodes (a set, a deque, a subclass of list or dict) contains one."""
    if isinstance(item, dict):
        return any(_holds(each) for pair in item.items() for each in pair)
    return isinstance(item, CONTAINERS) and any(map(_holds, item))


def _holds(item: Any) -> bool:
    if isinstance(item, tuple):
        return any(map(_holds, item))
    return isinstance(item, NoValue) or hides_nodes(item)


def flat(nodes: Iterable[Any]) -> Iterator[tuple[Node, range]]:
    """Yield the nodes and datasets in nested iterables, each as (node, output indices)."""
    for node in nodes:
        if isinstance(node, Node):
            yield node, range(node.n_outputs)
        elif isinstance(node, Dataset):
            yield node.node, range(node.index, node.index + 1)
        elif isinstance(node, str | bytes) or not isinstance(node, Iterable):
            raise TypeError(f"an output is a node, a dataset or a list of them, not {node!r:.80}")
        else:
            yield from flat(node)


def missing(node: Node, known: Container[Node]) -> Iterator[Node]:
    """Yield a free node and the nodes that it needs, inputs first, except those that are known.

    The caller must make each node known before it asks for the next.
    """
    stack = [node]
    while stack:
        call = stack[-1]._call
        assert call is not None
        needed = [maker for maker, _ in call.inputs if maker not in known]
        if needed:
            stack.extend(reversed(needed))
            continue
        ready = stack.pop()
        if ready not in known:
            yield ready
