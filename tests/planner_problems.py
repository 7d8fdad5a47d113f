"""Planning problems for tests: drawn by hypothesis, or made from a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from headrace.scheduler.planners.plan import Placement, Plan
from headrace.scheduler.planners.problem import Host, Problem
from tests.scheduler_graphs import make_spec, specs, topology_of

ROUNDING = 1e-9


def make_problem(
    rows: list[list[int]],
    hosts: int | Sequence[Host] = 2,
    seconds: float | Sequence[float] = 1.0,
    nbytes: float | Sequence[float] = 100.0,
    memory: float | Sequence[float] = 0.0,
    bandwidth: float = 100.0,
    runners: int = 1,
    n_outputs: list[int] | None = None,
    outputs: list[int] | None = None,
    **further: Any,
) -> Problem:
    """A problem from the datasets that each task takes. hosts: a number of equal ones, or hosts."""
    topology = topology_of(make_spec(rows, n_outputs, outputs=outputs))
    equal = [Host(f"h{i}", runners, bandwidth=bandwidth) for i in range(hosts)] if isinstance(hosts, int) else hosts

    def column(value: float | Sequence[float], n: int) -> np.ndarray[Any, Any]:
        return np.array([value] * n if isinstance(value, float | int) else value, dtype=np.float64)

    n, m = topology.n_tasks, topology.n_datasets
    return Problem(topology, tuple(equal), column(seconds, n), column(nbytes, m), column(memory, n), **further)


@st.composite
def problems(draw: st.DrawFn, max_tasks: int = 20) -> Problem:
    """Any problem: unequal hosts, generators, resources, limited memory, tasks that are done, datasets that several hosts hold."""
    spec = draw(specs(max_tasks))
    topology = topology_of(spec)
    n, m, n_hosts = topology.n_tasks, topology.n_datasets, draw(st.integers(1, 4))
    has_gpu = [True] + [draw(st.booleans()) for _ in range(n_hosts - 1)]
    hosts = tuple(
        Host(
            f"h{h}",
            runners=draw(st.integers(1, 3)),
            memory=draw(st.sampled_from([np.inf, 300.0, 1000.0])),
            speed=draw(st.sampled_from([0.5, 1.0, 2.0])),
            bandwidth=draw(st.sampled_from([10.0, 100.0, np.inf])),
            resources={"gpu": 1.0} if has_gpu[h] else {},
        )
        for h in range(n_hosts)
    )
    with_kinds, done = draw(st.booleans()), np.zeros(n, dtype=np.bool_)
    done[: draw(st.integers(0, n))] = True  # ids are in topological order
    done &= draw(st.booleans())
    held = [(d, draw(st.integers(0, n_hosts - 1))) for d in range(m) if done[topology.producer[d]]]
    held += [(d, (h + 1) % n_hosts) for d, h in held if n_hosts > 1 and draw(st.booleans())]
    return Problem(
        topology,
        hosts,
        seconds=np.array(draw(st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=n, max_size=n))),
        nbytes=np.array(draw(st.lists(st.sampled_from([0.0, 50.0, 100.0]), min_size=m, max_size=m))),
        memory=np.array(draw(st.lists(st.sampled_from([0.0, 100.0]), min_size=n, max_size=n))),
        latency=draw(st.sampled_from([0.0, 0.25])),
        kind=np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)) if with_kinds else [], dtype=np.int32),
        needs=({}, {"gpu": 1.0}) if with_kinds else (),
        done=done,
        held_dataset=np.array([d for d, _ in held], dtype=np.int32),
        held_host=np.array([h for _, h in held], dtype=np.int32),
    )


@st.composite
def placements(draw: st.DrawFn, problem: Problem) -> Placement:
    """Any placement of a problem, with copies."""
    n = problem.n_tasks

    def able(task: int) -> list[int]:
        return [h for h in range(problem.n_hosts) if problem.may_run(task, h)]

    host = [-1 if problem.is_done(t) else draw(st.sampled_from(able(t))) for t in range(n)]
    further = [(t, h) for t in range(n) for h in able(t) if host[t] not in (-1, h) and draw(st.integers(0, 4)) == 0]
    order = draw(st.permutations(range(n + len(further))))
    return Placement.of(host, order[:n], [(t, h, order[n + i]) for i, (t, h) in enumerate(further)])


def check_plan(problem: Problem, plan: Plan) -> None:
    """Assert what every plan promises: each task once at least, only where it may run, after its inputs, within runners and resources."""
    rows, shape = plan.placement, problem.topology
    assert rows.task[: plan.n_tasks].tolist() == list(range(problem.n_tasks))
    planned = [(int(t), int(h)) for t, h in zip(rows.task, rows.host, strict=True) if h >= 0]
    assert len(planned) == len(set(planned))
    assert {t for t, _ in planned} == set(problem.undone.tolist())
    assert all(problem.may_run(t, h) for t, h in planned)
    there: dict[tuple[int, int], float] = {(int(d), int(h)): 0.0 for d, h in zip(problem.held_dataset, problem.held_host, strict=True)}
    for row in np.flatnonzero(rows.host >= 0).tolist():
        task, host = int(rows.task[row]), int(rows.host[row])
        duration = problem.seconds[task] / problem.hosts[host].speed
        assert abs(plan.end[row] - plan.start[row] - duration) < ROUNDING
        for number, dataset in enumerate(shape.outputs_of(task), 1):
            share = number / len(shape.outputs_of(task)) if shape.is_generator[task] else 1.0
            made = plan.start[row] + share * duration
            there[dataset, host] = min(made, there.get((dataset, host), np.inf))
    for row in np.flatnonzero(rows.host >= 0).tolist():
        for dataset in shape.inputs_of(int(rows.task[row])).tolist():
            assert plan.start[row] >= _earliest(problem, there, dataset, int(rows.host[row])) - ROUNDING
    for host in range(problem.n_hosts):
        _check_host(problem, plan, host)
    assert plan.makespan == max(plan.end, default=0.0)
    assert plan.fits == all(peak <= host.memory for peak, host in zip(plan.peak_memory, problem.hosts, strict=True))


def _earliest(problem: Problem, there: dict[tuple[int, int], float], dataset: int, host: int) -> float:
    """When a dataset can be on a host: made there, or sent from elsewhere over an idle link."""
    if (dataset, host) in there:
        return there[dataset, host]
    width = problem.hosts[host].bandwidth
    return min(
        since + problem.latency + problem.nbytes[dataset] / min(problem.hosts[h].bandwidth, width)
        for (d, h), since in there.items()
        if d == dataset
    )


def _check_host(problem: Problem, plan: Plan, host: int) -> None:
    """At no time does a host execute more rows than it has runners, or rows that need more than it has; nor a runner two rows."""
    rows = np.flatnonzero(plan.placement.host == host)
    for row in rows:
        begin = plan.start[row]
        at_once = rows[(plan.start[rows] <= begin) & (plan.end[rows] > begin + ROUNDING)]
        assert len(at_once) <= problem.hosts[host].runners
        assert len(set(plan.runner[at_once].tolist())) == len(at_once)
        if len(problem.kind):
            gpus = sum(problem.needs[problem.kind[plan.placement.task[r]]].get("gpu", 0.0) for r in at_once)
            assert gpus <= problem.hosts[host].resources.get("gpu", 0.0)
