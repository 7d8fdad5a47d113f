"""Functions that fold messages of controller, scheduler and publisher into a job. `possible` has checked the messages before."""

from __future__ import annotations

import numpy as np

from headrace.ledger.chains import consecutive
from headrace.ledger.changes import Touched
from headrace.ledger.columns import FEW, Ints, distinct, ints, ranges
from headrace.ledger.copies import NOWHERE
from headrace.ledger.hardships import Interruption
from headrace.ledger.job import (
    ASKED,
    ASSIGNED,
    DONE,
    FAILED,
    PUBLISHED,
    RELEASED,
    STARTED,
    SUNK,
    UNPLACED,
    VALUE,
    WAITING,
    WRITTEN,
    JobLedger,
)
from headrace.ledger.sunk import Sunk
from headrace_schemas import Assign, CancelAsked, Due, Ended, Needed, Plan, Published, Purge, Refused, Released, Revoke

# --- messages of the scheduler ----------------------------------------------------------------------------------------


def fold_plan(job: JobLedger, plan: Plan) -> None:
    """Fold a part of the plan: define its chains, and place their tasks. Tasks that were assigned before stay where they are."""
    job.n_planned, job.planned = plan.first + len(plan.lengths), plan.part + 1 == plan.parts
    table = ints([job.host_id(name) for name in plan.hosts])
    chains, lengths = consecutive(plan.first, len(plan.lengths)), ints(plan.lengths)
    placed, tasks = table[ints(plan.placed)], ints(plan.tasks)
    job.chains.define(chains, lengths, tasks, placed)
    chain, host = np.repeat(chains, lengths), np.repeat(placed, lengths)
    free = (job.state[tasks] == WAITING) & (job.attempt[tasks] == 0)
    if not free.all():
        tasks, chain, host = tasks[free], chain[free], host[free]
    job.chain[tasks] = chain
    _place(job, tasks, host)


def fold_assign(job: JobLedger, assign: Assign, alive: bool) -> None:
    """Fold the release of chains to a host. alive: whether the host is alive in this epoch, according to the log."""
    tasks, lengths = assign.tasks, assign.lengths
    for name in assign.hosts:
        job.host_id(name)
    host = job.host_id(assign.host)
    job.planned = job.planned or job.n_tasks == 1
    if len(tasks) > FEW or job.retried or any(assign.attempts):
        _assign_many(job, assign, host, alive)
        return
    start = 0
    for chain, length in zip(assign.chains, lengths, strict=True):
        part = tasks[start : start + length]
        start += length
        _assign_few(job, chain, part, host, alive)


def _assign_few(job: JobLedger, chain: int, tasks: list[int], host: int, alive: bool) -> None:
    """Assign one chain of first attempts."""
    if job.chains.tasks_of(chain) != tasks:
        job.chains.define_one(chain, tasks, host)
    elif job.chains.host_of(chain) != host:
        job.chains.place(chain, host)
    assigned = job.changes.to("assigned").few
    for task in tasks:
        if job.states[task] != WAITING:
            continue
        job.states[task] = ASSIGNED
        job.chain_of[task] = chain
        assigned.append(task)
        if not alive:
            job.states[task] = FAILED
            job.changes.to("failed").few.append(task)
        if job.placed[task] != host:
            _place_one(job, task, host)


def _assign_many(job: JobLedger, assign: Assign, host: int, alive: bool) -> None:
    tasks, chains, lengths = ints(assign.tasks), ints(assign.chains), ints(assign.lengths)
    attempts: Ints | int = ints(assign.attempts) if any(assign.attempts) else 0
    job.chains.define(chains, lengths, tasks, host, attempts)
    attempt, state = job.attempt[tasks], job.state[tasks]
    newer = attempts > attempt
    open_ = newer | ((attempts == attempt) & (state == WAITING))
    chain = np.repeat(chains, lengths)
    if np.any(newer):
        job.retried = True
        again = tasks[newer & (state == DONE)]
        job.take_back(again.tolist())
    if not open_.all():
        tasks, chain = tasks[open_], chain[open_]
        attempts = attempts if isinstance(attempts, int) else attempts[open_]
    job.state[tasks], job.attempt[tasks], job.chain[tasks] = ASSIGNED if alive else FAILED, attempts, chain
    job.changes.to("assigned").add(tasks)
    if not alive:
        job.changes.to("failed").add(tasks)
    again_here = np.any(attempts) or job.copies.any_dropped
    moved = tasks if again_here else tasks[job.host[tasks] != host]
    _place(job, moved, np.full(len(moved), host))


def _place(job: JobLedger, tasks: Ints, hosts: Ints) -> None:
    """Place tasks on hosts. From now on, copies of their inputs count there, even if the host dropped them before."""
    if not len(tasks):
        return
    job.changes.to("moved").add(tasks)
    job.host[tasks] = hosts
    if job.copies.any_dropped:
        starts, counts = job.topology.input_start[tasks], job.topology.n_inputs[tasks]
        datasets = job.topology.inputs[ranges(starts, counts)]
        job.copies.allow(datasets, np.repeat(hosts, counts))
        if job.kept:
            job.unkeep(datasets)


def _place_one(job: JobLedger, task: int, host: int) -> None:
    """Place one task on a host."""
    if job.copies.any_dropped:
        _place(job, ints([task]), ints([host]))
        return
    job.changes.to("moved").few.append(task)
    job.placed[task] = host


def fold_revoke(job: JobLedger, revoke: Revoke) -> None:
    """Remember the place in each chain from which on the scheduler asks for its tasks, until the host reports them as revoked."""
    for place, chain in enumerate(revoke.chains):
        cut = revoke.cuts[place] if place < len(revoke.cuts) else 0
        if cut:
            job.cuts[chain] = cut
        else:
            job.cuts.pop(chain, None)


# --- messages of the controller ---------------------------------------------------------------------------------------


def reopen(job: JobLedger) -> None:
    """Make a done job run again, to recompute lost outputs.

    Hosts gave up what was still to run when they read of the job's end. These tasks count as done, like all others, until they are needed.
    """
    if not job.reopened:
        job.reopened = True
        drop_what_was_passed_on(job)
        job.n_done += len(job.again)
        for task in job.again:
            job.states[task] = DONE
        job.again.clear()


def drop_what_was_passed_on(job: JobLedger) -> Ints:
    """Remove the copies of all datasets except held outputs: hosts dropped these when they read of the job's end.

    Returns the datasets of which a copy was removed.
    """
    passed_on = np.flatnonzero((job.flags & (ASKED | VALUE)) != ASKED)
    held: Ints = passed_on[job.copies.home[passed_on] != NOWHERE]
    job.copies.remove_all(passed_on)
    return held


def fold_needed(job: JobLedger, needed: Needed) -> None:
    """Fold new attempts of tasks. The tasks wait until the scheduler places them."""
    for task, attempt in zip(needed.tasks, needed.attempts, strict=True):
        if attempt <= job.attempts[task]:
            continue
        job.retried = True
        job.attempts[task] = attempt
        if job.end is not None:
            if needed.at < job.closed_at:  # decided before the job ended: the task does not run
                continue
            reopen(job)
            job.reopened_at = max(job.reopened_at, needed.at)
        if job.states[task] == DONE:
            job.take_back([task])
        job.states[task] = WAITING
        job.chain_of[task] = UNPLACED
        job.changes.to("needed").few.append(task)


def fold_due(job: JobLedger, due: Due) -> None:
    """Fold the end of pauses after failed attempts. Attempts that are not the newest of their task are ignored."""
    for task, attempt in zip(due.tasks, due.attempts, strict=True):
        if attempt == job.attempts[task] and job.is_paused(task):
            job.due[task] = attempt
            job.changes.to("failed").few.append(task)


def fold_purge(job: JobLedger, purge: Purge) -> None:
    """Drop the copies that a host was asked to drop. If it keeps one, it reports that."""
    host = job.host_id(purge.host)
    if len(purge.datasets) > FEW:
        _, moved = job.copies.drop(host, ints(purge.datasets))
    else:
        moved = ints([dataset for dataset in purge.datasets if job.copies.drop_one(host, dataset)])
    if len(moved):
        job.rehomed(moved)


def fold_ended(job: JobLedger, ended: Ended, time: float) -> None:
    """Fold the end of a job. time: when the server stored the message, in seconds since 1970.

    The first message ends the job. A later one ends the recomputation of lost outputs; with a reason, it gives up the missing ones. A
    repeated message that was decided before the recomputation is ignored.
    """
    if job.end is not None:
        if ended.at < job.reopened_at:
            return
        job.closed_at = ended.at
        job.reopened = False
        if ended.reason:
            _give_up(job, ended.reason)
        return
    job.end, job.ended_at, job.closed_at = ended, time, ended.at
    if job.n_released:
        job.changes.to("released").add(np.flatnonzero(job.flags & RELEASED))


def missing_outputs(job: JobLedger) -> Ints:
    """Return the outputs that must be kept for the client, and of which no host has a copy."""
    outputs = np.flatnonzero((job.flags & (ASKED | RELEASED | VALUE)) == ASKED)
    missing: Ints = outputs[~job.are_available(outputs)]
    return missing


def _give_up(job: JobLedger, reason: str) -> None:
    """Release the outputs without a copy, which will not be recomputed. reason: for people."""
    gone = missing_outputs(job)
    job.flags[gone] |= RELEASED
    job.n_released += len(gone)
    job.n_missing -= len(gone)
    job.release_reason = reason


def fold_cancel_asked(job: JobLedger, asked: CancelAsked) -> None:
    """Fold the request to cancel a job. The first one counts."""
    if job.cancel_asked is None:
        job.cancel_asked = asked.reason


def fold_refused(job: JobLedger, refused: Refused) -> None:
    """Fold the refusal of a job. The first reason counts."""
    job.refused = job.refused or refused.reason


def fold_released(job: JobLedger, released: Released) -> None:
    """Fold the release of outputs: hosts need no longer keep them for the client. A message without datasets releases all."""
    datasets = distinct(ints(released.datasets)) if released.datasets else ints(job.outputs())
    datasets = datasets[(job.flags[datasets] & (ASKED | RELEASED)) == ASKED]
    job.n_missing -= int((~job.are_available(datasets)).sum())
    job.flags[datasets] |= RELEASED
    job.n_released += len(datasets)
    if len(datasets):
        job.release_reason = released.reason
    job.changes.to("released").add(datasets)
    if job.kept:
        job.unkeep(datasets)


# --- messages of the publisher ----------------------------------------------------------------------------------------


def fold_published(job: JobLedger, published: Published) -> None:
    """Fold the announcement of outputs. It is what makes an output in a sink available."""
    for output in published.outputs:
        dataset = output.dataset
        if job.flag[dataset] & (SUNK | PUBLISHED) == SUNK:
            job.n_missing -= 1
            job.flag[dataset] |= WRITTEN
        job.flag[dataset] |= PUBLISHED
    if job.sunk is not None:
        _fold_committed(job, job.sunk, published)


def _fold_committed(job: JobLedger, sunk: Sunk, published: Published) -> None:
    for output in published.outputs:
        sunk.written.pop(output.dataset, None)
        if job.keep_values:
            sunk.published[output.dataset] = output
    for failed in published.failed:
        if not job.flag[failed.dataset] & PUBLISHED and sunk.refuse(failed):
            job.flag[failed.dataset] &= ~WRITTEN
            job.changes.to("refused").few.append(failed.dataset)


# --- lost hosts -------------------------------------------------------------------------------------------------------


def fold_host_returned(job: JobLedger, host: str) -> None:
    """Note that a host rejoined with its datasets: it had lost its lease, and had not died."""
    for lost in job.interrupted.values():
        if lost[-1].host == host and lost[-1].died:
            lost[-1] = lost[-1]._replace(died=False)


def fold_host_lost(job: JobLedger, host: int, why: str) -> None:
    """Drop all copies of a lost host, and fail the tasks that were assigned to it. why: the reason, for people."""
    had, moved = job.copies.lose(host)
    if len(had):
        job.changes.touched.append(Touched(host, had))
    job.changes.to("lost").add(job.rehomed(moved))
    busy = np.flatnonzero((job.host == host) & ((job.state == ASSIGNED) | (job.state == STARTED)))
    for task in busy[job.state[busy] == STARTED].tolist():
        job.interrupted.setdefault(task, []).append(Interruption(job.attempts[task], job.hosts[host], why))
    job.state[busy] = FAILED
    job.changes.to("failed").add(busy)
    job.kept = {pair for pair in job.kept if pair[1] != host}
