"""The facts of a host that joins again after it lost its lease: the datasets that it holds, and the work that it has done.

The cluster believes that everything on this host is lost. In fact only its tasks are: other hosts have them now. The host lists its
datasets under the new epoch before it joins (see `ledger.returns`). It also repeats facts of the old epoch that the log may lack: such a
fact may hold the only copy of a small output, and a task that is done need not run again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from headrace.worker.agent.jobs import HostJob
from headrace.worker.agent.report import JobReport
from headrace_schemas import Events


def held(jobs: Iterable[HostJob], host: str, epoch: int) -> Iterator[Events]:
    """Yield the datasets of jobs that this host holds, as messages under an epoch.

    For each job that is not over there is at least one message, which shows that the job did not bring this host down.
    """
    for job in jobs:
        report = JobReport(job.name, host, epoch, {})
        for entry in job.entries.values():
            if entry.here:
                report.produced(entry.dataset, entry.attempt, entry.nbytes if entry.value is None else len(entry.value), False)
        told = report.take(0)
        for events in told if told or job.ended else [Events(job=job.name, host=host, epoch=epoch)]:
            events.rejoining = True
            yield events


def still_true(events: Events, job: HostJob | None, epoch: int) -> Events | None:
    """Return the part of an earlier epoch's facts that is still true, under this epoch; None if nothing is.

    job: None if this host has forgotten the job, because it is over.
    """
    if job is None:
        return None
    kept = [place for place, dataset in enumerate(events.produced) if _is_here(job, dataset) or dataset in events.value_ids]
    told = msgspec.structs.replace(
        events,
        epoch=epoch,
        rejoining=True,
        produced=[events.produced[place] for place in kept],
        produced_attempts=[events.produced_attempts[place] for place in kept] if events.produced_attempts else [],
        sizes=[events.sizes[place] for place in kept] if events.sizes else [],
        **_VOID,
    )
    return told if told.produced or told.done or told.chains or told.written else None


def _is_here(job: HostJob, dataset: int) -> bool:
    entry = job.entries.get(dataset)
    return entry is not None and entry.here


_VOID: dict[str, list[object]] = {name: [] for name in ("started", "copied", "failed", "revoked", "kept", "gone", "unreachable", "profile")}
"""Columns that no longer matter: tasks that ran or failed will run again anyway."""
