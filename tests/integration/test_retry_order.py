"""A retry runs next, not behind everything that its host has."""

from __future__ import annotations

import time
from pathlib import Path

import headrace as hr

WAIT = 60.0
TASKS = 40


def note(path: str, number: int) -> int:
    """Write the number down; the first task fails once."""
    lines = Path(path).read_text().split() if Path(path).exists() else []
    with open(path, "a") as file:
        file.write(f"{number}\n")
    time.sleep(0.03)
    if number == 0 and "0" not in lines:
        raise ValueError("once")
    return number


def test_a_retry_runs_before_the_tasks_that_follow_it_in_the_plan(tmp_path: Path) -> None:
    """The pause before a first retry is at most 0.1 s, in which a few of the others run."""
    path = tmp_path / "order"
    graph = hr.Graph("order")
    for number in range(TASKS):
        graph.add(hr.task(note, retries=1), str(path), number, name=f"note-{number}")
    with hr.Cluster.local(hosts=1, runners=1) as cluster:
        assert cluster.submit(graph).results(WAIT)["note-0"] == 0
    order = [int(line) for line in path.read_text().split()]
    assert sorted(order) == sorted([0, *range(TASKS)])
    assert order.index(0) == 0
    assert order.index(0, 1) < TASKS // 2
