"""The fork server of a host: a small single-threaded process from which runners are forked.

It is forked from the worker before that has an event loop, threads or connections, so a runner inherits imports and nothing else,
and a dead runner is replaced in milliseconds. It dies with its agent, and runners die with it. What a task starts ends with its runner;
if it is in a session of its own, it becomes a child of the fork server (Linux) when its parent ends, and ends with that.
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
"""In which everything that tasks started is gone once it is killed. What is not, hangs in the kernel."""
NICENESS = 5
"""Runners give way to agents and services, which need little time but need it at once: a purge that comes late costs fresh memory."""
RSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes per unit of `ru_maxrss`."""
log = get_log(__name__)

_FORK = struct.Struct("<i")
_REPORT = struct.Struct("<ciiiq")
_FORKED, _EXITED = b"f", b"x"


@dataclass(frozen=True)
class Forked:
    """A runner runs in this slot."""

    slot: int
    pid: int


@dataclass(frozen=True)
class Exited:
    """A runner ended: `code` is its exit code, or minus the signal that killed it."""

    slot: int
    pid: int
    code: int
    peak: int = field(default=0, compare=False)
    """Bytes of memory that it had at its peak, the datasets that it mapped included."""


class Zygote:
    """The agent's end of the fork server."""

    def __init__(self, sock: socket.socket, pid: int) -> None:
        self.socket = sock
        self.pid = pid

    def fork(self, slot: int, runner_socket: socket.socket) -> None:
        """Ask for a runner in this slot that talks over the socket; a Forked report follows. Raises OSError if the zygote is gone."""
        socket.send_fds(self.socket, [_FORK.pack(slot)], [runner_socket.fileno()])

    def read(self) -> list[Forked | Exited]:
        """Reports that have arrived; does not wait. Raises ConnectionError if the zygote is gone."""
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
        """End the fork server and wait for it; its runners are killed by it."""
        self.socket.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def start_zygote(arena: Arena, status: StatusPage, host: str = "") -> Zygote:
    """Fork the fork server. To be called from a process with one thread and no event loop. host: whose runners these are, for their log."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        ours.close()
        _leave(_Server(theirs, arena, status, host).serve)
    theirs.close()
    return Zygote(ours, pid)


def _leave(main: Callable[[], object]) -> NoReturn:
    """Run a child's main function and end the process without the parent's exit handlers."""
    code = 1
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except OSError:
        code = 0
    except BaseException:
        log.exception("a runner, or its fork server, ends with an error of its own")
    finally:
        os._exit(code)


def _kill_group(leader: int) -> None:
    """Kill a runner, or what is left of what it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


class _Server:
    """The fork server's own process."""

    def __init__(self, sock: socket.socket, arena: Arena, status: StatusPage, host: str) -> None:
        self._sock = sock
        self._arena = arena
        self._status = status
        self._host = host
        self._slots: dict[int, int] = {}

    def serve(self) -> None:
        """Fork on request and report ends until the agent is gone, however it went; then kill what still runs, and what that started."""
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
            kill_descendants(KILL_SECONDS)  # what tasks started in sessions of its own

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
            os.setpgid(pid, pid)  # what a task starts ends with its runner
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
