"""The agent's side of its runners: sockets, deaths and replacements."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable
from typing import NamedTuple, cast

import msgspec

from headrace.logs import get_log
from headrace.runner import protocol
from headrace.runner.status import StatusPage
from headrace.worker.agent.oom import KillCount, OomKills
from headrace.worker.settings import Settings
from headrace.worker.zygote import Exited, Forked, Zygote

log = get_log(__name__)


OnFrames = Callable[[int, "list[protocol.ToAgent]"], None]
OnDeath = Callable[[int, "tuple[int, int] | None", "Death"], None]


class Death(NamedTuple):
    """The end of a runner.

    code: its exit code, or minus the number of a signal. peak: its peak memory in bytes. out_of_memory: whether the kernel killed it
    because memory ran out.
    """

    code: int
    pid: int
    peak: int = 0
    out_of_memory: bool = False


class RunnersFailed(RuntimeError):
    """The runners of this host cannot be started, be kept alive, or be ended."""


class _Connection(asyncio.Protocol):
    """The socket of one runner process."""

    def __init__(self, runners: Runners, slot: int) -> None:
        self._runners = runners
        self._slot = slot
        self._frames = protocol.FrameBuffer()
        self._corrupt = False
        self._transport: asyncio.WriteTransport | None = None
        self.unsent = bytearray()
        """Frames that go to the runner with the next `flush`."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        """Pass complete frames on. Corrupt bytes, or a frame that no runner may send, end this runner only."""
        if self._corrupt:
            return
        try:
            self._frames.feed(data)
            frames = self._frames.to_agent()
            if frames:
                self._runners.on_frames(self._slot, frames)
        except (ValueError, msgspec.DecodeError, RecursionError, MemoryError) as error:
            self._refuse("replacing a runner that sent an invalid frame", error=error)
        except Exception:  # an error in the agent; the other runners go on
            self._refuse("replacing a runner after an internal error in handling its frames", exc_info=True)

    def _refuse(self, event: str, *, error: object = None, exc_info: bool = False) -> None:
        """End the runner. An exception must not reach the event loop, which would close the socket and leave the process running."""
        self._corrupt = True
        log.error(event, runner=self._slot, **({} if error is None else {"error": error}), exc_info=exc_info)
        self._frames = protocol.FrameBuffer()
        self._runners.kill(self._slot)
        self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that everything that the runner sent has been read."""
        self._transport = None
        self._runners.lost(self._slot)

    def flush(self) -> None:
        """Write the unsent frames to the runner, or drop them if it has ended."""
        unsent, self.unsent = self.unsent, bytearray()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(unsent)

    def close(self) -> None:
        """Close the socket, so that the runner sees the end of its input."""
        if self._transport is not None:
            self._transport.abort()


class _Slot:
    """A slot for a runner, and the process in it."""

    def __init__(self) -> None:
        self.connection: _Connection | None = None
        self.pid = 0
        self.exited: Exited | None = None
        self.killed = False
        """Whether this host has killed the process."""
        self.drained = False
        """Whether everything that the process sent has been read."""


class Runners:
    """The runners of a host. A runner that ends is replaced.

    on_frames: is called with a slot and the frames that its runner sent. on_death: is called with a slot, the job and task that it
    executed, and the `Death`, once the process has ended and everything that it sent was read.
    """

    def __init__(self, zygote: Zygote, status: StatusPage, settings: Settings, on_frames: OnFrames, on_death: OnDeath) -> None:
        self._zygote = zygote
        self._status = status
        self._settings = settings
        self.on_frames = on_frames
        self._on_death = on_death
        self._slots = [_Slot() for _ in range(settings.runners)]
        self.unsent: list[_Connection] = []
        """The connections with frames that go out with the next `flush`."""
        self._idle_deaths = 0
        self._ending = False
        self._changed = asyncio.Event()
        """Set when a runner started or ended; `close` waits for it."""
        self._forking: set[asyncio.Task[None]] = set()
        self.oom_kills = OomKills(KillCount(), settings.oom_seconds)
        self.deaths = 0
        """The number of runners that have ended."""
        self._started: Callable[[int], None] = lambda slot: None
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Gets a RunnersFailed exception when no runner can be kept alive."""

    async def start(self, on_started: Callable[[int], None]) -> None:
        """Fork the first runners. on_started: is called with the slot of each runner that starts, replacements included."""
        self._started = on_started
        asyncio.get_running_loop().add_reader(self._zygote.socket, self._read_zygote)
        for slot in range(len(self._slots)):
            await self._fork(slot)

    async def _fork(self, slot: int) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        _, connection = await asyncio.get_running_loop().create_unix_connection(lambda: _Connection(self, slot), sock=ours)
        self._status.reset(slot)
        self._zygote.fork(slot, theirs)
        theirs.close()
        self._slots[slot] = _Slot()
        self._slots[slot].connection = connection

    def _read_zygote(self) -> None:
        try:
            reports = self._zygote.read()
        except OSError as error:
            self._fail(RunnersFailed(f"the fork server of this host is gone: {error}"))
            return
        for report in reports:
            slot = self._slots[report.slot]
            if isinstance(report, Forked):
                slot.pid = report.pid
                self.kill(report.slot) if self._ending else self._started(report.slot)
            else:
                slot.exited = report
                self._bury(report.slot)
        self._changed.set()

    def lost(self, slot: int) -> None:
        """Handle the end of a runner's socket. If the process only closed the socket and does not end soon, it is killed."""
        state = self._slots[slot]
        state.drained = True
        if state.exited is None:
            asyncio.get_running_loop().call_later(self._settings.runner_linger_seconds, self._end_deaf, slot, state)
        self._bury(slot)

    def _end_deaf(self, slot: int, state: _Slot) -> None:
        if self._slots[slot] is state and state.exited is None and not self.failed.done():
            log.error("replacing a runner that closed its socket and did not end", runner=slot, pid=state.pid)
            self.kill(slot)

    def _bury(self, number: int) -> None:
        """Report a runner that has ended, once everything that it sent was read, and start another."""
        slot = self._slots[number]
        if slot.exited is None or not slot.drained or self._ending or self.failed.done():
            return
        task = self._status.get(number)
        self._status.clear(number)
        self.deaths += 1
        self._idle_deaths = 0 if task is not None else self._idle_deaths + 1
        self._on_death(number, task, self._death(slot, slot.exited))
        if self._idle_deaths > self._settings.death_limit:
            self._fail(RunnersFailed(f"{self._idle_deaths} runners in a row ended before they executed a task. See the log of this host"))
            return
        replacement = asyncio.ensure_future(self._fork(number))
        self._forking.add(replacement)
        replacement.add_done_callback(self._forked)

    def _death(self, slot: _Slot, exited: Exited) -> Death:
        out_of_memory = self.oom_kills.explains(exited.code, slot.killed, asyncio.get_running_loop().time())
        return Death(exited.code, exited.pid, exited.peak, out_of_memory)

    def _forked(self, task: asyncio.Task[None]) -> None:
        self._forking.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._fail(RunnersFailed(f"no runner could be started: {task.exception()}"))

    def _fail(self, error: RunnersFailed) -> None:
        asyncio.get_running_loop().remove_reader(self._zygote.socket)
        if not self.failed.done():
            self.failed.set_exception(error)
        self._changed.set()

    def send(self, slot: int, frame: protocol.Frame) -> None:
        """Queue a frame for the runner in a slot. It goes out with the next `flush`."""
        connection = self._slots[slot].connection
        if connection is None:
            return
        first = not connection.unsent
        protocol.pack_behind(connection.unsent, frame)
        if first:
            self.unsent.append(connection)

    def flush(self) -> None:
        """Send the queued frames, those for one runner in a single write: it wakes once, and gets a job's graph with its first tasks."""
        unsent, self.unsent = self.unsent, []
        for connection in unsent:
            connection.flush()

    def kill(self, slot: int) -> None:
        """Kill the runner in a slot. Another takes its place."""
        self._slots[slot].killed = True
        self._signal(slot, signal.SIGKILL)

    def nudge(self, slot: int) -> None:
        """Make the runner in a slot send its finished work at once, in the middle of a task."""
        self._signal(slot, protocol.NUDGE)

    def _signal(self, slot: int, number: int) -> None:
        if self._slots[slot].pid and self._slots[slot].exited is None:
            with contextlib.suppress(ProcessLookupError):  # it ended, and the report has not arrived yet
                os.kill(self._slots[slot].pid, number)

    def pids(self) -> list[int]:
        """List the process ids of the runners by slot; 0 for one that is starting."""
        return [slot.pid for slot in self._slots]

    def executing(self) -> list[tuple[int, int] | None]:
        """List what each slot executes: the number of the job and the task, or None."""
        return [self._status.get(slot) for slot in range(len(self._slots))]

    async def close(self) -> None:
        """Kill all runners and wait until they have ended. The fork server stays. Raises RunnersFailed if one does not end."""
        self._ending = True
        for slot in range(len(self._slots)):
            self.kill(slot)
        seconds = self._settings.runner_kill_seconds
        try:
            async with asyncio.timeout(seconds):
                await self._all_gone()
        except TimeoutError:
            raise RunnersFailed(f"a killed runner has not ended after {seconds:g} s: it hangs in the kernel") from None
        finally:
            self._let_go()

    def _let_go(self) -> None:
        asyncio.get_running_loop().remove_reader(self._zygote.socket)
        for slot in self._slots:
            if slot.connection is not None:
                slot.connection.close()
        if not self.failed.done():
            self.failed.cancel()

    async def _all_gone(self) -> None:
        """Wait until every requested process has started and ended, or the fork server has failed."""
        await asyncio.gather(*self._forking, return_exceptions=True)
        while any(slot.connection is not None and slot.exited is None for slot in self._slots) and not self.failed.done():
            self._changed.clear()
            await self._changed.wait()
