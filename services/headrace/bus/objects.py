"""Objects too large for a message, in the layout of NATS ADR-20, so that `nats object` shows them.

nats-py's object store waits for each chunk's acknowledgement before it sends the next. This one sends all chunks at once.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
from typing import TYPE_CHECKING

import msgspec

from headrace.bus.feed import Source
from headrace.bus.frames import NOT_FOUND, Record
from headrace.errors import JetStreamRefused
from headrace_schemas.limits import MAX_EXACT, Count, Size
from headrace_schemas.reading import Unreadable, decode
from headrace_schemas.streams import MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from headrace.bus.bus import Bus

_CHUNK = MAX_MESSAGE_BYTES
_ROLLUP = "Nats-Rollup:sub\r\n"
_MISSING = min(NOT_FOUND)


class _Options(msgspec.Struct):
    max_chunk_size: int = _CHUNK


class _Info(msgspec.Struct):
    """The entry of an object in the store."""

    name: str
    bucket: str
    nuid: str
    size: Size
    chunks: Count
    digest: str
    deleted: bool = False
    options: _Options = msgspec.field(default_factory=_Options)


_info = msgspec.json.Decoder(_Info)


class ObjectStore:
    """An object store by name. `Bus.ensure_buckets` creates it."""

    def __init__(self, bus: Bus, name: str) -> None:
        self.name = name
        self._bus = bus
        self._stream = f"OBJ_{name}"

    async def put(self, key: str, data: bytes) -> None:
        """Store an object, replacing one of the same key. Raises PublishRefused if the store is full."""
        try:
            before = await self._find(key)
        except JetStreamRefused:  # the present object cannot be read, and is replaced
            before = None
        nuid = secrets.token_hex(11)
        view = memoryview(data)
        chunks = [bytes(view[at : at + _CHUNK]) for at in range(0, len(data), _CHUNK)]
        await asyncio.gather(*(self._bus._publish(self._chunks(nuid), chunk) for chunk in chunks))
        info = _Info(key, self.name, nuid, len(data), len(chunks), _digest(data))
        await self._bus._publish(self._meta(key), msgspec.json.encode(info), headers=_ROLLUP)
        if before is not None:
            await self._bus._purge(self._stream, self._chunks(before.nuid))

    async def get(self, key: str, most: int = MAX_EXACT) -> bytes:
        """Return an object.

        Raises JetStreamRefused if there is none, if its bytes are not what was stored, or if they are more than `most`.
        """
        self._bus.pace.hurry()
        try:
            return await self._get(key, most)
        finally:
            self._bus.pace.calm()

    async def _get(self, key: str, most: int) -> bytes:
        nuid = ""
        while True:
            info = await self._find(key)
            if info is None:
                raise JetStreamRefused(f"there is no object {key!r} in {self.name!r}: it was never stored, or it has aged out", _MISSING)
            if info.size > most:
                raise JetStreamRefused(f"object {key!r} in {self.name!r} has {info.size:,} bytes, more than {most:,}")
            data = b"".join(await self._read(info)) if info.chunks else b""
            if _digest(data) == info.digest:
                return data
            if info.nuid == nuid:
                break
            nuid = info.nuid  # the object was replaced meanwhile, and its old chunks were removed: look again, once for each replacement
        raise JetStreamRefused(f"object {key!r} in {self.name!r} is damaged: {len(data):,} of {info.size:,} bytes, or the digest differs")

    async def delete(self, key: str) -> None:
        """Remove an object, if there is one."""
        info = await self._find(key)
        if info is not None:
            await self._bus._publish(self._meta(key), msgspec.json.encode(_gone(info)), headers=_ROLLUP)
            await self._bus._purge(self._stream, self._chunks(info.nuid))

    async def _find(self, key: str) -> _Info | None:
        record = await self._bus._last(self._stream, self._meta(key))
        try:
            info = decode(_info, record.data) if record is not None else None
        except Unreadable as error:
            raise JetStreamRefused(f"the entry of object {key!r} in {self.name!r} cannot be read: {error}") from None
        return None if info is None or info.deleted else info

    async def _read(self, info: _Info) -> list[bytes]:
        """Return the chunks in order: fewer if some are lost, and not many more bytes than expected."""
        chunks: list[bytes] = []
        full, size = asyncio.Event(), 0

        def on_records(records: list[Record]) -> None:
            nonlocal size
            for record in records:
                if size <= info.size:
                    chunks.append(record.data)
                    size += len(record.data)
            if size > info.size:
                full.set()

        feed = await self._bus._follow(Source(self._stream, (self._chunks(info.nuid),)), on_records)
        waiting = [asyncio.ensure_future(event.wait()) for event in (feed.caught_up, full)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()
            await feed.close()
        return chunks

    def _chunks(self, nuid: str) -> str:
        return f"$O.{self.name}.C.{nuid}"

    def _meta(self, key: str) -> str:
        return f"$O.{self.name}.M.{base64.urlsafe_b64encode(key.encode()).decode()}"


def _gone(info: _Info) -> _Info:
    return msgspec.structs.replace(info, deleted=True, size=0, chunks=0, digest="")


def _digest(data: bytes) -> str:
    return "SHA-256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()
