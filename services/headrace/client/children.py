"""The processes that a supervisor forks. Each runs a function, is watched by its id, and is ended with all its descendants."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from typing import NamedTuple

import psutil

PR_SET_CHILD_SUBREAPER = 36
"""prctl option: processes whose parent died become children of this process, instead of process 1's."""
PR_SET_NAME = 15
"""prctl option: the name of the process in `top` and `ps -o comm`."""
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None
POLL_SECONDS = 0.005
"""Seconds between checks of an ending supervisor whether its children are gone."""


class Death(NamedTuple):
    """A child that ended. status: its exit status, or minus the number of the signal that killed it."""

    name: str
    pid: int
    status: int


class Children:
    """The children of this process. Only this class waits for processes; nothing else in the process may do so."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        if _libc is not None:
            _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        gc.disable()  # the children share the imported objects, and a collection would write to all of them

    @property
    def pids(self) -> dict[str, int]:
        """Name and process id of the living children."""
        return {name: pid for pid, name in self._names.items()}

    def adopt(self, name: str, pid: int) -> None:
        """Watch a child that was started in another way."""
        self._names[pid] = name

    def fork(self, name: str, main: Callable[[], int]) -> int:
        """Start a child that runs `main` and exits with its result. Returns its process id."""
        gc.freeze()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if not pid:
            _set_name(name)
            _run_child(main)
        self._names[pid] = name
        return pid

    def reap(self) -> list[Death]:
        """Return the children that ended since the last call, including their orphans under the name "orphan"."""
        deaths = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            deaths.append(Death(self._names.pop(pid, "orphan"), pid, os.waitstatus_to_exitcode(status)))
        return deaths

    def terminate(self, names: Iterable[str], grace: float) -> None:
        """Ask these children to end, and wait for them for `grace` seconds."""
        pids = self.pids
        asked = [pids[name] for name in names if name in pids]
        for pid in asked:
            os.kill(pid, signal.SIGTERM)
        self._wait(lambda: not self._names.keys() & set(asked), grace)

    def kill_all(self, grace: float) -> None:
        """Kill every descendant, until none is left or `grace` seconds are over."""
        self._wait(self._kill_round, grace)

    def _kill_round(self) -> bool:
        descendants = psutil.Process().children(recursive=True)
        for process in descendants:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        return not descendants

    def _wait(self, over: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not over() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            self.reap()


def _set_name(name: str) -> None:
    if _libc is not None:
        _libc.prctl(PR_SET_NAME, f"hr-{name}".encode(), 0, 0, 0)


def _run_child(main: Callable[[], int]) -> None:
    status = 1
    try:
        gc.enable()
        status = main()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
