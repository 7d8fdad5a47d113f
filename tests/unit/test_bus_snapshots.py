"""A leader that starts from a snapshot reads the selected messages and everything after it, or the whole log if the snapshot is
unusable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from headrace.bus import Ends, Entry, Leader, MemoryBus, Role
from headrace.bus import snapshots as snapshots_of
from headrace_schemas import SCHEMA_VERSION, SNAPSHOT_LAYOUT, HostJoined, LedgerSnapshot, Purge, Turn, decoder, encode, subjects
from headrace_schemas.streams import LOG, SNAPSHOTS

LEASE = "counter"
ROLE = Role(LEASE, ["headrace.purge.*.host", subjects.ALL_HOSTS], [], lease_ttl=5.0, retry_delay=0.01, writes="a test's message")
JOBS = ["old", "kept", "old", "kept", "old", "old"]
"""Whose message each of the first entries is."""
JOINED = HostJoined(at=0, term=0, host="host", epoch=3, address="", runners=1, capacity=1)


@pytest.fixture(autouse=True)
def often() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshots_of, "EVERY", 4)
        patch.setattr(snapshots_of, "REST_SECONDS", 0.0)
        yield


class Machine:
    """Remembers what it folded."""

    def __init__(self, term: int) -> None:
        self.entries: list[Entry] = []
        self.forgotten: list[str] = []
        self.made: list[LedgerSnapshot] = []

    @property
    def last_seq(self) -> int:
        return self.entries[-1].seq if self.entries else 0

    @property
    def folded(self) -> list[tuple[int, str]]:
        return [(entry.seq, getattr(entry.message, "job", "host")) for entry in self.entries]

    def fold(self, entries: list[Entry]) -> None:
        self.entries += entries

    def status(self) -> dict[str, object]:
        return {}

    def snapshot(self, service: str) -> LedgerSnapshot | None:
        last = self.entries[-1]
        self.made.append(LedgerSnapshot(service=service, schema=SCHEMA_VERSION, layout=SNAPSHOT_LAYOUT, seq=last.seq, time=last.time))
        return self.made[-1]

    def recognise(self, forgotten: Iterable[str]) -> None:
        self.forgotten += forgotten


def say(bus: MemoryBus, job: str) -> None:
    bus.publish(subjects.purge(job, "host"), Purge(at=0, term=0, job=job, host="host", epoch=0, datasets=[]))


async def snapshot_at(bus: MemoryBus, seq: int) -> LedgerSnapshot:
    record = await bus.at(LOG.name, seq)
    assert record is not None
    return LedgerSnapshot(
        service=LEASE, schema=SCHEMA_VERSION, layout=SNAPSHOT_LAYOUT, seq=seq, time=record.time, jobs=["kept"], first=[2, 4], last=[2, 4],
        turns=[Turn(seq=1, time=1.0, message=JOINED), Turn(seq=3, time=3.0, message=JOINED)], over=["old"],
    )  # fmt: skip


async def led(bus: MemoryBus, wanted: int) -> Machine:
    """What a leader has folded once it has read so many entries."""
    made: list[Machine] = []

    def begin(term: int) -> Machine:
        made.append(Machine(term))
        return made[-1]

    @asynccontextmanager
    async def attend(machine: Machine) -> AsyncIterator[Ends]:
        yield ()

    leader = Leader(bus, ROLE, begin, attend, Machine.fold)
    running = asyncio.create_task(leader.run())
    try:
        async with asyncio.timeout(10):
            while leader.machine is None:
                await asyncio.sleep(0)
            say(bus, "new")
            while len(made[0].entries) < wanted or made[0].folded[-1][1] != "new":
                await asyncio.sleep(0)
            await asyncio.sleep(0)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return made[0]


async def a_log() -> MemoryBus:
    bus = MemoryBus()
    for job in JOBS:
        say(bus, job)
    return bus


def test_it_reads_what_the_snapshot_selects_and_what_follows() -> None:
    async def main() -> None:
        bus = await a_log()
        await bus.kv(SNAPSHOTS.name).put(LEASE, encode(await snapshot_at(bus, 5)))
        machine = await led(bus, 5)
        assert machine.folded == [(1, "host"), (2, "kept"), (3, "host"), (4, "kept"), (5, "old"), (6, "old"), (7, "new")]
        assert machine.forgotten == ["old"]

    asyncio.run(main())


@pytest.mark.parametrize(
    "fault", ["none", "unreadable", "newer", "older schema", "older layout", "another time", "beyond the end", "purged"]
)
def test_without_a_snapshot_that_can_be_used_it_reads_all(fault: str) -> None:
    async def main() -> None:
        bus = await a_log()
        good = await snapshot_at(bus, 5)
        values = {
            "unreadable": b"{",
            "older schema": encode(msgspec.structs.replace(good, schema=SCHEMA_VERSION - 1)),
            "newer": encode(msgspec.structs.replace(good, v=SCHEMA_VERSION + 1)),
            "older layout": encode(msgspec.structs.replace(good, layout=SNAPSHOT_LAYOUT - 1)),
            "another time": encode(msgspec.structs.replace(good, time=1.0)),
            "beyond the end": encode(msgspec.structs.replace(good, seq=50)),
            "purged": encode(msgspec.structs.replace(good, seq=2, time=0.0)),
        }
        if fault in values:
            await bus.kv(SNAPSHOTS.name).put(LEASE, values[fault])
        machine = await led(bus, 7)
        assert machine.folded == [*enumerate(JOBS, 1), (7, "new")]
        assert machine.forgotten == []

    asyncio.run(main())


def test_it_stores_a_snapshot_now_and_then() -> None:
    async def main() -> None:
        bus = await a_log()
        machine = await led(bus, 7)
        found = await bus.kv(SNAPSHOTS.name).get(LEASE)
        assert found is not None
        assert decoder(LedgerSnapshot).decode(found.value) == machine.made[0]
        assert [snapshot.seq for snapshot in machine.made] == [6]

    asyncio.run(main())


def test_of_many_jobs_that_were_not_forgotten_yet_it_stores_another_snapshot_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots_of, "MANY_JOBS", 1)
    monkeypatch.setattr(snapshots_of, "REST_SECONDS", 0.0)
    made: list[int] = []

    async def main() -> None:
        bus = await a_log()
        good = await snapshot_at(bus, 5)
        snapshots = snapshots_of.Snapshots(bus, LEASE)

        def take() -> LedgerSnapshot:
            made.append(2 - len(made))
            return msgspec.structs.replace(good, jobs=[f"j{number}" for number in range(made[-1])])

        snapshots.folded(5, take)
        async with asyncio.timeout(10):
            while snapshots._writing is not None:
                await asyncio.sleep(0)

    asyncio.run(main())
    assert made == [2, 1]


# --- snapshots in several parts ---------------------------------------------------------------------------------------------


async def many_jobs(bus: MemoryBus) -> tuple[LedgerSnapshot, snapshots_of.Snapshots]:
    """A snapshot that is stored in several parts, and the snapshots of which it is the last one."""
    good = await snapshot_at(bus, 5)
    large = msgspec.structs.replace(good, jobs=[*good.jobs, *(f"j{number}" for number in range(1_000))])
    snapshots = snapshots_of.Snapshots(bus, LEASE)
    await snapshots._store(large)
    return large, snapshots


@pytest.fixture
def small_messages() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshots_of, "MAX_MESSAGE_BYTES", 4_000)
        yield


@pytest.mark.usefixtures("small_messages")
def test_a_snapshot_of_many_jobs_is_stored_in_parts_and_used() -> None:
    async def main() -> None:
        bus = await a_log()
        large, _ = await many_jobs(bus)
        assert len(await bus.kv(SNAPSHOTS.name).keys()) > 2
        assert await snapshots_of.Snapshots(bus, LEASE).load() == large
        assert (await led(bus, 5)).forgotten == ["old"]

    asyncio.run(main())


@pytest.mark.usefixtures("small_messages")
@pytest.mark.parametrize("fault", ["missing", "of another snapshot", "unreadable"])
def test_a_snapshot_that_lacks_a_part_is_not_used(fault: str) -> None:
    async def main() -> None:
        bus = await a_log()
        await many_jobs(bus)
        bucket, name = bus.kv(SNAPSHOTS.name), f"{LEASE}-1"
        part = await bucket.get(name)
        assert part is not None
        if fault == "missing":
            await bucket.delete(name)
        else:
            await bucket.put(name, part.value if fault == "of another snapshot" else b"{")
        assert await snapshots_of.Snapshots(bus, LEASE).load() is None
        assert (await led(bus, 7)).folded == [*enumerate(JOBS, 1), (7, "new")]

    asyncio.run(main())


@pytest.mark.usefixtures("small_messages")
def test_a_snapshot_that_would_fill_the_bucket_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots_of, "MOST_BYTES", 6_000)

    async def main() -> None:
        bus = await a_log()
        _, snapshots = await many_jobs(bus)
        assert (snapshots.seq, await bus.kv(SNAPSHOTS.name).keys()) == (0, [])

    asyncio.run(main())
