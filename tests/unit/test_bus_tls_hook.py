"""TLS is enforced in a method of nats-py that is not public. Without that method, no connection that requires TLS is made."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from nats.aio.client import Client

from headrace.bus import BusSettings
from headrace.bus.wire import Wire, check_tls_hook, open_wire
from headrace.errors import SettingsError


def test_the_installed_release_has_the_hook() -> None:
    check_tls_hook()
    check_tls_hook(Wire)


class Renamed:
    """A release in which the method has another name."""

    async def _handle_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """As `_process_info`."""

    async def _process_connect_init(self) -> None:
        await self._handle_info({}, initial_connection=True)
        await self.connect_tls()  # type: ignore[attr-defined]
        self._connect_command()  # type: ignore[attr-defined]


class OtherArguments:
    """A release in which the method takes something else."""

    async def _process_info(self, info: dict[str, Any]) -> None: ...

    async def _process_connect_init(self) -> None:
        await self._process_info({})
        await self.connect_tls()  # type: ignore[attr-defined]
        self._connect_command()  # type: ignore[attr-defined]


class CalledTooLate:
    """A release that logs in before it hands over what the server said."""

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None: ...

    async def _process_connect_init(self) -> None:
        await self.connect_tls()  # type: ignore[attr-defined]
        self._connect_command()  # type: ignore[attr-defined]
        await self._process_info({}, initial_connection=True)


class NoCoroutine:
    """A release that does not wait for the method."""

    def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None: ...

    async def _process_connect_init(self) -> None:
        self._process_info({}, initial_connection=True)
        await self.connect_tls()  # type: ignore[attr-defined]
        self._connect_command()  # type: ignore[attr-defined]


@pytest.mark.parametrize("client", [Renamed, OtherArguments, CalledTooLate, NoCoroutine, object])
def test_a_release_without_the_hook_is_refused(client: type[Any]) -> None:
    with pytest.raises(SettingsError, match=r"nats-py [0-9.]+ has no hook .* install a release of nats-py"):
        check_tls_hook(client)


@pytest.mark.parametrize("settings", [BusSettings(url="tls://127.0.0.1:1"), BusSettings(url="nats://a, tls://b")])
def test_nothing_is_connected_to_without_the_hook(settings: BusSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Client, "_process_info")
    with pytest.raises(SettingsError, match="TLS"):
        asyncio.run(open_wire(settings, "test"))
