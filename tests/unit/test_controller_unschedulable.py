"""Jobs with tasks that no living host can take: at once when they are admitted, after a while when hosts went."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.bus import Entry
from headrace.controller.replay import check
from headrace.controller.settings import Settings
from headrace.controller.state import Controller, Decided
from headrace.errors import SettingsError
from headrace_schemas import Ended, Events, FunctionSpec, GraphSource, GraphSpec, HostJoined, HostLost, Needed, Stranded, Submitted
from tests.unit.test_controller_state import Play


def on_gpu(need: float = 1.0) -> GraphSpec:
    """A task that anyone can do, and one that takes what it makes and needs a GPU."""
    return GraphSpec(
        name="g", n_tasks=2, shape_hash="", content_hash="", function=[0, 1], n_inputs=[0, 1], inputs=[0], outputs=[1], blocks=[b""],
        functions=[FunctionSpec(name="load", module="m", qualname="load"),
                   FunctionSpec(name="train", module="m", qualname="train", resources={"gpu": need})],
        block_size=2, named=[1], names=["on a gpu"],
    )  # fmt: skip


class Log(Play):
    """A controller, and the log of what it was told and of what it decided."""

    def __init__(self) -> None:
        self.controller = Controller(1)
        self.seq = 0
        self.log: list[Entry] = []

    def tell(self, *messages: Any) -> list[Decided]:
        for message in messages:
            self._fold(message)
        decided = self.controller.decide(self.seq)
        for decision in decided:
            self._fold(decision)
        return decided

    def _fold(self, message: Any) -> None:
        self.seq += 1
        self.log.append(Entry(self.seq, float(self.seq), "", message))
        self.controller.fold(self.log[-1])

    def join(self, name: str, epoch: int = 1, **resources: float) -> list[Decided]:
        return self.tell(HostJoined(at=0, term=1, host=name, epoch=epoch, address="", runners=1, capacity=1, resources=resources))

    def lose(self, name: str, epoch: int = 1) -> list[Decided]:
        return self.tell(HostLost(at=0, term=1, host=name, epoch=epoch))

    def admit(self, spec: GraphSpec) -> list[Decided]:
        return self.tell(Submitted(job="j", name="g", n_tasks=spec.n_tasks, graph=GraphSource(inline=spec)))

    def timer(self, now: float) -> list[Decided]:
        """Time passes; what is to be written down is."""
        return self.tell(*self.controller.stranded(now, 10.0))


def error_of(decided: list[Decided]) -> str:
    (ended,) = decided
    assert isinstance(ended, Ended)
    assert (ended.state, ended.error is not None and ended.error.reason) == ("failed", "no_host")
    assert ended.error is not None
    assert ended.error.error in ended.reason
    return f"{ended.error.name}, inputs {ended.error.inputs}: {ended.error.error}"


def test_when_it_is_submitted_it_fails_at_once_and_says_what_to_do() -> None:
    log = Log()
    log.join("a")
    log.join("b", gpu=0.5)
    log.join("c")
    text = error_of(log.admit(on_gpu(2.0)))
    assert text.startswith("on a gpu, inputs ['load-0']: it needs gpu=2, which no host has: b: gpu=0.5; a, c: nothing. ")
    assert "headrace worker --resources gpu=2" in text
    assert check(log.log) == []


def test_many_hosts_are_told_in_few_words() -> None:
    log = Log()
    for k in range(20):
        log.join(f"plain-{k:02}")
        log.join(f"special-{k:02}", **{f"thing-{k:02}": 1})
    text = error_of(log.admit(on_gpu()))
    assert "plain-00, plain-01, plain-02, plain-03 and 16 more: nothing; " in text
    assert "and 17 other kinds of hosts. " in text


def test_where_a_host_has_it_or_none_lives_the_job_goes_on() -> None:
    waits, runs = Log(), Log()
    assert waits.admit(on_gpu()) == []
    assert waits.controller.stranded(0.0, 10.0) == waits.controller.stranded(99.0, 10.0) == []
    runs.join("a")
    runs.join("g", gpu=1)
    assert runs.admit(on_gpu()) == []
    assert runs.controller.stranded(0.0, 10.0) == runs.controller.stranded(99.0, 10.0) == []


def test_where_no_host_lives_for_long_the_job_fails_for_that() -> None:
    log = Log()
    log.admit(on_gpu())
    assert log.controller.alone(0.0, 60.0) == log.controller.alone(59.0, 60.0) == []
    [stranded] = log.controller.alone(60.0, 60.0)
    [ended] = log.tell(stranded)
    assert isinstance(ended, Ended)
    assert (ended.state, ended.error) == ("failed", None)
    assert ended.reason.startswith("no host has been at work for 60 s. Start a worker")
    assert log.controller.alone(999.0, 60.0) == []
    assert check(log.log) == []


def test_a_host_that_comes_ends_the_wait_and_when_it_goes_a_new_one_begins() -> None:
    log = running()
    assert log.controller.alone(0.0, 60.0) == []
    log.lose("a")
    log.lose("g")
    assert log.controller.alone(10.0, 60.0) == []
    log.join("g", 2, gpu=1)
    assert log.controller.alone(99.0, 60.0) == []
    log.lose("g", 2)
    assert log.controller.alone(100.0, 60.0) == log.controller.alone(159.0, 60.0) == []
    assert [stranded.alone for stranded in log.controller.alone(160.0, 60.0)] == [True]


def test_a_timer_that_comes_after_a_host_changes_nothing() -> None:
    log = Log()
    log.admit(on_gpu())
    log.controller.alone(0.0, 60.0)
    [stranded] = log.controller.alone(60.0, 60.0)
    log.join("g", gpu=1)
    assert log.tell(stranded) == []
    assert check(log.log) == []


def test_hosts_that_come_one_by_one_have_a_while() -> None:
    log = Log()
    log.admit(on_gpu())
    log.join("a")
    assert log.timer(0.0) == log.timer(9.9) == []
    log.join("g", gpu=1)
    assert log.timer(99.0) == []


def running() -> Log:
    """A job whose first task is done on a, and whose second one is at work on g, which has the GPU."""
    log = Log()
    log.join("a")
    log.join("g", gpu=1)
    log.admit(on_gpu())
    log.place(a=[[0]], g=[[1]])
    log.hear("a", chains=[0], produced=[0], sizes=[1])
    return log


def test_a_lost_host_has_a_while_to_come_back() -> None:
    log = running()
    (needed,) = log.lose("g")
    assert isinstance(needed, Needed)
    assert log.timer(100.0) == log.timer(109.0) == []
    error_of(log.timer(110.0))
    assert [type(entry.message) for entry in log.log[-2:]] == [Stranded, Ended]
    assert check(log.log) == []


def test_a_host_that_is_back_in_time_changes_nothing() -> None:
    log = running()
    log.lose("g")
    assert log.timer(100.0) == []
    log.join("g", 2, gpu=1)
    assert log.timer(111.0) == []
    log.lose("g", 2)
    assert log.timer(112.0) == log.timer(121.0) == [], "its while begins anew"
    error_of(log.timer(122.0))


def test_a_host_that_comes_back_without_it_is_not_the_one() -> None:
    log = running()
    log.join("g", 2)
    assert log.timer(100.0) == []
    error_of(log.timer(110.0))


def test_what_is_done_needs_nothing_until_it_is_lost() -> None:
    kept = Log()
    kept.join("a")
    kept.join("g", gpu=1)
    spec = on_gpu()
    spec.n_tasks, spec.function, spec.n_inputs, spec.inputs = 3, [0, 1, 0], [0, 1, 1], [0, 1]
    spec.outputs, spec.block_size = [2], 3
    kept.admit(spec)
    kept.place(a=[[0], [2]], g=[[1]])
    kept.hear("a", chains=[0], produced=[0], sizes=[1])
    kept.hear("g", chains=[2], produced=[1], sizes=[1])
    kept.hear("a", copied=[1])
    kept.lose("g")
    assert kept.timer(0.0) == kept.timer(50.0) == [], "a copy of what the GPU made is on a"
    kept.tell(Events(job="j", host="a", epoch=1, gone=[1]))
    assert kept.timer(60.0) == []
    error_of(kept.timer(70.0))


@pytest.mark.parametrize("together", [True, False])
def test_the_timer_is_judged_where_it_stands_in_the_log(together: bool) -> None:
    """However entries are batched: a host that comes after the timer is too late, one before it is not."""
    stranded = Stranded(at=0, term=1, job="j", seconds=10.0)
    back = HostJoined(at=0, term=1, host="g", epoch=2, address="", runners=1, capacity=1, resources={"gpu": 1})
    log = running()
    log.lose("g")
    error_of(log.tell(stranded, back) if together else log.tell(stranded) or log.tell(back))
    early = running()
    early.lose("g")
    assert (early.tell(back, stranded) if together else early.tell(back) + early.tell(stranded)) == []


def test_a_controller_that_takes_over_comes_to_the_same() -> None:
    log = running()
    log.lose("g")
    second = Controller(2)
    for entry in log.log:
        second.fold(entry)
    assert second.decide(log.seq) == []
    assert second.stranded(0.0, 10.0) == []
    (stranded,) = second.stranded(10.0, 10.0)
    second.fold(Entry(log.seq + 1, 99.0, "", stranded))
    error_of(second.decide(log.seq + 1))


def test_events_of_a_job_that_failed_for_it_change_nothing() -> None:
    log = Log()
    log.join("a")
    error_of(log.admit(on_gpu()))
    assert log.tell(Events(job="j", host="a", epoch=1, done=[0])) == []
    log.controller.forget("j")
    assert log.controller.stranded(0.0, 0.0) == []


def test_the_grace_is_a_setting() -> None:
    assert Settings.from_env({}).host_grace_seconds == 10.0
    assert Settings.from_env({"HEADRACE_HOST_GRACE": "2m"}).host_grace_seconds == 120.0
    assert Settings.from_env({"HEADRACE_NO_HOSTS_GRACE": "1h"}).no_hosts_grace_seconds == 3600.0
    with pytest.raises(SettingsError, match="HEADRACE_HOST_GRACE: 'long' is not a duration"):
        Settings.from_env({"HEADRACE_HOST_GRACE": "long"})
