"""Claims on memory: they wait in plan order, and are granted as memory becomes free.

claim ---> granted ---------------------------------> written, see `grants`
|           |
|           +---> shared memory is full: the claim waits again
+---> waits: until runners and peers release memory, or datasets go to disk
+---> refused: it does not fit, even above the capacity
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from headrace.link import frames
from headrace.runner import protocol
from headrace.runner.protocol import NEVER, NO_ROOM_YET
from headrace.worker.agent.actions import Action, ToHost, ToRunner
from headrace.worker.agent.grants import Grants
from headrace.worker.agent.jobs import Entry, HostJob
from headrace.worker.agent.serving import LINK
from headrace.worker.agent.shortage import Shortage
from headrace.worker.agent.slots import RunnerSlot
from headrace.worker.agent.spilling import DISK, Spilling
from headrace.worker.settings import Settings
from headrace_shm import Block, Store
from headrace_shm.errors import TooLarge

CLAIMS_AHEAD = 16
"""The number of waiting claims for which datasets are moved to disk at a time."""


@dataclass(frozen=True)
class Claimant:
    """A runner (slot >= 0) that claims memory for a result of a segment, or this host, which claims it for a dataset of another host."""

    slot: int = -1
    generation: int = 0
    segment: int = -1
    host: str = ""
    disk: bool = False
    """Whether the claim is for a dataset to read back from disk."""

    @property
    def writer(self) -> tuple[object, ...]:
        """The claimant's name as a writer, in the store's books."""
        if self.disk:
            return DISK
        return ("runner", self.slot, self.generation) if self.slot >= 0 else LINK


@dataclass(order=True)
class Claim:
    """A claim on memory, in plan order."""

    order: int
    turn: int
    job: HostJob = field(compare=False)
    dataset: int = field(compare=False)
    nbytes: int = field(compare=False)
    who: Claimant = field(compare=False)
    told: bool = field(compare=False, default=False)
    """Whether the runner knows that it has to wait."""
    last: bool = field(compare=False, default=False)
    """Whether it was granted above the capacity, because nothing else could go on."""


class Memory:
    """The store, the disk, and the claims on memory. Appends actions to the list it was given."""

    def __init__(self, store: Store[int], actions: list[Action], disk: Spilling, grants: Grants, settings: Settings) -> None:
        self.store = store
        self.disk = disk
        self.grants = grants
        self.shortage = Shortage(store, disk, settings.memory_pause_seconds)
        self._actions = actions
        self._pressure = settings.pressure_share
        self._claims: list[Claim] = []
        self._turn = 0
        self._now = 0.0
        self.refused: list[Claim] = []
        """Claims for datasets of other hosts, or from disk, that can never be granted."""
        self.trimmed: list[tuple[int, int]] = []
        """Memory to release since the last `trim`: offsets and lengths in the arena."""

    # --- state ------------------------------------------------------------------------------------------------------

    @property
    def pressed(self) -> bool:
        """Whether memory is short: claims wait, or the store is nearly full and nothing can go to disk."""
        return bool(self._claims) or (self.store.used > self._pressure * self.store.capacity and not self.disk.enabled)

    @property
    def first_claim(self) -> int | None:
        """The plan order of the earliest waiting claim; None if none waits."""
        return self._claims[0].order if self._claims else None

    def claims_for(self, slot: int, segment: int) -> bool:
        """Return whether a result of a runner's segment waits for memory."""
        return any(claim.who.slot == slot and claim.who.segment == segment for claim in self._claims)

    def claims_of(self, job: HostJob, dataset: int) -> bool:
        """Return whether a dataset waits for memory."""
        return any(claim.job is job and claim.dataset == dataset for claim in self._claims)

    @property
    def n_claims(self) -> int:
        """The number of waiting claims."""
        return len(self._claims)

    def trouble(self) -> list[str]:
        """Return what does not work at present, in words."""
        disk, short = self.disk, self.shortage.short
        found = [f"nothing is moved to disk for a while: {disk.trouble}"] if disk.spills and not disk.enabled else []
        if short is not None:
            found.append(
                f"the folder of shared memory is full with {short:,} bytes of this host in it. Enlarge it, or lower HEADRACE_CAPACITY"
            )
        return found

    # --- claims -------------------------------------------------------------------------------------------------------

    def clock(self, now: float) -> None:
        """Take in the time, by the clock of `Agent.tick`."""
        self._now = self.disk.now = now
        if self.shortage.short is not None:
            self.shortage.tick(now)

    def trim(self, target: int) -> None:
        """Set `trimmed` to the free memory to release, so that the arena keeps at most `target` bytes."""
        self.trimmed = self.store.trim(target)

    def claim(self, claim: Claim) -> bool:
        """Add a claim on memory. Return whether it was granted at once.

        A runner gets an answer in any case: the grant, or word that it has to wait.
        """
        claim.turn = self._turn = self._turn + 1
        if not self._claims and self._grant(claim):
            return True
        heapq.heappush(self._claims, claim)
        if claim.who.disk:
            return False
        if claim.who.slot < 0:
            claim.job.entry(claim.dataset).offered = claim.who.host
        else:
            claim.told = True
            self._actions.append(ToRunner(claim.who.slot, protocol.Grant(claim.job.number, claim.dataset, 0, NO_ROOM_YET)))
        return False

    def grant_slab(self, runner: RunnerSlot, nbytes: int) -> None:
        """Answer a runner that asks for memory for an array. The answer is no while claims wait."""
        grant = self.grants.slabs.grant(runner.client, nbytes) if not self._claims else protocol.GrantSlab(0, NEVER, 0)
        self._actions.append(ToRunner(runner.slot, grant))

    def unbacked(self, entry: Entry, memory: int, read: str = "") -> bool:
        """Let a dataset wait for memory again, because shared memory is full. Refuse its claim if that was granted above the capacity.

        read: the dataset's key on disk, if it was to be read back. Return whether the runner must still be told to wait.
        """
        self.shortage.found(memory, self._now)
        claim, entry.claim = entry.claim, None
        if read:
            if self.disk.unread(read) is None:
                return False
        elif entry.granted is not None and claim is not None:
            if entry.granted.writer == LINK:
                self.grants.take_back(claim.job, entry)
            else:
                self.store.abort(entry.granted.id)
                entry.granted = None
        if claim is None:
            return False
        if claim.last:
            self._refuse(claim)
            return False
        claim.turn = self._turn = self._turn + 1
        told, claim.told = claim.told, True
        heapq.heappush(self._claims, claim)
        return claim.who.slot >= 0 and not told

    def drop_claims(self, slot: int) -> None:
        """Drop the claims of a runner that is gone."""
        self._claims = [claim for claim in self._claims if claim.who.slot != slot]
        heapq.heapify(self._claims)

    def drop_offers(self, host: str) -> None:
        """Drop the claims for a host's offers, because the link to the host is gone."""
        claims, self._claims = self._claims, []
        for claim in claims:
            _dealt_with(claim) if claim.who.host == host else self._claims.append(claim)
        heapq.heapify(self._claims)

    def drop_job(self, job: HostJob) -> None:
        """Drop the claims of a job that is over, except those for reading its outputs back from disk."""
        if self._claims:
            self._claims = [claim for claim in self._claims if claim.job is not job or (claim.who.disk and claim.dataset in job.entries)]
            heapq.heapify(self._claims)

    def forget_claims(self) -> None:
        """Forget all claims, and all segments that wait for the disk."""
        self.disk.parked.clear()
        self.refused.clear()
        self._claims.clear()

    def bring_back(self, job: HostJob, entry: Entry, order: int) -> None:
        """Claim memory to read a dataset back from disk. If a claim waits already, move it to the earlier place in the plan.

        Otherwise later segments would take the memory that an earlier segment needs, again and again.
        """
        if not entry.restoring:
            entry.restoring = True
            self.claim(Claim(order, 0, job, entry.dataset, entry.nbytes, Claimant(disk=True)))
            return
        for claim in self._claims:
            if claim.who.disk and claim.dataset == entry.dataset and claim.job is job and claim.order > order:
                claim.order = order
                heapq.heapify(self._claims)
                return

    # --- grants -------------------------------------------------------------------------------------------------------

    def settle(self) -> list[Claim]:
        """Grant the claims for which there is memory, in plan order. Return those that no longer wait."""
        settled: list[Claim] = []
        if not self._claims and not self.disk.resident:
            return settled
        while self._claims and self._grant(self._claims[0]):
            settled.append(_dealt_with(heapq.heappop(self._claims)))
        wanted = sum(claim.nbytes for claim in self._claims[:CLAIMS_AHEAD])
        self.disk.make_room(wanted)
        if self._claims and not self.disk.busy:
            self.disk.relax()
            self.disk.make_room(wanted)
        return settled

    def overcommit(self, count: int) -> list[Claim]:
        """Grant up to `count` claims above the capacity, in plan order, because nothing else can go on. Return those that no longer wait.

        If there is no address space for any of them, the first one is refused. A claim for reading from disk is the last one to be granted,
        because the task that needs the dataset may free memory.
        """
        settled: list[Claim] = []
        unmet: list[Claim] = []
        while self._claims and len(settled) < count and not (settled and settled[-1].who.disk):
            claim = heapq.heappop(self._claims)
            (settled if self._grant(claim, overcommit=True) else unmet).append(claim)
        if unmet and not settled:
            settled.append(unmet.pop(0))
            self._refuse(settled[0])
        self._claims += unmet
        heapq.heapify(self._claims)
        return [_dealt_with(claim) for claim in settled]

    def _grant(self, claim: Claim, overcommit: bool = False) -> bool:
        """Try to grant a claim. Return whether it no longer waits: it was granted or refused, or is not needed any more."""
        if claim.who.slot < 0 and claim.dataset not in claim.job.entries:
            return True
        entry = claim.job.entry(claim.dataset)
        if claim.who.disk and not entry.restoring:
            return True
        if claim.who.slot < 0 and not claim.who.disk and (entry.here or entry.granted or entry.source != claim.who.host):
            return True
        try:
            block = self.store.allocate(self._next_key(), claim.nbytes, claim.who.writer, overcommit=overcommit)
        except TooLarge:
            if self.shortage.may_fit(claim.nbytes) and not overcommit:
                return False
            self._refuse(claim)
            return True
        if block is None:
            return False
        entry.claim, claim.last = claim, overcommit
        if claim.who.disk:
            self.disk.read(entry, block)
            return True
        self.grants.take_back(claim.job, entry)
        entry.granted = block
        self._say_granted(claim, block)
        return True

    def _next_key(self) -> int:
        self._turn += 1
        return self._turn

    def _say_granted(self, claim: Claim, block: Block[int]) -> None:
        if claim.who.slot >= 0:
            self._actions.append(ToRunner(claim.who.slot, protocol.Grant(claim.job.number, claim.dataset, block.id, block.offset)))
        else:
            self.grants.transfers += 1
            self._actions.append(ToHost(claim.who.host, frames.Grant(claim.job.name, [claim.dataset])))

    def _refuse(self, claim: Claim) -> None:
        if claim.who.slot >= 0:
            why = self.shortage.in_words(f"a result of {claim.nbytes:,} bytes", claim.nbytes)
            self._actions.append(ToRunner(claim.who.slot, protocol.Grant(claim.job.number, claim.dataset, 0, NEVER, why)))
            return
        if claim.who.disk:
            claim.job.entry(claim.dataset).restoring = False
        self.refused.append(claim)


def _dealt_with(claim: Claim) -> Claim:
    """Forget that an offer's claim waits, so that another offer of its dataset may claim memory. Return the claim."""
    entry = claim.job.entries.get(claim.dataset)
    if entry is not None and entry.offered == claim.who.host:
        entry.offered = ""
    return claim
