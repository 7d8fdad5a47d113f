"""The bus, with which services, clients and tools send and read messages.

`Bus.connect` returns a bus on NATS, `MemoryBus()` one without a server.
"""

from __future__ import annotations

import asyncio
import secrets
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from headrace.bus import frames
from headrace.bus.feed import Feed, OnRecords, Snapshot, Source
from headrace.bus.frames import Record
from headrace.bus.metrics import Reading
from headrace.bus.pace import Pace
from headrace.bus.settings import BusSettings
from headrace.bus.terms import Terms
from headrace.telemetry import Metrics, no_metrics
from headrace.usage import Usage
from headrace_schemas import LeaseEntry, encode
from headrace_schemas.streams import LEASES

if TYPE_CHECKING:
    from headrace.bus.kv import Bucket
    from headrace.bus.lease import Lease
    from headrace.bus.objects import ObjectStore
    from headrace.telemetry.spans import Tracing

Handler = Callable[[bytes], Awaitable[bytes]]
"""A function that answers a request."""
OnRequest = Callable[[Record], Awaitable[object]]
"""A function that handles a message of a work queue. The message is done when the result of the function is."""

Beside = Callable[["Bus", asyncio.AbstractEventLoop], Coroutine[Any, Any, None]]
"""Work that runs beside a bus. It gets a bus of its own, and the loop of the bus that it runs beside."""


class Consumption(ABC):
    """The consumption of a work queue, as `Bus.requests` returns it."""

    @abstractmethod
    async def close(self) -> None:
        """Stop the delivery. Unacknowledged messages are delivered again, to the next consumer."""


class Bus(ABC):
    """Typed publish and follow, key-value buckets, objects, leases, requests.

    reading: counts of what this process reads. terms: the terms in which services lead.
    pace: how often the connection is read; at once by default.
    tracing: creates the spans of this process, if traces are on. Messages about a job whose trace is known carry its header.
    """

    def __init__(self) -> None:
        self.reading = Reading()
        self.terms = Terms(self)
        self.pace = Pace()
        self._id = secrets.token_urlsafe(6)
        self._published = 0
        self.tracing: Tracing | None = None

    @classmethod
    async def connect(cls, settings: BusSettings, name: str) -> Bus:
        """Connect to NATS; `name` is shown to operators. Raises NatsUnreachable, WrongCredentials or NoJetStream."""
        from headrace.bus.nats_bus import NatsBus

        return await NatsBus.open(settings, name)

    def publish(
        self,
        subject: str,
        message: msgspec.Struct | bytes,
        *,
        msg_id: str = "",
        expected_last_subject_seq: int | None = None,
        job: str = "",
    ) -> asyncio.Future[int]:
        """Send a message to the stream that takes its subject. This never waits; messages are sent in the order of the calls.

        The future has the message's sequence once it is stored. Until then the message is resent whenever its acknowledgement is late or
        the connection was lost. The stream keeps it once, by `msg_id` (generated if none is given), within its duplicate window. The future
        fails only with final errors: PublishRefused, if the message is too large or the stream full; WrongRevision, if the last message of
        its subject is not `expected_last_subject_seq` (0: there must be none). Cancelling the future gives the message up.
        job: the job that the message is about, if the message is already encoded.
        """
        data = message if isinstance(message, bytes) else encode(message)
        headers = "" if self.tracing is None else self.tracing.header(job or getattr(message, "job", ""))
        return self._publish(subject, data, msg_id, expected_last_subject_seq, headers)

    def _publish(self, subject: str, data: bytes, msg_id: str = "", expected: int | None = None, headers: str = "") -> asyncio.Future[int]:
        """Publish with additional header lines."""
        if msg_id:
            frames.header("Nats-Msg-Id", msg_id)
        else:
            self._published += 1
            msg_id = f"{self._id}{self._published:x}"
        headers = f"Nats-Msg-Id:{msg_id}\r\n{headers}"
        if expected is not None:
            headers += f"Nats-Expected-Last-Subject-Sequence:{expected}\r\n"
        return self._store(frames.check_subject(subject), headers, data)

    async def follow(
        self, stream: str, subjects: str | Iterable[str], on_records: OnRecords, *, from_seq: int = 1, whole: bool = False
    ) -> Feed:
        """Read the messages of a stream on these subjects (patterns that do not overlap), from a sequence on. NEW: only messages to come.

        whole: while the feed is far behind, the server delivers all messages to this process, which drops those that the subjects do not
        match. This is for feeds that read a large part of a stream: on a stream of many subjects, no other way catches up (see `reach`).

        `on_records` is a plain function, called with everything that arrived since its last call. It gets every message once and in order.
        If it raises, the feed ends (see Feed.ended). Raises JetStreamRefused if the stream does not exist.
        """
        wanted = (subjects,) if isinstance(subjects, str) else tuple(subjects)
        return await self._follow(Source(stream, wanted, from_seq, whole=whole), on_records)

    async def purge(self, stream: str, subject: str) -> None:
        """Remove all messages of a subject (a pattern) from a stream."""
        await self._purge(stream, subject)

    async def first_seq(self, stream: str, *subjects: str) -> int:
        """Return the sequence of the first message on one of these subjects (no patterns); 0 if there is none.

        A feed of few messages should start there: from the beginning of a long stream, the server would search all of it.
        """
        found = await asyncio.gather(*(self._first(stream, subject) for subject in subjects))
        return min((record.seq for record in found if record is not None), default=0)

    def kv(self, bucket: str) -> Bucket:
        """Return a key-value bucket."""
        from headrace.bus.kv import Bucket

        return Bucket(self, bucket)

    def objects(self, bucket: str) -> ObjectStore:
        """Return an object store."""
        from headrace.bus.objects import ObjectStore

        return ObjectStore(self, bucket)

    def lease(self, key: str, holder: str, ttl: float) -> Lease:
        """Return the lease of a service that elects a leader, for `ttl` seconds (at least 1) at a time. holder: a unique name."""
        from headrace.bus.lease import Lease

        return Lease(self, LEASES.name, key, encode(LeaseEntry(holder=holder)), ttl)

    @property
    @abstractmethod
    def connected(self) -> bool:
        """Whether the bus is connected now."""

    @abstractmethod
    async def usage(self, stream: str) -> Usage:
        """Return how full a stream is. Raises JetStreamRefused if it does not exist."""

    def wait_for_room(self) -> None:  # noqa: B027 - a bus without a server is never full
        """From now on, resend messages for which LOG has no room until it has.

        For services, whose facts and decisions must not get lost.
        """

    def send_again(self) -> None:  # noqa: B027
        """Resend everything that is not acknowledged, because there may be room for it now."""

    long_work = 0.0
    """Seconds for which leases are renewed while this process is about to do something that may block all its threads for that long."""

    @property
    def idle_seconds(self) -> float:
        """Seconds since the event loop of this bus last turned. May be read in any thread."""
        return 0.0

    def give_up(self) -> None:  # noqa: B027 - nothing waits on a bus without a server
        """Stop resending unacknowledged publishes, and cancel their futures. A leader that lost its lease calls this."""

    @property
    def metrics_address(self) -> str:
        """The address at which this process answers /metrics and /healthz, once it serves; empty if it does not."""
        return ""

    @abstractmethod
    async def ensure_streams(self) -> None:
        """Create the missing streams of the contract. A stream that exists keeps its limits."""

    @abstractmethod
    async def ensure_buckets(self) -> None:
        """Create the missing key-value buckets and object stores."""

    @abstractmethod
    async def flush_acks(self, timeout: float) -> None:
        """Wait until everything published so far is stored or refused. Raises TimeoutError after `timeout` seconds."""

    async def last(self, stream: str, subject: str) -> Record | None:
        """Return the last message of a subject in a stream, or None."""
        return await self._last(stream, subject)

    async def at(self, stream: str, seq: int) -> Record | None:
        """Return the message at a sequence of a stream; None if that sequence has no message, or its message was deleted."""
        return await self._at(stream, seq)

    @abstractmethod
    async def requests(self, stream: str, durable: str, on_request: OnRequest) -> Consumption:
        """Consume a work queue.

        `on_request` is called with the messages in order, and may return before they are done. A message is acknowledged and removed when
        the result of `on_request` is done without an error; after an error it is delivered again. Several processes may share a `durable`.
        """

    @abstractmethod
    async def serve(self, name: str, description: str, endpoints: Mapping[str, Handler], metrics: Metrics = no_metrics) -> None:
        """Serve a NATS micro service (`nats micro ls`). Endpoints answer on the subject `headrace.service.<name>.<endpoint>`.

        metrics: returns the service's metrics, which are served over HTTP with the bus's own if `BusSettings.metrics` is set.
        """

    @abstractmethod
    async def request(self, subject: str, data: bytes = b"", timeout: float = 1.0) -> bytes:
        """Send a request to a service.

        Raises NatsUnreachable if none answers within `timeout` seconds, RemoteError with the exception of the service.
        """

    @abstractmethod
    async def close(self) -> None:
        """End feeds, wait briefly for acknowledgements, and disconnect."""

    @abstractmethod
    def _beside(self, work: Beside, after: float) -> asyncio.Future[None]:
        """Run a coroutine after `after` seconds, on a bus and a loop that long work of this bus's loop does not delay.

        Cancelling the future cancels it.
        """

    @abstractmethod
    def _store(self, subject: str, headers: str, data: bytes) -> asyncio.Future[int]: ...

    @abstractmethod
    async def _follow(self, source: Source, on_records: OnRecords, snapshot: Snapshot | None = None) -> Feed: ...

    @abstractmethod
    async def _last(self, stream: str, subject: str) -> Record | None: ...

    @abstractmethod
    async def _first(self, stream: str, subject: str) -> Record | None: ...

    @abstractmethod
    async def _at(self, stream: str, seq: int) -> Record | None: ...

    @abstractmethod
    async def _purge(self, stream: str, subject: str) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()
