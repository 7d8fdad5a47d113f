"""A connection follows its jobs with a few feeds of their own, and with one shared feed for all others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from headrace.bus import Entry, MemoryBus
from headrace.client import feeds as module
from headrace.client.connection import Follower
from headrace.client.feeds import Feeds
from headrace.client.settings import SETTINGS, Settings
from headrace_schemas import Ended, subjects

MANY = SETTINGS.feeds_of_jobs + 3


class _Heard(Follower):
    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def on_entries(self, entries: list[Entry]) -> None:
        self.entries += entries


class _Connection:
    """Jobs that are followed, as a connection does it."""

    def __init__(self, *, for_all: bool = False) -> None:
        self.bus = MemoryBus()
        self.feeds = Feeds(self.bus, self._on_entries, lambda ended: None, for_all=for_all)
        self.heard: dict[str, _Heard] = {}
        self.own = 0

    def _on_entries(self, entries: list[Entry]) -> None:
        for entry in entries:
            if (follower := self.feeds.shared.get(entry.message.job)) is not None:  # type: ignore[union-attr]
                follower.on_entries([entry])

    async def begin(self, job: str) -> None:
        self.heard[job] = _Heard()
        if not self.feeds.add_follower(job, self.heard[job]):
            self.own += await self.feeds.open_for(job) is not None

    async def end(self, job: str) -> None:
        await self.bus.publish(subjects.state(job), Ended(at=0, term=1, job=job, state="done"))
        for _ in range(9):
            await asyncio.sleep(0)
        self.feeds.remove(job, self.heard[job])

    @property
    def n_feeds(self) -> int:
        return len(self.bus._streams["LOG"].feeds)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "SETTINGS", Settings(shared_feed_seconds=0.0))
    return None


def test_few_jobs_have_a_feed_each_and_many_share_one() -> None:
    async def body() -> None:
        connection, jobs = _Connection(), [f"job-{number}" for number in range(MANY)]
        for job in jobs:
            await connection.begin(job)
        assert (connection.own, connection.n_feeds) == (SETTINGS.feeds_of_jobs, SETTINGS.feeds_of_jobs + 1)
        for job in jobs:
            await connection.end(job)
            assert [entry.message.job for entry in connection.heard[job].entries] == [job]  # type: ignore[union-attr]
        assert not connection.feeds.open
        for _ in range(9):
            await asyncio.sleep(0)
        assert connection.n_feeds == SETTINGS.feeds_of_jobs, "the shared one is closed; the others are closed by the jobs whose they are"

    asyncio.run(body())


def test_many_at_the_same_moment_open_one_feed_together() -> None:
    async def body() -> None:
        connection = _Connection()
        await asyncio.gather(*(connection.begin(f"job-{number}") for number in range(20)))
        assert connection.n_feeds == SETTINGS.feeds_of_jobs + 1
        assert connection.feeds.add_follower("another", _Heard()), "it is open"

    asyncio.run(body())


def test_a_connection_to_a_cluster_of_its_own_opens_none() -> None:
    async def body() -> None:
        connection = _Connection(for_all=True)
        for number in range(MANY):
            await connection.begin(f"job-{number}")
        assert connection.n_feeds == 0

    asyncio.run(body())


def test_the_end_that_another_follower_of_a_job_saw_first_takes_nothing_from_the_one_that_submitted_it() -> None:
    async def body() -> None:
        connection = _Connection(for_all=True)
        await connection.begin("job")
        connection.feeds.remove("job", _Heard())
        assert connection.feeds.shared == connection.feeds.open == connection.heard

    asyncio.run(body())
