"""What peers asked for before this host knew the job."""

from __future__ import annotations

from collections.abc import Iterable

MOST_EARLY = 1 << 18
"""Datasets that one peer may ask for early: many times a window, and few enough for one answer. Nothing else bounds what is kept for
jobs that may never come."""


class EarlyWants:
    """Datasets by peer and job. Every question is kept once, however often it is asked."""

    def __init__(self) -> None:
        self._peers: dict[int, dict[str, dict[int, None]]] = {}

    def add(self, peer: int, job: str, datasets: Iterable[int]) -> None:
        """Keep a question. Raises ValueError if the peer has too many."""
        jobs = self._peers.setdefault(peer, {})
        wanted = jobs.setdefault(job, {})
        wanted.update(dict.fromkeys(datasets))
        if sum(map(len, jobs.values())) + len(jobs) >= MOST_EARLY:
            raise ValueError(f"more than {MOST_EARLY} datasets are wanted of jobs that are not known here")

    def take(self, job: str) -> list[tuple[int, list[int]]]:
        """The questions about a job, by peer; they are not kept any longer."""
        if not self._peers:
            return []
        return [(peer, list(jobs.pop(job))) for peer, jobs in self._peers.items() if job in jobs]

    def drop(self, peer: int) -> None:
        """The peer is gone."""
        self._peers.pop(peer, None)

    def __len__(self) -> int:
        return sum(len(wanted) for jobs in self._peers.values() for wanted in jobs.values())
