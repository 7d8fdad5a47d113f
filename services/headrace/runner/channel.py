"""A runner's socket: reads frames into the state, sends what the state collects, and waits for the agent's answers.

To wait reads frames and nothing else; what they ask for is done between two segments.
"""

from __future__ import annotations

import contextlib
import socket
from time import perf_counter

from headrace.runner import protocol
from headrace.runner.failures import AgentGone, JobClosed
from headrace.runner.protocol import NEVER
from headrace.runner.state import RunnerState
from headrace.runner.waiting import WaitingResult
from headrace_shm import Slab

BATCH_SECONDS = 0.0005
"""Results wait for about this time for others. They are sent before a task that is expected to take longer."""
READ_BYTES = 1 << 18
"""Bytes to read at once. The buffer is reused: to allocate one for each read takes longer than the rest of the read."""


class Channel:
    """The runner's end of the socket pair. Every method raises AgentGone once the agent has closed its end, or died."""

    def __init__(self, sock: socket.socket, state: RunnerState) -> None:
        self._sock = sock
        self._state = state
        self._outbox = state.outbox
        self._frames = protocol.FrameBuffer()
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._in_use = False
        """Whether it waits for an answer."""
        self.in_task = False
        """Whether the runner calls a task's code, so that a signal may send what was finished before."""
        self.last_read = perf_counter()

    def read(self, block: bool) -> None:
        """Feed the frames that have arrived to the state. block: wait until something arrives."""
        try:
            nbytes = self._sock.recv_into(self._buffer, 0, 0 if block else socket.MSG_DONTWAIT)
        except BlockingIOError:
            self.last_read = self._outbox.now
            return
        except OSError as error:
            raise _of_socket(error) from None
        if not nbytes:
            raise AgentGone
        self.last_read = self._outbox.now = perf_counter()
        self._frames.feed(self._buffer[:nbytes])
        self._state.feed(self._frames.to_runner())

    def flush(self) -> None:
        """Send the results that are collected. Waits if the agent does not read."""
        frames = self._outbox.take()
        if frames:
            self._send(frames)

    def flush_before(self, expected: float | None) -> None:
        """Send the results before a task that may take long. expected: its duration in seconds; None if it is unknown."""
        if expected is None or expected > BATCH_SECONDS or self._outbox.now - self._outbox.since > BATCH_SECONDS:
            self.flush()

    def send(self, *more: protocol.Frame) -> None:
        """Send the results that are collected, and then more frames."""
        self._send([*self._outbox.take(), *more])

    def _send(self, frames: list[protocol.Frame]) -> None:
        try:
            self._sock.sendall(protocol.pack(*frames))
        except OSError as error:
            raise _of_socket(error) from None

    def close(self) -> None:
        """Close the socket, in a process that a task forked: it is not this runner."""
        self._sock.close()

    def nudge(self, *_: object) -> None:
        """Handle the agent's signal: a task takes longer than expected, so send what was finished before it.

        The signal comes between two instructions of the task. If it comes at another moment, the runner sends its results soon anyway.
        """
        if self.in_task:
            self.in_task = False
            with contextlib.suppress(AgentGone):  # the read after the task raises it
                self.flush()
            self.in_task = True

    def ask_room(self, result: WaitingResult) -> protocol.Grant:
        """Ask for room for a result and wait for the answer, which comes at once. Raises JobClosed."""
        if result.segment.job.closed:
            raise JobClosed
        self._in_use = True
        try:
            return self._wait_for_room(result)
        finally:
            self._in_use = False

    def _wait_for_room(self, result: WaitingResult) -> protocol.Grant:
        self._state.ask_room(*result.key)
        self.send(protocol.Allocate(*result.key, result.encoded.nbytes, result.segment.id))
        while (answer := self._state.take_answer()) is None:
            if result.segment.job.closed:
                raise JobClosed
            self.read(block=True)
        return answer

    def ask_slab(self, nbytes: int) -> Slab | None:
        """Ask for room for an array in the middle of a task, and wait for the answer, which comes at once. None: there is no room.

        None, too, for a finalizer of a task that runs while the runner waits for another answer.
        """
        if self._in_use:
            return None
        in_task, self.in_task, self._in_use = self.in_task, False, True
        try:
            grant = self._wait_for_slab(nbytes)
        finally:
            self.in_task, self._in_use = in_task, False
        return None if grant.offset == NEVER else Slab(grant.block, grant.offset, grant.nbytes)

    def _wait_for_slab(self, nbytes: int) -> protocol.GrantSlab:
        self._state.ask_slab()
        self.send(protocol.AllocateSlab(nbytes))
        while (grant := self._state.take_slab()) is None:
            self.read(block=True)
        return grant


def _of_socket(error: OSError) -> BaseException:
    """Return AgentGone, or the error itself if it has no number: a signal handler of the task raised it, say a TimeoutError."""
    return error if error.errno is None else AgentGone()
