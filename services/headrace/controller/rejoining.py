"""The wait of a new leader for hosts that lost their lease at the same time as the old one.

While NATS stands still, the leases of all services and hosts run out. When it is back, hosts that still hold their datasets rejoin within a
second, one after the other. A controller that did not wait would have the datasets of the slower hosts computed again on the first one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sized

LOOK_SECONDS = 0.02
"""Seconds between two checks."""


async def until_back(absent: Callable[[], Sized], seconds: float) -> None:
    """Wait until no host is absent, for at most `seconds`. absent: returns the hosts that are missing at present."""
    deadline = asyncio.get_running_loop().time() + seconds
    while absent() and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(LOOK_SECONDS)
