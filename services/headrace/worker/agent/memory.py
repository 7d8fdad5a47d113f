"""Who may have memory for a dataset: claims wait in plan order, and are granted as memory becomes free.

claim ---> granted ---------------------------------> written, see `grants`
|           |
|           +---> no memory behind it: the claim waits again
+---> waits: for what runners and peers let go of, and for what goes to disk
+---> refused: it does not even fit above the capacity
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from headrace.link import frames
from headrace.runner import protocol
from headrace.runner.protocol import NEVER, NO_ROOM_YET
from headrace.worker.agent.actions import Action, ToHost, ToRunner
from headrace.worker.agent.disk import DISK, Disk
from headrace.worker.agent.grants import Grants
from headrace.worker.agent.jobs import Entry, HostJob
from headrace.worker.agent.serving import LINK
from headrace.worker.agent.shortage import Shortage
from headrace.worker.agent.slots import RunnerSlot
from headrace.worker.settings import Settings
from headrace_shm import Block, Store
from headrace_shm.errors import TooLarge

CLAIMS_AHEAD = 16
"""Room is made for so many claims at a time."""


@dataclass(frozen=True)
class Claimant:
    """Who waits for memory: a runner (slot >= 0) with a result of a segment, or this host for an offer of another one."""

    slot: int = -1
    generation: int = 0
    segment: int = -1
    host: str = ""
    disk: bool = False
    """Whether it is for what is to come back from disk."""

    @property
    def writer(self) -> tuple[object, ...]:
        """Its name in the store's books."""
        if self.disk:
            return DISK
        return ("runner", self.slot, self.generation) if self.slot >= 0 else LINK


@dataclass(order=True)
class Claim:
    """A wait for memory, in plan order."""

    order: int
    turn: int
    job: HostJob = field(compare=False)
    dataset: int = field(compare=False)
    nbytes: int = field(compare=False)
    who: Claimant = field(compare=False)
    told: bool = field(compare=False, default=False)
    """Whether its runner knows that it has to wait."""
    last: bool = field(compare=False, default=False)
    """Whether it was granted above the capacity, since nothing else could go on."""


class Memory:
    """The store, the disk, and the claims on memory. Appends actions to the list it was given."""

    def __init__(self, store: Store[int], actions: list[Action], disk: Disk, grants: Grants, settings: Settings) -> None:
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
        """Claims of datasets of other hosts, or from disk, that can never be granted."""
        self.trimmed: list[tuple[int, int]] = []
        """Memory that is to be given back since the last `trim`: offsets and lengths in the arena."""

    # --- what is asked ----------------------------------------------------------------------------------------------

    @property
    def pressed(self) -> bool:
        """Whether memory is short, and cannot be had from the disk's side."""
        return bool(self._claims) or (self.store.used > self._pressure * self.store.capacity and not self.disk.enabled)

    @property
    def first_claim(self) -> int | None:
        """Plan order of the earliest that waits for memory."""
        return self._claims[0].order if self._claims else None

    def claims_for(self, slot: int, segment: int) -> bool:
        """Whether a result of a segment, at a runner, waits for memory."""
        return any(claim.who.slot == slot and claim.who.segment == segment for claim in self._claims)

    def claims_of(self, job: HostJob, dataset: int) -> bool:
        """Whether a dataset waits for memory."""
        return any(claim.job is job and claim.dataset == dataset for claim in self._claims)

    @property
    def n_claims(self) -> int:
        """How many wait for memory."""
        return len(self._claims)

    def trouble(self) -> list[str]:
        """For people: what does not work just now."""
        disk, short = self.disk, self.shortage.short
        found = [f"nothing is moved to disk for a while: {disk.trouble}"] if disk.spills and not disk.enabled else []
        if short is not None:
            found.append(f"the folder of shared memory is full with {short:,} bytes of this host: enlarge it, or lower HEADRACE_CAPACITY")
        return found

    # --- claims -------------------------------------------------------------------------------------------------------

    def clock(self, now: float) -> None:
        """What time it is, by the clock of `Agent.tick`."""
        self._now = self.disk.now = now
        if self.shortage.short is not None:
            self.shortage.tick(now)

    def trim(self, target: int) -> None:
        """Choose free memory to give back, so that the arena has `target` bytes at most: `trimmed` says which."""
        self.trimmed = self.store.trim(target)

    def claim(self, claim: Claim) -> bool:
        """Ask for memory; the grant goes out now (True) or when there is some. A runner is always answered at once."""
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
        """Answer a runner that wants room for an array. Who waits for memory goes first."""
        grant = self.grants.slabs.grant(runner.client, nbytes) if not self._claims else protocol.GrantSlab(0, NEVER, 0)
        self._actions.append(ToRunner(runner.slot, grant))

    def unbacked(self, entry: Entry, memory: int, read: str = "") -> bool:
        """There is no memory behind the room that a dataset was granted. It waits again, or is refused if it went above the capacity
        already. read: its key, if it was to be read from disk. Returns whether its runner is still to be told to wait."""
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
        """The runner in a slot is gone, and so are the results that waited there."""
        self._claims = [claim for claim in self._claims if claim.who.slot != slot]
        heapq.heapify(self._claims)

    def drop_offers(self, host: str) -> None:
        """The link to a host is gone, and so are its offers."""
        claims, self._claims = self._claims, []
        for claim in claims:
            _dealt_with(claim) if claim.who.host == host else self._claims.append(claim)
        heapq.heapify(self._claims)

    def drop_job(self, job: HostJob) -> None:
        """A job is over. Only what its outputs claim, to come back from disk, is still wanted."""
        if self._claims:
            self._claims = [claim for claim in self._claims if claim.job is not job or (claim.who.disk and claim.dataset in job.entries)]
            heapq.heapify(self._claims)

    def forget_claims(self) -> None:
        """Nobody waits for memory, or for the disk, any more."""
        self.disk.parked.clear()
        self.refused.clear()
        self._claims.clear()

    def bring_back(self, job: HostJob, entry: Entry, order: int) -> None:
        """Claim memory for a dataset on disk. If it waits already, it waits for the earlier place in the plan: otherwise others would take
        the room that an earlier segment needs, again and again."""
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
        """Grant what there is room for, in plan order. Returns what was granted."""
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
        """Nothing can go on: grant up to `count` claims above the capacity, the first first. Returns those dealt with.

        Only if there is address space for none of them, the first is refused. A dataset comes back from disk alone: its task may free more.
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
        """Whether the claim is dealt with: granted, refused for good, or not needed any more."""
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
    """The claim does not wait any more; another offer of its dataset may."""
    entry = claim.job.entries.get(claim.dataset)
    if entry is not None and entry.offered == claim.who.host:
        entry.offered = ""
    return claim
