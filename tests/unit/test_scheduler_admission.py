"""Only so many jobs are open at a time; the others wait in the order in which they came, and for nothing that they do not need."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from headrace.bus import Entry
from headrace.ledger import JobLedger
from headrace.scheduler.admission import Admission
from headrace.scheduler.settings import Settings
from headrace.scheduler.state import Scheduler
from headrace_schemas import Assign, CancelAsked, Decision, Ended, Events, GraphSource, GraphSpec, HostJoined, LogMessage, Plan, Submitted
from tests.scheduler_graphs import make_spec, parallel_chains

SETTINGS = Settings(open_jobs=3, open_tasks_per_runner=10, grown_seconds=5.0)


def _job(name: str, n_tasks: int, resources: dict[str, float] | None = None) -> JobLedger:
    spec = make_spec([[] for _ in range(n_tasks)])
    if resources:
        spec.functions = [msgspec.structs.replace(function, resources=resources) for function in spec.functions]
    return JobLedger(Submitted(job=name, graph=GraphSource(inline=spec)), 0.0)


def _admitted(admission: Admission, runners: float = 1.0, idle: bool = False) -> list[str]:
    found = []
    while (job := admission.next(runners, idle=lambda: idle)) is not None:
        found.append(job.job)
    return found


def _queue(sizes: list[int]) -> Admission:
    admission = Admission(SETTINGS)
    for number, size in enumerate(sizes):
        admission.arrive(_job(str(number), size))
    return admission


def test_so_many_jobs_are_open_and_more_as_long_as_they_have_few_tasks() -> None:
    assert _admitted(_queue([20] * 9)) == ["0", "1", "2"]
    assert _admitted(_queue([20] * 9), runners=4) == [str(number) for number in range(8)], "two for each runner"
    assert _admitted(_queue([2] * 9)) == ["0", "1", "2", "3", "4"], "ten tasks"


def test_a_job_that_is_done_makes_room_for_the_next() -> None:
    admission = _queue([20] * 9)
    _admitted(admission)
    admission.leave("1")
    assert _admitted(admission) == ["3"]
    assert admission.names == ["4", "5", "6", "7", "8"]


def test_jobs_that_have_been_open_for_long_do_not_count() -> None:
    admission = _queue([20] * 9)
    _admitted(admission)
    admission.tick(4.9)
    assert _admitted(admission) == []
    admission.tick(5.0)
    assert _admitted(admission) == ["3", "4", "5"]
    admission.tick(9.9)
    assert _admitted(admission) == []


def test_a_job_never_waits_while_a_host_has_nothing_to_do() -> None:
    admission = _queue([20] * 9)
    _admitted(admission)
    assert admission.next(1.0, idle=lambda: True) is not None


def test_a_job_that_needs_resources_waits_for_those_alone() -> None:
    admission = _queue([20] * 9)
    _admitted(admission)
    admission.arrive(_job("gpu", 99, {"gpu": 1}))
    assert _admitted(admission) == ["gpu"]
    admission.leave("0")
    assert _admitted(admission) == ["3"], "and it does not count"


_STEP = st.one_of(
    st.tuples(st.just("arrive"), st.integers(1, 30)),
    st.tuples(st.just("leave"), st.integers(0, 20)),
    st.tuples(st.just("tick"), st.integers(0, 3)),
    st.tuples(st.just("admit"), st.integers(1, 3)),
)


@given(st.lists(_STEP, max_size=60))
def test_the_order_is_that_of_arrival_the_limit_holds_and_nobody_waits_for_ever(steps: list[tuple[str, int]]) -> None:
    admission, now, arrived, gone = Admission(SETTINGS), 0.0, list[str](), set[str]()
    admitted: dict[str, float] = {}
    for what, number in steps:
        if what == "arrive":
            arrived.append(str(len(arrived)))
            admission.arrive(_job(arrived[-1], number))
        elif what == "leave" and number < len(arrived):
            gone.add(arrived[number])
            admission.leave(arrived[number])
        elif what == "tick":
            now += number
            admission.tick(now)
        else:
            admitted.update(dict.fromkeys(_admitted(admission, number), now))
            young = [job for job, since in admitted.items() if job not in gone and now - since < SETTINGS.grown_seconds]
            assert len(young) <= max(3, 2 * 3, 10 * 3)
        assert admission.names == [job for job in arrived if job not in admitted and job not in gone]
        assert list(admitted) == sorted(admitted, key=int)
    for _ in arrived:
        now += SETTINGS.grown_seconds
        admission.tick(now)
        admitted.update(dict.fromkeys(_admitted(admission), now))
    assert set(admitted) | gone == set(arrived)
    assert not admission._young_tasks or admission._young


class _Run:
    """A scheduler with one host, and jobs of `n_tasks` that are there from the beginning."""

    def __init__(self, jobs: int, spec: GraphSpec, **settings: Any) -> None:
        self.scheduler = Scheduler(Settings(open_tasks_per_runner=1, **settings), 1)
        self.open: set[str] = set()
        self._seq = 0
        joined = HostJoined(at=0, term=1, host="a", epoch=1, address="", runners=1, capacity=1)
        submitted = [Submitted(job=f"{jobs - number:03}", graph=GraphSource(inline=spec)) for number in range(jobs)]
        self.names = [message.job for message in submitted]
        self.hear(joined, *submitted)

    def hear(self, *messages: LogMessage) -> list[Decision]:
        """Fold messages, one millisecond after the other, and return what is decided."""
        entries = [Entry(self._seq + place, (self._seq + place) / 1e3, "", message) for place, message in enumerate(messages, 1)]
        self._seq += len(entries)
        self.scheduler.fold(entries)
        decisions = self.scheduler.decide()
        self.open |= {decision.job for decision in decisions if isinstance(decision, Assign)}
        return decisions

    def work(self, job: str) -> list[Decision]:
        """The host has done all tasks of a job."""
        self.open.discard(job)
        n_tasks = self.scheduler.ledger.jobs[job].n_tasks
        tasks = list(range(n_tasks))
        return self.hear(Events(job=job, host="a", epoch=1, done=tasks, produced=tasks, sizes=[1] * n_tasks))


def test_jobs_are_planned_one_after_the_other_in_the_order_in_which_they_came() -> None:
    run, order = _Run(20, parallel_chains(4, 3), open_jobs=2), []
    while run.open:
        assert len(run.open) == min(2, len(run.names) - len(order))
        assert run.scheduler.n_queued == max(0, len(run.names) - len(order) - 2)
        job = next(name for name in run.names if name in run.open)
        order.append(job)
        run.work(job)
    assert order == run.names
    assert run.scheduler.load["a"] == 0


def test_a_job_that_waits_and_is_cancelled_is_never_planned() -> None:
    run = _Run(6, parallel_chains(4, 3), open_jobs=2)
    first, second, third, *_ = run.names
    run.hear(CancelAsked(at=0, term=1, job=third))
    run.hear(Ended(at=0, term=1, job=third, state="cancelled"))
    run.work(first)
    run.work(second)
    assert third not in run.scheduler.ledger.jobs
    assert run.open == set(run.names[3:5])


def test_while_only_time_goes_by_jobs_that_wait_have_their_turn() -> None:
    run = _Run(6, parallel_chains(4, 3), open_jobs=2, grown_seconds=1.0)
    assert run.scheduler.status()["waiting"] == run.names[2:]
    run.scheduler.tick(1.0)
    decisions = run.scheduler.decide()
    assert {decision.job for decision in decisions if isinstance(decision, Plan)} == set(run.names[2:4])


def test_without_a_host_jobs_wait_for_one() -> None:
    scheduler = Scheduler(Settings(), 1)
    scheduler.fold([Entry(1, 0.0, "", Submitted(job="a", graph=GraphSource(inline=parallel_chains(2, 2))))])
    assert scheduler.decide() == []
    assert (scheduler.n_unplanned, scheduler.n_queued) == (1, 0)
