"""A host that the log says is lost though it keeps its lease, for its peers cannot reach it: it joins again once it reaches one of them.

Where only one direction is broken (an address that others cannot reach, above all), it reaches them and is lost again. So it waits longer
each time that this happens soon after it joined.
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
    """How often a host was lost in this way. All times by any clock that goes on."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._joined = 0.0
        self._again = 0
        self._until = 0.0
        self.out = False
        """Whether the host is to stay out until it reaches a peer."""

    def joined(self, now: float) -> None:
        """The host took up work."""
        self._joined, self.out = now, False

    def lost(self, now: float) -> None:
        """The log says that this host is lost."""
        self._again = self._again + 1 if self._joined and now - self._joined < self.settings.exile_soon_seconds else 0
        seconds = self.settings.exile_seconds * 2.0 ** (self._again - 1)
        self._until = now + min(self.settings.longest_exile_seconds, seconds) if self._again else now
        self.out = True

    def may_look(self, now: float) -> bool:
        """Whether it has waited for long enough to try to reach its peers."""
        return now >= self._until


def addresses_of(host: str, entries: Iterable[bytes]) -> list[tuple[str, int]]:
    """Where the other hosts that are registered can be reached."""
    found = []
    for value in entries:
        with contextlib.suppress(Unreadable, ValueError):
            entry = decode(_entry, value)
            if entry.host != host:
                found.append(split_address(entry.address))
    return found


async def reaches(address: tuple[str, int], seconds: float) -> bool:
    """Whether something accepts a connection there within this time."""
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(*address)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def until_reached(exile: Exile, registered: Callable[[], Awaitable[list[tuple[str, int]]]], reach: Reach = reaches) -> None:
    """Wait until this host reaches one of the others that are registered, or there is none."""
    loop, seconds = asyncio.get_running_loop(), exile.settings.exile_look_seconds
    while exile.out:
        if exile.may_look(loop.time()):
            peers = await registered()
            if not peers or any(await asyncio.gather(*(reach(peer, seconds) for peer in peers))):
                return
        await asyncio.sleep(seconds)
