"""Key-value buckets in the layout of NATS ADR-8, so that `nats kv` shows them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from headrace.bus import frames
from headrace.bus.feed import Feed, Snapshot, Source
from headrace.bus.frames import Record
from headrace.errors import JetStreamRefused, WrongRevision

if TYPE_CHECKING:
    from headrace.bus.bus import Bus

_KEY = re.compile(r"[A-Za-z0-9_=-]+(\.[A-Za-z0-9_=-]+)*")
_DELETE = "KV-Operation:DEL\r\n"
_TRIES = 3
"""How often `create` tries again if the value that was in its way expires between its look and its write."""

OnKey = Callable[[str, bytes | None, int], None]
"""A function that is called with key, value (None: deleted or expired) and revision."""


class KeyEntry(NamedTuple):
    """A value and its revision, the sequence under which it was written."""

    key: str
    value: bytes
    revision: int


class Bucket:
    """A bucket by name. `Bus.ensure_buckets` creates it.

    A `ttl` is in seconds, at least 1, and rounded up to whole seconds, in which NATS counts. The bucket must have markers for it (see
    BucketSpec.markers): they let watchers see an expiry.
    """

    def __init__(self, bus: Bus, name: str) -> None:
        self.name = name
        self._bus = bus
        self._prefix = f"$KV.{name}."
        self._stream = f"KV_{name}"

    async def get(self, key: str) -> KeyEntry | None:
        """Return the value of a key, or None. Raises JetStreamRefused if there is no such bucket."""
        record = await self._bus._last(self._stream, self._subject(key))
        return None if record is None or is_gone(record.headers) else KeyEntry(key, record.data, record.seq)

    async def put(self, key: str, value: bytes, ttl: float = 0.0) -> int:
        """Set a value, whatever the present one is. Returns its revision."""
        return await self._bus._publish(self._subject(key), value, headers=_ttl(ttl))

    async def update(self, key: str, value: bytes, revision: int, ttl: float = 0.0) -> int:
        """Set a value if the present one has this revision (0: if the key was never set). Raises WrongRevision otherwise."""
        return await self._bus._publish(self._subject(key), value, expected=revision, headers=_ttl(ttl))

    async def create(self, key: str, value: bytes, ttl: float = 0.0) -> int:
        """Set a value if there is none. Raises WrongRevision if there is one."""
        revision = 0
        for _ in range(_TRIES):
            try:
                return await self.update(key, value, revision, ttl)
            except WrongRevision:
                record = await self._bus._last(self._stream, self._subject(key))
                if record is not None and not is_gone(record.headers):
                    raise
                revision = record.seq if record is not None else 0
        raise WrongRevision(f"key {key!r} of bucket {self.name!r} changed at every attempt")

    async def delete(self, key: str, revision: int | None = None) -> None:
        """Remove a key; with a revision, only if the present value has it. Raises WrongRevision otherwise."""
        await self._bus._publish(self._subject(key), b"", expected=revision, headers=_DELETE)

    async def keys(self) -> list[str]:
        """Return the keys that have a value, in no particular order."""
        return list(await self.entries())

    async def entries(self) -> dict[str, KeyEntry]:
        """Return every key with its value."""
        found: dict[str, KeyEntry] = {}

        def on_key(key: str, value: bytes | None, revision: int) -> None:
            if value is not None:
                found[key] = KeyEntry(key, value, revision)

        feed = await self.watch(on_key)
        try:
            await feed.caught_up.wait()
        finally:
            await feed.close()
        return found

    async def watch(self, callback: OnKey, keys: str = ">") -> Feed:
        """Call back with every present value (matching `keys`, a subject pattern), then with every change, deletion and expiry.

        A key that disappeared while the bus was disconnected is reported as gone when it is connected again. `caught_up` of the feed is set
        when all values that existed at first have been reported.
        """
        changes = _Changes(self._prefix, callback)
        source = Source(self._stream, (self._prefix + keys,), latest=True)
        return await self._bus._follow(source, changes.on_records, changes)

    def _subject(self, key: str) -> str:
        if not _KEY.fullmatch(key):
            raise JetStreamRefused(f"{key!r} cannot be a key: use letters, digits, '-', '_', '=', and '.' between parts")
        return self._prefix + key


class _Changes(Snapshot):
    """The state of a watcher, which reports each change once, including those that it missed."""

    def __init__(self, prefix: str, callback: OnKey) -> None:
        self._skip = len(prefix)
        self._callback = callback
        self._known: dict[str, int] = {}
        self._seen: set[str] | None = set()

    def begin_snapshot(self) -> None:
        self._seen = set()

    def end_snapshot(self) -> None:
        missing = [key for key in self._known if key not in self._seen] if self._seen is not None else []
        self._seen = None
        for key in missing:
            self._callback(key, None, self._known.pop(key))

    def on_records(self, records: list[Record]) -> None:
        for record in records:
            self._take(record.subject[self._skip :], record)

    def _take(self, key: str, record: Record) -> None:
        if self._seen is not None:
            self._seen.add(key)
        known = self._known.get(key)
        if known is not None and (record.seq == known or (record.seq < known and self._seen is None)):
            return  # a snapshot may have a lower one: the server came back with an older store
        if not is_gone(record.headers):
            self._known[key] = record.seq
            self._callback(key, record.data, record.seq)
        elif known is not None:
            del self._known[key]
            self._callback(key, None, record.seq)


def is_gone(headers: bytes) -> bool:
    """Return whether a message of a bucket says that its key was deleted, purged, or has expired."""
    return bool(headers) and (
        frames.value_of(headers, b"KV-Operation") in (b"DEL", b"PURGE") or bool(frames.value_of(headers, b"Nats-Marker-Reason"))
    )


def _ttl(seconds: float) -> str:
    return f"Nats-TTL:{max(1, math.ceil(seconds))}s\r\n" if seconds else ""
