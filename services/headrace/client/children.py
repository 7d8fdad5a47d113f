"""The processes that a supervisor forks: each is started by a function, watched by its id, and ended with everything that it started."""

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
"""prctl option: what `top` and `ps -o comm` call the process."""
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None
POLL_SECONDS = 0.005
"""How often an ending supervisor looks whether its children are gone. Only while it ends."""


class Death(NamedTuple):
    """A child that ended. status: its exit status, or minus the number of the signal that killed it."""

    name: str
    pid: int
    status: int


class Children:
    """The children of this process. All waiting for processes is done here, so nothing else in the process may wait for them."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        if _libc is not None:
            _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        gc.disable()  # what was imported is shared with the children, and a collection would write to all of it

    @property
    def pids(self) -> dict[str, int]:
        """Name and process id of those that live."""
        return {name: pid for pid, name in self._names.items()}

    def adopt(self, name: str, pid: int) -> None:
        """Watch a child that was started in another way."""
        self._names[pid] = name

    def fork(self, name: str, main: Callable[[], int]) -> int:
        """Start a child that runs `main` and exits with what it returns. Returns its process id."""
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
        """The children that ended since the last call, orphans of theirs included under the name "orphan"."""
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
