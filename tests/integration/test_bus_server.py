"""The embedded server: quick, private, and gone with its parent."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from headrace.bus import EmbeddedServer
from headrace.errors import NatsUnreachable
from tests.waiting import eventually


def _gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_it_starts_at_once_keeps_its_port_and_leaves_nothing_running(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "a folder")
    times = []
    for _ in range(3):
        since = time.monotonic()
        server.start()
        times.append(time.monotonic() - since)
        pid, url = server.pid, server.url
        assert server.start().pid == pid
        server.stop()
        eventually(lambda pid=pid: _gone(pid), 5.0)
        assert server.pid == 0
        assert server.url == url
    assert min(times) < 0.5
    server.stop()


def test_the_token_is_in_no_argument_and_no_file_of_others(nats_server: EmbeddedServer) -> None:
    assert nats_server.token not in " ".join(psutil.Process(nats_server.pid).cmdline())
    assert stat.S_IMODE((nats_server.folder / "nats-server.conf").stat().st_mode) == 0o600


def test_its_threads_are_one_unless_the_user_says_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOMAXPROCS", raising=False)
    with EmbeddedServer(tmp_path / "one") as server:
        assert psutil.Process(server.pid).environ()["GOMAXPROCS"] == "1"
    assert "GOMAXPROCS" not in os.environ
    monkeypatch.setenv("GOMAXPROCS", "3")
    with EmbeddedServer(tmp_path / "three") as server:
        assert psutil.Process(server.pid).environ()["GOMAXPROCS"] == "3"


def test_a_server_that_cannot_start_says_why(tmp_path: Path, nats_server: EmbeddedServer) -> None:
    other = EmbeddedServer(tmp_path / "other")
    other.port = nats_server.port
    with pytest.raises(NatsUnreachable, match="address already in use"):
        other.start()
    assert other.pid == 0


def test_started_from_a_thread_it_outlives_the_thread(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    time.sleep(0.1)  # the kernel's signal, if it were sent, would be there by now
    assert server.pid
    server.stop()


CHILD = """
import sys, threading, time
from headrace.bus import EmbeddedServer
server = EmbeddedServer(sys.argv[1])
if sys.argv[2] == "thread":
    thread = threading.Thread(target=server.start); thread.start(); thread.join()
else:
    server.start()
print(server.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal")
@pytest.mark.parametrize("where", ["main", "thread"])
def test_it_ends_with_its_parent_however_that_ends(tmp_path: Path, where: str) -> None:
    parent = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path), where], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert psutil.pid_exists(pid)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    eventually(lambda: _gone(pid), 5.0)
