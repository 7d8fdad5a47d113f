"""The datasets of a host: what is here, what is awaited, who waits, and who may have memory for a new one."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field

from headrace.link import frames
from headrace.runner import protocol
from headrace.runner.protocol import NEVER, NO_ROOM_YET
from headrace.worker.agent.actions import Action, ToHost, ToPeer, ToRunner
from headrace.worker.agent.cut_through import CutThrough, Taker
from headrace.worker.agent.disk import DISK, Disk
from headrace.worker.agent.jobs import Entry, HostJob, Segment
from headrace.worker.agent.outgoing import Outgoing
from headrace.worker.agent.relays import Broadcast, Relays
from headrace.worker.agent.sends import Sends
from headrace.worker.agent.shortage import Shortage
from headrace.worker.agent.slabs import Slabs
from headrace.worker.agent.slots import RunnerSlot
from headrace.worker.settings import Settings
from headrace_shm import Block, Store
from headrace_shm.errors import TooLarge

CLAIMS_AHEAD = 16
"""Room is made for so many claims at a time."""
LINK = ("link",)
"""Writer of what comes from other hosts, in the store's books."""


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


class Stock:
    """Entries of all jobs, the store's books, and the claims on memory. Appends actions to the list it was given."""

    def __init__(self, store: Store[int], actions: list[Action], spills: bool, settings: Settings) -> None:
        self.store = store
        self.disk = Disk(store, actions, spills, settings)
        self.shortage = Shortage(store, self.disk, settings.memory_pause_seconds)
        self.relays = Relays(settings)
        self.cut_through = CutThrough(store, actions, settings.piece_bytes)
        self.slabs = Slabs(store)
        self.outgoing = Outgoing(actions)
        self.sending = Sends(store, actions, self.outgoing, settings)
        self._actions = actions
        self._pressure = settings.pressure_share
        self._most_parked = settings.parked_segments
        self._claims: list[Claim] = []
        self._turn = 0
        self._now = 0.0
        self.progress = 0
        """Counts what changed for claims to be looked at again."""
        self.transfers = 0
        """Datasets granted to other hosts and not here yet."""
        self.refused: list[Claim] = []
        """Claims of datasets of other hosts, or from disk, that can never be granted."""
        self._orphans: dict[Hashable, dict[int, int]] = {}
        """Blocks whose datasets are not wanted any more, but to which a runner may still write: by runner, with the job's number."""
        self._arriving: dict[str, tuple[Entry, Block[int]]] = {}
        """Blocks that a link writes to right now, and what for, by the host at its other end: not to be given to anyone else meanwhile."""

    # --- arrivals ---------------------------------------------------------------------------------------------------

    def values(self, job: HostJob, values: Mapping[int, bytes], attempts: Mapping[int, int], made: bool = False) -> list[Segment]:
        """Small datasets are here; `attempts` is empty if all are 0. Returns the segments that miss nothing any more.

        made: whether they were made here. Then this host keeps them for the others, also if it has asked another host for them before.
        """
        entries = job.entries
        ready: list[Segment] = []
        for dataset, value in values.items():
            entry = entries.get(dataset)
            if entry is None:
                entry = entries[dataset] = Entry(dataset)
            else:
                if made:
                    entry.source = ""
                if entry.value is not None or entry.block is not None or entry.spill_key:
                    continue
            entry.value = value
            if attempts:
                entry.attempt = attempts[dataset]
            if entry.wanted_by:
                self._serve_waiting(job, entry)
            if entry.waiters:
                ready += self._woken(entry)
        job.dropped.difference_update(values)
        return ready

    def made(self, job: HostJob, dataset: int, block_id: int, runner: RunnerSlot) -> Block[int] | None:
        """What a runner says to have written a dataset to: a slab of its, or the room that it was granted. None if it has that no more."""
        slab = self.slabs.take(runner.client, block_id)
        if slab is not None:
            return slab
        entry = job.entries.get(dataset)
        room = entry.granted if entry is not None else None
        return room if room is not None and room.id == block_id and room.writer == runner.client else None

    def stored(self, job: HostJob, dataset: int, attempt: int, block: Block[int]) -> list[Segment]:
        """All of a large dataset is in a block. Returns the segments that miss nothing any more."""
        entry = job.entry(dataset)
        if entry.granted is block:
            entry.granted = entry.claim = None
            self.transfers -= block.writer == LINK
        self.store.seal(block.key)
        if entry.here:  # another attempt was first
            self.store.purge(block.key)
            self._not_passed_on(job, entry, block)
            return []
        entry.block = block
        entry.nbytes = block.nbytes
        self.progress += 1
        self.disk.add(job, entry)
        self.cut_through.filled(block, block.nbytes)
        return self._arrived(job, entry, attempt)

    def _not_passed_on(self, job: HostJob, entry: Entry, block: Block[int]) -> None:
        """Who takes a block that is still being filled will not have the rest of it."""
        for peer in self.cut_through.give_up(block):
            self.outgoing.gone(peer, job.name, entry.dataset)

    def _arrived(self, job: HostJob, entry: Entry, attempt: int) -> list[Segment]:
        entry.attempt = attempt
        job.dropped.discard(entry.dataset)
        self._serve_waiting(job, entry)
        return self._woken(entry)

    def _serve_waiting(self, job: HostJob, entry: Entry) -> None:
        peers, entry.wanted_by = entry.wanted_by, ()
        for peer in peers:
            self._serve(job, entry, peer)

    def _woken(self, entry: Entry) -> list[Segment]:
        """The segments that waited for a dataset only."""
        waiters, entry.waiters = entry.waiters, ()
        ready = []
        for segment in waiters:
            segment.missing -= 1
            if not segment.missing:
                ready.append(segment)
        if self.disk.parked:
            self.disk.parked.difference_update(ready)
        return ready

    def restored(self, key: str, ok: bool) -> list[Segment]:
        """A dataset was read from disk. Returns the segments that miss nothing any more."""
        self.progress += 1
        held = self.disk.restored(key)
        if held is None:
            return []
        job, entry = held
        entry.claim = None
        if not ok:
            self._lose(job, entry)
            return []
        self.disk.add(job, entry)
        return self._woken(entry)

    def spilled(self, key: str, ok: bool, trouble: str = "") -> None:
        """A dataset was written to disk, or could not be."""
        self.progress += 1
        self.disk.spilled(key, ok, trouble)

    def clock(self, now: float) -> None:
        """What time it is, by the clock of `Agent.tick`."""
        self._now = self.disk.now = now
        if self.shortage.short is not None:
            self.shortage.tick(now)

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
                self.take_back(claim.job, entry)
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

    def prepare(self, segment: Segment) -> bool:
        """Whether a segment's inputs are in memory, to stay there until it has ended. If some are on disk, they are brought back, and it is
        ready again then."""
        if self.disk.unused:
            return True
        if self.disk.empty or all(entry.spill_key == "" or entry.block is not None for entry in segment.entries):
            self.disk.pin(segment)
            return True
        for entry in self.disk.park(segment):
            segment.missing += 1
            entry.wait(segment)
            self._bring_back(segment.chain.job, entry, segment.chain.order)
        return False

    def unpin(self, segments: Iterable[Segment]) -> None:
        """Segments are not about to run any more."""
        for segment in segments:
            self.disk.unpin(segment)

    def _lose(self, job: HostJob, entry: Entry) -> None:
        """What was on disk cannot be had: whoever waits for it is told, and it is made again."""
        self.disk.forget(entry)
        if entry.block is not None:
            self.store.purge(entry.block.key)
            entry.block = None
        entry.restoring = False
        for segment in entry.waiters:  # they do not wait for the disk any more, and keep nobody from waiting for it
            self.disk.unpin(segment)
        self.sending.unreadable(entry)
        job.report.gone(entry.dataset)
        if job.ended:  # nobody makes it again
            del job.entries[entry.dataset]
            job.dropped.add(entry.dataset)

    def unreadable(self, key: str) -> None:
        """What is on disk under a key cannot be read."""
        held = self.disk.found(key)
        if held is not None:
            self._lose(*held)

    def may_park(self) -> bool:
        """Whether one more segment may wait for inputs from disk."""
        return len(self.disk.parked) < self._most_parked

    def _bring_back(self, job: HostJob, entry: Entry, order: int) -> None:
        if not entry.restoring:
            entry.restoring = True
            self.claim(Claim(order, 0, job, entry.dataset, entry.nbytes, Claimant(disk=True)))
            return
        for claim in self._claims:
            if claim.who.disk and claim.dataset == entry.dataset and claim.job is job and claim.order > order:
                claim.order = order  # an earlier segment waits for it, too: others would take the room that it needs, again and again
                heapq.heapify(self._claims)
                return

    def dispatched(self, segments: Iterable[Segment]) -> None:
        """Segments are at their runner, which holds their inputs."""
        for segment in segments:
            if segment.pinned:
                self.disk.unpin(segment)

    # --- uses -------------------------------------------------------------------------------------------------------

    def use(self, job: HostJob, segments: Iterable[Segment]) -> None:
        """Segments take their inputs: count them as used, and as missing where they are not here."""
        entries = job.entries
        for segment in segments:
            if not segment.inputs:
                continue
            segment.entries = [entries[dataset] if dataset in entries else job.entry(dataset) for dataset in segment.inputs]
            for entry in segment.entries:
                entry.uses += 1
                if entry.value is None and entry.block is None and not entry.spill_key:
                    segment.missing += 1
                    entry.wait(segment)
                    if not entry.source and entry.dataset in job.dropped:
                        job.report.gone(entry.dataset)  # it was thought to be here, by who had not read that it was purged

    def unuse(self, job: HostJob, segments: Iterable[Segment]) -> None:
        """Segments are over. A small copy of another host's dataset goes with its last use."""
        for segment in segments:
            if segment.pinned or self.disk.parked:
                self.disk.unpin(segment)
            for entry in segment.entries:
                entry.uses -= 1
                if entry.uses:
                    continue
                if entry.block is not None:
                    job.report.frees_memory()
                elif entry.source and entry.value is not None and not entry.wanted_by:
                    del job.entries[entry.dataset]

    def purge(self, job: HostJob, datasets: Iterable[int]) -> list[int]:
        """Drop datasets' copies. Returns those that something here still needs."""
        kept, dropped = [], []
        for dataset in datasets:
            entry = job.entries.get(dataset)
            if entry is None:
                continue
            if entry.uses or entry.wanted_by or entry.sending or entry.owed:
                kept.append(dataset)
                continue
            self._discard(job, entry)
            del job.entries[dataset]
            dropped.append(dataset)
        job.dropped.update(dropped)
        return kept

    def _discard(self, job: HostJob, entry: Entry) -> None:
        if entry.value is not None and entry.granted is None:
            return
        self.disk.forget(entry)
        if entry.block is not None:
            self.store.purge(entry.block.key)
            self.progress += 1
        self.take_back(job, entry)

    def take_back(self, job: HostJob, entry: Entry) -> None:
        """The room that a dataset was granted is not needed; it is free once nobody can be writing to it any more."""
        block, entry.granted, entry.filled = entry.granted, None, 0
        if block is None:
            return
        if block.writer != LINK:
            self.store.purge(block.key)
            self._orphans.setdefault(block.writer, {})[block.id] = job.number
            return
        self.transfers -= 1
        self._not_passed_on(job, entry, block)
        if not any(arriving is block for _, arriving in self._arriving.values()):
            self.store.abort(block.id)
            self.progress += 1

    def written(self, runner: RunnerSlot, block_id: int) -> None:
        """A runner is through with a block; if nobody wants it any more, it is free."""
        if self._orphans.get(runner.client, {}).pop(block_id, None) is not None:
            self.store.abort(block_id)
            self.progress += 1

    def drop_slabs(self, runner: RunnerSlot, values: Iterable[object]) -> None:
        """Results came for a job that is over: the slabs among them are free."""
        for value in values:
            if isinstance(value, int) and self.slabs.drop(runner.client, value):
                self.progress += 1

    def has_orphans(self, runner: RunnerSlot) -> bool:
        """Whether there is room that is free once the runner says that it does not write there."""
        return bool(self._orphans and self._orphans.get(runner.client))

    def closed(self, runner: RunnerSlot, job_number: int) -> None:
        """A runner writes nothing more for a job."""
        orphans = self._orphans.get(runner.client, {})
        for block_id in [block_id for block_id, number in orphans.items() if number == job_number]:
            self.written(runner, block_id)

    def runner_died(self, runner: RunnerSlot, entries: Iterable[Entry]) -> None:
        """A runner is gone: what it held and wrote is free, and results that waited there are lost. entries: all there are."""
        self.store.client_died(runner.client)
        for entry in entries:
            if entry.granted is not None and entry.granted.writer == runner.client:
                entry.granted = None
        self.slabs.runner_died(runner.client)
        self._orphans.pop(runner.client, None)
        self.drop_claims(runner.slot)
        self.progress += 1

    def arriving(self, host: str, entry: Entry | None, frame: frames.Data, nbytes: int) -> Block[int] | None:
        """The bytes of a dataset, or of a piece, begin to come from a host: the room that the dataset was granted, or None."""
        block = entry.granted if entry is not None else None
        if entry is None or block is None or block.writer != LINK or block.nbytes != (frame.size or nbytes):
            return None
        if frame.size and not self._continues(host, entry, frame, nbytes):
            return None
        self._arriving[host] = entry, block
        return block

    @staticmethod
    def _continues(host: str, entry: Entry, frame: frames.Data, nbytes: int) -> bool:
        """Whether a piece leaves no gap, and is of what is there already: then a piece that comes twice does no harm."""
        same = not entry.filled or frame.attempt == entry.attempt
        return same and entry.source == host and frame.start <= entry.filled and frame.start + nbytes <= frame.size

    def arrived(self, host: str) -> Block[int] | None:
        """The link to a host writes no more, for it is through or has ended. Returns the room that it wrote to; None if there was none, or
        if it is not needed any more: then it is free now."""
        entry, block = self._arriving.pop(host, (None, None))
        if entry is None or block is None or entry.granted is block:
            return block
        self.store.abort(block.id)
        self.progress += 1
        return None

    def fill(self, entry: Entry, block: Block[int], frame: frames.Data, nbytes: int) -> bool:
        """Bytes of a dataset have come into its room. Returns whether that were all."""
        entry.attempt, entry.filled = frame.attempt, max(entry.filled, frame.start + nbytes)
        if entry.filled < block.nbytes:
            self.cut_through.filled(block, entry.filled)
        return entry.filled == block.nbytes

    def drop_job(self, job: HostJob, keep_outputs: bool) -> None:
        """Drop what a job that is over has here, save outputs that the client may still come for: the small ones are in the log."""
        kept = {}
        for dataset, entry in job.entries.items():
            entry.waiters = ()
            if keep_outputs and (entry.block is not None or entry.spill_key) and job.is_held[dataset]:
                entry.uses = entry.pins = 0
                kept[dataset] = entry
            else:
                self._discard(job, entry)
        job.entries = kept
        if self.disk.parked:
            self.disk.parked = {segment for segment in self.disk.parked if segment.chain.job is not job}
        if self._claims:
            self._claims = [claim for claim in self._claims if claim.job is not job or (claim.who.disk and claim.dataset in kept)]
            heapq.heapify(self._claims)

    def begin_again(self, job: HostJob) -> None:
        """Keep what is here of a job, and nothing of what was to come; nobody here or elsewhere waits for it any more. A small copy of
        another host's dataset goes, too: nobody knows of it but the tasks that took it."""
        for entry in list(job.entries.values()):
            self.take_back(job, entry)
            entry.waiters, entry.wanted_by, entry.broadcast = (), (), None
            entry.uses = entry.pins = entry.owed = 0
            entry.asked, entry.offered, entry.restoring = False, "", self.disk.reads(entry)
            if not entry.here or (entry.source and entry.value is not None):
                self._discard(job, entry)
                del job.entries[entry.dataset]
            entry.source = ""

    def forget_claims(self) -> None:
        """Nobody waits for memory any more."""
        self.disk.parked.clear()
        self.refused.clear()
        self._claims.clear()

    def locate(self, entry: Entry, runner: RunnerSlot) -> protocol.Location:
        """Where a runner finds a dataset in the arena; its mapping is counted as held by it."""
        block = entry.block
        assert block is not None
        self.store.hold(block.key, runner.client)
        self.disk.touch(block)
        return (block.id, block.offset, block.nbytes)

    # --- memory -----------------------------------------------------------------------------------------------------

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
        grant = self.slabs.grant(runner.client, nbytes) if not self._claims else protocol.GrantSlab(0, NEVER, 0)
        self._actions.append(ToRunner(runner.slot, grant))

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
        self.take_back(claim.job, entry)
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
            self.transfers += 1
            self._actions.append(ToHost(claim.who.host, frames.Grant(claim.job.name, [claim.dataset])))

    def _refuse(self, claim: Claim) -> None:
        if claim.who.slot >= 0:
            why = self.shortage.in_words(f"a result of {claim.nbytes:,} bytes", claim.nbytes)
            self._actions.append(ToRunner(claim.who.slot, protocol.Grant(claim.job.number, claim.dataset, 0, NEVER, why)))
            return
        if claim.who.disk:
            claim.job.entry(claim.dataset).restoring = False
        self.refused.append(claim)

    def trouble(self) -> list[str]:
        """For people: what does not work just now."""
        disk, short = self.disk, self.shortage.short
        found = [f"nothing is moved to disk for a while: {disk.trouble}"] if disk.spills and not disk.enabled else []
        if short is not None:
            found.append(f"the folder of shared memory is full with {short:,} bytes of this host: enlarge it, or lower HEADRACE_CAPACITY")
        return found

    # --- peers ------------------------------------------------------------------------------------------------------

    def wanted(self, job: HostJob, dataset: int, peer: int) -> None:
        """A peer asks for a dataset: it is sent or offered now, or when it exists."""
        unknown = dataset >= len(job.producer)
        if unknown or dataset in job.dropped or (job.ended and dataset not in job.entries):
            self.outgoing.gone(peer, job.name, dataset)
            return
        entry = job.entry(dataset)
        if entry.here:
            self._serve(job, entry, peer)
        elif peer not in entry.wanted_by:
            entry.wanted_by = [*entry.wanted_by, peer]

    def granted(self, job: HostJob, dataset: int, peer: int, start: int | None = None) -> None:
        """A peer has room for a dataset: send the block, or say who else does. start: the first byte that it does not have, if it was told
        to have the dataset from a relay, which may be this host; so it may still be on its way here."""
        entry = job.entries.get(dataset)
        on_disk = entry is not None and entry.block is None and entry.spill_key != ""
        room = entry.block or entry.granted if entry is not None else None
        if entry is None or (not on_disk and (room is None or (entry.block is None and (start is None or room.writer != LINK)))):
            self.outgoing.gone(peer, job.name, dataset)
        elif entry.broadcast is not None and self._relayed(job, entry, entry.broadcast, peer, start):
            pass
        elif on_disk or room is None:
            self.sending.grant(peer, job, entry, start if start is not None and start < entry.nbytes else 0)
        elif start is not None or (entry.broadcast is not None and entry.broadcast.several and self.relays.is_host(peer)):
            taker = Taker(job.name, entry, room, start if start is not None and start < room.nbytes else 0)
            self.cut_through.begin(peer, taker, room.nbytes if entry.block is not None else entry.filled)
        elif not self.cut_through.takes(peer, room.id):
            self.sending.grant(peer, job, entry)

    def _relayed(self, job: HostJob, entry: Entry, broadcast: Broadcast, peer: int, start: int | None) -> bool:
        """Whether a peer is told to have a dataset from another host."""
        relay = self.relays.place(broadcast, peer, entry.sending)
        if relay is None or start is not None:
            return False
        depth = broadcast.depth(peer)
        self._actions.append(ToPeer(peer, frames.Relay(job.name, entry.dataset, relay.host, relay.address, relay.epoch, depth)))
        return True

    def _serve(self, job: HostJob, entry: Entry, peer: int) -> None:
        if entry.value is not None:
            self.outgoing.value(peer, job.name, entry.dataset, entry.attempt, entry.value)
        else:
            entry.broadcast = self.relays.asked(entry.broadcast, peer, entry.nbytes)
            self.outgoing.offer(peer, job.name, entry.dataset, entry.attempt, entry.nbytes)


def _dealt_with(claim: Claim) -> Claim:
    """The claim does not wait any more; another offer of its dataset may."""
    entry = claim.job.entries.get(claim.dataset)
    if entry is not None and entry.offered == claim.who.host:
        entry.offered = ""
    return claim
