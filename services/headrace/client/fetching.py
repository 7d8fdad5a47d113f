"""Brings the values of outputs from the hosts that hold them, over a link to each.

Datasets are asked for in one `Want` a host. Small ones come as `Values` at once; large ones are offered, granted, and received
straight into the memory that their arrays will be views of.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from headrace.link import CLIENT, Data, Frame, Gone, Grant, Identity, Link, LinkRefused, Offer, Values, Want, connect

log = logging.getLogger(__name__)

ALIGNMENT = 64
"""Bytes. The encoding of values places arrays at multiples of it, counted from the value's start; so the start has to be at one too."""


class Held(NamedTuple):
    """Where a dataset is: a host, and the attempt that made it."""

    host: str
    attempt: int


class Delivery:
    """What one host sends of one job: the handler of a link to it.

    values: what has come, encoded, by dataset. `over` is done as soon as everything has come, or what is missing never will.
    """

    def __init__(self, job: str, wanted: Mapping[int, int]) -> None:
        self.values: dict[int, memoryview] = {}
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._job = job
        self._attempts = wanted
        self._open = set(wanted)

    def link_opened(self, link: Link) -> None:
        """Ask for everything at once."""
        link.send(Want(self._job, list(self._attempts), list(self._attempts.values())))

    def link_closed(self, link: Link, reason: str) -> None:
        """What has not come will not."""
        self._settle(list(self._open))

    def frame_received(self, link: Link, frame: Frame, payload: memoryview) -> None:
        """Take what came, and grant what is offered."""
        match frame:
            case Values(datasets=datasets, lengths=lengths):
                self._take_small(datasets, lengths, payload)
            case Offer(datasets=datasets):
                link.send(Grant(self._job, [dataset for dataset in datasets if dataset in self._open]))
            case Data(dataset=dataset):
                self.values[dataset] = payload.toreadonly()
                self._settle([dataset])
            case Gone(datasets=datasets):
                self._settle(datasets)

    def data_sink(self, link: Link, frame: Data, nbytes: int) -> memoryview | None:
        """Memory for one dataset, which its value goes on living in."""
        return aligned_memory(nbytes) if frame.dataset in self._open else None

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


def aligned_memory(nbytes: int) -> memoryview:
    """Writable memory, not cleared, that starts at a multiple of `ALIGNMENT`."""
    room = np.empty(nbytes + ALIGNMENT, dtype=np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    return memoryview(room)[start : start + nbytes]  # type: ignore[arg-type]


def by_host(holders: Mapping[int, Held]) -> dict[str, dict[int, int]]:
    """Per host: the attempts of the datasets that are to come from it."""
    hosts: dict[str, dict[int, int]] = {}
    for dataset, held in holders.items():
        hosts.setdefault(held.host, {})[dataset] = held.attempt
    return hosts


class Fetcher:
    """Fetches values of one job, from any number of hosts at a time.

    name: of this client, in the hosts' logs. key: the job's, which its links prove to have.
    """

    def __init__(self, job: str, name: str, key: bytes) -> None:
        self._job = job
        self._identity = Identity(name, CLIENT)
        self._key = key

    async def fetch(self, holders: Mapping[int, Held], addresses: Mapping[str, tuple[str, int]]) -> dict[int, memoryview]:
        """The encoded values of these datasets. Those are missing that their host does not have, or that has no address or does
        not answer."""
        parts = await asyncio.gather(
            *(self._from_host(addresses[host], wanted) for host, wanted in by_host(holders).items() if host in addresses)
        )
        return {dataset: value for part in parts for dataset, value in part.items()}

    async def _from_host(self, address: tuple[str, int], wanted: Mapping[int, int]) -> dict[int, memoryview]:
        delivery = Delivery(self._job, wanted)
        try:
            link = await connect(address, self._identity, self._key, delivery, self._job)
        except LinkRefused as error:
            log.warning("outputs of job %s: %s", self._job, error)
            return {}
        try:
            await delivery.over
        finally:
            link.close()
        return delivery.values


def split_address(address: str) -> tuple[str, int]:
    """IP address and port of "1.2.3.4:5" or "[::1]:5". Raises ValueError for anything else."""
    host, colon, port = address.rpartition(":")
    if not colon:
        raise ValueError(f"{address!r} is no address with a port, like 10.0.0.1:7000")
    return host.strip("[]"), int(port)
