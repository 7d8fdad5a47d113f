"""The terms in which services have led. A decision with any other term does not count.

Readers ignore decisions of older terms than one that they have seen. So a single message with the largest possible term would make them
ignore all others. Therefore each leader, before it decides anything, writes its term into the bucket `leases`, beside the lease, where it
stays. A reader looks there once for each new term, not for each message.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec

from headrace.errors import NatsUnreachable, WrongRevision
from headrace.logs import get_log
from headrace_schemas import LeaseEntry, decoder, encode
from headrace_schemas.limits import Stamp
from headrace_schemas.reading import NewerVersion, Unreadable, decode, read
from headrace_schemas.streams import LEASES

if TYPE_CHECKING:
    from headrace.bus.bus import Bus

log = get_log(__name__)

_entry = decoder(LeaseEntry)


KEPT = 256
"""Terms of a service that are remembered, the latest ones. An earlier term is accepted, because nobody can say whether it existed."""


class Terms:
    """The terms of each service that this process knows."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._known: dict[str, frozenset[int]] = {}

    async def begin_term(self, service: str, holder: str, term: int) -> None:
        """Record that the service is led in this term. Call this with the lease, before anything is decided."""
        bucket = self._bus.kv(LEASES.name)
        while True:
            found = await bucket.get(_key(service))
            terms = _terms(found.value) if found is not None else []
            if term in terms:
                return
            entry = encode(LeaseEntry(holder=holder, terms=sorted([*terms, term])[-KEPT:]))
            with contextlib.suppress(WrongRevision):  # another process leads by now, or led just before
                await bucket.update(_key(service), entry, found.revision if found is not None else 0)

    def forget_terms(self) -> None:
        """Forget all terms, because the bucket is an older one."""
        self._known.clear()

    def known(self, service: str, term: int) -> bool:
        """Return whether the service is known to have led in this term. If not, `check_term` before you conclude that it has not."""
        return term in self._known.get(service, _NONE)

    async def check_term(self, service: str, term: int) -> bool:
        """Return whether the service can have led in this term. Retries while NATS does not answer."""
        if self.known(service, term):
            return True
        if term > max(self._known.get(service, _NONE), default=0):
            await self.latest(service)
        known = self._known.get(service, _NONE)
        return term in known or not known or 0 < term < min(known)

    async def latest(self, service: str) -> int:
        """Return the term in which the service leads, or led last; 0 if it never recorded one. Retries while NATS does not answer."""
        while True:
            try:
                found = await self._bus.kv(LEASES.name).get(_key(service))
            except NatsUnreachable as error:
                log.warning("cannot read the terms of a service at the moment; retrying", lease=service, error=error)
                continue
            terms = _terms(found.value) if found is not None else []
            self._known[service] = self._known.get(service, _NONE) | frozenset(terms)
            return max(self._known[service], default=0)


_NONE: frozenset[int] = frozenset()


def _key(service: str) -> str:
    return f"{service}.term"


class _AnyVersion(msgspec.Struct):
    """The part of an entry with terms that every release writes."""

    terms: list[Stamp]


_any_version = msgspec.json.Decoder(_AnyVersion)


def _terms(value: bytes) -> list[int]:
    """Return the terms in an entry.

    An older release must know in which terms a newer one leads. Then it ends at a decision that it cannot read, and does not mistake it for
    that of a service that never led.
    """
    try:
        return list(read(_entry, value).terms)
    except NewerVersion:
        return _of_newer(value)
    except Unreadable:
        return []


def _of_newer(value: bytes) -> list[int]:
    try:
        return decode(_any_version, value).terms
    except Unreadable:
        return []
