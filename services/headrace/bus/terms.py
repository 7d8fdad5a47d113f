"""Which terms can be: of a decision that claims a later term than its service has ever led, nothing counts.

Who ignores decisions of older terms than one that was seen would listen to nobody any more after a single message with the largest term
there is. So each leader writes its term into the bucket `leases`, beside the lease and for good, before it decides anything; and a reader
looks there once for each later term that comes up, not for each message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.errors import NatsUnreachable, WrongRevision
from headrace.logs import get_log
from headrace_schemas import LeaseEntry, decoder, encode
from headrace_schemas.limits import MAX_EXACT
from headrace_schemas.reading import Unreadable, read
from headrace_schemas.streams import LEASES

if TYPE_CHECKING:
    from headrace.bus.bus import Bus

log = get_log(__name__)

_entry = decoder(LeaseEntry)


class Terms:
    """The latest terms, by service, as far as this process has looked."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._latest: dict[str, int] = {}

    async def begin(self, service: str, holder: str, term: int) -> None:
        """Say that the service is led in this term by now. To be called with the lease, before anything is decided."""
        bucket, entry = self._bus.kv(LEASES.name), encode(LeaseEntry(holder=holder, term=term))
        while True:
            found = await bucket.get(_key(service))
            if found is not None and _term(found.value) >= term:
                return
            try:
                await bucket.update(_key(service), entry, found.revision if found is not None else 0)
                return
            except WrongRevision:  # another one leads since, or did just before
                continue

    def known(self, service: str, term: int) -> bool:
        """Whether the service has led in this term or a later one. If not, `look` before believing that."""
        return term <= self._latest.get(service, 0)

    async def look(self, service: str, term: int) -> bool:
        """Whether the service can have led in this term. Tries on while NATS does not answer."""
        return self.known(service, term) or term <= await self.latest(service)

    async def latest(self, service: str) -> int:
        """The term in which the service leads, or has led last; the largest there is if it never said so. Tries on likewise."""
        while True:
            try:
                found = await self._bus.kv(LEASES.name).get(_key(service))
            except NatsUnreachable as error:
                log.warning("the term of a service cannot be read just now, trying on", lease=service, error=error)
                continue
            if found is None:
                return MAX_EXACT
            self._latest[service] = max(self._latest.get(service, 0), _term(found.value))
            return self._latest[service]


def _key(service: str) -> str:
    return f"{service}.term"


def _term(value: bytes) -> int:
    try:
        term: int = read(_entry, value).term
    except Unreadable:
        return 0
    return term
