"""The parts of a local cluster that deal with processes and folders, each on its own."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from headrace.client.folders import PREFIX, make_folder, sweep
from headrace.client.memory import private_peak

CHILDREN = """
import os, signal, sys, time
from headrace.client.children import Children
children = Children()
"""


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", CHILDREN + code, *arguments], capture_output=True, text=True, timeout=30, check=False)


def test_a_folder_is_swept_once_nobody_holds_it(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    (folder.path / "file").write_text("left behind")
    (tmp_path / "headrace-other").mkdir()
    sweep(tmp_path)
    assert folder.path.exists()
    os.close(folder.lock)
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["headrace-other"]


def test_the_lock_lives_as_long_as_a_process_that_inherited_it(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[folder.lock])
    os.close(folder.lock)
    sweep(tmp_path)
    assert folder.path.exists()
    child.kill()
    child.wait()
    sweep(tmp_path)
    assert not list(tmp_path.glob(f"{PREFIX}*"))


def test_a_folder_that_was_swept_before_it_was_locked_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = fcntl.flock
    removed: list[Path] = []

    def remove_first(descriptor: int, how: int) -> None:
        if not removed:
            removed.extend(tmp_path.iterdir())
            removed[0].rmdir()
        locked(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    folder = make_folder(tmp_path)
    os.close(folder.lock)
    assert folder.path.exists()
    assert folder.path != removed[0]


def test_children_end_with_what_their_main_returns() -> None:
    done = python("""
pid = children.fork("three", lambda: 3)
kill = children.fork("killed", lambda: time.sleep(60) or 0)
fails = children.fork("fails", lambda: 1 / 0)
os.kill(kill, signal.SIGKILL)
deaths = []
while len(deaths) < 3:
    deaths += children.reap()
    time.sleep(0.005)
print(sorted((death.name, death.status) for death in deaths))
""")
    assert done.stdout.strip() == "[('fails', 1), ('killed', -9), ('three', 3)]"
    assert "ZeroDivisionError" in done.stderr


def test_nothing_of_a_child_is_left_that_does_not_want_to_end() -> None:
    done = python("""
told, tell = os.pipe()
def tell_pid():
    os.write(1, b"pid %d\\n" % os.getpid())
    os.write(tell, b".")
def stubborn():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for _ in range(2):
        if not os.fork():
            os.setsid()
            tell_pid()
            time.sleep(60)
    tell_pid()
    time.sleep(60)
    return 0
children.fork("stubborn", stubborn)
for _ in range(3):
    os.read(told, 1)
started = time.monotonic()
children.terminate(["stubborn"], 0.2)
children.kill_all(2.0)
print("took", time.monotonic() - started, children.pids)
""")
    lines = [line.split() for line in done.stdout.splitlines()]
    pids = [int(words[1]) for words in lines if words[0] == "pid"]
    assert len(pids) == 3
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert lines[-1][2] == "{}"
    assert float(lines[-1][1]) < 1.0


def test_the_private_peak_counts_what_was_freed_again() -> None:
    code = "import numpy; a = numpy.ones(8 << 20); del a; print('ready', flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    peak, now = private_peak(child.pid), psutil.Process(child.pid).memory_full_info().uss
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert peak > (64 << 20)
    assert now < (64 << 20)
    assert private_peak(child.pid) == 0
