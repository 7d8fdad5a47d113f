"""`Graph`: a graph under construction, to which users add tasks one by one."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from headrace.callables import Wrapper, function_name, identity, unwrap, yields
from headrace.errors import GraphError
from headrace.graph.calls import Calls, check_callable
from headrace.graph.checks import check_name, check_outputs, default_outputs
from headrace.graph.columns import Function, GraphColumns
from headrace.graph.node import Dataset, Node, flat, missing
from headrace.graph.search import LEAVES, BoundSearch
from headrace.graph.templates import NO_KEYWORDS, Template
from headrace.metadata import check_metadata

if TYPE_CHECKING:
    from headrace.sinks.sink import Sink

_ID_DIGITS = 10
"""Most digits of a task's id: a longer number at the end of a name is not an id."""


class Graph:
    """A graph of tasks, built by adding them one by one.

    The inputs of a new task are nodes that already exist, so ids are in topological order and the graph has no cycles.

    >>> g = Graph("sums")
    >>> parts = [g.add(sum, [n, n + 1]) for n in range(3)]
    >>> total = g.add(sum, parts, name="total")
    >>> g.output(total)
    >>> g
    <Graph 'sums': 4 tasks>
    """

    def __init__(self, name: str = "graph") -> None:
        self.name = check_name(name, "a graph")
        self.columns = GraphColumns()
        self._known: dict[int, int] = {}
        self._calls: list[Calls] = []
        """Per callable: the check of calls against its signature."""
        self._plain: dict[int, set[int]] = {}
        """Callables whose tasks have one output by default, with the numbers of positional arguments that are known to be valid."""
        self._identities: dict[tuple[Any, ...], int] = {}
        self._named: dict[str, int] = {}
        self._adopted: dict[Node, Node] = {}

    def __len__(self) -> int:
        """Return the number of tasks."""
        return len(self.columns.function)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<Graph {self.name!r}: {len(self)} task{'s' * (len(self) != 1)}>"

    def add(
        self,
        function: Callable[..., Any],
        /,
        *args: Any,
        name: str | None = None,
        outputs: int | Sequence[dict[str, Any]] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Node:
        """Add a task that calls a function, and return its node.

        Arguments are values, nodes, or lists, tuples, named tuples and dicts with nodes anywhere in their values. A node of several
        outputs, as a whole, stands for the list of all its datasets. If the function has a parameter called name, outputs or metadata, set
        it with functools.partial. Values are pickled when the graph is submitted; each attempt at a task gets its own copy of them, with
        read-only arrays.

        name: unique in the graph; "<function>-<id>" by default.
        outputs: the number of datasets that the task makes; 1 by default. A generator function needs this: it yields n values, and other
        tasks can use each one at once. Any other function returns a sequence of n values. A list of n dicts gives each dataset its
        metadata.
        metadata: announced with the task's outputs: a dict with str keys and values that JSON can represent, up to 64 KiB as JSON. Metadata
        of a single output updates it, and metadata yielded in an `hr.Output` updates both.

        Raises GraphError for a name that is invalid or taken, a node of another graph, invalid outputs or metadata, a generator function
        without outputs, an async function, and arguments that the function does not accept; TypeError for a function that cannot be called.
        """
        if name is None and outputs is None and metadata is None and not kwargs:
            node = self._add_plain(function, args)
            if node is not None:
                return node
        return self.call(function, args, kwargs, name, outputs, metadata)

    def call(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        name: str | None = None,
        outputs: int | Sequence[dict[str, Any]] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Node:
        """Add a task as `add` does, with the arguments as a tuple and a dict.

        So the function may have a parameter called name, outputs or metadata.
        """
        index = self._index_of(function)
        self._calls[index].check(args, kwargs)
        search = BoundSearch(self)
        template = search.template(args, kwargs)
        if outputs is None and isinstance(function, Wrapper):
            outputs = function.outputs
        if outputs is None:
            known = self.columns.functions[index]
            outputs = default_outputs(known.generator, known.name)
        return self._append(index, template, search.keys, outputs, name, metadata)

    def _add_plain(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Node | None:
        """Add the task of a common call in a third of the time. Returns None for any other call.

        A common call is that of a function with one output, called with plain values or with distinct nodes of the graph.
        """
        index = self._known.get(id(function))
        if index is None:
            index = self._register(function)
        counts = self._plain.get(index)
        if counts is None:
            return None
        if len(args) not in counts:
            self._calls[index].check(args, NO_KEYWORDS)
        inputs: list[int] = []
        for arg in args:
            kind = type(arg)
            if kind is Node:
                if arg._graph is not self or arg.n_outputs != 1:
                    return None
                inputs.append(arg._first)
            elif kind not in LEAVES:
                return None
        columns = self.columns
        if inputs:
            if len(inputs) != len(args) or (len(inputs) > 1 and len(set(inputs)) != len(inputs)):
                return None
            columns.inputs += inputs
        task, first = len(columns.function), columns.n_datasets
        columns.function.append(index)
        columns.templates.append(None if inputs else (args,))
        columns.n_inputs.append(len(inputs))
        columns.n_outputs.append(1)
        columns.n_datasets = first + 1
        return Node(self, task, first, 1)

    def output(self, *nodes: Node | Dataset | Iterable[Any], sink: Sink | str | os.PathLike[str] | None = None) -> None:
        """Make datasets outputs of the graph: all datasets of a node, single ones (`steps[3]`), or those of a list of nodes.

        By default, every dataset that no task consumes is an output. The first call replaces this default; later calls add more outputs.

        sink: where these outputs are written, see `hr.Sink`. Without one, they are written to the job's sink (`cluster.submit(graph,
        sink=...)`), or held for the client if the job has none.

        Raises GraphError for a node of another graph and for an invalid sink, TypeError for anything but nodes.
        """
        if sink is not None:
            self._sink(flat(nodes), sink)
            return
        for node in nodes:
            if type(node) is Node and node._graph is self and node.n_outputs == 1:
                self.columns.outputs[node._first] = None
            else:
                self._ask(flat([node]))

    @classmethod
    def from_nodes(cls, nodes: Node | Dataset | Iterable[Any], name: str = "graph") -> Graph:
        """Create a graph of the tasks that the given nodes need, with these nodes as its outputs.

        The nodes may be free (made by calls of decorated functions) or belong to graphs, from which this copies the tasks that they need.
        """
        graph = cls(name)
        wanted = list(flat([nodes]))
        for source in dict.fromkeys(node._graph for node, _ in wanted if node._graph is not None):
            graph._copy(source, [node for node, _ in wanted if node._graph is source])
        graph._ask(wanted)
        return graph

    def task_name(self, task: int) -> str:
        """Return the name of a task: its own, or "<function>-<id>"."""
        name = self.columns.names.get(task)
        return name if name is not None else f"{self.columns.functions[self.columns.function[task]].name}-{task}"

    def task_called(self, name: str) -> int | None:
        """Return the id of the task with that name, given or generated; None if no task has it."""
        task = self._named.get(name)
        return task if task is not None else self.unnamed_task(name)

    def unnamed_task(self, name: str) -> int | None:
        """Return the id of the unnamed task whose generated name, "<function>-<id>", this is; None if no task has it."""
        _, _, digits = name.rpartition("-")
        if not (digits.isascii() and digits.isdecimal() and len(digits) <= _ID_DIGITS):
            return None
        task = int(digits)
        return task if task < len(self) and task not in self.columns.names and self.task_name(task) == name else None

    def task_metadata(self, task: int) -> dict[str, Any]:
        """Return the metadata given with a task; empty if none was given."""
        return self.columns.metadata.get(task, {})

    def adopt(self, node: Node) -> Node:
        """Return the node of this graph for a node that may be free. A free node is added, once, with all nodes that it needs.

        Raises GraphError for a node of another graph.
        """
        if node._graph is self:
            return node
        if node not in self._adopted:
            if node._graph is not None:
                raise GraphError(
                    f"task {node.name!r} belongs to graph {node._graph.name!r}, not to {self.name!r}: "
                    "add it to this graph too, or make one graph of both with Graph.from_nodes"
                )
            for needed in missing(node, self._adopted):
                self._adopted[needed] = self._add_free(needed)
        return self._adopted[node]

    def _ask(self, wanted: Iterable[tuple[Node, range]]) -> None:
        for node, indices in wanted:
            first = self.adopt(node)._first
            self.columns.outputs.update(dict.fromkeys(first + index for index in indices))

    def _sink(self, wanted: Iterable[tuple[Node, range]], sink: Sink | str | os.PathLike[str]) -> None:
        from headrace.sinks.sink import Sink  # most graphs need neither this module nor its imports

        wanted, found = list(wanted), Sink.of(sink)
        self._ask(wanted)
        for node, indices in wanted:
            first = self.adopt(node)._first
            self.columns.sinks.update((first + index, found) for index in indices)

    def _add_free(self, node: Node) -> Node:
        call = node._call
        assert call is not None
        index = self._index_of(call.function)
        inputs = [self._adopted[maker]._first + output for maker, output in call.inputs]
        return self._append(index, call.template, inputs, call.descriptions or node.n_outputs, call.name, call.metadata)

    def _copy(self, source: Graph, nodes: list[Node]) -> None:
        """Add the tasks of another graph that some of its nodes need, and remember the copies of these nodes."""
        copies = _copy_tasks(source.columns, [node._task for node in nodes], self)
        self._adopted.update((node, copies[node._task]) for node in nodes)

    def _index_of(self, function: Callable[..., Any]) -> int:
        index = self._known.get(id(function))
        return index if index is not None else self._register(function)

    def _register(self, function: Callable[..., Any]) -> int:
        """Return the index of a callable seen for the first time. It may be the same as a known one in another wrapper."""
        check_callable(function)
        name, retries = function_name(function), function.retries if isinstance(function, Wrapper) else 0
        resources: Mapping[str, float] = function.resources if isinstance(function, Wrapper) else {}
        key = (*identity(function), name, retries, *resources.items())
        index = self._identities.get(key)
        if index is None:
            index = self._identities[key] = self._known[id(function)] = len(self.columns.functions)
            known = Function(function, name, retries, yields(function), resources)
            self.columns.functions.append(known)
            self._calls.append(Calls(unwrap(function)))
            if not known.generator and not (isinstance(function, Wrapper) and function.outputs is not None):
                self._plain[index] = self._calls[index].counts
        return index

    def _append(
        self,
        index: int,
        template: Template,
        inputs: Collection[int],
        outputs: int | Sequence[dict[str, Any]],
        name: str | None,
        metadata: dict[str, Any] | None,
    ) -> Node:
        columns = self.columns
        task, first, count = len(columns.function), columns.n_datasets, 1
        descriptions: list[dict[str, Any]] = []
        if outputs != 1 or metadata is not None:
            label = f"task {f'{columns.functions[index].name}-{task}' if name is None else name!r}"
            count, descriptions = check_outputs(outputs, label)
            metadata = metadata if metadata is None else check_metadata(metadata, label)
        if name is not None:
            self._give_name(task, name)
        if metadata:
            columns.metadata[task] = metadata
        if descriptions:
            columns.descriptions.update((first + place, given) for place, given in enumerate(descriptions) if given)
        columns.function.append(index)
        columns.templates.append(template)
        columns.n_inputs.append(len(inputs))
        columns.inputs.extend(inputs)
        columns.n_outputs.append(count)
        columns.n_datasets = first + count
        return Node(self, task, first, count)

    def _give_name(self, task: int, name: str) -> None:
        other = self._named.setdefault(check_name(name), task)
        if other != task:
            raise GraphError(f"graph {self.name!r} has a task called {name!r} already (task {other}): names are unique in a graph")
        self.columns.names[task] = name


def _copy_tasks(source: GraphColumns, tasks: list[int], target: Graph) -> dict[int, Node]:
    """Add some tasks of a graph, and those that they need, to another graph. Returns the copy of each."""
    producer = [task for task, count in enumerate(source.n_outputs) for _ in range(count)]
    start = [0, *accumulate(source.n_inputs)]
    first = [0, *accumulate(source.n_outputs)]
    needed = set(tasks)
    for task in range(max(needed), -1, -1):
        if task in needed:
            needed.update(producer[dataset] for dataset in source.inputs[start[task] : start[task + 1]])
    copies: dict[int, Node] = {}
    for task in sorted(needed):
        inputs = [copies[producer[d]]._first + d - first[producer[d]] for d in source.inputs[start[task] : start[task + 1]]]
        index = target._index_of(source.functions[source.function[task]].callable)
        name, metadata = source.names.get(task), source.metadata.get(task)
        own = [source.descriptions.get(dataset, {}) for dataset in range(first[task], first[task + 1])]
        copies[task] = target._append(index, source.templates[task], inputs, own if any(own) else len(own), name, metadata)
    return copies
