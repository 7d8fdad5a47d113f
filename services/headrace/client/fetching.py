"""Fetches the values of outputs from the hosts that hold them, over a link to each, or through the publisher if a link cannot be opened.

The client asks each host for its datasets in one `Want`. Small ones come as `Values` at once; large ones are offered, granted, and received
straight into the memory that their arrays will be views of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple

from headrace.bus import Bus
from headrace.client.relayed import Routes, fetch_relayed
from headrace.client.settings import SETTINGS
from headrace.errors import NatsUnreachable, RemoteError
from headrace.link import CLIENT, Data, Frame, Gone, Grant, Identity, Link, LinkRefused, Offer, Values, Want, connect
from headrace.logs import get_log
from headrace.values.memory import aligned_memory

log = get_log(__name__)


class Held(NamedTuple):
    """The place of a dataset: a host, and the attempt that made the dataset."""

    host: str
    attempt: int


class Room(NamedTuple):
    """Memory for a dataset that arrives in parts, and the number of bytes that have arrived."""

    memory: memoryview
    filled: int


class Delivery:
    """The data that one host sends of one job: the handler of a link to it.

    values: encoded values that have arrived, by dataset. heard: number of frames that have arrived.
    `over` is done when everything has arrived, or what is missing never will.
    """

    def __init__(self, job: str, wanted: Mapping[int, int]) -> None:
        self.values: dict[int, memoryview] = {}
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._job = job
        self._attempts = wanted
        self._open = set(wanted)
        self._rooms: dict[int, Room] = {}
        """Memory of datasets that arrive in parts."""
        self.heard = 0

    @property
    def missing(self) -> dict[int, int]:
        """The attempts of the datasets that have not arrived."""
        return {dataset: self._attempts[dataset] for dataset in self._open}

    def link_opened(self, link: Link) -> None:
        """Ask for all datasets at once."""
        link.send(Want(self._job, list(self._attempts), list(self._attempts.values())))

    def link_closed(self, link: Link, reason: str) -> None:
        """End the delivery: missing datasets will not arrive."""
        self._settle(list(self._open))

    def frame_received(self, link: Link, frame: Frame, payload: memoryview) -> None:
        """Process a frame, and grant offered datasets."""
        self.heard += 1
        match frame:
            case Values(datasets=datasets, lengths=lengths):
                self._take_small(datasets, lengths, payload)
            case Offer(datasets=datasets):
                link.send(Grant(self._job, [dataset for dataset in datasets if dataset in self._open]))
            case Data(dataset=dataset, size=size):
                whole = self._put(dataset, payload) if size else payload
                if whole is not None:
                    self.values[dataset] = whole.toreadonly()
                    self._settle([dataset])
            case Gone(datasets=datasets):
                self._settle(datasets)

    def data_sink(self, link: Link, frame: Data, nbytes: int) -> memoryview | None:
        """Return memory for one dataset, in which its value will live; for a dataset in parts, the memory of the next part."""
        if frame.dataset not in self._open:
            return None
        if not frame.size:
            return aligned_memory(nbytes)
        if not frame.start:
            self._rooms[frame.dataset] = Room(aligned_memory(frame.size), 0)
        room = self._rooms.get(frame.dataset)
        if room is None or (frame.start, frame.size) != (room.filled, room.memory.nbytes) or frame.start + nbytes > frame.size:
            return None
        return room.memory[frame.start : frame.start + nbytes]

    def _put(self, dataset: int, part: memoryview) -> memoryview | None:
        """Note that a part of a dataset is in its place. Returns the whole dataset if that was the last part."""
        room = self._rooms[dataset]
        room = self._rooms[dataset] = Room(room.memory, room.filled + part.nbytes)
        if room.filled < room.memory.nbytes:
            return None
        del self._rooms[dataset]
        return room.memory

    def _take_small(self, datasets: list[int], lengths: list[int], payload: memoryview) -> None:
        start = 0
        for dataset, length in zip(datasets, lengths, strict=True):
            self.values[dataset] = memoryview(bytes(payload[start : start + length]))
            start += length
        self._settle(datasets)

    def _settle(self, datasets: Iterable[int]) -> None:
        self._open.difference_update(datasets)
        if not self._open and not self.over.done():
            self.over.set_result(None)


def by_host(holders: Mapping[int, Held]) -> dict[str, dict[int, int]]:
    """Group datasets by host: the attempts of the datasets to fetch from each host."""
    hosts: dict[str, dict[int, int]] = {}
    for dataset, held in holders.items():
        hosts.setdefault(held.host, {})[dataset] = held.attempt
    return hosts


GIVEN_UP = "it no longer holds them"
Still = Callable[[str, Mapping[int, int]], Awaitable[bool]]


async def _always(_host: str, _wanted: Mapping[int, int]) -> bool:
    return True


class Fetcher:
    """Fetches values of one job, from any number of hosts at a time.

    name: of this client, in the hosts' logs. key: the job's, which its links prove to have. problems: by host, why it could not be reached.
    still: asked whether a silent host still holds the wanted datasets. A host may have good reason to be silent: it reads from disk, or
    serves others first. A restarted host knows nothing of the datasets, and would wait to hear of the job.
    """

    def __init__(self, job: str, name: str, key: bytes, bus: Bus, routes: Routes) -> None:
        self.problems: dict[str, str] = {}
        self.still: Still = _always
        self._before: dict[str, str] = {}
        self._unreached: dict[str, str] = {}
        """By host: the error of the last attempt to open a link."""
        self._job = job
        self._identity = Identity(name, CLIENT)
        self._key = key
        self._bus = bus
        self._routes = routes

    async def fetch(self, holders: Mapping[int, Held], addresses: Mapping[str, tuple[str, int]]) -> dict[int, memoryview]:
        """Fetch the encoded values of these datasets.

        Those whose host does not have them, has no address or does not answer are missing. May be called again.
        """
        self._before, self.problems = self.problems, {}
        parts = await asyncio.gather(
            *(self._from_host(host, addresses[host], wanted) for host, wanted in by_host(holders).items() if host in addresses)
        )
        return {dataset: value for part in parts for dataset, value in part.items()}

    async def _from_host(self, host: str, address: tuple[str, int], wanted: Mapping[int, int]) -> dict[int, memoryview]:
        if self._routes.is_direct(address):
            try:
                return await self._directly(host, address, wanted)
            except (LinkRefused, TimeoutError) as error:
                self.problems[host] = self._unreached[host] = (
                    str(error) or f"no answer from {address[0]}:{address[1]} within {SETTINGS.direct_seconds:g} s"
                )
                if not self._routes.unreachable(address):
                    return {}
        relaying = asyncio.ensure_future(self._relayed(host, wanted))
        try:
            while not (await asyncio.wait([relaying], timeout=SETTINGS.quiet_seconds))[0]:
                if not await self.still(host, wanted):
                    self.problems[host] = GIVEN_UP
                    return {}
            return relaying.result()
        finally:
            relaying.cancel()

    async def _directly(self, host: str, address: tuple[str, int], wanted: Mapping[int, int]) -> dict[int, memoryview]:
        delivery = Delivery(self._job, wanted)
        async with asyncio.timeout(SETTINGS.direct_seconds):
            link = await connect(address, self._identity, self._key, delivery, self._job)
        try:
            await self._while_held(delivery.over, host, delivery)
        finally:
            link.close()
        return delivery.values

    async def _while_held(self, over: asyncio.Future[None], host: str, delivery: Delivery) -> None:
        """Wait until a delivery is over, or until the host no longer holds what is missing."""
        heard = delivery.heard
        while not (await asyncio.wait([over], timeout=SETTINGS.quiet_seconds))[0]:
            if delivery.heard == heard and not await self.still(host, delivery.missing):
                self.problems[host] = GIVEN_UP
                return
            heard = delivery.heard

    async def _relayed(self, host: str, wanted: Mapping[int, int]) -> dict[int, memoryview]:
        """Fetch through a publisher, or through another one if the first ends meanwhile."""
        for tried in range(SETTINGS.fetch_tries):
            try:
                return await fetch_relayed(self._bus, self._job, host, wanted)
            except RemoteError as error:
                why = f"through the publisher: {error}"
                break
            except NatsUnreachable as error:
                why = f"through the publisher: {error}"
                if tried + 1 < SETTINGS.fetch_tries:
                    await asyncio.sleep(SETTINGS.fetch_pause_seconds)
        self.problems[host] = "; ".join(filter(None, [self._unreached.get(host), why]))
        if host not in self._before:
            log.warning("cannot fetch outputs", job=self._job, host=host, error=self.problems[host])
        return {}
