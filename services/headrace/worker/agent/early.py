"""Peers' requests for datasets of jobs that this host does not know yet."""

from __future__ import annotations

from collections.abc import Iterable

MOST_EARLY = 1 << 18
"""The number of datasets that one peer may ask for early: many times a window, and few enough for one answer. It alone bounds the memory
for jobs that this host may never learn of."""


class EarlyWants:
    """Requested datasets by peer and job. A repeated request is kept once."""

    def __init__(self) -> None:
        self._peers: dict[int, dict[str, dict[int, None]]] = {}

    def add(self, peer: int, job: str, datasets: Iterable[int]) -> None:
        """Keep a request. Raises ValueError if the peer has asked for more than `MOST_EARLY` datasets."""
        jobs = self._peers.setdefault(peer, {})
        wanted = jobs.setdefault(job, {})
        wanted.update(dict.fromkeys(datasets))
        if sum(map(len, jobs.values())) + len(jobs) >= MOST_EARLY:
            raise ValueError(f"the peer asks for more than {MOST_EARLY} datasets of jobs that this host does not know")

    def take(self, job: str) -> list[tuple[int, list[int]]]:
        """Remove and return the requests for a job's datasets, by peer."""
        if not self._peers:
            return []
        return [(peer, list(jobs.pop(job))) for peer, jobs in self._peers.items() if job in jobs]

    def drop(self, peer: int) -> None:
        """Forget the requests of a peer that is gone."""
        self._peers.pop(peer, None)

    def __len__(self) -> int:
        return sum(len(wanted) for jobs in self._peers.values() for wanted in jobs.values())
