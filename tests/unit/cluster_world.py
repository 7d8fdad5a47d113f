"""A whole cluster in memory: the log, and the state machines of controller, scheduler and hosts that read it, each at its own pace.

Hosts die with all that they hold, and come back under another epoch; the log tells of that later, or not at all before they are back.
Links break. Each reader takes in some of the log at a time, in an order that a test draws.
"""

from __future__ import annotations

import random

from headrace.bus import Entry
from headrace.controller.state import Controller
from headrace.ledger import JobLedger, Ledger
from headrace.scheduler.settings import Settings
from headrace.scheduler.state import Scheduler
from headrace.worker.agent import actions
from headrace.worker.agent.events import (
    AddressKnown,
    HostConnected,
    HostUnreachable,
    LinksDue,
    LogRead,
    PeerCame,
    PeerLeft,
    RunnerStarted,
    Tick,
)
from headrace.worker.agent.relays import PeerHost
from headrace.worker.agent.state import Agent
from headrace_schemas import Ended, GraphSource, HostJoined, HostLost, LogMessage, Reroute, Submitted
from headrace_shm import Store
from tests.unit.worker_world import EPOCH, JOB, ModelRunner, World

RETRY_SECONDS = 0.5
"""Between two ticks of a world in which nothing else happens: as often as hosts try links again."""
SCHEDULER = Settings(window_tasks=6, window_tasks_per_runner=1, chain_tasks=3)


class ClusterWorld(World):
    """Runs one job from its submission to its end."""

    def __init__(self, inputs: list[list[int]], outputs: list[int], large: dict[int, int], hosts: int) -> None:
        super().__init__(inputs, outputs, large, hosts, runners=1, capacity=1 << 22)
        self.log: list[Entry] = []
        self.controller = Controller(1)
        self.scheduler = Scheduler(SCHEDULER, 1)
        self.ledger = Ledger()
        self.read = dict.fromkeys(["controller", "scheduler", *self.names], 0)
        self.epochs = dict.fromkeys(self.names, EPOCH)
        self.down: set[str] = set()
        self.unsaid: list[HostLost] = []
        """What the log does not say yet of hosts that died."""
        self._published = 0
        for name in self.names:
            self._join(name)
        self.publish(Submitted(job=JOB, name="world", n_tasks=len(inputs), graph=GraphSource(inline=self.graph)))

    # --- the log ----------------------------------------------------------------------------------------------------

    def publish(self, message: LogMessage) -> None:
        """Put a message into the log."""
        self.log.append(Entry(len(self.log) + 1, self.now, "", message))
        self.ledger.fold(self.log[-1])

    @property
    def job(self) -> JobLedger:
        """The job, by all of the log."""
        return self.ledger.jobs[JOB]

    def _join(self, name: str) -> None:
        epoch = self.epochs[name]
        self.publish(HostJoined(at=0, term=1, host=name, epoch=epoch, address=f"{name}:{epoch}", runners=1, capacity=1 << 22))

    def _read(self, who: str, count: int) -> None:
        entries = self.log[self.read[who] : self.read[who] + count]
        self.read[who] += len(entries)
        if who == "controller":
            for entry in entries:
                self.controller.fold(entry)
            for decision in self.controller.decide(self.read[who]):
                self.publish(decision)
        elif who == "scheduler":
            self.scheduler.tick(self.now)
            self.scheduler.fold(entries)
            for order in self.scheduler.decide():
                self.publish(order)  # type: ignore[arg-type]
        else:
            mine = [
                entry.message for entry in entries if isinstance(entry.message, Ended | HostJoined | HostLost) or self._is_for(who, entry)
            ]
            self.agents[who].handle(LogRead(mine))

    @staticmethod
    def _is_for(name: str, entry: Entry) -> bool:
        return getattr(entry.message, "host", "") == name and entry.message.__struct_config__.tag != "events"

    # --- what happens ------------------------------------------------------------------------------------------------

    def pump(self) -> None:
        super().pump()
        fresh, self._published = self.events[self._published :], len(self.events)
        for events in fresh:
            self.publish(events)

    def choices(self) -> list[tuple[str, object]]:
        found = [(kind, what) for kind, what in super().choices() if kind in ("connect", "time") or not self.down & {*what[:2]}]  # type: ignore[index]
        found += [
            ("read", (who, count)) for who, at in self.read.items() if at < len(self.log) and who not in self.down for count in (1, 9)
        ]
        return found + [("say", (lost,)) for lost in self.unsaid]

    def happen(self, kind: str, what: object) -> None:
        if kind == "read":
            self._read(*what)  # type: ignore[misc]
        elif kind == "say":
            self._say(*what)  # type: ignore[misc]
        else:
            super().happen(kind, what)

    def _say(self, lost: HostLost) -> None:
        self.unsaid.remove(lost)
        self.publish(lost)

    def kill(self, name: str) -> None:
        """A host dies, with all that it holds and has not said; links to it and from it end."""
        if name in self.down:
            return
        for other in self.names:
            if other != name and other not in self.down:
                self._lose_link(other, name)
                self.agents[other].handle(PeerLeft(self.names.index(name)))
        self.down.add(name)
        self.unsaid.append(HostLost(at=0, term=1, host=name, epoch=self.epochs[name]))
        self.recalls = [pair for pair in self.recalls if pair[0] != name]
        self.connecting = [pair for pair in self.connecting if pair[0] != name]
        for key in [key for key in self.wires if name in key[:2]]:
            del self.wires[key]

    def revive(self, name: str) -> None:
        """A host that died comes back under another epoch, with nothing. It reads the log from there on."""
        if name not in self.down:
            return
        self.down.remove(name)
        self.epochs[name] += 1
        agent = Agent(self.settings(name, 1), self.epochs[name], Store(1 << 22, 1 << 25), False, self.now)
        agent.handle(AddressKnown(f"{name}:{self.epochs[name]}"))
        self.agents[name] = agent
        self.runners[name, 0] = ModelRunner(self, name, 0)
        agent.handle(RunnerStarted(0))
        self.read[name] = len(self.log)
        self._join(name)

    def cut(self, name: str, host: str) -> None:
        """The link that one host opened to another breaks."""
        if name != host and not self.down & {name, host} and self.agents[name].sources.is_up(host):
            self._lose_link(name, host)

    def _lose_link(self, name: str, host: str) -> None:
        was_up = self.agents[name].sources.is_up(host)
        self._wire(name, host, "up").clear()
        self._wire(host, name, "down").clear()
        self.agents[host].handle(PeerLeft(self.names.index(name)))
        if was_up:
            self.agents[name].handle(HostUnreachable(host))

    def _connect(self, name: str, host: str) -> None:
        if host in self.down:
            self.agents[name].handle(HostUnreachable(host))
            return
        self.agents[host].handle(PeerCame(self.names.index(name), PeerHost(name, self.epochs[name], "")))
        self.agents[name].handle(HostConnected(host, self.epochs[host]))

    def _pump_one(self, name: str) -> bool:
        return name not in self.down and super()._pump_one(name)

    def _act(self, name: str, action: actions.Action) -> None:
        if isinstance(action, actions.ToHost) and not self.agents[name].sources.is_up(action.host):
            return
        super()._act(name, action)

    # --- to the end -------------------------------------------------------------------------------------------------

    def wait(self) -> None:
        """Time passes, and everybody looks at the clock."""
        self.now += RETRY_SECONDS
        for name, agent in self.agents.items():
            if name not in self.down:
                agent.handle(Tick(self.now, [None]))
                agent.handle(LinksDue())
        for due in self.controller.due(self.now):
            self.publish(due)
        self._read("scheduler", 0)
        self._read("controller", 0)

    def finish(self, rng: random.Random, seconds: float = 120.0) -> None:
        """Let things happen until the job is over. Fails if that takes longer, by the world's clock, than anything has to wait."""
        for name in list(self.down):
            self.revive(name)
        until = self.now + seconds
        while self.job.end is None:
            if not self.step(rng):
                assert self.now < until, f"nothing happens any more: {self.job.task_counts()}"
                self.wait()
        self.pump()

    def reroutes(self) -> dict[tuple[object, ...], list[float]]:
        """Return when each host was told to ask another one, at its address, for an attempt at a dataset: seconds of this world."""
        times: dict[tuple[object, ...], list[float]] = {}
        for entry in self.log:
            message = entry.message
            if isinstance(message, Reroute):
                attempts = message.attempts or [0] * len(message.datasets)
                for dataset, source, attempt in zip(message.datasets, message.sources, attempts, strict=True):
                    word = (message.host, message.epoch, dataset, message.hosts[source], message.addresses[source], attempt)
                    times.setdefault(word, []).append(entry.time)
        return times
