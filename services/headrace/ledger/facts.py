"""Functions that fold the reports of hosts into a job. `possible` has checked the reports before."""

from __future__ import annotations

import numpy as np

from headrace.ledger.changes import Touched
from headrace.ledger.columns import FEW, Ints, ints, ranges
from headrace.ledger.copies import NOWHERE
from headrace.ledger.job import ASKED, ASSIGNED, DONE, FAILED, STARTED, SUNK, UNPLACED, VALUE, WAITING, WRITTEN, JobLedger
from headrace.ledger.sunk import Sunk
from headrace_schemas import Events, NotCommitted, TaskError


def fold_events(job: JobLedger, events: Events) -> None:
    """Fold a batch of facts. Datasets come before tasks, so that a task's datasets are available when it becomes done."""
    host = job.host_id(events.host)
    before = job.n_done
    if events.produced:
        _produced(job, host, events)
    if events.value_ids:
        _values(job, events)
    if events.typed and job.keep_values:
        job.arrays.update(zip(events.typed, zip(events.dtypes, events.shapes, strict=True), strict=True))
    if events.metadata_ids:
        job.yielded.update(zip(events.metadata_ids, events.metadata, strict=True))
    if events.written and job.sunk is not None:  # after the metadata, which file names contain
        _written(job, job.sunk, events)
    if events.copied:
        _copied(job, host, events.copied)
    if events.started:
        _started(job, events.started)
    if events.done:
        _done(job, events.done, events.done_attempts)
    if events.chains:
        _chains_done(job, events.chains)
    _rare(job, host, events)
    if job.n_done != before:
        _profile(job, events)
    job.memory_used[events.host] = events.memory_used


def _rare(job: JobLedger, host: int, events: Events) -> None:
    for error in events.failed:
        _failed(job, error)
    for chain in events.revoked:
        _revoked(job, chain)
    if events.kept:
        _kept(job, host, events.kept)
    if events.gone:
        _gone(job, host, events.gone)


# --- datasets ---------------------------------------------------------------------------------------------------------


def _produced(job: JobLedger, host: int, events: Events) -> None:
    datasets, attempts, sizes = events.produced, events.produced_attempts, events.sizes
    if len(datasets) > FEW:
        _produced_many(job, host, ints(datasets), ints(attempts) if attempts else 0, ints(sizes) if sizes else 0)
        return
    for place, dataset in enumerate(datasets):
        newer = bool(attempts) and attempts[place] > job.made_by[dataset]
        if not newer and job.copies.any_dropped and job.copies.was_dropped(host, dataset):
            continue
        job.sizes[dataset] = sizes[place] if sizes else 0
        if newer:
            job.made_by[dataset] = attempts[place]
        _, first = job.copies.add_one(host, dataset)
        if first:
            job.found_one(dataset)
    job.changes.touched.append(Touched(host, datasets))


def _produced_many(job: JobLedger, host: int, datasets: Ints, attempts: Ints | int, sizes: Ints | int) -> None:
    # A copy that the host has dropped comes back only with a newer attempt, not with an old message.
    if job.copies.any_dropped:
        fresh = ~job.copies.dropped_by(host, datasets) | (attempts > job.made[datasets])
        if not fresh.all():
            datasets = datasets[fresh]
            attempts = attempts if isinstance(attempts, int) else attempts[fresh]
            sizes = sizes if isinstance(sizes, int) else sizes[fresh]
    job.size[datasets] = sizes
    if not isinstance(attempts, int):
        job.made[datasets] = np.maximum(job.made[datasets], attempts)
    _add_copies(job, host, datasets)


def _copied(job: JobLedger, host: int, datasets: list[int]) -> None:
    if len(datasets) > FEW:
        many = ints(datasets)
        _add_copies(job, host, many[~job.copies.dropped_by(host, many)] if job.copies.any_dropped else many)
    else:
        for dataset in datasets:
            if job.copies.any_dropped and job.copies.was_dropped(host, dataset):
                continue
            _, first = job.copies.add_one(host, dataset)
            if first:
                job.found_one(dataset)
        job.changes.touched.append(Touched(host, datasets))
    if job.kept:
        job.unkeep(datasets)


def _add_copies(job: JobLedger, host: int, datasets: Ints) -> Ints:
    new, first = job.copies.add(host, datasets)
    if len(first):
        job.found(first)
    if len(new):
        job.changes.touched.append(Touched(host, new))
    return new


def _values(job: JobLedger, events: Events) -> None:
    """Mark outputs whose values came with the report: no host need keep them."""
    for dataset, value in zip(events.value_ids, events.values, strict=True):
        flags = job.flag[dataset]
        if flags & VALUE or not flags & ASKED:
            continue
        if job.copies.homes[dataset] == NOWHERE:
            job.found_one(dataset)
        job.flag[dataset] = flags | VALUE
        job.n_values += 1
        if job.keep_values:
            job.values[dataset] = value


def _written(job: JobLedger, sunk: Sunk, events: Events) -> None:
    """Mark outputs that were written to their sinks. The first report of each output counts, until the publisher refuses the file."""
    for each in events.written:
        dataset = each.dataset
        if job.flag[dataset] & (SUNK | WRITTEN) != SUNK:
            continue
        if each.attempt > job.attempts[int(job.topology.producer[dataset])]:  # no service asked for that attempt
            continue
        placed = job.place_written(each, events.host)
        if isinstance(placed, NotCommitted):
            if sunk.turn_down(placed):
                job.changes.to("refused").few.append(dataset)
        elif sunk.write(placed):
            job.flag[dataset] |= WRITTEN
            job.changes.to("written").few.append(dataset)


def _kept(job: JobLedger, host: int, datasets: list[int]) -> None:
    """Restore copies whose purge the host refused. They are not purged again before their consumers have gone on."""
    new = _add_copies(job, host, ints(datasets))
    job.kept.update((dataset, host) for dataset in new.tolist())


def _gone(job: JobLedger, host: int, datasets: list[int]) -> None:
    """Drop copies that the host reports as missing."""
    many = ints(datasets)
    had, moved = job.copies.drop(host, many)
    if len(had):
        job.changes.touched.append(Touched(host, had))
    job.rehomed(moved)
    job.kept.difference_update((dataset, host) for dataset in datasets)
    job.changes.to("lost").add(many[job.copies.home[many] == NOWHERE])


# --- tasks ------------------------------------------------------------------------------------------------------------


def _started(job: JobLedger, tasks: list[int]) -> None:
    for task in tasks:
        if job.states[task] == ASSIGNED:
            job.states[task] = STARTED


def _done(job: JobLedger, tasks: list[int], attempts: list[int]) -> None:
    if len(tasks) > FEW:
        _done_many(job, ints(tasks), ints(attempts) if attempts else 0)
    else:
        _done_few(job, tasks, attempts)


def _chains_done(job: JobLedger, chains: list[int]) -> None:
    if len(chains) > FEW or job.kept:
        _done_many(job, *job.chains.expand(job.chains.known(ints(chains))))
    else:
        for chain in chains:
            _done_few(job, *job.chains.one(chain))


def _done_few(job: JobLedger, tasks: list[int], attempts: list[int]) -> None:
    states, done = job.states, job.changes.to("done").few
    for place, task in enumerate(tasks):
        if states[task] == DONE or (job.retried and not _counts(job, task, attempts[place] if attempts else 0)):
            continue
        states[task] = DONE
        job.n_done += 1
        if job.again:
            job.again.discard(task)
        done.append(task)
        if job.kept:
            job.unkeep(job.topology.inputs_of(task).tolist())


def _counts(job: JobLedger, task: int, attempt: int) -> bool:
    """Whether the task is done with this attempt: it is the newest one, or all datasets of the task exist."""
    return attempt >= job.attempts[task] or all(map(job.available, job.topology.outputs_of(task)))


def _done_many(job: JobLedger, tasks: Ints, attempts: Ints | int) -> None:
    if job.retried:
        current = attempts >= job.attempt[tasks]
        for place in np.flatnonzero(~current).tolist():
            current[place] = _counts(job, int(tasks[place]), 0 if isinstance(attempts, int) else int(attempts[place]))
        tasks = tasks[current]
    fresh = job.distinct(tasks[job.state[tasks] != DONE])
    job.state[fresh] = DONE
    job.n_done += len(fresh)
    if job.again:
        job.again.difference_update(fresh.tolist())
    job.changes.to("done").add(fresh)
    if job.kept:
        topology = job.topology
        job.unkeep(topology.inputs[ranges(topology.input_start[fresh], topology.n_inputs[fresh])])


def _failed(job: JobLedger, error: TaskError) -> None:
    """Note a failed attempt. The first report counts. The task fails only if the attempt is its newest, and it is not done."""
    task = error.task
    attempts = job.failures.setdefault(task, {})
    if error.attempt in attempts:
        return
    attempts[error.attempt] = error
    if error.attempt >= job.attempts[task] and job.states[task] != DONE:
        job.retried = job.retried or error.attempt > 0
        job.attempts[task] = error.attempt
        job.states[task] = FAILED
        job.changes.to("failed").few.append(task)


def _revoked(job: JobLedger, chain: int) -> None:
    """Take back the tasks of a chain, from its cut on, that the host has not executed."""
    cut = job.cuts.pop(chain, 0)
    for task in job.chains.tasks_of(chain)[cut:]:
        if job.chain_of[task] == chain and job.states[task] in (ASSIGNED, STARTED):
            job.states[task] = WAITING
            job.chain_of[task] = UNPLACED
            job.changes.to("revoked").few.append(task)


def _profile(job: JobLedger, events: Events) -> None:
    """Add up the durations of tasks, in seconds. The caller skips batches that finished no task, so that a repeated message counts once."""
    for entry in events.profile:
        count, total, longest = job.profile.get(entry.function, (0, 0.0, 0.0))
        job.profile[entry.function] = (count + entry.count, total + entry.total, max(longest, entry.longest))
