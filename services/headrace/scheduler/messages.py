"""Functions that make the scheduler's messages from columns, and split those that would be too large."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from headrace.graph.naming import some_tasks
from headrace.ledger import JobLedger
from headrace.scheduler.backlog import Release
from headrace.scheduler.chains import SMALL_TASKS
from headrace.scheduler.wave_plan import Placed
from headrace_schemas import Assign, GraphSource, Plan, Reroute
from headrace_schemas.options import DEFAULTS


class Stamp(NamedTuple):
    """The fields that every decision carries. at: the last folded sequence. term: the revision of the lease."""

    at: int
    term: int


class Target(NamedTuple):
    """A host that receives orders. addresses: those of all hosts in the job's table."""

    host: str
    epoch: int
    addresses: list[str]


def plan_messages(job: str, placed: Placed, hosts: list[str], epochs: list[int], stamp: Stamp, integers: int) -> list[Plan]:
    """Make the messages of a plan, in parts of about `integers` integers.

    hosts, epochs: the table that `placed` refers to. Hosts without a chain are left out of the messages.
    """
    used = sorted(set(placed.placed))
    column = placed.placed
    if used[-1] != len(used) - 1:
        index = {host: place for place, host in enumerate(used)}
        column = [index[host] for host in column]
    cuts = _cuts(placed.lengths, integers)
    planner = "inline" if len(placed.tasks) <= SMALL_TASKS else "waves"
    parts = []
    for part, (first, last, start, end) in enumerate(cuts):
        parts.append(
            Plan(
                at=stamp.at,
                term=stamp.term,
                job=job,
                planner=planner,
                part=part,
                parts=len(cuts),
                hosts=[hosts[host] for host in used],
                epochs=[epochs[host] for host in used],
                first=first,
                lengths=placed.lengths[first:last],
                tasks=placed.tasks[start:end],
                placed=column[first:last],
                makespan=placed.makespan,
            )
        )
    return parts


def _cuts(lengths: list[int], integers: int) -> list[tuple[int, int, int, int]]:
    """Cut a plan into parts. Returns for each part the range of its chains and the range of its tasks: start, end, start, end."""
    if 3 * sum(lengths) <= integers:
        return [(0, len(lengths), 0, sum(lengths))]
    task_end = np.concatenate(([0], np.cumsum(lengths)))
    weight = task_end + 2 * np.arange(len(task_end))
    cuts, first = [], 0
    while first < len(lengths):
        last = max(first + 1, int(np.searchsorted(weight, weight[first] + integers, side="right")) - 1)
        cuts.append((first, last, int(task_end[first]), int(task_end[last])))
        first = last
    return cuts


def assign_message(
    job: JobLedger,
    release: Release,
    sources: list[int],
    target: Target,
    stamp: Stamp,
    graph: GraphSource | None,
    positions: list[int] | None = None,
    alone: bool = False,
) -> Assign:
    """Make the message that releases chains to a host.

    graph: the graph, for the first assignment to this host. positions: for each chain, its position in plan order; None for chains of
    the plan, whose ids are their positions. alone: whether each of the chains must run alone on the host.
    """
    attempts = job.attempt[release.tasks] if job.retried else None
    tasks = release.tasks.tolist()
    return Assign(
        at=stamp.at,
        term=stamp.term,
        job=job.job,
        host=target.host,
        epoch=target.epoch,
        hosts=list(job.hosts),
        addresses=target.addresses,
        chains=release.chains.tolist(),
        positions=positions or [],
        lengths=release.lengths.tolist(),
        tasks=tasks,
        attempts=attempts.tolist() if attempts is not None and attempts.any() else [],
        sources=sources,
        graph=graph,
        options=None if graph is None or job.options is DEFAULTS else job.options,
        again=positions is not None,
        reopens=job.end is not None,
        alone=alone,
        about=some_tasks(job.spec, tasks),
    )


def reroute_messages(
    job: JobLedger, datasets: list[int], sources: list[int], target: Target, stamp: Stamp, integers: int
) -> Iterator[Reroute]:
    """Make the messages that tell a host from which hosts to fetch datasets, in parts of about `integers` integers."""
    step = max(1, integers // 3)
    for first in range(0, len(datasets), step):
        some = datasets[first : first + step]
        attempts = job.attempt[job.topology.producer[some]]
        yield Reroute(
            at=stamp.at,
            term=stamp.term,
            job=job.job,
            host=target.host,
            epoch=target.epoch,
            hosts=list(job.hosts),
            addresses=target.addresses,
            datasets=some,
            attempts=attempts.tolist() if attempts.any() else [],
            sources=sources[first : first + step],
        )


def graph_source(job: JobLedger) -> GraphSource:
    """Return the graph as it was submitted: its key in the object store if it has one, or else the graph itself."""
    source, sink = job.source, job.options.sink
    if not source.key and source.sink is sink:
        return source
    return GraphSource(
        inline=None if source.key else source.inline, key=source.key, sink=sink
    )  # hosts of the previous release read the sink here
