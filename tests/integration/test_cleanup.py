"""However a program ends, nothing of its local cluster remains: no process, no file in the temporary folder or in shared memory."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.waiting import eventually

GONE_WITHIN = 8.0
"""Seconds. It takes a fraction of one; a busy machine takes longer."""
MARK = "HEADRACE_TEST_MARK"

PROGRAM = """
import os, sys, time
import numpy as np
import headrace as hr

def slow(number):
    time.sleep(600)

def large(number):
    return np.full(1 << 18, number)

cluster = hr.Cluster.local(hosts=2, runners=2)
graph = hr.Graph()
parts = [graph.add(large, number) for number in range(8)]
graph.output(parts, [graph.add(slow, part) for part in parts])
job = cluster.submit(graph)
job.result("large-0")
print("running", cluster.pids()["supervisor"], flush=True)
"""
ENDINGS = {
    "close": "cluster.close()",
    "block": "with cluster: pass",
    "exception": "with cluster: raise RuntimeError('on purpose')",
    "exit": "with cluster: sys.exit(3)",
    "never closed": "",
    "no handlers": "os._exit(0)",
    "waiting": "with cluster: job.results()",
    "waiting without a block": "job.results()",
}


class Program:
    """A program with a local cluster, in a process group of its own, and what it left."""

    def __init__(self, code: str, folders: list[Path]) -> None:
        self.mark = secrets.token_hex(8)
        self.folders = folders
        env = {**os.environ, MARK: self.mark, "TMPDIR": str(folders[0]), "HEADRACE_SHM_DIR": str(folders[1])}
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def wait_running(self) -> int:
        """Wait until it has a job. Returns the supervisor's process id."""
        assert self.process.stdout is not None
        words = self.process.stdout.readline().split()
        if not words:
            pytest.fail(f"the program did not start: {self.process.communicate()[1]}")
        return int(words[1])

    def processes(self) -> list[psutil.Process]:
        """All that carry its mark."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def left(self) -> list[str]:
        """What is left once it ended: processes and files."""
        files = [str(path) for folder in self.folders for path in folder.iterdir()]
        return [f"process {process.pid}" for process in self.processes()] + files

    def check_gone(self) -> None:
        """Everything goes, soon."""
        eventually(lambda: not self.left(), GONE_WITHIN, told=self.left)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Program]]:
    """Starts programs, and ends what is left of them by process id."""
    base = Path("/dev/shm") if Path("/dev/shm").is_dir() else tmp_path
    with tempfile.TemporaryDirectory(dir=base) as shm:
        (tmp_path / "tmp").mkdir()
        programs: list[Program] = []

        def run(code: str) -> Program:
            programs.append(Program(code, [tmp_path / "tmp", Path(shm)]))
            return programs[-1]

        yield run
        for program in programs:
            for process in program.processes():
                process.kill()
            program.process.communicate()


@pytest.mark.parametrize("ending", ["close", "block", "exception", "exit", "never closed", "no handlers"])
def test_nothing_is_left_when_the_program_ends_by_itself(start: Callable[[str], Program], ending: str) -> None:
    program = start(PROGRAM + ENDINGS[ending])
    program.wait_running()
    status = program.process.wait(GONE_WITHIN)
    program.check_gone()
    assert status == {"exception": 1, "exit": 3}.get(ending, 0)
    assert program.process.stderr is not None
    assert program.process.stderr.read().count("Traceback") == (ending == "exception")


@pytest.mark.parametrize("ending", ["waiting", "waiting without a block"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_after_a_signal(start: Callable[[str], Program], number: signal.Signals, ending: str) -> None:
    program = start(PROGRAM + ENDINGS[ending])
    program.wait_running()
    assert len(program.processes()) > 6
    os.killpg(program.process.pid, number)  # what a terminal does at Ctrl-C: everything in the foreground gets it
    status = program.process.wait(GONE_WITHIN)
    program.check_gone()
    assert status == -number
    assert program.process.stderr is not None
    lines = program.process.stderr.read().splitlines()
    assert [line for line in lines if line and not line.startswith(("Traceback", "  ", "KeyboardInterrupt"))] == []
    assert sum(line.startswith("Traceback") for line in lines) == (number == signal.SIGINT)


def test_nothing_is_left_when_the_supervisor_is_killed(start: Callable[[str], Program]) -> None:
    program = start(PROGRAM + "\ntry:\n    job.results()\nexcept hr.ClusterFailed as error:\n    print(error)\n")
    os.kill(program.wait_running(), signal.SIGKILL)
    program.process.wait(GONE_WITHIN)
    program.check_gone()
    assert program.process.stdout is not None
    assert "supervisor ended" in program.process.stdout.read()


SESSIONS = """
import os, subprocess, sys, time
import headrace as hr

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]

def start_sessions():
    subprocess.Popen(SLEEP, start_new_session=True)
    if not os.fork():
        os.setsid()
        if not os.fork():
            time.sleep(600)
        os._exit(0)
    os.wait()
    return True

cluster = hr.Cluster.local(hosts=1, runners=1)
graph = hr.Graph()
graph.output(graph.add(start_sessions, name="sessions"))
cluster.submit(graph).results(30)
print("running", cluster.pids()["supervisor"], *cluster.pids().values(), flush=True)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems do not let a process adopt orphans")
@pytest.mark.parametrize("killed", ["", "supervisor", "host-0"])
def test_nothing_is_left_of_what_tasks_start_in_sessions_of_their_own(start: Callable[[str], Program], killed: str) -> None:
    kill = f"os.kill(cluster.pids()[{killed!r}], 9)\n" if killed else ""
    program = start(SESSIONS + kill + "cluster.close()")
    program.wait_running()
    program.process.wait(GONE_WITHIN)
    program.check_gone()


@pytest.mark.parametrize("delay", [0.05, 0.2, 0.4])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_of_a_start_that_was_cut_short(start: Callable[[str], Program], number: signal.Signals, delay: float) -> None:
    program = start("import headrace as hr, time\nprint('here', 0, flush=True)\nhr.Cluster.local()\ntime.sleep(60)")
    program.wait_running()
    time.sleep(delay)  # no condition to wait for: anywhere in the start will do
    os.killpg(program.process.pid, number)
    program.process.wait(GONE_WITHIN)
    program.check_gone()


def test_the_next_cluster_removes_what_a_double_kill_left(start: Callable[[str], Program]) -> None:
    program = start(PROGRAM + ENDINGS["waiting"])
    supervisor = program.wait_running()
    for pid in (program.process.pid, supervisor):
        os.kill(pid, signal.SIGSTOP)
    for pid in (program.process.pid, supervisor):
        os.kill(pid, signal.SIGKILL)
    program.process.wait(GONE_WITHIN)
    eventually(lambda: not program.processes(), GONE_WITHIN)
    assert any(program.folders[0].iterdir())
    follower = start("import headrace as hr\nhr.Cluster.local(hosts=1).close()")
    assert follower.process.wait(GONE_WITHIN) == 0
    follower.check_gone()
    program.check_gone()


def test_ctrl_c_while_closing_does_not_stop_the_closing(start: Callable[[str], Program]) -> None:
    """The second one comes when the supervisor is being waited for; it leaves no second traceback."""
    slow = (
        "wait = cluster._local._process.wait\n"
        "cluster._local._process.wait = lambda grace: (print('closing', flush=True), time.sleep(0.3), wait(grace))\n"
    )
    program = start(PROGRAM.replace('print("running"', f'{slow}print("running"') + ENDINGS["waiting"])
    program.wait_running()
    os.kill(program.process.pid, signal.SIGINT)
    assert program.process.stdout is not None
    assert program.process.stdout.readline() == "closing\n"
    os.kill(program.process.pid, signal.SIGINT)
    errors = program.process.communicate(timeout=GONE_WITHIN)[1]
    program.check_gone()
    assert errors.count("Traceback") == 1
    assert errors.rstrip().endswith("KeyboardInterrupt")


def test_ctrl_c_while_closing_counts_once_it_is_closed(start: Callable[[str], Program]) -> None:
    code = "import signal\nstop = cluster._local.stop\ncluster._local.stop = lambda: (signal.raise_signal(signal.SIGINT), stop())\n"
    program = start(PROGRAM + code + "try: cluster.close()\nexcept KeyboardInterrupt: print('told')\n")
    program.wait_running()
    assert program.process.communicate(timeout=GONE_WITHIN) == ("told\n", "")
    program.check_gone()
