"""iceoryx2: a publisher loans memory of its data segment and sends it; the subscriber receives the sample where it lies.

It has no keys and no store: the reader takes what was sent last. One service for each size:
a publisher's loans have a largest size.
"""

from __future__ import annotations

import ctypes
import secrets
from typing import Any

import iceoryx2
import numpy as np

from benchmarks.shm.peers import Bytes


def open_service(node: Any, name: str, buffer: int = 2) -> Any:
    """A publish-subscribe service of byte slices for one publisher and one subscriber that loses nothing."""
    builder = node.service_builder(iceoryx2.ServiceName.new(name)).publish_subscribe(iceoryx2.Slice[ctypes.c_uint8])
    builder = builder.enable_safe_overflow(False).history_size(0).max_publishers(1).max_subscribers(1)
    return builder.subscriber_max_buffer_size(buffer).subscriber_max_borrowed_samples(2).open_or_create()


def open_node() -> Any:
    """This process as iceoryx2 knows it."""
    iceoryx2.set_log_level(iceoryx2.LogLevel.Error)
    return iceoryx2.NodeBuilder.new().create(iceoryx2.ServiceType.Ipc)


def payload(sample: Any) -> Bytes:
    """The bytes of a sample, where they lie."""
    return np.frombuffer(sample.payload().as_memory_view(), np.uint8)


class IceoryxReader:
    """Receives samples."""

    def __init__(self) -> None:
        self._node: Any = None
        self._subscribers: dict[str, Any] = {}

    def map(self, token: str) -> Bytes:
        """The sample that was sent last; the first of a service only connects to it."""
        if self._node is None:
            self._node = open_node()
        if token not in self._subscribers:
            self._subscribers[token] = open_service(self._node, token).subscriber_builder().create()
            return np.empty(0, np.uint8)
        self._sample = self._subscribers[token].receive()
        return payload(self._sample)

    def drop(self) -> None:
        """Return the sample."""
        sample = self.__dict__.pop("_sample", None)
        if sample is not None:
            sample.delete()


class IceoryxWriter:
    """Publishes samples."""

    def __init__(self) -> None:
        self._node = open_node()
        self._prefix = f"headrace-benchmark/{secrets.token_hex(8)}"
        self._publishers: dict[int, Any] = {}
        self.reader = IceoryxReader()

    def put(self, data: Bytes) -> str:
        """Loan, copy, send. The first of a size makes its service and sends nothing, for the reader is not there yet."""
        name = f"{self._prefix}/{data.nbytes}"
        publisher = self._publishers.get(data.nbytes)
        if publisher is None:
            builder = open_service(self._node, name).publisher_builder().initial_max_slice_len(data.nbytes).max_loaned_samples(1)
            self._publishers = {data.nbytes: builder.create()}
            return name
        sample = publisher.loan_slice_uninit(data.nbytes)
        np.copyto(payload(sample), data)
        sample.assume_init().send()
        return name

    def purge(self, token: str) -> None:
        """The publisher finds returned samples by itself, at its next loan."""

    def close(self) -> None:
        """End the services."""
        self._publishers.clear()
        del self._node
