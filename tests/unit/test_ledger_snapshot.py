"""What a snapshot selects of the log leads to the same ledger, and to the same decisions, as all of the log.

The logs are those of several worlds, merged: jobs that end and jobs that do not, with hosts that come and go and services that start anew.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from headrace.bus import Entry
from headrace.controller.state import Controller
from headrace.ledger import JobLedger, Ledger
from headrace.ledger import snapshot as snapshots
from headrace.ledger import turns as turns_of
from headrace.ledger.snapshot import Selection, Span, snapshot_of
from headrace.publisher.settings import Settings as PublisherSettings
from headrace.publisher.state import Publisher
from headrace.scheduler.settings import Settings as SchedulerSettings
from headrace.scheduler.state import Scheduler
from headrace_schemas import (
    Ended,
    Events,
    HostJoined,
    HostLost,
    LedgerSnapshot,
    LogMessage,
    Needed,
    Submitted,
    TermBegan,
    decoder,
    encode,
)
from tests.unit.controller_world import World
from tests.unit.sink_world import SinkWorld
from tests.unit.test_ledger_fold import Log, flat

FAULTS = {"fail": 0.1, "die": 0.05, "lose": 0.02, "crash": 0.02, "shuffle": 0.2, "lapse": 0.03}
SERVICE = "service"
_read = decoder(LogMessage)
seeds = given(seed=st.integers(0, 10**9))
quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def small() -> Iterator[None]:
    """Read every range by itself, and drop old turns early."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshots, "GAP", 0)
        patch.setattr(turns_of, "FEWEST", 4)
        yield


def renamed(message: Any, number: int) -> Any:
    """The same message of another job, on other hosts."""
    text = encode(message).replace(b'"job":"job"', b'"job":"job%d"' % number)
    for host in range(3):
        text = text.replace(b'"h%d"' % host, b'"h%d-%d"' % (number, host))
    return _read.decode(text)


def world_log(rnd: random.Random, sinks: bool) -> list[Any]:
    """The messages of a job: to its end, or not that far."""
    kind = SinkWorld if sinks else World
    world = kind(rnd.randrange(10**9), rnd.randint(1, 4), rnd.randint(1, 3), **(FAULTS if rnd.random() < 0.7 else {}))
    if rnd.random() < 0.4:
        for _ in range(rnd.randint(0, 200)):
            if world.ended():
                break
            world.step()
    else:
        world.run()
        if rnd.random() < 0.7:
            world.release()
        if isinstance(world, SinkWorld) and rnd.random() < 0.7:
            world.settle()
    return [entry.message for entry in world.log]


def merged(rnd: random.Random, sinks: bool = False) -> list[Any]:
    """The messages of several jobs, those of each in their order: one job after the other, or all at once."""
    logs = [[renamed(message, number) for message in world_log(rnd, sinks)] for number in range(rnd.randint(1, 4))]
    together = rnd.random()
    found: list[Any] = []
    while any(logs):
        log = rnd.choice([log for log in logs if log]) if rnd.random() < together else next(log for log in logs if log)
        found.append(log.pop(0))
    return found


def told_again(messages: list[Any]) -> list[Any]:
    """The messages, and in between some that repeat how hosts that are at work joined."""
    rnd = random.Random(len(messages))
    hosts: dict[str, HostJoined] = {}
    found: list[Any] = []
    for message in messages:
        found.append(message)
        if isinstance(message, HostJoined):
            hosts[message.host] = message
        elif isinstance(message, HostLost):
            hosts.pop(message.host, None)
        if hosts and rnd.random() < 0.1:
            found.append(msgspec.structs.replace(rnd.choice(sorted(hosts.values(), key=str)), again=True, rejoins=False))
    return found


def numbered(rnd: random.Random, messages: list[Any], first: int = 1) -> list[Entry]:
    """Entries of the log, with some of other subjects in between."""
    entries: list[Entry] = []
    seq = first
    for message in messages:
        seq += rnd.choice([1, 1, 2])
        entries.append(Entry(seq, seq * 0.5, message.subject(), message))
    return entries


def selected(snapshot: LedgerSnapshot, log: list[Entry]) -> list[Entry]:
    """The entries that a service folds which starts with a snapshot."""
    selection = Selection(_again(snapshot))
    found: list[Any] = []
    for span in selection.ranges:
        here = [entry for entry in log if span.first <= entry.seq <= span.last and selection.is_needed(entry.subject)]
        found += selection.merged(here)
    found += selection.until(snapshot.seq)
    return found + [entry for entry in log if entry.seq >= snapshot.seq]


def _again(snapshot: LedgerSnapshot) -> LedgerSnapshot:
    """As it is read."""
    return msgspec.json.decode(encode(snapshot), type=LedgerSnapshot)


def content(job: JobLedger) -> dict[str, Any]:
    """Everything that is true of a job, but for what changed since somebody looked."""
    left_out = {"__dict__", "_placing", "_scratch", "changes", "source", "topology", "last_seq"}
    return {name: plain(getattr(job, name)) for name in JobLedger.__slots__ if name not in left_out}


def plain(value: Any) -> Any:
    if isinstance(value, array | np.ndarray):
        return value.tolist()
    if isinstance(value, list | tuple):
        return list(map(plain, value))
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    slots = [name for base in type(value).__mro__ for name in getattr(base, "__slots__", ()) if name != "__dict__"]
    if type(value).__module__.startswith("headrace.ledger") and (slots or hasattr(value, "__dict__")):
        names = slots or [*vars(value)]
        return {name: plain(getattr(value, name)) for name in names}
    return value


def assert_equal(part: Ledger, full: Ledger, jobs: set[str] | None = None) -> None:
    """The same is true in both, of these jobs or of all that `part` has."""
    assert set(part.jobs) == (set(full.jobs) if jobs is None else jobs)
    for name, job in part.jobs.items():
        assert content(job) == content(full.jobs[name])
    assert part.hosts == full.hosts
    assert part.terms == full.terms
    assert (part.last_seq, part.last_time) == (full.last_seq, full.last_time)


def fold_all(entries: Iterable[Entry], *ledgers: Ledger) -> None:
    for entry in entries:
        for ledger in ledgers:
            ledger.fold(entry)


def forget_some(rnd: random.Random, share: float, *ledgers: Ledger) -> None:
    """Some jobs that are over are forgotten by all of these ledgers. share: the probability for each."""
    for name in [name for name, job in ledgers[0].jobs.items() if job.end is not None and rnd.random() < share]:
        for ledger in ledgers:
            ledger.forget_job(name)


@given(seed=st.integers(0, 10**9), again=st.booleans())
@quick
def test_a_ledger_is_the_same(seed: int, again: bool) -> None:
    rnd = random.Random(seed)
    messages = merged(rnd)
    log = numbered(rnd, told_again(messages) if again else messages)
    cut = rnd.randint(1, len(log))
    writer, full = Ledger(reads_own=True), Ledger()
    fold_all(log[:cut], writer, full)
    forget_some(rnd, 0.7, writer, full)
    snapshot = snapshot_of(SERVICE, writer)
    assert snapshot is not None
    part = Ledger()
    part.remember_forgotten(snapshot.over)
    entries = selected(snapshot, log)
    assert [entry.seq for entry in entries] == sorted({entry.seq for entry in entries})
    for entry in entries:
        part.fold(entry)
    for entry in log[cut:]:
        full.fold(entry)
    assert_equal(part, full)


@given(seed=st.integers(0, 10**9), again=st.booleans())
@example(seed=996, again=False)
@quick
def test_a_snapshot_of_a_ledger_that_came_from_a_snapshot_leads_there_too(seed: int, again: bool) -> None:
    rnd = random.Random(seed)
    messages = merged(rnd)
    log = numbered(rnd, told_again(messages) if again else messages)
    ledger, full = Ledger(reads_own=True), Ledger()
    at = 0
    while at < len(log):
        cut = rnd.randint(at + 1, len(log))
        fold_all(log[at:cut], ledger, full)
        forget_some(rnd, 0.5, ledger, full)
        snapshot = snapshot_of(SERVICE, ledger)
        assert snapshot is not None
        ledger = Ledger(reads_own=True)
        ledger.remember_forgotten(snapshot.over)
        for entry in selected(snapshot, log[:cut]):
            ledger.fold(entry)
        assert_equal(ledger, full)
        at = cut


@seeds
@example(seed=25472)
@example(seed=141707)
@quick
def test_a_controller_decides_the_same(seed: int) -> None:
    rnd = random.Random(seed)
    before = numbered(rnd, merged(rnd))
    cut = rnd.randint(1, len(before))
    writer, full, part = Controller(90), Controller(99), Controller(99)
    for entry in before[:cut]:
        writer.fold(entry)
    decided = writer.decide(writer.ledger.last_seq)
    over = [name for name, job in writer.ledger.jobs.items() if job.end is not None and (job.over or job.nothing_kept)]
    forgotten = [name for name in over if rnd.random() < 0.8]
    for name in forgotten:
        writer.forget(name)
    snapshot = writer.snapshot(SERVICE)
    assert snapshot is not None
    rest = numbered(rnd, [*decided, *(entry.message for entry in before[cut:])], before[cut - 1].seq)
    log = before[:cut] + rest
    for entry in before[:cut]:
        full.fold(entry)
    for name in forgotten:
        full.forget(name)
    part.ledger.remember_forgotten(snapshot.over)
    for entry in selected(snapshot, before[:cut]):
        part.fold(entry)
    # What hosts returned of jobs that are forgotten, the writer had them drop before its snapshot was stored.
    full._unclaimed = [events for events in full._unclaimed if events.job not in forgotten]
    assert part.decide(cut) == full.decide(cut)
    at = cut
    while at < len(log):
        end = rnd.randint(at + 1, len(log))
        for entry in log[at:end]:
            full.fold(entry)
            part.fold(entry)
        assert part.decide(end) == full.decide(end)
        at = end
    assert_equal(part.ledger, full.ledger)
    assert part.due(1e9) == full.due(1e9)


@seeds
@quick
def test_a_scheduler_decides_the_same(seed: int) -> None:
    rnd = random.Random(seed)
    log = numbered(rnd, merged(rnd))
    cut = rnd.randint(1, len(log))
    writer, full, part = (Scheduler(SchedulerSettings(), term) for term in (90, 99, 99))
    writer.fold(log[:cut])
    writer.decide()
    snapshot = writer.snapshot(SERVICE)
    assert snapshot is not None
    full.fold(log)
    part.recognise(snapshot.over)
    part.fold(selected(snapshot, log))
    for each in (full, part):
        each.tick(1.0)
    assert part.decide() == full.decide()
    assert_equal(part.ledger, full.ledger)
    assert (part.load, part.window(), part.status()["jobs"]) == (full.load, full.window(), full.status()["jobs"])


@seeds
@quick
def test_a_publisher_announces_the_same(seed: int) -> None:
    rnd = random.Random(seed)
    log = numbered(rnd, merged(rnd, sinks=True))
    cut = rnd.randint(1, len(log))
    writer, full, part = (Publisher(PublisherSettings(), term) for term in (90, 99, 99))
    writer.fold(log[:cut])
    writer.decide()
    snapshot = writer.snapshot(SERVICE)
    assert snapshot is not None
    full.fold(log)
    part.recognise(snapshot.over)
    part.fold(selected(snapshot, log))
    assert part.decide() == full.decide()
    assert_equal(part.ledger, full.ledger)
    skipped = {entry.message.job for entry in log[:cut] if isinstance(entry.message, Submitted)} - set(snapshot.jobs)
    assert sorted(map(repr, part.take_actions())) == sorted(repr(action) for action in full.take_actions() if action.job not in skipped)
    assert {name: left.placing.n_datasets for name, left in part._left.items()} == {
        name: left.placing.n_datasets for name, left in full._left.items() if name not in skipped
    }


# --- one thing at a time --------------------------------------------------------------------------------------------------


def ended_log() -> Log:
    """A log with a job that is done."""
    log = Log(flat(2), "a")
    log.fold(Ended(at=2, term=7, job="j", state="done"))
    return log


def test_of_jobs_that_are_forgotten_nothing_is_read() -> None:
    log = ended_log()
    log.ledger.forget_job("j")
    snapshot = snapshot_of(SERVICE, log.ledger)
    assert snapshot is not None
    assert (snapshot.jobs, snapshot.first, snapshot.last, snapshot.over) == ([], [], [], ["j"])
    assert [turn.message for turn in snapshot.turns] == [HostJoined(at=0, term=1, host="a", epoch=1, address="", runners=1, capacity=1)]
    assert snapshot.seq == log.seq


def test_a_job_that_ended_and_is_kept_is_read_up_to_its_last_message() -> None:
    log = ended_log()
    end = log.seq
    for epoch in range(2, 6):
        log.fold(HostJoined(at=0, term=1, host="b", epoch=epoch, address="", runners=1, capacity=1))
    log.ledger.reads_own = True
    snapshot = snapshot_of(SERVICE, log.ledger)
    assert snapshot is not None
    assert list(zip(snapshot.first, snapshot.last, strict=True)) == [(2, end)]


def test_ranges_that_nearly_touch_are_read_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "GAP", 10)
    assert snapshots._joined([Span(1, 5), Span(3, 4), Span(15, 20), Span(31, 40)], 35) == [Span(1, 20), Span(31, 35)]


def test_no_snapshot_of_a_log_that_was_not_read() -> None:
    assert snapshot_of(SERVICE, Ledger()) is None


def test_a_term_that_begins_with_a_decision_is_in_the_snapshot_like_any_other() -> None:
    """A leader of an older release does not write `TermBegan`."""
    log = ended_log()
    log.ledger.forget_job("j")
    began, later = (
        TermBegan(at=0, term=9, service="controller"),
        HostJoined(at=0, term=9, host="b", epoch=1, address="", runners=1, capacity=1),
    )
    log.fold(Needed(at=0, term=9, job="k", tasks=[], attempts=[]), began, later)
    snapshot = snapshot_of(SERVICE, log.ledger)
    assert snapshot is not None
    assert [turn.message for turn in snapshot.turns if isinstance(turn.message, TermBegan)] == [began]


def test_the_last_beginning_of_a_term_of_each_service_is_in_the_snapshot() -> None:
    log = ended_log()
    log.ledger.forget_job("j")
    for term in (8, 9):
        for service in ("controller", "scheduler"):
            log.fold(TermBegan(at=0, term=term, service=service))  # type: ignore[arg-type]
    log.fold(HostJoined(at=0, term=9, host="b", epoch=1, address="", runners=1, capacity=1))
    snapshot = snapshot_of(SERVICE, log.ledger)
    assert snapshot is not None
    part = Ledger()
    for found in Selection(_again(snapshot)).until(snapshot.seq):
        part.fold(found)
    assert part.terms == log.ledger.terms == {"controller": 9, "scheduler": 9}
    assert [turn.message.term for turn in snapshot.turns if isinstance(turn.message, TermBegan)] == [9, 9]


def test_what_a_host_holds_that_has_yet_to_join_again_is_in_the_snapshot() -> None:
    """Also of a job that is forgotten: the controller has the host drop it."""
    log = ended_log()
    log.ledger.forget_job("j")
    holds = Events(job="j", host="a", epoch=2, rejoining=True, produced=[0])
    log.fold(holds)
    log.fold(HostJoined(at=0, term=1, host="b", epoch=1, address="", runners=1, capacity=1))
    snapshot = snapshot_of(SERVICE, log.ledger)
    assert snapshot is not None
    assert holds in [turn.message for turn in snapshot.turns]
    part = Ledger()
    for found in Selection(_again(snapshot)).until(snapshot.seq):
        part.fold(found)
    joined = Entry(log.seq + 1, 0.0, "", HostJoined(at=0, term=1, host="a", epoch=2, address="", runners=1, capacity=1))
    part.fold(joined)
    assert part.take_unclaimed() == [holds]


def test_turns_that_are_not_true_any_more_are_dropped() -> None:
    """Of many hosts that came and went, those before the oldest job count for nothing but what is true of them."""
    log = Log(flat(1))
    log.fold(Ended(at=1, term=1, job="j", state="failed"))
    log.ledger.forget_job("j")
    for epoch in range(1, 200):
        log.fold(HostJoined(at=0, term=1, host="a", epoch=epoch, address="", runners=1, capacity=1))
        log.fold(HostLost(at=0, term=1, host="a", epoch=epoch))
    assert len(log.ledger.turns) <= 10
    snapshot = snapshot_of(SERVICE, log.ledger)
    assert snapshot is not None
    assert [(type(turn.message), turn.message.term) for turn in snapshot.turns] == [(TermBegan, 1), (HostJoined, 1)]
    assert [turn.message.epoch for turn in snapshot.turns[1:]] == [199]  # type: ignore[union-attr]
