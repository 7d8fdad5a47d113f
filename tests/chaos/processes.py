"""Processes that the harness starts and ends by their ids. They are forked from the driver, which has imported everything before, and carry
a mark in their environment by which whatever they leave behind is found."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn

import psutil

from headrace.bus.process import parent_death_signal

MARK = "HEADRACE_CHAOS_MARK"
KILL_SECONDS = 10.0
"""For the end of a process that was killed."""


class Processes:
    """The children of one seed, by name."""

    def __init__(self, mark: str, logs: Path) -> None:
        self.mark = mark
        self.pids: dict[str, int] = {}
        self._logs = logs

    def fork(self, name: str, main: Callable[[], int], environment: Mapping[str, str], keep: Iterable[int] = ()) -> int:
        """Run a function in a child, in a session of its own, with an environment and a log of its own, and the descriptors that it is to
        keep. Returns its process id."""
        driver = os.getpid()
        pid = os.fork()
        if pid == 0:
            _become(lambda: _prepare(driver, self._logs / f"{name}.log", {**environment, MARK: self.mark}, set(keep)), main)
        self.pids[name] = pid
        return pid

    def reap(self) -> list[tuple[str, int]]:
        """The children that ended since the last call, with their exit codes: minus the signal for one that was killed."""
        ended = []
        for name, pid in list(self.pids.items()):
            with contextlib.suppress(ChildProcessError):
                found, status = os.waitpid(pid, os.WNOHANG)
                if not found:
                    continue
                del self.pids[name]
                ended.append((name, os.waitstatus_to_exitcode(status)))
        return ended

    def end_all(self, seconds: float, spared: Collection[str] = ()) -> list[tuple[str, int]]:
        """Tell all children but those that are spared to end, and kill those that have not ended after some seconds. Returns names and exit
        codes."""
        ended: list[tuple[str, int]] = []
        for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, KILL_SECONDS)):
            told = {name: pid for name, pid in self.pids.items() if name not in spared}
            for pid in told.values():
                send(pid, number)
                send(pid, signal.SIGCONT)
            deadline = time.monotonic() + patience
            while told.keys() & self.pids.keys() and time.monotonic() < deadline:
                ended += self.reap()
                time.sleep(0.01)
        return ended

    def marked(self) -> Iterator[psutil.Process]:
        """Every process of the machine that carries the mark, and has not ended."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.pid != os.getpid() and process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    yield process


def send(pid: int, number: signal.Signals) -> bool:
    """Send a signal to a process. Returns whether it was there."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _prepare(driver: int, log: Path, environment: Mapping[str, str], keep: set[int]) -> None:
    os.setsid()
    parent_death_signal(driver)
    for handled in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(handled, signal.SIG_DFL)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    for number in range(3, 1024):
        if number not in keep:
            with contextlib.suppress(OSError):
                os.close(number)
    os.environ.clear()
    os.environ.update(environment)


def _become(prepare: Callable[[], None], main: Callable[[], int]) -> NoReturn:
    """Run the child's main function, and end the process without the driver's exit handlers."""
    code = 1
    try:
        prepare()
        code = main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
