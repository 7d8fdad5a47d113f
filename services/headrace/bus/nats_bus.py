"""The bus on NATS."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.metadata import version
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec
from nats.errors import Error as NatsError
from nats.micro import add_service
from nats.micro.service import EndpointConfig, ServiceConfig

from headrace.bus import frames, layout
from headrace.bus.bus import Beside, Bus, Consumption, Handler, OnRequest
from headrace.bus.feed import Feed, NatsFeed, OnRecords, Snapshot, Source
from headrace.bus.frames import Record
from headrace.bus.liveness import Liveness, Look, Sign
from headrace.bus.metrics import Reading, families
from headrace.bus.outbox import API, Outbox
from headrace.bus.queue import Queue
from headrace.bus.renewer import Renewer
from headrace.bus.rewinding import REWOUND, Known, difference
from headrace.bus.settings import TIMES, BusSettings
from headrace.bus.storing import NOT_STORED
from headrace.bus.wire import Wire, open_wire
from headrace.errors import HeadraceError, JetStreamRefused, LogRewound, NoJetStream, RemoteError
from headrace.logs import get_log
from headrace.telemetry import Family, Metrics, no_metrics
from headrace.telemetry.tracing import open_tracing
from headrace.usage import Usage
from headrace_schemas import streams
from headrace_schemas.streams import LOG

if TYPE_CHECKING:
    from headrace.telemetry.http import HttpEndpoint

log = get_log(__name__)


_CLOSING = 2.0
"""Seconds that `close` waits for acknowledgements. What is not stored by then is reported in the log."""


class NatsBus(Bus):
    """The bus on NATS, see Bus. `Bus.connect` makes it. share: see `Liveness`."""

    def __init__(self, wire: Wire, settings: BusSettings, name: str, share: float = 1.0) -> None:
        super().__init__()
        self._wire = wire
        self._name = name
        wire.verify = self._verify
        wire.reconnected = self._reconnected
        wire.pace = self.pace
        self._settings = settings
        self._liveness = Liveness(share)
        self._idle_tick = TIMES.idle_tick_seconds * share
        self._outbox = Outbox(wire, settings.inbox_prefix, share)
        self._feeds: set[NatsFeed] = set()
        self._queues: set[Queue] = set()
        self._services: list[Any] = []
        self._answers: set[asyncio.Task[None]] = set()
        self._http: HttpEndpoint | None = None
        self._renewer: Renewer | None = None
        self._turned = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(TIMES.tick_seconds, self._tick)

    @classmethod
    async def open(cls, settings: BusSettings, name: str) -> NatsBus:
        """Connect, and check that JetStream is available."""
        bus = cls(await open_wire(settings, name), settings, name)
        try:
            await bus._find_jetstream()
            bus.tracing = open_tracing(name)
        except BaseException:
            await bus.close()
            raise
        return bus

    @property
    def connected(self) -> bool:
        return bool(self._wire.is_connected) and not self._wire.stale

    @property
    def idle_seconds(self) -> float:
        return time.monotonic() - self._turned

    def give_up(self) -> None:
        self._outbox.give_up()

    async def usage(self, stream: str) -> Usage:
        info = _info.decode(await self._outbox.call(f"STREAM.INFO.{stream}"))
        return Usage(info.state.bytes, max(0, info.config.max_bytes), info.state.messages, max(0, info.config.max_msgs))

    def wait_for_room(self) -> None:
        self._outbox.waits_for_room = True

    def send_again(self) -> None:
        self._outbox.resend_all()

    async def ensure_streams(self) -> None:
        await self._make([layout.stream(spec, self._settings.replicas) for spec in streams.STREAMS])

    async def ensure_buckets(self) -> None:
        buckets = [layout.bucket(spec, self._settings.replicas) for spec in streams.BUCKETS]
        stores = [layout.object_store(spec, self._settings.replicas) for spec in streams.OBJECT_STORES]
        await self._make(buckets + stores)

    async def flush_acks(self, timeout: float) -> None:
        waiting = self._outbox.unacknowledged
        if not waiting:
            return
        _, late = await asyncio.wait(waiting, timeout=timeout)
        if late:
            raise TimeoutError(f"{len(late)} messages were not acknowledged within {timeout:g} s; they will be resent")

    async def requests(self, stream: str, durable: str, on_request: OnRequest) -> Consumption:
        queue = Queue(self._wire, self._outbox, self._queues, stream, durable, on_request)
        await queue.open()
        return queue

    @property
    def metrics_address(self) -> str:
        return self._http.address if self._http is not None else ""

    async def serve(self, name: str, description: str, endpoints: Mapping[str, Handler], metrics: Metrics = no_metrics) -> None:
        if self._settings.metrics and self._http is None:
            await self._serve_http(metrics)
        config = ServiceConfig(name=name, version=version("headrace"), description=description)
        service = await add_service(self._wire, config)
        self._services.append(service)
        for endpoint, handler in endpoints.items():
            subject = f"headrace.service.{name}.{endpoint}"
            await service.add_endpoint(EndpointConfig(name=endpoint, subject=subject, handler=_answering(handler, self._answers)))

    async def _serve_http(self, metrics: Metrics) -> None:
        from headrace.telemetry.http import (
            HttpEndpoint,
        )  # imports the Prometheus library, which clients and most local clusters do not need

        self._http = HttpEndpoint(lambda: self.connected, lambda: chain(self._families(), metrics()))
        await self._http.start(self._settings.metrics)

    def _families(self) -> Iterator[Family]:
        return families(self._outbox.counts, len(self._outbox.unacknowledged), self.reading, self.connected)

    async def request(self, subject: str, data: bytes = b"", timeout: float = 1.0) -> bytes:
        reply = await self._outbox.ask_once(subject, data, timeout)
        error = frames.value_of(reply.headers, b"Nats-Service-Error")
        if error:
            raise RemoteError(f"{subject} answered with an error: {error.decode()}")
        return reply.data

    async def close(self) -> None:
        self._timer.cancel()
        for feed in list(self._feeds):
            await feed.close()
        for queue in list(self._queues):
            await queue.close()
        try:
            if self.connected:
                await self.flush_acks(_CLOSING)
        except TimeoutError as error:
            log.warning("closing with messages that may be lost", error=error)
        for service in self._services:
            with contextlib.suppress(Exception):  # the connection is gone, so there is nothing to unsubscribe
                await service.stop()
        if self._http is not None:
            await self._http.close()
        if self._renewer is not None:
            await self._renewer.close()
        for answer in self._answers:
            answer.cancel()
        self._outbox.close()
        await self._wire.close()
        if self.tracing is not None:
            await asyncio.to_thread(self.tracing.close)

    def _beside(self, work: Beside, after: float) -> asyncio.Future[None]:
        if self._renewer is None:
            self._renewer = Renewer(partial(_open_beside, self._settings, self._name, self.reading))
        loop = self._loop
        return self._renewer.call(lambda bus: work(bus, loop), after)

    def _store(self, subject: str, headers: str, data: bytes) -> asyncio.Future[int]:
        return self._outbox.publish(subject, headers, data)

    async def _follow(self, source: Source, on_records: OnRecords, snapshot: Snapshot | None = None) -> Feed:
        feed = NatsFeed(self._wire, self._outbox, self._feeds, self.reading, source, on_records, snapshot)
        await feed.open()
        return feed

    async def _last(self, stream: str, subject: str) -> Record | None:
        return await self._outbox.last(stream, subject)

    async def _first(self, stream: str, subject: str) -> Record | None:
        return await self._outbox.first(stream, subject)

    async def _at(self, stream: str, seq: int) -> Record | None:
        return await self._outbox.at(stream, seq)

    async def _purge(self, stream: str, subject: str) -> None:
        await self._outbox.call(f"STREAM.PURGE.{stream}", {"filter": subject})

    async def _find_jetstream(self) -> None:
        if not self._wire._server_info.get("jetstream", False):
            raise NoJetStream(f"the NATS server at {self._settings.shown_url} runs without JetStream: start it with -js")
        await self._outbox.call("INFO", timeout=TIMES.api_seconds)

    async def _make(self, configs: list[dict[str, Any]]) -> None:
        await asyncio.gather(*(self._make_stream(config) for config in configs))

    async def _make_stream(self, config: dict[str, Any]) -> None:
        try:
            await self._outbox.call(f"STREAM.CREATE.{config['name']}", config)
        except JetStreamRefused as error:
            if error.code == frames.NAME_IN_USE:  # an operator set other limits on purpose
                await self._upgrade(config)
                return
            if error.code in frames.NO_STORAGE:
                raise JetStreamRefused(
                    f"{error}: {config['name']} reserves {config['max_bytes'] >> 20} MiB; raise max_file_store in the server's "
                    "configuration, or create the stream yourself with a lower limit, which Headrace then keeps",
                    error.code,
                ) from error
            raise

    async def _upgrade(self, config: dict[str, Any]) -> None:
        """Add what a stream of an older release lacks. All other settings of the stream stay."""
        present = msgspec.json.decode(await self._outbox.call(f"STREAM.INFO.{config['name']}"))["config"]
        changes = layout.upgrade(present, config)
        if changes:
            await self._outbox.call(f"STREAM.UPDATE.{config['name']}", present | changes)

    def _tick(self) -> None:
        busy = self._feeds or self._outbox.is_waiting
        self._timer = self._loop.call_later(TIMES.tick_seconds if busy else self._idle_tick, self._tick)
        self._turned = time.monotonic()
        if self.connected:
            self._look_at_connection()
        if (
            self.connected and not self._wire.backlog
        ):  # otherwise the server reads nothing at the moment, and resent messages would only pile up
            self._outbox.tick()
            for feed in list(self._feeds):
                feed.tick()

    def _look_at_connection(self) -> None:
        """Replace the connection if it is dead."""
        wire, outbox = self._wire, self._outbox
        waiting, silent = outbox.is_waiting, any(feed.is_silent for feed in self._feeds)
        queued, taken = wire.unsent if waiting or silent else (0, 0)
        sign = self._liveness.tick(Look(outbox.answers + wire.pongs, queued, taken, waiting, silent))
        if not self._liveness.is_asking:
            outbox.look_at_storing()
            self._say_not_stored(outbox.storing.overdue)
        if sign is Sign.ASK:
            wire.ping()
        elif sign is Sign.DEAD:
            log.warning("NATS does not answer on this connection: opening another one", connection=self._name, unsent=queued)
            self.reading.replaced += 1
            wire.replace()

    def _say_not_stored(self, seconds: float) -> None:
        """Log when NATS stops storing messages, and keep the duration for the status."""
        was, self.reading.unstored[self._name] = self.reading.unstored.get(self._name, 0.0), seconds
        if seconds and not was:
            log.error("NATS stores nothing", connection=self._name, error=NOT_STORED.format(seconds=seconds))
        elif was and not seconds:
            log.warning("NATS stores messages again", connection=self._name)

    async def _verify(self) -> None:
        """Check, before anything is sent that follows from it, that the log is still the one that this process knows."""
        counts, reading = self._outbox.counts, self.reading
        msg_id = frames.value_of(counts.log_frame, b"Nats-Msg-Id")
        known = Known(reading.seq, reading.time, counts.log_seq, msg_id)
        try:
            why = await self._difference(known) if known.last else ""
        except (NatsError, HeadraceError, msgspec.DecodeError) as error:  # a cluster that elects a leader, which loses nothing
            log.info("cannot compare the log with what this process knows of it", connection=self._name, error=error)
            return
        if why:
            self._rewound(LogRewound(REWOUND.format(why=why)))

    async def _difference(self, known: Known) -> str:
        info = _info.decode(self._outbox.checked(f"to look at {LOG.name}", await self._wire.ask(f"{API}STREAM.INFO.{LOG.name}")))
        read, written = [await self._look(seq) if 0 < seq <= info.state.last_seq else None for seq in (known.read, known.written)]
        return difference(known, info.state.last_seq, read, written)

    async def _look(self, seq: int) -> Record | None:
        """Return the log's message at a sequence."""
        asked = msgspec.json.encode({"seq": seq})
        return self._outbox.found(await self._wire.ask(f"{API}STREAM.MSG.GET.{LOG.name}", asked))

    def _rewound(self, error: LogRewound) -> None:
        """End everything that follows from lost messages: feeds of the log, and what a service was about to write."""
        log.error("the log is an older one", connection=self._name, error=error)
        reading, counts = self.reading, self._outbox.counts
        reading.rewound += 1
        reading.seq = counts.log_seq = 0
        self.terms.forget_terms()
        if self._outbox.waits_for_room:
            self._outbox.give_up()
        for feed in list(self._feeds):
            if feed.stream == LOG.name:
                feed.fail(error)

    def _reconnected(self) -> None:
        """Continue on a new connection: open feeds where they were, then resend everything unanswered."""
        self._liveness.connected()
        self._outbox.storing.answered()
        for feed in self._feeds:
            feed.suspend()
        self._outbox.resend_all()
        for feed in list(self._feeds):
            feed.reopen()
        for queue in list(self._queues):
            queue.reopen()


async def _open_beside(settings: BusSettings, name: str, reading: Reading) -> Bus:
    """Open a bus for the thread that renews leases. It shares the process's record of streams that store nothing."""
    bus = NatsBus(await open_wire(settings, f"{name}-lease"), settings, f"{name}-lease", TIMES.lease_share)
    bus.reading.unstored = reading.unstored
    return bus


class _Holds(msgspec.Struct):
    messages: int = 0
    bytes: int = 0
    last_seq: int = 0


class _Limits(msgspec.Struct):
    max_bytes: int = -1
    max_msgs: int = -1


class _Info(msgspec.Struct):
    state: _Holds
    config: _Limits


_info = msgspec.json.Decoder(_Info)


def _answering(handler: Handler, answers: set[asyncio.Task[None]]) -> Any:
    """Make a function that answers requests as they arrive, even while an earlier one is still being answered. nats-py alone would wait."""

    async def answer(request: Any) -> None:
        try:
            await request.respond(await handler(request.data))
        except Exception as error:
            if isinstance(error, HeadraceError):  # the client gets this error; it may have asked for too much, or too late
                log.info("a request is answered with an error", subject=request.subject, kind=type(error).__name__, error=error)
            else:
                log.exception("a request failed", subject=request.subject)
            await request.respond_error("500", f"{type(error).__name__}: {error}".replace("\n", " "))

    async def start_answer(request: Any) -> None:
        task = asyncio.ensure_future(answer(request))
        answers.add(task)
        task.add_done_callback(answers.discard)

    return start_answer
