"""One job as the scheduler sees it: the ledger's facts, and what was not released yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np

from headrace.ledger import ASSIGNED, DONE, NOWHERE, STARTED, UNPLACED, WAITING, JobLedger
from headrace.ledger.columns import FEW, Ints, ints, ranges, view
from headrace.scheduler.backlog import Backlog, Release
from headrace.scheduler.living_hosts import LivingHosts

_AGAIN = -2
"""Where a task is counted that was placed anew on host 0; on host 1 at one less, and so on."""
Loaded = Callable[[int, int], None]
"""Called with a host's index and by how many tasks its load changed."""


class JobSchedule:
    """A planned job. Hosts are indexes in the ledger's table of the job.

    backlogs: per host, chains placed there and not released. open: per host, tasks of the plan released and not done; again: the same of
    tasks that were placed anew, of which no window is made.
    where (n_tasks): the host that each task is placed on, also before an assignment says so in the log.
    top: per host, the highest chain of the plan released to it. told: per host, the epoch to which the graph was sent.
    unplaced: tasks that are needed again, or were given back, and have no place yet.
    moved: datasets that may be, or be made, elsewhere than was last said. said: per host and dataset, what the host was told of it by the
    last reroute, and when.
    needs: what its tasks need of their hosts, if anything; kind (n_tasks): what each does, by its kind. stranded: chains of the plan that
    no living host can take. reassigned_among: the hosts that lived when what waits was last moved to hosts that can take it.

    It is made from the ledger alone, so that a scheduler that takes over goes on where the last one stopped.
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
        self._queued: Ints = np.zeros(job.n_tasks, dtype=np.bool_)
        waiting = np.flatnonzero(job.state == WAITING)
        chains = np.unique(job.chain[waiting])
        self.enqueue(chains[chains != UNPLACED])
        self.unplaced = set(waiting[(job.chain[waiting] == UNPLACED) & ~self._queued[waiting]].tolist())
        self._find_released()
        job.take_changes()

    def _find_released(self) -> None:
        """What an earlier scheduler released."""
        released = np.flatnonzero(self.job.state != WAITING)
        if not len(released):
            return
        self._count_many(released)
        for host in np.unique(self.where[released]).tolist():
            chains = self.job.chain[released[self.where[released] == host]]
            self.top[host] = int(chains[chains < self.n_planned].max(initial=-1))

    # --- what is placed and not released ------------------------------------------------------------------------------

    def enqueue(self, chains: Ints) -> None:
        """Puts chains (ascending ids, of the plan) into the backlogs of the hosts that their tasks are placed on, in plan order."""
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
        """Takes chains back from a host's backlog: all, or those at its end that make up about so many tasks. Returns their ids."""
        backlog = self.backlogs[host]
        keep = 0 if last_tasks is None else backlog.within(max(0, backlog.n_tasks - last_tasks), 0)
        chains = backlog.rest()
        rest = Backlog.of(self.job.topology, self.job.chains, chains[:keep]) if keep else None
        self._set_backlog(host, rest)
        return chains[keep:]

    def strand(self, chains: Ints) -> None:
        """Keeps chains that no living host can take until other hosts live."""
        if len(chains):
            self.stranded = np.union1d(self.stranded, chains)

    def move(self, tasks: Ints, hosts: Ints | int) -> None:
        """These tasks are placed there from now on."""
        self.where[tasks] = hosts
        topology = self.job.topology
        self.moved.update(ranges(topology.first_output[tasks], topology.n_outputs[tasks]).tolist())

    def say_all_sources(self) -> None:
        """An earlier scheduler may have moved what it had not released, and whether it said so to those who wait is not known."""
        self.moved.update(range(self.job.topology.n_datasets))

    # --- releasing ------------------------------------------------------------------------------------------------------

    def release(self, host: int, window: int, integers: int) -> list[Release]:
        """What the host gets now: nothing while more than half of its window is open, else as much as fits.

        Chains that come before one released already (they were another host's before) do not wait for room: what fills the window may
        be waiting for them.
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
        """Per dataset: the host that holds it, or will make it."""
        homes = self.job.copies.home[datasets]
        sources: list[int] = np.where(homes != NOWHERE, homes, self.where[self.job.topology.producer[datasets]]).tolist()
        return sources

    # --- following the ledger -------------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Takes in what changed in the ledger since the last call."""
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
        """place: index of a host; counted down from `_AGAIN` for what was placed anew."""
        if place == UNPLACED:
            return
        host = place if place >= 0 else _AGAIN - place
        (self.open if place >= 0 else self.again)[host] += change
        self._loaded(host, change)

    def status(self) -> dict[str, object]:
        """For people: per host, how many tasks it has and how many wait for its window."""
        hosts = self.job.hosts
        queued = {hosts[host]: backlog.n_tasks for host, backlog in self.backlogs.items()}
        return {"open": {hosts[host]: tasks for host, tasks in self.open.items()}, "queued": queued, "unplaced": len(self.unplaced)}

    def close(self) -> None:
        """The job is over: its hosts are rid of it."""
        for host, tasks in (*self.open.items(), *self.again.items()):
            self._loaded(host, -tasks)
        for host in list(self.backlogs):
            self._set_backlog(host, None)
