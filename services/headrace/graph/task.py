"""`hr.task`: decorates a function, so that a call with nodes makes a node, and a call with values just calls the function."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from types import MethodType
from typing import Any, overload

from headrace.callables import Wrapper, exported, find_attribute, function_name, unwrap, yields
from headrace.graph.calls import Calls, check_callable
from headrace.graph.checks import check_name, check_outputs, check_retries, default_outputs
from headrace.graph.node import Call, Node
from headrace.graph.resources import check_resources
from headrace.graph.search import FreeSearch
from headrace.metadata import check_metadata

Outputs = int | Sequence[dict[str, Any]]
"""Number of datasets that a task makes, or the metadata of each."""


class Task(Wrapper):
    """A decorated function. Call it with nodes to make a node, or with values to run it.

    `delay` always makes a node; `options` gives one node a name, metadata or other outputs. Name, docstring and signature are those of the
    function. Create one with `hr.task`.

    function: the plain function. label: the prefix of its tasks' names. outputs: how many datasets a task of it makes, or the metadata of
    each; None if not given.
    retries: how often a task that raised is retried. resources: amounts that each task needs on its host.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        label: str | None = None,
        outputs: Outputs | None = None,
        retries: int = 0,
        resources: Mapping[str, float] | None = None,
    ) -> None:
        if not callable(function):
            raise TypeError(f"hr.task decorates functions and other callables, not {function!r}")
        check_callable(function)
        functools.update_wrapper(self, function)
        self.function = unwrap(function)
        self.label = function_name(function) if label is None else check_name(label, "a task's function")
        self.outputs = _checked(outputs, self.label)
        self.generator = yields(self.function)
        self.calls = Calls(self.function)
        self.retries = check_retries(retries, self.label)
        self.resources = check_resources(resources, f"function {self.label!r}") if resources is not None else {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return a node if any argument is one or has one in it; else what the function returns."""
        search = FreeSearch()
        template = search.template(args, kwargs)
        if not search.keys:
            return self.function(*args, **kwargs)
        return Options(self)._node(search, template, args, kwargs)

    def delay(self, *args: Any, **kwargs: Any) -> Node:
        """Make a node, even if no argument is a node: the source of a graph.

        >>> task(len).delay("abc")
        <Node 'len', not in a graph yet>
        """
        return Options(self)(*args, **kwargs)

    def options(self, *, name: str | None = None, outputs: Outputs | None = None, metadata: dict[str, Any] | None = None) -> Options:
        """Return the function with a name, metadata or other outputs for one node.

        >>> task(sum).options(name="total", metadata={"unit": "K"})([1, 2])
        <Node 'total', not in a graph yet>
        """
        return Options(self, name, outputs, metadata)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __reduce__(self) -> str | tuple[Any, ...]:
        place = exported(self)
        if place is not None and find_attribute(sys.modules[place[0]], place[1]) is self:
            return place[1]
        return Task, (self.function, self.label, self.outputs, self.retries, self.resources)

    def __repr__(self) -> str:
        return f"<hr.task {self.label!r}>"


class Options:
    """A decorated function with options for one node; made by `Task.options`. Call it to make the node, even from plain values."""

    def __init__(
        self, function: Task, name: str | None = None, outputs: Outputs | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        self._task = function
        self._name = name if name is None else check_name(name)
        self._outputs = function.outputs if outputs is None else _checked(outputs, name or function.label)
        self._metadata = metadata if metadata is None else check_metadata(metadata, f"task {name or function.label!r}")

    def __call__(self, *args: Any, **kwargs: Any) -> Node:
        """Make a node that calls the function with these arguments."""
        search = FreeSearch()
        return self._node(search, search.template(args, kwargs), args, kwargs)

    def _node(self, search: FreeSearch, template: Any, args: Any, kwargs: Any) -> Node:
        """Make a node of the graph that one of its inputs belongs to, or a free node."""
        for node, _ in search.keys:
            if node.graph is not None:
                bound: Node = node.graph.call(self._task, args, kwargs, self._name, self._outputs, self._metadata)
                return bound
        self._task.calls.check(args, kwargs)
        outputs = self._outputs if self._outputs is not None else default_outputs(self._task.generator, self._task.label)
        count, descriptions = (outputs, []) if isinstance(outputs, int) else (len(outputs), list(outputs))
        call = Call(self._task, self._task.label, template, tuple(search.keys), self._name, self._metadata, descriptions)
        return Node(None, -1, -1, count, call)


def _checked(outputs: Outputs | None, label: str) -> Outputs | None:
    """Check the outputs."""
    if outputs is None:
        return None
    count, descriptions = check_outputs(outputs, f"task {label!r}")
    return descriptions or count


@overload
def task(
    function: Callable[..., Any],
    /,
    *,
    name: str | None = None,
    outputs: Outputs | None = None,
    retries: int = 0,
    resources: Mapping[str, float] | None = None,
) -> Task: ...
@overload
def task(
    *, name: str | None = None, outputs: Outputs | None = None, retries: int = 0, resources: Mapping[str, float] | None = None
) -> Callable[[Callable[..., Any]], Task]: ...
def task(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    outputs: Outputs | None = None,
    retries: int = 0,
    resources: Mapping[str, float] | None = None,
) -> Task | Callable[[Callable[..., Any]], Task]:
    """Decorate a function so that a call with nodes makes a node, and a call with values just calls it.

    The new node belongs to the graph of the nodes among its arguments. If these have none, it belongs to none until a graph is built from
    it (`Graph.from_nodes`, `cluster.compute`) or is given it. A node that is used twice is one task. `Graph.add` takes decorated functions
    too.

    name: its tasks are called "<name>-<id>"; the function's name by default. (`options` names a single node.)
    outputs: how many datasets each task makes: a function returns a sequence of n values, a generator function yields n values. A list of n
    dicts gives each dataset its metadata. A generator function needs this, here or in `options`.
    retries: how often a task that raised is retried, up to 1,000. The pause before the first retry is at most 0.1 s; it doubles with each
    retry, up to 30 s.
    resources: amounts that each task needs on its host, e.g. {"gpu": 1}. A task runs only on a host that was started with them (`headrace
    worker --resources gpu=1`, `Cluster.local(resources={"gpu": 1})`), and the tasks that run there at the same time never need more than
    the host has. Choose any names; amounts must be above 0.

    Raises GraphError for invalid outputs, retries or resources.

    >>> @task
    ... def double(x):
    ...     return 2 * x
    >>> double(4)
    8
    >>> double(double.delay(4))
    <Node 'double', not in a graph yet>
    """
    if function is None:
        return lambda decorated: Task(decorated, name, outputs, retries, resources)
    return Task(function, name, outputs, retries, resources)


def delayed(
    function: Callable[..., Any],
    /,
    *,
    name: str | None = None,
    outputs: Outputs | None = None,
    retries: int = 0,
    resources: Mapping[str, float] | None = None,
) -> Callable[..., Node]:
    """Return a function that makes a node from every call, even with plain values. Options as for `task`.

    >>> delayed(max)(3, 5)
    <Node 'max', not in a graph yet>
    """
    return Task(function, name, outputs, retries, resources).delay
