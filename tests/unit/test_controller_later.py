"""What can wait is done together, in order, and at the latest when somebody cannot wait."""

from __future__ import annotations

import asyncio

from headrace.controller.later import Later

SECONDS = 0.01


def test_things_are_done_together_in_their_order() -> None:
    async def scene() -> None:
        later, done, both = Later(SECONDS), list[int](), asyncio.Event()
        later.do(lambda: done.append(1))
        later.do(lambda: done.append(2), both.set)
        await asyncio.sleep(0)
        assert done == []
        await asyncio.wait_for(both.wait(), 5)
        assert done == [1, 2]

    asyncio.run(scene())


def test_a_flush_does_what_waits_once() -> None:
    async def scene() -> None:
        later, done, over = Later(SECONDS), list[int](), asyncio.Event()
        later.do(lambda: done.append(1))
        later.flush()
        assert done == [1]
        later.do()
        later.do(over.set)
        await asyncio.wait_for(over.wait(), 5)
        assert done == [1]

    asyncio.run(scene())
