"""The publisher and real files: each output is committed and announced once, wherever the publisher is killed."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import headrace as hr
from headrace.bus import Bus, BusSettings, EmbeddedServer, run_service
from headrace.publisher.commits import Action, Commit
from headrace.publisher.committing import Committer
from headrace.publisher.service import PublisherService
from headrace.publisher.settings import Settings
from headrace.sinks.places import Named, Writer
from headrace.sinks.writing import OpenSink
from headrace_schemas import (
    Ended,
    Events,
    GraphSource,
    HostJoined,
    Needed,
    NotCommitted,
    Output,
    Published,
    SinkSpec,
    Submitted,
    Written,
    decoder,
    subjects,
)
from headrace_schemas.log_message import LogMessage
from tests.scheduler_graphs import flat
from tests.waiting import eventually, wait_for

QUICK = Settings(lease_seconds=1.0, retry_seconds=0.05, commit_tries=2, commit_delay_seconds=0.01)
WAIT = 60.0
N = 20


class DiesBefore(Committer):
    """Is killed when it is to commit the third."""

    count = 0
    after = False

    def carry_out(self, action: Action) -> None:
        if isinstance(action, Commit):
            self.count += 1
        if self.after:
            super().carry_out(action)
        if self.count >= 3:
            os.kill(os.getpid(), signal.SIGKILL)
        if not self.after:
            super().carry_out(action)


class DiesAfter(DiesBefore):
    """Is killed when it has given the third file its name, and has announced none."""

    after = True


def serve(settings: BusSettings, committer: type[Committer]) -> None:
    async def main() -> None:
        async with await Bus.connect(settings, "publisher") as bus:
            await PublisherService(QUICK, bus, committer).run()

    run_service(main)


class Announced:
    """What stands in the log about outputs in sinks."""

    def __init__(self) -> None:
        self.outputs: list[Output] = []
        self.failed: list[NotCommitted] = []
        self._decode = decoder(LogMessage).decode

    async def open(self, bus: Bus) -> None:
        await bus.follow("OUTPUTS", subjects.ALL_OUTPUTS, self._on_records)

    def _on_records(self, records: list[Any]) -> None:
        for record in records:
            message = self._decode(record.data)
            assert isinstance(message, Published)
            assert record.subject == subjects.committed("j")
            self.outputs += message.outputs
            self.failed += message.failed


def write(folder: Path, dataset: int, attempt: int = 0) -> Written:
    """As a host does; but the names in the message are lies, for nobody is to believe them."""
    sink = OpenSink(SinkSpec(path=str(folder)))
    written = sink.write(np.full(5, dataset), Named("j", "drawn", f"plain-{dataset}", {}), Writer("j", dataset, attempt, "a", "1"))
    return msgspec.structs.replace(written, part=str(folder.parent / "part"), location=str(folder.parent / "precious"))


def part_of(folder: Path, dataset: int) -> Path:
    """What a host wrote of an output."""
    (part,) = folder.glob(f".plain-{dataset}.npy.*.part")
    return part


async def begin(bus: Bus, folder: Path) -> None:
    await bus.publish(subjects.host("a"), HostJoined(at=0, term=1, host="a", epoch=1, address="a:1", runners=1, capacity=1))
    graph = GraphSource(inline=flat(N), sink=SinkSpec(path=str(folder)))
    await bus.publish(subjects.submitted("j"), Submitted(job="j", name="n", n_tasks=N, graph=graph))


async def report(bus: Bus, *written: Written) -> None:
    await bus.publish(subjects.event("j", "a"), Events(job="j", host="a", epoch=1, written=list(written)))


@pytest.mark.parametrize("committer", [DiesBefore, DiesAfter])
def test_each_output_is_announced_once_with_the_right_bytes_though_a_publisher_is_killed(
    bus: Bus, nats_server: EmbeddedServer, runner: asyncio.Runner, until: Callable[..., Any], tmp_path: Path, committer: type[Committer]
) -> None:
    processes = multiprocessing.get_context("spawn")

    folder = tmp_path / "out"

    async def scene() -> None:
        announced = Announced()
        await announced.open(bus)
        await begin(bus, folder)
        await report(bus, *(write(folder, dataset) for dataset in range(N)))
        first = processes.Process(target=serve, args=(nats_server.settings, committer), daemon=True)
        first.start()
        await asyncio.to_thread(first.join)
        assert first.exitcode == -signal.SIGKILL
        before = len(list(folder.glob("plain-*.npy")))
        assert len(announced.outputs) < N
        assert before < N
        second = processes.Process(target=serve, args=(nats_server.settings, Committer), daemon=True)
        second.start()
        try:
            await until(lambda: len(announced.outputs) >= N)
        finally:
            os.kill(second.pid or 0, signal.SIGKILL)
            second.join()
        assert sorted(output.dataset for output in announced.outputs) == list(range(N))
        assert announced.failed == []
        assert sorted(path.name for path in folder.iterdir()) == sorted(f"plain-{dataset}.npy" for dataset in range(N))
        for output in announced.outputs:
            assert np.load(output.location).tolist() == [output.dataset] * 5

    runner.run(asyncio.wait_for(scene(), 60))


def test_what_is_not_there_is_said_and_the_next_attempt_is_committed(
    bus: Bus, runner: asyncio.Runner, until: Callable[..., Any], tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "part").write_text("mine too")

    async def scene() -> None:
        announced = Announced()
        await announced.open(bus)
        await begin(bus, folder)
        service = asyncio.ensure_future(PublisherService(QUICK, bus).run())
        lost = write(folder, 0)
        part_of(folder, 0).unlink()
        await report(bus, lost)
        await until(lambda: announced.failed)
        assert (announced.failed[0].dataset, announced.failed[0].attempt) == (0, 0)
        assert "no file" in announced.failed[0].error
        for attempt in (1, 2):
            await bus.publish(subjects.needed("j"), Needed(at=1, term=1, job="j", tasks=[0], attempts=[attempt]))
        again, late = write(folder, 0, attempt=1), write(folder, 0, attempt=2)
        await report(bus, again, late)
        await until(lambda: announced.outputs)
        assert announced.outputs[0].checksum == again.checksum
        await until(lambda: [path.name for path in folder.iterdir()] == ["plain-0.npy"])
        await bus.publish(subjects.state("j"), Ended(at=1, term=1, job="j", state="failed"))
        await report(bus, write(folder, 1))
        await until(lambda: [path.name for path in folder.iterdir()] == ["plain-0.npy"])
        assert [precious.read_text() for precious in (folder.parent / "precious", folder.parent / "part")] == ["mine", "mine too"]
        service.cancel()
        await asyncio.gather(service, return_exceptions=True)

    runner.run(asyncio.wait_for(scene(), 60))


def ones(n: int) -> np.ndarray:
    return np.full(1000, n)


def test_what_a_lost_host_has_written_is_kept(tmp_path: Path) -> None:
    """Its outputs are in the sink, and are not made again; what it had not done, another host does."""
    with hr.Cluster.local(hosts=2) as cluster:
        g = hr.Graph()
        for n in range(10):
            g.add(ones, n, name=f"n{n}")
        gates = [g.add(wait_for, str(tmp_path / "gate"), name=f"gate{k}") for k in range(2)]
        assert gates
        job = cluster.submit(g, sink=tmp_path / "out")
        for n in range(10):
            job.result(f"n{n}", WAIT)
        times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("n*")}
        os.kill(cluster.pids()["host-1"], signal.SIGKILL)
        eventually(lambda: cluster.hosts == ["host-0"])
        (tmp_path / "gate").touch()
        results = job.results(WAIT)
        assert all((results[f"n{n}"] == n).all() for n in range(10))
        assert times == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("n*")}
        assert len(times) == 10
        assert len(job.outputs()) == 12
