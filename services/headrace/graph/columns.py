"""The tasks of a graph under construction, as columns that freezing can use unchanged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.graph.templates import Template

if TYPE_CHECKING:
    from headrace.sinks.sink import Sink


class Function(NamedTuple):
    """A distinct callable of a graph, as the user passed it.

    retries: how often a task of it that raised is retried. generator: whether a call of it returns a generator. resources: amounts that a
    task of it needs of its host.
    """

    callable: Callable[..., Any]
    name: str
    retries: int
    generator: bool
    resources: Mapping[str, float]


class GraphColumns:
    """The tasks of a graph under construction, by task id: what `freezing.freeze` reads.

    function: index into `functions`. templates, n_inputs: per task. inputs: dataset ids, concatenated. n_outputs: per task.
    names, metadata: of the tasks that have any. descriptions: metadata of the datasets that have some of their own.
    outputs: requested dataset ids, in the order of the requests. sinks: of the outputs that have one of their own.
    """

    def __init__(self) -> None:
        self.functions: list[Function] = []
        self.function: list[int] = []
        self.templates: list[Template] = []
        self.n_inputs: list[int] = []
        self.inputs: list[int] = []
        self.n_outputs: list[int] = []
        self.n_datasets = 0
        self.names: dict[int, str] = {}
        self.metadata: dict[int, dict[str, Any]] = {}
        self.descriptions: dict[int, dict[str, Any]] = {}
        self.outputs: dict[int, None] = {}
        self.sinks: dict[int, Sink] = {}
