"""Leases: each has one holder at a time, and a term that grows with every change of holder."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from headrace.bus.kv import Bucket
from headrace.bus.tenure import Found, Loss, Tenure, moment, steady, wall
from headrace.errors import HeadraceError, WrongRevision
from headrace.logs import get_log

if TYPE_CHECKING:
    from headrace.bus.bus import Bus

log = get_log(__name__)

HUNG_SECONDS = 120.0
"""Seconds without a turn of its event loop after which a process counts as hung, so that its leases are no longer renewed. Planning a
million tasks blocks a loop for four seconds, and three times as long on a busy machine; work that takes ten times that will not end."""
_BEGIN_SHARE = 0.1
"""Share of the time to live after which renewing starts, because a service that starts has more urgent things to do than to open another
connection."""
_RETRY = 0.25
"""Seconds until a failed renewal is tried again."""
_LATE = 0.5
"""Seconds to wait at the end for a renewal in progress: if it arrives later, it has to expire before another process can take the lease."""
_RELEASE = 1.0
"""Seconds to try a release: longer than any answer takes, shorter than a supervisor waits when it stops services."""


class Lease:
    """A key that its holder writes again and again before it expires. The time to live is in whole seconds, at least 1.

    The renewing runs where long work of the holder's event loop cannot delay it (see `renewer`), as long as that loop turns at all.

    value: the value of the key, different for each holder. lapses: lose the lease as soon as another process might have it. Otherwise it is
    lost when the server says that it is gone.
    term: the revision under which the lease was acquired. Of two holders the later one has the higher term, so it fences off the other.
    lost: set when the lease is lost, and `loss` says how; acquire it again to continue.
    """

    def __init__(self, bus: Bus, bucket: str, key: str, value: bytes, ttl: float, *, lapses: bool = True) -> None:
        self.term = 0
        self.lost = asyncio.Event()
        self._bus = bus
        self._bucket_name = bucket
        self._bucket = bus.kv(bucket)
        self._key = key
        self._value = value
        self._ttl = ttl
        self._lapses = lapses
        self._tenure: Tenure | None = None
        self._renewing: asyncio.Future[None] | None = None
        self._stop = _Stop()

    @property
    def held(self) -> bool:
        """Whether the holder may act on the lease.

        It reads the clock, so it is correct even while a busy loop has not yet heard of a loss.
        """
        tenure = self._tenure
        if tenure is None or self.lost.is_set():
            return False
        sure = tenure.sure_until
        if tenure.loss is None and steady() < sure.steady and wall() < sure.wall:  # the usual case, and checked for every message
            return True
        if not tenure.is_held(moment()):
            self.lost.set()
        return not self.lost.is_set()

    @property
    def loss(self) -> Loss | None:
        """How the lease was lost; None while it is held, or if it was never acquired."""
        return self._tenure.loss if self._tenure is not None else None

    async def acquire(self) -> int:
        """Wait until the lease is free and take it. Returns the term."""
        free = asyncio.Event()
        feed = await self._bucket.watch(lambda key, value, revision: free.set() if value is None else None, self._key)
        try:
            while not await self.try_acquire():
                with contextlib.suppress(TimeoutError):  # look again now and then, in case the marker was missed
                    async with asyncio.timeout(self._ttl):
                        await free.wait()
                free.clear()
        finally:
            await feed.close()
        return self.term

    async def try_acquire(self) -> bool:
        """Take the lease if it is free, or was this holder's before. Returns whether it was."""
        await self._end_renewing()
        since = moment()
        revision = await self._take()
        if revision is None:
            return False
        self.term = revision
        self.lost.clear()
        self._tenure = tenure = Tenure(self._ttl, revision, since, lapses=self._lapses)
        self._stop = stop = _Stop()
        self._look_at_clock(tenure)
        self._renewing = self._bus._beside(lambda bus, loop: self._keep(bus, tenure, stop, loop), self._ttl * _BEGIN_SHARE)
        self._renewing.add_done_callback(partial(self._renewing_ended, tenure))
        return True

    def _look_at_clock(self, tenure: Tenure) -> None:
        """Check, now and whenever it might lapse, that the lease is held, since the renewing connection may be down."""
        if tenure is self._tenure and self.held and self._lapses:
            asyncio.get_running_loop().call_later(tenure.seconds_left(moment()), self._look_at_clock, tenure)

    async def _take(self) -> int | None:
        """Write the key. Returns its revision; None if another holder has it."""
        try:
            return await self._bucket.create(self._key, self._value, self._ttl)
        except WrongRevision:
            entry = await self._bucket.get(self._key)
        if entry is None or entry.value != self._value:
            return None
        try:
            return await self._bucket.update(self._key, self._value, entry.revision, self._ttl)
        except WrongRevision:
            return None

    async def release(self) -> None:
        """Give up the lease, so that the next holder need not wait for it to expire. Does nothing if it is not held."""
        await self._end_renewing()
        tenure, self._tenure = self._tenure, None
        self.lost.set()
        if tenure is not None and tenure.may_be_ours:
            with contextlib.suppress(
                HeadraceError, TimeoutError
            ):  # another holder took it, or there is no connection: it expires by itself
                async with asyncio.timeout(_RELEASE):
                    await self._bucket.delete(self._key, tenure.revision)

    async def _end_renewing(self) -> None:
        """Wait until the renewing has ended: a later renewal would take the lease back."""
        renewing, self._renewing = self._renewing, None
        if renewing is None:
            return
        if not self._stop.request():
            renewing.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * _LATE):
                await asyncio.gather(renewing, return_exceptions=True)

    # --- beside the holder's event loop -------------------------------------------------------------------------------------

    async def _keep(self, bus: Bus, tenure: Tenure, stop: _Stop, holder: asyncio.AbstractEventLoop) -> None:
        """Write the key again until the lease is lost or given up, on a bus and a loop that long work of the holder does not delay."""
        bucket, stopped = bus.kv(self._bucket_name), stop.listen()
        while not stopped.is_set() and await self._renew(bucket, tenure, stopped):
            pass
        if tenure.loss is not None:
            log.warning("a lease is lost", lease=self._key, term=self.term, error=tenure.loss.value)
            _call(holder, self._lost_by, tenure)

    async def _renew(self, bucket: Bucket, tenure: Tenure, stop: asyncio.Event) -> bool:
        """Wait until a renewal is due, and renew. Returns False if the lease is lost."""
        if await _set_within(stop, tenure.seconds_to_renewal(moment())):
            return True
        if self._bus.idle_seconds > HUNG_SECONDS:
            tenure.end(Loss.HUNG)
            return False
        sent, ttl = moment(), max(self._ttl, self._bus.long_work)
        update = asyncio.ensure_future(bucket.update(self._key, self._value, tenure.revision, ttl))
        try:
            await self._answered(update, tenure, stop)
            if update.done():
                tenure.renewed(update.result(), sent, ttl)
        except WrongRevision:
            await self._look(bucket, tenure, stop)
        except HeadraceError as error:
            log.warning("cannot renew a lease; retrying", lease=self._key, error=error)
            await _set_within(stop, _RETRY)
        finally:
            update.cancel()
        return tenure.is_held(moment())

    async def _look(self, bucket: Bucket, tenure: Tenure, stop: asyncio.Event) -> None:
        """Look up the key's value after a renewal was refused."""
        try:
            entry = await bucket.get(self._key)
        except HeadraceError:  # the next renewal is refused too, and this is tried again
            await _set_within(stop, _RETRY)
            return
        found = Found.NOTHING if entry is None else Found.OURS if entry.value == self._value else Found.ANOTHERS
        tenure.refused(found, entry.revision if entry is not None else 0)

    async def _answered(self, update: asyncio.Future[int], tenure: Tenure, stop: asyncio.Event) -> None:
        """Wait for the answer to a renewal while it matters.

        That is until the lease lapses. If the lease was given up, it is a little longer, because the next holder would have to wait until a
        late renewal expires.
        """
        stopped: asyncio.Future[Any] = asyncio.ensure_future(stop.wait())
        try:
            while not update.done() and not stop.is_set() and tenure.is_held(moment()):
                left = tenure.seconds_left(moment())
                timeout = left if self._lapses else None
                await asyncio.wait([update, stopped], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if not update.done() and stop.is_set():
                await asyncio.wait([update], timeout=_LATE)
        finally:
            stopped.cancel()

    def _renewing_ended(self, tenure: Tenure, renewing: asyncio.Future[None]) -> None:
        """End the lease if the renewing failed, so that its holder does not believe in it."""
        if not renewing.cancelled() and (error := renewing.exception()) is not None:
            log.error("a lease is no longer renewed", lease=self._key, term=self.term, exc_info=error)
            tenure.end(Loss.EXPIRED)
            self._lost_by(tenure)

    def _lost_by(self, tenure: Tenure) -> None:
        if tenure is self._tenure:
            self.lost.set()


class _Stop:
    """A signal that ends the renewing. One thread sends it, and another receives it."""

    def __init__(self) -> None:
        self._requested = False
        self._heard: Callable[[], None] | None = None

    def request(self) -> bool:
        """Request the end. Returns False if nobody listens yet."""
        self._requested = True
        if self._heard is None:
            return False
        self._heard()
        return True

    def listen(self) -> asyncio.Event:
        """Return an event of the running loop that is set when the end is requested."""
        event, loop = asyncio.Event(), asyncio.get_running_loop()
        self._heard = lambda: _call(loop, event.set)
        if self._requested:
            event.set()
        return event


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *args: object) -> None:
    """Call a function on a loop that may run in another thread, and may be closed."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *args)


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    """Return whether an event is set within `seconds`."""
    if seconds <= 0:
        return event.is_set()
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
