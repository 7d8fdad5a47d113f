"""The feeds of a connection, which receive the messages of the jobs that were submitted on it.

A connection to its own local cluster has one feed for all jobs, open from the start. Any other connection opens a feed for each job, which
receives the messages of this job and those of hosts that join and leave. If many jobs are open, further ones share a feed, to save the
server many consumers. The shared feed receives the messages of all clients, and is closed soon after its last job is over.

A feed is opened before its job is submitted, and starts with the next stored message. Creating a consumer with several filters that starts
at a given sequence takes the server longer the more jobs the log has; creating one that starts now does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from headrace.bus import NEW, Bus, LogFeed, OnEntries
from headrace.client.settings import SETTINGS
from headrace_schemas import subjects

if TYPE_CHECKING:
    from headrace.client.connection import Follower

OnEnded = Callable[[asyncio.Future[None]], None]


class Feeds:
    """The followers of jobs, for use on the connection's loop.

    open: of all submitted jobs that are not over. shared: those of jobs without their own feed, which get their messages from a feed for
    several jobs.
    """

    def __init__(self, bus: Bus, on_entries: OnEntries, on_ended: OnEnded, *, for_all: bool) -> None:
        self.open: dict[str, Follower] = {}
        self.shared: dict[str, Follower] = {}
        self._bus = bus
        self._on_entries = on_entries
        self._on_ended = on_ended
        self._for_all = for_all
        self._opening: asyncio.Task[LogFeed] | None = None
        self._closed: set[asyncio.Task[None]] = set()

    def add_follower(self, job: str, follower: Follower) -> bool:
        """Add a job before it is submitted. Returns whether an open feed receives its messages; if not, call `open_for` first."""
        of_their_own = len(self.open) - len(self.shared)
        self.open[job] = follower
        if self._for_all or self._opening is not None or of_their_own >= SETTINGS.feeds_of_jobs:
            self.shared[job] = follower
        return self._for_all or (job in self.shared and self._opening is not None and self._opening.done())

    async def open_for(self, job: str) -> LogFeed | None:
        """Open the feed that receives a job's messages. Returns the feed if it is the job's own; the caller closes it then."""
        if self._for_all:
            return None
        if job not in self.shared:
            return await LogFeed.open(self._bus, subjects.for_client(job), self.open[job].on_entries, from_seq=NEW)
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._open_shared())
        await asyncio.shield(self._opening)
        return None

    def remove(self, job: str, follower: Follower) -> None:
        """Remove a job that is over, or that no caller waits for any more.

        A follower that attached to the job, with a feed of its own, removes nothing: it may read the job's end before the follower that
        submitted it.
        """
        if self.open.get(job) is not follower:
            return
        del self.open[job]
        if self.shared.pop(job, None) is not None and not self.shared and self._opening is not None:
            asyncio.get_running_loop().call_later(SETTINGS.shared_feed_seconds, self._close_if_unused)

    async def _open_shared(self) -> LogFeed:
        feed = await LogFeed.open(self._bus, subjects.for_client(), self._on_entries, from_seq=NEW, whole=True)
        feed.ended.add_done_callback(self._on_ended)
        return feed

    def _close_if_unused(self) -> None:
        if self.shared or self._opening is None or not self._opening.done():
            return
        opening, self._opening = self._opening, None
        closing = asyncio.ensure_future(_close(opening))
        self._closed.add(closing)
        closing.add_done_callback(self._closed.discard)


async def _close(opening: asyncio.Task[LogFeed]) -> None:
    if opening.exception() is None:
        await opening.result().close()
