"""A local cluster's processes, seen from the client: started, watched and ended through their supervisor."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from headrace.client import orders
from headrace.client.folders import Folder, make_folder, shm_base, sweep
from headrace.client.settings import LOG_TAIL_BYTES, START_TIMEOUT, SUPERVISOR_GRACE
from headrace.errors import ClusterFailed

LOG_NAME = "services.log"
_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from headrace.client.supervisor import main; main()"
"""The supervisor has the client's module path, so that a module that can be imported there can be in a task."""


class LocalServices:
    """The processes of a local cluster. Made while they still start; `wait_started` waits for them.

    hosts: worker services. runners: processes that execute tasks, per host. capacity: bytes of each host's store, 0 for the default.
    log_file: where the services log; by default into a file that goes with the cluster. `pids`: process ids of the services by their
    names, once started, and of their supervisor.
    """

    def __init__(self, hosts: int, runners: int, capacity: int = 0, log_file: str | os.PathLike[str] | None = None) -> None:
        self._owner = os.getpid()
        self._folders = _make_folders()
        folder, shm = self._folders
        log_path = Path(log_file) if log_file is not None else folder.path / LOG_NAME
        given = orders.Orders(
            client=self._owner, hosts=hosts, runners=runners, capacity=capacity, folder=str(folder.path), shm=str(shm.path)
        )
        try:
            with open(log_path, "ab") as log:
                self._process = _start_process(given, log.fileno(), [folder.lock, shm.lock])
            self._log = open(log_path, "rb")  # noqa: SIM115 - read when something failed, also after the file was removed
        except BaseException:
            self._remove_folders()
            raise
        finally:
            for item in self._folders:
                os.close(item.lock)
        self._pending = b""
        self._all_hosts: frozenset[str] = frozenset()
        self._hosts: set[str] = set()
        self.pids = {"supervisor": self._process.pid}

    def wait_started(self, timeout: float = START_TIMEOUT) -> orders.Started:
        """Wait until the server answers and every service was forked. Raises ClusterFailed with the services' log."""
        started: orders.Started | None = None
        for report in self._wait_reports(timeout):
            if isinstance(report, orders.Died):
                raise self.failure(report)
            started = report
        if started is None:
            raise self.failure_to_start(timeout)
        self.pids.update(started.pids)
        self._all_hosts = frozenset(started.hosts)
        self._hosts = set(started.hosts)
        return started

    def report_fd(self) -> int:
        """Readable when a report has come, and at the supervisor's end: then call `read_reports`."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def read_reports(self) -> list[orders.Report] | None:
        """What was reported since the last call; None at the supervisor's end."""
        chunk = os.read(self.report_fd(), 65536)
        if not chunk:
            return None
        *lines, self._pending = (self._pending + chunk).split(b"\n")
        return [orders.decode_report.decode(line) for line in lines]

    def consider(self, report: orders.Report) -> ClusterFailed | None:
        """Whether the cluster can go on after what was reported: not without a central service or its last host. None, or what to tell."""
        if isinstance(report, orders.Started):
            return None
        self._hosts.discard(report.service)
        return self.failure(report) if report.service not in self._all_hosts or not self._hosts else None

    def failure_to_start(self, timeout: float) -> ClusterFailed:
        """What to tell of a cluster that takes too long."""
        return ClusterFailed(self._with_log(f"the local cluster did not start within {timeout:g} s"))

    def failure(self, death: orders.Died | None = None) -> ClusterFailed:
        """What to tell of a service that ended; of the supervisor, if none is given."""
        if death is None:
            return ClusterFailed(self._with_log("the local cluster's supervisor ended, and everything with it"))
        how = f"was killed by signal {-death.status}" if death.status < 0 else f"ended with status {death.status}"
        return ClusterFailed(self._with_log(f"{death.service} of the local cluster {how}"))

    def stop(self) -> None:
        """End every process and remove every file. To be called by the process that started them; others change nothing by it."""
        if os.getpid() != self._owner:
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(SUPERVISOR_GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()
        self._remove_folders()  # the supervisor does, unless it was killed

    def _wait_reports(self, timeout: float) -> list[orders.Report]:
        deadline = time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            selector.register(self.report_fd(), selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0:
                if selector.select(left):
                    reports = self.read_reports()
                    if reports is None:
                        raise self.failure()
                    if reports:
                        return reports
        return []

    def _with_log(self, message: str) -> str:
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
        tail = self._log.read().decode(errors="replace").strip()
        return f"{message}; the end of its log:\n{tail}" if tail else f"{message}; its services logged nothing"

    def _remove_folders(self) -> None:
        for item in self._folders:
            shutil.rmtree(item.path, ignore_errors=True)


def _make_folders() -> tuple[Folder, Folder]:
    bases = Path(tempfile.gettempdir()), shm_base()
    for base in dict.fromkeys(bases):
        sweep(base)
    folder = make_folder(bases[0])
    try:
        return folder, make_folder(bases[1])
    except OSError:
        shutil.rmtree(folder.path, ignore_errors=True)
        os.close(folder.lock)
        raise


def _start_process(given: orders.Orders, log: int, locks: list[int]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", _BOOT, json.dumps(sys.path), orders.encode(given).decode()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        pass_fds=locks,
        start_new_session=True,
    )
