"""How long a host that others cannot reach stays out, and whom it tries to reach."""

from __future__ import annotations

import asyncio

from headrace.worker.exile import Exile, addresses_of, until_reached
from headrace.worker.settings import Settings
from headrace_schemas import HostEntry, encode

SETTINGS = Settings(host="h", exile_look_seconds=0.0)


def entry(host: str, address: str) -> bytes:
    return encode(HostEntry(host=host, epoch=1, address=address, runners=1, capacity=1, pid=1))


def waited(exile: Exile, now: float) -> float:
    """How long a host waits that is lost now, before it looks for its peers; to a second."""
    exile.lost(now)
    return next(seconds for seconds in range(1000) if exile.may_look(now + seconds))


def test_it_looks_at_once_but_waits_longer_each_time_that_it_is_lost_soon_after_it_joined() -> None:
    exile, now, found = Exile(SETTINGS), 1000.0, []
    for _ in range(8):
        found.append(waited(exile, now))
        now += 1000
        exile.joined(now)
        now += SETTINGS.exile_soon_seconds - 1
    assert found == [
        0,
        SETTINGS.exile_seconds,
        2 * SETTINGS.exile_seconds,
        40,
        80,
        160,
        SETTINGS.longest_exile_seconds,
        SETTINGS.longest_exile_seconds,
    ]


def test_who_was_well_for_a_while_begins_anew() -> None:
    exile = Exile(SETTINGS)
    exile.joined(10.0)
    assert waited(exile, 20.0) == SETTINGS.exile_seconds
    exile.joined(100.0)
    assert not exile.out
    assert waited(exile, 100.0 + SETTINGS.exile_soon_seconds) == 0
    assert exile.out


def test_its_peers_are_all_others_that_are_registered() -> None:
    values = [entry("a", "10.0.0.1:1"), entry("b", "10.0.0.2:2"), b"nonsense", entry("c", "[::1]:3")]
    assert addresses_of("a", values) == [("10.0.0.2", 2), ("::1", 3)]


def looks(answers: list[bool], peers: int) -> int:
    """How often a host looks for its peers, of which one answers so, one look after the other."""
    count = 0

    async def registered() -> list[tuple[str, int]]:
        nonlocal count
        count += 1
        return [("10.0.0.9", port) for port in range(peers)]

    async def reach(address: tuple[str, int], seconds: float) -> bool:
        return address[1] == 1 and answers[count - 1]

    async def run() -> None:
        exile = Exile(SETTINGS)
        exile.lost(asyncio.get_running_loop().time())
        await until_reached(exile, registered, reach)

    asyncio.run(run())
    return count


def test_one_that_answers_is_enough_and_none_are_needed_where_there_are_none() -> None:
    assert looks([False, False, True], peers=3) == 3
    assert looks([], peers=0) == 1


def test_who_was_not_lost_does_not_look() -> None:
    async def registered() -> list[tuple[str, int]]:
        raise AssertionError

    asyncio.run(until_reached(Exile(SETTINGS), registered))
