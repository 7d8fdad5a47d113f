"""The wait of a new term for hosts that lost their lease together with the controller.

While NATS stands still, the leases of all services and hosts run out. Hosts that still hold their datasets join again within a second of
its return, one after the other. Whoever took those that are not back yet for lost would have their datasets made again on the first one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sized

LOOK_SECONDS = 0.02
"""Seconds between two looks."""


async def until_back(absent: Callable[[], Sized], seconds: float) -> None:
    """Wait until no host is absent, for `seconds` at most. absent: the hosts that are missing now."""
    deadline = asyncio.get_running_loop().time() + seconds
    while absent() and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(LOOK_SECONDS)
