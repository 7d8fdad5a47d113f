"""The process that runs a local cluster.

It starts every service, restarts services that end by themselves, and finally ends all of them, whatever happens.

It imports everything once and forks the services from that, so that they start in milliseconds and share the memory of the code. Its
standard input is its lifeline: when that closes (the client closed it, or died), or at SIGTERM, the cluster ends. Where the kernel supports
it, it also watches the client's process, because a child that the client forked may hold the lifeline open. If it is killed itself, the
services die with it. It runs in its own session, out of reach of a terminal's Ctrl-C, and in a single thread without an event loop, so that
forking is safe.

`headrace.client.local` starts it; all logs go to its standard error.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from headrace.bus import EmbeddedServer, parent_death_signal
from headrace.client import orders, services
from headrace.client.children import Children
from headrace.client.folders import Folder, make_folder, sweep
from headrace.client.restarts import Restarts
from headrace.client.settings import SETTINGS
from headrace.client.store_watch import LogTail, StoreWatch, free_bytes
from headrace.errors import HeadraceError, SettingsError
from headrace.logs import get_log, set_up_logging
from headrace.variables import shm_folder
from headrace.worker.threads import set_variables

log = get_log(__name__)

LIFELINE = 0
SERVER = "nats-server"


class Supervisor:
    """The supervisor of one local cluster: it starts the services, sends reports, waits for the end, and ends the services."""

    def __init__(self, given: orders.Orders) -> None:
        self.orders = given
        self.ending = False
        self._folders: list[Folder] = []
        self._starts: dict[str, Callable[[], object]] = {}
        """The functions that start each service, also after its end."""
        self._restarts = Restarts()
        self._store = StoreWatch()
        self._server_log: LogTail
        self._reports = _keep_stdout_for_reports()
        self._selector = selectors.DefaultSelector()
        self._watch_signals()
        self._watch_client()
        self.children = Children()

    def run(self) -> None:
        """Run the cluster from start to end. Afterwards none of its processes and folders is left."""
        try:
            self._start()
            while not self.ending:
                self._turn()
        finally:
            self.children.terminate([name for name in self.children.pids if name != SERVER], SETTINGS.service_seconds)
            self.children.kill_all(SETTINGS.kill_seconds)
            for folder in self._folders:
                shutil.rmtree(folder.path, ignore_errors=True)

    def _start(self) -> None:
        self._make_folders()
        folder, shm = self._folders
        with contextlib.suppress(SettingsError):  # the workers raise this error
            set_variables(self.orders.hosts * self.orders.runners)  # before numpy is loaded
        importing = threading.Thread(target=_import_services)
        importing.start()  # in parallel with the server's start, but done before anything is forked
        server = EmbeddedServer(folder.path).start()
        importing.join()
        self.children.adopt(SERVER, server.pid)
        self._server_log = LogTail(server.log)
        self._starts[SERVER] = lambda: self.children.adopt(SERVER, server.start().pid)
        hosts = [f"host-{index}" for index in range(self.orders.hosts)]
        for name, main in services.mains(self.orders, hosts, shm.path, server.settings):
            self._starts[name] = partial(self.children.fork, name, self._apart(main))
            self._starts[name]()
        self._report(orders.Started(url=server.url, token=server.token, hosts=hosts, pids=self.children.pids))

    def _make_folders(self) -> None:
        for base in (Path(tempfile.gettempdir()), shm_folder(os.environ.get("HEADRACE_SHM_DIR", ""))):
            sweep(base)
            self._folders.append(make_folder(base))
        self._report(orders.Folders(paths=[str(folder.path) for folder in self._folders]))

    def _apart(self, main: Callable[[], int]) -> Callable[[], int]:
        """Wrap `main` for a child that closes the supervisor's resources, and dies with the supervisor."""
        supervisor = os.getpid()

        def start() -> int:
            parent_death_signal(supervisor)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._selector.close()
            os.close(self._reports)
            os.dup2(os.open(os.devnull, os.O_RDONLY), LIFELINE)
            return main()

        return start

    def _watch_signals(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(read, selectors.EVENT_READ, self._reap)

    def _watch_client(self) -> None:
        self._selector.register(LIFELINE, selectors.EVENT_READ, self._end)
        if hasattr(os, "pidfd_open"):
            try:
                self._selector.register(os.pidfd_open(self.orders.client), selectors.EVENT_READ, self._end)
            except OSError:  # the client is dead, or the kernel has no pidfd: the lifeline suffices
                return

    def _turn(self) -> None:
        due = self._restarts.seconds_to_next(time.monotonic())
        for key, _ in self._selector.select(SETTINGS.disk_look_seconds if due is None else min(due, SETTINGS.disk_look_seconds)):
            key.data(key.fd)
        self._look_at_store()
        for service in self._restarts.take_due(time.monotonic()):
            if not self.ending:
                self._restart(service)

    def _look_at_store(self) -> None:
        """End a server that no longer stores messages because its disk was full, once there is room. It is then started again."""
        pid = self.children.pids.get(SERVER)
        if pid and self._store.needs_restart(self._server_log.read(), free_bytes(self._folders[0].path)):
            log.warning("nats-server could not write to its full disk, which has room again: restarting it")
            os.kill(pid, signal.SIGTERM)

    def _restart(self, service: str) -> None:
        log.warning("restarting a service that ended", started=service)
        try:
            self._starts[service]()
        except (HeadraceError, OSError) as error:
            log.error("cannot start a service", started=service, error=error)
            self._ended(service, 1)
        else:
            self._report(orders.Restarted(service=service, pid=self.children.pids[service]))

    def _reap(self, wakeups: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(wakeups, 4096)
        for death in self.children.reap():
            if death.name in self._starts:
                self._ended(death.name, death.status)

    def _ended(self, service: str, status: int) -> None:
        """Schedule a restart of a service, unless it was restarted too often."""
        again = self._restarts.ended(service, time.monotonic())
        log.warning("a service ended", ended=service, status=status, again=again)
        self._report(orders.Died(service=service, status=status, ends=self._restarts.ends(service), final=not again))

    def _report(self, report: orders.Report) -> None:
        with contextlib.suppress(BrokenPipeError):  # the client is gone; the lifeline ends the cluster
            os.write(self._reports, orders.encode(report) + b"\n")

    def _end(self, *_: object) -> None:
        self.ending = True


def _keep_stdout_for_reports() -> int:
    """Return a descriptor for reports that no child inherits by exec. Services print to the log instead."""
    reports = os.dup(1)
    os.dup2(2, 1)
    return reports


def _import_services() -> None:
    with contextlib.suppress(Exception):  # a failed import fails again where it is used
        services.import_all()


def main() -> None:
    """Entry point of the supervisor's process, whose last argument is its orders."""
    set_up_logging(lambda: {"service": "supervisor"})
    Supervisor(orders.decode_orders(sys.argv[-1])).run()


if __name__ == "__main__":
    main()
