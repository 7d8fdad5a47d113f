"""What a runner is given, what is kept back for others, and what is taken back from one that executes a long task."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.runner import protocol
from headrace.worker.agent import actions
from headrace.worker.agent.events import Clock, LogRead, RunnerDied, RunnerRecalled, RunnerSent, RunnerStarted, Tick
from headrace.worker.agent.state import Agent
from headrace.worker.settings import Settings
from headrace_schemas import Assign, Ended, Revoke
from headrace_shm import Store
from tests.unit.test_worker_agent import fused, graphs
from tests.unit.worker_flags import check_flags
from tests.unit.worker_world import EPOCH, JOB, World, expected_value, graph_of

TINY = 1e-5
LATE = Settings(host="h0").late_seconds
MS = 1e-3


class Host:
    """An agent and its runners' side, driven by hand."""

    def __init__(self, runners: int, functions: list[int], **given: object) -> None:
        self.agent = Agent(Settings(host="h0", runners=runners, **given), EPOCH, Store(1 << 20, 1 << 23))  # type: ignore[arg-type]
        self.now, self.functions = 0.0, functions
        self.has: dict[int, list[tuple[int, int]]] = {slot: [] for slot in range(runners)}
        """Per runner: (segment, task) that it was sent and has not ended."""
        self.recalls: list[actions.Recall] = []
        self.nudged: list[int] = []
        self.said: list[protocol.Recall] = []
        for slot in range(runners):
            self.agent.handle(RunnerStarted(slot))
        self.graph = graph_of([[] for _ in functions], list(range(len(functions))))
        self.graph.functions = self.graph.functions * (max(functions) + 1)
        self.graph.function = functions

    def assign(self, tasks: list[int], chains: list[list[int]] | None = None, job: str = JOB) -> None:
        rows = chains if chains is not None else [[task] for task in tasks]
        self.agent.assignments.assign(
            Assign(
                at=1, term=1, job=job, host="h0", epoch=EPOCH, hosts=["h0"], addresses=["h0:1"], chains=[row[0] for row in rows],
                lengths=[len(row) for row in rows], tasks=[task for row in rows for task in row], sources=[],
            ),
            self.graph,
        )  # fmt: skip
        self.take()

    def take(self) -> None:
        check_flags(self.agent)
        for action in self.agent.take():
            if isinstance(action, actions.Nudge):
                self.nudged.append(action.slot)
            elif isinstance(action, actions.Recall):
                self.recalls.append(action)
            elif isinstance(action, actions.ToRunner) and isinstance(action.frame, protocol.Run):
                self.has[action.slot] += zip(action.frame.segments, action.frame.tasks, strict=True)
            elif isinstance(action, actions.ToRunner) and isinstance(action.frame, protocol.Recall):
                self.said.append(action.frame)
                self.has[action.slot] = [item for item in self.has[action.slot] if item[0] not in action.frame.segments]

    def tasks(self, slot: int) -> list[int]:
        return [task for _, task in self.has[slot]]

    def at(self, now: float) -> None:
        self.now = now
        self.agent.handle(Clock(now))
        self.take()

    def ended(self, slot: int, seconds: float, count: int = 1, number: int = 1) -> None:
        """A runner ends the first that it has, which took so long each."""
        self.agent.handle(Clock(self.now))
        some, self.has[slot] = self.has[slot][:count], self.has[slot][count:]
        for segment, task in some:
            frame = protocol.Results(number, segments=[segment], datasets=[task], values=[b"x"])
            frame.functions, frame.function_counts = [self.functions[task]], [1]
            frame.function_seconds, frame.function_longest = [seconds], [seconds]
            self.agent.handle(RunnerSent(slot, [frame]))
        self.take()

    def number_of(self, slot: int, task: int) -> int:
        """The number of the segment of a task that was sent to a runner."""
        runner = self.agent.runners.slots[slot]
        numbered = [(segment, first + place) for first, segments in runner.frames for place, segment in enumerate(segments)]
        return next(number for segment, number in numbered if segment.tasks == [task])


def test_nothing_is_put_behind_a_function_that_never_ran() -> None:
    host = Host(2, [0] * 5)
    host.assign([0, 1, 2, 3, 4])
    assert [host.tasks(0), host.tasks(1)] == [[0], [1]]


def test_once_a_function_is_known_to_be_short_a_runner_gets_many() -> None:
    host = Host(1, [0] * 50)
    host.assign(list(range(50)))
    host.ended(0, TINY)
    assert host.tasks(0) == list(range(1, 50))


@pytest.mark.parametrize(("seconds", "given"), [(4 * MS, 3), (6 * MS, 2), (20 * MS, 1), (10.0, 1)])
def test_a_runner_gets_what_it_begins_within_milliseconds(seconds: float, given: int) -> None:
    host = Host(1, [0] * 10)
    host.assign(list(range(10)))
    host.ended(0, seconds)
    assert len(host.tasks(0)) == given


def test_what_is_known_of_a_function_counts_for_all_runners_that_execute_it() -> None:
    host = Host(2, [0] * 40)
    host.assign(list(range(40)))
    host.ended(0, TINY)
    counts = [len(host.tasks(slot)) for slot in (0, 1)]
    assert sum(counts) == 39
    assert min(counts) >= 19


def test_behind_short_tasks_comes_one_of_a_function_that_never_ran_and_then_nothing() -> None:
    host = Host(1, [0, 0, 0, 1, 0])
    host.assign([0, 1, 2, 3, 4])
    host.ended(0, TINY)
    assert host.tasks(0) == [1, 2, 3]


def test_another_job_goes_to_the_idle_runner_and_not_behind_a_long_task() -> None:
    host = Host(2, [0] * 3)
    host.assign([0])
    host.at(0.5)
    host.assign([0, 1, 2], job="other")
    assert host.tasks(0) == [0]
    assert host.tasks(1) == [0]
    host.ended(1, TINY, number=2)
    assert [host.tasks(0), host.tasks(1)] == [[0], [1, 2]]


def known_short(runners: int, tasks: int, **given: object) -> Host:
    """A host that has learned that its tasks are short, and has given all of them out."""
    host = Host(runners, [0] * tasks, **given)
    host.assign(list(range(tasks)))
    for slot in range(runners):
        host.ended(slot, TINY)
    return host


def test_a_runner_that_is_silent_for_longer_than_was_thought_gets_nothing_more() -> None:
    host = known_short(2, 4)
    host.at(1.0)
    before = host.tasks(0)
    host.assign([], [[0], [1], [2], [3]], job="other")
    assert host.tasks(0) == before


def test_what_waits_behind_a_task_that_takes_longer_than_was_thought_is_recalled_and_given_to_an_idle_runner() -> None:
    host = known_short(2, 40)
    mine, others = host.tasks(0), host.tasks(1)
    assert len(mine) > 2
    host.ended(1, TINY, len(others))
    assert not host.recalls, "it is not late yet"
    assert host.agent.look_at == pytest.approx(LATE + TINY, rel=0.01)
    host.at(host.agent.look_at + MS)
    [recall] = host.recalls
    assert recall == actions.Recall(0, 1)
    host.take()
    assert host.recalls == [recall], "one at a time"
    host.agent.handle(RunnerRecalled(0, 1, host.number_of(0, mine[1])))
    host.take()
    assert host.tasks(0) == mine[:2], "what it began stays"
    assert host.tasks(1) == mine[2:]
    assert host.said[0].number == 1


def test_a_recall_is_answered_also_if_everything_was_begun() -> None:
    host = known_short(2, 8)
    mine = host.tasks(0)
    host.ended(1, TINY, len(host.tasks(1)))
    host.at(1.0)
    host.agent.handle(RunnerRecalled(0, 1, host.number_of(0, mine[-1])))
    host.take()
    assert host.said == [protocol.Recall(1, [])]
    host.at(2.0)
    assert len(host.recalls) == 1, "there is nothing to be had until it is heard of again"
    assert host.tasks(0) == mine


def test_nothing_is_recalled_while_every_runner_is_busy_but_they_are_to_say_what_they_finished() -> None:
    host = known_short(2, 40)
    host.at(1.0)
    host.at(2.0)
    assert not host.recalls
    assert host.nudged == [0, 1], "once, until they are heard of"
    assert host.agent.look_at == float("inf")
    host.ended(0, TINY)
    host.at(3.0)
    assert host.nudged == [0, 1, 0]


def test_a_runner_that_has_only_a_long_task_is_left_alone() -> None:
    host = Host(1, [0, 0])
    host.assign([0])
    host.at(100.0)
    assert not host.nudged
    assert not host.recalls


def test_what_was_recalled_is_recalled_again_from_the_next() -> None:
    host = known_short(3, 60)
    mine = host.tasks(0)
    for slot in (1, 2):
        host.ended(slot, TINY, len(host.tasks(slot)))
    host.at(host.now + LATE + MS)
    host.agent.handle(RunnerRecalled(0, 1, host.number_of(0, mine[0])))
    host.take()
    moved = host.tasks(1) + host.tasks(2)
    assert sorted(moved) == mine[1:]
    first = host.tasks(1)
    host.ended(2, TINY, len(host.tasks(2)))
    host.at(host.now + LATE + MS)
    slots = [(recall.slot, recall.number) for recall in host.recalls]
    assert slots == [(0, 1), (1, 1)]
    host.agent.handle(RunnerRecalled(1, 1, host.number_of(1, first[0])))
    host.take()
    assert (host.tasks(1), host.tasks(2)) == (first[:1], first[1:])


def test_a_chain_that_was_begun_stays_with_its_runner() -> None:
    """What passes inside it is in the runner."""
    world = World([[], [], [0, 1]], [2], {}, 1, 2, capacity=1 << 20)
    world.assign([[0, 2], [1]], [0, 0], [0, 1])
    world.run(random.Random(1))
    assert sorted(world.done_chains()) == [0, 1]
    runners = [set(runner.executed) for runner in world.runners.values()]
    assert any(executed >= {0, 2} for executed in runners)


def test_what_may_take_long_goes_to_a_runner_that_no_chain_waits_for() -> None:
    """Tasks 0 and 2 are a chain that goes on with what task 1 makes, which comes from another host."""
    agent = Agent(Settings(host="h0", runners=2), EPOCH, Store(1 << 20, 1 << 23))
    for slot in (0, 1):
        agent.handle(RunnerStarted(slot))
    for job, inputs, tasks, sources in (("reduce", [[], [], [0, 1]], [0, 2], [1]), ("long", [[]], [0], [])):
        agent.assignments.assign(
            Assign(
                at=1, term=1, job=job, host="h0", epoch=EPOCH, hosts=["h0", "h1"], addresses=["h0:1", "h1:1"], chains=[0],
                lengths=[len(tasks)], tasks=tasks, sources=sources,
            ),
            graph_of(inputs, [len(inputs) - 1]),
        )  # fmt: skip
        runs = [action for action in agent.take() if isinstance(action, actions.ToRunner) and isinstance(action.frame, protocol.Run)]
        if job == "reduce":
            assert [(run.slot, run.frame.tasks) for run in runs] == [(0, [0])]
            agent.handle(RunnerSent(0, [protocol.Results(1, segments=runs[0].frame.segments)]))
    assert [(run.slot, run.frame.tasks) for run in runs] == [(1, [0])]


def test_a_runner_that_died_meanwhile_is_not_sent_the_answer_to_a_recall() -> None:
    host = known_short(2, 40)
    host.ended(1, TINY, len(host.tasks(1)))
    host.at(1.0)
    host.agent.handle(RunnerDied(0, (1, host.tasks(0)[0]), -9, 1))
    host.agent.handle(RunnerStarted(0))
    host.agent.handle(RunnerRecalled(0, 1, 3))
    host.take()
    assert not host.said


def test_a_revoked_chain_that_a_runner_has_not_begun_is_given_back() -> None:
    host = known_short(1, 10)
    mine = host.tasks(0)
    host.agent.handle(LogRead([Revoke(at=1, term=1, job=JOB, host="h0", epoch=EPOCH, chains=[mine[0], mine[2], mine[4]])]))
    host.take()
    [recall] = host.recalls
    host.agent.handle(RunnerRecalled(0, recall.number, host.number_of(0, mine[0])))
    host.take()
    assert sorted(chain for report in host.agent.reports_due() for chain in report.events.revoked) == [mine[2], mine[4]]
    assert host.tasks(0) == [task for task in mine if task not in (mine[2], mine[4])], "the others are sent again"


def test_a_runner_that_executes_something_of_a_job_that_is_over_counts_as_busy() -> None:
    host = Host(2, [0] * 2)
    host.assign([0])
    host.at(1.0)
    host.agent.handle(LogRead([Ended(at=1, term=1, job=JOB, state="cancelled")]))
    host.take()
    host.has[0].clear()
    host.assign([0, 1], job="other")
    assert [host.tasks(0), host.tasks(1)] == [[], [0]]
    host.agent.handle(RunnerSent(0, [protocol.Closed(1)]))
    host.take()
    assert [host.tasks(0), host.tasks(1)] == [[1], [0]]


@pytest.mark.parametrize(("runners", "after"), [(1, 0.2), (2, 1.0)])
def test_what_nobody_waits_for_is_ended_sooner_where_no_other_runner_is_idle(runners: int, after: float) -> None:
    host = Host(runners, [0])
    host.assign([0])
    host.agent.handle(Tick(1.0, [(1, 0)] * runners))
    host.agent.handle(LogRead([Ended(at=1, term=1, job=JOB, state="cancelled")]))
    host.agent.handle(Tick(1.0 + after - 0.01, [(1, 0)] + [None] * (runners - 1)))
    assert not [action for action in host.agent.take() if isinstance(action, actions.KillRunner)]
    host.agent.handle(Tick(1.0 + after + 0.01, [(1, 0)] + [None] * (runners - 1)))
    assert [action for action in host.agent.take() if isinstance(action, actions.KillRunner)] == [actions.KillRunner(0)]


@settings(max_examples=200, deadline=None)
@given(graphs(), st.integers(1, 2), st.integers(2, 4), st.booleans(), st.randoms(use_true_random=False))
def test_however_long_tasks_take_every_chain_runs_once_and_recalls_lose_nothing(graph, hosts, runners, revokes, rng):  # type: ignore[no-untyped-def]
    inputs, outputs = graph
    large = {d: rng.choice([9_000, 20_000]) for d in range(len(inputs)) if rng.random() < 0.4}
    world = World(inputs, outputs, large, hosts, runners, capacity=1 << 22, part_chains=3)
    world.slabs = {dataset for dataset in large if rng.random() < 0.5}
    world.seconds = {task: rng.choice([0.004, 0.1]) for task in range(len(inputs)) if rng.random() < 0.4}
    chains = fused(inputs, outputs, rng)
    placed = [rng.randrange(hosts) for _ in chains]
    world.assign(chains, placed, list(range(len(chains))))
    given_back: set[int] = set()
    if revokes:
        for _ in range(rng.randrange(60)):
            world.step(rng)
        for index, name in enumerate(world.names):
            mine = [chain for chain, host in enumerate(placed) if host == index and rng.random() < 0.5]
            world.agents[name].handle(LogRead([Revoke(at=1, term=1, job=JOB, host=name, epoch=EPOCH, chains=mine)]))
        world.run(rng)
        given_back = {chain for events in world.events for chain in events.revoked}
        home = {task: host for chain, host in zip(chains, placed, strict=True) for task in chain}
        again = {len(chains) + chain: chains[chain] for chain in sorted(given_back)}
        for id, tasks in again.items():
            message = world._assign(world.names[placed[id - len(chains)]], [(id, tasks)], home, {})
            world.agents[world.names[placed[id - len(chains)]]].handle(LogRead([message]))
    world.run(rng)
    assert sorted(world.done_chains()) == sorted(set(range(len(chains))) - given_back | {len(chains) + chain for chain in given_back})
    executed = sorted(task for runner in world.runners.values() for task in runner.executed)
    assert executed == list(range(len(inputs)))
    memo: dict[int, bytes] = {}
    assert world.values() == {d: expected_value(inputs, d, memo) for d in outputs if d not in large}
    for (name, slot), runner in world.runners.items():
        assert not world.agents[name].runners.slots[slot].outstanding
        assert runner.idle


def test_what_was_placed_anew_is_reported_task_by_task() -> None:
    """Who submitted a job reads the plan and no assignments, so it does not know other chains than those of the plan."""
    host = Host(1, [0, 0])
    host.agent.assignments.assign(
        Assign(
            at=1, term=1, job=JOB, host="h0", epoch=EPOCH, hosts=["h0"], addresses=["h0:1"], chains=[0, 7], lengths=[1, 1],
            tasks=[0, 1], sources=[], again=True,
        ),
        host.graph,
    )  # fmt: skip
    host.take()
    host.ended(0, TINY)
    host.ended(0, TINY)
    events = [report.events for report in host.agent.reports_due()]
    assert [task for event in events for task in event.done] == [0, 1]
    assert not [chain for event in events for chain in event.chains]
