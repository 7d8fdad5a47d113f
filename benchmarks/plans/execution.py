"""Execution of an emitted plan in simulated time. It shares no code with Headrace's simulator, so that each can show the other's faults.

The model: a runner executes its rows of the plan in their order, each as soon as the one before has ended and all inputs are on its host.
When a task has ended for the first time, each of its outputs is sent at once, after the latency, to every host that has a row that takes it
and no row that makes it. A host with a row that makes it waits for that row. Transfers share the links fairly (see `fair_links`).

An output takes memory on a host from the start of the row that makes it there, or from the end of the row that sends it there. It is freed
when the last row there that takes it has ended, and the last transfer from there. An output that no task takes is a result: the host on
which its task ended first keeps it.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.plans.emitted import EmittedPlan, InvalidPlan
from benchmarks.plans.fair_links import TIE, FairLinks

Output = tuple[int, int]
"""A task's index, and the index of the output among those of the task."""


@dataclass(frozen=True)
class Execution:
    """What became of a plan. Times are in seconds from the start.

    makespan: when the last row ended. bytes_moved: bytes that all hosts together received from others. peak_memory: the most bytes that
    outputs took on each host at once. starts, ends: when each row ran.
    """

    makespan: float
    bytes_moved: float
    peak_memory: tuple[float, ...]
    starts: tuple[float, ...]
    ends: tuple[float, ...]


def execute(plan: EmittedPlan) -> Execution:
    """Execute a plan that `emitted.validate` has accepted. Raises InvalidPlan if its order makes rows wait for one another in a circle."""
    return _Run(plan).finished()


class _RowEnd(NamedTuple):
    """A row of the plan ends."""

    row: int


class _Transfer(NamedTuple):
    """A transfer that starts, since its latency is over, or that ends."""

    output: Output
    source: int
    target: int


class _Memory:
    """The outputs on one host, and how many rows and transfers there still need each."""

    def __init__(self) -> None:
        self.peak = 0.0
        self._held: dict[Output, float] = {}
        self._now = 0.0
        self._uses: dict[Output, int] = defaultdict(int)

    def expect(self, output: Output) -> None:
        self._uses[output] += 1

    def hold(self, output: Output, nbytes: float) -> None:
        if output not in self._held:
            self._held[output] = nbytes
            self._now += nbytes
            self.peak = max(self.peak, self._now)

    def used(self, output: Output) -> None:
        self._uses[output] -= 1
        self.drop_unused(output)

    def drop_unused(self, output: Output) -> None:
        if self._uses[output] <= 0 and output in self._held:
            self._now -= self._held.pop(output)


class _Run:
    """One execution, from its first event to its last."""

    def __init__(self, plan: EmittedPlan) -> None:
        self._plan = plan
        self._now = 0.0
        self._events: list[tuple[float, int, _RowEnd | _Transfer]] = []
        """By time; those of one moment in the order in which they were foreseen."""
        self._links: FairLinks[_Transfer] = FairLinks(plan.hosts, plan.bandwidth)
        self._memory = [_Memory() for _ in range(plan.hosts)]
        self._starts = [-1.0] * len(plan.rows)
        self._ends = [-1.0] * len(plan.rows)
        self._ended_tasks: set[int] = set()
        self._present: list[set[Output]] = [set() for _ in range(plan.hosts)]
        self._moved = 0.0
        self._n_events = 0
        self._queues = plan.queues()
        self._place = dict.fromkeys(self._queues, 0)
        self._missing = [len(plan.tasks[row.task].inputs) for row in plan.rows]
        self._waiting: dict[tuple[int, Output], list[int]] = defaultdict(list)
        makes = {(row.host, row.task) for row in plan.rows}
        receivers: dict[Output, dict[int, None]] = defaultdict(dict)
        for index, row in enumerate(plan.rows):
            for output in plan.tasks[row.task].inputs:
                self._waiting[row.host, output].append(index)
                self._memory[row.host].expect(output)
                if (row.host, output[0]) not in makes:
                    receivers[output][row.host] = None
        self._receivers = {output: tuple(hosts) for output, hosts in receivers.items()}
        self._taken = {output for task in plan.tasks for output in task.inputs}

    def finished(self) -> Execution:
        """Run to the end."""
        for runner in self._queues:
            self._start_next(runner)
        while (now := self._next_time()) < math.inf:
            self._step(now)
        stuck = [index for index, end in enumerate(self._ends) if end < 0]
        if stuck:
            raise InvalidPlan(self._deadlock(stuck))
        peaks = tuple(memory.peak for memory in self._memory)
        return Execution(max(self._ends, default=0.0), self._moved, peaks, tuple(self._starts), tuple(self._ends))

    def _next_time(self) -> float:
        first = self._events[0][0] if self._events else math.inf
        return max(self._now, min(first, self._links.next_end()))

    def _step(self, now: float) -> None:
        """Let everything happen that happens at this moment."""
        arrived = self._links.advance(now)
        self._now = now
        for transfer in arrived:
            self._arrive(transfer)
        while self._events and self._events[0][0] <= now + TIE * max(now, 1.0):
            event = heapq.heappop(self._events)[2]
            if isinstance(event, _RowEnd):
                self._end(event.row)
            else:
                self._send(event)

    def _foresee(self, time: float, event: _RowEnd | _Transfer) -> None:
        self._n_events += 1
        heapq.heappush(self._events, (time, self._n_events, event))

    # ------------------------------------------------------------ rows

    def _start_next(self, runner: tuple[int, int]) -> None:
        """Start the next row of a runner that is idle, if its inputs are there."""
        queue, place = self._queues[runner], self._place[runner]
        if place == len(queue) or self._missing[queue[place]] or self._starts[queue[place]] >= 0:
            return
        index = queue[place]
        row = self._plan.rows[index]
        task = self._plan.tasks[row.task]
        self._starts[index] = self._now
        for number, nbytes in enumerate(task.outputs):
            self._memory[row.host].hold((row.task, number), nbytes)
        self._foresee(self._now + task.seconds, _RowEnd(index))

    def _end(self, index: int) -> None:
        """A row ends: what it made is there and goes out, what it took may go, and its runner is free."""
        row = self._plan.rows[index]
        task, memory = self._plan.tasks[row.task], self._memory[row.host]
        self._ends[index] = self._now
        first = row.task not in self._ended_tasks
        self._ended_tasks.add(row.task)
        for output in task.inputs:
            memory.used(output)
        for output in ((row.task, number) for number in range(len(task.outputs))):
            if first:
                self._announce(output, row.host)
            if not first or output in self._taken:
                memory.drop_unused(output)
            self._provide(row.host, output)
        runner = row.host, row.runner
        self._place[runner] += 1
        self._start_next(runner)

    def _provide(self, host: int, output: Output) -> None:
        """An output is on a host: rows that waited for it only may start."""
        if output in self._present[host]:
            return
        self._present[host].add(output)
        for index in self._waiting.pop((host, output), ()):
            self._missing[index] -= 1
            if not self._missing[index]:
                self._start_next((host, self._plan.rows[index].runner))

    # ------------------------------------------------------------ transfers

    def _announce(self, output: Output, source: int) -> None:
        """Send an output that is there for the first time to the hosts that want it."""
        for target in self._receivers.get(output, ()):
            self._memory[source].expect(output)
            self._memory[target].hold(output, self._nbytes(output))
            self._foresee(self._now + self._plan.latency, _Transfer(output, source, target))

    def _send(self, transfer: _Transfer) -> None:
        nbytes = self._nbytes(transfer.output)
        self._moved += nbytes
        self._links.start(transfer.source, transfer.target, nbytes, transfer)

    def _arrive(self, transfer: _Transfer) -> None:
        self._memory[transfer.source].used(transfer.output)
        self._provide(transfer.target, transfer.output)

    def _nbytes(self, output: Output) -> float:
        task, number = output
        return self._plan.tasks[task].outputs[number]

    # ------------------------------------------------------------ faults

    def _deadlock(self, stuck: Iterable[int]) -> str:
        """Say which row waits, and for what."""
        for index in stuck:
            row = self._plan.rows[index]
            queue, place = self._queues[row.host, row.runner], self._place[row.host, row.runner]
            if queue[place] == index:
                absent = [output for output in self._plan.tasks[row.task].inputs if output not in self._present[row.host]]
                wanted = ", ".join(f"{number} of task {self._plan.tasks[task].name}" for task, number in absent[:3])
                return (
                    f"task {self._plan.tasks[row.task].name} waits forever on host {row.host}, runner {row.runner}, for output {wanted}: "
                    "the order of the runners makes tasks wait for one another in a circle"
                )
        return "tasks wait for one another in a circle"
