"""What the log says to a host, told to its agent one message after the other.

A large assignment is taken in by parts, so that its first tasks are at the runners before its last are cut; what the log says after it
waits until all of it is known: a purge, say, must find every chain that still needs the dataset.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from headrace.worker.agent.assignments import Assignments
from headrace.worker.agent.events import LogRead
from headrace.worker.agent.guard import Guard
from headrace_schemas import Assign, Ended, HostJoined, HostLost, LogMessage, Purge, Reroute, Revoke, TermBegan


class Intake:
    """The log's messages that an agent was not told yet. guard: hears of messages that the agent fails on."""

    def __init__(self, assignments: Assignments, guard: Guard) -> None:
        self._assignments = assignments
        self._guard = guard
        self._waiting: deque[LogMessage] = deque()
        self._handlers: dict[type[LogMessage], Callable[[Any], None]] = {
            Assign: self._assign,
            Purge: self._assignments.purge,
            Ended: self._assignments.end,
            Revoke: self._assignments.revoke,
            Reroute: self._assignments.reroute,
            HostLost: self._assignments.host_lost,
            HostJoined: self._assignments.host_joined,
            TermBegan: self._assignments.term_began,
        }
        """What is told of each kind of message that concerns hosts."""

    @property
    def busy(self) -> bool:
        """Whether there is more to tell: `go_on` is to be called soon."""
        return self._assignments.assigned is not None

    def hear(self, messages: Iterable[LogMessage]) -> None:
        """Messages came, in the log's order. Tells the agent those that need not wait."""
        self._waiting.extend(messages)
        self._tell()

    def go_on(self) -> None:
        """Tell the agent the next part of an assignment, and what waits behind it if it was the last."""
        if self.busy:
            try:
                self._assignments.assign_more()
            except Exception as error:
                self._failed(error, self._assignments.give_up_assignment(), None)
            self._tell()

    def _tell(self) -> None:
        while self._waiting and self._assignments.assigned is None:
            message = self._waiting.popleft()
            told = self._handlers.get(type(message))
            if told is None:
                continue
            try:
                told(message)
            except Exception as error:
                self._assignments.give_up_assignment()
                self._failed(error, getattr(message, "job", ""), message)

    def _assign(self, message: Assign) -> None:
        self._assignments.assign(message, message.graph.inline if message.graph is not None else None)

    def _failed(self, error: Exception, job: str, message: LogMessage | None) -> None:
        """The agent raised an exception, which is being handled."""
        self._guard.caught(LogRead.kind, error, job, message)
