"""A real runner process whose jobs are closed at awkward moments: while a task waits, or while a generator is suspended."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest

import headrace as hr
from headrace.runner import protocol
from headrace.runner.protocol import NO_ROOM_YET
from headrace.values import decode
from tests.integration.test_runner_loop import Host

N = 20_000


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


def close_before_the_grant(host: Host) -> None:
    """Have job 1 closed when a task has asked for a slab, before the slab is granted."""
    grant = host._grant_slab

    def close_first(frame: protocol.AllocateSlab) -> None:
        host._grant_slab = grant
        host.send(protocol.CloseJob(1))
        grant(frame)

    host._grant_slab = close_first


def works(host: Host) -> None:
    """Run a task of a new job, and see that job 1 did nothing else."""
    graph = hr.Graph("works")
    graph.add(lambda: 5)
    host.open(graph, job=9)
    host.run([[0]], [[1]], [{}], job=9)
    host.until(lambda: host.done())
    assert host.errors() == []
    assert [frame.job for frame in host.results if frame.segments] == [9]


def test_while_a_task_waits_for_a_slab_the_segment_is_executed_to_its_end(host):
    graph = hr.Graph("closed")
    number = graph.add(lambda: [1, 2])
    field = graph.add(lambda: float(hr.zeros(N).sum()))
    graph.add(lambda x, y: (x, y), number, field)
    close_before_the_grant(host)
    host.open(graph)
    host.run([[0, 1, 2]], [[0, 0, 1]], [{}])
    host.until(lambda: host.closed)
    works(host)


def test_while_a_result_waits_for_an_answer_the_rest_of_the_segment_is_dropped(host):
    graph = hr.Graph("closed")
    graph.add(lambda x: os.abort(), graph.add(lambda: np.zeros(N)))
    host.on_allocate = lambda frame: host.send(protocol.CloseJob(frame.job))
    host.open(graph)
    host.run([[0, 1]], [[1, 1]], [{}])
    host.until(lambda: host.closed)
    works(host)


def test_a_suspended_generator_ends_between_two_tasks_and_not_during_the_wait_of_one(host):
    def suspended() -> Iterator[np.ndarray]:
        try:
            yield np.zeros(N)
            yield np.zeros(N)
        finally:
            os.environ["ENDED"] = "yes"

    def ended_meanwhile() -> str:
        hr.empty(N)
        return os.environ.get("ENDED", "no")

    generator, tasks = hr.Graph("generator"), hr.Graph("tasks")
    generator.add(suspended, outputs=2)
    tasks.add(ended_meanwhile)
    tasks.add(lambda: os.environ.get("ENDED", "no"))
    host.on_allocate = lambda frame: host.send(protocol.Grant(frame.job, frame.dataset, 0, NO_ROOM_YET))
    close_before_the_grant(host)
    host.open(generator)
    host.open(tasks, job=2)
    host.run([[0]], [[1]], [{}])
    host.run([[0], [1]], [[1], [1]], [{}, {}], job=2)
    host.until(lambda: len(host.done()) == 2)
    assert [decode(value) for value in host.values().values()] == ["no", "yes"]
    assert host.closed == [1]
