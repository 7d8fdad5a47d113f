"""Leases: one holder at a time, and a number that grows with every change of holder."""

from __future__ import annotations

import asyncio
import contextlib

from headrace.bus.kv import Bucket
from headrace.errors import HeadraceError, WrongRevision
from headrace.logs import get_log
from headrace_schemas import LeaseEntry, encode

log = get_log(__name__)

_RENEWALS = 3
"""Renewals tried in one time to live: two may fail before the lease is lost."""
_RELEASE = 1.0
"""Seconds that a release is tried for: longer than any answer takes, shorter than whoever stops services waits."""


class Lease:
    """A key that its holder writes again and again before it expires. Time to live in whole seconds, at least 1.

    term: the revision under which the lease was acquired; of two holders the later one has the higher term, so it fences off the other.
    lost: set when somebody else has the key, or it could not be renewed in time; acquire again to go on.
    """

    def __init__(self, bucket: Bucket, key: str, holder: str, ttl: float) -> None:
        self.term = 0
        self.lost = asyncio.Event()
        self._bucket = bucket
        self._key = key
        self._value = encode(LeaseEntry(holder=holder))
        self._ttl = ttl
        self._revision = 0
        self._renewing: asyncio.Task[None] | None = None

    async def acquire(self) -> int:
        """Wait until the lease is free and take it. Returns the term."""
        free = asyncio.Event()
        feed = await self._bucket.watch(lambda key, value, revision: free.set() if value is None else None, self._key)
        try:
            while not await self.try_acquire():
                with contextlib.suppress(TimeoutError):  # look again now and then, should the marker have been missed
                    async with asyncio.timeout(self._ttl):
                        await free.wait()
                free.clear()
        finally:
            await feed.close()
        return self.term

    async def try_acquire(self) -> bool:
        """Take the lease if it is free. Returns whether it was."""
        since = asyncio.get_running_loop().time()
        try:
            self._revision = self.term = await self._bucket.create(self._key, self._value, self._ttl)
        except WrongRevision:
            return False
        self.lost.clear()
        self._renewing = asyncio.create_task(self._renew(since))
        return True

    async def release(self) -> None:
        """Give the lease up, so that the next one need not wait for it to expire. Does nothing if it is not held."""
        if self._renewing is None:
            return
        self._renewing.cancel()
        await asyncio.gather(self._renewing, return_exceptions=True)
        self._renewing = None
        if not self.lost.is_set():
            self.lost.set()
            with contextlib.suppress(HeadraceError, TimeoutError):  # taken over, or no connection: it expires by itself
                async with asyncio.timeout(_RELEASE):
                    await self._bucket.delete(self._key, self._revision)

    async def _renew(self, since: float) -> None:
        """Write the key again until that fails, or comes too late. `since`: when the last write that succeeded was sent."""
        clock = asyncio.get_running_loop().time
        try:
            while True:
                await asyncio.sleep(since + self._ttl / _RENEWALS - clock())
                sent = clock()
                left = since + self._ttl - sent
                if left <= 0:
                    raise TimeoutError(f"not renewed within {self._ttl:g} s")
                async with asyncio.timeout(left):
                    self._revision = await self._bucket.update(self._key, self._value, self._revision, self._ttl)
                since = sent
        except (HeadraceError, TimeoutError) as error:
            why = str(error) or f"not renewed within {self._ttl:g} s"
            log.warning("a lease is lost", lease=self._key, term=self.term, error=why)
            self.lost.set()
