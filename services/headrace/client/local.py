"""The processes of a local cluster, as the client sees them: it starts, watches and ends them through their supervisor."""

from __future__ import annotations

import json
import os
import re
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from headrace.client import orders
from headrace.client.settings import SETTINGS
from headrace.errors import ClusterFailed

_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from headrace.client.supervisor import main; main()"
"""The supervisor's first program. It sets the client's module path, so that tasks can use every module that the client can import."""


_RECORD = re.compile(r"\{|\d{4}-\d\d-\d\dT")
"""The start of a log record: JSON, or a time. Other lines continue the record before them."""


class LocalServices:
    """The processes of a local cluster. They are still starting when this is made; `wait_started` waits for them.

    hosts: worker services. runners: processes that run tasks, per host. capacity: bytes of each host's store, 0 for the default. resources:
    what each host has. log_file: file for the services' log; None: an unnamed file. pids: process ids of the services by name, once
    started, and of their supervisor.
    """

    def __init__(
        self, hosts: int, runners: int, capacity: int, log_file: str | os.PathLike[str] | None, resources: dict[str, float]
    ) -> None:
        self._owner = os.getpid()
        given = orders.Orders(client=self._owner, hosts=hosts, runners=runners, capacity=capacity, resources=resources)
        self._log = tempfile.TemporaryFile() if log_file is None else open(log_file, "a+b")  # noqa: SIM115 - closed by stop
        self._log_start = os.fstat(self._log.fileno()).st_size
        try:
            self._process = _start_process(given, self._log.fileno())
        except BaseException:
            self._log.close()
            raise
        self._folders: list[str] = []
        self._pending = b""
        self._started: orders.Started | None = None
        self._hosts: set[str] = set()
        self.pids = {"supervisor": self._process.pid}

    def wait_started(self, timeout: float) -> orders.Started:
        """Wait until the server answers and every service was forked. Raises ClusterFailed with the services' log."""
        deadline = time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            selector.register(self.report_fd(), selectors.EVENT_READ)
            while self._started is None:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise self.failure_to_start(timeout)
                failure = self.check_reports()
                if failure is not None:
                    raise failure
        return self._started

    def report_fd(self) -> int:
        """Return a descriptor that is readable when a report has arrived, and at the supervisor's end: then call `check_reports`."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def check_reports(self) -> ClusterFailed | None:
        """Read the reports since the last call.

        Returns why the cluster cannot continue, if it cannot: its supervisor ended, or an indispensable service or the last host ended
        after too many restarts.
        """
        chunk = os.read(self.report_fd(), 65536)
        if not chunk:
            return self._failure("the local cluster's supervisor ended, and with it the cluster")
        *lines, self._pending = (self._pending + chunk).split(b"\n")
        reports = map(orders.decode_report.decode, lines)
        failures = [_ON_REPORT[type(report)](self, report) for report in reports]
        return next(filter(None, failures), None)

    def _note_folders(self, report: orders.Folders) -> None:
        self._folders = report.paths

    def _note_started(self, report: orders.Started) -> None:
        self._started = report
        self.pids.update(report.pids)
        self._hosts = set(report.hosts)

    def _note_restarted(self, report: orders.Restarted) -> None:
        self.pids[report.service] = report.pid

    def _note_died(self, report: orders.Died) -> ClusterFailed | None:
        if not report.final or self._can_do_without(report.service):
            return None
        how = f"was killed by signal {-report.status}" if report.status < 0 else f"ended with status {report.status}"
        often = f"for the {report.ends}th time within {SETTINGS.restart_window_seconds:g} s"
        return self._failure(f"{report.service} of the local cluster {how}, {often}, and is not restarted", report.service)

    def _can_do_without(self, service: str) -> bool:
        """Return whether the cluster has another host, if the service is a host."""
        is_host = service in self._hosts
        self._hosts.discard(service)
        return is_host and bool(self._hosts)

    def failure_to_start(self, timeout: float) -> ClusterFailed:
        """Return the error for a cluster that takes too long to start."""
        return self._failure(f"the local cluster did not start within {timeout:g} s")

    def stop(self) -> None:
        """End every process, and remove every file. Only the process that started them may do this; in others it does nothing."""
        if os.getpid() != self._owner:
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(SETTINGS.supervisor_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()
        for path in self._folders:  # the supervisor has removed them, unless it was killed
            shutil.rmtree(path, ignore_errors=True)

    def _failure(self, message: str, service: str = "") -> ClusterFailed:
        """Return the error to raise, with the last log records of a service, or of all services."""
        log = self._log.fileno()
        size = os.fstat(log).st_size  # read in place: the writers share the file's position
        start = max(self._log_start, size - SETTINGS.log_read_bytes)  # the file may have lines of earlier clusters
        text = os.pread(log, SETTINGS.log_read_bytes, start).decode(errors="replace").strip()
        tail = (last_words(text, service) or text)[-SETTINGS.log_tail_bytes :]
        return ClusterFailed(f"{message}; the end of its log:\n{tail}" if tail else f"{message}; its services logged nothing")


_ON_REPORT: dict[type[Any], Callable[[LocalServices, Any], ClusterFailed | None]] = {
    orders.Folders: LocalServices._note_folders,
    orders.Started: LocalServices._note_started,
    orders.Restarted: LocalServices._note_restarted,
    orders.Died: LocalServices._note_died,
}
"""The function for each type of report. It returns why the cluster cannot continue, if it cannot."""


def last_words(text: str, service: str) -> str:
    """Return the records of one service (a host or a central service) of a log, with their tracebacks."""
    of_it = re.compile(rf'(service|host)(=|": ?"){re.escape(service)}\b')
    kept, keep = [], False
    for line in text.splitlines():
        if _RECORD.match(line):
            keep = of_it.search(line) is not None
        if keep:
            kept.append(line)
    return "\n".join(kept) if service else ""


def _start_process(given: orders.Orders, log: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", _BOOT, json.dumps(sys.path), orders.encode(given).decode()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        start_new_session=True,
    )
