r"""Datasets from other hosts: the agent asks for them, grants memory for those that are offered, and takes them in.

    Want ---> Values: small datasets
         \--> Offer ---> a claim on memory ---> Grant ---> Data, or a Relay: another host sends the bytes
         \--> Gone: the other host does not have it

`sources` decides which host is asked, and `failover` what happens when a relay fails.
"""

from __future__ import annotations

from collections.abc import Callable

from headrace.link import frames
from headrace.worker.agent.actions import Action, Disconnect
from headrace.worker.agent.datasets import Datasets
from headrace.worker.agent.jobs import Entry, HostJob, Segment
from headrace.worker.agent.memory import Claim, Claimant, Memory
from headrace.worker.agent.serving import LINK
from headrace.worker.agent.sources import Sources
from headrace.worker.settings import Settings
from headrace_schemas.streams import INLINE_VALUE_BYTES

Ready = Callable[[list[Segment]], None]
FailWaiters = Callable[[HostJob, Entry, str, str], None]


class Fetching:
    """The datasets that other hosts are to send. Appends actions to the list it was given.

    ready(segments): called with segments that now have all their inputs. fail_waiters(job, entry, reason, text): fails the tasks that wait
    for a dataset.
    """

    def __init__(
        self,
        jobs: dict[str, HostJob],
        datasets: Datasets,
        memory: Memory,
        actions: list[Action],
        settings: Settings,
        now: float,
        ready: Ready,
        fail_waiters: FailWaiters,
    ) -> None:
        self.sources = Sources(settings, jobs, actions, self._take_back_grant, now)
        self._jobs = jobs
        self._datasets = datasets
        self._memory = memory
        self._grants = memory.grants
        self._actions = actions
        self._host = settings.host
        self._ready = ready
        self._fail_waiters = fail_waiters
        self.place: tuple[int, int] | None = None
        """Where to write the bytes of the last `receiving`: offset and length in the arena. None if no block is granted for them (any
        more)."""

    def host_connected(self, host: str, epoch: int) -> None:
        """Ask a host for datasets, because the link to it is ready."""
        self.sources.connected(host, epoch)

    def host_unreachable(self, host: str) -> None:
        """Note that a link could not be opened, or broke. The next `retry_links` opens it again."""
        self._memory.drop_offers(host)
        self._grants.arrived(host)
        self.sources.disconnected(host)

    def _take_back_grant(self, job: HostJob, entry: Entry) -> None:
        """Take back the block that another host was to fill."""
        if entry.granted is not None and entry.granted.writer == LINK:
            self._grants.take_back(job, entry)

    def retry_links(self) -> None:
        """Open the links again over which datasets are awaited, and give up hosts that have been out of reach for too long."""
        for job, entry in self.sources.retry():
            host = entry.source
            address = job.addresses.get(host, "an unknown address")
            text = (
                f"host {self._host} cannot reach host {host} at {address}. Give each worker an address that the others can reach "
                "(--listen, --advertise)"
            )
            self._fail_waiters(job, entry, "unreachable", text)

    def values_received(self, host: str, frame: frames.Values, payload: memoryview) -> None:
        """Take in small datasets. Raises ValueError for large ones.

        Values of a job that is over, and values that this host did not ask that host for, are ignored.
        """
        if frame.lengths and max(frame.lengths) > INLINE_VALUE_BYTES:
            raise ValueError(f"a Values frame has a value of {max(frame.lengths)} bytes, but at most {INLINE_VALUE_BYTES} are allowed")
        job = self._jobs.get(frame.job)
        if job is None or job.ended:
            return
        start, values, attempts = 0, {}, {}
        for dataset, attempt, length in zip(frame.datasets, frame.attempts, frame.lengths, strict=True):
            entry = job.entries.get(dataset)
            if entry is not None and entry.source == host:
                values[dataset], attempts[dataset] = bytes(payload[start : start + length]), attempt
            start += length
        self._ready(self._datasets.values(job, values, attempts))

    def offered(self, host: str, frame: frames.Offer) -> None:
        """Claim memory for large datasets that another host offers. Claims are granted in plan order."""
        job = self._jobs.get(frame.job)
        if job is None or job.ended:
            return
        for dataset, nbytes in zip(frame.datasets, frame.sizes, strict=True):
            entry = job.entries.get(dataset)
            if entry is not None and entry.source == host and not entry.here and entry.granted is None and entry.offered != host:
                order = min((segment.chain.order for segment in entry.waiters), default=0)
                self._memory.claim(Claim(order, 0, job, dataset, nbytes, Claimant(host=host)))

    def receiving(self, host: str, frame: frames.Data, nbytes: int) -> None:
        """Set `place` to where the bytes of a dataset go that begin to arrive."""
        job = self._jobs.get(frame.job)
        entry = job.entries.get(frame.dataset) if job is not None else None
        self.sources.failover.heard(host)
        block = self._grants.arriving(host, entry, frame, nbytes)
        self.place = None if block is None else (block.offset + frame.start, nbytes)
        if block is None and frame.size and entry is not None and entry.granted is not None and entry.source == host:
            self._actions.append(Disconnect(host))  # a piece is missing before these bytes: start over

    def received(self, host: str, frame: frames.Data, nbytes: int) -> None:
        """Take in bytes that have arrived. If `receiving` gave a place for them, they are in the arena."""
        block = self._grants.arrived(host)
        job = self._jobs.get(frame.job)
        entry = job.entries.get(frame.dataset) if job is not None else None
        if job is None or entry is None or block is None or not self._grants.fill(entry, block, frame, nbytes):
            return
        self._ready(self._datasets.stored(job, frame.dataset, frame.attempt, block))
        job.report.copied(frame.dataset)

    def relayed(self, host: str, frame: frames.Relay) -> None:
        """Take a granted dataset from the relay that its host names."""
        job = self._jobs.get(frame.job)
        if job is not None and not job.ended:
            self.sources.failover.redirected(job, host, frame)

    def no_memory(self, host: str, frame: frames.Data, memory: int) -> None:
        """Let a dataset of another host wait for memory, because shared memory is full. memory: the bytes that the arena has."""
        job = self._jobs.get(frame.job)
        entry = job.entries.get(frame.dataset) if job is not None else None
        if entry is not None and entry.source == host and entry.claim is not None and entry.claim.who.host == host:
            self._memory.unbacked(entry, memory)

    def gone(self, host: str, frame: frames.Gone) -> None:
        """Note that another host does not have the datasets that it was asked for."""
        job = self._jobs.get(frame.job)
        if job is None or job.ended:
            return
        for dataset in frame.datasets:
            entry = job.entries.get(dataset)
            if entry is not None and entry.source == host and not entry.here and not self.sources.failover.gone(host, entry):
                self.sources.ask_nobody(job, entry)
                job.report.gone(dataset)
