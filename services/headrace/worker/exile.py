"""The wait of a host that was declared lost because its peers cannot reach it, though it keeps its lease.

It rejoins once it reaches a peer. If only one direction is broken, for example because peers cannot reach the advertised address, it
reaches them, rejoins, and is lost again. So the wait grows each time it is lost soon after it joined.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable

import msgspec

from headrace.link.addresses import split_address
from headrace.logs import get_log
from headrace.worker.settings import Settings
from headrace_schemas import HostEntry
from headrace_schemas.reading import Unreadable, decode

log = get_log(__name__)


_entry: msgspec.json.Decoder[HostEntry] = msgspec.json.Decoder(HostEntry)
Reach = Callable[[tuple[str, int], float], Awaitable[bool]]


class Exile:
    """The losses of this host for lack of links, and the wait after the last one. Times are in seconds of any monotonic clock."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._joined = 0.0
        self._again = 0
        self._until = 0.0
        self.out = False
        """Whether the host must stay out until it reaches a peer."""

    def joined(self, now: float) -> None:
        """Note that the host joined."""
        self._joined, self.out = now, False

    def lost(self, now: float) -> None:
        """Note that the log declares this host lost."""
        self._again = self._again + 1 if self._joined and now - self._joined < self.settings.exile_soon_seconds else 0
        seconds = self.settings.exile_seconds * 2.0 ** (self._again - 1)
        self._until = now + min(self.settings.longest_exile_seconds, seconds) if self._again else now
        self.out = True

    def may_look(self, now: float) -> bool:
        """Whether the host has waited long enough to try to reach its peers."""
        return now >= self._until


def addresses_of(host: str, entries: Iterable[bytes]) -> list[tuple[str, int]]:
    """List the addresses of the other registered hosts. entries: the values of the bucket of hosts."""
    found = []
    for value in entries:
        with contextlib.suppress(Unreadable, ValueError):
            entry = decode(_entry, value)
            if entry.host != host:
                found.append(split_address(entry.address))
    return found


async def reaches(address: tuple[str, int], seconds: float) -> bool:
    """Whether an address accepts a connection within this time."""
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(*address)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def until_reached(exile: Exile, registered: Callable[[], Awaitable[list[tuple[str, int]]]], reach: Reach = reaches) -> None:
    """Wait until this host reaches another registered host, or no other is registered."""
    loop, seconds = asyncio.get_running_loop(), exile.settings.exile_look_seconds
    while exile.out:
        if exile.may_look(loop.time()):
            peers = await registered()
            if not peers or any(await asyncio.gather(*(reach(peer, seconds) for peer in peers))):
                return
        await asyncio.sleep(seconds)
