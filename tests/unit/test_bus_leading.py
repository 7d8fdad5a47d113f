"""A leader catches up with the log, follows it, and ends its term on errors and on the loss of its lease."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from headrace.bus import Ends, Entry, Leader, MemoryBus, Role, ensure_data_key
from headrace.errors import LogRewound, PublishRefused
from headrace_schemas import LedgerSnapshot, Purge, subjects
from headrace_schemas.streams import DATA_KEY, LEASES, SECRETS

LEASE = "counter"
OWN = subjects.purge("own", "host")
OTHERS = subjects.purge("others", "host")
TURNS = 50
"""Turns of the loop in which one that may lead has long begun to."""
ROLE = Role(LEASE, [OTHERS], [OWN], lease_ttl=5.0, retry_delay=0.01, writes="a test's message", rest=0.02)


class Counter:
    """Remembers what it folded."""

    def __init__(self, term: int) -> None:
        self.term = term
        self.folded: list[str] = []
        self.last_seq = 0

    def fold(self, entries: list[Entry]) -> None:
        self.folded += [entry.subject for entry in entries]
        self.last_seq = entries[-1].seq

    def status(self) -> dict[str, object]:
        return {"term": self.term}

    def snapshot(self, service: str) -> LedgerSnapshot | None:
        return None

    def recognise(self, forgotten: Iterable[str]) -> None:
        raise AssertionError("there is no snapshot")


class Counting:
    """A leader of counters, and what became of it. end: what ends the present term.

    left: the counters that lead no more. led: the one that still did, by then, when it was left.
    """

    def __init__(self, bus: MemoryBus, role: Role = ROLE) -> None:
        self.made: list[Counter] = []
        self.decided: list[Counter] = []
        self.left: list[Counter] = []
        self.led: Counter | None = None
        self.changed = asyncio.Event()
        self.end: asyncio.Future[None]
        self.leader = Leader(bus, role, self._begin, self._attend, self._on_entries)

    def _begin(self, term: int) -> Counter:
        self.made.append(Counter(term))
        return self.made[-1]

    @asynccontextmanager
    async def _attend(self, counter: Counter) -> AsyncIterator[Ends]:
        assert self.leader.machine is counter
        self.end = asyncio.get_running_loop().create_future()
        self.decided.append(counter)
        self.changed.set()
        try:
            yield (self.end,)
        finally:
            self.left.append(counter)
            self.led = self.leader.machine
            self.changed.set()

    def _on_entries(self, counter: Counter, entries: list[Entry]) -> None:
        counter.fold(entries)
        self.changed.set()

    async def until(self, true: Callable[[], bool]) -> None:
        while not true():
            await self.changed.wait()
            self.changed.clear()


def _say(bus: MemoryBus, subject: str) -> None:
    bus.publish(subject, Purge(at=0, term=0, job=subject.split(".")[2], host="host", epoch=0, datasets=[]))


async def _turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


def _run(body: Callable[[MemoryBus, Counting], Coroutine[Any, Any, None]], role: Role = ROLE, error: str = "") -> None:
    """error: what the leader is to have raised by the end."""

    async def main() -> None:
        async with MemoryBus() as bus:
            _say(bus, OTHERS)
            _say(bus, OWN)
            counting = Counting(bus, role)
            running = asyncio.create_task(counting.leader.run())
            try:
                await body(bus, counting)
            finally:
                running.cancel()
                (ended,) = await asyncio.gather(running, return_exceptions=True)
            assert str(ended) == error
            assert counting.left == counting.decided
            assert counting.leader.machine is None
            assert bus.pace.rest == 0
            assert await bus.kv(LEASES.name).get(LEASE) is None

    asyncio.run(asyncio.wait_for(main(), 10))


def test_what_leaders_wrote_is_folded_to_catch_up_and_not_sent_back_while_one_leads() -> None:
    async def body(bus: MemoryBus, counting: Counting) -> None:
        of_process = {"metrics": "", "snapshot": 0, "unreadable": {}, "unstored": 0.0}
        assert json.loads(await counting.leader.status(b"")) == {"leading": False, **of_process}
        await counting.until(lambda: bool(counting.decided))
        (counter,) = counting.made
        assert counting.leader.machine is counter
        assert bus.pace.rest == ROLE.rest
        assert counter.folded == [OTHERS, OWN]
        assert json.loads(await counting.leader.status(b"")) == {"leading": True, **of_process, "term": counter.term}
        _say(bus, OWN)
        _say(bus, OTHERS)
        await counting.until(lambda: len(counter.folded) > 2)
        assert counter.folded == [OTHERS, OWN, OTHERS]
        assert counter.last_seq == 4

    _run(body)


def test_after_a_refusal_another_machine_folds_the_log_from_its_beginning_in_a_later_term() -> None:
    async def body(bus: MemoryBus, counting: Counting) -> None:
        await counting.until(lambda: bool(counting.decided))
        _say(bus, OWN)
        counting.leader.fail(PublishRefused("the log is full"))
        counting.leader.fail(ValueError("only the first error counts"))
        await counting.until(lambda: len(counting.decided) > 1)
        first, second = counting.made
        assert second.folded == [OTHERS, OWN, OWN]
        assert second.term > first.term
        assert counting.leader.machine is second

    _run(body)


def test_a_refusal_ends_the_service_whose_role_has_no_delay() -> None:
    async def body(_bus: MemoryBus, counting: Counting) -> None:
        await counting.until(lambda: bool(counting.decided))
        counting.leader.fail(PublishRefused("the log is full"))
        await counting.until(lambda: bool(counting.left))
        await _turns()

    _run(body, ROLE._replace(retry_delay=None), "the log is full")


def test_what_is_attended_to_ends_the_term_and_with_an_error_the_service() -> None:
    async def body(bus: MemoryBus, counting: Counting) -> None:
        await counting.until(lambda: bool(counting.decided))
        _say(bus, OWN)
        counting.end.set_result(None)
        await counting.until(lambda: len(counting.decided) > 1)
        assert counting.left == [counting.led] == counting.made[:1]
        assert counting.made[1].folded == [OTHERS, OWN, OWN]
        counting.end.set_exception(ValueError("it failed"))
        await counting.until(lambda: len(counting.left) > 1)
        await _turns()

    _run(body, error="it failed")


def test_who_loses_the_lease_leads_no_more_until_it_is_free_again() -> None:
    async def body(bus: MemoryBus, counting: Counting) -> None:
        await counting.until(lambda: bool(counting.decided))
        await bus.kv(LEASES.name).put(LEASE, b"another")
        await counting.until(lambda: bool(counting.left))
        assert counting.led is None
        _say(bus, OTHERS)
        await _turns()
        (first,) = counting.made
        assert first.folded == [OTHERS, OWN]
        await bus.kv(LEASES.name).delete(LEASE)
        await counting.until(lambda: len(counting.decided) > 1)
        assert counting.made[1].folded == [OTHERS, OWN, OTHERS]

    _run(body, ROLE._replace(lease_ttl=1.0))


def test_who_stands_by_makes_no_machine_until_the_lease_is_free() -> None:
    async def main() -> None:
        async with MemoryBus() as bus:
            other = bus.lease(LEASE, "other", ROLE.lease_ttl)
            await other.acquire()
            counting = Counting(bus)
            running = asyncio.create_task(counting.leader.run())
            await _turns()
            assert not counting.made
            await other.release()
            await counting.until(lambda: bool(counting.decided))
            assert counting.made[0].term > other.term
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(asyncio.wait_for(main(), 10))


def test_everybody_gets_the_one_secret_of_the_data_plane() -> None:
    async def main() -> None:
        async with MemoryBus() as bus:
            made = await ensure_data_key(bus)
            assert await ensure_data_key(bus) == made
            entry = await bus.kv(SECRETS.name).get(DATA_KEY)
            assert entry is not None
            assert entry.value == made.hex().encode()

    asyncio.run(asyncio.wait_for(main(), 10))


def test_a_key_of_the_data_plane_that_cannot_be_read_is_replaced() -> None:
    async def body(bus: MemoryBus, _: Counting) -> None:
        bucket = bus.kv(SECRETS.name)
        for broken in (b"", b"\xff", b"no digits", b"00"):
            await bucket.put(DATA_KEY, broken)
            made = await ensure_data_key(bus)
            assert len(made) == 32
            assert await ensure_data_key(bus) == made

    _run(body)


def test_a_log_that_was_rewound_is_folded_anew_under_another_term() -> None:
    async def body(bus: MemoryBus, counting: Counting) -> None:
        await counting.until(lambda: bool(counting.decided))
        counting.leader.fail(LogRewound("its last message is 1, but this process knows of 2"))
        await counting.until(lambda: len(counting.decided) == 2)
        first, second = counting.made
        assert second.term > first.term

    _run(body)


FENCED = ROLE._replace(lease="scheduler", followed=[OTHERS, subjects.ALL_TERMS], fences=True)
BEGAN = subjects.term("scheduler")


def test_a_leader_that_is_fenced_off_folds_the_beginning_of_its_term_before_it_leads() -> None:
    async def main() -> None:
        async with MemoryBus() as bus:
            _say(bus, OTHERS)
            _say(bus, OWN)
            counting = Counting(bus, FENCED)
            running = asyncio.create_task(counting.leader.run())
            await counting.until(lambda: bool(counting.decided))
            (counter,) = counting.decided
            assert counter.folded == [OTHERS, OWN, BEGAN]
            counting.leader.fail(LogRewound("its last message is 1, but this process knows of 2"))
            await counting.until(lambda: len(counting.decided) == 2)
            assert counting.made[1].folded == [OTHERS, OWN, BEGAN, BEGAN]
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(asyncio.wait_for(main(), 10))


@pytest.mark.parametrize("error", [None, PublishRefused("the log is full")])
def test_a_leader_whose_beginning_is_refused_or_given_up_begins_another_term(
    error: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """error: None if the bus gives the message up, because the log went back."""
    store, terms = MemoryBus._store, []

    def first_not(self: MemoryBus, subject: str, headers: str, data: bytes) -> asyncio.Future[int]:
        if subject == BEGAN:
            terms.append(subject)
            if len(terms) == 1:
                stored: asyncio.Future[int] = asyncio.get_running_loop().create_future()
                if error is None:
                    stored.cancel()
                else:
                    stored.set_exception(error)
                return stored
        return store(self, subject, headers, data)

    monkeypatch.setattr(MemoryBus, "_store", first_not)

    async def main() -> None:
        async with MemoryBus() as bus:
            counting = Counting(bus, FENCED)
            running = asyncio.create_task(counting.leader.run())
            await counting.until(lambda: bool(counting.decided))
            assert len(counting.made) == 2
            assert counting.decided == counting.made[1:]
            assert counting.decided[0].folded == [BEGAN]
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(asyncio.wait_for(main(), 10))


def test_a_leader_that_loses_the_lease_before_its_beginning_is_stored_leads_never(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryBus._store
    asked = asyncio.Event()

    def never(self: MemoryBus, subject: str, headers: str, data: bytes) -> asyncio.Future[int]:
        if subject == BEGAN:
            asked.set()
            return asyncio.get_running_loop().create_future()
        return store(self, subject, headers, data)

    monkeypatch.setattr(MemoryBus, "_store", never)

    async def main() -> None:
        async with MemoryBus() as bus:
            counting = Counting(bus, FENCED._replace(lease_ttl=1.0))
            running = asyncio.create_task(counting.leader.run())
            await asked.wait()
            await bus.kv(LEASES.name).put("scheduler", b"another")
            asked.clear()
            await bus.kv(LEASES.name).delete("scheduler")
            await asked.wait()
            assert len(counting.made) == 2
            assert not counting.decided
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(asyncio.wait_for(main(), 10))
