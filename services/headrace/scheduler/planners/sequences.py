"""Sequences of tasks, and plans from lists: what several planners share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from headrace.scheduler.planners.compiled import floats, int_column, ints
from headrace.scheduler.planners.listing import place_list
from headrace.scheduler.planners.plan import NOWHERE, Placement
from headrace.scheduler.planners.problem import Floats, Problem
from headrace.scheduler.planners.table import Table

Order = npt.NDArray[np.int64]


def by_priority(problem: Problem, priority: Sequence[float] | Floats) -> Order:
    """Return the tasks to be planned by falling priority; among equal ones, inputs first. No task has a higher priority than its inputs."""
    undone = problem.undone.astype(np.int64)
    return undone[np.lexsort((undone, -np.asarray(priority, dtype=np.float64)[undone]))]


def place_of(sequence: Order, n_tasks: int) -> Order:
    """Return the place of each task in a sequence; 0 for those that are not in it."""
    place = np.zeros(n_tasks, dtype=np.int64)
    place[sequence] = np.arange(len(sequence))
    return place


def placed_by_list(
    problem: Problem,
    table: Table,
    sequence: Order,
    slow: float = 1.0,
    serial: bool = False,
    patience: float = 0.0,
    n_hosts: int | None = None,
    pinned: Order | None = None,
) -> Placement:
    """Place a sequence task by task where each ends first (see `place_list`), in the order of the predicted starts.

    n_hosts: how many hosts to use, the strongest ones; all by default. pinned (tasks): the only host of each, -1 for any.
    """
    n, most = problem.n_tasks, len(problem.topology.inputs) if patience > 0 else 0
    strength = np.array([host.runners * host.speed for host in problem.hosts])
    use = np.zeros(problem.n_hosts, dtype=np.int64)
    use[np.argsort(-strength, kind="stable")[:n_hosts]] = 1
    pins = int_column(np.full(n, -1) if pinned is None else pinned)
    host, start = ints(n, NOWHERE), floats(n, 0.0)
    copy_task, copy_host, copy_start = ints(most, 0), ints(most, 0), floats(most, 0.0)
    arguments = (table, int_column(sequence), float(slow), int(serial), float(patience), int_column(use), pins)
    n_copies = place_list(*arguments, host, start, copy_task, copy_host, copy_start)
    starts = np.concatenate((np.array(start), np.array(copy_start[:n_copies])))
    places = np.concatenate((place_of(sequence, n), np.full(n_copies, -1)))  # copies go before the task that takes their datasets
    order = place_of(np.lexsort((places, starts)), len(starts))
    return Placement.of(host, order[:n], zip(copy_task[:n_copies], copy_host[:n_copies], order[n:], strict=True))
