"""A client reads a job from one feed, so the order in which it reads its feeds changes nothing."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.bus import Entry, MemoryBus
from headrace.client.connection import Connection, Follower
from headrace.client.feeds import Feeds
from headrace.ledger import Ledger
from headrace_schemas import Assign, HostJoined, HostLost, Purge
from tests.unit.controller_world import JOB, World
from tests.unit.test_controller_world import snapshot


class _Folding(Follower):
    def __init__(self) -> None:
        self.ledger = Ledger()

    def on_entries(self, entries: list[Entry]) -> None:
        for entry in entries:
            self.ledger.fold(entry)


def connection_with(follower: Follower, *, shared: bool) -> Connection:
    """A connection to a cluster that is not its own, which follows one job, by a feed of its own or by a shared one."""
    connection = Connection.__new__(Connection)
    connection._ledger, connection._of_its_own = Ledger(), False
    connection._changed = asyncio.Event()
    connection.feeds = Feeds(MemoryBus(), connection._pass_on, lambda ended: None, for_all=False)
    connection.feeds.open[JOB] = follower
    if shared:
        connection.feeds.shared[JOB] = follower
    return connection


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**9), shared=st.booleans(), rng=st.randoms(use_true_random=False))
def test_feeds_that_are_read_in_any_order_give_the_same_ledger(seed: int, shared: bool, rng) -> None:
    async def body() -> None:
        world = World(seed, 8, 2, fail=0.05, lose=0.02, lapse=0.05, crash=0.02)
        world.run()
        of_job = [entry for entry in world.log if not isinstance(entry.message, Assign | Purge)]
        of_hosts = [entry for entry in of_job if isinstance(entry.message, HostJoined | HostLost)]
        follower, straight = _Folding(), Ledger()
        for entry in of_job:
            straight.fold(entry)
        connection = connection_with(follower, shared=shared)
        take_job = connection._pass_on if shared else follower.on_entries
        queues = [SimpleNamespace(left=of_job, take=take_job), SimpleNamespace(left=of_hosts, take=connection._on_entries)]
        while queues:
            queue = rng.choice(queues)
            count = rng.randint(1, 10)
            queue.take(queue.left[:count])
            queue.left = queue.left[count:]
            queues = [queue for queue in queues if queue.left]
        assert snapshot(follower.ledger) == snapshot(straight)
        assert connection.hosts == straight.hosts.alive()

    asyncio.run(body())
