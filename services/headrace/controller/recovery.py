"""The tasks that must run again after a failure or a loss, and the failures after which a job ends.

One rule covers everything that can break: a dataset that is needed and does not exist is computed again.

- A task whose attempt failed, or was lost with its host, runs again, together with the unfinished rest of its chain: the host gives a
  broken chain up. After a failure this happens after a pause, see `pauses`.
- A done task runs again if one of its datasets has no copy, and an unfinished task or the client needs it. The same holds for the producers
  of its own inputs, and so on up the graph. That includes datasets that were only passed on within a chain.
- A task runs again if an output that it wrote to a sink cannot be committed.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np

from headrace.controller.settings import Limits
from headrace.graph.naming import input_names
from headrace.ledger import (
    ASKED,
    ASSIGNED,
    DONE,
    FAILED,
    NOWHERE,
    RELEASED,
    STARTED,
    SUNK,
    VALUE,
    WRITTEN,
    Changes,
    Hosts,
    JobLedger,
    too_small_for,
)
from headrace.ledger import host_deaths as deaths_of_hosts
from headrace.ledger.columns import FEW, Ints, distinct, ints, ranges
from headrace.ledger.sunk import Sunk
from headrace.sizes import shown_size
from headrace.text import shown_place
from headrace_schemas import TaskError

DEATHS = ("runner_died", "out_of_memory")
"""Reasons for a failed attempt that may not be the task's fault."""
UNREACHABLE = "unreachable"
"""The reason for an attempt that failed because its host could not fetch an input. The task is retried on another host."""
OUT_OF_MEMORY = "out_of_memory"
"""The reason for an attempt whose runner the kernel killed for memory. The task is retried alone, then on a host with more memory."""

RAISED = ("raised", "sink_failed")
"""Reasons for which a task is retried as often as the `retries` of its function allow."""
_NONE = ints(())


class Failure(NamedTuple):
    """The reason for which a job ends. error: that of the task that failed, if one did."""

    error: TaskError | None
    reason: str


def hopeless(job: JobLedger, changes: Changes, limits: Limits, hosts: Hosts) -> Failure | None:
    """Find the first failure among the changes for which no retry is left. hosts: those on which a task may be retried."""
    for task in changes.failed.list():
        attempts = job.failures.get(task, {})
        if job.states[task] == FAILED and len(deaths_of_hosts(job, task)) >= limits.host_deaths:
            return _brings_hosts_down(job, task)
        error = attempts.get(job.attempts[task])
        if job.states[task] == FAILED and error is not None and _ran_alone(error, attempts):
            failure = too_large_for_hosts(job, task, error, hosts)
            if failure is not None:
                return failure
        if job.states[task] == FAILED and error is not None and not _retry(job, task, limits):
            return Failure(error, describe(error, len(attempts)))
    return None if job.sunk is None else _lost_in_sink(job, job.sunk, changes, limits.deaths)


def _brings_hosts_down(job: JobLedger, task: int) -> Failure:
    """Describe the failure of a task that was running on several hosts when they were lost."""
    lost = deaths_of_hosts(job, task)
    where = "; ".join(f"attempt {each.attempt} on {each.host}" + (f" ({each.why})" if each.why else "") for each in lost)
    text = (
        f"{len(lost)} hosts were lost while they executed it: {where}. Look at what it does there (memory, signals, devices); the limit is "
        "HEADRACE_HOST_DEATHS"
    )
    error = TaskError(
        task=task,
        attempt=job.attempts[task],
        reason="host_lost",
        name=job.task_name(task),
        inputs=input_names(job.spec, task, job.topology),
        error=text,
    )
    return Failure(error, describe(error, 1))


def _ran_alone(error: TaskError, attempts: dict[int, TaskError]) -> bool:
    """Whether an attempt ran out of memory although it ran alone. It did if an earlier attempt had run out of memory."""
    return error.reason == OUT_OF_MEMORY and sum(each.reason == OUT_OF_MEMORY for each in attempts.values()) > 1


def too_large_for_hosts(job: JobLedger, task: int, error: TaskError, hosts: Hosts) -> Failure | None:
    """Describe the failure of a task that ran out of memory although it ran alone, if no living host has more memory.

    Returns None if a host has more, or if the memory of the hosts is not known.
    """
    tried = too_small_for(job, task)
    living = [hosts[name] for name in hosts.alive() if hosts[name].memory]
    if not living or not error.limit or any(host.memory > tried for host in living):
        return None
    have = ", ".join(f"{host.name}: {shown_size(host.memory)}" for host in living)
    text = f"{error.error}. It ran alone, and no host has more memory ({have}). Have the task need less, or start a larger host"
    told = msgspec.structs.replace(error, error=text)
    return Failure(told, describe(told, len(job.failures[task])))


def clashing(job: JobLedger) -> Failure | None:
    """Find two outputs with the same path. The job fails even if both were announced already, since one of them is lost."""
    if job.sunk is None or job.sunk.clash is None:
        return None
    clash = job.sunk.clash
    one, other = job.dataset_name(clash.one), job.dataset_name(clash.other)
    text = (
        f"outputs {one!r} and {other!r} lead to one file, {shown_place(clash.location)}: put {{name}}, or metadata that tells them "
        "apart, into the path of their sink, or yield them with different metadata"
    )
    return _sink_failure(job, clash.other, text)


def _lost_in_sink(job: JobLedger, sunk: Sunk, changes: Changes, tries: int) -> Failure | None:
    """Find an output that was written as often as allowed, and could not be committed."""
    for dataset in changes.refused.list():
        reasons = sunk.refused[dataset]
        if len(reasons) >= tries:
            text = f"output {job.dataset_name(dataset)!r} was written {len(reasons)} times and could not be committed: "
            return _sink_failure(job, dataset, f"{text}{reasons[max(reasons)]}. {_SHARED}")
    return None


def _sink_failure(job: JobLedger, dataset: int, text: str) -> Failure:
    task = int(job.topology.producer[dataset])
    error = TaskError(task=task, attempt=job.attempts[task], reason="sink_failed", name=job.task_name(task), error=text)
    return Failure(error, describe(error, 1))


_SHARED = "A folder that a sink writes to must be the same on all hosts and for the publisher"


def _retry(job: JobLedger, task: int, limits: Limits) -> bool:
    reasons = [error.reason for error in job.failures[task].values()]
    raised, died = sum(reason in RAISED for reason in reasons), sum(reason in DEATHS for reason in reasons)
    cut_off = reasons.count(UNREACHABLE)
    retries = job.spec.functions[job.spec.function[task]].retries
    is_known = raised + died + cut_off == len(reasons)
    return is_known and raised <= retries and died < limits.deaths and cut_off < limits.unreachable


def describe(error: TaskError, attempts: int) -> str:
    """Describe the failure of a task in one line, for people."""
    how = "" if error.reason == "raised" else f" ({error.reason.replace('_', ' ')})"
    tries = f" after {attempts} attempts" if attempts > 1 else ""
    return f"task {error.name or error.task!r} failed{how}{tries}: {error.error or 'no message'}"


def needed(job: JobLedger, changes: Changes) -> list[int]:
    """Find the tasks that must run in a new attempt, in ascending order."""
    broken = _broken(job, changes.failed.list()) if changes.failed else set()
    missing = _missing(job, changes)
    unwritten = _unwritten(job, changes) if job.sunk is not None else []
    if not broken and not len(missing) and not unwritten:
        return []
    makers = job.topology.producer[missing[_wanted(job, missing, broken)]]
    first = np.union1d(ints(sorted(broken.union(unwritten))), makers.astype(np.int64))
    return _with_makers_of_inputs(job, first).tolist() if len(first) else []


def _broken(job: JobLedger, failed: list[int]) -> set[int]:
    """Find tasks whose attempt failed, once the pause is over, and the unfinished tasks of their chains."""
    tasks = {task for task in failed if job.states[task] == FAILED and not job.is_paused(task)}
    for chain in {job.chain_of[task] for task in tasks}:
        tasks.update(task for task in job.chains.tasks_of(chain) if job.chain_of[task] == chain and _is_broken(job, task))
    return tasks


def _is_broken(job: JobLedger, task: int) -> bool:
    """Whether a task of a broken chain must run again now."""
    return job.states[task] in (ASSIGNED, STARTED, FAILED) and not job.is_paused(task)


def _missing(job: JobLedger, changes: Changes) -> Ints:
    """Find datasets of done tasks that no host holds: those that were lost, and those of tasks that became done without leaving a copy.

    A dataset whose value is in the log is missing too, since only clients can read it there. Each dataset is returned once.
    """
    topology, home = job.topology, job.copies.home
    if len(changes.done) > FEW:
        tasks = changes.done.array()
        made = tasks if job.one_output_each else ranges(topology.first_output[tasks], topology.n_outputs[tasks])
        made = made[home[made] == NOWHERE]
    else:
        few = _left_nowhere(job, changes.done.list())
        if not few and not changes.lost:
            return _NONE
        made = ints(few)
    lost = changes.lost.array().astype(np.int64)
    if not len(made) and not len(lost):
        return made
    missing = distinct(np.concatenate([lost, made]))
    over: Ints = missing[(home[missing] == NOWHERE) & (job.state[topology.producer[missing]] == DONE)]
    return over


def _left_nowhere(job: JobLedger, done: list[int]) -> list[int]:
    made = done if job.one_output_each else [dataset for task in done for dataset in job.topology.outputs_of(task)]
    homes = job.copies.homes
    return [dataset for dataset in made if homes[dataset] == NOWHERE]


def _unwritten(job: JobLedger, changes: Changes) -> list[int]:
    """Find done tasks with an output that is not in its sink, because the written file could not be committed."""
    topology = job.topology
    done = changes.done.array()
    made = ranges(topology.first_output[done], topology.n_outputs[done])
    datasets = np.concatenate([made, changes.refused.array()])
    makers = topology.producer[datasets[(job.flags[datasets] & (SUNK | WRITTEN)) == SUNK]]
    tasks: list[int] = makers[job.state[makers] == DONE].tolist()
    return tasks


def _wanted(job: JobLedger, datasets: Ints, broken: set[int]) -> Ints:
    """Tell for each dataset whether it is needed: the client has yet to fetch it, or an unfinished task takes it as an input.

    Two kinds of unfinished tasks are left out: assigned or started tasks of the producer's own chain, which got the dataset within the
    chain, and failed tasks whose pause is not over.
    """
    topology = job.topology
    wanted: Ints = (job.flags[datasets] & (ASKED | RELEASED | VALUE)) == ASKED
    counts = topology.n_consumers[datasets]
    consumers = topology.consumers[ranges(topology.consumer_start[datasets], counts)]
    makers = np.repeat(topology.producer[datasets], counts)
    state = job.state[consumers]
    at_work = ((state == ASSIGNED) | (state == STARTED)) & ~np.isin(consumers, sorted(broken))
    waiting = (state != DONE) & ~(at_work & (job.chain[consumers] == job.chain[makers]))
    for place in np.flatnonzero(state == FAILED).tolist():
        waiting[place] = not job.is_paused(int(consumers[place]))
    wanted |= np.bincount(np.repeat(np.arange(len(datasets)), counts), weights=waiting, minlength=len(datasets)) > 0
    return wanted


def _with_makers_of_inputs(job: JobLedger, tasks: Ints) -> Ints:
    """Add the producers of inputs that no host holds, and so on up the graph."""
    topology = job.topology
    found: Ints = np.zeros(topology.n_tasks, dtype=np.bool_)
    while len(tasks):
        found[tasks] = True
        inputs = distinct(topology.inputs[ranges(topology.input_start[tasks], topology.n_inputs[tasks])])
        makers = distinct(topology.producer[inputs[job.copies.home[inputs] == NOWHERE]])
        tasks = makers[(job.state[makers] == DONE) & ~found[makers]]
    result: Ints = np.flatnonzero(found)
    return result
