"""What services remember of jobs that are over does not grow with their number."""

from __future__ import annotations

import gc
import random
import types
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from headrace.bus import Entry
from headrace.client.known import Known
from headrace.controller.metrics import families
from headrace.controller.room import Room
from headrace.controller.settings import RoomSettings
from headrace.controller.state import Controller
from headrace.ledger import fold, turns
from headrace.ledger.entry import entry_of
from headrace.publisher.settings import Settings as PublisherSettings
from headrace.publisher.state import Publisher
from headrace.scheduler.settings import Settings as SchedulerSettings
from headrace.scheduler.state import Scheduler
from headrace.worker.agent.events import RunnerSent
from headrace.worker.settings import Settings as WorkerSettings
from headrace_schemas import (
    Assign,
    Ended,
    Events,
    FunctionSpec,
    GraphSource,
    GraphSpec,
    HostJoined,
    HostLost,
    Plan,
    Released,
    SinkSpec,
    Submitted,
    TaskError,
    Written,
)
from tests.unit import worker_world

FEW, MANY = 20, 100
"""Jobs: what is kept of a number of the last ones is kept of fewer than FEW here."""
SLACK = 20
"""Objects: how far a job got decides on a few."""
_SHARED = (type, types.ModuleType, types.BuiltinFunctionType, types.CodeType, types.GetSetDescriptorType, types.MemberDescriptorType)


@pytest.fixture(autouse=True)
def little_is_remembered() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fold, "FORGOTTEN_REMEMBERED", 4)
        patch.setattr(turns, "FEWEST", 4)
        yield


def size(*roots: object) -> int:
    """How many objects there are in some objects, in those that they refer to, and so on."""
    found: dict[int, object] = {}
    waiting: list[object] = list(roots)
    while waiting:
        each = waiting.pop()
        if id(each) in found or isinstance(each, _SHARED):
            continue
        found[id(each)] = each
        if isinstance(each, types.FunctionType):
            waiting += each.__closure__ or ()
        elif isinstance(each, dict):  # whose keys are left out below if all are strings
            waiting += [*each, *each.values()]
        else:
            waiting += gc.get_referents(each)
    return len(found)


def assert_bounded(run: Callable[[int], object], *machines: object) -> None:
    """run: takes one job, by number, from its beginning to its end."""
    for number in range(FEW):
        run(number)
    few = size(*machines)
    for number in range(FEW, MANY):
        run(number)
    assert size(*machines) <= few + SLACK


def spec(n_tasks: int = 3, sink: str = "") -> GraphSpec:
    """A chain of tasks; the last makes the output."""
    return GraphSpec(
        name="g", n_tasks=n_tasks, shape_hash="", content_hash="", function=[0] * n_tasks, n_inputs=[0] + [1] * (n_tasks - 1),
        inputs=list(range(n_tasks - 1)), outputs=[n_tasks - 1], blocks=[b""], block_size=n_tasks,
        functions=[FunctionSpec(name="f", module="m", qualname="f", retries=1)],
    )  # fmt: skip


def submitted(job: str, n_tasks: int = 3, sink: str = "") -> Submitted:
    return Submitted(
        job=job, name="g", n_tasks=n_tasks, graph=GraphSource(inline=spec(n_tasks), sink=SinkSpec(path=sink) if sink else None)
    )


class Log:
    """The log, with whoever takes its entries in. A host is lost and joins again with every job."""

    def __init__(self, fold: Callable[[Entry], object]) -> None:
        self.fold = fold
        self.seq = 0

    def put(self, *messages: Any) -> None:
        for message in messages:
            self.seq += 1
            self.fold(Entry(self.seq, float(self.seq), message.subject(), message))

    def join(self, epoch: int) -> None:
        self.put(HostLost(at=0, term=1, host="a", epoch=epoch - 1))
        self.put(HostJoined(at=0, term=1, host="a", epoch=epoch, address="a:1", runners=1, capacity=1))

    def begin(self, job: str, epoch: int) -> None:
        """What scheduler and host say of a job, whose first task fails."""
        self.put(
            Plan(at=0, term=1, job=job, planner="test", part=0, parts=1, hosts=["a"], epochs=[epoch], first=0, lengths=[1] * 3,
                 tasks=[0, 1, 2], placed=[0] * 3),
            Assign(at=0, term=1, job=job, host="a", epoch=epoch, hosts=["a"], addresses=["a:1"], chains=[0, 1, 2], lengths=[1] * 3,
                   tasks=[0, 1, 2]),
            Events(job=job, host="a", epoch=epoch, started=[0]),
            Events(job=job, host="a", epoch=epoch, failed=[TaskError(task=0, error="E")]),
        )  # fmt: skip


@pytest.mark.parametrize("state", ["done", "failed"])
def test_a_controller(state: str) -> None:
    controller, kept, known = Controller(9), Room(1e9, RoomSettings(remembered=4)), Known(lambda: 0.0)
    log = Log(controller.fold)

    def run(number: int) -> None:
        job = f"j{number}"
        log.join(number + 1)
        log.put(submitted(job))
        log.begin(job, number + 1)
        log.put(*controller.due(1e9))
        (needed,) = controller.decide(log.seq)
        log.put(needed)
        if state == "failed":
            log.put(Ended(at=1, term=9, job=job, state="failed"))
            controller.ledger.apply(Ended(at=1, term=9, job=job, state="failed"), 0.0)
        else:
            made = {"done_attempts": [1, 0, 0], "produced": [0, 1, 2], "sizes": [1] * 3}
            log.put(Events(job=job, host="a", epoch=number + 1, done=[0, 1, 2], **made))
        log.put(*controller.decide(log.seq))
        ledger = controller.ledger.jobs[job]
        assert ledger.end is not None
        assert ledger.end.state == state
        entry_of(ledger)
        log.put(Released(at=1, term=1, job=job))
        log.put(*controller.decide(log.seq), *controller.due(1e9))
        list(families(controller.counts, controller.ledger, 0, {}))
        kept.forgotten(ledger)
        controller.forget(job)

    assert_bounded(run, controller, kept, known)


@pytest.mark.parametrize("n_tasks", [1, 3])
def test_a_scheduler(n_tasks: int) -> None:
    scheduler = Scheduler(SchedulerSettings(), 9)
    log = Log(lambda entry: scheduler.fold([entry]))

    def run(number: int) -> None:
        job = f"j{number}"
        log.join(number + 1)
        log.put(submitted(job, n_tasks))
        scheduler.tick(float(number))
        assert scheduler.decide()
        log.put(Events(job=job, host="a", epoch=number + 1, started=[0]))
        scheduler.tick(number + 0.5)
        scheduler.decide()
        log.put(Events(job=job, host="a", epoch=number + 1, done=list(range(n_tasks)), produced=list(range(n_tasks)), gone=[0]))
        log.put(Ended(at=1, term=1, job=job, state="done"))
        scheduler.tick(number + 0.6)
        scheduler.decide()
        log.put(Released(at=1, term=1, job=job))
        scheduler.decide()
        assert not scheduler.ledger.jobs

    assert_bounded(run, scheduler)


@pytest.mark.parametrize("sink", ["", "products"])
def test_a_publisher(sink: str) -> None:
    publisher = Publisher(PublisherSettings(over_remembered=4), 9)
    log = Log(lambda entry: publisher.fold([entry]))

    def run(number: int) -> None:
        job = f"j{number}"
        log.join(number + 1)
        log.put(submitted(job, sink=sink))
        made = {"done": [0, 1, 2], "produced": [0, 1] if sink else [0, 1, 2]}
        written = Written(dataset=2, write="1.1", part="", location="", bytes=1, checksum="", encoding="npy")
        log.put(Events(job=job, host="a", epoch=number + 1, **made, written=[written] if sink else []))
        publish()
        log.put(Ended(at=1, term=1, job=job, state="done"))
        publish()
        assert not publisher.ledger.jobs

    def publish() -> None:
        batches = publisher.decide()
        for action in publisher.take_actions():
            if hasattr(action, "written"):
                publisher.carried_out(action, "")
        for batch in batches or publisher.decide():
            log.seq += 1
            publisher.stored(batch.message, log.seq)
        publisher.decide()

    assert_bounded(run, publisher)


class Forgetful(worker_world.World):
    """Hosts that remember few jobs that are over."""

    def settings(self, host: str, runners: int) -> WorkerSettings:
        return msgspec.structs.replace(super().settings(host, runners), over_remembered=4)


def test_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(1)
    world = Forgetful([[], [0], [1]], [2], {2: 9_000}, 2, 1, capacity=1 << 22)
    agents = list(world.agents.values())

    def run(number: int) -> None:
        monkeypatch.setattr(worker_world, "JOB", f"j{number}")
        world.assign([[0], [1], [2]], [0, 1, 0], [0, 1, 2])
        world.run(rng)
        world.end("done")
        world.run(rng)
        world.purge(world.names[0], [2])
        world.purge(world.names[1], [2])
        world.run(rng)
        for (name, slot), runner in world.runners.items():
            agent = world.agents[name]
            for block, count in agent.memory.store.held_by(agent.runners.slots[slot].client).items():
                agent.handle(RunnerSent(slot, [worker_world.protocol.Released([block], [count])]))
            assert runner.idle
        world.run(rng)
        assert not any(agent.jobs for agent in agents)

    assert_bounded(run, *agents)
