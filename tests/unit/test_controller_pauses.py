"""Pauses before a task that failed is tried again: they double, go through the log, and outlive the controller that began them."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.bus import Entry
from headrace.controller.pauses import pause_seconds
from headrace.controller.replay import check
from headrace.controller.settings import Limits
from headrace.controller.state import Controller, Decided
from headrace_schemas import (
    Assign,
    CancelAsked,
    Due,
    Ended,
    Events,
    FunctionSpec,
    GraphSource,
    GraphSpec,
    HostJoined,
    HostLost,
    LogMessage,
    Needed,
    Submitted,
    TaskError,
)

LIMITS = Limits()


def graph(n_tasks: int, retries: int) -> GraphSpec:
    """Independent tasks."""
    function = FunctionSpec(name="f", module="m", qualname="f", retries=retries)
    return GraphSpec(
        name="g", n_tasks=n_tasks, shape_hash="", content_hash="", function=[0] * n_tasks, functions=[function],
        outputs=list(range(n_tasks)), blocks=[b""], block_size=n_tasks,
    )  # fmt: skip


class Play:
    """A log that one controller after another folds and decides on. Each message is written `now`."""

    def __init__(self, n_tasks: int = 1, retries: int = 1000) -> None:
        self.log: list[Entry] = []
        self.now = 0.0
        self.controller = Controller(1)
        self.attempts = [0] * n_tasks
        for host in "ab":
            self.tell(HostJoined(at=0, term=1, host=host, epoch=1, address="", runners=1, capacity=1))
        self.tell(Submitted(job="j", name="g", n_tasks=n_tasks, graph=GraphSource(inline=graph(n_tasks, retries))))
        self.assign(*range(n_tasks))

    def tell(self, *messages: LogMessage) -> list[Decided]:
        """What was decided is in the log at once."""
        for message in messages:
            self._write(message)
        decided = self.controller.decide(len(self.log))
        for decision in decided:
            self._write(decision)
        return decided

    def _write(self, message: LogMessage) -> None:
        self.log.append(Entry(len(self.log) + 1, self.now, "", message))
        self.controller.fold(self.log[-1])

    def assign(self, *tasks: int, host: str = "a", epoch: int = 1) -> None:
        ids = [len(self.attempts) * self.attempts[task] + task for task in tasks]
        self.tell(
            Assign(
                at=0,
                term=1,
                job="j",
                host=host,
                epoch=epoch,
                hosts=["a", "b"],
                addresses=["", ""],
                chains=ids,
                lengths=[1] * len(tasks),
                tasks=list(tasks),
                attempts=[self.attempts[task] for task in tasks],
            )
        )

    def assign_on(self, task: int, epoch: int) -> None:
        """Assign a task to host a in a later epoch."""
        self.assign(task, epoch=epoch)

    def hear(self, host: str = "a", **columns: Any) -> list[Decided]:
        return self.tell(Events(job="j", host=host, epoch=1, **columns))

    def fail(self, task: int = 0, reason: str = "raised") -> list[Decided]:
        return self.hear(failed=[TaskError(task=task, attempt=self.attempts[task], reason=reason, error="E: x")])

    def wait(self, seconds: float) -> list[Decided]:
        """Time passes, and what is due then is written down."""
        self.now += seconds
        return self.tell(*self.controller.due(self.now))

    def try_again(self, task: int = 0, host: str = "a") -> float:
        """Wait until the task is needed again, and assign it. Returns for how long that was."""
        due = self.controller.next_due
        assert due is not None
        assert self.wait(due - self.now - 0.001) == []
        self.now = due
        (needed,) = self.wait(0.0)
        assert isinstance(needed, Needed)
        self.attempts[task] += 1
        assert (needed.tasks, needed.attempts) == ([task], [self.attempts[task]])
        self.assign(task, host=host)
        return due

    def take_over(self) -> None:
        """Another controller reads the log from its beginning."""
        self.controller = Controller(self.controller.term + 1)
        for entry in self.log:
            self.controller.fold(entry)
        assert self.controller.decide(len(self.log)) == []


def test_pauses_double_to_half_a_minute() -> None:
    for failures in range(1, 1001):
        longest = min(LIMITS.longest_pause_seconds, LIMITS.pause_seconds * 2 ** (failures - 1))
        assert longest / 2 <= pause_seconds(LIMITS, "j", 3, failures - 1, failures) <= longest


def test_tasks_that_failed_together_are_tried_again_one_after_another() -> None:
    pauses = [pause_seconds(LIMITS, "j", task, 5, 6) for task in range(1000)]
    assert len(set(pauses)) == 1000
    assert sum(pauses) / 1000 == pytest.approx(0.75 * 3.2, rel=0.02)
    assert pauses[:3] == [pause_seconds(LIMITS, "j", task, 5, 6) for task in range(3)], "the same for the same attempt"
    assert pauses[:3] != [pause_seconds(LIMITS, "k", task, 5, 6) for task in range(3)]


def test_a_task_is_needed_again_once_its_pause_is_over_and_the_next_one_is_longer() -> None:
    play = Play()
    waited = []
    for _ in range(5):
        before = play.now
        assert play.fail() == []
        waited.append(play.try_again() - before)
    assert [round(seconds / LIMITS.pause_seconds, 1) for seconds in waited] == pytest.approx([0.75, 1.5, 3.0, 6.0, 12.0], rel=0.34)
    assert play.controller.next_due is None
    assert check(play.log) == []


def test_each_of_many_tasks_has_its_own_pause() -> None:
    play = Play(3)
    for task in range(3):
        play.fail(task)
    found: list[list[int]] = []
    while play.controller.next_due is not None:
        found += [decision.tasks for decision in play.wait(play.controller.next_due - play.now) if isinstance(decision, Needed)]
    assert sorted(found) == [[0], [1], [2]]
    assert check(play.log) == []


def test_what_is_due_together_is_written_down_together() -> None:
    play = Play(3)
    for task in range(3):
        play.fail(task)
    play.now = 99.0
    (due,) = play.controller.due(play.now)
    assert (sorted(due.tasks), due.attempts) == ([0, 1, 2], [0, 0, 0])
    (needed,) = play.tell(due)
    assert isinstance(needed, Needed)
    assert needed.tasks == [0, 1, 2]


def test_another_controller_waits_for_what_is_left_of_the_pause() -> None:
    play = Play()
    for _ in range(6):
        play.fail()
        play.try_again()
    play.fail()
    due = play.controller.next_due
    play.now += 0.5
    play.hear(memory_used=1)
    play.take_over()
    assert play.controller.next_due == due
    play.try_again()
    assert check(play.log) == []


def test_what_another_controller_has_written_down_is_not_written_again() -> None:
    play = Play()
    play.fail()
    play.wait(1.0)
    play.take_over()
    assert play.controller.due(99.0) == []


def test_a_pause_that_is_written_down_twice_or_late_changes_nothing() -> None:
    play = Play()
    play.fail()
    play.now += 1.0
    (due,) = play.controller.due(play.now)
    assert len(play.tell(due)) == 1
    assert play.tell(due) == []
    play.attempts[0] = 1
    play.assign(0)
    assert play.tell(due) == []
    assert play.fail() == []
    assert play.tell(due) == [], "of an attempt before"
    assert check(play.log) == []


def test_a_job_that_is_cancelled_meanwhile_is_over_at_once() -> None:
    play = Play()
    play.fail()
    (ended,) = play.tell(CancelAsked(at=1, term=1, job="j"))
    assert isinstance(ended, Ended)
    assert ended.state == "cancelled"
    assert play.wait(99.0) == []


def test_a_job_that_fails_meanwhile_is_not_tried_again() -> None:
    play = Play(2)
    play.fail(0)
    (ended,) = play.fail(1, "import_failed")
    assert isinstance(ended, Ended)
    assert play.controller.due(99.0) == []


def test_what_ends_well_meanwhile_is_not_tried_again() -> None:
    """Of an attempt before, on a host that was only slow to say so."""
    play = Play(2)
    play.fail(0)
    play.try_again(0)
    play.fail(0)
    play.hear(done=[0], produced=[0], sizes=[1])
    assert play.wait(99.0) == []


def test_a_task_that_keeps_killing_its_runner_is_given_up_after_pauses() -> None:
    play = Play(retries=0)
    for reason in ("runner_died", "out_of_memory"):
        assert play.fail(reason=reason) == []
        play.try_again()
    (ended,) = play.fail(reason="runner_died")
    assert isinstance(ended, Ended)
    assert "after 3 attempts" in ended.reason


def test_a_task_that_was_running_on_a_host_that_is_lost_waits_and_others_do_not() -> None:
    play = Play(2)
    play.hear(started=[0])
    (needed,) = play.tell(HostLost(at=0, term=1, host="a", epoch=1))
    assert isinstance(needed, Needed)
    assert needed.tasks == [1]
    before = play.now
    first = play.try_again(0, "b") - before
    play.hear("b", started=[0])
    before = play.now
    assert play.tell(HostLost(at=0, term=1, host="b", epoch=1)) == []
    play.tell(HostJoined(at=0, term=1, host="b", epoch=2, address="", runners=1, capacity=1))
    assert play.try_again(0, "b") - before > first
    assert check(play.log) == []


@pytest.mark.parametrize("tasks", [[-1], [7], []])
def test_a_pause_of_tasks_that_there_are_not_changes_nothing(tasks: list[int]) -> None:
    play = Play()
    play.fail()
    assert play.tell(Due(at=1, term=1, job="j", tasks=tasks, attempts=[0] * len(tasks))) == []
    assert play.tell(Due(at=1, term=1, job="k", tasks=[0], attempts=[0])) == []
