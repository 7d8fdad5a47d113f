"""A real runner process, forked by a real fork server, driven frame by frame as an agent would."""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import headrace as hr
from headrace.graph.freezing import freeze
from headrace.runner import protocol
from headrace.runner.protocol import NEVER, NO_ROOM_YET
from headrace.runner.status import StatusPage
from headrace.values import decode, encode
from headrace.worker.zygote import Exited, Forked, Zygote, start_zygote
from headrace_schemas import SinkSpec
from headrace_shm import Arena
from tests.waiting import eventually, wait_for

MiB = 1 << 20
PATIENCE = 20.0


class Host:
    """The agent's side of one runner."""

    def __init__(self) -> None:
        self.arena = Arena.create(64 * MiB)
        self.status = StatusPage(1)
        self.zygote: Zygote = start_zygote(self.arena, self.status)
        self.results: list[protocol.Results] = []
        self.released: list[tuple[int, int]] = []
        self.closed: list[int] = []
        self.allocations: list[protocol.Allocate] = []
        self.on_allocate: Callable[[protocol.Allocate], None] = self._grant
        self.places: dict[int, tuple[int, int]] = {}
        """Offset and length in bytes of every block that was granted."""
        self.slabs: list[int] = []
        """Blocks among them that were granted for arrays."""
        self.room_for_slabs = True
        self.next_offset = 0
        self.next_block = 1
        self.fork()

    def fork(self) -> None:
        self.sock, theirs = socket.socketpair()
        self.frames = protocol.FrameBuffer()
        self.zygote.fork(0, theirs)
        theirs.close()
        self.pid = next(report.pid for report in self.reports() if isinstance(report, Forked))

    def close(self) -> None:
        self.sock.close()
        self.zygote.close()
        gc.collect()
        self.arena.close()

    def reports(self) -> list[Forked | Exited]:
        ready, _, _ = select.select([self.zygote.socket], [], [], PATIENCE)
        assert ready, "the fork server is silent"
        return self.zygote.read()

    def open(self, graph: hr.Graph, job: int = 1) -> None:
        self.send(protocol.OpenJob(job, freeze(graph)))

    def send(self, frame: protocol.Frame) -> None:
        self.sock.sendall(protocol.pack(frame))

    def run(self, segments: list[list[int]], leaves: list[list[int]], inputs: list[dict[int, protocol.Location]], job: int = 1) -> None:
        """One Run frame; segment and chain ids are the places in the lists."""
        self.send(
            protocol.Run(
                job,
                list(range(len(segments))),
                list(range(len(segments))),
                [len(s) for s in segments],
                [t for s in segments for t in s],
                [flag for row in leaves for flag in row],
                [],
                [len(row) for row in inputs],
                [d for row in inputs for d in row],
                [place for row in inputs for place in row.values()],
                first=1,
            )
        )

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "the runner does not answer"
            ready, _, _ = select.select([self.sock], [], [], 0.5)
            if ready:
                data = self.sock.recv(1 << 16)
                assert data, "the runner has gone"
                self.frames.feed(data)
                for frame in self.frames.to_agent():
                    self._take(frame)

    def _take(self, frame: protocol.ToAgent) -> None:
        if isinstance(frame, protocol.Results):
            self.results.append(frame)
        elif isinstance(frame, protocol.Released):
            self.released += zip(frame.blocks, frame.counts, strict=True)
        elif isinstance(frame, protocol.Closed):
            self.closed.append(frame.job)
        elif isinstance(frame, protocol.AllocateSlab):
            self._grant_slab(frame)
        else:
            self.allocations.append(frame)
            self.on_allocate(frame)

    def _grant(self, frame: protocol.Allocate) -> None:
        self.send(protocol.Grant(frame.job, frame.dataset, *self._place(frame.nbytes)))

    def _grant_slab(self, frame: protocol.AllocateSlab) -> None:
        if not self.room_for_slabs:
            self.send(protocol.GrantSlab(0, NEVER, 0))
            return
        block, offset = self._place(frame.nbytes)
        self.slabs.append(block)
        self.send(protocol.GrantSlab(block, offset, frame.nbytes))

    def _place(self, nbytes: int) -> tuple[int, int]:
        """A new block: its id and where it lies."""
        block, offset = self.next_block, self.next_offset
        self.next_block += 1
        self.next_offset += -(-nbytes // 4096) * 4096
        self.places[block] = offset, nbytes
        return block, offset

    def done(self) -> list[int]:
        return [segment for frame in self.results for segment in frame.segments]

    def values(self) -> dict[int, bytes | int]:
        return {d: v for frame in self.results for d, v in zip(frame.datasets, frame.values, strict=True)}

    def errors(self) -> list[object]:
        return [error for frame in self.results for error in frame.failed]


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


def test_a_chain_keeps_its_values_in_the_runner_and_sends_only_the_last(host: Host) -> None:
    graph = hr.Graph("chain")
    node = graph.add(lambda: 1)
    for _ in range(4):
        node = graph.add(lambda x: x + 1, node)
    host.open(graph)
    host.run([[0, 1, 2, 3, 4]], [[0, 0, 0, 0, 1]], [{}])
    host.until(lambda: host.done() == [0])
    assert {d: decode(v) for d, v in host.values().items()} == {4: 5}


def test_arrays_are_written_to_the_arena_and_read_from_there_without_a_copy(host: Host) -> None:
    graph = hr.Graph("large")
    kept: list[object] = []
    field = graph.add(lambda: np.arange(100_000, dtype=float))
    graph.add(lambda a: (kept.append(a), a.flags.writeable, a.flags.owndata, float(a.sum()))[1:], field)
    host.open(graph)
    host.run([[0]], [[1]], [{}])
    host.until(lambda: host.done() == [0])
    nbytes, block = host.allocations[0].nbytes, host.values()[0]
    array = decode(host.arena.readonly(0, nbytes, lambda: None))
    assert np.array_equal(array, np.arange(100_000))
    host.run([[1]], [[1]], [{0: (block, 0, nbytes)}])
    host.until(lambda: 1 in host.values())
    assert decode(host.values()[1]) == (False, False, float(np.arange(100_000).sum()))
    assert host.released == [], "the task keeps a view"


def test_of_outputs_that_are_one_array_type_and_shape_are_told(host: Host) -> None:
    def steps():
        yield hr.Output(np.zeros((2, 3), "f4"), step=0)
        yield np.zeros(5_000)

    graph = hr.Graph("arrays")
    small, number, inner = graph.add(np.zeros, 3), graph.add(lambda: 1.5), graph.add(np.ones, 4)
    graph.output(small, number, graph.add(steps, outputs=2))
    host.open(graph)
    host.run([[0], [1], [2], [3]], [[1], [1], [1], [1]], [{}, {}, {}, {}])
    host.until(lambda: sorted(host.done()) == [0, 1, 2, 3])
    assert inner.n_outputs == 1
    arrays = {d: (t, s) for frame in host.results for d, t, s in zip(frame.typed, frame.dtypes, frame.shapes, strict=True)}
    assert arrays == {0: ("float64", [3]), 3: ("float32", [2, 3]), 4: ("float64", [5_000])}


def test_a_view_is_released_once_the_task_that_took_it_is_through(host: Host) -> None:
    graph = hr.Graph("release")
    field = graph.add(lambda: np.ones(50_000))
    graph.add(np.sum, field)
    host.open(graph)
    host.run([[0]], [[1]], [{}])
    host.until(lambda: host.done() == [0])
    host.run([[1]], [[1]], [{0: (7, 0, host.allocations[0].nbytes)}])
    host.until(lambda: host.released == [(7, 1)])


def test_a_generator_waits_at_its_yield_and_lets_others_run(host: Host) -> None:
    def steps():
        for k in range(3):
            yield hr.Output(np.full(5_000, k), step=k)

    graph = hr.Graph("generator")
    graph.add(steps, outputs=3)
    graph.add(lambda: "meanwhile")
    host.open(graph)
    host.on_allocate = lambda frame: host.send(protocol.Grant(frame.job, frame.dataset, 0, NO_ROOM_YET))
    host.run([[0], [1]], [[1], [1]], [{}, {}])
    host.until(lambda: 1 in host.done())
    assert decode(host.values()[3]) == "meanwhile"
    assert [a.dataset for a in host.allocations] == [0]
    host.on_allocate = host._grant
    host._grant(host.allocations[0])
    host.until(lambda: 0 in host.done())
    assert sorted(host.values()) == [0, 1, 2, 3]
    metadata = {d: m for frame in host.results for d, m in zip(frame.metadata_ids, frame.metadata, strict=True)}
    assert metadata == {0: {"step": 0}, 1: {"step": 1}, 2: {"step": 2}}


@pytest.mark.parametrize(
    ("function", "outputs", "reason", "text"),
    [
        (lambda: 1 / 0, 1, "raised", "division by zero"),
        (lambda: (1, 2), 3, "bad_output", "returned 2 values"),
        (lambda: (_ for _ in range(2)), 1, "unpicklable", "generator"),
        (lambda: exit(3), 1, "raised", "SystemExit"),
    ],
)
def test_a_failure_is_reported_with_its_reason_and_the_runner_goes_on(host: Host, function, outputs, reason, text) -> None:
    graph = hr.Graph("failing")
    graph.add(function, name="culprit", outputs=outputs)
    graph.add(lambda: "fine")
    host.open(graph)
    host.run([[0], [1]], [[1], [1]], [{}, {}])
    host.until(lambda: 1 in host.done())
    [error] = host.errors()
    assert (error.name, error.reason) == ("culprit", reason)
    assert text in error.error


def test_too_few_and_too_many_yields_are_failures(host: Host) -> None:
    def two():
        yield 1
        yield 2

    graph = hr.Graph("yields")
    graph.add(two, outputs=3)
    graph.add(two, outputs=1)
    host.open(graph)
    host.run([[0], [1]], [[1], [1]], [{}, {}])
    host.until(lambda: len(host.errors()) == 2)
    assert "yielded only 2" in host.errors()[0].error
    assert "yielded more" in host.errors()[1].error
    assert 3 not in host.values(), "the last dataset counts once it is known to be the last"


@pytest.mark.parametrize("metadata", [{"x": 2**80}, {"x": "y" * 1_000_000}, {"x": object()}])
def test_metadata_that_cannot_travel_is_the_tasks_failure(host: Host, metadata) -> None:
    graph = hr.Graph("metadata")
    graph.add(lambda: hr.Output(1, **metadata), name="culprit")
    host.open(graph)
    host.run([[0]], [[1]], [{}])
    host.until(host.errors)
    assert (host.errors()[0].name, host.errors()[0].reason) == ("culprit", "bad_output")


def test_what_a_failure_says_is_bounded_and_has_only_characters_that_travel(host: Host) -> None:
    def fail():
        raise ValueError("bad \udc80" + "x" * 5_000_000)

    graph = hr.Graph("long")
    graph.add(fail)
    host.open(graph)
    host.run([[0]], [[1]], [{}])
    host.until(host.errors)
    assert "bad \\udc80" in host.errors()[0].error
    assert len(host.errors()[0].error) < 3_000
    assert len(host.errors()[0].traceback) < 40_000


def test_a_result_that_waited_for_room_and_gets_none_is_a_failure(host: Host) -> None:
    graph = hr.Graph("waiting")
    graph.add(lambda: np.ones(10_000))
    host.open(graph)

    def answer(frame: protocol.Allocate) -> None:
        host.send(protocol.Grant(frame.job, frame.dataset, 0, NO_ROOM_YET))
        host.send(protocol.Grant(frame.job, frame.dataset, 0, NEVER))

    host.on_allocate = answer
    host.run([[0]], [[1]], [{}])
    host.until(host.errors)
    assert host.errors()[0].reason == "too_large"


def test_what_a_task_started_ends_with_its_runner(host: Host) -> None:
    graph = hr.Graph("children")
    graph.add(lambda: subprocess.Popen(["sleep", "600"]).pid)
    host.open(graph)
    host.run([[0]], [[1]], [{}])
    host.until(lambda: host.done() == [0])
    child = decode(host.values()[0])
    os.kill(host.pid, signal.SIGKILL)
    assert host.reports() == [Exited(0, host.pid, -9)]
    eventually(lambda: not _runs(child))
    host.fork()


def _runs(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False


def test_a_result_that_never_fits_is_a_failure(host: Host) -> None:
    graph = hr.Graph("huge")
    graph.add(lambda: np.ones(10_000))
    host.open(graph)
    host.on_allocate = lambda frame: host.send(protocol.Grant(frame.job, frame.dataset, 0, NEVER))
    host.run([[0]], [[1]], [{}])
    host.until(lambda: host.errors())
    assert host.errors()[0].reason == "too_large"


def test_a_killed_runner_is_reported_with_its_signal_and_its_task_is_known(host: Host) -> None:
    graph = hr.Graph("sleeper")
    graph.add(time.sleep, 60)
    host.open(graph)
    host.run([[0]], [[1]], [{}])
    eventually(lambda: host.status.get(0) is not None)
    os.kill(host.pid, signal.SIGKILL)
    assert host.reports() == [Exited(0, host.pid, -9)]
    assert host.status.get(0) == (1, 0)
    host.fork()
    host.open(graph)


class EndsItsReader:
    """A value that ends the process that unpickles it."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (3,)


def test_a_runner_that_its_input_ends_is_reported_with_the_task_that_took_it(host: Host) -> None:
    graph = hr.Graph("poison")
    graph.add(type, graph.add(EndsItsReader))
    host.open(graph)
    host.run([[1]], [[1]], [{0: encode(EndsItsReader()).tobytes()}])
    assert host.reports() == [Exited(0, host.pid, 3)]
    assert host.status.get(0) == (1, 1)
    host.fork()


def test_what_functions_took_is_told_of_the_job_that_they_are_of(host: Host) -> None:
    first, second = hr.Graph("first"), hr.Graph("second")
    for graph in (first, second):
        for number in range(10):
            graph.add(abs, number)
    host.open(first, job=1)
    host.open(second, job=2)
    for task in range(10):  # from the second task on, results of both jobs wait for company
        host.run([[task]], [[1]], [{}], job=1)
        host.run([[task]], [[1]], [{}], job=2)
    host.until(lambda: len(host.done()) == 20)
    counts: Counter[int] = Counter()
    for frame in host.results:
        assert sum(frame.function_counts) == len(frame.datasets), "counted in another frame than its result, so maybe for another job"
        counts[frame.job] += sum(frame.function_counts)
    assert counts == {1: 10, 2: 10}


def test_a_closed_job_leaves_nothing_behind(host: Host) -> None:
    graph = hr.Graph("closed")
    graph.add(lambda: 1)
    host.open(graph)
    host.run([[0]], [[1]], [{}])
    host.until(lambda: host.done() == [0])
    host.send(protocol.CloseJob(1))
    host.open(graph, job=2)
    host.run([[0]], [[1]], [{}], job=2)
    host.until(lambda: any(frame.job == 2 for frame in host.results))
    assert host.closed == [1]


def test_segments_that_are_recalled_before_they_are_begun_are_not_executed(host: Host, tmp_path: Path) -> None:
    go, graph = tmp_path / "go", hr.Graph("recall")
    for path in (str(go), *(str(tmp_path / f"made-{n}") for n in range(4))):
        graph.add(wait_for if path == str(go) else make_file, path)
    host.open(graph)
    host.run([[0], [1], [2], [3], [4]], [[1]] * 5, [{}] * 5)
    eventually(lambda: host.status.get(0) == (1, 0), PATIENCE)
    host.status.recall(0, 1)
    assert host.status.begun(0) == 1, "the first of them"
    go.touch()
    host.until(lambda: segments(host) == [0])
    host.send(protocol.Recall(1, [2, 4]))
    host.until(lambda: segments(host) == [0, 1, 3])
    assert sorted(path.name for path in tmp_path.glob("made-*")) == ["made-0", "made-2"]
    host.run([[2]], [[1]], [{}])
    host.until(lambda: len(segments(host)) == 4)


def test_a_runner_that_is_nudged_in_a_task_sends_what_it_finished_before(host: Host, tmp_path: Path) -> None:
    """Results of short tasks travel together, and the third was thought to be short."""
    go, graph = tmp_path / "go", hr.Graph("nudge")
    for path in ("", "", str(go)):
        graph.add(wait_if_told, path)
    host.open(graph)
    host.run([[0]], [[1]], [{}])
    host.until(lambda: segments(host) == [0])
    host.run([[1], [2]], [[1]] * 2, [{}] * 2)
    eventually(lambda: host.status.get(0) == (1, 2), PATIENCE)
    os.kill(host.pid, protocol.NUDGE)
    host.until(lambda: len(segments(host)) == 2)
    assert host.results[-1].datasets == [1]
    go.touch()
    host.until(lambda: len(segments(host)) == 3)


def test_a_nudge_between_tasks_changes_nothing(host: Host) -> None:
    graph = hr.Graph("nudge")
    for n in range(2000):
        graph.add(int, n)
    host.open(graph)
    host.run([[n] for n in range(2000)], [[1]] * 2000, [{}] * 2000)
    while len(segments(host)) < 2000:
        os.kill(host.pid, protocol.NUDGE)
        seen = len(host.results)
        host.until(lambda seen=seen: len(host.results) > seen)
    assert segments(host) == list(range(2000))
    assert [dataset for results in host.results for dataset in results.datasets] == list(range(2000))


def wait_if_told(path: str) -> str:
    return wait_for(path) if path else ""


def segments(host: Host) -> list[int]:
    """Those that the runner ended, in order."""
    return [id for results in host.results for id in results.segments]


def make_file(path: str) -> str:
    Path(path).touch()
    return path


def test_a_file_is_reported_also_if_its_dataset_waits_for_room(host: Host, tmp_path: Path) -> None:
    def steps():
        yield np.zeros(5_000)
        yield np.ones(5_000)

    graph = hr.Graph("sunk")
    made = graph.add(steps, outputs=2)
    graph.add(np.sum, made[1])
    graph.add(lambda: "meanwhile")
    graph.output(made[1])
    sinks = protocol.SinksOfJob("job", "h0", 1, SinkSpec(path=str(tmp_path)))
    host.send(protocol.OpenJob(1, freeze(graph), sinks))
    host.on_allocate = lambda frame: host._grant(frame) if frame.dataset == 0 else host.send(protocol.Grant(1, 1, 0, NO_ROOM_YET))
    host.run([[0], [2]], [[1], [1]], [{}, {}])
    host.until(lambda: host.done() == [1])
    host._grant(host.allocations[1])
    host.until(lambda: host.done() == [1, 0])
    assert [written.dataset for frame in host.results for written in frame.written] == [1]
