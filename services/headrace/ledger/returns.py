"""What hosts that lost their lease bring back when they join again.

    Events(epoch=2, rejoining)   Events(epoch=2, rejoining)   HostJoined(epoch=2)
    '------------- kept aside here ------------------------'   folded with this, before anybody decides

A lease is lost where a process, a machine or NATS stood still for a while. The datasets that the host holds are still there. It lists them
under its new epoch, and joins when the log has the list: so the copies count from the very entry with which the host counts, and nobody
begins to make again what is there.
"""

from __future__ import annotations

from typing import NamedTuple

from headrace.ledger.columns import ints
from headrace.ledger.job import ASKED, DONE, RELEASED, SUNK, VALUE, WAITING, WRITTEN, JobLedger
from headrace_schemas import Events


class Noted(NamedTuple):
    """A part of a list, and where it is in the log."""

    seq: int
    time: float
    message: Events


class Returns:
    """Lists of hosts that have not joined yet; for each job of a host, those of the newest epoch in which the host listed it. So whether a
    list counts does not depend on lists for other jobs, which a reader that starts from a snapshot does not read."""

    def __init__(self) -> None:
        self._lists: dict[str, dict[str, list[Noted]]] = {}

    def add_events(self, seq: int, time: float, events: Events) -> None:
        """Keep a part of a list, which is in the log at this sequence and time, until its host has joined."""
        jobs = self._lists.setdefault(events.host, {})
        part, kept = Noted(seq, time, events), jobs.get(events.job)
        if kept is None or kept[0].message.epoch < events.epoch:
            jobs[events.job] = [part]
        elif kept[0].message.epoch == events.epoch:
            kept.append(part)

    @property
    def kept(self) -> list[Noted]:
        """All parts of lists that wait for their hosts."""
        return [part for jobs in self._lists.values() for parts in jobs.values() for part in parts]

    def take_events(self, host: str, epoch: int) -> list[Events]:
        """Take the lists of a host that joined, or was lost, in this epoch, in log order. Lists of earlier epochs are dropped."""
        if host not in self._lists:
            return []
        lists = self._lists.pop(host)
        later = {job: parts for job, parts in lists.items() if parts[0].message.epoch > epoch}
        if later:
            self._lists[host] = later
        taken = [part for parts in lists.values() for part in parts if part.message.epoch == epoch]
        return [part.message for part in sorted(taken, key=_seq)]


def _seq(part: Noted) -> int:
    return part.seq


def spare(job: JobLedger) -> None:
    """Do not run tasks again that were to run again only for what has come back: those that nobody has taken up yet, and whose datasets
    are there or not needed. Those that take other tasks' datasets come first, so that with a task its inputs are spared, too."""
    for task in sorted(job.again, reverse=True):
        if job.states[task] == WAITING and all(_is_settled(job, dataset) for dataset in job.topology.outputs_of(task)):
            job.states[task] = DONE
            job.n_done += 1
            job.again.discard(task)
            job.changes.to("done").few.append(task)
            if job.kept:
                job.unkeep(job.topology.inputs_of(task).tolist())


def _is_settled(job: JobLedger, dataset: int) -> bool:
    flags = job.flag[dataset]
    if job.copies.homes[dataset] >= 0:
        return True
    if flags & (ASKED | RELEASED | VALUE) == ASKED or flags & (SUNK | WRITTEN) == SUNK:
        return False
    consumers = job.topology.consumers_of(dataset)
    return bool((job.state[ints(consumers)] == DONE).all())
