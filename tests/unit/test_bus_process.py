"""A service that gets SIGTERM ends, whatever it is waiting for."""

from __future__ import annotations

import asyncio

import pytest

from headrace.bus import process


async def cancelled_as_the_result_comes() -> bool:
    """Whether a cancellation gets through that comes in the same turn of the loop as what a task waits for."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str] = loop.create_future()
    waiting = asyncio.ensure_future(asyncio.wait_for(answer, 60))
    await asyncio.sleep(0)
    answer.set_result("it came")
    waiting.cancel()
    await asyncio.wait([waiting])
    return waiting.cancelled()


def test_no_cancellation_is_lost_in_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio, "wait_for", asyncio.wait_for)  # put back afterwards
    process.keep_cancellations()
    assert asyncio.run(cancelled_as_the_result_comes())


async def outcomes() -> list[object]:
    pending: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def fails() -> None:
        raise OSError("no")

    waits = [process.wait_for(asyncio.sleep(0, "soon"), 60), process.wait_for(asyncio.sleep(0, "ever"), None)]
    late, failed = process.wait_for(pending, 0.001), process.wait_for(fails(), 60)
    found: list[object] = await asyncio.gather(*waits, late, failed, return_exceptions=True)
    return [*(type(each) if isinstance(each, Exception) else each for each in found), pending.cancelled()]


def test_wait_for_returns_raises_and_gives_up() -> None:
    assert asyncio.run(outcomes()) == ["soon", "ever", TimeoutError, OSError, True]
