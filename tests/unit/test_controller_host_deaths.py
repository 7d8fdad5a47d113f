"""A task that was running on hosts each time they were lost, and one that hosts have not enough memory for: when their jobs fail."""

from __future__ import annotations

import pytest

from headrace.controller.replay import check
from headrace.controller.settings import Limits, Settings
from headrace.controller.state import Controller, Decided
from headrace.errors import SettingsError
from headrace.ledger import runs_alone
from headrace_schemas import Ended, Events, HostJoined, HostLost, TaskError
from tests.unit.test_controller_pauses import Play


def lose_host(play: Play, started: list[int], epoch: int, reason: str = "its lease ran out") -> list[Decided]:
    """Host a is lost while it executes these tasks, and is back with the next epoch."""
    play.tell(Events(job="j", host="a", epoch=epoch, started=started))
    decided = play.tell(HostLost(at=0, term=1, host="a", epoch=epoch, reason=reason))
    play.tell(HostJoined(at=0, term=1, host="a", epoch=epoch + 1, address="", runners=1, capacity=1))
    return decided


def run_on(play: Play, task: int, epoch: int) -> None:
    """The task is tried again on host a in its new epoch."""
    due = play.controller.next_due
    assert due is not None
    play.now = due
    play.wait(0.0)
    play.attempts[task] += 1
    play.assign_on(task, epoch)


def test_a_task_that_was_running_on_three_hosts_that_were_lost_fails_its_job_and_says_where() -> None:
    play = Play()
    for epoch in (1, 2):
        assert not any(isinstance(each, Ended) for each in lose_host(play, [0], epoch))
        run_on(play, 0, epoch + 1)
    (ended,) = lose_host(play, [0], 3, reason="it left")
    assert isinstance(ended, Ended)
    assert ended.state == "failed"
    assert ended.error is not None
    assert (ended.error.reason, ended.error.task, ended.error.name) == ("host_lost", 0, "f-0")
    assert ended.reason == (
        "task 'f-0' failed (host lost): 3 hosts were lost while they executed it: attempt 0 on a (its lease ran out); "
        "attempt 1 on a (its lease ran out); attempt 2 on a (it left). Look at what it does there (memory, signals, devices); the limit is "
        "HEADRACE_HOST_DEATHS"
    )
    assert check(play.log) == []


def test_a_task_that_only_waited_there_is_tried_again_without_an_end() -> None:
    play = Play(n_tasks=1)
    for epoch in range(1, 20):
        decided = lose_host(play, [], epoch)
        assert [type(each).__name__ for each in decided] == ["Needed"]
        play.attempts[0] += 1
        play.assign_on(0, epoch + 1)


def test_how_many_is_a_setting() -> None:
    assert Settings.from_env({"HEADRACE_HOST_DEATHS": "5"}).limits == Limits(host_deaths=5)
    with pytest.raises(SettingsError, match="HEADRACE_HOST_DEATHS is '0'"):
        Settings.from_env({"HEADRACE_HOST_DEATHS": "0"})
    play = Play()
    play.controller = Controller(2, Limits(host_deaths=1))
    for entry in play.log:
        play.controller.fold(entry)
    play.controller.decide(len(play.log))
    (ended,) = lose_host(play, [0], 1)
    assert isinstance(ended, Ended)


def memory_play(*memories: int) -> Play:
    play = Play()
    for host, memory in zip("ab", memories, strict=True):
        play.tell(HostJoined(at=0, term=1, host=host, epoch=2, address="", runners=1, capacity=1, memory=memory))
    play.now = play.controller.next_due or play.now
    play.wait(0.0)
    play.attempts[0] = play.controller.ledger.jobs["j"].attempts[0]
    play.assign_on(0, 2)
    return play


def out_of_memory(play: Play, limit: int = 100 << 20) -> list[Decided]:
    error = TaskError(task=0, attempt=play.attempts[0], reason="out_of_memory", error="killed at 95 MiB", limit=limit)
    return play.tell(Events(job="j", host="a", epoch=2, failed=[error]))


def try_again(play: Play) -> None:
    run_on(play, 0, 2)


def test_a_task_that_is_out_of_memory_is_tried_alone_and_fails_if_no_host_has_more() -> None:
    play = memory_play(100 << 20, 80 << 20)
    assert out_of_memory(play) == []
    assert runs_alone(play.controller.ledger.jobs["j"], 0)
    try_again(play)
    (ended,) = out_of_memory(play)
    assert isinstance(ended, Ended)
    assert ended.reason == (
        "task 0 failed (out of memory) after 2 attempts: killed at 95 MiB. It ran alone, and no host has more memory "
        "(a: 100 MiB, b: 80 MiB). Have the task need less, or start a larger host"
    )


def test_it_is_tried_on_a_larger_host_if_there_is_one() -> None:
    play = memory_play(100 << 20, 200 << 20)
    out_of_memory(play)
    try_again(play)
    assert out_of_memory(play) == []
    try_again(play)
    (ended,) = out_of_memory(play, limit=200 << 20)
    assert isinstance(ended, Ended)
    assert "after 3 attempts" in ended.reason
