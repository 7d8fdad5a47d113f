"""A small world for the agent's state machine: several hosts, links and runners, all in memory, in whatever order a test draws.

Runners here follow the protocol of the real ones but compute with strings, so that a value names everything that went into it.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

from headrace.graph.topology import Topology
from headrace.link import frames
from headrace.runner import protocol
from headrace.runner.protocol import NEVER, NO_ROOM_YET
from headrace.worker.agent import actions
from headrace.worker.agent import events as ev
from headrace.worker.agent.rejoining import held, still_true
from headrace.worker.agent.relays import PeerHost
from headrace.worker.agent.state import Agent
from headrace.worker.settings import Settings
from headrace_schemas import Assign, Ended, Events, FunctionSpec, GraphSource, GraphSpec, JobOptions, Purge, SinkSpec, TaskError, Written
from headrace_schemas.streams import INLINE_VALUE_BYTES
from headrace_shm import Store
from tests.unit.worker_flags import check_flags

DiskWork = actions.Spill | actions.Restore | actions.SendSpilled | actions.Unspill
EPOCH = 7
JOB = "job"


def graph_of(inputs: list[list[int]], outputs: list[int]) -> GraphSpec:
    """A graph of single-output tasks: task t takes the datasets inputs[t]."""
    return GraphSpec(
        name="test",
        n_tasks=len(inputs),
        shape_hash="",
        content_hash="",
        functions=[FunctionSpec(name="f", module="m", qualname="f")],
        function=[0] * len(inputs),
        n_inputs=[len(row) for row in inputs],
        inputs=[dataset for row in inputs for dataset in row],
        outputs=outputs,
        blocks=[b""],
        block_size=len(inputs),
    )


def expected_value(inputs: list[list[int]], dataset: int, memo: dict[int, bytes]) -> bytes:
    """What a dataset must be."""
    if dataset not in memo:
        memo[dataset] = value_of(dataset, [expected_value(inputs, given, memo) for given in inputs[dataset]])
    return memo[dataset]


def value_of(dataset: int, inputs: list[bytes]) -> bytes:
    """A task's result; short, and different for different inputs."""
    return f"{dataset}:{hash(tuple(inputs)) & 0xFFFFFFFF}".encode()


def filling(value: bytes, nbytes: int) -> bytes:
    """What a block with this value in it looks like."""
    return ((value + b"|") * (nbytes // (len(value) + 1) + 1))[:nbytes]


def filled_with(block: bytes) -> bytes:
    """The value that a block has; whatever else is in it is a mistake."""
    value = block.partition(b"|")[0]
    assert block == filling(value, len(block)), "a block with something else in it than one value"
    return value


@dataclass
class ModelRunner:
    """Follows the runner's side of the protocol."""

    world: World
    host: str
    slot: int
    inbox: deque[protocol.ToRunner] = field(default_factory=deque)
    queue: deque[tuple[int, int, list[int], list[int], dict[int, protocol.Location]]] = field(default_factory=deque)
    numbers: deque[int] = field(default_factory=deque)
    """Of the segments in the queue."""
    kept: dict[int, bytes] = field(default_factory=dict)
    deferred: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    executed: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    job: int = -1
    begun: int = 0
    recall: int = 0
    """What agent and runner write on the status page."""
    recalled: int = 0
    about_to_begin: bool = False
    until: float = 0.0
    """When what it executes ends."""

    def step(self) -> None:
        """Take one frame, or write which segment is begun, or begin it, or end it."""
        if self.until:
            self.until = 0.0
            self.numbers.popleft()
            self._execute(*self.queue.popleft())
        elif self.inbox:
            self._take(self.inbox.popleft())
        elif self.queue and not self.about_to_begin:
            self.begun, self.about_to_begin = self.numbers[0], True
        elif self.queue and self.recall == self.recalled:
            self.about_to_begin = False
            self.until = self.world.now + sum(self.world.seconds.get(task, 0.0) for task in self.queue[0][2])

    @property
    def idle(self) -> bool:
        return not self.inbox and not self.queue

    @property
    def can_step(self) -> bool:
        if self.until:
            return self.until <= self.world.now
        return bool(self.inbox or (self.queue and (not self.about_to_begin or self.recall == self.recalled)))

    def _take(self, frame: protocol.ToRunner) -> None:
        if isinstance(frame, protocol.OpenJob):
            self.job = frame.job
        elif isinstance(frame, protocol.Run):
            self._enqueue(frame)
        elif isinstance(frame, protocol.Grant) and frame.dataset in self.deferred and frame.offset >= 0:
            segment, value = self.deferred.pop(frame.dataset)
            self._write(frame, value)
            self._send(protocol.Results(self.job, datasets=[frame.dataset], values=[frame.block], segments=[segment]))
        elif isinstance(frame, protocol.Grant) and frame.dataset in self.deferred and frame.offset == NEVER:
            segment, _ = self.deferred.pop(frame.dataset)
            self._fail(segment, frame.dataset)
        elif isinstance(frame, protocol.Recall):
            kept = [(n, item) for n, item in zip(self.numbers, self.queue, strict=True) if item[0] not in frame.segments]
            for item in self.queue:
                if item[0] in frame.segments:
                    self._let_go(item[4])
            self.numbers, self.queue = deque(n for n, _ in kept), deque(item for _, item in kept)
            self.recalled, self.about_to_begin = frame.number, False
        elif isinstance(frame, protocol.CloseJob):
            self.queue.clear()
            self.numbers.clear()
            self.about_to_begin = False
            self.deferred.clear()
            self.kept.clear()
            if not frame.quietly:
                self._send(protocol.Closed(frame.job))

    def _enqueue(self, frame: protocol.Run) -> None:
        task = given = 0
        for segment, chain, length, count in zip(frame.segments, frame.chains, frame.lengths, frame.counts, strict=True):
            located = dict(zip(frame.inputs[given : given + count], frame.locations[given : given + count], strict=True))
            self.queue.append((segment, chain, frame.tasks[task : task + length], frame.leaves[task : task + length], located))
            self.numbers.append(frame.first + frame.segments.index(segment))
            task, given = task + length, given + count

    def _execute(self, segment: int, chain: int, tasks: list[int], leaves: list[int], located: dict[int, protocol.Location]) -> None:
        world = self.world
        for task, leave in zip(tasks, leaves, strict=True):
            given = [self._read(located[d]) if d in located else self.kept.pop(d) for d in world.inputs[task]]
            value = value_of(task, given)
            self.executed.append(task)
            if world.sink is not None and task in world.graph.outputs:
                self._write_to_sink(task)
                if not any(task in row for row in world.inputs):
                    continue
            if leave == 0:
                self.kept[task] = value
            elif leave == 1 and task in world.large:
                if not self._put(segment, task, value):
                    self._fail(segment, task)
                    break
                continue
            elif leave == 1:
                self._send(protocol.Results(self.job, datasets=[task], values=[value]))
        self._let_go(located)
        if not set(tasks) & {*self.deferred, *self.refused}:
            self._send(
                protocol.Results(
                    self.job, segments=[segment], functions=[0], function_counts=[1], function_seconds=[1e-6], function_longest=[1e-6]
                )
            )

    def _write_to_sink(self, dataset: int) -> None:
        written = Written(dataset=dataset, write="1", part="p", location="l", bytes=1, checksum="sha256:0", encoding="npy")
        self._send(protocol.Results(self.job, written=[written]))

    def _let_go(self, located: dict[int, protocol.Location]) -> None:
        blocks = [place[0] for place in located.values() if not isinstance(place, bytes)]
        if blocks:
            self._send(protocol.Released(blocks, [1] * len(blocks)))

    def _read(self, place: protocol.Location) -> bytes:
        if isinstance(place, bytes):
            return place
        _, offset, nbytes = place
        return filled_with(bytes(self.world.memory[self.host][offset : offset + nbytes]))

    def _fail(self, segment: int, dataset: int) -> None:
        self.refused.append(dataset)
        error = TaskError(task=dataset, reason="too_large")
        self._send(protocol.Results(self.job, failed=[error], failed_segments=[segment]))

    def _put(self, segment: int, dataset: int, value: bytes) -> bool:
        """Store a value, or have it wait; False if it is refused."""
        if dataset in self.world.slabs and self._put_in_slab(dataset, value):
            return True
        self._send(protocol.Allocate(self.job, dataset, self.world.large[dataset], segment))
        self.world.deliver_to_runner(self.host)
        grant = next(f for f in self.inbox if isinstance(f, protocol.Grant) and f.dataset == dataset)
        self.inbox.remove(grant)
        if grant.offset == NO_ROOM_YET:
            self.deferred[dataset] = (segment, value)
        elif grant.offset != NEVER:
            self._write(grant, value)
            self._send(protocol.Results(self.job, datasets=[dataset], values=[grant.block]))
        return grant.offset != NEVER

    def _put_in_slab(self, dataset: int, value: bytes) -> bool:
        """Make a value where it is to stay, and a temporary beside it; False if there is no room."""
        slab, temporary = self._ask_slab(self.world.large[dataset]), self._ask_slab(self.world.large[dataset])
        if temporary is not None:
            self._send(protocol.Released([temporary.block], [1]))
        if slab is None:
            return False
        self._fill(slab.offset, dataset, value)
        self._send(protocol.Results(self.job, datasets=[dataset], values=[slab.block]))
        return True

    def _ask_slab(self, nbytes: int) -> protocol.GrantSlab | None:
        self._send(protocol.AllocateSlab(nbytes))
        self.world.deliver_to_runner(self.host)
        grant = next(f for f in self.inbox if isinstance(f, protocol.GrantSlab))
        self.inbox.remove(grant)
        return grant if grant.offset != NEVER else None

    def _write(self, grant: protocol.Grant, value: bytes) -> None:
        self._fill(grant.offset, grant.dataset, value)

    def _fill(self, offset: int, dataset: int, value: bytes) -> None:
        nbytes = self.world.large[dataset]
        self.world.memory[self.host][offset : offset + nbytes] = filling(value, nbytes)

    def _send(self, frame: protocol.ToAgent) -> None:
        self.world.agents[self.host].handle(ev.RunnerSent(self.slot, [frame]))


UNFAILING = actions.ToRunner, actions.SendSpilled, actions.Unspill, actions.DropPeer, actions.Disconnect, actions.Warn
"""Actions that do not fail in these worlds."""
SHORT = 0.004
"""Seconds that tasks are thought to take: three are sent to a runner."""
START = 1e6
"""When a world begins, by its hosts' clocks, which began to count long before."""


class World:
    """Hosts that execute one graph. `step` lets one thing happen."""

    def __init__(
        self,
        inputs: list[list[int]],
        outputs: list[int],
        large: dict[int, int],
        hosts: int,
        runners: int,
        capacity: int,
        spills: bool = False,
        part_chains: int = 256,
    ) -> None:
        self.inputs = inputs
        self.part_chains = part_chains
        self.large = {dataset: max(nbytes, INLINE_VALUE_BYTES + 1) for dataset, nbytes in large.items()}
        self.slabs: set[int] = set()
        """Datasets whose tasks make them in slabs where they can."""
        self.graph = graph_of(inputs, outputs)
        self.topology = Topology.from_spec(self.graph)
        self.names = [f"h{i}" for i in range(hosts)]
        self.epoch = EPOCH
        self.agents = {n: self.make_agent(self.settings(n, runners), Store(capacity, 8 * capacity), spills) for n in self.names}
        for index, (name, agent) in enumerate(self.agents.items()):
            agent.handle(ev.AddressKnown(f"{name}:1"))
            for other in self.agents.values():
                other.handle(ev.PeerCame(index, PeerHost(name, EPOCH, "")))
        self.memory = {n: bytearray(8 * capacity) for n in self.names}
        self.runners = {(n, slot): ModelRunner(self, n, slot) for n in self.names for slot in range(runners)}
        self.wires: dict[tuple[str, str, str], deque[tuple[frames.Frame, bytes]]] = {}
        self.connecting: list[tuple[str, str]] = []
        self.events: list[Events] = []
        self.disk: dict[tuple[str, str], bytes] = {}
        self.recalls: list[tuple[str, actions.Recall]] = []
        """Whose moment is not over."""
        self.seconds: dict[int, float] = {}
        """How long tasks take; others take no time."""
        self.disk_work: list[tuple[str, DiskWork]] = []
        self.now = START
        self.sink: SinkSpec | None = None
        """Where the outputs go, if to a sink."""
        self.warnings: list[str] = []
        """What hosts said that should not be."""
        self.faults: random.Random | None = None
        """Decides which actions fail; None if none does."""
        self.faults_left = 0
        """So many actions may fail yet."""
        self.ended = False
        for n, slot in self.runners:
            self.agents[n].handle(ev.RunnerStarted(slot))

    def make_agent(self, settings: Settings, store: Store[int], spills: bool) -> Agent:
        return Agent(settings, EPOCH, store, spills, START)

    def settings(self, host: str, runners: int) -> Settings:
        """Of a host: large datasets that several want go from host to host in some pieces. Runners get several tasks from the start."""
        return Settings(
            host=host, runners=runners, relay_bytes=15_000, piece_bytes=4_000, part_chains=self.part_chains, unknown_seconds=SHORT
        )

    # --- what a test does -------------------------------------------------------------------------------------------

    def assign(self, chains: list[list[int]], placed: list[int], ids: list[int], attempts: dict[int, int] | None = None) -> None:
        """Release chains to their hosts, one message a host, in the order given."""
        home = {task: placed[k] for k, chain in zip(ids, chains, strict=True) for task in chain} if len(placed) > len(chains) else {}
        home = home or {task: placed[i] for i, chain in enumerate(chains) for task in chain}
        for index, name in enumerate(self.names):
            mine = [(ids[i], chain) for i, chain in enumerate(chains) if placed[i] == index]
            if mine:
                self.agents[name].handle(ev.LogRead([self._assign(name, mine, home, attempts or {})]))

    def _assign(self, name: str, mine: list[tuple[int, list[int]]], home: dict[int, int], attempts: dict[int, int]) -> Assign:
        sources = [home[d] for _, chain in mine for t in chain for d in self.inputs[t] if d not in chain]
        return Assign(
            at=1, term=1, job=JOB, host=name, epoch=self.epoch, hosts=self.names, addresses=[f"{n}:1" for n in self.names],
            chains=[id for id, _ in mine], lengths=[len(chain) for _, chain in mine], tasks=[t for _, chain in mine for t in chain],
            attempts=[attempts.get(t, 0) for _, chain in mine for t in chain] if attempts else [], sources=sources,
            graph=GraphSource(inline=self.graph), options=JobOptions(sink=self.sink),
        )  # fmt: skip

    def purge(self, name: str, datasets: list[int]) -> None:
        self.agents[name].handle(ev.LogRead([Purge(at=1, term=1, job=JOB, host=name, epoch=self.epoch, datasets=datasets)]))

    def kill_runner(self, name: str, slot: int) -> None:
        """A runner dies over the next thing that it would execute, if there is any, and its result. Another one takes its place."""
        agent, runner, executed = self.agents[name], self.runners[name, slot], None
        if runner.queue:
            segment, _, (task, *_), (leaves, *_), _ = runner.queue[0]
            executed = (runner.job, task)
            if leaves == 1 and task in self.large:
                agent.handle(ev.RunnerSent(slot, [protocol.Allocate(runner.job, task, self.large[task], segment)]))
        self.pump()
        agent.handle(ev.RunnerDied(slot, executed, -9, 1))
        self.runners[name, slot] = ModelRunner(self, name, slot)
        agent.handle(ev.RunnerStarted(slot))

    def rejoin(self) -> list[Events]:
        """Every host loses its lease, ends its runners and links, and joins again. Returns what they say before they do."""
        self.epoch += 1
        self.wires.clear()
        self.recalls.clear()
        self.connecting.clear()
        told: list[Events] = []
        for name, work in [pair for pair in self.disk_work if isinstance(pair[1], actions.SendSpilled)]:
            self.disk_work.remove((name, work))
            self.agents[name].handle(ev.BytesSent(work.peer, work.frame, work.nbytes))
        for name, agent in self.agents.items():
            for index, other in enumerate(self.names):
                agent.handle(ev.HostUnreachable(other))
                agent.handle(ev.PeerLeft(index))
            facts = agent.all_reports()
            agent.handle(ev.Rejoined(self.epoch))
            for index, other in enumerate(self.names):
                agent.handle(ev.PeerCame(index, PeerHost(other, self.epoch, "")))
            told += held(agent.jobs.values(), name, self.epoch)
            told += [true for events in facts if (true := still_true(events, agent.jobs.get(events.job), self.epoch)) is not None]
        for name, slot in self.runners:
            self.runners[name, slot] = ModelRunner(self, name, slot)
            self.agents[name].handle(ev.RunnerStarted(slot))
        return told

    def end(self, state: str) -> None:
        self.ended = True
        for agent in self.agents.values():
            agent.handle(ev.LogRead([Ended(at=1, term=1, job=JOB, state=state)]))

    def choices(self) -> list[tuple[str, object]]:
        """What may happen next."""
        found: list[tuple[str, object]] = [("runner", key) for key, runner in self.runners.items() if runner.can_step]
        found += [("recall", recall) for recall in self.recalls]
        if any(runner.until > self.now for runner in self.runners.values()):
            found += [("time", (seconds,)) for seconds in (0.002, 0.02)]
        found += [("wire", key) for key, wire in self.wires.items() if wire]
        found += [("connect", pair) for pair in self.connecting]
        found += [("disk", work) for work in {name: (name, work) for name, work in reversed(self.disk_work)}.values()]
        found += [("log", (name,)) for name, agent in self.agents.items() if agent.intake.busy]
        return found

    def step(self, rng: random.Random) -> bool:
        """Let one thing happen; False if nothing can."""
        self.pump()
        choices = self.choices()
        if not choices:
            return False
        self.happen(*rng.choice(choices))
        self.pump()
        return True

    def happen(self, kind: str, what: object) -> None:
        """One of the choices."""
        if kind == "runner":
            self.runners[what].step()  # type: ignore[index]
        elif kind == "wire":
            self._deliver(what)  # type: ignore[arg-type]
        elif kind == "log":
            self.agents[what[0]].handle(ev.AssignmentResumed())  # type: ignore[index]
        elif kind == "recall":
            self.recalls.remove(what)  # type: ignore[arg-type]
            self._look_what_was_begun(*what)  # type: ignore[misc]
        elif kind == "time":
            self.pass_time(*what)  # type: ignore[misc]
        elif kind == "disk":
            self.disk_work.remove(what)  # type: ignore[arg-type]
            self._use_disk(*what)  # type: ignore[misc]
        else:
            self.connecting.remove(what)  # type: ignore[arg-type]
            self._connect(*what)  # type: ignore[misc]

    # --- plumbing ---------------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Carry out what every agent decides, until none decides anything more."""
        moved = True
        while moved:
            moved = False
            for name in self.names:
                moved |= self._pump_one(name)

    def deliver_to_runner(self, host: str) -> None:
        while self._pump_one(host):
            pass

    def _pump_one(self, name: str) -> bool:
        agent = self.agents[name]
        check_flags(agent)
        done = agent.take()
        check_flags(agent)
        for action in done:
            self._act(name, action)
        for report in agent.reports_due():
            self._act(name, report)
        return bool(done)

    def _act(self, name: str, action: actions.Action) -> None:
        setback = self._setback(name, action)
        if setback is not None:
            self.agents[name].handle(ev.ActionFailed(action, setback))
        elif isinstance(action, actions.Warn):
            self.warnings.append(action.text)
        elif isinstance(action, actions.Report):
            self.events.append(action.events)
        elif isinstance(action, actions.Disconnect):
            self._lose_link(name, action.host)
        elif isinstance(action, actions.DropPeer):
            self._lose_link(self.names[action.peer], name)
        elif isinstance(action, actions.KillRunner):
            self.kill_runner(name, action.slot)
        elif isinstance(action, actions.ToRunner):
            self.runners[name, action.slot].inbox.append(action.frame)
        elif isinstance(action, actions.Recall):
            self.runners[name, action.slot].recall = action.number
            self.recalls.append((name, action))
        elif isinstance(action, actions.Connect):
            self.connecting.append((name, action.host))
        elif isinstance(action, actions.ToHost):
            self._wire(name, action.host, "up").append((action.frame, b""))
        elif isinstance(action, actions.ToPeer):
            self._wire(name, self.names[action.peer], "down").append((action.frame, action.payload))
        elif isinstance(action, actions.SendBlock):
            data = bytes(self.memory[name][action.offset : action.offset + action.nbytes])
            self._wire(name, self.names[action.peer], "down").append((action.frame, data))
            self.agents[name].handle(ev.BytesSent(action.peer, action.frame, action.nbytes, action.block))

        elif isinstance(action, DiskWork):
            self.disk_work.append((name, action))

    def _setback(self, name: str, action: actions.Action) -> actions.Setback | None:
        """Why an action fails, if it does."""
        if self.faults is None or self.faults_left <= 0 or self.faults.random() > 0.3:
            return None
        memory = None
        if isinstance(action, actions.Restore) or (
            isinstance(action, actions.ToRunner) and isinstance(action.frame, protocol.Grant | protocol.GrantSlab)
        ):
            if isinstance(action, actions.ToRunner) and action.frame.offset < 0:  # type: ignore[union-attr]
                return None
            memory = self.agents[name].memory.store.used
        elif isinstance(
            action, actions.ToRunner | actions.SendSpilled | actions.Unspill | actions.DropPeer | actions.Disconnect | actions.Warn
        ):
            return None  # these lose tasks or datasets, or the world's own books
        self.faults_left -= 1
        return actions.Setback("a fault", memory, final=isinstance(action, actions.Report) and self.faults.random() < 0.5)

    def _connect(self, name: str, host: str) -> None:
        peer = self.names.index(name)
        self.agents[host].handle(ev.PeerCame(peer, PeerHost(name, self.epoch, "")))
        self.agents[name].handle(ev.HostConnected(host, self.epoch))

    def _lose_link(self, name: str, host: str) -> None:
        """The link that one host opened to another ends, with all that is on it."""
        self._wire(name, host, "up").clear()
        self._wire(host, name, "down").clear()
        self.agents[host].handle(ev.PeerLeft(self.names.index(name)))
        self.agents[name].handle(ev.HostUnreachable(host))

    def _use_disk(self, name: str, work: DiskWork) -> None:
        if isinstance(work, actions.Spill):
            self.disk[name, work.key] = bytes(self.memory[name][work.offset : work.offset + work.nbytes])
            self.agents[name].handle(ev.Spilled(work.key))
        elif isinstance(work, actions.SendSpilled):
            start, data = work.frame.start, self.disk[name, work.key]
            self._wire(name, self.names[work.peer], "down").append((work.frame, data[start : start + work.nbytes]))
            self.agents[name].handle(ev.BytesSent(work.peer, work.frame, work.nbytes))
        elif isinstance(work, actions.Unspill):
            self.disk.pop((name, work.key), None)
        else:
            self.memory[name][work.offset : work.offset + work.nbytes] = self.disk[name, work.key]
            self.agents[name].handle(ev.Restored(work.key))

    def _wire(self, sender: str, receiver: str, way: str) -> deque[tuple[frames.Frame, bytes]]:
        return self.wires.setdefault((sender, receiver, way), deque())

    def _deliver(self, key: tuple[str, str, str]) -> None:
        sender, receiver, _ = key
        frame, payload = self.wires[key].popleft()
        agent, peer = self.agents[receiver], self.names.index(sender)
        if isinstance(frame, frames.Want):
            agent.handle(ev.Wanted(peer, frame))
        elif isinstance(frame, frames.Grant):
            agent.handle(ev.Granted(peer, frame))
        elif isinstance(frame, frames.Values):
            agent.handle(ev.ValuesReceived(sender, frame, memoryview(payload)))
        elif isinstance(frame, frames.Offer):
            agent.handle(ev.Offered(sender, frame))
        elif isinstance(frame, frames.Gone):
            agent.handle(ev.DatasetsGone(sender, frame))
        elif isinstance(frame, frames.Relay):
            agent.handle(ev.Relayed(sender, frame))
        elif isinstance(frame, frames.Data):
            agent.handle(ev.DataArriving(sender, frame, len(payload)))
            place = agent.fetching.place
            assert place is not None or self.ended or self.faults is not None, "bytes came that were not granted"
            if place is not None:
                self.memory[receiver][place[0] : sum(place)] = payload
            agent.handle(ev.DataArrived(sender, frame, len(payload)))

    def _look_what_was_begun(self, name: str, recall: actions.Recall) -> None:
        self.agents[name].handle(ev.RunnerRecalled(recall.slot, recall.number, self.runners[name, recall.slot].begun))

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for agent in self.agents.values():
            agent.handle(ev.Clock(self.now))

    def tick(self, seconds: float) -> None:
        self.now += seconds
        for name, agent in self.agents.items():
            agent.handle(ev.Tick(self.now, [None] * sum(1 for host, _ in self.runners if host == name)))
            if self.faults is not None:
                agent.handle(ev.LinksDue())

    def run(self, rng: random.Random, limit: int = 100_000) -> None:
        """Let things happen, in a random order, until nothing is left to happen: for a minute, where actions fail, for that ends pauses."""
        quiet = 0
        for _ in range(limit):
            if self.step(rng):
                continue
            before, faults = len(self.events), self.faults_left
            for _ in range(2):
                self.tick(10.0 if self.faults is None else 3.0)
            self.pump()
            if self.choices() or len(self.events) > before or self.faults_left < faults:
                quiet = 0
                continue
            quiet += 1
            if quiet == (1 if self.faults is None else 10):
                return
        raise AssertionError("the world does not come to rest")

    # --- what a test looks at ---------------------------------------------------------------------------------------

    def produced(self) -> set[int]:
        return {dataset for events in self.events for dataset in events.produced}

    def done_chains(self) -> list[int]:
        return [chain for events in self.events for chain in events.chains]

    def values(self) -> dict[int, bytes]:
        return {d: v for events in self.events for d, v in zip(events.value_ids, events.values, strict=True)}
