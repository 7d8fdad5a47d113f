"""What the controller decides, case by case; `test_controller_world` has the cases nobody thought of."""

from __future__ import annotations

import math
from typing import Any

import pytest

from headrace.bus import Entry
from headrace.controller.settings import Limits
from headrace.controller.state import Controller, Decided
from headrace_schemas import (
    Assign,
    CancelAsked,
    Ended,
    Events,
    FunctionSpec,
    GraphSource,
    GraphSpec,
    HostJoined,
    HostLost,
    Needed,
    Plan,
    Purge,
    Released,
    Submitted,
    TaskError,
)


def spec(inputs: list[list[int]], outputs: list[int], retries: int = 0, n_outputs: list[int] | None = None) -> GraphSpec:
    n_tasks = len(inputs)
    return GraphSpec(
        name="g", n_tasks=n_tasks, shape_hash="", content_hash="", function=[0] * n_tasks, n_inputs=[len(i) for i in inputs],
        functions=[FunctionSpec(name="f", module="m", qualname="f", retries=retries)], inputs=[d for i in inputs for d in i],
        outputs=outputs, n_outputs=n_outputs or [], blocks=[b""], block_size=n_tasks,
    )  # fmt: skip


class Play:
    """A controller that is told one thing after another, and what it decided at each."""

    def __init__(self, graph: GraphSpec, hosts: str = "ab", limits: Limits | None = None) -> None:
        self.controller = Controller(1, limits)
        self.seq = 0
        for host in hosts:
            self.tell(HostJoined(at=0, term=1, host=host, epoch=1, address="", runners=1, capacity=1))
        self.tell(Submitted(job="j", name="g", n_tasks=graph.n_tasks, graph=GraphSource(inline=graph)))

    def tell(self, *messages: Any) -> list[Decided]:
        for message in messages:
            self.seq += 1
            self.controller.fold(Entry(self.seq, float(self.seq), "", message))
        return self.controller.decide(self.seq)

    def place(self, **chains_of: list[list[int]]) -> list[Decided]:
        """Plan and assign chains, by host."""
        hosts = list(chains_of)
        chains = [(place, chain) for place, host in enumerate(hosts) for chain in chains_of[host]]
        plan = Plan(
            at=0, term=1, job="j", planner="p", part=0, parts=1, hosts=hosts, epochs=[1] * len(hosts), first=0,
            lengths=[len(chain) for _, chain in chains], tasks=[t for _, chain in chains for t in chain], placed=[p for p, _ in chains],
        )  # fmt: skip
        assigns = [self.assignment(host, hosts, [(c, chain) for c, (p, chain) in enumerate(chains) if hosts[p] == host]) for host in hosts]
        return self.tell(plan, *assigns)

    def assignment(self, host: str, hosts: list[str], chains: list[tuple[int, list[int]]], attempts: list[int] | None = None) -> Assign:
        return Assign(
            at=0, term=1, job="j", host=host, epoch=1, hosts=hosts, addresses=[], chains=[c for c, _ in chains],
            lengths=[len(chain) for _, chain in chains], tasks=[t for _, chain in chains for t in chain], attempts=attempts or [],
        )  # fmt: skip

    def hear(self, host: str, **columns: Any) -> list[Decided]:
        return self.tell(Events(job="j", host=host, epoch=1, **columns))

    def pause(self) -> list[Decided]:
        """The pauses after failures end."""
        return self.tell(*self.controller.due(math.inf))


def test_outputs_that_nobody_fetched_expire() -> None:
    play = Play(spec([[], []], [0, 1]))
    play.place(a=[[0]], b=[[1]])
    assert play.controller.expired(1e9, 10.0) == [], "the job runs"
    play.hear("a", chains=[0], produced=[0], sizes=[1])
    assert isinstance(play.hear("b", chains=[1], produced=[1], sizes=[1])[0], Ended)
    ended = play.controller.ledger.jobs["j"].ended_at
    assert play.controller.expired(ended + 10.0, 10.0) == []
    (released,) = play.controller.expired(ended + 10.1, 10.0)
    assert (released.job, released.datasets, released.term, released.at) == ("j", [], 1, play.seq)
    assert "HEADRACE_OUTPUT_EXPIRY" in released.reason
    assert play.controller.expired(ended + 10.1, 10.0) == [released], "until it is in the log"
    assert purged(play.tell(released)) == {"a": [0], "b": [1]}
    assert play.controller.ledger.jobs["j"].release_reason == released.reason
    assert play.controller.expired(1e9, 10.0) == []


def test_nothing_expires_that_is_held_nowhere() -> None:
    play = Play(spec([[]], [0]))
    play.place(a=[[0]])
    play.hear("a", chains=[0], produced=[0], sizes=[1], value_ids=[0], values=[b"x"])
    assert play.controller.expired(1e9, 10.0) == []
    failed = Play(spec([[]], [0]))
    failed.tell(CancelAsked(at=0, term=1, job="j"))
    assert failed.controller.expired(1e9, 10.0) == []


def purged(decisions: list[Decided]) -> dict[str, list[int]]:
    assert all(isinstance(decision, Purge) for decision in decisions)
    return {decision.host: decision.datasets for decision in decisions if isinstance(decision, Purge)}


FAN = [[], [0], [0], [0]]
"""Task 0 and three that take what it makes."""


def test_a_job_without_inputs_is_done_with_its_last_output() -> None:
    play = Play(spec([[], []], [0, 1]))
    assert play.place(a=[[0], [1]]) == []
    assert play.hear("a", done=[0], produced=[0], sizes=[1]) == []
    (ended,) = play.hear("a", done=[1], value_ids=[1], values=[b"v"])
    assert ended == Ended(at=play.seq, term=1, job="j", state="done")
    assert play.tell(ended) == []


def test_the_home_copy_goes_when_the_other_hosts_have_theirs_and_theirs_when_they_are_done() -> None:
    play = Play(spec(FAN, [1, 2, 3]))
    play.place(a=[[0], [1]], b=[[2], [3]])
    assert play.hear("a", done=[0], produced=[0], sizes=[1]) == []
    assert play.hear("a", done=[1], produced=[1], sizes=[1]) == []
    assert purged(play.hear("b", copied=[0])) == {"a": [0]}
    assert play.hear("b", done=[2], produced=[2], sizes=[1]) == []
    last = play.hear("b", chains=[3], produced=[3], sizes=[1])
    assert [type(decision) for decision in last] == [Ended]


def test_a_copy_away_from_home_goes_first_if_its_consumers_are_done_first() -> None:
    play = Play(spec([*FAN, []], [1, 2, 3, 4]))
    play.place(a=[[0], [1]], b=[[2], [3], [4]])
    play.hear("a", done=[0], produced=[0], sizes=[1])
    play.hear("b", copied=[0], done=[2], produced=[2], sizes=[1])
    assert purged(play.hear("b", done=[3], produced=[3], sizes=[1])) == {"b": [0]}
    assert purged(play.hear("a", done=[1], produced=[1], sizes=[1])) == {"a": [0]}


def test_a_consumer_that_is_not_placed_keeps_the_home_copy() -> None:
    play = Play(spec(FAN, [1, 2, 3]))
    play.place(a=[[0], [1], [2]])
    assert play.hear("a", chains=[0, 1, 2], produced=[0, 1, 2], sizes=[1, 1, 1]) == []
    late = Plan(at=0, term=1, job="j", planner="p", part=1, parts=2, hosts=["a"], epochs=[1], first=3, lengths=[1], tasks=[3], placed=[0])
    assert play.tell(late) == []
    assert isinstance(play.hear("a", chains=[3], produced=[3], sizes=[1])[0], Ended)


def test_what_nobody_takes_goes_at_once_and_outputs_when_they_are_released() -> None:
    play = Play(spec([[], []], [1, 2], n_outputs=[2, 1]))
    play.place(a=[[0], [1]])
    assert purged(play.hear("a", done=[0], produced=[0, 1], sizes=[1, 1])) == {"a": [0]}
    assert purged(play.tell(Released(at=0, term=1, job="j", datasets=[1]))) == {"a": [1]}
    (ended,) = play.hear("a", done=[1], produced=[2], sizes=[1])
    assert isinstance(ended, Ended)
    assert purged(play.tell(Released(at=0, term=1, job="j"))) == {"a": [2]}


def test_an_output_that_was_released_before_the_end_goes_at_the_end() -> None:
    play = Play(spec([[], [0], []], [0, 2]))
    play.place(a=[[0], [1], [2]])
    play.hear("a", done=[0], produced=[0], sizes=[1])
    assert play.tell(Released(at=0, term=1, job="j", datasets=[0])) == []
    ended, purge = play.hear("a", done=[1, 2], produced=[2], sizes=[1])
    assert isinstance(ended, Ended)
    assert purged([purge]) == {"a": [0]}


def test_a_job_is_not_done_before_every_task_ended_well() -> None:
    """A generator may raise, or yield too much, after the last of its datasets that was asked for."""
    play = Play(spec([[]], [0], n_outputs=[2]))
    play.place(a=[[0]])
    assert play.hear("a", produced=[0], sizes=[1], value_ids=[0], values=[b"x"]) == []
    (ended,) = play.hear("a", failed=[TaskError(task=0, error="ValueError: at the end")])
    assert isinstance(ended, Ended)
    assert (ended.state, ended.reason) == ("failed", "task 0 failed: ValueError: at the end")


def test_a_task_that_ended_well_once_need_not_end_well_again_for_the_job_to_be_done() -> None:
    """Its host is lost with what it made, it is run again, and what was needed of it arrives in another way."""
    play = Play(spec([[], [0]], [1]))
    play.place(a=[[0]], b=[[1]])
    play.hear("a", done=[0], produced=[0], sizes=[1])
    (needed,) = play.tell(HostLost(at=0, term=1, host="a", epoch=1))
    assert isinstance(needed, Needed)
    (ended,) = play.hear("b", done=[1], produced=[1], sizes=[1], value_ids=[1], values=[b"x"])
    assert isinstance(ended, Ended)
    assert ended.state == "done"


def test_a_copy_that_was_kept_is_asked_for_again_when_a_consumer_went_on() -> None:
    play = Play(spec([[], [0], []], [1, 2]))
    play.place(a=[[0], [1]], b=[[2]])
    play.hear("a", done=[0], produced=[0], sizes=[1])
    assert purged(play.hear("a", done=[1], produced=[1], sizes=[1])) == {"a": [0]}
    assert play.hear("a", kept=[0]) == []
    assert purged(play.hear("b", copied=[0])) == {"a": [0], "b": [0]}


def test_a_task_that_raised_is_needed_again_with_the_rest_of_its_chain_and_what_only_passed_inside() -> None:
    play = Play(spec([[], [0], [1], []], [2, 3], retries=1))
    play.place(a=[[0, 1, 2], [3]])
    play.hear("a", done=[0])
    assert play.hear("a", failed=[TaskError(task=1, name="f-1")]) == []
    (needed,) = play.pause()
    assert isinstance(needed, Needed)
    assert (needed.tasks, needed.attempts) == ([0, 1, 2], [1, 1, 1])
    assert needed.reason == "attempt 0 of 'f-1': raised"


def test_a_task_of_a_broken_chain_that_is_reported_late_is_made_again() -> None:
    """`done` of the first task comes after the failure of the second: what it made was lost inside the chain all the same."""
    play = Play(spec([[], [0]], [1], retries=1))
    play.place(a=[[0, 1]])
    assert play.hear("a", failed=[TaskError(task=1)]) == []
    (needed,) = play.pause()
    assert isinstance(needed, Needed)
    assert needed.tasks == [0, 1]
    assert play.hear("a", done=[0]) == []
    assert play.controller.ledger.jobs["j"].n_done == 0


TRIES = [
    ("raised", 0, 1),
    ("raised", 2, 3),
    ("runner_died", 0, 3),
    ("out_of_memory", 5, 3),
    ("import_failed", 5, 1),
    ("bad_output", 9, 1),
    ("unreachable", 0, 5),
]
"""Reason, retries of the function, attempts until the job fails."""


@pytest.mark.parametrize(("reason", "retries", "attempts"), TRIES)
def test_retries_end(reason: str, retries: int, attempts: int) -> None:
    play = Play(spec([[]], [0], retries=retries))
    play.place(a=[[0]])
    for attempt in range(attempts):
        error = TaskError(task=0, attempt=attempt, reason=reason, error="E: x", name="f-0")
        decisions = play.hear("a", failed=[error])
        if attempt + 1 < attempts:
            assert decisions == []
            (needed,) = play.pause()
            assert isinstance(needed, Needed)
            play.tell(play.assignment("a", ["a"], [(attempt + 1, [0])], [attempt + 1]))
    (decision,) = decisions
    assert isinstance(decision, Ended)
    assert (decision.state, decision.error) == ("failed", error)
    assert "f-0" in decision.reason
    assert "E: x" in decision.reason


def test_a_lost_host_makes_its_tasks_and_what_only_it_had_needed_and_all_that_goes_into_it() -> None:
    play = Play(spec([[], [0], [1], [2]], [3]))
    play.place(a=[[0], [1]], b=[[2], [3]])
    play.hear("a", done=[0], produced=[0], sizes=[1])
    assert purged(play.hear("a", done=[1], produced=[1], sizes=[1])) == {"a": [0]}
    (needed,) = play.tell(HostLost(at=0, term=1, host="a", epoch=1))
    assert isinstance(needed, Needed)
    assert needed.tasks == [0, 1], "dataset 1 was only there, and so dataset 0, of which it is made, is needed too"


def test_what_another_host_has_a_copy_of_is_not_made_again() -> None:
    play = Play(spec([[], [0], [1]], [2]))
    play.place(a=[[0]], b=[[1], [2]])
    play.hear("a", done=[0], produced=[0], sizes=[1])
    play.hear("b", copied=[0])
    assert play.tell(HostLost(at=0, term=1, host="a", epoch=1)) == []


def test_a_dataset_that_is_gone_is_made_again_only_if_somebody_waits_for_it() -> None:
    play = Play(spec([[], [0], []], [1, 2]))
    play.place(a=[[0], [2]], b=[[1]])
    play.hear("a", done=[0, 2], produced=[0, 2], sizes=[1, 1])
    (needed,) = play.hear("a", gone=[0])
    assert isinstance(needed, Needed)
    assert needed.tasks == [0]
    (needed,) = play.hear("a", gone=[2])
    assert isinstance(needed, Needed)
    assert needed.tasks == [2], "an output that nobody has fetched is waited for"


def test_done_comes_before_cancelled_and_cancelled_before_failed() -> None:
    play = Play(spec([[], []], [0, 1]))
    play.place(a=[[0], [1]])
    asked = CancelAsked(at=0, term=1, job="j", reason="enough")
    (ended,) = play.tell(Events(job="j", host="a", epoch=1, failed=[TaskError(task=0)]), asked)
    assert isinstance(ended, Ended)
    assert (ended.state, ended.reason) == ("cancelled", "enough")
    play = Play(spec([[]], [0]))
    play.place(a=[[0]])
    (ended,) = play.tell(asked, Events(job="j", host="a", epoch=1, done=[0], produced=[0], sizes=[1]))
    assert isinstance(ended, Ended)
    assert ended.state == "done"


def test_a_graph_that_cannot_be_run_fails_its_job_with_the_reason() -> None:
    controller = Controller(1)
    controller.fold(Entry(1, 0.0, "", Submitted(job="j", name="", n_tasks=0, graph=GraphSource(key="k"))))
    (ended,) = controller.decide(1)
    assert isinstance(ended, Ended)
    assert ended.state == "failed"
    assert "'k'" in ended.reason


def test_long_decisions_are_split() -> None:
    width = 100
    play = Play(
        spec([[] for _ in range(width)] + [[t] for t in range(width)], list(range(width, 2 * width))), limits=Limits(ids_per_message=30)
    )
    play.place(a=[[t] for t in range(width)], b=[[t] for t in range(width, 2 * width)])
    everything = list(range(width))
    play.hear("a", chains=everything, produced=everything, sizes=[1] * width)
    decisions = play.hear("b", copied=everything)
    assert [len(decision.datasets) for decision in decisions if isinstance(decision, Purge)] == [30, 30, 30, 10]
    decisions = play.tell(HostLost(at=0, term=1, host="b", epoch=1))
    needed = [decision for decision in decisions if isinstance(decision, Needed)]
    assert [len(decision.tasks) for decision in needed] == [30, 30, 30, 30, 30, 30, 20]


def test_a_forgotten_job_is_decided_on_no_more() -> None:
    play = Play(spec([[]], [0]))
    play.place(a=[[0]])
    play.controller.forget("j")
    assert play.hear("a", done=[0], produced=[0], sizes=[1]) == []


def test_what_was_done_before_anything_could_be_dropped_counts_when_it_can():
    play = Play(spec([[], [], [], [1, 2], [2]], outputs=[0, 3, 4]))
    assert play.place(a=[[0], [1], [2], [3], [4]]) == []
    assert play.hear("a", chains=[0], produced=[0], sizes=[8]) == []  # an output that no task takes
    assert play.hear("a", chains=[1], produced=[1], sizes=[8]) == []
    assert play.hear("a", chains=[2], produced=[2], sizes=[8]) == []
    (purge,) = play.hear("a", chains=[3], produced=[3], sizes=[8])
    assert isinstance(purge, Purge)
    assert purge.datasets == [1]
    ended, *_ = play.hear("a", chains=[4], produced=[4], sizes=[8])
    assert isinstance(ended, Ended)
    assert ended.state == "done"


def test_an_output_is_dropped_when_it_is_released_though_nothing_else_ever_could_be():
    play = Play(spec([[], []], outputs=[0, 1]))
    play.place(a=[[0], [1]])
    assert play.hear("a", chains=[0], produced=[0], sizes=[8]) == []
    (purge,) = play.tell(Released(at=0, term=1, job="j", datasets=[0]))
    assert isinstance(purge, Purge)
    assert purge.host == "a"
    assert purge.datasets == [0]


def test_the_second_copy_of_an_output_is_dropped():
    play = Play(spec([[], []], outputs=[0, 1]))
    play.place(a=[[0]], b=[[1]])
    play.hear("a", chains=[0], produced=[0], sizes=[8])
    (purge,) = play.hear("b", produced=[0], sizes=[8])
    assert isinstance(purge, Purge)
    assert purge.host == "b"
    assert purge.datasets == [0]
