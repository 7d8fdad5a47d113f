"""Fetches values of outputs through the publisher from hosts that this client cannot reach, and decides when to do so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from headrace.bus import Bus
from headrace.client.settings import SETTINGS
from headrace.errors import ClusterFailed, RemoteError, SettingsError
from headrace.values.memory import aligned_memory
from headrace_schemas import decoder, encode
from headrace_schemas.fetching import FETCH_SUBJECT, GONE, HEADER, WAIT, Fetch, Fetching

HOSTS, PUBLISHER, EITHER = "hosts", "publisher", ""
WAYS = (EITHER, HOSTS, PUBLISHER)
"""Ways to fetch values: through the publisher where a host cannot be reached (the default), from the hosts only, or only through the
publisher."""

_decode = decoder(Fetching).decode


class Routes:
    """The way to each host. via: one of `WAYS`.

    A host that could not be reached is not tried again for a while, because each attempt takes seconds.
    """

    def __init__(self, via: str = EITHER) -> None:
        if via not in WAYS:
            raise SettingsError(
                f'via={via!r} (or HEADRACE_VIA): give "hosts", "publisher", or "" for the hosts first, and the publisher '
                "where one cannot be reached"
            )
        self.via = via
        self._unreachable: dict[tuple[str, int], float] = {}

    def is_direct(self, address: tuple[str, int]) -> bool:
        """Return whether to connect directly to a host that listens at this address."""
        return self.via != PUBLISHER and self._unreachable.get(address, 0.0) <= time.monotonic()

    def unreachable(self, address: tuple[str, int]) -> bool:
        """Remember that nothing answered at this address. Returns whether to fetch through the publisher."""
        if self.via == HOSTS:
            return False
        self._unreachable[address] = time.monotonic() + SETTINGS.unreachable_seconds
        return True


class Assembly:
    """Datasets that are assembled from pieces, in any order.

    values: the encoded values of complete datasets. over: whether every dataset is complete or gone, or the publisher said that the fetch
    has ended.
    """

    def __init__(self, wanted: Mapping[int, int]) -> None:
        self.values: dict[int, memoryview] = {}
        self.over = not wanted
        self._open = set(wanted)
        self._rooms: dict[int, memoryview] = {}
        self._missing: dict[int, int] = {}

    def add_piece(self, piece: bytes) -> None:
        """Put a piece into its place. Raises ClusterFailed for a piece that does not fit."""
        if not piece:
            self.over = True
            return
        dataset, total, offset = HEADER.unpack_from(piece)
        if total == GONE:
            self._settle(dataset)
        elif total != WAIT:
            self._put(dataset, total, offset, memoryview(piece)[HEADER.size :])

    def _put(self, dataset: int, total: int, offset: int, part: memoryview) -> None:
        if dataset not in self._rooms:
            self._rooms[dataset], self._missing[dataset] = aligned_memory(max(total, 0)), total
        room = self._rooms[dataset]
        if (
            dataset not in self._open
            or total != room.nbytes
            or not 0 <= offset <= total - part.nbytes
            or part.nbytes > self._missing[dataset]
        ):
            raise ClusterFailed(
                f"the publisher sent a piece that does not fit: {part.nbytes} bytes at {offset} of {total} of dataset {dataset}"
            )
        room[offset : offset + part.nbytes] = part
        self._missing[dataset] -= part.nbytes
        if not self._missing[dataset]:
            self.values[dataset] = room.toreadonly()
            self._settle(dataset)

    def _settle(self, dataset: int) -> None:
        self._open.discard(dataset)
        self.over = self.over or not self._open


async def fetch_relayed(bus: Bus, job: str, host: str, wanted: Mapping[int, int]) -> dict[int, memoryview]:
    """Return the encoded values of datasets of a job that a host holds, relayed by a publisher. wanted: the attempt of each.

    Datasets that the host no longer has are missing. Raises NatsUnreachable without a publisher, or if it ends meanwhile; RemoteError with
    the reason why the publisher cannot reach the host.
    """
    request = Fetch(job=job, host=host, datasets=list(wanted), attempts=list(wanted.values()))
    while not (session := _decode(await bus.request(FETCH_SUBJECT, encode(request), SETTINGS.fetch_seconds))).session:
        await asyncio.sleep(SETTINGS.fetch_pause_seconds)
    assembly = Assembly(wanted)

    async def ask() -> None:
        while not assembly.over:
            try:
                assembly.add_piece(await bus.request(session.subject, session.session.encode(), SETTINGS.piece_seconds))
            except RemoteError:
                if not assembly.over:  # otherwise this request was not needed
                    raise

    questions = [asyncio.ensure_future(ask()) for _ in range(SETTINGS.pieces_ahead)]
    try:
        await asyncio.gather(*questions)
    finally:
        for question in questions:
            question.cancel()
    return assembly.values
