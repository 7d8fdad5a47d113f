"""A new term waits a while for hosts whose leases ran out together with the controller's."""

from __future__ import annotations

import asyncio

from headrace.controller.rejoining import until_back


def test_hosts_that_come_back_one_by_one_are_waited_for() -> None:
    absent = [["a", "b"], ["b"], []]
    asyncio.run(until_back(lambda: absent.pop(0), seconds=60.0))
    assert absent == []


def test_a_host_that_stays_away_is_not_waited_for_longer() -> None:
    looks: list[int] = []
    asyncio.run(until_back(lambda: looks.append(1) or ["a"], seconds=0.0))
    assert looks == [1]
