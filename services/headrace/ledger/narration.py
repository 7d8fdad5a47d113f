"""Descriptions of log messages in one line of English each, with the names of tasks where the job's graph is known."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from headrace.errors import GraphError
from headrace.graph.naming import dataset_name, task_name
from headrace.graph.topology import Topology
from headrace.graph.validation import validate
from headrace.ledger.fold import CONTROLLER, WRITERS
from headrace.text import one_line, shown_place
from headrace_schemas import (
    Assign,
    CancelAsked,
    Due,
    Ended,
    Events,
    GraphSpec,
    HostJoined,
    HostLost,
    LogMessage,
    Needed,
    NoRoom,
    Output,
    Plan,
    Published,
    Purge,
    Refused,
    Released,
    Reroute,
    Revoke,
    Stranded,
    Submitted,
    TaskError,
    TermBegan,
)

SHOWN = 6
"""The number of names that are shown of a longer list, before "and 12 more"."""
REMEMBERED = 64
"""The number of jobs whose graphs are kept in memory. Tasks of older jobs are shown by their ids."""


class Names:
    """The names of a job's tasks, chains and datasets, taken from its graph and its assignments. Ids stand in where these are unknown."""

    def __init__(self, spec: GraphSpec | None = None) -> None:
        self._spec = spec
        self._topology: Topology | None = None
        self._chains: dict[int, list[int]] = {}

    def assigned(self, assign: Assign) -> None:
        """Remember the tasks of the assigned chains."""
        begin = 0
        for chain, length in zip(assign.chains, assign.lengths, strict=True):
            self._chains[chain] = assign.tasks[begin : begin + length]
            begin += length

    def tasks(self, ids: list[int]) -> str:
        """List tasks by name, or by id if the graph is unknown."""
        spec = self._spec
        return _shown("task", ids, None if spec is None else lambda task: task_name(spec, task))

    def datasets(self, ids: list[int]) -> str:
        """List datasets by name, or by id if the graph is unknown or invalid."""
        spec = self._spec
        if spec is None:
            return _shown("dataset", ids, None)
        try:
            topology = self._topology = self._topology or validate(spec)
        except GraphError:
            return _shown("dataset", ids, None)
        return _shown("dataset", ids, lambda dataset: dataset_name(spec, dataset, topology))

    def chains(self, ids: list[int]) -> str:
        """List the tasks of chains by name, or the chains by id if their tasks are unknown."""
        if self._spec is None or any(chain not in self._chains for chain in ids):
            return _shown("chain", ids, None)
        return self.tasks([task for chain in ids for task in self._chains[chain]])


def _shown(what: str, ids: list[int], name: Callable[[int], str] | None) -> str:
    if name is not None:
        with contextlib.suppress(IndexError):  # an id that is not in the graph has no name
            return _some(ids, name)
    return f"{what}{'s' * (len(ids) != 1)} {_some(ids, str)}"


def _some(items: list[Any], name: Callable[[Any], str]) -> str:
    """Join the first names of a list, and count the others."""
    shown = ", ".join(map(name, items[:SHOWN]))
    return shown if len(items) <= SHOWN else f"{shown} and {len(items) - SHOWN} more"


class Narrator:
    """Describes messages in log order. It remembers graphs and assignments, from which later messages get their names."""

    def __init__(self) -> None:
        self._jobs: dict[str, Names] = {}

    def describe(self, message: LogMessage) -> str:
        """Describe a message in one line."""
        names = self._learn(message)
        return one_line(_DESCRIPTIONS[type(message)](message, names))

    def _learn(self, message: LogMessage) -> Names:
        job = getattr(message, "job", "")
        if isinstance(message, Submitted | Assign) and message.graph is not None and message.graph.inline is not None:
            if job not in self._jobs:
                self._jobs[job] = Names(message.graph.inline)
            while len(self._jobs) > REMEMBERED:
                del self._jobs[next(iter(self._jobs))]
        names = self._jobs.get(job) or Names()
        if isinstance(message, Assign):
            names.assigned(message)
        return names


def writer(message: LogMessage) -> str:
    """Return the name of the service or host that wrote a message."""
    if isinstance(message, Events):
        return message.host
    return message.service if isinstance(message, TermBegan) else _WRITERS.get(type(message), CONTROLLER)


def _events(events: Events, names: Names) -> str:
    columns: list[tuple[str, list[int], Callable[[list[int]], str]]] = [
        ("started", events.started, names.tasks),
        ("done", events.done, names.tasks),
        ("done", events.chains, names.chains),
        ("made", events.produced, names.datasets),
        ("with values", events.value_ids, names.datasets),
        ("wrote", [written.dataset for written in events.written], names.datasets),
        ("copied", events.copied, names.datasets),
        ("gave back", events.revoked, names.chains),
        ("kept", events.kept, names.datasets),
        ("lost", events.gone, names.datasets),
    ]
    parts = [f"{what} {said(ids)}" for what, ids, said in columns if ids]
    parts += [_failure(error, names) for error in events.failed]
    parts += [f"cannot reach {host}" for host in events.unreachable]
    return "; ".join(parts) or "reports its memory only"


def _failure(error: TaskError, names: Names) -> str:
    return f"{error.name or names.tasks([error.task])} failed, attempt {error.attempt} ({error.reason}): {error.error}"


def _ended(ended: Ended, names: Names) -> str:
    if ended.error is not None:
        return f"{ended.state}: {_failure(ended.error, names)}"
    return f"{ended.state}: {ended.reason}" if ended.reason else ended.state


def _released(released: Released, names: Names) -> str:
    outputs = f"outputs {names.datasets(released.datasets)}" if released.datasets else "all outputs"
    return f"{outputs}: {released.reason}" if released.reason else outputs


def _plan(plan: Plan, _: Names) -> str:
    part = f", part {plan.part + 1} of {plan.parts}" if plan.parts > 1 else ""
    return f"{len(plan.lengths)} chains of {len(plan.tasks)} tasks on {' '.join(plan.hosts)} by {plan.planner}{part}"


def _published(published: Published, _: Names) -> str:
    parts = [_some(published.outputs, _output)] if published.outputs else []
    parts += [f"output {failed.dataset} could not be committed: {failed.error}" for failed in published.failed]
    return "; ".join(parts) or "nothing"


def _output(output: Output) -> str:
    return f"{output.name} at {shown_place(output.location)}" if output.location else output.name


def _joined(joined: HostJoined, _: Names) -> str:
    runners = f"{joined.runners} runner{'s' * (joined.runners != 1)}"
    return f"{joined.host} (epoch {joined.epoch}) at {joined.address}, {runners}"


_WRITERS: dict[type[Any], str] = {**WRITERS, Submitted: "client", Published: "publisher"}
_DESCRIPTIONS: dict[type[Any], Callable[[Any, Names], str]] = {
    Submitted: lambda m, _: f"{m.name!r}, {m.n_tasks} tasks" + (f", of {m.client}" if m.client else ""),
    Needed: lambda m, names: f"{names.tasks(m.tasks)} again: {m.reason}",
    Due: lambda m, names: f"the pause is over for {names.tasks(m.tasks)}",
    Ended: _ended,
    Refused: lambda m, _: m.reason,
    Released: _released,
    CancelAsked: lambda m, _: m.reason or "no reason given",
    Stranded: lambda m, _: f"no host has {'been at work' if m.alone else 'had the resources of its tasks'} for {m.seconds:g} s",
    NoRoom: lambda m, _: f"the log holds {m.used:,} of {m.limit:,} bytes",
    Purge: lambda m, names: f"{m.host} drops {names.datasets(m.datasets)}",
    HostJoined: _joined,
    HostLost: lambda m, _: f"{m.host} (epoch {m.epoch}): {m.reason or 'no reason known'}",
    TermBegan: lambda m, _: f"a new {m.service} leads in term {m.term}: late decisions of earlier ones are ignored",
    Plan: _plan,
    Assign: lambda m, names: f"{m.host} runs {names.tasks(m.tasks)}",
    Revoke: lambda m, names: f"{m.host} gives back {names.chains(m.chains)}",
    Reroute: lambda m, names: f"{m.host} takes {names.datasets(m.datasets)} from another host",
    Events: _events,
    Published: _published,
}
