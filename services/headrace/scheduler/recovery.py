"""New places for chains that were not released, for tasks that are needed again, and for the datasets that hosts fetch.

Each function works on the schedule of one job, in time proportional to the tasks that it moves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from headrace.graph.topology import Flags
from headrace.ledger import ASSIGNED, NOWHERE, STARTED, WAITING, JobLedger
from headrace.ledger.columns import Ints, ints, ranges
from headrace.scheduler.backlog import Backlog
from headrace.scheduler.fitting import NO_HOST, choose_fit
from headrace.scheduler.inputs import outside
from headrace.scheduler.job import JobSchedule
from headrace.scheduler.living_hosts import LivingHosts
from headrace.scheduler.placing import choose_many

UNREACHABLE = "unreachable"
"""The reason for an attempt that failed because its host could not fetch an input. The next attempt is placed on another host."""

# --- chains that were not released ------------------------------------------------------------------------------------


def reassign(schedule: JobSchedule, living: LivingHosts) -> None:
    """Move chains that wait for lost hosts, or for hosts without the resources they need, to living hosts.

    Does so once for each `LivingHosts`.
    """
    if schedule.reassigned_among is living:
        return
    schedule.reassigned_among = living
    if schedule.needs is not None:
        _reassign_by_needs(schedule, living)
        return
    for host in list(schedule.backlogs):
        if schedule.job.hosts[host] not in living.epochs:
            _move(schedule, schedule.withdraw(host), living.names, living)


def _reassign_by_needs(schedule: JobSchedule, living: LivingHosts) -> None:
    stranded, schedule.stranded = [schedule.stranded], ints([])
    for host in list(schedule.backlogs):
        chains = schedule.withdraw(host)
        able = _are_able(schedule, living, schedule.job.chains.expand(chains)[0][_heads(schedule, chains)])
        schedule.enqueue(chains[able])
        stranded.append(chains[~able])
    schedule.strand(_move(schedule, np.sort(np.concatenate(stranded)), living.names, living))


def _heads(schedule: JobSchedule, chains: Ints) -> Ints:
    """Return the index of each chain's first task among the tasks of all these chains."""
    lengths = schedule.job.chains.lengths(chains)
    heads: Ints = np.cumsum(lengths) - lengths
    return heads


def _are_able(schedule: JobSchedule, living: LivingHosts, tasks: Ints) -> Flags:
    """Tell for each task whether its host is alive and has the resources that it needs."""
    if schedule.needs is None or schedule.kind is None:
        return _alive(schedule.job, living)[schedule.where[tasks]]
    able = np.zeros((len(schedule.needs.kinds), len(schedule.job.hosts)), dtype=np.bool_)
    places = [host for host, name in enumerate(schedule.job.hosts) if name in living.epochs]
    able[:, places] = living.rates(schedule.needs, [schedule.job.hosts[host] for host in places]) > 0
    found: Flags = able[schedule.kind[tasks], schedule.where[tasks]]
    return found


def share_with(schedule: JobSchedule, joined: set[str], living: LivingHosts) -> None:
    """Move a share of the waiting chains to hosts that have just joined: the end of the backlog of every other host."""
    share = living.share_of(joined)
    for host, backlog in list(schedule.backlogs.items()):
        if schedule.job.hosts[host] not in joined:
            schedule.enqueue(_move(schedule, schedule.withdraw(host, int(backlog.n_tasks * share)), sorted(joined), living))


def relocate(schedule: JobSchedule, host: int, tasks: int, names: list[str], living: LivingHosts) -> None:
    """Move about `tasks` tasks from the end of a host's backlog to the named hosts. Chains that none of these can run stay."""
    schedule.enqueue(_move(schedule, schedule.withdraw(host, tasks), names, living))


def _move(schedule: JobSchedule, chains: Ints, names: list[str], living: LivingHosts) -> Ints:
    """Move chains to the named hosts. Return the chains that none of these can run."""
    if not len(chains):
        return chains
    table = schedule.job.chains
    lengths = table.lengths(chains)
    tasks = table.expand(chains)[0]
    hosts = _spread(schedule, lengths, tasks, names, living)
    found = hosts != NO_HOST
    if not found.all():
        tasks, lengths, hosts = tasks[np.repeat(found, lengths)], lengths[found], hosts[found]
    schedule.move(tasks, np.repeat(hosts, lengths))
    schedule.enqueue(chains[found])
    left: Ints = chains[~found]
    return left


def _spread(schedule: JobSchedule, lengths: Ints, tasks: Ints, names: list[str], living: LivingHosts) -> Ints:
    """Choose one of the named hosts for each chain: that with most of its inputs, in proportion to the hosts' capacity.

    Returns indexes in the job's table; NO_HOST for a chain that none of the hosts can run.
    """
    job = schedule.job
    table = ints([job.host_id(name) for name in names])
    place_of = np.full(len(job.hosts), -1)
    place_of[table] = np.arange(len(table))
    taken = outside(job.topology, lengths, tasks)
    places = place_of[schedule.sources(taken.datasets)]
    cells = (np.repeat(np.arange(len(lengths)), taken.counts) * len(table) + places)[places >= 0]
    votes = np.bincount(cells, minlength=len(lengths) * len(table)).astype(np.float64).reshape(len(lengths), len(table))
    costs, balance = lengths.astype(np.float64), living.balance(names)
    if schedule.needs is None or schedule.kind is None:
        shares, _ = balance.shares(float(lengths.sum()), 0.0)
        places = choose_many(costs, votes, shares, 0.0)
        chosen: Ints = table[places if votes.any() else _deal(places)]
        return chosen
    kinds = schedule.kind[tasks[np.cumsum(lengths) - lengths]]
    places, _ = choose_fit(costs, votes, kinds, living.rates(schedule.needs, names), balance, 0.0, 0.0)
    fitting: Ints = np.where(places == NO_HOST, NO_HOST, table[places])
    return fitting


def _deal(places: Ints) -> Ints:
    """The same hosts as often, in turn: neighbours may take equally long, and the first ones go to different hosts so."""
    counts = np.bincount(places)
    turns = np.concatenate([(np.arange(count) + 0.5) / count for count in counts.tolist() if count])
    dealt: Ints = np.repeat(np.flatnonzero(counts), counts[counts > 0])[np.argsort(turns, kind="stable")]
    return dealt


# --- tasks that are needed again --------------------------------------------------------------------------------------


def place_unplaced(schedule: JobSchedule, living: LivingHosts, back: Mapping[int, int]) -> dict[int, Backlog]:
    """Place all unplaced tasks: on their old host if it is alive, or else near their inputs. Return the new chains of each host.

    Tasks that no living host can run stay unplaced. back: tasks that a host was asked to give back, with their chains. These go to the
    hosts that can begin them first, and the tasks of one chain stay together. Every other task becomes a chain by itself. The ids of the
    new chains follow all existing ones.
    """
    job = schedule.job
    # the others are done: their datasets came back with a host that rejoined
    schedule.unplaced = {task for task in schedule.unplaced if job.states[task] == WAITING}
    if not schedule.unplaced:
        return {}
    lengths, tasks = _gather(schedule, back)
    schedule.unplaced.clear()
    heads = tasks[np.cumsum(lengths) - lengths]
    displaced = ~_are_able(schedule, living, heads) | np.isin(heads, list(back)) | (_cut_off_from(schedule, heads) != NO_HOST)
    if displaced.any():
        rest = np.repeat(displaced, lengths)
        avoided = np.where(np.isin(heads, list(back)), schedule.where[heads], _cut_off_from(schedule, heads))[displaced]
        found = _spread_apart(schedule, lengths[displaced], tasks[rest], avoided, living)
        hosts = np.repeat(found, lengths[displaced])
        schedule.unplaced.update(tasks[rest][hosts == NO_HOST].tolist())
        schedule.move(tasks[rest][hosts != NO_HOST], hosts[hosts != NO_HOST])
        kept = ~displaced
        kept[displaced] = found != NO_HOST
        tasks, lengths = tasks[np.repeat(kept, lengths)], lengths[kept]
    return _backlogs(schedule, lengths, tasks)


def _spread_apart(schedule: JobSchedule, lengths: Ints, tasks: Ints, avoided: Ints, living: LivingHosts) -> Ints:
    """Choose hosts among all living ones, and avoid one for each chain unless it is the only one.

    avoided: for each chain, the host that gave it back or that could not fetch its inputs; NO_HOST if there is none.
    """
    found = np.full(len(lengths), NO_HOST)
    for host in np.unique(avoided).tolist():
        mine = avoided == host
        names = [name for name in living.names if host == NO_HOST or name != schedule.job.hosts[host]] or living.names
        found[mine] = _spread(schedule, lengths[mine], tasks[np.repeat(mine, lengths)], names, living)
    return found


def _cut_off_from(schedule: JobSchedule, tasks: Ints) -> Ints:
    """Return for each task the host on which its last attempt could not fetch its inputs; NO_HOST if it did not fail for that."""
    job = schedule.job
    if not job.failures:
        return np.full(len(tasks), NO_HOST)
    last = [job.failures.get(task, {}).get(job.attempts[task] - 1) for task in tasks.tolist()]
    hosts = zip(last, schedule.where[tasks].tolist(), strict=True)
    return ints([host if error is not None and error.reason == UNREACHABLE else NO_HOST for error, host in hosts])


def _gather(schedule: JobSchedule, back: Mapping[int, int]) -> tuple[Ints, Ints]:
    """Group the unplaced tasks into chains. Returns the lengths of the chains, and their tasks."""
    unplaced = sorted(schedule.unplaced)
    if not back:
        return np.ones(len(unplaced), dtype=np.int64), ints(unplaced)
    chains: dict[int, list[int]] = {}
    for task in unplaced:
        chains.setdefault(back.get(task, -1 - task), []).append(task)
    rows = [_in_order(schedule, id, tasks) for id, tasks in chains.items()]
    return ints([len(row) for row in rows]), ints([task for row in rows for task in row])


def _in_order(schedule: JobSchedule, chain: int, tasks: list[int]) -> list[int]:
    """Sort tasks of a chain by the order in which they run."""
    return [task for task in schedule.job.chains.tasks_of(chain) if task in tasks] if len(tasks) > 1 else tasks


def _backlogs(schedule: JobSchedule, lengths: Ints, tasks: Ints) -> dict[int, Backlog]:
    """Make new chains, and group them by the hosts that their tasks are placed on."""
    hosts, first, placed = schedule.where[tasks], len(schedule.job.chains), {}
    schedule.move(tasks, hosts)
    host_of = hosts[np.cumsum(lengths) - lengths] if len(lengths) else hosts
    for host in np.unique(host_of).tolist():
        mine = lengths[host_of == host]
        ids = np.arange(first, first + len(mine))
        placed[host] = Backlog(schedule.job.topology, ids, mine, tasks[np.repeat(host_of == host, lengths)])
        first += len(mine)
    return placed


def _alive(job: JobLedger, living: LivingHosts) -> Flags:
    """Tell for each host of the job's table whether it is alive."""
    return np.array([name in living.epochs for name in job.hosts], dtype=np.bool_)


# --- the datasets that hosts fetch ------------------------------------------------------------------------------------


def held_at(job: JobLedger, host: str) -> Ints:
    """Return the datasets whose home is this host."""
    index = job.host_ids.get(host)
    return ints([]) if index is None else np.flatnonzero(job.copies.home == index)


class Said(NamedTuple):
    """The contents of a reroute for one dataset.

    source, epoch: the host that holds or will produce the dataset, and its epoch. told: the epoch of the host that received the reroute.
    """

    source: int
    epoch: int
    told: int
    attempt: int


def living_sources(schedule: JobSchedule, living: LivingHosts, sources: list[int], host: int) -> list[int]:
    """Replace lost sources of a host's inputs by the host itself.

    The host then asks no other one, and waits for the reroute that follows when the dataset is placed anew.
    """
    lost = {index for index, name in enumerate(schedule.job.hosts) if name not in living.epochs}
    return [host if source in lost else source for source in sources] if lost else sources


def reroutes(schedule: JobSchedule, living: LivingHosts, now: float, pause: float) -> dict[int, Ints]:
    """Find for each host the moved datasets that it must ask another host for.

    These are inputs of its released tasks that it neither holds nor will produce. Left out are datasets that have no new place yet, and
    those for which the host got the same reroute less than `pause` seconds ago. now: by the clock of `tick`.
    """
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
    alive = _alive(job, living)
    asks = known & (sources != hosts) & alive[sources] & alive[hosts] & ~job.copies.held_at(datasets, hosts)
    found = {host: np.unique(datasets[asks & (hosts == host)]) for host in np.unique(hosts[asks]).tolist()}
    news = {host: _not_said(schedule, living, host, mine, now, pause) for host, mine in found.items()}
    return {host: mine for host, mine in news.items() if len(mine)}


def _not_said(schedule: JobSchedule, living: LivingHosts, host: int, datasets: Ints, now: float, pause: float) -> Ints:
    """Return the datasets for which a host needs a reroute that it did not get in the last `pause` seconds."""
    job, new = schedule.job, []
    for dataset, source in zip(datasets.tolist(), schedule.sources(datasets), strict=True):
        attempt = job.attempts[int(job.topology.producer[dataset])]
        word = Said(source, living.epochs[job.hosts[source]], living.epochs[job.hosts[host]], attempt)
        before, time = schedule.said.get((host, dataset), (None, -math.inf))
        if word != before or now - time >= pause:
            schedule.said[host, dataset] = word, now
            new.append(dataset)
    return ints(new)


def _taken(job: JobLedger) -> tuple[Ints, Ints]:
    """Return the inputs of all released tasks, each with the host of the task."""
    busy = np.flatnonzero((job.state == ASSIGNED) | (job.state == STARTED))
    counts = job.topology.n_inputs[busy]
    return job.topology.inputs[ranges(job.topology.input_start[busy], counts)], np.repeat(job.host[busy], counts)
