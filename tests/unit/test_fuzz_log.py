"""Whatever is in the log, those who fold it go on: every message with every field at its edges, on top of a job that is half done."""

from __future__ import annotations

import random
from typing import get_args
from unittest.mock import Mock

import msgspec
import pytest

from headrace.bus import Entry, Record
from headrace.bus.metrics import Reading
from headrace.bus.reading import Claim, Reader
from headrace.client.following import Following
from headrace.controller.replay import check
from headrace.controller.state import Controller
from headrace.ledger import Ledger
from headrace.ledger.replay import timeline
from headrace.publisher.settings import Settings as PublisherSettings
from headrace.publisher.state import Publisher
from headrace.scheduler.settings import Settings as SchedulerSettings
from headrace.scheduler.state import Scheduler
from headrace.worker.agent.events import AssignmentResumed, LinksDue, LogRead, Tick
from headrace.worker.agent.state import Agent
from headrace.worker.settings import Settings as WorkerSettings
from headrace_schemas import (
    Assign,
    Events,
    HostJoined,
    JobOptions,
    LogMessage,
    Message,
    Plan,
    Submitted,
    encode,
)
from headrace_schemas.examples import ALPHA_EPOCH, BETA_EPOCH, EXAMPLES, JOB, OPTIONS, SOURCE
from headrace_shm import Store
from tests import edges

STRUCTS = sorted(get_args(LogMessage), key=lambda struct: str(struct.__name__))
BETA = msgspec.structs.replace(EXAMPLES[HostJoined], host="beta", epoch=BETA_EPOCH)


def story(held: bool) -> list[Message]:
    """What is in the log before. held: the outputs are held for the client, and do not go to a sink."""
    source = msgspec.structs.replace(SOURCE, sink=None) if held else SOURCE
    options = JobOptions() if held else OPTIONS
    assign = EXAMPLES[Assign]
    started = Events(job=JOB, host="alpha", epoch=ALPHA_EPOCH, started=[0], chains=[0], produced=[0], sizes=[9])
    return [
        EXAMPLES[HostJoined],  # type: ignore[list-item]
        BETA,
        msgspec.structs.replace(EXAMPLES[Submitted], graph=source, options=options),
        EXAMPLES[Plan],  # type: ignore[list-item]
        msgspec.structs.replace(assign, graph=source, options=options),
        msgspec.structs.replace(assign, host="beta", epoch=BETA_EPOCH, chains=[1, 3], lengths=[1, 2], tasks=[2, 3, 5], sources=[0]),
        started,
    ]


class World:
    """Everybody who reads the log, each with the story so far."""

    def __init__(self, held: bool) -> None:
        self.reading = Reading()
        self.reader = Reader(self.reading)
        self.seq = 0
        self.entries: list[Entry] = []
        self.ledger = Ledger(keep_values=True)
        self.controller = Controller(7)
        self.scheduler = Scheduler(SchedulerSettings(), 8)
        self.publisher = Publisher(PublisherSettings(), 9)
        self.agents = [agent("alpha", ALPHA_EPOCH), agent("beta", BETA_EPOCH)]
        connection = Mock()
        connection.bus.tracing = None
        self.client = Following(connection, JOB)
        self.told: list[Message] = story(held)

    def tell(self, until: type[Message] | None = None) -> World:
        """What is left of the story, or until a message of some kind comes."""
        while self.told and type(self.told[0]) is not until:
            message = self.told.pop(0)
            self.say(message.subject(), encode(message))
        return self

    def say(self, subject: str, data: bytes) -> bool:
        """A message is in the log. Returns whether anybody was told of it."""
        self.seq += 1
        found = self.reader.read(Record(self.seq, float(self.seq), subject, data))
        entry = found.entry if isinstance(found, Claim) else found
        if entry is None:
            return False
        self.entries.append(entry)
        self.ledger.fold(entry)
        self.controller.fold(entry)
        self.scheduler.fold([entry])
        self.publisher.fold([entry])
        for agent in self.agents:
            if isinstance(entry.message, get_args(LogMessage)) and getattr(entry.message, "host", "alpha") != "beta":
                agent.handle(LogRead([entry.message]))
        self.client.on_entries([entry])
        self.decide()
        return True

    def decide(self) -> None:
        """What everybody decides on can be said: it is what the contract says, where it may stand."""
        decided: list[Message] = [*self.controller.decide(self.seq), *self.scheduler.decide()]
        decided += [batch.message for batch in self.publisher.decide()]
        self.publisher.take_actions()
        for agent in self.agents:
            while agent.intake.busy:
                agent.handle(AssignmentResumed())
            agent.take()
        for message in decided:
            found = Reader(reading := Reading()).read(Record(self.seq, 0.0, message.subject(), encode(message)))
            assert found is not None, reading.unreadable

    def look(self) -> None:
        """Everything that people ask for can be told."""
        msgspec.json.encode([self.controller.ledger.jobs[job].status() for job in self.controller.ledger.jobs])
        msgspec.json.encode([self.scheduler.status(), self.publisher.status()])
        self.controller.expired(1e9, 1.0)
        self.controller.stranded(1e9, 1.0)
        timeline(self.entries)
        check(self.entries)
        for agent in self.agents:
            agent.handle(Tick(1e6, []))
            agent.reports_due()
            agent.handle(LinksDue())
            agent.take()
        if JOB in self.client._ledger.jobs:
            self.client.task_counts()

    @property
    def over(self) -> bool:
        """Whether nothing that is said of the job counts any more."""
        job = self.ledger.jobs.get(JOB)
        return job is None or job.end is not None or not all(host.alive for host in self.ledger.hosts.values())


def agent(host: str, epoch: int) -> Agent:
    return Agent(WorkerSettings(host=host, runners=2), epoch, Store(1 << 20, 1 << 22))


@pytest.mark.parametrize("held", [True, False], ids=["held", "sunk"])
@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_a_message_with_a_field_at_its_edges_ends_nobody(struct: type[Message], held: bool) -> None:
    example = EXAMPLES[struct]
    assert isinstance(example, Message)
    said = list(edges.messages(struct, example))
    random.Random(0).shuffle(said)
    world, heard = World(held).tell(), 0
    assert not world.reading.unreadable
    for number, data in enumerate(said):
        heard += world.say(example.subject(), data)
        if world.over or number % 200 == 199:
            world.look()
            world = World(held).tell()
    world.look()
    assert heard > 3, "some of them say something"


@pytest.mark.parametrize("held", [True, False], ids=["held", "sunk"])
@pytest.mark.parametrize("struct", [HostJoined, Submitted, Plan, Assign, Events], ids=lambda struct: struct.__name__)
def test_a_message_at_its_edges_in_place_of_a_good_one_or_before_it_ends_nobody(struct: type[Message], held: bool) -> None:
    example = EXAMPLES[struct]
    assert isinstance(example, Message)
    said = list(edges.messages(struct, example))
    for data in random.Random(1).sample(said, min(len(said), 300)):
        world = World(held).tell(until=struct)
        if world.say(example.subject(), data):
            if data[-2] % 2:
                world.told.pop(0)
            world.tell()
            world.look()
