"""What hosts did that joined again while a job went on that is forgotten now: a ledger from a snapshot has the same of all other jobs."""

from __future__ import annotations

from typing import Any

from headrace.ledger import NOWHERE, Ledger
from headrace.ledger.snapshot import snapshot_of
from headrace_schemas import Assign, Ended, Events, GraphSource, HostJoined, HostLost, Needed, Submitted
from tests.unit.test_ledger_fold import Log, flat
from tests.unit.test_ledger_snapshot import SERVICE, assert_equal, selected


def host_joined(host: str, epoch: int, **fields: Any) -> HostJoined:
    return HostJoined(at=0, term=1, host=host, epoch=epoch, address="", runners=1, capacity=1, **fields)


def after_another_job(*messages: Any, between: Any) -> tuple[Ledger, Ledger]:
    """Two ledgers of a log in which a job "other" begins, something happens, "other" is forgotten, and `messages` come: one that folded all
    of the log, and one that started from a snapshot after "other" was forgotten."""
    log = Log(flat(2), "a")
    log.events("a", produced=[0, 1], sizes=[9, 9], done=[0, 1])
    log.fold(Submitted(job="other", name="g", n_tasks=2, graph=GraphSource(inline=flat(2))), *between)
    log.fold(Ended(at=log.seq, term=1, job="other", state="failed"))
    log.ledger.forget_job("other")
    snapshot = snapshot_of(SERVICE, log.ledger)
    assert snapshot is not None
    part = Ledger()
    part.remember_forgotten(snapshot.over)
    for entry in selected(snapshot, log.entries):
        part.fold(entry)
    start = len(log.entries)
    log.fold(*messages)
    for entry in log.entries[start:]:
        part.fold(entry)
    return part, log.ledger


def held_of(job: str, epoch: int, *datasets: int) -> Events:
    return Events(job=job, host="a", epoch=epoch, rejoining=True, produced=list(datasets), sizes=[9] * len(datasets))


def test_what_a_host_returns_of_a_forgotten_job_spares_no_tasks_of_others() -> None:
    between = [HostLost(at=0, term=1, host="a", epoch=1), held_of("other", 2, 0), host_joined("a", 2), host_joined("b", 1)]
    part, full = after_another_job(
        Events(job="j", host="b", epoch=1, produced=[0], sizes=[9]),
        Needed(at=1, term=1, job="j", tasks=[0], attempts=[1]),
        between=between,
    )
    assert full.jobs["j"].again == {0}
    assert_equal(part, full)


def test_a_host_returns_also_if_it_lists_only_datasets_of_a_forgotten_job() -> None:
    started = Assign(at=0, term=1, job="j", host="a", epoch=1, hosts=["a"], addresses=[], chains=[0], lengths=[1], tasks=[0], attempts=[1])
    between = [
        Needed(at=0, term=1, job="j", tasks=[0], attempts=[1]),
        started,
        Events(job="j", host="a", epoch=1, started=[0]),
        held_of("other", 2, 0),
        host_joined("a", 2),
    ]
    part, full = after_another_job(between=between)
    assert [(each.why, each.died) for each in full.jobs["j"].interrupted[0]] == [("it lost its lease", False)]
    assert_equal(part, full)


def test_a_list_counts_whatever_the_host_listed_of_a_forgotten_job() -> None:
    between = [held_of("j", 2, 0), held_of("other", 3, 0)]
    part, full = after_another_job(host_joined("a", 2), between=between)
    assert full.jobs["j"].copies.homes.tolist() == [0, NOWHERE]
    assert_equal(part, full)


def test_when_the_log_last_said_of_a_host_that_it_joined_is_in_the_snapshot() -> None:
    log = Log(flat(1), "a")
    log.fold(Ended(at=1, term=1, job="j", state="failed"), host_joined("a", 1, again=True), host_joined("b", 1))
    log.ledger.forget_job("j")
    snapshot = snapshot_of(SERVICE, log.ledger)
    assert snapshot is not None
    part = Ledger()
    for entry in selected(snapshot, log.entries):
        part.fold(entry)
    assert part.hosts["a"].told == log.seq - 1
    assert_equal(part, log.ledger)
