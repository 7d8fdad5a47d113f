"""The runner's process: reads frames into the state, and executes what the state says is next, in one thread.

Results of short tasks travel together; before a task that may take long, what is finished is sent first. A result that must leave its chain
and finds no room in the store waits in this process, and the runner goes on with other segments meanwhile.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Sequence
from time import perf_counter
from typing import NoReturn

from headrace.graph.naming import task_name
from headrace.runner import protocol
from headrace.runner.channel import BATCH_SECONDS, Channel
from headrace.runner.executor import Executor
from headrace.runner.printing import Printed
from headrace.runner.slabs import Slabs
from headrace.runner.state import Granted, RunnerState
from headrace.runner.status import StatusPage
from headrace.values import making
from headrace_shm import Arena


class Runner:
    """One runner process."""

    def __init__(self, sock: socket.socket, arena: Arena, status: StatusPage, slot: int) -> None:
        self._status = status
        self._slot = slot
        self._page, self._begun, self._recall = status.cells(slot)
        self._state = RunnerState()
        self._state.outbox.now = perf_counter()
        self._channel = Channel(sock, self._state)
        self._slabs = Slabs(arena, self._channel.ask_slab, self._state.outbox.let_go.append)
        self._executor = Executor(self._state, self._channel, self._slabs, arena, status, slot)

    def about(self) -> dict[str, str]:
        """Return the job and the task that are executed now, for what the task logs."""
        executing = self._status.get(self._slot)
        job = self._state.jobs.get(executing[0]) if executing is not None else None
        return {"job": job.id, "task": task_name(job.spec, executing[1])} if job is not None and executing is not None else {}

    def run(self, printed: Sequence[Printed] = ()) -> NoReturn:
        """Work until the agent is gone, then raise AgentGone, a SystemExit. printed: what tasks print to."""
        self._prepare_process()
        state, outbox, channel, page = self._state, self._state.outbox, self._channel, self._page
        executor, storage = self._executor, self._executor.storage
        while True:
            if storage.borrowed:
                storage.own()
            step = state.next()
            if step is None:
                self._go_idle(printed)
            elif isinstance(step, Granted):
                executor.store(step)
            else:
                page[self._begun] = step.number
                if page[self._recall] == state.recalled:
                    executor.execute(step)
                else:
                    state.put_back(step)
                    self._await_recall()
            if not state.queue:
                channel.read(block=step is None)
            elif outbox.now - channel.last_read > BATCH_SECONDS:
                self._slabs.collect()
                channel.read(block=False)
            if state.closing and (closed := state.end_closed()):
                channel.send(*closed)

    def _prepare_process(self) -> None:
        making.provide(self._slabs.empty)
        signal.signal(protocol.NUDGE, self._channel.nudge)
        signal.siginterrupt(protocol.NUDGE, False)
        os.register_at_fork(after_in_child=self._channel.close)  # a process that a task forks, and that returns from it, is not this runner

    def _go_idle(self, printed: Sequence[Printed]) -> None:
        """Send everything, before the runner waits for a frame: there is nothing to execute."""
        self._status.clear(self._slot)
        self._slabs.collect()
        self._channel.flush()
        for stream in printed:
            stream.end_line()

    def _await_recall(self) -> None:
        """Wait until the agent has said which segments it takes back. Nothing is begun before."""
        self._status.clear(self._slot)
        self._channel.flush()
        while self._page[self._recall] != self._state.recalled:
            self._channel.read(block=True)
