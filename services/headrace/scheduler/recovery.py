"""Finding a new place: for chains that were not released yet, for tasks needed again, and for what others fetch.

All of it works on one job's schedule, and on as many tasks as are concerned.
"""

from __future__ import annotations

import numpy as np

from headrace.graph.topology import Flags
from headrace.ledger import ASSIGNED, NOWHERE, STARTED, JobLedger
from headrace.ledger.columns import Ints, ints, ranges
from headrace.scheduler.cluster import Cluster
from headrace.scheduler.inputs import outside
from headrace.scheduler.job import JobSchedule
from headrace.scheduler.placing import choose_many
from headrace.scheduler.queue import Queue

# --- chains that were not released ------------------------------------------------------------------------------------


def rehouse(schedule: JobSchedule, cluster: Cluster) -> None:
    """Moves what waits for hosts that are lost to those that live."""
    for host in list(schedule.queues):
        if schedule.job.hosts[host] not in cluster.epochs:
            _move(schedule, schedule.withdraw(host), cluster.names, cluster)


def share_with(schedule: JobSchedule, joined: set[str], cluster: Cluster) -> None:
    """Moves their share of what waits to hosts that have just joined: of every other host, the end of its queue."""
    share = cluster.share_of(joined)
    for host, queue in list(schedule.queues.items()):
        if schedule.job.hosts[host] not in joined:
            _move(schedule, schedule.withdraw(host, int(queue.n_tasks * share)), sorted(joined), cluster)


def _move(schedule: JobSchedule, chains: Ints, names: list[str], cluster: Cluster) -> None:
    if len(chains):
        table = schedule.job.chains
        lengths = table.lengths(chains)
        tasks = table.expand(chains)[0]
        schedule.move(tasks, np.repeat(_spread(schedule, lengths, tasks, names, cluster), lengths))
        schedule.enqueue(chains)


def _spread(schedule: JobSchedule, lengths: Ints, tasks: Ints, names: list[str], cluster: Cluster) -> Ints:
    """A host (index in the job's table) for each of some chains: where most of its inputs are, in proportion to what the hosts can take."""
    job = schedule.job
    table = ints([job.host_id(name) for name in names])
    place_of = np.full(len(job.hosts), -1)
    place_of[table] = np.arange(len(table))
    taken = outside(job.topology, lengths, tasks)
    places = place_of[schedule.sources(taken.datasets)]
    cells = (np.repeat(np.arange(len(lengths)), taken.counts) * len(table) + places)[places >= 0]
    votes = np.bincount(cells, minlength=len(lengths) * len(table)).astype(np.float64).reshape(len(lengths), len(table))
    shares, _ = cluster.balance(names).shares(float(lengths.sum()), 0.0)
    chosen: Ints = table[choose_many(lengths.astype(np.float64), votes, shares, 0.0)]
    return chosen


# --- tasks that are needed again --------------------------------------------------------------------------------------


def place_loose(schedule: JobSchedule, cluster: Cluster) -> dict[int, Queue]:
    """Places every task that has no place: on its host again if that lives, else by its inputs.

    Returns them per host, each a chain of its own with an id beyond all that there are.
    """
    if not schedule.loose:
        return {}
    tasks = ints(sorted(schedule.loose))
    schedule.loose.clear()
    homeless = tasks[~_alive(schedule.job, cluster)[schedule.where[tasks]]]
    if len(homeless):
        schedule.move(homeless, _spread(schedule, np.ones_like(homeless), homeless, cluster.names, cluster))
    hosts, first, placed = schedule.where[tasks], len(schedule.job.chains), {}
    schedule.move(tasks, hosts)
    for host in np.unique(hosts).tolist():
        mine = tasks[hosts == host]
        placed[host] = Queue(schedule.job.topology, np.arange(first, first + len(mine)), np.ones_like(mine), mine)
        first += len(mine)
    return placed


def _alive(job: JobLedger, cluster: Cluster) -> Flags:
    """Per host of the job's table: whether it lives."""
    return np.array([name in cluster.epochs for name in job.hosts], dtype=np.bool_)


# --- what others fetch ------------------------------------------------------------------------------------------------


def held_at(job: JobLedger, host: str) -> Ints:
    """The datasets that are fetched from this host."""
    index = job.host_ids.get(host)
    return ints([]) if index is None else np.flatnonzero(job.copies.home == index)


def reroutes(schedule: JobSchedule, cluster: Cluster) -> dict[int, Ints]:
    """Which of the datasets that moved a host must ask another for: those that its released tasks take and that it neither holds nor will
    make. Not those of which nobody knows yet where they will be."""
    if not schedule.moved:
        return {}
    job = schedule.job
    datasets, hosts = _taken(job)
    moved = np.zeros(job.topology.n_datasets, dtype=np.bool_)
    moved[list(schedule.moved)] = True
    schedule.moved.clear()
    datasets, hosts = datasets[moved[datasets]], hosts[moved[datasets]]
    sources = ints(schedule.sources(datasets))
    maker_state = job.state[job.topology.producer[datasets]]
    known = (job.copies.home[datasets] != NOWHERE) | (maker_state <= STARTED)
    alive = _alive(job, cluster)
    asks = known & (sources != hosts) & alive[sources] & alive[hosts] & ~job.copies.held_at(datasets, hosts)
    return {host: np.unique(datasets[asks & (hosts == host)]) for host in np.unique(hosts[asks]).tolist()}


def _taken(job: JobLedger) -> tuple[Ints, Ints]:
    """Every dataset that a released task takes, with the task's host."""
    busy = np.flatnonzero((job.state == ASSIGNED) | (job.state == STARTED))
    counts = job.topology.n_inputs[busy]
    return job.topology.inputs[ranges(job.topology.input_start[busy], counts)], np.repeat(job.host[busy], counts)
