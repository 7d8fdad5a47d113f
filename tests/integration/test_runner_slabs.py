"""A real runner process whose tasks make their results in the store: what is copied, what is not, and that nothing changes afterwards."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import psutil
import pytest

import headrace as hr
from headrace.runner import protocol
from headrace.values import decode
from tests.integration.test_runner_loop import Host

N = 20_000
_kept: list[Any] = []
"""What tasks put away in their runner."""


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


def filled(value: float, n: int = N) -> np.ndarray:
    array = hr.empty(n)
    array[:] = value
    return array


def run_one(host: Host, function: Callable[..., Any], outputs: int = 1) -> None:
    """Run one task to its end, as job 1."""
    graph = hr.Graph("one")
    graph.add(function, outputs=outputs)
    host.open(graph)
    host.run([[0]], [[1]], [{}])
    host.until(lambda: host.done() or host.errors())


def value_of(host: Host, dataset: int = 0) -> Any:
    """A dataset, read as a consumer reads it."""
    value = host.values()[dataset]
    return decode(value) if isinstance(value, bytes) else decode(host.arena.readonly(*host.places[value], lambda: None))


def in_place(host: Host, dataset: int = 0) -> bool:
    return host.values()[dataset] in host.slabs


WHOLE: dict[str, Callable[[], Any]] = {
    "an array": lambda: filled(3),
    "Fortran order": lambda: np.add(np.ones((100, 300)), 2, out=hr.empty((100, 300), order="F")),
    "a structured array": lambda: _structured(),
    "bytes of three dimensions": lambda: hr.zeros((3, 100, 300), "u1"),
    "another shape of it": lambda: filled(3).reshape(100, 200),
    "another type of it": lambda: filled(3).view("u4"),
    "transposed": lambda: filled(3).reshape(100, 200).T,
    "in a dict": lambda: {"t2m": filled(3), "level": 5},
    "in a list": lambda: [1, filled(3), "x"],
    "with metadata": lambda: hr.Output(filled(3), step=6),
    "read-only": lambda: _frozen(filled(3)),
    "with a small array in it": lambda: hr.empty_like(np.ones((200, 100), "f4")),
}


def _structured() -> np.ndarray:
    array = hr.empty(N, [("t", "f4"), ("name", "S3")])
    array["t"], array["name"] = np.arange(N), b"abc"
    return array


def _frozen(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array


@pytest.mark.parametrize("kind", WHOLE)
def test_a_whole_array_is_handed_over_where_it_is(host, kind):
    run_one(host, WHOLE[kind])
    assert in_place(host)
    assert host.allocations == []
    assert len(host.slabs) == 1
    if kind != "with a small array in it":  # not filled
        expected = WHOLE[kind]()
        expected = expected.value if isinstance(expected, hr.Output) else expected
        assert repr(value_of(host)) == repr(expected)
        assert type(value_of(host)) is type(expected)


PARTS: dict[str, Callable[[], Any]] = {
    "a part": lambda: filled(3)[1:],
    "every other": lambda: filled(3)[::2],
    "two arrays": lambda: (filled(3), filled(4)),
    "beside another array": lambda: (filled(3), np.arange(5.0)),
    "with too much around it": lambda: {"x" * 5_000: filled(3)},
    "a copy": lambda: filled(3) + 1,
    "in a cycle": lambda: _cycle(),
}


def _cycle() -> list[Any]:
    value: list[Any] = [filled(3)]
    value.append(value)
    return value


@pytest.mark.parametrize("kind", PARTS)
def test_all_else_is_copied_and_its_slab_given_back(host, kind):
    run_one(host, PARTS[kind])
    assert not in_place(host)
    if kind != "in a cycle":  # which the garbage collector frees when it comes to it
        assert repr(value_of(host)) == repr(PARTS[kind]())
        host.until(lambda: sorted(host.released) == [(block, 1) for block in host.slabs])


PRIVATE: dict[str, Callable[[], Any]] = {
    "small": lambda: filled(3, 2_000),
    "no elements": lambda: hr.empty((0, N)),
    "no dimensions": lambda: hr.zeros(()),
    "objects": lambda: hr.zeros(N, object),
    "in a thread": lambda: _in_thread(lambda: filled(3)),
    "in a child process": lambda: _in_child(lambda: filled(3)),
}


def _in_thread(function: Callable[[], Any]) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def _in_child(function: Callable[[], np.ndarray]) -> bytes:
    readable, writable = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(writable, function()[:5].tobytes())
        os._exit(0)
    os.waitpid(pid, 0)
    return os.read(readable, 100)


@pytest.mark.parametrize("kind", PRIVATE)
def test_what_the_store_cannot_have_is_private_memory(host, kind):
    run_one(host, PRIVATE[kind])
    assert host.errors() == []
    assert host.slabs == []
    assert repr(value_of(host)) == repr(PRIVATE[kind]())


def test_without_room_an_array_is_private_and_its_result_copied(host):
    host.room_for_slabs = False
    run_one(host, lambda: filled(7))
    assert len(host.allocations) == 1
    assert (value_of(host) == 7).all()


def put_away() -> np.ndarray:
    array = filled(1)
    _kept.append(array[5:6])
    return array


def write() -> float:
    _kept[0][:] = 99
    return float(_kept.pop()[0])


def test_what_is_left_over_of_a_task_cannot_change_its_result(host):
    """A view that a task put away writes to its own array; the result is a copy then, and the slab lives as long as the view."""
    graph = hr.Graph("leftover")
    graph.add(put_away)
    graph.add(write)
    host.open(graph)
    host.run([[0]], [[1]], [{}])
    host.until(lambda: host.done() == [0])
    host.send(protocol.CloseJob(1))
    host.until(lambda: host.closed == [1])
    assert host.released == [], "the view outlives the job"
    host.open(graph, job=2)
    host.run([[1]], [[1]], [{}], job=2)
    host.until(lambda: 1 in host.values())
    assert decode(host.values()[1]) == 99
    assert (value_of(host) == 1).all()
    host.until(lambda: host.released == [(1, 1)])


def test_an_array_that_is_returned_twice_is_copied_the_second_time(host):
    run_one(host, lambda: [filled(3)] * 2, outputs=2)
    assert [in_place(host, dataset) for dataset in (0, 1)] == [True, False]
    assert (value_of(host, 0) == 3).all()
    assert (value_of(host, 1) == 3).all()


def cached() -> np.ndarray:
    if not _kept:
        _kept.append(filled(3))
    _kept[0][0] += 1
    return _kept[0]


def test_an_array_that_two_tasks_return_is_copied_both_times(host):
    graph = hr.Graph("cached")
    graph.add(cached)
    graph.add(cached)
    host.open(graph)
    host.run([[0], [1]], [[1], [1]], [{}, {}])
    host.until(lambda: sorted(host.done()) == [0, 1])
    assert not in_place(host, 0)
    assert not in_place(host, 1)
    assert (value_of(host, 0)[0], value_of(host, 1)[0]) == (4, 5)


def test_several_outputs_may_each_be_made_in_place(host):
    run_one(host, lambda: (filled(1), "small", filled(2)), outputs=3)
    assert [type(host.values()[dataset]) for dataset in range(3)] == [int, bytes, int]
    assert [float(value_of(host, dataset)[0]) for dataset in (0, 2)] == [1, 2]
    assert host.allocations == []


def test_yields_are_handed_over_where_they_are(host):
    def steps() -> Iterator[Any]:
        for step in range(3):
            yield hr.Output(filled(step), step=step)

    run_one(host, steps, outputs=3)
    assert host.allocations == []
    assert [float(value_of(host, step)[0]) for step in range(3)] == [0, 1, 2]


def test_a_generator_may_go_on_writing_to_what_it_yielded(host):
    def steps() -> Iterator[Any]:
        array = filled(0)
        flat = array.reshape(-1)
        for step in range(3):
            flat[:] = step
            yield array

    run_one(host, steps, outputs=3)
    assert [float(value_of(host, step).max()) for step in range(3)] == [0, 1, 2]
    assert len(host.slabs) == 1


def test_a_generator_whose_copy_waits_for_room_waits_with_it(host):
    def steps() -> Iterator[Any]:
        array = filled(0)
        for step in range(2):
            array[:] = step
            yield array

    waiting: list[protocol.Allocate] = []

    def later(frame: protocol.Allocate) -> None:
        waiting.append(frame)
        host.send(protocol.Grant(frame.job, frame.dataset, 0, protocol.NO_ROOM_YET))

    host.on_allocate = later
    graph = hr.Graph("waits")
    graph.add(steps, outputs=2)
    graph.add(lambda: "meanwhile")
    host.open(graph)
    host.run([[0], [1]], [[1], [1]], [{}, {}])
    host.until(lambda: 2 in host.values())
    assert [frame.dataset for frame in waiting] == [0], "the generator is suspended"
    host._grant(waiting[0])
    host.until(lambda: len(waiting) == 2)
    host._grant(waiting[1])
    host.until(lambda: 0 in host.done())
    assert [float(value_of(host, step)[0]) for step in range(2)] == [0, 1]


def test_inside_a_chain_an_array_stays_an_object_and_the_last_task_hands_it_over(host):
    graph = hr.Graph("chain")
    made = graph.add(filled, 3)
    graph.add(lambda array: (array.flags.writeable, array)[1], made)
    host.open(graph)
    host.run([[0, 1]], [[0, 1]], [{}])
    host.until(host.done)
    assert in_place(host, 1)
    assert host.allocations == []
    assert (value_of(host, 1) == 3).all()


def test_a_task_that_fails_leaves_no_slab(host):
    def fails_late() -> Any:
        return filled(1), (_ for _ in ())

    def fails() -> None:
        array = filled(1)
        raise ValueError(str(array[0]))

    graph = hr.Graph("failing")
    graph.add(fails)
    graph.add(fails_late, outputs=2)
    host.open(graph)
    host.run([[0], [1]], [[1], [1]], [{}, {}])
    host.until(lambda: len(host.errors()) == 2)
    host.until(lambda: sorted(host.released) == [(1, 1), (2, 1)])


def test_temporaries_are_given_back(host):
    run_one(host, lambda: float(sum(filled(k)[0] for k in range(5))))
    assert decode(host.values()[0]) == 10
    host.until(lambda: sorted(host.released) == [(block, 1) for block in range(1, 6)])


def test_a_result_of_a_job_that_was_closed_meanwhile_still_goes_out(host):
    """So the agent learns that nobody writes there any more."""

    def slow() -> np.ndarray:
        array = filled(1)
        os.kill(os.getpid(), signal.SIGSTOP)  # until the job is closed
        hr.empty(N)  # reads what came meanwhile
        return array

    graph = hr.Graph("closed")
    graph.add(slow)
    host.open(graph)
    host.run([[0]], [[1]], [{}])
    host.until(lambda: psutil.Process(host.pid).status() == psutil.STATUS_STOPPED)
    host.send(protocol.CloseJob(1))
    os.kill(host.pid, signal.SIGCONT)
    host.until(lambda: host.values() and host.closed)
    assert host.values() == {0: 1}
    assert host.allocations == []


def test_a_task_that_stops_waiting_for_a_slab_leaves_it_to_no_other(host):
    def impatient() -> float:
        def stop(*_: object) -> None:
            raise TimeoutError

        before = signal.signal(signal.SIGUSR1, stop)
        try:
            filled(1)
        except TimeoutError:
            return float(filled(2, 2 * N).sum())
        finally:
            signal.signal(signal.SIGUSR1, before)
        return 0.0

    grant, asked = host._grant_slab, []

    def late(frame: protocol.AllocateSlab) -> None:
        asked.append(frame)
        if len(asked) == 1:
            os.kill(host.pid, signal.SIGUSR1)
        else:
            for each in asked:
                grant(each)

    host._grant_slab = late
    run_one(host, impatient)
    assert value_of(host) == 4.0 * N
    host.until(lambda: sorted(host.released) == [(block, 1) for block in host.slabs])
