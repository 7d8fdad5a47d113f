"""What the controller decides when a host that it took for lost joins again with what it holds."""

from __future__ import annotations

from headrace_schemas import CancelAsked, Events, HostJoined, HostLost, Purge, Released
from tests.unit.test_controller_state import Play, spec


def joined(epoch: int) -> HostJoined:
    return HostJoined(at=0, term=1, host="a", epoch=epoch, address="", runners=1, capacity=1)


def held(*datasets: int, epoch: int = 2) -> Events:
    return Events(job="j", host="a", epoch=epoch, rejoining=True, produced=list(datasets), sizes=[9] * len(datasets))


def done(outputs: int = 2) -> Play:
    play = Play(spec([[] for _ in range(outputs)], list(range(outputs))))
    play.place(a=[[task] for task in range(outputs)])
    play.tell(Events(job="j", host="a", epoch=1, produced=list(range(outputs)), sizes=[9] * outputs, done=list(range(outputs))))
    return play


def lost() -> HostLost:
    return HostLost(at=0, term=1, host="a", epoch=1)


def test_what_was_lost_for_a_moment_only_is_not_needed_again() -> None:
    play = Play(spec([[], [0]], [1]))
    play.place(a=[[0]], b=[[1]])
    play.tell(Events(job="j", host="a", epoch=1, produced=[0], sizes=[9], done=[0]))
    assert play.tell(held(0), joined(2)) == []


def test_outputs_that_were_released_while_their_host_was_away_are_dropped_there() -> None:
    play = done()
    assert play.tell(lost(), Released(at=0, term=1, job="j")) == []
    [purge] = play.tell(held(0, 1), joined(2))
    assert isinstance(purge, Purge)
    assert (purge.job, purge.host, purge.epoch, purge.datasets) == ("j", "a", 2, [0, 1])


def test_so_are_those_of_a_job_that_is_forgotten_by_now() -> None:
    play = done()
    play.tell(lost(), Released(at=0, term=1, job="j"))
    play.controller.forget("j")
    [purge] = play.tell(held(1, 0), joined(2))
    assert isinstance(purge, Purge)
    assert (purge.job, purge.host, purge.epoch, purge.datasets) == ("j", "a", 2, [0, 1])
    assert play.tell() == []


def test_and_what_is_held_of_a_job_that_was_cancelled() -> None:
    play = Play(spec([[], []], [0, 1]))
    play.place(a=[[0], [1]])
    play.tell(Events(job="j", host="a", epoch=1, produced=[0], sizes=[9], done=[0]))
    play.tell(lost())
    play.tell(CancelAsked(at=0, term=1, job="j"))
    [purge] = play.tell(held(0), joined(2))
    assert isinstance(purge, Purge)
    assert purge.datasets == [0]
