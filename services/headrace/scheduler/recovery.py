"""Finding a new place: for chains that were not released yet, for tasks needed again, and for what others fetch.

All of it works on one job's schedule, and on as many tasks as are concerned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from headrace.graph.topology import Flags
from headrace.ledger import ASSIGNED, NOWHERE, STARTED, WAITING, JobLedger
from headrace.ledger.columns import Ints, ints, ranges
from headrace.scheduler.cluster import Cluster
from headrace.scheduler.fitting import NO_HOST, choose_fit
from headrace.scheduler.inputs import outside
from headrace.scheduler.job import JobSchedule
from headrace.scheduler.placing import choose_many
from headrace.scheduler.queue import Queue

UNREACHABLE = "unreachable"
"""Reason of an attempt whose host could not reach a host that has one of its inputs: the next one is placed on another."""

# --- chains that were not released ------------------------------------------------------------------------------------


def rehouse(schedule: JobSchedule, cluster: Cluster) -> None:
    """Moves what waits for hosts that are lost, or that have not what it needs any more, to those that live; once for each cluster."""
    if schedule.housed is cluster:
        return
    schedule.housed = cluster
    if schedule.needs is not None:
        _rehouse_by_needs(schedule, cluster)
        return
    for host in list(schedule.queues):
        if schedule.job.hosts[host] not in cluster.epochs:
            _move(schedule, schedule.withdraw(host), cluster.names, cluster)


def _rehouse_by_needs(schedule: JobSchedule, cluster: Cluster) -> None:
    stranded, schedule.stranded = [schedule.stranded], ints([])
    for host in list(schedule.queues):
        chains = schedule.withdraw(host)
        able = _are_able(schedule, cluster, schedule.job.chains.expand(chains)[0][_heads(schedule, chains)])
        schedule.enqueue(chains[able])
        stranded.append(chains[~able])
    schedule.strand(_move(schedule, np.sort(np.concatenate(stranded)), cluster.names, cluster))


def _heads(schedule: JobSchedule, chains: Ints) -> Ints:
    """Where the chains begin among their tasks."""
    lengths = schedule.job.chains.lengths(chains)
    heads: Ints = np.cumsum(lengths) - lengths
    return heads


def _are_able(schedule: JobSchedule, cluster: Cluster, tasks: Ints) -> Flags:
    """Per task: whether the host that it is placed on lives, and has what it needs."""
    if schedule.needs is None or schedule.kind is None:
        return _alive(schedule.job, cluster)[schedule.where[tasks]]
    able = np.zeros((len(schedule.needs.kinds), len(schedule.job.hosts)), dtype=np.bool_)
    living = [host for host, name in enumerate(schedule.job.hosts) if name in cluster.epochs]
    able[:, living] = cluster.rates(schedule.needs, [schedule.job.hosts[host] for host in living]) > 0
    found: Flags = able[schedule.kind[tasks], schedule.where[tasks]]
    return found


def share_with(schedule: JobSchedule, joined: set[str], cluster: Cluster) -> None:
    """Moves their share of what waits to hosts that have just joined: of every other host, the end of its queue."""
    share = cluster.share_of(joined)
    for host, queue in list(schedule.queues.items()):
        if schedule.job.hosts[host] not in joined:
            schedule.enqueue(_move(schedule, schedule.withdraw(host, int(queue.n_tasks * share)), sorted(joined), cluster))


def relocate(schedule: JobSchedule, host: int, tasks: int, names: list[str], cluster: Cluster) -> None:
    """Moves about so many tasks at the end of a host's queue to some others, save what none of these can take."""
    schedule.enqueue(_move(schedule, schedule.withdraw(host, tasks), names, cluster))


def _move(schedule: JobSchedule, chains: Ints, names: list[str], cluster: Cluster) -> Ints:
    """Moves chains to some hosts. Returns those that none of these can take."""
    if not len(chains):
        return chains
    table = schedule.job.chains
    lengths = table.lengths(chains)
    tasks = table.expand(chains)[0]
    hosts = _spread(schedule, lengths, tasks, names, cluster)
    found = hosts != NO_HOST
    if not found.all():
        tasks, lengths, hosts = tasks[np.repeat(found, lengths)], lengths[found], hosts[found]
    schedule.move(tasks, np.repeat(hosts, lengths))
    schedule.enqueue(chains[found])
    left: Ints = chains[~found]
    return left


def _spread(schedule: JobSchedule, lengths: Ints, tasks: Ints, names: list[str], cluster: Cluster) -> Ints:
    """A host (index in the job's table) for each of some chains: where most of its inputs are, in proportion to what the hosts can take.
    NO_HOST where none of them has what its tasks need."""
    job = schedule.job
    table = ints([job.host_id(name) for name in names])
    place_of = np.full(len(job.hosts), -1)
    place_of[table] = np.arange(len(table))
    taken = outside(job.topology, lengths, tasks)
    places = place_of[schedule.sources(taken.datasets)]
    cells = (np.repeat(np.arange(len(lengths)), taken.counts) * len(table) + places)[places >= 0]
    votes = np.bincount(cells, minlength=len(lengths) * len(table)).astype(np.float64).reshape(len(lengths), len(table))
    costs, balance = lengths.astype(np.float64), cluster.balance(names)
    if schedule.needs is None or schedule.kind is None:
        shares, _ = balance.shares(float(lengths.sum()), 0.0)
        chosen: Ints = table[choose_many(costs, votes, shares, 0.0)]
        return chosen
    kinds = schedule.kind[tasks[np.cumsum(lengths) - lengths]]
    places, _ = choose_fit(costs, votes, kinds, cluster.rates(schedule.needs, names), balance, 0.0, 0.0)
    fitting: Ints = np.where(places == NO_HOST, NO_HOST, table[places])
    return fitting


# --- tasks that are needed again --------------------------------------------------------------------------------------


def place_loose(schedule: JobSchedule, cluster: Cluster, back: Mapping[int, int]) -> dict[int, Queue]:
    """Places every task that has no place: on its host again if that lives, else by its inputs. What no living host can take stays loose.

    back: tasks that a host was asked to give back, with the chain of each: these go to the hosts that can begin them first, and those of
    one chain stay one. Every other task is a chain of its own. Returns the chains per host, with ids beyond all that there are.
    """
    job = schedule.job
    schedule.loose = {task for task in schedule.loose if job.states[task] == WAITING}  # others came back with a host that joined again
    if not schedule.loose:
        return {}
    lengths, tasks = _gather(schedule, back)
    schedule.loose.clear()
    heads = tasks[np.cumsum(lengths) - lengths]
    homeless = ~_are_able(schedule, cluster, heads) | np.isin(heads, list(back)) | (_cut_off_from(schedule, heads) != NO_HOST)
    if homeless.any():
        rest = np.repeat(homeless, lengths)
        found = _spread_apart(schedule, lengths[homeless], tasks[rest], cluster)
        hosts = np.repeat(found, lengths[homeless])
        schedule.loose.update(tasks[rest][hosts == NO_HOST].tolist())
        schedule.move(tasks[rest][hosts != NO_HOST], hosts[hosts != NO_HOST])
        kept = ~homeless
        kept[homeless] = found != NO_HOST
        tasks, lengths = tasks[np.repeat(kept, lengths)], lengths[kept]
    return _queues(schedule, lengths, tasks)


def _spread_apart(schedule: JobSchedule, lengths: Ints, tasks: Ints, cluster: Cluster) -> Ints:
    """`_spread` over all hosts, each chain away from the host that could not have its inputs, unless that is the only one."""
    avoided = _cut_off_from(schedule, tasks[np.cumsum(lengths) - lengths])
    found = np.full(len(lengths), NO_HOST)
    for host in np.unique(avoided).tolist():
        mine = avoided == host
        names = [name for name in cluster.names if host == NO_HOST or name != schedule.job.hosts[host]] or cluster.names
        found[mine] = _spread(schedule, lengths[mine], tasks[np.repeat(mine, lengths)], names, cluster)
    return found


def _cut_off_from(schedule: JobSchedule, tasks: Ints) -> Ints:
    """Per task: the host on which its last attempt could not have its inputs; NO_HOST if it was not that."""
    job = schedule.job
    if not job.failures:
        return np.full(len(tasks), NO_HOST)
    last = [job.failures.get(task, {}).get(job.attempts[task] - 1) for task in tasks.tolist()]
    hosts = zip(last, schedule.where[tasks].tolist(), strict=True)
    return ints([host if error is not None and error.reason == UNREACHABLE else NO_HOST for error, host in hosts])


def _gather(schedule: JobSchedule, back: Mapping[int, int]) -> tuple[Ints, Ints]:
    """The tasks without a place, as lengths and tasks of chains."""
    loose = sorted(schedule.loose)
    if not back:
        return np.ones(len(loose), dtype=np.int64), ints(loose)
    chains: dict[int, list[int]] = {}
    for task in loose:
        chains.setdefault(back.get(task, -1 - task), []).append(task)
    rows = [_in_order(schedule, id, tasks) for id, tasks in chains.items()]
    return ints([len(row) for row in rows]), ints([task for row in rows for task in row])


def _in_order(schedule: JobSchedule, chain: int, tasks: list[int]) -> list[int]:
    """Tasks of a chain as they run."""
    return [task for task in schedule.job.chains.tasks_of(chain) if task in tasks] if len(tasks) > 1 else tasks


def _queues(schedule: JobSchedule, lengths: Ints, tasks: Ints) -> dict[int, Queue]:
    """New chains by the hosts that they are placed on."""
    hosts, first, placed = schedule.where[tasks], len(schedule.job.chains), {}
    schedule.move(tasks, hosts)
    host_of = hosts[np.cumsum(lengths) - lengths] if len(lengths) else hosts
    for host in np.unique(host_of).tolist():
        mine = lengths[host_of == host]
        ids = np.arange(first, first + len(mine))
        placed[host] = Queue(schedule.job.topology, ids, mine, tasks[np.repeat(host_of == host, lengths)])
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


class Said(NamedTuple):
    """What a host was told of a dataset. source: who has it or makes it, in that host's `epoch`. told: epoch of the host that was told."""

    source: int
    epoch: int
    told: int
    attempt: int


def living(schedule: JobSchedule, cluster: Cluster, sources: list[int], host: int) -> list[int]:
    """The sources of what a host takes, with the host itself in place of those that are lost: it asks nobody, and waits for the reroute
    that follows once the dataset is placed anew."""
    lost = {index for index, name in enumerate(schedule.job.hosts) if name not in cluster.epochs}
    return [host if source in lost else source for source in sources] if lost else sources


def reroutes(schedule: JobSchedule, cluster: Cluster, now: float, pause: float) -> dict[int, Ints]:
    """Which of the datasets that moved a host must ask another for: those that its released tasks take and that it neither holds nor will
    make. Not those of which nobody knows yet where they will be, nor what the host was told less than `pause` seconds ago. now: by the
    clock of `tick`."""
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
    found = {host: np.unique(datasets[asks & (hosts == host)]) for host in np.unique(hosts[asks]).tolist()}
    news = {host: _not_said(schedule, cluster, host, mine, now, pause) for host, mine in found.items()}
    return {host: mine for host, mine in news.items() if len(mine)}


def _not_said(schedule: JobSchedule, cluster: Cluster, host: int, datasets: Ints, now: float, pause: float) -> Ints:
    """The datasets of which a host is to be told something that it was not told just before."""
    job, new = schedule.job, []
    for dataset, source in zip(datasets.tolist(), schedule.sources(datasets), strict=True):
        attempt = job.attempts[int(job.topology.producer[dataset])]
        word = Said(source, cluster.epochs[job.hosts[source]], cluster.epochs[job.hosts[host]], attempt)
        before, time = schedule.said.get((host, dataset), (None, -math.inf))
        if word != before or now - time >= pause:
            schedule.said[host, dataset] = word, now
            new.append(dataset)
    return ints(new)


def _taken(job: JobLedger) -> tuple[Ints, Ints]:
    """Every dataset that a released task takes, with the task's host."""
    busy = np.flatnonzero((job.state == ASSIGNED) | (job.state == STARTED))
    counts = job.topology.n_inputs[busy]
    return job.topology.inputs[ranges(job.topology.input_start[busy], counts)], np.repeat(job.host[busy], counts)
