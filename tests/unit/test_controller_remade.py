"""Outputs that are lost after their job's end, before a client has them, are made again. The job stays done."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace.bus import Entry
from headrace.controller.replay import check
from headrace.controller.state import Decided
from headrace.ledger import RELEASED, JobLedger, Ledger
from headrace.ledger.entry import entry_of
from headrace_schemas import Ended, Events, GraphSource, HostJoined, HostLost, LogMessage, Needed, Released, Submitted, TaskError
from tests.unit.controller_world import JOB, World, told
from tests.unit.test_controller_state import Play, spec


def chain_of_two(retries: int = 0) -> Play:
    """A job that is done: task 1 takes what task 0 made, and its large output is on host a."""
    play = Play(spec([[], [0]], [1], retries=retries))
    play.place(a=[[0], [1]])
    end_of(play, play.hear("a", produced=[0, 1], sizes=[9, 9], done=[0, 1]))
    return play


def end_of(play: Play, decisions: list[Decided]) -> Ended:
    """The end of a job that was decided, which the log has now."""
    [ended] = decisions
    assert isinstance(ended, Ended)
    assert play.tell(ended) == []
    return ended


def lost(host: str = "a") -> HostLost:
    return HostLost(at=0, term=1, host=host, epoch=1)


def needed(decisions: list[Decided]) -> list[tuple[list[int], list[int]]]:
    return [(decision.tasks, decision.attempts) for decision in decisions if isinstance(decision, Needed)]


def test_a_lost_output_is_made_again_with_all_that_it_is_made_of() -> None:
    play = chain_of_two()
    job = play.controller.ledger.jobs["j"]
    first = job.end
    assert needed(play.tell(lost())) == [([0, 1], [1, 1])]
    assert (job.phase, job.reopened) == ("done", True)
    play.tell(play.assignment("b", ["a", "b"], [(2, [0]), (3, [1])], [1, 1]))
    [again] = play.hear("b", produced=[0, 1], produced_attempts=[1, 1], sizes=[9, 9], done=[0, 1], done_attempts=[1, 1])
    assert isinstance(again, Ended)
    assert (again.state, again.reason) == ("done", "")
    assert (job.end, job.reopened, job.holder(1)) == (first, False, "b")


def test_what_hosts_dropped_at_the_end_is_not_taken_to_be_there() -> None:
    play = Play(spec([[], [0], [0]], [1, 2]))
    play.place(a=[[1]], b=[[0], [2]])
    play.hear("b", produced=[0, 2], sizes=[9, 9], done=[0, 2])
    end_of(play, play.hear("a", copied=[0], produced=[1], sizes=[9], done=[1]))
    assert needed(play.tell(lost())) == [([0, 1], [1, 1])]


def test_outputs_that_a_client_has_or_whose_values_are_in_the_log_are_not_made_again() -> None:
    play = chain_of_two()
    play.tell(Released(at=0, term=1, job="j"))
    assert play.tell(lost()) == []
    inline = Play(spec([[]], [0]))
    inline.place(a=[[0]])
    inline.hear("a", produced=[0], sizes=[1], done=[0], value_ids=[0], values=[b"x"])
    assert inline.tell(lost()) == []


def test_a_host_that_comes_back_with_the_output_ends_the_search_for_it() -> None:
    play = chain_of_two()
    play.tell(lost())
    back = Events(job="j", host="a", epoch=2, rejoining=True, produced=[1], sizes=[9])
    [again] = play.tell(back, HostJoined(at=0, term=1, host="a", epoch=2, address="", runners=1, capacity=1))
    assert isinstance(again, Ended)
    job = play.controller.ledger.jobs["j"]
    assert (job.holder(1), job.again, job.reopened) == ("a", set(), False)


def test_gives_up_outputs_that_cannot_be_computed_again_and_says_why() -> None:
    play = chain_of_two()
    play.tell(lost())
    play.tell(play.assignment("b", ["a", "b"], [(2, [0]), (3, [1])], [1, 1]))
    [end] = play.hear("b", failed=[TaskError(task=0, attempt=1, name="load", error="OSError: no such file")])
    assert isinstance(end, Ended)
    assert end.state == "done"
    assert end.reason.startswith("lost outputs could not be computed again: task 'load' failed")
    job = play.controller.ledger.jobs["j"]
    assert (job.phase, job.release_reason, job.n_missing) == ("done", end.reason, 0)
    assert job.flag[1] & RELEASED


def test_outputs_that_expire_meanwhile_are_not_made() -> None:
    play = chain_of_two()
    play.tell(lost())
    [again] = play.tell(Released(at=0, term=1, job="j"))
    assert isinstance(again, Ended)
    assert not play.controller.ledger.jobs["j"].reopened


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**9), n_tasks=st.integers(1, 14), n_hosts=st.integers(1, 3), lapse=st.booleans())
@example(seed=763, n_tasks=14, n_hosts=3, lapse=False)  # a host reports what it drops when it hears of the job's end, before it hears of it
@example(seed=4161451, n_tasks=5, n_hosts=3, lapse=False)  # the job ended while a task ran again that is needed again later
@example(seed=457735475, n_tasks=1, n_hosts=3, lapse=True)  # the end is in the log once more, after outputs are needed again
@example(seed=685802561, n_tasks=8, n_hosts=1, lapse=False)  # a task is needed again before the end, which is in the log first
@example(seed=827053039, n_tasks=2, n_hosts=2, lapse=True)  # a task is needed again twice, and the second word comes first
def test_outputs_are_there_again_whatever_is_lost_after_the_end(seed: int, n_tasks: int, n_hosts: int, lapse: bool) -> None:
    world = World(seed, n_tasks, n_hosts, shuffle=0.2, lapse=0.05 if lapse else 0.0)
    assert world.run() == "done"
    for host in list(world.hosts.values()):
        if world.rnd.random() < 0.6:
            world.lose_host(host)
    for step in range(20_000):
        world.step(faults=step < 100)
        job = world.controller.ledger.jobs[JOB]
        quiet = world.controller_read == world.scheduler_read == len(world.log) and not world.controller_outbox
        if step >= 100 and quiet and not job.n_missing and not job.reopened:
            break
    else:
        raise AssertionError(f"outputs are missing: {job.status()}")
    assert all(map(job.available, job.outputs()))
    assert world.ended() == "done"
    assert check(world.log) == []
    assert told(world.reader.jobs[JOB]) == told(job), "who reads the log now knows what the controller knows"


def test_an_output_that_is_lost_before_the_end_is_in_the_log_is_made_again_once_it_is() -> None:
    play = Play(spec([[], [0]], [1]))
    play.place(a=[[0], [1]])
    [ended] = play.hear("a", produced=[0, 1], sizes=[9, 9], done=[0, 1])
    assert play.tell(lost()) == []
    assert needed(play.tell(ended)) == [([0, 1], [1, 1])]


def test_messages_of_before_the_end_that_come_after_it_open_and_close_nothing() -> None:
    ledger = Ledger()
    graph = spec([[], [0]], [1])
    submitted = Submitted(job="j", name="g", n_tasks=2, graph=GraphSource(inline=graph))

    def fold(*messages: LogMessage) -> JobLedger:
        for message in messages:
            ledger.fold(Entry(ledger.last_seq + 1, 0.0, "", message))
        return ledger.jobs["j"]

    def need(at: int, attempt: int) -> Needed:
        return Needed(at=at, term=1, job="j", tasks=[1], attempts=[attempt])

    def end(at: int, reason: str = "") -> Ended:
        return Ended(at=at, term=1, job="j", state="done", reason=reason)

    job = fold(submitted, end(20), need(15, 1))
    assert (job.phase, job.reopened, job.attempts[1]) == ("done", False, 1), "it was needed before the end"
    job = fold(need(30, 2), end(20))
    assert (job.reopened, job.attempts[1]) == (True, 2), "the end is in the log once more"
    job = fold(end(40, "gone for good"))
    assert (job.phase, job.reopened, job.release_reason, entry_of(job).error) == ("done", False, "gone for good", "")
