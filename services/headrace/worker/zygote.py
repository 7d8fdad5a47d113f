"""The fork server of a host: a small single-threaded process from which runners are forked.

The worker forks it before it has an event loop, threads or connections. So a runner inherits only the imports, and a dead runner is
replaced in milliseconds. The fork server ends with the agent, and the runners end with the fork server. The processes that a task starts
end with its runner. Those that moved to another session become children of the fork server (on Linux) when their parent ends, and end with
it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from headrace.bus.process import adopt_orphans, kill_descendants, parent_death_signal
from headrace.logs import get_log, set_up_logging
from headrace.runner.loop import Runner
from headrace.runner.printing import tag_output
from headrace.runner.status import StatusPage
from headrace.worker import threads
from headrace.worker.agent.oom import be_killed_first
from headrace_shm import Arena

KILL_SECONDS = 5.0
"""The wait for the processes that tasks started, after they were killed. One that has not ended by then hangs in the kernel."""
NICENESS = 5
"""The niceness of runners. Agents and services need little CPU time, but at once: after a late purge, a task takes fresh memory."""
RSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes per unit of `ru_maxrss`."""
log = get_log(__name__)

_FORK = struct.Struct("<i")
_REPORT = struct.Struct("<ciiiq")
_FORKED, _EXITED = b"f", b"x"


@dataclass(frozen=True)
class Forked:
    """The report that a runner was forked for a slot."""

    slot: int
    pid: int


@dataclass(frozen=True)
class Exited:
    """The report that a runner ended. code: its exit code, or minus the number of the signal that killed it."""

    slot: int
    pid: int
    code: int
    peak: int = field(default=0, compare=False)
    """Its peak memory in bytes, including the datasets that it mapped."""


class Zygote:
    """The agent's end of the fork server."""

    def __init__(self, sock: socket.socket, pid: int) -> None:
        self.socket = sock
        self.pid = pid

    def fork(self, slot: int, runner_socket: socket.socket) -> None:
        """Request a runner for a slot, with its end of a socket. A Forked report follows. Raises OSError if the fork server has ended."""
        socket.send_fds(self.socket, [_FORK.pack(slot)], [runner_socket.fileno()])

    def read(self) -> list[Forked | Exited]:
        """Return the reports that have arrived, without waiting. Raises ConnectionError if the fork server has ended."""
        reports: list[Forked | Exited] = []
        while True:
            try:
                data = self.socket.recv(_REPORT.size, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return reports
            if not data:
                raise ConnectionError("the fork server ended")
            kind, slot, pid, code, peak = _REPORT.unpack(data)
            reports.append(Forked(slot, pid) if kind == _FORKED else Exited(slot, pid, code, peak))

    def close(self) -> None:
        """End the fork server, which kills its runners, and wait for it."""
        self.socket.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def start_zygote(arena: Arena, status: StatusPage, host: str = "") -> Zygote:
    """Start the fork server. Call it in a process with one thread and no event loop. host: the host's name, for the runners' log."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        ours.close()
        _leave(_Server(theirs, arena, status, host).serve)
    theirs.close()
    return Zygote(ours, pid)


def _leave(main: Callable[[], object]) -> NoReturn:
    """Run the main function of a forked process, and end the process without its parent's exit handlers."""
    code = 1
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except OSError:
        code = 0
    except BaseException:
        log.exception("a runner or the fork server ended with an internal error")
    finally:
        os._exit(code)


def _kill_group(leader: int) -> None:
    """Kill a runner and the processes that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


class _Server:
    """The main loop of the fork server's process."""

    def __init__(self, sock: socket.socket, arena: Arena, status: StatusPage, host: str) -> None:
        self._sock = sock
        self._arena = arena
        self._status = status
        self._host = host
        self._slots: dict[int, int] = {}

    def serve(self) -> None:
        """Fork runners on request and report their ends, until the agent has ended. Then kill the runners and their processes."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        wake, woken = socket.socketpair()
        wake.setblocking(False)
        woken.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
        adopt_orphans()
        gc.freeze()
        try:
            while True:
                ready, _, _ = select.select([self._sock, wake], [], [])
                if wake in ready:
                    wake.recv(4096)
                    self._reap()
                if self._sock in ready and not self._serve_one(wake, woken):
                    break
        finally:
            for pid in self._slots:
                _kill_group(pid)
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            kill_descendants(KILL_SECONDS)  # processes that tasks started in other sessions

    def _serve_one(self, *wakers: socket.socket) -> bool:
        data, fds, _, _ = socket.recv_fds(self._sock, _FORK.size, 1)
        if not data:
            return False
        (slot,) = _FORK.unpack(data)
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for sock in (self._sock, *wakers):
                sock.close()
            _leave(lambda: self._become_runner(fds[0], slot))
        os.close(fds[0])
        with contextlib.suppress(OSError):  # it may have ended already
            os.setpgid(pid, pid)  # so that `_kill_group` also ends the processes that its tasks start
        self._slots[pid] = slot
        self._sock.send(_REPORT.pack(_FORKED, slot, pid, 0, 0))
        return True

    def _become_runner(self, fd: int, slot: int) -> None:
        parent_death_signal()
        os.nice(NICENESS)
        be_killed_first()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        threads.tell_loaded()
        runner = Runner(socket.socket(fileno=fd), self._arena, self._status, slot)
        set_up_logging(lambda: {"service": "runner", "host": self._host, **runner.about()})
        runner.run(tag_output(runner.about))

    def _reap(self) -> None:
        while self._slots:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if not pid:
                return
            slot = self._slots.pop(pid, -1)
            if slot >= 0:
                _kill_group(pid)
                self._sock.send(_REPORT.pack(_EXITED, slot, pid, os.waitstatus_to_exitcode(status), usage.ru_maxrss * RSS_UNIT))
