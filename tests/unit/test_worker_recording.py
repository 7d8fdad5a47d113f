"""The flight recorder: what a host was told and decided is run again, and every decision is the same."""

from __future__ import annotations

import io
import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.cli.records import replay_record
from headrace.errors import HeadraceError
from headrace.link import frames
from headrace.runner import protocol
from headrace.worker.agent import actions
from headrace.worker.agent.events import (
    ActionFailed,
    Clock,
    Event,
    HostUnreachable,
    LogRead,
    PeerCame,
    RunnerDied,
    RunnerSent,
    RunnerStarted,
    Tick,
    ValuesReceived,
)
from headrace.worker.agent.failures import MemoryShortage
from headrace.worker.agent.handlers import HANDLERS
from headrace.worker.agent.recording import Answered, Header, Item, RecordedAgent, packed
from headrace.worker.agent.relays import PeerHost
from headrace.worker.agent.rerunning import UnreadableRecord, items_of, rerun
from headrace.worker.agent.state import Agent
from headrace.worker.record_file import RecordFile, make_agent
from headrace.worker.settings import Settings
from headrace_schemas import Events
from headrace_shm import Store
from tests.unit.test_worker_agent import fused, graphs
from tests.unit.worker_world import EPOCH, JOB, START, World

CAPACITY = 1 << 20


class RecordedWorld(World):
    """Hosts that record everything."""

    def make_agent(self, settings: Settings, store: Store[int], spills: bool) -> Agent:
        self.files = {**getattr(self, "files", {}), settings.host: (file := io.BytesIO())}
        return RecordedAgent(RecordFile(file, 1 << 30), settings, EPOCH, store, spills, START)


def executed(seed: int = 1) -> bytes:
    """The record of a host that executed three tasks, one after the other."""
    world = RecordedWorld([[], [0], [1]], [2], {1: 20_000}, 1, 1, CAPACITY)
    world.assign([[0], [1], [2]], [0, 0, 0], [0, 1, 2])
    world.run(random.Random(seed))
    assert sorted(world.done_chains()) == [0, 1, 2]
    return world.files["h0"].getvalue()


def joined(items: list[Item]) -> bytes:
    return b"".join(map(packed, items))


@settings(max_examples=60, deadline=None)
@given(graphs(), st.integers(1, 3), st.booleans(), st.integers(0, 15), st.booleans(), st.randoms(use_true_random=False))
def test_whatever_happened_the_same_events_lead_to_the_same_decisions(graph, hosts, spills, faults, rejoins, rng):  # type: ignore[no-untyped-def]
    inputs, outputs = graph
    large = {d: rng.choice([9_000, 20_000]) for d in range(len(inputs)) if rng.random() < 0.6}
    world = RecordedWorld(inputs, outputs, large, hosts, 2, capacity=120_000 if spills else 1 << 22, spills=spills, part_chains=3)
    world.slabs = {dataset for dataset in large if rng.random() < 0.5}
    world.faults, world.faults_left = rng, faults
    chains = fused(inputs, outputs, rng)
    world.assign(chains, [rng.randrange(hosts) for _ in chains], list(range(len(chains))))
    for _ in range(rng.randrange(60)):
        world.step(rng)
    world.kill_runner(*rng.choice(list(world.runners)))
    if rejoins:
        world.rejoin()
    world.run(rng)
    world.end("failed")
    world.run(rng)
    for name, file in world.files.items():
        outcome = rerun(file.getvalue())
        assert outcome.difference is None, str(outcome.difference)
        assert (outcome.header.settings.host, outcome.header.epoch) == (name, EPOCH)
        assert outcome.answers > 0


def test_a_decision_that_differs_is_shown_with_the_event_before_it() -> None:
    items = list(items_of(executed()))
    place, run = next(
        (place, item)
        for place, item in enumerate(items)
        if isinstance(item, Answered) and any(isinstance(action, actions.ToRunner) for action in item.actions)
    )
    items[place] = Answered(run.question, [actions.KillRunner(0), *run.actions[1:]])
    difference = rerun(joined(items)).difference
    assert difference is not None
    assert (difference.item, difference.question, difference.recomputed) == (place, "take", list(run.actions))
    shown = str(difference)
    assert f"item {place}: take differs at action 0" in shown
    assert "recorded:   KillRunner(slot=0)" in shown
    assert "recomputed: ToRunner(slot=0, frame=OpenJob(" in shown


def test_a_decision_that_is_missing_is_shown() -> None:
    items = list(items_of(executed()))
    place, item = next((place, item) for place, item in enumerate(items) if isinstance(item, Answered) and item.actions)
    items[place] = Answered(item.question, item.actions[:-1])
    assert "recorded:   nothing" in str(rerun(joined(items)).difference)


def test_a_machine_that_decides_otherwise_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    data = executed()
    monkeypatch.setitem(HANDLERS, RunnerStarted, lambda agent, event: None)
    difference = rerun(data).difference
    assert difference is not None
    assert difference.recomputed == []


def test_what_the_machine_refuses_or_fails_on_is_the_same_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HANDLERS, HostUnreachable, lambda agent, event: 1 / 0)
    file = io.BytesIO()
    agent = RecordedAgent(RecordFile(file, 1 << 20), Settings(host="h0"), EPOCH, Store(CAPACITY, 8 * CAPACITY))
    with pytest.raises(ValueError, match="less than once"):
        agent.handle(RunnerSent(0, [protocol.Released([1], [-1])]))
    agent.handle(HostUnreachable("h1"))
    assert agent.take() == []
    outcome = rerun(file.getvalue())
    assert (outcome.events, outcome.answers, outcome.difference) == (2, 1, None)


def test_the_last_item_may_be_cut_off() -> None:
    data = executed()
    whole = list(items_of(data))
    assert list(items_of(data[:-1])) == whole[:-1]
    assert list(items_of(data + b"\x01\x00")) == whole
    assert rerun(data[:-1]).difference is None


@pytest.mark.parametrize("data", [b"", b"\x05\x00\x00\x00noise", packed(Clock(1.0)), executed()[20:]])
def test_what_is_no_record_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableRecord):
        rerun(data)


def test_a_record_is_no_larger_than_its_limit_and_can_be_run_again(caplog: pytest.LogCaptureFixture) -> None:
    file = io.BytesIO()
    file.close = lambda: None  # type: ignore[method-assign]
    agent = RecordedAgent(RecordFile(file, 10_000), Settings(host="h0"), EPOCH, Store(CAPACITY, 8 * CAPACITY))
    for second in range(1_000):
        agent.handle(Tick(float(second), [None]))
        agent.take()
    assert 9_900 < len(file.getvalue()) <= 10_000
    assert caplog.text.count("the record is full") == 1
    assert rerun(file.getvalue()).difference is None


def test_the_record_of_the_machine_before_is_kept(tmp_path: Path) -> None:
    for epoch in (1, 2, 3):
        settings = Settings(host="h0", record_dir=str(tmp_path))
        agent = make_agent(settings, epoch, Store(CAPACITY, 8 * CAPACITY), False, 0.0)
        assert isinstance(agent, RecordedAgent)
        agent.handle(Clock(1.0))
        agent.close()
    epochs = {path.name: rerun(path.read_bytes()).header.epoch for path in tmp_path.iterdir()}
    assert epochs == {"worker-h0.record": 3, "worker-h0.before.record": 2}


def test_a_folder_that_cannot_be_written_does_not_end_the_host(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings(host="h0", record_dir=str(tmp_path / "missing"))
    assert type(make_agent(settings, 1, Store(CAPACITY, 8 * CAPACITY), False, 0.0)) is Agent
    assert "set HEADRACE_RECORD" in caplog.text


class FullDisk(io.BytesIO):
    """Takes the first bytes only."""

    def write(self, data: bytes) -> int:  # type: ignore[override]
        return super().write(data[: max(0, 1_500 - self.tell())])

    def close(self) -> None:
        """Stay open to be looked at."""


def test_a_full_disk_ends_the_record_and_not_the_host(caplog: pytest.LogCaptureFixture) -> None:
    file = FullDisk()
    agent = RecordedAgent(RecordFile(file, 1 << 20), Settings(host="h0"), EPOCH, Store(CAPACITY, 8 * CAPACITY))
    for second in range(1_000):
        agent.handle(Tick(float(second), [None]))
    assert caplog.text.count("No space left on device") == 1
    assert rerun(file.getvalue()).difference is None


def test_what_cannot_be_encoded_ends_the_record_and_not_the_host(caplog: pytest.LogCaptureFixture) -> None:
    agent = RecordedAgent(RecordFile(io.BytesIO(), 1 << 20), Settings(host="h0"), EPOCH, Store(CAPACITY, 8 * CAPACITY))
    agent.handle(RunnerStarted(0))
    agent.handle(RunnerSent(0, [protocol.Results(9, metadata=[{"large": 1 << 80}])]))
    agent.handle(RunnerStarted(0))
    assert caplog.text.count("nothing more is recorded") == 1
    assert agent.runners.slots[0].generation == 2


def test_nothing_stands_between_events_and_an_agent_that_is_not_recorded() -> None:
    agent = make_agent(Settings(host="h0"), 1, Store(CAPACITY, 8 * CAPACITY), False, 0.0)
    assert type(agent) is Agent


def test_the_command_says_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "worker-h0.record"
    path.write_bytes(executed())
    assert replay_record(str(path)) == 0
    assert "all agree" in capsys.readouterr().out
    header, *items = items_of(path.read_bytes())
    assert isinstance(header, Header)
    path.write_bytes(joined([msgspec.structs.replace(header, release="0.0"), Answered("take", [actions.Nudge(0)]), *items]))
    assert replay_record(str(path)) == 1
    shown = capsys.readouterr()
    assert "recorded:   Nudge(slot=0)" in shown.out
    assert "the next one differs" in shown.out
    assert "0.0" in shown.err
    with pytest.raises(HeadraceError, match="cannot be read"):
        replay_record(str(tmp_path / "missing"))


EXAMPLES: list[Event] = [
    RunnerSent(0, [protocol.Results(1, [1], [], [0, 1], [b"a", 7]), protocol.Closed(3)]),
    RunnerDied(0, (1, 2), -9, 5, MemoryShortage(1, 2)),
    ValuesReceived("h1", frames.Values("job", [0], [0], [1]), memoryview(b"a")),
    PeerCame(1, PeerHost("h1", 2, "")),
    LogRead([]),
    ActionFailed(actions.ToRunner(0, protocol.Run(1, [], [], [], [], [], [], [], [], [b"a", (1, 2, 3)])), actions.Setback("why", 3)),
    ActionFailed(actions.Report(Events(job=JOB, host="h0", epoch=1, value_ids=[1], values=[b"a"])), actions.Setback("why", final=True)),
]


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)
def test_an_event_is_read_as_it_was_written(event: Event) -> None:
    [read] = items_of(packed(event))
    assert type(read) is type(event)
    assert msgspec.to_builtins(read) == msgspec.to_builtins(event)  # older msgspec reads memory views that compare as different


def test_every_event_has_a_handler() -> None:
    assert set(HANDLERS) == set(Event.__args__)
