"""What a host tells the cluster when it joins again after its lease was lost: what it holds, and what it had done.

The cluster believes that everything of this host is gone. In truth only its tasks are: they are somebody else's by now. Its datasets are
listed under the new epoch, before the host joins (see `ledger.returns`). So are facts of the old epoch that the log may not have: a small
output is nowhere but in them, and a task that is done need not run again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from headrace.worker.agent.jobs import HostJob
from headrace.worker.agent.report import JobReport
from headrace_schemas import Events


def held(jobs: Iterable[HostJob], host: str, epoch: int) -> Iterator[Events]:
    """The datasets of jobs that are here, as messages under an epoch. Of a job that goes on there is always one, which says that this host
    was not brought down."""
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
    """What is still true of facts of an earlier epoch, under this one; None if nothing is. job: None if this host does not know it any
    more, because it is over."""
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
"""What was only of interest then: tasks that ran or failed run again anyway."""
