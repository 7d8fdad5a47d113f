"""A host's links to others, over real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from headrace.worker.addresses import advertised
from headrace.worker.agent.actions import Connect
from headrace.worker.links import Links
from headrace_shm import Arena
from tests.unit.worker_world import World

KEY = bytes(range(32))


@pytest.mark.parametrize(("listen", "advertise"), [("127.0.0.1", ""), ("::1", ""), ("::1", "::1"), ("::1", "[::1]")])
def test_a_host_is_reached_at_the_address_that_it_gives_to_others(
    runner: asyncio.Runner, until: Callable[..., Awaitable[None]], listen: str, advertise: str
) -> None:
    if ":" in listen and not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    agents = World([[]], [0], {}, 2, 1, 1 << 20).agents

    async def main() -> None:
        with Arena.create(1 << 20) as arena:
            ours, theirs = (Links(agents[host], arena, KEY, lambda: None) for host in ("h0", "h1"))
            ours.act(Connect("h1", advertised(advertise, await theirs.listen(listen, 0))))
            await until(lambda: ours.open_links()["out"] or ours.traffic.unreachable)
            assert ours.open_links()["out"] == 1
            await ours.close()
            await theirs.close()

    runner.run(main())


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
