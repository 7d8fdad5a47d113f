"""Delayed actions run together, in order, and at the latest when a caller flushes them."""

from __future__ import annotations

import asyncio
from functools import partial

from headrace.bus.later import AT_ONCE, Later, portion

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


def test_many_are_done_in_portions_in_their_order_and_flushed_at_once() -> None:
    async def main() -> None:
        later, done, some = Later(SECONDS), list[int](), asyncio.Event()

        def note(number: int) -> None:
            done.append(number)
            if number == AT_ONCE - 1:
                some.set()

        later.do(*(partial(note, number) for number in range(3 * AT_ONCE)))
        await some.wait()
        assert done == list(range(AT_ONCE))
        later.flush()
        assert done == list(range(3 * AT_ONCE))

    asyncio.run(main())


def test_what_waits_never_grows_without_end() -> None:
    waiting = 0
    for _ in range(1_000):
        waiting += 100
        waiting -= portion(waiting)
    assert waiting < 400
