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
    """Lists of hosts that have not joined yet; of each host those of its newest epoch."""

    def __init__(self) -> None:
        self._lists: dict[str, list[Noted]] = {}

    def add(self, seq: int, time: float, events: Events) -> None:
        """Keep a part of a list, which is in the log at this sequence and time, until its host has joined."""
        part, kept = Noted(seq, time, events), self._lists.get(events.host)
        if kept is None or kept[0].message.epoch < events.epoch:
            self._lists[events.host] = [part]
        elif kept[0].message.epoch == events.epoch:
            kept.append(part)

    @property
    def kept(self) -> list[Noted]:
        """All parts of lists that wait for their hosts."""
        return [part for parts in self._lists.values() for part in parts]

    def take(self, host: str, epoch: int) -> list[Events]:
        """The list of a host that joined, or was lost, in this epoch. Lists of earlier epochs are dropped."""
        kept = self._lists.get(host)
        if kept is None or kept[0].message.epoch > epoch:
            return []
        del self._lists[host]
        return [part.message for part in kept if part.message.epoch == epoch]


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
