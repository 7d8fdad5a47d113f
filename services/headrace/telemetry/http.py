"""`/metrics` and `/healthz` over HTTP, on the service's own event loop, because a thread would take the interpreter from it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from headrace.errors import HeadraceError
from headrace.logs import get_log
from headrace.telemetry.collector import registry_of
from headrace.telemetry.families import Metrics, no_metrics

log = get_log(__name__)

READ_SECONDS = 5.0
"""Seconds after which the endpoint hangs up on a client that has not sent its request."""
REQUEST_BYTES = 16 * 1024
"""Longest request, including headers."""
LAST_PORT = 65_535
"""The largest TCP port. Event loops accept larger numbers, and listen on another port."""
TEXT = "text/plain; charset=utf-8"


class AddressError(HeadraceError, ValueError):
    """The endpoint cannot listen on this address."""


class HttpEndpoint:
    """A server that answers GET and HEAD of `/metrics` and `/healthz`.

    `/metrics` has the service's metrics and those of its process. `/healthz` answers 503 while `healthy` returns False. address: the
    address that it listens on, as "host:port", once started.
    """

    def __init__(self, healthy: Callable[[], bool], metrics: Metrics = no_metrics) -> None:
        self._healthy = healthy
        self._registry = registry_of(metrics)
        self._server: asyncio.Server | None = None
        self.address = ""

    async def start(self, address: str) -> None:
        """Listen on "host:port"; port 0 selects a free port. Raises AddressError."""
        host, colon, port = address.rpartition(":")
        if not colon or not port.isdecimal() or int(port) > LAST_PORT:
            raise AddressError(f"HEADRACE_METRICS is {address!r}: give an address and a port, like 0.0.0.0:9464")
        try:
            self._server = await asyncio.start_server(self._serve, host.strip("[]") or None, int(port), limit=REQUEST_BYTES)
        except (OSError, OverflowError) as error:
            raise AddressError(f"cannot serve metrics at {address}: {error}; set HEADRACE_METRICS to another address") from error
        bound = self._server.sockets[0].getsockname()
        self.address = f"{host}:{bound[1]}"

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(READ_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(head))
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            log.debug("an HTTP client sent no request, or hung up before the answer")
        finally:
            writer.close()

    def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, b"only GET and HEAD\n", TEXT)
        if path == b"/metrics":
            status, body, kind = self._metrics()
        elif path == b"/healthz":
            healthy = self._healthy()
            status, body, kind = (HTTPStatus.OK, b"ok\n", TEXT) if healthy else (HTTPStatus.SERVICE_UNAVAILABLE, b"not connected\n", TEXT)
        else:
            status, body, kind = HTTPStatus.NOT_FOUND, b"not found: use /metrics or /healthz\n", TEXT
        return _response(status, body, kind, with_body=method == b"GET")

    def _metrics(self) -> tuple[HTTPStatus, bytes, str]:
        try:
            return HTTPStatus.OK, generate_latest(self._registry), CONTENT_TYPE_LATEST
        except Exception:
            log.exception("cannot compute the metrics")
            return HTTPStatus.INTERNAL_SERVER_ERROR, b"cannot compute the metrics: see the service's log\n", TEXT


def _response(status: HTTPStatus, body: bytes, kind: str, *, with_body: bool = True) -> bytes:
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + (body if with_body else b"")
