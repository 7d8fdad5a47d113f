"""One connection to NATS: nats-py's client, with a shorter way through it for the hot path.

nats-py wakes a task for every read, gives every subscription a queue and a task, wakes both for each message, parses headers that nobody
reads, and puts a flusher task between a publish and the socket. Here a *sink*, a plain function, gets each message of its subscription
straight from the socket, with raw headers. What sinks collect is passed on once, at the end of each read, and a frame is written at once
(uvloop joins the writes of one turn of the loop into one system call). nats-py still connects, authenticates, does TLS, reconnects, and
handles everything that is not hot.

This module relies on names that are not public, whose changes the tests would detect: nats-py's `Client._read_loop`, `_subs`, `_pending`,
and `_transport` with its `_io_reader`, the buffer of that `asyncio.StreamReader`, and `_io_writer`; that `_process_info` is called with
what a server says before anything is sent to it, and `_process_err` with its error lines, for which `_process_op_err` opens the connection
again; that `_attempt_reconnect` does so, through `_connect_to_server`. TLS depends on `_process_info`: without it, `open_wire` refuses to
connect.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any

from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.errors import StaleConnectionError
from nats.protocol import parser

from headrace.bus.options import options, who
from headrace.bus.pace import Pace
from headrace.bus.reader import Reader, Sink
from headrace.bus.settings import TIMES, BusSettings
from headrace.bus.unsent import Unsent, unsent
from headrace.errors import NatsUnreachable, SettingsError, WrongCredentials
from headrace.logs import get_log

log = get_log(__name__)

_ASKED = 1.0
"""Seconds for the answer to a request that everything else waits for."""
_CLOSING = 1.0
"""Seconds for the last bytes to leave a connection that is being closed."""
_QUIET = 5.0
"""Seconds between two log lines about errors of the connection."""


class NotEncrypted(NatsError):  # type: ignore[misc]
    """A server offers no TLS, although it is required. Nothing has been sent to it."""


class Wire(Client):  # type: ignore[misc]
    """A connection with sinks. `open_wire` makes it. encrypted: connect only with TLS."""

    _pending: list[bytes]
    _pending_data_size: int

    def __init__(self, encrypted: bool = False) -> None:
        super().__init__()
        self._encrypted = encrypted
        self.sinks: dict[int, Sink] = {}
        self.pace = Pace()
        self.verify: Callable[[], Awaitable[None]] = _nothing
        """Called after each reconnection, before anything is sent except by nats-py itself. Must not raise."""
        self.reconnected: Callable[[], None] = lambda: None
        """Called after `verify`."""
        self.stale = False
        """Whether the connection was lost and `reconnected` has not been called yet. What was sent before has to be resent first, to keep
        the order."""
        self._unsent: list[bytes] = []
        self._complained = -_QUIET
        self._replacing: asyncio.Future[None] | None = None
        self._deferred: list[Callable[[], None]] = []
        self._corked: list[bytes] | None = None
        """Frames that are sent in response to one read, to be written together: each write wakes the server, which then runs instead of
        this process."""

    def send(self, frame: bytes) -> bool:
        """Write a frame now, after everything that nats-py has yet to write.

        Returns False without a connection; the frame is then dropped.
        """
        if self.stale or self._status != Client.CONNECTED:
            return False
        if self._corked is not None:
            self._corked.append(frame)
            return True
        return self._write(frame)

    def _write(self, frame: bytes) -> bool:
        try:
            if self._pending:
                self._transport.writelines(self._pending)
                self._pending = []
                self._pending_data_size = 0
            self._transport.write(frame)
        except (OSError, RuntimeError):  # the connection is dead, and the reader has not noticed yet
            return False
        return True

    def listen(self, subject: str, sink: Sink, queue: str = "") -> int:
        """Subscribe with a sink. Returns a number for `unlisten`. The subscription survives reconnection."""
        self._sid += 1
        sid: int = self._sid
        self._subs[sid] = Subscription(self, sid, subject, queue=queue)
        self.sinks[sid] = sink
        frame = b"SUB %b %b %d\r\n" % (subject.encode(), queue.encode(), sid)
        if not self.send(frame):
            self._unsent.append(frame)
        return sid

    def unlisten(self, sid: int) -> None:
        """End a subscription. Its sink gets nothing more."""
        self._subs.pop(sid, None)
        if self.sinks.pop(sid, None):
            self.send(b"UNSUB %d\r\n" % sid)

    def defer(self, action: Callable[[], None]) -> None:
        """Run an action at the end of the read that is being parsed. Sinks call this."""
        self._deferred.append(action)

    def end_of_burst(self) -> None:
        """Run the deferred actions after a read has been parsed, and write what they sent."""
        if not self._deferred:
            return
        corked: list[bytes] = []
        self._corked = corked
        while self._deferred:
            actions, self._deferred = self._deferred, []
            for action in actions:
                try:
                    action()
                except Exception:  # an exception would silently end nats-py's reader
                    log.exception("cannot pass on messages")
        self._corked = None
        if corked:
            self._write(b"".join(corked))

    def _end_of_read(self) -> None:
        self.end_of_burst()
        if self.pace.pause:
            transport = self._transport._io_writer.transport
            if not transport.is_closing():
                transport.pause_reading()
                asyncio.get_running_loop().call_later(self.pace.pause, _read_on, transport)

    @property
    def backlog(self) -> int:
        """Bytes that the socket has not taken yet. While there are any, resending would only add to them."""
        transport = self._stream_transport()
        return 0 if transport is None or transport.is_closing() else transport.get_write_buffer_size()

    @property
    def unsent(self) -> Unsent:
        """Bytes that are written, here and in the system, but not acknowledged by the other end; and bytes that are."""
        transport = self._stream_transport()
        if transport is None or transport.is_closing() or (found := transport.get_extra_info("socket")) is None:
            return Unsent(0, 0)
        below = unsent(found.fileno())
        return Unsent(transport.get_write_buffer_size() + below.queued, below.taken)

    @property
    def pongs(self) -> int:
        """Number of answers to PINGs so far."""
        return int(self._pongs_received)

    def ping(self) -> None:
        """Ask the server for a PONG, which it sends after it has read everything before this."""
        self._pongs.append(asyncio.get_running_loop().create_future())
        self.send(b"PING\r\n")

    def replace(self) -> None:
        """Open another connection, because this one is dead."""
        self.stale = True
        self._replacing = asyncio.ensure_future(self._process_op_err(StaleConnectionError()))

    async def flush(self, timeout: float = TIMES.attempt_seconds) -> None:
        """Wait for a PONG. Raises nats-py's FlushTimeoutError. nats-py ends a reconnection with this, and would wait for ten seconds."""
        await super().flush(timeout)

    async def ask(self, subject: str, data: bytes = b"") -> bytes:
        """Send a request ahead of everything that waits to be resent. Raises nats-py's errors, including its own TimeoutError."""
        return bytes((await self.request(subject, data, timeout=_ASKED)).data)

    async def close(self) -> None:
        """Disconnect. A server that reads nothing, or is gone, delays this by at most `_CLOSING` seconds."""
        if self.stale:
            self._pending, self._pending_data_size = [], 0
        asyncio.get_running_loop().call_later(_CLOSING, self._abort)
        await super().close()

    def _stream_transport(self) -> asyncio.WriteTransport | None:
        writer = getattr(self._transport, "_io_writer", None)
        return writer.transport if writer is not None else None

    def _abort(self) -> None:
        """Drop the present connection, with everything that it has not sent."""
        transport = self._stream_transport()
        if transport is not None:
            transport.abort()

    async def _attempt_reconnect(self) -> None:
        """Connect again, whatever happens meanwhile.

        nats-py first waits until everything unsent has left the old connection, which a dead one never takes. It also gives up for good at
        any error that it does not foresee, such as the AssertionError of a connection that ends during its handshake.
        """
        while not self.is_closed:
            self._abort()
            try:
                await super()._attempt_reconnect()
                return
            except Exception as error:
                self._status = Client.RECONNECTING
                await self._error_cb(error)
                await asyncio.sleep(TIMES.reconnect_seconds)

    async def _connect_to_server(self, server: Any) -> None:
        """Connect, after ending the tasks of an earlier attempt, whose reader would also read from the new connection."""
        current = asyncio.current_task()
        for task in (self._reading_task, self._ping_interval_task, self._flusher_task):
            if task is not None and task is not current:
                task.cancel()
        self._abort()
        await super()._connect_to_server(server)

    def complain(self, name: str, error: Exception) -> None:
        """Log an error of the connection, but not every failed attempt to reconnect."""
        now = time.monotonic()
        if now - self._complained >= _QUIET:
            self._complained = now
            log.warning("the connection to NATS has an error", connection=name, error=str(error) or type(error).__name__)

    def back(self) -> None:
        """Resume after a reconnection. nats-py has subscribed to what it knew when it started to reconnect; send the rest.

        The server ignores a subscription that it already has.
        """
        self.stale = False
        unsent, self._unsent = self._unsent, []
        for frame in unsent:
            self.send(frame)
        self.reconnected()

    async def _read_loop(self) -> None:
        """Start nats-py's loop for a new connection: what is read goes through a reader, which passes only the rest to the loop."""
        stream = self._transport._io_reader
        reader = Reader(self.sinks, stream.feed_data, self._end_of_read)
        early = bytes(stream._buffer)
        stream._buffer.clear()
        stream.feed_data = reader.feed
        if not stream.at_eof():  # a stream that has ended takes nothing more; the last messages are delivered again
            reader.feed(early)
        await super()._read_loop()

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """Check the first message of a server.

        nats-py would use TLS only if the server requires it, and would log in without TLS whatever the address and the options say.
        """
        if self._encrypted and initial_connection and not info.get("tls_required"):
            if not info.get("tls_available"):
                self._transport.close()
                raise NotEncrypted("it offers no TLS")
            info["tls_required"] = True
        await super()._process_info(info, initial_connection)

    async def _process_err(self, err_msg: str) -> None:
        """Handle an error line of the server. nats-py closes the connection for good at most of them; here it is opened again."""
        if parser.PERMISSIONS_ERR in err_msg:
            await super()._process_err(err_msg)
        else:
            await self._error_cb(NatsError(err_msg))
            await self._process_op_err(NatsError(err_msg))


async def _nothing() -> None:
    """Do nothing."""


def _read_on(transport: asyncio.ReadTransport) -> None:
    if not transport.is_closing():
        transport.resume_reading()


def check_tls_hook(client: type[Client] = Client) -> None:
    """Check that nats-py still calls `_process_info` with a server's first line, before it sends the login. Raises SettingsError if not.

    `Wire` insists on TLS in that method, which is not public. Were it renamed, the override would never be called, and the token would go
    to a server without TLS, without a word.
    """
    hook, caller = getattr(client, "_process_info", None), getattr(client, "_process_connect_init", None)
    if (
        inspect.iscoroutinefunction(hook)
        and list(inspect.signature(hook).parameters) == ["self", "info", "initial_connection"]
        and inspect.iscoroutinefunction(caller)
        and _called_in_order(caller, "_process_info", "connect_tls", "_connect_command")
    ):
        return
    raise SettingsError(
        f"nats-py {version('nats-py')} has no hook to require TLS, so nothing was sent: install a release of nats-py "
        "that this release of headrace supports, or use a nats:// address without HEADRACE_CA"
    )


def _called_in_order(function: Callable[..., Any], *names: str) -> bool:
    """Return whether the function's code first mentions these attributes in this order."""
    mentioned = inspect.unwrap(function).__code__.co_names
    places = [mentioned.index(name) if name in mentioned else -1 for name in names]
    return -1 not in places and places[0] < places[-1]


async def open_wire(settings: BusSettings, name: str) -> Wire:
    """Connect; tries for `settings.connect_timeout` seconds. name: shown to operators.

    TLS is required with `ca`, and if any address begins with tls. Raises NatsUnreachable, WrongCredentials as soon as the server rejects
    the credentials, or SettingsError if TLS is required and this release of nats-py offers no way to enforce it.
    """
    given = options(settings, name)
    servers = given["servers"]
    encrypted = bool(settings.ca) or any(url.startswith("tls://") for url in servers)
    if encrypted:
        check_tls_hook()
    wire = Wire(encrypted)
    refused: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
    last: list[Exception] = []
    ready = asyncio.Event()

    async def on_error(error: Exception) -> None:
        last[:] = [error]
        if ready.is_set():
            wire.complain(name, error)
        elif not refused.done() and ("authorization" in str(error).lower() or (isinstance(error, NotEncrypted) and len(servers) == 1)):
            refused.set_result(error)  # with several servers, another one may offer TLS

    async def on_disconnect() -> None:
        wire.stale = True

    async def on_reconnect() -> None:
        log.info("connected to NATS again", connection=name)
        await wire.verify()
        wire.back()

    connecting = asyncio.ensure_future(wire.connect(**given, error_cb=on_error, disconnected_cb=on_disconnect, reconnected_cb=on_reconnect))
    try:
        await asyncio.wait({connecting, refused}, timeout=settings.connect_seconds, return_when=asyncio.FIRST_COMPLETED)
        if connecting.done():
            connecting.result()
            ready.set()
            return wire
    finally:
        if not connecting.done():
            await _give_up(connecting, wire)
    failure = refused.result() if refused.done() else next(iter(last), None)
    if isinstance(failure, NotEncrypted):
        raise NatsUnreachable(
            f"the server at {settings.shown_url} offers no TLS, which a tls:// address or HEADRACE_CA requires: nothing was sent. "
            "Configure tls in the server, or leave both out"
        )
    if refused.done():
        raise WrongCredentials(
            f"NATS at {settings.shown_url} does not accept {who(settings)} ({failure}): "
            "check HEADRACE_TOKEN, or HEADRACE_USER and HEADRACE_PASSWORD, or HEADRACE_CREDS"
        )
    why = f": {str(failure) or type(failure).__name__}" if failure is not None else ""
    raise NatsUnreachable(
        f"no NATS server answered at {settings.shown_url} within {settings.connect_seconds:g} s{why}; "
        "is it running, and is HEADRACE_URL right?"
    )


async def _give_up(connecting: asyncio.Future[Any], wire: Wire) -> None:
    connecting.cancel()
    await asyncio.gather(connecting, return_exceptions=True)
    with contextlib.suppress(Exception):
        await wire.close()
