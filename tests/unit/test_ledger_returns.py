"""Hosts that lost their lease and join again: what they hold counts from then on, and is not made again."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.ledger import DONE, NOWHERE, WAITING, host_deaths
from headrace_schemas import Ended, HostJoined, HostLost, Needed, Released
from tests.unit.test_ledger_fold import Log, flat, spec


def joined(epoch: int, host: str = "a") -> HostJoined:
    return HostJoined(at=0, term=1, host=host, epoch=epoch, address="", runners=1, capacity=1)


def lost(epoch: int = 1, host: str = "a") -> HostLost:
    return HostLost(at=0, term=1, host=host, epoch=epoch)


def held(log: Log, datasets: list[int], epoch: int = 2, host: str = "a", **columns: Any) -> None:
    log.events(host, epoch, rejoining=True, produced=datasets, sizes=[9] * len(datasets), **columns)


def made(n_tasks: int = 3, host: str = "a") -> Log:
    """A job of whose outputs all are on a host."""
    log = Log(flat(n_tasks), "a", "b")
    log.events(host, produced=list(range(n_tasks)), sizes=[9] * n_tasks, done=list(range(n_tasks)))
    return log


def homes(log: Log) -> list[int]:
    return log.job.copies.home.tolist()


def test_what_a_host_holds_counts_from_the_moment_at_which_it_has_joined_again() -> None:
    log = made()
    log.fold(lost())
    held(log, [0, 2])
    assert homes(log) == [NOWHERE] * 3
    assert log.job.n_missing == 3
    log.fold(joined(2))
    assert homes(log) == [0, NOWHERE, 0]
    assert log.job.n_missing == 1


def test_a_host_that_joins_again_before_anybody_saw_that_it_was_lost_loses_only_what_it_does_not_list() -> None:
    log = made()
    held(log, [1])
    log.job.take_changes()
    log.fold(joined(2))
    changes = log.job.take_changes()
    assert homes(log) == [NOWHERE, 0, NOWHERE]
    assert {d for d in changes.lost.list() if log.job.copies.homes[d] == NOWHERE} == {0, 2}
    log.fold(lost(1))
    assert homes(log) == [NOWHERE, 0, NOWHERE]


def test_a_reader_that_begins_after_the_host_joined_keeps_its_list_aside_until_it_joins_again() -> None:
    log = Log(flat(3))
    log.events("a", produced=[0, 1, 2], sizes=[9] * 3, done=[0, 1, 2])
    held(log, [0, 2])
    assert homes(log) == [0, 0, 0]
    log.fold(lost())
    assert homes(log) == [NOWHERE] * 3
    log.fold(joined(2))
    assert homes(log) == [0, NOWHERE, 0]


def test_a_reader_that_begins_after_the_host_joined_believes_only_its_list_if_the_loss_is_not_in_the_log() -> None:
    log = Log(flat(3))
    log.events("a", produced=[0, 1, 2], sizes=[9] * 3, done=[0, 1, 2])
    held(log, [0, 2])
    log.fold(joined(2))
    assert homes(log) == [0, NOWHERE, 0]


def test_a_list_of_an_epoch_that_never_came_or_was_lost_at_once_counts_for_nothing() -> None:
    log = made()
    log.fold(lost())
    held(log, [0], epoch=2)
    held(log, [1], epoch=3)
    log.fold(joined(3))
    assert homes(log) == [NOWHERE, 0, NOWHERE]
    held(log, [2], epoch=4)
    log.fold(lost(4), joined(4))
    assert homes(log) == [NOWHERE] * 3
    held(log, [2], epoch=2)
    assert homes(log) == [NOWHERE] * 3


def test_tasks_to_be_run_again_for_what_has_come_back_are_spared_and_their_inputs_with_them() -> None:
    log = Log(spec(3, [[], [0], [1]], [1, 2]), "a", "b")
    log.events("a", produced=[0, 1], sizes=[9, 9], done=[0, 1])
    log.events("a", gone=[0])
    log.fold(lost(), Needed(at=0, term=1, job="j", tasks=[0, 1], attempts=[1, 1]))
    assert log.job.again == {0, 1}
    held(log, [1])
    log.job.take_changes()
    log.fold(joined(2))
    assert not log.job.again
    assert log.job.state.tolist() == [DONE, DONE, WAITING]
    assert log.job.n_done == 2
    assert set(log.job.take_changes().done.list()) == {0, 1}


def test_a_task_whose_dataset_somebody_else_needs_yet_is_run_again() -> None:
    log = Log(spec(3, [[], [0], [0]], [1, 2]), "a", "b")
    log.events("a", produced=[0, 1], sizes=[9, 9], done=[0, 1])
    log.fold(lost(), Needed(at=0, term=1, job="j", tasks=[0, 1], attempts=[1, 1]))
    held(log, [1])
    log.fold(joined(2))
    assert log.job.again == {0}
    assert log.job.state.tolist() == [WAITING, DONE, WAITING]


def test_facts_of_the_epoch_before_that_the_log_did_not_have_count_too() -> None:
    log = Log(flat(2), "a", keep_values=True)
    log.assign([[0], [1]], "a")
    log.fold(lost())
    log.events("a", 2, rejoining=True, produced=[0], sizes=[1], value_ids=[0], values=[b"v"], done=[0])
    assert log.job.values == {}
    log.fold(joined(2))
    assert log.job.values == {0: b"v"}
    assert log.job.states[0] == DONE


def test_what_is_held_of_jobs_that_failed_or_are_not_known_is_told_to_whoever_asks() -> None:
    log = made()
    log.fold(Ended(at=0, term=1, job="j", state="failed"), lost())
    held(log, [0])
    log.fold(joined(2))
    assert [events.produced for events in log.ledger.take_unclaimed()] == [[0]]
    assert log.ledger.take_unclaimed() == []
    log.ledger.forget_job("j")
    held(log, [1])
    assert [events.produced for events in log.ledger.take_unclaimed()] == [[1]]


def test_an_output_that_was_released_meanwhile_is_known_to_be_there() -> None:
    log = made()
    log.fold(Ended(at=0, term=1, job="j", state="done"), lost(), Released(at=0, term=1, job="j"))
    log.job.take_changes()
    held(log, [0])
    log.fold(joined(2))
    assert log.job.take_changes().touched
    assert log.job.copies.holds(0, 0)


def test_a_host_that_returns_with_what_it_held_did_not_die_under_its_tasks() -> None:
    log = Log(flat(3), "a", "b")
    log.assign([[0], [1], [2]])
    log.events("a", started=[1], produced=[0], sizes=[9], done=[0])
    log.fold(lost())
    assert [each.host for each in host_deaths(log.job, 1)] == ["a"]
    held(log, [0])
    log.fold(joined(2))
    assert host_deaths(log.job, 1) == []
    assert [each.attempt for each in log.job.interrupted[1]] == [0], "its attempt failed all the same"
    assert log.job.is_paused(1)


def test_a_decision_to_run_tasks_again_that_comes_after_the_host_is_back_spares_them_too() -> None:
    log = made()
    log.fold(lost())
    decided_at = log.seq
    held(log, [0, 1])
    log.fold(joined(2), Needed(at=decided_at, term=1, job="j", tasks=[0, 1, 2], attempts=[1, 1, 1]))
    assert log.job.state.tolist() == [DONE, DONE, WAITING]
    assert log.job.again == {2}
    log.events("a", 2, gone=[0])
    log.fold(Needed(at=log.seq, term=1, job="j", tasks=[0], attempts=[2]))
    assert log.job.again == {0, 2}


def test_nor_did_one_that_returns_with_nothing() -> None:
    log = Log(flat(1), "a", "b")
    log.assign([[0]])
    log.events("a", started=[0])
    log.fold(lost())
    assert len(host_deaths(log.job, 0)) == 1
    log.fold(msgspec.structs.replace(joined(2), rejoins=True))
    assert host_deaths(log.job, 0) == []
