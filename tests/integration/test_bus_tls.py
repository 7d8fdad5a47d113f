"""A server with TLS: what is sent is encrypted, or nothing is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import trustme

from headrace.bus import Bus, BusSettings, EmbeddedServer, Record
from headrace.errors import NatsUnreachable

Until = Callable[..., Awaitable[None]]
SUBJECT = "headrace.event.job.host"


class TlsServer(EmbeddedServer):
    """With a certificate of this authority. required: it lets nobody in without TLS."""

    def __init__(self, folder: Path, authority: trustme.CA, required: bool) -> None:
        super().__init__(folder)
        self._plain = "" if required else "allow_non_tls: true\n"
        folder.mkdir()
        certificate = authority.issue_cert("127.0.0.1")
        self._certificate, self._key = folder / "server.pem", folder / "server.key"
        certificate.cert_chain_pems[0].write_to_path(str(self._certificate))
        certificate.private_key_pem.write_to_path(str(self._key))

    def _write_config(self) -> None:
        super()._write_config()
        with self._config.open("a") as file:
            file.write(f'tls {{ cert_file: "{self._certificate}", key_file: "{self._key}" }}\n{self._plain}')


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca(tmp_path: Path, authority: trustme.CA) -> str:
    """File of the authority's certificate."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(params=[True, False], ids=["required", "offered"])
def tls_server(request: pytest.FixtureRequest, tmp_path: Path, authority: trustme.CA) -> Iterator[TlsServer]:
    with TlsServer(tmp_path / "tls", authority, request.param) as server:
        yield server


@pytest.mark.parametrize("scheme", ["tls", "nats"])
def test_messages_and_reconnections_over_tls(scheme: str, tls_server: TlsServer, ca: str, runner: asyncio.Runner, until: Until) -> None:
    async def body() -> None:
        records: list[Record] = []
        settings = BusSettings(url=f"{scheme}://127.0.0.1:{tls_server.port}", token=tls_server.token, ca=ca)
        async with await Bus.connect(settings, "test") as bus:
            await bus.ensure_streams()
            await bus.follow("LOG", SUBJECT, records.extend)
            bus.pace.rest = 0.01
            await asyncio.gather(*(bus.publish(SUBJECT, b"x" * 500_000) for _ in range(8)))
            tls_server.stop()
            await until(lambda: not bus.connected)
            tls_server.start()
            await bus.publish(SUBJECT, b"again")
            await until(lambda: len(records) == 9)
            assert bus._wire._transport._io_writer.get_extra_info("ssl_object") is not None  # type: ignore[attr-defined]
            assert [record.seq for record in records] == list(range(1, 10))

    runner.run(body())


def test_a_server_of_an_unknown_authority_is_not_trusted(tls_server: TlsServer, runner: asyncio.Runner) -> None:
    settings = BusSettings(url=f"tls://127.0.0.1:{tls_server.port}", token=tls_server.token, connect_seconds=3.0)
    with pytest.raises(NatsUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
        runner.run(Bus.connect(settings, "test"))


@pytest.mark.parametrize(("scheme", "with_ca"), [("tls", False), ("tls", True), ("nats", True)])
def test_a_server_without_tls_is_told_nothing_where_tls_is_wanted(scheme: str, with_ca: bool, ca: str, runner: asyncio.Runner) -> None:
    """Whoever stands in for a server is not to have the token."""

    async def body() -> None:
        heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def stand_in(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b'INFO {"server_id":"x","version":"2.11.0","max_payload":1048576,"auth_required":true,"headers":true}\r\n')
            heard.set_result(await reader.read())
            writer.close()

        async with await asyncio.start_server(stand_in, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            settings = BusSettings(url=f"{scheme}://127.0.0.1:{port}", token="secret", ca=ca if with_ca else "")
            with pytest.raises(NatsUnreachable, match="offers no TLS"):
                await Bus.connect(settings, "test")
            assert await heard == b""

    runner.run(body())


def test_of_several_servers_one_without_tls_is_passed_over(
    tls_server: TlsServer, nats_server: EmbeddedServer, ca: str, runner: asyncio.Runner
) -> None:
    async def body() -> None:
        for _ in range(4):  # which is tried first is drawn by lot
            url = f"nats://127.0.0.1:{nats_server.port},tls://127.0.0.1:{tls_server.port}"
            async with await Bus.connect(BusSettings(url=url, token=tls_server.token, ca=ca), "test") as bus:
                assert bus.connected

    runner.run(body())
