"""Finding a new place: for chains that were not released yet, for tasks needed again, and for what others fetch.

All of it works on one job's schedule, and on as many tasks as are concerned.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

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
    lives = np.array([name in cluster.epochs for name in schedule.job.hosts], dtype=np.bool_)
    homeless = tasks[~lives[schedule.where[tasks]]]
    if len(homeless):
        schedule.move(homeless, _spread(schedule, np.ones(len(homeless), dtype=np.int64), homeless, cluster.names, cluster))
    hosts, first, placed = schedule.where[tasks], len(schedule.job.chains), {}
    for host in np.unique(hosts).tolist():
        mine = tasks[hosts == host]
        placed[host] = Queue(schedule.job.topology, np.arange(first, first + len(mine)), np.ones_like(mine), mine)
        first += len(mine)
    return placed


# --- what others fetch ------------------------------------------------------------------------------------------------


def held_at(job: JobLedger, host: str) -> list[int]:
    """The datasets that are fetched from this host."""
    index = job.host_ids.get(host)
    return [] if index is None else np.flatnonzero(job.copies.home == index).tolist()


def wanted(job: JobLedger) -> list[int]:
    """The datasets that released tasks take."""
    busy = np.flatnonzero((job.state == ASSIGNED) | (job.state == STARTED))
    taken = ranges(job.topology.input_start[busy], job.topology.n_inputs[busy])
    datasets: list[int] = np.unique(job.topology.inputs[taken]).tolist()
    return datasets


def to_fetch(job: JobLedger, datasets: Iterable[int]) -> set[int]:
    """Those of the datasets that exist, or that a released task makes: of others nobody knows yet where they will be."""
    home, state, producer = job.copies.home, job.states, job.topology.producer
    return {d for d in datasets if home[d] != NOWHERE or ASSIGNED <= state[int(producer[d])] <= STARTED}


def remade(job: JobLedger, tasks: Iterable[int]) -> set[int]:
    """The datasets that tasks make and that are nowhere now."""
    made = [dataset for task in tasks for dataset in job.topology.outputs_of(task)]
    return {dataset for dataset in made if job.copies.home[dataset] == NOWHERE}


def reroutes(schedule: JobSchedule, datasets: Iterable[int], cluster: Cluster) -> dict[int, Ints]:
    """Who must ask another for which of these datasets: hosts with released tasks that take it and that neither hold nor will make it."""
    job = schedule.job
    asking: defaultdict[int, set[int]] = defaultdict(set)
    for dataset in sorted(datasets):
        for task in job.topology.consumers_of(dataset).tolist():
            if ASSIGNED <= job.states[task] <= STARTED and job.hosts[job.placed[task]] in cluster.epochs:
                asking[job.placed[task]].add(dataset)
    return {host: found for host in sorted(asking) if len(found := _elsewhere(schedule, host, sorted(asking[host]), cluster))}


def _elsewhere(schedule: JobSchedule, host: int, datasets: list[int], cluster: Cluster) -> Ints:
    """Those of the datasets that a host can fetch from another one that lives."""
    job = schedule.job
    sources = schedule.sources(ints(datasets))
    return ints(
        [
            dataset
            for dataset, source in zip(datasets, sources, strict=True)
            if source != host and job.hosts[source] in cluster.epochs and not job.copies.holds(host, dataset)
        ]
    )
