"""The peers of a host, which ask for datasets, including those of jobs that are over or that the host does not know yet."""

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
    """Handles the frames of peers, which opened links to this host. Appends actions to the list it was given.

    over: the jobs that are over. grants: is told when memory is free because bytes were sent.
    """

    def __init__(self, jobs: dict[str, HostJob], over: Container[str], serving: Serving, grants: Grants, actions: list[Action]) -> None:
        self._jobs = jobs
        self._over = over
        self._serving = serving
        self._grants = grants
        self._actions = actions
        self._early_wants = EarlyWants()

    def job_opened(self, job: HostJob) -> None:
        """Serve the peers that asked for a job's datasets before this host knew the job."""
        for peer, datasets in self._early_wants.take(job.name):
            self._want(job, datasets, peer)

    def job_ended(self, name: str) -> None:
        """Tell the peers that asked for a job's datasets before this host knew the job that the job is over."""
        for peer, datasets in self._early_wants.take(name):
            self._actions.append(ToPeer(peer, frames.Gone(name, datasets)))

    def came(self, peer: int, host: PeerHost) -> None:
        """Note that another host has opened a link."""
        self._serving.relays.came(peer, host)

    def wanted(self, peer: int, frame: frames.Want) -> None:
        """Answer a peer that asks for datasets, or keep its request if this host does not know the job yet.

        Raises ValueError if the peer asks for too many datasets of unknown jobs.
        """
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
        """Let the peer wait for dropped datasets that are made here again, and report the others as gone.

        A dataset is made again if this host has its task, or if the peer expects an attempt that the log has not assigned here yet.
        """
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
        """Forget that a peer waits for datasets."""
        job = self._jobs.get(frame.job)
        if job is None:
            return
        for dataset in frame.datasets:
            entry = job.entries.get(dataset)
            if entry is not None:
                forget_peer(entry, peer)

    def granted(self, peer: int, frame: frames.Grant) -> None:
        """Send a peer datasets for which it has granted memory."""
        job = self._jobs.get(frame.job)
        if job is None:
            self._actions.append(ToPeer(peer, frames.Gone(frame.job, frame.datasets)))
            return
        starts = dict(zip(frame.datasets, frame.starts, strict=bool(frame.starts)))
        for dataset in dict.fromkeys(frame.datasets):
            self._serving.granted(job, dataset, peer, starts.get(dataset))

    def sent(self, peer: int, frame: frames.Data, nbytes: int, block: int = 0) -> None:
        """Release bytes that were sent, or whose link ended. block: 0 for bytes from disk."""
        if self._serving.sent(peer, frame, nbytes, block):
            self._grants.progress += 1

    def left(self, peer: int) -> None:
        """Forget a peer whose link ended."""
        for job in self._jobs.values():
            for entry in job.entries.values():
                forget_peer(entry, peer)
        self._early_wants.drop(peer)
        self._serving.left(peer)
