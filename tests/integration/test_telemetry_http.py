"""The HTTP endpoint of a service, over real sockets."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from headrace.bus import Bus, EmbeddedServer
from headrace.telemetry import HttpEndpoint
from headrace.telemetry.http import AddressError


async def ask(address: str, request: str) -> tuple[int, str, str]:
    """Status, headers and body of the answer to one request."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request.encode())
    answer = (await reader.read()).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), head, body


def get(path: str, method: str = "GET") -> str:
    return f"{method} {path} HTTP/1.1\r\nHost: here\r\n\r\n"


async def answers(healthy: bool, *requests: str) -> list[tuple[int, str, str]]:
    endpoint = HttpEndpoint(lambda: healthy)
    await endpoint.start("127.0.0.1:0")
    try:
        return [await ask(endpoint.address, request) for request in requests]
    finally:
        await endpoint.close()


def test_metrics_in_the_format_of_prometheus() -> None:
    [(status, head, body)] = asyncio.run(answers(True, get("/metrics")))
    assert status == 200
    assert "Content-Type: text/plain; version=" in head
    assert "# TYPE process_cpu_seconds_total counter" in body


def test_healthy_or_not() -> None:
    assert asyncio.run(answers(True, get("/healthz")))[0][::2] == (200, "ok\n")
    assert asyncio.run(answers(False, get("/healthz")))[0][0] == 503


def test_what_is_not_there() -> None:
    found = asyncio.run(answers(True, get("/"), get("/metrics", "POST"), get("/healthz?verbose", "HEAD")))
    assert [(status, body) for status, _, body in found] == [
        (404, "there are /metrics and /healthz\n"),
        (405, "only GET and HEAD\n"),
        (200, ""),
    ]


def test_a_client_that_sends_too_much_is_hung_up_on() -> None:
    async def flood() -> bytes:
        endpoint = HttpEndpoint(lambda: True)
        await endpoint.start("127.0.0.1:0")
        host, _, port = endpoint.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"x" * 100_000)
        try:
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()
            await endpoint.close()

    assert asyncio.run(flood()) == b""


@pytest.mark.parametrize("address", ["9464", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:99999", "192.0.2.1:0"])
def test_an_address_that_cannot_be_used(address: str) -> None:
    with pytest.raises(AddressError, match="HEADRACE_METRICS"):
        asyncio.run(HttpEndpoint(lambda: True).start(address))


def test_a_service_tells_where_it_answers(nats_server: EmbeddedServer, runner: asyncio.Runner) -> None:
    async def serve() -> tuple[int, str, str]:
        settings = msgspec.structs.replace(nats_server.settings, metrics="127.0.0.1:0")
        async with await Bus.connect(settings, "test") as bus:
            await bus.serve("test", "a test", {})
            return await ask(bus.metrics_address, get("/healthz"))

    assert runner.run(serve())[0] == 200
