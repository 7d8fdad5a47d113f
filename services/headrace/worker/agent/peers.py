"""The peers of a host, which ask for datasets: also for those of jobs that are over, or not known here yet."""

from __future__ import annotations

from collections.abc import Container, Iterable

from headrace.link import frames
from headrace.worker.agent.actions import Action, ToPeer
from headrace.worker.agent.early import EarlyWants
from headrace.worker.agent.grants import Grants
from headrace.worker.agent.jobs import HostJob
from headrace.worker.agent.relays import PeerHost
from headrace.worker.agent.serving import Serving, forget_peer


class Peers:
    """The other ends of links that were opened from there. Appends actions to the list it was given.

    over: jobs that are over. grants: hears of memory that is free once bytes are out.
    """

    def __init__(self, jobs: dict[str, HostJob], over: Container[str], serving: Serving, grants: Grants, actions: list[Action]) -> None:
        self._jobs = jobs
        self._over = over
        self._serving = serving
        self._grants = grants
        self._actions = actions
        self._early_wants = EarlyWants()

    def job_opened(self, job: HostJob) -> None:
        """A job is known here from now on: serve those that asked for its datasets before."""
        for peer, datasets in self._early_wants.take(job.name):
            self._want(job, datasets, peer)

    def job_ended(self, name: str) -> None:
        """A job is over. Those that asked for its datasets before it was known here are told."""
        for peer, datasets in self._early_wants.take(name):
            self._actions.append(ToPeer(peer, frames.Gone(name, datasets)))

    def came(self, peer: int, host: PeerHost) -> None:
        """Another host has opened a link."""
        self._serving.relays.came(peer, host)

    def wanted(self, peer: int, frame: frames.Want) -> None:
        """A peer asks for datasets. For a job that is not known here yet, the question is kept. Raises ValueError if that are too many."""
        self._serving.relays.reachable(peer, frame.address)
        job = self._jobs.get(frame.job)
        if job is not None:
            self._expect_again(job, frame)
            self._want(job, frame.datasets, peer)
        elif frame.job in self._over:
            self._actions.append(ToPeer(peer, frames.Gone(frame.job, frame.datasets)))
        else:
            self._early_wants.add(peer, frame.job, frame.datasets)

    def _expect_again(self, job: HostJob, frame: frames.Want) -> None:
        """What was dropped here is not gone if it is to be made here again: by a task that this host has, or as an attempt that the log has
        not told it of yet. Otherwise, say that this host does not have it, whatever was thought."""
        dropped = job.dropped.intersection(frame.datasets) if job.dropped and not job.ended else None
        if not dropped:
            return
        unfinished, promised = job.unfinished(), dict(zip(frame.datasets, frame.attempts, strict=False))
        for dataset in dropped:
            task = job.producer[dataset]
            if task in unfinished or promised.get(dataset, 0) > job.attempts.get(task, 0):
                job.dropped.discard(dataset)
            else:
                job.report.gone(dataset)

    def _want(self, job: HostJob, datasets: Iterable[int], peer: int) -> None:
        for dataset in dict.fromkeys(datasets):
            self._serving.wanted(job, dataset, peer)

    def unwanted(self, peer: int, frame: frames.Unwant) -> None:
        """A peer needs datasets no longer."""
        job = self._jobs.get(frame.job)
        if job is None:
            return
        for dataset in frame.datasets:
            entry = job.entries.get(dataset)
            if entry is not None:
                forget_peer(entry, peer)

    def granted(self, peer: int, frame: frames.Grant) -> None:
        """A peer has room for offers."""
        job = self._jobs.get(frame.job)
        if job is None:
            self._actions.append(ToPeer(peer, frames.Gone(frame.job, frame.datasets)))
            return
        starts = dict(zip(frame.datasets, frame.starts, strict=bool(frame.starts)))
        for dataset in dict.fromkeys(frame.datasets):
            self._serving.granted(job, dataset, peer, starts.get(dataset))

    def sent(self, peer: int, frame: frames.Data, nbytes: int, block: int = 0) -> None:
        """Bytes of a block (0: of the disk) are out, or their link is gone: let go of them."""
        if self._serving.sent(peer, frame, nbytes, block):
            self._grants.progress += 1

    def left(self, peer: int) -> None:
        """A link that a peer opened is closed: nobody waits there any more."""
        for job in self._jobs.values():
            for entry in job.entries.values():
                forget_peer(entry, peer)
        self._early_wants.drop(peer)
        self._serving.left(peer)
