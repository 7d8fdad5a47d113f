"""The schedule of one job: the places of its tasks, and the chains that are not released yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np

from headrace.ledger import ASSIGNED, DONE, NOWHERE, STARTED, UNPLACED, WAITING, JobLedger
from headrace.ledger.columns import FEW, Ints, ints, ranges, view
from headrace.scheduler.backlog import Backlog, Release
from headrace.scheduler.living_hosts import LivingHosts

_AGAIN = -2
"""The place of a task that was placed anew on host 0. The place for host 1 is one less, and so on."""
Loaded = Callable[[int, int], None]
"""A function that is called with the index of a host and the number of tasks by which its load changed."""


class JobSchedule:
    """The schedule of a planned job. Hosts are indexes in the job's table in the ledger.

    It is made from the ledger alone, so that a scheduler that takes over goes on where the last one stopped.

    - `backlogs`: for each host, the chains that are placed there and not released. `open`: for each host, the number of tasks of the plan
      that are released and not done. `again`: the same for tasks that were placed anew, which are outside the windows.
    - `where` (n_tasks): the host of each task, even before an assignment in the log names it. `unplaced`: tasks that are needed again, or
      were given back, and have no place yet.
    - `top`: for each host, the highest chain of the plan that was released to it. `told`: for each host, the epoch to which the graph was
      sent.
    - `moved`: datasets that may have another source than hosts were told. `said`: for each host and dataset, the last reroute and its time.
    - `needs`: the needs of the tasks, if any. `kind` (n_tasks): the kind of each task's needs. `stranded`: chains of the plan that no
      living host can run. `reassigned_among`: the living hosts among which unreleased chains were last distributed.
    """

    def __init__(self, job: JobLedger, loaded: Loaded) -> None:
        self.job = job
        self.n_planned = job.n_planned
        self.where: Ints = job.host.copy()
        self.backlogs: dict[int, Backlog] = {}
        self.open: Counter[int] = Counter()
        self.again: Counter[int] = Counter()
        self.top: dict[int, int] = {}
        self.told: dict[int, int] = {}
        self.moved: set[int] = set()
        self.said: dict[tuple[int, int], tuple[object, float]] = {}
        self.needs = job.needs
        self.kind = self.needs.of_tasks(job.topology) if self.needs is not None else None
        self.stranded: Ints = ints([])
        self.reassigned_among: LivingHosts | None = None
        self._loaded = loaded
        self._where = view(self.where)
        self._counted: Ints = np.full(job.n_tasks, UNPLACED, dtype=np.int16)
        self._count_of = view(self._counted)
        self._position_of: Ints | None = None
        """The chain of the plan of each task, once it is needed."""
        self._queued: Ints = np.zeros(job.n_tasks, dtype=np.bool_)
        waiting = np.flatnonzero(job.state == WAITING)
        chains = np.unique(job.chain[waiting])
        self.enqueue(chains[chains != UNPLACED])
        self.unplaced = set(waiting[(job.chain[waiting] == UNPLACED) & ~self._queued[waiting]].tolist())
        self._find_released()
        job.take_changes()

    def _find_released(self) -> None:
        """Count the tasks that an earlier scheduler released."""
        released = np.flatnonzero(self.job.state != WAITING)
        if not len(released):
            return
        self._count_many(released)
        for host in np.unique(self.where[released]).tolist():
            chains = self.job.chain[released[self.where[released] == host]]
            self.top[host] = int(chains[chains < self.n_planned].max(initial=-1))

    # --- placed and not released ----------------------------------------------------------------------------------------

    def enqueue(self, chains: Ints) -> None:
        """Add chains of the plan to the backlogs of their tasks' hosts, in plan order. chains: ids in ascending order."""
        if not len(chains):
            return
        table, topology = self.job.chains, self.job.topology
        tasks, lengths = table.expand(chains)[0], table.lengths(chains)
        self._queued[tasks] = True
        hosts = self.where[tasks[np.cumsum(lengths) - lengths]]
        for host in np.unique(hosts).tolist():
            before = self.backlogs.get(host)
            mine = chains[hosts == host]
            self._set_backlog(host, Backlog.of(topology, table, mine if before is None else np.union1d(before.rest(), mine)))

    def _set_backlog(self, host: int, backlog: Backlog | None) -> None:
        old = self.backlogs.pop(host, None)
        self._loaded(host, (backlog.n_tasks if backlog is not None else 0) - (old.n_tasks if old is not None else 0))
        if backlog is not None and backlog.n_tasks:
            self.backlogs[host] = backlog

    def withdraw(self, host: int, last_tasks: int | None = None) -> Ints:
        """Remove chains from a host's backlog, and return their ids: all, or about `last_tasks` tasks at its end."""
        backlog = self.backlogs[host]
        keep = 0 if last_tasks is None else backlog.within(max(0, backlog.n_tasks - last_tasks), 0)
        chains = backlog.rest()
        rest = Backlog.of(self.job.topology, self.job.chains, chains[:keep]) if keep else None
        self._set_backlog(host, rest)
        return chains[keep:]

    def strand(self, chains: Ints) -> None:
        """Keep chains that no living host can run until other hosts join."""
        if len(chains):
            self.stranded = np.union1d(self.stranded, chains)

    def move(self, tasks: Ints, hosts: Ints | int) -> None:
        """Place tasks on hosts."""
        self.where[tasks] = hosts
        topology = self.job.topology
        self.moved.update(ranges(topology.first_output[tasks], topology.n_outputs[tasks]).tolist())

    def say_all_sources(self) -> None:
        """Have the sources of all datasets sent again: an earlier scheduler may have moved chains without rerouting the hosts that wait."""
        self.moved.update(range(self.job.topology.n_datasets))

    # --- releasing ------------------------------------------------------------------------------------------------------

    def release(self, host: int, window: int, integers: int) -> list[Release]:
        """Take chains from a host's backlog that can be released: none while more than half of its window is open, else those that fit.

        Chains that precede a released one in the plan (they were placed on another host before) do not wait for room: the tasks in the
        window may wait for them. window: the most open tasks. integers: the size of the parts, see `Backlog.take_chains`.
        """
        backlog = self.backlogs.get(host)
        if backlog is None:
            return []
        open_tasks, top = self.open[host], self.top.get(host, -1)
        room = window - open_tasks if open_tasks <= window // 2 else 0
        if not room and backlog.first > top:
            return []
        count = backlog.within(room, top)
        if not count:
            return []
        before = backlog.n_tasks
        parts = backlog.take_chains(count, integers)
        self._loaded(host, backlog.n_tasks - before)
        if not backlog.n_tasks:
            del self.backlogs[host]
        for part in parts:
            self._queued[part.tasks] = False
        self.top[host] = max(self.top.get(host, -1), int(parts[-1].chains[-1]))
        return parts

    def sources(self, datasets: Ints) -> list[int]:
        """Return for each dataset the host that holds it, or will produce it."""
        homes = self.job.copies.home[datasets]
        sources: list[int] = np.where(homes != NOWHERE, homes, self.where[self.job.topology.producer[datasets]]).tolist()
        return sources

    def positions(self, release: Release) -> list[int]:
        """Return for each chain the position in plan order that it inherits: that of the chain of the plan that had its first task."""
        if self._position_of is None:
            table, chains = self.job.chains, np.arange(self.n_planned)
            lengths = table.lengths(chains)
            self._position_of = np.zeros(self.job.n_tasks, dtype=np.int32)
            self._position_of[table.expand(chains)[0]] = np.repeat(chains, lengths)
        heads = release.tasks[np.cumsum(release.lengths) - release.lengths]
        positions: list[int] = self._position_of[heads].tolist()
        return positions

    # --- following the ledger -------------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Update the counts by the changes in the ledger since the last call."""
        changes = self.job.take_changes()
        for batch in (changes.assigned, changes.done, changes.failed, changes.needed, changes.revoked):
            if len(batch.few) > FEW:
                self._count_many(ints(batch.few))
            else:
                self._count_few(batch.few)
            for tasks in batch.many:
                self._count_many(tasks)
        if changes.needed or changes.revoked:
            self._find_unplaced([*changes.needed.list(), *changes.revoked.list()])

    def _find_unplaced(self, tasks: list[int]) -> None:
        job = self.job
        self.unplaced.update(t for t in tasks if job.states[t] == WAITING and job.chain_of[t] == UNPLACED and not self._queued[t])

    def _count_few(self, tasks: list[int]) -> None:
        job, counted = self.job, self._count_of
        for task in tasks:
            place = UNPLACED
            if ASSIGNED <= job.states[task] <= STARTED:
                host = job.placed[task]
                place = host if job.chain_of[task] < self.n_planned else _AGAIN - host
            if place != counted[task]:
                self._open(counted[task], -1)
                self._open(place, 1)
                counted[task] = place

    def _count_many(self, tasks: Ints) -> None:
        job = self.job
        tasks = job.distinct(tasks)
        state = job.state[tasks]
        is_open = (state >= ASSIGNED) & (state < DONE)
        host = job.host[tasks]
        now, before = np.where(is_open, np.where(job.chain[tasks] < self.n_planned, host, _AGAIN - host), UNPLACED), self._counted[tasks]
        least, size = -1 - len(job.hosts), 2 * len(job.hosts) + 1
        change = np.bincount(now - least, minlength=size) - np.bincount(before - least, minlength=size)
        for index in np.flatnonzero(change).tolist():
            self._open(index + least, int(change[index]))
        self._counted[tasks] = now

    def _open(self, place: int, change: int) -> None:
        """Change the number of open tasks at a place: the index of a host, or counted down from `_AGAIN` for tasks placed anew."""
        if place == UNPLACED:
            return
        host = place if place >= 0 else _AGAIN - place
        (self.open if place >= 0 else self.again)[host] += change
        self._loaded(host, change)

    def status(self) -> dict[str, object]:
        """Summarise for people how many tasks each host has, and how many wait for its window."""
        hosts = self.job.hosts
        queued = {hosts[host]: backlog.n_tasks for host, backlog in self.backlogs.items()}
        return {"open": {hosts[host]: tasks for host, tasks in self.open.items()}, "queued": queued, "unplaced": len(self.unplaced)}

    def close(self) -> None:
        """Take the tasks of a job that is over off the load of its hosts."""
        for host, tasks in (*self.open.items(), *self.again.items()):
            self._loaded(host, -tasks)
        for host in list(self.backlogs):
            self._set_backlog(host, None)
