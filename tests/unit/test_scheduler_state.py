"""The scheduler's state machine, driven by entries of the log: late, repeated, and with everything else going wrong in between."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.bus import Entry
from headrace.ledger import DONE
from headrace.scheduler.settings import Settings
from headrace.scheduler.state import Scheduler
from headrace.scheduler.wave_plan import Costs
from headrace_schemas import (
    Assign,
    CancelAsked,
    Ended,
    Events,
    GraphSource,
    GraphSpec,
    HostJoined,
    HostLost,
    LogMessage,
    Needed,
    Plan,
    Reroute,
    Submitted,
    TaskError,
    encode,
)
from headrace_schemas.streams import MAX_MESSAGE_BYTES
from tests.scheduler_graphs import flat, layers, make_spec, parallel_chains, specs
from tests.scheduler_world import JOB, World

TINY = Settings(window_tasks=4, window_tasks_per_runner=1, chain_tasks=3, message_integers=12)
HOSTS = ["a", "b", "c"]
SOME = st.integers(0, 6)

CALM = st.one_of(
    st.tuples(st.just("deliver"), SOME, SOME),
    st.tuples(st.just("work"), st.sampled_from(HOSTS), st.integers(1, 4)),
    st.tuples(st.just("restart"), SOME),
)
STORM = st.one_of(
    CALM,
    st.tuples(st.just("lose"), st.sampled_from(HOSTS)),
    st.tuples(st.just("rejoin"), st.sampled_from(HOSTS)),
    st.tuples(st.just("late"), st.integers(0, 99)),
    st.tuples(st.just("join"), st.sampled_from(HOSTS), st.integers(1, 3)),
    st.tuples(st.just("say_gone"), st.sampled_from(HOSTS), st.integers(0, 99)),
    st.tuples(st.just("ask_in_vain"), st.sampled_from(HOSTS), st.integers(0, 99)),
    st.tuples(st.just("cut_off"), st.sampled_from(HOSTS), st.integers(0, 99)),
    st.tuples(st.just("need")),
    st.tuples(st.just("work"), st.sampled_from(HOSTS), st.integers(1, 4), st.booleans()),
    st.tuples(st.just("start"), st.sampled_from(HOSTS), st.integers(1, 2)),
    st.tuples(st.just("pass_time"), st.sampled_from([0.05, 0.3])),
    st.tuples(st.just("give_back"), st.sampled_from(HOSTS)),
)


def started(spec: GraphSpec, hosts: int) -> World:
    world = World(TINY)
    for name in HOSTS[:hosts]:
        world.join(name)
    world.admit(spec)
    return world


def check_counts(world: World) -> None:
    """What the scheduler counts one by one is what its ledger says as a whole."""
    schedule = world.scheduler.schedules.get(JOB)
    if schedule is None:
        return
    job, expected, load = schedule.job, defaultdict(int), defaultdict(int)
    again: dict[int, int] = defaultdict(int)
    for task in range(job.n_tasks):
        if 1 <= job.states[task] <= 2:
            (expected if job.chain_of[task] < schedule.n_planned else again)[job.placed[task]] += 1
    queued = ((host, queue.n_tasks) for host, queue in schedule.backlogs.items())
    for host, tasks in [*expected.items(), *again.items(), *queued]:
        load[job.hosts[host]] += tasks
    assert {host: n for host, n in schedule.open.items() if n} == expected
    assert {host: n for host, n in world.scheduler.load.items() if n} == load


def weather(world: World, steps: list[tuple]) -> None:
    """Whatever the steps are, in the end everything has run."""
    for name, *arguments in steps:
        getattr(world, name)(*arguments)
        check_counts(world)
    world.finish()
    check_counts(world)
    assert all(state == DONE for state in world.job.states)


@settings(deadline=None)
@given(specs(), st.integers(1, 3), st.lists(CALM, max_size=30))
def test_windows_are_released_in_plan_order_and_never_exceed_the_limit(spec: GraphSpec, hosts: int, steps: list[tuple]) -> None:
    world = started(spec, hosts)
    for name, *arguments in [*steps, *[("deliver", 100), *(("work", host, 100) for host in HOSTS)] * 20]:
        getattr(world, name)(*arguments)
        check_counts(world)
        if JOB in world.scheduler.schedules:
            assert all(n <= TINY.window_tasks for n in world.scheduler.schedules[JOB].open.values())
    world.finish()
    chains: defaultdict[str, list[int]] = defaultdict(list)
    for assign in world.released:
        chains[assign.host] += assign.chains
        assert not any(assign.attempts)
    assert all(ids == sorted(set(ids)) for ids in chains.values())
    assert sorted(world.promised) == [(task, 0) for task in range(spec.n_tasks)]
    assert world.job.n_done == spec.n_tasks


@settings(deadline=None, max_examples=200)
@given(specs(), st.integers(0, 3), st.lists(STORM, max_size=40))
def test_every_attempt_is_assigned_once_and_everything_runs_in_the_end(spec: GraphSpec, hosts: int, steps: list[tuple]) -> None:
    """`World` checks every assignment: once an attempt, sources as they are placed, the graph before anything else."""
    world = started(spec, hosts)
    weather(world, steps)


@settings(deadline=None)
@given(specs(), st.lists(CALM, max_size=15), st.sampled_from(HOSTS[:2]))
def test_after_a_host_is_lost_everything_goes_to_those_that_live(spec: GraphSpec, steps: list[tuple], lost: str) -> None:
    world = started(spec, 2)
    for name, *arguments in steps:
        getattr(world, name)(*arguments)
    world.deliver(len(world.log))
    world.lose(lost)
    world.need()
    before = len(world.released)
    world.deliver(len(world.log))
    assert lost not in {assign.host for assign in world.released[before:]}
    for assign in world.released[before:]:
        assert lost not in {assign.hosts[source] for source in assign.sources}
    schedule = world.scheduler.schedules.get(JOB)
    if schedule is None:  # the only task is elsewhere
        return
    assert not schedule.unplaced
    assert lost not in {schedule.job.hosts[host] for host in schedule.backlogs}


# --- single cases ---------------------------------------------------------------------------------------------------


class Driver:
    """A scheduler and a log that only this test writes to."""

    def __init__(self, options: Settings = TINY, hosts: int = 2) -> None:
        self.scheduler = Scheduler(options, term=5)
        self.seq = 0
        for name in HOSTS[:hosts]:
            self.tell(joined(name))

    def tell(self, *messages: LogMessage) -> list:
        for message in messages:
            self.seq += 1
            self.scheduler.fold([Entry(self.seq, 0.0, "", message)])
        return self.scheduler.decide()

    def admit(self, spec: GraphSpec, job: str = JOB) -> list:
        return self.tell(Submitted(job=job, name="n", n_tasks=spec.n_tasks, graph=GraphSource(inline=spec)))


def joined(name: str, epoch: int = 1, runners: int = 1) -> HostJoined:
    return HostJoined(at=0, term=1, host=name, epoch=epoch, address=f"{name}:{epoch}", runners=runners, capacity=1)


def test_a_job_is_planned_and_assigned_with_its_graph() -> None:
    driver = Driver(hosts=1)
    plan, assign = driver.admit(flat(2))
    assert isinstance(plan, Plan)
    assert (plan.planner, plan.hosts, plan.tasks, plan.at, plan.term) == ("inline", ["a"], [0, 1], 2, 5)
    assert isinstance(assign, Assign)
    assert (assign.host, assign.epoch, assign.addresses, assign.chains, assign.tasks) == ("a", 1, ["a:1"], [0, 1], [0, 1])
    assert assign.graph is not None
    assert assign.graph.inline is not None


def test_a_job_of_one_task_is_assigned_without_a_plan() -> None:
    driver = Driver(hosts=1)
    (assign,) = driver.admit(flat(1))
    assert isinstance(assign, Assign)
    assert (assign.host, assign.epoch, assign.addresses, assign.at, assign.term) == ("a", 1, ["a:1"], 2, 5)
    assert (assign.chains, assign.lengths, assign.tasks, assign.sources) == ([0], [1], [0], [])
    assert assign.graph is not None
    assert assign.graph.inline is not None
    assert driver.scheduler.status()["jobs"] == {JOB: {"open": {"a": 1}, "queued": {}, "unplaced": 0}}
    assert driver.tell(Events(job=JOB, host="a", epoch=1, chains=[0], produced=[0])) == []
    assert driver.scheduler.ledger.jobs[JOB].n_done == 1
    assert driver.tell(Ended(at=1, term=1, job=JOB, state="done")) == []
    assert driver.scheduler.status()["jobs"] == {}
    assert driver.scheduler.load["a"] == 0


def test_the_only_task_of_a_job_runs_again_on_another_host() -> None:
    driver = Driver()
    assert driver.admit(flat(1))[0].host == "a"
    assert driver.tell(HostLost(at=1, term=1, host="a", epoch=1)) == []
    (assign,) = driver.tell(Needed(at=2, term=1, job=JOB, tasks=[0], attempts=[1]))
    assert (assign.host, assign.chains, assign.attempts) == ("b", [1], [1])
    assert assign.graph is not None
    assert driver.scheduler.load["a"] == 0


def test_the_only_task_of_a_job_is_assigned_once_by_two_schedulers() -> None:
    submitted = Submitted(job=JOB, name="n", n_tasks=1, graph=GraphSource(inline=flat(1)))
    first = Driver()
    (assign,) = first.tell(submitted)
    second = Driver()
    second.scheduler.term = 6
    assert second.tell(submitted, assign) == []
    third = Driver()
    third.scheduler.term = 6
    (again,) = third.tell(submitted)
    assert again.tasks == [0]


def test_a_job_waits_for_the_first_host() -> None:
    driver = Driver(hosts=0)
    assert driver.admit(flat(1)) == []
    assert [type(message) for message in driver.tell(joined("a"))] == [Assign]
    assert [type(message) for message in Driver(hosts=1).admit(flat(2))] == [Plan, Assign]


def test_single_tasks_go_to_the_idle_host() -> None:
    driver = Driver()
    hosts = [driver.admit(flat(1), f"job{n}")[0].host for n in range(4)]
    assert hosts == ["a", "b", "a", "b"]
    driver.tell(Events(job="job0", host="a", epoch=1, done=[0], produced=[0]), Ended(at=1, term=1, job="job0", state="done"))
    assert driver.admit(flat(1), "next")[0].host == "a"


def test_a_graph_in_the_object_store_is_named_by_its_key() -> None:
    driver = Driver(hosts=1)
    graph = GraphSource(inline=flat(1), key="graph-1")
    (assign,) = driver.tell(Submitted(job=JOB, name="n", n_tasks=1, graph=graph))
    assert assign.graph == GraphSource(key="graph-1")


def test_a_window_is_refilled_at_half() -> None:
    driver = Driver(hosts=1)
    first = [m for m in driver.admit(flat(10)) if isinstance(m, Assign)]
    assert [task for assign in first for task in assign.tasks] == [0, 1, 2, 3]
    assert driver.tell(Events(job=JOB, host="a", epoch=1, chains=[0])) == []
    refill = driver.tell(Events(job=JOB, host="a", epoch=1, chains=[1]))
    assert [task for assign in refill for task in assign.tasks] == [4, 5]
    assert refill[0].graph is None


def test_a_job_that_ended_or_is_to_be_stopped_gets_nothing_more() -> None:
    driver = Driver(hosts=1)
    driver.admit(flat(10))
    events = Events(job=JOB, host="a", epoch=1, chains=[0, 1, 2, 3])
    assert driver.tell(CancelAsked(at=1, term=1, job=JOB), events) == []
    assert driver.tell(Ended(at=1, term=1, job=JOB, state="cancelled")) == []
    assert driver.scheduler.schedules == {}
    assert not any(driver.scheduler.load.values())


def test_a_graph_that_cannot_be_run_is_not_planned() -> None:
    spec = flat(3)
    spec.inputs, spec.n_inputs = [2, 0, 1], [1, 1, 1]
    assert Driver().admit(spec) == []


def test_a_failed_task_is_tried_again_on_its_host_and_who_waits_for_it_elsewhere_is_told() -> None:
    """Tasks 0 and 1 on different hosts, both taken by 2 on one of them: the other's is made anew."""
    driver = Driver()
    decisions = driver.admit(make_spec([[], [], [0, 1]], outputs=[0, 1, 2]))
    host = {task: m.host for m in decisions if isinstance(m, Assign) for task in m.tasks}
    assert host[0] != host[1]
    far = 0 if host[2] == host[1] else 1
    done = Events(job=JOB, host=host[far], epoch=1, done=[far], produced=[far])
    assert driver.tell(done, Events(job=JOB, host=host[far], epoch=1, gone=[far])) == []
    assign, reroute = driver.tell(Needed(at=9, term=1, job=JOB, tasks=[far], attempts=[1]))
    assert (assign.host, assign.tasks, assign.attempts, assign.chains) == (host[far], [far], [1], [3])
    assert isinstance(reroute, Reroute)
    assert (reroute.host, reroute.datasets, reroute.attempts) == (host[2], [far], [1])
    assert reroute.hosts[reroute.sources[0]] == host[far]


def with_an_input_elsewhere(hosts: int = 2) -> tuple[Driver, dict[int, str]]:
    """Tasks 0 and 1 are on different hosts, and done; 2 takes both. Returns the host of each task."""
    driver = Driver(hosts=hosts)
    decisions = driver.admit(make_spec([[], [], [0, 1]], outputs=[0, 1, 2]))
    host = {task: m.host for m in decisions if isinstance(m, Assign) for task in m.tasks}
    for task in (0, 1):
        assert driver.tell(Events(job=JOB, host=host[task], epoch=1, done=[task], produced=[task])) == []
    return driver, host


def test_a_host_is_told_once_whom_to_ask_however_often_it_asks_in_vain() -> None:
    driver, host = with_an_input_elsewhere()
    far = 0 if host[2] == host[1] else 1
    in_vain = Events(job=JOB, host=host[2], epoch=1, gone=[far])
    assert [type(m) for m in driver.tell(in_vain)] == [Reroute]
    for _ in range(9):
        assert driver.tell(in_vain) == []
    driver.scheduler.tick(10.0)
    assert [type(m) for m in driver.tell(in_vain)] == [Reroute]


def test_a_task_whose_host_cannot_reach_an_input_is_tried_on_another_host() -> None:
    driver, host = with_an_input_elsewhere(3)
    driver.tell(Events(job=JOB, host=host[2], epoch=1, failed=[TaskError(task=2, reason="unreachable")]))
    [assign] = driver.tell(Needed(at=9, term=1, job=JOB, tasks=[2], attempts=[1]))
    assert assign.host != host[2]
    driver.tell(Events(job=JOB, host=assign.host, epoch=1, failed=[TaskError(task=2, attempt=1, reason="unreachable")]))
    [another] = driver.tell(Needed(at=9, term=1, job=JOB, tasks=[2], attempts=[2]))
    assert another.host != assign.host


def test_an_assignment_names_no_host_that_is_lost() -> None:
    """Task 2 is placed anew while an input of it is still to be: its host waits for the reroute."""
    driver, host = with_an_input_elsewhere(3)
    far = 0 if host[2] == host[1] else 1
    driver.tell(HostLost(at=3, term=1, host=host[far], epoch=1))
    driver.tell(Events(job=JOB, host=host[2], epoch=1, failed=[TaskError(task=2)]))
    [assign] = driver.tell(Needed(at=9, term=1, job=JOB, tasks=[2], attempts=[1]))
    assert host[far] not in {assign.hosts[source] for source in assign.sources}
    decided = driver.tell(Needed(at=10, term=1, job=JOB, tasks=[far], attempts=[1]))
    made = next(message.host for message in decided if isinstance(message, Assign))
    told = {message.hosts[message.sources[0]] for message in decided if isinstance(message, Reroute)}
    assert made == assign.host or told == {made}


def test_a_copy_elsewhere_is_used_when_a_host_has_lost_its_own() -> None:
    spec = make_spec([[], [0], [0], [0]], outputs=[0, 1, 2, 3])
    driver = Driver(hosts=3)
    driver.scheduler.costs = Costs(transfer_seconds=0)
    decisions = driver.admit(spec)
    host = {task: m.host for m in decisions if isinstance(m, Assign) for task in m.tasks}
    assert {host[1], host[2], host[3]} == {"a", "b", "c"}
    first = host[0]
    second, third = sorted({"a", "b", "c"} - {first})
    reroute, *more = driver.tell(
        Events(job=JOB, host=first, epoch=1, done=[0], produced=[0]),
        Events(job=JOB, host=second, epoch=1, copied=[0]),
        Events(job=JOB, host=first, epoch=1, gone=[0]),
    )
    assert {(m.host, m.hosts[m.sources[0]]) for m in [reroute, *more]} == {(third, second), (first, second)}


def test_a_copy_elsewhere_is_used_when_its_host_is_lost() -> None:
    driver = Driver(hosts=3)
    driver.scheduler.costs = Costs(transfer_seconds=0)
    decisions = driver.admit(make_spec([[], [0], [0], [0]], outputs=[0, 1, 2, 3]))
    first = next(m.host for m in decisions if isinstance(m, Assign) and 0 in m.tasks)
    second, third = sorted({"a", "b", "c"} - {first})
    (reroute,) = driver.tell(
        Events(job=JOB, host=first, epoch=1, done=[0], produced=[0]),
        Events(job=JOB, host=second, epoch=1, copied=[0]),
        HostLost(at=3, term=1, host=first, epoch=1),
    )
    assert (reroute.host, reroute.datasets, reroute.hosts[reroute.sources[0]]) == (third, [0], second)


def test_a_host_that_joins_gets_its_share_of_what_was_not_released() -> None:
    driver = Driver(hosts=1)
    driver.admit(flat(44))
    decisions = driver.tell(joined("b"))
    assert {m.host for m in decisions} == {"b"}
    queues = driver.scheduler.schedules[JOB].backlogs
    assert [queue.n_tasks for queue in queues.values()] == [20, 16]


def test_a_host_that_restarts_gets_the_graph_again() -> None:
    driver = Driver(hosts=1)
    driver.admit(flat(3))
    driver.tell(joined("a", epoch=2))
    (assign,) = driver.tell(Needed(at=3, term=1, job=JOB, tasks=[0, 1, 2], attempts=[1, 1, 1]))
    assert assign.epoch == 2
    assert assign.graph is not None
    assert assign.addresses == ["a:2"]


def test_chains_that_a_host_gives_back_are_placed_again() -> None:
    driver = Driver(hosts=1)
    driver.admit(flat(3))
    (assign,) = driver.tell(Events(job=JOB, host="a", epoch=1, revoked=[2]))
    assert (assign.tasks, assign.chains) == ([2], [3])


def test_half_a_plan_is_made_anew() -> None:
    """The scheduler before died between two parts of a plan: no chain of it was released."""
    first = Driver()
    spec = parallel_chains(8, 4)
    decisions = first.admit(spec)
    plans = [m for m in decisions if isinstance(m, Plan)]
    assert len(plans) > 1
    second = Driver()
    second.scheduler.term = 6
    again = second.tell(Submitted(job=JOB, name="n", n_tasks=32, graph=GraphSource(inline=spec)), plans[0])
    assert [m.tasks for m in again if isinstance(m, Plan)] == [m.tasks for m in plans]


def test_no_message_is_too_large() -> None:
    driver = Driver(Settings(), hosts=2)
    spec = layers(20, 1500)
    decisions = driver.tell(Submitted(job=JOB, name="n", n_tasks=spec.n_tasks, graph=GraphSource(inline=spec, key="g")))
    assert max(len(encode(message)) for message in decisions) < MAX_MESSAGE_BYTES
    plans = [m for m in decisions if isinstance(m, Plan)]
    assert len(plans) > 1
    assert [m.first for m in plans] == [sum(len(before.lengths) for before in plans[:place]) for place in range(len(plans))]
    assert sorted(task for m in plans for task in m.tasks) == list(range(spec.n_tasks))


def test_status_tells_what_is_where() -> None:
    driver = Driver(hosts=1)
    driver.admit(flat(10))
    status = driver.scheduler.status()
    assert status["jobs"] == {JOB: {"open": {"a": 4}, "queued": {"a": 6}, "unplaced": 0}}
    assert status["load"] == {"a": 10}
