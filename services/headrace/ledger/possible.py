"""Checks whether a message fits the job that it is about.

Its ids must be in the graph, its attempts must have been asked for, and its hosts must fit into the job's table. Every reader of the log
ignores a message that does not fit, all of it, so that all readers agree. `headrace_schemas.reading` has checked before that a message is
consistent in itself: that its columns have the same length and its indexes are in range.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from headrace.ledger.columns import FEW, ints, within
from headrace.ledger.job import JobLedger
from headrace_schemas import Assign, Due, Events, Needed, Plan, Published, Purge, Released

MOST_AHEAD = 100
"""The most attempts by which a message may be ahead of the ledger, for one task.

It can be ahead by more than one if the server lost a `Needed`, and stored the next one before the controller sent the first again.
"""


def _events(job: JobLedger, events: Events) -> bool:
    m, n = job.topology.n_datasets, job.topology.n_tasks
    for datasets in (events.produced, events.value_ids, events.metadata_ids, events.typed, events.copied, events.kept, events.gone):
        if datasets and not within(datasets, m):
            return False
    for tasks in (events.started, events.done):
        if tasks and not within(tasks, n):
            return False
    if events.host not in job.host_ids and not job.has_room(events.host):
        return False
    if events.produced_attempts and not _were_asked_for(job, _makers(job, events.produced), events.produced_attempts):
        return False
    if events.done_attempts and not _were_asked_for(job, events.done, events.done_attempts):
        return False
    for entry in events.profile:
        if job.problem or entry.function >= len(job.spec.functions):
            return False
    return not (events.failed or events.written) or _rare(job, events)


def _rare(job: JobLedger, events: Events) -> bool:
    for error in events.failed:
        if error.task >= job.topology.n_tasks or error.attempt > job.attempts[error.task]:
            return False
    attempts, producer, m = job.attempts, job.topology.producer, job.topology.n_datasets
    return all(written.dataset < m and written.attempt <= attempts[producer[written.dataset]] for written in events.written)


def _makers(job: JobLedger, datasets: list[int]) -> list[int]:
    return datasets if job.one_output_each else job.topology.producer[datasets].tolist()


def _were_asked_for(job: JobLedger, tasks: list[int], attempts: list[int]) -> bool:
    """Whether no attempt is later than the newest known attempt of its task."""
    if len(tasks) > FEW:
        return bool((ints(attempts) <= job.attempt[ints(tasks)]).all())
    return all(attempt <= job.attempts[task] for task, attempt in zip(tasks, attempts, strict=True))


def _plan(job: JobLedger, plan: Plan) -> bool:
    n = job.topology.n_tasks
    return within(plan.tasks, n) and plan.first + len(plan.lengths) <= n and job.has_room(*plan.hosts)


def _assign(job: JobLedger, assign: Assign) -> bool:
    # An assignment of new attempts defines new chains, whose ids follow the known ones. There are never more of them than tasks.
    n = job.topology.n_tasks
    if not within(assign.tasks, n) or not within(assign.chains, len(job.chains) + n) or not job.has_room(assign.host, *assign.hosts):
        return False
    return not assign.attempts or _were_asked_for(job, assign.tasks, assign.attempts)


def _needed(job: JobLedger, needed: Needed) -> bool:
    """Whether each attempt is known already, or follows closely on the newest known one."""
    if not within(needed.tasks, job.topology.n_tasks):
        return False
    return bool(np.all(ints(needed.attempts) <= job.attempt[ints(needed.tasks)] + MOST_AHEAD))


def _purge(job: JobLedger, purge: Purge) -> bool:
    return within(purge.datasets, job.topology.n_datasets) and job.has_room(purge.host)


def _published(job: JobLedger, published: Published) -> bool:
    m = job.topology.n_datasets
    return all(output.dataset < m for output in published.outputs) and all(failed.dataset < m for failed in published.failed)


def _released(job: JobLedger, released: Released) -> bool:
    return within(released.datasets, job.topology.n_datasets)


def _due(job: JobLedger, due: Due) -> bool:
    return within(due.tasks, job.topology.n_tasks)


CHECKS: dict[type[Any], Callable[[JobLedger, Any], bool]] = {
    Events: _events,
    Plan: _plan,
    Assign: _assign,
    Needed: _needed,
    Purge: _purge,
    Published: _published,
    Released: _released,
    Due: _due,
}
"""The check for each type of message. A message of another type always fits."""
