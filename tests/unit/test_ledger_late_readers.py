"""Who begins to read the log when hosts have joined already, as a client does with its job, knows what everybody knows of the job."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.bus import Entry
from headrace.ledger import ASSIGNED, FAILED, JobLedger, Ledger
from headrace_schemas import Assign, Events, GraphSource, HostJoined, HostLost, Submitted
from tests.unit.test_controller_state import spec

N_TASKS = 6
HOSTS = ("a", "b")


def joined(host: str, epoch: int, **fields: Any) -> HostJoined:
    return HostJoined(at=0, term=1, host=host, epoch=epoch, address=f"{host}:{epoch}", runners=1, capacity=1, **fields)


def lost(host: str, epoch: int) -> HostLost:
    return HostLost(at=0, term=1, host=host, epoch=epoch)


def made(host: str, epoch: int, *datasets: int, **fields: Any) -> Events:
    return Events(job="j", host=host, epoch=epoch, produced=list(datasets), sizes=[9] * len(datasets), **fields)


def assigned(host: str, epoch: int, chain: int, task: int) -> Assign:
    return Assign(
        at=0, term=1, job="j", host=host, epoch=epoch, hosts=list(HOSTS), addresses=["", ""], chains=[chain], lengths=[1], tasks=[task]
    )


def submitted() -> Submitted:
    graph = spec([[] for _ in range(N_TASKS)], list(range(N_TASKS)))
    return Submitted(job="j", name="g", n_tasks=N_TASKS, graph=GraphSource(inline=graph))


def read(messages: list[Any], first: int = 0) -> JobLedger:
    """The job as somebody knows it who reads from there on."""
    ledger = Ledger()
    for seq, message in enumerate(messages[first:], first + 1):
        ledger.fold(Entry(seq, float(seq), "", message))
    return ledger.jobs["j"]


def late(*after: Any) -> JobLedger:
    """The job as somebody knows it who read nothing of host a, in its epoch 1, before it made datasets 0 and 1."""
    return read([submitted(), assigned("a", 1, 0, 2), made("a", 1, 0, 1), *after])


def test_what_a_host_held_is_lost_when_it_starts_anew_although_nothing_was_read_of_it_before() -> None:
    job = late(joined("a", 2))
    assert [job.holder(0), job.states[2], job.n_missing] == ["", FAILED, N_TASKS]
    job = late(joined("a", 2, rejoins=True))
    assert [job.holder(0), job.states[2]] == ["", FAILED], "it brought nothing back"
    job = late(made("a", 2, 1, rejoining=True), joined("a", 2))
    assert [job.holder(0), job.holder(1)] == ["", "a"]


@pytest.mark.parametrize("message", [joined("a", 1, again=True), joined("a", 1), lost("a", 0)], ids=["again", "the same", "lost before"])
def test_what_a_host_holds_is_there_when_the_log_tells_of_it_once_more(message: Any) -> None:
    job = late(message, made("a", 1, 2))
    assert [job.holder(0), job.holder(2), job.states[2]] == ["a", "a", ASSIGNED]


def test_what_comes_late_of_an_earlier_epoch_does_not_count() -> None:
    job = read([submitted(), made("a", 1, 0), made("a", 2, 1), made("a", 1, 2)])
    assert [job.holder(dataset) for dataset in range(3)] == ["", "a", ""]


class Life:
    """A host whose epochs begin and end, and some of whose messages come late."""

    def __init__(self, name: str, rng: random.Random) -> None:
        self.name, self.epoch, self.alive = name, 0, False
        self._rng = rng
        self._late: list[Any] = []

    def next(self) -> list[Any]:
        """What is written next by it or of it."""
        rng = self._rng
        if not self.alive:
            return self._join()
        what = rng.random()
        if what < 0.05:
            self.alive = False
            return [lost(self.name, self.epoch)]
        if what < 0.15:
            return self._join()
        if what < 0.2:
            return [joined(self.name, self.epoch, again=True)]
        if what < 0.4 and self._late:
            return [self._late.pop(0)]
        if what < 0.55:
            self._late += [made(self.name, self.epoch, rng.randrange(N_TASKS)), lost(self.name, self.epoch - 1)]
            return []
        if what < 0.75:
            return [assigned(self.name, self.epoch, *[rng.randrange(N_TASKS)] * 2)]
        return [made(self.name, self.epoch, rng.randrange(N_TASKS))]

    def _join(self) -> list[Any]:
        self.epoch += 1
        self.alive = True
        back = [made(self.name, self.epoch, self._rng.randrange(N_TASKS), rejoining=True)] if self._rng.random() < 0.5 else []
        return [*back, joined(self.name, self.epoch)]


@given(seed=st.integers(0, 10**9), before=st.integers(0, 12), after=st.integers(0, 40))
def test_who_reads_from_the_submission_on_knows_where_everything_is(seed: int, before: int, after: int) -> None:
    rng = random.Random(seed)
    lives = [Life(name, rng) for name in HOSTS]
    log: list[Any] = [message for life in lives for message in life.next()]
    for _ in range(before):
        log += rng.choice(lives).next()
    first = len(log)
    log.append(submitted())
    for _ in range(after):
        log += rng.choice(lives).next()
    log += [made(life.name, life.epoch, number) for number, life in enumerate(lives) if life.alive]  # the newest epochs are heard of
    everything, from_there = read(log), read(log, first)
    assert [from_there.holder(dataset) for dataset in range(N_TASKS)] == [everything.holder(dataset) for dataset in range(N_TASKS)]
    assert from_there.n_missing == everything.n_missing
