"""`Cluster`: the place where a user's graphs run."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import weakref
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

import msgspec

from headrace.client.interrupts import interrupts_held
from headrace.client.local import LocalServices
from headrace.client.nested import datasets_in, with_values
from headrace.client.settings import SETTINGS, Settings, check_timeout
from headrace.errors import ClusterFailed, GraphError, HeadraceError, SettingsError
from headrace.graph.builder import Graph
from headrace.graph.node import Dataset, Node
from headrace.graph.resources import check_resources
from headrace.sizes import MIN_CAPACITY

if TYPE_CHECKING:  # imported at run time while the services of a local cluster start, and not before
    from headrace.bus import BusSettings
    from headrace.client.catalogue import Catalogue, OutputRecord
    from headrace.client.connection import Connection
    from headrace.client.job import Job
    from headrace.client.standing import ClusterStatus
    from headrace.sinks.sink import Sink
    from headrace_schemas import GraphSpec, JobEntry, SinkSpec


class Cluster:
    """A cluster that runs graphs. Made by `Cluster.local` or `Cluster.connect`; use it in a `with` block, or `close` it.

    You may use it from any thread, but not in a process that was forked from the one that made it. Closing a local cluster ends all its
    processes and removes all its files; so does any end of the program, including a kill. Closing a connected cluster leaves the cluster
    and its jobs running.
    """

    def __init__(self, connection: Connection, settings: BusSettings, local: LocalServices | None, progress: bool | None) -> None:
        self._connection = connection
        self._settings = settings
        self._local = local
        self._progress = progress
        self._finalizer = weakref.finalize(self, _close_at_last, os.getpid(), connection, local)

    # --- making one -----------------------------------------------------------------------------------------------------

    @classmethod
    def local(
        cls,
        hosts: int = 2,
        runners: int = 1,
        capacity: int | None = None,
        *,
        resources: Mapping[str, float] | None = None,
        progress: bool | None = None,
        log_file: str | os.PathLike[str] | None = None,
        timeout: float = SETTINGS.start_seconds,
    ) -> Cluster:
        """Start a cluster on this machine: its own processes and NATS server, on free ports of the loopback interface.

        Tasks can import whatever this process can: they have its module path and working directory.

        hosts: number of worker services, which share no memory, as if they were machines. runners: processes that run tasks, per host.
        capacity: bytes of each host's store, at least 1 MiB; by default the hosts share half of the memory. resources: amounts that each
        host has for tasks that need them (`hr.task(f, resources=...)`), e.g. {"gpu": 1}. progress: whether to show a bar during long waits;
        by default if standard error is a terminal. log_file: file for the log of the services (from HEADRACE_LOG_LEVEL up, by default
        warnings) and for the output of `print` in tasks; by default a file that is removed with the cluster. timeout: seconds for the
        start.

        Raises SettingsError for invalid resources, and ClusterFailed, with the end of the services' log, if they do not start.
        """
        _check_sizes(hosts, runners, capacity)
        check_timeout(timeout)
        services = LocalServices(hosts, runners, capacity or 0, log_file, _checked(resources))
        try:
            return cls._join(services, hosts, progress, timeout)
        except BaseException:
            with interrupts_held():
                services.stop()
            raise

    @classmethod
    def _join(cls, services: LocalServices, hosts: int, progress: bool | None, timeout: float) -> Cluster:
        """Connect to a local cluster that still starts, and wait for its hosts."""
        from headrace.bus import BusSettings
        from headrace.client import job  # noqa: F401 - imports everything that a first job needs
        from headrace.client.connection import Connection

        started = services.wait_started(timeout)
        settings = BusSettings(url=started.url, token=started.token)
        connection = Connection(settings, of_its_own=True)
        try:
            connection.thread.soon(_watch_services, connection, services)
            connection.call(connection.wait_hosts(hosts), timeout)
        except TimeoutError:
            connection.close(flush=False)
            raise services.failure_to_start(timeout) from None
        except BaseException:
            connection.close(flush=False)
            raise
        return cls(connection, settings, services, progress)

    @classmethod
    def connect(
        cls, url: str = "", *, token: str = "", via: str = "", progress: bool | None = None, connect_timeout: float = 0.0, **login: str
    ) -> Cluster:
        """Connect to a running cluster.

        url: its NATS server, or several separated by commas. token, or user=, password=, creds= and other fields of `BusSettings`:
        credentials. By default, HEADRACE_URL, HEADRACE_TOKEN and so on. via (or HEADRACE_VIA): how this client fetches values that the
        hosts hold: "hosts" connects to the hosts, "publisher" lets the publisher send them over NATS; by default the first, or the second
        for a host that cannot be reached. progress: as for `local`. connect_timeout: seconds (HEADRACE_CONNECT_TIMEOUT); 0: the default.

        Raises NatsUnreachable (also for an invalid url), WrongCredentials, NoJetStream, ClusterFailed if the server has no cluster, and
        SettingsError, a ValueError, for an invalid `via` or variable.
        """
        from headrace.bus import BusSettings
        from headrace.client.connection import Connection

        given = {name: value for name, value in {"url": url, "token": token, "connect_seconds": connect_timeout, **login}.items() if value}
        settings = msgspec.structs.replace(BusSettings.from_env(), **given)
        return cls(Connection(settings, via=via or Settings.from_env().via), settings, None, progress)

    # --- running graphs ---------------------------------------------------------------------------------------------------

    def submit(self, graph: Graph, *, sink: Sink | str | os.PathLike[str] | None = None) -> Job:
        """Submit a graph.

        Returns once the log has stored the job: from then on it runs, even if this process dies. You may change the graph and submit it
        again afterwards.

        sink: an `hr.Sink`, or its path, for all outputs that have no sink of their own. Without one, the hosts hold these outputs until the
        client has fetched them. `Job.results` reads outputs wherever they are.

        Raises TypeError for anything but a graph, GraphError and NotPicklable for a graph that cannot run or whose sinks cannot be written
        to (as far as the client can tell), JobFailed if the log has no room for the job, NatsUnreachable if NATS did not confirm within
        30 s (`Settings.submit_seconds`) that the log has it, ClusterClosed, and the error that ended the connection.
        """
        job = self._submit(graph, sink)
        job.wait_stored()
        return job

    def _submit(self, graph: Graph, sink: Sink | str | os.PathLike[str] | None = None) -> Job:
        """Submit without waiting for the log. The caller cancels the job if it is interrupted."""
        if not isinstance(graph, Graph):
            raise TypeError(_not_a_graph(graph))
        from headrace.client.connection import new_job_id
        from headrace.client.following import Following
        from headrace.client.job import Job
        from headrace.graph.freezing import freeze

        connection = self._usable()
        following = Following(connection, new_job_id())
        spec = freeze(graph)
        following.submit(spec, _checked_sink(spec, sink, following.job) if sink is not None or spec.sinks else None)
        return Job(self, connection, following, self._progress)

    def compute(self, *nodes: Any, name: str = "compute", timeout: float | None = None, progress: bool | None = None) -> Any:
        """Run all tasks that the nodes need, and return the value of one argument, or a tuple of the values of several.

        Nodes may belong to graphs, or come from calls of functions decorated with `hr.task`. They may be anywhere inside lists, tuples and
        dict values; other objects are returned unchanged. A node of several outputs gives the list of its values. name: of the job. timeout
        and progress: as for `Job.results`.

        Raises TypeError for a graph (`submit` runs graphs), and the errors of `submit` and `Job.results`. On any error the job is
        cancelled.
        """
        check_timeout(timeout)
        wanted = datasets_in(nodes)
        values: dict[Any, Any] = {}
        if wanted:
            graph = Graph.from_nodes(wanted, name)
            job = self._submit(graph)
            try:
                job.wait_stored()
                values = dict(zip(wanted, job.values(list(graph.columns.outputs), timeout, progress), strict=True))
            except BaseException:
                abandon(job)
                raise
        computed = with_values(nodes, values)
        return computed[0] if len(nodes) == 1 else computed

    def job(self, job_id: str) -> Job:
        """Find a job that this or another client submitted. Raises NoSuchJob."""
        from headrace.client.connection import check_job_id
        from headrace.client.following import Following
        from headrace.client.job import Job

        connection = self._usable()
        following = Following(connection, check_job_id(job_id))
        connection.call(following.attach())
        return Job(self, connection, following, self._progress)

    def jobs(self) -> list[JobEntry]:
        """Return all jobs that the cluster remembers, oldest first: `job` (its id), `name`, `state`, `n_tasks`, `n_done`, `error`, ..."""
        connection = self._usable()
        entries: list[JobEntry] = connection.call(connection.jobs())
        return entries

    def outputs(self, where: Mapping[str, Any] | None = None, /, *, job: str | None = None, **metadata: Any) -> list[OutputRecord]:
        """Find announced outputs of all jobs, or of the job with an id, as `Job.outputs` does; also of jobs that are no longer in the log.

        Without `job` this reads the catalogue of the whole cluster, at about a hundred thousand records a second.
        """
        from headrace.client.catalogue import having, read_catalogue
        from headrace.client.connection import check_job_id

        matches, connection = having(where, metadata), self._usable()
        known = connection.known.outputs()
        expected = {job: known[job]} if job in known else {} if job else known
        catalogue: Catalogue = connection.call(read_catalogue(connection.bus, check_job_id(job) if job else "", expected))
        return catalogue.find(matches)

    # --- about the cluster --------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Address of the NATS server."""
        return self._settings.url

    @property
    def token(self) -> str:
        """The token for NATS; empty if the login uses none."""
        return self._settings.token

    @property
    def hosts(self) -> list[str]:
        """Names of the hosts in the cluster."""
        return self._usable().hosts

    def status(self) -> ClusterStatus:
        """Ask the cluster for its state: hosts, leading services, unfinished jobs, and how full the log and other streams are."""
        from headrace.client.standing import cluster_status

        connection = self._usable()
        found: ClusterStatus = connection.call(cluster_status(connection))
        return found

    def pids(self) -> dict[str, int]:
        """Return the process ids of a local cluster's services and of its supervisor, by name; empty for a connected cluster."""
        return {} if self._local is None else dict(self._local.pids)

    def metrics_addresses(self) -> dict[str, str]:
        """Return the addresses of the services' metrics for Prometheus (http://ADDRESS/metrics), by the name of the service or host.

        Empty unless the services were started with HEADRACE_METRICS in their environment, e.g. "127.0.0.1:0", with which each process uses
        a free port. Includes one of several controllers, schedulers or publishers.
        """
        from headrace.client.standing import metrics_addresses

        connection = self._usable()
        addresses: dict[str, str] = connection.call(metrics_addresses(connection))
        return addresses

    def peak_memory(self) -> int:
        """Return the peak memory of a local cluster in bytes.

        It is the sum of the private peaks of this process and of the cluster's processes, and of the peaks of the stores. The peaks may
        have been at different times, and runners that were replaced do not count. Raises ClusterFailed for a connected cluster, whose
        processes are on other machines.
        """
        from headrace.client.memory import private_peaks
        from headrace.client.standing import store_peaks

        connection = self._usable()
        if self._local is None:
            raise ClusterFailed("this cluster is not local, so its memory cannot be measured from here: ask its hosts with `nats req`")
        stores: int = connection.call(store_peaks(connection))
        return private_peaks(self._local.pids["supervisor"]) + stores

    def wait(self, stop: threading.Event) -> None:
        """Wait until the event is set. Raises the error that ends the cluster, if that happens first."""
        from headrace.client.connection import Alarm

        connection = self._usable()
        alarm = Alarm(stop)
        connection.thread.soon(connection.watch, alarm)
        stop.wait()
        if alarm.error is not None:
            raise alarm.error

    def close(self) -> None:
        """Leave the cluster, and end all processes of a local one. May be called again. Ctrl-C takes effect when this is done."""
        detached = self._finalizer.detach()
        if detached is None:
            return
        with interrupts_held() as held:
            _close(*detached[2])
        if held and not isinstance(sys.exception(), KeyboardInterrupt):
            raise KeyboardInterrupt

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a cluster cannot be sent to a task: it is a connection of this process. Remove it from the function and its arguments; "
            "a task that submits jobs connects by itself with hr.Cluster.connect"
        )

    def __repr__(self) -> str:
        state = "" if self._finalizer.alive else ", closed"
        return f"<Cluster at {self._settings.shown_url}{', local' if self._local is not None else ''}{state}>"

    def _usable(self) -> Connection:
        """Return the connection. Raises the error that ended it."""
        self._connection.check()
        return self._connection


def _checked_sink(spec: GraphSpec, sink: Sink | str | os.PathLike[str] | None, job: str) -> SinkSpec | None:
    """Return the sink of a job. Raises GraphError if it, or the sink of an output, cannot be written to."""
    from headrace.graph.sink_checks import check_sinks
    from headrace.sinks.sink import Sink

    found = Sink.of(sink).spec() if sink is not None else None
    check_sinks(spec, found, job)
    return found


def _check_sizes(hosts: int, runners: int, capacity: int | None) -> None:
    for name, value in (("hosts", hosts), ("runners", runners)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}={value!r}: give a whole number from 1")
    if capacity is not None and (not isinstance(capacity, int) or capacity < MIN_CAPACITY):
        raise ValueError(f"capacity={capacity!r}: give a whole number of bytes, at least {MIN_CAPACITY} (1 MiB)")


def _checked(resources: Mapping[str, float] | None) -> dict[str, float]:
    """Check the resources of each host of a local cluster. Raises SettingsError."""
    try:
        return check_resources(resources or {}, "a local cluster's hosts")
    except GraphError as error:
        raise SettingsError(str(error)) from None


def _not_a_graph(given: Any) -> str:
    if isinstance(given, (Node, Dataset)):
        return f"submit takes an hr.Graph, not {given}: use cluster.compute(node) for its value, or submit(hr.Graph.from_nodes(node))"
    return f"submit takes an hr.Graph, not {given!r:.80}: make one with hr.Graph() and its add, or use cluster.compute for nodes"


def _close_at_last(owner: int, connection: Connection, local: LocalServices | None) -> None:
    """Close a cluster that was forgotten, or that is open when the interpreter exits."""
    with interrupts_held():
        _close(owner, connection, local)


def _close(owner: int, connection: Connection, local: LocalServices | None) -> None:
    """End what a cluster started, in the process that started it."""
    if os.getpid() != owner:
        return
    if local is not None:
        connection.thread.soon_if_open(connection.thread.loop.remove_reader, local.report_fd())
    try:
        connection.close(flush=local is None)
    finally:
        if local is not None:
            local.stop()


def _watch_services(connection: Connection, services: LocalServices) -> None:
    """End the connection when the cluster cannot continue. Runs on its loop."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        failure = services.check_reports()
        if failure is not None:
            loop.remove_reader(services.report_fd())
            connection.fail(failure)

    loop.add_reader(services.report_fd(), read)


def abandon(job: Job) -> None:
    """Stop a job, unless it is over, because its client does not need its results any more."""
    try:
        if not job.done:
            job.cancel("its client stopped waiting for it", SETTINGS.abandon_seconds)
    except HeadraceError:  # the cluster is closed or gone, and the job with it
        return
