"""The HTTP endpoint of a service, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

import msgspec
import pytest

from headrace.bus import Bus, EmbeddedServer
from headrace.telemetry import Family, Metrics, Timing, counter, gauge, labelled, no_metrics, summary
from headrace.telemetry.http import AddressError, HttpEndpoint
from headrace_schemas import subjects


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


async def answers(healthy: bool, *requests: str, metrics: Metrics = no_metrics) -> list[tuple[int, str, str]]:
    endpoint = HttpEndpoint(lambda: healthy, metrics)
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


def test_what_a_service_says() -> None:
    took = Timing()
    took.add(0.5, 2)

    def metrics() -> Iterator[Family]:
        yield counter("headrace_things_total", "Things.", 3)
        yield from labelled([gauge("headrace_there", "By kind.", {"a": 1, "b": 2}, "kind")], host='"h"')
        yield summary("headrace_took_seconds", "What it took.", {"f": took}, "function")
        yield gauge("headrace_nothing", "Of nothing.", {}, "kind")

    [(_, _, body)] = asyncio.run(answers(True, get("/metrics"), metrics=metrics))
    assert [line for line in body.splitlines() if "headrace" in line and "HELP" not in line] == [
        "# TYPE headrace_things_total counter",
        "headrace_things_total 3.0",
        "# TYPE headrace_there gauge",
        'headrace_there{host="\\"h\\"",kind="a"} 1.0',
        'headrace_there{host="\\"h\\"",kind="b"} 2.0',
        "# TYPE headrace_took_seconds summary",
        'headrace_took_seconds_count{function="f"} 2.0',
        'headrace_took_seconds_sum{function="f"} 0.5',
        "# TYPE headrace_nothing gauge",
    ]


def test_a_service_that_cannot_say_how_it_stands_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    def metrics() -> Iterable[Family]:
        raise KeyError("a mistake")

    found = asyncio.run(answers(True, get("/metrics"), get("/healthz"), metrics=metrics))
    assert [status for status, _, _ in found] == [500, 200]
    assert "a mistake" in caplog.text


def test_healthy_or_not() -> None:
    assert asyncio.run(answers(True, get("/healthz")))[0][::2] == (200, "ok\n")
    assert asyncio.run(answers(False, get("/healthz")))[0][0] == 503


def test_what_is_not_there() -> None:
    found = asyncio.run(answers(True, get("/"), get("/metrics", "POST"), get("/healthz?verbose", "HEAD")))
    assert [(status, body) for status, _, body in found] == [
        (404, "not found: use /metrics or /healthz\n"),
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
    async def serve() -> list[tuple[int, str, str]]:
        settings = msgspec.structs.replace(nats_server.settings, metrics="127.0.0.1:0")
        async with await Bus.connect(settings, "test") as bus:
            await bus.ensure_streams()
            await bus.publish(subjects.output("job"), b"{}")
            await bus.serve("test", "a test", {}, lambda: [counter("headrace_tests_total", "Tests.", 1)])
            return [await ask(bus.metrics_address, get(path)) for path in ("/healthz", "/metrics")]

    health, metrics = runner.run(serve())
    assert health[0] == 200
    told = metrics[2].splitlines()
    assert {"headrace_tests_total 1.0", "headrace_nats_connected 1.0", "headrace_publish_acks_total 1.0"} <= set(told)
    assert {"headrace_publish_retries_total 0.0", "headrace_publish_unacknowledged 0.0"} <= set(told)
