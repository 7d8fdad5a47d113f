"""Waiting for submissions that are not yet stored."""

from __future__ import annotations

import asyncio

from headrace.client.submissions import Submissions


def test_those_that_are_on_their_way_are_waited_for_and_no_later_ones() -> None:
    async def body() -> None:
        submissions = Submissions()
        submissions.begin_submission("first")
        submissions.begin_submission("second")
        waiting, for_one = asyncio.ensure_future(submissions.settled(60)), asyncio.ensure_future(submissions.settled(60, "second"))
        await asyncio.sleep(0)
        submissions.begin_submission("later")
        submissions.end_submission("second")
        submissions.end_submission("second")
        await asyncio.wait_for(for_one, 5)
        assert not waiting.done()
        submissions.end_submission("first")
        await asyncio.wait_for(waiting, 5)

    asyncio.run(body())


def test_nobody_waits_where_nothing_is_on_its_way_nor_longer_than_told() -> None:
    async def body() -> None:
        submissions = Submissions()
        await submissions.settled(60)
        submissions.begin_submission("job")
        await submissions.settled(60, "another")
        await submissions.settled(0.01)

    asyncio.run(body())
