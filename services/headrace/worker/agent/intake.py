"""Messages of the log on their way to the agent, which takes them in one after the other.

A large assignment is taken in by parts, so that its first tasks reach the runners before its last ones are cut into segments. Later
messages wait until the whole assignment is known: a purge, say, must find every chain that still needs the dataset.
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
    """The messages that the agent has not taken in. guard: handles exceptions that a message causes."""

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
        """The method that takes in each kind of message that concerns hosts."""

    @property
    def busy(self) -> bool:
        """Whether an assignment is being taken in, so that `go_on` must be called soon."""
        return self._assignments.assigned is not None

    def hear(self, messages: Iterable[LogMessage]) -> None:
        """Add messages of the log, in its order, and take in those that need not wait."""
        self._waiting.extend(messages)
        self._take_in()

    def go_on(self) -> None:
        """Take in the next part of an assignment, and after its last part the messages that wait behind it."""
        if self.busy:
            try:
                self._assignments.assign_more()
            except Exception as error:
                self._failed(error, self._assignments.give_up_assignment(), None)
            self._take_in()

    def _take_in(self) -> None:
        while self._waiting and self._assignments.assigned is None:
            message = self._waiting.popleft()
            handler = self._handlers.get(type(message))
            if handler is None:
                continue
            try:
                handler(message)
            except Exception as error:
                self._assignments.give_up_assignment()
                self._failed(error, getattr(message, "job", ""), message)

    def _assign(self, message: Assign) -> None:
        self._assignments.assign(message, message.graph.inline if message.graph is not None else None)

    def _failed(self, error: Exception, job: str, message: LogMessage | None) -> None:
        """Pass an exception that the agent raised to the guard. Must be called from the `except` block."""
        self._guard.caught(LogRead.kind, error, job, message)
