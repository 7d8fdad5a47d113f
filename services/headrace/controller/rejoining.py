"""The wait of a new term for hosts that lost their lease together with the controller.

While NATS stands still, the leases of all services and hosts run out. Hosts that still hold their datasets join again within a second of
its return, one after the other. Whoever took those that are not back yet for lost would have their datasets made again on the first one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sized

BACK_SECONDS = 2.0
"""Seconds that a new term waits for hosts that are alive according to the log, and have no lease. A host takes 0.1 s to join again, and
about 1 s on a busy machine; hosts that did die meanwhile are known to be lost this much later."""
LOOK_SECONDS = 0.02
"""Seconds between two looks."""


async def until_back(absent: Callable[[], Sized], seconds: float = BACK_SECONDS) -> None:
    """Wait until no host is absent, for `seconds` at most. absent: the hosts that are missing now."""
    deadline = asyncio.get_running_loop().time() + seconds
    while absent() and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(LOOK_SECONDS)
