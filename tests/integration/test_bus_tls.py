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
    """With a certificate of this authority, also for reconnections."""

    def __init__(self, folder: Path, authority: trustme.CA) -> None:
        super().__init__(folder)
        folder.mkdir()
        certificate = authority.issue_cert("127.0.0.1")
        self._certificate, self._key = folder / "server.pem", folder / "server.key"
        certificate.cert_chain_pems[0].write_to_path(str(self._certificate))
        certificate.private_key_pem.write_to_path(str(self._key))

    def _write_config(self) -> None:
        super()._write_config()
        with self._config.open("a") as file:
            file.write(f'tls {{ cert_file: "{self._certificate}", key_file: "{self._key}" }}\n')


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca(tmp_path: Path, authority: trustme.CA) -> str:
    """File of the authority's certificate."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def tls_server(tmp_path: Path, authority: trustme.CA) -> Iterator[TlsServer]:
    with TlsServer(tmp_path / "tls", authority) as server:
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
            assert [record.seq for record in records] == list(range(1, 10))

    runner.run(body())


def test_a_server_of_an_unknown_authority_is_not_trusted(tls_server: TlsServer, runner: asyncio.Runner) -> None:
    settings = BusSettings(url=f"tls://127.0.0.1:{tls_server.port}", token=tls_server.token, connect_timeout=0.5)
    with pytest.raises(NatsUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
        runner.run(Bus.connect(settings, "test"))


@pytest.mark.parametrize(("scheme", "with_ca"), [("tls", False), ("tls", True), ("nats", True)])
def test_a_server_without_tls_is_told_nothing_where_tls_is_wanted(
    scheme: str, with_ca: bool, nats_server: EmbeddedServer, ca: str, runner: asyncio.Runner
) -> None:
    """Also not the token: the server would have let it in."""
    settings = BusSettings(url=f"{scheme}://127.0.0.1:{nats_server.port}", token=nats_server.token, ca=ca if with_ca else "")
    with pytest.raises(NatsUnreachable, match="does not ask for TLS"):
        runner.run(Bus.connect(settings, "test"))
