"""The datasets that hosts bring back when they rejoin after they lost their lease.

    Events(epoch=2, rejoining)   Events(epoch=2, rejoining)   HostJoined(epoch=2)
    '------------- `Returns` keeps these ------------------'   folded with this entry, before any service decides

A host loses its lease when its process, its machine or NATS stands still for a while. The host still holds its datasets. It lists them
under its new epoch, and joins once the list is in the log. So the copies are known as soon as the host is, and no service has a dataset
computed again that still exists.
"""

from __future__ import annotations

from typing import NamedTuple

from headrace.ledger.columns import ints
from headrace.ledger.job import ASKED, DONE, RELEASED, SUNK, VALUE, WAITING, WRITTEN, JobLedger
from headrace_schemas import Events


class Noted(NamedTuple):
    """A part of a host's list of datasets, with its sequence and time in the log."""

    seq: int
    time: float
    message: Events


class Returns:
    """The lists of hosts that have not joined yet.

    For each job of a host, only the lists of the newest epoch that listed the job are kept. Whether a list counts therefore does not depend
    on the lists for other jobs, which a reader that starts from a snapshot does not read.
    """

    def __init__(self) -> None:
        self._lists: dict[str, dict[str, list[Noted]]] = {}

    def add_events(self, seq: int, time: float, events: Events) -> None:
        """Keep a part of a list until its host has joined. seq, time: its place in the log."""
        jobs = self._lists.setdefault(events.host, {})
        part, kept = Noted(seq, time, events), jobs.get(events.job)
        if kept is None or kept[0].message.epoch < events.epoch:
            jobs[events.job] = [part]
        elif kept[0].message.epoch == events.epoch:
            kept.append(part)

    @property
    def kept(self) -> list[Noted]:
        """All parts whose hosts have not joined yet."""
        return [part for jobs in self._lists.values() for parts in jobs.values() for part in parts]

    def take_events(self, host: str, epoch: int) -> list[Events]:
        """Remove and return, in log order, the lists of a host that joined or was lost in this epoch. Drop lists of earlier epochs."""
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
    """Cancel the recomputation of tasks whose datasets came back with a host.

    A task is spared if it is not assigned yet and each of its datasets exists or is not needed. Consumers are visited before producers, so
    that the producers of a spared task's inputs can be spared too.
    """
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
