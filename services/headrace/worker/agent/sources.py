"""The host that is asked for each dataset, and the links to these hosts: opened, retried and given up.

                    +--- link lost, tried again every half second ---+
                    v                                                |
    source known ---> link opening ---> link up: asked ---> here     |
        |   ^              |                  |                      |
        |   |              +------------------+----------------------+
        |   |
        |   +--- an assignment or a reroute names another source, or a newer address
        v
    no source: the host is lost (or has restarted), or this host makes the dataset itself

The source of a dataset is in its entry's `source`. The log says which hosts are lost. This host then expects nothing more from them:
datasets that it had asked them for have no source, and segments wait for these until the scheduler names a host that has, or makes, a new
copy.

The time for which a host is out of reach begins with the first failure in an epoch. It ends with that epoch, when a link opens, or when
this host awaits nothing more from there. After `unreachable_seconds` the host is reported. After `give_up_seconds` the tasks that wait for
it fail, and are tried on another host.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from headrace.link import frames
from headrace.worker.agent.actions import Action, Connect, Disconnect, ToHost
from headrace.worker.agent.failover import CONNECTING, DOWN, UP, RelayFailover
from headrace.worker.agent.jobs import Entry, HostJob
from headrace.worker.agent.outgoing import MOST_IDS
from headrace.worker.settings import Settings


@dataclass
class Outage:
    """A host to which no link can be opened.

    since, reported: times by the clock of `tick`. failures: the number of links that broke or could not be opened.
    """

    since: float
    reported: float = -math.inf
    failures: int = 0


class Sources:
    """The datasets that this host awaits from others. take_back(job, entry): frees the block that another host was to fill.

    address: where other hosts reach this one; until it is known, this host is no relay.
    """

    def __init__(
        self,
        settings: Settings,
        jobs: Mapping[str, HostJob],
        actions: list[Action],
        take_back: Callable[[HostJob, Entry], None],
        now: float,
    ) -> None:
        self.address = ""
        self._settings = settings
        self._jobs = jobs
        self._actions = actions
        self._take_back = take_back
        self._now = now
        self._links: dict[str, str] = {}
        self._outages: dict[str, Outage] = {}
        self._epochs: dict[str, int] = {}
        """The newest epoch that the log names, by host."""
        self._lost: dict[str, int] = {}
        """Lost hosts, with the last entry of the log that the controller knew when it said so."""
        self._orphans: dict[tuple[str, int], float] = {}
        """By job and dataset: the time since which the dataset has had no source."""
        self.asks: dict[str, dict[str, list[Entry]]] = {}
        """Entries to ask for, by host and job."""
        self.failover = RelayFailover(settings.host, settings.relay_seconds, now, actions, self._links, self.ask_again)

    def begin_again(self) -> None:
        """Forget all links and awaited datasets, because this host joins again. What the log says about other hosts stays."""
        for kept in (self._links, self._outages, self._orphans, self.asks):
            kept.clear()
        self.failover = RelayFailover(
            self._settings.host, self._settings.relay_seconds, self._now, self._actions, self._links, self.ask_again
        )

    def tick(self, now: float) -> None:
        """Take in the time."""
        self._now = now
        self.failover.tick(now)

    # --- requests ---------------------------------------------------------------------------------------------------

    def want(self, job: HostJob, entry: Entry, source: str) -> None:
        """Ask another host for a dataset, unless the dataset is here or was asked for already."""
        if entry.here or entry.granted is not None or (entry.source == source and entry.asked):
            return
        if source in self._lost:
            self.ask_nobody(job, entry)
            return
        entry.source = source
        state = self._links.get(source, DOWN)
        entry.asked = state == UP
        if state == UP:
            self.asks.setdefault(source, {}).setdefault(job.name, []).append(entry)
        elif state == DOWN:
            self._links[source] = CONNECTING
            self._actions.append(Connect(source, job.addresses[source]))

    def ask_again(self, job: HostJob, entry: Entry, source: str) -> None:
        """Ask a host for a dataset anew."""
        self._take_back(job, entry)
        entry.asked = False
        self.want(job, entry, source)

    def ask_nobody(self, job: HostJob, entry: Entry) -> None:
        """Wait until a task here makes a dataset, or until the scheduler names its source."""
        self._take_back(job, entry)
        entry.asked, entry.source = False, ""
        self._orphans.setdefault((job.name, entry.dataset), self._now)

    def wants(self) -> Iterator[Action]:
        """Yield requests to hosts for the datasets that were added since the last call."""
        asks, self.asks = self.asks, {}
        for host, jobs in asks.items():
            for name, entries in jobs.items():
                for part in (entries[start : start + MOST_IDS] for start in range(0, len(entries), MOST_IDS)):
                    datasets, attempts = [entry.dataset for entry in part], [entry.promised for entry in part]
                    yield ToHost(host, frames.Want(name, datasets, attempts, self.address))

    def state(self, host: str) -> str:
        """Return the state of the link to another host: CONNECTING, UP or DOWN."""
        return self._links.get(host, DOWN)

    def is_up(self, host: str) -> bool:
        """Return whether the link to another host is open."""
        return self._links.get(host) == UP

    # --- links ------------------------------------------------------------------------------------------------------

    def connected(self, host: str, epoch: int) -> None:
        """Ask a host for all datasets that are awaited from it, because the link to it is ready."""
        self._links[host] = UP
        self._outages.pop(host, None)
        self.failover.connected(host, epoch)
        for job, entry in self._awaited_from(host):
            entry.asked = False
            self.want(job, entry, host)

    def disconnected(self, host: str) -> None:
        """Note that a link could not be opened, or broke. The next `retry` opens it again."""
        self._links[host] = DOWN
        self._outages.setdefault(host, Outage(self._now)).failures += 1
        self.failover.lost(host)
        for job, entry in self._awaited_from(host):
            entry.asked = False
            self._take_back(job, entry)

    def _awaited_from(self, host: str) -> list[tuple[HostJob, Entry]]:
        return [(job, entry) for job in self._jobs.values() for entry in job.entries.values() if entry.source == host and not entry.here]

    def retry(self) -> list[tuple[HostJob, Entry]]:
        """Open the links again over which datasets are awaited, and report hosts that are out of reach.

        Return the datasets that are given up: the tasks that wait for them must be tried on another host.
        """
        self._report_orphans()
        if DOWN not in self._links.values():
            return []
        awaited = [
            (job, entry)
            for job in self._jobs.values()
            for entry in job.entries.values()
            if entry.uses and entry.source and not entry.here and self._links.get(entry.source, DOWN) == DOWN
        ]
        self._outages = {host: self._outages.get(host, Outage(self._now)) for host in {entry.source for _, entry in awaited}}
        return [pair for pair in awaited if not self._try_again(*pair)]

    def _try_again(self, job: HostJob, entry: Entry) -> bool:
        """Open a link again. Return False if it has been tried for long enough."""
        outage, patience = self._outages[entry.source], self._settings
        waited = self._now - outage.since if outage.failures >= patience.least_failures else 0.0
        if waited >= patience.unreachable_seconds and self._now - outage.reported >= patience.unreachable_seconds:
            outage.reported = self._now
            job.report.unreachable(entry.source)
        if waited >= patience.give_up_seconds:
            return False
        self.want(job, entry, entry.source)
        return True

    # --- hosts that come and go --------------------------------------------------------------------------------------

    def named(self, hosts: list[str], sources: list[int], at: int) -> None:
        """Note that an order, given when the log was known up to `at`, names sources by their index.

        If the log had declared such a host lost before, the host has joined again, perhaps before this host read the log.
        """
        if self._lost:
            for host in {hosts[source] for source in set(sources)}:
                if self._lost.get(host, at) < at:
                    del self._lost[host]

    def host_lost(self, host: str, epoch: int, at: int) -> None:
        """Note that a host of this epoch is lost. at: the last entry of the log that the controller knew when it said so."""
        if epoch >= self._epochs.get(host, 0):
            self._epochs[host] = epoch
            self._lost[host] = at
            self._expect_nothing(host)

    def host_joined(self, host: str, epoch: int, *, again: bool = False) -> None:
        """Note that a host has joined in this epoch. Nothing that an older epoch owed is expected from it.

        again: whether the host had joined before, perhaps before this host read the log. What is expected of it then belongs to this epoch.
        """
        if epoch > self._epochs.get(host, 0):
            self._epochs[host] = epoch
            if not again or host in self._lost:
                self._lost.pop(host, None)
                self._expect_nothing(host)

    def _expect_nothing(self, host: str) -> None:
        if self.is_up(host):
            self._actions.append(Disconnect(host))
        self._outages.pop(host, None)
        self.failover.lost(host)
        for job, entry in self._awaited_from(host):
            self.ask_nobody(job, entry)

    def _report_orphans(self) -> None:
        """Report datasets that have had no source for a while as gone, so that the scheduler names their source once more."""
        for (name, dataset), since in list(self._orphans.items()):
            job = self._jobs.get(name)
            entry = job.entries.get(dataset) if job is not None else None
            if job is None or entry is None or entry.source or entry.here or not entry.uses:
                del self._orphans[name, dataset]
            elif self._now - since >= self._settings.orphan_seconds:
                self._orphans[name, dataset] = self._now
                if not job.makes(dataset):
                    job.report.gone(dataset)
